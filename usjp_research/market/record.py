"""Returns as one frozen record, and what was left out of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from usjp_research.spec.records import MIRROR as MIRROR
from usjp_research.words import card

BENCHMARK = "us_market"


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something that was left out, and why."""

    what: str
    name: str
    reason: str

    def _repr_html_(self) -> str:
        return card("Left out", f"{self.what} {self.name}", self.reason)


@dataclass(frozen=True, slots=True)
class Market:
    """Daily simple returns and where they come from.

    Attributes
    ----------
    returns : DataFrame of shape (n_days, n_series)
        Simple returns as decimals, NaN where a security did not trade; the index is the ordered
        trading days, without time zone. One column is `BENCHMARK`.
    level : {"firm", "portfolio"}
        Whether columns are securities or averages of three or more of them.
    members, values, counts
        For portfolios: the tickers of every series, market value in USD bn of a named group of
        firms, and how many firms have that value. Empty at firm level.
    built : mapping
        What the parameters were when portfolios were formed; empty at firm level.
    """

    name: str
    returns: pd.DataFrame
    level: Literal["firm", "portfolio"]
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    dropped: tuple[Dropped, ...] = ()
    provenance: Mapping[str, object] = field(default_factory=dict)
    built: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dates(self) -> pd.DatetimeIndex:
        """The trading days, ascending."""
        return cast("pd.DatetimeIndex", self.returns.index)

    def _repr_html_(self) -> str:
        first, last = self.dates[0].date(), self.dates[-1].date()
        simulated = self.provenance.get("source") == "simulated"
        return card(
            "Market",
            self.name,
            f"{self.level} level",
            f"{self.returns.shape[1]} series, {len(self.dates)} sessions, {first} to {last}",
            warning="SIMULATED returns: nothing here is about a real market." if simulated else "",
        )


def market_digest(market: Market) -> str:
    """Return the SHA-256 of the returns, their names and their days.

    Two markets with this digest in common give the same study.
    """
    seen = hashlib.sha256()
    seen.update("\n".join(map(str, market.returns.columns)).encode())
    seen.update(market.dates.to_numpy("datetime64[D]").astype("int64").tobytes())
    seen.update(np.ascontiguousarray(market.returns.to_numpy("float64")).tobytes())
    seen.update(json.dumps({k: market.values[k] for k in sorted(market.values)}).encode())
    return seen.hexdigest()

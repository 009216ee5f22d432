"""Returns as one frozen record, and what was left out of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from usjp_research.market.sources import is_simulated
from usjp_research.spec.records import MIRROR as MIRROR
from usjp_research.words import card, percent

BENCHMARK = "us_market"
ABSENT = "not in the price file"  # a security; what is spelled alike may follow

# What a finding may be, the heaviest first, and how its size is said; without words it is a move.
KINDS = {
    "weekly": "a row every {:.0f} days",
    **dict.fromkeys(("log", "percent", "prices", "returns"), "middle move {:.3g}"),
    "shifted": "correlation {:.2f}",
    **dict.fromkeys(("split", "pence", "gap", "tick", "differs"), ""),
    **dict.fromkeys(("stale", "twin", "ends early"), "{:.0f} sessions"),
    "jump": "",
    **dict.fromkeys(("holes", "starts late", "missing"), "{:.0f} sessions"),
}
EVERY = "every series"  # stands where a ticker would, for faults of the whole file
FIX = "fix the file, or accept the day in accepted.csv"
LISTED = "listed only, as nothing else says so: see what the news was"


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something that was left out, and why."""

    what: str
    name: str
    reason: str

    def _repr_html_(self) -> str:
        return card("Left out", f"{self.what} {self.name}", self.reason)


@dataclass(frozen=True, slots=True)
class Finding:
    """A number that is hardly what it says it is."""

    ticker: str  # or `EVERY`
    day: date  # the first that is touched
    kind: str  # of `KINDS`
    # The day's return as a decimal, or its gap to another file's; sessions of runs, twins and
    # what is missing; a correlation of shifted dates; the middle size of a day's move for units.
    size: float
    looks_like: str
    remedy: str = FIX
    witness: str = ""  # the second sign that it is a fault; empty when the size alone speaks
    exact: bool = False  # a split's ratio met within 0.2%, or another file says otherwise
    until: date | None = None  # the last day that is touched; None when it is the first
    accepted: str = ""  # why the user accepts it

    @property
    def measure(self) -> str:
        """The size with its unit, in words."""
        if words := KINDS[self.kind]:
            of_dates = self.kind == "shifted" and self.size > 1
            return ("{:.0f} rows" if of_dates else words).format(self.size)
        far = abs(self.size) >= 1e4
        return f"{self.size:+.1e} of the price" if far else percent(self.size)

    @property
    def words(self) -> str:
        """What it looks like, with what else says so."""
        return self.looks_like + (f" ({self.witness})" if self.witness else "")

    @property
    def advice(self) -> str:
        """What to do, in words."""
        if self.accepted:
            return f"accepted: {self.accepted}"
        if self.remedy == FIX and not (self.witness or self.exact):
            return LISTED
        return self.remedy

    def line(self) -> str:
        """Say it in one line: ticker, first day, size, what it looks like, what to do."""
        return f"{self.ticker} {self.day}: {self.measure}, looks like {self.words}; {self.advice}"

    def _repr_html_(self) -> str:
        return card("Finding", f"{self.ticker} {self.day}", self.measure, self.words, self.accepted)


@dataclass(frozen=True, slots=True)
class Market:
    """Daily simple returns and where they come from.

    Attributes
    ----------
    returns : DataFrame of shape (n_days, n_series)
        Simple returns as decimals, NaN where there is none; the index is every session of New
        York from the first to the last, without time zone. One column is `BENCHMARK`.
    level : {"firm", "portfolio"}
        Whether columns are securities or averages of three or more of them.
    members, values, weighing, built
        Of portfolios only: the tickers of every series, market value in USD bn of a named group of
        firms, of series weighted by it how many firms they hold and 1 / sum of squared weights, and
        the parameters they were formed by.
    openings : mapping of str to DataFrame
        At firm level, where opening prices are known: returns from the close before to the open,
        ``overnight``, and from the open to the close, ``session``; as `returns` in all else.
    factors : DataFrame of shape (n_days, n_factors)
        Factors that the rule's model is made of, as decimals; empty for models of the market.
    """

    name: str
    returns: pd.DataFrame
    level: Literal["firm", "portfolio"]
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    weighing: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    dropped: tuple[Dropped, ...] = ()
    provenance: Mapping[str, object] = field(default_factory=dict)
    read_as: tuple[str, ...] = ()  # what a file that is out of the ordinary was read as
    findings: tuple[Finding, ...] = ()  # numbers that are hardly what they say, the heaviest first
    built: Mapping[str, Any] = field(default_factory=dict)
    openings: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    factors: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def dates(self) -> pd.DatetimeIndex:
        """The trading days, ascending."""
        return cast("pd.DatetimeIndex", self.returns.index)

    @property
    def simulated(self) -> bool:
        """Whether the returns are drawn, so that nothing is about a real market."""
        return is_simulated(self.name)

    def _repr_html_(self) -> str:
        first, last = self.dates[0].date(), self.dates[-1].date()
        size = f"{self.returns.shape[1]} series, {len(self.dates)} sessions, {first} to {last}"
        drawn = "SIMULATED returns: nothing here is about a real market." if self.simulated else ""
        return card("Market", self.name, f"{self.level} level", size, warning=drawn)


def market_digest(market: Market) -> str:
    """Return the SHA-256 of the returns, their names and their days, and of factors in use.

    Two markets with this digest in common give the same verdicts; openings decide none.
    """
    seen = hashlib.sha256()
    seen.update("\n".join(map(str, market.returns.columns)).encode())
    seen.update(market.dates.to_numpy("datetime64[D]").astype("int64").tobytes())
    seen.update(np.ascontiguousarray(market.returns.to_numpy("float64")).tobytes())
    seen.update(json.dumps({k: market.values[k] for k in sorted(market.values)}).encode())
    for name, column in market.factors.items():
        seen.update(str(name).encode() + np.ascontiguousarray(column.to_numpy("float64")).tobytes())
    return seen.hexdigest()

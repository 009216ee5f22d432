"""What a sector can be compared with besides the market: outsiders' returns, French's factors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from usjp_research.market.record import BENCHMARK, MIRROR, Dropped, Market
from usjp_research.market.table import (
    FEWEST_SESSIONS,
    read_days,
    read_numbers,
    read_returns,
    read_table,
)
from usjp_research.spec.records import Spec, in_project
from usjp_research.words import InputError, card, nearest

DONOR = "donor/"
FACTOR_MODELS: Mapping[str, tuple[str, ...]] = {
    "Fama-French three factors": ("mkt_rf", "smb3", "hml"),
    "Carhart four factors": ("mkt_rf", "smb3", "hml", "mom"),
    "Fama-French five factors": ("mkt_rf", "smb5", "hml", "rmw", "cma"),
}
OTHER_NAMES = {"mktrf": "mkt_rf", "mkt": "mkt_rf", "umd": "mom", "wml": "mom"}
PERCENT_FROM = 0.05  # median size of the daily market return: 0.5 in percent, 0.005 as decimals
MISSING_UPTO = -99  # French's code for no value


@dataclass(frozen=True, slots=True)
class Donors:
    """Daily returns of securities outside every sector, or of averages of them.

    Attributes
    ----------
    returns : DataFrame of shape (n_days, n_donors)
        Simple returns as decimals on the market's days; a day is complete or all missing.
        No column when there are no donors, and then ``reason`` says why and what to do.
    """

    returns: pd.DataFrame
    source: str
    reason: str = ""
    dropped: tuple[Dropped, ...] = ()
    sha256: str = ""

    def _repr_html_(self) -> str:
        days = f"{self.returns.shape[1]} donors over {len(self.returns)} sessions"
        return card("Donors", self.source, self.reason or days, f"{len(self.dropped)} left out")


@dataclass(frozen=True, slots=True)
class Factors:
    """French's daily factors as decimals on the market's days, NaN where the file has none.

    Attributes
    ----------
    returns : DataFrame of shape (n_days, n_factors)
        ``mkt_rf``, ``rf`` and what else the file has of ``smb3``, ``smb5``, ``hml``, ``rmw``,
        ``cma``, ``mom``. No column when there is no file, and then ``reason`` says so.
    unit : str
        What the file holds: ``percent`` or ``decimals``.
    """

    returns: pd.DataFrame
    source: str
    unit: str = ""
    reason: str = ""
    dropped: tuple[Dropped, ...] = ()

    def _repr_html_(self) -> str:
        names = ", ".join(map(str, self.returns.columns))
        return card("Factors", self.source, self.reason or names, self.unit)


def load_donors(spec: Spec, market: Market, source: str | None = None) -> Donors:
    """Load the returns that a synthetic control may be made of.

    The bundled market has its own: averages of firms outside the sectors by industry. A file
    gives single securities: those that ``donors.csv`` puts in a group or, without that file, all
    that are neither in the universe nor a benchmark. Give a file of firms then: a fund that
    holds firms of a sector would be compared with itself. Index members of today are survivors,
    and no list can promise that the news left them untouched.

    Parameters
    ----------
    spec : Spec
    market : Market
        Whose days are used.
    source : str, optional
        ``file:PATH`` or a path of prices or returns; the market's own donors by default.

    Returns
    -------
    Donors
        A donor without a return on a day on which most have one is left out, with the reason.

    Raises
    ------
    InputError
        When the file cannot be read, or holds no donor.
    """
    if not source:
        own = [name for name in market.returns.columns if str(name).startswith(DONOR)]
        if own:
            return _complete(market.returns[own], market, market.name, ())
        reason = "no donors: give prices of firms outside the sectors with --donors FILE"
        return Donors(market.returns[[]], "", reason)
    path = _path(source, "donors")
    returns, dropped = read_returns(path)
    funds = {BENCHMARK, MIRROR, *spec.rule.benchmark, *spec.rule.mirror}
    outside = [
        str(name)
        for name in returns.columns
        if name not in funds and name not in {firm.ticker for firm in spec.firms}
    ]
    notes = [item for item in dropped if item.what != "day"]
    if spec.donors:
        listed = {donor.ticker: donor for donor in spec.donors}
        for name in outside:
            if name not in listed:
                notes.append(Dropped("donor", name, "not in donors.csv"))
            elif not listed[name].group:
                notes.append(Dropped("donor", name, listed[name].note))
        absent = [donor.ticker for donor in spec.donors if donor.group]
        absent = [name for name in absent if name not in returns.columns]
        notes += [Dropped("donor", name, f"not in {path.name}") for name in absent]
        outside = [name for name in outside if name in listed and listed[name].group]
    if not outside:
        raise InputError(
            f"{path}: no donor there: seen {', '.join(map(str, returns.columns[:5]))}, ..., "
            "expected securities outside the sectors, such as other members of the index"
        )
    table = returns[outside].reindex(market.dates)
    if table.notna().any(axis=1).sum() < FEWEST_SESSIONS:
        raise InputError(
            f"{path}: seen returns from {returns.index[0].date()} to {returns.index[-1].date()}, "
            f"expected days of the market, {market.dates[0].date()} to {market.dates[-1].date()}"
        )
    found = _complete(table, market, f"file:{path.name}", tuple(notes))
    return replace(found, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def _complete(
    table: pd.DataFrame, market: Market, source: str, notes: tuple[Dropped, ...]
) -> Donors:
    covered = table.notna().mean(axis=1) >= 0.5
    holes = table[covered].isna().sum()
    gone = tuple(
        Dropped("donor", str(name), f"no return on {count} of {int(covered.sum())} days")
        for name, count in holes[holes > 0].items()
    )
    table = table.loc[:, holes == 0].where(covered)
    return Donors(table.reindex(market.dates), source, dropped=(*notes, *gone))


def load_factors(market: Market, source: str | None = None) -> Factors:
    """Load French's daily factors from a file.

    The library is copyrighted and not shipped: download the daily files from Kenneth French's
    data library, join them on the day and save one table. Columns are ``date`` (YYYY-MM-DD or
    YYYYMMDD), ``mkt_rf``, ``rf`` and any of ``smb`` (or ``smb3`` and ``smb5``, which differ),
    ``hml``, ``rmw``, ``cma``, ``mom``; French's own ``Mkt-RF`` and upper case are understood.

    Percent or decimals is decided by one rule for the whole table: percent when the median size
    of ``mkt_rf`` is 0.05 or more. The median day of the market is near 0.5 in percent and near
    0.005 in decimals, ten times away from the border on either side.

    Parameters
    ----------
    market : Market
        Whose days are used.
    source : str, optional
        ``file:PATH`` or a path.

    Returns
    -------
    Factors

    Raises
    ------
    InputError
        When the file cannot be read, lacks a column, or shares too few days with the market.
    """
    if not source:
        reason = "needs French's daily factors: give a table of them with --factors FILE"
        return Factors(market.returns[[]], "", reason=reason)
    path = _path(source, "factors")
    table = read_table(path)
    names = {name: str(name).strip().lower().replace("-", "_") for name in table.columns}
    table = table.rename(columns={name: OTHER_NAMES.get(new, new) for name, new in names.items()})
    for needed in ("date", "mkt_rf", "rf"):
        if needed not in table.columns:
            raise InputError(
                f"{path}: row 1: column '{needed}' is missing ({nearest(needed, table.columns)}); "
                "expected date, mkt_rf, rf and further factors"
            )
    if not pd.api.types.is_datetime64_any_dtype(table["date"]):
        written = table["date"].astype(str)
        table["date"] = written.str.replace(r"^(\d{4})(\d\d)(\d\d)$", r"\1-\2-\3", regex=True)
    days = read_days(path, table, "date")
    if not days.is_monotonic_increasing or days.duplicated().any():
        raise InputError(f"{path}: column 'date': days are not in order, or stand there twice")
    known = {factor for factors in FACTOR_MODELS.values() for factor in factors} | {"rf", "smb"}
    columns = {
        name: read_numbers(path, table[name], name).to_numpy()
        for name in table.columns
        if name in known
    }
    frame = pd.DataFrame(columns, index=pd.DatetimeIndex(days))
    coded = frame <= MISSING_UPTO
    notes = tuple(
        Dropped("factor", f"{name} {day.date()}", "the file has its code for no value")
        for name in frame.columns
        for day in frame.index[coded[name]]
    )
    frame = frame.mask(coded)
    for name in ("smb3", "smb5"):
        if name not in frame.columns and "smb" in frame.columns:
            frame[name] = frame["smb"]
    percent = bool(np.nanmedian(np.abs(frame["mkt_rf"])) >= PERCENT_FROM)
    frame = (frame / 100 if percent else frame).drop(columns="smb", errors="ignore")
    shared = frame.reindex(market.dates)
    if shared["mkt_rf"].notna().sum() < FEWEST_SESSIONS:
        raise InputError(
            f"{path}: seen factors from {days.iloc[0].date()} to {days.iloc[-1].date()}, expected "
            f"days of the market, {market.dates[0].date()} to {market.dates[-1].date()}"
        )
    inside = frame.loc[frame.index >= market.dates[0]]
    ends = inside.index[-1]
    late = int((market.dates > ends).sum())
    if late:
        notes += (Dropped("factor", path.name, f"ends {ends.date()}: {late} days without"),)
    unit = "percent" if percent else "decimals"
    return Factors(shared, f"file:{path.name}", unit, dropped=notes)


def _path(source: str, what: str) -> Path:
    kind, colon, rest = source.partition(":")
    path = in_project(Path(rest if colon and kind == "file" else source).expanduser())
    if not path.is_file():
        raise InputError(f"{what} '{source}': no such file; give the path of a CSV or Parquet file")
    return path

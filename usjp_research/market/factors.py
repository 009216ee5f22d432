"""French's daily factors: one reader, one rule for units, no code for a missing day let through."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from usjp_research.market import columns as c
from usjp_research.market.files import Cells, csv_cells, existing, read_file
from usjp_research.market.record import Dropped
from usjp_research.market.table import FEWEST_SESSIONS
from usjp_research.market.units import refuse_other_day
from usjp_research.words import InputError, card, nearest

UNITS = ("auto", "percent", "decimal")
FAR = 0.5  # a day; the codes for missing days, -99.99 and -999, lie beyond it in either unit
CODES = (-9.99, -0.9999)  # -999 and -99.99 divided by 100: in a file of percent they look like days
DOUBT = (0.07, 0.14)  # a daily standard deviation between these is high in decimals, low in percent
LARGEST_RF = 0.005
APART = 30.0  # a factor this many times larger or smaller than the market is in another unit
LARGEST_FILE = 50_000_000  # bytes of text
MISSING = "leave missing days empty, not -99.99 or -999"
FACTOR_NAMES = {
    "mkt_rf": ("mktrf",),
    "smb3": ("smb3", "smb"),
    "smb5": ("smb5", "smb"),
    "hml": ("hml",),
    "rmw": ("rmw",),
    "cma": ("cma",),
    "mom": ("mom", "umd", "wml"),
    "rf": ("rf",),
}
NEEDED = ("mkt_rf", "rf")


@dataclass(frozen=True, slots=True)
class Factors:
    """French's daily factors as decimals on days, NaN where the file has none."""

    returns: pd.DataFrame
    source: str
    unit: str = ""  # what the file holds: percent or decimals
    reason: str = ""  # why there is no column, and what to do
    dropped: tuple[Dropped, ...] = ()

    def _repr_html_(self) -> str:
        names = ", ".join(map(str, self.returns.columns))
        return card("Factors", self.source, self.reason or names, self.unit)


def read_factors(
    source: str | Path = "", days: pd.DatetimeIndex | None = None, units: str = "auto"
) -> Factors:
    """Read French's daily factors from a file: his CSV as it comes, or a table of several.

    Columns are the day (YYYY-MM-DD or YYYYMMDD), ``mkt_rf``, ``rf`` and any of ``smb`` (or ``smb3``
    and ``smb5``, which differ), ``hml``, ``rmw``, ``cma``, ``mom``; French's own ``Mkt-RF`` and
    capitals are understood.

    Parameters
    ----------
    source : str or path
        ``file:PATH`` or a path of CSV or Parquet; empty for no factors.
    days : DatetimeIndex of shape (n_days,), optional
        Days to give the factors on; those of the file by default.
    units : {"auto", "percent", "decimal"}
        Of the whole table; see `in_decimals`.

    Raises
    ------
    InputError
        When the file lacks a column, holds a code for missing days or a number that is no daily
        factor, leaves its unit in doubt, or shares too few days with ``days``.
    """
    if units not in UNITS:
        raise InputError(f"unknown factor units '{units}': {nearest(units, UNITS)}")
    if not str(source):
        none = pd.DataFrame(index=pd.DatetimeIndex([]) if days is None else days)
        return Factors(none, "", reason="needs French's daily factors: give --factors FILE")
    path = existing(str(source))
    table = (french_cells(path) or read_file(path)).frame
    name = c.date_column(path, table.columns)
    if table.empty:
        raise InputError(f"{path}: there is a header but no row; add factors")
    index, _ = c.ordered_days(path, table, name)
    steps = np.abs(np.diff(index.to_numpy("datetime64[D]")).astype(float))
    if len(steps) and (step := np.median(steps)) > 3:
        seen = f"the usual step is {step:.0f} days, expected daily factors"
        do = "take the daily file, not the weekly or monthly one"
        raise InputError(f"{path}: column of days: {seen}; {do}")
    columns = [column for column in table.columns if column != name]
    known = set(map(c.plain, columns))
    there = [k for k, words in FACTOR_NAMES.items() if k in NEEDED or known & {*words}]
    found = factor_columns(columns, there, path)
    values = {key: c.read_numbers(path, table[own], own) for key, own in found.items()}

    def place(key: str, at: int) -> str:
        return f"row {values[key].index[at]}, column '{found[key]}'"

    arrays = {key: column.to_numpy() for key, column in values.items()}
    decimals = in_decimals(arrays, units, str(path), place)
    unit = "decimals" if decimals["mkt_rf"] is arrays["mkt_rf"] else "percent"
    frame = pd.DataFrame(decimals, index=index).sort_index()
    reason = "no factor of that name is known: not used"
    notes = [Dropped("factor", n, reason) for n in columns if n not in found.values()]
    if days is not None:
        frame, more = _on(frame, days, path)
        notes += more
    return Factors(frame, f"file:{path.name}", unit, dropped=tuple(notes))


def check_factors(factors: Factors, market: pd.Series) -> None:
    """Refuse a market factor that goes with the market of another day, or against it."""
    if not factors.reason:
        do = "give French's daily factors on the days they are of"
        where = f"{factors.source}: factor 'mkt_rf'"
        refuse_other_day(where, factors.returns["mkt_rf"], market, do)


def french_cells(path: Path) -> Cells | None:
    """Take the table out of French's own CSV: a header without a first name, days as YYYYMMDD."""
    if path.stat().st_size > LARGEST_FILE:
        return None
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:  # no text, or another encoding
        return None
    start = next((at for at, line in enumerate(lines[:100]) if _his_header(line)), None)
    if start is None:
        return None
    rest = range(start + 1, len(lines))
    end = next((at for at in rest if not re.match(r"\s*[0-9]", lines[at])), len(lines))
    again = [at for at in range(end, len(lines)) if re.match(r"\s*[0-9]{4,8}\s*,", lines[at])]
    if again:
        fault = f"a second table begins after row {end}; keep the daily one"
        raise InputError(f"{path}: row {again[0] + 1}: {fault}")
    table = [*[""] * start, "date" + lines[start].strip(), *lines[start + 1 : end], ""]
    cells = csv_cells(path, "\n".join(table).encode())  # the rows keep their numbers
    days = cells.frame["date"]
    short = ~days.str.fullmatch(r"[0-9]{8}|[0-9]{4}-.*")
    do = "a day as YYYYMMDD; take the daily file, not the monthly or yearly one"
    c.refuse(path, days, "date", short, do)
    return cells


def _his_header(line: str) -> bool:
    first, *names = (cell.strip() for cell in line.split(","))
    known = {word for words in FACTOR_NAMES.values() for word in words}
    return not first and not known.isdisjoint(map(c.plain, names))


def _on(
    frame: pd.DataFrame, days: pd.DatetimeIndex, path: Path
) -> tuple[pd.DataFrame, list[Dropped]]:
    """Give the factors on the days asked for, and list the days without."""
    here = frame.reindex(days)
    if here["mkt_rf"].notna().sum() < min(FEWEST_SESSIONS, len(days)):
        seen, want = (f"{span[0].date()} to {span[-1].date()}" for span in (frame.index, days))
        raise InputError(f"{path}: seen factors from {seen}, expected days of the market, {want}")
    ends = frame.index[-1]
    notes = []
    if late := int((days > ends).sum()):
        notes.append(Dropped("factor", path.name, f"ends {ends.date()}: {late} days without"))
    inside = here.loc[(days >= frame.index[0]) & (days <= ends)]
    for name, count in inside.isna().sum().items():
        if count:
            first = inside[name].isna().idxmax()
            reason = f"no value on {count} of {len(inside)} days, the first {first:%F}"
            notes.append(Dropped("factor", str(name), reason))
    return here, notes


def factor_columns(
    names: Sequence[str], needed: Iterable[str], where: str | Path
) -> Mapping[str, str]:
    """Find factors under the names they go by: MKT-RF, Mkt-RF, MKTRF and mkt_rf are one."""
    found = {}
    for key in needed:
        called = ([n for n in names if c.plain(n) == word] for word in FACTOR_NAMES[key])
        there = next(filter(None, called), [])
        if not there:
            wanted = f"{' or '.join(FACTOR_NAMES[key])} (capitals, - and _ do not matter)"
            seen = f"seen {', '.join(names[:8])}, expected a column named {wanted}"
            raise InputError(f"{where}: factor '{key}' is missing: {seen}")
        if len(there) > 1:
            both = f"columns '{there[0]}' and '{there[1]}' are both the factor '{key}'"
            raise InputError(f"{where}: {both}; keep one")
        found[key] = there[0]
    return found


def in_decimals(
    factors: Mapping[str, c.Floats],
    units: str,
    where: str,
    place: Callable[[str, int], str] = lambda _, at: f"place {at}",
) -> dict[str, c.Floats]:
    """Return factors as decimals, from a declared unit or one that the numbers leave no doubt of.

    A market's daily standard deviation is between 0.2% and 10%: above 0.1 it is in percent. It is
    taken from the median size of the days, so that no code for a missing day moves it.
    """
    if units not in UNITS:
        raise InputError(f"unknown factor units '{units}': {nearest(units, UNITS)}")
    for name, column in factors.items():
        if not np.isfinite(column).any():
            raise InputError(f"{where}: factor '{name}' has no value on any day of the returns")
    declared = units != "auto"
    spread = _spread(factors["mkt_rf"])
    if not declared and DOUBT[0] < spread < DOUBT[1]:
        doubt = "percent or decimals cannot be told apart; give --factor-units percent or decimal"
        seen = f"the market factor's daily standard deviation is {spread:.3g}"
        raise InputError(f"{where}: {seen}: {doubt}")
    if not declared:
        units = "percent" if spread > DOUBT[1] else "decimal"
    scale = 0.01 if units == "percent" else 1.0
    if not 0.0005 <= spread * scale <= 0.2:
        do = "declare the other unit" if declared else "give daily returns of the market"
        seen = f"the market factor has a daily standard deviation of {100 * spread * scale:.3g}%"
        raise InputError(f"{where}: read as {units} {seen}, expected 0.05% to 20%; {do}")
    out = {name: values * scale if scale != 1 else values for name, values in factors.items()}
    for name, values in factors.items():
        far = np.abs(out[name]) > FAR
        if not declared and units == "percent":
            far |= np.isin(values, CODES)
        if far.any():
            at = int(np.flatnonzero(far)[0])
            real = "; if it is a real day, give --factor-units percent"
            hint = real if values[at] in CODES and units == "percent" else ""
            seen = f"{place(name, at)}: factor '{name}': seen {values[at]:g}, read as {units}"
            most = f"expected at most {FAR:.0%} a day and no code"
            raise InputError(f"{where}: {seen}, {most}; {MISSING}{hint}")
    _one_unit(out, units, where)
    return out


def _spread(values: c.Floats) -> float:
    return 1.4826 * float(np.nanmedian(np.abs(values)))


def _one_unit(factors: Mapping[str, c.Floats], units: str, where: str) -> None:
    """Refuse a riskless rate per year, and factors in another unit than the market."""
    size = _spread(factors["mkt_rf"])
    highest = float(np.nanmax(np.abs(factors["rf"])))
    if highest > LARGEST_RF:
        seen = f"the riskless rate reaches {highest:.2%} a day when read as {units}"
        expected = f"expected at most {LARGEST_RF:.1%}; give all factors in one unit, per day"
        raise InputError(f"{where}: {seen}, {expected}")
    for name, values in factors.items():
        ratio = _spread(values) / size
        if name not in NEEDED and np.nanstd(values) > 0 and not 1 / APART < ratio < APART:
            seen = f"moves {ratio:.2g} times as much as the market"
            expected = f"expected between {1 / APART:.2f} and {APART:.0f} times"
            told = f"factor '{name}' {seen}, {expected}; give all factors in one unit"
            raise InputError(f"{where}: {told}")

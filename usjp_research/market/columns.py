"""Columns of any table: what they are called, and the days and numbers in their cells."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from usjp_research.words import InputError, nearest

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Say = Callable[[int], str]  # says of a place what is wrong there
SEEN = 40  # characters of a value that a message repeats
YEARS = (1900, 2100)
PRICES = (1e-9, 1e12)
MOST_RETURN = 100.0
SMALL = 0.5  # below it numbers without sign may be returns as well as prices

# Names of columns, as `plain` writes them. What may as well be a ticker counts in long tables only.
DATE_NAMES = ("date", "dates", "day", "timestamp", "datetime", "tradedate", "tradingday")
TICKER_NAMES = ("ticker", "symbol", "tickers", "symbols", "tickersymbol", "security")
TICKER_LIKE = ("tic", "sym")
TEXTS = frozenset((*DATE_NAMES, *TICKER_NAMES, *TICKER_LIKE, "firm", "name"))
FIELDS = frozenset(
    {"open", "high", "low", "close", "volume", "price", "last", "bid", "ask", "mid", "vwap"}
    | {"adjclose", "adjustedclose", "adjusted", "adjopen", "adjhigh", "adjlow", "adjvolume"}
    | {"dividends", "dividend", "stocksplits", "splits", "split", "capitalgains", "repaired"}
    | {"return", "returns", "ret", "pxlast", "pxopen", "pxhigh", "pxlow", "pxvolume"}
    | {"totreturnindexgrossdvds", "totreturnindexnetdvds"}
)

NOTHING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "<NA>")
EXPONENT = r"(?:[eE][+-]?\d+)?"
NUMBER = rf"[+-]?(?:\d+\.?\d*|\.\d+){EXPONENT}"
POINT = rf"[+-]?(?:\d+|[1-9]\d{{0,2}}(?:[,'’\s]\d{{3}})+)?(?:\.\d*)?{EXPONENT}"
COMMA = rf"[+-]?(?:\d+|[1-9]\d{{0,2}}(?:[.'’\s]\d{{3}})+)?(?:,\d*)?{EXPONENT}"
SPLIT_DAY = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?:[T ]\d.*)?")
EXPECTED_DAY = f"expected a date as YYYY-MM-DD, from {YEARS[0]} to {YEARS[1]}"


def plain(name: object) -> str:
    """Write a name without case, spaces and marks, so that 'Adj. Close' is 'adj_close'."""
    return re.sub(r"[^0-9a-z]", "", str(name).casefold())


def short(text: object) -> str:
    """Quote a value of a file, cut where it is long."""
    shown = str(text)
    return repr(shown if len(shown) <= SEEN else f"{shown[:SEEN]}...")


def two(names: Sequence[str]) -> str:
    """Name two columns between which a file leaves the choice."""
    return f"columns {short(names[0])} and {short(names[-1])}"


def refuse(
    path: Path, column: pd.Series, name: str, bad: npt.ArrayLike, expected: str | Say = ""
) -> None:
    """Refuse the first bad row by its number, as the user counts it, and what is seen there."""
    if not np.any(bad):
        return
    at = int(np.flatnonzero(bad)[0])
    value = column.iloc[at]
    seen = f"{value:g}" if isinstance(value, float) and value == value else _seen(value)
    told = f"seen {seen}, expected {expected}" if isinstance(expected, str) else expected(at)
    raise InputError(f"{path}: row {column.index[at]}, column {short(name)}: {told}")


def _seen(value: object) -> str:
    if isinstance(value, list | dict | np.ndarray):  # as a cell of Parquet may be
        return short(value)
    return "nothing" if value is None or value != value or value == "" else short(value)


def words(column: pd.Series) -> pd.Series:
    """Return the cells of a column as text without spaces around it, nothing as ''."""
    if not isinstance(column.dtype, pd.StringDtype):
        return column.astype(object).where(column.notna(), "").map(str).astype(str).str.strip()
    codes, kinds = pd.factorize(column.fillna(""))  # a ticker stands there for every day
    return pd.Series(pd.Series(kinds, dtype=column.dtype).str.strip().array[codes], column.index)


def missing(path: Path, name: str, names: Iterable[object], hint: str = "") -> InputError:
    """Say that a column is not there, and which is nearest."""
    closest = nearest(name, [str(known)[:40] for known in names])[:140]
    return InputError(f"{path}: row 1: column '{name}' is missing ({closest}){hint}")


def check_frame(frame: pd.DataFrame, where: str) -> pd.DatetimeIndex:
    """Return the days of a table in memory, or refuse days and series that are not each once."""
    days = pd.DatetimeIndex(frame.index)
    if not (days.is_monotonic_increasing and days.is_unique):
        raise InputError(f"{where}: days must ascend, each once")
    if not frame.columns.map(str).is_unique:
        raise InputError(f"{where}: a series stands there twice")
    return days


def date_column(path: Path, columns: Iterable[object]) -> str:
    """Find the column of days; InputError when there is none, or two that could be meant."""
    names = list(map(str, columns))
    there = [name for name in names if plain(name) in DATE_NAMES]
    exact = [name for name in there if plain(name) == "date"] or there
    if not there:
        raise missing(path, "date", names)
    if len(exact) > 1:
        raise InputError(f"{path}: row 1: {two(exact[:2])} could both be the date; keep one")
    return exact[0]


def read_days(path: Path, table: pd.DataFrame, name: str) -> tuple[pd.Series, tuple[str, ...]]:
    """Read a column of days, each as it is written, and say how; a row that is none is refused."""
    days, said = table[name], ""
    if pd.api.types.is_datetime64_any_dtype(days):
        if days.dt.tz is not None:
            days = days.dt.tz_localize(None)
    else:
        # The day as it is written: a time or an offset does not move it.
        written, said = _iso(path, days.astype(str).str.strip(), name)
        written = written.str.extract(r"^(\d{4}-\d\d-\d\d)(?:[T ]\d.*)?$")[0]
        days = pd.to_datetime(written, format="%Y-%m-%d", errors="coerce")

    def say(at: int) -> str:
        seen = _seen(table[name].iloc[at])
        note = "" if re.search(r"\d", seen) else "; take out rows of notes or sums"
        return f"seen {seen}, {EXPECTED_DAY}{note}"

    refuse(path, table[name], name, ~days.dt.year.between(*YEARS), say)
    stamps = cast("pd.Series", days.dt.normalize().astype("datetime64[ns]"))
    return stamps, (said,) if said else ()


def _iso(path: Path, written: pd.Series, name: str) -> tuple[pd.Series, str]:
    """Write days as YYYY-MM-DD where the whole column can be read in one way only."""
    first = str(written.iloc[0]) if len(written) else ""
    serial = re.fullmatch(r"([2-6]\d{4})(?:\.\d+)?", first)
    if serial:
        meant = pd.Timestamp("1899-12-30") + pd.Timedelta(days=int(serial[1]))
        seen = f"seen {short(first)}, a spreadsheet's number for {meant.date()}"
        where = f"row {written.index[0]}, column {short(name)}"
        raise InputError(f"{path}: {where}: {seen}; format the column as dates (YYYY-MM-DD)")
    if re.match(r"\d{4}[/.\d]", first):
        pattern = r"^(\d{4})([/.]?)(\d\d)\2(\d\d)(?:\.0$)?"
        return written.str.replace(pattern, r"\1-\3-\4", regex=True), ""
    if not SPLIT_DAY.fullmatch(first):
        return written, ""
    parts = written.str.extract(rf"^{SPLIT_DAY.pattern}$")
    one, other = (pd.to_numeric(parts[k], errors="coerce") for k in (0, 2))
    orders = {"DD MM YYYY": not (other > 12).any(), "MM DD YYYY": not (one > 12).any()}
    fit = [order for order, fits in orders.items() if fits]
    if len(fit) == 2:
        doubt = f"dates such as {short(first)} may start with the day or with the month"
        raise InputError(f"{path}: column {short(name)}: {doubt}; write them as YYYY-MM-DD")
    if not fit:
        return written, ""
    places = (0, 2) if fit[0].startswith("D") else (2, 0)
    day, month = (parts[at].str.zfill(2) for at in places)
    iso = parts[3] + "-" + month + "-" + day
    return iso.fillna(written), f"dates as {fit[0].replace(' ', str(parts[1].iloc[0]))}"


def ordered_days(
    path: Path, table: pd.DataFrame, name: str, tickers: pd.Series | None = None
) -> tuple[pd.DatetimeIndex, tuple[str, ...]]:
    """Read days that all ascend or all descend, each once, by ticker if any; and say how."""
    days, said = read_days(path, table, name)
    of = pd.Series("", index=days.index) if tickers is None else tickers

    def check(bad: npt.ArrayLike, fault: str, advice: str) -> None:
        def say(at: int) -> str:
            whose = f" of ticker {short(of.iloc[at])}" if of.iloc[at] else ""
            return f"{days.iloc[at].date()}{whose} {fault}; {advice}"

        refuse(path, days, name, bad, say)

    codes = pd.factorize(of)[0]
    each = codes * 2**20 + days.to_numpy("datetime64[D]").astype("int64")
    check(pd.Series(each).duplicated(), "stands there twice", "keep one")
    step = days.groupby(codes, sort=False).diff()
    back = step < pd.Timedelta(0)
    if back.any() and not (step > pd.Timedelta(0)).any():
        said = (*said, "newest first: sorted by date")
    else:
        check(back, "comes after a later date", "sort its rows by date")
    return pd.DatetimeIndex(days, name="date"), said


def plain_numbers(
    path: Path, frame: pd.DataFrame, parted: bool
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Write the numbers of a file with a decimal point and nothing else.

    The whole file decides between decimal comma and point: 1,234 alone could be either, and is
    refused when no other cell settles it. Where commas part the columns a point is no question.
    """
    kinds = zip(frame.columns, frame.dtypes, strict=True)
    texts = [isinstance(kind, pd.StringDtype) and plain(n) not in TEXTS for n, kind in kinds]
    table = frame.loc[:, texts]
    flat = pd.Series(table.to_numpy(dtype=object).ravel(), dtype="str").fillna("")
    flat.index = np.repeat(table.index, table.shape[1])
    if parted and not flat.str.contains(r"[,'’\s]").any():
        return frame, ()
    found = flat[flat.str.contains(r"[.,'’\s]")]
    by_point, by_comma = found.str.fullmatch(POINT), found.str.fullmatch(COMMA)
    point, comma = found[by_point & ~by_comma], found[by_comma & ~by_point]
    both = found[by_point & by_comma & found.str.contains("[.,]")]
    if len(point) and len(comma):
        rows = (point.index[0], comma.index[0])
        where = f"rows {rows[0]} and {rows[1]}" if rows[0] != rows[1] else f"row {rows[0]}"
        seen = f"{where}: seen {short(point.iloc[0])} and {short(comma.iloc[0])}"
        raise InputError(f"{path}: {seen}, expected one decimal mark; save the numbers alike")
    if len(both) and not len(point) and not len(comma):
        digits, point_there = re.sub(r"[.,]", "", both.iloc[0]), both.iloc[0].replace(",", ".")
        seen = f"seen {short(both.iloc[0])}, which may be {point_there} or {digits}"
        do = "without thousands separators and with decimal points, columns parted by commas"
        raise InputError(f"{path}: row {both.index[0]}: {seen}; save the file {do}")
    style, between = (COMMA, r"[.'’\s]") if len(comma) else (POINT, r"[,'’\s]")
    number = flat.str.fullmatch(style)
    written = flat[number].str.replace(between, "", regex=True)
    grouped = (written.str.len() < flat[number].str.len()).any()
    flat[number] = written.str.replace(",", ".").array
    frame = frame.copy()
    frame[table.columns] = flat.to_numpy(dtype=object).reshape(table.shape)
    said = ["numbers with a decimal comma"] if len(comma) else []
    said += ["numbers with thousands separators"] if grouped else []
    return frame.astype(dict.fromkeys(table.columns, "str")), tuple(said)


def read_numbers(path: Path, column: pd.Series, name: str) -> pd.Series:
    """Read a column of finite numbers or nothing; InputError names the row that is neither."""
    if column.dtype.kind in "iuf" and not isinstance(column.dtype, pd.StringDtype):
        numbers = column.astype("float64")
        refuse(path, numbers, name, np.isinf(numbers.to_numpy()), "a number, or nothing")
        return numbers
    text = words(column)
    nothing = text.isin(NOTHING) | text.str.startswith("#N/A")
    numeric = text.str.fullmatch(NUMBER)
    numbers = pd.to_numeric(text.where(numeric, "nan"), errors="coerce").astype("float64")
    bad = ~(nothing | numeric) | (numeric & ~np.isfinite(numbers))
    refuse(path, column, name, bad, "a number, or nothing")
    return pd.Series(numbers, index=column.index)


def counts_rows(column: pd.Series) -> bool:
    """Whether a column without a name only numbers the rows, as some programs add it.

    Rows that were taken out since leave gaps; no price rises by whole numbers for ever.
    """
    numbers = pd.to_numeric(column, errors="coerce").to_numpy("float64", na_value=np.nan)
    steps = np.diff(numbers, prepend=-1.0)
    return bool(len(numbers) > 1 and (steps > 0).all() and (steps % 1 == 0).all())


def check_priced(path: Path, numbers: pd.Series, name: str) -> None:
    """Refuse a column that holds what no price is."""
    values = numbers.to_numpy()
    expected = "a price above zero; leave the cell empty when there was none"
    refuse(path, numbers, name, values <= 0, expected)
    far = (values < PRICES[0]) | (values > PRICES[1])
    refuse(path, numbers, name, far, f"a price from {PRICES[0]:g} to {PRICES[1]:g}")
    _no_days(path, values[~np.isnan(values)], name)


def check_returned(path: Path, numbers: pd.Series, name: str) -> None:
    """Refuse a column that holds what no daily return of one security is."""
    values = numbers.to_numpy()
    refuse(path, numbers, name, values <= -1, "a return above -1 (decimals, not percent)")
    known = values[~np.isnan(values)]
    if not len(known):
        return
    _no_days(path, known, name)
    middle, fault = float(np.median(np.abs(known))), ""
    if middle > SMALL:
        fault = f"the middle of its absolute values is {middle:.4g}"
    elif len(known) >= 20 and middle > 0.01 and not (known < 0).any():
        fault = f"none of {len(known)} numbers is negative and their middle is {middle:.4g}"
    if fault:
        expected = "expected daily returns as decimals, not prices or percent"
        raise InputError(f"{path}: column {short(name)}: {fault}, {expected}")
    refuse(path, numbers, name, values > MOST_RETURN, f"a daily return below {MOST_RETURN:g}")


def _no_days(path: Path, known: Floats, name: str) -> None:
    """Refuse numbers that are all days, as YYYYMMDD."""
    low, high = YEARS[0] * 10000, (YEARS[1] + 1) * 10000
    if len(known) and known[0] >= low and (known >= low).all() and (known < high).all():
        month, day = known // 100 % 100, known % 100
        if ((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all():
            seen = f"seen {known[0]:.0f}, which is a date"
            do = "expected prices or returns: take the column out"
            raise InputError(f"{path}: column {short(name)}: {seen}; {do}")

"""Prices and returns from any file by one strict reader: long or wide; groups; dates of events."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from usjp_research.market.check import refuse_file
from usjp_research.market.files import (
    Cells,
    counts_rows,
    existing,
    open_parquet,
    plain,
    plain_numbers,
    read_cells,
    short,
)
from usjp_research.market.record import Dropped
from usjp_research.market.units import check_days
from usjp_research.words import InputError, nearest

Floats = npt.NDArray[np.float64]
Kind = Literal["auto", "prices", "returns"]

# Names of columns, as `plain` writes them. What may as well be a ticker counts in long tables only.
DATE_NAMES = ("date", "dates", "day", "timestamp", "datetime", "tradedate", "tradingday")
TICKER_NAMES = ("ticker", "symbol", "tickers", "symbols", "tickersymbol", "security")
TICKER_LIKE = ("tic", "sym")
ADJUSTED = re.compile(
    r"(?:adj|adjusted)(?:close|closing|closeprice|closingprice|price|prc|last|px)?"
    r"|(?:close|closing|closeprice|closingprice|price|prc|last|px)(?:adj|adjusted)"
    r"|totalreturnindex|totreturnindexgrossdvds"
)
LIKE_ADJUSTED = re.compile("adj|tot(?:al)?ret|^tr(?:close|price|index|i)?$")
NOT_THE_CLOSE = ("open", "high", "low", "vol", "unadj")  # beside a close they stay unused
RAW = ("close", "closeprice", "closingprice", "price", "last", "lastprice", "pxlast", "px", "prc")
RETURNS = ("return", "returns", "ret", "dailyreturn", "simplereturn")
CLEAR = ("close", "closeprice", "closingprice", "price", "pxlast", "return", "returns")
NOTHING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "<NA>")
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
LISTED = re.compile(r"(\S+) (?:US|UN|UW|UQ|UR|UA|UP|UV) Equity", re.I)

YEARS = (1900, 2100)
FEWEST_SESSIONS = 30
PRICES = (1e-9, 1e12)
MOST_RETURN = 100.0
NEGATIVE = 0.2  # more of the numbers below zero than this are returns: no price is
SMALL = 0.5  # below it numbers without sign may be returns as well as prices
PERCENT = 10.0  # the middle size of a day's return is less, even when it is given in percent
IN_MEMORY = 2**26  # bytes of returns that are read at once; larger Parquet files come in blocks
BLOCK = 2**25
TILE = 64
YES, NO = ("true", "1", "yes"), ("false", "0", "no")


@dataclass(frozen=True, slots=True)
class Table:
    """What a file of prices or returns holds, day by day.

    Attributes
    ----------
    where : str
        Name of the file, for messages.
    returns : DataFrame of shape (n_sessions, n_series)
        Simple returns as decimals, NaN where missing; every New York session from the first
        return to the last is a row.
    levels : DataFrame of shape (n_sessions + 1, n_series) or None
        Adjusted prices that the returns come from, from the session before the first return;
        None where the file holds returns.
    close : DataFrame of the shape of ``levels`` or None
        Raw closes, where the file has them beside adjusted ones.
    dropped : tuple of Dropped
        Rows on days without a session and sessions without a row, with the reason.
    read_as : tuple of str
        One line each: what a file that is out of the ordinary was read as.
    """

    where: str
    returns: pd.DataFrame
    levels: pd.DataFrame | None = None
    close: pd.DataFrame | None = None
    dropped: tuple[Dropped, ...] = ()
    read_as: tuple[str, ...] = ()


def read_returns(path: str | Path) -> tuple[pd.DataFrame, tuple[Dropped, ...]]:
    """Read prices or returns and give returns: see `read_prices`."""
    table = read_prices(path)
    return table.returns, table.dropped


def read_prices(path: str | Path, kind: Kind = "auto") -> Table:
    """Read prices or returns, long or wide, from CSV (gzipped too), Excel or Parquet.

    Names of columns are known without case, spaces and marks. A long table has a date, a ticker
    (or symbol) and an adjusted close, a close or a return; a wide one a date and a column per
    security; two rows of names, fields and securities, are understood too. What could be read in
    two ways is refused with what settles it. New York's sessions are the calendar: one without a
    price makes two missing returns, and nothing is filled.

    Parameters
    ----------
    path : path
        The file.
    kind : {"auto", "prices", "returns"}
        What the file is declared to hold. By default the names of a long table say it; a wide
        one is taken for returns when more than a fifth of its numbers are negative, for prices
        when they are not small.

    Returns
    -------
    Table

    Raises
    ------
    InputError
        For a file that is empty, has a column missing or two that could be meant, rows of
        another length, text where a number should be, dates that are unreadable, out of order
        or double, a price of zero or below, or numbers that are not what they are declared to be.
    """
    path = Path(path)
    found = _grid(path, kind)
    values, dropped = _on_sessions(path, found.values)
    refuse_file(str(path), check_days(found.values))
    close = None if found.close is None else found.close.reindex(values.index)
    returns = values.pct_change(fill_method=None).iloc[1:] if found.are_prices else values
    known = int(returns.notna().any(axis=1).sum())
    if known < FEWEST_SESSIONS:
        raise InputError(
            f"{path}: seen {known} days of returns, expected at least {FEWEST_SESSIONS}; "
            "give a longer file"
        )
    levels = values if found.are_prices else None
    return Table(path.name, returns, levels, close, dropped, found.read_as)


@dataclass(frozen=True, slots=True)
class Grid:
    """The numbers of a file by day and security, before any calendar."""

    values: pd.DataFrame
    are_prices: bool
    close: pd.DataFrame | None = None
    read_as: tuple[str, ...] = ()


def _grid(path: Path, kind: Kind) -> Grid:
    cells = _titled(path, plain_numbers(path, read_cells(path)))
    date_name = date_column(path, cells.frame.columns)
    if cells.frame.empty:
        raise InputError(f"{path}: there is a header but no row; add prices or returns")
    days, said = _days(path, cells.frame, date_name)
    ticker = None if cells.pairs else _ticker_column(path, cells.frame, date_name)
    if cells.pairs:
        grid = _from_pairs(path, cells, days, date_name, kind)
    elif ticker is not None:
        grid = _from_long(path, cells.frame, days, date_name, ticker, kind)
    else:
        grid = _from_wide(path, cells.frame, days, date_name, kind)
    names, listed = _security_names(path, list(map(str, grid.values.columns)))
    values = grid.values.set_axis(names, axis=1)
    close = None if grid.close is None else grid.close.set_axis(names, axis=1)
    return Grid(values, grid.are_prices, close, (*cells.read_as, *said, *grid.read_as, *listed))


# --- files as tables -------------------------------------------------------------------------


def read_table(path: Path) -> pd.DataFrame:
    """Read a file as it is: text, or the types of a Parquet file; the index is the user's row.

    Numbers stand there with a decimal point and without thousands separators, whatever the file
    has; `read_days` and `read_numbers` make days and numbers of the columns.
    """
    return _titled(path, plain_numbers(path, read_cells(path))).frame


def _titled(path: Path, cells: Cells) -> Cells:
    """Name the column of days that has no name, and leave out one that only counts the rows."""
    frame = cells.frame
    if "" not in frame.columns:
        return cells
    named = [name for name in frame.columns if plain(str(name)) in DATE_NAMES]
    if not named and not frame.empty and _looks_like_a_day(frame[""].iloc[0]):
        frame = frame.rename(columns={"": "date"})
        said = "the column without a name as dates"
    elif counts_rows(frame[""]):
        frame = frame.drop(columns="")
        said = "without the column that has no name and counts the rows"
    else:
        at = list(frame.columns).index("") + 1
        raise InputError(f"{path}: row 1: column {at} has no name; name it or take it out")
    return Cells(frame, cells.pairs, (*cells.read_as, said), cells.parted)


def _looks_like_a_day(value: object) -> bool:
    return isinstance(value, pd.Timestamp) or bool(re.match(r"\d{1,4}[-./]\d", str(value)))


def date_column(path: Path, columns: Iterable[str]) -> str:
    """Find the column of days; InputError when there is none, or two that could be meant."""
    names = list(map(str, columns))
    there = [name for name in names if plain(name) in DATE_NAMES]
    exact = [name for name in there if plain(name) == "date"] or there
    if not there:
        raise InputError(f"{path}: row 1: column 'date' is missing ({_closest('date', names)})")
    if len(exact) > 1:
        raise InputError(f"{path}: row 1: {_two(exact)} could both be the date; keep one")
    return exact[0]


def _closest(name: str, names: Iterable[str]) -> str:
    return nearest(name, [known[:40] for known in names])[:140]


def _two(names: Sequence[str]) -> str:
    return f"columns {short(names[0])} and {short(names[1])}"


def _ticker_column(path: Path, frame: pd.DataFrame, date_name: str) -> str | None:
    """Find the column of tickers that makes a table long; None for a wide one."""
    names = [str(name) for name in frame.columns if name != date_name]
    there = [name for name in names if plain(name) in TICKER_NAMES]
    there += [n for n in names if plain(n) in TICKER_LIKE and not _first_is_number(frame[n])]
    if len(there) > 1:
        raise InputError(f"{path}: row 1: {_two(there)} could both be the ticker; keep one")
    if there:
        return there[0]
    if any(plain(n) in CLEAR or n == "ret" or _is_adjusted(n) for n in names):
        raise InputError(
            f"{path}: row 1: column 'ticker' is missing ({_closest('ticker', names)}); a long "
            "table has date, ticker and a price or return, a wide one a column per security"
        )
    return None


def _first_is_number(column: pd.Series) -> bool:
    return bool(re.fullmatch(NUMBER, str(column.iloc[0]))) if len(column) else False


def _is_adjusted(name: str) -> bool:
    return len(plain(name)) > 3 and bool(ADJUSTED.fullmatch(plain(name)))


def _row(path: Path, column: pd.Series, at: int) -> str:
    """Name a row as the user sees it: the header of a text file counts, blank rows too."""
    return f"row {column.index[at]}"


def _seen(value: object) -> str:
    return "nothing" if value is None or value != value or value == "" else short(value)


# --- days ------------------------------------------------------------------------------------

SPLIT_DAY = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?:[T ]\d.*)?")
EXPECTED_DAY = f"expected a date as YYYY-MM-DD, from {YEARS[0]} to {YEARS[1]}"


def read_days(path: Path, table: pd.DataFrame, name: str) -> pd.Series:
    """Read a column of days, each as it is written; InputError names the row that is none."""
    return _days(path, table, name)[0]


def _days(path: Path, table: pd.DataFrame, name: str) -> tuple[pd.Series, tuple[str, ...]]:
    days, said = table[name], ""
    if pd.api.types.is_datetime64_any_dtype(days):
        if days.dt.tz is not None:
            days = days.dt.tz_localize(None)
    else:
        # The day as it is written: a time or an offset does not move it.
        written, said = _iso(path, days.astype(str).str.strip(), name)
        written = written.str.extract(r"^(\d{4}-\d\d-\d\d)(?:[T ]\d.*)?$")[0]
        days = pd.to_datetime(written, format="%Y-%m-%d", errors="coerce")
    bad = ~days.dt.year.between(*YEARS)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{path}: {_row(path, days, at)}, column {short(name)}: seen "
            f"{_seen(table[name].iloc[at])}, {EXPECTED_DAY}"
        )
    stamps = cast("pd.Series", days.dt.normalize().astype("datetime64[ns]"))
    return stamps, (said,) if said else ()


def _iso(path: Path, written: pd.Series, name: str) -> tuple[pd.Series, str]:
    """Write days as YYYY-MM-DD where the whole column can be read in one way only."""
    first = str(written.iloc[0]) if len(written) else ""
    if re.fullmatch(r"\d{8}", first):
        return written.str.replace(r"^(\d{4})(\d\d)(\d\d)$", r"\1-\2-\3", regex=True), ""
    if re.match(r"\d{4}[/.]\d", first):
        return written.str.replace(r"^(\d{4})[/.](\d\d)[/.](\d\d)", r"\1-\2-\3", regex=True), ""
    serial = re.fullmatch(r"([2-6]\d{4})(?:\.\d+)?", first)
    if serial:
        meant = pd.Timestamp("1899-12-30") + pd.Timedelta(days=int(serial[1]))
        raise InputError(
            f"{path}: {_row(path, written, 0)}, column {short(name)}: seen {short(first)}, a "
            f"spreadsheet's number for {meant.date()}; format the column as dates (YYYY-MM-DD)"
        )
    if not SPLIT_DAY.fullmatch(first):
        return written, ""
    parts = written.str.extract(rf"^{SPLIT_DAY.pattern}$")
    one, two = (pd.to_numeric(parts[k], errors="coerce") for k in (0, 2))
    orders = {"DD MM YYYY": not (two > 12).any(), "MM DD YYYY": not (one > 12).any()}
    fit = [order for order, fits in orders.items() if fits]
    if len(fit) == 2:
        raise InputError(
            f"{path}: column {short(name)}: dates such as {short(first)} may start with the day "
            "or with the month; write them as YYYY-MM-DD"
        )
    if not fit:
        return written, ""
    places = (0, 2) if fit[0].startswith("D") else (2, 0)
    day, month = (parts[at].str.zfill(2) for at in places)
    iso = parts[3] + "-" + month + "-" + day
    return iso.fillna(written), f"dates as {fit[0].replace(' ', str(parts[1].iloc[0]))}"


def ascending_days(path: Path, table: pd.DataFrame, name: str) -> pd.DatetimeIndex:
    """Read a column of days, each once and in order; InputError names the row that is not."""
    days = read_days(path, table, name)
    _in_order(path, days, name)
    return pd.DatetimeIndex(days, name="date")


def _in_order(path: Path, days: pd.Series, name: str) -> None:
    step = days.diff().dt.total_seconds().to_numpy()
    for bad, fault in (
        (step == 0, "stands there twice; keep one"),
        (step < 0, "comes after a later date; sort the rows by date"),
    ):
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            where = f"{path}: {_row(path, days, at)}, column {short(name)}"
            raise InputError(f"{where}: {days.iloc[at].date()} {fault}")


def _newest_first(days: pd.Series) -> bool:
    return len(days) > 1 and bool((np.diff(days.to_numpy().astype("int64")) < 0).all())


# --- numbers ---------------------------------------------------------------------------------


def read_numbers(path: Path, column: pd.Series, name: str) -> pd.Series:
    """Read a column of finite numbers or nothing; InputError names the row that is neither."""
    if column.dtype.kind in "iuf" and not isinstance(column.dtype, pd.StringDtype):
        numbers = column.astype("float64")
        if np.isinf(numbers.to_numpy()).any():
            _refuse(path, numbers, name, np.isinf(numbers.to_numpy()), "a number, or nothing")
        return numbers
    text = column.astype(object).where(column.notna(), "").astype(str).str.strip()
    nothing = text.isin(NOTHING) | text.str.startswith("#N/A")
    numeric = text.str.fullmatch(NUMBER)
    numbers = pd.to_numeric(text.where(numeric, "nan"), errors="coerce").astype("float64")
    bad = ~(nothing | numeric) | (numeric & ~np.isfinite(numbers))
    _refuse(path, column, name, bad, "a number, or nothing")
    return pd.Series(numbers, index=column.index)


def _refuse(path: Path, column: pd.Series, name: str, bad: npt.ArrayLike, expected: str) -> None:
    """Name the first row that is bad, if there is one."""
    rows = np.flatnonzero(bad)
    if len(rows):
        value = column.iloc[int(rows[0])]
        seen = f"{value:g}" if isinstance(value, float) else _seen(value)
        raise InputError(
            f"{path}: {_row(path, column, int(rows[0]))}, column {short(name)}: seen {seen}, "
            f"expected {expected}"
        )


def _no_days(path: Path, numbers: pd.Series, name: str) -> None:
    values = numbers.to_numpy()
    known = values[~np.isnan(values)]
    low, high = YEARS[0] * 10000, (YEARS[1] + 1) * 10000
    if len(known) and known[0] >= low and (known >= low).all() and (known < high).all():
        month, day = known // 100 % 100, known % 100
        if ((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all():
            raise InputError(
                f"{path}: column {short(name)}: seen {known[0]:.0f}, which is a date; expected "
                "prices or returns: take the column out"
            )


def _priced(path: Path, numbers: pd.Series, name: str) -> None:
    want = "a price above zero; leave the cell empty when there was none"
    values = numbers.to_numpy()
    _refuse(path, numbers, name, values <= 0, want)
    far = (values < PRICES[0]) | (values > PRICES[1])
    _refuse(path, numbers, name, far, f"a price from {PRICES[0]:g} to {PRICES[1]:g}")
    _no_days(path, numbers, name)


def _returned(path: Path, numbers: pd.Series, name: str) -> None:
    _bounded(path, numbers, name)
    _no_days(path, numbers, name)
    values = numbers.to_numpy()
    known = values[~np.isnan(values)]
    if not len(known):
        return
    middle = float(np.median(np.abs(known)))
    if middle > SMALL:
        raise InputError(
            f"{path}: column {short(name)}: the middle of its absolute values is "
            f"{middle:.4g}, expected daily returns as decimals, not prices or percent"
        )
    if len(known) >= 20 and middle > 0.01 and not (known < 0).any():
        raise InputError(
            f"{path}: column {short(name)}: none of {len(known)} numbers is negative and their "
            f"middle is {middle:.4g}, expected daily returns, not prices"
        )
    _refuse(path, numbers, name, values > MOST_RETURN, f"a daily return below {MOST_RETURN:g}")


# --- long, wide, and two rows of names -------------------------------------------------------


def _value_column(
    path: Path, names: Sequence[str], kind: Kind
) -> tuple[str, str | None, bool, tuple[str, ...]]:
    """Choose the column that is meant: its name, a raw close beside it, whether it is prices."""
    adjusted = [name for name in names if ADJUSTED.fullmatch(plain(name))]
    raw = [name for name in names if plain(name) in RAW]
    returned = [name for name in names if plain(name) in RETURNS]
    if kind != "returns":
        like = [name for name in names if LIKE_ADJUSTED.search(plain(name))]
        doubtful = [n for n in like if n not in adjusted and (not adjusted or "adj" in plain(n))]
        doubtful = [n for n in doubtful if not any(word in plain(n) for word in NOT_THE_CLOSE)]
        if doubtful and (adjusted or raw):
            used = (adjusted or raw)[0]
            raise InputError(
                f"{path}: row 1: {_two([used, doubtful[0]])}: which holds adjusted prices? Name "
                "that one adj_close, or take the other out"
            )
    prices = adjusted or raw
    if kind != "auto":
        prices, returned = (prices, []) if kind == "prices" else ([], returned)
    meant = [*prices, *returned]
    if len(meant) > 1:
        settle = " or give --returns" if prices and returned else ""
        raise InputError(
            f"{path}: row 1: {_two([meant[0], meant[-1]])} could both be meant; keep one{settle}"
        )
    if not meant:
        what = "prices or returns" if kind == "auto" else kind
        expected = {"prices": "adj_close, price, close", "returns": "return, ret"}
        wanted = expected.get(kind, "adj_close, price, close, return, ret")
        logs = [name for name in names if re.search("log.*ret", plain(name))]
        hint = f"{short(logs[0])} is a log return; " if logs else ""
        raise InputError(
            f"{path}: row 1: no column of {what}: {hint}seen "
            f"{', '.join(name[:20] for name in names)[:100]}, expected one of {wanted}"
        )
    (name,) = meant
    beside = raw[0] if adjusted and raw and name in adjusted else None
    return name, beside, bool(prices), _unadjusted(name, names) if name in raw else ()


def _unadjusted(name: str, names: Sequence[str]) -> tuple[str, ...]:
    """Say that closes are taken as they are, above all beside dividends and splits."""
    if plain(name) == "price":
        return ()
    acts = [n for n in names if plain(n).startswith(("dividend", "split", "stocksplit"))]
    if acts:
        return (f"unadjusted closes: {short(name)} beside {short(acts[0])}, which is not used",)
    return (f"prices from {short(name)}: adjusted for splits and dividends only if it already is",)


def _from_long(
    path: Path,
    table: pd.DataFrame,
    days: pd.Series,
    date_name: str,
    ticker_name: str,
    kind: Kind,
) -> Grid:
    others = [str(name) for name in table.columns if name not in (date_name, ticker_name)]
    name, beside, are_prices, said = _value_column(path, others, kind)
    tickers = table[ticker_name].astype(object).where(table[ticker_name].notna(), "").astype(str)
    _refuse(path, table[ticker_name], ticker_name, tickers.str.strip().eq(""), "a ticker")
    tickers = tickers.str.strip()
    days, back = _long_order(path, days, tickers, date_name)
    numbers = read_numbers(path, table[name], name)
    (_priced if are_prices else _bounded)(path, numbers, name)
    columns = {"value": numbers}
    if beside is not None:
        columns["close"] = read_numbers(path, table[beside], beside)
    long = pd.DataFrame({"date": days, "ticker": tickers, **columns})
    wide = long.pivot(index="date", columns="ticker", values=list(columns)).sort_index()
    values = pd.DataFrame(wide["value"])
    close = pd.DataFrame(wide["close"]) if beside is not None else None
    if not are_prices:
        for ticker in values.columns:
            _returned(path, values[ticker], f"{name} of {ticker}")
    return Grid(values, are_prices, close, (*said, *back))


def _bounded(path: Path, numbers: pd.Series, name: str) -> None:
    want = "a return above -1 (decimals, not percent)"
    _refuse(path, numbers, name, numbers.to_numpy() <= -1, want)


def _long_order(
    path: Path, days: pd.Series, tickers: pd.Series, date_name: str
) -> tuple[pd.Series, tuple[str, ...]]:
    """Make sure that each ticker's days stand once and in one order, oldest or newest first."""
    twice = pd.DataFrame({"day": days, "ticker": tickers}).duplicated().to_numpy()
    if twice.any():
        at = int(np.flatnonzero(twice)[0])
        raise InputError(
            f"{path}: {_row(path, days, at)}, column {short(date_name)}: {days.iloc[at].date()} "
            f"stands there twice for ticker {short(tickers.iloc[at])}; keep one"
        )
    step = days.groupby(tickers, sort=False).diff()
    back = (step < pd.Timedelta(0)).to_numpy()
    if back.any() and not (step > pd.Timedelta(0)).any():
        return days, ("newest first: sorted by date",)
    if back.any():
        at = int(np.flatnonzero(back)[0])
        raise InputError(
            f"{path}: {_row(path, days, at)}, column {short(date_name)}: {days.iloc[at].date()} "
            f"comes after a later date of ticker {short(tickers.iloc[at])}; sort each ticker's "
            "rows by date"
        )
    return days, ()


def _from_pairs(path: Path, cells: Cells, days: pd.Series, date_name: str, kind: Kind) -> Grid:
    fields = list(dict.fromkeys(field for field, _ in cells.pairs.values()))
    name, beside, are_prices, said = _value_column(path, fields, kind)

    def of(field: str) -> pd.DataFrame:
        columns = [column for column, pair in cells.pairs.items() if pair[0] == field]
        return cells.frame[columns]

    values, back = _numbers_by_day(path, of(name), days, date_name)
    for column in values.columns:
        (_priced if are_prices else _returned)(path, values[column], str(column))
    securities = [cells.pairs[str(column)][1] for column in values.columns]
    close = None
    if beside is not None:
        raw, _ = _numbers_by_day(path, of(beside), days, date_name)
        raw.columns = pd.Index([cells.pairs[str(column)][1] for column in raw.columns])
        close = raw.reindex(columns=securities).set_axis(values.index)
    said = said or (f"{'prices' if are_prices else 'returns'} from {short(name)}",)
    by_day = values.set_axis(securities, axis=1)
    dated = None if close is None else _dated(close, days, back)
    return Grid(_dated(by_day, days, back), are_prices, dated, (*said, *back))


def _from_wide(
    path: Path, table: pd.DataFrame, days: pd.Series, date_name: str, kind: Kind
) -> Grid:
    if len(table.columns) < 2:
        raise InputError(f"{path}: row 1: no column but '{date_name}'; add a column per security")
    values, back = _numbers_by_day(path, table.drop(columns=date_name), days, date_name)
    are_prices = _are_prices(path, values, kind)
    for name in values.columns:
        (_priced if are_prices else _returned)(path, values[name], str(name))
    declared = (f"declared as {kind}",) if kind != "auto" else ()
    return Grid(_dated(values, days, back), are_prices, None, (*declared, *back))


def _numbers_by_day(
    path: Path, table: pd.DataFrame, days: pd.Series, date_name: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read every column as numbers, under the rows of the file, once the days are in order."""
    back = _newest_first(days)
    _in_order(path, days[::-1] if back else days, date_name)
    note = ("newest first: sorted by date",) if back else ()
    if all(isinstance(kind, pd.StringDtype) for kind in table.dtypes):  # many columns in one go
        flat = pd.Series(table.to_numpy(dtype=object).ravel())
        with contextlib.suppress(InputError):
            values = read_numbers(path, flat, "").to_numpy().reshape(table.shape)
            return pd.DataFrame(values, index=table.index, columns=table.columns), note
    numbers = {name: read_numbers(path, table[name], str(name)) for name in table.columns}
    return pd.DataFrame(numbers), note


def _dated(values: pd.DataFrame, days: pd.Series, back: tuple[str, ...]) -> pd.DataFrame:
    dated = values.set_axis(pd.DatetimeIndex(days, name="date"), axis=0)
    return dated[::-1] if back else dated


def _are_prices(path: Path, values: pd.DataFrame, kind: Kind) -> bool:
    """Tell prices from returns by what only returns can be: below zero."""
    known = values.to_numpy()[np.isfinite(values.to_numpy())]
    below = float((known < 0).mean()) if len(known) else 0.0
    if kind == "prices" and below > NEGATIVE:
        raise InputError(
            f"{path}: declared as prices, but {below:.0%} of the numbers are negative; give "
            "returns with --returns"
        )
    if kind != "auto":
        return kind == "prices"
    middle = float(np.median(np.abs(known))) if len(known) else 1.0
    if below <= NEGATIVE and middle < SMALL:
        raise InputError(
            f"{path}: numbers as small as {middle:.3g} with {below:.0%} negative may be prices or "
            "returns; say which: --market prices:FILE or returns:FILE (--returns)"
        )
    return below <= NEGATIVE or middle > PERCENT


def _security_names(path: Path, names: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """Take spaces and Bloomberg's ending off the names of securities; each stays one of a kind."""
    short_names = [LISTED.sub(r"\1", name.strip()) for name in names]
    if len(set(short_names)) < len(short_names):
        twice = next(name for name in short_names if short_names.count(name) > 1)
        raise InputError(f"{path}: security {short(twice)} stands there twice; keep one")
    cut = sum(new != old.strip() for new, old in zip(short_names, names, strict=True))
    return short_names, (f"{cut} names without ' US Equity'",) if cut else ()


# --- sessions --------------------------------------------------------------------------------


def _on_sessions(path: Path, wide: pd.DataFrame) -> tuple[pd.DataFrame, tuple[Dropped, ...]]:
    """Put a table on the sessions of New York: no other row, and none missing."""
    import exchange_calendars

    first, last = wide.index[0], wide.index[-1]
    weekdays = int(np.busday_count(first.date(), last.date())) + 1
    if weekdays > 10 and len(wide) < weekdays / 2:
        raise InputError(
            f"{path}: seen {len(wide)} rows from {first.date()} to {last.date()}, expected one for "
            f"each of about {weekdays} trading days; give daily prices or returns"
        )
    margin = pd.Timedelta(days=10)
    calendar = exchange_calendars.get_calendar("XNYS", start=first - margin, end=last + margin)
    found = calendar.sessions_in_range(first, last).to_numpy("datetime64[ns]")
    sessions = pd.DatetimeIndex(found, name="date")
    dropped = [
        Dropped("day", str(day.date()), "no session in New York that day; its row is not used")
        for day in wide.index[~wide.index.isin(sessions)]
    ]
    dropped += [
        Dropped("day", str(day.date()), "session is missing in the file; nothing is filled")
        for day in sessions[~sessions.isin(wide.index)]
    ]
    return wide.reindex(sessions), tuple(dropped)


# --- returns on anybody's trading days -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReturnPanel:
    """Daily simple returns of many series on common days.

    Attributes
    ----------
    days : DatetimeIndex of shape (n_days,)
    names : tuple of str
    read : callable
        From names to an array of shape (n_names, n_days), NaN where missing.
    chunk : int or None
        Series to read at a time; None when everything may be read at once.
    where : str
        The file, for messages.
    read_as : tuple of str
        As `Table`.
    """

    days: pd.DatetimeIndex
    names: tuple[str, ...]
    read: Callable[[Sequence[str]], Floats]
    chunk: int | None
    where: str
    read_as: tuple[str, ...] = ()

    def position(self, day: pd.Timestamp) -> int:
        """Place of a day; raises InputError when it is not one of the panel's."""
        at = int(self.days.searchsorted(day))
        if at < len(self.days) and self.days[at] == day:
            return at
        span = f"{self.days[0].date()} to {self.days[-1].date()}"
        if 0 < at < len(self.days):
            hint = f"the next day there is {self.days[at].date()}"
        else:
            hint = f"the file runs from {span}"
        raise InputError(f"event {day.date()}: not a day of {self.where}; {hint}")


def panel_of_frame(frame: pd.DataFrame, where: str = "the returns") -> ReturnPanel:
    """Make a panel of a table with a column per series and ascending days as index.

    Examples
    --------
    >>> days = pd.bdate_range("2024-01-01", periods=3)
    >>> panel_of_frame(pd.DataFrame({"A": [0.01, 0.02, -0.01]}, index=days)).names
    ('A',)
    """
    days = pd.DatetimeIndex(frame.index)
    if not (days.is_monotonic_increasing and days.is_unique):
        raise InputError(f"{where}: days must ascend, each once")
    names = tuple(map(str, frame.columns))
    if len(set(names)) < len(names):
        raise InputError(f"{where}: a series stands there twice")
    plain = bool((frame.dtypes == np.float64).all())  # then no copy is made
    values = frame.to_numpy() if plain else frame.to_numpy(dtype=np.float64, na_value=np.nan)
    place = {name: at for at, name in enumerate(names)}

    def read(wanted: Sequence[str]) -> Floats:
        columns = np.array([place[name] for name in wanted])
        out = np.empty((len(columns), len(days)))
        for at in range(0, len(columns), TILE):  # a tile at a time stays in the cache
            out[at : at + TILE] = values[:, columns[at : at + TILE]].T
            if np.isinf(out[at : at + TILE]).any():
                raise InputError(f"{where}: seen an infinite return, expected numbers or nothing")
        return out

    return ReturnPanel(days, names, read, None, where)


def open_returns(path: str | Path) -> ReturnPanel:
    """Open daily simple returns on the trading days of the file itself, whatever they are.

    A large wide Parquet file is read in blocks of columns, when they are needed; nothing is
    filled.

    Parameters
    ----------
    path : path
        As for `read_prices`, declared as returns.

    Returns
    -------
    ReturnPanel

    Raises
    ------
    InputError
        For a file that is missing or empty, dates that are unreadable, unsorted or double,
        and, when a series is read, text or numbers that are no returns.
    """
    path = existing(str(path))
    blocks = _in_blocks(path)
    if blocks is not None:
        return blocks
    cells = _titled(path, plain_numbers(path, read_cells(path)))
    date_name = date_column(path, cells.frame.columns)
    if cells.pairs or cells.frame.empty or _ticker_column(path, cells.frame, date_name):
        grid = _grid(path, "returns")
        return replace(panel_of_frame(grid.values, str(path)), read_as=grid.read_as)
    days, said = _days(path, cells.frame, date_name)
    back = _newest_first(days)
    table = cells.frame[::-1] if back else cells.frame
    names, listed = _security_names(path, [n for n in map(str, table.columns) if n != date_name])
    columns = dict(zip(names, (n for n in table.columns if n != date_name), strict=True))
    note = ("newest first: sorted by date",) if back else ()
    return ReturnPanel(
        ascending_days(path, table, date_name),
        tuple(names),
        lambda wanted: _checked(path, table[[columns[name] for name in wanted]]),
        None,
        str(path),
        (*cells.read_as, *said, *note, *listed),
    )


def _in_blocks(path: Path) -> ReturnPanel | None:
    """Open a Parquet file that is too large to be read at once; None for any other file."""
    with path.open("rb") as start:
        if start.read(4) != b"PAR1":
            return None
    file = open_parquet(path)
    names = [name for name in file.schema_arrow.names if name != "__index_level_0__"]
    rows = file.metadata.num_rows
    if rows * len(names) * 8 <= IN_MEMORY:
        return None
    date_name = next((name for name in names if plain(name) in DATE_NAMES), None)
    if date_name is None:
        raise InputError(f"{path}: column 'date' is missing ({_closest('date', names)})")

    def part(wanted: Sequence[str]) -> pd.DataFrame:
        frame = file.read(columns=list(wanted)).replace_schema_metadata(None).to_pandas()
        return cast("pd.DataFrame", frame.set_axis(range(1, rows + 1), axis=0))

    return ReturnPanel(
        ascending_days(path, part([date_name]), date_name),
        tuple(name for name in names if name != date_name),
        lambda wanted: _checked(path, part(wanted)[list(wanted)]),
        max(1, BLOCK // (rows * 8)),
        str(path),
    )


def _checked(path: Path, frame: pd.DataFrame) -> Floats:
    """Return series as rows, each read and found to be returns."""
    out = np.empty((len(frame.columns), len(frame)))
    for at, name in enumerate(frame.columns):
        numbers = read_numbers(path, frame[name], str(name))
        _returned(path, numbers, str(name))
        out[at] = numbers.to_numpy()
    return out


# --- groups and dates of events --------------------------------------------------------------


def read_groups(path: str | Path) -> pd.DataFrame:
    """Read the firms and the groups they are in.

    Parameters
    ----------
    path : path
        CSV with ``firm``, ``sector`` and optionally ``treated`` (true or false). Firms that are
        not treated are in no group.

    Returns
    -------
    DataFrame
        Columns ``firm``, ``sector`` and ``treated``, the order of the file.

    Raises
    ------
    InputError
        For a missing column, an empty cell, a firm twice, or a mark that is not true or false.
    """
    path = existing(str(path))
    table = _text(path, ("firm", "sector"))
    _filled(path, table, ("firm", "sector"))
    twice = table["firm"].duplicated()
    if twice.any():
        at = int(np.flatnonzero(twice)[0])
        raise InputError(
            f"{path}: {_row(path, table['firm'], at)}, column 'firm': seen "
            f"'{table['firm'].iloc[at]}' again; keep one row a firm"
        )
    for word in ("ALL", "dropped"):
        taken = (table["sector"] == word).to_numpy()
        if taken.any():
            at = int(np.flatnonzero(taken)[0])
            raise InputError(
                f"{path}: {_row(path, table['sector'], at)}, column 'sector': '{word}' has its own "
                "meaning in the results; call the sector something else"
            )
    treated = np.ones(len(table), dtype=bool)
    if "treated" in table.columns:
        marks = table["treated"].str.lower()
        bad = ~marks.isin((*YES, *NO)).to_numpy()
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"{path}: {_row(path, marks, at)}, column 'treated': seen "
                f"'{table['treated'].iloc[at]}', expected true or false"
            )
        treated = marks.isin(YES).to_numpy()
    return pd.DataFrame({"firm": table["firm"], "sector": table["sector"], "treated": treated})


def read_event_dates(path: str | Path) -> pd.DataFrame:
    """Read event dates by firm: a CSV with ``firm`` and ``date``; a firm may have several.

    Returns
    -------
    DataFrame
        Columns ``firm`` and ``date``.

    Raises
    ------
    InputError
        For a missing column, an empty cell, an unreadable date, or the same row twice.
    """
    path = existing(str(path))
    table = _text(path, ("firm", "date"))
    _filled(path, table, ("firm", "date"))
    out = pd.DataFrame({"firm": table["firm"], "date": read_days(path, table, "date")})
    twice = out.duplicated()
    if twice.any():
        at = int(np.flatnonzero(twice)[0])
        firm, day = out["firm"].iloc[at], out["date"].iloc[at].date()
        where = f"{path}: {_row(path, out['firm'], at)}"
        raise InputError(f"{where}: firm '{firm}' has {day} twice; keep one")
    return out


def _text(path: Path, needed: Iterable[str]) -> pd.DataFrame:
    """Read a table of words: every cell as text, days of a Parquet or Excel file as they are."""
    table = read_cells(path).frame
    for name in needed:
        if name not in table.columns:
            known = _closest(name, map(str, table.columns))
            raise InputError(f"{path}: row 1: column '{name}' is missing ({known})")
    if table.empty:
        raise InputError(f"{path}: there is a header but no row; add firms")
    for name in table.columns:
        if not pd.api.types.is_datetime64_any_dtype(table[name]):
            table[name] = table[name].astype(object).where(table[name].notna(), "").astype(str)
    return table


def _filled(path: Path, table: pd.DataFrame, names: Iterable[str]) -> None:
    for name in names:
        if pd.api.types.is_datetime64_any_dtype(table[name]):
            continue
        table[name] = table[name].str.strip()
        empty = (table[name] == "").to_numpy()
        if empty.any():
            where = _row(path, table[name], int(np.flatnonzero(empty)[0]))
            raise InputError(f"{path}: {where}, column '{name}': seen nothing, expected a {name}")

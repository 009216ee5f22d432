"""Prices and returns from any file by one strict reader: long, wide, or under two rows of names."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from usjp_research.market.check import refuse_file
from usjp_research.market.columns import (
    NUMBER,
    SMALL,
    TICKER_LIKE,
    TICKER_NAMES,
    check_bounded,
    check_priced,
    check_returned,
    date_column,
    in_order,
    missing,
    plain,
    read_days,
    read_numbers,
    refuse,
    short,
    two,
)
from usjp_research.market.files import Cells, read_table
from usjp_research.market.record import Dropped
from usjp_research.market.units import check_days
from usjp_research.words import InputError

Kind = Literal["auto", "prices", "returns"]

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
EXPECTED = {
    "auto": "adj_close, price, close, return, ret",
    "prices": "adj_close, price, close",
    "returns": "return, ret",
}
LISTED = re.compile(r"(\S+) (?:US|UN|UW|UQ|UR|UA|UP|UV) Equity", re.I)
HINT = "; a long table has date, ticker and a price or return, a wide one a column per security"
FEWEST_SESSIONS = 30
NEGATIVE = 0.2  # more of the numbers below zero than this are returns: no price is
PERCENT = 10.0  # the middle size of a day's return is less, even when it is given in percent


@dataclass(frozen=True, slots=True)
class Table:
    """Simple returns as decimals on every New York session, and what a file has beside them."""

    where: str
    returns: pd.DataFrame
    levels: pd.DataFrame | None = None  # adjusted prices, from a session before; None of returns
    close: pd.DataFrame | None = None  # raw, where they stand beside adjusted ones
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
    """
    path = Path(path)
    found = read_grid(path, kind)
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


@dataclass(frozen=True, slots=True)
class _Dated:
    path: Path
    cells: Cells
    name: str  # of the column of days
    days: pd.Series

    @property
    def names(self) -> list[str]:
        return [str(name) for name in self.cells.frame.columns if name != self.name]

    def in_order(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
        """Give a table of rows its days, oldest first."""
        back = in_order(self.path, self.days, self.name)
        dated = frame.set_axis(pd.DatetimeIndex(self.days, name="date"), axis=0)
        return dated[::-1] if back else dated, back


def read_grid(path: Path, kind: Kind) -> Grid:
    """Read prices or returns on the days that stand in the file."""
    cells = read_table(path)
    name = date_column(path, cells.frame.columns)
    if cells.frame.empty:
        raise InputError(f"{path}: there is a header but no row; add prices or returns")
    days, said = read_days(path, cells.frame, name)
    file = _Dated(path, cells, name, days)
    if cells.pairs:
        grid = _from_pairs(file, kind)
    elif ticker := ticker_column(path, cells.frame, name):
        grid = _from_long(file, ticker, kind)
    else:
        grid = _from_wide(file, kind)
    names, listed = security_names(path, list(map(str, grid.values.columns)))
    values = grid.values.set_axis(names, axis=1)
    close = None if grid.close is None else grid.close.set_axis(names, axis=1)
    return Grid(values, grid.are_prices, close, (*cells.read_as, *said, *grid.read_as, *listed))


# --- what stands in which column -------------------------------------------------------------


def ticker_column(path: Path, frame: pd.DataFrame, date_name: str) -> str | None:
    """Find the column of tickers that makes a table long; None for a wide one."""
    names = [str(name) for name in frame.columns if name != date_name]
    there = [name for name in names if plain(name) in TICKER_NAMES]
    there += [n for n in names if plain(n) in TICKER_LIKE and not _first_is_number(frame[n])]
    if len(there) > 1:
        raise InputError(f"{path}: row 1: {two(there[:2])} could both be the ticker; keep one")
    if there:
        return there[0]
    if any(plain(n) in CLEAR or n == "ret" or _is_adjusted(n) for n in names):
        raise missing(path, "ticker", names, HINT)
    return None


def _first_is_number(column: pd.Series) -> bool:
    return bool(re.fullmatch(NUMBER, str(column.iloc[0]))) if len(column) else False


def _is_adjusted(name: str) -> bool:
    return len(plain(name)) > 3 and bool(ADJUSTED.fullmatch(plain(name)))


@dataclass(frozen=True, slots=True)
class _Value:
    """The column that is meant, a raw close beside it, and what to say of them."""

    name: str
    are_prices: bool
    close: str | None = None
    said: tuple[str, ...] = ()


def _value_column(path: Path, names: Sequence[str], kind: Kind) -> _Value:
    """Choose the column that is meant; InputError when there is none, or two."""
    adjusted = [name for name in names if ADJUSTED.fullmatch(plain(name))]
    raw = [name for name in names if plain(name) in RAW]
    returned = [name for name in names if plain(name) in RETURNS]
    if kind != "returns":
        _refuse_doubt(path, names, adjusted, raw)
    prices = [] if kind == "returns" else adjusted or raw
    returned = [] if kind == "prices" else returned
    meant = [*prices, *returned]
    if len(meant) > 1:
        settle = " or give --returns" if prices and returned else ""
        raise InputError(f"{path}: row 1: {two(meant)} could both be meant; keep one{settle}")
    if not meant:
        logs = [name for name in names if re.search("log.*ret", plain(name))]
        hint = f"{short(logs[0])} is a log return; " if logs else ""
        raise InputError(
            f"{path}: row 1: no column of {'prices or returns' if kind == 'auto' else kind}: "
            f"{hint}seen {', '.join(name[:20] for name in names)[:100]}, "
            f"expected one of {EXPECTED[kind]}"
        )
    (name,) = meant
    beside = raw[0] if adjusted and raw and name in adjusted else None
    return _Value(name, bool(prices), beside, _unadjusted(name, names) if name in raw else ())


def _refuse_doubt(
    path: Path, names: Sequence[str], adjusted: Sequence[str], raw: Sequence[str]
) -> None:
    """Refuse a column beside the one in use that may as well be the adjusted price."""
    like = [n for n in names if LIKE_ADJUSTED.search(plain(n)) and n not in adjusted]
    doubtful = [n for n in like if not any(word in plain(n) for word in NOT_THE_CLOSE)]
    doubtful = [n for n in doubtful if not adjusted or "adj" in plain(n)]
    if doubtful and (adjusted or raw):
        raise InputError(
            f"{path}: row 1: {two([(adjusted or raw)[0], doubtful[0]])}: which holds adjusted "
            "prices? Name that one adj_close, or take the other out"
        )


def _unadjusted(name: str, names: Sequence[str]) -> tuple[str, ...]:
    """Say that closes are taken as they are, above all beside dividends and splits."""
    if plain(name) == "price":
        return ()
    acts = [n for n in names if plain(n).startswith(("dividend", "split", "stocksplit"))]
    if acts:
        return (f"unadjusted closes: {short(name)} beside {short(acts[0])}, which is not used",)
    return (f"prices from {short(name)}: adjusted for splits and dividends only if it already is",)


def security_names(path: Path, names: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """Take spaces and Bloomberg's ending off the names of securities; each stays one of a kind."""
    short_names = [LISTED.sub(r"\1", name.strip()) for name in names]
    if len(set(short_names)) < len(short_names):
        twice = next(name for name in short_names if short_names.count(name) > 1)
        raise InputError(f"{path}: security {short(twice)} stands there twice; keep one")
    cut = sum(new != old.strip() for new, old in zip(short_names, names, strict=True))
    return short_names, (f"{cut} names without ' US Equity'",) if cut else ()


# --- long, wide, and two rows of names -------------------------------------------------------


def _from_long(file: _Dated, ticker_name: str, kind: Kind) -> Grid:
    path, table = file.path, file.cells.frame
    value = _value_column(path, [name for name in file.names if name != ticker_name], kind)
    tickers = table[ticker_name].astype(object).where(table[ticker_name].notna(), "").astype(str)
    tickers = tickers.str.strip()
    refuse(path, table[ticker_name], ticker_name, tickers.eq(""), "a ticker")
    back = in_order(path, file.days, file.name, tickers)
    numbers = read_numbers(path, table[value.name], value.name)
    (check_priced if value.are_prices else check_bounded)(path, numbers, value.name)
    columns = {"value": numbers}
    if value.close is not None:
        columns["close"] = read_numbers(path, table[value.close], value.close)
    long = pd.DataFrame({"date": file.days, "ticker": tickers, **columns})
    wide = long.pivot(index="date", columns="ticker", values=list(columns)).sort_index()
    values = pd.DataFrame(wide["value"])
    if not value.are_prices:
        for ticker in values.columns:
            check_returned(path, values[ticker], f"{value.name} of {ticker}")
    close = pd.DataFrame(wide["close"]) if value.close is not None else None
    return Grid(values, value.are_prices, close, (*value.said, *back))


def _from_pairs(file: _Dated, kind: Kind) -> Grid:
    pairs = file.cells.pairs
    value = _value_column(file.path, list(dict.fromkeys(f for f, _ in pairs.values())), kind)

    def of(field: str) -> pd.DataFrame:
        columns = [column for column, pair in pairs.items() if pair[0] == field]
        return _numbers(file.path, file.cells.frame[columns])

    def by_security(numbers: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
        securities = [pairs[str(column)][1] for column in numbers.columns]
        return file.in_order(numbers.set_axis(securities, axis=1))

    numbers, close = of(value.name), None
    values, back = by_security(numbers)
    _check_columns(file.path, numbers, value.are_prices)
    if value.close is not None:
        close = by_security(of(value.close))[0].reindex(columns=values.columns)
    what = f"{'prices' if value.are_prices else 'returns'} from {short(value.name)}"
    return Grid(values, value.are_prices, close, (*(value.said or (what,)), *back))


def _from_wide(file: _Dated, kind: Kind) -> Grid:
    path = file.path
    if not file.names:
        raise InputError(f"{path}: row 1: no column but '{file.name}'; add a column per security")
    numbers = _numbers(path, file.cells.frame.drop(columns=file.name))
    values, back = file.in_order(numbers)
    are_prices = _are_prices(path, numbers, kind)
    _check_columns(path, numbers, are_prices)
    declared = (f"declared as {kind}",) if kind != "auto" else ()
    return Grid(values, are_prices, None, (*declared, *back))


def _numbers(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Read every column as numbers, under the rows of the file."""
    if all(isinstance(kind, pd.StringDtype) for kind in table.dtypes):  # many columns in one go
        flat = pd.Series(table.to_numpy(dtype=object).ravel())
        with contextlib.suppress(InputError):
            values = read_numbers(path, flat, "").to_numpy().reshape(table.shape)
            return pd.DataFrame(values, index=table.index, columns=table.columns)
    return pd.DataFrame(
        {name: read_numbers(path, table[name], str(name)) for name in table.columns}
    )


def _check_columns(path: Path, numbers: pd.DataFrame, are_prices: bool) -> None:
    for name in numbers.columns:
        (check_priced if are_prices else check_returned)(path, numbers[name], str(name))


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
    closed, missed = wide.index[~wide.index.isin(sessions)], sessions[~sessions.isin(wide.index)]
    reason = "no session in New York that day; its row is not used"
    dropped = [Dropped("day", str(day.date()), reason) for day in closed]
    reason = "session is missing in the file; nothing is filled"
    dropped += [Dropped("day", str(day.date()), reason) for day in missed]
    return wide.reindex(sessions), tuple(dropped)

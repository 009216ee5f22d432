"""Prices and returns from any file by one strict reader: long, wide, or under two rows of names."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from usjp_research.market import columns as c
from usjp_research.market.check import refuse_file
from usjp_research.market.files import read_file
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
EXPECTED = {"prices": "adj_close, price, close", "returns": "return, ret"}
LISTED = re.compile(r"(\S+) (?:US|UN|UW|UQ|UR|UA|UP|UV) Equity", re.I)
HINT = "; a long table has date, ticker and a price or return, a wide one a column per security"
FEWEST_SESSIONS = 30
NEGATIVE = 0.2  # more of the numbers below zero than this are returns: no price is
PERCENT = 10.0  # the middle size of a day's return is less, even when it is given in percent


@dataclass(frozen=True, slots=True)
class Table:
    """Prices or returns by day and security, and what a file has beside them."""

    values: pd.DataFrame
    are_prices: bool
    close: pd.DataFrame | None = None  # raw, where they stand beside adjusted prices
    opening: pd.DataFrame | None = None  # raw, where a raw close is known too
    read_as: tuple[str, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    column: str = ""  # that was chosen; none of a wide table

    @property
    def returns(self) -> pd.DataFrame:
        """Simple returns as decimals: prices lose their first day."""
        return self.values.pct_change(fill_method=None).iloc[1:] if self.are_prices else self.values

    @property
    def levels(self) -> pd.DataFrame | None:
        """Prices, None where the file holds returns."""
        return self.values if self.are_prices else None

    @property
    def told(self) -> str:
        """What was read from which columns, in words."""
        kind = "prices" if self.are_prices else "returns"
        adjusted = ", adjusted" if ADJUSTED.fullmatch(c.plain(self.column)) else ""
        beside = {"closes": self.close, "opening prices": self.opening}
        more = "".join(f", raw {n} beside them" for n, there in beside.items() if there is not None)
        return f"{kind} from {self.column or 'a column per security'}{adjusted}{more}"


def read_returns(path: str | Path) -> tuple[pd.DataFrame, tuple[Dropped, ...]]:
    """Read prices or returns and give returns: see `read_prices`."""
    table = read_prices(path)
    return table.returns, table.dropped


def read_prices(path: str | Path, kind: Kind = "auto") -> Table:
    """Read prices or returns, long or wide, from CSV (gzipped too), Excel or Parquet.

    Names of columns are known without case, spaces and marks. A long table has a date, a ticker
    and an adjusted close, a close or a return; a wide one a column per security, perhaps under two
    rows of names. What could be read in two ways is refused with what settles it. New York's
    sessions are the calendar: one without a price makes two missing returns, nothing is filled.
    """
    path = Path(path)
    found = read_table(open_columns(path), kind)
    values, dropped = on_sessions(path, found.values)
    refuse_file(str(path), check_days(found.values))
    close = None if found.close is None else found.close.reindex(values.index)
    opening = None if found.opening is None else found.opening.reindex(values.index)
    table = replace(found, values=values, close=close, opening=opening, dropped=dropped)
    known = int(table.returns.notna().any(axis=1).sum())
    if known < FEWEST_SESSIONS:
        least = f"expected at least {FEWEST_SESSIONS}; give a longer file"
        raise InputError(f"{path}: seen {known} days of returns, {least}")
    return table


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a file and the day of each row, before any number is read."""

    path: Path
    frame: pd.DataFrame  # without the column of days
    days: pd.DatetimeIndex  # all ascending or all descending, by ticker if there is one
    tickers: pd.Series | None  # of a long table
    pairs: Mapping[str, tuple[str, str]]  # field and security by column; "" is a wide table's field
    read_as: tuple[str, ...]

    @property
    def wide(self) -> bool:
        """Whether there is a column per security and nothing says which field it is."""
        return self.tickers is None and not any(field for field, _ in self.pairs.values())

    def by_day(self, numbers: pd.DataFrame) -> pd.DataFrame:
        """Arrange columns of one field by day, oldest first, and security."""
        if self.tickers is None:
            securities = [self.pairs[str(name)][1] for name in numbers.columns]
            return numbers.set_axis(self.days).set_axis(securities, axis=1).sort_index()
        rows, days = pd.factorize(self.days, sort=True)
        places, names = pd.factorize(self.tickers, sort=True)
        values = np.full((len(days), len(names)), np.nan)
        values[rows, places] = numbers.iloc[:, 0]
        index = pd.DatetimeIndex(days, name="date")
        return pd.DataFrame(values, index, pd.Index([*names], dtype="str", name="ticker"))


def open_columns(path: Path) -> Columns:
    """Read a file as text and tell its shape by its names: long, wide, or two rows of names."""
    cells = read_file(path)
    name = c.date_column(path, cells.frame.columns)
    if cells.frame.empty:
        raise InputError(f"{path}: there is a header but no row; add prices or returns")
    frame, tickers = cells.frame.drop(columns=name), None
    pairs = cells.pairs or {str(column): ("", str(column)) for column in frame.columns}
    if not cells.pairs and (ticker := _ticker_column(path, frame)):
        tickers = c.words(frame.pop(ticker))
        c.refuse(path, tickers, ticker, tickers == "", "a ticker")
        tickers = tickers.astype("category")  # each name is looked at once
        pairs = {str(column): (str(column), "") for column in frame.columns}
    if not pairs:
        raise InputError(f"{path}: row 1: no column but '{name}'; add a column per security")
    days, said = c.ordered_days(path, cells.frame, name, tickers)
    return Columns(path, frame, days, tickers, pairs, (*cells.read_as, *said))


def read_table(file: Columns, kind: Kind) -> Table:
    """Read prices or returns on the days that stand in the file."""
    path, close, opening, name = file.path, None, None, ""
    fields: dict[str, list[str]] = {}
    for column, (field, _) in file.pairs.items():
        fields.setdefault(field, []).append(column)
    if file.wide:
        numbers = _numbers(path, file.frame)
        are_prices = _are_prices(path, numbers, kind)
        said = [f"declared as {kind}"] if kind != "auto" else []
    else:
        name, raw = _value_column(path, list(fields), kind)
        numbers = _numbers(path, file.frame[fields[name]])
        are_prices, said = c.plain(name) not in RETURNS, _unadjusted(name, list(fields))
        if file.tickers is None and not said:
            said = [f"{'prices' if are_prices else 'returns'} from {c.short(name)}"]
        if raw:
            close, none = _beside(file, fields[raw], "raw closes")
            said = [*said, *none]
        opens = [column for column in fields if c.plain(column) == "open"]
        if len(opens) > 1:
            raise InputError(f"{path}: row 1: {c.two(opens)} could both be the opening; keep one")
        if opens and (raw or c.plain(name) in RAW):
            opening, none = _beside(file, fields[opens[0]], "opening prices")
            said = [*said, *none]
    _check(file, numbers, are_prices)
    values = file.by_day(numbers)
    names, listed = security_names(path, list(map(str, values.columns)))

    def named(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.reindex(columns=values.columns).set_axis(names, axis=1)

    close, opening = (frame if frame is None else named(frame) for frame in (close, opening))
    said = [*file.read_as, *said, *listed]
    return Table(named(values), are_prices, close, opening, tuple(said), column=name)


def _beside(file: Columns, names: list[str], what: str) -> tuple[pd.DataFrame, list[str]]:
    """Read raw prices that stand beside those in use, and say it where some are none."""
    prices = file.by_day(_numbers(file.path, file.frame[names]))
    none = [f"{what} of zero or less count as missing"] if (prices <= 0).any(axis=None) else []
    return prices.where(prices > 0), none


def returns_of(file: Columns, names: list[str]) -> pd.DataFrame:
    """Read the columns of one field as daily returns, by day and security."""
    if file.tickers is not None and len(names) > 1:
        raise InputError(f"{file.path}: row 1: {c.two(names)} could both be meant; keep one")
    numbers = _numbers(file.path, file.frame[names])
    _check(file, numbers, are_prices=False)
    values = file.by_day(numbers)
    return values.set_axis(security_names(file.path, list(map(str, values.columns)))[0], axis=1)


def _check(file: Columns, numbers: pd.DataFrame, are_prices: bool) -> None:
    for name, column in numbers.items():
        if are_prices:
            c.check_priced(file.path, column, str(name))
        elif file.tickers is None:
            c.check_returned(file.path, column, str(name))
        else:  # one ticker in percent among others
            for ticker, own in column.groupby(file.tickers):
                c.check_returned(file.path, own, f"{name} of {ticker}")


def _numbers(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Read every column as numbers, under the rows of the file."""
    if all(isinstance(kind, pd.StringDtype) for kind in table.dtypes):  # many columns in one go
        flat = pd.Series(table.to_numpy(dtype=object).ravel())
        with contextlib.suppress(InputError):
            values = c.read_numbers(path, flat, "").to_numpy().reshape(table.shape)
            return pd.DataFrame(values, index=table.index, columns=table.columns)
    return table.apply(lambda column: c.read_numbers(path, column, str(column.name)))


def _are_prices(path: Path, values: pd.DataFrame, kind: Kind) -> bool:
    """Tell prices from returns by what only returns can be: below zero."""
    known = values.to_numpy()[np.isfinite(values.to_numpy())]
    below = float((known < 0).mean()) if len(known) else 0.0
    if kind == "prices" and below > NEGATIVE:
        seen = f"declared as prices, but {below:.0%} of the numbers are negative"
        raise InputError(f"{path}: {seen}; give returns with --returns")
    if kind != "auto":
        return kind == "prices"
    middle = float(np.median(np.abs(known))) if len(known) else 1.0
    if below <= NEGATIVE and middle < c.SMALL:
        seen = f"numbers as small as {middle:.3g} with {below:.0%} negative"
        do = "say which: --market prices:FILE or returns:FILE (--returns)"
        raise InputError(f"{path}: {seen} may be prices or returns; {do}")
    return below <= NEGATIVE or middle > PERCENT


def _ticker_column(path: Path, frame: pd.DataFrame) -> str | None:
    """Find the column of tickers that makes a table long; None for a wide one."""
    names = {str(name): c.plain(name) for name in frame.columns}
    there = [name for name, word in names.items() if word in c.TICKER_NAMES]
    like = [name for name, word in names.items() if word in c.TICKER_LIKE]
    there += [name for name in like if not re.fullmatch(c.NUMBER, str(frame[name].iloc[0]))]
    if len(there) > 1:
        raise InputError(f"{path}: row 1: {c.two(there[:2])} could both be the ticker; keep one")
    if there:
        return there[0]
    adjusted = any(len(word) > 3 and ADJUSTED.fullmatch(word) for word in names.values())
    if adjusted or "ret" in names or any(word in CLEAR for word in names.values()):
        raise c.missing(path, "ticker", names, HINT)
    return None


def _value_column(path: Path, names: list[str], kind: Kind) -> tuple[str, str | None]:
    """Choose the column that is meant, and a raw close beside it."""
    adjusted = [name for name in names if ADJUSTED.fullmatch(c.plain(name))]
    raw = [name for name in names if c.plain(name) in RAW]
    returned = [name for name in names if c.plain(name) in RETURNS]
    if kind != "returns":
        _refuse_doubt(path, names, adjusted, raw)
    prices = [] if kind == "returns" else adjusted or raw
    meant = [*prices, *([] if kind == "prices" else returned)]
    if len(meant) > 1:
        settle = " or give --returns" if prices and kind == "auto" and returned else ""
        raise InputError(f"{path}: row 1: {c.two(meant)} could both be meant; keep one{settle}")
    if not meant:
        logs = [name for name in names if re.search("log.*ret", c.plain(name))]
        hint = f"{c.short(logs[0])} is a log return; " if logs else ""
        seen = f"{hint}seen {', '.join(name[:20] for name in names)[:100]}"
        none = f"no column of {'prices or returns' if kind == 'auto' else kind}"
        expected = EXPECTED.get(kind, ", ".join(EXPECTED.values()))
        raise InputError(f"{path}: row 1: {none}: {seen}, expected one of {expected}")
    return meant[0], raw[0] if raw and meant[0] in adjusted else None


def _refuse_doubt(path: Path, names: list[str], adjusted: list[str], raw: list[str]) -> None:
    """Refuse a column beside the one in use that may as well be the adjusted price."""
    for name in names:
        word = c.plain(name)
        like = LIKE_ADJUSTED.search(word) and not any(other in word for other in NOT_THE_CLOSE)
        in_doubt = like and name not in adjusted and ("adj" in word or not adjusted)
        if in_doubt and (adjusted or raw):
            which = "which holds adjusted prices? Name that one adj_close, or take the other out"
            raise InputError(f"{path}: row 1: {c.two([(adjusted or raw)[0], name])}: {which}")


def _unadjusted(name: str, names: Sequence[str]) -> list[str]:
    """Say that closes are taken as they are, above all beside dividends and splits."""
    if c.plain(name) not in RAW or c.plain(name) == "price":
        return []
    acts = [n for n in names if c.plain(n).startswith(("dividend", "split", "stocksplit"))]
    if acts:
        return [f"unadjusted closes: {c.short(name)} beside {c.short(acts[0])}, which is not used"]
    return [f"prices from {c.short(name)}: adjusted for splits and dividends only if it already is"]


def security_names(path: Path, names: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """Take spaces and Bloomberg's ending off the names of securities; each stays one of a kind."""
    short_names = [LISTED.sub(r"\1", name.strip()) for name in names]
    if len(set(short_names)) < len(short_names):
        twice = next(name for name in short_names if short_names.count(name) > 1)
        raise InputError(f"{path}: security {c.short(twice)} stands there twice; keep one")
    cut = sum(new != old.strip() for new, old in zip(short_names, names, strict=True))
    return short_names, (f"{cut} names without ' US Equity'",) if cut else ()


def on_sessions(path: Path, wide: pd.DataFrame) -> tuple[pd.DataFrame, tuple[Dropped, ...]]:
    """Put a table on the sessions of New York: no other row, and none missing."""
    import exchange_calendars

    rows = pd.DatetimeIndex(wide.index)
    first, last = rows[0], rows[-1]
    weekdays = int(np.busday_count(first.date(), last.date())) + 1
    if weekdays > 10 and len(wide) < weekdays / 2:
        seen = f"seen {len(wide)} rows from {first.date()} to {last.date()}"
        each = f"expected one for each of about {weekdays} trading days"
        raise InputError(f"{path}: {seen}, {each}; give daily prices or returns")
    margin = pd.Timedelta(days=10)
    calendar = exchange_calendars.get_calendar("XNYS", start=first - margin, end=last + margin)
    found = calendar.sessions_in_range(first, last).to_numpy("datetime64[ns]")
    sessions = pd.DatetimeIndex(found, name="date")
    lost = {
        "no session in New York that day; its row is not used": rows.difference(sessions),
        "session is missing in the file; nothing is filled": sessions.difference(rows),
    }
    dropped = (Dropped("day", str(d.date()), reason) for reason, days in lost.items() for d in days)
    return wide.reindex(sessions), tuple(dropped)

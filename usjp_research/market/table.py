"""Prices and returns from any file: long or wide, CSV or Parquet, read strictly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from usjp_research.market.record import Dropped
from usjp_research.spec.records import in_project
from usjp_research.words import InputError, nearest

DATE_NAMES = ("date", "Date", "day", "timestamp")


PRICE_NAMES = ("adj_close", "adjusted_close", "price", "close")


RETURN_NAMES = ("return", "ret")


NOTHING = ("", "NA", "N/A", "#N/A", "NaN", "nan", "null", "None")


TICKER_LIKE = ("ticker", "symbol")


PARQUET = (".parquet", ".pq")


YEARS = (1900, 2100)


FEWEST_SESSIONS = 30

Kind = Literal["auto", "prices", "returns"]


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
    """Read prices or returns, long or wide, from CSV or Parquet.

    A long table has the columns ``date``, ``ticker`` and one of ``adj_close``, ``price``,
    ``close`` (prices) or ``return``, ``ret`` (returns). A wide one has ``date`` and a column per
    security; it is taken for returns when more than a fifth of its numbers are negative, since
    no price is. Nothing is filled: a missing price makes two missing returns.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    Table

    Raises
    ------
    InputError
        For a file that is empty, has a column missing, text where a number should be, dates
        that are unreadable, unsorted or double, or a price of zero or below.
    """
    path = Path(path)
    table = read_table(path)
    names = list(table.columns)
    twice = [name for name in names if name.endswith(".1") and name[:-2] in names]
    if twice:
        raise InputError(f"{path}: row 1: column '{twice[0][:-2]}' stands there twice; keep one")
    date_name = next((name for name in DATE_NAMES if name in names), None)
    if date_name is None:
        raise InputError(f"{path}: row 1: column 'date' is missing ({nearest('date', names)})")
    is_long = any(n in (*PRICE_NAMES, *RETURN_NAMES) or n.lower() in TICKER_LIKE for n in names)
    if is_long and "ticker" not in names:
        raise InputError(
            f"{path}: row 1: column 'ticker' is missing ({nearest('ticker', names)}); a long table "
            "has date, ticker and a price or return, a wide one a column per security"
        )
    if table.empty:
        raise InputError(f"{path}: there is a header but no row; add prices or returns")
    days = read_days(path, table, date_name)
    if is_long:
        wide, are_prices = _from_long(path, table, days, date_name)
    else:
        wide, are_prices = _from_wide(path, table, days, date_name)
    wide, dropped = _sessions_only(wide, are_prices=are_prices)
    levels = wide if are_prices else None
    if are_prices:
        wide = wide.pct_change(fill_method=None).iloc[1:]
    if len(wide) < FEWEST_SESSIONS:
        raise InputError(
            f"{path}: seen {len(wide)} days of returns, expected at least {FEWEST_SESSIONS}; "
            "give a longer file"
        )
    return Table(path.name, wide, levels, None, dropped)


def _row(path: Path, column: pd.Series, at: int) -> str:
    """Name a row as the user sees it: in a CSV the header is row 1, and blank rows count."""
    return f"row {column.index[at] + (1 if path.suffix.lower() in PARQUET else 2)}"


def _seen(value: object) -> str:
    return "nothing" if value is None or value != value else repr(str(value))


def _existing(text: str) -> Path:
    path = in_project(Path(text).expanduser())
    if not path.is_file():
        raise InputError(f"{text}: no such file; give the path of a CSV or Parquet file")
    return path


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV or Parquet file as it is, with names of columns as text."""
    try:
        if path.suffix.lower() in PARQUET:
            table = pd.read_parquet(path)
            if table.index.name or not isinstance(table.index, pd.RangeIndex):
                table = table.reset_index()
        else:
            plain: dict[str, Any] = {"skip_blank_lines": False, "skipinitialspace": True}
            names = pd.read_csv(path, nrows=0, **plain).columns
            nothing = {name: NOTHING for name in names if name != "ticker"}  # 'NA' is a ticker
            table = pd.read_csv(
                path,
                low_memory=False,
                dtype={"ticker": str},
                keep_default_na=False,
                na_values=nothing,
                **plain,
            )
            if not isinstance(table.index, pd.RangeIndex):
                raise InputError(f"{path}: row 2: more cells than row 1 has columns; name them all")
            table = table[~table.replace("", None).isna().all(axis=1)]
    except InputError:
        raise
    except pd.errors.EmptyDataError:
        raise InputError(
            f"{path}: the file is empty; expected a column 'date' and prices"
        ) from None
    except (pd.errors.ParserError, UnicodeDecodeError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not readable as CSV or Parquet ({reason})") from None
    table.columns = table.columns.map(str)
    return table


def read_days(path: Path, table: pd.DataFrame, name: str) -> pd.Series:
    """Read a column of days, each as it is written; InputError names the row that is none."""
    days = table[name]
    if not pd.api.types.is_datetime64_any_dtype(days):
        # The day as it is written: nothing is guessed, and a time or an offset does not move it.
        written = days.astype(str).str.extract(r"^(\d{4}-\d\d-\d\d)(?:[T ]\d.*)?$")[0]
        days = pd.to_datetime(written, format="%Y-%m-%d", errors="coerce")
    elif days.dt.tz is not None:
        days = days.dt.tz_localize(None)
    bad = ~days.dt.year.between(*YEARS)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{path}: {_row(path, days, at)}, column '{name}': seen {_seen(table[name].iloc[at])}, "
            f"expected a date as YYYY-MM-DD, from {YEARS[0]} to {YEARS[1]}"
        )
    return cast("pd.Series", days.dt.normalize().astype("datetime64[ns]"))


def read_numbers(path: Path, column: pd.Series, name: str) -> pd.Series:
    """Read a column of finite numbers or nothing; InputError names the row that is neither."""
    if column.dtype.kind in "bmM":  # neither yes or no nor a date is a number
        column = column.astype(str)
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    bad = numbers.isna() & column.notna() | np.isinf(numbers)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{path}: {_row(path, column, at)}, column '{name}': seen {_seen(column.iloc[at])}, "
            "expected a number, or nothing"
        )
    return numbers


def _positive(path: Path, numbers: pd.Series, name: str) -> None:
    bad = numbers <= 0
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{path}: {_row(path, numbers, at)}, column '{name}': seen {numbers.iloc[at]:g}, "
            "expected a price above zero; leave the cell empty when there was none"
        )


def _plausible(path: Path, numbers: pd.Series, name: str) -> None:
    bad = numbers <= -1
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{path}: {_row(path, numbers, at)}, column '{name}': seen {numbers.iloc[at]:g}, "
            "expected a return above -1 (decimals, not percent)"
        )


def _from_long(
    path: Path, table: pd.DataFrame, days: pd.Series, date_name: str
) -> tuple[pd.DataFrame, bool]:
    name = next((n for n in (*PRICE_NAMES, *RETURN_NAMES) if n in table.columns), None)
    if name is None:
        expected = ", ".join((*PRICE_NAMES, *RETURN_NAMES))
        raise InputError(
            f"{path}: row 1: no column of prices or returns: seen {', '.join(table.columns)}, "
            f"expected one of {expected}"
        )
    unnamed = table["ticker"].isna() | table["ticker"].eq("")
    if unnamed.any():
        where = _row(path, days, int(np.flatnonzero(unnamed)[0]))
        raise InputError(f"{path}: {where}, column 'ticker': seen nothing, expected a ticker")
    tickers = table["ticker"].astype(str)
    twice = pd.DataFrame({"day": days, "ticker": tickers}).duplicated().to_numpy()
    if twice.any():
        at = int(np.flatnonzero(twice)[0])
        raise InputError(
            f"{path}: {_row(path, days, at)}, column '{date_name}': {days.iloc[at].date()} stands "
            f"there twice for ticker '{tickers.iloc[at]}'; keep one"
        )
    back = (days.groupby(tickers, sort=False).diff() < pd.Timedelta(0)).to_numpy()
    if back.any():
        at = int(np.flatnonzero(back)[0])
        raise InputError(
            f"{path}: {_row(path, days, at)}, column '{date_name}': {days.iloc[at].date()} comes "
            f"after a later date of ticker '{tickers.iloc[at]}'; sort each ticker's rows by date"
        )
    numbers = read_numbers(path, table[name], name)
    if name in PRICE_NAMES:
        _positive(path, numbers, name)
    else:
        _plausible(path, numbers, name)
    long = pd.DataFrame({"date": days, "ticker": tickers, "value": numbers})
    wide = long.pivot(index="date", columns="ticker", values="value").sort_index()
    return wide, name in PRICE_NAMES


def _from_wide(
    path: Path, table: pd.DataFrame, days: pd.Series, date_name: str
) -> tuple[pd.DataFrame, bool]:
    names = [name for name in table.columns if name != date_name]
    if not names:
        raise InputError(f"{path}: row 1: no column but '{date_name}'; add a column per security")
    order = days.diff().dt.total_seconds().to_numpy()
    for bad, fault in (
        (order == 0, "stands there twice; keep one"),
        (order < 0, "comes after a later date; sort the rows by date"),
    ):
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            day = days.iloc[at].date()
            where = f"{_row(path, days, at)}, column '{date_name}'"
            raise InputError(f"{path}: {where}: {day} {fault}")
    numbers = {name: read_numbers(path, table[name], name) for name in names}
    values = np.column_stack([numbers[name].to_numpy() for name in names])
    known = np.isfinite(values)
    are_prices = bool((values[known] < 0).sum() <= 0.2 * known.sum())
    for name in names:
        (_positive if are_prices else _plausible)(path, numbers[name], name)
    wide = pd.DataFrame(values, index=pd.DatetimeIndex(days, name="date"), columns=names)
    return wide, are_prices


def _sessions_only(
    wide: pd.DataFrame, *, are_prices: bool
) -> tuple[pd.DataFrame, tuple[Dropped, ...]]:
    import exchange_calendars

    first, last = wide.index[0], wide.index[-1]
    margin = pd.Timedelta(days=10)
    calendar = exchange_calendars.get_calendar("XNYS", start=first - margin, end=last + margin)
    sessions = calendar.sessions_in_range(first, last)
    dropped = [
        Dropped("day", str(day.date()), "no session in New York that day; its row is not used")
        for day in wide.index.difference(sessions)
    ]
    gap = "the next return spans it" if are_prices else "it has no return"
    dropped += [
        Dropped("day", str(day.date()), f"session is missing in the file; {gap}")
        for day in sessions.difference(wide.index)
    ]
    return wide.loc[wide.index.isin(sessions)], tuple(dropped)

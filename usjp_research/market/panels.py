"""Anybody's panel: returns, groups, event dates and factors read with strict errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from usjp_research.market.table import (
    DATE_NAMES,
    PARQUET,
    _existing,
    _plausible,
    _row,
    read_days,
    read_numbers,
    read_table,
)
from usjp_research.words import InputError, nearest

Floats = npt.NDArray[np.float64]
IN_MEMORY = 2**26  # bytes of returns that are read at once; larger Parquet files come in blocks
BLOCK = 2**25
TILE = 64
YES, NO = ("true", "1", "yes"), ("false", "0", "no")


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
    """

    days: pd.DatetimeIndex
    names: tuple[str, ...]
    read: Callable[[Sequence[str]], Floats]
    chunk: int | None
    where: str

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
    """Open a wide table of daily simple returns: ``date`` and a column per series.

    A large Parquet file is read in blocks of columns, when they are needed; nothing is filled,
    and every row is a trading day.

    Parameters
    ----------
    path : path
        CSV or Parquet.

    Returns
    -------
    ReturnPanel

    Raises
    ------
    InputError
        For a file that is missing or empty, dates that are unreadable, unsorted or double,
        and, when a series is read, text or numbers that are no returns.
    """
    path = _existing(str(path))
    if path.suffix.lower() in PARQUET:
        return _open_parquet(path)
    table = read_table(path)
    return _panel(path, table, list(table.columns), lambda names: table[list(names)], None)


def _open_parquet(path: Path) -> ReturnPanel:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        names = [name for name in file.schema_arrow.names if name != "__index_level_0__"]
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: not readable as Parquet ({error})") from None
    size = file.metadata.num_rows * len(names) * 8
    if size <= IN_MEMORY:
        table = read_table(path)
        return _panel(path, table, list(table.columns), lambda names: table[list(names)], None)
    dated = [name for name in DATE_NAMES if name in names]
    table = file.read(columns=dated[:1]).to_pandas().reset_index()
    chunk = max(1, BLOCK // (file.metadata.num_rows * 8))

    def part(wanted: Sequence[str]) -> pd.DataFrame:
        frame = file.read(columns=list(wanted), use_pandas_metadata=False).to_pandas()
        return cast("pd.DataFrame", frame)

    return _panel(path, table, names, part, chunk)


def _panel(
    path: Path,
    table: pd.DataFrame,
    columns: list[str],
    part: Callable[[Sequence[str]], pd.DataFrame],
    chunk: int | None,
) -> ReturnPanel:
    date_name = next((name for name in DATE_NAMES if name in columns), None)
    if date_name is None:
        raise InputError(f"{path}: row 1: column 'date' is missing ({nearest('date', columns)})")
    twice = [name for name in columns if name.endswith(".1") and name[:-2] in columns]
    if twice:
        raise InputError(f"{path}: row 1: column '{twice[0][:-2]}' stands there twice; keep one")
    if table.empty:
        raise InputError(f"{path}: there is a header but no row; add returns")
    days = ascending_days(path, table, date_name)
    names = tuple(name for name in columns if name != date_name)

    def read(wanted: Sequence[str]) -> Floats:
        frame = part(wanted)
        out = np.empty((len(wanted), len(days)))
        for at, name in enumerate(wanted):
            column = frame[name]
            if column.dtype != np.float64:
                column = read_numbers(path, column, name)
            values = column.to_numpy()
            if not (np.isfinite(values) | np.isnan(values)).all():
                read_numbers(path, column, name)
            if (values <= -1).any():
                _plausible(path, column, name)
            out[at] = values
        known = np.isfinite(out)
        for at in np.flatnonzero(known.any(axis=1)).tolist():
            middle = float(np.median(np.abs(out[at, known[at]])))
            if middle > 0.5:
                raise InputError(
                    f"{path}: column '{wanted[at]}': the middle of its absolute values is "
                    f"{middle:.4g}, expected daily returns as decimals, not prices or percent"
                )
        return out

    return ReturnPanel(days, names, read, chunk, str(path))


def ascending_days(path: Path, table: pd.DataFrame, name: str) -> pd.DatetimeIndex:
    """Read a column of days, each once and in order; InputError names the row that is not."""
    days = read_days(path, table, name)
    step = days.diff().dt.total_seconds().to_numpy()
    for bad, fault in (
        (step == 0, "stands there twice; keep one"),
        (step < 0, "comes after a later date; sort the rows by date"),
    ):
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            where = f"{path}: {_row(path, days, at)}, column '{name}'"
            raise InputError(f"{where}: {days.iloc[at].date()} {fault}")
    return pd.DatetimeIndex(days, name="date")


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
    path = _existing(str(path))
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
    path = _existing(str(path))
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
    if path.suffix.lower() in PARQUET:
        table = read_table(path)
        for name in table.columns:
            if not pd.api.types.is_datetime64_any_dtype(table[name]):
                table[name] = table[name].astype(str).where(table[name].notna(), "")
    else:
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
        except pd.errors.EmptyDataError:
            raise InputError(f"{path}: the file is empty; expected a header and rows") from None
        except (pd.errors.ParserError, UnicodeDecodeError, OSError, ValueError) as error:
            raise InputError(f"{path}: not readable as CSV ({error})") from None
    for name in needed:
        if name not in table.columns:
            known = nearest(name, table.columns)
            raise InputError(f"{path}: row 1: column '{name}' is missing ({known})")
    if table.empty:
        raise InputError(f"{path}: there is a header but no row; add firms")
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

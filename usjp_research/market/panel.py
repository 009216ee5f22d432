"""Returns on anybody's trading days: a table in memory, or a file read when series are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from usjp_research.market import columns as c
from usjp_research.market.files import existing, open_parquet
from usjp_research.market.snapshots import find_snapshot
from usjp_research.market.table import open_columns, read_prices, read_table, security_names
from usjp_research.words import InputError

Part = Callable[[Sequence[str]], pd.DataFrame]  # columns of a file
IN_MEMORY = 2**26  # bytes of returns that are read at once; larger Parquet files come in blocks
BLOCK = 2**25
TILE = 64


@dataclass(frozen=True, slots=True)
class ReturnPanel:
    """Daily simple returns of many series on common days."""

    days: pd.DatetimeIndex
    names: tuple[str, ...]
    read: Callable[[Sequence[str]], c.Floats]  # of shape (n_names, n_days), NaN where missing
    chunk: int | None  # series to read at a time; None when all may be read at once
    where: str
    read_as: tuple[str, ...] = ()

    def position(self, day: pd.Timestamp) -> int:
        """Place of a day; raises InputError when it is not one of the panel's."""
        at = int(self.days.searchsorted(day))
        if at < len(self.days) and self.days[at] == day:
            return at
        hint = f"the file runs from {self.days[0].date()} to {self.days[-1].date()}"
        if 0 < at < len(self.days):
            hint = f"the next day there is {self.days[at].date()}"
        raise InputError(f"event {day.date()}: not a day of {self.where}; {hint}")


def panel_of_frame(frame: pd.DataFrame, where: str = "the returns") -> ReturnPanel:
    """Make a panel of a table with a column per series and ascending days as index."""
    days, names = c.check_frame(frame, where), tuple(map(str, frame.columns))
    plain = bool((frame.dtypes == np.float64).all())  # then no copy is made
    values = frame.to_numpy() if plain else frame.to_numpy(dtype=np.float64, na_value=np.nan)
    place = {name: at for at, name in enumerate(names)}

    def read(wanted: Sequence[str]) -> c.Floats:
        columns = np.array([place[name] for name in wanted])
        out = np.empty((len(columns), len(days)))
        for at in range(0, len(columns), TILE):  # a tile at a time stays in the cache
            out[at : at + TILE] = values[:, columns[at : at + TILE]].T
            if np.isinf(out[at : at + TILE]).any():
                raise InputError(f"{where}: seen an infinite return, expected numbers or nothing")
        return out

    return ReturnPanel(days, names, read, None, where)


def open_returns(path: str | Path) -> ReturnPanel:
    """Open daily simple returns on the file's own days, a large wide Parquet file in blocks.

    Of ``snapshot:DIGEST`` they are those of its prices, on New York's sessions.
    """
    kind, _, name = str(path).partition(":")
    if kind == "snapshot":
        held = find_snapshot(name, "prices")
        table = read_prices(held.data, "prices")
        where = f"snapshot:{held.digest[:12]}"
        return replace(panel_of_frame(table.returns, where), read_as=table.read_as)
    path = existing(str(path))
    if blocks := _in_blocks(path):
        return blocks
    file = open_columns(path)
    if not file.wide:
        table = read_table(file, "returns")
        return replace(panel_of_frame(table.values, str(path)), read_as=table.read_as)
    names, listed = security_names(path, list(file.pairs))
    column = dict(zip(names, file.pairs, strict=True))
    read = partial(_read, path, file.days, lambda wanted: file.frame[[column[n] for n in wanted]])
    days, read_as = file.days.sort_values(), (*file.read_as, *listed)
    return ReturnPanel(days, tuple(names), read, None, str(path), read_as)


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
    date_name = c.date_column(path, names)

    def part(wanted: Sequence[str]) -> pd.DataFrame:
        frame = file.read(columns=list(wanted)).replace_schema_metadata(None).to_pandas()
        return cast("pd.DataFrame", frame[list(wanted)].set_axis(range(1, rows + 1), axis=0))

    days, said = c.ordered_days(path, part([date_name]), date_name)
    names.remove(date_name)
    read, chunk = partial(_read, path, days, part), max(1, BLOCK // (rows * 8))
    return ReturnPanel(days.sort_values(), tuple(names), read, chunk, str(path), said)


def _read(path: Path, days: pd.DatetimeIndex, part: Part, wanted: Sequence[str]) -> c.Floats:
    """Return series as rows, the oldest day first, each read and found to be returns."""
    out = np.empty((len(wanted), len(days)))
    for at, (name, column) in enumerate(part(wanted).items()):
        numbers = c.read_numbers(path, column, str(name))
        c.check_returned(path, numbers, str(name))
        out[at] = numbers.to_numpy()
    return out if days.is_monotonic_increasing else out[:, ::-1]

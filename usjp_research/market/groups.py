"""Which firms are in which group, and the dates of events of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from usjp_research.market.columns import missing, plain, read_days, refuse, short, two, words
from usjp_research.market.files import existing, read_cells
from usjp_research.words import InputError

YES, NO = ("true", "1", "yes"), ("false", "0", "no")
RESERVED = ("ALL", "dropped", "provenance")  # no names of sectors: results have them


def read_groups(path: str | Path) -> pd.DataFrame:
    """Read ``firm``, ``sector`` and, where it is there, ``treated``: without it all firms are."""
    path = existing(str(path))
    table = _words(path, ("firm", "sector"))
    firms, sectors = table["firm"], table["sector"]
    again, taken = firms.duplicated(), sectors.isin(RESERVED)
    one = "again; keep one row a firm"
    refuse(path, firms, "firm", again, lambda at: f"seen '{firms.iloc[at]}' {one}")
    own = "has its own meaning in the results; call the sector something else"
    refuse(path, sectors, "sector", taken, lambda at: f"'{sectors.iloc[at]}' {own}")
    near = [name for name in table.columns if plain(name).startswith("treat")]
    if near and "treated" not in near:  # else all firms would be
        raise InputError(f"{path}: row 1: column {short(near[0])}: expected 'treated'; rename it")
    treated = np.ones(len(table), dtype=bool)
    if "treated" in table.columns:
        marks = table["treated"].str.lower()
        refuse(path, table["treated"], "treated", ~marks.isin((*YES, *NO)), "true or false")
        treated = marks.isin(YES).to_numpy()
    return pd.DataFrame({"firm": firms, "sector": sectors, "treated": treated})


def read_event_dates(path: str | Path) -> pd.DataFrame:
    """Read event dates by firm: a CSV with ``firm`` and ``date``; a firm may have several."""
    path = existing(str(path))
    table = _words(path, ("firm", "date"))
    out = pd.DataFrame({"firm": table["firm"], "date": read_days(path, table, "date")[0]})

    def say(at: int) -> str:
        return f"firm '{out['firm'].iloc[at]}' has {out['date'].iloc[at].date()} twice; keep one"

    refuse(path, out["firm"], "firm", out.duplicated(), say)
    return out


def _words(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    """Read a table of words, none of the needed ones empty; typed days stay as they are."""
    table = read_cells(path).frame
    for name in (*needed, "treated"):
        same = [column for column in table.columns if plain(column) == name]
        if not same and name in needed:
            raise missing(path, name, table.columns)
        if len(same) > 1:
            raise InputError(f"{path}: row 1: {two(same)} could both be the {name}; keep one")
        table = table.rename(columns=dict.fromkeys(same, name))
    if table.empty:
        raise InputError(f"{path}: there is a header but no row; add firms")
    for name in table.select_dtypes(exclude=["datetime", "datetimetz"]).columns:
        table[name] = words(table[name])
    for name in needed:  # in this order, whatever that of the columns
        refuse(path, table[name], name, table[name] == "", f"a {name}")
    return table

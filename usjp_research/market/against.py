"""Returns held against another file's: other moves, levels that part, days that one lacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from usjp_research.market.openings import parts_of_day
from usjp_research.market.record import Finding
from usjp_research.market.table import open_columns, read_prices
from usjp_research.market.units import stretches
from usjp_research.words import InputError, percent

OFTEN = 0.1  # share of the days from which a series is another one, and no day of it is wrong
ALIKE, FEWEST = 0.9, 60  # a correlation, and the days that it needs


def read_other(path: Path) -> pd.DataFrame:
    """Read daily returns from prices, from returns, or from overnight and intraday returns."""
    if parts := parts_of_day(open_columns(path)):
        overnight, session = parts.values()
        return (1 + overnight) * (1 + session) - 1
    return read_prices(path).returns


def held_against(returns: pd.DataFrame, other: pd.DataFrame, tolerance: float) -> list[Finding]:
    """Compare simple returns, (n_days, n_series) as decimals, with another file's: largest first.

    Gaps of a day up to the tolerance are none. After a gap the levels either meet again the next
    day, and a price is wrong in one file, or stay apart: a dividend, a split or a splice.
    """
    if not tolerance >= 0:
        raise InputError(f"tolerance {tolerance:g}: expected a return of 0 or more, such as 0.0025")
    both = returns.columns.intersection(other.columns)
    days = returns.index.intersection(other.index)
    if both.empty or days.empty:
        raise InputError("no series and day in common with the prices; give one of the same firms")
    ours, theirs = returns.loc[days, both], other.loc[days, both]
    found = [item for name in both for item in _apart(ours[name], theirs[name], tolerance)]
    found.sort(key=lambda item: (item.kind == "differs", -abs(item.size)))
    return [*found, *_only_there(ours.isna() & theirs.notna())]


def _apart(ours: pd.Series, theirs: pd.Series, tolerance: float) -> Iterator[Finding]:
    pair = pd.DataFrame({"one": ours, "two": theirs}).dropna()
    one, two = pair.to_numpy("float64").T
    gaps, name, done = one - two, str(ours.name), -1
    wide = np.flatnonzero(np.abs(gaps) > tolerance)
    days = [day.date() for day in pair.index[np.r_[wide, wide + 1].clip(max=len(pair) - 1)]]
    if len(wide) > OFTEN * len(pair):
        late, now, early = (pair["two"].shift(k).corr(pair["one"]) for k in (1, 0, -1))
        moved = len(pair) >= FEWEST and max(late, early) >= ALIKE > now
        kind, size = "differs", float(gaps[np.argmax(np.abs(gaps))])
        words = f"another series than there: {len(wide)} of {len(pair)} days differ"
        if moved:
            kind, size = "shifted", max(late, early)
            words = f"dates a session {'late' if late > early else 'early'} against the other file"
        yield Finding(name, days[0], kind, size, words, exact=True, until=days[len(wide) - 1])
        return
    for k, at in enumerate(wide.tolist()):
        if at <= done:
            continue
        left, size = abs(float(gaps[at : at + 2].sum())), float(gaps[at])
        back = at + 1 < len(gaps) and left <= max(tolerance, abs(size) / 5)
        done = at + back
        how = "a price of that day" if back else "a dividend or split of one file only, or a splice"
        words = f"{how}: {percent(one[at], 2)} here, {percent(two[at], 2)} there"
        until = days[len(wide) + k] if back else None
        yield Finding(name, days[k], "differs", size, words, exact=True, until=until)


def _only_there(lacks: pd.DataFrame) -> Iterator[Finding]:
    """List stretches of days on which only the other file has returns."""
    words, does = "returns that only the other file has", "give them, or know why they are missing"
    for column, first, last in stretches(lacks.to_numpy().T):
        day, until, name = lacks.index[first], lacks.index[last - 1], str(lacks.columns[column])
        size = float(last - first)
        yield Finding(name, day.date(), "missing", size, words, does, until=until.date())

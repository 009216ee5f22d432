"""Where each row's interval lies on a shared scale, for pages that draw it at any width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from usjp_research.tables import implied_words, verdict_words
from usjp_research.verdict import CASES, Verdict
from usjp_research.words import label, percent

__all__ = ["Board", "Strip", "scoreboard", "scoreboard_words"]

MARGIN = 0.03  # of the scale, on either side
MOST_TICKS = 6


@dataclass(frozen=True, slots=True)
class Strip:
    """One row: places are in percent of the width; ``implied`` is low, base, high or empty."""

    name: str
    key: str
    says: str
    low: float
    high: float
    effect: float
    implied: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """Rows on one scale, its ticks with their words, and what it shows in words."""

    strips: tuple[Strip, ...]
    ticks: tuple[tuple[float, str], ...]
    zero: float
    words: str


def scoreboard_words(rows: Sequence[Verdict]) -> str:
    """Say what a scoreboard shows, from the numbers it shows."""
    told = (
        f"{label(row.name)}: {verdict_words(row)}; observed {percent(row.effect)}, interval "
        f"{percent(row.low)} to {percent(row.high)}, implied {implied_words(row)}"
        for row in rows
    )
    return f"Scoreboard. {'. '.join(told)}."


def scoreboard(rows: Sequence[Verdict]) -> Board | None:
    """Lay rows out on the scale that all of them share; None when no row has numbers."""
    ends = [
        value
        for row in rows
        for value in (row.low, row.high, row.effect, *row.implied.share.values())
        if math.isfinite(value)
    ]
    if not ends:
        return None
    least, most = min(0.0, *ends), max(0.0, *ends)
    room = MARGIN * (most - least) or 1.0
    least, most = least - room, most + room

    def place(value: float) -> float:
        return round(100 * (value - least) / (most - least), 2)

    step = _step((most - least) / MOST_TICKS)
    ticks = [k * step for k in range(math.ceil(least / step), math.floor(most / step) + 1)]
    digits = max(0, -math.floor(math.log10(100 * step) + 1e-9))
    strips = tuple(
        Strip(
            name=label(row.name),
            key=row.name.partition(":")[0],
            says=f"{row.headline}: {row.reason}" if row.reason else row.headline,
            low=place(row.low),
            high=place(row.high),
            effect=place(row.effect),
            implied=tuple(place(row.implied.share[case]) for case in CASES)
            if row.implied.share
            else (),
        )
        for row in rows
        if all(map(math.isfinite, (row.low, row.high, row.effect)))
    )
    return Board(
        strips=strips,
        ticks=tuple((place(tick), percent(tick, digits)) for tick in ticks),
        zero=place(0.0),
        words=scoreboard_words(rows),
    )


def _step(least: float) -> float:
    """Return the smallest of 1, 2, 5, 10, ... that is not below a size."""
    unit: float = 10.0 ** math.floor(math.log10(least))
    return next(unit * k for k in (1, 2, 5, 10) if unit * k >= least * (1 - 1e-9))

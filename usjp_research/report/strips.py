"""Where each row's interval lies on a shared scale, for pages that draw it at any width."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from usjp_research.report.figures import says, scoreboard_words
from usjp_research.report.tables import counted, told_row
from usjp_research.study.verdict import CASES, Verdict
from usjp_research.words import NOT_COUNTED, label, percent

MARGIN = 0.03  # of the scale, on either side
MOST_TICKS = 6


@dataclass(frozen=True, slots=True)
class Strip:
    """One row: places are in percent of the width, None for a row without numbers.

    ``implied`` is the least case, the base case and the largest, or empty.
    """

    name: str
    key: str
    says: str
    low: float | None
    high: float | None
    effect: float | None
    implied: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """Rows on one scale, its ticks with their words, and what it shows in words."""

    strips: tuple[Strip, ...]
    ticks: tuple[tuple[float, str], ...]
    zero: float
    words: str


def scoreboard(rows: Sequence[Verdict]) -> Board | None:
    """Lay rows out on the scale that all of them share; None when no row has numbers."""
    seen = [told_row(row) for row in rows]
    ends = [
        value
        for row in seen
        for value in (row.low, row.high, row.effect, *row.share.values())
        if math.isfinite(value)
    ]
    if not ends:
        return None
    least, most = min(0.0, *ends), max(0.0, *ends)
    room = MARGIN * (most - least) or 1.0
    least, most = least - room, most + room

    def place(value: float) -> float:
        return round(100 * (value - least) / (most - least), 2)

    def spot(value: float) -> float | None:
        return place(value) if math.isfinite(value) else None

    step = _step((most - least) / MOST_TICKS)
    ticks = [k * step for k in range(math.ceil(least / step), math.floor(most / step) + 1)]
    digits = max(0, -math.floor(math.log10(100 * step) + 1e-9))
    strips = tuple(
        Strip(
            name=label(row.name),
            key=row.name.partition(":")[0],
            says=says(row),
            low=spot(told.low),
            high=spot(told.high),
            effect=spot(told.effect),
            implied=_cases(told.share, place),
        )
        for row, told in zip(rows, seen, strict=True)
    )
    return Board(
        strips=strips,
        ticks=tuple((place(tick), percent(tick, digits)) for tick in ticks),
        zero=place(0.0),
        words=scoreboard_words(rows),
    )


def _cases(share: Mapping[str, float], place: Callable[[float], float]) -> tuple[float, ...]:
    if not share:
        return ()
    ends = [share[case] for case in CASES]
    return place(min(ends)), place(share["base"]), place(max(ends))


@dataclass(frozen=True, slots=True)
class Move:
    """One sector at one event: across in percent of the width, heights in percent from the top."""

    across: float
    low: float
    high: float
    effect: float
    counts: bool


@dataclass(frozen=True, slots=True)
class Multiple:
    """One small panel: a sector's reaction to every event, on a scale that all panels share."""

    name: str
    key: str
    moves: tuple[Move, ...]
    scale: str
    words: str


def small_multiples(rows: Sequence[Mapping[str, str]], alpha: float) -> tuple[Multiple, ...]:
    """Lay the reactions of every sector to every primary event out on one scale.

    Parameters
    ----------
    rows : sequence of mapping
        Of ``reactions.csv``, as text.
    alpha : float
        Of the bars: forecast intervals of single events under the normal law.
    """
    from statistics import NormalDist

    reach = NormalDist().inv_cdf(1 - alpha / 2)
    shown = [r for r in rows if r["role"] == "primary" and r["caar"] and r.get("se_guarded")]
    events = list(dict.fromkeys(row["event"] for row in shown))
    ends = [abs(float(r["caar"])) + reach * float(r["se_guarded"]) for r in shown]
    most = max(ends, default=0.0) or 1.0

    def height(value: float) -> float:
        return round(50 - 47 * value / most, 1)

    top = 50 / 47 * most
    scale = f"{percent(top)} to {percent(-top)}"

    panels = []
    for sector in dict.fromkeys(row["sector"] for row in rows if row["role"] == "primary"):
        own = [row for row in shown if row["sector"] == sector]
        moves = tuple(
            Move(
                across=round(100 * (events.index(row["event"]) + 0.5) / len(events), 1),
                low=height(float(row["caar"]) - reach * float(row["se_guarded"])),
                high=height(float(row["caar"]) + reach * float(row["se_guarded"])),
                effect=height(float(row["caar"])),
                counts=counted(row),
            )
            for row in own
        )
        said = ", ".join(
            f"{row['event']} {percent(float(row['caar']))}"
            + ("" if counted(row) else f" {NOT_COUNTED}")
            for row in own
        )
        said = said or "no reaction could be computed"
        panels.append(Multiple(label(sector), sector, moves, scale, f"{label(sector)}: {said}"))
    return tuple(panels)


def _step(least: float) -> float:
    """Return the smallest of 1, 2, 5, 10, ... that is not below a size."""
    unit: float = 10.0 ** math.floor(math.log10(least))
    return next(unit * k for k in (1, 2, 5, 10) if unit * k >= least * (1 - 1e-9))

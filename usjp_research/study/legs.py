"""Which windows a statistic sums."""

from __future__ import annotations

from collections.abc import Sequence

from usjp_research.engine.placebo import Leg, runs
from usjp_research.spec.records import Spec
from usjp_research.study.events import EventPanel
from usjp_research.study.portfolios import Portfolios


def event_legs(
    spec: Spec,
    panel: EventPanel,
    made: Portfolios,
    sector: str,
    roles: Sequence[str] = ("primary",),
) -> tuple[Leg, ...]:
    """List the signed windows of a sector, each trading day counted once.

    Primary events come first; the window of a further event loses the days that are already in,
    and is split where that leaves two pieces. An event whose expected sign for the sector is
    zero is not in the list, nor is one whose portfolio could not be formed.

    Parameters
    ----------
    spec : Spec
    panel : EventPanel
    made : Portfolios
    sector : str
    roles : sequence of str
        Roles of the events to sum.

    Returns
    -------
    tuple of Leg
    """
    taken: set[int] = set()
    legs: list[Leg] = []
    low, high = spec.rule.window
    for role in sorted(roles, key=lambda role: role != "primary"):
        for place in panel.index(role):
            event, day0 = panel.events[place], int(panel.day0[place])
            slot = made.slots[event.id, sector]
            sign = event.signs.get(sector, 0)
            if not sign or not slot.series:
                continue
            free = [k for k in range(low, high + 1) if day0 + k not in taken]
            for piece in runs(free):
                legs.append(Leg(event.id, slot.series, day0, piece, sign))
            taken.update(day0 + k for k in free)
    return tuple(legs)


def common_sign(legs: Sequence[Leg]) -> int:
    """Return the sign that all windows have, or 0 when they differ or there are none."""
    seen = {leg.sign for leg in legs}
    return seen.pop() if len(seen) == 1 else 0

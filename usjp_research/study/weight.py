"""What was left out, the heaviest first: sectors, primary events, firms by size, the rest."""

from __future__ import annotations

from collections.abc import Iterable

from usjp_research.market.record import Dropped
from usjp_research.study.sample import Sample

KINDS = ("sector", "event", "slot", "contrast", "security")


def by_weight(data: Sample, items: Iterable[Dropped]) -> tuple[Dropped, ...]:
    """Order what was left out by how much of the answer it takes away, each once.

    First sectors that cannot be judged, then primary events, primary events that one sector
    lacks, the contrast, securities by market value and other events; the rest by its kind.
    """
    primary = {event.id for event in data.spec.with_role("primary")}
    slots = data.portfolios.slots
    unformed = {f"{id}/{key}" for (id, key), s in slots.items() if id in primary and not s.series}
    heavy = {"event": primary, "slot": unformed}
    sizes = {firm.ticker: firm.market_value_usd_bn or 0.0 for firm in data.spec.firms}

    def weight(item: Dropped) -> tuple[int, float, str]:
        first = item.what in KINDS and item.name in heavy.get(item.what, (item.name,))
        if first or item.what == "event":
            rank = KINDS.index(item.what) if first else len(KINDS)
            return rank, -sizes.get(item.name, 0.0) * (item.what == "security"), ""
        return len(KINDS) + 1, 0.0, item.what

    return tuple(sorted(dict.fromkeys(items), key=weight))

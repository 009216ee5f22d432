"""Who is missing, the heaviest first: sectors, primary events, firms by their size, the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from usjp_research.market.record import Dropped, Market
from usjp_research.spec.records import Firm, Spec
from usjp_research.study.legs import CUT
from usjp_research.study.portfolios import Portfolios
from usjp_research.study.verdict import NO_VERDICT
from usjp_research.words import label, percent

if TYPE_CHECKING:
    from usjp_research.study.answer import Study

SHOWN = 5  # names in a line
KINDS = ("sector", "event", "slot", "contrast", "security")


def by_weight(spec: Spec, made: Portfolios, items: Iterable[Dropped]) -> tuple[Dropped, ...]:
    """Order what was left out by how much of the answer it takes away, each once.

    First sectors that cannot be judged, then primary events, primary events that one sector
    lacks, the contrast, securities by market value and other events; the rest by its kind.
    """
    primary = {event.id for event in spec.with_role("primary")}
    unformed = {f"{event}/{key}" for (event, key), s in made.slots.items() if not s.series}
    sizes = {firm.ticker: firm.market_value_usd_bn or 0.0 for firm in spec.firms}

    def weight(item: Dropped) -> tuple[int, float, str]:
        rank = KINDS.index(item.what) if item.what in KINDS else len(KINDS) + 1
        if item.what == "event" and item.name not in primary:
            rank = len(KINDS)
        if item.what == "slot" and not (
            item.name in unformed and item.name.partition("/")[0] in primary
        ):
            rank = len(KINDS) + 1
        size = sizes.get(item.name, 0.0) if item.what == "security" else 0.0
        return rank, -size, item.what if rank > len(KINDS) else ""

    return tuple(sorted(dict.fromkeys(items), key=weight))


def missing_lines(study: Study) -> tuple[str, ...]:
    """Say in a few lines who is missing from a study, the heaviest first.

    Parameters
    ----------
    study : Study

    Returns
    -------
    tuple of str
        Sectors without a verdict, lost primary events, firms without prices by sector with
        their share of its firms and of its market value, a contrast that could not be computed,
        and how many things more were left out; empty when nothing was.
    """
    spec = study.spec
    primary = {event.id for event in spec.with_role("primary")}
    silent = {row.name for row in study.verdicts if row.headline == NO_VERDICT}
    told = [f"{item.name}: {item.reason}" for item in study.dropped if item.what == "sector"]
    lines = [f"No verdict for {text}." for text in told]
    told = [
        f"{item.name}: {item.reason}"
        for item in study.dropped
        if (item.what == "event" and item.name in primary) or _unformed(study, item, silent)
    ]
    lines += [
        f"Primary event {'cut' if f' {CUT} (' in text else 'left out'}, {text}."
        for text in told[:SHOWN]
    ]
    if len(told) > SHOWN:
        lines.append(f"Primary events left out, {len(told) - SHOWN} more.")
    lines += [
        text
        for sector in spec.sectors
        if sector not in silent and (text := _without_prices(spec, study.market, sector))
    ]
    lines += _not_looked(study.made, primary)
    if spec.rule.contrast and study.contrast is None:
        reasons = [item.reason for item in study.dropped if item.what == "contrast"]
        lines.append(f"No contrast of named and unnamed firms: {'; '.join(reasons)}.")
    if count := len(study.dropped):
        lines.append(f"{count} things left out in all, the heaviest first: dropped.csv.")
    return tuple(lines)


def _unformed(study: Study, item: Dropped, silent: set[str]) -> bool:
    if item.what != "slot":
        return False
    event, _, sector = item.name.partition("/")
    slot = study.made.slots.get((event, sector))
    return (
        slot is not None
        and not slot.series
        and slot.reason == item.reason
        and sector not in silent
        and study.spec.event(event).role == "primary"
        and bool(study.spec.event(event).signs.get(sector))
    )


def _not_looked(made: Portfolios, primary: set[str]) -> list[str]:
    """Say in which sector portfolios nobody looked for firms' own news."""
    slots = [slot for slot in made.slots.values() if slot.series and slot.event in primary]
    blind = [f"{s.event}/{s.sector}" for s in slots if s.status == "not available"]
    if not blind:
        return []
    where = "any event" if len(blind) == len(slots) else ", ".join(blind)
    return [f"Firms' own news was not looked for at {where}: every firm stays in."]


def _without_prices(spec: Spec, market: Market, sector: str) -> str:
    """Return one line on a sector's firms without prices; empty when all have some."""
    if market.level != "firm":
        return ""
    firms = spec.members(sector)
    priced = market.returns.columns[market.returns.notna().any()]
    gone = sorted((f for f in firms if f.ticker not in priced), key=lambda f: -_size(f))
    if not gone:
        return ""
    names = ", ".join(firm.ticker for firm in gone[:SHOWN])
    more = f" and {len(gone) - SHOWN} more" if len(gone) > SHOWN else ""
    total = sum(map(_size, firms))
    worth = f", {percent(sum(map(_size, gone)) / total, 0, sign=False)} of its known market value"
    return (
        f"{label(sector)}: {len(gone)} of {len(firms)} firms have no prices "
        f"({percent(len(gone) / len(firms), 0, sign=False)} of its firms{worth if total else ''}): "
        f"{names}{more}."
    )


def _size(firm: Firm) -> float:
    return firm.market_value_usd_bn or 0.0

"""Who is missing from a study, said in a few lines."""

from __future__ import annotations

from usjp_research.market.record import ABSENT, Dropped
from usjp_research.spec.records import Firm
from usjp_research.study.answer import Study
from usjp_research.study.legs import CUT
from usjp_research.study.sample import Sample
from usjp_research.study.verdict import NO_VERDICT
from usjp_research.words import label, percent

SHOWN = 5  # names in a line


def missing_lines(study: Study) -> tuple[str, ...]:
    """Say in a few lines who is missing from a study, the heaviest first.

    Sectors without a verdict, lost primary events, firms without prices by sector with their
    share of its firms and of its market value, a contrast that could not be computed, and how
    many things more were left out; empty when nothing was.
    """
    data, dropped = study.data, study.dropped
    silent = {row.name for row in study.verdicts if row.headline == NO_VERDICT}
    lines = [f"No verdict for {x.name}: {x.reason}." for x in dropped if x.what == "sector"]
    events = [item for item in dropped if _lost(data, item, silent)]
    for item in events[:SHOWN]:
        how = "cut" if f" {CUT} (" in item.reason else "left out"
        lines.append(f"Primary event {how}, {item.name}: {item.reason}.")
    if len(events) > SHOWN:
        lines.append(f"Primary events left out, {len(events) - SHOWN} more.")
    judged = (sector for sector in data.spec.sectors if sector not in silent)
    lines += [text for sector in judged if (text := _without_prices(data, sector))]
    primary = {event.id for event in data.spec.with_role("primary")}
    slots = [s for s in data.portfolios.slots.values() if s.series and s.event in primary]
    if blind := [f"{s.event}/{s.sector}" for s in slots if s.status == "not available"]:
        where = "any event" if len(blind) == len(slots) else ", ".join(blind)
        lines.append(f"Firms' own news was not looked for at {where}: every firm stays in.")
    if data.spec.rule.contrast and study.contrast is None:
        reasons = [item.reason for item in dropped if item.what == "contrast"]
        lines.append(f"No contrast of named and unnamed firms: {'; '.join(reasons)}.")
    if dropped:
        many = f"{len(dropped)} thing{'s' * (len(dropped) > 1)} left out in all"
        lines.append(f"{many}, the heaviest first: dropped.csv.")
    return tuple(lines)


def _lost(data: Sample, item: Dropped, silent: set[str]) -> bool:
    """Say whether a primary event is out, or has no portfolio of a sector that is judged."""
    id, _, sector = item.name.partition("/")
    if item.what not in ("event", "slot") or data.spec.event(id).role != "primary":
        return False
    if item.what == "event":
        return True
    slot = data.portfolios.slots[id, sector]
    unformed = not slot.series and slot.reason == item.reason
    return unformed and sector not in silent and bool(data.spec.event(id).signs.get(sector))


def _without_prices(data: Sample, sector: str) -> str:
    """Return one line on a sector's firms without prices; empty when all have some."""
    if data.firms is None:
        return ""
    firms, priced = data.spec.members(sector), data.firms.columns[data.firms.notna().any()]
    gone = sorted((f for f in firms if f.ticker not in priced), key=lambda f: -_size(f))
    if not gone:
        return ""
    why = {item.name: item.reason for item in data.market.dropped if item.what == "security"}
    told = (f.ticker + why.get(f.ticker, "").partition(ABSENT)[2] for f in gone[:SHOWN])
    names = ", ".join(told)
    more = f" and {len(gone) - SHOWN} more" if len(gone) > SHOWN else ""
    share = f"{percent(len(gone) / len(firms), 0, sign=False)} of its firms"
    if total := sum(map(_size, firms)):
        worth = percent(sum(map(_size, gone)) / total, 0, sign=False)
        share += f", {worth} of its known market value"
    many = f"{len(gone)} of {len(firms)} firms have no prices ({share})"
    return f"{label(sector)}: {many}: {names}{more}."


def _size(firm: Firm) -> float:
    return firm.market_value_usd_bn or 0.0

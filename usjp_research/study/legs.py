"""Which windows a statistic sums, and what a shared day does to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from usjp_research.engine.placebo import Leg, runs
from usjp_research.market.record import Dropped
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
    and is split where that leaves two pieces. A day on which windows of both signs meet counts
    for none of them: see `share_days`. An event whose expected sign for the sector is zero is
    not in the list, nor is one whose portfolio could not be formed.

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
    return share_days(event_windows(spec, panel, made, sector, roles))[0]


def event_windows(
    spec: Spec,
    panel: EventPanel,
    made: Portfolios,
    sector: str,
    roles: Sequence[str] = ("primary",),
) -> tuple[Leg, ...]:
    """List the whole signed windows of a sector, primary events first; they may share days."""
    return tuple(
        Leg(event.id, slot.series, int(panel.day0[place]), spec.rule.window, sign)
        for role in sorted(roles, key=lambda role: role != "primary")
        for place in panel.index(role)
        if (sign := (event := panel.events[place]).signs.get(sector, 0))
        and (slot := made.slots[event.id, sector]).series
    )


CUT = "for neither"  # ends the reason of an event that keeps some of its days


def share_days(
    windows: Sequence[Leg], taken: Mapping[int, str] | None = None, *, own_day0: bool = False
) -> tuple[tuple[Leg, ...], dict[str, str]]:
    """Give every trading day to the first window that reaches it, and to none where signs differ.

    A day inside windows of both signs says nothing about either event, so it counts for none.
    An event whose day 0 is such a day is out with its whole window: what is left of it lies
    before its news or long after.

    Parameters
    ----------
    windows : sequence of Leg
        The first comes first.
    taken : mapping of int to str, optional
        Days that no window may have, and the event that has them.
    own_day0 : bool
        Leave out an event whose day 0 is taken.

    Returns
    -------
    legs : tuple of Leg
        In the order of the windows, cut to their days.
    reasons : dict of str to str
        Why days were lost to the other sign or no day is left, by event.
    """
    days = [range(leg.day0 + leg.window[0], leg.day0 + leg.window[1] + 1) for leg in windows]
    signs: dict[int, set[int]] = {}
    for leg, span in zip(windows, days, strict=True):
        for day in span:
            signs.setdefault(day, set()).add(leg.sign)
    holder = dict(taken or {})
    before = set(holder)
    legs: list[Leg] = []
    reasons: dict[str, str] = {}
    for leg, span in zip(windows, days, strict=True):
        disputed = [day for day in span if len(signs[day]) > 1 and day not in before]
        if disputed:
            reasons[leg.event] = _disputed(windows, leg, disputed, len(span))
        if leg.day0 in disputed:
            continue
        holders = [holder[day] for day in span if day in holder]
        lost = own_day0 and leg.day0 in holder
        free = [d for d in span if d not in holder and d not in disputed and not lost]
        if not free and leg.event not in reasons:
            names = ", ".join(dict.fromkeys(holders))
            reasons[leg.event] = f"adds no day of its own: its days are already in, with {names}"
        for low, high in runs([day - leg.day0 for day in free]):
            legs.append(Leg(leg.event, leg.series, leg.day0, (low, high), leg.sign))
        holder.update(dict.fromkeys(free, leg.event))
    return tuple(legs), reasons


def _disputed(windows: Sequence[Leg], leg: Leg, days: Sequence[int], length: int) -> str:
    rivals = dict.fromkeys(
        other.event
        for other in windows
        if other.sign != leg.sign
        and any(other.window[0] <= day - other.day0 <= other.window[1] for day in days)
    )
    where = f"the window of {', '.join(rivals)}, whose expected sign is the opposite"
    if leg.day0 in days:
        return f"its day 0 lies in {where}: it is not in the sum"
    lie, count = ("lies", "it counts") if len(days) == 1 else ("lie", "they count")
    return f"{len(days)} of its {length} days {lie} in {where}: {count} {CUT}"


def shared_days(
    spec: Spec, panel: EventPanel, made: Portfolios, roles: Sequence[str] = ("primary",)
) -> tuple[Dropped, ...]:
    """List the events that lose days to the other sign or add no day, with the sectors."""
    return name_sectors(
        spec,
        {
            sector: share_days(event_windows(spec, panel, made, sector, roles))[1]
            for sector in spec.sectors
        },
    )


def name_sectors(
    spec: Spec, reasons: Mapping[str, Mapping[str, str]], what: str = "event", prefix: str = ""
) -> tuple[Dropped, ...]:
    """Turn reasons by sector and event into one line per event and reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for sector, own in reasons.items():
        for event, reason in own.items():
            found.setdefault((event, reason), []).append(sector)
    return tuple(
        Dropped(
            what,
            f"{prefix}{event}",
            f"{reason} ({'every sector' if len(names) == len(spec.sectors) else ', '.join(names)})",
        )
        for (event, reason), names in found.items()
    )


def why_silent(spec: Spec, panel: EventPanel, made: Portfolios, sector: str) -> str:
    """Say why a sector has no window to sum; empty when it has one."""
    if event_legs(spec, panel, made, sector):
        return ""
    signed = [event for event in spec.with_role("primary") if event.signs.get(sector)]
    if not signed:
        return "no primary event has an expected sign (+ or -) for it"
    inside = [event for event in signed if panel.position(event.id) is not None]
    if not inside:
        reasons = {item.name: item.reason for item in panel.dropped}
        first = signed[0].id
        return f"none of its primary events can be tested ({first}: {reasons.get(first, '')})"
    slots = [made.slots[event.id, sector] for event in inside]
    if not any(slot.series for slot in slots):
        return f"no portfolio can be formed ({slots[0].event}: {slots[0].reason})"
    event, reason = next(
        iter(share_days(event_windows(spec, panel, made, sector))[1].items()), ("", "")
    )
    return f"no event is left ({event}: {reason})"


def common_sign(legs: Sequence[Leg]) -> int:
    """Return the sign that all windows have, or 0 when they differ or there are none."""
    seen = {leg.sign for leg in legs}
    return seen.pop() if len(seen) == 1 else 0

"""Which windows a statistic sums, and what a shared day does to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from usjp_research.engine.placebo import Leg, Placebo, own_days, runs
from usjp_research.market.record import MIRROR, Dropped
from usjp_research.spec.records import Spec
from usjp_research.study.sample import Sample
from usjp_research.words import InputError

CUT = "for neither"  # ends the reason of an event that keeps some of its days
NO_EVENT = "no event with an expected sign and a day 0 of its own lies inside the data"


def event_windows(
    data: Sample,
    name: str,
    places: Iterable[int],
    window: tuple[int, int] | None = None,
    *,
    signed: bool = True,
) -> tuple[Leg, ...]:
    """List the windows of a sector, or of the mirror, at some places of the panel's events, uncut.

    The rule's where none is given; it ends with the data. If ``signed``, events without an expected
    sign are left out, else all count as +1.
    """
    low, high = window or data.spec.rule.window
    made, found = data.portfolios, []
    for place in places:
        event, day0 = data.panel.events[place], int(data.panel.day0[place])
        if name == MIRROR:
            series = MIRROR if MIRROR in made.returns else ""
            sign = -1 if event.role == "reverse" else 1  # bad news for the thesis counts down
        else:
            series, sign = made.slots[event.id, name].series, event.signs.get(name, 0)
        sign = sign if signed else 1
        end = min(high, len(made.benchmark) - 1 - day0)
        if series and sign and low <= end:
            found.append(Leg(event.id, series, day0, (low, end), sign))
    return tuple(found)


def event_legs(data: Sample, sector: str, roles: Sequence[str] = ("primary",)) -> tuple[Leg, ...]:
    """List the signed windows of a sector, each trading day counted once, primary events first."""
    return _shared(data, sector, roles)[0]


def _shared(
    data: Sample, sector: str, roles: Sequence[str] = ("primary",)
) -> tuple[tuple[Leg, ...], dict[str, str]]:
    order = sorted(roles, key=lambda role: role != "primary")
    places = [place for role in order for place in data.panel.index(role)]
    return share_days(event_windows(data, sector, places))


def campaign_legs(data: Sample) -> dict[str, tuple[Leg, ...]]:
    """Make one window per sector over the rule's campaign; none where an end cannot be tested."""
    rule, panel = data.spec.rule, data.panel
    first, last = (panel.position(id) for id in rule.campaign or ("", ""))
    if rule.campaign is None or first is None or last is None:
        return {}
    start, end = int(panel.day0[first]), int(panel.day0[last])
    window = (rule.window[0], end - start + rule.window[1])
    id = rule.campaign[0]
    return {s: (Leg(id, f"sector/{s}", start, window, 1),) for s in data.spec.sectors}


def share_days(
    windows: Sequence[Leg], taken: Mapping[int, str] | None = None, *, own_day0: bool = False
) -> tuple[tuple[Leg, ...], dict[str, str]]:
    """Give every trading day to the first window that reaches it, and to none where signs differ.

    A day inside windows of both signs counts for no event, and an event whose day 0 it is is out
    with its whole window: what is left of it lies before its news or long after. Days ``taken``,
    by which event, go to no window; with ``own_day0`` an event whose day 0 is taken is out.
    Returns the windows cut to their days, and by event why days were lost or none is left.
    """
    signs: dict[int, set[int]] = defaultdict(set)
    for leg in windows:
        for day in own_days([leg]):
            signs[day].add(leg.sign)
    holder = dict(taken or {})
    before = set(holder)
    legs: list[Leg] = []
    reasons: dict[str, str] = {}
    for leg in windows:
        days = own_days([leg])
        disputed = [day for day in days if len(signs[day]) > 1 and day not in before]
        if disputed:
            reasons[leg.event] = _disputed(windows, leg, disputed, len(days))
        if leg.day0 in disputed:
            continue
        holders = dict.fromkeys(holder[day] for day in days if day in holder)
        lost = own_day0 and leg.day0 in holder
        free = [] if lost else [d for d in days if d not in holder and d not in disputed]
        if not free and leg.event not in reasons:
            whom = ", ".join(holders)
            reasons[leg.event] = f"adds no day of its own: its days are already in, with {whom}"
        for span in runs([day - leg.day0 for day in free]):
            legs.append(Leg(leg.event, leg.series, leg.day0, span, leg.sign))
        holder.update(dict.fromkeys(free, leg.event))
    return tuple(legs), reasons


def _disputed(windows: Sequence[Leg], leg: Leg, days: Sequence[int], length: int) -> str:
    against = [other for other in windows if other.sign != leg.sign]
    rivals = dict.fromkeys(x.event for x in against if not set(days).isdisjoint(own_days([x])))
    where = f"the window of {', '.join(rivals)}, whose expected sign is the opposite"
    if leg.day0 in days:
        return f"its day 0 lies in {where}: it is not in the sum"
    lie, count = ("lies", "it counts") if len(days) == 1 else ("lie", "they count")
    return f"{len(days)} of its {length} days {lie} in {where}: {count} {CUT}"


def shared_days(data: Sample, roles: Sequence[str] = ("primary",)) -> tuple[Dropped, ...]:
    """List the events that lose days to the other sign or add no day, with the sectors."""
    return name_sectors(data.spec, {s: _shared(data, s, roles)[1] for s in data.spec.sectors})


def name_sectors(
    spec: Spec, reasons: Mapping[str, Mapping[str, str]], what: str = "event", prefix: str = ""
) -> tuple[Dropped, ...]:
    """Turn reasons by sector and event into one line per event and reason."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for sector, own in reasons.items():
        for pair in own.items():
            found[pair].append(sector)
    lines = []
    for (event, reason), names in found.items():
        who = "every sector" if len(names) == len(spec.sectors) else ", ".join(names)
        lines.append(Dropped(what, prefix + event, f"{reason} ({who})"))
    return tuple(lines)


def why_silent(data: Sample, sector: str) -> str:
    """Say why a sector has no window to sum; empty when it has one."""
    legs, lost = _shared(data, sector)
    if legs:
        return ""
    signed = [event.id for event in data.spec.with_role("primary") if event.signs.get(sector)]
    if not signed:
        return "no primary event has an expected sign (+ or -) for it"
    inside = [id for id in signed if data.panel.position(id) is not None]
    if not inside:
        first = signed[0]
        return f"none of its primary events can be tested ({first}: {data.panel.why(first)})"
    slots = [data.portfolios.slots[id, sector] for id in inside]
    if not any(slot.series for slot in slots):
        return f"no portfolio can be formed ({slots[0].event}: {slots[0].reason})"
    event, reason = next(iter(lost.items()), ("", ""))
    return f"no event is left ({event}: {reason})"


def common_sign(legs: Sequence[Leg]) -> int:
    """Return the sign that all windows have, or 0 when they differ or there are none."""
    seen = {leg.sign for leg in legs}
    return seen.pop() if len(seen) == 1 else 0


def laid_out(
    data: Sample, groups: Mapping[str, Sequence[Leg]], *, family: bool = False, **how: Any
) -> tuple[Placebo, pd.DataFrame]:
    """Compute the law of windows by group, and its table with ``sector``, ``events``, ``sign``."""
    if not groups:
        raise InputError(NO_EVENT)
    rule, law = data.spec.rule, data.law(groups, **how)
    legs, rows = [*groups.values()], law.table(rule.alpha, rule.power, family=family)
    events = [" ".join(dict.fromkeys(leg.event for leg in own)) for own in legs]
    sign = [common_sign(own) for own in legs]
    return law, rows.assign(sector=list(groups), events=events, sign=sign)

"""The rule's statistic on other windows, other events and in other versions: nothing decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from usjp_research.engine.placebo import Leg, Placebo, stepdown_p
from usjp_research.market.record import MIRROR, Dropped
from usjp_research.spec.records import GENERIC, Check, Spec
from usjp_research.study.legs import common_sign, event_windows, laid_out, name_sectors, share_days
from usjp_research.study.sample import Sample
from usjp_research.study.verdict import Verdict
from usjp_research.words import InputError, percent

SAID = ("title", "priced", "unpriced", "wrong")
TIMING = (
    *("check", "sector", "events", "sessions", "sign", "effect", "low", "high", "p", "p_family"),
    *("mde", "shifts", "independent", *SAID),
)
VARIANTS = ("version", "sector", "sign", "effect", "marginal_low", "marginal_high", "p", "shifts")
CONTROL = ("sector", "event", "session", "effect", "low", "high", "p", "mde", "shifts")
ONE_DAY = 0.3  # of a row that stands out, from which a single day makes it


def before_and_after(data: Sample) -> tuple[pd.DataFrame, tuple[Dropped, ...]]:
    """Compute every check of ``checks.csv`` on its own placebo shifts.

    Each trading day counts once, for the latest event that reaches it, and not at all where windows
    of both signs meet; days inside a primary event's window belong to the event and to no other
    check. Estimation ends where the event's own estimation ends, so that a window after the event
    is out of sample.

    One row per check and sector (and the mirror basket), columns `TIMING`: ``sign`` expected of all
    its windows, 0 where they differ; ``effect`` in that direction and marginal interval as
    decimals; ``p_family`` adjusted over the sectors; ``sessions`` summed, ``shifts`` and what they
    are worth as ``independent`` draws: with fewer of those than 1 / alpha only the effect. Beside
    them events that a check leaves out, and checks that cannot be computed.

    Examples
    --------
    >>> timing, dropped = before_and_after(data)                    # doctest: +SKIP
    """
    tables, dropped = [], list[Dropped]()
    for check in checks_of(data.spec):
        places = _places(data, check)
        found = {name: _legs(data, check, places, name) for name in (*data.spec.sectors, MIRROR)}
        groups = {name: legs for name, (legs, _) in found.items() if legs}
        lost = {name: reasons for name, (_, reasons) in found.items() if name != MIRROR}
        dropped += name_sectors(data.spec, lost, "before and after", f"{check.title}: ")
        try:
            tables.append(_timing(data, check, groups))
        except InputError as error:
            dropped.append(Dropped("before and after", check.title, str(error)))
    empty = pd.DataFrame(columns=list(TIMING))
    return pd.concat(tables, ignore_index=True) if tables else empty, tuple(dropped)


def checks_of(spec: Spec) -> tuple[Check, ...]:
    """Return the study's own checks, or the usual ones that its events and its note admit."""
    return spec.checks or tuple(
        check
        for check in GENERIC
        if (spec.rule.note if check.of_note else spec.with_role(*check.roles))
    )


def _places(data: Sample, check: Check) -> tuple[int, ...]:
    panel, rule = data.panel, data.spec.rule
    note = panel.position(rule.note) if rule.note else None
    places = panel.index(*check.roles)
    if note is None:
        return () if check.of_note else places
    if "note" in check.roles:
        return (note,)
    late, after = panel.day0[note], check.part == "after"
    return tuple(k for k in places if not check.part or (panel.day0[k] >= late) == after)


def _legs(
    data: Sample, check: Check, places: Sequence[int], name: str
) -> tuple[tuple[Leg, ...], dict[str, str]]:
    """List one sector's windows of a check, later events first to their days, and what is lost."""
    panel, (low, high) = data.panel, data.spec.rule.window
    latest = sorted(places, key=lambda k: -panel.day0[k])
    windows = event_windows(data, name, latest, check.window)
    taken: dict[int, str] = {}
    if check.window or check.roles != ("primary",):
        # What is left of a window whose day 0 belongs to a primary event lies before its news.
        for place in panel.index("primary"):
            days = range(panel.day0[place] + low, panel.day0[place] + high + 1)
            taken |= dict.fromkeys(days, panel.events[place].id)
    legs, reasons = share_days(windows, taken, own_day0=check.window is None)
    return legs[::-1], reasons


def _timing(data: Sample, check: Check, groups: Mapping[str, Sequence[Leg]]) -> pd.DataFrame:
    """Lay out one check: no p-value is finer than the independent draws behind it."""
    law, rows = laid_out(data, groups, anchored=True)
    own = law.part([name for name in law.groups if name != MIRROR])
    adjusted = pd.Series(stepdown_p(own.distance, own.null_distance), index=list(own.groups))
    finest = 1 / (1 + rows["independent"])
    windows = [[leg.window for leg in legs] for legs in groups.values()]
    rows = rows.assign(
        check=check.key,
        sessions=[sum(high - low + 1 for low, high in spans) for spans in windows],
        p=rows["p"].clip(lower=finest),
        p_family=adjusted.reindex(rows.index).clip(lower=finest),
        **{name: getattr(check, name) for name in SAID},
    )
    few = rows["independent"] < 1 / data.spec.rule.alpha
    rows.loc[few, ["low", "high", "p", "p_family", "mde"]] = np.nan
    return rows[list(TIMING)]


def by_day(data: Sample, legs: Mapping[str, Sequence[Leg]]) -> pd.DataFrame:
    """Split signed sums by event and day: sector, event, offset from day 0, session, effect."""
    rows = [
        (name, leg, day)
        for name, own in legs.items()
        for leg in own
        for day in range(leg.window[0], leg.window[1] + 1)
    ]
    groups = [(replace(leg, window=(day, day)),) for _, leg, day in rows]
    calendar = [leg for own in legs.values() for leg in own]
    effect, *_ = data.sums(groups, np.zeros(1, int), calendar=calendar, anchored=True)
    told = [(name, leg.event, day, data.market.dates[leg.day0 + day]) for name, leg, day in rows]
    frame = pd.DataFrame(told, columns=["sector", "event", "offset", "session"])
    return frame.assign(effect=effect[0])


def one_day(data: Sample, row: Verdict, days: pd.DataFrame) -> str:
    """Say where a row that stands out owes three tenths to the days before the news, or to others.

    Those others are the sessions of ``confounders.csv`` that name the sector or all, each told once
    with all its news; one before the news stands in the sum of those days.
    """
    own = days[days["sector"] == row.name]
    if own.empty or row.marginal_low <= 0 <= row.marginal_high:
        return ""
    news: dict[pd.Timestamp, list[str]] = {}
    for item in data.spec.confounders:
        if {"all", row.name} & set(item.sectors):
            news.setdefault(pd.Timestamp(item.session), []).append(item.title.rstrip("."))
    moved = own.groupby("session")["effect"].sum()
    told = {
        day: f"{day.date()}: {', and '.join(titles)}"
        for day, titles in news.items()
        if moved.get(day, 0.0) / row.effect >= ONE_DAY
    }
    early = own[own["offset"] < 0]
    before, words = early["effect"].sum(), []
    if before / row.effect >= ONE_DAY:
        inside = [day for day in told if day in set(early["session"])]
        parts = ", ".join(f"{percent(moved[day], 1)} on {told.pop(day)}" for day in inside)
        name = f"the day{'s' * (len(early) > 1)} before the news" + (f" ({parts})" if parts else "")
        words.append((before, name))
    words += [(moved[day], name) for day, name in told.items()]
    whole = percent(row.effect, 1)
    return "; ".join(f"{percent(part, 1)} of its {whole} came on {name}" for part, name in words)


def positive_control(data: Sample) -> pd.DataFrame:
    """Return the mirror basket's move on the day of the cleanest event: it should be seen.

    One row, with the basket's own interval and placebo p, where the study names a basket and an
    event and the event has its numbers; none otherwise.
    """
    rule, place = data.spec.rule, data.panel.position(data.spec.rule.cleanest)
    if place is None or MIRROR not in data.portfolios.returns:
        return pd.DataFrame(columns=list(CONTROL))
    leg = Leg(rule.cleanest, MIRROR, int(data.panel.day0[place]), (0, 0), 1)
    try:
        _, rows = laid_out(data, {MIRROR: [leg]})
    except InputError:
        return pd.DataFrame(columns=list(CONTROL))
    rows = rows.assign(event=leg.event, session=data.panel.new_york[place])
    return rows[list(CONTROL)]


def other_versions(
    data: Sample, legs: Mapping[str, Sequence[Leg]], family: Placebo
) -> tuple[pd.DataFrame, tuple[Dropped, ...]]:
    """Compute other versions of the statistic on the same shifts: a row per version and sector."""
    tables, dropped = [], list[Dropped]()
    for title, groups, how in _versions(data, legs):
        try:
            _, rows = laid_out(data, groups, shifts=family.shifts, **how)
        except InputError as error:
            dropped.append(Dropped("version", title, str(error)))
        else:
            rows = rows.rename(columns={"low": "marginal_low", "high": "marginal_high"})
            tables.append(rows.assign(version=title)[list(VARIANTS)])
    if apart := list(_dispersion(data, legs, family)):
        tables.append(pd.DataFrame(apart, columns=list(VARIANTS)))
    return pd.concat(tables, ignore_index=True), tuple(dropped)


def _versions(
    data: Sample, legs: Mapping[str, Sequence[Leg]]
) -> Iterator[tuple[str, Mapping[str, Sequence[Leg]], dict[str, Any]]]:
    """List every version that has windows: its title, its windows, how its law is computed."""
    alone, primary = data.spec.rule.cleanest, data.panel.index("primary")
    every = {name: event_windows(data, name, primary, signed=False) for name in (*legs, MIRROR)}
    shared = {name: share_days(windows)[0] for name, windows in every.items()}
    mirror = shared.pop(MIRROR)
    there = [name for name, own in legs.items() if any(leg.event == alone for leg in own)]
    windows = {name: event_windows(data, name, primary) for name in there}
    clean = {name: [leg for leg in own if leg.event == alone] for name, own in windows.items()}
    whole = {name: [replace(x, series=f"sector/{name}") for x in own] for name, own in legs.items()}
    yield "the rule", legs, {}
    yield "without blackout", whole, {}
    yield "unsigned, all primary events", shared, {}
    if clean:
        yield f"{alone} alone", clean, {}
    yield "no scaling", legs, {"variance": lambda fit: np.ones_like(fit.variance)}
    yield "forecast error only", legs, {"variance": lambda fit: fit.variance}
    yield "trailing variance only", legs, {"variance": lambda fit: fit.trailing}
    if mirror:
        yield "mirror", {MIRROR: mirror}, {}


def _dispersion(
    data: Sample, legs: Mapping[str, Sequence[Leg]], family: Placebo
) -> Iterator[tuple[object, ...]]:
    """Scale by how far the sector's baskets lie apart in the window itself."""
    for name, own in legs.items():
        baskets = [key for key in data.portfolios.members if key.startswith(f"basket/{name}/")]
        if len(baskets) < 3:
            continue
        pieces = {
            f"{k} {b}": [replace(leg, series=b)] for k, leg in enumerate(own) for b in baskets
        }
        law = family.part([name])
        try:
            apart = data.law(pieces, calendar=own, shifts=law.shifts)
        except InputError:
            continue
        each = np.vstack([apart.effect, apart.null_effect]).reshape(-1, len(own), len(baskets))
        error = np.sqrt((each.var(axis=2, ddof=1) / len(baskets)).sum(axis=1, keepdims=True))
        null = law.null_effect[np.isin(law.shifts, apart.shifts)] / error[1:]
        real = law.effect / error[0]
        law = replace(law, shifts=apart.shifts, statistic=real, null_statistic=null)
        if np.isfinite(real).all():
            title = "dispersion of baskets, blackout firms included"
            numbers = (float(law.effect[0]), np.nan, np.nan, float(law.p[0]), len(law))
            yield title, name, common_sign(own), *numbers

"""Before and after: the rule's statistic on other windows and other events; it decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from usjp_research.engine.design import expected_return_design
from usjp_research.engine.placebo import (
    Leg,
    Placebo,
    independent_shifts,
    minimum_detectable,
    placebo_law,
    quantile,
    stepdown_p,
)
from usjp_research.market.record import MIRROR, Dropped
from usjp_research.spec.records import Rule, Spec
from usjp_research.study.events import EventPanel
from usjp_research.study.legs import common_sign, name_sectors, share_days
from usjp_research.study.portfolios import Portfolios
from usjp_research.words import InputError


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the question "does the pattern look like pricing?".

    Attributes
    ----------
    window : (int, int) or None
        Offsets from day 0; the rule's window when ``None``.
    roles : tuple of str
        Of the events that it sums.
    part : str
        ``before`` or ``after`` the note's publication, or empty for all events.
    priced, unpriced, wrong : str
        What it would show if the thesis is right and priced, right and not priced, or wrong.
    """

    key: str
    title: str
    window: tuple[int, int] | None
    roles: tuple[str, ...]
    priced: str
    unpriced: str
    wrong: str
    part: str = ""


CHECKS = (
    Check(
        "runup",
        "Run-up before the events",
        (-10, -2),
        ("primary",),
        "as expected, if it leaked",
        "flat",
        "flat",
    ),
    Check(
        "event",
        "The event windows: the rule",
        None,
        ("primary",),
        "as expected",
        "flat",
        "flat, or against",
    ),
    Check(
        "before",
        "Events before the note",
        None,
        ("primary",),
        "as expected",
        "flat",
        "flat, or against",
        "before",
    ),
    Check(
        "after",
        "Events after the note: out of its sample",
        None,
        ("primary",),
        "as expected, or flat if done before",
        "flat",
        "flat, or against",
        "after",
    ),
    Check(
        "drift20",
        "Drift, the month after",
        (2, 20),
        ("primary",),
        "flat; as expected if slow",
        "flat, for now",
        "flat, or against",
    ),
    Check(
        "drift60",
        "Drift, the quarter after",
        (2, 60),
        ("primary",),
        "flat; as expected if slow",
        "flat, for now",
        "flat, or against",
    ),
    Check("leak", "Leaks in the press", None, ("leak",), "as expected", "flat", "flat"),
    Check(
        "note",
        "The note is published",
        None,
        ("note",),
        "flat",
        "as expected, if it is read",
        "flat",
    ),
    Check(
        "note60",
        "The quarter after the note",
        (2, 60),
        ("note",),
        "flat",
        "as expected, if it persuades",
        "flat, or against",
    ),
    Check(
        "reverse",
        "Bad news for the thesis",
        None,
        ("reverse",),
        "as expected",
        "flat",
        "flat, or against",
    ),
    Check("placebo", "Dates with nothing new", None, ("placebo",), "flat", "flat", "flat"),
)

COLUMNS = [
    "check",
    "sector",
    "events",
    "sessions",
    "sign",
    "effect",
    "low",
    "high",
    "p",
    "p_family",
    "mde",
    "shifts",
    "independent",
]


def before_and_after(
    spec: Spec, panel: EventPanel, made: Portfolios, missing: list[Dropped]
) -> pd.DataFrame:
    """Compute every check on its own placebo shifts.

    Each trading day counts once, for the latest event that reaches it, and not at all where
    windows of both signs meet; days inside a primary event's window belong to the event and to no
    other check. Estimation ends where the event's
    own estimation ends, so that a window after the event is out of sample.

    Parameters
    ----------
    spec : Spec
    panel : EventPanel
    made : Portfolios
    missing : list of Dropped
        Gets a line for each check that cannot be computed.

    Returns
    -------
    DataFrame
        One row per check and sector (and the mirror basket): ``sign`` that is expected of all
        its windows, 0 where they differ, ``effect`` in that direction and marginal interval
        ``low``, ``high`` as decimals, placebo ``p``, ``p_family`` adjusted over the sectors of
        the check (step-down), ``mde``, how many ``sessions`` it sums, its ``shifts`` and what
        they are worth as ``independent`` draws. With fewer of those than 1 / alpha there is an
        effect and nothing else.
    """
    rows: list[dict[str, object]] = []
    for check in CHECKS:
        places = _places(spec, panel, check)
        found = {
            name: _legs(spec, panel, made, check, places, name) for name in (*spec.sectors, MIRROR)
        }
        groups = {name: legs for name, (legs, _) in found.items() if legs}
        lost = {name: reasons for name, (_, reasons) in found.items() if name != MIRROR}
        missing += name_sectors(spec, lost, "before and after", f"{check.title}: ")
        if not groups:
            reason = "no event with an expected sign and a day 0 of its own lies inside the data"
            missing.append(Dropped("before and after", check.title, reason))
            continue
        try:
            null = placebo_law(
                groups,
                made.array,
                expected_return_design(spec.rule.model, {"market": made.benchmark}),
                panel.masked,
                spec.rule,
                anchored=True,
            )
        except InputError as error:
            missing.append(Dropped("before and after", check.title, str(error)))
            continue
        family = [g for g, name in enumerate(null.groups) if name != MIRROR]
        adjusted = stepdown_p(null.distance[family], null.null_distance[:, family])
        for g, name in enumerate(null.groups):
            legs = groups[name]
            row: dict[str, object] = {
                "check": check.key,
                "sector": name,
                "events": " ".join(dict.fromkeys(leg.event for leg in legs)),
                "sessions": sum(leg.window[1] - leg.window[0] + 1 for leg in legs),
                "sign": common_sign(legs),
                "effect": float(null.effect[g]),
                "shifts": len(null),
                "independent": (worth := independent_shifts(legs, null.shifts)),
            }
            if worth >= 1 / spec.rule.alpha:
                # No p-value is finer than the number of independent draws behind it.
                finest = 1 / (1 + worth)
                row |= _interval(spec.rule, null, g)
                row["p"] = max(float(null.p[g]), finest)
                if g in family:
                    row["p_family"] = max(float(adjusted[family.index(g)]), finest)
            rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _interval(rule: Rule, null: Placebo, g: int) -> dict[str, object]:
    half = quantile(null.null_distance[:, g], rule.alpha)
    error, center = float(null.error[g]), float(null.center[g])
    middle = float(null.effect[g]) - center * error
    deviation = null.null_statistic[:, g] - center
    return {
        "low": middle - half * error,
        "high": middle + half * error,
        "mde": minimum_detectable(deviation, error, half, rule.power),
    }


def _places(spec: Spec, panel: EventPanel, check: Check) -> tuple[int, ...]:
    note = panel.position(spec.rule.note) if spec.rule.note else None
    if "note" in check.roles:
        return () if note is None else (note,)
    places = panel.index(*check.roles)
    if not check.part:
        return places
    if note is None:
        return ()
    late = panel.day0[note]
    return tuple(k for k in places if (panel.day0[k] >= late) == (check.part == "after"))


def _legs(
    spec: Spec,
    panel: EventPanel,
    made: Portfolios,
    check: Check,
    places: Sequence[int],
    name: str,
) -> tuple[list[Leg], dict[str, str]]:
    """List one sector's windows of a check, later events first to their days, and what is lost."""
    low, high = check.window or spec.rule.window
    inside = check.window is None and check.roles == ("primary",)
    windows = []
    for place in sorted(places, key=lambda k: -panel.day0[k]):
        event, day0 = panel.events[place], int(panel.day0[place])
        if name == MIRROR:
            series = MIRROR if MIRROR in made.returns.columns else ""
            sign = -1 if event.role == "reverse" else 1
        else:
            slot = made.slots[event.id, name]
            series, sign = slot.series, event.signs.get(name, 0)
        end = min(high, len(made.benchmark) - 1 - day0)
        if series and sign and low <= end:
            windows.append(Leg(event.id, series, day0, (low, end), sign))
    # What is left of a window whose day 0 belongs to a primary event lies before its news.
    legs, reasons = share_days(
        windows, {} if inside else _event_days(spec, panel), own_day0=check.window is None
    )
    return list(legs[::-1]), reasons


def _event_days(spec: Spec, panel: EventPanel) -> dict[int, str]:
    low, high = spec.rule.window
    return {
        int(panel.day0[place]) + k: panel.events[place].id
        for place in panel.index("primary")
        for k in range(low, high + 1)
    }

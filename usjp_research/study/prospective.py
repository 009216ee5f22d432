"""Events announced after the freeze: a set, a sum, a law and a family of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from usjp_research.engine.placebo import Placebo, admissible_shifts
from usjp_research.market.record import Dropped
from usjp_research.spec.records import Spec
from usjp_research.study.events import MASKED_ROLES
from usjp_research.study.legs import why_silent
from usjp_research.study.sample import Sample, sample
from usjp_research.study.second import calendar_of, second_of, second_rows
from usjp_research.study.verdict import Verdict, every_sector
from usjp_research.words import InputError

KIND = "prospective"
NO_FIRMS = "no averages were made for later news: it needs prices of single firms"
NOT_SUMMED = "it is not primary: its days are masked where the role says so, and not summed"
UNCHECKED = "own news of firms is not available for it: every firm stays in"
WHOLE = "held against the whole implied value, of which later news can be a part only"


class Prospective(NamedTuple):
    """What later events say: a row per sector, their joint law, and what could not be done."""

    rows: tuple[Verdict, ...] = ()
    law: Placebo | None = None
    dropped: tuple[Dropped, ...] = ()


def prospective_spec(spec: Spec) -> Spec:
    """Return the study of the prospective events alone, with the signs of the frozen table.

    All other news is secondary in it: masked and not summed.
    """
    later = [event for event in spec.announced(later=True) if event.role == "primary"]
    signed = [replace(event, signs=spec.later_signs(event)) for event in later]
    news = (e for e in spec.events if e.role in MASKED_ROLES and e not in later)
    assert spec.rule.second is not None
    second = spec.rule.second.model_copy(update={"chosen_on": None, "prices_to": None})
    rule = spec.rule.model_copy(update={"second": second, "contrast": None})
    others = (replace(event, role="secondary") for event in news)
    return replace(spec, rule=rule, events=(*signed, *others))


def prospective(data: Sample) -> Prospective:
    """Judge the events announced after the freeze by the second rule, on shifts of their own.

    Nothing of them is in the study of the earlier events, whose news is only masked here.
    """
    spec, second = data.spec, data.spec.rule.second
    if second is None or not second.prospective:
        return Prospective()
    told = {e.id: NOT_SUMMED for e in spec.announced(later=True) if e.role != "primary"}
    if len(told) == len(spec.announced(later=True)):
        end = data.market.dates[-1].date()
        told["no primary event"] = f"none after {second.chosen_on}; the data end {end}"
        return Prospective((), None, _dropped(told))
    try:
        later = _sample(data)
        shifts = admissible_shifts(calendar_of(later), later.panel.masked, spec.rule)
        found = second_rows(later, shifts)
    except InputError as error:
        reasons = dict.fromkeys(spec.sectors, str(error))
        rows = every_sector(data, KIND, (), reasons, tested=True)
        return Prospective(rows, None, _dropped({**told, "all sectors": str(error)}))
    assert found is not None
    status = {(slot.event, slot.status) for slot in later.portfolios.slots.values()}
    for event in later.spec.with_role("primary"):
        unseen = UNCHECKED if (event.id, "not available") in status else ""
        if why := later.panel.why(event.id) or unseen:
            told[event.id] = why
    silent = {item.name: why_silent(later, item.name) or item.reason for item in found.dropped}
    judged = [
        replace(r, kind=KIND, remark="; ".join(filter(None, (r.remark, WHOLE)))) for r in found.rows
    ]
    rows = every_sector(data, KIND, judged, silent, tested=True)
    return Prospective(rows, found.law if judged else None, _dropped({**told, **silent}))


def _sample(data: Sample) -> Sample:
    """Start the study of the later events; refuse averages that were not made for them."""
    spec = prospective_spec(data.spec)
    if data.market.level == "portfolio":
        ids = ", ".join(event.id for event in spec.with_role("primary"))
        raise InputError(f"{ids}: {NO_FIRMS} (--market file:PATH)")
    later = sample(spec, data.market)
    days = [leg.day0 + leg.window[1] for leg in calendar_of(later)]
    ends = later.controls.iloc[max(days, default=0)].isna()
    if short := [name for name in second_of(later).controls if days and ends.get(name)]:
        raise InputError(f"control '{short[0]}' ends before it: build the bundle anew")
    return later


def _dropped(told: dict[str, str]) -> tuple[Dropped, ...]:
    return tuple(Dropped(KIND, name, reason) for name, reason in told.items())

"""The second rule: which windows it sums, and what it compares them with."""

from __future__ import annotations

from collections.abc import Sequence

from usjp_research.engine.design import Design, controlled_design
from usjp_research.engine.placebo import Leg
from usjp_research.market.record import BENCHMARK
from usjp_research.spec.records import Event, Second
from usjp_research.study.capped import capped_name
from usjp_research.study.events import in_session
from usjp_research.study.legs import event_legs, share_days
from usjp_research.study.sample import Sample
from usjp_research.words import InputError

NO_TIME = "its time of day is not known, and rule 2 needs one"


def second_of(data: Sample) -> Second:
    """Return the study's second rule, or raise `InputError`."""
    if data.spec.rule.second is None:
        raise InputError("study.yaml: there is no 'second': this study has one rule")
    return data.spec.rule.second


def full_session(event: Event) -> tuple[int, int]:
    """Return the window from the last close before news to the close of the first full session."""
    return (0, 1) if in_session(event.instant) else (0, 0)


def second_legs(data: Sample) -> tuple[dict[str, tuple[Leg, ...]], dict[str, str]]:
    """List the signed windows of every sector, and why a sector has no sum.

    A primary event that is signed for a sector and cannot be computed stops the sector's sum:
    without it the sum would be another one.
    """
    second_of(data)
    found: dict[str, tuple[Leg, ...]] = {}
    silent: dict[str, str] = {}
    for sector in data.spec.sectors:
        if reason := _stopped(data, sector):
            silent[sector] = reason
            continue
        legs = tuple(
            Leg(event.id, _series(data, event, sector), int(day0), full_session(event), sign)
            for event, day0, sign in _signed(data, sector)
        )
        found[sector] = share_days(legs)[0]
    return found, silent


def _signed(data: Sample, sector: str) -> list[tuple[Event, int, int]]:
    places = data.panel.index("primary")
    events = ((data.panel.events[k], int(data.panel.day0[k])) for k in places)
    return [(e, day0, e.signs[sector]) for e, day0 in events if e.signs.get(sector)]


def _series(data: Sample, event: Event, sector: str) -> str:
    return capped_name(data.portfolios.slots[event.id, sector].session, sector)


def _stopped(data: Sample, sector: str) -> str:
    signed = _signed(data, sector)
    for event, *_ in signed:
        if event.precision == "day":
            return f"{event.id}: {NO_TIME}"
        if _series(data, event, sector) not in data.portfolios.returns:
            slot = data.portfolios.slots[event.id, sector]
            return f"{event.id}: {slot.reason or 'too few of its firms have a market value'}"
    return "" if signed else "no primary event has an expected sign (+ or -) for it"


def calendar_of(data: Sample) -> tuple[Leg, ...]:
    """List the first rule's windows of all sectors: they decide shifts and masks of both rules."""
    return tuple(leg for sector in data.spec.sectors for leg in event_legs(data, sector))


def yardstick(data: Sample, sector: str) -> str:
    """Name the series that a sector is compared with first: the index, or outside firms."""
    return second_of(data).yardstick.get(sector, BENCHMARK)


def design_of(
    data: Sample, yard: str, controls: Sequence[str], *, penalty: float = 0.0, days: int | None = None
) -> Design:
    """Set up yardstick and controls, on the first ``days`` of the market where given."""
    first = data.portfolios.benchmark if yard == BENCHMARK else data.controls[yard].to_numpy()
    table = data.controls[list(controls)].to_numpy("float64")
    return controlled_design(first[:days], table[:days], penalty)

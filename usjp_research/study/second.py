"""The second rule: which windows it sums, and what it compares them with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from usjp_research.engine.design import Design, Floats, Ints, controlled_design
from usjp_research.engine.evidence import evidence_ratio
from usjp_research.engine.placebo import Leg, Placebo, join_laws, no_law
from usjp_research.market.record import BENCHMARK, Dropped
from usjp_research.spec.records import Event
from usjp_research.spec.records import Second as Rule
from usjp_research.study.capped import capped_name
from usjp_research.study.events import in_session
from usjp_research.study.legs import event_legs, share_days
from usjp_research.study.sample import Sample
from usjp_research.study.verdict import VERDICTS, Verdict, ceiling, decide, family_rows, worth
from usjp_research.words import InputError

BELOW = "the implied value is below the smallest visible move; this rests on a negative reaction"
NO_TIME = "its time of day is not known, and rule 2 needs one"
FEW_VALUED = "too few of its firms have a market value"


def second_of(data: Sample) -> Rule:
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
    made = {sector: _legs(data, sector) for sector in data.spec.sectors}
    found = {sector: legs for sector, (legs, _) in made.items() if legs}
    return found, {sector: why for sector, (legs, why) in made.items() if not legs}


def signed_events(data: Sample, sector: str) -> list[tuple[Event, int, int]]:
    """List the primary events with an expected sign for a sector: event, day 0, sign."""
    places = data.panel.index("primary")
    events = ((data.panel.events[k], int(data.panel.day0[k])) for k in places)
    return [(e, day0, e.signs[sector]) for e, day0 in events if e.signs.get(sector)]


def unplaced(data: Sample, sector: str) -> Iterator[tuple[Event, str]]:
    """List its primary events without a time of day or a place among the market's days, and why."""
    for event in data.spec.with_role("primary"):
        why = NO_TIME if event.precision == "day" else data.panel.why(event.id)
        if event.signs.get(sector) and why:
            yield event, why


def _legs(data: Sample, sector: str) -> tuple[tuple[Leg, ...], str]:
    """Return a sector's windows, or why it has none."""
    for event, why in unplaced(data, sector):
        return (), f"{event.id}: {why}"
    legs = []
    for event, day0, sign in signed_events(data, sector):
        slot = data.portfolios.slots[event.id, sector]
        series = capped_name(slot.session, sector)
        if series not in data.portfolios.returns:
            reason = FEW_VALUED
            if data.firms is None:
                reason = f"the bundled market has no capped portfolio of it on {slot.session}"
            return (), f"{event.id}: {slot.reason or reason}"
        legs.append(Leg(event.id, series, day0, full_session(event), sign))
    if not legs:
        return (), "no primary event has an expected sign (+ or -) for it"
    kept, lost = share_days(legs)
    return kept, "; ".join(f"{event}: {reason}" for event, reason in lost.items())


def calendar_of(data: Sample, roles: Sequence[str] = ("primary",)) -> tuple[Leg, ...]:
    """List the first rule's windows of all sectors: they decide shifts and masks of both rules."""
    return tuple(leg for sector in data.spec.sectors for leg in event_legs(data, sector, roles))


def yardstick(data: Sample, sector: str) -> str:
    """Name the series that a sector is compared with first: the index, or outside firms."""
    return second_of(data).yardstick.get(sector, BENCHMARK)


def kept_share(data: Sample, sector: str, loading: Floats) -> Floats:
    """Return what of a uniform shock of a sector its yardstick leaves, from loadings on that."""
    own = yardstick(data, sector) == BENCHMARK
    share = second_of(data).benchmark_share.get(sector, 0.0) if own else 0.0
    return 1 - share * loading


def design_of(
    data: Sample,
    yard: str,
    controls: Sequence[str],
    *,
    penalty: float = 0.0,
    days: int | None = None,
) -> Design:
    """Set up yardstick and controls, on the first ``days`` of the market where given.

    Raises `InputError` where the market has no such average.
    """
    if absent := [n for n in (yard, *controls) if n != BENCHMARK and n not in data.controls]:
        why = "the returns are simulated" if data.market.simulated else "it is not in the bundle"
        raise InputError(f"no control '{absent[0]}': {why}")
    first = data.portfolios.benchmark if yard == BENCHMARK else data.controls[yard].to_numpy()
    table = data.controls[list(controls)].to_numpy("float64")
    return controlled_design(first[:days], table[:days], penalty)


class Second(NamedTuple):
    """What the second rule finds: a row per sector, its joint law, and what it could not do."""

    rows: tuple[Verdict, ...]
    law: Placebo
    retained: Mapping[str, float]
    dropped: tuple[Dropped, ...]


def second_rows(data: Sample, shifts: Ints) -> Second | None:
    """Judge every sector by the second rule on the first rule's shifts; None without such a rule.

    A sector that it cannot judge has no row here, and its reason in ``dropped``.
    """
    if data.spec.rule.second is None:
        return None
    legs, silent = second_legs(data)
    laws, retained, calendar = [], {}, calendar_of(data)
    for sector, own in legs.items():
        try:
            design = design_of(data, yardstick(data, sector), second_of(data).controls)
            laws.append(data.law({sector: own}, design=design, calendar=calendar, shifts=shifts))
            real = data.sums([own], np.zeros(1, int), design=design, calendar=calendar)
            retained[sector] = float(kept_share(data, sector, real[2])[0, 0])
        except InputError as error:
            silent[sector] = str(error)
    dropped = tuple(Dropped("rule 2", sector, reason) for sector, reason in silent.items())
    if not laws:
        return Second((), no_law("", "no sector"), {}, dropped)
    law = join_laws(laws)
    implied = {sector: worth(data, sector, tested=True) for sector in law.groups}
    rows = family_rows(data, legs, law, "sector", implied)
    return Second(tuple(_with_remark(row) for row in rows), law, retained, dropped)


def _with_remark(row: Verdict) -> Verdict:
    small = (abs(row.implied.share.get(case, 0.0)) < row.mde for case in row.by_case)
    said = zip(row.by_case.values(), small, strict=True)
    return replace(row, remark=BELOW) if ("not priced in", True) in said else row


SAYS = (
    *("sector", "events", "sign", "valued", "effective", "retained"),
    *("effect", "low", "high", "mde", "ceiling", "excludes_gain", "excludes_material"),
    *("too_small_by", "evidence", "evidence_reason", "day_before", "day_0", "day_after"),
    *("first_effect", "first_headline", "agrees"),
)
ASSURANCE = ("sector", "truth", "size", *VERDICTS)
DAYS = {-1: "day_before", 0: "day_0", 1: "day_after"}


def says(data: Sample, found: Second, first: Sequence[Verdict], days: pd.DataFrame) -> pd.DataFrame:
    """Lay out what each row says, in the order in which a reader needs it: columns `SAYS`.

    First the ``ceiling``, every dollar as profit of the sector's firms; then what the interval
    leaves room for, ``low`` to ``high``, and whether it excludes a material move either way;
    ``too_small_by``, the MDE over the high implied value; the evidence ratio of the base implied
    value against none. Beside them how the portfolio is weighted, what of a uniform shock the
    comparison keeps, and the first rule's number with its ``days``, as `by_day` gives them.
    """
    material, weighing, rows = second_of(data).material, data.portfolios.weighing, []
    before, legs = {row.name: row for row in first}, second_legs(data)[0]
    split = days.groupby(["sector", "offset"])["effect"].sum()
    for row in found.rows:
        sizes = [weighing[leg.series] for leg in legs[row.name] if leg.series in weighing]
        share, other = row.implied.share, before[row.name]
        ratio, reason = np.nan, "no implied value"
        if share:
            null = found.law.null_statistic[:, found.law.groups.index(row.name)]
            ratio, reason = evidence_ratio(row.statistic, null, share["base"] / row.error)
        high = abs(share.get("high", 0.0))
        rows.append(
            {
                "sector": row.name,
                "events": " ".join(row.events),
                "sign": row.sign,
                "valued": min((size.valued for size in sizes), default=0),
                "effective": min((size.effective for size in sizes), default=np.nan),
                "retained": found.retained[row.name],
                **{key: getattr(row, key) for key in ("effect", "low", "high", "mde")},
                "ceiling": ceiling(data.spec.thesis, row.implied),
                "excludes_gain": int(row.high < material),
                "excludes_material": int(-material < row.low and row.high < material),
                "too_small_by": row.mde / high if high else np.nan,
                "evidence": ratio,
                "evidence_reason": reason,
                **{name: split.get((row.name, day), 0.0) for day, name in DAYS.items()},
                "first_effect": other.effect,
                "first_headline": other.headline,
                "agrees": int(other.headline == row.headline),
            }
        )
    return pd.DataFrame(rows, columns=[*SAYS])


def assurance(found: Second) -> pd.DataFrame:
    """Say how likely each verdict was before any event was read, if the truth is nothing or G.

    One row per sector and truth: the share of placebo calendars that, moved by the truth, would
    have led to each of the eight verdicts, by the same interval and the base implied value.
    """
    rows = []
    for row in found.rows:
        if (base := row.implied.share.get("base")) is None:
            continue
        null = found.law.null_statistic[:, found.law.groups.index(row.name)] - row.center
        for truth, size in (("nothing", 0.0), ("implied value", base)):
            middle, half = null * row.error + size, row.critical * row.error
            said = Counter(decide(x - half, x + half, base) for x in middle)
            chances = {verdict: said[verdict] / len(null) for verdict in VERDICTS}
            rows.append({"sector": row.name, "truth": truth, "size": size, **chances})
    return pd.DataFrame(rows, columns=[*ASSURANCE])

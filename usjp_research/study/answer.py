"""The whole chain in one call: from parameters and returns to verdicts, and results on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from usjp_research.engine.design import Ints
from usjp_research.engine.placebo import Leg, Placebo, join_laws, no_law
from usjp_research.market.record import Dropped
from usjp_research.study.checks import (
    before_and_after,
    by_day,
    one_day,
    other_versions,
    positive_control,
)
from usjp_research.study.contrast import NamedVersion, contrast_row, contrast_versions
from usjp_research.study.first_trade import first_trade
from usjp_research.study.left_out import by_weight, not_in_portfolios, not_measured, stray_news
from usjp_research.study.legs import campaign_legs, event_legs, shared_days, why_silent
from usjp_research.study.prospective import Prospective, prospective
from usjp_research.study.reactions import EventPaths, event_reactions, since_note
from usjp_research.study.sample import Sample
from usjp_research.study.second import Second, assurance, says, second_rows
from usjp_research.study.verdict import (
    CASES,
    DEPENDS,
    NO_VERDICT,
    UNTESTED,
    Verdict,
    every_sector,
    family_rows,
    judge,
    with_assumptions,
    worth,
)
from usjp_research.words import InputError, card, label

LEAKS = ("primary", "leak")


@dataclass(frozen=True, slots=True)
class Study:
    """The answer and everything it rests on.

    ``family`` is the first rule's law, whose shifts every part of the study uses, and ``first`` its
    rows, one per sector in the order of the universe: one that cannot be judged keeps its row,
    with the reason in place of numbers. ``verdicts`` are the headline's rows: the ``second``
    rule's, or the first's where that judges no sector. ``contrast`` is named minus unnamed
    beneficiaries; ``leaks`` and ``campaign`` are the first rule's rows with leak windows added, and
    over the whole stretch of events. The tables are as the functions of their names give them, and
    empty without what they need. ``dropped`` is all that was left out, the heaviest first.
    """

    data: Sample
    family: Placebo
    first: tuple[Verdict, ...]
    second: Second | None
    verdicts: tuple[Verdict, ...]
    contrast: Verdict | None
    contrast_versions: tuple[NamedVersion, ...]
    leaks: tuple[Verdict, ...]
    campaign: tuple[Verdict, ...]
    reactions: pd.DataFrame
    timing: pd.DataFrame
    variants: pd.DataFrame
    says: pd.DataFrame
    assurance: pd.DataFrame
    first_trade: pd.DataFrame
    control: pd.DataFrame
    since: pd.DataFrame
    since_paths: tuple[EventPaths, ...]
    prospective: Prospective
    dropped: tuple[Dropped, ...]

    @property
    def law(self) -> Placebo:
        """The placebo law that the intervals of ``verdicts`` come from."""
        return self.second.law if self.second and self.second.rows else self.family

    @property
    def rows(self) -> tuple[Verdict, ...]:
        """The rows of the scoreboard: every sector, then the contrast where there is one."""
        return (*self.verdicts, *([self.contrast] if self.contrast else []))

    def _repr_html_(self) -> str:
        return card("Study", "", *(f"{label(row.name)}: {row.headline}" for row in self.rows))


def family_legs(data: Sample) -> dict[str, tuple[Leg, ...]]:
    """List the primary windows of every sector that has any, of one sector at least."""
    found = {sector: event_legs(data, sector) for sector in data.spec.sectors}
    legs = {sector: own for sector, own in found.items() if own}
    if not legs:
        raise InputError(_untestable(data))
    return legs


def _untestable(data: Sample) -> str:
    """Say why no primary event can be tested on any sector."""
    if not data.spec.with_role("primary"):
        return "events.csv: no event has the role 'primary'; give at least one"
    if not data.panel.index("primary"):
        first, remedy = data.panel.dropped[0], "give returns that cover the events"
        why = f"{first.name}: {first.reason}"
        return f"events.csv: no primary event can be tested ({why}); {remedy}"
    for item in shared_days(data):
        return f"events.csv: no primary event is left, {item.name}: {item.reason}"
    for slot in data.portfolios.slots.values():
        if not slot.series:
            why = f"{slot.event}, {slot.sector}: {slot.reason}"
            remedy = "give returns of more firms, or a longer history"
            return f"no sector portfolio can be formed for any primary event ({why}); {remedy}"
    what = "no primary event has an expected sign (+ or -) for any sector"
    return f"events.csv: {what}; fill in a sector's column"


def sector_law(data: Sample, sector: str) -> Placebo:
    """Compute one sector's law on the family's placebo calendars, for `join_laws` to join.

    A sector that has nothing to test gets a law without numbers, which says why.
    """
    data.spec.members(sector)
    legs = family_legs(data)
    if sector not in legs:
        return no_law(sector, why_silent(data, sector))
    every = [leg for found in legs.values() for leg in found]
    return data.law({sector: legs[sector]}, calendar=every)


def run_study(
    data: Sample,
    say: Callable[[str], None] = lambda _: None,
    *,
    laws: Sequence[Placebo] | None = None,
) -> Study:
    """Ask of every sector whether its events are priced in.

    ``say`` is called with a short line before each stage; ``laws`` of sectors that were computed
    before, such as by the notebooks, are joined on their shifts. Raises `InputError` when no
    primary event can be tested, or there are too few placebo calendars.

    Examples
    --------
    >>> study = run_study(sample(read_spec()))                      # doctest: +SKIP
    >>> [row.headline for row in study.verdicts]                    # doctest: +SKIP
    """
    say("running the same study on every admissible placebo calendar")
    legs = family_legs(data)
    silent = {s: why_silent(data, s) for s in data.spec.sectors if s not in legs}
    family = join_laws(laws) if laws else data.law(legs)
    if set(family.groups) != set(legs) or len(family) < data.spec.rule.least_shifts:
        other = "the saved placebo laws are not those of this family; run all sectors again"
        raise InputError(other)
    first = every_sector(data, "sector", family_rows(data, legs, family, "sector"), silent)
    say("named against unnamed, leak windows, the whole campaign")
    contrast, no_contrast = contrast_row(data)
    versions, no_versions = contrast_versions(data)
    leaks, no_leaks = _leak_rows(data, legs, silent)
    windows = {sector: found for sector, found in campaign_legs(data).items() if sector in legs}
    campaign, no_campaign = _more_rows(data, "campaign", windows, silent)
    say("every event's reaction")
    variants, no_variants = other_versions(data, legs, family)
    timing, no_timing = before_and_after(data)
    reactions = event_reactions(data)
    days = by_day(data, legs)
    first = tuple(_told(data, row, days, leaks) for row in first)
    if leaks:
        split = by_day(data, {sector: event_legs(data, sector, LEAKS) for sector in legs})
        leaks = tuple(_told(data, row, split) for row in leaks)
    say("the second rule, the first trade, the months since")
    sharper, not_sharper = _by_second_rule(data, family.shifts, first, contrast, days)
    rows = (*sharper["verdicts"], *([contrast] if contrast else []))
    dropped = (
        *not_sharper,
        *(*shared_days(data), *stray_news(data), *no_contrast, *no_versions, *no_leaks),
        *(*no_campaign, *no_variants, *no_timing, *not_measured(data, reactions)),
        *(Dropped("implied value", r.name, text) for r in rows for text in r.implied.left_out),
        *not_in_portfolios(data),
        *(Dropped("sector", sector, reason) for sector, reason in silent.items()),
    )
    return Study(
        data=data,
        family=family,
        first=first,
        contrast=contrast,
        contrast_versions=versions,
        leaks=leaks,
        campaign=campaign,
        reactions=reactions,
        timing=timing,
        variants=variants,
        prospective=prospective(data),
        dropped=by_weight(data, dropped),
        **sharper,
    )


def _by_second_rule(
    data: Sample,
    shifts: Ints,
    first: Sequence[Verdict],
    contrast: Verdict | None,
    days: pd.DataFrame,
) -> tuple[dict[str, Any], tuple[Dropped, ...]]:
    """Return the fields of a `Study` that need a second rule, and what it could not do."""
    second, none = second_rows(data, shifts), pd.DataFrame()
    if second is None:
        empty = dict.fromkeys(("says", "assurance", "first_trade", "control", "since"), none)
        return {"second": None, "verdicts": first, "since_paths": (), **empty}, ()
    trades, no_trades = first_trade(data, shifts)
    if contrast and len(trades):
        rests = trades["sector"].map({contrast.name: contrast.rests_on}).fillna("")
        trades = trades.assign(rests_on=rests)
    since, paths, no_since = since_note(data)
    tables = {"says": says(data, second, first, days), "assurance": assurance(second)}
    tables |= {"first_trade": trades, "control": positive_control(data), "since": since}
    found = {"second": second, "verdicts": _headline(data, second, first), "since_paths": paths}
    return {**found, **tables}, (*second.dropped, *no_trades, *no_since)


def what_if(study: Study, changes: Mapping[str, float]) -> tuple[Verdict, ...]:
    """Judge the same intervals under other assumptions, as `with_assumptions` takes them.

    What moved in the market does not depend on any assumption; what should have moved does.

    Examples
    --------
    >>> [row.headline for row in what_if(study, {"margin": 0.3})]   # doctest: +SKIP
    """
    if not changes:
        return study.rows
    data = replace(study.data, spec=with_assumptions(study.data.spec, changes))
    rows = []
    for row in study.rows:
        sector, _, contrast = row.name.partition(":")
        place = data.panel.position(row.events[0]) if contrast else None
        named_on = None if place is None else data.panel.new_york[place]
        tested = study.second is not None and bool(study.second.rows) and not contrast
        row = replace(row, implied=worth(data, sector, named_on, tested=tested))
        rows.append(row if row.headline == NO_VERDICT else judge(data.spec, row))
    return tuple(rows)


def _leak_rows(
    data: Sample, primary: Mapping[str, Sequence[Leg]], silent: Mapping[str, str]
) -> tuple[tuple[Verdict, ...], list[Dropped]]:
    if not data.panel.index("leak"):
        return (), []
    known, kind = shared_days(data), "leak-inclusive"
    lost = [replace(x, what=f"{kind} rows") for x in shared_days(data, LEAKS) if x not in known]
    legs = {sector: event_legs(data, sector, LEAKS) for sector in primary}
    reason = "its leaks and its primary events have opposite signs on shared days"
    silent = {**silent, **{sector: reason for sector, found in legs.items() if not found}}
    left = {sector: found for sector, found in legs.items() if found}
    rows, more = _more_rows(data, kind, left, silent)
    return rows, [*lost, *more]


def _more_rows(
    data: Sample, kind: str, legs: Mapping[str, Sequence[Leg]], silent: Mapping[str, str]
) -> tuple[tuple[Verdict, ...], list[Dropped]]:
    """Judge the sectors as a family over other windows than the rule's."""
    if not legs:
        return (), []
    try:
        law = data.law(legs)
    except InputError as error:
        return (), [Dropped(f"{kind} rows", "all sectors", str(error))]
    rows = family_rows(data, legs, law, kind)
    if kind == "campaign":
        # Windows this long overlap almost wholly: their spread is shown, a p-value would pretend.
        reason = f"placebo windows this long are worth about {law.independent:.0f} independent"
        told: dict[str, Any] = {**UNTESTED, "headline": NO_VERDICT, "reason": reason}
        rows = tuple(replace(row, **told) for row in rows)
    return every_sector(data, kind, rows, silent), []


def _headline(data: Sample, second: Second, first: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Return the second rule's rows, or the first's where the second judges no sector.

    Where the rules differ the row says that it depends on the rule.
    """
    if not second.rows:
        return tuple(first)
    reasons = {item.name: item.reason for item in second.dropped}
    found = []
    rows = every_sector(data, "sector", second.rows, reasons, tested=True)
    for row, other in zip(rows, first, strict=True):
        differs = row.by_case != other.by_case
        depends = f"depends on the rule: rule 1 says {_said(other)}" if differs else ""
        leaks = f"rule 1: {other.remark}" if other.remark else ""
        remark = "; ".join(filter(None, (row.remark, depends, leaks)))
        found.append(replace(row, remark=remark))
    return tuple(found)


def _told(data: Sample, row: Verdict, days: pd.DataFrame, leaks: Sequence[Verdict] = ()) -> Verdict:
    """Mark a row that is another one with leak windows, or that a single day makes."""
    said = [
        f"with leak windows: {_said(leak)}"
        for leak in leaks
        if leak.name == row.name and (leak.headline, leak.by_case) != (row.headline, row.by_case)
    ]
    remarks = filter(None, (row.remark, *said, one_day(data, row, days)))
    return replace(row, remark="; ".join(remarks))


def _said(row: Verdict) -> str:
    if row.headline == DEPENDS:
        return f"{row.headline} ({', '.join(f'{case} {row.by_case[case]}' for case in CASES)})"
    return f"{row.headline}, {row.reason}" if row.headline == NO_VERDICT else row.headline

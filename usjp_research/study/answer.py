"""The whole chain in one call: from parameters and returns to verdicts, and results on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from usjp_research.engine.placebo import Leg, Placebo, join_laws, no_law
from usjp_research.market.record import Dropped
from usjp_research.study.checks import before_and_after, other_versions
from usjp_research.study.contrast import NamedVersion, contrast_row, contrast_versions
from usjp_research.study.legs import campaign_legs, event_legs, shared_days, why_silent
from usjp_research.study.news import stray_news
from usjp_research.study.reactions import event_reactions
from usjp_research.study.rows import family_rows, rejudged, silent_row, untested
from usjp_research.study.sample import Sample
from usjp_research.study.verdict import (
    CASES,
    DEPENDS,
    NO_VERDICT,
    Verdict,
    with_assumptions,
    worded,
)
from usjp_research.study.weight import by_weight
from usjp_research.words import InputError, card, label

LEAKS = ("primary", "leak")


@dataclass(frozen=True, slots=True)
class Study:
    """The answer and everything it rests on.

    Attributes
    ----------
    data : Sample
        What it starts from.
    verdicts : tuple of Verdict
        One per sector, in the order of the universe; a sector that cannot be judged keeps its
        row, with the reason in place of numbers.
    contrast : Verdict or None
        Named minus unnamed beneficiaries.
    contrast_versions : tuple of NamedVersion
        Other versions of it; empty at portfolio level.
    leaks, campaign : tuple of Verdict
        The same rows with leak windows added, and over the whole stretch of events.
    family : Placebo
        The placebo law that the intervals of ``verdicts`` come from.
    reactions : DataFrame
        One row per event and sector: abnormal return, standard errors, t test, members.
    timing : DataFrame
        Run-up, drift, leaks, reverse events and more: see `before_and_after`.
    variants : DataFrame
        Other versions of each sector's statistic, beside the one that decides.
    dropped : tuple of Dropped
        Everything that was left out, the heaviest first; `missing_lines` says it in short.
    """

    data: Sample
    family: Placebo
    contrast_null: Placebo | None
    verdicts: tuple[Verdict, ...]
    contrast: Verdict | None
    contrast_versions: tuple[NamedVersion, ...]
    leaks: tuple[Verdict, ...]
    campaign: tuple[Verdict, ...]
    reactions: pd.DataFrame
    timing: pd.DataFrame
    variants: pd.DataFrame
    dropped: tuple[Dropped, ...]

    @property
    def rows(self) -> tuple[Verdict, ...]:
        """The rows of the scoreboard: every sector, then the contrast where there is one."""
        return (*self.verdicts, *([self.contrast] if self.contrast else []))

    def _repr_html_(self) -> str:
        return card("Study", "", *(f"{label(row.name)}: {row.headline}" for row in self.rows))


def family_legs(data: Sample) -> dict[str, tuple[Leg, ...]]:
    """List the primary windows of every sector that has any.

    Parameters
    ----------
    data : Sample

    Returns
    -------
    dict of str to tuple of Leg
        By sector.

    Raises
    ------
    InputError
        When no primary event can be tested on any sector.
    """
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
        first = data.panel.dropped[0]
        return (
            f"events.csv: no primary event can be tested ({first.name}: {first.reason}); give "
            "returns that cover the events"
        )
    for item in shared_days(data):
        return f"events.csv: no primary event is left, {item.name}: {item.reason}"
    for slot in data.portfolios.slots.values():
        if not slot.series:
            return (
                f"no sector portfolio can be formed for any primary event ({slot.event}, "
                f"{slot.sector}: {slot.reason}); give returns of more firms, or a longer history"
            )
    return (
        "events.csv: no primary event has an expected sign (+ or -) for any sector; fill in "
        "a sector's column"
    )


def family_law(data: Sample) -> Placebo:
    """Compute the law of all sectors at once, which is where a study that cannot be made ends."""
    return data.law(family_legs(data))


def sector_law(data: Sample, sector: str) -> Placebo:
    """Compute one sector's statistic at the real dates and on the family's placebo calendars.

    Parameters
    ----------
    data : Sample
    sector : str

    Returns
    -------
    Placebo
        With one group; `join_laws` makes the family of several. A sector that has nothing to
        test gets a law without numbers, which says why.

    Raises
    ------
    InputError
        When the sector is unknown or no sector can be tested.
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

    Parameters
    ----------
    data : Sample
        As `sample` makes it.
    say : callable, optional
        Called with a short line before each stage.
    laws : sequence of Placebo, optional
        Sectors that were computed before, such as by the notebooks; joined on their shifts.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        When no primary event can be tested, or there are too few placebo calendars.

    Examples
    --------
    >>> study = run_study(sample(read_spec()))                      # doctest: +SKIP
    >>> [row.headline for row in study.verdicts]                    # doctest: +SKIP
    """
    say("running the same study on every admissible placebo calendar")
    legs = family_legs(data)
    silent = {s: why_silent(data, s) for s in data.spec.sectors if s not in legs}
    family = _family(data, legs, laws)
    judged = family_rows(data, legs, family, "sector")
    say("named against unnamed, leak windows, the whole campaign")
    contrasts, no_contrast = _contrasts(data)
    leaks, no_leaks = _leak_rows(data, legs, silent)
    campaign, no_campaign = _campaign_rows(data, legs, silent)
    say("every event's reaction")
    tables, no_tables = _tables(data, legs, family)
    verdicts = tuple(_leak_remark(row, leaks) for row in _every_sector(data, judged, silent))
    rows = (*verdicts, contrasts["contrast"])
    dropped = (
        *shared_days(data),
        *stray_news(data),
        *no_contrast,
        *no_leaks,
        *no_campaign,
        *no_tables,
        *(Dropped("implied value", r.name, text) for r in rows if r for text in r.implied.left_out),
        *_left_out(data),
        *(Dropped("sector", sector, reason) for sector, reason in silent.items()),
        *_slots_without(data),
    )
    return Study(
        data=data,
        family=family,
        verdicts=verdicts,
        leaks=leaks,
        campaign=campaign,
        dropped=by_weight(data, dropped),
        **contrasts,
        **tables,
    )


def what_if(study: Study, changes: Mapping[str, float]) -> tuple[Verdict, ...]:
    """Judge the same intervals under other assumptions of the thesis.

    Parameters
    ----------
    study : Study
    changes : mapping of str to float
        As `with_assumptions` takes them; nothing changes when it is empty.

    Returns
    -------
    tuple of Verdict
        The rows of the scoreboard. What moved in the market does not depend on any of these
        assumptions; what should have moved does.

    Examples
    --------
    >>> [row.headline for row in what_if(study, {"margin": 0.3})]   # doctest: +SKIP
    """
    if not changes:
        return study.rows
    data = replace(study.data, spec=with_assumptions(study.data.spec, changes))
    return tuple(rejudged(data, row) for row in study.rows)


# --- parts: each with what could not be computed ---------------------------------------------


def _family(
    data: Sample, legs: Mapping[str, Sequence[Leg]], laws: Sequence[Placebo] | None
) -> Placebo:
    """Compute the joint law of all sectors, or join it from laws that were computed before."""
    family = join_laws(laws) if laws else data.law(legs)
    if set(family.groups) != set(legs) or len(family) < data.spec.rule.least_shifts:
        raise InputError(
            "the saved placebo laws are not those of this family; run all sectors again"
        )
    return family


def _contrasts(data: Sample) -> tuple[dict[str, Any], list[Dropped]]:
    row, law, lost = contrast_row(data)
    versions, gone = contrast_versions(data)
    found = {"contrast": row, "contrast_null": law, "contrast_versions": versions}
    return found, [*lost, *gone]


def _tables(
    data: Sample, legs: Mapping[str, Sequence[Leg]], family: Placebo
) -> tuple[dict[str, Any], list[Dropped]]:
    variants, no_variants = other_versions(data, legs, family)
    timing, no_timing = before_and_after(data)
    reactions = event_reactions(data)
    lost = [*no_variants, *no_timing, *_not_measured(data, reactions)]
    return {"variants": variants, "timing": timing, "reactions": reactions}, lost


def _not_measured(data: Sample, reactions: pd.DataFrame) -> Iterator[Dropped]:
    """List the events for which a portfolio, or the mirror, has no abnormal return."""
    unformed = {key for key, slot in data.portfolios.slots.items() if not slot.series}
    lacking: dict[str, list[str]] = {}
    for row in reactions[reactions["caar"].isna()].to_dict("records"):
        if (row["event"], row["sector"]) not in unformed:
            lacking.setdefault(row["event"], []).append(row["sector"])
    for event, sectors in lacking.items():
        reason = "no abnormal return, too few unmasked estimation days or a gap: "
        yield Dropped("event", event, reason + ", ".join(sectors))


def _leak_rows(
    data: Sample, primary: Mapping[str, Sequence[Leg]], silent: Mapping[str, str]
) -> tuple[tuple[Verdict, ...], list[Dropped]]:
    if not data.panel.index("leak"):
        return (), []
    what = "leak-inclusive rows"
    known = {(item.name, item.reason) for item in shared_days(data)}
    lost = [
        Dropped(what, item.name, item.reason)
        for item in shared_days(data, LEAKS)
        if (item.name, item.reason) not in known
    ]
    legs = {sector: event_legs(data, sector, LEAKS) for sector in primary}
    left = {sector: found for sector, found in legs.items() if found}
    try:
        law = data.law(left)
    except InputError as error:
        return (), [*lost, Dropped(what, "all sectors", str(error))]
    reason = "its leaks and its primary events have opposite signs on shared days"
    none_left = {sector: reason for sector in primary if sector not in left}
    rows = family_rows(data, left, law, "leak-inclusive")
    return _every_sector(data, rows, {**silent, **none_left}), lost


def _leak_remark(row: Verdict, leaks: Sequence[Verdict]) -> Verdict:
    """Say beside the headline what the verdict is with leak windows, where it is another one."""
    other = next((leak for leak in leaks if leak.name == row.name), None)
    if other is None or (other.headline, other.by_case) == (row.headline, row.by_case):
        return row
    words = other.headline
    if other.headline == DEPENDS:
        cases = (f"{case} {other.by_case[case]}" for case in CASES)
        words = f"{DEPENDS} ({', '.join(cases)})"
    elif other.headline == NO_VERDICT:
        words = f"{NO_VERDICT}, {other.reason}"
    return worded(row, remark=f"with leak windows: {words}")


def _campaign_rows(
    data: Sample, primary: Mapping[str, Sequence[Leg]], silent: Mapping[str, str]
) -> tuple[tuple[Verdict, ...], list[Dropped]]:
    legs = {sector: found for sector, found in campaign_legs(data).items() if sector in primary}
    if not legs:
        return (), []
    try:
        law = data.law(legs)
    except InputError as error:
        return (), [Dropped("campaign rows", "all sectors", str(error))]
    # Windows this long overlap almost wholly: their spread is shown, a p-value would pretend.
    reason = f"placebo windows this long are worth about {law.independent:.0f} independent"
    told = [untested(row, reason) for row in family_rows(data, legs, law, "campaign")]
    return _every_sector(data, told, silent), []


def _every_sector(
    data: Sample, rows: Sequence[Verdict], silent: Mapping[str, str]
) -> tuple[Verdict, ...]:
    """Put the sectors that cannot be judged back in their places."""
    if not rows:
        return ()
    own = {row.name: row for row in rows}
    own |= {s: silent_row(data, s, rows[0].kind, reason) for s, reason in silent.items()}
    return tuple(own[sector] for sector in data.spec.sectors if sector in own)


def _left_out(data: Sample) -> Iterator[Dropped]:
    """List what readers of returns, events, lists and the thesis left out."""
    yield from (*data.market.dropped, *data.panel.dropped, *data.portfolios.dropped)
    tickers = {firm.ticker for firm in data.spec.firms}
    for ticker in dict.fromkeys(news.ticker for news in data.spec.own_news):
        if ticker not in tickers:
            yield Dropped("own news", ticker, "not in universe.csv; its news is not used")
    if data.spec.thesis:
        for text in data.spec.thesis.left_out:
            yield Dropped("implied value", "thesis.yaml", text)


def _slots_without(data: Sample) -> Iterator[Dropped]:
    """List slots that were not formed, and the firms that are out of a slot or in it unchecked."""
    for slot in data.portfolios.slots.values():
        where = f"{slot.event}/{slot.sector}"
        if slot.reason:
            yield Dropped("slot", where, slot.reason)
        for what, why, firms in (
            ("slot", "own news", slot.blackout),
            ("slot", "too few returns", slot.short),
            ("blackout", "kept, own news not checked", slot.unchecked),
        ):
            if firms:
                yield Dropped(what, where, f"{why}: {', '.join(firms)}")

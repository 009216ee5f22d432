"""The whole chain in one call: from parameters and returns to verdicts, and results on disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from usjp_research.engine.placebo import Leg, Placebo, join_laws, no_law, placebo_law
from usjp_research.market.load import load_market
from usjp_research.market.record import Dropped, Market
from usjp_research.spec.records import Rule, Spec
from usjp_research.study.checks import before_and_after
from usjp_research.study.contrast import (
    NamedVersion,
    contrast_row,
    contrast_versions,
    rest_on_one,
)
from usjp_research.study.events import EventPanel, event_panel
from usjp_research.study.legs import event_legs, shared_days, why_silent
from usjp_research.study.missing import by_weight
from usjp_research.study.news import stray_news
from usjp_research.study.portfolios import Portfolios, form_portfolios
from usjp_research.study.reactions import campaign_legs, event_reactions
from usjp_research.study.rows import family_rows, judge, unjudged_row
from usjp_research.study.sample import Sample
from usjp_research.study.verdict import (
    CASES,
    DEPENDS,
    NO_VERDICT,
    Verdict,
    implied_value,
    with_assumptions,
)
from usjp_research.study.versions import other_versions
from usjp_research.words import InputError

LEAKS = ("primary", "leak")


@dataclass(frozen=True, slots=True)
class Study:
    """The answer and everything it rests on.

    Attributes
    ----------
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

    spec: Spec
    market: Market
    panel: EventPanel
    made: Portfolios
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
        from usjp_research.report.tables import verdict_table

        return verdict_table(self.rows)._repr_html_()


def family_legs(spec: Spec, panel: EventPanel, made: Portfolios) -> dict[str, tuple[Leg, ...]]:
    """List the primary windows of every sector that has any.

    Raises
    ------
    InputError
        When no primary event can be tested on any sector.
    """
    _testable(spec, panel)
    legs = {sector: event_legs(spec, panel, made, sector) for sector in spec.sectors}
    legs = {sector: found for sector, found in legs.items() if found}
    if not legs:
        for item in shared_days(spec, panel, made):
            raise InputError(f"events.csv: no primary event is left, {item.name}: {item.reason}")
        unformed = [slot for slot in made.slots.values() if not slot.series]
        if unformed:
            slot = unformed[0]
            raise InputError(
                f"no sector portfolio can be formed for any primary event ({slot.event}, "
                f"{slot.sector}: {slot.reason}); give returns of more firms, or a longer history"
            )
        raise InputError(
            "events.csv: no primary event has an expected sign (+ or -) for any sector; fill in "
            "a sector's column"
        )
    return legs


def family_law(data: Sample) -> Placebo:
    """Compute the law of all sectors at once, which is where a study that cannot be made ends.

    Raises
    ------
    InputError
        When no primary event can be tested, or there are too few placebo calendars.
    """
    return data.law(family_legs(data.spec, data.panel, data.portfolios))


def sector_law(spec: Spec, panel: EventPanel, made: Portfolios, sector: str) -> Placebo:
    """Compute one sector's statistic at the real dates and on the family's placebo calendars.

    Parameters
    ----------
    spec : Spec
    panel : EventPanel
    made : Portfolios
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
    spec.members(sector)
    legs = family_legs(spec, panel, made)
    if sector not in legs:
        return no_law(sector, why_silent(spec, panel, made, sector))
    every = [leg for found in legs.values() for leg in found]
    return _placebo({sector: legs[sector]}, made, panel, spec.rule, calendar=every)


def run_study(
    spec: Spec,
    market: Market | None = None,
    say: Callable[[str], None] = lambda _: None,
    *,
    laws: Sequence[Placebo] | None = None,
) -> Study:
    """Ask of every sector whether its events are priced in.

    Parameters
    ----------
    spec : Spec
    market : Market, optional
        The one that the spec names by default.
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
    >>> study = run_study(read_spec())                              # doctest: +SKIP
    >>> [row.headline for row in study.verdicts]                    # doctest: +SKIP
    """
    if market is None:
        market = load_market(spec)
    say("placing the events in each market's calendar")
    panel = event_panel(spec, market)
    say("forming sector portfolios without firms that had news of their own")
    made = form_portfolios(spec, market, panel)
    legs = family_legs(spec, panel, made)
    silent = {
        sector: why_silent(spec, panel, made, sector)
        for sector in spec.sectors
        if sector not in legs
    }
    say("running the same study on every admissible placebo calendar")
    family = join_laws(laws) if laws else _placebo(legs, made, panel, spec.rule)
    if set(family.groups) != set(legs) or len(family) < spec.rule.least_shifts:
        raise InputError(
            "the saved placebo laws are not those of this family; run all sectors again"
        )
    judged = family_rows(spec, made, legs, family, "sector")
    verdicts = _every_sector(spec, made, judged, silent)
    say("named against unnamed, leak windows, the whole campaign")
    missing = [*shared_days(spec, panel, made), *stray_news(spec, market, panel, made)]
    contrast, contrast_null = contrast_row(spec, panel, made, missing)
    if contrast:
        contrast = rest_on_one(spec, market, panel, made, contrast, missing)
    named_versions = contrast_versions(spec, market, panel, made, missing)
    leaks = _leak_rows(spec, panel, made, legs, missing)
    verdicts = tuple(_leak_remark(row, leaks) for row in verdicts)
    campaign = _campaign_rows(spec, panel, made, list(legs), missing)
    say("every event's reaction")
    variants = other_versions(spec, panel, made, legs, family, missing)
    reactions = event_reactions(spec, panel, made)
    timing = before_and_after(spec, panel, made, missing)
    for event, rows in reactions[reactions["caar"].isna()].groupby("event", sort=False):
        lacking = [
            sector
            for sector in rows["sector"]
            if (slot := made.slots.get((str(event), sector))) is None or slot.series
        ]
        if lacking:
            reason = "no abnormal return, too few unmasked estimation days or a gap: "
            missing.append(Dropped("event", str(event), reason + ", ".join(lacking)))
    return Study(
        spec=spec,
        market=market,
        panel=panel,
        made=made,
        family=family,
        contrast_null=contrast_null,
        verdicts=verdicts,
        contrast=contrast,
        contrast_versions=named_versions,
        leaks=_every_sector(spec, made, leaks, silent),
        campaign=_every_sector(spec, made, campaign, silent),
        reactions=reactions,
        timing=timing,
        variants=variants,
        dropped=by_weight(
            spec,
            made,
            (
                *missing,
                *(
                    Dropped("implied value", row.name, text)
                    for row in (*verdicts, *([contrast] if contrast else []))
                    for text in row.implied.left_out
                ),
                *_dropped(spec, market, panel, made, silent),
            ),
        ),
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
    spec, made = with_assumptions(study.spec, changes), study.made
    rows = []
    for row in study.rows:
        sector = row.name.partition(":")[0]
        key = f"sector/{sector}"
        if row.kind == "contrast":
            place = study.panel.position(row.events[0]) or 0
            key = f"named/{study.panel.new_york[place]}/{sector}"
        implied = implied_value(
            spec,
            made.members[key],
            made.values.get(key),
            sector=sector,
            own=row.kind == "contrast",
        )
        rows.append(judge(spec, row, implied))
    return tuple(rows)


def _testable(spec: Spec, panel: EventPanel) -> None:
    if panel.index("primary"):
        return
    if not spec.with_role("primary"):
        raise InputError("events.csv: no event has the role 'primary'; give at least one")
    first = panel.dropped[0]
    raise InputError(
        f"events.csv: no primary event can be tested ({first.name}: {first.reason}); give returns "
        "that cover the events"
    )


def _placebo(
    legs: Mapping[str, Sequence[Leg]], made: Portfolios, panel: EventPanel, rule: Rule, **more: Any
) -> Placebo:
    return placebo_law(legs, made.array, made.benchmark, panel.masked, rule, **more)


# --- rows ------------------------------------------------------------------------------------


def _every_sector(
    spec: Spec, made: Portfolios, rows: Sequence[Verdict], silent: Mapping[str, str]
) -> tuple[Verdict, ...]:
    """Put the sectors that cannot be judged back in their places."""
    if not rows:
        return ()
    own = {row.name: row for row in rows}
    return tuple(
        own[sector]
        if sector in own
        else unjudged_row(spec, made, sector, rows[0].kind, silent[sector])
        for sector in spec.sectors
        if sector in own or sector in silent
    )


def _leak_rows(
    spec: Spec,
    panel: EventPanel,
    made: Portfolios,
    primary: Mapping[str, Sequence[Leg]],
    missing: list[Dropped],
) -> tuple[Verdict, ...]:
    if not panel.index("leak"):
        return ()
    known = {(item.name, item.reason) for item in missing}
    missing += [
        Dropped("leak-inclusive rows", item.name, item.reason)
        for item in shared_days(spec, panel, made, LEAKS)
        if (item.name, item.reason) not in known
    ]
    legs = {sector: event_legs(spec, panel, made, sector, LEAKS) for sector in primary}
    left = {sector: found for sector, found in legs.items() if found}
    try:
        null = _placebo(left, made, panel, spec.rule)
    except InputError as error:
        missing.append(Dropped("leak-inclusive rows", "all sectors", str(error)))
        return ()
    reason = "its leaks and its primary events have opposite signs on shared days"
    none_left = {sector: reason for sector in primary if sector not in left}
    return _every_sector(
        spec, made, family_rows(spec, made, left, null, "leak-inclusive"), none_left
    )


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
    return replace(row, remark=f"with leak windows: {words}")


def _campaign_rows(
    spec: Spec,
    panel: EventPanel,
    made: Portfolios,
    sectors: Sequence[str],
    missing: list[Dropped],
) -> tuple[Verdict, ...]:
    legs = {s: found for s, found in campaign_legs(spec, panel).items() if s in sectors}
    if not legs:
        return ()
    try:
        null = _placebo(legs, made, panel, spec.rule)
    except InputError as error:
        missing.append(Dropped("campaign rows", "all sectors", str(error)))
        return ()
    # Windows this long overlap almost wholly: their spread is shown, a p-value would pretend.
    return tuple(
        replace(
            row,
            headline=NO_VERDICT,
            reason=f"placebo windows this long are worth about {null.independent:.0f} independent",
            p=math.nan,
            p_stepdown=math.nan,
            p_holm=math.nan,
            p_bh=math.nan,
            mde=math.nan,
        )
        for row in family_rows(spec, made, legs, null, "campaign")
    )


def _dropped(
    spec: Spec, market: Market, panel: EventPanel, made: Portfolios, silent: Mapping[str, str]
) -> tuple[Dropped, ...]:
    items = [*market.dropped, *panel.dropped, *made.dropped]
    items += [Dropped("sector", sector, reason) for sector, reason in silent.items()]
    tickers = {firm.ticker for firm in spec.firms}
    items += [
        Dropped("own news", ticker, "not in universe.csv; its news is not used")
        for ticker in dict.fromkeys(news.ticker for news in spec.own_news)
        if ticker not in tickers
    ]
    if spec.thesis:
        items += [Dropped("implied value", "thesis.yaml", text) for text in spec.thesis.left_out]
    for slot in made.slots.values():
        where = f"{slot.event}/{slot.sector}"
        if slot.reason:
            items.append(Dropped("slot", where, slot.reason))
        if slot.blackout:
            items.append(Dropped("slot", where, f"own news: {', '.join(slot.blackout)}"))
        if slot.short:
            items.append(Dropped("slot", where, f"too few returns: {', '.join(slot.short)}"))
        if slot.unchecked:
            items.append(
                Dropped(
                    "blackout", where, f"kept, own news not checked: {', '.join(slot.unchecked)}"
                )
            )
    return tuple(dict.fromkeys(items))

"""What is known of a study before any event is read: what it could see, and its odd prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from usjp_research.engine.placebo import admissible_shifts, enough, family_detectable
from usjp_research.market.record import Finding, Market
from usjp_research.spec.records import Spec
from usjp_research.study.answer import family_legs
from usjp_research.study.events import EventPanel, event_panel
from usjp_research.study.legs import why_silent
from usjp_research.study.portfolios import form_portfolios
from usjp_research.study.sample import Sample, sample
from usjp_research.study.second import design_of, second_legs, yardstick
from usjp_research.study.trust import QUIET, lies_in, stops
from usjp_research.study.verdict import worth


class Outlook(NamedTuple):
    """The smallest visible move of a sector and what its thesis is worth, as decimals."""

    sector: str
    mde: float
    implied: Mapping[str, float]
    reason: str = ""


def unread(spec: Spec, market: Market) -> Sample:
    """Return the sample of a market without its events: zero on every day of their windows.

    Nothing that is computed from it can hold a reaction; who has a return stays as it is.
    """
    quiet = event_panel(spec, market).masked
    returns = market.returns.copy()
    returns.loc[quiet] = returns.loc[quiet].where(returns.loc[quiet].isna(), 0.0)
    return sample(spec, replace(market, returns=returns))


def outlooks(data: Sample) -> tuple[Outlook, ...]:
    """Compute what every sector could show, on quiet calendars alone: no sum at the real dates.

    By the rule that gives the headline. The error is its mean over the quiet calendars, and the
    level that of the family, as in the study. Raises `InputError` when nothing can be tested.
    """
    rule, legs, tested = data.spec.rule, family_legs(data), False
    calendar = [leg for own in legs.values() for leg in own]
    silent = {s: why_silent(data, s) for s in data.spec.sectors if s not in legs}
    if rule.second:
        second, reasons = second_legs(data)
        legs, silent, tested = (second, reasons, True) if second else (legs, silent, False)
    shifts = admissible_shifts(calendar, data.panel.masked, rule)
    sums = []
    for sector, own in legs.items():
        controls = rule.second.controls if rule.second else ()
        design = design_of(data, yardstick(data, sector), controls) if tested else data.design
        sums.append(data.sums([own], shifts, design=design, calendar=calendar)[:2, :, 0])
    effect, error = np.stack(sums, axis=-1) ** np.array([1, 0.5])[:, None, None]
    whole = np.isfinite(effect + error).all(axis=1) & (error > 0).all(axis=1)
    enough(int(whole.sum()), rule, "quiet calendars with complete returns")
    away = effect[whole] / error[whole]
    _, sizes = family_detectable(away - away.mean(axis=0), rule.alpha, rule.power)
    mde = dict(zip(legs, sizes * error[whole].mean(axis=0), strict=True))
    return tuple(
        Outlook(s, mde.get(s, np.nan), worth(data, s, tested=tested).share, silent.get(s, ""))
        for s in data.spec.sectors
    )


def touched(
    spec: Spec,
    market: Market,
    findings: Iterable[Finding] | None = None,
    panel: EventPanel | None = None,
) -> tuple[tuple[Finding, str], ...]:
    """Say where a study would use what looks wrong in its market; nothing stops here.

    First what stops the study, then by place: event windows, estimation windows, placebo
    calendars, and series that the study does not use, whose place is empty.
    """
    panel = panel or event_panel(spec, market)
    slots = form_portfolios(spec, replace(market, findings=()), panel).slots.values()
    formed = [(slot.event, slot.members) for slot in slots if slot.series]
    found = market.findings if findings is None else findings

    def weight(row: tuple[Finding, str]) -> tuple[bool, int]:
        item, where = row
        rank = 3 if not where else 2 if where == QUIET else int("before" in where)
        return not stops(item, where), rank

    return tuple(sorted(lies_in(spec, market, panel, formed, found), key=weight))

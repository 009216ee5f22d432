"""What odd prices would do to a study: where it would use each, the heaviest first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from usjp_research.market.record import Finding, Market
from usjp_research.spec.records import Spec
from usjp_research.study.events import EventPanel, event_panel
from usjp_research.study.portfolios import form_portfolios
from usjp_research.study.trust import QUIET, lies_in, stops


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

"""Whether a study may rest on its market: findings that would enter its numbers stop it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from usjp_research.market.record import BENCHMARK, EVERY, Finding, Market
from usjp_research.spec.records import Spec
from usjp_research.study.events import EventPanel
from usjp_research.words import InputError

QUIET = "a day of the placebo calendars"


def refuse_findings(
    spec: Spec, market: Market, panel: EventPanel, slots: Iterable[tuple[str, tuple[str, ...]]]
) -> None:
    """Stop a study whose numbers would use what is hardly a return: an InputError names the first.

    A finding with a witness stops it wherever it lies: one wrong day in a window, an estimation
    or a placebo calendar is enough to hide an effect. A split's exact ratio without a witness may
    be chance over years of days, and stops only in an event window of the firm or in the
    estimation window before it. ``slots`` are event and members of every portfolio formed.
    """
    used = lies_in(spec, market, panel, slots, market.findings)
    if stopping := [(item, where) for item, where in used if stops(item, where)]:
        item, where = stopping[0]
        more = f" (and {len(stopping) - 1} more)" if len(stopping) > 1 else ""
        raise InputError(f"{market.name}: {item.line()}; it lies in {where}{more}")


def lies_in(
    spec: Spec,
    market: Market,
    panel: EventPanel,
    slots: Iterable[tuple[str, tuple[str, ...]]],
    findings: Iterable[Finding],
) -> Iterator[tuple[Finding, str]]:
    """Say where a study would use each finding: an event window first; empty where nowhere."""
    (low, high), estimation, days = panel.window, spec.rule.estimation, market.dates
    spans: dict[str, list[tuple[int, int, str]]] = {}  # first and last place, and what is there
    places = {event.id: int(day0) for event, day0 in zip(panel.events, panel.day0, strict=True)}
    for event, members in slots:
        start = places[event] + low
        first = start - estimation.ends_before - estimation.sessions + 1
        inside = (start, start + high - low, f"the window of {event}")
        before = (first, start - 1, f"the sessions before {event}")
        for ticker in (*members, BENCHMARK, *spec.rule.benchmark):
            spans.setdefault(ticker, []).extend((inside, before))
    for item in findings:
        known = spans.get(BENCHMARK if item.ticker == EVERY else item.ticker, [])
        first = int(days.searchsorted(pd.Timestamp(item.day)))
        last = int(days.searchsorted(pd.Timestamp(item.until or item.day), side="right")) - 1
        touched = [where for begin, end, where in known if first <= end and last >= begin]
        nearest = min(touched, key=lambda where: "before" in where, default=QUIET)
        yield item, nearest if known else ""


def stops(item: Finding, where: str) -> bool:
    """Whether a finding stops the study that would use it there."""
    wrong = bool(item.witness) or (item.exact and where != QUIET)
    return bool(where) and wrong and not item.accepted

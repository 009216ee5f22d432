"""Whether a study may rest on its market: findings that would enter its numbers stop it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pandas as pd

from usjp_research.market.record import BENCHMARK, EVERY, Finding, Market
from usjp_research.spec.records import Spec
from usjp_research.study.events import EventPanel
from usjp_research.words import InputError

QUIET = "a day of the placebo calendars"
HALVED = 0.63  # a 2:1 split's size as a log return, less the move of a usual day


def refuse_findings(
    spec: Spec, market: Market, panel: EventPanel, slots: Iterable[tuple[str, tuple[str, ...]]]
) -> None:
    """Stop a study whose numbers would use what is hardly a return: an InputError names the first.

    A finding with a witness stops it wherever it lies: one wrong day in a window, an estimation
    or a placebo calendar is enough to hide an effect. A split's exact ratio without a witness may
    be chance over years of days, and stops only in an event window of the firm or in the
    estimation window before it; a split of 2:1 or more, which moves with its day's news and is
    seldom exact, stops in an event window. ``slots`` are event and members of every portfolio
    formed.
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
    """Say where a study would use each finding: an event window first; empty where nowhere.

    In an event window a split of 2:1 or more that is met nearly counts as an exact one.
    """
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
        halved = item.kind == "split" and abs(math.log1p(item.size)) > HALVED
        if halved and known and nearest != QUIET and "before" not in nearest:
            item = replace(item, exact=True)
        yield item, nearest if known else ""


def stops(item: Finding, where: str) -> bool:
    """Whether a finding stops the study that would use it there."""
    wrong = bool(item.witness) or (item.exact and where != QUIET)
    return bool(where) and wrong and not item.accepted

"""What was left out of a study, and what its lists say in vain: the heaviest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date

import pandas as pd

from usjp_research.market.record import Dropped
from usjp_research.study.portfolios import blackout_span, counting_news, sessions_covered
from usjp_research.study.sample import Sample

KINDS = ("sector", "event", "slot", "contrast", "security")


def by_weight(data: Sample, items: Iterable[Dropped]) -> tuple[Dropped, ...]:
    """Order what was left out by how much of the answer it takes away, each once.

    First sectors that cannot be judged, then primary events, primary events that one sector
    lacks, the contrast, securities by market value and other events; the rest by its kind.
    """
    primary = {event.id for event in data.spec.with_role("primary")}
    slots = data.portfolios.slots
    unformed = {f"{id}/{key}" for (id, key), s in slots.items() if id in primary and not s.series}
    heavy = {"event": primary, "slot": unformed}
    sizes = {firm.ticker: firm.market_value_usd_bn or 0.0 for firm in data.spec.firms}

    def weight(item: Dropped) -> tuple[int, float, str]:
        first = item.what in KINDS and item.name in heavy.get(item.what, (item.name,))
        if first or item.what == "event":
            rank = KINDS.index(item.what) if first else len(KINDS)
            return rank, -sizes.get(item.name, 0.0) * (item.what == "security"), ""
        return len(KINDS) + 1, 0.0, item.what

    return tuple(sorted(dict.fromkeys(items), key=weight))


def not_measured(data: Sample, reactions: pd.DataFrame) -> Iterator[Dropped]:
    """List the events for which a portfolio, or the mirror, has no abnormal return."""
    unformed = {key for key, slot in data.portfolios.slots.items() if not slot.series}
    for event, rows in reactions[reactions["caar"].isna()].groupby("event", sort=False):
        lacking = [sector for sector in rows["sector"] if (event, sector) not in unformed]
        if lacking:
            reason = "no abnormal return, too few unmasked estimation days or a gap: "
            yield Dropped("event", str(event), reason + ", ".join(lacking))


def not_in_portfolios(data: Sample) -> Iterator[Dropped]:
    """List what readers left out, slots not formed, and firms out of a slot or in it unchecked."""
    yield from (*data.market.dropped, *data.panel.dropped, *data.portfolios.dropped)
    tickers = {firm.ticker for firm in data.spec.firms}
    for ticker in dict.fromkeys(news.ticker for news in data.spec.own_news):
        if ticker not in tickers:
            yield Dropped("own news", ticker, "not in universe.csv; its news is not used")
    for text in data.spec.thesis.left_out if data.spec.thesis else ():
        yield Dropped("implied value", "thesis.yaml", text)
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


def stray_news(data: Sample) -> tuple[Dropped, ...]:
    """List own news, and sessions that were looked through, on which no blackout rests.

    A date that is mistyped, a year off or far away would else lift a firm's blackout unseen.
    """
    spans = [
        blackout_span(data.spec, data.panel, data.market.dates, place)
        for place in range(len(data.panel.events))
    ]
    lines = [*_outside(data, set().union(*spans)), *_not_used(data, spans)]
    looked = Counter(day for checked in data.spec.coverage.values() for day in checked)
    for day in sorted(set(looked) - {day.date() for day in data.market.dates}):
        reason = f"looked through around {day} for {looked[day]} firms: no session of the data"
        lines.append(Dropped("own news", "own_news_coverage.csv", reason))
    return tuple(dict.fromkeys(lines))


def _outside(data: Sample, near: set[date]) -> Iterator[Dropped]:
    """List news that is near no event and outside the sessions looked through for its firm."""
    covered = sessions_covered(data.spec, data.market.dates)
    days = {day.date() for day in data.market.dates}
    first, last = min(days), max(days)
    for item in counting_news(data.spec):
        day = item.session
        if day in near or (day in days and day in covered.get(item.ticker, ())):
            continue
        looked = ", and outside the sessions looked through for the firm" if covered else ""
        reason = f"near no event, so it takes nobody out{looked}"
        if not first <= day <= last:
            reason = f"outside the data, {first} to {last}"
        elif day not in days:
            reason = "no session of the data, so it takes nobody out"
        yield Dropped("own news", item.ticker, f"{item.kind} on {day}: {reason}")


def _not_used(data: Sample, spans: Iterable[set[date]]) -> Iterator[Dropped]:
    """List the firms that stay in an event although their own news lies there."""
    for event, span in zip(data.panel.events, spans, strict=True):
        news = {item.ticker for item in counting_news(data.spec) if item.session in span}
        for sector in data.spec.sectors:
            slot = data.portfolios.slots[event.id, sector]
            why = "the list was not made for this window"
            why = slot.reason if "no portfolio" in slot.reason else why
            if kept := ", ".join(ticker for ticker in slot.members if ticker in news):
                reason = f"kept although own news is known: {kept} ({why})"
                yield Dropped("blackout", f"{event.id}/{sector}", reason)

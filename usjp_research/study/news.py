"""Own news that does not do what its line says: it takes nobody out of any event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date

from usjp_research.market.record import Dropped, Market
from usjp_research.spec.records import News, Spec
from usjp_research.study.events import EventPanel, session_span
from usjp_research.study.portfolios import Portfolios, sessions_covered


def stray_news(
    spec: Spec, market: Market, panel: EventPanel, made: Portfolios
) -> tuple[Dropped, ...]:
    """List own news, and sessions that were looked through, on which no blackout rests.

    A date that is mistyped, a year off or far away would else lift a firm's blackout unseen.
    """
    return tuple(
        dict.fromkeys(
            (
                *_outside(spec, market, panel),
                *_not_used(spec, market, panel, made),
                *_never_sessions(spec, market),
            )
        )
    )


def _span(spec: Spec, market: Market, panel: EventPanel, place: int) -> set[date]:
    low, high = panel.window
    margin = spec.rule.blackout.margin
    center = int(panel.day0[place])
    return set(session_span(market.dates, center, margin - low, margin + high))


def _counting(spec: Spec) -> list[News]:
    """List the news of kinds that take a firm out, of firms of the universe."""
    tickers = {firm.ticker for firm in spec.firms}
    kinds = spec.rule.blackout.kinds
    return [item for item in spec.own_news if item.kind in kinds and item.ticker in tickers]


def _outside(spec: Spec, market: Market, panel: EventPanel) -> Iterator[Dropped]:
    """List news that is near no event and outside the sessions looked through for its firm."""
    near = {day for place in range(len(panel.events)) for day in _span(spec, market, panel, place)}
    covered = sessions_covered(spec, market.dates)
    days = {day.date() for day in market.dates}
    first, last = min(days), max(days)
    for item in _counting(spec):
        if item.session in near:
            continue
        if not first <= item.session <= last:
            reason = f"outside the data, {first} to {last}"
        elif item.session not in days:
            reason = "no session of the data, so it takes nobody out"
        elif item.session not in covered.get(item.ticker, ()):
            looked = ", and outside the sessions looked through for the firm" if covered else ""
            reason = f"near no event, so it takes nobody out{looked}"
        else:
            continue
        yield Dropped("own news", item.ticker, f"{item.kind} on {item.session}: {reason}")


def _not_used(spec: Spec, market: Market, panel: EventPanel, made: Portfolios) -> Iterator[Dropped]:
    """List the firms that stay in an event although their own news lies there."""
    for place, event in enumerate(panel.events):
        span = _span(spec, market, panel, place)
        news = {item.ticker for item in _counting(spec) if item.session in span}
        for sector in spec.sectors:
            slot = made.slots[event.id, sector]
            kept = [ticker for ticker in slot.members if ticker in news]
            if kept:
                why = "the list was not made for this window"
                if "no portfolio" in slot.reason:
                    why = slot.reason
                yield Dropped(
                    "blackout",
                    f"{event.id}/{sector}",
                    f"kept although own news is known: {', '.join(kept)} ({why})",
                )


def _never_sessions(spec: Spec, market: Market) -> Iterator[Dropped]:
    days = {day.date() for day in market.dates}
    looked = Counter(day for checked in spec.coverage.values() for day in checked)
    for day in sorted(set(looked) - days):
        reason = f"looked through around {day} for {looked[day]} firms: no session of the data"
        yield Dropped("own news", "own_news_coverage.csv", reason)

"""Own news that does not do what its line says: it takes nobody out of any event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from usjp_research.market.record import Dropped
from usjp_research.study.portfolios import blackout_span, counting_news, sessions_covered
from usjp_research.study.sample import Sample


def stray_news(data: Sample) -> tuple[Dropped, ...]:
    """List own news, and sessions that were looked through, on which no blackout rests.

    A date that is mistyped, a year off or far away would else lift a firm's blackout unseen.
    """
    return tuple(dict.fromkeys((*_outside(data), *_not_used(data), *_never_sessions(data))))


def _outside(data: Sample) -> Iterator[Dropped]:
    """List news that is near no event and outside the sessions looked through for its firm."""
    dates, places = data.market.dates, range(len(data.panel.events))
    near = {day for k in places for day in blackout_span(data.spec, data.panel, dates, k)}
    covered = sessions_covered(data.spec, dates)
    days = {day.date() for day in dates}
    first, last = min(days), max(days)
    for item in counting_news(data.spec):
        looked_through = item.session in days and item.session in covered.get(item.ticker, ())
        if item.session in near or looked_through:
            continue
        looked = ", and outside the sessions looked through for the firm" if covered else ""
        reason = f"near no event, so it takes nobody out{looked}"
        if not first <= item.session <= last:
            reason = f"outside the data, {first} to {last}"
        elif item.session not in days:
            reason = "no session of the data, so it takes nobody out"
        yield Dropped("own news", item.ticker, f"{item.kind} on {item.session}: {reason}")


def _not_used(data: Sample) -> Iterator[Dropped]:
    """List the firms that stay in an event although their own news lies there."""
    for place, event in enumerate(data.panel.events):
        span = blackout_span(data.spec, data.panel, data.market.dates, place)
        news = {item.ticker for item in counting_news(data.spec) if item.session in span}
        for sector in data.spec.sectors:
            slot = data.portfolios.slots[event.id, sector]
            kept = ", ".join(ticker for ticker in slot.members if ticker in news)
            why = "the list was not made for this window"
            why = slot.reason if "no portfolio" in slot.reason else why
            if kept:
                reason = f"kept although own news is known: {kept} ({why})"
                yield Dropped("blackout", f"{event.id}/{sector}", reason)


def _never_sessions(data: Sample) -> Iterator[Dropped]:
    days = {day.date() for day in data.market.dates}
    looked = Counter(day for checked in data.spec.coverage.values() for day in checked)
    for day in sorted(set(looked) - days):
        reason = f"looked through around {day} for {looked[day]} firms: no session of the data"
        yield Dropped("own news", "own_news_coverage.csv", reason)

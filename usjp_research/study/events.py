"""From instants to sessions: when each market could first react, and which days that covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from usjp_research.engine.design import Bools, Ints
from usjp_research.market.record import BENCHMARK, Dropped, Market
from usjp_research.spec.records import Event, Spec
from usjp_research.words import InputError, card, nearest, shown

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar


HOME = "XNYS"  # the exchange whose sessions are the days of the data
MASKED_ROLES = ("primary", "secondary", "leak")


@dataclass(frozen=True, slots=True)
class EventPanel:
    """The events that a market can be tested on, and where they lie in its calendar.

    ``day0`` (n_events,) are places among the market's days; ``masked`` (n_days,) marks the windows
    of primary, secondary and leak events; ``second`` are sessions in ``second_city``, if one is
    named.
    """

    events: tuple[Event, ...]
    new_york: tuple[date, ...]
    second: tuple[date, ...]
    second_city: str
    day0: Ints
    window: tuple[int, int]
    masked: Bools
    dropped: tuple[Dropped, ...]

    def index(self, *roles: str) -> tuple[int, ...]:
        """Return the places of the events that have one of the roles."""
        return tuple(i for i, event in enumerate(self.events) if event.role in roles)

    def position(self, id: str) -> int | None:
        """Return the place of an event in the panel, or ``None`` when it was dropped."""
        ids = [event.id for event in self.events]
        return ids.index(id) if id in ids else None

    def why(self, id: str) -> str:
        """Return why an event was dropped; empty when it was not."""
        return next((item.reason for item in self.dropped if item.name == id), "")

    def same_session(self, ids: Sequence[str]) -> tuple[str, ...]:
        """List the other events in the sessions of some."""
        sessions = {e.id: day for e, day in zip(self.events, self.new_york, strict=True)}
        days = {sessions.get(id) for id in ids}
        return tuple(id for id, day in sessions.items() if day in days and id not in ids)

    def days(self, *roles: str) -> dict[str, pd.Timestamp]:
        """Return the New York session of the events that have one of the roles, by id."""
        return {self.events[k].id: pd.Timestamp(self.new_york[k]) for k in self.index(*roles)}

    def frame(self) -> pd.DataFrame:
        """Return the calendar of events as a table, one row per event."""
        day, time = "%Y-%m-%d", "%Y-%m-%d %H:%M %Z"
        told = [f"{e.instant:{day if e.precision == 'day' else time}}" for e in self.events]
        frame = pd.DataFrame({"id": [e.id for e in self.events], "announced": told})
        frame["precision"] = [e.precision for e in self.events]
        frame["new_york"] = self.new_york
        if self.second:
            frame["second_session"] = self.second
        return frame.assign(**{k: [getattr(e, k) for e in self.events] for k in ("role", "title")})

    def _repr_html_(self) -> str:
        count = f"{len(self.events)} events ({len(self.index('primary'))} primary)"
        days = self.new_york or ("", "")
        span = f"day 0 from {min(days)} to {max(days)} in New York"
        window = f"window {self.window[0]} to {self.window[1]}"
        lost = f"{int(self.masked.sum())} days masked", f"{len(self.dropped)} left out"
        return card("Event panel", "", count, span if self.events else "", window, *lost)


def first_session(instant: datetime, exchange: str = HOME) -> date:
    """Return the first session of an exchange that closes after an instant, in its own calendar.

    Half days and changes of the closing hour come from the exchange calendar.
    """
    if instant.tzinfo is None:
        raise InputError(f"instant {instant} has no time zone; add one such as America/New_York")
    calendar = _calendar(exchange, instant.year)
    place = int(calendar.closes.searchsorted(pd.Timestamp(instant).tz_convert("UTC"), side="right"))
    if place == len(calendar.sessions):
        ends = f"its calendar ends with {calendar.last_session.date()}, before {instant.date()}"
        raise InputError(f"exchange {exchange}: {ends} is traded; give another one")
    return calendar.sessions[place].date()  # type: ignore[no-any-return]


@lru_cache(maxsize=1024)
def in_session(instant: datetime) -> bool:
    """Say whether news came out while New York was trading."""
    calendar, stamp = _calendar(HOME, instant.year), pd.Timestamp(instant).tz_convert("UTC")
    return bool(stamp >= calendar.opens.loc[pd.Timestamp(first_session(instant))])


def _calendar(exchange: str, year: int) -> ExchangeCalendar:
    """Return sessions around a year: the usual ones, which kernels share, else of its decade."""
    decade = year - year % 10
    spans = (
        (),
        (f"{decade - 1}-12-01", f"{decade + 10}-02-01"),
        (f"{year - 1}-12-01", f"{year + 1}-02-01"),
        (f"{year - 1}-12-01", f"{year}-12-31"),
    )
    for span in spans:  # some calendars end this year: only then is no session after it needed
        calendar = _sessions(exchange, *span)
        held = (calendar.first_session, calendar.last_session) if calendar is not None else ()
        if held and held[0].year < year and (held[1].year > year or span is spans[-1]):
            return calendar
    raise InputError(f"exchange {exchange}: its calendar does not hold {year}; give another one")


@lru_cache(maxsize=16)
def _sessions(exchange: str, *span: str) -> ExchangeCalendar | None:
    import exchange_calendars

    names = exchange_calendars.get_calendar_names()
    if exchange not in names:
        asked = f"study.yaml: second_exchange '{shown(exchange)}'"
        raise InputError(f"{asked}: {nearest(exchange, names)}")
    try:
        return exchange_calendars.get_calendar(exchange, *span)
    except ValueError:
        return None


def event_panel(spec: Spec, market: Market) -> EventPanel:
    """Place the events of a study in the trading days of a market.

    Events beyond the data, or with a window that the data do not cover or in which the benchmark
    has no return, or after the last price that the rule knew, are in its ``dropped`` with the
    reason; prospective ones are nowhere in it.

    Examples
    --------
    >>> panel = event_panel(spec, market)                           # doctest: +SKIP
    >>> panel.frame().query("role == 'primary'")                    # doctest: +SKIP
    """
    low, high = spec.rule.window
    kept, dropped = list[tuple[Event, date, int]](), list[Dropped]()
    masked = np.zeros(len(market.dates), dtype=bool)
    for event in sorted(spec.announced(), key=lambda event: (event.instant, event.id)):
        session = first_session(event.instant)
        reason, place = _place(market, session, low, high)
        if (second := spec.rule.second) and spec.unpriced(event):
            known = f"the rule was frozen on {second.chosen_on} with prices to {second.prices_to}"
            place = -1
            reason = f"day 0 is {session}; {known}: neither in the study nor prospective"
        if place >= 0 and event.role in MASKED_ROLES:  # news stays news where it cannot be tested
            masked[place + low : place + high + 1] = True
        if reason:
            dropped.append(Dropped("event", event.id, reason))
        else:
            kept.append((event, session, place))
    also = spec.rule.second_exchange
    city = str(_calendar(also, 2025).tz).rpartition("/")[2] if also else ""
    return EventPanel(
        events=tuple(event for event, *_ in kept),
        new_york=tuple(session for _, session, _ in kept),
        second=tuple(first_session(event.instant, also) for event, *_ in kept) if also else (),
        second_city=city.replace("_", " "),
        day0=np.array([place for *_, place in kept], dtype=np.int64),
        window=(low, high),
        masked=masked,
        dropped=tuple(dropped),
    )


def _place(market: Market, session: date, low: int, high: int) -> tuple[str, int]:
    """Return why an event cannot be tested, and its place where its window lies in the data."""
    stamp, days = pd.Timestamp(session), market.dates
    if stamp > days[-1]:
        return f"day 0 is {session}, the data end {days[-1].date()}", -1
    if stamp < days[0]:
        return f"day 0 is {session}, the data start {days[0].date()}", -1
    place = int(days.searchsorted(stamp))
    if days[place] != stamp:
        return f"day 0 is {session}, the data have no return on that day", -1
    if place + low < 0 or place + high >= len(days):
        return f"the window ({low:+d},{high:+d}) around {session} reaches beyond the data", -1
    window = market.returns[BENCHMARK].iloc[place + low : place + high + 1]
    lost = [f"{day.date()}, in its window" for day in window.index[window.isna()]]
    return f"the benchmark has no return on {lost[0]}" if lost else "", place


def session_span(days: pd.DatetimeIndex, center: int, before: int, after: int) -> Sequence[date]:
    """Return the sessions from ``center - before`` to ``center + after``, cut at the data."""
    first, last = max(0, center - before), min(len(days) - 1, center + after)
    return [day.date() for day in days[first : last + 1]]

"""Events are instants; each market's first session that can react follows from its calendar."""

from __future__ import annotations

import csv
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import exchange_calendars
import pandas as pd
import pytest

from usjp_research.market.record import BENCHMARK, Market
from usjp_research.spec.records import Spec
from usjp_research.study import events
from usjp_research.study.events import event_panel, first_session
from usjp_research.words import InputError

TABLE = Path(__file__).parents[1] / "data/sessions.csv"
HAND = list(csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines()))
NY, TOKYO = "America/New_York", "Asia/Tokyo"


def test_the_hand_checked_table_names_every_event(spec: Spec) -> None:
    assert [row["id"] for row in HAND] == [event.id for event in spec.events]


@pytest.mark.parametrize("row", HAND, ids=[row["id"] for row in HAND])
def test_sessions_agree_with_the_hand_checked_ones_or_say_why_not(
    spec: Spec, row: dict[str, str]
) -> None:
    event = spec.event(row["id"])
    ours = (first_session(event.instant, "XNYS"), first_session(event.instant, "XTKS"))
    hand = (date.fromisoformat(row["new_york"]), date.fromisoformat(row["tokyo"]))
    if ours != hand:
        assert row["reason"], f"{ours} against {hand}"
        assert event.role != "primary"
        assert event.precision == "day"


@pytest.mark.parametrize(
    ("local", "zone", "exchange", "session"),
    [
        ("2025-07-22 15:59", NY, "XNYS", "2025-07-22"),  # a minute before the close
        ("2025-07-22 16:00", NY, "XNYS", "2025-07-23"),  # at the close: next session
        ("2025-11-28 12:59", NY, "XNYS", "2025-11-28"),  # half day, before its close
        ("2025-11-28 13:00", NY, "XNYS", "2025-12-01"),  # half day: the next session is Monday
        ("2025-07-04 10:00", NY, "XNYS", "2025-07-07"),  # holiday
        ("2025-07-05 10:00", NY, "XNYS", "2025-07-07"),  # Saturday
        ("2024-11-01 15:10", TOKYO, "XTKS", "2024-11-05"),  # Tokyo closed at 15:00 then
        ("2024-11-05 15:10", TOKYO, "XTKS", "2024-11-05"),  # and at 15:30 from this day
        ("2025-10-28 15:30", TOKYO, "XTKS", "2025-10-29"),
        ("2026-09-20 10:00", TOKYO, "XTKS", "2026-09-24"),  # three holidays in a row
        ("2025-12-31 18:00", NY, "XNYS", "2026-01-02"),  # over the year's end
        ("1998-12-31 18:00", NY, "XTKS", "1999-01-04"),  # in a decade that its calendar lacks
    ],
)
def test_first_session_at_the_edges(local: str, zone: str, exchange: str, session: str) -> None:
    instant = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone))
    assert first_session(instant, exchange).isoformat() == session


def test_the_usual_calendar_is_not_used_for_the_year_in_which_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = events._sessions

    def ending(exchange: str, *span: str) -> object:  # as on 28 December of the year before
        return whole(exchange, *span) if span else whole(exchange, "2015-12-28", "2026-12-28")

    monkeypatch.setattr(events, "_sessions", ending)
    evening = datetime(2026, 12, 31, 18, tzinfo=ZoneInfo(NY))
    assert first_session(evening) == date(2027, 1, 4)


def test_news_after_the_last_day_of_a_calendar_is_refused() -> None:
    last = exchange_calendars.get_calendar("XSHG", start="2020-01-01").bound_max()
    evening = datetime(last.year, 12, 31, 18, tzinfo=ZoneInfo(NY))
    with pytest.raises(InputError, match=f"XSHG: its calendar .*{last.year}.*; give another one"):
        first_session(evening, "XSHG")


def test_an_instant_without_zone_is_an_error() -> None:
    with pytest.raises(InputError, match="no time zone"):
        first_session(datetime(2025, 7, 22, 19, 12), "XNYS")


def test_events_beyond_the_data_are_dropped_with_their_reason(spec: Spec) -> None:
    days = pd.bdate_range("2025-06-02", "2025-10-28").difference(pd.DatetimeIndex(["2025-09-05"]))
    frame = pd.DataFrame({BENCHMARK: 0.0}, index=days)
    panel = event_panel(spec, Market("test", frame, "firm"))
    reasons = {item.name: item.reason for item in panel.dropped}
    assert "the data end 2025-10-28" in reasons["E35"]
    assert "no return on that day" in reasons["E08"]
    assert "reaches beyond the data" in reasons["E17"]
    kept = {event.id for event in panel.events}
    assert kept | set(reasons) == {event.id for event in spec.events}
    assert kept.isdisjoint(reasons)


def test_masked_days_are_the_windows_of_primary_secondary_and_leak_events(spec: Spec) -> None:
    days = pd.bdate_range("2025-06-02", "2026-07-31")
    panel = event_panel(spec, Market("test", pd.DataFrame({BENCHMARK: 0.0}, index=days), "firm"))
    expected = set()
    for event, place in zip(panel.events, panel.day0, strict=True):
        if event.role in ("primary", "secondary", "leak"):
            expected |= {place - 1, place, place + 1}
    assert set(panel.masked.nonzero()[0]) == expected

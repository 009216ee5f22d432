"""Events announced after the freeze are judged alone, and nothing earlier knows of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import exchange_calendars
import numpy as np
import pandas as pd
import pytest

from tests.conftest import DOLLARS, EVENTS, PLANTED, SECTORS, write_study
from usjp_research.engine.placebo import admissible_shifts
from usjp_research.report.results import save_study
from usjp_research.report.tables import table
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import Spec, digest
from usjp_research.study.answer import Study, run_study
from usjp_research.study.prospective import WHOLE, prospective
from usjp_research.study.sample import sample
from usjp_research.study.second import calendar_of, second_rows
from usjp_research.words import InputError

SECOND = """second:
  chosen_on: 2024-07-15
  prices_to: 2024-06-28
  prospective:
    pact: {solar: +, rail: '-'}
    talk: {solar: 0, rail: 0}
"""
CATEGORIES = EVENTS.replace("title,solar", "category,title,solar")
for _name in ("first", "second", "third"):
    CATEGORIES = CATEGORIES.replace(f"primary,{_name}", f"primary,pact,{_name}")
# The signs in the file are the opposite of those in the table.
LATER = "P1,2024-09-10 10:00,America/New_York,primary,pact,later,-,+\n"
GAP = "G1,2024-07-02 10:00,America/New_York,primary,pact,between,+,+\n"
Own = Callable[..., Path]


@pytest.fixture(scope="module")
def gained(prices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prices of the studies of one's own, where solar gains once more after the freeze."""
    frame = pd.read_csv(prices, index_col="date", parse_dates=["date"])
    frame.loc["2024-09-10":, SECTORS["solar"]] *= 1 + PLANTED
    path = tmp_path_factory.mktemp("gained") / "prices.csv"
    frame.to_csv(path)
    return path


@pytest.fixture(scope="module")
def study(gained: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Study]:
    """Judge those prices with some more events, once each."""

    @cache
    def judged(*events: str) -> Study:
        texts = {"events": "".join([CATEGORIES, *events]), "study": SECOND, "thesis": DOLLARS}
        folder = write_study(tmp_path_factory.mktemp("study"), **texts)
        return run_study(sample(read_spec(folder), f"file:{gained}"))

    return judged


def _numbers(study: Study, folder: Path) -> dict[str, Any]:
    """Return all that a study writes, but for its digest and what its prospective part says."""
    where = save_study(study, folder)
    files = {path.name: path.read_bytes() for path in where.glob("*.csv")}
    told = json.loads((where / "verdicts.json").read_text("utf-8"))
    own = {key: told[key] for key in told.keys() - {"spec", "prospective"}}
    return {**files, "verdicts": json.dumps(own, sort_keys=True)}


def _laws(study: Study) -> list[bytes]:
    second = study.second
    assert second is not None
    names = ("shifts", "effect", "error", "null_effect", "null_error", "null_statistic")
    return [getattr(law, name).tobytes() for law in (study.family, second.law) for name in names]


def test_a_later_event_leaves_every_number_of_the_others_as_it_is(
    study: Callable[..., Study], tmp_path: Path
) -> None:
    before, after = study(), study(LATER)
    assert _laws(before) == _laws(after)
    assert _numbers(before, tmp_path / "a") == _numbers(after, tmp_path / "b")
    assert (before.data.panel.masked == after.data.panel.masked).all()
    assert after.data.portfolios.returns.equals(before.data.portfolios.returns)
    assert digest(before.data.spec) != digest(after.data.spec)
    assert not before.prospective.rows
    assert "none after 2024-07-15" in before.prospective.dropped[0].reason
    assert len(table("verdicts", before.prospective.rows)) == 0


def test_its_row_is_rule_2_on_that_event_alone_with_the_signs_of_the_table(
    own: Own, gained: Path, study: Callable[..., Study]
) -> None:
    judged = study(LATER)
    alone = CATEGORIES.replace("primary", "secondary") + LATER.replace("-,+", "+,-")
    spec = read_spec(own(events=alone, study="second: {cap: 0.1}\n", thesis=DOLLARS))
    data = sample(spec, f"file:{gained}")
    found = second_rows(data, admissible_shifts(calendar_of(data), data.panel.masked, spec.rule))
    assert found is not None and judged.prospective.law is not None
    assert judged.prospective.law.null_effect.tobytes() == found.law.null_effect.tobytes()
    for ours, plain in zip(judged.prospective.rows, found.rows, strict=True):
        assert replace(ours, kind="sector", remark=plain.remark) == plain
        assert ours.remark == f"{plain.remark}; {WHOLE}".removeprefix("; ")
        assert (ours.kind, ours.events) == ("prospective", ("P1",))
    solar, rail = judged.prospective.rows
    assert (solar.sign, rail.sign) == (1, -1)
    assert solar.low > 0 and solar.effect == pytest.approx(PLANTED, abs=0.02)
    # By hand: the portfolio's day less alpha and beta times the market, on the masked window.
    returns = data.market.returns
    place = int(returns.index.searchsorted(pd.Timestamp("2024-09-10")))
    days = [t for t in range(place - 270, place - 20) if not data.panel.masked[t]]
    y, x = returns[SECTORS["solar"]].mean(axis=1).to_numpy(), returns["us_market"].to_numpy()
    slope, level = np.polyfit(x[days], y[days], 1)
    car = (y - level - slope * x)[place : place + 2].sum()  # in session: day 0 and the next
    assert solar.effect == pytest.approx(car, abs=1e-12)


def test_an_event_between_the_last_price_and_the_freeze_is_in_neither_set(
    own: Own, gained: Path, study: Callable[..., Study]
) -> None:
    more, plain = study(GAP, LATER), study(LATER)
    assert _laws(more) == _laws(plain)
    assert more.data.panel.position("G1") is None
    why = "neither in the study nor prospective"
    assert [item.name for item in more.dropped if why in item.reason] == ["G1"]
    assert {row.events for row in more.prospective.rows} == {("P1",)}
    assert [event.id for event in more.data.spec.with_role("primary")] == ["N1", "N2", "N3"]
    closes = {"15:59": True, "16:00": False}  # of the last day with a price
    for hour, inside in closes.items():
        line = GAP.replace("07-02 10:00", f"06-28 {hour}")
        spec = read_spec(own(events=CATEGORIES + line, study=SECOND))
        assert any(event.id == "G1" for event in spec.with_role("primary")) is inside
        assert (sample(spec, f"file:{gained}").panel.why("G1") == "") is inside
    edges = {  # the day is New York's, and that of the freeze belongs to neither
        "2024-07-15 23:59,America/New_York": False,
        "2024-07-16 09:00,Asia/Tokyo": False,
        "2024-07-16 00:01,America/New_York": True,
    }
    for when, later in edges.items():
        line = LATER.replace("2024-09-10 10:00,America/New_York", when)
        spec = read_spec(own(events=CATEGORIES + line, study=SECOND))
        assert bool(spec.announced(later=True)) is later, when


def test_what_cannot_be_judged_says_why(study: Callable[..., Study]) -> None:
    leak = LATER.replace("P1", "P2").replace("primary", "leak").replace("09-10", "10-10")
    beyond = LATER.replace("2024-09-10", "2025-09-10")
    found = study(beyond, leak).prospective
    reasons = {item.name: item.reason for item in found.dropped}
    assert "the data end 2024-12-31" in reasons["P1"] and "not primary" in reasons["P2"]
    assert found.law is None
    for row in found.rows:
        assert (row.headline, row.kind) == ("no verdict", "prospective")
        assert "P1: day 0 is 2025-09-10" in row.reason
    talk = study(LATER.replace("pact", "talk")).prospective
    assert {row.reason for row in talk.rows} == {
        "no primary event has an expected sign (+ or -) for it"
    }


def test_controls_that_end_before_the_news_stop_its_sum(
    own: Own, prices: Path, tmp_path: Path
) -> None:
    frame = pd.read_csv(prices, index_col="date")
    days = exchange_calendars.get_calendar("XNYS", start="2022-01-03", end="2026-12-31").sessions
    path = tmp_path / "late.csv"
    frame.set_axis(days[-len(frame) :], axis=0).rename_axis("date").to_csv(path)
    rule = SECOND.replace("  prices_to", "  controls: [donor/food]\n  prices_to")
    found = {}
    for day in ("2025-09-10", "2026-09-10"):
        events = CATEGORIES + LATER.replace("2024-09-10", day)
        folder = own(events=events, study=rule, thesis=DOLLARS)
        found[day] = prospective(sample(read_spec(folder), f"file:{path}"))
    assert found["2025-09-10"].law is not None
    assert found["2026-09-10"].law is None
    why = "control 'donor/food' ends before it: build the bundle anew"
    assert {row.reason for row in found["2026-09-10"].rows} == {why}


@pytest.mark.parametrize(
    ("events", "rule", "said"),
    [
        (LATER.replace("pact", "rumour"), SECOND, "'P1'.*category 'rumour' has no signs.*talk"),
        ("", SECOND.replace("rail: '-'", "rial: '-'"), "unknown sector 'rial'.*'rail'"),
        ("", SECOND.replace(", rail: '-'", ""), "prospective.pact': no sign for 'rail'"),
        ("", SECOND.replace("solar: +", "solar: up"), "seen 'up'"),
        ("", SECOND.replace("  chosen_on: 2024-07-15\n", ""), "need chosen_on"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_in_one_line(
    own: Own, events: str, rule: str, said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_spec(own(events=CATEGORIES + events, study=rule))
    assert "\n" not in str(caught.value)


def test_own_news_is_not_available_unless_it_was_looked_for(own: Own, gained: Path) -> None:
    news = "ticker,session,kind\nS01,2024-03-05,results\n"
    looked = "ticker,checked\n" + "".join(
        f"{ticker},2024-03-05 2024-04-09 2024-05-14{{}}\n" for t in SECTORS.values() for ticker in t
    )
    for more, told in (("", True), (" 2024-09-10", False)):
        coverage = looked.replace("{}", more)
        folder = own(
            events=CATEGORIES + LATER,
            study=SECOND,
            thesis=DOLLARS,
            own_news=news,
            own_news_coverage=coverage,
        )
        found = prospective(sample(read_spec(folder), f"file:{gained}"))
        assert any("own news" in item.reason for item in found.dropped) is told
        assert len(found.rows) == 2


def test_the_bundle_keeps_its_answer_and_asks_for_single_firms(
    spec: Spec, bundled: Study, tmp_path: Path
) -> None:
    first = spec.with_role("primary")[-1]
    later = replace(first, id="P1", instant=first.instant.replace(month=12))
    found = run_study(sample(replace(spec, events=(*spec.events, later)), bundled.data.market))
    assert _laws(found) == _laws(bundled)
    assert _numbers(found, tmp_path / "a") == _numbers(bundled, tmp_path / "b")
    assert [row.name for row in found.prospective.rows] == list(spec.sectors)
    assert {row.headline for row in found.prospective.rows} == {"no verdict"}
    assert all("P1: no averages" in row.reason for row in found.prospective.rows)
    assert not bundled.prospective.rows


def test_the_table_has_the_signs_of_the_primary_events(spec: Spec) -> None:
    second = spec.rule.second
    assert second is not None
    seen: dict[tuple[str, str], list[int]] = {}
    for event in spec.with_role("primary"):
        for sector, sign in event.signs.items():
            seen.setdefault((event.category, sector), []).append(sign)
    assert {category for category, _ in seen} == set(second.prospective)
    for (category, sector), signs in seen.items():
        told = spec.later_signs(replace(spec.with_role("primary")[0], category=category))
        assert told[sector] == sorted(signs)[len(signs) // 2], (category, sector)

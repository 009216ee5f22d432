"""Before and after: which days a check sums, what a plant shows, and what it may not claim."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from tests.simulated_firms import binomial_bounds, on_returns
from usjp_research.engine.placebo import Leg, independent_shifts, own_days
from usjp_research.market.simulate import simulated_market
from usjp_research.report.tables import table as shown
from usjp_research.report.tables import timing_numbers
from usjp_research.spec.records import GENERIC, Check, Spec, digest
from usjp_research.study.answer import sector_law
from usjp_research.study.checks import _legs, _places, before_and_after, checks_of
from usjp_research.study.legs import event_windows
from usjp_research.study.sample import Sample, sample

SECTOR = "manufacturing_logistics"


@pytest.fixture(scope="module")
def data(spec: Spec) -> Sample:
    return sample(spec, simulated_market(spec, seed=21))


@pytest.fixture(scope="module")
def timing(data: Sample) -> pd.DataFrame:
    return before_and_after(data)[0]


@pytest.mark.parametrize("check", GENERIC, ids=lambda check: check.key)
def test_no_check_counts_a_day_twice_or_a_day_of_the_events_themselves(
    data: Sample, check: Check
) -> None:
    legs = _legs(data, check, _places(data, check), SECTOR)[0]
    days = own_days(legs)
    assert len(days) == sum(leg.window[1] - leg.window[0] + 1 for leg in legs)
    events = set(own_days(event_windows(data, SECTOR, data.panel.index("primary"), signed=False)))
    if check.window is not None or check.roles != ("primary",):
        assert not events & set(days)


def test_a_study_that_lists_no_checks_gets_those_that_its_events_admit(spec: Spec) -> None:
    own = {check.key for check in spec.checks}
    assert own == {check.key for check in checks_of(replace(spec, checks=()))}
    rule = spec.rule.model_copy(update={"note": ""})
    events = tuple(event for event in spec.events if event.role != "leak")
    found = checks_of(replace(spec, checks=(), rule=rule, events=events))
    assert own - {check.key for check in found} == {"before", "after", "note", "note60", "leak"}


def test_only_what_changes_a_number_of_the_checks_names_another_study(spec: Spec) -> None:
    first, *rest = spec.checks
    told = replace(spec, checks=(replace(first, title="another title", wrong="up"), *rest))
    assert digest(told) == digest(spec) == digest(replace(spec, checks=()))
    longer = replace(spec, checks=(replace(first, window=(-20, -2)), *rest))
    assert digest(longer) != digest(spec) != digest(replace(spec, checks=(first,)))


def test_the_event_line_is_the_rule(data: Sample, timing: pd.DataFrame) -> None:
    law = sector_law(data, SECTOR)
    row = timing.query("check == 'event' and sector == @SECTOR").iloc[0]
    assert row["effect"] == pytest.approx(float(law.effect[0]), abs=1e-12)
    assert row["p"] == pytest.approx(float(law.p[0]), abs=1e-12)


def test_before_and_after_the_note_add_up_to_the_whole(timing: pd.DataFrame) -> None:
    wide = timing.pivot(index="sector", columns="check", values="effect").fillna(0.0)
    assert np.allclose(wide["before"] + wide["after"], wide["event"], atol=1e-12)


def test_an_event_whose_day_0_belongs_to_another_is_left_out_and_said_so(
    data: Sample,
) -> None:
    found, dropped = before_and_after(data)
    assert "note" not in set(found["check"])
    names = [item.name for item in dropped]
    assert names[-1] == "The note is published"
    assert "The note is published: E34" in names  # and which event it was


def test_a_planted_drift_is_found_by_the_drift_line_and_by_no_other(
    data: Sample, timing: pd.DataFrame
) -> None:
    returns = data.market.returns.copy()
    firms = [firm.ticker for firm in data.spec.members(SECTOR)]
    primary = data.panel.index("primary")
    for place in primary:
        day = returns.index[int(data.panel.day0[place]) + 5]
        returns.loc[day, firms] += 0.03
    now, _ = before_and_after(sample(data.spec, replace(data.market, returns=returns)))
    columns = ["check", "sector"]
    both = now.merge(timing, on=columns, suffixes=("", "_before")).query("sector == @SECTOR")
    gain = (both["effect"] - both["effect_before"]).set_axis(both["check"])
    events = len(primary)
    # A later event's estimation window holds the plants of earlier ones: a few days of alpha.
    assert 0.8 * 0.03 * events < gain["drift20"] < 0.03 * events
    assert abs(gain["event"]) < 0.01
    assert abs(gain["runup"]) < 0.02
    drift = now.query("check == 'drift20' and sector == @SECTOR").iloc[0]
    assert drift["low"] > 0


def test_estimation_ends_before_the_event_whatever_the_window(data: Sample) -> None:
    rule, panel, made = data.spec.rule, data.panel, data.portfolios
    place = panel.position("E17")
    assert place is not None
    name, day0 = f"sector/{SECTOR}", int(panel.day0[place])
    legs = [Leg("E17", name, day0, (2, 20), 1)]
    law = data.law({"g": legs}, anchored=True)
    last = day0 + rule.window[0] - rule.estimation.ends_before
    span = [t for t in range(last - 249, last + 1) if not panel.masked[t]]
    y, m = made.array([name])[:, 0], made.benchmark
    beta, alpha = np.polyfit(m[span], y[span], 1)
    window = slice(day0 + 2, day0 + 21)
    assert law.effect[0] == pytest.approx(
        float((y[window] - alpha - beta * m[window]).sum()), abs=1e-12
    )


def test_windows_that_nearly_all_overlap_get_no_p_value(timing: pd.DataFrame) -> None:
    few = timing[timing["independent"] < 10]
    assert set(few["check"]) == {"drift60"}
    assert few[["low", "high", "p", "p_family", "mde"]].isna().all(axis=None)
    many = timing[timing["independent"] >= 10]
    assert (many["p"] >= 1 / (1 + many["independent"]) - 1e-12).all()


def test_independent_shifts_count_windows_that_share_no_day_as_independent() -> None:
    one_day = [Leg("E1", "s", 300, (0, 0), 1)]
    assert independent_shifts(one_day, np.arange(1, 101)) == pytest.approx(100)
    same = [Leg("E1", "s", 300, (0, 4_999), 1)]
    assert independent_shifts(same, np.arange(1, 101)) == pytest.approx(1, abs=0.02)
    spread = [Leg("E1", "s", 300, (-1, 1), 1)]
    apart = np.arange(0, 300, 3)
    assert independent_shifts(spread, apart) == pytest.approx(len(apart))


def test_independent_shifts_predict_how_well_a_spread_is_known() -> None:
    draw = np.random.default_rng(4)
    legs = [Leg("E1", "s", 0, (0, 4), 1), Leg("E2", "s", 20, (0, 4), 1)]
    shifts = np.arange(200)
    worth = independent_shifts(legs, shifts)
    days = [leg.day0 + k for leg in legs for k in range(5)]
    noise = draw.standard_normal((4000, 230))
    sums = sum(noise[:, day + shifts[0] : day + shifts[-1] + 1] for day in days)
    squares = (np.asarray(sums) ** 2 / len(days)).mean(axis=1)
    assert 2 / squares.var() == pytest.approx(worth, rel=0.08)


def test_the_tables_show_every_check_and_mark_what_leaves_out_zero(timing: pd.DataFrame) -> None:
    table, numbers = shown("timing", timing), timing_numbers(timing)
    assert len(table) == len(numbers) == timing["check"].nunique()
    stars = sum(text.endswith("*") for text in numbers.to_numpy().ravel())
    assert stars == int(((timing["low"] > 0) | (timing["high"] < 0)).sum())
    assert table["Seen"].str.contains("too few independent").sum() == 1


QUICK = ("event", "runup", "leak")  # days of their own in every sector, and many placebo dates


def _level(spec: Spec, seeds: int) -> tuple[int, int]:
    """Count p-values of at most alpha, and all of them, on seeds without any effect."""
    quick = replace(spec, checks=tuple(check for check in spec.checks if check.key in QUICK))
    data = sample(quick, simulated_market(spec, seed=500))
    p = []
    for seed in range(500, 500 + seeds):
        # Calendars and names only: which firms are in does not depend on returns.
        now = on_returns(data.portfolios, simulated_market(spec, seed=seed))
        p += before_and_after(replace(data, portfolios=now))[0]["p"].dropna().tolist()
    return sum(value <= spec.rule.alpha for value in p), len(p)


@pytest.mark.parametrize(
    ("seeds", "times"), [(10, 3.0), pytest.param(400, 2.0, marks=pytest.mark.soak)]
)
def test_checks_reject_as_often_as_they_say_on_quiet_dates(
    spec: Spec, seeds: int, times: float
) -> None:
    # Sectors and checks of a seed share no shock and no day, so that the draws are binomial.
    # Error 1%: of a hundred right tests one would fail. Never, and so many times too often, fails.
    hits, draws = _level(spec, seeds)
    low, _ = binomial_bounds(draws, spec.rule.alpha, 0.01)
    # A law known from 40 to 150 independent windows rejects up to a point more (200 seeds: 11.5%).
    _, high = binomial_bounds(draws, spec.rule.alpha + 0.01, 0.01)
    assert low > 0
    assert scipy.stats.binom.sf(high, draws, times * spec.rule.alpha) > 0.98
    assert low <= hits <= high, (low, hits, high, draws)

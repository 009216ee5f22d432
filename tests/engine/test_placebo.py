"""Placebo calendars: which shifts are admissible, and what their law says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from usjp_research.engine.design import Design, expected_return_design
from usjp_research.engine.placebo import (
    Leg,
    Placebo,
    admissible_shifts,
    independent_shifts,
    join_laws,
    minimum_detectable,
    no_law,
    placebo_law,
    quantile,
    stepdown_p,
)
from usjp_research.engine.rolling import rolling_forecast
from usjp_research.spec.records import Estimation, Rule
from usjp_research.words import InputError

RULE = Rule(estimation=Estimation(sessions=60, ends_before=21, minimum=50), least_shifts=20)


def _design(market: npt.NDArray[np.float64]) -> Design:
    return expected_return_design("market", {"market": market})


def _legs(*spots: int, window: tuple[int, int] = (-1, 1)) -> list[Leg]:
    return [Leg(f"E{k}", "s", spot, window, 1) for k, spot in enumerate(spots)]


def test_admissible_shifts_equal_a_search_day_by_day() -> None:
    draw = np.random.default_rng(7)
    masked = draw.random(400) < 0.02
    legs = _legs(250, 270, 281)
    want = []
    for shift in range(-400, 401):
        good = shift != 0
        for leg in legs:
            first, last = leg.day0 - 1 + shift, leg.day0 + 1 + shift
            end = first - 21
            start = end - 59
            good &= start >= 0 and last < 400
            if good:
                good &= not masked[first : last + 1].any()
                days = range(start, end + 1)
                own = {other.day0 + k + shift for other in legs for k in (-1, 0, 1)}
                good &= sum(not (masked[d] or d in own) for d in days) >= 50
        if good:
            want.append(shift)
    assert len(want) > 20
    assert admissible_shifts(legs, masked, RULE).tolist() == want


def test_too_few_calendars_are_refused() -> None:
    rule = RULE.model_copy(update={"least_shifts": 500})
    draw = np.random.default_rng(14).normal(0, 0.01, 400)
    returns = pd.DataFrame({"s": np.zeros(400)})
    with pytest.raises(InputError, match="placebo calendars"):
        placebo_law({"s": _legs(250)}, returns, _design(draw), np.zeros(400, bool), rule)


def test_statistics_are_signed_sums_over_guarded_errors() -> None:
    draw = np.random.default_rng(8)
    market = draw.normal(0, 0.01, 400)
    returns = market[:, None] + draw.normal(0, 0.01, (400, 1))
    legs = [Leg("a", "s", 200, (-1, 1), 1), Leg("b", "s", 240, (-1, 1), -1)]
    table = pd.DataFrame(returns, columns=["s"])
    law = placebo_law({"g": legs}, table, _design(market), np.zeros(400, bool), RULE)

    def by_hand(first: int, second: int) -> tuple[float, float]:
        # The calendar's own windows are masked wherever it stands.
        masked = np.zeros(400, bool)
        for day in (first, second):
            masked[day - 1 : day + 2] = True
        fit = rolling_forecast(returns, _design(market), masked, estimation=RULE.estimation)
        error = np.sqrt(fit.guarded[first, 0] + fit.guarded[second, 0])
        return float(fit.car[first, 0] - fit.car[second, 0]), float(error)

    effect, error = by_hand(200, 240)
    assert law.effect[0] == pytest.approx(effect, abs=1e-13)
    assert law.statistic[0] == pytest.approx(effect / error, rel=1e-9)
    for k in (3, 17):
        effect, error = by_hand(200 + int(law.shifts[k]), 240 + int(law.shifts[k]))
        assert law.null_effect[k, 0] == pytest.approx(effect, abs=1e-13)
        assert law.null_error[k, 0] == pytest.approx(error, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 10), min_size=19, max_size=60, unique=True),
    st.floats(0, 12),
    st.sampled_from([0.05, 0.1, 0.2]),
)
def test_the_interval_leaves_out_zero_exactly_when_p_is_at_most_alpha(
    null: list[float], observed: float, alpha: float
) -> None:
    values = np.array(null)
    p = (1 + (values >= observed).sum()) / (1 + len(values))
    assert (observed > quantile(values, alpha)) == (p <= alpha + 1e-12)


def test_the_interval_is_the_set_of_effects_that_the_test_does_not_reject() -> None:
    draw = np.random.default_rng(9)
    null = draw.standard_t(5, (499, 3))
    null_distance = np.abs(null - null.mean(axis=0)).max(axis=1)
    critical, effect, error = quantile(null_distance, 0.10), 0.031, 0.012
    center = float(null[:, 0].mean())
    values = np.linspace(-0.1, 0.15, 5001)
    distance = np.abs((effect - values) / error - center)
    kept = values[(1 + (null_distance[:, None] >= distance).sum(axis=0)) / 500 > 0.10]
    middle, half = effect - center * error, critical * error
    assert [kept.min(), kept.max()] == pytest.approx([middle - half, middle + half], abs=6e-5)


def test_stepdown_equals_its_definition_and_is_never_below_the_single_p() -> None:
    draw = np.random.default_rng(10)
    null = np.abs(draw.normal(size=(999, 4)))
    seen = np.array([2.9, 0.4, 2.2, 3.4])
    got = stepdown_p(seen, null)
    rest, running = [3, 0, 2, 1], 0.0
    while rest:
        beyond = sum(max(row[rest]) >= seen[rest[0]] for row in null)
        running = max(running, (1 + beyond) / 1000)
        assert got[rest.pop(0)] == pytest.approx(running)
    assert (got >= (1 + (null >= seen).sum(axis=0)) / 1000 - 1e-12).all()


def test_stepdown_uses_dependence_where_holm_cannot() -> None:
    draw = np.random.default_rng(11)
    null = np.abs(np.repeat(draw.normal(size=(999, 1)), 6, axis=1))
    seen = np.full(6, 2.0)
    alone = (1 + (null[:, 0] >= 2.0).sum()) / 1000
    np.testing.assert_allclose(stepdown_p(seen, null), alone)
    assert multipletests([alone] * 6, method="holm")[1][0] == pytest.approx(6 * alone)


@pytest.fixture(scope="module")
def law() -> Placebo:
    draw = np.random.default_rng(13)
    market = draw.normal(0, 0.01, 500)
    noise = draw.standard_t(5, (500, 3)) * [0.01, 0.02, 0.01] + draw.normal(0, 0.01, (500, 1))
    noise[[251, 281]] += [0.05, 0.0, 0.03]
    groups = {name: [replace(leg, series=name) for leg in _legs(250, 280)] for name in "abc"}
    returns = pd.DataFrame(market[:, None] + noise, columns=[*"abc"])
    return placebo_law(groups, returns, _design(market), np.zeros(500, bool), RULE)


def test_a_family_is_tabled_with_one_half_width_and_statsmodels_adjusted_p(law: Placebo) -> None:
    rows = law.table(0.10, 0.80, family=True)
    assert rows.index.tolist() == list("abc")
    half = quantile(law.null_distance.max(axis=1), 0.10)
    middle = law.effect - law.center * law.error
    np.testing.assert_allclose(rows["low"], middle - half * law.error, rtol=1e-12)
    np.testing.assert_allclose(rows["high"], middle + half * law.error, rtol=1e-12)
    np.testing.assert_allclose(rows["p_stepdown"], stepdown_p(law.distance, law.null_distance))
    np.testing.assert_allclose(rows["p_holm"], multipletests(law.p, method="holm")[1])
    np.testing.assert_allclose(rows["p_bh"], multipletests(law.p, method="fdr_bh")[1])
    for g, mde in enumerate(rows["mde"]):
        deviation = law.null_statistic[:, g] - law.center[g]
        assert mde == minimum_detectable(deviation, law.error[g], half, 0.80)
    assert (rows["shifts"] == len(law)).all()
    assert (rows["independent"] == independent_shifts(_legs(250, 280), law.shifts)).all()


def test_each_group_alone_is_tabled_as_a_family_of_its_own(law: Placebo) -> None:
    rows = law.table(0.10, 0.80, family=False)
    for name in "abc":
        alone = law.part([name]).table(0.10, 0.80, family=True)
        np.testing.assert_allclose(rows.loc[[name]].to_numpy(), alone.to_numpy(), rtol=1e-12)
    for adjusted in ("p_stepdown", "p_holm", "p_bh"):
        assert rows[adjusted].equals(rows["p"].rename(adjusted))
    inside = (rows["low"] <= 0) & (rows["high"] >= 0)
    assert inside.equals(rows["p"] > 0.10)


def test_parts_joined_again_are_the_law(law: Placebo) -> None:
    again = join_laws([law.part(["a"]), law.part(["b", "c"])])
    pd.testing.assert_frame_equal(
        again.table(0.10, 0.80, family=True), law.table(0.10, 0.80, family=True)
    )


def test_no_law_is_a_row_without_numbers() -> None:
    rows = no_law("solar", "no event").table(0.10, 0.80, family=True)
    assert rows.drop(columns="shifts").isna().to_numpy().all()
    assert rows["shifts"].tolist() == [0]


def test_minimum_detectable_effect_is_the_smallest_with_the_power() -> None:
    draw = np.random.default_rng(12)
    deviation = draw.standard_t(6, 600)
    deviation -= deviation.mean()
    mde = minimum_detectable(deviation, 0.02, 2.4, 0.8)

    def power(effect: float) -> float:
        return float((np.abs(deviation + effect / 0.02) > 2.4).mean())

    assert power(mde + 1e-9) >= 0.8
    assert max(power(float(smaller)) for smaller in np.linspace(0, mde * 0.999, 50)) < 0.8


def test_a_window_before_the_event_never_puts_the_event_beyond_the_data() -> None:
    legs = _legs(400, window=(-10, -2))
    shifts = admissible_shifts(legs, np.zeros(700, bool), Rule(), anchored=True)
    assert shifts.max() == 700 - 1 - 400

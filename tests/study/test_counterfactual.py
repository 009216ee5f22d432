"""Counterfactuals: right by hand, true on planted effects, honest about poor fits."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.optimize import nnls

from usjp_research.engine.design import expected_return_design
from usjp_research.engine.matched import matched_forecast
from usjp_research.engine.placebo import Leg, placebo_law
from usjp_research.engine.rolling import Forecast, rolling_forecast
from usjp_research.market.donors import Donors, load_donors
from usjp_research.market.factors import Factors
from usjp_research.market.record import BENCHMARK, Market
from usjp_research.market.simulate import simulated_market
from usjp_research.report.figures import plot_counterfactuals
from usjp_research.report.tables import table as laid_out
from usjp_research.spec.records import Estimation, Rule, Spec
from usjp_research.study.answer import Study, sector_law
from usjp_research.study.counterfactual import POOR, Counterfactuals, counterfactuals
from usjp_research.study.legs import event_legs
from usjp_research.study.sample import sample
from usjp_research.words import InputError

Floats = npt.NDArray[np.float64]
SECTOR = "mining_metals"
PLANTED = 0.05
MATCHED = partial(matched_forecast, estimation=Estimation())
FIRST = "2023-01-03"  # so late that the placebo calendars are as few as the rule allows
RULE, ITSELF, THIN, OTHERS, OUTSIDE, NEAR, CONVEX = range(7)


def _outsiders(market: Market, seed: int, count: int = 20, beta: float = 1.0) -> Donors:
    """Draw donors that follow the market with betas around one value."""
    draw = np.random.default_rng(seed)
    m = market.returns[BENCHMARK].to_numpy()
    values = np.outer(m, beta * draw.uniform(0.5, 1.5, count))
    values += draw.normal(0, 0.008, values.shape)
    names = [f"D{k:02d}" for k in range(count)]
    return Donors(pd.DataFrame(values, index=market.dates, columns=names), "drawn")


def _rows(found: Counterfactuals) -> list[dict[str, Any]]:
    return found.rows.to_dict("records")  # type: ignore[return-value]


def _planted(spec: Spec, seed: int) -> tuple[Market, float]:
    """Draw a market in which the sector gains on day 0 of each primary event; and the sum."""
    data = sample(spec, simulated_market(spec, seed=seed, first=FIRST))
    legs = event_legs(data, SECTOR)
    days = [data.panel.new_york[data.panel.position(leg.event) or 0] for leg in legs]
    effects = {
        (SECTOR, pd.Timestamp(day)): leg.sign * PLANTED for day, leg in zip(days, legs, strict=True)
    }
    return simulated_market(spec, seed=seed, effects=effects, first=FIRST), PLANTED * len(legs)


def _found(spec: Spec, market: Market, donors: Donors) -> list[dict[str, Any]]:
    return _rows(counterfactuals(sample(spec, market), SECTOR, donors=donors))


@pytest.fixture(scope="module")
def shipped(bundled: Study) -> Counterfactuals:
    donors = load_donors(bundled.data.spec, bundled.data.market)
    return counterfactuals(bundled.data, SECTOR, donors=donors)


# --- models ----------------------------------------------------------------------------------


def test_several_factors_equal_a_refit_by_statsmodels_with_masks_and_gaps() -> None:
    draw = np.random.default_rng(1)
    factors = draw.normal(0, [0.01, 0.006, 0.005], (420, 3))
    returns = factors @ draw.normal(0.5, 0.5, (3, 2)) + draw.normal(0, 0.01, (420, 2))
    returns[draw.random((420, 2)) < 0.02] = np.nan
    factors[[150, 333]] = np.nan
    masked = draw.random(420) < 0.03
    moving = [-200, -120, -30, 4]
    names = ("mkt_rf", "smb3", "hml")
    columns = dict(zip(names, factors.T, strict=True), rf=np.zeros(420))
    design = expected_return_design("ff3", columns)
    fit = rolling_forecast(
        returns, design, masked, estimation=Estimation(), window=(-1, 2), moving_mask=moving
    )
    checked = 0
    for day in range(275, 415, 6):
        own = masked.copy()
        own[[day + k for k in moving if 0 <= day + k < 420]] = True
        span = np.arange(day - 1 - 21 - 249, day - 1 - 21 + 1)
        if span[0] < 0:
            assert np.isnan(fit.car[day]).all()
            continue
        for s in range(2):
            good = np.isfinite(returns[:, s]) & np.isfinite(factors).all(axis=1)
            use, inside = span[good[span] & ~own[span]], np.arange(day - 1, day + 3)
            if not good[inside].all() or len(use) < 200:
                assert np.isnan(fit.car[day, s])
                continue
            ols = sm.OLS(returns[use, s], sm.add_constant(factors[use])).fit()
            x = np.column_stack([np.ones(4), factors[inside]])
            total = x.sum(axis=0)
            error = returns[inside, s] - x @ ols.params
            assert fit.car[day, s] == pytest.approx(error.sum(), abs=1e-12)
            spread = ols.mse_resid * (4 + total @ ols.normalized_cov_params @ total)
            assert fit.variance[day, s] == pytest.approx(spread, rel=1e-8)
            before = np.arange(day - 21, day - 1)
            before = before[good[before]]
            past = returns[before, s] - ols.params[0] - factors[before] @ ols.params[1:]
            assert fit.trailing[day, s] == pytest.approx(4 * np.mean(past**2), rel=1e-8)
            np.testing.assert_allclose(fit.coefficients[day, s], ols.params, atol=1e-10)
            assert fit.n_obs[day, s] == len(use)
            checked += 1
    assert checked > 20


def test_the_same_factor_twice_is_refused() -> None:
    draw = np.random.default_rng(3)
    market, firm = draw.normal(0, 0.01, 400), draw.normal(0, 0.01, (400, 1))
    columns = {"mkt_rf": market, "smb3": market, "hml": draw.normal(size=400), "rf": 0 * market}
    design = expected_return_design("ff3", columns)
    with pytest.raises(InputError, match="leave one out"):
        rolling_forecast(firm, design, np.zeros(400, bool), estimation=Estimation())


def _by_hand(day: int, masked: npt.NDArray[np.bool_], moving: list[int]) -> npt.NDArray[np.int64]:
    span = np.arange(day - 1 - 21 - 249, day - 1 - 21 + 1)
    own = {day + k for k in moving}
    return np.array([t for t in span if not masked[t] and t not in own])


def test_synthetic_control_equals_one_by_hand() -> None:
    draw = np.random.default_rng(4)
    market = draw.normal(0, 0.01, 400)
    donors = np.outer(market, draw.uniform(0.5, 1.5, 12)) + draw.normal(0, 0.008, (400, 12))
    returns = (donors[:, :4].mean(axis=1) + draw.normal(0, 0.004, 400))[:, None]
    masked = draw.random(400) < 0.03
    days, moving = np.array([300, 333, 280]), [-60, -22, 0]
    fit, match = MATCHED(
        returns, donors, market, masked, days=days, moving_mask=moving, method="synthetic"
    )
    for day in days:
        rows = _by_hand(int(day), masked, moving)
        w, _ = nnls(np.vstack([donors[rows], 1e3 * np.ones(12)]), np.append(returns[rows, 0], 1e3))
        error = returns[:, 0] - donors @ w
        assert fit.car[day, 0] == pytest.approx(error[day - 1 : day + 2].sum(), abs=1e-7)
        df = len(rows) - (w > 0).sum() + 1
        assert fit.variance[day, 0] == pytest.approx(3 * (error[rows] ** 2).sum() / df, rel=1e-4)
        trailing = 3 * np.mean(error[day - 21 : day - 1] ** 2)
        assert fit.trailing[day, 0] == pytest.approx(trailing, rel=1e-4)
        if day == days[0]:
            np.testing.assert_allclose(match.weights[0], w, atol=1e-6)
    assert np.isfinite(fit.car).sum() == match.fits == 3
    assert match.gap <= 1e-8


def test_nearest_donors_equal_a_choice_and_a_regression_by_hand() -> None:
    draw = np.random.default_rng(5)
    market, theme = draw.normal(0, 0.01, 400), draw.normal(0, 0.01, 400)
    donors = np.outer(market, draw.uniform(0.5, 1.5, 40)) + draw.normal(0, 0.01, (400, 40))
    donors[:, [3, 9, 17, 28, 31]] += theme[:, None]
    returns = (1.2 * market + theme + draw.normal(0, 0.005, 400))[:, None]
    masked = draw.random(400) < 0.03
    days = np.array([310])
    fit, match = MATCHED(returns, donors, market, masked, days=days, method="nearest")
    assert np.flatnonzero(match.weights[0]).tolist() == [3, 9, 17, 28, 31]
    rows, path = _by_hand(310, masked, []), donors[:, [3, 9, 17, 28, 31]].mean(axis=1)
    ols = sm.OLS(returns[rows, 0], sm.add_constant(path[rows])).fit()
    x = sm.add_constant(path)[309:312]
    total = x.sum(axis=0)
    assert fit.car[310, 0] == pytest.approx((returns[309:312, 0] - x @ ols.params).sum(), abs=1e-12)
    spread = ols.mse_resid * (3 + total @ ols.normalized_cov_params @ total)
    assert fit.variance[310, 0] == pytest.approx(spread, rel=1e-8)


def test_a_day_without_all_donors_is_not_used() -> None:
    draw = np.random.default_rng(6)
    donors, market = draw.normal(0, 0.01, (400, 5)), draw.normal(0, 0.01, 400)
    returns = donors.mean(axis=1)[:, None] + draw.normal(0, 0.001, (400, 1))
    donors[[250, 320], 2] = np.nan
    days = np.array([300, 320, 350])
    fit, _ = MATCHED(returns, donors, market, np.zeros(400, bool), days=days)
    assert fit.n_obs[300, 0] == 249
    assert np.isnan(fit.car[320, 0])
    assert np.isfinite(fit.car[[300, 350], 0]).all()


# --- truth -----------------------------------------------------------------------------------


def test_every_counterfactual_recovers_a_planted_effect(spec: Spec) -> None:
    market, total = _planted(spec, 11)
    rows = _found(spec, market, _outsiders(market, 1))
    computed = [row for row in rows if not row["reason"]]
    assert len(computed) == 7
    for row in computed:
        assert row["low"] < total < row["high"], row["model"]
        assert row["low"] > 0, row["model"]
        assert row["p"] < 0.02, row["model"]
    assert rows[CONVEX]["fit"] != POOR
    assert rows[CONVEX]["gap"] <= 1e-8


def test_a_sector_unlike_any_donor_is_reported_as_a_poor_fit(spec: Spec) -> None:
    market = simulated_market(spec, seed=12, first=FIRST)
    far = _outsiders(market, 2, count=8, beta=-1.0)  # they fall when the market rises
    found = counterfactuals(sample(spec, market), SECTOR, donors=far)
    row, rule = _rows(found)[CONVEX], _rows(found)[RULE]
    assert row["fit"] == POOR
    assert row["rmse"] > 1.5 * rule["rmse"]
    assert row["r2"] < 0
    assert row["high"] - row["low"] > 1.5 * (rule["high"] - rule["low"])
    assert "fits poorly" in plot_counterfactuals(found).alt
    assert POOR in set(laid_out("counterfactuals", found)["Fit"])


def test_a_factor_that_moves_on_the_day_is_no_effect_to_those_who_carry_it(spec: Spec) -> None:
    plain = simulated_market(spec, seed=13, first=FIRST)
    style = np.random.default_rng(3).normal(0, 0.008, len(plain.dates))
    style[[leg.day0 for leg in event_legs(sample(spec, plain), SECTOR)]] = 0.04
    moved = plain.returns.copy()
    moved[[firm.ticker for firm in spec.members(SECTOR)]] += style[:, None]
    market = replace(plain, returns=moved)
    outside = _outsiders(market, 4)
    carried = outside.returns.copy()
    carried.iloc[:, ::2] += np.outer(style, np.linspace(0.5, 1.5, 10))
    rows = _found(spec, market, replace(outside, returns=carried))
    assert rows[RULE]["p"] < 0.02
    for k in (NEAR, CONVEX):
        assert rows[k]["p"] > 0.10, rows[k]["model"]
        assert rows[k]["fit"] == "closer than the rule's model"


def test_a_market_that_holds_the_sector_hides_part_of_the_effect(spec: Spec) -> None:
    plain, total = _planted(spec, 14)
    firms = [firm.ticker for firm in spec.members(SECTOR)]
    half = 0.5 * plain.returns[BENCHMARK] + 0.5 * plain.returns[firms].mean(axis=1)
    market = replace(plain, returns=plain.returns.assign(**{BENCHMARK: half}))
    rows = _found(spec, market, _outsiders(plain, 5))
    assert rows[RULE]["effect"] < 0.6 * total
    for k in (OTHERS, OUTSIDE, CONVEX):
        assert rows[k]["effect"] == pytest.approx(total, abs=0.25 * total), rows[k]["model"]


@pytest.mark.soak
def test_on_quiet_dates_synthetic_control_rejects_about_as_often_as_it_should() -> None:
    short = Estimation(sessions=60, ends_before=21, minimum=50)
    rule = Rule(estimation=short, least_shifts=20, guard_sessions=20)
    rejected, runs = 0, 80
    for seed in range(runs):
        draw = np.random.default_rng(seed)
        market = draw.standard_t(4, 330) * 0.007
        donors = np.outer(market, draw.uniform(0.5, 1.5, 10)) + draw.normal(0, 0.01, (330, 10))
        y = market[:, None] + draw.standard_t(4, (330, 1)) * 0.006
        legs = [Leg("a", "s", 200, (-1, 1), 1), Leg("b", "s", 225, (-1, 1), -1)]
        masked = np.zeros(330, bool)
        masked[[199, 200, 201, 224, 225, 226]] = True

        def expected(
            returns: Floats, masked: Any, donors: Floats = donors, m: Floats = market, **plan: Any
        ) -> Forecast:
            return matched_forecast(returns, donors, m, masked, **plan)[0]

        design = expected_return_design("market", {"market": market})
        series = pd.DataFrame(y, columns=["s"])
        law = placebo_law({"g": legs}, series, design, masked, rule, forecast=expected)
        rejected += bool(law.p[0] <= 0.10)
    # Bounds of the binomial law at level 0.10, two-sided at about one in a thousand.
    assert 1 <= rejected <= 18


# --- rows ------------------------------------------------------------------------------------


def test_the_first_row_is_the_rule(bundled: Study, shipped: Counterfactuals) -> None:
    law = sector_law(bundled.data, SECTOR)
    row = _rows(shipped)[RULE]
    assert (row["effect"], row["p"], row["shifts"]) == (law.effect[0], law.p[0], len(law))
    assert row["low"] < row["effect"] - float(law.center[0] * law.error[0]) < row["high"]


def test_an_interval_leaves_out_zero_exactly_when_its_p_is_at_most_alpha(
    shipped: Counterfactuals, spec: Spec
) -> None:
    for row in [row for row in _rows(shipped) if not row["reason"]]:
        assert (row["low"] > 0 or row["high"] < 0) == (row["p"] <= spec.rule.alpha)


def test_weights_are_those_of_the_real_dates_and_sum_to_one(shipped: Counterfactuals) -> None:
    total = shipped.weights.groupby(["model", "event"])["weight"].sum()
    np.testing.assert_allclose(total, 1.0, atol=1e-9)
    assert len(total) == 2 * shipped.weights["event"].nunique()
    assert len(total) == len(laid_out("donors", shipped))


def test_a_row_that_cannot_be_computed_says_why_and_is_listed(shipped: Counterfactuals) -> None:
    empty = [row for row in _rows(shipped) if row["reason"]]
    assert len(empty) == 3
    listed = {item.name for item in shipped.dropped if item.what == "counterfactual"}
    assert listed == {f"{SECTOR}: {row['model']}" for row in empty}
    alt = plot_counterfactuals(shipped).alt
    for row in empty:
        assert "--factors FILE" in row["reason"]
        assert np.isnan([row[name] for name in ("effect", "low", "high", "p")]).all()
        assert f"{row['model']}: not computed" in alt


def test_without_donors_three_rows_say_what_to_give(spec: Spec) -> None:
    market = simulated_market(spec, seed=1, first=FIRST)
    found = counterfactuals(sample(spec, market), SECTOR, donors=load_donors(spec, market))
    assert sum("--donors FILE" in row["reason"] for row in _rows(found)) == 3
    assert found.weights.empty
    assert laid_out("donors", found).empty


def test_factor_rows_are_regressions_on_returns_over_the_riskless_rate(bundled: Study) -> None:
    data, market = bundled.data, bundled.data.market
    draw = np.random.default_rng(8)
    names = ["smb3", "hml", "mom"]
    table = pd.DataFrame(draw.normal(0, 0.005, (len(market.dates), 3)), market.dates, names)
    table["mkt_rf"] = market.returns[BENCHMARK] - 0.0002
    table["rf"] = 0.0002 * draw.uniform(0, 2, len(table))
    table.iloc[-40:] = np.nan
    found = counterfactuals(data, SECTOR, factors=Factors(table, "drawn"))
    rows = {row["model"]: row for row in _rows(found)}
    assert rows["Fama-French five factors"]["reason"] == "drawn has no column smb5, rmw, cma"
    for model, columns in (
        ("Fama-French three factors", ["mkt_rf", "smb3", "hml"]),
        ("Carhart four factors", ["mkt_rf", "smb3", "hml", "mom"]),
    ):
        legs, total = event_legs(data, SECTOR), 0.0
        for leg in legs:
            y = data.portfolios.returns[leg.series] - table["rf"]
            span = np.arange(leg.day0 - 271, leg.day0 - 21)
            X = sm.add_constant(table[columns])
            use = span[~data.panel.masked[span]]
            fit = sm.OLS(y.iloc[use], X.iloc[use]).fit()
            inside = slice(leg.day0 - 1, leg.day0 + 2)
            total += leg.sign * float((y.iloc[inside] - fit.predict(X.iloc[inside])).sum())
        assert rows[model]["effect"] == pytest.approx(total, abs=1e-12)


def test_a_sector_that_is_not_there_is_named(bundled: Study) -> None:
    with pytest.raises(InputError, match="did you mean 'mining_metals'"):
        counterfactuals(bundled.data, "mining_metal")

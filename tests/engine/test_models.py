"""Forecasts agree with an independent R implementation and with statsmodels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import statsmodels.api as sm

from usjp_research.engine.battery.parametric import portfolio_t
from usjp_research.engine.design import expected_return_design
from usjp_research.engine.rolling import Forecast, rolling_forecast
from usjp_research.spec.records import Estimation

GOLDEN = Path(__file__).parents[1] / "golden"
DAY0 = 290
Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def panel() -> pd.DataFrame:
    return pd.read_csv(GOLDEN / "sim_returns.csv", index_col="date")


def _fit(
    returns: Floats, market: Floats, window: tuple[int, int], model: str = "market"
) -> Forecast:
    # The golden estimation days are -260..-11 whatever the window.
    estimation = Estimation(sessions=250, ends_before=11 + window[0], minimum=200)
    masked = np.zeros(len(market), dtype=bool)
    design = expected_return_design(model, {"market": market})
    return rolling_forecast(returns, design, masked, window=window, estimation=estimation)


def _market(returns: Floats, market: Floats, masked: npt.NDArray[np.bool_], **how: Any) -> Forecast:
    design = expected_return_design("market", {"market": market})
    return rolling_forecast(returns, design, masked, estimation=Estimation(), **how)


@pytest.mark.parametrize("window", [(0, 0), (0, 1), (-1, 1), (0, 5), (-5, 5)])
def test_firm_level_fit_and_full_forecast_error_match_r(
    panel: pd.DataFrame, window: tuple[int, int]
) -> None:
    want = pd.read_csv(GOLDEN / "reference_firms_A.csv")
    fit = _fit(panel[want["firm"]].to_numpy(), panel["MKT"].to_numpy(), window)
    key = f"[{window[0]};{window[1]}]"
    sigma, error = np.sqrt(fit.residual_variance), np.sqrt(fit.variance)
    names = ("alpha", "beta", "sigma", f"CAR{key}", f"se{key}")
    found = (fit.coefficients[..., 0], fit.beta, sigma, fit.car, error)
    for name, values in zip(names, found, strict=True):
        np.testing.assert_allclose(values[DAY0], want[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("group", ["A", "F", "ALL36"])
@pytest.mark.parametrize("window", [(0, 0), (-1, 1), (-5, 5)])
@pytest.mark.parametrize(("model", "ours"), [("mm", "market"), ("mktadj", "market_adjusted")])
def test_portfolio_t_matches_r(
    panel: pd.DataFrame, group: str, window: tuple[int, int], model: str, ours: str
) -> None:
    reference = json.loads((GOLDEN / "reference.json").read_text())
    want = reference[f"{model}|{group}"][f"[{window[0]};{window[1]}]"]
    firms = pd.read_csv(GOLDEN / "sim_firms.csv")
    inside = firms[firms["treated"] & ((firms["sector"] == group) | (group == "ALL36"))]["firm"]
    mean = panel[list(inside)].mean(axis=1).to_numpy()[:, None]
    fit = _fit(mean, panel["MKT"].to_numpy(), window, ours)
    df = int(fit.n_obs[DAY0, 0]) - fit.parameters
    test = portfolio_t(float(fit.car[DAY0, 0]), float(fit.variance[DAY0, 0]), df)
    assert fit.car[DAY0, 0] == pytest.approx(want["caar"], rel=1e-9)
    assert test.statistic == pytest.approx(want["portfolio_t"], rel=1e-9)
    assert df == want["portfolio_df"]
    assert test.p == pytest.approx(want["portfolio_p"], rel=1e-9)


def test_rolling_sums_equal_a_refit_by_statsmodels_with_masks_and_gaps() -> None:
    draw = np.random.default_rng(3)
    market = draw.normal(0.0004, 0.01, 500)
    returns = np.outer(market, [0.5, 1.0, 1.6]) + draw.normal(0, 0.02, (500, 3))
    returns[draw.random((500, 3)) < 0.03] = np.nan
    masked = draw.random(500) < 0.05
    window = (-1, 2)
    fit = _market(returns, market, masked, window=window)
    checked = 0
    for day in range(280, 495, 7):
        span = np.arange(day - 271, day - 21)
        for k in range(3):
            inside = returns[day - 1 : day + 3, k]
            use = span[np.isfinite(returns[span, k]) & ~masked[span]]
            if not np.isfinite(inside).all() or len(use) < 200:
                assert np.isnan(fit.car[day, k])
                continue
            ols = sm.OLS(returns[use, k], sm.add_constant(market[use])).fit()
            x = np.column_stack([np.ones(4), market[day - 1 : day + 3]])
            ones = np.ones(4)
            spread = ols.mse_resid * (4 + ones @ x @ ols.normalized_cov_params @ x.T @ ones)
            assert fit.car[day, k] == pytest.approx((inside - x @ ols.params).sum(), abs=1e-12)
            assert fit.variance[day, k] == pytest.approx(spread, rel=1e-9)
            before = np.arange(day - 21, day - 1)
            before = before[np.isfinite(returns[before, k])]
            error = returns[before, k] - ols.params[0] - ols.params[1] * market[before]
            assert fit.trailing[day, k] == pytest.approx(4 * np.mean(error**2), rel=1e-9)
            checked += 1
    assert checked > 60


def test_scholes_williams_is_their_formula_with_its_prediction_error() -> None:
    draw = np.random.default_rng(15)
    true = draw.normal(0, 0.01, 500)
    market = true.copy()
    market[1:] += 0.3 * true[:-1]
    thin = 0.4 * true + 0.6 * np.r_[0.0, true[:-1]] + draw.normal(0, 0.01, 500)
    masked = draw.random(500) < 0.03
    design = expected_return_design("scholes_williams", {"market": market})
    fit = rolling_forecast(thin[:, None], design, masked, estimation=Estimation())
    for day in (300, 377, 498):
        span = np.arange(day - 271, day - 21)
        use = span[~masked[span]]

        early, late, m = np.roll(market, 1), np.roll(market, -1), market[use] - market[use].mean()
        slopes = [(x[use] - x[use].mean()) @ thin[use] / (m @ m) for x in (early, market, late)]
        rho = sum(x[use] @ m / (m @ m) for x in (early, late)) / 2
        beta = sum(slopes) / (1 + 2 * rho)
        alpha = thin[use].mean() - beta * market[use].mean()
        assert fit.beta[day, 0] == pytest.approx(beta, rel=1e-9)
        assert fit.coefficients[day, 0, 0] == pytest.approx(alpha, abs=1e-12)
        inside = slice(day - 1, day + 2)
        error = thin - alpha - beta * market
        assert fit.car[day, 0] == pytest.approx(error[inside].sum(), abs=1e-12)
        # As the forecast is linear in the returns, its variance is the sum of squared weights.
        weights = np.zeros(500)
        weights[inside] = 1.0
        z = early + market + late
        z = z[use] - z[use].mean()
        ahead = market[inside].sum() - 3 * market[use].mean()
        weights[use] -= 3 / len(use) + ahead * z / (z @ m)
        assert weights @ thin == pytest.approx(fit.car[day, 0], abs=1e-12)
        s2 = (error[use] ** 2).sum() / (len(use) - 2)
        assert fit.variance[day, 0] == pytest.approx(s2 * (weights @ weights), rel=1e-9)


def test_scholes_williams_finds_the_beta_of_a_share_that_trades_late() -> None:
    draw = np.random.default_rng(16)
    market = draw.normal(0, 0.01, 3000)
    late = 0.4 * market + 0.6 * np.r_[0.0, market[:-1]] + draw.normal(0, 0.005, 3000)
    days = Estimation(sessions=2500)
    for model, beta in (("market", 0.4), ("scholes_williams", 1.0)):
        design = expected_return_design(model, {"market": market})
        fit = rolling_forecast(late[:, None], design, np.zeros(3000, bool), estimation=days)
        assert fit.beta[2900, 0] == pytest.approx(beta, abs=0.05)


def test_a_moving_mask_leaves_the_same_gaps_at_every_day() -> None:
    draw = np.random.default_rng(6)
    market = draw.normal(0, 0.01, 420)
    returns = market[:, None] + draw.normal(0, 0.02, (420, 1))
    masked = draw.random(420) < 0.03
    moving = [-250, -120, -119, -22, -5, 3]
    fit = _market(returns, market, masked, moving_mask=moving)
    for day in (280, 333, 410):
        at_day = masked.copy()
        at_day[[day + k for k in moving]] = True
        alone = _market(returns, market, at_day)
        assert fit.n_obs[day, 0] == alone.n_obs[day, 0]
        assert fit.car[day, 0] == pytest.approx(alone.car[day, 0], abs=1e-14)
        assert fit.variance[day, 0] == pytest.approx(alone.variance[day, 0], rel=1e-10)
        assert fit.trailing[day, 0] == pytest.approx(alone.trailing[day, 0], rel=1e-10)


def test_the_guard_takes_the_larger_variance() -> None:
    draw = np.random.default_rng(4)
    market = draw.normal(0, 0.01, 400)
    calm = draw.normal(0, 0.01, 400)
    calm[320:360] *= 4
    fit = _market(calm[:, None], market, np.zeros(400, bool))
    assert fit.guarded[345, 0] == fit.trailing[345, 0] > fit.variance[345, 0]
    assert fit.guarded[310, 0] == max(fit.trailing[310, 0], fit.variance[310, 0])


def test_inputs_are_not_changed_and_early_days_are_not_shortened() -> None:
    draw = np.random.default_rng(5)
    market, returns = draw.normal(0, 0.01, 300), draw.normal(0, 0.01, (300, 2))
    copies = market.copy(), returns.copy()
    fit = _market(returns, market, np.zeros(300, bool))
    np.testing.assert_array_equal(market, copies[0])
    np.testing.assert_array_equal(returns, copies[1])
    assert np.isnan(fit.car[:271]).all()
    assert np.isfinite(fit.car[271:299]).all()
    assert np.isnan(fit.car[299]).all()


def test_a_test_that_cannot_be_computed_is_a_value_with_its_reason() -> None:
    test = portfolio_t(float("nan"), 0.1, 100)
    assert np.isnan(test.p)
    assert "no complete window" in test.reason
    assert "not computed" in str(test)

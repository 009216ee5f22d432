"""Simplex least squares: optimal by its own certificate, by other solvers and by brute force."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, nnls

from usjp_research.engine.simplex import SyntheticFit, synthetic_control
from usjp_research.words import InputError

Floats = npt.NDArray[np.float64]


def _returns(days: int, donors: int, seed: int, targets: int = 1) -> tuple[Floats, Floats]:
    """Draw returns with five factors: first those of the targets, then those of the donors."""
    draw = np.random.default_rng(seed)
    factors = draw.normal(0, 0.008, (days, 5))
    R = factors @ draw.normal(0.5, 0.5, (5, donors)) + draw.normal(0, 0.01, (days, donors))
    Y = factors @ draw.normal(0.5, 0.3, (5, targets)) + draw.normal(0, 0.004, (days, targets))
    return Y, R


def _check(fit: SyntheticFit, y: Floats, R: Floats, relative: float = 1e-8) -> None:
    """Check feasibility, the reported gap and error, and the conditions of optimality."""
    w = fit.weights
    assert (w >= 0).all()
    assert w.sum() == pytest.approx(1, abs=1e-12)
    assert fit.support.tolist() == np.flatnonzero(w).tolist()
    residual = R @ w - y
    gradient = R.T @ residual
    scale = max(float(y @ y), float((R**2).sum(axis=0).max()))
    gap = float(w @ gradient - gradient.min())
    assert fit.gap == pytest.approx(gap, abs=1e-13 * scale)
    error = float(np.sqrt(np.mean(residual**2)))
    assert fit.rmse == pytest.approx(error, rel=1e-9, abs=1e-12 * float(np.sqrt(scale)))
    assert fit.relative_gap <= relative
    most = relative * max(float(residual @ residual), 1e-6 * scale) + 1e-13 * scale
    assert (gradient >= w @ gradient - most).all()
    assert np.abs(gradient[fit.support] - w @ gradient).max() <= 1e6 * most


def _half_square(w: Floats, y: Floats, R: Floats) -> float:
    return 0.5 * float(((R @ w - y) ** 2).sum())


@pytest.mark.parametrize("seed", range(3))
def test_the_fit_is_that_of_two_generic_solvers(seed: int) -> None:
    Y, R = _returns(120, 25, seed)
    y = Y[:, 0]
    fit = synthetic_control(y, R)
    _check(fit, y, R)
    by_nnls, _ = nnls(np.vstack([R, np.full(25, 1e4)]), np.append(y, 1e4))
    np.testing.assert_allclose(fit.weights, by_nnls, atol=1e-6)
    by_slsqp = minimize(
        lambda w: 1e4 * _half_square(w, y, R),
        np.full(25, 1 / 25),
        jac=lambda w: 1e4 * R.T @ (R @ w - y),
        bounds=[(0, 1)] * 25,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    np.testing.assert_allclose(fit.weights, by_slsqp.x, atol=1e-4)
    # SLSQP's weights sum to one to about 1e-12 only, which can be a gain of that size.
    assert _half_square(fit.weights, y, R) <= _half_square(by_slsqp.x, y, R) * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_on_small_problems_no_set_of_donors_does_better(seed: int) -> None:
    draw = np.random.default_rng(seed)
    days, donors = int(draw.integers(2, 6)), int(draw.integers(1, 7))
    y, R = draw.normal(size=days), draw.normal(size=(days, donors))
    best = np.inf
    for size in range(1, donors + 1):
        for chosen in itertools.combinations(range(donors), size):
            A = R[:, chosen]
            system = np.ones((size + 1, size + 1))
            system[:size, :size], system[-1, -1] = A.T @ A, 0.0
            w = np.linalg.lstsq(system, np.append(A.T @ y, 1.0), rcond=None)[0][:size]
            if (w >= -1e-12).all() and abs(w.sum() - 1) < 1e-9:
                best = min(best, _half_square(w, y, A))
    fit = synthetic_control(y, R)
    _check(fit, y, R)
    assert _half_square(fit.weights, y, R) == pytest.approx(best, rel=1e-9, abs=1e-15)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    days=st.integers(1, 40),
    donors=st.integers(1, 60),
    copies=st.integers(0, 3),
    size=st.sampled_from([1e-6, 0.01, 1.0, 1e5]),
)
def test_every_fit_is_feasible_and_meets_the_conditions_of_optimality(
    seed: int, days: int, donors: int, copies: int, size: float
) -> None:
    draw = np.random.default_rng(seed)
    R = size * draw.normal(size=(days, donors))
    R = np.hstack([R, *(R[:, : donors // 2 + 1] for _ in range(copies))])
    y = size * draw.normal(0.2, 1.0, days)
    _check(synthetic_control(y, R), y, R)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), days=st.integers(2, 50), donors=st.integers(2, 40))
def test_the_order_of_the_donors_does_not_matter(seed: int, days: int, donors: int) -> None:
    draw = np.random.default_rng(seed)
    y, R = draw.normal(size=days), draw.normal(size=(days, donors))
    order = draw.permutation(donors)
    fit, other = synthetic_control(y, R), synthetic_control(y, R[:, order])
    np.testing.assert_allclose(R @ fit.weights, R[:, order] @ other.weights, atol=1e-5)
    if days > donors and fit.rmse > 1e-6:
        np.testing.assert_allclose(fit.weights[order], other.weights, atol=1e-6)


def test_a_target_inside_the_hull_is_matched_exactly() -> None:
    _, R = _returns(100, 30, 1)
    w = np.zeros(30)
    w[[3, 11, 20]] = 0.2, 0.5, 0.3
    fit = synthetic_control(R @ w, R)
    np.testing.assert_allclose(fit.weights, w, atol=1e-9)
    assert fit.gap < 1e-15
    assert fit.relative_gap <= 1e-8
    assert fit.rmse < 1e-10


def test_more_donors_than_days_and_a_target_inside_their_hull() -> None:
    draw = np.random.default_rng(2)
    R = draw.normal(size=(20, 300))
    y = R @ draw.dirichlet(np.ones(300))
    fit = synthetic_control(y, R)
    _check(fit, y, R)
    assert fit.rmse < 1e-6
    assert len(fit.support) <= 21


def test_one_donor_has_all_the_weight_and_still_returns_are_matched_exactly() -> None:
    Y, R = _returns(50, 1, 3)
    fit = synthetic_control(Y[:, 0], R)
    assert (fit.weights.tolist(), fit.gap, fit.relative_gap) == ([1.0], 0.0, 0.0)
    fit = synthetic_control(np.zeros(10), np.zeros((10, 3)))
    assert (fit.gap, fit.relative_gap, fit.rmse) == (0.0, 0.0, 0.0)


def test_equal_donors_share_one_path_and_only_one_is_used() -> None:
    Y, R = _returns(60, 8, 4)
    y, twice = Y[:, 0], np.hstack([R, R, R])
    fit, alone = synthetic_control(y, twice), synthetic_control(y, R)
    _check(fit, y, twice)
    np.testing.assert_allclose(twice @ fit.weights, R @ alone.weights, atol=1e-9)
    assert len(fit.support) == len(alone.support)
    assert len({int(j) % 8 for j in fit.support}) == len(fit.support)


@pytest.mark.parametrize("seed", range(12))
def test_many_copies_of_donors_do_not_stop_the_search(seed: int) -> None:
    draw = np.random.default_rng(1243 + seed)
    R = draw.normal(size=(26, 44))
    R = np.hstack([R, R[:, :23], R[:, :23], R[:, :23]])
    y = draw.normal(0.2, 1.0, 26)
    for start in (None, np.full(R.shape[1], 1 / R.shape[1])):
        _check(synthetic_control(y, R, start=start), y, R)


def test_a_start_changes_the_work_and_not_the_weights() -> None:
    Y, R = _returns(200, 80, 5, targets=2)
    copies = Y.copy(), R.copy()
    cold = synthetic_control(Y[:, 0], R)
    near = synthetic_control(Y[1:, 0], R[1:])
    for start in (near.weights, np.full(80, 1 / 80), np.eye(80)[7], np.zeros(80)):
        warm = synthetic_control(Y[:, 0], R, start=start)
        _check(warm, Y[:, 0], R)
        np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-9)
    np.testing.assert_array_equal(Y, copies[0])
    np.testing.assert_array_equal(R, copies[1])


def test_memory_beyond_the_donors_is_a_fraction_of_them() -> None:
    Y, R = _returns(250, 4000, 8)
    tracemalloc.start()
    fit = synthetic_control(Y[:, 0], R)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fit.relative_gap <= 1e-8
    assert peak < 0.5 * R.nbytes  # the Gram matrix alone would take sixteen times the donors


def test_missing_returns_and_wrong_shapes_are_refused() -> None:
    Y, R = _returns(30, 4, 10)
    y, hole, gap = Y[:, 0], R.copy(), Y[:, 0].copy()
    hole[5, 2], gap[3] = np.nan, np.inf
    for target, donors, words in (
        (y, hole, "donor 2: no return on day 5; leave the day or the donor"),
        (gap, R, "target 0: no return on day 3"),
        (y[:-1], R, "expected 30 days"),
        (y, R[:, :0], "expected days times donors"),
        (y[:0], R[:0], "expected days times donors"),
    ):
        with pytest.raises(InputError, match=words):
            synthetic_control(target, donors)

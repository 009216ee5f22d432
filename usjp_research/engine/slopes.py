"""The slope of returns on dose as a portfolio: its weights, its error, and its quiet-day law."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usjp_research.engine.design import Estimation
from usjp_research.engine.placebo import quantile
from usjp_research.engine.rolling import Forecast
from usjp_research.words import card, number, p_value

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

MOST_FACTORS = 20
LEAST_OWN = 0.05  # share of a firm's variance that stays its own: twin share classes have less


def ols_weights(present: Bools, dose: Floats, group: Ints) -> tuple[Floats, Floats]:
    """Partial group effects out of the dose on every day at once.

    Parameters
    ----------
    present : ndarray of shape (n_dates, n_firms), bool
        Who is in the cross-section of a date.
    dose : ndarray of shape (n_firms,)
    group : ndarray of shape (n_firms,), int
        The sector of each firm, from 0.

    Returns
    -------
    weights : ndarray of shape (n_dates, n_firms)
        Dose less the group's mean dose among the firms present; zero where absent.
    curvature : ndarray of shape (n_dates,)
        Sum of squares: the slope of y is ``(weights * y).sum() / curvature``.

    Examples
    --------
    >>> there = np.ones((1, 4), bool)
    >>> weights, curvature = ols_weights(there, np.array([1.0, 0, 0, 0]), np.array([0, 0, 1, 1]))
    >>> weights.tolist(), curvature.tolist()
    ([[0.5, -0.5, 0.0, 0.0]], [0.5])
    """
    inside = np.eye(int(group.max()) + 1)[group]
    there = present.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (there * dose) @ inside / (there @ inside)
    weights = there * (dose - np.nan_to_num(mean) @ inside.T)
    return weights, (weights**2).sum(axis=1)


@dataclass(frozen=True, slots=True)
class Factors:
    """Covariance of one date's firms: ``loadings @ loadings.T + diag(own)``.

    Attributes
    ----------
    firms : ndarray of shape (n_present,), int
        Columns of the returns that are in.
    loadings : ndarray of shape (n_present, n_factors)
    own : ndarray of shape (n_present,)
        Variances per day.
    """

    firms: Ints
    loadings: Floats
    own: Floats


def residual_factors(
    returns: Floats,
    benchmark: Floats,
    masked: Bools,
    fit: Forecast,
    dates: Ints,
    *,
    window: tuple[int, int],
    estimation: Estimation,
) -> dict[int, Factors]:
    """Estimate the covariance of market-model residuals before each date.

    Leading principal components of the correlation matrix of the estimation window's residuals,
    rolled per date. Their number is that of the eigenvalues above the upper edge
    ``(1 + sqrt(N / T))^2`` of what independent firms would show, at least one and at most
    twenty. Missing residuals count as zero; a firm keeps at least a twentieth of its variance
    for itself. The windows of real events are masked, so that no event shapes its own weights.

    Parameters
    ----------
    returns : ndarray of shape (n_days, n_firms)
    benchmark : ndarray of shape (n_days,)
    masked : ndarray of shape (n_days,), bool
    fit : Forecast
        Of these returns.
    dates : ndarray of int
        Days that are to be day 0.
    window, estimation
        As in `rolling_forecast`.

    Returns
    -------
    dict of int to Factors

    References
    ----------
    Marchenko and Pastur (1967), Mathematics of the USSR-Sbornik 1, 457-483; Cohn, Johnson, Liu
    and Wardlaw (2026), Journal of Financial Economics, for the use of leading components.
    """
    from scipy.linalg import eigh

    found: dict[int, Factors] = {}
    for date in dates.tolist():
        end = date + window[0] - estimation.ends_before + 1
        rows = np.arange(max(0, end - estimation.sessions), max(0, end))
        rows = rows[~masked[rows] & np.isfinite(benchmark[rows])]
        firms = np.flatnonzero(np.isfinite(fit.car[date]))
        if len(firms) < 2 or not len(rows):
            continue
        residual = returns[np.ix_(rows, firms)] - fit.alpha[date, firms]
        residual -= benchmark[rows, None] * fit.beta[date, firms]
        count = np.isfinite(residual).sum(axis=0)
        residual = np.nan_to_num(residual)
        length = np.sqrt((residual**2).sum(axis=0))
        variance = length**2 / count
        shape = residual / np.where(length > 0, length, 1.0)
        most = min(MOST_FACTORS, len(firms))
        top = (len(firms) - most, len(firms) - 1)
        sizes, vectors = eigh(
            shape.T @ shape, subset_by_index=top, overwrite_a=True, check_finite=False
        )
        edge = (1 + math.sqrt(len(firms) / len(rows))) ** 2
        used = max(1, int((sizes > edge).sum()))
        common = vectors[:, -used:] * np.sqrt(np.maximum(sizes[-used:], 0.0))
        own = np.maximum(1 - (common**2).sum(axis=1), LEAST_OWN)
        found[date] = Factors(firms, common * np.sqrt(variance)[:, None], own * variance)
    return found


def gls_weights(
    present: Bools, dose: Floats, group: Ints, factors: Sequence[Factors], firms: Ints
) -> tuple[Floats, Floats]:
    """Partial group effects out of the dose under each date's own covariance.

    Parameters
    ----------
    present, dose, group
        As in `ols_weights`.
    factors : sequence of Factors
        One per date.
    firms : ndarray of shape (n_firms,), int
        Which columns of the returns these firms are.

    Returns
    -------
    weights : ndarray of shape (n_dates, n_firms)
        ``M dose`` with ``M = W - W S (S' W S)^-1 S' W``, W the inverse covariance and S the
        groups.
    curvature : ndarray of shape (n_dates,)
        ``dose' M dose``.
    """
    weights, curvature = np.zeros(present.shape), np.zeros(len(present))
    every = np.column_stack([dose, np.eye(int(group.max()) + 1)[group]])
    for k, (there, model) in enumerate(zip(present, factors, strict=True)):
        at = np.searchsorted(model.firms, firms[there])
        loadings, own = model.loadings[at], model.own[at]
        design = every[there]
        design = design[:, np.append(True, design[:, 1:].any(axis=0))]
        # Woodbury: the inverse of (loadings loadings' + diag(own)) without forming it.
        plain, scaled = design / own[:, None], loadings / own[:, None]
        inner = np.eye(loadings.shape[1]) + loadings.T @ scaled
        half = plain - scaled @ np.linalg.solve(inner, loadings.T @ plain)
        cross = design.T @ half
        line = half[:, 0] - half[:, 1:] @ np.linalg.solve(cross[1:, 1:], cross[1:, 0])
        weights[k, there] = line
        curvature[k] = line @ design[:, 0]
    return weights, curvature


def slope_variances(
    weights: Floats,
    returns: Floats,
    benchmark: Floats,
    usable: Bools,
    fit: Forecast,
    dates: Ints,
    *,
    window: tuple[int, int],
    estimation: Estimation,
    guard_sessions: int,
) -> Floats:
    """Compute the guarded variance of a weighted sum of abnormal returns, date by date.

    The sum is a portfolio. Its variance is the larger of its forecast-error variance and the
    length of the window times its mean squared abnormal return over the guard sessions, as for
    every portfolio of the study; but each date has weights of its own.

    Parameters
    ----------
    weights : ndarray of shape (n_dates, n_firms)
    returns : ndarray of shape (n_days, n_firms)
    benchmark : ndarray of shape (n_days,)
    usable : ndarray of shape (n_dates, n_days), bool
        Days that the estimation of a date may use.
    fit : Forecast
    dates : ndarray of shape (n_dates,), int
    window, estimation, guard_sessions
        As in `rolling_forecast`.

    Returns
    -------
    ndarray of shape (n_dates,)
    """
    known = np.isfinite(returns).astype(float)
    market = np.nan_to_num(benchmark)
    alpha, beta = np.nan_to_num(fit.alpha[dates]), np.nan_to_num(fit.beta[dates])
    paths = weights @ np.nan_to_num(returns).T  # (n_dates, n_days)
    paths -= (weights * alpha) @ known.T
    paths -= ((weights * beta) @ known.T) * market
    first, length = dates + window[0], window[1] - window[0] + 1

    def within(values: npt.NDArray[np.generic], start: Ints, size: int) -> npt.NDArray[np.generic]:
        place = np.clip(start[:, None] + np.arange(size), 0, len(benchmark) - 1)
        if values.ndim == 1:
            return np.asarray(values[place])
        return np.asarray(np.take_along_axis(values, place, axis=1))

    begin, size = first - estimation.ends_before - estimation.sessions + 1, estimation.sessions
    used = within(usable, begin, size).astype(float)
    path, moves = within(paths, begin, size), within(market, begin, size)
    n = used.sum(axis=1)
    mean = (used * moves).sum(axis=1) / n
    spread = (used * (moves - mean[:, None]) ** 2).sum(axis=1)
    ahead = within(market, first, length).sum(axis=1) - length * mean
    more = length**2 / n + ahead**2 / spread if fit.parameters else 0.0
    forecast = (used * path**2).sum(axis=1) / (n - fit.parameters) * (length + more)
    guard = within(paths, first - guard_sessions, guard_sessions)
    return np.asarray(np.maximum(forecast, length * (guard**2).mean(axis=1)))


@dataclass(frozen=True, slots=True)
class Prologue:
    """One number against the same number on quiet days.

    Attributes
    ----------
    center : float
        Mean over the quiet days.
    p_cdf : float
        Share of all dates, the event among them, that lie at least as far from it.
    t, df, p_t : float
        The event's distance over the prediction error of one more quiet day.
    low, high : float
        Interval by inversion: the observed number less what quiet days leave open.
    critical : float
        Distance that only the share alpha of quiet days exceeds.
    """

    center: float
    p_cdf: float
    t: float
    df: int
    p_t: float
    low: float
    high: float
    critical: float

    def _repr_html_(self) -> str:
        law = f"t({self.df}) {number(self.t, 2)}, p {p_value(self.p_t)}"
        return card("Against quiet days", "", f"p {p_value(self.p_cdf)}", law)


def prologue(observed: float, law: Floats, alpha: float) -> Prologue:
    """Compare an event's number with its law on quiet days ("Past is Prologue").

    Parameters
    ----------
    observed : float
    law : ndarray of shape (n_dates,)
        The same number on quiet days; neighbours may overlap.
    alpha : float

    Returns
    -------
    Prologue

    References
    ----------
    Cohn, Johnson, Liu and Wardlaw (2026), Journal of Financial Economics.

    Examples
    --------
    >>> found = prologue(3.0, np.array([-1.0, 0.0, 1.0, -4.0, 4.0]), 0.5)
    >>> found.p_cdf, round(found.t, 3), found.df
    (0.5, 0.939, 4)
    """
    from scipy import stats

    size = len(law)
    center, spread = float(law.mean()), float(law.std(ddof=1))
    distance = np.abs(law - center)
    beyond = int((distance >= abs(observed - center)).sum())
    t = (observed - center) / (spread * math.sqrt((size + 1) / size))
    critical = quantile(distance, alpha)
    return Prologue(
        center=center,
        p_cdf=(1 + beyond) / (size + 1),
        t=t,
        df=size - 1,
        p_t=float(2 * stats.t.sf(abs(t), size - 1)),
        low=observed - center - critical,
        high=observed - center + critical,
        critical=critical,
    )

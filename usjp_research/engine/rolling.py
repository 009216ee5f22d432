"""Expected returns and the forecast error of a window's cumulative abnormal return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from usjp_research.spec.records import Estimation
from usjp_research.words import InputError, card, percent

Floats = npt.NDArray[np.float64]
ModelName = Literal["market", "market_adjusted"]


@dataclass(frozen=True, slots=True)
class Forecast:
    """Cumulative abnormal returns and their variances, with day 0 at every trading day.

    All arrays have the shape (n_days, n_series); NaN where the estimation window holds too few
    usable days or the event window is not complete.

    Attributes
    ----------
    car : ndarray
        Sum of the abnormal returns over the event window, as a decimal.
    variance : ndarray
        Forecast-error variance of ``car``, with the covariance that the shared parameters give.
    trailing : ndarray
        Length of the window times the mean squared abnormal return of the guard sessions
        before it.
    alpha, beta, residual_variance : ndarray
        The fit; with several factors ``beta`` has a further axis, one slope per factor.
    n_obs : ndarray of int
        Usable days of the estimation window.
    """

    car: Floats
    variance: Floats
    trailing: Floats
    alpha: Floats
    beta: Floats
    residual_variance: Floats
    n_obs: npt.NDArray[np.int64]
    parameters: int

    @property
    def guarded(self) -> Floats:
        """The larger of forecast-error and trailing variance: the volatility guard."""
        return np.fmax(self.variance, self.trailing)

    def _repr_html_(self) -> str:
        days, series = self.car.shape
        known = float(np.isfinite(self.car).mean()) if self.car.size else 0.0
        return card(
            "Forecast",
            "",
            f"{series} series with day 0 at each of {days} days",
            f"{percent(known, 0, sign=False)} of them have a window and enough days before it",
        )


def rolling_forecast(
    returns: Floats,
    benchmark: Floats,
    masked: npt.NDArray[np.bool_],
    *,
    window: tuple[int, int] = (-1, 1),
    estimation: Estimation | None = None,
    model: ModelName = "market",
    guard_sessions: int = 20,
    moving_mask: Sequence[int] = (),
) -> Forecast:
    """Estimate the model before every trading day and forecast the window around it.

    Ordinary least squares on a constant and the benchmark over the estimation window, by
    cumulative sums: one pass serves every day, so that placebo calendars need no refit. The
    variance of the cumulative abnormal return is the full prediction-error variance
    ``s2 [L + L^2/T + (sum of (m - mean))^2 / Sxx]``; the market-adjusted model has no
    parameters and ``s2 L`` (METHODS section 0).

    Parameters
    ----------
    returns : ndarray of shape (n_days, n_series)
        Simple returns as decimals; NaN where missing, never filled.
    benchmark : ndarray of shape (n_days,)
        Returns of the market.
    masked : ndarray of shape (n_days,), bool
        Days that no estimation may use, such as windows of real events. They stay in event
        windows and in the guard.
    window : (int, int)
        Offsets of the event window, both ends included.
    estimation : Estimation
        Length, end and least number of usable days.
    model : {"market", "market_adjusted"}
        Ordinary least squares on the benchmark, or the benchmark itself.
    guard_sessions : int
        Trailing sessions of the volatility guard; at least half must have returns.
    moving_mask : sequence of int
        Offsets from day 0 that no estimation may use either, wherever day 0 is: the other
        windows of a calendar of events that is shifted as a whole.

    Returns
    -------
    Forecast

    References
    ----------
    MacKinlay (1997), Journal of Economic Literature 35, 13-39; Salinger (1992), Journal of
    Financial and Quantitative Analysis 27, 39-53, for the covariance of forecast errors.

    Examples
    --------
    >>> draw = np.random.default_rng(1)
    >>> market = draw.normal(0, 0.01, 400)
    >>> firm = 0.9 * market + draw.normal(0, 0.02, 400)
    >>> fit = rolling_forecast(firm[:, None], market, np.zeros(400, bool))
    >>> bool(abs(fit.beta[300, 0] - 0.9) < 0.3)
    True
    """
    estimation = estimation or Estimation()
    low, high = window
    length = high - low + 1
    n_days = len(returns)
    known = np.isfinite(returns) & np.isfinite(benchmark)[:, None]
    usable = known & ~masked[:, None]
    r = np.where(known, returns, 0.0)
    m = np.where(np.isfinite(benchmark), benchmark, 0.0)[:, None]

    end = np.arange(n_days) + low - estimation.ends_before
    start = end - estimation.sessions + 1

    def span(
        values: npt.NDArray[Any], first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]
    ) -> Floats:
        total = np.zeros((n_days + 1, values.shape[1]))
        np.cumsum(values, axis=0, out=total[1:])
        upper = np.clip(last + 1, 0, n_days)
        return total[upper] - total[np.clip(first, 0, upper)]

    holes = [k for k in moving_mask if low - estimation.ends_before - estimation.sessions < k]
    holes = [k for k in holes if k <= low - estimation.ends_before]

    def fitted(values: Floats) -> Floats:
        used = values * usable
        total = span(used, start, end)
        for k in holes:
            place = np.arange(n_days) + k
            total[place >= 0] -= used[place[place >= 0]]
        return total

    n = fitted(np.ones_like(m))
    sum_m, sum_r = fitted(m), fitted(r)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_m = sum_m / n
        s_mm = fitted(m * m) - sum_m * mean_m
        s_mr = fitted(m * r) - mean_m * sum_r
        s_rr = fitted(r * r) - sum_r * sum_r / n
        if model == "market":
            parameters = 2
            beta = s_mr / s_mm
            alpha = sum_r / n - beta * mean_m
            residual = np.maximum(s_rr - beta * s_mr, 0.0) / (n - 2)
        else:
            parameters = 0
            beta, alpha = np.ones_like(n), np.zeros_like(n)
            residual = fitted((r - m) ** 2) / n
        # Days whose estimation window starts before the data are out, not shortened.
        good = (n >= max(estimation.minimum, parameters + 1)) & (start >= 0)[:, None]

        first, last = np.arange(n_days) + low, np.arange(n_days) + high
        whole = span(known, first, last) == length
        whole &= ((first >= 0) & (last < n_days))[:, None]
        window_m = span(m, first, last)
        car = span(r, first, last) - length * alpha - beta * window_m
        spread = length**2 / n + (window_m - length * mean_m) ** 2 / s_mm
        variance = residual * (length + (spread if parameters else 0.0))

        before, until = first - guard_sessions, first - 1
        n_g = span(known, before, until)
        g_r, g_m = span(r * known, before, until), span(m * known, before, until)
        squares = (
            span(r * r * known, before, until)
            - 2 * alpha * g_r
            - 2 * beta * span(m * r * known, before, until)
            + n_g * alpha**2
            + 2 * alpha * beta * g_m
            + beta**2 * span(m * m * known, before, until)
        )
        trailing = np.where(n_g >= guard_sessions / 2, length * squares / n_g, np.nan)

    out = ~(good & whole)
    for values in (car, variance, trailing):
        values[out] = np.nan
    return Forecast(
        car=car,
        variance=variance,
        trailing=trailing,
        alpha=np.where(good, alpha, np.nan),
        beta=np.where(good, beta, np.nan),
        residual_variance=np.where(good, residual, np.nan),
        n_obs=np.rint(n).astype(np.int64),
        parameters=parameters,
    )


def rolling_regression(
    returns: Floats,
    factors: Floats,
    masked: npt.NDArray[np.bool_],
    *,
    window: tuple[int, int] = (-1, 1),
    estimation: Estimation | None = None,
    guard_sessions: int = 20,
    moving_mask: Sequence[int] = (),
) -> Forecast:
    """Regress on several factors before every trading day and forecast the window around it.

    The same days, masks, guard and full prediction-error variance as `rolling_forecast`, here
    ``s2 [L + 1'X_w (X'X)^-1 X_w'1]`` with ``s2 = SSR / (T - k)``, from cumulative
    cross-products of a constant and the factors.

    Parameters
    ----------
    returns : ndarray of shape (n_days, n_series)
        Simple returns as decimals, over the riskless rate where the factors are.
    factors : ndarray of shape (n_days, n_factors)
    masked, window, estimation, guard_sessions, moving_mask
        As for `rolling_forecast`.

    Returns
    -------
    Forecast
        With ``beta`` of shape (n_days, n_series, n_factors).

    References
    ----------
    Fama and French (1993, 2015), Journal of Financial Economics 33, 3-56 and 116, 1-22; Carhart
    (1997), Journal of Finance 52, 57-82.
    """
    estimation = estimation or Estimation()
    low, high = window
    length, n_days, k = high - low + 1, len(returns), factors.shape[1] + 1
    there = np.asarray(np.isfinite(factors).all(axis=1))
    known = np.isfinite(returns) & there[:, None]
    usable = known & ~masked[:, None]
    X = np.column_stack([np.ones(n_days), np.where(there[:, None], factors, 0.0)])
    r = np.where(known, returns, 0.0)
    square = X[:, :, None] * X[:, None, :]

    first = np.arange(n_days) + low
    end = first - estimation.ends_before
    start = end - estimation.sessions + 1
    holes = [h for h in moving_mask if low - estimation.ends_before - estimation.sessions < h]
    holes = [h for h in holes if h <= low - estimation.ends_before]

    def span(
        values: npt.NDArray[Any], begin: npt.NDArray[np.int64], last: npt.NDArray[np.int64]
    ) -> Floats:
        total = np.zeros((n_days + 1, *values.shape[1:]))
        np.cumsum(values, axis=0, out=total[1:])
        upper = np.clip(last + 1, 0, n_days)
        return np.asarray(total[upper] - total[np.clip(begin, 0, upper)])

    def fitted(values: npt.NDArray[Any]) -> Floats:
        total = span(values, start, end)
        for hole in holes:
            place = np.arange(n_days) + hole
            total[place >= 0] -= values[place[place >= 0]]
        return total

    n = np.rint(fitted(usable))
    sum_xx = fitted(usable[:, :, None, None] * square[:, None])
    sum_xr = fitted((usable * r)[:, :, None] * X[:, None])
    sum_rr = fitted(usable * r * r)
    good = (n >= max(estimation.minimum, k + 1)) & (start >= 0)[:, None]
    sum_xx[~good] = np.eye(k)
    try:
        inverse = np.linalg.inv(sum_xx)
    except np.linalg.LinAlgError:
        raise InputError("factors: two of them are the same on all days; leave one out") from None
    b = (inverse @ sum_xr[..., None])[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = np.maximum(sum_rr - (b * sum_xr).sum(axis=-1), 0.0) / (n - k)
        last = first + length - 1
        whole = np.rint(span(known, first, last)) == length
        whole &= ((first >= 0) & (last < n_days))[:, None]
        window_x = span(X, first, last)
        car = span(r, first, last) - np.einsum("dsk,dk->ds", b, window_x)
        spread = np.einsum("dk,dskl,dl->ds", window_x, inverse, window_x)
        before = (first - guard_sessions, first - 1)
        n_g = span(known, *before)
        g_xx = span(known[:, :, None, None] * square[:, None], *before)
        g_xr = span((known * r)[:, :, None] * X[:, None], *before)
        squares = span(known * r * r, *before) - 2 * (b * g_xr).sum(axis=-1)
        squares = np.maximum(squares + np.einsum("dsk,dskl,dsl->ds", b, g_xx, b), 0.0)
        trailing = np.where(n_g >= guard_sessions / 2, length * squares / n_g, np.nan)
    out = ~(good & whole)
    return Forecast(
        car=np.where(out, np.nan, car),
        variance=np.where(out, np.nan, residual * (length + spread)),
        trailing=np.where(out, np.nan, trailing),
        alpha=np.where(good, b[..., 0], np.nan),
        beta=np.where(good[..., None], b[..., 1:], np.nan),
        residual_variance=np.where(good, residual, np.nan),
        n_obs=n.astype(np.int64),
        parameters=k,
    )

"""The same windows on earlier dates: what portfolios do when nothing happens."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usjp_research.engine.battery.abnormal import (
    FREE,
    ROWS,
    AbnormalReturns,
    ReadSeries,
)
from usjp_research.engine.battery.catalogue import outcome
from usjp_research.engine.battery.inference import TestResult
from usjp_research.engine.battery.parametric import joint_statistic
from usjp_research.engine.rolling import inverse_gram, rolling_forecast

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
GUARD = 20  # days before a window that say how volatile it is about to be
NOISE = 1e-13
LEAST = 99  # dates, so that p can be as low as 0.01


@dataclass(frozen=True, slots=True)
class QuietLaw:
    """Guarded statistics of equal-weighted portfolios, on the event date and on earlier ones.

    Attributes
    ----------
    lines : ndarray of shape (n_sets, n_days)
        Returns of the portfolios.
    statistic, trailing : ndarray of shape (n_sets, n_windows)
        Cumulative abnormal return over its guarded error, and the standard deviation of the
        twenty days before the window over that of the estimation days.
    null : ndarray of shape (n_sets, n_dates, n_windows)
        NaN where a portfolio has no return.
    """

    lines: Floats
    statistic: Floats
    trailing: Floats
    null: Floats


@dataclass(frozen=True, slots=True)
class JointLaw:
    """F statistics on earlier dates, of zero effects and of equal ones: (n_dates, n_windows)."""

    zero: Floats
    equal: Floats


def portfolio_series(
    read: ReadSeries,
    series: Ints,
    members: Bools,
    n_days: int,
    *,
    chunk: int | None = None,
) -> Floats:
    """Average the returns of each set's firms, day by day over those that have one.

    Parameters
    ----------
    read, chunk
        As for `abnormal_returns`.
    series : ndarray of shape (N,), int
        One a row of ``members``, each once.
    members : ndarray of shape (N, n_sets), bool
    n_days : int

    Returns
    -------
    ndarray of shape (n_sets, n_days)
    """
    total, count = np.zeros((2, members.shape[1], n_days))
    weight = np.zeros((int(series.max()) + 1, members.shape[1]))
    weight[series] = members
    step = min(chunk or ROWS, ROWS)
    for low in range(0, len(weight), step):
        part = weight[low : low + step].T
        returns = read(low, min(low + step, len(weight)))
        known = np.isfinite(returns)
        if known.all():
            total += part @ returns
            count += part.sum(axis=1)[:, None]
        else:
            total += part @ np.where(known, returns, 0.0)
            count += part @ known
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def earlier_dates(fit: AbnormalReturns) -> Ints:
    """List the days before the event whose windows end before the event's begin.

    Their estimation days, and the days that guard against volatility, must lie in the data.
    """
    timing, day0 = fit.timing, int(fit.day0[0])
    first = max(-timing.estimation[0], GUARD - timing.hull[0])
    return np.arange(first, day0 + timing.hull[0] - timing.hull[1])


def quiet_law(lines: Floats, fit: AbnormalReturns) -> QuietLaw:
    """Compute the guarded statistic of every portfolio on the event date and on earlier ones.

    The estimation days move with the date. The statistic is the cumulative abnormal return over
    the root of the larger of forecast-error variance and length times the mean squared abnormal
    return of the twenty days before: without that guard, events in volatile times look real.

    Parameters
    ----------
    lines : ndarray of shape (n_sets, n_days)
        Returns of the portfolios.
    fit : AbnormalReturns
        Of the firms, with one event date: it gives model, days and windows.

    Returns
    -------
    QuietLaw

    References
    ----------
    Brown and Warner (1985), Journal of Financial Economics 14, 3-31.
    """
    timing, day0 = fit.timing, int(fit.day0[0])
    dates = earlier_dates(fit)
    dates = np.r_[day0, dates if len(dates) >= LEAST else dates[:0]]
    k, T = fit.design.parameters, timing.days
    estimation = _Days(T, -timing.estimation[1], k + FREE)
    masked = np.zeros(lines.shape[1], dtype=bool)
    statistic, trailing = np.full((2, len(lines), len(dates), len(timing.windows)), np.nan)
    for w, window in enumerate(timing.windows):
        if day0 + window[0] < GUARD:
            continue  # of the event date alone: earlier ones have their guard days
        made = rolling_forecast(
            lines.T,
            fit.design,
            masked,
            estimation=estimation,
            window=window,
            anchor=0,
            guard_sessions=GUARD,
        )
        # Sums of squares this small are what rounding leaves of a line that does not move.
        moves = made.residual_variance > NOISE * np.nan_to_num(lines**2).mean(axis=1)
        usual = np.where(moves, made.residual_variance, np.nan)
        guarded = np.where(moves, np.maximum(made.variance, made.trailing), np.nan)
        length = window[1] - window[0] + 1
        statistic[..., w] = (made.car / np.sqrt(guarded))[dates].T
        trailing[..., w] = np.sqrt(made.trailing / length / usual)[dates].T
    return QuietLaw(lines, statistic[:, 0], trailing[:, 0], statistic[:, 1:])


@dataclass(frozen=True, slots=True)
class _Days:
    """An estimation window, as `rolling_forecast` takes it."""

    sessions: int
    ends_before: int
    minimum: int


def placebo_test(law: QuietLaw, s: int, w: int) -> tuple[TestResult, int]:
    """Refer the guarded statistic to its own values on earlier dates.

    Trust it on a common date with 99 earlier dates or more, which share days and are worth
    about a third of their number.

    Returns
    -------
    TestResult
        ``placebo_t``, with ``p = (1 + #{|S_d - mean| >= |S_0 - mean|}) / (dates + 1)``.
    dates : int
    """
    null = law.null[s, :, w]
    null = null[np.isfinite(null)]
    real, n = float(law.statistic[s, w]), len(null)
    if n < LEAST:
        reason = f"{n} earlier dates without holes, {LEAST} needed"
        if law.null.shape[1] == 0:
            reason = f"fewer than {LEAST} earlier dates have their estimation days in the data"
        return outcome("placebo_t", reason=reason), n
    if math.isnan(real):
        return outcome("placebo_t", reason="the portfolio's window or its guard days have holes"), n
    centre = float(null.mean())
    p = (1 + int((np.abs(null - centre) >= abs(real - centre)).sum())) / (n + 1)
    return outcome("placebo_t", real, p=p, law=f"{n} earlier dates"), n


def joint_law(values: Floats, fit: AbnormalReturns, *, contrasts: bool = False) -> JointLaw | str:
    """Compute joint F statistics on earlier dates, or say why there are too few.

    Parameters
    ----------
    values : ndarray of shape (n, n_days)
        Returns of firms or of portfolios; a date with a hole is not used.
    fit : AbnormalReturns

    Returns
    -------
    JointLaw or str
    """
    dates = earlier_dates(fit)
    few = f"fewer than {LEAST} earlier dates have their estimation days in the data"
    if len(dates) < LEAST:
        return few
    timing, design = fit.timing, fit.design
    T, k = timing.days, design.parameters
    span = timing.hull[1] - timing.estimation[0] + 1
    hull = timing.hull[0] - timing.estimation[0]
    zero, equal = [], []
    for day in dates:
        days = slice(day + timing.estimation[0], day + timing.estimation[0] + span)
        y = values[:, days] - design.base[days]
        X = design.regressors[days]
        used = np.isfinite(design.base[days])
        needed = used.copy()
        needed[T:hull] = False
        needed[hull:] = True
        if not np.isfinite(y[:, needed]).all():
            continue
        y = np.where(np.isfinite(y), y, 0.0)
        x, z = X[:T][used[:T]], design.instruments[days][:T][used[:T]]
        inverse, bad = inverse_gram(z.T @ x)
        if bad:  # the regressors do not move there
            continue
        b = y[:, :T][:, used[:T]] @ z @ inverse.T
        e = y[:, :T][:, used[:T]] - b @ x.T
        ar = y[:, hull:] - b @ X[hull:].T
        total = np.array([X[hull:][timing.place(w)].sum(axis=0) for w in timing.windows])
        length = np.array([high - low + 1 for low, high in timing.windows])
        scale = length + ((total @ inverse @ z.T) ** 2).sum(axis=1)
        car = np.column_stack([ar[:, timing.place(w)].sum(axis=1) for w in timing.windows])
        free = len(x) - k
        zero.append(joint_statistic(car, e @ e.T, free, scale))
        if contrasts:
            equal.append(joint_statistic(car, e @ e.T, free, scale, equal=True))
    if len(zero) < LEAST:
        return f"{len(zero)} earlier dates without holes, {LEAST} needed"
    return JointLaw(np.array(zero), np.array(equal))


def upper_p(real: float, null: Floats) -> float:
    """Return the share of values at least as large, the real one counted among them."""
    return (1 + int((null >= real).sum())) / (len(null) + 1)

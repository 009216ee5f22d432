"""Firms or sectors tested jointly, and the same windows on earlier, quiet dates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from usjp_research.engine.battery.abnormal import FREE, ROWS, STILL, AbnormalReturns, ReadSeries
from usjp_research.engine.battery.catalogue import CROSS, SHAPE, Entry, TestResult, outcome, tests
from usjp_research.engine.design import Bools, Floats, Ints
from usjp_research.engine.placebo import placebo_p
from usjp_research.engine.rolling import inverse_gram, rolling_forecast

GUARD = 20  # days before a window that say how volatile it is about to be
NOISE = 1e-13
ROUNDING = 1e-24  # a sum of squares this many times smaller than what it is made of is rounding
LEAST = 99  # dates, so that p can be as low as 0.01
FEW = f"fewer than {LEAST} earlier dates have their estimation days in the data"
PAPERS = "Schipper and Thompson (1983); Binder (1985)"


@dataclass(frozen=True, slots=True)
class QuietLaw:
    """Guarded statistics of equal-weighted portfolios, on the event date and on earlier ones."""

    statistic: Floats  # (n_sets, n_windows)
    trailing: Floats  # volatility of the guard days over that of the estimation days, likewise
    null: Floats  # (n_sets, n_dates, n_windows), NaN where a portfolio has no return


class _Days(NamedTuple):  # an estimation window, as `rolling_forecast` takes it
    sessions: int
    ends_before: int
    minimum: int


def portfolio_series(
    read: ReadSeries, series: Ints, members: Bools, n_days: int, chunk: int | None
) -> Floats:
    """Average the returns of each set's firms by day over those that have one: (n_sets, n_days)."""
    total, count = np.zeros((2, members.shape[1], n_days))
    weight = np.zeros((int(series.max()) + 1, members.shape[1]))
    weight[series] = members
    step = min(chunk or ROWS, ROWS)
    for low in range(0, len(weight), step):
        part = weight[low : low + step].T
        returns = read(low, min(low + step, len(weight)))
        total += part @ np.nan_to_num(returns)
        count += part @ np.isfinite(returns)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def earlier_dates(fit: AbnormalReturns) -> Ints:
    """List earlier days whose windows end before the event's, with estimation and guard days."""
    timing, day0 = fit.timing, int(fit.day0[0])
    first = max(-timing.estimation[0], GUARD - timing.hull[0])
    return np.arange(first, day0 + timing.hull[0] - timing.hull[1])


def quiet_law(lines: Floats, fit: AbnormalReturns) -> QuietLaw:
    """Compute each portfolio's guarded statistic on the one event date and on earlier ones.

    The guard is the mean squared abnormal return of the days before (Brown and Warner 1985).
    """
    timing, day0, dates = fit.timing, int(fit.day0[0]), earlier_dates(fit)
    dates = np.r_[day0, dates if len(dates) >= LEAST else dates[:0]]
    estimation = _Days(timing.days, -timing.estimation[1], fit.design.parameters + FREE)
    masked = np.zeros(lines.shape[1], dtype=bool)
    statistic, trailing = np.full((2, len(lines), len(dates), len(timing.windows)), np.nan)
    for w, window in enumerate(timing.windows):
        if day0 + window[0] < GUARD:
            continue  # of the event date alone: earlier ones have their guard days
        how = {"estimation": estimation, "window": window, "anchor": 0, "guard_sessions": GUARD}
        made = rolling_forecast(lines.T, fit.design, masked, **how)  # type: ignore[arg-type]
        # Sums of squares this small are what rounding leaves of a line that does not move.
        moves = made.residual_variance > NOISE * np.nan_to_num(lines**2).mean(axis=1)
        usual = np.where(moves, made.residual_variance, np.nan)
        guarded = np.where(moves, np.maximum(made.variance, made.trailing), np.nan)
        statistic[..., w] = (made.car / np.sqrt(guarded))[dates].T
        trailing[..., w] = np.sqrt(made.trailing / (window[1] - window[0] + 1) / usual)[dates].T
    return QuietLaw(statistic[:, 0], trailing[:, 0], statistic[:, 1:])


@tests(
    Entry(2, "placebo_t", "the portfolio's abnormal return is one of those of earlier dates",
        "exact", (CROSS, SHAPE), "Brown and Warner (1985); docs/methods.md",
        "The second headline, where 99 earlier dates or more are there. The larger of forecast "
        "and trailing variance scales it, so volatility that began before the event is allowed "
        "for; against volatility that starts on the event day itself only adj_bmp_t helps.",
        role="headline"),
)  # fmt: skip
def placebo_test(law: QuietLaw, s: int, w: int) -> tuple[TestResult, int]:
    """Refer the guarded statistic to its values on earlier dates, and count these.

    The dates share days and are worth about a third of their number.
    """
    null, real = law.null[s, :, w], float(law.statistic[s, w])
    null = null[np.isfinite(null)]
    n, reason = len(null), ""
    if n < LEAST:
        reason = f"{n} earlier dates without holes, {LEAST} needed" if law.null.shape[1] else FEW
    elif math.isnan(real):
        reason = "the portfolio's window or its guard days have holes"
    if reason:
        return outcome("placebo_t", reason=reason), n
    centre = float(null.mean())
    p = float(placebo_p(np.abs(null - centre), abs(real - centre)))
    return outcome("placebo_t", real, p=p, law=f"{n} earlier dates"), n


@tests(
    Entry(10, "mvrm_F", "no firm has an abnormal return", "F", (CROSS,), PAPERS,
        "A joint question, for effects of either sign. Fat tails make it reject too often at any "
        "length of estimation: prefer its placebo p.", df_keys=("mvrm_df1", "mvrm_df2")),
    Entry(11, "sectors_zero_F", "no sector's portfolio has an abnormal return", "F", (CROSS,),
        PAPERS, "The joint question for sectors; prefer its placebo p.",
        df_keys=("sectors_zero_df1", "sectors_zero_df2")),
    Entry(12, "sectors_equal_F", "all sectors' portfolios have the same abnormal return", "F",
        (CROSS,), PAPERS,
        "Whether sectors reacted differently, whatever the market of all of them did; prefer its "
        "placebo p.", df_keys=("sectors_equal_df1", "sectors_equal_df2")),
)  # fmt: skip
def joint_test(
    key: str,
    effect: Floats,
    products: Floats,
    free: int,
    scale: float,
    *,
    equal: bool = False,
    reason: str = "",
) -> TestResult:
    """Test jointly that no series has an effect (n,), or that all have the same one.

    ``products`` (n, n) are those of the residuals, ``free`` the estimation days less parameters,
    ``scale`` the days of the window plus what these add (Gibbons, Ross and Shanken 1989).
    """
    n = len(effect) - equal
    if n < 1:
        reason = reason or "there is one series only"
    elif n >= free:
        reason = reason or f"{n} effects need more than {n} free estimation days, there are {free}"
    statistic = math.nan
    if not reason:
        statistic = joint_statistic(effect[:, None], products, free, scale, equal=equal)[0]
        reason = "" if math.isfinite(statistic) else "the residual covariance is singular"
    return outcome(key, float(statistic), df=(n, free - n + 1), reason=reason)


def joint_statistic(
    effect: Floats, products: Floats, free: int, scale: float | Floats, *, equal: bool = False
) -> Floats:
    """Return the F statistics of several windows at once: ``effect`` has shape (n, n_windows)."""
    n, own = len(effect), np.diag(products)
    if equal:
        contrast = np.eye(n)[1:] - np.eye(n)[:1]
        effect, products = contrast @ effect, contrast @ products @ contrast.T
        n, own = n - 1, own[1:] + own[0]
    if not (np.diag(products) > np.maximum(ROUNDING * own, STILL)).all():
        return np.full(effect.shape[1], np.nan)
    size = np.sqrt(np.diag(products))
    scaled = products / np.outer(size, size)
    roots = np.linalg.eigvalsh(scaled)
    if not roots[0] > 1e-13 * roots[-1]:
        return np.full(effect.shape[1], np.nan)
    x = effect / size[:, None]
    distance = (x * np.linalg.solve(scaled, x)).sum(axis=0)
    return np.asarray(distance / scale * (free - n + 1) / n)


def joint_law(values: Floats, fit: AbnormalReturns, *, equal: bool = False) -> Floats | str:
    """Compute the joint F on earlier dates, (n_dates, n_windows), or say why there are too few.

    ``values`` are returns of firms or of portfolios, (n, n_days); a date with a hole is not used.
    """
    timing, design, dates = fit.timing, fit.design, earlier_dates(fit)
    if len(dates) < LEAST:
        return FEW
    low, high = timing.hull
    inside = np.zeros((len(timing.windows), high - low + 1))
    for w, window in enumerate(timing.windows):
        inside[w, timing.place(window)] = 1.0
    y, usable, found = values - design.base, np.isfinite(design.base), []
    for day in dates:
        days = np.arange(day + timing.estimation[0], day + timing.estimation[1] + 1)
        days, hull = days[usable[days]], slice(day + low, day + high + 1)
        if not (np.isfinite(y[:, days]).all() and np.isfinite(y[:, hull]).all()):
            continue
        x, z = design.regressors[days], design.instruments[days]
        inverse, bad = inverse_gram(z.T @ x)
        if bad:  # the regressors do not move there
            continue
        b = y[:, days] @ z @ inverse.T
        e = y[:, days] - b @ x.T
        car = (y[:, hull] - b @ design.regressors[hull].T) @ inside.T
        total = inside @ design.regressors[hull]
        scale = inside.sum(axis=1) + ((total @ inverse @ z.T) ** 2).sum(axis=1)
        free = len(x) - design.parameters
        found.append(joint_statistic(car, e @ e.T, free, scale, equal=equal))
    if len(found) < LEAST:
        return f"{len(found)} earlier dates without holes, {LEAST} needed"
    return np.array(found)

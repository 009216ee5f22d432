"""Tests on the cross-section of cumulative abnormal returns, and on the portfolio's time series."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from usjp_research.engine.battery.abnormal import STILL
from usjp_research.engine.battery.catalogue import outcome
from usjp_research.engine.battery.inference import TestResult

Floats = npt.NDArray[np.float64]
ONE = "one firm has no cross-section"
SAME = "all firms have the same abnormal return"
ROUNDING = 1e-24  # a sum of squares this many times smaller than what it is made of is rounding


def cross_section_tests(car: Floats) -> list[TestResult]:
    """Test the mean by its own cross-sectional spread: plain, and adjusted for skewness.

    Trust them when event dates are separate. They allow the event to raise the variance, and
    take firms for independent: on a common date they reject far too often.

    Parameters
    ----------
    car : ndarray of shape (n,)
        Cumulative abnormal returns as decimals.

    Returns
    -------
    list of TestResult
        ``cs_t``, ``skew_johnson_lbt`` and ``skew_hall_est``, referred to t(n - 1).

    References
    ----------
    Campbell, Lo and MacKinlay (1997), chapter 4; Johnson (1978), Journal of the American
    Statistical Association 73, 536-544; Hall (1992), Journal of the Royal Statistical Society B
    54, 221-228; Lyon, Barber and Tsai (1999), Journal of Finance 54, 165-201.

    Examples
    --------
    >>> print(cross_section_tests(np.array([0.01, 0.02, 0.04]))[0])
    cs_t: 2.65, t(2), p = 0.118; H0: the mean abnormal return is zero
    """
    n = len(car)
    keys = ("cs_t", "skew_johnson_lbt", "skew_hall_est")
    df = (n - 1,)
    if n < 2:
        return [outcome(key, df=df, reason=ONE) for key in keys]
    mean, deviation = car.mean(), car - car.mean()
    squares = float((deviation**2).sum())
    if squares <= max(ROUNDING * float((car**2).sum()), STILL):
        return [outcome(key, df=df, reason=SAME) for key in keys]
    cubes = float((deviation**3).sum())
    own, population = math.sqrt(squares / (n - 1)), math.sqrt(squares / n)
    out = [outcome("cs_t", mean / (own / math.sqrt(n)), df=df)]
    s, g = mean / population, cubes / n / population**3
    out.append(outcome(keys[1], math.sqrt(n) * (s + g * s * s / 3 + g / (6 * n)), df=df))
    if n < 3:
        return [*out, outcome(keys[2], df=df, reason="two firms have no unbiased skewness")]
    s, g = mean / own, n / ((n - 1) * (n - 2)) * cubes / own**3
    hall = s + g * s**2 / 3 + g**2 * s**3 / 27 + g / (6 * n)
    return [*out, outcome(keys[2], math.sqrt(n) * hall, df=df)]


def forecast_error_tests(
    sar: Floats, scar: Floats, n_obs: npt.NDArray[np.int64], parameters: int, rbar: float
) -> list[TestResult]:
    """Test the mean of abnormal returns in units of each firm's own forecast error.

    Trust ``adj_bmp_t`` with its t law on a common date; ``adj_patell_z`` if event days are as
    volatile as estimation days; the other three only when event dates are separate.

    Parameters
    ----------
    sar : ndarray of shape (n, L)
        Daily abnormal returns over their own forecast errors.
    scar : ndarray of shape (n,)
        Cumulative ones over theirs.
    n_obs : ndarray of shape (n,)
        Usable estimation days T_i.
    parameters : int
        Of the expected-return model, k. Under normality the variance of a standardised return
        is (T_i - k) / (T_i - k - 2).
    rbar : float
        Mean residual correlation; NaN when unknown.

    Returns
    -------
    list of TestResult
        ``patell_sum_z``, ``patell_mp_z``, ``bmp_t``, ``adj_patell_z``, ``adj_bmp_t``.

    References
    ----------
    Patell (1976), Journal of Accounting Research 14, 246-276; Mikkelson and Partch (1988),
    Journal of Financial and Quantitative Analysis 23, 119-133; Boehmer, Musumeci and Poulsen
    (1991), Journal of Financial Economics 30, 253-272; Kolari and Pynnönen (2010), Review of
    Financial Studies 23, 3996-4025.

    Examples
    --------
    >>> scar = np.array([1.0, 2.0, 0.5, 1.5])
    >>> tests = forecast_error_tests(scar[:, None], scar, np.full(4, 250), 2, 0.2)
    >>> print(tests[-1])
    adj_bmp_t: 2.74, t(3), p = 0.071; H0: the mean abnormal return is zero
    """
    n, length = sar.shape
    free = n_obs - parameters
    q = free / (free - 2.0)
    days = float((sar.sum(axis=1) / np.sqrt(length * q)).sum() / math.sqrt(n))
    patell = float(scar.sum() / math.sqrt(q.sum()))
    out = [outcome("patell_sum_z", days), outcome("patell_mp_z", patell)]
    df = (n - 1,)
    if n < 2:
        return [*out, *(outcome(k, df=df, reason=ONE) for k in ("bmp_t", *ADJUSTED))]
    spread = float(scar.std(ddof=1))
    varies = spread > max(1e-14, math.sqrt(ROUNDING) * float(np.abs(scar).max()))
    bmp = math.sqrt(n) * float(scar.mean()) / spread if varies else math.nan
    out.append(outcome("bmp_t", bmp, df=df, reason="" if varies else SAME))
    inflation = 1 + (n - 1) * rbar
    if not inflation > 0:
        seen = "is not known" if math.isnan(rbar) else f"is {rbar:.3f}: 1 + (n-1) r-bar <= 0"
        reason = f"the mean residual correlation {seen}"
        return [*out, *(outcome(key, df=df, reason=reason) for key in ADJUSTED)]
    out.append(outcome("adj_patell_z", patell / math.sqrt(inflation)))
    if out[2].reason:
        return [*out, outcome("adj_bmp_t", df=df, reason=SAME)]
    factor = math.sqrt(max(1 - rbar, 0.0) / inflation)
    return [*out, outcome("adj_bmp_t", bmp * factor, df=df)]


ADJUSTED = ("adj_patell_z", "adj_bmp_t")


def sign_tests(car: Floats, p_hat: float) -> list[TestResult]:
    """Count and rank signs: plain, generalised, and Wilcoxon's signed ranks.

    Trust them when event dates are separate; they survive fat tails and take firms for
    independent.

    Parameters
    ----------
    car : ndarray of shape (n,)
    p_hat : float
        Mean over firms of the share of positive estimation residuals.

    Returns
    -------
    list of TestResult
        ``sign_z`` with the exact binomial p, ``gsign_z``, ``wilcoxon_V``.

    References
    ----------
    Cowan (1992), Review of Quantitative Finance and Accounting 2, 343-358; Wilcoxon (1945),
    Biometrics Bulletin 1, 80-83.

    Examples
    --------
    >>> print(sign_tests(np.array([0.01, 0.02, 0.04, 0.03]), 0.5)[0])
    sign_z: 2.00, binomial(4, 1/2), p = 0.125; H0: abnormal returns are positive as often as negative
    """  # noqa: E501 - as it prints
    from scipy import special, stats

    n, up = len(car), int((car > 0).sum())
    law = f"binomial({n}, 1/2)"
    p = min(1.0, 2 * float(special.bdtr(min(up, n - up), n, 0.5)))
    out = [outcome("sign_z", (up - n / 2) / math.sqrt(n / 4), p=p, law=law)]
    if 0 < p_hat < 1:
        z = (up - n * p_hat) / math.sqrt(n * p_hat * (1 - p_hat))
        out.append(outcome("gsign_z", z))
    else:
        out.append(outcome("gsign_z", reason="all residuals have the same sign"))
    # Sums that are equal but for the last digits of rounding are ties, and next to none are zero.
    x = np.round(car / max(float(np.abs(car).max()), 1e-300), 12)
    x = x[x != 0]
    m = len(x)
    if not m:
        return [*out, outcome("wilcoxon_V", reason="every abnormal return is zero")]
    size = np.abs(x)
    V = float(stats.rankdata(size)[x > 0].sum())
    ordered = np.sort(size)
    ties = np.diff(np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1], True]))
    if m < 50 and len(ties) == m:
        p = float(stats.wilcoxon(x, method="exact").pvalue)
        return [*out, outcome("wilcoxon_V", V, p=p, law=f"signed ranks of {m}")]
    centre = m * (m + 1) / 4
    variance = m * (m + 1) * (2 * m + 1) / 24 - float((ties.astype(float) ** 3 - ties).sum()) / 48
    z = (V - centre - 0.5 * np.sign(V - centre)) / math.sqrt(variance)
    p = float(2 * special.ndtr(-abs(z)))
    return [*out, outcome("wilcoxon_V", V, p=p, law="normal, continuity corrected")]


def portfolio_t(car: float, variance: float, df: int) -> TestResult:
    """Test the mean abnormal return of firms that share an event date, as one portfolio.

    The null is a mean abnormal return of zero over the window. The statistic is the portfolio's
    cumulative abnormal return over its forecast standard error; it follows t with ``df`` degrees
    of freedom exactly under normality, whatever the correlation between firms, and is not
    robust to event days that are more volatile than the estimation window.

    Parameters
    ----------
    car : float
        Cumulative abnormal return of the equal-weighted portfolio, as a decimal.
    variance : float
        Its forecast-error variance.
    df : int
        Usable estimation days less the model's parameters.

    Returns
    -------
    TestResult

    References
    ----------
    Brown and Warner (1980), Journal of Financial Economics 8, 205-258; equal to the
    average-effect test of Schipper and Thompson (1983), Journal of Accounting Research 21,
    184-221.

    Examples
    --------
    >>> print(portfolio_t(0.02, 0.0001, 248))
    portfolio_t: 2.00, t(248), p = 0.047; H0: the mean abnormal return is zero
    """
    if not (math.isfinite(car) and variance > 0 and df > 0):
        reason = "no complete window or too few estimation days"
        return outcome("portfolio_t", df=(df,), reason=reason)
    return outcome("portfolio_t", car / math.sqrt(variance), df=(df,))


def time_series_tests(
    caar: float,
    length: int,
    mean_residual: Floats,
    variance_about_mean: Floats,
    spread: float,
    parameters: int,
    reason: str,
) -> list[TestResult]:
    """Test the mean by how much the firms' average moved from day to day.

    Trust ``portfolio_t`` on a common date unless the event days are more volatile; ``cda_t`` is
    the same without forecast error. ``bw80_indep_t`` ignores dependence and is there to compare.

    Parameters
    ----------
    caar : float
        Mean cumulative abnormal return.
    length : int
        Days of the window.
    mean_residual : ndarray of shape (T,)
        Mean residual of the firms present, on each estimation day that has one.
    variance_about_mean : ndarray of shape (n,)
        Each firm's residual variance about its mean.
    spread : float
        ``1'X_w (X'X)^-1 X_w'1``: what the parameters add to the variance of the window.
    parameters : int
    reason : str
        Why the firms form no portfolio; empty when they do.

    Returns
    -------
    list of TestResult
        ``cda_t``, ``bw80_indep_t``, ``portfolio_t``.

    References
    ----------
    Brown and Warner (1980, 1985), Journal of Financial Economics 8, 205-258 and 14, 3-31;
    Schipper and Thompson (1983), Journal of Accounting Research 21, 184-221.

    Examples
    --------
    >>> e = np.array([0.01, -0.01, 0.02, -0.02])
    >>> print(time_series_tests(0.05, 1, e, np.array([0.0004]), 0.25, 1, "")[2])
    portfolio_t: 2.45, t(3), p = 0.092; H0: the mean abnormal return is zero
    """
    n, days = len(variance_about_mean), len(mean_residual)
    out = []
    if days < 2:
        out.append(outcome("cda_t", df=(days - 1,), reason="fewer than two estimation days"))
    else:
        sd = float(mean_residual.std(ddof=1))
        least = max(float((mean_residual**2).mean()), float(variance_about_mean.mean()))
        cda = caar / (sd * math.sqrt(length)) if sd**2 > ROUNDING * least else math.nan
        out.append(outcome("cda_t", cda, df=(days - 1,)))
    error = math.sqrt(float(variance_about_mean.sum()) * length) / n
    out.append(outcome("bw80_indep_t", caar / error if error > 0 else math.nan))
    free = days - parameters
    if reason:
        return [*out, outcome("portfolio_t", df=(free,), reason=reason)]
    squares = float(mean_residual @ mean_residual)
    if not squares > ROUNDING * days * float(variance_about_mean.mean()):
        reason = "the firms' mean does not vary over the estimation days"
        return [*out, outcome("portfolio_t", df=(free,), reason=reason)]
    return [*out, portfolio_t(caar, squares / free * (length + spread), free)]


def joint_test(
    key: str, effect: Floats, products: Floats, free: int, scale: float, *, equal: bool = False
) -> TestResult:
    """Test jointly that no series has an effect, or that all have the same one.

    Exact under normality whatever the correlation, with as many effects as series. Fat tails
    make it reject too often however long the estimation: prefer its placebo p.

    Parameters
    ----------
    key : str
        ``mvrm_F``, ``sectors_zero_F`` or ``sectors_equal_F``.
    effect : ndarray of shape (n,)
        Cumulative abnormal return of each series.
    products : ndarray of shape (n, n)
        Sums of squares and products of the residuals.
    free : int
        Estimation days less parameters.
    scale : float
        Days of the window plus what the parameters add.
    equal : bool
        Test equality in place of zero.

    Returns
    -------
    TestResult

    References
    ----------
    Schipper and Thompson (1983), Journal of Accounting Research 21, 184-221; Binder (1985),
    Journal of Accounting Research 23, 370-383; Gibbons, Ross and Shanken (1989), Econometrica
    57, 1121-1152.

    Examples
    --------
    >>> print(joint_test("mvrm_F", np.array([0.02, 0.01]), 0.01 * np.eye(2), 100, 1.01))
    mvrm_F: 2.45, F(2, 99), p = 0.091; H0: no firm has an abnormal return
    """
    n = len(effect) - equal
    df = (n, free - n + 1)
    if n < 1:
        return outcome(key, df=df, reason="there is one series only")
    if n >= free:
        reason = f"{n} effects need more than {n} free estimation days, there are {free}"
        return outcome(key, df=df, reason=reason)
    statistic = float(joint_statistic(effect[:, None], products, free, scale, equal=equal)[0])
    if not math.isfinite(statistic):
        return outcome(key, df=df, reason="the residual covariance is singular")
    return outcome(key, statistic, df=df)


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


def reasons(results: Sequence[TestResult]) -> dict[str, str]:
    """Collect why tests have no number."""
    return {result.name: result.reason for result in results if result.reason}

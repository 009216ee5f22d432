"""Tests on the cross-section of cumulative abnormal returns, and on the portfolio's time series."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from usjp_research.engine.battery.abnormal import STILL
from usjp_research.engine.battery.catalogue import (
    CROSS,
    EVENT,
    MEAN,
    SHAPE,
    Entry,
    TestResult,
    outcome,
    tests,
)
from usjp_research.engine.battery.joint import ROUNDING
from usjp_research.engine.design import Floats, Ints

ONE = "one firm has no cross-section"
SAME = "all firms have the same abnormal return"


@tests(
    Entry(14, "cs_t", MEAN, "t", (EVENT,), "Campbell, Lo and MacKinlay (1997)",
        "Separate dates and many firms only.", df_keys=("cs_df",)),
    Entry(18, "skew_johnson_lbt", MEAN, "t", (EVENT, SHAPE),
        "Johnson (1978); Lyon, Barber and Tsai (1999)",
        "Separate dates and long windows, where buy-and-hold returns are skewed; not monotone "
        "when skewness is strong."),
    Entry(19, "skew_hall_est", MEAN, "t", (EVENT, SHAPE), "Hall (1992)",
        "As skew_johnson_lbt, and monotone."),
)  # fmt: skip
def cross_section_tests(car: Floats) -> Iterator[TestResult]:
    """Test the mean of n cumulative abnormal returns by their own spread and skewness: t(n - 1)."""
    n, df, mean, deviation = len(car), (len(car) - 1,), car.mean(), car - car.mean()
    squares, cubes = float((deviation**2).sum()), float((deviation**3).sum())
    varies = squares > max(ROUNDING * float((car**2).sum()), STILL)
    if n < 2 or not varies:
        for key in ("cs_t", "skew_johnson_lbt", "skew_hall_est"):
            yield outcome(key, df=df, reason=ONE if n < 2 else SAME)
        return
    own, population = math.sqrt(squares / (n - 1)), math.sqrt(squares / n)
    yield outcome("cs_t", mean / (own / math.sqrt(n)), df=df)
    s, g = mean / population, cubes / n / population**3
    yield outcome("skew_johnson_lbt", math.sqrt(n) * (s + g * s * s / 3 + g / (6 * n)), df=df)
    if n < 3:
        yield outcome("skew_hall_est", df=df, reason="two firms have no unbiased skewness")
        return
    s, g = mean / own, n / ((n - 1) * (n - 2)) * cubes / own**3
    hall = s + g * s**2 / 3 + g**2 * s**3 / 27 + g / (6 * n)
    yield outcome("skew_hall_est", math.sqrt(n) * hall, df=df)


@tests(
    Entry(1, "adj_bmp_t", MEAN, "t", (CROSS, EVENT), "Kolari and Pynnönen (2010)",
        "The headline on a common date: refer it to t(n-1), not to the normal law.",
        role="headline", p_name="adj_bmp_p_t", p_normal_key="adj_bmp_p_z"),
    Entry(8, "adj_patell_z", MEAN, "normal", (CROSS,), "Kolari and Pynnönen (2010)",
        "On a common date if the event days are as volatile as the estimation days."),
    Entry(13, "bmp_t", MEAN, "t", (EVENT,), "Boehmer, Musumeci and Poulsen (1991)",
        "Separate dates only: on a common date it rejects a true null in 20-50% of cases.",
        p_name="bmp_p_t", p_normal_key="bmp_p_z"),
    Entry(15, "patell_sum_z", MEAN, "normal", (), "Patell (1976)",
        "Separate dates, quiet event days, one-day windows: days are taken for independent."),
    Entry(16, "patell_mp_z", MEAN, "normal", (), "Patell (1976); Mikkelson and Partch (1988)",
        "Separate dates and quiet event days only."),
)  # fmt: skip
def forecast_error_tests(
    sar: Floats, scar: Floats, n_obs: Ints, parameters: int, rbar: float
) -> Iterator[TestResult]:
    """Test the mean of abnormal returns over each firm's own forecast error, ``sar`` (n, L).

    Of T estimation days and k parameters, the variance of one is (T - k) / (T - k - 2).
    """
    (n, length), free = sar.shape, n_obs - parameters
    df, q, inflation = (n - 1,), free / (free - 2.0), 1 + (n - 1) * rbar
    days = float((sar.sum(axis=1) / np.sqrt(length * q)).sum() / math.sqrt(n))
    patell = float(scar.sum() / math.sqrt(q.sum()))
    yield outcome("patell_sum_z", days)
    yield outcome("patell_mp_z", patell)
    spread = float(scar.std(ddof=1)) if n > 1 else 0.0
    varies = spread > max(1e-14, math.sqrt(ROUNDING) * float(np.abs(scar).max()))
    still = ONE if n < 2 else "" if varies else SAME
    bmp = math.sqrt(n) * float(scar.mean()) / spread if varies else math.nan
    yield outcome("bmp_t", bmp, df=df, reason=still)
    reason = ONE if n < 2 else ""
    if n > 1 and not inflation > 0:
        seen = "is not known" if math.isnan(rbar) else f"is {rbar:.3f}: 1 + (n-1) r-bar <= 0"
        reason = f"the mean residual correlation {seen}"
    shrunk = math.nan if reason else math.sqrt(inflation)
    yield outcome("adj_patell_z", patell / shrunk, reason=reason)
    factor = math.sqrt(max(1 - rbar, 0.0)) / shrunk
    yield outcome("adj_bmp_t", bmp * factor, df=df, reason=reason or still)


@tests(
    Entry(20, "sign_z", "abnormal returns are positive as often as negative", "exact",
        (EVENT, SHAPE), "binomial test",
        "Separate dates only; daily returns are skewed, so prefer gsign_z.",
        p_name="sign_p_binom"),
    Entry(21, "gsign_z", "abnormal returns are as often above as below what is usual", "normal",
        (EVENT, SHAPE), "Cowan (1992)",
        "Separate dates only; its yardstick is the share of positive residuals."),
    Entry(22, "wilcoxon_V", "abnormal returns are symmetric about zero", "exact", (EVENT, SHAPE),
        "Wilcoxon (1945)",
        "Separate dates only. Exact below 50 firms without ties, otherwise normal with continuity "
        "correction."),
)  # fmt: skip
def sign_tests(car: Floats, p_hat: float) -> Iterator[TestResult]:
    """Count and rank signs; ``p_hat`` is the mean share of positive estimation residuals."""
    from scipy import special, stats

    n, up = len(car), int((car > 0).sum())
    p = min(1.0, 2 * float(special.bdtr(min(up, n - up), n, 0.5)))
    yield outcome("sign_z", (up - n / 2) / math.sqrt(n / 4), p=p, law=f"binomial({n}, 1/2)")
    same = "" if 0 < p_hat < 1 else "all residuals have the same sign"
    z = math.nan if same else (up - n * p_hat) / math.sqrt(n * p_hat * (1 - p_hat))
    yield outcome("gsign_z", z, reason=same)
    # Sums that are equal but for the last digits of rounding are ties, and next to none are zero.
    x = np.round(car / max(float(np.abs(car).max()), 1e-300), 12)
    x = x[x != 0]
    m = len(x)
    if not m:
        yield outcome("wilcoxon_V", reason="every abnormal return is zero")
        return
    exact = m < 50 and len(np.unique(np.abs(x))) == m
    found = stats.wilcoxon(x, correction=True, method="exact" if exact else "asymptotic")
    law = f"signed ranks of {m}" if exact else "normal, continuity corrected"
    V = float(stats.rankdata(np.abs(x))[x > 0].sum())
    yield outcome("wilcoxon_V", V, p=float(found.pvalue), law=law)


@tests(
    Entry(4, "portfolio_t", MEAN, "t", (CROSS,),
        "Brown and Warner (1980); Schipper and Thompson (1983)",
        "Cross-check on a common date: exact under normality whatever the correlation; rejects "
        "too often when the event days are more volatile.", role="check",
        df_keys=("portfolio_df",)),
)  # fmt: skip
def portfolio_t(car: float, variance: float, df: int) -> TestResult:
    """Test a portfolio's cumulative abnormal return by its forecast-error variance: t(df)."""
    if not (math.isfinite(car) and variance > 0 and df > 0):
        reason = "no complete window or too few estimation days"
        return outcome("portfolio_t", df=(df,), reason=reason)
    return outcome("portfolio_t", car / math.sqrt(variance), df=(df,))


@tests(
    Entry(9, "cda_t", MEAN, "t", (CROSS,), "Brown and Warner (1980, 1985)",
        "As portfolio_t, without the forecast error: short windows after long estimation only.",
        df_keys=("cda_df",)),
    Entry(17, "bw80_indep_t", MEAN, "normal", (), "Brown and Warner (1980)",
        "Never for a decision: it shows what ignoring dependence does."),
)  # fmt: skip
def time_series_tests(
    caar: float,
    length: int,
    mean_residual: Floats,
    variance_about_mean: Floats,
    spread: float,
    parameters: int,
    reason: str,
) -> Iterator[TestResult]:
    """Test the mean by how much the firms' average moved from day to day.

    ``spread`` is what the parameters add to the window's variance, over that of a day.
    """
    n, days = len(variance_about_mean), len(mean_residual)
    free, usual = days - parameters, float(variance_about_mean.mean())
    sd = float(mean_residual.std(ddof=1)) if days > 1 else 0.0
    moves = sd**2 > ROUNDING * max(float((mean_residual**2).mean()), usual)
    few = "" if days > 1 else "fewer than two estimation days"
    cda = caar / (sd * math.sqrt(length)) if moves else math.nan
    yield outcome("cda_t", cda, df=(days - 1,), reason=few)
    error = math.sqrt(float(variance_about_mean.sum()) * length) / n
    yield outcome("bw80_indep_t", caar / error if error > 0 else math.nan)
    squares = float(mean_residual @ mean_residual)
    if not (reason or squares > ROUNDING * days * usual):
        reason = "the firms' mean does not vary over the estimation days"
    if reason:
        yield outcome("portfolio_t", df=(free,), reason=reason)
    else:
        yield portfolio_t(caar, squares / free * (length + spread), free)

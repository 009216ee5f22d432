"""Tests as values that state their own null, law and robustness, and p-values for families."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usjp_research.words import card, number, p_value

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TestResult:
    """One test: its null in words, its statistic, the law it is referred to and the p-value.

    Attributes
    ----------
    law : str
        For example ``t(248)``.
    robust_to : tuple of str
        Which of ``cross-correlation``, ``event-induced variance`` and ``non-normality`` the test
        survives.
    reason : str
        Why the test could not be computed; the numbers are NaN then.
    df : tuple of int
        Degrees of freedom of the law.
    p_normal : float
        The p-value under the normal law, where books give both.
    """

    __test__ = False  # not a pytest class

    name: str
    null: str
    statistic: float
    law: str
    p: float
    robust_to: tuple[str, ...] = ()
    reason: str = ""
    df: tuple[int, ...] = ()
    p_normal: float = math.nan

    def __str__(self) -> str:
        if self.reason:
            return f"{self.name}: not computed ({self.reason})"
        return f"{self.name}: {self.statistic:.2f}, {self.law}, p = {self.p:.3f}; H0: {self.null}"

    def _repr_html_(self) -> str:
        if self.reason:
            return card("Test", self.name, f"not computed ({self.reason})", f"H0: {self.null}")
        told = f"{number(self.statistic, 2)}, {self.law}, p {p_value(self.p)}"
        survives = ", ".join(self.robust_to) or "none of the usual faults"
        return card("Test", self.name, told, f"H0: {self.null}", f"robust to {survives}")


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
    portfolio_t: 2.00, t(248), p = 0.047; H0: the portfolio's abnormal return is zero
    """
    from scipy import stats

    null = "the portfolio's abnormal return is zero"
    if not (math.isfinite(car) and variance > 0 and df > 0):
        reason = "no complete window or too few estimation days"
        return TestResult("portfolio_t", null, math.nan, f"t({df})", math.nan, reason=reason)
    statistic = car / math.sqrt(variance)
    p = float(2 * stats.t.sf(abs(statistic), df))
    return TestResult(
        "portfolio_t", null, statistic, f"t({df})", p, robust_to=("cross-correlation",)
    )

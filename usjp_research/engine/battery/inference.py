"""Tests as values that state their own null, law and robustness."""

from __future__ import annotations

import math
from dataclasses import dataclass

from usjp_research.words import card, number, p_value


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

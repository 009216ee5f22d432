"""Tests as values that state their own null, law and robustness, and the register of them all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from usjp_research.words import card, number, p_value

F = TypeVar("F", bound=Callable[..., Any])
CROSS, EVENT, SHAPE = "cross-correlation", "event-induced variance", "non-normality"
MEAN = "the mean abnormal return is zero"
RANKS = "the event days' abnormal returns have the ranks of any other days"


@dataclass(frozen=True, slots=True)
class Entry:
    """What documentation, results and JSON file say of a test.

    The place is that in the order of what can be believed when all firms share one event date.
    """

    place: int
    key: str
    null: str
    law: str  # t, F, normal or exact
    robust_to: tuple[str, ...]
    paper: str
    trust: str
    role: str = ""  # headline or check
    p_name: str = ""
    p_normal_key: str = ""
    df_keys: tuple[str, ...] = ()

    @property
    def p_key(self) -> str:
        """Name of the p-value in the JSON file."""
        return self.p_name or f"{self.key.rpartition('_')[0]}_p"


TESTS: dict[str, Entry] = {}


def tests(*entries: Entry) -> Callable[[F], F]:
    """Decorate what computes tests with what there is to say of them."""
    TESTS.update({entry.key: entry for entry in entries})
    return lambda function: function


@dataclass(frozen=True, slots=True)
class TestResult:
    """One test: its null in words, its statistic, the law it is referred to and the p-value.

    The law is named as in ``t(248)``, with its degrees of freedom in ``df``; ``p_normal`` is the
    p-value under the normal law, where books give both. ``robust_to`` says which of
    ``cross-correlation``, ``event-induced variance`` and ``non-normality`` the test survives. Where
    it could not be computed ``reason`` says why, and the numbers are NaN.
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


def law_p(law: str, statistic: float, df: Sequence[int]) -> float:
    """Return the p-value of a statistic: two-sided for t and normal, the upper tail for F."""
    from scipy import special

    if law == "t":
        return float(2 * special.stdtr(df[0], -abs(statistic)))
    if law == "F":
        return float(special.fdtrc(df[0], df[1], statistic))
    return float(2 * special.ndtr(-abs(statistic)))


def outcome(
    key: str,
    statistic: float = math.nan,
    *,
    df: Sequence[int] = (),
    p: float | None = None,
    law: str = "",
    reason: str = "",
) -> TestResult:
    """Make the record of a registered test; where its law is exact, ``p`` and ``law`` say it."""
    entry = TESTS[key]
    if entry.law != "exact":
        law = "N(0, 1)" if entry.law == "normal" else f"{entry.law}({', '.join(map(str, df))})"
    if not reason and not math.isfinite(statistic):
        reason = "the statistic is not finite: nothing varies"
    of = (entry.robust_to, reason)
    if reason:
        return TestResult(key, entry.null, math.nan, law or "exact", math.nan, *of)
    value = law_p(entry.law, statistic, df) if p is None else p
    normal = law_p("normal", statistic, ()) if entry.p_normal_key else math.nan
    return TestResult(key, entry.null, statistic, law, value, *of, tuple(df), normal)


def believable_first(keys: Iterable[str]) -> list[str]:
    """Sort keys of tests by what can be believed when all firms share one event date."""
    return sorted(keys, key=lambda key: TESTS[key].place)

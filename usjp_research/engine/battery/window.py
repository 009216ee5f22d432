"""One group over one window: every test, how the firms depend, and what must be said first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from usjp_research.engine.battery.abnormal import AbnormalReturns, ReadSeries, Residuals, collected
from usjp_research.engine.battery.catalogue import TESTS, TestResult, believable_first, outcome
from usjp_research.engine.battery.dependence import PairSums
from usjp_research.engine.battery.joint import GUARD, QuietLaw, joint_law, joint_test, placebo_test
from usjp_research.engine.battery.parametric import (
    cross_section_tests,
    forecast_error_tests,
    sign_tests,
    time_series_tests,
)
from usjp_research.engine.battery.ranks import DaySums, corrado_tests, grank_tests
from usjp_research.engine.design import Bools, Floats, Ints
from usjp_research.engine.placebo import placebo_p
from usjp_research.words import card

Number = tuple[str, float, str]  # its name, and why it is NaN where it is
LOUD = 1.5  # event days noted as more volatile from this ratio of standard deviations on
JOINT_FIRMS = 100  # more firms than this have no placebo F: a covariance matrix a date
HOLED = "firms lack returns on different estimation days: no common regressors"


@dataclass(frozen=True, slots=True)
class WindowTests:
    """All tests of one group over one window, the believable first, and numbers that are no test.

    Numbers are NaN where undefined, with a reason.
    """

    group: str
    window: tuple[int, int]
    numbers: Mapping[str, float]
    tests: Mapping[str, TestResult]
    notes: tuple[str, ...]
    reasons: Mapping[str, str]
    shared: bool = False  # firms share event days: tests of independent firms are not believed

    def _repr_html_(self) -> str:
        low, high = self.window
        told = (str(test) for key, test in self.tests.items() if TESTS[key].role == "headline")
        return card("Tests", f"{self.group} [{low};{high}]", *told, *self.notes)

    def as_dict(self) -> dict[str, Any]:
        """Return one flat dictionary of numbers, None where undefined, with the reasons."""
        out: dict[str, Any] = {**self.numbers}
        for key, test in self.tests.items():
            entry = TESTS[key]
            out[key] = test.statistic
            out.update(zip(entry.df_keys, test.df or (None,) * len(entry.df_keys), strict=False))
            out[entry.p_key] = test.p
            if entry.p_normal_key:
                out[entry.p_normal_key] = test.p_normal
        out = {k: v if v is None or math.isfinite(v) else None for k, v in out.items()}
        headline = [key for key in believable_first(TESTS) if TESTS[key].role == "headline"]
        return out | {"headline": headline, "notes": [*self.notes], "reasons": {**self.reasons}}


def no_tests(reason: str, window: tuple[int, int]) -> WindowTests:
    """Return the tests of a group that has no firm: none, and why."""
    numbers = dict.fromkeys(("caar", "bhar", "rbar", "n_eff", "p_hat"), math.nan)
    return WindowTests("ALL", window, {"n": 0, "n_pos": 0, **numbers}, {}, (reason,), {"n": reason})


@dataclass(frozen=True, slots=True)
class Work:
    """What all groups and windows share; groups with the same firms share a set."""

    fit: AbnormalReturns
    members: Bools  # (N, n_sets)
    column: Mapping[tuple[str, int], int]  # the set of a group and a window's place
    sums: DaySums
    pairs: PairSums
    quiet: QuietLaw | None  # None when event dates differ
    sectors_law: Callable[[tuple[int, ...], bool], Floats | str]  # their joint F on earlier dates


@dataclass(frozen=True, slots=True)
class Firms:
    """The firms of one set, and what all its windows share."""

    rows: Ints
    apart: str  # why they form no portfolio with common regressors
    products: Floats  # of their residuals, (n, n), where they can be tested jointly
    law: Floats | str  # F statistics on earlier dates, (n_dates, n_windows), or why there are none


def set_firms(work: Work, s: int, residuals: Residuals, read: ReadSeries) -> Firms:
    """Say who is in a set, and compute what its joint tests need."""
    fit, T = work.fit, work.fit.timing.days
    rows, count = np.flatnonzero(work.members[:, s]), work.sums.count[s, :T]
    there, n = count > 0, int(work.members[:, s].sum())
    apart = HOLED if (count[there] != n).any() else ""
    if len(np.unique(fit.day0[rows])) > 1:
        apart = "firms have different event dates and form no portfolio"
    products, law = np.empty((0, 0)), f"{n} firms: placebo dates are run for up to {JOINT_FIRMS}"
    if apart or not 0 < n < there.sum() - fit.design.parameters:
        return Firms(rows, apart, products, law)
    e = collected(residuals, rows, T)
    e = e[:, np.isfinite(e).all(axis=0)]
    if work.quiet is None or n > JOINT_FIRMS:
        return Firms(rows, apart, e @ e.T, law)
    values = np.vstack([read(k, k + 1) for k in fit.series[rows]])
    return Firms(rows, apart, e @ e.T, joint_law(values, fit))


def window_tests(work: Work, firms: Firms, group: str, w: int) -> WindowTests:
    """Run every test of one group over the window with place ``w``."""
    fit, sums, rows, n = work.fit, work.sums, firms.rows, len(firms.rows)
    window, T, s = fit.timing.windows[w], fit.timing.days, work.column[group, w]
    if not n:
        reason = "no firm has every day of the window and enough estimation days"
        return WindowTests(group, window, {"n": 0}, {}, (), {"n": reason})
    found = list(_dependence(work, rows, s, w))
    known = {name: value for name, value, _ in found}
    length, k, car = window[1] - window[0] + 1, fit.design.parameters, fit.car[rows, w]
    place, there = fit.timing.place(window), sums.count[s, :T] > 0
    spread = float(fit.variance[rows[0], w] / fit.variance_residual[rows[0]]) - length
    mean_residual = sums.residual[s, :T][there] / sums.count[s, :T][there]
    caar, free = known["caar"], int(there.sum()) - k
    scale = length + spread
    errors = (fit.sar[rows, place], fit.scar[rows, w], fit.n_obs[rows], k, known["rbar"])
    series = (mean_residual, fit.variance_about_mean[rows], spread, k, firms.apart)
    jointly = joint_test("mvrm_F", car, firms.products, free, scale, reason=firms.apart)
    tests = [
        *cross_section_tests(car),
        *forecast_error_tests(*errors),
        *time_series_tests(caar, length, *series),
        *sign_tests(car, known["p_hat"]),
        *corrado_tests(sums, s, slice(T + place.start, T + place.stop)),
        *grank_tests(sums.grank[s, w], sums.count[s, :T], n),
        jointly,
    ]
    if work.quiet is None:
        reason = "event dates differ: shifting one date is no placebo for them"
        tests.append(outcome("placebo_t", reason=reason))
    else:
        test, dates = placebo_test(work.quiet, s, w)
        tests.append(test)
        few = f"too few returns in the {GUARD} days before"
        trailing = ("volatility_trailing", float(work.quiet.trailing[s, w]), few)
        found += [("placebo_dates", dates, ""), trailing, _placebo_p(jointly, firms.law, w)]
    if group == "ALL":
        for test, law in _sectors_jointly(work, w, scale):
            tests.append(test)
            found.append(_placebo_p(test, law, w))
    return _told(work, firms, group, w, found, {test.name: test for test in tests})


def _dependence(work: Work, rows: Ints, s: int, w: int) -> Iterator[Number]:
    """Count and average, and say how strongly the firms depend."""
    fit, n = work.fit, len(rows)
    low, high = fit.timing.windows[w]
    car, scar, free = fit.car[rows, w], fit.scar[rows, w], fit.n_obs[rows] - fit.design.parameters
    rbar, overlapping, overlap = work.pairs.mean(s, high - low + 1)
    alone = "no two firms have two days in common and residuals that vary"
    if n < 2:
        alone = "one firm has no correlation with another"
    yield "n", n, ""
    yield "n_pos", int((car > 0).sum()), ""
    yield "caar", float(car.mean()), ""
    yield "bhar", float(fit.bhar[rows, w].mean()), ""
    yield "rbar", rbar, alone
    below = alone if math.isnan(rbar) else "1 + (n-1) r-bar is not above zero"
    inflation = 1 + (n - 1) * rbar if n > 1 else 1.0
    yield "n_eff", n / inflation if inflation > 0 else math.nan, below
    yield "p_hat", float(fit.positive[rows].mean()), ""
    if len(np.unique(fit.day0[rows])) > 1:
        yield "rbar_overlapping", overlapping, "no two windows share a day"
        yield "overlap", overlap, alone
    ratio = math.nan
    if n > 2 and rbar < 1 - 1e-9:
        usual = math.sqrt(float((free / (free - 2)).mean()) * (1 - rbar))
        ratio = float(scar.std(ddof=1)) / usual
    yield "volatility_event", ratio, "fewer than three firms, or no r-bar below one"


def _placebo_p(test: TestResult, law: Floats | str, w: int) -> Number:
    name = f"{TESTS[test.name].p_key}_placebo"
    if test.reason or isinstance(law, str):
        return name, math.nan, test.reason or str(law)
    null = law[np.isfinite(law[:, w]), w]
    return name, float(placebo_p(null, test.statistic)), ""


def _sectors_jointly(work: Work, w: int, scale: float) -> Iterator[tuple[TestResult, Floats | str]]:
    """Test that no sector reacted, and that all reacted alike, from their portfolios."""
    T, sums, fit = work.fit.timing.days, work.sums, work.fit
    sets = [s for (group, at), s in work.column.items() if at == w and group != "ALL"]
    sets = [s for s in sets if work.members[:, s].any()]
    members, count = work.members[:, sets], sums.count[sets, :T]
    there, reason = (count > 0).any(axis=0), ""
    if work.quiet is None:
        reason = "firms have different event dates and form no portfolios"
    elif len(sets) < 2:
        reason = "there is one sector only"
    elif (count != members.sum(axis=0)[:, None] * there).any():
        reason = HOLED
    e = (sums.residual[sets] / np.maximum(count, 1))[:, there]
    effect = np.array([fit.car[inside, w].mean() for inside in members.T])
    free = int(there.sum()) - fit.design.parameters
    for key, equal in (("sectors_zero_F", False), ("sectors_equal_F", True)):
        if reason:
            yield outcome(key, reason=reason), reason
        else:
            test = joint_test(key, effect, e @ e.T, free, scale, equal=equal)
            yield test, work.sectors_law(tuple(sets), equal)


def _notes(
    work: Work, firms: Firms, s: int, numbers: Mapping[str, float], shared: bool
) -> Iterator[str]:
    fit, rows, rbar = work.fit, firms.rows, numbers["rbar"]
    if shared and not math.isnan(numbers["n_eff"]):
        yield (
            f"firms share event days: {numbers['n']:.0f} firms count as {numbers['n_eff']:.1f} "
            f"independent ones (mean residual correlation {rbar:.3f})"
        )
    lost = float(work.pairs.undefined[s].sum())
    if lost and not math.isnan(rbar):
        few = "fewer than two common days, or constant residuals"
        yield f"r-bar leaves out {lost:.0f} pairs: {few}"
    first, T = int(fit.day0[rows[0]]) + fit.timing.estimation[0], fit.timing.days
    blank = int(np.isnan(fit.design.base[first : first + T]).sum())
    if blank and "overlap" not in numbers:
        yield f"{blank} of {T} estimation days are not used: the model's regressors have no value"
    if (ratio := numbers["volatility_event"]) > LOUD:
        yield (
            f"abnormal returns are {ratio:.1f} times as dispersed as estimation days suggest: "
            "tests that do not survive event-induced variance reject too often"
        )
    if (ratio := numbers.get("volatility_trailing", 0.0)) > LOUD:
        yield (
            f"the {GUARD} days before the window were {ratio:.1f} times as volatile as the "
            "estimation days: believe placebo_t rather than portfolio_t or corrado_z"
        )


def _told(
    work: Work, firms: Firms, group: str, w: int, found: list[Number], tests: dict[str, TestResult]
) -> WindowTests:
    numbers = {name: value for name, value, _ in found}
    shared = len(firms.rows) > 1 and numbers.get("overlap", 1.0) != 0
    reasons = {name: why for name, value, why in found if why and math.isnan(value)}
    tests = {key: tests[key] for key in believable_first(tests)}
    reasons |= {key: test.reason for key, test in tests.items() if test.reason}
    notes = tuple(_notes(work, firms, work.column[group, w], numbers, shared))
    window = work.fit.timing.windows[w]
    return WindowTests(group, window, numbers, tests, notes, reasons, shared)

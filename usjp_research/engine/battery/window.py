"""One group over one window: every test, how the firms depend, and what must be said first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from usjp_research.engine.battery.abnormal import AbnormalReturns, ReadSeries
from usjp_research.engine.battery.catalogue import CROSS_CHECKS, FOILS, HEADLINE, TESTS, outcome
from usjp_research.engine.battery.dependence import PairSums, effective_firms, estimation_residuals
from usjp_research.engine.battery.inference import TestResult
from usjp_research.engine.battery.joint import (
    GUARD,
    JointLaw,
    QuietLaw,
    joint_law,
    placebo_test,
    upper_p,
)
from usjp_research.engine.battery.parametric import (
    cross_section_tests,
    forecast_error_tests,
    joint_test,
    sign_tests,
    time_series_tests,
)
from usjp_research.engine.battery.ranks import corrado_statistic, grank_statistics
from usjp_research.engine.battery.sums import DaySums
from usjp_research.words import card

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
LOUD = 1.5  # event days noted as more volatile from this ratio of standard deviations on
JOINT_FIRMS = 100  # more firms than this have no placebo F: a covariance matrix a date


@dataclass(frozen=True, slots=True)
class WindowTests:
    """All tests of one group over one window.

    Attributes
    ----------
    numbers : mapping of str to float
        ``n`` firms, ``n_pos`` with a positive abnormal return, ``caar``, ``bhar``, ``rbar``
        (mean residual correlation, after the correction for partial overlap), ``n_eff``,
        ``p_hat`` and what else is no test; NaN where undefined.
    tests : mapping of str to TestResult
        In the order of `TESTS`.
    headline, cross_checks, foils : tuple of str
        Which tests to believe, to compare and to distrust, given how the firms depend.
    notes : tuple of str
        What a reader must know first.
    reasons : mapping of str to str
        Why a number or test is missing.
    """

    group: str
    window: tuple[int, int]
    numbers: Mapping[str, float]
    tests: Mapping[str, TestResult]
    headline: tuple[str, ...]
    cross_checks: tuple[str, ...]
    foils: tuple[str, ...]
    notes: tuple[str, ...]
    reasons: Mapping[str, str]

    def _repr_html_(self) -> str:
        low, high = self.window
        return card(
            "Tests",
            f"{self.group} [{low};{high}]",
            *(str(self.tests[key]) for key in self.headline if key in self.tests),
            *self.notes,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return one flat dictionary of numbers, None where undefined, with the reasons."""
        out: dict[str, Any] = {k: _json(v) for k, v in self.numbers.items()}
        for key, test in self.tests.items():
            entry = TESTS[key]
            out[key] = _json(test.statistic)
            out.update(zip(entry.df_keys, test.df or (None,) * len(entry.df_keys), strict=False))
            out[entry.p_key] = _json(test.p)
            if entry.p_normal_key:
                out[entry.p_normal_key] = _json(test.p_normal)
        out["headline"], out["notes"] = list(self.headline), list(self.notes)
        out["reasons"] = dict(self.reasons)
        return out


def no_tests(reason: str, window: tuple[int, int]) -> WindowTests:
    """Return the tests of a group that has no firm: none, and why."""
    numbers = dict.fromkeys(("caar", "bhar", "rbar", "n_eff", "p_hat"), math.nan)
    return WindowTests(
        "ALL", window, {"n": 0, "n_pos": 0, **numbers}, {}, (), (), (), (reason,), {"n": reason}
    )


@dataclass(frozen=True, slots=True)
class Sets:
    """The distinct sets of firm-events: windows without holes share one."""

    groups: tuple[str, ...]
    members: Bools
    column: Mapping[tuple[str, int], int]
    windows: list[tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Work:
    """What all groups and windows share; joint laws are kept once computed."""

    read: ReadSeries
    chunk: int | None
    fit: AbnormalReturns
    sets: Sets
    sums: DaySums
    pairs: PairSums
    quiet: QuietLaw | None
    laws: dict[tuple[int, ...], JointLaw | str] = field(default_factory=dict)
    products: dict[tuple[int, ...], Floats] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Found:
    """Numbers of one group and window as they are collected."""

    numbers: dict[str, float] = field(default_factory=dict)
    tests: dict[str, TestResult] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, *tests: TestResult) -> None:
        self.tests.update({test.name: test for test in tests})


def window_tests(work: Work, group: str, w: int) -> WindowTests:
    """Run every test of one group over the window with place ``w``."""
    fit, sums = work.fit, work.sums
    s = work.sets.column[group, w]
    rows = np.flatnonzero(work.sets.members[:, s])
    window, found = fit.timing.windows[w], _Found()
    if not len(rows):
        found.numbers["n"] = 0
        found.reasons["n"] = "no firm has every day of the window and enough estimation days"
        return _record(group, window, found, shared=False)
    shared = _dependence(work, rows, s, w, found)
    n, T = len(rows), fit.timing.days
    length = window[1] - window[0] + 1
    count = sums.count[s, :T]
    there = count > 0
    no_portfolio = _why_no_portfolio(fit.day0[rows], count[there])
    spread = float(fit.variance[rows[0], w] / fit.variance_residual[rows[0]]) - length
    car = fit.car[rows, w]
    found.add(
        *cross_section_tests(car),
        *forecast_error_tests(
            fit.sar[rows, fit.timing.place(window)],
            car / np.sqrt(fit.variance[rows, w]),
            fit.n_obs[rows],
            fit.design.parameters,
            found.numbers["rbar"],
        ),
        *time_series_tests(
            found.numbers["caar"],
            length,
            sums.residual[s, there] / count[there],
            fit.variance_about_mean[rows],
            spread,
            fit.design.parameters,
            no_portfolio,
        ),
        *sign_tests(car, found.numbers["p_hat"]),
        *_rank_tests(fit, sums, s, w, n),
        _firms_jointly(work, rows, s, w, length + spread, no_portfolio),
    )
    _volatility_of_firms(fit, rows, w, found)
    if work.quiet is None:
        reason = "event dates differ: shifting one date is no placebo for them"
        found.add(outcome("placebo_t", reason=reason))
    else:
        _on_quiet_dates(work, work.quiet, s, w, found)
    if group == "ALL":
        _sectors_jointly(work, w, length + spread, found)
    return _record(group, window, found, shared=shared)


def _why_no_portfolio(day0: Ints, count: Floats) -> str:
    """Say why firms form no portfolio with common regressors; empty when they do."""
    if _several(day0):
        return "firms have different event dates and form no portfolio"
    if (count != len(day0)).any():
        return "firms lack returns on different estimation days: no common regressors"
    return ""


def _dependence(work: Work, rows: Ints, s: int, w: int, found: _Found) -> bool:
    """Count and average, and say how strongly the firms depend; True when windows share days."""
    fit, n = work.fit, len(rows)
    window = fit.timing.windows[w]
    rbar, overlapping, overlap = work.pairs.mean(s, window[1] - window[0] + 1)
    car = fit.car[rows, w]
    found.numbers.update(
        {
            "n": n,
            "n_pos": int((car > 0).sum()),
            "caar": float(car.mean()),
            "bhar": float(fit.bhar[rows, w].mean()),
            "rbar": rbar,
            "n_eff": effective_firms(n, rbar) if n > 1 else 1.0,
            "p_hat": float(fit.positive[rows].mean()),
        }
    )
    if n < 2:
        found.reasons["rbar"] = "one firm has no correlation with another"
    elif math.isnan(rbar):
        found.reasons["rbar"] = found.reasons["n_eff"] = (
            "no two firms have two days in common and residuals that vary"
        )
    elif math.isnan(found.numbers["n_eff"]):
        found.reasons["n_eff"] = "1 + (n-1) r-bar is not above zero"
    lost = float(work.pairs.undefined[s].sum())
    if lost and not math.isnan(rbar):
        found.notes.append(
            f"r-bar leaves out {lost:.0f} pairs: fewer than two common days, or constant residuals"
        )
    first = int(fit.day0[rows[0]]) + fit.timing.estimation[0]
    blank = int(np.isnan(fit.design.base[first : first + fit.timing.days]).sum())
    several = _several(fit.day0[rows])
    if blank and not several:
        found.notes.append(
            f"{blank} of {fit.timing.days} estimation days are not used: the model's regressors "
            "have no value"
        )
    if several:
        found.numbers.update({"rbar_overlapping": overlapping, "overlap": overlap})
        if math.isnan(overlap):
            found.reasons["overlap"] = found.reasons.get("rbar", "there are no pairs")
        if math.isnan(overlapping):
            found.reasons["rbar_overlapping"] = "no two windows share a day"
    return n > 1 and (math.isnan(overlap) or overlap > 0)


def _several(day0: Ints) -> bool:
    return bool((day0 != day0[0]).any())


def _rank_tests(fit: AbnormalReturns, sums: DaySums, s: int, w: int, n: int) -> list[TestResult]:
    T = fit.timing.days
    place = fit.timing.place(fit.timing.windows[w])
    window = slice(T + place.start, T + place.stop)
    count, second = sums.count[s], sums.zivney_count[s]
    corrado = corrado_statistic(sums.rank[s], count, count, window)
    weighted = corrado_statistic(sums.scaled_rank[s], count, np.sqrt(count), window)
    zivney = corrado_statistic(sums.zivney[s], second, np.sqrt(second), window)
    flat = "an event day has no cross-sectional spread"
    event = float(sums.grank_event[s, w]) / n
    t, z, days = grank_statistics(sums.grank[s, w], count[:T], event, n)
    reason = "" if math.isfinite(z) else "abnormal returns have no cross-sectional spread"
    far = "the event day's rank is beyond what the law of t allows"
    return [
        outcome("corrado_z", corrado),
        outcome("corrado_u_z", weighted),
        outcome("corrado_zivney_z", zivney, reason=flat if math.isnan(zivney) else ""),
        outcome("grank_t", t, df=(days - 1,), reason=reason or ("" if math.isfinite(t) else far)),
        outcome("grank_z_indep", z, reason=reason),
    ]


def _firms_jointly(
    work: Work, rows: Ints, s: int, w: int, scale: float, no_portfolio: str
) -> TestResult:
    n, T = len(rows), work.fit.timing.days
    free = int((work.sums.count[s, :T] > 0).sum()) - work.fit.design.parameters
    if no_portfolio:
        return outcome("mvrm_F", df=(n, free - n + 1), reason=no_portfolio)
    if n >= free:
        return joint_test("mvrm_F", np.zeros(n), np.empty((0, 0)), free, scale)
    key = (s,)
    if key not in work.products:
        e = estimation_residuals(work.read, work.fit, rows, work.chunk)
        e = e[:, np.isfinite(e).all(axis=0)]
        work.products[key] = e @ e.T
    return joint_test("mvrm_F", work.fit.car[rows, w], work.products[key], free, scale)


def _sectors_jointly(work: Work, w: int, scale: float, found: _Found) -> None:
    """Test that no sector reacted, and that all reacted alike, from their portfolios."""
    T, sums = work.fit.timing.days, work.sums
    sets = [work.sets.column[group, w] for group in work.sets.groups[1:]]
    sets = [s for s in sets if work.sets.members[:, s].any()]
    members = work.sets.members[:, sets]
    count = sums.count[sets, :T]
    there = count[0] > 0
    reason = ""
    if work.quiet is None:
        reason = "firms have different event dates and form no portfolios"
    elif len(sets) < 2:
        reason = "there is one sector only"
    elif (count != members.sum(axis=0)[:, None] * there).any():
        reason = "firms lack returns on different estimation days: no common regressors"
    free = int(there.sum()) - work.fit.design.parameters
    effect = np.array([work.fit.car[inside, w].mean() for inside in members.T])
    e = (sums.residual[sets] / np.maximum(count, 1))[:, there]
    law: JointLaw | str = reason
    if work.quiet is not None and not reason:
        lines = work.quiet.lines
        law = _law(work, tuple(sets), lambda: lines[sets], contrasts=True)
    for key, equal in (("sectors_zero_F", False), ("sectors_equal_F", True)):
        if reason:
            found.add(outcome(key, reason=reason))
        else:
            found.add(joint_test(key, effect, e @ e.T, free, scale, equal=equal))
        _placebo_p(found, key, law, w, equal=equal)


def _on_quiet_dates(work: Work, quiet: QuietLaw, s: int, w: int, found: _Found) -> None:
    test, dates = placebo_test(quiet, s, w)
    found.add(test)
    trailing = float(quiet.trailing[s, w])
    found.numbers.update({"placebo_dates": dates, "volatility_trailing": trailing})
    if trailing > LOUD:
        found.notes.append(
            f"the {GUARD} days before the window were {trailing:.1f} times as volatile as the "
            "estimation days: believe placebo_t rather than portfolio_t or corrado_z"
        )
    elif math.isnan(trailing):
        found.reasons["volatility_trailing"] = f"too few returns in the {GUARD} days before"
    rows = np.flatnonzero(work.sets.members[:, s])
    law: JointLaw | str
    if found.tests["mvrm_F"].reason:
        law = found.tests["mvrm_F"].reason
    elif len(rows) > JOINT_FIRMS:
        law = f"{len(rows)} firms: placebo dates are run for up to {JOINT_FIRMS}"
    else:
        series = work.fit.series[rows]
        law = _law(work, (s,), lambda: np.vstack([work.read(k, k + 1) for k in series]))
    _placebo_p(found, "mvrm_F", law, w)


def _law(
    work: Work, key: tuple[int, ...], values: Callable[[], Floats], *, contrasts: bool = False
) -> JointLaw | str:
    if key not in work.laws:
        work.laws[key] = joint_law(values(), work.fit, contrasts=contrasts)
    return work.laws[key]


def _placebo_p(
    found: _Found, key: str, law: JointLaw | str, w: int, *, equal: bool = False
) -> None:
    name = f"{TESTS[key].p_key}_placebo"
    found.numbers[name] = math.nan
    real = found.tests[key]
    if real.reason or isinstance(law, str):
        found.reasons[name] = real.reason or str(law)
    else:
        null = (law.equal if equal else law.zero)[:, w]
        found.numbers[name] = upper_p(real.statistic, null[np.isfinite(null)])


def _volatility_of_firms(fit: AbnormalReturns, rows: Ints, w: int, found: _Found) -> None:
    rbar = found.numbers["rbar"]
    found.numbers["volatility_event"] = math.nan
    if len(rows) < 3 or not rbar < 1 - 1e-9:
        found.reasons["volatility_event"] = "fewer than three firms, or no r-bar below one"
        return
    free = fit.n_obs[rows] - fit.design.parameters
    scar = fit.car[rows, w] / np.sqrt(fit.variance[rows, w])
    usual = math.sqrt(float((free / (free - 2)).mean()) * (1 - rbar))
    ratio = float(scar.std(ddof=1)) / usual
    found.numbers["volatility_event"] = ratio
    if ratio > LOUD:
        found.notes.append(
            f"abnormal returns are {ratio:.1f} times as dispersed as estimation days suggest: "
            "tests that do not survive event-induced variance reject too often"
        )


def _record(group: str, window: tuple[int, int], found: _Found, *, shared: bool) -> WindowTests:
    tests = {key: found.tests[key] for key in TESTS if key in found.tests}
    notes = list(found.notes)
    if shared and tests and not math.isnan(found.numbers["n_eff"]):
        notes.insert(
            0,
            f"firms share event days: {found.numbers['n']:.0f} firms count as "
            f"{found.numbers['n_eff']:.1f} independent ones (mean residual correlation "
            f"{found.numbers['rbar']:.3f})",
        )
    return WindowTests(
        group=group,
        window=window,
        numbers=found.numbers,
        tests=tests,
        headline=HEADLINE,
        cross_checks=CROSS_CHECKS,
        foils=FOILS if shared else (),
        notes=tuple(notes),
        reasons={**found.reasons, **{k: t.reason for k, t in tests.items() if t.reason}},
    )


def _json(value: float) -> float | int | None:
    if isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else None

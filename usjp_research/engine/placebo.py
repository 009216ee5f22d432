"""The same study on quiet dates: shifted event calendars, their null law and what it can detect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from usjp_research.engine.design import Bools, Design, Floats, Ints, Plan
from usjp_research.engine.rolling import Forecast, rolling_forecast
from usjp_research.words import InputError, card, label, number, p_value

REAL = ("effect", "error", "statistic", "worth")
NULL = ("null_effect", "null_error", "null_statistic")
TABLE = (
    *("effect", "error", "statistic", "center", "critical", "low", "high"),
    *("p", "p_stepdown", "p_holm", "p_bh", "mde", "shifts", "independent"),
)


@dataclass(frozen=True, slots=True)
class Leg:
    """One signed window of one portfolio: a term of the sum that a sector's statistic is."""

    event: str
    series: str
    day0: int
    window: tuple[int, int]
    sign: int


@dataclass(frozen=True, slots=True)
class Placebo:
    """A signed sum of event windows per group, at the real dates and at every shift of them.

    ``effect``, ``error`` and ``statistic`` (n_groups,) are the sum of signed abnormal returns C,
    its guarded standard error and S = C / se; with ``null_`` before the name those at each of the
    ``shifts`` (n_shifts, n_groups), sessions by which the whole calendar moved. ``worth``
    (n_groups,) is the rough number of independent shifts behind each group; ``admissible`` how many
    calendars and events admit, before days without returns take some away. ``reason`` says why
    there is no law: no shift then, and every number is NaN.
    """

    groups: tuple[str, ...]
    shifts: Ints
    effect: Floats
    error: Floats
    statistic: Floats
    null_effect: Floats
    null_error: Floats
    null_statistic: Floats
    worth: Floats
    admissible: int = 0
    reason: str = ""

    @property
    def independent(self) -> float:
        """Rough number of independent shifts, the least of any group."""
        return float(self.worth.min())

    @property
    def center(self) -> Floats:
        """Mean of the statistic over the shifts, shape (n_groups,)."""
        return np.asarray(self.null_statistic.sum(axis=0) / (len(self) or np.nan))

    @property
    def distance(self) -> Floats:
        """How far the real statistic lies from the centre, shape (n_groups,)."""
        return np.abs(self.statistic - self.center)

    @property
    def null_distance(self) -> Floats:
        """How far each shift's statistic lies from the centre, shape (n_shifts, n_groups)."""
        return np.abs(self.null_statistic - self.center)

    @property
    def p(self) -> Floats:
        """Placebo p-value of each group alone, two-sided, shape (n_groups,)."""
        found = placebo_p(self.null_distance, self.distance)
        return np.where(np.isnan(self.distance), np.nan, found)

    def __len__(self) -> int:
        return len(self.shifts)

    def part(self, groups: Sequence[str]) -> Placebo:
        """Take some of the groups as a family of their own, on the same shifts."""
        at = [self.groups.index(group) for group in groups]
        numbers = {name: getattr(self, name)[..., at] for name in (*REAL, *NULL)}
        return replace(self, groups=tuple(groups), **numbers)

    def table(self, alpha: float, power: float, *, family: bool) -> pd.DataFrame:
        """Lay the law out: one row per group, which is the index, and the columns of `TABLE`.

        Intervals are by inversion: an effect is inside when the test at level ``alpha`` does not
        reject it; ``critical`` is their half-width in standard errors. As a family they hold for
        all groups at once, by the quantile of the largest distance; alone each has its own, and
        its adjusted p-values are the p itself. An effect of size ``mde`` is found with probability
        ``power``. Romano and Wolf (2005); Holm (1979); Benjamini and Hochberg (1995).
        """
        from statsmodels.stats.multitest import multipletests

        rows = pd.DataFrame(np.nan, pd.Index(self.groups, name="group"), list(TABLE))
        rows = rows.assign(shifts=len(self))
        if self.reason:
            return rows
        distance = self.null_distance
        if family:
            distance = np.broadcast_to(distance.max(axis=1, keepdims=True), distance.shape)
        critical = np.array([quantile(column, alpha) for column in distance.T])
        middle, half = self.effect - self.center * self.error, critical * self.error
        sizes = zip((self.null_statistic - self.center).T, self.error, critical, strict=True)
        return rows.assign(
            **{name: getattr(self, name) for name in TABLE[:4]},
            critical=critical,
            low=middle - half,
            high=middle + half,
            p=self.p,
            p_stepdown=stepdown_p(self.distance, self.null_distance) if family else self.p,
            p_holm=_holm(self.p) if family else self.p,
            p_bh=multipletests(self.p, method="fdr_bh")[1] if family else self.p,
            mde=[minimum_detectable(*numbers, power) for numbers in sizes],
            independent=self.worth,
        )

    def _repr_html_(self) -> str:
        if self.reason:
            return card("Placebo law", ", ".join(map(label, self.groups)), self.reason)
        told = (
            f"{label(group)} S = {number(float(s), 2)}, p {p_value(float(p))}"
            for group, s, p in zip(self.groups, self.statistic, self.p, strict=True)
        )
        count = f"{len(self)} calendars, about {self.independent:.0f} independent"
        return card("Placebo law", "", count, *told)


def _holm(p: Floats) -> Floats:
    """Adjust p-values by Holm (1979), as statsmodels does, which collects all garbage each time."""
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.asarray(np.minimum(steps, 1.0)[np.argsort(order)])


def runs(offsets: Sequence[int] | Ints) -> list[tuple[int, int]]:
    """Group ascending offsets into windows without holes: -1, 0 and 3 are -1 to 0 and 3 to 3."""
    parts = np.split(np.asarray(offsets, int), np.flatnonzero(np.diff(offsets) > 1) + 1)
    return [(int(part[0]), int(part[-1])) for part in parts if part.size]


def own_days(legs: Sequence[Leg], window: tuple[int, int] | None = None) -> list[int]:
    """List the trading days inside the windows of a calendar, or in one window at each day 0."""
    spans = [(leg.day0, window or leg.window) for leg in legs]
    return sorted({day0 + k for day0, (low, high) in spans for k in range(low, high + 1)})


def admissible_shifts(
    legs: Sequence[Leg], masked: Bools, rule: Plan, *, anchored: bool = False
) -> Ints:
    """Enumerate the shifts, ascending, of an event calendar that touch no masked day.

    Shifted windows and their estimation windows lie inside the data, with enough days that
    neither real events nor the calendar's own shifted windows take; no return is read.
    """
    n_days = len(masked)
    shifts = np.arange(-n_days, n_days + 1)
    good = shifts != 0
    busy = np.concatenate([[0], np.cumsum(masked)])
    own = own_days(legs, rule.window if anchored else None)
    estimation = rule.estimation
    for day0, (low, high) in sorted({(leg.day0, leg.window) for leg in legs}):
        first, last = day0 + low + shifts, day0 + high + shifts
        end = day0 + (rule.window[0] if anchored else low) - estimation.ends_before
        good &= end + shifts - estimation.sessions + 1 >= 0
        good &= (last < n_days) & (day0 + shifts < n_days)
        good &= busy[np.clip(last + 1, 0, n_days)] == busy[np.clip(first, 0, n_days)]
        span = end - np.arange(estimation.sessions)
        span = span[~np.isin(span, own)]  # the calendar's own windows are masked as it moves
        moved = np.clip(span + shifts[:, None], 0, n_days - 1)
        good &= (~masked[moved]).sum(axis=1) >= estimation.minimum
    return np.asarray(shifts[good])


def independent_shifts(legs: Sequence[Leg], shifts: Ints) -> float:
    """Return how many independent draws a law of M overlapping shifts is worth, roughly.

    The share of days on which windows of two shifts coincide is the correlation of their sums;
    the spread is known as well as from ``M^2 / sum of squared correlations`` independent ones.
    """
    if not len(shifts):
        return 0.0
    days = np.array(own_days(legs))
    line = np.arange(1 + max(np.ptp(days), np.ptp(shifts)))
    taken, used = (np.isin(line, at - at.min()).astype(float) for at in (days, shifts))
    share = np.correlate(taken, taken, "full") / len(days)
    pairs = np.correlate(used, used, "full")
    return float(len(shifts) ** 2 / (pairs * share**2).sum())


def placebo_law(
    groups: Mapping[str, Sequence[Leg]],
    returns: pd.DataFrame,
    design: Design,
    masked: Bools,
    rule: Plan,
    *,
    calendar: Sequence[Leg] | None = None,
    shifts: Ints | None = None,
    anchored: bool = False,
    **how: Any,
) -> Placebo:
    """Compute every group's statistic at the real dates and at every admissible shift.

    For group g the effect is ``C = sum of sign x CAR`` over its legs, its variance the sum of the
    legs' guarded variances, and ``S = C / sqrt(variance)``. Shifting the whole calendar keeps the
    spacing of the events and the correlation between sectors, so the joint law of the shifted
    statistics is the null law of the family (docs/methods.md). The calendar's own windows are
    masked wherever it stands: otherwise a placebo's later windows would be fitted on its earlier
    ones, and its sum would vary less.

    Parameters
    ----------
    returns : DataFrame of shape (n_days, n_series)
        Series by the name that legs give; simple returns as decimals.
    masked : ndarray of shape (n_days,), bool
        Days inside real event windows.
    calendar : sequence of Leg, optional
        All windows of the family when ``groups`` is a part of it: they say which ``shifts`` are
        admissible, if none are given, and which days move with the calendar.
    anchored : bool
        Windows before or after the event: estimation ends where that of the event itself ends, and
        only the days of the event windows move as masked.
    how
        ``variance`` and ``forecast``, as for `signed_sums`.

    Raises
    ------
    InputError
        When a real window is not complete, or there are fewer shifts than the rule asks for.
    """
    every = [leg for legs in groups.values() for leg in legs]
    calendar = every if calendar is None else calendar
    if shifts is None:
        shifts = admissible_shifts(calendar, masked, rule, anchored=anchored)
        remedy = "a longer history of returns, or fewer and closer events"
        enough(len(shifts), rule, "placebo calendars", remedy)
    plan = (returns, design, masked, rule, np.r_[0, shifts])
    how |= {"calendar": calendar, "anchored": anchored}
    effect, variances, *_ = signed_sums([*groups.values()], *plan, **how)
    law = law_of_sums(groups, shifts, effect, variances)
    known = np.isfinite(law.effect + law.error)
    if not known.all():
        raise InputError(
            f"sector '{law.groups[known.argmin()]}': a real event window, or the sessions "
            "before it, are not complete; give a longer history of returns"
        )
    enough(len(law), rule, "placebo calendars with complete returns")
    return law


def signed_sums(
    groups: Sequence[Sequence[Leg]],
    returns: pd.DataFrame,
    design: Design,
    masked: Bools,
    rule: Plan,
    moves: Ints,
    *,
    calendar: Sequence[Leg],
    anchored: bool = False,
    variance: Callable[[Forecast], Floats] = lambda forecast: forecast.guarded,
    forecast: Callable[..., Forecast] | None = None,
) -> Floats:
    """Sum every group's legs at each move of the calendar, as `placebo_law` describes them.

    ``variance`` may take another one than the guarded. ``forecast`` stands in place of
    `rolling_forecast` on ``design``: called with returns and mask, and by name with the rest of
    its arguments and ``days``, the places of day 0. Returns the sums of signed abnormal returns
    and of variances, the mean loading on the first regressor, and the sum of variances without
    the guard, shape (4, n_moves, n_groups).
    """
    moving = own_days(calendar, rule.window if anchored else None)
    parts: dict[Leg, Floats] = {}
    every = {leg for legs in groups for leg in legs}
    for day0, window in sorted({(leg.day0, leg.window) for leg in every}):
        here = [leg for leg in every if (leg.day0, leg.window) == (day0, window)]
        names = sorted({leg.series for leg in here})
        plan: dict[str, Any] = {
            "window": window,
            "estimation": rule.estimation,
            "anchor": rule.window[0] if anchored else None,
            "guard_sessions": rule.guard_sessions,
            "moving_mask": [day - day0 for day in moving],
        }
        values, at = returns[names].to_numpy("float64"), day0 + moves
        if forecast:
            fit, rows = forecast(values, masked, days=at, **plan), at
        else:
            fit = rolling_forecast(values, design, masked, days=at, **plan)
            rows = np.arange(len(at))
        found = np.stack([fit.car, variance(fit), fit.beta, fit.variance])[:, rows]
        parts |= {leg: found[:, :, names.index(leg.series)] for leg in here}
    sums = [
        sum(parts[leg] * [[leg.sign], [1], [1 / len(legs)], [1]] for leg in legs) for legs in groups
    ]
    return np.array(sums).reshape(len(groups), 4, len(moves)).transpose(1, 2, 0)


def enough(seen: int, rule: Plan, what: str, remedy: str = "a longer history of returns") -> None:
    """Refuse with an `InputError` what rests on fewer calendars than the rule asks for."""
    if seen < (least := rule.least_shifts):
        raise InputError(f"seen {seen} {what}, the rule asks for {least}: give {remedy}")


def law_of_sums(
    groups: Mapping[str, Sequence[Leg]], shifts: Ints, effect: Floats, variance: Floats
) -> Placebo:
    """Make a law of sums and their variances, (1 + n_shifts, n_groups), the real dates first.

    A shift at which any group has no number is left out.
    """
    error = np.sqrt(variance)
    statistic = np.divide(effect, error, out=np.zeros_like(effect), where=error != 0)
    whole = np.isfinite(effect + error)[1:].all(axis=1)
    worth = np.array([independent_shifts(legs, shifts[whole]) for legs in groups.values()])
    real = (effect[0], error[0], statistic[0])
    null = (effect[1:][whole], error[1:][whole], statistic[1:][whole])
    return Placebo(tuple(groups), shifts[whole], *real, *null, worth, len(shifts))


def versions_law(
    effect: Floats, error: Floats, alpha: float
) -> tuple[dict[str, Floats], dict[str, float]]:
    """Compute the law of many versions of one sum: of each alone, and of what they say together.

    Arrays are (1 + n_shifts, n_versions), the real dates first; a shift at which a version has
    no number is left out of its own law, and of the joint law of all.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = np.where(error > 0, effect / error, 0.0 * error)
    away = statistic - np.nanmean(statistic[1:], axis=0)
    far, known = np.abs(away), np.isfinite(away[1:])
    pairs = zip(far[1:].T, known.T, strict=True)
    critical = np.array([quantile(column[there], alpha) for column, there in pairs])
    common, shifts = np.r_[True, known.all(axis=1)], known.sum(axis=0)
    typical = np.abs(np.median(away[common], axis=1))
    outside = (far[common] > critical).mean(axis=1)
    alone = {
        "effect": effect[0],
        "low": (away[0] - critical) * error[0],
        "high": (away[0] + critical) * error[0],
        "p": (1 + (far[1:] >= far[0]).sum(axis=0)) / (1 + shifts),
        "shifts": shifts,
    }
    return alone, {
        "median": float(np.median(effect[0])),
        "lowest": float(effect[0].min()),
        "highest": float(effect[0].max()),
        "p_median": float(placebo_p(typical[1:], typical[0])),
        "outside": float(outside[0]),
        "p_outside": float(placebo_p(outside[1:], outside[0])),
        "shifts": int(common.sum()) - 1,
    }


def no_law(group: str, reason: str) -> Placebo:
    """Return the law of a group that cannot be tested: its reason, and no number."""
    numbers: dict[str, Any] = dict.fromkeys(REAL, np.full(1, np.nan))
    numbers |= dict.fromkeys(NULL, np.zeros((0, 1)))
    return Placebo((group,), np.zeros(0, dtype=np.int64), **numbers, reason=reason)


def join_laws(laws: Sequence[Placebo]) -> Placebo:
    """Put groups that were computed one by one back into one family, on their common shifts."""
    if not laws:
        raise InputError("no placebo law to join; run at least one sector")
    common = reduce(np.intersect1d, [law.shifts for law in laws])
    if not len(common):
        raise InputError("the sectors have no placebo calendar in common; run them again together")
    pairs = [(law, np.searchsorted(law.shifts, common)) for law in laws]
    numbers: dict[str, Any] = {n: np.concatenate([getattr(x, n) for x in laws]) for n in REAL}
    numbers |= {n: np.hstack([getattr(law, n)[row] for law, row in pairs]) for n in NULL}
    groups = tuple(group for law in laws for group in law.groups)
    return Placebo(groups, common, **numbers, admissible=min(law.admissible for law in laws))


def placebo_p(null: Floats, seen: Floats | float) -> Floats:
    """Return the share of draws, the seen one among them, that are at least as large."""
    return np.asarray((1 + (null >= seen).sum(axis=0)) / (1 + len(null)))


def quantile(values: Floats, alpha: float) -> float:
    """Return the placebo distance with rank ``floor(alpha (M + 1))`` from above.

    An observed one exceeds it exactly when its p-value is at most alpha.
    """
    rank = int(np.floor(alpha * (len(values) + 1) + 1e-9))
    return float(np.sort(values)[-rank]) if rank else float("inf")


def stepdown_p(distance: Floats, null_distance: Floats) -> Floats:
    """Adjust p-values over a family by the step-down of the largest remaining distance.

    Distances have shapes (n_groups,) and (n_shifts, n_groups) (Romano and Wolf 2005).
    """
    order = np.argsort(-distance, kind="stable")
    largest = np.maximum.accumulate(null_distance[:, order[::-1]], axis=1)[:, ::-1]
    out = np.empty(len(distance))
    out[order] = np.maximum.accumulate(placebo_p(largest, distance[order]))
    return out


def minimum_detectable(
    null_deviation: Floats, error: float, critical: float, power: float
) -> float:
    """Return the smallest positive effect, in units of ``error``, found with the given power.

    Its law is the placebo law, moved by the effect: it is found where
    ``|S - centre + effect / error| > critical``, with ``null_deviation`` (n_shifts,) S - centre
    and ``critical`` the interval's half-width.

    Examples
    --------
    >>> draws = np.linspace(-2, 2, 401)
    >>> round(minimum_detectable(draws, 0.01, 1.8, 0.8), 3)
    0.03
    """
    law = np.sort(null_deviation)
    at = law[law < critical][::-1]  # each is moved to the edge of the interval
    needed = critical - at
    above = len(law) - np.searchsorted(law, at - 1e-12, side="right")
    below = np.searchsorted(law, at - 2 * critical - 1e-12)
    found = (above + below) / len(law) >= power
    return float(needed[found.argmax()] * error) if found.any() else float("inf")


def family_detectable(away: Floats, alpha: float, power: float) -> tuple[float, Floats]:
    """Return a family's critical distance and each group's MDE, both in standard errors.

    From S - centre of every group at every shift, shape (n_shifts, n_groups).
    """
    critical = quantile(np.abs(away).max(axis=1), alpha)
    return critical, np.array([minimum_detectable(x, 1.0, critical, power) for x in away.T])

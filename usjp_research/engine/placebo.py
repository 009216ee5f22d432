"""The same study on quiet dates: shifted event calendars, their null law and what it can detect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from usjp_research.engine.design import Design, Plan
from usjp_research.engine.rolling import Forecast, rolling_forecast
from usjp_research.words import InputError, card, label, number, p_value

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

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

    def _repr_html_(self) -> str:
        span = f"sessions {self.window[0]} to {self.window[1]} from day {self.day0}"
        return card("Window", self.event, self.series, span, f"sign {self.sign:+d}")


@dataclass(frozen=True, slots=True)
class Placebo:
    """A signed sum of event windows per group, at the real dates and at every shift of them.

    Attributes
    ----------
    groups : tuple of str
    shifts : ndarray of shape (n_shifts,), int
        Sessions by which the whole calendar moved; the same for every group.
    effect, error, statistic : ndarray of shape (n_groups,)
        Sum of signed abnormal returns C, its guarded standard error se, and S = C / se.
    null_effect, null_error, null_statistic : ndarray of shape (n_shifts, n_groups)
        The same at each shift.
    admissible : int
        Shifts that calendars and events admit, before days without returns take some away.
    worth : ndarray of shape (n_groups,)
        Rough number of independent shifts behind each group: see `independent_shifts`.
    reason : str
        Why there is no law: no shift then, and every number is NaN.
    """

    groups: tuple[str, ...]
    shifts: npt.NDArray[np.int64]
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
        if self.reason:
            return np.full(len(self.groups), np.nan)
        return np.asarray(self.null_statistic.mean(axis=0))

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
        if self.reason:
            return np.full(len(self.groups), np.nan)
        beyond = (self.null_distance >= self.distance).sum(axis=0)
        return np.asarray((1 + beyond) / (1 + len(self.shifts)))

    def __len__(self) -> int:
        return len(self.shifts)

    def part(self, groups: Sequence[str]) -> Placebo:
        """Take some of the groups as a family of their own, on the same shifts."""
        at = [self.groups.index(group) for group in groups]
        real = {name: getattr(self, name)[at] for name in REAL}
        null = {name: getattr(self, name)[:, at] for name in NULL}
        return replace(self, groups=tuple(groups), **real, **null)

    def table(self, alpha: float, power: float, *, family: bool) -> pd.DataFrame:
        """Lay the law out as intervals, p-values and detectable effects.

        Intervals are by inversion: an effect is inside when the test at level ``alpha`` does
        not reject it. As a family they hold for all groups at once, their half-width the
        quantile of the largest distance; alone each has its own, and its adjusted p-values are
        the p itself.

        Parameters
        ----------
        alpha : float
            Share of the placebo law that an interval leaves out.
        power : float
            Chance with which an effect of size ``mde`` is found.
        family : bool
            Whether the groups are one family, or each is one of its own.

        Returns
        -------
        DataFrame
            One row per group, which is the index: ``effect``, ``error``, ``statistic``,
            ``center``, ``critical`` (half-width in standard errors), ``low``, ``high``, ``p``,
            ``p_stepdown``, ``p_holm``, ``p_bh``, ``mde``, ``shifts`` and ``independent``. NaN
            where there is no law.

        References
        ----------
        Romano and Wolf (2005), Econometrica 73, 1237-1282; Holm (1979), Scandinavian Journal of
        Statistics 6, 65-70; Benjamini and Hochberg (1995), Journal of the Royal Statistical
        Society B 57, 289-300.

        Examples
        --------
        >>> law.table(0.10, 0.80, family=True)[["low", "high", "p_stepdown"]]  # doctest: +SKIP
        """
        from statsmodels.stats.multitest import multipletests

        rows = pd.DataFrame(index=pd.Index(self.groups, name="group"), columns=list(TABLE))
        rows = rows.astype("float64").assign(shifts=len(self))
        if self.reason:
            return rows
        distance = self.null_distance
        if family:
            distance = np.broadcast_to(distance.max(axis=1, keepdims=True), distance.shape)
        critical = np.array([quantile(column, alpha) for column in distance.T])
        middle, half = self.effect - self.center * self.error, critical * self.error
        deviation = (self.null_statistic - self.center).T
        return rows.assign(
            effect=self.effect,
            error=self.error,
            statistic=self.statistic,
            center=self.center,
            critical=critical,
            low=middle - half,
            high=middle + half,
            p=self.p,
            p_stepdown=stepdown_p(self.distance, self.null_distance) if family else self.p,
            p_holm=multipletests(self.p, method="holm")[1] if family else self.p,
            p_bh=multipletests(self.p, method="fdr_bh")[1] if family else self.p,
            mde=[
                minimum_detectable(*numbers, power)
                for numbers in zip(deviation, self.error, critical, strict=True)
            ],
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


def runs(offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Group ascending offsets into windows without holes.

    Examples
    --------
    >>> runs([-1, 0, 3])
    [(-1, 0), (3, 3)]
    """
    found: list[tuple[int, int]] = []
    for k in offsets:
        if found and k == found[-1][1] + 1:
            found[-1] = (found[-1][0], k)
        else:
            found.append((k, k))
    return found


def admissible_shifts(
    legs: Sequence[Leg], masked: Bools, rule: Plan, *, anchored: bool = False
) -> npt.NDArray[np.int64]:
    """Enumerate the shifts of an event calendar that touch no real event.

    A shift is admissible when no shifted window overlaps a day of any primary, secondary or leak
    event, and every shifted window and its estimation window lie inside the data with enough
    days that neither real events nor the calendar's own shifted windows take. Calendars and
    events decide; no return is read.

    Parameters
    ----------
    legs : sequence of Leg
        All windows of all groups: one list of shifts serves the family.
    masked : ndarray of shape (n_days,), bool
        Days inside real event windows.
    rule : Plan
        The study's rule: its window, estimation window, guard and least number of shifts.
    anchored : bool
        As in `placebo_law`.

    Returns
    -------
    ndarray of int, ascending
    """
    n_days = len(masked)
    spots = sorted({(leg.day0, leg.window) for leg in legs})
    shifts = np.arange(-n_days, n_days + 1)
    good = np.ones(len(shifts), dtype=bool)
    busy = np.concatenate([[0], np.cumsum(masked)])
    own = _moving_days(legs, rule, anchored)
    estimation = rule.estimation
    for day0, (low, high) in spots:
        first, last = day0 + low + shifts, day0 + high + shifts
        end = day0 + (rule.window[0] if anchored else low) - estimation.ends_before
        good &= end + shifts - estimation.sessions + 1 >= 0
        good &= (last < n_days) & (day0 + shifts < n_days)
        good &= busy[np.clip(last + 1, 0, n_days)] == busy[np.clip(first, 0, n_days)]
        span = end - np.arange(estimation.sessions)
        span = span[~np.isin(span, own)]  # the calendar's own windows are masked as it moves
        moved = np.clip(span + shifts[:, None], 0, n_days - 1)
        good &= (~masked[moved]).sum(axis=1) >= estimation.minimum
    return np.asarray(shifts[good & (shifts != 0)], dtype=np.int64)


def own_days(legs: Sequence[Leg]) -> list[int]:
    """List the trading days inside the windows of a calendar of events."""
    return sorted({leg.day0 + k for leg in legs for k in range(leg.window[0], leg.window[1] + 1)})


def independent_shifts(legs: Sequence[Leg], shifts: npt.NDArray[np.int64]) -> float:
    """Return how many independent draws a law of overlapping shifts is worth, roughly.

    Two shifts of one calendar share the days on which their windows coincide: neighbours nearly
    all, others those of one event that falls on another's. With daily abnormal returns
    independent over time and equally variable, the share is the correlation of their sums, and
    the spread of M such draws is known as well as that of ``M^2 / sum of squared correlations``
    independent ones.

    Examples
    --------
    >>> leg = Leg("E1", "sector/solar", 300, (-1, 1), 1)
    >>> round(independent_shifts([leg], np.arange(1, 501)))
    237
    """
    days = own_days(legs)
    taken = np.zeros(days[-1] - days[0] + 1)
    taken[np.array(days) - days[0]] = 1.0
    used = np.zeros(int(shifts.max() - shifts.min()) + 1)
    used[shifts - shifts.min()] = 1.0
    share = np.correlate(taken, taken, "full") / len(days)
    pairs = np.correlate(used, used, "full")
    reach = min(len(taken), len(used)) - 1
    share = share[len(taken) - 1 - reach : len(taken) + reach]
    pairs = pairs[len(used) - 1 - reach : len(used) + reach]
    return float(len(shifts) ** 2 / (pairs * share**2).sum())


def _moving_days(legs: Sequence[Leg], rule: Plan, anchored: bool) -> list[int]:
    """List the days that are masked as the calendar moves; of the events where anchored."""
    return own_days([replace(leg, window=rule.window) for leg in legs] if anchored else legs)


def placebo_law(
    groups: Mapping[str, Sequence[Leg]],
    returns: Callable[[Sequence[str]], Floats],
    design: Design,
    masked: Bools,
    rule: Plan,
    *,
    calendar: Sequence[Leg] | None = None,
    shifts: npt.NDArray[np.int64] | None = None,
    variance: Callable[[Forecast], Floats] = lambda forecast: forecast.guarded,
    anchored: bool = False,
    forecast: Callable[..., Forecast] | None = None,
) -> Placebo:
    """Compute every group's statistic at the real dates and at every admissible shift.

    For group g the effect is ``C = sum of sign x CAR`` over its legs, its variance the sum of
    the legs' guarded variances, and ``S = C / sqrt(variance)``. Shifting the whole calendar
    keeps the spacing of the events and the correlation between sectors, so the joint law of the
    shifted statistics is the null law of the family (METHODS section 12). The calendar's own
    windows are masked in its estimation windows wherever it stands, as the real ones are at the
    real dates: otherwise a placebo's later windows would be fitted on its earlier ones, and its
    sum would vary less than the real one.

    Parameters
    ----------
    groups : mapping of str to sequence of Leg
    returns : callable
        From series names to an array of shape (n_days, n_series).
    design : Design
        The expected-return model on these days.
    masked : ndarray of shape (n_days,), bool
    rule : Plan
        The study's rule: its window, estimation window, guard and least number of shifts.
    calendar : sequence of Leg, optional
        All windows of the family when ``groups`` is only a part of it; they decide which shifts
        are admissible and which days move with the calendar.
    shifts : ndarray of int, optional
        Shifts to use in place of the admissible ones of these legs.
    variance : callable, optional
        Which variance of a forecast to use; the guarded one by default.
    anchored : bool
        Windows before or after the event, such as drift: every estimation window ends where
        that of the event itself ends, and only the days of the event windows move as masked.
    forecast : callable, optional
        Another forecast in place of `rolling_forecast` on ``design``: called with returns and
        mask, and by name ``window``, ``estimation``, ``anchor``, ``guard_sessions``,
        ``moving_mask`` and ``days``, the places of day 0 that will be read.

    Returns
    -------
    Placebo

    Raises
    ------
    InputError
        When there are fewer admissible shifts than the rule asks for.
    """
    every = [leg for legs in groups.values() for leg in legs]
    calendar = every if calendar is None else calendar
    if shifts is None:
        shifts = admissible_shifts(calendar, masked, rule, anchored=anchored)
        _enough(len(shifts), rule, "", "a longer history of returns, or fewer and closer events")
    moves, moving = np.concatenate([[0], shifts]), _moving_days(calendar, rule, anchored)
    parts: dict[Leg, Floats] = {}
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
        if forecast:
            fit = forecast(returns(names), masked, days=day0 + moves, **plan)
        else:
            fit = rolling_forecast(returns(names), design, masked, **plan)
        both = np.stack([fit.car, variance(fit)])[:, day0 + moves]
        parts |= {leg: both[:, :, names.index(leg.series)] for leg in here}
    signed = {
        name: [np.array([leg.sign, 1])[:, None] * parts[leg] for leg in legs]
        for name, legs in groups.items()
    }
    effect, total = np.stack([np.sum(sums, axis=0) for sums in signed.values()], axis=-1)
    return _law(groups, shifts, effect, total, rule)


def _enough(seen: int, rule: Plan, which: str, remedy: str) -> None:
    if seen < rule.least_shifts:
        raise InputError(
            f"seen {seen} placebo calendars{which}, the rule asks for {rule.least_shifts}: "
            f"give {remedy}"
        )


def _law(
    groups: Mapping[str, Sequence[Leg]],
    shifts: npt.NDArray[np.int64],
    effect: Floats,
    total: Floats,
    rule: Plan,
) -> Placebo:
    """Make the law of sums and variances, shape (1 + n_shifts, n_groups), the real ones first."""
    known = np.isfinite(effect + total)
    if not known[0].all():
        bad = list(groups)[int(known[0].argmin())]
        raise InputError(
            f"sector '{bad}': a real event window, or the sessions before it, are not complete; "
            "give a longer history of returns"
        )
    whole = known[1:].all(axis=1)
    _enough(int(whole.sum()), rule, " with complete returns", "a longer history of returns")
    error = np.sqrt(total)
    statistic = np.divide(effect, error, out=np.zeros_like(effect), where=error > 0)
    return Placebo(
        groups=tuple(groups),
        shifts=shifts[whole],
        effect=effect[0],
        error=error[0],
        statistic=statistic[0],
        null_effect=effect[1:][whole],
        null_error=error[1:][whole],
        null_statistic=statistic[1:][whole],
        worth=np.array([independent_shifts(legs, shifts[whole]) for legs in groups.values()]),
        admissible=len(shifts),
    )


def no_law(group: str, reason: str) -> Placebo:
    """Return the law of a group that cannot be tested: its reason, and no number."""
    numbers: dict[str, Any] = dict.fromkeys(REAL, np.full(1, np.nan))
    numbers |= dict.fromkeys(NULL, np.zeros((0, 1)))
    return Placebo((group,), np.zeros(0, dtype=np.int64), **numbers, reason=reason)


def join_laws(laws: Sequence[Placebo]) -> Placebo:
    """Put groups that were computed one by one back into one family, on their common shifts.

    Raises
    ------
    InputError
        When there is nothing to join, or no shift is common to all.
    """
    if not laws:
        raise InputError("no placebo law to join; run at least one sector")
    common = laws[0].shifts
    for law in laws[1:]:
        common = np.intersect1d(common, law.shifts)
    if not len(common):
        raise InputError("the sectors have no placebo calendar in common; run them again together")
    rows = [np.searchsorted(law.shifts, common) for law in laws]
    pairs = list(zip(laws, rows, strict=True))
    numbers: dict[str, Any] = {n: np.concatenate([getattr(x, n) for x in laws]) for n in REAL}
    numbers |= {n: np.hstack([getattr(law, n)[row] for law, row in pairs]) for n in NULL}
    return Placebo(
        groups=tuple(group for law in laws for group in law.groups),
        shifts=common,
        **numbers,
        admissible=min(law.admissible for law in laws),
    )


def quantile(values: Floats, alpha: float) -> float:
    """Return the value that a placebo distance must exceed for p to be at most alpha.

    The order statistic with rank ``floor(alpha (M + 1))`` from above, so that the interval built
    on it leaves out zero exactly when ``(1 + #{values >= observed}) / (M + 1) <= alpha``.

    Examples
    --------
    >>> quantile(np.arange(1.0, 20.0), 0.10)
    18.0
    """
    rank = int(np.floor(alpha * (len(values) + 1) + 1e-9))
    if rank < 1:
        return float("inf")
    return float(np.sort(values)[-rank])


def stepdown_p(distance: Floats, null_distance: Floats) -> Floats:
    """Adjust p-values over the family by the step-down of the largest remaining distance.

    Controls the chance of any false rejection under the joint placebo law, and uses the
    correlation between groups.

    Parameters
    ----------
    distance : ndarray of shape (n_groups,)
    null_distance : ndarray of shape (n_shifts, n_groups)

    Returns
    -------
    ndarray of shape (n_groups,)

    References
    ----------
    Romano and Wolf (2005), Econometrica 73, 1237-1282.

    Examples
    --------
    >>> null = np.array([[1.0, 2.0], [0.5, 0.1], [0.2, 3.0]])
    >>> stepdown_p(np.array([2.5, 1.5]), null).tolist()
    [0.5, 0.75]
    """
    out = np.empty(len(distance))
    largest = 0.0
    rest = list(np.argsort(-distance, kind="stable"))
    while rest:
        top = rest[0]
        beyond = int((null_distance[:, rest].max(axis=1) >= distance[top]).sum())
        largest = max(largest, (1 + beyond) / (1 + len(null_distance)))
        out[top] = largest
        rest.pop(0)
    return out


def minimum_detectable(
    null_deviation: Floats, error: float, critical: float, power: float
) -> float:
    """Return the smallest positive effect that the interval finds with the given power.

    An effect is found when the interval leaves out zero. Its law is the placebo law, moved by
    the effect: the share of shifts with ``|S - centre + effect / se| > critical``.

    Parameters
    ----------
    null_deviation : ndarray of shape (n_shifts,)
        Signed distances S - centre of the shifts.
    error : float
        Standard error at the real dates.
    critical : float
        Half-width of the interval in standard errors.
    power : float

    Returns
    -------
    float
        In the units of ``error``.

    Examples
    --------
    >>> draws = np.linspace(-2, 2, 401)
    >>> round(minimum_detectable(draws, 0.01, 1.8, 0.8), 3)
    0.03
    """
    needed = np.sort(critical - null_deviation)
    candidates = needed[needed > 0]
    for step in candidates:
        found = np.abs(null_deviation + step + 1e-12) > critical
        if found.mean() >= power:
            return float(step * error)
    return float("inf")

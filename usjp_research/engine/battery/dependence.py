"""How strongly firm-events move together: residual correlation on matched calendar days."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from usjp_research.engine.battery.abnormal import AbnormalReturns, Residuals, collected
from usjp_research.engine.design import Bools, Floats

CELLS = 4_000_000  # of one block of the matrix of correlations
CONSTANT = 1e-12  # residuals whose variance is this share of their square have no correlation
UNIT_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class PairSums:
    """Residual correlations summed over pairs of a set, by trading days between their events."""

    lags: tuple[int, ...]  # 0 first
    total: Floats  # (n_sets, n_lags)
    pairs: Floats  # that have a correlation
    undefined: Floats  # pairs that have none
    firms: Floats

    def mean(self, place: int, length: int) -> tuple[float, float, float]:
        """Return r-bar, that of pairs whose windows share a day, and the mean share of days.

        r-bar averages correlation times share of ``length`` (Kolari, Pape and Pynnönen 2018).
        """
        n = self.firms[place]
        share = np.maximum(length - np.array(self.lags), 0) / length
        near = share > 0
        every = n * (n - 1) / 2 - self.undefined[place, near].sum()
        if every <= 0:
            return math.nan, math.nan, math.nan
        total, pairs = self.total[place], self.pairs[place]
        shared = pairs[near].sum()
        overlapping = float(total[near].sum() / shared) if shared else math.nan
        rbar, overlap = ((each * share).sum() / every for each in (total, pairs))
        return float(rbar), overlapping, float(overlap)


def pair_sums(residuals: Residuals, fit: AbnormalReturns, members: Bools) -> PairSums:
    """Sum correlations over the pairs of each set, ``members`` of shape (N, n_sets).

    Pairs without holes cost one pass over the firms. Every other pair is correlated on the days
    that both have: exact, with cost growing as incomplete times all firm-events.
    """
    timing, (dates, at) = fit.timing, np.unique(fit.day0, return_inverse=True)
    reach = max(high - low + 1 for low, high in timing.windows)
    lags = (0, *(lag for lag in range(1, reach) if np.isin(dates + lag, dates).any()))
    days = np.arange(timing.estimation[0], timing.estimation[1] + 1)
    complete = fit.n_obs == np.isfinite(fit.design.base[dates[:, None] + days]).sum(axis=1)[at]
    complete &= ~(fit.variance_about_mean <= CONSTANT * fit.variance_residual)
    n_sets = members.shape[1]
    if len(dates) > 1 and 8 * timing.days * len(dates) * n_sets * (2 * len(lags) - 1) > UNIT_BYTES:
        complete[:] = False  # many dates near one another: pair by pair takes less memory
    total, pairs, undefined = np.zeros((3, n_sets, len(lags)))
    sums = PairSums(lags, total, pairs, undefined, members.sum(axis=0).astype(float))
    if (complete & members.any(axis=1)).any():
        _add_complete(sums, residuals, fit, members & complete[:, None])
    _add_others(sums, residuals, fit, members, complete)
    return sums


def _add_complete(
    sums: PairSums, residuals: Residuals, fit: AbnormalReturns, members: Bools
) -> None:
    """Add pairs by sums of residuals of unit length, by event day.

    The squared length of such a sum, less its number of terms, is twice the sum of correlations.
    Of two dates apart, the earlier one shares the tail of its days, the later one the head.
    """
    dates, at = np.unique(fit.day0, return_inverse=True)
    count = np.zeros((len(dates), members.shape[1]))
    sides = [(lag, head) for lag in sums.lags for head in ((0, 1) if lag else (0,))]
    parts = {key: np.zeros((*count.shape, fit.timing.days - key[0])) for key in sides}
    moving = {key: np.zeros(count.shape) for key in sides}
    np.add.at(count, at, members)
    for rows, e in residuals(np.flatnonzero(members.any(axis=1))):
        for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(at[rows])) + 1):
            weight, place = members[rows[run]].T.astype(float), at[rows[run[0]]]
            for lag, head in sides:
                x = e[run, : e.shape[1] - lag] if head else e[run, lag:]
                known = np.isfinite(x[0])
                square = np.einsum("nt,nt->n", x[:, known], x[:, known])
                x = x[:, known] - x[:, known].mean(axis=1, keepdims=True)
                length = np.sqrt(np.einsum("nt,nt->n", x, x))
                moves = length**2 > CONSTANT * square
                unit = weight * moves / np.where(moves, length, 1.0)
                parts[lag, head][place][:, known] += unit @ x
                moving[lag, head][place] += weight @ moves
    for column, lag in enumerate(sums.lags):
        here = np.flatnonzero(np.isin(dates + lag, dates))
        later = np.searchsorted(dates, dates[here] + lag)
        tails, heads = (lag, 0), (lag, int(lag > 0))
        total = np.einsum("dst,dst->s", parts[tails][here], parts[heads][later])
        pairs = (moving[tails][here] * moving[heads][later]).sum(axis=0)
        every = (count[here] * count[later]).sum(axis=0)
        if lag == 0:  # each pair is there twice, and each firm with itself
            itself = moving[tails].sum(axis=0)
            total, pairs = (total - itself) / 2, (pairs - itself) / 2
            every = (every - count.sum(axis=0)) / 2
        sums.total[:, column] += total
        sums.pairs[:, column] += pairs
        sums.undefined[:, column] += every - pairs


def _add_others(
    sums: PairSums, residuals: Residuals, fit: AbnormalReturns, members: Bools, complete: Bools
) -> None:
    """Add the pairs of which one is not complete, those of two such half from either side."""
    T, inside = fit.timing.days, members.any(axis=1)
    rows = {day: np.flatnonzero(inside & (fit.day0 == day)) for day in np.unique(fit.day0).tolist()}

    @lru_cache(2 * len(sums.lags))
    def of_day(day: int) -> Floats:
        return collected(residuals, rows[day], T)

    for day, mine in rows.items():
        holed = np.flatnonzero(~complete[mine])
        near = {shift for lag in sums.lags for shift in (lag, -lag) if day + shift in rows}
        for shift in sorted(near) if len(holed) else ():
            theirs, column = rows[day + shift], sums.lags.index(abs(shift))
            own = slice(max(shift, 0), T + min(shift, 0))
            its = slice(max(-shift, 0), T + min(-shift, 0))
            weight = members[theirs] * np.where(complete[theirs], 1.0, 0.5)[:, None]
            for part in np.array_split(holed, 1 + len(holed) * len(theirs) // CELLS):
                rho = _correlations(of_day(day)[part][:, own], of_day(day + shift)[:, its])
                there, lost = np.isfinite(rho), np.isnan(rho)
                if shift == 0:  # itself
                    there[range(len(part)), part] = lost[range(len(part)), part] = False
                ours = members[mine[part]]
                for each, values in (
                    (sums.total, np.where(there, rho, 0.0)),
                    (sums.pairs, there),
                    (sums.undefined, lost),
                ):
                    each[:, column] += (ours * (values @ weight)).sum(axis=0)


def _correlations(a: Floats, b: Floats) -> Floats:
    """Correlate every row of ``a`` with every row of ``b`` on the days that both have."""
    there_a, there_b = np.isfinite(a).astype(float), np.isfinite(b).astype(float)
    a, b = np.nan_to_num(a), np.nan_to_num(b)
    n = there_a @ there_b.T
    sum_a, sum_b = a @ there_b.T, there_a @ b.T
    square_a, square_b = (a * a) @ there_b.T, there_a @ (b * b).T
    with np.errstate(divide="ignore", invalid="ignore"):
        var_a, var_b = square_a - sum_a**2 / n, square_b - sum_b**2 / n
        rho = (a @ b.T - sum_a * sum_b / n) / np.sqrt(var_a * var_b)
    good = (n >= 2) & (var_a > CONSTANT * square_a) & (var_b > CONSTANT * square_b)
    return np.where(good, rho, np.nan)

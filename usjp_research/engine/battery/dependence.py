"""How strongly firm-events move together: residual correlation on matched calendar days."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from usjp_research.engine.battery.abnormal import AbnormalReturns, ReadSeries, residual_blocks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
CELLS = 4_000_000  # of one block of the matrix of correlations
CONSTANT = 1e-12  # residuals whose variance is this share of their square have no correlation


@dataclass(frozen=True, slots=True)
class PairSums:
    """Residual correlations summed over pairs of firm-events, by the distance of event days.

    Attributes
    ----------
    lags : tuple of int
        Distances in trading days between the two events of a pair; 0 is the same day.
    total, pairs : ndarray of shape (n_sets, n_lags)
        Sum of the correlations, and how many pairs have one.
    undefined : ndarray of shape (n_sets, n_lags)
        Pairs with fewer than two days in common, or with constant residuals.
    firms : ndarray of shape (n_sets,)
    """

    lags: tuple[int, ...]
    total: Floats
    pairs: Floats
    undefined: Floats
    firms: Floats

    def mean(self, place: int, length: int) -> tuple[float, float, float]:
        """Return r-bar of one set for windows of some length, with what it is made of.

        Returns
        -------
        rbar : float
            Mean over all pairs of correlation times shared event days over ``length``. With one
            event date that is the mean correlation.
        overlapping : float
            Mean correlation of the pairs whose windows share a day.
        overlap : float
            Mean over all pairs of shared event days over ``length``.

        References
        ----------
        Kolari and Pynnönen (2010), Review of Financial Studies 23, 3996-4025; Kolari, Pape and
        Pynnönen (2018) for the partial overlap.
        """
        n = self.firms[place]
        share = np.maximum(length - np.array(self.lags), 0) / length
        near = share > 0
        every = n * (n - 1) / 2 - self.undefined[place, near].sum()
        shared = self.pairs[place, near].sum()
        nan = float("nan")
        if every <= 0:
            return nan, nan, nan
        mean = float((self.total[place] * share).sum() / every)
        return (
            mean,
            float(self.total[place, near].sum() / shared) if shared else nan,
            float((self.pairs[place] * share).sum() / every),
        )


def effective_firms(n: int, rbar: float) -> float:
    """Return how many independent firms tell as much as n firms with mean correlation rbar.

    Examples
    --------
    >>> effective_firms(30, 0.1)
    7.6923076923076925
    """
    return n / (1 + (n - 1) * rbar) if 1 + (n - 1) * rbar > 0 else float("nan")


@dataclass(slots=True)
class UnitSums:
    """Sums of residuals of unit length, by event day: pairs cost no more than firms.

    Of firm-events whose residuals are there on every day of their date: the squared length of
    the sum, less the number of terms, is twice the sum of the correlations of all pairs.
    """

    dates: Ints
    lags: tuple[int, ...]
    known: Bools
    parts: dict[tuple[int, int], Floats] = field(default_factory=dict)
    count: Floats | None = None

    def add(self, e: Floats, day0: Ints, members: Floats) -> None:
        """Add a block of residuals of shape (n, T), zero where a day is missing."""
        T, n_sets = e.shape[1], members.shape[1]
        if self.count is None:
            self.count = np.zeros((len(self.dates), n_sets))
            for lag in self.lags:
                for side in range(1 if lag == 0 else 2):
                    self.parts[lag, side] = np.zeros((len(self.dates), n_sets, T - lag))
        at = np.searchsorted(self.dates, day0)
        edges = np.flatnonzero(np.r_[True, at[1:] != at[:-1], True])
        for first, last in pairwise(edges.tolist()):
            place, run = at[first], slice(first, last)
            self.count[place] += members[run].sum(axis=0)
            for (lag, side), total in self.parts.items():
                # The later event shares the head of its days, the earlier one the tail.
                days = slice(0, T - lag) if side else slice(lag, T)
                known, x = self.known[place, days], e[run, days]
                mean = x.sum(axis=1) / known.sum()
                length = np.sqrt(np.einsum("nt,nt->n", x, x) - known.sum() * mean**2)
                weight = members[run] / length[:, None]
                total[place] += weight.T @ x - np.outer(weight.T @ mean, known)

    def pairs(self) -> tuple[Floats, Floats]:
        """Return sums of correlations and numbers of pairs, of shape (n_sets, n_lags)."""
        n_sets = 0 if self.count is None else self.count.shape[1]
        total, pairs = np.zeros((n_sets, len(self.lags))), np.zeros((n_sets, len(self.lags)))
        if self.count is None:
            return total, pairs
        for column, lag in enumerate(self.lags):
            tail = self.parts[lag, 0]
            if lag == 0:
                total[:, column] = (np.einsum("dst,dst->s", tail, tail) - self.count.sum(0)) / 2
                pairs[:, column] = (self.count * (self.count - 1) / 2).sum(axis=0)
                continue
            later = np.searchsorted(self.dates, self.dates + lag)
            here = np.flatnonzero(np.isin(self.dates + lag, self.dates))
            head = self.parts[lag, 1][later[here]]
            total[:, column] = np.einsum("dst,dst->s", tail[here], head)
            pairs[:, column] = (self.count[here] * self.count[later[here]]).sum(axis=0)
        return total, pairs


def pair_sums(
    read: ReadSeries,
    fit: AbnormalReturns,
    members: Bools,
    units: UnitSums,
    complete: Bools,
    *,
    chunk: int | None = None,
) -> PairSums:
    """Complete the sums over pairs with those where a day is missing.

    Pairs of firm-events without holes come from ``units`` at the cost of one pass. Every other
    pair is correlated on the days that both have, about its own means over these days, as
    products of masked matrices: exact, with cost growing as incomplete times all firm-events.

    Parameters
    ----------
    read, chunk
        As for `abnormal_returns`.
    fit : AbnormalReturns
    members : ndarray of shape (N, n_sets), bool
    units : UnitSums
        Of the complete firm-events.
    complete : ndarray of shape (N,), bool

    Returns
    -------
    PairSums
    """
    total, pairs = units.pairs()
    n_sets = members.shape[1]
    if not len(total):
        total = np.zeros((n_sets, len(units.lags)))
        pairs = np.zeros_like(total)
    undefined = np.zeros_like(total)
    fine = members.any(axis=1) & (fit.fault == 0)
    rows = {int(day): np.flatnonzero(fine & (fit.day0 == day)) for day in units.dates}
    kept: dict[int, Floats] = {}
    for day in map(int, units.dates):
        holed = rows[day][~complete[rows[day]]]
        if not len(holed):
            continue
        near = [day + s * lag for lag in units.lags for s in ((1, -1) if lag else (1,))]
        near = [other for other in near if other in rows]
        kept = {other: kept[other] for other in near if other in kept}
        for other in near:
            if other not in kept:
                kept[other] = estimation_residuals(read, fit, rows[other], chunk)
        mine = np.searchsorted(rows[day], holed)
        for other in near:
            column = units.lags.index(abs(other - day))
            shift = other - day
            T = fit.timing.days
            own = slice(max(shift, 0), T + min(shift, 0))
            its = slice(max(-shift, 0), T + min(-shift, 0))
            theirs = rows[other]
            # A pair of two incomplete firm-events is met from both sides: half each time.
            weight = members[theirs] * np.where(complete[theirs], 1.0, 0.5)[:, None]
            step = max(16, CELLS // max(len(theirs), 1))
            for at in range(0, len(holed), step):
                part = slice(at, at + step)
                rho = _correlations(kept[day][mine[part]][:, own], kept[other][:, its])
                there = np.isfinite(rho)
                if shift == 0:
                    rho[np.arange(len(rho)), mine[part]] = 0.0
                    there[np.arange(len(rho)), mine[part]] = False
                ours = members[holed[part]].astype(float)
                defined = np.where(np.isfinite(rho), rho, 0.0)
                found = (ours * (there @ weight)).sum(axis=0)
                total[:, column] += (ours * (defined @ weight)).sum(axis=0)
                pairs[:, column] += found
                lost = (ours * (np.isnan(rho) @ weight)).sum(axis=0)
                undefined[:, column] += lost
    return PairSums(units.lags, total, pairs, undefined, members.sum(axis=0).astype(float))


def estimation_residuals(
    read: ReadSeries, fit: AbnormalReturns, rows: Ints, chunk: int | None = None
) -> Floats:
    """Collect the residuals of ascending ``rows``, shape (n, T), NaN where missing."""
    out = np.empty((len(rows), fit.timing.days))
    for at, e in residual_blocks(read, fit, rows, chunk=chunk):
        out[np.searchsorted(rows, at)] = e
    return out


def _correlations(a: Floats, b: Floats) -> Floats:
    """Correlate every row of ``a`` with every row of ``b`` on the days that both have."""
    known_a, known_b = np.isfinite(a), np.isfinite(b)
    a, b = np.where(known_a, a, 0.0), np.where(known_b, b, 0.0)
    there_a, there_b = known_a.astype(float), known_b.astype(float)
    n = there_a @ there_b.T
    sum_a, sum_b = a @ there_b.T, there_a @ b.T
    square_a, square_b = (a * a) @ there_b.T, there_a @ (b * b).T
    with np.errstate(divide="ignore", invalid="ignore"):
        var_a, var_b = square_a - sum_a**2 / n, square_b - sum_b**2 / n
        rho = (a @ b.T - sum_a * sum_b / n) / np.sqrt(var_a * var_b)
    good = (n >= 2) & (var_a > CONSTANT * square_a) & (var_b > CONSTANT * square_b)
    return np.where(good, rho, np.nan)


def lags_between(dates: Ints, reach: int) -> tuple[int, ...]:
    """List the distances below ``reach`` that occur between event days, 0 first."""
    there = set(dates.tolist())
    return (0, *(lag for lag in range(1, reach) if any(day + lag in there for day in there)))

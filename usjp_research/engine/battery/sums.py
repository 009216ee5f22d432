"""One pass over the residuals: what every test needs of them, summed over firms by day."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from usjp_research.engine.battery.abnormal import AbnormalReturns, ReadSeries, residual_blocks
from usjp_research.engine.battery.dependence import (
    CONSTANT,
    PairSums,
    UnitSums,
    lags_between,
    pair_sums,
)
from usjp_research.engine.battery.ranks import Ranked, combined_ranks, rank_residuals

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
UNIT_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class DaySums:
    """Sums over the firm-events of a set, for each of the T estimation and H event days.

    Attributes
    ----------
    count : ndarray of shape (n_sets, T + H)
        Firm-events with an abnormal return.
    residual : ndarray of shape (n_sets, T)
    rank, scaled_rank : ndarray of shape (n_sets, T + H)
        Ranks K less (M + 1) / 2, and K / (M + 1) less a half: Corrado's tests.
    zivney, zivney_count : ndarray of shape (n_sets, T + H)
        The scaled rank once each event day is divided by its cross-sectional spread.
    grank : ndarray of shape (n_sets, n_windows, T)
        The scaled rank beside one cumulated event day.
    grank_event : ndarray of shape (n_sets, n_windows)
        Scaled ranks of that day.
    """

    count: Floats
    residual: Floats
    rank: Floats
    scaled_rank: Floats
    zivney: Floats
    zivney_count: Floats
    grank: Floats
    grank_event: Floats


def day_sums(
    read: ReadSeries,
    fit: AbnormalReturns,
    members: Bools,
    windows: list[tuple[int, ...]],
    *,
    chunk: int | None = None,
) -> tuple[DaySums, PairSums]:
    """Sum residuals, ranks and pair correlations over the members of each set.

    Parameters
    ----------
    read, chunk
        As for `abnormal_returns`.
    fit : AbnormalReturns
    members : ndarray of shape (N, n_sets), bool
    windows : list of tuple of int
        For each set, the places of the windows whose generalised ranks are wanted.

    Returns
    -------
    DaySums, PairSums
    """
    timing = fit.timing
    T, H, W = timing.days, fit.ar.shape[1], len(timing.windows)
    n_sets = members.shape[1]
    wanted = np.flatnonzero(members.any(axis=1) & (fit.fault == 0))
    dates = np.unique(fit.day0)
    index = dates[:, None] + np.arange(timing.estimation[0], timing.estimation[1] + 1)
    known = np.isfinite(fit.design.base[index])
    reach = max(high - low + 1 for low, high in timing.windows)
    lags = lags_between(dates, reach)
    units = UnitSums(dates, lags, known)
    possible = known.sum(axis=1)[np.searchsorted(dates, fit.day0).clip(max=len(dates) - 1)]
    complete = fit.n_obs == possible
    complete &= ~(fit.variance_about_mean <= CONSTANT * fit.variance_residual)
    if len(dates) > 1 and 8 * T * len(dates) * n_sets * (2 * len(lags) - 1) > UNIT_BYTES:
        complete[:] = False  # many dates near one another: pair by pair takes less memory

    sums = _zeros(n_sets, T, H, W)
    scales = _scales(fit, members, windows)
    for rows, e in residual_blocks(read, fit, wanted, chunk=chunk):
        ours = members[rows].astype(float)
        there = np.isfinite(np.hstack([e, fit.ar[rows]]))
        plain = np.where(there[:, :T], e, 0.0)
        sums.count[:] += ours.T @ there
        sums.residual[:] += ours.T @ plain
        whole = complete[rows]
        if whole.all():
            units.add(plain, fit.day0[rows], ours)
        elif whole.any():
            units.add(plain[whole], fit.day0[rows][whole], ours[whole])

        ranked = rank_residuals(e)
        K, size = _all_ranks(ranked, fit.ar[rows], there)
        sums.scaled_rank[:] += (ours / (size + 1)[:, None]).T @ K
        sums.rank[:] += ours.T @ K - (ours * ((size + 1) / 2)[:, None]).T @ there
        for s in range(n_sets):
            inside = np.flatnonzero(members[rows, s])
            if len(inside):
                part = ranked if len(inside) == len(rows) else ranked[inside]
                present = there[inside, :T]
                _add_standardised(sums, fit, s, windows[s], rows[inside], part, present, scales)
    centred = replace(
        sums,
        scaled_rank=sums.scaled_rank - sums.count / 2,
        zivney=sums.zivney - sums.zivney_count / 2,
        grank=sums.grank - sums.count[:, None, :T] / 2,
    )
    return centred, pair_sums(read, fit, members, units, complete, chunk=chunk)


def _zeros(n_sets: int, T: int, H: int, W: int) -> DaySums:
    """Return sums of nothing, to add to."""
    days = (n_sets, T + H)
    count, rank, scaled, zivney, zivney_count = (np.zeros(days) for _ in range(5))
    residual, grank = np.zeros((n_sets, T)), np.zeros((n_sets, W, T))
    grank_event = np.zeros((n_sets, W))
    return DaySums(count, residual, rank, scaled, zivney, zivney_count, grank, grank_event)


def _add_standardised(
    sums: DaySums,
    fit: AbnormalReturns,
    s: int,
    windows: tuple[int, ...],
    rows: Ints,
    ranked: Ranked,
    present: Bools,
    scales: tuple[Floats, Floats],
) -> None:
    """Add one set's ranks of event days and windows over their cross-sectional spread."""
    day_scale, car_scale = scales
    sigma = np.sqrt(fit.variance_residual[rows])[:, None]
    value = fit.sar[rows] / day_scale[s] * sigma
    both = np.hstack([present, np.isfinite(value)])
    K, size = _all_ranks(ranked, value, both)
    sums.zivney[s] += (1 / (size + 1)) @ K
    sums.zivney_count[s] += both.sum(axis=0)
    for w in windows:
        value = (
            (fit.car[rows, w] / np.sqrt(fit.variance[rows, w]))[:, None] / car_scale[s, w] * sigma
        )
        if not np.isfinite(value).all():
            sums.grank[s, w], sums.grank_event[s, w] = np.nan, np.nan
            continue
        K, own, size = combined_ranks(ranked, value)
        K[~present] = 0.0
        sums.grank[s, w] += (1 / (size + 1)) @ K
        sums.grank_event[s, w] += (own[:, 0] / (size + 1) - 0.5).sum()


def _all_ranks(ranked: Ranked, event: Floats, there: Bools) -> tuple[Floats, Floats]:
    """Ranks of estimation and event days side by side, zero where missing, and their number."""
    estimation, own, size = combined_ranks(ranked, event)
    both = np.hstack([estimation, own])
    both[~there] = 0.0
    return both, size


def _scales(
    fit: AbnormalReturns, members: Bools, windows: list[tuple[int, ...]]
) -> tuple[Floats, Floats]:
    """Cross-sectional spread of each event day and of each window, NaN where there is none."""
    day = np.full((members.shape[1], fit.ar.shape[1]), np.nan)
    car = np.full((members.shape[1], len(fit.timing.windows)), np.nan)
    scar = fit.scar
    for s, rows in enumerate(members.T):
        day[s] = _spread(fit.sar[rows])
        for w in windows[s]:
            car[s, w] = _spread(scar[rows, w : w + 1])[0]
    return day, car


def _spread(values: Floats) -> Floats:
    known = np.isfinite(values)
    n = known.sum(axis=0)
    x = np.where(known, values, 0.0)
    mean = x.sum(axis=0) / np.maximum(n, 1)
    squares = (np.where(known, values - mean, 0.0) ** 2).sum(axis=0)
    out = np.sqrt(squares / np.maximum(n - 1, 1))
    return np.where((n > 1) & (squares > 1e-28 * (x * x).sum(axis=0)), out, np.nan)

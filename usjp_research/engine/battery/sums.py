"""One pass over the residuals: what every test needs of them, summed over firms by day."""

from __future__ import annotations

from dataclasses import dataclass

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
    pairs : PairSums
    """

    count: Floats
    residual: Floats
    rank: Floats
    scaled_rank: Floats
    zivney: Floats
    zivney_count: Floats
    grank: Floats
    grank_event: Floats
    pairs: PairSums


def day_sums(
    read: ReadSeries,
    fit: AbnormalReturns,
    members: Bools,
    windows: list[tuple[int, ...]],
    *,
    chunk: int | None = None,
) -> DaySums:
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
    DaySums
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

    count, rank, scaled, zivney, zivney_count = (np.zeros((n_sets, T + H)) for _ in range(5))
    residual, grank = np.zeros((n_sets, T)), np.zeros((n_sets, W, T))
    grank_event = np.zeros((n_sets, W))
    day_scale, car_scale = _scales(fit, members, windows)
    scar = fit.scar
    sigma = np.sqrt(fit.variance_residual)

    for rows, e in residual_blocks(read, fit, wanted, chunk=chunk):
        ours = members[rows].astype(float)
        there = np.isfinite(np.hstack([e, fit.ar[rows]]))
        plain = np.where(there[:, :T], e, 0.0)
        count += ours.T @ there
        residual += ours.T @ plain
        whole = complete[rows]
        if whole.all():
            units.add(plain, fit.day0[rows], ours)
        elif whole.any():
            units.add(plain[whole], fit.day0[rows][whole], ours[whole])

        ranked = rank_residuals(e)
        K, size = _all_ranks(ranked, fit.ar[rows], there)
        scaled += (ours / (size + 1)[:, None]).T @ K
        rank += ours.T @ K - (ours * ((size + 1) / 2)[:, None]).T @ there
        for s in range(n_sets):
            inside = np.flatnonzero(members[rows, s])
            if not len(inside):
                continue
            at = rows[inside]
            part = ranked if len(inside) == len(rows) else ranked[inside]
            present = there[inside, :T]
            value = fit.sar[at] / day_scale[s] * sigma[at, None]
            both = np.hstack([present, np.isfinite(value)])
            K, size = _all_ranks(part, value, both)
            zivney[s] += (1 / (size + 1)) @ K
            zivney_count[s] += both.sum(axis=0)
            for w in windows[s]:
                value = (scar[at, w] / car_scale[s, w] * sigma[at])[:, None]
                if not np.isfinite(value).all():
                    grank[s, w], grank_event[s, w] = np.nan, np.nan
                    continue
                K, own, size = combined_ranks(part, value)
                K[~present] = 0.0
                grank[s, w] += (1 / (size + 1)) @ K
                grank_event[s, w] += (own[:, 0] / (size + 1) - 0.5).sum()

    return DaySums(
        count=count,
        residual=residual,
        rank=rank,
        scaled_rank=scaled - count / 2,
        zivney=zivney - zivney_count / 2,
        zivney_count=zivney_count,
        grank=grank - count[:, None, :T] / 2,
        grank_event=grank_event,
        pairs=pair_sums(read, fit, members, units, complete, chunk=chunk),
    )


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

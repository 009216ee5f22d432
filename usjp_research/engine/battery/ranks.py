"""Ranks of event-window returns among a firm's own residuals, summed over firms by day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int16]
NOISE = 1e-12  # mean ranks that move less than this are rounding: their sums would be zero


@dataclass(frozen=True, slots=True)
class Ranked:
    """Residuals of a block of firm-events, ranked once for every rank test.

    Attributes
    ----------
    values : ndarray of shape (n, T)
        The residuals, NaN where missing.
    ordered : ndarray of shape (n, T)
        The same in ascending order, missing ones last.
    rank : ndarray of shape (n, T), int16
        1 for the smallest; missing ones have the highest.
    tied : ndarray of shape (n,), bool
        Rows where two residuals are equal: they take the slow path, with average ranks.
    n_obs : ndarray of shape (n,)
    """

    values: Floats
    ordered: Floats
    rank: Counts
    tied: Bools
    n_obs: Floats

    def __getitem__(self, rows: npt.NDArray[np.int64] | slice) -> Ranked:
        return Ranked(
            self.values[rows],
            self.ordered[rows],
            self.rank[rows],
            self.tied[rows],
            self.n_obs[rows],
        )


def rank_residuals(e: Floats) -> Ranked:
    """Sort every firm's residuals once.

    Parameters
    ----------
    e : ndarray of shape (n, T)
        NaN where missing.

    Returns
    -------
    Ranked

    Examples
    --------
    >>> rank_residuals(np.array([[0.3, -0.1, 0.2]])).rank.tolist()
    [[3, 1, 2]]
    """
    order = np.argsort(e, axis=1)
    ordered = np.take_along_axis(e, order, axis=1)
    rank = np.empty(e.shape, dtype=np.int16)
    np.put_along_axis(rank, order, np.arange(1, e.shape[1] + 1, dtype=np.int16)[None], axis=1)
    tied = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    return Ranked(e, ordered, rank, tied, np.isfinite(e).sum(axis=1).astype(float))


def combined_ranks(ranked: Ranked, event: Floats) -> tuple[Floats, Floats, Floats]:
    """Rank residuals together with event values, without sorting again.

    An event value moves up by one the residuals above it: each is put in its place by bisection.
    Rows with ties are ranked anew, with average ranks.

    Parameters
    ----------
    ranked : Ranked
    event : ndarray of shape (n, H)
        In the units of the residuals; NaN where missing.

    Returns
    -------
    estimation : ndarray of shape (n, T)
        Ranks K of the residuals; without meaning where these are missing.
    event : ndarray of shape (n, H)
        Ranks of the event values, NaN where missing.
    count : ndarray of shape (n,)
        How many values were ranked, M.

    Examples
    --------
    >>> ranked = rank_residuals(np.array([[0.3, -0.1, 0.2]]))
    >>> [part.tolist() for part in combined_ranks(ranked, np.array([[0.25]]))]
    [[[4.0, 1.0, 2.0]], [[3.0]], [4.0]]
    """
    T = ranked.rank.shape[1]
    there = np.isfinite(event)
    count = ranked.n_obs + there.sum(axis=1)
    below = _below(ranked.ordered, event)
    at = np.minimum(below, T - 1)
    tied = ranked.tied | (np.take_along_axis(ranked.ordered, at, axis=1) == event).any(axis=1)
    if event.shape[1] > 1:
        inner = np.sort(event, axis=1)
        tied = tied | (inner[:, 1:] == inner[:, :-1]).any(axis=1)
    steps = np.where(there, below, T).astype(np.int16)
    moved = ranked.rank.copy()
    for h in range(event.shape[1]):
        moved += ranked.rank > steps[:, h : h + 1]
    estimation = moved.astype(float)
    own = below.astype(np.float64) + 1.0
    for h in range(event.shape[1]) if event.shape[1] > 1 else ():
        own += event[:, h : h + 1] < event
    own[~there] = np.nan
    if tied.any():
        from scipy import stats

        rows = np.flatnonzero(tied)
        both = np.hstack([ranked.values[rows], event[rows]])
        slow = stats.rankdata(np.where(np.isnan(both), np.inf, both), axis=1)
        slow[np.isnan(both)] = np.nan
        estimation[rows], own[rows] = slow[:, :T], slow[:, T:]
    return estimation, own, np.asarray(count, dtype=np.float64)


def _below(ordered: Floats, event: Floats) -> npt.NDArray[np.int64]:
    """Count the ordered values under each event value, row by row, by bisection."""
    n, T = ordered.shape
    flat = ordered.ravel()
    first = (np.arange(n) * T)[:, None]
    at = np.broadcast_to(first, event.shape).copy()
    left = T
    while left > 1:
        half = left >> 1
        at += half * (flat[at + (half - 1)] < event)
        left -= half
    at += flat[at] < event
    return np.asarray(at - first)


def corrado_statistic(sums: Floats, count: Floats, divide: Floats, window: slice) -> float:
    """Compare the mean rank of a window with how mean ranks move from day to day.

    The spread over days takes in whatever moves firms together, so the test survives a common
    date. Trust it unless the event days are more volatile than the estimation days; with ranks
    of returns divided by each event day's cross-sectional spread, also then.

    Parameters
    ----------
    sums : ndarray of shape (n_days,)
        Of centred ranks over firms, for estimation days and then event days.
    count : ndarray of shape (n_days,)
        Firms with a rank that day.
    divide : ndarray of shape (n_days,)
        ``count`` for the mean rank, its root for missing-data weights.
    window : slice
        Its places among the days.

    Returns
    -------
    float
        NaN when a day of the window has no rank, or nothing moves.

    References
    ----------
    Corrado (1989), Journal of Financial Economics 23, 385-395; Corrado and Zivney (1992),
    Journal of Financial and Quantitative Analysis 27, 465-478; Cowan (1992), Review of
    Quantitative Finance and Accounting 2, 343-358 for windows.
    """
    there = count > 0
    mean = np.divide(sums, divide, out=np.zeros_like(sums), where=there)
    spread = float(np.sqrt((mean[there] ** 2).mean())) if there.any() else 0.0
    if not (spread > NOISE and there[window].all()):
        return float("nan")
    return float(mean[window].sum() / (np.sqrt(window.stop - window.start) * spread))


def grank_statistics(sums: Floats, count: Floats, event: float, n: int) -> tuple[float, float, int]:
    """Return GRANK-T, GRANK-Z and the number of estimation days with a rank.

    Trust GRANK-T on a common date with thirty firms or more; GRANK-Z takes firms for independent.

    Parameters
    ----------
    sums : ndarray of shape (T,)
        Of centred, scaled ranks over firms on each estimation day.
    count : ndarray of shape (T,)
        Firms with a rank that day.
    event : float
        Mean of the centred, scaled rank of the cumulated event day.
    n : int
        Firms.

    References
    ----------
    Kolari and Pynnönen (2011), Journal of Empirical Finance 18, 953-971.
    """
    there = count > 0
    mean = sums[there] / count[there]
    days = int(there.sum()) + 1
    spread = np.sqrt(((count[there] / n * mean**2).sum() + event**2) / days)
    independent = event * np.sqrt(12 * n * (days + 1) / (days - 1))
    z = event / spread if spread > NOISE else np.nan
    inside = days - 1 - z**2
    t = z * np.sqrt((days - 2) / inside) if inside > 0 else np.nan
    return float(t), float(independent), days - 1

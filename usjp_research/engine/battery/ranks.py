"""Ranks of event-window returns among a firm's own residuals, summed over firms by day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from usjp_research.engine.battery.abnormal import AbnormalReturns, Residuals
from usjp_research.engine.battery.catalogue import (
    CROSS,
    EVENT,
    RANKS,
    SHAPE,
    Entry,
    TestResult,
    outcome,
    tests,
)
from usjp_research.engine.design import Bools, Floats

NOISE = 1e-12  # mean ranks that move less than this are rounding: their sums would be zero


@dataclass(frozen=True, slots=True)
class DaySums:
    """Sums over the firm-events of each set, by the T estimation and H event days.

    Ranks K of M values are scaled and centred, ``K / (M + 1) - 1/2``, but for ``rank``.
    """

    count: Floats  # firm-events with an abnormal return, (n_sets, T + H)
    residual: Floats  # (n_sets, T)
    rank: Floats  # K - (M + 1) / 2, (n_sets, T + H)
    scaled: Floats  # (n_sets, T + H)
    zivney: Floats  # with event days over their cross-sectional spread, (n_sets, T + H)
    zivney_count: Floats
    grank: Floats  # beside one cumulated event day, which comes last, (n_sets, W, T + 1)


def day_sums(
    residuals: Residuals, fit: AbnormalReturns, members: Bools, windows: Sequence[Sequence[int]]
) -> DaySums:
    """Sum residuals and ranks over each set in one pass; ``windows`` of a set have its granks."""
    T, H, n_sets, scar = fit.timing.days, fit.ar.shape[1], members.shape[1], fit.scar
    count, rank, scaled, zivney = np.zeros((4, n_sets, T + H))
    residual, grank = np.zeros((n_sets, T)), np.zeros((n_sets, len(fit.timing.windows), T + 1))
    day_spread = np.array([_spread(fit.sar[inside]) for inside in members.T])
    car_spread = np.array([_spread(scar[inside]) for inside in members.T])
    grank[~np.isfinite(car_spread)] = np.nan
    sigma = np.sqrt(fit.variance_residual)[:, None]
    for rows, e in residuals(np.flatnonzero(members.any(axis=1))):
        ours, known = members[rows].astype(float), np.isfinite(e)
        count += ours.T @ np.hstack([known, np.isfinite(fit.ar[rows])])
        residual += ours.T @ np.where(known, e, 0.0)
        block = np.ascontiguousarray(e.T), np.ascontiguousarray(_doubled_ranks(e).T)
        C, half = centred_ranks(*block, fit.ar[rows])
        scaled += (C @ (ours * half[:, None])).T
        rank += (C @ ours).T / 2
        for s in range(n_sets):
            inside = np.flatnonzero(members[rows, s])
            at = rows[inside]
            if not len(at):
                continue
            part = block
            if len(at) < len(rows):
                part = block[0].take(inside, axis=1), block[1].take(inside, axis=1)
            value = fit.sar[at] / day_spread[s] * sigma[at]
            C, half = centred_ranks(*part, value)
            zivney[s] += C @ half
            for w in windows[s]:
                value = scar[at, w : w + 1] / car_spread[s, w] * sigma[at]
                C, half = centred_ranks(*part, value)
                grank[s, w] += C @ half
    spread_known = np.hstack([np.ones((n_sets, T)), np.isfinite(day_spread)])
    return DaySums(count, residual, rank, scaled, zivney, count * spread_known, grank)


def _doubled_ranks(e: Floats) -> npt.NDArray[np.int16]:
    """Twice the rank of each residual, missing ones last; rows with ties have average ranks."""
    from scipy.stats import rankdata

    order = np.argsort(e, axis=1)
    ordered, out = np.take_along_axis(e, order, axis=1), np.empty(e.shape, dtype=np.int16)
    np.put_along_axis(out, order, np.arange(2, 2 * e.shape[1] + 1, 2, dtype=np.int16)[None], axis=1)
    tied = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    out[tied] = 2 * rankdata(np.nan_to_num(e[tied], nan=np.inf), axis=1)
    return out


def centred_ranks(
    e: Floats, own: npt.NDArray[np.int16], event: Floats
) -> tuple[npt.NDArray[np.int16], Floats]:
    """Rank residuals (T, n), whose doubled ranks are known, together with event values (n, H).

    Returns ``2K - (M + 1)`` (T + H, n), zero where missing, and ``1 / (2 (M + 1))``, which scales
    it. Doubled, a rank is two above each smaller value and one above each that equals it.
    """
    T, values = len(e), np.vstack([e, event.T])
    known = np.isfinite(values)
    n_obs = known[:T].sum(axis=0, dtype=np.int16)
    M = n_obs + known[T:].sum(axis=0, dtype=np.int16)
    out = np.empty(values.shape, dtype=np.int16)
    out[:T], out[T:] = own - (M + 1), 2 * n_obs - M
    for h, value in enumerate(values[T:], start=T):
        above = (values > value).view(np.int8) + (values >= value).view(np.int8)
        out += above
        out[h] -= above[:T].sum(axis=0, dtype=np.int16)
    out[~known] = 0
    return out, 0.5 / (M + 1.0)


def _spread(values: Floats) -> Floats:
    """Cross-sectional standard deviation of each column; NaN where nothing varies."""
    table = pd.DataFrame(values)
    spread, size = table.std(), np.sqrt(table.pow(2).sum() / (table.count() - 1))
    return spread.where(spread > 1e-14 * size).to_numpy()


@tests(
    Entry(3, "corrado_z", RANKS, "normal", (CROSS, SHAPE), "Corrado (1989)",
        "Cross-check on a common date, fat tails welcome; rejects too often when the event days "
        "are more volatile.", role="check"),
    Entry(6, "corrado_zivney_z", RANKS, "normal", (CROSS, EVENT, SHAPE),
        "Corrado and Zivney (1992)",
        "Like corrado_z when event days are more volatile; weak with few firms, whose "
        "cross-sectional spread is then a poor scale."),
    Entry(7, "corrado_u_z", RANKS, "normal", (CROSS, SHAPE), "Corrado and Zivney (1992)",
        "corrado_z with holes in the returns: days weigh by how many firms they have."),
)  # fmt: skip
def corrado_tests(sums: DaySums, s: int, window: slice) -> Iterator[TestResult]:
    """Compare the mean rank of a window, places among all days, with how it moves by day.

    The spread over days takes in whatever moves firms together (Cowan 1992 for windows).
    """
    count, second = sums.count[s], sums.zivney_count[s]
    yield outcome("corrado_z", _corrado(sums.rank[s], count, count, window))
    yield outcome("corrado_u_z", _corrado(sums.scaled[s], count, np.sqrt(count), window))
    zivney = _corrado(sums.zivney[s], second, np.sqrt(second), window)
    flat = "" if np.isfinite(zivney) else "an event day has no cross-sectional spread"
    yield outcome("corrado_zivney_z", zivney, reason=flat)


def _corrado(sums: Floats, count: Floats, divide: Floats, window: slice) -> float:
    """NaN when a day of the window has no rank, or nothing moves."""
    there = count > 0
    mean = np.divide(sums, divide, out=np.zeros_like(sums), where=there)
    spread = float(np.sqrt((mean[there] ** 2).mean())) if there.any() else 0.0
    if not (spread > NOISE and there[window].all()):
        return float("nan")
    return float(mean[window].sum() / (np.sqrt(window.stop - window.start) * spread))


@tests(
    Entry(5, "grank_t", RANKS, "t", (CROSS, EVENT, SHAPE), "Kolari and Pynnönen (2011)",
        "On a common date with thirty firms or more; with six strongly correlated firms its true "
        "size is about twice the nominal one.", df_keys=("grank_df",)),
    Entry(23, "grank_z_indep", RANKS, "normal", (EVENT, SHAPE), "Kolari and Pynnönen (2011)",
        "Separate dates only: it is grank_t without its protection."),
)  # fmt: skip
def grank_tests(sums: Floats, count: Floats, n: int) -> Iterator[TestResult]:
    """Test the generalised rank of one cumulated day, the last of ``sums`` (T + 1,), of n firms."""
    there = count > 0
    mean, event = sums[:-1][there] / count[there], float(sums[-1]) / n
    days = int(there.sum()) + 1
    spread = np.sqrt(((count[there] / n * mean**2).sum() + event**2) / days)
    independent = float(event * np.sqrt(12 * n * (days + 1) / (days - 1)))
    z = event / spread if spread > NOISE else np.nan
    inside = days - 1 - z**2
    t = float(z * np.sqrt((days - 2) / inside)) if inside > 0 else np.nan
    reason = "" if np.isfinite(independent) else "abnormal returns have no cross-sectional spread"
    far = "" if np.isfinite(t) else "the event day's rank is beyond what the law of t allows"
    yield outcome("grank_t", t, df=(days - 2,), reason=reason or far)
    yield outcome("grank_z_indep", independent, reason=reason)

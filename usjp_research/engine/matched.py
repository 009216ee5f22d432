"""Expected returns made of donors: fitted anew in the estimation window of every date asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from usjp_research.engine.design import Bools, Estimation, Floats, Ints
from usjp_research.engine.rolling import Forecast
from usjp_research.engine.simplex import synthetic_control
from usjp_research.words import card

Method = Literal["synthetic", "nearest"]

NEAREST = 8  # the nearest eighth of the donors
FEWEST = 3


@dataclass(frozen=True, slots=True)
class Match:
    """What stood for each series on the first date asked for, and how sure the fits are."""

    weights: Floats  # (n_series, n_donors); NaN where nothing could be fitted
    gap: float  # the largest relative duality gap of any fit; NaN where the method has none
    fits: int  # windows fitted, over all series

    def _repr_html_(self) -> str:
        size = f"{self.weights.shape[0]} series from {self.weights.shape[1]} donors"
        return card("Match", "", size, f"{self.fits} windows fitted", f"largest gap {self.gap:.0e}")


def matched_forecast(
    returns: Floats,
    donors: Floats,
    benchmark: Floats,
    masked: Bools,
    *,
    days: Ints,
    estimation: Estimation,
    method: Method = "synthetic",
    window: tuple[int, int] = (-1, 1),
    anchor: int | None = None,
    guard_sessions: int = 20,
    moving_mask: Sequence[int] = (),
) -> tuple[Forecast, Match]:
    """Match each series by donors before every date asked for and forecast the window around it.

    *Synthetic* (Abadie, Diamond and Hainmueller 2010; Goldsmith-Pinkham and Lyu 2025) has
    ``s2 = SSR / (T - donors in use + 1)`` and the forecast error ``L s2``: weights are taken as
    known, and a placebo law has to carry what that leaves out. *Nearest* is least squares on the
    mean of the eighth of the donors whose residuals from the market model correlate most with
    the series' own. Days without any of the donors (n_days, n_donors) are not used; ``days`` are
    the places of day 0, NaN on all others.
    """
    end = (window[0] if anchor is None else anchor) - estimation.ends_before
    there = np.isfinite(donors).all(axis=1) & np.isfinite(benchmark)
    numbers, n_obs = np.full((*returns.shape, 6), np.nan), np.zeros(returns.shape, dtype=np.int64)
    weights = np.full((returns.shape[1], donors.shape[1]), np.nan)
    last: dict[int, Floats] = {}
    gaps: list[float] = []
    for day in np.unique(days):
        begin, first = day + end - estimation.sessions + 1, day + window[0]
        if begin < 0 or day + window[1] >= len(returns):
            continue
        span = np.arange(begin, day + end + 1)
        span = span[~masked[span] & ~np.isin(span - day, moving_mask)]
        inside = np.arange(first, day + window[1] + 1)
        before = np.arange(max(first - guard_sessions, 0), first)
        for s, y in enumerate(returns.T):
            known = there & np.isfinite(y)
            rows, guard = span[known[span]], before[known[before]]
            n_obs[day, s] = len(rows)
            if len(rows) < estimation.minimum or not known[inside].all():
                continue
            if method == "synthetic":
                fit = synthetic_control(y[rows], donors[rows], start=last.get(s))
                chosen, gap = fit.weights, fit.relative_gap
            else:
                chosen, gap = _nearest(y[rows], donors[rows], benchmark[rows]), np.nan
            if not (used := np.flatnonzero(chosen)).size:  # nothing moves there
                continue
            last[s] = chosen
            gaps.append(gap)
            if day == days[0]:
                weights[s] = chosen
            path, free = donors[:, used] @ chosen[used], len(rows) - len(used) + 1
            alpha, beta, spread = 0.0, 1.0, 0.0
            if method == "nearest":
                free, (alpha, beta, spread) = len(rows) - 2, _line(y, path, rows, inside)
            error = y - alpha - beta * path
            s2 = error[rows] @ error[rows] / free
            enough = len(guard) >= guard_sessions / 2
            usual = len(inside) * np.mean(error[guard] ** 2) if enough else np.nan
            total, own = error[inside].sum(), s2 * (len(inside) + spread)
            numbers[day, s] = total, own, usual, s2, alpha, beta
    car, variance, trailing, residual = np.moveaxis(numbers[..., :4], -1, 0)
    forecast = Forecast(car, variance, trailing, residual, n_obs, numbers[..., 4:], parameters=0)
    return forecast, Match(weights, max(gaps, default=np.nan), len(gaps))


def _line(y: Floats, x: Floats, rows: Ints, inside: Ints) -> tuple[float, float, float]:
    """Regress on some rows: intercept, slope, and what both add to the variance of the window."""
    mean, scale, n = x[rows].mean(), x[rows].std(), len(rows)
    z = (x - mean) / scale
    beta = float(z[rows] @ y[rows] / n / scale)
    spread = float((len(inside) ** 2 + z[inside].sum() ** 2) / n)
    return float(y[rows].mean() - beta * mean), beta, spread


def _nearest(y: Floats, R: Floats, m: Floats) -> Floats:
    """Weigh alike the donors that are alike beyond the market; none where nothing moves."""
    m, weights = m - m.mean(), np.zeros(R.shape[1])
    if not m @ m > 0:
        return weights
    y = y - y.mean()
    own, theirs = y - m * (m @ y / (m @ m)), R - R.mean(axis=0)
    theirs -= np.outer(m, m @ theirs / (m @ m))
    length = np.sqrt(np.einsum("ij,ij->j", theirs, theirs))
    alike = (own @ theirs) / np.where(length > 0, length, np.inf)
    count = max(FEWEST, R.shape[1] // NEAREST)
    nearest = np.argsort(-alike, kind="stable")[:count]
    weights[nearest] = 1 / count if np.ptp(R[:, nearest].mean(axis=1)) > 1e-100 else 0.0
    return weights

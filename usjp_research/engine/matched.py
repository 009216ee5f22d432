"""Expected returns made of donors: fitted anew in the estimation window of every date asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from usjp_research.engine.design import Design, Estimation, expected_return_design
from usjp_research.engine.rolling import Forecast, forecast_once
from usjp_research.engine.simplex import synthetic_control
from usjp_research.words import card

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

Method = Literal["synthetic", "nearest"]

NEAREST = 8  # the nearest eighth of the donors
FEWEST = 3


@dataclass(frozen=True, slots=True)
class Match:
    """What stood for each series on the first date asked for, and how sure the fits are.

    Attributes
    ----------
    weights : ndarray of shape (n_series, n_donors)
        On the first date; NaN where nothing could be fitted.
    gap : float
        Largest relative duality gap of any fit; NaN where the method has none.
    fits : int
        Windows fitted, over all series.
    """

    weights: Floats
    gap: float
    fits: int

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

    *Synthetic*: the convex combination of donors with the least squared daily error. Its
    abnormal return is the plain difference ``y - Rw``, its forecast error ``L s2`` with
    ``s2 = SSR / (T - donors in use + 1)``: the weights are taken as known, and a placebo law has
    to carry what that leaves out. Each window starts from the weights of the one before it.

    *Nearest*: ordinary least squares on the mean of the eighth of the donors whose residuals
    from the market model correlate most with the series' own, in the same window; with the
    prediction error of a market model.

    Parameters
    ----------
    returns : ndarray of shape (n_days, n_series)
    donors : ndarray of shape (n_days, n_donors)
        A day on which any donor is missing is not used.
    benchmark : ndarray of shape (n_days,)
    masked, estimation, window, anchor, guard_sessions, moving_mask
        As for `rolling_forecast`.
    days : ndarray of int
        Places of day 0; the forecast is NaN on all others.
    method : {"synthetic", "nearest"}

    Returns
    -------
    Forecast
    Match

    References
    ----------
    Abadie, Diamond and Hainmueller (2010), Journal of the American Statistical Association 105,
    493-505, on daily returns as in Goldsmith-Pinkham and Lyu (2025), arXiv 2511.15123.
    """
    end = (window[0] if anchor is None else anchor) - estimation.ends_before
    there = np.isfinite(donors).all(axis=1) & np.isfinite(benchmark)
    out = _nowhere(returns.shape)
    weights = np.full((returns.shape[1], donors.shape[1]), np.nan)
    last: dict[int, Floats] = {}
    gaps: list[float] = []
    for day in sorted({int(day) for day in days}):
        begin, first = day + end - estimation.sessions + 1, day + window[0]
        if begin < 0 or day + window[1] >= len(returns):
            continue
        usable = there & ~masked
        usable[:begin] = usable[day + end + 1 :] = False
        own = day + np.asarray(moving_mask, dtype=np.int64)
        usable[own[(own >= 0) & (own < len(usable))]] = False
        inside = np.arange(first, day + window[1] + 1)
        before = np.arange(max(first - guard_sessions, 0), first)
        for s, y in enumerate(returns.T):
            known = there & np.isfinite(y)
            rows = np.flatnonzero(usable & known)
            out.n_obs[day, s] = len(rows)
            if len(rows) < estimation.minimum or not known[inside].all():
                continue
            if method == "synthetic":
                chosen, gap = _convex(y[rows], donors[rows], last.get(s))
            else:
                chosen, gap = _nearest(y[rows], donors[rows], benchmark[rows])
            if not chosen.any():  # nothing moves there
                continue
            last[s] = chosen
            gaps.append(gap)
            if day == days[0]:
                weights[s] = chosen
            used = np.flatnonzero(chosen)
            free = len(used) - 1 if method == "synthetic" else 0
            design = _design(method, donors[:, used] @ chosen[used])
            fit = forecast_once(y, design, rows, inside, before[known[before]], guard_sessions)
            _place(out, (day, s), fit, len(rows) / (len(rows) - free))
    gap = max(gaps, default=0.0) if method == "synthetic" else np.nan
    return out, Match(weights, gap, len(gaps))


def _nowhere(shape: tuple[int, ...]) -> Forecast:
    """Return a forecast of shape (n_days, n_series) that is NaN on all days."""
    car, variance, trailing, residual = np.full((4, *shape), np.nan)
    n_obs = np.zeros(shape, dtype=np.int64)
    return Forecast(car, variance, trailing, residual, n_obs, np.full((*shape, 2), np.nan), 0)


def _place(out: Forecast, to: tuple[int, int], fit: Forecast, factor: float) -> None:
    """Take over the forecast of one day and series, its residual variance times a factor."""
    out.car[to], out.trailing[to] = fit.car[0, 0], fit.trailing[0, 0]
    out.variance[to] = factor * fit.variance[0, 0]
    out.residual_variance[to] = factor * fit.residual_variance[0, 0]
    out.coefficients[to] = fit.alpha[0, 0], fit.beta[0, 0]


def _design(method: Method, path: Floats) -> Design:
    model = "market_adjusted" if method == "synthetic" else "market"
    return expected_return_design(model, {"market": path})


def _convex(y: Floats, R: Floats, start: Floats | None) -> tuple[Floats, float]:
    fit = synthetic_control(y, R, start=start)
    return fit.weights, fit.relative_gap


def _nearest(y: Floats, R: Floats, m: Floats) -> tuple[Floats, float]:
    """Weigh alike the donors that are alike beyond the market; none where nothing moves."""
    m, weights = m - m.mean(), np.zeros(R.shape[1])
    if not m @ m > 0:
        return weights, np.nan

    def beyond(values: Floats) -> Floats:
        centred = values - values.mean(axis=0)
        return np.asarray(centred - np.multiply.outer(m, m @ centred / (m @ m)))

    own, theirs = beyond(y), beyond(R)
    length = np.sqrt((theirs**2).sum(axis=0))
    alike = (own @ theirs) / np.where(length > 0, length, np.inf)
    count = max(FEWEST, R.shape[1] // NEAREST)
    nearest = np.argsort(-alike, kind="stable")[:count]
    weights[nearest] = 1 / count if np.ptp(R[:, nearest].mean(axis=1)) > 0 else 0.0
    return weights, np.nan

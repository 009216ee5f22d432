"""Expected returns made of donors: fitted anew in the estimation window of every date asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from usjp_research.engine.rolling import Forecast
from usjp_research.engine.simplex import synthetic_control
from usjp_research.spec.records import Estimation
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


@dataclass(frozen=True, slots=True)
class _Line:
    """One fit: ``alpha + beta x (donors' weighted mean)`` and its parameters."""

    weights: Floats
    alpha: float
    beta: float
    parameters: int
    gap: float


def matched_forecast(
    returns: Floats,
    donors: Floats,
    benchmark: Floats,
    masked: Bools,
    *,
    days: Ints,
    method: Method = "synthetic",
    window: tuple[int, int] = (-1, 1),
    estimation: Estimation | None = None,
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
    masked, window, estimation, guard_sessions, moving_mask
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
    estimation = estimation or Estimation()
    low, high = window
    length, (n_days, n_series) = high - low + 1, returns.shape
    there = np.isfinite(donors).all(axis=1) & np.isfinite(benchmark)
    out = {name: np.full((n_days, n_series), np.nan) for name in FIELDS}
    n_obs = np.zeros((n_days, n_series), dtype=np.int64)
    last: list[_Line | None] = [None] * n_series
    first_weights = np.full((n_series, donors.shape[1]), np.nan)
    gap, fits = (0.0 if method == "synthetic" else np.nan), 0
    for day in sorted({int(day) for day in days}):
        first = day + low
        begin = first - estimation.ends_before - estimation.sessions + 1
        if begin < 0 or day + high >= n_days:
            continue
        usable = there & ~masked
        usable[:begin] = usable[begin + estimation.sessions :] = False
        own = day + np.asarray(moving_mask, dtype=np.int64)
        usable[own[(own >= 0) & (own < n_days)]] = False
        inside, before = np.arange(first, day + high + 1), np.arange(first - guard_sessions, first)
        for s in range(n_series):
            known = there & np.isfinite(returns[:, s])
            rows = np.flatnonzero(usable & known)
            n_obs[day, s] = len(rows)
            if len(rows) < estimation.minimum or not known[inside].all():
                continue
            y, R = returns[rows, s], donors[rows]
            if method == "synthetic":
                previous = last[s]
                line = _convex(y, R, previous.weights if previous else None)
                gap = max(gap, line.gap)
            else:
                near = _nearest(y, R, benchmark[rows])
                if near is None:  # nothing moves there
                    continue
                line = near
            last[s], fits = line, fits + 1
            if day == days[0]:
                first_weights[s] = line.weights
            used = np.flatnonzero(line.weights)

            def error(at: Ints, line: _Line = line, used: Ints = used, s: int = s) -> Floats:
                path = donors[np.ix_(at, used)] @ line.weights[used]
                return np.asarray(returns[at, s] - line.alpha - line.beta * path)

            residual = float((error(rows) ** 2).sum() / (len(rows) - line.parameters))
            spread = 0.0
            if method == "nearest":
                path = R[:, used] @ line.weights[used]
                total = (donors[np.ix_(inside, used)] @ line.weights[used]).sum()
                about = float(((path - path.mean()) ** 2).sum())
                spread = length**2 / len(rows) + (total - length * path.mean()) ** 2 / about
            trail = before[known[before]]
            out["car"][day, s] = error(inside).sum()
            out["variance"][day, s] = residual * (length + spread)
            if len(trail) >= guard_sessions / 2:
                out["trailing"][day, s] = length * np.mean(error(trail) ** 2)
            out["alpha"][day, s], out["beta"][day, s] = line.alpha, line.beta
            out["residual_variance"][day, s] = residual
    return Forecast(n_obs=n_obs, parameters=0, **out), Match(first_weights, gap, fits)


FIELDS = ("car", "variance", "trailing", "alpha", "beta", "residual_variance")


def _convex(y: Floats, R: Floats, start: Floats | None) -> _Line:
    fit = synthetic_control(y, R, start=start)
    return _Line(fit.weights, 0.0, 1.0, len(fit.support) - 1, fit.relative_gap)


def _nearest(y: Floats, R: Floats, m: Floats) -> _Line | None:
    """Choose by what is left beyond the market, then regress on the mean of the chosen."""
    m = m - m.mean()
    if not m @ m > 0:
        return None

    def beyond(values: Floats) -> Floats:
        centred = values - values.mean(axis=0)
        return np.asarray(centred - np.multiply.outer(m, m @ centred / (m @ m)))

    own, theirs = beyond(y), beyond(R)
    length = np.sqrt((theirs**2).sum(axis=0))
    alike = (own @ theirs) / np.where(length > 0, length, np.inf)
    count = max(FEWEST, R.shape[1] // NEAREST)
    weights = np.zeros(R.shape[1])
    weights[np.argsort(-alike, kind="stable")[:count]] = 1 / count
    path = R @ weights
    about = float((path - path.mean()) @ path)
    if not about > 0:
        return None
    beta = float((path - path.mean()) @ y / about)
    return _Line(weights, float(y.mean() - beta * path.mean()), beta, 2, np.nan)

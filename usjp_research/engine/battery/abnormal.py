"""Abnormal returns of firm-events and their forecast errors, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usjp_research.engine.design import Bools, Design, Floats, Ints, Timing
from usjp_research.engine.rolling import inverse_gram
from usjp_research.words import card

ReadSeries = Callable[[int, int], Floats]  # series by place, from the first to before the last
Residuals = Callable[[Ints], Iterator[tuple[Ints, Floats]]]

FAULTS = (
    "",
    "too few estimation days",
    "regressors are collinear over its estimation days",
    "its residuals do not vary over the estimation days",
)
ROWS = 512  # firm-events a block: residuals of 250 days then fit a processor's cache
STILL = 1e-200  # a sum of squares that no return has; below it arithmetic breaks down
FREE = 3  # usable estimation days beyond the parameters, so that the variance of t exists


@dataclass(frozen=True, slots=True)
class AbnormalReturns:
    """Abnormal returns of N firm-events with everything that tests need to know of the fit."""

    timing: Timing
    design: Design
    series: Ints  # (N,), as are all to `positive`
    day0: Ints  # its place among the days of the panel
    fault: npt.NDArray[np.int8]  # place in `FAULTS`; but for 0 the numbers of the row are NaN
    coefficients: Floats  # (N, k), on the design's own (centred, scaled) regressors
    n_obs: Ints  # usable estimation days T_i
    variance_residual: Floats  # sum of squared residuals over T_i - k
    variance_about_mean: Floats  # of the residuals, with T_i - 1
    positive: Floats  # share of positive residuals
    ar: Floats  # (N, n_hull), over the hull of all windows; NaN where missing
    sar: Floats  # each over its own one-day forecast error
    car: Floats  # (N, n_windows), NaN unless every day of the window is there
    variance: Floats  # full, of the forecast error of the sum
    bhar: Floats  # compounded return less compounded expected return

    def _repr_html_(self) -> str:
        fitted = f"{(self.fault == 0).sum()} of {len(self.fault)} firm-events fitted"
        days = "estimation {} to {}".format(*self.timing.estimation)
        return card("Abnormal returns", self.design.model, fitted, days)

    @property
    def scar(self) -> Floats:
        """Cumulative abnormal returns over their forecast errors, shape (N, n_windows)."""
        return np.asarray(self.car / np.sqrt(self.variance))


def abnormal_returns(
    read: ReadSeries,
    series: Ints,
    day0: Ints,
    design: Design,
    timing: Timing,
    *,
    chunk: int | None = None,
) -> AbnormalReturns:
    """Fit every firm-event on its own usable days and forecast its windows.

    Ordinary least squares per firm on the days where its return and every regressor are there;
    nothing is filled. The variance of a cumulative abnormal return is ``s2 [L + 1'X_w (X'X)^-1
    X_w'1]``: the shared parameters tie the days of a window together.

    Parameters
    ----------
    read : callable
        ``read(first, last)`` returns series ``first`` to ``last - 1`` as an array of shape
        (last - first, n_days), NaN where missing; ``chunk`` at a time, all by default.
    series, day0 : ndarray of shape (N,), int
        The estimation days and windows of every firm-event must lie inside the data.

    References
    ----------
    Patell (1976), Journal of Accounting Research 14, 246-276; Mikkelson and Partch (1988),
    Journal of Financial and Quantitative Analysis 23, 119-133; Salinger (1992), same journal 27,
    39-53.

    Examples
    --------
    >>> panel = np.random.default_rng(2).normal(0, 0.02, (4, 300))
    >>> timing = Timing((-250, -11), ((0, 0), (-1, 1)))
    >>> fit = abnormal_returns(
    ...     lambda a, b: panel[a:b], np.arange(4), np.full(4, 280),
    ...     expected_return_design("mean", {}, 300), timing)
    >>> fit.car.shape, fit.n_obs.tolist()
    ((4, 2), [240, 240, 240, 240])
    """
    n, W, width = len(series), len(timing.windows), timing.hull[1] - timing.hull[0] + 1
    s2, about, positive = np.full((3, n), np.nan)
    ar, sar = np.full((2, n, width), np.nan)
    car, variance, bhar = np.full((3, n, W), np.nan)
    out = AbnormalReturns(
        timing, design, np.asarray(series, np.int64), np.asarray(day0, np.int64),
        np.zeros(n, np.int8), np.full((n, design.parameters), np.nan), np.zeros(n, np.int64),
        s2, about, positive, ar, sar, car, variance, bhar,
    )  # fmt: skip
    for rows, returns, start in _gather(read, out.series, out.day0, timing, chunk):
        _fit_block(out, rows, returns, start)
    return out


def residual_blocks(
    read: ReadSeries, fit: AbnormalReturns, chunk: int | None, rows: Ints
) -> Iterator[tuple[Ints, Floats]]:
    """Yield the estimation residuals of ``rows`` again, in blocks (n, T), NaN where missing."""
    T = fit.timing.days
    blocks = _gather(read, fit.series[rows], fit.day0[rows], fit.timing, chunk)
    for place, returns, start in blocks:
        at = rows[place]
        base, X, _ = _windows(fit.design, start, T)
        yield at, _less_fitted(returns[:, :T] - base, X, fit.coefficients[at])


def collected(residuals: Residuals, rows: Ints, days: int) -> Floats:
    """Collect the residuals of ascending ``rows``, shape (n, days), NaN where missing."""
    out = np.empty((len(rows), days))
    for at, e in residuals(rows):
        out[np.searchsorted(rows, at)] = e
    return out


def _gather(
    read: ReadSeries, series: Ints, day0: Ints, timing: Timing, chunk: int | None
) -> Iterator[tuple[Ints, Floats, Ints]]:
    """Yield rows, their returns from first estimation to last event day, and the first day."""
    if not len(series):
        return
    total = int(series.max()) + 1
    chunk = chunk or total
    order = np.lexsort((series, day0, series // chunk))
    for rows in np.split(order, np.flatnonzero(np.diff(series[order] // chunk)) + 1):
        low = int(series[rows[0]]) // chunk * chunk
        data = read(low, min(low + chunk, total))
        span = timing.hull[1] - timing.estimation[0] + 1
        views = np.lib.stride_tricks.sliding_window_view(data, span, axis=1)
        for part in _pieces(rows, day0[rows]):
            start = day0[part] + timing.estimation[0]
            yield part, views[series[part] - low, start], start


def _pieces(rows: Ints, day0: Ints) -> Iterator[Ints]:
    """Cut rows into blocks, at changes of date where dates are few: they share regressors."""
    changes = np.flatnonzero(np.diff(day0)) + 1
    for part in np.split(rows, changes if len(changes) * 32 <= len(rows) else []):
        for at in range(0, len(part), ROWS):
            yield part[at : at + ROWS]


def _windows(design: Design, start: Ints, length: int) -> tuple[Floats, Floats, Floats]:
    """Return base (n or 1, length), regressors and instruments (k, n or 1, length) of a block."""
    if (start == start[0]).all():
        start = start[:1]
    index = start[:, None] + np.arange(length)
    X = design.regressors.T[:, index]
    Z = X if design.instruments is design.regressors else design.instruments.T[:, index]
    return design.base[index], X, Z


def _less_fitted(y: Floats, X: Floats, coefficients: Floats) -> Floats:
    # One regressor at a time: equal days then give equal residuals, so that ties stay ties.
    out = y.copy()
    for x, b in zip(X, coefficients.T, strict=True):
        out -= b[:, None] * x
    return out


def _fit_block(out: AbnormalReturns, rows: Ints, returns: Floats, start: Ints) -> None:
    timing, k = out.timing, out.design.parameters
    T, span = timing.days, returns.shape[1]
    base, X, Z = _windows(out.design, start, span)
    y = returns - base
    known = np.isfinite(y)
    n_obs = known[:, :T].sum(axis=1)
    gram = _products(Z[:, :, :T], X[:, :, :T], known[:, :T])
    inverse, bad = inverse_gram(gram)
    few = n_obs < k + FREE
    y_est = np.where(known[:, :T], y[:, :T], 0.0)
    moments = np.empty((len(rows), k))
    for at, x in enumerate(Z[:, :, :T]):
        moments[:, at] = y_est @ x[0] if len(x) == 1 else np.einsum("nt,nt->n", y_est, x)
    coefficients = np.einsum("nkl,nl->nk", np.broadcast_to(inverse, (len(rows), k, k)), moments)
    e = _less_fitted(y[:, :T], X[:, :, :T], coefficients)
    positive = (e > 0).sum(axis=1)
    e[~known[:, :T]] = 0.0
    squares = np.einsum("nt,nt->n", e, e)
    flat = squares <= np.maximum(1e-24 * np.einsum("nt,nt->n", y_est, y_est), STILL)
    fault = np.select([few, bad, flat], [1, 2, 3], 0).astype(np.int8)
    fine = fault == 0
    s2 = np.where(fine, squares, np.nan) / np.maximum(n_obs - k, 1)
    about = squares - e.sum(axis=1) ** 2 / np.maximum(n_obs, 1)
    about = np.where(about > 1e-24 * squares, about, 0.0) / np.maximum(n_obs - 1, 1)

    hull = slice(timing.hull[0] - timing.estimation[0], span)
    x_hull = X[:, :, hull]
    ar = _less_fitted(y[:, hull], x_hull, coefficients)
    ar[~fine] = np.nan
    out.fault[rows], out.n_obs[rows] = fault, n_obs
    out.coefficients[rows] = np.where(fine[:, None], coefficients, np.nan)
    out.variance_residual[rows] = s2
    out.variance_about_mean[rows] = np.where(fine, about, np.nan)
    out.positive[rows] = np.where(fine, positive / np.maximum(n_obs, 1), np.nan)
    out.ar[rows] = ar
    if Z is not X:
        squares_of_z = _products(Z[:, :, :T], Z[:, :, :T], known[:, :T])
        inverse = inverse @ squares_of_z @ np.swapaxes(inverse, -1, -2)
    leverage = np.einsum("knh,nkl,lnh->nh", x_hull, inverse, x_hull)
    out.sar[rows] = ar / np.sqrt(s2[:, None] * (1 + leverage))
    for w, window in enumerate(timing.windows):
        place = timing.place(window)
        total = x_hull[:, :, place].sum(axis=2)
        spread = np.einsum("kn,nkl,ln->n", total, inverse, total)
        held = returns[:, hull][:, place]
        out.car[rows, w] = ar[:, place].sum(axis=1)
        out.bhar[rows, w] = (1 + held).prod(axis=1) - (1 + held - ar[:, place]).prod(axis=1)
        error = s2 * (window[1] - window[0] + 1 + spread)
        out.variance[rows, w] = np.where(np.isfinite(out.car[rows, w]), error, np.nan)


def _products(A: Floats, B: Floats, known: Bools) -> Floats:
    """Sum products over each firm's own days: shape (1, k, k) where all firms share them."""
    if A.shape[1] > 1:
        return np.asarray(np.einsum("knt,lnt,nt->nkl", A, B, known.astype(float), optimize=True))
    k, T = len(A), A.shape[2]
    shared = known[:1] if (known == known[:1]).all() else known
    pairs = np.einsum("kt,lt->tkl", A[:, 0], B[:, 0]).reshape(T, k * k)
    return np.asarray((shared.astype(float) @ pairs).reshape(len(shared), k, k))

"""The forecast error of a window's cumulative abnormal return, with day 0 at every trading day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from usjp_research.engine.design import Bools, Design, Estimation, Floats, Ints
from usjp_research.words import InputError, card, percent


@dataclass(frozen=True, slots=True)
class Forecast:
    """Cumulative abnormal returns (n_days, n_series) and their variances, with day 0 at every day.

    NaN where the estimation window holds too few usable days or the event window is not complete.
    """

    car: Floats
    variance: Floats  # of the forecast error
    trailing: Floats  # the window's length times the mean square of the guard sessions before it
    residual_variance: Floats
    n_obs: Ints  # usable days of the estimation window
    coefficients: Floats  # (n_days, n_series, k), in the units of the data, intercept first
    parameters: int

    @property
    def guarded(self) -> Floats:
        """The larger of forecast-error and trailing variance: the volatility guard."""
        return np.fmax(self.variance, self.trailing)

    @property
    def beta(self) -> Floats:
        """Slope on the first regressor; one for the market itself, zero for a mean alone."""
        alone = self.coefficients.shape[-1] == 1
        return np.zeros_like(self.car) if alone else np.asarray(self.coefficients[..., 1])

    def _repr_html_(self) -> str:
        days, series = self.car.shape
        known = percent(np.isfinite(self.car).sum() / max(self.car.size, 1), 0, sign=False)
        told = f"{known} of them have a window and enough days before it"
        return card("Forecast", "", f"{series} series with day 0 at each of {days} days", told)


def rolling_forecast(
    returns: Floats,
    design: Design,
    masked: Bools,
    *,
    estimation: Estimation,
    window: tuple[int, int] = (-1, 1),
    anchor: int | None = None,
    guard_sessions: int = 20,
    moving_mask: Sequence[int] | Ints = (),
    days: Ints | None = None,
) -> Forecast:
    """Estimate the model before every trading day and forecast the window around it.

    Least squares by cumulative sums: one pass serves every day, and placebo calendars need no
    refit. The variance of the cumulative abnormal return is the full prediction-error variance ``s2
    [L + 1'X_w (X'X)^-1 X_w'1]`` with ``s2 = SSR / (T - k)`` (docs/methods.md). Where a design has
    instruments Z, ``(Z'X)^-1 Z'Z (X'Z)^-1`` stands in place of ``(X'X)^-1``.

    Parameters
    ----------
    returns : ndarray of shape (n_days, n_series)
        Simple returns as decimals; NaN where missing, never filled.
    masked : ndarray of shape (n_days,), bool
        Days that no estimation may use, such as windows of real events. They stay in event
        windows and in the guard.
    anchor : int, optional
        Offset before which the estimation window ends, if not the start of the event window.
    guard_sessions : int
        Trailing sessions of the volatility guard; at least half must have returns.
    moving_mask : sequence of int, or ndarray of shape (n_offsets, n_asked)
        Offsets from day 0 that no estimation may use either: the other windows of a calendar;
        an array where every day asked for has its own.
    days : ndarray of shape (n_asked,), int
        Places of day 0, one row of the result each; every day where left out.

    Raises
    ------
    InputError
        When the regressors depend on each other before every day.

    References
    ----------
    MacKinlay (1997), Journal of Economic Literature 35, 13-39; Salinger (1992), Journal of
    Financial and Quantitative Analysis 27, 39-53, for the covariance of forecast errors.
    """
    (low, high), k = window, design.parameters
    day = np.arange(len(returns)) if days is None else days
    first, last, length = day + low, day + high, high - low + 1
    known = np.isfinite(returns) & np.isfinite(design.base)[:, None]
    y = np.where(known, returns - design.base[:, None], 0.0)
    end = (low if anchor is None else anchor) - estimation.ends_before
    start = end - estimation.sessions + 1
    moving = np.asarray(moving_mask, int)
    moving = moving if moving.ndim > 1 else moving[:, None]
    moving = moving[((start <= moving) & (moving <= end)).any(axis=1)]
    holes = np.where((start <= moving) & (moving <= end), day + moving, -1)
    sums = _moments(known & ~masked[:, None], y, design, day + start, day + end, holes)
    # Days whose estimation window starts before the data are out, not shortened.
    enough = (np.rint(sums.n) >= max(estimation.minimum, k + 1)) & (day + start >= 0)[:, None]
    gram = sums.zx + design.penalty * np.diag(np.arange(k) > 1)
    inverse, bad = inverse_gram(np.where(enough[..., None, None], gram, np.eye(k)))
    if bad.any() and (bad | ~enough).all():
        raise InputError(
            f"model '{design.model}': two of its regressors move as one before every day; "
            "leave one out"
        )
    b = (inverse @ sums.zy[..., None])[..., 0]
    shape = (len(day), y.shape[1])
    good = np.broadcast_to(enough & ~bad, shape)
    ahead = _spans(design.regressors, first, last)
    whole = good & ((first >= 0) & (last < len(y)))[:, None]
    whole &= np.rint(_spans(known.astype(float), first, last)) == length
    if design.instruments is not design.regressors:
        inverse = inverse @ sums.zz @ np.swapaxes(inverse, -1, -2)
    spread = np.einsum("dk,dskl,dl->ds", ahead, inverse, ahead)
    guard = _moments(known, y, design, first - guard_sessions, first - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        s2 = sums.squares(b) / (sums.n - k)
        usual = length * guard.squares(b) / guard.n
    car = _spans(y, first, last) - (b * ahead[:, None]).sum(axis=-1)
    fitted = design.original(b) if k else np.tile([0.0, 1.0], (*shape, 1))
    return Forecast(
        car=np.where(whole, car, np.nan),
        variance=np.where(whole, s2 * (length + spread), np.nan),
        trailing=np.where(whole & (guard.n >= guard_sessions / 2), usual, np.nan),
        residual_variance=np.where(good, s2, np.nan),
        n_obs=np.broadcast_to(np.rint(sums.n).astype(np.int64), shape),
        coefficients=np.where(good[..., None], fitted, np.nan),
        parameters=k,
    )


class _Moments(NamedTuple):
    """Sums over a window before each day, (days, series, ...); one series where all share days."""

    n: Floats
    xx: Floats
    xy: Floats
    yy: Floats
    zx: Floats
    zy: Floats
    zz: Floats

    def squares(self, b: Floats) -> Floats:
        """Sum of squared residuals of the coefficients ``b``, shape (days, series)."""
        fitted = (b[..., None, :] @ self.xx @ b[..., None])[..., 0, 0]
        return np.asarray(np.maximum(self.yy - 2 * (b * self.xy).sum(axis=-1) + fitted, 0.0))


def _moments(
    used: Bools, y: Floats, design: Design, first: Ints, last: Ints, holes: Iterable[Ints] = ()
) -> _Moments:
    """Sum products over the days from first to last that are used, less those at the holes."""
    X, Z = design.regressors, design.instruments
    w = (used[:, :1] if (used == used[:, :1]).all() else used).astype(float)

    sums = partial(_spans, first=first, last=last, holes=holes)

    def products(a: Floats, b: Floats) -> Floats:
        return sums(w[..., None, None] * (a[:, None, :, None] * b[:, None, None, :]))

    n, xx, yy = sums(w), products(X, X), sums(w * y * y)
    xy = sums((w * y)[..., None] * X[:, None])
    if Z is X:
        return _Moments(n, xx, xy, yy, xx, xy, xx)
    zy = sums((w * y)[..., None] * Z[:, None])
    return _Moments(n, xx, xy, yy, products(Z, X), zy, products(Z, Z))


def _spans(values: Floats, first: Ints, last: Ints, holes: Iterable[Ints] = ()) -> Floats:
    """Sum values, shape (days, ...), from first to last, both in, cut at the data; less holes."""
    total = np.zeros((len(values) + 1, *values.shape[1:]))
    np.cumsum(values, axis=0, out=total[1:])
    upper = np.clip(last + 1, 0, len(values))
    out = total[upper] - total[np.clip(first, 0, upper)]
    for place in holes:
        inside = (place >= 0) & (place < len(values))
        out[inside] -= values[place[inside]]
    return np.asarray(out)


def inverse_gram(gram: Floats) -> tuple[Floats, Bools]:
    """Invert matrices of shape (..., k, k); the unit matrix, and True, where one cannot be."""
    k = gram.shape[-1]
    size = np.linalg.norm(gram, axis=(-2, -1))
    bad = (size == 0) & (k > 0)
    gram = np.where(bad[..., None, None], np.eye(k), gram)
    try:
        inverse = np.linalg.inv(gram)
    except np.linalg.LinAlgError:
        bad |= np.linalg.matrix_rank(gram) < k
        gram[bad] = np.eye(k)
        inverse = np.linalg.inv(gram)
    with np.errstate(over="ignore", invalid="ignore"):
        bad |= ~(size * np.linalg.norm(inverse, axis=(-2, -1)) <= 1e13)
    inverse[bad] = np.eye(k)
    return np.asarray(inverse), np.asarray(bad)

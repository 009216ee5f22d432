"""The forecast error of a window's cumulative abnormal return, with day 0 at every trading day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usjp_research.engine.design import Design, Estimation
from usjp_research.words import InputError, card, percent

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Forecast:
    """Cumulative abnormal returns and their variances, with day 0 at every trading day.

    All arrays have the shape (n_days, n_series); NaN where the estimation window holds too few
    usable days or the event window is not complete.

    Attributes
    ----------
    car : ndarray
        Sum of the abnormal returns over the event window, as a decimal.
    variance : ndarray
        Forecast-error variance of ``car``, with the covariance that the shared parameters give.
    trailing : ndarray
        Length of the window times the mean squared abnormal return of the guard sessions
        before it.
    residual_variance : ndarray
    n_obs : ndarray of int
        Usable days of the estimation window.
    coefficients : ndarray of shape (n_days, n_series, k)
        In the units of the data, intercept first.
    """

    car: Floats
    variance: Floats
    trailing: Floats
    residual_variance: Floats
    n_obs: Ints
    coefficients: Floats
    parameters: int

    @property
    def guarded(self) -> Floats:
        """The larger of forecast-error and trailing variance: the volatility guard."""
        return np.fmax(self.variance, self.trailing)

    @property
    def alpha(self) -> Floats:
        """Intercept; zero for the market itself."""
        if self.parameters:
            return np.asarray(self.coefficients[..., 0])
        return np.asarray(0.0 * self.residual_variance)

    @property
    def beta(self) -> Floats:
        """Slope on the first regressor; one for the market itself."""
        if self.parameters:
            return np.asarray(self.coefficients[..., 1])
        return np.asarray(1.0 + 0.0 * self.residual_variance)

    def _repr_html_(self) -> str:
        days, series = self.car.shape
        known = float(np.isfinite(self.car).mean()) if self.car.size else 0.0
        return card(
            "Forecast",
            "",
            f"{series} series with day 0 at each of {days} days",
            f"{percent(known, 0, sign=False)} of them have a window and enough days before it",
        )


def rolling_forecast(
    returns: Floats,
    design: Design,
    masked: Bools,
    *,
    estimation: Estimation,
    window: tuple[int, int] = (-1, 1),
    anchor: int | None = None,
    guard_sessions: int = 20,
    moving_mask: Sequence[int] = (),
) -> Forecast:
    """Estimate the model before every trading day and forecast the window around it.

    Least squares over the estimation window by cumulative sums: one pass serves every day, so
    that placebo calendars need no refit. The variance of the cumulative abnormal return is the
    full prediction-error variance ``s2 [L + 1'X_w (X'X)^-1 X_w'1]`` with
    ``s2 = SSR / (T - k)`` (METHODS section 0). Where a design has instruments Z of its own,
    ``(Z'X)^-1 Z'Z (X'Z)^-1`` stands in place of ``(X'X)^-1``.

    Parameters
    ----------
    returns : ndarray of shape (n_days, n_series)
        Simple returns as decimals; NaN where missing, never filled.
    design : Design
        The expected-return model on the same days.
    masked : ndarray of shape (n_days,), bool
        Days that no estimation may use, such as windows of real events. They stay in event
        windows and in the guard.
    estimation : Estimation
        Length, end and least number of usable days.
    window : (int, int)
        Offsets of the event window, both ends included.
    anchor : int, optional
        Offset before which the estimation window ends; the start of the event window when left
        out.
    guard_sessions : int
        Trailing sessions of the volatility guard; at least half must have returns.
    moving_mask : sequence of int
        Offsets from day 0 that no estimation may use either, wherever day 0 is: the other
        windows of a calendar of events that is shifted as a whole.

    Returns
    -------
    Forecast

    Raises
    ------
    InputError
        When the regressors depend on each other before every day.

    References
    ----------
    MacKinlay (1997), Journal of Economic Literature 35, 13-39; Salinger (1992), Journal of
    Financial and Quantitative Analysis 27, 39-53, for the covariance of forecast errors.

    Examples
    --------
    >>> draw = np.random.default_rng(1)
    >>> market = draw.normal(0, 0.01, 400)
    >>> firm = 0.9 * market + draw.normal(0, 0.02, 400)
    >>> design = expected_return_design("market", {"market": market})      # doctest: +SKIP
    >>> fit = rolling_forecast(firm[:, None], design, np.zeros(400, bool),
    ...                        estimation=spec.rule.estimation)            # doctest: +SKIP
    >>> round(float(fit.beta[300, 0]), 1)                                  # doctest: +SKIP
    0.9
    """
    low, high = window
    length, day = high - low + 1, np.arange(len(returns))
    known = np.isfinite(returns) & np.isfinite(design.base)[:, None]
    y = np.where(known, returns - design.base[:, None], 0.0)
    end = (low if anchor is None else anchor) - estimation.ends_before
    start = end - estimation.sessions + 1
    holes = [hole for hole in moving_mask if start <= hole <= end]
    sums = _moments(known & ~masked[:, None], y, design, day + start, day + end, holes)
    first, last = day + low, day + high
    ahead = _spans(design.regressors, first, last)
    total = _spans(y, first, last)
    whole = np.rint(_spans(known.astype(float), first, last)) == length
    whole &= ((first >= 0) & (last < len(day)))[:, None]
    # Days whose estimation window starts before the data are out, not shortened.
    enough = (np.rint(sums.n) >= max(estimation.minimum, design.parameters + 1)) & (
        day + start >= 0
    )[:, None]
    guard = _moments(known, y, design, first - guard_sessions, first - 1)
    full = guard.n >= guard_sessions / 2
    return _forecast(design, sums, enough, _Window(length, ahead, total, whole), guard, full)


def forecast_once(
    y: Floats, design: Design, rows: Ints, inside: Ints, before: Ints, guard_sessions: int
) -> Forecast:
    """Estimate one series, shape (n_days,), on some rows and forecast the window ``inside``.

    ``before`` are the guard sessions that have a return. The forecast has one day and series.
    """
    y, X = y - design.base, design.regressors

    def sums(at: Ints) -> _Moments:
        x, z, r = X[at], design.instruments[at], y[at]
        parts = (len(at), x.T @ x, x.T @ r, r @ r, z.T @ x, z.T @ r, z.T @ z)
        return _Moments(*(np.asarray(part, dtype=np.float64)[None, None] for part in parts))

    yes = np.ones((1, 1), dtype=bool)
    window = _Window(
        len(inside), X[inside].sum(axis=0)[None], np.full((1, 1), y[inside].sum()), yes
    )
    full = yes if len(before) >= guard_sessions / 2 else ~yes
    return _forecast(design, sums(rows), yes, window, sums(before), full)


@dataclass(frozen=True, slots=True)
class _Window:
    """Its length, its sums of regressors (days, k) and of y (days, series), and where whole."""

    length: int
    ahead: Floats
    total: Floats
    whole: Bools


def _forecast(
    design: Design, sums: _Moments, enough: Bools, window: _Window, guard: _Moments, full: Bools
) -> Forecast:
    """Forecast windows from the sums before them; every prediction error is computed here."""
    unit = np.eye(design.parameters)
    inverse, bad = inverse_gram(np.where(enough[..., None, None], sums.zx, unit))
    if bad.any() and (bad | ~enough).all():
        raise InputError(
            f"model '{design.model}': two of its regressors move as one before every day; "
            "leave one out"
        )
    b = (inverse @ sums.zy[..., None])[..., 0]
    good = np.broadcast_to(enough & ~bad, window.total.shape)
    whole = window.whole & good
    car = window.total - (b * window.ahead[:, None]).sum(axis=-1)
    if design.instruments is not design.regressors:
        inverse = inverse @ sums.zz @ np.swapaxes(inverse, -1, -2)
    spread = np.einsum("dk,dskl,dl->ds", window.ahead, inverse, window.ahead)
    with np.errstate(invalid="ignore", divide="ignore"):
        s2 = sums.squares(b) / (sums.n - design.parameters)
        usual = window.length * guard.squares(b) / guard.n
    return Forecast(
        car=np.where(whole, car, np.nan),
        variance=np.where(whole, s2 * (window.length + spread), np.nan),
        trailing=np.where(whole & full, usual, np.nan),
        residual_variance=np.where(good, s2, np.nan),
        n_obs=np.broadcast_to(np.rint(sums.n).astype(np.int64), car.shape),
        coefficients=design.original(np.where(good[..., None], b, np.nan)),
        parameters=design.parameters,
    )


@dataclass(frozen=True, slots=True)
class _Moments:
    """Sums n (days, series), X'X, X'y, y'y, Z'X, Z'y and Z'Z over a window before each day.

    Where all series have the same days, what has no y in it has one series.
    """

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
    used: Bools, y: Floats, design: Design, first: Ints, last: Ints, holes: Sequence[int] = ()
) -> _Moments:
    """Sum products over the days from first to last that are used, less those at the holes."""
    X, Z = design.regressors, design.instruments
    w = (used[:, :1] if (used == used[:, :1]).all() else used).astype(float)

    def sums(part: Floats) -> Floats:
        return _spans(part, first, last, holes)

    def products(a: Floats, b: Floats) -> Floats:
        return sums(w[..., None, None] * (a[:, None, :, None] * b[:, None, None, :]))

    n, xx, yy = sums(w), products(X, X), sums(w * y * y)
    xy = sums((w * y)[..., None] * X[:, None])
    if Z is X:
        return _Moments(n, xx, xy, yy, xx, xy, xx)
    zy = sums((w * y)[..., None] * Z[:, None])
    return _Moments(n, xx, xy, yy, products(Z, X), zy, products(Z, Z))


def _spans(values: Floats, first: Ints, last: Ints, holes: Sequence[int] = ()) -> Floats:
    """Sum values, shape (days, ...), from first to last, both in, cut at the data; less holes."""
    total = np.zeros((len(values) + 1, *values.shape[1:]))
    np.cumsum(values, axis=0, out=total[1:])
    upper = np.clip(last + 1, 0, len(values))
    out = total[upper] - total[np.clip(first, 0, upper)]
    for hole in holes:
        place = np.arange(len(values)) + hole
        inside = (place >= 0) & (place < len(values))
        out[inside] -= values[place[inside]]
    return np.asarray(out)


def inverse_gram(gram: Floats) -> tuple[Floats, Bools]:
    """Invert matrices of shape (..., k, k); the unit matrix, and True, where one cannot be."""
    k = gram.shape[-1]
    size = np.linalg.norm(gram, axis=(-2, -1))
    if not k:
        return gram, np.zeros(size.shape, dtype=bool)
    bad = size == 0
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

"""Synthetic control: least squares on the simplex with a certificate, for any number of donors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usjp_research.words import InputError, card, percent

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TOGETHER = 6  # donors that may join in one step
FRESH = 32  # donors that may join between two screenings of all of them
MOST_ROUNDS = 500
EXACT = 1e-6  # a fit this close, relative to the returns themselves, is exact for any purpose


@dataclass(frozen=True, slots=True)
class SyntheticFit:
    """Weights of a synthetic control and the certificate that no other weights fit much better.

    Attributes
    ----------
    weights : ndarray of shape (n_donors,)
        Zero or more, with the sum one.
    support : ndarray of int
        The donors with a weight, ascending.
    gap : float
        Duality gap ``g'w - min g`` with ``g = R'(Rw - y)``: half the squared error of the best
        weights lies at most this far below that of these.
    relative_gap : float
        The gap over half the squared error (over a millionth of the largest half squared
        length of ``y`` and the donors, where the fit is closer than that).
    rmse : float
        Root mean squared error of the fit, in the units of ``y``.
    """

    weights: Floats
    support: Ints
    gap: float
    relative_gap: float
    rmse: float

    def _repr_html_(self) -> str:
        used = f"{len(self.support)} of {len(self.weights)} donors in use"
        gap = f"relative duality gap {self.relative_gap:.0e}"
        return card(
            "Synthetic control", "", used, gap, f"error {percent(self.rmse, 2, sign=False)}"
        )


def synthetic_control(
    target: Floats, donors: Floats, *, tolerance: float = 1e-8, start: Floats | None = None
) -> SyntheticFit:
    """Fit a target by the convex combination of donors with the least squared error.

    Solves ``min 1/2 |y - Rw|^2`` over weights that are zero or more with the sum one. An active
    set holds the donors with a weight; on it the weights are solved for exactly, a donor whose
    weight would turn negative leaves, and all donors are screened by their gradient for those
    that should join. The Gram matrix of the donors is never formed: memory beyond ``donors``
    itself grows with their number and with the days times the donors in use.

    Parameters
    ----------
    target : ndarray of shape (n_days,)
        Returns to be matched, day by day.
    donors : ndarray of shape (n_days, n_donors)
        Returns of the donors on the same days.
    tolerance : float
        Largest relative gap at which the fit is taken to be done. Where rounding does not let
        it be reached the smallest gap that was is reported.
    start : ndarray of shape (n_donors,), optional
        Weights of a similar problem; only speed depends on it.

    Returns
    -------
    SyntheticFit

    Raises
    ------
    InputError
        When shapes do not agree, there is no day or no donor, or a return is missing.

    References
    ----------
    Abadie, Diamond and Hainmueller (2010), Journal of the American Statistical Association 105,
    493-505; Wolfe (1976), Mathematical Programming 11, 128-149, for the active set; Jaggi
    (2013), Proceedings of ICML 28, 427-435, for the gap.

    Examples
    --------
    >>> draw = np.random.default_rng(1)
    >>> donors = draw.normal(0, 0.01, (250, 40))
    >>> fit = synthetic_control(donors[:, :2] @ [0.3, 0.7], donors)
    >>> fit.support.tolist(), fit.weights[:2].round(6).tolist()
    ([0, 1], [0.3, 0.7])
    """
    (fit,) = synthetic_controls(
        np.asarray(target)[:, None],
        donors,
        tolerance=tolerance,
        start=None if start is None else np.asarray(start),
    )
    return fit


def synthetic_controls(
    targets: Floats, donors: Floats, *, tolerance: float = 1e-8, start: Floats | None = None
) -> tuple[SyntheticFit, ...]:
    """Fit several targets by the same donors; what does not depend on the target is done once.

    Parameters
    ----------
    targets : ndarray of shape (n_days, n_targets)
    donors : ndarray of shape (n_days, n_donors)
    tolerance, start
        As for `synthetic_control`.

    Returns
    -------
    tuple of SyntheticFit
    """
    Y, R = np.asarray(targets, float), np.asarray(donors, float)
    if R.ndim != 2 or not R.size:
        raise InputError(f"donors: seen an array of shape {R.shape}, expected days times donors")
    if Y.ndim != 2 or len(Y) != len(R):
        raise InputError(f"targets: seen shape {Y.shape}, expected {len(R)} days, as the donors")
    for name, values in (("target", Y), ("donor", R)):
        if not np.isfinite(values).all():
            day, column = np.argwhere(~np.isfinite(values))[0]
            raise InputError(
                f"{name} {column}: no return on day {day}; leave the day or the {name} out"
            )
    longest = float(np.einsum("ij,ij->j", R, R).max())
    known = R.T @ Y  # every target's side of its first gradient
    fits: list[SyntheticFit] = []
    for y, side in zip(np.ascontiguousarray(Y.T), known.T, strict=True):
        scale = 0.5 * max(longest, float(y @ y))
        fit = _fit(y, R, side, scale, tolerance, start)
        if start is not None and fit.relative_gap > tolerance:  # a start that misled
            fit = min(fit, _fit(y, R, side, scale, tolerance, None), key=lambda f: f.relative_gap)
        fits.append(fit)
    return tuple(fits)


def _fit(
    y: Floats, R: Floats, known: Floats, scale: float, tolerance: float, start: Floats | None
) -> SyntheticFit:
    """Screen all donors, solve on those in use and the best others, and so on until done."""
    support, weights = _first(R, known, start)
    best: tuple[float, float, Ints, Floats, float] | None = None
    for _ in range(MOST_ROUNDS):
        residual = R[:, support] @ weights - y
        gradient = R.T @ residual
        level = float(weights @ gradient[support])
        gap = max(0.0, level - float(gradient.min()))
        objective = 0.5 * float(residual @ residual)
        relative = gap / max(objective, EXACT * scale) if scale else 0.0
        if best is None or relative < best[0]:
            best = (relative, gap, support, weights, objective)
        elif support.size == best[2].size and (support == best[2]).all():
            break  # rounding: the same donors again, and no better
        if relative <= tolerance:
            break
        joining = gradient < level
        joining[support] = False
        fresh = np.flatnonzero(joining)
        if fresh.size > FRESH:
            fresh = fresh[np.argpartition(gradient[fresh], FRESH)[:FRESH]]
        pool = np.concatenate([support, fresh])
        inside = np.concatenate([weights, np.zeros(fresh.size)])
        used, weights = _on_pool(R[:, pool] - y[:, None], inside, 0.1 * tolerance, scale)
        support = pool[used]
        order = np.argsort(support)
        support, weights = support[order], weights[order]
    assert best is not None
    relative, gap, support, weights, objective = best
    full = np.zeros(R.shape[1])
    full[support] = weights
    return SyntheticFit(full, support, gap, relative, float(np.sqrt(2 * objective / len(y))))


def _first(R: Floats, known: Floats, start: Floats | None) -> tuple[Ints, Floats]:
    if start is not None:
        support = np.flatnonzero(start > 0)
        if support.size:
            return support, start[support] / start[support].sum()
    return np.array([int(known.argmax())]), np.ones(1)


def _on_pool(A: Floats, weights: Floats, tolerance: float, scale: float) -> tuple[Ints, Floats]:
    """Find the point of least norm in the convex hull of the columns, by Wolfe's active set.

    Columns join a few at a time. Should that end early, as when some depend on each other, they
    join one by one from the nearest column on: a single column inside the affine hull of the
    set has the gradient that the set has, and so never joins.
    """
    H = A.T @ A
    limits = (tolerance, 1e-15 * scale)
    used = np.flatnonzero(weights > 0)
    used, w, done = _descend(H, used, weights[used], TOGETHER, limits)
    if not done:
        nearest = np.array([int(np.diag(H).argmin())])
        other, v, _ = _descend(H, nearest, np.ones(1), 1, limits)
        if v @ H[other[:, None], other] @ v <= w @ H[used[:, None], used] @ w:
            return other, v
    return used, w


def _descend(
    H: Floats, used: Ints, w: Floats, most: int, limits: tuple[float, float]
) -> tuple[Ints, Floats, bool]:
    """Let up to ``most`` columns join at a time while the point gets shorter."""
    unit = max(float(np.trace(H)) / len(H), np.finfo(float).tiny)
    used, w = _settle(H, unit, used, w)
    kept, seen = (used, w), np.inf
    for _ in range(20 * len(H) + 20):
        q = H[:, used] @ w
        level = float(w @ q[used])
        if level >= seen:
            return *kept, False
        kept, seen = (used, w), level
        slack = level - float(q.min())
        if slack <= max(limits[0] * level, limits[1]):
            return used, w, True
        q[used] = np.inf
        joining = np.argsort(q)[:most] if most > 1 else np.array([int(q.argmin())])
        joining = joining[q[joining] < level - 0.3 * slack]
        used = np.append(used, joining)
        used, w = _settle(H, unit, used, np.append(w, np.zeros(len(joining))))
    return *kept, False


def _settle(H: Floats, unit: float, used: Ints, w: Floats) -> tuple[Ints, Floats]:
    """Move to the point of least norm of the affine hull; who would turn negative leaves."""
    while True:
        try:
            u = np.linalg.solve(H[used[:, None], used] + unit, np.ones(len(used)))
            total = float(u.sum())
        except np.linalg.LinAlgError:
            total = 0.0
        if not 0 < total < np.inf:  # they depend on each other
            return used[w > 0], w[w > 0]
        v = np.asarray(u / total, dtype=np.float64)
        if v.min() > 0:
            return used, v
        falling = np.flatnonzero(v <= 0)
        ratio = w[falling] / np.maximum(w[falling] - v[falling], np.finfo(float).tiny)
        step = min(1.0, float(ratio.min()))
        w = w + step * (v - w)
        stays = np.ones(len(used), dtype=bool)
        stays[falling[ratio <= step]] = False
        used, w = used[stays], np.maximum(w[stays], 0.0)
        w /= w.sum()

"""Synthetic control: least squares on the simplex with a certificate, for any number of donors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg
from scipy.optimize import nnls

from usjp_research.engine.design import Floats, Ints
from usjp_research.words import InputError, card, percent

FRESH = 32  # donors that may join between two screenings of all of them
ROUNDS = 200
PATIENCE = 5  # rounds without a smaller gap: rounding does not let it fall further
TOLERANCE = 1e-8  # the relative gap at which a fit is done
HEAVY = 30.0  # of the row that makes weights sum to one; the exact step undoes its error
EXACT = 1e-6  # a fit this close, relative to the returns themselves, is exact for any purpose


@dataclass(frozen=True, slots=True)
class SyntheticFit:
    """Weights of a synthetic control and the certificate that no other weights fit much better.

    With ``g = R'(Rw - y)`` half the squared error of the best weights lies at most the duality
    gap ``g'w - min g`` below that of these; the relative gap is over that half squared error.
    """

    weights: Floats  # (n_donors,), zero or more, with the sum one
    support: Ints  # the donors with a weight, ascending
    gap: float
    relative_gap: float
    rmse: float  # in the units of y

    def _repr_html_(self) -> str:
        used = f"{len(self.support)} of {len(self.weights)} donors in use"
        gap = f"relative duality gap {self.relative_gap:.0e}"
        error = percent(self.rmse, 2, sign=False)
        return card("Synthetic control", "", used, gap, f"error {error}")


def synthetic_control(
    target: Floats, donors: Floats, *, start: Floats | None = None
) -> SyntheticFit:
    """Fit a target by the convex combination of donors with the least squared error.

    Solves ``min 1/2 |y - Rw|^2`` over weights that are zero or more with the sum one, by SciPy's
    non-negative least squares on the few donors in use and one exact step on those with a weight;
    all donors (n_days, n_donors) are then screened by their gradient for those that should join.
    Where rounding keeps the gap above 1e-8 the fit with the smallest one is returned.

    Parameters
    ----------
    start : ndarray of shape (n_donors,), optional
        Weights of a similar problem; only speed depends on it.

    Raises
    ------
    InputError
        When shapes do not agree, there is no day or no donor, or a return is missing.

    References
    ----------
    Abadie, Diamond and Hainmueller (2010), Journal of the American Statistical Association 105,
    493-505; Lawson and Hanson (1974), Solving Least Squares Problems, chapter 23; Jaggi (2013),
    Proceedings of ICML 28, 427-435, for the gap.

    Examples
    --------
    >>> draw = np.random.default_rng(1)
    >>> donors = draw.normal(0, 0.01, (250, 40))
    >>> fit = synthetic_control(donors[:, :2] @ [0.3, 0.7], donors)
    >>> fit.support.tolist(), fit.weights[:2].round(6).tolist()
    ([0, 1], [0.3, 0.7])
    """
    y, R = np.asarray(target, float), np.asarray(donors, float)
    _refuse(y, R)
    scale = 0.5 * max(float(np.einsum("ij,ij->j", R, R).max()), float(y @ y))
    pool = np.flatnonzero(() if start is None else start > 0)
    if not len(pool):
        pool = np.array([(R.T @ y).argmax()])
    best, idle = None, 0
    for _ in range(ROUNDS):
        weights = np.zeros(R.shape[1])
        weights[pool] = _on_pool(R[:, pool] - y[:, None])
        fit, gradient = _certified(weights, y, R, scale)
        idle = 0 if best is None or fit.relative_gap < best.relative_gap else idle + 1
        best = best if best and idle else fit
        level = float(weights @ gradient)
        gradient[fit.support] = np.inf
        joining = np.argsort(gradient)[:FRESH]
        joining = joining[gradient[joining] < level]
        if fit.relative_gap <= TOLERANCE or idle > PATIENCE or not len(joining):
            break
        pool = np.concatenate([fit.support, joining])
    assert best is not None
    return best


def _refuse(y: Floats, R: Floats) -> None:
    if R.ndim != 2 or not R.size:
        raise InputError(f"donors: seen an array of shape {R.shape}, expected days times donors")
    if y.ndim != 1 or len(y) != len(R):
        raise InputError(f"target: seen shape {y.shape}, expected {len(R)} days, as the donors")
    for name, values in (("target", y[:, None]), ("donor", R)):
        if not np.isfinite(values).all():
            day, column = np.argwhere(~np.isfinite(values))[0]
            raise InputError(
                f"{name} {column}: no return on day {day}; leave the day or the {name} out"
            )


def _certified(weights: Floats, y: Floats, R: Floats, scale: float) -> tuple[SyntheticFit, Floats]:
    """Measure how far weights can be from the best, and return the gradient too."""
    support = np.flatnonzero(weights)
    residual = R[:, support] @ weights[support] - y
    gradient = R.T @ residual
    gap = max(0.0, float(weights @ gradient) - float(gradient.min()))
    objective = 0.5 * float(residual @ residual)
    relative = gap / max(objective, EXACT * scale) if scale else 0.0
    rmse = float(np.sqrt(2 * objective / len(y)))
    return SyntheticFit(weights, support, gap, relative, rmse), gradient


def _on_pool(A: Floats) -> Floats:
    """Find the shortest convex combination of columns: roughly, then exactly on those in use."""
    size = float(np.abs(A).max()) or 1.0
    rows = np.vstack([A / size, np.full(A.shape[1], HEAVY)])
    weights, _ = nnls(rows, np.append(np.zeros(len(A)), HEAVY))
    weights /= weights.sum()
    used, shortest = np.flatnonzero(weights), float(((A @ weights) ** 2).sum())
    while len(used):
        H = A[:, used].T @ A[:, used]
        unit = max(float(np.trace(H)) / len(H), np.finfo(float).tiny)
        v = linalg.lstsq(H + unit, np.ones(len(used)), lapack_driver="gelsy")[0]
        if v.min() > 0:
            exact = np.zeros(len(weights))
            exact[used] = v / v.sum()
            better = float(((A @ exact) ** 2).sum()) <= shortest * (1 + 1e-12)
            return np.asarray(exact if better else weights)
        used = used[v > 0]
    return np.asarray(weights)

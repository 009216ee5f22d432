"""A cross-section's slope as a portfolio: its return each day, and a number against quiet days."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usjp_research.words import card, number, p_value

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def slope_weights(present: Bools, dose: Floats, group: Ints) -> tuple[Floats, Floats]:
    """Partial group effects out of the dose on every day at once.

    Parameters
    ----------
    present : ndarray of shape (n_days, n_firms), bool
        Who is in the cross-section of a day.
    dose : ndarray of shape (n_firms,)
    group : ndarray of shape (n_firms,), int
        The sector of each firm, from 0.

    Returns
    -------
    weights : ndarray of shape (n_days, n_firms)
        Dose less the group's mean dose among the firms present; zero where absent.
    curvature : ndarray of shape (n_days,)
        Sum of squares: the least-squares slope of y is ``(weights * y).sum() / curvature``.

    Examples
    --------
    >>> there = np.ones((1, 4), bool)
    >>> weights, curvature = slope_weights(there, np.array([1.0, 0, 0, 0]), np.array([0, 0, 1, 1]))
    >>> weights.tolist(), curvature.tolist()
    ([[0.5, -0.5, 0.0, 0.0]], [0.5])
    """
    inside = np.eye(int(group.max(initial=0)) + 1)[group]
    there = present.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (there * dose) @ inside / (there @ inside)
    weights = there * (dose - np.nan_to_num(mean) @ inside.T)
    return weights, (weights**2).sum(axis=1)


def slope_portfolio(returns: Floats, dose: Floats, group: Ints) -> Floats:
    """Return each day's slope of returns on dose with group effects, shape (n_days,).

    It is the return of a portfolio that is long the exposed firms and short the others of their
    groups, with a dose of one. NaN on days that do not have all exposed firms; the others of a
    group are those that have a return that day.
    """
    present = np.isfinite(returns)
    weights, curvature = slope_weights(present, dose, group)
    known = (curvature > 0) & present[:, dose > 0].all(axis=1)
    total = (weights * np.nan_to_num(returns)).sum(axis=1)
    slope = np.full(len(total), np.nan)
    np.divide(total, curvature, out=slope, where=known)
    return slope


@dataclass(frozen=True, slots=True)
class Prologue:
    """One number against the same number on quiet days.

    Attributes
    ----------
    center : float
        Mean over the quiet days.
    p_cdf : float
        Share of all dates, the event among them, that lie at least as far from it.
    t, df, p_t : float
        The event's distance over the prediction error of one more quiet day.
    """

    center: float
    p_cdf: float
    t: float
    df: int
    p_t: float

    def _repr_html_(self) -> str:
        law = f"t({self.df}) {number(self.t, 2)}, p {p_value(self.p_t)}"
        return card("Against quiet days", "", f"p {p_value(self.p_cdf)}", law)


def prologue(observed: float, law: Floats) -> Prologue:
    """Compare an event's number with its law on quiet days ("Past is Prologue").

    Parameters
    ----------
    observed : float
    law : ndarray of shape (n_dates,)
        The same number on quiet days; neighbours may overlap.

    Returns
    -------
    Prologue

    References
    ----------
    Cohn, Johnson, Liu and Wardlaw (2026), Journal of Financial Economics.

    Examples
    --------
    >>> found = prologue(3.0, np.array([-1.0, 0.0, 1.0, -4.0, 4.0]))
    >>> found.p_cdf, round(found.t, 3), found.df
    (0.5, 0.939, 4)
    """
    from scipy import stats

    size = len(law)
    center, spread = float(law.mean()), float(law.std(ddof=1))
    beyond = int((np.abs(law - center) >= abs(observed - center)).sum())
    t = (observed - center) / (spread * math.sqrt((size + 1) / size))
    return Prologue(
        center=center,
        p_cdf=(1 + beyond) / (size + 1),
        t=t,
        df=size - 1,
        p_t=float(2 * stats.t.sf(abs(t), size - 1)),
    )

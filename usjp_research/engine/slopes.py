"""A cross-section's slope as a portfolio: its return each day, and a number against quiet days."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from usjp_research.engine.design import Bools, Floats, Ints
from usjp_research.engine.placebo import placebo_p


def slope_weights(present: Bools, dose: Floats, group: Ints) -> tuple[Floats, Floats]:
    """Return each day's doses less the mean of the group's firms present, and their squares' sum.

    From who is present (n_days, n_firms), doses and sectors from 0, both (n_firms,).
    """
    inside = np.eye(int(group.max(initial=0)) + 1)[group]
    there = present.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (there * dose) @ inside / (there @ inside)
    weights = there * (dose - np.nan_to_num(mean) @ inside.T)
    return weights, (weights**2).sum(axis=1)


def slope_portfolio(returns: Floats, dose: Floats, group: Ints) -> Floats:
    """Return each day's slope of returns on dose with group effects, shape (n_days,).

    It is the return of a portfolio long the exposed firms and short the others of their groups
    that have a return that day; NaN on days that do not have all exposed firms.
    """
    present = np.isfinite(returns)
    weights, curvature = slope_weights(present, dose, group)
    known = (curvature > 0) & present[:, dose > 0].all(axis=1)
    total = (weights * np.nan_to_num(returns)).sum(axis=1)
    return np.asarray(np.divide(total, curvature, out=np.full(len(total), np.nan), where=known))


@dataclass(frozen=True, slots=True)
class Prologue:
    """One number against the same number on quiet days."""

    center: float  # mean over the quiet days
    p_cdf: float  # share of all dates, the event among them, that lie at least as far from it
    t: float  # the event's distance over the prediction error of one more quiet day
    df: int
    p_t: float


def prologue(observed: float, law: Floats) -> Prologue:
    """Compare an event's number with its law on quiet days, shape (n_dates,).

    "Past is Prologue" (Cohn, Johnson, Liu and Wardlaw 2026); neighbouring dates may overlap.
    """
    from scipy import stats

    size = len(law)
    center, spread = float(law.mean()), float(law.std(ddof=1))
    p_cdf = float(placebo_p(np.abs(law - center), abs(observed - center)))
    t = (observed - center) / (spread * math.sqrt((size + 1) / size))
    p_t = float(2 * stats.t.sf(abs(t), size - 1))
    return Prologue(center, p_cdf, t, size - 1, p_t)

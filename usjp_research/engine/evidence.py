"""What a placebo law says of a size: held-out size of its test, evidence for and against it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from usjp_research.engine.design import Floats
from usjp_research.engine.placebo import quantile

BLOCKS, HALVES, SEED = 10, 400, 20260213
LIMIT = 20.0  # beyond it, and beyond its inverse, a density ratio is not told apart
FEWEST_NEAR = 10


class Size(NamedTuple):
    """How often a nominal test rejects on dates that did not calibrate it."""

    row: float  # mean over groups, each alone
    family: float  # at least one group
    error: float  # standard deviation of ``family`` over the splits
    later: float  # family: calibrated on the first half, tested on the second, and the reverse


def held_out_size(null: Floats, alpha: float, gap: int) -> Size:
    """Estimate the size of the tests of a law with calibration and test on different dates.

    The shifts of ``null`` (n_shifts, n_groups), studentised sums in order of time, are cut into ten
    consecutive blocks; of 400 random halves of the blocks one gives means and critical values and
    the other is tested. Neighbouring shifts overlap, so that splitting shift by shift would test a
    law on itself. ``gap`` shifts are left out between the halves of the split by time.
    """
    blocks = np.array_split(np.arange(len(null)), BLOCKS)
    draw, found = np.random.default_rng(SEED), []
    for _ in range(HALVES):
        halves = np.split(draw.permutation(BLOCKS), 2)
        fit, test = (null[np.concatenate([blocks[k] for k in half])] for half in halves)
        found.append(_rejected(fit, test, alpha))
    row, family = np.array(found).T
    half = max(1, (len(null) - gap) // 2)
    pairs = (null[:half], null[-half:]), (null[-half:], null[:half])
    later = np.mean([_rejected(*pair, alpha)[1] for pair in pairs])
    return Size(float(row.mean()), float(family.mean()), float(family.std(ddof=1)), float(later))


def _rejected(fit: Floats, test: Floats, alpha: float) -> tuple[float, float]:
    center = fit.mean(axis=0)
    known, asked = np.abs(fit - center), np.abs(test - center)
    alone = np.array([quantile(column, alpha) for column in known.T])
    joint = quantile(known.max(axis=1), alpha)
    return float((asked > alone).mean()), float((asked.max(axis=1) > joint).mean())


def evidence_ratio(statistic: float, null: Floats, size: float) -> tuple[float, str]:
    """Return how much likelier a statistic is under the law moved by a size than unmoved.

    From studentised shifts ``null`` (n_shifts,), not centred, and the implied value in standard
    errors. Gaussian kernel density with bandwidth ``1.06 sd (M / 3)^(-1/5)``: neighbouring shifts
    are worth about a third of so many independent ones. Held between 1/20 and 20, which stand for
    "or less" and "or more"; NaN, and the reason, where fewer than ten shifts lie within a bandwidth
    of one of the two points.

    Examples
    --------
    >>> evidence_ratio(0.5, np.random.default_rng(1).normal(size=3000), 0.0)
    (1.0, '')
    """
    width = 1.06 * null.std(ddof=1) * (len(null) / 3) ** -0.2
    points = np.array([statistic - size, statistic])
    distance = (points[:, None] - null) / width
    near = (np.abs(distance) <= 1).sum(axis=1)
    if near.min() < FEWEST_NEAR:
        return np.nan, f"only {near.min()} placebo calendars lie near one of its two points"
    moved, unmoved = np.exp(-0.5 * distance**2).sum(axis=1)
    return float(np.clip(moved / unmoved, 1 / LIMIT, LIMIT)), ""

"""Synthetic control: time of a fit, of placebo refits and of very many donors; memory."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from usjp_research.engine.simplex import synthetic_control

Floats = npt.NDArray[np.float64]
DAYS = 250


def _returns(donors: int, targets: int) -> tuple[Floats, Floats]:
    """Draw returns with a market, seven further factors and own noise."""
    draw = np.random.default_rng(20260213)
    factors = draw.normal(0, 0.008, (DAYS, 8))
    loads, own = draw.normal(0, 0.4, (8, donors)), draw.normal(0, 0.3, (8, targets))
    loads[0], own[0] = draw.uniform(0.5, 1.5, donors), 1.0
    noise = 0.015 * draw.standard_normal((DAYS, donors))
    return factors @ own + 0.005 * draw.standard_normal((DAYS, targets)), factors @ loads + noise


def _best(work: Callable[[], object], times: int = 5) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def measure() -> list[dict[str, object]]:
    """Return the goals of synthetic control with what was measured."""
    Y, R = _returns(500, 101)
    y = Y[:, 0]
    one = _best(lambda: synthetic_control(y, R), 15)
    gap = synthetic_control(y, R).relative_gap
    heavy = np.vstack([R, np.ones(R.shape[1])])
    floor = _best(lambda: nnls(heavy, np.append(y, 1.0)))
    square = _best(lambda: np.linalg.lstsq(R[:, :DAYS], y, rcond=None))
    others = Y[:, 1:].T
    hundred = _best(lambda: [synthetic_control(other, R) for other in others], 3)
    worst = max(synthetic_control(other, R).relative_gap for other in others)
    Y, many = _returns(10_000, 1)
    y = Y[:, 0]
    large = _best(lambda: synthetic_control(y, many))
    tracemalloc.start()
    fit = synthetic_control(y, many)
    peak = tracemalloc.get_traced_memory()[1] / many.nbytes
    tracemalloc.stop()
    goals = [
        ("500 donors x 250 days", 1e3 * one, "ms", 20),
        ("its relative duality gap", gap, "of the squared error", 1e-8),
        ("its time over SciPy's nnls with a sum row", one / floor, "x", 2),
        ("its time over one least squares of 250 x 250", one / square, "x", 2),
        ("100 placebo refits with the same donors", hundred, "s", 1),
        ("their largest relative duality gap", worst, "of the squared error", 1e-8),
        ("10,000 donors x 250 days", large, "s", 0.5),
        ("its relative duality gap", fit.relative_gap, "of the squared error", 1e-8),
        ("its peak memory beyond the donors", peak, "x the donors", 0.5),
    ]
    return [
        {"name": name, "measured": float(seen), "unit": unit, "goal": goal, "met": seen <= goal}
        for name, seen, unit, goal in goals
    ]

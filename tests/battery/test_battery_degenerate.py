"""Panels on which statistics break down: numbers are there or have a reason, strictly JSON."""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usjp_research.engine.battery.run import Battery, run_battery

Floats = npt.NDArray[np.float64]
DAYS, FIRMS, DAY0 = 240, 6, 220
INDEX = pd.bdate_range("2023-01-02", periods=DAYS)
SHAPES = (
    "drawn", "zero", "constant", "alternating", "steps", "spike", "event only", "quiet event",
    "as the market", "as the first", "against the first", "tiny", "huge", "two values", "holes",
    "late", "rounded",
)  # fmt: skip


def _series(shape: str, seed: int, market: Floats, first: Floats) -> Floats:
    draw = np.random.default_rng(seed)
    noise, t = draw.normal(0, 0.01, DAYS), np.arange(DAYS)
    spike, quiet = np.zeros(DAYS), noise.copy()
    spike[min(seed % DAYS, DAYS - 1)], quiet[DAY0 - 3 : DAY0 + 4] = 0.05, 0.0
    made: dict[str, Floats] = {
        "drawn": noise,
        "zero": np.zeros(DAYS),
        "constant": np.full(DAYS, 0.001),
        "alternating": np.where(t % 2, 0.01, -0.01),
        "steps": np.where(t < 100, 0.01, -0.01),
        "spike": spike,
        "event only": np.where(np.abs(t - DAY0) <= 1, 0.03, 0.0),
        "quiet event": quiet,
        "as the market": market,
        "as the first": first,
        "against the first": -first,
        "tiny": 1e-160 * noise,
        "huge": np.clip(20 * noise, -0.9, 5.0),
        "two values": np.where(noise > 0, 0.01, 0.0),
        "holes": np.where(draw.random(DAYS) < 0.3, np.nan, noise),
        "late": np.where(t < 195, np.nan, noise),
        "rounded": noise.round(2),
    }
    return made[shape]


def _panel(shapes: tuple[str, ...], seed: int) -> pd.DataFrame:
    """Draw a panel: the market's shape first, then one for each firm."""
    zero = np.zeros(DAYS)
    market = _series(shapes[0], seed, np.random.default_rng(seed).normal(0, 0.01, DAYS), zero)
    columns: list[Floats] = []
    for k, shape in enumerate(shapes[1:]):
        first = columns[0] if columns else market
        columns.append(_series(shape, seed + (k + 1) * (shape != "constant"), market, first))
    table = pd.DataFrame(np.column_stack(columns), INDEX, [f"F{k}" for k in range(len(columns))])
    return table.assign(M=np.where(np.isfinite(market), market, 0.0))


def _every_number_has_a_reason(done: Battery) -> None:
    content = done.as_dict()
    text = json.dumps(content, allow_nan=False)
    assert json.loads(text) == content
    for group, windows in content.items():
        if group == "dropped":
            assert all(item["reason"] for item in windows)
            continue
        for label, numbers in windows.items():
            found = done.groups[group][label]
            for key, test in found.tests.items():
                whole = math.isfinite(test.statistic) and 0 <= test.p <= 1
                assert whole != bool(test.reason), (group, label, key, test)
            for key, value in found.numbers.items():
                if not math.isfinite(value):
                    assert found.reasons.get(key), (group, label, key)
            assert numbers["n"] == found.numbers["n"]


def _check(shapes: tuple[str, ...], seed: int, **how: Any) -> None:
    firms = pd.DataFrame({"firm": [f"F{k}" for k in range(len(shapes) - 1)]})
    firms["sector"] = [("a", "b")[k % 2] for k in range(len(firms))]
    how = {"event": INDEX[DAY0], "estimation": (-80, -4), "windows": [(0, 0), (-1, 1)], **how}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = run_battery(_panel(shapes, seed), firms, benchmark="M", **how)
    _every_number_has_a_reason(done)


def _events(apart: int) -> pd.DataFrame:
    dates = [INDEX[DAY0 - (k * apart) % 90] for k in range(FIRMS)]
    return pd.DataFrame({"firm": [f"F{k}" for k in range(FIRMS)], "date": dates})


@pytest.mark.parametrize("shape", SHAPES)
def test_a_panel_of_one_shape_gives_numbers_or_reasons(shape: str) -> None:
    _check((shape, *[shape] * FIRMS), 1)
    when = {"estimation": (-110, -4)}
    _check(("drawn", *[shape] * 2), 1, model=("mean", "market_adjusted")[len(shape) % 2], **when)


# panels that ended in a traceback, or in a number without a reason
SEEN: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "a variance below zero by rounding": (
        ("steps", "as the first", "constant", "quiet event"),
        {"model": "market_adjusted", "windows": [(-3, 3)]},
    ),
    "firms that cancel": (("drawn", "two values", "against the first"), {"model": "mean"}),
    "a market that does not move early on": (
        ("two values", *["two values", "against the first"] * 3),
        {"estimation": (-10, -4)},
    ),
    "next to nothing": (("late", "tiny", "as the market"), {"model": "mean"}),
    "a market next to nothing": (("tiny", "constant", "huge", "late"), {}),
    "residuals that stand on the days that two dates share": (
        ("event only", "zero", "huge", "quiet event", "steps", "late", "spike"),
        {"model": "market_adjusted", "event": None, "events": _events(44)},
    ),
}


@pytest.mark.parametrize("case", SEEN)
def test_panels_that_broke_give_numbers_or_reasons(case: str) -> None:
    shapes, how = SEEN[case]
    for seed in (3, 537):
        _check(shapes, seed, **how)


shaped = st.tuples(*[st.sampled_from(SHAPES)] * (FIRMS + 1))
MODELS = st.sampled_from(["mean", "market", "market_adjusted"])


@settings(max_examples=4, deadline=None, derandomize=True, database=None)
@given(shaped, st.integers(0, 5), MODELS)
def test_mixed_panels_give_numbers_or_reasons(
    shapes: tuple[str, ...], seed: int, model: str
) -> None:
    _check(shapes, seed, model=model)


@pytest.mark.soak
@settings(max_examples=3000, deadline=None)
@given(shaped, st.integers(0, 1000), MODELS, st.integers(0, 60))
def test_thousands_of_mixed_panels_give_numbers_or_reasons(
    shapes: tuple[str, ...], seed: int, model: str, apart: int
) -> None:
    if apart > 40:  # many dates
        _check(shapes, seed, model=model, event=None, events=_events(apart))
    else:
        _check(shapes, seed, model=model)

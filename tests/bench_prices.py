"""Speed of a file of prices: 500 tickers by 1,900 days, to a checked market and to a report."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import exchange_calendars
import numpy as np
import pandas as pd

from usjp_research.market.load import load_market
from usjp_research.report.prices_check import check_prices
from usjp_research.spec.read import read_spec

FIRMS, DAYS = 500, 1900


def _study(folder: Path) -> Path:
    """Write a study of 497 firms and three funds, and their prices as a long table with closes."""
    calendar = exchange_calendars.get_calendar("XNYS", start="2018-01-02", end="2025-12-31")
    days = pd.DatetimeIndex(calendar.sessions[:DAYS], name="date")
    names = [*(f"F{k:03d}" for k in range(FIRMS - 3)), "IVV", "SPY", "VOO"]
    draw = np.random.default_rng(0)
    moves = 0.01 * draw.standard_normal((DAYS, 1)) + 0.02 * draw.standard_normal((DAYS, FIRMS))
    table = pd.DataFrame(100 * np.exp(np.cumsum(moves, axis=0)), days, names)
    long = table.melt(ignore_index=False, var_name="ticker", value_name="adj_close").reset_index()
    long.assign(close=long["adj_close"]).to_parquet(folder / "prices.parquet")
    rows = "".join(f"{name},s{k % 6}\n" for k, name in enumerate(names[:-3]))
    (folder / "universe.csv").write_text(f"ticker,sector\n{rows}", encoding="utf-8")
    signs = ",".join(f"s{k}" for k in range(6))
    head = f"id,announced,zone,role,title,{signs}\n"
    row = "N1,2024-03-05 10:00,America/New_York,primary,first,+,+,+,+,+,+\n"
    (folder / "events.csv").write_text(head + row, encoding="utf-8")
    return folder


def _best(work: Callable[[], object], times: int = 3) -> tuple[float, float]:
    """Seconds of the processor and of the clock, the best of some after one that warms up."""
    work()
    found = []
    for _ in range(times):
        clock, start = time.perf_counter(), time.process_time()
        work()
        found.append((time.process_time() - start, time.perf_counter() - clock))
    return min(found)


def measure() -> list[dict[str, Any]]:
    """Measure both goals, which are in seconds of the processor."""
    with tempfile.TemporaryDirectory() as name:
        folder = _study(Path(name))
        spec, source = read_spec(folder), f"file:{folder / 'prices.parquet'}"
        size = f"{FIRMS} tickers x {DAYS:,} days"
        goals = {
            f"{size} from Parquet to a checked market": (0.5, lambda: load_market(spec, source)),
            f"the check of {size}": (2.0, lambda: check_prices(spec, source, None, 0.0025)),
        }
        found = []
        for told, (goal, work) in goals.items():
            seconds, clock = _best(work)
            row = {"measured": seconds, "unit": "s", "goal": goal, "met": seconds <= goal}
            found.append({"name": told, **row, "clock": clock})
        return found

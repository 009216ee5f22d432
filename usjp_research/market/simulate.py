"""A market drawn from a known law."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from usjp_research.market.record import BENCHMARK, Market
from usjp_research.spec.records import Spec


def simulated_market(
    spec: Spec,
    *,
    seed: int,
    effects: Mapping[tuple[str, pd.Timestamp], float] | None = None,
    first: str = "2022-02-01",
    last: str = "2026-07-31",
) -> Market:
    """Draw a market from a known law: one market factor, one shock per sector, own noise.

    Returns are normal, independent over days, with daily standard deviations of 1% (market),
    0.6% (sector) and 1.8% (firm) and betas spread evenly over 0.6 to 1.4; nothing happens unless
    ``effects`` plants returns, as decimals, in every firm of a sector on a session.
    """
    import exchange_calendars

    calendar = exchange_calendars.get_calendar("XNYS", start=first, end=last)
    days = pd.DatetimeIndex(calendar.sessions, name="date").astype("datetime64[ns]")
    draw = np.random.default_rng(seed)
    market = 0.0004 + 0.010 * draw.standard_normal(len(days))
    shocks = 0.006 * draw.standard_normal((len(days), len(spec.sectors)))
    place = np.array([spec.sectors.index(firm.sector) for firm in spec.firms])
    noise = 0.018 * draw.standard_normal((len(days), len(spec.firms)))
    beta = np.linspace(0.6, 1.4, len(spec.firms))
    values = market[:, None] * beta + shocks[:, place] + noise
    for (sector, day), size in (effects or {}).items():
        values[days.get_loc(day), place == spec.sectors.index(sector)] += size
    frame = pd.DataFrame(values, index=days, columns=[firm.ticker for firm in spec.firms])
    frame.insert(0, BENCHMARK, market)
    told = {"source": "simulated", "seed": seed, "first": first, "last": last}
    return Market(f"simulated:{seed}", frame, "firm", provenance=told)

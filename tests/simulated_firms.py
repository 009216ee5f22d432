"""A price file of every firm of the project's universe, drawn from a known law.

The real prices may not be shipped. This file has their shape (long, adjusted closes, funds and
late listings) and the study's own tickers, so that what needs single firms is tested everywhere.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from usjp_research.market.record import BENCHMARK, Market
from usjp_research.market.simulate import simulated_market
from usjp_research.spec.records import Spec
from usjp_research.study.doses import firm_doses
from usjp_research.study.events import event_panel
from usjp_research.study.portfolios import Portfolios

FIRST = "2022-01-03"
LATE = {  # when some firms were listed
    **{"SMR": "2022-03-01", "NB": "2023-03-21", "TLN": "2023-06-02", "ARM": "2023-09-14"},
    **{"LAC": "2023-10-02", "GEV": "2024-03-27", "NNE": "2024-05-08"},
}
ENDED = {"BNTX": "2026-05-29"}  # the last day of a firm that is no longer listed
SECTOR_MOVES = {  # at every primary event; the sectors without one are quiet
    "power_utilities": 0.02,
    "mining_metals": -0.03,
    "pharma_biotech": 0.01,
}
PER_DOSE = 0.003  # a named firm's return at its event, for a dose of 100%


def write_prices(spec: Spec, folder: Path) -> None:
    """Write ``prices.parquet`` (firms and funds) and ``donors.parquet`` (outsiders)."""
    plain = simulated_market(spec, seed=12, first=FIRST)
    panel = event_panel(spec, plain)
    effects = {
        (sector, pd.Timestamp(panel.new_york[k])): size
        for sector, size in SECTOR_MOVES.items()
        for k in panel.index("primary")
    }
    market = simulated_market(spec, seed=12, effects=effects, first=FIRST)
    draw = np.random.default_rng(13)
    returns = _with_doses(spec, market, draw)
    _save(returns, folder / "prices.parquet")
    base = market.returns[BENCHMARK].to_numpy()[:, None]
    groups = {donor.group for donor in spec.donors if donor.group}
    shocks = {group: 0.005 * draw.standard_normal(len(returns)) for group in sorted(groups)}
    names = [donor.ticker for donor in spec.donors]
    own = 0.015 * draw.standard_normal((len(returns), len(names)))
    table = base * np.linspace(0.7, 1.3, len(names)) + own
    for k, donor in enumerate(spec.donors):
        table[:, k] += shocks.get(donor.group, 0.0)
    _save(pd.DataFrame(table, index=returns.index, columns=names), folder / "donors.parquet")


def _with_doses(spec: Spec, market: Market, draw: np.random.Generator) -> pd.DataFrame:
    """Add what each named firm gains at its event, the funds, and the late listings."""
    returns = market.returns.drop(columns=BENCHMARK)
    panel = event_panel(spec, market)
    for row in firm_doses(spec, market).dropna(subset="dose").to_dict("records"):
        place = panel.position(row["event"])
        if place is not None:
            returns.loc[returns.index[panel.day0[place]], row["ticker"]] += PER_DOSE * row["dose"]
    base = market.returns[BENCHMARK].to_numpy()
    japan = 0.6 * base + 0.007 * draw.standard_normal(len(base))
    funds = {name: base + 1e-4 * draw.standard_normal(len(base)) for name in spec.rule.benchmark}
    funds |= {name: japan + 5e-4 * draw.standard_normal(len(base)) for name in spec.rule.mirror}
    for ticker, day in LATE.items():
        returns.loc[returns.index < pd.Timestamp(day), ticker] = np.nan
    for ticker, day in ENDED.items():
        returns.loc[returns.index > pd.Timestamp(day), ticker] = np.nan
    return pd.concat([returns, pd.DataFrame(funds, index=returns.index)], axis=1)


def _save(returns: pd.DataFrame, path: Path) -> None:
    prices = 50 * (1 + returns.fillna(0)).cumprod().where(returns.notna())
    prices.index.name, prices.columns.name = "date", "ticker"
    prices.stack().rename("adj_close").reset_index().to_parquet(path)


def on_returns(made: Portfolios, market: Market) -> Portfolios:
    """Return the portfolios on other complete returns: membership comes from calendars alone."""
    used = list(dict.fromkeys(slot.series for slot in made.slots.values() if slot.series))
    firms = [str(name) for name in market.returns.columns if name != BENCHMARK]
    inside = [set(made.members[name]) for name in used]
    weights = np.array([[(firm in group) / len(group) for group in inside] for firm in firms])
    means = market.returns[firms].to_numpy() @ weights
    returns = pd.DataFrame(means, index=market.dates, columns=used)
    return replace(made, returns=returns, benchmark=market.returns[BENCHMARK].to_numpy())

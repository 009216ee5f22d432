"""A price file of every firm of the project's universe, drawn from a known law.

The real prices may not be shipped. This file has their shape (long, adjusted closes, funds and
late listings) and the study's own tickers, so that what needs single firms is tested everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from data.make_bundle import write_bundle
from usjp_research.market.donors import load_donors
from usjp_research.market.load import load_market
from usjp_research.market.record import BENCHMARK, Market
from usjp_research.market.simulate import simulated_market
from usjp_research.spec.records import Spec, find_root
from usjp_research.study.events import event_panel
from usjp_research.study.exposure import firm_doses
from usjp_research.study.portfolios import Portfolios
from usjp_research.study.sample import sample

REAL = find_root(Path(__file__)).parent / "shared" / "data"  # may be absent: an extra
SEED = 15  # here, as on the real prices, one firm carries the slope on dose
FIRST = "2022-01-03"
LATE = {  # when some firms were listed
    **{"SMR": "2022-03-01", "NB": "2023-03-21", "TLN": "2023-06-02", "ARM": "2023-09-14"},
    **{"LAC": "2023-10-02", "GEV": "2024-03-27", "NNE": "2024-05-08"},
}
ENDED = {"IONS": "2026-05-29"}  # the last day of a firm that is no longer listed
SECTOR_MOVES = {  # at every primary event; the sectors without one are quiet
    "power_utilities": 0.02,
    "mining_metals": -0.03,
    "pharma_biotech": 0.01,
}
PER_DOSE = 0.003  # a named firm's return at its event, for a dose of 100%


@dataclass(frozen=True, slots=True)
class FirmFiles:
    """Prices of single firms, of outsiders, and the averages that were made of both."""

    prices: Path
    donors: Path
    bundle: Path

    @property
    def real(self) -> bool:
        return self.prices.parent == REAL

    def averages(self, spec: Spec) -> Market:
        """Load the bundle that was made of these prices."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("usjp_research.market.load.find_root", lambda: self.bundle)
            return load_market(spec, "bundled")


def write_prices(spec: Spec, folder: Path) -> None:
    """Write ``prices.parquet`` (firms and funds) and ``donors.parquet`` (outsiders)."""
    plain = simulated_market(spec, seed=SEED, first=FIRST)
    panel = event_panel(spec, plain)
    effects = {
        (sector, pd.Timestamp(panel.new_york[k])): size
        for sector, size in SECTOR_MOVES.items()
        for k in panel.index("primary")
    }
    market = simulated_market(spec, seed=SEED, effects=effects, first=FIRST)
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


def write_averages(spec: Spec, firms: Path, folder: Path) -> None:
    """Write the bundle of the firms and donors of one folder where a project keeps its own."""
    market = load_market(spec, f"file:{firms / 'prices.parquet'}")
    donors = load_donors(spec, market, str(firms / "donors.parquet"))
    kept = load_market(spec, "bundled").members
    out = folder / "data" / "bundled"
    out.mkdir(parents=True)
    write_bundle(sample(spec, market), out, donors, kept)


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
    table = prices.rename_axis("date").reset_index()
    long = table.melt("date", var_name="ticker", value_name="adj_close").dropna()
    long.to_parquet(path, index=False)


def on_returns(made: Portfolios, market: Market) -> Portfolios:
    """Return the portfolios on other complete returns: membership comes from calendars alone."""
    used = list(dict.fromkeys(slot.series for slot in made.slots.values() if slot.series))
    firms = [str(name) for name in market.returns.columns if name != BENCHMARK]
    inside = [set(made.members[name]) for name in used]
    weights = np.array([[(firm in group) / len(group) for group in inside] for firm in firms])
    means = market.returns[firms].to_numpy() @ weights
    returns = pd.DataFrame(means, index=market.dates, columns=used)
    return replace(made, returns=returns, benchmark=market.returns[BENCHMARK].to_numpy())


def binomial_bounds(draws: int, share: float, error: float) -> tuple[int, int]:
    """Return the least and most hits of so many draws that are not called wrong.

    ``error`` is how often a right share falls outside, both sides together.
    """
    law = scipy.stats.binom(draws, share)
    return int(law.ppf(error / 2)), int(law.ppf(1 - error / 2))

"""Portfolios: blackout from calendars, fixed membership, and averages that disclose no firm."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from usjp_research.events import event_panel
from usjp_research.market import BENCHMARK, Market, load_market, market_digest, simulated_market
from usjp_research.portfolios import disclosed_firms, form_portfolios
from usjp_research.spec import Spec, find_root

PRICES = find_root(Path(__file__)).parent / "shared/data/prices_core.parquet"
needs_prices = pytest.mark.skipif(not PRICES.exists(), reason="the shared price file is not here")


@pytest.fixture(scope="module")
def simulated(spec: Spec) -> Market:
    return simulated_market(spec, seed=1)


def test_a_firm_with_own_news_in_the_window_is_out_and_only_then(
    spec: Spec, simulated: Market
) -> None:
    made = form_portfolios(spec, simulated, event_panel(spec, simulated))
    slot = made.slots["E05", "defense_aerospace"]
    days = [day.date() for day in simulated.dates]
    center = days.index(slot.session)
    span = set(days[center - 3 : center + 4])
    kinds = {"results", "guidance", "merger"}
    news = {n.ticker for n in spec.own_news if n.session in span and n.kind in kinds}
    firms = [firm.ticker for firm in spec.members("defense_aerospace")]
    assert set(slot.blackout) == news & set(firms)
    assert {"LMT", "RTX", "NOC", "GD"} <= set(slot.blackout)
    assert slot.members == tuple(ticker for ticker in firms if ticker not in news)
    assert slot.status == "partly checked"


def test_where_nobody_looked_the_blackout_is_not_available(spec: Spec, simulated: Market) -> None:
    made = form_portfolios(spec, simulated, event_panel(spec, simulated))
    slot = made.slots["E38", "power_utilities"]
    assert slot.status == "not available"
    assert slot.series == "sector/power_utilities"
    assert set(slot.unchecked) == set(slot.members)


def test_membership_uses_no_return(spec: Spec, simulated: Market) -> None:
    panel = event_panel(spec, simulated)
    other = simulated_market(spec, seed=2)
    one, two = form_portfolios(spec, simulated, panel), form_portfolios(spec, other, panel)
    assert one.members == two.members
    assert one.slots == two.slots


def test_averages_are_plain_means_of_the_members_present(spec: Spec, simulated: Market) -> None:
    draw = np.random.default_rng(1)
    frame = simulated.returns.copy()
    holes = draw.random(frame.shape) < 0.02
    holes[:, 0] = False
    frame = frame.mask(holes)
    frame.iloc[0, 1:] = np.nan
    copy = frame.copy()
    market = Market("holes", frame, "firm")
    made = form_portfolios(spec, market, event_panel(spec, market))
    for name in list(made.members)[::9]:
        want = frame[list(made.members[name])].mean(axis=1)
        got = made.returns[name]
        known = frame[list(made.members[name])].notna().sum(axis=1) >= 3
        if name.startswith(("named", "unnamed")):
            known = got.notna()
        pd.testing.assert_series_equal(got[known], want[known], check_names=False, rtol=1e-12)
        assert got[~known].isna().all()
    pd.testing.assert_frame_equal(frame, copy)


def test_a_firm_is_disclosed_exactly_when_its_return_can_be_solved_for() -> None:
    draw = np.random.default_rng(2)
    firms = list("ABCDEFGH")
    present = pd.DataFrame([[True] * 8], columns=firms)
    found_some = found_none = 0
    for _ in range(200):
        groups = {
            str(k): tuple(draw.choice(firms, size=draw.integers(3, 8), replace=False))
            for k in range(draw.integers(1, 7))
        }
        table = np.array([[firm in group for firm in firms] for group in groups.values()], float)
        want = tuple(
            firm
            for k, firm in enumerate(firms)
            if np.linalg.matrix_rank(np.vstack([table, np.eye(8)[k]]))
            == np.linalg.matrix_rank(table)
        )
        assert disclosed_firms(groups, present)[0] == want
        found_some += bool(want)
        found_none += not want
    assert min(found_some, found_none) > 20


def test_the_bundle_discloses_no_firm_by_its_published_membership() -> None:
    folder = find_root(Path(__file__)) / "data/bundled"
    table = pd.read_csv(folder / "membership.csv", keep_default_na=False)
    members = {name: tuple(text.split()) for name, text in table.itertuples(index=False)}
    assert min(map(len, members.values())) >= 3
    returns = pd.read_parquet(folder / "returns.parquet")
    assert set(returns.columns) == {*members, BENCHMARK, "japan_basket"}
    firms = sorted({ticker for group in members.values() for ticker in group})
    present = pd.DataFrame([[True] * len(firms)], columns=firms)
    found, leverage = disclosed_firms(members, present)
    assert found == ()
    assert leverage < 0.95


@needs_prices
def test_the_bundle_discloses_no_firm_on_any_day_given_who_was_listed(spec: Spec) -> None:
    market = load_market(spec, f"file:{PRICES}")
    bundle = load_market(spec, "bundled")
    firms = sorted({ticker for group in bundle.members.values() for ticker in group})
    shown = bundle.returns[list(bundle.members)].notna()
    found, leverage = disclosed_firms(bundle.members, market.returns[firms].notna(), shown)
    assert found == ()
    record = json.loads((find_root() / "data/bundled/provenance.json").read_text())
    assert leverage == pytest.approx(record["largest_leverage"], abs=1e-3)
    counts = pd.DataFrame(
        {name: market.returns[list(t)].notna().sum(axis=1) for name, t in bundle.members.items()}
    )
    assert (counts[shown].fillna(3).to_numpy() >= 3).all()


@needs_prices
def test_the_bundle_is_what_the_command_makes_of_the_prices(spec: Spec) -> None:
    market = load_market(spec, f"file:{PRICES}")
    bundle = load_market(spec, "bundled")
    assert bundle.provenance["prices_sha256"] == market.provenance["sha256"]
    for name, tickers in bundle.members.items():
        got = bundle.returns[name]
        want = market.returns[list(tickers)].mean(axis=1)
        np.testing.assert_allclose(got, want.where(got.notna()), rtol=1e-6, atol=1e-9)


def test_the_bundle_digest_is_the_recorded_one(spec: Spec) -> None:
    bundle = load_market(spec, "bundled")
    assert market_digest(bundle) == bundle.provenance["digest"]


def test_another_blackout_list_than_the_bundle_was_formed_with_is_refused(spec: Spec) -> None:
    from dataclasses import replace

    from usjp_research.spec import InputError

    less = replace(spec, own_news=spec.own_news[:-200])
    bundle = load_market(spec, "bundled")
    with pytest.raises(InputError, match=r"own_news.csv: at .* is in another place"):
        form_portfolios(less, bundle, event_panel(less, bundle))

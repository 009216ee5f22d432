"""The study on real returns agrees with independent computations, and keeps its level."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from usjp_research.engine.placebo import Placebo, minimum_detectable, placebo_law, quantile
from usjp_research.market.load import load_market
from usjp_research.market.record import BENCHMARK, Market
from usjp_research.market.simulate import simulated_market
from usjp_research.report.results import save_study
from usjp_research.spec.records import Spec, find_root
from usjp_research.study.answer import Study, run_study
from usjp_research.study.events import event_panel
from usjp_research.study.legs import event_legs
from usjp_research.study.portfolios import form_portfolios
from usjp_research.study.verdict import decide, implied_value

PRICES = find_root(Path(__file__)).parent / "shared/data/prices_core.parquet"
needs_prices = pytest.mark.skipif(not PRICES.exists(), reason="the shared price file is not here")


@pytest.fixture(scope="module")
def bundled(spec: Spec) -> Study:
    return run_study(spec, load_market(spec, "bundled"))


@pytest.fixture(scope="module")
def firms(spec: Spec) -> Study:
    return run_study(spec, load_market(spec, f"file:{PRICES}"))


def _independent(study: Study, event: str, sector: str) -> tuple[float, float]:
    """CAAR and its forecast error by pandas and statsmodels, from the slot's own series."""
    slot = study.made.slots[event, sector]
    market = study.market.returns[BENCHMARK]
    series = study.market.returns[list(slot.members)].mean(axis=1)
    days = market.index
    center = days.get_loc(pd.Timestamp(slot.session))
    assert isinstance(center, int)
    masked = set()
    for e in study.spec.events:
        if e.role in ("primary", "secondary", "leak") and study.panel.position(e.id) is not None:
            at = days.get_loc(pd.Timestamp(study.made.slots[e.id, sector].session))
            assert isinstance(at, int)
            masked |= {at - 1, at, at + 1}
    span = [t for t in range(center - 271, center - 21) if t not in masked]
    fit = sm.OLS(series.iloc[span], sm.add_constant(market.iloc[span])).fit()
    x = sm.add_constant(market.iloc[center - 1 : center + 2])
    car = float((series.iloc[center - 1 : center + 2] - fit.predict(x)).sum())
    total = x.to_numpy().sum(axis=0)
    variance = fit.mse_resid * 3 + float(total @ fit.cov_params().to_numpy() @ total)
    return car, float(np.sqrt(variance))


@needs_prices
def test_event_caars_agree_with_pandas_and_statsmodels(firms: Study) -> None:
    table = firms.reactions.set_index(["event", "sector"])
    for event in ("E05", "E08", "E17", "E35", "E42", "E04"):
        for sector in firms.spec.sectors:
            car, error = _independent(firms, event, sector)
            assert table.loc[(event, sector), "caar"] == pytest.approx(car, abs=1e-12)
            assert table.loc[(event, sector), "se"] == pytest.approx(error, rel=1e-9)


FOUND = [
    ("E05", "manufacturing_logistics", 3.09),
    ("E05", "pharma_biotech", 4.31),
    ("E05", "power_utilities", 2.27),
    ("E17", "mining_metals", -4.80),
    ("E17", "defense_aerospace", -2.76),
    ("E35", "defense_aerospace", 4.38),
    ("E42", "mining_metals", -8.38),
]


@needs_prices
@pytest.mark.parametrize(("event", "sector", "percent"), FOUND)
def test_firm_level_caars_are_those_found_independently_once_nothing_is_masked(
    firms: Study, event: str, sector: str, percent: float
) -> None:
    # The numbers were found without masking real event windows in the estimation window.
    slot = firms.made.slots[event, sector]
    returns = pd.read_parquet(PRICES).pivot(index="date", columns="ticker", values="adj_close")
    returns = returns[[*slot.members, "SPY", "IVV"]].pct_change(fill_method=None)
    market = returns[["SPY", "IVV"]].mean(axis=1).to_numpy()
    center = returns.index.get_loc(pd.Timestamp(slot.session))
    assert isinstance(center, int)
    cars = []
    for ticker in slot.members:
        y = returns[ticker].to_numpy()
        span = np.arange(center - 271, center - 21)
        span = span[np.isfinite(y[span])]
        slope, level = np.polyfit(market[span], y[span], 1)
        w = slice(center - 1, center + 2)
        cars.append((y[w] - level - slope * market[w]).sum())
    assert 100 * np.mean(cars) == pytest.approx(percent, abs=0.006)
    table = firms.reactions.set_index(["event", "sector"])["caar"]
    # Masking moves alpha and beta; by how much is bounded here.
    assert 100 * float(table[event, sector]) == pytest.approx(percent, abs=0.2)


@needs_prices
def test_bundled_and_firm_level_studies_agree(bundled: Study, firms: Study) -> None:
    assert len(bundled.family) == len(firms.family)
    for ours, theirs in zip(bundled.rows, firms.rows, strict=True):
        assert ours.effect == pytest.approx(theirs.effect, abs=5e-4)
        assert ours.low == pytest.approx(theirs.low, abs=2e-3)
        assert ours.high == pytest.approx(theirs.high, abs=2e-3)
        assert (ours.headline, ours.rests_on) == (theirs.headline, theirs.rests_on)


def test_the_study_has_six_sectors_and_the_contrast_in_the_rule_s_family(bundled: Study) -> None:
    assert [row.name for row in bundled.verdicts] == list(bundled.spec.sectors)
    assert bundled.contrast is not None
    assert bundled.contrast.events == ("E17",)
    assert len(bundled.family) >= 200
    assert {len(row.by_case) for row in bundled.rows} == {3}
    assert len({row.critical for row in bundled.verdicts}) == 1
    for row in bundled.verdicts:
        assert row.marginal_high - row.marginal_low <= row.high - row.low
        assert row.p <= row.p_stepdown <= row.p_holm + 1e-12


def test_each_row_is_the_rule_applied_to_its_own_interval(bundled: Study) -> None:
    for row in (*bundled.rows, *bundled.leaks, *bundled.campaign):
        for case, verdict in row.by_case.items():
            assert verdict == decide(row.low, row.high, row.implied.share.get(case))
        middle = row.effect - row.center * row.error
        assert row.low == pytest.approx(middle - row.critical * row.error, abs=1e-14)
        assert row.high == pytest.approx(middle + row.critical * row.error, abs=1e-14)


def test_reverse_and_leak_windows_count_each_trading_day_once(bundled: Study) -> None:
    for sector in bundled.spec.sectors:
        legs = event_legs(bundled.spec, bundled.panel, bundled.made, sector, ("primary", "leak"))
        days = [leg.day0 + k for leg in legs for k in range(leg.window[0], leg.window[1] + 1)]
        assert len(days) == len(set(days))


def test_results_land_whole_and_can_be_joined_on_the_shift(bundled: Study, tmp_path: Path) -> None:
    folder = save_study(bundled, tmp_path)
    record = json.loads((folder / "verdicts.json").read_text(), parse_constant=_refuse)
    assert [row["name"] for row in record["rows"]] == list(bundled.spec.sectors)
    null = pd.read_parquet(folder / "placebo.parquet")
    shifts = null[null["group"] == "pharma_biotech"].set_index("shift")
    real = bundled.verdicts[-1]
    assert shifts.loc[0, "statistic"] == real.statistic
    assert len(shifts) == record["shifts"] + 1
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def _refuse(text: str) -> None:
    raise AssertionError(f"not strict JSON: {text}")


# --- size and power on the simulated market ---------------------------------------------------

SEEDS = 200


def _law(spec: Spec, seed: int) -> tuple[Placebo, Mapping[str, float], Market]:
    market = simulated_market(spec, seed=seed)
    panel = event_panel(spec, market)
    made = form_portfolios(spec, market, panel)
    legs = {s: event_legs(spec, panel, made, s) for s in spec.sectors}
    law = placebo_law(legs, made.array, made.benchmark, panel.masked, spec.rule)
    implied = {}
    for sector in spec.sectors:
        name = f"sector/{sector}"
        value = made.values.get(name)
        share = implied_value(spec, made.members[name], value, sector=sector).share
        implied[sector] = share.get("base", 0.0)
    return law, implied, market


@pytest.fixture(scope="module")
def draws(spec: Spec) -> list[tuple[Placebo, Mapping[str, float]]]:
    # Pharma has no implied value of its own; the test below gives it one of 5%.
    return [_law(spec, seed)[:2] for seed in range(SEEDS)]


def test_without_effect_the_family_is_silent_in_at_least_nine_of_ten_seeds(
    spec: Spec, draws: list[tuple[Placebo, Mapping[str, float]]]
) -> None:
    quiet = 0
    for law, implied in draws:
        critical = quantile(law.null_distance.max(axis=1), spec.rule.alpha)
        middle = law.effect - law.center * law.error
        seen = {
            decide(m - critical * e, m + critical * e, implied[g] or 0.05)
            for m, e, g in zip(middle, law.error, law.groups, strict=True)
        }
        quiet += seen <= {"not priced in", "cannot say"}
    error = np.sqrt(0.9 * 0.1 / SEEDS)
    assert quiet / SEEDS >= 0.9 - 2 * error, quiet


def test_an_effect_of_the_mde_is_found_with_the_stated_power(
    spec: Spec, draws: list[tuple[Placebo, Mapping[str, float]]]
) -> None:
    found = []
    for law, _ in draws:
        critical = quantile(law.null_distance.max(axis=1), spec.rule.alpha)
        for g in range(len(law.groups)):
            deviation = law.null_statistic[:, g] - law.center[g]
            mde = minimum_detectable(deviation, float(law.error[g]), critical, spec.rule.power)
            low = law.effect[g] + mde - (law.center[g] + critical) * law.error[g]
            found.append(low > 0)
    power = np.mean(np.reshape(found, (SEEDS, -1)), axis=1)
    error = power.std(ddof=1) / np.sqrt(SEEDS)
    assert abs(power.mean() - 0.8) <= 2 * error + 0.01, (power.mean(), error)


def test_an_effect_planted_in_the_returns_moves_the_estimate_by_itself(spec: Spec) -> None:
    base, _, market = _law(spec, 1)
    panel = event_panel(spec, market)
    sector = "mining_metals"
    days = [
        (sector, pd.Timestamp(panel.new_york[k]))
        for k in panel.index("primary")
        if panel.events[k].signs[sector]
    ]
    planted = simulated_market(spec, seed=1, effects=dict.fromkeys(days, 0.03))
    made = form_portfolios(spec, planted, panel)
    legs = {s: event_legs(spec, panel, made, s) for s in spec.sectors}
    law = placebo_law(legs, made.array, made.benchmark, panel.masked, spec.rule)
    g = spec.sectors.index(sector)
    assert law.effect[g] - base.effect[g] == pytest.approx(0.03 * len(days), abs=1e-12)
    others = [k for k in range(6) if k != g]
    np.testing.assert_allclose(law.statistic[others], base.statistic[others])
    np.testing.assert_array_equal(law.shifts, base.shifts)


def test_leaks_change_the_remark_and_never_the_verdict(bundled: Study) -> None:
    from usjp_research.study.answer import _leak_remark

    row = replace(bundled.verdicts[0], headline="cannot say", remark="")
    for verdict in ("priced in", "moved against", "not priced in", "reacted, size unclear"):
        leak = replace(row, headline=verdict)
        assert _leak_remark(row, [leak]).remark == f"with leak windows: {verdict}"
        assert _leak_remark(row, [leak]).headline == "cannot say"
        assert _leak_remark(leak, [row]).remark == "with leak windows: cannot say"
    assert _leak_remark(row, [row]).remark == ""
    either = replace(row, headline="depends on the implied value")
    cases = replace(either, by_case={**either.by_case, "high": "not priced in"})
    assert "high not priced in" in _leak_remark(either, [cases]).remark


def test_dollars_are_the_upper_end_times_market_value_and_none_for_the_contrast(
    bundled: Study,
) -> None:
    for row in bundled.verdicts:
        assert row.implied.market_value
        assert row.excluded_usd_bn == pytest.approx(row.high * row.implied.market_value)
        assert row.effect_usd_bn == pytest.approx(row.effect * row.implied.market_value)
    assert bundled.contrast is not None
    assert bundled.contrast.excluded_usd_bn is None


def test_the_contrast_is_named_minus_unnamed_with_the_named_firms_own_lines(
    bundled: Study,
) -> None:
    row, made = bundled.contrast, bundled.made
    assert row is not None
    named = bundled.market.returns["named/2025-10-28/power_utilities"]
    unnamed = bundled.market.returns["unnamed/2025-10-28/power_utilities"]
    spread, market = named - unnamed, bundled.market.returns[BENCHMARK]
    days = market.index
    center = days.get_loc(pd.Timestamp("2025-10-28"))
    assert isinstance(center, int)
    span = [t for t in range(center - 271, center - 21) if not bundled.panel.masked[t]]
    fit = sm.OLS(spread.iloc[span], sm.add_constant(market.iloc[span])).fit()
    window = slice(center - 1, center + 2)
    expected = fit.predict(sm.add_constant(market.iloc[window]))
    assert row.effect == pytest.approx(float((spread.iloc[window] - expected).sum()), abs=1e-10)
    tickers = made.members["named/2025-10-28/power_utilities"]
    own = implied_value(
        bundled.spec, tickers, row.implied.market_value, sector="power_utilities", own=True
    )
    assert row.implied == own
    assert all(ticker in row.remark for ticker in tickers)
    assert any("SMR" in text for text in own.left_out)


def test_market_values_go_back_in_time_by_the_price(spec: Spec) -> None:
    from usjp_research.market.simulate import simulated_market

    market = simulated_market(spec, seed=3)
    made = form_portfolios(spec, market, event_panel(spec, market))
    thesis = spec.thesis
    assert thesis is not None
    later = market.returns.loc[market.returns.index > pd.Timestamp(thesis.valued_on)]
    growth = (1 + later).prod()
    want = sum(
        firm.market_value_usd_bn / growth[firm.ticker]
        for firm in spec.members("mining_metals")
        if firm.market_value_usd_bn is not None
    )
    assert made.values["sector/mining_metals"] == pytest.approx(want, rel=1e-12)


def test_a_campaign_row_states_no_p_value_and_no_verdict(bundled: Study) -> None:
    assert bundled.campaign
    for row in bundled.campaign:
        assert row.headline == "no verdict"
        assert np.isnan(row.p_stepdown)
        assert "independent" in row.reason


def test_one_sector_s_battery_is_about_the_members_and_agrees_with_the_sector_s_own_test(
    spec: Spec,
) -> None:
    from usjp_research.market.simulate import simulated_market
    from usjp_research.study.reactions import event_reactions, sector_battery

    market = simulated_market(spec, seed=8)
    panel = event_panel(spec, market)
    made = form_portfolios(spec, market, panel)
    tests = sector_battery(spec, market, panel, made, "mining_metals", "E17")
    rows = event_reactions(spec, panel, made)
    rows = rows[(rows["event"] == "E17") & (rows["sector"] == "mining_metals")]
    (want,) = rows.to_dict("records")
    assert tests.numbers["n"] == len(made.slots["E17", "mining_metals"].members) == want["firms"]
    assert tests.numbers["caar"] == pytest.approx(want["caar"], abs=1e-12)
    assert tests.tests["portfolio_t"].statistic == pytest.approx(want["portfolio_t"], rel=1e-9)
    assert tests.headline == ("adj_bmp_t", "placebo_t")
    assert "bmp_t" in tests.foils


def test_on_averages_the_baskets_stand_for_the_firms(bundled: Study) -> None:
    from usjp_research.study.reactions import sector_battery

    tests = sector_battery(
        bundled.spec, bundled.market, bundled.panel, bundled.made, "pharma_biotech", "E05"
    )
    baskets = {firm.basket for firm in bundled.spec.members("pharma_biotech")}
    assert tests.numbers["n"] == len(baskets)
    assert tests.numbers["n_eff"] < tests.numbers["n"]

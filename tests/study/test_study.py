"""The study on real returns agrees with independent computations, and keeps its level."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm

from tests.simulated_firms import FirmFiles, binomial_bounds, on_returns
from usjp_research.engine.placebo import Placebo, minimum_detectable, own_days, quantile
from usjp_research.market.record import BENCHMARK
from usjp_research.market.simulate import simulated_market
from usjp_research.report.results import law_frame, save_study
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import Spec
from usjp_research.study.answer import Study, run_study
from usjp_research.study.legs import event_legs
from usjp_research.study.reactions import event_reactions, firm_reactions, sector_battery
from usjp_research.study.sample import Sample, sample
from usjp_research.study.verdict import decide, implied_value
from usjp_research.words import InputError


@pytest.fixture(scope="module")
def firms(spec: Spec, firm_files: FirmFiles) -> Sample:
    return sample(spec, f"file:{firm_files.prices}")


@pytest.fixture(scope="module")
def reactions(firms: Sample) -> pd.DataFrame:
    return event_reactions(firms).set_index(["event", "sector"])


@pytest.fixture(scope="module")
def closes(firm_files: FirmFiles) -> pd.DataFrame:
    table = pd.read_parquet(firm_files.prices)
    return table.pivot(index="date", columns="ticker", values="adj_close")


def _independent(data: Sample, event: str, sector: str) -> tuple[float, float]:
    """CAAR and its forecast error by pandas and statsmodels, from the slot's own series."""
    slot = data.portfolios.slots[event, sector]
    market = data.market.returns[BENCHMARK]
    series = data.market.returns[list(slot.members)].mean(axis=1)
    days = market.index
    center = int(days.searchsorted(pd.Timestamp(slot.session)))
    masked = set()
    for e in data.spec.with_role("primary", "secondary", "leak"):
        if data.panel.position(e.id) is not None:
            session = pd.Timestamp(data.portfolios.slots[e.id, sector].session)
            masked |= {int(days.searchsorted(session)) + k for k in (-1, 0, 1)}
    span = [t for t in range(center - 271, center - 21) if t not in masked]
    fit = sm.OLS(series.iloc[span], sm.add_constant(market.iloc[span])).fit()
    x = sm.add_constant(market.iloc[center - 1 : center + 2])
    car = float((series.iloc[center - 1 : center + 2] - fit.predict(x)).sum())
    total = x.to_numpy().sum(axis=0)
    variance = fit.mse_resid * 3 + float(total @ fit.cov_params().to_numpy() @ total)
    return car, float(np.sqrt(variance))


def test_event_caars_agree_with_pandas_and_statsmodels(
    firms: Sample, reactions: pd.DataFrame
) -> None:
    for event in ("E05", "E08", "E17", "E35", "E42", "E04"):
        for sector in firms.spec.sectors:
            car, error = _independent(firms, event, sector)
            assert reactions.loc[(event, sector), "caar"] == pytest.approx(car, abs=1e-12)
            assert reactions.loc[(event, sector), "se"] == pytest.approx(error, rel=1e-9)


FOUND = {  # on the real prices, without masking real event windows in the estimation window
    ("E05", "manufacturing_logistics"): 3.09,
    ("E05", "pharma_biotech"): 4.31,
    ("E05", "power_utilities"): 2.27,
    ("E17", "mining_metals"): -4.80,
    ("E17", "defense_aerospace"): -2.76,
    ("E35", "defense_aerospace"): 4.38,
    ("E42", "mining_metals"): -8.38,
}


@pytest.mark.parametrize(("event", "sector"), FOUND)
def test_firm_level_caars_are_those_found_independently_once_nothing_is_masked(
    firms: Sample,
    reactions: pd.DataFrame,
    closes: pd.DataFrame,
    firm_files: FirmFiles,
    event: str,
    sector: str,
) -> None:
    slot = firms.portfolios.slots[event, sector]
    returns = closes[[*slot.members, "SPY", "IVV"]].pct_change(fill_method=None)
    market = returns[["SPY", "IVV"]].mean(axis=1).to_numpy()
    center = int(returns.index.searchsorted(pd.Timestamp(slot.session)))
    cars = []
    for ticker in slot.members:
        y = returns[ticker].to_numpy()
        span = np.arange(center - 271, center - 21)
        span = span[np.isfinite(y[span])]
        slope, level = np.polyfit(market[span], y[span], 1)
        w = slice(center - 1, center + 2)
        cars.append((y[w] - level - slope * market[w]).sum())
    if firm_files.real:
        assert 100 * np.mean(cars) == pytest.approx(FOUND[event, sector], abs=0.006)
    # Masking moves alpha and beta; by how much is bounded here.
    assert reactions["caar"][event, sector] == pytest.approx(np.mean(cars), abs=0.003)


def test_averages_and_the_firms_they_were_made_of_give_the_same_reactions(
    spec: Spec, firms: Sample, reactions: pd.DataFrame, firm_files: FirmFiles
) -> None:
    averages = sample(spec, firm_files.averages(spec))
    slots, theirs = firms.portfolios.slots, averages.portfolios.slots
    same = [key for key in slots if slots[key].members == theirs[key].members]
    # Where a firm could be read back another one leaves the slot too.
    assert len(same) / len(slots) > 0.85
    found = event_reactions(averages).set_index(["event", "sector"]).loc[same]
    ours = reactions.loc[same]
    assert ours["caar"].notna().mean() > 0.9
    for name in ("caar", "se", "se_guarded"):  # the bundle keeps single precision
        np.testing.assert_allclose(found[name], ours[name], atol=1e-6)


@pytest.mark.slow
def test_bundled_and_firm_level_studies_agree(
    spec: Spec, bundled: Study, firm_files: FirmFiles
) -> None:
    if not firm_files.real:
        pytest.skip("the bundled averages are of the real firms")
    firms = run_study(sample(spec, f"file:{firm_files.prices}"))
    assert len(bundled.family) == len(firms.family)
    by_first = [(*study.first, study.contrast) for study in (bundled, firms)]
    for ours, theirs in zip(*by_first, strict=True):
        assert ours is not None and theirs is not None
        assert ours.effect == pytest.approx(theirs.effect, abs=5e-4)
        assert ours.low == pytest.approx(theirs.low, abs=2e-3)
        assert ours.high == pytest.approx(theirs.high, abs=2e-3)
        assert (ours.headline, ours.rests_on) == (theirs.headline, theirs.rests_on)
    # More firms leave the capped averages, where each of the largest has a tenth of the weight:
    # another portfolio by a little, so a verdict of one case may be another one.
    for ours, theirs in zip(bundled.verdicts, firms.verdicts, strict=True):
        assert ours.effect == pytest.approx(theirs.effect, abs=0.1 * theirs.mde)
        assert ours.mde == pytest.approx(theirs.mde, rel=0.1)
        assert (ours.headline, ours.events) == (theirs.headline, theirs.events)


def test_the_study_has_six_sectors_and_the_contrast_in_the_rule_s_family(bundled: Study) -> None:
    assert [row.name for row in bundled.verdicts] == list(bundled.data.spec.sectors)
    assert bundled.contrast is not None
    assert bundled.contrast.events == ("E17",)
    assert len(bundled.family) >= 200
    assert {len(row.by_case) for row in bundled.rows} == {3}
    assert len({row.numbers()["critical"] for row in bundled.verdicts}) == 1
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


def test_leak_windows_count_each_trading_day_once(bundled: Study) -> None:
    for sector in bundled.data.spec.sectors:
        legs = event_legs(bundled.data, sector, ("primary", "leak"))
        assert len(own_days(legs)) == sum(leg.window[1] - leg.window[0] + 1 for leg in legs)


def test_results_land_whole_and_can_be_joined_on_the_shift(bundled: Study, tmp_path: Path) -> None:
    folder = save_study(bundled, tmp_path)
    record = json.loads((folder / "verdicts.json").read_text(), parse_constant=_refuse)
    assert [row["name"] for row in record["rows"]] == list(bundled.data.spec.sectors)
    for law, rows in ((bundled.law, bundled.verdicts), (bundled.family, bundled.first)):
        null = law_frame(law)
        shifts = null[null["group"] == "pharma_biotech"].set_index("shift")
        assert shifts.loc[0, "statistic"] == rows[-1].numbers()["statistic"]
        assert len(shifts) == len(law) + 1
    assert record["shifts"] == len(bundled.law)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def _refuse(text: str) -> None:
    raise AssertionError(f"not strict JSON: {text}")


# --- size and power on the simulated market ---------------------------------------------------


@dataclass(frozen=True)
class Draws:
    """What the test says on seeds without any effect: a row each, a column per sector."""

    family: npt.NDArray[np.bool_]  # some interval of the scoreboard leaves out zero
    alone: npt.NDArray[np.bool_]  # a sector's own interval leaves out zero
    found: npt.NDArray[np.bool_]  # an effect of the MDE would have been seen


def _draws(spec: Spec, seeds: int) -> Draws:
    data = sample(spec, simulated_market(spec, seed=0))
    legs = {s: event_legs(data, s) for s in spec.sectors}  # calendars and names: no return is read
    alpha, rows = spec.rule.alpha, []
    for seed in range(seeds):
        now = on_returns(data.portfolios, simulated_market(spec, seed=seed))
        law = replace(data, portfolios=now).law(legs)
        critical = quantile(law.null_distance.max(axis=1), alpha)
        middle = law.effect - law.center * law.error
        family = bool((np.abs(middle) > critical * law.error).any())
        alone = [quantile(distance, alpha) for distance in law.null_distance.T] * law.error
        deviations = (law.null_statistic - law.center).T
        mde = [
            minimum_detectable(deviation, float(error), critical, spec.rule.power)
            for deviation, error in zip(deviations, law.error, strict=True)
        ]
        found = middle + mde - critical * law.error > 0
        rows.append((family, np.abs(middle) > alone, found))
    return Draws(*(np.array(part) for part in zip(*rows, strict=True)))


@pytest.mark.parametrize(
    ("seeds", "error", "caught"),
    # Error 1%: of a hundred right tests one would fail. 60 seeds are 60 draws of the family and,
    # as sectors share the market alone, 360 of a sector: these catch one that is twice too loud.
    [(60, 0.01, (0.0, 0.98)), pytest.param(400, 0.001, (0.98, 0.98), marks=pytest.mark.soak)],
)
def test_without_effect_it_rejects_as_often_as_it_says_and_finds_the_mde_with_its_power(
    spec: Spec, seeds: int, error: float, caught: tuple[float, float]
) -> None:
    draws, alpha = _draws(spec, seeds), spec.rule.alpha
    for count, power in zip((draws.family, draws.alone), caught, strict=True):
        low, high = binomial_bounds(count.size, alpha, error)
        assert 0 < low <= count.sum() <= high
        assert scipy.stats.binom.sf(high, count.size, 2 * alpha) > power
        assert scipy.stats.binom.cdf(low - 1, count.size, alpha / 2) > (0.8 if power else 0)
    share = draws.found.mean(axis=1)
    spread = share.std(ddof=1) / np.sqrt(len(share))
    assert abs(share.mean() - spec.rule.power) <= 2.6 * spread + 0.01, (share.mean(), spread)


def _law(data: Sample) -> Placebo:
    return data.law({s: event_legs(data, s) for s in data.spec.sectors})


def test_an_effect_planted_in_the_returns_moves_the_estimate_by_itself(spec: Spec) -> None:
    data = sample(spec, simulated_market(spec, seed=1))
    base, panel = _law(data), data.panel
    sector = "mining_metals"
    days = [
        (sector, pd.Timestamp(panel.new_york[k]))
        for k in panel.index("primary")
        if panel.events[k].signs[sector]
    ]
    planted = simulated_market(spec, seed=1, effects=dict.fromkeys(days, 0.03))
    law = _law(sample(spec, planted))
    g = spec.sectors.index(sector)
    assert law.effect[g] - base.effect[g] == pytest.approx(0.03 * len(days), abs=1e-12)
    others = [k for k in range(6) if k != g]
    np.testing.assert_allclose(law.statistic[others], base.statistic[others])
    np.testing.assert_array_equal(law.shifts, base.shifts)


LEAKS = """id,announced,zone,role,title,solar,rail
L1,2024-03-05 10:00,America/New_York,leak,first,+,+
L2,2024-04-09 10:00,America/New_York,leak,second,+,+
L3,2024-05-14 10:00,America/New_York,leak,third,+,+
P1,2024-07-16 10:00,America/New_York,primary,the news,+,+
"""
IMPLIED = """valued_on: 2024-12-31
values_as_of: 2024-12-31
margin: 0.5
tax: 0.0
discount_rate: 0.0
years_to_cash: 1
realised: {all: 1.0}
lines:
  - {id: A1, sector: solar, title: panels, amount_usd_bn: 57.6, basis: list, realised: all,
     firms: {S00: 1.0}, source: paper}
  - {id: A2, sector: rail, title: tracks, amount_usd_bn: 57.6, basis: list, realised: all,
     firms: {R00: 1.0}, source: paper}
"""


def test_leaks_change_the_remark_and_never_the_verdict(
    own: Callable[..., Path], prices: Path
) -> None:
    """Solar gained 8% on each leak and nothing on the news; it should have gained 24%."""
    spec = read_spec(own(events=LEAKS, thesis=IMPLIED))
    study = run_study(sample(spec, f"file:{prices}"))
    solar, rail = study.verdicts
    assert [row.headline for row in study.leaks] == ["priced in", "not priced in"]
    assert [row.headline for row in (solar, rail)] == ["not priced in", "not priced in"]
    assert solar.remark == "with leak windows: priced in"
    assert rail.remark == ""


def test_the_contrast_is_named_minus_unnamed_with_the_named_firms_own_lines(
    bundled: Study,
) -> None:
    row, made = bundled.contrast, bundled.data.portfolios
    assert row is not None
    named = bundled.data.market.returns["named/2025-10-28/power_utilities"]
    unnamed = bundled.data.market.returns["unnamed/2025-10-28/power_utilities"]
    spread, market = named - unnamed, bundled.data.market.returns[BENCHMARK]
    center = int(market.index.searchsorted(pd.Timestamp("2025-10-28")))
    span = [t for t in range(center - 271, center - 21) if not bundled.data.panel.masked[t]]
    fit = sm.OLS(spread.iloc[span], sm.add_constant(market.iloc[span])).fit()
    window = slice(center - 1, center + 2)
    expected = fit.predict(sm.add_constant(market.iloc[window]))
    assert row.effect == pytest.approx(float((spread.iloc[window] - expected).sum()), abs=1e-10)
    tickers = made.members["named/2025-10-28/power_utilities"]
    own = implied_value(
        bundled.data.spec, tickers, row.implied.market_value, sector="power_utilities", own=True
    )
    assert row.implied == own
    assert all(ticker in row.remark for ticker in tickers)
    assert own.valued == own.firms == len(tickers) and "SMR" in tickers


def test_market_values_go_back_in_time_by_the_price(spec: Spec) -> None:
    market, thesis = simulated_market(spec, seed=3), spec.thesis
    assert thesis is not None
    later = market.returns.loc[market.returns.index > pd.Timestamp(thesis.valued_on)]
    growth = (1 + later).prod()
    sizes = {f.ticker: f.market_value_usd_bn for f in spec.members("mining_metals")}
    want = sum(size / growth[ticker] for ticker, size in sizes.items() if size is not None)
    values = sample(spec, market).portfolios.values
    assert values["sector/mining_metals"] == pytest.approx(want, rel=1e-12)


def test_a_campaign_row_states_no_p_value_and_no_verdict(bundled: Study) -> None:
    assert bundled.campaign
    for row in bundled.campaign:
        assert row.headline == "no verdict"
        assert np.isnan(row.p_stepdown)
        assert "independent" in row.reason


def test_one_sector_s_battery_is_about_the_members_and_agrees_with_the_sector_s_own_test(
    spec: Spec,
) -> None:
    data = sample(spec, simulated_market(spec, seed=8))
    tests = sector_battery(data, "mining_metals", "E17")
    rows = event_reactions(data).query("event == 'E17' and sector == 'mining_metals'")
    (want,) = rows.to_dict("records")
    members = data.portfolios.slots["E17", "mining_metals"].members
    assert tests.numbers["n"] == len(members) == want["firms"]
    assert tests.numbers["caar"] == pytest.approx(want["caar"], abs=1e-12)
    assert tests.tests["portfolio_t"].statistic == pytest.approx(want["portfolio_t"], rel=1e-9)
    assert tests.shared


def test_a_sector_whose_firms_cannot_be_tested_at_an_event_has_a_note_that_says_why(
    bundled: Study,
) -> None:
    data = bundled.data
    draw = np.random.default_rng(2).normal(0, 0.01, (len(data.market.dates), 4))
    factors = pd.DataFrame(draw, data.market.dates, ["mkt_rf", "smb3", "hml", "rf"])
    factors["rf"] = 0.0001
    factors.loc["2025-10-28"] = np.nan  # the file ends early, or has a hole
    rule = data.spec.rule.model_copy(update={"model": "ff3"})
    market = replace(data.market, factors=factors)
    data = replace(data, spec=replace(data.spec, rule=rule), market=market)
    tests = sector_battery(data, "pharma_biotech", "E17")
    assert tests.tests == {} and np.isnan(tests.numbers["caar"])
    assert tests.notes == ("no firm has every day of the window and enough estimation days",)


@pytest.mark.parametrize(
    ("event", "sector", "said"),
    [
        ("E99", "pharma_biotech", "unknown event 'E99'"),
        ("E17", "farma_biotech", "unknown sector 'farma_biotech'"),
    ],
)
def test_a_name_that_the_study_does_not_have_is_refused_not_answered_with_nothing(
    bundled: Study, event: str, sector: str, said: str
) -> None:
    data = bundled.data
    for asked in (
        lambda: data.days(event, sector),
        lambda: firm_reactions(data, sector, event),
        lambda: sector_battery(data, sector, event),
    ):
        with pytest.raises(InputError, match=said):
            asked()
    if sector not in data.spec.sectors:
        with pytest.raises(InputError, match=said):
            implied_value(data.spec, ["LLY"], 100.0, sector=sector)


def test_the_days_of_an_event_without_a_portfolio_say_why_there_are_none(bundled: Study) -> None:
    made, key = bundled.data.portfolios, ("E17", "pharma_biotech")
    slot = replace(made.slots[key], series="", reason="too few firms are left")
    data = replace(bundled.data, portfolios=replace(made, slots={**made.slots, key: slot}))
    with pytest.raises(InputError, match=r"no portfolio \(too few firms are left\)"):
        data.days(*key)
    gone = bundled.data.panel.dropped[0]
    with pytest.raises(InputError, match=f"{gone.name} cannot be tested: {re.escape(gone.reason)}"):
        data.days(gone.name, key[1])


def test_on_averages_the_baskets_stand_for_the_firms(bundled: Study) -> None:
    tests = sector_battery(bundled.data, "pharma_biotech", "E05")
    baskets = {firm.basket for firm in bundled.data.spec.members("pharma_biotech")}
    assert tests.numbers["n"] == len(baskets)
    assert tests.numbers["n_eff"] < tests.numbers["n"]

"""The slope on dose: planted ones are found, quiet ones hold their size, no firm is given away."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from tests.simulated_firms import FirmFiles
from usjp_research.engine.slopes import prologue, slope_portfolio, slope_weights
from usjp_research.market.load import load_market
from usjp_research.market.record import Market
from usjp_research.market.simulate import simulated_market
from usjp_research.report.figures import plot_dose_response, plot_exposure
from usjp_research.report.results import record
from usjp_research.report.tables import table
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import Event, Firm, Rule, Spec, Thesis, find_root
from usjp_research.study.exposure import (
    Exposure,
    Slope,
    cross_section,
    dose_response,
    exposure_law,
    exposure_rows,
    exposure_versions,
    firm_cars,
    firm_doses,
    naming_events,
)
from usjp_research.study.portfolios import values_before
from usjp_research.study.sample import Sample, sample


def small_spec(firms: int = 24) -> Spec:
    """Two sectors, five named firms at one event of October 2024, one more at another event."""
    sectors = ("solar", "rail")
    named = {0: 40.0, 1: 20.0, 2: 10.0, 12: 30.0, 13: 5.0}
    universe = tuple(
        Firm(
            ticker=f"F{k:02d}",
            name=f"Firm {k}",
            sector=sectors[k >= firms // 2],
            named_event="N1" if k in named else "N2" if k == 3 else "",
            dose_usd_bn=named.get(k, 8.0 if k == 3 else None),
            market_value_usd_bn=20.0,
        )
        for k in range(firms)
    )

    def event(id: str, year: int, month: int) -> Event:
        instant = datetime(year, month, 8, 10, tzinfo=ZoneInfo("America/New_York"))
        return Event(id, instant, "primary", id, signs=dict.fromkeys(sectors, 1))

    thesis = Thesis.model_validate(
        {
            "valued_on": date(2024, 9, 30),
            "values_as_of": date(2024, 12, 31),
            "margin": {"low": 0.05, "base": 0.1, "high": 0.2},
            "tax": 0.2,
            "discount_rate": 0.0,
            "years_to_cash": 5,
            "realised": {"all": 1.0},
            "lines": [
                {
                    "id": "L1",
                    "sector": "solar",
                    "amount_usd_bn": 40,
                    "title": "panels",
                    "basis": "a test",
                    "realised": "all",
                    "firms": {"F00": 1.0},
                    "source": "a test",
                }
            ],
        }
    )
    return Spec(
        rule=Rule(least_firms=3, contrast=None, campaign=None),
        events=(event("N1", 2024, 10), event("N2", 2025, 1)),
        firms=universe,
        sectors=sectors,
        thesis=thesis,
    )


def slope_of(row: Exposure) -> Slope:
    assert row.slope is not None, row.reason
    return row.slope


def drawn(spec: Spec, seed: int, first: str = "2022-02-01") -> Market:
    return simulated_market(spec, seed=seed, first=first, last="2025-03-31")


@pytest.fixture(scope="module")
def quiet() -> Sample:
    spec = small_spec()
    return sample(spec, drawn(spec, 3))


@pytest.fixture(scope="module")
def bundled() -> Sample:
    spec = read_spec()
    return sample(spec, load_market(spec, "bundled"))


@pytest.fixture(scope="module")
def single(firm_files: FirmFiles) -> Sample:
    """The project's universe at firm level."""
    spec = read_spec()
    return sample(spec, load_market(spec, f"file:{firm_files.prices}"))


@pytest.fixture(scope="module")
def rows(single: Sample) -> tuple[Exposure, ...]:
    return exposure_rows(single)


def planted(market: Market, add: Mapping[Hashable, float], day: str) -> Market:
    """Add returns on a day and take them back ten sessions later, so that values stay."""
    returns = market.returns.copy()
    place = int(market.dates.searchsorted(pd.Timestamp(day)))
    for ticker, size in add.items():
        column = returns.columns.get_loc(ticker)
        before = float(returns.iloc[place, column])  # type: ignore[arg-type, index]
        later = float(returns.iloc[place + 10, column])  # type: ignore[arg-type, index]
        growth = (1 + before) / (1 + before + size)
        returns.iloc[place, column] = before + size  # type: ignore[index]
        returns.iloc[place + 10, column] = (1 + later) * growth - 1  # type: ignore[index]
    return replace(market, returns=returns)


# --- the truth is found ----------------------------------------------------------------------


def test_a_planted_dose_response_moves_the_slope_by_exactly_that(quiet: Sample) -> None:
    spec, market = quiet.spec, quiet.market
    doses = firm_doses(spec, market).query("event == 'N1'").set_index("ticker")["dose"]
    more = planted(market, (0.11 * doses).to_dict(), "2024-10-08")
    np.testing.assert_allclose(
        firm_doses(spec, more)["dose"], firm_doses(spec, market)["dose"], rtol=1e-12
    )
    plain, moved = (slope_of(exposure_law(data, "N1")) for data in (quiet, sample(spec, more)))
    assert moved.value - plain.value == pytest.approx(0.11, abs=1e-9)
    np.testing.assert_allclose(moved.quiet, plain.quiet, atol=1e-12)
    assert moved.raw.p_cdf == moved.p == pytest.approx(1 / (1 + len(moved.law)))
    assert moved.low < 0.11 < moved.high
    assert exposure_law(quiet, "N1").exposed == 5


def test_the_pooled_slope_recovers_what_was_planted_at_each_events_own_firms(
    quiet: Sample,
) -> None:
    spec, market = quiet.spec, quiet.market
    assert naming_events(spec, quiet.panel) == ("N1", "N2")
    doses = firm_doses(spec, market).set_index("ticker")
    first = (0.2 * doses.query("event == 'N1'")["dose"]).to_dict()
    second = (0.2 * doses.query("event == 'N2'")["dose"]).to_dict()
    more = planted(planted(market, first, "2024-10-08"), second, "2025-01-08")
    row = exposure_law(sample(spec, more))
    change = slope_of(row).value - slope_of(exposure_law(quiet)).value
    assert change == pytest.approx(0.2, abs=1e-9)
    assert (row.exposed, row.firms) == (6, 24 - 1 + 24 - 5)


def test_a_sector_move_leaves_the_slope_alone(quiet: Sample) -> None:
    spec, market = quiet.spec, quiet.market
    solar = [firm.ticker for firm in spec.members("solar")]
    more = planted(market, dict.fromkeys(solar, 0.08), "2024-10-08")
    moved = slope_of(exposure_law(sample(spec, more), "N1"))
    assert moved.value == pytest.approx(slope_of(exposure_law(quiet, "N1")).value)


# --- its size --------------------------------------------------------------------------------


@pytest.mark.soak
def test_on_quiet_events_the_slope_rejects_as_often_as_it_says() -> None:
    spec = small_spec()
    spec = replace(spec, events=spec.events[:1])
    runs, level = 240, 0.1
    hits = {"raw": 0, "t": 0, "guarded": 0, "interval": 0}
    for seed in range(runs):
        found = slope_of(exposure_law(sample(spec, drawn(spec, seed))))
        hits["raw"] += found.raw.p_cdf <= level
        hits["t"] += found.raw.p_t <= level
        hits["guarded"] += found.p <= level
        hits["interval"] += not found.low <= 0 <= found.high
    # Overlapping windows leave about a third of the quiet days: the law is an estimate, which
    # adds to the binomial error. Three of the binomial's standard deviations.
    room = 3 * math.sqrt(level * (1 - level) / runs)
    for name, count in hits.items():
        assert abs(count / runs - level) <= room, (name, count / runs)


def test_on_quiet_days_of_the_universe_the_guarded_slope_holds_its_size(
    rows: tuple[Exposure, ...],
) -> None:
    scaled = slope_of(rows[1]).law.null_statistic[:, 0]
    half = len(scaled) // 2
    found = [prologue(value, scaled[:half]).p_cdf <= 0.1 for value in scaled[half:]]
    # A third of the days are independent in each half, and both halves are samples.
    room = 3 * math.sqrt(0.1 * 0.9 * (2 / (half / 3)))
    assert abs(float(np.mean(found)) - 0.1) <= room


# --- independent checks ----------------------------------------------------------------------


def design(section_dose: np.ndarray, group: np.ndarray) -> np.ndarray:
    effects = (group[:, None] == np.unique(group)).astype(float)
    return np.column_stack([section_dose, effects])


def test_slopes_equal_statsmodels_on_every_tenth_day(quiet: Sample) -> None:
    found = slope_of(exposure_law(quiet, "N1"))
    firms, _ = cross_section(quiet, ("N1",))
    regressors = design(firms["dose"].to_numpy(), firms["cell"].to_numpy())
    cars = firm_cars(quiet, firms, ("N1",), np.append(0, found.law.shifts[::10]))
    for slope, car in zip([found.value, *found.quiet[::10]], cars, strict=True):
        assert slope == pytest.approx(sm.OLS(car, regressors).fit().params[0], abs=1e-9)


def test_daily_slopes_equal_statsmodels_where_firms_are_missing() -> None:
    draw = np.random.default_rng(7)
    n, days = 18, 5
    dose = np.where(np.arange(n) % 4 == 0, draw.uniform(0.1, 2, n), 0.0)
    group = np.repeat([0, 1, 2], 6)
    returns = draw.normal(size=(days, n))
    returns[draw.random((days, n)) < 0.2] = np.nan
    returns[:, ::4] = draw.normal(size=(days, 5))
    found = slope_portfolio(returns, dose, group)
    for daily, slope in zip(returns, found, strict=True):
        there = np.isfinite(daily)
        expected = sm.OLS(daily[there], design(dose[there], group[there])).fit()
        assert slope == pytest.approx(expected.params[0], abs=1e-9)
    returns[2, 4] = np.nan  # without one of the exposed it is another portfolio: no return
    assert np.isnan(slope_portfolio(returns, dose, group)).tolist() == [k == 2 for k in range(5)]


def test_the_error_of_a_slope_is_that_of_the_portfolio_it_is(quiet: Sample) -> None:
    found = slope_of(exposure_law(quiet, "N1"))
    firms, _ = cross_section(quiet, ("N1",))
    weights, curvature = slope_weights(
        np.ones((1, len(firms)), bool), firms["dose"].to_numpy(), firms["cell"].to_numpy()
    )
    portfolio = quiet.market.returns[firms["ticker"]].to_numpy() @ (weights[0] / curvature[0])
    fit = quiet.forecast(portfolio[:, None], moving_mask=[-1, 0, 1])
    places = quiet.panel.day0[quiet.panel.position("N1") or 0] + np.append(0, found.law.shifts)
    np.testing.assert_allclose(
        np.append(found.value, found.quiet), fit.car[places, 0], rtol=1e-8, atol=1e-14
    )
    errors = np.append(found.law.error, found.law.null_error[:, 0])
    np.testing.assert_allclose(errors**2, fit.guarded[places, 0], rtol=1e-9)


def test_past_is_prologue_by_hand() -> None:
    # Distances from the mean 0 of five quiet days: 1, 0, 1, 4, 4; the event's is 3.
    found = prologue(3.0, np.array([-1.0, 0.0, 1.0, -4.0, 4.0]))
    assert found.p_cdf == (1 + 2) / 6
    spread = math.sqrt((1 + 0 + 1 + 16 + 16) / 4)
    assert found.t == pytest.approx(3 / (spread * math.sqrt(6 / 5)))
    assert found.df == 4


def test_the_implied_slope_and_break_even_by_hand(quiet: Sample) -> None:
    row = exposure_law(quiet, "N1")
    firms, _ = cross_section(quiet, ("N1",))
    dose = firms["dose"].to_numpy()
    first = firms["ticker"].tolist().index("F00")
    weights, curvature = slope_weights(
        np.ones((1, len(firms)), bool), dose, firms["cell"].to_numpy()
    )
    # Only F00 has a line: 40 USD bn, all its own, over its value before the news.
    move = dose[first] * 0.1 * 0.8
    assert row.implied["base"] == pytest.approx(float(weights[0, first] / curvature[0]) * move)
    assert row.implied["high"] == pytest.approx(2 * row.implied["base"])
    found = slope_of(row)
    assert found.breakeven == pytest.approx(found.mde / 0.8)
    share = (weights[0] * dose / curvature[0]).max()
    assert found.top_share == pytest.approx(share)


# --- what is left out, and why ---------------------------------------------------------------


def test_firms_without_a_dose_are_left_out_and_listed(quiet: Sample) -> None:
    spec, market = quiet.spec, quiet.market
    changed = [
        replace(firm, market_value_usd_bn=None)
        if firm.ticker == "F00"
        else replace(firm, dose_usd_bn=None)
        if firm.ticker == "F01"
        else firm
        for firm in spec.firms
    ]
    row = exposure_law(sample(replace(spec, firms=tuple(changed)), market), "N1")
    reasons = {item.name: item.reason for item in row.left_out}
    assert "market value is unknown" in reasons["N1/F00"]
    assert "dose unknown" in reasons["N1/F01"]
    assert "named at N2" in reasons["N1/F03"]
    assert row.exposed == 3


def test_days_with_fewer_than_three_exposed_firms_are_left_out_and_counted(
    quiet: Sample,
) -> None:
    spec, market = quiet.spec, quiet.market
    returns = market.returns.copy()
    late = market.dates < pd.Timestamp("2022-06-01")
    returns.loc[late, ["F00", "F01", "F02"]] = np.nan  # listed in June 2022
    whole = slope_of(exposure_law(quiet, "N1"))
    law = slope_of(exposure_law(sample(spec, replace(market, returns=returns)), "N1")).law
    assert law.admissible == whole.law.admissible
    assert len(law) < len(whole.law) - 20
    assert set(law.shifts) < set(whole.law.shifts)
    fewer = exposure_law(quiet, "N1", without=("F00", "F01", "F02"))
    assert fewer.reason == "exposed firms left: 2, expected 3 or more"
    assert fewer.slope is None


def test_a_firm_listed_later_joins_with_an_error_of_its_own_portfolio(quiet: Sample) -> None:
    spec, market = quiet.spec, quiet.market
    returns = market.returns.copy()
    returns.loc[market.dates < pd.Timestamp("2023-03-01"), "F00"] = np.nan
    young = sample(spec, replace(market, returns=returns))
    law = slope_of(exposure_law(young, "N1")).law
    without = slope_of(exposure_law(quiet, "N1", without=("F00",))).law
    every = slope_of(exposure_law(quiet, "N1")).law
    first, last = law.shifts.min(), law.shifts.max()
    for shift, same in ((first, without), (last, every)):
        here, there = (np.flatnonzero(x.shifts == shift)[0] for x in (law, same))
        assert law.null_error[here, 0] == pytest.approx(same.null_error[there, 0], rel=0.02)


def test_too_few_quiet_days_are_a_reason(quiet: Sample) -> None:
    spec = quiet.spec
    row = exposure_law(sample(spec, drawn(spec, 1, first="2023-02-01")), "N1")
    assert "quiet days before the first primary event, expected 250 or more" in row.reason
    assert row.slope is None


def test_the_main_law_ends_before_the_first_primary_event(quiet: Sample) -> None:
    spec, panel = quiet.spec, quiet.panel
    first = int(panel.day0.min())
    before, every = exposure_law(quiet), exposure_law(quiet, before=False)
    shifts = slope_of(before).law.shifts
    latest = max(int(panel.day0[panel.position(id) or 0]) for id in before.events)
    assert latest + shifts.max() + spec.rule.window[1] < first + spec.rule.window[0]
    assert set(shifts) < set(slope_of(every).law.shifts)
    for row in (before, every):
        for id in row.events:
            day0 = int(panel.day0[panel.position(id) or 0])
            for offset in (-1, 0, 1):
                assert not panel.masked[day0 + slope_of(row).law.shifts + offset].any()


def test_a_study_without_doses_says_so(quiet: Sample) -> None:
    spec, market = quiet.spec, quiet.market
    firms = tuple(replace(f, named_event="") for f in spec.firms)
    plain = sample(replace(spec, firms=firms), market)
    rows = exposure_rows(plain)
    assert rows[0].reason == "no firm is named with dollars at any event that can be tested"
    assert exposure_versions(plain) == ()
    assert "no firm is named" in str(table("exposure", rows)["As evidence"].iloc[0])
    assert plot_exposure(rows[0]).alt
    empty = dose_response(plain)
    assert "no firm is named" in plot_dose_response(empty, rows[0]).alt


def test_inputs_are_not_changed(quiet: Sample) -> None:
    market, panel = quiet.market, quiet.panel
    before, masked = market.returns.copy(), panel.masked.copy()
    exposure_rows(quiet)
    dose_response(quiet)
    pd.testing.assert_frame_equal(market.returns, before)
    np.testing.assert_array_equal(panel.masked, masked)


# --- averages and single firms ---------------------------------------------------------------


def test_the_bundled_market_says_what_it_cannot_show_and_shows_the_rest(bundled: Sample) -> None:
    rows = exposure_rows(bundled)
    assert all("needs single firms" in row.reason for row in rows)
    assert all(row.slope is None for row in rows)
    assert 0 < rows[0].implied["low"] < rows[0].implied["base"] < rows[0].implied["high"]
    assert rows[0].exposed >= 3
    picture = plot_exposure(rows[0])
    assert "needs single firms" in picture.alt
    assert "the thesis implies" in picture.alt
    assert exposure_versions(bundled) == ()
    assert dose_response(bundled).empty
    doses = firm_doses(bundled.spec, bundled.market)
    pd.testing.assert_frame_equal(doses, firm_doses(bundled.spec))


def test_on_single_firms_every_number_is_finite_and_says_what_carries_it(
    single: Sample, rows: tuple[Exposure, ...]
) -> None:
    for row in rows:
        assert len(slope_of(row).law) >= 250
        for name, value in row.numbers().items():
            assert not isinstance(value, float) or math.isfinite(value), name
        assert row.events == ("E17", "E43")
        assert "E18" in row.remark
    first = slope_of(rows[0])
    assert first.raw.df == len(first.law) - 1
    shown = plot_exposure(rows[0], public=False)
    assert f"{100 * first.value:.1f}" in shown.alt
    assert len(exposure_versions(single)) == 3 * 4


def test_the_public_record_holds_no_single_firm(
    single: Sample, rows: tuple[Exposure, ...], tmp_path: Path
) -> None:
    spec, market = single.spec, single.market
    carried = slope_of(rows[0])
    path = record(tmp_path, "3_exposure", spec, market, {"rows": [row.numbers() for row in rows]})
    assert sorted(item.name for item in path.parent.iterdir()) == [path.name]
    numbers = json.loads(path.read_text("utf-8"))["numbers"]
    text = json.dumps(numbers) + table("exposure", rows).to_csv() + plot_exposure(rows[0]).alt
    words = set(text.replace('"', " ").replace(",", " ").replace(":", " ").split())
    # The firm that carries the slope is named, as its dose is; of no other is anything said.
    assert {slope_of(row).rests_on for row in rows} == {carried.rests_on}
    assert rows[0].headline == f"rests on one firm: {carried.rests_on}"
    tickers = {firm.ticker for firm in spec.firms if len(firm.ticker) > 1}
    assert words & tickers == {carried.rests_on}
    firms = dose_response(single)
    cars = {f"{abs(x):.5f}" for x in firms.loc[firms["dose"] > 0, "car_less_sector"]}
    slopes = {f"{abs(slope_of(row).value):.5f}" for row in rows}
    assert not cars & slopes
    # A slope that one firm carries is not shown, nor what would give it back with the MDE.
    assert carried.top_share > 0.5
    hidden = {"slope", "error", "low", "high", "raw_center", "raw_t", "raw_p_t"}
    assert all(numbers["rows"][0][name] is None for name in hidden)
    assert table("exposure", rows)["Cents per dollar"].iloc[0] == "withheld"
    assert table("exposure", rows, public=False)["Cents per dollar"].iloc[0] != "withheld"
    assert f"{100 * carried.value:.1f}" not in plot_exposure(rows[0]).alt.partition("implies")[0]
    public, own = (plot_exposure(rows[0], public=wanted) for wanted in (True, False))
    assert "the events" in own.csv() and "the events" not in public.csv() + public.svg().decode()
    assert "which is not shown" in public.title
    assert public.csv().count("quiet dates") == 40  # bins, and no day of its own
    # Every public slope rests on one set of exposed firms, so that no difference of two of them
    # is about one or two firms.
    assert {row.without for row in rows} == {()}
    assert {row.blackout for row in rows} == {True}
    assert {row.events for row in rows} == {naming_events(spec, single.panel)}
    assert {row.exposed for row in rows} == {rows[0].exposed}
    assert rows[0].exposed >= 3


def test_doses_use_the_value_of_the_day_before_the_news(single: Sample) -> None:
    spec, market = single.spec, single.market
    values = values_before(spec, market)
    firm = next(f for f in spec.firms if f.ticker == "GEV")
    days = market.dates
    span = (days > pd.Timestamp("2025-07-22")) & (days <= pd.Timestamp("2026-07-31"))
    growth = float(np.prod(1 + market.returns.loc[span, "GEV"].to_numpy()))
    assert firm.market_value_usd_bn is not None
    assert values["GEV"] == pytest.approx(firm.market_value_usd_bn / growth)
    doses = firm_doses(spec, market).set_index("ticker")["dose"]
    assert doses["GEV"] == pytest.approx((firm.dose_usd_bn or 0) / values["GEV"])
    less = (replace(f, market_value_usd_bn=None) if f.ticker == "GEV" else f for f in spec.firms)
    without = firm_doses(replace(spec, firms=tuple(less)), market).set_index("ticker")["dose"]
    assert math.isnan(without["GEV"])


def test_every_cell_that_shows_single_firms_stays_local() -> None:
    path = find_root(Path(__file__)) / "notebooks" / "3_exposure.ipynb"
    cells = json.loads(path.read_text("utf-8"))["cells"]
    telling = ("exposure_versions", "dose_response", "firm_doses(data.spec, data.market)")
    found = ["".join(c["source"]) for c in cells if "local" in c["metadata"].get("tags", [])]
    open_ = ["".join(c["source"]) for c in cells if "local" not in c["metadata"].get("tags", [])]
    for word in telling:
        assert any(word in source for source in found)
        assert not any(word in source for source in open_)

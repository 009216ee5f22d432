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
from usjp_research.engine.rolling import rolling_forecast
from usjp_research.engine.slopes import (
    Factors,
    gls_weights,
    ols_weights,
    prologue,
    residual_factors,
)
from usjp_research.market.load import load_market
from usjp_research.market.record import BENCHMARK, Market
from usjp_research.market.simulate import simulated_market
from usjp_research.report.figures import plot_dose_response, plot_exposure
from usjp_research.report.results import record
from usjp_research.report.tables import exposure_table
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import Event, Firm, Rule, Spec, Thesis, find_root
from usjp_research.study.doses import cross_section, dose_response, firm_doses, naming_events
from usjp_research.study.events import EventPanel, event_panel
from usjp_research.study.exposure import Exposure, exposure_law, exposure_rows, exposure_versions
from usjp_research.study.portfolios import Portfolios, form_portfolios, values_before

Setting = tuple[Spec, Market, EventPanel, Portfolios]


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
        return Event(id, instant, "minute", "primary", id, dict.fromkeys(sectors, 1))

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


def setting(spec: Spec, market: Market) -> Setting:
    panel = event_panel(spec, market)
    return spec, market, panel, form_portfolios(spec, market, panel)


def drawn(spec: Spec, seed: int, first: str = "2022-02-01") -> Market:
    return simulated_market(spec, seed=seed, first=first, last="2025-03-31")


@pytest.fixture(scope="module")
def quiet() -> Setting:
    spec = small_spec()
    return setting(spec, drawn(spec, 3))


@pytest.fixture(scope="module")
def bundled() -> Setting:
    spec = read_spec()
    return setting(spec, load_market(spec, "bundled"))


@pytest.fixture(scope="module")
def single(firm_files: FirmFiles) -> Setting:
    """The project's universe at firm level."""
    spec = read_spec()
    return setting(spec, load_market(spec, f"file:{firm_files.prices}"))


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


@pytest.mark.parametrize("method", ["ols", "gls"])
def test_a_planted_dose_response_moves_the_slope_by_exactly_that(
    quiet: Setting, method: str
) -> None:
    spec, market, panel, made = quiet
    doses = firm_doses(spec, market).query("event == 'N1'").set_index("ticker")["dose"]
    more = planted(market, (0.11 * doses).to_dict(), "2024-10-08")
    np.testing.assert_allclose(
        firm_doses(spec, more)["dose"], firm_doses(spec, market)["dose"], rtol=1e-12
    )
    plain = exposure_law(spec, market, panel, made, "N1", method=method)  # type: ignore[arg-type]
    moved = exposure_law(*setting(spec, more), "N1", method=method)  # type: ignore[arg-type]
    assert moved.slope - plain.slope == pytest.approx(0.11, abs=1e-9)
    np.testing.assert_allclose(moved.law, plain.law, atol=1e-12)
    assert moved.raw is not None
    assert moved.guarded is not None
    assert moved.raw.p_cdf == pytest.approx(1 / (1 + len(moved.law)))
    assert moved.low < 0.11 < moved.high
    assert moved.exposed == 5


def test_the_pooled_slope_recovers_what_was_planted_at_each_events_own_firms(
    quiet: Setting,
) -> None:
    spec, market, panel, made = quiet
    assert naming_events(spec, panel) == ("N1", "N2")
    doses = firm_doses(spec, market).set_index("ticker")
    first = (0.2 * doses.query("event == 'N1'")["dose"]).to_dict()
    second = (0.2 * doses.query("event == 'N2'")["dose"]).to_dict()
    more = planted(planted(market, first, "2024-10-08"), second, "2025-01-08")
    plain = exposure_law(spec, market, panel, made)
    moved = exposure_law(*setting(spec, more))
    assert moved.slope - plain.slope == pytest.approx(0.2, abs=1e-9)
    assert (moved.exposed, moved.firms) == (6, 24 - 1 + 24 - 5)


def test_a_sector_move_leaves_the_slope_alone(quiet: Setting) -> None:
    spec, market, panel, made = quiet
    solar = [firm.ticker for firm in spec.members("solar")]
    more = planted(market, dict.fromkeys(solar, 0.08), "2024-10-08")
    moved = exposure_law(*setting(spec, more), "N1")
    assert moved.slope == pytest.approx(exposure_law(spec, market, panel, made, "N1").slope)


# --- its size --------------------------------------------------------------------------------


@pytest.mark.soak
def test_on_quiet_events_the_slope_rejects_as_often_as_it_says() -> None:
    spec = small_spec()
    spec = replace(spec, events=spec.events[:1])
    runs, level = 240, 0.1
    hits = {"raw": 0, "t": 0, "guarded": 0, "interval": 0}
    market = drawn(spec, 0)
    panel = event_panel(spec, market)
    made = form_portfolios(spec, market, panel)  # calendars and names only: no return is read
    for seed in range(runs):
        row = exposure_law(spec, drawn(spec, seed), panel, made)
        assert row.raw is not None
        assert row.guarded is not None
        hits["raw"] += row.raw.p_cdf <= level
        hits["t"] += row.raw.p_t <= level
        hits["guarded"] += row.guarded.p_cdf <= level
        hits["interval"] += not row.low <= 0 <= row.high
    # Overlapping windows leave about a third of the quiet days: the law is an estimate, which
    # adds to the binomial error. Three of the binomial's standard deviations.
    room = 3 * math.sqrt(level * (1 - level) / runs)
    for name, count in hits.items():
        assert abs(count / runs - level) <= room, (name, count / runs)


def test_on_quiet_days_of_the_universe_the_guarded_slope_holds_its_size(single: Setting) -> None:
    row = exposure_law(*single, before=False)
    scaled = row.law / row.law_error
    half = len(scaled) // 2
    found = [prologue(value, scaled[:half], 0.1).p_cdf <= 0.1 for value in scaled[half:]]
    # A third of the days are independent in each half, and both halves are samples.
    room = 3 * math.sqrt(0.1 * 0.9 * (2 / (half / 3)))
    assert abs(float(np.mean(found)) - 0.1) <= room


# --- independent checks ----------------------------------------------------------------------


def design(section_dose: np.ndarray, group: np.ndarray) -> np.ndarray:
    effects = (group[:, None] == np.unique(group)).astype(float)
    return np.column_stack([section_dose, effects])


def test_ols_slopes_equal_statsmodels_on_every_tenth_day(quiet: Setting) -> None:
    spec, market, panel, made = quiet
    row = exposure_law(spec, market, panel, made, "N1")
    section, _ = cross_section(spec, market, panel, made, "N1")
    fit = rolling_forecast(
        market.returns.to_numpy()[:, section.at],
        market.returns[BENCHMARK].to_numpy(),
        panel.masked,
    )
    regressors = design(section.dose, section.group)
    for k in range(0, len(row.law), 10):
        car = fit.car[section.day0 + row.shifts[k]]
        assert row.law[k] == pytest.approx(sm.OLS(car, regressors).fit().params[0], abs=1e-9)
    event = sm.OLS(fit.car[section.day0], regressors).fit()
    assert row.slope == pytest.approx(event.params[0], abs=1e-9)


def test_ols_and_gls_slopes_equal_statsmodels_where_firms_are_missing() -> None:
    draw = np.random.default_rng(7)
    n, days = 18, 5
    dose = np.where(np.arange(n) % 4 == 0, draw.uniform(0.1, 2, n), 0.0)
    group = np.repeat([0, 1, 2], 6)
    present = draw.random((days, n)) < 0.8
    present[:, ::4] = True
    y = draw.normal(size=(days, n))
    every = np.arange(n) * 2  # columns of a wider table
    models = [
        Factors(every, draw.normal(size=(n, 3)), draw.uniform(0.2, 2, n)) for _ in range(days)
    ]
    for name in ("ols", "gls"):
        if name == "ols":
            weights, curvature = ols_weights(present, dose, group)
        else:
            weights, curvature = gls_weights(present, dose, group, models, every)
        for k, there in enumerate(present):
            x = design(dose[there], group[there])
            model = models[k]
            full = model.loadings @ model.loadings.T + np.diag(model.own)
            if name == "ols":
                expected = sm.OLS(y[k, there], x).fit()
            else:
                expected = sm.GLS(y[k, there], x, sigma=full[np.ix_(there, there)]).fit()
            slope = weights[k] @ y[k] / curvature[k]
            assert slope == pytest.approx(expected.params[0], abs=1e-9), (name, k)


def test_factors_are_the_components_above_the_edge_of_the_correlation_matrix(
    quiet: Setting,
) -> None:
    spec, market, panel, _ = quiet
    returns = market.returns.drop(columns=[BENCHMARK]).to_numpy()
    benchmark = market.returns[BENCHMARK].to_numpy()
    fit = rolling_forecast(returns, benchmark, panel.masked)
    day = int(panel.day0[0])
    found = residual_factors(
        returns,
        benchmark,
        panel.masked,
        fit,
        np.array([day]),
        window=spec.rule.window,
        estimation=spec.rule.estimation,
    )[day]
    rows = np.arange(day - 1 - 21 - 250 + 1, day - 1 - 21 + 1)
    x = sm.add_constant(benchmark[rows])
    residual = np.column_stack(
        [sm.OLS(returns[rows, k], x).fit().resid for k in range(returns.shape[1])]
    )
    correlation = np.corrcoef(residual, rowvar=False)
    sizes, vectors = np.linalg.eigh(correlation)
    keep = sizes > (1 + math.sqrt(residual.shape[1] / len(rows))) ** 2
    assert found.loadings.shape[1] == keep.sum() == 2  # one shock per sector was simulated
    sd = np.sqrt((residual**2).mean(axis=0))
    common = (vectors[:, keep] * sizes[keep]) @ vectors[:, keep].T
    np.testing.assert_allclose(
        found.loadings @ found.loadings.T, common * np.outer(sd, sd), atol=1e-12
    )
    total = (found.loadings**2).sum(axis=1) + found.own
    np.testing.assert_allclose(total, sd**2, rtol=1e-9)


@pytest.mark.parametrize("method", ["ols", "gls"])
def test_the_error_of_a_slope_is_that_of_the_portfolio_it_is(quiet: Setting, method: str) -> None:
    spec, market, panel, made = quiet
    row = exposure_law(spec, market, panel, made, "N1", method=method)  # type: ignore[arg-type]
    section, _ = cross_section(spec, market, panel, made, "N1")
    returns = market.returns.to_numpy()[:, section.at]
    benchmark = market.returns[BENCHMARK].to_numpy()
    if method == "ols":
        weights, curvature = ols_weights(
            np.ones((1, len(section.dose)), bool), section.dose, section.group
        )
        portfolio = returns @ (weights[0] / curvature[0])
        fit = rolling_forecast(portfolio[:, None], benchmark, panel.masked)
        places = section.day0 + np.append(0, row.shifts)
        np.testing.assert_allclose(
            np.append(row.slope, row.law), fit.car[places, 0], rtol=1e-8, atol=1e-14
        )
        np.testing.assert_allclose(
            np.append(row.error, row.law_error) ** 2, fit.guarded[places, 0], rtol=1e-9
        )
    else:
        plain = exposure_law(spec, market, panel, made, "N1")
        assert row.law.std() < 1.05 * plain.law.std()  # what the weights are for


def test_past_is_prologue_by_hand() -> None:
    # Distances from the mean 0 of five quiet days: 1, 0, 1, 4, 4; the event's is 3.
    found = prologue(3.0, np.array([-1.0, 0.0, 1.0, -4.0, 4.0]), 0.5)
    assert found.p_cdf == (1 + 2) / 6
    spread = math.sqrt((1 + 0 + 1 + 16 + 16) / 4)
    assert found.t == pytest.approx(3 / (spread * math.sqrt(6 / 5)))
    assert found.df == 4
    # Half of six ranks: the third distance from above, 1.
    assert found.critical == 1.0
    assert (found.low, found.high) == (2.0, 4.0)


def test_the_implied_slope_and_break_even_by_hand(quiet: Setting) -> None:
    spec, market, panel, made = quiet
    row = exposure_law(spec, market, panel, made, "N1")
    section, _ = cross_section(spec, market, panel, made, "N1")
    first = section.tickers.index("F00")
    weights, curvature = ols_weights(
        np.ones((1, len(section.dose)), bool), section.dose, section.group
    )
    # Only F00 has a line: 40 USD bn, all its own, over its value before the news.
    move = section.dose[first] * 0.1 * 0.8
    assert row.implied["base"] == pytest.approx(float(weights[0, first] / curvature[0]) * move)
    assert row.implied["high"] == pytest.approx(2 * row.implied["base"])
    assert row.breakeven == pytest.approx(row.mde / 0.8)
    share = (weights[0] * section.dose / curvature[0]).max()
    assert row.top_share == pytest.approx(share)


# --- what is left out, and why ---------------------------------------------------------------


def test_firms_without_a_dose_are_left_out_and_listed(quiet: Setting) -> None:
    spec, market, panel, made = quiet
    changed = [
        replace(firm, market_value_usd_bn=None)
        if firm.ticker == "F00"
        else replace(firm, dose_usd_bn=None)
        if firm.ticker == "F01"
        else firm
        for firm in spec.firms
    ]
    row = exposure_law(replace(spec, firms=tuple(changed)), market, panel, made, "N1")
    reasons = {item.name: item.reason for item in row.left_out}
    assert "market value is unknown" in reasons["N1/F00"]
    assert "dose unknown" in reasons["N1/F01"]
    assert "named at N2" in reasons["N1/F03"]
    assert row.exposed == 3


def test_days_with_fewer_than_three_exposed_firms_are_left_out_and_counted(
    quiet: Setting,
) -> None:
    spec, market, panel, _ = quiet
    returns = market.returns.copy()
    late = market.dates < pd.Timestamp("2022-06-01")
    returns.loc[late, ["F00", "F01", "F02"]] = np.nan  # listed in June 2022
    young = replace(market, returns=returns)
    made = form_portfolios(spec, young, panel)
    whole = exposure_law(spec, market, panel, made, "N1")
    row = exposure_law(spec, young, panel, made, "N1")
    assert row.few > 20
    assert len(row.law) == whole.admissible - row.few
    assert set(row.shifts) < set(whole.shifts)
    fewer = exposure_law(spec, market, panel, made, "N1", without=("F00", "F01", "F02"))
    assert fewer.reason == "exposed firms left: 2, expected 3 or more"
    assert math.isnan(fewer.slope)


def test_too_few_quiet_days_are_a_reason(quiet: Setting) -> None:
    spec = quiet[0]
    row = exposure_law(*setting(spec, drawn(spec, 1, first="2023-02-01")), "N1")
    assert "quiet days before the first primary event, expected 250 or more" in row.reason
    assert math.isnan(row.slope)


def test_a_sector_needs_five_named_firms(quiet: Setting) -> None:
    row = exposure_law(*quiet, sector="rail")
    assert row.reason == "named firms with a dose: 2, expected 5 or more"


def test_the_main_law_ends_before_the_first_primary_event(quiet: Setting) -> None:
    spec, _, panel, _ = quiet
    first = int(panel.day0.min())
    before, every = exposure_law(*quiet), exposure_law(*quiet, before=False)
    latest = max(int(panel.day0[panel.position(id) or 0]) for id in before.events)
    assert latest + before.shifts.max() + spec.rule.window[1] < first + spec.rule.window[0]
    assert len(every.law) > len(before.law)
    assert set(before.shifts) < set(every.shifts)
    for row in (before, every):
        for id in row.events:
            day0 = int(panel.day0[panel.position(id) or 0])
            for offset in (-1, 0, 1):
                assert not panel.masked[day0 + row.shifts + offset].any()


def test_a_study_without_doses_says_so(quiet: Setting) -> None:
    spec, market, panel, made = quiet
    plain = replace(spec, firms=tuple(replace(f, named_event="") for f in spec.firms))
    rows = exposure_rows(plain, market, panel, made)
    assert rows[0].reason == "no firm is named with dollars at any event that can be tested"
    assert exposure_versions(plain, market, panel, made) == ()
    assert "no firm is named" in str(exposure_table(rows)["As evidence"].iloc[0])
    assert plot_exposure(rows[0]).alt
    empty = dose_response(plain, market, panel, made)
    assert "no firm is named" in plot_dose_response(empty, rows[0]).alt


def test_inputs_are_not_changed(quiet: Setting) -> None:
    spec, market, panel, made = quiet
    before, masked = market.returns.copy(), panel.masked.copy()
    exposure_rows(spec, market, panel, made)
    dose_response(spec, market, panel, made)
    pd.testing.assert_frame_equal(market.returns, before)
    np.testing.assert_array_equal(panel.masked, masked)


# --- averages and single firms ---------------------------------------------------------------


def test_the_bundled_market_says_what_it_cannot_show_and_shows_the_rest(bundled: Setting) -> None:
    rows = exposure_rows(*bundled)
    assert all("needs single firms" in row.reason for row in rows[:4])
    assert all(math.isnan(row.slope) for row in rows)
    assert 0 < rows[0].implied["low"] < rows[0].implied["base"] < rows[0].implied["high"]
    assert rows[0].exposed >= 3
    picture = plot_exposure(rows[0])
    assert "needs single firms" in picture.alt
    assert "the thesis implies" in picture.alt
    assert exposure_versions(*bundled) == ()
    assert dose_response(*bundled).empty
    doses = firm_doses(bundled[0], bundled[1])
    pd.testing.assert_frame_equal(doses, firm_doses(bundled[0]))


def test_on_single_firms_every_number_is_finite_and_says_what_carries_it(single: Setting) -> None:
    rows = exposure_rows(*single)
    for row in rows[:4]:
        assert len(row.law) >= 250
        for name, value in row.numbers().items():
            assert not isinstance(value, float) or math.isfinite(value), name
        assert row.events == ("E17", "E43")
        assert "E18" in row.remark
    assert rows[0].raw is not None
    assert rows[0].raw.df == len(rows[0].law) - 1
    shown = plot_exposure(rows[0], public=False)
    assert f"{100 * rows[0].slope:.1f}" in shown.alt
    assert len(exposure_versions(*single)) == 3 * 4 * 2


def test_the_public_record_holds_no_single_firm(single: Setting, tmp_path: Path) -> None:
    spec, market, panel, made = single
    rows = exposure_rows(spec, market, panel, made)
    path = record(tmp_path, "3_exposure", spec, market, {"rows": [row.numbers() for row in rows]})
    assert sorted(item.name for item in path.parent.iterdir()) == [path.name]
    numbers = json.loads(path.read_text("utf-8"))["numbers"]
    text = json.dumps(numbers) + exposure_table(rows).to_csv() + plot_exposure(rows[0]).alt
    words = set(text.replace('"', " ").replace(",", " ").replace(":", " ").split())
    # The firm that carries the slope is named, as its dose is; of no other is anything said.
    named = {row.rests_on for row in rows if row.rests_on}
    assert named == {rows[0].rests_on} and rows[0].headline == f"rests on one firm: {named.pop()}"
    tickers = {firm.ticker for firm in spec.firms if len(firm.ticker) > 1}
    assert words & tickers == {rows[0].rests_on}
    firms = dose_response(spec, market, panel, made)
    cars = {f"{abs(x):.5f}" for x in firms.loc[firms["dose"] > 0, "car_less_sector"]}
    slopes = {f"{abs(row.slope):.5f}" for row in rows if not math.isnan(row.slope)}
    assert not cars & slopes
    # A slope that one firm carries is not shown, nor what would give it back with the MDE.
    assert rows[0].top_share > 0.5
    hidden = {"slope", "error", "low", "high", "raw_t", "raw_p_t", "guarded_t", "guarded_p_t"}
    assert all(numbers["rows"][0][name] is None for name in hidden)
    assert exposure_table(rows)["Cents per dollar"].iloc[0] == "withheld"
    assert exposure_table(rows, public=False)["Cents per dollar"].iloc[0] != "withheld"
    assert f"{100 * rows[0].slope:.1f}" not in plot_exposure(rows[0]).alt
    # Every public slope rests on one set of exposed firms, so that no difference of two of them
    # is about one or two firms.
    assert {row.without for row in rows} == {()}
    assert {row.blackout for row in rows} == {True}
    assert {row.events for row in rows} == {naming_events(spec, panel)}
    assert {row.exposed for row in rows if not row.reason} == {rows[0].exposed}
    assert rows[0].exposed >= 3


def test_doses_use_the_value_of_the_day_before_the_news(single: Setting) -> None:
    spec, market, _, _ = single
    values = values_before(spec, market)
    firm = next(f for f in spec.firms if f.ticker == "GEV")
    days = market.dates
    span = (days > pd.Timestamp("2025-07-22")) & (days <= pd.Timestamp("2026-07-31"))
    growth = float(np.prod(1 + market.returns.loc[span, "GEV"].to_numpy()))
    assert firm.market_value_usd_bn is not None
    assert values["GEV"] == pytest.approx(firm.market_value_usd_bn / growth)
    doses = firm_doses(spec, market).set_index("ticker")["dose"]
    assert doses["GEV"] == pytest.approx((firm.dose_usd_bn or 0) / values["GEV"])
    assert math.isnan(doses["SMR"])


def test_a_record_knows_when_one_firm_carries_it() -> None:
    row = Exposure(("N1",), "ols", True, True, top_share=0.9, same_session=("N3",))
    assert row.remark == ("one firm carries 90% of the slope; other news in the same session: N3")
    assert replace(row, top_share=0.3, same_session=()).remark == ""


def test_a_sector_slope_that_would_give_other_sectors_firms_away_is_not_shown(
    quiet: Setting,
) -> None:
    spec, market, panel, made = quiet
    extra = {"F04": 12.0, "F05": 6.0}  # solar has five of its own then, rail two
    firms = tuple(
        replace(firm, named_event="N1", dose_usd_bn=extra[firm.ticker])
        if firm.ticker in extra
        else firm
        for firm in spec.firms
    )
    more = replace(spec, firms=firms)
    assert not exposure_law(more, market, panel, made, sector="solar").reason
    shown = {row.sector: row for row in exposure_rows(more, market, panel, made)}
    assert "would give" in shown["solar"].reason
    assert math.isnan(shown["solar"].slope)
    assert not len(shown["solar"].law)


def test_every_cell_that_shows_single_firms_stays_local() -> None:
    path = find_root(Path(__file__)) / "notebooks" / "3_exposure.ipynb"
    cells = json.loads(path.read_text("utf-8"))["cells"]
    telling = ("exposure_versions", "dose_response", "firm_doses(spec, source)")
    found = ["".join(c["source"]) for c in cells if "local" in c["metadata"].get("tags", [])]
    open_ = ["".join(c["source"]) for c in cells if "local" not in c["metadata"].get("tags", [])]
    for word in telling:
        assert any(word in source for source in found)
        assert not any(word in source for source in open_)

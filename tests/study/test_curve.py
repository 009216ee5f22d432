"""The specification curve: the rules' own rows, one row by hand, and what all of them see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from tests.simulated_firms import binomial_bounds
from usjp_research.engine.matched import matched_forecast
from usjp_research.engine.rolling import Forecast
from usjp_research.market.donors import Donors, load_donors
from usjp_research.market.factors import Factors
from usjp_research.market.load import load_market
from usjp_research.market.openings import OVERNIGHT, SESSION
from usjp_research.market.record import BENCHMARK, Market
from usjp_research.market.simulate import simulated_market
from usjp_research.report.figures import plot_curve
from usjp_research.report.tables import table as laid_out
from usjp_research.spec.records import Spec
from usjp_research.study.answer import Study, family_legs
from usjp_research.study.capped import capped_name, valued_firms
from usjp_research.study.counterfactual import CONVEX, counterfactuals
from usjp_research.study.curve import CHOICES, CONTROLS, MARKET, SINGLE, Curve, specification_curve
from usjp_research.study.events import in_session
from usjp_research.study.legs import event_legs
from usjp_research.study.sample import Sample, sample
from usjp_research.study.second import calendar_of

Floats = npt.NDArray[np.float64]
SECTOR = "mining_metals"
PLANTED = 0.08
SHORT = "2023-01-03"  # so late that the placebo calendars are as few as the rule allows
NUMBERS = ["effect", "low", "high", "p"]
MARGINAL = ["effect", "marginal_low", "marginal_high", "p"]
RULE = {
    **{"model": MARKET, "window": "-1 to +1", "weights": "equal", "events": "all primary"},
    **{"blackout": "with", "guard": "on"},
}


@pytest.fixture(scope="module")
def public(bundled: Study) -> Curve:
    return specification_curve(bundled.data)


@pytest.fixture(scope="module")
def firms(spec: Spec, firm_prices: Path) -> Sample:
    """Single firms, whose nights hold a third of every day."""
    market = load_market(spec, f"file:{firm_prices / 'prices.parquet'}")
    night = {OVERNIGHT: market.returns / 3, SESSION: market.returns * 2 / 3}
    return sample(spec, replace(market, openings=night))


@pytest.fixture(scope="module")
def local(firms: Sample) -> Curve:
    draw = np.random.default_rng(2)
    names = ["mkt_rf", "smb3", "smb5", "hml", "rmw", "cma", "mom", "rf"]
    table = draw.normal(0, 0.005, (len(firms.market.dates), len(names)))
    table[:, 0] = firms.portfolios.benchmark
    factors = Factors(pd.DataFrame(table, index=firms.market.dates, columns=names), "drawn")
    return specification_curve(firms, factors=factors)


def _outsiders(market: Market, count: int = 20) -> Donors:
    """Draw donors that follow the market with betas around one."""
    draw, m = np.random.default_rng(4), market.returns[BENCHMARK].to_numpy()
    values = np.outer(m, draw.uniform(0.5, 1.5, count)) + draw.normal(0, 0.008, (len(m), count))
    names = [f"D{k:02d}" for k in range(count)]
    return Donors(pd.DataFrame(values, index=market.dates, columns=names), "drawn")


def _row(found: Curve, sector: str, **choices: str) -> pd.Series[float]:
    asked = {**RULE, **choices, "sector": sector}
    same = (found.rows[list(asked)] == pd.Series(asked)).all(axis=1)
    (row,) = np.flatnonzero(same)
    return found.rows.iloc[row]


# --- what is known elsewhere -------------------------------------------------------------------


def test_the_rows_marked_as_rules_are_the_rows_of_the_study(bundled: Study, public: Curve) -> None:
    assert bundled.second is not None
    for rule, rows in (("rule 1", bundled.first), ("rule 2", bundled.second.rows)):
        marked = public.rows[public.rows["rule"] == rule].set_index("sector")
        assert [*marked.index] == [row.name for row in rows]
        known = [[getattr(row, name) for name in MARGINAL] for row in rows]
        np.testing.assert_allclose(marked[NUMBERS].to_numpy(float), known, rtol=0, atol=1e-12)


def test_rows_that_the_study_computes_elsewhere_are_the_same(bundled: Study, public: Curve) -> None:
    for leak in bundled.leaks:
        if len(leak.events) > len(event_legs(bundled.data, leak.name)):
            row = _row(public, leak.name, events="leaks in")
            assert row["effect"] == pytest.approx(leak.effect, abs=1e-12)
            assert row["low"] == pytest.approx(leak.marginal_low, abs=1e-12)
    titles = {
        "without blackout": {"blackout": "without"},
        "forecast error only": {"guard": "off"},
        "unsigned, all primary events": {"events": "unsigned"},
    }
    for title, choices in titles.items():
        known = bundled.variants[bundled.variants["version"] == title].set_index("sector")
        for sector in (SECTOR, "pharma_biotech"):
            row, own = _row(public, sector, **choices), known.loc[sector]
            for name, other in zip(NUMBERS, MARGINAL, strict=True):
                assert row[name] == pytest.approx(own[other], abs=1e-12), (title, sector)
    trades = bundled.first_trade
    nights = trades[(trades["part"] == OVERNIGHT) & ~trades["sector"].str.contains(":")]
    assert len(nights) == 6
    for sector, effect, p in zip(
        *(nights[name] for name in ("sector", "effect", "p")), strict=True
    ):
        row = _row(public, sector, window="first trade", weights="capped")
        assert row["effect"] == pytest.approx(effect, abs=1e-12)
        assert row["p"] == pytest.approx(p, abs=1e-12)


def test_synthetic_control_is_the_row_among_the_counterfactuals_once_for_each_weighting(
    bundled: Study, public: Curve
) -> None:
    data, sector = bundled.data, "pharma_biotech"
    donors = load_donors(data.spec, data.market)
    found = specification_curve(data, sector, donors=donors)
    convex = found.rows["model"] == CONVEX
    others = found.rows[~convex].reset_index(drop=True)
    known = public.rows[public.rows["sector"] == sector].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, known, rtol=0, atol=1e-12)
    assert found.moves.equals(public.moves[public.moves["sector"] == sector].reset_index(drop=True))
    rows = counterfactuals(data, sector, donors=donors).rows.set_index("model")
    equal, capped = (_row(found, sector, model=CONVEX, weights=w) for w in ("equal", "capped"))
    assert convex.sum() == 2
    for name in (*NUMBERS, "shifts", "sign"):
        assert equal[name] == pytest.approx(rows.loc[CONVEX, name], abs=1e-12), name
    legs = [
        replace(leg, series=capped_name(data.portfolios.slots[leg.event, sector].session, sector))
        for leg in event_legs(data, sector)
    ]
    values, market = donors.returns.to_numpy(), data.portfolios.benchmark

    def expected(returns: Floats, masked: Any, **plan: Any) -> Forecast:
        return matched_forecast(returns, values, market, masked, **plan)[0]

    law = data.law({sector: legs}, calendar=calendar_of(data), forecast=expected)
    assert capped["effect"] == pytest.approx(law.effect[0], abs=1e-12)
    assert capped["p"] == pytest.approx(law.p[0], abs=1e-12)
    assert capped["shifts"] == len(law)


# --- by hand -----------------------------------------------------------------------------------


def _capped(values: dict[str, float], cap: float) -> dict[str, float]:
    """Cap weights one firm at a time, the excess spread in proportion."""
    limit, held = max(cap, 1.5 / len(values)), set[str]()
    while True:
        free = sum(v for t, v in values.items() if t not in held)
        left = 1 - limit * len(held)
        weights = {t: limit if t in held else left * v / free for t, v in values.items()}
        over = [t for t, w in weights.items() if w > limit + 1e-12]
        if not over:
            return weights
        held |= {*over}


def test_a_row_that_no_rule_has_equals_one_by_hand(firms: Sample, local: Curve) -> None:
    spec, market = firms.spec, firms.market.returns[BENCHMARK].to_numpy()
    second = spec.rule.second
    assert second is not None
    values = valued_firms(spec, firms.market)
    out = second.without[SECTOR]
    tickers = [f.ticker for f in spec.members(SECTOR) if f.basket not in out and f.ticker in values]
    weights = pd.Series(_capped({t: values[t] for t in tickers}, second.cap))
    returns = firms.market.returns[tickers]
    held = returns.notna().mul(weights, axis=1).sum(axis=1)
    series = (returns.mul(weights, axis=1).sum(axis=1) / held).where(held >= 0.5).to_numpy()
    controls = firms.controls[list(second.controls)].to_numpy()
    x = np.column_stack([np.ones(len(series)), market, controls])
    known = np.isfinite(x).all(axis=1) & np.isfinite(series)
    calendar = {leg.day0 + k for leg in calendar_of(firms) for k in (-1, 0, 1)}
    legs = [leg for leg in event_legs(firms, SECTOR) if leg.event != "E08"]
    shifts = firms.law(family_legs(firms)).shifts
    found = []
    for shift in (0, *shifts):
        own = firms.panel.masked.copy()
        moved = np.array(sorted(calendar)) + shift
        own[moved[(moved >= 0) & (moved < len(own))]] = True
        days = [np.arange(leg.day0 - 270, leg.day0 - 20) + shift for leg in calendar_of(firms)]
        if min((np.isfinite(market[span]) & ~own[span]).sum() for span in days) < 200:
            found.append([np.nan, np.nan])  # too few days before some sector's event
            continue
        pairs = [_forecast(series, x, known & ~own, leg.day0 + shift) for leg in legs]
        found.append([sum(p[0] for p in pairs), sum(p[1] for p in pairs)])
    effect, variance = np.array(found).T
    statistic = effect / np.sqrt(variance)
    choices = {"window": "0 to +1", "weights": "capped", "events": "without E08"}
    choices |= {"model": CONTROLS, "blackout": "without", "guard": "off"}
    row = _row(local, SECTOR, **choices)
    null = statistic[1:][np.isfinite(statistic[1:])]
    far, away = np.abs(null - null.mean()), abs(statistic[0] - null.mean())
    reach = np.sort(far)[-int(0.1 * (len(null) + 1) + 1e-9)] * np.sqrt(variance[0])
    middle = effect[0] - null.mean() * np.sqrt(variance[0])
    assert row["shifts"] == len(null)
    assert row["effect"] == pytest.approx(effect[0], abs=1e-10)
    assert row["low"] == pytest.approx(middle - reach, abs=1e-9)
    assert row["high"] == pytest.approx(middle + reach, abs=1e-9)
    assert row["p"] == pytest.approx((1 + (far >= away).sum()) / (1 + len(null)), abs=1e-12)


def _forecast(
    y: npt.NDArray[np.float64],
    x: npt.NDArray[np.float64],
    usable: npt.NDArray[np.bool_],
    day0: int,
) -> tuple[float, float]:
    """Abnormal return of days 0 and 1, and the variance of its forecast error."""
    span = np.arange(day0 - 21 - 249, day0 - 21 + 1)
    span = span[usable[span]]
    b = np.linalg.lstsq(x[span], y[span], rcond=None)[0]
    s2 = ((y[span] - x[span] @ b) ** 2).sum() / (len(span) - x.shape[1])
    ahead = x[day0 : day0 + 2].sum(axis=0)
    spread = ahead @ np.linalg.inv(x[span].T @ x[span]) @ ahead
    return float(y[day0 : day0 + 2].sum() - ahead @ b), float(s2 * (2 + spread))


# --- what all of them say ----------------------------------------------------------------------


def test_there_are_five_hundred_for_every_sector_and_none_twice(
    firms: Sample, local: Curve
) -> None:
    assert [*local.joint["sector"]] == [*firms.spec.sectors]
    assert (local.joint["specifications"] >= 500).all()
    assert not local.rows.duplicated(["sector", *CHOICES]).any()
    assert {*local.rows["rule"]} == {"", "rule 1", "rule 2"}
    assert (local.rows.groupby(["sector", "rule"]).size().drop("", level=1) == 1).all()
    assert not any(item.reason == SINGLE for item in local.dropped)
    primary = [e.id for e in firms.spec.with_role("primary") if e.signs.get(SECTOR)]
    mine = local.rows[local.rows["sector"] == SECTOR]
    assert {f"without {id}" for id in primary} < {*mine["events"]}
    night = mine[mine["window"] == "first trade"]
    inside = [e.id for e in firms.spec.with_role("primary") if in_session(e.instant)]
    assert not {*night["events"]} & {f"without {id}" for id in inside}
    assert {*zip(night["weights"], night["blackout"], strict=True)} == {("capped", "with")}


def test_the_bundle_lists_what_needs_single_firms(public: Curve) -> None:
    needs = {item.name for item in public.dropped if item.reason == SINGLE}
    assert f"{SECTOR}/capped, without blackout, primary events" in needs
    assert f"{SECTOR}/capped, with blackout, leaks in" in needs
    assert not any("/equal" in name for name in needs if "first trade" not in name)
    shown = public.rows[public.rows["weights"] == "capped"]
    assert {*shown["blackout"]} == {"with"}
    assert "leaks in" not in {*shown["events"]}


def test_a_planted_effect_is_seen_by_all_of_them(spec: Spec) -> None:
    quiet = sample(spec, simulated_market(spec, seed=3, first=SHORT))
    legs = event_legs(quiet, SECTOR)
    effects = {(SECTOR, quiet.market.dates[leg.day0]): leg.sign * PLANTED for leg in legs}
    market = simulated_market(spec, seed=3, effects=effects, first=SHORT)
    found = specification_curve(sample(spec, market), SECTOR, donors=_outsiders(market))
    assert (found.rows["low"] > 0).all()
    assert (found.rows["model"] == CONVEX).sum() == 2
    (joint,) = found.joint.to_dict("records")
    assert joint["outside"] == 1
    assert joint["p_median"] == joint["p_outside"] == 1 / (1 + joint["shifts"])
    whole = found.rows[found.rows["events"] == "all primary"]
    assert whole["effect"].mean() == pytest.approx(len(legs) * PLANTED, rel=0.2)
    assert len(found.rows) > 200  # without controls: these returns are drawn
    lost = {item.name: item.reason for item in found.dropped}
    assert "the returns are simulated" in lost[CONTROLS]


def test_a_synthetic_control_made_of_the_sector_itself_is_left_out_with_the_reason(
    spec: Spec,
) -> None:
    market = simulated_market(spec, seed=3, first=SHORT)
    data, outside = sample(spec, market), _outsiders(market, 3)
    own = data.portfolios.returns[f"sector/{SECTOR}"]
    donors = replace(outside, returns=outside.returns.assign(FUND=own), inside={"FUND": SECTOR})
    found = specification_curve(data, SECTOR, donors=donors)
    assert CONVEX not in {*found.rows["model"]}
    lost = {item.name: item.reason for item in found.dropped}
    assert "FUND is the sector itself" in lost[f"{SECTOR}/{CONVEX}, equal"]


def test_the_choice_that_moves_most_is_found_and_said(public: Curve) -> None:
    for sector, rows in public.rows.groupby("sector"):
        moves = public.moves[public.moves["sector"] == sector]
        assert [*moves["spread"]] == sorted(moves["spread"], reverse=True)
        assert moves.set_index("choice").loc["guard", "spread"] == pytest.approx(0, abs=1e-12)
        first = moves.iloc[0]
        means = rows.groupby(str(first["choice"]))["effect"].mean()
        assert means[first["most"]] > means[first["least"]]
    words = laid_out("curve", public)["What moves it most"].iloc[0]
    assert str(public.moves.iloc[0]["choice"]) in words


def test_the_figure_tells_both_rules_and_the_whole_curve(public: Curve) -> None:
    picture = plot_curve(public, SECTOR)
    assert "rule 1" in picture.alt
    assert "rule 2" in picture.alt
    assert "joint p" in picture.alt
    assert picture.narrow is not None
    assert len(picture.svg()) < 250_000


def test_a_study_with_one_rule_has_a_curve_and_one_without_calendars_says_why(spec: Spec) -> None:
    rule = spec.rule.model_copy(update={"second": None})
    alone = replace(spec, rule=rule)
    found = specification_curve(sample(alone, simulated_market(alone, seed=1, first=SHORT)), SECTOR)
    assert {*found.rows["weights"]} == {"equal"}
    assert {*found.rows["rule"]} == {"", "rule 1"}
    short = simulated_market(spec, seed=1, first="2025-01-02")
    empty = specification_curve(sample(spec, short), SECTOR)
    assert empty.rows.empty
    assert plot_curve(empty).alt == empty.dropped[0].reason
    assert laid_out("curve", empty).empty


@pytest.mark.soak
def test_joint_p_values_keep_their_level_where_nothing_is_planted(spec: Spec) -> None:
    draws = 60
    found = [
        specification_curve(sample(spec, simulated_market(spec, seed=500 + k)), SECTOR).joint.iloc[
            0
        ]
        for k in range(draws)
    ]
    for name in ("p_median", "p_outside"):
        values = np.array([row[name] for row in found])
        low, high = binomial_bounds(draws, 0.5, 0.001)
        assert low <= (values <= 0.5).sum() <= high, name
        assert (values <= 0.1).sum() <= binomial_bounds(draws, 0.1, 0.001)[1], name

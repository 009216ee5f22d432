"""The second rule: its rows by statsmodels, its weights by brute force, and no leg lost unseen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulated_firms import REAL
from tests.study import by_hand
from tests.study.by_hand import SECTORS, SESSIONS, Term, small_market, small_sample, small_spec
from usjp_research.market.simulate import simulated_market
from usjp_research.spec.records import Spec
from usjp_research.study.answer import Study, _headline, family_legs
from usjp_research.study.capped import capped_weights
from usjp_research.study.portfolios import averages_of
from usjp_research.study.sample import Sample, sample
from usjp_research.study.second import Second, second_legs, second_rows
from usjp_research.study.verdict import NO_VERDICT

NUMBERS = ["effect", "error", "statistic", "center", "low", "high", "mde"]


def _found(data: Sample) -> Second:
    found = second_rows(data, data.law(family_legs(data)).shifts)
    assert found is not None
    return found


def _lost(found: Second) -> dict[str, str]:
    return {item.name: item.reason for item in found.dropped}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return small_sample(small_spec(tmp_path_factory.mktemp("small")), *small_market())


# --- rows --------------------------------------------------------------------------------------


def _by_hand(data: Sample, found: Second) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Recompute all rows from the slots' series: placement, masks, shifts and fits included."""
    spec, days, second = data.spec, data.market.dates, data.spec.rule.second
    assert second is not None
    taken, own = by_hand.masks(spec, days)
    groups: dict[str, list[Term]] = {sector: [] for sector in spec.sectors}
    for event in spec.with_role("primary"):
        day0, inside = by_hand.placed(event, days)
        for sector, sign in event.signs.items():
            if sign:
                series = f"capped/{days[day0].date()}/{sector}"
                groups[sector].append(Term(series, day0, (0, int(inside)), sign))
    outside = data.controls[[*second.controls, "outside"]]
    slots = data.portfolios.returns.filter(like="capped/")
    frame = slots.join(outside, validate="1:1").assign(us_market=data.portfolios.benchmark)
    assert frame.notna().all(axis=None)  # the sums below know of no hole
    yard = {sector: second.yardstick.get(sector, "us_market") for sector in groups}
    against = {sector: [yard[sector], *second.controls] for sector in groups}
    ends = sorted({(t.day0 + t.window[0], 0) for terms in groups.values() for t in terms})
    both = [*ends, *((day - 1, 0) for day, _ in ends)]  # rule 1 admits, rule 2 must be complete
    shifts = by_hand.moves(own, taken, both)
    assert found.law.shifts.tolist() == shifts
    law = by_hand.sums(groups, frame, against, taken, own, shifts)
    rows = by_hand.intervals(law, spec.rule.alpha, spec.rule.power)
    rows["retained"] = [
        1 - second.benchmark_share.get(s, 0.0) * law.loading[0, k] * (yard[s] == "us_market")
        for k, s in enumerate(groups)
    ]
    table = pd.DataFrame([[getattr(r, n) for n in NUMBERS] for r in found.rows], columns=NUMBERS)
    table["retained"] = [found.retained[row.name] for row in found.rows]
    assert [row.name for row in found.rows] == list(groups)
    return table, rows[table.columns]


def test_the_rows_are_those_of_statsmodels_on_the_slots_series(bundled: Study) -> None:
    got, want = _by_hand(bundled.data, _found(bundled.data))
    pd.testing.assert_frame_equal(got, want, rtol=0, atol=1e-8)


def test_so_are_those_of_a_study_of_single_firms_with_news_in_a_session(small: Sample) -> None:
    got, want = _by_hand(small, _found(small))
    pd.testing.assert_frame_equal(got, want, rtol=0, atol=1e-8)
    windows = {leg.event: leg.window for leg in second_legs(small)[0]["solar"]}
    assert windows == {"N1": (0, 0), "N2": (0, 0), "N3": (0, 1)}


@pytest.fixture(scope="module")
def real(spec: Spec) -> Sample:
    if not (REAL / "prices_core.parquet").exists():
        pytest.skip("an extra: the real prices may not be shipped and are not here")
    return sample(spec, f"file:{REAL / 'prices_core.parquet'}")


@pytest.mark.soak
def test_so_are_those_of_the_real_firms(real: Sample) -> None:
    got, want = _by_hand(real, _found(real))
    pd.testing.assert_frame_equal(got, want, rtol=0, atol=1e-8)


@pytest.mark.slow
def test_the_weights_of_the_real_firms_are_those_of_the_price_file(
    spec: Spec, real: Sample
) -> None:
    long = pd.read_parquet(REAL / "prices_core.parquet")
    prices = long.pivot(index="date", columns="ticker", values="adj_close")
    before = prices.loc["2025-07-22"] / prices.loc["2026-07-31"]
    values = before * pd.Series({f.ticker: f.market_value_usd_bn for f in spec.firms}, dtype=float)
    returns = prices.pct_change(fill_method=None).loc[real.market.dates]
    for name in map(str, real.portfolios.returns.filter(like="capped/")):
        own = values[list(real.portfolios.members[name])]
        assert own.notna().all() and len(own) >= 8
        weights = pd.Series(by_hand.water(own.to_numpy(), max(0.1, 1.5 / len(own))), own.index)
        there = returns[own.index].notna() * weights
        mean = (returns[own.index] * weights).sum(axis=1) / there.sum(axis=1)
        assert (there.sum(axis=1) >= 0.5).all()
        np.testing.assert_allclose(real.portfolios.returns[name], mean, atol=1e-7)
        assert real.portfolios.weighing[name].effective == pytest.approx(1 / (weights**2).sum())


@pytest.mark.parametrize("sector", SECTORS)
def test_the_retained_share_is_what_is_left_of_a_shock_of_the_whole_sector(
    small: Sample, sector: str
) -> None:
    shock, market = 0.03, small.market
    second = small.spec.rule.second
    share = second.benchmark_share.get(sector, 0.0) if second else 0.0
    move = pd.Series(0.0, market.dates)
    for event in small.spec.with_role("primary"):
        move[SESSIONS[event.id]] = event.signs[sector] * shock
    frame = market.returns.assign(us_market=market.returns["us_market"] + share * move)
    frame[SECTORS[sector]] = frame[SECTORS[sector]].add(move, axis=0)
    hit = small_sample(small.spec, replace(market, returns=frame), small.controls)
    before, after = _found(small), _found(hit)
    at = before.law.groups.index(sector)
    left = (after.law.effect - before.law.effect)[at] / (shock * len(SESSIONS))
    assert left == pytest.approx(before.retained[sector], abs=1e-10)
    assert after.retained[sector] == pytest.approx(before.retained[sector], abs=1e-10)
    assert (before.retained[sector] < 1) == (share > 0)
    np.testing.assert_allclose(after.law.null_effect, before.law.null_effect, atol=1e-10)


# --- weights -----------------------------------------------------------------------------------

VALUE = st.floats(1e-3, 1e4)
CAP = st.sampled_from([0.05, 0.10, 0.25, 1.0])


@given(st.lists(VALUE, min_size=3, max_size=40), CAP)
def test_capped_weights_are_the_one_cut_scaling_that_sums_to_one(
    sizes: list[float], cap: float
) -> None:
    values, limit = np.array(sizes), max(cap, 1.5 / len(sizes))
    weights = capped_weights(values, cap)
    np.testing.assert_allclose(weights, by_hand.water(values, limit), rtol=1e-6, atol=1e-9)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert weights.max() <= limit * (1 + 1e-9) and weights.min() > 0
    below = weights < limit * (1 - 1e-9)
    scale = (weights / values)[below]
    assert scale == pytest.approx(scale[:1].repeat(len(scale)), rel=1e-9)
    order = np.argsort(values, kind="stable")
    assert (np.diff(weights[order]) >= -1e-12).all()


def test_a_day_with_under_half_the_weight_or_under_three_firms_is_missing() -> None:
    draw = np.random.default_rng(4)
    own = dict(zip("ABCDE", [0.4, 0.2, 0.2, 0.15, 0.05], strict=True))
    frame = pd.DataFrame(draw.normal(0, 0.01, (300, 6)), columns=list("ABCDEF"))
    frame = frame.mask(draw.random(frame.shape) < 0.35)
    got = averages_of(frame, {"x": own})["x"]
    seen = {"little": 0, "few": 0, "whole": 0}
    for day, row in enumerate(frame.to_dict("records")):
        there = {t: w for t, w in own.items() if np.isfinite(row[t])}
        held = sum(there.values())
        little, few = held < 0.5, len(there) < 3
        seen["little" if little and not few else "few" if few else "whole"] += 1
        if little or few:
            assert np.isnan(got[day])
        else:
            want = sum(w * row[t] for t, w in there.items()) / held
            assert got[day] == pytest.approx(want, abs=1e-14)
    assert min(seen.values()) > 10


def test_the_same_weights_hold_at_every_day_of_a_slot(small: Sample) -> None:
    own = dict(zip(SECTORS["solar"], capped_weights(np.array(by_hand.VALUES), 0.1), strict=True))
    for session in SESSIONS.values():
        want = (small.market.returns[list(own)] * pd.Series(own)).sum(axis=1)
        got = small.portfolios.returns[f"capped/{session}/solar"]
        np.testing.assert_allclose(got, want, atol=1e-15)


# --- a leg that cannot be computed ----------------------------------------------------------------


def _without(data: Sample, series: str, day: str) -> Sample:
    frame = data.portfolios.returns.copy()
    frame.loc[day, series] = np.nan
    return replace(data, portfolios=replace(data.portfolios, returns=frame))


def _same_row(found: Second, before: Second, sector: str) -> None:
    """The other sector keeps its sum; only the family that it is judged in is another."""
    assert [row.name for row in found.rows] == [sector]
    (row,), old = found.rows, next(row for row in before.rows if row.name == sector)
    assert (row.effect, row.error, row.events) == (old.effect, old.error, old.events)


@pytest.mark.parametrize("missing", [12, 5])
def test_a_slot_with_under_eight_valued_firms_stops_its_sector(
    tmp_path: Path, small: Sample, missing: int
) -> None:
    spec = small_spec(tmp_path, values=dict.fromkeys(SECTORS["solar"][:missing]))
    data = small_sample(spec, *small_market())
    found = _found(data)
    _same_row(found, _found(small), "rail")
    assert _lost(found)["solar"] == "N1: too few of its firms have a market value"
    told = {(item.name, item.reason) for item in data.portfolios.dropped}
    why = f"{12 - missing} firms with a market value, rule 2 asks for 8"
    assert ("N1/solar", why) in told
    listed = {name for name, reason in told if "no weight under rule 2" in reason}
    assert listed == set(SECTORS["solar"][:missing])


@pytest.mark.parametrize("event", SESSIONS)
def test_a_weight_that_is_missing_at_one_event_stops_the_whole_sum(
    small: Sample, event: str
) -> None:
    name = f"capped/{SESSIONS[event]}/solar"
    made = replace(small.portfolios, returns=small.portfolios.returns.drop(columns=name))
    found = _found(replace(small, portfolios=made))
    _same_row(found, _found(small), "rail")
    assert _lost(found)["solar"].startswith(f"{event}: ")


@pytest.mark.parametrize(("event", "day"), [*SESSIONS.items(), ("N3", "2024-05-15")])
def test_a_return_that_is_missing_in_an_event_window_stops_the_whole_sum(
    small: Sample, event: str, day: str
) -> None:
    found = _found(_without(small, f"capped/{SESSIONS[event]}/solar", day))
    _same_row(found, _found(small), "rail")
    assert "a real event window" in _lost(found)["solar"]


def test_a_return_that_is_missing_elsewhere_costs_the_shifts_that_need_it(small: Sample) -> None:
    before = _found(small)
    found = _found(_without(small, "capped/2024-03-05/solar", "2023-06-15"))
    assert _lost(found) == {}
    days = small.market.dates
    gap = days.searchsorted("2023-06-15") - days.searchsorted(SESSIONS["N1"])
    assert set(before.law.shifts) - set(found.law.shifts) == {gap}
    assert (found.law.null_error > 0).all()


def test_an_event_that_the_market_cannot_place_stops_the_sums_that_it_is_part_of(
    tmp_path: Path, small: Sample
) -> None:
    market, controls = small_market()
    frame = market.returns.copy()
    frame.loc[SESSIONS["N2"], "us_market"] = np.nan
    found = _found(small_sample(small.spec, replace(market, returns=frame), controls))
    assert found.rows == ()
    why = "N2: the benchmark has no return on 2024-04-09, in its window"
    assert _lost(found) == {"solar": why, "rail": why}


def test_a_sector_all_of_whose_days_are_disputed_says_by_which_event(tmp_path: Path) -> None:
    more = "".join(
        f"X{k},{at},America/New_York,primary,t,-,0\n" for k, at in enumerate(by_hand.NEWS.values())
    )
    found = _found(small_sample(small_spec(tmp_path, more=more), *small_market()))
    assert [row.name for row in found.rows] == ["rail"]
    assert "N1: its day 0 lies in the window of X0" in _lost(found)["solar"]


def test_a_sector_that_rule_2_cannot_judge_is_worth_what_its_tested_firms_are(
    bundled: Study,
) -> None:
    made, sector = bundled.data.portfolios, "mining_metals"
    less = made.returns.drop(columns=[*made.returns.filter(like=f"capped/2025-10-28/{sector}")])
    data = replace(bundled.data, portfolios=replace(made, returns=less))
    second = second_rows(data, bundled.family.shifts)
    assert second is not None
    (row,) = (row for row in _headline(data, second, bundled.first) if row.name == sector)
    (before,) = (row for row in bundled.verdicts if row.name == sector)
    assert (row.headline, row.implied) == (NO_VERDICT, before.implied)


# --- bad input ---------------------------------------------------------------------------------


def test_without_controls_every_row_says_that_returns_are_simulated(spec: Spec) -> None:
    data = sample(spec, simulated_market(spec, seed=3))
    found = _found(data)
    assert found.rows == ()
    assert set(_lost(found)) == set(spec.sectors)
    assert all("the returns are simulated" in why for why in _lost(found).values())


def test_a_control_that_the_bundle_lacks_is_named(tmp_path: Path) -> None:
    market, controls = small_market()
    data = small_sample(small_spec(tmp_path), market, controls.drop(columns="donor/b"))
    assert set(_lost(_found(data)).values()) == {"no control 'donor/b': it is not in the bundle"}


def test_without_a_thesis_firms_have_no_weight_and_averages_no_implied_value(
    tmp_path: Path, bundled: Study
) -> None:
    found = _found(small_sample(small_spec(tmp_path, thesis=""), *small_market()))
    assert found.rows == () and set(_lost(found)) == {"solar", "rail"}
    spec = replace(bundled.data.spec, thesis=None)
    averages = _found(replace(bundled.data, spec=spec))
    assert {row.headline for row in averages.rows} == {"no implied value"}

"""Events that share days: each day counts once, and for nobody where the signs differ."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import usjp_research as ur
from usjp_research.engine.placebo import Leg, own_days
from usjp_research.market.record import Dropped, Market
from usjp_research.study.answer import Study, run_study
from usjp_research.study.legs import event_legs, share_days, shared_days

Make = Callable[..., tuple[ur.Spec, Market]]
HEADER = "id,announced,zone,role,title,alpha,beta\n"
UNIVERSE = "ticker,sector\n" + "".join(
    f"{key[0].upper()}{k},{key}\n" for key in ("alpha", "beta") for k in range(6)
)
GOOD, BAD = "X1,2025-03-11 {} New_York,{},good,+,+", "X1b,2025-03-11 {} New_York,{},bad,-,+"
SECOND = "X2,2025-05-13 08:00 New_York,primary,second,+,+"


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def write(*rows: str) -> tuple[ur.Spec, Market]:
        (tmp_path / "universe.csv").write_text(UNIVERSE)
        (tmp_path / "study.yaml").write_text("least_firms: 3\n")
        text = "".join(f"{row.replace(' New_York', ',America/New_York')}\n" for row in rows)
        (tmp_path / "events.csv").write_text(HEADER + text)
        spec = ur.read_spec(tmp_path)
        return spec, ur.simulated_market(spec, seed=3, first="2023-06-01", last="2025-09-30")

    return write


def _legs(spec: ur.Spec, market: Market, sector: str, *roles: str) -> list[tuple[str, int, int]]:
    legs = event_legs(ur.sample(spec, market), sector, roles or ("primary",))
    return [(leg.event, *leg.window) for leg in legs]


def _numbers(study: Study) -> list[float]:
    rows = (*study.verdicts, *study.leaks, *study.campaign)
    table = study.timing.set_index(["check", "sector"]).sort_index()["effect"]
    return [*(x for row in rows for x in (row.effect, row.low, row.high, row.p)), *table]


@pytest.mark.parametrize("clock", [("07:00", "08:00"), ("08:00", "07:00")])
def test_events_of_opposite_sign_in_one_session_are_both_out_whatever_the_clock_says(
    make: Make, clock: tuple[str, str]
) -> None:
    first, then = clock
    spec, market = make(GOOD.format(first, "primary"), BAD.format(then, "primary"), SECOND)
    study = run_study(ur.sample(spec, market))
    alpha, beta = study.verdicts
    assert alpha.events == ("X2",)
    assert beta.events == ("X1" if first < then else "X1b", "X2")
    alone = run_study(ur.sample(*make(SECOND))).verdicts[0]
    assert alpha.effect == pytest.approx(alone.effect, abs=0.01)  # estimation masks X1's days
    said = {item.name: item.reason for item in study.dropped if "opposite" in item.reason}
    assert "X1b" in said["X1"] and "(alpha)" in said["X1"] and "X1" in said["X1b"]
    same = [item.reason for item in study.dropped if "adds no day of its own" in item.reason]
    assert any("(beta)" in reason for reason in same)


def test_the_clock_and_the_order_of_rows_change_no_number(make: Make) -> None:
    leak = "L1,2025-05-12 08:00 New_York,leak,leak,-,+"
    seen = []
    for early, late in (("07:00", "08:00"), ("08:00", "07:00")):
        rows = [GOOD.format(early, "primary"), BAD.format(late, "primary"), SECOND, leak]
        for order in list(itertools.permutations(rows))[::13]:
            seen.append(_numbers(run_study(ur.sample(*make(*order)))))
    for numbers in seen[1:]:
        np.testing.assert_array_equal(numbers, seen[0])


def test_a_leak_and_a_primary_event_of_opposite_sign_are_both_out_of_their_sum(make: Make) -> None:
    spec, market = make(GOOD.format("08:00", "primary"), BAD.format("08:00", "leak"), SECOND)
    assert _legs(spec, market, "alpha") == [("X1", -1, 1), ("X2", -1, 1)]
    assert _legs(spec, market, "alpha", "primary", "leak") == [("X2", -1, 1)]
    assert _legs(spec, market, "beta", "primary", "leak") == [("X1", -1, 1), ("X2", -1, 1)]
    study = run_study(ur.sample(spec, market))
    said = [(item.what, item.name) for item in study.dropped if "opposite" in item.reason]
    assert ("leak-inclusive rows", "X1") in said and ("leak-inclusive rows", "X1b") in said
    assert study.leaks[0].events == ("X2",)


def test_a_sector_all_of_whose_days_are_disputed_says_so(make: Make) -> None:
    spec, market = make(GOOD.format("08:00", "primary"), BAD.format("08:00", "primary"))
    row = run_study(ur.sample(spec, market)).verdicts[0]
    assert row.headline == "no verdict"
    assert "X1" in row.reason and "opposite" in row.reason


def test_a_study_all_of_whose_days_are_disputed_is_refused_with_the_events(make: Make) -> None:
    bad = BAD.replace("-,+", "-,-").format("08:00", "primary")
    with pytest.raises(ur.InputError, match=r"no primary event is left, X1: .* opposite"):
        run_study(ur.sample(*make(GOOD.format("08:00", "primary"), bad)))


def _leg(event: str, day0: int, sign: int) -> Leg:
    return Leg(event, "s", day0, (-1, 1), sign)


@pytest.mark.parametrize("gap", range(5))
def test_every_overlap_leaves_each_day_to_one_window_or_to_none(gap: int) -> None:
    for signs in itertools.product((1, -1), repeat=3):
        windows = [_leg(f"E{k}", 100 + k * gap, sign) for k, sign in enumerate(signs)]
        legs, reasons = share_days(windows)
        days = own_days(legs)
        assert len(days) == sum(leg.window[1] - leg.window[0] + 1 for leg in legs)
        for leg, other in itertools.product(windows, windows):
            if leg.sign != other.sign and abs(leg.day0 - other.day0) <= 2:
                assert leg.event in reasons and other.event in reasons
                assert not {*own_days([leg])} & {*own_days([other])} & {*days}
        assert {w.event for w in windows} == {leg.event for leg in legs} | set(reasons)
        assert own_days(share_days(windows[::-1])[0]) == days


def test_an_event_that_lost_day_0_to_the_other_sign_is_out_with_all_its_days() -> None:
    legs, reasons = share_days([_leg("A", 100, 1), _leg("B", 101, -1)])
    assert legs == ()
    assert "not in the sum" in reasons["A"] and "not in the sum" in reasons["B"]
    legs, reasons = share_days([_leg("A", 100, 1), _leg("B", 102, -1)])
    assert [(leg.event, leg.window) for leg in legs] == [("A", (-1, 0)), ("B", (0, 1))]
    assert "1 of its 3 days lies in the window of B" in reasons["A"]


def test_the_shipped_study_has_no_day_of_both_signs(spec: ur.Spec) -> None:
    data = ur.sample(spec, "bundled")
    for roles in (("primary",), ("primary", "leak")):
        assert not [item for item in shared_days(data, roles) if "opposite" in item.reason]


@pytest.mark.parametrize(
    ("announced", "reason"),
    [
        ("2025-06-14", ""),  # a Saturday: Monday's session
        ("2025-07-04", ""),  # a holiday
        ("2019-01-05", "the data start"),
        ("2030-01-05", "the data end"),
        ("2023-06-01", "reaches beyond the data"),
    ],
)
def test_an_event_of_which_only_the_day_is_known_is_placed_or_listed(
    make: Make, announced: str, reason: str
) -> None:
    spec, market = make(SECOND, f"D1,{announced} New_York,secondary,a day,+,+")
    panel = ur.event_panel(spec, market)
    said: Sequence[Dropped] = [item for item in panel.dropped if item.name == "D1"]
    if reason:
        assert reason in said[0].reason and panel.position("D1") is None
    else:
        place = panel.position("D1")
        assert place is not None and panel.new_york[place].weekday() < 5
        assert panel.new_york[place] > pd.Timestamp(announced).date()


def test_an_event_with_a_hole_of_the_market_in_its_window_is_left_out_with_the_day(
    make: Make,
) -> None:
    spec, market = make(GOOD.format("08:00", "primary"), SECOND)
    frame = market.returns.copy()
    frame.loc["2025-03-12", "us_market"] = np.nan
    study = run_study(ur.sample(spec, replace(market, returns=frame)))
    said = {item.name: item.reason for item in study.dropped if item.what == "event"}
    assert said["X1"] == "the benchmark has no return on 2025-03-12, in its window"
    assert {row.events for row in study.verdicts} == {("X2",)}

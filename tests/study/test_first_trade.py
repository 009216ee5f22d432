"""The first trade after the news: rows by statsmodels, who has no opening, what may be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.make_bundle import NIGHT, _formed, _safe, _Shown
from tests.study import by_hand
from tests.study.by_hand import (
    SECTORS,
    SESSIONS,
    VALUES,
    Term,
    small_market,
    small_sample,
    small_spec,
)
from usjp_research.market.openings import OVERNIGHT, SESSION
from usjp_research.market.record import Dropped, Market
from usjp_research.spec.records import Contrast
from usjp_research.study.answer import Study, family_legs
from usjp_research.study.capped import capped_weights
from usjp_research.study.first_trade import FIRST_TRADE, first_trade
from usjp_research.study.sample import Sample
from usjp_research.words import InputError

PARTS = {OVERNIGHT: ("N1", "N2"), SESSION: ("N3",)}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return small_sample(small_spec(tmp_path_factory.mktemp("small")), *small_market())


def _found(data: Sample) -> tuple[pd.DataFrame, dict[tuple[str, str], str]]:
    table, dropped = first_trade(data, data.law(family_legs(data)).shifts)
    assert list(table) == list(FIRST_TRADE)
    return table, {(item.what, item.name): item.reason for item in dropped}


def _less(part: str, event: str, *tickers: str) -> Market:
    """Draw the market without the openings of some firms at an event."""
    market, _ = small_market()
    table = market.openings[part].copy()
    table.loc[[pd.Timestamp(SESSIONS[event])], list(tickers)] = np.nan
    return replace(market, openings={**market.openings, part: table})


def _weighted(table: pd.DataFrame, sector: str, out: tuple[str, ...] = ()) -> pd.Series:
    own = {t: v for t, v in zip(SECTORS[sector], VALUES, strict=True) if t not in out}
    weights = capped_weights(np.array(list(own.values())), 0.1)
    return (table[list(own)] * weights).sum(axis=1)


# --- rows --------------------------------------------------------------------------------------


def _by_hand(data: Sample, part: str) -> pd.DataFrame:
    """Recompute the rows of a part from single firms' openings."""
    spec, days, table = data.spec, data.market.dates, data.market.openings[part]
    taken, own = by_hand.masks(spec, days)
    frame = pd.DataFrame({sector: _weighted(table, sector) for sector in SECTORS})
    frame["us_market"] = table["us_market"]
    events = [event for event in spec.with_role("primary") if event.id in PARTS[part]]
    groups = {
        sector: [
            Term(sector, by_hand.placed(event, days)[0], (0, 0), event.signs[sector])
            for event in events
        ]
        for sector in SECTORS
    }
    shifts = by_hand.moves(own, taken, [(day - 1, 0) for day in own[1::3]])
    against = {sector: ["us_market"] for sector in groups}
    law = by_hand.sums(groups, frame, against, taken, own, shifts)
    rows = by_hand.intervals(law)
    statistic = law.effect / np.sqrt(law.variance)
    away = np.abs(statistic - statistic[1:].mean(axis=0))
    rows["p"] = (1 + (away[1:] >= away[0]).sum(axis=0)) / len(away)
    return rows.assign(sector=list(groups), shifts=len(shifts))


@pytest.mark.parametrize("part", PARTS)
def test_rows_are_those_of_statsmodels_on_the_first_trades_of_single_firms(
    small: Sample, part: str
) -> None:
    table, dropped = _found(small)
    got = table[table["part"] == part].reset_index(drop=True)
    want = _by_hand(small, part)
    for name in ("effect", "low", "high", "p", "mde"):
        np.testing.assert_allclose(got[name], want[name], rtol=0, atol=1e-8, err_msg=name)
    assert got["sector"].tolist() == list(SECTORS)
    assert got["shifts"].tolist() == want["shifts"].tolist()
    assert set(got["events"]) == {" ".join(PARTS[part])}
    assert set(got["firms"]) == {12} and dropped == {}


def test_news_in_a_session_has_a_row_of_its_own_from_the_open_to_the_close(small: Sample) -> None:
    table, _ = _found(small)
    assert table["part"].tolist() == [OVERNIGHT, OVERNIGHT, SESSION, SESSION]
    assert table["sign"].tolist() == [1, 0, 1, 1]  # rail is to fall at N2 and to rise at N1
    names = [n for n in map(str, small.portfolios.returns) if n.startswith((OVERNIGHT, SESSION))]
    days = {name.split("/")[1] for name in names if name.startswith(SESSION)}
    assert days == {SESSIONS["N3"], "us_market"}
    assert f"{OVERNIGHT}/{SESSIONS['N3']}/solar" not in names


def test_the_first_trade_of_a_planted_night_is_found_where_it_was_planted(small: Sample) -> None:
    table = small.market.openings[OVERNIGHT].copy()
    for event, sign in (("N1", 1), ("N2", -1)):
        row = table.index == SESSIONS[event]
        table.loc[row, SECTORS["rail"]] += 0.05 * sign
    market = replace(small.market, openings={**small.market.openings, OVERNIGHT: table})
    before, after = _found(small)[0], _found(small_sample(small.spec, market, small.controls))[0]
    gain = (after["effect"] - before["effect"]).to_numpy()
    np.testing.assert_allclose(gain, [0, 0.10, 0, 0], atol=1e-12)


# --- who has no opening ------------------------------------------------------------------------


def test_a_firm_without_an_opening_is_out_of_that_slot_at_every_shift_and_listed(
    tmp_path: Path,
) -> None:
    data = small_sample(
        small_spec(tmp_path), _less(OVERNIGHT, "N1", "S00", "S05"), small_market()[1]
    )
    night = data.market.openings[OVERNIGHT]
    for event, out in (("N1", ("S00", "S05")), ("N2", ())):
        got = data.portfolios.returns[f"{OVERNIGHT}/{SESSIONS[event]}/solar"]
        want = _weighted(night, "solar", out)
        rest = night.index != SESSIONS["N1"]
        np.testing.assert_allclose(got[rest], want[rest], atol=1e-14)
    listed = Dropped(OVERNIGHT, f"{SESSIONS['N1']}/solar", "no opening price: S00, S05")
    assert listed in data.portfolios.dropped
    table, dropped = _found(data)
    assert table["firms"].tolist() == [10, 12, 12, 12] and dropped == {}


def test_a_side_of_the_contrast_is_recorded_as_those_who_had_an_opening(tmp_path: Path) -> None:
    spec = small_spec(tmp_path)
    names = SECTORS["solar"][:4]
    firms = [replace(f, named_event="N1" * (f.ticker in names)) for f in spec.firms]
    contrast = Contrast(event="N1", sector="solar")
    rule = spec.rule.model_copy(update={"contrast": contrast})
    market, controls = _less(OVERNIGHT, "N1", "S00", "S05", "S06"), small_market()[1]
    data = small_sample(replace(spec, firms=tuple(firms), rule=rule), market, controls)
    for side, left in (("named", 3), ("unnamed", 6)):
        seen = data.portfolios.weighing[f"{OVERNIGHT}/{side}/{SESSIONS['N1']}/solar"]
        assert seen.valued == left and seen.effective == pytest.approx(left)


def test_under_eight_firms_with_an_opening_stop_the_sum_of_their_sector(
    tmp_path: Path, small: Sample
) -> None:
    market = _less(OVERNIGHT, "N2", *SECTORS["solar"][:5])
    table, dropped = _found(small_sample(small_spec(tmp_path), market, small_market()[1]))
    why = "N2: no opening prices of enough firms with a market value"
    assert dropped == {(OVERNIGHT, "solar"): why}
    night = table[table["part"] == OVERNIGHT]
    assert night["sector"].tolist() == ["rail"]
    before = _found(small)[0].set_index(["part", "sector"])["effect"]
    assert night["effect"].tolist() == [before[OVERNIGHT, "rail"]]


def test_an_event_that_has_no_place_stops_the_sums_of_its_part_alone(
    tmp_path: Path, small: Sample
) -> None:
    market, controls = small_market()
    frame = market.returns.copy()
    frame.loc[SESSIONS["N2"], "us_market"] = np.nan
    table, dropped = _found(small_sample(small.spec, replace(market, returns=frame), controls))
    why = "N2: the benchmark has no return on 2024-04-09, in its window"
    assert dropped == {(OVERNIGHT, sector): why for sector in SECTORS}
    assert table["part"].unique().tolist() == [SESSION]


def test_without_opening_prices_no_row_is_there_and_each_says_why(
    tmp_path: Path, bundled: Study
) -> None:
    market, controls = small_market()
    data = small_sample(small_spec(tmp_path), replace(market, openings={}), controls)
    table, dropped = _found(data)
    assert table.empty
    assert set(dropped) == {(part, sector) for part in PARTS for sector in SECTORS}
    assert all("no opening prices" in reason for reason in dropped.values())
    frame = bundled.data.portfolios.returns
    opened = [n for n in map(str, frame) if n.startswith((OVERNIGHT, SESSION))]
    made = replace(bundled.data.portfolios, returns=frame.drop(columns=opened))
    table, dropped = _found(replace(bundled.data, portfolios=made))
    assert table.empty and len(dropped) >= len(bundled.data.spec.sectors)


# --- what may be shown -------------------------------------------------------------------------

FIRMS = [f"F{k}" for k in range(10)]


def _shown(weights: Mapping[str, Mapping[str, float]]) -> _Shown:
    present = pd.DataFrame([[True] * 20], columns=[*FIRMS, *(NIGHT + t for t in FIRMS)])
    return _Shown(weights, present, pd.DataFrame([[True] * len(weights)], columns=list(weights)))


def _capped(firms: list[str], cap: float = 0.5) -> dict[str, float]:
    values = np.array([10.0 + FIRMS.index(firm) for firm in firms])
    return dict(zip(firms, capped_weights(values, cap).tolist(), strict=True))


def test_two_capped_averages_that_differ_by_one_firm_would_give_it_away() -> None:
    both = {"capped/1/x": _capped(FIRMS), "capped/2/x": _capped(FIRMS[:-1])}
    found, leverage = _shown(both).disclosed()
    assert found == ("F9",) and leverage == pytest.approx(1, abs=1e-9)
    three = {"capped/1/x": _capped(FIRMS), "capped/2/x": _capped(FIRMS[:-3])}
    found, leverage = _shown(three).disclosed()
    assert found == () and leverage < 0.9


def test_so_would_an_equal_average_beside_a_capped_one_whose_cap_binds_everywhere() -> None:
    tight = {"slot/1/x": dict.fromkeys(FIRMS, 1.0), "capped/1/x": _capped(FIRMS[:-1], 0.001)}
    values = np.array([1.0] * 9)
    tight["capped/1/x"] = dict(zip(FIRMS, capped_weights(values, 0.1), strict=False))
    assert _shown(tight).disclosed()[0] == ("F9",)


def test_leverage_is_that_of_a_projection_on_what_is_shown() -> None:
    draw = np.random.default_rng(9)
    for _ in range(20):
        groups = [sorted(draw.choice(FIRMS, 7, replace=False)) for _ in range(4)]
        weights = {f"capped/{k}/x": _capped(group, 0.15) for k, group in enumerate(groups)}
        table = pd.DataFrame(weights).reindex(FIRMS).fillna(0.0).to_numpy()
        leverage = np.diag(table @ np.linalg.pinv(table))
        found, largest = _shown(weights).disclosed()
        assert largest == pytest.approx(leverage.max(), abs=1e-9)
        assert set(found) == {t for t, h in zip(FIRMS, leverage, strict=True) if h > 0.9}


def test_night_and_session_of_fewer_firms_than_the_day_give_the_missing_one_away() -> None:
    day, part = _capped(FIRMS), _capped(FIRMS[:-1])
    both = {"capped/1/x": day, "overnight/1/x": part, "session/1/x": part}
    assert _shown(both).disclosed()[0] == ("F9",)
    assert _shown({**both, "session/1/x": day, "overnight/1/x": day}).disclosed()[0] == ()
    assert _shown({"capped/1/x": day, "overnight/1/x": part}).disclosed()[0] == ()


def test_a_bundle_that_would_give_a_firm_away_is_refused(tmp_path: Path) -> None:
    market, controls = small_market()
    spec = small_spec(tmp_path)
    made, pads, leverage = _safe(small_sample(spec, market, controls), {})
    assert pads == {} and leverage < 0.9
    assert made.returns.filter(like="capped/").shape[1] == 6
    frame = market.returns.copy()
    frame.loc[:"2023-11-30", "S11"] = np.nan  # short of returns at the first event, not at others
    data = small_sample(spec, replace(market, returns=frame), controls)
    assert _Shown.of(data, _formed(data, {}), "solar").disclosed()[0] == ("S11",)
    with pytest.raises(InputError, match="'solar': firm 'S11' can be read back"):
        _safe(data, {})

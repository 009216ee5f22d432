"""Opening prices: what moved overnight and what in the session, from any file that holds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.study.by_hand import NEW_YORK, SECTORS, small_market, small_spec
from usjp_research.market.load import load_market
from usjp_research.market.openings import OVERNIGHT, SESSION, load_openings
from usjp_research.market.record import BENCHMARK, Market
from usjp_research.market.simulate import simulated_market
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import Spec, find_root
from usjp_research.study.sample import sample
from usjp_research.words import InputError

SHARED = find_root(Path(__file__)).parent / "shared" / "data"
DAYS = pd.DatetimeIndex(NEW_YORK.sessions_in_range("2023-01-03", "2024-12-31"), name="date").astype(
    "datetime64[ns]"
)
NAMES = ["SPY", "IVV", *SECTORS["solar"], *SECTORS["rail"]]


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    return small_spec(tmp_path)


def _drawn() -> dict[str, pd.DataFrame]:
    """Draw opening and closing prices; one firm pays a dividend and splits."""
    draw = np.random.default_rng(41)
    steps = 1 + 0.01 * draw.standard_normal((2, len(DAYS), len(NAMES)))
    night, session = (pd.DataFrame(step, DAYS, NAMES) for step in steps)
    ratio = pd.DataFrame(1.0, DAYS, NAMES)  # of raw prices to what a holder has
    ratio.loc["2023-06-15":, "S01"] *= 0.5
    ratio.loc["2023-09-14":, "S01"] *= 0.98
    worth = 100 * (night * session).cumprod()
    close = worth * ratio
    return {"night": night - 1, "close": close, "adj": worth, "open": worth / session * ratio}


def _long(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    columns = {name: table.rename_axis(columns="ticker").stack() for name, table in tables.items()}
    return pd.DataFrame(columns).reset_index()


@pytest.fixture
def market(spec: Spec, tmp_path: Path) -> Market:
    drawn = _drawn()
    file = _long({"adj_close": drawn["adj"], "close": drawn["close"], "open": drawn["open"]})
    file.to_csv(tmp_path / "prices.csv", index=False)
    return load_market(spec, f"file:{tmp_path / 'prices.csv'}")


def test_night_and_session_make_the_day_dividends_and_splits_in_the_night(market: Market) -> None:
    drawn = _drawn()
    night, session = market.openings[OVERNIGHT], market.openings[SESSION]
    firms = [name for name in market.returns if name != BENCHMARK]
    whole = (1 + night[firms]) * (1 + session[firms]) - 1
    np.testing.assert_allclose(whole, market.returns[firms], atol=1e-9)
    want = drawn["close"][firms] / drawn["open"][firms] - 1
    np.testing.assert_allclose(session[firms], want.iloc[1:], atol=1e-9)
    np.testing.assert_allclose(night[firms], drawn["night"][firms].iloc[1:], atol=1e-9)
    funds = drawn["night"][["SPY", "IVV"]].mean(axis=1).iloc[1:]
    assert list(night) == list(session) == list(market.returns)
    # The day of the index is the mean of days; its night is the mean of nights.
    np.testing.assert_allclose(night[BENCHMARK], funds, atol=1e-9)


def test_an_opening_of_zero_or_none_is_missing_and_costs_nothing_else(
    spec: Spec, tmp_path: Path
) -> None:
    drawn = _drawn()
    drawn["open"].loc["2024-03-05", "S00"] = 0.0
    drawn["open"].loc["2024-03-05", "S02"] = np.nan
    names = {"adj_close": "adj", "close": "close", "open": "open"}
    file = _long({name: drawn[key] for name, key in names.items()})
    file.to_csv(tmp_path / "prices.csv", index=False)
    market = load_market(spec, f"file:{tmp_path / 'prices.csv'}")
    for table in market.openings.values():
        lost = table.isna()
        assert lost.sum().sum() == 2
        assert lost.loc["2024-03-05", ["S00", "S02"]].all()
    assert market.returns.notna().all(axis=None)
    assert any("opening prices of zero" in line for line in market.read_as)


def test_a_raw_close_of_zero_or_less_is_missing_beside_adjusted_prices(
    spec: Spec, market: Market, tmp_path: Path
) -> None:
    drawn = _drawn()
    close, days = drawn["close"].copy(), list(DAYS[[300, 301]])
    close.loc[days, "S03"] = [0.0, -5.0]
    table = _long({"adj_close": drawn["adj"], "close": close, "open": drawn["open"]})
    table.to_csv(tmp_path / "p.csv", index=False)
    read = load_market(spec, f"file:{tmp_path / 'p.csv'}")
    assert "raw closes of zero or less count as missing" in read.read_as
    for part, want in market.openings.items():
        gone = pd.DataFrame(False, want.index, want.columns)
        gone.loc[days, "S03"] = True
        pd.testing.assert_frame_equal(read.openings[part], want.mask(gone))


def test_a_price_file_without_openings_makes_the_market_that_it_made_before(
    spec: Spec, tmp_path: Path
) -> None:
    drawn = _drawn()
    _long({"adj_close": drawn["adj"]}).to_csv(tmp_path / "prices.csv", index=False)
    market = load_market(spec, f"file:{tmp_path / 'prices.csv'}")
    assert market.openings == {}
    assert load_openings(spec, market, None) is market
    assert not sample(spec, market).portfolios.returns.filter(like=OVERNIGHT).size


def _prices(drawn: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return _long({"close": drawn["close"], "open": drawn["open"]})


def _returns(drawn: dict[str, pd.DataFrame]) -> pd.DataFrame:
    session = drawn["close"] / drawn["open"] - 1
    return _long({"overnight": drawn["night"], "intraday": session})


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("make", [_prices, _returns])
def test_a_file_of_openings_beside_the_prices_gives_the_same(
    spec: Spec, market: Market, tmp_path: Path, make: Callable[..., pd.DataFrame], ending: str
) -> None:
    table, path = make(_drawn()), tmp_path / f"openings.{ending}"
    if ending == "csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    plain = replace(market, openings={})
    got = load_openings(spec, plain, f"file:{path}")
    for part, want in market.openings.items():
        # Raw prices know no split and no dividend, the market's own return of the day does.
        np.testing.assert_allclose(got.openings[part], want, atol=1e-9)


def test_days_and_firms_that_the_market_lacks_are_left_out_and_missing_ones_are_nan(
    spec: Spec, market: Market, tmp_path: Path
) -> None:
    table = _returns(_drawn())
    false = table[table["date"] == "2024-03-05"].assign(date=pd.Timestamp("2024-03-03"))
    other = table[table["ticker"] == "S00"].assign(ticker="ELSE")
    gone = table["ticker"].eq("S03") | table["date"].eq(pd.Timestamp("2024-03-06"))
    path = tmp_path / "openings.parquet"
    mixed = pd.concat([table[~gone], false, other]).sort_values("date", ignore_index=True)
    mixed.to_parquet(path)
    got = load_openings(spec, replace(market, openings={}), str(path))
    for part in (OVERNIGHT, SESSION):
        own = got.openings[part]
        assert own.index.equals(market.dates) and list(own) == list(market.returns)
        assert own["S03"].isna().all() and own.loc["2024-03-06"].isna().all()
        assert own.drop(columns="S03").drop(pd.Timestamp("2024-03-06")).notna().all(axis=None)


@pytest.mark.parametrize(
    "content",
    [
        "date,ticker,close\n2024-03-05,S00,10\n",
        "date,ticker,overnight\n2024-03-05,S00,0.01\n",
        "date,S00,S01\n2024-03-05,10,11\n",
    ],
)
def test_a_file_without_openings_is_refused_with_what_was_expected(
    spec: Spec, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "openings.csv"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        load_openings(spec, small_market()[0], str(path))
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    assert "overnight" in message or "open" in message


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda table: table.assign(overnight=100 * table["overnight"]), "decimals, not percent"),
        (lambda table: table.assign(overnight=-1.0), "a return above -1"),
        (lambda table: table.assign(session=table["intraday"]), "could both be meant; keep one"),
    ],
)
def test_returns_of_parts_of_the_day_are_held_to_what_returns_of_days_are(
    spec: Spec,
    market: Market,
    tmp_path: Path,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    fault: str,
) -> None:
    path = tmp_path / "openings.csv"
    change(_returns(_drawn())).to_csv(path, index=False)
    with pytest.raises(InputError, match=fault) as caught:
        load_openings(spec, replace(market, openings={}), str(path))
    assert str(path) in str(caught.value)


def test_parts_of_the_day_in_a_column_per_field_and_firm_are_those_of_the_long_table(
    spec: Spec, market: Market, tmp_path: Path
) -> None:
    drawn, path = _drawn(), tmp_path / "openings.parquet"
    parts = {"Overnight": drawn["night"], "Intraday": drawn["close"] / drawn["open"] - 1}
    pd.concat(parts, axis=1).to_parquet(path)
    got = load_openings(spec, replace(market, openings={}), str(path))
    for part, want in market.openings.items():
        np.testing.assert_allclose(got.openings[part], want, atol=1e-9)


def test_openings_of_another_day_than_the_market_s_are_refused(spec: Spec, tmp_path: Path) -> None:
    market, path = simulated_market(spec, seed=1), tmp_path / "openings.parquet"
    moves = market.returns[[*SECTORS["solar"], *SECTORS["rail"]]]
    for shift, told in ((0, ""), (1, "a session late"), (-1, "a session early")):
        session = moves.shift(shift).dropna()
        _long({"overnight": 0 * session, "intraday": session}).to_parquet(path)
        if not told:
            assert load_openings(spec, market, str(path)).openings[SESSION].notna().any(axis=None)
            continue
        with pytest.raises(InputError, match=rf"openings\.parquet: .* {told}; give openings"):
            load_openings(spec, market, str(path))


def test_openings_of_firms_that_go_against_the_market_are_their_own_day_s(
    spec: Spec, tmp_path: Path
) -> None:
    market, path = simulated_market(spec, seed=1), tmp_path / "openings.parquet"
    firms = [*SECTORS["solar"], *SECTORS["rail"]]
    turned = replace(market, returns=market.returns.assign(**-market.returns[firms]))
    session = turned.returns[firms] / 2
    _long({"overnight": session, "intraday": session}).to_parquet(path)
    assert load_openings(spec, turned, str(path)).openings[SESSION].notna().any(axis=None)
    _long({"overnight": session, "intraday": -session}).to_parquet(path)
    with pytest.raises(InputError, match="its sign is turned; give openings"):
        load_openings(spec, turned, str(path))


def test_two_columns_of_opening_prices_are_refused(spec: Spec, tmp_path: Path) -> None:
    table = _prices(_drawn())
    table.assign(Open=table["open"] / 2).to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(InputError, match="'open' and 'Open' could both be the opening; keep one"):
        load_market(spec, f"file:{tmp_path / 'p.csv'}")


def test_averages_have_no_openings_to_add_and_a_file_must_be_there(spec: Spec) -> None:
    market, _ = small_market()
    with pytest.raises(InputError, match="has no single firms"):
        load_openings(spec, replace(market, level="portfolio"), "file:any.csv")
    with pytest.raises(InputError, match=r"nowhere\.csv"):
        load_openings(spec, market, "file:nowhere.csv")
    assert simulated_market(spec, seed=1).openings == {}


@pytest.mark.slow
def test_the_shared_openings_add_up_to_the_shared_prices() -> None:
    if not (SHARED / "open_close.parquet").exists():
        pytest.skip("an extra: the real prices may not be shipped and are not here")
    spec = read_spec()
    market = load_market(spec, f"file:{SHARED / 'prices_core.parquet'}")
    made = load_openings(spec, market, f"file:{SHARED / 'open_close.parquet'}")
    whole = (1 + made.openings[OVERNIGHT]) * (1 + made.openings[SESSION]) - 1
    apart = (whole - market.returns).abs().drop(columns=BENCHMARK).to_numpy()
    known = apart[np.isfinite(apart)]
    assert len(known) > 0.9 * apart.size
    assert (known < 1e-4).mean() > 0.99
    assert made.openings[OVERNIGHT].index.equals(market.dates)

"""Donors from files: what is read, what is left out, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result

from usjp_research.market.donors import Donors, load_donors
from usjp_research.market.load import load_market
from usjp_research.market.record import Market
from usjp_research.market.simulate import simulated_market
from usjp_research.report.figures import plot_counterfactuals
from usjp_research.report.tables import table
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import Accepted, Donor, Spec
from usjp_research.study.counterfactual import EXACT, counterfactuals
from usjp_research.study.sample import sample
from usjp_research.words import InputError

CONVEX = "synthetic control"


@pytest.fixture(scope="module")
def spec() -> Spec:
    return replace(read_spec(), donors=())


@pytest.fixture(scope="module")
def market(spec: Spec) -> Market:
    return simulated_market(spec, seed=3)


def _file(path: Path, frame: pd.DataFrame) -> str:
    frame.to_csv(path, index=False)
    return str(path)


def test_without_a_file_the_reason_says_what_to_give(spec: Spec, market: Market) -> None:
    assert "--donors FILE" in load_donors(spec, market).reason
    with pytest.raises(InputError, match=r"nowhere.csv'?: no such file"):
        load_donors(spec, market, "nowhere.csv")


def test_the_bundle_brings_its_own_donors() -> None:
    spec = read_spec()
    bundle = load_market(spec, "bundled")
    donors = load_donors(spec, bundle)
    assert donors.returns.shape[1] >= 20
    assert donors.returns.notna().all(axis=None)
    assert not (donors.reason or donors.dropped)


def _prices(market: Market, names: list[str]) -> pd.DataFrame:
    draw = np.random.default_rng(5)
    values = 100 * np.cumprod(1 + draw.normal(0, 0.01, (len(market.dates), len(names))), axis=0)
    frame = pd.DataFrame(values, columns=names)
    frame.insert(0, "date", market.dates.strftime("%Y-%m-%d"))
    return frame


def test_donors_of_a_file_are_neither_in_the_universe_nor_a_benchmark(
    spec: Spec, market: Market, tmp_path: Path
) -> None:
    inside = spec.firms[0].ticker
    table = _prices(market, ["AAA", "BBB", inside, "SPY", "EWJ", "CCC"])
    table.loc[500:520, "CCC"] = np.nan
    found = load_donors(spec, market, _file(tmp_path / "p.csv", table))
    assert list(found.returns.columns) == ["AAA", "BBB"]
    (gone,) = found.dropped
    assert (gone.what, gone.name) == ("donor", "CCC")
    assert gone.reason.startswith("no return on 22 of")
    assert len(found.returns) == len(market.dates)


def test_a_list_of_donors_decides_who_is_one_and_says_why_others_are_not(
    spec: Spec, market: Market, tmp_path: Path
) -> None:
    listed = replace(
        spec, donors=(Donor("AAA", "banks"), Donor("BBB", "", "sells AI"), Donor("EEE", "banks"))
    )
    path = _file(tmp_path / "p.csv", _prices(market, ["AAA", "BBB", "CCC"]))
    found = load_donors(listed, market, path)
    assert list(found.returns.columns) == ["AAA"]
    assert {(item.name, item.reason) for item in found.dropped} == {
        ("BBB", "sells AI"),
        ("CCC", "not in donors.csv"),
        ("EEE", "not in p.csv"),
    }


def test_a_file_without_any_donor_is_refused(spec: Spec, market: Market, tmp_path: Path) -> None:
    path = _file(tmp_path / "p.csv", _prices(market, [spec.firms[0].ticker, "SPY"]))
    with pytest.raises(InputError, match="no donor there"):
        load_donors(spec, market, path)


@pytest.mark.parametrize("option", ["--factors", "--donors"])
def test_the_command_refuses_a_wrong_file_before_it_computes(
    option: str, own: Callable[..., Path], prices: Path, usjp: Callable[..., Result], tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("day,x\n", encoding="utf-8")
    words = ["study", "--params", own(), "--market", f"file:{prices}", "--out", tmp_path / "o"]
    result = usjp(*words, "--no-pages", option, wrong)
    assert result.exit_code == 2
    assert "wrong.csv" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "o").exists()  # no empty folder is left either


# --- donors that are no outsiders ----------------------------------------------------------------


def _panel_prices(prices: Path) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Take the returns of a market of two sectors, and make donors good and bad of them."""
    returns = pd.read_csv(prices, index_col="date", parse_dates=True).pct_change().iloc[1:]
    draw = np.random.default_rng(12)
    market = returns["us_market"].to_numpy()
    solar = returns.filter(like="S").mean(axis=1).to_numpy()
    weights = draw.dirichlet(np.ones(12))
    drawn = {
        f"D{k}": market * draw.uniform(0.5, 1.5) + draw.normal(0, 0.01, len(market))
        for k in range(6)
    }
    bad = {
        "COPY": solar,
        "TWICE": 2 * solar,
        "FUND": returns.filter(like="S").to_numpy() @ weights,
        "AGAIN": drawn["D0"],
        "FLAT": np.zeros(len(market)),
        "DEPOSIT": np.full(len(market), 1e-4),
        "STALE": np.where(np.arange(len(market)) % 3 == 0, drawn["D2"], 0.0),
    }
    return returns, {**drawn, "SPX": market + draw.normal(0, 1e-4, len(market)), **bad}


def _donor_file(path: Path, days: pd.Index, returns: dict[str, np.ndarray]) -> str:
    table = (100 * (1 + pd.DataFrame(returns, index=days)).cumprod()).round(4)
    table.to_csv(path, index_label="date")
    return str(path)


def test_donors_that_do_not_move_or_move_alike_are_listed_and_funds_of_a_sector_named(
    own: Callable[..., Path], prices: Path, tmp_path: Path
) -> None:
    spec = read_spec(own())
    market = load_market(spec, f"file:{prices}")
    returns, made = _panel_prices(prices)
    found = load_donors(spec, market, _donor_file(tmp_path / "d.csv", returns.index, made))
    left = {item.name: item.reason for item in found.dropped}
    assert left["AGAIN"] == "the same as 'D0' on every day: counted once"
    assert left["FLAT"] == left["DEPOSIT"] == "flat: its price never moves"
    assert left["STALE"].startswith("flat: no move on")
    assert set(left) == {"AGAIN", "FLAT", "DEPOSIT", "STALE"}
    assert found.inside == dict.fromkeys(("COPY", "TWICE", "FUND"), "solar")  # not the market


@pytest.mark.parametrize("bad", ["COPY", "FUND"])
def test_a_comparison_with_the_sector_itself_is_called_exact_and_not_believed(
    bad: str, own: Callable[..., Path], prices: Path, tmp_path: Path
) -> None:
    spec = read_spec(own())
    market = load_market(spec, f"file:{prices}")
    data = sample(spec, market)
    returns, made = _panel_prices(prices)
    kept = {name: made[name] for name in ("D0", "D1", "D2", "D3", "SPX", bad)}
    donors = load_donors(spec, market, _donor_file(tmp_path / "d.csv", returns.index, kept))
    found = counterfactuals(data, "solar", donors=donors)
    rows = found.rows.set_index("model")
    used = set(found.weights["donor"]) | {bad}
    for model in ("market model on firms outside the sectors", "nearest donors", CONVEX):
        row = rows.loc[model]
        if model == CONVEX and bad not in set(
            found.weights.loc[found.weights["model"] == CONVEX, "donor"]
        ):
            continue
        assert row["fit"] == EXACT
        assert bad in used and bad in row["reason"]
        assert np.isnan(row[["effect", "low", "high", "p"]].astype(float)).all()
    assert EXACT in plot_counterfactuals(found).alt
    assert any(text.startswith(EXACT) for text in table("counterfactuals", found)["Fit"])
    assert rows.iloc[0]["effect"] > 0.1
    if bad != "FUND":
        return
    other = counterfactuals(data, "rail", donors=donors)
    assert not other.rows["reason"].str.contains(EXACT).any()
    assert bad in {item.name for item in other.dropped}


def test_an_exact_fit_without_a_file_is_not_believed_either(
    own: Callable[..., Path], prices: Path
) -> None:
    spec = read_spec(own())
    market = load_market(spec, f"file:{prices}")
    data = sample(spec, market)
    _, made = _panel_prices(prices)
    table = pd.DataFrame({name: made[name] for name in ("D0", "D1", "COPY")}, market.dates)
    found = counterfactuals(data, "solar", donors=Donors(table, "drawn"))
    assert found.rows.set_index("model").loc[CONVEX, "fit"] == EXACT


@pytest.mark.parametrize("size", [1.7e38, 1e26, 50.0])
@pytest.mark.parametrize("what", ["prices", "returns"])
def test_a_donor_that_moves_as_nothing_does_is_refused_or_left_out_and_listed(
    size: float, what: str, spec: Spec, market: Market, tmp_path: Path
) -> None:
    table = _prices(market, ["AAA", "BBB"])
    if what == "returns":
        table[["AAA", "BBB"]] = table[["AAA", "BBB"]].pct_change().fillna(-0.01)
    table.loc[500, "BBB"] = size * (100 if what == "prices" else 1)
    path = _file(tmp_path / "p.csv", table)
    if size < 1e12:
        found = load_donors(spec, market, path)
        assert list(found.returns.columns) == ["AAA"]
        (gone,) = (item.reason for item in found.dropped if item.name == "BBB")
        assert str(market.dates[500].date()) in gone and "reverse split" in gone
        return
    with pytest.raises(InputError, match=r"p\.csv.*BBB.*"):
        load_donors(spec, market, path)


def test_a_whole_file_of_donors_in_percent_is_refused(
    spec: Spec, market: Market, tmp_path: Path
) -> None:
    table = _prices(market, names := ["AAA", "BBB", "CCC", "DDD"])
    table[names] = 20 * table[names].pct_change().fillna(0.001)  # bond funds move that little
    path = _file(tmp_path / "p.csv", table)
    with pytest.raises(InputError, match=r"p\.csv: every series .*percent .*divide by 100"):
        load_donors(spec, market, path)


def test_donors_of_another_market_pass_where_the_study_accepts_them(
    spec: Spec, market: Market, tmp_path: Path
) -> None:
    us, names = market.returns["us_market"], ["AAA", "BBB", "CCC", "DDD"]
    noise = np.random.default_rng(6).normal(0, us.std(), (len(us), len(names)))
    late = pd.DataFrame(noise, us.index, names).add(us.shift(1).fillna(0.0), axis=0)
    path = _file(tmp_path / "tokyo.csv", late.rename_axis("date").reset_index())
    with pytest.raises(InputError, match=r"tokyo\.csv: every series .*a session late") as caught:
        load_donors(spec, market, path)
    day = us.index[0].date()
    assert f"every series {day}" in str(caught.value)
    accepted = Accepted(ticker="every series", day=day, reason="they trade in Tokyo")
    found = load_donors(replace(spec, accepted=(accepted,)), market, path)
    assert list(found.returns.columns) == names


def test_donors_of_which_none_moves_are_refused(spec: Spec, market: Market, tmp_path: Path) -> None:
    table = _prices(market, ["AAA", "BBB"]).assign(AAA=50.0, BBB=70.0)
    with pytest.raises(InputError, match=r"no donor is left of 2.*never moves"):
        load_donors(spec, market, _file(tmp_path / "p.csv", table))

"""Donors from files: what is read, what is left out, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result

from usjp_research.market.donors import load_donors
from usjp_research.market.load import load_market
from usjp_research.market.record import Market
from usjp_research.market.simulate import simulated_market
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import Donor, Spec
from usjp_research.words import InputError


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
    option: str,
    own: Callable[..., Path],
    prices: Path,
    usjp: Callable[..., Result],
    tmp_path: Path,
) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("day,x\n", encoding="utf-8")
    words = ["study", "--params", own(), "--market", f"file:{prices}", "--out", tmp_path / "o"]
    result = usjp(*words, "--no-pages", option, wrong)
    assert result.exit_code == 2
    assert "wrong.csv" in result.stderr.splitlines()[-1]
    assert not list((tmp_path / "o").glob("results/*"))

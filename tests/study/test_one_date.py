"""A table of returns and one date: the same numbers as by hand, and nothing silently wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols

from usjp_research.market.load import load_market
from usjp_research.report.figures import plot_caar
from usjp_research.spec.records import Spec
from usjp_research.study.answer import sector_law
from usjp_research.study.one_date import one_date
from usjp_research.study.reactions import event_paths, event_reactions, sector_battery
from usjp_research.words import InputError

DAY = "2025-04-03"


@pytest.fixture(scope="module")
def returns(spec: Spec) -> pd.DataFrame:
    """The averages of outside firms that ship, by industry, and the market."""
    return load_market(spec, "bundled").returns.filter(regex="^us_market|donor/")


def test_the_reaction_is_that_of_a_regression_by_hand(returns: pd.DataFrame) -> None:
    found = event_reactions(one_date(returns, "us_market", DAY, window=(0, 2))).iloc[0]
    firms = returns.drop(columns="us_market").mean(axis=1)
    table = pd.DataFrame({"firms": firms, "market": returns["us_market"]})
    place = int(returns.index.searchsorted(pd.Timestamp(DAY)))
    past, window = table.iloc[place - 270 : place - 20], table.iloc[place : place + 3]
    by_hand = (window["firms"] - ols("firms ~ market", past).fit().predict(window)).sum()
    assert found["caar"] == pytest.approx(by_hand, abs=1e-12)
    assert found["firms"] == returns.shape[1] - 1


def test_table_and_figure_follow_and_the_table_given_stays_as_it_was(returns: pd.DataFrame) -> None:
    before = returns.copy()
    data = one_date(returns, "us_market", DAY)
    assert sector_battery(data, "firms", "E1").numbers["n"] == returns.shape[1] - 1
    assert "E1, 3 Apr" in plot_caar(event_paths(data, sector_law(data, "firms"))).alt
    pd.testing.assert_frame_equal(returns, before)


def test_a_session_that_the_table_lacks_is_told_and_not_filled(returns: pd.DataFrame) -> None:
    data = one_date(returns.drop(pd.Timestamp("2024-03-05")), "us_market", DAY)
    assert [(item.what, item.name) for item in data.market.dropped] == [("day", "2024-03-05")]
    assert data.market.returns.loc["2024-03-05"].isna().all()


@pytest.mark.parametrize(
    ("change", "benchmark", "day", "told"),
    [
        (lambda t: t, "us_markt", DAY, "did you mean 'us_market'"),
        (lambda t: t, "us_market", "2025-04-05", "expected a session of the table"),
        (lambda t: t, "us_market", "3 April 2025", "expected a session of the table"),
        (lambda t: t, "donor/banks", DAY, "'us_market' is not the benchmark"),
        (lambda t: t[["us_market"]], "us_market", DAY, "and a firm among the columns"),
        (lambda t: t * 100, "us_market", DAY, "decimals, not percent"),
        (lambda t: (1 + t).cumprod(), "us_market", DAY, "expected daily returns as decimals"),
        (lambda t: t.reset_index(), "us_market", DAY, "expected days without a time zone"),
        (lambda t: t.tz_localize("UTC"), "us_market", DAY, "expected days without a time zone"),
        (lambda t: t.iloc[::-1], "us_market", DAY, "days must ascend"),
        (lambda t: t.assign(x="a"), "us_market", DAY, "expected numbers in every cell"),
        (lambda t: t.assign(x=np.inf), "us_market", DAY, "infinite"),
    ],
)
def test_what_is_no_table_of_returns_is_refused_in_one_line(
    returns: pd.DataFrame,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    benchmark: str,
    day: str,
    told: str,
) -> None:
    with pytest.raises(InputError, match=told) as error:
        one_date(change(returns), benchmark, day)
    assert "\n" not in str(error.value)


def test_a_path_in_place_of_a_table_is_told_how_to_be_read() -> None:
    with pytest.raises(InputError, match=r"seen str, expected a table; read a file with pd.read"):
        one_date("returns.csv", "us_market", DAY)  # type: ignore[arg-type]


def test_a_wrong_key_of_the_rule_is_refused(returns: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="did you mean 'window'"):
        one_date(returns, "us_market", DAY, windw=(0, 0))

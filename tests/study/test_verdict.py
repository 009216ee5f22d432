"""The decision rule is exhaustive and exclusive; the implied value is the formula and no more."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from usjp_research.market.simulate import simulated_market
from usjp_research.report.results import save_study
from usjp_research.spec.records import Spec
from usjp_research.study.answer import Study, what_if
from usjp_research.study.sample import sample
from usjp_research.study.verdict import (
    ASSUMPTIONS,
    CASES,
    DEPENDS,
    STEPS,
    VERDICTS,
    breakeven_share,
    decide,
    headline,
    implied_value,
    verdict_of,
    with_assumptions,
    worth,
)
from usjp_research.words import InputError


def with_channels(spec: Spec, *channels: str) -> Spec:
    """Return a study whose thesis has the lines of some channels only."""
    assert spec.thesis is not None
    lines = tuple(line for line in spec.thesis.lines if line.channel in channels)
    return replace(spec, thesis=spec.thesis.model_copy(update={"lines": lines}))


def _literal(low: float, high: float, g: float | None) -> list[str]:
    """Every clause of the rule (docs/methods.md), each with all earlier ones negated by hand."""
    if g is None or g == 0:
        return ["no implied value"]
    if g < 0:
        low, high, g = -high, -low, -g
    return [
        name
        for name, holds in {
            "moved against": high < 0,
            "not priced in": high >= 0 and low <= 0 and high < g,
            "cannot say": high >= 0 and low <= 0 and high >= g,
            "more than priced in": low > 0 and low > g,
            "partly priced in": 0 < low <= g and high < g,
            "priced in": 0 < low <= g and g <= high <= 2 * g,
            "reacted, size unclear": 0 < low <= g and high > 2 * g,
        }.items()
        if holds
    ]


GRID = [-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]


def test_every_interval_and_value_gets_exactly_the_one_verdict_of_the_rule() -> None:
    seen = set()
    for low, high in itertools.combinations_with_replacement(GRID, 2):
        for g in (None, *GRID):
            verdict = decide(low, high, g)
            assert _literal(low, high, g) == [verdict], (low, high, g)
            seen.add(verdict)
    assert seen == set(VERDICTS)


def test_different_cases_make_the_headline_depend_on_the_implied_value() -> None:
    assert headline(dict.fromkeys(CASES, "cannot say")) == "cannot say"
    assert headline({"low": "cannot say", "base": "not priced in"}) == DEPENDS


def without_value(spec: Spec, ticker: str) -> Spec:
    """Return the study with a firm whose market value is not known."""
    firms = (replace(f, market_value_usd_bn=None) if f.ticker == ticker else f for f in spec.firms)
    return replace(spec, firms=tuple(firms))


@pytest.mark.parametrize("case", ["low", "base", "high"])
def test_the_implied_value_is_the_formula_line_by_line(spec: Spec, case: str) -> None:
    spec = without_value(spec, "SMR")
    thesis = spec.thesis
    assert thesis is not None
    firms = {firm.ticker: firm for firm in spec.firms}
    tickers = [firm.ticker for firm in spec.members("power_utilities")]
    dollars, lost = 0.0, set()
    rate, tax = getattr(thesis.discount_rate, case), getattr(thesis.tax, case)
    for line in (line for line in thesis.lines if line.sector == "power_utilities"):
        share = getattr(line.other_listed, case)
        for ticker, part in line.firms.items():
            known = firms[ticker].market_value_usd_bn is not None
            share += part if known else 0.0
            lost |= set() if known else {ticker}
        years = getattr(line.years, case)
        if line.channel != "orders":  # a dollar at the end of every year
            years = (1 - (1 + rate) ** -years) / rate
        spent = line.amount_usd_bn * getattr(line.part, case) * years
        spent *= getattr(thesis.realised[line.realised], case)
        margin = getattr(line.margin or thesis.margin, case)
        wait = getattr(line.years_to_cash or thesis.years_to_cash, case)
        dollars += spent * share * margin * (1 - tax) / (1 + rate) ** wait
    got = implied_value(spec, tickers, 2000.0, sector="power_utilities")
    assert got.dollars[case] == pytest.approx(dollars, rel=1e-12)
    assert got.share[case] == pytest.approx(dollars / 2000.0, rel=1e-12)
    assert all(any(ticker in text for text in got.left_out) for ticker in lost)


def test_own_lines_count_only_what_names_the_firms(spec: Spec) -> None:
    spec = without_value(spec, "SMR")
    thesis = spec.thesis
    assert thesis is not None
    unknown = tuple(
        replace(firm, market_value_usd_bn=None) if firm.ticker == "SMR" else firm
        for firm in spec.firms
    )
    spec = replace(spec, firms=unknown)
    got = implied_value(spec, ["GEV", "CCJ", "SMR"], 200.0, sector="power_utilities", own=True)
    lines = {line.id: line for line in thesis.lines if line.channel == "orders"}
    named = [(line, t) for line in lines.values() for t in ("GEV", "CCJ") if t in line.firms]
    assert [(line.id, ticker) for line, ticker in named] == [
        ("A01", "CCJ"),
        ("A02", "GEV"),
        ("A08", "GEV"),
    ]
    orders = with_channels(spec, "orders")
    got_orders = implied_value(orders, ["GEV", "CCJ"], 200.0, sector="power_utilities", own=True)
    assert got_orders.revenue["base"] == pytest.approx(
        sum(line.amount_usd_bn * line.firms[ticker] for line, ticker in named)
    )
    assert got_orders.announced == sum(line.amount_usd_bn for line, _ in named)
    assert got.channels["orders"] == got_orders.share
    assert (got.valued, got.firms) == (2, 3)
    assert any("SMR" in text for text in got.left_out)


def test_firms_with_a_value_are_those_that_the_market_value_is_of(bundled: Study) -> None:
    sizes = {row.name: (row.implied.valued, row.implied.firms) for row in bundled.verdicts}
    assert sizes["power_utilities"] == (53, 54)  # ED has no price on the day of the values
    assert sizes["manufacturing_logistics"] == (50, 51)  # nor has XYL
    assert all(row.implied.valued == row.implied.firms for row in bundled.first)


def test_a_firm_without_a_price_on_the_day_of_the_values_is_in_neither_part(spec: Spec) -> None:
    market, thesis = simulated_market(spec, seed=3), spec.thesis
    assert thesis is not None
    less = market.returns.copy()
    less.loc[pd.Timestamp(thesis.values_as_of), "GEV"] = np.nan
    whole, part = (
        worth(sample(spec, replace(market, returns=returns)), "power_utilities", tested=True)
        for returns in (market.returns, less)
    )
    assert (whole.valued, part.valued, part.firms) == (whole.firms, whole.firms - 1, whole.firms)
    assert whole.market_value is not None and part.market_value is not None
    assert part.market_value < whole.market_value
    assert part.revenue["base"] < whole.revenue["base"]
    assert any("GEV" in text for text in part.left_out) and not whole.left_out


def test_a_sector_without_lines_has_no_implied_value(spec: Spec) -> None:
    tickers = [firm.ticker for firm in spec.members("pharma_biotech")]
    spec = with_channels(spec, "orders")  # no order of the pact goes there
    got = implied_value(spec, tickers, 4000.0, sector="pharma_biotech")
    assert got.share == {}
    assert decide(-0.1, 0.1, got.share.get("base")) == "no implied value"


def test_the_break_even_share_makes_the_implied_value_equal_the_mde(spec: Spec) -> None:
    thesis = spec.thesis
    assert thesis is not None
    implied = implied_value(spec, ["GEV", "CCJ"], 200.0, sector="power_utilities", own=True)
    share = breakeven_share(thesis, implied, 0.05)
    assert share is not None
    assert share * implied.kept / 200.0 == pytest.approx(0.05)
    spec = with_channels(spec, "orders")
    orders = implied_value(spec, ["GEV", "CCJ"], 200.0, sector="power_utilities", own=True)
    kept = (1 - thesis.tax.base) / (1 + thesis.discount_rate.base) ** thesis.years_to_cash.base
    assert orders.kept == pytest.approx(orders.announced * kept)
    assert breakeven_share(None, implied, 0.05) is None
    assert math.isfinite(share)


def test_every_number_of_the_thesis_has_a_source_or_is_called_an_assumption(spec: Spec) -> None:
    thesis = spec.thesis
    assert thesis is not None
    assert set(thesis.assumptions) >= {*ASSUMPTIONS} - {"other_listed"}
    for line in thesis.lines:
        assert line.source_url.startswith("http"), line.id
        if line.firms and any(part != 1.0 for part in line.firms.values()):
            assert line.note, line.id
    assert "assumption" in thesis.assumptions["shares"]


def test_other_assumptions_change_what_should_have_moved_and_not_what_did(
    spec: Spec, bundled: Study
) -> None:
    assert what_if(bundled, {}) == bundled.rows
    half = {"tax": (1 + spec.thesis.tax.base) / 2} if spec.thesis else {}
    for before, after in zip(bundled.rows, what_if(bundled, half), strict=True):
        assert (after.effect, after.low, after.high) == (before.effect, before.low, before.high)
        assert after.mde == before.mde
        if before.implied.share:
            want = before.implied.share["base"] / 2
            assert after.implied.share["base"] == pytest.approx(want, rel=1e-12)
        else:
            assert after.headline == before.headline
    contrast = what_if(bundled, {"margin": 1.0, "years_to_cash": 0, "tax": 0})[-1]
    assert contrast.by_case["base"] == "partly priced in"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"marign": 0.1}, "did you mean 'margin'"),
        ({"margin": 3.0}, "margin"),
        ({"margin": "high"}, "expected a number"),
        ({"realised": 1.5}, "expected 0 to 1"),
        ({"other_listed": -0.1}, "what_if: key 'other_listed': seen -0.1, expected 0 to 1"),
    ],
)
def test_assumptions_out_of_range_or_unknown_are_refused(
    spec: Spec, changes: dict[str, float], words: str
) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        with_assumptions(spec, changes)


def test_every_step_from_dollars_announced_to_value_loses_something(spec: Spec) -> None:
    data = sample(spec, simulated_market(spec, seed=1))
    for sector in spec.sectors:
        got = worth(data, sector)
        for case in CASES:
            steps = [getattr(got, step)[case] for step in STEPS]
            assert steps == sorted(steps, reverse=True)
        assert got.announced >= got.spent["base"]
        if got.share:
            assert got.share["base"] * (got.market_value or 0) == pytest.approx(got.dollars["base"])


def test_a_saved_row_is_the_row_and_has_only_what_its_kind_has(
    bundled: Study, tmp_path: Path
) -> None:
    saved = json.loads((save_study(bundled, tmp_path) / "verdicts.json").read_text())
    assert tuple(map(verdict_of, saved["rows"])) == bundled.verdicts
    campaign = tuple(map(verdict_of, saved["campaign"]))
    assert repr(campaign) == repr(bundled.campaign)  # NaN, where a number is not of its kind
    assert verdict_of(saved["contrast"]) == bundled.contrast
    for row in saved["rows"]:
        value = row["implied"]["market_value"]
        assert row["excluded_usd_bn"] == pytest.approx(row["high"] * value)
        assert row["effect_usd_bn"] == pytest.approx(row["effect"] * value)
        if base := row["implied"]["share"].get("base"):
            assert row["priced_share"] == pytest.approx(row["effect"] / base)
    tests = ("p", "p_stepdown", "p_holm", "p_bh", "mde")
    assert all(row[key] is None for row in saved["campaign"] for key in tests)
    assert all(row["low"] < row["effect"] < row["high"] for row in saved["campaign"])
    dollars = ("excluded_usd_bn", "effect_usd_bn")
    assert [saved["contrast"][key] for key in dollars] == [None, None]

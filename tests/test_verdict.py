"""The decision rule is exhaustive and exclusive; the implied value is the formula and no more."""

from __future__ import annotations

import itertools
import math

import pytest

from usjp_research.params import read_spec
from usjp_research.spec import Spec
from usjp_research.verdict import VERDICTS, breakeven_share, decide, headline, implied_value


def _literal(low: float, high: float, g: float | None) -> list[str]:
    """Every clause of METHODS section 12, each with all earlier ones negated by hand."""
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


def test_a_negative_implied_value_mirrors_the_rule() -> None:
    for low, high in itertools.combinations_with_replacement(GRID, 2):
        for g in (-2.0, -1.0, -0.5):
            assert decide(low, high, g) == decide(-high, -low, -g)


def test_different_cases_make_the_headline_depend_on_the_implied_value() -> None:
    assert headline(dict.fromkeys(("low", "base", "high"), "cannot say")) == "cannot say"
    mixed = {"low": "cannot say", "base": "cannot say", "high": "not priced in"}
    assert headline(mixed) == "depends on the implied value"


@pytest.fixture(scope="module")
def spec() -> Spec:
    return read_spec()


@pytest.mark.parametrize("case", ["low", "base", "high"])
def test_the_implied_value_is_the_formula_line_by_line(spec: Spec, case: str) -> None:
    thesis = spec.thesis
    assert thesis is not None
    firms = {firm.ticker: firm for firm in spec.firms}
    tickers = [firm.ticker for firm in spec.members("power_utilities")]
    total = 0.0
    for line in thesis.lines:
        if line.sector != "power_utilities":
            continue
        share = getattr(line.other_listed, case)
        for ticker, part in line.firms.items():
            share += part if firms[ticker].market_value_usd_bn is not None else 0.0
        total += (
            line.amount_usd_bn * line.years * getattr(thesis.realised[line.realised], case) * share
        )
    rate, years = getattr(thesis.discount_rate, case), getattr(thesis.years_to_cash, case)
    margin, tax = getattr(thesis.margin, case), getattr(thesis.tax, case)
    dollars = total * margin * (1 - tax) / (1 + rate) ** years
    got = implied_value(spec, tickers, 2000.0, sector="power_utilities")
    assert got.dollars[case] == pytest.approx(dollars, rel=1e-12)
    assert got.share[case] == pytest.approx(dollars / 2000.0, rel=1e-12)
    assert any("SMR" in text for text in got.left_out)


def test_own_lines_count_only_what_names_the_firms(spec: Spec) -> None:
    thesis = spec.thesis
    assert thesis is not None
    got = implied_value(spec, ["GEV", "CCJ", "SMR"], 200.0, sector="power_utilities", own=True)
    lines = {line.id: line for line in thesis.lines}
    want = sum(
        lines[k].amount_usd_bn * lines[k].firms[t]
        for k, t in (("A01", "CCJ"), ("A02", "GEV"), ("A08", "GEV"))
    )
    assert got.revenue["base"] == pytest.approx(want)
    assert got.announced == sum(lines[k].amount_usd_bn for k in ("A01", "A02", "A08"))
    assert (got.valued, got.firms) == (2, 3)


def test_a_sector_without_lines_has_no_implied_value(spec: Spec) -> None:
    tickers = [firm.ticker for firm in spec.members("pharma_biotech")]
    got = implied_value(spec, tickers, 4000.0, sector="pharma_biotech")
    assert got.share == {}
    assert decide(-0.1, 0.1, got.share.get("base")) == "no implied value"


def test_the_break_even_share_makes_the_implied_value_equal_the_mde(spec: Spec) -> None:
    thesis = spec.thesis
    assert thesis is not None
    implied = implied_value(spec, ["GEV", "CCJ"], 200.0, sector="power_utilities", own=True)
    share = breakeven_share(thesis, implied, 0.05)
    assert share is not None
    kept = (1 - thesis.tax.base) / (1 + thesis.discount_rate.base) ** thesis.years_to_cash.base
    assert implied.announced * share * kept / 200.0 == pytest.approx(0.05)
    assert breakeven_share(None, implied, 0.05) is None
    assert math.isfinite(share)


def test_every_number_of_the_thesis_has_a_source_or_is_called_an_assumption(spec: Spec) -> None:
    thesis = spec.thesis
    assert thesis is not None
    assert set(thesis.assumptions) >= {
        "margin",
        "tax",
        "discount_rate",
        "years_to_cash",
        "realised",
    }
    for line in thesis.lines:
        assert line.source_url.startswith("http"), line.id
        if line.firms and any(part != 1.0 for part in line.firms.values()):
            assert line.note, line.id
    assert "assumption" in thesis.assumptions["shares"]

"""Named firms: nobody's absence stops the contrast, and a firm that carries a number heads it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

import usjp_research as ur
from tests.study.test_built import edited_news
from usjp_research.market.record import Dropped, Market
from usjp_research.report.tables import evidence_words, verdict_words
from usjp_research.spec.records import ContrastVersion, Spec
from usjp_research.study.answer import run_study
from usjp_research.study.contrast import _sides, contrast_row, contrast_versions
from usjp_research.study.events import EventPanel, event_panel
from usjp_research.study.exposure import exposure_law
from usjp_research.study.left_out import stray_news
from usjp_research.study.portfolios import form_portfolios
from usjp_research.study.sample import sample
from usjp_research.study.verdict import carried, judge

POWER = "power_utilities"


@pytest.fixture(scope="module")
def market(spec: Spec) -> Market:
    return ur.simulated_market(spec, seed=12)


@pytest.fixture(scope="module")
def panel(spec: Spec, market: Market) -> EventPanel:
    return event_panel(spec, market)


def _without(market: Market, *tickers: str) -> Market:
    return replace(market, returns=market.returns.drop(columns=list(tickers)))


def _contrast(spec: Spec, market: Market) -> tuple[ur.Verdict | None, list[str], list[Dropped]]:
    data = sample(spec, market)
    row, dropped = contrast_row(data)
    found, more = contrast_versions(data)
    return row, [item.row.name for item in found], [*dropped, *more]


@pytest.mark.parametrize("ticker", ["SO", "KMI", "NEE"])  # unnamed; in blackout; asked for
def test_a_price_file_without_a_firm_gives_every_version_and_names_the_firm(
    spec: Spec, market: Market, ticker: str
) -> None:
    row, names, missing = _contrast(spec, _without(market, ticker))
    assert row is not None
    titles = [v.title for v in spec.rule.contrast_versions if v.events != ("E35",)]  # names nobody
    assert names == [f"{POWER}: {title}" for title in titles]
    absent = [i for i in missing if "not in the prices" in i.reason and ticker in i.reason]
    assert {item.name for item in absent} >= set(titles)


def test_the_sides_of_every_version_hold_only_firms_that_are_there(
    spec: Spec, market: Market
) -> None:
    data = sample(spec, market)
    for firm in spec.members(POWER):
        less = market.returns.drop(columns=firm.ticker)
        for version in spec.rule.contrast_versions:
            event = (version.events or ("E17",))[0]
            named, unnamed, gone = _sides(data, less, POWER, event, version)
            assert not {*named, *unnamed} - set(less.columns)
            assert firm.ticker in version.without or any(firm.ticker in text for text in gone)


@pytest.mark.soak
def test_no_firm_s_absence_stops_the_contrast(spec: Spec, market: Market) -> None:
    for firm in spec.firms:
        _contrast(spec, _without(market, firm.ticker))


@pytest.mark.soak
def test_no_firm_s_absence_stops_a_study(spec: Spec, market: Market) -> None:
    for firm in spec.firms:
        assert len(run_study(sample(spec, _without(market, firm.ticker))).verdicts) == len(
            spec.sectors
        )


def test_a_firm_with_a_hole_in_the_window_is_out_of_a_version_and_named(
    spec: Spec, market: Market, panel: EventPanel
) -> None:
    place = panel.position("E17")
    assert place is not None
    frame = market.returns.copy()
    frame.loc[pd.Timestamp(panel.new_york[place]), "KMI"] = np.nan  # in blackout at E17
    other = replace(market, returns=frame)
    rule = spec.rule.model_copy(
        update={"contrast_versions": (ContrastVersion(title="kept", blackout=False),)}
    )
    _, names, missing = _contrast(replace(spec, rule=rule), other)
    assert names == [f"{POWER}: kept"]
    assert any("too few returns" in item.reason and "KMI" in item.reason for item in missing)


# --- one firm ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "rest", "rests"),
    [
        ((0.09, 0.02, 0.16), (0.08, -0.01, 0.15), True),  # clear of zero, and then no more
        ((0.09, 0.02, 0.16), (0.044, 0.01, 0.08), True),  # half of the effect is gone
        ((-0.09, -0.16, -0.02), (-0.08, -0.15, 0.01), True),
        ((-0.09, -0.16, -0.02), (0.01, -0.05, 0.07), True),
        ((0.09, 0.02, 0.16), (0.08, 0.01, 0.15), False),
        ((-0.09, -0.16, -0.02), (-0.1, -0.2, -0.03), False),
        ((0.09, -0.02, 0.2), (0.05, -0.06, 0.16), False),
        ((0.09, -0.02, 0.2), (0.03, -0.08, 0.14), True),
    ],
)
def test_one_firm_carries_a_number_as_the_rule_says(
    row: tuple[float, float, float], rest: tuple[float, float, float], rests: bool
) -> None:
    assert carried(row, rest) is rests


def _planted(market: Market, panel: EventPanel, sizes: dict[str, float]) -> Market:
    place = panel.position("E17")
    assert place is not None
    frame = market.returns.copy()
    for ticker, size in sizes.items():
        frame[ticker] += size * (frame.index == pd.Timestamp(panel.new_york[place]))
    return replace(market, returns=frame)


def test_a_contrast_that_one_firm_makes_is_headed_by_it_and_the_verdict_stands_behind(
    spec: Spec, market: Market, panel: EventPanel
) -> None:
    row, _, _ = _contrast(spec, _planted(market, panel, {"CCJ": 0.6}))
    assert row is not None
    assert (row.rests_on, row.headline) == ("CCJ", "rests on one firm: CCJ")
    assert row.reason.startswith(f"by the rule {row.verdict}")
    assert f"({row.reason}" in verdict_words(row)
    assert verdict_words(row).startswith("rests on one firm: CCJ")
    table = ur.table("verdicts", [row])
    assert "rests on one firm: CCJ" in table["Verdict"][0]


def test_a_contrast_that_all_named_firms_make_rests_on_none_of_them(
    spec: Spec, market: Market, panel: EventPanel
) -> None:
    row, _, _ = _contrast(spec, _planted(market, panel, {"CCJ": 0.6, "SMR": 0.6, "GEV": 0.6}))
    assert row is not None and row.low > 0
    assert row.rests_on == "" and row.headline == row.verdict


def test_averages_carry_the_finding_of_the_firms_and_say_where_it_does_not_hold(
    spec: Spec,
) -> None:
    bundle = ur.load_market(spec, "bundled")
    row, _, _ = _contrast(spec, bundle)
    assert row is not None and row.headline == "rests on one firm: CCJ"
    more = replace(row.implied, share={"low": 0.5, "base": 0.6, "high": 0.7})
    again = judge(spec, replace(row, implied=more))
    assert (again.headline, again.reason) == (row.headline, "by the rule partly priced in")
    other = replace(spec, rule=spec.rule.model_copy(update={"alpha": 0.2}))
    changed, _, missing = _contrast(other, bundle)
    assert changed is not None and changed.rests_on == ""
    unknown = "whether one firm carries it needs returns of single firms"
    assert unknown in changed.remark and unknown in [item.reason for item in missing]


def test_a_slope_that_one_firm_makes_is_headed_by_it(
    spec: Spec, market: Market, panel: EventPanel
) -> None:
    other = _planted(market, panel, {"SMR": 0.5})
    data = ur.Sample(spec, other, panel, form_portfolios(spec, other, panel))
    row = exposure_law(data)
    without = [exposure_law(data, without=(t,)).slope for t in ("SMR", "CCJ")]
    values = [np.nan if slope is None else slope.value for slope in without]
    assert row.slope is not None
    assert row.slope.rests_on == ("SMR" if values[0] <= values[1] else "CCJ")
    assert row.headline == f"rests on one firm: {row.slope.rests_on}"
    assert row.numbers()["rests_on"] == row.slope.rests_on
    assert f"(by the rule: {row.verdict})" in evidence_words(row)


# --- own news that does nothing ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "said"),
    [
        (date(2099, 1, 4), "outside the data"),
        (date(1999, 1, 4), "outside the data"),
        (date(2025, 7, 20), "no session of the data"),  # a Sunday
        (date(2025, 6, 2), "near no event"),
    ],
)
def test_own_news_that_takes_nobody_out_is_listed(
    spec: Spec, market: Market, day: date, said: str
) -> None:
    data = sample(edited_news(spec, session=day), market)
    slot = data.portfolios.slots["E05", "defense_aerospace"]
    assert "LMT" in slot.members  # the blackout is lifted
    found = [item for item in stray_news(data) if item.name == "LMT"]
    assert any(said in item.reason and str(day) in item.reason for item in found)


def test_sessions_looked_through_that_are_none_are_listed(spec: Spec, market: Market) -> None:
    far = {**spec.coverage, "LMT": frozenset({date(9999, 1, 4)})}
    found = [item.reason for item in stray_news(sample(replace(spec, coverage=far), market))]
    assert any("9999-01-04" in reason and "no session" in reason for reason in found)


def test_a_firm_that_stays_in_although_its_news_is_known_is_listed(
    spec: Spec, market: Market
) -> None:
    data = sample(spec, market)
    found = {item.name: item.reason for item in stray_news(data)}
    assert data.portfolios.slots["E32", "mining_metals"].status == "not available"
    assert "kept although own news is known: ALB" in found["E32/mining_metals"]

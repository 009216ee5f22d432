"""The contrast and its versions: whose side a firm is on, what is published, what a plant shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from usjp_research.market.record import BENCHMARK, Dropped, Market
from usjp_research.market.simulate import simulated_market
from usjp_research.report.tables import contrast_table
from usjp_research.spec.records import ContrastVersion, Spec
from usjp_research.study.contrast import contrast_row, contrast_versions
from usjp_research.study.events import EventPanel, event_panel
from usjp_research.study.portfolios import Portfolios, form_portfolios

POWER = "power_utilities"


@pytest.fixture(scope="module")
def simulated(spec: Spec) -> tuple[Market, EventPanel, Portfolios]:
    market = simulated_market(spec, seed=11)
    panel = event_panel(spec, market)
    return market, panel, form_portfolios(spec, market, panel)


def _with(spec: Spec, *versions: ContrastVersion) -> Spec:
    rule = spec.rule.model_copy(update={"contrast_versions": versions})
    return replace(spec, rule=rule)


def test_a_version_is_the_named_mean_less_the_unnamed_mean_through_the_market_model(
    spec: Spec, simulated: tuple[Market, EventPanel, Portfolios]
) -> None:
    market, panel, made = simulated
    (found,) = contrast_versions(
        _with(spec, ContrastVersion(title="less", without=("CCJ", "OKLO"))), market, panel, made, []
    )
    slot = made.slots["E17", POWER]
    firms = {firm.ticker: firm for firm in spec.members(POWER)}
    named = [t for t in slot.members if firms[t].named_event == "E17" and t != "CCJ"]
    unnamed = [t for t in slot.members if not firms[t].named_event and t != "OKLO"]
    assert list(found.named) == named
    spread = market.returns[named].mean(axis=1) - market.returns[unnamed].mean(axis=1)
    center = int(panel.day0[panel.position("E17") or 0])
    span = [t for t in range(center - 271, center - 21) if not panel.masked[t]]
    exog = sm.add_constant(market.returns[BENCHMARK])
    fit = sm.OLS(spread.iloc[span], exog.iloc[span]).fit()
    window = slice(center - 1, center + 2)
    want = float((spread.iloc[window] - fit.predict(exog.iloc[window])).sum())
    assert found.row.effect == pytest.approx(want, abs=1e-12)


def test_firms_in_blackout_come_back_when_a_version_asks_for_them(
    spec: Spec, simulated: tuple[Market, EventPanel, Portfolios]
) -> None:
    market, panel, made = simulated
    out, kept = contrast_versions(
        _with(
            spec,
            ContrastVersion(title="as the rule"),
            ContrastVersion(title="kept", blackout=False),
        ),
        market,
        panel,
        made,
        [],
    )
    assert set(kept.named) - set(out.named) == {"KMI"}
    rule, _ = contrast_row(spec, panel, made, [])
    assert rule is not None
    assert out.row.effect == pytest.approx(rule.effect, abs=1e-12)
    assert kept.row.effect != pytest.approx(rule.effect, abs=1e-4)


def test_several_events_make_one_window_with_the_firms_they_named(
    spec: Spec, simulated: tuple[Market, EventPanel, Portfolios]
) -> None:
    market, panel, made = simulated
    asked = ContrastVersion(title="second", events=("E42", "E43"), named=("GEV", "NEE", "AEP"))
    (found,) = contrast_versions(_with(spec, asked), market, panel, made, [])
    assert found.row.events == ("E42", "E43")
    assert set(found.named) == {"GEV", "NEE", "AEP"}
    assert found.safe


def test_an_event_that_named_nobody_is_listed_with_its_reason(
    spec: Spec, simulated: tuple[Market, EventPanel, Portfolios]
) -> None:
    market, panel, made = simulated
    missing: list[Dropped] = []
    asked = ContrastVersion(title="first projects", events=("E35",))
    assert contrast_versions(_with(spec, asked), market, panel, made, missing) == ()
    assert [item.name for item in missing] == ["first projects"]
    assert "no listed firm" in missing[0].reason


def test_versions_that_would_give_a_firm_away_are_withheld_from_public_tables(
    spec: Spec, simulated: tuple[Market, EventPanel, Portfolios]
) -> None:
    market, panel, made = simulated
    found = contrast_versions(
        _with(
            spec,
            ContrastVersion(title="two firms", without=("CCJ",)),
            ContrastVersion(title="one more than the rule", blackout=False),
        ),
        market,
        panel,
        made,
        [],
    )
    assert [item.safe for item in found] == [False, False]
    public, local = (contrast_table((), found, public=flag) for flag in (True, False))
    for column in ("C", "Interval", "MDE", "Verdict"):
        assert set(public[column]) == {"withheld"}
        assert "withheld" not in set(local[column])
    assert list(public["p"]) == list(local["p"])


def test_a_planted_gap_between_named_and_unnamed_is_recovered(
    spec: Spec, simulated: tuple[Market, EventPanel, Portfolios]
) -> None:
    market, panel, made = simulated
    version = _with(spec, ContrastVersion(title="plain"))
    (before,) = contrast_versions(version, market, panel, made, [])
    returns = market.returns.copy()
    returns.loc[pd.Timestamp("2025-10-28"), list(before.named)] += 0.2
    moved = replace(market, returns=returns)
    (after,) = contrast_versions(version, moved, panel, made, [])
    assert after.row.effect - before.row.effect == pytest.approx(0.2, abs=1e-12)
    assert after.row.low > 0


@pytest.mark.soak
def test_the_named_contrast_keeps_its_level_on_quiet_dates(spec: Spec) -> None:
    version = _with(spec, ContrastVersion(title="plain"))
    p = []
    for seed in range(60):
        market = simulated_market(spec, seed=seed)
        panel = event_panel(spec, market)
        made = form_portfolios(spec, market, panel)
        p.append(contrast_versions(version, market, panel, made, [])[0].row.p)
    rejected = float((np.array(p) <= spec.rule.alpha).mean())
    error = np.sqrt(spec.rule.alpha * (1 - spec.rule.alpha) / len(p))
    assert abs(rejected - spec.rule.alpha) < 3 * error


def test_single_firms_are_needed(bundled_versions: list[Dropped]) -> None:
    assert bundled_versions
    assert all("single firms" in item.reason for item in bundled_versions)


@pytest.fixture(scope="module")
def bundled_versions(spec: Spec) -> list[Dropped]:
    from usjp_research.market.load import load_market

    market = load_market(spec, "bundled")
    panel = event_panel(spec, market)
    missing: list[Dropped] = []
    found = contrast_versions(spec, market, panel, form_portfolios(spec, market, panel), missing)
    assert found == ()
    return missing

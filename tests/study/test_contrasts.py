"""The contrast and its versions: whose side a firm is on, what is published, what a plant shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from usjp_research.market.record import BENCHMARK
from usjp_research.market.simulate import simulated_market
from usjp_research.report.tables import table
from usjp_research.spec.records import ContrastVersion, Spec
from usjp_research.study.contrast import NamedVersion, contrast_row, contrast_versions
from usjp_research.study.sample import Sample, sample

POWER = "power_utilities"


@pytest.fixture(scope="module")
def data(spec: Spec) -> Sample:
    return sample(spec, simulated_market(spec, seed=11))


def _with(data: Sample, *versions: ContrastVersion) -> Sample:
    rule = data.spec.rule.model_copy(update={"contrast_versions": versions})
    return replace(data, spec=replace(data.spec, rule=rule))


def _versions(data: Sample, *versions: ContrastVersion) -> tuple[NamedVersion, ...]:
    return contrast_versions(_with(data, *versions))[0]


def test_a_version_is_the_named_mean_less_the_unnamed_mean_through_the_market_model(
    data: Sample,
) -> None:
    (found,) = _versions(data, ContrastVersion(title="less", without=("CCJ", "OKLO")))
    panel, returns = data.panel, data.market.returns
    slot = data.portfolios.slots["E17", POWER]
    firms = {firm.ticker: firm for firm in data.spec.members(POWER)}
    named = [t for t in slot.members if firms[t].named_event == "E17" and t != "CCJ"]
    unnamed = [t for t in slot.members if not firms[t].named_event and t != "OKLO"]
    assert list(found.named) == named
    spread = returns[named].mean(axis=1) - returns[unnamed].mean(axis=1)
    center = int(panel.day0[panel.position("E17") or 0])
    span = [t for t in range(center - 271, center - 21) if not panel.masked[t]]
    exog = sm.add_constant(returns[BENCHMARK])
    fit = sm.OLS(spread.iloc[span], exog.iloc[span]).fit()
    window = slice(center - 1, center + 2)
    want = float((spread.iloc[window] - fit.predict(exog.iloc[window])).sum())
    assert found.row.effect == pytest.approx(want, abs=1e-12)


def test_firms_in_blackout_come_back_when_a_version_asks_for_them(data: Sample) -> None:
    out, kept = _versions(
        data, ContrastVersion(title="as the rule"), ContrastVersion(title="kept", blackout=False)
    )
    assert set(kept.named) - set(out.named) == {"KMI"}
    rule, _ = contrast_row(data)
    assert rule is not None
    assert out.row.effect == pytest.approx(rule.effect, abs=1e-12)
    assert kept.row.effect != pytest.approx(rule.effect, abs=1e-4)


def test_several_events_make_one_window_with_the_firms_they_named(data: Sample) -> None:
    asked = ContrastVersion(title="second", events=("E42", "E43"), named=("GEV", "NEE", "AEP"))
    (found,) = _versions(data, asked)
    assert found.row.events == ("E42", "E43")
    assert set(found.named) == {"GEV", "NEE", "AEP"}
    assert found.safe


def test_an_event_that_named_nobody_is_listed_with_its_reason(data: Sample) -> None:
    asked = ContrastVersion(title="first projects", events=("E35",))
    found, dropped = contrast_versions(_with(data, asked))
    assert found == ()
    assert [item.name for item in dropped] == ["first projects"]
    assert "no listed firm" in dropped[0].reason


def test_versions_that_would_give_a_firm_away_are_withheld_from_public_tables(data: Sample) -> None:
    found = _versions(
        data,
        ContrastVersion(title="two firms", without=("CCJ",)),
        ContrastVersion(title="one more than the rule", blackout=False),
    )
    assert [item.safe for item in found] == [False, False]
    public, local = (table("contrast", (), found, public=flag) for flag in (True, False))
    for column in ("C", "Interval", "MDE", "Verdict"):
        assert set(public[column]) == {"withheld"}
        assert "withheld" not in set(local[column])
    assert list(public["p"]) == list(local["p"])


def test_a_planted_gap_between_named_and_unnamed_is_recovered(data: Sample) -> None:
    plain = ContrastVersion(title="plain")
    (before,) = _versions(data, plain)
    returns = data.market.returns.copy()
    returns.loc[pd.Timestamp("2025-10-28"), list(before.named)] += 0.2
    moved = replace(data, market=replace(data.market, returns=returns))
    (after,) = _versions(moved, plain)
    assert after.row.effect - before.row.effect == pytest.approx(0.2, abs=1e-12)
    assert after.row.low > 0


@pytest.mark.soak
def test_the_named_contrast_keeps_its_level_on_quiet_dates(spec: Spec) -> None:
    plain = ContrastVersion(title="plain")
    p = [
        _versions(sample(spec, simulated_market(spec, seed=seed)), plain)[0].row.p
        for seed in range(60)
    ]
    rejected = float((np.array(p) <= spec.rule.alpha).mean())
    error = np.sqrt(spec.rule.alpha * (1 - spec.rule.alpha) / len(p))
    assert abs(rejected - spec.rule.alpha) < 3 * error


def test_single_firms_are_needed(spec: Spec) -> None:
    found, dropped = contrast_versions(sample(spec, "bundled"))
    assert found == () and len(dropped) == len(spec.rule.contrast_versions)
    assert all("single firms" in item.reason for item in dropped)

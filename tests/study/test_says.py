"""What a row of the second rule says, each number by hand; and studies that lack what it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from tests.study.by_hand import SECTORS, STUDY, small_market, small_sample, small_spec
from usjp_research.market.simulate import simulated_market
from usjp_research.study.answer import Study, family_legs, run_study
from usjp_research.study.checks import by_day
from usjp_research.study.first_trade import first_trade
from usjp_research.study.legs import event_legs
from usjp_research.study.sample import Sample, sample
from usjp_research.study.second import (
    ASSURANCE,
    BELOW,
    SAYS,
    Second,
    _with_remark,
    assurance,
    says,
    second_rows,
)
from usjp_research.study.verdict import VERDICTS
from usjp_research.words import percent

Told = tuple[Study, Second, pd.DataFrame]


def _told(study: Study) -> Told:
    found = second_rows(study.data, study.family.shifts)
    assert found is not None
    days = by_day(study.data, family_legs(study.data))
    table = says(study.data, found, study.first, days)
    assert tuple(table) == SAYS
    return study, found, table.set_index("sector")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Told:
    spec = small_spec(tmp_path_factory.mktemp("says"))
    return _told(run_study(small_sample(spec, *small_market())))


@pytest.fixture(scope="module", params=["small", "bundled"])
def told(request: pytest.FixtureRequest, small: Told, bundled: Study) -> Told:
    return small if request.param == "small" else _told(bundled)


# --- rows --------------------------------------------------------------------------------------


def test_every_row_has_the_numbers_of_its_verdict_and_of_the_first_rule(told: Told) -> None:
    study, found, table = told
    before = {row.name: row for row in study.first}
    assert list(table.index) == [row.name for row in found.rows] == list(study.data.spec.sectors)
    for row in found.rows:
        said = table.loc[row.name]
        for key in ("effect", "low", "high", "mde"):
            assert said[key] == getattr(row, key)
        assert said["first_effect"] == before[row.name].effect
        assert said["first_headline"] == before[row.name].headline
        assert said["agrees"] == (row.headline == before[row.name].headline)
        assert said["excludes_material"] == (row.low > -0.05 and row.high < 0.05)
        high = row.implied.share.get("high", 0.0)
        assert said["too_small_by"] == pytest.approx(
            row.mde / high if high else np.nan, nan_ok=True
        )


def test_the_days_add_up_to_the_first_rule_s_sum(told: Told) -> None:
    _, _, table = told
    days = table[["day_before", "day_0", "day_after"]].sum(axis=1)
    np.testing.assert_allclose(
        days.to_numpy(float), table["first_effect"].to_numpy(float), atol=1e-12
    )


def test_the_evidence_is_the_ratio_of_the_placebo_law_moved_and_unmoved(told: Told) -> None:
    _, found, table = told
    seen = 0
    for k, row in enumerate(found.rows):
        said = table.loc[row.name]
        if not row.implied.share:
            assert np.isnan(said["evidence"]) and said["evidence_reason"] == "no implied value"
            continue
        null, g = found.law.null_statistic[:, k], row.implied.share["base"] / row.error
        width = 1.06 * null.std(ddof=1) * (len(null) / 3) ** (-1 / 5)
        moved, plain = (
            scipy.stats.norm.pdf(x, null, width).mean() for x in (row.statistic - g, row.statistic)
        )
        if said["evidence_reason"]:
            assert "placebo calendars lie near" in said["evidence_reason"]
        else:
            assert said["evidence"] == pytest.approx(min(max(moved / plain, 0.05), 20), rel=1e-9)
        seen += 1
    assert seen


def test_the_ceiling_is_every_dollar_over_value_and_no_implied_value_is_above_it(
    told: Told,
) -> None:
    study, found, table = told
    thesis = study.data.spec.thesis
    assert thesis is not None
    for row in found.rows:
        if row.implied.share and row.implied.market_value:
            assert float(table["ceiling"][row.name]) >= row.implied.share["high"]


def test_a_ceiling_by_hand(small: Told) -> None:
    _, found, table = small
    assert table.loc["solar", "ceiling"] == pytest.approx(900 / 478)
    assert found.rows[0].implied.market_value == pytest.approx(478)
    assert table.loc["solar", "valued"] == 12
    # 200 and 90 of 478 are cut at 1.5 / 12, and the rest shares what is left, cut again.
    rest = np.array([60, 40, 30, 20, 12, 9, 7, 5, 3, 2.0])
    weights = np.r_[0.125, 0.125, 0.75 * rest / rest.sum()]
    while (weights > 0.125 + 1e-12).any():
        over = weights >= 0.125 - 1e-12
        weights[over] = 0.125
        weights[~over] *= (1 - 0.125 * over.sum()) / weights[~over].sum()
    assert table.loc["solar", "effective"] == pytest.approx(1 / np.square(weights).sum())


def test_assurance_has_a_row_for_every_truth_that_sums_to_one(told: Told) -> None:
    _, found, _ = told
    table = assurance(found)
    assert tuple(table) == ASSURANCE
    np.testing.assert_allclose(table[list(VERDICTS)].sum(axis=1), 1, atol=1e-12)
    valued = [row.name for row in found.rows if row.implied.share]
    assert set(table[table["truth"] == "implied value"]["sector"]) == set(valued)
    quiet = table[table["truth"] == "nothing"]
    # Each row alone is rejected no more often than the family is.
    assert (quiet[["moved against", "more than priced in"]].sum(axis=1) <= 0.1).all()


def test_a_verdict_against_a_value_too_small_to_see_says_what_it_rests_on(small: Told) -> None:
    row = small[1].rows[0]
    share = {"low": 0.005, "base": 0.01, "high": 0.02}
    row = replace(row, headline="not priced in", implied=replace(row.implied, share=share))
    assert _with_remark(replace(row, mde=0.03)).remark == BELOW
    assert _with_remark(replace(row, mde=0.009)).remark == row.remark
    told = replace(row, mde=0.03, by_case=dict.fromkeys(row.by_case, "cannot say"))
    assert _with_remark(told).remark == row.remark


# --- what may be missing -----------------------------------------------------------------------


def _no_values(folder: Path) -> Sample:
    names = [ticker for group in SECTORS.values() for ticker in group]
    return small_sample(small_spec(folder, values=dict.fromkeys(names)), *small_market())


def _seven_values(folder: Path) -> Sample:
    names = [ticker for group in SECTORS.values() for ticker in group[7:]]
    return small_sample(small_spec(folder, values=dict.fromkeys(names)), *small_market())


def _no_thesis(folder: Path) -> Sample:
    return small_sample(small_spec(folder, thesis=""), *small_market())


def _no_controls(folder: Path) -> Sample:
    spec = small_spec(folder)
    return sample(spec, simulated_market(spec, seed=2, first="2021-01-04", last="2024-12-31"))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_no_values, "N1: too few of its firms have a market value"),
        (_seven_values, "N1: too few of its firms have a market value"),
        (_no_thesis, "N1: too few of its firms have a market value"),
        (_no_controls, "no control 'outside': the returns are simulated"),
    ],
)
def test_what_is_missing_leaves_a_study_that_runs_and_a_reason_for_every_row(
    tmp_path: Path, make: Callable[[Path], Sample], reason: str
) -> None:
    study = run_study(make(tmp_path))
    assert [row.name for row in study.verdicts] == list(SECTORS)
    assert all(np.isfinite([row.effect, row.low, row.high]).all() for row in study.verdicts)
    _, found, table = _told(study)
    assert found.rows == () and table.empty and assurance(found).empty
    said = {item.name: item.reason for item in found.dropped}
    assert set(said) == set(SECTORS)
    assert reason in said.values() and all("\n" not in why for why in said.values())


def test_without_openings_or_a_thesis_line_the_second_rule_still_has_its_rows(
    tmp_path: Path,
) -> None:
    market, controls = small_market()
    data = small_sample(small_spec(tmp_path), replace(market, openings={}), controls)
    study, found, table = _told(run_study(data))
    assert [row.name for row in found.rows] == list(SECTORS) and found.dropped == ()
    assert table.loc["rail", "evidence_reason"] == "no implied value"
    trades, lost = first_trade(data, study.family.shifts)
    assert trades.empty and {item.name for item in lost} == set(SECTORS)


def test_a_study_without_a_second_rule_says_nothing_of_one(tmp_path: Path) -> None:
    spec = small_spec(tmp_path, study=STUDY.partition("second:")[0])
    study = run_study(small_sample(spec, *small_market()))
    assert second_rows(study.data, study.family.shifts) is None
    assert not study.data.portfolios.returns.filter(like="capped/").size


def test_a_day_is_told_once_with_all_its_news_and_one_before_the_news_in_the_sum_that_holds_it(
    bundled: Study,
) -> None:
    (row,) = (row for row in bundled.first if row.name == "pharma_biotech")
    days = by_day(bundled.data, {row.name: event_legs(bundled.data, row.name)})
    moved = days.set_index("session")["effect"]
    early = days.loc[days["offset"] < 0, "effect"].sum()
    before, day0, jobs = row.remark.split("; ")
    assert before.startswith(
        f"{percent(early, 1)} of its {percent(row.effect, 1)} came on the days"
    )
    of_it = f"({percent(moved['2025-07-22'], 1)} on 2025-07-22: Trade deals with the Philippines"
    assert of_it in before
    assert f"{percent(moved['2025-07-23'], 1)} of its" in day0
    assert "Thermo Fisher" in day0 and "EU tariff deal" in day0
    assert f"{percent(moved['2025-09-05'], 1)} of its" in jobs
    for day in ("2025-07-22", "2025-07-23", "2025-09-05"):
        assert row.remark.count(day) == 1


def test_a_row_that_a_listed_day_makes_is_marked_with_it(bundled: Study) -> None:
    (row,) = (row for row in bundled.leaks if row.name == "mining_metals")
    assert row.marginal_high < 0 and "came on 2026-01-30: Gold and silver fell" in row.remark
    assert all("2026-01-30" not in other.remark for other in bundled.leaks if other is not row)

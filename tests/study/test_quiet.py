"""Controls are chosen on quiet dates alone, by the criterion, and the frozen ones are these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.study import by_hand
from tests.study.by_hand import STUDY, Term, small_market, small_sample, small_spec
from usjp_research.market.simulate import simulated_market
from usjp_research.spec.records import Spec, find_root
from usjp_research.study import quiet
from usjp_research.study.quiet import Candidates, quiet_candidates
from usjp_research.study.sample import Sample, sample
from usjp_research.words import InputError


def _sample(folder: Path, study: str = STUDY) -> Sample:
    """Add averages: two are of use, one is a little, and one is not."""
    market, controls = small_market()
    draw = np.random.default_rng(31)
    noise = pd.DataFrame(0.01 * draw.standard_normal((len(controls), 2)), controls.index)
    noise.columns = pd.Index(["c", "d"])
    noise["c"] += 0.3 * (controls["donor/a"] + controls["donor/b"])
    controls = controls.join(noise.add_prefix("donor/"))
    return small_sample(small_spec(folder, study=study), market, controls)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return _sample(tmp_path_factory.mktemp("quiet"))


@pytest.fixture(scope="module", autouse=True)
def few_draws() -> Iterator[None]:
    """Draw fewer bootstraps: they decide how far two criteria are told apart, nothing else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quiet, "DRAWS", 40)
        yield


@pytest.fixture(scope="module")
def chosen(data: Sample) -> Candidates:
    return quiet_candidates(data)


def _changed(data: Sample, last: pd.Timestamp, value: float) -> Sample:
    """Put a value in place of every return after a day."""

    def cut(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([frame.loc[:last], 0 * frame.loc[last:].iloc[1:] + value])

    benchmark = np.where(data.market.dates <= last, data.portfolios.benchmark, value)
    made = replace(data.portfolios, returns=cut(data.portfolios.returns), benchmark=benchmark)
    market = replace(data.market, returns=cut(data.market.returns))
    return replace(data, market=market, portfolios=made, controls=cut(data.controls))


@pytest.mark.parametrize("value", [np.nan, 1e3])
def test_no_return_after_the_last_quiet_day_is_read(
    data: Sample, chosen: Candidates, value: float
) -> None:
    assert chosen.last < pd.Timestamp("2024-03-04")  # the first window of the first event
    again = quiet_candidates(_changed(data, chosen.last, value))
    pd.testing.assert_frame_equal(again.table, chosen.table, check_exact=True)
    pd.testing.assert_frame_equal(again.sectors, chosen.sectors, check_exact=True)
    assert (again.controls, again.last) == (chosen.controls, chosen.last)


def test_the_last_quiet_day_is_read(data: Sample, chosen: Candidates) -> None:
    before = data.market.dates[data.market.dates < chosen.last][-1]
    again = quiet_candidates(_changed(data, before, 0.2))
    assert not again.sectors["mde"].equals(chosen.sectors["mde"])


def _by_hand(data: Sample, chosen: Candidates, controls: tuple[str, ...]) -> pd.DataFrame:
    """Recompute placebo sd, MDE and retained share by sector by statsmodels."""
    spec, days = data.spec, data.market.dates
    taken, own = by_hand.masks(spec, days)
    groups: dict[str, list[Term]] = {sector: [] for sector in spec.sectors}
    for event in spec.with_role("primary"):
        day0, inside = by_hand.placed(event, days)
        for sector, sign in event.signs.items():
            series = f"capped/{days[day0].date()}/{sector}"
            groups[sector].append(Term(series, day0, (0, int(inside)), sign))
    starts = sorted({(t.day0 - 1, 0) for terms in groups.values() for t in terms})
    first = int(np.flatnonzero(taken)[0])
    shifts = [s for s in by_hand.moves(own, taken, starts) if own[-1] + s < first]
    assert len(shifts) == chosen.shifts and days[own[-1] + max(shifts)] == chosen.last
    frame = data.portfolios.returns.join(data.controls).assign(us_market=data.portfolios.benchmark)
    against = {"solar": ["us_market", *controls], "rail": ["outside", *controls]}
    law = by_hand.sums(groups, frame, against, taken, own, shifts)
    effect, error = law.effect[1:], np.sqrt(law.variance[1:])
    away = effect / error - (effect / error).mean(axis=0)
    q = float(np.sort(np.abs(away).max(axis=1))[-int(0.1 * (len(away) + 1))])
    mde = [by_hand.detected(a, q, 0.8) * se for a, se in zip(away.T, error.mean(0), strict=True)]
    kept = 1 - np.array([0.2, 0.0]) * law.loading[1:].mean(axis=0)
    sd = effect.std(axis=0, ddof=1)
    return pd.DataFrame({"placebo_sd": sd, "mde": mde, "retained": kept}, index=list(groups))


@pytest.mark.parametrize("count", [0, 2])
def test_the_criterion_is_the_mean_log_of_mde_over_retained_share_by_statsmodels(
    data: Sample, chosen: Candidates, count: int
) -> None:
    row = chosen.table[chosen.table["controls"] == count].iloc[0]
    controls = () if count == 0 else ("donor/a", "donor/b")
    assert set(controls) == set(_greedy(chosen)[:count])
    want = _by_hand(data, chosen, controls)
    got = chosen.sectors[chosen.sectors["controls"] == count].set_index("sector")
    for name in want:
        np.testing.assert_allclose(got[name], want[name], atol=1e-8, err_msg=name)
    criterion = np.log(want["mde"] / want["retained"]).mean()
    assert row["criterion"] == pytest.approx(criterion, abs=1e-7)
    assert row["least_retained"] == pytest.approx(want["retained"].min(), abs=1e-8)
    np.testing.assert_allclose(got["mde_over_retained"], got["mde"] / got["retained"])


def _greedy(chosen: Candidates) -> list[str]:
    names = chosen.table["candidate"].str.extract("^and (.*)$")[0].dropna()
    return [f"donor/{name}" for name in names]


def test_each_step_adds_the_average_that_lowers_the_criterion_most(
    data: Sample, chosen: Candidates
) -> None:
    found = quiet._Quiet.of(data)
    names = sorted(str(name) for name in data.controls if str(name).startswith("donor/"))
    held: tuple[str, ...] = ()
    for step in _greedy(chosen):
        left = {n: found.criterion(found.trial((*held, n))) for n in names if n not in held}
        assert step == min(left, key=left.__getitem__)
        held = (*held, step)
    assert len(held) == len(names)


def test_ties_go_to_the_first_of_the_alphabet(
    data: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet, "MOST", 1)
    twins = data.controls[["outside"]].assign(**{"donor/z": data.controls["donor/a"]})
    for name in ("donor/m", "donor/y"):  # the first to be met is not the first of the alphabet
        twins[name] = twins["donor/z"]
    found = quiet_candidates(replace(data, controls=twins))
    assert _greedy(found) == ["donor/m"]


def test_the_choice_follows_from_the_table_by_the_rule_as_it_was_written(
    chosen: Candidates,
) -> None:
    table = chosen.table
    sound = table["family_size"] <= 0.1 + 2 * table["size_error"]
    assert (table["admissible"] == (sound & (table["least_retained"] >= 0.5))).all()
    good = table[table["admissible"]]
    best = int(np.where(table["admissible"], table["criterion"], np.inf).argmin())
    distance = table["criterion"] - table["criterion"][best]
    assert table["difference"].to_numpy() == pytest.approx(distance.to_numpy())
    assert table["error"][best] == 0
    near = good[good["difference"] <= good["error"]]
    fewest = near.sort_values(["controls", "criterion"]).iloc[0]
    assert table[table["chosen"]]["candidate"].tolist() == [fewest["candidate"]]
    assert len(chosen.controls) == fewest["controls"]


def test_where_no_candidate_keeps_half_of_a_shock_none_is_chosen(tmp_path: Path) -> None:
    study = STUDY.replace("solar: 0.2", "solar: 0.9")
    with pytest.raises(InputError, match="no candidate is admissible"):
        data = _sample(tmp_path, study)
        quiet_candidates(replace(data, controls=data.controls[["outside", "donor/d"]]))


def test_without_averages_or_quiet_calendars_the_choice_is_refused(
    tmp_path: Path, spec: Spec
) -> None:
    drawn = sample(spec, simulated_market(spec, seed=3))
    with pytest.raises(InputError, match="no averages of outside firms that could be controls"):
        quiet_candidates(drawn)
    short = _sample(tmp_path, STUDY.replace("least_shifts: 100", "least_shifts: 600"))
    with pytest.raises(
        InputError, match="quiet calendars with complete returns before the first event"
    ):
        quiet_candidates(short)


def test_the_documented_table_chooses_the_frozen_controls(spec: Spec) -> None:
    table = pd.read_csv(find_root(Path(__file__)) / "docs/quiet/candidates.csv")
    steps = table["candidate"].str.removeprefix("and ")
    chosen = table.loc[table["chosen"].astype(str) == "True", "controls"].item()
    second = spec.rule.second
    assert second is not None
    assert {f"donor/{name}" for name in steps[1 : chosen + 1]} == set(second.controls)

"""What a placebo law says of a size: evidence, assurance, and the size of its own test."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scipy.stats

from usjp_research.engine.evidence import BLOCKS, HALVES, SEED, evidence_ratio, held_out_size
from usjp_research.engine.placebo import Placebo
from usjp_research.study.second import Second, assurance
from usjp_research.study.verdict import VERDICTS, Implied, Verdict

Floats = npt.NDArray[np.float64]
NORMAL = scipy.stats.norm.ppf((np.arange(6000) + 0.5) / 6000)  # a normal law, without chance


# --- the evidence ratio ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [-1.5, -0.4, 0.2, 0.9, 1.7])
@pytest.mark.parametrize("seen", [-1.2, -0.3, 0.0, 0.7, 1.4])
def test_on_a_normal_law_the_ratio_is_the_closed_form(seen: float, size: float) -> None:
    ratio, reason = evidence_ratio(seen, NORMAL, size)
    h = 1.06 * NORMAL.std(ddof=1) * (len(NORMAL) / 3) ** -0.2
    exact = math.exp((size * seen - size**2 / 2) / (1 + h**2))
    assert reason == ""
    assert ratio == pytest.approx(min(max(exact, 1 / 20), 20), rel=0.01)


def test_the_ratio_is_that_of_two_kernel_densities_at_any_law() -> None:
    null = np.random.default_rng(3).standard_t(4, 498) + 0.2
    width = 1.06 * null.std(ddof=1) * (498 / 3) ** (-1 / 5)
    for seen, size in ((0.4, 0.8), (-0.6, 1.0), (1.2, -0.3)):
        moved, unmoved = (
            scipy.stats.norm.pdf(point, null, width).mean() for point in (seen - size, seen)
        )
        assert evidence_ratio(seen, null, size)[0] == pytest.approx(moved / unmoved, rel=1e-12)


def test_no_size_weighs_nothing_and_a_mirrored_law_weighs_the_same() -> None:
    null = np.random.default_rng(4).normal(0.1, 1, 500)
    assert evidence_ratio(0.8, null, 0.0) == (1.0, "")
    assert evidence_ratio(0.8, null, 0.5)[0] == pytest.approx(evidence_ratio(-0.8, -null, -0.5)[0])


def test_beyond_twenty_to_one_the_ratio_says_no_more() -> None:
    assert evidence_ratio(2.2, NORMAL, 2.2)[0] < 20
    assert evidence_ratio(2.6, NORMAL, 2.6)[0] == 20
    assert evidence_ratio(-1.0, NORMAL, 2.0)[0] == 1 / 20


@pytest.mark.parametrize(("seen", "size"), [(0.0, 9.0), (9.0, 9.0), (-9.0, -9.0), (9.0, 0.0)])
def test_where_under_ten_shifts_are_near_either_point_there_is_no_ratio(
    seen: float, size: float
) -> None:
    ratio, reason = evidence_ratio(seen, NORMAL, size)
    assert math.isnan(ratio)
    assert reason == "only 0 placebo calendars lie near one of its two points"


@pytest.mark.parametrize("near", [9, 10])
def test_ten_shifts_within_a_bandwidth_are_enough_and_nine_are_not(near: int) -> None:
    null = np.r_[np.linspace(-0.5, 0.5, 400), np.full(near, 3.0)]
    assert 1.06 * null.std(ddof=1) * (len(null) / 3) ** -0.2 < 1
    ratio, reason = evidence_ratio(3.0, null, 3.0)
    assert (reason == "") == (near == 10) == math.isfinite(ratio)
    assert reason.startswith("only 9 " if near == 9 else "")


# --- the size of the test ----------------------------------------------------------------------


def _family(fit: Floats, test: Floats, alpha: float) -> tuple[float, float]:
    """Reject what is beyond the rank that keeps the rate at alpha, alone and as a family."""
    rank = int(alpha * (len(fit) + 1))
    away, asked = abs(fit - fit.mean(0)), abs(test - fit.mean(0))
    alone = [asked[:, k] > np.sort(away[:, k])[-rank] for k in range(fit.shape[1])]
    joint = asked.max(1) > np.sort(away.max(1))[-rank]
    return float(np.mean(alone)), float(joint.mean())


def test_the_size_is_the_one_counted_by_hand_on_random_halves_of_ten_blocks() -> None:
    null = np.random.default_rng(5).standard_t(5, (407, 3))
    edges = np.r_[0, np.cumsum([41] * 7 + [40] * 3)]
    draw, found = np.random.default_rng(SEED), []
    for _ in range(HALVES):
        order = draw.permutation(BLOCKS)
        halves = [
            np.concatenate([null[edges[k] : edges[k + 1]] for k in part])
            for part in (order[:5], order[5:])
        ]
        found.append(_family(halves[0], halves[1], 0.1))
    row, family = np.array(found).T
    early, late = null[:121], null[-121:]
    later = (_family(early, late, 0.1)[1] + _family(late, early, 0.1)[1]) / 2
    want = (row.mean(), family.mean(), family.std(ddof=1), later)
    assert held_out_size(null, 0.1, 165) == pytest.approx(want, abs=1e-12)


def test_on_independent_normal_nulls_the_size_is_near_nominal() -> None:
    draw = np.random.default_rng(6)
    rows, families, errors = np.array(
        [held_out_size(draw.normal(size=(400, 6)), 0.1, 165)[:3] for _ in range(30)]
    ).T
    assert rows.mean() == pytest.approx(0.1, abs=0.006)
    assert families.mean() == pytest.approx(0.1, abs=0.012)
    assert families.std() < errors.mean()  # the splits of one law share their shifts


def test_blocks_stay_whole_so_that_neighbours_do_not_calibrate_each_other() -> None:
    draw = np.random.default_rng(7)
    null = draw.normal(size=(400, 2)) + np.repeat(draw.normal(0, 3, (10, 2)), 40, axis=0)
    whole = held_out_size(null, 0.1, 0)
    inside = np.concatenate([draw.permutation(block) for block in np.split(null, 10)])
    assert held_out_size(inside, 0.1, 0)[:3] == pytest.approx(whole[:3], abs=1e-12)
    across = held_out_size(draw.permutation(null), 0.1, 0)
    assert across.family == pytest.approx(0.1, abs=0.04)
    assert whole.family > across.family + 0.05


# --- assurance ---------------------------------------------------------------------------------


def _row(base: float, critical: float, error: float, center: float) -> Verdict:
    share = {"low": base / 2, "base": base, "high": 2 * base}
    none: dict[str, float] = {}
    worth = Implied(share, none, none, none, none, none, 1.0, 1.0, 1, 1, (), ())
    return Verdict("s", "sector", ("E",), 1, worth, error=error, critical=critical, center=center)


def _assured(row: Verdict, null: Floats) -> pd.DataFrame:
    law = cast(Placebo, SimpleNamespace(groups=("s",), null_statistic=null[:, None]))
    table = assurance(Second((row,), law, {}, ()))
    return table.set_index("truth")


@pytest.mark.parametrize("base", [0.03, 0.012, -0.03, 0.09])
def test_assurance_is_the_chance_of_each_verdict_on_a_normal_law(base: float) -> None:
    error, critical, center = 0.01, 1.9, 0.3
    found = _assured(_row(base, critical, error, center), NORMAL + center)
    half, g = critical, abs(base) / error
    for truth, moved in (("nothing", 0.0), ("implied value", g)):

        def upto(x: float, moved: float = moved) -> float:  # chance of an observed move below x
            return float(scipy.stats.norm.cdf(x - moved))

        tight = max(g + half, half)
        chances = {
            "moved against": upto(-half),
            "not priced in": upto(min(half, g - half)) - upto(-half),
            "more than priced in": 1 - upto(tight),
            "partly priced in": max(upto(g - half) - upto(half), 0.0),
        }
        chances["not priced in"] = max(chances["not priced in"], 0.0)
        low, high = max(half, g - half), min(g + half, 2 * g - half)
        chances["priced in"] = max(upto(high) - upto(low), 0.0)
        chances["cannot say"] = upto(half) - upto(-half) - chances["not priced in"]
        chances["reacted, size unclear"] = 1 - sum(chances.values())
        for verdict, chance in chances.items():
            assert found.loc[truth, verdict] == pytest.approx(chance, abs=5e-4), verdict
        assert found.loc[truth, list(VERDICTS)].sum() == pytest.approx(1, abs=1e-12)
        assert found.loc[truth, "size"] == pytest.approx(0.0 if truth == "nothing" else base)


def test_assurance_agrees_with_a_simulation_of_whole_studies() -> None:
    draw = np.random.default_rng(8)
    null = draw.standard_t(5, 499) + 0.1
    row = _row(0.025, 1.8, 0.011, float(null.mean()))
    found = _assured(row, null)
    tried = draw.choice(null, 20_000)
    for truth, size in (("nothing", 0.0), ("implied value", 0.025)):
        effect = tried * row.error + size  # what a calendar of this law would have shown
        low = effect - row.center * row.error - row.critical * row.error
        high = low + 2 * row.critical * row.error
        against, zero = (high < 0).mean(), ((low <= 0) & (high >= 0)).mean()
        said = found.loc[truth]
        assert said["moved against"] == pytest.approx(against, abs=0.01)
        both = said["not priced in"] + said["cannot say"]
        assert both == pytest.approx(zero, abs=0.015)


def test_without_an_implied_value_only_the_truth_of_nothing_has_a_row() -> None:
    row = _row(0.02, 1.8, 0.01, 0.0)
    row = replace(row, implied=replace(row.implied, share={}))
    found = _assured(row, NORMAL)
    assert list(found.index) in ([], ["nothing"])

"""Random calendars, planted effects: the rule is tried as it is, and holds its level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from usjp_research.market.donors import Donors
from usjp_research.report.figures import plot_power
from usjp_research.spec.records import Spec
from usjp_research.study import method
from usjp_research.study.answer import family_legs
from usjp_research.study.method import RandomCalendars, check_method, random_calendars
from usjp_research.study.sample import Sample, sample
from usjp_research.words import InputError

FOUND_BEFORE = {"rows": 0.106, "families": 0.098}  # by another program, on 2,000 calendars


@pytest.fixture(scope="module")
def data(spec: Spec) -> Sample:
    return sample(spec, "bundled")


@pytest.fixture(scope="module")
def trials(data: Sample) -> RandomCalendars:
    return random_calendars(data)


def test_the_rule_holds_its_level_on_random_calendars(trials: RandomCalendars) -> None:
    found = dict(zip(method.SIZE, trials.size(), strict=True))
    assert found["calendars"] == len(trials.days) == 2000
    for name, before in FOUND_BEFORE.items():
        share, error = float(str(found[name])), float(str(found[f"{name}_error"]))
        assert 0.003 < error < 0.05
        assert abs(share - before) < 2 * error and abs(share - 0.1) < 2 * error, name


def test_days_are_free_and_a_window_apart_and_the_same_every_time(
    data: Sample, trials: RandomCalendars
) -> None:
    assert (np.diff(trials.days, axis=1) >= 3).all()
    near = [trials.days + k for k in (-1, 0, 1)]
    assert not data.panel.masked[np.stack(near)].any()
    again = random_calendars(data, calendars=300)
    np.testing.assert_array_equal(again.days, trials.days[:300])
    np.testing.assert_array_equal(again.away, trials.away[:300])


def test_a_random_calendar_is_the_rule_on_those_days(data: Sample, trials: RandomCalendars) -> None:
    legs = family_legs(data)
    order = list(dict.fromkeys(leg.event for own in legs.values() for leg in own))
    events = [e.id for e in data.spec.with_role("primary")]
    assert set(order) <= set(events)
    for k in (0, 700, 1999):
        day = dict(zip(events, map(int, trials.days[k]), strict=True))
        moved = {
            sector: [replace(leg, series=f"sector/{sector}", day0=day[leg.event]) for leg in own]
            for sector, own in legs.items()
        }
        calendar = [leg for own in moved.values() for leg in own]
        effect, variance, *_ = data.sums([*moved.values()], np.zeros(1, int), calendar=calendar)
        error = np.sqrt(variance[0])
        np.testing.assert_allclose(trials.error[k], error, rtol=1e-9)
        used = {d + s for d in trials.days[k] for s in (-1, 0, 1)}
        real = {
            d for own in legs.values() for leg in own for d in range(leg.day0 - 1, leg.day0 + 2)
        }
        apart = [used.isdisjoint(d + s for d in real) for s in trials.law.shifts.tolist()]
        null = trials.law.null_statistic[apart]
        away = effect[0] / error - null.mean(axis=0)
        np.testing.assert_allclose(trials.away[k], away, rtol=1e-9, atol=1e-12)
        largest = np.sort(np.abs(null - null.mean(axis=0)).max(axis=1))
        assert trials.joint[k] == largest[-int(0.1 * (len(null) + 1) + 1e-9)]


def test_an_effect_in_the_returns_is_the_effect_that_is_added_to_the_sum(
    data: Sample, trials: RandomCalendars
) -> None:
    k = int((np.diff(trials.days, axis=1).min(axis=1) > 25).argmax())  # no guard holds another day
    returns = data.portfolios.returns.copy()
    name = f"sector/{trials.law.groups[0]}"
    returns.loc[returns.index[trials.days[k]], name] += 0.05 / trials.days.shape[1]
    planted = replace(data, portfolios=replace(data.portfolios, returns=returns))
    moved = random_calendars(planted, calendars=max(200, k + 1))
    np.testing.assert_array_equal(moved.days[k], trials.days[k])
    assert moved.error[k, 0] == pytest.approx(trials.error[k, 0], rel=1e-9)
    gain = (moved.away - trials.away[: len(moved.away)])[k] * trials.error[k]
    assert gain[0] == pytest.approx(0.05, rel=0.02)  # the law's mean moves a little with it
    np.testing.assert_allclose(gain[1:], 0, atol=1e-12)


def test_what_is_planted_is_found_as_often_as_the_law_promised(trials: RandomCalendars) -> None:
    power = pd.DataFrame(trials.power(0.1, 0.8), columns=list(method.POWER))
    assert power["found"].is_monotonic_increasing and power["planted"].is_monotonic_increasing
    assert (power["found"] - power["promised"]).abs().le(2 * power["found_error"]).all()
    assert power.loc[power["multiple"] == 1, "found"].item() == pytest.approx(0.8, abs=0.06)
    assert power["recovered"].dropna().between(0.97, 1.03).all()


def test_outside_firms_stand_in_random_groups_for_the_sectors(data: Sample) -> None:
    draw, days = np.random.default_rng(3), data.market.dates
    noise = data.portfolios.benchmark[:, None] + 0.02 * draw.standard_normal((len(days), 66))
    firms = pd.DataFrame(noise, index=days, columns=[f"F{k}" for k in range(66)])
    found = random_calendars(data, Donors(firms, "drawn"), calendars=400)
    assert found.panel == "random calendars, 66 outside firms in random groups"
    rows = (np.abs(found.away) > found.alone).mean()
    assert rows == pytest.approx(0.1, abs=0.05)
    few = random_calendars(data, Donors(firms.iloc[:, :50], "drawn"), calendars=200)
    assert few.panel == "random calendars, the study's own sectors"


def test_what_a_market_does_not_allow_is_listed_and_the_rest_is_there(data: Sample) -> None:
    rule = data.spec.rule.model_copy(update={"second": None, "least_shifts": 490})
    one = replace(data, spec=replace(data.spec, rule=rule))
    with pytest.raises(InputError, match="random calendars, expected 200: give a longer history"):
        random_calendars(one)
    found = check_method(one)
    assert found.size["test"].tolist() == ["rule 1"]
    assert [item.name for item in found.dropped] == ["random calendars", "controls"]
    assert "there is no 'second'" in found.dropped[1].reason
    assert found.candidates.empty and found.assurance.empty and found.power.empty
    assert "no power curve" in plot_power(found.power).alt

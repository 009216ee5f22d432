"""What must hold of any panel: order, scale, inputs left alone, and laws that meet."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.multivariate.multivariate_ols import _MultivariateOLS

from docs.make_methods import CATALOGUE, catalogue
from tests.battery.slow_battery import agree
from usjp_research.engine.battery.catalogue import TESTS, outcome
from usjp_research.engine.battery.joint import joint_test
from usjp_research.engine.battery.parametric import forecast_error_tests, sign_tests
from usjp_research.engine.battery.run import Battery, run_battery
from usjp_research.report.battery import battery_frame
from usjp_research.words import InputError

NUMBERS = ("headline", "notes", "reasons")
WINDOWS = [(0, 0), (-1, 1)]
DAY0 = 70


def _panel(seed: int, n: int = 7, days: int = 90, holes: float = 0.05) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    market = 0.01 * draw.standard_normal(days)
    values = market[:, None] + 0.02 * draw.standard_normal((days, n))
    values += 0.01 * draw.standard_normal((days, 1))
    values[draw.random(values.shape) < holes] = np.nan
    names = [f"F{k}" for k in range(n)]
    table = pd.DataFrame(values, pd.bdate_range("2024-01-01", periods=days), names)
    return table.assign(MKT=market)


def _firms(n: int = 7) -> pd.DataFrame:
    return pd.DataFrame({"firm": [f"F{k}" for k in range(n)], "sector": ["a", "b"] * 3 + ["a"]})


def _run(panel: pd.DataFrame, firms: pd.DataFrame, **more: Any) -> Battery:
    more = {"event": panel.index[DAY0], "estimation": (-60, -4), "windows": WINDOWS, **more}
    return run_battery(panel, firms, benchmark="MKT", **more)


def _same(one: Battery, two: Battery, rel: float = 1e-9, skip: tuple[str, ...] = ()) -> None:
    assert set(one.groups) == set(two.groups)
    for group, windows in two.groups.items():
        for label, tests in windows.items():
            left, right = one.groups[group][label].as_dict(), tests.as_dict()
            agree(left, right, f"{group} {label}", rel, (*NUMBERS, *skip))


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10_000), st.permutations(range(7)))
def test_neither_the_order_of_firms_nor_of_columns_matters(seed: int, order: list[int]) -> None:
    panel, firms = _panel(seed), _firms()
    moved = panel[[*(f"F{k}" for k in order), "MKT"][::-1]]
    _same(_run(panel, firms), _run(moved, firms.iloc[order]))


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 3.0))
def test_statistics_do_not_depend_on_the_unit_of_returns(seed: int, factor: float) -> None:
    panel, firms = _panel(seed), _firms()
    one, two = _run(panel, firms), _run(panel * factor, firms)
    _same(one, two, rel=1e-8, skip=("caar", "bhar"))
    for group, windows in one.groups.items():
        for label, tests in windows.items():
            if not tests.numbers["n"]:  # no firm has every day of the window
                continue
            caar = two.groups[group][label].numbers["caar"]
            assert caar == pytest.approx(factor * tests.numbers["caar"], rel=1e-8)


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 10_000))
def test_signs_turn_when_returns_turn(seed: int) -> None:
    panel, firms = _panel(seed), _firms()
    one, two = _run(panel, firms).groups["ALL"], _run(-panel, firms).groups["ALL"]
    odd = set(TESTS) - {"wilcoxon_V", "mvrm_F", "sectors_zero_F", "sectors_equal_F", "placebo_t"}
    for label, tests in one.items():
        for key in odd & set(tests.tests):
            a, b = tests.tests[key], two[label].tests[key]
            if not a.reason and key != "gsign_z":
                assert b.statistic == pytest.approx(-a.statistic, rel=1e-8, abs=1e-9), key


def test_inputs_are_not_changed() -> None:
    panel, firms = _panel(3), _firms()
    before = panel.copy(deep=True), firms.copy(deep=True)
    _run(panel, firms)
    pd.testing.assert_frame_equal(panel, before[0])
    pd.testing.assert_frame_equal(firms, before[1])


@pytest.mark.parametrize("equal", [False, True])
def test_joint_tests_are_those_of_a_multivariate_regression_with_event_dummies(equal: bool) -> None:
    panel = _panel(11, holes=0.0)
    firms = _firms()
    firms["sector"] = firms["firm"] if equal else firms["sector"]
    done = _run(panel, firms, windows=[(0, 0)])
    rows = [*range(10, 67), DAY0]
    x = np.column_stack([np.ones(58), panel["MKT"].to_numpy()[rows], np.arange(58) == 57])
    y = panel.drop(columns="MKT").to_numpy()[rows]
    names = ["const", "mkt", "event"]
    effects = np.eye(7) if not equal else (np.eye(7)[1:] - np.eye(7)[:1]).T
    model = _MultivariateOLS(pd.DataFrame(y), pd.DataFrame(x, columns=names)).fit()
    table = model.mv_test([("event", np.array([[0.0, 0.0, 1.0]]), effects)])
    want = table.results["event"]["stat"].loc["Wilks' lambda"]
    key = "sectors_equal_F" if equal else "mvrm_F"
    found = done.groups["ALL"]["[0;0]"].tests[key]
    assert found.statistic == pytest.approx(float(want["F Value"]), rel=1e-8)
    assert found.df == (int(want["Num DF"]), int(want["Den DF"]))
    assert found.p == pytest.approx(float(want["Pr > F"]), rel=1e-7)


@pytest.mark.parametrize("n", [3, 12, 49, 50, 120])
def test_signs_and_signed_ranks_agree_with_scipy(n: int) -> None:
    car = np.random.default_rng(n).normal(0.1, 1, n)
    sign, _, wilcoxon = sign_tests(car, 0.5)
    assert sign.p == pytest.approx(stats.binomtest(int((car > 0).sum()), n).pvalue, rel=1e-12)
    method = "exact" if n < 50 else "asymptotic"
    want = stats.wilcoxon(car, method=method, correction=True)
    assert wilcoxon.p == pytest.approx(float(want.pvalue), rel=1e-9)
    assert min(wilcoxon.statistic, n * (n + 1) / 2 - wilcoxon.statistic) == want.statistic


def test_sums_that_differ_by_rounding_alone_are_ties() -> None:
    car, exact = [0.1 + 0.2, 0.3, -0.3, 0.05, -1e-17], [0.3, 0.3, -0.3, 0.05, 0.0]
    got, want = ([*sign_tests(np.array(values), 0.5)][2] for values in (car, exact))
    assert (got.statistic, got.p) == (want.statistic, want.p)


def test_a_test_that_cannot_be_computed_is_a_value_with_a_reason() -> None:
    panel, firms = _panel(5, holes=0.0), _firms()
    firms.loc[firms["firm"] != "F0", "sector"] = "rest"
    done = _run(panel, firms).as_dict()
    alone = done["a"]["[0;0]"]
    for key in ("cs_t", "bmp_t", "adj_bmp_t", "rbar", "grank_t", "corrado_zivney_z"):
        assert alone[key] is None
        assert alone["reasons"][key]
    assert alone["patell_mp_z"] is not None
    assert str(outcome("cs_t", reason="one firm")) == "cs_t: not computed (one firm)"


def test_strongly_negative_correlation_gives_no_adjusted_statistic() -> None:
    scar = np.array([1.0, 2.0, 0.5])
    tests = [*forecast_error_tests(scar[:, None], scar, np.full(3, 250), 2, -0.6)]
    for test in tests[3:]:
        assert test.reason == "the mean residual correlation is -0.600: 1 + (n-1) r-bar <= 0"
    panel = _panel(4, holes=0.0)
    panel["F1"] = 2 * panel["MKT"] - panel["F0"]
    firms = pd.DataFrame({"firm": ["F0", "F1"], "sector": "x"})
    assert _run(panel, firms).groups["ALL"]["[0;0]"].numbers["rbar"] == pytest.approx(-1)


def test_residuals_that_never_change_cost_their_own_pairs_and_no_others() -> None:
    panel, firms = _panel(6, holes=0.0), _firms()
    plain = _run(panel, firms, model="market_adjusted").as_dict()
    panel["F0"] = panel["MKT"] + 0.001
    done = _run(panel, firms, model="market_adjusted").as_dict()
    assert done["b"]["[0;0]"] == plain["b"]["[0;0]"]
    others = [f"F{k}" for k in range(1, 7)]
    e = panel[others].sub(panel["MKT"], axis=0).iloc[DAY0 - 60 : DAY0 - 3]
    rho = np.corrcoef(e.to_numpy().T)[np.triu_indices(6, 1)]
    assert done["ALL"]["[0;0]"]["rbar"] == pytest.approx(rho.mean(), rel=1e-12)
    assert any("leaves out 6 pairs" in note for note in done["ALL"]["[0;0]"]["notes"])


def test_ranks_that_cancel_every_day_give_no_rank_test() -> None:
    panel = _panel(8, holes=0.0).assign(F1=lambda table: 2 * table["MKT"] - table["F0"])
    firms = pd.DataFrame({"firm": ["F0", "F1"], "sector": "x"})
    timing: dict[str, Any] = {"estimation": (-55, -4), "windows": [(0, 0)]}
    done = _run(panel, firms, model="market_adjusted", **timing).as_dict()["ALL"]["[0;0]"]
    for key in ("corrado_z", "corrado_u_z", "grank_t"):
        assert done[key] is None, key
        assert done["reasons"][key]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"groups": lambda t: t.drop(columns="sector")},
            "groups: expected a column 'sector'",
        ),
        (
            {"groups": lambda t: t.assign(sector=np.nan)},
            "column 'sector' has an empty cell",
        ),
        ({"groups": lambda t: t.assign(sector="ALL")}, "groups: sector 'ALL' has its own meaning"),
        ({"groups": lambda t: t.assign(treated="no")}, "'treated': expected True or False"),
        (
            {"events": lambda t: t.drop(columns="date")},
            "events: expected a column 'date'",
        ),
        ({"events": lambda t: t.assign(date="soon")}, "events: column 'date': expected dates"),
        ({"events": lambda t: t.assign(date="02/03/2024")}, "column 'date': expected dates"),
        ({"events": lambda t: t.assign(date=pd.NaT)}, "events: column 'date' has an empty cell"),
        ({"events": lambda t: pd.concat([t, t.iloc[:1]])}, "twice; keep one"),
    ],
)
def test_tables_in_memory_are_refused_for_what_files_are(change: Any, said: str) -> None:
    panel, firms = _panel(1), _firms()
    events = pd.DataFrame({"firm": firms["firm"], "date": panel.index[-20]})
    tables: dict[str, Any] = {"groups": firms, "events": events}
    tables |= {name: make(tables[name]) for name, make in change.items()}
    with pytest.raises(InputError, match=said):
        run_battery(panel, **tables, benchmark="MKT", model="mean")


def test_joint_test_needs_more_free_days_than_effects() -> None:
    few = joint_test("mvrm_F", np.zeros(9), np.eye(9), 9, 1.0)
    assert math.isnan(few.statistic)
    assert "9 effects" in few.reason
    assert "singular" in joint_test("mvrm_F", np.ones(3), np.ones((3, 3)), 50, 1.0).reason


def test_the_page_of_tests_lists_every_key_of_the_results() -> None:
    text = CATALOGUE.read_text(encoding="utf-8")
    assert text == catalogue(), "docs/tests.md is not up to date: run 'make readme'"
    done = _run(_panel(1), _firms())
    for key in {k for windows in done.groups.values() for w in windows.values() for k in w.tests}:
        assert f"| `{key}` |" in text


def test_firms_that_share_a_date_do_not_headline_tests_of_independent_firms() -> None:
    done = _run(_panel(2), _firms())
    shared = done.groups["ALL"]["[0;0]"]
    roles = dict(battery_frame(shared)[["Test", "Role"]].to_numpy().tolist())
    assert shared.as_dict()["headline"] == ["adj_bmp_t", "placebo_t"] == list(roles)[:2]
    assert list(roles.values())[2:4] == ["cross-check"] * 2
    for key in ("cs_t", "patell_sum_z", "patell_mp_z", "bmp_t", "grank_z_indep"):
        assert roles[key].endswith("not to be believed here")
    assert "share event days" in shared.notes[0]
    names = [f"F{k}" for k in range(7)]
    days = pd.bdate_range("2024-01-01", periods=90)[62:83:3]
    apart = _run(
        _panel(2), _firms(), event=None, events=pd.DataFrame({"firm": names, "date": days})
    )
    alone = apart.groups["ALL"]["[0;0]"]
    assert alone.numbers["rbar"] == 0
    assert not battery_frame(alone)["Role"].str.contains("not to be believed").any()
    assert alone.tests["adj_bmp_t"].statistic == alone.tests["bmp_t"].statistic


def test_volatile_days_before_the_event_are_noted_and_guarded() -> None:
    panel = _panel(6, days=420, holes=0.0)
    panel.iloc[378:400, :7] *= 4
    when = {"event": panel.index[400], "estimation": (-120, -25)}
    done = _run(panel, _firms(), **when).groups["ALL"]["[0;0]"]
    assert done.numbers["volatility_trailing"] > 2
    assert any("times as volatile" in note for note in done.notes)
    assert done.numbers["placebo_dates"] == 278
    guarded, raw = done.tests["placebo_t"], done.tests["portfolio_t"]
    assert abs(guarded.statistic) < abs(raw.statistic) / 2


def test_a_planted_effect_stands_out_from_earlier_dates() -> None:
    panel = _panel(8, days=420, holes=0.0)
    panel.iloc[400, :7] += 0.06
    panel.iloc[400, [0, 2, 4, 6]] += 0.08
    done = _run(panel, _firms(), event=panel.index[400]).groups["ALL"]["[0;0]"]
    assert done.tests["placebo_t"].p < 0.01
    for key in ("mvrm", "sectors_zero", "sectors_equal"):
        assert done.numbers[f"{key}_p_placebo"] < 0.01


def test_placebo_p_follows_from_the_same_portfolio_on_every_earlier_date() -> None:
    panel = _panel(9, days=300, holes=0.0)
    done = _run(panel, _firms(), event=panel.index[280]).groups["ALL"]["[-1;1]"]
    line, market = panel.drop(columns="MKT").mean(axis=1).to_numpy(), panel["MKT"].to_numpy()

    def guarded(day: int) -> float:
        x = np.column_stack([np.ones(57), market[day - 60 : day - 3]])
        b, ssr = np.linalg.lstsq(x, line[day - 60 : day - 3], rcond=None)[:2]
        ar = line - b[0] - b[1] * market
        total = np.array([3.0, market[day - 1 : day + 2].sum()])
        error = ssr[0] / 55 * (3 + total @ np.linalg.inv(x.T @ x) @ total)
        before = 3 * np.mean(ar[day - 21 : day - 1] ** 2)
        return float(ar[day - 1 : day + 2].sum() / math.sqrt(max(error, before)))

    null = np.array([guarded(day) for day in range(60, 278)])
    real = guarded(280)
    assert done.tests["placebo_t"].statistic == pytest.approx(real, rel=1e-9)
    beyond = (np.abs(null - null.mean()) >= abs(real - null.mean())).sum()
    assert done.tests["placebo_t"].p == pytest.approx((1 + beyond) / (len(null) + 1))
    assert done.numbers["placebo_dates"] == len(null)

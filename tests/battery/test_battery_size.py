"""How often each test rejects: the headline holds its level on a common date, the foils do not.

``make soak`` prints the whole table: rows are numbers of firms, residual correlation, law of
returns and variance of the event day; columns are tests, in percent at nominal 5%.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from usjp_research.engine.battery.run import run_battery

SHOWN = (
    "adj_bmp_t", "placebo_t", "corrado_z", "portfolio_t", "grank_t", "corrado_zivney_z",
    "adj_patell_z", "cda_t", "mvrm_F", "cs_t", "bmp_t", "patell_mp_z", "grank_z_indep",
)  # fmt: skip
ESTIMATION = 250
SIGMA = 0.02


def _draws(draw: np.random.Generator, shape: tuple[int, ...], heavy: bool) -> np.ndarray:
    if heavy:
        return np.asarray(draw.standard_t(4, shape) / math.sqrt(2))
    return draw.standard_normal(shape)


def rejection_rates(
    firms: int,
    rho: float,
    *,
    heavy: bool = False,
    variance: float = 1.0,
    effect: float = 0.0,
    replications: int = 200,
    quiet_days: int = 0,
    seed: int = 0,
) -> dict[str, float]:
    """Reject at 5% in how many replications: each is a sector of one panel.

    Residuals are a common shock and own noise, mixed to the correlation ``rho``; the event day's
    are multiplied to ``variance`` times the usual variance, and ``effect`` is added.
    """
    draw = np.random.default_rng(seed)
    days = quiet_days + ESTIMATION + 6
    market = 0.01 * draw.standard_normal(days)
    common = _draws(draw, (days, replications), heavy)
    own = _draws(draw, (days, replications, firms), heavy)
    e = SIGMA * (math.sqrt(rho) * common[:, :, None] + math.sqrt(1 - rho) * own)
    e[-1] = e[-1] * math.sqrt(variance) + effect
    beta = draw.uniform(0.6, 1.4, (replications, firms))
    values = (market[:, None, None] * beta + e).reshape(days, -1)
    names = [f"F{k}" for k in range(values.shape[1])]
    panel = pd.DataFrame(values, pd.bdate_range("2000-01-03", periods=days), names)
    panel["MKT"] = market
    sectors = pd.DataFrame({"firm": names, "sector": np.repeat(np.arange(replications), firms)})
    done = run_battery(
        panel, sectors, event=panel.index[-1], benchmark="MKT",
        estimation=(-ESTIMATION - 5, -6), windows=[(0, 0)],
    )  # fmt: skip
    found = {}
    for key in SHOWN:
        tests = [w["[0;0]"].tests[key] for name, w in done.groups.items() if name != "ALL"]
        p = np.array([test.p for test in tests if not test.reason])
        if len(p):
            found[key] = float((p < 0.05).mean())
    return found


def _tolerance(rate: float, replications: int) -> float:
    return 3.5 * math.sqrt(rate * (1 - rate) / replications)


@pytest.mark.parametrize(("firms", "rho", "n"), [(6, 0.3, 200), (30, 0.1, 150)])
def test_the_headline_holds_its_level_and_the_foils_reject_as_theory_says(
    firms: int, rho: float, n: int
) -> None:
    rates = rejection_rates(firms, rho, replications=n)
    for key in ("adj_bmp_t", "portfolio_t", "corrado_z", "mvrm_F"):
        assert abs(rates[key] - 0.05) < 0.01 + _tolerance(0.05, n), key
    shrink = math.sqrt((1 - rho) / (1 + (firms - 1) * rho))
    bmp = 2 * stats.t.sf(stats.t.isf(0.025, firms - 1) * shrink, firms - 1)
    patell = 2 * stats.norm.sf(1.96 / math.sqrt(1 + (firms - 1) * rho))
    for key, theory in (("bmp_t", bmp), ("cs_t", bmp), ("patell_mp_z", patell)):
        assert abs(rates[key] - theory) < 0.01 + _tolerance(theory, n), key
        assert rates[key] > 0.12


def test_a_volatile_event_day_fools_the_portfolio_but_not_the_headline() -> None:
    rates = rejection_rates(6, 0.1, variance=4.0, replications=200, seed=1)
    assert abs(rates["adj_bmp_t"] - 0.05) < 0.01 + _tolerance(0.05, 200)
    fooled = 2 * stats.norm.sf(1.96 / 2)
    assert abs(rates["portfolio_t"] - fooled) < 0.02 + _tolerance(fooled, 200)


@pytest.mark.soak
def test_size_and_power_of_every_test(capsys: pytest.CaptureFixture[str]) -> None:
    def say(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)

    def row(start: str, rates: dict[str, float]) -> str:
        return f"{start:<18}" + " ".join(f"{100 * rates[key]:>{len(key)}.1f}" for key in SHOWN)

    say("\nsize in % at nominal 5%\n" + f"{'N, rho, law, var':<18}" + " ".join(SHOWN))
    parts, wrong = 5, []  # of 200 replications; one is long enough for placebo dates
    cases = itertools.product((6, 30), (0.02, 0.1, 0.3), (False, True), (1.0, 4.0))
    for seed, (firms, rho, heavy, variance) in enumerate(cases):
        found = [
            rejection_rates(
                firms, rho, heavy=heavy, variance=variance,
                quiet_days=0 if part else 110, seed=100 * seed + part,
            )
            for part in range(parts)
        ]  # fmt: skip
        rates = {key: float(np.mean([f[key] for f in found if key in f])) for key in SHOWN}
        start = f"{firms}, {rho}, {'t(4)' if heavy else 'normal'}, {variance:.0f}"
        say(row(start, rates))
        if abs(rates["adj_bmp_t"] - 0.05) > 0.015 + _tolerance(0.05, 200 * parts):
            wrong.append(f"{start}: adj_bmp_t {rates['adj_bmp_t']:.3f}")
        if rho > 0.05 and rates["bmp_t"] < 0.08:
            wrong.append(f"{start}: bmp_t {rates['bmp_t']:.3f}")
    say("power in % against one standard deviation of a firm's daily return")
    for firms, rho in itertools.product((6, 30), (0.02, 0.1, 0.3)):
        rates = rejection_rates(firms, rho, effect=SIGMA, quiet_days=110)
        say(row(f"{firms}, {rho}, normal, 1", rates))
    assert not wrong

"""The battery agrees with the golden numbers and with definitions computed one firm at a time."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.battery.slow_battery import agree, slow_battery
from usjp_research.engine.battery import dependence
from usjp_research.engine.battery.run import run_battery

GOLDEN = Path(__file__).parents[1] / "golden"
TIGHT = 1e-9


def test_every_golden_firm_is_reproduced() -> None:
    want = pd.read_csv(GOLDEN / "reference_firms_A.csv")
    windows = [(k, k) for k in range(-5, 6)] + [(0, 1), (-1, 1), (0, 5), (-5, 5)]
    returns = pd.read_csv(GOLDEN / "sim_returns.csv", index_col="date", parse_dates=True)
    firms = pd.read_csv(GOLDEN / "sim_firms.csv")
    done = run_battery(
        returns, firms[firms["sector"] == "A"], event="2024-02-13", benchmark="MKT",
        estimation=(-260, -11), windows=windows,
    )  # fmt: skip
    assert done.firms["firm"].tolist() == want["firm"].tolist()

    def close(got: object, name: str) -> None:
        np.testing.assert_allclose(np.asarray(got), want[name].to_numpy(), rtol=TIGHT, atol=1e-13)

    alpha, beta = done.fit.design.original(done.fit.coefficients).T
    close(alpha, "alpha")
    close(beta, "beta")
    close(np.sqrt(done.fit.variance_residual), "sigma")
    assert done.fit.n_obs.tolist() == want["n"].tolist()
    for w, (low, high) in enumerate(windows):
        label = f"[{low};{high}]"
        close(done.fit.car[:, w], f"CAR{label}")
        close(np.sqrt(done.fit.variance[:, w]), f"se{label}")
    for k in range(11):
        close(done.fit.ar[:, k], f"AR_{k + 1}")


# --- against the definitions, one firm, day and pair at a time ----------------------------------

ESTIMATION = (-50, -6)


def _random_panel(seed: int, *, holes: float, ties: bool, n: int = 14) -> pd.DataFrame:
    """Draw correlated returns with factors; late listings, holes everywhere, stale prices."""
    draw = np.random.default_rng(seed)
    days = pd.bdate_range("2024-01-01", periods=90)
    f = pd.DataFrame(
        0.01 * draw.standard_normal((90, 7)),
        index=days,
        columns=["MKT-RF", "smb3", "smb5", "HML", "rmw", "CMA", "Mom"],
    )
    f["RF"] = 0.0001 + 0.00005 * draw.random(90)
    f["MKT"] = f["MKT-RF"] + f["RF"]
    shock = 0.01 * draw.standard_normal((90, 1))
    r = (
        f[["MKT", "smb3", "HML"]].to_numpy() @ draw.normal(0.7, 0.4, (3, n))
        + shock
        + 0.02 * draw.standard_t(4, (90, n))
    )
    if ties:
        r = np.where(draw.random(r.shape) < 0.15, 0.0, np.round(r, 3))
    r[draw.random(r.shape) < holes] = np.nan
    if holes:
        r[:25, 0] = np.nan
        r[60, 1] = np.nan
    table = pd.DataFrame(r, index=days, columns=[f"F{k:02d}" for k in range(n)])
    return pd.concat([table, f], axis=1)


def _factor_table(panel: pd.DataFrame) -> pd.DataFrame:
    return panel.rename(
        columns={"MKT-RF": "mkt_rf", "HML": "hml", "CMA": "cma", "Mom": "mom", "RF": "rf"}
    )


CASES = [
    ("market", 0.0, False), ("market", 0.06, False), ("market_adjusted", 0.06, False),
    ("mean", 0.06, False), ("mean", 0.0, True), ("mean", 0.06, True), ("ff3", 0.0, False),
    ("ff3", 0.06, False), ("carhart", 0.06, False), ("ff5", 0.06, False),
    ("market_adjusted", 0.3, True), ("market", 0.3, False), ("scholes_williams", 0.06, False),
]  # fmt: skip


@pytest.mark.parametrize(("seed", "case"), [*enumerate(CASES)])
def test_every_number_follows_the_definitions(seed: int, case: tuple[str, float, bool]) -> None:
    model, holes, ties = case
    panel = _random_panel(seed % 3, holes=holes, ties=ties)
    names = [c for c in panel.columns if c.startswith("F")]
    firms = pd.DataFrame({"firm": names, "sector": ["x"] * 6 + ["y"] * 5 + ["z"] * 3})
    done = run_battery(
        panel, firms, event=panel.index[60], benchmark="MKT", model=model,
        estimation=ESTIMATION, windows=[(0, 0), (-1, 1), (-3, 4)],
    ).as_dict()  # fmt: skip
    for group in ("ALL", "xyz"[seed % 3]):
        inside = names if group == "ALL" else firms["firm"][firms["sector"] == group].tolist()
        want = slow_battery(
            {f: panel[f].to_numpy() for f in inside}, dict.fromkeys(inside, 60),
            panel["MKT"].to_numpy(), model, ESTIMATION, [(0, 0), (-1, 1), (-3, 4)],
            _factor_table(panel),
        )  # fmt: skip
        for window, numbers in want.items():
            agree(done[group][window], numbers, f"{group} {window}")
            optional = {"portfolio_t", "mvrm_F", "adj_bmp_t"}
            for key in optional & set(done[group][window]) - set(numbers):
                assert done[group][window][key] is None
                assert done[group][window]["reasons"][key]


@pytest.mark.parametrize(
    ("holes", "spread", "pair_by_pair"),
    [(0.0, 4, False), (0.0, 4, True), (0.0, 20, False), (0.08, 4, False), (0.08, 20, True)],
)
def test_many_dates_follow_the_definitions(
    holes: float, spread: int, pair_by_pair: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pair_by_pair:
        monkeypatch.setattr(dependence, "UNIT_BYTES", 0)
    panel = _random_panel(7, holes=holes, ties=False)
    names = [c for c in panel.columns if c.startswith("F")]
    firms = pd.DataFrame({"firm": names, "sector": ["x"] * 7 + ["y"] * 7})
    place = np.random.default_rng(1).integers(60, 60 + spread, len(names))
    dates = pd.DataFrame({"firm": names, "date": panel.index[place]})
    windows = [(0, 0), (-1, 1), (-3, 4)]
    done = run_battery(
        panel, firms, events=dates, benchmark="MKT", estimation=ESTIMATION, windows=windows
    ).as_dict()
    for group in ("ALL", "x"):
        inside = names if group == "ALL" else firms["firm"][firms["sector"] == group].tolist()
        want = slow_battery(
            {f: panel[f].to_numpy() for f in inside},
            {f: int(at) for f, at in zip(names, place, strict=True) if f in inside},
            panel["MKT"].to_numpy(), "market", ESTIMATION, windows,
        )  # fmt: skip
        for window, numbers in want.items():
            if len({int(p) for p in place}) > 1:
                for key in ("portfolio_t", "portfolio_df", "mvrm_F", "mvrm_df2", "mvrm_p"):
                    numbers.pop(key, None)
                assert "different event dates" in done[group][window]["reasons"]["portfolio_t"]
            agree(done[group][window], numbers, f"{group} {window}")
            assert not math.isnan(done[group][window]["overlap"])

"""The battery's definitions as they are written: one firm, one day, one pair at a time.

Deliberately slow, and sharing no line with the package: regressions by statsmodels, ranks and
laws by scipy, sums by loops.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.sandbox.regression.gmm import IV2SLS

Numbers = dict[str, float]
Floats = npt.NDArray[np.float64]
FACTORS = {
    "ff3": ["mkt_rf", "smb3", "hml"],
    "carhart": ["mkt_rf", "smb3", "hml", "mom"],
    "ff5": ["mkt_rf", "smb5", "hml", "rmw", "cma"],
}


def agree(
    got: Any, want: Any, where: str = "", rel: float = 1e-9, skip: Sequence[str] = ()
) -> None:
    """Hold results against what is wanted of them; what is no number must be the same."""
    for key, value in want.items():
        if key in skip:
            continue
        at = f"{where} {key}"
        if isinstance(value, Mapping):
            agree(got[key], value, at, rel, skip)
        elif isinstance(value, float):
            assert got[key] is not None, f"{at}: {got['reasons'].get(key)}"
            assert got[key] == pytest.approx(value, rel=rel, abs=1e-12), at
        else:
            assert got[key] == value, at


def _one_firm(
    r: Floats, day0: int, market: Floats, factors: pd.DataFrame | None, model: str, when: Any
) -> dict[str, Any] | None:
    (low, high), hull = when["estimation"], when["hull"]
    base, x = np.zeros(len(r)), np.ones((len(r), 1))
    if model == "market_adjusted":
        base, x = market, np.empty((len(r), 0))
    elif model in ("market", "scholes_williams"):
        x = np.column_stack([x, market])
    elif model in FACTORS:
        assert factors is not None
        base = factors["rf"].to_numpy()
        x = np.column_stack([x, factors[FACTORS[model]].to_numpy()])
    k = x.shape[1]
    y = r - base
    days = [
        day0 + t
        for t in range(low, high + 1)
        if np.isfinite(y[day0 + t]) and np.isfinite(x[day0 + t]).all()
    ]
    T = len(days)
    if k + 3 > T:
        return None
    if k:
        done = sm.OLS(y[days], x[days]).fit()
        if model == "scholes_williams":
            z = np.column_stack([np.ones(len(r)), np.convolve(market, np.ones(3), "same")])
            done = IV2SLS(y[days], x[days], z[days]).fit()
        b, inverse = done.params, done.normalized_cov_params
        e = dict(zip(days, done.resid, strict=True))
    else:
        b, inverse, e = np.empty(0), np.empty((0, 0)), {d: y[d] for d in days}
    s2 = sum(v * v for v in e.values()) / (T - k)
    ar, c, fitted = {}, {}, {}
    for t in range(hull[0], hull[1] + 1):
        d = day0 + t
        if np.isfinite(y[d]) and np.isfinite(x[d]).all():
            ar[t] = y[d] - x[d] @ b
            c[t] = x[d] @ inverse @ x[d]
            fitted[t] = base[d] + x[d] @ b
    return {
        "T": T, "k": k, "e": e, "s": math.sqrt(s2), "ar": ar, "c": c, "day0": day0, "r": r,
        "fitted": fitted, "x": x, "inverse": inverse, "days": days,
    }  # fmt: skip


def _correlation(a: dict[int, float], b: dict[int, float]) -> float | None:
    both = sorted(set(a) & set(b))
    if len(both) < 2:
        return None
    return float(np.corrcoef([a[d] for d in both], [b[d] for d in both])[0, 1])


def slow_battery(
    returns: Mapping[str, Floats],
    day0: Mapping[str, int],
    market: Floats,
    model: str,
    estimation: tuple[int, int],
    windows: Sequence[tuple[int, int]],
    factors: pd.DataFrame | None = None,
) -> dict[str, Numbers]:
    """Return the numbers of one group, by window label."""
    hull = (min(a for a, _ in windows), max(b for _, b in windows))
    when = {"estimation": estimation, "hull": hull}
    fits = [_one_firm(returns[f], day0[f], market, factors, model, when) for f in returns]
    out: dict[str, Numbers] = {}
    for a, b in windows:
        firms = [f for f in fits if f and all(t in f["ar"] for t in range(a, b + 1))]
        out[f"[{a};{b}]"] = _one_window(firms, a, b, estimation, hull) if firms else {"n": 0}
    return out


def _one_window(
    firms: list[dict[str, Any]], a: int, b: int, estimation: tuple[int, int], hull: tuple[int, int]
) -> Numbers:
    n, L = len(firms), b - a + 1
    window = range(a, b + 1)
    car = [sum(f["ar"][t] for t in window) for f in firms]
    var = []
    for f in firms:
        total = sum(f["x"][f["day0"] + t] for t in window)
        var.append(f["s"] ** 2 * (L + total @ f["inverse"] @ total))
    scar = [x / math.sqrt(v) for x, v in zip(car, var, strict=True)]
    out: Numbers = {"n": n, "n_pos": sum(x > 0 for x in car), "caar": sum(car) / n}
    out["bhar"] = float(
        np.mean(
            [
                math.prod(1 + f["r"][f["day0"] + t] for t in window)
                - math.prod(1 + f["fitted"][t] for t in window)
                for f in firms
            ]
        )
    )
    q = [(f["T"] - f["k"]) / (f["T"] - f["k"] - 2) for f in firms]
    sar = [{t: f["ar"][t] / (f["s"] * math.sqrt(1 + f["c"][t])) for t in f["ar"]} for f in firms]
    out["patell_mp_z"] = sum(scar) / math.sqrt(sum(q))
    out["patell_sum_z"] = sum(
        sum(s[t] for t in window) / math.sqrt(L * v) for s, v in zip(sar, q, strict=True)
    ) / math.sqrt(n)
    out["p_hat"] = p = float(np.mean([np.mean([v > 0 for v in f["e"].values()]) for f in firms]))
    out["gsign_z"] = (out["n_pos"] - n * p) / math.sqrt(n * p * (1 - p))
    out["sign_z"] = (out["n_pos"] - n / 2) / math.sqrt(n / 4)
    out["sign_p_binom"] = stats.binomtest(int(out["n_pos"]), n).pvalue
    signed = stats.rankdata(np.abs(car))
    out["wilcoxon_V"] = float(sum(r for r, x in zip(signed, car, strict=True) if x > 0))
    if n > 1:
        out |= _cross_section(car, scar, n)
        out |= _dependence(firms, out, n, L)
    out |= _time_series(firms, car, n, L, window)
    out |= _ranks(firms, sar, scar, n, L, window, estimation, hull)
    return out


def _cross_section(car: list[float], scar: list[float], n: int) -> Numbers:
    out = {"bmp_t": float(stats.ttest_1samp(scar, 0).statistic)}
    out["bmp_p_t"] = float(stats.ttest_1samp(scar, 0).pvalue)
    if np.std(car) < 1e-14:
        return out
    out["cs_t"] = float(stats.ttest_1samp(car, 0).statistic)
    out["cs_p"] = float(stats.ttest_1samp(car, 0).pvalue)
    S = float(np.mean(car) / np.std(car))
    g = float(np.mean(((np.array(car) - np.mean(car)) / np.std(car)) ** 3))
    out["skew_johnson_lbt"] = math.sqrt(n) * (S + g * S**2 / 3 + g / (6 * n))
    if n > 2:
        s = float(np.std(car, ddof=1))
        S = float(np.mean(car)) / s
        g = n / ((n - 1) * (n - 2)) * sum(((x - float(np.mean(car))) / s) ** 3 for x in car)
        out["skew_hall_est"] = math.sqrt(n) * (S + g * S**2 / 3 + g**2 * S**3 / 27 + g / (6 * n))
    return {key: float(value) for key, value in out.items()}


def _dependence(firms: list[dict[str, Any]], so_far: Numbers, n: int, L: int) -> Numbers:
    rho = []
    for one, two in itertools.combinations(firms, 2):
        share = max(L - abs(one["day0"] - two["day0"]), 0) / L
        r = _correlation(one["e"], two["e"]) if share else 0.0
        if r is not None:
            rho.append(r * share)
    out = {"rbar": sum(rho) / len(rho)}
    inflation = 1 + (n - 1) * out["rbar"]
    if inflation > 0:
        out["adj_patell_z"] = so_far["patell_mp_z"] / math.sqrt(inflation)
        out["adj_bmp_t"] = so_far["bmp_t"] * math.sqrt((1 - out["rbar"]) / inflation)
        out["adj_bmp_p_t"] = 2 * stats.t.sf(abs(out["adj_bmp_t"]), n - 1)
        out["n_eff"] = n / inflation
    return out


def _time_series(
    firms: list[dict[str, Any]], car: list[float], n: int, L: int, window: range
) -> Numbers:
    by_day: dict[int, list[float]] = {}
    for f in firms:
        for d, v in f["e"].items():
            by_day.setdefault(d - f["day0"], []).append(v)
    mean = [np.mean(by_day[t]) for t in sorted(by_day)]
    caar = sum(car) / n
    each = [np.var(list(f["e"].values()), ddof=1) for f in firms]
    out = {
        "cda_t": caar / (np.std(mean, ddof=1) * math.sqrt(L)),
        "cda_df": len(mean) - 1,
        "bw80_indep_t": caar / (math.sqrt(sum(each)) / n * math.sqrt(L)),
    }
    same = all(f["days"] == firms[0]["days"] for f in firms)
    if same:
        f, k = firms[0], firms[0]["k"]
        total = sum(f["x"][f["day0"] + t] for t in window)
        c = L + total @ f["inverse"] @ total
        nu = f["T"] - k
        out["portfolio_t"] = caar / math.sqrt(sum(m * m for m in mean) / nu * c)
        out["portfolio_df"] = nu
        if n < nu:
            E = np.array([[f["e"][d] for d in f["days"]] for f in firms])
            t2 = nu * np.array(car) @ np.linalg.inv(E @ E.T) @ np.array(car) / c
            out["mvrm_F"] = t2 * (nu - n + 1) / (nu * n)
            out["mvrm_df2"] = nu - n + 1
            out["mvrm_p"] = stats.f.sf(out["mvrm_F"], n, nu - n + 1)
    return {key: float(value) for key, value in out.items()}


def _rank(values: dict[int, float]) -> dict[int, float]:
    return dict(zip(values, stats.rankdata(list(values.values())), strict=True))


def _ranks(
    firms: list[dict[str, Any]], sar: list[dict[int, float]], scar: list[float], n: int, L: int,
    window: range, estimation: tuple[int, int], hull: tuple[int, int],
) -> Numbers:  # fmt: skip
    every = [*range(estimation[0], estimation[1] + 1), *range(hull[0], hull[1] + 1)]
    e = [{d - f["day0"]: v for d, v in f["e"].items()} for f in firms]
    K = [_rank({**own, **f["ar"]}) for own, f in zip(e, firms, strict=True)]
    out = {}
    there = [t for t in every if any(t in k for k in K)]
    mean = {t: np.mean([k[t] - (len(k) + 1) / 2 for k in K if t in k]) for t in there}
    S = math.sqrt(sum(v * v for v in mean.values()) / len(there))
    out["corrado_z"] = sum(mean[t] for t in window) / (math.sqrt(L) * S)
    out["corrado_u_z"] = _scaled(K, every, window, L)
    if n < 2:
        return {key: float(value) for key, value in out.items()}
    spread = {}
    for t in range(hull[0], hull[1] + 1):
        values = [s[t] for s in sar if t in s]
        if len(values) > 1:
            spread[t] = float(np.std(values, ddof=1))
    second = [
        _rank(
            {
                **{t: v / f["s"] for t, v in own.items()},
                **{t: v / spread[t] for t, v in s.items() if t in spread},
            }
        )
        for own, s, f in zip(e, sar, firms, strict=True)
    ]
    out["corrado_zivney_z"] = _scaled(second, every, window, L)

    sd = float(np.std(scar, ddof=1))
    EVENT = 10**6
    third = [
        _rank({**{t: v / f["s"] for t, v in own.items()}, EVENT: x / sd})
        for own, f, x in zip(e, firms, scar, strict=True)
    ]
    U = [{t: v / (len(k) + 1) - 0.5 for t, v in k.items()} for k in third]
    days = [t for t in [*every, EVENT] if any(t in u for u in U)]
    total = 0.0
    for t in days:
        values = [u[t] for u in U if t in u]
        total += len(values) / n * float(np.mean(values)) ** 2
    event = np.mean([u[EVENT] for u in U])
    z = event / math.sqrt(total / len(days))
    out["grank_t"] = z * math.sqrt((len(days) - 2) / (len(days) - 1 - z * z))
    out["grank_df"] = len(days) - 2
    out["grank_p"] = 2 * stats.t.sf(abs(out["grank_t"]), len(days) - 2)
    out["grank_z_indep"] = math.sqrt(12 * n * (len(days) + 1) / (len(days) - 1)) * event
    return {key: float(value) for key, value in out.items()}


def _scaled(K: list[dict[int, float]], every: list[int], window: range, L: int) -> float:
    u = {}
    for t in every:
        values = [k[t] / (len(k) + 1) - 0.5 for k in K if t in k]
        if values:
            u[t] = sum(values) / math.sqrt(len(values))
    S = math.sqrt(sum(v * v for v in u.values()) / len(u))
    return float(sum(u[t] for t in window) / (math.sqrt(L) * S))

"""The second rule by pandas and statsmodels alone, and a small study to hold it against.

Nothing here calls the engine: rows of the package are compared with what this finds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import exchange_calendars
import numpy as np
import numpy.typing as npt
import pandas as pd
import statsmodels.api as sm

from tests.conftest import DOLLARS, write_study
from tests.conftest import SECTORS as SECTORS
from usjp_research.market.record import Market
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import Event, Spec
from usjp_research.study.sample import Sample, sample

Floats = npt.NDArray[np.float64]
NEW_YORK = exchange_calendars.get_calendar("XNYS", start="2020-06-01", end="2026-12-31")


class Term(NamedTuple):
    """A signed window of one series."""

    series: str
    day0: int
    window: tuple[int, int]
    sign: int


class _Fit(NamedTuple):
    day0: int
    window: tuple[int, int]
    against: tuple[str, ...]


class Law(NamedTuple):
    """Sums, variances and loadings on the first regressor, the real dates first."""

    effect: Floats
    variance: Floats
    loading: Floats


def placed(event: Event, days: pd.DatetimeIndex) -> tuple[int, bool]:
    """Find the first session that closes after the news, and whether it had opened before."""
    at = pd.Timestamp(event.instant).tz_convert("UTC")
    session = NEW_YORK.closes.index[(NEW_YORK.closes > at).to_numpy()][0]
    return int(days.searchsorted(session)), bool(at >= NEW_YORK.opens[session])


def masks(spec: Spec, days: pd.DatetimeIndex) -> tuple[npt.NDArray[np.bool_], list[int]]:
    """Mark the (-1, +1) windows of news, and list those of primary events: they move along."""
    taken = np.zeros(len(days), bool)
    own = set()
    for event in spec.events:
        session = NEW_YORK.closes.index[(NEW_YORK.closes > event.instant).to_numpy()][0]
        if event.role in ("primary", "secondary", "leak") and session in days:
            day0, _ = placed(event, days)
            taken[day0 - 1 : day0 + 2] = True
            own |= {day0 - 1, day0, day0 + 1} if event.role == "primary" else set()
    return taken, sorted(own)


def moves(
    own: Sequence[int], taken: npt.NDArray[np.bool_], windows: Sequence[tuple[int, int]]
) -> list[int]:
    """List the shifts by a search: windows free of news, 250 days inside, 200 of them usable."""
    found = []
    for shift in range(-len(taken), len(taken)):
        spots = [day + shift for day in own]
        if shift == 0 or spots[0] < 0 or spots[-1] >= len(taken) or taken[spots].any():
            continue
        spans = [np.arange(first + shift - 270, first + shift - 20) for first, _ in windows]
        inside = all(span[0] >= 0 for span in spans)
        if inside and all((~taken[s] & ~np.isin(s - shift, own)).sum() >= 200 for s in spans):
            found.append(shift)
    return found


def sums(
    groups: Mapping[str, Sequence[Term]],
    frame: pd.DataFrame,
    against: Mapping[str, Sequence[str]],
    taken: npt.NDArray[np.bool_],
    own: Sequence[int],
    shifts: Sequence[int],
) -> Law:
    """Fit every window of every calendar by `statsmodels.OLS` and sum by group."""
    out = np.zeros((3, 1 + len(shifts), len(groups)))
    sizes = {group: len(terms) for group, terms in groups.items()}
    alike = defaultdict[_Fit, list[tuple[str, Term]]](list)  # fitted in one go
    for group, terms in groups.items():
        for term in terms:
            alike[_Fit(term.day0, term.window, tuple(against[group]))].append((group, term))
    for (day0, (low, high), names), inside in alike.items():
        X = sm.add_constant(frame[list(names)].to_numpy())
        y = frame[[term.series for _, term in inside]].to_numpy()
        for row, move in enumerate([0, *shifts]):
            day = day0 + move
            span = np.arange(day + low - 270, day + low - 20)
            use = span[~taken[span] & ~np.isin(span - move, own)]
            window = np.arange(day + low, day + high + 1)
            before = np.arange(day + low - 20, day + low)
            fit = sm.OLS(y[use], X[use]).fit()
            slopes = fit.params.reshape(X.shape[1], -1)
            rest, ahead = y - X @ slopes, X[window].sum(axis=0)
            spread = len(window) + ahead @ fit.normalized_cov_params @ ahead
            s2 = np.square(rest[use]).sum(axis=0) / (len(use) - X.shape[1])
            guard = len(window) * np.square(rest[before]).mean(axis=0)
            variance = np.maximum(s2 * spread, guard)
            for k, (group, term) in enumerate(inside):
                car, slope = term.sign * rest[window, k].sum(), slopes[1, k] / sizes[group]
                out[:, row, list(groups).index(group)] += car, variance[k], slope
    return Law(*out)


def intervals(law: Law, alpha: float = 0.10, power: float = 0.80) -> pd.DataFrame:
    """Lay out effect, error, statistic, centre, simultaneous interval and MDE by group."""
    error = np.sqrt(law.variance)
    statistic = law.effect / error
    away = statistic[1:] - statistic[1:].mean(axis=0)
    # An effect is outside exactly when its placebo p-value is at most alpha.
    q = float(np.sort(np.abs(away).max(axis=1))[-int(alpha * (len(away) + 1))])
    rows = pd.DataFrame({"effect": law.effect[0], "error": error[0], "statistic": statistic[0]})
    rows["center"] = statistic[1:].mean(axis=0)
    middle = rows["effect"] - rows["center"] * rows["error"]
    rows["low"], rows["high"] = middle - q * rows["error"], middle + q * rows["error"]
    rows["mde"] = [detected(column, q, power) for column in away.T] * rows["error"]
    return rows


def detected(away: Floats, q: float, power: float) -> float:
    """Return the smallest move after which the share of draws beyond q is at least the power."""
    steps = np.unique(np.r_[q - away, -q - away])
    steps = np.r_[0.0, steps[steps > 0]]
    between = np.r_[(steps[:-1] + steps[1:]) / 2, steps[-1] + 1]
    share = (np.abs(away + between[:, None]) > q).mean(axis=1)
    return float(steps[(share >= power).argmax()])


def water(values: Floats, limit: float) -> Floats:
    """Find the one scale at which cut weights sum to one, by bisection."""
    low, high = 0.0, 1 / float(values.min())
    for _ in range(200):
        middle = (low + high) / 2
        if np.minimum(limit, middle * values).sum() < 1:
            low = middle
        else:
            high = middle
    return np.asarray(np.minimum(limit, high * values))


# --- a small study -----------------------------------------------------------------------------

VALUES = [200.0, 90.0, 60.0, 40.0, 30.0, 20.0, 12.0, 9.0, 7.0, 5.0, 3.0, 2.0]
NEWS = {"N1": "2024-03-05 08:00", "N2": "2024-04-08 17:00", "N3": "2024-05-14 11:00"}
SESSIONS = {"N1": "2024-03-05", "N2": "2024-04-09", "N3": "2024-05-14"}
STUDY = """least_shifts: 100
least_firms: 5
note: N4
second:
  yardstick: {rail: outside}
  benchmark_share: {solar: 0.2}
  controls: [donor/a, donor/b]
"""


def small_spec(
    folder: Path,
    *,
    values: Mapping[str, float | None] | None = None,
    study: str = STUDY,
    thesis: str = DOLLARS,
    more: str = "",
) -> Spec:
    """Write and read a study of two sectors and three primary events; ``values`` replace some."""
    own = {t: v for group in SECTORS.values() for t, v in zip(group, VALUES, strict=True)}
    own |= values or {}  # type: ignore[arg-type]
    universe = "ticker,sector,market_value_usd_bn\n" + "".join(
        f"{t},{name},{'' if own[t] is None else own[t]}\n"
        for name, group in SECTORS.items()
        for t in group
    )
    events = "id,announced,zone,role,title,solar,rail\n" + "".join(
        f"{name},{at},America/New_York,primary,t,{'+,-' if name == 'N2' else '+,+'}\n"
        for name, at in NEWS.items()
    )
    events += f"N4,2024-09-03 08:00,America/New_York,publication,the note,,\n{more}"
    dollars = {"thesis": thesis} if thesis else {}
    return read_spec(write_study(folder, universe=universe, events=events, study=study, **dollars))


@cache
def small_market() -> tuple[Market, pd.DataFrame]:
    """Draw prices with openings, and two outside averages that share the sectors' shocks."""
    calendar = exchange_calendars.get_calendar("XNYS", start="2021-01-04", end="2024-12-31")
    days = pd.DatetimeIndex(calendar.sessions, name="date").astype("datetime64[ns]")
    draw = np.random.default_rng(21)
    names = [ticker for group in SECTORS.values() for ticker in group]
    parts = {}
    for part, scale in (("overnight", 0.5), ("session", 1.0)):
        market = scale * 0.01 * draw.standard_normal(len(days))
        shocks = scale * 0.006 * draw.standard_normal((len(days), 2))
        noise = scale * 0.015 * draw.standard_normal((len(days), len(names)))
        table = np.linspace(0.7, 1.3, 24) * market[:, None] + shocks[:, np.arange(24) // 12]
        parts[part] = pd.DataFrame(table + noise, days, names)
        parts[part].insert(0, "us_market", market)
        parts[part][["solar", "rail"]] = shocks
    whole = (1 + parts["overnight"]) * (1 + parts["session"]) - 1
    outside = whole["us_market"] + 0.002 * draw.standard_normal(len(days))
    controls = pd.DataFrame({"outside": outside}, days)
    for name, shock in (("donor/a", "solar"), ("donor/b", "rail")):
        own = 0.5 * whole["us_market"] + whole[shock] + 0.004 * draw.standard_normal(len(days))
        controls[name] = own
    keep = ["us_market", *names]
    openings = {part: table[keep] for part, table in parts.items()}
    return Market("file:small.csv", whole[keep], "firm", openings=openings), controls


def small_sample(spec: Spec, market: Market, controls: pd.DataFrame) -> Sample:
    """Form the study on returns and outside averages of one's own."""
    return replace(sample(spec, market), controls=controls)

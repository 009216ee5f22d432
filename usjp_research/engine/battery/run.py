"""The battery: every test for every group and window of a panel of firm-events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd

from usjp_research.engine.battery.abnormal import AbnormalReturns, abnormal_returns, residual_blocks
from usjp_research.engine.battery.dependence import pair_sums
from usjp_research.engine.battery.events import firm_events, left_out, panel_design, window_label
from usjp_research.engine.battery.joint import joint_law, portfolio_series, quiet_law
from usjp_research.engine.battery.ranks import day_sums
from usjp_research.engine.battery.window import WindowTests, Work, set_firms, window_tests
from usjp_research.engine.design import Bools, Floats, Timing
from usjp_research.market.panel import ReturnPanel, panel_of_frame
from usjp_research.market.record import Dropped
from usjp_research.words import card


@dataclass(frozen=True, slots=True)
class Battery:
    """Every group's tests, and everything that was left out.

    ``groups`` has ``ALL`` first, then the sectors, and in each the windows by their label, such as
    ``[-1;1]``; ``firms`` has firm, sector and place of day 0 of the rows of ``fit``.
    """

    model: str
    groups: Mapping[str, Mapping[str, WindowTests]]
    firms: pd.DataFrame
    fit: AbnormalReturns
    dropped: tuple[Dropped, ...]

    def _repr_html_(self) -> str:
        told = f"windows {', '.join(next(iter(self.groups.values()), {}))}"
        left = f"{len(self.dropped)} left out"
        return card("Battery", self.model, f"{len(self.groups)} groups", told, left)

    def as_dict(self) -> dict[str, Any]:
        """Return what the command writes as JSON."""
        groups = {
            group: {label: tests.as_dict() for label, tests in windows.items()}
            for group, windows in self.groups.items()
        }
        return {**groups, "dropped": [asdict(item) for item in self.dropped]}


def run_battery(
    returns: ReturnPanel | pd.DataFrame,
    groups: pd.DataFrame,
    *,
    event: str | pd.Timestamp | None = None,
    events: pd.DataFrame | None = None,
    benchmark: str | None = None,
    model: str = "market",
    estimation: tuple[int, int] = (-260, -11),
    windows: Sequence[tuple[int, int]] = ((0, 0),),
    factors: pd.DataFrame | None = None,
    factor_units: str = "auto",
) -> Battery:
    """Run every test of ``docs/tests.md`` on every group and window.

    Each firm is fitted on its own usable days; for each window the firms are those with a return on
    every day of it. Nothing is filled, and what is left out is listed. When firms share dates,
    tests that take them for independent are computed but not put forward.

    Parameters
    ----------
    returns : ReturnPanel or DataFrame of shape (n_days, n_series)
        Daily simple returns as decimals; every row is a trading day.
    groups : DataFrame
        Columns ``firm``, ``sector`` and optionally ``treated``; others are in no group.
    event : date, optional
        Day 0 of every firm. Give either this or ``events``, with columns ``firm`` and ``date``.
    benchmark, model : str
        The market's series, and a key of `MODELS`; factor models are fitted to returns in excess
        of the riskless rate.
    estimation : (int, int)
        First and last estimation day, in trading days from day 0.
    windows : sequence of (int, int)
        Rank tests rank over the shortest window that holds them all.
    factors : DataFrame, optional
        Days as index; columns of ``returns`` by default. ``factor_units`` are percent or decimal.

    Raises
    ------
    InputError
        For names, dates, windows or models that do not fit the data.

    Examples
    --------
    >>> draw = np.random.default_rng(3)
    >>> days = pd.bdate_range("2023-01-02", periods=300)
    >>> table = pd.DataFrame(draw.normal(0, 0.01, (300, 4)), days, ["A", "B", "C", "M"])
    >>> firms = pd.DataFrame({"firm": ["A", "B", "C"], "sector": "x"})
    >>> done = run_battery(table, firms, event=days[280], benchmark="M")
    >>> done.groups["ALL"]["[0;0]"].tests["portfolio_t"].law
    't(248)'
    """
    panel = returns if isinstance(returns, ReturnPanel) else panel_of_frame(returns)
    timing = Timing(estimation, tuple(dict.fromkeys(windows)))
    design = panel_design(panel, model, benchmark, factors, factor_units)
    table, dropped = firm_events(panel, groups, event, events, timing)
    series, each = pd.factorize(table["firm"])
    names = each.tolist()
    held = None if panel.chunk else panel.read(names)

    def read(first: int, last: int) -> Floats:
        return panel.read(names[first:last]) if held is None else held[first:last]

    day0 = table["day0"].to_numpy(np.int64)
    fit = abnormal_returns(read, series, day0, design, timing, chunk=panel.chunk)
    dropped += left_out(panel, table, fit)
    asked = groups[groups["treated"].astype(bool)] if "treated" in groups else groups
    sectors = dict.fromkeys([*table["sector"].unique(), *map(str, asked["sector"].unique())])
    column, members = _sets(table["sector"], list(sectors), fit)
    of_set = [sorted({w for (_, w), s in column.items() if s == k}) for k in range(len(members.T))]
    residuals = partial(residual_blocks, read, fit, panel.chunk)
    quiet, lines = None, np.empty((0, 0))
    if (fit.day0 == fit.day0[0]).all():
        lines = portfolio_series(read, fit.series, members, len(panel.days), panel.chunk)
        quiet = quiet_law(lines, fit)
    sectors_law = cache(lambda sets, equal: joint_law(lines[list(sets)], fit, equal=equal))
    sums, pairs = day_sums(residuals, fit, members, of_set), pair_sums(residuals, fit, members)
    work = Work(fit, members, column, sums, pairs, quiet, sectors_law)
    firms = [set_firms(work, s, residuals, read) for s in range(members.shape[1])]
    done: dict[str, dict[str, WindowTests]] = {}
    for (group, w), s in column.items():
        label = window_label(timing.windows[w])
        done.setdefault(group, {})[label] = window_tests(work, firms[s], group, w)
    return Battery(model, done, table.drop(columns="what"), fit, tuple(dropped))


def _sets(
    sector: pd.Series, sectors: Sequence[str], fit: AbnormalReturns
) -> tuple[dict[tuple[str, int], int], Bools]:
    """Give each group and window its column in a table of sets; those of the same firms share."""
    found: dict[bytes, int] = {}
    column = {}
    for group in ("ALL", *sectors):
        inside = (sector == group).to_numpy() | (group == "ALL")
        for w in range(len(fit.timing.windows)):
            these = inside & np.isfinite(fit.car[:, w])
            column[group, w] = found.setdefault(these.tobytes(), len(found))
    return column, np.column_stack([np.frombuffer(key, dtype=bool) for key in found])

"""The battery: every test for every group and window of a panel of firm-events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from usjp_research.engine.battery.abnormal import AbnormalReturns, abnormal_returns
from usjp_research.engine.battery.events import (
    FirmEvents,
    LeftOut,
    firm_events,
    left_by_fit,
    left_by_holes,
    panel_design,
    series_reader,
    window_label,
)
from usjp_research.engine.battery.joint import portfolio_series, quiet_law
from usjp_research.engine.battery.sums import day_sums
from usjp_research.engine.battery.window import Sets, WindowTests, Work, window_tests
from usjp_research.engine.design import Timing
from usjp_research.market.panel import ReturnPanel, panel_of_frame
from usjp_research.words import card

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Battery:
    """Every group's tests, and everything that was left out.

    Attributes
    ----------
    groups : mapping of str to mapping of str to WindowTests
        ``ALL`` first, then the sectors; windows by their label, such as ``[-1;1]``.
    firms : FirmEvents
        The rows of ``fit``.
    fit : AbnormalReturns
    dropped : tuple of LeftOut
    """

    model: str
    groups: Mapping[str, Mapping[str, WindowTests]]
    firms: FirmEvents
    fit: AbnormalReturns
    dropped: tuple[LeftOut, ...]

    def _repr_html_(self) -> str:
        return card(
            "Battery",
            self.model,
            f"{len(self.groups)} groups",
            f"windows {', '.join(next(iter(self.groups.values()), {}))}",
            f"{len(self.dropped)} left out",
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what the command writes as JSON."""
        out: dict[str, Any] = {
            group: {label: tests.as_dict() for label, tests in windows.items()}
            for group, windows in self.groups.items()
        }
        out["dropped"] = [
            {key: value for key, value in asdict(item).items() if value} for item in self.dropped
        ]
        return out


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
    """Run every test on every group and window.

    Each firm is fitted on its own usable days; for each window the firms are those with a
    return on every day of it. Nothing is filled, and what is left out is listed. When firms
    share dates, tests that take them for independent are computed but not put forward.

    Parameters
    ----------
    returns : ReturnPanel or DataFrame of shape (n_days, n_series)
        Daily simple returns as decimals; every row is a trading day.
    groups : DataFrame
        Columns ``firm``, ``sector`` and optionally ``treated``; others are in no group.
    event : date, optional
        Day 0 of every firm. Give either this or ``events``.
    events : DataFrame, optional
        Columns ``firm`` and ``date``, for dates of their own.
    benchmark : str, optional
        The market's series.
    model : str
        A key of `MODELS`. Factor models are fitted to returns in excess of the riskless rate.
    estimation : (int, int)
        First and last estimation day, in trading days from day 0.
    windows : sequence of (int, int)
        Rank tests rank over the shortest window that holds them all.
    factors : DataFrame, optional
        Days as index. By default factors are taken from columns of ``returns``.
    factor_units : {"auto", "percent", "decimal"}

    Returns
    -------
    Battery

    Raises
    ------
    InputError
        For names, dates, windows or models that do not fit the data.

    References
    ----------
    Those of each test: see ``docs/tests.md``.

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
    made, dropped = firm_events(panel, groups, event, events, timing)
    read, chunk = series_reader(panel, made.names)
    fit = abnormal_returns(read, made.series, made.day0, design, timing, chunk=chunk)
    whole = np.isfinite(fit.car) & (fit.fault == 0)[:, None]
    dropped += [*left_by_fit(panel, made, fit), *left_by_holes(panel, made, fit, whole)]

    marked = groups["treated"].astype(bool) if "treated" in groups else slice(None)
    asked = groups.loc[marked, "sector"].astype(str).str.strip()
    sets = _sets(made.sectors, whole, tuple(dict.fromkeys(asked)))
    sums, pairs = day_sums(read, fit, sets.members, sets.windows, chunk=chunk)
    quiet = None
    if (made.day0 == made.day0[0]).all():
        lines = portfolio_series(read, made.series, sets.members, len(panel.days), chunk=chunk)
        quiet = quiet_law(lines, fit)
    work = Work(read, chunk, fit, sets, sums, pairs, quiet)
    done: dict[str, dict[str, WindowTests]] = {}
    for group in sets.groups:
        done[group] = {
            window_label(window): window_tests(work, group, w)
            for w, window in enumerate(timing.windows)
        }
    return Battery(model, done, made, fit, tuple(dropped))


def _sets(sector: npt.NDArray[Any], whole: Bools, asked: tuple[str, ...]) -> Sets:
    """Say who is in which group; one that lost all its firms is there with none."""
    names = tuple(dict.fromkeys((*map(str, sector), *asked)))
    codes = pd.Index(names).get_indexer(pd.Index(sector.astype(str)))
    columns: list[Bools] = []
    column: dict[tuple[str, int], int] = {}
    windows: list[tuple[int, ...]] = []
    for code, group in enumerate(("ALL", *names), start=-1):
        inside = codes == code if code >= 0 else np.ones(len(codes), dtype=bool)
        first = len(columns)
        for w in range(whole.shape[1]):
            these = inside & whole[:, w]
            same = (s for s in range(first, len(columns)) if (columns[s] == these).all())
            s = next(same, len(columns))
            if s == len(columns):
                columns.append(these)
                windows.append(())
            windows[s] = (*windows[s], w)
            column[group, w] = s
    return Sets(("ALL", *names), np.column_stack(columns), column, windows)

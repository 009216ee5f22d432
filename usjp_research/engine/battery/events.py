"""From a panel and a list of firms to firm-events, with everything that had to be left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from usjp_research.engine.battery.abnormal import FAULTS, FREE, AbnormalReturns, ReadSeries
from usjp_research.engine.design import Design, Timing, expected_return_design, named_model
from usjp_research.market.factors import factor_columns, in_decimals
from usjp_research.market.panel import ReturnPanel
from usjp_research.words import InputError, nearest

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A firm-event that is in no test, or not in those of one window, and why."""

    firm: str
    date: str
    window: str
    reason: str


def panel_design(
    panel: ReturnPanel,
    model: str,
    benchmark: str | None,
    factors: pd.DataFrame | None,
    units: str,
) -> Design:
    """Set up the expected-return model from the panel's own columns or a table of factors.

    Raises
    ------
    InputError
        For a model, benchmark or factor that is not there.
    """
    made = named_model(model)
    if benchmark is not None and benchmark not in panel.names:
        known = nearest(benchmark, panel.names)
        raise InputError(f"unknown benchmark '{benchmark}': {known} in {panel.where}")
    columns: dict[str, Floats] = {}
    if "market" in made.needs:
        if benchmark is None:
            raise InputError(f"model '{model}' needs a benchmark; give --benchmark SERIES")
        columns["market"] = panel.read([benchmark])[0]
    if made.factors:
        columns |= _factors(panel, made.factors, factors, units)
    return expected_return_design(model, columns, len(panel.days))


def _factors(
    panel: ReturnPanel, needed: Sequence[str], factors: pd.DataFrame | None, units: str
) -> dict[str, Floats]:
    """Take factors, each of shape (n_days,), from the panel's columns or from their own table."""
    if factors is None:
        where = panel.where
        found = factor_columns(panel.names, needed, where)
        table = dict(zip(found, panel.read(list(found.values())), strict=True))
    else:
        where = "the factors file"
        found = factor_columns(tuple(map(str, factors.columns)), needed, where)
        if not len(panel.days.intersection(pd.DatetimeIndex(factors.index))):
            raise InputError("the factors file and the returns have no day in common")
        here = factors.reindex(panel.days)
        table = {key: here[name].to_numpy(np.float64) for key, name in found.items()}
    return in_decimals(table, units, where, lambda _, at: f"day {panel.days[at].date()}")


def series_reader(panel: ReturnPanel, names: Sequence[str]) -> tuple[ReadSeries, int | None]:
    """Read the named series by place: all at once, or a chunk at a time from a large file."""
    if panel.chunk:
        return (lambda first, last: panel.read(names[first:last])), panel.chunk
    table = panel.read(names)
    return (lambda first, last: table[first:last]), None


@dataclass(frozen=True, slots=True)
class FirmEvents:
    """Which firm has its day 0 when.

    Attributes
    ----------
    firms, sectors : ndarray of shape (N,), str
    series : ndarray of shape (N,), int
        Place of the firm's returns in ``names``.
    day0 : ndarray of shape (N,), int
        Place among the panel's days.
    names : tuple of str
        Each series once.
    one_date : bool
        Whether one date was given for all.
    """

    firms: Words
    sectors: Words
    series: Ints
    day0: Ints
    names: tuple[str, ...]
    one_date: bool


def firm_events(
    panel: ReturnPanel,
    groups: pd.DataFrame,
    event: str | pd.Timestamp | None,
    events: pd.DataFrame | None,
    timing: Timing,
) -> tuple[FirmEvents, list[LeftOut]]:
    """Find every treated firm's returns and day 0, and list those that have none.

    Raises
    ------
    InputError
        For a date that is no day of the panel, a firm that stands in the groups twice, or when
        nothing is left.
    """
    if (event is None) == (events is None):
        raise InputError("give one event date for all (event) or a table of dates (events)")
    sector = dict(zip(_words(groups["firm"]), _words(groups["sector"]), strict=True))
    if len(sector) < len(groups):
        twice = groups["firm"][groups["firm"].duplicated()].iloc[0]
        raise InputError(f"firm '{twice}' stands in the groups twice; keep one")
    treated = groups["treated"].tolist() if "treated" in groups else [True] * len(groups)
    chosen = [firm for firm, marked in zip(sector, treated, strict=True) if marked]
    if not chosen:
        raise InputError("no firm of the groups is marked as treated")
    dropped: list[LeftOut] = []
    if events is None:
        position = panel.position(_day(event))
        _inside_or_refused(panel, position, timing)
        firms, day0 = chosen, np.full(len(chosen), position)
        shown = [""] * len(chosen)
    else:
        firms, day0, shown = _dated(panel, events, sector, set(chosen), timing, dropped)
    place = {name: at for at, name in enumerate(panel.names)}
    for firm, day in zip(firms, shown, strict=True):
        if firm not in place:
            dropped.append(LeftOut(firm, day, "", f"not in {panel.where}"))
    there = np.array([firm in place for firm in firms], dtype=bool)
    firms = [firm for firm in firms if firm in place]
    if not firms:
        raise InputError(
            f"no firm-event is left of {len(dropped)}; the first, '{dropped[0].firm}': "
            f"{dropped[0].reason}"
        )
    names = tuple(dict.fromkeys(firms))
    code = {name: at for at, name in enumerate(names)}
    return FirmEvents(
        firms=np.array(firms, dtype=object),
        sectors=np.array([sector[firm] for firm in firms], dtype=object),
        series=np.array([code[firm] for firm in firms], dtype=np.int64),
        day0=np.asarray(day0[there], dtype=np.int64),
        names=names,
        one_date=events is None,
    ), dropped


def _words(column: pd.Series) -> list[str]:
    return [str(word) for word in column.tolist()]


def _day(event: str | pd.Timestamp | None) -> pd.Timestamp:
    try:
        if isinstance(event, str):
            return pd.to_datetime(event, format="%Y-%m-%d")
        return pd.Timestamp(event).normalize()  # type: ignore[arg-type]
    except ValueError:
        raise InputError(f"event '{event}': expected a date as YYYY-MM-DD") from None


def _inside_or_refused(panel: ReturnPanel, position: int, timing: Timing) -> None:
    day = panel.days[position].date()
    if position + timing.estimation[0] < 0:
        raise InputError(
            f"event {day}: {position} days stand before it in {panel.where}, estimation from "
            f"{timing.estimation[0]} needs {-timing.estimation[0]}; give a longer file or a later "
            "start"
        )
    after = len(panel.days) - 1 - position
    if timing.hull[1] > after:
        raise InputError(
            f"event {day}: {after} days stand after it in {panel.where}, a window to "
            f"{timing.hull[1]:+d} needs {timing.hull[1]}; give a longer file or a shorter window"
        )


def _dated(
    panel: ReturnPanel,
    events: pd.DataFrame,
    sector: Mapping[str, str],
    chosen: set[str],
    timing: Timing,
    dropped: list[LeftOut],
) -> tuple[list[str], Ints, list[str]]:
    """Place each event's date among the panel's days; what cannot be placed is dropped."""
    firms, days = _words(events["firm"]), pd.DatetimeIndex(events["date"]).normalize()
    at = panel.days.searchsorted(days)
    inside = (days >= panel.days[0]) & (days <= panel.days[-1])
    exact = np.zeros(len(firms), dtype=bool)
    exact[inside] = panel.days[at[inside]] == days[inside]
    lost = np.flatnonzero(inside & ~exact)
    if len(lost):
        raise InputError(
            f"firm '{firms[lost[0]]}', event {days[lost[0]].date()}: not a day of {panel.where}; "
            "give the first trading day that can react, perhaps "
            f"{panel.days[at[lost[0]]].date()}"
        )
    known = np.array([firm in chosen for firm in firms], dtype=bool)
    early = at + timing.estimation[0] < 0
    late = at + timing.hull[1] >= len(panel.days)
    span = f"{panel.days[0].date()} to {panel.days[-1].date()}"
    shown = [str(day)[:10] for day in days.to_numpy("datetime64[D]")]
    for row in np.flatnonzero(~known | ~exact | early | late):
        if not known[row]:
            reason = "not treated" if firms[row] in sector else "not in the groups"
        elif not exact[row]:
            reason = f"its date lies outside the returns ({span})"
        elif early[row]:
            reason = f"its estimation days begin before the returns ({panel.days[0].date()})"
        else:
            reason = f"its windows end after the returns ({panel.days[-1].date()})"
        dropped.append(LeftOut(firms[row], shown[row], "", reason))
    dated = set(firms)
    dropped += [
        LeftOut(firm, "", "", "no date in the events file")
        for firm in sector
        if firm in chosen and firm not in dated
    ]
    good = np.flatnonzero(known & exact & ~early & ~late)
    return [firms[row] for row in good], at[good], [shown[row] for row in good]


def left_by_fit(panel: ReturnPanel, made: FirmEvents, fit: AbnormalReturns) -> list[LeftOut]:
    """List the firm-events whose model could not be fitted."""
    out = []
    needed = fit.design.parameters + FREE
    for row in np.flatnonzero(fit.fault).tolist():
        reason = FAULTS[fit.fault[row]]
        if fit.fault[row] == 1:
            reason += f": {fit.n_obs[row]} usable, {needed} needed"
        out.append(LeftOut(made.firms[row], _event_day(panel, made, row), "", reason))
    return out


def left_by_holes(
    panel: ReturnPanel, made: FirmEvents, fit: AbnormalReturns, whole: Bools
) -> list[LeftOut]:
    """List the firm-events that lack a day of a window, with the first such day."""
    out = []
    for w, window in enumerate(fit.timing.windows):
        place = fit.timing.place(window)
        for row in np.flatnonzero(~whole[:, w] & (fit.fault == 0)).tolist():
            offset = int(np.flatnonzero(~np.isfinite(fit.ar[row, place]))[0]) + window[0]
            at = int(fit.day0[row]) + offset
            lost = not np.isfinite(fit.design.base[at])
            what = "the model's regressors have no value" if lost else "no return"
            reason = f"hole in the window: {what} on {panel.days[at].date()} (day {offset:+d})"
            day = _event_day(panel, made, row)
            out.append(LeftOut(made.firms[row], day, window_label(window), reason))
    return out


def _event_day(panel: ReturnPanel, made: FirmEvents, row: int) -> str:
    return "" if made.one_date else str(panel.days[made.day0[row]].date())


def window_label(window: tuple[int, int]) -> str:
    """Write a window as results name it.

    Examples
    --------
    >>> window_label((-1, 1))
    '[-1;1]'
    """
    return f"[{window[0]};{window[1]}]"

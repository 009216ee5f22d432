"""From a panel and a list of firms to firm-events, with everything that had to be left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from usjp_research.abnormal import (
    FAULTS,
    FREE,
    MODEL_FACTORS,
    AbnormalReturns,
    Design,
    ReadSeries,
    Timing,
    expected_return_design,
)
from usjp_research.panels import ReturnPanel, factor_columns, in_decimals
from usjp_research.spec import InputError, nearest

__all__ = ["LeftOut", "firm_events", "left_by_fit", "left_by_holes", "panel_design", "window_label"]

Bools = npt.NDArray[np.bool_]


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
    if model not in MODEL_FACTORS:
        raise InputError(f"unknown model '{model}': {nearest(model, MODEL_FACTORS)}")
    if benchmark is not None and benchmark not in panel.names:
        known = nearest(benchmark, panel.names)
        raise InputError(f"unknown benchmark '{benchmark}': {known} in {panel.where}")
    market, table = None, {}
    if model in ("market", "market_adjusted"):
        if benchmark is None:
            raise InputError(f"model '{model}' needs a benchmark; give --benchmark SERIES")
        market = panel.read([benchmark])[0]
    needed = ("rf", *MODEL_FACTORS[model]) if MODEL_FACTORS[model] else ()
    if needed and factors is None:
        found = factor_columns(panel.names, needed, panel.where)
        table = dict(zip(found, panel.read(list(found.values())), strict=True))
    elif needed and factors is not None:
        found = factor_columns(tuple(map(str, factors.columns)), needed, "the factors file")
        shared = panel.days.intersection(pd.DatetimeIndex(factors.index))
        if not len(shared):
            raise InputError("the factors file and the returns have no day in common")
        here = factors.reindex(panel.days)
        table = {key: here[name].to_numpy(np.float64) for key, name in found.items()}
    if table:
        table = in_decimals(
            table, units, "the factors file" if factors is not None else panel.where
        )
    return expected_return_design(model, len(panel.days), market, table)


def series_reader(panel: ReturnPanel, names: Sequence[str]) -> tuple[ReadSeries, int | None]:
    if panel.chunk:
        return (lambda first, last: panel.read(names[first:last])), panel.chunk
    table = panel.read(names)
    return (lambda first, last: table[first:last]), None


def firm_events(
    panel: ReturnPanel,
    groups: pd.DataFrame,
    event: str | pd.Timestamp | None,
    events: pd.DataFrame | None,
    timing: Timing,
) -> tuple[pd.DataFrame, list[str], list[LeftOut]]:
    if (event is None) == (events is None):
        raise InputError("give either one event date or a file of events, one of the two")
    treated = (
        groups["treated"].to_numpy(bool) if "treated" in groups else np.ones(len(groups), bool)
    )
    firms = groups.loc[treated, ["firm", "sector"]].astype(str).reset_index(drop=True)
    if firms.empty:
        raise InputError("no firm of the groups is marked as treated")
    dropped: list[LeftOut] = []
    if events is None:
        rows = firms.assign(date=_day(event))
        position = panel.position(rows["date"].iloc[0])
        rows["day0"] = position
        _inside_or_refused(panel, position, timing)
    else:
        own = events[["firm", "date"]].astype({"firm": str})
        rows = own.merge(firms, on="firm", how="left")
        strange = rows["sector"].isna().to_numpy()
        controls = set(groups.loc[~treated, "firm"].astype(str))
        for firm, day in rows.loc[strange, ["firm", "date"]].itertuples(index=False):
            seen = "not treated" if firm in controls else "not in the groups"
            dropped.append(LeftOut(firm, str(day.date()), "", seen))
        for firm in firms.loc[~firms["firm"].isin(own["firm"]), "firm"]:
            dropped.append(LeftOut(firm, "", "", "no date in the events file"))
        rows = rows.loc[~strange].reset_index(drop=True)
        rows, late = _dated(panel, rows, timing)
        dropped += late
    there = rows["firm"].isin(panel.names).to_numpy()
    for firm, day in rows.loc[~there, ["firm", "date"]].itertuples(index=False):
        dropped.append(LeftOut(firm, _shown(day, events), "", f"not in {panel.where}"))
    rows = rows.loc[there].reset_index(drop=True)
    if rows.empty:
        reason = dropped[0].reason if dropped else "there is none"
        raise InputError(
            f"no firm-event is left: {len(dropped)} dropped, the first, "
            f"'{dropped[0].firm if dropped else ''}', because: {reason}"
        )
    codes, names = pd.factorize(rows["firm"])
    rows["series"] = codes
    return rows, [str(name) for name in names], dropped


def _day(event: str | pd.Timestamp | None) -> pd.Timestamp:
    try:
        day = (
            pd.Timestamp(event)
            if not isinstance(event, str)
            else pd.to_datetime(event, format="%Y-%m-%d")
        )
    except ValueError:
        raise InputError(f"event '{event}': expected a date as YYYY-MM-DD") from None
    return day.normalize()


def _shown(day: pd.Timestamp, events: pd.DataFrame | None) -> str:
    return "" if events is None else str(day.date())


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
    panel: ReturnPanel, rows: pd.DataFrame, timing: Timing
) -> tuple[pd.DataFrame, list[LeftOut]]:
    days = pd.DatetimeIndex(rows["date"])
    at = panel.days.searchsorted(days)
    inside = (days >= panel.days[0]) & (days <= panel.days[-1])
    exact = np.zeros(len(rows), dtype=bool)
    exact[inside] = panel.days[at[inside]] == days[inside]
    lost = inside & ~exact
    if lost.any():
        first = int(np.flatnonzero(lost)[0])
        raise InputError(
            f"firm '{rows['firm'].iloc[first]}', event {days[first].date()}: not a day of "
            f"{panel.where}; give the first trading day that can react, perhaps "
            f"{panel.days[at[first]].date()}"
        )
    early = exact & (at + timing.estimation[0] < 0)
    late = exact & (at + timing.hull[1] >= len(panel.days))
    span = f"{panel.days[0].date()} to {panel.days[-1].date()}"
    dropped = []
    for mask, reason in (
        (~inside, f"its date lies outside the returns ({span})"),
        (early, f"its estimation days begin before the returns ({panel.days[0].date()})"),
        (late & ~early, f"its windows end after the returns ({panel.days[-1].date()})"),
    ):
        for row in np.flatnonzero(mask):
            dropped.append(LeftOut(rows["firm"].iloc[row], str(days[row].date()), "", reason))
    good = exact & ~early & ~late
    return rows.assign(day0=at).loc[good].reset_index(drop=True), dropped


def left_by_fit(panel: ReturnPanel, rows: pd.DataFrame, fit: AbnormalReturns) -> list[LeftOut]:
    out = []
    needed = fit.design.parameters + FREE
    for row in np.flatnonzero(fit.fault):
        reason = FAULTS[fit.fault[row]]
        if fit.fault[row] == 1:
            reason += f": {fit.n_obs[row]} usable, {needed} needed"
        out.append(
            LeftOut(rows["firm"].iloc[row], str(panel.days[fit.day0[row]].date()), "", reason)
        )
    return out


def left_by_holes(
    panel: ReturnPanel, rows: pd.DataFrame, fit: AbnormalReturns, whole: Bools
) -> list[LeftOut]:
    out = []
    for w, window in enumerate(fit.timing.windows):
        place = fit.timing.place(window)
        for row in np.flatnonzero(~whole[:, w] & (fit.fault == 0)):
            offset = int(np.flatnonzero(~np.isfinite(fit.ar[row, place]))[0]) + window[0]
            at = int(fit.day0[row]) + offset
            day = panel.days[at].date()
            lost = not np.isfinite(fit.design.base[at])
            what = "the model's regressors have no value" if lost else "no return"
            reason = f"hole in the window: {what} on {day} (day {offset:+d})"
            event = str(panel.days[fit.day0[row]].date())
            out.append(LeftOut(rows["firm"].iloc[row], event, window_label(window), reason))
    return out


def window_label(window: tuple[int, int]) -> str:
    """Write a window as results name it.

    Examples
    --------
    >>> window_label((-1, 1))
    '[-1;1]'
    """
    return f"[{window[0]};{window[1]}]"

"""From a panel and a list of firms to firm-events, with everything that had to be left out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from usjp_research.engine.battery.abnormal import FAULTS, FREE, AbnormalReturns
from usjp_research.engine.design import Design, Floats, Timing, expected_return_design, named_model
from usjp_research.market.factors import factor_columns, in_decimals
from usjp_research.market.groups import RESERVED
from usjp_research.market.panel import ReturnPanel
from usjp_research.market.record import Dropped
from usjp_research.words import InputError, nearest


def panel_design(
    panel: ReturnPanel, model: str, benchmark: str | None, factors: pd.DataFrame | None, units: str
) -> Design:
    """Set up the expected-return model from the panel's own columns or a table of factors."""
    made = named_model(model)
    if benchmark is not None and benchmark not in panel.names:
        known = nearest(benchmark, panel.names)
        raise InputError(f"unknown benchmark '{benchmark}': {known} in {panel.where}")
    columns: dict[str, Floats] = {}
    if "market" in made.needs:
        if benchmark is None:
            raise InputError(f"model '{model}' needs a benchmark; give --benchmark SERIES")
        columns["market"] = panel.read([benchmark])[0]
    if made.factors and factors is None:
        where = panel.where
        found = factor_columns(panel.names, made.factors, where)
        columns |= dict(zip(found, panel.read(list(found.values())), strict=True))
    elif made.factors and factors is not None:
        where = "the factors file"
        found = factor_columns(tuple(map(str, factors.columns)), made.factors, where)
        if not len(panel.days.intersection(pd.DatetimeIndex(factors.index))):
            raise InputError("the factors file and the returns have no day in common")
        here = factors.reindex(panel.days)
        columns |= {key: here[name].to_numpy(np.float64) for key, name in found.items()}
    if made.factors:
        columns = in_decimals(columns, units, where, lambda _, at: f"day {panel.days[at].date()}")
    return expected_return_design(model, columns, len(panel.days))


def firm_events(
    panel: ReturnPanel,
    groups: pd.DataFrame,
    event: str | pd.Timestamp | None,
    events: pd.DataFrame | None,
    timing: Timing,
) -> tuple[pd.DataFrame, list[Dropped]]:
    """Find every treated firm's day 0, a place among the panel's days, and list those without.

    The column ``what`` of the table is what its rows are called when left out.
    """
    if (event is None) == (events is None):
        raise InputError("give one event date for all (event) or a table of dates (events)")
    _refuse_tables(groups, events)
    firms, sectors = _words(groups["firm"]), _words(groups["sector"])
    if firms.duplicated().any():
        twice = firms[firms.duplicated()].iloc[0]
        raise InputError(f"firm '{twice}' stands in the groups twice; keep one")
    chosen = firms[groups["treated"].to_numpy(dtype=bool)] if "treated" in groups else firms
    if chosen.empty:
        raise InputError("no firm of the groups is marked as treated")
    if events is None:
        day0, dropped = panel.position(_day(event)), list[Dropped]()
        _inside_or_refused(panel, day0, timing)
        table = pd.DataFrame({"firm": chosen, "day0": day0, "what": "firm"})
    else:
        table, dropped = _dated(panel, events, firms, chosen, timing)
    there = table["firm"].isin(panel.names)
    for item in table[~there].itertuples():
        dropped.append(Dropped(str(item.what), str(item.firm), f"not in {panel.where}"))
    table = table[there].reset_index(drop=True)
    if table.empty:
        raise InputError(
            f"no firm-event is left of {len(dropped)}; the first, '{dropped[0].name}': "
            f"{dropped[0].reason}"
        )
    return table.assign(sector=table["firm"].map(dict(zip(firms, sectors, strict=True)))), dropped


def _refuse_tables(groups: pd.DataFrame, events: pd.DataFrame | None) -> None:
    """Refuse tables in memory for what `read_groups` and `read_event_dates` refuse in files."""
    asked = [("groups", groups, ("firm", "sector"))]
    asked += [("events", events, ("firm", "date"))] if events is not None else []
    for name, table, columns in asked:
        for column in columns:
            if column not in table:
                seen = ", ".join(map(str, table.columns))
                raise InputError(f"{name}: expected a column '{column}', seen {seen}")
            if table[column].isna().any():
                raise InputError(f"{name}: column '{column}' has an empty cell; fill it in")
    for sector in RESERVED:
        if (groups["sector"] == sector).any():
            own = "has its own meaning in the results; call the sector something else"
            raise InputError(f"groups: sector '{sector}' {own}")
    if "treated" in groups and not groups["treated"].isin([True, False]).all():
        raise InputError("groups: column 'treated': expected True or False in every row")


def _words(column: pd.Series) -> pd.Series:
    return pd.Series(list(map(str, column.tolist())), dtype=object)


def _day(event: str | pd.Timestamp | None) -> pd.Timestamp:
    try:
        if isinstance(event, str):
            return pd.to_datetime(event, format="%Y-%m-%d")
        return pd.Timestamp(event).tz_localize(None).normalize()  # type: ignore[arg-type]
    except ValueError:
        raise InputError(f"event '{event}': expected a date as YYYY-MM-DD") from None


def _inside_or_refused(panel: ReturnPanel, position: int, timing: Timing) -> None:
    day, first, last = panel.days[position].date(), timing.estimation[0], timing.hull[1]
    before, after = position, len(panel.days) - 1 - position
    remedy = "give a longer file or a"
    if before < -first:
        seen = f"{before} days stand before it in {panel.where}, estimation from {first}"
        raise InputError(f"event {day}: {seen} needs {-first}; {remedy} later start")
    if last > after:
        seen = f"{after} days stand after it in {panel.where}, a window to {last:+d}"
        raise InputError(f"event {day}: {seen} needs {last}; {remedy} shorter window")


def _dated(
    panel: ReturnPanel, events: pd.DataFrame, firms: pd.Series, chosen: pd.Series, timing: Timing
) -> tuple[pd.DataFrame, list[Dropped]]:
    """Place each event's date among the panel's days; what cannot be placed is dropped."""
    names = _words(events["firm"])
    dates = events["date"]
    try:
        if dates.map(lambda date: isinstance(date, str)).any():  # 02/03/2024 is two days
            dates = pd.to_datetime(dates, format="ISO8601")
        days = pd.DatetimeIndex(dates).tz_localize(None).normalize()
    except (TypeError, ValueError) as error:
        raise InputError(f"events: column 'date': expected dates ({error})") from None
    again = pd.DataFrame({"firm": names, "day": days}).duplicated().to_numpy()
    if again.any():
        twice = f"firm '{names[again].iloc[0]}' has {days[again][0].date()} twice"
        raise InputError(f"events: {twice}; keep one")
    at = panel.days.searchsorted(days)
    exact = days.isin(panel.days)
    lost = np.flatnonzero(~exact & (days >= panel.days[0]) & (days <= panel.days[-1]))
    if len(lost):
        raise InputError(
            f"firm '{names.iloc[lost[0]]}', event {days[lost[0]].date()}: not a day of "
            f"{panel.where}; give the first trading day that can react, perhaps "
            f"{panel.days[at[lost[0]]].date()}"
        )
    first, last = panel.days[0].date(), panel.days[-1].date()
    known, grouped = names.isin(chosen).to_numpy(), names.isin(firms).to_numpy()
    early, late = at + timing.estimation[0] < 0, at + timing.hull[1] >= len(panel.days)
    why = {
        "not treated": ~known & grouped,
        "not in the groups": ~known,
        f"its date lies outside the returns ({first} to {last})": ~exact,
        f"its estimation days begin before the returns ({first})": early,
        f"its windows end after the returns ({last})": late,
    }
    fault = np.select(list(why.values()), range(len(why)), len(why))
    what = "event " + pd.Series(days.strftime("%Y-%m-%d"), names.index)
    table = pd.DataFrame({"firm": names, "day0": at, "what": what})
    dropped = [
        Dropped(str(item.what), str(item.firm), list(why)[number])
        for item, number in zip(table.itertuples(), fault, strict=True)
        if number < len(why)
    ]
    undated = chosen[~chosen.isin(names)]
    dropped += [Dropped("firm", firm, "no date in the events file") for firm in undated]
    return table[fault == len(why)], dropped


def left_out(panel: ReturnPanel, table: pd.DataFrame, fit: AbnormalReturns) -> Iterator[Dropped]:
    """List the firm-events that could not be fitted, or lack a day of a window, the first such."""
    what, firm = table["what"].tolist(), table["firm"].tolist()
    for row in np.flatnonzero(fit.fault):
        reason = FAULTS[fit.fault[row]]
        if fit.fault[row] == 1:
            reason += f": {fit.n_obs[row]} usable, {fit.design.parameters + FREE} needed"
        yield Dropped(what[row], firm[row], reason)
    for w, window in enumerate(fit.timing.windows):
        place = fit.timing.place(window)
        for row in np.flatnonzero(np.isnan(fit.car[:, w]) & (fit.fault == 0)):
            offset = int(np.flatnonzero(~np.isfinite(fit.ar[row, place]))[0]) + window[0]
            at = int(fit.day0[row]) + offset
            lost = not np.isfinite(fit.design.base[at])
            seen = "the model's regressors have no value" if lost else "no return"
            reason = f"hole in the window: {seen} on {panel.days[at].date()} (day {offset:+d})"
            where = f"{what[row]}, window {window_label(window)}".removeprefix("firm, ")
            yield Dropped(where, firm[row], reason)


def window_label(window: tuple[int, int]) -> str:
    """Write a window as results name it, such as ``[-1;1]``."""
    return f"[{window[0]};{window[1]}]"

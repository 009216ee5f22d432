"""What moved: abnormal returns per event and sector, and paths around events and since the note."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from usjp_research.engine.battery.parametric import portfolio_t
from usjp_research.engine.battery.run import run_battery
from usjp_research.engine.battery.window import WindowTests, no_tests
from usjp_research.engine.design import MODELS, Floats, Ints, expected_return_design
from usjp_research.engine.placebo import Leg, Placebo, admissible_shifts, own_days
from usjp_research.engine.rolling import Forecast
from usjp_research.market.record import BENCHMARK, MIRROR, Dropped, Market
from usjp_research.spec.records import Spec
from usjp_research.study.disclosure import SMALLEST
from usjp_research.study.legs import campaign_legs, event_legs
from usjp_research.study.sample import Sample
from usjp_research.words import card, label, level, percent

OUTSIDE = "not a sector"  # what stands in place of a blackout's status for the mirror
AROUND = (-10, 20)  # offsets from day 0 of the paths around events
SINCE = (
    *("sector", "first", "last", "sessions", "moved", "beta", "placebo_mean", "placebo_low"),
    *("placebo_high", "windows", "independent"),
)
NUMBERS = ("caar", "se", "se_guarded", "portfolio_t", "portfolio_law", "portfolio_p")


def event_reactions(data: Sample) -> pd.DataFrame:
    """Tabulate every event's abnormal return per sector, with and without firms in blackout.

    One row per event and sector (and the mirror basket): ``caar`` as a decimal, its forecast
    error ``se`` and the guarded one, the portfolio t test, and how many firms were in; NaN where a
    sector has no portfolio.
    """
    made, mirror = data.portfolios, [MIRROR] if MIRROR in data.portfolios.returns else []
    formed = (slot.series for slot in made.slots.values() if slot.series)
    sectors = (f"sector/{sector}" for sector in data.spec.sectors)
    columns = list(dict.fromkeys((*formed, *sectors, *mirror)))
    fit = data.forecast(made.array(columns))
    rows = []
    for place, event in enumerate(data.panel.events):
        moved = _numbers(fit, columns, int(data.panel.day0[place]))
        session = data.panel.new_york[place].isoformat()
        for sector in (*data.spec.sectors, *mirror):
            row: dict[str, object] = {"event": event.id, "role": event.role, "session": session}
            row |= {"sector": sector, "sign": event.signs.get(sector, 0)}
            slot = made.slots.get((event.id, sector))
            series, whole = (slot.series, f"sector/{sector}") if slot else (sector, sector)
            row |= moved[series] | dict.fromkeys(("firms", "in_blackout", "not_checked"))
            row |= {"blackout": OUTSIDE, "caar_without_blackout": moved[whole]["caar"]}
            if slot:
                row["firms"], row["blackout"] = len(slot.members), slot.status
                row |= {"in_blackout": len(slot.blackout), "not_checked": len(slot.unchecked)}
                # A sector with and without one or two firms would give those firms away.
                gone = len(made.members[whole]) - len(slot.members)
                if 0 < gone < SMALLEST or not series:
                    row["caar_without_blackout"] = math.nan
            rows.append(row)
    return pd.DataFrame(rows)


def _numbers(fit: Forecast, columns: Sequence[str], day0: int) -> dict[str, dict[str, object]]:
    """Return what each series did around one day, and without a series nothing."""
    nothing: dict[str, object] = {**dict.fromkeys(NUMBERS, math.nan), "portfolio_law": ""}
    found = {"": nothing}
    for at, series in enumerate(columns):
        car, variance = float(fit.car[day0, at]), float(fit.variance[day0, at])
        test = portfolio_t(car, variance, int(fit.n_obs[day0, at]) - fit.parameters)
        guarded = math.sqrt(fit.guarded[day0, at])
        numbers = (car, math.sqrt(variance), guarded, test.statistic, test.law, test.p)
        found[series] = dict(zip(NUMBERS, numbers, strict=True))
    return found


def firm_reactions(data: Sample, sector: str, event: str, part: str = "") -> pd.DataFrame:
    """Tabulate single firms' abnormal returns at one event; empty at portfolio level.

    Of the rule's window, or of day 0 alone ``overnight`` or in its ``session``; empty without
    opening prices then. Columns ``ticker``, ``car`` and its forecast error ``se`` as decimals,
    ``beta``, largest first. Raises `InputError` for an event or a sector that the study lacks.
    """
    data.spec.members(sector)
    place, columns = data.panel.position(data.spec.event(event).id), ["ticker", "car", "se", "beta"]
    table = data.market.openings.get(part) if part else data.firms
    if data.firms is None or table is None or place is None:
        return pd.DataFrame(columns=columns)
    tickers, how = list(data.portfolios.slots[event, sector].members), dict[str, Any]()
    if part:
        first = table[BENCHMARK].to_numpy("float64")
        how = {"window": (0, 0), "design": expected_return_design("market", {"market": first})}
    fit = data.forecast(table[tickers].to_numpy("float64"), **how)
    day0 = int(data.panel.day0[place])
    values = (tickers, fit.car[day0], np.sqrt(fit.variance[day0]), fit.beta[day0])
    frame = pd.DataFrame(dict(zip(columns, values, strict=True)))
    return frame.sort_values("car", ascending=False, ignore_index=True)


def sector_battery(data: Sample, sector: str, event: str) -> WindowTests:
    """Run every test on the members of one sector at one event, on their shared date.

    At portfolio level the sector's baskets stand for its firms; those hold firms in blackout too.
    Days inside real event windows are missing for everybody. Where the event cannot be tested, or
    the sector has no portfolio there, a note says why.
    """
    rule, made = data.spec.rule, data.portfolios
    place = data.panel.position(data.spec.event(event).id)
    data.spec.members(sector)
    if place is None:
        return no_tests(f"{event} cannot be tested: {data.panel.why(event)}", rule.window)
    slot = made.slots[event, sector]
    if not slot.series:
        return no_tests(f"no portfolio at {event}: {slot.reason}", rule.window)
    baskets = [name for name in made.members if name.startswith(f"basket/{sector}/")]
    names = baskets if data.firms is None else list(slot.members)
    table = (made.returns if data.firms is None else data.firms)[names]
    table = table.assign(**{BENCHMARK: made.benchmark})
    (low, high), day0 = rule.window, int(data.panel.day0[place])
    masked = data.panel.masked.copy()
    masked[day0 + low : day0 + high + 1] = False
    table.loc[masked] = np.nan
    last = low - rule.estimation.ends_before
    done = run_battery(
        table,
        pd.DataFrame({"firm": names, "sector": sector}),
        event=table.index[day0],
        benchmark=BENCHMARK,
        model=rule.model,
        factors=None if data.market.factors.empty else data.market.factors,
        factor_units="decimal",
        estimation=(last - rule.estimation.sessions + 1, last),
        windows=(rule.window,),
    )
    found = next(iter(done.groups["ALL"].values()))
    return found if found.tests else no_tests(found.reasons["n"], rule.window)


def coverage(spec: Spec, market: Market) -> pd.DataFrame:
    """Tabulate by day what share of each sector's firms has a return, (n_days, n_sectors).

    At portfolio level the sector series stand for their firms.
    """
    known, shares = market.returns.notna(), {}
    for sector in spec.sectors:
        firms = [firm.ticker for firm in spec.members(sector)]
        columns = [f"sector/{sector}"] if market.level == "portfolio" else firms
        shares[sector] = known.reindex(columns=columns, fill_value=False).mean(axis=1)
    return pd.DataFrame(shares)


def relative_paths(data: Sample) -> pd.DataFrame:
    """Cumulate each sector's daily returns less the market's, (n_days, n_sectors).

    Arithmetic sums as decimals over the whole sample, without blackout.
    """
    made = data.portfolios
    frame = made.returns[[f"sector/{sector}" for sector in data.spec.sectors]]
    return frame.sub(made.benchmark, axis=0).cumsum().set_axis(list(data.spec.sectors), axis=1)


@dataclass(frozen=True, slots=True)
class EventPaths:
    """Cumulative abnormal returns around each event of a sector, as decimals.

    ``paths`` and the placebo band of ``level``, ``low`` to ``high``, are (n_events, n_offsets).
    """

    sector: str
    events: tuple[str, ...]
    sessions: tuple[str, ...]
    window: tuple[int, int]
    offsets: Ints
    paths: Floats
    low: Floats
    high: Floats
    level: float
    shifts: int
    reason: str = ""

    def _repr_html_(self) -> str:
        if self.reason:
            return card("Event paths", label(self.sector), self.reason)
        pairs = zip(self.events, self.paths[:, -1], strict=True)
        ends = ", ".join(f"{event} {percent(float(end))}" for event, end in pairs)
        days = f"sessions {self.offsets[0]} to {self.offsets[-1]} from day 0"
        band = f"{level(1 - self.level)} band of {self.shifts} placebo calendars"
        return card("Event paths", label(self.sector), days, f"at the end {ends}", band)


def event_paths(data: Sample, law: Placebo) -> EventPaths:
    """Follow a sector around each primary event, beside the same days on placebo calendars.

    The law of one sector gives the shifts, where the days of `AROUND` fit; days after the rule's
    window are out of sample.
    """
    (sector,) = law.groups
    legs = () if law.reason else event_legs(data, sector)
    return _follow(data, sector, legs, law.shifts, AROUND, law.reason)


def campaign_paths(data: Sample) -> tuple[EventPaths, ...]:
    """Follow every sector through the whole campaign, beside windows as long in quiet years.

    One `EventPaths` per sector that has returns, with one path each; none without a campaign.
    """
    found = []
    for sector, legs in campaign_legs(data).items():
        shifts = admissible_shifts(legs, data.panel.masked, data.spec.rule)
        if len(shifts) and data.portfolios.returns[f"sector/{sector}"].notna().any():
            found.append(_follow(data, sector, legs, shifts, legs[0].window))
    return tuple(found)


def _follow(
    data: Sample,
    sector: str,
    legs: Sequence[Leg],
    shifts: Ints,
    span: tuple[int, int],
    reason: str = "",
) -> EventPaths:
    """Put every leg's path beside the band of its placebo paths; without legs there are none."""
    offsets = np.arange(span[0], span[1] + 1)
    tails = (data.spec.rule.alpha / 2, 1 - data.spec.rule.alpha / 2)
    lines = np.zeros((len(legs), 3, len(offsets)))
    for k, leg in enumerate(legs):
        places = leg.day0 + np.append(0, shifts)[:, None] + offsets
        sums = _sums(data, legs, leg, places)
        whole = (places[1:, 0] >= 0) & (places[1:, -1] < len(data.market.dates))
        lines[k] = [sums[0], *np.nanquantile(sums[1:][whole], tails, axis=0)]
    events, days = tuple(leg.event for leg in legs), (data.market.dates[x.day0] for x in legs)
    own = (sector, events, tuple(str(day.date()) for day in days), data.spec.rule.window)
    paths, low, high = lines.transpose(1, 0, 2)
    size = 1 - data.spec.rule.alpha
    return EventPaths(*own, offsets, paths, low, high, size, len(shifts), reason)


def _sums(data: Sample, legs: Sequence[Leg], leg: Leg, places: Ints) -> Floats:
    """Cumulate a leg's abnormal returns over the days of its placebos, (n_moves, n_offsets)."""
    series, design = data.portfolios.array([leg.series]), data.design
    base, drivers = design.base, design.regressors * design.scale + design.centre
    moving = [day - leg.day0 for day in own_days(legs)]
    fit = data.forecast(series, window=leg.window, moving_mask=moving)
    inside, day = (places >= 0) & (places < len(base)), places.clip(0, len(base) - 1)
    centers = places[:, 0] - (places[0, 0] - leg.day0)
    loadings = fit.coefficients[centers][..., : design.parameters]
    abnormal = series[day, 0] - base[day] - (loadings * drivers[day]).sum(axis=-1)
    return np.asarray(np.where(inside, abnormal, np.nan).cumsum(axis=1))


def since_note(data: Sample) -> tuple[pd.DataFrame, tuple[EventPaths, ...], tuple[Dropped, ...]]:
    """Sum each sector's return less beta times the market's since the note: descriptive.

    Without the intercept: what a sector gained a day before the events, extrapolated, would be most
    of what is found. Windows of the same length that end before the first event make the band. One
    row per sector, columns `SINCE`: ``moved`` as a decimal, the mean and the middle 1 - alpha of
    the placebo windows, how many they are, and how many would fit side by side; then the same sums
    session by session, and why there is no such row.
    """
    rule, panel, sectors = data.spec.rule, data.panel, data.spec.sectors
    place = panel.position(rule.note) if rule.note else None
    start = 0 if place is None else int(panel.day0[place])
    length, quiet = len(data.market.dates) - start, int(panel.masked.argmax())
    first = rule.estimation.sessions + rule.estimation.ends_before
    starts = np.arange(first, quiet - length + 1)
    if place is None or len(starts) < 2:
        why = f"no quiet stretch of {length} sessions lies before the first event"
        if place is None:
            why = panel.why(rule.note) if rule.note else "study.yaml names no 'note'"
        dropped = Dropped("since the note", rule.note or "note", why)
        return pd.DataFrame(columns=list(SINCE)), (), (dropped,)
    returns = data.portfolios.array([f"sector/{sector}" for sector in sectors])
    model = rule.model if "market" in MODELS[rule.model].needs else "market"
    design = expected_return_design(model, {"market": data.portfolios.benchmark})
    beta, less = data.forecast(returns, window=(0, 0), design=design).beta, np.arange(length)
    span = np.r_[start, starts][:, None] + less
    expected = beta[span[:, 0], None, :] * data.portfolios.benchmark[span][..., None]
    moved = (returns[span] - expected).cumsum(axis=1)
    tails = (rule.alpha / 2, 1 - rule.alpha / 2)
    band = np.array([np.nanmean(moved[1:], axis=0), *np.nanquantile(moved[1:], tails, axis=0)])
    days = [str(data.market.dates[at].date()) for at in (start, -1)]
    size, table, paths = (len(starts), (quiet - first) / length), [], []
    for at, sector in enumerate(sectors):
        own = (sector, *days, length, moved[0, -1, at], beta[start, at])
        table.append((*own, *band[:, -1, at], *size))
        line, low, high = moved[:1, :, at], band[1:2, :, at], band[2:, :, at]
        told = (sector, (rule.note,), (days[0],), (0, length - 1), less)
        paths.append(EventPaths(*told, line, low, high, 1 - rule.alpha, len(starts)))
    return pd.DataFrame(table, columns=list(SINCE)), tuple(paths), ()

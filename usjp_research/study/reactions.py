"""What moved: abnormal returns per event and sector, and the paths around each event."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from usjp_research.engine.battery.inference import portfolio_t
from usjp_research.engine.battery.run import run_battery
from usjp_research.engine.battery.window import WindowTests, no_tests
from usjp_research.engine.placebo import Leg, Placebo, admissible_shifts, own_days
from usjp_research.engine.rolling import rolling_forecast
from usjp_research.market.record import BENCHMARK, MIRROR, Market
from usjp_research.spec.records import Event, Spec
from usjp_research.study.disclosure import SMALLEST
from usjp_research.study.events import EventPanel
from usjp_research.study.legs import event_legs
from usjp_research.study.portfolios import Portfolios, Slot
from usjp_research.words import card, label, level, percent

OUTSIDE = "not a sector"  # what stands in place of a blackout's status for the mirror


def event_reactions(spec: Spec, panel: EventPanel, made: Portfolios) -> pd.DataFrame:
    """Tabulate every event's abnormal return per sector, with and without firms in blackout.

    Parameters
    ----------
    spec : Spec
    panel : EventPanel
    made : Portfolios

    Returns
    -------
    DataFrame
        One row per event and sector (and the mirror basket): ``caar`` as a decimal, its forecast
        error ``se`` and the guarded one, the portfolio t test, and how many firms were in. The
        numbers are NaN where a sector has no portfolio.
    """
    names = sorted({slot.series for slot in made.slots.values() if slot.series})
    whole = [f"sector/{sector}" for sector in spec.sectors]
    mirror = [MIRROR] if MIRROR in made.returns.columns else []
    columns = [*sorted({*names, *whole}), *mirror]
    values = made.array(columns)
    fit = rolling_forecast(
        values,
        made.benchmark,
        panel.masked,
        window=spec.rule.window,
        estimation=spec.rule.estimation,
        model=spec.rule.model,
        guard_sessions=spec.rule.guard_sessions,
    )
    rows = []
    for place, event in enumerate(panel.events):
        day0 = int(panel.day0[place])
        for sector in (*spec.sectors, *mirror):
            slot = made.slots.get((event.id, sector))
            if slot and not slot.series:
                rows.append(_no_reaction(event, panel.new_york[place], slot))
                continue
            series = slot.series if slot else MIRROR
            at = columns.index(series)
            test = portfolio_t(
                float(fit.car[day0, at]),
                float(fit.variance[day0, at]),
                int(fit.n_obs[day0, min(at, fit.n_obs.shape[1] - 1)]) - fit.parameters,
            )
            plain = columns.index(f"sector/{sector}") if slot else at
            whole_firms = len(made.members[f"sector/{sector}"]) if slot else 0
            # A sector with and without one or two firms would give those firms away.
            alone = slot is not None and 0 < whole_firms - len(slot.members) < SMALLEST
            rows.append(
                {
                    "event": event.id,
                    "role": event.role,
                    "session": panel.new_york[place].isoformat(),
                    "sector": sector,
                    "sign": event.signs.get(sector, 0),
                    "caar": float(fit.car[day0, at]),
                    "se": math.sqrt(fit.variance[day0, at]),
                    "se_guarded": math.sqrt(fit.guarded[day0, at]),
                    "portfolio_t": test.statistic,
                    "portfolio_law": test.law,
                    "portfolio_p": test.p,
                    "firms": len(slot.members) if slot else None,
                    "in_blackout": len(slot.blackout) if slot else None,
                    "not_checked": len(slot.unchecked) if slot else None,
                    "blackout": slot.status if slot else OUTSIDE,
                    "caar_without_blackout": math.nan if alone else float(fit.car[day0, plain]),
                }
            )
    return pd.DataFrame(rows)


def _no_reaction(event: Event, session: date, slot: Slot) -> dict[str, object]:
    """Keep the row of a sector that has no portfolio at an event; its numbers are missing."""
    numbers = ("caar", "se", "se_guarded", "portfolio_t", "portfolio_p", "caar_without_blackout")
    return {
        "event": event.id,
        "role": event.role,
        "session": session.isoformat(),
        "sector": slot.sector,
        "sign": event.signs.get(slot.sector, 0),
        **dict.fromkeys(numbers, math.nan),
        "portfolio_law": "",
        "firms": len(slot.members),
        "in_blackout": len(slot.blackout),
        "not_checked": len(slot.unchecked),
        "blackout": slot.status,
    }


def firm_reactions(
    spec: Spec, market: Market, panel: EventPanel, made: Portfolios, sector: str, event: str
) -> pd.DataFrame:
    """Tabulate single firms' abnormal returns at one event; empty at portfolio level.

    Returns
    -------
    DataFrame
        ``ticker``, ``car`` and its forecast error ``se`` as decimals, ``beta``; one row per member
        of the slot, largest first.
    """
    columns = ["ticker", "car", "se", "beta"]
    place = panel.position(event)
    if market.level != "firm" or place is None:
        return pd.DataFrame(columns=columns)
    tickers = list(made.slots[event, sector].members)
    if not tickers:
        return pd.DataFrame(columns=columns)
    fit = rolling_forecast(
        market.returns[tickers].to_numpy("float64"),
        made.benchmark,
        panel.masked,
        window=spec.rule.window,
        estimation=spec.rule.estimation,
        model=spec.rule.model,
    )
    day0 = int(panel.day0[place])
    values = (tickers, fit.car[day0], np.sqrt(fit.variance[day0]), fit.beta[day0])
    frame = pd.DataFrame(dict(zip(columns, values, strict=True)))
    return frame.sort_values("car", ascending=False, ignore_index=True)


def sector_battery(
    spec: Spec, market: Market, panel: EventPanel, made: Portfolios, sector: str, event: str
) -> WindowTests:
    """Run every test on the members of one sector at one event, on their shared date.

    At portfolio level the sector's baskets stand for its firms; those hold firms in blackout
    too. Days inside real event windows are missing for everybody, as the rule masks them.

    Parameters
    ----------
    spec : Spec
    market : Market
    panel : EventPanel
    made : Portfolios
    sector : str
    event : str
        One that can be tested.

    Returns
    -------
    WindowTests
        Of all members together, over the rule's window. Where the event cannot be tested, or
        the sector has no portfolio there, no test and a note that says why.

    Raises
    ------
    InputError
        When the event or the sector is unknown.
    """
    place = panel.position(spec.event(event).id)
    spec.members(sector)
    if place is None:
        reasons = {item.name: item.reason for item in panel.dropped}
        return no_tests(f"{event} cannot be tested: {reasons[event]}", spec.rule.window)
    if not made.slots[event, sector].series:
        why = made.slots[event, sector].reason
        return no_tests(f"no portfolio at {event}: {why}", spec.rule.window)
    if market.level == "firm":
        source, names = market.returns, list(made.slots[event, sector].members)
    else:
        stem = f"basket/{sector}/"
        source, names = made.returns, [name for name in made.members if name.startswith(stem)]
    low, _ = spec.rule.window
    day0 = int(panel.day0[place])
    table = source[names].assign(**{BENCHMARK: made.benchmark})
    window = range(day0 + low, day0 + spec.rule.window[1] + 1)
    masked = panel.masked.copy()
    masked[list(window)] = False
    table.loc[masked] = np.nan
    last = low - spec.rule.estimation.ends_before
    done = run_battery(
        table,
        pd.DataFrame({"firm": names, "sector": sector}),
        event=table.index[day0],
        benchmark=BENCHMARK,
        model=spec.rule.model,
        estimation=(last - spec.rule.estimation.sessions + 1, last),
        windows=(spec.rule.window,),
    )
    return next(iter(done.groups["ALL"].values()))


def coverage(spec: Spec, market: Market) -> pd.DataFrame:
    """Tabulate by day what share of each sector's firms has a return.

    At portfolio level the sector series stand for their firms.

    Returns
    -------
    DataFrame of shape (n_days, n_sectors)
        Shares from 0 to 1.
    """
    known = market.returns.notna()
    if market.level == "portfolio":
        return pd.DataFrame(
            {sector: known[f"sector/{sector}"].astype(float) for sector in spec.sectors}
        )
    return pd.DataFrame(
        {
            sector: known.reindex(
                columns=[firm.ticker for firm in spec.members(sector)], fill_value=False
            ).mean(axis=1)
            for sector in spec.sectors
        }
    )


def relative_paths(spec: Spec, made: Portfolios) -> pd.DataFrame:
    """Cumulate each sector's daily returns less the market's, over the whole sample.

    Returns
    -------
    DataFrame of shape (n_days, n_sectors)
        Arithmetic sums as decimals, without blackout.
    """
    names = [f"sector/{sector}" for sector in spec.sectors]
    frame = made.returns[names].sub(made.benchmark, axis=0).cumsum()
    return frame.set_axis(list(spec.sectors), axis=1)


@dataclass(frozen=True, slots=True)
class EventPaths:
    """Cumulative abnormal returns around each primary event of a sector.

    Attributes
    ----------
    events : tuple of str
    offsets : ndarray of shape (n_offsets,), int
        Trading days from day 0.
    paths : ndarray of shape (n_events, n_offsets)
        Sums of abnormal returns from the first offset on, as decimals.
    low, high : ndarray of shape (n_events, n_offsets)
        Band that holds the share ``level`` of the placebo paths, day by day.
    reason : str
        Why there is no path.
    """

    sector: str
    events: tuple[str, ...]
    sessions: tuple[str, ...]
    window: tuple[int, int]
    offsets: npt.NDArray[np.int64]
    paths: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    level: float
    shifts: int
    reason: str = ""

    def _repr_html_(self) -> str:
        if self.reason:
            return card("Event paths", label(self.sector), self.reason)
        ends = zip(self.events, self.paths[:, -1], strict=True)
        return card(
            "Event paths",
            label(self.sector),
            f"sessions {self.offsets[0]} to {self.offsets[-1]} from day 0",
            "at the end " + ", ".join(f"{event} {percent(float(end))}" for event, end in ends),
            f"{level(1 - self.level)} band of {self.shifts} placebo calendars",
        )


def event_paths(
    spec: Spec,
    panel: EventPanel,
    made: Portfolios,
    law: Placebo,
    span: tuple[int, int] = (-10, 20),
) -> EventPaths:
    """Follow a sector around each primary event, beside the same days on placebo calendars.

    Parameters
    ----------
    spec : Spec
    panel : EventPanel
    made : Portfolios
    law : Placebo
        Of one sector; its shifts are used where the span fits.
    span : (int, int)
        First and last offset.

    Returns
    -------
    EventPaths
        The estimation window is the study's own; days after the window are out of sample.
    """
    (sector,) = law.groups
    if law.reason:
        return _no_paths(spec, sector, span, law.reason)
    legs = event_legs(spec, panel, made, sector)
    return _follow(spec, panel, made, sector, legs, law.shifts, span)


def campaign_legs(spec: Spec, panel: EventPanel) -> dict[str, tuple[Leg, ...]]:
    """Make one window per sector from the first to the last event of the campaign.

    Empty when the rule names no campaign or an end of it cannot be tested.
    """
    if spec.rule.campaign is None:
        return {}
    first, last = (panel.position(id) for id in spec.rule.campaign)
    if first is None or last is None:
        return {}
    start, end = int(panel.day0[first]), int(panel.day0[last])
    window = (spec.rule.window[0], end - start + spec.rule.window[1])
    return {
        sector: (Leg(spec.rule.campaign[0], f"sector/{sector}", start, window, 1),)
        for sector in spec.sectors
    }


def campaign_paths(spec: Spec, panel: EventPanel, made: Portfolios) -> tuple[EventPaths, ...]:
    """Follow every sector through the whole campaign, beside windows as long in quiet years.

    Returns
    -------
    tuple of EventPaths
        One per sector that has returns, with one path each; empty without a campaign.
    """
    found = []
    for sector, legs in campaign_legs(spec, panel).items():
        if made.returns[f"sector/{sector}"].isna().all():
            continue
        shifts = admissible_shifts(legs, panel.masked, spec.rule)
        if len(shifts):
            span = legs[0].window
            found.append(_follow(spec, panel, made, sector, legs, shifts, span))
    return tuple(found)


def _no_paths(spec: Spec, sector: str, span: tuple[int, int], reason: str) -> EventPaths:
    offsets = np.arange(span[0], span[1] + 1)
    none = np.zeros((0, len(offsets)))
    return EventPaths(
        sector=sector,
        events=(),
        sessions=(),
        window=spec.rule.window,
        offsets=offsets,
        paths=none,
        low=none,
        high=none,
        level=1 - spec.rule.alpha,
        shifts=0,
        reason=reason,
    )


def _follow(
    spec: Spec,
    panel: EventPanel,
    made: Portfolios,
    sector: str,
    legs: Sequence[Leg],
    shifts: npt.NDArray[np.int64],
    span: tuple[int, int],
) -> EventPaths:
    offsets = np.arange(span[0], span[1] + 1)
    n_days = len(made.benchmark)
    moves = np.concatenate([[0], shifts])
    lines, lows, highs = [], [], []
    for leg in legs:
        series = made.array([leg.series])
        fit = rolling_forecast(
            series,
            made.benchmark,
            panel.masked,
            window=leg.window,
            estimation=spec.rule.estimation,
            model=spec.rule.model,
            moving_mask=[day - leg.day0 for day in own_days(legs)],
        )
        place = leg.day0 + moves[:, None] + offsets
        inside = (place >= 0) & (place < n_days)
        place = np.clip(place, 0, n_days - 1)
        alpha, beta = fit.alpha[leg.day0 + moves], fit.beta[leg.day0 + moves]
        abnormal = series[place, 0] - alpha - beta * made.benchmark[place]
        sums = np.where(inside, abnormal, np.nan).cumsum(axis=1)
        lines.append(sums[0])
        tail = spec.rule.alpha / 2
        quiet = sums[1:][inside[1:].all(axis=1)]
        lows.append(np.nanquantile(quiet, tail, axis=0))
        highs.append(np.nanquantile(quiet, 1 - tail, axis=0))
    return EventPaths(
        sector=sector,
        events=tuple(leg.event for leg in legs),
        sessions=tuple(str(panel.new_york[panel.position(leg.event) or 0]) for leg in legs),
        window=spec.rule.window,
        offsets=offsets,
        paths=np.array(lines),
        low=np.array(lows),
        high=np.array(highs),
        level=1 - spec.rule.alpha,
        shifts=len(shifts),
    )

"""Dollars announced per dollar of market value: who was named, and who stands beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from usjp_research.engine.placebo import Leg, own_days
from usjp_research.engine.rolling import Forecast
from usjp_research.market.record import Dropped, Market
from usjp_research.spec.records import Firm, Spec
from usjp_research.study.events import EventPanel
from usjp_research.study.portfolios import values_before
from usjp_research.study.sample import Sample
from usjp_research.study.verdict import CASES, implied_value

Floats = npt.NDArray[np.float64]

NAMING_ROLES = ("primary", "secondary")


@dataclass(frozen=True, slots=True)
class Section:
    """The firms of one event: where their returns stand, their doses and what is implied.

    ``at`` are columns of the market's returns (-1 where there is none), ``group`` the place of a
    firm's sector in the family; doses and implied moves are decimals, zero for unnamed firms.
    """

    event: str
    day0: int
    tickers: tuple[str, ...]
    at: npt.NDArray[np.int64]
    dose: npt.NDArray[np.float64]
    group: npt.NDArray[np.int64]
    implied: Mapping[str, npt.NDArray[np.float64]]
    left_out: tuple[Dropped, ...]

    def only(self, here: npt.NDArray[np.bool_]) -> Section:
        """Keep some of the firms."""
        return replace(
            self,
            tickers=tuple(t for t, stays in zip(self.tickers, here, strict=True) if stays),
            at=self.at[here],
            dose=self.dose[here],
            group=self.group[here],
            implied={case: moves[here] for case, moves in self.implied.items()},
        )


def naming_events(spec: Spec, panel: EventPanel) -> tuple[str, ...]:
    """List the primary and secondary events of the panel that name a firm with dollars."""
    named = {firm.named_event for firm in spec.firms if firm.dose_usd_bn}
    ids = (panel.events[k].id for k in panel.index(*NAMING_ROLES))
    return tuple(id for id in ids if id in named)


def firm_doses(spec: Spec, market: Market | None = None) -> pd.DataFrame:
    """Tabulate the named firms: dollars announced over market value, and the move implied.

    Parameters
    ----------
    market : Market, optional
        At firm level it brings market values back to the day before the news. A table with it is
        for local eyes: the change of a firm's value is its return. Without it, or at portfolio
        level, values are those of ``universe.csv``.

    Returns
    -------
    DataFrame
        ``ticker``, ``sector``, ``event``, ``dose_usd_bn``, ``value_usd_bn``, ``dose``, and ``low``,
        ``base``, ``high`` of the implied move as decimals; NaN where dollars or value are unknown.
    """
    values = _values(spec, market)
    rows = []
    for firm in spec.firms:
        if not firm.named_event:
            continue
        value, dollars = values.get(firm.ticker), firm.dose_usd_bn
        rows.append(
            {
                "ticker": firm.ticker,
                "sector": firm.sector,
                "event": firm.named_event,
                "dose_usd_bn": math.nan if dollars is None else dollars,
                "value_usd_bn": value or math.nan,
                "dose": dollars / value if dollars and value else math.nan,
                **_moves(spec, firm, value),
            }
        )
    columns = ["ticker", "sector", "event", "dose_usd_bn", "value_usd_bn", "dose", *CASES]
    return pd.DataFrame(rows, columns=columns)


def _values(spec: Spec, market: Market | None) -> dict[str, float]:
    if market is not None and market.level == "firm":
        return values_before(spec, market)
    return {f.ticker: f.market_value_usd_bn for f in spec.firms if f.market_value_usd_bn}


def _moves(spec: Spec, firm: Firm, value: float | None) -> dict[str, float]:
    """Return the move that the firm's own lines of the thesis imply, per case."""
    share = implied_value(spec, [firm.ticker], value, sector=firm.sector, own=True).share
    return {case: share.get(case, math.nan) for case in CASES}


def cross_section(
    data: Sample, event: str, *, blackout: bool = True, without: Sequence[str] = ()
) -> Section:
    """Choose the firms of an event by calendars and parameters; no return is read.

    Named firms whose dose is unknown are left out, and so are firms that were named at another
    event: they are neither exposed nor unnamed. All are listed. At portfolio level firms stand
    without returns. With ``blackout`` firms with own news or too few returns are out.
    """
    spec, market = data.spec, data.market
    place_of = {str(name): k for k, name in enumerate(market.returns.columns)}
    values = _values(spec, market)
    chosen: list[tuple[Firm, float, int]] = []
    out: list[Dropped] = []
    for place, key in enumerate(spec.sectors):
        slot = data.portfolios.slots[event, key]
        away = {*slot.blackout, *slot.short} if blackout else set()
        for what, names in (
            ("own news", slot.blackout),
            ("not in the event's portfolio", slot.short),
        ):
            if blackout and names:
                out.append(Dropped("exposure", f"{event}/{key}", f"{what}: {', '.join(names)}"))
        for firm in spec.members(key):
            if firm.ticker in away or (market.level == "firm" and firm.ticker not in place_of):
                continue
            if reason := _excluded(firm, event, values, without):
                out.append(Dropped("exposure", f"{event}/{firm.ticker}", reason))
                continue
            named = firm.named_event == event
            dose = (firm.dose_usd_bn or 0.0) / values[firm.ticker] if named else 0.0
            chosen.append((firm, dose, place))
    moves = [_moves(spec, f, values[f.ticker]) if dose else {} for f, dose, _ in chosen]
    return Section(
        event=event,
        day0=int(data.panel.day0[data.panel.position(event) or 0]),
        tickers=tuple(firm.ticker for firm, *_ in chosen),
        at=np.array([place_of.get(firm.ticker, -1) for firm, *_ in chosen], dtype=np.int64),
        dose=np.array([dose for _, dose, _ in chosen], dtype=np.float64),
        group=np.array([place for *_, place in chosen], dtype=np.int64),
        implied={case: np.nan_to_num([m.get(case, 0.0) for m in moves]) for case in CASES},
        left_out=tuple(out),
    )


def _excluded(firm: Firm, event: str, values: Mapping[str, float], without: Sequence[str]) -> str:
    if firm.ticker in without:
        return "left out on purpose in this version"
    if firm.named_event not in ("", event):
        return f"named at {firm.named_event}: neither exposed nor unnamed here"
    if firm.named_event and firm.dose_usd_bn is None:
        return "named, but no dollars were announced for it: dose unknown"
    if firm.named_event and firm.ticker not in values:
        return "named, but its market value is unknown: no dose"
    return ""


def calendar(data: Sample, sections: Sequence[Section]) -> list[Leg]:
    """List the rule's window of every section's event."""
    return [Leg(section.event, "", section.day0, data.spec.rule.window, 1) for section in sections]


def forecast(data: Sample, legs: Sequence[Leg], leg: Leg, returns: Floats) -> Forecast:
    """Forecast one window of a calendar for returns of shape (n_days, n_series), on every day.

    The calendar's own windows are masked wherever it stands, as in every placebo law.
    """
    return data.forecast(returns, moving_mask=[day - leg.day0 for day in own_days(legs)])


def firm_returns(data: Sample, section: Section) -> Floats:
    """Return the daily returns of a section's firms, shape (n_days, n_firms)."""
    return data.market.returns.to_numpy("float64")[:, section.at]


def event_cars(data: Sample, section: Section, sections: Sequence[Section]) -> Floats:
    """Return the abnormal return of each firm of a section at its event, shape (n_firms,)."""
    if data.firms is None:
        return np.full(len(section.tickers), np.nan)
    legs = calendar(data, sections)
    leg = next(leg for leg in legs if leg.event == section.event)
    return np.asarray(forecast(data, legs, leg, firm_returns(data, section)).car[leg.day0])


def dose_response(data: Sample) -> pd.DataFrame:
    """Tabulate each firm's dose and abnormal return at the events that name firms.

    For local eyes: it shows single firms. Empty at portfolio level.

    Returns
    -------
    DataFrame
        ``event``, ``ticker``, ``sector``, ``blackout`` (own news takes the firm out of the slope),
        ``dose``, ``car`` and ``car_less_sector`` (less the mean of the sector's unnamed firms
        outside the blackout) as decimals.
    """
    columns = ["event", "ticker", "sector", "blackout", "dose", "car", "car_less_sector"]
    tables = []
    events = naming_events(data.spec, data.panel) if data.firms is not None else ()
    for id in events:
        section = cross_section(data, id, blackout=False)
        slots = [data.portfolios.slots[id, key] for key in data.spec.sectors]
        away = {ticker for slot in slots for ticker in slot.blackout}
        frame = pd.DataFrame(
            {
                "event": id,
                "ticker": section.tickers,
                "sector": [data.spec.sectors[k] for k in section.group],
                "blackout": [ticker in away for ticker in section.tickers],
                "dose": section.dose,
                "car": event_cars(data, section, [section]),
            }
        ).dropna()
        beside = frame[(frame["dose"] == 0) & ~frame["blackout"]]
        unnamed = beside.groupby("sector")["car"].mean()
        tables.append(frame.assign(car_less_sector=frame["car"] - frame["sector"].map(unnamed)))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)

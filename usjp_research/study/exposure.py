"""Did more exposed firms react more? The slope of abnormal return on dose, against quiet days."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

import numpy as np
import pandas as pd

from usjp_research.engine.design import Floats, Ints
from usjp_research.engine.placebo import Leg, Placebo, admissible_shifts, law_of_sums, own_days
from usjp_research.engine.slopes import Prologue, prologue, slope_portfolio, slope_weights
from usjp_research.market.record import Dropped, Market
from usjp_research.spec.records import Firm, Spec
from usjp_research.study.events import EventPanel
from usjp_research.study.portfolios import values_before
from usjp_research.study.sample import Sample
from usjp_research.study.verdict import (
    CASES,
    carrier,
    decide,
    headline,
    implied_value,
    kept_per_dollar,
    rests_words,
)
from usjp_research.words import card, number

LEAST_EXPOSED = 3
LEAST_QUIET = 250
MOST_ON_ONE = 0.5
# What would give a slope back that one firm carries, together with the MDE.
TELLING = ("slope", "error", "low", "high", "raw_center", "raw_t", "raw_p_t")
SAVED: Mapping[str, Callable[[Slope], object]] = {  # what is saved of a slope
    "slope": attrgetter("value"),
    "error": lambda found: float(found.law.error[0]),
    **{name: attrgetter(name) for name in ("low", "high", "mde", "p", "top_share", "breakeven")},
    "admissible": attrgetter("law.admissible"),
    "few": lambda found: found.law.admissible - len(found.law),
    **{f"raw_{name}": attrgetter(f"raw.{name}") for name in ("center", "p_cdf", "t", "df", "p_t")},
    "quiet_days": lambda found: len(found.law),
    "independent": lambda found: round(found.law.independent),
    "rests_on": attrgetter("rests_on"),
    "withheld": lambda found: not found.safe,
}
NEEDS_FIRMS = (
    "needs single firms, and this market has averages of three or more; give firm prices with "
    "'usjp study --market file:PATH'"
)


@dataclass(frozen=True, slots=True)
class Slope:
    """A slope of abnormal return on dose with its law on quiet days, and what it says."""

    law: Placebo
    low: float
    high: float
    p: float
    mde: float
    raw: Prologue
    top_share: float  # of the firm that carries most of it
    by_case: Mapping[str, str]  # what the rule of the verdict would say: evidence only
    breakeven: float | None  # margin times listed share at which the thesis would equal the MDE
    rests_on: str  # the exposed firm without which the slope is another one, as in `carried`

    @property
    def value(self) -> float:
        """The slope at the events."""
        return float(self.law.effect[0])

    @property
    def quiet(self) -> Floats:
        """The slope on every quiet day, shape (n_shifts,)."""
        return self.law.null_effect[:, 0]

    @property
    def safe(self) -> bool:
        """Whether the slope may be published: one firm carries no more than half of it."""
        return not self.top_share > MOST_ON_ONE


@dataclass(frozen=True, slots=True)
class Exposure:
    """Who was exposed at which events, what is implied for them, and the slope where there is one.

    A dose is dollars announced over market value before the news: a slope of 0.05 says that each
    dollar announced moved market value by five cents.
    """

    events: tuple[str, ...]
    blackout: bool
    before: bool
    without: tuple[str, ...]
    same_session: tuple[str, ...] = ()
    firms: int = 0  # over all events, as the exposed
    exposed: int = 0
    implied: Mapping[str, float] = field(default_factory=dict)
    left_out: tuple[Dropped, ...] = ()
    slope: Slope | None = None
    reason: str = ""

    @property
    def verdict(self) -> str:
        """What the rule of the verdict would say of this slope, or nothing."""
        return headline(self.slope.by_case) if self.slope else ""

    @property
    def headline(self) -> str:
        """The firm that carries the slope where one does, else the verdict, or nothing."""
        on = self.slope.rests_on if self.slope else ""
        return rests_words(on) if on else self.verdict

    @property
    def remark(self) -> str:
        """What a reader must know before the slope: one firm that carries it, other news."""
        parts = []
        if self.slope and not self.slope.safe:
            parts.append(f"one firm carries {self.slope.top_share:.0%} of the slope")
        if self.same_session:
            parts.append(f"other news in the same session: {', '.join(self.same_session)}")
        return "; ".join(parts)

    def numbers(self) -> dict[str, object]:
        """Return what a public page may show: the slope and its law, rounded, no single firm.

        Slope times dose is close to the return of a firm that carries most of the slope: then
        `TELLING` is withheld, and the placebo p stays.
        """
        plain = ("events", "blackout", "before", "firms", "exposed", "headline", "verdict")
        numbers = {name: getattr(self, name) for name in (*plain, "remark", "reason")}
        numbers["implied"] = {case: round(value, 4) for case, value in self.implied.items()}
        found = self.slope
        numbers["by_case"] = dict(found.by_case) if found else dict.fromkeys(CASES)
        for name, saved in SAVED.items():
            known = found and (found.safe or name not in TELLING)
            value = saved(found) if found and known else None
            numbers[name] = round(value, 4) if isinstance(value, float) else value
        return numbers

    def _repr_html_(self) -> str:
        events = ", ".join(self.events) or "no event"
        if not self.slope:
            return card("Exposure", events, "", self.reason)
        found = self.slope
        slope = f"slope {number(100 * found.value, 1)} cents per dollar announced"
        span = f"{number(100 * found.low, 1)} to {number(100 * found.high, 1)}"
        return card("Exposure", events, "", f"{slope} ({span})", self.remark)


def naming_events(spec: Spec, panel: EventPanel) -> tuple[str, ...]:
    """List the primary and secondary events of the panel that name a firm with dollars."""
    named = {firm.named_event for firm in spec.firms if firm.dose_usd_bn}
    ids = (panel.events[k].id for k in panel.index("primary", "secondary"))
    return tuple(id for id in ids if id in named)


def firm_doses(spec: Spec, market: Market | None = None) -> pd.DataFrame:
    """Tabulate the named firms: dollars announced over market value, and the move implied.

    ``dose`` and ``low``, ``base``, ``high`` of the implied move are decimals; NaN where dollars or
    value are unknown. A market of single firms brings market values back to the day before the
    news: for local eyes, as the change of a firm's value is its return. Else they are those of
    ``universe.csv``.
    """
    values = {f.ticker: f.market_value_usd_bn for f in spec.firms if f.market_value_usd_bn}
    if market is not None and market.level == "firm":
        values = values_before(spec, market)
    rows = []
    for firm in spec.firms:
        if firm.named_event:
            value, dollars = values.get(firm.ticker), firm.dose_usd_bn
            dose = dollars / value if dollars and value else math.nan
            share = implied_value(spec, [firm.ticker], value, sector=firm.sector, own=True).share
            own = (firm.ticker, firm.sector, firm.named_event, dollars, value, dose)
            rows.append((*own, *(share.get(case, math.nan) for case in CASES)))
    numbers = ("dose_usd_bn", "value_usd_bn", "dose", *CASES)
    frame = pd.DataFrame(rows, columns=["ticker", "sector", "event", *numbers])
    return frame.astype(dict.fromkeys(numbers, float))


def cross_section(
    data: Sample, events: Sequence[str], *, blackout: bool = True, without: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[Dropped]]:
    """Choose the firms of events by calendars and parameters, and list who is left out.

    One row per event and firm: ``at`` is its column of the market's returns (-1 where there is
    none), ``cell`` the number of its event and sector; dose and implied moves are decimals, zero
    for firms that no event named. With ``blackout`` firms with own news or too few returns are out.
    """
    spec, market = data.spec, data.market
    doses = firm_doses(spec, market).set_index("ticker")
    valued = set(doses.index[doses["value_usd_bn"].notna()])
    known = doses[["dose", *CASES]].fillna(0.0)
    rows: list[tuple[object, ...]] = []
    out: list[Dropped] = []
    for cell, (event, sector) in enumerate(itertools.product(events, spec.sectors)):
        slot = data.portfolios.slots[event, sector]
        away = {"own news": slot.blackout, "not in the event's portfolio": slot.short}
        away = {what: names for what, names in away.items() if blackout and names}
        for what, names in away.items():
            out.append(Dropped("exposure", f"{event}/{sector}", f"{what}: {', '.join(names)}"))
        for firm in spec.members(sector):
            ticker, named = firm.ticker, firm.named_event == event
            gone = market.level == "firm" and ticker not in market.returns
            if gone or any(ticker in names for names in away.values()):
                continue
            if reason := _excluded(firm, event, valued, without):
                out.append(Dropped("exposure", f"{event}/{ticker}", reason))
                continue
            own = known.loc[ticker] if named else [0.0] * known.shape[1]
            rows.append((event, ticker, sector, cell, *own))
    columns = ["event", "ticker", "sector", "cell", "dose", *CASES]
    firms = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(("dose", *CASES), float))
    at = market.returns.columns.get_indexer(pd.Index(firms["ticker"]))
    return firms.assign(at=at).astype({"cell": int}), out


def _excluded(firm: Firm, event: str, valued: set[str], without: Sequence[str]) -> str:
    if firm.ticker in without:
        return "left out on purpose in this version"
    if firm.named_event not in ("", event):
        return f"named at {firm.named_event}: neither exposed nor unnamed here"
    if firm.named_event and firm.dose_usd_bn is None:
        return "named, but no dollars were announced for it: dose unknown"
    if firm.named_event and firm.ticker not in valued:
        return "named, but its market value is unknown: no dose"
    return ""


def exposure_law(
    data: Sample,
    event: str = "pooled",
    *,
    blackout: bool = True,
    before: bool = True,
    without: Sequence[str] = (),
    seen: dict[object, Floats] | None = None,
) -> Exposure:
    """Compare the slope of event CAR on dose with the same slope on quiet days.

    The abnormal returns of all firms are regressed on their doses with effects of each event's
    sectors. The slope is the return of a portfolio (Fama 1976, chapter 9), so its law is that of
    any portfolio of the study (Cohn, Johnson, Liu and Wardlaw 2026): the events move to every
    quiet place, before the first primary event or with ``before`` off anywhere. ``event`` is an
    id, or ``pooled`` for all that name firms. Without single firms, three exposed ones or 250
    quiet days there is no slope but a ``reason``. ``seen`` is as for `firm_cars`.
    """
    spec, panel = data.spec, data.panel
    events = naming_events(spec, panel) if event == "pooled" else (spec.event(event).id,)
    row = Exposure(events, blackout, before, tuple(without), panel.same_session(events))
    if not events:
        return replace(row, reason="no firm is named with dollars at any event that can be tested")
    if panel.position(events[0]) is None:  # an event by its id; the pooled ones are of the panel
        return replace(row, reason=f"event {events[0]} cannot be tested on this market")
    firms, out = cross_section(data, events, blackout=blackout, without=without)
    shifts = _quiet_shifts(data, events, before)
    cars = np.zeros((1 + len(shifts), len(firms)))
    if data.firms is not None:
        cars = firm_cars(data, firms, events, np.append(0, shifts), seen)
        known = np.isfinite(cars[0])
        gone = (firms["event"] + "/" + firms["ticker"])[~known]
        out += [Dropped("exposure", name, "no abnormal return at the event") for name in gone]
        firms, cars = firms[known], cars[:, known]
    exposed = int((firms["dose"] > 0).sum())
    row = replace(row, firms=len(firms), exposed=exposed, left_out=tuple(out))
    if exposed < LEAST_EXPOSED:
        few = f"exposed firms left: {exposed}, expected {LEAST_EXPOSED} or more"
        return replace(row, reason=few)
    # The slope if every named firm moved by what its own lines are worth.
    implied: dict[str, float] = {c: float(_weights(firms) @ firms[c]) for c in CASES}
    row = replace(row, implied=implied if any(implied.values()) else {})
    if data.firms is None:
        return replace(row, reason=NEEDS_FIRMS)
    law = _law(data, events, firms, cars, shifts)
    if len(law) < LEAST_QUIET:
        when = " before the first primary event" if before else ""
        reason = f"{len(law)} quiet days{when}, expected {LEAST_QUIET} or more"
        return replace(row, reason=reason)
    return replace(row, slope=_slope(data, law, firms, cars[0], row.implied))


def _legs(data: Sample, events: Sequence[str]) -> list[Leg]:
    """Make the rule's window at each event, of a series that is called as the event is."""
    days = {event.id: int(d) for event, d in zip(data.panel.events, data.panel.day0, strict=True)}
    return [Leg(id, id, days[id], data.spec.rule.window, 1) for id in events]


def _quiet_shifts(data: Sample, events: Sequence[str], before: bool) -> Ints:
    """List how far the events may move, to before the first primary event or anywhere."""
    legs, primary = _legs(data, events), data.panel.index("primary")
    low, high = data.spec.rule.window
    shifts = admissible_shifts(legs, data.panel.masked, data.spec.rule)
    if before and primary:
        first = min(int(data.panel.day0[k]) for k in primary) + low
        shifts = shifts[max(leg.day0 for leg in legs) + shifts + high < first]
    return shifts


def firm_cars(
    data: Sample,
    firms: pd.DataFrame,
    events: Sequence[str],
    moves: Ints,
    seen: dict[object, Floats] | None = None,
) -> Floats:
    """Return firms' abnormal returns with the events moved, shape (n_moves, n_firms).

    ``seen`` holds those of the whole market, for calls on the same sample, events and moves.
    """
    seen = {} if seen is None else seen
    cars, legs = np.empty((len(moves), len(firms))), _legs(data, events)
    for leg in legs:
        if (key := (leg.event, *events, moves.tobytes())) not in seen:
            returns = data.market.returns.to_numpy("float64")
            moving = [day - leg.day0 for day in own_days(legs)]
            fit = data.forecast(returns, moving_mask=moving, days=leg.day0 + moves)
            seen[key] = fit.car
        here = firms["event"] == leg.event
        cars[:, here] = seen[key][:, firms.loc[here, "at"]]
    return cars


def _weights(firms: pd.DataFrame) -> Floats:
    """Weigh every firm of every event for one common slope; zeros where nobody is exposed."""
    dose, cell = firms["dose"].to_numpy(), firms["cell"].to_numpy()
    weights, curvature = slope_weights(np.ones((1, len(firms)), bool), dose, cell)
    return np.asarray(weights[0] / (curvature[0] or 1.0))


def _law(
    data: Sample, events: Sequence[str], firms: pd.DataFrame, cars: Floats, shifts: Ints
) -> Placebo:
    """Compute the slope and its guarded error at the events and at every shift of them.

    Dates that have the same exposed firms, three at least, share a portfolio, so that its error
    is estimated on the firms that are in it.
    """
    returns = data.market.returns.to_numpy("float64")
    legs, moves = _legs(data, events), np.append(0, shifts)
    exposed = firms["dose"].to_numpy() > 0
    patterns, which = np.unique(np.isfinite(cars) | ~exposed, axis=0, return_inverse=True)
    sums = np.full((2, len(moves), 1), np.nan)  # effect and variance
    for k, pattern in enumerate(patterns):
        if pattern[exposed].sum() < LEAST_EXPOSED:
            continue
        dates, left = np.flatnonzero(which == k), firms[pattern]
        left, series = left.assign(square=_weights(left) ** 2), {}
        for id, part in left.groupby("event", sort=False):
            share = part["square"].sum() / left["square"].sum()
            dose, cell = part["dose"].to_numpy(), part["cell"].to_numpy()
            series[str(id)] = share * slope_portfolio(returns[:, part["at"]], dose, cell)
        own, table = [leg for leg in legs if leg.event in series], pd.DataFrame(series)
        sums[:, dates] = data.sums([own], moves[dates], returns=table, calendar=legs)[:2]
    return law_of_sums({"slope": legs}, shifts, *sums)


def _slope(
    data: Sample, law: Placebo, firms: pd.DataFrame, car: Floats, implied: Mapping[str, float]
) -> Slope:
    """Read a slope's law: interval, tests, and what they say of the implied slope."""
    rule, thesis = data.spec.rule, data.spec.thesis
    table = law.table(rule.alpha, rule.power, family=False)
    low, high, p, mde = table[["low", "high", "p", "mde"]].iloc[0].tolist()
    raw = prologue(float(law.effect[0]), law.null_effect[:, 0])
    by_case: dict[str, str] = {case: decide(low, high, implied.get(case)) for case in CASES}
    even = mde / kept_per_dollar(thesis, "base") if thesis else None
    found = {}
    for less in ("", *sorted(set(firms.loc[firms["dose"] > 0, "ticker"]))):
        left = (firms["ticker"] != less).to_numpy()
        found[less] = float(_weights(firms[left]) @ car[left]), math.nan, math.nan
    on, top = carrier(found.pop(""), found), float((_weights(firms) * firms["dose"]).max())
    return Slope(law, low, high, p, mde, raw, top, by_case, even, on)


def exposure_rows(data: Sample) -> tuple[Exposure, ...]:
    """Compute the pooled slopes that any page may show: quiet days before the news, and all.

    Both rest on the rule's membership. Others differ by one or two exposed firms, and a slope
    with and without a firm would give its return away: `exposure_versions`.
    """
    seen: dict[object, Floats] = {}
    rows = [exposure_law(data, before=before, seen=seen) for before in (True, False)]
    return tuple(_alone(data, row, seen) for row in rows)


def _alone(data: Sample, row: Exposure, seen: dict[object, Floats]) -> Exposure:
    """Ask of an interval that leaves out zero whether it does so without each exposed firm."""
    found = row.slope
    if found is None or found.rests_on or found.low <= 0 <= found.high:
        return row
    rest = {}
    for firm in data.spec.firms:
        if firm.named_event in row.events and firm.dose_usd_bn:
            left = exposure_law(data, before=row.before, without=(firm.ticker,), seen=seen)
            if less := left.slope:
                rest[firm.ticker] = less.value, less.low, less.high
    on = carrier((found.value, found.low, found.high), rest)
    return replace(row, slope=replace(found, rests_on=on))


def exposure_versions(data: Sample) -> tuple[Exposure, ...]:
    """Compute the slope for other memberships; for local eyes, not for public pages.

    Pooled and for each event alone: with and without blackout, without the most exposed firm,
    and without that firm's whole basket. Empty at portfolio level.
    """
    spec = data.spec
    doses = firm_doses(spec, data.market).dropna(subset="dose").sort_values("dose")
    if data.firms is None or doses.empty:
        return ()
    top = next(firm for firm in spec.firms if firm.ticker == doses["ticker"].iloc[-1])
    basket = tuple(f.ticker for f in spec.members(top.sector) if f.basket == top.basket != "")
    out: list[tuple[str, ...]] = [(), (), (top.ticker,), *([basket] if len(basket) > 1 else [])]
    seen: dict[object, Floats] = {}
    return tuple(
        exposure_law(data, event, blackout=k == 0, without=without, seen=seen)
        for event in ("pooled", *naming_events(spec, data.panel))
        for k, without in enumerate(out)
    )


def dose_response(data: Sample) -> pd.DataFrame:
    """Tabulate each firm's dose and abnormal return at the events that name firms, as decimals.

    For local eyes: it shows single firms; empty at portfolio level. ``blackout`` says that own news
    takes the firm out of the slope, ``car_less_sector`` is less the mean of the sector's unnamed
    firms outside the blackout.
    """
    columns = ["event", "ticker", "sector", "blackout", "dose", "car"]
    tables, empty = [], pd.DataFrame(columns=[*columns, "car_less_sector"])
    for id in naming_events(data.spec, data.panel) if data.firms is not None else ():
        firms, _ = cross_section(data, (id,), blackout=False)
        away = {t for key in data.spec.sectors for t in data.portfolios.slots[id, key].blackout}
        car = firm_cars(data, firms, (id,), np.array([0]))[0]
        frame = firms.assign(blackout=firms["ticker"].isin(away), car=car)[columns].dropna()
        beside = frame[(frame["dose"] == 0) & ~frame["blackout"]]
        unnamed = beside.groupby("sector")["car"].mean()
        tables.append(frame.assign(car_less_sector=frame["car"] - frame["sector"].map(unnamed)))
    return pd.concat(tables, ignore_index=True) if tables else empty

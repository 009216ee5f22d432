"""Sector portfolios per event: who is in, who is in blackout, and their averages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import NamedTuple

import numpy as np
import pandas as pd

from usjp_research.engine.design import Floats
from usjp_research.market.donors import DONOR, OUTSIDE
from usjp_research.market.record import BENCHMARK, MIRROR, Dropped, Market
from usjp_research.spec.records import News, Spec
from usjp_research.study.built import REMEDY, check_built, firms_known, moved_by
from usjp_research.study.disclosure import SMALLEST
from usjp_research.study.events import EventPanel, session_span
from usjp_research.study.trust import refuse_findings
from usjp_research.words import InputError, card

PADDED = "left out so that no firm's return can be read back"
COVERED_SESSIONS = 3
LEAST_WEIGHT = 0.5  # of a portfolio's weight must have a return on a day


@dataclass(frozen=True, slots=True)
class Slot:
    """The members of one sector at one event, fixed for every shift of the calendar.

    ``series`` is a column of `Portfolios.returns`, empty where none was formed (``reason`` says
    why); ``blackout``, ``unchecked``, ``short`` are firms out for own news, in whose own news
    nobody could check, and out for lack of data; ``status`` says how well news was checked.
    """

    event: str
    sector: str
    session: date
    series: str
    members: tuple[str, ...]
    blackout: tuple[str, ...]
    unchecked: tuple[str, ...]
    short: tuple[str, ...]
    status: str
    reason: str = ""


class Weighing(NamedTuple):
    """How a capped portfolio is weighted: firms with a market value, and 1 / sum of squares."""

    valued: int
    effective: float


@dataclass(frozen=True, slots=True)
class Portfolios:
    """Averages, from firms or from the bundle, and the slots they serve.

    ``returns`` (n_days, n_series) are decimals; ``values`` are USD bn before the news.
    """

    returns: pd.DataFrame
    benchmark: Floats
    members: Mapping[str, tuple[str, ...]]
    slots: Mapping[tuple[str, str], Slot]
    values: Mapping[str, float]
    weighing: Mapping[str, Weighing] = field(default_factory=dict)
    dropped: tuple[Dropped, ...] = ()

    def array(self, series: Sequence[str]) -> Floats:
        """Return the named series as an array of shape (n_days, n_series)."""
        return self.returns[list(series)].to_numpy("float64")

    def _repr_html_(self) -> str:
        formed = sum(bool(slot.series) for slot in self.slots.values())
        size = f"{self.returns.shape[1]} series over {len(self.returns)} sessions"
        slots = f"{formed} of {len(self.slots)} slots (an event and a sector) formed"
        return card("Portfolios", "", size, slots, f"{len(self.dropped)} left out")


def form_portfolios(spec: Spec, market: Market, panel: EventPanel) -> Portfolios:
    """Form the portfolios of a study: the daily means of members with a return, three at least.

    A slot's members are the sector's firms outside its own-news blackout with enough returns in
    the real estimation window and all of the event window, the same for every placebo shift. A
    bundle's series are used as they are: an `InputError` says where it was built for another
    study, as it does for `refuse_findings`.
    """
    form = _from_bundle if market.level == "portfolio" else from_firms
    return form(spec, market, panel)


def blackout_span(spec: Spec, panel: EventPanel, days: pd.DatetimeIndex, place: int) -> set[date]:
    """Return the sessions on which own news takes a firm out of a panel event."""
    low, high = panel.window
    margin = spec.rule.blackout.margin
    return set(session_span(days, int(panel.day0[place]), margin - low, margin + high))


def counting_news(spec: Spec) -> list[News]:
    """List the own news of kinds that take a firm out, of firms of the universe."""
    tickers, kinds = {firm.ticker for firm in spec.firms}, spec.rule.blackout.kinds
    return [item for item in spec.own_news if item.kind in kinds and item.ticker in tickers]


def sessions_covered(spec: Spec, days: pd.DatetimeIndex) -> dict[str, frozenset[date]]:
    """Return the days on which a firm's own news was looked for, by ticker."""
    spans: dict[date, set[date]] = {}
    for center in set().union(*spec.coverage.values()) & {day.date() for day in days}:
        place = int(days.searchsorted(pd.Timestamp(center)))
        span = session_span(days, place, COVERED_SESSIONS, COVERED_SESSIONS)
        spans[center] = {day.date() for day in pd.date_range(span[0], span[-1])}
    return {
        ticker: frozenset().union(*(spans.get(day, set()) for day in checked))
        for ticker, checked in spec.coverage.items()
    }


def _asked(
    spec: Spec, panel: EventPanel, days: pd.DatetimeIndex, known: pd.DataFrame
) -> Iterator[Slot]:
    """Yield who is to be in every slot: by calendars, lists, and on which days firms have returns.

    The slots have no series yet, and list everybody outside the blackout who was not checked. A
    blackout is available where the list was made for the whole event window of at least one firm
    of the sector; a list without a statement of its coverage is taken as it is.
    """
    covered = sessions_covered(spec, days)
    stated = not spec.own_news or bool(spec.coverage)
    low, high = panel.window
    for place, event in enumerate(panel.events):
        span = blackout_span(spec, panel, days, place)
        window = set(session_span(days, int(panel.day0[place]), -low, high))
        news = {item.ticker for item in counting_news(spec) if item.session in span}
        without = set(short_of_returns(spec, known, panel, place, [*known.columns]))
        for sector in spec.sectors:
            looked = {f.ticker: covered.get(f.ticker, frozenset()) for f in spec.members(sector)}
            checked = {ticker for ticker, sessions in looked.items() if span <= sessions}
            out, status = news, "checked" if len(checked) == len(looked) else "partly checked"
            if stated and not any(window <= sessions for sessions in looked.values()):
                out, checked, status = set(), set(), "not available"
            priced = [ticker for ticker in looked if ticker in known.columns]
            inside = [ticker for ticker in priced if ticker not in out]
            members = tuple(ticker for ticker in inside if ticker not in without)
            short = tuple(ticker for ticker in inside if ticker in without)
            blackout = tuple(ticker for ticker in priced if ticker in out)
            unchecked = tuple(ticker for ticker in looked if ticker not in out | checked)
            who = (members, blackout, unchecked, short)
            yield Slot(event.id, sector, panel.new_york[place], "", *who, status)


def _formed(
    spec: Spec, slot: Slot, series: str, members: Sequence[str], whole: Sequence[str]
) -> Slot:
    """Give a slot its series and members; without a series, and with a reason, if too few."""
    least, every, reason = max(spec.rule.least_firms, SMALLEST), len(spec.members(slot.sector)), ""
    if len(members) < least:
        why = "the rule asks for" if least > SMALLEST else "an average needs"
        left = f"{len(members)} firms left of {len(whole)} with prices, {every} in universe.csv"
        reason = f"{left}; {why} {least}" if whole else f"none of its {every} firms has prices"
    unchecked = tuple(ticker for ticker in slot.unchecked if ticker in members)
    series, who = "" if reason else series, tuple(members)
    return replace(slot, series=series, members=who, unchecked=unchecked, reason=reason)


def short_of_returns(
    spec: Spec, known: pd.DataFrame, panel: EventPanel, place: int, tickers: Sequence[str]
) -> tuple[str, ...]:
    """Return who has too few returns before the event, or a hole in its window."""
    low, high = panel.window
    center = int(panel.day0[place])
    end = max(0, center + low - spec.rule.estimation.ends_before + 1)
    start = max(0, end - spec.rule.estimation.sessions)
    at = known.columns.get_indexer(pd.Index(tickers))
    usable = known.to_numpy()[start:end, at] & ~panel.masked[start:end, None]
    whole = known.to_numpy()[center + low : center + high + 1, at].all(axis=0)
    enough = usable.sum(axis=0) >= spec.rule.estimation.minimum
    return tuple(t for t, good in zip(tickers, enough & whole, strict=True) if not good)


def from_firms(
    spec: Spec,
    market: Market,
    panel: EventPanel,
    pads: Mapping[tuple[date, str], tuple[str, ...]] | None = None,
) -> Portfolios:
    """Form portfolios from single firms; ``pads`` leave the slots of a session and sector too."""
    groups = _sectors(spec, market)
    slots: dict[tuple[str, str], Slot] = {}
    known = market.returns.notna() & market.returns[[BENCHMARK]].notna().to_numpy()
    for asked in _asked(spec, panel, market.dates, known):
        pad = (pads or {}).get((asked.session, asked.sector), ())
        whole = groups[f"sector/{asked.sector}"]
        members = tuple(ticker for ticker in asked.members if ticker not in pad)
        same = members == whole
        series = f"sector/{asked.sector}" if same else f"slot/{asked.session}/{asked.sector}"
        short = tuple(ticker for ticker in asked.short if ticker not in pad)
        slot = _formed(spec, replace(asked, short=short), series, members, whole)
        if slot.series:
            groups.setdefault(slot.series, slot.members)
        slots[slot.event, slot.sector] = slot
    formed = [(slot.event, slot.members) for slot in slots.values() if slot.series]
    refuse_findings(spec, market, panel, formed)
    contrast = contrast_groups(spec, panel, slots)
    groups, sides = groups | contrast, list(contrast)
    averages = averages_of(market.returns, groups)
    if sides:  # both or none: a sector less its unnamed side would give the named one away
        averages[sides] = averages[sides].where(averages[sides].notna().all(axis=1))
    worth = {name: g for name, g in groups.items() if name.startswith(("sector/", "named/"))}
    values = summed_values(worth, values_before(spec, market))
    why = "no market value known: not in any implied value"
    unknown = [f.ticker for f in spec.firms if spec.thesis and f.market_value_usd_bn is None]
    dropped = tuple(Dropped("market value", ticker, why) for ticker in unknown)
    returns, benchmark = _all_series(averages, market), market.returns[BENCHMARK].to_numpy(float)
    return Portfolios(returns, benchmark, groups, slots, values, dropped=dropped)


def _sectors(spec: Spec, market: Market) -> dict[str, tuple[str, ...]]:
    """List the firms with prices of every sector and basket."""
    groups: dict[str, tuple[str, ...]] = {}
    for sector in spec.sectors:
        firms = [firm for firm in spec.members(sector) if firm.ticker in market.returns]
        groups[f"sector/{sector}"] = tuple(firm.ticker for firm in firms)
        for firm in firms:
            if firm.basket:
                name = f"basket/{sector}/{firm.basket}"
                groups[name] = (*groups.get(name, ()), firm.ticker)
    return groups


def averages_of(
    returns: pd.DataFrame, groups: Mapping[str, Sequence[str] | Mapping[str, float]]
) -> pd.DataFrame:
    """Average members by weight, alike where they have none, over those with a return that day.

    A day with under half the weight, or with fewer than three members, is missing.
    """
    own = {k: g if isinstance(g, Mapping) else dict.fromkeys(g, 1.0) for k, g in groups.items()}
    frame = pd.DataFrame(own, dtype=float).reindex(returns.columns).fillna(0.0)
    table, values = frame[list(groups)].to_numpy(), returns.to_numpy("float64")
    known = np.isfinite(values)
    held, count = known @ table, known.astype(float) @ (table > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(known, values, 0.0) @ table / held
    means[(held < LEAST_WEIGHT) | (count < SMALLEST)] = np.nan
    return pd.DataFrame(means, index=returns.index, columns=list(groups))


def _all_series(averages: pd.DataFrame, market: Market, *, mirror: bool = True) -> pd.DataFrame:
    """Add the mirror basket and, where both sides are there, named minus unnamed."""
    more = {
        f"contrast/{name.removeprefix('named/')}": averages[name] - averages[f"un{name}"]
        for name in averages.columns
        if name.startswith("named/")
    }
    if mirror and MIRROR in market.returns.columns:
        more[MIRROR] = market.returns[MIRROR]
    return averages.assign(**more)


def contrast_groups(
    spec: Spec, panel: EventPanel, slots: Mapping[tuple[str, str], Slot], least: int = SMALLEST
) -> dict[str, tuple[str, ...]]:
    """Return both sides of the contrast; empty when one has too few firms or no event."""
    contrast = spec.rule.contrast
    if contrast is None or panel.position(contrast.event) is None:
        return {}
    slot = slots[contrast.event, contrast.sector]
    firms = {firm.ticker: firm.named_event for firm in spec.members(contrast.sector)}
    named, unnamed = (
        tuple(ticker for ticker in slot.members if firms[ticker] == wanted)
        for wanted in (contrast.event, "")
    )
    where = f"{slot.session}/{contrast.sector}"
    sides = {f"named/{where}": named, f"unnamed/{where}": unnamed}
    return sides if min(map(len, sides.values())) >= least else {}


def values_before(spec: Spec, market: Market) -> dict[str, float]:
    """Take known market values, USD bn, back to before the news by each firm's return since."""
    if spec.thesis is None:
        return {}
    days = market.dates
    after = days > pd.Timestamp(spec.thesis.valued_on)
    upto = days <= pd.Timestamp(spec.thesis.values_as_of)
    returns = market.returns.to_numpy("float64")[after & upto]
    growth = dict(zip(market.returns, np.nanprod(1 + returns, axis=0).tolist(), strict=True))
    return {
        firm.ticker: firm.market_value_usd_bn / growth[firm.ticker]
        for firm in spec.firms
        if firm.market_value_usd_bn is not None and firm.ticker in growth
    }


def summed_values(
    groups: Mapping[str, Sequence[str]], values: Mapping[str, float]
) -> dict[str, float]:
    """Sum the known values of each group's firms; a group without any is left out."""
    known = {name: [values[t] for t in firms if t in values] for name, firms in groups.items()}
    return {name: sum(found) for name, found in known.items() if found}


def _from_bundle(spec: Spec, market: Market, panel: EventPanel) -> Portfolios:
    check_built(spec, market)
    for sector in spec.sectors:
        firms = tuple(firm.ticker for firm in spec.members(sector))
        if market.members.get(f"sector/{sector}") != firms:
            raise InputError(
                f"universe.csv: sector '{sector}' is not the one the bundled market was formed "
                "from; give prices of its firms with --market file:PATH"
            )
    asked = _asked(spec, panel, market.dates, firms_known(market))
    by_sector = sorted(asked, key=lambda slot: spec.sectors.index(slot.sector))
    slots = {(slot.event, slot.sector): _bundled(spec, market, slot) for slot in by_sector}
    for name, side in contrast_groups(spec, panel, slots, least=0).items():
        for ticker in sorted({*side} ^ {*market.members.get(name, side)}):
            here = f"{'is' if ticker in side else 'is not'} on the {name.partition('/')[0]} side"
            raise InputError(
                f"universe.csv: {ticker}, column 'named_event': {here} of the contrast, the "
                f"bundled market was built for the reverse; {REMEDY}"
            )
    donors = [name for name in market.members if name.startswith((DONOR, OUTSIDE))]
    own = market.returns.drop(columns=[BENCHMARK, MIRROR, *donors])
    return Portfolios(
        returns=_all_series(own, market, mirror=bool(spec.rule.mirror)),
        benchmark=market.returns[BENCHMARK].to_numpy("float64"),
        members={name: group for name, group in market.members.items() if name not in donors},
        slots=slots,
        values=market.values if spec.thesis else {},
        weighing={name: Weighing(*pair) for name, pair in market.weighing.items()},
    )


def _bundled(spec: Spec, market: Market, asked: Slot) -> Slot:
    """Serve a slot by the bundle's own average, or by the whole sector where it has none."""
    series, sector = f"slot/{asked.session}/{asked.sector}", f"sector/{asked.sector}"
    whole = market.members[sector]
    inside = tuple(ticker for ticker in whole if ticker not in asked.blackout)
    members = market.members.get(series, inside)
    short = tuple(ticker for ticker in inside if ticker not in members)
    slot = _formed(spec, replace(asked, short=short), series, members, whole)
    if slot.reason:
        return slot
    if series in market.members:
        padded = {d.name for d in market.dropped if (d.what, d.reason) == (series, PADDED)}
        if moved := (set(asked.members) ^ set(members)) - padded:
            raise InputError(
                f"{moved_by(spec, market)}: at {asked.session} firm '{min(moved)}' of sector "
                f"'{asked.sector}' is in another place than when the bundled market was formed; "
                f"{REMEDY}"
            )
        return slot
    slot = _formed(spec, replace(asked, short=()), sector, whole, whole)
    if asked.blackout:
        slot = replace(slot, status="not available", unchecked=(), blackout=())
    gone = ["in blackout"] * bool(asked.blackout) + ["short of returns"] * bool(asked.short)
    why = f"the bundle has no portfolio without the firms {' or '.join(gone)} at this session"
    return replace(slot, reason=why if gone else "")

"""Sector portfolios per event: who is in, who is in blackout, and what may be published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from usjp_research.market.donors import DONOR
from usjp_research.market.record import BENCHMARK, MIRROR, Dropped, Market
from usjp_research.spec.records import Contrast, Spec
from usjp_research.study.built import REMEDY, check_built, firms_known, moved_by
from usjp_research.study.disclosure import SMALLEST
from usjp_research.study.events import EventPanel, session_span
from usjp_research.study.trust import refuse_findings
from usjp_research.words import InputError, card

PADDED = "left out so that no firm's return can be read back"
COVERED_SESSIONS = 3


@dataclass(frozen=True, slots=True)
class Slot:
    """The members of one sector at one event, fixed for every shift of the calendar.

    Attributes
    ----------
    series : str
        Name of the column of `Portfolios.returns` that is this portfolio; empty when it could
        not be formed, and then ``reason`` says why.
    blackout, unchecked, short : tuple of str
        Firms out for own news; firms in whose own news nobody could check; firms out for lack
        of data.
    status : str
        ``checked``, ``partly checked`` or ``not available``.
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


@dataclass(frozen=True, slots=True)
class Portfolios:
    """Equal-weighted averages, from firms or from the bundle, and the slots they serve.

    Attributes
    ----------
    returns : DataFrame of shape (n_days, n_series)
        Daily simple returns as decimals of sectors, baskets, slots, the contrast with its two
        sides, and the mirror basket where the market has one.
    slots : mapping of (event id, sector) to Slot
    values : mapping of str to float
        Market value in USD bn before the news, per series that needs one.
    counts : mapping of str to (int, int)
        Firms with a market value, and all firms, per entry of ``values``.
    """

    returns: pd.DataFrame
    benchmark: npt.NDArray[np.float64]
    members: Mapping[str, tuple[str, ...]]
    slots: Mapping[tuple[str, str], Slot]
    values: Mapping[str, float]
    counts: Mapping[str, tuple[int, int]]
    dropped: tuple[Dropped, ...] = field(default=())

    def array(self, series: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return the named series as an array of shape (n_days, n_series)."""
        return self.returns[list(series)].to_numpy("float64")

    def _repr_html_(self) -> str:
        formed = sum(bool(slot.series) for slot in self.slots.values())
        return card(
            "Portfolios",
            "",
            f"{self.returns.shape[1]} series over {len(self.returns)} sessions",
            f"{formed} of {len(self.slots)} slots (an event and a sector) formed",
            f"{len(self.dropped)} left out",
        )


def form_portfolios(spec: Spec, market: Market, panel: EventPanel) -> Portfolios:
    """Form the portfolios of a study.

    At firm level every sector, basket, event slot and side of the contrast is the daily mean of
    its members that have a return that day, three at least. A slot's members are the sector's
    firms outside its own-news blackout with enough returns in the real estimation window and all
    of the event window; they stay the same for every placebo shift. At portfolio level the
    bundle's series are used, and checked against what the parameters imply.

    Parameters
    ----------
    spec : Spec
    market : Market
    panel : EventPanel

    Returns
    -------
    Portfolios

    Raises
    ------
    InputError
        When the bundle was formed from another universe or another list of own news, or when
        returns that would enter the study are hardly returns: see `refuse_findings`.
    """
    if market.level == "portfolio":
        return _from_bundle(spec, market, panel)
    return from_firms(spec, market, panel)


def blackout_span(spec: Spec, panel: EventPanel, days: pd.DatetimeIndex, place: int) -> set[date]:
    """Return the sessions on which own news takes a firm out of a panel event."""
    low, high = panel.window
    margin = spec.rule.blackout.margin
    return set(session_span(days, int(panel.day0[place]), margin - low, margin + high))


def _blackout(
    spec: Spec,
    panel: EventPanel,
    days: pd.DatetimeIndex,
    covered: Mapping[str, frozenset[date]],
    place: int,
    sector: str,
) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Return who is in blackout around a panel event, who was not checked, and the status.

    Uses calendars and the list of own news only, never a return. A blackout is available where
    the list was made for the whole event window of at least one firm of the sector; a list
    without a statement of its coverage is taken as it is.
    """
    low, high = panel.window
    span = blackout_span(spec, panel, days, place)
    window = set(session_span(days, int(panel.day0[place]), -low, high))
    kinds = spec.rule.blackout.kinds
    news = {item.ticker for item in spec.own_news if item.kind in kinds and item.session in span}
    firms = [firm.ticker for firm in spec.members(sector)]
    checked = [ticker for ticker in firms if span <= covered.get(ticker, frozenset())]
    stated = not spec.own_news or bool(spec.coverage)
    if stated and not any(window <= covered.get(ticker, frozenset()) for ticker in firms):
        return (), tuple(firms), "not available"
    out = tuple(ticker for ticker in firms if ticker in news)
    unchecked = tuple(ticker for ticker in firms if ticker not in (*out, *checked))
    return out, unchecked, "checked" if len(checked) == len(firms) else "partly checked"


def sessions_covered(spec: Spec, days: pd.DatetimeIndex) -> dict[str, frozenset[date]]:
    """Return the days on which a firm's own news was looked for, by ticker."""
    spans: dict[date, frozenset[date]] = {}
    places = {day.date(): place for place, day in enumerate(days)}
    for center in {day for checked in spec.coverage.values() for day in checked}:
        if (place := places.get(center)) is not None:
            span = session_span(days, place, COVERED_SESSIONS, COVERED_SESSIONS)
            first, last = span[0], span[-1]
            every = (first + timedelta(days=i) for i in range((last - first).days + 1))
            spans[center] = frozenset(every)
    return {
        ticker: frozenset().union(*(spans.get(day, frozenset()) for day in checked))
        for ticker, checked in spec.coverage.items()
    }


# --- from firms ------------------------------------------------------------------------------


def from_firms(
    spec: Spec,
    market: Market,
    panel: EventPanel,
    pads: Mapping[tuple[date, str], tuple[str, ...]] | None = None,
) -> Portfolios:
    """Form portfolios from single firms; ``pads`` leave the slots of a session and sector too."""
    there = set(market.returns.columns)
    groups: dict[str, tuple[str, ...]] = {}
    for sector in spec.sectors:
        firms = [firm for firm in spec.members(sector) if firm.ticker in there]
        groups[f"sector/{sector}"] = tuple(firm.ticker for firm in firms)
        for basket in dict.fromkeys(firm.basket for firm in firms if firm.basket):
            inside = tuple(firm.ticker for firm in firms if firm.basket == basket)
            groups[f"basket/{sector}/{basket}"] = inside
    slots: dict[tuple[str, str], Slot] = {}
    covered = sessions_covered(spec, market.dates)
    known = market.returns.notna() & market.returns[[BENCHMARK]].notna().to_numpy()
    for place, event in enumerate(panel.events):
        for sector in spec.sectors:
            news = _blackout(spec, panel, market.dates, covered, place, sector)
            pad = (pads or {}).get((panel.new_york[place], sector), ())
            slot = _slot(spec, known, panel, place, sector, news, pad)
            if slot.series and slot.series not in groups:
                groups[slot.series] = slot.members
            slots[event.id, sector] = slot
    formed = ((slot.event, slot.members) for slot in slots.values() if slot.series)
    refuse_findings(spec, market, panel, formed)
    groups |= contrast_groups(spec, panel, slots)
    averages = averages_of(market.returns, groups)
    for name in [name for name in groups if name.startswith("named")]:
        # Both sides or none: a sector less its unnamed side would give the named one away.
        sides = [name, f"un{name}"]
        averages[sides] = averages[sides].where(averages[sides].notna().all(axis=1))
    values, counts, notes = _market_values(spec, market, groups)
    return Portfolios(
        returns=_all_series(averages, market),
        benchmark=market.returns[BENCHMARK].to_numpy("float64"),
        members=groups,
        slots=slots,
        values=values,
        counts=counts,
        dropped=notes,
    )


def averages_of(returns: pd.DataFrame, groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Average the members that have a return, three at least, for all groups in one product."""
    firms = [str(name) for name in returns.columns if name not in (BENCHMARK, MIRROR)]
    values = returns[firms].to_numpy("float64")
    known = np.isfinite(values)
    inside = [set(group) for group in groups.values()]
    table = np.array([[firm in group for group in inside] for firm in firms], float)
    counts = known.astype(float) @ table
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(known, values, 0.0) @ table / counts
    means[counts < SMALLEST] = np.nan
    return pd.DataFrame(means, index=returns.index, columns=list(groups))


def _all_series(averages: pd.DataFrame, market: Market) -> pd.DataFrame:
    """Add the mirror basket and, where both sides are there, named minus unnamed."""
    more = {
        f"contrast/{name.partition('/')[2]}": averages[name] - averages[f"un{name}"]
        for name in averages.columns
        if name.startswith("named/")
    }
    if MIRROR in market.returns.columns:
        more[MIRROR] = market.returns[MIRROR]
    return averages.assign(**more)


def _slot(
    spec: Spec,
    known: pd.DataFrame,
    panel: EventPanel,
    place: int,
    sector: str,
    news: tuple[tuple[str, ...], tuple[str, ...], str],
    pad: tuple[str, ...],
) -> Slot:
    out, unchecked, status = news
    session = panel.new_york[place]
    whole = tuple(firm.ticker for firm in spec.members(sector) if firm.ticker in known.columns)
    inside = [ticker for ticker in whole if ticker not in (*out, *pad)]
    short = short_of_returns(spec, known, panel, place, inside)
    members = tuple(ticker for ticker in inside if ticker not in short)
    series = f"sector/{sector}" if members == whole else f"slot/{session}/{sector}"
    reason = _too_few(spec, sector, len(members), len(whole))
    return Slot(
        event=panel.events[place].id,
        sector=sector,
        session=session,
        series="" if reason else series,
        members=members,
        blackout=tuple(ticker for ticker in out if ticker in whole),
        unchecked=tuple(ticker for ticker in unchecked if ticker in members),
        short=short,
        status=status,
        reason=reason,
    )


def _too_few(spec: Spec, sector: str, left: int, priced: int) -> str:
    """Say why a slot with so few members is not formed; empty when there are enough."""
    least = max(spec.rule.least_firms, SMALLEST)
    if left >= least:
        return ""
    every = len(spec.members(sector))
    if not priced:
        return f"none of its {every} firms has prices"
    why = "the rule asks for" if least > SMALLEST else "an average needs"
    return f"{left} firms left of {priced} with prices, {every} in universe.csv; {why} {least}"


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


def contrast_groups(
    spec: Spec,
    panel: EventPanel,
    slots: Mapping[tuple[str, str], Slot],
) -> dict[str, tuple[str, ...]]:
    """Return both sides of the contrast; empty when one has fewer than three firms."""
    contrast = spec.rule.contrast
    if contrast is None or panel.position(contrast.event) is None:
        return {}
    sides = _sides(spec, contrast, slots[contrast.event, contrast.sector])
    return sides if min(map(len, sides.values())) >= SMALLEST else {}


def _sides(spec: Spec, contrast: Contrast, slot: Slot) -> dict[str, tuple[str, ...]]:
    firms = {firm.ticker: firm for firm in spec.members(contrast.sector)}
    return {
        f"{side}/{slot.session}/{contrast.sector}": tuple(
            ticker for ticker in slot.members if firms[ticker].named_event == wanted
        )
        for side, wanted in (("named", contrast.event), ("unnamed", ""))
    }


def values_before(spec: Spec, market: Market) -> dict[str, float]:
    """Take market values back to before the news by each firm's own return since.

    Parameters
    ----------
    spec : Spec
    market : Market
        At firm level.

    Returns
    -------
    dict of str to float
        USD bn by ticker, for the firms whose value is known; empty without a thesis.
    """
    if spec.thesis is None:
        return {}
    days = market.dates
    after = days > pd.Timestamp(spec.thesis.valued_on)
    upto = days <= pd.Timestamp(spec.thesis.values_as_of)
    growth = (1 + market.returns.loc[after & upto].fillna(0.0)).prod()
    return {
        firm.ticker: firm.market_value_usd_bn / float(growth[firm.ticker])
        for firm in spec.firms
        if firm.market_value_usd_bn is not None and firm.ticker in growth
    }


def _market_values(
    spec: Spec, market: Market, groups: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, float], dict[str, tuple[int, int]], tuple[Dropped, ...]]:
    if spec.thesis is None:
        return {}, {}, ()
    worths = values_before(spec, market)
    notes = [
        Dropped("market value", firm.ticker, "no market value known: not in any implied value")
        for firm in spec.firms
        if firm.market_value_usd_bn is None
    ]
    values: dict[str, float] = {}
    counts: dict[str, tuple[int, int]] = {}
    for name, tickers in groups.items():
        if not name.startswith(("sector/", "named/")):
            continue
        worth = [worths[ticker] for ticker in tickers if ticker in worths]
        counts[name] = (len(worth), len(tickers))
        if worth:
            values[name] = sum(worth)
    return values, counts, tuple(notes)


# --- from the bundle -------------------------------------------------------------------------


def _from_bundle(spec: Spec, market: Market, panel: EventPanel) -> Portfolios:
    check_built(spec, market)
    covered, known = sessions_covered(spec, market.dates), firms_known(market)
    slots: dict[tuple[str, str], Slot] = {}
    for sector in spec.sectors:
        whole = f"sector/{sector}"
        asked = tuple(firm.ticker for firm in spec.members(sector))
        if market.members.get(whole) != asked:
            raise InputError(
                f"universe.csv: sector '{sector}' is not the one the bundled market was formed "
                "from; give prices of its firms with --market file:PATH"
            )
        for place, event in enumerate(panel.events):
            news = _blackout(spec, panel, market.dates, covered, place, sector)
            slots[event.id, sector] = _bundle_slot(spec, market, known, panel, place, sector, news)
    _check_sides(spec, market, panel, slots)
    donors = [name for name in market.members if name.startswith(DONOR)]
    own = market.returns.drop(columns=[BENCHMARK, MIRROR, *donors])
    return Portfolios(
        returns=_all_series(own, market),
        benchmark=market.returns[BENCHMARK].to_numpy("float64"),
        members={name: group for name, group in market.members.items() if name not in donors},
        slots=slots,
        values=market.values if spec.thesis else {},
        counts=market.counts if spec.thesis else {},
    )


def _check_sides(
    spec: Spec, market: Market, panel: EventPanel, slots: Mapping[tuple[str, str], Slot]
) -> None:
    """Refuse other named and unnamed firms than those behind the market's contrast."""
    contrast = spec.rule.contrast
    if contrast is None or panel.position(contrast.event) is None:
        return
    for name, asked in _sides(spec, contrast, slots[contrast.event, contrast.sector]).items():
        built = market.members.get(name, asked)
        for ticker in sorted(set(asked) ^ set(built)):
            side, here = name.partition("/")[0], "is not" if ticker in built else "is"
            raise InputError(
                f"universe.csv: {ticker}, column 'named_event': {here} on the {side} side of the "
                f"contrast, the bundled market was built for the reverse; {REMEDY}"
            )


def _bundle_slot(
    spec: Spec,
    market: Market,
    known: pd.DataFrame,
    panel: EventPanel,
    place: int,
    sector: str,
    news: tuple[tuple[str, ...], tuple[str, ...], str],
) -> Slot:
    out, unchecked, status = news
    session, whole = panel.new_york[place], market.members[f"sector/{sector}"]
    series = f"slot/{session}/{sector}"
    inside = [ticker for ticker in whole if ticker not in out]
    short = short_of_returns(spec, known, panel, place, inside)
    wanted = tuple(ticker for ticker in inside if ticker not in short)
    members = market.members.get(series, tuple(inside))
    if reason := _too_few(spec, sector, len(members), len(whole)):
        series = ""
    elif series in market.members:
        _check_members(spec, market, series, sector, wanted)
    else:
        series, members = f"sector/{sector}", whole
        gone = ["in blackout"] * bool(out) + ["short of returns"] * bool(short)
        if gone:
            names = " or ".join(gone)
            reason = f"the bundle has no portfolio without the firms {names} at this session"
        if out:
            status, unchecked, out = "not available", (), ()
    return Slot(
        event=panel.events[place].id,
        sector=sector,
        session=session,
        series=series,
        members=members,
        blackout=out,
        unchecked=tuple(t for t in unchecked if t in members),
        short=tuple(t for t in inside if t not in members),
        status=status,
        reason=reason,
    )


def _check_members(
    spec: Spec, market: Market, series: str, sector: str, wanted: Sequence[str]
) -> None:
    """Refuse a slot of the market whose members are not those that the parameters ask for."""
    padded = {item.name for item in market.dropped if (item.what, item.reason) == (series, PADDED)}
    moved = (set(wanted) ^ set(market.members[series])) - padded
    if moved:
        raise InputError(
            f"{moved_by(spec, market)}: at {series.split('/')[1]} firm '{sorted(moved)[0]}' of "
            f"sector '{sector}' is in another place than when the bundled market was formed; "
            f"{REMEDY}"
        )

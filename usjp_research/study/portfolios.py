"""Sector portfolios per event: who is in, who is in blackout, and what may be published."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from usjp_research.market.donors import DONOR, Donors
from usjp_research.market.record import BENCHMARK, MIRROR, Dropped, Market, market_digest
from usjp_research.spec.records import Spec
from usjp_research.study.disclosure import SMALLEST, disclosed_firms
from usjp_research.study.events import EventPanel, session_span
from usjp_research.words import InputError, card

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
        sides, and the Japan basket where the market has one.
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
        When the bundle was formed from another universe or another list of own news.
    """
    if market.level == "portfolio":
        return _from_bundle(spec, market, panel)
    return _from_firms(spec, market, panel)


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
    margin = spec.rule.blackout.margin
    center = int(panel.day0[place])
    span = set(session_span(days, center, margin - low, margin + high))
    window = set(session_span(days, center, -low, high))
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


def _covered(spec: Spec, days: pd.DatetimeIndex) -> dict[str, frozenset[date]]:
    spans: dict[date, frozenset[date]] = {}
    for center in {day for checked in spec.coverage.values() for day in checked}:
        place = int(days.searchsorted(pd.Timestamp(center)))
        if place < len(days) and days[place].date() == center:
            span = session_span(days, place, COVERED_SESSIONS, COVERED_SESSIONS)
            first, last = span[0], span[-1]
            every = (first + timedelta(days=i) for i in range((last - first).days + 1))
            spans[center] = frozenset(every)
    return {
        ticker: frozenset().union(*(spans.get(day, frozenset()) for day in checked))
        for ticker, checked in spec.coverage.items()
    }


# --- from firms ------------------------------------------------------------------------------


def _from_firms(
    spec: Spec,
    market: Market,
    panel: EventPanel,
    pads: Mapping[tuple[date, str], tuple[str, ...]] | None = None,
) -> Portfolios:
    there = set(market.returns.columns)
    groups: dict[str, tuple[str, ...]] = {}
    for sector in spec.sectors:
        firms = [firm for firm in spec.members(sector) if firm.ticker in there]
        groups[f"sector/{sector}"] = tuple(firm.ticker for firm in firms)
        for basket in dict.fromkeys(firm.basket for firm in firms if firm.basket):
            inside = tuple(firm.ticker for firm in firms if firm.basket == basket)
            groups[f"basket/{sector}/{basket}"] = inside
    slots: dict[tuple[str, str], Slot] = {}
    covered, known = _covered(spec, market.dates), market.returns.notna()
    for place, event in enumerate(panel.events):
        for sector in spec.sectors:
            news = _blackout(spec, panel, market.dates, covered, place, sector)
            pad = (pads or {}).get((panel.new_york[place], sector), ())
            slot = _slot(spec, known, panel, place, sector, news, pad)
            if slot.series and slot.series not in groups:
                groups[slot.series] = slot.members
            slots[event.id, sector] = slot
    groups |= _contrast_groups(spec, panel, slots)
    averages = _means(market.returns, groups)
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


def _means(returns: pd.DataFrame, groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
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
    """Add the Japan basket and, where both sides are there, named minus unnamed."""
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
    short = _short(spec, known, panel, place, inside)
    members = tuple(ticker for ticker in inside if ticker not in short)
    series = f"sector/{sector}" if members == whole else f"slot/{session}/{sector}"
    reason = ""
    if len(members) < spec.rule.least_firms:
        series = ""
        reason = f"{len(members)} firms left, the rule asks for {spec.rule.least_firms}"
    return Slot(
        event=panel.events[place].id,
        sector=sector,
        session=session,
        series=series,
        members=members,
        blackout=out,
        unchecked=tuple(ticker for ticker in unchecked if ticker in members),
        short=short,
        status=status,
        reason=reason,
    )


def _short(
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


def _contrast_groups(
    spec: Spec,
    panel: EventPanel,
    slots: Mapping[tuple[str, str], Slot],
) -> dict[str, tuple[str, ...]]:
    contrast = spec.rule.contrast
    if contrast is None or panel.position(contrast.event) is None:
        return {}
    slot = slots[contrast.event, contrast.sector]
    firms = {firm.ticker: firm for firm in spec.members(contrast.sector)}
    sides = {
        f"{side}/{slot.session}/{contrast.sector}": tuple(
            ticker for ticker in slot.members if firms[ticker].named_event == wanted
        )
        for side, wanted in (("named", contrast.event), ("unnamed", ""))
    }
    return sides if min(map(len, sides.values())) >= SMALLEST else {}


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
    noted = {(item.what, item.name) for item in market.dropped}
    covered = _covered(spec, market.dates)
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
            slots[event.id, sector] = _bundle_slot(market, panel, place, sector, news, noted)
    donors = [name for name in market.members if name.startswith(DONOR)]
    own = market.returns.drop(columns=[BENCHMARK, MIRROR, *donors])
    return Portfolios(
        returns=_all_series(own, market),
        benchmark=market.returns[BENCHMARK].to_numpy("float64"),
        members={name: group for name, group in market.members.items() if name not in donors},
        slots=slots,
        values=market.values,
        counts=market.counts,
    )


def _bundle_slot(
    market: Market,
    panel: EventPanel,
    place: int,
    sector: str,
    news: tuple[tuple[str, ...], tuple[str, ...], str],
    noted: set[tuple[str, str]],
) -> Slot:
    out, unchecked, status = news
    session, whole = panel.new_york[place], market.members[f"sector/{sector}"]
    series = f"slot/{session}/{sector}"
    expected = tuple(ticker for ticker in whole if ticker not in out)
    reason = ""
    if series in market.members:
        members = market.members[series]
        unexplained = [
            ticker for ticker in set(expected) ^ set(members) if (series, ticker) not in noted
        ]
        if unexplained:
            raise InputError(
                f"own_news.csv: at {session} firm '{sorted(unexplained)[0]}' of sector '{sector}' "
                "is in another place than when the bundled market was formed; use "
                "--market file:PATH, or rebuild with 'usjp bundle --prices FILE'"
            )
    else:
        series, members = f"sector/{sector}", whole
        if out:
            status = "not available"
            reason = "the bundle has no portfolio without the firms in blackout at this session"
            unchecked, out = (), ()
    short = tuple(t for t in expected if t not in members)
    return Slot(
        event=panel.events[place].id,
        sector=sector,
        session=session,
        series=series,
        members=members,
        blackout=out,
        unchecked=tuple(t for t in unchecked if t in members),
        short=short,
        status=status,
        reason=reason,
    )


# --- building the bundle ---------------------------------------------------------------------


def write_bundle(
    spec: Spec, market: Market, panel: EventPanel, out: Path, donors: Donors | None = None
) -> dict[str, object]:
    """Write the averages that the repository ships, once no firm can be read back from them.

    Where a slot would disclose a firm, the next firm of the same basket in alphabetical order
    leaves the slot too, and is listed; returns play no part in the choice.

    Parameters
    ----------
    spec : Spec
    market : Market
        At firm level.
    panel : EventPanel
    out : Path
        Folder for ``returns.parquet``, ``membership.csv`` and ``provenance.json``.
    donors : Donors, optional
        Single firms outside the sectors; averages of the groups of ``donors.csv`` come last.

    Returns
    -------
    dict
        The provenance record.

    Raises
    ------
    InputError
        When the market has no single firms, or safe averages cannot be found.
    """
    if market.level != "firm":
        raise InputError("a bundle is built from single firms; give --prices FILE")
    made, pads, leverage = _safe(spec, market, panel)
    dropped = [asdict(item) for item in (*market.dropped, *made.dropped)]
    for slot in made.slots.values():
        pad = pads.get((slot.session, slot.sector), ())
        for ticker, reason in (
            *((t, "too few returns in its windows") for t in slot.short),
            *((t, "left out so that no firm's return can be read back") for t in pad),
        ):
            row = {"what": slot.series, "name": ticker, "reason": reason}
            if slot.series and row not in dropped:
                dropped.append(row)
    frame = made.returns.copy()
    frame.insert(0, BENCHMARK, made.benchmark)
    frame.insert(1, MIRROR, market.returns.get(MIRROR, np.nan))
    outside, groups, donor_leverage = _donor_averages(spec, donors)
    frame = pd.concat([frame, outside.reindex(frame.index)], axis=1).astype("float32")
    members = {**made.members, **groups}
    values = {name: round(made.values[name], 1) for name in made.values if name in made.members}
    record: dict[str, object] = {
        "source": "averages of three or more securities, from vendor prices that are not shipped",
        "kind": "daily simple returns, equal weights, adjusted for splits and dividends",
        "first": str(frame.index[0].date()),
        "last": str(frame.index[-1].date()),
        "sessions": len(frame),
        "series": frame.shape[1],
        "prices_sha256": market.provenance.get("sha256"),
        "benchmark": market.provenance.get("benchmark"),
        "market_value_usd_bn": values,
        "valued_firms": {
            name: list(pair) for name, pair in made.counts.items() if name in made.members
        },
        "largest_leverage": round(max(leverage, donor_leverage), 4),
        "dropped": dropped,
    }
    if donors is not None:
        dropped += [asdict(item) for item in donors.dropped]
        record["donor_prices_sha256"] = donors.sha256
        record["donors"] = (
            "members of the index today (survivors), by industry; groups in params/donors.csv "
            "are from general knowledge"
        )
    out.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(
        out / "returns.parquet",
        compression="zstd",
        use_dictionary=False,
        use_byte_stream_split=True,
    )
    pd.DataFrame(
        {"series": list(members), "members": [" ".join(t) for t in members.values()]}
    ).to_csv(out / "membership.csv", index=False, lineterminator="\n")
    as_read = frame.astype("float64")
    record["digest"] = market_digest(Market("bundled", as_read, "portfolio", values=values))
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (out / "provenance.json").write_text(text, encoding="utf-8")
    return record


def _donor_averages(
    spec: Spec, donors: Donors | None
) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]], float]:
    """Average donors by group, three at least, and make sure that none can be read back."""
    if donors is None:
        return pd.DataFrame(), {}, 0.0
    groups: dict[str, tuple[str, ...]] = {}
    for donor in spec.donors:
        if donor.group and donor.ticker in donors.returns.columns:
            name = f"{DONOR}{donor.group}"
            groups[name] = (*groups.get(name, ()), donor.ticker)
    small = [name for name, tickers in groups.items() if len(tickers) < SMALLEST]
    if small or not groups:
        which = f"group '{small[0].removeprefix(DONOR)}' has fewer" if small else "no group has"
        raise InputError(f"donors.csv: {which} than {SMALLEST} donors with prices; merge groups")
    averages = _means(donors.returns, groups)
    present = donors.returns[[ticker for group in groups.values() for ticker in group]].notna()
    found, leverage = disclosed_firms(groups, present, averages.notna())
    if found:
        raise InputError(f"donors.csv: firm '{found[0]}' could be read back")
    return averages, groups, leverage


def _safe(
    spec: Spec, market: Market, panel: EventPanel
) -> tuple[Portfolios, dict[tuple[date, str], tuple[str, ...]], float]:
    pads: dict[tuple[date, str], tuple[str, ...]] = {}
    made = _from_firms(spec, market, panel)
    for sector in spec.sectors:
        firms = [firm.ticker for firm in spec.members(sector) if firm.ticker in market.returns]
        present = market.returns[firms].notna()
        groups = dict(_published(made, sector))
        shown = made.returns[list(groups)].notna()
        while found := disclosed_firms(groups, present, shown)[0]:
            names, companion = _companion(spec, sector, groups, present, shown, found)
            groups = _without(groups, names, companion)
            for name in names:
                day = date.fromisoformat(name.split("/")[1])
                pads[day, sector] = (*pads.get((day, sector), ()), companion)
    made = _from_firms(spec, market, panel, pads)
    made = replace(made, returns=made.returns[list(made.members)])
    largest = 0.0
    for sector in spec.sectors:
        firms = [firm.ticker for firm in spec.members(sector) if firm.ticker in market.returns]
        groups = dict(_published(made, sector))
        present, shown = market.returns[firms].notna(), made.returns[list(groups)].notna()
        found, leverage = disclosed_firms(groups, present, shown)
        if found:
            raise InputError(f"sector '{sector}': firm '{found[0]}' could be read back")
        largest = max(largest, leverage)
    return made, pads, largest


def _published(made: Portfolios, sector: str) -> list[tuple[str, tuple[str, ...]]]:
    """List a sector's series: whatever is averaged is shipped."""
    return [
        (name, tickers)
        for name, tickers in made.members.items()
        if name.split("/")[-1] == sector or name.startswith(f"basket/{sector}/")
    ]


def _without(
    groups: Mapping[str, tuple[str, ...]], names: Sequence[str], ticker: str
) -> dict[str, tuple[str, ...]]:
    less = {name: tuple(t for t in groups[name] if t != ticker) for name in names}
    return {**groups, **less}


def _companion(
    spec: Spec,
    sector: str,
    groups: Mapping[str, tuple[str, ...]],
    present: pd.DataFrame,
    shown: pd.DataFrame,
    found: Sequence[str],
) -> tuple[list[str], str]:
    """Choose the slots and the further firm to leave them that leave the fewest disclosed.

    Slots with the same members go together. The contrast's own slot is left as it is.
    """
    baskets = {firm.ticker: firm.basket for firm in spec.members(sector)}
    fixed = {f"slot/{name.partition('/')[2]}" for name in groups if name.startswith("named/")}
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, tickers in groups.items():
        if name.startswith("slot/") and name not in fixed:
            alike.setdefault(tickers, []).append(name)
    trials = [
        (names, companion)
        for tickers, names in alike.items()
        for firm in found
        for companion in sorted(t for t in tickers if baskets[t] == baskets[firm] and t != firm)[:1]
    ]
    left = [
        len(disclosed_firms(_without(groups, names, companion), present, shown)[0])
        for names, companion in trials
    ]
    if not trials or min(left) >= len(found):
        raise InputError(f"sector '{sector}': firm '{found[0]}' can be read back from its averages")
    return trials[left.index(min(left))]

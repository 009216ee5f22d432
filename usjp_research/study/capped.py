"""Portfolios weighted by market value, no firm above a cap: what the second rule sums."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd

from usjp_research.engine.design import Floats
from usjp_research.market.openings import SESSION
from usjp_research.market.record import BENCHMARK, Dropped, Market
from usjp_research.spec.records import Second, Spec
from usjp_research.study.disclosure import SMALLEST
from usjp_research.study.events import first_session, in_session
from usjp_research.study.portfolios import (
    Portfolios,
    Slot,
    Weighing,
    averages_of,
    summed_values,
    values_before,
)

CAPPED = "capped"
LEVEL = 1.5  # times the equal weight is never above the cap

NO_VALUE = "no price on the day of the market values, or no value: no weight under rule 2"


def capped_weights(values: Floats, cap: float) -> Floats:
    """Weight by value, no weight above the larger of ``cap`` and 1.5 / n.

    What is above is spread over the others in proportion, until none is above.

    Examples
    --------
    >>> capped_weights(np.array([8.0, 1.0, 1.0]), 0.1).round(2).tolist()
    [0.5, 0.25, 0.25]
    """
    limit = max(cap, LEVEL / len(values))
    over = np.zeros(len(values), bool)
    while True:
        rest = values * (1 - limit * over.sum()) / values[~over].sum()
        weights = np.where(over, limit, rest)
        if not (weights > limit * (1 + 1e-12)).any():
            return weights
        over |= weights > limit


def _shares(second: Second, values: Mapping[str, float]) -> dict[str, float]:
    """Return capped weights by firm; none where fewer have a value than the rule asks for."""
    if len(values) < second.least_valued:
        return {}
    weights = capped_weights(np.array(list(values.values())), second.cap)
    return dict(zip(values, weights.tolist(), strict=True))


def capped_name(session: date, sector: str) -> str:
    """Name the capped series of a slot."""
    return f"{CAPPED}/{session}/{sector}"


def with_capped(
    spec: Spec,
    market: Market,
    made: Portfolios,
    *,
    slots: Mapping[tuple[str, str], Slot] | None = None,
    out: Mapping[str, Collection[str]] | None = None,
) -> Portfolios:
    """Add the capped series of the primary events' slots; the bundle has its own.

    What cannot be formed, and who has no weight, is added to what was left out. ``slots``, in
    place of those of ``made``, say who is in, but for those who are ``out`` of a series.
    """
    if (second := spec.rule.second) is None or market.level == "portfolio":
        return made
    values, out = valued_firms(spec, market), out or {}
    firms = [firm.ticker for firm in spec.firms if firm.ticker in market.returns]
    weights, dropped = _slot_weights(spec, second, slots or made.slots, values, out)
    capped, tables = dict(weights), [averages_of(market.returns[firms], weights)]
    for part, table in market.openings.items():
        opened, notes = _opened(spec, second, part, table, capped, values, out)
        opened |= _sides(spec, part, table, made.members)
        weights, dropped = weights | opened, (*dropped, *notes)
        tables.append(table[[BENCHMARK]].set_axis([opening_name(part)], axis=1))
        tables.append(averages_of(table[firms], opened))
    tested = {f"tested/{sector}": tested_firms(spec, sector) for sector in spec.sectors}
    weighing = {
        name: Weighing(len(part), sum(part.values()) ** 2 / sum(w * w for w in part.values()))
        for name, part in weights.items()
    }
    return replace(
        made,
        returns=pd.concat([made.returns, *tables], axis=1),
        members={**made.members, **{name: tuple(found) for name, found in weights.items()}},
        values={**made.values, **summed_values(tested, values)},
        weighing=weighing,
        dropped=(*made.dropped, *dropped),
    )


def opening_name(part: str, session: date | str = "", sector: str = "") -> str:
    """Name the series of a slot at the first trade, or that of the market."""
    return f"{part}/{session}/{sector}" if session else f"{part}/{BENCHMARK}"


def _sides(
    spec: Spec, part: str, table: pd.DataFrame, groups: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Weight the firms on both sides of the contrast alike that have an opening on its day."""
    contrast = spec.rule.contrast
    sides = [name for name in groups if name.startswith(("named/", "unnamed/"))]
    if not contrast or not sides:
        return {}
    if in_session(spec.event(contrast.event).instant) != (part == SESSION):
        return {}
    found = {}
    for name in sides:
        tickers = groups[name]
        there = table.reindex([pd.Timestamp(name.split("/")[1])])[list(tickers)].iloc[0]
        found[f"{part}/{name}"] = dict.fromkeys(there.dropna().index, 1 / len(tickers))
    return found if min(map(len, found.values()), default=0) >= SMALLEST else {}


def _opened(
    spec: Spec,
    second: Second,
    part: str,
    table: pd.DataFrame,
    weights: Mapping[str, Mapping[str, float]],
    values: Mapping[str, float],
    out: Mapping[str, Collection[str]],
) -> tuple[dict[str, dict[str, float]], tuple[Dropped, ...]]:
    """Weight the members of each capped slot that have an opening on the event's day.

    A firm without one is out at every shift. News in a session is looked at from that session's
    open to its close, other news overnight.
    """
    found, lost = dict[str, dict[str, float]](), list[Dropped]()
    timed = [event for event in spec.with_role("primary") if event.precision != "day"]
    inside = {str(first_session(e.instant)) for e in timed if in_session(e.instant)}
    for name, own in weights.items():
        kind, day, sector = name.split("/")
        if kind != CAPPED or (part == SESSION) != (day in inside):
            continue
        there = set(table.columns[table.reindex([pd.Timestamp(day)]).notna().iloc[0]])
        slot = opening_name(part, day, sector)
        opened = {t: values[t] for t in own if t in there and t not in out.get(slot, ())}
        if gone := sorted(own.keys() - there):
            lost.append(Dropped(part, f"{day}/{sector}", f"no opening price: {', '.join(gone)}"))
        if shares := _shares(second, opened):
            found[slot] = shares
    return found, tuple(lost)


def _slot_weights(
    spec: Spec,
    second: Second,
    slots: Mapping[tuple[str, str], Slot],
    values: Mapping[str, float],
    out: Mapping[str, Collection[str]],
) -> tuple[dict[str, dict[str, float]], tuple[Dropped, ...]]:
    """Weight the members of every primary slot that has enough firms with a market value."""
    found: dict[str, dict[str, float]] = {}
    lost: dict[str, str] = {}
    signs = {event.id: event.signs for event in spec.with_role("primary")}
    for slot in slots.values():
        if not signs.get(slot.event, {}).get(slot.sector) or not slot.series:
            continue
        name = capped_name(slot.session, slot.sector)
        inside = [t for t in tested_firms(spec, slot.sector) if t in slot.members]
        inside = [ticker for ticker in inside if ticker not in out.get(name, ())]
        own = {ticker: values[ticker] for ticker in inside if ticker in values}
        lost |= {t: NO_VALUE for t in inside if t not in own}
        if shares := _shares(second, own):
            found[name] = shares
        else:
            why = f"{len(own)} firms with a market value, rule 2 asks for {second.least_valued}"
            lost[f"{slot.event}/{slot.sector}"] = why
    return found, tuple(Dropped("rule 2", name, why) for name, why in lost.items())


def tested_firms(spec: Spec, sector: str) -> tuple[str, ...]:
    """List the firms of a sector that rule 2 tests: those of no basket that it leaves out."""
    out = spec.rule.second.without.get(sector, ()) if spec.rule.second else ()
    return tuple(firm.ticker for firm in spec.members(sector) if firm.basket not in out)


def valued_firms(spec: Spec, market: Market) -> dict[str, float]:
    """Return values before the news, USD bn, of firms with a price on the day of the values."""
    if spec.thesis is None:
        return {}
    last = market.returns.loc[: pd.Timestamp(spec.thesis.values_as_of)].iloc[-1].to_dict()
    return {t: v for t, v in values_before(spec, market).items() if np.isfinite(last[t])}


def without_price(spec: Spec, market: Market) -> set[str]:
    """Return the firms that rule 2 gives no value; a market of averages names those it lacks."""
    if market.level == "portfolio":
        return {item.name for item in market.dropped if item.what == "rule 2"}
    return {firm.ticker for firm in spec.firms} - set(valued_firms(spec, market))


def with_other_capped(spec: Spec, market: Market, made: Portfolios) -> Portfolios:
    """Add the capped series of whole sectors and of the other slots: no rule sums them.

    The bundle has none, since they would give firms away.
    """
    if (second := spec.rule.second) is None or market.level == "portfolio":
        return made
    slots, values = made.slots.values(), valued_firms(spec, market)
    groups = {f"{CAPPED}/sector/{s}": (s, made.members[f"sector/{s}"]) for s in spec.sectors}
    groups |= {capped_name(x.session, x.sector): (x.sector, x.members) for x in slots}
    weights = {}
    for name, (sector, members) in groups.items():
        inside = [t for t in tested_firms(spec, sector) if t in members and t in values]
        weights[name] = _shares(second, {ticker: values[ticker] for ticker in inside})
    new = {name: own for name, own in weights.items() if own and name not in made.returns}
    more = averages_of(market.returns, new)
    return replace(made, returns=pd.concat([made.returns, more], axis=1))

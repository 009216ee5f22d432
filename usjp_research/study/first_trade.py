"""The reaction at the first trade after the news, where opening prices are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from usjp_research.engine.design import Design, Ints, controlled_design
from usjp_research.engine.placebo import Leg
from usjp_research.market.openings import OVERNIGHT, SESSION
from usjp_research.market.record import Dropped
from usjp_research.study.capped import opening_name
from usjp_research.study.events import in_session
from usjp_research.study.legs import common_sign
from usjp_research.study.reactions import firm_reactions
from usjp_research.study.sample import Sample
from usjp_research.study.second import calendar_of, signed_events, unplaced
from usjp_research.words import InputError

FIRST_TRADE = (
    *("sector", "part", "events", "sign", "effect", "low", "high", "p", "p_stepdown", "mde"),
    *("shifts", "firms"),
)


def first_trade(data: Sample, shifts: Ints) -> tuple[pd.DataFrame, tuple[Dropped, ...]]:
    """Sum the move from the last close to the first price after the news, over the market's.

    For news that came out while New York was trading, its session from the open to the close
    stands in, in rows of their own. No number here decides a verdict: openings are noisy and
    hold only part of a reaction.

    Returns
    -------
    table : DataFrame
        Columns `FIRST_TRADE`; a family by ``part``, ``overnight`` or ``session``. Effects in the
        direction that the thesis expects, as decimals; intervals hold for all sectors at once.
    dropped : tuple of Dropped
        Why a sector or a part is missing.
    """
    tables, dropped = [], list[Dropped]()
    for part in (OVERNIGHT, SESSION):
        found = dict(_legs(data, part))
        groups = {sector: legs for sector, legs in found.items() if not isinstance(legs, str)}
        dropped += [Dropped(part, s, why) for s, why in found.items() if isinstance(why, str)]
        if not groups:
            continue
        try:
            law = data.law(
                groups, design=_design(data, part), calendar=calendar_of(data), shifts=shifts
            )
        except InputError as error:
            dropped.append(Dropped(part, "all sectors", str(error)))
            continue
        rule = data.spec.rule
        tables.append(_rows(data, part, groups, law.table(rule.alpha, rule.power, family=True)))
    try:
        tables.append(_contrast(data))
    except InputError as error:
        dropped.append(Dropped("contrast", "first trade", str(error)))
    empty = pd.DataFrame(columns=list(FIRST_TRADE))
    rows = [table for table in tables if len(table)]
    return pd.concat(rows, ignore_index=True) if rows else empty, tuple(dropped)


def _contrast(data: Sample) -> pd.DataFrame:
    """Compare both sides of the contrast at the first trade, on the shifts that its event admits.

    No row without openings of both sides.
    """
    contrast, returns, rule = data.spec.rule.contrast, data.portfolios.returns, data.spec.rule
    place = data.panel.position(contrast.event) if contrast else None
    if contrast is None or place is None:
        return pd.DataFrame(columns=list(FIRST_TRADE))
    day, sector = data.panel.new_york[place], contrast.sector
    part = SESSION if in_session(data.panel.events[place].instant) else OVERNIGHT
    named, other = (f"{part}/{side}/{day}/{sector}" for side in ("named", "unnamed"))
    if not {named, other} <= set(returns.columns):
        return pd.DataFrame(columns=list(FIRST_TRADE))
    name, day0 = f"{sector}: named minus unnamed", int(data.panel.day0[place])
    groups = {name: (Leg(contrast.event, named, day0, (0, 0), 1),)}
    spread = (returns[[named]] - returns[[other]].to_numpy()).to_numpy("float64")
    law = data.law(groups, returns=lambda _: spread, design=_design(data, part))
    return _rows(data, part, groups, law.table(rule.alpha, rule.power, family=True))


def _design(data: Sample, part: str) -> Design:
    first = data.portfolios.returns[opening_name(part)].to_numpy("float64")
    return controlled_design(first, np.empty((len(first), 0)))


def named_at_first_trade(data: Sample) -> pd.DataFrame:
    """Tabulate the contrast's named firms at the first trade: see `firm_reactions`.

    For the machine that holds the prices and not for sharing; empty without opening prices.
    """
    contrast = data.spec.rule.contrast
    if contrast is None or data.panel.position(contrast.event) is None:
        return pd.DataFrame(columns=["ticker", "car", "se", "beta"])
    part = SESSION if in_session(data.spec.event(contrast.event).instant) else OVERNIGHT
    found = firm_reactions(data, contrast.sector, contrast.event, part)
    named = [f.ticker for f in data.spec.firms if f.named_event == contrast.event]
    return found[found["ticker"].isin(named)]


def _legs(data: Sample, part: str) -> Iterator[tuple[str, tuple[Leg, ...] | str]]:
    """Yield every sector's windows of day 0 alone, or why it has no sum."""
    for sector in data.spec.sectors:
        lost = [
            f"{event.id}: {why}"
            for event, why in unplaced(data, sector)
            if event.precision == "day" or in_session(event.instant) == (part == SESSION)
        ]
        if lost:
            yield sector, lost[0]
            continue
        events = [
            (event, day0, sign)
            for event, day0, sign in signed_events(data, sector)
            if in_session(event.instant) == (part == SESSION)
        ]
        names = [
            opening_name(part, data.portfolios.slots[e.id, sector].session, sector)
            for e, *_ in events
        ]
        absent = [
            e.id
            for (e, *_), n in zip(events, names, strict=True)
            if n not in data.portfolios.returns
        ]
        if absent:
            yield sector, f"{absent[0]}: no opening prices of enough firms with a market value"
        elif events:
            yield (
                sector,
                tuple(
                    Leg(event.id, name, day0, (0, 0), sign)
                    for (event, day0, sign), name in zip(events, names, strict=True)
                ),
            )


def _rows(
    data: Sample, part: str, groups: Mapping[str, Sequence[Leg]], rows: pd.DataFrame
) -> pd.DataFrame:
    weighing = data.portfolios.weighing
    legs = list(groups.values())
    rows = rows.assign(
        sector=list(groups),
        part=part,
        events=[" ".join(dict.fromkeys(leg.event for leg in own)) for own in legs],
        sign=[common_sign(own) for own in legs],
        firms=[min(weighing[leg.series].valued for leg in own) for own in legs],
    )
    return rows[list(FIRST_TRADE)]

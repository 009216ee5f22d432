"""The reaction at the first trade after the news, where opening prices are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from usjp_research.engine.design import Ints, controlled_design
from usjp_research.engine.placebo import Leg
from usjp_research.market.openings import OVERNIGHT, SESSION
from usjp_research.market.record import Dropped
from usjp_research.spec.records import Event
from usjp_research.study.capped import opening_name
from usjp_research.study.events import in_session
from usjp_research.study.legs import laid_out
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

    For news that came out while New York was trading, its session from the open to the close stands
    in, in rows of their own. No number here decides a verdict: openings are noisy and hold only
    part of a reaction. The table has columns `FIRST_TRADE`, a family by ``part``, ``overnight`` or
    ``session``: effects in the direction that the thesis expects, as decimals, with intervals for
    all sectors at once. Beside it why a sector or a part is missing.
    """
    tables, dropped = [pd.DataFrame(columns=list(FIRST_TRADE))], list[Dropped]()
    for part in (OVERNIGHT, SESSION):
        found = list(_legs(data, part))
        dropped += [Dropped(part, sector, why) for sector, _, why in found if why]
        if groups := {sector: legs for sector, legs, why in found if legs and not why}:
            try:
                rows = _rows(data, part, groups, calendar=calendar_of(data), shifts=shifts)
                tables.append(rows)
            except InputError as error:
                dropped.append(Dropped(part, "all sectors", str(error)))
    try:
        tables += _contrast(data)
    except InputError as error:
        dropped.append(Dropped("contrast", "first trade", str(error)))
    return pd.concat(tables[1:] or tables, ignore_index=True), tuple(dropped)


def _part(event: Event) -> str:
    return SESSION if in_session(event.instant) else OVERNIGHT


def _contrast(data: Sample) -> Iterator[pd.DataFrame]:
    """Compare both sides of the contrast, on its event's own shifts, where both have openings."""
    contrast, returns = data.spec.rule.contrast, data.portfolios.returns
    place = data.panel.position(contrast.event) if contrast else None
    if contrast is None or place is None:
        return
    sector, part = contrast.sector, _part(data.panel.events[place])
    where = f"{data.panel.new_york[place]}/{sector}"
    named, other = (f"{part}/{side}/{where}" for side in ("named", "unnamed"))
    if {named, other} <= set(returns.columns):
        leg = Leg(contrast.event, named, int(data.panel.day0[place]), (0, 0), 1)
        spread = returns.assign(**{named: returns[named] - returns[other]})
        yield _rows(data, part, {f"{sector}: named minus unnamed": (leg,)}, returns=spread)


def named_at_first_trade(data: Sample) -> pd.DataFrame:
    """Tabulate the contrast's named firms at the first trade: see `firm_reactions`.

    For the machine that holds the prices and not for sharing; empty without opening prices.
    """
    contrast = data.spec.rule.contrast
    if contrast is None or data.panel.position(contrast.event) is None:
        return pd.DataFrame(columns=["ticker", "car", "se", "beta"])
    part = _part(data.spec.event(contrast.event))
    found = firm_reactions(data, contrast.sector, contrast.event, part)
    named = [f.ticker for f in data.spec.firms if f.named_event == contrast.event]
    return found[found["ticker"].isin(named)]


def _legs(data: Sample, part: str) -> Iterator[tuple[str, tuple[Leg, ...], str]]:
    """Yield every sector's windows of day 0 alone, and why it has no sum."""
    made = data.portfolios
    for sector in data.spec.sectors:
        lost = [
            f"{event.id}: {why}"
            for event, why in unplaced(data, sector)
            if event.precision == "day" or _part(event) == part
        ]
        legs = []
        for event, day0, sign in signed_events(data, sector):
            if _part(event) == part:
                series = opening_name(part, made.slots[event.id, sector].session, sector)
                legs.append(Leg(event.id, series, day0, (0, 0), sign))
        absent = [leg.event for leg in legs if leg.series not in made.returns]
        lost += [f"{id}: no opening prices of enough firms with a market value" for id in absent]
        yield sector, tuple(legs), lost[0] if lost else ""


def _rows(data: Sample, part: str, groups: Mapping[str, Sequence[Leg]], **how: Any) -> pd.DataFrame:
    first = data.portfolios.returns[opening_name(part)].to_numpy("float64")
    design = controlled_design(first, np.empty((len(first), 0)))
    _, rows = laid_out(data, groups, family=True, design=design, **how)
    valued = {name: size.valued for name, size in data.portfolios.weighing.items()}
    firms = [min(valued[leg.series] for leg in own) for own in groups.values()]
    return rows.assign(part=part, firms=firms)[list(FIRST_TRADE)]

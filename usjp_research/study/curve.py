"""The specification curve: the same sum under every defensible choice, both rules marked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from usjp_research.engine.design import MODELS, Bools, Design, Floats, Ints, expected_return_design
from usjp_research.engine.placebo import Leg, admissible_shifts, own_days, placebo_p, quantile
from usjp_research.market.donors import OUTSIDE as YARD
from usjp_research.market.factors import Factors
from usjp_research.market.openings import OVERNIGHT
from usjp_research.market.record import BENCHMARK, Dropped
from usjp_research.spec.records import Event, Rule
from usjp_research.study.answer import LEAKS, family_legs
from usjp_research.study.capped import (
    CAPPED,
    capped_name,
    capped_weights,
    opening_name,
    tested_firms,
    valued_firms,
    weighted_averages,
)
from usjp_research.study.legs import common_sign, event_legs, share_days, why_silent
from usjp_research.study.sample import Sample
from usjp_research.study.second import calendar_of, design_of, full_session, second_legs, yardstick
from usjp_research.words import InputError, card, label, level

CHOICES = ("model", "window", "weights", "events", "blackout", "guard")
CURVE = ("sector", "rule", *CHOICES, "sign", "effect", "low", "high", "p", "shifts")
JOINT = (
    *("sector", "specifications", "median", "lowest", "highest", "p_median"),
    *("outside", "p_outside", "shifts", "sign"),
)
MOVES = ("sector", "choice", "least", "most", "spread")
EQUAL, WITH, WITHOUT = "equal", "with", "without"
FULL, FIRST = "first full session", "first trade"
MARKET, OUTSIDE, CONTROLS = MODELS["market"].title, "outside firms", "yardstick and controls"
LEAKY, UNSIGNED = "leaks in", "unsigned"
SINGLE = "needs single firms: the bundle would give one away"

Place = tuple[int, tuple[int, int], str]  # day 0, window, series
Row = dict[str, Any]
Chosen = list[tuple[Event, int, int]]  # events with day 0 and sign


@dataclass(frozen=True, slots=True)
class Curve:
    """A sector's signed sum, or every sector's, under every combination of choices.

    Attributes
    ----------
    rows : DataFrame
        One row per specification, columns `CURVE`: the choices; the ``effect`` in the direction
        that the thesis expects, with ``low``, ``high`` and placebo ``p`` of this row alone, as
        decimals. ``rule`` marks the study's own rules.
    joint : DataFrame
        One row per sector, columns `JOINT`: the ``median`` effect and the share of rows whose
        interval leaves out zero (``outside``), each with its ``p`` on placebo calendars.
    moves : DataFrame
        Columns `MOVES`: how far apart the values of each choice lie, other choices equal; the
        choice that moves a sector's effect most is first.
    dropped : tuple of Dropped
        Specifications that this market cannot show.
    """

    rows: pd.DataFrame
    joint: pd.DataFrame
    moves: pd.DataFrame
    alpha: float
    dropped: tuple[Dropped, ...] = ()

    def _repr_html_(self) -> str:
        told = (f"{label(row[0])}: {row[1]} specifications" for row in self.joint.to_numpy())
        return card("Specification curve", "", *told, f"each alone at {level(self.alpha)}")


class _Sum(NamedTuple):
    """A signed sum of windows, and the choices that make it."""

    window: str
    weights: str
    events: str
    blackout: str
    legs: tuple[Leg, ...]

    @property
    def leaks(self) -> bool:
        return self.events == LEAKY


_Made = tuple[_Sum, str, str]  # with model and guard


def specification_curve(
    data: Sample, sector: str | None = None, *, factors: Factors | None = None
) -> Curve:
    """Compute a sector's statistic, or every sector's, under every defensible choice.

    Expected-return models, windows, weights, sets of events, with and without firms in blackout
    and with and without the volatility guard, all crossed; at the first trade only the market is
    known to compare with. All are computed on the first rule's placebo calendars, where leaks
    are in on those that these admit. A sum that comes out of two combinations stands once. Where
    there is nothing to test, or too few calendars, there is no row, and ``dropped`` says why.

    References
    ----------
    Simonsohn, Simmons and Nelson (2020), Nature Human Behaviour 4, 1208-1214.

    Examples
    --------
    >>> specification_curve(data, "rail").joint                     # doctest: +SKIP
    """
    data.spec.members(sector or data.spec.sectors[0])
    lost: dict[Dropped, None] = {}
    try:
        legs = family_legs(data)
        moves = np.r_[0, data.law(legs).shifts]
    except InputError as error:
        return _laid_out(data, [], [Dropped("specification", sector or "all sectors", str(error))])
    names = [name for name in legs if sector in (None, name)]
    silent = (s for s in data.spec.sectors if s not in legs and sector in (None, s))
    lost |= {Dropped("specification", s, why_silent(data, s)): None for s in silent}
    table = pd.concat([data.portfolios.returns, _firm_series(data, names)], axis=1)
    sums = {name: [*_sums(data, name, {*table.columns}, lost)] for name in names}
    designs = dict(_designs(data, names, factors, lost))
    parts = _forecasts(data, sums, designs, table, moves)
    windows = {own.window for found in sums.values() for own in found}
    calendars = dict(_calendars(data, windows, moves))
    found = []
    for name in names:
        models = [title for title, own in designs if own == name]
        found.append(_rows(data, name, _stacked(sums[name], models, parts, calendars), lost))
    return _laid_out(data, found, lost)


def _laid_out(
    data: Sample, found: Sequence[tuple[pd.DataFrame, Row]], lost: Iterable[Dropped]
) -> Curve:
    rows = [rows for rows, _ in found] or [pd.DataFrame(columns=list(CURVE))]
    moves = [_moves(own) for own, _ in found] or [pd.DataFrame(columns=list(MOVES))]
    return Curve(
        pd.concat(rows, ignore_index=True),
        pd.DataFrame([row for _, row in found], columns=list(JOINT)),
        pd.concat(moves, ignore_index=True),
        data.spec.rule.alpha,
        tuple(lost),
    )


# --- which sums there are ----------------------------------------------------------------------


def _series(data: Sample, event: Event, sector: str, choice: tuple[str, str, str]) -> str:
    """Name the series of a window at an event; empty where the slot has no portfolio."""
    (window, weights, blackout), slot = choice, data.portfolios.slots[event.id, sector]
    if window == FIRST and (weights, blackout) == (CAPPED, WITH):
        return opening_name(OVERNIGHT, slot.session, sector)
    if window == FIRST:
        return f"{OVERNIGHT}/{weights} {blackout}/{slot.session}/{sector}"
    if blackout == WITHOUT:
        return f"sector/{sector}" if weights == EQUAL else f"{CAPPED}/sector/{sector}"
    return slot.series if weights == EQUAL else capped_name(slot.session, sector)


def _firm_series(data: Sample, sectors: Sequence[str]) -> pd.DataFrame:
    """Average what single firms alone can: other capped slots, capped sectors, other openings."""
    spec, made, tables = data.spec, data.portfolios, {"": data.market.returns}
    if OVERNIGHT in data.market.openings:
        tables[FIRST] = data.market.openings[OVERNIGHT]
    if data.firms is None or (second := spec.rule.second) is None:
        return pd.DataFrame(index=data.market.dates)
    values = valued_firms(spec, data.market)
    found: dict[str, dict[str, dict[str, float]]] = {part: {} for part in tables}
    slots = [x for x in made.slots.values() if x.sector in sectors and x.series]
    slots = [x for x in slots if spec.event(x.event).role in LEAKS]
    for slot, *how in product(slots, tables, (EQUAL, CAPPED), (WITH, WITHOUT)):
        part, weights, blackout = how
        name = _series(data, spec.event(slot.event), slot.sector, (part, weights, blackout))
        own = slot.members if blackout == WITH else made.members[f"sector/{slot.sector}"]
        if part:
            there = tables[part].loc[pd.Timestamp(slot.session)].notna()
            own = tuple(ticker for ticker in own if there[ticker])
        if weights == CAPPED:
            tested = tested_firms(spec, slot.sector)
            own = tuple(ticker for ticker in tested if ticker in own and ticker in values)
        least = second.least_valued if weights == CAPPED else spec.rule.least_firms
        if name not in made.returns and len(own) >= least:
            worth = np.array([values[t] if weights == CAPPED else 1.0 for t in own])
            share = capped_weights(worth, second.cap)
            found[part][name] = dict(zip(own, share.tolist(), strict=True))
    firms = [firm.ticker for firm in spec.firms if firm.ticker in data.market.returns]
    more = [weighted_averages(tables[part][firms], own) for part, own in found.items() if own]
    return pd.concat([pd.DataFrame(index=data.market.dates), *more], axis=1)


def _event_sets(data: Sample, sector: str) -> dict[str, Chosen]:
    """List the sets of events that a sector may be summed over, primary events first."""
    panel = data.panel

    def listed(*roles: str, signed: bool = True) -> Chosen:
        places = [k for role in roles for k in panel.index(role)]
        events = [(panel.events[k], int(panel.day0[k])) for k in places]
        found = [(e, day0, e.signs.get(sector, 0) if signed else 1) for e, day0 in events]
        return [item for item in found if item[2]]

    primary = listed("primary")
    fewer = {f"without {e.id}": [x for x in primary if x[0] is not e] for e, *_ in primary}
    unsigned = listed("primary", signed=False)
    return {"all primary": primary, **fewer, LEAKY: listed(*LEAKS), UNSIGNED: unsigned}


def _sums(data: Sample, sector: str, have: set[str], lost: dict[Dropped, None]) -> Iterator[_Sum]:
    """Yield the different sums of a sector; note in ``lost`` what cannot be formed, and why."""
    rule, sets, seen = data.spec.rule, _event_sets(data, sector), set[tuple[Leg, ...]]()
    usual, *others = _spans(rule)
    opened = (FIRST,) if opening_name(OVERNIGHT) in have else ()
    if not opened:
        lost[Dropped("specification", f"{sector}/{FIRST}", "no opening prices")] = None
    for window, weights, blackout, events in product(
        (usual, FULL, *others, *opened),
        (EQUAL, CAPPED) if rule.second else (EQUAL,),
        (WITH, WITHOUT),
        sets,
    ):
        legs = list[Leg]()
        for event, day0, sign in sets[events]:
            span = _span(rule, event, window)
            if not _known(event, window):
                continue
            if series := _series(data, event, sector, (window, weights, blackout)):
                legs.append(Leg(event.id, series, day0, span, sign))
        if absent := [leg.event for leg in legs if leg.series not in have]:
            few = f"{absent[0]}: too few firms with a market value, an opening, or returns"
            which = events if events in (LEAKY, UNSIGNED) else "primary events"
            name = f"{sector}/{weights}, {blackout} blackout, {which}"
            name += f", {FIRST}" * (window == FIRST)
            lost[Dropped("specification", name, SINGLE if data.firms is None else few)] = None
        elif (own := share_days(legs)[0]) and own not in seen:
            seen.add(own)
            yield _Sum(window, weights, events, blackout, own)


def _spans(rule: Rule) -> dict[str, tuple[int, int]]:
    """Return the fixed windows by their names, the rule's first."""
    words = " to ".join
    windows = (rule.window, (0, 1), (0, 0))
    return {words(f"{day:+d}" if day else "0" for day in window): window for window in windows}


def _known(event: Event, window: str) -> bool:
    """Say whether an event can be in a sum: at the first trade, news of a time of day overnight."""
    return window != FIRST or (event.precision != "day" and full_session(event) == (0, 0))


def _span(rule: Rule, event: Event, window: str) -> tuple[int, int]:
    """Return the sessions of a window at an event."""
    if window == FULL:
        return rule.window if event.precision == "day" else full_session(event)
    return _spans(rule).get(window, (0, 0))


def _designs(
    data: Sample,
    sectors: Sequence[str],
    factors: Factors | None,
    lost: dict[Dropped, None],
) -> Iterator[tuple[tuple[str, str], Design]]:
    """Yield every model by its title and sector; sectors share a design where it is the same."""
    for key, model in MODELS.items():
        table = factors.returns if model.factors and factors else pd.DataFrame()
        if model.factors and not {*model.factors} <= {*table}:
            why = (factors.reason if factors else "") or "needs French's daily factors"
            lost[Dropped("specification", model.title, why)] = None
        elif model.needs or key == data.spec.rule.model:
            columns = {name: table[name].to_numpy("float64") for name in model.factors}
            design = expected_return_design(key, columns or {"market": data.portfolios.benchmark})
            yield from (((model.title, sector), design) for sector in sectors)
    if (second := data.spec.rule.second) is None:
        return
    shared: dict[str, Design] = {}
    for title, sector in product((OUTSIDE, CONTROLS), sectors):
        yard = YARD if title == OUTSIDE else yardstick(data, sector)
        controls = () if title == OUTSIDE else second.controls
        if {yard, *controls} <= {BENCHMARK, *data.controls}:
            key = f"{title} {yard}"
            shared[key] = shared.get(key) or design_of(data, yard, controls)
            yield (title, sector), shared[key]
        else:
            lost[Dropped("specification", title, "no averages of outside firms")] = None


# --- what they are -----------------------------------------------------------------------------


def _forecasts(
    data: Sample,
    sums: Mapping[str, Sequence[_Sum]],
    designs: Mapping[tuple[str, str], Design],
    table: pd.DataFrame,
    moves: Ints,
) -> dict[tuple[str, bool, Place], Floats]:
    """Forecast every window once per model, with primary events' windows masked or leaks' too.

    Returns abnormal return, forecast-error variance and guarded variance, shape (3, n_moves).
    """
    parts: dict[tuple[str, bool, Place], Floats] = {}
    values = {str(name): column.to_numpy("float64") for name, column in table.items()}
    work = {id(design): (title, design) for (title, _), design in designs.items()}
    users = {key: {s for (_, s), d in designs.items() if id(d) == key} for key in work}
    if (opened := opening_name(OVERNIGHT)) in values:
        work[0] = (FIRST, expected_return_design("market", {"market": values[opened]}))
        users[0] = {*sums}
    for leaks, calendar in ((False, calendar_of(data)), (True, _leak_calendar(data))):
        moving = own_days(calendar)
        for key, (title, design) in work.items():
            asked = {
                (leg.day0, leg.window, leg.series)
                for sector in users[key]
                for own in sums[sector]
                if own.leaks == leaks and (own.window == FIRST) == (title == FIRST)
                for leg in own.legs
            }
            alike = defaultdict[tuple[int, tuple[int, int], bytes], list[str]](list)
            for day0, window, series in sorted(asked):
                alike[day0, window, np.isfinite(values[series]).tobytes()].append(series)
            for (day0, window, _), names in alike.items():
                returns = np.column_stack([values[name] for name in names])
                holes = [day - day0 for day in moving]
                fit = data.forecast(returns, design=design, window=window, moving_mask=holes)
                days = (day0 + moves).clip(0, len(returns) - 1)
                found = np.stack([fit.car[days], fit.variance[days], fit.guarded[days]])
                parts |= {
                    (title, leaks, (day0, window, n)): found[..., k] for k, n in enumerate(names)
                }
    return parts


def _leak_calendar(data: Sample) -> list[Leg]:
    return [leg for sector in data.spec.sectors for leg in event_legs(data, sector, LEAKS)]


def _calendars(
    data: Sample, windows: Iterable[str], moves: Ints
) -> Iterator[tuple[tuple[str, bool], Bools]]:
    """Say by window, and without and with leaks, on which calendars a family of sums stands.

    As in the families of the rules, every sector's primary windows are complete there.
    """
    leaks = np.isin(
        moves, np.r_[0, admissible_shifts(_leak_calendar(data), data.panel.masked, data.spec.rule)]
    )
    moving = own_days(calendar_of(data))
    for window in windows:
        good = np.ones(len(moves), bool)
        for id, day0 in {(leg.event, leg.day0) for leg in calendar_of(data)}:
            event = data.spec.event(id)
            if not _known(event, window):
                continue
            span = _span(data.spec.rule, event, window)
            holes = [day - day0 for day in moving]
            market = data.portfolios.benchmark[:, None]
            fit = data.forecast(market, window=span, moving_mask=holes)
            good &= np.isfinite(fit.car[day0 + moves, 0])
        yield (window, False), good
        yield (window, True), good & leaks


def _stacked(
    sums: Sequence[_Sum],
    models: Sequence[str],
    parts: Mapping[tuple[str, bool, Place], Floats],
    calendars: Mapping[tuple[str, bool], Bools],
) -> tuple[list[_Made], Floats, Floats]:
    """Cross a sector's sums with models and guard; effect and error (n_moves, n_specifications)."""
    made, effects, variances = list[_Made](), [], []
    for own, title in product(sums, models):
        if own.window == FIRST and title != MARKET:
            continue
        key = FIRST if own.window == FIRST else title
        places = ((leg.sign, (leg.day0, leg.window, leg.series)) for leg in own.legs)
        total = sum(parts[key, own.leaks, at] * [[sign], [1], [1]] for sign, at in places)
        effect, plain, guarded = np.where(calendars[own.window, own.leaks], total, np.nan)
        for guard, variance in (("on", guarded), ("off", plain)):
            made.append((own, title, guard))
            effects.append(effect)
            variances.append(variance)
    return made, np.array(effects).T, np.sqrt(variances).T


def _rows(
    data: Sample,
    sector: str,
    found: tuple[list[_Made], Floats, Floats],
    lost: dict[Dropped, None],
) -> tuple[pd.DataFrame, Row]:
    """Lay out a sector's specifications, and what they say together."""
    rule, (made, effect, error) = data.spec.rule, found
    marks = {(event_legs(data, sector), MODELS[rule.model].title, "on"): "rule 1"}
    if rule.second:
        marks[second_legs(data)[0].get(sector, ()), CONTROLS, "on"] = "rule 2"
    whole = np.isfinite(effect + error)
    good = whole[0] & (whole[1:].sum(axis=0) >= rule.least_shifts)
    for own, title, _ in (one for one, kept in zip(made, good, strict=True) if not kept):
        why = f"not complete at the events, or on {rule.least_shifts} placebo calendars"
        name = f"{sector}/{title}, {own.weights}, {own.blackout} blackout, {own.window}"
        lost[Dropped("specification", name, why)] = None
    table = []
    for own, title, guard in made:
        mark = marks.get((own.legs, title, guard), "")
        table.append((sector, mark, title, *own[:4], guard, common_sign(own.legs)))
    numbers, together = _laws(effect[:, good], error[:, good], rule.alpha)
    rows = pd.DataFrame(table, columns=list(CURVE[:9]))[good].reset_index(drop=True)
    sign = int(rows["sign"].iloc[0]) if rows["sign"].nunique() == 1 else 0
    row = {"sector": sector, "specifications": len(rows), "sign": sign, **together}
    return rows.assign(**numbers)[list(CURVE)], row


def _laws(
    effect: Floats, error: Floats, alpha: float
) -> tuple[dict[str, Floats], dict[str, float]]:
    """Compute every column's own interval and p, and the law of what they say together.

    Arrays are (1 + n_shifts, n_specifications), the real dates first; a shift at which a column
    has no number is left out of its own law, and of the joint law of all.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = np.where(error > 0, effect / error, 0.0 * error)
    center = np.nanmean(statistic[1:], axis=0)
    away = statistic - center
    far, known = np.abs(away), np.isfinite(away[1:])
    critical = np.array([quantile(x[k], alpha) for x, k in zip(far[1:].T, known.T, strict=True)])
    middle, half = effect[0] - center * error[0], critical * error[0]
    shifts = known.sum(axis=0)
    numbers = {
        "effect": effect[0],
        "low": middle - half,
        "high": middle + half,
        "p": (1 + (far[1:] >= far[0]).sum(axis=0)) / (1 + shifts),
        "shifts": shifts,
    }
    common = np.r_[True, known.all(axis=1)]
    typical = np.abs(np.median(away[common], axis=1))
    outside = (far[common] > critical).mean(axis=1)
    return numbers, {
        "median": float(np.median(effect[0])),
        "lowest": float(effect[0].min()),
        "highest": float(effect[0].max()),
        "p_median": float(placebo_p(typical[1:], typical[0])),
        "outside": float(outside[0]),
        "p_outside": float(placebo_p(outside[1:], outside[0])),
        "shifts": int(common.sum()) - 1,
    }


def _moves(rows: pd.DataFrame) -> pd.DataFrame:
    """Say how far apart the values of each choice lie, from least squares on all choices."""
    values = [(choice, value) for choice in CHOICES for value in rows[choice].unique()]
    table = np.column_stack([rows[choice] == value for choice, value in values]).astype(float)
    fitted = np.linalg.lstsq(table, rows["effect"].to_numpy(), rcond=None)[0]
    found = []
    for choice in CHOICES:
        own = {str(v): float(x) for (c, v), x in zip(values, fitted, strict=True) if c == choice}
        ends = min(own, key=own.__getitem__), max(own, key=own.__getitem__)
        found.append((rows["sector"].iloc[0], choice, *ends, own[ends[1]] - own[ends[0]]))
    frame = pd.DataFrame(found, columns=list(MOVES))
    return frame.sort_values("spread", ascending=False, kind="stable", ignore_index=True)

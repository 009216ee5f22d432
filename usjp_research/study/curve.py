"""The specification curve: the same sum under every defensible choice, both rules marked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from usjp_research.engine.design import MODELS, Bools, Design, Floats, Ints, expected_return_design
from usjp_research.engine.placebo import Leg, admissible_shifts, versions_law
from usjp_research.market.donors import OUTSIDE, Donors
from usjp_research.market.factors import Factors
from usjp_research.market.openings import OVERNIGHT
from usjp_research.market.record import BENCHMARK, Dropped
from usjp_research.spec.records import Event, Rule
from usjp_research.study.answer import LEAKS, family_legs
from usjp_research.study.capped import CAPPED, opening_name, with_other_capped
from usjp_research.study.counterfactual import CONVEX, model_stands, synthetic_law
from usjp_research.study.legs import common_sign, event_legs, event_windows, share_days, why_silent
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
MARKET, YARD, CONTROLS = MODELS["market"].title, "outside firms", "yardstick and controls"
ALL, LEAKY, UNSIGNED = "all primary", "leaks in", "unsigned"
SINGLE = "needs single firms: the bundle would give one away"


@dataclass(frozen=True, slots=True)
class Curve:
    """A sector's signed sum, or every sector's, under every combination of choices.

    ``rows`` has one row per specification, columns `CURVE`: its choices, the study's own rules
    marked as ``rule``; the ``effect`` in the direction that the thesis expects, with ``low``,
    ``high`` and placebo ``p`` of this row alone, as decimals. ``joint`` has one per sector, columns
    `JOINT`: the ``median`` effect and the share of rows whose interval leaves out zero
    (``outside``), each with its ``p`` on placebo calendars. ``moves``, columns `MOVES`, says how
    far apart the values of each choice lie, other choices equal; the choice that moves a sector's
    effect most is first.
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

    sector: str
    window: str
    weights: str
    events: str
    blackout: str
    legs: tuple[Leg, ...]


_Model = tuple[str, Sequence[str], Design]  # with the sectors that it is for
# By sum, model and guard: effect and error, (2, 1 + n_shifts), the real dates first.
_Made = dict[tuple[_Sum, str, str], Floats]


def specification_curve(
    data: Sample,
    sector: str | None = None,
    *,
    factors: Factors | None = None,
    donors: Donors | None = None,
) -> Curve:
    """Compute a sector's statistic, or every sector's, under every defensible choice.

    Expected-return models, windows, weights, sets of events, with and without firms in blackout
    and with and without the volatility guard, all crossed; at the first trade only the market is
    known to compare with. With ``donors`` a synthetic control joins the first rule's windows, once
    per weighting: fitted anew before every date it is too slow to be crossed. All are computed on
    the first rule's placebo calendars, where leaks are in on those that these admit. A sum that
    comes out of two combinations stands once. Where there is nothing to test, or too few
    calendars, there is no row, and ``dropped`` says why. Simonsohn, Simmons and Nelson (2020),
    Nature Human Behaviour 4, 1208-1214.

    Examples
    --------
    >>> specification_curve(data, "rail").joint                     # doctest: +SKIP
    """
    names = [sector] if sector else [*data.spec.sectors]
    data.spec.members(names[0])
    lost = {name: why for name in names if (why := why_silent(data, name))}
    portfolios = with_other_capped(data.spec, data.market, data.portfolios)
    data, made = replace(data, portfolios=portfolios), _Made()
    try:
        sums = [one for s in names if s not in lost for one in _sums(data, s, lost)]
        made = _compared(data, sums, [*_models(data, names, factors, lost)], donors, lost)
    except InputError as error:
        lost = {sector or "all sectors": str(error)}
    parts = [{key: x for key, x in made.items() if key[0].sector == name} for name in names]
    found = [_laid_out(data, part, lost) for part in parts if part]
    tables = [pd.concat(part, ignore_index=True) for part in zip(*found, strict=True)]
    rows, joint, moves = tables or (pd.DataFrame(columns=[*x]) for x in (CURVE, JOINT, MOVES))
    dropped = tuple(Dropped("specification", name, why) for name, why in lost.items())
    return Curve(rows, joint, moves, data.spec.rule.alpha, dropped)


def _sums(data: Sample, sector: str, lost: dict[str, str]) -> Iterator[_Sum]:
    """Yield a sector's different sums, the first rule's first; note what has no series."""
    rule, panel, table = data.spec.rule, data.panel, data.portfolios.returns
    primary, seen = panel.index("primary"), set[tuple[Leg, ...]]()
    sets = {ALL: primary}
    for k in primary:
        sets[f"without {panel.events[k].id}"] = tuple(x for x in primary if x != k)
    several = {**sets, LEAKY: (*primary, *panel.index("leak")), UNSIGNED: primary}
    usual, *others = _spans(rule)
    weighting = (EQUAL, CAPPED) if rule.second else (EQUAL,)
    ways = [*product((usual, FULL, *others), weighting, (WITH, WITHOUT), several)]
    if opening_name(OVERNIGHT) in table:
        ways += product((FIRST,), (CAPPED,), (WITH,), sets)
    for window, weights, blackout, events in ways:
        part, legs = OVERNIGHT if window == FIRST else CAPPED, list[Leg]()
        for k in several[events]:
            session = str(panel.new_york[k]) if blackout == WITH else "sector"
            if span := _span(rule, panel.events[k], window):
                for leg in event_windows(data, sector, [k], span, signed=events != UNSIGNED):
                    equal = leg.series if blackout == WITH else f"sector/{sector}"
                    series = equal if weights == EQUAL else opening_name(part, session, sector)
                    legs.append(replace(leg, series=series))
        if absent := [leg.event for leg in legs if leg.series not in table]:
            few = f"{absent[0]}: too few firms with a market value, an opening, or returns"
            which = events if events in (LEAKY, UNSIGNED) else "primary events"
            name = f"{sector}/{weights}, {blackout} blackout, {which}"
            name += f", {FIRST}" * (window == FIRST)
            lost[name] = SINGLE if data.firms is None else few
        elif (own := share_days(legs)[0]) and own not in seen:
            seen.add(own)
            yield _Sum(sector, window, weights, events, blackout, own)


def _spans(rule: Rule) -> dict[str, tuple[int, int]]:
    """Return the fixed windows by their names, the rule's first."""
    spans = (rule.window, (0, 1), (0, 0))
    return {" to ".join(f"{day:+d}" if day else "0" for day in span): span for span in spans}


def _span(rule: Rule, event: Event, window: str) -> tuple[int, int] | None:
    """Return the sessions of a window at an event; none at a first trade that is not overnight."""
    timed = event.precision != "day"
    full = full_session(event) if timed else rule.window
    if window == FIRST:
        return full if timed and full == (0, 0) else None
    return full if window == FULL else _spans(rule)[window]


def _models(
    data: Sample, sectors: Sequence[str], factors: Factors | None, lost: dict[str, str]
) -> Iterator[_Model]:
    """Yield every model, the rule's first, and the sectors that share it."""
    yield MODELS[data.spec.rule.model].title, sectors, data.design
    for stand in model_stands(data, factors):
        if stand.design:
            yield stand.title, sectors, stand.design
        else:
            lost[stand.title] = stand.reason
    if second := data.spec.rule.second:
        yards = [(CONTROLS, yardstick(data, sector), second.controls) for sector in sectors]
        for title, yard, controls in dict.fromkeys([(YARD, OUTSIDE, ()), *yards]):
            own = [s for s in sectors if title == YARD or yardstick(data, s) == yard]
            try:
                yield title, own, design_of(data, yard, controls)
            except InputError as error:
                lost[title] = str(error)
    if (name := opening_name(OVERNIGHT)) in (table := data.portfolios.returns):
        market = table[name].to_numpy("float64")
        yield FIRST, sectors, expected_return_design("market", {"market": market})
    else:
        lost[FIRST] = "no opening prices"


def _compared(
    data: Sample,
    sums: Sequence[_Sum],
    models: Sequence[_Model],
    donors: Donors | None,
    lost: dict[str, str],
) -> _Made:
    """Cross sums, models and guard; add a synthetic control for the first rule's windows."""
    rule, masked, family = data.spec.rule, data.panel.masked, data.law(family_legs(data)).shifts
    moves = np.r_[0, admissible_shifts(calendar_of(data), masked, rule)]
    standing, made = _standing(data, list({one.window for one in sums}), moves), _Made()
    for roles in (("primary",), LEAKS):
        calendar = calendar_of(data, roles)
        shifts = np.intersect1d(family, admissible_shifts(calendar, masked, rule))
        admitted = np.isin(moves, [0, *shifts])
        for title, names, design in models:
            kind = roles == LEAKS, title == FIRST
            own = [one for one in sums if (one.events == LEAKY, one.window == FIRST) == kind]
            own = [one for one in own if one.sector in names]
            legs = [one.legs for one in own]
            found = data.sums(legs, moves, design=design, calendar=calendar)
            for (k, one), (guard, at) in product(enumerate(own), (("on", 1), ("off", 3))):
                numbers = np.array([found[0, :, k], np.sqrt(found[at, :, k])])
                model = MARKET if title == FIRST else title
                whole = admitted & standing[one.window]
                made[one, model, guard] = np.where(whole, numbers, np.nan)
    for one in sums:
        if donors and (one.window, one.events, one.blackout) == (sums[0].window, ALL, WITH):
            law = synthetic_law(data, one.sector, one.legs, donors)
            if law.reason:
                lost[f"{one.sector}/{CONVEX}, {one.weights}"] = law.reason
                continue
            null = [law.null_effect[:, 0], law.null_error[:, 0]]
            numbers = np.hstack([[law.effect, law.error], null])
            table = pd.DataFrame(numbers, columns=[0, *law.shifts])
            made[one, CONVEX, "on"] = table.reindex(columns=moves).to_numpy()
    return made


def _standing(data: Sample, windows: Sequence[str], moves: Ints) -> dict[str, Bools]:
    """Say by window at which moves every sector's primary windows stand, as the rules ask."""
    rule, calendar = data.spec.rule, calendar_of(data)
    market = pd.DataFrame({BENCHMARK: data.portfolios.benchmark})
    days = [(data.spec.event(id), day0) for id, day0 in {(x.event, x.day0) for x in calendar}]
    spans = [[(e.id, day0, _span(rule, e, window)) for e, day0 in days] for window in windows]
    groups = [[Leg(id, BENCHMARK, day0, s, 1) for id, day0, s in own if s] for own in spans]
    effect, *_ = data.sums(groups, moves, returns=market, calendar=calendar)
    return dict(zip(windows, np.isfinite(effect).T, strict=True))


def _laid_out(
    data: Sample, made: _Made, lost: dict[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Lay out a sector's specifications, what they say together, and what moves them."""
    rule, sector = data.spec.rule, next(iter(made))[0].sector
    marks = {(event_legs(data, sector), MODELS[rule.model].title, "on"): "rule 1"}
    if rule.second:
        marks[second_legs(data)[0].get(sector, ()), CONTROLS, "on"] = "rule 2"
    table = []
    for own, model, guard in made:
        mark = marks.get((own.legs, model, guard), "")
        table.append((sector, mark, model, *own[1:5], guard, common_sign(own.legs)))
    rows, numbers = pd.DataFrame(table, columns=[*CURVE[:9]]), np.array([*made.values()])
    known = np.isfinite(numbers).all(axis=1)
    good = known[:, 0] & (known[:, 1:].sum(axis=1) >= rule.least_shifts)
    for row in rows[~good].itertuples():
        name = f"{sector}/{row.model}, {row.weights}, {row.blackout} blackout, {row.window}"
        why = f"not complete at the events, or on {rule.least_shifts} placebo calendars"
        lost[name] = why
    alone, together = versions_law(numbers[good, 0].T, numbers[good, 1].T, rule.alpha)
    rows = rows[good].reset_index(drop=True).assign(**alone)
    sign = int(rows["sign"].iloc[0]) * (rows["sign"].nunique() == 1)
    joint = {"sector": sector, "specifications": len(rows), "sign": sign, **together}
    return rows, pd.DataFrame([joint], columns=[*JOINT]), _moves(rows[rows["model"] != CONVEX])


def _moves(rows: pd.DataFrame) -> pd.DataFrame:
    """Say how far apart the values of each choice lie, from least squares on all choices."""
    made = pd.concat({choice: pd.get_dummies(rows[choice]) for choice in CHOICES}, axis=1)
    fit = np.linalg.lstsq(made.to_numpy(float), rows["effect"].to_numpy(), rcond=None)[0]
    found = pd.Series(fit, made.columns).groupby(level=0).agg(["idxmin", "idxmax", "min", "max"])
    frame = found.assign(least=found["idxmin"].str[1], most=found["idxmax"].str[1])
    frame = frame.assign(choice=found.index, spread=found["max"] - found["min"])
    frame = frame.assign(sector=rows["sector"].iloc[0])[[*MOVES]]
    return frame.sort_values("spread", ascending=False, kind="stable", ignore_index=True)

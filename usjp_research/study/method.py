"""Why the verdicts may be believed: both rules on dates without news, and on planted effects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from usjp_research.engine.design import Floats, Ints
from usjp_research.engine.evidence import BLOCKS, SEED, held_out_size
from usjp_research.engine.placebo import (
    Leg,
    Placebo,
    admissible_shifts,
    minimum_detectable,
    own_days,
    quantile,
)
from usjp_research.market.donors import DONOR, Donors
from usjp_research.market.record import Dropped
from usjp_research.study.answer import family_legs
from usjp_research.study.quiet import TABLE, quiet_candidates
from usjp_research.study.sample import Sample
from usjp_research.study.second import ASSURANCE, assurance, second_rows
from usjp_research.words import InputError, card

FEWEST = 200  # random calendars that say anything
SPARE = 4  # times as many are drawn: some are too close to other news
MULTIPLES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)  # of the MDE, planted
SIZE = ("test", "panel", "rows", "rows_error", "families", "families_error", "calendars")
POWER = ("multiple", "planted", "recovered", "found", "found_error", "promised")


@dataclass(frozen=True, slots=True)
class Method:
    """What the rules do where nothing happened, and where something was planted; in decimals.

    ``size`` and ``power`` have columns `SIZE` and `POWER`; ``assurance`` is as `assurance` gives
    it and ``candidates`` as `quiet_candidates` does; ``dropped`` says what cannot be done here.
    """

    size: pd.DataFrame
    power: pd.DataFrame
    assurance: pd.DataFrame
    candidates: pd.DataFrame
    dropped: tuple[Dropped, ...]

    def _repr_html_(self) -> str:
        return card("Method", "", *self.size["test"], *(item.reason for item in self.dropped))


def check_method(data: Sample, donors: Donors | None = None, calendars: int = 2000) -> Method:
    """Try both rules on dates without news: how often they reject, and what they would find.

    Parameters
    ----------
    donors : Donors, optional
        Random groups of these stand in for the sectors, where they are single firms.
    calendars : int
        Random calendars to try.

    Raises
    ------
    InputError
        When the first rule itself cannot be computed; what else cannot is in ``dropped``.
    """
    rule, law = data.spec.rule, data.law(family_legs(data))
    second = second_rows(data, law.shifts)
    sizes = [_held_out(data, "rule 1", law)]
    sizes += [_held_out(data, "rule 2", second.law)] if second and second.rows else []
    dropped, found = [*(second.dropped if second else ())], dict[str, Any]()
    steps: dict[str, Callable[[], Any]] = {
        "random calendars": partial(random_calendars, data, donors, calendars)
    }
    steps["controls"] = partial(quiet_candidates, data)
    for what, step in steps.items():
        try:
            found[what] = step()
        except InputError as error:
            dropped.append(Dropped("method", what, str(error)))
    trials = found.get("random calendars")
    return Method(
        pd.DataFrame([*sizes, *([_size(trials)] if trials else [])], columns=list(SIZE)),
        pd.DataFrame(_power(trials, rule.power) if trials else (), columns=list(POWER)),
        assurance(second) if second else pd.DataFrame(columns=list(ASSURANCE)),
        found["controls"].table if "controls" in found else pd.DataFrame(columns=list(TABLE)),
        tuple(dropped),
    )


def _held_out(data: Sample, test: str, law: Placebo) -> tuple[object, ...]:
    days = [leg.day0 for legs in family_legs(data).values() for leg in legs]
    size = held_out_size(law.null_statistic, data.spec.rule.alpha, max(days) - min(days))
    told = "its own calendars, the law from the other half of the dates"
    return (test, told, size.row, np.nan, size.family, size.error, len(law))


# --- random calendars ----------------------------------------------------------------------------


class RandomCalendars(NamedTuple):
    """The first rule on calendars whose days were drawn one by one, by its law on other dates.

    ``days`` (n_calendars, n_events) are places of day 0; ``away`` and ``error`` (n_calendars,
    n_groups) S less its mean and the guarded error; ``alone`` (n_calendars, n_groups) and
    ``joint`` (n_calendars,) how far the law lets S lie from its mean, alone and as a family.
    """

    panel: str
    days: Ints
    away: Floats
    error: Floats
    alone: Floats
    joint: Floats
    law: Placebo
    alpha: float


def random_calendars(
    data: Sample, donors: Donors | None = None, calendars: int = 2000
) -> RandomCalendars:
    """Run the first rule on calendars of days drawn one by one, each by its law on other dates.

    As many days as there are primary events, a window apart or more, none in a real window: their
    spacing is that of no shift. The law of a calendar is that of the shifts that share no day
    with it. A calendar's own windows are masked in estimation, as the rule does it.

    Raises
    ------
    InputError
        When fewer than 200 calendars are left of those that the rule itself would not refuse.
    """
    rule, real, events = data.spec.rule, family_legs(data), data.spec.with_role("primary")
    events = tuple(event for event in events if data.panel.position(event.id) is not None)
    panel, returns = _portfolios(data, list(real), donors)
    legs = {s: tuple(replace(leg, series=s) for leg in own) for s, own in real.items()}
    law = data.law(legs, returns=lambda names: returns[list(names)].to_numpy("float64"))
    days = _draw(data, len(events), SPARE * calendars)
    inside = days[..., None] + np.arange(rule.window[0], rule.window[1] + 1)
    inside = inside.reshape(len(days), -1)
    effect, variance = np.zeros((2, len(days), len(real)))
    for event, day in zip(events, days.T, strict=True):
        sign = np.array([event.signs.get(sector, 0) for sector in real])
        own = {"days": day, "moving_mask": (inside - day[:, None]).T}
        fit = data.forecast(returns.to_numpy("float64"), **own)
        effect, variance = effect + sign * fit.car, variance + np.abs(sign) * fit.guarded
    used = np.zeros((len(days), len(returns)), bool)
    np.put_along_axis(used, inside, True, axis=1)
    windows = np.array(own_days([leg for part in legs.values() for leg in part]))
    apart = np.asarray(~used[:, windows[:, None] + law.shifts].any(axis=1))
    good = np.isfinite(effect + variance).all(axis=1) & (apart.sum(axis=1) >= rule.least_shifts)
    kept = np.flatnonzero(good)[:calendars]
    if len(kept) < min(FEWEST, calendars):
        remedy = "give a longer history of returns"
        raise InputError(f"seen {len(kept)} random calendars, expected {FEWEST}: {remedy}")
    center = np.array([law.null_statistic[row].mean(axis=0) for row in apart[kept]])
    far = [np.abs(law.null_statistic[apart[k]] - c) for k, c in zip(kept, center, strict=True)]
    alone = np.array([[quantile(column, rule.alpha) for column in part.T] for part in far])
    joint = np.array([quantile(part.max(axis=1), rule.alpha) for part in far])
    error = np.sqrt(variance[kept])
    away = effect[kept] / error - center
    return RandomCalendars(panel, days[kept], away, error, alone, joint, law, rule.alpha)


def _draw(data: Sample, events: int, count: int) -> Ints:
    """Draw calendars of free days, a window apart or more, (at most count, n_events)."""
    low, high = data.spec.rule.window
    free = admissible_shifts([Leg("", "", 0, (low, high), 1)], data.panel.masked, data.spec.rule)
    size = (count if len(free) else 0, events)
    days = np.sort(np.random.default_rng(SEED).choice(free, size), axis=1)
    return days[(np.diff(days) > high - low).all(axis=1)]


def _portfolios(
    data: Sample, sectors: list[str], donors: Donors | None
) -> tuple[str, pd.DataFrame]:
    """Form a random group of outside firms for each sector; or take the sectors themselves."""
    table = donors.returns if donors else pd.DataFrame()
    firms = [name for name in map(str, table) if not name.startswith(DONOR)]
    if len(firms) < len(sectors) * data.spec.rule.least_firms:
        own = data.portfolios.returns[[f"sector/{sector}" for sector in sectors]]
        return "random calendars, the study's own sectors", own.set_axis(sectors, axis=1)
    parts = np.array_split(np.random.default_rng(SEED).permutation(firms), len(sectors))
    groups = {s: table[list(part)].mean(axis=1) for s, part in zip(sectors, parts, strict=True)}
    return f"random calendars, {len(firms)} outside firms in random groups", pd.DataFrame(groups)


def _size(trials: RandomCalendars) -> tuple[object, ...]:
    rows = (np.abs(trials.away) > trials.alone).mean(axis=1)
    families = (np.abs(trials.away).max(axis=1) > trials.joint).astype(float)
    numbers = (rows.mean(), _error(trials, rows), families.mean(), _error(trials, families))
    return ("rule 1", trials.panel, *numbers, len(rows))


def _power(trials: RandomCalendars, power: float) -> Iterator[tuple[float, ...]]:
    """Add effects to the sums, in multiples of the MDE: what is found, and what was promised."""
    law = trials.law.null_statistic - trials.law.center
    critical = quantile(np.abs(law).max(axis=1), trials.alpha)
    mde = np.array([minimum_detectable(column, 1.0, critical, power) for column in law.T])
    for multiple in MULTIPLES:
        moved, planted = trials.away + multiple * mde, multiple * (mde * trials.error).mean()
        found = (np.abs(moved) > trials.joint[:, None]).mean(axis=1)
        recovered = (moved * trials.error).mean() / planted if multiple else np.nan
        promised = float((np.abs(law + multiple * mde) > critical).mean())
        yield multiple, planted, recovered, found.mean(), _error(trials, found), promised


def _error(trials: RandomCalendars, values: Floats) -> float:
    """Return a standard error: each tenth of the days is left out in turn, with its calendars."""
    parts = np.array_split(np.unique(trials.days), BLOCKS)
    left = [pd.Series(values[~np.isin(trials.days, p).any(axis=1)]).mean() for p in parts]
    return float(np.sqrt((BLOCKS - 1) * np.var(left)))

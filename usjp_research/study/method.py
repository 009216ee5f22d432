"""Why the verdicts may be believed: both rules on dates without news, and on planted effects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from usjp_research.engine.design import Floats, Ints
from usjp_research.engine.evidence import BLOCKS, SEED, held_out_size
from usjp_research.engine.placebo import (
    Leg,
    Placebo,
    admissible_shifts,
    family_detectable,
    own_days,
    quantile,
)
from usjp_research.market.donors import DONOR, Donors
from usjp_research.market.record import Dropped
from usjp_research.study.answer import family_legs
from usjp_research.study.quiet import TABLE, quiet_candidates
from usjp_research.study.sample import Sample
from usjp_research.study.second import ASSURANCE, assurance, second_rows
from usjp_research.words import InputError

FEWEST, SPARE = 200, 4  # random calendars that say anything; times as many are drawn
MULTIPLES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)  # of the MDE, planted
HALVES = "its own calendars, the law from the other half of the dates"
SIZE = ("test", "panel", "rows", "rows_error", "families", "families_error", "calendars")
POWER = ("multiple", "planted", "recovered", "found", "found_error", "promised")


class Method(NamedTuple):
    """What the rules do where nothing happened or something was planted, and what cannot be tried.

    Tables of decimals: columns `SIZE` and `POWER`, as `assurance` and as `quiet_candidates` give.
    """

    size: pd.DataFrame
    power: pd.DataFrame
    assurance: pd.DataFrame
    candidates: pd.DataFrame
    dropped: tuple[Dropped, ...]


def check_method(data: Sample, donors: Donors | None = None) -> Method:
    """Try both rules on dates without news: how often they reject, and what they would find.

    Random groups of ``donors`` stand in for the sectors where those are single firms. Raises
    `InputError` when the first rule itself cannot be computed; what else cannot is in ``dropped``.
    """
    rule, legs = data.spec.rule, family_legs(data)
    laws, days = [data.law(legs)], [leg.day0 for own in legs.values() for leg in own]
    second = second_rows(data, laws[0].shifts)
    laws += [second.law] if second and second.rows else []
    sizes: list[tuple[object, ...]] = []
    for k, law in enumerate(laws, 1):
        size = held_out_size(law.null_statistic, rule.alpha, max(days) - min(days))
        sizes.append((f"rule {k}", HALVES, size.row, np.nan, size.family, size.error, len(law)))
    power, table, dropped = list[Any](), pd.DataFrame(columns=list(TABLE)), list[Dropped]()
    try:
        trials = random_calendars(data, donors)
        sizes, power = [*sizes, trials.size()], [*trials.power(rule.alpha, rule.power)]
    except InputError as error:
        dropped.append(Dropped("method", "random calendars", str(error)))
    try:
        table = quiet_candidates(data).table
    except InputError as error:
        dropped.append(Dropped("method", "controls", str(error)))
    return Method(
        pd.DataFrame(sizes, columns=list(SIZE)),
        pd.DataFrame(power, columns=list(POWER)),
        assurance(second) if second else pd.DataFrame(columns=list(ASSURANCE)),
        table,
        (*(second.dropped if second else ()), *dropped),
    )


class RandomCalendars(NamedTuple):
    """The first rule on calendars whose days were drawn one by one, by its law on other dates.

    ``days`` (n_calendars, n_events) are places of day 0; ``away`` and ``error`` (n_calendars,
    n_groups) S less its mean and the guarded error; ``alone`` (n_calendars, n_groups) and ``joint``
    (n_calendars,) how far the law lets S lie from its mean, alone and as a family.
    """

    panel: str
    days: Ints
    away: Floats
    error: Floats
    alone: Floats
    joint: Floats
    law: Placebo

    def size(self) -> tuple[object, ...]:
        """Say how often single groups, and at least one of them, are rejected: `SIZE`."""
        rows = (np.abs(self.away) > self.alone).mean(axis=1)
        families = np.abs(self.away).max(axis=1) > self.joint
        numbers = (rows.mean(), self._error(rows), families.mean(), self._error(families))
        return ("rule 1", self.panel, *numbers, len(rows))

    def power(self, alpha: float, power: float) -> Iterator[tuple[float, ...]]:
        """Add multiples of the MDE to the sums: what is found, and what was promised: `POWER`."""
        law = self.law.null_statistic - self.law.center
        critical, mde = family_detectable(law, alpha, power)
        for multiple in MULTIPLES:
            moved, planted = self.away + multiple * mde, multiple * (mde * self.error).mean()
            found = (np.abs(moved) > self.joint[:, None]).mean(axis=1)
            recovered = (moved * self.error).mean() / planted if multiple else np.nan
            promised = float((np.abs(law + multiple * mde) > critical).mean())
            yield multiple, planted, recovered, found.mean(), self._error(found), promised

    def _error(self, values: Any) -> float:
        """Leave out each tenth of the days in turn, with its calendars: a standard error."""
        parts = np.array_split(np.unique(self.days), BLOCKS)
        left = [pd.Series(values[~np.isin(self.days, p).any(axis=1)]).mean() for p in parts]
        return float(np.sqrt((BLOCKS - 1) * np.var(left)))


def random_calendars(
    data: Sample, donors: Donors | None = None, calendars: int = 2000
) -> RandomCalendars:
    """Run the first rule on calendars of days drawn one by one, each by its law on other dates.

    As many days as there are primary events, a window apart or more, none in a real window: their
    spacing is that of no shift. The law of a calendar is that of the shifts that share no day with
    it; its own windows are masked in estimation. Raises `InputError` when fewer than 200 are left
    of those that the rule itself would not refuse.
    """
    rule, real = data.spec.rule, family_legs(data)
    events = [data.panel.events[k] for k in data.panel.index("primary")]
    panel, returns = _portfolios(data, list(real), donors)
    legs = {s: tuple(replace(leg, series=s) for leg in own) for s, own in real.items()}
    law = data.law(legs, returns=returns)
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
    nulls = [law.null_statistic[row] for row in apart[kept]]
    center, error = np.array([null.mean(axis=0) for null in nulls]), np.sqrt(variance[kept])
    far = [np.abs(null - middle) for null, middle in zip(nulls, center, strict=True)]
    alone = np.array([[quantile(column, rule.alpha) for column in part.T] for part in far])
    joint = np.array([quantile(part.max(axis=1), rule.alpha) for part in far])
    away = effect[kept] / error - center
    return RandomCalendars(panel, days[kept], away, error, alone, joint, law)


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

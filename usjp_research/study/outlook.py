"""What a study could see, known before any event is read: its smallest visible move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from usjp_research.engine.placebo import admissible_shifts, enough, family_detectable
from usjp_research.market.record import Market
from usjp_research.spec.records import Spec
from usjp_research.study.answer import family_legs
from usjp_research.study.events import event_panel
from usjp_research.study.legs import why_silent
from usjp_research.study.sample import Sample, sample
from usjp_research.study.second import design_of, second_legs, yardstick
from usjp_research.study.verdict import worth


class Outlook(NamedTuple):
    """The smallest visible move of a sector and what its thesis is worth, as decimals."""

    sector: str
    mde: float
    implied: Mapping[str, float]
    reason: str = ""


def unread(spec: Spec, market: Market) -> Sample:
    """Return the sample of a market without its events: zero on every day of their windows.

    Nothing that is computed from it can hold a reaction; who has a return stays as it is.
    """
    quiet = event_panel(spec, market).masked
    returns = market.returns.copy()
    returns.loc[quiet] = returns.loc[quiet].where(returns.loc[quiet].isna(), 0.0)
    return sample(spec, replace(market, returns=returns))


def outlooks(data: Sample) -> tuple[Outlook, ...]:
    """Compute what every sector could show, on quiet calendars alone: no sum at the real dates.

    By the rule that gives the headline. The error is its mean over the quiet calendars, and the
    level that of the family, as in the study. Raises `InputError` when nothing can be tested.
    """
    rule, legs, tested = data.spec.rule, family_legs(data), False
    calendar = [leg for own in legs.values() for leg in own]
    silent = {s: why_silent(data, s) for s in data.spec.sectors if s not in legs}
    if rule.second:
        second, reasons = second_legs(data)
        legs, silent, tested = (second, reasons, True) if second else (legs, silent, False)
    shifts = admissible_shifts(calendar, data.panel.masked, rule)
    sums = []
    for sector, own in legs.items():
        controls = rule.second.controls if rule.second else ()
        design = design_of(data, yardstick(data, sector), controls) if tested else data.design
        sums.append(data.sums([own], shifts, design=design, calendar=calendar)[:2, :, 0])
    effect, error = np.stack(sums, axis=-1) ** np.array([1, 0.5])[:, None, None]
    whole = np.isfinite(effect + error).all(axis=1) & (error > 0).all(axis=1)
    enough(int(whole.sum()), rule, "quiet calendars with complete returns")
    away = effect[whole] / error[whole]
    _, sizes = family_detectable(away - away.mean(axis=0), rule.alpha, rule.power)
    mde = dict(zip(legs, sizes * error[whole].mean(axis=0), strict=True))
    return tuple(
        Outlook(s, mde.get(s, np.nan), worth(data, s, tested=tested).share, silent.get(s, ""))
        for s in data.spec.sectors
    )

"""What the sectors did since the thesis was published, beside quiet windows of the same length."""

from __future__ import annotations

import numpy as np
import pandas as pd

from usjp_research.engine.design import MODELS, expected_return_design
from usjp_research.market.record import Dropped
from usjp_research.study.reactions import EventPaths
from usjp_research.study.sample import Sample

SINCE = (
    *("sector", "first", "last", "sessions", "moved", "beta", "placebo_mean", "placebo_low"),
    *("placebo_high", "windows", "independent"),
)


def since_note(
    data: Sample,
) -> tuple[pd.DataFrame, tuple[EventPaths, ...], tuple[Dropped, ...]]:
    """Sum each sector's return less beta times the market's since the note: descriptive.

    Without the intercept: what a sector gained a day before the events, extrapolated, would be most
    of what is found. Windows of the same length that end before the first event make the band.

    Returns
    -------
    table : DataFrame
        One row per sector, columns `SINCE`: ``moved`` as a decimal, the mean and the middle
        1 - alpha of the placebo windows, how many they are, and how many would fit side by side.
    paths : tuple of EventPaths
        The same sums session by session, one path per sector.
    dropped : tuple of Dropped
        Why there is no such row.
    """
    rule, panel = data.spec.rule, data.panel
    place = panel.position(rule.note) if rule.note else None
    if place is None:
        why = panel.why(rule.note) if rule.note else "study.yaml names no 'note'"
        return (
            pd.DataFrame(columns=list(SINCE)),
            (),
            (Dropped("since the note", rule.note or "note", why),),
        )
    start = int(panel.day0[place])
    length = len(data.market.dates) - start
    quiet = int(np.flatnonzero(panel.masked)[0])
    first = rule.estimation.sessions + rule.estimation.ends_before
    starts = np.arange(first, quiet - length + 1)
    if len(starts) < 2:
        why = f"no quiet stretch of {length} sessions lies before the first event"
        return pd.DataFrame(columns=list(SINCE)), (), (Dropped("since the note", rule.note, why),)
    series = [f"sector/{sector}" for sector in data.spec.sectors]
    model = rule.model if "market" in MODELS[rule.model].needs else "market"
    design = expected_return_design(model, {"market": data.portfolios.benchmark})
    beta = data.forecast(data.portfolios.array(series), window=(0, 0), design=design).beta
    less = np.arange(length)
    span = np.r_[start, starts][:, None] + less
    market, own = data.portfolios.benchmark[span], data.portfolios.array(series)[span]
    moved = (own - beta[span[:, 0], None, :] * market[..., None]).cumsum(axis=1)
    paths = moved[1:]
    low, high = np.nanquantile(paths, [rule.alpha / 2, 1 - rule.alpha / 2], axis=0)
    mean = np.nanmean(paths, axis=0)
    days = [str(data.market.dates[at].date()) for at in (start, -1)]
    table, followed = [], []
    for at, sector in enumerate(data.spec.sectors):
        band = (mean[-1, at], low[-1, at], high[-1, at])
        side = (quiet - first) / length
        own = (sector, *days, length, moved[0, -1, at], beta[start, at])
        table.append((*own, *band, len(starts), side))
        followed.append(
            EventPaths(
                sector=sector,
                events=(rule.note,),
                sessions=(days[0],),
                window=(0, length - 1),
                offsets=less,
                paths=moved[:1, :, at],
                low=low[None, :, at],
                high=high[None, :, at],
                level=1 - rule.alpha,
                shifts=len(starts),
            )
        )
    return pd.DataFrame(table, columns=list(SINCE)), tuple(followed), ()

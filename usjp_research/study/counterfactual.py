"""One sector's statistic against every counterfactual: its course without the news."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from usjp_research.engine.design import MODELS, Bools, Design, Floats, Ints, expected_return_design
from usjp_research.engine.matched import FEWEST, Match, Method, matched_forecast
from usjp_research.engine.placebo import Leg, Placebo, no_law
from usjp_research.engine.rolling import Forecast, rolling_forecast
from usjp_research.market.donors import Donors
from usjp_research.market.factors import Factors
from usjp_research.market.record import Dropped
from usjp_research.study.legs import common_sign, event_legs, laid_out, why_silent
from usjp_research.study.sample import Sample, lacking
from usjp_research.study.second import calendar_of
from usjp_research.words import InputError, card, label, level

Row = dict[str, Any]

TESTED = ("effect", "low", "high", "p")
NUMBERS = (*TESTED, "shifts", "rmse", "r2", "spread", "gap")
ALIKE = 0.05  # daily errors that differ by less are about the same
POOR = "poor: further from the sector than the rule's model"
EXACT = "exact fit: not believed"
MEAN = "market model on firms outside the sectors"
NEAR, CONVEX = "nearest donors", "synthetic control"
NO_FACTORS = "needs French's daily factors: --factors FILE"
SAME = 0.999  # R squared from which a stand-in is the sector itself


@dataclass(frozen=True, slots=True)
class Counterfactuals:
    """A sector's signed sum over the primary events against each expected-return model."""

    sector: str
    rows: pd.DataFrame
    weights: pd.DataFrame  # model, event, donor, weight at the real dates, largest first
    alpha: float
    dropped: tuple[Dropped, ...] = ()

    def _repr_html_(self) -> str:
        done = f"{(self.rows['reason'] == '').sum()} of {len(self.rows)} models computed"
        each = f"intervals of {level(self.alpha)}, each alone"
        return card("Counterfactuals", label(self.sector), done, each)


@dataclass(frozen=True, slots=True)
class Stand:
    """What stands in for the sector: a design, a way of matching donors, or why neither can."""

    title: str
    design: Design | None = None
    method: Method | None = None
    reason: str = ""
    factors: tuple[str, ...] = ()


def counterfactuals(
    data: Sample, sector: str, *, factors: Factors | None = None, donors: Donors | None = None
) -> Counterfactuals:
    """Compute a sector's statistic against every counterfactual that the data allow.

    The same signed sum over the primary events, placebo calendars, masks and guard as the rule;
    only the expected return changes: the models of `MODELS`, market models on the mean of the
    other sectors (what the news did to all alike is not seen) and on that of the donors, and
    *nearest donors* and *synthetic control* as `matched_forecast` fits them anew in every
    estimation window. Inference is by placebo dates of the whole sector, as a reassigned firm is
    not a reassigned sector; a row uses the calendars on which its own returns are complete. A
    sector that has nothing to test gets one row, with the reason.

    Returns
    -------
    Counterfactuals
        Its ``rows``, one per model, the rule's first: the ``sign`` expected of every event (0
        when they differ), ``effect`` in that direction with ``low``, ``high`` and placebo ``p``
        of this row alone, ``shifts``; ``rmse``, the daily error before the events, corrected for
        fitted parameters, and ``r2`` from it; ``spread``, the standard deviation of the effect on
        quiet dates; ``gap``, the largest relative duality gap; ``fit`` in words. Decimals; an
        effect is missing where ``reason`` says why, or where the fit is the sector itself.

    References
    ----------
    Abadie, Diamond and Hainmueller (2010), Journal of the American Statistical Association 105,
    493-505; Goldsmith-Pinkham and Lyu (2025), arXiv 2511.15123.

    Examples
    --------
    >>> counterfactuals(data, "rail").rows                          # doctest: +SKIP
    """
    data.spec.members(sector)
    legs = event_legs(data, sector)
    donors, dropped = _outsiders(donors, sector)
    dropped = [*(factors.dropped if factors else ()), *dropped]
    title = f"the rule: {MODELS[data.spec.rule.model].title}"
    if legs:
        stands = [Stand(title, data.design), *_stands(data, sector, factors, donors)]
    else:
        stands, dropped = [Stand(title, reason=why_silent(data, sector))], []
    start = {"sector": sector, "sign": common_sign(legs), **dict.fromkeys(NUMBERS, np.nan)}
    rows, used = list[Row](), list[Row]()
    for stand in stands:
        found, mine, _ = _row(data, sector, legs, stand, donors)
        rows.append({"model": stand.title, **start, "reason": "", **found})
        used += mine
        if reason := rows[-1]["reason"]:
            dropped.append(Dropped("counterfactual", f"{sector}: {stand.title}", reason))
    frame = pd.DataFrame(rows)
    frame["fit"] = [_fit_words(row, rows[0]) for row in rows]
    weights = pd.DataFrame(used, columns=["model", "event", "donor", "weight"])
    return Counterfactuals(sector, frame, weights, data.spec.rule.alpha, tuple(dropped))


def _outsiders(donors: Donors | None, sector: str) -> tuple[Donors | None, list[Dropped]]:
    """Leave out donors that are made of another sector's firms: they are no outsiders."""
    if donors is None:
        return None, []
    others = {name: key for name, key in donors.inside.items() if key != sector}
    reason = "moves as the firms of sector '{}' do: no outsider"
    notes = [Dropped("donor", name, reason.format(key)) for name, key in others.items()]
    left = replace(donors, returns=donors.returns.drop(columns=list(others)))
    return left, [*donors.dropped, *notes]


def _stands(
    data: Sample, sector: str, factors: Factors | None, donors: Donors | None
) -> Iterator[Stand]:
    """List what can stand in for the sector besides the rule's model."""
    made, models = data.portfolios, [*model_stands(data, factors)]
    yield from (stand for stand in models if not stand.factors)
    rest = [f"sector/{key}" for key in data.spec.sectors if key != sector]
    rest = [series for series in rest if made.returns[series].notna().any()]
    title = "market model on the other sectors"
    if len(rest) < FEWEST:
        yield Stand(title, reason=f"fewer than {FEWEST} other sectors")
    else:
        yield Stand(title, _on_mean(made.array(rest)))
    if donors is None or donors.returns.shape[1] < FEWEST:
        reason = donors.reason if donors else ""
        reason = reason or f"fewer than {FEWEST} donors: give --donors FILE"
        yield from (Stand(title, reason=reason) for title in (MEAN, NEAR, CONVEX))
    else:
        yield Stand(MEAN, _on_mean(donors.returns.to_numpy("float64")))
        yield Stand(NEAR, method="nearest")
        yield Stand(CONVEX, method="synthetic")
    yield from (stand for stand in models if stand.factors)


def model_stands(data: Sample, factors: Factors | None) -> Iterator[Stand]:
    """List the models of `MODELS` besides the rule's that have a regressor."""
    factors = factors or Factors(pd.DataFrame(), "", reason=NO_FACTORS)
    for key, model in MODELS.items():
        if not model.needs or key == data.spec.rule.model:
            continue
        if reason := lacking(key, factors):
            yield Stand(model.title, reason=reason, factors=model.factors)
        else:
            columns = {name: factors.returns[name].to_numpy("float64") for name in model.factors}
            design = expected_return_design(key, columns or {"market": data.portfolios.benchmark})
            yield Stand(model.title, design, factors=model.factors)


def _on_mean(returns: Floats) -> Design:
    return expected_return_design("market", {"market": returns.mean(axis=1)})


def synthetic_law(data: Sample, sector: str, legs: Sequence[Leg], donors: Donors) -> Placebo:
    """Compute a sector's law against a synthetic control; without numbers it says why."""
    outside, _ = _outsiders(donors, sector)
    stand = next(found for found in _stands(data, sector, None, outside) if found.title == CONVEX)
    return _row(data, sector, legs, stand, outside)[2]


def _row(
    data: Sample, sector: str, legs: Sequence[Leg], stand: Stand, donors: Donors | None
) -> tuple[Row, list[Row], Placebo]:
    """Compute one row, the donors that made it at the real dates, and its law; or why not."""
    try:
        return _numbers(data, sector, legs, stand, donors)
    except InputError as error:
        return {"reason": str(error)}, [], no_law(sector, str(error))


def _numbers(
    data: Sample, sector: str, legs: Sequence[Leg], stand: Stand, donors: Donors | None
) -> tuple[Row, list[Row], Placebo]:
    if stand.reason:
        raise InputError(stand.reason)
    seen: list[tuple[int, float, Match | None]] = []  # real day, residual variance, match

    def watched(returns: Floats, masked: Bools, *, days: Ints, **plan: Any) -> Forecast:
        """Forecast, and note what the forecast is like at the real date, the first of the days."""
        match = None
        if stand.method and donors:
            values, market = donors.returns.to_numpy("float64"), data.portfolios.benchmark
            how = {"days": days, "method": stand.method, **plan}
            forecast, match = matched_forecast(returns, values, market, masked, **how)
        else:
            forecast = rolling_forecast(returns, stand.design or data.design, masked, **plan)
        day = int(days[0])
        seen.append((day, float(forecast.residual_variance[day].mean()), match))
        return forecast

    law, rows = laid_out(data, {sector: legs}, calendar=calendar_of(data), forecast=watched)
    residual = float(np.mean([variance for _, variance, _ in seen]))
    row: Row = {name: float(rows[name].iloc[0]) for name in TESTED} | {
        "shifts": len(law),
        "rmse": residual**0.5,
        "r2": 1 - residual / _own_variance(data, legs),
        "spread": float(law.null_effect[:, 0].std(ddof=1)),
        "gap": max((match.gap for *_, match in seen if match), default=np.nan),
    }
    names = [str(name) for name in donors.returns.columns] if donors else []
    events = {leg.day0: leg.event for leg in legs}
    used: list[Row] = []
    for day, _, match in seen:
        weights = match.weights[0] if match else np.zeros(0)
        for j in np.argsort(-weights, kind="stable"):
            if weights[j] > 0:
                own = {"event": events[day], "donor": names[j].rpartition("/")[2]}
                used.append({"model": stand.title, **own, "weight": float(weights[j])})
    donated = names if stand.title == MEAN else [item["donor"] for item in used]
    copies = [name for name in donated if donors and name in donors.inside]
    if copies or row["r2"] >= SAME:
        row |= dict.fromkeys(TESTED, np.nan)
        row["reason"] = _exact_words(copies or [item["donor"] for item in used])
        law = no_law(sector, row["reason"])
    return row, used, law


def _own_variance(data: Sample, legs: Sequence[Leg]) -> float:
    """Return the sector's own variance in the estimation windows, for R squared."""
    mean, array = expected_return_design("mean", {}, len(data.panel.masked)), data.portfolios.array
    fits = [data.forecast(array([leg.series]), design=mean, window=leg.window) for leg in legs]
    own = [fit.residual_variance[leg.day0, 0] for fit, leg in zip(fits, legs, strict=True)]
    return float(np.mean(own))


def _exact_words(donors: Sequence[str]) -> str:
    if not (names := list(dict.fromkeys(donors))):
        return f"{EXACT}; what it is compared with is the sector itself"
    some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{EXACT}; {some} is the sector itself or holds it: leave it out of the donors"


def _fit_words(row: Row, rule: Row) -> str:
    if row["reason"]:
        return EXACT if row["reason"].startswith(EXACT) else ""
    if row is rule:
        return "what the others are compared with"
    if not row["rmse"] <= (1 + ALIKE) * rule["rmse"]:
        return POOR
    if not row["rmse"] < (1 - ALIKE) * rule["rmse"]:
        return "about as close as the rule's model"
    if not row["spread"] <= rule["spread"]:
        return "closer before the events, no closer on quiet dates"
    return "closer than the rule's model"

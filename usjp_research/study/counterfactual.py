"""One sector's statistic against every counterfactual: its course without the news."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from usjp_research.engine.design import FACTOR_MODELS, MODEL_FACTORS
from usjp_research.engine.matched import FEWEST, Match, Method, matched_forecast
from usjp_research.engine.placebo import Leg, Placebo, admissible_shifts, placebo_law, quantile
from usjp_research.engine.rolling import Forecast, rolling_forecast, rolling_regression
from usjp_research.market.donors import Donors
from usjp_research.market.factors import Factors
from usjp_research.market.record import Dropped
from usjp_research.spec.records import Spec
from usjp_research.study.events import EventPanel
from usjp_research.study.legs import common_sign, event_legs, why_silent
from usjp_research.study.portfolios import Portfolios
from usjp_research.study.sample import Sample
from usjp_research.words import InputError, card, label, level

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Expected = Callable[..., tuple[Forecast, Match | None]]

NUMBERS = ("effect", "low", "high", "p", "shifts", "rmse", "r2", "spread", "gap")
MODEL_WORDS = {"market": "market model", "market_adjusted": "the market itself"}
ALIKE = 0.05  # daily errors that differ by less are about the same
POOR = "poor: further from the sector than the rule's model"
EXACT = "exact fit: not believed"
MEAN = "market model on firms outside the sectors"
SAME = 0.999  # R squared from which a stand-in is the sector itself


@dataclass(frozen=True, slots=True)
class Counterfactuals:
    """A sector's signed sum over the primary events against each expected-return model.

    Attributes
    ----------
    rows : DataFrame
        One row per model, the rule's first: the ``sign`` that is expected of every event (0 when
        they differ), ``effect`` in that direction with its interval ``low``, ``high`` and
        placebo ``p`` (of this row alone), ``shifts``; ``rmse``, the daily error before the
        events, corrected for fitted parameters, and ``r2`` from it; ``spread``, the standard
        deviation of the effect on quiet dates; ``gap``, the largest relative duality gap;
        ``fit`` in words. Decimals. Where a row could not be computed, or fits so exactly that it
        is the sector itself, its effect is missing and ``reason`` says why.
    weights : DataFrame
        ``model``, ``event``, ``donor`` and ``weight`` at the real dates, largest first.
    alpha : float
        The share of the placebo law that the intervals leave out.
    """

    sector: str
    rows: pd.DataFrame
    weights: pd.DataFrame
    alpha: float
    dropped: tuple[Dropped, ...] = ()

    def _repr_html_(self) -> str:
        done = int((self.rows["reason"] == "").sum())
        return card(
            "Counterfactuals",
            label(self.sector),
            f"{done} of {len(self.rows)} models computed",
            f"intervals of {level(self.alpha)}, each alone",
        )


@dataclass(frozen=True, slots=True)
class _Version:
    """An expected-return model, or the reason why there is none."""

    model: str
    expected: Expected | None = None
    riskless: Floats | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a forecast showed at a real date."""

    day: int
    residual_variance: float
    match: Match | None


def counterfactuals(
    data: Sample,
    sector: str,
    *,
    factors: Factors | None = None,
    donors: Donors | None = None,
) -> Counterfactuals:
    """Compute a sector's statistic against every counterfactual that the data allow.

    The same signed sum over the primary events, the same placebo calendars, masks and guard as
    the rule; only the expected return changes:

    - the rule's model, and the market itself (or the market model, when that is the rule's);
    - *the other sectors*: the market model on the mean of the other sectors' portfolios, a
      market without the sector; what the news did to all of them alike is not seen;
    - *firms outside the sectors*: the market model on the mean of the donors, a market without
      any of the sectors, equally weighted;
    - *nearest donors* and *synthetic control*: as `matched_forecast` describes them, fitted
      anew in every estimation window, so that quiet dates are treated as the real ones are;
    - French's factors, on returns over the riskless rate.

    Inference is by placebo dates of the whole sector. Random firms would not do: firms of a
    sector share their shock, and a reassigned firm is not a reassigned sector. A row uses the
    placebo calendars on which its own returns are complete, and says how many. A sector that
    has nothing to test gets one row, with the reason.

    Parameters
    ----------
    data : Sample
    sector : str
    factors : Factors, optional
        As `read_factors` gives them on the market's days.
    donors : Donors, optional
        As `load_donors` gives them.

    Returns
    -------
    Counterfactuals

    Raises
    ------
    InputError
        When the sector is unknown.

    References
    ----------
    Abadie, Diamond and Hainmueller (2010), Journal of the American Statistical Association 105,
    493-505; Goldsmith-Pinkham and Lyu (2025), arXiv 2511.15123.

    Examples
    --------
    >>> donors = load_donors(spec, market)                          # doctest: +SKIP
    >>> counterfactuals(data, "rail", donors=donors).rows            # doctest: +SKIP
    """
    spec, panel, made = data.spec, data.panel, data.portfolios
    spec.members(sector)
    every = {key: event_legs(data, key) for key in spec.sectors}
    legs = every[sector]
    if not legs:
        return _nothing(spec, sector, why_silent(data, sector))
    sign = common_sign(legs)
    calendar = [leg for found in every.values() for leg in found]
    shifts = admissible_shifts(calendar, panel.masked, spec.rule)
    around = _around(made, panel, spec, legs)
    donors, strangers = _outsiders(donors, sector)
    names = [str(name) for name in donors.returns.columns] if donors else []
    rows: list[dict[str, object]] = []
    used: list[dict[str, object]] = []
    dropped = [*(factors.dropped if factors else ()), *(donors.dropped if donors else ())]
    dropped += strangers
    for version in _versions(spec, made, sector, factors, donors):
        row: dict[str, object] = {"model": version.model, "sector": sector, "sign": sign}
        row |= dict.fromkeys(NUMBERS, np.nan) | {"reason": version.reason}
        if version.expected is not None:
            seen: list[_Seen] = []
            try:
                law = placebo_law(
                    {sector: legs},
                    _over(made, version.riskless),
                    made.benchmark,
                    panel.masked,
                    spec.rule,
                    calendar=calendar,
                    shifts=shifts,
                    forecast=partial(_watched, version.expected, seen),
                )
                row |= _numbers(law, spec.rule.alpha, seen, around)
                mine = _used(version.model, legs, seen, names)
                used += mine
                donated = names if version.model == MEAN else [item["donor"] for item in mine]
                copies = [str(x) for x in donated if donors and x in donors.inside]
                if copies or float(str(row["r2"])) >= SAME:
                    row |= dict.fromkeys(("effect", "low", "high", "p"), np.nan)
                    row["reason"] = _exact_words(copies, mine)
            except InputError as error:
                row["reason"] = str(error)
        if row["reason"]:
            what = f"{sector}: {version.model}"
            dropped.append(Dropped("counterfactual", what, str(row["reason"])))
        rows.append(row)
    frame = pd.DataFrame(rows)
    rule = frame.iloc[0]
    frame["fit"] = [_fit_words(row, rule, k == 0) for k, row in frame.iterrows()]
    weights = pd.DataFrame(used, columns=["model", "event", "donor", "weight"])
    return Counterfactuals(sector, frame, weights, spec.rule.alpha, tuple(dropped))


def _nothing(spec: Spec, sector: str, reason: str) -> Counterfactuals:
    model = f"the rule: {MODEL_WORDS[spec.rule.model]}"
    row = {"model": model, "sector": sector, "sign": 0} | dict.fromkeys(NUMBERS, np.nan)
    rows = pd.DataFrame([row | {"reason": reason, "fit": ""}])
    weights = pd.DataFrame(columns=["model", "event", "donor", "weight"])
    dropped = (Dropped("counterfactual", f"{sector}: {model}", reason),)
    return Counterfactuals(sector, rows, weights, spec.rule.alpha, dropped)


# --- models ----------------------------------------------------------------------------------


def _versions(
    spec: Spec, made: Portfolios, sector: str, factors: Factors | None, donors: Donors | None
) -> list[_Version]:
    words = MODEL_WORDS
    other = "market" if spec.rule.model == "market_adjusted" else "market_adjusted"
    found = [
        _Version(f"the rule: {words[spec.rule.model]}", _on(made.benchmark, spec.rule.model)),
        _Version(words[other], _on(made.benchmark, other)),
    ]
    rest = [f"sector/{key}" for key in spec.sectors if key != sector]
    rest = [series for series in rest if made.returns[series].notna().any()]
    name = "market model on the other sectors"
    if len(rest) < FEWEST:
        found.append(_Version(name, reason=f"fewer than {FEWEST} other sectors"))
    else:
        found.append(_Version(name, _on(made.array(rest).mean(axis=1))))
    return [*found, *_donor_versions(made, donors), *_factor_versions(factors)]


def _outsiders(donors: Donors | None, sector: str) -> tuple[Donors | None, list[Dropped]]:
    """Leave out donors that are made of another sector's firms: they are no outsiders."""
    others = {n: key for n, key in donors.inside.items() if key != sector} if donors else {}
    if donors is None or not others:
        return donors, []
    reason = "moves as the firms of sector '{}' do: no outsider"
    notes = [Dropped("donor", name, reason.format(key)) for name, key in others.items()]
    return replace(donors, returns=donors.returns.drop(columns=list(others))), notes


def _donor_versions(made: Portfolios, donors: Donors | None) -> list[_Version]:
    mean, near, convex = MEAN, "nearest donors", "synthetic control"
    if donors is None or donors.returns.shape[1] < FEWEST:
        reason = donors.reason if donors else ""
        reason = reason or f"fewer than {FEWEST} donors: give --donors FILE"
        return [_Version(name, reason=reason) for name in (mean, near, convex)]
    values = donors.returns.to_numpy("float64")

    def matched(method: Method) -> Expected:
        def expected(returns: Floats, masked: Bools, **plan: Any) -> tuple[Forecast, Match]:
            return matched_forecast(returns, values, made.benchmark, masked, method=method, **plan)

        return expected

    return [
        _Version(mean, _on(values.mean(axis=1))),
        _Version(near, matched("nearest")),
        _Version(convex, matched("synthetic")),
    ]


def _factor_versions(factors: Factors | None) -> list[_Version]:
    found = []
    for key, name in FACTOR_MODELS.items():
        columns = MODEL_FACTORS[key]
        if factors is None or factors.reason:
            reason = factors.reason if factors else "needs French's daily factors: --factors FILE"
            found.append(_Version(name, reason=reason))
        elif absent := [column for column in columns if column not in factors.returns]:
            reason = f"{factors.source} has no column {', '.join(absent)}"
            found.append(_Version(name, reason=reason))
        else:
            values = factors.returns[list(columns)].to_numpy("float64")
            found.append(
                _Version(name, _regressed(values), factors.returns["rf"].to_numpy("float64"))
            )
    return found


def _on(benchmark: Floats, model: str = "market") -> Expected:
    def expected(
        returns: Floats, masked: Bools, *, days: object, **plan: Any
    ) -> tuple[Forecast, None]:
        return rolling_forecast(returns, benchmark, masked, model=model, **plan), None  # type: ignore[arg-type]

    return expected


def _regressed(values: Floats) -> Expected:
    def expected(
        returns: Floats, masked: Bools, *, days: object, **plan: Any
    ) -> tuple[Forecast, None]:
        return rolling_regression(returns, values, masked, **plan), None

    return expected


# --- rows ------------------------------------------------------------------------------------


def _watched(
    expected: Expected, seen: list[_Seen], returns: Floats, masked: Bools, **plan: Any
) -> Forecast:
    """Forecast, and note what the forecast is like at the real date, the first one asked for."""
    forecast, match = expected(returns, masked, **plan)
    day = int(plan["days"][0])
    seen.append(_Seen(day, float(forecast.residual_variance[day].mean()), match))
    return forecast


def _over(made: Portfolios, riskless: Floats | None) -> Callable[[Sequence[str]], Floats]:
    if riskless is None:
        return made.array
    return lambda names: np.asarray(made.array(names) - riskless[:, None])


def _around(made: Portfolios, panel: EventPanel, spec: Spec, legs: Sequence[Leg]) -> float:
    """Return the sector's own variance in the estimation windows, for R squared."""
    nothing = np.empty((len(made.benchmark), 0))
    return float(
        np.mean(
            [
                rolling_regression(
                    made.array([leg.series]),
                    nothing,
                    panel.masked,
                    window=leg.window,
                    estimation=spec.rule.estimation,
                ).residual_variance[leg.day0, 0]
                for leg in legs
            ]
        )
    )


def _numbers(law: Placebo, alpha: float, seen: Sequence[_Seen], around: float) -> dict[str, object]:
    error = float(law.error[0])
    middle = float(law.effect[0]) - float(law.center[0]) * error
    half = quantile(law.null_distance[:, 0], alpha) * error
    residual = float(np.mean([item.residual_variance for item in seen]))
    gaps = [item.match.gap for item in seen if item.match]
    return {
        "effect": float(law.effect[0]),
        "low": middle - half,
        "high": middle + half,
        "p": float(law.p[0]),
        "shifts": len(law),
        "rmse": residual**0.5,
        "r2": 1 - residual / around,
        "spread": float(law.null_effect[:, 0].std(ddof=1)),
        "gap": max(gaps) if gaps else np.nan,
    }


def _exact_words(copies: Sequence[str], used: Sequence[dict[str, object]]) -> str:
    names = list(dict.fromkeys(copies or [str(item["donor"]) for item in used]))
    if not names:
        return f"{EXACT}; what it is compared with is the sector itself"
    some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{EXACT}; {some} is the sector itself or holds it: leave it out of the donors"


def _fit_words(row: pd.Series, rule: pd.Series, is_rule: bool) -> str:
    if row["reason"]:
        return EXACT if str(row["reason"]).startswith(EXACT) else ""
    if is_rule:
        return "what the others are compared with"
    if not row["rmse"] <= (1 + ALIKE) * rule["rmse"]:
        return POOR
    if not row["rmse"] < (1 - ALIKE) * rule["rmse"]:
        return "about as close as the rule's model"
    if not row["spread"] <= rule["spread"]:
        return "closer before the events, no closer on quiet dates"
    return "closer than the rule's model"


def _used(
    model: str, legs: Sequence[Leg], seen: Sequence[_Seen], names: Sequence[str]
) -> list[dict[str, object]]:
    events = {leg.day0: leg.event for leg in legs}
    return [
        {
            "model": model,
            "event": events[item.day],
            "donor": names[j].rpartition("/")[2],
            "weight": float(weights[j]),
        }
        for item in seen
        if item.match
        for weights in item.match.weights[:1]
        for j in np.argsort(-weights, kind="stable")
        if weights[j] > 0
    ]

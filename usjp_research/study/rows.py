"""From a placebo law to verdict rows: intervals, adjusted p-values, detectable effects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

from usjp_research.engine.battery.inference import adjusted_p
from usjp_research.engine.placebo import Leg, Placebo, minimum_detectable, quantile, stepdown_p
from usjp_research.spec.records import Spec
from usjp_research.study.legs import common_sign
from usjp_research.study.portfolios import Portfolios
from usjp_research.study.verdict import (
    CASES,
    NO_VERDICT,
    Implied,
    Verdict,
    breakeven_share,
    decide,
    headed,
    headline,
    implied_value,
)

NUMBERS = tuple(item.name for item in fields(Verdict) if item.type == "float")


def family_rows(
    spec: Spec,
    made: Portfolios,
    legs: Mapping[str, Sequence[Leg]],
    null: Placebo,
    kind: str,
) -> tuple[Verdict, ...]:
    """Judge every sector of a family under one simultaneous interval.

    Parameters
    ----------
    spec : Spec
    made : Portfolios
    legs : mapping of sector to sequence of Leg
        The windows that each sector's statistic sums.
    null : Placebo
        Their joint law.
    kind : str
        What these rows are, such as ``sector`` or ``leak-inclusive``.

    Returns
    -------
    tuple of Verdict
        In the order of ``null.groups``.
    """
    critical = quantile(null.null_distance.max(axis=1), spec.rule.alpha)
    stepdown = stepdown_p(null.distance, null.null_distance)
    holm, bh = adjusted_p(null.p, "holm"), adjusted_p(null.p, "bh")
    rows = []
    for g, sector in enumerate(null.groups):
        name = f"sector/{sector}"
        implied = implied_value(spec, made.members[name], made.values.get(name), sector=sector)
        events = tuple(dict.fromkeys(leg.event for leg in legs[sector]))
        adjusted = (float(stepdown[g]), float(holm[g]), float(bh[g]))
        row = verdict_row(spec, null, g, sector, kind, events, critical, adjusted, implied)
        rows.append(replace(row, sign=common_sign(legs[sector])))
    return tuple(rows)


def single_row(
    spec: Spec, null: Placebo, name: str, kind: str, events: tuple[str, ...], implied: Implied
) -> Verdict:
    """Judge one group as a family of its own; all its adjusted p-values are the placebo p."""
    critical = quantile(null.null_distance[:, 0], spec.rule.alpha)
    p = float(null.p[0])
    return verdict_row(spec, null, 0, name, kind, events, critical, (p, p, p), implied)


def verdict_row(
    spec: Spec,
    null: Placebo,
    g: int,
    name: str,
    kind: str,
    events: tuple[str, ...],
    critical: float,
    adjusted: tuple[float, float, float],
    implied: Implied,
) -> Verdict:
    """Judge one group of a law, given the half-width of its interval in standard errors."""
    effect, error, center = (float(x[g]) for x in (null.effect, null.error, null.center))
    middle = effect - center * error
    low, high = middle - critical * error, middle + critical * error
    alone = quantile(null.null_distance[:, g], spec.rule.alpha)
    deviation = null.null_statistic[:, g] - center
    mde = minimum_detectable(deviation, error, critical, spec.rule.power)
    row = Verdict(
        name=name,
        kind=kind,
        events=events,
        effect=effect,
        error=error,
        low=low,
        high=high,
        marginal_low=middle - alone * error,
        marginal_high=middle + alone * error,
        statistic=float(null.statistic[g]),
        center=center,
        critical=critical,
        p=float(null.p[g]),
        p_stepdown=adjusted[0],
        p_holm=adjusted[1],
        p_bh=adjusted[2],
        mde=mde,
        implied=implied,
        by_case={},
        headline="",
        reason="",
        remark="",
        excluded_usd_bn=high * implied.market_value if implied.market_value else None,
        breakeven_share=None,
        priced_share=None,
        priced_low=None,
        priced_high=None,
        effect_usd_bn=effect * implied.market_value if implied.market_value else None,
    )
    return judge(spec, row, implied)


def unjudged_row(spec: Spec, made: Portfolios, sector: str, kind: str, reason: str) -> Verdict:
    """Keep the row of a sector that cannot be judged: no number, and the reason as its verdict."""
    name = f"sector/{sector}"
    implied = implied_value(spec, made.members[name], made.values.get(name), sector=sector)
    nothing: dict[str, float] = dict.fromkeys(NUMBERS, math.nan)
    return Verdict(
        name=sector,
        kind=kind,
        events=(),
        **nothing,  # type: ignore[arg-type]
        implied=implied,
        by_case=dict.fromkeys(CASES, NO_VERDICT),
        headline=NO_VERDICT,
        reason=reason,
        remark="",
        excluded_usd_bn=None,
        breakeven_share=None,
        priced_share=None,
        priced_low=None,
        priced_high=None,
        effect_usd_bn=None,
    )


def judge(spec: Spec, row: Verdict, implied: Implied) -> Verdict:
    """Hold a row's interval against an implied value; the interval stays as it is."""
    if math.isnan(row.effect):
        return replace(row, implied=implied)
    by_case: dict[str, str] = {
        case: decide(row.low, row.high, implied.share.get(case)) for case in CASES
    }
    base = implied.share.get("base")
    priced = base is not None and base > 0
    judged = replace(
        row,
        implied=implied,
        by_case=by_case,
        headline=headline(by_case),
        reason=_reason(by_case["base"], base, row.mde),
        breakeven_share=breakeven_share(spec.thesis, implied, row.mde),
        priced_share=row.effect / base if priced and base else None,
        priced_low=row.low / base if priced and base else None,
        priced_high=row.high / base if priced and base else None,
    )
    return headed(judged, row.rests_on) if row.rests_on else judged


def _reason(verdict: str, implied: float | None, mde: float) -> str:
    if verdict != "cannot say" or implied is None:
        return ""
    return "too small to see" if abs(implied) < mde else "interval too wide"

"""Other versions of each statistic on the same shifts: they decide nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from usjp_research.engine.design import expected_return_design
from usjp_research.engine.placebo import Leg, Placebo, own_days, placebo_law, quantile
from usjp_research.engine.rolling import rolling_forecast
from usjp_research.market.record import MIRROR, Dropped
from usjp_research.spec.records import Spec
from usjp_research.study.events import EventPanel
from usjp_research.study.legs import common_sign, event_windows, share_days
from usjp_research.study.portfolios import Portfolios
from usjp_research.study.sample import Sample
from usjp_research.words import InputError


def other_versions(
    data: Sample,
    legs: Mapping[str, Sequence[Leg]],
    family: Placebo,
    missing: list[Dropped],
) -> pd.DataFrame:
    """Compute other versions of the statistic on the same shifts; they decide nothing."""
    spec, panel, made = data.spec, data.panel, data.portfolios
    alone = spec.rule.cleanest
    clean = {
        s: [leg for leg in event_windows(data, s, panel.index("primary")) if leg.event == alone]
        for s, found in legs.items()
        if any(leg.event == alone for leg in found)
    }
    versions: list[tuple[str, Mapping[str, Sequence[Leg]], dict[str, Any]]] = [
        ("the rule", legs, {}),
        ("without blackout", {s: _whole(found, s) for s, found in legs.items()}, {}),
        ("unsigned, all primary events", _unsigned(spec, panel, made, list(legs)), {}),
        ("no scaling", legs, {"variance": lambda fit: np.ones_like(fit.variance)}),
        ("forecast error only", legs, {"variance": lambda fit: fit.variance}),
        ("trailing variance only", legs, {"variance": lambda fit: fit.trailing}),
    ]
    if clean:
        versions.insert(3, (f"{alone} alone", clean, {}))
    if MIRROR in made.returns.columns:
        mirror = [
            Leg(panel.events[k].id, MIRROR, int(panel.day0[k]), spec.rule.window, 1)
            for k in panel.index("primary")
        ]
        versions.append(("mirror", {MIRROR: share_days(mirror)[0]}, {}))
    rows = []
    for name, groups, more in versions:
        try:
            null = placebo_law(
                groups,
                made.array,
                expected_return_design(spec.rule.model, {"market": made.benchmark}),
                panel.masked,
                spec.rule,
                shifts=family.shifts,
                **more,
            )
        except InputError as error:
            missing.append(Dropped("version", name, str(error)))
            continue
        for g, sector in enumerate(null.groups):
            half = quantile(null.null_distance[:, g], spec.rule.alpha) * float(null.error[g])
            middle = float(null.effect[g] - null.center[g] * null.error[g])
            rows.append(
                {
                    "version": name,
                    "sector": sector,
                    "sign": common_sign(groups[sector]),
                    "effect": float(null.effect[g]),
                    "marginal_low": middle - half,
                    "marginal_high": middle + half,
                    "p": float(null.p[g]),
                    "shifts": len(null),
                }
            )
    rows += _dispersion(spec, panel, made, legs, family)
    return pd.DataFrame(rows)


def _whole(legs: Sequence[Leg], sector: str) -> list[Leg]:
    return [replace(leg, series=f"sector/{sector}") for leg in legs]


def _unsigned(
    spec: Spec, panel: EventPanel, made: Portfolios, sectors: Sequence[str]
) -> dict[str, list[Leg]]:
    return {
        sector: list(
            share_days(
                [
                    Leg(panel.events[k].id, slot.series, int(panel.day0[k]), spec.rule.window, 1)
                    for k in panel.index("primary")
                    if (slot := made.slots[panel.events[k].id, sector]).series
                ]
            )[0]
        )
        for sector in sectors
    }


def _dispersion(
    spec: Spec,
    panel: EventPanel,
    made: Portfolios,
    legs: Mapping[str, Sequence[Leg]],
    family: Placebo,
) -> list[dict[str, object]]:
    """Scale by how far the sector's baskets lie apart in the window itself."""
    rows: list[dict[str, object]] = []
    moves = np.concatenate([[0], family.shifts])
    for g, sector in enumerate(family.groups):
        names = [name for name in made.members if name.startswith(f"basket/{sector}/")]
        if len(names) < 3 or sector not in legs:
            continue
        total = np.zeros(len(moves))
        for leg in legs[sector]:
            fit = rolling_forecast(
                made.array(names),
                expected_return_design(spec.rule.model, {"market": made.benchmark}),
                panel.masked,
                window=leg.window,
                estimation=spec.rule.estimation,
                moving_mask=[day - leg.day0 for day in own_days(legs[sector])],
            )
            total += (fit.car.var(axis=1, ddof=1) / len(names))[leg.day0 + moves]
        effect = np.concatenate([[family.effect[g]], family.null_effect[:, g]])
        scaled = effect / np.sqrt(total)
        good = np.isfinite(scaled[1:])
        if not np.isfinite(scaled[0]) or good.sum() < spec.rule.least_shifts:
            continue
        null = scaled[1:][good]
        beyond = int((np.abs(null - null.mean()) >= abs(scaled[0] - null.mean())).sum())
        rows.append(
            {
                "version": "dispersion of baskets, blackout firms included",
                "sector": sector,
                "sign": common_sign(legs[sector]),
                "effect": float(family.effect[g]),
                "marginal_low": None,
                "marginal_high": None,
                "p": (1 + beyond) / (1 + len(null)),
                "shifts": len(null),
            }
        )
    return rows

"""The rule's statistic on other windows, other events and in other versions: nothing decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from usjp_research.engine.placebo import Leg, Placebo, stepdown_p
from usjp_research.market.record import MIRROR, Dropped
from usjp_research.spec.checks import GENERIC, Check
from usjp_research.spec.records import Spec
from usjp_research.study.legs import common_sign, event_windows, name_sectors, share_days
from usjp_research.study.sample import Sample
from usjp_research.words import InputError

SAID = ("title", "priced", "unpriced", "wrong")
TIMING = (
    *("check", "sector", "events", "sessions", "sign", "effect", "low", "high", "p", "p_family"),
    *("mde", "shifts", "independent", *SAID),
)
VARIANTS = ("version", "sector", "sign", "effect", "marginal_low", "marginal_high", "p", "shifts")
NO_EVENT = "no event with an expected sign and a day 0 of its own lies inside the data"


@dataclass(frozen=True, slots=True)
class Variation:
    """Windows by group, how their law is computed, and which events are not in it."""

    key: str
    title: str
    groups: Mapping[str, Sequence[Leg]]
    how: Mapping[str, Any] = field(default_factory=dict)
    lost: tuple[Dropped, ...] = ()


def _computed(
    data: Sample, what: str, variations: Iterable[Variation]
) -> tuple[list[tuple[Variation, Placebo, pd.DataFrame]], tuple[Dropped, ...]]:
    """Lay out the law of every variation, each group alone, and say which have none."""
    rule, found, dropped = data.spec.rule, [], list[Dropped]()
    for item in variations:
        dropped += item.lost
        try:
            if not item.groups:
                raise InputError(NO_EVENT)
            law = data.law(item.groups, **item.how)
        except InputError as error:
            dropped.append(Dropped(what, item.title, str(error)))
            continue
        rows = law.table(rule.alpha, rule.power, family=False)
        signs = [common_sign(item.groups[name]) for name in law.groups]
        found.append((item, law, rows.assign(sector=law.groups, sign=signs)))
    return found, tuple(dropped)


# --- before and after ------------------------------------------------------------------------


def before_and_after(data: Sample) -> tuple[pd.DataFrame, tuple[Dropped, ...]]:
    """Compute every check of ``checks.csv`` on its own placebo shifts.

    Each trading day counts once, for the latest event that reaches it, and not at all where
    windows of both signs meet; days inside a primary event's window belong to the event and to no
    other check. Estimation ends where the event's
    own estimation ends, so that a window after the event is out of sample.

    Parameters
    ----------
    data : Sample

    Returns
    -------
    timing : DataFrame
        One row per check and sector (and the mirror basket): ``sign`` that is expected of all
        its windows, 0 where they differ, ``effect`` in that direction and marginal interval
        ``low``, ``high`` as decimals, placebo ``p``, ``p_family`` adjusted over the sectors of
        the check (step-down), ``mde``, how many ``sessions`` it sums, its ``shifts`` and what
        they are worth as ``independent`` draws. With fewer of those than 1 / alpha there is an
        effect and nothing else. Last the check's ``title`` and what it would show if the thesis
        is right and ``priced``, right and ``unpriced``, or ``wrong``.
    dropped : tuple of Dropped
        Events that a check leaves out, and checks that cannot be computed.

    Examples
    --------
    >>> timing, dropped = before_and_after(data)                    # doctest: +SKIP
    """
    checks = {check.key: check for check in checks_of(data.spec)}
    asked = (_check(data, check) for check in checks.values())
    found, dropped = _computed(data, "before and after", asked)
    tables = [_timing(data, checks[item.key], item, law, rows) for item, law, rows in found]
    empty = pd.DataFrame(columns=list(TIMING))
    return pd.concat(tables, ignore_index=True) if tables else empty, dropped


def checks_of(spec: Spec) -> tuple[Check, ...]:
    """Return the study's own checks, or the usual ones that its events and its note admit."""
    return spec.checks or tuple(
        check
        for check in GENERIC
        if (spec.rule.note if check.of_note else spec.with_role(*check.roles))
    )


def _check(data: Sample, check: Check) -> Variation:
    places = _places(data, check)
    found = {name: _legs(data, check, places, name) for name in (*data.spec.sectors, MIRROR)}
    lost = {name: reasons for name, (_, reasons) in found.items() if name != MIRROR}
    return Variation(
        check.key,
        check.title,
        {name: legs for name, (legs, _) in found.items() if legs},
        {"anchored": True},
        name_sectors(data.spec, lost, "before and after", f"{check.title}: "),
    )


def _places(data: Sample, check: Check) -> tuple[int, ...]:
    panel, rule = data.panel, data.spec.rule
    note = panel.position(rule.note) if rule.note else None
    if check.of_note and note is None:
        return ()
    if "note" in check.roles:
        return () if note is None else (note,)
    places = panel.index(*check.roles)
    if note is None or not check.part:
        return places
    late = panel.day0[note]
    return tuple(k for k in places if (panel.day0[k] >= late) == (check.part == "after"))


def _legs(
    data: Sample, check: Check, places: Sequence[int], name: str
) -> tuple[tuple[Leg, ...], dict[str, str]]:
    """List one sector's windows of a check, later events first to their days, and what is lost."""
    inside = check.window is None and check.roles == ("primary",)
    latest = sorted(places, key=lambda k: -data.panel.day0[k])
    windows = event_windows(data, name, latest, check.window)
    # What is left of a window whose day 0 belongs to a primary event lies before its news.
    taken = {} if inside else _event_days(data)
    legs, reasons = share_days(windows, taken, own_day0=check.window is None)
    return legs[::-1], reasons


def _event_days(data: Sample) -> dict[int, str]:
    low, high = data.spec.rule.window
    return {
        int(data.panel.day0[place]) + k: data.panel.events[place].id
        for place in data.panel.index("primary")
        for k in range(low, high + 1)
    }


def _timing(
    data: Sample, check: Check, item: Variation, law: Placebo, rows: pd.DataFrame
) -> pd.DataFrame:
    """Lay out one check: no p-value is finer than the independent draws behind it."""
    own = law.part([name for name in law.groups if name != MIRROR])
    adjusted = pd.Series(stepdown_p(own.distance, own.null_distance), index=list(own.groups))
    legs = [item.groups[name] for name in law.groups]
    finest = 1 / (1 + rows["independent"])
    rows = rows.assign(
        check=check.key,
        events=[" ".join(dict.fromkeys(leg.event for leg in own)) for own in legs],
        sessions=[sum(leg.window[1] - leg.window[0] + 1 for leg in own) for own in legs],
        p=rows["p"].clip(lower=finest),
        p_family=adjusted.reindex(rows.index).clip(lower=finest),
        **{name: getattr(check, name) for name in SAID},
    )
    few = rows["independent"] < 1 / data.spec.rule.alpha
    rows.loc[few, ["low", "high", "p", "p_family", "mde"]] = np.nan
    return rows[list(TIMING)]


# --- other versions --------------------------------------------------------------------------


def other_versions(
    data: Sample, legs: Mapping[str, Sequence[Leg]], family: Placebo
) -> tuple[pd.DataFrame, tuple[Dropped, ...]]:
    """Compute other versions of the statistic on the same shifts; they decide nothing.

    Parameters
    ----------
    data : Sample
    legs : mapping of sector to sequence of Leg
        The windows that the rule sums.
    family : Placebo
        Their joint law.

    Returns
    -------
    variants : DataFrame
        One row per version and sector: effect, interval and p of this row alone.
    dropped : tuple of Dropped
        Versions that cannot be computed.
    """
    found, dropped = _computed(data, "version", _versions(data, legs, family))
    names = {"low": "marginal_low", "high": "marginal_high"}
    tables = [rows.assign(version=item.title).rename(columns=names) for item, _, rows in found]
    tables.append(pd.DataFrame(_dispersion(data, legs, family), columns=list(VARIANTS)))
    tables = [table[list(VARIANTS)] for table in tables if len(table)]
    return pd.concat(tables, ignore_index=True), dropped


def _versions(
    data: Sample, legs: Mapping[str, Sequence[Leg]], family: Placebo
) -> Iterator[Variation]:
    alone, primary = data.spec.rule.cleanest, data.panel.index("primary")
    whole = {name: event_windows(data, name, primary) for name in legs}
    every = {name: event_windows(data, name, primary, signed=False) for name in (*legs, MIRROR)}
    shared = {name: share_days(windows)[0] for name, windows in every.items()}
    mirror = shared.pop(MIRROR)
    clean = {
        name: [leg for leg in whole[name] if leg.event == alone]
        for name, own in legs.items()
        if any(leg.event == alone for leg in own)
    }
    unformed = {
        name: [replace(leg, series=f"sector/{name}") for leg in own] for name, own in legs.items()
    }
    ones, forecast, trailing = (
        {"variance": lambda fit: np.ones_like(fit.variance)},
        {"variance": lambda fit: fit.variance},
        {"variance": lambda fit: fit.trailing},
    )
    for title, groups, more in (
        ("the rule", legs, {}),
        ("without blackout", unformed, {}),
        ("unsigned, all primary events", shared, {}),
        (f"{alone} alone", clean, {}),
        ("no scaling", legs, ones),
        ("forecast error only", legs, forecast),
        ("trailing variance only", legs, trailing),
        ("mirror", {MIRROR: mirror} if mirror else {}, {}),
    ):
        if groups:
            yield Variation(title, title, groups, {"shifts": family.shifts, **more})


def _dispersion(
    data: Sample, legs: Mapping[str, Sequence[Leg]], family: Placebo
) -> Iterator[dict[str, object]]:
    """Scale by how far the sector's baskets lie apart in the window itself."""
    for name in family.groups:
        start = f"basket/{name}/"
        baskets = [series for series in data.portfolios.members if series.startswith(start)]
        if len(baskets) < 3 or name not in legs:
            continue
        law = _scaled(data, legs[name], baskets, family.part([name]))
        if law is not None and np.isfinite(law.statistic).all():
            yield {
                "version": "dispersion of baskets, blackout firms included",
                "sector": name,
                "sign": common_sign(legs[name]),
                "effect": float(law.effect[0]),
                "p": float(law.p[0]),
                "shifts": len(law),
            }


def _scaled(
    data: Sample, legs: Sequence[Leg], baskets: Sequence[str], law: Placebo
) -> Placebo | None:
    """Put the spread of baskets in place of a law's error; None where too few shifts have one."""
    pieces = {
        f"{k} {series}": (replace(leg, series=series),)
        for k, leg in enumerate(legs)
        for series in baskets
    }
    try:
        apart = data.law(pieces, calendar=legs, shifts=law.shifts)
    except InputError:
        return None

    def error(effects: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        each = effects.reshape(len(effects), len(legs), len(baskets))
        spread = (each.var(axis=2, ddof=1) / len(baskets)).sum(axis=1, keepdims=True)
        return np.asarray(np.sqrt(spread))

    real, null = error(apart.effect[None])[0], error(apart.null_effect)
    effect = law.null_effect[np.isin(law.shifts, apart.shifts)]
    return replace(
        law,
        shifts=apart.shifts,
        error=real,
        statistic=law.effect / real,
        null_effect=effect,
        null_error=null,
        null_statistic=effect / null,
    )

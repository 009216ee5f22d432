"""From a placebo law to verdict rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from usjp_research.engine.placebo import Leg, Placebo
from usjp_research.spec.records import Rule
from usjp_research.study.legs import common_sign
from usjp_research.study.sample import Sample
from usjp_research.study.verdict import (
    CASES,
    MEASURED,
    NO_VERDICT,
    TESTED,
    Implied,
    Judgement,
    Measured,
    Tested,
    Verdict,
    implied_value,
    judge,
    worded,
)


def measured(rule: Rule, law: Placebo) -> tuple[Measured, ...]:
    """Measure every group of a law as one family; a single group is a family of its own."""
    rows = law.table(rule.alpha, rule.power, family=True)
    alone = law.table(rule.alpha, rule.power, family=False)
    rows = rows.assign(marginal_low=alone["low"], marginal_high=alone["high"])
    return tuple(
        Measured(**{k: row[k] for k in MEASURED}, test=Tested(**{k: row[k] for k in TESTED}))
        for row in rows.to_dict("records")
    )


def worth(data: Sample, sector: str, named_on: date | None = None) -> Implied:
    """Return the implied value of a sector, or of its firms that were named on a day alone."""
    made, own = data.portfolios, named_on is not None
    key = f"named/{named_on}/{sector}" if own else f"sector/{sector}"
    value = made.values.get(key)
    return implied_value(data.spec, made.members[key], value, sector=sector, own=own)


def family_rows(
    data: Sample, legs: Mapping[str, Sequence[Leg]], law: Placebo, kind: str
) -> tuple[Verdict, ...]:
    """Judge every sector of a family under one simultaneous interval.

    Parameters
    ----------
    data : Sample
    legs : mapping of sector to sequence of Leg
        The windows that each sector's statistic sums.
    law : Placebo
        Their joint law.
    kind : str
        What these rows are, such as ``sector`` or ``leak-inclusive``.

    Returns
    -------
    tuple of Verdict
        In the order of ``law.groups``.
    """
    return tuple(
        Verdict(
            name=sector,
            kind=kind,
            events=tuple(dict.fromkeys(leg.event for leg in legs[sector])),
            sign=common_sign(legs[sector]),
            measured=found,
            judged=judge(data.spec, found, worth(data, sector)),
        )
        for sector, found in zip(law.groups, measured(data.spec.rule, law), strict=True)
    )


def untested(row: Verdict, reason: str) -> Verdict:
    """Keep a row's numbers and take its test and verdict away."""
    assert row.measured is not None
    row = replace(row, measured=replace(row.measured, test=None))
    return worded(row, headline=NO_VERDICT, reason=reason)


def rejudged(data: Sample, row: Verdict) -> Verdict:
    """Hold a row of the scoreboard against what the thesis of ``data`` implies."""
    sector, _, contrast = row.name.partition(":")
    place = data.panel.position(row.events[0]) if contrast else None
    implied = worth(data, sector, None if place is None else data.panel.new_york[place])
    if row.measured is None:
        return replace(row, judged=replace(row.judged, implied=implied))
    again = judge(data.spec, row.measured, implied, row.remark, row.rests_on)
    return replace(row, judged=again)


def silent_row(data: Sample, sector: str, kind: str, reason: str) -> Verdict:
    """Keep the row of a sector that cannot be judged: no number, and the reason as its verdict."""
    judged = Judgement(worth(data, sector), dict.fromkeys(CASES, NO_VERDICT), NO_VERDICT, reason)
    return Verdict(sector, kind, (), 1, None, judged)

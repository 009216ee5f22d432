"""Named against unnamed beneficiaries: the contrast of the rule, and other versions of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from usjp_research.engine.placebo import Leg
from usjp_research.market.record import Dropped
from usjp_research.spec.records import Contrast, ContrastVersion
from usjp_research.study.built import contrast_key
from usjp_research.study.disclosure import SMALLEST, publishable
from usjp_research.study.portfolios import contrast_groups, short_of_returns, values_before
from usjp_research.study.sample import Sample
from usjp_research.study.verdict import Verdict, carrier, family_rows, implied_value, judge, worth
from usjp_research.words import InputError


class NamedVersion(NamedTuple):
    """One version of the contrast, who was on its named side, and whether it may be published."""

    row: Verdict
    named: tuple[str, ...]
    safe: bool


def contrast_row(data: Sample) -> tuple[Verdict | None, tuple[Dropped, ...]]:
    """Judge named minus unnamed beneficiaries, on the shifts that its own single event admits.

    Returns the row, and what cannot be computed.
    """
    if (contrast := data.spec.rule.contrast) is None:
        return None, ()
    try:
        return _judged(data, contrast)
    except InputError as error:
        return None, _left_out(contrast, str(error))


def _judged(data: Sample, contrast: Contrast) -> tuple[Verdict, tuple[Dropped, ...]]:
    panel, made, sector = data.panel, data.portfolios, contrast.sector
    if (place := panel.position(contrast.event)) is None:
        known = contrast.event in (event.id for event in data.spec.events)
        none = f"there is no event {contrast.event}"
        raise InputError("the event cannot be tested" if known else none)
    day = panel.new_york[place]
    series = f"contrast/{day}/{sector}"
    if series not in made.returns.columns:
        if contrast_groups(data.spec, panel, made.slots):
            raise InputError(f"the bundled market has no named and unnamed side on {day}")
        raise InputError("fewer than three named or unnamed firms are outside the blackout")
    name, named = f"{sector}: named minus unnamed", made.members[f"named/{day}/{sector}"]
    legs = {name: (Leg(contrast.event, series, int(panel.day0[place]), data.spec.rule.window, 1),)}
    # The two sides may differ in beta, so the spread goes through the model of a portfolio.
    law = data.law(legs)
    (row,) = family_rows(data, legs, law, "contrast", {name: worth(data, sector, day)})
    dropped: tuple[Dropped, ...] = ()
    if gone := law.admissible - len(law):
        why = "placebo calendars lie where fewer than three named firms were listed"
        dropped = _left_out(contrast, f"{gone} of {law.admissible} {why}")
    ticker, unknown = _carrying(data, contrast, row, named)
    remarks = [_counted(named)]
    if others := panel.same_session([contrast.event]):
        remarks.append(f"other news in the same session: {', '.join(others)}")
    if data.firms is None:
        remarks += [item.reason for item in unknown]
    row = judge(data.spec, replace(row, remark="; ".join(remarks), rests_on=ticker))
    return row, (*dropped, *unknown)


def _left_out(contrast: Contrast, reason: str) -> tuple[Dropped, ...]:
    return (Dropped("contrast", contrast.event, reason),)


def _counted(tickers: Sequence[str]) -> str:
    return f"{len(tickers)} named firm{'s' * (len(tickers) != 1)}: {', '.join(tickers)}"


def _carrying(
    data: Sample, contrast: Contrast, row: Verdict, named: Sequence[str]
) -> tuple[str, tuple[Dropped, ...]]:
    """Find the named firm without which the contrast is another one: see `carrier`.

    A market of averages brings the finding of the single firms that it was built from, and says so
    where the rule, the events or the named firms are others by now.
    """
    if data.firms is None:
        key, ticker = data.market.built.get("contrast rests on", ("", ""))
        if key == contrast_key(data.spec):
            return ticker, ()
        return "", _left_out(contrast, "whether one firm carries it needs returns of single firms")
    rest, dropped = {}, []
    for ticker in named:
        version = ContrastVersion(title=f"without {ticker}", without=(ticker,))
        less, reasons = _version(data, contrast, version)
        if less is None:
            dropped.append(Dropped("contrast", version.title, reasons[-1]))
        else:
            rest[ticker] = (less.row.effect, less.row.low, less.row.high)
    return carrier((row.effect, row.low, row.high), rest), tuple(dropped)


def contrast_versions(data: Sample) -> tuple[tuple[NamedVersion, ...], tuple[Dropped, ...]]:
    """Judge the other versions of the contrast that ``study.yaml`` lists; needs single firms.

    A version's named side is the daily mean of its named firms, on days when every one of them has
    a return; the unnamed side are the sector's firms that no list named. Each is a family of its
    own on its own placebo shifts, and decides nothing. Also what cannot be computed.
    """
    contrast = data.spec.rule.contrast
    if contrast is None:
        return (), ()
    found: list[NamedVersion] = []
    dropped: list[Dropped] = []
    for version in data.spec.rule.contrast_versions:
        reasons: tuple[str, ...] = ("needs returns of single firms",)
        if data.firms is not None:
            made, reasons = _version(data, contrast, version)
            found += [made] if made else []
        dropped += [Dropped("contrast version", version.title, reason) for reason in reasons]
    return tuple(found), tuple(dropped)


def _version(
    data: Sample, contrast: Contrast, version: ContrastVersion
) -> tuple[NamedVersion | None, tuple[str, ...]]:
    """Judge one version, and say who is not in it; where there is none, why stands last."""
    spec, panel, sector, returns = data.spec, data.panel, contrast.sector, data.market.returns
    ids = version.events or (contrast.event,)
    places = {id: k for id in ids if (k := panel.position(id)) is not None}
    for id in ids:
        if id not in places:
            return None, (f"event {id} cannot be tested",)
    named, unnamed, gone = _sides(data, returns, sector, ids[0], version)
    if not named:
        return None, (*gone, "no listed firm of the sector was named, or none is left")
    if len(unnamed) < SMALLEST:
        return None, (*gone, f"{len(unnamed)} unnamed firms are left")
    days = [int(panel.day0[place]) for place in places.values()]
    low, high = spec.rule.window
    name = f"{sector}: {version.title}"
    window = (low, max(days) - min(days) + high)
    legs = {name: (Leg("+".join(ids), name, min(days), window, 1),)}
    # The named side is complete or missing, the unnamed one has three firms at least.
    rest = returns[list(unnamed)]
    below = rest.mean(axis=1).where(rest.count(axis=1) >= SMALLEST)
    spread = returns[list(named)].mean(axis=1, skipna=False) - below
    try:
        law = data.law(legs, returns=spread.to_frame(name))
    except InputError as error:
        return None, (*gone, str(error))
    known = values_before(spec, data.market)
    value = sum(known[ticker] for ticker in named if ticker in known) or None
    implied = implied_value(spec, named, value, sector=sector, own=True)
    (row,) = family_rows(data, legs, law, "contrast version", {name: implied})
    row = replace(row, events=ids, remark=_counted(named))
    rule = data.portfolios.members.get(f"named/{panel.new_york[places[ids[0]]]}/{sector}", ())
    return NamedVersion(row, named, publishable(named, rule, len(ids))), gone


def _sides(
    data: Sample, returns: pd.DataFrame, sector: str, event: str, version: ContrastVersion
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the firms on both sides, and why others that were asked for are on neither."""
    slot, place = data.portfolios.slots[event, sector], data.panel.position(event)
    assert place is not None
    firms = [firm for firm in data.spec.members(sector) if firm.ticker not in version.without]
    there = [firm.ticker for firm in firms if firm.ticker in returns]
    absent = [firm.ticker for firm in firms if firm.ticker not in returns]
    news = set(slot.blackout) if version.blackout else set()
    left = [ticker for ticker in there if ticker not in news]
    short = short_of_returns(data.spec, returns.notna(), data.panel, place, left)
    pool = set(left) - set(short)
    asked = version.named or tuple(f.ticker for f in firms if f.named_event == event)
    named = tuple(f.ticker for f in firms if f.ticker in asked and f.ticker in pool)
    unnamed = tuple(
        f.ticker for f in firms if f.ticker in pool and not f.named_event and f.ticker not in asked
    )
    out = [ticker for ticker in version.named if ticker in news]
    reasons = {"not in the prices": absent, "too few returns": short, "own news": out}
    gone = tuple(f"left out, {why}: {', '.join(who)}" for why, who in reasons.items() if who)
    return named, unnamed, gone

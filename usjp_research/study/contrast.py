"""Named against unnamed beneficiaries: the contrast of the rule, and other versions of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from usjp_research.engine.design import expected_return_design
from usjp_research.engine.placebo import Leg, Placebo, placebo_law
from usjp_research.market.record import Dropped, Market
from usjp_research.spec.records import ContrastVersion, Spec
from usjp_research.study.built import contrast_key
from usjp_research.study.disclosure import SMALLEST, publishable
from usjp_research.study.events import EventPanel
from usjp_research.study.portfolios import (
    Portfolios,
    contrast_groups,
    short_of_returns,
    values_before,
)
from usjp_research.study.rows import single_row
from usjp_research.study.verdict import Verdict, carried, headed, implied_value
from usjp_research.words import InputError, card, label, p_value, percent


@dataclass(frozen=True, slots=True)
class NamedVersion:
    """One version of the contrast, and who was on its named side.

    Attributes
    ----------
    row : Verdict
    named : tuple of str
        Firms on the named side; the interval takes every one of them as given.
    safe : bool
        Whether effect and interval may be published: at least three named firms, and no single
        firm or pair in which it differs from the contrast of the rule.
    """

    row: Verdict
    named: tuple[str, ...]
    safe: bool

    def _repr_html_(self) -> str:
        span = f"{percent(self.row.low)} to {percent(self.row.high)}"
        return card(
            "Version of the contrast",
            label(self.row.name),
            f"named {', '.join(self.named)}",
            f"{percent(self.row.effect)} ({span}), p {p_value(self.row.p)}",
            "" if self.safe else "not to be published",
        )


def contrast_row(
    spec: Spec, panel: EventPanel, made: Portfolios, missing: list[Dropped]
) -> tuple[Verdict | None, Placebo | None]:
    """Judge named minus unnamed beneficiaries, on the shifts that its own single event admits.

    Parameters
    ----------
    spec : Spec
    panel : EventPanel
    made : Portfolios
    missing : list of Dropped
        Gets a line for whatever cannot be computed.

    Returns
    -------
    Verdict and Placebo, or None and None
    """
    contrast = spec.rule.contrast
    if contrast is None:
        return None, None
    place = panel.position(contrast.event)
    if place is None:
        missing.append(Dropped("contrast", contrast.event, "the event cannot be tested"))
        return None, None
    key = f"{panel.new_york[place]}/{contrast.sector}"
    series, named = f"contrast/{key}", f"named/{key}"
    if series not in made.returns.columns:
        reason = "fewer than three named or unnamed firms are outside the blackout"
        if contrast_groups(spec, panel, made.slots):
            reason = f"the bundled market has no named and unnamed side on {panel.new_york[place]}"
        missing.append(Dropped("contrast", contrast.event, reason))
        return None, None
    name = f"{contrast.sector}: named minus unnamed"
    leg = Leg(contrast.event, series, int(panel.day0[place]), spec.rule.window, 1)
    try:
        # The two sides may differ in beta, so the spread goes through the model of a portfolio.
        null = placebo_law(
            {name: (leg,)},
            made.array,
            expected_return_design(spec.rule.model, {"market": made.benchmark}),
            panel.masked,
            spec.rule,
        )
    except InputError as error:
        missing.append(Dropped("contrast", contrast.event, str(error)))
        return None, None
    implied = implied_value(
        spec, made.members[named], made.values.get(named), sector=contrast.sector, own=True
    )
    row = single_row(spec, null, name, "contrast", (contrast.event,), implied)
    if len(null) < null.admissible:
        reason = f"{null.admissible - len(null)} of {null.admissible} placebo calendars"
        why = "lie where fewer than three named firms were listed"
        missing.append(Dropped("contrast", contrast.event, f"{reason} {why}"))
    others = _same_session(panel, place)
    few = _counted(made.members[named])
    # A bound on a difference of two portfolios is no bound on dollars of either.
    row = replace(row, excluded_usd_bn=None, effect_usd_bn=None)
    return replace(row, remark=f"{few}; {others}" if others else few), null


def rest_on_one(
    spec: Spec,
    market: Market,
    panel: EventPanel,
    made: Portfolios,
    row: Verdict,
    missing: list[Dropped],
) -> Verdict:
    """Headline a contrast that one firm carries with that firm; the rule's verdict stands behind.

    A market of averages brings the finding of the single firms that it was built from, and says
    so where the rule, the events or the named firms are others by now.
    """
    if market.level == "firm":
        ticker = carrying_firm(spec, market, panel, made, row, missing)
    else:
        key, ticker = market.built.get("contrast rests on", ("", ""))
        if key != contrast_key(spec):
            unknown = "whether one firm carries it needs returns of single firms"
            missing.append(Dropped("contrast", row.events[0], unknown))
            return replace(row, remark=f"{row.remark}; {unknown}")
    return headed(row, ticker) if ticker else row


def carrying_firm(
    spec: Spec,
    market: Market,
    panel: EventPanel,
    made: Portfolios,
    row: Verdict,
    missing: list[Dropped],
) -> str:
    """Find the named firm without which the contrast is another one: see `carried`.

    Returns
    -------
    str
        The ticker; that of the firm which takes most of the effect with it where several do,
        and empty where none does.
    """
    assert spec.rule.contrast is not None
    key = f"named/{panel.new_york[panel.position(row.events[0]) or 0]}/{spec.rule.contrast.sector}"
    found: dict[str, float] = {}
    for ticker in made.members[key]:
        version = ContrastVersion(title=f"without {ticker}", without=(ticker,))
        try:
            rest = _version(spec, market, panel, made, version, []).row
        except InputError as error:
            missing.append(Dropped("contrast", f"without {ticker}", str(error)))
            continue
        if carried((row.effect, row.low, row.high), (rest.effect, rest.low, rest.high)):
            found[ticker] = rest.effect / row.effect
    return min(found, key=lambda ticker: found[ticker]) if found else ""


def _counted(tickers: Sequence[str]) -> str:
    return f"{len(tickers)} named firm{'s' * (len(tickers) != 1)}: {', '.join(tickers)}"


def _same_session(panel: EventPanel, place: int) -> str:
    """Name the other events whose first session is the same."""
    others = [
        event.id
        for k, event in enumerate(panel.events)
        if k != place and panel.new_york[k] == panel.new_york[place]
    ]
    return f"other news in the same session: {', '.join(others)}" if others else ""


def contrast_versions(
    spec: Spec, market: Market, panel: EventPanel, made: Portfolios, missing: list[Dropped]
) -> tuple[NamedVersion, ...]:
    """Judge the other versions of the contrast that ``study.yaml`` lists; needs single firms.

    A version's named side is the daily mean of its named firms, on days when every one of them
    has a return; the unnamed side are the sector's firms that no list named. Each version is a
    family of its own on its own placebo shifts, and decides nothing.

    Parameters
    ----------
    spec : Spec
    market : Market
        At portfolio level nothing can be computed, and ``missing`` says so.
    panel : EventPanel
    made : Portfolios
    missing : list of Dropped

    Returns
    -------
    tuple of NamedVersion
    """
    if spec.rule.contrast is None:
        return ()
    if market.level != "firm":
        missing.extend(
            Dropped("contrast version", version.title, "needs returns of single firms")
            for version in spec.rule.contrast_versions
        )
        return ()
    found = []
    for version in spec.rule.contrast_versions:
        try:
            found.append(_version(spec, market, panel, made, version, missing))
        except InputError as error:
            missing.append(Dropped("contrast version", version.title, str(error)))
    return tuple(found)


def _version(
    spec: Spec,
    market: Market,
    panel: EventPanel,
    made: Portfolios,
    version: ContrastVersion,
    missing: list[Dropped],
) -> NamedVersion:
    contrast = spec.rule.contrast
    assert contrast is not None
    ids = version.events or (contrast.event,)
    places = [panel.position(id) for id in ids]
    absent = [id for id, place in zip(ids, places, strict=True) if place is None]
    if absent:
        raise InputError(f"event {absent[0]} cannot be tested")
    named, unnamed, gone = _sides(spec, market, panel, made, contrast.sector, ids[0], version)
    missing.extend(Dropped("contrast version", version.title, text) for text in gone)
    if not named:
        raise InputError("no listed firm of the sector was named, or none is left")
    if len(unnamed) < SMALLEST:
        raise InputError(f"{len(unnamed)} unnamed firms are left")
    days = [int(panel.day0[place]) for place in places if place is not None]
    low, high = spec.rule.window
    window = (low, max(days) - min(days) + high)
    name = f"{contrast.sector}: {version.title}"
    leg = Leg("+".join(ids), name, min(days), window, 1)
    spread = _spread(market, named, unnamed)
    null = placebo_law(
        {name: (leg,)},
        lambda _: spread[:, None],
        expected_return_design(spec.rule.model, {"market": made.benchmark}),
        panel.masked,
        spec.rule,
    )
    known = values_before(spec, market)
    value = sum(known[ticker] for ticker in named if ticker in known) or None
    implied = implied_value(spec, named, value, sector=contrast.sector, own=True)
    row = single_row(spec, null, name, "contrast version", ids, implied)
    row = replace(row, excluded_usd_bn=None, effect_usd_bn=None, remark=_counted(named))
    return NamedVersion(row, named, _publishable(made, panel, contrast.sector, ids, named))


def _sides(
    spec: Spec,
    market: Market,
    panel: EventPanel,
    made: Portfolios,
    sector: str,
    event: str,
    version: ContrastVersion,
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the firms on both sides, and why others that were asked for are on neither."""
    slot, place = made.slots[event, sector], panel.position(event)
    assert place is not None
    known = market.returns.notna()
    firms = [firm for firm in spec.members(sector) if firm.ticker not in version.without]
    absent = [firm.ticker for firm in firms if firm.ticker not in known.columns]
    there = [firm.ticker for firm in firms if firm.ticker in known.columns]
    news = set(slot.blackout) if version.blackout else set()
    short = short_of_returns(spec, known, panel, place, [t for t in there if t not in news])
    pool = set(there) - news - set(short)
    asked = version.named or tuple(f.ticker for f in firms if f.named_event == event)
    named = tuple(f.ticker for f in firms if f.ticker in asked and f.ticker in pool)
    unnamed = tuple(
        f.ticker for f in firms if f.ticker in pool and not f.named_event and f.ticker not in asked
    )
    out = [ticker for ticker in version.named if ticker in news]
    reasons = {"not in the prices": absent, "too few returns": short, "own news": out}
    gone = tuple(f"left out, {why}: {', '.join(who)}" for why, who in reasons.items() if who)
    return named, unnamed, gone


def _spread(
    market: Market, named: Sequence[str], unnamed: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Subtract the unnamed mean from the named one; the named side is complete or missing."""
    above = market.returns[list(named)].to_numpy("float64").mean(axis=1)
    rest = market.returns[list(unnamed)]
    below = rest.mean(axis=1).where(rest.count(axis=1) >= SMALLEST)
    return np.asarray(above - below.to_numpy("float64"))


def _publishable(
    made: Portfolios,
    panel: EventPanel,
    sector: str,
    ids: Sequence[str],
    named: Sequence[str],
) -> bool:
    place = panel.position(ids[0])
    rule = made.members.get(f"named/{panel.new_york[place or 0]}/{sector}", ())
    return publishable(named, rule, len(ids))

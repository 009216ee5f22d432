"""What ``usjp prices check`` does: read a file of prices, say what a study could do with it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from usjp_research.engine.design import MODELS
from usjp_research.market.against import held_against, read_other
from usjp_research.market.check import accept
from usjp_research.market.files import existing
from usjp_research.market.load import market_of, spelled
from usjp_research.market.record import LISTED, Finding, Market
from usjp_research.market.table import Kind, Table, read_prices
from usjp_research.report.results import encoded
from usjp_research.runs.terminal import columns
from usjp_research.spec.records import Firm, Spec
from usjp_research.study.answer import family_legs
from usjp_research.study.events import EventPanel, event_panel
from usjp_research.study.outlook import touched
from usjp_research.study.portfolios import form_portfolios
from usjp_research.study.sample import Sample
from usjp_research.study.trust import stops
from usjp_research.words import InputError, label, listed, money, percent

KINDS: dict[str, Kind] = {"file": "auto", "prices": "prices", "returns": "returns"}
KINDS |= {"snapshot": "prices"}
SHOWN, NAMED = 20, 8  # findings on a screen, names in a line


@dataclass(frozen=True, slots=True)
class Checked:
    """A file as a study would see it: the verdict, facts, each finding with what it touches."""

    usable: bool
    verdict: str
    facts: dict[str, str]
    missing: list[Firm]
    alike: dict[str, str]  # of a missing ticker: what the file has that is spelled alike
    findings: tuple[tuple[Finding, str], ...]
    accepted: list[str]  # lines of accepted.csv that would let pass what stops the study

    def json(self) -> bytes:
        """Encode everything that was found, for another program."""
        rows = ((item, item.line(), where, stops(item, where)) for item, where in self.findings)
        named = [dict(zip(("finding", "line", "touches", "stops"), r, strict=True)) for r in rows]
        return encoded({name: getattr(self, name) for name in self.__slots__} | {"findings": named})


def check_prices(spec: Spec, source: str, against: Path | None, tolerance: float) -> Checked:
    """Look at every series of ``file:PATH``, and at what a study would use of it.

    Each day's return may differ by the tolerance from a second file's. A file that no study could
    read, whatever it accepts, raises `InputError`.
    """
    kind, _, place = source.partition(":")
    path = existing(place)
    try:
        read = read_prices(path, KINDS[kind])
        market = market_of(spec, path, read, every=True)
    except InputError as error:
        raise InputError(f"not usable: {error}") from None
    panel, found = event_panel(spec, market), market.findings
    facts = {"File": f"{path.name}: {'; '.join((read.told, *read.read_as))}"}
    facts |= _facts(spec, read, panel, market.provenance["benchmark"])
    untested, silent = _untested(spec, market, panel)
    facts |= {"Sectors": "; ".join(silent)} if silent else {}
    if against:
        own, other = read.returns.loc[market.dates[0] :], read_other(existing(str(against)))
        apart = held_against(own, other, tolerance)
        found = (*found, *accept(apart, spec.accepted)[0])
        unlike = sum(item.kind != "missing" for item in apart) or "none"
        told = f"{against.name}: {unlike} beyond {percent(tolerance, 2, sign=False)} a day"
        facts |= _compared(spec, panel, own, other, told)
    rows = touched(spec, market, found, panel)
    wrong = [(item, where) for item, where in rows if stops(item, where)]
    many = "1 finding" if len(rows) == 1 else f"{len(rows)} findings"
    verdict = f"usable with {many}, none that stops the study"
    verdict = verdict if rows else "usable: nothing looks wrong"
    verdict += ", not for every sector" if silent else ""
    if wrong:
        item, where = wrong[0]
        first = f"first {item.ticker} {item.day} in {where}"
        verdict = f"not usable: {len(wrong)} of {many} would stop the study, {first}"
    elif untested:
        verdict = f"not usable: {untested}"
    held = io.StringIO()
    lines = dict.fromkeys((item.ticker, item.day, "say why it is right") for item, _ in wrong)
    csv.writer(held, lineterminator="\n").writerows(lines)
    missing = [firm for firm in spec.firms if firm.ticker not in market.returns]
    missing.sort(key=lambda firm: -(firm.market_value_usd_bn or 0.0))
    alike = spelled([firm.ticker for firm in missing], read.values)
    usable, accepted = not (wrong or untested), held.getvalue().splitlines()
    return Checked(usable, verdict, facts, missing, alike, rows, accepted)


def _facts(spec: Spec, read: Table, panel: EventPanel, funds: Any) -> dict[str, str]:
    days = read.returns.index
    have = [firm for firm in spec.firms if firm.ticker in read.values]
    lost = Counter(item.reason for item in read.dropped)
    first = {item.reason: item.name for item in reversed(read.dropped)}
    many = {why: "1 day," if n == 1 else f"{n} days from" for why, n in lost.items()}
    told = [f"{many[why]} {first[why]}: {why}" for why in lost]
    told = told or ["none missing, none more"]
    worth, known = (sum(f.market_value_usd_bn or 0.0 for f in s) for s in (have, spec.firms))
    share = f", {percent(worth / known, 1, sign=False)} of the known market value" if known else ""
    out = [item for item in panel.dropped if spec.event(item.name).role == "primary"]
    events = f"{len(panel.index('primary'))} primary and {len(panel.events)} in all can be tested"
    return {
        "Sessions": f"{days[0].date()} to {days[-1].date()}, {len(days)}; {'; '.join(told)}",
        "Series": f"{read.values.shape[1]}; benchmark {listed(funds)}",
        "Universe": f"{len(have)} of {len(spec.firms)} firms have prices{share}",
        "Events": "; ".join([events, *(f"not {item.name}: {item.reason}" for item in out)]),
    }


def _untested(spec: Spec, market: Market, panel: EventPanel) -> tuple[str, list[str]]:
    """Say why a study of this market would stop, if it would, and which sectors have nothing."""
    formed = form_portfolios(spec, replace(market, findings=()), panel)
    primary = {event.id for event in spec.with_role("primary")}
    slots = [slot for slot in formed.slots.values() if slot.event in primary]
    whole = {slot.sector for slot in slots if slot.series}
    first = {s.sector: f"{s.event}: {s.reason}" for s in reversed(slots) if s.sector not in whole}
    silent = [f"no portfolio of {label(k)} ({first[k]})" for k in spec.sectors if k in first]
    data = Sample(spec, market, panel, formed)
    try:
        legs = family_legs(data)
        if not MODELS[spec.rule.model].factors:  # which a file of prices does not have
            data.law(legs)
    except InputError as error:
        return str(error), silent
    return "", silent


def _compared(
    spec: Spec, panel: EventPanel, own: pd.DataFrame, other: pd.DataFrame, told: str
) -> dict[str, str]:
    """Say how much was held against a second file, and where it is silent in an event window."""
    names = [name for name in own.columns if name in other]
    known, there = (part.reindex(own.index)[names].notna() for part in (own, other))
    both, (low, high) = int((known & there).to_numpy().sum()), panel.window
    days = own.index.searchsorted(pd.to_datetime([*panel.days("primary").values()]))
    near = sorted({at for day in days.tolist() for at in range(day + low, day + high + 1)})
    firms = [firm.ticker for firm in spec.firms if firm.ticker in names]
    lacks = (known & ~there)[firms].iloc[near]
    found = ((day, list(lacks.columns[row])) for day, row in lacks.iterrows())
    silent = "; ".join(f"{day:%Y-%m-%d} ({_some(firms)})" for day, firms in found if firms)
    told = f"{told} in {both:,} returns of {len(names)} series"
    return {"Against": told} | ({"It lacks": silent} if silent else {})


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def print_checked(done: Checked, say: Callable[[str], None], width: int) -> None:
    """Print the verdict, then what was read, who is missing, and the heaviest findings."""
    values = {firm.ticker: firm.market_value_usd_bn for firm in done.missing}
    worth = {name: f" ({money(value)})" for name, value in values.items() if value}
    gone = [name + worth.get(name, "") + done.alike.get(name, "") for name in values]
    unit = "; in USD bn" if worth else ""
    facts = done.facts | ({"Missing": f"{_some(gone)}{unit}"} if gone else {})
    rows = []
    for item, where in done.findings[:SHOWN]:
        told = (item.words, where or "not in this study", item.advice.replace(LISTED, ""))
        rows.append((item.ticker, str(item.day), item.measure, "; ".join(filter(None, told))))
    verdict = f"{done.verdict[:1].upper()}{done.verdict[1:]}."
    lines = [verdict, "", *columns(facts.items(), "lw", width)]
    lines += ["", *columns(rows, "llrw", width)] if rows else []
    if rest := Counter(item.kind for item, _ in done.findings[SHOWN:]):
        counts = ", ".join(f"{count} {kind}" for kind, count in rest.items())
        lines.append(f"and {rest.total()} more: {counts} (--json FILE has all)")
    if any(item.advice == LISTED for item, _ in done.findings):
        lines.append("A move of which nothing else says that it is wrong may be news: only listed.")
    if done.accepted:
        lines += ["", "If a day is right, in accepted.csv:", "ticker,date,reason", *done.accepted]
    for line in lines:
        say(line)

"""What `usjp check` says of a study: its events, its firms, and whether it is worth running."""

from __future__ import annotations

from collections.abc import Iterator

from usjp_research.market.record import Market
from usjp_research.report.summary import times, worth_words
from usjp_research.runs.terminal import columns
from usjp_research.spec.records import Spec
from usjp_research.study.events import event_panel, first_session
from usjp_research.study.legs import shared_days
from usjp_research.study.outlook import Outlook, outlooks, unread
from usjp_research.study.verdict import CASES
from usjp_research.words import DASH, MINUS, label, percent

SIGN = {1: "+", -1: MINUS}


def check_lines(spec: Spec, market: Market) -> Iterator[str]:
    """Say what a study would rest on, in lines of 80 columns; no reaction is computed."""
    later, panel = spec.announced(later=True), event_panel(spec, market)
    rows: list[tuple[str, ...]] = [("Event", "First session", "Role", "Counts for")]
    for event in spec.events:
        signs = (f"{label(s)} {SIGN[sign]}" for s, sign in event.signs.items() if sign)
        counts = ", ".join(signs) if event.role == "primary" else ""
        counts = panel.why(event.id) or counts or "nothing in the sum"
        if event in later:
            counts = "a set of its own: announced after the freeze"
        rows.append((event.id, str(first_session(event.instant)), event.role, counts))
    yield from columns(rows, "lllw")
    heads: list[tuple[str, ...]] = [("Sector", "Firms", "With a market value", "News looked for")]
    for sector in spec.sectors:
        firms = spec.members(sector)
        known = sum(firm.market_value_usd_bn is not None for firm in firms)
        looked = sum(firm.ticker in spec.coverage for firm in firms)
        heads.append((label(sector), *map(str, (len(firms), known, looked))))
    yield from ["", *columns(heads, "wrrr"), ""]
    data = unread(spec, market)
    for item in shared_days(data):
        yield from columns([(f"{item.name}:", item.reason)], "lw")
    table = [("Sector", "Visible from", "Worth (base, high)", "")]
    for row in outlooks(data):
        share = ", ".join(worth_words(row.implied[case]) for case in CASES[1:] if row.implied)
        mde = percent(row.mde, sign=False)
        table.append((label(row.sector), mde, share or DASH, _said(row)))
    yield from columns(table, "wrrw")
    of = "the SIMULATED market" if market.simulated else f"market {market.name}"
    yield from ("", f"By quiet dates of {of} alone; no reaction to any event was computed.")


def _said(row: Outlook) -> str:
    """Say whether the thesis would show, if it were true."""
    base, high = (abs(row.implied.get(case, 0.0)) for case in ("base", "high"))
    if row.reason or not high:
        return row.reason or "no value given"
    if high < row.mde and base < row.mde:
        return f"too small by {times(row.mde / high)}"
    return "visible" if base >= row.mde else "visible in the high case"

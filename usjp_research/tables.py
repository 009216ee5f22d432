"""Results as display tables: units and words for the eye, nothing computed."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from usjp_research.events import EventPanel
from usjp_research.market import Dropped
from usjp_research.placebo import Placebo
from usjp_research.portfolios import Portfolios
from usjp_research.spec import Spec
from usjp_research.verdict import CASES, DEPENDS, Verdict
from usjp_research.words import label, money, number, percent

__all__ = [
    "Table",
    "calendar_table",
    "claims_table",
    "confounder_table",
    "coverage_table",
    "dropped_table",
    "event_table",
    "firm_table",
    "law_table",
    "members_table",
    "reaction_table",
    "readme_block",
    "thesis_table",
    "variant_table",
    "verdict_table",
]


class Table(pd.DataFrame):
    """A data frame of words that shows all of itself: every row, whole cells, no row numbers."""

    @property
    def _constructor(self) -> type[Table]:
        return Table

    def _repr_html_(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            return str(self.to_html(index=False, border=0, max_rows=None, max_cols=None))


def verdict_table(rows: Sequence[Verdict]) -> Table:
    """Lay out verdict rows for reading.

    Parameters
    ----------
    rows : sequence of Verdict

    Returns
    -------
    Table of str
        One row each: verdict, observed reaction with its interval, implied value, adjusted p,
        MDE and break-evens.
    """
    return Table(
        [
            {
                "Sector": label(row.name),
                "Verdict": verdict_words(row),
                "Observed": percent(row.effect),
                "Interval": f"{percent(row.low)} to {percent(row.high)}",
                "Implied low / base / high": implied_words(row),
                "Adjusted p": number(row.p_stepdown, 3),
                "MDE": percent(row.mde, sign=False),
                "Upper end, USD bn": money(row.excluded_usd_bn if row.high > 0 else None),
                "Break-even margin x share": share_words(row.breakeven_share),
            }
            for row in rows
        ]
    )


def share_words(value: float | None) -> str:
    """Return a share in percent; more than all of it cannot be had and is said so."""
    return "over 100%" if value is not None and value > 1 else percent(value, 0, sign=False)


def verdict_words(row: Verdict) -> str:
    """Return the headline with its reason, its three cases, or what leaks would change."""
    text = f"{row.headline}: {row.reason}" if row.reason else row.headline
    if row.headline == DEPENDS:
        by_verdict: dict[str, list[str]] = {}
        for case in CASES:
            by_verdict.setdefault(row.by_case[case], []).append(case)
        parts = (f"{' and '.join(cases)}: {verdict}" for verdict, cases in by_verdict.items())
        text += f" ({'; '.join(parts)})"
    return f"{text} ({row.remark})" if row.remark else text


def implied_words(row: Verdict) -> str:
    """Return the implied value's three cases in percent, with digits for small ones."""
    if not row.implied.share:
        return "none"
    size = abs(row.implied.share["base"])
    digits = 1 if size >= 0.01 else 2 if size >= 0.001 else 3
    least = 10.0 ** -(digits + 2)
    return " / ".join(
        f"under {percent(least, digits, sign=False)}"
        if 0 < row.implied.share[case] < least
        else percent(row.implied.share[case], digits)
        for case in CASES
    )


def readme_block(rows: Sequence[Verdict], alt: str, shifts: int) -> str:
    """Write the README's figure and table as Markdown."""
    frame = verdict_table(rows)[
        [
            "Sector",
            "Verdict",
            "Observed",
            "Interval",
            "Implied low / base / high",
            "Adjusted p",
            "MDE",
        ]
    ]
    lines = [
        f"![{alt}](docs/scoreboard.svg)",
        "",
        f"| {' | '.join(frame.columns)} |",
        f"|{'---|' * len(frame.columns)}",
        *(f"| {' | '.join(values)} |" for values in frame.itertuples(index=False)),
        "",
        f"Bundled market, {shifts} placebo calendars; the sectors' intervals hold at once. The "
        "last row is a family of its own, with its own calendars.",
    ]
    return "\n".join(lines)


def event_table(spec: Spec, roles: Sequence[str] = ("primary",)) -> Table:
    """Lay out the events of some roles with their reasons and same-window news."""
    return Table(
        [
            {
                "Event": event.id,
                "Announced": f"{event.instant:%Y-%m-%d %H:%M %Z}"
                + (" (day only)" if event.precision == "day" else ""),
                "What": event.title,
                "Role, and why": event.reason,
                "Other news in the window": event.confounders,
            }
            for event in spec.with_role(*roles)
        ]
    )


def calendar_table(panel: EventPanel) -> Table:
    """Lay out every event that can be tested with its sessions in New York and Tokyo."""
    return Table(panel.frame()).rename(
        columns={
            "id": "Event",
            "announced": "Announced",
            "precision": "Known to the",
            "new_york": "New York",
            "tokyo": "Tokyo",
            "role": "Role",
            "title": "What",
        }
    )


def confounder_table(spec: Spec, roles: Sequence[str] = ("primary",)) -> Table:
    """Lay out the market-moving dates that lie near events of some roles."""
    ids = {event.id for event in spec.with_role(*roles)}
    return Table(
        [
            {
                "Session": item.session.isoformat(),
                "What": item.title,
                "Near": ", ".join(id for id in item.near_events if id in ids),
                "Source": "checked" if item.checked else "general knowledge",
            }
            for item in spec.confounders
            if ids & set(item.near_events)
        ]
    )


def coverage_table(spec: Spec, known: pd.DataFrame) -> Table:
    """Lay out how complete each sector's returns are; ``known`` is what `coverage` gives."""
    return Table(
        [
            {
                "Sector": label(sector),
                "Securities in the universe": len(spec.members(sector)),
                "With a return, first day": percent(known[sector].iloc[0], 0, sign=False),
                "Last day": percent(known[sector].iloc[-1], 0, sign=False),
                "At least": percent(known[sector].min(), 0, sign=False),
            }
            for sector in spec.sectors
        ]
    )


def members_table(spec: Spec, made: Portfolios, sector: str | None = None) -> Table:
    """Lay out who is in each portfolio at the primary events, and who is not."""
    primary = {event.id for event in spec.with_role("primary")}
    return Table(
        [
            {
                **({} if sector else {"Sector": label(key)}),
                "Event": slot.event,
                "Session": slot.session.isoformat(),
                "Firms": len(slot.members),
                "Own news: out": " ".join(slot.blackout) or "none",
                "Not checked: in": str(len(slot.unchecked)),
                "Too few returns: out": " ".join(slot.short) or "none",
                "Blackout list": slot.status,
            }
            for (event, key), slot in made.slots.items()
            if event in primary and sector in (key, None)
        ]
    )


def reaction_table(reactions: pd.DataFrame, roles: Sequence[str], by: str) -> Table:
    """Lay out abnormal returns of events of some roles; ``by`` is the column that tells rows apart.

    Parameters
    ----------
    reactions : DataFrame
        As `event_reactions` gives it, already cut to what is to be shown.
    roles : sequence of str
    by : {"event", "sector"}
    """
    signs = {1: "+", -1: "\N{MINUS SIGN}", 0: "0"}
    shown = reactions[reactions["role"].isin(roles)]
    return Table(
        [
            {
                "Event": row["event"],
                **({"Sector": label(str(row["sector"]))} if by == "sector" else {}),
                "Session": row["session"],
                "Expected": signs[int(row["sign"])],
                "Abnormal return": percent(row["caar"], 2),
                "Standard error": percent(row["se"], 2, sign=False),
                "Guarded": percent(row["se_guarded"], 2, sign=False),
                "t": number(row["portfolio_t"], 2),
                "p": number(row["portfolio_p"], 3),
                "Firms": "" if pd.isna(row["firms"]) else f"{row['firms']:.0f}",
                "With blackout firms": percent(row["caar_without_blackout"], 2),
            }
            for row in shown.to_dict("records")
        ]
    )


def law_table(law: Placebo) -> Table:
    """Lay out a placebo law: the real statistic and the law it is referred to."""
    return Table(
        [
            {
                "Sector": label(group),
                "C": percent(float(law.effect[g]), 2),
                "Standard error": percent(float(law.error[g]), 2, sign=False),
                "S": number(float(law.statistic[g]), 2),
                "Mean of S on quiet dates": number(float(law.center[g]), 2),
                "Placebo p, alone": f"{law.p[g]:.3f}",
                "Placebo calendars": str(len(law)),
                "Independent, roughly": f"{law.independent:.0f}",
            }
            for g, group in enumerate(law.groups)
        ]
    )


def variant_table(variants: pd.DataFrame, sector: str | None = None) -> Table:
    """Lay out other versions of the statistic; the first one is the rule."""
    shown = variants if sector is None else variants[variants["sector"] == sector]
    return Table(
        [
            {
                "Version": row["version"],
                **({} if sector else {"Sector": label(str(row["sector"]))}),
                "C": percent(row["effect"]),
                "Interval, this row alone": (
                    f"{percent(row['marginal_low'])} to {percent(row['marginal_high'])}"
                    if pd.notna(row["marginal_low"])
                    else "\N{EN DASH}"
                ),
                "p, alone": f"{row['p']:.3f}",
            }
            for row in shown.to_dict("records")
        ]
    )


def thesis_table(rows: Sequence[Verdict]) -> Table:
    """Lay out how dollars announced become an implied move, base case."""
    return Table(
        [
            {
                "Sector": label(row.name),
                "Announced, USD bn": money(row.implied.announced),
                "Reaches listed firms": money(row.implied.revenue["base"]),
                "Present value": f"{row.implied.dollars['base']:.2f}",
                "Market value": money(row.implied.market_value),
                "Firms with a value": f"{row.implied.valued} of {row.implied.firms}",
                "Implied low / base / high": implied_words(row),
                "Lines": " ".join(row.implied.lines) or "none",
            }
            for row in rows
        ]
    )


def claims_table(spec: Spec) -> Table:
    """Lay out the note's claims with what sources say."""
    return Table(
        [
            {
                "Claim": claim.claim,
                "What sources say": claim.found,
                "Status": claim.status,
                "Remark": claim.comment,
                "Source": claim.source,
            }
            for claim in spec.claims
        ]
    )


def dropped_table(dropped: Sequence[Dropped], *what: str) -> Table:
    """Lay out what was left out, all of it or some kinds."""
    return Table(
        [
            {"What": item.what, "Which": item.name, "Why": item.reason}
            for item in dropped
            if not what or item.what in what
        ],
        columns=["What", "Which", "Why"],
    )


def firm_table(spec: Spec, firms: pd.DataFrame) -> Table:
    """Lay out single firms' abnormal returns; for local eyes, not for public pages."""
    names = {firm.ticker: firm.name for firm in spec.firms}
    return Table(
        [
            {
                "Ticker": row["ticker"],
                "Name": names[row["ticker"]],
                "Abnormal return": percent(row["car"], 2),
                "Standard error": percent(row["se"], 2, sign=False),
                "Beta": number(float(row["beta"]), 2),
            }
            for row in firms.to_dict("records")
        ],
        columns=["Ticker", "Name", "Abnormal return", "Standard error", "Beta"],
    )

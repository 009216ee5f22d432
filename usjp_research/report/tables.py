"""Results as display tables: units and words for the eye, nothing computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from usjp_research.engine.battery.window import WindowTests
from usjp_research.engine.placebo import Placebo
from usjp_research.market.record import MIRROR, Dropped, Market
from usjp_research.report.battery import battery_frame
from usjp_research.spec.records import Spec
from usjp_research.study.contrast import NamedVersion
from usjp_research.study.counterfactual import Counterfactuals
from usjp_research.study.events import EventPanel
from usjp_research.study.exposure import Exposure, Slope
from usjp_research.study.portfolios import Portfolios
from usjp_research.study.reactions import OUTSIDE
from usjp_research.study.verdict import CASES, DEPENDS, MEANINGS, Verdict
from usjp_research.words import (
    DASH,
    MINUS,
    NOT_COUNTED,
    SECTOR_NAMES,
    between,
    label,
    listed,
    money,
    moved,
    number,
    p_value,
    percent,
)

KINDS = {  # of what was left out; others are their own words
    "before and after": "Checks before and after",
    "contrast version": "Other versions of the contrast",
    "blackout": "Kept in an event’s portfolio, own news not checked",
    "day": "Days",
    "event": "Events that could not be tested",
    "market value": "Firms outside the implied value",
    "own news": "News of firms outside the study",
    "security": "Securities",
    "slot": "Taken out of an event’s portfolio",
    "version": "Other versions of the statistic",
}


class Table(pd.DataFrame):
    """A data frame of words that shows all of itself: every row, whole cells, no row numbers."""

    @property
    def _constructor(self) -> type[Table]:
        return Table

    def _repr_html_(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            return str(self.to_html(index=False, border=0, max_rows=None, max_cols=None))


@dataclass(frozen=True, slots=True)
class Told:
    """A row as the market saw it: a fall is below zero whatever the thesis expected.

    Attributes
    ----------
    effect, low, high : float
        What was observed and its interval; where events expect different signs, in the expected
        direction.
    share : mapping of case to float
        What the thesis implies, in the same direction.
    expected : int
        +1 where the thesis expects a rise, -1 a fall, 0 where its events differ.
    """

    effect: float
    low: float
    high: float
    share: Mapping[str, float]
    expected: int

    @property
    def reach(self) -> float:
        """How far the interval goes in the expected direction; below zero it does not."""
        return -self.low if self.expected < 0 else self.high

    def observed(self) -> str:
        """Say what moved, and what was expected unless that is a rise."""
        if self.expected >= 0:
            return moved(self.effect, self.expected)
        return f"{moved(-self.effect, -1)}; expected: down"

    def interval(self) -> str:
        """Return the interval in percent, the lower end first."""
        return between(self.low, self.high)

    def ruled_out(self) -> str:
        """Name the smallest move in the expected direction that the interval leaves out."""
        move = {1: "rise", -1: "fall", 0: "move"}[self.expected]
        tail = "" if self.expected else " in the expected direction"
        if self.reach <= 0:
            return f"any {move}{tail}"
        return f"a {move} of more than {percent(self.reach, sign=False)}{tail}"


def told(
    effect: float | None,
    low: float | None,
    high: float | None,
    share: Mapping[str, float],
    sign: int,
) -> Told:
    """Turn a signed row into what the market did.

    Parameters
    ----------
    effect, low, high : float or None
        The signed sum and its interval; None where there is none.
    share : mapping of case to float
        Implied value in units of the signed sum; empty where there is none.
    sign : int
        Expected sign of the row's events, 0 when they differ.
    """
    flip = -1 if sign < 0 else 1
    none = float("nan")
    ends = sorted(flip * (none if end is None else end) for end in (low, high))
    return Told(
        effect=none if effect is None else flip * effect,
        low=ends[0],
        high=ends[1],
        share={case: flip * value for case, value in share.items()},
        expected=-sign if share.get("base", 0.0) < 0 else sign,
    )


def told_row(row: Verdict) -> Told:
    """Return a row of the scoreboard as the market saw it."""
    return told(row.effect, row.low, row.high, row.implied.share, row.sign)


def verdict_table(rows: Sequence[Verdict]) -> Table:
    """Lay out verdict rows for reading.

    Parameters
    ----------
    rows : sequence of Verdict

    Returns
    -------
    Table of str
        One row each: verdict, observed reaction with its interval, implied value, adjusted p,
        MDE and break-evens. What was expected to fall is told as a fall.
    """
    return Table(
        [
            {
                "Sector": label(row.name),
                "Verdict": verdict_words(row),
                "Observed": seen.observed(),
                "Interval": seen.interval(),
                "Implied low / base / high": cases_words(seen.share),
                "Adjusted p": p_value(row.p_stepdown),
                "MDE": percent(row.mde, sign=False),
                "Upper end, USD bn": _far_end(row, seen),
                "Break-even margin x share": share_words(row.breakeven_share),
            }
            for row in rows
            for seen in [told_row(row)]
        ]
    )


def _far_end(row: Verdict, seen: Told) -> str:
    """Return the end of the interval on the thesis's side in USD bn, where it lies there."""
    if "contrast" in row.kind or not row.implied.market_value or not seen.reach > 0:
        return DASH
    size = money(seen.reach * row.implied.market_value)
    return f"{MINUS}{size} (lower end)" if seen.expected < 0 else size


def share_words(value: float | None) -> str:
    """Return a share in percent; more than all of it cannot be had and is said so."""
    return "over 100%" if value is not None and value > 1 else percent(value, 0, sign=False)


def verdict_details(row: Verdict) -> list[str]:
    """Return what stands behind the head: reason, the three cases, what else must be known."""
    parts = [row.reason] if row.reason else []
    if DEPENDS in (row.headline, row.verdict):
        by_verdict: dict[str, list[str]] = {}
        for case in CASES:
            by_verdict.setdefault(row.by_case[case], []).append(case)
        cases = (f"{listed(cases)}: {verdict}" for verdict, cases in by_verdict.items())
        each = "; ".join(cases)
        parts = [f"{parts[0]}, {each}"] if row.rests_on else [*parts, each]
    return [*parts, *([row.remark] if row.remark else [])]


def verdict_words(row: Verdict) -> str:
    """Return the headline with its reason, its three cases, or what leaks would change."""
    head, details = row.headline, verdict_details(row)
    if row.reason and not row.rests_on:
        head = f"{head}: {details.pop(0)}"
    return " ".join([head, *(f"({detail})" for detail in details)])


def implied_digits(share: float) -> int:
    """Return how many decimals of a percent an implied value needs."""
    size = abs(share)
    return 1 if size >= 0.01 else 2 if size >= 0.001 else 3 if size >= 0.00001 else 4


def dollars(value: float) -> str:
    """Return USD bn with two significant digits, however small.

    Examples
    --------
    >>> dollars(1234.5), dollars(0.0123)
    ('1,234', '0.012')
    """
    if not math.isfinite(value):
        return DASH
    if not value:
        return "0"
    digits = max(0, 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def implied_words(row: Verdict) -> str:
    """Return the implied value's three cases in percent, in market direction."""
    return cases_words(told_row(row).share)


def cases_words(share: Mapping[str, float]) -> str:
    """Return the low, base and high case in percent, with digits for small ones."""
    if not share:
        return "none"
    digits = implied_digits(share["base"])
    least = 10.0 ** -(digits + 2)
    small = f"under {percent(least, digits, sign=False)}"
    fall = f"above {percent(-least, digits)}"
    return " / ".join(
        (small if share[case] > 0 else fall)
        if 0 < abs(share[case]) < least
        else percent(share[case], digits)
        for case in CASES
    )


def readme_block(
    rows: Sequence[Verdict], alt: str, shifts: int, published: Mapping[str, str]
) -> str:
    """Write the README's figure and table as Markdown, and where the published study is.

    Parameters
    ----------
    rows : sequence of Verdict
    alt : str
        The figure in words.
    shifts : int
    published : mapping of str to str
        Provenance of the study under ``docs/study``; empty when there is none.
    """
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
    if published:
        lines += [
            "",
            f"The same study on single firms: [one HTML file](docs/study/study.html) and its "
            f"[tables](docs/study/tables), returns {published['first day of returns']} to "
            f"{published['last day of returns']}, run on {published['run ended'][:10]}, "
            f"specification `{published['specification'][:12]}`, snapshot "
            f"`{published['snapshot of returns'][:12]}`. It shows no single firm.",
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
    """Lay out every event that can be tested with the sessions that can react."""
    return Table(panel.frame()).rename(
        columns={
            "id": "Event",
            "announced": "Announced",
            "precision": "Known to the",
            "new_york": "New York",
            "second_session": panel.second_city,
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


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows by the names of their columns."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def counted(row: Mapping[str, Any]) -> bool:
    """Say whether a reaction counts for its sector: the thesis expects a sign of the event."""
    return int(row["sign"]) != 0 and row["blackout"] != OUTSIDE


def reaction_table(reactions: pd.DataFrame, roles: Sequence[str], by: str) -> Table:
    """Lay out abnormal returns of events of some roles; ``by`` is the column that tells rows apart.

    Parameters
    ----------
    reactions : DataFrame
        As `event_reactions` gives it, already cut to what is to be shown. A hollow circle marks
        an event that does not count for the sector.
    roles : sequence of str
    by : {"event", "sector"}
    """
    signs = {1: "up", -1: "down", 0: NOT_COUNTED}
    shown = reactions[reactions["role"].isin(roles)]
    return Table(
        [
            {
                "Event": row["event"],
                **({"Sector": label(str(row["sector"]))} if by == "sector" else {}),
                "Session": row["session"],
                "Expected": DASH if row["blackout"] == OUTSIDE else signs[int(row["sign"])],
                "Abnormal return": percent(row["caar"], 2),
                "Standard error": percent(row["se"], 2, sign=False),
                "Guarded": percent(row["se_guarded"], 2, sign=False),
                "t": number(row["portfolio_t"], 2),
                "p": p_value(row["portfolio_p"]),
                "Firms": number(row["firms"], 0),
                "With blackout firms": percent(row["caar_without_blackout"], 2),
            }
            for row in shown.to_dict("records")
        ]
    )


def battery_table(tests: WindowTests) -> Table:
    """Lay out one window's tests, the believable first, with what each survives."""
    frame = battery_frame(tests)
    frame = frame[~frame["Law"].str.contains("one sector only")]
    short = {
        "survives cross-correlation": "robust",
        "assumes independent firms": "assumes independence",
        "assumes independent firms: not to be believed here": "not to be believed",
    }
    columns = ["Test", "Role", "Statistic", "Law", "p", "Survives"]
    return Table(frame.assign(Role=frame["Role"].replace(short)))[columns]


def dependence_table(tests: WindowTests) -> Table:
    """Lay out how many securities there are, and how many they are worth."""
    numbers = tests.numbers
    return Table(
        [
            {
                "Securities": number(numbers["n"], 0),
                "Mean residual correlation": number(numbers["rbar"], 2),
                "Worth, if independent": number(numbers["n_eff"], 1),
                "Mean abnormal return": percent(numbers["caar"], 2),
                "Buy and hold": percent(numbers["bhar"], 2),
                "Positive": number(numbers["n_pos"], 0),
                "Notes": "; ".join(tests.notes) or "none",
            }
        ]
    )


def law_table(law: Placebo, reactions: pd.DataFrame | None = None) -> Table:
    """Lay out a placebo law: the real statistic and the law it is referred to.

    Parameters
    ----------
    law : Placebo
    reactions : DataFrame, optional
        As `event_reactions` gives it: which sign is expected of the primary events. Without it
        the signed sum is shown as it is.
    """
    if law.reason:
        return Table([{"Sector": label(group), "No law": law.reason} for group in law.groups])
    signs: dict[str, set[int]] = {}
    if reactions is not None:
        primary = reactions[(reactions["role"] == "primary") & (reactions["sign"] != 0)]
        signs = {str(name): set(part["sign"]) for name, part in primary.groupby("sector")}
    return Table(
        [
            {
                "Sector": label(group),
                "C": moved(float(law.effect[g]), _one(signs.get(group, {1})), 2),
                "Standard error": percent(float(law.error[g]), 2, sign=False),
                "S": number(float(law.statistic[g]), 2),
                "Mean of S on quiet dates": number(float(law.center[g]), 2),
                "Placebo p, alone": p_value(float(law.p[g])),
                "Placebo calendars": str(len(law)),
                "Independent, roughly": number(law.independent, 0),
            }
            for g, group in enumerate(law.groups)
        ]
    )


def _one(signs: set[int]) -> int:
    return int(min(signs)) if len(signs) == 1 else 0


def variant_table(variants: pd.DataFrame, sector: str | None = None) -> Table:
    """Lay out other versions of the statistic; the first one is the rule."""
    shown = variants if sector is None else variants[variants["sector"] == sector]
    return Table(
        [
            {
                "Version": row["version"],
                **({} if sector else {"Sector": label(str(row["sector"]))}),
                "C": moved(row["effect"], row["sign"]),
                "Interval, this row alone": _interval(
                    row["marginal_low"], row["marginal_high"], row["sign"]
                ),
                "p, alone": p_value(row["p"]),
            }
            for row in shown.to_dict("records")
        ]
    )


def _behind(row: Verdict) -> str:
    """Return the verdict, behind the one firm that it rests on."""
    return f"{row.headline} ({row.reason})" if row.rests_on else row.headline


def _interval(low: float, high: float, sign: int) -> str:
    """Return the interval of a signed sum in market direction."""
    return told(None, low, high, {}, sign).interval()


def contrast_table(
    rows: Sequence[Verdict], versions: Sequence[NamedVersion], *, public: bool = True
) -> Table:
    """Lay out the contrast and its versions.

    Parameters
    ----------
    rows : sequence of Verdict
        Of the scoreboard; those of kind ``contrast`` are shown.
    versions : sequence of NamedVersion
    public : bool
        Withhold effect and interval of versions from which a firm could be read.
    """
    shown = [(row, row.remark.partition(";")[0], True) for row in rows if row.kind == "contrast"]
    shown += [(item.row, item.row.remark, item.safe or not public) for item in versions]
    return Table(
        [
            {
                "Version": "the rule" if row.kind == "contrast" else row.name.partition(": ")[2],
                "Events": " ".join(row.events),
                "Named side": named.partition(": ")[2],
                "Verdict": _behind(row) if open_ else "withheld",
                "C": moved(row.effect, row.sign) if open_ else "withheld",
                "Interval": _interval(row.low, row.high, row.sign) if open_ else "withheld",
                "Leaves out zero": "yes" if row.low > 0 or row.high < 0 else "no",
                "p": p_value(row.p),
                "MDE": percent(row.mde, sign=False) if open_ else "withheld",
                "Break-even": share_words(row.breakeven_share),
            }
            for row, named, open_ in shown
        ]
    )


def timing_table(timing: pd.DataFrame) -> Table:
    """Lay out the checks before and after: what each would show, and what it shows.

    Parameters
    ----------
    timing : DataFrame
        As `before_and_after` gives it.
    """
    rows = []
    for _, seen in timing[timing["sector"] != MIRROR].groupby("check", sort=False):
        judged = seen[seen["p"].notna()]
        up, down = judged[judged["low"] > 0], judged[judged["high"] < 0]
        marked = [
            f"{label(row['sector'])} {moved(row['effect'], row['sign'])}"
            for row in [*up.to_dict("records"), *down.to_dict("records")]
        ]
        quiet = len(judged) - len(marked)
        words = [*marked, f"{quiet} of {len(seen)} within the usual"]
        if judged.empty:
            words = [f"too few independent windows (about {seen['independent'].min():.0f})"]
        least = judged["p_family"].min()
        rows.append(
            {
                "Check": seen["title"].iloc[0],
                "If priced": seen["priced"].iloc[0],
                "If not priced": seen["unpriced"].iloc[0],
                "If wrong": seen["wrong"].iloc[0],
                "Seen": "; ".join(words),
                "Smallest adjusted p": p_value(float(least)),
                "Independent windows": number(seen["independent"].min(), 0),
            }
        )
    return Table(rows)


def timing_numbers(timing: pd.DataFrame) -> Table:
    """Lay out every check's number by sector; a star marks an interval that leaves out zero."""
    names = list(dict.fromkeys(timing["sector"]))
    rows = []
    for title, part in timing.groupby("title", sort=False):
        cells = {"Check": str(title)} | {label(name): DASH for name in names}
        for row in part.to_dict("records"):
            star = "*" if row["low"] > 0 or row["high"] < 0 else ""
            cells[label(str(row["sector"]))] = moved(row["effect"], row["sign"]) + star
        rows.append(cells)
    return Table(rows)


def counterfactual_table(found: Counterfactuals) -> Table:
    """Lay out a sector's statistic against each counterfactual; the first row is the rule."""
    return Table(
        [
            {
                "Counterfactual": row["model"],
                "C": moved(row["effect"], row["sign"]),
                "Interval, this row alone": _interval(row["low"], row["high"], row["sign"]),
                "p, alone": p_value(row["p"]),
                "Placebo calendars": number(row["shifts"], 0),
                "Daily error before": percent(row["rmse"], 2, sign=False),
                "R\N{SUPERSCRIPT TWO}": number(row["r2"], 2),
                "Spread on quiet dates": percent(row["spread"], sign=False),
                "Duality gap": f"{row['gap']:.0e}" if pd.notna(row["gap"]) else DASH,
                "Fit": row["reason"] or row["fit"],
            }
            for row in found.rows.to_dict("records")
        ]
    )


def match_table(found: Counterfactuals, most: int = 6) -> Table:
    """Lay out which donors stood for the sector at each event, the largest weights first."""
    lines = []
    for (model, event), part in found.weights.groupby(["model", "event"], sort=False):
        top = part.head(most)
        named = zip(top["donor"], top["weight"], strict=True)
        words = ", ".join(
            f"{name.replace('_', ' ')} {percent(weight, 0, sign=False)}" for name, weight in named
        )
        rest = len(part) - len(top)
        lines.append(
            {
                "Counterfactual": model,
                "Event": event,
                "Donors in use": str(len(part)),
                "Largest weights": words + (f", {rest} more" if rest else ""),
            }
        )
    return Table(lines, columns=["Counterfactual", "Event", "Donors in use", "Largest weights"])


def thesis_table(rows: Sequence[Verdict]) -> Table:
    """Lay out how dollars announced become an implied move, base case."""
    return Table(
        [
            {
                "Sector": label(row.name),
                "Announced, USD bn": money(row.implied.announced),
                "Spent": money(row.implied.spent["base"]),
                "Reaches listed firms": money(row.implied.revenue["base"]),
                "Profit": dollars(row.implied.profit["base"]),
                "After tax": dollars(row.implied.after_tax["base"]),
                "Present value": dollars(row.implied.dollars["base"]),
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


def left_out_table(dropped: Sequence[Dropped]) -> Table:
    """Lay out everything that was left out, one row for each kind and reason.

    Parameters
    ----------
    dropped : sequence of Dropped
        As `Study.dropped` has them, the heaviest first.

    Returns
    -------
    Table of str
        Kind, how many were left out, the reason, and which they are.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for item in dropped:
        kind, *where = f"{item.what}/{item.name}".split("/")
        named = [SECTOR_NAMES.get(part, part) for part in where]
        name = (" · " if named != where else "/").join(named)
        groups.setdefault((kind, item.reason), []).append(name)
    return Table(
        [
            {
                "What": KINDS.get(kind, kind[:1].upper() + kind[1:]),
                "How many": len(names),
                "Why": reason,
                "Which": "; ".join(names),
            }
            for (kind, reason), names in groups.items()
        ],
        columns=["What", "How many", "Why", "Which"],
    )


def glossary_table() -> Table:
    """Lay out every verdict that the rule knows, with its meaning.

    Returns
    -------
    Table of str
    """
    return Table([{"Verdict": name, "Means": meaning} for name, meaning in MEANINGS.items()])


def findings_table(market: Market) -> Table:
    """Lay out what looks wrong in a market's numbers, the heaviest first, or say why none does."""
    rows = [
        {
            "Series": item.ticker,
            "First day": str(item.day),
            "Size": item.measure,
            "Looks like": item.words,
            "What to do": item.advice,
        }
        for item in market.findings
    ]
    if rows:
        return Table(rows)
    told = "nothing looks wrong"
    if market.level == "portfolio":
        told = "averages of firms: there is no single price here that could be checked"
    elif market.simulated:
        told = "simulated: nothing was read that could be wrong"
    return Table([{"Prices and returns": told}])


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


def dose_table(spec: Spec, doses: pd.DataFrame) -> Table:
    """Lay out the named firms with their doses; ``doses`` is what `firm_doses` gives."""
    names = {firm.ticker: firm.name for firm in spec.firms}
    return Table(
        [
            {
                "Event": row["event"],
                "Ticker": row["ticker"],
                "Name": names[row["ticker"]],
                "Announced, USD bn": money(row["dose_usd_bn"]),
                "Market value, USD bn": money(row["value_usd_bn"]),
                "Dose": percent(row["dose"], 0, sign=False),
                "Implied move low / base / high": cases_words(
                    {} if pd.isna(row["base"]) else {case: row[case] for case in CASES}
                ),
            }
            for row in doses.sort_values("event", kind="stable").to_dict("records")
        ],
        columns=[
            "Event",
            "Ticker",
            "Name",
            "Announced, USD bn",
            "Market value, USD bn",
            "Dose",
            "Implied move low / base / high",
        ],
    )


SLOPE_CELLS = (
    *("On one firm", "Cents per dollar", "Interval", "p", "Guarded", "Quiet days", "MDE"),
    "Break-even",
)


def exposure_table(rows: Sequence[Exposure], *, public: bool = True) -> Table:
    """Lay out slopes of abnormal return on dose, in cents of market value per dollar announced.

    A cent per dollar is a percentage point of abnormal return per dose of 100%.

    Parameters
    ----------
    rows : sequence of Exposure
    public : bool
        Withhold slopes that one firm carries.
    """
    return Table(
        [
            {
                "Slope": exposure_words(row),
                "As evidence": evidence_words(row),
                "Exposed": str(row.exposed) if row.firms else DASH,
                "Implied": " / ".join(_cents(v) for v in row.implied.values()) or "none",
                **_slope_cells(row.slope, public=public),
            }
            for row in rows
        ]
    )


def _slope_cells(found: Slope | None, *, public: bool) -> dict[str, str]:
    if found is None:
        return dict.fromkeys(SLOPE_CELLS, DASH)
    shown = (_cents(found.value), f"{_cents(found.low)} to {_cents(found.high)}")
    cells = (
        percent(found.top_share, 0, sign=False),
        *(shown if found.safe or not public else ("withheld", "withheld")),
        p_value(found.raw.p_cdf),
        p_value(found.p),
        str(len(found.law)),
        _cents(found.mde),
        share_words(found.breakeven),
    )
    return dict(zip(SLOPE_CELLS, cells, strict=True))


def exposure_words(row: Exposure) -> str:
    """Return which firms and which quiet days a slope is about."""
    events = ", ".join(row.events) or "no event"
    parts = ["all sectors", events]
    if not row.blackout:
        parts.append("blackout firms in")
    if row.without:
        parts.append(f"without {' '.join(row.without)}")
    parts.append("quiet days before the first event" if row.before else "all quiet days")
    return "; ".join(parts)


def evidence_words(row: Exposure) -> str:
    """Return what the rule of the verdict would say, or why nothing; what limits it first."""
    if row.reason:
        return f"none: {row.reason}"
    also = f"; same session: {', '.join(row.same_session)}" if row.same_session else ""
    if row.slope and row.slope.rests_on:
        return f"{row.headline} (by the rule: {row.verdict}){also}"
    if row.slope and not row.slope.safe:
        return f"rests on one firm (by the rule: {row.verdict}){also}"
    return row.headline + also


def _cents(value: float) -> str:
    return number(100 * value, 1)

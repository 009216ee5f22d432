"""Results as display tables: units and words for the eye, nothing computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from usjp_research.engine.battery.window import WindowTests
from usjp_research.engine.placebo import Placebo
from usjp_research.market.record import MIRROR, Dropped, Market
from usjp_research.report.battery import battery_frame
from usjp_research.report.numbers import Table, lay_out
from usjp_research.spec.records import Spec
from usjp_research.study.contrast import NamedVersion
from usjp_research.study.counterfactual import Counterfactuals
from usjp_research.study.events import EventPanel
from usjp_research.study.exposure import Exposure
from usjp_research.study.portfolios import Portfolios
from usjp_research.study.reactions import OUTSIDE
from usjp_research.study.verdict import CASES, DEPENDS, MEANINGS, Verdict
from usjp_research.words import (
    DASH,
    MINUS,
    NOT_COUNTED,
    SECTOR_NAMES,
    InputError,
    between,
    label,
    listed,
    money,
    moved,
    nearest,
    number,
    percent,
)

Row = dict[str, Any]
Rows = list[Row]
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


@dataclass(frozen=True, slots=True)
class Told:
    """A row as the market saw it: a fall is below zero whatever the thesis expected.

    ``expected`` is +1 for a rise, -1 for a fall, 0 where events differ; then numbers are in the
    expected direction.
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
    """Turn a signed row and its implied shares into what the market did."""
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


def _far_end(row: Verdict, seen: Told) -> str:
    """Return the end of the interval on the thesis's side in USD bn, where it lies there."""
    if "contrast" in row.kind or not row.implied.market_value or not seen.reach > 0:
        return DASH
    size = money(seen.reach * row.implied.market_value)
    return f"{MINUS}{size} (lower end)" if seen.expected < 0 else size


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


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows by the names of their columns."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def counted(row: Mapping[str, Any]) -> bool:
    """Say whether a reaction counts for its sector: the thesis expects a sign of the event."""
    return int(row["sign"]) != 0 and row["blackout"] != OUTSIDE


def _interval(low: float, high: float, sign: int) -> str:
    """Return the interval of a signed sum in market direction."""
    return told(None, low, high, {}, sign).interval()


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


# --- the rows of every table, in the fields that numbers.csv lays out -------------------------


def _seen(row: Mapping[str, Any], low: str = "low", high: str = "high") -> dict[str, str]:
    """Return effect and interval of a signed row in market direction."""
    sign = int(row["sign"])
    interval = told(None, row[low], row[high], {}, sign).interval()
    return {"observed": moved(row["effect"], sign), "interval": interval}


def _verdicts(rows: Sequence[Verdict]) -> Iterator[Row]:
    """Lay out verdicts; what was expected to fall is told as a fall."""
    for row in rows:
        seen = told_row(row)
        yield {
            **{"name": row.name, "said": verdict_words(row), "p_stepdown": row.p_stepdown},
            **{"observed": seen.observed(), "interval": seen.interval(), "mde": row.mde},
            **{"cases": cases_words(seen.share), "far_end": _far_end(row, seen)},
            "breakeven_share": row.breakeven_share,
        }


def _thesis(rows: Sequence[Verdict]) -> Iterator[Row]:
    """Lay out how dollars announced become an implied move, base case."""
    for row in rows:
        implied = row.implied
        base = {
            name: getattr(implied, name)["base"]
            for name in ("spent", "revenue", "profit", "after_tax", "dollars")
        }
        plain = {name: getattr(implied, name) for name in ("announced", "market_value", "lines")}
        yield {
            **{"name": row.name, "valued": f"{implied.valued} of {implied.firms}"},
            **{"cases": cases_words(told_row(row).share), **base, **plain},
        }


def _contrast(
    rows: Sequence[Verdict], versions: Sequence[NamedVersion], *, public: bool = True
) -> Iterator[Row]:
    """Lay out the contrast and its versions; withhold those from which a firm could be read."""
    shown = [(row, row.remark.partition(";")[0], True) for row in rows if row.kind == "contrast"]
    shown += [(item.row, item.row.remark, item.safe or not public) for item in versions]
    for row, named, open_ in shown:
        said = f"{row.headline} ({row.reason})" if row.rests_on else row.headline
        interval = told(None, row.low, row.high, {}, row.sign).interval()
        told_of = {"said": said, "mde": row.mde, "interval": interval}
        told_of["observed"] = moved(row.effect, row.sign)
        yield {
            "version": "the rule" if row.kind == "contrast" else row.name.partition(": ")[2],
            **{"events": " ".join(row.events), "named": named.partition(": ")[2]},
            **(told_of if open_ else dict.fromkeys(told_of, "withheld")),
            "beyond": "yes" if row.low > 0 or row.high < 0 else "no",
            **{"p": row.p, "breakeven": row.breakeven_share},
        }


def _events(spec: Spec, roles: Sequence[str] = ("primary",)) -> Iterator[Row]:
    """Lay out the events of some roles with their reasons and same-window news."""
    for event in spec.with_role(*roles):
        known = " (day only)" if event.precision == "day" else ""
        announced = f"{event.instant:%Y-%m-%d %H:%M %Z}{known}"
        words = {name: getattr(event, name) for name in ("id", "title", "reason", "confounders")}
        yield {**words, "announced": announced}


def _calendar(panel: EventPanel) -> Rows:
    """Lay out every event that can be tested with the sessions that can react."""
    return records(panel.frame().assign(second_city=panel.second_city))


def _confounders(spec: Spec, roles: Sequence[str] = ("primary",)) -> Iterator[Row]:
    """Lay out the market-moving dates that lie near events of some roles."""
    ids = {event.id for event in spec.with_role(*roles)}
    for item in spec.confounders:
        if near := [id for id in item.near_events if id in ids]:
            source = "checked" if item.checked else "general knowledge"
            row = {"session": item.session.isoformat(), "title": item.title}
            yield {**row, "near": ", ".join(near), "source": source}


def _coverage(spec: Spec, known: pd.DataFrame) -> Iterator[Row]:
    """Lay out how complete each sector's returns are; ``known`` is what `coverage` gives."""
    for sector in spec.sectors:
        share = known[sector]
        row = {"sector": sector, "members": len(spec.members(sector)), "least": share.min()}
        yield {**row, "first": share.iloc[0], "last": share.iloc[-1]}


def _members(spec: Spec, made: Portfolios, sector: str | None = None) -> Iterator[Row]:
    """Lay out who is in each portfolio at the primary events, and who is not."""
    primary = {event.id for event in spec.with_role("primary")}
    for (event, key), slot in made.slots.items():
        if event in primary and sector in (key, None):
            yield {
                **({} if sector else {"sector": key}),
                **{"event": slot.event, "session": slot.session.isoformat()},
                **{"firms": len(slot.members), "unchecked": len(slot.unchecked)},
                **{"blackout": slot.blackout, "short": slot.short, "status": slot.status},
            }


def _reactions(
    reactions: pd.DataFrame, roles: Sequence[str], sector: str | None = None
) -> Iterator[Row]:
    """Lay out abnormal returns of events of some roles, of all sectors or of one."""
    signs = {1: "up", -1: "down", 0: NOT_COUNTED}
    for row in records(reactions[reactions["role"].isin(roles)]):
        expected = DASH if row["blackout"] == OUTSIDE else signs[int(row["sign"])]
        if sector in (row["sector"], None):
            own = row if sector is None else {k: v for k, v in row.items() if k != "sector"}
            yield {**own, "expected": expected}


def _battery(tests: WindowTests) -> Iterator[Row]:
    """Lay out one window's tests, the believable first, with what each survives."""
    short = {
        "survives cross-correlation": "robust",
        "assumes independent firms": "assumes independence",
        "assumes independent firms: not to be believed here": "not to be believed",
    }
    for row in records(battery_frame(tests)):
        if "one sector only" not in row["Law"]:
            yield {**row, "role": short.get(row["Role"], row["Role"])}


def _dependence(tests: WindowTests) -> Rows:
    """Lay out how many securities there are, and how many they are worth."""
    return [{**tests.numbers, "notes": "; ".join(tests.notes) or "none"}]


def _law(law: Placebo, reactions: pd.DataFrame | None = None) -> Iterator[Row]:
    """Lay out a placebo law; ``reactions`` say which signs its events carry, else all are +."""
    signs: dict[str, set[int]] = {}
    if reactions is not None:
        primary = reactions[(reactions["role"] == "primary") & (reactions["sign"] != 0)]
        signs = {str(name): set(part["sign"]) for name, part in primary.groupby("sector")}
    for g, group in enumerate(law.groups):
        if law.reason:
            yield {"group": group, "reason": law.reason}
            continue
        own = signs.get(group, {1})
        sign = int(min(own)) if len(own) == 1 else 0
        numbers = {name: float(getattr(law, name)[g]) for name in LAW}
        seen = {"observed": moved(float(law.effect[g]), sign, 2), "calendars": len(law)}
        yield {"group": group, "independent": law.independent, **seen, **numbers}


def _variants(variants: pd.DataFrame) -> Iterator[Row]:
    """Lay out other versions of the statistic; the first one is the rule."""
    for row in records(variants):
        yield {**row, **_seen(row, "marginal_low", "marginal_high")}


def _timing(timing: pd.DataFrame) -> Iterator[Row]:
    """Lay out the checks before and after: what each would show, and what it shows."""
    for _, seen in timing[timing["sector"] != MIRROR].groupby("check", sort=False):
        judged = seen[seen["p"].notna()]
        out = [*records(judged[judged["low"] > 0]), *records(judged[judged["high"] < 0])]
        marked = [f"{label(row['sector'])} {moved(row['effect'], row['sign'])}" for row in out]
        words = [*marked, f"{len(judged) - len(out)} of {len(seen)} within the usual"]
        if judged.empty:
            words = [f"too few independent windows (about {seen['independent'].min():.0f})"]
        least = {name: float(seen[name].min()) for name in ("p_family", "independent")}
        yield {**records(seen)[0], "seen": "; ".join(words), **least}


def _counterfactuals(found: Counterfactuals) -> Iterator[Row]:
    """Lay out a sector's statistic against each counterfactual; the first row is the rule."""
    for row in records(found.rows):
        yield {**row, **_seen(row), "fitted": row["reason"] or row["fit"]}


def _donors(found: Counterfactuals, most: int = 6) -> Iterator[Row]:
    """Lay out which donors stood for the sector at each event, the largest weights first."""
    for (model, event), part in found.weights.groupby(["model", "event"], sort=False):
        top = records(part.head(most))
        words = [
            f"{row['donor'].replace('_', ' ')} {percent(row['weight'], 0, sign=False)}"
            for row in top
        ]
        words += [f"{len(part) - len(top)} more"] if len(part) > len(top) else []
        row = {"model": model, "event": event, "donors": len(part)}
        yield {**row, "largest": ", ".join(words)}


def _left_out(dropped: Sequence[Dropped]) -> Iterator[Row]:
    """Lay out everything that was left out, one row for each kind and reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for item in dropped:
        kind, *where = f"{item.what}/{item.name}".split("/")
        named = [SECTOR_NAMES.get(part, part) for part in where]
        name = (" · " if named != where else "/").join(named)
        groups.setdefault((kind, item.reason), []).append(name)
    for (kind, reason), names in groups.items():
        said = KINDS.get(kind, kind[:1].upper() + kind[1:])
        yield {"kind": said, "count": len(names), "reason": reason, "which": "; ".join(names)}


def _findings(market: Market) -> Rows:
    """Lay out what looks wrong in a market's numbers, the heaviest first, or say why none does."""
    names = ("ticker", "day", "measure", "words", "advice")
    told_of = "nothing looks wrong"
    if market.level == "portfolio":
        told_of = "averages of firms: there is no single price here that could be checked"
    elif market.simulated:
        told_of = "simulated: nothing was read that could be wrong"
    found = [{name: getattr(item, name) for name in names} for item in market.findings]
    return found or [{"told": told_of}]


def _firms(spec: Spec, firms: pd.DataFrame) -> Iterator[Row]:
    """Lay out single firms' abnormal returns; for local eyes, not for public pages."""
    names = {firm.ticker: firm.name for firm in spec.firms}
    for row in records(firms):
        yield {**row, "name": names[row["ticker"]], "beta": float(row["beta"])}


def _doses(spec: Spec, doses: pd.DataFrame) -> Iterator[Row]:
    """Lay out the named firms with their doses; ``doses`` is what `firm_doses` gives."""
    names = {firm.ticker: firm.name for firm in spec.firms}
    for row in records(doses.sort_values("event", kind="stable")):
        share = {} if pd.isna(row["base"]) else {str(case): row[case] for case in CASES}
        yield {**row, "name": names[row["ticker"]], "cases": cases_words(share)}


def _exposure(rows: Sequence[Exposure], *, public: bool = True) -> Iterator[Row]:
    """Lay out slopes of abnormal return on dose; withhold those that one firm carries."""
    for row in rows:
        implied = " / ".join(number(100 * value, 1) for value in row.implied.values())
        head = {"said": exposure_words(row), "evidence": evidence_words(row)}
        head |= {"exposed": str(row.exposed) if row.firms else DASH, "implied": implied or "none"}
        found = row.slope
        if found is None:
            yield {**head, **dict.fromkeys(SLOPE)}
            continue
        span = [number(100 * end, 1) for end in (found.low, found.high)]
        value: Row = {"slope": found.value, "interval": " to ".join(span)}
        if public and not found.safe:
            value = dict.fromkeys(value, "withheld")
        numbers = {name: getattr(found, name) for name in ("top_share", "p", "mde", "breakeven")}
        quiet = {"raw_p_cdf": found.raw.p_cdf, "quiet_days": len(found.law)}
        yield {**head, **value, **numbers, **quiet}


LAW = ("error", "statistic", "center", "p")
SLOPE = ("top_share", "slope", "interval", "raw_p_cdf", "p", "quiet_days", "mde", "breakeven")
ROWS: Mapping[str, Callable[..., Iterable[Row]]] = {
    "battery": _battery,
    "calendar": _calendar,
    "claims": lambda spec: [asdict(claim) for claim in spec.claims],
    "confounders": _confounders,
    "contrast": _contrast,
    "counterfactuals": _counterfactuals,
    "coverage": _coverage,
    "dependence": _dependence,
    "donors": _donors,
    "doses": _doses,
    "dropped": lambda dropped, *what: [
        asdict(item) for item in dropped if not what or item.what in what
    ],
    "events": _events,
    "exposure": _exposure,
    "findings": _findings,
    "firms": _firms,
    "glossary": lambda: [{"verdict": name, "means": said} for name, said in MEANINGS.items()],
    "law": _law,
    "left_out": _left_out,
    "members": _members,
    "reactions": _reactions,
    "thesis": _thesis,
    "timing": _timing,
    "variants": _variants,
    "verdicts": _verdicts,
}


def table(name: str, *data: Any, **how: Any) -> Table:
    """Lay a result out for reading: in words, with units, in the columns of ``numbers.csv``.

    Parameters
    ----------
    name : str
        Of the table, say ``"verdicts"``; `how_to_read` tells what its columns mean.
    *data
        What it shows, the result first: verdict rows for ``"verdicts"``, what `event_reactions`
        gives and the events' roles for ``"reactions"``, and so on.
    **how
        ``public=False`` shows what the tables ``"contrast"`` and ``"exposure"`` withhold.

    Returns
    -------
    Table of str

    Raises
    ------
    InputError
        When there is no table of that name.

    Examples
    --------
    >>> table("glossary").columns.tolist()
    ['Verdict', 'Means']
    """
    if name not in ROWS:
        raise InputError(f"table '{name}': no such table; {nearest(name, ROWS)}")
    return lay_out(name, list(ROWS[name](*data, **how)))

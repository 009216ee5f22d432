"""Results as display tables: units and words for the eye, nothing computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from usjp_research.engine.battery.window import WindowTests
from usjp_research.engine.evidence import LIMIT
from usjp_research.engine.placebo import Placebo
from usjp_research.market.record import MIRROR, Dropped, Market
from usjp_research.report.battery import battery_frame
from usjp_research.report.numbers import PHRASES, Table, lay_out, say, small
from usjp_research.spec.records import Spec
from usjp_research.study.answer import Study
from usjp_research.study.contrast import NamedVersion
from usjp_research.study.counterfactual import Counterfactuals
from usjp_research.study.curve import Curve
from usjp_research.study.exposure import SAVED, Exposure
from usjp_research.study.outlook import touched
from usjp_research.study.portfolios import Portfolios
from usjp_research.study.reactions import OUTSIDE
from usjp_research.study.verdict import CASES, DEPENDS, MEANINGS, NO_VERDICT, Verdict, most_kept
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

MARGINS = (0.05, 0.1, 0.2, 0.4, 1.0)
LISTED = {"quarter": 0.25, "half": 0.5, "whole": 1.0}
Row = dict[str, Any]
Rows = list[Row]


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

    def move(self) -> str:
        """Say how it moved in the market, as a number where a rise was expected."""
        return moved(-self.effect if self.expected < 0 else self.effect, self.expected)

    def observed(self) -> str:
        """Say what moved, and what was expected unless that is a rise."""
        return f"{self.move()}{'; expected: down' if self.expected < 0 else ''}"

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


def told(row: Mapping[str, Any], kind: str = "") -> Told:
    """Turn a signed row, and its implied shares if it has any, into what the market did."""
    sign = int(row.get("sign", 1))
    flip = -1 if sign < 0 else 1
    seen = (row[name] for name in ("effect", f"{kind}low", f"{kind}high"))
    effect, *ends = (math.nan if value is None else flip * value for value in seen)
    low_end, high_end = sorted(ends)
    implied = row.get("implied", {}).get("share", {})
    share = {case: flip * value for case, value in implied.items()}
    expected = -sign if implied.get("base", 0.0) < 0 else sign
    return Told(effect, low_end, high_end, share, expected)


def told_row(row: Verdict) -> Told:
    """Return a row of the scoreboard as the market saw it."""
    return told(asdict(row))


def verdict_parts(row: Verdict) -> list[str]:
    """Return the headline, then its reason or three cases, and what leaks would change."""
    head, reason = row.headline, row.reason
    if reason and not row.rests_on:
        head, reason = f"{head}: {reason}", ""
    if DEPENDS in (row.headline, row.verdict):
        by_verdict: dict[str, list[str]] = {}
        for case in CASES:
            by_verdict.setdefault(row.by_case[case], []).append(case)
        each = "; ".join(f"{listed(cases)}: {verdict}" for verdict, cases in by_verdict.items())
        reason = f"{reason}, {each}" if row.rests_on else each
    return [head, *filter(None, (reason, row.remark))]


def verdict_words(row: Verdict) -> str:
    """Return the headline with everything that stands beside it in brackets."""
    head, *rest = verdict_parts(row)
    return " ".join([head, *(f"({detail})" for detail in rest)])


def case_words(value: float) -> str:
    """Return an implied value in percent; under a tenth of one it is only that."""
    least = small(value) if value > 0 else f">{percent(-0.001)}"
    return least if 0 < abs(value) < 0.001 else percent(value)


def cases_words(share: Mapping[str, float]) -> str:
    """Return the low, base and high case in percent, or the one that all are."""
    said = [case_words(share[case]) for case in CASES] if share else ["none"]
    return said[0] if len(set(said)) == 1 else " / ".join(said)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows by the names of their columns."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def timing_numbers(timing: pd.DataFrame) -> Table:
    """Lay out every check's number by sector; a star marks an interval that leaves out zero."""
    names = list(dict.fromkeys(timing["sector"]))
    rows = []
    for title, part in timing.groupby("title", sort=False):
        cells = {"Check": str(title)} | {label(name): DASH for name in names}
        for row in part.to_dict("records"):
            said = moved(row["effect"], row["sign"] or 1) + ("" if row["sign"] else "†")
            cells[label(str(row["sector"]))] = f"{said}{'*' * (row['low'] > 0 or row['high'] < 0)}"
        rows.append(cells)
    return Table(rows)


def exposure_words(row: Exposure) -> str:
    """Return which firms and which quiet days a slope is about."""
    parts = ["all sectors", ", ".join(row.events) or "no event"]
    parts += [] if row.blackout else ["blackout firms in"]
    parts += [f"without {' '.join(row.without)}"] if row.without else []
    days = "quiet days before the first event" if row.before else "all quiet days"
    return "; ".join([*parts, days])


def evidence_words(row: Exposure) -> str:
    """Return what the rule of the verdict would say, or why nothing; what limits it first."""
    if row.reason:
        return f"none: {row.reason}"
    also = f"; same session: {', '.join(row.same_session)}" if row.same_session else ""
    if not row.slope or (row.slope.safe and not row.slope.rests_on):
        return row.headline + also
    head = row.headline if row.slope.rests_on else "rests on one firm"
    return f"{head} (by the rule: {row.verdict}){also}"


def _seen(row: Mapping[str, Any], kind: str = "") -> dict[str, str]:
    """Return effect and interval of a signed row in market direction."""
    seen = told(row, kind)
    return {"observed": seen.move(), "interval": seen.interval()}


def _of(sector: str | None, rows: Rows) -> Rows:
    """Return all rows, or those of one sector without its name."""
    if sector is None:
        return rows
    own = (row for row in rows if row["sector"] == sector)
    return [{name: value for name, value in row.items() if name != "sector"} for row in own]


def _verdicts(rows: Sequence[Verdict]) -> Iterator[Row]:
    """Lay out verdicts; what was expected to fall is told as a fall."""
    for row in rows:
        seen, worth, (said, *rest) = told_row(row), row.implied.market_value, verdict_parts(row)
        far_end = (
            DASH  # the end of the interval on the thesis's side in USD bn, where it lies there
        )
        if worth and "contrast" not in row.kind and seen.reach > 0:
            size = money(seen.reach * worth)
            far_end = f"{MINUS}{size} (lower end)" if seen.expected < 0 else size
        words = {"said": said, "remarks": "; ".join(rest) or DASH, "cases": cases_words(seen.share)}
        numbers = {"observed": seen.observed(), "interval": seen.interval()}
        yield {**asdict(row), **words, **numbers, "far_end": far_end}


def _what_if(study: Study) -> Iterator[Row]:
    """Lay out what margins and listed shares would be worth, where any would be visible."""
    for row in study.rows:
        most = most_kept(study.data.spec.thesis, row.implied)
        if row.kind != "sector" or not most > 0 or row.headline == NO_VERDICT:
            continue
        needed = row.mde / most
        phrase, least = ("visible", 0) if needed <= 1 else ("never", -1)
        said = say(f"what if {phrase}", asdict(row), needed=needed, most=most)
        for margin in MARGINS[least:]:
            worth = {name: margin * part * most for name, part in LISTED.items()}
            cells = {k: f"{small(v)}{'*' if v >= row.mde else ''}" for k, v in worth.items()}
            yield {"sector": row.name, "margin": margin, "mde": row.mde, "said": said, **cells}
            said = DASH


def _channels(study: Study, rows: Sequence[Verdict] = ()) -> Iterator[Row]:
    """Lay out what each channel adds to the implied value of a study's rows, or of those given."""
    thesis = study.data.spec.thesis
    lines = {line.id: line for line in thesis.lines} if thesis else {}
    for row in rows or study.rows:
        for channel, share in row.implied.channels.items():
            used = (lines[id] for id in row.implied.lines if lines[id].channel == channel)
            told = "; ".join(dict.fromkeys(line.source for line in used))
            cases = {case: case_words(value) for case, value in share.items()}
            yield {"sector": row.name, "channel": channel, **cases, "source": told}


def _contrast(
    rows: Sequence[Verdict], versions: Sequence[NamedVersion], *, public: bool = True
) -> Iterator[Row]:
    """Lay out the contrast and its versions; withhold those from which a firm could be read."""
    shown = [("the rule", row, True) for row in rows if row.kind == "contrast"]
    shown += [(v.row.name.partition(": ")[2], v.row, v.safe or not public) for v in versions]
    for version, row, open_ in shown:
        said = f"{row.headline} ({row.reason})" if row.rests_on else row.headline
        seen = {"said": said, "mde": row.mde, **_seen({**asdict(row), "implied": {}})}
        yield {
            **asdict(row),
            **(seen if open_ else dict.fromkeys(seen, "withheld")),
            "version": version,
            "named": row.remark.partition(";")[0].partition(": ")[2],
            "beyond": "yes" if row.low > 0 or row.high < 0 else "no",
        }


def _events(spec: Spec, roles: Sequence[str] = ("primary",)) -> Iterator[Row]:
    """Lay out the events of some roles with their reasons and same-window news."""
    for event in spec.with_role(*roles):
        known = " (day only)" if event.precision == "day" else ""
        yield {**asdict(event), "announced": f"{event.instant:%Y-%m-%d %H:%M %Z}{known}"}


def _confounders(spec: Spec, primary: bool = True) -> Iterator[Row]:
    """Lay out the market-moving dates that lie near primary events, or all the others."""
    ids = {event.id for event in spec.with_role("primary")}
    for item in spec.confounders:
        if bool(ids.intersection(item.near_events)) == primary:
            near = ", ".join(item.near_events) or DASH
            yield {**asdict(item), "near": near, "source": item.source or "not checked"}


def _coverage(spec: Spec, known: pd.DataFrame) -> Iterator[Row]:
    """Lay out how complete each sector's returns are; ``known`` is what `coverage` gives."""
    for sector in spec.sectors:
        share = known[sector]
        row = {"sector": sector, "members": len(spec.members(sector)), "least": share.min()}
        yield {**row, "first": share.iloc[0], "last": share.iloc[-1]}


def _members(spec: Spec, made: Portfolios, sector: str | None = None) -> Rows:
    """Lay out who is in each portfolio at the primary events, and who is not."""
    primary = {event.id for event in spec.with_role("primary")}
    slots = [asdict(slot) for slot in made.slots.values() if slot.event in primary]
    return _of(sector, slots)


def _reactions(reactions: pd.DataFrame, roles: Sequence[str], sector: str | None = None) -> Rows:
    """Lay out abnormal returns of events of some roles, of all sectors or of one."""
    signs = {1: "up", -1: "down", 0: NOT_COUNTED}
    rows = records(reactions[reactions["role"].isin(roles)])
    for row in rows:
        row["expected"] = DASH if row["blackout"] == OUTSIDE else signs[int(row["sign"])]
    return _of(sector, rows)


def _battery(tests: WindowTests) -> Iterator[Row]:
    """Lay out one window's tests, the believable first, with what each survives."""
    for row in records(battery_frame(tests)):
        if "one sector only" not in row["Law"]:
            yield {**row, "role": PHRASES["roles of tests"].get(row["Role"], row["Role"])}


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
        numbers = {name: getattr(law, name)[g] for name in ("error", "statistic", "center", "p")}
        seen = {"observed": moved(float(law.effect[g]), sign, 2), "calendars": len(law)}
        yield {"group": group, "independent": law.independent, **seen, **numbers}


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


def _curve(found: Curve) -> Iterator[Row]:
    """Lay out what every sector's specifications say together, and what moves them most."""
    for row in records(found.joint):
        sign = int(row["sign"])
        first = records(found.moves[found.moves["sector"] == row["sector"]])[0]
        seen = {key: moved(row[key], sign) for key in ("median", "lowest", "highest")}
        spread = percent(first["spread"], sign=False)
        yield {**row, **seen, "moves": say("curve moves", first, distance=spread)}


def curve_words(found: Curve, sector: str) -> str:
    """Say in sentences what a sector's specifications say together."""
    return next(say("curve", row) for row in _curve(found) if row["sector"] == sector)


def _donors(found: Counterfactuals, most: int = 6) -> Iterator[Row]:
    """Lay out which donors stood for the sector at each event, the largest weights first."""
    for (model, event), part in found.weights.groupby(["model", "event"], sort=False):
        shown = part.head(most)
        shares = shown["weight"].map(lambda weight: percent(weight, 0, sign=False))
        words = [*(shown["donor"].str.replace("_", " ") + " " + shares)]
        words += [f"{len(part) - most} more"] if len(part) > most else []
        yield {"model": model, "event": event, "donors": len(part), "largest": ", ".join(words)}


def _left_out(dropped: Sequence[Dropped]) -> Iterator[Row]:
    """Lay out everything that was left out, one row for each kind and reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for item in dropped:
        kind, *where = f"{item.what}/{item.name}".split("/")
        named = [SECTOR_NAMES.get(part, part) for part in where]
        name = (" · " if named != where else "/").join(named)
        groups.setdefault((kind, item.reason), []).append(name)
    for (kind, reason), names in groups.items():
        said = PHRASES["left out"].get(kind, kind[:1].upper() + kind[1:])
        yield {"kind": said, "count": len(names), "reason": reason, "which": "; ".join(names)}


def _findings(market: Market, spec: Spec | None = None) -> Rows:
    """Lay out what looks wrong in a market's numbers, the heaviest first, or say why none does.

    With what is asked, each has the window that it touches, and those that stop the study lead.
    """
    why = "simulated" if market.simulated else "real"
    told_of = PHRASES["no findings"]["portfolio" if market.level == "portfolio" else why]
    if spec and market.findings:
        return [{"found": item, "where": where or "none"} for item, where in touched(spec, market)]
    return [{"found": item} for item in market.findings] or [{"told": told_of}]


def _firms(spec: Spec, firms: pd.DataFrame) -> Rows:
    """Lay out single firms' abnormal returns; for local eyes, not for public pages."""
    names = {firm.ticker: firm.name for firm in spec.firms}
    return records(firms.assign(name=firms["ticker"].map(names)))


def _doses(spec: Spec, doses: pd.DataFrame) -> Iterator[Row]:
    """Lay out the named firms with their doses; ``doses`` is what `firm_doses` gives."""
    for row in _firms(spec, doses.sort_values("event", kind="stable")):
        share = {} if math.isnan(row["base"]) else {str(case): row[case] for case in CASES}
        yield {**row, "cases": cases_words(share)}


def _exposure(rows: Sequence[Exposure], *, public: bool = True) -> Iterator[Row]:
    """Lay out slopes of abnormal return on dose; withhold those that one firm carries."""
    for row in rows:
        found = row.slope
        seen = {name: saved(found) if found else None for name, saved in SAVED.items()}
        span = [number(100 * end, 1) for end in (found.low, found.high)] if found else [DASH]
        seen["interval"] = " to ".join(span)
        if public and found and not found.safe:
            seen |= dict.fromkeys(("slope", "interval"), "withheld")
        yield {
            **seen,
            "said": exposure_words(row),
            "evidence": evidence_words(row),
            "exposed": str(row.exposed) if row.firms else DASH,
            "implied": " / ".join(number(100 * v, 1) for v in row.implied.values()) or "none",
        }


def _says(frame: pd.DataFrame) -> Iterator[Row]:
    """Lay out what each row of the second rule says, its ceiling first."""
    for row in records(frame):
        seen, times = told(row), row["too_small_by"]
        ratio = "under 1/20" if row["evidence"] <= 1 / LIMIT else number(row["evidence"], 2)
        ratio = "over 20" if row["evidence"] >= LIMIT else ratio
        yield {
            **row,
            **_seen(row),
            "same": "yes" if row["agrees"] else f"no: {row['first_headline']}",
            "bound": percent(seen.reach) + ("" if row["excludes_gain"] else "*"),
            "too_small": DASH if math.isnan(times) else f"{times:,.0f} times",
            "evidence_said": row["evidence_reason"] or ratio,
        }


ROWS: Mapping[str, Callable[..., Iterable[Row]]] = {
    "assurance": records,
    "battery": _battery,
    "calendar": lambda panel: records(panel.frame().assign(second_city=panel.second_city)),
    "channels": _channels,
    "candidates": records,
    "claims": lambda spec: map(asdict, spec.claims),
    "confounders": _confounders,
    "contrast": _contrast,
    "control": lambda frame: [{**row, **_seen(row)} for row in records(frame)],
    "counterfactuals": lambda found: [
        {**row, **_seen(row), "fitted": row["reason"] or row["fit"]} for row in records(found.rows)
    ],
    "coverage": _coverage,
    "curve": _curve,
    "dependence": lambda tests: [{**tests.numbers, "notes": "; ".join(tests.notes) or "none"}],
    "days": _says,
    "donors": _donors,
    "doses": _doses,
    "dropped": lambda dropped, *what: [asdict(d) for d in dropped if not what or d.what in what],
    "events": _events,
    "exposure": _exposure,
    "findings": _findings,
    "firms": _firms,
    "first_trade": lambda frame: [
        {**row, **_seen(row), "part_said": PHRASES["parts"][row["part"]]} for row in records(frame)
    ],
    "glossary": lambda: [{"verdict": name, "means": said} for name, said in MEANINGS.items()],
    "law": _law,
    "left_out": _left_out,
    "members": _members,
    "no_channel": lambda spec: [
        dict(zip(("what", "why"), text.split(": ", 1), strict=True))
        for text in (spec.thesis.no_channel if spec.thesis else ())
    ],
    "power": records,
    "reactions": _reactions,
    "says": _says,
    "since": lambda frame: [
        {**row, "range": between(row["placebo_low"], row["placebo_high"])} for row in records(frame)
    ],
    "size": lambda frame: [{**row, "hold": 1 - row["families"]} for row in records(frame)],
    "thesis": _verdicts,
    "timing": _timing,
    "variants": lambda frame: [{**row, **_seen(row, "marginal_")} for row in records(frame)],
    "verdicts": _verdicts,
    "what_if": _what_if,
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

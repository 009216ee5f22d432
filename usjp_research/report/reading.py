"""The answer in plain sentences, composed from a run's result files and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from usjp_research.report.numbers import share_words
from usjp_research.report.tables import Told, implied_digits, told
from usjp_research.runs.store import json_bytes, own_results, read_results, write_whole
from usjp_research.spec.records import Note, Words
from usjp_research.study.answer import Study
from usjp_research.study.exposure import MOST_ON_ONE
from usjp_research.words import MINUS, label, level, listed, moved, naming, number, p_value, percent

Results = Mapping[str, Any]
COUNTS = [*("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")]
COUNTS += ["eleven", "twelve"]

# What each verdict says of the sectors that have it; {} is their names.
SAID = {
    ("cannot say", "too small to see"): (
        "{} cannot be judged, because the thesis, even if it is right, is worth too little there "
        "to show in prices"
    ),
    ("cannot say", "interval too wide"): "{} cannot be judged, because prices moved too freely",
    ("not priced in", ""): "{} did not move by what the thesis is worth: it is not priced in",
    ("partly priced in", ""): "{} moved the thesis's way, by less than it is worth",
    ("priced in", ""): "{} moved by what the thesis is worth: it is priced in",
    ("more than priced in", ""): "{} moved by more than the thesis is worth",
    ("moved against", ""): "{} moved against the thesis",
    ("reacted, size unclear", ""): "{} moved the thesis's way, by an amount that stays open",
}
DEPENDS = "for {} the verdict depends on which value of the thesis one takes"
QUESTION = "Has the market priced it in? "  # that the first sentence answers
AVERAGES = ", as averages of three or more of them, so that no single firm can be read back"
WORTH = (
    "The thesis is worth dollars announced × share of listed firms × margin, after tax, "
    "discounted, over market value."
)
OWN_MARKET = "the file’s own column of that name where it has one, else "
FEW = 5  # named firms up to which a contrast is about very few


@dataclass(frozen=True, slots=True)
class Reading:
    """What the numbers say: sentences for a portfolio manager, one paragraph for a quant."""

    sentences: tuple[str, ...]
    quant: str

    def _repr_html_(self) -> str:
        from html import escape

        items = "".join(f"<li>{escape(text)}</li>" for text in self.sentences)
        return f"<ol>{items}</ol><p><b>For the quant.</b> {escape(self.quant)}</p>"


def save_reading(out: str | Path) -> Reading:
    """Compose the reading of a run and save it as ``results/reading.json``."""
    results = read_results(out)
    found = compose(results)
    folder = own_results(out, results["study"]["spec"], results["study"]["snapshot"])
    write_whole(folder / "reading.json", json_bytes(asdict(found)))
    return found


def compose(results: Results) -> Reading:
    """Turn results, as `read_results` gives them, into sentences; each needs its numbers."""
    parts = (_answer, _size, _known, _contrast, _exposure, _pattern, _campaign, _change)
    with naming(Words(**results.get("words", {})).names()):
        return Reading(tuple(text for part in parts if (text := part(results))), _quant(results))


def method(study: Study) -> Note:
    """Return data and method in ten lines of Markdown, with the numbers of a study's own rule."""
    spec, market, made = study.data.spec, study.data.market, study.data.portfolios
    rule = spec.rule
    firms = sum(len(made.members[f"sector/{name}"]) for name in spec.sectors)
    averages = market.level == "portfolio"
    first, last = (f"{day:+d}".replace("-", MINUS) if day else "0" for day in rule.window)
    lines = [
        "An event is an instant; its day 0 is the first New York session that could react.",
        "A sector is the equal-weighted average of its firms, without those that had results, "
        f"guidance or merger news of their own within {rule.blackout.margin} sessions of the "
        "window.",
        "The abnormal return is the sector’s return less what the "
        f"{rule.model.replace('_', '-')} model expects, over sessions {first} to {last}.",
        f"The model is fitted on {rule.estimation.sessions} sessions that end "
        f"{rule.estimation.ends_before} before the window; windows of real events are left out "
        "of the fit.",
        "The reaction is the sum over the primary events, each with the sign that the thesis "
        "expects.",
        "Its standard error is the larger of the forecast error and that of the "
        f"{rule.guard_sessions} sessions before: wild days count for less.",
        f"Its law is the same study on {len(study.family)} quiet dates (about "
        f"{study.family.independent:.0f} independent): the whole calendar shifted, spacing and "
        "common dates kept.",
        f"The {level(rule.alpha)} intervals hold for all sectors at once, by the largest distance "
        "of any sector on each quiet date.",
        *([WORTH] if spec.thesis else []),
        "The verdict follows from the interval and that value alone, by one rule for all sectors.",
    ]
    return Note(
        f"Daily returns of {firms} securities in {len(spec.sectors)} sectors, "
        f"{market.dates[0]:%Y-%m-%d} to {market.dates[-1]:%Y-%m-%d} ({len(market.dates)} "
        f"sessions){AVERAGES if averages else ''}. The U.S. market is "
        f"{'' if averages else OWN_MARKET}the mean of {', '.join(rule.benchmark)}. Firms that "
        "are not in the universe, such as delisted ones, are missing.\n\n"
        + "\n".join(f"{k}. {line}" for k, line in enumerate(lines, 1))
    )


# --- words -----------------------------------------------------------------------------------


def _count(value: int) -> str:
    return COUNTS[value] if value < len(COUNTS) else str(value)


def _names(rows: Sequence[Results]) -> str:
    return listed([label(row["name"]) for row in rows])


def _who(rows: Sequence[Results], of: int) -> str:
    """Name one or two, count more of them and name them in brackets."""
    if len(rows) < 3:
        return _names(rows)
    some = "all" if len(rows) == of else f"{_count(len(rows))} of"
    return f"{some} {_count(of)} sectors ({_names(rows)})"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _side(low: float | None, high: float | None) -> int:
    """Return the side of zero on which an interval lies, or 0 when it holds it or is none."""
    if low is None or high is None:
        return 0
    return 1 if low > 0 else -1 if high < 0 else 0


def _stands(row: Results) -> int:
    return _side(row["low"], row["high"])


def _told(row: Results) -> Told:
    share = row["implied"]["share"] if "implied" in row else {}
    return told(row["effect"], row["low"], row["high"], share, int(row.get("sign", 1)))


def _move(row: Results) -> str:
    """Say how a row moved in the market, the number for a rise or fall that was expected up."""
    seen = _told(row)
    return moved(-seen.effect, -1) if seen.expected < 0 else moved(seen.effect, seen.expected)


def _judged(results: Results) -> list[Results]:
    """Return the sectors' rows that have numbers."""
    return [row for row in results["study"]["rows"] if row["low"] is not None]


# --- sentences -------------------------------------------------------------------------------


def _answer(results: Results) -> str:
    rows = results["study"]["rows"]
    groups: dict[str, list[Results]] = {}
    for row in rows:
        groups.setdefault(_verdict(row, rows), []).append(row)
    said = [text.replace("{}", _who(part, len(rows))) for text, part in groups.items()]
    return f"{QUESTION}{_upper('; '.join(said))}."


def _verdict(row: Results, rows: Sequence[Results]) -> str:
    """Return what a row's verdict says, with {} for its name."""
    if row["headline"] == "no verdict":
        return f"{{}} cannot be judged at all: {row['reason'] or 'no reason was kept'}"
    if row["headline"].startswith("depends"):
        return DEPENDS
    if row["headline"] == "no implied value":
        return f"{{}} cannot be judged, because {_no_value(row, rows)}"
    why = f"{{}}: {row['headline']}" + (f", {row['reason']}" if row["reason"] else "")
    return SAID.get((row["headline"], row["reason"]), why)


def _no_value(row: Results, rows: Sequence[Results]) -> str:
    if row["implied"].get("announced"):
        if row["implied"].get("market_value"):
            return "the thesis comes to nothing there"
        return "the market value of no firm is known there"
    some = any(other["implied"].get("announced") for other in rows)
    return "the thesis puts no dollars there" if some else "no thesis in dollars is given"


def _size(results: Results) -> str:
    valued = [row for row in _judged(results) if row["implied"]["share"]]
    if not valued:
        return ""
    sizes = {row["name"]: max(map(abs, row["implied"]["share"].values())) for row in valued}
    most = max(valued, key=lambda row: sizes[row["name"]])
    largest = sizes[most["name"]]
    worth = percent(largest, implied_digits(largest) if largest < 0.01 else 1, sign=False)
    power = level(1 - results["study"]["power"])
    seen = [row for row in valued if sizes[row["name"]] >= row["mde"]]
    largest_value = f"{worth} of market value ({label(most['name'])})"
    if seen:
        return (
            f"In {_names(seen)} the thesis, in its largest case, is worth at least the smallest "
            f"move that these data would find with {power} probability; its largest value is "
            f"{largest_value}."
        )
    ends = [percent(size(row["mde"] for row in valued), sign=False) for size in (min, max)]
    span = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}, by sector"
    return (
        f"Taken at its word the thesis is worth at most {largest_value}, and in no sector as much "
        f"as the smallest move that these data would find with {power} probability ({span}): true "
        "or not, it is too small for sector prices to show reliably."
    )


def _known(results: Results) -> str:
    rows = _judged(results)
    if not rows:
        return ""
    out = [row for row in rows if _stands(row)]
    rest = [row for row in rows if not _stands(row)]
    alone = [r for r in rest if _side(r.get("marginal_low"), r.get("marginal_high"))]
    together = "taken together, " if len(rows) > 1 else ""
    who = [f"{label(row['name'])} ({_move(row)})" for row in out] or ["no sector"]
    text = f"What is known: {together}{listed(who)} moved beyond what quiet dates show"
    if alone:
        each = [f"{label(r['name'])} ({_move(r)}, p {p_value(r['p'])})" for r in alone]
        text += f", though looked at alone {listed(each)} did"
    return f"{text}; {_bounds(results, rows)}{_yardsticks(results)}."


def _bounds(results: Results, rows: Sequence[Results]) -> str:
    """Say which moves the intervals leave out, in the direction that the thesis expects."""
    tight = min(rows, key=lambda row: _told(row).reach)
    loose = max(rows, key=lambda row: _told(row).reach)
    sure = level(results["study"]["alpha"])
    first = f"at {sure}, {_told(tight).ruled_out()} is ruled out in {label(tight['name'])}"
    if tight is loose:
        return first
    every = "both" if len(rows) == 2 else f"all {_count(len(rows))}"
    return (
        f"{first}, the tightest, and {_told(loose).ruled_out()} in {label(loose['name'])}, the "
        f"loosest, {every} at once"
    )


def _yardsticks(results: Results) -> str:
    """Say what other expected-return models change; the rule's is the first of each sector."""
    seen = [row for row in results["robustness"] if row["effect"] is not None]
    rule: dict[str, Results] = {}
    for row in seen:
        rule.setdefault(row["sector"], row)
    other = [row for row in seen if row is not rule[row["sector"]]]
    if not other:
        return ""
    models = len({row["model"] for row in other})
    text = f"; against {_count(models)} other yardstick{'s' * (models != 1)}, looked at alone, "
    said = []
    for sector, own in rule.items():
        rows = [row for row in other if row["sector"] == sector]
        if any(_stands(row) != _stands(own) for row in rows):
            said.append(f"{label(sector)} {_differs(own, rows)}")
    if said:
        return text + listed(said)
    every = len(rule) > 1 and len(rule) == len(_judged(results))
    who = "each sector" if every else listed([*map(label, rule)])
    return f"{text}{who} {'says' if every or len(rule) == 1 else 'say'} the same"


def _differs(own: Results, rows: Sequence[Results]) -> str:
    """Count the yardsticks by which a sector stands out, on the side of the rule's first."""
    side = _stands(own) or 1
    same = sum(_stands(row) == side for row in rows)
    back = sum(_stands(row) == -side for row in rows)
    if not _stands(own):
        return f"stands out in {same + back} of {len(rows)} (by the rule's it does not)"
    text = f"stands out in {same} of {len(rows)} (by the rule's it does)"
    return text + (f", and the other way in {back}" if back else "")


def _exposure(results: Results) -> str:
    rows = [row for row in results["exposure"] if not row["reason"]]
    if not rows:
        return ""
    row = rows[0]
    implied = row["implied"]
    text = f"across {row['firms']} firm-events "
    if row["slope"] is None:
        usual = row["p"] is None or row["p"] > results["study"]["alpha"]
        text += f"larger dollars for a firm's size went with {'no' if usual else 'an'} unusual "
        text += f"reaction (p {p_value(row['p'])})"
    else:
        text += f"each dollar announced for a firm went with {_cents(row['slope'])} of its market "
        text += f"value ({_cents(row['low'])} to {_cents(row['high'])})"
        if implied:
            ends = f"{_cents(implied['low'])} to {_cents(implied['high'])}"
            text += f", where the thesis implies {ends}"
    if row["top_share"] is None or row["top_share"] <= MOST_ON_ONE:
        return _upper(text) + "."
    name = f" ({row['rests_on']})" if row.get("rests_on") else ""
    share = percent(row["top_share"], 0, sign=False)
    return (
        f"The slope on dollars rests on one firm{name}, which carries {share} of it, and so says "
        f"little about dollars: {text}."
    )


def _cents(value: float) -> str:
    return f"{number(100 * value, 1)} cents"


def _contrast(results: Results) -> str:
    row = results["study"]["contrast"]
    if not row or row["low"] is None:
        return ""
    seen = _told(row)
    firms = row["implied"]["firms"]
    sector = label(row["name"].partition(":")[0])
    versions = [v for v in results["study"].get("contrast_versions", ()) if v["low"] is not None]
    same = [item for item in versions if list(item["events"]) == list(row["events"])]
    other = [item for item in same if _stands(item) != _stands(row)]
    found = "a difference" if _stands(row) else "no difference that stands out"
    sides = f"{_count(firms)} named against unnamed firms of {sector}"
    size = f"{_move(row)} ({seen.interval()})"
    if row.get("rests_on"):
        return (
            f"The sharper comparison rests on one firm, {row['rests_on']}, without which it would "
            f"say something else: {sides} show {size}."
        )
    shown = f"The sharper comparison, {sides}, shows {size}: {found}"
    if not same:
        return f"{shown}{', on very few firms' if firms <= FEW else ''}."
    if not other:
        return f"{shown}, and so say all other versions ({_count(len(same))})."
    titles = listed([f'"{item["name"].partition(": ")[2]}"' for item in other])
    verb = "appears"
    if _stands(row):
        back = any(_stands(item) for item in other)
        verb = "is gone or turned round" if back else "is gone"
    return (
        f"{shown}, but it {verb} in {_count(len(other))} of {_count(len(same))} other versions "
        f"({titles}), so it says more about which firms are counted than about the news."
    )


def _pattern(results: Results) -> str:
    sectors = {row["name"] for row in results["study"]["rows"]}
    judged = [r for r in results["timing"] if r["p"] is not None and r["sector"] in sectors]
    if not judged:
        return ""
    marked = [row for row in judged if _stands(row)]
    after = [row for row in judged if row["check"] == "after"]
    chance = results["study"]["alpha"] * len(judged)
    usual = f"about {chance:.0f}" if chance >= 1 else "fewer than one"
    stand = "stands" if len(marked) == 1 else "stand"
    text = (
        f"Before and after, {len(marked)} of {len(judged)} checks {stand} out, each looked at "
        f"alone, where chance would make {usual} do so"
    )
    if marked:
        first = min(
            marked, key=lambda row: (1.0 if row["p_family"] is None else row["p_family"], row["p"])
        )
        title = f"{first['title'][:1].lower()}{first['title'][1:]}"
        text += (
            f'; the strongest is {label(str(first["sector"]))} in "{title}" '
            f"({_move(first)}, adjusted p {p_value(first['p_family'])})"
        )
    if after:
        late = [label(row["sector"]) for row in after if _stands(row)] or ["no sector"]
        text += (
            f"; at the events after the note was published {listed(late)} moved, looked at alone"
        )
    return text + "."


def _campaign(results: Results) -> str:
    rows = [row for row in results["study"]["campaign"] if row["effect"] is not None]
    if not rows:
        return ""
    best = max(rows, key=lambda row: row["effect"])
    worst = min(rows, key=lambda row: row["effect"])
    ends = [f"{percent(row['effect'], 0)} ({label(row['name'])})" for row in (worst, best)]
    who = f"sectors moved by {' to '.join(ends)}"
    if len(rows) == 1:
        who = f"{label(best['name'])} moved by {percent(best['effect'], 0)}"
    text = f"Over the whole stretch of events {who} against the market, for every reason there was"
    return f"{text}{_follows(results, rows)}."


def _follows(results: Results, rows: Sequence[Results]) -> str:
    """Compare the sector with the largest implied gain to the best one without any value."""
    told_rows = {row["name"]: _told(row) for row in results["study"]["rows"]}
    worth = {name: seen.share.get("base", 0.0) for name, seen in told_rows.items()}
    gains = [row for row in rows if worth.get(row["name"], 0.0) > 0]
    none = [row for row in rows if not worth.get(row["name"])]
    if not gains or not none:
        return ""
    most = max(gains, key=lambda row: worth[row["name"]])
    missing = max(none, key=lambda row: row["effect"])
    follows = most["effect"] > missing["effect"]
    return (
        f"; {label(most['name'])}, with the largest value of the thesis, moved by "
        f"{percent(most['effect'], 0)} and {label(missing['name'])}, with none, by "
        f"{percent(missing['effect'], 0)}, "
        + ("as dollars would have it" if follows else "so the gains do not follow the dollars")
    )


def _change(results: Results) -> str:
    rows = [row for row in results["study"]["rows"] if row["breakeven_share"]]
    if not rows:
        return ""
    contrast, power = results["study"]["contrast"], level(1 - results["study"]["power"])
    nearest = min(rows, key=lambda row: row["breakeven_share"])
    if nearest["breakeven_share"] > 1:
        text = (
            "What would change this: no assumption about margins, since even every announced "
            "dollar as profit of listed firms would be worth less in each sector than a move "
            f"that is found with {power} probability"
        )
    else:
        text = (
            f"What would change this: {share_words(nearest['breakeven_share'])} of the announced "
            f"dollars as profit of listed firms in {label(nearest['name'])}, where it takes least; "
            f"that much would be found with {power} probability"
        )
    if contrast and contrast["mde"] is not None:
        size = percent(contrast["mde"], 0, sign=False)
        text += (
            f"; in the contrast, news worth {size} of their market value to the firms that it "
            "names would be found as often"
        )
    return text + "."


def _quant(results: Results) -> str:
    study = results["study"]
    rows, alpha = _judged(results), study["alpha"]
    parts = [_law(study, rows), _versions(results, alpha), _leaks(study, rows)]
    contrast = study["contrast"]
    if contrast and contrast["p"] is not None:
        parts.append(
            f"The contrast has p {p_value(contrast['p'])} and an interval on shifts of its own."
        )
    if study["campaign"]:
        parts.append(f"The campaign has no p: {study['campaign'][0]['reason']} draws.")
    parts.append(results.get("words", {}).get("provenance", ""))
    return " ".join(filter(None, parts))


def _law(study: Results, rows: Sequence[Results]) -> str:
    if not rows:
        return "No sector has numbers."
    least = min(
        rows, key=lambda row: [1.0 if row[p] is None else row[p] for p in ("p_stepdown", "p")]
    )
    return (
        f"Null: the events are like any other dates; S, the signed sum of abnormal returns over "
        f"its guarded standard error, has the law of {study['shifts']} shifts of the whole "
        f"calendar, worth about {study['independent_shifts']} independent ones. Half-width "
        f"{number(study['critical'], 2)} standard errors for a simultaneous "
        f"{level(study['alpha'])} interval. Smallest adjusted p: {label(least['name'])}, "
        f"{p_value(least['p'])} alone, "
        f"{p_value(least['p_stepdown'])} step-down, {p_value(least['p_holm'])} Holm, "
        f"{p_value(least['p_bh'])} Benjamini-Hochberg."
    )


def _versions(results: Results, alpha: float) -> str:
    sectors = {row["name"] for row in results["study"]["rows"]}
    rows = [v for v in results["variants"] if v["sector"] in sectors and v["p"] is not None]
    if not rows:
        return ""
    low = [row for row in rows if row["p"] < alpha]
    who = f" ({listed(sorted({label(str(row['sector'])) for row in low}))})" if low else ""
    verb = "has" if len(low) == 1 else "have"
    return (
        f"Of {len(rows)} versions of the statistics {len(low)} {verb} p below {alpha:g} alone{who}."
    )


def _leaks(study: Results, rows: Sequence[Results]) -> str:
    leaks = {row["name"]: row["headline"] for row in study["leak_inclusive"]}
    if not leaks:
        return ""
    changed = [row for row in rows if leaks.get(row["name"], row["headline"]) != row["headline"]]
    words = [f'{label(row["name"])} becomes "{leaks[row["name"]]}"' for row in changed]
    return f"With leak windows {listed(words)}." if words else "Leak windows change no verdict."

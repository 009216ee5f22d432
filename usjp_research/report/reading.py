"""The answer in plain sentences, composed from a run's result files and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from usjp_research.report.numbers import PHRASES, Cells, say
from usjp_research.report.tables import told
from usjp_research.runs.store import json_bytes, own_results, read_results, write_whole
from usjp_research.spec.records import Note, Words
from usjp_research.study.exposure import MOST_ON_ONE
from usjp_research.words import MINUS, label, level, listed, naming, percent

Results = Mapping[str, Any]
FEW = 5  # named firms up to which a contrast is about very few


@dataclass(frozen=True, slots=True)
class Reading:
    """What the numbers say: sentences for a portfolio manager, one paragraph for a quant.

    ``findings`` are those that a figure of the run shows, by the name of its file.
    """

    sentences: tuple[str, ...]
    quant: str
    findings: Mapping[str, str]

    def _repr_html_(self) -> str:
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
    parts = (_known, _contrast, _exposure, _pattern, _campaign, _change)
    shown = {"campaign": _campaign, "since": _since, "visible": _change}
    with naming(Words(**results.get("words", {})).names()):
        sentences = tuple(text for part in parts if (text := part(results)))
        findings = {name: text for name, part in shown.items() if (text := part(results))}
        return Reading(sentences, _quant(results), findings)


def method(out: str | Path) -> Note:
    """Return data and method of a run in ten lines of Markdown, with the numbers of its rule.

    Raises `InputError` when the folder of the run has no verdicts.
    """
    results = read_results(out)
    study = results["study"]
    rule, second, data = study["rule"], study["rule"]["second"] or {}, study["data"]
    averages, headline = study["level"] == "portfolio", study["headline_rule"]
    start, end = (f"{day:+d}".replace("-", MINUS) if day else "0" for day in rule["window"])
    with naming(Words(**results["words"]).names()):
        yard = sorted(map(label, second.get("yardstick", ())))
        fields = {
            **{"rule": rule, "second": second, "study": study, "data": data, "start": start},
            **{"end": end, "benchmark": ", ".join(rule["benchmark"])},
            "averages": PHRASES["averages"] if averages else "",
            "own_market": "" if averages else PHRASES["own market"],
            "model": rule["model"].replace("_", "-"),
            "yard": say("method yardstick", who=yard) if yard else "",
            "worth": PHRASES["worth"] if any(r["implied"]["share"] for r in study["rows"]) else "",
        }
        texts = (PHRASES["data"], *PHRASES["method"], *PHRASES[f"method by rule {headline}"])
        told, *lines = (Cells().format(text, **fields) for text in texts)
    numbered = (f"{k}. {line}" for k, line in enumerate(filter(None, lines), 1))
    return Note(f"{told}\n\n" + "\n".join(numbered))


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _stands(row: Results, kind: str = "") -> int:
    """Return the side of zero on which a row's interval lies; 0 when it holds it or is none."""
    low, high = row.get(f"{kind}low"), row.get(f"{kind}high")
    return 0 if low is None or high is None else (low > 0) - (high < 0)


def _least(row: Results, *names: str) -> list[float]:
    """Return p-values to sort by; one that there is not comes last."""
    return [1.0 if row[name] is None else row[name] for name in names]


def _judged(results: Results) -> list[Results]:
    """Return the sectors' rows that have numbers."""
    return [row for row in results["study"]["rows"] if row["low"] is not None]


def _tested(results: Results, name: str) -> list[Results]:
    """Return those rows of a result that are a sector's, not the mirror's, and have a p."""
    sectors = [row["name"] for row in results["study"]["rows"]]
    return [row for row in results[name] if row["p"] is not None and row["sector"] in sectors]


def verdicts(results: Results) -> str:
    """Say in one sentence what was decided, sectors of the same verdict together."""
    rows = results["study"]["rows"]
    groups: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        groups.setdefault(_verdict(row, rows), []).append(row["name"])
    told = (say(phrase, who=_who(who, rows), why=why) for (phrase, why), who in groups.items())
    return f"{_upper('; '.join(told))}."


def _who(names: Sequence[str], rows: Sequence[Results]) -> str:
    """Return one or two sectors by name, more of them counted."""
    if len(names) <= 2:
        return listed([*map(label, names)])
    rest = [row["name"] for row in rows if row["name"] not in names]
    phrase, told = ("sectors but", rest) if len(rest) <= 2 else ("sectors", names)
    return say(phrase if rest else "sectors all", some=len(names), of=len(rows), names=told)


def ruled_out(results: Results) -> str:
    """Say where a material gain is excluded: what is known comes before what is not."""
    rows = results["says"]
    out = [row["sector"] for row in rows if row["excludes_gain"]]
    if not out:
        return ""
    study = results["study"]
    material, first = study["rule"]["second"]["material"], study.get("rule_1", ())
    ends = [row["high"] if row["sign"] > 0 else -row["low"] for row in first if row["high"]]
    count = sum(end < material for end in ends)
    older = say("ruled out older", n=count) if count else PHRASES["ruled out in none"]
    fields = {"alpha": study["alpha"], "older": older if ends else ""}
    who = _who(out, study["rows"])
    return say("ruled out", fields, material=percent(material, 0, sign=False), who=who)


def _verdict(row: Results, rows: Sequence[Results]) -> tuple[str, str]:
    """Return the phrase of a row's verdict, and why it is so where the phrase does not say."""
    head, why = row["headline"], row["reason"]
    if head.startswith("depends"):
        return "verdict: depends on the implied value", ""
    if head == "no verdict":
        why = why or "no reason was kept"
    elif head == "no implied value":
        why = "no thesis in dollars is given"
        if row["implied"].get("announced"):
            why = "the market value of no firm is known there"
            if row["implied"].get("market_value"):
                why = "the thesis comes to nothing there"
        elif any(other["implied"].get("announced") for other in rows):
            why = "the thesis puts no dollars there"
    else:
        head, why = ", ".join(filter(None, (head, why))), ""
    phrase = f"verdict: {head}"
    return (phrase, why) if phrase in PHRASES else ("verdict: another", head)


def _known(results: Results) -> str:
    rows = _judged(results)
    if not rows:
        return ""
    out = [row for row in rows if _stands(row)]
    alone = [row for row in rows if not _stands(row) and _stands(row, "marginal_")]
    who = [say("moved", row, move=told(row).move()) for row in out] or ["no sector"]
    text = say("known", together="taken together, " if len(rows) > 1 else "", who=who)
    if alone:
        each = [say("moved alone", row, move=told(row).move()) for row in alone]
        text += say("known alone", who=each)
    return f"{text}; {_bounds(results, rows)}{_yardsticks(results)}."


def _bounds(results: Results, rows: Sequence[Results]) -> str:
    """Say which moves the intervals leave out, in the direction that the thesis expects."""
    tight, loose = (end(rows, key=lambda row: told(row).reach) for end in (min, max))
    fields = {"alpha": results["study"]["alpha"], "tight": tight["name"], "loose": loose["name"]}
    fields |= {"tightest": told(tight).ruled_out(), "loosest": told(loose).ruled_out()}
    fields["every"] = "both" if len(rows) == 2 else Cells().format("all {:count}", len(rows))
    return say("bound", fields) + ("" if tight is loose else say("bounds", fields))


def _yardsticks(results: Results) -> str:
    """Say what other expected-return models change; the rule's is the first of each sector."""
    sectors: dict[str, list[Results]] = {}
    for row in results["robustness"]:
        if row["effect"] is not None:
            sectors.setdefault(row["sector"], []).append(row)
    models = len({row["model"] for _, *others in sectors.values() for row in others})
    if not models:
        return ""
    every = 1 < len(sectors) == len(_judged(results))
    who = "each sector" if every else listed([*map(label, sectors)])
    said = f"{who} {'says' if every or len(sectors) == 1 else 'say'} the same"
    differ = [_differs(name, *map(_stands, rows)) for name, rows in sectors.items()]
    if any(differ):
        said = listed([*filter(None, differ)])
    first = "by rule 1, " * _has_two(results["study"])
    return say("yardsticks", models=models, s="s" * (models != 1), said=said, first=first)


def _has_two(study: Results) -> bool:
    """Say whether a second rule gives the headline, so that what is the first's is told so."""
    return bool(study.get("headline_rule") == 2)


def _differs(sector: str, own: int, *sides: int) -> str:
    """Count the yardsticks by which a sector stands out, when not all do as the rule's own."""
    if set(sides) <= {own}:
        return ""
    out = sides.count(own) if own else len(sides) - sides.count(0)
    back = f", and the other way in {sides.count(-own)}" if own and -own in sides else ""
    counts = {"out": out, "of": len(sides), "own": "" if own else " not", "back": back}
    return say("yardsticks differ", counts, sector=sector)


def _exposure(results: Results) -> str:
    row = next((row for row in results["exposure"] if not row["reason"]), None)
    if not row:
        return ""
    if row["slope"] is None:
        usual = row["p"] is None or row["p"] > results["study"]["alpha"]
        text = say("no slope", row, usual="no" if usual else "an")
    else:
        text = say("slope", row)
        text += say("slope implied", row["implied"]) if row["implied"] else ""
    text = say("across", row, text=text)
    if row["top_share"] is None or row["top_share"] <= MOST_ON_ONE:
        return _upper(text)
    name = f" ({row['rests_on']})" if row.get("rests_on") else ""
    return say("slope on one firm", row, text=text, name=name)


def _contrast(results: Results) -> str:
    row = results["study"]["contrast"]
    if not row or row["low"] is None:
        return ""
    firms, sector = row["implied"]["firms"], row["name"].partition(":")[0]
    seen = {"sides": say("sides", firms=firms, sector=sector), "move": told(row).move()}
    seen["interval"] = told(row).interval()
    if row.get("rests_on"):
        return say("contrast on one firm", row, **seen)
    versions = results["study"].get("contrast_versions", ())
    same = [item for item in versions if item["low"] is not None]
    same = [item for item in same if list(item["events"]) == list(row["events"])]
    other = [item for item in same if _stands(item) != _stands(row)]
    found, verb = "no difference that stands out", "appears"
    if _stands(row):
        found = "a difference"
        verb = "is gone or turned round" if any(map(_stands, other)) else "is gone"
    told_of = ", on very few firms" if firms <= FEW and not same else ""
    if same:
        titles = [f'"{item["name"].partition(": ")[2]}"' for item in other]
        counts = {"other": len(other), "same": len(same), "titles": titles, "verb": verb}
        told_of = say(f"contrast versions {'differ' if other else 'same'}", counts)
    return say("contrast", seen, found=found, versions=told_of)


def _pattern(results: Results) -> str:
    judged = _tested(results, "timing")
    if not judged:
        return ""
    marked = [row for row in judged if _stands(row)]
    after = [row for row in judged if row["check"] == "after"]
    chance = results["study"]["alpha"] * len(judged)
    counts: dict[str, Any] = {"marked": len(marked), "judged": len(judged)}
    counts["stand"] = "stands" if len(marked) == 1 else "stand"
    text = say("checks", counts, usual=f"about {chance:.0f}" if chance >= 1 else "fewer than one")
    if marked:
        row = min(marked, key=lambda row: _least(row, "p_family", "p"))
        title = row["title"][:1].lower() + row["title"][1:]
        text += say("check marked", row, first=title, move=told(row).move())
    if after:
        late = [label(row["sector"]) for row in after if _stands(row)] or ["no sector"]
        text += say("checks after", late=late)
    return text + "."


def _campaign(results: Results) -> str:
    rows = [row for row in results["study"]["campaign"] if row["effect"] is not None]
    if not rows:
        return ""
    worst, best = (end(rows, key=lambda row: row["effect"]) for end in (min, max))
    ends = {"low": worst["effect"], "lowest": worst["name"]}
    ends |= {"high": best["effect"], "highest": best["name"]}
    who = say("campaign one", best) if len(rows) == 1 else say("campaign many", ends)
    return say("campaign", who=who, follows=_follows(results, rows))


def _since(results: Results) -> str:
    rows = results["since"]
    if not rows:
        return ""
    sides = {
        "above": [row for row in rows if row["moved"] > row["placebo_high"]],
        "below": [row for row in rows if row["moved"] < row["placebo_low"]],
    }
    who = {s: [say("since moved", row) for row in out] for s, out in sides.items() if out}
    out = [say(f"since {side}", who=names) for side, names in who.items()]
    return say("since", rows[0], out=listed(out) if out else PHRASES["since inside"])


def _follows(results: Results, rows: Sequence[Results]) -> str:
    """Compare the sector with the largest implied gain to the best one without any value."""
    worth = {row["name"]: told(row).share.get("base", 0.0) for row in results["study"]["rows"]}
    gains = [row for row in rows if worth.get(row["name"], 0.0) > 0]
    none = [row for row in rows if not worth.get(row["name"])]
    if not gains or not none:
        return ""
    most = max(gains, key=lambda row: worth[row["name"]])
    other = max(none, key=lambda row: row["effect"])
    fields = {"most": most["name"], "gain": most["effect"]}
    fields |= {"none": other["name"], "other": other["effect"]}
    follow = most["effect"] > other["effect"]
    how = "as dollars would have it" if follow else "so the gains do not follow the dollars"
    return say("campaign follows", fields, follows=how)


def _change(results: Results) -> str:
    rows = [row for row in results["study"]["rows"] if row["breakeven_share"]]
    if not rows:
        return ""
    contrast = results["study"]["contrast"]
    nearest = min(rows, key=lambda row: row["breakeven_share"])
    phrase = "change none" if nearest["breakeven_share"] > 1 else "change share"
    what = say(phrase, nearest, power=level(1 - results["study"]["power"]))
    known = contrast and contrast["mde"] is not None
    return say("change", what=what, contrast=say("change contrast", contrast) if known else "")


def _quant(results: Results) -> str:
    study = results["study"]
    rows, contrast = _judged(results), study["contrast"]
    parts = [_law(study, rows), _versions(results), _leaks(study, rows)]
    if contrast and contrast["p"] is not None:
        parts.append(say("contrast p", contrast))
    if study["campaign"]:
        parts.append(say("campaign p", study["campaign"][0]))
    parts.append(results.get("words", {}).get("provenance", ""))
    return " ".join(filter(None, parts))


def _law(study: Results, rows: Sequence[Results]) -> str:
    if not rows:
        return "No sector has numbers."
    least = min(rows, key=lambda row: _least(row, "p_stepdown", "p"))
    own = {name: study[name] for name in ("alpha", "shifts", "independent_shifts", "critical")}
    return say("law", least, **own)


def _versions(results: Results) -> str:
    rows, alpha = _tested(results, "variants"), results["study"]["alpha"]
    if not rows:
        return ""
    low = [row["sector"] for row in rows if row["p"] < alpha]
    who = f" ({listed(sorted(set(map(label, low))))})" if low else ""
    counts = {"of": len(rows), "low": len(low), "verb": "has" if len(low) == 1 else "have"}
    whose = "rule 1’s" if _has_two(results["study"]) else "the"
    return say("versions", counts, alpha=f"{alpha:g}", who=who, whose=whose)


def _leaks(study: Results, rows: Sequence[Results]) -> str:
    leaks = {row["name"]: row for row in study["leak_inclusive"]}
    if not leaks:
        return ""
    older = {row["name"]: row for row in study.get("rule_1", rows)}
    heads = {row["name"]: older.get(row["name"], row)["headline"] for row in rows}
    both = ((leaks[name], head) for name, head in heads.items() if name in leaks)
    changed = [say("leak", row) for row, head in both if row["headline"] != head]
    first = "By rule 1, with" if _has_two(study) else "With"
    return say("leaks", changed=changed, first=first) if changed else PHRASES["no leaks"]

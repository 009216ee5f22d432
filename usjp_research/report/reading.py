"""The answer in plain sentences, composed from a run's result files and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from usjp_research.report.tables import share_words
from usjp_research.runs.store import json_bytes, own_results, read_results, write_whole
from usjp_research.study.checks import CHECKS
from usjp_research.words import label, number, percent

Results = Mapping[str, Any]
COUNTS = [
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]

# What each verdict says of the sectors that have it; {} is their names.
SAID = {
    ("cannot say", "too small to see"): (
        "{} cannot be judged, because the thesis, even if it is right, is worth too little there "
        "to show in prices"
    ),
    ("cannot say", "interval too wide"): "{} cannot be judged, because prices moved too freely",
    ("no implied value", ""): "{} cannot be judged, because the thesis puts no dollars there",
    ("not priced in", ""): "{} did not move by what the thesis is worth: it is not priced in",
    ("partly priced in", ""): "{} moved the thesis's way, by less than it is worth",
    ("priced in", ""): "{} moved by what the thesis is worth: it is priced in",
    ("more than priced in", ""): "{} moved by more than the thesis is worth",
    ("moved against", ""): "{} moved against the thesis",
    ("reacted, size unclear", ""): "{} moved the thesis's way, by an amount that stays open",
}
DEPENDS = "for {} the verdict depends on which value of the thesis one takes"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the numbers say, for two readers.

    Attributes
    ----------
    sentences : tuple of str
        Five to eight, for a portfolio manager: what is known, what is not, what would change it.
    quant : str
        One paragraph for a reader who distrusts every p-value.
    """

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
    """Turn results into sentences; each appears only when its numbers are there.

    Parameters
    ----------
    results : mapping
        As `read_results` gives it.

    Returns
    -------
    Reading
    """
    parts: tuple[Callable[[Results], str], ...] = (
        _answer,
        _size,
        _known,
        _contrast,
        _exposure,
        _pattern,
        _campaign,
        _change,
    )
    return Reading(tuple(text for part in parts if (text := part(results))), _quant(results))


# --- words -----------------------------------------------------------------------------------


def _count(value: int) -> str:
    return COUNTS[value] if value < len(COUNTS) else str(value)


def _names(rows: Sequence[Results]) -> str:
    return _list([label(row["name"]) for row in rows])


def _who(rows: Sequence[Results], of: int) -> str:
    """Name one or two, count more of them and name them in brackets."""
    if len(rows) < 3:
        return _names(rows)
    every = len(rows) == of
    some = f"all {_count(of)} sectors" if every else f"{_count(len(rows))} of {_count(of)} sectors"
    return f"{some} ({_names(rows)})"


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _excludes_zero(row: Results) -> bool:
    return bool(row["low"] > 0 or row["high"] < 0)


# --- sentences -------------------------------------------------------------------------------


def _answer(results: Results) -> str:
    rows = results["study"]["rows"]
    groups: dict[tuple[str, str], list[Results]] = {}
    for row in rows:
        depends = row["headline"].startswith("depends")
        key = (row["headline"], "" if depends else row["reason"])
        groups.setdefault(key, []).append(row)
    said = [SAID.get(key, DEPENDS).format(_who(part, len(rows))) for key, part in groups.items()]
    return f"Has the market priced it in? {_upper('; '.join(said))}."


def _size(results: Results) -> str:
    valued = [row for row in results["study"]["rows"] if row["implied"]["share"]]
    if not valued:
        return ""
    most = max(valued, key=lambda row: abs(row["implied"]["share"]["high"]))
    least = min(valued, key=lambda row: row["mde"])
    largest, smallest = abs(most["implied"]["share"]["high"]), least["mde"]
    digits = 1 if largest >= 0.01 else 2
    worth = percent(largest, digits, sign=False)
    seen = percent(smallest, 1, sign=False)
    visible = [r for r in valued if abs(r["implied"]["share"]["high"]) >= r["mde"]]
    if visible:
        return (
            f"In {_names(visible)} the thesis, in its high case, is worth as much as a move that "
            f"these data would find; its largest value is {worth} of {label(most['name'])}."
        )
    return (
        f"Taken at its word, with every announced dollar spent, the thesis is worth at most "
        f"{worth} of a sector's market value ({label(most['name'])}), while no sector's move "
        f"below {seen} ({label(least['name'])}) could be told from chance: true or not, it is too "
        "small for sector prices to show."
    )


def _known(results: Results) -> str:
    rows = results["study"]["rows"]
    moved = [row for row in rows if _excludes_zero(row)]
    tight = min(rows, key=lambda row: row["high"])
    loose = max(rows, key=lambda row: row["high"])
    bound = (
        f"a rise of more than {percent(tight['high'], sign=False)} is ruled out in "
        f"{label(tight['name'])}, the tightest, and of more than "
        f"{percent(loose['high'], sign=False)} in {label(loose['name'])}, the loosest"
    )
    words = (
        _list([f"{label(row['name'])} ({percent(row['effect'])})" for row in moved])
        if moved
        else ""
    )
    text = (
        f"What is known: {words or 'no sector'} moved beyond what quiet dates show; {bound}, all "
        f"{_count(len(rows))} at once"
    )
    return f"{text}{_yardsticks(results)}."


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
        out = sum(map(_excludes_zero, rows))
        if any(_excludes_zero(row) != _excludes_zero(own) for row in rows):
            said.append(
                f"{label(sector)} stands out in {out} of {len(rows)} "
                f"(by the rule's it does{'' if _excludes_zero(own) else ' not'})"
            )
    return text + (_list(said) if said else "each sector says the same")


def _exposure(results: Results) -> str:
    rows = [row for row in results["exposure"] if not row["reason"]]
    if not rows:
        return ""
    row = rows[0]
    implied = row["implied"]
    one = row["top_share"] is not None and row["top_share"] > 0.5
    if row["slope"] is None:
        usual = row["guarded_p_cdf"] > results["study"]["alpha"]
        text = (
            f"Across {row['firms']} firm-events larger dollars for a firm's size went with "
            f"{'no unusual' if usual else 'an unusual'} reaction "
            f"(p {number(row['guarded_p_cdf'], 3)})"
        )
    else:
        text = (
            f"Across {row['firms']} firm-events each dollar announced for a firm went with "
            f"{_cents(row['slope'])} of its market value ({_cents(row['low'])} to "
            f"{_cents(row['high'])})"
        )
        if implied:
            text += f", where the thesis implies {_cents(implied['low'])} to "
            text += _cents(implied["high"])
    if one:
        text += f"; one firm carries {percent(row['top_share'], 0, sign=False)} of that"
    return text + "."


def _cents(value: float) -> str:
    return f"{number(100 * value, 1)} cents"


def _contrast(results: Results) -> str:
    row = results["study"]["contrast"]
    if not row:
        return ""
    span = f"{percent(row['effect'])} ({percent(row['low'])} to {percent(row['high'])})"
    firms = row["implied"]["firms"]
    sector = label(row["name"].partition(":")[0])
    same = [
        item
        for item in results["study"].get("contrast_versions", ())
        if list(item["events"]) == list(row["events"])
    ]
    other = [item for item in same if _excludes_zero(item) != _excludes_zero(row)]
    shown = (
        f"The sharper comparison, {_count(firms)} named against unnamed firms of {sector}, shows "
        f"{span}"
    )
    found = "a difference" if _excludes_zero(row) else "no difference that stands out"
    if not same:
        return f"{shown}: {found}, on very few firms."
    if not other:
        return f"{shown}: {found}, and so say all other versions ({_count(len(same))})."
    titles = _list([f'"{item["name"].partition(": ")[2]}"' for item in other])
    verb = "is gone" if _excludes_zero(row) else "appears"
    return (
        f"{shown}: {found}, but it {verb} in {_count(len(other))} of {_count(len(same))} other "
        f"versions ({titles}), so it says more about single firms than about the pact."
    )


def _pattern(results: Results) -> str:
    judged = [
        row
        for row in results["timing"]
        if row["p"] is not None and row["sector"] in _sectors(results)
    ]
    if not judged:
        return ""
    alpha = results["study"]["alpha"]
    marked = [row for row in judged if _excludes_zero(row)]
    titles = {check.key: check.title[:1].lower() + check.title[1:] for check in CHECKS}
    after = [row for row in judged if row["check"] == "after"]
    late = [row for row in after if _excludes_zero(row)]
    text = (
        f"Before and after, {len(marked)} of {len(judged)} checks stand out, where chance alone "
        f"would make about {alpha * len(judged):.0f} do so"
    )
    if marked:
        first = min(marked, key=lambda row: (row["p_family"], row["p"]))
        text += (
            f'; the strongest is {label(str(first["sector"]))} in "{titles[str(first["check"])]}" '
            f"({percent(first['effect'])}, adjusted p {number(first['p_family'], 3)})"
        )
    if after:
        who = _list([label(str(row["sector"])) for row in late]) if late else "no sector"
        text += f"; after the note itself was published {who} moved at an event"
    return text + "."


def _sectors(results: Results) -> set[str]:
    return {row["name"] for row in results["study"]["rows"]}


def _campaign(results: Results) -> str:
    rows = results["study"]["campaign"]
    if not rows:
        return ""
    implied = {r["name"]: r["implied"]["share"].get("base", 0.0) for r in results["study"]["rows"]}
    most = max(rows, key=lambda row: implied.get(row["name"], 0.0))
    none = [row for row in rows if not implied.get(row["name"])]
    best = max(rows, key=lambda row: row["effect"])
    least = percent(min(row["effect"] for row in rows), 0)
    text = (
        f"Over the whole stretch of events sectors moved by {least} to "
        f"{percent(best['effect'], 0)} against the market, for every reason there was"
    )
    if none and implied.get(most["name"]):
        missing = max(none, key=lambda row: row["effect"])
        follows = most["effect"] > missing["effect"]
        text += (
            f"; {label(most['name'])}, with the largest value of the thesis, moved by "
            f"{percent(most['effect'], 0)} and {label(missing['name'])}, with none, by "
            f"{percent(missing['effect'], 0)}, "
            + ("as dollars would have it" if follows else "so the gains do not follow the dollars")
        )
    return text + "."


def _change(results: Results) -> str:
    rows = [row for row in results["study"]["rows"] if row["breakeven_share"]]
    contrast = results["study"]["contrast"]
    if not rows:
        return ""
    nearest = min(rows, key=lambda row: row["breakeven_share"])
    if nearest["breakeven_share"] > 1:
        text = (
            "What would change this: no assumption about margins, since even every announced "
            "dollar as profit of listed firms would not show in any sector's price"
        )
    else:
        text = (
            f"What would change this: {share_words(nearest['breakeven_share'])} of the announced "
            f"dollars as profit of listed firms in {label(nearest['name'])}, where it takes least"
        )
    if contrast:
        size = percent(contrast["mde"], 0, sign=False)
        text += f"; news that names firms for sums worth {size} of their market value would show"
    return text + "."


def _quant(results: Results) -> str:
    study = results["study"]
    rows, alpha = study["rows"], study["alpha"]
    least = min(rows, key=lambda row: row["p_stepdown"])
    text = (
        f"Null: the events are like any other dates; S, the signed sum of abnormal returns over "
        f"its guarded standard error, has the law of {study['shifts']} shifts of the whole "
        f"calendar, worth about {study['independent_shifts']} independent ones. Half-width "
        f"{study['critical']:.2f} standard errors for a simultaneous {1 - alpha:.0%} interval. "
        f"Smallest p: "
        f"{label(least['name'])}, {number(least['p'], 3)} alone, {number(least['p_stepdown'], 3)} "
        f"step-down, {number(least['p_holm'], 3)} Holm, {number(least['p_bh'], 3)} "
        "Benjamini-Hochberg."
    )
    variants = [v for v in results["variants"] if v["sector"] in _sectors(results)]
    if variants:
        low = [v for v in variants if v["p"] < alpha]
        who = f" ({_list(sorted({label(str(v['sector'])) for v in low}))})" if low else ""
        text += f" Of {len(variants)} versions of the statistics {len(low)} have p below {alpha:g}"
        text += f" alone{who}."
    leaks = {row["name"]: row["headline"] for row in study["leak_inclusive"]}
    changed = [row for row in rows if leaks.get(row["name"], row["headline"]) != row["headline"]]
    if leaks:
        words = [f'{label(r["name"])} becomes "{leaks[r["name"]]}"' for r in changed]
        text += (
            f" With leak windows {_list(words)}." if words else " Leak windows change no verdict."
        )
    contrast = study["contrast"]
    if contrast:
        text += (
            f" The contrast has p {number(contrast['p'], 3)} and an interval on shifts of its own."
        )
    if study["campaign"]:
        text += f" The campaign has no p: {study['campaign'][0]['reason']} draws."
    return text + " The rule was written after the events."

"""One line per sector, the contrast last, in the same words on page, terminal and sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from usjp_research.report.numbers import say, small
from usjp_research.report.tables import told, verdict_words
from usjp_research.runs.store import damage_named, read_results
from usjp_research.spec.records import Words
from usjp_research.study.second import BELOW
from usjp_research.study.verdict import verdict_of
from usjp_research.words import DASH, label, naming, percent

HEADS = ("Sector", "Moved", "[interval]", "Worth up to", "Too small by")
LEAST, MOST = 0.001, 1000  # a size below, and a ratio above, are of no use as numbers


@dataclass(frozen=True, slots=True)
class Line:
    """What a sector did and what the thesis is worth there, in numbers and in words.

    Numbers are decimals as the market saw them, a fall below zero, and NaN where there is none.
    """

    name: str  # sector key, or ``sector: title`` of the contrast
    label: str
    effect: float
    low: float
    high: float
    worth: float  # the high implied value
    mde: float
    too_small_by: float  # so many high implied values are the minimum detectable effect
    verdict: str
    moved: str
    interval: str
    worth_up_to: str
    too_small: str
    notes: tuple[str, ...]  # what must be known beside the line, each a phrase of its own
    caveat: str  # the last of them, where the study has one for the line
    rests: str  # on which move “not priced in” rests, where no price could show the thesis

    @property
    def cells(self) -> tuple[str, ...]:
        """The words side by side, as `HEADS` heads them."""
        interval = self.interval if math.isnan(self.low) else f"[{self.interval}]"
        return self.label, self.moved, interval, self.worth_up_to, self.too_small

    @property
    def contrast(self) -> bool:
        """Whether it compares two parts of a sector."""
        return ":" in self.name


def summary(results: Mapping[str, Any]) -> list[Line]:
    """Return a line for every sector of a run's results, as `read_results` gives them.

    A sector that could not be judged has a line without numbers, whose first note says why. The
    contrast, where a study has one, is the last line and carries its caveat.
    """
    study, words = results["study"], Words(**results.get("words", {}))
    with naming(words.names()):
        rows = [*study["rows"], *filter(None, [study["contrast"]])]
        # As its own table has it: a public run's rows are rounded.
        ratios = {row["sector"]: row.get("too_small_by") for row in results.get("says", ())}
        return [_line(row, words, ratios.get(row["name"])) for row in rows]


def read_summary(run: Path) -> list[Line]:
    """Return the lines of a finished run; a run without verdicts has none."""
    path = run.absolute() / "results" / "verdicts.json"
    with damage_named(path):
        return summary(read_results(path.parents[1])) if path.is_file() else []


def _line(row: Mapping[str, Any], words: Words, ratio: float | None) -> Line:
    seen, judged = told(row), verdict_of(row)
    worth = seen.share.get("high") or math.nan
    ratio = judged.mde / abs(worth) if ratio is None else ratio
    said = verdict_words(replace(judged, remark=""))
    below = judged.remark.startswith(BELOW)
    plain = said == judged.headline or judged.headline == "cannot say"  # the numbers say why
    direction = {-1: "expected to fall", 0: "counted in the direction expected of each event"}
    notes = ("" if plain else said, "" if math.isnan(seen.effect) else direction.get(seen.expected))
    return Line(
        name=judged.name,
        label=label(judged.name),
        effect=seen.effect,
        low=seen.low,
        high=seen.high,
        worth=worth,
        mde=judged.mde,
        too_small_by=ratio,
        verdict=judged.headline,
        moved=percent(seen.effect),
        interval=seen.interval(),
        worth_up_to=worth_words(worth),
        too_small=times(ratio),
        notes=tuple(filter(None, (*notes, judged.remark, words.caveat(judged.name)))),
        caveat=words.caveat(judged.name),
        rests=say("rests on", move="fall" if judged.effect < 0 else "rise") if below else "",
    )


def worth_words(share: float) -> str:
    """Return a high implied value: a gain without its sign, a loss with it."""
    if math.isnan(share):
        return "none"
    return small(share) if share > 0 else percent(min(share, -LEAST))


def times(ratio: float) -> str:
    """Return so many times, as a reader takes it in; a dash where there is no number."""
    if math.isnan(ratio):
        return DASH
    if ratio <= 1:
        return "big enough"
    return "over 1,000x" if ratio > MOST else f"{ratio:.{0 if ratio >= 10 else 1}f}x"

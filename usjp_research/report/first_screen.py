"""The first screen of a study: its finding, three numbers, and a bar for every sector."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

from markupsafe import Markup

from usjp_research.report.figures import plot_scoreboard
from usjp_research.report.fill import fill
from usjp_research.report.numbers import say
from usjp_research.report.reading import ruled_out, verdicts
from usjp_research.report.summary import HEADS, Line, summary
from usjp_research.runs.store import damage_named, read_manifest, read_results
from usjp_research.spec.read import read_words
from usjp_research.spec.records import MIRROR, Words
from usjp_research.study.verdict import verdict_of
from usjp_research.words import label, naming, percent

Results = Mapping[str, Any]
BAR = "#3b7fc4"  # at least 3:1 on white and on the dark page


@dataclass(frozen=True, slots=True)
class FirstScreen:
    """What a reader sees first, composed from results alone.

    The ``headline`` is the finding in one sentence; the ``lead`` says what was asked, what is ruled
    out, and what the same rule did see. Three ``numbers`` stand with what each is, and a line for
    every sector, the contrast last, with intervals of level 1 - ``alpha``.
    """

    question: str
    dates: str
    headline: str
    lead: tuple[str, ...]
    numbers: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...]
    alpha: float

    def html(self, *more: str) -> str:
        """Return it as HTML; ``more`` of that ends its first line."""
        from matplotlib.ticker import MaxNLocator

        ends = [x for line in self.lines for x in (0, line.low, line.high, line.worth)]
        low, high = (end(x for x in ends if math.isfinite(x)) for end in (min, max))
        worth = any(math.isfinite(line.worth) for line in self.lines)
        room = 0.04 * (high - low) or 0.01
        low, high = low - room, high + room
        ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
        return fill(
            "screen.html",
            found=self,
            more=[*map(Markup, more)],
            caption=say("board" if worth else "board moved", alpha=self.alpha),
            heads=HEADS,
            bar=BAR,
            ticks=[x for x in map(float, ticks) if low < x < high],
            edge=low + 0.85 * (high - low),  # beyond it a tick's words would run into the next head
            place=lambda x: f"{100 * (x - low) / (high - low):.2f}%",
            known=math.isfinite,
            percent=percent,
        )

    _repr_html_ = html


def first_screen(out: str | Path) -> FirstScreen:
    """Compose the first screen of a run from its result files.

    Raises `InputError` when the folder of the run has no verdicts.

    Examples
    --------
    >>> ur.first_screen("outputs/study").headline                   # doctest: +SKIP
    """
    return screen(read_results(out))


def screen(results: Results) -> FirstScreen:
    """Compose the first screen from results, as `read_results` gives them."""
    words = Words(**results.get("words", {}))
    with naming(words.names()):
        lines = summary(results)
        sectors = [line for line in lines if not line.contrast]
        return FirstScreen(
            question=words.question,
            dates=f"prices to {day_words(results['study']['data']['last'])}",
            headline=_headline(results, sectors),
            lead=tuple(filter(None, (words.lead, ruled_out(results), _control(results)))),
            numbers=tuple(_numbers(sectors)),
            lines=tuple(lines),
            alpha=results["study"]["alpha"],
        )


def head(run: Path, links: Mapping[str, str]) -> str:
    """Return the first screen of a finished run as HTML, with its chart as a picture below.

    ``links`` are addresses by their words, of what else there is of the run. Without an answer
    it is empty.
    """
    if not (run / "results" / "verdicts.json").is_file():
        return ""
    with damage_named(run / "results"):
        found, study = first_screen(run), read_results(run)["study"]
        rows = [*study["rows"], *filter(None, [study["contrast"]])]
        with naming(read_words(run / "results").names()):
            drawn = plot_scoreboard([verdict_of(row) for row in rows])
    told = [f"run on {day_words(read_manifest(run)['started'])}"]
    told += [f'<a href="{url}">{words}</a>' for words, url in links.items()]
    return (
        f'{found.html(*told)}<details class="picture"><summary>The chart as a picture</summary>'
        f'<img alt="{escape(drawn.alt)}" src="data:image/png;base64,'
        f'{base64.b64encode(drawn.png()).decode()}"></details>'
    )


def day_words(text: str) -> str:
    """Return the day of an ISO date or time as people write it: 31 Jul 2026."""
    day = date.fromisoformat(text[:10])
    return f"{day.day} {day:%b %Y}"


def _headline(results: Results, lines: Sequence[Line]) -> str:
    """Return the finding: what is known comes before what is not."""
    worth = [line for line in lines if math.isfinite(line.worth)]
    if not worth:
        out = [f"{line.label} ({line.moved})" for line in _out(lines)]
        return say("headline moved", who=out) if out else say("headline nothing")
    small = [line for line in worth if line.too_small_by > 1]
    if not small:
        return verdicts(results)
    most = max(worth, key=lambda line: abs(line.worth))
    where = say("headline some", small=len(small), of=len(lines))
    if len(small) == len(lines):
        where = say("headline all" if len(lines) > 1 else "headline one", name=lines[0].name)
    reach = -most.low if most.worth < 0 else most.high
    side = "down" if most.worth < 0 else "up"
    phrase = f"headline {side}" if reach > 0 else f"headline not {side}"
    bound = say(phrase, name=most.name, reach=percent(abs(reach), sign=False))
    return say("headline small", where=where, bound=bound if math.isfinite(reach) else "")


def _out(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line.low > 0 or line.high < 0]


def _control(results: Results) -> str:
    seen = [row for row in results["control"][:1] if (row["low"] or 0.0) > 0]
    return say("control seen", seen[0], who=label(MIRROR)) if seen else ""


def _numbers(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Return the three numbers that a reader should remember."""
    judged = [line for line in lines if math.isfinite(line.effect)]
    if not judged:
        return []
    worth = [line for line in judged if math.isfinite(line.worth)]
    most = max(worth or judged, key=lambda line: abs(line.worth if worth else line.effect))
    size = percent(most.worth) if worth else most.moved
    n = len(judged)
    return [
        (size.lstrip("+"), say("number worth" if worth else "number moved", name=most.name)),
        (percent(most.mde, sign=False), say("number mde", name=most.name)),
        (f"{len(_out(judged))} of {n}", say(f"number out {n}" if n < 3 else "number out", n=n)),
    ]

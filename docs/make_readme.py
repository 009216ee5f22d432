"""Bring the README's table and figure up to date with the bundled market (``make readme``)."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from usjp_research.report.figures import plot_scoreboard
from usjp_research.report.first_screen import first_screen
from usjp_research.report.results import save_study
from usjp_research.report.summary import HEADS
from usjp_research.report.theme import Picture
from usjp_research.runs.store import read_csv, write_whole
from usjp_research.spec.read import read_spec
from usjp_research.study.answer import run_study
from usjp_research.study.sample import sample
from usjp_research.words import InputError, level

ROOT = Path(__file__).resolve().parents[1]
MARKS = ("<!-- made by make readme: start -->", "<!-- made by make readme: end -->")


def shown() -> tuple[str, Picture]:
    """Return what stands between the marks of the README, and its figure."""
    study = run_study(sample(read_spec(ROOT / "params"), "bundled"))
    with TemporaryDirectory() as folder:
        save_study(study, folder)
        found = first_screen(folder)
    picture = plot_scoreboard(study.rows)
    heads = (*HEADS[:2], f"{level(found.alpha)} interval", *HEADS[3:], "Verdict")
    lines = [
        f"**{found.headline}.** {' '.join(found.lead[1:])}",
        "",
        *(f"- **{value}** {words}" for value, words in found.numbers),
        "",
        f"![{picture.title}](docs/scoreboard.svg)",
        "",
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
        *(f"| {' | '.join((*line.cells, line.verdict))} |" for line in found.lines),
        "",
        f"Bundled market, {len(study.law)} placebo calendars; the sectors' intervals hold at "
        "once. The last row is a family of its own, with its own calendars.",
    ]
    if published := provenance():
        lines += [
            "",
            f"The same study on single firms: [two pages](docs/study/brief.pdf), "
            f"[one HTML file](docs/study/study.html) and its "
            f"[tables](docs/study/tables), returns {published['first day of returns']} to "
            f"{published['last day of returns']}, run on {published['run ended'][:10]}, "
            f"specification `{published['specification'][:12]}`, snapshot "
            f"`{published['snapshot of returns'][:12]}`. It shows no single firm.",
        ]
    return "\n".join(lines), picture


def provenance() -> dict[str, str]:
    """Read where the tables of the published study come from; empty when there are none."""
    path = ROOT / "docs" / "study" / "tables" / "provenance.csv"
    rows = read_csv(path).fillna("").itertuples(index=False) if path.is_file() else ()
    return {str(what): str(value) for what, value in rows}


def parts(text: str) -> tuple[str, str, str]:
    """Split the README into what stands before, between and after the marks."""
    head, start, rest = text.partition(MARKS[0])
    block, end, tail = rest.partition(MARKS[1])
    if not (start and end):
        raise InputError(f"README.md: the marks {MARKS[0]} and {MARKS[1]} are gone; put them back")
    return head, block.strip(), tail


def main() -> None:
    """Write README.md and docs/scoreboard.svg."""
    path = ROOT / "README.md"
    head, _, tail = parts(path.read_text(encoding="utf-8"))
    block, picture = shown()
    picture.save(ROOT / "docs" / "scoreboard.svg")
    write_whole(path, f"{head}{MARKS[0]}\n{block}\n{MARKS[1]}{tail}".encode())


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"make readme: {error}")

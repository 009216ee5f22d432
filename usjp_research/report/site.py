"""A run's pages on disk, all or none: one per notebook, and the brief, two pages to be mailed."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

from usjp_research.market.sources import is_simulated
from usjp_research.report.exports import write_workbook
from usjp_research.report.fill import fill
from usjp_research.report.first_screen import head
from usjp_research.report.pages import CITE, prose, render
from usjp_research.report.reading import compose, method
from usjp_research.runs.folder import locked, recover, staged, swap
from usjp_research.runs.store import damage_named, read_manifest, read_results, result_files
from usjp_research.spec.read import read_words
from usjp_research.words import naming

LINKS = {"brief": "brief.html", "spreadsheet": "results.xlsx"}


def build_site(run: Path) -> Path:
    """Write the folder ``site`` of a run; its first page is the answer's."""
    recover(run)
    with locked(run), staged(run) as fresh:
        write_site(run, fresh)
        swap(run, fresh)
    return run / "site" / "index.html"


def write_site(run: Path, fresh: Path) -> None:
    """Write the pages of a run into the folder ``site`` of ``fresh``, which is being made."""
    answered = (run / "results" / "verdicts.json").is_file()
    pages = render(run, LINKS if answered else {})
    if answered:
        pages["brief.html"] = brief_page(run)
    (fresh / "site").mkdir()
    for name, text in pages.items():
        (fresh / "site" / name).write_text(text, encoding="utf-8", errors="backslashreplace")
    if answered:
        write_workbook(run, fresh / "site" / "results.xlsx")


def brief_page(run: Path) -> str:
    """Return the brief of a finished run as one HTML page that runs nothing and loads nothing.

    Raises `InputError` when the run has no verdicts, or a file of it is damaged.
    """
    manifest, words = read_manifest(run), read_words(run / "results")
    result_files(run, manifest)  # as they were when the run ended
    with damage_named(run / "results"), naming(words.names()):
        return fill(
            "brief.html",
            words=words,
            run=manifest,
            simulated=is_simulated(manifest["market"]),
            screen=head(run, CITE),
            findings=list(_findings(run)),
            method=prose(method(run)),
        )


def _findings(run: Path) -> Iterator[dict[str, str]]:
    """Yield what was found beside the verdicts, with the figure that the run has saved of it."""
    for name, text in compose(read_results(run)).findings.items():
        told = run / "figures" / f"{name}.txt"
        alt = told.read_text(encoding="utf-8") if told.is_file() else ""
        wide, narrow = (_drawn(told.with_name(f"{name}{form}.svg")) for form in ("", "-narrow"))
        yield {"text": text, "alt": alt, "narrow": narrow, "wide": wide}


def _drawn(path: Path) -> str:
    """Return a saved drawing as a data address, or nothing where there is none."""
    drawn = base64.b64encode(path.read_bytes()).decode() if path.is_file() else ""
    return drawn and f"data:image/svg+xml;base64,{drawn}"

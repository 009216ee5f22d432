"""A run's folder of pages: one per notebook, the brief and the spreadsheet, all or none."""

from __future__ import annotations

from pathlib import Path

from usjp_research.report.brief import brief_page
from usjp_research.report.exports import write_workbook
from usjp_research.report.pages import render
from usjp_research.runs.folder import locked, recover, staged, swap

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

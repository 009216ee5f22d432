"""A batch as static pages: a table of what its notebooks say by parameter, and a page for each."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from usjp_research import __version__
from usjp_research.market.sources import is_simulated
from usjp_research.report.fill import fill
from usjp_research.report.numbers import SCRAP
from usjp_research.report.pages import _job, _Page, in_words
from usjp_research.report.theme import night, pairs
from usjp_research.runs import ledger
from usjp_research.runs.batch import parameters_of
from usjp_research.runs.folder import staged, swap
from usjp_research.runs.store import csv_bytes, damage_named
from usjp_research.runs.terminal import CONTROL, plain
from usjp_research.spec.records import sha_of
from usjp_research.words import MINUS, InputError, each_text, naming, nearest, scrub, shortened

if TYPE_CHECKING:
    from usjp_research.runs.job import Job

FEW = 6  # numbers that the table shows unasked
PICTURES = ("image/svg+xml", "image/png", "image/jpeg")
HEAVY = 6_000_000  # characters of the pictures on the first page
INDEX = {"file": "index.html", "words": "All jobs"}
Row = dict[str, Any]


def write_pages(folder: Path, jobs: Sequence[Job], numbers: Sequence[str]) -> Path:
    """Write the folder ``site`` of a batch, all of it or nothing, and return its first page.

    The caller has locked the folder. The table shows the first six numbers where none is named;
    `InputError` where no notebook says one that is.
    """
    rows = list(_rows(folder, jobs))
    names = _tell_apart(rows, jobs, folder)
    known = list(dict.fromkeys(name for row in rows for name in row["numbers"]))
    for name in numbers if any(row["status"] == "done" for row in rows) else ():
        if name not in known:
            told = nearest(name, known) if known else "none says any; scrapbook's sb.glue does"
            raise InputError(f"--numbers: no notebook says a number '{name}': {told}")
    index = {"rows": rows, "names": names, "numbers": list(dict.fromkeys(numbers)) or known[:FEW]}
    ran = [row for row in rows if row["record"]]
    links = {f"{row['notebook']}.ipynb": row["file"] for row in reversed(ran)}
    with naming({}), staged(folder) as fresh:

        def write(name: str, content: str) -> None:
            text = CONTROL.sub("", content).encode("utf-8", "backslashreplace")
            (fresh / "site" / name).write_bytes(text)

        (fresh / "site").mkdir()
        for before, row, after in zip([None, *ran], ran, [*ran[1:], None], strict=False):
            own = {**links, f"{row['notebook']}.ipynb": row["file"]}
            write(row["page"], _page(folder, row, own, {"before": before, "after": after}))
        index |= {"title": plain(folder.name), "told": _told}
        write(INDEX["file"], fill("gallery.html", **index))
        write("numbers.csv", _table(rows, names, known))
        swap(folder, fresh)
    return folder / "site" / INDEX["file"]


# --- what the batch says ---------------------------------------------------------------------


def _rows(folder: Path, jobs: Sequence[Job]) -> Iterator[Row]:
    """Read how every job stands; one that is not done, or out of date, says no numbers."""
    identities, weight = ledger.identities(jobs, folder), 0
    for job in jobs:
        entry = ledger.read(folder, job.name)
        record: Row = asdict(entry.outcome) if entry and entry.outcome else {}
        path = folder / str(record.get("output"))
        if entry and record and not (path.is_file() and sha_of(path) == entry.output):
            record["output"] = None  # not what the job has written
        given = {name: one.default for name, one in parameters_of(job.notebook).items()}
        page = f"{'_' * (job.name.casefold() == 'index')}{job.name}.html"
        row: Row = {"name": job.name, "notebook": job.notebook.stem, "record": record}
        row |= {"page": page, "file": quote(page), "numbers": {}, "stale": ""}
        row |= {"given": given | {**(record["parameters"] if record else job.parameters)}}
        row["status"] = record["status"] if record else "not run"
        if row["status"] == "done" and (why := ledger.why(folder, entry, identities[job.name])):
            row |= {"status": "out of date", "stale": why}
        elif row["status"] == "done":
            with suppress(InputError), damage_named(path):  # its page says so
                row |= _said(json.loads(path.read_bytes()), HEAVY - weight)
                weight += len(row["picture"])
        yield row


def _said(notebook: Mapping[str, Any], room: int) -> Row:
    """Return a notebook's numbers, and its first figure if there is room for it."""
    numbers, picture, alt = {}, "", ""
    for output in (output for cell in notebook["cells"] for output in cell.get("outputs", ())):
        data, about = output.get("data") or {}, output.get("metadata") or {}
        scrap = data.get(f"{SCRAP}json+json") or {}
        if type(scrap.get("data")) in (int, float):
            numbers[plain(str(scrap.get("name")))] = scrap["data"]
        kind = next((mime for mime in PICTURES if mime in data), None)
        if kind and not picture:
            picture = _Page({}).address(kind, "".join(data[kind]))
            alt = plain(about.get("alt") or (about.get(kind) or {}).get("alt") or "First figure")
    return {"numbers": numbers, "picture": picture if len(picture) <= room else "", "alt": alt}


def _tell_apart(rows: Sequence[Row], jobs: Sequence[Job], folder: Path) -> list[str]:
    """Name the parameters that differ between jobs of one notebook, and put them in words."""
    held = [
        (name, job.notebook, in_words(value))
        for row, job in zip(rows, jobs, strict=True)
        for name, value in row["given"].items()
        if not str(value).startswith(f"{folder}/")  # a job's own place for results
    ]
    kinds = Counter((name, notebook) for name, notebook, _ in {*held})
    names = list(dict.fromkeys(n for n, notebook, _ in held if kinds[n, notebook] > 1))
    for row, job in zip(rows, jobs, strict=True):
        given = {name: row["given"][name] for name in names if name in row["given"]}
        # The words of a grid's point, by the names of its parameters: rule=strict-window=[-1, 1].
        every = "|".join(map(re.escape, row["given"])) or "$"
        parts = re.split(rf"(?:^|-)({every})=", job.point)
        as_asked = all(value == job.parameters.get(name, value) for name, value in given.items())
        words = dict(zip(parts[1::2], parts[2::2], strict=True)) if as_asked else {}
        point = {n: scrub(plain(words.get(n) or in_words(v))) for n, v in given.items()}
        of = ", ".join(f"{name} = {told}" for name, told in point.items())
        row |= {"point": point, "of": of, "words": of or job.name}
    return names


# --- the pages -------------------------------------------------------------------------------


def _page(folder: Path, row: Row, links: Mapping[str, str], around: Row) -> str:
    """Return the page of one notebook; one that cannot be shown says so."""
    market, record = row["given"].get("market"), each_text(plain, scrub(row["record"]))
    shared = {"run": {"versions": {"usjp_research": __version__}}, "jobs": [INDEX], **around}
    shared |= {"stale": row["stale"], "night": Markup(night(pairs(())))}
    shared["simulated"] = isinstance(market, str) and is_simulated(market)

    def filled(**of: Any) -> str:
        with damage_named(folder / str(record["output"])):
            job = _job(folder, {**record, "of": row["of"], **of}, False) | {"file": row["file"]}
            return fill("notebook.html", **shared, job=job, page=_Page(links))

    try:
        return filled()
    except InputError as error:
        failure = {"kind": "It cannot be shown", "message": scrub(str(error))}
        return filled(output=None, error=record["error"] or failure)


def _told(value: float) -> str:
    """Write a number to four significant digits, a count as it is."""
    if isinstance(value, int):
        return shortened(f"{value:,}", 16).replace("-", MINUS)
    large = 1e4 <= abs(value) < 1e15
    text = f"{float(f'{value:.4g}'):,.0f}" if large else f"{value:#.4g}".rstrip(".")
    return text.replace("-", MINUS)


def _table(rows: Sequence[Row], names: Sequence[str], numbers: Sequence[str]) -> str:
    """Lay out all numbers of all jobs, whole, as CSV."""
    import pandas as pd

    called = (f"{name} (number)" if name in names else name for name in numbers)
    lines: list[list[Any]] = [["job", "notebook", *names, *called, "status", "seconds"]]
    for row in rows:
        cells = [*map(row["point"].get, names), *map(row["numbers"].get, numbers), row["status"]]
        lines.append([row["name"], row["notebook"], *cells, row["record"].get("seconds")])
    return csv_bytes(pd.DataFrame(lines, dtype=object), header=False).decode()

"""A batch as static pages: a table of what its notebooks say by parameter, and a page for each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from usjp_research import __version__
from usjp_research.market.sources import is_simulated
from usjp_research.report.numbers import SCRAP
from usjp_research.report.pages import _job, _Page, fill
from usjp_research.report.theme import night, pairs
from usjp_research.runs import ledger
from usjp_research.runs.batch import parameters_of
from usjp_research.runs.folder import staged, swap
from usjp_research.runs.plan import text_of
from usjp_research.runs.store import csv_bytes, damage_named, sha_of
from usjp_research.runs.terminal import CONTROL, plain
from usjp_research.words import MINUS, InputError, each_text, naming, nearest, scrub, shortened

if TYPE_CHECKING:
    from usjp_research.runs.job import Job

FEW = 6  # numbers that the table shows unasked
PICTURES = ("image/svg+xml", "image/png", "image/jpeg")
HEAVY = 6_000_000  # characters of the pictures on the first page
INDEX = {"file": "index.html", "words": "All jobs"}


@dataclass(slots=True)
class Row:
    """A job in the table; one that is not done, or out of date, says no numbers."""

    name: str
    notebook: str
    given: dict[str, Any]  # all parameters, as they were when it ran
    record: dict[str, Any]  # its outcome; empty where it has none
    stale: str  # why it is to run again
    numbers: dict[str, float] = field(default_factory=dict)
    picture: tuple[str, str] | None = None  # the address of its first figure, and words for it
    point: dict[str, str] = field(default_factory=dict)  # the parameters that tell it apart

    @property
    def page(self) -> str:
        """The file of its page; no job's name begins with a stroke."""
        return f"{'_' * (self.name.casefold() == 'index')}{self.name}.html"

    @property
    def link(self) -> dict[str, str]:
        """Address and words of a link to its page."""
        of = ", ".join(f"{name} = {words}" for name, words in self.point.items())
        return {"file": quote(self.page), "words": of or self.name, "of": of}

    @property
    def status(self) -> str:
        """How it stands, in words."""
        ended = str(self.record.get("status", "not run"))
        return "out of date" if ended == "done" and self.stale else ended


def write_pages(folder: Path, jobs: Sequence[Job], numbers: Sequence[str]) -> Path:
    """Write the folder ``site`` of a batch, all of it or nothing, and return its first page.

    The caller has locked the folder. The table shows the first six numbers where none is named;
    `InputError` where no notebook says one that is.
    """
    rows = _rows(folder, jobs)
    known = list(dict.fromkeys(name for row in rows for name in row.numbers))
    for name in numbers if any(row.status == "done" for row in rows) else ():
        if name not in known:
            told = nearest(name, known) if known else "none says any; scrapbook's sb.glue does"
            raise InputError(f"--numbers: no notebook says a number '{name}': {told}")
    ran = [row for row in rows if row.record]
    links = {f"{row.notebook}.ipynb": row.link["file"] for row in reversed(ran)}
    with naming({}), staged(folder) as fresh:
        site = fresh / "site"
        site.mkdir()
        for before, row, after in zip([None, *ran], ran, [*ran[1:], None], strict=False):
            around = {"before": before and before.link, "after": after and after.link}
            text = _page(folder, row, {**links, f"{row.notebook}.ipynb": row.link["file"]}, around)
            (site / row.page).write_bytes(text)
        (site / "numbers.csv").write_bytes(_table(rows, known))
        index = {"rows": rows, "numbers": list(dict.fromkeys(numbers)) or known[:FEW]}
        text = fill("gallery.html", {**index, "title": plain(folder.name), "told": _told})
        (site / INDEX["file"]).write_bytes(_encoded(text))
        swap(folder, fresh)
    return folder / "site" / INDEX["file"]


def _encoded(text: str) -> bytes:
    return CONTROL.sub("", text).encode("utf-8", "backslashreplace")


# --- what the batch says ---------------------------------------------------------------------


def _rows(folder: Path, jobs: Sequence[Job]) -> list[Row]:
    """Read how every job stands, what its notebook says, and what tells it apart."""
    identities, weight, rows = ledger.identities(jobs, folder), 0, []
    for job in jobs:
        entry = ledger.read(folder, job.name)
        record: dict[str, Any] = asdict(entry.outcome) if entry and entry.outcome else {}
        path = folder / str(record.get("output"))
        if entry and not (path.is_file() and sha_of(path) == entry.output):
            record |= {"output": None} if record else {}  # not what the job has written
        known = {name: one.default for name, one in parameters_of(job.notebook).items()}
        given = known | {**(record or {"parameters": job.parameters})["parameters"]}
        stale = ledger.why(folder, entry, identities[job.name])
        row = Row(job.name, job.notebook.stem, given, record, stale)
        if row.status == "done":
            with suppress(InputError):  # damaged: its page says so
                _read(row, path)
            weight += len(row.picture[0]) if row.picture else 0
            row.picture = row.picture if weight < HEAVY else None
        rows.append(row)
    _tell_apart(rows, jobs, folder)
    return rows


def _read(row: Row, path: Path) -> None:
    """Take a notebook's numbers and its first figure."""
    with damage_named(path):
        cells = json.loads(path.read_bytes())["cells"]
        for output in (output for cell in cells for output in cell.get("outputs", ())):
            data, about = output.get("data") or {}, output.get("metadata") or {}
            scrap = data.get(f"{SCRAP}json+json") or {}
            value = scrap.get("data")
            if isinstance(value, int | float) and not isinstance(value, bool):
                row.numbers[plain(str(scrap.get("name")))] = value
            kind = next((mime for mime in PICTURES if mime in data), None)
            if kind and row.picture is None:
                words = about.get("alt") or (about.get(kind) or {}).get("alt") or "First figure"
                row.picture = _Page({}).address(kind, "".join(data[kind])), plain(str(words))


def _tell_apart(rows: Sequence[Row], jobs: Sequence[Job], folder: Path) -> None:
    """Give every row the parameters that differ between jobs of one notebook, in words."""
    seen: dict[str, dict[str, set[str]]] = {}
    for row, job in zip(rows, jobs, strict=True):
        for name, value in row.given.items():
            if not str(value).startswith(str(folder)):  # a job's own place for results
                values = seen.setdefault(name, {}).setdefault(str(job.notebook), set())
                values.add(json.dumps(value, default=repr, sort_keys=True))
    names = [name for name, of in seen.items() if any(len(values) > 1 for values in of.values())]
    for row, job in zip(rows, jobs, strict=True):
        as_asked = not row.record or row.record["parameters"] == {**job.parameters}
        words = _labels(job.point, row.given) if as_asked else {}
        for name in (name for name in names if name in row.given):
            value = row.given[name]
            told = words.get(name) or ("computed" if value is ... else text_of(value))
            row.point[name] = scrub(plain(told))


def _labels(point: str, names: Iterable[str]) -> dict[str, str]:
    """Take the words of a grid's point apart by the names of its parameters."""
    parts = re.split(rf"(?:^|-)({'|'.join(map(re.escape, names)) or '$'})=", point)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


# --- the pages -------------------------------------------------------------------------------


def _page(
    folder: Path, row: Row, links: Mapping[str, str], around: Mapping[str, Mapping[str, str] | None]
) -> bytes:
    """Return the page of one notebook; one that cannot be shown says so."""
    record, market = each_text(plain, scrub(row.record)), row.given.get("market")
    shared = {
        **{"run": {"versions": {"usjp_research": __version__}}, "jobs": [INDEX]},
        "simulated": isinstance(market, str) and is_simulated(market),
        "stale": row.stale if row.status == "out of date" else "",
        "night": Markup(night(pairs(()))),
    }

    def filled(record: Mapping[str, Any]) -> bytes:
        job, of = _job(folder, record, False), row.link["of"]
        title = row.notebook if job["title"] == job["name"] else job["title"]
        job |= {"title": title, "of": of, "words": f"{title}: {of}" if of else title}
        with damage_named(folder / str(record["output"])):
            page = {"job": job, "page": _Page(links)}
            return _encoded(fill("notebook.html", {**shared, **around, **page}))

    try:
        return filled(record)
    except InputError as error:
        failure = {"kind": "It cannot be shown", "message": scrub(str(error)), "cell": None}
        return filled({**record, "output": None, "error": record["error"] or failure})


def _told(value: float) -> str:
    """Write a number to four significant digits, a count as it is."""
    if isinstance(value, int) and abs(value) < 10**9:
        return f"{value:,}".replace("-", MINUS)
    try:
        return f"{float(f'{value:.4g}'):,.12g}".replace("-", MINUS)
    except OverflowError:  # whole numbers have no end
        return shortened(str(value), 12)


def _table(rows: Sequence[Row], numbers: Sequence[str]) -> bytes:
    """Lay out all numbers of all jobs, whole, as CSV."""
    import pandas as pd

    names = list(dict.fromkeys(name for row in rows for name in row.point))
    head = ["job", "notebook", *names, *(f"{n} (number)" if n in names else n for n in numbers)]
    lines: list[list[Any]] = [[*head, "status", "seconds"]]
    for row in rows:
        cells = [*map(row.point.get, names), *map(row.numbers.get, numbers)]
        lines.append([row.name, row.notebook, *cells, row.status, row.record.get("seconds")])
    return csv_bytes(pd.DataFrame(lines, dtype=object), header=False)

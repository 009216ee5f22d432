"""A finished run as static pages: self-contained HTML that runs nothing and loads nothing."""

from __future__ import annotations

import base64
import html
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any
from unicodedata import normalize
from urllib.parse import unquote
from xml.etree import ElementTree

import nbformat
import nh3
from bs4 import BeautifulSoup, Tag
from latex2mathml.converter import convert_to_element
from markupsafe import Markup
from nbconvert.filters.highlight import Highlight2HTML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from usjp_research.market.sources import is_simulated
from usjp_research.report.fill import fill
from usjp_research.report.first_screen import head
from usjp_research.report.numbers import SCRAP
from usjp_research.report.theme import night, pairs
from usjp_research.runs.parameters import UNREADABLE, Parameter, declared
from usjp_research.runs.store import damage_named, read_manifest, result_files
from usjp_research.runs.terminal import CONTROL, plain, screen
from usjp_research.spec.read import read_words
from usjp_research.words import DASH, InputError, each_text, label, naming, scrub

Cells = list[nbformat.NotebookNode]
PARSER = "html.parser"
ADDED = {"injected-parameters", "papermill-error-cell-tag"}  # cells of papermill's own
SVG = "image/svg+xml"
CITE = {"how to cite": "#cite"}
MOST = 400_000  # characters that a page shows of one output
SHORT = 16  # characters of a cell that stay on one line

NOTHING: Mapping[str, Any] = {  # what stands for the notebook of a run that was made without
    **{"name": "answer", "notebook": "", "parameters": {}},
    **{"status": "done", "output": None, "error": None},
}

# What an HTML output may hold, and what is dropped with everything in it.
ALLOWED = """table caption colgroup col thead tbody tfoot tr th td div p pre code span b strong i em
    a small sub sup br ul ol li dl dt dd"""
KEPT = {"th": {"colspan", "rowspan", "title"}, "td": {"colspan", "rowspan"}, "a": {"href"}}
WEB = ("https://", "http://")
UNSEEN = "script style template noscript iframe object svg math title textarea select"

# What a drawing in a page may be made of; one with more in it is an image, which runs nothing.
DRAWN = "{http://www.w3.org/2000/svg}"
SHAPES = {f"{DRAWN}{shape}" for shape in ("svg", "path", "text", "title")}
LOOKS = """width height viewBox x y d transform fill stroke font-size font-weight font-family
    text-anchor fill-opacity stroke-opacity stroke-width stroke-dasharray stroke-linejoin"""
LOOK = re.compile(r"[\w#.,+\-() ]*")
HERE = "\x1a"  # a link to a heading that may be still to come; no text on a page holds it

COUNTER = re.compile(r"\d+|\.\.\.")
ONE = r"((over|rose|fell|none)\s?)?\(?[<>]?\s?[+\-−–]?\s?(\d[\d,.]*(e[+-]?\d+)?\s?(%|pp|bp)?)?\)?"
NUMBER = re.compile(rf"{ONE}( times| of \d+)?[*†]*( to {ONE})?|nan|inf", re.IGNORECASE)
# A table's width in characters: what a page has room for on a desk, beside a list of contents or
# alone, and on a tablet. Longer cells are prose, which wants to stay within so many lines.
ROOM, ALONE, TABLET = 104, 136, 84
PROSE, LINES, FEW = 40, 5, 4  # so few columns always have room for prose


def render(run: Path, links: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the pages of a run by file name, in reading order.

    ``links`` are addresses by their words, of what else there is of the run.
    """
    words = read_words(run / "results")
    with naming(words.names()):
        manifest = each_text(plain, read_manifest(run))
        result_files(run, manifest)  # as they were when the run ended
        records = manifest["jobs"] or [NOTHING]
        named = (job for job in records if job["name"] == manifest.get("front"))
        front = next(named, records[-1])
        others = (record for record in records if record is not front)
        jobs = [_job(run, record, bool(manifest.get("public"))) for record in (front, *others)]
        jobs[0]["file"] = "index.html"
        shared = {
            "words": words,
            "run": manifest,
            "simulated": is_simulated(manifest["market"]),
            "jobs": jobs,
            "screen": Markup(head(run, {**(links or {}), **CITE})),
            "night": Markup(night(pairs(s.colours for s in words.sectors.values() if s.colour))),
        }
        pages: dict[str, str] = {}
        first = {job["notebook"]: job["file"] for job in reversed(jobs)}
        for before, job, after in zip([None, *jobs], jobs, [*jobs[1:], None], strict=False):
            if job["file"] in pages:
                raise InputError(f"{run / 'run.json'}: job '{job['name']}' needs a name of its own")
            room, name = (ROOM, "notebook") if before else (ALONE, "front")
            page = _Page(first | {job["notebook"]: job["file"]}, room=room)
            more = {**shared, "job": job, "page": page, "before": before, "after": after}
            with damage_named(run / str(job["output"])):
                text = fill(f"{name}.html", **more)
            pages[job["file"]] = CONTROL.sub("", text)
        return pages


def _job(run: Path, record: Mapping[str, Any], public: bool) -> dict[str, Any]:
    """Add what a page needs to a job's record: its notebook, title, file name, parameters."""
    path = (run / (record["output"] or "")).resolve()
    missing = not (path.is_file() and path.is_relative_to(run.resolve()))
    with damage_named(run / str(record["output"])):
        cells = [] if missing else _cells(path, public)
        prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        opening = BeautifulSoup(_Page({}, body=False).prose(prose), PARSER)
        sector = record["parameters"].get("sector")
        title = _words(opening.h1) or Path(record["notebook"]).stem or record["name"]
        of = record.get("of", label(sector) if isinstance(sector, str) else "")
        unrun = _unrun(cells)
        return {
            **record,
            "idle": _idle(cells) if record["status"] == "done" else [],
            "file": re.sub(r"[^\w.-]", "_", record["name"]) + ".html",
            "cells": cells,
            "missing": missing,
            "title": title,
            "of": of,
            "words": f"{title}: {of}" if of else title,
            "about": _words(opening.p),
            "effective": _parameters(cells, record["parameters"]),
            "unrun": unrun,
            "unrun_words": _ranges(unrun),
        }


def _cells(path: Path, public: bool) -> Cells:
    """Read an executed notebook; in a public one a cell tagged ``local`` only counts."""
    content = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    cells = [_shown(cell) for cell in content.cells]
    for cell in cells:
        if public and "local" in cell.metadata.tags:
            cell.cell_type, cell.metadata.tags = "raw", []
    return cells


def _shown(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a cell with its texts as a reader sees them: no control character is left."""
    tags = cell.metadata.get("tags")
    tags = [tags] if isinstance(tags, str) else tags if isinstance(tags, list) else []
    cell.metadata["tags"] = [tag for tag in tags if isinstance(tag, str)]
    outputs: Cells = []
    seen = [output for output in cell.get("outputs", []) if not _says_only(output)]
    for name, group in groupby(seen, lambda output: output.get("name")):
        parts = list(group)
        if name:  # one stream, in pieces
            parts[0].text = screen(_bounded("".join(part.text for part in parts)))
        outputs += parts[:1] if name else parts
    for data in (output.data for output in outputs if "data" in output):
        if len(data.get("text/html", "")) > MOST:  # half a table is none
            data["text/html"] = f"<p>[{len(data['text/html']):,} characters left out]</p>"
        data.update({k: _bounded(v) for k, v in data.items() if k.startswith("text/")})
    for error in (output for output in outputs if output.output_type == "error"):
        error.traceback = screen("\n".join(map(str, error.traceback or ()))).split("\n")
    cell.outputs = outputs
    cleaned: nbformat.NotebookNode = each_text(plain, cell)
    # Prose comes from the project; only what ran can name a place on the machine.
    return cleaned if cell.cell_type == "markdown" else scrub(cleaned)


def _idle(cells: Cells) -> list[str]:
    """Mark the cells of sections that show nothing of this study; return their titles, with why.

    Such a section has outputs, and each is a table without a row or a figure that says so.
    """
    parts: list[Cells] = [[]]
    for cell in cells:
        opens = cell.cell_type == "markdown" and re.match(r"#{1,2} ", cell.source)
        parts += [[]] if opens else []
        parts[-1].append(cell)
    titles = []
    for part in parts:
        shown = [cell for cell in part if "hide-output" not in cell.metadata.tags]
        outputs = [output for cell in shown for output in cell.get("outputs", [])]
        if outputs and part[0].source.startswith("## ") and all(map(_shows_nothing, outputs)):
            why = dict.fromkeys(str(x.get("metadata", {}).get("alt", "")) for x in outputs)
            told = " ".join(filter(None, why)).rstrip(".")
            title = part[0].source.splitlines()[0].removeprefix("## ").strip()
            titles.append(f"{title} ({told})" if told else title)
            for cell in part:
                cell.metadata.tags.append("idle")
    return titles


def _shows_nothing(output: nbformat.NotebookNode) -> bool:
    """Say whether an output is a table without a row, or a figure without a finding and data."""
    about, data = output.get("metadata", {}), output.get("data", {})
    if SVG in data:
        return "title" in about and not (about["title"] or about.get("data"))
    body = BeautifulSoup(data.get("text/html", ""), PARSER)
    return bool(body("table")) and not body.select("tbody tr")


def _says_only(output: nbformat.NotebookNode) -> bool:
    """Say whether an output is data for programs alone."""
    return bool(output.get("data")) and all(mime.startswith(SCRAP) for mime in output.data)


def _bounded(text: str) -> str:
    """Leave out the middle of a text that no browser would bear."""
    if len(text) <= MOST:
        return text
    gap = f"\n[{len(text) - MOST:,} characters left out]\n"
    return text[: MOST // 2] + gap + text[-MOST // 2 :]


def _unrun(cells: Cells) -> list[int]:
    """List the numbers of cells with code that papermill did not come to."""
    own = [cell for cell in cells if not ADDED & set(cell.metadata.tags)]
    code = ((k, cell) for k, cell in enumerate(own, 1) if cell.cell_type == "code")
    about = ((k, cell.metadata.get("papermill", {})) for k, cell in code if cell.source.strip())
    return [k for k, times in about if times.get("start_time", "") is None]


def _ranges(numbers: Iterable[int]) -> str:
    """Write numbers as words: 3, 5 to 7."""
    in_a_row = groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    runs = ([number for _, number in run] for _, run in in_a_row)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def _words(part: Tag | None) -> str:
    return " ".join(part.get_text().split()) if part else ""


def _parameters(cells: Cells, given: Mapping[str, Any]) -> list[dict[str, str]]:
    """List the effective parameters with what the notebook says about each."""
    known: dict[str, Parameter] = {}
    for cell in (cell for cell in cells if "parameters" in cell.metadata.tags):
        with suppress(*UNREADABLE):
            known |= declared(cell.source)
    rows = []
    for name in dict.fromkeys([*known, *given]):
        value, by = (given[name], "this run") if name in given else (known[name].default, "default")
        meaning = known[name].help if name in known else ""
        rows.append({"name": name, "value": in_words(value), "by": by, "help": meaning})
    return rows


def in_words(value: object) -> str:
    """Write the value of a parameter."""
    if isinstance(value, str) or value is ...:
        return "computed" if value is ... else value
    return json.dumps(value, ensure_ascii=False, default=repr)


class _Page(IPythonRenderer):
    """Markdown and HTML outputs of one notebook as safe HTML, with headings and numbering."""

    highlight = Highlight2HTML()  # type: ignore[no-untyped-call]

    def __init__(self, links: Mapping[str, str], body: bool = True, room: int = ROOM) -> None:
        super().__init__(escape=True, allow_harmful_protocols=False)  # raw HTML is shown as text
        self.links = links  # from notebooks to their pages
        self.room = room  # of its tables
        self.body = body  # a body's title stands in the page's header
        self.headings: list[tuple[int, str, str]] = []
        self.targets: dict[str, str] = {}  # what a link to a heading says, and the heading's id
        self.counts = Counter[str]()

    def prose(self, source: str) -> Markup:
        text = MarkdownWithMath(renderer=self).render(source)
        return Markup(self._dress(text) if "<table" in text else text)

    def tables(self, source: str) -> Markup:
        """Return an HTML output: tables and inline text, nothing that acts."""
        tags: dict[str, Any] = {"tags": {*ALLOWED.split()}, "clean_content_tags": {*UNSEEN.split()}}

        def web(tag: str, name: str, text: str) -> str | None:
            return text if name != "href" or text.startswith(WEB) else None

        safe = nh3.clean(source, **tags, attributes=KEPT, attribute_filter=web)
        return Markup(self._dress(plain(safe)))

    def inline(self, svg: object) -> Markup:
        return inline(svg)

    def address(self, mime: str, content: object) -> str:
        """Return a picture as a data address; an SVG shown as an image runs nothing."""
        text = content if isinstance(content, str) else ""
        text = base64.b64encode(text.encode()).decode() if mime == SVG else text
        return text and f"data:{mime};base64,{re.sub(r'[^A-Za-z0-9+/=]', '', text)}"

    def caption(self, kind: str, own: str = "") -> tuple[str, str]:
        """Return the next number of a table or figure as an id and as words."""
        self.counts[kind] += 1
        words = own or (self.headings[-1][2] if self.headings else "")
        number = f"{kind} {self.counts[kind]}"
        return number.lower().replace(" ", "-"), f"{number}. {words}" if words else number

    def _dress(self, text: str) -> str:
        """Give each table a caption, scopes, aligned numbers and a region that scrolls."""
        soup = BeautifulSoup(text, PARSER)
        for table in soup("table"):
            notes = _fit(table, _align(table), soup, self.room)
            caption = table.find("caption", recursive=False) or soup.new_tag("caption")
            id, words = self.caption("Table", _words(caption))
            caption["id"] = id
            caption.string = words if table.select("tbody tr") else f"{words}: no rows"
            table.insert(0, caption.extract())
            region = {"class": "scroll", "role": "region", "aria-labelledby": id, "tabindex": "0"}
            table.wrap(soup.new_tag("div", attrs=region)).insert_after(*notes)
        return str(soup)

    def heading(self, text: str, level: int, **_: Any) -> str:
        """Skip no level, and leave the one title to the page's header."""
        words = _words(BeautifulSoup(text, PARSER))
        if level == 1 and "title" not in self.targets.values():
            self.targets[_anchor(words)] = "title"
            return "" if self.body else f"<h1>{text}</h1>"
        level = min(max(level, 2), self.headings[-1][0] + 1 if self.headings else 2)
        name, taken = _anchor(words), {id for _, id, _ in self.headings}
        names = (name, *(f"{name}-{k}" for k in range(2, len(taken) + 3)))
        id = next(id for id in names if id not in taken)
        self.headings.append((level, id, words))
        self.targets.setdefault(name, id)
        return f'<h{level} id="{id}">{text}</h{level}>\n'

    def land(self, body: str) -> Markup:
        """Let each link to a heading arrive; one that leads nowhere is its words."""
        known = {id: id for _, id, _ in self.headings} | self.targets

        def arrive(link: re.Match[str]) -> str:
            target = known.get(html.unescape(link[1]))
            return f'<a href="#{target}">{link[2]}</a>' if target else link[2]

        return Markup(re.sub(f'<a href="{HERE}([^"]*)">(.*?)</a>', arrive, body, flags=re.DOTALL))

    def link(self, text: str, url: str, title: str | None = None) -> str:
        """Keep links to sources, to headings and to notebooks that have a page."""
        if url.startswith(WEB):
            return f'<a href="{html.escape(url)}" rel="noopener noreferrer">{text}</a>'
        page = self.links.get(url.rpartition("/")[2].partition("#")[0])
        if url.startswith("#"):
            page = HERE + _anchor(unquote(html.unescape(url)))
        return f'<a href="{html.escape(page)}">{text}</a>' if page else text

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """Show the words in place of a picture: pictures come from outputs only."""
        return text

    def block_code(self, code: str, info: str | None = None) -> str:
        return f"<pre><code>{html.escape(code)}</code></pre>\n"

    def block_math(self, body: str) -> str:
        return f'<span class="formula">{_math(body, "block")}</span>'

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")

    def inline_math(self, body: str) -> str:
        """Set a formula in the line; two sums of money in a sentence are not a formula."""
        return _math(body, "inline") if body == body.strip() else html.escape(f"${body}$")


def inline(svg: object) -> Markup:
    """Return a picture as part of a page, without its title and style; nothing if it may act."""
    try:
        root = ElementTree.fromstring(svg if isinstance(svg, str) and "<!" not in svg else "")
        _, _, wide, high = map(float, root.get("viewBox", "").split())
        head = float(root.attrib.pop("data-head", "0"))
        texts = [text for text in root.findall(f"{DRAWN}text") if float(text.get("y", head)) < head]
    except (ElementTree.ParseError, ValueError):
        return Markup()
    for part in (*texts, *root.findall(f"{DRAWN}style")):  # the page has both
        root.remove(part)
    for node in root.iter():
        known = node.tag in SHAPES and {*node.attrib} <= {*LOOKS.split()}
        if not known or not all(map(LOOK.fullmatch, node.attrib.values())):
            return Markup()
        node.tag = node.tag.removeprefix(DRAWN)
    high -= head
    root.attrib |= {"viewBox": f"0 {head:g} {wide:g} {high:g}", "height": f"{high:g}pt"}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _math(body: str, display: str) -> str:
    """Return LaTeX as MathML, or as the code it is when it cannot be read."""
    try:
        tree = convert_to_element(body, display=display)
    except Exception:  # the converter's errors have no common class
        return f"<code>{html.escape(body)}</code>"
    for node in tree.iter():
        for name in ("xmlns", "href", "style", "class", "id"):
            node.attrib.pop(name, None)
        # Symbols arrive as entities; all text is escaped again when it is written.
        node.text = html.unescape(node.text) if node.text else node.text
    return ElementTree.tostring(tree, encoding="unicode", short_empty_elements=False)


def _align(table: Tag) -> list[list[Tag]]:
    """Drop a bare counter, say what heads each cell, mark the columns of numbers.

    Returns the rows, the head first, of a table whose rows are all alike; else none.
    """
    own = (line for line in table("tr") if line.find_parent("table") is table)
    cells = (line.find_all(["th", "td"], recursive=False) for line in own)
    rows = [row for row in cells if row]
    head = sum(row[0].find_parent("thead") is not None for row in rows)
    index, wide = [_words(row[0]) for row in rows], all(len(row) > 1 for row in rows)
    if wide and head == 1 and index[:2] == ["", "0"] and all(map(COUNTER.fullmatch, index[1:])):
        for row in rows:
            row.pop(0).decompose()
    for row in rows[head:] if not table.select("tbody th") else ():
        row[0].name = "th"
    for place, row in enumerate(rows):
        axis = "col" if place < head else "row"
        for cell in row:
            text = _words(cell)
            if not text and place < head:
                cell.name = "td"  # pandas leaves a corner empty
            elif cell.name == "th":
                cell["scope"] = axis + ("group" if cell.get(f"{axis}span", "1") != "1" else "")
            if place >= head and len(text) <= SHORT:
                cell["class"] = "short"
            elif " / " in text and cell.string:  # low / base / high
                glued = (part.replace(" ", "\N{NO-BREAK SPACE}") for part in text.split(" / "))
                cell.string = "\N{NO-BREAK SPACE}/ ".join(glued)
    alike = len({len(row) for row in rows}) == 1
    for column in zip(*rows, strict=True) if alike else ():
        for cell in column[head:] if head else ():
            cell["data-label"] = _words(column[head - 1])
        texts = [_words(cell) for cell in column[head:] if cell.name == "td"]
        if any(map(str.strip, texts)) and all(NUMBER.fullmatch(text) for text in texts):
            for cell in column:
                cell["class"] = "number"
    return [[*row] for row in rows] if alike and head == 1 else []


def _fit(table: Tag, rows: list[list[Tag]], soup: BeautifulSoup, room: int) -> list[Tag]:
    """Let a table become cards on a phone; return the longest prose of a wide one as notes."""
    columns = [*zip(*rows, strict=True)]
    longest = [max((len(_words(cell)) for cell in column[1:]), default=0) for column in columns]
    sizes = [_size(column, most) for column, most in zip(columns, longest, strict=True)]
    moved = []
    # Of columns about as long the last goes first: asides stand on the right.
    for k in sorted(range(1, len(columns)), key=lambda k: (longest[k] // 100, k), reverse=True):
        if longest[k] > PROSE and sum(sizes) > room and len(columns) > FEW:
            moved.append(k)
            sizes[k] = 0
    notes: dict[str, int] = {}
    for row in rows[1:]:
        cells = [row[k] for k in sorted(moved) if _words(row[k]) not in ("", DASH)]
        heads = (html.escape(str(cell["data-label"])) for cell in cells)
        said = [f"<b>{next(heads)}:</b> {cell.decode_contents()}" for cell in cells]
        mark = soup.new_tag("sup")
        numbers = [str(notes.setdefault(note, len(notes) + 1)) for note in said]
        mark.string = "\N{NO-BREAK SPACE}" + ", ".join(numbers)
        row[0].extend([mark] if said else [])
    for cell in (row[k] for row in rows for k in moved):
        cell.decompose()
    if rows:
        table["class"] = "cards wide" if sum(sizes) > TABLET else "cards"
    listed = "".join(f"<li>{note}</li>" for note in notes)
    return BeautifulSoup(f'<ol class="notes">{listed}</ol>', PARSER)("ol") if notes else []


def _size(column: Sequence[Tag], longest: int) -> int:
    """Return how many characters a column needs: numbers stay whole, prose is broken in lines."""
    word = max(len(word) for cell in column for word in ["", *_words(cell).split()])
    if longest <= SHORT or column[0].get("class") == "number":
        return max(longest, word) + 2
    return max(word, min(longest, 20), longest // LINES) + 2


def _anchor(text: str) -> str:
    """Return a name for what a heading or a link to it says, in any script."""
    words = re.findall(r"[^\W_]+", normalize("NFKC", text).casefold())
    return f"s-{'-'.join(words)}"


def prose(text: str) -> Markup:
    """Return Markdown as safe HTML of a page of its own."""
    return _Page({}).prose(text)

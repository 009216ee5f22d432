"""A finished run as static pages: self-contained HTML that runs nothing and loads nothing."""

from __future__ import annotations

import ast
import base64
import html
import json
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from unicodedata import normalize
from urllib.parse import unquote
from xml.etree import ElementTree

import nbformat
import nh3
from bs4 import BeautifulSoup, Tag
from jinja2 import Environment
from latex2mathml.converter import convert_to_element
from markupsafe import Markup
from nbconvert.exporters.templateexporter import TemplateExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from usjp_research.market.sources import is_simulated
from usjp_research.report.reading import QUESTION
from usjp_research.runs.folder import locked, recover, staged, swap
from usjp_research.runs.parameters import literal
from usjp_research.runs.store import damage_named, plain_json, read_manifest, result_files
from usjp_research.runs.terminal import CONTROL, plain, screen
from usjp_research.spec.read import read_words
from usjp_research.spec.records import Words
from usjp_research.words import InputError, each_text, label, naming, scrub

TEMPLATES = Path(__file__).parent / "templates"
PARSER = "html.parser"
ADDED, ERROR = "injected-parameters", "papermill-error-cell-tag"  # cells of papermill's own
SVG = "image/svg+xml"
SHORT = 16  # characters of a cell that stay on one line

NOTHING: Mapping[str, Any] = {  # what stands for the notebook of a run that was made without
    **{"name": "answer", "notebook": "", "parameters": {}},
    **{"status": "done", "output": None, "error": None},
}

# What an HTML output may hold, and what is dropped with everything in it.
ALLOWED = """table caption colgroup col thead tbody tfoot tr th td div p pre code span b strong i em
    small sub sup br ul ol li dl dt dd"""
SPANS = {"th": {"colspan", "rowspan", "title"}, "td": {"colspan", "rowspan"}}
UNSEEN = "script style template noscript iframe object svg math title textarea select"
HERE = "\x1a"  # where an id is still to come; no text on a page holds it

COUNTER = re.compile(r"\d+|\.\.\.")
ONE = r"\(?[<>]?\s?[+\-−–]?\s?(\d[\d,.]*(e[+-]?\d+)?\s?(%|pp|bp)?)?\)?"
NUMBER = re.compile(rf"{ONE}\*?( to {ONE})?|nan|inf", re.IGNORECASE)


def build_site(run: Path) -> Path:
    """Write the pages of a run, one per notebook; the one that answers is the first page.

    What a failed job left out may be missing; its page and the first one say so. The folder
    ``site`` is replaced as a whole or not at all.
    """
    run = Path(run)
    recover(run)
    pages = render(run)
    with locked(run), staged(run) as fresh:
        write_pages(fresh, pages)
        swap(run, fresh)
    return run / "site" / "index.html"


def write_pages(run: Path, pages: Mapping[str, str]) -> None:
    """Write pages into the folder ``site`` of a run that is being made."""
    (run / "site").mkdir()
    for name, text in pages.items():
        (run / "site" / name).write_text(text, encoding="utf-8", errors="backslashreplace")


def render(run: Path) -> dict[str, str]:
    """Return the pages of a run by file name, in reading order; see `build_site`."""
    words = read_words(run / "results")
    with naming(words.names()):
        return _render(run, words)


def _render(run: Path, words: Words) -> dict[str, str]:
    manifest = each_text(plain, read_manifest(run))
    result_files(run, manifest)  # as they were when the run ended
    records = manifest["jobs"] or [NOTHING]
    named = (job for job in records if job["name"] == manifest.get("front"))
    front = next(named, records[-1])
    jobs: list[dict[str, Any]] = []
    for record in (front, *(other for other in records if other is not front)):
        with damage_named(run / str(record["output"])):
            jobs.append(_job(run, record, public=bool(manifest.get("public"))))
    jobs[0]["file"] = "index.html"
    shared = {
        "words": words,
        "run": manifest,
        "simulated": is_simulated(manifest["market"]),
        "jobs": jobs,
        "answer": _answer(run),
        "label": label,
    }
    pages: dict[str, str] = {}
    first = {job["notebook"]: job["file"] for job in reversed(jobs)}
    for before, job, after in zip([None, *jobs], jobs, [*jobs[1:], None], strict=False):
        if job["file"] in pages:
            raise InputError(f"{run / 'run.json'}: job '{job['name']}' needs a name of its own")
        page = _Page(first | {job["notebook"]: job["file"]})
        more = {**shared, "job": job, "page": page, "before": before, "after": after}
        with damage_named(run / str(job["output"])):
            text = fill("front.html" if job is jobs[0] else "notebook.html", more)
        pages[job["file"]] = CONTROL.sub("", text)
    return pages


def _answer(run: Path) -> str:
    """Return the answer in one line, without the question that the page's title asks."""
    path = run / "results" / "reading.json"
    if not path.is_file():
        return ""
    with damage_named(path):
        return str(plain_json(path)["sentences"][0]).removeprefix(QUESTION)


# --- what the run says -----------------------------------------------------------------------


def _job(run: Path, record: dict[str, Any], *, public: bool) -> dict[str, Any]:
    """Add what a page needs to a job's record: its notebook, title, file name, parameters.

    Public pages leave out the cells tagged ``local``: they show single firms.
    """
    content, missing = nbformat.v4.new_notebook(), True  # type: ignore[no-untyped-call]
    path = (run / (record["output"] or "")).resolve()
    if path.is_file() and path.is_relative_to(run.resolve()):
        content, missing = nbformat.read(path, as_version=4), False  # type: ignore[no-untyped-call]
    content.cells = [_shown(cell) for cell in content.cells]
    if public:
        for place, cell in enumerate(content.cells):
            if "local" in cell.metadata.get("tags", []):  # an empty one keeps the cells' numbers
                content.cells[place] = nbformat.v4.new_raw_cell("")  # type: ignore[no-untyped-call]
    prose = [cell.source for cell in content.cells if cell.cell_type == "markdown"]
    opening = _Page({}, body=False).prose("\n\n".join(prose))
    title, about = (_words(BeautifulSoup(opening, PARSER).find(name)) for name in ("h1", "p"))
    sector = record["parameters"].get("sector")
    title, of = title or record["name"], label(sector) if isinstance(sector, str) else ""
    return {
        **record,
        "file": re.sub(r"[^\w.-]", "_", record["name"]) + ".html",
        "content": content,
        "missing": missing,
        "title": title,
        "of": of,
        "words": f"{title}: {of}" if of else title,
        "about": about,
        "effective": _parameters(content, record["parameters"]),
        "unrun": (unrun := _unrun(content.cells)),
        "unrun_words": _ranges(unrun),
    }


def _shown(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a cell with its texts as a reader sees them: no control character is left.

    Prose comes from the project; only what ran can name a place on the machine.
    """
    tags = cell.metadata.get("tags")
    tags = [tags] if isinstance(tags, str) else tags if isinstance(tags, list) else []
    cell.metadata["tags"] = [tag for tag in tags if isinstance(tag, str)]
    outputs: list[nbformat.NotebookNode] = []
    for output in cell.get("outputs", []):
        before = outputs[-1] if outputs else {}
        if output.output_type == before.get("output_type") == "stream" and (
            output.name == before["name"]
        ):
            before["text"] += output.text
        else:
            outputs.append(output)
    for output in outputs:
        if output.output_type == "stream":
            output.text = screen(output.text)
        elif output.output_type == "error":
            output.traceback = screen("\n".join(map(str, output.traceback or ()))).split("\n")
    if "outputs" in cell:
        cell.outputs = outputs
    cleaned: nbformat.NotebookNode = each_text(plain, cell)
    return cleaned if cell.cell_type == "markdown" else scrub(cleaned)


def _unrun(cells: list[nbformat.NotebookNode]) -> list[int]:
    """List the numbers of cells with code that papermill did not come to."""
    own = [c for c in cells if not {ADDED, ERROR} & set(c.metadata.get("tags", []))]
    return [
        number
        for number, cell in enumerate(own, 1)
        if cell.cell_type == "code"
        and cell.source.strip()
        and cell.metadata.get("papermill", {}).get("start_time", "") is None
    ]


def _ranges(numbers: list[int]) -> str:
    """Write numbers as words: 3, 5 to 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def _words(part: Tag | None) -> str:
    return " ".join(part.get_text().split()) if part else ""


def _parameters(notebook: nbformat.NotebookNode, given: Mapping[str, Any]) -> list[dict[str, str]]:
    """List the effective parameters with what the notebook says about each."""
    known: dict[str, tuple[Any, str]] = {}
    for cell in notebook.cells:
        with suppress(SyntaxError):
            if "parameters" in cell.metadata.get("tags", []):
                known |= _defaults(cell.source)
    rows = []
    for name in dict.fromkeys([*known, *given]):
        value = given[name] if name in given else known[name][0]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        by, meaning = "this run" if name in given else "default", known.get(name, ("", ""))[1]
        rows.append({"name": name, "value": text, "by": by, "help": meaning})
    return rows


def _defaults(source: str) -> dict[str, tuple[Any, str]]:
    """Return each assigned name with its value and the comment on its last line."""
    found, lines = {}, source.encode().splitlines()
    for node in ast.parse(source).body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                rest = lines[(value.end_lineno or 1) - 1][value.end_col_offset :].decode()
                default = literal(value)
                known = ast.unparse(value) if default is ... else default  # else computed in a run
                found[name] = (known, rest.partition("#")[2].strip())
    return found


# --- one notebook ----------------------------------------------------------------------------


class _Page(IPythonRenderer):
    """Markdown and HTML outputs of one notebook as safe HTML, with headings and numbering.

    Raw HTML in Markdown is shown as text; HTML outputs keep tables and inline text only.
    """

    def __init__(self, links: Mapping[str, str], body: bool = True) -> None:
        super().__init__(escape=True, allow_harmful_protocols=False)
        self.links = links  # from notebooks to their pages
        self.body = body  # a body's title stands in the page's header
        self.titled = False
        self.headings: list[tuple[int, str, str]] = []
        self.targets: dict[str, str] = {}  # what a link to a heading says, and the heading's id
        self.counts = Counter[str]()

    def prose(self, source: str) -> Markup:
        text = MarkdownWithMath(renderer=self).render(source)
        return Markup(self._dress(text) if "<table" in text else text)

    def tables(self, source: str) -> Markup:
        """Return an HTML output: tables and inline text, nothing that acts."""
        safe = nh3.clean(
            source, tags={*ALLOWED.split()}, clean_content_tags={*UNSEEN.split()}, attributes=SPANS
        )
        return Markup(self._dress(plain(safe)))

    def picture(self, mime: str, output: nbformat.NotebookNode, alt: str) -> dict[str, Any]:
        """Return a figure's addresses, its words, and its number with the section's name."""
        meta = output.metadata
        own = meta[mime] if isinstance(meta.get(mime), dict) else {}
        narrow = own.get("narrow")
        id, caption = self.caption("Figure")
        return {
            "id": id,
            "caption": caption,
            "src": _address(mime, output.data[mime]),
            "narrow": _address(mime, narrow) if isinstance(narrow, str) else "",
            "alt": meta.get("alt") or own.get("alt") or alt or f"{caption} (not described)",
        }

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
            _align(table)
            caption = table.find("caption", recursive=False) or soup.new_tag("caption")
            id, words = self.caption("Table", _words(caption))
            caption["id"] = id
            caption.string = words if table.select("tbody tr") else f"{words}: no rows"
            table.insert(0, caption.extract())
            region = {"class": "scroll", "role": "region", "aria-labelledby": id, "tabindex": "0"}
            table.wrap(soup.new_tag("div", attrs=region))
        return str(soup)

    def heading(self, text: str, level: int, **_: Any) -> str:
        """Skip no level, and leave the one title to the page's header."""
        words = _words(BeautifulSoup(text, PARSER))
        if level == 1 and not self.titled:
            self.titled = True
            self.targets[_anchor(words)] = "title"
            return "" if self.body else f"<h1>{text}</h1>"
        level = min(max(level, 2), self.headings[-1][0] + 1 if self.headings else 2)
        self.headings.append((level, _anchor(words), words))
        return f'<h{level} id="{HERE}{len(self.headings) - 1}">{text}</h{level}>\n'

    def land(self, body: str) -> Markup:
        """Give each heading an id of its own, and each link to one the heading that it means."""
        names = [name for _, name, _ in self.headings]
        ids: list[str] = []
        for place, name in enumerate(names):
            tries = (f"{name}-{k}" for k in range(2, len(names) + 2))
            taken = name in names[:place]
            ids.append(next(i for i in tries if i not in {*names, *ids}) if taken else name)
            self.targets.setdefault(name, ids[-1])
        known = dict(zip(ids, ids, strict=True)) | self.targets
        self.headings = [(n, id, w) for (n, _, w), id in zip(self.headings, ids, strict=True)]

        def arrive(link: re.Match[str]) -> str:
            target = known.get(html.unescape(link[1]))
            return f'<a href="#{target}">{link[2]}</a>' if target else link[2]

        body = re.sub(f'id="{HERE}(\\d+)"', lambda found: f'id="{ids[int(found[1])]}"', body)
        return Markup(re.sub(f'<a href="{HERE}([^"]*)">(.*?)</a>', arrive, body, flags=re.DOTALL))

    def link(self, text: str, url: str, title: str | None = None) -> str:
        """Keep links to sources, to headings and to notebooks that have a page."""
        if url.startswith(("https://", "http://")):
            return f'<a href="{html.escape(url)}" rel="noopener noreferrer">{text}</a>'
        if url.startswith("#"):
            page: str | None = HERE + _anchor(unquote(html.unescape(url)))
        else:
            page = self.links.get(url.rpartition("/")[2].partition("#")[0])
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


def _align(table: Tag) -> None:
    """Drop a bare counter, say what heads each cell, mark the columns of numbers."""
    own = [line for line in table("tr") if line.find_parent("table") is table]
    lines = [line for line in own if line.find(["th", "td"], recursive=False)]
    rows = [line.find_all(["th", "td"], recursive=False) for line in lines]
    head = sum(line.find_parent("thead") is not None for line in lines)
    index, plain = [_words(row[0]) for row in rows], all(len(row) > 1 for row in rows)
    if plain and head == 1 and index[:2] == ["", "0"] and all(map(COUNTER.fullmatch, index[1:])):
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
    for column in zip(*rows, strict=True) if len({len(row) for row in rows}) == 1 else ():
        if head:
            table["class"] = "cards"  # on a phone each row is one
        for cell in column[head:] if head else ():
            cell["data-label"] = _words(column[head - 1])
        texts = [_words(cell) for cell in column[head:] if cell.name == "td"]
        if any(texts) and all(NUMBER.fullmatch(text) for text in texts):
            for cell in column:
                cell["class"] = "number"


def _anchor(text: str) -> str:
    """Return a name for what a heading or a link to it says, in any script."""
    words = re.findall(r"[^\W_]+", normalize("NFKC", text).casefold())
    return f"s-{'-'.join(words)}"


def _address(mime: str, content: str) -> str:
    """Return a picture as a data address; an SVG shown as an image runs nothing."""
    if mime == SVG:
        content = base64.b64encode(content.encode()).decode()
    return f"data:{mime};base64,{re.sub(r'[^A-Za-z0-9+/=]', '', content)}"


# --- pages on disk ---------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _templates() -> Environment:
    exporter = TemplateExporter(  # type: ignore[no-untyped-call]
        template_paths=[str(TEMPLATES)], template_file="notebook.html.j2"
    )
    made: Environment = exporter.environment
    made.autoescape = made.trim_blocks = made.lstrip_blocks = True
    return made


def fill(name: str, resources: Mapping[str, Any]) -> str:
    """Fill one of the package's page templates in; every text in it is escaped."""
    return _templates().get_template(f"{name}.j2").render(resources=resources)

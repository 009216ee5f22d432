"""The pages of a run: safe to mail, readable by anyone, and never half written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nbformat.v4
import pandas as pd
import pytest
from bs4 import BeautifulSoup

import usjp_research as ur
from usjp_research.market.record import Dropped
from usjp_research.report.numbers import Linked, Table
from usjp_research.report.pages import _idle, _Page, _shown, inline
from usjp_research.report.site import build_site
from usjp_research.study.verdict import DEPENDS, NO_VERDICT, VERDICTS
from usjp_research.words import InputError, naming

CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
VOID = {"meta", "img", "br", "col", "hr", "link", "input", "base", "area", "source", "embed"}
EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>"
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script><rect width="9"/></svg>'
DRAWING = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="9pt" height="9pt" viewBox="0 0 9 9">'
    '<path d="M0 0L1 9"><title>&lt;b&gt;</title></path></svg>'
)
PLACES = ("/opt/venv/lib/python3.12/site-packages/papermill/execute.py", r"C:\Users\me\run\x.py")
v4: Any = nbformat.v4
new_notebook, new_output = v4.new_notebook, v4.new_output
new_code_cell, new_markdown_cell = v4.new_code_cell, v4.new_markdown_cell
WORDS = """
question: Is the partnership in the price?
provenance: The rule is younger than the events.
caveats: {mining_metals: It shone.}
sectors: {power_utilities: Power & Utilities, mining_metals: Mining & Metals}
"""
READING = {"sentences": ["Has the market priced it in? Nobody can tell <b>yet</b>.", "Second."]}


def code(source: str, *outputs: Any, tags: tuple[str, ...] = ()) -> Any:
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


def stream(text: str, name: str = "stdout") -> Any:
    return new_output("stream", name=name, text=text)


def shown(mime: str, text: str, **meta: Any) -> Any:
    return new_output("display_data", data={mime: text, "text/plain": "x"}, metadata=meta)


def event_study() -> Any:
    frame = (
        '<div><style scoped>.dataframe { x: y }</style><table border="1" class="dataframe"><thead>'
        "<tr><th></th><th>Ticker</th><th>Return</th></tr></thead><tbody>"
        f"<tr><th>0</th><td>{EVIL}ABC</td><td>+1.2%</td></tr>"
        '<tr><th>1</th><td onclick="x()">DEF</td><td>−3.4%</td></tr></tbody></table></div>'
    )
    return new_notebook(
        cells=[
            new_markdown_cell("# One sector\n\nHow far did prices move?\n\n## Method"),
            code('sector = "x"  # a sector key\nlevel = 0.9  # of the band', tags=("parameters",)),
            code('sector = "mining_metals"', tags=("injected-parameters",)),
            new_markdown_cell(
                "Effects $C_g = \\hat\\beta < 1$ and $$S = \\frac{C}{se}$$ for \\$550bn, $40bn and "
                f"$7bn, $\\text{{{EVIL}}}$, $\\frac{{$.\n\n{EVIL}\n\n```mermaid\n{EVIL}\n```\n\n"
                "[source](https://example.org/a) [bad](javascript:alert) [up](#method) "
                "[next](4_verdict.ipynb) ![pixel](https://example.org/pixel.png)\n\n"
                "| a | b |\n|---|---|\n| text | 2.5 |\n\n#### Too deep\n\n## Method"
            ),
            code("reactions.head()", shown("text/html", frame)),
            code("plot()", shown("image/svg+xml", SVG, alt="Two lines that rise.")),
            code("plot_more()", shown("image/png", "iVBORw0KGgo=\n")),
            code(f"print('{EVIL}')", stream(f"{EVIL} seen")),
            code("warn()", stream(f"{PLACES[0]}: a warning", "stderr")),
            code("quiet()", stream("unseen"), tags=("hide-output",)),
            code("firms()", stream("ONEFIRM"), tags=("local",)),
            code("last()", shown("text/html", "<table><tr></tr><tr><th>0</table>"), stream("end")),
        ]
    )


def failing() -> Any:
    trace = [f"\x1b[32m{PLACES[0]}\x1b[39m in run", f"{PLACES[1]} KeyError: {EVIL}"]
    error = new_output("error", ename="KeyError", evalue=f"'{EVIL}'", traceback=trace)
    return new_notebook(
        cells=[
            new_markdown_cell("papermill says", metadata={"tags": ["papermill-error-cell-tag"]}),
            new_markdown_cell("# Exposure\n\nDollars against moves."),
            code("judge()", error),
        ]
    )


def verdict() -> Any:
    head, cells = "<th></th><th>Sector</th><th>MDE</th>", "<th>0</th><td>Solar</td><td>15.9%</td>"
    table = f"<table><thead><tr>{head}</tr></thead><tbody><tr>{cells}</tr></tbody></table>"
    both = {"alt": f"Scoreboard {EVIL}.", "image/svg+xml": {"narrow": DRAWING.replace("9", "3")}}
    both |= {"title": f"It rose {EVIL}", "source": "In percent.", "data": f"row,{EVIL}\na,1\n"}
    return new_notebook(
        cells=[
            new_markdown_cell("# Verdict\n\nAll sectors jointly."),
            code("study = 1"),
            new_markdown_cell("## The scoreboard"),
            code("board", shown("image/svg+xml", DRAWING, **both)),
            code("table", shown("text/html", table)),
            new_markdown_cell("## What was left out"),
            code("rest", shown("text/html", table.replace("Solar", "Rail")), tags=("folded",)),
        ]
    )


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a small run; what is given replaces parts of its manifest, None removes a result."""

    def write(results: dict[str, str | None] | None = None, **changes: Any) -> Path:
        run = tmp_path_factory.mktemp("run")
        jobs = []
        plain = new_notebook(cells=[new_markdown_cell("# Data\n\nWhat we measure with.")])
        failure = {"cell": 2, "kind": "KeyError", "message": f"'{EVIL}'", "traceback": PLACES[0]}
        for name, notebook, content, parameters, error in (
            ("1_data", "1_data.ipynb", plain, {"out": str(run)}, None),
            (
                *("2_event_study-mining_metals", "2_event_study.ipynb", event_study()),
                *({"sector": "mining_metals", "title": EVIL}, None),
            ),
            ("2_event_study-evil", "2_event_study.ipynb", event_study(), {"sector": EVIL}, None),
            ("3_exposure", "3_exposure.ipynb", failing(), {"n": None}, failure),
            ("5_robustness", "5_robustness.ipynb", None, {}, failure),
            ("4_verdict", "4_verdict.ipynb", verdict(), {}, None),
        ):
            output = f"notebooks/{name}.ipynb" if content else None
            if output:
                (run / "notebooks").mkdir(exist_ok=True)
                nbformat.write(content, run / output)  # type: ignore[no-untyped-call]
            record = {"name": name, "notebook": notebook, "parameters": parameters, "seconds": 6.1}
            status = "failed" if error else "done"
            jobs.append({**record, "status": status, "output": output, "error": error})
        manifest = {
            **{"schema": 1, "spec": "ab" * 32, "snapshot": "cd" * 32, "market": "bundled"},
            **{"public": True, "versions": {"python": "3.12.4", "usjp_research": "0.1.0"}},
            **{"commit": "ef" * 20, "dirty": True, "requirements_lock": "12" * 32},
            **{"started": "2026-08-14T08:12:03+00:00", "ended": "2026-08-14T08:14:40+00:00"},
            **{"jobs": jobs, **changes},
        }
        (run / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
        files: dict[str, str | None] = {
            "results/words.yaml": WORDS,
            "results/reading.json": json.dumps(READING),
            **(results or {}),
        }
        for path, text in files.items():
            (run / path).parent.mkdir(exist_ok=True)
            if text is not None:
                (run / path).write_text(text, encoding="utf-8")
        return run

    return write


class Page(HTMLParser):
    """The elements of a page, each with its attributes, text and the elements around it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[dict[str, Any]] = []
        self.open: list[dict[str, Any]] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {[e['tag'] for e in self.open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute is given twice: {tag} {attrs}"
        around = [element["tag"] for element in self.open]
        element = {"tag": tag, "around": around, "text": "", **{k: v or "" for k, v in attrs}}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"closes nothing: {tag}"
        assert self.open.pop()["tag"] == tag, f"closes another element: {tag}"
        if tag in ("td", "th", "dt"):
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element["text"] += data

    def all(self, *tags: str) -> Iterator[dict[str, Any]]:
        return (element for element in self.elements if element["tag"] in tags)


@pytest.fixture(scope="module")
def run(make: Callable[..., Path]) -> Path:
    run = make()
    build_site(run)
    return run


@pytest.fixture(scope="module")
def texts(run: Path) -> dict[str, str]:
    return {p.name: p.read_text(encoding="utf-8") for p in sorted((run / "site").iterdir())}


@pytest.fixture(scope="module")
def pages(texts: dict[str, str]) -> dict[str, Page]:
    return {name: Page(text) for name, text in texts.items()}


def words(page: Page, tag: str = "body") -> str:
    return " ".join(" ".join(element["text"] for element in page.all(tag)).split())


STUDY_PAGE = "2_event_study-mining_metals.html"


# --- safe to open ----------------------------------------------------------------------------


def test_no_page_runs_anything_or_loads_anything_from_a_network(texts: dict[str, str]) -> None:
    acts = {"script", "link", "iframe", "object", "embed"}
    acts |= {"form", "input", "base", "audio", "video"}
    for name, text in texts.items():
        page = Page(text)
        assert not acts & {element["tag"] for element in page.elements}, name
        for element in page.elements:
            assert not [key for key in element if key.startswith("on")], (name, element)
            assert "style" not in element, (name, element)
            assert element.get("srcset", "data:image/").startswith("data:image/"), (name, element)
            assert element.get("src", "data:image/").startswith("data:image/"), (name, element)
            if "href" in element:
                assert element["tag"] == "a", (name, element)
        assert not re.search(r"url\(|@import|@font-face", words(page, "style")), name
        policy = [e["content"] for e in page.all("meta") if "http-equiv" in e]
        assert policy == [CSP], name


def test_links_to_the_web_are_plain_and_do_not_say_where_they_come_from(
    pages: dict[str, Page],
) -> None:
    links = [link for page in pages.values() for link in page.all("a")]
    outside = [link for link in links if ":" in link["href"].split("/")[0]]
    outside = [link for link in outside if "download" not in link]
    assert {link["href"] for link in outside} == {"https://example.org/a"}
    assert {link["rel"] for link in outside} == {"noopener noreferrer"}


def test_hostile_text_is_shown_as_text_or_dropped_and_never_becomes_an_element(
    texts: dict[str, str], pages: dict[str, Page]
) -> None:
    for name, text in texts.items():
        assert "<script" not in text.lower(), name
        assert "onerror=alert" not in re.sub(r'(alt|title)="[^"]*"', "", text) or "&lt;img" in text
        assert all(e["src"].startswith("data:") for e in pages[name].all("img")), name
    assert "alert(1)" in words(pages["index.html"])  # an error message
    assert EVIL in words(pages[STUDY_PAGE], "pre")  # printed output
    assert EVIL in words(pages[STUDY_PAGE], "table")  # a parameter
    assert EVIL in words(pages["2_event_study-evil.html"], "h1")
    assert EVIL in words(pages["3_exposure.html"])  # an error message
    ticker = next(e for e in pages[STUDY_PAGE].all("th") if "ABC" in e["text"])
    assert "alert" not in ticker["text"]


def test_pictures_have_words_and_are_images_in_which_nothing_runs(pages: dict[str, Page]) -> None:
    assert not [e for page in pages.values() for e in page.all("canvas")]
    pictures = [e for page in pages.values() for e in page.all("img")]
    assert all(e["alt"] for e in pictures)
    assert "Two lines that rise." in [e["alt"] for e in pictures]
    kinds = {e["src"].split(",")[0] for e in pictures}
    assert kinds == {"data:image/svg+xml;base64", "data:image/png;base64"}


def test_no_page_names_a_place_on_the_machine(make: Callable[..., Path]) -> None:
    run = make(market="file:" + "//" + "/srv/data/prices.parquet")
    place = re.compile(r"(?<![\w/.<…])/(opt|home|tmp|usr|var|srv|root|Users)\b|[A-Z]:\\")
    build_site(run)
    for page in (run / "site").iterdir():
        text = re.sub(r"data:[^\"]+", "", page.read_text(encoding="utf-8"))
        assert not place.search(text), page.name
        for folder in (run, Path.home(), Path.cwd()):
            assert str(folder) + "/" not in text, page.name
    assert "…/prices.parquet" in text
    assert "…/execute.py" in (run / "site" / "3_exposure.html").read_text(encoding="utf-8")


# --- readable by anyone ----------------------------------------------------------------------


def test_a_picture_has_a_narrow_form_for_phones_and_the_wide_one_for_paper(
    pages: dict[str, Page],
) -> None:
    page = pages["index.html"]
    wide, narrow = page.all("svg")
    assert (wide["viewbox"], narrow["viewbox"]) == ("0 0 9 9", "0 0 3 3")
    assert [e["text"] for e in page.all("title") if "path" in e["around"]] == ["<b>"] * 2
    hidden = [e for e in page.all("div") if "hidden" in e]
    assert len(hidden) == 1 and narrow["around"].count("div") == wide["around"].count("div") + 1
    drawn = next(e for e in page.all("div") if e.get("role") == "img")
    assert drawn["aria-label"] == f"Scoreboard {EVIL}." and "two" in drawn["class"].split()


def test_a_figure_has_its_finding_its_source_and_its_data_beside_it(
    pages: dict[str, Page], texts: dict[str, str]
) -> None:
    page = pages["index.html"]
    caption = next(page.all("figcaption"))
    assert (
        caption["text"].startswith(f"It rose {EVIL}")
        and "Figure 1. The scoreboard" in (caption["text"])
    )
    assert "In percent. Returns: bundled." in words(page, "figure")
    (link,) = (e for e in page.all("a") if "download" in e)
    kind, _, table = link["href"].partition(",")
    assert kind == "data:text/csv;charset=utf-8" and unquote(table) == f"row,{EVIL}\na,1\n"
    assert link["download"] == "4_verdict-figure-1.csv"


@pytest.mark.parametrize(
    "part",
    [
        "<script>alert(1)</script>",
        '<a href="javascript:alert(1)"><path d="M0 0"/></a>',
        '<path d="M0 0" onclick="alert(1)"/>',
        '<path d="M0 0" fill="url(https://example.org/a#b)"/>',
        '<path d="M0 0" style="fill:red"/>',
        '<path d="M0 0" id="title"/>',
        '<foreignObject><b xmlns="http://www.w3.org/1999/xhtml">x</b></foreignObject>',
        '<image href="https://example.org/pixel.png"/>',
        '<use href="#a"/>',
        '<b xmlns="http://www.w3.org/1999/xhtml">x</b>',
        "<unclosed>",
    ],
)
def test_only_a_drawing_that_can_do_nothing_becomes_part_of_a_page(part: str) -> None:
    assert inline(DRAWING)
    assert not inline(DRAWING.replace("</svg>", f"{part}</svg>"))
    bomb = f'<!DOCTYPE svg [<!ENTITY a "aaaa">]>{DRAWING.replace("&lt;b&gt;", "&a;")}'
    assert not inline(bomb) and not inline(None) and not inline(DRAWING.replace("0 0 9 9", "9"))


def test_every_table_with_headings_can_become_cards_on_a_phone(pages: dict[str, Page]) -> None:
    for name in ("index.html", "1_data.html", "3_exposure.html"):
        assert {e.get("class") for e in pages[name].all("table")} <= {"cards", "cards wide"}, name
    cells = [e for e in pages["index.html"].all("td") if "data-label" in e]
    assert [(e["data-label"], e["text"]) for e in cells] == [("MDE", "15.9%")] * 2


def _dressed(table: pd.DataFrame) -> BeautifulSoup:
    shown = table._repr_html_() if isinstance(table, Table) else table.to_html(index=False)
    return BeautifulSoup(_Page({}).tables(shown), "html.parser")


def test_prose_that_a_wide_table_has_no_room_for_stands_below_it_once_and_numbered() -> None:
    why = " ".join(["because"] * 40)
    wide = pd.DataFrame({"Firm": ["A", "B", "C"]} | {f"Amount{k}": 1.5 for k in range(9)})
    page = _dressed(wide.assign(Why=[why, "–", why], Also=["x" * 45, "y" * 45, ""]))
    heads = [" ".join(cell.get_text().split()) for cell in page.select("tbody th")]
    assert heads == ["A 1, 2", "B 3", "C 1"]
    notes = [note.get_text() for note in page.select("ol.notes li")]
    assert notes == [f"Why: {why}", f"Also: {'x' * 45}", f"Also: {'y' * 45}"]
    assert "Why" not in [cell.get_text() for cell in page.select("thead th")]
    assert page.table and page.table["class"] == ["cards", "wide"]
    small = _dressed(pd.DataFrame({"Firm": ["A"], "Why": [why]}))
    assert not small.select("ol") and small.select("td")[0].get_text() == why


def test_a_column_of_dashes_is_not_shown_but_can_be_asked_for() -> None:
    table = Table({"Firm": ["A", "B"], "p": ["–", "–"], "t": ["–", "1.2"]})
    assert [cell.get_text() for cell in _dressed(table).select("thead th")] == ["Firm", "t"]
    assert list(table["p"]) == ["–", "–"] and "<th>p</th>" in Table({"p": []})._repr_html_()


def test_numbers_with_a_word_or_a_mark_are_set_right_and_words_left() -> None:
    right = ["over 100%", "<0.1%", "+11.0%*", "rose 3.2%", "5 times", "3 of 54", "+1.1%†*"]
    columns = {f"c{k}": [text, "–"] for k, text in enumerate(right)}
    page = _dressed(pd.DataFrame({"Row": ["a", "b"], **columns, "Word": ["yes", "none"]}))
    first = page.select("tbody tr")[0].select("td")
    assert [cell.get_text() for cell in first if cell["class"] == ["number"]] == right


def test_words_link_to_their_source_and_to_nothing_but_the_web() -> None:
    good = 'https://example.org/a?x="><script>&y=1'
    cells = [Linked(f"News {EVIL}"), Linked("Old")]
    cells[0].url, cells[1].url = good, "javascript:alert(1)"
    table = Table({"What": cells}, dtype=object)
    (link,) = _dressed(table).select("td a, th a")
    assert link.get_text() == f"News {EVIL}" and link["rel"] == ["noopener", "noreferrer"]
    assert str(link["href"]).startswith("https://example.org/a?x=")
    raw = "<table><tr><td><a href='{}' onclick='x()' target='_blank'>x</a></td></tr></table>"
    for bad in (
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.org",
        "ftp://evil.org",
        "page.html",
    ):
        assert "href" not in _Page({}).tables(raw.format(bad)), bad
    kept = BeautifulSoup(_Page({}).tables(raw.format("http://a.org")), "html.parser").a
    assert kept and set(kept.attrs) == {"href", "rel"}


def test_headings_start_at_one_title_and_skip_no_level(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        levels = [int(e["tag"][1]) for e in page.all("h1", "h2", "h3", "h4", "h5", "h6")]
        assert levels[0] == 1 and levels.count(1) == 1, name
        assert all(b <= a + 1 for a, b in pairwise(levels)), (name, levels)


def test_a_section_in_which_all_is_empty_is_named_in_one_line_and_not_shown() -> None:
    head = "<table><thead><tr><th>Claim</th></tr></thead>"
    none, some = f"{head}</table>", f"{head}<tbody><tr><td>1</td></tr></tbody></table>"
    blank = shown("image/svg+xml", DRAWING, title="", data="", alt="No event.")
    own = shown("image/svg+xml", DRAWING)  # of a notebook of one's own, which says nothing of it
    sections = {
        "Claims": [shown("text/html", none), blank],
        "Tables": [shown("text/html", none)],
        "Mixed": [shown("text/html", none), shown("text/html", some)],
        "Figure": [own],
        "Prose": [],
        "Printed": [stream("text"), shown("text/html", none)],
    }
    cells = [new_markdown_cell("# Page")]
    for title, outputs in sections.items():
        cells += [new_markdown_cell(f"## {title}\n\nWords."), code("x", *outputs)]
    assert _idle([*map(_shown, cells)]) == ["Claims (No event)", "Tables"]
    marked = ["idle" in cell.metadata["tags"] for cell in map(_shown, cells)]
    assert marked == [False] * len(cells)  # the notebook's own cells stay as they are


def test_contents_list_names_every_section(pages: dict[str, Page]) -> None:
    page = pages[STUDY_PAGE]
    sections = [e["id"] for e in page.all("h2", "h3") if "main" in e["around"]]
    listed = [e["href"][1:] for e in page.all("a") if {"nav", "li"} <= set(e["around"])]
    assert listed == sections == ["s-method", "s-too-deep", "s-method-2"]


def test_previous_and_next_lead_through_all_jobs_in_order(pages: dict[str, Page]) -> None:
    seen, name = [], "index.html"
    while name:
        seen.append(name)
        links = {e.get("rel"): e["href"] for e in pages[name].all("a")}
        assert links.get("prev") == (seen[-2] if len(seen) > 1 else None)
        name = links.get("next", "")
    assert len(seen) == 6


def test_code_is_folded_and_output_is_not(pages: dict[str, Page]) -> None:
    page = pages[STUDY_PAGE]
    code = [e for e in page.all("pre") if "reactions" in e["text"] or "plot()" in e["text"]]
    assert code and all("details" in e["around"] for e in code)
    assert all("open" not in e for e in page.all("details"))
    printed = next(e for e in page.all("pre") if e["text"].endswith(" seen"))
    assert "details" not in printed["around"]
    assert not [e for e in page.all("img", "table") if e["text"] == "" and "details" in e["around"]]
    assert "unseen" not in words(page, "pre")


def test_parameters_are_the_effective_ones_with_their_meaning(pages: dict[str, Page]) -> None:
    rows = [e["text"].strip() for e in pages[STUDY_PAGE].all("tr")]
    assert "sector mining_metals this run a sector key" in rows
    assert "level 0.9 default of the band" in rows


def test_public_pages_leave_out_local_cells_and_count_them(
    make: Callable[..., Path], texts: dict[str, str]
) -> None:
    run = make(public=False)
    build_site(run)
    local = (run / "site" / STUDY_PAGE).read_text(encoding="utf-8")
    assert "ONEFIRM" in local and "ONEFIRM" not in texts[STUDY_PAGE]
    for text in (local, texts[STUDY_PAGE]):
        assert "Printed by cell 11" in text  # the added cell of parameters has no number
    assert "check their licence" in local and "check their licence" not in texts[STUDY_PAGE]


def test_formulas_are_mathml_and_money_stays_money(texts: dict[str, str]) -> None:
    main = re.search(r"<main.*</main>", texts[STUDY_PAGE], re.DOTALL)
    assert main
    assert main[0].count("<math display=") == 3
    assert '<math display="block">' in main[0] and "<mfrac>" in main[0]
    assert "<mi>β</mi>" in main[0] and "<mo>&lt;</mo>" in main[0]
    assert re.findall(r"\$[^ <]*", main[0]) == ["$550bn,", "$40bn", "$7bn,"]
    assert r"<code>\frac{</code>" in main[0]  # LaTeX that cannot be read is shown


def test_tables_have_captions_scopes_and_regions_that_take_the_keyboard(
    pages: dict[str, Page],
) -> None:
    for name, page in pages.items():
        assert len(list(page.all("table"))) == len(list(page.all("caption"))), name
        assert all("scope" in e and e["text"].strip() for e in page.all("th")), name
        for element in page.all("div"):
            if "scroll" in element.get("class", ""):
                assert element["role"] == "region" and element["tabindex"] == "0", name
                assert {"aria-label", "aria-labelledby"} & set(element), name
    page = pages[STUDY_PAGE]
    assert [e["text"] for e in page.all("td") if e.get("class") == "number"] == [
        *("2.5", "+1.2%", "−3.4%")
    ]
    assert "x: y" not in words(page, "main")  # the style sheet that pandas adds


def test_landmarks_language_and_skip_link_are_on_every_page(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        assert [e["lang"] for e in page.all("html")] == ["en"], name
        assert all(len(list(page.all(tag))) == 1 for tag in ("main", "footer")), name
        assert len([e for e in page.all("title") if "head" in e["around"]]) == 1, name
        assert next(page.all("a"))["href"] == "#main", name
        assert all({"aria-label", "aria-labelledby"} & set(e) for e in page.all("nav")), name


def test_a_page_without_its_pictures_is_small(texts: dict[str, str]) -> None:
    for name, text in texts.items():
        assert len(re.sub(r"data:[^\"]+", "", text).encode()) <= 150_000, name


# --- what it says ----------------------------------------------------------------------------


def test_the_first_page_is_the_notebook_that_judges(
    pages: dict[str, Page],
) -> None:
    page, text = pages["index.html"], words(pages["index.html"])
    assert "4_verdict.html" not in pages
    assert words(page, "h1") == "Is the partnership in the price?"
    order = ["Is the partnership in the price?", "The scoreboard", "All pages"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    links = {e["href"] for e in page.all("a") if "main" in e["around"]}
    assert {name for name in pages if name != "index.html"} <= links
    folded = [e for e in page.all("table") if "details" in e["around"]]
    assert len(folded) == 1 and "What was left out: show all" in words(page, "summary")


def test_every_verdict_of_the_rule_is_explained() -> None:
    explained = list(ur.table("glossary")["Verdict"])
    assert {*VERDICTS, DEPENDS, NO_VERDICT} < set(explained)


def test_a_study_of_ones_own_is_not_called_the_partnership(make: Callable[..., Path]) -> None:
    index = build_site(make({"results/words.yaml": None, "results/reading.json": None}))
    text = words(Page(index.read_text(encoding="utf-8")))
    assert "Has the market priced this in?" in text and "partnership" not in text


def test_what_was_left_out_is_counted_and_listed_by_reason() -> None:
    rows = [Dropped("market value", name, "none known") for name in (EVIL, "ABC")]
    rows.append(Dropped("slot", "E05/mining_metals", "own news: DEF"))
    with naming({"mining_metals": "Mining & Metals"}):
        table = ur.table("left_out", rows)
    assert table.to_numpy().tolist() == [
        ["Firms outside the implied value", "2", "none known", f"{EVIL}; ABC"],
        [*("Taken out of an event’s portfolio", "1", "own news: DEF", "E05 · Mining & Metals")],
    ]


def test_every_page_says_where_it_comes_from(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        foot = words(page, "footer")
        for part in ("ab" * 32, "cd" * 32, "ef" * 20, "12" * 32, "not committed", "python 3.12.4"):
            assert part in foot, name
        assert "The rule is younger than the events." in foot, name


def test_simulated_returns_are_named_in_the_first_line(
    make: Callable[..., Path], pages: dict[str, Page]
) -> None:
    run = make(market="simulated")
    build_site(run)
    for path in (run / "site").iterdir():
        page = Page(path.read_text(encoding="utf-8"))
        assert next(page.all("p"))["text"].startswith("Simulated returns."), path.name
        assert next(page.all("title"))["text"].startswith("SIMULATED"), path.name
    assert "simulated returns" not in words(pages["index.html"]).lower()


def test_a_failed_job_has_a_page_that_says_where_and_why(pages: dict[str, Page]) -> None:
    page = pages["3_exposure.html"]
    assert f"its notebook failed in cell 2. KeyError: '{EVIL}'" in words(page)
    assert "papermill says" not in words(page)
    assert [e["id"] for e in page.elements if e.get("id") == "failed-cell"]
    assert [e for e in page.all("summary") if "Code of cell 2" in e["text"]]
    assert "No executed notebook was left behind" in words(pages["5_robustness.html"])
    assert "2 of 6 pages are incomplete" in words(pages["index.html"])


def test_without_an_answer_the_first_page_says_so_and_the_rest_is_there(
    make: Callable[..., Path],
) -> None:
    run = make()
    manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
    last = manifest["jobs"][-1]
    error = {"cell": 3, "kind": "KeyError", "message": "no such row", "traceback": ""}
    for more, told in (
        ({"status": "failed", "error": error}, "The notebook that judges failed"),
        ({"status": "failed", "error": error, "output": None}, "3 of 6 pages are incomplete"),
        ({"output": None}, "The notebook that judges was not run"),
    ):
        manifest["jobs"][-1] = {**last, **more}
        (run / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
        page = Page(build_site(run).read_text(encoding="utf-8"))
        assert "There is no answer in this run." in words(page) and told in words(page)
        assert "Nobody can tell" not in words(page)
        assert STUDY_PAGE in {e["href"] for e in page.all("a")}
    manifest["jobs"] = []
    (run / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert "There is no answer in this run." in build_site(run).read_text(encoding="utf-8")
    assert [path.name for path in (run / "site").iterdir()] == ["index.html"]


# --- written whole ---------------------------------------------------------------------------


def test_an_older_site_is_replaced_as_a_whole(make: Callable[..., Path]) -> None:
    run = make()
    first = build_site(run).read_bytes()
    (run / "site" / "stale.html").write_text("old", encoding="utf-8")
    assert build_site(run).read_bytes() == first
    assert not (run / "site" / "stale.html").exists()
    assert not list(run.glob(".site*"))


@pytest.mark.parametrize("broken", ["write_text", "rename"])
def test_a_build_that_breaks_leaves_the_older_site_as_it_was(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    run = make()
    before = build_site(run).read_bytes()
    real, calls = getattr(Path, broken), []

    def breaks(path: Path, *args: Any, **more: Any) -> Any:
        calls.append(path)
        if len(calls) == 2:
            raise OSError("the disk is full")
        return real(path, *args, **more)

    monkeypatch.setattr(Path, broken, breaks)
    with pytest.raises(OSError, match="the disk is full"):
        build_site(run)
    monkeypatch.undo()
    assert (run / "site" / "index.html").read_bytes() == before
    assert not list(run.glob(".site*"))


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("run.json", '{"schema": 2}', "no run.json of schema 1"),
        ("run.json", "{", "damaged"),
        ("results/verdicts.json", '{"schema": 1, "rows": []}', "of another version"),
        ("results/verdicts.json", '{"schema": 2, "rows": []}', "seen schema 2, expected 1"),
    ],
)
def test_what_is_no_finished_run_is_refused_in_one_line(
    make: Callable[..., Path], path: str, text: str, words: str
) -> None:
    run = make()
    (run / path).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        build_site(run)
    assert not (run / "site").exists()

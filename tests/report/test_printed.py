"""What notebooks print and head: one line as a terminal shows it, one id for every heading."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from justhtml import JustHTML
from PIL import Image

from usjp_research.report.onefile import join_pages
from usjp_research.report.pages import render
from usjp_research.report.theme import Picture
from usjp_research.runs.terminal import plain, screen

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
LINK = "\x1b]8;;https://evil.example/\x07click\x1b]8;;\x1b\\"
ODD = f"\x00a\x1b[31mred\x1b[0m\x08{LINK}\x9b\x7f\ud800"
v4: Any = nbformat.v4


def code(source: str, *outputs: Any, **metadata: Any) -> Any:
    cell = v4.new_code_cell(source, outputs=list(outputs))
    cell.metadata.update(metadata)
    return cell


def stream(text: str, name: str = "stdout") -> Any:
    return v4.new_output("stream", name=name, text=text)


def html_output(text: str) -> Any:
    return v4.new_output("display_data", data={"text/html": text})


@pytest.fixture
def page(tmp_path: Path) -> Callable[..., str]:
    """Write the page of one notebook."""

    def make(*cells: Any, **job: Any) -> str:
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        notebook = v4.new_notebook()
        notebook.cells = list(cells)
        (tmp_path / "notebooks" / "one.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
        record = {
            **{"name": "one", "notebook": "one.ipynb", "parameters": {}, "seconds": 1.0},
            **{"status": "done", "output": "notebooks/one.ipynb", "error": None, **job},
        }
        manifest = {
            **{"schema": 1, "spec": "ab" * 32, "snapshot": "cd" * 32, "market": "bundled"},
            **{"public": True, "versions": {"python": "3.12.4", "usjp_research": "0.1.0"}},
            **{"commit": "ef" * 20, "dirty": True, "requirements_lock": "12" * 32},
            **{"started": "2026-08-14T08:12:03+00:00", "ended": "2026-08-14T08:14:40+00:00"},
            "jobs": [record, {**record, "name": "front"}],
        }
        (tmp_path / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
        return render(tmp_path)["one.html"]

    return make


def soup(text: str) -> Any:
    return JustHTML(text, sanitize=False)


@pytest.mark.parametrize(
    ("printed", "seen"),
    [
        ("10%\r 50%\r100%\n", "100%\n"),
        ("downloading 100%\rdone", "doneloading 100%"),
        ("downloading\r\x1b[Kdone", "done"),
        ("a\nb\n\x1b[2A\x1b[2Kfirst\x1b[2B\rlast", "first\nb\nlast"),
        ("abc\b\bX", "aXc"),
        ("one\r\ntwo\r\n", "one\ntwo\n"),
        (LINK, "click"),
        ("\x1b]0;a title\x1b\\text", "text"),
        ("\x1b]8;;never ended\nnext", "\nnext"),
        ("\x1b[38;5;196mred\x1b[0m \x1b(Bplain", "red plain"),
        ("a\x00b\x07c\x7fd\x9be\ud800f", "abcdef"),
        ("x\x1b[999999999Cy", "x" + " " * 499 + "y"),
        ("日本\r語", "語本"),
    ],
)
def test_printed_text_is_what_a_terminal_shows_in_the_end(printed: str, seen: str) -> None:
    assert screen(printed) == seen
    assert not CONTROL.search(plain(printed))


def test_a_progress_bar_of_many_flushes_is_one_line(page: Callable[..., str]) -> None:
    bar = [stream(f"\r{k}%|{'#' * k}", "stderr") for k in range(0, 30, 3)]
    text = page(
        code("run()", *bar, stream("\r100% done\x1b[K\n", "stderr"), stream("a\r"), stream("b\n"))
    )
    printed = [pre.to_text().strip() for pre in soup(text).query("pre.output")]
    assert printed == ["100% done", "b"]


def test_no_control_character_reaches_a_page(page: Callable[..., str]) -> None:
    trace = [f"\x1b[0;31mValueError\x1b[0m{ODD}", "10%\r20%"]
    error = v4.new_output("error", ename=f"Value{ODD}", evalue=ODD, traceback=trace)
    entities = "".join(f"&#{k};" for k in (*range(1, 32), 127, 26, 155))
    picture = v4.new_output(
        "display_data", data={"image/png": "iVBORw0KGgo="}, metadata={"alt": f"Alt {ODD}"}
    )
    table = f'<table title="{ODD}"><tr><td>{ODD}{entities}</td></tr></table>'
    text = page(
        v4.new_markdown_cell(f"# Title{ODD}\n\nText {ODD} {entities} `{ODD}`\n\n## Head{ODD}"),
        code(f'x: str = "{ODD}"  # help {ODD}', tags=["parameters"]),
        code(f"# {ODD}", stream(ODD), stream(ODD, "stderr"), html_output(table), picture, error),
        code("1", v4.new_output("execute_result", data={"text/plain": ODD}, execution_count=1)),
        parameters={"sector": ODD},
        status="failed",
        error={"cell": 3, "kind": "ValueError", "message": ODD, "traceback": ODD},
    )
    assert not CONTROL.findall(text)
    assert not CONTROL.findall(html.unescape(text))
    assert "]8;;" not in text and "evil.example" not in text and "click" in text
    assert "[31m" not in text
    assert "20%" in text and "10%" not in text


def test_every_heading_has_one_id_and_every_link_to_one_arrives(page: Callable[..., str]) -> None:
    heads = [
        "Data",
        "Data",
        "Data 2",
        "Data 2",
        "結果",
        "方法と結果",
        "結果",
        "!!!",
        "???",
        "Ünïcode",
    ]
    links = ["Data", "data-2", "結果", "方法と結果", "%E7%B5%90%E6%9E%9C", "Ünïcode", "Later", "no"]
    prose = "\n\n".join(f"## {head}" for head in heads)
    linked = " ".join(f"[to {k}](#{link})" for k, link in enumerate(links))
    text = page(
        v4.new_markdown_cell(
            f"# The title\n\n{linked} [top](#the-title)\n\n| a |\n|-|\n| {linked} |"
        ),
        v4.new_markdown_cell(prose),
        code("1", v4.new_output("display_data", data={"text/markdown": "## Later"})),
    )
    for form in (text, join_pages({"one.html": text})):
        tree = soup(form)
        ids = [node.attrs["id"] for node in tree.query("[id]")]
        assert len(ids) == len(set(ids))
        found = [a for a in tree.query("a") if str(a.attrs.get("href", "")).startswith("#")]
        assert all(a.attrs["href"][1:] in ids for a in found)
        words = {node.attrs["id"]: node.to_text().strip() for node in tree.query("h2[id]")}
        landed = {a.to_text().strip(): words.get(a.attrs["href"][1:]) for a in found}
        wanted = ["Data", "Data 2", "結果", "方法と結果", "結果", "Ünïcode", "Later"]
        assert [landed.get(f"to {k}") for k in range(8)] == [*wanted, None]
    top = next(a for a in soup(text).query("a") if a.to_text() == "top")
    assert top.attrs["href"] == "#title"
    contents = [a.attrs["href"] for a in soup(text).query("nav.contents a")]
    assert len(contents) == len(set(contents)) == len(heads) + 1


EVIL = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<svg></p><style><a id='</style><img src=1 onerror=alert(1)>'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<a href='javascript:alert(1)'>x</a>",
    "<table background='https://evil.example/x'><tr><td style='x' onclick=alert(1)>1</td></tr>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<form action='https://evil.example'><input name=a><textarea></form><b>x</b>",
    "<scr\x00ipt>alert(1)</scr\x00ipt>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<template><img src=x onerror=alert(1)></template>",
]


@pytest.mark.parametrize("evil", EVIL, ids=range(len(EVIL)))
def test_html_outputs_keep_tables_and_text_and_nothing_that_acts(
    page: Callable[..., str], evil: str
) -> None:
    kept = "<table><tr><th colspan='2'>head</th></tr><tr><td><b>1.5</b></td><td>2</td></tr></table>"
    tree = soup(page(code("1", html_output(kept + evil))))
    tags = {node.name for node in tree.query("main *")}
    assert not tags & {
        "script",
        "img",
        "svg",
        "math",
        "style",
        "iframe",
        "form",
        "input",
        "template",
    }
    for node in tree.query("main *"):
        assert not [key for key in node.attrs if key.startswith("on") or key == "style"]
        assert "javascript" not in str(node.attrs.get("href", ""))
    assert "alert" not in {node.name for node in tree.query("*")}
    assert tree.query("td b") and tree.query("[colspan='2']")


def test_a_page_names_the_cells_that_did_not_run(page: Callable[..., str]) -> None:
    ran, not_run = {"start_time": "2026-01-01T00:00:00"}, {"start_time": None}
    error = v4.new_output("error", ename="SystemExit", evalue="0", traceback=[])
    text = page(
        v4.new_markdown_cell("# T"),
        code("x = 1", tags=["parameters"], papermill=ran),
        code("x = 2", tags=["injected-parameters"], papermill=ran),
        code("sys.exit(0)", error, papermill=ran),
        code("a()", papermill=not_run),
        code("", papermill=not_run),
        code("b()", papermill=not_run),
        code("c()", papermill=not_run),
        status="failed",
        error={"cell": 3, "kind": "SystemExit", "message": "ended early", "traceback": ""},
    )
    assert "Cells that did not run: 4, 6 to 7." in " ".join(soup(text).to_text().split())
    assert text.count("This cell did not run.") == 3


@pytest.mark.parametrize("tags", [None, "local", 3])
def test_tags_that_are_none_do_not_stop_a_page(page: Callable[..., str], tags: object) -> None:
    assert "print" in page(code("print(1)", stream("1"), tags=tags))


def test_a_picture_comes_as_svg_and_as_png_of_the_same_colours() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3))
    axes = figure.subplots()
    colours = ["#0072B2", "#D55E00", "#8C6D00", "#4B4B4B", "#007A5A", "#A8477F"]
    for k, colour in enumerate(colours):
        axes.plot([k], [k], "o", color=colour, markersize=9)
    picture = Picture(figure, "Six dots.")
    data, about = picture._repr_mimebundle_()
    assert set(data) == {"image/svg+xml", "image/png", "text/plain"}
    drawn = base64.b64decode(data["image/png"])
    assert picture.png() == drawn
    image = Image.open(io.BytesIO(drawn)).convert("RGB")
    seen = {"#{:02X}{:02X}{:02X}".format(*part) for part in np.asarray(image).reshape(-1, 3)}
    assert {*colours, "#FFFFFF"} <= seen
    assert about["alt"] == "Six dots."
    assert about["image/png"] == {"width": 576, "height": 288}

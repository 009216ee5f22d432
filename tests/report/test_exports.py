"""A run in other forms: one file, paper, spreadsheet, plain tables, differences, a gallery."""

from __future__ import annotations

import functools
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
from click.testing import Result
from justhtml import JustHTML

from usjp_research.report.compare import PLURAL, compare_runs, gallery_page
from usjp_research.report.exports import codebook, result_tables, write_tables, write_workbook
from usjp_research.report.onefile import find_browser, join_pages
from usjp_research.report.pages import render
from usjp_research.report.summary import summary
from usjp_research.runs.store import listed_files, read_results
from usjp_research.words import InputError

Evil = tuple[str, str, str]
CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@pytest.fixture(params=["finished", "hostile"])
def run(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def rendered() -> Callable[[Path], dict[str, str]]:
    """Render the pages of a run once for all that look at them."""
    return functools.cache(render)


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A run that a test may change."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    return folder


def _change(path: Path, **values: object) -> None:
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(content | values), encoding="utf-8")


def _sign(run: Path) -> None:
    """Let a run's manifest name the results as they are now."""
    _change(run / "run.json", files=listed_files(run))


def _attribute(node: Any, name: str) -> str:
    """Return an attribute, which must be there."""
    return str(node.attrs[name])


def _valid(text: str) -> JustHTML:
    page = JustHTML(text, collect_errors=True, sanitize=False)
    assert not page.errors, page.errors[:3]
    return page


# --- pages -----------------------------------------------------------------------------------


def test_every_form_of_the_pages_is_valid_html_of_bounded_size(
    run: Path, hostile: Path, rendered: Callable[[Path], dict[str, str]]
) -> None:
    pages = rendered(run)
    for name, text in pages.items():
        _valid(text)
        drawn = re.sub(r"data:[^\"]+|<svg.*?</svg>", "", text, flags=re.DOTALL)
        assert len(drawn.encode()) <= 300_000, name
    one = join_pages(pages)
    assert len(one.encode()) < 5_000_000
    for text in (
        one,
        gallery_page([run, hostile], run / "gallery.html")[0],
    ):
        page = _valid(text)
        assert [_attribute(node, "content") for node in page.query("meta[http-equiv]")] == [CSP]
        assert not page.query("script, link, iframe, object, form, base")


def test_a_fault_in_html_would_be_found() -> None:
    with pytest.raises(AssertionError):
        _valid("<!doctype html><title>x</title><p><div></p></b>")


def test_one_file_holds_every_page_in_order_and_its_links_stay_inside(
    run: Path, rendered: Callable[[Path], dict[str, str]]
) -> None:
    pages = rendered(run)
    one = _valid(join_pages(pages))
    leaves = one.query("main section.leaf")
    assert [_attribute(leaf, "id") for leaf in leaves] == [f"page-{name[:-5]}" for name in pages]
    ids = [_attribute(node, "id") for node in one.query("[id]")]
    assert len(ids) == len(set(ids))
    for link in one.query("a[href]"):
        href = _attribute(link, "href")
        assert href.startswith(("https://", "http://", "data:text/csv")) or href[1:] in ids, href
    for node in one.query("[aria-labelledby]"):
        assert set(_attribute(node, "aria-labelledby").split()) <= set(ids)
    for name, leaf in zip(pages, leaves, strict=True):
        page = _valid(pages[name])
        kept, whole = (
            [" ".join(part.to_text().split()) for part in tree.query("table, figure, pre, h2")]
            for tree in (leaf, page.query("body")[0])
        )
        assert [text for text in whole if text in kept] == kept
        assert len(whole) - len(kept) <= 1  # the footer's heading stands once, at the end
    assert len(one.query("main")) == len(one.query("footer")) == len(one.query("a.skip")) == 1


# --- spreadsheet and tables ------------------------------------------------------------------


def test_the_codebook_says_what_every_column_of_every_result_is(run: Path) -> None:
    tables, left_out = result_tables(run)
    assert not left_out
    assert all(set(frame) <= set(codebook(name)) for name, frame in tables.items())
    results = {
        path.stem for path in (run / "results").iterdir() if path.suffix in (".csv", ".parquet")
    }
    ends = ("rows", "weights", "curve", "joint", "moves")
    single = {name for name in results if name.endswith(tuple(f"-{end}" for end in ("law", *ends)))}
    joined = {"2_event_study-law", "3_exposure-rows", *(f"5_robustness-{end}" for end in ends)}
    assert set(tables) == {"verdicts"} | joined | (results - single)
    for name, frame in tables.items():
        keys = [column for column in frame if codebook(name)[str(column)]["key"]]
        assert name in ("dropped", "variants") or not frame.duplicated(keys).any(), name


def test_the_codebook_names_nothing_that_no_run_has(finished: Path, hostile: Path) -> None:
    tables = [result_tables(run)[0] for run in (finished, hostile)]
    known = {(name, column) for found in tables for name in found for column in found[name]}
    needs_firms = {("verdicts", "named"), ("verdicts", "safe")}
    needs_firms |= {("3_exposure-rows", f"by_case_{case}") for case in ("low", "base", "high")}
    said = {(name, column) for name, _ in known for column in codebook(name)}
    assert said - needs_firms == known - needs_firms
    assert all(meaning["meaning"] for name, _ in known for meaning in codebook(name).values())


def test_the_spreadsheet_holds_native_numbers_and_dates_with_units(
    run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study.xlsx"
    assert write_workbook(run, out) == []
    book = openpyxl.load_workbook(out)
    tables, _ = result_tables(run)
    lines = summary(read_results(run))
    head, *rows = book["summary"].iter_rows(values_only=True)
    assert head[:5] == ("label", "moved", "interval", "worth_up_to", "too_small")
    assert [row[:5] for row in rows[: len(lines)]] == [
        (line.label, line.moved, line.interval, line.worth_up_to, line.too_small) for line in lines
    ]
    assert rows[0][7:9] == pytest.approx((lines[0].effect, lines[0].low), rel=1e-12)
    said = json.loads((run / "results/reading.json").read_text("utf-8"))["sentences"][0]
    assert said in [row[0] for row in rows[len(lines) :]]
    assert book.sheetnames == ["summary", "provenance", *tables, "codebook"]
    for name, frame in tables.items():
        sheet = book[name]
        assert sheet.freeze_panes == "A2"
        assert sheet.max_row == len(frame) + 1
        for place, column in enumerate(frame, 1):
            unit = codebook(name)[str(column)]["unit"]
            head = sheet.cell(1, place).value
            assert head == (f"{column} [{unit}]" if unit else column)
            cells = [sheet.cell(row, place).value for row in range(2, len(frame) + 2)]
            for cell, value in zip(cells, frame[column], strict=True):
                if pd.isna(value) or value == "":
                    assert cell is None, (name, column, value)
                elif unit == "date":
                    assert isinstance(cell, datetime) and f"{cell:%Y-%m-%d}" == value
                elif isinstance(value, str):
                    assert cell == value
                else:
                    assert cell == pytest.approx(value, rel=1e-12), (name, column)
    told = {row[0].value: row[1].value for row in book["provenance"].iter_rows(min_row=2)}
    manifest = json.loads((run / "run.json").read_text("utf-8"))
    assert told["specification"] == manifest["spec"]
    assert told["first day of returns"] == manifest["first"]
    described = {(r[0].value, r[1].value) for r in book["codebook"].iter_rows(min_row=2)}
    tables["summary"] = pd.DataFrame(columns=[*codebook("summary")])
    assert described == {(name, column) for name, frame in tables.items() for column in frame}


def test_no_text_of_a_spreadsheet_is_a_formula_or_a_link(
    hostile: Path, evil: Evil, tmp_path: Path
) -> None:
    out = tmp_path / "study.xlsx"
    write_workbook(hostile, out)
    texts = [
        cell
        for sheet in openpyxl.load_workbook(out)
        for row in sheet.iter_rows()
        for cell in row
        if isinstance(cell.value, str)
    ]
    assert {cell.data_type for cell in texts} == {"s"}
    for text in evil:
        assert any(cell.value == text for cell in texts), text
    risky = [cell for cell in texts if cell.value.startswith(("=", "+", "-", "@", "\t"))]
    assert risky and all(cell.quotePrefix for cell in risky)
    with zipfile.ZipFile(out) as parts:
        sheets = [name for name in parts.namelist() if "worksheets/" in name]
        assert not any(b"<f>" in parts.read(name) for name in sheets)
        assert not any("hyperlink" in name or "External" in name for name in parts.namelist())


def test_the_same_run_gives_the_same_spreadsheet(finished: Path, tmp_path: Path) -> None:
    for name in ("one.xlsx", "two.xlsx"):
        write_workbook(finished, tmp_path / name)
    assert (tmp_path / "one.xlsx").read_bytes() == (tmp_path / "two.xlsx").read_bytes()


def test_tables_come_as_csv_with_a_codebook(hostile: Path, evil: Evil, tmp_path: Path) -> None:
    assert write_tables(hostile, tmp_path / "tables") == []
    tables = {"summary": pd.read_csv(tmp_path / "tables" / "summary.csv")}
    tables |= result_tables(hostile)[0]
    book = pd.read_csv(tmp_path / "tables" / "codebook.csv")
    assert set(zip(book["table"], book["column"], strict=True)) == {
        (name, column) for name, frame in tables.items() for column in frame
    }
    for name, frame in tables.items():
        text = pd.read_csv(tmp_path / "tables" / f"{name}.csv", keep_default_na=False, dtype=str)
        assert list(text) == list(frame) and len(text) == len(frame)
        for column in text:
            if not pd.api.types.is_numeric_dtype(frame[column]):
                assert not text[column].str.startswith(("=", "+", "-", "@", "\t")).any()
    assert evil[1] in set(tables["calendar"]["title"])
    calendar = pd.read_csv(tmp_path / "tables" / "calendar.csv")
    assert f"'{evil[1]}" in set(calendar["title"])


def test_tables_of_single_firms_stay_out_of_a_public_run(copy: Path, tmp_path: Path) -> None:
    firms = pd.DataFrame({"ticker": ["S01"], "car": [0.1]})
    firms.to_csv(copy / "results" / "firms.csv", index=False)
    _sign(copy)
    (line,) = write_workbook(copy, tmp_path / "public.xlsx")
    assert line == "firms: left out, it shows single firms, and the run is public"
    book = openpyxl.load_workbook(tmp_path / "public.xlsx")
    assert "firms" not in book.sheetnames
    assert line in [row[1].value for row in book["provenance"].iter_rows()]
    _change(copy / "run.json", public=False)
    assert write_tables(copy, tmp_path / "local") == []
    assert (tmp_path / "local" / "firms.csv").is_file()


# --- what moved ------------------------------------------------------------------------------


def test_a_run_does_not_differ_from_itself(finished: Path) -> None:
    found = compare_runs(finished, finished)
    assert found.same and found.checked > 5000
    assert found.conclusion == "The results are identical."
    assert not any(cause.differs for cause in found.causes)
    assert "Verdicts that changed" not in "\n".join(found.lines())


@pytest.mark.parametrize(
    ("name", "changes", "conclusion"),
    [
        ("specification", {"spec": "00" * 32}, "Only the specification differs: that did it."),
        ("returns", {"snapshot": "00" * 32}, "Only the returns differ: that did it."),
        (
            "other files",
            {"inputs": {"market": "bundled", "files": {"openings": ["o.csv", "00" * 32]}}},
            "Only the other files differ: that did it.",
        ),
        ("packages", {"requirements_lock": "00" * 32}, "Only the packages differ: that did it."),
    ],
)
def test_what_moved_is_named_with_what_did_it(
    name: str, changes: dict[str, object], conclusion: str, finished: Path, copy: Path
) -> None:
    _change(copy / "run.json", **changes)
    assert compare_runs(finished, copy).conclusion == (
        f"The results are identical, although {name} differ{'' if name in PLURAL else 's'}."
    )
    path = copy / "results" / "verdicts.json"
    rows = json.loads(path.read_text("utf-8"))["rows"]
    rows[1] |= {"headline": "priced in", "reason": "", "effect": rows[1]["effect"] + 0.02}
    rows[2] |= {"p": rows[2]["p"] + 1e-7, "mde": rows[2]["mde"] * (1 + 1e-12)}
    _change(path, rows=rows)
    _sign(copy)
    found = compare_runs(finished, copy)
    assert found.conclusion == conclusion
    assert [cause.name for cause in found.causes if cause.differs] == [name]
    (verdict,) = found.verdicts.itertuples(name=None)
    assert verdict == ("AI Infrastructure", "cannot say: too small to see", "priced in")
    assert set(found.moved["table"]) == {"verdicts"}
    moved = found.moved.set_index(["row", "column"])
    assert set(moved.index) == {
        *(("AI Infrastructure", column) for column in ("effect", "headline", "reason")),
        ("Mining & Metals", "p"),  # the MDE is the same to nine digits
    }
    assert moved["before"]["AI Infrastructure", "effect"] == "−4.4%"
    assert moved["after"]["AI Infrastructure", "effect"] == "−2.4%"
    assert not moved["visible"]["Mining & Metals", "p"]
    text = "\n".join(found.lines())
    assert "AI Infrastructure: cannot say: too small to see -> priced in" in text
    assert [line[:29].split() for line in text.splitlines()[1:4]] == [
        ["Power", "&", "Utilities"], ["AI", "Infrastructure"], ["AI", "Infrastructure"]
    ]  # fmt: skip
    one, other = (line[28:40].split() for line in text.splitlines()[2:4])
    assert (one[:2], other[:2]) == (["A", "−4.4%"], ["B", "−2.4%"])


def test_other_code_is_known_by_its_modules_not_by_its_commit(finished: Path, copy: Path) -> None:
    _change(copy / "run.json", commit="00" * 20)
    assert not any(cause.differs for cause in compare_runs(finished, copy).causes)
    for path in (copy / "results").glob("*.json"):
        if "code" in json.loads(path.read_text("utf-8")):
            _change(path, code="00" * 32)
    _sign(copy)
    causes = {cause.name: cause for cause in compare_runs(finished, copy).causes}
    assert [name for name in causes if causes[name].differs] == ["code"]


def test_moved_results_that_nothing_explains_are_called_so(finished: Path, copy: Path) -> None:
    path = copy / "results" / "reactions.csv"
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([*lines[:-1], ""]), encoding="utf-8")
    (copy / "results" / "variants.csv").unlink()
    _sign(copy)
    found = compare_runs(finished, copy)
    assert "did not reproduce" in found.conclusion
    moved = found.moved.set_index("table")
    assert (moved["column"]["reactions"], moved["after"]["reactions"]) == ("row", "gone")
    assert moved["after"]["variants"] == "no such table"


# --- the command -----------------------------------------------------------------------------


def test_the_command_writes_every_form(
    hostile: Path,
    usjp: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # no shell writes out the ~ of --xlsx=~/study.xlsx
    out = tmp_path / "new"
    words: tuple[object, ...] = ("--single-file", out / "study.html", "--tables", "~/new")
    words += ("--xlsx=~/new/study.xlsx", "--brief", out / "brief.html")
    shutil.copytree(hostile, tmp_path / "run")
    result = usjp("site", tmp_path / "run", *words)
    assert result.exit_code == 0, result.stderr
    assert (out / "study.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert (out / "study.xlsx").is_file() and (out / "codebook.csv").is_file()
    assert re.search(r"study\.html \([0-3]\.", result.stderr)
    assert (out / "brief.html").read_bytes() == (tmp_path / "run/site/brief.html").read_bytes()
    assert usjp("site", "build", tmp_path / "none").exit_code == 2


@pytest.mark.parametrize(
    ("form", "pages"),
    [("--brief", {2}), pytest.param("--pdf", {*range(20, 90)}, marks=pytest.mark.soak)],
)
def test_the_command_prints_a_pdf(
    form: str, pages: set[int], finished: Path, usjp: Callable[..., Result], tmp_path: Path
) -> None:
    try:
        find_browser()
    except InputError as error:
        pytest.skip(str(error))
    shutil.copytree(finished, tmp_path / "run")
    result = usjp("site", form, tmp_path / "study.pdf", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    paper = (tmp_path / "study.pdf").read_bytes()
    assert paper.startswith(b"%PDF") and b"/Outlines" in paper
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) in pages


def test_without_a_browser_the_command_says_so_before_it_starts(
    finished: Path,
    usjp: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = usjp("site", finished, "--pdf", tmp_path / "study.pdf")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("usjp: no browser to print with (chromium, ")
    result = usjp("site", finished, "--pdf", tmp_path / "study.pdf", "--browser", "netscape")
    assert result.stderr.startswith("usjp: --browser netscape: no such program")


def test_a_browser_that_prints_nothing_is_said_in_one_line(
    hostile: Path, usjp: Callable[..., Result], tmp_path: Path
) -> None:
    program = tmp_path / "browser"
    program.write_text("#!/bin/sh\necho no screen >&2\nexit 3\n")
    program.chmod(0o755)
    shutil.copytree(hostile, tmp_path / "run")
    words = ("--pdf", tmp_path / "study.pdf", "--browser", program)
    result = usjp("site", tmp_path / "run", *words)
    assert result.exit_code == 2
    assert "printed nothing (exit code 3: no screen)" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "study.pdf").exists()


def test_the_command_compares_runs_and_its_exit_code_says_whether_they_differ(
    finished: Path, hostile: Path, usjp: Callable[..., Result], tmp_path: Path
) -> None:
    same = usjp("site", "diff", finished, finished)
    assert (same.exit_code, same.stdout.splitlines()[-1]) == (0, "The results are identical.")
    other = usjp("site", "diff", finished, hostile)
    assert other.exit_code == 1
    assert "More than one thing differs (specification and returns)" in other.stdout
    assert "no such row" in other.stdout
    bad = usjp("site", "diff", finished, tmp_path)
    assert bad.exit_code == 2
    assert "no run.json of schema 1" in bad.stderr


def test_the_gallery_leads_to_every_run(
    finished: Path, hostile: Path, usjp: Callable[..., Result], tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    for run in (finished, hostile):
        shutil.copytree(run, runs / run.name)
    shutil.rmtree(runs / "hostile" / "site")
    result = usjp("site", "gallery", runs, runs / "finished", "--out", runs / "index.html")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.startswith("2 runs: ")
    page = _valid((runs / "index.html").read_text("utf-8"))
    (link,) = page.query("h2 a")
    assert (runs / _attribute(link, "href")).is_file()
    cards = [" ".join(card.to_text().split()) for card in page.query(".runs > li")]
    assert "bundled, 2022-02-01 to 2026-07-31 (portfolio level)" in cards[0]
    assert re.search(r"AI Infrastructure Cannot say ?: too small to see \(−4.4%\)", cards[0])
    assert "It has no pages" in cards[1] and "<script>prices.csv" in cards[1]
    empty = usjp("site", "gallery", tmp_path / "here")
    assert empty.exit_code == 2 and "neither a finished run nor a folder" in empty.stderr


def test_a_run_that_is_not_one_is_refused_in_one_line(
    usjp: Callable[..., Result], tmp_path: Path
) -> None:
    for words in ((), ("--xlsx", tmp_path / "x.xlsx")):
        result = usjp("site", tmp_path / "nosuch", *words)
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert "no run.json of schema 1; give the folder of a finished run" in line

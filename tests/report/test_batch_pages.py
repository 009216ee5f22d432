"""A batch as pages: any notebook is shown safely, and what it says stands by its parameters."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import IPython
import nbformat
import pytest
from bs4 import BeautifulSoup
from click.testing import Result

from usjp_research.market.load import load_market
from usjp_research.report import batch_pages, pages
from usjp_research.report.results import record
from usjp_research.runs import batch
from usjp_research.runs import ledger as ledgers
from usjp_research.runs.job import Job
from usjp_research.runs.private import tidy
from usjp_research.runs.store import Failure, Outcome
from usjp_research.spec.records import Spec

new: Any = nbformat.v4
write: Any = nbformat.write
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()  # is embedded, not read
RUNS = """
- notebook: sweep.ipynb
  parameters: {steps: 10}
  grid:
    rate: [0.5, 2.0]
    cut: {plain: {}, tight: {at: [1, 2]}}
"""
Run = Callable[..., Result]
Shown = Callable[[Job], Sequence[Any]]


def scrap(name: str, value: object) -> Any:
    """Say a value as data, as ``sb.glue`` of the scrapbook library does."""
    told = {"name": name, "data": value, "encoder": "json", "version": 1}
    return new.new_output("display_data", {"application/scrapbook.scrap.json+json": told})


def picture(**about: object) -> Any:
    """Show a picture as matplotlib does."""
    return new.new_output("display_data", {"image/png": PIXEL, "text/plain": "<Figure>"}, **about)


def usual(job: Job) -> list[Any]:
    """Give what the notebook of these tests shows and says."""
    rate = float(str(job.parameters["rate"]))
    return [picture(), scrap("half-life", 0.6931471805599453 / rate), scrap("steps done", 12345)]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A batch of somebody else's notebook: four points of a grid."""
    cells = [
        new.new_markdown_cell("# A sweep\n\nWhat the rate does."),
        new.new_code_cell(
            "rate: float = 1.0  # a year\nsteps: int = 5\ncut: dict = {}",
            metadata={"tags": ["parameters"]},
        ),
        new.new_code_cell("show()"),
    ]
    write(new.new_notebook(cells=cells), tmp_path / "sweep.ipynb")
    (tmp_path / "runs.yaml").write_text(RUNS, encoding="utf-8")
    return tmp_path / "runs.yaml"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let batches end as they are told, without kernels."""

    def use(shown: Shown = usual, failed: Mapping[str, Failure] | None = None) -> None:
        def run(
            jobs: Sequence[Job], out: Path, *, ledger: Mapping[str, Any], **_: object
        ) -> tuple[Outcome, ...]:
            (out / "notebooks").mkdir(exist_ok=True)
            ended = []
            for job in jobs:
                notebook = nbformat.read(job.notebook, as_version=4)  # type: ignore[no-untyped-call]
                notebook.cells[-1].outputs = [*shown(job)]
                path = f"notebooks/{job.name}.ipynb"
                (out / path).write_text(json.dumps(notebook), encoding="utf-8")
                error = next((e for k, e in (failed or {}).items() if k in job.name), None)
                status: Any = "failed" if error else "done"
                ended.append(
                    Outcome(
                        *(job.name, job.notebook.name, {**job.parameters}, status, 1.234, path),
                        *(error, "2026-01-05T10:00:00+00:00"),
                    )
                )
                ledgers.note(out, job.name, status, ledger[job.name], ended[-1])
            return tuple(ended)

        monkeypatch.setattr(batch, "run_batch", run)

    return use


def table(site: Path) -> list[list[str]]:
    """Read the table of a batch's first page, its head first."""
    soup = BeautifulSoup((site / "index.html").read_text("utf-8"), "html.parser")
    rows: list[Any] = list(soup.select("table.jobs tr"))
    return [[" ".join(c.get_text().split()) for c in row.select("th, td")] for row in rows]


# --- the table -------------------------------------------------------------------------------


def test_a_row_for_every_job_parameters_first_then_numbers(
    runs: Path, ran: Callable[..., None], usjp: Run, tmp_path: Path
) -> None:
    ran(failed={"rate=2.0-cut=tight": Failure(3, "ValueError", "too <b>tight</b>")})
    done = usjp("batch", runs, "--out", tmp_path / "My sweep", "--site")
    assert done.exit_code == 1, done.stderr
    assert "--site --only sweep-rate=2.0-cut=tight" in done.stderr
    site = tmp_path / "My sweep" / "site"
    head, *rows = table(site)
    numbers = ["half-life", "steps done"]
    assert head == ["rate", "cut", *numbers, "Status", "Seconds", "Page"]
    assert rows[0] == [
        "0.5",
        "plain",
        "1.386",
        "12,345",
        "done",
        "1.2",
        "sweep-rate=0.5-cut=plain",
    ]
    told = ["failed cell 3: ValueError: too <b>tight</b>", "1.2", "sweep-rate=2.0-cut=tight"]
    assert rows[3] == ["2.0", "tight", "–", "–", *told]
    soup = BeautifulSoup((site / "index.html").read_text("utf-8"), "html.parser")
    assert soup.title and soup.title.get_text() == "My sweep"
    assert "4 jobs: 3 done, 1 failed." in soup.get_text()
    assert [cell["title"] for cell in soup.select("td.number[title]")][:2] == [
        "1.3862943611198906",
        "12345",
    ]
    assert soup.select("th a")[0]["href"] == "sweep-rate%3D0.5-cut%3Dplain.html"
    assert len(soup.select("figure img")) == 3
    assert {path.name for path in site.iterdir()} == {
        *("index.html", "numbers.csv"),
        *(f"{row[-1]}.html" for row in rows),
    }
    with (site / "numbers.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert lines[0]["half-life"] == "1.3862943611198906" and lines[0]["cut"] == "plain"
    assert lines[3]["half-life"] == "" and lines[3]["status"] == "failed"


def test_a_page_needs_no_study(
    runs: Path, ran: Callable[..., None], usjp: Run, tmp_path: Path
) -> None:
    ran()
    done = usjp("batch", runs, "--out", tmp_path / "out", "--site")
    assert done.exit_code == 0, done.stderr
    text = (tmp_path / "out/site/sweep-rate=2.0-cut=tight.html").read_text("utf-8")
    soup = BeautifulSoup(text, "html.parser")
    assert soup.h1 and " ".join(soup.h1.get_text().split()) == "A sweep rate = 2.0, cut = tight"
    assert "All jobs" in text and "What the rate does." in text
    told = soup.get_text()
    for word in (
        "The answer",
        "Specification",
        "Snapshot",
        "How to cite",
        "Simulated",
        "half-life",
    ):
        assert word not in told, word
    effective = [[*row.stripped_strings] for row in soup.select(".parameters tbody tr")]
    assert effective[0] == ["rate", "2.0", "this run", "a year"]
    assert ["steps", "10", "this run", "–"] in effective


def test_numbers_are_chosen_and_a_wrong_name_is_refused_beside_the_end(
    runs: Path, ran: Callable[..., None], usjp: Run, tmp_path: Path
) -> None:
    ran(failed={"rate=2.0": Failure(3, "ValueError", "no")})
    words = ("batch", runs, "--out", tmp_path / "out", "--numbers", "steps done")
    assert "give --site" in usjp(*words).stderr
    assert not (tmp_path / "out").exists()
    assert usjp(*words, "--site").exit_code == 1
    site = tmp_path / "out/site"
    assert table(site)[0] == ["rate", "cut", "steps done", "Status", "Seconds", "Page"]
    before = (site / "index.html").read_bytes()
    ran()
    done = usjp(*words[:4], "--site", "--numbers", "half-lief")
    assert done.exit_code == 2
    assert "no notebook says a number 'half-lief': did you mean 'half-life'?" in done.stderr
    assert "All 4 jobs are done" in done.stderr
    assert (site / "index.html").read_bytes() == before
    ran(failed={"rate=2.0": Failure(3, "ValueError", "no")})
    done = usjp(*words[:4], "--force", "--site", "--numbers", "half-lief")
    assert done.exit_code == 1
    assert "did you mean" in done.stderr and "cell 3: ValueError: no" in done.stderr
    ran(lambda _: [scrap("text", "high"), scrap("flag", True), scrap("none", None)])
    done = usjp(*words[:4], "--force", "--site", "--numbers", "text")
    assert done.exit_code == 2 and "none says any; scrapbook's sb.glue does" in done.stderr


def test_six_numbers_are_shown_unasked_and_all_are_kept(
    runs: Path, ran: Callable[..., None], usjp: Run, tmp_path: Path
) -> None:
    values = [1e-9, -0.00001234567, float("nan"), 10**400, 1234567.8, 0.5, 7]
    ran(lambda _: [scrap(f"n{k}", value) for k, value in enumerate(values)])
    done = usjp("batch", runs, "--out", tmp_path / "out", "--site")
    assert done.exit_code == 0, done.stderr
    head, row, *_ = table(tmp_path / "out/site")
    assert head[2:8] == [f"n{k}" for k in range(6)]
    assert row[2:5] == ["1.000e−09", "−1.235e−05", "nan"]
    assert len(row[5]) <= 16 and row[6:8] == ["1,235,000", "0.5000"]
    kept = (tmp_path / "out/site/numbers.csv").read_text("utf-8").splitlines()
    assert "n6" in kept[0] and str(10**400) in kept[1] and "-1.234567e-05" in kept[1]


def test_what_is_out_of_date_says_so_and_no_number(
    runs: Path, ran: Callable[..., None], usjp: Run, tmp_path: Path
) -> None:
    ran()
    words = ("batch", runs, "--out", tmp_path / "out", "--site")
    assert usjp(*words).exit_code == 0
    runs.write_text(RUNS.replace("steps: 10", "steps: 20"), encoding="utf-8")
    done = usjp(*words, "--only", "sweep-rate=0.5-cut=plain")
    assert done.exit_code == 0, done.stderr
    head, first, second, *_ = table(tmp_path / "out/site")
    assert head[:3] == ["rate", "steps", "cut"]
    one, other = dict(zip(head, first, strict=True)), dict(zip(head, second, strict=True))
    assert (one["steps"], one["half-life"], one["Status"]) == ("20", "1.386", "done")
    assert (other["steps"], other["half-life"]) == ("10", "–")
    assert other["Status"] == "out of date changed: parameters"
    page = (tmp_path / "out/site/sweep-rate=0.5-cut=tight.html").read_text("utf-8")
    assert "This page is out of date" in page
    (tmp_path / "out/notebooks/sweep-rate=0.5-cut=plain.ipynb").write_text("{}")
    assert usjp(*words, "--only", "sweep-rate=2.0*").exit_code == 0
    row = dict(zip(head, table(tmp_path / "out/site")[1], strict=False))
    assert "its notebook was changed" in " ".join(row.values())


# --- what a page must not do -----------------------------------------------------------------

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>"
ACTS = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1" onload="alert(1)">{EVIL}</svg>'


def hostile(job: Job) -> list[Any]:
    """Give outputs that try to act, to be a formula, or to be endless."""
    html = f'<a href="javascript:alert(1)" onclick="alert(1)">x</a>{EVIL}<table><tr><td>1</table>'
    long = new.new_output("stream", text="a line\n" * 3_000_000)
    data = [
        {"text/html": html},
        {"text/html": f"<table>{'<tr><td>1' * 900_000}</table>"},
        {"text/markdown": f"[x](javascript:alert(1)) [y](data:text/html,{EVIL}) {EVIL}"},
        {"image/svg+xml": ACTS},
        {"application/javascript": "alert(1)", "text/plain": EVIL},
    ]
    said = [scrap("=1+1", 5), scrap(EVIL, 4), scrap("\x1b[2J", 3)]
    error = new.new_output("error", ename=EVIL, evalue=EVIL, traceback=[EVIL])
    return [*(new.new_output("display_data", part) for part in data), long, *said, error]


def test_a_hostile_notebook_is_shown_as_text_and_its_middle_left_out(
    runs: Path, ran: Callable[..., None], usjp: Run, tmp_path: Path
) -> None:
    grid = f"""- notebook: sweep.ipynb
  grid: {{cut: {{"{EVIL}": {{a: 1}}, '=cmd()': {{}}}}}}
"""
    runs.write_text(grid, encoding="utf-8")
    ran(hostile, failed={"cmd": Failure(3, EVIL, EVIL, EVIL)})
    done = usjp("batch", runs, "--out", tmp_path / "a&b", "--site")
    assert done.exit_code == 1, done.stderr
    found = list((tmp_path / "a&b/site").glob("*.html"))
    assert len(found) == 3
    for path in found:
        assert path.stat().st_size < 3_000_000
        text = path.read_text("utf-8")
        assert ("\x1b" not in text and "characters left out" in text) or path.stem == "index"
        soup = BeautifulSoup(text, "html.parser")
        assert not soup.select("script, iframe, object, embed, form, link, base")
        for tag in soup.find_all(True):
            assert not [name for name in tag.attrs if name.startswith("on")], tag
            address = str(tag.get("href") or tag.get("src") or "#")
            own = address.endswith((".html", ".csv")) and ":" not in address
            assert own or address.startswith(("#", "data:image/")), address
    with (tmp_path / "a&b/site/numbers.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0][3:5] == ["'=1+1", EVIL]
    assert not [cell for line in lines for cell in line if cell.startswith("=")]


def test_a_notebook_that_cannot_be_shown_says_so_and_takes_no_other_with_it(
    runs: Path, ran: Callable[..., None], usjp: Run, tmp_path: Path
) -> None:
    def odd(job: Job) -> list[Any]:
        strange = {"output_type": "display_data", "data": {"text/html": 5}, "metadata": {}}
        return [strange] if job.parameters["rate"] == 2.0 else usual(job)

    ran(odd)
    done = usjp("batch", runs, "--out", tmp_path / "out", "--site")
    assert done.exit_code == 0, done.stderr
    site = tmp_path / "out/site"
    assert "It cannot be shown" in (site / "sweep-rate=2.0-cut=plain.html").read_text("utf-8")
    assert "It cannot be shown" not in (site / "sweep-rate=0.5-cut=plain.html").read_text("utf-8")


def test_pages_are_written_whole_or_not_at_all(
    runs: Path,
    ran: Callable[..., None],
    usjp: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran()
    words = ("batch", runs, "--out", tmp_path / "out", "--site")
    assert usjp(*words).exit_code == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "out/site").iterdir()}

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device", "numbers.csv")

    with monkeypatch.context() as patch:
        patch.setattr(batch_pages, "_table", full)
        done = usjp(*words, "--force")
        assert done.exit_code == 2
        assert "No space left" in done.stderr and "All 4 jobs are done" in done.stderr
    assert {p.name: p.read_bytes() for p in (tmp_path / "out/site").iterdir()} == before
    assert not list((tmp_path / "out").glob(".new*"))


def test_no_place_of_the_machine_is_on_a_page(
    runs: Path, ran: Callable[..., None], usjp: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "secret"
    runs.write_text(
        f"- notebook: sweep.ipynb\n  grid: {{cut: [{{file: {folder}/a.csv}}, {{}}]}}\n", "utf-8"
    )
    ran(lambda _: [new.new_output("stream", text=f"read {folder}/a.csv\n")])
    done = usjp("batch", runs, "--out", tmp_path / "out", "--site")
    assert done.exit_code == 0, done.stderr
    for path in (tmp_path / "out/site").iterdir():
        assert str(tmp_path) not in path.read_text("utf-8"), path.name


# --- numbers as data -------------------------------------------------------------------------


def test_a_record_says_its_single_numbers_where_a_kernel_runs_and_nowhere_else(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda data, **how: said.append((data, how)))
    market = load_market(spec, "bundled")
    facts = {"p": 0.0312345, "n": 3, "sure": True, "rows": [1], "gone": float("nan"), "s": "x"}
    record(tmp_path / "a", "1_data", spec, market, facts)
    assert not said
    kernel = type("Shell", (), {"kernel": object()})()
    monkeypatch.setattr(IPython, "get_ipython", lambda: kernel)
    record(tmp_path / "a", "1_data", spec, market, facts)
    assert [(*data.values(), how["raw"]) for data, how in said] == [
        ({"name": "p", "data": 0.0312345, "encoder": "json", "version": 1}, True),
        ({"name": "n", "data": 3, "encoder": "json", "version": 1}, True),
    ]
    # From numbers of single firms a public run leaves digits out, and its notebooks are public.
    object.__setattr__(market, "level", "firm")
    said.clear()
    record(tmp_path / "b", "1_data", spec, market, facts)
    assert said[0][0]["application/scrapbook.scrap.json+json"]["data"] == 0.0312


def test_what_is_said_as_data_is_no_output_of_a_page(tmp_path: Path) -> None:
    def cells(outputs: list[Any]) -> Any:
        cell = new.new_code_cell("x", outputs=outputs, id="x")
        write(new.new_notebook(cells=[cell]), tmp_path / "n.ipynb")
        return pages._cells(tmp_path / "n.ipynb", False)

    line = new.new_output("stream", text="a\n")
    assert cells([scrap("p", 1.0)]) == cells([])
    assert cells([line, scrap("p", 1.0)]) == cells([line])
    (tmp_path / "notebooks").mkdir()
    kept = (tmp_path / "n.ipynb").rename(tmp_path / "notebooks/n.ipynb")
    outputs = [json.loads(kept.read_text("utf-8"))["cells"][0]["outputs"]]
    tidy(tmp_path, {"/a/b": "…"}, public=True)
    assert [json.loads(kept.read_text("utf-8"))["cells"][0]["outputs"]] == outputs


def test_several_notebooks_stand_in_one_table_and_what_never_ran_too(
    runs: Path, ran: Callable[..., None], usjp: Run, tmp_path: Path
) -> None:
    (tmp_path / "other.ipynb").write_bytes((tmp_path / "sweep.ipynb").read_bytes())
    runs.write_text(
        "- {notebook: sweep.ipynb, parameters: {rate: 2.0}}\n"
        "- {notebook: sweep.ipynb, name: Index, parameters: {rate: 4.0}}\n"
        "- {notebook: other.ipynb, parameters: {rate: 8.0, steps: 3}}\n",
        encoding="utf-8",
    )
    ran()
    done = usjp("batch", runs, "--out", tmp_path / "out", "--site", "--only", "[!s]*")
    assert done.exit_code == 0, done.stderr
    head, *rows = table(tmp_path / "out/site")
    assert head[:3] == ["Notebook", "rate", "half-life"]
    assert [row[:3] for row in rows] == [
        ["sweep", "2.0", "–"],
        ["sweep", "4.0", "0.1733"],
        ["other", "8.0", "0.08664"],
    ]
    assert rows[0][-3:] == ["not run", "–", "sweep"]
    assert (tmp_path / "out/site/_Index.html").is_file()

"""From the command to the pages: what a user's own study looks like when it is done."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from click.testing import Result

from tests.conftest import CANARY, Instead, Own
from usjp_research.runs import store
from usjp_research.runs.job import Job
from usjp_research.runs.warm import HOME


def holding(run: Path, word: str) -> list[str]:
    """List the files of a run that hold a word, in what they pack too."""
    found = []
    for path in (path for path in run.rglob("*") if path.is_file()):
        raw = path.read_bytes()
        if path.suffix == ".parquet":
            raw += repr(pd.read_parquet(path).to_dict()).encode()
            raw += repr(pq.read_schema(path).metadata).encode()
        if path.suffix == ".xlsx":
            with zipfile.ZipFile(path) as parts:
                raw = b"".join(map(parts.read, parts.namelist()))
        if word.encode() in raw:
            found.append(path.relative_to(run).as_posix())
    return found


def test_a_study_of_ones_own_ends_in_pages_that_show_hostile_names_as_text(
    fallen: Own, usjp: Callable[..., Result], tmp_path: Path
) -> None:
    manifest = json.loads((fallen.run / "run.json").read_text("utf-8"))
    names = [job["name"] for job in manifest["jobs"]]
    others = ["2_event_study-solar", "5_robustness-solar", "3_exposure", "1_data"]
    assert names == ["4_verdict", *others]
    assert {job["status"] for job in manifest["jobs"]} == {"done"}
    pages = {path.name: path.read_text("utf-8") for path in (fallen.run / "site").glob("*.html")}
    assert set(pages) == {"index.html", "brief.html", *(f"{name}.html" for name in others)}
    assert "&lt;img src=x onerror=alert(1)&gt;" in pages["1_data.html"]
    for text in pages.values():
        assert "<img src=x" not in text
        assert "<script" not in text
    assert "Single firms" in pages["2_event_study-solar.html"]
    assert "S01" in pages["2_event_study-solar.html"]
    assert "S01" in (fallen.run / "notebooks/2_event_study-solar.ipynb").read_text("utf-8")
    frame = pd.read_parquet(fallen.run / "results" / "2_event_study-solar-law.parquet")
    assert len(frame) > 200
    run = tmp_path / "run"
    shutil.copytree(fallen.run, run)
    forms = ("--single-file", run / "one.html", "--xlsx", run / "x.xlsx", "--tables", run / "t")
    assert usjp("site", run, *forms).exit_code == 0
    assert holding(run, "prices.csv") and holding(run, "verdicts")
    for word in (CANARY, "ACME", str(fallen.run.parent), str(HOME), str(Path.home())):
        assert holding(run, word) == [], word


def test_single_firms_are_on_no_public_page(
    fallen: Own, usjp: Callable[..., Result], tmp_path: Path, instead: Instead
) -> None:
    def stored(jobs: list[Job], out: Path, **_: object) -> tuple[store.Outcome, ...]:
        """Hand over what the same notebooks gave: what of it is published is in question."""
        shutil.copytree(fallen.run / "notebooks", out / "notebooks")
        shutil.copytree(fallen.run / "results", out / "results", dirs_exist_ok=True)
        return tuple(
            store.Outcome(j.name, j.notebook.name, {}, "done", 0.1, f"notebooks/{j.name}.ipynb")
            for j in jobs
        )

    instead(stored)
    run = tmp_path / "run"
    done = usjp("study", *fallen.options, "--public", "--out", run)
    assert done.exit_code == 0, done.stderr
    notebooks = [path.read_text("utf-8") for path in (run / "notebooks").iterdir()]
    for cell in (c for text in notebooks for c in json.loads(text)["cells"]):
        assert "local" not in cell["metadata"].get("tags", []) or not cell.get("outputs")
    results = {path.name for path in (run / "results").iterdir()}
    assert "verdicts.json" in results
    assert not [name for name in results if "-law" in name or "placebo" in name]
    page = (run / "site" / "2_event_study-solar.html").read_text("utf-8")
    assert "Single firms" not in page
    assert "S01" not in page


def test_a_failed_notebook_is_reported_and_the_rest_stays(
    fallen: Own, usjp: Callable[..., Result], tmp_path: Path, instead: Instead
) -> None:
    failure = store.Failure(7, "ZeroDivisionError", "division by zero", "...")

    def fails(jobs: list[Job], out: Path, **_: object) -> tuple[store.Outcome, ...]:
        return tuple(
            store.Outcome(job.name, job.notebook.name, {}, "failed", 0.1, None, failure)
            for job in jobs
        )

    instead(fails)
    result = usjp("study", *fallen.options, "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert "2_event_study.ipynb" in result.stderr
    assert "cell 7: ZeroDivisionError: division by zero" in result.stderr
    assert (tmp_path / "run" / "results" / "verdicts.json").is_file()
    front = (tmp_path / "run" / "site" / "index.html").read_text("utf-8")
    assert "ZeroDivisionError" in front and "There is no answer in this run" in front

"""From the command to the pages: what a user's own study looks like when it is done."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from usjp_research.runs import batch
from usjp_research.runs.kernel import HOME

CANARY = "Client ACME"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def words(own: Callable[..., Path], prices: Path, tmp_path: Path) -> list[object]:
    own()
    folder = tmp_path / CANARY / "mine"
    shutil.copytree(tmp_path / "mine", folder)
    shutil.copyfile(prices, tmp_path / CANARY / "prices.csv")
    universe = folder / "universe.csv"
    universe.write_text(universe.read_text("utf-8") + f"{HOSTILE},solar,\n", encoding="utf-8")
    market = f"file:{tmp_path / CANARY / 'prices.csv'}"
    return ["study", "--params", folder, "--market", market, "--out", tmp_path / "run"]


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
    words: list[object], usjp: Callable[..., Result], tmp_path: Path
) -> None:
    result = usjp(*words)
    assert result.exit_code == 0, result.stderr
    run = tmp_path / "run"
    manifest = json.loads((run / "run.json").read_text("utf-8"))
    names = [job["name"] for job in manifest["jobs"]]
    events, robust = (
        [f"{name}-{key}" for key in ("solar", "rail")] for name in ("2_event_study", "5_robustness")
    )
    assert names == ["1_data", *events, "3_exposure", *robust, "4_verdict"]
    assert {job["status"] for job in manifest["jobs"]} == {"done"}
    pages = {path.name: path.read_text("utf-8") for path in (run / "site").glob("*.html")}
    assert {"index.html", *(f"{name}.html" for name in names)} <= set(pages)
    assert "&lt;img src=x onerror=alert(1)&gt;" in pages["1_data.html"]
    for text in pages.values():
        assert "<img src=x" not in text
        assert "<script" not in text
    assert "Single firms" in pages["2_event_study-rail.html"]
    assert "R01" in pages["2_event_study-rail.html"]
    assert "R01" in (run / "notebooks/2_event_study-rail.ipynb").read_text("utf-8")
    frame = pd.read_parquet(run / "results" / "2_event_study-solar-law.parquet")
    assert len(frame) > 200
    forms = ("--single-file", run / "one.html", "--xlsx", run / "x.xlsx", "--tables", run / "t")
    assert usjp("site", run, *forms).exit_code == 0
    assert holding(run, "prices.csv") and holding(run, "verdicts")
    for word in (CANARY, "ACME", str(tmp_path), str(HOME), str(Path.home())):
        assert holding(run, word) == [], word


def test_single_firms_are_on_no_public_page(
    words: list[object], usjp: Callable[..., Result], tmp_path: Path
) -> None:
    page = tmp_path / "run" / "site" / "2_event_study-rail.html"
    assert usjp(*words, "--sector", "rail", "--public").exit_code == 0
    notebooks = [path.read_text("utf-8") for path in (tmp_path / "run/notebooks").iterdir()]
    for cell in (c for text in notebooks for c in json.loads(text)["cells"]):
        assert "local" not in cell["metadata"].get("tags", []) or not cell.get("outputs")
    results = {path.name for path in (tmp_path / "run/results").iterdir()}
    assert "verdicts.json" in results
    assert not [name for name in results if "-law" in name or "placebo" in name]
    assert "Single firms" not in page.read_text("utf-8")
    assert "R01" not in page.read_text("utf-8")


def test_a_failed_notebook_is_reported_and_the_rest_stays(
    words: list[object],
    usjp: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failure = batch.Failure(7, "ZeroDivisionError", "division by zero", "...")

    def fails(jobs: list[batch.Job], out: Path, **_: object) -> tuple[batch.Outcome, ...]:
        return tuple(
            batch.Outcome(job.name, job.notebook.name, {}, "failed", 0.1, None, failure)
            for job in jobs
        )

    monkeypatch.setattr(batch, "run_batch", fails)
    result = usjp(*words)
    assert result.exit_code == 1
    assert "2_event_study.ipynb" in result.stderr
    assert "cell 7: ZeroDivisionError: division by zero" in result.stderr
    assert (tmp_path / "run" / "results" / "verdicts.json").is_file()
    assert "ZeroDivisionError" in (tmp_path / "run" / "site" / "4_verdict.html").read_text("utf-8")

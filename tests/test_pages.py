"""From the command to the pages: what a user's own study looks like when it is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

from usjp_research.runs import batch

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def words(own: Callable[..., Path], prices: Path, tmp_path: Path) -> list[object]:
    folder = own()
    universe = folder / "universe.csv"
    universe.write_text(universe.read_text("utf-8") + f"{HOSTILE},solar,\n", encoding="utf-8")
    out = tmp_path / "run"
    return ["study", "--params", folder, "--market", f"file:{prices}", "--out", out]


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
    frame = pd.read_parquet(run / "results" / "2_event_study-solar-law.parquet")
    assert len(frame) > 200


def test_single_firms_are_on_local_pages_and_on_no_public_one(
    words: list[object], usjp: Callable[..., Result], tmp_path: Path
) -> None:
    page = tmp_path / "run" / "site" / "2_event_study-rail.html"
    assert usjp(*words, "--sector", "rail").exit_code == 0
    assert "Single firms" in page.read_text("utf-8")
    assert "R01" in page.read_text("utf-8")
    assert usjp(*words, "--sector", "rail", "--public").exit_code == 0
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

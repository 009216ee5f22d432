"""The ledger: a job is done while all that it was made of is as it was, and runs again else."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.batches import write_notebook
from usjp_research.runs import ledger
from usjp_research.runs.job import Job
from usjp_research.runs.store import Failure, Outcome

Change = Callable[[Path, Job, pytest.MonkeyPatch], Job]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job that is done, with a file and a folder as data."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.csv").write_text("1", "utf-8")
    (tmp_path / "data.csv").write_text("1", "utf-8")
    notebook = write_notebook(tmp_path / "one.ipynb", "print(s)")
    values = {"s": f"file:{tmp_path / 'data.csv'}", "folder": str(tmp_path / "folder"), "x": 1}
    return Job("one", notebook, values, after=())


def _end(out: Path, job: Job, status: Any = "done") -> None:
    """Write down that a job has ended."""
    (out / "ledger").mkdir(parents=True, exist_ok=True)
    (out / "notebooks").mkdir(exist_ok=True)
    (out / "notebooks" / f"{job.name}.ipynb").write_text("{}", "utf-8")
    error = Failure(1, "ValueError", "no") if status != "done" else None
    kind: Any = "failed" if status in ("queued", "running") else status
    outcome = Outcome(
        job.name, "one.ipynb", job.parameters, kind, 1.0, f"notebooks/{job.name}.ipynb", error
    )
    ledger.note(out, job.name, status, ledger.identities([job], out)[job.name], outcome)


def _why(out: Path, job: Job) -> str:
    return ledger.why(out, ledger.read(out, job.name), ledger.identities([job], out)[job.name])


def _cell(folder: Path, job: Job, patch: pytest.MonkeyPatch) -> Job:
    write_notebook(folder / "one.ipynb", "print(s, 1)")
    return job


def _tags(folder: Path, job: Job, patch: pytest.MonkeyPatch) -> Job:
    content = json.loads(job.notebook.read_text("utf-8"))
    content["cells"][1]["metadata"] = content["cells"][0].pop("metadata")
    job.notebook.write_text(json.dumps({**content, "cells": content["cells"]}), "utf-8")
    return job


def _parameter(folder: Path, job: Job, patch: pytest.MonkeyPatch) -> Job:
    return replace(job, parameters={**job.parameters, "x": True})  # equal to 1, but not the same


def _file(folder: Path, job: Job, patch: pytest.MonkeyPatch) -> Job:
    (folder / "data.csv").write_text("2", "utf-8")
    return job


def _folder(folder: Path, job: Job, patch: pytest.MonkeyPatch) -> Job:
    (folder / "folder" / "b.csv").write_text("2", "utf-8")
    return job


def _package(folder: Path, job: Job, patch: pytest.MonkeyPatch) -> Job:
    patch.setattr(ledger, "_package", lambda: "other")
    return job


def _libraries(folder: Path, job: Job, patch: pytest.MonkeyPatch) -> Job:
    patch.setattr(ledger, "_libraries", lambda: "other")
    return job


def _gone(folder: Path, job: Job, patch: pytest.MonkeyPatch) -> Job:
    (folder / "out" / "notebooks" / "one.ipynb").unlink()
    return job


def _edited(folder: Path, job: Job, patch: pytest.MonkeyPatch) -> Job:
    (folder / "out" / "notebooks" / "one.ipynb").write_text("{ }", "utf-8")
    return job


def _torn(folder: Path, job: Job, patch: pytest.MonkeyPatch) -> Job:
    path = folder / "out" / "ledger" / "one.json"
    path.write_bytes(path.read_bytes()[:200])
    return job


def _foreign(folder: Path, job: Job, patch: pytest.MonkeyPatch) -> Job:
    (folder / "out" / "ledger" / "one.json").write_text('{"status": "perfect"}', "utf-8")
    return job


CHANGES: dict[Change, str] = {
    _cell: "changed: notebook",
    _tags: "changed: notebook",
    _parameter: "changed: parameters",
    _file: "changed: data",
    _folder: "changed: data",
    _package: "changed: package",
    _libraries: "changed: libraries",
    _gone: "its notebook is gone",
    _edited: "its notebook was changed",
    _torn: "never ran",
    _foreign: "never ran",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
def test_a_done_job_runs_again_once_anything_of_it_changes_and_says_what(
    change: Change, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert _why(out, job) == "never ran"
    _end(out, job)
    assert _why(out, job) == ""
    job = change(tmp_path, job, monkeypatch)
    assert _why(out, job) == CHANGES[change]
    assert ledger.done(out, "one", ledger.identities([job], out)["one"]) is None


def test_what_does_not_matter_to_a_result_runs_nothing_again(job: Job, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _end(out, job)
    content = json.loads(job.notebook.read_text("utf-8"))
    content["metadata"]["kernelspec"] = {"name": "other"}
    content["cells"][1] |= {"execution_count": 3, "metadata": {"collapsed": True}}
    job.notebook.write_text(json.dumps(content, indent=2), "utf-8")
    (tmp_path / "data.csv").touch()  # the same bytes
    (tmp_path / "folder" / "deep").mkdir()
    order = dict(reversed([*job.parameters.items()]))
    assert _why(out, replace(job, parameters=order, timeout=3.0, point="x=1")) == ""
    shutil.move(out, tmp_path / "moved")
    assert _why(tmp_path / "moved", job) == ""
    inside = replace(job, parameters={"s": str(tmp_path / "moved")})
    _end(tmp_path / "moved", inside)
    (tmp_path / "moved" / "new.csv").touch()  # in the batch's own folder: no data
    assert _why(tmp_path / "moved", inside) == ""


@pytest.mark.parametrize("status", ["queued", "running", "failed", "timed out", "killed"])
def test_a_job_that_did_not_end_well_runs_again(
    status: ledger.Status, job: Job, tmp_path: Path
) -> None:
    _end(tmp_path / "out", job, status)
    assert status in _why(tmp_path / "out", job)
    entry = ledger.read(tmp_path / "out", "one")
    assert entry and entry.status == status and entry.by.endswith(f" on {platform.node()}")


def test_a_job_is_another_one_when_those_that_it_waits_for_are(job: Job, tmp_path: Path) -> None:
    last = Job("last", job.notebook, {}, after=("one",))
    before = ledger.identities([job, last], tmp_path)
    after = ledger.identities([replace(job, parameters={"x": 2}), last], tmp_path)
    assert before["last"].changed(after["last"]) == "a job it waits for"


@pytest.mark.parametrize(
    "value",
    [
        *(
            "a" * 300,
            "a" * 5000,
            "/dev/null",
            "~nobody-here/x",
            "a\0b",
            "\ud800",
            ":",
            "",
            "x:" * 9,
        ),
        *("x:" * 9, 3, ["a"], {"a": None}, 1e300, 10**400, "'); import os", "日本\n語"),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_a_value_that_can_be_no_file_is_data_as_it_stands(value: object, tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "one.ipynb", "1")
    job = Job("one", notebook, {"s": value})
    _end(tmp_path / "out", job)
    assert _why(tmp_path / "out", job) == ""
    assert _why(tmp_path / "out", replace(job, parameters={"s": "other"})) == "changed: parameters"


@pytest.mark.parametrize("name", ["words.py", "report/phrases.yaml", "report/numbers.csv"])
def test_modules_and_the_words_and_tables_beside_them_are_the_package(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "HOME", tmp_path)
    path = tmp_path / "usjp_research" / name
    path.parent.mkdir(parents=True)
    digest = ledger._package.__wrapped__
    path.write_text("1", "utf-8")
    before = digest()
    path.write_text("2", "utf-8")
    assert digest() != before

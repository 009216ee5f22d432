"""Batches: refused before they start, or every job ends with what happened and its notebook."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

import usjp_research
from usjp_research.runs import store, warm
from usjp_research.runs.batch import check_jobs, failures, run_batch
from usjp_research.runs.job import Job
from usjp_research.runs.store import Outcome, write_manifest
from usjp_research.words import InputError

Write = Callable[..., Path]
PARAMETERS = """\
sector: str = "power"  # a key
title = "a=b"
alpha = 0.1
shifts: int = 200
exact = False
windows: list[int] = [
    -1,
    1,
]
seed: int | None = 7
other = None
folder: str = "."
"""
HOSTILE = [
    '"\'\'\'"""\\',
    "\n# x\r\n\t\0\x1b[31m",
    "日本語 € \N{GRINNING FACE} \u2028 {sector} %s $HOME ${HOME}",
    "'); import os; os._exit(1)  #",
    "\ud800",
    {"a 'key'": None, "": [True, -0.0, 1e300, 10**30, [], {}]},
]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a notebook of prose, parameters and cells of code."""

    def make(name: str, *code: str, parameters: str | None = PARAMETERS) -> Path:
        new: Any = nbformat.v4
        cells = [new.new_markdown_cell(f"# {name}")]
        if parameters is not None:
            cells += [new.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
        cells += [new.new_code_cell(text) for text in code]
        path = tmp_path / f"{name}.ipynb"
        write_notebook: Any = nbformat.write
        write_notebook(new.new_notebook(cells=cells), path)
        return path

    return make


def noting(told: list[tuple[str, str]]) -> Callable[[Job, Outcome | None], None]:
    """Note what a batch says of its jobs."""
    return lambda job, outcome: told.append((job.name, outcome.status if outcome else "started"))


def _said(out: Path, outcome: Outcome) -> str:
    """Return what the executed notebook printed."""
    assert outcome.output is not None
    cells = json.loads((out / outcome.output).read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join("".join(output["text"]) for output in outputs if "text" in output)


@pytest.mark.parametrize("cold", [False, True])
def test_a_job_gets_its_data_this_interpreter_and_the_project_root(
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    cold: bool,
) -> None:
    other = tmp_path / "jupyter" / "kernels" / "python3"
    other.mkdir(parents=True)
    spec = {"argv": ["false"], "display_name": "another Python", "language": "python"}
    (other / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    root = tmp_path / "project"
    (root / "params").mkdir(parents=True)
    (root / "params" / "universe.csv").touch()
    (root / "notebooks").mkdir()
    monkeypatch.chdir(root / "notebooks")
    code = """
import json, os, sys, usjp_research, matplotlib
print(json.dumps({"python": sys.executable, "here": os.getcwd(), "seed": hash("x"),
    "other": other, "shifts": shifts, "alpha": alpha, "package": usjp_research.__file__,
    "backend": matplotlib.get_backend()}))
"""
    odd = write("a notebook {x} [1]", code)
    jobs = [
        Job("b-1", odd, {"other": HOSTILE, "alpha": 1}, after=("a.2",)),
        Job("a.2", odd, {"other": None}),
    ]
    told: list[tuple[str, str]] = []
    first, second = run_batch(jobs, tmp_path / "out", tell=noting(told), cold=cold)
    assert [first.status, second.status] == ["done", "done"], failures([first, second])
    seen, plain = (json.loads(_said(tmp_path / "out", o)) for o in (first, second))
    assert seen["other"] == HOSTILE and plain["other"] is None
    assert (seen["shifts"], seen["alpha"]) == (200, 1)
    assert Path(seen["python"]) == Path(sys.executable)
    assert Path(seen["here"]) == root
    assert seen["package"] == usjp_research.__file__
    assert seen["seed"] == plain["seed"]
    assert "inline" in seen["backend"]
    assert first.output == "notebooks/b-1.ipynb"
    assert first.parameters == jobs[0].parameters
    assert told == [("a.2", "started"), ("a.2", "done"), ("b-1", "started"), ("b-1", "done")]
    assert capfd.readouterr() == ("", "")
    assert sorted(path.name for path in root.rglob("*")) == ["notebooks", "params", "universe.csv"]


@pytest.mark.usefixtures("light")
def test_a_job_that_fails_says_where_and_stops_no_other(
    write: Write, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    raises = write(
        "raises", "print('before')", "import usjp_research\nusjp_research.nothing", "print('never')"
    )
    dies = write("dies", "print('before', flush=True)", "import os, signal", "os._exit(3)", "1")
    good = write("good", "print('fine')")
    folder = tmp_path / "out" / "notebooks"
    folder.mkdir(parents=True)
    (folder / "raises.ipynb").write_text("an earlier one", encoding="utf-8")
    jobs = [
        Job("raises", raises, {"sector": "rail"}),
        Job("dies", dies, {}),
        Job("good", good, {}, after=("raises", "dies")),
    ]
    told: list[tuple[str, str]] = []
    outcomes = run_batch(jobs, tmp_path / "out", tell=noting(told))
    assert [o.status for o in outcomes] == ["failed", "failed", "done"]
    assert failures(outcomes) == [
        "notebook raises.ipynb (job raises), cell 4: AttributeError: "
        "module 'usjp_research' has no attribute 'nothing'",
        "notebook dies.ipynb (job dies), cell 5: DeadKernelError: "
        "the kernel's process ended with exit status 3",
    ]
    assert outcomes[0].error is not None and outcomes[1].error is not None
    trace = outcomes[0].error.traceback
    assert "__getattr__" in trace and "\x1b" not in trace
    assert str(warm.HOME) not in trace and sys.prefix not in trace
    assert _said(tmp_path / "out", outcomes[0]) == "before\n"
    executed = (folder / "dies.ipynb").read_text(encoding="utf-8")
    assert "DeadKernelError" in executed and "exit status 3" in executed
    assert str(tmp_path) not in executed
    assert told[-2:] == [("good", "started"), ("good", "done")]
    assert ("raises", "failed") in told and ("dies", "failed") in told
    assert sorted(path.name for path in folder.iterdir()) == [
        "dies.ipynb",
        "good.ipynb",
        "raises.ipynb",
    ]
    assert capfd.readouterr() == ("", "")

    facts = {"spec": "a1", "snapshot": "b2", "market": "simulated \ud800", "public": True}
    path = write_manifest(tmp_path / "out", facts, outcomes, {})

    def refuse(word: str) -> None:
        raise AssertionError(word)

    manifest = json.loads(path.read_bytes().decode("utf-8"), parse_constant=refuse)
    assert manifest["schema"] == 1
    assert facts.items() <= manifest.items()
    assert manifest["started"] <= manifest["ended"]
    assert manifest["versions"]["papermill"] == papermill.__version__
    assert [job["name"] for job in manifest["jobs"]] == ["raises", "dies", "good"]
    for job in manifest["jobs"]:
        assert list(job) == [field.name for field in fields(Outcome)]
    assert manifest["jobs"][0]["error"]["cell"] == 4
    assert manifest["jobs"][2]["error"] is None
    assert str(tmp_path) not in path.read_text(encoding="utf-8")


@pytest.mark.usefixtures("light")
def test_two_jobs_run_at_the_same_time(write: Write, tmp_path: Path) -> None:
    meet = """
import pathlib, time
folder = pathlib.Path(folder)
(folder / sector).touch()
until = time.monotonic() + 60
while len(list(folder.glob("met-*"))) < 2:
    assert time.monotonic() < until, "alone"
    time.sleep(0.02)
"""
    notebook = write("meet", meet)
    jobs = [Job(s, notebook, {"sector": s, "folder": str(tmp_path)}) for s in ("met-1", "met-2")]
    assert not failures(run_batch(jobs, tmp_path / "out"))


@pytest.mark.usefixtures("light")
def test_an_interrupt_ends_the_kernels(write: Write, tmp_path: Path) -> None:
    sleeps = write(
        "sleeps",
        "import os, pathlib, time\n(pathlib.Path(folder) / 'pid').write_text(str(os.getpid()))",
        "time.sleep(600)",
    )
    waits = write(
        "waits",
        "import pathlib, time\nwhile not (pathlib.Path(folder) / 'pid').exists(): time.sleep(0.02)",
    )

    def tell(_: Job, outcome: Outcome | None) -> None:
        if outcome:
            raise KeyboardInterrupt

    values = {"folder": str(tmp_path)}
    earlier = tmp_path / "out" / "notebooks" / "s.ipynb"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("an earlier one", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        run_batch([Job("s", sleeps, values), Job("w", waits, values)], tmp_path / "out", tell=tell)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert earlier.read_text(encoding="utf-8") == "an earlier one"


@pytest.mark.usefixtures("light")
def test_an_executed_notebook_is_whole_or_not_there(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out" / "notebooks"
    folder.mkdir(parents=True)
    (folder / "full.ipynb").write_text("an earlier one", encoding="utf-8")
    swap = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if Path(target).name == "full.ipynb":
            assert self.parent == folder
            raise OSError(28, "No space left on device")
        return swap(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    notebook = write("full", "print(sector)")
    full, good = run_batch([Job("full", notebook, {}), Job("good", notebook, {})], tmp_path / "out")
    assert (full.status, full.output) == ("failed", None)
    assert full.error is not None
    assert (full.error.cell, full.error.kind) == (None, "OSError")
    assert "No space left" in failures([full])[0]
    assert good.status == "done"
    assert sorted(path.name for path in folder.iterdir()) == ["full.ipynb", "good.ipynb"]
    assert (folder / "full.ipynb").read_text(encoding="utf-8") == "an earlier one"


BAD_PARAMETERS = [
    ({"sectr": "rail"}, ["unknown parameter 'sectr'", "did you mean 'sector'?"]),
    ({"sector": 3}, ["'sector'", "seen 3 (int)", "expected str"]),
    ({"alpha": "0.1"}, ["'alpha'", "seen '0.1' (str)", "expected float"]),
    ({"alpha": True}, ["'alpha'", "seen True (bool)", "expected float"]),
    ({"alpha": float("nan")}, ["'alpha'", "seen nan"]),
    ({"shifts": 2.0}, ["'shifts'", "seen 2.0 (float)", "expected int"]),
    ({"exact": 1}, ["'exact'", "expected bool"]),
    ({"windows": ["x"]}, ["'windows'", "expected list[int]"]),
    ({"windows": (1, 2)}, ["'windows'", "seen (1, 2) (tuple)"]),
    ({"seed": "x"}, ["'seed'", "expected int | None"]),
    ({"other": {1: 2}}, ["'other'", "seen {1: 2} (dict)"]),
    ({"other": Path("x")}, ["'other'", "Path"]),
]


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **words: object) -> None:
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(papermill, "execute_notebook", never)
    monkeypatch.setattr("jupyter_client.launcher.launch_kernel", never)


@pytest.mark.usefixtures("no_kernel")
@pytest.mark.parametrize(("values", "words"), BAD_PARAMETERS, ids=lambda v: str(v)[:40])
def test_a_bad_parameter_is_refused_before_any_kernel(
    write: Write, tmp_path: Path, values: dict[str, object], words: list[str]
) -> None:
    notebook = write("odd", "1")
    jobs = [Job("good", notebook, {"sector": "rail"}), Job("bad", notebook, values)]
    with pytest.raises(InputError) as caught:
        run_batch(jobs, tmp_path / "out")
    line = str(caught.value)
    assert line.startswith("notebook odd.ipynb (job bad): ")
    assert "\n" not in line
    for word in words:
        assert word in line
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_kernel")
def test_good_parameters_pass(write: Write) -> None:
    values: list[dict[str, object]] = [
        {},
        {"alpha": 1, "seed": None, "windows": [], "title": "", "exact": True},
        {"other": HOSTILE},
        {"other": None, "seed": 3, "alpha": 0.5},
    ]
    notebook = write("good", "1")
    check_jobs([Job(f"j{k}", notebook, value) for k, value in enumerate(values)])


@pytest.mark.usefixtures("no_kernel")
def test_a_bad_batch_is_refused_before_any_kernel(write: Write, tmp_path: Path) -> None:
    good = write("good", "1")
    (tmp_path / "torn.ipynb").write_text('{"cells": [', encoding="utf-8")
    (tmp_path / "list.ipynb").write_text("[1]", encoding="utf-8")
    (tmp_path / "empty.ipynb").write_bytes(b"")
    magic = write("magic", parameters="%matplotlib inline\nx = 1")
    bad: list[tuple[list[Job], list[str]]] = [
        ([Job("a", good, {}), Job("A", good, {})], ["job name 'A'", "twice"]),
        ([Job("../a", good, {})], ["job name '../a'"]),
        ([Job("", good, {})], ["job name ''"]),
        ([Job("a", good, {}, ("b",)), Job("b", good, {}, ("a",))], ["wait for each other"]),
        ([Job("a", good, {}, ("a",))], ["wait for each other: a < a"]),
        ([Job("a", tmp_path / "god.ipynb", {})], ["god.ipynb", "No such file"]),
        ([Job("a", write("bare", "1", parameters=None), {})], ["bare.ipynb", "'parameters'"]),
        ([Job("a", tmp_path / "torn.ipynb", {})], ["torn.ipynb", "not a notebook"]),
        ([Job("a", tmp_path / "list.ipynb", {})], ["list.ipynb", "not a notebook"]),
        ([Job("a", tmp_path / "empty.ipynb", {})], ["empty.ipynb", "not a notebook"]),
        ([Job("a", magic, {})], ["magic.ipynb", "line 1", "no Python"]),
    ]
    for jobs, words in bad:
        with pytest.raises(InputError) as caught:
            run_batch(jobs, tmp_path / "out")
        for word in words:
            assert word in str(caught.value), (jobs, str(caught.value))
    with pytest.raises(InputError, match="cannot be written"):
        run_batch([Job("a", good, {})], good)
    assert not (tmp_path / "out").exists()
    assert run_batch([], tmp_path / "out") == ()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kernels are never forked here")
@pytest.mark.usefixtures("light")
def test_a_refused_batch_leaves_no_server_to_a_session(write: Write, tmp_path: Path) -> None:
    jobs = [Job("a", write("odd", "1"), {"no such": 1})]
    with pytest.raises(InputError):
        run_batch(jobs, tmp_path / "out")
    assert not warm._servers


def test_a_manifest_knows_the_commit_of_its_own_checkout_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(home: Path) -> tuple[object, ...]:
        monkeypatch.setattr(store, "HOME", home)
        content = json.loads(write_manifest(tmp_path, {}, [], {}).read_text(encoding="utf-8"))
        return tuple(content[key] for key in ("commit", "dirty", "requirements_lock"))

    def git(*words: str) -> str:
        settings = ["-c", "user.name=a", "-c", "user.email=a", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(home), *settings, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.strip()

    home = tmp_path / "home"
    (home / "inner").mkdir(parents=True)
    assert read(home) == (None, None, None)
    (home / "requirements.lock").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert read(home) == (None, None, empty)
    if shutil.which("git") is None:
        pytest.skip("no git")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    assert read(home) == (git("rev-parse", "HEAD"), False, empty)
    (home / "new").touch()
    assert read(home) == (git("rev-parse", "HEAD"), True, empty)
    assert read(home / "inner") == (None, None, None)

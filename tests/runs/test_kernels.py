"""Batches on real kernels: nothing that a notebook shows is lost, and every end has its cause."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.batches import light_server
from usjp_research.runs import warm
from usjp_research.runs.batch import check_jobs, failures, run_batch
from usjp_research.runs.job import Job
from usjp_research.runs.kernel import SCRATCH, Limits, kernel_class, scratch_folder
from usjp_research.words import InputError

Write = Callable[..., Path]
CUSTOM = "class Odd(Exception):\n    def _render_traceback_(self):\n        return {}\n"
MUTE = "class Mute(Exception):\n    def __str__(self):\n        raise ValueError('x')\n"
NONE = "    def _render_traceback_(self):\n        return None\n"
BIG = "from IPython.display import display\nfor k in range(8000):\n    display(k)"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a notebook of a parameters cell and cells of code."""

    def make(name: str, *code: str, **metadata: object) -> Path:
        new: Any = nbformat.v4
        cells = [new.new_code_cell("n: int = 1", metadata={"tags": ["parameters"]})]
        cells += [new.new_code_cell(text) for text in code]
        notebook = new.new_notebook(cells=cells)
        notebook.cells[-1].metadata.update(metadata)
        path = tmp_path / f"{name}.ipynb"
        path.write_text(json.dumps(notebook), encoding="utf-8")
        return path

    return make


def _cells(out: Path, name: str) -> list[Any]:
    text = (out / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    return list(json.loads(text)["cells"])


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("cold", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_every_early_end_is_a_failure_with_cell_and_cause(
    write: Write, tmp_path: Path, cold: bool
) -> None:
    ends = {
        "exits": ("import sys; sys.exit(0)", "SystemExit: the notebook ended early by sys.exit(0)"),
        "magic": ("%nosuch", "UsageError: Line magic function `%nosuch` not found."),
        "none": (CUSTOM.format("None") + "raise Odd('boo')", "Odd: boo"),
        "three": (CUSTOM.format("3") + "raise Odd('boo')", "Odd: boo"),  # no answer would come
        "mute": (MUTE + "raise Mute", "Mute: its message cannot be read"),
        "mute-none": (MUTE + NONE + "raise Mute", "Mute: its message cannot be read"),
        "empty": ("raise ValueError", "ValueError: no message"),
        "codes": (r"raise ValueError('\x1b]8;;x\x07a\x1b[31m\0\n b')", "ValueError: a b"),
    }
    jobs = [Job(name, write(name, code, "print(1)"), {}) for name, (code, _) in ends.items()]
    outcomes = run_batch(jobs, tmp_path / "out", workers=3, cold=cold)
    assert [o.status for o in outcomes] == ["failed"] * len(ends)
    assert failures(outcomes) == [
        f"notebook {name}.ipynb (job {name}), cell 2: {words}" for name, (_, words) in ends.items()
    ]
    for name in ends:
        shown = [c["outputs"] for c in _cells(tmp_path / "out", name) if c["cell_type"] == "code"]
        errors = [o["output_type"] for o in shown[1]].count("error")
        assert errors == 1 or name.startswith("mute"), name  # IPython fails at showing it, first
        assert shown[2] == [], name


@pytest.mark.soak
@pytest.mark.parametrize("cold", [False, True])
def test_a_kernel_waits_for_a_reader_that_is_slow(tmp_path: Path, cold: bool) -> None:
    server = None if cold else warm.start()
    limits = Limits(tmp_path / "stop")

    async def count() -> int:
        manager = kernel_class(tmp_path, str(tmp_path), limits, server)()
        await manager.start_kernel(extra_arguments=[])
        client = manager.client()
        try:
            client.start_channels()
            await client.wait_for_ready(timeout=120)
            asked = client.execute(BIG.replace("8000", "4000"))
            await asyncio.sleep(2)  # far more than 2 x 1,000 messages wait now
            shown = 0
            while True:
                message = await client.get_iopub_msg(timeout=60)
                shown += int(message["msg_type"] == "display_data")
                state = message["content"].get("execution_state")
                if state == "idle" and message["parent_header"].get("msg_id") == asked:
                    return shown
        finally:
            client.stop_channels()
            await manager.shutdown_kernel(now=True)

    try:
        assert asyncio.run(count()) == 4000
    finally:
        warm.stop()


@pytest.mark.soak
def test_what_is_shown_faster_than_it_is_read_is_kept(write: Write, tmp_path: Path) -> None:
    path = write("many", BIG, "import time; time.sleep(1)")
    (outcome,) = run_batch([Job("many", path, {})], tmp_path / "out")
    outputs = _cells(tmp_path / "out", "many")[1]["outputs"]
    assert outcome.status == "done", outcome.error
    shown = ["".join(output["data"]["text/plain"]) for output in outputs]
    assert shown == [str(k) for k in range(8000)]


@pytest.mark.parametrize("tags", [None, "local", [1]])
def test_tags_that_are_no_list_of_words_are_named_with_their_cell(
    write: Write, tags: object
) -> None:
    path = write("odd", "1", "2", tags=tags)
    with pytest.raises(InputError) as caught:
        check_jobs([Job("one", path, {})])
    line = str(caught.value)
    assert "odd.ipynb: cell 3: tags: seen " in line and "expected a list of words" in line


SCRIPT = """
import sys
from pathlib import Path
from usjp_research.runs import warm
from usjp_research.runs.batch import Job, run_batch
warm.SERVER = Path(sys.argv[3])
run_batch([Job("long", Path(sys.argv[1]), {})], Path(sys.argv[2]))
"""
LONG = """import os, pathlib
pathlib.Path({place!r}).write_text(str(os.getpid()))
sum(range(10**13))"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGHUP", marks=pytest.mark.soak)])
def test_a_signal_leaves_no_kernel_and_no_folder(write: Write, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    place = tmp_path / name / "pid"
    path = write(name, LONG.format(place=str(place)))
    env = os.environ | {"TMPDIR": str(tmp_path / name)}
    server = light_server(tmp_path / "server.py")
    words = [sys.executable, "-c", SCRIPT, str(path), str(tmp_path / "out"), str(server)]
    run = subprocess.Popen(words, env=env, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (place.exists() and place.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    run.send_signal(getattr(signal, name))
    assert run.wait(60) == 128 + getattr(signal, name)
    with pytest.raises(ProcessLookupError):
        os.kill(int(place.read_text()), 0)
    assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["pid"]


HOLD = """
import sys, time
from usjp_research.runs.kernel import scratch_folder
with scratch_folder() as folder:
    (folder / "k.json").touch()
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no open file")
def test_folders_of_killed_runs_go_with_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    runs = [
        subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        killed, alive = (Path(run.stdout.readline().strip()) for run in runs if run.stdout)
        runs[0].kill()
        runs[0].wait(30)
        assert killed.exists()
        with scratch_folder() as own:
            assert {path.name for path in tmp_path.glob(f"{SCRATCH}*")} == {own.name, alive.name}
            assert (alive / "k.json").exists()
        assert not own.exists()
    finally:
        for run in runs:
            run.kill()
            run.communicate(timeout=30)

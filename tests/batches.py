"""Batches in processes of their own, and what they leave behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from _thread import interrupt_main
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from usjp_research.__main__ import app
from usjp_research.runs import warm
from usjp_research.runs.warm import HOME

PARAMETERS = "x: int = 1  # a number\ns: str = 'a'\n"
# A cell says in a file that it ran: ``note("begun")``.
NOTE = """import os, pathlib, subprocess, sys, time
place = pathlib.Path(os.environ["USJP_PLACE"])
def note(word):
    with (place / "side").open("a") as file:
        file.write(f"{word} {x}\\n")
note("begun")"""
HOLD = """while (place / "hold").exists(): time.sleep(0.01)
time.sleep(0.05)"""
END = "note('ended')\nprint(x ** 2, s)"
LIGHT = '("ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.zmqshell")'
# A shell that runs tests in the background lets them ignore interrupts.
DRIVER = """import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
from usjp_research.runs import warm
warm.SERVER = Path(sys.argv.pop(1))
from usjp_research.__main__ import main
main()"""


def write_notebook(path: Path, *code: str, parameters: str = PARAMETERS) -> Path:
    """Write a notebook of a parameters cell and cells of code."""
    sources = [(parameters, {"tags": ["parameters"]}), *((text, {}) for text in code)]
    cells = [
        {
            **{"cell_type": "code", "id": f"c{k}", "metadata": about, "source": text},
            **{"outputs": [], "execution_count": None},
        }
        for k, (text, about) in enumerate(sources)
    ]
    content = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content), "utf-8")
    return path


def light_server(path: Path) -> Path:
    """Write the fork server so that it imports what kernels need and nothing else."""
    text = Path(warm.__file__).with_name("forkserver.py").read_text("utf-8")
    short = re.sub(r"^LIBRARIES = \(\n.*?^\)$", f"LIBRARIES = {LIGHT}", text, flags=re.S | re.M)
    assert short != text
    path.write_text(short, "utf-8")
    return path


def wait_for(condition: Callable[[], object], seconds: float = 120) -> Any:
    """Return what a condition gives once it gives something."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
    return found


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Do something beside what is done inside; where it fails, that is interrupted."""
    ended = []

    def whole() -> None:
        try:
            act()
            ended.append(True)
        finally:
            if not ended:  # what is done inside may wait for it
                interrupt_main()

    thread = Thread(target=whole)
    thread.start()
    try:
        yield
    finally:
        thread.join(120)
    assert ended


def shown(out: Path) -> dict[str, Any]:
    """Return source and outputs of every cell of the executed notebooks."""
    cells = {
        path.stem: json.loads(path.read_text("utf-8"))["cells"]
        for path in sorted((out / "notebooks").glob("*.ipynb"))
    }
    return {name: [(c["source"], c.get("outputs")) for c in found] for name, found in cells.items()}


class Batch:
    """A batch of one notebook over ``x: [1, 2, 3]``, and the command that runs it.

    Kernels hold in their middle cell while there is a file ``hold``, and end after ``pause``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.out, self.side = folder, folder / "out", folder / "side"
        self.hold, self.scratch = folder / "hold", folder / "tmp"
        self.runs, self.notebook = folder / "runs.yaml", folder / "one.ipynb"
        self.server = folder / "light_server.py"
        if not self.runs.exists():
            self.scratch.mkdir(parents=True)
            light_server(self.server)
            write_notebook(self.notebook, NOTE, HOLD, END)
            self.runs.write_text("- {notebook: one.ipynb, grid: {x: [1, 2, 3]}}\n", "utf-8")
        self.own = {"USJP_PLACE": str(folder), "TMPDIR": str(self.scratch)}
        self.env = os.environ | self.own | {"PYTHONPATH": str(HOME), "PYTHONWARNINGS": "default"}

    def words(self, *more: object) -> list[str]:
        """Return the words of the command."""
        return ["batch", str(self.runs), "--out", str(self.out), *map(str, more)]

    def here(self, patch: pytest.MonkeyPatch, *more: object) -> Result:
        """Run the command in this process; its kernels and their server are others."""
        patch.setattr(warm, "SERVER", self.server)
        patch.setattr(tempfile, "tempdir", str(self.scratch))
        for name, value in self.own.items():
            patch.setenv(name, value)
        return CliRunner().invoke(app, self.words(*more))

    def start(self, *more: object) -> subprocess.Popen[str]:
        """Start the command; what it says goes to files."""
        with (self.folder / "stdout").open("w") as out, (self.folder / "stderr").open("w") as err:
            return subprocess.Popen(
                [sys.executable, "-c", DRIVER, str(self.server), *self.words(*more)],
                env=self.env,
                cwd=self.folder,
                stdout=out,
                stderr=err,
                text=True,
            )

    def said(self) -> str:
        """Return what the process that was started last has said on stderr."""
        return (self.folder / "stderr").read_text("utf-8")

    def statuses(self) -> dict[str, str]:
        """Return how the ledger says that each job stands."""
        entries = sorted((self.out / "ledger").glob("[!.]*.json"))
        return {path.stem: json.loads(path.read_text("utf-8"))["status"] for path in entries}

    def done(self) -> set[str]:
        """Return the jobs that are done."""
        return {name for name, status in self.statuses().items() if status == "done"}

    def noted(self, word: str) -> Counter[str]:
        """Return how often each job has noted a word."""
        lines = self.side.read_text("utf-8").splitlines() if self.side.exists() else []
        return Counter(f"one-x={line.split()[1]}" for line in lines if line.split()[0] == word)

    def alive(self) -> dict[int, list[str]]:
        """Return the processes that descend from the command, with their words."""
        return processes(f"USJP_PLACE={self.folder}")

    def servers(self) -> list[int]:
        """Return the fork servers."""
        named = {pid for pid, words in self.alive().items() if str(self.server) in words[:4]}
        return [pid for pid in named if parent(pid) not in named]

    def kernels(self) -> list[int]:
        """Return the kernels: children of the fork servers."""
        return [pid for pid in self.alive() if parent(pid) in self.servers()]

    def leaves_nothing(self) -> None:
        """See that no process, no scratch folder and no half file is left."""
        wait_for(lambda: not self.alive(), 30)
        assert [path.name for path in self.scratch.iterdir() if "usjp" in path.name] == []
        files = [path for path in self.out.rglob("*") if path.is_file()]
        assert [path.name for path in files if path.name.startswith(".")] == []
        for path in files:
            json.loads(path.read_text("utf-8"))

    def ends_as(self, undisturbed: Mapping[str, Any], patch: pytest.MonkeyPatch) -> None:
        """See that a rerun completes the batch, repeats no job and gives the same results."""
        before, ended = self.done(), self.noted("ended")
        result = self.here(patch)
        assert result.exit_code == 0, (result.stderr, result.exception)
        assert self.done() == {*undisturbed}
        for name, count in self.noted("ended").items():
            assert count == ended[name] + (name not in before), (name, before)
        assert shown(self.out) == undisturbed
        self.leaves_nothing()


def processes(mark: str) -> dict[int, list[str]]:
    """Return the processes with a variable in the environment that they were started with."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (path / "environ").read_bytes().split(b"\0"):
                words = (path / "cmdline").read_bytes().decode().split("\0")
                if words != [""]:  # no zombie
                    found[int(path.name)] = words
        except OSError:
            continue
    return found


def parent(pid: int) -> int:
    """Return the parent of a process, 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[1])
    except OSError:
        return 0


def own_mounts() -> tuple[str, ...]:
    """Return what runs a command with mounts that no one else sees."""
    return ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)))


def mounts() -> bool:
    """Say whether this user may mount a disk that no one else sees."""
    words = [*own_mounts(), "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(words, capture_output=True, timeout=30).returncode == 0
    except OSError:
        return False

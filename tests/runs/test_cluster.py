"""A batch on a real scheduler with two workers: done by them, and what they lose is run again."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.batches import (
    HOLD,
    Batch,
    meanwhile,
    mounts,
    own_mounts,
    shown,
    wait_for,
    write_notebook,
)
from usjp_research.runs import ledger
from usjp_research.runs.batch import run_batch
from usjp_research.runs.job import Job
from usjp_research.runs.warm import HOME

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
ALL = {f"one-x={x}" for x in range(1, 5)}


class Cluster:
    """A scheduler and its workers, each a process of its own."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.workers = batch, dict[str, subprocess.Popen[bytes]]()
        file = batch.folder / "scheduler.json"
        words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", file]
        self.scheduler = self._start("dask_scheduler", *words)
        self.address = json.loads(wait_for(lambda: file.exists() and file.read_text("utf-8")))[
            "address"
        ]
        light = f"from usjp_research.runs import warm\nwarm.SERVER = {str(batch.server)!r}\n"
        (batch.folder / "light.py").write_text(light, "utf-8")

    def _start(
        self, kind: str, *words: object, first: tuple[str, ...] = (), path: Path = HOME
    ) -> subprocess.Popen[bytes]:
        command = [*first, sys.executable, "-m", f"distributed.cli.{kind}", *map(str, words)]
        with (self.batch.folder / "cluster.log").open("ab") as log:
            env = self.batch.env | {"PYTHONPATH": str(path), "PYTHONWARNINGS": "ignore"}
            return subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=self.batch.folder)

    def add(self, name: str, first: tuple[str, ...] = (), path: Path = HOME) -> None:
        """Start a worker that runs one job at a time."""
        own = ["--nthreads", 1, "--no-nanny", "--no-dashboard", "--name", name]
        own += ["--local-directory", self.batch.folder / f"worker-{name}", "--memory-limit", 0]
        own += ["--preload", self.batch.folder / "light.py"]
        self.workers[name] = self._start("dask_worker", self.address, *own, first=first, path=path)

    def close(self) -> None:
        """End all."""
        for process in (*self.workers.values(), self.scheduler):
            process.kill()
            process.wait(30)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    batch = Batch(tmp_path / "batch")
    batch.runs.write_text("- {notebook: one.ipynb, grid: {x: {from: 1, to: 4}}}\n", "utf-8")
    found = Cluster(batch)
    try:
        yield found
    finally:
        found.close()


def _fresh(batch: Batch, name: str) -> None:
    """Let the next run of a batch be the first one."""
    batch.out = batch.folder / name
    batch.side.unlink(missing_ok=True)


def test_a_cluster_runs_all_and_what_it_loses_is_run_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, address = cluster.batch, ("--cluster", cluster.address)
    none = batch.here(monkeypatch, *address)
    assert none.exit_code == 2 and "the scheduler has no worker; start one with: " in none.stderr
    for name in ("a", "b"):
        cluster.add(name)
    wait_for(lambda: batch.here(monkeypatch, *address).exit_code == 0)
    assert batch.done() == ALL and batch.noted("ended") == dict.fromkeys(ALL, 1)
    _lose_a_worker(cluster, monkeypatch)
    _lose_the_scheduler(cluster, monkeypatch)


def _lose_a_worker(cluster: Cluster, patch: pytest.MonkeyPatch, seconds: float = 0) -> None:
    """Kill one of two workers in the middle: the other does all."""
    batch = cluster.batch
    _fresh(batch, "worker")
    batch.hold.touch()

    def act() -> None:
        wait_for(lambda: len(batch.noted("begun")) == 2)
        time.sleep(seconds)
        cluster.workers["a"].kill()
        cluster.workers["a"].wait(30)
        batch.hold.unlink()

    with meanwhile(act):
        result = batch.here(patch, "--cluster", cluster.address)
    assert result.exit_code == 0, result.stderr
    assert batch.done() == ALL
    assert batch.noted("ended") == dict.fromkeys(ALL, 1)
    assert max(batch.noted("begun").values()) == 2  # what the worker had begun


def _lose_the_scheduler(cluster: Cluster, patch: pytest.MonkeyPatch) -> None:
    """Kill the scheduler in the middle: the command says so, and a run without it goes on."""
    batch, took = cluster.batch, []
    _fresh(batch, "scheduler")
    middle = HOLD.replace("while (", "while x > 2 and (")
    write_notebook(batch.notebook, *_cells(batch, middle))
    batch.hold.touch()

    def act() -> None:
        wait_for(lambda: len(batch.noted("begun")) == 3 and len(batch.done()) == 2)
        cluster.scheduler.send_signal(signal.SIGKILL)
        took.append(time.monotonic())

    with meanwhile(act):
        result = batch.here(patch, "--cluster", cluster.address)
    assert time.monotonic() - took[0] < 60
    assert result.exit_code == 2, (result.stderr, result.exception)
    *_, told, line = result.stderr.splitlines()
    assert told.startswith("usjp: ended early; 2 of 4 jobs have ended"), result.stderr
    assert "is gone" in line and "give the same command again" in line
    assert batch.done() == {"one-x=1", "one-x=2"}
    wait_for(lambda: not batch.kernels(), 60)  # what ran on workers is ended, too
    batch.hold.unlink()
    assert batch.here(patch).exit_code == 0
    assert batch.done() == ALL and batch.noted("ended") == dict.fromkeys(ALL, 1)
    cluster.close()
    assert batch.here(patch, "--only", "one-x=1").exit_code == 0  # clears what the killed left
    batch.leaves_nothing()


def _cells(batch: Batch, middle: str) -> list[str]:
    _, first, _, last = json.loads(batch.notebook.read_text("utf-8"))["cells"]
    return [first["source"], middle, last["source"]]


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_a_worker_killed_at_any_time_loses_no_job(
    seed: int, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        cluster.add(name)
    wait_for(lambda: cluster.batch.here(monkeypatch, "--cluster", cluster.address).exit_code == 0)
    _lose_a_worker(cluster, monkeypatch, random.Random(seed).uniform(0, 2))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_a_scheduler_killed_at_any_time_loses_nothing_that_is_done(
    seed: int, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, address = cluster.batch, ("--cluster", cluster.address)
    for name in ("a", "b"):
        cluster.add(name)
    wait_for(lambda: batch.here(monkeypatch, *address).exit_code == 0)
    undisturbed = shown(batch.out)
    _fresh(batch, "scheduler")

    def act() -> None:
        wait_for(lambda: batch.noted("begun"))
        time.sleep(random.Random(seed).uniform(0, 1.5))
        cluster.scheduler.kill()

    with meanwhile(act):
        result = batch.here(monkeypatch, *address)
    assert result.exit_code in (0, 2), result.stderr
    assert ("is gone" in result.stderr) == (result.exit_code == 2)
    wait_for(lambda: not batch.kernels(), 60)
    cluster.close()
    batch.ends_as(undisturbed, monkeypatch)


@pytest.mark.soak
def test_a_worker_that_does_not_see_the_folder_or_has_another_package_is_refused(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = cluster.batch
    batch.out.mkdir()
    other = tmp_path / "other"
    shutil.copytree(HOME / "usjp_research", other / "usjp_research")
    with (other / "usjp_research" / "words.py").open("a") as file:
        file.write("# another version\n")
    cases = {"other": "has not the same package for job one-x=1; bring it up to date"}
    cluster.add("other", path=other)
    if mounts():
        cases["blind"] = f"does not see the folder {batch.out}; give one with --out that all"
    for name, words in cases.items():
        if name == "blind":
            mount = f'mount -t tmpfs none "{batch.out}" && exec "$@"'
            cluster.add(name, first=(*own_mounts(), "sh", "-c", mount, "sh"))
        for _ in range(100):
            result = batch.here(monkeypatch, "--cluster", cluster.address)
            assert result.exit_code == 2
            if "the scheduler has no worker" not in result.stderr:
                break
            time.sleep(0.2)
        assert words in result.stderr and len(result.stderr.splitlines()) == 2, result.stderr
        cluster.workers[name].kill()
        cluster.workers[name].wait(30)
    assert not batch.statuses() and not batch.noted("begun")


# --- other executors ---------------------------------------------------------------------------


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("kind", ["threads", pytest.param("spawned", marks=pytest.mark.soak)])
def test_any_executor_runs_a_batch(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Batch(tmp_path / "batch")
    monkeypatch.setenv("USJP_PLACE", str(batch.folder))
    jobs = [Job(f"one-x={x}", batch.notebook, {"x": x}) for x in (1, 2)]
    batch.out.mkdir()
    (batch.out / ledger.FOLDER).mkdir()
    found = ledger.identities(jobs, batch.out)
    executor: Executor = (
        ThreadPoolExecutor(2)
        if kind == "threads"
        else ProcessPoolExecutor(2, mp_context=get_context("spawn"))
    )
    with executor:
        for _ in range(2):  # what is done is not done again
            outcomes = run_batch(jobs, batch.out, executor=executor, ledger=found)
            assert [o.status for o in outcomes] == ["done", "done"], outcomes
    assert batch.noted("ended") == {"one-x=1": 1, "one-x=2": 1}
    assert os.environ["USJP_PLACE"] == str(batch.folder)

"""Batches against the papermill command: notebooks a second, overhead, memory, imports."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import nbformat

from usjp_research.runs.batch import run_batch
from usjp_research.runs.job import Job
from usjp_research.runs.ledger import identities
from usjp_research.runs.warm import HOME
from usjp_research.spec.read import read_spec

NOTEBOOK = HOME / "notebooks" / "2_event_study.ipynb"
SECTORS = read_spec(HOME / "params").sectors


def measure() -> Iterator[dict[str, Any]]:
    """Give each goal with what was measured, most of it as ratios of the same run."""
    yield _goal("import of the batch side", _import(), 0.6, "s")
    with tempfile.TemporaryDirectory(prefix="usjp-bench-") as name:
        place = Path(name)
        ours = _jobs(NOTEBOOK, [{"sector": key} for key in SECTORS], place)
        grid = [replace(job, name=f"{job.name}-{k}") for k in range(4) for job in ours]
        shell = _clock(lambda: _shell(ours[:3], place)) / 3
        rows = {"papermill command in a shell loop": shell}
        rows["papermill in one process"] = _clock(lambda: _papermill(ours[:3], place)) / 3
        rows["ours, cold"] = _clock(partial(_ours, ours, place, cold=True)) / len(ours)
        rows["ours, warm"] = _clock(partial(_ours, grid, place)) / len(grid)
        with _dask(2) as executor:
            dask = {"executor": executor, "workers": 2}
            _ours(ours[:2], place, **dask)  # its workers import once
            took = _clock(partial(_ours, ours, place, **dask))
            rows["ours, two dask workers"] = took / len(ours)
        for words, seconds in rows.items():
            print(f"         {words}: {seconds:.2f} s a notebook ({shell / seconds:.1f}x)")
        told = "warm batch over the shell loop,"
        yield _goal(f"{told} event studies", rows["ours, warm"] / shell, 1 / 6, "of its time")
        small = _jobs(_small(place), [{"x": k} for k in range(24)], place)
        loop = _clock(lambda: _shell(small[:3], place)) / 3
        warm = _clock(partial(_ours, small, place)) / len(small)
        print(
            f"         a notebook that imports pandas: {loop:.2f} s in the loop, {warm:.2f} s ours"
        )
        yield _goal(f"{told} small notebooks", warm / loop, 1 / 6, "of its time")
        yield _goal("overhead of a notebook beyond its cells", _overhead(ours, place), 0.8, "s")
        sizes = (200, 1_000, *([5_000] if os.environ.get("USJP_BENCH_LONG") else []))
        found = {size: _trivial(size, place) for size in sizes}
        for size, (seconds, memory) in found.items():
            print(f"         {size:,} trivial jobs: {seconds:.3f} s each, runner {memory:.0f} MB")
        (few, small_memory), (more, memory) = found[sizes[0]], found[sizes[-1]]
        told = f"of a job at {sizes[-1]:,} over at {sizes[0]:,}"
        yield _goal(f"time {told}", more / few, 1.25, "times")
        yield _goal(f"memory of the runner {told}", memory / small_memory, 2, "times")


def _goal(name: str, measured: float, goal: float, unit: str) -> dict[str, Any]:
    told = {"name": name, "measured": measured, "goal": goal, "unit": unit}
    return {**told, "met": bool(measured <= goal)}


def _clock(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _import() -> float:
    words = [sys.executable, "-c", "import usjp_research.runs.batches, usjp_research.runs.batch"]
    bare = [sys.executable, "-c", ""]

    def took(command: list[str]) -> float:
        return min(_clock(lambda: subprocess.run(command, check=True)) for _ in range(3))

    return took(words) - took(bare)


def _jobs(notebook: Path, points: list[dict[str, object]], place: Path) -> list[Job]:
    out = {"out": str(place / "results")} if notebook == NOTEBOOK else {}
    return [Job(f"job-{k}", notebook, {**point, **out}) for k, point in enumerate(points)]


def _shell(jobs: list[Job], place: Path) -> None:
    """Run the papermill command, one notebook after another, as a loop of a shell would."""
    env = {**os.environ, "PYTHONPATH": str(HOME)}
    for job in jobs:
        given = [w for k, v in job.parameters.items() for w in ("-p", k, str(v))]
        words = [
            sys.executable,
            "-m",
            "papermill",
            str(job.notebook),
            str(place / f"{job.name}.ipynb"),
        ]
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([*words, *given, "-k", "python3"], check=True, env=env, cwd=HOME, **quiet)


def _papermill(jobs: list[Job], place: Path) -> None:
    import papermill

    os.environ["PYTHONPATH"] = str(HOME)
    for job in jobs:
        papermill.execute_notebook(
            str(job.notebook),
            str(place / f"{job.name}.ipynb"),
            parameters=dict(job.parameters),
            kernel_name="python3",
            progress_bar=False,
            cwd=str(HOME),
        )


def _ours(jobs: list[Job], place: Path, **how: Any) -> list[float]:
    out = place / "ours"
    shutil.rmtree(out, ignore_errors=True)
    (out / "ledger").mkdir(parents=True)
    outcomes = run_batch(jobs, out, ledger=identities(jobs, out), **how)
    assert all(outcome.status == "done" for outcome in outcomes), outcomes
    return [outcome.seconds for outcome in outcomes]


def _overhead(jobs: list[Job], place: Path) -> float:
    """Return the mean time of a job less that of its cells, the fork server's start left out."""
    twice = jobs + [Job(f"{j.name}-b", j.notebook, j.parameters) for j in jobs]
    seconds = _ours(twice, place, workers=2)
    beyond = []
    for k, took in list(enumerate(seconds))[2:]:
        name = jobs[k % len(jobs)].name + ("-b" if k >= len(jobs) else "")
        notebook = json.loads((place / "ours" / "notebooks" / f"{name}.ipynb").read_text("utf-8"))
        cells = [c["metadata"].get("papermill", {}).get("duration") or 0 for c in notebook["cells"]]
        beyond.append(took - sum(cells))
    return sum(beyond) / len(beyond)


def _small(place: Path) -> Path:
    code = "import pandas as pd\npd.DataFrame({'a': range(100)}).rolling(5).mean() * x"
    return _write(place / "small.ipynb", code)


def _write(path: Path, code: str) -> Path:
    new: Any = nbformat.v4
    cell = new.new_code_cell("x = 0", metadata={"tags": ["parameters"]})
    write: Any = nbformat.write
    about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    write(new.new_notebook(cells=[cell, new.new_code_cell(code)], metadata=about), path)
    return path


def _trivial(count: int, place: Path) -> tuple[float, float]:
    """Return seconds a job and the runner's largest memory, in a process of its own."""
    _write(place / "trivial.ipynb", "x + 1")
    code = (
        "import sys; sys.path.insert(0, sys.argv[3]); import bench_batch as b;"
        "from pathlib import Path; b.many(int(sys.argv[1]), Path(sys.argv[2]))"
    )
    words = [sys.executable, "-c", code, str(count), str(place), str(Path(__file__).parent)]
    env = {**os.environ, "PYTHONPATH": str(HOME)}
    told = subprocess.run(words, check=True, env=env, capture_output=True, text=True)
    seconds, memory = json.loads(told.stdout.splitlines()[-1])
    return seconds, memory


def many(count: int, place: Path) -> None:
    """Run so many trivial jobs, and print seconds a job and megabytes."""
    jobs = _jobs(place / "trivial.ipynb", [{"x": k} for k in range(count)], place)
    took = _clock(lambda: _ours(jobs, place)) / count
    print(json.dumps([took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


@contextmanager
def _dask(workers: int) -> Iterator[Executor]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,  # type: ignore[no-untyped-call]
    ):
        yield client.get_executor(pure=False)

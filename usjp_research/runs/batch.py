"""Batches of notebooks: checked papermill jobs, some at a time, in the order that they ask for."""

from __future__ import annotations

import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usjp_research.runs import warm
from usjp_research.runs.job import Job, Place, read_notebook, run_job
from usjp_research.runs.kernel import ended_by_signals
from usjp_research.runs.parameters import UNREADABLE, Parameter, declared
from usjp_research.runs.store import Failure, Outcome, prepare_folder
from usjp_research.spec.records import in_project
from usjp_research.words import InputError, nearest, shown

if TYPE_CHECKING:
    from usjp_research.runs.ledger import Identity

NAME = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*")  # of a file, shown and in no other folder
PATIENCE = 30  # seconds for kernels to end once they are asked to
Tell = Callable[[Job, Outcome | None], None]


def tell_nothing(job: Job, outcome: Outcome | None) -> None:
    """Say nothing of how far a batch is."""


# --- checks, before any kernel starts --------------------------------------------------------


def check_jobs(jobs: Iterable[Job]) -> TopologicalSorter[str]:
    """Refuse a batch with a mistake in it, by notebook, job and parameter; return its order."""
    jobs = list(jobs)
    seen: set[str] = set()
    for name in (job.name for job in jobs):
        if not NAME.fullmatch(name):
            raise InputError(f"job name {name!r}: expected a file name without folder")
        if name.casefold() in seen:  # one file on some disks
            raise InputError(f"job name '{name}': seen twice, expected once")
        seen.add(name.casefold())
    order = TopologicalSorter({job.name: job.after for job in jobs})
    try:
        order.prepare()
    except CycleError as error:
        raise InputError(f"jobs wait for each other: {' < '.join(error.args[1])}") from None
    known = {path: parameters_of(path) for path in dict.fromkeys(job.notebook for job in jobs)}
    for job in jobs:
        for name, value in job.parameters.items():
            _check_parameter(job, name, value, known[job.notebook])
    return order


def parameters_of(notebook: Path) -> dict[str, Parameter]:
    """Read what a notebook takes; no code of it is run."""
    try:
        cells = read_notebook(in_project(notebook)).cells
        fault = next(filter(None, map(_misshapen, cells, range(1, len(cells) + 1))), "")
    except Exception as error:  # any, as the file may hold anything
        raise InputError(f"notebook {notebook}: not a notebook ({str(error)[:200]})") from None
    if fault:
        raise InputError(f"notebook {notebook}: {fault}")
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if not tagged:
        raise InputError(f"notebook {notebook}: seen no cell tagged 'parameters', expected one")
    try:
        return declared(tagged[0].source)
    except UNREADABLE as error:
        why = str(error).replace("<unknown>, ", "")[:80]
        raise InputError(f"notebook {notebook}: its parameters cell is no Python ({why})") from None


def _misshapen(cell: Any, place: int) -> str:
    """Say what keeps a cell from being run."""
    tags = cell.metadata.get("tags", [])
    if not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        return f"cell {place}: tags: seen {json.dumps(tags)[:80]}, expected a list of words"
    if not isinstance(cell.source, str):
        return f"cell {place}: source: seen {json.dumps(cell.source)[:80]}, expected text"
    return ""


def _check_parameter(job: Job, name: str, value: object, known: Mapping[str, Parameter]) -> None:
    where = f"notebook {job.notebook.name} (job {job.name})"
    if name not in known:
        raise InputError(f"{where}: unknown parameter '{name}': {nearest(name, known)}")
    if not _is_plain(value):
        seen = f"{where}: parameter '{name}': seen {repr(value)[:80]} ({type(value).__name__})"
        raise InputError(f"{seen}, expected None, bool, finite number, str, or list or dict of it")
    if fault := known[name].fault(name, value):
        raise InputError(f"{where}: {fault}")


def _is_plain(value: object) -> bool:
    """Say whether papermill and JSON hand a value on as it is."""
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError, RecursionError):
        return False


# --- running ---------------------------------------------------------------------------------


def usual_workers() -> int:
    """Return one kernel more than processors, as one of them waits, but not more than nine."""
    free = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if free else os.cpu_count() or 1
    return min(cores, 8) + 1


def run_batch(
    jobs: Iterable[Job],
    out: Path,
    *,
    workers: int | None = None,
    tell: Tell = tell_nothing,
    cold: bool = False,
    executor: Executor | None = None,
    ledger: Mapping[str, Identity] | None = None,
) -> tuple[Outcome, ...]:
    """Run notebooks, each in a kernel of its own on this interpreter, some at a time.

    Parameters
    ----------
    jobs : iterable of Job
    out : Path
        Executed notebooks land in its folder ``notebooks``.
    workers : int, optional
        How many kernels run at a time; without it `usual_workers`.
    tell : callable
        Called with a job and None when it starts, and with its outcome when it has ended.
    cold : bool
        Start every kernel as a new process, without the fork server.
    executor : concurrent.futures.Executor, optional
        Where the jobs run; every worker of it must see the folder under the same name.
    ledger : mapping, optional
        Identities of the jobs; with them every job's state is kept in the folder ``ledger``.

    Returns
    -------
    tuple of Outcome
        In the order of the jobs.

    Raises
    ------
    InputError
        When a job could not run; none has been started then.
    """
    jobs, workers = list(jobs), workers or usual_workers()
    if executor is None and not cold:
        warm.start()  # imports what kernels need while the jobs are checked
    try:
        order = check_jobs(jobs)
        prepare_folder(out / "notebooks")
    except BaseException:
        warm.stop()
        raise
    known, out = {job.name: job for job in jobs}, out.absolute()
    # Kernels watch for a file: on this machine's own disk, or where a cluster sees it.
    watched = out if executor else Path(tempfile.gettempdir())
    place = Place(out, watched / f".usjp-stop-{secrets.token_hex(6)}", cold)
    position = {job.name: k for k, job in enumerate(jobs)}
    ready: list[int] = []  # a heap, so that jobs start in their order
    running: dict[Future[Outcome], str] = {}
    ended: dict[str, Outcome] = {}
    pool = executor or ThreadPoolExecutor(workers)  # the work itself is in the kernels
    with ended_by_signals():
        try:
            while order.is_active():
                for name in order.get_ready():
                    heappush(ready, position[name])
                while ready and len(running) < workers:
                    job = jobs[heappop(ready)]
                    tell(job, None)
                    task = pool.submit(run_job, job, place, ledger[job.name] if ledger else None)
                    running[task] = job.name
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    ended[name] = _ended(known[name], future, executor)
                    order.done(name)
                    tell(known[name], ended[name])
        except BaseException:
            with suppress(OSError):  # a disk that takes nothing
                place.stop.touch()  # kernels watch for it
            warm.stop()
            for future in running:
                future.cancel()
            wait(running, timeout=PATIENCE)
            raise  # kernels of a cluster may see the file later; the next batch removes it
        else:
            place.stop.unlink(missing_ok=True)
        finally:
            if executor is None:
                pool.shutdown()
                warm.stop()
                place.stop.unlink(missing_ok=True)
    return tuple(ended[job.name] for job in jobs)


def _ended(job: Job, future: Future[Outcome], executor: Executor | None) -> Outcome:
    """Return how a job ended; one that took its cluster's worker with it was killed."""
    try:
        return future.result()
    except CancelledError:
        raise InputError(
            f"job {job.name}: its executor is gone, and with it what was running; what is done is "
            "kept, so give the same command again"
        ) from None
    except Exception as error:
        if executor is None or isinstance(error, OSError):
            raise
        failure = Failure(None, type(error).__name__, " ".join(shown(str(error)).split())[:300])
        return Outcome(
            job.name, job.notebook.name, {**job.parameters}, "killed", 0.0, None, failure
        )


def failures(outcomes: Iterable[Outcome]) -> list[str]:
    """Return a line for each failed job: notebook, job, cell, exception and message."""
    return [f"notebook {o.notebook} (job {o.name}), {o.error}" for o in outcomes if o.error]

"""Batches of notebooks: checked papermill jobs in kernels of their own, and the run's manifest."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from usjp_research.runs.kernel import HOME, cause, ended_by_signals, kernel_class, scratch_folder
from usjp_research.runs.parameters import UNREADABLE, Parameter, declared
from usjp_research.runs.store import Failure, Outcome, prepare_folder, write_whole
from usjp_research.runs.terminal import plain, screen
from usjp_research.spec.records import SHIPPED, find_root, in_project
from usjp_research.words import InputError, nearest

NAME = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*")  # of a file, shown and in no other folder
MARK = "papermill-error-cell-tag"

# What papermill logs is in the outcomes; a log that the user has set up still gets it.
logging.getLogger("papermill").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Job:
    """One notebook to run, with plain data for some of its parameters."""

    name: str
    notebook: Path
    parameters: Mapping[str, object]
    after: tuple[str, ...] = ()


# --- checks, before any kernel starts --------------------------------------------------------


def check_jobs(jobs: Iterable[Job]) -> TopologicalSorter[str]:
    """Refuse a batch with a mistake in it, by notebook, job and parameter; return its order."""
    jobs = list(jobs)
    names = [job.name for job in jobs]
    for k, name in enumerate(names):
        if not NAME.fullmatch(name):
            raise InputError(f"job name {name!r}: expected a file name without folder")
        if name.casefold() in map(str.casefold, names[:k]):  # one file on some disks
            raise InputError(f"job name '{name}': seen twice, expected once")
    order = TopologicalSorter({job.name: job.after for job in jobs})
    try:
        order.prepare()
    except CycleError as error:
        raise InputError(f"jobs wait for each other: {' < '.join(error.args[1])}") from None
    known = {path: _read_parameters(path) for path in dict.fromkeys(job.notebook for job in jobs)}
    for job in jobs:
        for name, value in job.parameters.items():
            _check_parameter(job, name, value, known[job.notebook])
    return order


def _read_parameters(notebook: Path) -> dict[str, Parameter]:
    """Read what a notebook takes; no code of it is run."""
    try:
        cells = _read_notebook(in_project(notebook)).cells
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


def _read_notebook(path: Path) -> Any:
    import nbformat

    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


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


def run_batch(
    jobs: Iterable[Job], out: Path, *, workers: int = 2, say: Callable[[str], None] = print
) -> tuple[Outcome, ...]:
    """Run notebooks, each in a kernel of its own on this interpreter, some at a time."""
    jobs = list(jobs)
    order = check_jobs(jobs)
    prepare_folder(out / "notebooks")
    place = {job.name: k for k, job in enumerate(jobs, 1)}
    ready: list[str] = []
    running: set[Future[Outcome]] = set()
    ended: dict[str, Outcome] = {}
    pool = ThreadPoolExecutor(workers)  # the work itself is in the kernels
    with ended_by_signals(), scratch_folder() as scratch, pool as threads:
        try:
            while order.is_active():
                ready = sorted([*ready, *order.get_ready()], key=place.__getitem__)
                while ready and len(running) < workers:
                    name = ready.pop(0)
                    say(f"[{place[name]}/{len(jobs)}] {name} started")
                    job = jobs[place[name] - 1]
                    running.add(threads.submit(_run, job, out, scratch / str(place[name])))
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for outcome in (future.result() for future in done):
                    name = outcome.name
                    ended[name] = outcome
                    order.done(name)
                    how = f"{outcome.status} in {outcome.seconds:.1f} s"
                    why = f": {outcome.error}" if outcome.error else ""
                    say(f"[{place[name]}/{len(jobs)}] {name} {how}{why}")
        except BaseException:
            (scratch / "stop").touch()  # kernels watch for it
            for future in running:
                future.cancel()
            wait(running)
            raise
    return tuple(ended[job.name] for job in jobs)


def _run(job: Job, out: Path, scratch: Path) -> Outcome:
    """Run one job, and write what became of its notebook."""
    import nbformat

    started, clock = datetime.now(UTC), time.perf_counter()
    output: str | None = f"notebooks/{job.name}.ipynb"
    scratch.mkdir()
    notebook, error = _execute(job, scratch)
    try:
        origin = {"input_path": job.notebook.name, "output_path": output}
        notebook.metadata.setdefault("papermill", {}).update(origin)
        text = nbformat.writes(notebook) + "\n"  # type: ignore[no-untyped-call]
        write_whole(out / str(output), text.encode("utf-8", "backslashreplace"))
    except Exception as caught:
        output, error = None, error or _failure(caught)
    return Outcome(
        name=job.name,
        notebook=job.notebook.name,
        parameters=dict(job.parameters),
        status="failed" if error else "done",
        seconds=round(time.perf_counter() - clock, 3),
        output=output,
        error=error,
        started=started.isoformat(timespec="seconds"),
    )


def _execute(job: Job, scratch: Path) -> tuple[Any, Failure | None]:
    """Run a notebook from and to memory; return it as far as it came, and what stopped it."""
    import papermill
    from jupyter_core.utils import ensure_event_loop

    # Given paths, papermill fills in braces, writes bit by bit, and changes every thread's folder.
    root = find_root()
    root = Path.cwd() if root.name == SHIPPED else root  # where there is only a wheel
    exits: list[int] = []
    said: list[Any] = []  # of cells that failed: which one, and what the kernel replied
    notebooks: list[Any] = []  # as read, then as the run fills it
    error: Exception | None = None
    try:
        notebooks.append(_read_notebook(in_project(job.notebook)))
        papermill.execute_notebook(
            notebooks[0],
            None,
            parameters=dict(job.parameters),
            kernel_name="python3",
            language="python",
            progress_bar=False,
            start_timeout=180,
            iopub_timeout=600,
            kernel_manager_class=kernel_class(scratch, str(root), exits),
            on_notebook_start=lambda notebook: notebooks.append(notebook),
            on_cell_error=lambda cell, cell_index, execute_reply: said.append(
                (cell_index, execute_reply["content"])
            ),
        )
    except Exception as caught:
        if (scratch.parent / "stop").exists():
            raise
        error = caught
    finally:
        loop = ensure_event_loop()  # Jupyter made it for this thread and leaves it open
        if not loop.is_running():
            loop.close()
    if error is None and not said:  # papermill takes sys.exit(0) for the notebook's end
        return notebooks[-1], None
    path = scratch / "log"
    log = path.read_text("utf-8", errors="replace")[-4000:] if path.is_file() else ""
    notebook = notebooks[-1] if notebooks else None
    return notebook, _failure(error, notebook.cells if notebook else [], log, exits, said)


def _failure(
    error: Exception | None,
    cells: Sequence[Any] = (),
    log: str = "",
    exits: Sequence[int] = (),
    said: Sequence[tuple[int, Mapping[str, Any]]] = (),
) -> Failure:
    """Say what stopped a job; where a kernel died, say it in the cell too."""
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    cells = [cell for cell in cells if MARK not in cell.metadata.get("tags", [])]
    begun = [k for k, c in enumerate(cells) if c.metadata.get("papermill", {}).get("start_time")]
    last, kind, message = begun[-1] if begun else None, type(error).__name__, str(error or "")
    trace = log
    if isinstance(error, PapermillExecutionError):
        last, kind, message = error.cell_index, error.ename, error.evalue
        trace = "\n".join(error.traceback)
    elif isinstance(error, DeadKernelError):
        message = " ".join(["the kernel's process ended", *map(cause, exits)][:2])
    elif error:
        trace = "".join(traceback.format_exception(error)) + log
    if said and not message:  # no output said it
        last, reply = said[-1]
        kind, message = reply["ename"], reply["evalue"]
        trace = trace or "\n".join(reply["traceback"])
    if kind == "SystemExit":
        message = f"the notebook ended early by sys.exit({message})"
    for place in (HOME, sys.prefix, sys.base_prefix):  # of this machine, and no one else's
        trace = trace.replace(f"{place}{os.sep}", "")
    message = " ".join(plain(message).split()) or "no message"
    number = None  # of the cell in the notebook as it was before the run
    if last is not None:
        _show_failure(cells[last], kind, message)
        tags = [cell.metadata.get("tags", []) for cell in cells[: last + 1]]
        number = sum("injected-parameters" not in own for own in tags)
    return Failure(number, kind, message, screen(trace).strip())


def _show_failure(cell: Any, kind: str, message: str) -> None:
    """Say in the executed notebook what only the job knows: its kernel died, or said nothing."""
    import nbformat

    if not any(output.output_type == "error" for output in cell.setdefault("outputs", [])):
        said = {"ename": kind, "evalue": message, "traceback": [f"{kind}: {message}"]}
        cell.outputs.append(nbformat.v4.new_output("error", **said))  # type: ignore[no-untyped-call]


def failures(outcomes: Iterable[Outcome]) -> list[str]:
    """Return a line for each failed job: notebook, job, cell, exception and message."""
    return [f"notebook {o.notebook} (job {o.name}), {o.error}" for o in outcomes if o.error]

"""One notebook of a batch: run in a kernel of its own, and what became of it."""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from usjp_research.runs import ledger, warm
from usjp_research.runs.kernel import Limits, cause, kernel_class, scratch_folder
from usjp_research.runs.store import Failure, Outcome, write_whole
from usjp_research.runs.terminal import plain, screen
from usjp_research.runs.warm import HOME
from usjp_research.spec.records import SHIPPED, find_root, in_project

MARK = "papermill-error-cell-tag"
UNSTARTED = ("DeadKernelError", "RuntimeError", "ServerLostError")  # as a kernel that never was

# What papermill logs is in the outcomes; a log that the user has set up still gets it.
logging.getLogger("papermill").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Job:
    """One notebook to run, with plain data for some of its parameters."""

    name: str
    notebook: Path
    parameters: Mapping[str, object]
    after: tuple[str, ...] = ()
    timeout: float | None = None  # seconds
    point: str = ""  # of a grid, in words


@dataclass(frozen=True, slots=True)
class Place:
    """Where a batch writes, and how its kernels start; the same on every machine that helps."""

    out: Path
    stop: Path  # where this file appears, kernels end
    cold: bool = False  # no fork server


def run_job(job: Job, place: Place, identity: ledger.Identity | None = None) -> Outcome:
    """Run one job and write what became of its notebook, in the ledger too if it has an identity.

    What this very batch has done already is not done again: a cluster may ask twice.
    """
    if identity is None:
        return _run(job, place)
    if (kept := ledger.done(place.out, job.name, identity)) is not None:
        return kept
    ledger.note(place.out, job.name, "running")
    outcome = _run(job, place)
    ledger.note(place.out, job.name, outcome.status, identity, outcome)
    return outcome


def _run(job: Job, place: Place) -> Outcome:
    import nbformat

    started, clock = datetime.now(UTC), time.perf_counter()
    output: str | None = f"notebooks/{job.name}.ipynb"
    end = _execute(job, place)
    if end.lost:  # through no fault of the notebook: once more, with a fork server of its own
        end = _execute(job, place)
    try:
        origin = {"input_path": job.notebook.name, "output_path": output}
        end.notebook.metadata.setdefault("papermill", {}).update(origin)
        text = nbformat.writes(end.notebook) + "\n"  # type: ignore[no-untyped-call]
        write_whole(place.out / str(output), text.encode("utf-8", "backslashreplace"))
    except Exception as caught:
        output, end = None, end if end.error else End(None, "failed", _failure(caught))
    return Outcome(
        name=job.name,
        notebook=job.notebook.name,
        parameters=dict(job.parameters),
        status=end.status,
        seconds=round(time.perf_counter() - clock, 3),
        output=output,
        error=end.error,
        started=started.isoformat(timespec="seconds"),
    )


@dataclass(frozen=True, slots=True)
class End:
    """A notebook as far as it came, and what stopped it."""

    notebook: Any
    status: Literal["done", "failed", "timed out", "killed"] = "done"
    error: Failure | None = None
    lost: bool = False  # its kernel never started, or its fork server went


def _execute(job: Job, place: Place) -> End:
    """Run a notebook from and to memory."""
    import papermill
    from jupyter_core.utils import ensure_event_loop

    # Given paths, papermill fills in braces, writes bit by bit, and changes every thread's folder.
    root = find_root()
    root = Path.cwd() if root.name == SHIPPED else root  # where there is only a wheel
    said: list[Any] = []  # of cells that failed: which one, and what the kernel replied
    notebooks: list[Any] = []  # as read, then as the run fills it
    error: Exception | None = None
    log = ""
    with scratch_folder() as scratch:
        server = None if place.cold else warm.start()
        server = server if server and server.usable() else None
        limits = Limits(place.stop, time.monotonic() + job.timeout if job.timeout else None)
        try:
            notebooks.append(read_notebook(in_project(job.notebook)))
            papermill.execute_notebook(
                notebooks[0],
                None,
                parameters=dict(job.parameters),
                kernel_name="python3",
                language="python",
                progress_bar=False,
                start_timeout=180,
                iopub_timeout=600,
                kernel_manager_class=kernel_class(scratch, str(root), limits, server),
                on_notebook_start=lambda notebook: notebooks.append(notebook),
                on_cell_error=lambda cell, cell_index, execute_reply: said.append(
                    (cell_index, execute_reply["content"])
                ),
            )
        except Exception as caught:
            if limits.stopped or place.stop.exists():  # nothing is written for a batch that is over
                raise
            error = caught
        finally:
            loop = ensure_event_loop()  # Jupyter made it for this thread and leaves it open
            if not loop.is_running():
                loop.close()
        if (path := scratch / "log").is_file():
            log = path.read_text("utf-8", errors="replace")[-4000:]
    notebook = notebooks[-1] if notebooks else None
    if error is None and not said:  # papermill takes sys.exit(0) for the notebook's end
        return End(notebook)
    failure = _failure(error, notebook.cells if notebook else [], log, limits.exits, said)
    gone = server is not None and server.lost
    return _early_end(notebook, failure, limits, job.timeout, gone)


def _early_end(
    notebook: Any, failure: Failure, limits: Limits, timeout: float | None, gone: bool
) -> End:
    """Say whether a notebook failed, ran out of its time, was killed, or never had a kernel."""
    if limits.passed:
        late = f"timed out after {timeout:g} s and was ended"
        return End(notebook, "timed out", replace(failure, kind="TimeoutError", message=late))
    killed = failure.kind == "DeadKernelError" and any(status < 0 for status in limits.exits)
    lost = failure.kind in UNSTARTED and (failure.cell is None or gone)
    return End(notebook, "killed" if killed else "failed", failure, lost)


def read_notebook(path: Path) -> Any:
    """Read a notebook as it stands on disk."""
    import nbformat

    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


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

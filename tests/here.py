"""Notebooks run in this process: kernels of their own take seconds each to start."""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import click.testing
import nbformat
import pytest
from IPython.core.formatters import DisplayFormatter
from typer.testing import Result

from usjp_research.runs import batch, warm
from usjp_research.runs.job import Job
from usjp_research.runs.store import Outcome
from usjp_research.spec.records import in_project


def refused(result: Result | click.testing.Result, *words: str, alone: bool = False) -> str:
    """Return the one line that says what is wrong, below the stages that were begun at most."""
    assert result.exit_code == 2, (result.stderr, result.exception)
    assert "Traceback" not in result.stderr
    *others, line = result.stderr.splitlines()
    assert line.startswith("usjp: ") and line.isprintable(), result.stderr
    assert not alone or (not others and "Input should" not in line), result.stderr
    assert all(other.startswith(("[", "Results: ")) for other in others), result.stderr
    for word in words:
        assert word in line, line
    return line


def outputs(source: str, scope: dict[str, Any]) -> list[Any]:
    """Run a cell, and return what it shows as a kernel would."""
    new: Any = nbformat.v4
    *body, last = ast.parse(source).body
    value = ast.Expression(last.value) if isinstance(last, ast.Expr) else None
    shown, printed = None, io.StringIO()
    with redirect_stdout(printed):
        exec(compile(ast.Module(body if value else [*body, last], []), "cell", "exec"), scope)
        if value:
            shown = eval(compile(value, "cell", "eval"), scope)
    found = [new.new_output("stream", text=printed.getvalue())] if printed.getvalue() else []
    if shown is not None:
        data, about = DisplayFormatter().format(shown)  # type: ignore[no-untyped-call]
        found.append(new.new_output("execute_result", data, metadata=about, execution_count=1))
    return found


def run_notebook(job: Job) -> Any:
    """Run a notebook on a job's parameters, and return it as executed; any error is raised."""
    notebook: Any = nbformat.read(in_project(job.notebook), as_version=4)  # type: ignore[no-untyped-call]
    scope: dict[str, Any] = {}
    for cell in [cell for cell in notebook.cells if cell.cell_type == "code"]:
        cell.outputs, cell.execution_count = outputs(cell.source, scope), 1
        if "parameters" in cell.metadata.get("tags", []):
            given = "\n".join(f"{name} = {value!r}" for name, value in job.parameters.items())
            about = {"tags": ["injected-parameters"]}
            added: Any = nbformat.v4.new_code_cell(given, metadata=about, execution_count=1)  # type: ignore[no-untyped-call]
            notebook.cells.insert(notebook.cells.index(cell) + 1, added)
            exec(given, scope)
    notebook.metadata["papermill"] = {"parameters": dict(job.parameters)}
    return notebook


def run_here(jobs: Sequence[Job], out: Path, **_: object) -> tuple[Outcome, ...]:
    """Run a batch in its order, as `run_batch` does; any error is raised."""
    (out / "notebooks").mkdir()
    for job in sorted(jobs, key=lambda job: len(job.after)):
        nbformat.write(run_notebook(job), out / "notebooks" / f"{job.name}.ipynb")  # type: ignore[no-untyped-call]
    return tuple(
        Outcome(j.name, j.notebook.name, {**j.parameters}, "done", 0.1, f"notebooks/{j.name}.ipynb")
        for j in jobs
    )


@contextmanager
def without_kernels() -> Iterator[None]:
    """Let ``usjp study`` run its notebooks in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "run_batch", run_here)
        patch.setattr(warm, "start", lambda: None)
        yield

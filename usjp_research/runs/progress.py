"""How far a batch is: a bar with the time left on a terminal, lines in a pipe, or lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

if TYPE_CHECKING:
    from usjp_research.runs.job import Job
    from usjp_research.runs.store import Outcome

Tell = Callable[["Job", "Outcome | None"], None]


@contextmanager
def shown_progress(total: int, console: Console, *, as_json: bool = False) -> Iterator[Tell]:
    """Give what a batch calls when a job starts and when it has ended."""
    numbers = count(1)
    if as_json:
        yield lambda job, outcome: _json(job, outcome, numbers, total)
    elif not console.is_interactive:
        yield lambda job, outcome: _line(job, outcome, numbers, total, console)
    else:
        parts = BarColumn(30), MofNCompleteColumn(), TextColumn("{task.description}")
        with Progress(*parts, console=console, transient=True) as bar:
            task = bar.add_task("", total=total)

            def tell(job: Job, outcome: Outcome | None) -> None:
                at = bar.tasks[task]
                if outcome:
                    bar.advance(task)
                    left = (at.elapsed or 0) * (total / at.completed - 1)
                    bar.update(task, description=f"about {left:.0f} s left")
                if outcome and outcome.error:
                    console.print(f"  {_told(outcome)}", markup=False, soft_wrap=True)

            yield tell


def _line(
    job: Job, outcome: Outcome | None, numbers: Iterator[int], total: int, console: Console
) -> None:
    if outcome:
        console.print(f"  [{next(numbers)}/{total}] {_told(outcome)}", markup=False, soft_wrap=True)


def _told(outcome: Outcome) -> str:
    why = f": {outcome.error}" if outcome.error else ""
    return f"{outcome.name} {outcome.status} in {outcome.seconds:.1f} s{why}"


def _json(job: Job, outcome: Outcome | None, numbers: Iterator[int], total: int) -> None:
    said: dict[str, object] = {"event": "ended" if outcome else "started", "job": job.name}
    if outcome:
        said |= {"status": outcome.status, "seconds": outcome.seconds, "output": outcome.output}
        said |= {"error": str(outcome.error) if outcome.error else None}
        said |= {"ended": next(numbers), "of": total}
    print(json.dumps(said), flush=True)

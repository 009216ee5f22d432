"""The ``usjp batch`` and ``usjp params`` commands: a grid of notebooks, resumed where it stands."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer import Argument, Option

from usjp_research.runs.terminal import columns
from usjp_research.spec.records import expanded
from usjp_research.words import InputError, nearest, shown

if TYPE_CHECKING:
    from usjp_research.runs.job import Job
    from usjp_research.runs.ledger import Identity
    from usjp_research.runs.parameters import Parameter
    from usjp_research.runs.store import Outcome

RESULT = "batch.json"
WAITS = "waits for "
stderr = Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a batch is asked to do: its jobs, and why each one is to run."""

    jobs: tuple[Job, ...]
    identities: Mapping[str, Identity]
    why: Mapping[str, str]  # nothing where a job is done
    chosen: frozenset[str]

    def to_run(self) -> list[Job]:
        """Return the jobs that are to run, as if those before them were no part of it."""
        names = {name for name in self.chosen if self.why[name]}
        return [
            replace(job, after=tuple(name for name in job.after if name in names))
            for job in self.jobs
            if job.name in names
        ]


def batch(
    context: typer.Context,  # its object writes the pages
    runs: Annotated[Path, Argument(metavar="RUNS.yaml", help="The batch: notebooks and grids.")],
    out: Annotated[Path, Option(help="Folder of the batch; what is done there is not run again.")],
    settings: Annotated[
        list[str] | None,
        Option("--set", help="NAME=VALUE for every notebook that has it; may be repeated."),
    ] = None,
    only: Annotated[
        list[str] | None,
        Option(help="Run this job again and no other; * and ? may stand in it; may be repeated."),
    ] = None,
    force: Annotated[bool, Option("--force", help="Run again what is done, too.")] = False,
    listed: Annotated[
        bool, Option("--list", help="Say what is done and what would run, and why; run nothing.")
    ] = False,
    workers: Annotated[
        int | None,
        Option(min=1, help="Notebooks at a time; without it one more than there are processors."),
    ] = None,
    timeout: Annotated[
        float | None, Option(min=0.001, help="Seconds after which a notebook is ended.")
    ] = None,
    cold: Annotated[
        bool, Option("--cold", help="Start each kernel as a new process: slower, same results.")
    ] = False,
    cluster: Annotated[
        str | None, Option(help="Address of a dask scheduler, such as tcp://HOST:8786.")
    ] = None,
    site: Annotated[bool, Option("--site", help="Render the notebooks as pages, too.")] = False,
    numbers: Annotated[
        list[str] | None, Option(help="Number for the table of the pages; may be repeated.")
    ] = None,
    on_end: Annotated[
        str | None, Option(help="Command that gets the result as JSON when the batch ends.")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print events as lines of JSON.")] = False,
) -> None:
    """Run a grid of notebooks, and go on where an earlier run of it stopped."""
    from usjp_research.runs import warm
    from usjp_research.runs.folder import locked

    folder = _here(out)
    command = _command(on_end)
    if numbers and not site:
        raise InputError("--numbers: they stand on the pages; give --site, too")
    if not (listed or cold or cluster):
        warm.start()  # imports what kernels need while the batch is checked
        context.call_on_close(warm.stop)
    jobs = _jobs(_here(runs), folder, settings or [], timeout)
    _check_folder(folder)
    plan = _plan(jobs, folder, only or [], force)
    if listed:
        _print_plan(plan, folder)
        return
    with locked(folder):
        plan = _plan(jobs, folder, only or [], force)  # as it stands now that no other can write
        outcomes = _run(plan, folder, workers, cold, cluster, as_json)
        content = _write_result(folder, plan, outcomes)
        refused = False
        try:
            if site:
                stderr.print(f"Pages: {context.obj(folder, jobs, numbers or [])}", soft_wrap=True)
        except (InputError, OSError) as error:  # how the jobs ended is told all the same
            print(f"usjp: {error}", file=sys.stderr)
            refused = True
    _tell_end(command, content)
    more = [word for setting in settings or () for word in ("--set", setting)]
    more += ["--site", *(word for name in numbers or () for word in ("--numbers", name))] * site
    _end(outcomes, plan, runs, out, more)
    if refused:
        raise typer.Exit(2)


# --- what it is to do ------------------------------------------------------------------------


def _jobs(path: Path, folder: Path, settings: Sequence[str], timeout: float | None) -> list[Job]:
    """Read the batch, expand it and check all of it."""
    from usjp_research.runs.batch import check_jobs, parameters_of
    from usjp_research.runs.ours import sectors_of, settled
    from usjp_research.runs.plan import make_jobs, read_runs
    from usjp_research.spec.files import plain_yaml

    entries = read_runs(path)
    shared: dict[str, object] = {}
    for word in settings:
        name, equals, text = word.partition("=")
        if not (name and equals):
            raise InputError(f"--set: seen '{word}', expected NAME=VALUE such as market=simulated")
        if name in shared:
            raise InputError(f"--set {name}: seen twice, expected once; keep one")
        shared[name] = plain_yaml(f"--set {name}", text, typed=True)
    taken: set[str] = set()
    places: dict[str, str] = {}
    jobs = []
    made = make_jobs(entries, lambda own: sectors_of({**own, **shared}), {}, {}, path.parent)
    known = {notebook: parameters_of(notebook) for notebook in {job.notebook for job in made}}
    for job in made:
        given = {name: value for name, value in shared.items() if name in known[job.notebook]}
        taken |= {*given}
        own = {**job.parameters, **given}
        if "out" in {*known[job.notebook]} - {*own}:  # results of one study stand in one folder
            own["out"] = str(folder / "runs" / _results(job.point, own, places))
        jobs.append(replace(job, parameters=own, timeout=job.timeout or timeout))
    for name in shared:
        if name not in taken:
            raise InputError(f"--set: no notebook of {path} has a parameter '{name}'; leave it out")
    check_jobs(jobs)
    return [settled(job, known[job.notebook]) for job in jobs]


def _results(point: str, parameters: Mapping[str, object], places: dict[str, str]) -> str:
    """Return the folder for results by these parameters, but for the sector; note whose it is."""
    from usjp_research.runs.plan import named, text_of

    study = text_of({k: parameters[k] for k in sorted(parameters) if k != "sector"})
    name = named(point) or "results"
    if places.setdefault(name, study) != study:
        name = named(f"{name} {study}")
        places[name] = study
    return name


def _plan(jobs: Sequence[Job], folder: Path, only: Sequence[str], force: bool) -> Plan:
    """Say of each job whether it is to run, and why."""
    from usjp_research.runs import ledger

    found = ledger.identities(jobs, folder)
    names = [job.name for job in jobs]
    for pattern in only:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InputError(f"--only: no job '{pattern}': {nearest(pattern, names)}")
    asked = "asked for by --only" if only else "asked for by --force" if force else ""
    chosen = frozenset(n for n in names if not only or any(fnmatchcase(n, p) for p in only))
    after = {job.name: job.after for job in jobs}
    why: dict[str, str] = {}
    for name in found:  # those that others wait for first
        before = next(
            (f"{WAITS}{other}, which is to run" for other in after[name] if why[other]), ""
        )
        entry = ledger.read(folder, name)
        why[name] = (
            (asked if name in chosen else "") or ledger.why(folder, entry, found[name]) or before
        )
    return Plan(tuple(jobs), found, why, chosen)


def _check_folder(folder: Path) -> None:
    """Refuse a folder that holds what is no batch."""
    from usjp_research.runs.ledger import FOLDER

    if folder.is_dir() and not (folder / FOLDER).is_dir():
        strange = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
        if strange:
            raise InputError(
                f"{folder}: holds what is no batch ({', '.join(strange[:3])}); give an empty or a "
                "new folder with --out"
            )
    elif folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give an empty or a new folder with --out")


def _jobs_of(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _print_plan(plan: Plan, folder: Path) -> None:
    """Print what is done and what would run, and why."""
    from usjp_research.runs.ledger import FOLDER

    rows = [
        [job.name, *(("done", "") if not plan.why[job.name] else ("to run", plan.why[job.name]))]
        for job in plan.jobs
        if job.name in plan.chosen
    ]
    for line in columns(rows, "wlw"):
        print(line)
    run = len(plan.to_run())
    print(f"{_jobs_of(len(rows))}: {len(rows) - run} done, {run} to run.")
    kept = {path.stem for path in (folder / FOLDER).glob("*.json")}
    if old := sorted(kept - {job.name for job in plan.jobs}):
        print(f"{len(old)} more in {folder} that this batch no longer asks for: {old[0]}, ...")


# --- running ---------------------------------------------------------------------------------


def _run(
    plan: Plan, folder: Path, workers: int | None, cold: bool, address: str | None, as_json: bool
) -> tuple[Outcome, ...]:
    """Run what is to run, here or on a cluster."""
    from usjp_research.runs import ledger
    from usjp_research.runs.batch import run_batch
    from usjp_research.runs.cluster import cluster
    from usjp_research.runs.progress import shown_progress
    from usjp_research.runs.store import clear_halves, prepare_folder

    clear_halves(folder, folder / "notebooks", folder / ledger.FOLDER)
    jobs = plan.to_run()
    done = sum(not plan.why[name] for name in plan.chosen)
    stderr.print(f"{_jobs_of(len(plan.chosen))}: {done} done, {len(jobs)} to run", soft_wrap=True)
    if not jobs:
        return ()
    prepare_folder(folder / ledger.FOLDER)
    here: Any = nullcontext((None, workers))
    with (
        cluster(address, jobs, folder, plan.identities) if address else here as (executor, places),
        _resumable(plan, folder),
        shown_progress(len(jobs), stderr, as_json=as_json) as tell,
    ):
        for name, why in plan.why.items():
            if (why and name in plan.chosen) or why.startswith(WAITS):  # the rest keep their record
                ledger.note(folder, name, "queued")
        return run_batch(
            jobs,
            folder,
            workers=places,
            tell=tell,
            cold=cold,
            executor=executor,
            ledger=plan.identities,
        )


@contextmanager
def _resumable(plan: Plan, folder: Path) -> Iterator[None]:
    """Say how to go on when a batch ends early."""
    from usjp_research.runs import ledger

    try:
        yield
    except BaseException:
        ended = sum(
            bool((e := ledger.read(folder, job.name)) and e.outcome) for job in plan.to_run()
        )
        # What was forced and has not run is queued: forced again, all of it would run twice.
        again = shlex.join(["usjp", *(word for word in sys.argv[1:] if word != "--force")])
        told = f"usjp: ended early; {ended} of {len(plan.to_run())} jobs have ended and are kept."
        print(f"{told} To go on: {again}", file=sys.stderr)
        raise


def _write_result(folder: Path, plan: Plan, outcomes: Sequence[Outcome]) -> bytes:
    """Write how all jobs of the batch stand, and return it."""
    from usjp_research.runs import ledger
    from usjp_research.runs.store import json_bytes, write_whole

    entries = {job.name: ledger.read(folder, job.name) for job in plan.jobs}
    rows = [
        asdict(entry.outcome) if entry and entry.outcome else {"name": name, "status": "queued"}
        for name, entry in entries.items()
    ]
    statuses = [str(row["status"]) for row in rows]
    content = json_bytes(
        {
            "schema": 1,
            "out": folder.name,
            "counts": {status: statuses.count(status) for status in sorted({*statuses})},
            "ran": [outcome.name for outcome in outcomes],
            "jobs": rows,
        }
    )
    write_whole(folder / RESULT, content)
    return content


# --- its end ---------------------------------------------------------------------------------


def _command(text: str | None) -> list[str]:
    """Split a command into words; one that is not there is refused before anything runs."""
    if text is None:
        return []
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"--on-end: seen {text!r}, which is no command ({error})") from None
    if not words or not shutil.which(words[0]):
        raise InputError(f"--on-end: no program '{words[0] if words else ''}'; give its path")
    return words


def _tell_end(command: Sequence[str], content: bytes) -> None:
    """Hand the result to the user's command, and say when it fails: the batch has not."""
    if command:
        code = subprocess.run(command, input=content, stdout=2, check=False).returncode
        if code:
            print(f"usjp: --on-end: {command[0]} ended with exit code {code}", file=sys.stderr)


def _end(
    outcomes: Sequence[Outcome], plan: Plan, runs: Path, out: Path, more: Sequence[str]
) -> None:
    """Say which jobs failed, why, and what runs that one alone; end so where one did."""
    again = ["usjp", "batch", str(runs), "--out", str(out), *more]
    failed = [outcome for outcome in outcomes if outcome.status != "done"]
    for outcome in failed:
        told = f"notebook {outcome.notebook} (job {outcome.name}) {outcome.status}, {outcome.error}"
        print(f"usjp: {shown(told)}", file=sys.stderr)
        print(f"      again: {shlex.join([*again, '--only', outcome.name])}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)
    many = len(plan.chosen)
    told = f"All {many} jobs are" if many > 1 else "The job is"
    stderr.print(f"{told} done: {out}", soft_wrap=True)


def _here(path: Path) -> Path:
    return expanded(path).absolute()


# --- usjp params -----------------------------------------------------------------------------


def params(
    notebook: Annotated[str, Argument(help="A notebook's name or path.")],
    as_json: Annotated[bool, Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """Say what a notebook may be given: names, types, defaults and what each one is."""
    from usjp_research.runs.batch import parameters_of
    from usjp_research.runs.plan import find_notebook

    known = parameters_of(find_notebook(notebook, Path.cwd(), "usjp params"))
    if as_json:
        rows = [
            {"name": name, "type": one.words, "default": _default(one), "help": one.help}
            for name, one in known.items()
        ]
        print(json.dumps(rows, indent=1))
        return
    cells = [[name, one.words, f"{_default(one)!r}", one.help] for name, one in known.items()]
    for line in columns([["Name", "Type", "Default", "What it is"], *cells], "llww"):
        print(line)


def _default(one: Parameter) -> object:
    """Return a default as JSON has it; what JSON cannot say is written as Python does."""
    try:
        return (
            "computed"
            if one.default is ...
            else json.loads(json.dumps(one.default, allow_nan=False))
        )
    except (TypeError, ValueError):
        return repr(one.default)

"""The ledger of a batch: what each job was made of and how it ended, a file for every job."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter

from usjp_research import __version__
from usjp_research.runs.store import Outcome, json_bytes, write_whole
from usjp_research.runs.warm import HOME
from usjp_research.spec.records import home, in_project, sha_of
from usjp_research.words import InputError

if TYPE_CHECKING:
    from usjp_research.runs.job import Job

FOLDER = "ledger"
Status = Literal["queued", "running", "done", "failed", "timed out", "killed"]


@dataclass(frozen=True, slots=True)
class Identity:
    """What a result follows from: equal identities give equal results."""

    notebook: str  # its cells
    parameters: str
    data: str  # files and folders that parameters name
    package: str
    libraries: str
    before: str  # the jobs it waits for

    def changed(self, other: Identity) -> str:
        """Name what differs from another identity."""
        names = {name: name for name in self.__slots__}
        names["before"] = "a job it waits for"
        return ", ".join(n for k, n in names.items() if getattr(self, k) != getattr(other, k))


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger holds of one job."""

    status: Status
    identity: Identity | None = None
    outcome: Outcome | None = None
    output: str = ""  # SHA-256 of the executed notebook
    by: str = ""  # which process, on which machine


ENTRY = TypeAdapter(Entry)


# --- what a job is made of -------------------------------------------------------------------


def identities(jobs: Iterable[Job], out: Path) -> dict[str, Identity]:
    """Return the identity of each job; what stands in the batch's own folder is no data."""
    found: dict[str, Identity] = {}
    known = {job.name: job for job in jobs}
    cells = {path: _cells(path) for path in {job.notebook for job in known.values()}}
    for name in TopologicalSorter({job.name: job.after for job in known.values()}).static_order():
        job = known[name]
        before = [_sha(asdict(found[other])) for other in sorted(job.after)]
        found[job.name] = Identity(
            notebook=cells[job.notebook],
            parameters=_sha(job.parameters),
            data=_sha({name: _data(value, out) for name, value in job.parameters.items()}),
            package=_package(),
            libraries=_libraries(),
            before=_sha(before),
        )
    return found


def _sha(content: object) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _cells(notebook: Path) -> str:
    """Digest what a notebook does; its outputs and how it was looked at do not count."""
    content = json.loads(in_project(notebook).read_text(encoding="utf-8"))
    return _sha(
        [
            [c.get("cell_type"), "".join(c.get("source", "")), c.get("metadata", {}).get("tags")]
            for c in content.get("cells", ())
        ]
    )


def _data(value: object, out: Path) -> str:
    """Digest the file or folder that a value names, as ``PATH`` or ``KIND:PATH``."""
    for text in (value, value.partition(":")[2]) if isinstance(value, str) else ():
        path = _there(text)
        if path and not path.absolute().is_relative_to(out.absolute()):
            stat = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in _files(path)]
            return _content(tuple(stat))
    return ""


def _there(text: str) -> Path | None:
    with suppress(InputError, OSError, ValueError):  # what can be no file's name
        path = in_project(Path(text))
        return path if text and (path.is_file() or path.is_dir()) else None
    return None


def _files(path: Path) -> list[Path]:
    """List what counts of a file or a folder: a folder's own files, none further down."""
    return sorted(p for p in ([path] if path.is_file() else path.iterdir()) if p.is_file())


@cache
def _content(stat: tuple[tuple[str, int, int], ...]) -> str:
    return _sha([[Path(name).name, sha_of(Path(name))] for name, *_ in stat])


@cache
def _package() -> str:
    """Digest this package: its modules with their tables and words, and the data that it ships."""
    modules = (HOME / "usjp_research").rglob("*.*")
    files = [path for path in modules if path.suffix in (".py", ".csv", ".yaml")]
    files += (home() / "data" / "bundled").glob("*")
    kept = sorted(path for path in files if path.is_file())
    return _sha([__version__, *([path.name, sha_of(path)] for path in kept)])


@cache
def _libraries() -> str:
    """Digest the versions of all that is installed: the lock file says what should be."""
    return _sha(sorted(f"{d.name}=={d.version}" for d in distributions()))


# --- on disk ---------------------------------------------------------------------------------


def note(
    out: Path,
    name: str,
    status: Status,
    identity: Identity | None = None,
    outcome: Outcome | None = None,
) -> None:
    """Write down where a job stands."""
    output = sha_of(out / outcome.output) if outcome and outcome.output else ""
    by = f"process {os.getpid()} on {platform.node()}"
    content = json_bytes(asdict(Entry(status, identity, outcome, output, by)))
    write_whole(out / FOLDER / f"{name}.json", content)


def read(out: Path, name: str) -> Entry | None:
    """Read where a job stands; a file that no batch has written counts as none."""
    try:
        return ENTRY.validate_python(json.loads((out / FOLDER / f"{name}.json").read_bytes()))
    except (OSError, ValueError):
        return None


def done(out: Path, name: str, identity: Identity) -> Outcome | None:
    """Return the outcome of a job that was done with this identity and is still whole."""
    entry = read(out, name)
    return entry.outcome if entry and not why(out, entry, identity) else None


def why(out: Path, entry: Entry | None, identity: Identity) -> str:
    """Say why a job is to run; nothing where it is done."""
    if entry is None:
        return "never ran"
    if entry.status in ("queued", "running"):
        return f"was {entry.status} when a batch ended"
    if entry.status != "done" or not entry.outcome or not entry.identity:
        return f"{entry.status} before"
    if changed := entry.identity.changed(identity):
        return f"changed: {changed}"
    path = out / str(entry.outcome.output)
    if not path.is_file():
        return "its notebook is gone"
    return "" if sha_of(path) == entry.output else "its notebook was changed"

"""The batch as data: which notebooks a study runs, read from ``batch.yaml`` of its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from usjp_research.runs.batch import Job
from usjp_research.spec.files import read_entries
from usjp_research.spec.records import find_root, home
from usjp_research.words import InputError, nearest

ALL = "all"
OPTIONS = {"factors": ("factors", "factor_units"), "donors": ("donors",)}  # and their parameters


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Entry(BaseModel):
    """One line of ``batch.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    notebook: str
    each: Literal["sector"] | None = None
    options: tuple[Literal["factors", "donors"], ...] = Field((), alias="with")
    after: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    front: bool = False


def read_batch(params: Path) -> tuple[Entry, ...]:
    """Read ``batch.yaml`` of a folder of parameters, or the one that ships with the package."""
    path = params / "batch.yaml"
    path = path if path.exists() else home() / "params" / "batch.yaml"
    entries = read_entries(path, Entry)
    names = [entry.notebook for entry in entries]
    for k, entry in enumerate(entries):
        where = f"{path}: entry {k + 1}"
        if not _notebook(entry.notebook).is_file():
            there = sorted(p.stem for f in _folders() for p in f.glob("*.ipynb"))
            hint = nearest(entry.notebook, dict.fromkeys(there))
            raise InputError(f"{where}: unknown notebook '{entry.notebook}': {hint}")
        if entry.notebook in names[:k]:
            raise InputError(f"{where}: notebook '{entry.notebook}' stands there twice; keep one")
        for name in entry.after:
            if name not in (ALL, *names):
                hint = nearest(name, (ALL, *names))
                raise InputError(f"{where}: key 'after': unknown notebook '{name}': {hint}")
        if entry.front and (entry.each or any(other.front for other in entries[:k])):
            raise InputError(f"{where}: key 'front': one page can be the first; set it once")
    return entries


def front_page(entries: Sequence[Entry]) -> str | None:
    """Return the job whose page is the first one."""
    return next((entry.notebook for entry in entries if entry.front), None)


def make_jobs(
    entries: Sequence[Entry],
    sectors: Sequence[str],
    shared: Mapping[str, str],
    options: Mapping[str, str],
) -> list[Job]:
    """Turn a batch into jobs: ``shared`` goes to every notebook, ``options`` where asked for."""
    each = {e.notebook: [f"-{key}" for key in sectors] if e.each else [""] for e in entries}
    names = {notebook: [f"{notebook}{end}" for end in ends] for notebook, ends in each.items()}
    jobs = []
    for entry in entries:
        given = {key: options[key] for name in entry.options for key in OPTIONS[name]}
        waits = [e.notebook for e in entries if ALL not in e.after] if ALL in entry.after else []
        waits = [*waits, *(name for name in entry.after if name != ALL)]
        after = tuple(dict.fromkeys(job for notebook in waits for job in names[notebook]))
        for name, end in zip(names[entry.notebook], each[entry.notebook], strict=True):
            own = {"sector": end.removeprefix("-")} if entry.each else {}
            jobs.append(Job(name, _notebook(entry.notebook), {**shared, **own, **given}, after))
    return jobs


def _folders() -> list[Path]:
    """List where notebooks lie: the project's, then those that ship with the package."""
    return [root / "notebooks" for root in dict.fromkeys((find_root(), home()))]


def _notebook(name: str) -> Path:
    found = (path for folder in _folders() for path in folder.glob("*.ipynb") if path.stem == name)
    return next(found, _folders()[0] / f"{name}.ipynb")

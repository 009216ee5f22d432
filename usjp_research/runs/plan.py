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
OPTIONS = {  # and their parameters
    "factors": ("factors", "factor_units"),
    "donors": ("donors",),
    "openings": ("openings",),
}


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Entry(BaseModel):
    """One line of ``batch.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    notebook: str
    each: Literal["sector"] | None = None
    options: tuple[Literal["factors", "donors", "openings"], ...] = Field((), alias="with")
    after: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    front: bool = False


METHOD = Entry.model_validate(
    {"notebook": "6_method", "with": ["factors", "donors"], "after": [ALL]}
)


def read_batch(params: Path, *, method: bool = False) -> tuple[Entry, ...]:
    """Read ``batch.yaml`` of a folder of parameters, or the one that ships with the package.

    With ``method`` the notebook that tries the rules themselves comes last, if it is not there.
    """
    path = params / "batch.yaml"
    path = path if path.exists() else home() / "params" / "batch.yaml"
    entries = read_entries(path, Entry)
    names = [entry.notebook for entry in entries]
    there = _notebooks()
    for k, entry in enumerate(entries):
        where = f"{path}: entry {k + 1}"
        if entry.notebook not in there:
            hint = nearest(entry.notebook, there)
            raise InputError(f"{where}: unknown notebook '{entry.notebook}': {hint}")
        if entry.notebook in names[:k]:
            raise InputError(f"{where}: notebook '{entry.notebook}' stands there twice; keep one")
        for name in entry.after:
            if name not in (ALL, *names):
                hint = nearest(name, (ALL, *names))
                raise InputError(f"{where}: key 'after': unknown notebook '{name}': {hint}")
        if entry.front and (entry.each or any(other.front for other in entries[:k])):
            raise InputError(f"{where}: key 'front': one page can be the first; set it once")
    return (*entries, METHOD) if method and METHOD.notebook not in names else entries


def front_page(entries: Sequence[Entry]) -> str | None:
    """Return the job whose page is the first one."""
    return next((entry.notebook for entry in entries if entry.front), None)


def make_jobs(
    entries: Sequence[Entry],
    sectors: Sequence[str],
    shared: Mapping[str, object],
    options: Mapping[str, str],
) -> list[Job]:
    """Turn a batch into jobs: ``shared`` goes to every notebook, ``options`` where asked for."""
    own: dict[str, dict[str, dict[str, str]]] = {ALL: {}}  # parameters by notebook and job
    for entry in entries:
        each = {f"{entry.notebook}-{key}": {"sector": key} for key in sectors}
        own[entry.notebook] = each if entry.each else {entry.notebook: {}}
        own[ALL] |= own[entry.notebook] if ALL not in entry.after else {}
    jobs, there = [], _notebooks()
    for entry in entries:
        given = {key: options[key] for name in entry.options for key in OPTIONS[name]}
        after = tuple(dict.fromkeys(job for name in entry.after for job in own[name]))
        for name, more in own[entry.notebook].items():
            jobs.append(Job(name, there[entry.notebook], {**shared, **more, **given}, after))
    return jobs


def _notebooks() -> dict[str, Path]:
    """Return notebooks by name: the project's, then those that ship with the package."""
    folders = [root / "notebooks" for root in (home(), find_root())]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.ipynb"))}

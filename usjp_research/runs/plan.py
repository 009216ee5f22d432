"""The batch as data: which notebooks run, on which points of a grid, read from a YAML file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from usjp_research.runs.job import Job
from usjp_research.spec.files import read_entries
from usjp_research.spec.records import find_root, home
from usjp_research.words import InputError, nearest

ALL = "all"
MOST = 10_000  # jobs of a batch
LONG = 100  # bytes of a job's name
OPTIONS = {  # and their parameters
    "factors": ("factors", "factor_units"),
    "donors": ("donors",),
    "openings": ("openings",),
}


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _axis(values: object) -> list[tuple[str, Any]]:
    """Return the values of one parameter, each with its words."""
    if isinstance(values, Mapping) and not {*values} & {"from", "to", "step"}:
        return [(str(words), value) for words, value in values.items()]
    given = _range(values) if isinstance(values, Mapping) else values
    if not isinstance(given, list):
        raise ValueError("a list of values, {from: 1, to: 9}, or {word: value}")
    return [(text_of(value), value) for value in given]


def _range(ends: Mapping[str, Any]) -> list[int | float]:
    """Return numbers from one to another, both included."""
    first, last, step = found = [ends.get("from"), ends.get("to"), ends.get("step", 1)]
    numbers = all(type(n) in (int, float) and abs(n) < 1e15 for n in found)
    if {*ends} - {"from", "to", "step"} or not numbers or step <= 0:
        raise ValueError("numbers, as {from: 1, to: 9, step: 2}, the step above 0")
    count = int(min((last - first) / step + 1e-9, MOST)) + 1 if last >= first else 0
    return [round(first + k * step, 12) for k in range(count)]


class Entry(BaseModel):
    """One line of a batch's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    notebook: str
    name: str = ""  # of its jobs, where it is not the notebook's
    each: Literal["sector"] | None = None
    options: tuple[Literal["factors", "donors", "openings"], ...] = Field((), alias="with")
    parameters: dict[str, Any] = {}
    grid: dict[str, Annotated[list[tuple[str, Any]], BeforeValidator(_axis)]] = {}
    after: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    front: bool = False

    def points(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give each point of the grid: its words for a job's name, and its parameters."""
        axes = [[(name, *pair) for pair in values] for name, values in self.grid.items()]
        for point in product(*axes):
            label = "".join(f"-{name}={words}" for name, words, _ in point)
            yield label, {name: value for name, _, value in point}


def text_of(value: object) -> str:
    """Write a value in words, for a name."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


METHOD = Entry.model_validate(
    {"notebook": "6_method", "with": ["factors", "donors"], "after": [ALL]}
)


# --- the batch of a study --------------------------------------------------------------------


def read_batch(params: Path, *, method: bool = False) -> tuple[Entry, ...]:
    """Read ``batch.yaml`` of a folder of parameters, or the one that ships with the package.

    With ``method`` the notebook that tries the rules themselves comes last, if it is not there.
    """
    path = params / "batch.yaml"
    path = path if path.exists() else home() / "params" / "batch.yaml"
    entries = read_runs(path)
    there = [entry.notebook for entry in entries]
    return (*entries, METHOD) if method and METHOD.notebook not in there else entries


def front_page(entries: Sequence[Entry]) -> str | None:
    """Return the job whose page is the first one."""
    return next((entry.name or entry.notebook for entry in entries if entry.front), None)


# --- any batch -------------------------------------------------------------------------------


def read_runs(path: Path) -> tuple[Entry, ...]:
    """Read a batch from a YAML file: a list of notebooks, each with its parameters and grid.

    Raises
    ------
    InputError
        One line with file, entry, key, what was seen and what was expected.
    """
    entries = read_entries(path, Entry)
    names = [entry.name or entry.notebook for entry in entries]
    for k, entry in enumerate(entries):
        where = f"{path}: entry {k + 1}"
        find_notebook(entry.notebook, path.parent, where)
        if names[k] in names[:k]:
            raise InputError(
                f"{where}: notebook '{names[k]}' stands there twice; keep one, or give each its "
                "own 'name'"
            )
        for name in entry.after:
            if name not in (ALL, *names):
                hint = nearest(name, (ALL, *names))
                raise InputError(f"{where}: key 'after': unknown notebook '{name}': {hint}")
        if entry.front and (entry.each or entry.grid or any(e.front for e in entries[:k])):
            raise InputError(f"{where}: key 'front': one page can be the first; set it once")
        for name, values in entry.grid.items():
            if name in entry.parameters or (name == "sector" and entry.each):
                raise InputError(f"{where}: parameter '{name}' stands there twice; keep one")
            if not values:
                raise InputError(f"{where}: key 'grid.{name}': seen no value, expected one or more")
    return entries


def make_jobs(
    entries: Sequence[Entry],
    sectors: Sequence[str] | Callable[[Mapping[str, object]], Sequence[str]],
    shared: Mapping[str, object],
    options: Mapping[str, str],
    folder: Path | None = None,
) -> list[Job]:
    """Turn a batch into jobs, one for every point of its grids and every sector.

    Parameters
    ----------
    entries : sequence of Entry
    sectors : sequence of str, or callable
        Keys for ``each: sector``; a callable finds them from a job's parameters.
    shared : mapping
        Parameters that every notebook is given.
    options : mapping
        Parameters of options, handed on to the entries that ask for them.
    folder : Path, optional
        Where notebooks given as paths are.

    Raises
    ------
    InputError
        When the grids make more than ten thousand jobs.
    """
    own: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}  # name, point, parameters by entry
    for entry in entries:
        base = entry.name or entry.notebook.rpartition("/")[2].removesuffix(".ipynb")
        points = own[entry.name or entry.notebook] = []
        for label, point in entry.points():
            given = {**shared, **entry.parameters, **point}
            each: list[tuple[str, dict[str, Any]]] = [("", {})]
            if entry.each:
                keys = sectors(given) if callable(sectors) else sectors
                each = [(f"-{key}", {"sector": key}) for key in keys]
            points += [(named(base + key + label), label[1:], given | more) for key, more in each]
            if sum(map(len, own.values())) > MOST:
                raise InputError(f"{entry.notebook}: its grid makes more than {MOST:,} jobs")
    jobs = []
    for entry in entries:
        more = {key: options[key] for name in entry.options for key in OPTIONS[name]}
        others = [n for n, e in zip(own, entries, strict=True) if ALL not in e.after]
        waits = [n for name in entry.after for n in (others if name == ALL else [name])]
        after = tuple(dict.fromkeys(job for name in waits for job, *_ in own[name]))
        path = find_notebook(entry.notebook, folder, entry.notebook)
        for name, label, given in own[entry.name or entry.notebook]:
            jobs.append(Job(name, path, given | more, after, entry.timeout, label))
    return jobs


def named(text: str) -> str:
    """Return a readable name for a job's files, whatever its parameters hold."""
    name = re.sub(r"[^\w=.,+-]+", "_", text).strip("_.")
    short = name.encode()[:LONG].decode("utf-8", "ignore")
    if short == text:
        return name
    return f"{short}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:6]}"


def find_notebook(notebook: str, folder: Path | None, where: str) -> Path:
    """Return a notebook by its name, or by its path from the folder of the batch's file."""
    there = notebooks()
    if notebook in there:
        return there[notebook]
    path = (folder or Path()) / notebook
    if notebook.endswith(".ipynb") and path.is_file():
        return path.absolute()
    raise InputError(f"{where}: unknown notebook '{notebook}': {nearest(notebook, there)}")


def notebooks() -> dict[str, Path]:
    """Return notebooks by name: the project's, then those that ship with the package."""
    folders = [root / "notebooks" for root in (home(), find_root())]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.ipynb"))}

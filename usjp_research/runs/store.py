"""A run's files on disk: one writer, one reader, each file whole or not at all."""

from __future__ import annotations

import csv
import json
import platform
import re
import secrets
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from usjp_research import __version__
from usjp_research.runs.warm import HOME
from usjp_research.spec.read import read_words
from usjp_research.spec.records import in_project, sha_of
from usjp_research.words import InputError, each_text, scrub, shown

if TYPE_CHECKING:
    import pandas as pd

NUMBERS = Path(__file__).parents[1] / "report" / "numbers.csv"
AGAIN = "run the study again"
SCHEMA = 1  # of run.json and verdicts.json: CHANGELOG.md says when it changes
RISKY = r"[=+\-@＝＋－＠\n]"  # a spreadsheet may take a text that begins so for a formula
KEPT = ("results", "figures", "notebooks", "params")  # what the manifest lists; pages are made
ENCODED = ("image/png", "image/jpeg")  # keys of pictures, which are no text
LIBRARIES = ("numpy", "pandas", "scipy", "statsmodels", "papermill", "nbconvert")
# The files that verdicts.json stands for.
TABLES = ("reactions", "variants", "timing", "calendar", "claims", "dropped")
STUDY = [*(f"{name}.csv" for name in TABLES), "reading.json"]


# --- writing ---------------------------------------------------------------------------------


def prepare_folder(out: Path) -> Path:
    """Make sure that a folder can be written to, or refuse it before anything is computed."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error.strerror or error}); give another folder with --out"
        ) from None
    return out


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and put it in place when it is whole."""
    write_all(path.parent, {path.name: content})


def write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files under temporary names and put them in place when all of them are whole."""
    made = {folder / f".{name[:80]}-{secrets.token_hex(6)}": name for name in files}
    try:
        for temporary, name in made.items():
            temporary.write_bytes(files[name])  # with the mode that the user's umask gives
        for temporary, name in made.items():
            temporary.replace(folder / name)
    except BaseException:
        for temporary in made:
            temporary.unlink(missing_ok=True)
        raise


def clear_halves(*folders: Path) -> None:
    """Remove what `write_all` has left where its process was killed."""
    for folder in folders:
        for path in folder.glob(f".*-{'[0-9a-f]' * 12}"):
            path.unlink(missing_ok=True)


def json_bytes(content: object) -> bytes:
    """Encode as strict JSON; half of a surrogate pair, which has no bytes, becomes its escape."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace")


def csv_bytes(frame: pd.DataFrame, **how: Any) -> bytes:
    """Encode as CSV in which no text is a formula to a spreadsheet: `read_csv` reads it back."""
    safe = frame.map(lambda value: _quoted(value) if isinstance(value, str) else value)
    text = safe.to_csv(index=False, lineterminator="\n", **how)
    return str(text).encode("utf-8", "backslashreplace")


def clean(value: Any) -> Any:
    """Take colour codes, places and control characters out of every text of a structure."""
    return each_text(shown, scrub(value))


def hidden(value: Any, names: Mapping[str, str]) -> Any:
    """Write names in place of paths in every text of a structure."""
    if not names:
        return value
    pattern = re.compile(
        rf"(?:(?<![\w.~/-])|(?<=file://))(?:{'|'.join(map(re.escape, names))})(?![\w-])"
    )
    return each_text(lambda text: pattern.sub(lambda found: names[found[0]], text), value, ENCODED)


def _quoted(text: str) -> str:
    text = shown(text)
    return f"'{text}" if re.match(f"'*{RISKY}", text) else text


def _unquoted(text: str) -> str:
    return text[1:] if re.match(f"'+{RISKY}", text) else text


def own_results(out: str | Path, spec: str, snapshot: str) -> Path:
    """Return the folder for results of one study, by its digests; those of another one go."""
    run = in_project(Path(out))
    if (run / "run.json").exists():
        raise InputError(f"{run}: a finished run does not change; give another folder as 'out'")
    folder = run / "results"
    folder.mkdir(parents=True, exist_ok=True)
    stale: list[Path] = []
    for path in folder.glob("*.json"):
        with suppress(OSError, InputError):  # what cannot be read is no record
            content = plain_json(path)
            if unlike(content, {"spec": spec, "snapshot": snapshot}):
                frames = [f"{path.stem}-{key}.parquet" for key in content.get("frames") or ()]
                others = STUDY if path.name == "verdicts.json" else frames
                stale += [path, *(folder / name for name in others)]
    pictures = [*(run / "figures").glob("*.svg"), *(run / "figures").glob("*.txt")]
    for path in [*stale, *pictures] if stale else ():
        path.unlink(missing_ok=True)
    return folder


def unlike(
    held: Mapping[str, Any], facts: Mapping[str, Any], keys: Sequence[str] = ("spec", "snapshot")
) -> list[str]:
    """List the keys by which what is held is of another study than these facts."""
    return [key for key in keys if key in held and held[key] != facts[key]]


# --- reading ---------------------------------------------------------------------------------


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Say in one line that what is on disk is not what a run has written."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # any, as a file may hold anything
        if isinstance(error, OSError) and error.errno:  # the disk's fault and not the file's
            raise
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"[:120]
        raise InputError(f"{path}: damaged, or of another version ({why}); {AGAIN}") from error


def plain_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, with places and control characters out of its texts."""
    with damage_named(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise InputError(f"{path}: seen no JSON object, expected one; {AGAIN}")
        return dict(clean(content))


def read_verdicts(path: Path) -> dict[str, Any]:
    """Read ``verdicts.json``; one that another version has written is refused."""
    content = plain_json(path)
    if (seen := content.get("schema")) != SCHEMA:
        raise InputError(f"{path}: seen schema {seen!r}, expected {SCHEMA}; {AGAIN}")
    return content


# --- the manifest -----------------------------------------------------------------------------


Word = Annotated[str, Field(min_length=1)]
Instant = Annotated[str, AfterValidator(datetime.fromisoformat)]


@dataclass(frozen=True, slots=True)
class Failure:
    """What stopped a job: a cell of the notebook as it was before the run, from 1, or none."""

    cell: int | None = None
    kind: str = ""  # of the exception; DeadKernelError when the kernel's process ended
    message: str = ""  # one line
    traceback: str = ""  # without colour codes and places on this machine

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{f'cell {self.cell}: ' if self.cell else ''}{self.kind}: {self.message}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: ``notebook`` is a file name, ``started`` an instant in UTC."""

    name: Word
    notebook: Word
    parameters: Mapping[str, object]
    status: Literal["done", "failed", "timed out", "killed"]
    seconds: Annotated[float, Field(allow_inf_nan=False)]
    output: str | None = None  # from the run's folder; None when it could not be written
    error: Failure | None = None
    started: str = ""


class Inputs(BaseModel, extra="forbid"):
    """What a run was asked for and read; files by name and SHA-256, as a run tells no places."""

    market: str
    params: str = ""  # a study that ships; empty for any other
    rule: dict[str, Any] = {}
    factor_units: str = "auto"
    files: dict[str, tuple[Word, Word]] = {}


class _Manifest(BaseModel, strict=True):
    """What must stand in ``run.json``, and what may."""

    market: str
    spec: str
    snapshot: str
    started: Instant
    ended: Instant
    level: str | None = None
    first: str | None = None
    last: str | None = None
    front: str | None = None
    not_the_rule: str | None = None
    commit: str | None = None
    requirements_lock: str | None = None
    public: bool | None = None
    inputs: Inputs | None = None
    dirty: bool | None = None
    versions: dict[str, str]
    files: dict[str, str] | None = None
    jobs: list[Outcome]


def write_manifest(
    out: Path, facts: Mapping[str, Any], outcomes: Sequence[Outcome], names: Mapping[str, str]
) -> Path:
    """Write ``run.json``: what ran, on which data, with which code, and how it ended."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    content = {
        "schema": SCHEMA,
        "started": min((o.started for o in outcomes if o.started), default=now),
        "ended": now,
        **facts,
        "versions": {
            "python": platform.python_version(),
            "usjp_research": __version__,
            **{name: version(name) for name in LIBRARIES},
        },
        **_checkout(),
        "jobs": scrub(hidden([asdict(outcome) for outcome in outcomes], names)),
        "files": listed_files(out),
    }
    write_whole(out / "run.json", json_bytes(content))
    return out / "run.json"


def _checkout() -> dict[str, object]:
    """Return commit and lock of this package's checkout, None for what there is not."""
    lock = HOME / "requirements.lock"
    found = _git("rev-parse", "--show-toplevel", "HEAD").splitlines()
    ours = len(found) == 2 and Path(found[0]).resolve() == HOME  # not of a folder further up
    return {
        "commit": found[1] if ours else None,
        "dirty": bool(_git("status", "--porcelain")) if ours else None,
        "requirements_lock": sha_of(lock) if lock.is_file() else None,
    }


def _git(*words: str) -> str:
    """Return what git prints, nothing where it fails."""
    command = ["git", "--no-optional-locks", "-C", str(HOME), *words]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def read_manifest(run: Path) -> dict[str, Any]:
    """Read ``run.json`` of a finished run; what no run has written is refused."""
    path = run / "run.json"
    content = plain_json(path) if path.is_file() else {}
    if content.get("schema") != SCHEMA:
        told = f"no run.json of schema {SCHEMA}; give the folder of a finished run"
        raise InputError(f"{run}: {told}")
    try:
        text = json.dumps(content, ensure_ascii=False)
        _Manifest.model_validate_json(text.encode("utf-8", "replace"))
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        seen = "nothing" if fault["type"] == "missing" else repr(fault["input"])[:60]
        raise InputError(f"{path}: key '{key}': seen {seen}, {fault['msg']}; {AGAIN}") from None
    return content


def listed_files(run: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a run that its manifest is to name."""
    return {
        path.relative_to(run).as_posix(): sha_of(path)
        for name in KEPT
        for path in sorted((run / name).rglob("*"))
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(run).parts)
    }


def result_files(run: Path, manifest: Mapping[str, Any]) -> list[Path]:
    """List the results that a run's manifest names, or refuse what is gone or has changed."""
    named = manifest.get("files")
    folder = run / "results"
    if named is None:  # of a version that listed none
        return sorted(path for path in folder.glob("*") if path.is_file())
    found = [run / name for name in sorted(named) if Path(name).parent == Path("results")]
    for path in found:
        gone = "" if path.is_file() else "gone: "
        if gone or sha_of(path) != named[f"results/{path.name}"]:
            raise InputError(f"{path}: {gone}results changed since the run; {AGAIN}")
    return found


@lru_cache
def declared(table: str) -> Sequence[Mapping[str, str]]:
    """Read the rows of numbers.csv that a table has; one row may serve several tables."""
    with NUMBERS.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if table in row["table"].split()]


def unit(table: str, column: str) -> str:
    """Return the unit of a column of a result table; text has none."""
    return next((row["unit"] for row in declared(table) if row["column"] == column), "")


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file of results by the types that numbers.csv declares; what it lacks is text."""
    import pandas as pd

    numbers = {row["column"] for row in declared(path.stem) if row["unit"] not in ("", "date")}
    with damage_named(path), path.open(encoding="utf-8", newline="") as file:
        head, *rows = list(csv.reader(file, strict=True)) or [[]]
        for place, row in enumerate(rows, 2):
            if len(row) != len(head):
                raise InputError(
                    f"{path}: row {place}: seen {len(row)} cells, expected {len(head)}; {AGAIN}"
                )
        cells = [[clean(_unquoted(text)) for text in row] for row in rows]
        frame = pd.DataFrame(cells, columns=head, dtype=object)
        frame = frame.mask(frame == "")
        blank = set(frame.columns[frame.isna().all()]) if rows else set()
        for name in {*numbers, *blank} & {*frame}:
            frame[name] = pd.to_numeric(frame[name])
        return frame


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a Parquet file of results, its index as columns."""
    import pandas as pd

    with damage_named(path):
        frame = pd.read_parquet(path)
        if frame.index.name or not isinstance(frame.index, pd.RangeIndex):
            frame = frame.reset_index()
        for name in frame.select_dtypes(["object", "str"]):
            frame[name] = [clean(value) for value in frame[name]]
        return frame


def read_results(out: str | Path) -> dict[str, Any]:
    """Read what a run has saved: verdicts, checks before and after, exposure, counterfactuals.

    Parameters
    ----------
    out : path
        Folder of the run.

    Returns
    -------
    dict
        ``study`` is the content of ``verdicts.json`` and ``words`` that of ``words.yaml``;
        ``timing``, ``variants``, ``says``, ``control``, ``since``, ``exposure`` and
        ``robustness`` are rows of their files, empty where no notebook has saved them.

    Raises
    ------
    InputError
        When there are no verdicts.
    """
    folder = in_project(Path(out)) / "results"
    path = folder / "verdicts.json"
    if not path.is_file():
        raise InputError(f"{path}: no such file; run the study first")
    study = read_verdicts(path)
    with damage_named(folder):
        return {
            "study": study,
            "words": read_words(folder).model_dump(),
            "timing": _rows(folder / "timing.csv"),
            "variants": _rows(folder / "variants.csv"),
            **{name: _rows(folder / f"{name}.csv") for name in ("says", "control", "since")},
            "exposure": [
                row
                for path in _own(folder, "3_exposure", study)
                for row in plain_json(path)["numbers"]["rows"]
            ],
            "robustness": [
                {"sector": path.stem.partition("-")[2], **row}
                for path in _own(folder, "5_robustness-*", study)
                for row in _rows(path.with_name(f"{path.stem}-rows.parquet"))
            ],
        }


def _own(folder: Path, pattern: str, study: Mapping[str, Any]) -> list[Path]:
    """List the records of this very study; those of other parameters or returns are not its own."""
    paths = sorted(folder.glob(f"{pattern}.json"))
    return [path for path in paths if not unlike(plain_json(path), study)]


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a table, with None for what is missing; none without a file."""
    if not path.is_file():
        return []
    frame = read_csv(path) if path.suffix == ".csv" else read_parquet(path)
    rows: Any = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return list(rows)


def check_records(run: Path, facts: Mapping[str, object]) -> None:
    """Refuse a run in which a notebook has seen other parameters or returns than the command."""
    for path in sorted((run / "results").glob("*.json")):
        if unlike(plain_json(path), facts):
            raise InputError(
                f"{path.name}: parameters or returns changed while the study ran; {AGAIN}"
            )

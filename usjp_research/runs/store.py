"""A run's files on disk: one writer, one reader, each file whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import html
import json
import math
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usjp_research.spec.read import read_words
from usjp_research.spec.records import in_project
from usjp_research.words import ANSI, InputError, scrub

if TYPE_CHECKING:
    import pandas as pd

CODEBOOK = Path(__file__).parents[1] / "report" / "codebook.csv"
AGAIN = "run the study again"
RISKY = r"[=+\-@＝＋－＠\t\r\n]"  # a spreadsheet may take a text that begins so for a formula
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
KEPT = ("results", "figures", "notebooks", "params")  # what the manifest lists; pages are made
ENCODED = ("image/png", "image/jpeg")  # keys of pictures, which are no text
# The files that verdicts.json stands for.
TABLES = ("reactions", "variants", "timing", "calendar", "claims", "dropped")
STUDY = [*(f"{name}.csv" for name in TABLES), "placebo.parquet", "reading.json"]


# --- writing ---------------------------------------------------------------------------------


def prepare_folder(out: Path) -> Path:
    """Make sure that results can be written to a folder, before anything is computed.

    Raises
    ------
    InputError
        When the folder cannot be made or written to.
    """
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
    made: list[tuple[Path, Path]] = []
    try:
        for name, content in files.items():
            temporary = folder / f".{name[:80]}-{secrets.token_hex(6)}"
            made.append((temporary, folder / name))
            # With the mode of any new file: the user's umask decides.
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
        for temporary, path in made:
            temporary.replace(path)
    except BaseException:
        for temporary, _ in made:
            temporary.unlink(missing_ok=True)
        raise


def json_bytes(content: object) -> bytes:
    """Encode as strict JSON; half of a surrogate pair, which has no bytes, becomes its escape."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace")


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """Encode as CSV in which no text is a formula to a spreadsheet: `read_csv` reads it back."""
    safe = frame.map(lambda value: _quoted(value) if isinstance(value, str) else value)
    text = safe.to_csv(index=False, lineterminator="\n")
    return str(text).encode("utf-8", "backslashreplace")


def plain(text: str) -> str:
    r"""Write characters that a terminal obeys as their codes; tabs and line ends stay.

    Examples
    --------
    >>> plain("a\\x1bb")
    'a\\\\x1bb'
    """
    if text.isprintable():
        return text
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def clean(value: Any) -> Any:
    """Take colour codes, places and control characters out of every text of a structure."""
    return _each(plain, scrub(value))


def _each(change: Callable[[str], str], value: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        kept = {k: v if k in ENCODED else _each(change, v) for k, v in value.items()}
        return type(value)(kept)
    return [_each(change, part) for part in value] if isinstance(value, list) else value


def _quoted(text: str) -> str:
    text = plain(text)
    return f"'{text}" if re.match(f"'*{RISKY}", text) else text


def _unquoted(text: str) -> str:
    return text[1:] if re.match(f"'+{RISKY}", text) else text


def own_results(out: str | Path, spec: str, snapshot: str) -> Path:
    """Return the folder for results of one study; what is there of another one is removed.

    Parameters
    ----------
    out : path
        Folder that notebooks write into; relative ones start at the project's root.
    spec, snapshot : str
        Digests of the study.

    Raises
    ------
    InputError
        When the folder holds a finished run, which does not change any more.
    """
    run = in_project(Path(out))
    if (run / "run.json").exists():
        raise InputError(f"{run}: a finished run does not change; give another folder as 'out'")
    folder = run / "results"
    folder.mkdir(parents=True, exist_ok=True)
    stale = [
        (path, content)
        for path in folder.glob("*.json")
        for content in [_or_nothing(path)]
        if {"spec", "snapshot"} <= set(content)
        and (content["spec"], content["snapshot"]) != (spec, snapshot)
    ]
    for path, content in stale:
        frames = [f"{path.stem}-{key}.parquet" for key in content.get("frames") or ()]
        others = STUDY if path.name == "verdicts.json" else frames
        for name in (*others, path.name):
            (folder / name).unlink(missing_ok=True)
    for picture in (run / "figures").glob("*.svg") if stale else ():
        picture.unlink(missing_ok=True)
        picture.with_suffix(".txt").unlink(missing_ok=True)
    return folder


def _or_nothing(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


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
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: not JSON ({str(error)[:120]}); {AGAIN}") from None
        if not isinstance(content, dict):
            raise InputError(f"{path}: seen no JSON object, expected one; {AGAIN}")
        return dict(clean(content))


def read_manifest(run: Path) -> dict[str, Any]:
    """Read ``run.json`` of a finished run.

    Raises
    ------
    InputError
        When there is none, or one that no run has written.
    """
    path = run / "run.json"
    if not path.is_file():
        raise InputError(f"{run}: no run.json of schema 1; give the folder of a finished run")
    content = plain_json(path)
    if content.get("schema") != 1:
        raise InputError(f"{run}: no run.json of schema 1; give the folder of a finished run")
    for key, (test, words) in MANIFEST.items():
        if not test(content.get(key)):
            seen = "nothing" if key not in content else repr(content[key])[:60]
            raise InputError(f"{path}: key '{key}': seen {seen}, expected {words}; {AGAIN}")
    return content


def _maybe(kind: type) -> Callable[[object], bool]:
    return lambda value: value is None or isinstance(value, kind)


def _texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(part, str) for part in value.values())


def _instant(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def _job(value: object) -> bool:
    if not isinstance(value, dict) or value.get("status") not in ("done", "failed"):
        return False
    error, seconds = value.get("error"), value.get("seconds")
    texts = (value.get("name"), value.get("notebook"))
    whole = error is None or (
        isinstance(error, dict)
        and _maybe(int)(error.get("cell"))
        and all(isinstance(error.get(key, ""), str) for key in ("kind", "message", "traceback"))
    )
    return (
        whole
        and all(isinstance(text, str) and text for text in texts)
        and isinstance(value.get("parameters"), dict)
        and _maybe(str)(value.get("output"))
        and isinstance(seconds, int | float)
        and math.isfinite(seconds)
    )


def _jobs(value: object) -> bool:
    return isinstance(value, list) and all(map(_job, value))


def _text(value: object) -> bool:
    return isinstance(value, str)


# What a manifest must hold: key, test, words for what is expected.
MANIFEST: Mapping[str, tuple[Callable[[object], bool], str]] = {
    **dict.fromkeys(("market", "spec", "snapshot"), (_text, "text")),
    **dict.fromkeys(("started", "ended"), (_instant, "an instant, YYYY-MM-DDTHH:MM:SS")),
    **dict.fromkeys(("level", "first", "last", "commit"), (_maybe(str), "text")),
    "requirements_lock": (_maybe(str), "text"),
    **dict.fromkeys(("public", "dirty"), (_maybe(bool), "true or false")),
    "versions": (_texts, "versions by name"),
    "files": (lambda value: value is None or _texts(value), "SHA-256 by file"),
    "jobs": (_jobs, "a list of jobs"),
}


def listed_files(run: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a run that its manifest is to name."""
    return {
        path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in KEPT
        for path in sorted((run / name).rglob("*"))
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(run).parts)
    }


def result_files(run: Path, manifest: Mapping[str, Any]) -> list[Path]:
    """List a run's results: those that its manifest names, as they were when it ended.

    Raises
    ------
    InputError
        When one of them is gone or has changed since.
    """
    named = manifest.get("files")
    folder = run / "results"
    if named is None:  # of a version that listed none
        return sorted(path for path in folder.glob("*") if path.is_file())
    found = []
    for name, sha in sorted(named.items()):
        path = run / name
        if Path(name).parent != Path("results"):
            continue
        if not path.is_file():
            raise InputError(f"{path}: gone: results changed since the run; {AGAIN}")
        if hashlib.sha256(path.read_bytes()).hexdigest() != sha:
            raise InputError(f"{path}: results changed since the run; {AGAIN}")
        found.append(path)
    return found


@lru_cache(maxsize=1)
def units() -> Mapping[tuple[str, str], str]:
    """Read the unit of each column of each result table; text has none."""
    with CODEBOOK.open(encoding="utf-8", newline="") as file:
        return {(row["table"], row["column"]): row["unit"] for row in csv.DictReader(file)}


def read_cells(path: Path) -> list[dict[str, str]]:
    """Read a CSV file of results as text, cell by cell as it was saved; empty without a file."""
    if not path.is_file():
        return []
    with damage_named(path), path.open(encoding="utf-8", newline="") as file:
        head, *rows = list(csv.reader(file, strict=True)) or [[]]
        for place, row in enumerate(rows, 2):
            if len(row) != len(head):
                raise InputError(
                    f"{path}: row {place}: seen {len(row)} cells, expected {len(head)}; {AGAIN}"
                )
        return [
            {name: clean(_unquoted(text)) for name, text in zip(head, row, strict=True)}
            for row in rows
        ]


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file of results by the types that the codebook declares; what it lacks is text."""
    import pandas as pd

    with damage_named(path):
        with path.open(encoding="utf-8", newline="") as file:
            names = next(csv.reader(file), [])
        frame = pd.DataFrame(read_cells(path), columns=names, dtype=object)
        for name in frame:
            cells = frame[name].mask(frame[name] == "")
            number = units().get((path.stem, str(name)), "") not in ("", "date")
            blank = len(cells) > 0 and cells.isna().all()
            frame[name] = pd.to_numeric(cells) if number or blank else cells
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
        ``timing``, ``variants``, ``exposure`` and ``robustness`` are rows of their files, empty
        where no notebook has saved them.

    Raises
    ------
    InputError
        When there are no verdicts.
    """
    folder = in_project(Path(out)) / "results"
    path = folder / "verdicts.json"
    if not path.is_file():
        raise InputError(f"{path}: no such file; run the study first")
    study = plain_json(path)
    with damage_named(folder):
        return {
            "study": study,
            "words": read_words(folder).model_dump(),
            "timing": _rows(folder / "timing.csv"),
            "variants": _rows(folder / "variants.csv"),
            "exposure": [
                row
                for path in _own(folder, "3_exposure", study)
                for row in plain_json(path)["numbers"]["rows"]
            ],
            "robustness": [
                {"sector": path.stem.partition("-")[2], **row}
                for path in _own(folder, "5_robustness-*", study)
                for row in _records(read_parquet(path.with_name(f"{path.stem}-rows.parquet")))
            ],
        }


def _own(folder: Path, pattern: str, study: Mapping[str, Any]) -> list[Path]:
    """List the records of this very study; those of other parameters or returns are not its own."""
    found = []
    for path in sorted(folder.glob(f"{pattern}.json")):
        content = plain_json(path)
        if (content["spec"], content["snapshot"]) == (study["spec"], study["snapshot"]):
            found.append(path)
    return found


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = _records(read_csv(path)) if path.is_file() else []
    return [{k: float(v) if isinstance(v, int) else v for k, v in row.items()} for row in rows]


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    import pandas as pd

    return [
        {str(key): None if pd.isna(value) else value for key, value in row.items()}
        for row in frame.to_dict("records")
    ]


# --- places on this machine ------------------------------------------------------------------


def places(files: Iterable[Path], folders: Iterable[Path]) -> dict[str, str]:
    """Return what to write in place of paths of this machine.

    Parameters
    ----------
    files, folders : iterable of Path
        Absolute. A file is called by its name; a folder, and every folder above, by nothing.

    Returns
    -------
    dict of str to str
        Longest first, in every spelling that a notebook may hold.
    """
    files, folders = list(files), list(folders)
    found: dict[str, str] = {}
    for path in (q for p in (*files, *folders) for q in (p, p.resolve())):
        above = [*([] if path.is_file() else [path]), *path.parents]
        # Levels such as /home are those of any machine.
        found |= {str(p): "…" for p in above[:-1] if len(p.parts) > 2 or p == above[0]}
    for path in files:
        found |= {str(q): path.name for q in (path, path.resolve())}
    home = f"{Path.home()}{os.sep}"
    found |= {f"~/{k.removeprefix(home)}": v for k, v in found.items() if k.startswith(home)}
    spelt = {form: name for text, name in found.items() for form in _spellings(text)}
    return dict(sorted(spelt.items(), key=lambda item: -len(item[0])))


def _spellings(text: str) -> set[str]:
    escaped = text.encode("unicode_escape").decode()
    forms = {text, escaped, html.escape(text), repr(text)[1:-1], json.dumps(text)[1:-1]}
    return forms | {form.replace('"', '\\"') for form in (text, escaped)}


def hidden(value: Any, names: Mapping[str, str]) -> Any:
    """Write names in place of paths in every text of a structure."""
    if not names:
        return value
    words = "|".join(map(re.escape, names))
    pattern = re.compile(rf"(?:(?<![\w.~/-])|(?<=file://))(?:{words})(?![\w-])")
    return _each(lambda text: pattern.sub(lambda found: names[found[0]], text), value)


def tidy_notebooks(run: Path, names: Mapping[str, str], *, public: bool) -> None:
    """Take places out of a run's executed notebooks, and single firms out of public ones.

    Parameters
    ----------
    run : Path
    names : mapping
        As `places` gives it.
    public : bool
        Whether outputs of cells tagged ``local``, which show single firms, go.
    """
    for path in sorted((run / "notebooks").glob("*.ipynb")):
        content = json.loads(path.read_text(encoding="utf-8"))
        for cell in content["cells"]:
            tags = cell["metadata"].get("tags") or ()
            if public and "local" in tags and cell["cell_type"] == "code":
                cell |= {"outputs": [], "execution_count": None}
            told = _each(lambda text: ANSI.sub("", text), cell.get("outputs", []))
            if told:
                cell["outputs"] = scrub(hidden(told, names))
            cell["source"] = hidden(cell["source"], names)
        content["metadata"] = hidden(content["metadata"], names)
        write_whole(path, json_bytes(content))


def tidy_texts(run: Path, names: Mapping[str, str]) -> None:
    """Take places out of a run's results and figures."""
    for folder in ("results", "figures"):
        for path in sorted((run / folder).glob("*")):
            if path.suffix in (".json", ".csv", ".svg", ".txt"):
                text = path.read_text(encoding="utf-8")
                if (told := hidden(text, names)) != text:
                    write_whole(path, told.encode())


def check_records(run: Path, facts: Mapping[str, object]) -> None:
    """Make sure that all results of a run that is being made are of one study.

    Raises
    ------
    InputError
        When a notebook has seen other parameters or returns than the command.
    """
    for path in sorted((run / "results").glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        for key in ("spec", "snapshot"):
            if key in content and content[key] != facts[key]:
                raise InputError(
                    f"{path.name}: parameters or returns changed while the study ran; {AGAIN}"
                )

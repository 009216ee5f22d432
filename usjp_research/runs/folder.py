"""The folder of one run: whose it may be, who writes in it, and old and new changed as a whole."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from usjp_research.runs.locks import take
from usjp_research.runs.store import (
    KEPT,
    listed_files,
    plain_json,
    prepare_folder,
    read_manifest,
    unlike,
)
from usjp_research.words import InputError

KNOWN = (*KEPT, "site", "run.json")
LOCK = ".lock"
FRESH, WHOLE, OLD, GONE = ".new", ".whole", ".old", ".gone"  # a run on its way in, and out
OURS = (LOCK, WHOLE, OLD, GONE)
ELSE = "give an empty or a new folder with --out"
IDENTITY = ("spec", "snapshot", "level", "public")


# --- whose folder it is ----------------------------------------------------------------------


def check_folder(out: Path) -> None:
    """Refuse what is no run's folder: a file, the root of a project, somebody else's files."""
    if fault := _fault(out):
        raise InputError(f"{out}: {fault}; {ELSE}")
    if (out / "run.json").exists():
        named = read_manifest(out).get("files")
        strange = [] if named is None else [n for n in listed_files(out) if n not in named]
        if strange:
            raise InputError(
                f"{out / strange[0]}: no file of this run, and it would be lost; move it elsewhere"
            )


def _fault(out: Path) -> str:
    """Say what a folder is that no run may replace; nothing of a run's own or an empty one."""
    if not out.exists():
        return "a link that leads nowhere" if out.is_symlink() else ""
    if not out.is_dir():
        return "is a file"
    if (out / "params" / "universe.csv").is_file() and not (out / "run.json").exists():
        return "is a project's own folder"
    recover(out)
    every = sorted(path.name for path in out.iterdir())
    names = [name for name in every if name not in OURS and not name.startswith(f"{FRESH}-")]
    saved = (out / "results/verdicts.json").is_file() and not {*names} - {*KNOWN}
    if not names or saved or (out / "run.json").exists():
        return ""
    return f"holds what is no run ({', '.join([*names[:3], *(['...'] if names[3:] else [])])})"


def check_study(out: Path, facts: Mapping[str, object], *, replace: bool, never: str = "") -> None:
    """Refuse to put a study in the place of one with other parameters, returns or readers.

    The place of the study with the digest ``never`` is not taken, whatever ``replace`` says.
    """
    held: Mapping[str, Any] = {}
    if (out / "run.json").exists():
        held = read_manifest(out)
    elif (out / "results" / "verdicts.json").is_file():
        held = plain_json(out / "results" / "verdicts.json")
    itself = never and held.get("spec") == never
    if (others := unlike(held, facts, IDENTITY)) and (itself or not replace):
        words = {"spec": "specification", "snapshot": "returns"}
        told = " and ".join(words.get(key, key) for key in others)
        clear = "" if itself else "clear it with --replace, or "
        raise InputError(
            f"{out}: holds a run of {'the study itself' if itself else 'another study'} (market "
            f"{str(held.get('market'))[:60]}; other {told}); {clear}give another folder with --out"
        )


# --- one writer at a time --------------------------------------------------------------------


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold a run's folder, or refuse it at once; one that was made for nothing goes again.

    The lock of a dead process holds nothing.
    """
    new = not out.exists()
    prepare_folder(out)
    handle = _take(out / LOCK, out)
    try:
        _settle(out)
        yield
    finally:
        with suppress(OSError):  # a disk that takes nothing; Windows takes no open file away
            (out / LOCK).unlink()
            if new:
                out.rmdir()  # which takes an empty folder only
        os.close(handle)


def _take(path: Path, out: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if not take(handle):
            by = os.read(handle, 200).decode("utf-8", "replace") or "another process"
            os.close(handle)
            raise InputError(
                f"{out}: {by} is writing there; wait for it, or give another folder with --out"
            )
        # The holder before may have taken the file away after this one was opened.
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(handle).st_ino:
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {platform.node()}".encode())
                return handle
        os.close(handle)


# --- old and new -----------------------------------------------------------------------------


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give an empty folder for what is to come in; it goes unless `swap` has put it in place."""
    fresh = out / f"{FRESH}-{os.getpid()}"
    fresh.mkdir()
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def swap(out: Path, fresh: Path) -> None:
    """Put a staged run, or its pages alone, in place of what there is."""
    fresh.rename(out / WHOLE)  # from here on the new run counts, whatever stops the process
    try:
        _settle(out)
    except OSError:
        if not (out / GONE).exists():  # all of the old run is still there
            _move((out / OLD).glob("*"), out)
            shutil.rmtree(out / WHOLE, ignore_errors=True)
            shutil.rmtree(out / OLD, ignore_errors=True)
        raise


def _settle(out: Path) -> None:
    """Finish what an earlier process has begun, and clear what it has left."""
    whole, old, gone = (out / name for name in (WHOLE, OLD, GONE))
    if whole.is_dir():
        if not gone.exists():
            old.mkdir(exist_ok=True)
            names = KNOWN if (whole / "run.json").exists() else [p.name for p in whole.iterdir()]
            _move((out / name for name in names), old)
            old.rename(gone)
        _move(whole.iterdir(), out)
        whole.rmdir()
    for path in (gone, *out.glob(f"{FRESH}-*")):
        shutil.rmtree(path, ignore_errors=True)


def _move(paths: Iterable[Path], into: Path) -> None:
    for path in list(paths):
        if os.path.lexists(path):
            path.rename(into / path.name)


def recover(out: Path) -> None:
    """Finish a change of runs that was cut off, before the folder is read."""
    if (out / WHOLE).is_dir():
        with locked(out):
            pass

"""A run's folder on disk: each file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from usjp_research.words import InputError


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
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)  # the temporary file is private, the result is to be shared
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

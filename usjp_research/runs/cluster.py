"""A batch on other machines: the executor of a dask scheduler, once its workers see what we see."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from usjp_research.runs.job import Job
from usjp_research.runs.ledger import Identity, identities
from usjp_research.words import InputError

PATIENCE = 10  # seconds for a scheduler to answer


@contextmanager
def cluster(
    address: str, jobs: Sequence[Job], out: Path, expected: Mapping[str, Identity]
) -> Iterator[tuple[Executor, int]]:
    """Give the executor of a scheduler, and how many jobs it runs at a time.

    Raises
    ------
    InputError
        When dask is not installed, no scheduler answers, it has no worker, or a worker does not
        see the output folder, the data or the same package.
    """
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "--cluster: needs dask; install it with: pip install 'usjp-research[cluster]'"
        ) from None
    try:
        client: Any = Client(address, timeout=PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"--cluster {address}: no scheduler answers ({error}); start one with: dask scheduler"
        ) from None
    with client:
        threads = client.nthreads()
        if not threads:
            raise InputError(
                f"--cluster {address}: the scheduler has no worker; start one with: "
                f"dask worker {address}"
            )
        seen = out / f".seen-{secrets.token_hex(6)}"
        seen.touch()
        try:
            found = client.run(_differs, jobs, out, expected, seen, on_error="return")
        finally:
            seen.unlink()
        for worker, fault in found.items():
            if fault:
                raise InputError(f"--cluster {address}: worker {worker}: {fault}")
        yield client.get_executor(pure=False), sum(threads.values())


def _differs(jobs: Sequence[Job], out: Path, expected: Mapping[str, Identity], seen: Path) -> str:
    """Say, on a worker, what is not there as it is for the one who asks."""
    if not seen.exists():
        return f"does not see the folder {out}; give one with --out that all machines share"
    try:
        own = identities(jobs, out)
    except OSError as error:
        return f"does not see {error.filename}; put notebooks where all machines see them"
    for name, identity in own.items():
        if changed := expected[name].changed(identity):
            return f"has not the same {changed} for job {name}; bring it up to date"
    return ""

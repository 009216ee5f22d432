"""Parameters that notebooks of this package have in common, checked by what they mean."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from usjp_research.spec.read import read_spec
from usjp_research.spec.records import in_project
from usjp_research.words import InputError, nearest

if TYPE_CHECKING:
    from usjp_research.runs.job import Job
    from usjp_research.runs.parameters import Parameter
    from usjp_research.spec.records import Spec

OURS = {"params", "market", "out"}  # a notebook with all of these is one of this package
FILES = ("factors", "donors", "openings")
UNITS = ("auto", "percent", "decimal")


def sectors_of(parameters: Mapping[str, object]) -> tuple[str, ...]:
    """Return the sectors of the study that parameters ask for."""
    return tuple(_spec(str(parameters.get("params", "params")), _text(parameters)).sectors)


def settled(job: Job, known: Mapping[str, Parameter]) -> Job:
    """Return a job whose study is known to be right: dates, windows, sector, market and files.

    Its market is named so that it means the same tomorrow.
    """
    if not {*known} >= OURS:
        return job
    given: dict[str, object] = {name: one.default for name, one in known.items()}
    given |= job.parameters
    where = f"notebook {job.notebook.name} (job {job.name})"
    with _named(f"{where}: parameter 'params' or 'rule'"):
        spec = _spec(str(given["params"]), _text(given))
    if "sector" in given and given["sector"] not in spec.sectors:
        hint = nearest(str(given["sector"]), spec.sectors)
        raise InputError(f"{where}: parameter 'sector': unknown '{given['sector']}': {hint}")
    for name in FILES:
        path = in_project(Path(str(given.get(name) or "")))
        if given.get(name) and not path.is_file():
            raise InputError(f"{where}: parameter '{name}': {path}: no such file")
    if (unit := given.get("factor_units", "auto")) not in UNITS:
        raise InputError(f"{where}: parameter 'factor_units': seen '{unit}', expected {UNITS}")
    with _named(f"{where}: parameter 'market'"):
        market = _market(str(given["market"]))
    return (
        job
        if market == given["market"]
        else replace(job, parameters={**job.parameters, "market": market})
    )


def _text(parameters: Mapping[str, object]) -> str:
    rule = parameters.get("rule") or {}
    if not isinstance(rule, Mapping):
        raise InputError(f"parameter 'rule': seen {rule!r}, expected keys with values")
    return json.dumps(rule, sort_keys=True)


@cache
def _spec(params: str, rule: str) -> Spec:
    return read_spec(params, rule=json.loads(rule))


@cache
def _market(source: str) -> str:
    from usjp_research.market.load import named_market
    from usjp_research.market.snapshots import find_snapshot

    kind, place = named_market(source)
    if kind == "snapshot":
        return f"snapshot:{find_snapshot(place, 'prices').data}"
    if kind in ("file", "returns", "prices") and not in_project(Path(place)).exists():
        raise InputError(f"{in_project(Path(place))}: no such file; give the path of one")
    return source


@contextmanager
def _named(where: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from None

"""The ``usjp prices`` commands: fetch a snapshot, list them, show one, and compare two."""

from __future__ import annotations

import hashlib
import io
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from usjp_research.market.snapshots import (
    ABOUT,
    DATA,
    find_snapshot,
    revisions,
    snapshots,
    store,
)
from usjp_research.runs.folder import locked, staged
from usjp_research.runs.store import json_bytes, prepare_folder, write_whole
from usjp_research.runs.terminal import columns
from usjp_research.spec.read import read_spec, study_folder
from usjp_research.spec.records import Spec
from usjp_research.words import InputError, nearest, percent, shown

if TYPE_CHECKING:
    from usjp_research.market.fetch import Fetched

HELP = "Prices and factors from their sources, each kept as a snapshot that never changes."
app = typer.Typer(no_args_is_help=True, help=HELP)
MOST = 20  # lines of a list
LONG = 100  # columns of a line
Day = datetime | None
DAY = ["%Y-%m-%d"]
Name = Annotated[str, Argument(help="Digest, its first digits, or latest.")]


@app.command()
def fetch(
    names: Annotated[
        list[str] | None,
        Argument(help="Tickers in place of the study's; of French: ff3, ff5, momentum, a region."),
    ] = None,
    source: Annotated[str, Option(help="yahoo or french.")] = "yahoo",
    params: Annotated[Path | None, Option(help="Folder of parameters with universe.csv.")] = None,
    start: Annotated[Day, Option(formats=DAY, help="First day; what the study needs.")] = None,
    end: Annotated[Day, Option(formats=DAY, help="Last day; today by default.")] = None,
) -> None:
    """Fetch a study's prices, or French's factors, and keep them as a snapshot."""
    from usjp_research.market.fetch import SOURCES, TABLES, Request

    if source not in SOURCES:
        raise InputError(f"unknown source '{source}': {nearest(source, SOURCES)}")
    place = SOURCES[source]
    spec = read_spec(study_folder(params))
    asked = names or (_tickers(spec) if place.holds == "prices" else [*TABLES])
    today = datetime.now(UTC).date()
    news = min(event.instant for event in spec.events).date()
    since = spec.rule.since or news - timedelta(days=3 * 365)
    first = start.date() if start else since - timedelta(days=7)  # a return needs a price before
    last = end.date() if end else today
    if first >= last:
        raise InputError(f"from {first} to {last}: no days; give --start before --end")
    folder = prepare_folder(store())
    write_whole(folder / ".gitignore", b"*\n")  # in whatever repository the user stands
    _note(f"{source}: {place.terms}.")
    # Parts of another day are not mixed with today's: in between, prices may have been adjusted.
    told = "\n".join([source, *asked, str(first), str(last)])
    parts = folder / f".parts-{today}-{hashlib.sha256(told.encode()).hexdigest()[:16]}"
    with locked(parts), _progress() as said:
        try:
            request = Request((*dict.fromkeys(asked),), first, last, parts, said)
            found = place.fetch(request)
        except KeyboardInterrupt:
            _note("Stopped. What came is kept: the same command, given today, goes on from there.")
            raise
        about = {"source": source, "holds": place.holds, "terms": place.terms}
        digest = keep(found, {**about, "from": str(first), "to": str(last)})
    for old in folder.glob(".parts-*"):
        if old == parts or str(today) not in old.name:
            shutil.rmtree(old, ignore_errors=True)
    _print(_left_out([asdict(item) for item in found.dropped]), MOST)
    _note(f"{len(found.coverage)} series: {folder / digest}")
    table = f"snapshot:{digest[:12]}"
    donors = any(donor.group and donor.ticker in found.coverage for donor in spec.donors)
    use = f"--market snapshot:{digest[:12]}{f' --donors {table}' * donors}"
    use = use if place.holds == "prices" else f"--factors {table}"
    own = f"--params {shlex.quote(str(params))} " if params else ""
    print(shown(f"usjp study {own}{use}"))


def _tickers(spec: Spec) -> list[str]:
    """List what a study looks at: universe, benchmark, mirror, controls and donors, each once."""
    from usjp_research.market.donors import DONOR

    controls = spec.rule.second.controls if spec.rule.second else ()
    every = [*(firm.ticker for firm in spec.firms), *spec.rule.benchmark, *spec.rule.mirror]
    every += [name for name in controls if not name.startswith(DONOR)]
    return [*dict.fromkeys([*every, *(donor.ticker for donor in spec.donors if donor.group)])]


def keep(found: Fetched, about: dict[str, object]) -> str:
    """Store what was fetched, whole or not at all; what is there already stays as it is."""
    packed = io.BytesIO()
    found.frame.to_parquet(packed)
    digest = hashlib.sha256(packed.getvalue()).hexdigest()
    if (store() / digest).exists():
        there = find_snapshot(str(store() / digest))
        _note(f"The same as on {there.about['fetched']}: nothing was written.")
        return digest
    about |= {"fetched": datetime.now(UTC).isoformat(timespec="milliseconds"), **found.provenance}
    about |= {"sha256": digest, "coverage": found.coverage}
    about |= {"dropped": [asdict(item) for item in found.dropped]}
    with staged(store()) as fresh:
        (fresh / DATA).write_bytes(packed.getvalue())
        (fresh / ABOUT).write_bytes(json_bytes(about))
        fresh.rename(store() / digest)
    return digest


@app.command("list")
def list_command() -> None:
    """List the snapshots of this folder, the newest last."""
    rows = []
    for one in snapshots():
        told = {key: str(one.about[key]) for key in ("source", "fetched", "from", "to")}
        sizes = f"{len(one.about['coverage'])} series", f"{len(one.about['dropped'])} left out"
        rows.append((one.digest[:12], *told.values(), *sizes))
    _print(columns(rows, "lllllrr", LONG) if rows else ["none here: usjp prices fetch"])


@app.command()
def show(snapshot: Name = "latest") -> None:
    """Show where a snapshot comes from, what every series covers, and what was left out."""
    about = dict(find_snapshot(snapshot).about)
    covered, dropped = about.pop("coverage"), about.pop("dropped")
    _print(f"{key}: {value}" for key, value in about.items())
    _print(columns([(k, a, b, f"{n} days") for k, (a, b, n) in covered.items()], "lllr", LONG))
    _print(_left_out(dropped))


@app.command()
def diff(before: Name, after: Name) -> None:
    """Say what was revised, the largest first: exit code 0 when nothing was, 1 when it was."""
    one, other = find_snapshot(before), find_snapshot(after)
    revised = revisions(one, other)
    here, there = ({*s.about["coverage"]} for s in (one, other))
    for name, alone in ((before, here - there), (after, there - here)):
        _print([f"only in {name}: {', '.join(sorted(alone))}"] if alone else [])
    rows: list[tuple[str, ...]] = [("series", "day", "of", "before", "after", "by")]
    for row in revised.head(MOST).to_dict("records"):
        values = f"{row['before']:.6g}", f"{row['after']:.6g}", percent(row["size"], 3)
        rows.append((row["series"], f"{row['day']:%F}", row["field"], *values))
    _print(columns(rows, "lllrrr", LONG) if rows[1:] else [])
    print(f"{len(revised)} revised, in {revised['series'].nunique()} series.")
    if len(revised):
        raise typer.Exit(1)


def _left_out(dropped: Iterable[dict[str, Any]]) -> list[str]:
    return [f"left out: {item['what']} {item['name']}: {item['reason']}" for item in dropped]


def _print(lines: Iterable[str], most: int | None = None) -> None:
    every = [shown(line) for line in lines]
    for line in every[:most]:
        print(line)
    if most and len(every) > most:
        print(f"... and {len(every) - most} more: usjp prices show")


def _note(text: str) -> None:
    print(shown(text), file=sys.stderr)


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """Give what says how far it is: a bar and the time left on a terminal, else lines."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    if not (console := Console(stderr=True)).is_interactive:
        yield lambda text, share: _note(f"  {text}")
        return
    parts = BarColumn(30), TimeRemainingColumn(), TextColumn("{task.description}", markup=False)
    with Progress(*parts, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda text, share: bar.update(task, completed=share, description=shown(text))

"""Runs side by side: what moved between two and what did it, and a page that leads to many."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from usjp_research.market.sources import is_simulated
from usjp_research.report.exports import codebook, result_tables
from usjp_research.report.fill import fill
from usjp_research.report.numbers import PHRASES
from usjp_research.report.summary import HEADS, read_summary
from usjp_research.report.tables import told
from usjp_research.runs.folder import recover
from usjp_research.runs.store import (
    damage_named,
    plain_json,
    read_manifest,
    read_verdicts,
    result_files,
    unit,
)
from usjp_research.runs.terminal import columns
from usjp_research.spec.read import read_words
from usjp_research.words import MINUS, SECTOR_NAMES, InputError, label, listed, naming, percent

Frame = pd.DataFrame | None
SAME = 1e-9  # relative: what two machines may differ by
MOVED = ("table", "row", "column", "before", "after", "visible")  # in digits that pages show
UNSAID = ("sectors", "contrast")  # sets of rows that need no word of their set
JOIN = " · "
PLURAL = ("returns", "other files", "packages")


class Cause(NamedTuple):
    """Something that can move results: ``specification``, ``returns``, ``code`` or ``packages``."""

    name: str
    differs: bool
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two runs: causes, verdicts, and a row for every value that moved."""

    names: tuple[str, str]
    runs: tuple[Mapping[str, Any], Mapping[str, Any]]
    causes: tuple[Cause, ...]
    sectors: tuple[tuple[str, ...], ...]  # a line for each, or one for each run where they differ
    verdicts: pd.DataFrame
    moved: pd.DataFrame
    checked: int

    @property
    def same(self) -> bool:
        """Whether no result moved."""
        return self.moved.empty

    @property
    def conclusion(self) -> str:
        """What did it, in one sentence."""
        found = [cause.name for cause in self.causes if cause.differs]
        verb = "differs" if len(found) == 1 and found[0] not in PLURAL else "differ"
        if self.same:
            but = f", although {listed(found)} {verb}" if found else ""
            return f"The results are identical{but}."
        if not found:
            return str(PHRASES["did not reproduce"])
        if len(found) == 1:
            return f"Only the {found[0]} {verb}: that did it."
        return f"More than one thing differs ({listed(found)}): change one at a time to tell which."

    def lines(self) -> Iterator[str]:
        """Give the comparison as plain text, the sectors first."""
        if self.sectors:
            yield from (*columns([(HEADS[0], "", *HEADS[1:]), *self.sectors], "wrrrrr"), "")
        for letter, name, run in zip("AB", self.names, self.runs, strict=True):
            yield f"{letter}  {name}: {run['market']}, {str(run['started'])[:16]}"
        yield ""
        for cause in self.causes:
            told = f"{cause.before} -> {cause.after}" if cause.differs else f"same ({cause.before})"
            yield f"{cause.name:14} {told}"
        yield from ("", self.conclusion)
        if self.same:
            return
        yield from ("", f"Verdicts that changed: {len(self.verdicts) or 'none'}")
        for row, before, after in self.verdicts.itertuples():
            yield f"  {row}: {before} -> {after}"
        yield f"Values that moved, of {self.checked}, and in how many a reader would see it:"
        for table, seen in self.moved.groupby("table", sort=False)["visible"]:
            yield f"  {table:20} {len(seen):6} {sum(seen):6}"


def compare_runs(one: Path, other: Path, *, whole: bool = True) -> Comparison:
    """Compare two finished runs: tables by their keys, and what the results rest on.

    Where the other is not ``whole``, as no notebook ran, tables that it lacks are not compared.
    """
    recover(one)
    recover(other)
    runs = read_manifest(one), read_manifest(other)
    names = {**read_words(other / "results").names(), **read_words(one / "results").names()}
    with naming(names):
        before, after = result_tables(one)[0], result_tables(other)[0]
        tables = dict.fromkeys([*before, *after] if whole else after)
        found = [_moved(table, before.get(table), after.get(table)) for table in tables]
        return Comparison(
            names=(one.name or str(one), other.name or str(other)),
            runs=runs,
            sectors=tuple(_sectors(one, other)),
            causes=tuple(_causes(runs, (_code(one), _code(other)))),
            verdicts=_verdicts(before.get("verdicts"), after.get("verdicts")),
            moved=pd.DataFrame([move for moves, _ in found for move in moves], columns=MOVED),
            checked=sum(count for _, count in found),
        )


def _sectors(*runs: Path) -> Iterator[tuple[str, ...]]:
    """Lay out the lines that both runs share, and both lines where they are not the same."""
    sides = [{line.name: line.cells for line in read_summary(run)} for run in runs]
    for name in dict.fromkeys(key for side in sides for key in side):
        a, b = (side.get(name, (label(name), "no row", "", "", "")) for side in sides)
        for letter, cells in (("=", a),) if a == b else (("A", a), ("B", b)):
            yield cells[0], letter, *cells[1:]


def _causes(runs: Sequence[Mapping[str, Any]], code: Sequence[str]) -> Iterator[Cause]:
    spec, returns = ([run[key][:12] for run in runs] for key in ("spec", "snapshot"))
    yield Cause("specification", spec[0] != spec[1], *spec)
    if differs := returns[0] != returns[1]:
        returns = [f"{run['market']} {sha}" for run, sha in zip(runs, returns, strict=True)]
    yield Cause("returns", differs, *returns)
    one, other = (_other_files(run) for run in runs)
    yield Cause("other files", one != other, one, other)
    commits = [
        f"commit {run['commit'][:12]}{', with changes' if run.get('dirty') else ''}"
        if run.get("commit")
        else f"version {run['versions'].get('usjp_research')}"
        for run in runs
    ]
    # The modules themselves say more than a commit, which may touch prose only.
    one, other = code if all(code) else commits
    yield Cause("code", one != other, *commits)
    versions = [{**run["versions"], "lock": run.get("requirements_lock")} for run in runs]
    names = dict.fromkeys(k for held in versions for k in held if k != "usjp_research")
    unlike = [k for k in names if versions[0].get(k) != versions[1].get(k)]
    told = (", ".join(f"{k} {str(v.get(k))[:12]}" for k in unlike or ["lock"]) for v in versions)
    yield Cause("packages", bool(unlike), *told)


def _other_files(run: Mapping[str, Any]) -> str:
    """Name the openings, donors and factors that a run read, by their digests."""
    files = (run.get("inputs") or {}).get("files") or {}
    told = (f"{name} {sha[:12]}" for name, (_, sha) in sorted(files.items()) if name != "market")
    return ", ".join(told) or "none"


def _code(run: Path) -> str:
    """Return the digests of the package's modules that the run's records carry."""
    records = (p for p in result_files(run, read_manifest(run)) if p.suffix == ".json")
    return " ".join(sorted({str(plain_json(path).get("code") or "") for path in records} - {""}))


def _verdicts(one: Frame, other: Frame) -> pd.DataFrame:
    """Lay side by side, by row, the verdicts that are not the same."""

    def told(frame: Frame) -> pd.Series:
        rows = [] if frame is None else frame[frame["set"].isin(UNSAID)].to_dict("records")
        words = {label(row["name"]): [row["headline"], row["reason"]] for row in rows}
        return pd.Series({row: ": ".join(filter(None, said)) for row, said in words.items()})

    pairs = pd.concat({"before": told(one), "after": told(other)}, axis=1).fillna("no such row")
    return pairs[pairs["before"] != pairs["after"]]


def _moved(table: str, one: Frame, other: Frame) -> tuple[list[tuple[Any, ...]], int]:
    """List the values of a table that are not the same, and count what was compared."""
    if one is None or other is None:
        size = [f"{len(there)} rows" for there in (one, other) if there is not None]
        pair = ("no such table", *size) if one is None else (*size, "no such table")
        return [(table, "all", "all", *pair, True)], 1
    book = codebook(table)
    keys = [c for c in map(str, one) if c in book and book[c]["key"] and c in other]
    before, after = _by_row(one, keys), _by_row(other, keys)
    gone, fresh = before.index.difference(after.index), after.index.difference(before.index)
    found: list[tuple[Any, ...]] = [(table, row, "row", "there", "gone", True) for row in gone]
    found += [(table, row, "row", "not there", "new", True) for row in fresh]
    both = before.index.intersection(after.index, sort=False)
    columns = before.columns.union(after.columns, sort=False)
    pairs = (side.loc[both].reindex(columns=columns).to_numpy() for side in (before, after))
    for row, olds, news in zip(both, *pairs, strict=True):
        for column, old, new in zip(columns, olds, news, strict=True):
            if not _alike(old, new):
                found.append((table, row, column, *_show(old, new, unit(table, column))))
    return found, len(both) * len(columns) + len(gone) + len(fresh)


def _by_row(frame: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Name rows by their keys, or by their place where the codebook knows none."""
    frame = frame.astype(object)
    places = range(1, len(frame) + 1)
    named = frame[keys].to_numpy().tolist() if keys else [[f"row {k}"] for k in places]
    words = [JOIN.join(_words(str(part)) for part in row if part not in UNSAID) for row in named]
    rows = pd.Series(words, dtype=object)
    again = rows.groupby(rows).cumcount().to_numpy(int)
    return frame.drop(columns=keys).set_axis(rows + [f"{JOIN}again" * k for k in again])


def _words(part: str) -> str:
    return label(part) if part.partition(":")[0] in SECTOR_NAMES else part


def _alike(old: Any, new: Any) -> bool:
    if pd.isna(old) or pd.isna(new):
        return bool(pd.isna(old) and pd.isna(new))
    numbers = isinstance(old, int | float) and isinstance(new, int | float)
    return math.isclose(old, new, rel_tol=SAME, abs_tol=1e-12) if numbers else bool(old == new)


def _show(old: Any, new: Any, unit: str) -> tuple[str, str, bool]:
    """Return both values as words that differ, and whether pages would show the difference."""

    def words(value: Any, digits: int) -> str:
        if pd.isna(value):
            return "nothing"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return str(value)
        if unit == "decimal":
            return percent(float(value), digits)
        places = digits - 1 if abs(value) >= 100 else digits + 2 if abs(value) < 10 else digits
        return f"{value:,.{places}f}".replace("-", MINUS)

    pairs = ((words(old, digits), words(new, digits), digits == 1) for digits in range(1, 12))
    return next((pair for pair in pairs if pair[0] != pair[1]), (str(old), str(new), False))


def gallery_page(folders: Iterable[Path], out: Path) -> tuple[str, int]:
    """Return a page at ``out`` with one card per run, and how many there are."""
    runs: list[Path] = []
    for folder in folders:
        inside = [folder] if (folder / "run.json").is_file() else sorted(folder.glob("*/"))
        found = [run for run in inside if (run / "run.json").is_file()]
        if not found:
            raise InputError(f"{folder}: neither a finished run nor a folder of runs (no run.json)")
        runs += [run for run in found if run.resolve() not in [seen.resolve() for seen in runs]]
    cards = [_card(run, out) for run in runs]
    simulated = bool(cards) and all(card["simulated"] for card in cards)
    return fill("gallery.html", cards=cards, simulated=simulated), len(cards)


def _card(run: Path, out: Path) -> dict[str, Any]:
    recover(run)
    manifest = read_manifest(run)
    path = run / "results" / "verdicts.json"
    study = read_verdicts(path) if path in result_files(run, manifest) else {}
    index = run / "site" / "index.html"
    link = Path(os.path.relpath(index.resolve(), out.absolute().parent.resolve())).as_posix()
    words = read_words(run / "results")
    with damage_named(path), naming(words.names()):
        rows = [*study.get("rows", []), *filter(None, [study.get("contrast")])]
        shown = [{**r, "name": label(r["name"]), "effect": told(r).observed()} for r in rows]
    return {
        "name": run.resolve().name,
        "words": words,
        "run": manifest,
        "link": link if index.is_file() else "",
        "rows": shown,
        "failed": sum(job["status"] != "done" for job in manifest["jobs"]),
        "simulated": is_simulated(manifest["market"]),
    }

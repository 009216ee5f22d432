"""Runs side by side: what moved between two and what did it, and a page that leads to many."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from usjp_research.market.sources import is_simulated
from usjp_research.report.exports import codebook, result_tables
from usjp_research.report.pages import fill
from usjp_research.report.tables import told
from usjp_research.runs.folder import recover
from usjp_research.runs.store import damage_named, plain_json, read_manifest, result_files
from usjp_research.spec.read import read_words
from usjp_research.words import SECTOR_NAMES, InputError, label, naming, percent

SAME = 1e-9  # relative: what two machines may differ by
JOIN = " · "
PLURAL = ("returns", "packages")
FRONT = {"effect": "observed", "low": "from", "high": "to", "p_stepdown": "adjusted p"}
FRONT |= {"mde": "MDE", "implied_share_base": "implied"}


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that can move results: ``specification``, ``returns``, ``code`` or ``packages``."""

    name: str
    before: str
    after: str
    differs: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """One value of a result table that is not the same.

    ``visible`` says whether it differs in the digits that pages show.
    """

    table: str
    row: str
    column: str
    before: str
    after: str
    visible: bool = True


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two runs; ``moved`` has every value that did, by table."""

    names: tuple[str, str]
    runs: tuple[Mapping[str, Any], Mapping[str, Any]]
    causes: tuple[Cause, ...]
    verdicts: tuple[Moved, ...]
    moved: Mapping[str, tuple[Moved, ...]]
    checked: int

    @property
    def same(self) -> bool:
        """Whether no result moved."""
        return not self.moved

    @property
    def conclusion(self) -> str:
        """What did it, in one sentence."""
        found = [cause.name for cause in self.causes if cause.differs]
        verb = "differs" if len(found) == 1 and found[0] not in PLURAL else "differ"
        if self.same:
            but = f", although {_and(found)} {verb}" if found else ""
            return f"The results are identical{but}."
        if not found:
            return (
                "Specification, returns, code and packages are the same, and yet results moved: "
                "the study did not reproduce."
            )
        if len(found) == 1:
            return f"Only the {found[0]} {verb}: that did it."
        return f"More than one thing differs ({_and(found)}): change one at a time to tell which."

    def lines(self) -> Iterator[str]:
        """Give the comparison as plain text."""
        for letter, name, run in zip("AB", self.names, self.runs, strict=True):
            yield f"{letter}  {name}: {run['market']}, {str(run['started'])[:16]}"
        yield ""
        for cause in self.causes:
            told = f"{cause.before} -> {cause.after}" if cause.differs else f"same ({cause.before})"
            yield f"{cause.name:14} {told}"
        yield ""
        yield self.conclusion
        if not self.same:
            yield ""
            yield f"Verdicts that changed: {len(self.verdicts) or 'none'}"
            yield from (f"  {m.row}: {m.before} -> {m.after}" for m in self.verdicts)
            yield f"Values that moved, of {self.checked}, and in how many a reader would see it:"
            for table, moved in self.moved.items():
                yield f"  {table:20} {len(moved):6} {sum(m.visible for m in moved):6}"
            rows: dict[str, list[str]] = {}
            for m in self.moved.get("verdicts", ()):
                if m.visible and m.column in FRONT and JOIN not in m.row:
                    rows.setdefault(m.row, []).append(f"{FRONT[m.column]} {m.before} -> {m.after}")
            yield from (f"{row}: {'; '.join(parts)}" for row, parts in rows.items())


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def compare_runs(one: Path, other: Path) -> Comparison:
    """Compare two finished runs: tables by their keys, and what the results rest on."""
    recover(one)
    recover(other)
    runs = read_manifest(one), read_manifest(other)
    names = {**read_words(other / "results").names(), **read_words(one / "results").names()}
    with naming(names):
        return _compare(one, other, runs)


def _compare(one: Path, other: Path, runs: tuple[dict[str, Any], dict[str, Any]]) -> Comparison:
    sides = result_tables(one)[0], result_tables(other)[0]
    moved, checked = {}, 0
    for table in dict.fromkeys([*sides[0], *sides[1]]):
        found, count = _moved(table, sides[0].get(table), sides[1].get(table))
        checked += count
        if found:
            moved[table] = tuple(found)
    return Comparison(
        names=(one.name or str(one), other.name or str(other)),
        runs=runs,
        causes=tuple(_causes(runs, (_code(one), _code(other)))),
        verdicts=tuple(_verdicts(*(side.get("verdicts") for side in sides))),
        moved=moved,
        checked=checked,
    )


def _causes(runs: Sequence[Mapping[str, Any]], code: Sequence[str]) -> Iterator[Cause]:
    for name, key in (("specification", "spec"), ("returns", "snapshot")):
        before, after = (str(run.get(key))[:12] for run in runs)
        if key == "snapshot" and before != after:
            before, after = (f"{run.get('market')} {str(run.get(key))[:12]}" for run in runs)
        yield Cause(name, before, after, before != after)
    commits = [
        f"commit {run['commit'][:12]}{', with changes' if run.get('dirty') else ''}"
        if run.get("commit")
        else f"version {run.get('versions', {}).get('usjp_research')}"
        for run in runs
    ]
    known = all(code)  # the modules themselves say more than a commit, which may touch prose only
    differs = code[0] != code[1] if known else commits[0] != commits[1]
    yield Cause("code", commits[0], commits[1], differs)
    versions = [{**run.get("versions", {}), "lock": run.get("requirements_lock")} for run in runs]
    names = [k for k in {**versions[0], **versions[1]} if k != "usjp_research"]
    unlike = [k for k in names if versions[0].get(k) != versions[1].get(k)]
    told = [
        ", ".join(f"{k} {str(v.get(k))[:12]}" for k in unlike) or f"lock {str(v['lock'])[:12]}"
        for v in versions
    ]
    yield Cause("packages", told[0], told[1], bool(unlike))


def _code(run: Path) -> str:
    """Return the digests of the package's modules that the run's records carry."""
    found = set()
    for path in result_files(run, read_manifest(run)):
        if path.suffix == ".json":
            found.add(str(plain_json(path).get("code") or ""))
    return " ".join(sorted(found - {""}))


def _verdicts(one: pd.DataFrame | None, other: pd.DataFrame | None) -> Iterator[Moved]:
    def told(frame: pd.DataFrame | None) -> dict[str, str]:
        rows = [] if frame is None else frame.to_dict("records")
        return {
            label(row["name"]): f"{row['headline']}: {row['reason']}"
            if row["reason"]
            else row["headline"]
            for row in rows
            if row["set"] in ("sectors", "contrast")
        }

    before, after = told(one), told(other)
    for row in dict.fromkeys([*before, *after]):
        pair = before.get(row, "no such row"), after.get(row, "no such row")
        if pair[0] != pair[1]:
            yield Moved("verdicts", row, "verdict", *pair)


def _moved(
    table: str, one: pd.DataFrame | None, other: pd.DataFrame | None
) -> tuple[list[Moved], int]:
    """List the values of a table that are not the same, and count what was compared."""
    if one is None or other is None:
        there = one if other is None else other
        size = f"{0 if there is None else len(there)} rows"
        pair = ("no such table", size) if one is None else (size, "no such table")
        return [Moved(table, "all", "all", *pair)], 1
    book = codebook(table)
    keys = [c for c in map(str, one) if c in book and book[c].key and c in other]
    before, after = (_rows(frame, keys) for frame in (one, other))
    columns = [c for c in dict.fromkeys([*one, *other]) if c not in keys]
    found, count = [], 0
    for key in dict.fromkeys([*before, *after]):
        row = JOIN.join(_words(part) for part in key if part not in ("sectors", "contrast"))
        if key not in before or key not in after:
            pair = ("there", "gone") if key in before else ("not there", "new")
            found.append(Moved(table, row, "row", *pair))
            count += 1
            continue
        for column in columns:
            old, new = before[key].get(column), after[key].get(column)
            count += 1
            if not _alike(old, new):
                unit = book[column].unit if column in book else ""
                found.append(Moved(table, row, str(column), *_show(old, new, unit)))
    return found, count


def _words(part: str) -> str:
    return label(part) if part.partition(":")[0] in SECTOR_NAMES else part


def _rows(frame: pd.DataFrame, keys: Sequence[str]) -> dict[tuple[str, ...], dict[str, Any]]:
    """Index rows by their keys, or by their place where the codebook knows none."""
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for place, row in enumerate(frame.to_dict("records"), 1):
        key = tuple(str(row[k]) for k in keys) if keys else (f"row {place}",)
        while key in rows:
            key = (*key, "again")
        rows[key] = {str(name): value for name, value in row.items()}
    return rows


def _alike(old: Any, new: Any) -> bool:
    blank = [v is None or (isinstance(v, float) and math.isnan(v)) for v in (old, new)]
    if any(blank):
        return all(blank)
    if isinstance(old, int | float) and isinstance(new, int | float):
        return math.isclose(old, new, rel_tol=SAME, abs_tol=1e-12)
    return bool(old == new)


def _show(old: Any, new: Any, unit: str) -> tuple[str, str, bool]:
    """Return both values as words that differ, and whether pages would show the difference."""

    def words(value: Any, digits: int) -> str:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return "nothing"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return str(value)
        if unit == "decimal":
            return percent(float(value), digits)
        places = digits - 1 if abs(value) >= 100 else digits + 2 if abs(value) < 10 else digits
        return f"{value:,.{places}f}".replace("-", "\N{MINUS SIGN}")

    for digits in range(1, 12):
        pair = words(old, digits), words(new, digits)
        if pair[0] != pair[1]:
            break
    return *pair, digits == 1


# --- a page that leads to many runs ----------------------------------------------------------


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
    return fill("gallery.html", {"cards": cards, "simulated": simulated}), len(cards)


def _card(run: Path, out: Path) -> dict[str, Any]:
    recover(run)
    manifest = read_manifest(run)
    path = run / "results" / "verdicts.json"
    study = plain_json(path) if path in result_files(run, manifest) else {}
    index = run / "site" / "index.html"
    link = Path(os.path.relpath(index.resolve(), out.absolute().parent.resolve())).as_posix()
    contrast = study.get("contrast")
    words = read_words(run / "results")
    with damage_named(path), naming(words.names()):
        rows = [*study.get("rows", []), *([contrast] if contrast else [])]
        shown = [_shown(row) for row in rows]
    return {
        "name": run.resolve().name,
        "words": words,
        "run": manifest,
        "link": link if index.is_file() else "",
        "rows": shown,
        "failed": sum(job["status"] != "done" for job in manifest["jobs"]),
        "simulated": is_simulated(str(manifest["market"])),
    }


def _shown(row: Mapping[str, Any]) -> dict[str, str]:
    share = row["implied"]["share"]
    seen = told(row["effect"], row["low"], row["high"], share, row.get("sign", 1))
    return {
        "name": label(row["name"]),
        "headline": row["headline"],
        "reason": row["reason"],
        "effect": seen.observed(),
    }

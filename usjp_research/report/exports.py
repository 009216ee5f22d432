"""The results of a run as tables for other programs: one spreadsheet, or CSV files."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from usjp_research.market.sources import is_simulated
from usjp_research.report.numbers import PHRASES
from usjp_research.report.summary import read_summary
from usjp_research.runs import store
from usjp_research.spec.read import read_words
from usjp_research.study import disclosure

SETS = {"rows": "sectors", "contrast": "contrast", "leak_inclusive": "leak_inclusive"}
SETS |= {"contrast_versions": "contrast_version", "campaign": "campaign"}
LONGEST = 32_000  # characters of a cell
FORMATS = {"decimal": "0.00%", "probability": "0.000", "number": "0.000"}
FORMATS |= {"USD bn": "#,##0.0", "date": "yyyy-mm-dd"}


def codebook(table: str) -> dict[str, Mapping[str, str]]:
    """Return what each column of a result table means: its row of numbers.csv."""
    return {row["column"]: row for row in store.declared(table) if row["column"]}


def result_tables(run: Path) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Read every table of a run that may be handed on, and why others are left out."""
    manifest = store.read_manifest(run)
    public, level = bool(manifest.get("public")), str(manifest.get("level"))
    files = store.result_files(run, manifest)
    with store.damage_named(run / "results"):
        tables = _from_json(files, level if public else "")
        tables |= _from_frames(files)
        if not public:
            return tables, {}
        reasons = disclosure.withheld({k: list(map(str, tables[k])) for k in tables}, level)
        shown = {name: frame for name, frame in tables.items() if name not in reasons}
        return {name: disclosure.coarse(frame, level) for name, frame in shown.items()}, reasons


def _from_json(files: Sequence[Path], public: str) -> dict[str, pd.DataFrame]:
    """Read verdicts and rows; ``public`` is the level of a public run's market."""
    tables: dict[str, pd.DataFrame] = {}
    for path in (path for path in files if path.suffix == ".json"):
        content = store.read_verdicts(path) if path.stem == "verdicts" else store.plain_json(path)
        content = disclosure.public_record(content, public) if public else content
        rows = content.get("numbers", content).get("rows")
        if path.stem == "verdicts":
            tables["verdicts"] = _verdicts(content)
        elif isinstance(rows, list):
            tables[f"{path.stem}-rows"] = pd.DataFrame(map(_flat, rows))
    return tables


def _verdicts(content: Mapping[str, Any]) -> pd.DataFrame:
    """Set the rows of every kind under one another, in the order of the codebook."""
    found = {name: content.get(key) or [] for key, name in SETS.items()}
    kinds = {name: [rows] if isinstance(rows, dict) else rows for name, rows in found.items()}
    frame = pd.DataFrame({"set": n, **_flat(row)} for n, rows in kinds.items() for row in rows)
    known = [column for column in codebook("verdicts") if column in frame]
    return frame[[*known, *(column for column in frame if column not in known)]]


def _flat(row: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Give each value inside a record a name of its own."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        many = isinstance(value, list | tuple)
        own = {before + key: "; ".join(map(str, value)) if many else value}
        flat |= _flat(value, f"{before}{key}_") if isinstance(value, Mapping) else own
    return flat


def _from_frames(files: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """Read CSV and Parquet files; what notebooks saved per sector is one table, by ``record``."""
    parts = {path.stem: [store.read_csv(path)] for path in files if path.suffix == ".csv"}
    for path in (path for path in files if path.suffix == ".parquet"):
        frame = store.read_parquet(path)
        record, dash, key = path.stem.rpartition("-")
        notebook = record.partition("-")[0]
        if notebook != record:
            frame.insert(0, "record", record)
        parts.setdefault(notebook + dash + key, []).append(frame)
    return {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}


def _sheets(run: Path) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Return where tables come from, the tables, what they mean, and lines on what is left out."""
    manifest = store.read_manifest(run)
    tables, left_out = result_tables(run)
    each = pd.DataFrame(map(_flat, map(asdict, read_summary(run))))
    first = {} if each.empty else {"summary": each[[*codebook("summary")]]}
    lines = [f"{name}: left out, {why}" for name, why in left_out.items()]
    warning = {"SIMULATED": "nothing here is about a real market"}
    told: dict[str, Any] = {
        **(warning if is_simulated(manifest["market"]) else {}),
        **{words: manifest.get(key) for words, key in PHRASES["provenance"].items()},
        **{f"version of {name}": of for name, of in manifest["versions"].items()},
        **{words: manifest.get(key) for words, key in PHRASES["provenance of a run"].items()},
        **{f"left out {k}": line for k, line in enumerate(lines, 1)},
    }
    values = [(what, "not known" if value is None else str(value)) for what, value in told.items()]
    provenance = pd.DataFrame(values, columns=["what", "value"])
    meanings = [
        (table, column, found.get("unit") or "text", found.get("meaning", "not described"))
        for table, frame in {**first, **tables}.items()
        for column in map(str, frame)
        for found in [codebook(table).get(column, {})]
    ]
    book = pd.DataFrame(meanings, columns=["sheet", "column", "unit", "meaning"])
    return {**first, "provenance": provenance, **tables, "codebook": book}, lines


def write_tables(run: Path, folder: Path) -> list[str]:
    """Write every table as CSV, with ``codebook.csv``; return what was left out."""
    sheets, lines = _sheets(run)
    sheets["codebook"] = sheets["codebook"].rename(columns={"sheet": "table"})
    files = {f"{name}.csv": store.csv_bytes(frame) for name, frame in sheets.items()}
    store.write_all(store.prepare_folder(folder.absolute()), files)
    return lines


def write_workbook(run: Path, out: Path) -> list[str]:
    """Write the results as one ``.xlsx`` file of native numbers; return what was left out."""
    import xlsxwriter

    sheets, lines = _sheets(run)
    buffer = io.BytesIO()
    never = ("strings_to_numbers", "strings_to_formulas", "strings_to_urls")
    book = xlsxwriter.Workbook(buffer, {"in_memory": True, **dict.fromkeys(never, False)})
    ended = datetime.fromisoformat(store.read_manifest(run)["ended"]).replace(tzinfo=None)
    book.set_properties({"title": read_words(run / "results").question, "created": ended})
    names: set[str] = set()
    for name, frame in sheets.items():
        short = re.sub(r"[\[\]:*?/\\']", "_", name)[:31]
        while short.casefold() in names:
            short = f"{short[:28]}_{len(names)}"
        names.add(short.casefold())
        _sheet(book, book.add_worksheet(short), name, frame)
    if (path := run / "results" / "reading.json").is_file() and "summary" in sheets:
        said, top = str(store.plain_json(path)["sentences"][0]), len(sheets["summary"]) + 2
        wrapped = book.add_format({"text_wrap": True, "valign": "top"})
        book.worksheets()[0].merge_range(top, 0, top + 5, 6, said, wrapped)
    book.close()
    store.prepare_folder(out.absolute().parent)
    store.write_whole(out.absolute(), buffer.getvalue())
    return lines


def _sheet(book: Any, sheet: Any, table: str, frame: pd.DataFrame) -> None:
    head = book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bottom": 1})
    quoted = book.add_format({"quote_prefix": True})

    def quote(_: Any, row: int, place: int, text: str, shape: Any = None) -> int | None:
        risky = re.match(store.RISKY, text)
        # Where it is not, None lets it be written as any other text.
        return int(sheet.write_string(row, place, text, quoted)) if risky else None

    sheet.add_write_handler(str, quote)
    sheet.freeze_panes(1, 0)
    if len(frame):
        sheet.autofilter(0, 0, len(frame), len(frame.columns) - 1)
    for place, column in enumerate(map(str, frame.columns)):
        of = store.unit(table, column)
        shape = book.add_format({"num_format": FORMATS[of]}) if of in FORMATS else None
        title = f"{column} [{of}]" if of else column
        sheet.write_string(0, place, title, head)
        values = frame.iloc[:, place]
        width = max([len(title) / 2, *(len(str(value)) for value in values[:200])], default=8)
        sheet.set_column(place, place, 11 if shape else min(max(width, 8) + 2, 60))
        sheet.write_column(1, place, [_native(value, of) for value in values], shape)


def _native(value: Any, of: str) -> Any:
    """Return a value as what it is: nothing, a date, a number or a text."""
    if value is None or value is pd.NaT or value != value:  # NaN
        return None
    if of == "date" and re.fullmatch(r"\d{4}-\d\d-\d\d", str(value)):
        return datetime.fromisoformat(value)
    number = isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))
    return value if number or isinstance(value, datetime) else str(value)[:LONGEST]

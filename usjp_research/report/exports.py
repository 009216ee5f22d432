"""The results of a run as tables for other programs: one spreadsheet, or CSV files."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from usjp_research.market.sources import is_simulated
from usjp_research.runs.store import (
    RISKY,
    clean,
    csv_bytes,
    damage_named,
    declared,
    plain_json,
    prepare_folder,
    read_csv,
    read_manifest,
    read_parquet,
    result_files,
    write_all,
    write_whole,
)
from usjp_research.spec.read import read_words
from usjp_research.study import disclosure

SETS = {"rows": "sectors", "contrast": "contrast", "leak_inclusive": "leak_inclusive"}
SETS |= {"contrast_versions": "contrast_version", "campaign": "campaign"}
LONGEST = 32_000  # characters of a cell
FORMATS = {
    "decimal": "0.00%",
    "probability": "0.000",
    "USD bn": "#,##0.0",
    "number": "0.000",
    "date": "yyyy-mm-dd",
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a column holds; the unit is empty for text, keys together tell rows apart."""

    unit: str
    words: str
    key: bool = False


def codebook(table: str) -> Mapping[str, Meaning]:
    """Return what each column of a result table means, in the order of numbers.csv."""
    return {
        row["column"]: Meaning(row["unit"], row["meaning"], bool(row["key"]))
        for row in declared(table)
        if row["column"]
    }


def _meaning(table: str, column: str) -> Meaning:
    return codebook(table).get(column, Meaning("", "not described"))


def result_tables(run: Path) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Read every table of a run, and why some are left out.

    What notebooks saved per sector stands together, with a first column ``record``. A public run
    hands on nothing that shows single firms or would narrow them down.
    """
    manifest = read_manifest(run)
    public, level = bool(manifest.get("public")), str(manifest.get("level"))
    files = result_files(run, manifest)
    with damage_named(run / "results"):
        tables = _from_json(files, level if public else "")
        tables |= _from_frames(files)
        reasons = disclosure.withheld({k: list(map(str, tables[k])) for k in tables}, level)
        reasons = reasons if public else {}
        shown = {name: frame for name, frame in tables.items() if name not in reasons}
        return {k: disclosure.coarse(v, level) if public else v for k, v in shown.items()}, reasons


def _from_json(files: Sequence[Path], public: str) -> dict[str, pd.DataFrame]:
    """Read verdicts and rows; ``public`` is the level of a public run's market."""
    tables: dict[str, pd.DataFrame] = {}
    for path in files:
        if path.suffix != ".json":
            continue
        content = plain_json(path)
        content = disclosure.public_record(content, public) if public else content
        if path.stem == "verdicts":
            tables["verdicts"] = _verdicts(content)
        plain = content.get("numbers", content)
        if isinstance(rows := plain.get("rows"), list) and path.stem != "verdicts":
            tables[f"{path.stem}-rows"] = pd.DataFrame([_flat(row) for row in rows])
    return tables


def _from_frames(files: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """Read CSV and Parquet files, those that notebooks saved per sector as one table."""
    tables = {path.stem: read_csv(path) for path in files if path.suffix == ".csv"}
    parts: dict[str, list[pd.DataFrame]] = {}
    for path in files:
        if path.suffix != ".parquet":
            continue
        frame = read_parquet(path)
        record, dash, key = path.stem.rpartition("-")
        if not dash:
            tables[path.stem] = frame
            continue
        notebook = record.partition("-")[0]
        if notebook != record:
            frame.insert(0, "record", record)
        parts.setdefault(f"{notebook}-{key}", []).append(frame)
    return tables | {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}


def _verdicts(content: Mapping[str, Any]) -> pd.DataFrame:
    rows = []
    for key, name in SETS.items():
        found = content.get(key) or []
        rows += [
            {"set": name, **_flat(row)} for row in ([found] if isinstance(found, dict) else found)
        ]
    frame = pd.DataFrame(rows)
    known = [column for column in codebook("verdicts") if column in frame]
    return frame[[*known, *(column for column in frame if column not in known)]]


def _flat(row: Mapping[str, object]) -> dict[str, object]:
    flat: dict[str, object] = {}
    _flatten("", row, flat)
    return flat


def _flatten(name: str, value: object, into: dict[str, object]) -> None:
    if isinstance(value, Mapping):
        for key, part in value.items():
            _flatten(f"{name}_{key}" if name else key, part, into)
    else:
        into[name] = "; ".join(map(str, value)) if isinstance(value, list) else value


# --- a spreadsheet ---------------------------------------------------------------------------


def write_workbook(run: Path, out: Path) -> list[str]:
    """Write the results as one ``.xlsx`` file; return what was left out.

    The first sheet says where the numbers come from, the last what each column means. Numbers
    and dates are native; a text that looks like a formula stays text.
    """
    import xlsxwriter

    manifest = read_manifest(run)
    tables, left_out = result_tables(run)
    lines = [f"{name}: left out, {why}" for name, why in left_out.items()]
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True, "strings_to_numbers": False})
    ended = datetime.fromisoformat(manifest["ended"]).replace(tzinfo=None)
    book.set_properties({"title": read_words(run / "results").question, "created": ended})
    sheets = {"provenance": _provenance(manifest, lines), **tables}
    sheets["codebook"] = _book(tables)
    names: set[str] = set()
    for name, frame in sheets.items():
        short = re.sub(r"[\[\]:*?/\\']", "_", name)[:31]
        while short.casefold() in names:
            short = f"{short[:28]}_{len(names)}"
        names.add(short.casefold())
        _sheet(book, book.add_worksheet(short), name, frame)
    book.close()
    prepare_folder(out.absolute().parent)
    write_whole(out.absolute(), buffer.getvalue())
    return lines


def _provenance(manifest: Mapping[str, Any], lines: list[str]) -> pd.DataFrame:
    market = str(manifest.get("market", ""))
    rows = {
        **({"SIMULATED": "nothing here is about a real market"} if is_simulated(market) else {}),
        "market": market,
        "level": manifest.get("level"),
        "first day of returns": manifest.get("first"),
        "last day of returns": manifest.get("last"),
        "specification": manifest.get("spec"),
        "snapshot of returns": manifest.get("snapshot"),
        "git commit": manifest.get("commit"),
        "changes not committed": manifest.get("dirty"),
        "locked packages": manifest.get("requirements_lock"),
        **{f"version of {name}": of for name, of in manifest.get("versions", {}).items()},
        "run started": manifest.get("started"),
        "run ended": manifest.get("ended"),
        "public": manifest.get("public"),
        **{f"left out {k}": line for k, line in enumerate(lines, 1)},
    }
    told = [(key, "not known" if value is None else str(value)) for key, value in rows.items()]
    return pd.DataFrame(told, columns=["what", "value"])


def read_provenance(folder: Path) -> dict[str, str]:
    """Read where tables that `write_tables` wrote come from; empty when there are none."""
    path = folder / "provenance.csv"
    if not path.is_file():
        return {}
    rows = read_csv(path).fillna("")
    return dict(zip(rows["what"], rows["value"], strict=True))


def _book(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    rows = [
        {"sheet": table, "column": column, "unit": found.unit or "text", "meaning": found.words}
        for table, frame in tables.items()
        for column in map(str, frame.columns)
        for found in [_meaning(table, column)]
    ]
    return pd.DataFrame(rows, columns=["sheet", "column", "unit", "meaning"])


def _sheet(book: Any, sheet: Any, table: str, frame: pd.DataFrame) -> None:
    head = book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bottom": 1})
    quoted = book.add_format({"quote_prefix": True})
    sheet.freeze_panes(1, 0)
    if len(frame):
        sheet.autofilter(0, 0, len(frame), len(frame.columns) - 1)
    for place, column in enumerate(map(str, frame.columns)):
        unit = _meaning(table, column).unit
        shape = book.add_format({"num_format": FORMATS[unit]}) if unit in FORMATS else None
        title = f"{column} [{unit}]" if unit else column
        sheet.write_string(0, place, title, head)
        values = frame.iloc[:, place].tolist()
        width = max([len(title) / 2, *(len(str(value)) for value in values[:200])], default=8)
        sheet.set_column(place, place, 11 if shape else min(max(width, 8) + 2, 60))
        for row, value in enumerate(values, 1):
            _cell(sheet, row, place, value, shape, quoted)


def _cell(sheet: Any, row: int, place: int, value: Any, shape: Any, quoted: Any) -> None:
    """Write one value as what it is; never let the library guess from its text."""
    if isinstance(value, str) and shape is not None and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        value = date.fromisoformat(value)
    if value is None or value == "" or value is pd.NaT or value != value:  # NaN
        return
    if isinstance(value, bool):
        sheet.write_boolean(row, place, value)
    elif isinstance(value, int | float) and math.isfinite(value):
        sheet.write_number(row, place, value, shape)
    elif isinstance(value, date):
        sheet.write_datetime(row, place, value, shape)
    else:
        text = clean(str(value))[:LONGEST]
        sheet.write_string(row, place, text, quoted if re.match(RISKY, text) else None)


# --- plain files -----------------------------------------------------------------------------


def write_tables(run: Path, folder: Path) -> list[str]:
    """Write every table as CSV, with ``codebook.csv``; return what was left out.

    A text that a spreadsheet would take for a formula starts with an apostrophe.
    """
    tables, left_out = result_tables(run)
    lines = [f"{name}: left out, {why}" for name, why in left_out.items()]
    files: dict[str, bytes] = {}
    for name, frame in {
        **tables,
        "provenance": _provenance(read_manifest(run), lines),
        "codebook": _book(tables).rename(columns={"sheet": "table"}),
    }.items():
        files[f"{name}.csv"] = csv_bytes(frame)
    write_all(prepare_folder(folder.absolute()), files)
    return lines

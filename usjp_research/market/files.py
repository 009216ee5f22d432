"""Any file of rows and columns as text cells, read within bounds: CSV, Excel or Parquet."""

from __future__ import annotations

import ast
import csv
import io
import itertools
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from usjp_research.market import columns as c
from usjp_research.spec.records import in_project
from usjp_research.words import InputError

LARGEST = 2**29  # bytes of a CSV file, of cells of a Parquet file
UNPACKED = 2**26  # bytes that a compressed file may become
TOO_LARGE = f"more than {UNPACKED >> 20} MB when unpacked; save it as Parquet"
MOST_CELLS = 5_000_000  # of an Excel sheet
MOST_ROWS = 2**20
BLOCK_CELLS = 2**18
DAY = re.compile(r"\d{1,4}[-./]\d")  # how a day begins
LONGEST = 1000  # characters of a text in a Parquet file
FIRST = 20  # lines that tell what parts the columns
PARTED = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
TWO_ROWS = "two rows of names, fields and securities"
PICKLE = "a Python pickle, which is never opened; save it as Parquet"
# What a file starts with when it is something else than it should be.
OTHERS = {
    b"BZh": "compressed with bzip2; unpack it",
    b"\xfd7zXZ": "compressed with xz; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"Rar!": "a rar archive; unpack it",
    b"\xd0\xcf\x11\xe0": "an old Excel file (.xls); save it as .xlsx or CSV",
    b"\x80\x04": PICKLE,
    b"\x80\x05": PICKLE,
    b"\x89HDF": "an HDF5 file; save it as Parquet",
    b"ARROW1": "a Feather file; save it as Parquet",
    b"%PDF": "a PDF; save the table as CSV",
    b"<!": "a web page; save the table as CSV",
    b"<htm": "a web page; save the table as CSV",
    b"<?xml": "XML; save the table as CSV",
    b"{": "JSON; save the table as CSV",
}
STRANGE = re.compile(r"^/|\\|:|(?:^|/)\.\.(?:/|$)")  # names of parts that lead elsewhere
PARQUET = (".parquet", ".pq")
PICKLES = (".pkl", ".pickle", ".joblib")


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of a file, text or the types of Parquet, by row as the user sees it."""

    frame: pd.DataFrame
    pairs: dict[str, tuple[str, str]]  # field and security by column, of two rows of names
    read_as: tuple[str, ...] = ()  # what the file was read as, a line each
    parted: bool = True  # by commas, or nothing can be mistaken for a decimal comma


def existing(source: str) -> Path:
    """Find a file of the user, ``file:`` in front of it or not; InputError when there is none."""
    text, who = source.removeprefix("file:"), ""
    try:
        if (path := in_project(Path(text))).is_file():
            return path
    except InputError:
        who = " (no such user)"
    except (OSError, ValueError):  # a name too long
        pass
    do = "give the path of a CSV, Excel or Parquet file, from the folder that you stand in"
    raise InputError(f"{text}: no such file{who}; {do}")


def read_file(path: Path) -> Cells:
    """Read a file with plain numbers, whatever it has, and a name for its column of days."""
    cells = read_cells(path)
    frame, said = c.plain_numbers(path, cells.frame, cells.parted)
    if "" in frame.columns:
        named = [name for name in frame.columns if c.plain(name) in c.DATE_NAMES]
        first = None if frame.empty else frame[""].iloc[0]
        is_day = isinstance(first, pd.Timestamp) or DAY.match(str(first))
        if is_day and not named:
            frame = frame.rename(columns={"": "date"})
            said = (*said, "the column without a name as dates")
        elif named and c.counts_rows(frame[""]):
            frame = frame.drop(columns="")
            said = (*said, "without the column that has no name and counts the rows")
        else:
            at = list(frame.columns).index("") + 1
            across = sum(bool(DAY.match(str(name))) for name in frame.columns) > at
            do = "name it or take it out"
            do = "days stand across: turn the table, a row per day" if across else do
            raise InputError(f"{path}: row 1: column {at} has no name; {do}")
    return replace(cells, frame=frame, read_as=(*cells.read_as, *said))


def read_cells(path: Path) -> Cells:
    """Read a CSV, gzipped CSV, Excel or Parquet file, told apart by what it starts with."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
        if path.suffix.lower() in PICKLES:
            raise InputError(f"{path}: {PICKLE}")
        if start.startswith(b"PAR1") or path.suffix.lower() in PARQUET:
            return _parquet(path)
        if start.startswith(b"PK"):
            return _named(path, _excel(path), ["an Excel workbook"])
        for mark, what in OTHERS.items():
            if start.lstrip(b"\xef\xbb\xbf \r\n").startswith(mark):
                raise InputError(f"{path}: this is {what}")
        return csv_cells(path, _unpacked(path) if start.startswith(b"\x1f\x8b") else _whole(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def _whole(path: Path) -> bytes:
    if path.stat().st_size > LARGEST:
        raise InputError(f"{path}: more than {LARGEST >> 20} MB of text; save it as Parquet")
    return path.read_bytes()


def _unreadable(path: Path, what: str, error: Exception) -> InputError:
    return InputError(f"{path}: not readable as {what} ({c.short(' '.join(str(error).split()))})")


def _unpacked(path: Path) -> bytes:
    """Unpack gzip as far as the bound, never further."""
    unzip = zlib.decompressobj(wbits=31)
    try:
        data = unzip.decompress(_whole(path), UNPACKED + 1)
    except zlib.error:
        raise InputError(f"{path}: damaged gzip file; pack it again") from None
    if len(data) > UNPACKED:
        raise InputError(f"{path}: {TOO_LARGE}")
    if not unzip.eof:
        raise InputError(f"{path}: the gzip file is cut short; copy it again")
    if unzip.unused_data.strip(b"\0"):
        raise InputError(f"{path}: more than one file inside; give one gzipped CSV")
    if data[257:262] == b"ustar" or data.startswith((b"PAR1", b"PK", b"\x1f\x8b")):
        raise InputError(f"{path}: no CSV inside the gzip file; unpack it")
    return data


def _encoding(data: bytes) -> tuple[str, list[str]]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", ["UTF-16 text"]
    for at, encoding in enumerate(("utf-16-be", "utf-16-le")):  # where the zeros stand
        if data[at : at + 3 : 2] == b"\0\0" and len(data) > 3 and data[1 - at]:
            return encoding, ["UTF-16 text"]
    return "utf-8-sig", []


def csv_cells(path: Path, data: bytes) -> Cells:
    """Read the bytes of a CSV file, whatever its encoding and what parts its columns."""
    encoding, said = _encoding(data)
    try:
        with io.TextIOWrapper(io.BytesIO(data), encoding=encoding, newline="") as text:
            mark, skip = _separator(path, list(itertools.islice(text, FIRST)))
            text.seek(0)
            said += [f"columns parted by {PARTED[mark]}"] if mark != "," else []
            reader = csv.reader(text, delimiter=mark, skipinitialspace=True, strict=True)
            stripped = ([cell.strip() for cell in cells] for cells in reader)
            rows = itertools.islice(enumerate(stripped, start=1), skip, None)
            cells = _named(path, rows, said)
    except UnicodeError as error:
        fault = f"no UTF-8 text ({type(error).__name__}); save it as CSV UTF-8"
        raise InputError(f"{path}: not readable as CSV or Parquet: {fault}") from None
    except csv.Error as error:
        raise InputError(f"{path}: not readable as CSV: {error}; save it again") from None
    sizes = cells.frame.iloc[:, -1].str.len().to_numpy()
    shorter = len(sizes) > 1 and sizes[-1] < np.median(sizes[:-1]) - 1
    if shorter and data.rstrip(b"\0")[-1:] not in (b"\n", b"\r"):
        note = "its last number, which is shorter than the others and has no line end: a file cut?"
        cells = replace(cells, read_as=(*cells.read_as, note))
    return replace(cells, parted=mark == ",")


def _separator(path: Path, lines: list[str]) -> tuple[str, int]:
    """Find what parts the columns, and how many rows say only that."""
    declared = re.fullmatch(r"\s*\"?sep=([,;|\t])\"?\s*", lines[0]) if lines else None
    if declared:
        return declared[1], 1
    lines = [line for line in lines if line.strip()]
    tables = {mark: csv.reader(lines, delimiter=mark) for mark in PARTED}
    widths = {mark: [len(row) for row in rows] or [0] for mark, rows in tables.items()}
    there = [mark for mark in PARTED if widths[mark][0] > 1]
    steady = [mark for mark in there if len(lines) > 1 and len({*widths[mark][:-1]}) == 1]
    if len(steady) > 1:
        either = f"columns may be parted by '{steady[0]}' or by '{steady[1]}'"
        raise InputError(f"{path}: row 1: {either}; save it with one of them")
    return (*steady, *sorted(there, key=lambda mark: -widths[mark][0]), ",")[0], 0


def _named(path: Path, rows: Iterable[tuple[int, list[str]]], said: Sequence[str]) -> Cells:
    """Take the names from the first row, or from two, and the cells from the rest."""
    filled = ((number, cells) for number, cells in rows if any(cells))
    head = list(itertools.islice(filled, 3))
    if not head:
        raise InputError(f"{path}: the file is empty; expected a column 'date' and prices")
    (first, names), pairs, skip = head[0], {}, 1
    if two := _two_levels([cells for _, cells in head]):
        pairs = {" ".join(pair): pair for pair in two[0]}
        names, skip = ["date", *map(" ".join, two[0])], two[1]
        said = (*said, TWO_ROWS)
    rest = itertools.chain(head[skip:], filled)
    frame = _text_frame(path, rest, first, len(names))
    kept = [at for at, name in enumerate(names) if name or (frame[at] != "").any()]
    names = [names[at] for at in kept]
    _each_once(path, names, first)
    return Cells(frame[kept].set_axis(pd.Index(names, dtype=object), axis=1), pairs, tuple(said))


def _two_levels(head: list[list[str]]) -> tuple[list[tuple[str, str]], int] | None:
    """Read names that stand in two rows: pairs of field and security, and rows that they take."""
    if len(head) < 2 or len(head[0]) != len(head[1]) or len(head[0]) < 2:
        return None
    if re.search(r"\d", head[1][0]):  # a day: the second row is no row of names
        return None
    upper, lower = head[0][1:], head[1][1:]
    numbers = any(re.fullmatch(f"{c.POINT}|{c.COMMA}", cell) for cell in lower if cell)
    for at in range(1, len(upper)):
        upper[at] = upper[at] or upper[at - 1]  # merged cells
    if not all((*upper, *lower)):
        return None
    if _fields_second(upper, lower):
        pairs = list(zip(lower, upper, strict=True))
    elif all(c.plain(cell) in c.FIELDS for cell in upper) and not numbers:
        pairs = list(zip(upper, lower, strict=True))
    else:
        return None
    third = head[2] if len(head) > 2 else ["x"]
    return pairs, 3 if not any(third[1:]) and c.plain(third[0]) in c.TEXTS else 2


def _each_once(path: Path, names: Sequence[str], row: int = 1) -> None:
    if len(set(names)) < len(names):
        name = next(name for at, name in enumerate(names) if name in names[:at])
        raise InputError(f"{path}: row {row}: column {c.short(name)} stands there twice; keep one")


def _text_frame(
    path: Path, rows: Iterator[tuple[int, list[str]]], first: int, width: int
) -> pd.DataFrame:
    """Gather rows, a block at a time, so that text takes little more than its size."""
    parts = [pd.DataFrame(index=pd.Index([], dtype="int64"), columns=range(width), dtype="str")]
    while block := list(itertools.islice(rows, max(1, BLOCK_CELLS // width))):
        for number, cells in block:
            if len(cells) != width:
                cut = len(cells) < width
                fault = "a number cut, or a cell lost" if cut else "a comma in a number"
                seen = f"seen {len(cells)} cells, expected {width} as in row {first}"
                if width == 1:
                    do = "the names of the columns come first: take out what stands above them"
                    raise InputError(f"{path}: row {number}: {seen}; {do}")
                raise InputError(f"{path}: row {number}: {seen}; perhaps {fault}: mend the row")
        parts.append(pd.DataFrame([c for _, c in block], [n for n, _ in block], dtype="str"))
    return pd.concat(parts)


def _excel(path: Path) -> list[tuple[int, list[str]]]:
    """Read the only sheet with cells; formulas without a saved value are refused."""
    import openpyxl

    try:
        with zipfile.ZipFile(path) as packed:
            parts = {part.filename: part.file_size for part in packed.infolist()}
            if "xl/workbook.xml" not in parts:
                raise InputError(f"{path}: a zip archive, no Excel workbook; unpack it")
            strange = [name for name in parts if STRANGE.search(name)]
            if strange or len(packed.infolist()) > len(parts):
                told = f"a part {c.short(strange[0])}" if strange else "a part that is there twice"
                raise InputError(f"{path}: {told}, which no workbook has; save it anew in Excel")
            if sum(parts.values()) > UNPACKED:
                raise InputError(f"{path}: {TOO_LARGE}")
            unsaved = rb"(?:</f>|<f[^>]*/>)\s*(?:<v\s*/>|<v></v>)?\s*</c>"
            for name in parts:
                if name.startswith("xl/worksheets/") and re.search(unsaved, packed.read(name)):
                    do = "open it in Excel and save it, or paste values"
                    raise InputError(f"{path}: formulas without saved values; {do}")
        with path.open("rb") as file:  # whatever it is called
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            sheets = {sheet.title: _sheet(sheet) for sheet in book.worksheets}
    except InputError:
        raise
    except Exception as error:  # a damaged workbook fails in any of a dozen ways
        raise _unreadable(path, "an Excel workbook", error) from None
    full = [title for title, rows in sheets.items() if rows]
    if len(full) > 1:
        two = f"{c.short(full[0])} and {c.short(full[1])}"
        raise InputError(f"{path}: {len(full)} sheets have cells, {two}; keep the one with prices")
    return sheets[full[0]] if full else []


def _sheet(sheet: Any) -> list[tuple[int, list[str]]]:
    sheet.reset_dimensions()  # what a file says of its size need not be true
    rows, count = list[tuple[int, list[str]]](), 0
    for number, values in enumerate(sheet.iter_rows(values_only=True), start=1):
        count += len(values)
        if count > MOST_CELLS or number > MOST_ROWS:
            most = f"more than {MOST_CELLS:,} cells; save CSV"
            raise InputError(f"sheet {c.short(sheet.title)}: {most}")
        if any(value is not None for value in values):
            rows.append((number, [_written(value) for value in values]))
    width = max((at for _, row in rows for at, cell in enumerate(row, 1) if cell), default=0)
    return [(number, [*cells, *[""] * (width - len(cells))][:width]) for number, cells in rows]


def _written(value: object) -> str:
    text = "" if value is None else str(value).strip()
    return text.upper() if isinstance(value, bool) else text


def open_parquet(path: Path) -> Any:
    """Open a Parquet file without reading its cells."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path)
        texts = [f.name for f in names if f.type in (pa.string(), pa.large_string())]
        # A text that recurs is held once; a page that says its checksum is held against it.
        return pq.ParquetFile(path, read_dictionary=texts, page_checksum_verification=True)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(path, "CSV or Parquet", error) from None


def _parquet(path: Path) -> Cells:
    """Read the cells alone: what another program says of them in the file is not trusted."""
    import pyarrow as pa

    file = open_parquet(path)
    schema = file.schema_arrow
    if file.metadata.num_rows * len(schema.names) * 8 > LARGEST:
        size = f"{file.metadata.num_rows} rows of {len(schema.names)} columns"
        do = "keep the columns and years that are needed"
        raise InputError(f"{path}: {size} are more than {LARGEST >> 20} MB; {do}")
    _each_once(path, schema.names)
    try:
        table = file.read().replace_schema_metadata(None)
        frame = _as_text(path, table).to_pandas()
    except InputError:
        raise
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise _unreadable(path, "CSV or Parquet", error) from None
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    paired = _paired(schema.names)
    names = [" ".join(paired[name]).strip() if name in paired else name for name in schema.names]
    pairs = {" ".join(pair): pair for pair in paired.values() if all(pair)}
    frame.columns = pd.Index(["" if n == "__index_level_0__" else n for n in names], dtype=object)
    _each_once(path, list(frame.columns))
    return Cells(frame, pairs, (TWO_ROWS,) if pairs else ())


def _as_text(path: Path, table: Any) -> Any:
    """Write coded texts out, once it is known that none of them is long."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for at, field in enumerate(table.schema):
        if not pa.types.is_dictionary(field.type):
            continue
        words = (chunk.dictionary.cast(pa.string()) for chunk in table.column(at).chunks)
        longest = max((pc.max(pc.binary_length(word)).as_py() or 0 for word in words), default=0)
        if longest > LONGEST:
            seen = f"seen a text of {longest} characters, expected at most {LONGEST}"
            raise InputError(f"{path}: column {c.short(field.name)}: {seen}")
        table = table.set_column(at, field.name, table.column(at).cast(field.type.value_type))
    return table


def _paired(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Read names that pandas made of two: "('Close', 'SO')", field first."""
    whole = [name for name in names if re.fullmatch(r"\('[^']*', '[^']*'\)", name)]
    pairs: dict[str, tuple[str, str]] = {name: ast.literal_eval(name) for name in whole}
    both = [pair for pair in pairs.values() if all(pair)]
    if both and not _fields_second(*zip(*both, strict=True)):
        return pairs
    return {name: (second, first) for name, (first, second) in pairs.items()}


def _fields_second(upper: Sequence[str], lower: Sequence[str]) -> bool:
    """Whether of two levels of names the second has the fields; a security may be called LOW."""
    first, second = (all(c.plain(name) in c.FIELDS for name in level) for level in (upper, lower))
    return second and not (first and len({*upper}) >= len({*lower}))

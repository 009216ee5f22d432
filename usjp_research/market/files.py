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
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from usjp_research.spec.records import in_project
from usjp_research.words import InputError

LARGEST = 2**29  # bytes of a CSV file, of cells of a Parquet file
UNPACKED = 2**26  # bytes that a compressed file may become
MOST_CELLS = 5_000_000  # of an Excel sheet
MOST_ROWS = 2**20
BLOCK_CELLS = 2**18
FIRST = 20  # lines that tell what parts the columns
SEEN = 40  # characters of a value that a message repeats

# What a file starts with when it is something else than it should be.
OTHERS = {
    b"BZh": "compressed with bzip2; unpack it",
    b"\xfd7zXZ": "compressed with xz; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"Rar!": "a rar archive; unpack it",
    b"\xd0\xcf\x11\xe0": "an old Excel file (.xls); save it as .xlsx or CSV",
    b"\x80\x04": "a Python pickle, which is never opened; save it as Parquet",
    b"\x80\x05": "a Python pickle, which is never opened; save it as Parquet",
    b"\x89HDF": "an HDF5 file; save it as Parquet",
    b"ARROW1": "a Feather file; save it as Parquet",
    b"%PDF": "a PDF; save the table as CSV",
    b"<!": "a web page; save the table as CSV",
    b"<htm": "a web page; save the table as CSV",
    b"<?xml": "XML; save the table as CSV",
    b"{": "JSON; save the table as CSV",
}
PARQUET = (".parquet", ".pq")
PICKLES = (".pkl", ".pickle", ".joblib")

EXPONENT = r"(?:[eE][+-]?\d+)?"
POINT = rf"[+-]?(?:\d+|[1-9]\d{{0,2}}(?:[,'’\s]\d{{3}})+)?(?:\.\d*)?{EXPONENT}"
COMMA = rf"[+-]?(?:\d+|[1-9]\d{{0,2}}(?:[.'’\s]\d{{3}})+)?(?:,\d*)?{EXPONENT}"

FIELDS = frozenset(
    "open high low close volume price last bid ask mid vwap adjclose adjustedclose adjusted "
    "adjopen adjhigh adjlow adjvolume dividends dividend stocksplits splits split capitalgains "
    "return returns ret pxlast pxopen pxhigh pxlow pxvolume totreturnindexgrossdvds "
    "totreturnindexnetdvds repaired".split()
)
TEXTS = frozenset(
    "date dates day timestamp datetime tradedate ticker tickers symbol symbols tic sym "
    "tickersymbol security firm name".split()
)


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of a file under the names of their columns.

    Attributes
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        Text as it stands in a CSV or Excel file, the types of a Parquet file; the index is the
        row as the user sees it.
    pairs : mapping of str to (str, str)
        Field and security of each column where the file has two rows of names; else empty.
    read_as : tuple of str
        One line each: what the file was read as, when it is no plain CSV or Parquet.
    parted : bool
        Whether commas part the columns, or nothing can be mistaken for a decimal comma.
    """

    frame: pd.DataFrame
    pairs: dict[str, tuple[str, str]]
    read_as: tuple[str, ...] = ()
    parted: bool = True


def plain(name: str) -> str:
    """Write a name without case, spaces and marks, so that 'Adj. Close' is 'adj_close'.

    Examples
    --------
    >>> plain("Adj. Close")
    'adjclose'
    """
    return re.sub(r"[^0-9a-z]", "", name.casefold())


def short(text: object) -> str:
    """Quote a value of a file, cut where it is long."""
    shown = str(text)
    return repr(shown if len(shown) <= SEEN else f"{shown[:SEEN]}...")


def existing(text: str) -> Path:
    """Find a file of the user; InputError when there is none."""
    try:
        path = in_project(Path(text).expanduser())
        there = path.is_file()
    except (OSError, RuntimeError, ValueError):  # a name too long, a user who does not exist
        there = False
    if not there:
        raise InputError(f"{text}: no such file; give the path of a CSV, Excel or Parquet file")
    return path


def read_cells(path: Path) -> Cells:
    """Read a CSV, gzipped CSV, Excel or Parquet file, told apart by what it starts with.

    Raises
    ------
    InputError
        For a file that is none of these, larger than its bound, or has a row with too few or
        too many cells.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
        if path.suffix.lower() in PICKLES:
            raise InputError(f"{path}: a Python pickle, which is never opened; save it as Parquet")
        if start.startswith(b"PAR1") or path.suffix.lower() in PARQUET:
            return _parquet(path)
        if start.startswith(b"PK"):
            return _named(path, *_excel(path), ("an Excel workbook",))
        for mark, what in OTHERS.items():
            if start.lstrip(b"\xef\xbb\xbf \r\n").startswith(mark):
                raise InputError(f"{path}: this is {what}")
        return _csv(path, _unpacked(path) if start.startswith(b"\x1f\x8b") else _whole(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def _whole(path: Path) -> bytes:
    if path.stat().st_size > LARGEST:
        raise InputError(f"{path}: more than {LARGEST >> 20} MB of text; save it as Parquet")
    return path.read_bytes()


def _unpacked(path: Path) -> bytes:
    """Unpack gzip as far as the bound, never further."""
    unzip = zlib.decompressobj(wbits=31)
    if path.stat().st_size > UNPACKED:
        raise InputError(f"{path}: more than {UNPACKED >> 20} MB when unpacked; save it as Parquet")
    try:
        data = unzip.decompress(path.read_bytes(), UNPACKED + 1)
    except zlib.error:
        raise InputError(f"{path}: damaged gzip file; pack it again") from None
    if len(data) > UNPACKED:
        raise InputError(f"{path}: more than {UNPACKED >> 20} MB when unpacked; save it as Parquet")
    if not unzip.eof:
        raise InputError(f"{path}: the gzip file is cut short; copy it again")
    if unzip.unused_data.strip(b"\0"):
        raise InputError(f"{path}: more than one file inside; give one gzipped CSV")
    if data[257:262] == b"ustar" or data.startswith((b"PAR1", b"PK", b"\x1f\x8b")):
        raise InputError(f"{path}: no CSV inside the gzip file; unpack it")
    return data


# --- CSV -------------------------------------------------------------------------------------


def _encoding(data: bytes) -> tuple[str, str]:
    if data.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig", ""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", "UTF-16 text"
    if len(data) > 3 and data[1] == data[3] == 0 and data[0]:
        return "utf-16-le", "UTF-16 text"
    if len(data) > 3 and data[0] == data[2] == 0 and data[1]:
        return "utf-16-be", "UTF-16 text"
    return "utf-8", ""


def _csv(path: Path, data: bytes) -> Cells:
    encoding, said = _encoding(data)
    notes = [said] if said else []
    try:
        with io.TextIOWrapper(io.BytesIO(data), encoding=encoding, newline="") as text:
            lines = list(itertools.islice(text, FIRST))
        mark, skip = _separator(path, lines)
        if mark != ",":
            names = {";": "semicolons", "\t": "tabs", "|": "bars"}
            notes.append(f"columns parted by {names[mark]}")
        with io.TextIOWrapper(io.BytesIO(data), encoding=encoding, newline="") as text:
            reader = csv.reader(text, delimiter=mark, skipinitialspace=True, strict=True)
            rows = (
                (number, [cell.strip() for cell in cells])
                for number, cells in enumerate(reader, start=1)
                if number > skip
            )
            cells = _named(path, rows, tuple(notes))
    except UnicodeError as error:
        raise InputError(
            f"{path}: not readable as CSV or Parquet: no UTF-8 text ({type(error).__name__}); "
            "save it as CSV UTF-8"
        ) from None
    except csv.Error as error:
        raise InputError(f"{path}: not readable as CSV: {error}; save it again") from None
    last = data.rstrip(b"\0")[-1:]
    if last not in (b"\n", b"\r") and len(cells.frame):
        note = "its last row has no line end: were the file cut there, the last number would be too"
        cells = replace(cells, read_as=(*cells.read_as, note))
    return replace(cells, parted=mark == ",")


def _separator(path: Path, lines: list[str]) -> tuple[str, int]:
    """Find what parts the columns, and how many rows say only that."""
    declared = re.fullmatch(r"\s*\"?sep=([,;|\t])\"?\s*", lines[0]) if lines else None
    if declared:
        return declared[1], 1
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise InputError(f"{path}: the file is empty; expected a column 'date' and prices")
    width = {mark: len(next(csv.reader([lines[0]], delimiter=mark))) for mark in ",;\t|"}
    there = [mark for mark in width if width[mark] > 1]
    if len(there) > 1:
        steady = [
            mark
            for mark in there
            if {len(row) for row in csv.reader(lines[:-1], delimiter=mark)} == {width[mark]}
        ]
        if len(steady) > 1:
            raise InputError(
                f"{path}: row 1: columns may be parted by '{steady[0]}' or by '{steady[1]}'; "
                "save it with one of them"
            )
        there = steady or sorted(there, key=lambda mark: -width[mark])
    return (there[0] if there else ","), 0


# --- names of columns ------------------------------------------------------------------------


def _named(path: Path, rows: Iterable[tuple[int, list[str]]], read_as: tuple[str, ...]) -> Cells:
    """Take the names from the first row, or from two, and the cells from the rest."""
    filled = ((number, cells) for number, cells in rows if any(cells))
    head = list(itertools.islice(filled, 3))
    if not head:
        raise InputError(f"{path}: the file is empty; expected a column 'date' and prices")
    (first, names), *more = head
    two = _two_levels([cells for _, cells in head])
    if two is None:
        rest = itertools.chain(more, filled)
        width, pairs = len(names), {}
    else:
        pairs_of, skip = two
        rest = itertools.chain(head[skip:], filled)
        names, width = ["date", *(f"{field} {name}" for field, name in pairs_of)], len(names)
        pairs = dict(zip(names[1:], pairs_of, strict=True))
        read_as = (*read_as, "two rows of names, fields and securities")
    frame = _blocks(path, _of_width(path, rest, first, width), width)
    kept = [at for at, name in enumerate(names) if name or (frame.iloc[:, at] != "").any()]
    names = [names[at] for at in kept]
    frame = frame.iloc[:, kept]
    _each_once(path, names, first)
    frame.columns = pd.Index(names, dtype=object)
    return Cells(frame, pairs, read_as)


def _two_levels(head: list[list[str]]) -> tuple[list[tuple[str, str]], int] | None:
    """Read names that stand in two rows: pairs of field and security, and rows that they take."""
    if len(head) < 2 or len(head[0]) != len(head[1]) or len(head[0]) < 2:
        return None
    if re.search(r"\d", head[1][0]):  # a day: the second row is no row of names
        return None
    upper, lower = head[0][1:], head[1][1:]
    above, below = ([plain(cell) in FIELDS for cell in row if cell] for row in (upper, lower))
    numbers = any(re.fullmatch(POINT, cell) or re.fullmatch(COMMA, cell) for cell in lower if cell)
    if below and all(below) and all(lower):
        names = list(itertools.accumulate(upper, lambda old, new: new or old))  # merged cells
        pairs = list(zip(lower, names, strict=True))
    elif above and all(above) and all(upper) and not numbers and all(lower):
        pairs = list(zip(upper, lower, strict=True))
    else:
        return None
    third = head[2] if len(head) > 2 else ["x"]
    return pairs, 3 if not any(third[1:]) and plain(third[0]) in TEXTS else 2


def _each_once(path: Path, names: Sequence[str], row: int = 1) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(
                f"{path}: row {row}: column {short(name)} stands there twice; keep one"
            )
        seen.add(name)


def _of_width(
    path: Path, rows: Iterable[tuple[int, list[str]]], first: int, width: int
) -> Iterator[tuple[int, list[str]]]:
    for number, cells in rows:
        if len(cells) != width:
            fault = "a number cut, or a cell lost" if len(cells) < width else "a comma in a number"
            raise InputError(
                f"{path}: row {number}: seen {len(cells)} cells, expected {width} as in row "
                f"{first}; perhaps {fault}: mend the row"
            )
        yield number, cells


def _blocks(path: Path, rows: Iterator[tuple[int, list[str]]], width: int) -> pd.DataFrame:
    """Gather rows as columns, a block at a time, so that text takes little more than its size."""
    import pyarrow as pa

    names = [str(at) for at in range(width)]
    empty = pa.table({name: pa.array([], pa.string()) for name in names})
    parts, numbers = [empty], []
    while block := list(itertools.islice(rows, max(1, BLOCK_CELLS // width))):
        numbers += [number for number, _ in block]
        columns = zip(*(cells for _, cells in block), strict=True)
        parts.append(pa.table([pa.array(column, pa.string()) for column in columns], names=names))
    frame: pd.DataFrame = pa.concat_tables(parts).to_pandas()
    frame.index = pd.Index(numbers, dtype="int64")
    return frame


# --- Excel -----------------------------------------------------------------------------------


def _excel(path: Path) -> list[Iterable[tuple[int, list[str]]]]:
    """Read the only sheet with cells; formulas without a saved value are refused."""
    import openpyxl

    try:
        with zipfile.ZipFile(path) as packed:
            parts = {part.filename: part.file_size for part in packed.infolist()}
            if "xl/workbook.xml" not in parts:
                raise InputError(f"{path}: a zip archive, no Excel workbook; unpack it")
            if sum(parts.values()) > UNPACKED:
                raise InputError(
                    f"{path}: more than {UNPACKED >> 20} MB when unpacked; save it as Parquet"
                )
            unsaved = rb"(?:</f>|<f[^>]*/>)\s*(?:<v\s*/>|<v></v>)?\s*</c>"
            for name in parts:
                if name.startswith("xl/worksheets/") and re.search(unsaved, packed.read(name)):
                    raise InputError(
                        f"{path}: formulas without saved values; open it in Excel and save it, or "
                        "paste values"
                    )
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheets = {sheet.title: _sheet(sheet) for sheet in book.worksheets}
        book.close()
    except InputError:
        raise
    except Exception as error:  # a damaged workbook fails in any of a dozen ways
        reason = short(" ".join(str(error).split()))
        raise InputError(f"{path}: not readable as an Excel workbook ({reason})") from None
    full = [title for title, rows in sheets.items() if rows]
    if len(full) > 1:
        raise InputError(
            f"{path}: {len(full)} sheets have cells, {short(full[0])} and {short(full[1])}; keep "
            "the one with prices"
        )
    return [sheets[full[0]] if full else []]


def _sheet(sheet: Any) -> list[tuple[int, list[str]]]:
    sheet.reset_dimensions()  # what a file says of its size need not be true
    rows: list[tuple[int, list[str]]] = []
    count = 0
    for number, values in enumerate(sheet.iter_rows(values_only=True), start=1):
        count += len(values)
        if count > MOST_CELLS or number > MOST_ROWS:
            raise InputError(
                f"sheet {short(sheet.title)}: more than {MOST_CELLS:,} cells; save CSV"
            )
        if any(value is not None for value in values):
            rows.append((number, [_written(value) for value in values]))
    width = max((_filled(cells) for _, cells in rows), default=0)
    return [(number, [*cells, *[""] * (width - len(cells))][:width]) for number, cells in rows]


def _filled(cells: Sequence[str]) -> int:
    return max((at for at, cell in enumerate(cells, start=1) if cell), default=0)


def _written(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return str(value).strip()


# --- Parquet ---------------------------------------------------------------------------------


def open_parquet(path: Path) -> Any:
    """Open a Parquet file without reading its cells."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = short(" ".join(str(error).split()))
        raise InputError(f"{path}: not readable as CSV or Parquet ({reason})") from None


def _parquet(path: Path) -> Cells:
    """Read the cells alone: what another program says of them in the file is not trusted."""
    import pyarrow as pa

    file = open_parquet(path)
    schema = file.schema_arrow
    if file.metadata.num_rows * len(schema.names) * 8 > LARGEST:
        raise InputError(
            f"{path}: {file.metadata.num_rows} rows of {len(schema.names)} columns are more than "
            f"{LARGEST >> 20} MB; keep the columns and years that are needed"
        )
    _each_once(path, schema.names)
    try:
        frame = file.read().to_pandas(ignore_metadata=True)
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        reason = short(" ".join(str(error).split()))
        raise InputError(f"{path}: not readable as CSV or Parquet ({reason})") from None
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    names, pairs = [], {}
    for name in map(str, schema.names):
        pair = _pair(name)
        names.append(" ".join(pair).strip() if pair else name)
        if pair and all(pair):
            pairs[names[-1]] = pair
    frame.columns = pd.Index(["" if n == "__index_level_0__" else n for n in names], dtype=object)
    _each_once(path, list(frame.columns))
    said = ("two rows of names, fields and securities",) if pairs else ()
    return Cells(frame, pairs, said)


def _pair(name: str) -> tuple[str, str] | None:
    """Read a name that pandas made of two: "('Close', 'SO')", field first."""
    if not re.fullmatch(r"\('[^']*', '[^']*'\)", name):
        return None
    first, second = ast.literal_eval(name)
    return (second, first) if plain(second) in FIELDS else (first, second)


# --- numbers ---------------------------------------------------------------------------------


def plain_numbers(path: Path, cells: Cells) -> Cells:
    """Write the numbers of a file with a decimal point and nothing else.

    The whole file decides between decimal comma and point: a cell such as 1,234 alone could be
    either, and is refused when no other cell settles it.
    """
    frame = cells.frame
    texts = [
        at
        for at, name in enumerate(frame.columns)
        if plain(name) not in TEXTS and isinstance(frame.dtypes.iloc[at], pd.StringDtype)
    ]
    odd = _holding(frame, texts, r"[,'’\s]")
    if cells.parted and not odd:
        return cells
    odd = _holding(frame, texts, r"[.,'’\s]")
    if not odd:
        return cells
    found = pd.concat([frame.iloc[:, at][rows] for at, rows in odd.items()])
    by_point, by_comma = found.str.fullmatch(POINT), found.str.fullmatch(COMMA)
    point, comma = found[by_point & ~by_comma], found[by_comma & ~by_point]
    both = found[by_point & by_comma & found.str.contains("[.,]")]
    if len(point) and len(comma):
        raise InputError(
            f"{path}: rows {point.index[0]} and {comma.index[0]}: seen {short(point.iloc[0])} and "
            f"{short(comma.iloc[0])}, expected one decimal mark; save the numbers alike"
        )
    if len(both) and not len(point) and not len(comma):
        digits = re.sub(r"[.,]", "", both.iloc[0])
        raise InputError(
            f"{path}: row {both.index[0]}: seen {short(both.iloc[0])}, which may be "
            f"{both.iloc[0].replace(',', '.')} or {digits}; save the file without thousands "
            "separators and with decimal points, columns parted by commas"
        )
    return _rewritten(cells, odd, comma=bool(len(comma)))


def _holding(frame: pd.DataFrame, places: Sequence[int], marks: str) -> dict[int, Any]:
    """Find the cells with one of the marks: rows as a mask, by the place of the column."""
    found = {at: frame.iloc[:, at].fillna("").str.contains(marks).to_numpy(bool) for at in places}
    return {at: rows for at, rows in found.items() if rows.any()}


def _rewritten(cells: Cells, odd: dict[int, Any], *, comma: bool) -> Cells:
    frame, grouped = cells.frame.copy(), False
    drop, style = (r"[.'’\s]", COMMA) if comma else (r"[,'’\s]", POINT)
    for at, rows in odd.items():
        column = frame.iloc[:, at].astype(object)
        number = rows & column.astype(str).str.fullmatch(style).to_numpy(bool)
        written = column[number].str.replace(drop, "", regex=True)
        grouped |= bool((written.str.len() < column[number].str.len()).any())
        column[number] = written.str.replace(",", ".") if comma else written
        frame.isetitem(at, column.astype(str))
    said = ["numbers with a decimal comma"] if comma else []
    said += ["numbers with thousands separators"] if grouped else []
    return replace(cells, frame=frame, read_as=(*cells.read_as, *said))


def counts_rows(column: pd.Series) -> bool:
    """Whether a column without a name only numbers the rows, as some programs add it."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy("float64", na_value=np.nan)
    return bool(len(numbers) and numbers[0] in (0, 1) and (np.diff(numbers) == 1).all())

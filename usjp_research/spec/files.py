"""Strict reading of CSV and YAML into pydantic models: complaints name file, row and column."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from usjp_research.spec.cells import NUMBER, CellError
from usjp_research.words import InputError, nearest, shortened, shown

DATUM = r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?|true|false"
LONGEST_NUMBER = 400  # digits
LARGEST_TABLE, LARGEST_YAML = 20_000_000, 200_000  # bytes
DEEPEST = 12  # levels of a YAML file
MOST_ALIASES = 20  # each may repeat all that stands before it
EXPECTED = {
    "model_type": "keys with values, as 'key: value'",
    "tuple_type": "a list, as [a, b]",
    "dict_type": "keys with values, as 'key: value'",
    "float_parsing": "a valid number, finite and written as 0.5",
}
MOST_FAULTS = 100  # that are told at once
T = TypeVar("T")
_KEPT: list[list[InputError]] = []  # what was found wrong, where all of it is asked for


@contextmanager
def every_fault() -> Iterator[list[InputError]]:
    """Keep what is wrong in the files that are read inside, in place of raising the first."""
    _KEPT.append([])
    try:
        yield _KEPT[-1]
    finally:
        _KEPT.pop()


@contextmanager
def on_its_own() -> Iterator[None]:
    """Go on after what is read inside, though it be wrong, where every fault is asked for."""
    try:
        yield
    except InputError as fault:
        refuse(fault)


def refuse(*faults: InputError) -> None:
    """Raise the first of what is wrong, or keep all of it where every fault is asked for."""
    if faults and (not _KEPT or len(_KEPT[-1]) >= MOST_FAULTS):
        raise faults[0]
    if faults:
        _KEPT[-1].extend(faults)


def faulty() -> bool:
    """Say whether something wrong was kept, so that what follows from it need not be told."""
    return bool(_KEPT and _KEPT[-1])


def content_of(path: Path, most: int) -> bytes:
    """Read a plain file that is no larger than a file of parameters has reason to be."""
    try:
        kind = path.stat()
        if not stat.S_ISREG(kind.st_mode):
            raise InputError(f"{path}: a folder or a device, expected a plain file; give another")
        if kind.st_size > most:
            seen = f"seen {kind.st_size / 1e6:,.1f} MB, expected at most {most / 1e6:g} MB"
            raise InputError(f"{path}: {seen}; leave out what is no parameter")
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check its name and folder") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its rights") from None


def columns_of(kind: Any) -> Mapping[str, FieldInfo]:
    """List the fields of a model, or of the model inside a list or an optional, as files do."""
    kinds = [getattr(k, "__origin__", k) for k in (kind, *get_args(kind))]
    models = (getattr(k, "__pydantic_fields__", {}) for k in kinds)
    fields: Mapping[str, FieldInfo] = next(filter(None, models), {})
    return {str(field.validation_alias or name): field for name, field in fields.items()}


def _field_at(kind: Any, place: Sequence[int | str]) -> FieldInfo | None:
    """Find the field that a place in a file belongs to; places in lists are passed over."""
    field = None
    for part in place:
        found = columns_of(kind).get(str(part))
        field, kind = (found, found.annotation) if found else (field, kind)
    return field


def _expected(fault: Mapping[str, Any], kind: Any) -> str:
    """Say what should stand there: of a cell, of a field, or in a validator's own words."""
    own, field = fault.get("ctx", {}).get("error"), _field_at(kind, fault["loc"])
    if field and field.description and not isinstance(own, CellError):
        return field.description
    if own:
        return str(own)
    if fault["type"] == "literal_error":
        known = re.findall("'([^']*)'", fault["ctx"]["expected"])
        return f"one of {', '.join(known)} ({nearest(str(fault['input']), known)})"
    return str(EXPECTED.get(fault["type"], fault["msg"].removeprefix("Input should be ")))


def read_rows(
    path: Path,
    model: type[T],
    *,
    beside: Sequence[str] = (),
    more: Sequence[str] = (),
    once: str = "",
    needed: bool = False,
    known: Mapping[str, object] | None = None,
) -> tuple[T, ...]:
    """Read a CSV file into one record a row; columns ``beside`` those of the model are not read."""
    columns = columns_of(model)
    required = [name for name, field in columns.items() if field.is_required() or name == once]
    if not path.exists() and not needed:
        return ()
    table: list[tuple[int, dict[str, str]]] = []
    with on_its_own():
        if not path.exists():
            raise InputError(f"{path}: no such file; expected columns {', '.join(required)}")
        table = _cells(path, required, [*columns, *more, *beside])
        if not table and needed:
            raise InputError(f"{path}: there is a header but no row; add at least one")
    rows, seen = [], dict[str, int]()
    for number, cells in table:
        where = f"{path}: row {number}"
        given = {k: v for k, v in cells.items() if k in required or (v and k not in beside)}
        faults, name = [], cells.get(once, "")
        try:
            rows.append(TypeAdapter(model).validate_python(given, context=known))
        except ValidationError as error:
            for fault in error.errors():
                own = fault.get("ctx", {}).get("error")
                column = own.column if isinstance(own, CellError) else str(fault["loc"][0])
                told = f"seen '{cells.get(column, '')}', expected {_expected(fault, model)}"
                faults.append(InputError(f"{where}, column '{column}': {told}"))
        if once and name in seen and not faults:
            again = f"already stands in row {seen[name]}; every {once} may stand there once"
            faults = [InputError(f"{where}, column '{once}': '{name}' {again}")]
        refuse(*faults)
        seen[name] = number
    return tuple(rows)


def _cells(path: Path, needed: list[str], known: list[str]) -> list[tuple[int, dict[str, str]]]:
    """Read the rows that are not blank, below comments and header: their number, and cells."""
    try:
        text = content_of(path, LARGEST_TABLE).decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        table = [(reader.line_num, [shown(cell.strip()) for cell in cells]) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        do = "close quotes, save as UTF-8"
        raise InputError(f"{path}: not readable as UTF-8 CSV ({error}); {do}") from None
    table = [*itertools.dropwhile(lambda row: (*row[1], "")[0].startswith("#"), table)]
    if not table:
        raise InputError(f"{path}: the file is empty; expected columns {', '.join(needed)}")
    first, header = table[0]
    where = f"{path}: row {first}"
    if len(header) == 1 and (mark := re.search("[;\t]", header[0])):
        part = "semicolons" if mark[0] == ";" else "tabs"
        raise InputError(f"{where}: columns parted by {part}; save it with commas between them")
    for name in needed:
        if name not in header:
            hint = nearest(name, header) if header else "the header is empty"
            lacks = f"column '{name}' is missing ({hint}); expected {', '.join(needed)}"
            raise InputError(f"{where}: {lacks}")
    for name in header:
        if name not in known:
            raise InputError(f"{where}: unknown column '{name}': {nearest(name, known)}")
        if header.count(name) > 1:
            raise InputError(f"{where}: column '{name}' stands there twice; keep one")
    rows = []
    for number, cells in table[1:]:
        if len(cells) == len(header) and any(cells):
            rows.append((number, dict(zip(header, cells, strict=True))))
        elif any(cells):
            seen = f"seen {len(cells)} cells, expected {len(header)}"
            refuse(InputError(f"{path}: row {number}: {seen}; quote cells that contain commas"))
    return rows


class _Loader(yaml.SafeLoader):
    """YAML whose values stay text as written, and where a key stands once; the model converts."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the base class has it so
        first: [pair for pair in pairs if pair[0].endswith(":null")]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {  # noqa: RUF012 - the base class has it so
        tag: make
        for tag, make in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.endswith((":null", ":str", ":seq", ":map"))
    }
    depth = aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.aliases += self.check_event(yaml.AliasEvent)
        fault = f"more than {DEEPEST} levels deep" if self.depth >= DEEPEST else ""
        if self.aliases > MOST_ALIASES:
            fault = fault or f"more than {MOST_ALIASES} aliases"
        if fault:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"{fault}, write it out flat", mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        return shown(super().construct_scalar(node))

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                problem = f"key '{key.value}' stands there twice, keep one"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


class _Typed(_Loader):
    """YAML whose plain scalars are what JSON says: numbers, true and false; all else is text."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        value = yaml.SafeLoader.construct_scalar(self, node)
        plain = getattr(node, "style", None) is None and len(value) < LONGEST_NUMBER
        return json.loads(value) if plain and re.fullmatch(DATUM, value) else value


def read_yaml(path: Path, model: type[T]) -> T | None:
    """Read a YAML file into a model; None when there is no file."""
    if not path.exists():
        return None
    found = None
    with on_its_own():
        content = _load_yaml(path)
        if not isinstance(content, dict):
            told = "the file is empty or no mapping; expected 'key: value' lines"
            raise InputError(f"{path}: {told}")
        found = validated(str(path), content, model)
    return found


def read_entries(path: Path, model: type[T]) -> tuple[T, ...]:
    """Read a YAML file that is a list; what is wrong is said with the entry's number.

    Its values are data that notebooks are given: numbers are numbers where they have no quotes.
    """
    content = _load_yaml(path, typed=True)
    if not isinstance(content, list) or not content:
        raise InputError(f"{path}: the file is empty or no list; expected lines as '- key: value'")
    entries = enumerate(content, start=1)
    return tuple(validated(f"{path}: entry {number}", entry, model) for number, entry in entries)


def _load_yaml(path: Path, *, typed: bool = False) -> object:
    try:
        text = content_of(path, LARGEST_YAML).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not readable as UTF-8 ({error}); save it as UTF-8") from None
    return plain_yaml(str(path), text, typed=typed)


def plain_yaml(where: str, text: str, *, typed: bool = False) -> object:
    """Read YAML as text, or as what JSON says; what cannot be read is said with its row."""
    try:
        return yaml.load(text, Loader=_Typed if typed else _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f": row {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "a character that YAML does not allow"
        fault = f"not readable as YAML ({problem}); check indent and quotes"
        raise InputError(f"{where}{place}: {fault}") from None


def validated(where: str, content: object, model: type[T]) -> T:
    """Make a model of what a file or a caller gave; what is wrong is said with its key."""
    try:
        return TypeAdapter(model).validate_python(content)
    except ValidationError as error:
        found = error.errors()
    # A misspelt key is also a missing one: the unknown name tells more.
    unknown = [fault for fault in found if fault["type"] == "extra_forbidden"]
    hidden = ("extra_forbidden", *(["missing"] if unknown else []))
    told = unknown + [fault for fault in found if fault["type"] not in hidden]
    faults = [InputError(f"{where}: {_explain(fault, model)}") for fault in told]
    refuse(*faults[:-1])
    raise faults[-1]


def _explain(first: Mapping[str, Any], model: Any) -> str:
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        field = _field_at(model, first["loc"][:-1])
        known = columns_of(field.annotation if field else model)
        hint = nearest(str(first["loc"][-1]), known) if known else "remove it"
        return f"unknown key '{where}': {hint}"
    if first["type"] == "missing":
        return f"key '{where}' is missing; add it"
    message = _expected(first, model)
    if not where:
        return message
    # A number stands in the file without quotes.
    value = first["input"]
    plain = isinstance(value, str) and re.fullmatch(NUMBER, value, re.ASCII)
    seen = f"'{value}'" if isinstance(value, str) and not plain else str(value)
    return f"key '{where}': seen {shortened(seen, 60)}, expected {message}"

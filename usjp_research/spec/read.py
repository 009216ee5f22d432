"""Strict readers for ``params/``: every complaint names file, row and column."""

from __future__ import annotations

import csv
import io
import re
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from usjp_research.spec.checks import NEEDED, Check, from_cells
from usjp_research.spec.records import (
    LARGEST_USD_BN,
    NEWS_KINDS,
    PAPERS,
    ROLES,
    YEARS,
    Accepted,
    Claim,
    Confounder,
    Donor,
    Event,
    Firm,
    News,
    Role,
    Rule,
    Sector,
    Spec,
    Thesis,
    Words,
    find_root,
    in_project,
)
from usjp_research.words import InputError, nearest, shortened, shown, use_names

PRECISIONS = ("minute", "about", "day")
SIGNS = {"+": 1, "-": -1, "0": 0, "+/-": 0, "": 0}
EVENT_COLUMNS = ("id", "announced", "role", "title")
EVENT_NOTES = ("zone", "precision", "category", "reason", "confounders", "source", "source_url")
INSTANT = re.compile(r"\d{4}-\d\d-\d\d(?P<time>[T ]\d\d:\d\d.*)?", re.ASCII)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf)", re.ASCII | re.IGNORECASE)
LARGEST_TABLE, LARGEST_YAML = 20_000_000, 200_000  # bytes
COLOURS = dict(zip(("colour", "dark_colour"), PAPERS, strict=True))  # a sector's, and on what
CONTRAST = 3  # to 1, of what is drawn (WCAG 2.2, 1.4.11)
DEEPEST = 12  # levels of a YAML file
MOST_ALIASES = 20  # each may repeat all that stands before it
Model = TypeVar("Model", bound=BaseModel)


def read_spec(params: str | Path | None = None, *, events: str | Path | None = None) -> Spec:
    """Read a study from a folder of parameters.

    Only ``universe.csv`` and ``events.csv`` are needed; without ``study.yaml`` the fixed rule
    holds, without ``own_news.csv`` nothing is blacked out, without ``thesis.yaml`` no sector
    has an implied value, and without ``sectors.csv`` sectors are called by their keys. `label`
    and figures show sectors as the study that was read last.

    Parameters
    ----------
    params : path, optional
        Folder of parameters, or the ``study.yaml`` in it. A relative path is tried from the
        working directory and then from the project's root. The project's own by default.
    events : path, optional
        An events file to use in place of the folder's.

    Returns
    -------
    Spec

    Raises
    ------
    InputError
        One line that names file, row and column, what was seen and what was expected.

    Examples
    --------
    >>> spec = read_spec()                                          # doctest: +SKIP
    >>> [event.id for event in spec.with_role("primary")]           # doctest: +SKIP
    """
    folder = _params_folder(params)
    firms = _read_universe(folder / "universe.csv")
    sectors = tuple(dict.fromkeys(firm.sector for firm in firms))
    rule = _read_yaml(folder / "study.yaml", Rule) or Rule()
    file = in_project(Path(events)) if events else folder / "events.csv"
    event_rows = _read_events(file, sectors)
    ids = {event.id for event in event_rows}
    known = ids if not events else None
    _check_rule(rule, sectors, known, folder / "study.yaml")
    rule = _fit_rule(rule, sectors, ids)
    spec = Spec(
        rule=rule,
        events=event_rows,
        firms=firms,
        sectors=sectors,
        own_news=_read_own_news(folder / "own_news.csv"),
        coverage=_read_coverage(folder / "own_news_coverage.csv"),
        confounders=_read_confounders(folder / "confounders.csv"),
        thesis=_read_yaml(folder / "thesis.yaml", Thesis),
        claims=_read_claims(folder / "claims.csv"),
        donors=_read_donors(folder / "donors.csv", firms),
        accepted=_read_accepted(folder / "accepted.csv"),
        checks=_read_checks(folder / "checks.csv"),
        words=read_words(folder),
    )
    _check_spec(spec, folder)
    _check_words(spec, folder)
    if known is not None:
        _check_named(spec, folder, known)
    use_names(spec.words.names(), spec.words.colours(spec.sectors))
    return spec


def _check_rule(
    rule: Rule, sectors: Sequence[str], ids: Collection[str] | None, path: Path
) -> None:
    """Refuse sectors and events that ``study.yaml`` itself names and nobody knows.

    Without ``ids`` another events file is in use, and events may be absent.
    """
    named: list[tuple[str, str, Collection[str] | None]] = []
    if rule.contrast and "contrast" in rule.model_fields_set:
        named.append(("contrast.sector", rule.contrast.sector, sectors))
        named.append(("contrast.event", rule.contrast.event, ids))
    for version in rule.contrast_versions:
        named += [("contrast_versions.events", id, ids) for id in version.events]
    if rule.cleanest and "cleanest" in rule.model_fields_set:
        named.append(("cleanest", rule.cleanest, ids))
    if rule.note and "note" in rule.model_fields_set:
        named.append(("note", rule.note, ids))
    if rule.campaign and "campaign" in rule.model_fields_set:
        named += [("campaign", id, ids) for id in rule.campaign]
    for key, name, known in named:
        if known is not None and name not in known:
            raise InputError(
                f"{path}: key '{key}': unknown '{name}' ({nearest(name, known)}); "
                "correct it or remove the key"
            )


def _check_named(spec: Spec, folder: Path, ids: Collection[str]) -> None:
    """Refuse events that firms or other news name and nobody knows."""
    named = [
        (f"{folder / 'universe.csv'}: ticker '{firm.ticker}', column 'named_event'", id)
        for firm in spec.firms
        for id in firm.named_event.split()
    ]
    named += [
        (f"{folder / 'confounders.csv'}: session {item.session}, column 'near_events'", id)
        for item in spec.confounders
        for id in item.near_events
    ]
    for where, id in named:
        if id not in ids:
            raise InputError(
                f"{where}: unknown event '{id}' ({nearest(id, ids)}); correct it or leave it empty"
            )


def _fit_rule(rule: Rule, sectors: Sequence[str], ids: set[str]) -> Rule:
    """Leave out what the rule says of the project's own sectors and events when they are absent."""
    update: dict[str, object] = {}
    contrast, campaign = rule.contrast, rule.campaign
    if contrast and not (contrast.sector in sectors and contrast.event in ids):
        update["contrast"] = None
        update["contrast_versions"] = ()
    if campaign and not set(campaign) <= ids:
        update["campaign"] = None
    if rule.cleanest not in ids:
        update["cleanest"] = ""
    if rule.note not in ids:
        update["note"] = ""
    return rule.model_copy(update=update) if update else rule


def _params_folder(params: str | Path | None) -> Path:
    if params is None:
        return find_root() / "params"
    if not str(params).strip():
        raise InputError("params: seen '', expected a folder with universe.csv and events.csv")
    path = in_project(Path(params))
    if path.is_file():
        path = path.parent
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; expected one with universe.csv and events.csv")
    return path


@dataclass(frozen=True, slots=True)
class _Row:
    """One CSV row that knows where it stands, so that every complaint can say so."""

    file: Path
    number: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    def error(self, column: str, expected: str) -> InputError:
        return InputError(
            f"{self.file}: row {self.number}, column '{column}': "
            f"seen '{self[column]}', expected {expected}"
        )

    def needed(self, column: str) -> str:
        if not self[column]:
            raise self.error(column, "a value; fill it in or remove the row")
        return self[column]

    def number_or_none(self, column: str) -> float | None:
        if not self[column]:
            return None
        if not NUMBER.fullmatch(self[column]):
            raise self.error(column, "a number in USD bn, or nothing")
        value = float(self[column])
        if not 0 <= value <= LARGEST_USD_BN:
            raise self.error(column, f"a number of zero or more, up to {LARGEST_USD_BN:,} (USD bn)")
        return value

    def day(self, column: str) -> date:
        return self._date(column, self[column], "a date as YYYY-MM-DD")

    def days(self, column: str) -> frozenset[date]:
        expected = "dates as YYYY-MM-DD, separated by spaces"
        return frozenset(self._date(column, word, expected) for word in self[column].split())

    def _date(self, column: str, text: str, expected: str) -> date:
        try:
            day = date.fromisoformat(text if re.fullmatch(r"[0-9-]{10}", text) else "")
        except ValueError:
            raise self.error(column, expected) from None
        if day.year not in YEARS:
            raise self.error(column, f"{expected}, from {YEARS[0]} to {YEARS[-1]}")
        return day

    def one_of(self, column: str, known: Sequence[str]) -> str:
        if self[column] not in known:
            raise self.error(column, f"one of {', '.join(known)} ({nearest(self[column], known)})")
        return self[column]


def _content(path: Path, most: int) -> bytes:
    """Read a plain file that is no larger than a file of parameters has reason to be."""
    try:
        kind = path.stat()
        if not stat.S_ISREG(kind.st_mode):
            raise InputError(f"{path}: a folder or a device, expected a plain file; give another")
        if kind.st_size > most:
            raise InputError(
                f"{path}: seen {kind.st_size / 1e6:,.1f} MB, expected at most {most / 1e6:g} MB; "
                "leave out what is no parameter"
            )
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its rights") from None


def _read_csv(
    path: Path, needed: Sequence[str], optional: Sequence[str], *, empty: bool = False
) -> list[_Row]:
    if not path.exists():
        raise InputError(f"{path}: no such file; expected columns {', '.join(needed)}")
    try:
        text = _content(path, LARGEST_TABLE).decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        table = [(reader.line_num, [shown(cell.strip()) for cell in cells]) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: not readable as UTF-8 CSV ({error}); close quotes, save as UTF-8"
        ) from None
    if not table:
        raise InputError(f"{path}: the file is empty; expected columns {', '.join(needed)}")
    header = table[0][1]
    known = [*needed, *optional]
    for name in needed:
        if name not in header:
            hint = nearest(name, header) if header else "the header is empty"
            raise InputError(
                f"{path}: row 1: column '{name}' is missing ({hint}); expected {', '.join(needed)}"
            )
    for name in header:
        if name not in known:
            raise InputError(f"{path}: row 1: unknown column '{name}': {nearest(name, known)}")
        if header.count(name) > 1:
            raise InputError(f"{path}: row 1: column '{name}' stands there twice; keep one")
    rows = []
    for number, cells in table[1:]:
        if not any(cells):
            continue
        if len(cells) != len(header):
            raise InputError(
                f"{path}: row {number}: seen {len(cells)} cells, expected {len(header)}; "
                "quote cells that contain commas"
            )
        rows.append(_Row(path, number, dict(zip(header, cells, strict=True))))
    if not rows and not empty:
        raise InputError(f"{path}: there is a header but no row; add at least one")
    return rows


def _unique(rows: Sequence[_Row], column: str) -> None:
    seen: dict[str, int] = {}
    for row in rows:
        value = row.needed(column)
        if value in seen:
            raise InputError(
                f"{row.file}: row {row.number}, column '{column}': '{value}' already stands in "
                f"row {seen[value]}; every {column} may stand there once"
            )
        seen[value] = row.number


def _read_universe(path: Path) -> tuple[Firm, ...]:
    optional = ("name", "basket", "named_event", "dose_usd_bn", "market_value_usd_bn")
    rows = _read_csv(path, ("ticker", "sector"), optional)
    _unique(rows, "ticker")
    for row in rows:
        for column in ("sector", "basket"):
            if row[column] and not re.fullmatch(r"[a-z][a-z0-9_]*", row[column]):
                raise row.error(column, "a key of small letters, digits and underscores")
        if row["sector"] in (*EVENT_COLUMNS, *EVENT_NOTES):
            raise row.error("sector", "another name: events.csv has a column of this name")
    return tuple(
        Firm(
            ticker=row["ticker"],
            name=row["name"] or row["ticker"],
            sector=row.needed("sector"),
            basket=row["basket"],
            named_event=row["named_event"],
            dose_usd_bn=row.number_or_none("dose_usd_bn"),
            market_value_usd_bn=row.number_or_none("market_value_usd_bn"),
        )
        for row in rows
    )


def _read_events(path: Path, sectors: Sequence[str]) -> tuple[Event, ...]:
    rows = _read_csv(path, EVENT_COLUMNS, (*EVENT_NOTES, *sectors))
    _unique(rows, "id")
    events = tuple(_event(row, sectors) for row in rows)
    for row, event in zip(rows, events, strict=True):
        if event.role == "primary" and event.precision == "day":
            raise row.error("announced", "a time of day: a primary event needs its instant")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", event.id):
            raise row.error("id", "letters, digits, - and _")
    return events


def _event(row: _Row, sectors: Sequence[str]) -> Event:
    instant, timed = _instant(row)
    precision = row["precision"] or ("minute" if timed else "day")
    if precision not in PRECISIONS:
        raise row.error("precision", f"one of {', '.join(PRECISIONS)}")
    if (precision == "day") == timed:
        raise row.error("precision", "'day' exactly where the time of day is not given")
    signs = {}
    for sector in sectors:
        if row[sector] not in SIGNS:
            raise row.error(sector, "one of + - 0 +/- or nothing")
        signs[sector] = SIGNS[row[sector]]
    return Event(
        id=row["id"],
        instant=instant,
        precision=precision,
        role=cast("Role", row.one_of("role", ROLES)),
        title=row.needed("title"),
        signs=signs,
        category=row["category"],
        reason=row["reason"],
        confounders=row["confounders"],
        source=row["source"],
        source_url=row["source_url"],
    )


def _instant(row: _Row) -> tuple[datetime, bool]:
    text = row.needed("announced")
    parts = INSTANT.fullmatch(text)
    try:
        moment = datetime.fromisoformat(text if parts else "")
    except ValueError:
        raise row.error("announced", "an instant as YYYY-MM-DD HH:MM, or YYYY-MM-DD") from None
    if moment.year not in YEARS:
        raise row.error("announced", f"a year from {YEARS[0]} to {YEARS[-1]}")
    timed = bool(parts and parts["time"])
    if moment.tzinfo is not None:
        return moment, timed
    if not row["zone"]:
        raise row.error("zone", "a time zone such as America/New_York")
    try:
        # Short names such as EST know no summer time.
        zone = ZoneInfo(row["zone"] if "/" in row["zone"] else {"UTC": "UTC"}[row["zone"]])
    except (KeyError, ValueError, OSError):
        raise row.error("zone", "a known time zone by place, such as America/New_York") from None
    if not timed:
        moment = datetime.combine(moment.date(), time(12))
    aware = moment.replace(tzinfo=zone)
    if aware.astimezone(ZoneInfo("UTC")).astimezone(zone).replace(tzinfo=None) != moment:
        raise row.error("announced", "a time that exists in its zone (clocks skip this hour)")
    return aware, timed


def _read_own_news(path: Path) -> tuple[News, ...]:
    if not path.exists():
        return ()
    optional = ("timing", "source", "confidence")
    rows = _read_csv(path, ("ticker", "session", "kind"), optional, empty=True)
    return tuple(
        News(
            row.needed("ticker"), row.day("session"), row.one_of("kind", NEWS_KINDS), row["source"]
        )
        for row in rows
    )


def _read_coverage(path: Path) -> Mapping[str, frozenset[date]]:
    if not path.exists():
        return {}
    rows = _read_csv(path, ("ticker", "checked"), (), empty=True)
    _unique(rows, "ticker")
    return {row["ticker"]: row.days("checked") for row in rows}


def _read_confounders(path: Path) -> tuple[Confounder, ...]:
    if not path.exists():
        return ()
    optional = ("date", "type", "sectors", "near_events", "checked", "source", "source_url")
    rows = _read_csv(path, ("session", "title"), optional, empty=True)
    return tuple(
        Confounder(
            row.day("session"),
            row.needed("title"),
            tuple(row["near_events"].split()),
            row["checked"] != "no",
        )
        for row in rows
    )


def _read_claims(path: Path) -> tuple[Claim, ...]:
    if not path.exists():
        return ()
    optional = ("figure", "unit", "as_of", "comment", "source", "source_url")
    rows = _read_csv(path, ("id", "claim", "found", "status"), optional, empty=True)
    _unique(rows, "id")
    return tuple(
        Claim(
            row["id"],
            row.needed("claim"),
            row["found"],
            row.needed("status"),
            row["comment"],
            row["source"],
            row["source_url"],
        )
        for row in rows
    )


def _read_donors(path: Path, firms: Sequence[Firm]) -> tuple[Donor, ...]:
    if not path.exists():
        return ()
    rows = _read_csv(path, ("ticker", "group"), ("note",), empty=True)
    _unique(rows, "ticker")
    inside = {firm.ticker: firm.sector for firm in firms}
    for row in rows:
        if row["ticker"] in inside:
            sector = inside[row["ticker"]]
            raise row.error("ticker", f"a security outside the sectors (it is in '{sector}')")
        if "/" in row["group"]:
            raise row.error("group", "a name without '/'")
        if not (row["group"] or row["note"]):
            raise row.error("group", "a group, or a note that says why it is no donor")
    return tuple(Donor(row.needed("ticker"), row["group"], row["note"]) for row in rows)


def _read_accepted(path: Path) -> tuple[Accepted, ...]:
    if not path.exists():
        return ()
    rows = _read_csv(path, ("ticker", "date", "reason"), (), empty=True)
    return tuple(
        Accepted(row.needed("ticker"), row.day("date"), row.needed("reason")) for row in rows
    )


def _read_checks(path: Path) -> tuple[Check, ...]:
    if not path.exists():
        return ()
    rows = _read_csv(path, NEEDED, ("window", "part", "priced", "unpriced", "wrong"), empty=True)
    _unique(rows, "key")
    return tuple(map(_check, rows))


def _check(row: _Row) -> Check:
    try:
        return from_cells(row.cells)
    except ValidationError as error:
        fault = error.errors()[0]
        column = str(fault["loc"][0])
        known = TypeAdapter(Check).json_schema()["properties"][column]
        said = known.get("description") or fault["msg"].removeprefix("Value error, ")
        raise row.error(column, said) from None


class _Loader(yaml.SafeLoader):
    """YAML whose values stay text as written, and where a key stands once; the model converts.

    So ``01``, ``1E1``, ``NO`` and ``12:30`` remain what they are, no number is too long to read,
    and a merge key is an unknown key. Depth and aliases are bounded: they make small files large.
    """

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
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
        fault = f"more than {DEEPEST} levels deep" if self.depth >= DEEPEST else ""
        fault = fault or (
            f"more than {MOST_ALIASES} aliases" if self.aliases > MOST_ALIASES else ""
        )
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


def _read_yaml(path: Path, model: type[Model]) -> Model | None:
    if not path.exists():
        return None
    content = _load_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: the file is empty or no mapping; expected 'key: value' lines")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {_explain(error, model)}") from None


def read_entries(path: Path, model: type[Model]) -> tuple[Model, ...]:
    """Read a YAML file that is a list; what is wrong is said with the entry's number."""
    content = _load_yaml(path)
    if not isinstance(content, list) or not content:
        raise InputError(f"{path}: the file is empty or no list; expected lines as '- key: value'")
    found = []
    for number, entry in enumerate(content, 1):
        try:
            found.append(model.model_validate(entry))
        except ValidationError as error:
            raise InputError(f"{path}: entry {number}: {_explain(error, model)}") from None
    return tuple(found)


def _load_yaml(path: Path) -> object:
    try:
        return yaml.load(_content(path, LARGEST_YAML).decode("utf-8"), Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f": row {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "a character that YAML does not allow"
        raise InputError(
            f"{path}{where}: not readable as YAML ({problem}); check indent and quotes"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not readable as UTF-8 ({error}); save it as UTF-8") from None


EXPECTED = {
    "model_type": "keys with values, as 'key: value'",
    "tuple_type": "a list, as [a, b]",
    "float_parsing": "a valid number, finite and written as 0.5",
}


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    # A misspelt key is also a missing one: the unknown name tells more.
    found = error.errors()
    first = next((fault for fault in found if fault["type"] == "extra_forbidden"), found[0])
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _keys_at(model, first["loc"][:-1])
        hint = nearest(str(first["loc"][-1]), known) if known else "remove it"
        return f"unknown key '{where}': {hint}"
    if first["type"] == "missing":
        return f"key '{where}' is missing; add it"
    message = EXPECTED.get(first["type"], first["msg"].removeprefix("Value error, "))
    if not where:
        return message
    # A number stands in the file without quotes.
    value = first["input"]
    plain = isinstance(value, str) and NUMBER.fullmatch(value)
    seen = f"'{value}'" if isinstance(value, str) and not plain else str(value)
    return f"key '{where}': seen {shortened(seen, 60)}, expected: {message}"


def _keys_at(model: type[BaseModel], loc: Sequence[Any]) -> list[str]:
    here: Any = model
    for part in loc:
        if part not in here.model_fields:  # a place in a list, or a key of one's own
            continue
        annotation = here.model_fields[part].annotation
        inner = [t for t in (annotation, *getattr(annotation, "__args__", ())) if _is_model(t)]
        if not inner:
            return []
        here = inner[0]
    return [field.alias or name for name, field in here.model_fields.items()]


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def read_words(folder: Path) -> Words:
    """Read what a study says of itself from its parameters or its results; neutral without."""
    words = _read_yaml(folder / "words.yaml", Words) or Words()
    path = folder / "sectors.csv"
    if not path.exists():
        return words
    if words.sectors:
        raise InputError(
            f"{folder / 'words.yaml'}: key 'sectors': {path} names the sectors too; keep one, the "
            "file, which has their colours as well"
        )
    return words.model_copy(update={"sectors": _read_sectors(path)})


def _read_sectors(path: Path) -> dict[str, Sector]:
    rows = _read_csv(path, ("sector",), ("label", *COLOURS))
    _unique(rows, "sector")
    for row in rows:
        for column, other in zip(COLOURS, reversed(COLOURS), strict=True):
            if row[column] or row[other]:
                _check_colour(row, column)
    return {
        row["sector"]: Sector(**{k: v for k, v in row.cells.items() if k != "sector"})
        for row in rows
    }


def _check_colour(row: _Row, column: str) -> None:
    """Refuse a colour that cannot be read, or not be seen on its paper."""
    if not re.fullmatch(r"#[0-9A-Fa-f]{6}", row[column]):
        raise row.error(column, "a colour as #RRGGBB, by day and by night, or neither")
    light, paper = sorted((_luminance(row[column]), _luminance(COLOURS[column])), reverse=True)
    if light / paper < CONTRAST:
        raise row.error(column, f"a contrast of {CONTRAST} to 1 or more on {COLOURS[column]}")


def _luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2.2, with its 0.05 for the light in the room."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.05 + 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _check_words(spec: Spec, folder: Path) -> None:
    file = folder / "sectors.csv"
    named = (
        f"{file}: column 'sector'" if file.exists() else f"{folder / 'words.yaml'}: key 'sectors'"
    )
    for where, keys, known in (
        (named, spec.words.sectors, spec.sectors),
        (
            f"{folder / 'words.yaml'}: key 'caveats'",
            spec.words.caveats,
            (*spec.sectors, "contrast"),
        ),
    ):
        for key in keys:
            if key not in known:
                raise InputError(f"{where}: unknown '{key}': {nearest(key, known)}")


def _check_direction(spec: Spec, path: Path) -> None:
    """Refuse a loss where a fall is expected already: its sign would count twice."""
    thesis = spec.thesis
    if thesis is None or min(thesis.margin.low, thesis.margin.base, thesis.margin.high) >= 0:
        return
    for sector in dict.fromkeys(line.sector for line in thesis.lines):
        for event in spec.with_role("primary"):
            if event.signs.get(sector, 0) < 0:
                raise InputError(
                    f"{path}: key 'margin': seen a value below zero, and event '{event.id}' "
                    f"already expects '{sector}' to fall; expected a margin above zero, the size "
                    "of the fall, or '+' in events.csv"
                )


def _check_spec(spec: Spec, folder: Path) -> None:
    tickers = {firm.ticker: firm for firm in spec.firms}
    unknown = [kind for kind in spec.rule.blackout.kinds if kind not in NEWS_KINDS]
    if unknown:
        raise InputError(
            f"{folder / 'study.yaml'}: blackout.kinds: unknown '{unknown[0]}': "
            f"{nearest(unknown[0], NEWS_KINDS)}"
        )
    for version in spec.rule.contrast_versions:
        for ticker in (*version.named, *version.without):
            if ticker not in tickers:
                raise InputError(
                    f"{folder / 'study.yaml'}: contrast_versions '{version.title}': unknown firm "
                    f"'{ticker}': {nearest(ticker, tickers)}"
                )
    if spec.rule.campaign:
        first, last = (spec.event(id) for id in spec.rule.campaign)
        if last.instant < first.instant:
            raise InputError(
                f"{folder / 'study.yaml'}: key 'campaign': '{last.id}' is before '{first.id}'; "
                "give the earlier event first"
            )
    if spec.thesis is None:
        return
    path = folder / "thesis.yaml"
    _check_direction(spec, path)
    for line in spec.thesis.lines:
        where = f"{path}: line {line.id}"
        if line.sector not in spec.sectors:
            raise InputError(
                f"{where}: unknown sector '{line.sector}': {nearest(line.sector, spec.sectors)}"
            )
        if line.realised not in spec.thesis.realised:
            raise InputError(
                f"{where}: realised: unknown '{line.realised}': "
                f"{nearest(line.realised, spec.thesis.realised)}"
            )
        for ticker in line.firms:
            if ticker not in tickers or tickers[ticker].sector != line.sector:
                raise InputError(
                    f"{where}: firm '{ticker}' is not in sector '{line.sector}' of "
                    "universe.csv; correct one of the two"
                )
        others = (line.other_listed.low, line.other_listed.base, line.other_listed.high)
        for share in (*line.firms.values(), sum(line.firms.values()) + max(others), *others):
            if not 0 <= share <= 1:
                raise InputError(
                    f"{where}: seen {share:g} as a share of listed firms or their sum, "
                    "expected 0 to 1; lower 'firms' or 'other_listed'"
                )

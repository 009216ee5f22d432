"""Strict readers for ``params/``: every complaint names file, row and column."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ValidationError

from usjp_research.spec.records import (
    NEWS_KINDS,
    ROLES,
    Claim,
    Confounder,
    Donor,
    Event,
    Firm,
    News,
    Role,
    Rule,
    Spec,
    Thesis,
    Words,
    find_root,
    in_project,
)
from usjp_research.words import InputError, nearest, use_names

PRECISIONS = ("minute", "about", "day")
SIGNS = {"+": 1, "-": -1, "0": 0, "+/-": 0, "": 0}
EVENT_COLUMNS = ("id", "announced", "role", "title")
EVENT_NOTES = ("zone", "precision", "category", "reason", "confounders", "source", "source_url")
INSTANT = re.compile(r"\d{4}-\d\d-\d\d(?P<time>[T ]\d\d:\d\d.*)?")
YEARS = range(1998, 2101)  # Tokyo's exchange calendar starts in 1997
Model = TypeVar("Model", bound=BaseModel)


def read_spec(params: str | Path | None = None, *, events: str | Path | None = None) -> Spec:
    """Read a study from a folder of parameters.

    Only ``universe.csv`` and ``events.csv`` are needed; without ``study.yaml`` the fixed rule
    holds, without ``own_news.csv`` nothing is blacked out, without ``thesis.yaml`` no sector
    has an implied value, and without ``words.yaml`` sectors are called by their keys. `label`
    speaks of sectors as the study that was read last.

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
    >>> spec.sectors[0]                                             # doctest: +SKIP
    'power_utilities'
    """
    folder = _params_folder(params)
    firms = _read_universe(folder / "universe.csv")
    sectors = tuple(dict.fromkeys(firm.sector for firm in firms))
    rule = _read_yaml(folder / "study.yaml", Rule) or Rule()
    file = in_project(Path(events)) if events else folder / "events.csv"
    event_rows = _read_events(file, sectors)
    ids = {event.id for event in event_rows}
    _check_rule(rule, sectors, ids if not events else None, folder / "study.yaml")
    rule = _fit_rule(rule, sectors, ids)
    if not events:
        _check_named(firms, ids, folder / "universe.csv")
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
        words=read_words(folder),
    )
    _check_spec(spec, folder)
    _check_words(spec, folder / "words.yaml")
    use_names(spec.words.names())
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


def _check_named(firms: Sequence[Firm], ids: Collection[str], path: Path) -> None:
    """Refuse firms that were named at an event which nobody knows."""
    for firm in firms:
        if firm.named_event and firm.named_event not in ids:
            raise InputError(
                f"{path}: {firm.ticker}, column 'named_event': unknown '{firm.named_event}' "
                f"({nearest(firm.named_event, ids)}); correct it or leave the cell empty"
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
            f"seen {self[column]!r}, expected {expected}"
        )

    def needed(self, column: str) -> str:
        if not self[column]:
            raise self.error(column, "a value; fill it in or remove the row")
        return self[column]

    def number_or_none(self, column: str) -> float | None:
        if not self[column]:
            return None
        try:
            value = float(self[column])
        except ValueError:
            raise self.error(column, "a number in USD bn, or nothing") from None
        if not 0 <= value < float("inf"):
            raise self.error(column, "a number of zero or more")
        return value

    def day(self, column: str) -> date:
        try:
            return date.fromisoformat(self[column])
        except ValueError:
            raise self.error(column, "a date as YYYY-MM-DD") from None

    def days(self, column: str) -> frozenset[date]:
        try:
            return frozenset(map(date.fromisoformat, self[column].split()))
        except ValueError:
            raise self.error(column, "dates as YYYY-MM-DD, separated by spaces") from None

    def one_of(self, column: str, known: Sequence[str]) -> str:
        if self[column] not in known:
            raise self.error(column, f"one of {', '.join(known)} ({nearest(self[column], known)})")
        return self[column]


def _read_csv(
    path: Path, needed: Sequence[str], optional: Sequence[str], *, empty: bool = False
) -> list[_Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, strict=True)
            table = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected columns {', '.join(needed)}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: not readable as UTF-8 CSV ({error}); close quotes, save as UTF-8"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
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


class _Loader(yaml.SafeLoader):
    """YAML whose dates and yes or no stay text, and where a key stands once."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the base class has it so
        first: [pair for pair in pairs if not pair[0].endswith((":timestamp", ":bool"))]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

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
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f": row {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "a character that YAML does not allow"
        raise InputError(
            f"{path}{where}: not readable as YAML ({problem}); check indent and quotes"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: the file is empty or no mapping; expected 'key: value' lines")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {_explain(error, model)}") from None


EXPECTED = {"model_type": "keys with values, as 'key: value'", "tuple_type": "a list, as [a, b]"}


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
    seen = repr(first["input"])
    seen = seen if len(seen) <= 60 else f"{seen[:57]}..."
    return f"key '{where}': seen {seen}, expected: {message}"


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
    return list(here.model_fields)


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def read_words(folder: Path) -> Words:
    """Read what a study says of itself from its parameters or its results; neutral without."""
    return _read_yaml(folder / "words.yaml", Words) or Words()


def _check_words(spec: Spec, path: Path) -> None:
    for part, known in (
        ("sectors", spec.sectors),
        ("caveats", (*spec.sectors, "contrast")),
    ):
        for key in getattr(spec.words, part):
            if key not in known:
                raise InputError(f"{path}: key '{part}': unknown '{key}': {nearest(key, known)}")


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

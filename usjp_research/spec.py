"""The study as data: strict readers for ``params/`` and the digest that names a study."""

from __future__ import annotations

import csv
import difflib
import hashlib
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Literal, TypeVar, cast
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

__all__ = [
    "ROLES",
    "Blackout",
    "Claim",
    "Confounder",
    "Contrast",
    "Estimation",
    "Event",
    "Firm",
    "InputError",
    "News",
    "Range",
    "Rule",
    "Spec",
    "Thesis",
    "ThesisLine",
    "digest",
    "find_root",
    "nearest",
    "read_spec",
]

Model = TypeVar("Model", bound=BaseModel)
Role = Literal["primary", "secondary", "leak", "reverse", "publication", "placebo"]
ROLES: tuple[Role, ...] = ("primary", "secondary", "leak", "reverse", "publication", "placebo")
PRECISIONS = ("minute", "about", "day")
SIGNS = {"+": 1, "-": -1, "0": 0, "+/-": 0, "": 0}
NEWS_KINDS = ("results", "guidance", "merger", "contract", "other")
EVENT_COLUMNS = ("id", "announced", "role", "title")
EVENT_NOTES = ("zone", "precision", "category", "reason", "confounders", "source", "source_url")
INSTANT = re.compile(r"\d{4}-\d\d-\d\d(?P<time>[T ]\d\d:\d\d.*)?")
YEARS = range(1998, 2101)  # Tokyo's exchange calendar starts in 1997


class InputError(ValueError):
    """Bad input, said in one line: where, what was seen, what was expected, what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is closest to a wrong one.

    Parameters
    ----------
    name : str
        The unknown name.
    known : iterable of str
        The names that would have been accepted.

    Returns
    -------
    str
        ``"did you mean 'x'?"``, or the (first twenty) known names when none is close.

    Examples
    --------
    >>> nearest("minning_metals", ["mining_metals", "pharma_biotech"])
    "did you mean 'mining_metals'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}"


# --- records ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """One piece of news: an instant with a time zone, its role and the sign each sector expects.

    Attributes
    ----------
    instant : datetime
        Zone-aware. With precision ``day`` only the date is known and the instant is that day's
        noon in its own zone, which gives the first session on or after the date.
    signs : mapping of str to int
        Expected sign per sector: +1, -1, or 0 (none, or mixed).
    """

    id: str
    instant: datetime
    precision: str
    role: Role
    title: str
    signs: Mapping[str, int] = field(default_factory=dict)
    category: str = ""
    reason: str = ""
    confounders: str = ""
    source: str = ""
    source_url: str = ""


@dataclass(frozen=True, slots=True)
class Firm:
    """One security of the universe; money in USD bn, ``None`` where unknown."""

    ticker: str
    name: str
    sector: str
    basket: str = ""
    named_event: str = ""
    dose_usd_bn: float | None = None
    market_value_usd_bn: float | None = None


@dataclass(frozen=True, slots=True)
class News:
    """A firm's own news and the first session that could react to it."""

    ticker: str
    session: date
    kind: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Confounder:
    """Other market-moving news near the events."""

    session: date
    title: str
    near_events: tuple[str, ...] = ()
    checked: bool = True


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim of the note, and what sources say."""

    id: str
    claim: str
    found: str
    status: str
    comment: str = ""
    source: str = ""
    source_url: str = ""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


class Estimation(_Strict):
    """The estimation window: ``sessions`` days that end ``ends_before`` days before the window."""

    sessions: int = Field(250, ge=30)
    ends_before: int = Field(21, ge=1)
    minimum: int = Field(200, ge=10)


class Blackout(_Strict):
    """Own news within ``margin`` sessions of the window takes a firm out of an event's slot."""

    margin: int = Field(2, ge=0)
    kinds: tuple[str, ...] = ("results", "guidance", "merger")


class Contrast(_Strict):
    """Named minus unnamed beneficiaries of one sector at one event."""

    sector: str = "power_utilities"
    event: str = "E17"


class Rule(_Strict):
    """The one fixed rule of the whole family (METHODS section 12)."""

    market: str = "bundled"
    since: date | None = None
    benchmark: tuple[str, ...] = ("SPY", "IVV", "VOO")
    mirror: tuple[str, ...] = ("EWJ", "DXJ", "FLJP", "BBJP", "HEWJ", "JPXN")
    window: tuple[int, int] = (-1, 1)
    estimation: Estimation = Estimation()
    model: Literal["market", "market_adjusted"] = "market"
    guard_sessions: int = Field(20, ge=5)
    alpha: float = Field(0.10, gt=0, lt=0.5)
    power: float = Field(0.80, gt=0.5, lt=1)
    blackout: Blackout = Blackout()
    least_firms: int = Field(10, ge=1)
    least_shifts: int = Field(200, ge=20)
    contrast: Contrast | None = Contrast()
    cleanest: str = "E05"
    campaign: tuple[str, str] | None = ("E05", "E42")
    seed: int = 20260213

    @model_validator(mode="after")
    def _check(self) -> Rule:
        if self.window[0] > self.window[1]:
            raise ValueError(f"window {list(self.window)} ends before it starts")
        if self.estimation.minimum > self.estimation.sessions:
            raise ValueError("estimation.minimum is larger than estimation.sessions")
        if self.guard_sessions > self.estimation.sessions:
            raise ValueError("guard_sessions is larger than estimation.sessions")
        if self.alpha * (self.least_shifts + 1) < 1:
            needed = math.ceil(1 / self.alpha) - 1
            raise ValueError(
                f"alpha {self.alpha:g} needs least_shifts of {needed} or more: fewer placebo "
                "calendars give no interval"
            )
        return self


class Range(_Strict):
    """A number with a low, a base and a high case; a plain number means all three."""

    low: float
    base: float
    high: float

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, value: object) -> object:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"low": value, "base": value, "high": value}
        if not isinstance(value, dict | cls):
            raise ValueError("a number, or low, base and high")
        return value


class ThesisLine(_Strict):
    """One dollar line of the pact and the part of it that listed firms of a sector may earn."""

    id: str
    sector: str
    alternative: str = ""
    title: str
    amount_usd_bn: float = Field(ge=0)
    years: float = Field(1.0, gt=0)
    basis: str
    realised: str
    firms: dict[str, float] = {}
    other_listed: Range = Range(low=0.0, base=0.0, high=0.0)
    source: str
    source_url: str = ""
    note: str = ""


class Thesis(_Strict):
    """The thesis in numbers: dollar lines, and the assumptions that turn them into value."""

    valued_on: date
    values_as_of: date
    margin: Range
    tax: Range
    discount_rate: Range
    years_to_cash: Range
    realised: dict[str, Range]
    assumptions: dict[str, str] = {}
    lines: tuple[ThesisLine, ...] = ()
    left_out: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Thesis:
        if self.values_as_of < self.valued_on:
            raise ValueError(f"values_as_of {self.values_as_of} is before valued_on")
        shares = {f"realised.{name}": part for name, part in self.realised.items()}
        shares |= {"tax": self.tax, "discount_rate": self.discount_rate}
        for name, part, least, most in (
            *((name, part, 0, 1) for name, part in shares.items()),
            ("margin", self.margin, -1, 1),
            ("years_to_cash", self.years_to_cash, 0, 100),
        ):
            for value in (part.low, part.base, part.high):
                if not least <= value <= most:
                    raise ValueError(
                        f"key '{name}': seen {value:g}, expected {least} to {most} "
                        "(shares are decimals: 0.08 is 8%)"
                    )
        return self


@dataclass(frozen=True, slots=True)
class Spec:
    """Everything a study needs to know before it sees a price.

    Attributes
    ----------
    sectors : tuple of str
        Sector keys in the order of the universe; together they are the family.
    coverage : mapping of str to frozenset of date
        The sessions around which (three either side) a firm's own news was looked for; a firm
        that is absent was not checked.
    """

    rule: Rule
    events: tuple[Event, ...]
    firms: tuple[Firm, ...]
    sectors: tuple[str, ...]
    own_news: tuple[News, ...] = ()
    coverage: Mapping[str, frozenset[date]] = field(default_factory=dict)
    confounders: tuple[Confounder, ...] = ()
    thesis: Thesis | None = None
    claims: tuple[Claim, ...] = ()

    def event(self, id: str) -> Event:
        """Return the event with this id, or raise `InputError` with the nearest known id."""
        for event in self.events:
            if event.id == id:
                return event
        raise InputError(f"unknown event '{id}': {nearest(id, (e.id for e in self.events))}")

    def members(self, sector: str) -> tuple[Firm, ...]:
        """Return the firms of a sector, or raise `InputError` with the nearest known key."""
        if sector not in self.sectors:
            raise InputError(f"unknown sector '{sector}': {nearest(sector, self.sectors)}")
        return tuple(firm for firm in self.firms if firm.sector == sector)

    def with_role(self, *roles: str) -> tuple[Event, ...]:
        """Return the events that have one of the roles, in file order."""
        return tuple(event for event in self.events if event.role in roles)

    def _repr_html_(self) -> str:
        return (
            f"<p><b>Study</b> {digest(self)[:12]}: {len(self.events)} events "
            f"({len(self.with_role('primary'))} primary), {len(self.firms)} firms in "
            f"{len(self.sectors)} sectors, alpha {self.rule.alpha:g}.</p>"
        )


# --- readers ---------------------------------------------------------------------------------


def find_root(start: Path | None = None) -> Path:
    """Find the project's root: the nearest folder upward that holds ``params/universe.csv``.

    Outside of it, the checkout that this package was installed from.
    """
    here = (start or Path.cwd()).resolve()
    package = Path(__file__).resolve().parent
    for folder in (here, *here.parents, package.parent):
        if (folder / "params" / "universe.csv").is_file():
            return folder
    raise InputError(
        f"{here}: no folder here or above holds params/universe.csv; "
        "run from inside the project or give --params"
    )


def in_project(path: Path) -> Path:
    """Return a path as it is, or from the project's root where it is relative and not here."""
    if path.is_absolute() or path.exists():
        return path
    try:
        return find_root() / path
    except InputError:
        return path


def read_spec(params: str | Path | None = None, *, events: str | Path | None = None) -> Spec:
    """Read a study from a folder of parameters.

    Only ``universe.csv`` and ``events.csv`` are needed; without ``study.yaml`` the fixed rule
    holds, without ``own_news.csv`` nothing is blacked out, and without ``thesis.yaml`` no sector
    has an implied value.

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
    )
    _check_spec(spec, folder)
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
    if rule.cleanest and "cleanest" in rule.model_fields_set:
        named.append(("cleanest", rule.cleanest, ids))
    if rule.campaign and "campaign" in rule.model_fields_set:
        named += [("campaign", id, ids) for id in rule.campaign]
    for key, name, known in named:
        if known is not None and name not in known:
            raise InputError(
                f"{path}: key '{key}': unknown '{name}' ({nearest(name, known)}); "
                "correct it or remove the key"
            )


def _fit_rule(rule: Rule, sectors: Sequence[str], ids: set[str]) -> Rule:
    """Leave out what the rule says of the project's own sectors and events when they are absent."""
    update: dict[str, object] = {}
    contrast, campaign = rule.contrast, rule.campaign
    if contrast and not (contrast.sector in sectors and contrast.event in ids):
        update["contrast"] = None
    if campaign and not set(campaign) <= ids:
        update["campaign"] = None
    if rule.cleanest not in ids:
        update["cleanest"] = ""
    return rule.model_copy(update=update) if update else rule


def digest(spec: Spec) -> str:
    """Return the SHA-256 of everything that defines the study, as 64 hexadecimal digits.

    Examples
    --------
    >>> len(digest(read_spec()))                                    # doctest: +SKIP
    64
    """
    text = json.dumps(_plain(spec), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return _plain(value.model_dump())
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in sorted(value.items())}
    if isinstance(value, frozenset):
        return sorted(str(item) for item in value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(ZoneInfo("UTC")).isoformat()
    return value if isinstance(value, int | float | str | None) else str(value)


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


def _check_spec(spec: Spec, folder: Path) -> None:
    tickers = {firm.ticker: firm for firm in spec.firms}
    unknown = [kind for kind in spec.rule.blackout.kinds if kind not in NEWS_KINDS]
    if unknown:
        raise InputError(
            f"{folder / 'study.yaml'}: blackout.kinds: unknown '{unknown[0]}': "
            f"{nearest(unknown[0], NEWS_KINDS)}"
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

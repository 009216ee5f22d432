"""Read a study from ``params/`` and hold its files against each other."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, time
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, create_model, model_validator

from usjp_research.spec.cells import YEARS, Filled, Sign
from usjp_research.spec.checks import Check
from usjp_research.spec.files import CellError, read_rows, read_yaml
from usjp_research.spec.records import (
    PAPERS,
    Accepted,
    Checked,
    Claim,
    Confounder,
    Donor,
    Event,
    Firm,
    News,
    Precision,
    Role,
    Rule,
    Sector,
    Spec,
    Thesis,
    Words,
    find_root,
    in_project,
)
from usjp_research.words import InputError, nearest, use_names

SIGNS = {"+": 1, "-": -1}  # 0 and +/- expect nothing
INSTANT = re.compile(r"\d{4}-\d\d-\d\d(?P<time>[T ]\d\d:\d\d.*)?", re.ASCII)
CONTRAST = 3  # to 1, of what is drawn (WCAG 2.2, 1.4.11)
Named = tuple[
    str, str, Iterable[str], Collection[str], str
]  # where, what, names, known, what to do


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
        An events file to use in place of the folder's; what the rule says of events that it
        leaves out is left out too.

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
    rule = read_yaml(folder / "study.yaml", Rule) or Rule()
    event_rows = _read_events(
        in_project(Path(events)) if events else folder / "events.csv", sectors
    )
    if events:
        rule = _fit_rule(rule, {event.id for event in event_rows})
    checked = read_rows(folder / "own_news_coverage.csv", Checked, once="ticker")
    spec = Spec(
        rule=rule,
        events=event_rows,
        firms=firms,
        sectors=sectors,
        own_news=read_rows(folder / "own_news.csv", News, beside=("timing", "confidence")),
        coverage={row.ticker: row.checked for row in checked},
        confounders=read_rows(
            folder / "confounders.csv",
            Confounder,
            beside=("date", "type", "sectors", "source", "source_url"),
        ),
        thesis=read_yaml(folder / "thesis.yaml", Thesis),
        claims=read_rows(
            folder / "claims.csv", Claim, beside=("figure", "unit", "as_of"), once="id"
        ),
        donors=_read_donors(folder / "donors.csv", firms),
        accepted=read_rows(folder / "accepted.csv", Accepted),
        checks=read_rows(folder / "checks.csv", Check, once="key"),
        words=read_words(folder),
    )
    _check_names([*_named(spec, folder), *([] if events else _named_events(spec, folder))])
    _check_campaign(spec, folder / "study.yaml")
    _check_thesis(spec, folder / "thesis.yaml")
    use_names(spec.words.names(), spec.words.colours(spec.sectors))
    return spec


def read_words(folder: Path) -> Words:
    """Read what a study says of itself from its parameters or its results; neutral without."""
    words = read_yaml(folder / "words.yaml", Words) or Words()
    path = folder / "sectors.csv"
    if not path.exists():
        return words
    if words.sectors:
        raise InputError(
            f"{folder / 'words.yaml'}: key 'sectors': {path} names the sectors too; keep one, the "
            "file, which has their colours as well"
        )
    rows = read_rows(path, SectorRow, once="sector", needed=True)
    sectors = {row.sector: Sector(**row.model_dump(exclude={"sector"})) for row in rows}
    return words.model_copy(update={"sectors": sectors})


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


# --- rows that look beyond themselves --------------------------------------------------------


def _read_universe(path: Path) -> tuple[Firm, ...]:
    def check(firm: Firm) -> None:
        if firm.sector in EventRow.model_fields:
            raise CellError("sector", "another name: events.csv has a column of this name")

    return read_rows(path, Firm, once="ticker", needed=True, check=check)


def _read_donors(path: Path, firms: Sequence[Firm]) -> tuple[Donor, ...]:
    inside = {firm.ticker: firm.sector for firm in firms}

    def check(donor: Donor) -> None:
        if sector := inside.get(donor.ticker):
            raise CellError("ticker", f"a security outside the sectors (it is in '{sector}')")
        if not (donor.group or donor.note):
            raise CellError("group", "a group, or a note that says why it is no donor")

    return read_rows(path, Donor, once="ticker", check=check)


class SectorRow(Sector):
    """A row of ``sectors.csv``, whose colours can be read and seen on their paper."""

    sector: Filled

    @model_validator(mode="after")
    def _check(self) -> SectorRow:
        colours = {"colour": self.colour, "dark_colour": self.dark_colour}
        for (column, colour), paper in zip(colours.items(), PAPERS, strict=True):
            if not any(colours.values()):
                break
            if not re.fullmatch(r"#[0-9A-Fa-f]{6}", colour):
                raise CellError(column, "a colour as #RRGGBB, by day and by night, or neither")
            light, dark = sorted((_luminance(colour), _luminance(paper)), reverse=True)
            if light / dark < CONTRAST:
                raise CellError(column, f"a contrast of {CONTRAST} to 1 or more on {paper}")
        return self


def _luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2.2, with its 0.05 for the light in the room."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.05 + 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


class EventRow(BaseModel):
    """A row of ``events.csv`` without the columns of the sectors."""

    id: Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$", description="letters, digits, - and _")]
    announced: Filled
    zone: str = ""
    precision: Precision | None = None
    role: Role
    title: Filled
    category: str = ""
    reason: str = ""
    confounders: str = ""
    source: str = ""
    source_url: str = ""

    @model_validator(mode="after")
    def _check(self) -> EventRow:
        _, precision = self.moment()
        if self.role == "primary" and precision == "day":
            raise CellError("announced", "a time of day: a primary event needs its instant")
        return self

    def moment(self) -> tuple[datetime, Precision]:
        """Return the instant with its zone, and how well it is known."""
        parts = INSTANT.fullmatch(self.announced)
        try:
            moment = datetime.fromisoformat(self.announced if parts else "")
        except ValueError:
            words = "an instant as YYYY-MM-DD HH:MM, or YYYY-MM-DD"
            raise CellError("announced", words) from None
        if moment.year not in YEARS:
            raise CellError("announced", f"a year from {YEARS[0]} to {YEARS[-1]}")
        timed = bool(parts and parts["time"])
        precision: Precision = self.precision or ("minute" if timed else "day")
        if (precision == "day") == timed:
            raise CellError("precision", "'day' exactly where the time of day is not given")
        if moment.tzinfo is None:
            moment = self._in_zone(moment if timed else datetime.combine(moment.date(), time(12)))
        return moment, precision

    def _in_zone(self, moment: datetime) -> datetime:
        if not self.zone:
            raise CellError("zone", "a time zone such as America/New_York")
        try:
            # Short names such as EST know no summer time.
            zone = ZoneInfo(self.zone if "/" in self.zone else {"UTC": "UTC"}[self.zone])
        except (KeyError, ValueError, OSError):
            words = "a known time zone by place, such as America/New_York"
            raise CellError("zone", words) from None
        aware = moment.replace(tzinfo=zone)
        if aware.astimezone(ZoneInfo("UTC")).astimezone(zone).replace(tzinfo=None) != moment:
            raise CellError("announced", "a time that exists in its zone (clocks skip this hour)")
        return aware


def _read_events(path: Path, sectors: Sequence[str]) -> tuple[Event, ...]:
    """Read events, each with a column of signs for every sector."""
    # Fields have names of their own, as a sector may be called what a model has already.
    columns = {sector: f"sign_{at}" for at, sector in enumerate(sectors)}
    signs: Any = {
        field: (Sign, Field("", validation_alias=sector)) for sector, field in columns.items()
    }
    model = create_model("EventRow", __base__=EventRow, **signs)
    events = []
    for row in read_rows(path, model, once="id", needed=True):
        instant, precision = row.moment()
        told = row.model_dump(exclude={"announced", "zone", "precision", *columns.values()})
        expects = {sector: SIGNS.get(getattr(row, name), 0) for sector, name in columns.items()}
        events.append(Event(instant=instant, precision=precision, signs=expects, **told))
    return tuple(events)


# --- names that another file must know -------------------------------------------------------


def _check_names(named: Iterable[Named]) -> None:
    """Refuse the first name that nobody knows."""
    for where, what, names, known, advice in named:
        for name in names:
            if name not in known:
                raise InputError(
                    f"{where}: unknown {what}'{name}' ({nearest(name, known)}); correct it{advice}"
                )


def _named(spec: Spec, folder: Path) -> Iterator[Named]:
    """List the sectors and firms that files name."""
    study, rule, words = folder / "study.yaml", spec.rule, folder / "words.yaml"
    thesis = spec.thesis
    tickers = [firm.ticker for firm in spec.firms]
    if rule.contrast:
        where, at = f"{study}: key 'contrast.sector'", (rule.contrast.sector,)
        yield where, "", at, spec.sectors, " or remove the key"
    for version in rule.contrast_versions:
        where = f"{study}: contrast_versions '{version.title}'"
        yield where, "firm ", (*version.named, *version.without), tickers, ""
    file = folder / "sectors.csv"
    where = f"{file}: column 'sector'" if file.exists() else f"{words}: key 'sectors'"
    yield where, "", spec.words.sectors, spec.sectors, ""
    yield f"{words}: key 'caveats'", "", spec.words.caveats, (*spec.sectors, "contrast"), ""
    for line in thesis.lines if thesis else ():
        where = f"{folder / 'thesis.yaml'}: line {line.id}"
        yield where, "sector ", (line.sector,), spec.sectors, ""
        yield f"{where}: realised", "", (line.realised,), thesis.realised if thesis else (), ""


def _named_events(spec: Spec, folder: Path) -> Iterator[Named]:
    """List the events that files name."""
    rule, ids = spec.rule, {event.id for event in spec.events}
    keys = {
        "contrast.event": (rule.contrast.event,) if rule.contrast else (),
        "contrast_versions.events": [id for v in rule.contrast_versions for id in v.events],
        "cleanest": (rule.cleanest,) if rule.cleanest else (),
        "note": (rule.note,) if rule.note else (),
        "campaign": rule.campaign or (),
    }
    for key, names in keys.items():
        yield f"{folder / 'study.yaml'}: key '{key}'", "", names, ids, " or remove the key"
    for firm in spec.firms:
        where = f"{folder / 'universe.csv'}: ticker '{firm.ticker}', column 'named_event'"
        yield where, "event ", firm.named_event.split(), ids, " or leave it empty"
    for item in spec.confounders:
        where = f"{folder / 'confounders.csv'}: session {item.session}, column 'near_events'"
        yield where, "event ", item.near_events, ids, " or leave it empty"


def _fit_rule(rule: Rule, ids: Collection[str]) -> Rule:
    """Leave out what the rule says of events that another events file does not have."""
    update: dict[str, object] = {}
    if rule.contrast and rule.contrast.event not in ids:
        update |= {"contrast": None, "contrast_versions": ()}
    if rule.campaign and not {*rule.campaign} <= {*ids}:
        update["campaign"] = None
    update |= {key: "" for key in ("cleanest", "note") if getattr(rule, key) not in ids}
    return rule.model_copy(update=update)


def _check_campaign(spec: Spec, path: Path) -> None:
    if spec.rule.campaign:
        first, last = (spec.event(id) for id in spec.rule.campaign)
        if last.instant < first.instant:
            raise InputError(
                f"{path}: key 'campaign': '{last.id}' is before '{first.id}'; "
                "give the earlier event first"
            )


def _check_thesis(spec: Spec, path: Path) -> None:
    """Refuse shares of firms that are no shares, and firms that are elsewhere."""
    if spec.thesis is None:
        return
    _check_direction(spec, spec.thesis, path)
    for line in spec.thesis.lines:
        where = f"{path}: line {line.id}"
        inside = {firm.ticker for firm in spec.members(line.sector)}
        for ticker in line.firms:
            if ticker not in inside:
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


def _check_direction(spec: Spec, thesis: Thesis, path: Path) -> None:
    """Refuse a loss where a fall is expected already: its sign would count twice."""
    if min(thesis.margin.low, thesis.margin.base, thesis.margin.high) >= 0:
        return
    for sector in dict.fromkeys(line.sector for line in thesis.lines):
        for event in spec.with_role("primary"):
            if event.signs.get(sector, 0) < 0:
                raise InputError(
                    f"{path}: key 'margin': seen a value below zero, and event '{event.id}' "
                    f"already expects '{sector}' to fall; expected a margin above zero, the size "
                    "of the fall, or '+' in events.csv"
                )

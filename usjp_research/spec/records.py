"""The study as data: frozen records, and the digest that names a study."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass as row

from usjp_research.spec.cells import (
    CellError,
    Day,
    Days,
    Filled,
    Group,
    Id,
    Key,
    KeyOrNone,
    Many,
    Means,
    Money,
    Span,
    Usd,
    Whole,
    Window,
    instant_of,
)
from usjp_research.spec.files import read_rows
from usjp_research.words import InputError, card, money, nearest, shortened

Role = Literal["primary", "secondary", "leak", "reverse", "publication", "placebo"]
ROLES: tuple[Role, ...] = get_args(Role)
NewsKind = Literal["results", "guidance", "merger", "contract", "other"]
SourceKind = Literal[
    "", "government", "company", "press", "research", "copy", "aggregator", "second hand"
]
MIRROR = "mirror"  # key of the basket that stands beside the sectors
OTHER_KEYS = {MIRROR, "contrast", "all"}  # mean something else where a sector may be named
SIGNS = {"+": 1, "-": -1, "0": 0, "+/-": 0, "": 0}
Sign = Annotated[Literal["+", "-", "0", "+/-"], BeforeValidator(str)]
HOME_ZONE, CLOSE = ZoneInfo("America/New_York"), time(16)  # of the days that a rule names
ROW = ConfigDict(extra="forbid", allow_inf_nan=False, populate_by_name=True)


@row(frozen=True, slots=True, config=ROW)
class Event:
    """One piece of news: an instant with a time zone, its role and the sign each sector expects.

    With precision ``day`` the instant is noon of that day in its zone, which gives the first
    session on or after it. A sign is +1, -1, or 0 (none, or mixed).
    """

    id: Annotated[Id, Means("name of the event, once")]
    instant: Annotated[
        datetime, Field(validation_alias="announced"), Means("YYYY-MM-DD HH:MM, in column zone")
    ]
    role: Annotated[Role, Means("what it counts for: primary events decide")]
    title: Annotated[Filled, Means("one sentence")]
    precision: Annotated[Literal["minute", "about", "day"], Means("how well known")] = "minute"
    # In a file there is a column for every sector, and none that is called signs.
    signs: Annotated[Mapping[str, int], Means("+ - 0 +/- or nothing")] = Field(
        default_factory=dict, validation_alias="a sector's key"
    )
    category: Annotated[str, Means("its kind, free text")] = ""
    reason: Annotated[str, Means("why it has its role")] = ""
    confounders: Annotated[str, Means("what else moved prices then")] = ""
    source: Annotated[str, Means("who reported it")] = ""
    source_kind: Annotated[SourceKind, Means("kind of source")] = ""
    source_url: Annotated[str, Means("where")] = ""

    @model_validator(mode="before")
    @classmethod
    def _from_row(cls, cells: Any, known: ValidationInfo) -> Any:
        """Read the instant, and a sign from the column of every sector."""
        if known.context is None:
            return cells
        told = {name: text for name, text in cells.items() if name not in known.context}
        when = instant_of(told["announced"], told.pop("zone", ""), told.get("precision", ""))
        if told["role"] == "primary" and when[1] == "day":
            raise CellError("announced", "a time of day: a primary event needs its instant")
        signs = {sector: cells.get(sector, "") for sector in known.context}
        for sector, sign in signs.items():
            if sign not in SIGNS:
                raise CellError(sector, "one of + - 0 +/- or nothing")
            signs[sector] = SIGNS[sign]
        return {**told, "announced": when[0], "precision": when[1], "signs": signs}

    def _repr_html_(self) -> str:
        return card("Event", self.id, f"{self.instant:%Y-%m-%d %H:%M %Z}", self.role, self.title)


@row(frozen=True, slots=True, config=ROW)
class Firm:
    """One security of the universe; money in USD bn, ``None`` where unknown."""

    ticker: Annotated[Filled, Means("symbol, as the file of prices has it")]
    sector: Annotated[Key, Means("key of its sector")]
    name: Annotated[str, Field(validate_default=True), Means("the firm's name")] = ""
    basket: Annotated[KeyOrNone, Means("key of a group inside the sector")] = ""
    named_event: Annotated[str, Means("event that named the firm")] = ""
    dose_usd_bn: Annotated[Usd, Means("USD bn that the event promised it")] = None
    market_value_usd_bn: Annotated[Usd, Means("market value, USD bn")] = None

    @field_validator("sector")
    @classmethod
    def _no_column(cls, sector: str) -> str:
        if sector in {"announced", "zone", *Event.__dataclass_fields__}:
            raise CellError("sector", "another name: events.csv has a column of this name")
        if sector in OTHER_KEYS:
            raise CellError("sector", "another name: this one has its own meaning in the results")
        return sector

    @field_validator("name")
    @classmethod
    def _or_ticker(cls, name: str, known: ValidationInfo) -> str:
        return name or known.data.get("ticker", "")

    def _repr_html_(self) -> str:
        value = self.market_value_usd_bn
        worth = "market value not known" if value is None else f"USD {money(value)} bn"
        return card("Firm", self.ticker, self.name, self.sector, self.basket, worth)


@row(frozen=True, slots=True, config=ROW)
class News:
    """A firm's own news and the first session that could react to it."""

    ticker: Annotated[Filled, Means("a firm of universe.csv")]
    session: Annotated[Day, Means("first session that could react, YYYY-MM-DD")]
    kind: Annotated[NewsKind, Means("kind of news")]
    source: Annotated[str, Means("where it was found")] = ""


@row(frozen=True, slots=True, config=ROW)
class Checked:
    """The sessions around which a firm's own news was looked for."""

    ticker: Annotated[Filled, Means("a firm of universe.csv")]
    checked: Annotated[Days, Means("sessions around which its news was looked for")]


@row(frozen=True, slots=True, config=ROW)
class Confounder:
    """Other market-moving news near the events."""

    session: Annotated[Day, Means("first session that could react, YYYY-MM-DD")]
    title: Annotated[Filled, Means("one sentence")]
    sectors: Annotated[Many[str], Means("keys of sectors, or all")] = ()
    near_events: Annotated[Many[str], Means("ids of events near it")] = ()
    checked: Annotated[bool, Field(description="yes or no"), Means("was it looked up")] = True
    source: Annotated[str, Means("who reported it")] = ""
    source_kind: Annotated[SourceKind, Means("kind of source")] = ""
    source_url: Annotated[str, Means("where")] = ""


@row(frozen=True, slots=True, config=ROW)
class Claim:
    """One claim of the note, and what sources say."""

    id: Annotated[Filled, Means("name of the claim, once")]
    claim: Annotated[Filled, Means("what is claimed")]
    found: Annotated[str, Means("what sources say")]
    status: Annotated[Filled, Means("the finding in a word")]
    comment: Annotated[str, Means("free text")] = ""
    source: Annotated[str, Means("who reported it")] = ""
    source_kind: Annotated[SourceKind, Means("kind of source")] = ""
    source_url: Annotated[str, Means("where")] = ""


@row(frozen=True, slots=True, config=ROW)
class Donor:
    """A security outside the sectors that may stand in for one; without a group it may not."""

    ticker: Annotated[Filled, Means("a security outside the sectors")]
    group: Annotated[Group, Means("its industry; empty: no donor")]
    note: Annotated[str, Means("why it is no donor")] = ""

    @model_validator(mode="after")
    def _check(self, known: ValidationInfo) -> Donor:
        if sector := (known.context or {}).get(self.ticker):
            raise CellError("ticker", f"a security outside the sectors (it is in '{sector}')")
        if not (self.group or self.note):
            raise CellError("group", "a group, or a note that says why it is no donor")
        return self


@row(frozen=True, slots=True, config=ROW)
class Accepted:
    """A day of a series that looks wrong and is right, and why."""

    ticker: Annotated[Filled, Means("a security of the prices")]
    day: Annotated[Day, Field(validation_alias="date"), Means("the day, YYYY-MM-DD")]
    reason: Annotated[Filled, Means("why it is right")]


Asked = Literal[Role, "note"]
ASKED = "roles of events.csv or 'note', separated by spaces"
Part = Literal["", "before", "after"]
Decimal = Annotated[float, Field(ge=0, le=1)]  # a share


@row(frozen=True, slots=True, config=ROW)
class Check:
    """One line of the question "does the pattern look like pricing?"."""

    key: Annotated[Key, Means("name of the line, once")]
    title: Annotated[str, Field(min_length=1, description="a title"), Means("the line in words")]
    roles: Annotated[Many[Asked], Field(min_length=1, description=ASKED)]
    window: Annotated[Span, Means("sessions from day 0, as '2 20'; empty: the rule's")] = None
    part: Annotated[Part, Field(description="before, after or nothing")] = ""
    priced: Annotated[str, Means("what pricing would look like")] = ""
    unpriced: Annotated[str, Means("what no pricing would look like")] = ""
    wrong: Annotated[str, Means("what a wrong thesis would look like")] = ""

    @property
    def of_note(self) -> bool:
        """Whether it asks for the event that ``study.yaml`` calls the note."""
        return bool(self.part) or "note" in self.roles


# Of a study that lists none.
GENERIC = read_rows(Path(__file__).with_name("checks.csv"), Check, once="key", needed=True)


def asked(checks: tuple[Check, ...]) -> list[tuple[object, ...]]:
    """Return what of the checks decides their numbers: no title, and no expectation."""
    return [(check.key, check.window, check.roles, check.part) for check in checks]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Estimation(_Strict):
    """The estimation window: ``sessions`` days that end ``ends_before`` days before the window."""

    sessions: Annotated[Whole, Means("length, in sessions")] = Field(250, ge=30, le=2500)
    ends_before: Annotated[Whole, Means("sessions before the window")] = Field(21, ge=1, le=1000)
    minimum: Annotated[Whole, Means("usable sessions it needs")] = Field(200, ge=10, le=2500)


class Blackout(_Strict):
    """Own news within ``margin`` sessions of the window takes a firm out of an event's slot."""

    margin: Annotated[Whole, Means("sessions around the window")] = Field(2, ge=0, le=250)
    kinds: Annotated[tuple[NewsKind, ...], Means("that count")] = ("results", "guidance", "merger")


class Contrast(_Strict):
    """Named minus unnamed beneficiaries of one sector at one event."""

    sector: Annotated[str, Means("key of the sector")]
    event: Annotated[str, Means("id of the event")]


class ContrastVersion(_Strict):
    """Another version of the contrast: other events, other firms, or no blackout."""

    title: Annotated[str, Means("its name on the page")]
    events: Annotated[tuple[str, ...], Means("ids of events in place of the contrast's")] = ()
    named: Annotated[tuple[str, ...], Means("tickers in place of those named")] = ()
    without: Annotated[tuple[str, ...], Means("tickers left out")] = ()
    blackout: Annotated[bool, Means("false: firms with own news stay")] = True


class Second(_Strict):
    """Rule 2: weights by market value, the first full session, and controls from outside."""

    cap: Annotated[float, Means("largest weight of a firm, a decimal")] = Field(0.10, gt=0, le=1)
    least_valued: Annotated[Whole, Means("firms with a market value")] = Field(8, ge=3, le=10_000)
    yardstick: Annotated[dict[str, str], Means("sector: average, in place of the index")] = {}
    without: Annotated[dict[str, tuple[str, ...]], Means("sector: [baskets], not tested")] = {}
    benchmark_share: Annotated[dict[str, Decimal], Means("sector: part of the index")] = {}
    share_source: Annotated[str, Means("where those parts come from")] = ""
    material: Annotated[float, Means("a move that matters, a decimal")] = Field(0.05, gt=0, lt=1)
    controls: Annotated[tuple[str, ...], Means("beside the index; `usjp rule` chooses them")] = ()
    chosen_on: Annotated[Day | None, Means("day of the freeze; later events are a new set")] = None
    prices_to: Annotated[Day | None, Means("last price known then")] = None
    prospective: Annotated[dict[str, dict[str, Sign]], Means("category: signs by sector")] = {}

    @model_validator(mode="after")
    def _check(self) -> Second:
        if self.chosen_on is None and (self.prices_to or self.prospective):
            raise ValueError("prices_to and prospective need chosen_on, the day of the freeze")
        return self


class Rule(_Strict):
    """The one fixed rule of the whole family (docs/methods.md)."""

    market: Annotated[str, Means("simulated | bundled | file:PATH")] = "bundled"
    since: Annotated[Day | None, Means("returns before this day are not used")] = None
    benchmark: Annotated[tuple[str, ...], Means("their mean is the market")] = ("SPY", "IVV", "VOO")
    mirror: Annotated[tuple[str, ...], Means("their mean is shown beside the sectors")] = ()
    second_exchange: Annotated[str, Means("sessions shown too, as XTKS")] = Field("", exclude=True)
    window: Annotated[Window, Means("sessions around day 0, both ends included")] = (-1, 1)
    estimation: Annotated[Estimation, Means("where normal returns are estimated")] = Estimation()
    model: Annotated[
        Literal["mean", "market_adjusted", "market", "scholes_williams", "ff3", "carhart", "ff5"],
        Means("expected return; ff3, carhart and ff5 need --factors"),
    ] = "market"
    guard_sessions: Annotated[Whole, Means("days of volatility guard")] = Field(20, ge=5, le=1000)
    alpha: Annotated[float, Means("level, a decimal; two-sided")] = Field(0.10, ge=0.0001, lt=0.5)
    power: Annotated[float, Means("of the smallest visible move (MDE)")] = Field(0.80, gt=0.5, lt=1)
    blackout: Annotated[Blackout, Means("own news that takes a firm out of an event")] = Blackout()
    least_firms: Annotated[Whole, Means("firms that a sector needs")] = Field(10, ge=1, le=10_000)
    least_shifts: Annotated[Whole, Means("quiet calendars needed")] = Field(200, ge=20, le=100_000)
    second: Annotated[Second | None, Means("rule 2, which gives the headline")] = None
    contrast: Annotated[Contrast | None, Means("named minus unnamed firms of a sector")] = None
    contrast_versions: Annotated[tuple[ContrastVersion, ...], Means("the contrast otherwise")] = ()
    cleanest: Annotated[str, Means("id of the event shown alone")] = ""
    note: Annotated[str, Means("id of the thesis's publication")] = ""
    campaign: Annotated[tuple[str, str] | None, Means("ids: from one event to another")] = None
    seed: Annotated[Whole, Means("of the simulated market")] = Field(20260213, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _check(self) -> Rule:
        if self.estimation.minimum > self.estimation.sessions:
            raise ValueError("estimation.minimum is larger than estimation.sessions")
        if self.guard_sessions > self.estimation.sessions:
            raise ValueError("guard_sessions is larger than estimation.sessions")
        if self.alpha * (self.least_shifts + 1) < 1:
            needed = f"needs least_shifts of {math.ceil(1 / self.alpha) - 1} or more"
            fault = f"alpha {self.alpha:g} {needed}: fewer placebo calendars give no interval"
            raise ValueError(fault)
        return self

    def _repr_html_(self) -> str:
        sizes = f"alpha {self.alpha:g}", f"power {self.power:g}"
        least = f"at least {self.least_firms} firms and {self.least_shifts} placebo calendars"
        window = f"window {self.window[0]} to {self.window[1]}"
        model = f"{self.model} model on {self.estimation.sessions} sessions"
        return card("Rule", "", window, model, *sizes, least, f"seed {self.seed}")


class Range(_Strict):
    """A number with a low, a base and a high case; a plain number means all three."""

    low: float
    base: float
    high: float

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, value: object) -> object:
        if isinstance(value, dict | cls):
            return value
        try:
            number = float(str(value))
        except ValueError:
            raise ValueError("a number, or low, base and high") from None
        return {"low": number, "base": number, "high": number}

    @property
    def cases(self) -> tuple[float, float, float]:
        """The three numbers from low to high."""
        return self.low, self.base, self.high


def _within(least: int, most: int) -> AfterValidator:
    def check(part: Range) -> Range:
        if not all(least <= value <= most for value in part.cases):
            raise ValueError(f"{least} to {most} (shares are decimals: 0.08 is 8%)")
        return part

    return AfterValidator(check)


WHOLE, NONE = (Range(low=x, base=x, high=x) for x in (1.0, 0.0))
Share = Annotated[Range, _within(0, 1)]
Margin = Annotated[Range, _within(-1, 1)]
Wait = Annotated[Range, _within(0, 100)]
Channel = Literal["orders", "service_tail", "yearly_flow", "floor"]


class Years(Range):
    """How many years a line pays: from 0.01 to 100, or ``forever``."""

    model_config = ConfigDict(allow_inf_nan=True)

    @model_validator(mode="before")
    @classmethod
    def _endless(cls, value: object) -> object:
        if isinstance(value, dict):
            return {k: math.inf if v == "forever" else v for k, v in value.items()}
        return math.inf if value == "forever" else value

    @model_validator(mode="after")
    def _check(self) -> Years:
        if not all(0.01 <= years <= 100 or years == math.inf for years in self.cases):
            raise ValueError("0.01 to 100 years, or forever")
        return self


class ThesisLine(_Strict):
    """One way from the news to the listed firms of a sector.

    It spends ``amount_usd_bn x part x years x realised``: ``orders`` at once, after the years to
    cash; the other channels every year from then on, a ``service_tail`` the serviced part of an
    equipment amount, a ``yearly_flow`` of purchases or savings, a ``floor`` the part of a basket's
    yearly sales by which it lifts prices.
    """

    id: Annotated[str, Means("name of the line, once")]
    sector: Annotated[str, Means("key of the sector that gains")]
    alternative: Annotated[str, Means("another sector that might")] = ""
    title: Annotated[str, Means("what is bought")]
    channel: Annotated[Channel, Means("how it reaches firms")] = "orders"
    sign: Annotated[int, Means("1, or -1 for a loss")] = 1
    amount_usd_bn: Annotated[Money, Means("USD bn announced")]
    part: Annotated[Range, _within(0, 10), Means("part of it that counts, a decimal")] = WHOLE
    years: Annotated[Years, Means("years paid, or forever")] = Years(low=1.0, base=1.0, high=1.0)
    margin: Annotated[Margin | None, Means("of revenue; empty: the thesis's")] = None
    years_to_cash: Annotated[Wait | None, Means("years to it; empty: the thesis's")] = None
    basis: Annotated[str, Means("what the amount rests on")]
    realised: Annotated[str, Means("a key of realised")]
    firms: Annotated[dict[str, float], Means("ticker: share of the dollars, a decimal")] = {}
    other_listed: Annotated[Range, Means("share of all other listed firms, a decimal")] = NONE
    source: Annotated[str, Means("who reported it")]
    source_url: Annotated[str, Means("where")] = ""
    note: Annotated[str, Means("assumptions, as 'assumption: reason'")] = ""

    @model_validator(mode="after")
    def _check(self) -> ThesisLine:
        if self.sign not in (1, -1):
            raise ValueError(f"line {self.id}: sign: seen {self.sign}, expected 1 or -1")
        if self.channel == "orders" and math.inf in self.years.cases:
            fault = "orders for ever; give years, or channel: yearly_flow"
            raise ValueError(f"line {self.id}: {fault}")
        told = self.source_url or re.search(r"assumption: \S", f"{self.source} {self.note}")
        if self.channel != "orders" and not told:
            fault = "no source_url and no 'assumption: reason' in source or note; add one of them"
            raise ValueError(f"line {self.id}: {fault}")
        return self


class Thesis(_Strict):
    """The thesis in numbers: dollar lines, and the assumptions that turn them into value."""

    valued_on: Annotated[Day, Means("last session before the news")]
    values_as_of: Annotated[Day, Means("day of universe.csv's market values")]
    margin: Annotated[Margin, Means("profit before tax per dollar of revenue, a decimal")]
    tax: Annotated[Share, Means("share of profit, a decimal")]
    discount_rate: Annotated[Share, Means("a year, a decimal")]
    years_to_cash: Annotated[Wait, Means("years from the news to the cash")]
    realised: Annotated[dict[str, Share], Means("status: share of the dollars that is spent")]
    assumptions: Annotated[dict[str, str], Means("key: where it comes from")] = {}
    lines: Annotated[tuple[ThesisLine, ...], Means("ways from the news to the firms")] = ()
    left_out: Annotated[tuple[str, ...], Means("what was left out, and why")] = ()
    no_channel: Annotated[tuple[str, ...], Means("'what: why it pays nobody'")] = ()

    @model_validator(mode="after")
    def _check(self) -> Thesis:
        if self.values_as_of < self.valued_on:
            raise ValueError(f"values_as_of {self.values_as_of} is before valued_on")
        endless = [line.id for line in self.lines if math.inf in line.years.cases]
        if endless and not min(self.discount_rate.cases):
            fault = "pays for ever, and discount_rate is 0; expected a rate above 0"
            raise ValueError(f"line {endless[0]} {fault}")
        for told in self.no_channel:
            if not re.search(r"\S: \S", told):
                raise ValueError(f"no_channel: seen '{told}', expected 'what: why it is none'")
        return self

    def _repr_html_(self) -> str:
        lines = f"{len(self.lines)} lines, USD {money(sum(x.amount_usd_bn for x in self.lines))} bn"
        margin = " / ".join(f"{case:g}" for case in self.margin.cases)
        return card("Thesis", "", lines, f"margin {margin}", f"valued on {self.valued_on}")


class Notes(_Strict):
    """What is true of this study only, by the place in a notebook where it is shown."""

    rule: str = ""
    second: str = ""
    dose: str = ""
    donors: str = ""
    contrast: str = ""
    versions: str = ""
    thesis: str = ""
    mirror: str = ""
    checks: str = ""
    campaign: str = ""
    reverse: str = ""
    claims: str = ""
    limits: str = ""


PAPERS = ("#FFFFFF", "#13171C")  # what figures are drawn on by day and by night
CONTRAST = 3  # to 1, of what is drawn (WCAG 2.2, 1.4.11)
# Colours of sectors by day and by night, for those that have none of their own: after Okabe and
# Ito, told apart with any colour vision and on paper.
PALETTE = (
    ("#0072B2", "#5DB7F0"),
    ("#D55E00", "#FF8F4A"),
    ("#8C6D00", "#D8B23C"),
    ("#4B4B4B", "#B9C0C8"),
    ("#007A5A", "#3CC79B"),
    ("#A8477F", "#E58CC3"),
    ("#5B4BB5", "#AFA4F2"),
    ("#8A4B2A", "#D9A183"),
)


def _luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2.2, with its 0.05 for the light in the room."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.05 + 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


class Sector(_Strict):
    """How a sector is called and drawn: a row of ``sectors.csv``; empty is as the key says."""

    sector: Annotated[Filled, Means("key of the sector, once")] = Field("", exclude=True)
    label: Annotated[str, Means("its name")] = ""
    colour: Annotated[str, Means("by day, as #RRGGBB")] = ""
    dark_colour: Annotated[str, Means("by night")] = ""

    @property
    def colours(self) -> tuple[str, str]:
        """Its colours by day and by night."""
        return self.colour, self.dark_colour

    @model_validator(mode="after")
    def _check(self) -> Sector:
        pairs = zip(("colour", "dark_colour"), self.colours, PAPERS, strict=True)
        for column, colour, paper in pairs if any(self.colours) else ():
            if not re.fullmatch(r"#[0-9A-Fa-f]{6}", colour):
                raise CellError(column, "a colour as #RRGGBB, by day and by night, or neither")
            light, dark = sorted((_luminance(colour), _luminance(paper)), reverse=True)
            if light / dark < CONTRAST:
                raise CellError(column, f"a contrast of {CONTRAST} to 1 or more on {paper}")
        return self


def _sector(value: object) -> object:
    return {"label": value} if isinstance(value, str) else value  # as in runs of earlier versions


class Words(_Strict):
    """What only this study says; nothing is computed from it and it is in no digest."""

    question: Annotated[str, Means("title of the study")] = "Has the market priced this in?"
    lead: Annotated[str, Means("what it asks, in two sentences")] = (
        "When the news came out, did the prices of each sector move by what the thesis is worth, "
        "did they not, or can the data not tell?"
    )
    provenance: Annotated[str, Means("when the rule was written")] = ""
    sectors: Annotated[
        dict[str, Annotated[Sector, BeforeValidator(_sector)]],
        Means("sector: its name; or a sectors.csv"),
    ] = {}
    events: Annotated[
        dict[str, Annotated[str, Field(min_length=1, max_length=24)]],
        Means("id: a short name for figures"),
    ] = {}
    mirror: Annotated[str, Means("name of the mirror")] = "Mirror basket"
    caveats: Annotated[dict[str, str], Means("sector: what a reader must know")] = {}
    notes: Annotated[Notes, Means("paragraphs in the notebooks")] = Notes()

    def names(self) -> dict[str, str]:
        """Return what each key of the results is called, the mirror's included."""
        named = {key: sector.label for key, sector in self.sectors.items() if sector.label}
        return {MIRROR: self.mirror, **named}

    def colours(self, sectors: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Return the colours of a study's sectors by day and night, their own or the palette's."""
        palette = zip(sectors, itertools.cycle(PALETTE))
        own = {key: row.colours for key, row in self.sectors.items() if any(row.colours)}
        return {key: own.get(key, colours) for key, colours in palette}

    def caveat(self, row: str) -> str:
        """Return what a reader must know beside a row of the scoreboard, or nothing."""
        return self.caveats.get("contrast" if ":" in row else row, "")


class Note(str):
    """A paragraph of the study's own words, for a notebook."""

    __slots__ = ()
    __repr__ = _repr_markdown_ = str.__str__


@dataclass(frozen=True, slots=True)
class Spec:
    """Everything a study needs to know before it sees a price."""

    rule: Rule
    events: tuple[Event, ...]
    firms: tuple[Firm, ...]
    sectors: tuple[str, ...]  # keys in the order of the universe; together they are the family
    own_news: tuple[News, ...] = ()
    # The sessions around which, three either side, a firm's own news was looked for.
    coverage: Mapping[str, frozenset[date]] = field(default_factory=dict)
    confounders: tuple[Confounder, ...] = ()
    thesis: Thesis | None = None
    claims: tuple[Claim, ...] = ()
    donors: tuple[Donor, ...] = ()  # empty when any other security may be one
    accepted: tuple[Accepted, ...] = ()
    checks: tuple[Check, ...] = ()  # empty for the usual ones
    words: Words = field(default_factory=Words)  # not computed from, and in no digest
    changed: str = ""  # what of the rule this run replaces, in words; the digest has the values

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

    def announced(self, *, later: bool = False) -> tuple[Event, ...]:
        """Return the events announced until the rule was frozen, or those after, if signs are."""
        second = self.rule.second
        frozen = (second and second.prospective and second.chosen_on) or date.max
        days = ((event, event.instant.astimezone(HOME_ZONE).date()) for event in self.events)
        return tuple(event for event, day in days if (day > frozen) == later)

    def unpriced(self, event: Event) -> bool:
        """Say whether an event came after the last price that was known at the freeze."""
        last = self.rule.second and self.rule.second.prices_to
        return bool(last and event.instant >= datetime.combine(last, CLOSE, HOME_ZONE))

    def later_signs(self, event: Event) -> dict[str, int]:
        """Return the signs of a prospective event, by the frozen table and nothing else."""
        table = self.rule.second.prospective if self.rule.second else {}
        if event.category not in table:
            key = f"key 'second.prospective' ({nearest(event.category, table)})"
            lacks = f"category '{event.category}' has no signs in study.yaml, {key}"
            told = f"was announced after the freeze, and {lacks}; correct its category or its role"
            raise InputError(f"events.csv: event '{event.id}' {told}")
        return {sector: SIGNS[sign] for sector, sign in table[event.category].items()}

    def with_role(self, *roles: str) -> tuple[Event, ...]:
        """Return the events with one of the roles, but none after the freeze or its last price."""
        known = (event for event in self.announced() if not self.unpriced(event))
        return tuple(event for event in known if event.role in roles)

    def _repr_html_(self) -> str:
        events = f"{len(self.events)} events ({len(self.with_role('primary'))} primary)"
        firms = f"{len(self.firms)} firms in {len(self.sectors)} sectors"
        facts, other = (events, firms, f"alpha {self.rule.alpha:g}"), not_the_rule(self) or ""
        return card("Study", digest(self)[:12], *facts, warning=other)


def not_the_rule(spec: Spec) -> Note | None:
    """Say in one line what of the study's rule this run replaces; nothing shows as nothing."""
    return Note(f"Not the study's rule: {spec.changed}") if spec.changed else None


def differences(old: object, new: object, name: str = "") -> list[str]:
    """List in words what differs in the second of two records, as plain mappings."""
    if isinstance(new, dict):
        old = old if isinstance(old, dict) else {}
        keys = {key: f"{name} {key.replace('_', ' ')}" for key in (*old, *new)}
        return [x for k, words in keys.items() for x in differences(old.get(k), new.get(k), words)]
    if old == new:
        return []
    between = " to " if name == " window" else ", "
    told = between.join(map(str, new)) if isinstance(new, tuple) else str(new or 0)
    return [f"{name.strip()} {'none' if new in (None, '', ()) else shortened(told, 60)}"]


def note(spec: Spec, place: str) -> Note | None:
    """Return what this study says at a place of a notebook, a key of `Notes`; InputError if none.

    Examples
    --------
    >>> note(read_spec(), "limits")                                 # doctest: +SKIP
    """
    if place not in Notes.model_fields:
        raise InputError(f"unknown note '{place}': {nearest(place, Notes.model_fields)}")
    text = getattr(spec.words.notes, place)
    return Note(text) if text else None


SHIPPED = "_shipped"  # folder inside an installed package


def home() -> Path:
    """Return the folder of what ships with the package: its checkout, or its copy in the wheel."""
    package = Path(__file__).resolve().parents[1]
    checkout = (package.parent / "params" / "universe.csv").is_file()
    return package.parent if checkout else package / SHIPPED


def find_root(start: Path | None = None) -> Path:
    """Find the project's root: the nearest folder with ``params/universe.csv``, or `home`."""
    here = (start or Path.cwd()).resolve()
    folders = (here, *here.parents)
    return next((f for f in folders if (f / "params" / "universe.csv").is_file()), home())


def expanded(path: Path) -> Path:
    """Return a path whose user's folder is written out."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise InputError(f"{path}: no such user's folder; give the whole path") from None


def in_project(path: Path) -> Path:
    """Return a path from the root where it is relative, never a new one in an installed package."""
    path, root = expanded(path), find_root()
    outside = not Path.cwd().resolve().is_relative_to(root)
    installed = root.name == SHIPPED and not (root / path).exists()
    return path if outside and (path.exists() or installed) else root / path


def sha_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest(spec: Spec) -> str:
    """Return the SHA-256 of everything that defines the study, as 64 hexadecimal digits."""
    checks, usual = asked(spec.checks), asked(GENERIC)
    told = {name: getattr(spec, name) for name in spec.__slots__}
    del told["words"], told["changed"]
    told["rule"] = spec.rule.model_dump(exclude=set() if spec.rule.second else {"second"})
    told["checks"] = checks
    # Studies that accept nothing, or look at the usual checks, keep the name they had.
    if not spec.accepted:
        del told["accepted"]
    if checks in ([], usual):
        del told["checks"]
    how: dict[str, Any] = {"sort_keys": True, "separators": (",", ":"), "ensure_ascii": False}
    return hashlib.sha256(json.dumps(told, default=_plain, **how).encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, frozenset):
        return sorted(map(str, value))
    names = getattr(value, "__dataclass_fields__", None)
    return {name: getattr(value, name) for name in names} if names else str(value)

"""The study as data: frozen records, and the digest that names a study."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, model_validator

from usjp_research.words import InputError, card, money, nearest

Role = Literal["primary", "secondary", "leak", "reverse", "publication", "placebo"]
ROLES: tuple[Role, ...] = ("primary", "secondary", "leak", "reverse", "publication", "placebo")
NEWS_KINDS = ("results", "guidance", "merger", "contract", "other")


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

    def _repr_html_(self) -> str:
        return card("Event", self.id, f"{self.instant:%Y-%m-%d %H:%M %Z}", self.role, self.title)


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

    def _repr_html_(self) -> str:
        value = self.market_value_usd_bn
        worth = "market value not known" if value is None else f"USD {money(value)} bn"
        return card("Firm", self.ticker, self.name, self.sector, self.basket, worth)


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


@dataclass(frozen=True, slots=True)
class Donor:
    """A security outside the sectors that may stand in for one; without a group it may not."""

    ticker: str
    group: str = ""
    note: str = ""


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


class ContrastVersion(_Strict):
    """Another version of the contrast: other events, other firms, or no blackout.

    Several events make one window, from before the first to after the last. Without ``named``
    the firms count that the universe names for the (first) event.
    """

    title: str
    events: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    blackout: bool = True


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
    contrast_versions: tuple[ContrastVersion, ...] = ()
    cleanest: str = "E05"
    note: str = "E34"
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

    def _repr_html_(self) -> str:
        return card(
            "Rule",
            "",
            f"window {self.window[0]} to {self.window[1]}",
            f"{self.model} model on {self.estimation.sessions} sessions",
            f"alpha {self.alpha:g}",
            f"power {self.power:g}",
            f"at least {self.least_firms} firms and {self.least_shifts} placebo calendars",
            f"seed {self.seed}",
        )


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

    def _repr_html_(self) -> str:
        return card(
            "Thesis",
            "",
            f"{len(self.lines)} lines, USD {money(sum(x.amount_usd_bn for x in self.lines))} bn",
            f"margin {self.margin.low:g} / {self.margin.base:g} / {self.margin.high:g}",
            f"valued on {self.valued_on}",
        )


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
    donors : tuple of Donor
        Securities outside the sectors, by industry; empty when any other security may be one.
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
    donors: tuple[Donor, ...] = ()

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
        return card(
            "Study",
            digest(self)[:12],
            f"{len(self.events)} events ({len(self.with_role('primary'))} primary)",
            f"{len(self.firms)} firms in {len(self.sectors)} sectors",
            f"alpha {self.rule.alpha:g}",
        )


def find_root(start: Path | None = None) -> Path:
    """Find the project's root: the nearest folder upward that holds ``params/universe.csv``.

    Outside of it, the checkout that this package was installed from.
    """
    here = (start or Path.cwd()).resolve()
    package = Path(__file__).resolve().parents[1]
    for folder in (here, *here.parents, package.parent):
        if (folder / "params" / "universe.csv").is_file():
            return folder
    raise InputError(
        f"{here}: no folder here or above holds params/universe.csv; "
        "run from inside the project or give --params"
    )


def in_project(path: Path) -> Path:
    """Return a path as it is, or from the project's root where it is relative.

    The root is the nearest folder upward with ``params/universe.csv``; outside of every project
    it is the folder one stands in, or the checkout where there is no such file or folder here.
    """
    if path.is_absolute():
        return path
    try:
        root = find_root()
    except InputError:
        return path
    outside = not Path.cwd().resolve().is_relative_to(root)
    return path if outside and path.exists() else root / path


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

"""What a cell of the parameters may hold: types of pydantic that say what they expect."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field

YEARS = range(1998, 2101)  # the calendars of exchanges start in 1997
LARGEST_USD_BN = 1_000_000  # ten times what the whole world earns in a year
DAY = f"as YYYY-MM-DD, from {YEARS[0]} to {YEARS[-1]}"
FARTHEST = 250  # sessions from day 0
SPAN = f"two numbers of sessions from day 0 such as '2 20', in order, within {FARTHEST}, or nothing"
INSTANT = re.compile(r"\d{4}-\d\d-\d\d(?P<time>[T ]\d\d:\d\d.*)?", re.ASCII)
NUMBER = r"(?i)[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf)"
USD = f"a number in USD bn of zero or more, up to {LARGEST_USD_BN:,}, or nothing"
T = TypeVar("T")


class CellError(ValueError):
    """What a validator of a row has against the cell of one of its columns."""

    def __init__(self, column: str, expected: str) -> None:
        super().__init__(expected)
        self.column = column


class Means(str):
    """What a key of the parameters means, with its unit: what `usjp new` writes beside it."""


def _day(value: object) -> date:
    # A bare number would be taken for seconds since 1970, a week or an ordinal for its day.
    text = str(value)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) and int(text[:4]) in YEARS:
        with suppress(ValueError):
            return date.fromisoformat(text)
    raise ValueError(f"a date {DAY}")


def _split(value: object) -> object:
    return tuple(value.split()) if isinstance(value, str) else value


def _written(pattern: str, expected: str) -> BeforeValidator:
    def check(value: object) -> object:
        # A notebook may give true, which would pass for 1.
        wrong = isinstance(value, str) and not re.fullmatch(pattern, value, re.ASCII)
        if wrong or isinstance(value, bool):
            raise ValueError(expected)
        return value

    return BeforeValidator(check)


def _in_order(window: tuple[int, int]) -> tuple[int, int]:
    if window[0] > window[1]:
        raise ValueError(SPAN)
    return window


Day = Annotated[date, BeforeValidator(_day)]
DAYS = f"dates {DAY}, separated by spaces"
Days = Annotated[frozenset[Day], BeforeValidator(_split), Field(description=DAYS)]
Whole = Annotated[int, _written(r"[+-]?\d+", "a whole number")]
Offset = Annotated[Whole, Field(ge=-FARTHEST, le=FARTHEST)]
Window = Annotated[tuple[Offset, Offset], AfterValidator(_in_order)]
Span = Annotated[Window | None, BeforeValidator(_split), Field(description=SPAN)]
Filled = Annotated[str, Field(min_length=1, description="a value; fill it in or remove the row")]
Many = Annotated[tuple[T, ...], BeforeValidator(_split)]
KEY = "a key of small letters, digits and underscores"
Id = Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$", description="letters, digits, - and _")]
Group = Annotated[str, Field(pattern="^[^/]*$", description="a name without '/'")]
KeyOrNone = Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]*)?$", description=KEY)]
Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description=KEY)]
Money = Annotated[float, Field(ge=0, le=LARGEST_USD_BN)]
Usd = Annotated[Money | None, _written(NUMBER, USD), Field(description=USD)]


def instant_of(announced: str, zone: str, precision: str) -> tuple[datetime, str]:
    """Return the instant with its zone, and how well it is known."""
    parts = INSTANT.fullmatch(announced)
    try:
        moment = datetime.fromisoformat(announced if parts else "")
    except ValueError:
        raise CellError("announced", "an instant as YYYY-MM-DD HH:MM, or YYYY-MM-DD") from None
    if moment.year not in YEARS:
        raise CellError("announced", f"a year from {YEARS[0]} to {YEARS[-1]}")
    timed = bool(parts and parts["time"])
    precision = precision or ("minute" if timed else "day")
    if (precision == "day") == timed:
        raise CellError("precision", "'day' exactly where the time of day is not given")
    if moment.tzinfo is None:
        moment = _in_zone(moment if timed else moment.replace(hour=12), zone)
    return moment, precision


def _in_zone(moment: datetime, zone: str) -> datetime:
    if not zone:
        raise CellError("zone", "a time zone such as America/New_York")
    try:
        # Short names such as EST know no summer time.
        place = ZoneInfo(zone if "/" in zone else {"UTC": "UTC"}[zone])
    except (KeyError, ValueError, OSError):
        words = "a known time zone by place, such as America/New_York"
        raise CellError("zone", words) from None
    aware = moment.replace(tzinfo=place)
    if aware.astimezone(UTC).astimezone(place).replace(tzinfo=None) != moment:
        raise CellError("announced", "a time that exists in its zone (clocks skip this hour)")
    return aware

"""What a cell of the parameters may hold: types of pydantic that say what they expect."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

YEARS = range(1998, 2101)  # the calendars of exchanges start in 1997
LARGEST_USD_BN = 1_000_000  # ten times what the whole world earns in a year
DAY = f"as YYYY-MM-DD, from {YEARS[0]} to {YEARS[-1]}"
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf)", re.ASCII | re.IGNORECASE)


def _day(value: object) -> date:
    # A bare number would be taken for seconds since 1970, a week or an ordinal for its day.
    text = str(value)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) and int(text[:4]) in YEARS:
        with suppress(ValueError):
            return date.fromisoformat(text)
    raise ValueError(f"a date {DAY}")


def _days(value: object) -> object:
    try:
        return frozenset(map(_day, value.split())) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(f"dates {DAY}, separated by spaces") from None


def split_words(value: object) -> object:
    """Take a cell apart at its spaces."""
    return tuple(value.split()) if isinstance(value, str) else value


def _whole(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"[+-]?[0-9]+", value):
        raise ValueError("a whole number")
    return value


def _usd(value: object) -> object:
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        raise ValueError("a number in USD bn, or nothing")
    return value


Day = Annotated[date, BeforeValidator(_day)]
Days = Annotated[frozenset[date], BeforeValidator(_days)]
Whole = Annotated[int, BeforeValidator(_whole)]
Offset = Annotated[Whole, Field(ge=-250, le=250)]
Filled = Annotated[str, Field(min_length=1, description="a value; fill it in or remove the row")]
Many = Annotated[tuple[str, ...], BeforeValidator(split_words)]
KEY = "a key of small letters, digits and underscores"
Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description=KEY)]
Usd = Annotated[
    Annotated[float, Field(ge=0, le=LARGEST_USD_BN)] | None,
    BeforeValidator(_usd),
    Field(description=f"a number of zero or more, up to {LARGEST_USD_BN:,} (USD bn)"),
]
Sign = Annotated[
    Literal["+", "-", "0", "+/-", ""], Field(description="one of + - 0 +/- or nothing")
]

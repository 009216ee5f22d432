"""What is looked at before and after the events, as data."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

FARTHEST = 250  # sessions from day 0
SPAN = f"two numbers of sessions from day 0 such as '2 20', in order, within {FARTHEST}, or nothing"


def _span(value: object) -> object:
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"[+-]?[0-9]{1,3}\s+[+-]?[0-9]{1,3}", value, re.ASCII):
        low, high = map(int, value.split())
        if -FARTHEST <= low <= high <= FARTHEST:
            return low, high
    raise ValueError(SPAN)


def _roles(value: object) -> object:
    return tuple(value.split()) if isinstance(value, str) else value


Asked = Literal["primary", "secondary", "leak", "reverse", "publication", "placebo", "note"]


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Check:
    """One line of the question "does the pattern look like pricing?".

    Attributes
    ----------
    window : (int, int) or None
        Offsets from day 0; the rule's window when ``None``.
    roles : tuple of str
        Of the events that it sums; ``note`` is the event that ``study.yaml`` calls so.
    part : str
        ``before`` or ``after`` that event, or empty for all events.
    priced, unpriced, wrong : str
        What it would show if the thesis is right and priced, right and not priced, or wrong.
    """

    key: Annotated[
        str,
        Field(
            pattern=r"^[a-z][a-z0-9_]*$",
            description="a key of small letters, digits and underscores",
        ),
    ]
    title: Annotated[str, Field(min_length=1, description="a title")]
    roles: Annotated[
        tuple[Asked, ...],
        BeforeValidator(_roles),
        Field(min_length=1, description="roles of events.csv or 'note', separated by spaces"),
    ]
    window: Annotated[tuple[int, int] | None, BeforeValidator(_span)] = None
    part: Annotated[
        Literal["", "before", "after"], Field(description="before, after or nothing")
    ] = ""
    priced: str = ""
    unpriced: str = ""
    wrong: str = ""

    @property
    def of_note(self) -> bool:
        """Whether it asks for the event that ``study.yaml`` calls the note."""
        return bool(self.part) or "note" in self.roles


def from_cells(cells: Mapping[str, str]) -> Check:
    """Build a check from one row of a CSV file, where an empty cell is the default.

    Raises
    ------
    ValidationError
        Of pydantic.
    """
    given = {name: cell for name, cell in cells.items() if cell or name in NEEDED}
    return TypeAdapter(Check).validate_python(given)


NEEDED = ("key", "title", "roles")
with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as file:
    GENERIC = tuple(map(from_cells, csv.DictReader(file)))  # of a study that lists none


def asked(checks: tuple[Check, ...]) -> list[tuple[object, ...]]:
    """Return what of the checks decides their numbers: no title, and no expectation."""
    return [(check.key, check.window, check.roles, check.part) for check in checks]

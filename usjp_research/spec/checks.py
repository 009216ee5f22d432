"""What is looked at before and after the events, as data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from usjp_research.spec.cells import Key, split_words
from usjp_research.spec.files import read_rows

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


Asked = Literal["primary", "secondary", "leak", "reverse", "publication", "placebo", "note"]


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Check:
    """One line of the question "does the pattern look like pricing?"."""

    key: Key
    title: Annotated[str, Field(min_length=1, description="a title")]
    roles: Annotated[
        tuple[Asked, ...],
        BeforeValidator(split_words),
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


# Of a study that lists none.
GENERIC = read_rows(Path(__file__).with_suffix(".csv"), Check, once="key", needed=True)


def asked(checks: tuple[Check, ...]) -> list[tuple[object, ...]]:
    """Return what of the checks decides their numbers: no title, and no expectation."""
    return [(check.key, check.window, check.roles, check.part) for check in checks]

"""A number is declared once, in numbers.csv: its unit, title, cell and meaning."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from usjp_research.runs.store import declared
from usjp_research.words import DASH, MINUS, label, level, listed, money, number, p_value, percent

Rows = Sequence[Mapping[str, Any]]
TEXT = Path(__file__).with_name("phrases.yaml").read_text(encoding="utf-8")
PHRASES: Mapping[str, Any] = yaml.safe_load(TEXT)
COUNTS = PHRASES["counts"].split()
SCRAP = "application/scrapbook.scrap."  # what a notebook says as data, by scrapbook's convention


def _two_digits(value: float) -> str:
    digits = max(0, 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{digits}f}".replace("-", MINUS)


def small(value: float) -> str:
    """Return the size of a share in percent; under a tenth of one it is only that."""
    return "<0.1%" if 0 < abs(value) < 0.001 else percent(abs(value), sign=False)


WORDS: Mapping[str, Callable[[Any], str]] = {
    "label": label,
    "kind": lambda value: value and f" ({value})",
    "small": small,
    "p": p_value,
    "level": level,
    "usd": money,
    "two": _two_digits,
    "share": lambda value: "over 100%" if value > 1 else percent(value, 0, sign=False),
    "cents": lambda value: number(100 * value, 1),
    "words": lambda value: " ".join(value) or "none",
    "len": lambda value: str(len(value)),
    "yes": lambda value: "yes" if value else "no",
    "count": lambda value: COUNTS[value] if value < len(COUNTS) else str(value),
    "listed": listed,
    "labels": lambda names: listed([*map(label, names)]),
}


class Cells(string.Formatter):
    """Format for the eye: a true minus, a dash for nothing; what is a word already stays one."""

    def format_field(self, value: Any, spec: str) -> str:
        """Write a value in the words of its cell's format."""
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return DASH
        if spec in ("label", "kind") or not isinstance(value, str):
            if spec in WORDS:
                return WORDS[spec](value)
            if spec.endswith("%"):
                return percent(value, int(spec[-2]), sign=spec.startswith("+"))
            if spec:
                return number(float(value), int(spec[-2]))
        return str(value)


def say(phrase: str, row: Mapping[str, Any] | None = None, **more: Any) -> str:
    """Fill a phrase of phrases.yaml with the numbers of a row, and with more."""
    return Cells().format(PHRASES[phrase], **{**(row or {}), **more})


class Linked(str):
    """Words that link to where they come from, if they have an address."""

    url = ""


def _cell(words: object) -> str:
    text, url = escape(str(words), quote=False), getattr(words, "url", "")
    return f'<a href="{escape(url)}">{text}</a>' if url.startswith("http") else text


class Table(pd.DataFrame):
    """A data frame of words that shows all it has to say; its headings say what they mean."""

    _metadata = ("meanings",)
    meanings: Mapping[str, str]

    @property
    def _constructor(self) -> type[Table]:
        return Table

    def _repr_html_(self) -> str:
        some = [len(self) == 0 or set(self.iloc[:, k]) != {DASH} for k in range(self.shape[1])]
        cells = pd.DataFrame(self.loc[:, some]).map(_cell).rename(columns=_cell)
        with pd.option_context("display.max_colwidth", None):
            text = str(cells.to_html(index=False, border=0, escape=False))
        for title, meaning in getattr(self, "meanings", {}).items():
            head = f"<th>{escape(title, quote=False)}</th>"
            told = escape(meaning).replace("&#x27;", "’")
            text = text.replace(head, f'<th title="{told}">{head[4:]}', 1)
        return text


def lay_out(name: str, rows: Rows) -> Table:
    """Lay rows out in the columns that numbers.csv titles, but for those no row has fields of."""
    show = Cells()
    first = rows[0] if rows else None
    cells: dict[str, list[Linked]] = {}
    meanings: dict[str, str] = {}
    for row in declared(name):
        fields = {re.split(r"[.[]", field)[0] for _, field, *_ in show.parse(row["cell"]) if field}
        if row["title"] and (first is None or fields <= first.keys()):
            title = show.format(row["title"], **first) if first else row["title"]
            words, _, link = row["cell"].partition(" <")  # words <address>
            cells[title] = [Linked(show.format(words, **values)) for values in rows]
            for cell, values in zip(cells[title], rows, strict=True):
                cell.url = show.format(link.rstrip(">"), **values)
            meanings |= {title: row["meaning"]} if row["meaning"] else {}
    table = Table(cells, dtype=object)
    table.meanings = meanings
    return table


def how_to_read(name: str) -> Table:
    """Say what the columns of a table, by the name that `table` takes, mean.

    There is a row for each column that does not explain itself.
    """
    told = [row for row in declared(name) if row["title"] and row["meaning"]]
    return Table({"Column": [r["title"] for r in told], "Means": [r["meaning"] for r in told]})


def checked(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame as it is saved; refuse a column that its table in numbers.csv lacks.

    A table that is not declared at all, of a notebook of one's own, is let through.
    """
    known = {row["column"] for row in declared(name)} - {""}
    unlike = set(map(str, frame.columns)) - known
    if known and unlike:
        raise ValueError(f"{name}: not declared in numbers.csv: {sorted(unlike)}")
    return frame

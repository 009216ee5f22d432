"""Printed text as a terminal would show it, and any text without what only a terminal obeys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from usjp_research.words import shown

WIDTH = 80  # columns that every terminal has
WIDEST = 500  # columns that a cursor may move to the right of what is written
CODES = (
    r"\x1b\[(?P<numbers>[0-?]*)[ -/]*(?P<code>[@-~])"  # colours, moves of the cursor
    r"|\x1b[\]PX^_][^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # links, titles and the like
    r"|\x1b[ -/]*[0-~]?"
)
CODE = re.compile(CODES)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
PIECE = re.compile(rf"{CODES}|(?P<control>[\r\n\b])|(?P<text>[^\x1b\r\n\b]+)")


def plain(text: str) -> str:
    """Drop escape sequences, control characters and halves of surrogate pairs; line ends stay."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return CONTROL.sub("", CODE.sub("", text))


def screen(text: str) -> str:
    """Return the lines that a terminal shows in the end: bars overwrite themselves."""
    text = text.replace("\r\n", "\n")
    if not re.search(r"[\r\b\x1b]", text):
        return plain(text)
    rows: list[list[str]] = [[]]
    row = column = 0
    for piece in PIECE.finditer(text):
        if written := piece["text"]:
            written = CONTROL.sub("", written)
            line = rows[row]
            line.extend(" " * (column - len(line)))
            line[column : column + len(written)] = written
            column += len(written)
        elif piece["control"] == "\n":
            row, column = row + 1, 0
            rows.extend([[]] if row == len(rows) else [])
        elif piece["control"]:
            column = 0 if piece["control"] == "\r" else max(column - 1, 0)
        elif piece["code"]:
            row, column = _obey(rows, row, column, piece["code"], piece["numbers"])
    return "\n".join("".join(line).rstrip(" ") for line in rows)


def _obey(rows: list[list[str]], row: int, column: int, code: str, numbers: str) -> tuple[int, int]:
    """Move the cursor or erase, as far as progress bars do; everything else changes nothing."""
    first, line = numbers.partition(";")[0], rows[row]
    count = int(first[:4]) if first.isdecimal() else 0
    if code == "K":
        start, end = (0 if count else column), (column if count == 1 else len(line))
        line[start:end] = " " * max(end - start, 0)
    elif code == "J" and not count:
        rows[row + 1 :] = []
        line[column:] = []
    step = max(count, 1)
    row += {"A": -step, "B": step}.get(code, 0)
    column = step - 1 if code == "G" else column + {"C": step, "D": -step}.get(code, 0)
    return min(max(row, 0), len(rows) - 1), min(max(column, 0), max(len(line), WIDEST))


def columns(rows: Iterable[Sequence[str]], shape: str, width: int = WIDTH) -> list[str]:
    """Lay rows out side by side in lines of some width.

    A letter of ``shape`` says what a column does: ``w`` wraps, ``l`` and ``r`` stay whole and
    stand to the left or right.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    for letter in shape:
        side: Literal["left", "right"] = "right" if letter == "r" else "left"
        table.add_column(justify=side, no_wrap=letter != "w", overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as held:
        console.print(table)
    return [line.rstrip() for line in held.get().splitlines()]

"""Keys and numbers as words, and the one short style in which every record shows itself."""

from __future__ import annotations

import difflib
import html
import math
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

# Escape sequences of a terminal: colours and the like, and whole commands such as links.
ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)")
# An absolute path of any machine; what stands before it rules out tags, links and fractions.
PLACE = re.compile(
    r"(?:file:/+|(?<![\w/.<~%)\]…])/)(?:[\w.@+~-]+/)+([\w.@+-]*)"
    r"|\b[A-Za-z]:\\(?:[^\\\s\"'<>|]+\\)*"
)

SECTOR_NAMES: dict[str, str] = {}  # what the study that was read last calls its sectors
SECTOR_COLOURS: dict[str, tuple[str, str]] = {}  # and draws them in, by day and by night
EVENT_NAMES: dict[str, str] = {}  # and what it calls its events in figures
DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
NOT_COUNTED = "\N{WHITE CIRCLE}"  # beside a reaction that does not count for its sector


def card(kind: str, name: str, *facts: str, warning: str = "") -> str:
    """Return one line of HTML for a record: what it is, its name, and a few facts."""
    head = f"<b>{html.escape(warning)}</b> " if warning else ""
    told = "; ".join(html.escape(shown(fact)) for fact in facts if fact)
    named = f" {html.escape(shown(name))}" if name else ""
    return f"<p>{head}<b>{html.escape(kind)}</b>{named}{f': {told}' if told else ''}.</p>"


def use_names(
    names: Mapping[str, str],
    colours: Mapping[str, tuple[str, str]] | None = None,
    events: Mapping[str, str] | None = None,
) -> None:
    """Let `label` use these names of sectors from here on, figures these colours and events."""
    SECTOR_NAMES.clear()
    SECTOR_NAMES.update(names)
    if colours is not None:
        SECTOR_COLOURS.clear()
        SECTOR_COLOURS.update(colours)
        EVENT_NAMES.clear()
        EVENT_NAMES.update(events or {})


@contextmanager
def naming(names: Mapping[str, str]) -> Iterator[None]:
    """Use the names of another study, such as a finished run's, and then the old ones again."""
    before = dict(SECTOR_NAMES)
    use_names(names)
    try:
        yield
    finally:
        use_names(before)


def label(name: str) -> str:
    """Return the words for a sector key or a row's name; a key without a name is its own words."""
    key, colon, rest = name.partition(":")
    words = key.replace("_", " ")
    return (SECTOR_NAMES.get(key) or words[:1].upper() + words[1:]) + colon + rest


def dated(event: str, session: date) -> str:
    """Return an event as people say it, by its short name or else its id: Deal, 23 Jul."""
    return f"{EVENT_NAMES.get(event, event)}, {session.day} {session:%b}"


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence: one, two and three."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def number(value: float | None, digits: int, *, style: str = "", unit: str = "") -> str:
    """Return a number with a true minus sign, but none before a zero, or a dash without one."""
    if value is None or not math.isfinite(value):
        return DASH
    rounded = round(value, digits) or 0.0
    return f"{rounded:{style if rounded else ''}.{digits}f}{unit}".replace("-", MINUS)


def percent(value: float | None, digits: int = 1, *, sign: bool = True) -> str:
    """Return a decimal as percent, signed unless it is zero."""
    of_hundred = None if value is None else 100 * value
    return number(of_hundred, digits, style="+" if sign else "", unit="%")


def p_value(value: float | None) -> str:
    """Return a p-value with three digits, a smaller one as ``<0.001``."""
    small = value is not None and math.isfinite(value) and value < 0.001
    return "<0.001" if small else number(value, 3)


def between(low: float | None, high: float | None, digits: int = 1) -> str:
    """Return an interval in percent, or one dash when it has no ends."""
    ends = percent(low, digits), percent(high, digits)
    return DASH if DASH in ends else " to ".join(ends)


def level(alpha: float) -> str:
    """Return the level of an interval with the digits it has."""
    return f"{100 * (1 - alpha):.6g}%"


def moved(effect: float | None, expected: int, digits: int = 1) -> str:
    """Return a signed sum as what the market did, when it is not a plain rise or fall."""
    if effect is None or not math.isfinite(effect):
        return DASH
    size = percent(abs(effect), digits, sign=False)
    if expected > 0:
        return percent(effect, digits)
    if not float(size.rstrip("%")):
        return size
    if expected < 0:
        return f"{'fell' if effect > 0 else 'rose'} {size}"
    return f"{size} {'in' if effect > 0 else 'against'} the expected direction"


def money(value: float | None) -> str:
    """Return USD bn, with as many digits as its size can bear."""
    large = value is not None and abs(value) >= 10
    return number(value, 0 if large else 1, style=",")


def each_text(
    change: Callable[[str], str], value: Any, kept: str | tuple[str, ...] = "image/"
) -> Any:
    """Change every text of a structure; keys stay, and what stands under the kept ones."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        as_it_is = {key: str(key).startswith(kept) for key in value}
        parts = {k: v if as_it_is[k] else each_text(change, v, kept) for k, v in value.items()}
        return type(value)(parts)
    return [each_text(change, part, kept) for part in value] if isinstance(value, list) else value


def scrub(value: Any) -> Any:
    """Take colour codes and places on a machine out of every text of a structure."""
    return each_text(_scrubbed, value)


def _scrubbed(text: str) -> str:
    text = ANSI.sub("", text)
    # The longer first: one of the two may lie in the other.
    for own in sorted({str(Path.cwd()), str(Path.home())} - {os.sep}, key=len, reverse=True):
        text = text.replace(own + os.sep, "…/")
    return PLACE.sub(lambda found: f"…/{found[1] or ''}", text)


LONGEST = 294  # characters of a refusal: with "usjp: " in front 300
LONG_WORD = 100
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, format (bidi, zero width), broken, separators


def shown(text: str) -> str:
    """Write every character that a terminal obeys or hides as its code; line ends stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in HIDDEN and char != "\n"
        else char
        for char in text
    )


def shortened(text: str, most: int = LONGEST) -> str:
    """Cut the middle of a text: where comes first in a message, what to do comes last."""
    if len(text) <= most:
        return text
    tail = 2 * most // 5
    return f"{text[: most - tail - 5].rstrip()} ... {text[-tail:].lstrip()}"


class InputError(ValueError):
    """Bad input, said in one line: where, what was seen, what was expected, what to do.

    At most `LONGEST` characters, of which none is a control character: long words are cut in
    the middle first, then the message, whose head says where and whose tail says what to do.
    """

    def __init__(self, message: str) -> None:
        some = re.sub(r"[\r\n]+", " ", shortened(message, 20 * LONGEST))
        words = shown(some).split()
        if sum(map(len, words)) + len(words) > LONGEST:
            words = [shortened(word, LONG_WORD) for word in words]
        super().__init__(shortened(" ".join(words)))

    def _render_traceback_(self) -> list[str]:
        """Show one line in a notebook: nothing in the code is at fault."""
        return [f"InputError: {self}"]


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is closest to a wrong one."""
    names = sorted(map(str, known))
    close = difflib.get_close_matches(name[:LONG_WORD], names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}"

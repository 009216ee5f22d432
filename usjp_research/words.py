"""Keys and numbers as words, and the one short style in which every record shows itself."""

from __future__ import annotations

import difflib
import html
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Escape sequences of a terminal: colours and the like, and whole commands such as links.
ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)")
# An absolute path of any machine; what stands before it rules out tags, links and fractions.
PLACE = re.compile(
    r"(?:file:/+|(?<![\w/.<~%)\]…])/)(?:[\w.@+~-]+/)+([\w.@+-]*)"
    r"|\b[A-Za-z]:\\(?:[^\\\s\"'<>|]+\\)*"
)

LABELS = {
    "power_utilities": "Power & Utilities",
    "ai_infrastructure": "AI Infrastructure",
    "mining_metals": "Mining & Metals",
    "defense_aerospace": "Defense & Aerospace",
    "manufacturing_logistics": "Manufacturing & Logistics",
    "pharma_biotech": "Pharma & Biotech",
    "japan_basket": "Japan basket",
}


def card(kind: str, name: str, *facts: str, warning: str = "") -> str:
    """Return one line of HTML for a record: what it is, its name, and a few facts.

    Parameters
    ----------
    kind : str
        In words, for example ``Event``.
    name : str
        What tells this record from others of its kind; may be empty.
    *facts : str
        Plain text; empty ones are left out.
    warning : str
        What a reader must know first.

    Examples
    --------
    >>> card("Firm", "A<B", "solar")
    '<p><b>Firm</b> A&lt;B: solar.</p>'
    """
    head = f"<b>{html.escape(warning)}</b> " if warning else ""
    told = "; ".join(html.escape(fact) for fact in facts if fact)
    named = f" {html.escape(name)}" if name else ""
    return f"<p>{head}<b>{html.escape(kind)}</b>{named}{f': {told}' if told else ''}.</p>"


def label(name: str) -> str:
    """Return the words for a sector key or a row's name.

    Examples
    --------
    >>> label("power_utilities: named minus unnamed")
    'Power & Utilities: named minus unnamed'
    """
    key, colon, rest = name.partition(":")
    return LABELS.get(key, key.replace("_", " ").capitalize()) + colon + rest


def percent(value: float | None, digits: int = 1, *, sign: bool = True) -> str:
    """Return a decimal as percent with a true minus sign, or a dash when there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    rounded = round(100 * value, digits) or 0.0  # no minus before a zero
    text = f"{rounded:{'+' if sign and rounded else ''}.{digits}f}%"
    return text.replace("-", "\N{MINUS SIGN}")


def number(value: float, digits: int) -> str:
    """Return a plain number with a true minus sign, or a dash when there is none."""
    if not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def money(value: float | None) -> str:
    """Return USD bn, with as many digits as its size can bear."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 10 else f"{value:.1f}"
    return text.replace("-", "\N{MINUS SIGN}")


def scrub(value: Any) -> Any:
    """Take colour codes and places on a machine out of every text of a structure.

    Entries whose key names a kind of picture are kept as they are.
    """
    if isinstance(value, str):
        text = ANSI.sub("", value)
        for own in {str(Path.cwd()), str(Path.home())} - {os.sep}:
            text = text.replace(own + os.sep, "…/")
        return PLACE.sub(lambda found: f"…/{found[1] or ''}", text)
    if isinstance(value, dict):
        as_it_is = {key: str(key).startswith("image/") for key in value}
        kept = {key: part if as_it_is[key] else scrub(part) for key, part in value.items()}
        return type(value)(kept)
    return [scrub(part) for part in value] if isinstance(value, list) else value


class InputError(ValueError):
    """Bad input, said in one line: where, what was seen, what was expected, what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is closest to a wrong one.

    Parameters
    ----------
    name : str
        The unknown name.
    known : iterable of str
        The names that would have been accepted.

    Returns
    -------
    str
        ``"did you mean 'x'?"``, or the (first twenty) known names when none is close.

    Examples
    --------
    >>> nearest("minning_metals", ["mining_metals", "pharma_biotech"])
    "did you mean 'mining_metals'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}"

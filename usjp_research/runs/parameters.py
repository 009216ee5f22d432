"""What a notebook may be given: read from its parameters cell, checked the same way everywhere."""

from __future__ import annotations

import ast
import difflib
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

from usjp_research.words import InputError, nearest

GIVEN = "# Parameters"  # the first line of the cell in which papermill sets values
KINDS: dict[str, Any] = {
    **{kind.__name__: kind for kind in (bool, int, float, str, list, dict, tuple, set)},
    **{name: getattr(typing, name) for name in ("Any", "Literal", "Optional", "Union")},
    **{name: getattr(typing, name) for name in ("List", "Dict", "Tuple", "Set")},
}
# What parsing can raise on text that anyone may have written.
UNREADABLE = (SyntaxError, ValueError, TypeError, KeyError, RecursionError, MemoryError)


@dataclass(frozen=True, slots=True)
class Parameter:
    """What one parameter may be: a validator of pydantic, the words for it, and its default."""

    kind: Any
    words: str
    annotated: bool
    default: Any = ...  # or ``...`` when only running it would tell
    help: str = ""  # the comment on its line

    def fault(self, name: str, value: object) -> str:
        """Say what is wrong with a value; nothing where it fits."""
        try:
            self.kind.validate_python(value)
        except ValueError:
            seen = f"{repr(value)[:80]} ({type(value).__name__})"
            return f"parameter '{name}': seen {seen}, expected {self.words}"
        return ""


def declared(source: str) -> dict[str, Parameter]:
    """Read a parameters cell: for each name that it sets, what the name may be."""
    # papermill.inspect_notebook misses ``title = "a=b"`` and ``n: int | None = 3``.
    found = filter(None, map(_setting, ast.parse(source).body))
    lines = source.encode().splitlines()
    return {name: _parameter(value, hint, lines) for name, value, hint in found}


def _setting(line: ast.stmt) -> tuple[str, ast.expr | None, ast.expr | None] | None:
    """Return name, value and annotation of a line that sets one name."""
    match line:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=hint, value=value):
            return name, value, hint
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name, value, None
    return None


def _parameter(
    default: ast.expr | None, hint: ast.expr | None, lines: Sequence[bytes]
) -> Parameter:
    from pydantic import ConfigDict, TypeAdapter

    value = literal(default)
    kind: Any = Any if value is None or value is ... else type(value)
    words = "plain data" if kind is Any else kind.__name__
    if hint:
        quoted = isinstance(hint, ast.Constant) and isinstance(hint.value, str)
        words = ast.literal_eval(hint) if quoted else ast.unparse(hint)
        try:
            kind = _type(hint)
        except UNREADABLE:  # a name that only the notebook knows
            kind = Any
        if value is None and not re.search("None|Any|Optional", words) and kind is not Any:
            kind, words = kind | None, f"{words} or None"
    try:
        adapter = TypeAdapter(kind, config=ConfigDict(strict=True))
    except Exception:  # nothing that pydantic can check
        adapter = TypeAdapter(Any)
    rest = lines[(default.end_lineno or 1) - 1][default.end_col_offset :] if default else b""
    comment = rest.decode().partition("#")[2].strip()
    return Parameter(adapter, " ".join(words.split())[:80], bool(hint), value, comment)


def literal(value: ast.expr | None) -> Any:
    """Return what an expression stands for, or ``...`` when only running it would tell."""
    try:
        return ast.literal_eval(value) if value else ...
    except UNREADABLE:
        return ...


def _type(hint: ast.expr) -> Any:
    """Return the type that an annotation names, or raise; no code of a notebook is run."""
    match hint:
        case ast.Constant(value=None | EllipsisType()):
            return hint.value
        case ast.Constant(value=str(text)):
            return _type(ast.parse(text.strip(), mode="eval").body)
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="typing"), attr=name):
            return KINDS[name]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _type(left) | _type(right)
        case ast.Subscript(value=value, slice=inner):
            kind = _type(value)
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            read = ast.literal_eval if kind is typing.Literal else _type
            found = tuple(read(part) for part in parts)
            return kind[found[0] if len(found) == 1 else found]
    raise ValueError("not a known type")


# --- in the notebook itself ------------------------------------------------------------------


def check_parameters() -> None:
    """Refuse parameters that this notebook does not have, or that are of another type.

    Call it in the cell below the parameters, before anything is computed. It holds for values
    that papermill sets and for a parameters cell that was edited by hand.

    Raises
    ------
    InputError
        One line with the parameter, what was seen and what was expected, or the nearest name.
    """
    import sys

    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:  # a notebook saved as a script has its parameters in its own text
        check_cells(shell.user_ns["In"], shell.user_ns)


def check_cells(cells: Sequence[str], values: Mapping[str, object]) -> None:
    """Refuse what the cells that ran so far have set; see `check_parameters`."""
    place, known, earlier = _latest(cells)
    given = [declared(cell) for cell in cells[place + 1 :] if cell.lstrip().startswith(GIVEN)]
    proper = [name for name, parameter in known.items() if parameter.annotated]
    # Names without annotation that look like an annotated one.
    slips = [n for n in known if n not in proper and difflib.get_close_matches(n, proper, n=1)]
    for name in [*slips, *(given[-1] if given else ())]:
        if name in slips or name not in known:
            others = [other for other in known if other not in slips]
            raise InputError(f"unknown parameter '{name}': {nearest(name, others)}")
    for name in earlier:  # its old value would still be there
        if name not in known:
            raise InputError(f"parameter '{name}' is no longer set: {nearest(name, known)}")
    for name, parameter in known.items():
        if name in values and (fault := parameter.fault(name, values[name])):
            raise InputError(fault)


def _latest(cells: Sequence[str]) -> tuple[int, dict[str, Parameter], list[str]]:
    """Return place and names of the latest parameters cell, and what earlier ones had set."""
    plain = [(k, known) for k, cell in enumerate(cells) if (known := _settings(cell))]
    ran = [(k, known) for k, known in plain if any(p.annotated for p in known.values())]
    ran = ran or [(k, known) for k, known in plain if not cells[k].lstrip().startswith(GIVEN)]
    if not ran:
        raise InputError("seen no parameters yet: run the parameters cell, then this one")
    place, known = ran[-1]
    return place, known, [name for _, old in ran if set(old) & set(known) for name in old]


def _settings(cell: str) -> dict[str, Parameter]:
    """Return what a cell declares; nothing unless it only sets names, and to plain values."""
    try:
        lines = [_setting(line) for line in ast.parse(cell).body]
        proper = all(line and (line[2] or literal(line[1]) is not ...) for line in lines)
        return declared(cell) if proper else {}
    except UNREADABLE:  # magics and other things that are no Python
        return {}

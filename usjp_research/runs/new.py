"""A study of one's own, laid out from the schema: each file, key, default and what it means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from usjp_research.runs.store import prepare_folder, write_all
from usjp_research.spec import records as r
from usjp_research.spec.cells import Means
from usjp_research.spec.files import columns_of
from usjp_research.words import InputError

AT = 34  # column at which meanings start
KINDS: Mapping[str, Any] = {
    **{"universe.csv": r.Firm, "events.csv": r.Event, "study.yaml": r.Rule},
    **{"thesis.yaml": r.Thesis, "words.yaml": r.Words, "own_news.csv": r.News},
    **{"own_news_coverage.csv": r.Checked, "sectors.csv": r.Sector, "accepted.csv": r.Accepted},
    **{"donors.csv": r.Donor, "claims.csv": r.Claim, "confounders.csv": r.Confounder},
    **{"checks.csv": r.Check},
}
HEAD = "# A key after # is not set and shows its default: take the # away to set it.\n"


def new_study(folder: Path) -> list[Path]:
    """Write the example that ships into an empty or new folder, explained, and list its files."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(f"{folder}: there is something already; give a new or an empty folder")
    example = r.home() / "params" / "example"
    files = {path.name: path.read_text("utf-8") for path in sorted(example.iterdir())}
    for name, model in KINDS.items():
        told = [f"{key:<{AT - 2}}{_told(field)}\n" for key, field in columns_of(model).items()]
        if name not in files:
            files["README.txt"] += "".join([f"\n{name}: {model.__doc__}\n", *told])
        elif name.endswith(".csv"):
            files[name] = "".join([*(f"# {line}" for line in told), files[name]])
        else:
            files[name] = "\n".join([HEAD, *_keys(model, yaml.safe_load(files[name])), ""])
    write_all(prepare_folder(folder), {name: text.encode() for name, text in files.items()})
    return [folder / name for name in files]


def _told(field: FieldInfo, *, default: bool = True) -> str:
    """Say what a key means, what it may be, and that it is needed or what it is without."""
    known, any_of = _choices(field.annotation), "tuple" in str(field.annotation)
    words = [next((m for m in field.metadata if isinstance(m, Means)), field.description or "")]
    words += [f"{'any' if any_of else 'one'} of {', '.join(filter(None, known))}"] if known else []
    usual = "" if field.is_required() else _flow(field.get_default(call_default_factory=True))
    if field.is_required():
        words.append("needed")
    elif default and len(usual) < AT:
        words.append(f"default {usual}" if usual else "may be empty")
    return "; ".join(filter(None, words))


def _choices(kind: Any) -> tuple[str, ...]:
    args = get_args(kind)
    if args and all(isinstance(arg, str) for arg in args):
        return args
    return next(filter(None, map(_choices, () if get_origin(kind) is dict else args)), ())


def _flow(value: object) -> str:
    """Write a value in one line of YAML; nothing where it is empty, or has keys of its own."""
    if isinstance(value, r.Range):
        value = value.base if len({*value.cases}) == 1 else value.model_dump()
    if value in ("", None, (), {}) or isinstance(value, BaseModel):
        return ""
    plain = [*value] if isinstance(value, tuple) else value
    text: str = yaml.safe_dump(plain, default_flow_style=True, width=1000, sort_keys=False)
    return text.replace("\n...", "").strip()


def _keys(model: type[BaseModel], given: Mapping[str, Any], pad: int = 0) -> Iterator[str]:
    """Write every key of a model: what is given, the rest as comments with its default."""
    for name, field in model.model_fields.items():
        live, (inner, many) = name in given, _record(field.annotation)
        value = given[name] if live else None if field.is_required() else field.default
        text = f"{'' if live else '# '}{' ' * pad}{name}: {'' if inner else _flow(value)}".rstrip()
        yield f"{text:<{AT - 2}}  # {_told(field, default=live and not inner)}".rstrip(" #")
        for item in (given[name] if many and live else [given.get(name, {})]) if inner else ():
            assert inner is not None
            below = [*_keys(inner, item, pad + 2 + 2 * many)]
            yield re.sub(r"    (?=\w)", "  - ", below[0], count=1) if many else below[0]
            yield from below[1:]


def _record(kind: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the record that a key holds, if any, and whether it holds a list of them."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return (None if issubclass(kind, r.Range) else kind), False
    if get_origin(kind) is dict:
        return None, False
    found = next((x for x, _ in map(_record, get_args(kind)) if x), None)
    return found, found is not None and get_origin(kind) is tuple

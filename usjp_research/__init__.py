"""Has the market priced it in? Event studies that survive a common date.

The public names stand in the order of the pipeline: parameters, returns, events, portfolios,
expected returns, tests, placebo calendars, verdicts, the study, tables. Nothing is loaded until
it is used; the names and their homes stand once, in ``__init__.pyi``, where type checkers and
editors look for them too. Editors sort what they complete: a cell that ends in the package's name
shows the names in order.
"""

from __future__ import annotations

import ast
from importlib import import_module
from itertools import groupby
from pathlib import Path

__version__ = "0.1.0"


def _read_stub() -> dict[str, str]:
    """Return the home of every public name, in the order of the stub."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = (node for node in stub.body if isinstance(node, ast.ImportFrom))
    return {alias.name: str(node.module) for node in imports for alias in node.names}


_HOME = _read_stub()

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'usjp_research' has no attribute '{name}'")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)


def _repr_html_() -> str:
    rows = (
        f"<tr><th>{home.removeprefix('usjp_research.')}</th><td>{', '.join(names)}</td></tr>"
        for home, names in groupby(_HOME, _HOME.__getitem__)
    )
    return f"<table><caption>The pipeline, in order</caption>{''.join(rows)}</table>"

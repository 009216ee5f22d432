"""The package's page templates, filled in: every text in them is escaped."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader


@lru_cache(maxsize=1)
def _templates() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    return Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)


def fill(name: str, **resources: Any) -> str:
    """Fill in a template, whose fields are those of ``resources``."""
    return _templates().get_template(f"{name}.j2").render(resources=resources)

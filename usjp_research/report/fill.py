"""The package's page templates, filled in: every text in them is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

LOADER = FileSystemLoader(Path(__file__).with_name("templates"))
PAGES = Environment(loader=LOADER, autoescape=True, trim_blocks=True, lstrip_blocks=True)


def fill(name: str, **resources: Any) -> str:
    """Fill in a template, whose fields are those of ``resources``."""
    return PAGES.get_template(f"{name}.j2").render(resources=resources)

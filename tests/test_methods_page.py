"""The page of definitions: its table is generated, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from docs.make_methods import PAGE, page, rows
from usjp_research.engine.battery.catalogue import TESTS

TESTS_FOLDER = Path(__file__).parent
AGAIN = "the table is not up to date: run 'python docs/make_methods.py'"


def test_the_table_is_what_the_catalogue_and_the_list_make_of_it() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, AGAIN
    assert {f"| `{key}` |" in text for key in TESTS} == {True}
    assert len(text.splitlines()) - len(rows()) <= 210  # a test more is a row more


def test_every_test_that_the_table_names_is_there() -> None:
    for name, _, pinned, _ in rows():
        file, _, test = pinned.partition(": ")
        tree = ast.parse((TESTS_FOLDER / f"{file}.py").read_text(encoding="utf-8"))
        assert test in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}, name


def test_no_page_cites_what_no_user_has() -> None:
    root = PAGE.parents[1]
    places = ("usjp_research/**/*.py", "usjp_research/**/*.yaml", "usjp_research/**/*.csv")
    for place in (*places, "notebooks/*.ipynb", "params/**/*", "docs/*.md", "*.md"):
        for path in root.glob(place):
            if path.is_file():
                assert not re.search(r"\bMETHODS\b", path.read_text(encoding="utf-8")), path

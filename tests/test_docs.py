"""The documentation is true: what it links, names, commands, prints and computes is there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml
from typer.testing import Result

from docs import make_exhibits, make_pages
from tests.here import without_kernels
from usjp_research import __version__
from usjp_research.__main__ import UsageError, app
from usjp_research.market.fetch import SOURCES
from usjp_research.runs.store import SCHEMA
from usjp_research.spec.records import Rule, Spec

ROOT = Path(__file__).resolve().parents[1]
NAMES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "ARCHITECTURE.md"]
PAGES = [ROOT / name for name in NAMES] + sorted((ROOT / "docs").glob("*.md"))
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES}
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.M | re.S)
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def blocks(page: Path, *kinds: str) -> list[str]:
    """The fenced blocks of a page that are in one of the languages."""
    return [body for kind, body in FENCE.findall(TEXT[page]) if kind in kinds]


def spans(page: Path) -> list[str]:
    """What stands between backticks outside of blocks, each on one line."""
    found = re.findall(r"(?<!`)`([^`]+)`(?!`)", FENCE.sub("", TEXT[page]))
    return [" ".join(span.split()) for span in found]


def lines(page: Path) -> list[str]:
    """The commands of a page's shell blocks, without their remarks."""
    text = "\n".join(blocks(page, "sh", "bat")).replace("\\\n", " ")
    return [line.partition("  #")[0].strip() for line in text.splitlines() if line.strip()]


# --- links and names ---------------------------------------------------------------------------


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", TEXT[page]), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pages
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", TEXT[page])):
        if re.match("https?:", target):
            continue
        name, _, anchor = target.partition("#")
        to = (page.parent / name).resolve() if name else page
        assert to.exists(), target
        assert not anchor or anchor in _anchors(to), target


@pages
def test_files_that_a_page_names_are_there(page: Path) -> None:
    folders = "usjp_research|tests|docs|params|data|notebooks"
    for span in spans(page):
        if re.fullmatch(rf"(?:{folders})/[\w./-]+", span) and not re.search("[A-Z]{3}", span):
            assert (ROOT / span).exists(), span


# --- commands ----------------------------------------------------------------------------------


def _parse(words: list[str], *, whole: bool) -> None:
    """Hold a command's words against the options and arguments that there are."""
    command: Any = typer.main.get_command(app)
    if words[:1] == ["site"] and len(words) > 1 and words[1] not in ("build", "diff", "gallery"):
        words = ["site", "build", *words[1:]]
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        command, words = command.commands[words[0]], words[1:]
    if whole:
        command.make_context("usjp", list(words))
    known = {name for part in command.params for name in (*part.opts, *part.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= {*known, "--help"}


@pages
def test_commands_have_the_options_and_arguments_that_a_page_gives_them(page: Path) -> None:
    for line in lines(page):
        words = shlex.split(line, posix=".venv\\" not in line)
        if words[0] == "usjp":
            try:
                _parse(words[1:], whole=True)
            except UsageError as error:
                pytest.fail(f"{line}: {error.format_message()}")
        elif words[0] == "make":
            targets = [word for word in words[1:] if "=" not in word]
            assert all(re.search(rf"^{t}:", MAKEFILE, re.M) for t in targets), line
        elif words[0] in ("papermill", "python") and words[1][0] != "-":
            assert (ROOT / words[1]).is_file(), line
    for span in spans(page):
        if span.startswith("usjp ") and "COMMAND" not in span:
            _parse(shlex.split(span)[1:], whole=False)


MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def _commands(command: Any, before: str = "usjp") -> Iterator[str]:
    for name, part in getattr(command, "commands", {}).items():
        yield from (
            _commands(part, f"{before} {name}")
            if hasattr(part, "commands")
            else [f"{before} {name}"]
        )


def test_every_command_is_shown_by_a_page() -> None:
    text = " ".join(line for page in PAGES for line in (*lines(page), *spans(page)))
    shown = set(_commands(typer.main.get_command(app))) - {"usjp site build"}
    assert not [name for name in shown if name not in text]


# --- code, and what is printed -----------------------------------------------------------------


def test_the_six_lines_run_and_are_those_of_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    (readme,), (first, second) = (
        blocks(ROOT / "README.md", "python"),
        blocks(ROOT / "docs" / "interactive.md", "python"),
    )
    assert readme == first + second and len([x for x in readme.splitlines() if x]) == 6
    monkeypatch.chdir(ROOT)
    *body, table, figure = readme.splitlines()
    scope: dict[str, Any] = {}
    exec("\n".join(body), scope)
    shown = eval(table, scope)
    assert shown["Role"].iloc[0] == "headline" and len(shown) > 20
    assert "E1, 6 Nov" in eval(figure, scope).alt


@pytest.mark.slow
def test_the_tutorial_runs_as_it_is_written(usjp: Callable[..., Result], tmp_path: Path) -> None:
    here = Path.cwd()
    (here / "data").symlink_to(ROOT / "data", target_is_directory=True)
    text = TEXT[ROOT / "docs" / "tutorial.md"]
    named = {m.end(): m[1] for m in re.finditer(r"`(mine/[\w.]+)`:\n\n(?=```)", text)}
    printed, compared = "", 0
    for block in FENCE.finditer(text):
        kind, body = block.groups()
        if block.start() in named:
            (here / named[block.start()]).write_text(body, encoding="utf-8")
        elif kind == "python":
            exec(body, {})
        elif kind == "text":
            assert " ".join(body.split()) in " ".join(printed.split())
            compared += 1
        else:
            for line in filter(lambda line: line.startswith("usjp"), body.splitlines()):
                with without_kernels():
                    done = usjp(*shlex.split(line)[1:])
                assert done.exit_code == 0, (line, done.stderr)
                printed = done.stdout
    assert compared == 2
    assert (here / "outputs/mine/site/index.html").is_file()
    assert "Did the election move" in (here / "election.html").read_text(encoding="utf-8")


# --- generated pages, and numbers in prose -----------------------------------------------------


def test_generated_pages_are_up_to_date() -> None:
    made = {"exhibits.md": make_exhibits.page, **make_pages.PAGES}
    for name, write in made.items():
        stands = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert stands == write(), f"docs/{name}: run 'make readme'"


def test_every_exhibit_is_a_public_function_and_its_file_is_in_a_run(finished: Path) -> None:
    import usjp_research as ur

    for item in make_exhibits.every():
        assert item.function in ur.__all__, item
        if item.numbers.startswith("params/"):
            assert (ROOT / item.numbers).is_file(), item
        elif item.numbers and item.notebook != "6_method":
            assert list(finished.glob(item.numbers.replace("SECTOR", "*"))), item


def test_numbers_in_prose_are_those_of_the_parameters_and_the_data(spec: Spec) -> None:
    rule, second = spec.rule, spec.rule.second
    assert second is not None
    methods = " ".join(TEXT[ROOT / "docs" / "methods.md"].split())
    for words in (
        f"It uses {rule.estimation.sessions} sessions that end {rule.estimation.ends_before} "
        f"sessions before the window",
        f"{rule.estimation.minimum} sessions must be left",
        f"Under {rule.least_shifts} shifts there is no verdict",
        f"the {rule.guard_sessions} sessions before the window",
        f"the larger of {second.cap:.0%} and 1.5/n",
        f"a move of {second.material:.0%} or more",
        f"zero in {rule.power:.0%} of the placebo calendars",
    ):
        assert words in methods, words
    assert rule.window == (-1, 1) and "(-1, +1)" in methods
    assert second.least_valued == 8 and "Fewer than eight valued firms" in methods
    made = json.loads((ROOT / "data/bundled/provenance.json").read_text(encoding="utf-8"))
    assert (made["first"][:7], made["last"][:7]) == ("2022-02", "2026-07")
    assert "February 2022 to July 2026" in TEXT[ROOT / "docs" / "data.md"]


def test_lists_in_prose_are_whole() -> None:
    rules, data = (" ".join(TEXT[ROOT / "docs" / name].split()) for name in ("rules.md", "data.md"))
    for model in get_args(Rule.model_fields["model"].annotation):
        assert f"`{model}`" in rules
    assert SOURCES["french"].terms in data
    install = TEXT[ROOT / "docs" / "install.md"]
    assert f"usjp_research-{__version__}-py3-none-any.whl" in install
    notebooks = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert notebooks <= {*spans(ROOT / "docs" / "interactive.md")}


def test_the_readme_is_short() -> None:
    assert len(TEXT[ROOT / "README.md"].splitlines()) <= 130


def test_the_changelog_says_the_schema_in_use() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (\d+) \|", TEXT[ROOT / "CHANGELOG.md"], re.M)
    assert dict(rows) == dict.fromkeys(("run.json", "verdicts.json"), str(SCHEMA))
    assert __version__ in TEXT[ROOT / "CHANGELOG.md"]


def test_the_citation_file_has_what_its_format_needs() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert cited["version"] == __version__ and cited["license"] == "MIT"
    assert all(author.keys() <= {"name", "website"} for author in cited["authors"])


# --- the site ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(find_spec("sphinx") is None, reason="Sphinx is not installed (extra 'docs')")
def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    source, site = tmp_path / "docs", tmp_path / "site"
    shutil.copytree(ROOT / "docs", source, ignore=shutil.ignore_patterns("_build"))
    words = ("-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(source), str(site))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert {page.stem for page in PAGES if page.parent.name == "docs"} <= {
        path.stem for path in site.glob("*.html")
    }
    outside = re.compile(r"""(?:src=|<link[^>]+href=|@import\s+|url\()["']?(?:https?:)?//""")
    for path in (*site.glob("*.html"), *site.glob("_static/**/*.css")):
        assert not outside.search(path.read_text(encoding="utf-8")), path.name

"""The house: one way through it, light to enter, and public names that read."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import usjp_research

PACKAGE = Path(usjp_research.__file__).parent
PAGE = PACKAGE.parent / "ARCHITECTURE.md"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text("utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "__init__.py"
}


def _imports(module: str) -> set[str]:
    """List the modules of the package that a module imports anywhere."""
    froms = [node.module for node in ast.walk(MODULES[module]) if isinstance(node, ast.ImportFrom)]
    return {n.removeprefix("usjp_research.") for n in froms if n and n.startswith("usjp_research.")}


def test_imports_follow_the_arrows_of_the_page_and_run_in_no_circle() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ?([^|]*) ?\|$", PAGE.read_text("utf-8"), re.M)
    arrows = {room: set(re.findall(r"\w+", may)) for room, may in rows}
    seen = {path.stem for path in PACKAGE.iterdir() if path.name != "__pycache__"} - {"__init__"}
    assert seen == set(arrows) and list(graphlib.TopologicalSorter(arrows).static_order())
    for module in MODULES:
        room = module.split(".")[0]
        assert {name.split(".")[0] for name in _imports(module)} <= arrows[room] | {room}, module
    assert list(graphlib.TopologicalSorter({m: _imports(m) for m in MODULES}).static_order())


def test_the_page_has_every_module_with_its_own_first_sentence() -> None:
    told = dict(re.findall(r"^\| `([\w/]+)` \| ([^|]+) \|$", PAGE.read_text("utf-8"), re.M))
    code = {
        name.replace(".", "/"): (ast.get_docstring(tree) or "").split("\n")[0].replace("``", "`")
        for name, tree in MODULES.items()
    }
    assert told == {name: sentence.rstrip(".") for name, sentence in code.items()}


def test_no_body_has_more_than_fifty_lines() -> None:
    long = []
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                told = ast.get_docstring(node) is not None and len(node.body) > 1
                first, last = node.body[int(told)], node.body[-1]
                if (last.end_lineno or 0) - first.lineno >= 50:
                    long.append(f"{name}:{node.name}")
    assert long == []


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, usjp_research; heavy = {'pandas', 'numpy', 'scipy', 'statsmodels', 'pydantic',"
        " 'exchange_calendars', 'matplotlib', 'typer'}; print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there_and_documented() -> None:
    for name in usjp_research.__all__:
        if name == "__version__":
            continue
        value = getattr(usjp_research, name)
        assert callable(value), name  # a module of the same name would not be
        assert value.__doc__, name


def test_the_package_knows_no_study() -> None:
    spec = usjp_research.read_spec(PACKAGE.parent / "params")
    ids = "|".join([*(event.id for event in spec.events), *(claim.id for claim in spec.claims)])
    names = "|".join(
        [*spec.sectors, "japan", "tokyo", "jefferies", "tomahawk", "cameco", "partner"]
    )
    words = re.compile(rf"\b(?:{ids})\b|\b(?:{names})", re.IGNORECASE)
    labels = re.compile("|".join(re.escape(sector.label) for sector in spec.words.sectors.values()))
    for path in PACKAGE.rglob("*.*"):
        if path.suffix not in (".pyc", ".parquet"):
            text = path.read_text(encoding="utf-8")
            found = [*words.findall(text), *labels.findall(text)]
            assert not found, (path.relative_to(PACKAGE), found[:3])


def test_the_code_names_no_machine_and_no_registry() -> None:
    root = PACKAGE.parent
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, timeout=60
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    words = (
        "/" + "work/",
        "/" + "root/",
        "py" + "pi.org",
        "python" + "hosted",
        "file" + "://" + "/",
    )
    for name in filter(None, listed.stdout.split("\0")):
        path = root / name
        if path.suffix in (".parquet", ".png", ".pdf", ".ipynb") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        assert not [word for word in words if word in text], name

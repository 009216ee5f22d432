"""The house: one way through it, light to enter, and public names that read."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import usjp_research

PACKAGE = Path(usjp_research.__file__).parent
FLOW = ("words", "spec", "market", "engine", "study", "runs", "report", "__main__")
LATE = {("study", "report")}  # a record shows itself as a table; imported inside the method


def _imports(path: Path) -> set[str]:
    """List the rooms of the first level that a module imports from."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    froms = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[1] for name in froms if name and name.startswith("usjp_research.")}


def test_the_first_level_is_the_flow() -> None:
    seen = {path.stem for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert seen - {"__init__"} == set(FLOW)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_point_only_to_the_left(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    allowed = set(FLOW[: FLOW.index(room) + 1]) | {b for a, b in LATE if a == room}
    assert _imports(path) <= allowed


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
    names = {event.id for event in spec.events} | set(spec.sectors) | {c.id for c in spec.claims}
    names |= {"japan", "tokyo", "jefferies", "tomahawk", "cameco", "partnership", "liberation"}
    words = re.compile(rf"\b({'|'.join(sorted(names))})", re.IGNORECASE)
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
        if path.suffix in (".parquet", ".png", ".ipynb") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        assert not [word for word in words if word in text], name

"""The house: one way through it, light to enter, and public names that read."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import usjp_research

PACKAGE = Path(usjp_research.__file__).parent
FLOW = (
    "words",
    "spec",
    "params",
    "market",
    "donors",
    "events",
    "portfolios",
    "models",
    "synthetic",
    "matching",
    "inference",
    "placebo",
    "catalogue",
    "expected",
    "abnormal",
    "dependence",
    "ranks",
    "parametric",
    "daysums",
    "quiet",
    "panels",
    "factors",
    "firm_events",
    "window_tests",
    "battery",
    "reactions",
    "slopes",
    "counterfactual",
    "verdict",
    "rows",
    "contrasts",
    "doses",
    "exposure",
    "versions",
    "timing",
    "study",
    "results",
    "battery_command",
    "tables",
    "reading",
    "strips",
    "figures",
    "batch",
    "sheets",
    "site",
    "onefile",
    "compare",
    "__main__",
)
LATE = {("study", "tables")}  # a record shows itself as a table; imported inside the method


def _imports(module: str) -> set[str]:
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            head, _, rest = node.module.partition(".")
            if head == "usjp_research" and rest:
                found.add(rest)
    return found


def test_every_module_is_in_the_flow() -> None:
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert modules == set(FLOW)


@pytest.mark.parametrize("module", FLOW)
def test_imports_point_only_to_the_left(module: str) -> None:
    allowed = set(FLOW[: FLOW.index(module)]) | {b for a, b in LATE if a == module}
    assert _imports(module) <= allowed


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


def test_the_stub_names_what_the_package_gives() -> None:
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    named = [
        (node.module, alias.asname)
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    given = [(f"usjp_research.{home}", name) for name, home in usjp_research._HOME.items()]
    assert sorted(named) == sorted(given)


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

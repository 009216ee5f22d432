"""pyproject.toml, environment.yml and the two lock files name the same environment."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = ("linux", "darwin", "win32")

# An entry is one line `name==version ; marker \`, then its hashes, each on a line of its own.
ENTRY = re.compile(
    r"^(?P<requirement>[^\s#][^\\\n]*?)\s*\\\n(?P<hashes>(?:[ ]{4}--hash=.*\n)+)", re.M
)
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")


class Locked(NamedTuple):
    """One entry of a lock file."""

    name: str
    version: Version
    marker: Marker | None
    hashes: tuple[str, ...]


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def bounds(requirements: list[str]) -> dict[str, SpecifierSet]:
    """Normalised name to bounds; fails on a name given twice."""
    parsed = [Requirement(text) for text in requirements]
    names = [canonicalize_name(requirement.name) for requirement in parsed]
    assert len(names) == len(set(names)), f"named twice: {sorted(names)}"
    return dict(zip(names, (requirement.specifier for requirement in parsed), strict=True))


def direct(*extras: str) -> dict[str, SpecifierSet]:
    """The direct dependencies of pyproject.toml, with those of the extras."""
    project = pyproject()["project"]
    texts = list(project["dependencies"])
    for extra in extras:
        texts += project["optional-dependencies"][extra]
    return bounds(texts)


def conda() -> dict[str, SpecifierSet]:
    """What environment.yml installs, through conda or through its pip section."""
    entries = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    texts: list[str] = []
    for entry in entries:
        texts += [entry] if isinstance(entry, str) else entry["pip"]
    return bounds(texts)


def lock_text(lock: str) -> str:
    return (ROOT / lock).read_text(encoding="utf-8")


def entries(lock: str) -> list[Locked]:
    found = []
    for match in ENTRY.finditer(lock_text(lock)):
        requirement = Requirement(match["requirement"])
        (pin,) = requirement.specifier
        assert pin.operator == "==", f"{requirement} is not pinned"
        found.append(
            Locked(
                canonicalize_name(requirement.name),
                Version(pin.version),
                requirement.marker,
                tuple(match["hashes"].splitlines()),
            )
        )
    return found


def applies(entry: Locked, python: str, platform: str) -> bool:
    if entry.marker is None:
        return True
    return entry.marker.evaluate(
        {
            "implementation_name": "cpython",
            "os_name": "nt" if platform == "win32" else "posix",
            "platform_python_implementation": "CPython",
            "python_full_version": f"{python}.8",
            "python_version": python,
            "sys_platform": platform,
        }
    )


def test_every_direct_dependency_has_a_lower_and_an_upper_bound() -> None:
    loose = {
        name: str(specifier)
        for name, specifier in direct("dev", "docs", "build").items()
        if sorted(part.operator for part in specifier) != ["<", ">="]
    }
    assert not loose


def test_conda_environment_names_the_direct_dependencies_with_the_same_bounds() -> None:
    expected = direct("dev", "build")
    expected["python"] = SpecifierSet(pyproject()["project"]["requires-python"])
    expected["pip"] = SpecifierSet()
    assert conda() == expected


def test_build_extra_is_what_the_build_needs() -> None:
    project = pyproject()
    build_extra = project["project"]["optional-dependencies"]["build"]
    assert bounds(build_extra) == bounds(project["build-system"]["requires"])


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("lock", "extras"), [(LOCKS[0], ("build",)), (LOCKS[1], ("dev", "docs", "build"))]
)
def test_lock_pins_every_direct_dependency_once_and_inside_its_bounds(
    lock: str, extras: tuple[str, ...], python: str, platform: str
) -> None:
    chosen = [entry for entry in entries(lock) if applies(entry, python, platform)]
    names = [entry.name for entry in chosen]
    assert len(names) == len(set(names)), "two versions of one package for the same Python"
    versions = {entry.name: entry.version for entry in chosen}
    wrong = {
        name: f"{versions.get(name)} is not {specifier}"
        for name, specifier in direct(*extras).items()
        if name not in versions or versions[name] not in specifier
    }
    assert not wrong


def test_development_lock_only_adds_to_the_run_lock() -> None:
    def pins(lock: str) -> set[tuple[str, Version, str]]:
        return {(entry.name, entry.version, str(entry.marker)) for entry in entries(lock)}

    run, dev = map(pins, LOCKS)
    everywhere = {(name, version) for name, version, marker in dev if marker == "None"}
    assert len(dev) > len(run)
    assert not [pin for pin in run - dev if pin[:2] not in everywhere]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_the_lock_belongs_to_an_entry_with_hashes(lock: str) -> None:
    rest = ENTRY.sub("", lock_text(lock))
    assert [
        line for line in rest.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ] == []
    found = entries(lock)
    assert len(found) > len(direct())
    assert [entry.name for entry in found if not all(map(HASH.match, entry.hashes))] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_index_and_no_place_on_a_machine(lock: str) -> None:
    telling = re.compile(
        r"://|index-url|find-links|trusted-host|\bfile:|(?:^|\s)(?:~|\.{0,2})/|\s@\s"
    )
    assert [line for line in lock_text(lock).splitlines() if telling.search(line)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_no_local_build_of_a_package(lock: str) -> None:
    assert [entry.name for entry in entries(lock) if entry.version.local] == []


# --- the wheel is the product ------------------------------------------------------------------

SHIPPED = "usjp_research/_shipped"
READ = "import usjp_research as ur; print(ur.__file__, ur.digest(ur.read_spec()), sep='\\n')"


@pytest.fixture(scope="session")
def wheel(once: Callable[..., Path]) -> Path:
    """The wheel of this tree, unpacked as an installer would."""

    def build(folder: Path) -> None:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
        (made,) = folder.glob("*.whl")
        zipfile.ZipFile(made).extractall(folder / "site")

    return once("wheel", build) / "site"


def _in_an_empty_folder(wheel: Path, folder: Path, *words: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(wheel), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=env, check=True, text=True, capture_output=True
    ).stdout


def test_the_wheel_holds_all_that_a_study_needs_and_nothing_else(wheel: Path) -> None:
    inside = {p.relative_to(wheel).as_posix() for p in wheel.rglob("*") if p.is_file()}
    mapped = {
        f"{SHIPPED}/{path.relative_to(ROOT).as_posix()}": path
        for name in ("params", "notebooks", "data/bundled")
        for path in (ROOT / name).rglob("*")
        if path.suffix in (".csv", ".yaml", ".ipynb", ".parquet", ".json", ".txt")
        and ".ipynb_checkpoints" not in path.parts
    }
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "usjp_research").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert (
        f"{SHIPPED}/params/batch.yaml" in mapped
        and f"{SHIPPED}/data/bundled/returns.parquet" in mapped
    )
    assert {name for name in inside if ".dist-info/" not in name} == {*mapped, *package}
    assert all((wheel / name).read_bytes() == path.read_bytes() for name, path in mapped.items())


def test_the_wheel_reads_its_own_parameters_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    where, spec = _in_an_empty_folder(wheel, tmp_path, "-c", READ).split()
    assert Path(where).is_relative_to(wheel)
    assert spec == _in_an_empty_folder(ROOT, ROOT, "-c", READ).split()[1]


@pytest.mark.soak
def test_the_wheel_runs_the_study_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    words = ("-m", "usjp_research", "study", "--no-pages")
    assert "placebo calendars" in _in_an_empty_folder(wheel, tmp_path, *words)
    assert (tmp_path / "outputs" / "study" / "run.json").is_file()
    assert not (wheel / SHIPPED / "outputs").exists()


def imported(folder: str) -> set[str]:
    """The distributions of other people that a folder's modules import from."""
    homes = packages_distributions()
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [part.name for part in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            found |= {name.partition(".")[0] for name in names}
    others = found - sys.stdlib_module_names - {"usjp_research", "tests", "docs", "data"}
    extra = {"yfinance"}  # in no lock file, so it need not be installed
    assert others - extra <= set(homes), f"not installed: {sorted(others - set(homes))}"
    return {canonicalize_name(homes.get(name, [name])[0]) for name in others}


@pytest.mark.parametrize(
    ("folder", "extras"),
    [("usjp_research", ("live", "cluster")), ("docs", ()), ("tests", ("dev",))],
)
def test_every_import_is_a_declared_dependency(folder: str, extras: tuple[str, ...]) -> None:
    assert sorted(imported(folder) - set(direct(*extras))) == []

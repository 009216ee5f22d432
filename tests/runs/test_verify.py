"""A finished run is computed again from its manifest: equal, or the number that moved."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.conftest import write_study
from usjp_research.__main__ import app

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def made(prices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of one's own, its prices, and a run of it under another rule."""
    folder = tmp_path_factory.mktemp("client")
    write_study(folder / "mine")
    shutil.copyfile(prices, folder / "prices.csv")
    words = ["study", "--params", folder / "mine", "--market", f"prices:{folder / 'prices.csv'}"]
    words += ["--set", "guard_sessions=40", "--no-pages", "--out", folder / "run"]
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 0, done.stderr
    return folder


@pytest.fixture
def verify(made: Path, usjp: Run) -> Run:
    def run(where: Path, *words: object) -> Result:
        return usjp("verify", where, "--params", made / "mine", *words)

    return run


def test_a_run_of_ones_own_prices_and_rule_is_equal_and_tells_no_place(
    made: Path, verify: Run
) -> None:
    done = verify(made / "run", "--files", made)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("Equal: ") and done.stdout.endswith(" values, computed again.\n")
    text = (made / "run" / "run.json").read_text("utf-8")
    inputs = json.loads(text)["inputs"]
    assert inputs["market"] == "prices:prices.csv" and inputs["rule"] == {"guard_sessions": "40"}
    assert str(made) not in text


def test_a_run_with_notebooks_is_equal_to_what_is_computed_without(
    finished: Path, usjp: Run
) -> None:
    done = usjp("verify", finished)
    assert done.exit_code == 0 and done.stdout.startswith("Equal: "), done.stdout


def test_a_seed_is_no_file_though_one_is_called_so(
    usjp: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("5").write_text("no market", encoding="utf-8")
    words = ("study", "--params", "example", "--market", "simulated:5", "--no-pages")
    assert usjp(*words, "--out", "run").exit_code == 0
    done = usjp("verify", "run")
    assert done.exit_code == 0 and done.stdout.startswith("Equal: "), done.stderr


def test_a_number_that_moved_is_named(made: Path, verify: Run, tmp_path: Path) -> None:
    run = shutil.copytree(made / "run", tmp_path / "run")
    path, manifest = run / "results" / "verdicts.json", run / "run.json"
    content, held = (json.loads(p.read_text("utf-8")) for p in (path, manifest))
    content["rows"][0]["effect"] = 0.5
    path.write_text(json.dumps(content), "utf-8")
    held["files"]["results/verdicts.json"] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(held), "utf-8")
    done = verify(run, "--files", made)
    assert done.exit_code == 1
    assert "verdicts, solar, effect: +50.0% -> +25.0%" in " ".join(done.stdout.split()).lower()


def test_prices_that_are_gone_or_changed_and_other_parameters_are_said_in_one_line(
    made: Path, verify: Run, usjp: Run, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "prices.csv").write_bytes((made / "prices.csv").read_bytes() + b"\n")
    for words, told in (
        ((), "is not there"),
        (("--files", other), "another file, SHA-256"),
        (("--params", write_study(tmp_path / "less", study="window: [-2, 2]\n")), "parameters"),
    ):
        done = verify(made / "run", *words)
        assert done.exit_code == 2 and done.stdout == "", done.stdout
        line = done.stderr.splitlines()[-1]
        assert line.startswith("usjp: ") and told in line

"""The command: one line and exit code 2 for bad input, and nothing computed is ever lost."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

import usjp_research
from tests.conftest import DOLLARS
from tests.here import refused
from usjp_research import __main__ as command
from usjp_research.report.first_screen import screen
from usjp_research.report.results import save_study
from usjp_research.report.summary import summary
from usjp_research.runs import store
from usjp_research.runs.job import Job
from usjp_research.runs.progress import shown_progress
from usjp_research.runs.store import Failure, Outcome, read_results, write_all
from usjp_research.runs.terminal import screen as screen_text
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import digest, find_root
from usjp_research.study.answer import Study, run_study
from usjp_research.study.sample import sample
from usjp_research.words import InputError

Run = Callable[..., Result]
Own = Callable[..., Path]


@pytest.fixture
def study(own: Own, prices: Path, usjp: Run, tmp_path: Path) -> Run:
    """Run the user's own study with some words more and some files changed."""

    def run(*words: object, **texts: str) -> Result:
        base = ("study", "--params", own(**texts), "--market", f"file:{prices}")
        return usjp(*base, "--out", tmp_path / "out", "--no-pages", *words)

    return run


EVENTS = "id,announced,zone,role,title,solar,rail\n"
NY = "America/New_York"
# files changed, words of the complaint
CASES: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "a row of events.csv": (
        {"events": f"{EVENTS}N1,2024-03-05 10:00,{NY},primary,one,+,up\n"},
        ("events.csv: row 2, column 'rail'", "seen 'up'", "one of + - 0"),
    ),
    "a row of universe.csv": (
        {"universe": "ticker,sector\nS01,solar\nS01,solar\nS02,rail\n"},
        ("universe.csv: row 3, column 'ticker'", "'S01' already stands in row 2"),
    ),
    "a key of study.yaml": (
        {"study": "windows: [-1, 1]\n"},
        ("study.yaml: unknown key 'windows'", "did you mean 'window'"),
    ),
    "the syntax of thesis.yaml": (
        {"thesis": "tax: 0.2\nmargin: {low: 1\n"},
        ("thesis.yaml: row 3", "not readable as YAML"),
    ),
    "no primary event": (
        {"events": f"{EVENTS}N1,2024-03-05 10:00,{NY},secondary,one,+,+\n"},
        ("events.csv", "no event has the role 'primary'", "give at least one"),
    ),
    "no primary event inside the data": (
        {"events": f"{EVENTS}N1,2025-03-05 10:00,{NY},primary,one,+,+\n"},
        ("events.csv", "N1: day 0 is 2025-03-05, the data end 2024-12-31", "cover the events"),
    ),
    "no sign for any sector": (
        {"events": f"{EVENTS}N1,2024-03-05 10:00,{NY},primary,one,0,+/-\n"},
        ("events.csv", "no primary event has an expected sign", "fill in a sector's column"),
    ),
    "too few firms for any portfolio": (
        {"universe": "ticker,sector\nS01,solar\nS02,solar\nR01,rail\n"},
        ("no sector portfolio can be formed", "2 firms left", "returns of more firms"),
    ),
    "too few placebo calendars": (
        {"study": "least_shifts: 900\n"},
        ("placebo calendars", "the rule asks for 900", "longer history"),
    ),
    "events too early in the data": (
        {"events": f"{EVENTS}N1,2021-03-05 10:00,{NY},primary,one,+,+\n"},
        ("no sector portfolio can be formed", "N1", "a longer history"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_ends_with_one_line_and_exit_code_2(case: str, study: Run) -> None:
    texts, words = CASES[case]
    result = study(**texts)
    refused(result, *words)
    assert result.stdout == ""


@pytest.mark.parametrize("case", [*CASES][4:])  # those that only the returns can tell
def test_what_no_notebook_could_compute_is_refused_before_a_kernel_starts(
    case: str, own: Own, prices: Path, usjp: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a notebook was run")

    monkeypatch.setattr("usjp_research.runs.batch.run_batch", never)
    texts, words = CASES[case]
    result = usjp("study", "--params", own(**texts), "--market", f"file:{prices}")
    refused(result, *words)
    assert result.stdout == ""


def test_too_short_a_history_says_how_many_calendars_there_are(
    own: Own, prices: Path, usjp: Run, tmp_path: Path
) -> None:
    lines = prices.read_text("utf-8").splitlines()
    short = tmp_path / "short.csv"
    short.write_text("\n".join([lines[0], *lines[-500:]]), encoding="utf-8")
    result = usjp("study", "--params", own(), "--market", f"file:{short}", "--out", tmp_path / "o")
    refused(result, "placebo calendars, the rule asks for 200", "longer history of returns")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--sector", "solr"), "unknown sector 'solr': did you mean 'solar'?"),
        (("--sector", "solar", "--sector", "zinc"), "unknown sector 'zinc': known: rail, solar"),
        (("--market", "bundeld"), "unknown market 'bundeld': did you mean 'bundled'?"),
        (("--market", "file:nosuch.csv"), "nosuch.csv: no such file; give the path of a CSV"),
        (("--params", "nosuch"), "nosuch: no such folder; expected one with universe.csv"),
        (("--events", "nosuch.csv"), "nosuch.csv: no such file; expected columns id, announced"),
    ],
)
def test_a_wrong_option_ends_with_one_line_before_anything_is_computed(
    words: tuple[str, ...], said: str, study: Run
) -> None:
    result = study(*words)
    refused(result, said)
    assert "[2/" not in result.stderr


def test_a_price_file_named_without_its_kind_is_recognised(study: Run, prices: Path) -> None:
    refused(study("--market", prices), f"did you mean 'file:{prices}'?")


def test_a_bad_price_is_said_with_its_row(
    own: Own, prices: Path, usjp: Run, tmp_path: Path
) -> None:
    lines = prices.read_text("utf-8").splitlines()
    day, rest = lines[99].split(",", 1)
    bad = tmp_path / "bad.csv"
    lines[99] = f"{day},zero,{rest.split(',', 1)[1]}"
    bad.write_text("\n".join(lines), encoding="utf-8")
    words = ("--params", own(), "--market", f"file:{bad}", "--out", tmp_path / "out")
    said = f"{bad}: row 100, column 'us_market': seen 'zero', expected a number"
    refused(usjp("study", *words), said)


@pytest.mark.parametrize("word", ["--sektor", "--jsn"])
def test_an_unknown_option_ends_with_exit_code_2(word: str, study: Run) -> None:
    result = study(word)
    assert result.exit_code == 2
    assert "No such option" in result.stderr and word in result.stderr
    assert "Traceback" not in result.stderr


# --- folders that cannot be written ----------------------------------------------------------


def test_an_output_folder_that_cannot_be_made_is_said_before_anything_is_computed(
    study: Run, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    folder = tmp_path / "file" / "out"
    result = study("--out", folder)
    refused(result, f"{folder}: cannot be written", "give another folder with --out")
    assert "[1/" not in result.stderr


def test_results_that_cannot_be_written_any_more_land_in_a_temporary_folder(
    study: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    real = write_all

    def fails(folder: Path, files: Mapping[str, bytes]) -> None:
        if folder.parent.parent == tmp_path / "out":
            raise OSError(28, "No space left on device")
        real(folder, files)

    monkeypatch.setattr(store, "write_all", fails)
    result = study("--json")
    (landed,) = spare.iterdir()
    out = tmp_path / "out"
    refused(result, f"{out / 'results'}: cannot be written; results are in {landed}")
    assert json.loads((landed / "verdicts.json").read_text("utf-8"))["rows"]
    assert len(list(landed.iterdir())) == 8
    assert not out.exists()


@pytest.fixture
def answer(own: Own, prices: Path) -> Study:
    spec = read_spec(own())
    return run_study(sample(spec, f"file:{prices}"))


def test_saving_twice_gives_the_same_bytes_and_no_other_file(answer: Study, tmp_path: Path) -> None:
    folder = save_study(answer, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert save_study(answer, tmp_path / "out") == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_in_process_the_same_mistakes_are_input_errors(own: Own, prices: Path) -> None:
    spec = read_spec(own(study="least_shifts: 900\n"))
    with pytest.raises(InputError, match="the rule asks for 900"):
        run_study(sample(spec, f"file:{prices}"))


def test_a_process_of_its_own_prints_one_line_and_no_traceback(own: Own, tmp_path: Path) -> None:
    folder = own(events="")
    done = subprocess.run(
        [sys.executable, "-m", "usjp_research", "study", "--params", str(folder)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(usjp_research.__file__).parent.parent)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"usjp: {folder / 'events.csv'}: the file is empty; expected columns id")


# --- what it prints ----------------------------------------------------------------------------


def test_the_terminal_has_the_answer_a_line_per_sector_and_no_line_over_80_columns(
    study: Run, tmp_path: Path
) -> None:
    result = study(thesis=DOLLARS)
    lines = result.stdout.splitlines()
    assert result.exit_code == 0 and max(map(len, lines)) <= 80
    results = read_results(tmp_path / "out")
    assert " ".join(result.stdout.split()).startswith(screen(results).headline)
    head = next(at for at, line in enumerate(lines) if line.startswith("Sector"))
    heads = "Sector Moved [90% interval] Worth up to Too small by"
    assert " ".join(lines[head].split()) == heads
    for line, printed in zip(summary(results), lines[head + 1 :], strict=False):
        assert printed.split()[: len(" ".join(line.cells).split())] == " ".join(line.cells).split()
    assert "Adjusted p" not in result.stdout
    wide = study("--wide", thesis=DOLLARS).stdout
    assert "Adjusted p" in wide and "\n".join(lines[: head + 3]) in wide


def test_remarks_stand_below_the_table_by_the_number_of_their_row(
    usjp: Run, tmp_path: Path
) -> None:
    result = usjp("study", "--no-pages", "--sector", "power_utilities", "--out", tmp_path / "out")
    lines = result.stdout.splitlines()
    rows = [line.split() for line in lines if line.startswith("Power & Utilities")]
    assert [row[-1] for row in rows] == ["(1)", "(2)"] and "AI Infrastructure" not in result.stdout
    assert any(line.startswith("(1) Power & Utilities: ") for line in lines)
    last = " ".join(lines[lines.index(next(x for x in lines if x.startswith("(2) "))) :])
    assert "rests on one firm" in last and "It rests on very few firms" in " ".join(last.split())


def test_the_version_and_the_export_options_are_where_one_looks(usjp: Run) -> None:
    told = usjp("--version")
    assert (told.exit_code, told.stdout) == (0, f"usjp {usjp_research.__version__}\n")
    helped = usjp("site", "--help")
    assert helped.exit_code == 0
    for word in ("diff", "gallery", "--xlsx", "--pdf", "--single-file", "--tables"):
        assert word in helped.stdout


class Screens:
    """Where progress goes: a terminal or a pipe."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> None:
        self.file = io.StringIO()
        screen = command.Screen(file=self.file, force_terminal=terminal, width=80, highlight=False)
        monkeypatch.setattr(command, "stderr", screen)


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_one_bar_on_a_terminal_and_plain_lines_in_a_pipe(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Screens(monkeypatch, terminal=terminal).file
    monkeypatch.setenv("TERM", "xterm")
    with shown_progress(3, command.stderr) as tell:
        for name, error in (("job-1", None), ("job-2", Failure(3, "ValueError", "no canvas"))):
            job = Job(name, Path("one.ipynb"), {})
            tell(job, None)
            status: Any = "failed" if error else "done"
            tell(job, Outcome(name, "one.ipynb", {}, status, 1.0, None, error))
    seen = file.getvalue()
    assert ("2/3" in seen and "left" in seen and "\r" in seen) is terminal
    assert ("  [1/3] job-1 done in 1.0 s\n" in seen and "\x1b" not in seen) is not terminal
    assert "job-2 failed in 1.0 s: cell 3: ValueError: no canvas\n" in seen
    assert max(map(len, screen_text(seen).splitlines())) <= 80


# --- whose events, and which folder --------------------------------------------------------------


def test_events_without_the_contrast_s_are_run_and_the_contrast_says_why_not(
    usjp: Run, tmp_path: Path
) -> None:
    rows = (find_root(Path(__file__)) / "params" / "events.csv").read_text("utf-8").splitlines()
    (tmp_path / "less.csv").write_text(
        "\n".join(row for row in rows if not row.startswith("E17,")), "utf-8"
    )
    out = tmp_path / "out"
    result = usjp("study", "--no-pages", "--events", tmp_path / "less.csv", "--out", out)
    assert result.exit_code == 0, result.stderr
    said = "No contrast of named and unnamed firms: there is no event E17."
    assert said in " ".join(result.stdout.split())
    held = json.loads((out / "results" / "verdicts.json").read_text("utf-8"))
    kept = read_spec(out / "params")  # what every notebook of the run reads
    assert digest(kept) == held["spec"] == digest(read_spec(events=tmp_path / "less.csv"))
    assert said in held["missing"] and held["contrast"] is None


def test_runs_of_another_rule_have_a_folder_for_every_choice(
    own: Own, prices: Path, usjp: Run
) -> None:
    words = ("study", "--params", own(), "--market", f"file:{prices}", "--no-pages")
    base = (*words, "--set", "guard_sessions=40")
    for more in ((), ("--public",), ("--sector", "solar")):
        assert usjp(*base, *more).exit_code == 0
        assert usjp(*base, *more).exit_code == 0  # its own folder again
    runs = sorted(path.name for path in Path("outputs").iterdir())
    assert len(runs) == 3 and len({name[:14] for name in runs}) == 1
    spec = read_spec(own(), rule={"guard_sessions": 40})
    named = [command._tried(spec, ("", factors, "")) for factors in ("", "a.csv", "b.csv")]
    assert len({*named}) == 3 and command._tried(read_spec(own()), ("a.csv",)) == ""

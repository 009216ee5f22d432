"""The command: a batch is planned, run, gone on with and told of, and refused in one line."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from tests.batches import Batch, shown, wait_for, write_notebook
from tests.here import refused
from usjp_research.runs import job as jobs
from usjp_research.runs.job import End, Job, Place, read_notebook
from usjp_research.runs.store import Failure
from usjp_research.spec.records import home

Usjp = Callable[..., Result]
_refused = partial(refused, alone=True)
RUNS = "- {notebook: one.ipynb, grid: {x: [1, 2, 3]}}\n- {notebook: last.ipynb, after: all}\n"
ALL = ["one-x=1", "one-x=2", "one-x=3", "last"]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run jobs without kernels, and note their names; a job with ``s: bad`` fails."""
    names: list[str] = []

    def execute(job: Job, place: Place) -> End:
        names.append(job.name)
        if job.parameters.get("s") == "bad":
            failure = Failure(2, "ValueError", "no \x1b[31mgood", "...")
            return End(read_notebook(job.notebook), "failed", failure)
        return End(read_notebook(job.notebook))

    monkeypatch.setattr(jobs, "_execute", execute)
    return names


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with two notebooks, a file and a batch."""
    (tmp_path / "data.csv").write_text("1", "utf-8")
    for name in ("one", "last"):
        write_notebook(tmp_path / f"{name}.ipynb", "print(x, s)")
    (tmp_path / "runs.yaml").write_text(RUNS, "utf-8")
    return tmp_path


def _batch(usjp: Usjp, here: Path, *more: object) -> Result:
    return usjp("batch", here / "runs.yaml", "--out", here / "out", *more)


def _planned(usjp: Usjp, here: Path, *more: object) -> dict[str, str]:
    """Return what ``--list`` says of each job."""
    result = _batch(usjp, here, "--list", *more)
    assert result.exit_code == 0, result.stderr
    rows = [line.split(maxsplit=1) for line in result.stdout.splitlines()]
    return {name: " ".join(words.split()) for name, words in rows if not name.isdecimal()}


def test_a_list_says_what_is_done_and_why_the_rest_runs(
    usjp: Usjp, here: Path, ran: list[str]
) -> None:
    assert _planned(usjp, here) == dict.fromkeys(ALL, "to run never ran")
    assert not ran and not (here / "out").exists()
    result = _batch(usjp, here)
    assert result.exit_code == 0 and sorted(ran) == sorted(ALL) and ran[-1] == "last"
    assert _planned(usjp, here) == dict.fromkeys(ALL, "done")
    assert "4 jobs: 4 done, 0 to run." in _batch(usjp, here, "--list").stdout
    assert _batch(usjp, here).exit_code == 0 and len(ran) == 4
    write_notebook(here / "last.ipynb", "print(x, s, 1)")
    (here / "out" / "notebooks" / "one-x=2.ipynb").unlink()
    text = RUNS.replace("[1, 2, 3]", "[2, 3, 4]")
    (here / "runs.yaml").write_text(text, "utf-8")
    assert _planned(usjp, here) == {
        "one-x=2": "to run its notebook is gone",
        "one-x=3": "done",
        "one-x=4": "to run never ran",
        "last": "to run changed: notebook, a job it waits for",
    }
    listed = _batch(usjp, here, "--list").stdout
    assert "1 more in" in listed and "no longer asks for: one-x=1" in listed
    assert len(ran) == 4
    assert _batch(usjp, here).exit_code == 0 and sorted(ran[4:]) == ["last", "one-x=2", "one-x=4"]


def test_a_job_runs_again_after_one_that_it_waits_for(
    usjp: Usjp, here: Path, ran: list[str]
) -> None:
    (here / "runs.yaml").write_text(RUNS.replace("after: all", "after: one.ipynb"), "utf-8")
    _batch(usjp, here)
    del ran[:]
    assert _batch(usjp, here, "--only", "one-x=2").exit_code == 0
    assert ran == ["one-x=2"]
    assert _planned(usjp, here)["last"] == "to run was queued when a batch ended"
    assert _batch(usjp, here).exit_code == 0 and ran == ["one-x=2", "last"]
    path = here / "out" / "notebooks" / "one-x=3.ipynb"
    path.write_text("{}", "utf-8")
    assert _planned(usjp, here) == {
        **dict.fromkeys(ALL, "done"),
        "one-x=3": "to run its notebook was changed",
        "last": "to run waits for one-x=3, which is to run",
    }


def test_only_and_force_run_again_what_is_done(usjp: Usjp, here: Path, ran: list[str]) -> None:
    _batch(usjp, here)
    del ran[:]
    assert _planned(usjp, here, "--only", "one-x=[12]") == {
        name: "to run asked for by --only" for name in ALL[:2]
    }
    assert _batch(usjp, here, "--only", "one-*", "--workers", 1).exit_code == 0
    assert ran == ALL[:3]
    assert _batch(usjp, here, "--force").exit_code == 0 and len(ran) == 7
    result = _batch(usjp, here, "--only", "lst")
    assert result.exit_code == 2 and "did you mean 'last'?" in result.stderr


def test_a_failed_job_is_told_with_what_runs_it_alone_and_the_result_is_handed_on(
    usjp: Usjp, here: Path, ran: list[str]
) -> None:
    text = "- {notebook: one.ipynb, grid: {s: {fine: ok, 'odd one': bad}}}\n"
    (here / "runs.yaml").write_text(text, "utf-8")
    ends = f"{sys.executable} -c \"import pathlib, sys; pathlib.Path('got').write_bytes("
    ends += 'sys.stdin.buffer.read()); sys.exit(3)"'
    result = _batch(usjp, here, "--on-end", ends, "--json", "--set", "x=7")
    assert result.exit_code == 1
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert sorted(event["event"] for event in events) == ["ended", "ended", "started", "started"]
    odd = next(e for e in events if e["event"] == "ended" and e["status"] == "failed")
    assert (odd["job"][:13], odd["of"]) == ("one-s=odd_one", 2)
    assert odd["error"] == "cell 2: ValueError: no \x1b[31mgood"
    told, again = result.stderr.splitlines()[-2:]
    assert told.startswith(f"usjp: notebook one.ipynb (job {odd['job']}) failed, cell 2: Value")
    assert "\x1b" not in told
    assert again.strip() == (
        f"again: usjp batch {here}/runs.yaml --out {here}/out --set x=7 --only {odd['job']}"
    )
    assert "--on-end: " in result.stderr and "ended with exit code 3" in result.stderr
    content = json.loads(Path("got").read_text("utf-8"))
    assert content == json.loads((here / "out" / "batch.json").read_text("utf-8"))
    assert content["counts"] == {"done": 1, "failed": 1}
    assert {j["name"]: j["parameters"] for j in content["jobs"]} == {
        "one-s=fine": {"s": "ok", "x": 7},
        odd["job"]: {"s": "bad", "x": 7},
    }
    words = again.split()[2:]
    assert usjp(*words).exit_code == 1 and sorted(ran) == ["one-s=fine", odd["job"], odd["job"]]
    assert _planned(usjp, here, "--set", "x=7")[odd["job"]] == "to run failed before"


def test_each_sector_is_of_the_study_that_is_set(
    usjp: Usjp, here: Path, ran: list[str], own: Callable[..., Path]
) -> None:
    (here / "runs.yaml").write_text("- {notebook: 2_event_study, each: sector}\n", "utf-8")
    given = ("--set", f"params={own()}", "--set", "market=simulated")
    assert [*_planned(usjp, here, *given)] == ["2_event_study-solar", "2_event_study-rail"]


def test_results_of_each_point_have_a_folder_of_their_own(
    usjp: Usjp, here: Path, ran: list[str]
) -> None:
    text = "- {notebook: 1_data, grid: {rule: {a: {window: ['-1', '1']}, b: {}}}}\n"
    (here / "runs.yaml").write_text(text, "utf-8")
    assert _batch(usjp, here).exit_code == 0
    content = json.loads((here / "out" / "batch.json").read_text("utf-8"))
    assert [job["parameters"]["out"] for job in content["jobs"]] == [
        str(here / "out" / "runs" / f"rule={word}") for word in "ab"
    ]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("name", "code"), [("SIGINT", 130), pytest.param("SIGTERM", 143, marks=pytest.mark.soak)]
)
def test_an_interrupt_ends_all_and_says_how_to_go_on(name: str, code: int, tmp_path: Path) -> None:
    batch = Batch(tmp_path / "batch")
    batch.hold.touch()
    runner = batch.start("--workers", 1)
    wait_for(lambda: batch.noted("begun"))
    runner.send_signal(getattr(signal, name))
    assert runner.wait(60) == code
    told = batch.said().splitlines()[1]
    assert told.startswith("usjp: ended early; 0 of 3 jobs have ended and are kept. To go on: ")
    assert told.endswith(f"usjp batch {batch.runs} --out {batch.out} --workers 1")
    assert "Traceback" not in batch.said()
    assert batch.statuses() == {"one-x=1": "running", "one-x=2": "queued", "one-x=3": "queued"}
    batch.leaves_nothing()


# --- refusals ----------------------------------------------------------------------------------

ONE = "- {notebook: one.ipynb, %s}\n"
OURS = "- {notebook: 2_event_study, parameters: {%s}}\n"
BAD: dict[str, list[str]] = {
    "": ["runs.yaml: the file is empty or no list"],
    "a: 1": ["expected lines as '- key: value'"],
    ONE % "parameters: {x: many}": ["(job one): parameter 'x': seen 'many' (str), expected int"],
    ONE % "parameters: {x: 1.5}": ["parameter 'x': seen 1.5 (float), expected int"],
    ONE % "parameters: {s: 1.10}": ["parameter 's': seen 1.1 (float), expected str"],
    ONE % "parameters: {y: 1}": ["unknown parameter 'y': known: s, x"],
    ONE % "parameters: [x]": ["key 'parameters': seen ['x'], expected keys with values"],
    ONE % "grid: {x: 3}": ["key 'grid.x': seen 3, expected a list of values, {from: 1, to: 9}"],
    ONE % "grid: {x: {from: 1, to: b}}": ["expected numbers, as {from: 1, to: 9, step: 2}"],
    ONE % "grid: {x: {from: 1, to: 9, stp: 2}}": ["expected numbers, as {from: 1, to: 9, step: 2}"],
    ONE % "grid: {x: {from: 1, to: 9, step: 0}}": ["the step above 0"],
    ONE % "grid: {x: {from: 1, to: 1e400}}": ["the step above 0"],
    ONE % "grid: {x: {from: 2, to: 1}}": ["key 'grid.x': seen no value, expected one or more"],
    ONE % "grid: {x: []}": ["key 'grid.x': seen no value"],
    ONE % "grid: {x: [1, 1]}": ["job name 'one-x=1': seen twice"],
    ONE % "grid: {x: [1]}, parameters: {x: 1}": ["parameter 'x' stands there twice; keep one"],
    ONE % "grid: {x: {from: 1, to: 1e14}}": ["one.ipynb: its grid makes more than 10,000 jobs"],
    ONE % f"grid: {{x: {[*range(101)]}, s: {[str(k) for k in range(101)]}}}": ["10,000 jobs"],
    ONE % "timeout: soon": ["key 'timeout': seen 'soon', expected a valid number"],
    ONE % "timeout: -1": ["key 'timeout': seen -1, expected greater than 0"],
    ONE % "after: one.ipyn": ["'after': unknown notebook 'one.ipyn': did you mean 'one.ipynb'?"],
    ONE % "after: one.ipynb": ["jobs wait for each other: one < one"],
    ONE % "grdi: {}": ["unknown key 'grdi': did you mean 'grid'?"],
    "- {notebook: on.ipynb}": ["entry 1: unknown notebook 'on.ipynb'"],
    "- {notebook: 3}": ["key 'notebook': seen 3, expected a valid string"],
    "- {notebook: ../../../etc/passwd}": ["unknown notebook '../../../etc/passwd'"],
    ONE % "parameters: {s: !!python/object/apply:os.system [ls]}": ["not readable as YAML"],
    "- &a [1]\n" + "- [*a, *a, *a, *a, *a, *a]\n" * 4: ["more than 20 aliases, write it out flat"],
    ONE % f"parameters: {{s: {'[' * 20}{']' * 20}}}": ["more than 12 levels deep"],
    ONE % f"parameters: {{s: {'a' * 200_000}}}": ["expected at most 0.2 MB"],
    OURS % "sector: powr_utilities": ["parameter 'sector'", "did you mean 'power_utilities'?"],
    OURS % "rule: {window: 9}": ["'rule'", "key 'window': seen 9, expected a list, as [a, b]"],
    OURS % "rule: {window: ['-1', '400']}": ["parameter 'params' or 'rule'"],
    OURS % "rule: {windw: 9}": ["unknown key 'windw': did you mean 'window'?"],
    OURS % "rule: [1]": ["parameter 'rule': seen [1] (list), expected dict"],
    "- {notebook: 4_verdict, each: sector, parameters: {rule: [1]}}": ["'rule': seen [1]"],
    OURS % "params: nowhere": ["nowhere: no such folder"],
    OURS % "market: bundeld": ["parameter 'market': unknown market 'bundeld'"],
    OURS % "market: 'file:no.csv'": ["parameter 'market'", "no.csv: no such file"],
    OURS % "market: 'snapshot:abc'": ["parameter 'market'"],
    OURS % "factors: french.csv": ["parameter 'factors'", "french.csv: no such file"],
    OURS % "factor_units: bps": ["parameter 'factor_units': seen 'bps'"],
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:40])
def test_a_bad_batch_is_refused_in_one_line_before_anything_runs(
    text: str, usjp: Usjp, here: Path, ran: list[str]
) -> None:
    (here / "runs.yaml").write_text(text, "utf-8")
    _refused(_batch(usjp, here), *BAD[text])
    assert not ran and not (here / "out").exists()


OPTIONS: dict[tuple[str, ...], str] = {
    ("--set", "x"): "--set: seen 'x', expected NAME=VALUE",
    ("--set", "z=1"): "has a parameter 'z'; leave it out",
    ("--set", "x=[1"): "--set x",
    ("--set", "x=1", "--set", "x=2"): "--set x: seen twice, expected once",
    ("--set", "x=many"): "parameter 'x': seen 'many' (str), expected int",
    ("--only", "two"): "--only: no job 'two'",
    ("--timeout", "0"): "'--timeout'",
    ("--workers", "0"): "'--workers'",
    ("--on-end", "no-such-program x"): "--on-end: no program 'no-such-program'; give its path",
    ("--on-end", "'"): "--on-end: seen",
    ("--cluster", "127.0.0.1"): "--cluster 127.0.0.1: no scheduler answers",
    ("--cluster", "ftp://x"): "--cluster ftp://x: no scheduler answers",
}


@pytest.mark.parametrize("words", OPTIONS)
def test_a_bad_option_is_refused_in_one_line(
    words: tuple[str, ...], usjp: Usjp, here: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("usjp_research.runs.cluster.PATIENCE", 0.5)
    result = _batch(usjp, here, *words)
    assert result.exit_code == 2 and not ran, result.stderr
    assert OPTIONS[words] in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_a_folder_that_is_no_batch_and_a_file_that_is_not_there_are_refused(
    usjp: Usjp, here: Path, ran: list[str]
) -> None:
    _refused(usjp("batch", here / "run.yaml", "--out", here / "out"), "run.yaml")
    _refused(usjp("batch", here / "runs.yaml", "--out", here), "holds what is no batch (data.csv")
    file = here / "data.csv"
    _refused(usjp("batch", here / "runs.yaml", "--out", file), "data.csv: is a file; give")
    write_notebook(here / "one.ipynb", "1", parameters="%magic")
    _refused(_batch(usjp, here), "one.ipynb: its parameters cell is no Python")
    (here / "one.ipynb").write_text('{"cells": [\n\n', "utf-8")
    _refused(_batch(usjp, here), "one.ipynb: not a notebook")
    assert not ran


# --- the file and its names --------------------------------------------------------------------


def test_lists_ranges_and_labels_become_readable_names_and_typed_values(
    usjp: Usjp, here: Path, ran: list[str]
) -> None:
    cell = "x: float = 1\ns: str = 'a'\nd: dict = {}\nn = None\nday: str = ''\n"
    write_notebook(here / "one.ipynb", "1", parameters=cell)
    text = """
- {notebook: one.ipynb, name: range, grid: {x: {from: 0.1, to: 0.3, step: 0.1}}}
- {notebook: one.ipynb, name: down, grid: {x: {from: -1, to: 1}, s: [a, '2']}}
- {notebook: one.ipynb, name: labels, grid: {d: {'no rule': {}, wide: {window: [-5, 5]}}}}
- {notebook: one.ipynb, name: kinds, parameters: {n: [1, 1.0, true, null, '1', 1e3, 007, yes]}}
- {notebook: one.ipynb, name: day, grid: {day: [2024-01-31, 12:30]}}
"""
    (here / "runs.yaml").write_text(text, "utf-8")
    assert _batch(usjp, here).exit_code == 0
    rows = json.loads((here / "out" / "batch.json").read_text("utf-8"))["jobs"]
    found = {row["name"]: row["parameters"] for row in rows}
    assert [*found][:3] == ["range-x=0.1", "range-x=0.2", "range-x=0.3"]
    assert [found[f"range-x={x}"]["x"] for x in (0.1, 0.2, 0.3)] == [0.1, 0.2, 0.3]
    assert found["down-x=-1-s=2"] == {"x": -1, "s": "2"} and len(found) == 3 + 6 + 2 + 1 + 2
    assert found["labels-d=wide"] == {"d": {"window": [-5, 5]}}
    kinds = found["kinds"]["n"]
    assert kinds == [1, 1.0, True, None, "1", 1000.0, "007", "yes"]
    assert [type(kind) for kind in kinds[:3]] == [int, float, bool]
    assert found["day-day=2024-01-31"] == {"day": "2024-01-31"}
    assert any(value == {"day": "12:30"} for value in found.values())


@pytest.mark.parametrize(
    "word",
    [
        *("../../evil", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "a\nb", "\ud800", "CON"),
        *("-rf", "~", "é" * 300, "\N{MATHEMATICAL BOLD CAPITAL A}" * 99, "$(rm x)", "a\0b", " "),
        *("*", "\u202e"),
    ],
    ids=lambda word: repr(word)[:14],
)
def test_no_name_leaves_the_folder(word: str, usjp: Usjp, here: Path, ran: list[str]) -> None:
    quoted = json.dumps(word)
    text = f"- {{notebook: one.ipynb, name: {quoted}, grid: {{s: [{quoted}, plain]}}}}\n"
    (here / "runs.yaml").write_text(text, "utf-8")
    before = {*here.rglob("*")}
    result = _batch(usjp, here)
    new = {*here.rglob("*")} - before - {here / "out"}
    if result.exit_code:
        _refused(result)
        return
    assert all(path.is_relative_to(here / "out") for path in new)
    assert len(list((here / "out" / "notebooks").iterdir())) == 2
    assert len(list((here / "out" / "ledger").iterdir())) == 2
    assert all(path.name.isprintable() for path in new)


# --- what arrives ------------------------------------------------------------------------------

HOSTILE = [
    '"\'\'\'"""\\',
    "\n# x\r\n\t\x1b[31m",
    "日本語 € \N{GRINNING FACE} \u2028 {x} %s $HOME ${HOME}",
    "'); import os; os._exit(1)  #",
    '"); import os; os._exit(1)  #',
    "<script>alert(1)</script>",
]
CANARY = "canary-5f0d6c"


def test_texts_arrive_as_data_and_no_secret_of_the_environment_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", CANARY)
    batch = Batch(tmp_path / "batch")
    cell = "s: str = 'a'\nothers: list = []\n"
    code = "import json, os\nprint(json.dumps([s, others, len(os.environ['SECRET_TOKEN'])]))"
    write_notebook(batch.notebook, code, parameters=cell)
    one = {"notebook": "one.ipynb", "parameters": {"others": HOSTILE}, "grid": {"s": HOSTILE}}
    rows: list[Any] = [one, {"notebook": "bad.ipynb"}]
    write_notebook(tmp_path / "batch" / "bad.ipynb", "import os\nos.environ['nothing']")
    batch.runs.write_text(yaml.safe_dump(rows), "utf-8")
    got = tmp_path / "got"
    result = batch.here(monkeypatch, "--on-end", f"tee {got}", "--workers", 3)
    assert result.exit_code == 1 and "KeyError: 'nothing'" in result.stderr
    found = shown(batch.out)
    assert found.pop("bad")
    seen = [json.loads("".join(cells[-1][1][0]["text"])) for cells in found.values()]
    assert sorted(s for s, *_ in seen) == sorted(HOSTILE)
    assert all(rest == [HOSTILE, len(CANARY)] for _, *rest in seen)
    texts = [path.read_bytes() for path in batch.out.rglob("*") if path.is_file()]
    assert len(texts) == 2 * 7 + 1 and got.stat().st_size
    for text in (*texts, got.read_bytes(), result.output.encode()):
        assert CANARY.encode() not in text
    batch.leaves_nothing()


# --- usjp params -------------------------------------------------------------------------------


def test_params_tells_names_types_defaults_and_help(usjp: Usjp, here: Path) -> None:
    cell = (
        "x: int = 1  # how many: é\nname = 'a'\nlevel: float | None = None\n"
        "pairs = {(1, 2): {3}}\nfar = 1e999\nlater = len('x')\nodd = '\\ud800'\n"
    )
    write_notebook(here / "own.ipynb", parameters=cell)
    result = usjp("params", here / "own.ipynb", "--json")
    assert result.exit_code == 0, result.exception

    def refuse(word: str) -> None:
        raise AssertionError(word)

    rows: list[Mapping[str, Any]] = json.loads(result.stdout, parse_constant=refuse)
    assert [tuple(row.values()) for row in rows] == [
        ("x", "int", 1, "how many: é"),
        ("name", "str", "a", ""),
        ("level", "float | None", None, ""),
        ("pairs", "dict", "{(1, 2): {3}}", ""),
        ("far", "float", "inf", ""),
        ("later", "plain data", "computed", ""),
        ("odd", "str", "\ud800", ""),
    ]
    plain = usjp("params", here / "own.ipynb")
    assert plain.exit_code == 0 and "how many: é" in plain.stdout
    ours = usjp("params", "2_event_study")
    assert ours.exit_code == 0 and "sector" in ours.stdout
    assert ours.stdout == usjp("params", home() / "notebooks" / "2_event_study.ipynb").stdout
    _refused(usjp("params", "2_event_studi"), "did you mean '2_event_study'?")
    _refused(usjp("params", here / "data.csv"), "unknown notebook")

"""A run on disk: one study a folder, one writer, whole or not at all, and nothing private in it."""

from __future__ import annotations

import html
import json
import os
import random
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import openpyxl
import pandas as pd
import pytest
from click.testing import Result

import usjp_research
from tests.here import refused
from usjp_research.market.load import load_market
from usjp_research.report.compare import compare_runs, gallery_page
from usjp_research.report.exports import result_tables, write_tables, write_workbook
from usjp_research.report.results import withhold
from usjp_research.report.site import build_site
from usjp_research.runs.folder import check_folder, check_study, locked, recover, staged, swap
from usjp_research.runs.plan import make_jobs, read_batch
from usjp_research.runs.private import places, tidy
from usjp_research.runs.store import (
    Failure,
    Outcome,
    csv_bytes,
    own_results,
    read_csv,
    read_manifest,
    read_results,
    write_all,
    write_manifest,
    write_whole,
)
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import find_root
from usjp_research.study import disclosure
from usjp_research.words import InputError

Own = Callable[..., Path]
Usjp = Callable[..., Result]
ROOT = Path(usjp_research.__file__).parents[1]
FACTS: dict[str, object] = {
    **{"spec": "a1", "snapshot": "b2", "market": "file:one.csv", "level": "firm"},
    **{"public": False, "first": "2024-01-02", "last": "2024-12-31"},
}


def fill(run: Path, word: str = "one", **facts: object) -> Path:
    """Make a run without a study: results, a figure, a notebook, a page, a manifest."""
    for name in ("results", "figures", "notebooks", "site"):
        (run / name).mkdir(parents=True, exist_ok=True)
    known = {**FACTS, **facts}
    content = {"spec": known["spec"], "snapshot": known["snapshot"], "numbers": {"word": word}}
    (run / "results/1_data.json").write_text(json.dumps({**content, "frames": ["law"]}), "utf-8")
    frame = pd.DataFrame({"group": [word], "shift": [0], "effect": [0.123456789]})
    frame.to_parquet(run / "results/1_data-law.parquet")
    dropped = pd.DataFrame({"what": ["firm"], "name": [word], "reason": ["=1+1"]})
    (run / "results/dropped.csv").write_bytes(csv_bytes(dropped))
    (run / "figures/one.svg").write_text(f"<svg>{word}</svg>", "utf-8")
    notebook: Any = nbformat.v4.new_notebook(  # type: ignore[no-untyped-call]
        cells=[
            nbformat.v4.new_markdown_cell(f"# {word}", id="a"),  # type: ignore[no-untyped-call]
            nbformat.v4.new_code_cell("1", outputs=[], id="b"),  # type: ignore[no-untyped-call]
        ]
    )
    nbformat.write(notebook, run / "notebooks/one.ipynb")  # type: ignore[no-untyped-call]
    (run / "site/index.html").write_text(word, "utf-8")
    write_manifest(run, {**known, "word": word}, [], {})
    return run


def contents(run: Path) -> dict[str, bytes]:
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file()
    }


# --- old and new -----------------------------------------------------------------------------


class Killed(BaseException):
    """What stops a process where it stands."""


@pytest.mark.parametrize("at", range(1, 14))
def test_a_kill_between_any_two_renames_leaves_one_whole_run(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = fill(tmp_path / "out", "one")
    old = contents(out)
    new = contents(fill(tmp_path / "new", "two"))
    count, real = 0, Path.rename

    def rename(path: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count == at:
            raise Killed
        return real(path, target)

    with locked(out), staged(out) as fresh:
        fill(fresh, "two")
        monkeypatch.setattr(Path, "rename", rename)
        try:
            swap(out, fresh)
        except Killed:
            assert count == at
        monkeypatch.undo()
    if at > 1:
        recover(out)
    names = {name: content for name, content in contents(out).items() if name != "run.json"}
    word = read_manifest(out)["word"]
    want = old if word == "one" else new
    assert names == {name: content for name, content in want.items() if name != "run.json"}
    assert word == ("one" if at == 1 else "two")
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_the_next_command_reads_a_run_whose_change_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real = fill(tmp_path / "out", "one"), Path.rename
    with pytest.raises(Killed), locked(out), staged(out) as fresh:
        fill(fresh, "two")

        def rename(path: Path, target: Path) -> Path:
            if path.name == "results" and path.parent.name == ".whole":
                raise Killed
            return real(path, target)

        monkeypatch.setattr(Path, "rename", rename)
        swap(out, fresh)
    monkeypatch.undo()
    assert not (out / "results").exists()
    assert gallery_page([out], tmp_path / "index.html")[1] == 1
    assert "two" in result_tables(out)[0]["dropped"].to_numpy()


def test_a_run_without_pages_leaves_no_page_of_the_run_before(tmp_path: Path) -> None:
    out = fill(tmp_path / "out", "one")
    (out / "mine.txt").write_text("a user's own", "utf-8")
    with locked(out), staged(out) as fresh:
        fill(fresh, "two")
        shutil.rmtree(fresh / "site")
        swap(out, fresh)
    assert not (out / "site").exists()
    assert (out / "mine.txt").is_file()


HOLD = """
import sys, time
from pathlib import Path
from usjp_research.runs.folder import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds ``tmp_path / "out"``."""
    fill(tmp_path / "out")
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_runner_is_refused_and_a_dead_one_holds_nothing(
    holder: subprocess.Popen[str], usjp: Usjp, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    before = {name: text for name, text in contents(out).items() if name != ".lock"}
    for command in (("study", "--no-pages", "--replace", "--out", out), ("site", out)):
        refused(usjp(*command), f"process {holder.pid} on ", "is writing there", str(out))
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lock = {".lock": (out / ".lock").read_bytes()}
    assert contents(out) == before | lock
    (out / ".new-1" / "results").mkdir(parents=True)
    with locked(out):
        assert not (out / ".new-1").exists()
    assert contents(out) == before


@pytest.mark.soak
def test_runs_killed_at_any_time_leave_one_whole_run(
    own: Own, prices: Path, usjp: Usjp, tmp_path: Path
) -> None:
    out, draw = tmp_path / "out", random.Random(1)
    words = ["study", "--market", f"file:{prices}", "--no-pages", "--out", str(out), "--params"]
    assert usjp(*words, own()).exit_code == 0
    command = [sys.executable, "-m", "usjp_research", *words, str(tmp_path / "mine"), "--replace"]
    for turn in range(30):
        own(study=f"alpha: 0.{turn + 10}\n")
        with subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr
            for line in process.stderr:
                if "writing results" in line:
                    break
            time.sleep(draw.uniform(0, 0.3))
            process.kill()
        assert usjp("site", "diff", out, out).exit_code == 0
        study = json.loads((out / "results/verdicts.json").read_text("utf-8"))
        assert study["spec"] == read_manifest(out)["spec"]


# --- whose folder it is ----------------------------------------------------------------------


def test_a_folder_that_is_no_runs_is_refused_before_anything_is_computed(
    usjp: Usjp, tmp_path: Path
) -> None:
    foreign, file = tmp_path / "foreign", tmp_path / "file"
    (foreign / "results").mkdir(parents=True)
    (foreign / "results" / "thesis.csv").write_text("mine", "utf-8")
    file.write_text("mine", "utf-8")
    named = tmp_path / "named"
    (named / "params").mkdir(parents=True)
    (named / "params" / "universe.csv").write_text("ticker,sector\n", "utf-8")
    for out, words in (
        (file, "is a file"),
        (foreign, "holds what is no run (results)"),
        (find_root(), "is a project's own folder"),
        (named, "is a project's own folder"),
        (Path("/"), "holds what is no run"),
    ):
        result = usjp("study", "--no-pages", "--replace", "--out", out)
        refused(result, str(out), words, "--out")
        assert "[1/" not in result.stderr
    assert contents(foreign) == {"results/thesis.csv": b"mine"}


def test_a_users_own_file_among_results_is_not_lost(tmp_path: Path) -> None:
    out = fill(tmp_path / "out")
    check_folder(out)
    (out / "results" / "notes.csv").write_text("mine", "utf-8")
    with pytest.raises(InputError, match=r"notes\.csv: no file of this run.*move it"):
        check_folder(out)


@pytest.mark.parametrize("key", ["spec", "snapshot", "level", "public"])
def test_another_study_is_not_put_in_the_place_of_one(key: str, tmp_path: Path) -> None:
    out = fill(tmp_path / "out")
    other: dict[str, object] = {**FACTS, key: True if key == "public" else "other"}
    with pytest.raises(InputError, match=r"another study \(market file:one\.csv.*--replace"):
        check_study(out, other, replace=False)
    check_study(out, other, replace=True)
    check_study(out, FACTS, replace=False)


def test_one_folder_holds_one_study(own: Own, prices: Path, usjp: Usjp, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("study", "--market", f"file:{prices}", "--no-pages", "--out", out, "--params")
    assert usjp(*words, own()).exit_code == 0
    before = contents(out)
    other = own(study="alpha: 0.05\n")
    refused(usjp(*words, other), "another study", "specification", "--replace")
    assert contents(out) == before
    assert usjp(*words, other, "--replace").exit_code == 0
    after = read_manifest(out)
    assert after["spec"] != json.loads(before["run.json"])["spec"]
    assert json.loads((out / "results/verdicts.json").read_text())["spec"] == after["spec"]
    same = usjp("site", "diff", out, out)
    assert (same.exit_code, same.stdout.splitlines()[-1]) == (0, "The results are identical.")
    assert usjp("site", "gallery", out, "--out", tmp_path / "index.html").exit_code == 0


def test_notebooks_leave_one_study_in_a_folder_and_no_trace_in_a_finished_run(
    tmp_path: Path,
) -> None:
    out = tmp_path / "interactive"
    folder = own_results(out, "a", "b")
    (out / "figures").mkdir()
    law = pd.DataFrame({"effect": [0.1]}).to_parquet()
    first = {"spec": "a", "snapshot": "b", "frames": ["law"]}
    write_all(folder, {"x-law.parquet": law, "x.json": json.dumps(first).encode()})
    study = json.dumps({"spec": "a", "snapshot": "b"}).encode()
    write_all(folder, {"reactions.csv": b"a\n", "verdicts.json": study, "mine.json": b"{}"})
    (out / "figures" / "one.svg").write_text("<svg/>", "utf-8")
    own_results(out, "a", "b")
    assert len(list(folder.iterdir())) == 5
    own_results(out, "a", "other")
    assert [path.name for path in folder.iterdir()] == ["mine.json"]
    assert not list((out / "figures").iterdir())
    run = fill(tmp_path / "run")
    before = contents(run)
    with pytest.raises(InputError, match="a finished run does not change"):
        own_results(run, "a1", "b2")
    assert contents(run) == before


# --- paths -----------------------------------------------------------------------------------


def test_paths_of_the_command_start_where_the_user_stands(
    own: Own, prices: Path, usjp: Usjp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = own()
    project = tmp_path / "project"
    (project / "deep").mkdir(parents=True)
    shutil.copytree(mine, project / "params")
    shutil.copyfile(prices, project / "deep" / "p.csv")
    shutil.copyfile(mine / "events.csv", project / "deep" / "e.csv")
    (project / "p.csv").write_text("not this one", "utf-8")
    (project / "e.csv").write_text("nor this", "utf-8")
    monkeypatch.chdir(project / "deep")
    words = ("study", "--market", "file:p.csv", "--no-pages")
    result = usjp(*words, "--events", "e.csv")
    assert result.exit_code == 0, result.stderr
    assert (project / "deep/outputs/study/run.json").is_file()
    assert not (project / "outputs").exists()
    assert usjp(*words, "--out", "mine").exit_code == 0
    assert (project / "deep/mine/results/verdicts.json").is_file()
    refused(usjp(*words, "--params", "params"), "deep/params: no such folder")
    assert usjp("site", "mine").exit_code == 0
    monkeypatch.chdir(project)
    refused(usjp("site", "mine"), "no run.json")


def test_notebooks_parameters_start_at_the_root(
    own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from usjp_research.spec.records import in_project

    project = tmp_path / "project"
    shutil.copytree(own(), project / "params")
    (project / "notebooks" / "outputs").mkdir(parents=True)
    monkeypatch.chdir(project / "notebooks")
    assert in_project(Path("outputs")) == project / "outputs"
    monkeypatch.chdir(tmp_path)
    assert in_project(Path("project")) == Path("project")
    assert in_project(Path("nowhere")) == ROOT / "nowhere"


def test_a_project_without_a_bundle_or_notebooks_takes_those_that_ship(
    own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(own(), tmp_path / "project" / "params")
    monkeypatch.chdir(tmp_path / "project")
    assert find_root() == tmp_path / "project"
    spec = read_spec(ROOT / "params")
    assert load_market(spec, "bundled").name == "bundled"
    (job, *_) = make_jobs(
        read_batch(find_root() / "params"),
        ["solar"],
        {},
        dict.fromkeys(("factors", "factor_units", "donors", "openings"), ""),
    )
    assert job.notebook == ROOT / "notebooks" / "4_verdict.ipynb"


# --- the disk --------------------------------------------------------------------------------


@contextmanager
def limited(most: int) -> Iterator[None]:
    """Let no file grow beyond some bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_run_before_as_it_was(
    own: Own, prices: Path, usjp: Usjp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # it is tried, and full too
    out = tmp_path / "out"
    words = ("study", "--market", f"file:{prices}", "--no-pages", "--out", out, "--params")
    assert usjp(*words, own()).exit_code == 0
    before = contents(out)
    largest = max(map(len, before.values()))
    other = own(study="alpha: 0.05\n")
    with limited(largest // 2):
        result = usjp(*words, other, "--replace")
    refused(result, "too large", "nothing that was there has changed")
    assert contents(out) == before
    assert not list(tmp_path.glob("usjp-results-*"))


@pytest.mark.parametrize("words", [(), ("--xlsx", "a/x.xlsx"), ("--tables", "a")])
def test_a_full_disk_leaves_the_pages_before_as_they_were(
    words: tuple[str, ...], usjp: Usjp, tmp_path: Path
) -> None:
    out = fill(tmp_path / "out")
    if words:
        build_site(out)
    before = contents(out)
    most = max(map(len, before.values())) if words else 2000
    with limited(most):
        result = usjp("site", out, *words)
    assert contents(out) == before
    if not words or result.exit_code:
        refused(result, "too large")
        assert not list((tmp_path / "here").rglob("*.*"))


def test_a_set_of_files_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_all(tmp_path, {"a": b"1", "b": b"1"})
    with limited(1000), pytest.raises(OSError, match="too large"):
        write_all(tmp_path, {"a": b"2", "b": b"2" * 2000})
    assert contents(tmp_path) == {"a": b"1", "b": b"1"}


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_the_users_umask_decides_who_may_read(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "a.txt", b"a")
        build_site(fill(tmp_path / "run"))
    finally:
        os.umask(before)
    for path in (tmp_path / "a.txt", tmp_path / "run/run.json", tmp_path / "run/site/index.html"):
        assert stat.S_IMODE(path.stat().st_mode) == mode, path


# --- what is handed on -----------------------------------------------------------------------


def test_only_what_the_manifest_names_is_handed_on(usjp: Usjp, tmp_path: Path) -> None:
    run = fill(tmp_path / "run")
    (run / "results" / "secret.csv").write_text("ticker,car\nS01,0.1\n", "utf-8")
    assert set(result_tables(run)[0]) == {"1_data-law", "dropped"}
    changed = fill(tmp_path / "changed")
    (changed / "results" / "dropped.csv").write_text("what,name,reason\na,b,c\n", "utf-8")
    gone = fill(tmp_path / "gone")
    (gone / "results" / "1_data.json").unlink()
    page = tmp_path / "index.html"
    for bad, words in ((changed, "dropped.csv: results changed"), (gone, "1_data.json: gone")):
        for command in (
            ("site", bad),
            ("site", bad, "--xlsx", tmp_path / "x.xlsx"),
            ("site", "diff", run, bad),
            ("site", "gallery", bad, "--out", page),
        ):
            refused(usjp(*command), words, "run the study again")
    assert not page.exists() and not (tmp_path / "x.xlsx").exists()


IDS = ("01", "1E1", "10", "NA", "TRUE", "ON", "-1", "=1+1", "'=1", "''", " 1", "1.0", "null", "")


def test_texts_of_a_saved_table_come_back_as_they_were(tmp_path: Path) -> None:
    frame = pd.DataFrame({"event": [*IDS], "sector": [*reversed(IDS)], "caar": 0.1})
    (tmp_path / "reactions.csv").write_bytes(csv_bytes(frame))
    raw = (tmp_path / "reactions.csv").read_text("utf-8")
    assert not re.search(r"(^|,)[=+@\t]|(^|,)-[^0-9]", raw, re.M)
    back = read_csv(tmp_path / "reactions.csv")
    assert back["event"].fillna("").tolist() == [*IDS]
    assert back["sector"].fillna("").tolist() == [*reversed(IDS)]
    assert back["caar"].tolist() == [0.1] * len(IDS)


def test_no_control_character_reaches_an_export(usjp: Usjp, tmp_path: Path) -> None:
    odd = ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "\x1b[31mred\x1b[0m", "nul\x00", "bell\x07")
    run = fill(tmp_path / "run", "".join((*odd, "\x9b31m")))
    result = usjp("site", run, "--xlsx", tmp_path / "x.xlsx", "--tables", tmp_path / "tables")
    assert result.exit_code == 0, result.stderr
    usjp("site", "gallery", run, "--out", tmp_path / "index.html")
    made = [*(run / "site").iterdir(), tmp_path / "index.html", *(tmp_path / "tables").iterdir()]
    for path in (*made, run / "results" / "dropped.csv"):
        if path.suffix in (".csv", ".html"):
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", path.read_text("utf-8")), path
    for path in (tmp_path / "tables").glob("*.csv"):
        cells = " ".join(map(str, read_csv(path).to_numpy().ravel()))
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", cells), path
    for sheet in openpyxl.load_workbook(tmp_path / "x.xlsx"):
        for row in sheet.iter_rows(values_only=True):
            assert not re.search(r"_x00\d\d_|[\x00-\x08\x0e-\x1f]", " ".join(map(str, row)))


def test_ids_stay_text_through_every_export(
    own: Own, prices: Path, usjp: Usjp, tmp_path: Path
) -> None:
    ids = ("01", "1E1", "10")
    head, *rows = (own() / "events.csv").read_text("utf-8").splitlines()
    named = [f"{id},{row.partition(',')[2]}" for id, row in zip(ids, rows, strict=True)]
    own(events="\n".join([head, *named, ""]))
    out = tmp_path / "out"
    words = ("--params", tmp_path / "mine", "--market", f"file:{prices}", "--out", out)
    result = usjp("study", *words, "--no-pages", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["rows"][0]["events"] == [*ids]
    assert {row["version"] for row in read_results(out)["variants"]}
    write_workbook(out, tmp_path / "x.xlsx")
    write_tables(out, tmp_path / "tables")
    sheet = openpyxl.load_workbook(tmp_path / "x.xlsx")["reactions"]
    cells = [sheet.cell(row, 1) for row in range(2, sheet.max_row + 1)]
    assert {(cell.value, cell.data_type) for cell in cells} == {(id, "s") for id in ids}
    for path in (tmp_path / "tables/reactions.csv", out / "results/reactions.csv"):
        assert {*pd.read_csv(path, dtype=str)["event"]} == {*ids}
    assert {*read_csv(tmp_path / "tables/reactions.csv")["event"]} == {*ids}


# --- what is private -------------------------------------------------------------------------


def test_rounding_for_the_public_shows_the_same_digits_as_the_number_itself() -> None:
    draw = random.Random(1)
    numbers = [draw.uniform(-0.2, 0.2) for _ in range(5000)] + [0.0865, 0.08649999, 1e-9, -1e-9]
    for value in numbers:
        kept = disclosure.coarse(value, "firm")
        assert abs(kept - value) <= 1.0001e-4 and disclosure.coarse(kept, "firm") == kept
        assert f"{100 * kept:.1f}" == f"{100 * value:.1f}" or abs(value * 2000 % 2 - 1) < 1e-6
    assert disclosure.coarse(0.123456789, "portfolio") == 0.123456789


def test_a_public_run_of_firms_holds_nothing_that_narrows_a_firm_down(tmp_path: Path) -> None:
    run = fill(tmp_path / "run")
    row = {"name": "a", "kind": "contrast version", "events": ["E1"], "p": 0.2, "effect": 0.7654321}
    versions = [{**row, "named": ["S01"], "safe": False}, {**row, "named": ["S02"], "safe": True}]
    study = {"rows": [], "contrast_versions": versions, "alpha": 0.123456}
    (run / "results/verdicts.json").write_text(json.dumps(study), "utf-8")
    firms = pd.DataFrame({"ticker": ["S01"], "car": [0.7654321]})
    firms.to_parquet(run / "results/firms-rows.parquet")
    (run / "results/firms.csv").write_bytes(csv_bytes(firms))
    withhold(run, "firm")
    assert {path.name for path in (run / "results").iterdir()} == {
        *("1_data.json", "dropped.csv", "verdicts.json")
    }
    kept = json.loads((run / "results/verdicts.json").read_text("utf-8"))
    assert "effect" not in kept["contrast_versions"][0]
    assert kept["contrast_versions"][1]["effect"] == 0.7654
    assert kept["alpha"] == 0.123456
    assert json.loads((run / "results/1_data.json").read_text("utf-8"))["frames"] == []


def test_public_holds_for_results_and_terminal_too(
    own: Own, prices: Path, usjp: Usjp, tmp_path: Path
) -> None:
    universe = (own() / "universe.csv").read_text("utf-8").replace("\n", ",\n")
    universe = universe.replace("usd_bn,", "usd_bn,named_event", 1)
    for k in range(5):
        universe = universe.replace(f"S{k:02d},solar,10,", f"S{k:02d},solar,10,N1")
    study = (
        "contrast: {sector: solar, event: N1}\n"
        "contrast_versions:\n  - {title: without one, events: [N1], without: [S00]}\n"
    )
    own(universe=universe, study=study)
    words = ("study", "--params", tmp_path / "mine", "--market", f"file:{prices}", "--no-pages")
    out = tmp_path / "out"
    local = json.loads(usjp(*words, "--out", out, "--json").stdout)
    (row,) = local["contrast_versions"]
    assert not row["safe"] and "effect" in row
    refused(usjp(*words, "--out", out, "--public"), "another study", "public", "--replace")
    result = usjp(*words, "--out", out, "--public", "--replace", "--json")
    assert result.exit_code == 0, result.stderr
    for text in (result.stdout, (out / "results/verdicts.json").read_text("utf-8")):
        (row,) = json.loads(text)["contrast_versions"]
        assert set(row) <= set(disclosure.TOLD)
        assert str(local["contrast"]["effect"]) not in text
    assert read_manifest(out)["public"] is True


CANARY = "Client ACME"


def test_a_runs_notebooks_name_files_and_no_folder(tmp_path: Path) -> None:
    place = tmp_path / CANARY / "deals & 'more'"
    place.mkdir(parents=True)
    market, stage = place / "x.csv", place / "out" / ".new-1"
    run = fill(tmp_path / "run")
    said = (
        f"\x1b[31mFile {place}/y.py:12\x1b[0m, {market}, file:{market}; {place}&amp;, "
        f"{stage}/results, {html.escape(str(market))} and {market!r}"
    )
    new: Any = nbformat.v4
    cells = [
        new.new_code_cell(
            f'market = "file:{market}"\nout = "{stage}"',
            metadata={"tags": ["injected-parameters"]},
        ),
        new.new_code_cell(
            "1/0",
            outputs=[
                new.new_output("error", ename="E", evalue=str(market), traceback=[said]),
                new.new_output("stream", name="stdout", text="a\rb\n"),
                new.new_output("display_data", data={"text/html": said, "text/plain": said}),
            ],
        ),
        new.new_code_cell(
            "firms",
            metadata={"tags": ["local"]},
            outputs=[new.new_output("stream", name="stdout", text="S01 moved by 7.6%")],
        ),
    ]
    notebook = new.new_notebook(cells=cells, metadata={"papermill": {"parameters": {"m": said}}})
    nbformat.write(notebook, run / "notebooks/one.ipynb")  # type: ignore[no-untyped-call]
    (run / "results/note.json").write_text(json.dumps({"numbers": {"at": str(market)}}), "utf-8")
    names = places([market], [stage, place])
    tidy(run, names, public=False)
    text = (run / "notebooks/one.ipynb").read_text("utf-8")
    assert "S01 moved" in text
    tidy(run, names, public=True)
    text = (run / "notebooks/one.ipynb").read_text("utf-8")
    assert "S01 moved" not in text
    for word in (CANARY, "ACME", str(tmp_path), "deals"):
        assert not [name for name, content in contents(run).items() if word.encode() in content]
    assert 'market = \\"file:x.csv\\"' in text and 'out = \\"…\\"' in text and "a\\r" in text
    nbformat.validate(nbformat.read(run / "notebooks/one.ipynb", 4))  # type: ignore[no-untyped-call]


# --- damage ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def small(
    once: Callable[..., Path], prices: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run of a small study with every kind of file, made without a kernel."""
    from typer.testing import CliRunner

    from tests.conftest import write_study
    from usjp_research.__main__ import app

    def build(out: Path) -> None:
        params = write_study(tmp_path_factory.mktemp("params"))
        words = ["--params", str(params), "--market", f"file:{prices}", "--out", str(out)]
        result = CliRunner().invoke(app, ["study", "--no-pages", *words])
        assert result.exit_code == 0, result.stderr
        new: Any = nbformat.v4
        outputs = [
            new.new_output("stream", name="stdout", text="x\n"),
            new.new_output(
                "display_data", data={"text/html": "<table><tr><td>1</td></tr></table>"}
            ),
            new.new_output("error", ename="E", evalue="v", traceback=["t"]),
        ]
        (out / "notebooks").mkdir()
        notebook = new.new_notebook(
            cells=[
                new.new_markdown_cell("# Title\n\nWords $x^2$.\n\n| a |\n|---|\n| 1 |"),
                new.new_code_cell("n: int = 1  # a number", metadata={"tags": ["parameters"]}),
                new.new_code_cell("f()", outputs=outputs),
            ]
        )
        nbformat.write(notebook, out / "notebooks/a.ipynb")  # type: ignore[no-untyped-call]
        manifest = json.loads((out / "run.json").read_text("utf-8"))
        facts = {key: manifest[key] for key in FACTS}
        frame = pd.DataFrame({"model": ["m"], "effect": [0.1]})
        content = {key: facts[key] for key in ("spec", "snapshot")}
        content |= {"numbers": {"rows": [{"events": ["N1"], "slope": 0.1}]}, "code": "c"}
        write_all(
            out / "results",
            {
                "5_robustness-solar-rows.parquet": frame.to_parquet(),
                "3_exposure.json": json.dumps(content).encode(),
                "reading.json": json.dumps({"sentences": ["One."], "quant": "Q."}).encode(),
            },
        )
        job = Outcome(
            "a",
            "a.ipynb",
            {"n": 1},
            "failed",
            1.0,
            "notebooks/a.ipynb",
            Failure(3, "E", "v", "t"),
            "2026-01-01T00:00:00+00:00",
        )
        write_manifest(out, facts, [job], {})

    return once("small", build)


VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    1e308,
    10**400,
    "x",
    "",
    [],
    {},
    [[]],
    {"a": None},
    "\x00",
)


def spoil(path: Path, draw: random.Random) -> str:
    """Damage a file in one of many ways, and say how."""
    raw = path.read_bytes()
    kinds = ["cut", "flip", "empty", "gone", "binary", "line"]
    if path.suffix in (".json", ".ipynb"):
        kinds += ["value"] * 8 + ["key"] * 4 + ["deep", "number", "list"]
    kind = draw.choice(kinds)
    if kind == "gone":
        path.unlink()
        return kind
    if kind in ("value", "key"):
        content = json.loads(raw)
        told = change(content, draw, drop=kind == "key")
        path.write_text(json.dumps(content), "utf-8")
        return f"{kind} {told}"
    at = draw.randrange(len(raw))
    found = {
        "cut": raw[:at],
        "flip": raw[:at] + bytes([raw[at] ^ (1 << draw.randrange(8))]) + raw[at + 1 :],
        "empty": b"",
        "binary": draw.randbytes(500),
        "line": raw + b'\na,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r\n"',
        "deep": b"[" * 100_000,
        "number": b'{"schema": ' + b"9" * 6000 + b"}",
        "list": b"[]",
    }
    path.write_bytes(found[kind])
    return kind


def change(content: Any, draw: random.Random, *, drop: bool) -> str:
    """Put another value, or none, at some place of a structure."""
    at, told = content, ""
    while True:
        keys = list(at) if isinstance(at, dict) else range(len(at))
        key = draw.choice(list(keys))
        told += f".{key}"
        if isinstance(at[key], dict | list) and at[key] and draw.random() < 0.75:
            at = at[key]
            continue
        if drop:
            del at[key]
        else:
            at[key] = draw.choice(VALUES)
        return told


def spoilt(small: Path, folder: Path, seed: int) -> tuple[Path, str]:
    """Copy a run and damage it; every second time the manifest is none the wiser."""
    draw = random.Random(seed)
    run = folder / f"run-{seed}"
    shutil.copytree(small, run)
    files = sorted(path for path in run.rglob("*") if path.is_file() and "site" not in path.parts)
    path = draw.choice([run / "run.json", draw.choice(files), draw.choice(files)])
    how = f"{seed}: {path.relative_to(run)} {spoil(path, draw)}"
    if draw.random() < 0.5 and path.name != "run.json":
        manifest = json.loads((run / "run.json").read_text("utf-8"))
        del manifest["files"]
        (run / "run.json").write_text(json.dumps(manifest), "utf-8")
    return run, how


def check_damage(small: Path, folder: Path, usjp: Usjp, seed: int) -> int:
    run, how = spoilt(small, folder, seed)
    codes = []
    for words in (
        ("site", run, "--tables", folder / "tables", "--xlsx", folder / "x.xlsx"),
        ("site", "diff", small, run),
        ("site", "gallery", run, "--out", folder / "index.html"),
    ):
        result = usjp(*words)
        assert result.exception is None or isinstance(result.exception, SystemExit), (
            how,
            words[1],
            result.exc_info,
        )
        assert result.exit_code in (0, 1, 2), how
        if result.exit_code == 2:
            refused(result)
            assert len(result.stderr.splitlines()[-1]) <= 400, how
        codes.append(result.exit_code)
    shutil.rmtree(run)
    return max(codes)


def test_a_damaged_run_is_refused_in_one_line_or_read(
    small: Path, usjp: Usjp, tmp_path: Path
) -> None:
    codes = [check_damage(small, tmp_path, usjp, seed) for seed in range(8)]
    assert codes.count(2) >= 3


@pytest.mark.soak
def test_a_thousand_damaged_runs_are_refused_in_one_line_or_read(
    small: Path, usjp: Usjp, tmp_path: Path
) -> None:
    for seed in range(1000, 2000):
        check_damage(small, tmp_path, usjp, seed)


def test_a_run_of_an_older_version_is_still_read(small: Path, tmp_path: Path) -> None:
    run = tmp_path / "old"
    shutil.copytree(small, run)
    manifest = json.loads((run / "run.json").read_text("utf-8"))
    del manifest["files"]
    (run / "run.json").write_text(json.dumps(manifest), "utf-8")
    assert compare_runs(small, run).same

"""The batch is data: read with one-line refusals, apart from what defines the study."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import Result

from tests.conftest import Instead
from usjp_research.report.results import save_study
from usjp_research.runs.batch import check_jobs
from usjp_research.runs.job import Job
from usjp_research.runs.plan import front_page, make_jobs, read_batch
from usjp_research.runs.store import Failure, Outcome, read_manifest, read_results
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import digest, home
from usjp_research.study.answer import run_study
from usjp_research.study.sample import sample
from usjp_research.words import InputError

Own = Callable[..., Path]
Run = Callable[..., Result]
FRENCH = {"factors": "french.csv", "factor_units": "auto"}
OPTIONS = {**FRENCH, "donors": "others.csv", "openings": "open.csv"}

BAD = {
    "- {notebook: 2_event_studi}": ["entry 1: unknown notebook '2_event_studi'", "'2_event_study'"],
    "- {notebook: ../1_data}": ["entry 1: unknown notebook '../1_data'"],
    "- {notebook: 1_data}\n- {notebok: 3_exposure}": ["entry 2: unknown key 'notebok'", "notebook"],
    "- {notebook: 1_data, whit: [donors]}": ["entry 1: unknown key 'whit'", "'with'"],
    "- {each: sector}": ["entry 1: key 'notebook' is missing; add it"],
    "- {notebook: 1_data, each: sectr}": ["entry 1: key 'each'", "seen 'sectr'", "'sector'"],
    "- {notebook: 1_data, with: [doners]}": ["entry 1: key 'with.0'", "did you mean 'donors'?"],
    "- {notebook: 1_data, with: {}}": ["entry 1: key 'with'", "a list"],
    "- {notebook: 1_data, after: 3_exposur}": ["entry 1: key 'after'", "'3_exposur'"],
    "- {notebook: 1_data, front: maybe}": ["entry 1: key 'front'", "seen 'maybe'"],
    "- {notebook: 1_data}\n- {notebook: 1_data}": ["entry 2: notebook '1_data'", "twice"],
    "- {notebook: 1_data, front: true}\n- {notebook: 4_verdict, front: true}": ["entry 2", "front"],
    "- {notebook: 2_event_study, each: sector, front: true}": ["entry 1: key 'front'"],
    "- 1_data": ["entry 1", "keys with values, as 'key: value'"],
    "notebook: 1_data": ["no list", "- key: value"],
    "": ["the file is empty"],
    "- {notebook: 1_data": ["row 1", "not readable as YAML"],
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_batch_is_refused_in_one_line_with_file_and_entry(
    text: str, own: Own, usjp: Run
) -> None:
    folder = own()
    (folder / "batch.yaml").write_text(text, "utf-8")
    with pytest.raises(InputError) as caught:
        read_batch(folder)
    line = str(caught.value)
    assert line.startswith(f"{folder / 'batch.yaml'}: ") and "\n" not in line
    for word in BAD[text]:
        assert word in line, line


def test_the_command_refuses_it_before_returns_are_read(own: Own, usjp: Run) -> None:
    folder = own()
    for text, words in (
        ("- {notebook: 5_robustnes, each: sector}", "did you mean '5_robustness'?"),
        ("- {notebook: 1_data, each: sector}", "unknown parameter 'sector'"),
        ("- {notebook: 1_data, after: [1_data]}", "jobs wait for each other"),
    ):
        (folder / "batch.yaml").write_text(text, "utf-8")
        result = usjp("study", "--params", folder, "--market", "simulated")
        assert result.exit_code == 2 and words in result.stderr, result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_a_study_without_a_list_runs_the_shipped_one(own: Own) -> None:
    entries = read_batch(own())
    assert entries == read_batch(home() / "params")
    assert front_page(entries) == "4_verdict"
    shared = {"params": "p", "market": "m", "out": "o"}
    jobs = make_jobs(entries, ["solar", "rail"], shared, OPTIONS)
    check_jobs(jobs)
    names = [job.name for job in jobs]
    assert names == [
        *("4_verdict", "2_event_study-solar", "2_event_study-rail", "5_robustness-solar"),
        *("5_robustness-rail", "3_exposure", "1_data"),
    ]
    assert jobs[6].parameters == shared | FRENCH and not jobs[6].after
    assert jobs[1].parameters == shared | FRENCH | {"sector": "solar"}
    assert jobs[4].parameters == shared | FRENCH | {"sector": "rail", "donors": "others.csv"}
    assert jobs[0].parameters == shared | FRENCH | {"openings": "open.csv"}
    assert set(jobs[0].after) == set(names[1:])


def test_a_notebook_can_wait_for_some_and_the_list_is_no_part_of_the_study(own: Own) -> None:
    folder = own()
    before = digest(read_spec(folder))
    (folder / "batch.yaml").write_text(
        "- {notebook: 4_verdict, after: 2_event_study}\n"
        "- {notebook: 2_event_study, each: sector}\n- {notebook: 1_data, after: all}\n",
        "utf-8",
    )
    verdict, one, two, last = make_jobs(read_batch(folder), ["a", "b"], {}, OPTIONS)
    assert verdict.after == (one.name, two.name)
    assert last.after == ("4_verdict", one.name, two.name)
    assert digest(read_spec(folder)) == before


def test_the_method_is_added_last_when_asked_for_and_once(own: Own, usjp: Run) -> None:
    folder = own()
    *usual, last = read_batch(folder, method=True)
    assert tuple(usual) == read_batch(folder)
    jobs = make_jobs([*usual, last], ["solar"], {"params": "p", "market": "m", "out": "o"}, OPTIONS)
    check_jobs(jobs)
    assert jobs[-1].name == "6_method" and "4_verdict" not in jobs[-1].after
    assert set(jobs[-1].after) == {job.name for job in jobs[1:-1]}
    assert jobs[-1].parameters["donors"] == "others.csv"
    assert front_page([*usual, last]) == "4_verdict"
    (folder / "batch.yaml").write_text("- {notebook: 6_method}\n- {notebook: 1_data}\n", "utf-8")
    assert [entry.notebook for entry in read_batch(folder, method=True)] == ["6_method", "1_data"]
    refused = usjp("study", "--params", folder, "--market", "simulated", "--method", "--no-pages")
    assert refused.exit_code == 2 and "--method: it is a notebook" in refused.stderr


# --- what becomes of the study -----------------------------------------------------------------


@pytest.fixture
def words(own: Own, prices: Path, tmp_path: Path) -> list[object]:
    market = ("--market", f"file:{prices}")
    return ["study", "--params", own(), *market, "--out", tmp_path / "run"]


def _ended(jobs: Sequence[Job], failure: Failure | None, *failed: str) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(
            job.name,
            job.notebook.name,
            {},
            "failed" if job.name in failed else "done",
            0.1,
            None,
            failure if job.name in failed else None,
        )
        for job in jobs
    )


@pytest.mark.parametrize("failed", ["", "4_verdict", "5_robustness-rail"])
def test_the_rows_are_those_that_a_notebook_saved_and_nothing_is_computed_again(
    failed: str,
    words: list[object],
    prices: Path,
    usjp: Run,
    tmp_path: Path,
    instead: Instead,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = read_spec(tmp_path / "mine")
    study = run_study(sample(spec, f"file:{prices}"))

    def saves(jobs: Sequence[Job], out: Path, **_: object) -> tuple[Outcome, ...]:
        save_study(study, out)
        return _ended(jobs, Failure(30, "ValueError", "no canvas", ""), failed)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    instead(saves)
    monkeypatch.setattr("usjp_research.run_study", never)
    result = usjp(*words)
    assert result.exit_code == (1 if failed else 0), result.stderr
    assert "Solar" in result.stdout and "placebo calendars" in result.stdout
    assert (f"(job {failed}), cell 30: ValueError: no canvas" in result.stderr) == bool(failed)
    assert len(read_results(tmp_path / "run")["study"]["rows"]) == 2
    assert read_manifest(tmp_path / "run")["front"] == "4_verdict"
    monkeypatch.undo()
    plain = usjp(*words, "--no-pages")
    assert plain.stdout == result.stdout


def test_a_batch_that_saves_no_study_leaves_it_to_the_command(
    own: Own,
    usjp: Run,
    prices: Path,
    tmp_path: Path,
    instead: Instead,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = tmp_path / "project"
    shutil.copytree(own(), project / "params")
    (project / "notebooks").mkdir()
    shutil.copyfile(home() / "notebooks" / "1_data.ipynb", project / "notebooks" / "mine.ipynb")
    text = "- {notebook: mine, front: true}\n- {notebook: 3_exposure}\n"
    (project / "params" / "batch.yaml").write_text(text, "utf-8")
    seen: list[Job] = []

    def nothing(jobs: Sequence[Job], out: Path, **_: object) -> tuple[Outcome, ...]:
        seen.extend(jobs)
        return _ended(jobs, None)

    instead(nothing)
    monkeypatch.chdir(project)
    result = usjp("study", "--market", f"file:{prices}", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    own_book, shipped = (job.notebook for job in seen)
    assert own_book == project / "notebooks" / "mine.ipynb"
    assert shipped == home() / "notebooks" / "3_exposure.ipynb"
    assert "Solar" in result.stdout
    assert len(read_results(tmp_path / "run")["study"]["rows"]) == 2

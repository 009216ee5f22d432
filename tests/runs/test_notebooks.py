"""Notebooks are literature, and run wherever a user starts them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import papermill
import pytest
from click.testing import Result

from tests.conftest import Own
from tests.here import without_kernels
from usjp_research.market.load import load_market
from usjp_research.report.results import collect_laws
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import digest, find_root
from usjp_research.study.answer import Study, run_study
from usjp_research.study.sample import sample

ROOT = find_root(Path(__file__))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_is_short_code_long_prose_and_no_output(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    prose = " ".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for cell in code:
        assert not cell.outputs
        assert cell.execution_count is None
        if "parameters" not in cell.metadata.get("tags", []):
            assert len(cell.source.splitlines()) <= 4, cell.source
        assert not re.search(r"^\s*(def|class)\s", cell.source, re.MULTILINE)
    assert len(prose.split()) >= 8 * sum(len(cell.source.splitlines()) for cell in code)
    assert notebook.cells[0].source.startswith("# ")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_the_parameters_are_typed_and_say_what_they_are(path: Path) -> None:
    for name, found in papermill.inspect_notebook(str(path)).items():
        assert found["inferred_type_name"] in ("str", "dict"), name
        assert len(found["help"].split()) >= 4, name


# Where a path is looked up is one function for all five, and the batch runs them all: by papermill
# alone the first is run, from the folder of notebooks; the others in the soak.
STARTS = [
    (NOTEBOOKS[0], ROOT / "notebooks"),
    *(pytest.param(path, ROOT, marks=pytest.mark.soak) for path in NOTEBOOKS),
]


@pytest.mark.parametrize(("path", "cwd"), STARTS, ids=lambda path: path.stem)
def test_plain_papermill_runs_it_wherever_a_user_starts(
    path: Path, cwd: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    of_a_sector = path.stem in ("2_event_study", "5_robustness")
    more = {"sector": "mining_metals"} if of_a_sector else {}
    done = papermill.execute_notebook(
        str(path),
        str(tmp_path / "out.ipynb"),
        {"out": str(out), **more},
        cwd=str(cwd),
        progress_bar=False,
        kernel_name="python3",
    )
    assert list((out / "results").iterdir())
    _shows_tables_and_pictures(done)


def _shows_tables_and_pictures(notebook: Any, words: int = 40) -> None:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("<table" in output.get("data", {}).get("text/html", "") for output in outputs)
    pictures = [output for output in outputs if "image/svg+xml" in output.get("data", {})]
    assert pictures
    assert all(len(picture.metadata["alt"]) > words for picture in pictures)


def test_every_notebook_of_the_batch_shows_and_saves_what_it_found(
    finished: Path, fallen: Own
) -> None:
    sector, results = "power_utilities", finished / "results"
    for name in NAMES[:-1]:  # the last is asked for with --method; what it shows is kept too
        for run, key, words in ((finished, sector, 40), (fallen.run, "solar", 9)):  # one in kernels
            of_a_sector = name in ("2_event_study", "5_robustness")
            path = run / "notebooks" / f"{name}{f'-{key}' if of_a_sector else ''}.ipynb"
            done = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
            _shows_tables_and_pictures(done, words)
    law = pd.read_parquet(results / f"2_event_study-{sector}-law.parquet")
    assert {*law} == {"group", "shift", "effect", "error", "statistic", "independent"}
    assert (law["shift"] == 0).sum() == 1
    robust = pd.read_parquet(results / f"5_robustness-{sector}-rows.parquet")
    computed = robust["reason"] == ""
    assert {"synthetic control", "nearest donors"} <= {*robust.loc[computed, "model"]}
    assert robust.loc[~computed, "reason"].str.contains("--factors").all()
    assert len(json.loads((results / "verdicts.json").read_text("utf-8"))["rows"]) == 6


def test_the_verdict_from_saved_sectors_equals_the_one_computed_at_once(
    bundled: Study, tmp_path: Path
) -> None:
    from usjp_research.report.results import law_frame, record
    from usjp_research.study.answer import sector_law

    spec, market = bundled.data.spec, bundled.data.market
    for sector in spec.sectors:
        assert collect_laws(tmp_path, spec, market) == []
        law = sector_law(bundled.data, sector)
        record(tmp_path, f"2_event_study-{sector}", spec, market, {}, law=law_frame(law))
    laws = collect_laws(tmp_path, spec, market)
    assert len(laws) == 6
    assert run_study(sample(spec, market), laws=laws).verdicts == bundled.verdicts
    other = load_market(spec, "simulated")
    assert collect_laws(tmp_path, spec, other) == []


def test_the_readme_shows_the_numbers_of_the_bundled_study() -> None:
    from docs.make_readme import parts, shown

    block, picture = shown()
    assert parts((ROOT / "README.md").read_text(encoding="utf-8"))[1] == block
    assert (ROOT / "docs" / "scoreboard.txt").read_text(encoding="utf-8") == picture.alt


def test_the_published_study_is_of_these_parameters_and_shows_no_single_firm() -> None:
    from docs.make_readme import provenance

    folder = ROOT / "docs" / "study"
    told = provenance()
    assert told["specification"] == digest(read_spec())
    assert told["public"] == "True"
    names = {path.stem for path in (folder / "tables").iterdir()}
    assert "placebo" not in names and not {name for name in names if name.endswith("-law")}
    for path in (folder / "tables").glob("*.csv"):
        assert "ticker" not in pd.read_csv(path, dtype=str).columns, path.name
    page = (folder / "study.html").read_text(encoding="utf-8")
    assert told["specification"][:12] in page
    rows = pd.read_csv(folder / "tables" / "verdicts.csv")
    unsafe = rows[rows["safe"].astype(str) == "False"]
    assert len(unsafe) and unsafe[["effect", "low", "high", "mde"]].isna().all(axis=None)


@pytest.mark.slow
def test_asked_for_the_method_notebook_runs_on_a_study_of_ones_own(
    own: Callable[..., Path], prices: Path, usjp: Callable[..., Result], tmp_path: Path
) -> None:
    folder, out = own(), tmp_path / "run"
    (folder / "batch.yaml").write_text("- {notebook: 1_data, front: true}\n", "utf-8")
    words = ("study", "--params", folder, "--market", f"file:{prices}", "--out", out)
    with without_kernels():
        result = usjp(*words, "--method")
    assert result.exit_code == 0, result.stderr
    done = nbformat.read(out / "notebooks" / "6_method.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    _shows_tables_and_pictures(done)
    size = pd.read_parquet(out / "results" / "6_method-size.parquet")
    assert size["test"].tolist() == ["rule 1", "rule 1"] and size["rows"].between(0, 0.3).all()
    assert "this study has one rule" in (out / "site" / "6_method.html").read_text("utf-8")

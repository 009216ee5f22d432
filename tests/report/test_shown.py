"""What people read: every table and every figure's drawn numbers, as they were when last read."""

from __future__ import annotations

import itertools
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.golden.make_shown import RUNS, SHOWN, write_run

TABLES = sorted(SHOWN.glob("*/*.csv"))
FIGURES = sorted(SHOWN.glob("*/*.jsonl"))
AGAIN = "if that is wanted: python -m tests.golden.make_shown, and read the difference"


def _same(one: Any, two: Any) -> bool:
    """Compare JSON: words exactly, numbers to 1e-9."""
    if isinstance(one, float) and isinstance(two, float):
        return math.isclose(one, two, rel_tol=1e-9, abs_tol=1e-11)
    if isinstance(one, dict) and isinstance(two, dict):
        return list(one) == list(two) and all(_same(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_same, one, two))
    return bool(one == two)


def differences(old: Path, new: Path) -> list[str]:
    """List where two folders of shown things differ, the first line of each file."""
    found = []
    for name in sorted({path.name for folder in (old, new) for path in folder.iterdir()}):
        if not (old / name).exists() or not (new / name).exists():
            found.append(f"{name}: {'new' if (new / name).exists() else 'no longer shown'}")
            continue
        before, after = ((d / name).read_text("utf-8").splitlines() for d in (old, new))
        for k, (was, now) in enumerate(itertools.zip_longest(before, after, fillvalue=""), 1):
            if was == now:
                continue
            figure = name.endswith(".jsonl") and was and now
            if not figure or not _same(json.loads(was), json.loads(now)):
                found.append(f"{name}, line {k}: was {was[:200]} ... now {now[:200]}")
                break
    return found


@pytest.mark.parametrize(
    "run",  # the long one in soak; a study of one's own runs that notebook in test_notebooks
    [pytest.param(run, marks=pytest.mark.soak) if run == "6_method" else run for run in RUNS],
)
def test_tables_and_figures_show_what_they_showed(
    run: str, firm_prices: Path, tmp_path: Path, quiet_once: None
) -> None:
    write_run(run, tmp_path / "now", firm_prices / "prices.parquet")
    found = differences(SHOWN / run, tmp_path / "now")
    assert not found, "\n".join([f"{len(found)} of {run} differ; {AGAIN}", *found])


def test_every_table_and_every_figure_of_the_public_names_is_kept() -> None:
    import usjp_research as ur
    from usjp_research.report.tables import ROWS

    figures = {name for name in ur.__all__ if name.startswith("plot_")}
    figures -= {"plot_scoreboard"}  # the picture of the first screen, and of the README
    kept = {path.stem.partition("-")[0] for path in (*TABLES, *FIGURES)}
    assert {*ROWS, "timing_numbers", *figures} <= kept


def _function(path: Path) -> str:
    return path.stem.partition("-")[0]


@pytest.mark.parametrize("name", sorted({_function(path) for path in TABLES}))
def test_no_two_columns_of_a_table_could_be_exchanged_unseen(name: str) -> None:
    apart: dict[tuple[str, str], bool] = defaultdict(bool)
    for path in TABLES:
        if _function(path) == name:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)
            for one, two in itertools.combinations(sorted(frame.columns), 2):
                apart[one, two] |= list(frame[one]) != list(frame[two])
    assert not [pair for pair, differ in apart.items() if not differ]


@pytest.mark.parametrize("name", sorted({_function(path) for path in TABLES}))
def test_no_two_rows_of_a_table_could_be_exchanged_unseen(name: str) -> None:
    for path in TABLES:
        if _function(path) == name:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)
            assert not frame.duplicated().any(), path


def test_a_number_in_a_figure_may_not_move() -> None:
    kept = '{"line": "- None", "x": [0.0, 1.0], "y": [0.05, null]}'
    moved = kept.replace("0.05", "0.0500001")
    assert _same(json.loads(kept), json.loads(kept.replace("0.05", "0.05000000000001")))
    assert not _same(json.loads(kept), json.loads(moved))
    assert not _same(json.loads(kept), json.loads(kept.replace("null", "0.0")))

"""What a notebook may be given: read without running anything, checked in the notebook itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from usjp_research.runs.batch import check_jobs
from usjp_research.runs.job import Job
from usjp_research.runs.parameters import check_cells, declared
from usjp_research.spec.records import find_root
from usjp_research.words import InputError

ROOT = find_root(Path(__file__))
CELL = """params: str = "params"  # a folder
sector: str = "power"
what_if: dict = {}
level: float | None = None
"""
IMPORT = "import usjp_research as ur\n\nur.check_parameters()"


def _given(*lines: str) -> str:
    return "\n".join(["# Parameters", *lines, ""])


def _namespace(*cells: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for cell in cells:
        exec(cell, names)
    return names


REFUSED = [
    ([CELL, _given('sektor = "x"')], "unknown parameter 'sektor': did you mean 'sector'?"),
    ([CELL, _given('what_if = "abc"')], "'what_if': seen 'abc' (str), expected dict"),
    ([CELL, _given("params = 3")], "'params': seen 3 (int), expected str"),
    ([CELL, _given('level = "high"')], "'level': seen 'high' (str), expected float | None"),
    # edited by hand
    ([CELL.replace('"power"', "5")], "'sector': seen 5 (int), expected str"),
    ([CELL + 'sektor = "mining"\n'], "unknown parameter 'sektor': did you mean 'sector'?"),
    (
        [CELL, CELL.replace("sector:", "sektor:")],
        "'sector' is no longer set: did you mean 'sektor'?",
    ),
    # a heading like papermill's over the notebook's own cell
    (["# Parameters\n" + CELL, _given("whatif = {}")], "'whatif': did you mean 'what_if'?"),
    (["title = 'x'\n", _given("titel = 'y'")], "'titel': did you mean 'title'?"),
    (["%matplotlib inline", "print(1)"], "run the parameters cell, then this one"),
]


@pytest.mark.parametrize(("cells", "words"), REFUSED, ids=lambda part: str(part)[-50:])
def test_a_wrong_parameter_is_refused_with_its_nearest_name_or_type(
    cells: list[str], words: str
) -> None:
    values = _namespace(*(cell for cell in cells if not cell.startswith("%")))
    with pytest.raises(InputError) as caught:
        check_cells(["", *cells, IMPORT], values)
    assert str(caught.value).endswith(words)


@pytest.mark.parametrize(
    "cells",
    [
        [CELL],
        [CELL, _given('sector = "mining"', "level = 1")],
        [CELL, _given('sektor = "x"'), CELL, _given('sector = "mining"')],  # put right, run again
        [CELL, IMPORT, "x = 3", "sektor = 4", CELL.replace("power", "mining")],
        ["# Parameters\n" + CELL, _given("what_if = {}")],
        ["title = 'x'\nn = 3\n", _given("n = 4")],
    ],
)
def test_good_parameters_and_other_cells_pass(cells: list[str]) -> None:
    values = _namespace(*(cell for cell in cells if cell != IMPORT))
    check_cells(["", *cells, IMPORT], values)


def test_a_notebook_saved_as_a_script_runs_on() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import usjp_research as ur; ur.check_parameters(); print('ran')"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "ran\n", done.stderr


def test_no_code_of_a_notebook_runs_in_the_process_that_reads_it(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    evil = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    hints = [evil, repr(evil), f"list[{evil}]", f"Literal[{evil}]", f"int | {evil}"]
    hints += [f"(lambda: {evil})()", f"[{evil} for _ in 'x'][0]", f"Optional[{evil!r}]"]
    lines = [f"a{k}: {hint} = 1" for k, hint in enumerate(hints)] + [f"b = {evil}"]
    new: Any = nbformat.v4
    cell = new.new_code_cell("\n".join(lines), metadata={"tags": ["parameters"]})
    path = tmp_path / "evil.ipynb"
    nbformat.write(new.new_notebook(cells=[cell]), path)  # type: ignore[no-untyped-call]
    check_jobs([Job("one", path, {"a0": "anything", "b": 1})])
    assert not mark.exists()


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        ("int | None", [1, None], ["x", 1.5, True]),
        ("'Optional[int]'", [1, None], ["x"]),
        ("typing.Union[int, str]", [1, "x"], [1.5, None]),
        ("Literal['a', -1]", ["a", -1], ["b", 1]),
        ("dict[str, list[float]]", [{}, {"a": [1.0]}], [{"a": 1.0}, {1: []}]),
        ("tuple[int, ...]", [(), (1, 2)], [("x",), [1]]),
        ("List[int]", [[1]], [["x"]]),
        ("set", [{1}], [[1]]),
        ("Any", [1, None, "x"], []),
        ("Spec", [1, None, "x"], []),  # only the notebook knows
        ("int" + " | int" * 20_000, [1], []),
        ("list[" * 40 + "int" + "]" * 40, [[]], [1]),
    ],
    ids=lambda part: str(part)[:30],
)
def test_annotations_are_read_as_literals_and_known_names(
    hint: str, good: list[object], bad: list[object]
) -> None:
    try:
        known = declared(f"import typing\nx: {hint} = 1")
    except (RecursionError, MemoryError, SyntaxError):
        assert len(hint) > 1000
        return
    assert not [value for value in good if known["x"].fault("x", value)]
    assert not [value for value in bad if not known["x"].fault("x", value)]


def test_plain_papermill_ends_in_the_first_cell_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(PapermillExecutionError) as caught:
        papermill.execute_notebook(
            str(ROOT / "notebooks" / "2_event_study.ipynb"),
            str(tmp_path / "out.ipynb"),
            {"sektor": "x"},
            cwd=str(ROOT),
            progress_bar=False,
            kernel_name="python3",
        )
    assert caught.value.ename == "InputError"
    assert caught.value.evalue.endswith("unknown parameter 'sektor': did you mean 'sector'?")
    assert caught.value.traceback == [f"InputError: {caught.value.evalue}"]
    executed: Any = nbformat.read(tmp_path / "out.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    ran = [c for c in executed.cells if c.cell_type == "code" and c.execution_count]
    assert [cell.source for cell in ran if "check_parameters" in cell.source] == [ran[-1].source]

"""One line per sector: numbers as the market saw them, sizes nobody can use as words."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.study.by_hand import small_market, small_sample, small_spec
from usjp_research.report.results import save_study
from usjp_research.report.summary import Line, summary
from usjp_research.runs.store import read_results
from usjp_research.study.answer import run_study
from usjp_research.study.verdict import CASES, Implied, Verdict

NONE: dict[str, Any] = dict(announced=1.0, market_value=9.0, valued=3, firms=3)
NONE |= dict(lines=(), left_out=(), spent={}, revenue={}, profit={}, after_tax={}, dollars={})


def _row(name: str = "solar", high: float = 0.004, **more: Any) -> dict[str, Any]:
    share = {"low": high / 4, "base": high / 2, "high": high} if high else {}
    numbers = dict(effect=-0.02, low=-0.06, high=0.05, mde=0.08, headline="cannot say")
    by_case = dict.fromkeys(CASES, "cannot say")
    row = dict(name=name, kind="sector", events=("N1",), sign=1, by_case=by_case)
    return Verdict(**{**row, "implied": Implied(share=share, **NONE), **numbers, **more}).numbers()


def _lines(*rows: dict[str, Any], contrast: Any = None, **words: Any) -> list[Line]:
    return summary({"study": {"rows": rows, "contrast": contrast}, "words": words})


def test_a_line_says_what_moved_what_it_is_worth_and_by_how_much_that_is_too_small() -> None:
    (line,) = _lines(_row(remark="careful"), sectors={"solar": "Solar & Storage"})
    assert (line.label, line.verdict, line.notes) == ("Solar & Storage", "cannot say", ("careful",))
    assert (line.moved, line.interval) == ("−2.0%", "−6.0% to +5.0%")
    assert (line.worth_up_to, line.too_small) == ("0.4%", "20x")
    assert line.too_small_by == pytest.approx(20) and line.worth == 0.004


@pytest.mark.parametrize(
    ("high", "worth", "too_small"),
    [
        (0.00099, "<0.1%", "81x"),
        (0.00002, "<0.1%", "over 1,000x"),
        (-0.00002, "−0.1%", "over 1,000x"),
        (0.031, "3.1%", "2.6x"),
        (-0.031, "−3.1%", "2.6x"),
        (0.09, "9.0%", "big enough"),
        (0.0, "none", "–"),
    ],
)
def test_sizes_that_nobody_can_use_are_words(high: float, worth: str, too_small: str) -> None:
    (line,) = _lines(_row(high=high))
    assert (line.worth_up_to, line.too_small) == (worth, too_small)


def test_a_sector_without_a_verdict_has_no_numbers_and_its_reason() -> None:
    silent = Verdict("rail", "sector", (), 1, Implied(share={}, **NONE), reason="no firm is left")
    line = _lines(_row(), silent.numbers())[1]
    assert (line.moved, line.interval, line.worth_up_to, line.too_small) == ("–", "–", "none", "–")
    assert line.verdict == "no verdict" and line.notes == ("no verdict: no firm is left",)
    assert all(map(math.isnan, (line.effect, line.low, line.worth, line.too_small_by)))


def test_the_contrast_comes_last_with_the_firm_it_rests_on_and_its_caveat() -> None:
    carried: Any = dict(
        headline="rests on one firm: S04", rests_on="S04", reason="by the rule priced"
    )
    row = _row("solar: named minus unnamed", kind="contrast", **carried)
    first, last = _lines(_row(), contrast=row, caveats={"contrast": "Few firms."})
    assert not first.contrast and last.contrast and not first.notes
    assert last.label == "Solar: named minus unnamed" and last.notes[-1] == "Few firms."
    assert last.notes[0].startswith("rests on one firm: S04 (by the rule priced")


def test_a_fall_that_was_expected_is_below_zero_and_says_so() -> None:
    fell, mixed = _lines(_row(high=0.004, sign=-1), _row("rail", sign=0))
    assert (fell.moved, fell.interval, fell.worth_up_to) == ("+2.0%", "−5.0% to +6.0%", "−0.4%")
    assert fell.notes == ("expected to fall",)
    assert mixed.moved == "−2.0%" and "expected of each event" in mixed.notes[0]


def test_lines_of_a_run_say_what_its_tables_say(tmp_path: Path) -> None:
    study = run_study(small_sample(small_spec(tmp_path), *small_market()))
    save_study(study, tmp_path / "run")
    results = read_results(tmp_path / "run")
    lines = summary(results)
    says = {row["sector"]: row["too_small_by"] or math.nan for row in results["says"]}
    assert says and any(map(math.isfinite, says.values()))
    for line in lines[: len(study.rows)]:
        assert line.too_small_by == pytest.approx(says[line.name], nan_ok=True)
    alone = summary({**results, "says": []})  # as of a study that has one rule
    assert [line.too_small for line in alone] == [line.too_small for line in lines]

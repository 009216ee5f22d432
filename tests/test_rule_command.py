"""``usjp rule``: the table that chose the second rule's controls, on any market."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

from usjp_research.spec.records import find_root
from usjp_research.study import quiet

Own = Callable[..., Path]
Run = Callable[..., Result]
QUIET = find_root(Path(__file__)) / "docs" / "quiet"
FILES = ("candidates.csv", "candidate-sectors.csv")
THESIS = """valued_on: 2024-03-01
values_as_of: 2024-03-01
margin: 0.1
tax: 0.2
discount_rate: 0.08
years_to_cash: 5
realised: {approved: 1.0}
"""
STUDY = "least_shifts: 90\nsecond: {controls: [donor/food], chosen_on: 2024-01-05}\n"


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare two sets of controls and ridge, with few draws."""
    monkeypatch.setattr(quiet, "MOST", 1)
    monkeypatch.setattr(quiet, "DRAWS", 20)


@pytest.mark.soak  # that the study uses what the table chose is held in study/test_quiet
def test_the_table_of_the_documentation_is_what_the_command_writes(
    usjp: Run, tmp_path: Path, quiet_once: None
) -> None:
    result = usjp("rule", "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    for name in FILES:
        now, kept = (pd.read_csv(folder / name) for folder in (tmp_path, QUIET))
        pd.testing.assert_frame_equal(now, kept, rtol=1e-4)
    assert "no return after 2025-06-12 was read" in result.stdout
    assert "study.yaml has frozen the same, on 2026-11-29" in result.stdout


def test_a_study_of_ones_own_gets_its_own_table_and_is_told_what_is_frozen(
    own: Own, prices: Path, usjp: Run, tmp_path: Path, brief: None
) -> None:
    words = ("rule", "--params", own(thesis=THESIS, study=STUDY), "--market", f"file:{prices}")
    result = usjp(*words, "--out", tmp_path / "made")
    assert result.exit_code == 0, result.stderr
    table, sectors = (pd.read_csv(tmp_path / "made" / name) for name in FILES)
    assert list(table["controls"].iloc[:2]) == [0, 1] and table["chosen"].sum() == 1
    assert list(table["candidate"])[::2] == ["no control", "ridge on all"]
    assert len(sectors) == 2 * len(table) and sectors["mde"].gt(0).all()
    assert "Solar" in result.stdout and "quiet calendars; no return after 2024-0" in result.stdout
    assert "on 2024-01-05; the study uses those" in result.stdout
    none = own(thesis=THESIS, study=STUDY.replace(", chosen_on: 2024-01-05", ""))
    assert "has frozen none" in usjp("rule", "--params", none, "--market", f"file:{prices}").stdout


REFUSED = {
    "one rule": ({"thesis": THESIS}, "study.yaml: there is no 'second'"),
    "no market value": ({"study": STUDY}, "rule 2 has no sector that it could test: solar: N1"),
    "short": (
        {"study": STUDY.replace("90", "300"), "thesis": THESIS},
        "quiet calendars with complete returns before the first event, the rule asks for 300",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compared_is_refused_in_one_line(
    case: str, own: Own, prices: Path, usjp: Run
) -> None:
    texts, words = REFUSED[case]
    result = usjp("rule", "--params", own(**texts), "--market", f"file:{prices}")
    assert result.exit_code == 2 and result.stdout == ""
    assert words in result.stderr.splitlines()[-1] and "Traceback" not in result.stderr


def test_simulated_returns_have_no_averages_of_outside_firms(own: Own, usjp: Run) -> None:
    result = usjp("rule", "--params", own(thesis=THESIS, study=STUDY), "--market", "simulated")
    assert result.exit_code == 2 and "give prices with --market file:PATH" in result.stderr

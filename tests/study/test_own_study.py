"""Two CSV files make a study: a user's own sectors and events, from prices to verdicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import usjp_research
from tests.conftest import EVENTS, UNIVERSE, write_study
from usjp_research.__main__ import app
from usjp_research.spec.read import read_spec
from usjp_research.study.answer import Study, run_study, what_if
from usjp_research.study.sample import sample

FILES = (
    *("verdicts.json", "words.yaml", "reactions.csv", "variants.csv", "timing.csv"),
    *("calendar.csv", "claims.csv", "dropped.csv"),
)
# Twelve firms of 10 USD bn each are worth 120, so the implied value is G when
# amount x years x realised x listed share x margin x (1 - tax) / (1 + rate)^years_to_cash = 120 G.
AMOUNT = 120 * 1.05**2 / (4 * 0.5 * 0.25 * 0.10 * 0.80)
THESIS = """valued_on: 2024-12-31
values_as_of: 2024-12-31
margin: {margin}
tax: 0.20
discount_rate: 0.05
years_to_cash: 2
realised: {{approved: 0.5}}
lines:
  - {{id: A1, sector: {sector}, title: panels, amount_usd_bn: {amount}, years: 4, basis: list,
     realised: approved, firms: {{{ticker}: 0.15}}, other_listed: 0.10, source: paper}}
"""
Run = Callable[..., Result]
Own = Callable[..., Path]


def _strict(text: str) -> dict[str, Any]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    content = json.loads(text, parse_constant=refuse)
    assert isinstance(content, dict)
    return content


def _rows(result: Result) -> dict[str, dict[str, Any]]:
    assert result.exit_code == 0, result.stderr
    return {row["name"]: row for row in _strict(result.stdout)["rows"]}


def _words(folder: Path, prices: Path, out: Path, *more: object) -> list[str]:
    words = ("study", "--params", folder, "--market", f"file:{prices}", "--out", out, "--no-pages")
    return [str(word) for word in (*words, *more)]


@pytest.fixture(scope="module")
def plain(prices: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The folder of a study of two files, its run in ``out``, and what the command printed."""
    folder = write_study(tmp_path_factory.mktemp("plain"))
    words = _words(folder, prices, folder.parent / "out", "--json")
    return folder, CliRunner().invoke(app, words)


def test_a_universe_and_events_are_enough_and_the_planted_effect_is_found(
    plain: tuple[Path, Result],
) -> None:
    rows = _rows(plain[1])
    assert list(rows) == ["solar", "rail"]
    solar, rail = rows["solar"], rows["rail"]
    assert solar["low"] > 0 and solar["low"] < 3 * 0.08 < solar["high"]
    assert solar["p_stepdown"] < 0.01
    assert rail["low"] < 0 < rail["high"]
    for row in rows.values():
        assert row["headline"] == "no implied value"
        assert row["events"] == ["N1", "N2", "N3"]
    assert "Traceback" not in plain[1].stderr


def test_every_results_file_is_there_and_can_be_read(plain: tuple[Path, Result]) -> None:
    folder, result = plain[0].parent / "out" / "results", plain[1]
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert f"Results: {folder}" in result.stderr
    assert _strict((folder / "verdicts.json").read_text("utf-8")) == _strict(result.stdout)
    tables = {name: pd.read_csv(folder / name) for name in FILES if name.endswith(".csv")}
    assert list(tables["calendar.csv"]["id"]) == ["N1", "N2", "N3"]
    assert list(tables["calendar.csv"]["new_york"]) == ["2024-03-05", "2024-04-09", "2024-05-14"]
    assert set(tables["reactions.csv"]["sector"]) == {"solar", "rail"}
    assert len(tables["reactions.csv"]) == 6
    assert set(tables["variants.csv"]["sector"]) == {"solar", "rail"}
    assert "own news not checked" in " ".join(tables["dropped.csv"]["reason"])


def test_one_line_of_dollars_turns_no_implied_value_into_a_verdict(
    plain: tuple[Path, Result], own: Own, prices: Path, usjp: Run, tmp_path: Path
) -> None:
    before = _rows(plain[1])
    text = THESIS.format(sector="solar", ticker="S00", amount=AMOUNT * 0.24, margin=0.10)
    after = _rows(usjp(*_words(own(thesis=text), prices, tmp_path / "after", "--json")))
    row = after["solar"]
    assert row["implied"]["share"]["base"] == pytest.approx(0.24)
    assert row["headline"] == "priced in"
    assert (row["low"], row["high"]) == (before["solar"]["low"], before["solar"]["high"])
    assert after["rail"]["headline"] == "no implied value"


@pytest.fixture
def judged(own: Own, prices: Path) -> Study:
    """A study whose thesis implies 24% for both sectors; solar gained it, rail did not move."""
    text = THESIS.format(sector="solar", ticker="S00", amount=AMOUNT * 0.24, margin=0.10)
    line = text[text.index("  - {id") :].replace("A1", "A2").replace("solar", "rail")
    spec = read_spec(own(thesis=text + line.replace("S00", "R00")))
    return run_study(sample(spec, f"file:{prices}"))


VERDICTS = {
    0.24: ("priced in", "not priced in"),
    0.60: ("partly priced in", "not priced in"),
    0.10: ("more than priced in", "not priced in"),
    -0.24: ("moved against", "not priced in"),
    0.002: ("more than priced in", "cannot say"),
}


def test_the_same_intervals_give_every_verdict_as_the_implied_value_moves(judged: Study) -> None:
    for implied, headlines in VERDICTS.items():
        rows = what_if(judged, {"margin": 0.10 * implied / 0.24})
        assert tuple(row.headline for row in rows) == headlines, implied
        assert [(row.low, row.high) for row in rows] == [(r.low, r.high) for r in judged.rows]
        assert [row.implied.share["base"] for row in rows] == pytest.approx([implied] * 2)


def test_another_events_file_replaces_the_events(
    own: Own, prices: Path, usjp: Run, tmp_path: Path
) -> None:
    other = tmp_path / "quiet.csv"
    other.write_text(
        "id,announced,zone,role,title,solar,rail\n"
        "Q1,2023-10-03 10:00,America/New_York,primary,quiet,+,+\n"
        "Q2,2023-11-07 10:00,America/New_York,primary,quiet too,+,-\n",
        encoding="utf-8",
    )
    out = tmp_path / "out"
    rows = _rows(usjp(*_words(own(), prices, out, "--json", "--events", other)))
    assert rows["solar"]["events"] == ["Q1", "Q2"]
    assert rows["solar"]["low"] < 0 < rows["solar"]["high"]
    calendar = pd.read_csv(out / "results" / "calendar.csv")
    assert list(calendar["id"]) == ["Q1", "Q2"]


def test_one_sector_is_printed_alone_with_the_interval_of_the_family_in_every_part(
    own: Own, prices: Path, usjp: Run, tmp_path: Path
) -> None:
    universe = UNIVERSE.replace("\n", ",\n").replace("usd_bn,", "usd_bn,named_event", 1)
    for k in range(3):
        universe = universe.replace(f"S{k:02d},solar,10,", f"S{k:02d},solar,10,N1")
    events = EVENTS + "L1,2024-02-06 10:00,America/New_York,leak,leaked,+,+\n"
    study = "contrast: {sector: solar, event: N1}\ncampaign: [N1, N3]\n"
    words = _words(own(universe=universe, events=events, study=study), prices, tmp_path / "out")
    rail = usjp(*words, "--sector", "rail")
    assert rail.exit_code == 0 and "Rail" in rail.stdout and "Solar" not in rail.stdout
    whole = _strict((tmp_path / "out/results/verdicts.json").read_text("utf-8"))
    parts = ("rows", "leak_inclusive", "campaign")
    assert all({row["name"] for row in whole[part]} == {"solar", "rail"} for part in parts)
    for sector, contrast in (("rail", None), ("solar", whole["contrast"])):
        alone = _strict(usjp(*words, "--json", "--sector", sector).stdout)
        for part in parts:
            assert alone[part] == [row for row in whole[part] if row["name"] == sector]
        assert alone["contrast"] == contrast
    assert whole["contrast"]["name"].startswith("solar")


def test_a_sector_without_expected_sign_has_no_verdict_and_the_others_have(
    own: Own, prices: Path, usjp: Run, tmp_path: Path
) -> None:
    events = EVENTS.replace(",+,+", ",+,0")
    words = _words(own(events=events), prices, tmp_path / "out", "--json", "--sector", "rail")
    result = usjp(*words)
    (row,) = _rows(result).values()
    assert row["headline"] == "no verdict" and "no primary event" in row["reason"]
    assert row["effect"] is None and set(row["by_case"].values()) == {"no verdict"}
    assert "'rail' has no verdict" in result.stderr and "dropped.csv" in result.stderr
    dropped = pd.read_csv(tmp_path / "out/results/dropped.csv").set_index("name")
    assert "no primary event has an expected sign" in str(dropped.loc["rail", "reason"])


def _late_mirror(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(mirror=frame["us_market"].where(frame.index >= "2023-09-01"))


def _gap_before_an_event(frame: pd.DataFrame) -> pd.DataFrame:
    solar = [name for name in frame.columns if name.startswith("S")]
    frame.loc["2024-02-08":"2024-02-29", solar] = np.nan
    return frame


@pytest.mark.parametrize("change", [_late_mirror, _gap_before_an_event])
def test_what_only_a_variant_lacks_does_not_cost_the_verdicts(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    own: Own,
    prices: Path,
    usjp: Run,
    tmp_path: Path,
) -> None:
    path = tmp_path / "gaps.csv"
    change(pd.read_csv(prices, index_col="date", parse_dates=True)).to_csv(path)
    rows = _rows(usjp(*_words(own(), path, tmp_path / "out", "--json")))
    assert rows["solar"]["low"] > 0


def test_the_command_gives_the_same_answer_in_a_process_of_its_own(
    plain: tuple[Path, Result], prices: Path, tmp_path: Path
) -> None:
    words = _words(plain[0], prices, tmp_path / "one", "--json")
    root = Path(usjp_research.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "usjp_research", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert _strict(done.stdout) == _strict(plain[1].stdout)

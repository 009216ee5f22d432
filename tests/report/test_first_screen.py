"""The first screen: its headline, numbers and bars follow from the results, and read as text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from justhtml import JustHTML

from usjp_research.report.first_screen import FirstScreen, first_screen, head
from usjp_research.report.site import brief_page
from usjp_research.study.second import BELOW
from usjp_research.study.verdict import CASES, Implied, Verdict

NONE: dict[str, Any] = dict(announced=1.0, market_value=9.0, valued=3, firms=3)
NONE |= dict(lines=(), left_out=(), spent={}, revenue={}, profit={}, after_tax={}, dollars={})
Screen = Callable[..., FirstScreen]


def _row(name: str, worth: float = 0.004, **more: Any) -> dict[str, Any]:
    share = {"low": worth / 4, "base": worth / 2, "high": worth} if worth else {}
    numbers = dict(effect=0.01, low=-0.03, high=0.05, mde=0.08, headline="cannot say")
    row = dict(name=name, kind="sector", events=("N1",), sign=1)
    row |= dict(by_case=dict.fromkeys(CASES, "cannot say"), implied=Implied(share=share, **NONE))
    return Verdict(**{**row, **numbers, **more}).numbers()


@pytest.fixture
def screen(tmp_path: Path) -> Screen:
    """Compose the first screen of a run with such rows."""

    def make(*rows: dict[str, Any], contrast: Any = None, **files: str) -> FirstScreen:
        folder = tmp_path / "results"
        folder.mkdir(exist_ok=True)
        study = {"rows": rows, "contrast": contrast, "alpha": 0.1, "spec": "a", "snapshot": "b"}
        study |= {"schema": 1, "data": {"last": "2026-07-31"}}
        study |= {"rule": {"second": {"material": 0.05}}}
        (folder / "verdicts.json").write_text(json.dumps(study), encoding="utf-8")
        for name, text in files.items():
            (folder / f"{name}.csv").write_text(text, encoding="utf-8")
        return first_screen(tmp_path)

    return make


def test_a_thesis_that_no_price_could_show_says_so_and_what_it_can_have_brought(
    screen: Screen,
) -> None:
    found = screen(_row("solar", 0.02), _row("rail"))
    assert found.headline == (
        "Even if it is right, the thesis is too small to show in any sector’s prices; on its news "
        "Solar gained at most 5.0%"
    )
    assert [value for value, _ in found.numbers] == ["2.0%", "8.0%", "0 of 2"]
    assert found.dates == "prices to 31 Jul 2026"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (
            [_row("solar", 0.02, high=-0.01)],
            "the prices of Solar; on its news Solar did not gain",
        ),
        ([_row("solar", -0.02)], "on its news Solar lost at most 3.0%"),
        ([_row("solar", -0.02, low=0.01)], "on its news Solar did not lose"),
        ([_row("solar", 0.02), _row("rail", 0.2), _row("ships", 0)], "in one of three sectors’"),
        ([_row("solar", 0), _row("rail", 0)], "no sector moved beyond what quiet dates show"),
        ([_row("solar", 0, low=0.002)], "On the news Solar (+1.0%) moved beyond"),
    ],
)
def test_the_headline_is_the_finding_whatever_it_is(
    screen: Screen, rows: list[dict[str, Any]], told: str
) -> None:
    assert told in screen(*rows).headline


def test_where_the_thesis_is_large_enough_the_headline_is_the_verdict(screen: Screen) -> None:
    found = screen(
        _row("solar", 0.1, headline="priced in"), _row("rail", 0.09, headline="priced in")
    )
    assert found.headline == "Solar and Rail moved by what the thesis is worth: it is priced in."


def test_the_lead_says_what_is_ruled_out_and_what_the_same_rule_did_see(screen: Screen) -> None:
    says = "sector,excludes_gain\nsolar,1\nrail,1\nships,0\n"
    control = "sector,effect,low,high,p\nmirror,0.039,0.02,0.05,0.002\n"
    rows = [_row("solar"), _row("rail"), _row("ships")]
    lead = screen(*rows, says=says, control=control).lead
    assert "At 90%, a gain of 5% or more on the news is ruled out in Solar and Rail." in lead
    assert any("gained 3.9% beyond the market" in text and "p 0.002" in text for text in lead)
    unseen = screen(*rows, control=control.replace("0.02,", "-0.02,")).lead
    assert not any("gained" in text for text in unseen)


def test_bars_lie_on_one_scale_and_every_mark_says_its_numbers(screen: Screen) -> None:
    named = _row("solar: named", 0.03, low=0.02, high=0.16, effect=0.09, kind="contrast")
    text = screen(_row("solar", 0.02), _row("rail"), contrast=named).html()
    page = JustHTML(text, sanitize=False)
    bars = [svg.to_html() for svg in page.query("td.bar svg") if "role" in (svg.attrs or {})]
    assert len(bars) == 3 and all("<title>" in bar and "moved +" in bar for bar in bars)
    ends = [tuple(map(float, re.findall(r'x[12]="([\d.]+)%"', bar)[2:4])) for bar in bars]
    zero = {re.findall(r'x1="([\d.]+)%"', bar)[0] for bar in bars}
    assert len(zero) == 1 and ends[0] == ends[1]
    (zero_at,) = map(float, zero)
    per_point = (ends[0][1] - zero_at) / 5
    assert ends[2][1] - zero_at == pytest.approx(16 * per_point, abs=0.05)
    assert zero_at - ends[0][0] == pytest.approx(3 * per_point, abs=0.05)


def test_without_a_thesis_the_bars_are_held_against_none(screen: Screen) -> None:
    assert "against what the thesis is worth" in screen(_row("solar", 0.02)).html()
    assert "against what" not in screen(_row("solar", 0)).html()


def test_without_styles_it_reads_and_nothing_in_it_depends_on_one(screen: Screen) -> None:
    text = screen(_row("solar", 0.02), _row("<b>rail</b>", 0)).html("run on 1 Aug 2026")
    assert "style" not in text and "<b>rail" not in text
    words = " ".join(JustHTML(text, sanitize=False).to_text().split())
    assert "prices to 31 Jul 2026 · run on 1 Aug 2026" in words
    assert re.search(r"\+1\.0% \(−3\.0% to \+5\.0%\)\W+2\.0%\W+4\.0x", words), words


def test_a_sector_that_could_not_be_judged_has_a_row_and_no_bar(screen: Screen) -> None:
    silent = Verdict("rail", "sector", (), 1, Implied(share={}, **NONE), reason="no firm").numbers()
    row = screen(_row("solar"), silent).html().partition(">Rail<")[2]
    assert "<circle" not in row and "no verdict" in row
    assert screen(silent).numbers == ()


def test_a_verdict_that_rests_on_a_fall_says_so_under_its_row(screen: Screen) -> None:
    told = "The verdict rests on a fall: a move by what the thesis is worth would be too small"
    fell = _row("solar", effect=-0.04, low=-0.09, high=0.003, remark=f"{BELOW}; and more")
    text = screen(fell, _row("rail")).html()
    assert text.count("rests on a") == 1
    assert f'<td colspan="5">{told}' in text.partition(">Solar<")[2].partition(">Rail<")[0]
    rose = _row("solar", -0.004, effect=0.04, low=-0.003, high=0.09, remark=BELOW)
    assert "rests on a rise" in screen(rose).html()


def test_the_published_power_row_says_that_it_rests_on_a_fall(finished: Path) -> None:
    lines = {line.name: line.rests for line in first_screen(finished).lines}
    assert "a fall" in lines.pop("power_utilities") and not any(lines.values())


def test_the_brief_of_a_run_has_screen_findings_method_and_how_to_cite(finished: Path) -> None:
    page = JustHTML(brief_page(finished), sanitize=False)
    assert page.query("h1")[0].to_text() == first_screen(finished).headline
    assert head(finished, {}).count("data:image/png") == 1
    text = page.to_text()
    assert "How to cite:" in text and "quiet dates" in text and len(page.query("ol li")) >= 9
    assert not page.query("script, link, iframe")

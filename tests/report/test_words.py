"""What is said is true of the study at hand: direction, names, digits, one mark for one thing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from click.testing import Result
from typer.testing import CliRunner

import usjp_research as ur
from tests.conftest import DOLLARS, EVENTS, SIGNS, Own
from usjp_research.__main__ import app
from usjp_research.report.figures import says
from usjp_research.report.tables import told_row, verdict_words
from usjp_research.report.theme import tick_digits
from usjp_research.spec.records import MIRROR
from usjp_research.study.verdict import CASES, NUMBERS, Implied, Verdict, verdict_of
from usjp_research.words import (
    NOT_COUNTED,
    InputError,
    between,
    dated,
    label,
    level,
    moved,
    naming,
    number,
    p_value,
    percent,
    scrub,
)

MINUS = "\N{MINUS SIGN}"
OF_JAPAN = re.compile(
    r"Japan|Jefferies|Tomahawk|six sectors|tariff|\bE05\b|\bE17\b|Power & Utilities|uranium"
    r"|nuclear|\bpact\b|bargain|Cameco|broker|White House|Pharma|Defense|written after",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def visible(fallen: Own) -> dict[str, str]:
    """What a reader of each page sees or hears, code cells aside."""
    shown = {}
    for path in sorted((fallen.run / "site").glob("*.html")):
        soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for node in soup.select("style, script, details.code, details.parameters"):
            node.decompose()
        told = soup.select("[alt], [aria-label]")
        heard = [str(node.get("alt") or node.get("aria-label")) for node in told]
        shown[path.name] = " ".join(" ".join([soup.get_text(" "), *heard]).split())
    return shown


def _verdict(**more: object) -> Verdict:
    share = {"low": 0.01, "base": 0.03, "high": 0.05}
    flat: dict[str, float] = dict.fromkeys(CASES, 1.0)
    implied = Implied(share, flat, flat, flat, flat, flat, 9.0, 200.0, 12, 12, ("A1",), ())
    row = {
        **dict.fromkeys(("error", "statistic", "center", "critical", "mde"), 0.05),
        **dict.fromkeys(("p", "p_stepdown", "p_holm", "p_bh"), 0.2),
        **{"name": "solar", "kind": "sector", "events": ("N1",), "effect": 0.086, "low": 0.02},
        **{"high": 0.15, "marginal_low": 0.03, "marginal_high": 0.14, "implied": asdict(implied)},
        **{"by_case": dict.fromkeys(CASES, "priced in"), "headline": "priced in", "reason": ""},
        **{"remark": "", "breakeven_share": 0.4, "sign": 1, "rests_on": ""},
    }
    return verdict_of(row | more)


# --- direction ---------------------------------------------------------------------------------


def test_a_row_that_was_expected_to_fall_is_told_in_market_direction_everywhere() -> None:
    row = _verdict(sign=-1)
    (cells,) = ur.table("verdicts", [row]).to_dict("records")
    assert cells["Observed"] == "fell 8.6%; expected: down"
    assert cells["Interval"] == f"{MINUS}15.0% to {MINUS}2.0%"
    assert cells["Implied low / base / high"] == f"{MINUS}1.0% / {MINUS}3.0% / {MINUS}5.0%"
    assert cells["Upper end, USD bn"] == f"{MINUS}30 (lower end)"
    assert told_row(row).ruled_out() == "a fall of more than 15.0%"
    picture = ur.plot_scoreboard([row])
    assert "observed fell 8.6%; expected: down, interval" in picture.alt
    (axes,) = picture.axes
    bar = next(line for line in axes.lines if line.get_linewidth() == 5)
    assert np.array_equal(bar.get_xdata(), [-0.15, -0.02])
    assert "expected: down" in says(row)
    points = np.concatenate([np.asarray(line.get_xdata(), float) for line in axes.lines[1:]])
    assert len(points) == 6 and points.max() < 0  # bar, dot, range and diamond: all of a fall
    assert row.effect == 0.086  # the files keep the signed statistic


def test_a_rise_against_an_expected_fall_is_a_rise() -> None:
    row = _verdict(sign=-1, effect=-0.086, low=-0.15, high=-0.02)
    assert told_row(row).observed() == "rose 8.6%; expected: down"
    assert told_row(row).interval() == "+2.0% to +15.0%"
    assert told_row(row).ruled_out() == "any fall"
    (cells,) = ur.table("verdicts", [row]).to_dict("records")
    assert cells["Upper end, USD bn"] == "–"


def test_a_thesis_of_losses_expects_a_fall_of_what_counts_as_it_is() -> None:
    implied = asdict(_verdict().implied) | {"share": dict(low=-0.01, base=-0.03, high=-0.05)}
    row = _verdict(implied=implied, effect=-0.086, low=-0.15, high=-0.02)
    (cells,) = ur.table("verdicts", [row]).to_dict("records")
    assert cells["Observed"] == "fell 8.6%; expected: down"
    assert cells["Interval"] == f"{MINUS}15.0% to {MINUS}2.0%"
    assert cells["Implied low / base / high"].startswith(f"{MINUS}1.0% / ")
    assert cells["Upper end, USD bn"] == f"{MINUS}30 (lower end)"


def test_events_of_both_signs_are_told_in_the_expected_direction() -> None:
    row = _verdict(sign=0)
    (cells,) = ur.table("verdicts", [row]).to_dict("records")
    assert cells["Observed"] == "8.6% in the expected direction"
    assert told_row(row).ruled_out() == "a move of more than 15.0% in the expected direction"
    assert moved(-0.02, 0) == "2.0% against the expected direction"
    assert moved(0.0001, -1) == moved(-0.0001, 0) == "0.0%"


def test_the_row_of_a_study_knows_which_sign_it_carries(fallen: Own) -> None:
    rows = {
        r["name"]: r for r in json.loads((fallen.run / "results/verdicts.json").read_text())["rows"]
    }
    assert rows["solar"]["sign"] == -1 and rows["solar"]["effect"] > 0.1
    assert rows["rail"]["sign"] == 0
    timing = pd.read_csv(fallen.run / "results" / "timing.csv")
    assert set(timing.loc[timing["sector"] == "solar", "sign"]) == {-1}


def test_the_terminal_the_first_page_and_the_notebooks_tell_the_fall(
    fallen: Own, visible: dict[str, str]
) -> None:
    seen = re.search(rf"Solar +{MINUS}(\d+\.\d)%", fallen.printed)
    assert seen and "expected to fall" in " ".join(fallen.printed.split())
    front = visible["index.html"]
    assert f"fell {seen[1]}%; expected: down" in front
    assert f"Solar (fell {seen[1]}%) moved beyond what quiet dates show" in front
    assert "a fall of more than" in front and "in the expected direction" in front
    assert f"+{seen[1]}%" not in front
    for name in ("5_robustness-solar.html", "2_event_study-solar.html"):
        assert f"fell {seen[1]}" in visible[name], name


def test_a_loss_beside_an_expected_fall_is_refused_because_it_would_count_twice(
    own: Callable[..., Path],
) -> None:
    thesis = DOLLARS.replace(
        "low: 0.04, base: 0.08, high: 0.12", "low: -0.1, base: -0.08, high: -0.04"
    )
    with pytest.raises(InputError, match=r"thesis\.yaml: key 'margin'.*'N1'.*'solar' to fall"):
        ur.read_spec(own(events=SIGNS, thesis=thesis))
    assert ur.read_spec(own(thesis=thesis)).thesis  # a loss alone is a direction of its own


# --- another study's pages -----------------------------------------------------------------------


def test_pages_of_another_study_speak_of_no_other(visible: dict[str, str]) -> None:
    assert len(visible) == 6
    for name, text in visible.items():
        found = OF_JAPAN.search(text)
        assert not found, f"{name}: {text[max(0, found.start() - 80) : found.end() + 40]}"


def test_pages_show_no_half_made_number(visible: dict[str, str]) -> None:
    for name, text in visible.items():
        wrong = rf"\bnan\b|\bNone\b(?! of)|{MINUS}0\.0%|\b0\.000\b|\d<0\.001"
        found = re.search(wrong, text)
        assert not found, f"{name}: {text[max(0, found.start() - 60) : found.end() + 20]}"


def test_the_command_speaks_of_no_study() -> None:
    for words in (["--help"], ["study", "--help"], ["site", "--help"]):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0
        assert not OF_JAPAN.search(done.stdout), words


def test_words_of_a_study_are_on_its_pages_and_in_no_digest(
    own: Callable[..., Path], prices: Path, usjp: Callable[..., Result], tmp_path: Path
) -> None:
    before = ur.digest(ur.read_spec(own()))
    (own() / "words.yaml").write_text(
        "question: Is the sun priced in?\nprovenance: The rule is older than the events.\n"
        "sectors: {solar: Sun & Sons}\ncaveats: {solar: It shone.}\nnotes: {limits: No moon.}\n"
        "events: {N1: Dawn}\n",
        encoding="utf-8",
    )
    spec = ur.read_spec(own())
    assert ur.digest(spec) == before
    assert label("solar") == "Sun & Sons" and label("rail") == "Rail"
    assert dated("N1", date(2024, 3, 5)) == "Dawn, 5 Mar"
    assert dated("N2", date(2024, 3, 15)) == "N2, 15 Mar"
    assert str(ur.note(spec, "limits")) == "No moon." and ur.note(spec, "rule") is None
    words = ["study", "--params", own(), "--market", f"file:{prices}", "--no-pages"]
    done = usjp(*words, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.stderr
    for text in ("Sun & Sons", "It shone.", "The rule is older than the events."):
        assert text in done.stdout
    ur.read_spec()
    assert label("solar") == "Solar"
    assert ur.first_screen(tmp_path / "run").lines[0].label == "Sun & Sons"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("sectors: {solr: Sun}\n", r"words\.yaml: key 'sectors': unknown 'solr'.*'solar'"),
        ("caveats: {contrst: x}\n", r"words\.yaml: key 'caveats': unknown 'contrst'.*'contrast'"),
        ("events: {N9: x}\n", r"words\.yaml: key 'events': unknown event 'N9' .*N1"),
        (f"events: {{N1: {'x' * 25}}}\n", r"words\.yaml: key 'events\.N1'.*24"),
        ("notes: {limit: x}\n", r"words\.yaml: unknown key 'notes\.limit'.*'limits'"),
        ("titel: x\n", r"words\.yaml: unknown key 'titel'"),
    ],
)
def test_misspelt_words_are_refused_with_the_nearest_name(
    own: Callable[..., Path], text: str, wrong: str
) -> None:
    (own() / "words.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=wrong):
        ur.read_spec(own())


def test_an_unknown_place_of_a_note_is_refused(spec: ur.Spec) -> None:
    with pytest.raises(InputError, match="unknown note 'limit': did you mean 'limits'"):
        ur.note(spec, "limit")


def test_a_key_without_a_name_is_its_words_and_names_end_with_their_block() -> None:
    with naming({MIRROR: "Far basket"}):
        assert label("solar_power: named minus unnamed") == "Solar power: named minus unnamed"
        assert label(MIRROR) == "Far basket"
        with naming({"solar_power": "Sun"}):
            assert label("solar_power") == "Sun"
        assert label("solar_power") == "Solar power"


def test_a_study_without_the_rule_s_names_has_none_of_another_s(own: Callable[..., Path]) -> None:
    rule = ur.read_spec(own(events=EVENTS.replace("N1", "E05").replace("N2", "E34"))).rule
    assert (rule.cleanest, rule.note, rule.campaign, rule.contrast, rule.mirror) == (
        *("", "", None, None),
        (),
    )


# --- numbers -------------------------------------------------------------------------------------


def test_every_number_has_one_form() -> None:
    ps = [p_value(p) for p in (0.0004, 0.001, 0.0996, 1.0)]
    assert ps == ["<0.001", "0.001", "0.100", "1.000"]
    assert {percent(None), number(None, 1), p_value(float("nan")), between(None, 0.1)} == {"–"}
    assert number(-0.0004, 2) == "0.00" and percent(-0.0004) == "0.0%"
    assert between(-0.02, 0.03) == f"{MINUS}2.0% to +3.0%"
    assert (level(0.1), level(0.05), level(0.025)) == ("90%", "95%", "97.5%")


def test_the_folder_of_work_is_taken_out_of_a_text_whole_wherever_its_home_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for here, home in ((tmp_path / "project", tmp_path), (tmp_path, tmp_path / "project")):
        here.mkdir(exist_ok=True)
        monkeypatch.chdir(here)
        monkeypatch.setattr(Path, "home", lambda home=home: home)
        assert scrub(f"saved {tmp_path}/project/results/rows.csv") == "saved …/results/rows.csv"


def test_small_p_values_are_below_a_thousandth_in_every_table() -> None:
    p = 0.00004
    row = _verdict(p=p, p_stepdown=p)
    contrast = replace(row, name="solar: named minus unnamed", kind="contrast")
    variants = pd.DataFrame([{"version": "the rule", "sector": "solar", "sign": 1, "effect": 0.01}])
    variants = variants.assign(marginal_low=0.0, marginal_high=0.02, p=p)
    event: dict[str, object] = {"event": "N1", "role": "primary", "sector": "solar"}
    event |= {"session": "2024-03-05"}
    event |= {"sign": 1, "caar": 0.01, "se": 0.01, "se_guarded": 0.02, "portfolio_t": 9.0}
    event |= {"portfolio_p": p, "firms": 12, "caar_without_blackout": np.nan, "blackout": "x"}
    for table in (
        ur.table("verdicts", [row]),
        ur.table("contrast", [contrast], []),
        ur.table("variants", variants),
        ur.table("reactions", pd.DataFrame([event]), ["primary"]),
    ):
        text = table.to_string()
        assert "<0.001" in text and "0.000" not in text
    assert "<0.001" in row._repr_html_() or "&lt;0.001" in row._repr_html_()


def test_a_row_without_numbers_keeps_its_reason_and_shows_dashes() -> None:
    implied = asdict(_verdict().implied) | {"share": {}, "market_value": None}
    why = {"headline": "no verdict", "reason": "no firm has a price"}
    gone = dict.fromkeys((*NUMBERS, "breakeven_share"))
    row = _verdict(**gone, **why, implied=implied)
    (cells,) = ur.table("verdicts", [row]).to_dict("records")
    assert cells["Verdict"] == "no verdict: no firm has a price"
    numbers = ("Observed", "Interval", "Adjusted p", "MDE", "Upper end, USD bn")
    assert {cells[name] for name in numbers} == {"–"}
    picture = ur.plot_scoreboard([_verdict(name="rail"), row])
    assert "no verdict: no firm has a price" in [t.get_text() for t in picture.axes[0].texts]
    assert all(np.isfinite(line.get_ydata()).all() for line in picture.axes[0].lines)
    assert "no firm has a price" in picture.alt and "nan" not in picture.alt


def test_one_firm_is_named_before_the_verdict_that_it_carries() -> None:
    head, reason = "rests on one firm: GEV", "by the rule priced in"
    row = _verdict(headline=head, reason=reason, rests_on="GEV", remark="3 named firms")
    words = "rests on one firm: GEV (by the rule priced in) (3 named firms)"
    assert verdict_words(row) == words
    assert says(row) == "rests on one firm: GEV; by the rule priced in"


# --- pictures ------------------------------------------------------------------------------------


def test_labels_of_an_axis_have_the_digits_of_its_step() -> None:
    ticks = ([-0.05, 0, 0.05], [-0.025, 0, 0.025], [0, 0.00125])
    assert [tick_digits(places) for places in ticks] == [0, 1, 3]
    day = pd.date_range("2024-03-04", periods=3)
    picture = ur.plot_sectors(pd.DataFrame({"rail": [0.0, 0.026, -0.026]}, index=day), {})
    (axes,) = picture.axes
    axes.set_yticks([-0.025, 0.0, 0.025])
    picture.svg()
    words = [tick.get_text() for tick in axes.get_yticklabels()]
    assert words == [f"{MINUS}2.5%", "0.0%", "+2.5%"]


def _reactions() -> pd.DataFrame:
    rows = [
        ("N1", "solar", 1, 0.05, "x"),
        ("N2", "solar", -1, -0.05, "x"),
        ("N1", "rail", 0, 0.05, "x"),
        ("N2", "rail", 1, 0.001, "x"),
        ("N1", MIRROR, 0, -0.03, "not a sector"),
        ("N2", MIRROR, 0, 0.02, "not a sector"),
    ]
    frame = pd.DataFrame(rows, columns=["event", "sector", "sign", "caar", "blackout"])
    return frame.assign(role="primary", se_guarded=0.01, session="2024-03-05")


def test_what_does_not_count_has_one_mark_on_every_page_and_never_brackets(
    visible: dict[str, str],
) -> None:
    picture = ur.plot_events(_reactions(), 0.1)
    assert f"Rail: N1, 5 Mar +5.0% {NOT_COUNTED}, N2, 5 Mar +0.1%" in picture.alt
    assert f"({NOT_COUNTED}) do not count" in picture.alt
    beside = {text.get_text() for axes in picture.axes for text in axes.texts}
    assert {f"+5.0% {NOT_COUNTED}", "+0.1%"} <= beside
    front = visible["index.html"]
    assert re.search(rf"[\d.]+% {NOT_COUNTED}", front)
    assert not re.search(r"\([+−]?\d+\.\d%\)", front.partition("How each sector moved")[2][:800])

"""Every sentence of the reading is true for the numbers it was made from, and changes with them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from usjp_research.report.reading import Reading, compose, ruled_out, save_reading, verdicts
from usjp_research.runs.store import read_results
from usjp_research.spec.records import Words
from usjp_research.words import InputError, naming

NAMES = {
    "power_utilities": "Power & Utilities",
    "mining_metals": "Mining & Metals",
    "pharma_biotech": "Pharma & Biotech",
}


def _row(name: str, **more: Any) -> dict[str, Any]:
    about = dict(name=name, events=["E1"], headline="cannot say", reason="too small to see")
    numbers = dict(effect=0.01, low=-0.05, high=0.06, mde=0.08, p=0.5, p_stepdown=0.8, p_holm=0.9)
    numbers |= dict(p_bh=0.9, marginal_low=-0.03, marginal_high=0.04, breakeven_share=1.7)
    share = dict(low=0.001, base=0.002, high=0.004)
    implied = dict(share=share, firms=12, announced=50.0, market_value=900.0)
    return {**about, **numbers, "sign": 1, "implied": implied, **more}


@pytest.fixture
def results() -> dict[str, Any]:
    none = dict(share={}, firms=9, announced=0.0, market_value=900.0)
    rows = [
        _row("power_utilities", breakeven_share=0.6),
        _row("mining_metals", mde=0.2, high=0.15),
        _row("pharma_biotech", headline="no implied value", reason="", implied=none)
        | {"breakeven_share": None},
    ]
    named = dict(share=dict(low=0.01, base=0.03, high=0.05), firms=3)
    contrast = "power_utilities: named minus unnamed"
    few = "worth about 4 independent"
    moves = zip(NAMES, (-0.07, 0.30, 0.27), strict=True)
    study = {
        "rows": rows,
        "contrast": _row(contrast, effect=0.09, low=0.02, high=0.16, mde=0.1, implied=named),
        "contrast_versions": [],
        "leak_inclusive": copy.deepcopy(rows),
        "campaign": [_row(name, effect=effect, reason=few) for name, effect in moves],
        **dict(alpha=0.1, power=0.8, shifts=497, independent_shifts=146, critical=2.34),
        **dict(spec="a", snapshot="b"),
    }
    quiet = {"sign": 1, "p": 0.5, "p_family": 0.8, "low": -0.1, "high": 0.1, "effect": 0.0}
    timing = [
        {"check": check, "title": check.capitalize(), "sector": row["name"], **quiet}
        for check in ("runup", "event", "after", "leak")
        for row in rows
    ]
    more: dict[str, Any] = {"timing": timing, "variants": [], "exposure": [], "robustness": []}
    more |= {"says": [], "since": [], "control": []}
    return {"study": study, "words": {"sectors": NAMES}, **more}


def _verdicts(results: dict[str, Any]) -> str:
    with naming(Words(**results["words"]).names()):
        return verdicts(results)


def _text(results: dict[str, Any]) -> str:
    found = compose(results)
    return " ".join((_verdicts(results), *found.sentences, found.quant))


def test_a_reading_has_five_to_eight_sentences_and_a_paragraph(results: dict[str, Any]) -> None:
    found = compose(results)
    assert 4 <= len(found.sentences) <= 6
    assert all(text.endswith(".") for text in (*found.sentences, found.quant))


def test_sectors_are_grouped_by_what_the_verdict_says(results: dict[str, Any]) -> None:
    first = _verdicts(results)
    assert "Power & Utilities and Mining & Metals cannot be judged" in first
    assert "Pharma & Biotech cannot be judged, because the thesis puts no dollars there" in first
    results["study"]["rows"][1] |= {"headline": "priced in", "reason": ""}
    first = _verdicts(results)
    assert "Mining & Metals moved by what the thesis is worth: it is priced in" in first
    results["study"]["rows"][0] |= {"headline": "depends on the implied value", "reason": "x"}
    assert "For Power & Utilities the verdict depends" in _verdicts(results)


def test_every_verdict_of_the_rule_has_its_words(results: dict[str, Any]) -> None:
    from usjp_research.report.numbers import PHRASES
    from usjp_research.study.verdict import DEPENDS, NO_VERDICT, VERDICTS

    said = {name for name in PHRASES if name.startswith("verdict: ")} - {"verdict: another"}
    reasons = (", too small to see", ", interval too wide")
    cannot = {f"verdict: cannot say{reason}" for reason in reasons}
    rest = {f"verdict: {name}" for name in (*VERDICTS, DEPENDS, NO_VERDICT)}
    assert said == cannot | rest - {"verdict: cannot say"}


def test_what_is_known_names_the_sectors_that_moved(results: dict[str, Any]) -> None:
    assert "taken together, no sector moved beyond" in _text(results)
    assert "more than 6.0% is ruled out in Power & Utilities, the tightest" in _text(results)
    assert "more than 15.0% is" not in _text(results)
    assert "a rise of more than 15.0% in Mining & Metals, the loosest, all three" in _text(results)
    results["study"]["rows"][1] |= {"low": 0.01, "effect": 0.08}
    assert "Mining & Metals (+8.0%) moved beyond what quiet dates show" in _text(results)


def test_a_contrast_that_other_versions_do_not_share_is_called_one_of_single_firms(
    results: dict[str, Any],
) -> None:
    assert "on very few firms" in _text(results)
    same = _row("power_utilities: also", low=0.01, high=0.2)
    gone = _row("power_utilities: without X", low=-0.05, high=0.1)
    other = _row("power_utilities: another event", low=-0.05, high=0.1, events=["E2"])
    results["study"]["contrast_versions"] = [same, other]
    assert "and so say all other versions (one)" in _text(results)
    results["study"]["contrast_versions"] = [same, gone, other]
    text = _text(results)
    assert 'gone in one of two other versions ("without X")' in text
    assert "more about which firms are counted than about the news" in text
    results["study"]["contrast"] |= {"low": -0.02}
    assert "no difference that stands out" in _text(results)


def test_checks_that_stand_out_are_counted_against_chance(results: dict[str, Any]) -> None:
    words = "0 of 12 checks stand out, each looked at alone, where chance would make about 1"
    assert words in _text(results)
    assert "after the note was published no sector moved, looked at alone" in _text(results)
    late = next(row for row in results["timing"] if row["check"] == "after")
    late |= {"low": 0.02, "effect": 0.06, "p": 0.03, "p_family": 0.08}
    text = _text(results)
    assert "1 of 12 checks stands out" in text
    assert "after the note was published Power & Utilities moved, looked at alone" in text
    assert "adjusted p 0.080" in text
    results["timing"][0]["p"] = None
    assert "1 of 11 checks" in _text(results)


def test_gains_follow_the_dollars_only_when_they_do(results: dict[str, Any]) -> None:
    assert "so the gains do not follow the dollars" in _text(results)
    results["study"]["campaign"][0]["effect"] = 0.4
    results["study"]["campaign"][1]["effect"] = 0.3
    assert "as dollars would have it" in _text(results)


def test_what_would_change_the_verdict_depends_on_the_break_even(results: dict[str, Any]) -> None:
    assert "60% of the announced dollars as profit" in _text(results)
    assert "news worth 10% of their market value to the firms that it names" in _text(results)
    results["study"]["rows"][0]["breakeven_share"] = 1.2
    assert "even every announced dollar as profit" in _text(results)


def test_the_quant_s_paragraph_has_the_law_the_smallest_p_and_what_leaks_change(
    results: dict[str, Any],
) -> None:
    results["study"]["rows"][1] |= {"p": 0.061, "p_stepdown": 0.2}
    results["study"]["leak_inclusive"][1] |= {"headline": "moved against"}
    results["variants"] = [
        {"sector": "mining_metals", "p": 0.04},
        {"sector": "power_utilities", "p": 0.4},
        {"sector": "mirror", "p": 0.01},
    ]
    quant = compose(results).quant
    for words in (
        "497 shifts",
        "about 146 independent",
        "2.34 standard errors",
        "Smallest adjusted p: Mining & Metals, 0.061 alone, 0.200 step-down",
        'Mining & Metals becomes "moved against"',
        "Of 2 versions of the statistics 1 has p below 0.1 alone (Mining & Metals)",
    ):
        assert words in quant


def test_other_yardsticks_are_counted_where_they_differ_from_the_rule(
    results: dict[str, Any],
) -> None:
    assert "yardsticks" not in _text(results)
    flat = {"effect": 0.01, "low": -0.1, "high": 0.1}
    results["robustness"] = [
        {"sector": "power_utilities", "model": model, **flat} for model in ("rule", "a", "b")
    ]
    same = "against two other yardsticks, looked at alone, Power & Utilities says the same"
    assert same in _text(results)
    results["robustness"][2] |= {"low": 0.005}
    words = "Power & Utilities stands out in 1 of 2 (by the study’s own it does not)"
    assert words in _text(results)
    results["robustness"][0] |= {"low": 0.002}
    assert words.replace(" not)", ")") in _text(results)
    results["robustness"][2] |= {"effect": None, "low": None}
    assert "against one other yardstick, " in _text(results)


def test_the_slope_is_in_cents_and_says_when_one_firm_carries_it(results: dict[str, Any]) -> None:
    assert "each dollar announced" not in _text(results)
    row = {
        **{"reason": "", "slope": 0.04, "low": -0.01, "high": 0.09, "firms": 250},
        **{"implied": {"low": 0.01, "high": 0.05}, "top_share": 0.4},
    }
    results["exposure"] = [row, {"reason": "needs single firms", "slope": None}]
    text = _text(results)
    assert "4.0 cents of its market value (−1.0 cents to 9.0 cents)" in text
    assert "the thesis implies 1.0 cents to 5.0 cents" in text
    assert "one firm carries" not in text
    row["top_share"] = 0.8
    one = "The slope on dollars rests on one firm, which carries 80% of it, and so says little"
    assert one in _text(results)
    row |= {"slope": None, "low": None, "high": None, "p": 0.002}
    assert f"{one} about dollars: across 250" in _text(results)
    assert "went with an unusual reaction (p 0.002)." in _text(results)
    row |= {"p": 0.0004, "rests_on": "GEV"}
    assert "rests on one firm (GEV), which" in _text(results)
    assert "(p <0.001)" in _text(results)
    row |= {"p": 0.4}
    assert "went with no unusual reaction (p 0.400)" in _text(results)


def test_missing_parts_make_no_sentence(results: dict[str, Any]) -> None:
    results["study"] |= {"contrast": None, "campaign": [], "leak_inclusive": []}
    results["timing"] = []
    text = _text(results)
    for words in ("sharper", "Before and after", "whole stretch", "leak", "campaign"):
        assert words not in text


def test_the_reading_comes_from_files_and_other_studies_records_are_not_used(
    tmp_path: Path, results: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=r"verdicts\.json"):
        read_results(tmp_path)
    folder = tmp_path / "results"
    folder.mkdir()
    study = {"schema": 1, **results["study"]}
    (folder / "verdicts.json").write_text(json.dumps(study), encoding="utf-8")
    for sector, digest in (("solar", "a"), ("rail", "other")):
        content = {"spec": digest, "snapshot": "b", "numbers": {}}
        path = folder / f"5_robustness-{sector}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        frame = pd.DataFrame({"model": ["m"], "effect": [0.1], "gap": [float("nan")]})
        frame.to_parquet(folder / f"5_robustness-{sector}-rows.parquet")
    want = [{"sector": "solar", "model": "m", "effect": 0.1, "gap": None}]
    assert read_results(tmp_path)["robustness"] == want
    saved = save_reading(tmp_path)
    again = json.loads((folder / "reading.json").read_text(encoding="utf-8"))
    assert Reading(tuple(again["sentences"]), again["quant"], again["findings"]) == saved


def test_a_reading_shows_itself_as_text_and_not_as_markup(results: dict[str, Any]) -> None:
    results["study"]["rows"][0]["name"] = "<script>x</script>"
    assert "<script>" not in compose(results)._repr_html_()


# --- true for numbers of every kind ------------------------------------------------------------


def test_what_was_expected_to_fall_is_told_as_a_fall(results: dict[str, Any]) -> None:
    rows = results["study"]["rows"]
    rows[1] |= {"sign": -1, "effect": 0.086, "low": 0.02, "high": 0.15, "headline": "priced in"}
    rows[1] |= {"reason": ""}
    text = _text(results)
    assert "taken together, Mining & Metals (fell 8.6%) moved beyond" in text
    assert "a fall of more than 15.0% in Mining & Metals, the loosest" in text
    rows[1] |= {"sign": 1, "effect": -0.086, "low": -0.15, "high": -0.02}
    rows[1]["implied"]["share"] = {"low": -0.01, "base": -0.02, "high": -0.04}
    text = _text(results)
    assert "Mining & Metals (fell 8.6%) moved beyond" in text
    assert "a fall of more than 15.0% in Mining & Metals, the loosest" in text
    rows[1] |= {"sign": 0, "effect": 0.086, "low": 0.02, "high": 0.15}
    rows[1]["implied"]["share"] = {}
    text = _text(results)
    assert "Mining & Metals (8.6% in the expected direction) moved beyond" in text
    assert "a move of more than 15.0% in the expected direction in Mining" in text
    timing = next(row for row in results["timing"] if row["check"] == "leak")
    timing |= {"sign": -1, "low": 0.01, "effect": 0.02, "p": 0.0001, "p_family": 0.0002}
    assert "(fell 2.0%, adjusted p <0.001)" in _text(results)


def test_a_row_that_moved_against_leaves_out_any_move_the_expected_way(
    results: dict[str, Any],
) -> None:
    results["study"]["rows"][0] |= {"low": -0.09, "high": -0.01, "effect": -0.05}
    assert "at 90%, any rise is ruled out in Power & Utilities, the tightest" in _text(results)
    results["study"]["rows"][0] |= {"sign": -1}
    assert "at 90%, any fall is ruled out in Power & Utilities" in _text(results)


def test_nobody_together_and_somebody_alone_are_both_said(results: dict[str, Any]) -> None:
    pharma = results["study"]["rows"][2]
    pharma |= {"effect": 0.04, "marginal_low": 0.01, "marginal_high": 0.08, "p": 0.03}
    text = _text(results)
    assert "taken together, no sector moved beyond what quiet dates show, though looked at" in text
    assert "though looked at alone Pharma & Biotech (+4.0%, p 0.030) did;" in text
    pharma |= {"low": 0.001}
    assert "taken together, Pharma & Biotech (+4.0%) moved beyond what quiet dates show;" in _text(
        results
    )


def test_one_sector_is_not_called_several(results: dict[str, Any]) -> None:
    study = results["study"]
    study["rows"], study["campaign"] = study["rows"][:1], study["campaign"][:1]
    text = _text(results)
    assert "What is known: no sector moved beyond what quiet dates show; at 90%, a rise" in text
    for words in ("together", "at once", "tightest", "sectors moved"):
        assert words not in text
    assert "Power & Utilities moved by −7% against the market" in text


def test_a_sector_without_firms_has_its_reason_and_no_number(results: dict[str, Any]) -> None:
    numbers = ("effect", "low", "high", "mde", "p", "p_stepdown", "p_holm", "p_bh")
    empty = dict.fromkeys((*numbers, "marginal_low", "marginal_high", "breakeven_share"))
    empty |= {"headline": "no verdict", "reason": "none of its 9 firms has a price"}
    empty |= {"implied": {"share": {}, "firms": 0, "announced": 0.0, "market_value": None}}
    results["study"]["rows"][2] |= empty
    text = _text(results)
    assert "Pharma & Biotech cannot be judged at all: none of its 9 firms has a price" in text
    assert "both at once" in text
    for row in results["study"]["rows"]:
        row |= empty
    results["study"] |= {"contrast": None, "campaign": [], "critical": None, "leak_inclusive": []}
    results["timing"] = []
    found = compose(results)
    assert not found.sentences
    assert _verdicts(results) == (
        "All three sectors cannot be judged at all: none of its 9 firms has a price."
    )
    assert found.quant == "No sector has numbers."
    assert "nan" not in _text(results).lower() and "None" not in _text(results)


def test_why_there_is_no_implied_value_is_the_true_reason(results: dict[str, Any]) -> None:
    pharma = results["study"]["rows"][2]
    pharma["implied"] |= {"announced": 8.0, "market_value": None}
    assert "Pharma & Biotech cannot be judged, because the market value of no" in _text(results)
    pharma["implied"] |= {"market_value": 5.0}
    assert "because the thesis comes to nothing there" in _text(results)
    for row in results["study"]["rows"]:
        row |= {"headline": "no implied value", "reason": ""}
        row["implied"] |= {"announced": 0.0, "share": {}}
    text = _text(results)
    assert "because no thesis in dollars is given" in text


def test_a_contrast_that_one_firm_makes_is_headed_by_the_firm(results: dict[str, Any]) -> None:
    results["study"]["contrast"] |= {"rests_on": "GEV"}
    assert (
        "The sharper comparison rests on one firm, GEV, without which it would say something else: "
        "three named against unnamed firms of Power & Utilities show +9.0% (+2.0% to +16.0%)."
    ) in compose(results).sentences
    results["study"]["contrast"] |= {"rests_on": ""}
    turned = _row("power_utilities: turned", low=-0.2, high=-0.1)
    results["study"]["contrast_versions"] = [turned]
    assert "but it is gone or turned round in one of one other versions" in _text(results)
    results["study"]["contrast"]["implied"]["firms"] = 12
    results["study"]["contrast_versions"] = []
    assert "very few firms" not in _text(results)


def test_what_is_ruled_out_by_one_rule_is_held_against_the_other(results: dict[str, Any]) -> None:
    results["study"] |= {"headline_rule": 2, "rule": {"second": {"material": 0.05}}}
    results["says"] = [{"sector": "power_utilities", "excludes_gain": 1}]
    for ends, told in (
        ((0.04, 0.06), "by the older rule, which sees less, in one."),
        ((0.07, 0.06), "in none."),
    ):
        results["study"]["rule_1"] = [{"sign": 1, "low": -0.1, "high": end} for end in ends]
        assert ruled_out(results).endswith(told)


def test_yardsticks_that_point_the_other_way_do_not_say_the_same(results: dict[str, Any]) -> None:
    results["robustness"] = [
        {"sector": "power_utilities", "model": "rule", "effect": 0.05, "low": 0.01, "high": 0.09},
        {"sector": "power_utilities", "model": "a", "effect": -0.05, "low": -0.09, "high": -0.01},
    ]
    words = "Power & Utilities stands out in 0 of 1 (by the study’s own it does), and the other way"
    assert f"; against one other yardstick, looked at alone, {words} in 1" in _text(results)
    results["study"]["headline_rule"] = 2
    assert "; by rule 1, against one other yardstick" in _text(results)
    results["robustness"][1] |= {"low": 0.02, "high": 0.07}
    assert "looked at alone, Power & Utilities says the same" in _text(results)


def test_the_reading_speaks_of_the_study_and_of_no_other(results: dict[str, Any]) -> None:
    assert "written after" not in _text(results)
    results["words"] |= {"provenance": "The rule was written before the events."}
    assert compose(results).quant.endswith("The rule was written before the events.")
    results["words"] = {}
    assert "Power utilities and Mining metals cannot be judged" in _text(results)


def test_levels_and_p_values_keep_the_digits_they_need(results: dict[str, Any]) -> None:
    results["study"] |= {"alpha": 0.025, "power": 0.875}
    results["study"]["rows"][0] |= {"p": 0.0996, "p_stepdown": 0.00002}
    text = _text(results)
    assert "at 97.5%, a rise" in text and "87.5% probability" in text
    assert "Power & Utilities, 0.100 alone, <0.001 step-down" in text

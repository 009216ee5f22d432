"""Every sentence of the reading is true for the numbers it was made from, and changes with them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from usjp_research.report.reading import Reading, compose, save_reading
from usjp_research.runs.store import read_results
from usjp_research.words import InputError


def _row(name: str, **more: Any) -> dict[str, Any]:
    row = {
        "name": name,
        "events": ["E1"],
        "headline": "cannot say",
        "reason": "too small to see",
        "effect": 0.01,
        "low": -0.05,
        "high": 0.06,
        "mde": 0.08,
        "p": 0.5,
        "p_stepdown": 0.8,
        "p_holm": 0.9,
        "p_bh": 0.9,
        "implied": {"share": {"low": 0.001, "base": 0.002, "high": 0.004}, "firms": 12},
        "breakeven_share": 1.7,
    }
    return {**row, **more}


@pytest.fixture
def results() -> dict[str, Any]:
    none = {"share": {}, "firms": 9}
    rows = [
        _row("power_utilities", breakeven_share=0.6),
        _row("mining_metals", mde=0.2, high=0.15),
        _row("pharma_biotech", headline="no implied value", reason="", implied=none)
        | {"breakeven_share": None},
    ]
    contrast = _row(
        "power_utilities: named minus unnamed",
        effect=0.09,
        low=0.02,
        high=0.16,
        mde=0.1,
        implied={"share": {"low": 0.01, "base": 0.03, "high": 0.05}, "firms": 3},
    )
    study = {
        "rows": rows,
        "contrast": contrast,
        "contrast_versions": [],
        "leak_inclusive": copy.deepcopy(rows),
        "campaign": [
            _row("power_utilities", effect=-0.07, reason="worth about 4 independent"),
            _row("mining_metals", effect=0.30, reason="worth about 4 independent"),
            _row("pharma_biotech", effect=0.27, reason="worth about 4 independent"),
        ],
        "alpha": 0.1,
        "shifts": 497,
        "independent_shifts": 146,
        "critical": 2.34,
        "spec": "a",
        "snapshot": "b",
    }
    quiet = {"p": 0.5, "p_family": 0.8, "low": -0.1, "high": 0.1, "effect": 0.0}
    timing = [
        {"check": check, "sector": row["name"], **quiet}
        for check in ("runup", "event", "after", "leak")
        for row in rows
    ]
    return {"study": study, "timing": timing, "variants": [], "exposure": [], "robustness": []}


def _text(results: dict[str, Any]) -> str:
    found = compose(results)
    return " ".join((*found.sentences, found.quant))


def test_a_reading_has_five_to_eight_sentences_and_a_paragraph(results: dict[str, Any]) -> None:
    found = compose(results)
    assert 5 <= len(found.sentences) <= 8
    assert all(text.endswith(".") for text in (*found.sentences, found.quant))


def test_sectors_are_grouped_by_what_the_verdict_says(results: dict[str, Any]) -> None:
    first = compose(results).sentences[0]
    assert "Power & Utilities and Mining & Metals cannot be judged" in first
    assert "Pharma & Biotech cannot be judged, because the thesis puts no dollars there" in first
    results["study"]["rows"][1] |= {"headline": "priced in", "reason": ""}
    first = compose(results).sentences[0]
    assert "Mining & Metals moved by what the thesis is worth: it is priced in" in first
    results["study"]["rows"][0] |= {"headline": "depends on the implied value", "reason": "x"}
    assert "for Power & Utilities the verdict depends" in compose(results).sentences[0].replace(
        "For", "for"
    )


def test_every_verdict_of_the_rule_has_its_words(results: dict[str, Any]) -> None:
    from usjp_research.report.reading import SAID
    from usjp_research.study.verdict import VERDICTS

    assert {headline for headline, _ in SAID} == set(VERDICTS)


def test_too_small_to_show_is_said_only_when_every_value_is_below_what_can_be_seen(
    results: dict[str, Any],
) -> None:
    assert "too small for sector prices to show" in _text(results)
    assert "at most 0.40% of a sector's market value" in _text(results)
    results["study"]["rows"][0]["implied"]["share"]["high"] = 0.09
    text = _text(results)
    assert "too small for sector prices to show" not in text
    assert "In Power & Utilities the thesis, in its high case, is worth as much" in text


def test_what_is_known_names_the_sectors_that_moved(results: dict[str, Any]) -> None:
    assert "no sector moved beyond" in _text(results)
    assert "more than 6.0% is ruled out in Power & Utilities, the tightest" in _text(results)
    assert "more than 15.0% in Mining & Metals, the loosest" in _text(results)
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
    assert "single firms than about the pact" in text
    results["study"]["contrast"] |= {"low": -0.02}
    assert "no difference that stands out" in _text(results)


def test_checks_that_stand_out_are_counted_against_chance(results: dict[str, Any]) -> None:
    assert "0 of 12 checks stand out, where chance alone would make about 1" in _text(results)
    assert "no sector moved at an event" in _text(results)
    late = next(row for row in results["timing"] if row["check"] == "after")
    late |= {"low": 0.02, "effect": 0.06, "p": 0.03, "p_family": 0.08}
    text = _text(results)
    assert "1 of 12 checks stand out" in text
    assert "after the note itself was published Power & Utilities moved at an event" in text
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
    assert "sums worth 10% of their market value" in _text(results)
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
        {"sector": "japan_basket", "p": 0.01},
    ]
    quant = compose(results).quant
    for words in (
        "497 shifts",
        "about 146 independent",
        "2.34 standard errors",
        "Mining & Metals, 0.061 alone, 0.200 step-down",
        'Mining & Metals becomes "moved against"',
        "Of 2 versions of the statistics 1 have p below 0.1 alone (Mining & Metals)",
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
    same = "against two other yardsticks, looked at alone, each sector says the same"
    assert same in _text(results)
    results["robustness"][2] |= {"low": 0.005}
    words = "Power & Utilities stands out in 1 of 2 (by the rule's it does not)"
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
    assert "one firm carries 80% of that" in _text(results)
    row |= {"slope": None, "low": None, "high": None, "guarded_p_cdf": 0.002}
    assert "went with an unusual reaction (p 0.002); one firm carries 80%" in _text(results)
    row |= {"guarded_p_cdf": 0.4}
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
    (folder / "verdicts.json").write_text(json.dumps(results["study"]), encoding="utf-8")
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
    assert Reading(tuple(again["sentences"]), again["quant"]) == saved


def test_a_reading_shows_itself_as_text_and_not_as_markup(results: dict[str, Any]) -> None:
    results["study"]["rows"][0]["name"] = "<script>x</script>"
    assert "<script>" not in compose(results)._repr_html_()

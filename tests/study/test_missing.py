"""A sector that cannot be judged keeps its row, and who is missing is said by weight."""

from __future__ import annotations

import ast
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
from typer.testing import Result

import usjp_research as ur
from usjp_research.market.record import Dropped, Market
from usjp_research.report.reading import compose
from usjp_research.runs.store import read_results
from usjp_research.spec.records import find_root
from usjp_research.study.answer import run_study
from usjp_research.study.left_out import by_weight

Own = Callable[..., Path]
Read = Callable[..., ur.Spec]
SECTORS = ("solar", "rail", "ports")
RAIL = [f"R{k:02d}" for k in range(12)]
UNIVERSE = "ticker,sector,market_value_usd_bn\n" + "".join(
    f"{key[0].upper()}{k:02d},{key},{10 + k}\n" for key in SECTORS for k in range(12)
)
HEADER = "id,announced,zone,role,title,solar,rail,ports\n"
EVENTS = HEADER + "".join(
    f"N{k},2024-0{k + 2}-1{k} 10:00,America/New_York,primary,news {k},+,+,+\n" for k in (1, 2, 3)
)


@pytest.fixture
def study(own: Own) -> Read:
    def read(events: str = EVENTS, **texts: str) -> ur.Spec:
        return ur.read_spec(own(universe=UNIVERSE, events=events, **texts))

    return read


def _market(spec: ur.Spec, *without: str) -> Market:
    market = ur.simulated_market(spec, seed=4, first="2021-01-04", last="2024-12-31")
    return replace(market, returns=market.returns.drop(columns=list(without)))


def _notebook(name: str, **given: Any) -> dict[str, Any]:
    """Run a notebook's code in this process; far faster than a kernel, and as strict."""
    found = nbformat.read(find_root(Path(__file__)) / "notebooks" / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    scope: dict[str, Any] = {}
    for cell in (cell for cell in found.cells if cell.cell_type == "code"):
        tree = ast.parse(cell.source)
        shown = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), scope)
        if "parameters" in cell.metadata.get("tags", []):
            scope |= given
        if shown is not None:
            value = eval(compile(ast.Expression(shown.value), name, "eval"), scope)
            for display in ("svg", "_repr_html_"):
                assert getattr(value, display, lambda: "nothing to draw")()
    return scope


SILENT: dict[str, tuple[Callable[[ur.Spec], Market], str, str]] = {
    "no firm of it has prices": (lambda spec: _market(spec, *RAIL), EVENTS, "none of its 12 firms"),
    "too few have prices": (lambda spec: _market(spec, *RAIL[:5]), EVENTS, "7 firms left of 7"),
    "no event has a sign": (_market, EVENTS.replace(",+,+,+", ",+,0,+"), "no primary event has"),
    "its events lie outside": (
        _market,
        EVENTS.replace(",+,+,+", ",+,0,+")
        + "N9,2030-01-07 10:00,America/New_York,primary,late,0,+,0\n",
        "none of its primary events can be tested (N9: day 0 is 2030-01-07",
    ),
}


@pytest.mark.parametrize("why", SILENT)
def test_a_sector_that_cannot_be_judged_keeps_a_row_with_the_reason(
    study: Read, why: str, tmp_path: Path
) -> None:
    make, events, reason = SILENT[why]
    spec = study(events)
    found = run_study(ur.sample(spec, make(spec)))
    assert [row.name for row in found.verdicts] == list(SECTORS)
    row = found.verdicts[1]
    assert (row.headline, row.events) == ("no verdict", ())
    assert reason in row.reason
    assert np.isnan([row.effect, row.low, row.high, row.p_stepdown, row.mde]).all()
    assert found.family.groups == ("solar", "ports")
    assert np.isfinite([found.verdicts[0].effect, found.verdicts[2].low]).all()
    table = ur.table("verdicts", found.rows)
    assert reason[:20] in table["Verdict"][1] and table["Observed"][1] == "–"
    picture = ur.plot_scoreboard(found.rows)
    assert reason[:20] in picture.alt
    assert len(picture.axes[0].get_yticks()) == len(SECTORS)
    assert ur.what_if(found, {}) == found.rows
    assert found.dropped[0] == Dropped("sector", "rail", row.reason)
    assert ur.missing_lines(found)[0].startswith("No verdict for rail: ")
    ur.save_study(found, tmp_path)
    results = read_results(tmp_path)
    assert [r["effect"] is None for r in results["study"]["rows"]] == [False, True, False]
    reading, screen = compose(results), ur.first_screen(tmp_path).html()
    assert "Rail" in screen and row.reason[:20] in screen
    assert "nan" not in " ".join((*reading.sentences, reading.quant)).lower().split()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        *((name, "no firm of it has prices") for name in ("1_data", "4_verdict")),
        *itertools.product(("2_event_study", "5_robustness"), [*SILENT][::2]),
    ],
)
def test_notebooks_of_such_a_sector_say_why_and_do_not_fail(
    study: Read, name: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, events, reason = SILENT[why]
    spec = study(events)
    for place in ("usjp_research", "usjp_research.study.sample"):
        monkeypatch.setattr(f"{place}.load_market", lambda spec, market: make(spec))
    given = {"params": str(tmp_path / "mine"), "out": str(tmp_path / "out")}
    if name in ("2_event_study", "5_robustness"):
        given["sector"] = "rail"
    scope = _notebook(name, **given)
    if name == "2_event_study":
        assert reason in scope["law"].reason
        assert reason in ur.plot_placebo(scope["law"]).alt
        assert reason in ur.table("law", scope["law"]).to_string()
        saved = json.loads((tmp_path / "out/results/2_event_study-rail.json").read_text())
        assert saved["numbers"]["p"] is None
    if name == "5_robustness":
        assert reason in scope["found"].rows["reason"].iloc[0]
        assert reason in ur.table("counterfactuals", scope["found"]).to_string()
    if name == "4_verdict":
        assert scope["study"].verdicts[1].headline == "no verdict"
        assert spec.sectors == SECTORS


def test_where_no_sector_can_be_judged_the_study_is_refused(study: Read) -> None:
    spec = study(EVENTS.replace(",+,+,+", ",0,+,0"))
    with pytest.raises(ur.InputError, match="no sector portfolio can be formed"):
        run_study(ur.sample(spec, _market(spec, *RAIL)))


def test_missing_firms_are_told_by_their_share_of_firms_and_of_value(study: Read) -> None:
    late = "N0,2018-01-08 10:00,America/New_York,primary,early,+,+,+\n"
    spec = study(EVENTS + late)
    found = run_study(ur.sample(spec, _market(spec, "S00", "S11", "P03")))
    lines = ur.missing_lines(found)
    assert lines[0].startswith("Primary event left out, N0: day 0 is 2018-01-08")
    share = round(100 * (10 + 21) / sum(range(10, 22)))
    assert f"Solar: 2 of 12 firms have no prices (17% of its firms, {share}% of its" in lines[1]
    assert lines[1].endswith("S11, S00.")
    assert "Ports: 1 of 12" in lines[2]
    assert f"{len(found.dropped)} things left out in all" in lines[-1]


def test_an_event_that_keeps_some_days_is_cut_and_not_left_out(study: Read) -> None:
    first = EVENTS.splitlines()[1].split(",")
    day = pd.Timestamp(first[1][:10]) + pd.offsets.BDay(2)
    rival = f"R1,{day.date()} 10:00,America/New_York,primary,rival,-,-,-\n"
    spec = study(EVENTS + rival)
    lines = ur.missing_lines(run_study(ur.sample(spec, _market(spec))))
    assert any(line.startswith("Primary event cut, R1: 1 of its 3 days lies") for line in lines)


def test_what_is_left_out_stands_in_the_order_of_its_weight(study: Read) -> None:
    spec = study(EVENTS)
    data = ur.sample(spec, _market(spec, *RAIL))
    heavy = (("sector", "rail"), ("event", "N1"), ("slot", "N1/rail"), ("security", "S11"))
    order = [*heavy, ("security", "S00"), ("day", "2024-01-02")]
    for start in range(len(order)):
        items = [Dropped(*pair, "why") for pair in (*order[start:], *order[:start])]
        assert [(item.what, item.name) for item in by_weight(data, items)] == order


def test_the_command_names_who_is_missing(
    own: Own, prices: Path, usjp: Callable[..., Result], tmp_path: Path
) -> None:
    frame = pd.read_csv(prices, index_col="date")
    frame.drop(columns=RAIL).to_csv(tmp_path / "less.csv")
    words = ("--params", own(), "--market", f"file:{tmp_path / 'less.csv'}", "--no-pages")
    result = usjp("study", *words, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    told = " ".join(result.stdout.split())
    assert "no verdict: no portfolio can be formed (N1: none of its 12 firms has prices)" in told
    assert "No verdict for rail" in told
    assert "things left out in all" in told


def test_a_firm_named_at_an_event_that_nobody_knows_is_refused(own: Own) -> None:
    named = UNIVERSE.replace("ticker,sector,", "ticker,named_event,sector,")
    named = named.replace("S00,", "S00,N7,")
    rows = [line if line.count(",") == 3 else line.replace(",", ",,", 1) for line in named.split()]
    with pytest.raises(
        ur.InputError, match=r"universe.csv: ticker 'S00', column 'named_event': unknown event 'N7'"
    ):
        ur.read_spec(own(universe="\n".join(rows) + "\n", events=EVENTS))

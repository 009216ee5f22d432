"""The command on anybody's panel: strict input, exact output, nothing vanishes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import Result

from tests.battery.slow_battery import agree
from tests.here import refused
from usjp_research.engine.battery.run import run_battery
from usjp_research.market import panel as opened
from usjp_research.market.factors import factor_columns, in_decimals
from usjp_research.market.groups import read_event_dates, read_groups
from usjp_research.market.panel import open_returns
from usjp_research.words import InputError

GOLDEN = Path(__file__).parents[1] / "golden"
RETURNS, GROUPS = GOLDEN / "sim_returns.csv", GOLDEN / "sim_firms.csv"
Run = Callable[..., Result]
_refused = partial(refused, alone=True)
MODELS = {"mm": "market", "mean": "mean", "mktadj": "market_adjusted"}
WINDOWS = ("--window", "0,0", "--window", "-1,1", "--window", "-5,5")
USUAL = ("--benchmark", "MKT", "--event", "2024-02-13", "--estimation", "-260,-11")


@pytest.fixture
def battery(usjp: Run, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run the command on files and read what it wrote."""

    def run(*words: object, returns: Path = RETURNS, groups: Path = GROUPS) -> dict[str, Any]:
        out = tmp_path / "battery.json"
        result = usjp("battery", returns, "--groups", groups, *words, "--json", out)
        assert result.exit_code == 0, result.output
        content = json.loads(out.read_text(encoding="utf-8"))
        assert isinstance(content, dict) and content.pop("provenance")
        return content

    return run


def _panel() -> pd.DataFrame:
    return pd.read_csv(RETURNS, dtype={"date": str})


def _small() -> pd.DataFrame:
    """Two sectors and the factors of the golden returns."""
    return _panel().drop(columns=[f"F{k:02d}" for k in range(9, 37)])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "returns.csv"
    _small().to_csv(path, index=False)
    return path


@pytest.mark.parametrize(("short", "model"), MODELS.items())
def test_the_command_reproduces_the_golden_numbers(
    battery: Callable[..., dict[str, Any]], short: str, model: str
) -> None:
    reference = json.loads((GOLDEN / "reference.json").read_text(encoding="utf-8"))
    done = battery(*USUAL, "--model", model, *WINDOWS)
    assert set(done) == {"ALL", "A", "B", "C", "D", "E", "F", "dropped"}
    assert done["dropped"] == []
    cases = [case for case in reference if case.startswith(f"{short}|")]
    assert {case.split("|")[0] for case in reference} == set(MODELS) and cases
    for case in cases:
        agree(done[case.split("|")[1].replace("ALL36", "ALL")], reference[case], case)


def test_csv_parquet_and_parquet_in_blocks_give_the_same_file(
    battery: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = _small()
    panel.loc[100, "F03"] = np.nan
    panel.to_csv(tmp_path / "r.csv", index=False)
    panel.assign(date=pd.to_datetime(panel["date"])).to_parquet(tmp_path / "r.parquet")
    indexed = panel.assign(date=pd.to_datetime(panel["date"])).set_index("date")
    indexed.to_parquet(tmp_path / "i.parquet")
    groups = pd.read_csv(GROUPS)
    groups[groups["firm"].isin(panel.columns)].to_csv(tmp_path / "g.csv", index=False)
    words = (*USUAL, "--window", "0,0", "--window", "-1,1")
    battery = partial(battery, *words, groups=tmp_path / "g.csv")
    want = battery(returns=tmp_path / "r.csv")
    assert battery(returns=tmp_path / "r.parquet") == want
    monkeypatch.setattr(opened, "IN_MEMORY", 1000)
    monkeypatch.setattr(opened, "BLOCK", 7 * 8 * len(panel))
    for name in ("r.parquet", "i.parquet"):
        assert open_returns(tmp_path / name).chunk == 7
        done = battery(returns=tmp_path / name)
        assert set(done) == set(want)
        agree(done, want)


def test_what_is_left_out_is_listed_with_its_reason(
    battery: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    panel = _panel().drop(columns="F05")
    day0 = panel.index[panel["date"] == "2024-02-13"][0]
    panel.loc[day0 + 1, "F02"] = np.nan
    panel.loc[: day0 - 14, "F03"] = np.nan
    panel["F04"] = 0.001
    panel.to_csv(tmp_path / "r.csv", index=False)
    words = (*USUAL, "--window", "0,0", "--window", "-1,1", "--model", "mean")
    done = battery(*words, returns=tmp_path / "r.csv")
    listed = {(d["what"], d["name"]): d["reason"] for d in done["dropped"]}
    want = {
        ("window [-1;1]", "F02"): "2024-02-14 (day +1)",
        ("firm", "F03"): "too few estimation days: 3 usable, 4 needed",
        ("firm", "F04"): "do not vary",
        ("firm", "F05"): "r.csv",
    }
    assert set(listed) == set(want)
    assert all(words in listed[key] for key, words in want.items())
    assert [done["A"][w]["n"] for w in ("[0;0]", "[-1;1]")] == [3, 2]
    assert done["ALL"]["[0;0]"]["n"] == 33


def test_a_hole_in_the_benchmark_leaves_everybody_out_and_says_so(
    battery: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    panel = _panel()
    panel.loc[panel["date"] == "2024-02-14", "MKT"] = np.nan
    panel.loc[100, "MKT"] = np.nan
    panel.to_csv(tmp_path / "r.csv", index=False)
    done = battery(*USUAL, "--window", "0,0", "--window", "0,1", returns=tmp_path / "r.csv")
    assert done["A"]["[0;1]"]["n"] == 0
    assert done["A"]["[0;1]"]["reasons"]["n"]
    assert "regressors have no value" in done["dropped"][0]["reason"]
    assert done["A"]["[0;0]"]["portfolio_df"] == 247
    assert any(note.startswith("1 of 250 estimation days") for note in done["A"]["[0;0]"]["notes"])


def test_the_json_says_of_which_files_and_choices_it_is(usjp: Run, tmp_path: Path) -> None:
    words = ("battery", RETURNS, "--groups", GROUPS, *USUAL, "--json", tmp_path / "out.json")
    assert usjp(*words).exit_code == 0
    told = json.loads((tmp_path / "out.json").read_text("utf-8"))["provenance"]
    sha = hashlib.sha256(RETURNS.read_bytes()).hexdigest()
    assert told["files"]["returns"] == {"name": RETURNS.name, "sha256": sha}
    assert (told["event"], told["benchmark"], told["windows"]) == ("2024-02-13", "MKT", ["0,0"])
    assert str(RETURNS.parent) not in json.dumps(told)


def test_a_summary_comes_first_and_says_why_a_p_is_missing(usjp: Run) -> None:
    result = usjp("battery", RETURNS, "--groups", GROUPS, *USUAL)
    assert result.exit_code == 0
    head, every, first, *rest = result.stdout.splitlines()
    heads = ["Group", "Window", "CAAR", "Firms", "Effective", "p", "adj_bmp_t", "p", "placebo_t"]
    assert head.split() == heads
    assert every.split() == ["ALL", "[0;0]", "+1.88%", "36", "15.6", "0.187", "–"]
    assert first.split() == ["A", "[0;0]", "+4.84%", "6", "2.9", "0.010", "–"]
    text = "\n".join(rest)
    assert text.count("placebo_t: not computed, fewer than 99 earlier dates") == 1
    assert "corrado" not in text and max(map(len, result.stdout.splitlines())) <= 80


def test_with_all_tests_are_grouped_by_robustness(usjp: Run) -> None:
    result = usjp("battery", RETURNS, "--groups", GROUPS, *USUAL, "--all")
    assert result.exit_code == 0
    text = result.stdout[result.stdout.index("ALL [0;0]: ") :]
    order = [
        text.index(f"  {word}\n")
        for word in ("headline", "cross-check", "survives cross-correlation")
    ]
    assert order == sorted(order)
    assert text.index("adj_bmp_t") < text.index("corrado_z") < text.index("  bmp_t ")
    assert "not to be believed here" in text
    assert "36 firms count as 15.6 independent ones" in text


# --- factors -----------------------------------------------------------------------------------


def test_factors_come_from_the_panel_or_a_file_in_percent_or_decimals(
    battery: Callable[..., dict[str, Any]], small: Path, tmp_path: Path
) -> None:
    inside, panel = battery(*USUAL, "--model", "ff3", returns=small), _small()
    french = (
        pd.DataFrame({"Mkt-RF": panel["MKTRF"], "SMB": panel["SMB"], "HML": panel["HML"]}) * 100
    )
    french.insert(0, "date", panel["date"].str.replace("-", ""))
    french["RF"] = panel["RF"] * 100
    french.to_csv(tmp_path / "percent.csv", index=False)
    decimals = panel[["date", "MKTRF", "SMB", "HML", "RF"]].rename(
        columns={"MKTRF": "mkt_rf", "SMB": "smb3", "HML": "hml", "RF": "rf"}
    )
    decimals.assign(smb5=0.5).to_parquet(tmp_path / "decimals.parquet")
    for name in ("percent.csv", "decimals.parquet"):
        given = battery(*USUAL, "--model", "ff3", "--factors", tmp_path / name, returns=small)
        agree(given, inside, rel=1e-8)


@pytest.mark.parametrize(
    ("spread", "rate", "units", "words"),
    [
        (0.01, 0.0001, "percent", "declare the other unit"),
        (1.0, 0.01, "decimal", "declare the other unit"),
        (0.01, np.nan, "auto", "factor 'rf' has no value"),
        (0.1, 0.0001, "auto", "cannot be told apart; give --factor-units"),
        (0.1, 0.0001, "percent", ""),
    ],
)
def test_a_unit_that_makes_the_market_absurd_is_refused(
    spread: float, rate: float, units: str, words: str
) -> None:
    draw = np.random.default_rng(1).standard_normal(300)
    factors = {"mkt_rf": spread * draw, "rf": np.full(300, rate)}
    if not words:
        assert in_decimals(factors, units, "f")["rf"][0] == pytest.approx(rate / 100)
        return
    with pytest.raises(InputError, match=words):
        in_decimals(factors, units, "f")


def test_three_factor_models_take_the_three_factor_size_factor() -> None:
    names = ["Mkt-RF", "SMB", "smb3", "smb5", "RF"]
    assert factor_columns(names, ["smb3", "smb5"], "f") == {"smb3": "smb3", "smb5": "smb5"}
    assert factor_columns(names[:2], ["smb5"], "f") == {"smb5": "SMB"}
    with pytest.raises(InputError, match=r"factor 'mom' is missing: seen Mkt-RF, SMB"):
        factor_columns(names, ["mom"], "f")
    with pytest.raises(InputError, match="'Mkt-RF' and 'MKTRF' are both"):
        factor_columns([*names, "MKTRF"], ["mkt_rf"], "f")


# --- bad input ---------------------------------------------------------------------------------

BAD_WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "benchmark": (("--benchmark", "MKTT"), ("unknown benchmark 'MKTT'", "did you mean 'MKT'")),
    "model": (("--model", "markt"), ("unknown model 'markt'", "did you mean 'market'")),
    "no such day": (("--event", "2024-02-11"), ("2024-02-11", "next day there is 2024-02-12")),
    "outside": (("--event", "2030-01-01"), ("2030-01-01", "the file runs from 2023-01-03")),
    "no date": (("--event", "13.2.2024"), ("'13.2.2024'", "YYYY-MM-DD")),
    "window": (("--window", "1,-1"), ("window 1,-1", "the end comes before the start")),
    "window text": (("--window", "one"), ("--window 'one'", "such as -1,1")),
    "estimation": (
        ("--estimation", "-260,-1", "--window", "-1,1"),
        ("before the first event day",),
    ),
    "too early": (("--estimation", "-400,-11"), ("290 days stand before", "needs 400")),
    "too late": (("--window", "0,99"), ("29 days stand after", "needs 99")),
    "factor": (("--model", "ff5"), ("factor 'rmw' is missing",)),
    "no file": (("--factors", "none.csv"), ("none.csv: no such file",)),
    "units": (("--factor-units", "pc", "--model", "ff3"), ("unknown factor units 'pc'",)),
}


@pytest.mark.parametrize("case", BAD_WORDS)
def test_bad_options_end_with_one_line(usjp: Run, small: Path, case: str) -> None:
    words, seen = BAD_WORDS[case]
    _refused(usjp("battery", small, "--groups", GROUPS, *USUAL, *words), *seen)


def test_one_event_date_or_many_but_not_both_or_neither(usjp: Run, tmp_path: Path) -> None:
    events = tmp_path / "events.csv"
    events.write_text("firm,date\nF01,2024-02-13\n", encoding="utf-8")
    base = ("battery", RETURNS, "--groups", GROUPS)
    _refused(usjp(*base, *USUAL, "--events", events), "one event date")
    _refused(usjp(*base, "--benchmark", "MKT"), "one event date")


BAD_FILES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "no firm": (
        "groups",
        "name,sector\nF01,A\n",
        ("groups.csv: row 1", "column 'firm' is missing"),
    ),
    "twice": ("groups", "firm,sector\nF01,A\nF01,B\n", ("row 3", "'F01' again")),
    "treated": ("groups", "firm,sector,treated\nF01,A,maybe\n", ("row 2", "'maybe'", "true or")),
    "nobody": ("groups", "firm,sector,treated\nF01,A,False\n", ("no firm", "treated")),
    "nobody by another case": ("groups", "Firm,Sector,Treated\nF01,A,no\n", ("no firm", "treated")),
    "treatment": ("groups", "firm,sector,treatment\nF01,A,0\n", ("row 1", "expected 'treated'")),
    "two firms": ("groups", "firm,Firm,sector\nF01,F02,A\n", ("row 1", "'firm' and 'Firm'")),
    "unknown": ("groups", "firm,sector\nX1,A\n", ("no firm-event is left", "'X1'", "not in")),
    "empty": ("groups", "", ("the file is empty",)),
    "ALL": ("groups", "firm,sector\nF01,ALL\n", ("row 2", "'ALL' has its own meaning")),
    "text": (
        "returns",
        "date,F01,MKT\n2024-01-01,x,0.1\n2024-01-02,0,0.1\n",
        ("returns.csv: row 2, column 'F01'", "'x'"),
    ),
    "date": ("returns", "date,F01,MKT\nsoon,0.1,0.1\n", ("row 2, column 'date'",)),
    "order": (
        "returns",
        "date,F01,MKT\n2024-01-03,0.1,0.1\n2024-01-02,0.1,0.1\n2024-01-04,0.1,0.1\n",
        ("row 3", "2024-01-02 comes after a later date"),
    ),
    "prices": (
        "returns",
        "date,F01,MKT\n" + "".join(f"2024-01-{d:02d},101.5,99.0\n" for d in range(1, 29)),
        ("column 'MKT'", "not prices or percent"),
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_end_with_one_line(usjp: Run, tmp_path: Path, case: str) -> None:
    which, text, seen = BAD_FILES[case]
    path = tmp_path / f"{which}.csv"
    path.write_text(text, encoding="utf-8")
    returns, groups = (RETURNS, path) if which == "groups" else (path, GROUPS)
    words: tuple[str, ...] = ("--benchmark", "MKT", "--event", "2024-02-13")
    if which == "returns":
        groups = tmp_path / "groups.csv"
        groups.write_text("firm,sector\nF01,A\n", encoding="utf-8")
        words = ("--benchmark", "MKT", "--event", "2024-01-02", "--estimation", "-1,-1")
    _refused(usjp("battery", returns, "--groups", groups, *words), *seen)


def test_other_columns_may_begin_as_treated_does(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("firm,sector,treated,Treatment date\nF01,A,no,2024-02-13\n", encoding="utf-8")
    assert not read_groups(path)["treated"].any()
    path.write_text("firm,date,treatment\nF01,2024-02-13,tariff\n", encoding="utf-8")
    assert list(read_event_dates(path)["firm"]) == ["F01"]


def test_an_empty_cell_of_a_parquet_file_is_refused_like_one_of_a_csv(tmp_path: Path) -> None:
    groups = pd.DataFrame({"firm": ["F01", "F02"], "sector": ["A", None]})
    groups.to_parquet(tmp_path / "g.parquet")
    with pytest.raises(InputError, match="column 'sector': seen nothing"):
        read_groups(tmp_path / "g.parquet")
    groups.assign(firm=[np.nan, "F02"], sector="A").to_parquet(tmp_path / "g.parquet")
    with pytest.raises(InputError, match="column 'firm': seen nothing"):
        read_groups(tmp_path / "g.parquet")


# --- many dates --------------------------------------------------------------------------------


def test_events_outside_the_file_are_listed_and_weekends_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        "firm,date\nF01,2024-02-13\nF01,2024-03-05\nF02,2024-02-20\nF03,2031-01-06\n"
        "F04,2023-02-01\nC01,2024-02-13\nXX,2024-02-13\nF05,2024-03-25\n",
        encoding="utf-8",
    )
    returns = open_returns(RETURNS)
    groups = read_groups(GROUPS)
    done = run_battery(
        returns, groups, events=read_event_dates(path), benchmark="MKT",
        estimation=(-200, -11), windows=[(0, 0), (0, 1)],
    )  # fmt: skip
    listed = {(d.name, d.what): d.reason for d in done.dropped}
    assert "outside the returns" in listed["F03", "event 2031-01-06"]
    assert "begin before" in listed["F04", "event 2023-02-01"]
    assert "end after" in listed["F05", "event 2024-03-25"]
    assert listed["C01", "event 2024-02-13"] == "not treated"
    assert listed["XX", "event 2024-02-13"] == "not in the groups"
    undated = [d.name for d in done.dropped if d.reason == "no date in the events file"]
    assert undated == [f"F{k:02d}" for k in range(6, 37)]  # the order of the file
    assert done.groups["ALL"]["[0;0]"].numbers["n"] == 3
    assert done.groups["ALL"]["[0;0]"].tests["portfolio_t"].reason
    assert done.groups["ALL"]["[0;0]"].tests["placebo_t"].reason
    path.write_text("firm,date\nF01,2024-02-11\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"'F01', event 2024-02-11: .*2024-02-12"):
        run_battery(returns, groups, events=read_event_dates(path), benchmark="MKT")


def test_the_same_date_for_all_gives_the_same_numbers_either_way() -> None:
    returns, groups = open_returns(RETURNS), read_groups(GROUPS)
    treated = groups.loc[groups["treated"], "firm"]
    events = pd.DataFrame({"firm": treated, "date": pd.Timestamp("2024-02-13")})
    one = run_battery(returns, groups, event="2024-02-13", benchmark="MKT").as_dict()
    two = run_battery(returns, groups, events=events, benchmark="MKT").as_dict()
    assert one == two


def test_a_panel_in_which_no_firm_can_be_fitted_still_says_why(
    battery: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    panel = _panel()
    panel.loc[:, panel.columns.str.match("F|C")] = np.nan
    panel.to_csv(tmp_path / "r.csv", index=False)
    done = battery(*USUAL, returns=tmp_path / "r.csv")
    assert done["ALL"]["[0;0]"]["n"] == 0
    assert done["ALL"]["[0;0]"]["reasons"]["n"]
    assert len(done["dropped"]) == 36
    assert "0 usable, 5 needed" in done["dropped"][0]["reason"]


def test_a_sector_that_lost_all_its_firms_is_there_with_none() -> None:
    draw = np.random.default_rng(2)
    days = pd.bdate_range("2023-01-02", periods=300)
    table = pd.DataFrame(draw.normal(0, 0.01, (300, 4)), days, ["A", "B", "C", "M"])
    firms = pd.DataFrame(
        {"firm": ["A", "B", "GONE", "C"], "sector": ["x", "x", "y", "z"], "treated": [1, 1, 1, 0]}
    )
    done = run_battery(table, firms, event=days[280], benchmark="M").as_dict()
    assert set(done) == {"ALL", "x", "y", "dropped"}
    assert done["y"]["[0;0]"]["n"] == 0
    assert done["ALL"]["[0;0]"]["n"] == 2

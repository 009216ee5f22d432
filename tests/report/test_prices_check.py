"""A file of prices before a study rests on it: what is found, where it lies, what lets it pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import Result

import usjp_research as ur
from tests.conftest import SECTORS, UNIVERSE
from usjp_research.market.against import held_against
from usjp_research.report.prices_check import Checked, check_prices
from usjp_research.spec.records import find_root

Own = Callable[..., Path]
Run = Callable[..., Result]
REAL = Path(__file__).parents[3] / "shared" / "data"
IN_WINDOW, ELSEWHERE = "2024-03-06", "2021-06-01"


@pytest.fixture
def levels(prices: Path) -> Any:
    return pd.read_csv(prices, index_col="date", parse_dates=["date"])


@pytest.fixture
def check(own: Own, usjp: Run, tmp_path: Path) -> Callable[..., Result]:
    """Check a table of prices against a study of one's own, with a second one beside it."""

    def run(frame: Any, *words: object, other: Any = None) -> Result:
        frame.to_csv(tmp_path / "mine.csv")
        if other is not None:
            other.to_csv(tmp_path / "theirs.csv")
            words = (*words, "--against", tmp_path / "theirs.csv")
        folder = own() if not (tmp_path / "mine").exists() else tmp_path / "mine"
        return usjp("prices", "check", tmp_path / "mine.csv", "--params", folder, *words)

    return run


def _report(result: Result, tmp_path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((tmp_path / "report.json").read_text("utf-8"))
    content["findings"] = [{**row, **row["finding"]} for row in content["findings"]]
    assert str(content["verdict"])[1:] in " ".join(result.stdout.split())
    return content


def test_a_clean_file_is_usable_and_its_reading_is_told(
    check: Callable[..., Result], levels: Any
) -> None:
    done = check(levels)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("Usable: nothing looks wrong.\n")
    for words in ("prices from a column per security", "24 of 24 firms", "none missing"):
        assert words in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_bad_price_in_an_event_window_stops_until_its_line_is_in_accepted_csv(
    check: Callable[..., Result], levels: Any, own: Own
) -> None:
    levels.loc[IN_WINDOW, "S03"] *= 3
    done = check(levels)
    assert done.exit_code == 1, done.stdout
    assert done.stdout.startswith("Not usable: 1 of 1 finding would stop the study, first S03")
    assert "the window of N1" in " ".join(done.stdout.split())
    lines = done.stdout[done.stdout.index("ticker,date,reason") :]
    own(accepted=lines)
    again = check(levels)
    assert again.exit_code == 0, again.stdout
    assert "accepted: say why it is right" in " ".join(again.stdout.split())


def test_a_study_stops_exactly_where_the_check_says_so(
    check: Callable[..., Result], levels: Any, own: Own, usjp: Run, tmp_path: Path
) -> None:
    for day in (IN_WINDOW, ELSEWHERE):
        frame = levels.copy()
        before = frame["R02"].shift()[day]
        frame.loc[day:, "R02"] *= before / 2 / frame.loc[day, "R02"]  # no second sign of a split
        code = check(frame).exit_code
        words = (
            "study",
            "--params",
            tmp_path / "mine",
            "--market",
            f"file:{tmp_path / 'mine.csv'}",
        )
        done = usjp(*words, "--no-pages", "--out", tmp_path / day)
        assert (code, done.exit_code) == ((1, 2) if day == IN_WINDOW else (0, 0)), done.stderr


def test_what_no_study_could_read_ends_with_one_line(
    check: Callable[..., Result], levels: Any
) -> None:
    done = check(levels.drop(columns="us_market"))
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr.startswith("usjp: not usable: ") and "no benchmark" in done.stderr


def test_missing_firms_stand_by_weight_and_the_json_has_everything(
    check: Callable[..., Result], levels: Any, own: Own, tmp_path: Path
) -> None:
    own(universe=UNIVERSE.replace("S05,solar,10", "S05,solar,900"))
    levels["R02"] = levels["R02"].where(levels.index >= "2021-03-01")
    levels.loc["2022-05-04":"2022-05-05", "S02"] = np.nan
    done = check(levels.drop(columns=["S01", "S05"]), "--json", tmp_path / "report.json")
    report = _report(done, tmp_path)
    assert done.exit_code == 0
    assert [firm["ticker"] for firm in report["missing"]] == ["S05", "S01"]
    assert "Missing  S05 (900), S01 (10)" in done.stdout
    kinds = {row["ticker"]: (row["kind"], row["size"]) for row in report["findings"]}
    assert kinds == {"R02": ("starts late", 38.0), "S02": ("holes", 3.0)}


def test_a_file_on_which_the_study_would_stop_is_not_called_usable(
    check: Callable[..., Result], levels: Any
) -> None:
    early = check(levels.loc[:"2023-12-31"])
    assert early.exit_code == 1
    assert early.stdout.startswith("Not usable: events.csv: no primary event can be tested (N1:")
    short = check(levels.loc["2024-01-02":])
    assert short.exit_code == 1
    assert short.stdout.startswith("Not usable: no sector portfolio can be formed for any primary")
    few = check(levels.loc["2023-03-01":])
    assert few.exit_code == 1
    assert "placebo calendars, the rule asks for" in few.stdout


def test_a_sector_without_a_portfolio_is_named(check: Callable[..., Result], levels: Any) -> None:
    done = check(levels.drop(columns=[name for name in levels if name.startswith("R")]))
    assert done.exit_code == 0
    assert done.stdout.startswith("Usable: nothing looks wrong, not for every sector.")
    assert "Sectors no portfolio of Rail (N" in " ".join(done.stdout.split())


def test_a_ticker_in_another_spelling_is_named_beside_the_missing_one(
    check: Callable[..., Result], levels: Any, tmp_path: Path
) -> None:
    others = {"S01": "s01", "S02": "S02.OQ", "S03": "S-03", "S04": "S04 US", "S05": "S055"}
    done = check(levels.rename(columns=others), "--json", tmp_path / "report.json")
    found = _report(done, tmp_path)["alike"]
    told = {ticker: words.split("'")[1] for ticker, words in found.items()}
    assert told == {k: v for k, v in others.items() if k != "S05"}
    assert "S02 (10) (there is 'S02.OQ': the same?)" in " ".join(done.stdout.split())


# --- against a second file -------------------------------------------------------------------


def test_a_dividend_of_one_file_a_bad_price_and_a_shift_are_told_apart(
    check: Callable[..., Result], levels: Any, tmp_path: Path
) -> None:
    other = 3 * levels  # another retrieval: no level is alike
    other.loc["2024-04-09":, "S00"] *= 1.021
    other.loc["2024-02-14", "S01"] *= 0.99
    other["R00"] = other["R00"].shift(1)
    other["R01"] = levels["us_market"]
    other.loc["2023-06-01":, "R02"] *= 1.002  # within the tolerance
    levels.loc["2024-01-30":"2024-01-31", "R03"] = np.nan
    done = check(levels, "--json", tmp_path / "report.json", other=other)
    report = _report(done, tmp_path)
    found = {row["ticker"]: row for row in report["findings"]}
    assert done.exit_code == 1
    assert (found["S00"]["day"], found["S00"]["until"]) == ("2024-04-09", None)
    assert found["S00"]["stops"] and found["S00"]["touches"] == "the window of N2"
    assert "a dividend or split of one file only" in found["S00"]["looks_like"]
    assert found["S00"]["size"] == pytest.approx(-0.021, abs=0.002)
    assert "a price of that day" in found["S01"]["looks_like"]
    assert (found["S01"]["day"], found["S01"]["until"]) == ("2024-02-14", "2024-02-15")
    assert found["R00"]["kind"] == "shifted" and "early" in found["R00"]["looks_like"]
    assert "another series than there" in found["R01"]["looks_like"]
    assert "R02" not in found
    assert {row["kind"] for row in report["findings"] if row["ticker"] == "R03"} == {
        "holes",
        "missing",
    }


def test_returns_parted_at_the_open_are_held_against_prices_and_silence_is_told(
    own: Own, levels: Any, prices: Path, tmp_path: Path
) -> None:
    returns = levels.pct_change(fill_method=None).iloc[1:]
    long = returns.melt(ignore_index=False, var_name="ticker", value_name="day").reset_index()
    half = np.sqrt(1 + long.pop("day")) - 1
    table = long.assign(overnight=half, intraday=half)
    silent = (table["date"] == IN_WINDOW) & table["ticker"].isin(["S01", "S02"])
    table[~silent].to_csv(tmp_path / "parts.csv", index=False)
    done = check_prices(ur.read_spec(own()), f"file:{prices}", tmp_path / "parts.csv", 1e-6)
    assert done.usable and not done.findings
    assert done.facts["It lacks"] == "2024-03-06 (S01, S02)"


def test_differences_come_largest_first_and_beyond_the_tolerance_only(levels: Any) -> None:
    returns = levels.pct_change(fill_method=None).iloc[1:]
    other = returns.copy()
    for ticker, gap in (("S01", 0.004), ("S02", -0.03), ("S03", 0.001)):
        other.loc[IN_WINDOW, ticker] += gap
    found = held_against(returns, other, 0.0025)
    assert [item.ticker for item in found] == ["S02", "S01"]
    assert held_against(returns, other, 0.0005)[2].ticker == "S03"
    with pytest.raises(ur.InputError, match="tolerance nan: expected"):
        held_against(returns, other, float("nan"))
    with pytest.raises(ur.InputError, match="no series and day in common"):
        held_against(returns, other.rename(columns=str.lower).drop(columns="us_market"), 0.1)


# --- what the notebook shows, and the real files -----------------------------------------------


def test_the_notebook_shows_what_each_finding_touches(
    own: Own, levels: Any, tmp_path: Path
) -> None:
    levels.loc[IN_WINDOW, SECTORS["solar"][3]] *= 3
    levels.to_csv(tmp_path / "mine.csv")
    spec = ur.read_spec(own())
    shown = ur.table("findings", ur.load_market(spec, f"file:{tmp_path / 'mine.csv'}"), spec)
    assert shown["Touches"].tolist() == ["the window of N1"]


@pytest.fixture(scope="module")
def real() -> Checked:
    if not (REAL / "prices_core.parquet").exists():
        pytest.skip("an extra: the real prices may not be shipped and are not here")
    spec = ur.read_spec(find_root(Path(__file__)) / "params")
    source, against = f"file:{REAL / 'prices_core.parquet'}", REAL / "open_close.parquet"
    return check_prices(spec, source, against, 0.0025)


def test_real_prices_show_the_shell_company_the_short_histories_and_late_listings(
    real: Checked,
) -> None:
    found = {(item.ticker, item.kind, str(item.until or item.day)) for item, _ in real.findings}
    assert {("LUNR", "split", "2023-02-23"), ("LUNR", "jump", "2023-02-16")} <= found
    for ticker in ("ED", "XYL"):
        assert {
            (ticker, "starts late", "2023-01-03"),
            (ticker, "ends early", "2026-06-26"),
        } <= found
    assert {("GEV", "starts late", "2024-03-27"), ("NNE", "starts late", "2024-05-08")} <= found
    assert not {where for item, where in real.findings if item.ticker == "LUNR"} - {""}
    assert real.usable


def test_real_openings_agree_with_the_prices_and_lack_the_pharma_names(real: Checked) -> None:
    assert "none beyond 0.25% a day in 396,481 returns" in real.facts["Against"]
    day = real.facts["It lacks"].split("2025-07-23 (")[1].split(")")[0]
    assert {"UTHR", "EXEL", "NBIX", "HALO", "BMRN", "JAZZ", "MEDP"} <= {*day.split(", ")}

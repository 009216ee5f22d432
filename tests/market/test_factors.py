"""French's factors: one reader and one rule for units, for the study and for the battery."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import Result

from usjp_research.market.factors import MISSING, Factors, check_factors, read_factors
from usjp_research.words import InputError

Run = Callable[..., Result]
DAYS = pd.bdate_range("2023-01-02", periods=300)
NAMES = ["mkt_rf", "smb", "hml", "rf"]
HEAD = """This file was created by using the 202502 CRSP database.
The 1-month TBill rate data until 202405 are from Ibbotson Associates.

,Mkt-RF,SMB,HML,RF
"""
FOOT = "\nCopyright 2025 Eugene F. Fama and Kenneth R. French\n"


def _drawn(n: int = len(DAYS)) -> pd.DataFrame:
    """Draw factors in percent with two digits, as French ships them."""
    draw = np.random.default_rng(6)
    values = np.column_stack([draw.normal(0, [1.0, 0.6, 0.7], (n, 3)), np.full(n, 0.02)])
    return pd.DataFrame(values.round(2), columns=NAMES)


def _csv(path: Path, table: pd.DataFrame, days: list[str] | None = None) -> Path:
    written = [str(day.date()) for day in DAYS[: len(table)]] if days is None else days
    table.set_axis(pd.Index(written, name="date")).to_csv(path)
    return path


def _french(path: Path, head: str = HEAD, foot: str = FOOT) -> Path:
    rows = _drawn().set_axis(DAYS.strftime("%Y%m%d")).to_csv(header=False, lineterminator="\r\n")
    path.write_text(head + rows.replace(",", ",    ") + foot, encoding="utf-8")
    return path


def test_four_ways_to_write_the_factors_give_the_same_numbers(tmp_path: Path) -> None:
    table = _drawn()
    want = read_factors(_csv(tmp_path / "percent.csv", table))
    numbers = [int(day) for day in DAYS.strftime("%Y%m%d")]
    table.rename(columns={"mkt_rf": "Mkt-RF"}).assign(Date=numbers).to_parquet(tmp_path / "i.pq")
    for got in (
        read_factors(_csv(tmp_path / "decimal.csv", table / 100)),
        read_factors(_csv(tmp_path / "compact.csv", table, list(DAYS.strftime("%Y%m%d")))),
        read_factors(_french(tmp_path / "raw.csv")),
        read_factors(_french(tmp_path / "cut.csv", head=HEAD.splitlines()[-1] + "\n", foot="")),
        read_factors(tmp_path / "i.pq"),
    ):
        pd.testing.assert_frame_equal(
            got.returns, want.returns, check_freq=False, check_names=False
        )
    assert list(want.returns) == ["mkt_rf", "smb3", "smb5", "hml", "rf"]
    assert (want.unit, want.dropped) == ("percent", ())
    np.testing.assert_allclose(want.returns["rf"], 0.0002)


CODES = [-99.99, -999, -9.99, -0.9999, -99, -9999, 99.99, 1e26, 1.7e38, -1e300]


@pytest.mark.parametrize("scale", [1.0, 0.01], ids=["percent", "decimal"])
@pytest.mark.parametrize("declared", [False, True])
def test_a_code_for_a_missing_day_is_refused_by_row_and_column(
    scale: float, declared: bool, tmp_path: Path
) -> None:
    units = ("percent" if scale == 1 else "decimal") if declared else "auto"
    for name in ("mkt_rf", "hml", "rf"):
        for code in CODES:
            if units == "percent" and code in (-9.99, -0.9999):
                continue  # then it is a day's move
            table = _drawn() * scale
            table.loc[7, name] = code
            with pytest.raises(InputError, match=rf"f\.csv: row 9, column '{name}'.*{MISSING}"):
                read_factors(_csv(tmp_path / "f.csv", table), units=units)


def test_many_codes_do_not_hide_the_unit(tmp_path: Path) -> None:
    table = _drawn() / 100
    table.loc[:90, "mkt_rf"] = -99.99
    with pytest.raises(InputError, match=r"row 2, column 'mkt_rf'.*read as decimal"):
        read_factors(_csv(tmp_path / "f.csv", table))


def test_a_declared_unit_lets_a_real_day_pass_that_looks_like_a_code(tmp_path: Path) -> None:
    table = _drawn()
    table.loc[7, "mkt_rf"] = -9.99
    path = _csv(tmp_path / "f.csv", table)
    with pytest.raises(InputError, match="if it is a real day, give --factor-units percent"):
        read_factors(path)
    assert read_factors(path, units="percent").returns["mkt_rf"].iloc[7] == pytest.approx(-0.0999)


BAD: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "no riskless rate": (lambda t: t.drop(columns="rf"), "factor 'rf' is missing"),
    "no market": (lambda t: t.drop(columns="mkt_rf"), "factor 'mkt_rf' is missing"),
    "text": (lambda t: t.assign(hml="high"), "row 2, column 'hml': seen 'high'"),
    "the same twice": (lambda t: t.assign(MKTRF=t["mkt_rf"]), "are both the factor"),
    "a rate a year": (lambda t: t.assign(rf=5.3), "riskless rate reaches 5.30%"),
    "rate in percent": (lambda t: (t / 100).assign(rf=0.02), "riskless rate reaches 2.00%"),
    "two units": (lambda t: t.assign(hml=t["hml"] / 100), "'hml' moves 0.00.* in one unit"),
    "a market that stands": (lambda t: t.assign(mkt_rf=0.0), "standard deviation of 0%"),
    "prices": (lambda t: t.assign(mkt_rf=100.0), "seen 100, read as percent|standard deviation"),
    "a unit in doubt": (lambda t: t / 10, "cannot be told apart; give --factor-units"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_faulty_table_of_factors_is_refused(case: str, tmp_path: Path) -> None:
    change, words = BAD[case]
    with pytest.raises(InputError, match=words):
        read_factors(_csv(tmp_path / "f.csv", change(_drawn())))


def test_monthly_weekly_and_second_tables_are_named_as_what_they_are(tmp_path: Path) -> None:
    table = _drawn(60)
    weeks = pd.bdate_range("2020-01-03", periods=60, freq="W-FRI").strftime("%Y%m%d")
    with pytest.raises(InputError, match=r"usual step is 7 days.*take the daily file"):
        read_factors(_csv(tmp_path / "w.csv", table, list(weeks)))
    months = table.set_axis(pd.period_range("2020-01", periods=60, freq="M").strftime("%Y%m"))
    (tmp_path / "m.csv").write_text(HEAD + months.to_csv(header=False), encoding="utf-8")
    with pytest.raises(
        InputError, match=r"m\.csv: row 5, column 'date': seen '202001'.*not the monthly"
    ):
        read_factors(tmp_path / "m.csv")
    _french(tmp_path / "two.csv", foot="\n Annual\n,Mkt-RF,SMB,HML,RF\n  2024, 1, 2, 3, 4\n")
    with pytest.raises(InputError, match="a second table begins after row 304"):
        read_factors(tmp_path / "two.csv")


def test_rows_of_french_s_own_file_are_counted_as_the_user_sees_them(tmp_path: Path) -> None:
    path = _french(tmp_path / "raw.csv")
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[9] = lines[9].rpartition(",")[0] + ", -99.99"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError, match=r"row 10, column 'RF': factor 'rf': seen -99.99"):
        read_factors(path)


def test_what_the_file_does_not_cover_is_listed(tmp_path: Path) -> None:
    table = _drawn()
    table.loc[[7, 8], "hml"] = np.nan
    path = _csv(tmp_path / "f.csv", table.assign(note=1.0))
    days = pd.bdate_range(DAYS[0], periods=320)
    found = read_factors(f"file:{path}", days)
    assert found.returns["mkt_rf"].isna().sum() == 20
    assert [(item.name, item.reason) for item in found.dropped] == [
        ("note", "no factor of that name is known: not used"),
        ("f.csv", f"ends {DAYS[-1].date()}: 20 days without"),
        ("hml", f"no value on 2 of 300 days, the first {DAYS[7].date()}"),
    ]
    with pytest.raises(InputError, match="expected days of the market, 2031"):
        read_factors(path, pd.bdate_range("2031-01-01", periods=100))


def test_without_a_file_the_reason_says_what_to_give() -> None:
    assert isinstance(read_factors("", DAYS), Factors)
    assert "--factors FILE" in read_factors().reason
    with pytest.raises(InputError, match=r"nowhere.csv: no such file"):
        read_factors("nowhere.csv")
    with pytest.raises(InputError, match="unknown factor units 'pc'"):
        read_factors(units="pc")


def test_factors_of_another_day_or_against_the_market_are_refused(tmp_path: Path) -> None:
    table = _drawn()
    market = pd.Series(table["mkt_rf"].to_numpy() / 100, DAYS)
    check_factors(read_factors(_csv(tmp_path / "f.csv", table), DAYS), market)
    check_factors(read_factors("", DAYS), market)
    wrong = {
        "a session late": table.assign(mkt_rf=table["mkt_rf"].shift(1)),
        "a session early": table.assign(mkt_rf=table["mkt_rf"].shift(-1)),
        "sign is turned": table.assign(mkt_rf=-table["mkt_rf"]),
    }
    for words, frame in wrong.items():
        found = read_factors(_csv(tmp_path / "f.csv", frame), DAYS)
        with pytest.raises(InputError, match=words) as fault:
            check_factors(found, market)
        assert len(str(fault.value)) <= 300


@pytest.fixture
def panel(tmp_path: Path) -> tuple[Path, Path]:
    draw = np.random.default_rng(8)
    table = pd.DataFrame(draw.normal(0, 0.01, (300, 4)), DAYS, ["A", "B", "C", "M"])
    table.to_csv(tmp_path / "returns.csv", index_label="date")
    (tmp_path / "groups.csv").write_text("firm,sector\nA,x\nB,x\nC,x\n", encoding="utf-8")
    return tmp_path / "returns.csv", tmp_path / "groups.csv"


@pytest.mark.parametrize("scale", [1.0, 0.01], ids=["percent", "decimal"])
@pytest.mark.parametrize("code", [None, -99.99, -0.9999])
def test_the_study_and_the_battery_take_and_refuse_the_same_files(
    scale: float,
    code: float | None,
    own: Callable[..., Path],
    prices: Path,
    panel: tuple[Path, Path],
    usjp: Run,
    tmp_path: Path,
) -> None:
    table = _drawn() * scale
    if code is not None:
        table.loc[7, "smb"] = code
    file = _csv(tmp_path / "f.csv", table)
    battery = ["battery", panel[0], "--groups", panel[1], "--event", DAYS[290].date()]
    battery += ["--model", "ff3", "--factors", file, "--json", tmp_path / "b.json"]
    study = ["study", "--params", own(), "--market", f"file:{prices}", "--out", tmp_path / "o"]
    study += ["--no-pages", "--factors", file]
    one, two = usjp(*battery), usjp(*study)
    if code is None:
        assert (one.exit_code, two.exit_code) == (0, 0), one.stderr + two.stderr
        assert json.loads((tmp_path / "b.json").read_text("utf-8"))["ALL"]["[0;0]"]["n"] == 3
        return
    assert (one.exit_code, two.exit_code) == (2, 2)
    lines = {result.stderr.splitlines()[-1] for result in (one, two)}
    assert len(lines) == 1
    assert "row 9, column 'smb'" in lines.pop()


def test_the_study_lets_the_unit_be_declared(
    own: Callable[..., Path], prices: Path, usjp: Run, tmp_path: Path
) -> None:
    study = ["study", "--params", own(), "--market", f"file:{prices}", "--out", tmp_path / "o"]
    study += ["--no-pages", "--factors", _csv(tmp_path / "f.csv", _drawn() / 10)]
    assert "--factor-units" in usjp(*study).stderr.splitlines()[-1]
    assert usjp(*study, "--factor-units", "percent").exit_code == 0

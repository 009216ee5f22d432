"""Every mistake in a file of prices is one line, and nothing that is missing is filled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usjp_research.market.load import load_market
from usjp_research.market.record import Dropped, Market, market_digest
from usjp_research.market.table import read_returns
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import digest
from usjp_research.study.answer import run_study
from usjp_research.study.events import event_panel
from usjp_research.study.sample import sample
from usjp_research.words import InputError

DAYS = pd.bdate_range("2025-02-18", periods=40)  # no holiday among them
NAMES = ["us_market", "AAA", "BBB"]


def _truth() -> pd.DataFrame:
    """Prices of three securities; nothing is missing."""
    draw = np.random.default_rng(3)
    moves = 1 + 0.02 * draw.standard_normal((len(DAYS), len(NAMES)))
    return pd.DataFrame(100 * moves.cumprod(axis=0), pd.DatetimeIndex(DAYS, name="date"), NAMES)


def _wide(cells: dict[tuple[int, str], str] | None = None, header: str = "") -> str:
    """A wide CSV with some cells changed, named by their row in the file and their column."""
    return _csv([["date", *NAMES]], _truth().reset_index(), cells, header)


def _long(cells: dict[tuple[int, str], str] | None = None, header: str = "") -> str:
    """The same as a long CSV, day by day."""
    return _csv([["date", "ticker", "adj_close"]], _melted(_truth(), "adj_close"), cells, header)


def _melted(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    long = frame.reset_index().melt("date", var_name="ticker", value_name=name)
    return long.sort_values("date", kind="stable", ignore_index=True)


def _csv(
    rows: list[list[str]],
    frame: pd.DataFrame,
    cells: dict[tuple[int, str], str] | None,
    header: str,
) -> str:
    for day, *values in frame.itertuples(index=False):
        rows.append([str(day.date()), *map(str, values)])
    for (row, name), text in (cells or {}).items():
        rows[row - 1][rows[0].index(name)] = text
    lines = [",".join(row) for row in rows]
    return "\n".join([header or lines[0], *lines[1:]]) + "\n"


def _complaint(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_returns(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 300 + len(str(path))
    return message


# what stands in the file, words of the complaint
CASES: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    # --- the file
    "empty file": ("", ("empty", "column 'date'")),
    "blank file": ("\n", ("empty", "column 'date'")),
    "wide with a header only": ("date,AAA\n", ("a header but no row", "add prices")),
    "long with a header only": ("date,ticker,price\n", ("a header but no row", "add prices")),
    "no CSV at all": (b"\x89PNG\r\n\x1a\n\xff\xfe\x00\x01", ("not readable as CSV or Parquet",)),
    "some other text": ("hello world\nfoo\n", ("row 1", "column 'date' is missing", "hello")),
    "row with a cell too many": (
        _wide({(9, "BBB"): "1,2"}),
        ("row 9", "seen 5 cells", "expected 4 as in row 1"),
    ),
    "every row with a cell too many": (
        _wide(header="date,us_market,AAA"),
        ("row 2", "seen 4 cells", "expected 3 as in row 1"),
    ),
    # --- columns
    "wide without dates": (
        _wide(header="dated,us_market,AAA,BBB"),
        ("row 1", "column 'date' is missing", "did you mean 'dated'"),
    ),
    "long without dates": (
        _long(header="when,ticker,adj_close"),
        ("row 1", "column 'date' is missing", "known: adj_close, ticker, when"),
    ),
    "wide without securities": ("date\n2025-02-18\n", ("row 1", "no column but 'date'")),
    "long without tickers": (
        _long(header="date,name,adj_close"),
        ("row 1", "column 'ticker' is missing", "a long table has date, ticker"),
    ),
    "long with two tickers": (
        _long(header="date,Ticker,Symbol").replace("us_market", "1"),
        ("row 1", "columns 'Ticker' and 'Symbol' could both be the ticker", "keep one"),
    ),
    "long without prices": (
        _long(header="date,ticker,log_return"),
        ("row 1", "no column of prices or returns", "'log_return' is a log return", "adj_close"),
    ),
    "wide with a column twice": (
        _wide(header="date,us_market,AAA,AAA"),
        ("row 1", "column 'AAA' stands there twice", "keep one"),
    ),
    "long with two price columns of a name": (
        _wide(header="date,ticker,price,price"),
        ("row 1", "column 'price' stands there twice", "keep one"),
    ),
    # --- dates
    "unreadable date": (
        _wide({(5, "date"): "soon"}),
        ("row 5", "column 'date'", "seen 'soon'", "YYYY-MM-DD"),
    ),
    "unreadable date in a long table": (
        _long({(7, "date"): "2025-02-30"}),
        ("row 7", "column 'date'", "seen '2025-02-30'", "YYYY-MM-DD"),
    ),
    "no date": (_wide({(5, "date"): ""}), ("row 5", "column 'date'", "seen nothing", "YYYY-MM-DD")),
    "unsorted dates": (
        _wide({(5, "date"): "2025-02-11"}),
        ("row 5", "column 'date'", "2025-02-11 comes after a later date", "sort"),
    ),
    "unsorted dates of a ticker": (
        _long({(9, "date"): "2025-02-11"}),
        ("row 9", "2025-02-11 of ticker 'AAA' comes after a later date", "sort"),
    ),
    "duplicate date": (
        _wide({(5, "date"): "2025-02-20"}),
        ("row 5", "column 'date'", "2025-02-20 stands there twice", "keep one"),
    ),
    "duplicate date of a ticker": (
        _long({(9, "date"): "2025-02-19"}),
        ("row 9", "2025-02-19 of ticker 'AAA' stands there twice", "keep one"),
    ),
    "long without a ticker in a row": (
        _long({(6, "ticker"): ""}),
        ("row 6", "column 'ticker'", "seen nothing", "expected a ticker"),
    ),
    # --- numbers
    "text for a price": (
        _wide({(5, "AAA"): "n.a."}),
        ("row 5", "column 'AAA'", "seen 'n.a.'", "a number, or nothing"),
    ),
    "text for a price in a long table": (
        _long({(8, "adj_close"): "12 USD"}),
        ("row 8", "column 'adj_close'", "seen '12 USD'", "a number, or nothing"),
    ),
    "blank rows count in the row number": (
        _wide({(3, "date"): "\n\n2025-02-19", (5, "AAA"): "x"}),
        ("row 7", "column 'AAA'", "seen 'x'"),
    ),
    "price of zero": (
        _wide({(6, "BBB"): "0"}),
        ("row 6", "column 'BBB'", "seen 0", "above zero", "leave the cell empty"),
    ),
    "negative price in a long table": (
        _long({(6, "adj_close"): "-3.5"}),
        ("row 6", "column 'adj_close'", "seen -3.5", "above zero"),
    ),
    "return of -1": (
        "date,AAA,BBB\n2025-02-18,-0.01,0.02\n2025-02-19,-0.01,-1\n",
        ("row 3", "column 'BBB'", "seen -1", "above -1", "not percent"),
    ),
    "returns in percent": (
        "date,ticker,return\n2025-02-18,AAA,0.4\n2025-02-19,AAA,-2.5\n",
        ("row 3", "column 'return of AAA'", "seen -2.5", "above -1", "not percent"),
    ),
    # --- length
    "too few days": (
        "\n".join(_wide().splitlines()[:21]),
        ("seen 19 days", "at least 30", "longer file"),
    ),
    "nothing but weekends": (
        "date,AAA\n2025-02-22,1\n2025-02-23,2\n",
        ("seen 0 days", "at least 30"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_one_line_that_says_where_and_what(case: str, tmp_path: Path) -> None:
    content, words = CASES[case]
    path = tmp_path / "prices.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    message = _complaint(path)
    for word in words:
        assert word in message


PARQUET: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], tuple[str, ...]]] = {
    "text for a price": (
        lambda f: f.assign(AAA=["1.5"] * 4 + ["x"] * 36),
        ("row 5", "column 'AAA'", "seen 'x'"),
    ),
    "no date": (lambda f: f.reset_index(drop=True), ("column 'date' is missing", "AAA")),
    "negative price": (
        lambda f: f.assign(AAA=[1.0] * 4 + [-1.0] * 36),
        ("row 5", "seen -1", "above"),
    ),
    "a date for a price": (lambda f: f.assign(AAA=DAYS).reset_index(), ("row 1", "'2025-02-18")),
    "duplicate date": (lambda f: f.iloc[[0, 1, 1, 2]], ("row 3", "2025-02-19 stands there twice")),
    "too few days": (lambda f: f.iloc[:5], ("seen 4 days", "at least 30")),
    "header only": (lambda f: f.iloc[:0], ("no row", "add prices")),
}


@pytest.mark.parametrize("suffix", ["parquet", "pq"])
@pytest.mark.parametrize("case", PARQUET)
def test_a_mistake_in_parquet_is_one_line_with_rows_from_one(
    case: str, suffix: str, tmp_path: Path
) -> None:
    change, words = PARQUET[case]
    path = tmp_path / f"prices.{suffix}"
    change(_truth()).to_parquet(path)
    message = _complaint(path)
    for word in words:
        assert word in message


@pytest.mark.parametrize("content", [b"", b"date,AAA\n", b"PAR1" * 40])
def test_a_file_that_is_no_parquet_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "prices.parquet"
    path.write_bytes(content)
    assert "not readable as CSV or Parquet" in _complaint(path)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    assert "No such file" in _complaint(tmp_path / "nosuch.csv")


# --- what is read ----------------------------------------------------------------------------


def _write(frame: pd.DataFrame, path: Path, form: str) -> Path:
    kind = form.split()
    if "returns" in kind:
        frame = frame.pct_change(fill_method=None).iloc[1:]
    if "long" in kind:
        name = "return" if "returns" in kind else "adj_close"
        frame = _melted(frame, name)
    else:
        frame = frame.reset_index()
    if "parquet" in kind:
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("file", ["csv", "parquet"])
@pytest.mark.parametrize("form", ["wide prices", "wide returns", "long prices", "long returns"])
def test_every_form_of_the_same_prices_gives_the_same_returns(
    form: str, file: str, tmp_path: Path
) -> None:
    truth = _truth()
    truth.iloc[7, 1] = np.nan
    path = _write(truth, tmp_path / f"x.{file}", f"{form} {file}")
    before = path.read_bytes()
    returns, dropped = read_returns(path)
    want = truth.pct_change(fill_method=None).iloc[1:]
    assert dropped == ()
    assert list(returns.index) == list(want.index)
    got = returns[NAMES]
    assert sorted(returns.columns) == sorted(NAMES)
    assert (got.isna() == want.isna()).all(axis=None)
    assert np.nanmax(np.abs(got.to_numpy() - want.to_numpy())) < 1e-12
    assert path.read_bytes() == before


@pytest.mark.parametrize("form", ["wide prices", "long prices"])
def test_rows_without_session_are_left_out_and_listed(form: str, tmp_path: Path) -> None:
    truth = _truth()
    closed = pd.to_datetime(["2025-02-17", "2025-03-01"])  # Presidents' Day and a Saturday
    odd = pd.DataFrame(7.0, pd.DatetimeIndex(closed, name="date"), NAMES)
    returns, dropped = read_returns(
        _write(pd.concat([truth, odd]).sort_index(), tmp_path / "x.csv", form)
    )
    clean, _ = read_returns(_write(truth, tmp_path / "y.csv", form))
    pd.testing.assert_frame_equal(returns, clean)
    reason = "no session in New York that day; its row is not used"
    assert dropped == tuple(Dropped("day", day, reason) for day in ("2025-02-17", "2025-03-01"))


@pytest.mark.parametrize("form", ["wide prices", "long prices", "wide returns"])
def test_a_missing_session_stays_a_session_and_no_return_spans_it(
    form: str, tmp_path: Path
) -> None:
    path = _write(_truth(), tmp_path / "whole.csv", form)
    day = str(DAYS[10].date())
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(day)), encoding="utf-8")
    returns, dropped = read_returns(path)
    assert list(returns.index) == list(DAYS[1:])
    lost = [10, 11] if "prices" in form else [10]
    assert list(returns.index[returns["AAA"].isna()]) == [DAYS[at] for at in lost]
    reason = "session is missing in the file; nothing is filled"
    assert dropped == (Dropped("day", day, reason),)


def test_a_time_and_an_offset_after_a_date_do_not_move_the_day(tmp_path: Path) -> None:
    # As one popular downloader writes them: the offset changes with summer time.
    text = _wide()
    for day in DAYS:
        text = text.replace(f"{day.date()},", f"{day.tz_localize('America/New_York')},")
    path = tmp_path / "x.csv"
    path.write_text(text, encoding="utf-8")
    returns, _ = read_returns(path)
    assert list(returns.index) == list(DAYS[1:])


@pytest.mark.parametrize("base", [_wide(), _long()], ids=["wide", "long"])
def test_no_change_of_a_file_gives_anything_but_returns_or_one_line(
    base: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "x.csv"
    odd = st.sampled_from(["", ",", "\n", '"', "nan", "-1", "1e999", "é", "0", "2", "\ufeff"])

    @settings(max_examples=40, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, 400), st.integers(0, 30), odd | st.text(max_size=6))
    def change(start: int, length: int, new: str) -> None:
        changed = base[:start] + new + base[start + length :]
        path.write_bytes(changed.encode("utf-8", "surrogatepass"))
        try:
            returns, _ = read_returns(path)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert len(returns) >= 30

    change()


# --- a file as a market ----------------------------------------------------------------------


def _load(folder: Path, frame: pd.DataFrame, study: str = "") -> Market:
    (folder / "universe.csv").write_text("ticker,sector\nAAA,solar\nBBB,solar\n", encoding="utf-8")
    (folder / "events.csv").write_text(
        "id,announced,zone,role,title,solar\n"
        "E1,2025-03-13 12:00,America/New_York,primary,first,+\n",
        encoding="utf-8",
    )
    if study:
        (folder / "study.yaml").write_text(study, encoding="utf-8")
    path = _write(frame, folder / "prices.csv", "wide prices")
    return load_market(read_spec(folder), f"file:{path}")


def test_a_file_without_benchmark_says_which_columns_would_do(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        _load(tmp_path, _truth().drop(columns="us_market"))
    for word in ("prices.csv", "no benchmark", "us_market, SPY", "'benchmark' in study.yaml"):
        assert word in str(caught.value)


def test_a_benchmark_of_ones_own_is_named_in_study_yaml(tmp_path: Path) -> None:
    frame = _truth().rename(columns={"us_market": "XXX"})
    market = _load(tmp_path, frame, "benchmark: [XXX]\n")
    assert market.provenance["benchmark"] == ["XXX"]


def test_a_file_without_any_firm_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        _load(tmp_path, _truth().rename(columns={"AAA": "aaa", "BBB": "bbb"}))
    for word in ("prices.csv", "none of the 2 tickers of universe.csv", "seen us_market, aaa, bbb"):
        assert word in str(caught.value)


def test_a_firm_that_is_missing_is_listed_and_the_rest_is_used(tmp_path: Path) -> None:
    market = _load(tmp_path, _truth().drop(columns="BBB"))
    assert list(market.returns.columns) == ["us_market", "AAA"]
    assert Dropped("security", "BBB", "not in the price file") in market.dropped


def test_days_without_benchmark_stay_sessions_and_are_listed(tmp_path: Path) -> None:
    frame = _truth()
    frame.iloc[10, 0] = np.nan
    market = _load(tmp_path, frame)
    assert list(market.dates) == list(DAYS[1:])
    assert list(market.dates[market.returns["us_market"].isna()]) == list(DAYS[10:12])
    listed = [item.name for item in market.dropped if "benchmark" in item.reason]
    assert listed == [str(day.date()) for day in DAYS[10:12]]


@pytest.mark.parametrize(("since", "seen"), [("2025-04-01", 10), ("2031-01-01", 0)])
def test_too_few_days_since_a_day_says_so(since: str, seen: int, tmp_path: Path) -> None:
    told = rf"seen {seen} days .* since {since}, expected at least 30"
    with pytest.raises(InputError, match=told):
        _load(tmp_path, _truth(), f"since: {since}\n")


def test_an_unknown_market_comes_with_the_nearest_known_one(tmp_path: Path) -> None:
    _load(tmp_path, _truth())
    spec = read_spec(tmp_path)
    for source, words in {
        "bundeld": "did you mean 'bundled'",
        "fle:x.csv": "known: bundled, file:PATH, prices:PATH, returns:PATH, simulated",
        "file:": "did you mean 'file:PATH'",
        "simulated:one": "whole number",
        "simulated:\N{SUPERSCRIPT TWO}": "whole number",
        str(tmp_path / "prices.csv"): f"did you mean 'file:{tmp_path / 'prices.csv'}'",
        f"file:{tmp_path / 'nosuch.csv'}": "nosuch.csv: no such file",
        f"file:{tmp_path}": "no such file; give the path of a CSV, Excel or Parquet file",
    }.items():
        with pytest.raises(InputError) as caught:
            load_market(spec, source)
        assert words in str(caught.value)


def test_a_study_changes_neither_its_parameters_nor_its_returns(
    own: Callable[..., Path], prices: Path
) -> None:
    spec = read_spec(own())
    market = load_market(spec, f"file:{prices}")
    before = digest(spec), market_digest(market), market.returns.copy(), prices.read_bytes()
    event_panel(spec, market)
    run_study(sample(spec, market))
    assert (digest(spec), market_digest(market)) == before[:2]
    pd.testing.assert_frame_equal(market.returns, before[2], check_exact=True)
    assert prices.read_bytes() == before[3]

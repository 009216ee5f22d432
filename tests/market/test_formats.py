"""Files as people have them: each is read right and says as what, or is refused with its cause."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from usjp_research.market.files import existing
from usjp_research.market.groups import read_groups
from usjp_research.market.load import load_market
from usjp_research.market.panel import open_returns
from usjp_research.market.table import Kind, Table, read_prices
from usjp_research.spec.read import read_spec
from usjp_research.words import InputError

DAYS = pd.bdate_range("2025-02-18", periods=40, name="date").as_unit("ns")  # no holiday among them
NAMES = ["us_market", "SO", "NA"]


def _truth() -> pd.DataFrame:
    draw = np.random.default_rng(3)
    moves = 1 + 0.02 * draw.standard_normal((len(DAYS), len(NAMES)))
    return pd.DataFrame((1500 * moves.cumprod(axis=0)).round(2), DAYS, NAMES)


TRUTH = _truth()
RETURNS = TRUTH.pct_change(fill_method=None).iloc[1:]


def _same(table: Table, *said: str) -> Table:
    """The returns are the right ones, and each word is in what the file was read as."""
    pd.testing.assert_frame_equal(
        table.returns[NAMES], RETURNS, check_names=False, check_freq=False, rtol=1e-9
    )
    told = "; ".join(table.read_as)
    for word in said:
        assert word in told, told
    return table


def _refused(path: Path, *words: str, kind: Kind = "auto") -> None:
    with pytest.raises(InputError) as caught:
        read_prices(path, kind)
    message = str(caught.value)
    for word in words:
        assert word in message, message
    assert "\n" not in message
    assert len(message) - len(str(path)) < 260


def _text(change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame) -> str:
    return change(TRUTH.reset_index()).to_csv(index=False)


def _file(folder: Path, content: str | bytes, name: str = "p.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _german(value: float) -> str:
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


# --- dialects --------------------------------------------------------------------------------

DIALECTS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "a mark of UTF-8": (b"\xef\xbb\xbf" + _text().encode(), ()),
    "UTF-16": (_text().encode("utf-16"), ("UTF-16",)),
    "UTF-16 without a mark": (_text().encode("utf-16-le"), ("UTF-16",)),
    "tabs": (_text().replace(",", "\t").encode(), ("parted by tabs",)),
    "semicolons": (_text().replace(",", ";").encode(), ("parted by semicolons",)),
    "a declared separator": (b"sep=;\r\n" + _text().replace(",", ";").encode(), ()),
    "old line ends": (_text().replace("\n", "\r").encode(), ()),
    "decimal commas": (
        TRUTH.to_csv(sep=";", decimal=",").encode(),
        ("parted by semicolons", "decimal comma"),
    ),
    "decimal commas and points for thousands": (
        TRUTH.map(_german).to_csv(sep=";").encode(),
        ("decimal comma", "thousands"),
    ),
    "decimal commas in quotes between commas": (TRUTH.to_csv(decimal=",").encode(), ("comma",)),
    "commas for thousands": (
        TRUTH.map("{:,.2f}".format).to_csv().encode(),
        ("thousands separators",),
    ),
    "spaces for thousands": (
        TRUTH.map(lambda v: f"{v:,.2f}".replace(",", "\N{NO-BREAK SPACE}")).to_csv().encode(),
        ("thousands separators",),
    ),
    "German dates": (TRUTH.to_csv(date_format="%d.%m.%Y").encode(), ("dates as DD.MM.YYYY",)),
    "American dates": (TRUTH.to_csv(date_format="%m/%d/%Y").encode(), ("dates as MM/DD/YYYY",)),
    "dates without marks": (TRUTH.to_csv(date_format="%Y%m%d").encode(), ()),
    "newest first": (TRUTH[::-1].to_csv().encode(), ("newest first: sorted",)),
    "a column that counts the rows": (
        TRUTH.reset_index().to_csv().encode(),
        ("without the column that has no name",),
    ),
    "a count of rows of which some were taken out": (
        TRUTH.reset_index().set_axis(range(3, 3 + 2 * len(TRUTH), 2)).to_csv().encode(),
        ("without the column that has no name",),
    ),
    "dates without a name": (TRUTH.to_csv(index_label="").encode(), ("without a name as dates",)),
    "no line end": (_text().rstrip("\n").encode(), ()),
    "gzip": (gzip.compress(_text().encode()), ()),
    "Bloomberg": (
        TRUTH.rename(columns={"SO": "SO US Equity", "NA": "NA UN Equity"})[::-1]
        .to_csv(index_label="Dates")
        .encode(),
        ("2 names without ' US Equity'", "newest first"),
    ),
}


@pytest.mark.parametrize("case", DIALECTS)
def test_a_dialect_gives_the_same_returns_and_is_named(case: str, tmp_path: Path) -> None:
    content, said = DIALECTS[case]
    _same(read_prices(_file(tmp_path, content)), *said)


def test_an_unadjusted_close_beside_an_adjusted_one_stays_unused(tmp_path: Path) -> None:
    long = TRUTH.reset_index(names="date").melt("date", var_name="ticker", value_name="closeadj")
    long = long.assign(close=3.0, closeunadj=9.0)
    table = read_prices(_file(tmp_path, long.to_csv(index=False)))
    assert table.levels is not None
    assert table.levels["SO"].iloc[0] == TRUTH["SO"].iloc[0]


@pytest.mark.parametrize("word", ["", "NaN", "#N/A N/A", "#N/A Field Not Applicable", "NULL"])
def test_words_for_nothing_are_two_missing_returns(word: str, tmp_path: Path) -> None:
    frame = TRUTH.astype(object)
    frame.iloc[5, 1] = word
    table = read_prices(_file(tmp_path, frame.to_csv()))
    assert list(table.returns.index[table.returns["SO"].isna()]) == list(DAYS[5:7])
    assert table.returns["us_market"].notna().all()


@pytest.mark.parametrize("word", ["#REF!", "1.5%", "$12", "TRUE", "inf", "9" * 6000, "1e400"])
def test_what_is_no_number_is_refused_with_its_row(word: str, tmp_path: Path) -> None:
    frame = TRUTH.astype(object)
    frame.iloc[5, 1] = word
    _refused(_file(tmp_path, frame.to_csv()), "row 7", "column 'SO'", "expected a number")


AMBIGUOUS: dict[str, tuple[str, tuple[str, ...]]] = {
    "1.234 between semicolons": (
        TRUTH.map(lambda v: f"1.{v:03.0f}"[:5]).to_csv(sep=";"),
        ("'1.", "may be", "decimal points"),
    ),
    "1,234 in quotes": (TRUTH.map(lambda v: f"1,{v:03.0f}"[:5]).to_csv(), ("may be",)),
    "both decimal marks": (
        TRUTH.to_csv(sep=";").replace(str(TRUTH.iloc[3, 0]), "12,5"),
        ("expected one decimal mark", "'12,5'"),
    ),
    "days and months": (
        TRUTH[:9]
        .set_axis(pd.date_range("2025-02-01", periods=9), axis=0)
        .to_csv(date_format="%d/%m/%Y", index_label="date"),
        ("may start with the day or with the month",),
    ),
    "small positive numbers": (
        (TRUTH / 100_000).to_csv(),
        ("may be prices or returns", "--returns", "prices:FILE"),
    ),
    "two adjusted columns": (
        "date,ticker,Adj Close,adjusted_close\n2025-02-18,SO,1,2\n",
        ("'Adj Close' and 'adjusted_close' could both be meant",),
    ),
    "an adjusted column of another name": (
        "date,ticker,close,adj_close_usd\n2025-02-18,SO,1,2\n",
        ("'close' and 'adj_close_usd': which holds adjusted prices?",),
    ),
    "a total return beside a close": (
        "date,ticker,close,Total Return Price\n2025-02-18,SO,1,2\n",
        ("'close' and 'Total Return Price': which holds adjusted prices?",),
    ),
    "a price and a return": (
        "date,ticker,adj_close,ret\n2025-02-18,SO,1,0.1\n",
        ("'adj_close' and 'ret' could both be meant", "--returns"),
    ),
    "close and last": (
        "date,ticker,close,last\n2025-02-18,SO,1,2\n",
        ("'close' and 'last' could both be meant",),
    ),
    "two dates": ("day,timestamp,SO\n2025-02-18,1,2\n", ("could both be the date",)),
    "weekly": (
        TRUTH.set_axis(pd.date_range("2024-01-05", periods=40, freq="7D"), axis=0).to_csv(
            index_label="date"
        ),
        ("seen 40 rows", "about 196 trading days", "daily"),
    ),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_nothing_is_guessed_where_two_readings_are_possible(case: str, tmp_path: Path) -> None:
    content, words = AMBIGUOUS[case]
    _refused(_file(tmp_path, content), *words)


# --- names of columns ------------------------------------------------------------------------


def _long(adjusted: str, ticker: str = "ticker", date: str = "date") -> str:
    """A long table whose raw closes are cut to a tenth half way: a split that is not adjusted."""
    frame = TRUTH.reset_index().melt("date", var_name="ticker", value_name="adj")
    frame.insert(2, "close", frame["adj"].where(frame["date"] < DAYS[20], frame["adj"] / 10))
    frame = frame.sort_values("date", kind="stable")
    return frame.set_axis([date, ticker, "close", adjusted], axis=1).to_csv(index=False)


@pytest.mark.parametrize(
    "name",
    ["adj_close", "Adj Close", "adjClose", "Adjusted Close", "ADJUSTED_CLOSE", "Adj. Close",
     "adj-close", "close_adj", "Adj Close**", "adjusted"],
)  # fmt: skip
def test_an_adjusted_close_is_known_by_any_usual_name(name: str, tmp_path: Path) -> None:
    table = _same(read_prices(_file(tmp_path, _long(name))))
    assert table.levels is not None
    assert table.close is not None
    assert table.close.shape == table.levels.shape
    ratio = (table.levels / table.close).to_numpy()
    assert np.allclose(ratio[:20], 1)
    assert np.allclose(ratio[20:], 10)


@pytest.mark.parametrize("names", [("Ticker", "Date"), ("Symbol", "DATE"), ("tic", "Trade Date")])
def test_long_tables_are_known_in_any_case(names: tuple[str, str], tmp_path: Path) -> None:
    _same(read_prices(_file(tmp_path, _long("Adj Close", *names))))


def test_a_close_beside_dividends_is_called_unadjusted(tmp_path: Path) -> None:
    text = _long("Dividends")
    table = read_prices(_file(tmp_path, text))
    assert table.read_as == ("unadjusted closes: 'close' beside 'Dividends', which is not used",)


def test_tickers_that_are_names_of_fields_stay_securities_in_a_wide_table(tmp_path: Path) -> None:
    frame = TRUTH.set_axis(["PX", "SYM", "RET"], axis=1)
    table = read_prices(_file(tmp_path, frame.to_csv()))
    assert list(table.returns.columns) == ["PX", "SYM", "RET"]


ODD = ["01", "1E1", "NA", "TRUE", "ON", "nan", "None", "1_0"]


@pytest.mark.parametrize("form", ["long", "wide"])
@pytest.mark.parametrize("file", ["csv", "parquet", "xlsx", "utf16"])
def test_tickers_are_text_through_every_kind_of_file(form: str, file: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({name: TRUTH["SO"] + at for at, name in enumerate(ODD)}, DAYS)
    table = frame.reset_index()
    if form == "long":
        table = table.melt("date", var_name="ticker", value_name="adj_close")
    path = tmp_path / f"p.{file}"
    if file == "xlsx":
        table.to_excel(path, index=False)
    elif file == "parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, encoding="utf-16" if file == "utf16" else "utf-8")
    assert sorted(read_prices(path).returns.columns) == sorted(ODD)


def test_columns_of_a_parquet_file_may_be_numbers(tmp_path: Path) -> None:
    frame = TRUTH.set_axis([600000, 600036, 1], axis=1)
    table = pa.Table.from_pandas(frame)
    pq.write_table(table, tmp_path / "p.parquet")
    assert list(read_prices(tmp_path / "p.parquet").returns.columns) == ["600000", "600036", "1"]


@pytest.mark.parametrize("names", [["SO", "SO ", "X"], ["SO", "SO US Equity", "X"]])
def test_names_that_become_one_are_refused(names: list[str], tmp_path: Path) -> None:
    _refused(_file(tmp_path, TRUTH.set_axis(names, axis=1).to_csv()), "'SO' stands there twice")


# --- two rows of names -----------------------------------------------------------------------


def _two_rows(*fields: str, by_ticker: bool = False) -> pd.DataFrame:
    parts = {field: TRUTH if "lose" in field else TRUTH * 7 for field in fields}
    frame = pd.concat(parts, axis=1, names=["Price", "Ticker"])
    return frame.swaplevel(axis=1).sort_index(axis=1) if by_ticker else frame


@pytest.mark.parametrize("by_ticker", [False, True])
@pytest.mark.parametrize("fields", [("Close", "Volume"), ("Adj Close", "Close", "High")])
@pytest.mark.parametrize("file", ["csv", "named csv", "parquet", "xlsx"])
def test_two_rows_of_names_are_fields_and_securities(
    file: str, fields: tuple[str, ...], by_ticker: bool, tmp_path: Path
) -> None:
    frame = _two_rows(*fields, by_ticker=by_ticker).rename_axis(index="Date")
    path = tmp_path / f"p.{file.split()[-1]}"
    if file == "csv":
        frame.to_csv(path)
    elif file == "named csv":
        frame.columns.names = [None, None]
        frame.reset_index().to_csv(path, index=False)
    elif file == "xlsx":
        frame.to_excel(path)
    else:
        frame.to_parquet(path)
    table = _same(read_prices(path), "two rows of names", f"from '{fields[0]}'")
    assert (table.close is not None) == ("Adj Close" in fields)


@pytest.mark.parametrize("by_ticker", [False, True])
@pytest.mark.parametrize("names", [["LOW", "OPEN", "SO"], ["LOW"]])
@pytest.mark.parametrize("file", ["csv", "parquet"])
def test_a_security_that_is_called_as_a_field_is_one(
    file: str, names: list[str], by_ticker: bool, tmp_path: Path
) -> None:
    own = TRUTH.iloc[:, : len(names)].set_axis(names, axis=1)
    frame = pd.concat({"Adj Close": own, "Close": own, "Volume": own * 7}, axis=1)
    frame = (frame.swaplevel(axis=1) if by_ticker else frame).rename_axis(index="Date")
    path = tmp_path / f"p.{file}"
    frame.to_csv(path) if file == "csv" else frame.to_parquet(path)
    read = read_prices(path)
    assert (sorted(read.returns.columns), read.column) == (names, "Adj Close")


def test_a_sheet_from_bloomberg_has_securities_above_fields(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["", *(f"{name} US Equity" for name in NAMES)])
    sheet.append(["Dates", *["PX_LAST"] * len(NAMES)])
    for day, *values in TRUTH[::-1].itertuples():
        sheet.append([day.to_pydatetime(), *values])
    book.save(tmp_path / "p.xlsx")
    _same(read_prices(tmp_path / "p.xlsx"), "Excel", "'PX_LAST'", "newest first", "US Equity")


# --- Excel -----------------------------------------------------------------------------------


def _book(folder: Path, change: Callable[[openpyxl.Workbook], object]) -> Path:
    TRUTH.to_excel(folder / "p.xlsx")
    book = openpyxl.load_workbook(folder / "p.xlsx")
    change(book)
    book.save(folder / "p.xlsx")
    return folder / "p.xlsx"


def test_a_workbook_with_two_full_sheets_asks_which(tmp_path: Path) -> None:
    path = _book(tmp_path, lambda book: book.create_sheet("more").append([1]))
    _refused(path, "2 sheets have cells", "'Sheet1' and 'more'")


def test_formulas_without_saved_values_are_refused(tmp_path: Path) -> None:
    def change(book: openpyxl.Workbook) -> None:
        book["Sheet1"]["B5"] = "=B4*1.01"

    _refused(_book(tmp_path, change), "formulas without saved values", "save it")


def test_a_spreadsheets_number_of_a_day_is_refused_by_name(tmp_path: Path) -> None:
    frame = TRUTH.set_axis(range(45706, 45746), axis=0)
    frame.to_excel(tmp_path / "p.xlsx", index_label="date")
    _refused(tmp_path / "p.xlsx", "'45706'", "number for 2025-02-18", "format the column as dates")


# --- bad files -------------------------------------------------------------------------------


def _bad_rows() -> dict[str, tuple[str, tuple[str, ...]]]:
    lines = _text().splitlines()
    cut, long = list(lines), list(lines)
    cut[-1] = cut[-1][: cut[-1].rindex(",") - 2]
    long[9] = long[9].rpartition(",")[0]
    return {
        "cut in a number": ("\n".join(cut), ("row 41", "seen 3 cells", "expected 4")),
        "a lost cell": ("\n".join(long), ("row 10", "seen 3 cells", "expected 4")),
        "an open quote": ("\n".join([*lines[:20], '"' + lines[20]]), ("row",)),
        "a second column of days": (
            TRUTH.assign(asof=20250203).to_csv(),
            ("column 'asof'", "20250203", "is a date"),
        ),
        "a title above the names": (
            "My prices\nas of today\n" + "\n".join(lines),
            ("row 3", "seen 4 cells", "take out what stands above them"),
        ),
        "a row of sums": (
            "\n".join([*lines, "Average,1,2,3"]),
            ("column 'date'", "seen 'Average'", "take out rows of notes or sums"),
        ),
        "days across": (TRUTH.T.to_csv(), ("row 1", "days stand across", "a row per day")),
        "a column without a name": (
            TRUTH.rename(columns={"SO": ""}).to_csv(),
            ("column 3 has no name",),
        ),
    }


BAD_ROWS = _bad_rows()


def test_a_file_cut_in_its_last_number_says_so(tmp_path: Path) -> None:
    text = _text()
    assert read_prices(_file(tmp_path, text.rstrip("\n"))).read_as == ()
    (note,) = read_prices(_file(tmp_path, text[:-4])).read_as
    assert "shorter than the others and has no line end" in note


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_row_or_column_that_is_out_of_place_is_named(case: str, tmp_path: Path) -> None:
    content, words = BAD_ROWS[case]
    _refused(_file(tmp_path, content), *words)


@pytest.mark.parametrize("year", ["0001", "2262", "9999", "1899"])
@pytest.mark.parametrize("file", ["csv", "parquet", "xlsx"])
def test_years_that_cannot_be_are_refused_with_their_row(
    year: str, file: str, tmp_path: Path
) -> None:
    frame = TRUTH.reset_index()
    frame["date"] = frame["date"].dt.date.astype(object)
    if file == "xlsx" and year in ("0001", "1899"):
        pytest.skip("Excel has no such day")
    frame.loc[len(frame) - 1, "date"] = pd.Timestamp(f"{year}-06-03").date()
    path = tmp_path / f"p.{file}"
    if file == "csv":
        frame.to_csv(path, index=False)
    elif file == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_excel(path, index=False)
    _refused(path, f"row {40 if file == 'parquet' else 41}", year, "from 1900 to 2100")


def test_what_another_program_says_of_a_parquet_file_does_not_matter(tmp_path: Path) -> None:
    table = pa.Table.from_pandas(TRUTH.reset_index(), preserve_index=False)
    for note in (b'{"index_columns": 3}', b"[]", b"nonsense", b'{"columns": null}'):
        pq.write_table(table.replace_schema_metadata({b"pandas": note}), tmp_path / "p.parquet")
        _same(read_prices(tmp_path / "p.parquet"))


OTHER_FILES: dict[str, tuple[bytes, str]] = {
    "p.zip": (b"", "a zip archive"),
    "p.csv.bz2": (b"BZh91AY&SY", "bzip2"),
    "p.csv.xz": (b"\xfd7zXZ\x00\x00\x04", "xz"),
    "p.csv.zst": (b"\x28\xb5\x2f\xfd\x04", "zstd"),
    "p.xls": (b"\xd0\xcf\x11\xe0\xa1\xb1", "an old Excel file (.xls)"),
    "p.pkl": (b"(dp0\n.", "pickle, which is never opened"),
    "p.csv": (b"\x80\x04\x95\x10\x00", "pickle, which is never opened"),
    "p.html": (b"<!DOCTYPE html><html></html>", "a web page"),
    "p.json": (b'{"a": 1}', "JSON"),
    "p.csv.gz": (gzip.compress(_text().encode())[:-40], "cut short"),
    "latin.csv": (_text().replace("SO", "Sö").encode("latin-1"), "save it as CSV UTF-8"),
    "tar.gz": (gzip.compress(b"\0" * 257 + b"ustar" + b"\0" * 300), "no CSV inside"),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_a_file_of_another_kind_is_refused_by_name(name: str, tmp_path: Path) -> None:
    content, words = OTHER_FILES[name]
    path = _file(tmp_path, content, name)
    if not content:
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("p.csv", _text())
    _refused(path, words)


def _zeros(folder: Path) -> Path:
    with gzip.open(folder / "p.csv.gz", "wb", compresslevel=1) as file:
        for _ in range(80):
            file.write(bytes(2**20))
    return folder / "p.csv.gz"


def _workbook(folder: Path, sheet: bytes) -> Path:
    TRUTH.to_excel(folder / "small.xlsx")
    with (
        zipfile.ZipFile(folder / "small.xlsx") as small,
        zipfile.ZipFile(folder / "p.xlsx", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as large,
    ):
        for part in small.namelist():
            inside = sheet if part == "xl/worksheets/sheet1.xml" else small.read(part)
            large.writestr(part, inside)
    return folder / "p.xlsx"


SHEET = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
WIDE = b'<row><c r="XFD1"><v>1</v></c></row>'
BOMBS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "gzip": (_zeros, "MB when unpacked"),
    "workbook": (lambda folder: _workbook(folder, SHEET + b" " * 2**26), "MB when unpacked"),
    "sheet of wide rows": (
        lambda folder: _workbook(folder, SHEET + WIDE * 2000 + b"</sheetData></worksheet>"),
        "more than 5,000,000 cells",
    ),
    "one long line": (lambda folder: _file(folder, b"date," + b"x" * 2**24), "not readable as CSV"),
}


@pytest.mark.parametrize("case", BOMBS)
def test_what_grows_when_it_is_read_is_refused_early(case: str, tmp_path: Path) -> None:
    make, words = BOMBS[case]
    path = make(tmp_path)
    tracemalloc.start()
    began = time.process_time()
    _refused(path, words)
    assert time.process_time() - began < 10
    assert tracemalloc.get_traced_memory()[1] < 500e6
    tracemalloc.stop()


def test_a_long_text_that_stands_once_in_a_parquet_file_is_not_repeated(tmp_path: Path) -> None:
    days = pd.DatetimeIndex(np.repeat(DAYS, 5000))
    word = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(days), "int32")), ["x" * 2**17])
    table = pa.table({"date": days, "ticker": word, "price": np.ones(len(days))})
    pq.write_table(table, tmp_path / "p.parquet")
    _refused(tmp_path / "p.parquet", "column 'ticker'", "131072 characters")


def test_a_parquet_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    count = 4_000_000
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, "int8")), pa.array(["x"]))
    table = pa.table({str(at): column for at in range(20)})
    pq.write_table(table, tmp_path / "p.parquet")
    _refused(tmp_path / "p.parquet", "4000000 rows of 20 columns are more than 512 MB")


@pytest.mark.parametrize("text", ["~nouser/x.csv", "a" * 5000, "no\0such.csv", "."])
def test_a_path_that_cannot_be_is_one_line(text: str) -> None:
    with pytest.raises(InputError, match="no such file"):
        existing(text)


# --- prices or returns -----------------------------------------------------------------------


def test_returns_can_be_declared_where_the_numbers_do_not_show_it(tmp_path: Path) -> None:
    frame = RETURNS.abs()
    frame.iloc[::7] *= -1
    path = _file(tmp_path, frame.to_csv())
    _refused(path, "may be prices or returns", "--returns")
    table = read_prices(path, "returns")
    assert table.read_as == ("declared as returns",)
    assert table.levels is None
    pd.testing.assert_frame_equal(table.returns, frame, check_freq=False)


def test_penny_prices_are_prices_once_it_is_said(tmp_path: Path) -> None:
    table = read_prices(_file(tmp_path, (TRUTH / 1e5).to_csv()), "prices")
    pd.testing.assert_frame_equal(table.returns, RETURNS, check_freq=False)


CONTRADICTED: dict[str, tuple[pd.DataFrame, Kind, tuple[str, ...]]] = {
    "prices as returns": (TRUTH, "returns", ("column 'us_market'", "not prices or percent")),
    "small prices as returns": (TRUTH / 1e5, "returns", ("none of 40 numbers is negative",)),
    "returns as prices": (RETURNS, "prices", ("declared as prices", "are negative")),
    "percent as returns": (RETURNS * 100, "returns", ("not percent",)),
    "one series of prices among returns": (
        RETURNS.assign(SO=TRUTH["SO"] / 1e5),
        "auto",
        ("column 'SO'", "none of 39 numbers is negative"),
    ),
    "a huge return": (RETURNS.assign(SO=RETURNS["SO"].mask(RETURNS.index == DAYS[9], 1.7e38)),
                      "auto", ("row 10", "1.7e+38")),
    "days as returns": (RETURNS.assign(SO=20250203), "auto", ("'SO'", "20250203", "is a date")),
    "a huge price": (TRUTH.replace(float(TRUTH.to_numpy()[9, 1]), 1.7e38),
                     "auto", ("row 11", "1.7e+38")),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTED)
def test_numbers_that_contradict_what_they_are_said_to_be_are_refused(
    case: str, tmp_path: Path
) -> None:
    frame, kind, words = CONTRADICTED[case]
    _refused(_file(tmp_path, frame.to_csv()), *words, kind=kind)


@pytest.mark.parametrize("case", ["penny prices", "days", "huge"])
def test_the_battery_refuses_what_are_no_returns(case: str, tmp_path: Path) -> None:
    frame = {
        "penny prices": TRUTH / 1e5,
        "days": RETURNS.assign(SO=20250203),
        "huge": RETURNS.replace(float(RETURNS.to_numpy()[3, 1]), 1.7e38),
    }[case]
    panel = open_returns(_file(tmp_path, frame.to_csv()))
    with pytest.raises(InputError, match="column 'SO'"):
        panel.read(["SO"])


def test_the_battery_reads_what_the_study_reads(tmp_path: Path) -> None:
    long = RETURNS.reset_index().melt("date", var_name="Ticker", value_name="Return")
    files = {
        "long.csv": long.to_csv(index=False),
        "german.csv": RETURNS[::-1].to_csv(sep=";", decimal=","),
        "bloomberg.csv": RETURNS.add_suffix(" US Equity").to_csv(),
    }
    for name, text in files.items():
        panel = open_returns(_file(tmp_path, text, name))
        assert list(panel.days) == list(DAYS[1:])
        assert np.allclose(panel.read(NAMES), RETURNS[NAMES].to_numpy().T, atol=1e-12)
    assert panel.read_as == ("3 names without ' US Equity'",)


def test_firms_of_groups_stay_text(tmp_path: Path) -> None:
    text = "firm,sector\n" + "".join(f"{name},1.000\n" for name in ODD)
    groups = read_groups(_file(tmp_path, text))
    assert list(groups["firm"]) == ODD
    assert set(groups["sector"]) == {"1.000"}


# --- markets ---------------------------------------------------------------------------------


def test_a_market_says_what_it_was_read_as_and_takes_declared_returns(tmp_path: Path) -> None:
    (tmp_path / "universe.csv").write_text("ticker,sector\nSO,solar\nNA,solar\n", encoding="utf-8")
    (tmp_path / "events.csv").write_text(
        "id,announced,zone,role,title,solar\n"
        "E1,2025-03-13 12:00,America/New_York,primary,first,+\n",
        encoding="utf-8",
    )
    spec = read_spec(tmp_path)
    prices = load_market(spec, f"file:{_file(tmp_path, TRUTH[::-1].to_csv())}")
    assert prices.read_as == ("newest first: sorted by date",)
    returns = load_market(spec, f"returns:{_file(tmp_path, RETURNS.to_csv(), 'r.csv')}")
    pd.testing.assert_frame_equal(prices.returns, returns.returns, check_freq=False)
    with pytest.raises(InputError, match=r"nouser.*no such file"):
        load_market(spec, "file:~nouser/x")

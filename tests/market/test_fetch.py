"""Fetched is what was asked for, or told with its reason: a server that plays every trick."""

from __future__ import annotations

import io
import logging
import socket
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import Result

from usjp_research.market import fetch
from usjp_research.market.factors import read_factors
from usjp_research.market.fetch import SOURCES, BusyError, Request, french, yahoo
from usjp_research.market.snapshots import snapshots
from usjp_research.market.table import read_prices
from usjp_research.words import InputError

START, END = date(2024, 1, 2), date(2024, 6, 28)
DAYS = pd.bdate_range(START, END)


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited, of which none passes."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Request]:
    return lambda *names, start=START, end=END: Request(names, start, end, tmp_path)


def test_the_network_is_out_of_reach() -> None:
    with pytest.raises(RuntimeError, match="wanted to reach"), socket.socket() as one:
        one.connect(("192.0.2.1", 80))


# --- Kenneth French, played by a server of our own ------------------------------------------

FF3, FF5 = "F-F_Research_Data_Factors_daily", "F-F_Research_Data_5_Factors_2x3_daily"
MOMENTUM, REGION = "F-F_Momentum_Factor_daily", "Europe_5_Factors_Daily"
Answer = tuple[int, bytes]
SLOW, CUT = 202, 206


def table(names: str, **codes: float) -> bytes:
    """His table in percent, with text above and below; ``codes`` stand on the second day."""
    draw = np.random.default_rng(len(names))
    columns = names.split(",")
    frame = pd.DataFrame(
        draw.normal(0, 0.8, (len(DAYS), len(columns))).round(2), DAYS.strftime("%Y%m%d"), columns
    )
    if "RF" in frame:
        frame["RF"] = 0.02
    for name, code in codes.items():
        frame.loc[frame.index[1], name] = code
    text = f"This file was created by using the 202406 CRSP database.\n\n,{names}\n"
    foot = "\n  Copyright 2024 Eugene F. Fama and Kenneth R. French\n"
    return (text + frame.to_csv(header=False) + foot).encode()


def packed(text: bytes, *names: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as out:
        for name in names or ("table.CSV",):
            out.writestr(name, text)
    return held.getvalue()


class Library:
    """What the server answers, in turn, to a table's name; the last answer stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[str] = []

    def good(self, table_name: str, names: str, **codes: float) -> None:
        self.answers[table_name] = [(200, packed(table(names, **codes)))]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    here = Library()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/").removesuffix("_CSV.zip")
            here.asked.append(name)
            answers = here.answers.get(name, [(404, b"")])
            code, body = answers.pop(0) if len(answers) > 1 else answers[0]
            if code == SLOW:
                Event().wait(0.2)
            self.send_response(code)
            self.send_header("Content-Length", str(len(body) + (code == CUT) * 99))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who hung up is no news
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetch, "FRENCH", f"http://127.0.0.1:{server.server_port}/")
    yield here
    server.shutdown()
    thread.join()
    server.server_close()


def test_his_tables_become_one_of_decimals_that_the_reader_of_factors_takes(
    library: Library, ask: Callable[..., Request], tmp_path: Path
) -> None:
    library.good(FF3, "Mkt-RF,SMB,HML,RF", HML=-99.99)
    library.good(FF5, "Mkt-RF,SMB,HML,RMW,CMA,RF", RMW=-999)
    library.good(MOMENTUM, "Mom")
    wide = table("Mkt-RF,SMB,HML,RMW,CMA,RF").replace(b",", b" ,   ").replace(b"\n", b"\r\n")
    library.answers[REGION] = [(200, packed(wide))]
    library.good("Europe_Mom_Factor_Daily", "WML")
    found = french(ask("ff3", "ff5", "momentum", "Europe"))
    own = ["mkt_rf", "smb3", "smb5", "hml", "rmw", "cma", "mom", "rf"]
    assert {*own, "Europe_mkt_rf", "Europe_smb5", "Europe_mom"} <= {*found.frame}
    assert found.coverage["mom"] == ("2024-01-02", "2024-06-28", len(DAYS))
    assert found.coverage["hml"][2] == len(DAYS) - 1 == found.coverage["rmw"][2]
    assert [(d.what, d.name) for d in found.dropped] == [
        ("factor", f"HML of {FF3}"),
        ("factor", f"RMW of {FF5}"),
    ]
    found.frame.to_parquet(tmp_path / "f.parquet")
    read = read_factors(tmp_path / "f.parquet")
    assert (read.unit, list(read.returns)) == ("decimals", own)
    np.testing.assert_allclose(read.returns["rf"], 0.0002)
    assert found.frame["mkt_rf"].std() == pytest.approx(0.008, rel=0.2)


HTML = b"<!DOCTYPE html><title>Sorry</title>"
BOMB = packed(b"0" * (fetch.UNPACKED + 2))
BAD: dict[str, tuple[list[Answer], str]] = {
    "empty": ([(200, b"")], "sent something else and no zip"),
    "a page with status 200": ([(200, HTML)], "sent a web page and no zip"),
    "a page in the archive": ([(200, packed(HTML))], "no table of daily factors"),
    "an archive cut short": ([(200, packed(table("Mom"))[:-40])], "damaged, or holds not one file"),
    "an answer that breaks off": ([(CUT, b"PK")], "broke off, after 5 tries; what came is kept"),
    "forbidden": ([(403, b"no")], "says 403 Forbidden to http"),
    "not there": ([(404, b"")], "says 404 Not Found to http"),
    "busy for ever": ([(429, b"")], "says 429 Too Many Requests, after 5 tries"),
    "two files": ([(200, packed(table("Mom"), "a", "b"))], "holds not one file"),
    "a bomb": ([(200, BOMB)], "more than 50 MB when unpacked"),
    "monthly": ([(200, packed(b",Mom\n202401, 1.0\n202402, 2.0\n"))], "take the daily file"),
    "text for a number": ([(200, packed(table("Mom").replace(b",", b",x", 9)))], "seen 'x|no tab"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_table_is_refused_in_one_line_and_not_kept(
    case: str, library: Library, ask: Callable[..., Request], tmp_path: Path
) -> None:
    library.answers[MOMENTUM], words = BAD[case]
    with pytest.raises(InputError, match=f"^French: nothing came: {MOMENTUM}: .*{words}"):
        french(ask("momentum"))
    assert not list(tmp_path.glob("*.csv"))
    library.good(FF3, "Mkt-RF,SMB,HML,RF")
    found = french(ask("ff3", "momentum"))
    assert [d.name for d in found.dropped] == [MOMENTUM]
    assert "mom" not in found.frame


def test_a_busy_server_is_asked_again_and_a_slow_one_not_for_ever(
    library: Library,
    ask: Callable[..., Request],
    slept: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library.good(FF3, "Mkt-RF,SMB,HML,RF")
    monkeypatch.setattr(fetch, "TIMEOUT", 0.1)
    library.answers[FF3][:0] = [(429, b""), (503, b""), (CUT, b"PK"), (SLOW, b"")]
    assert not french(ask("ff3")).dropped
    assert slept == [2, 10, 30, 60]
    monkeypatch.setattr(fetch, "DEADLINE", -1.0)
    library.good(FF5, "Mkt-RF,SMB,HML,RMW,CMA,RF")
    with pytest.raises(InputError, match="not whole within -1 s, after 5 tries"):
        french(ask("ff5"))


def test_without_a_connection_nobody_waits(
    ask: Callable[..., Request], slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(fetch, "FRENCH", f"http://127.0.0.1:{free.getsockname()[1]}/")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with pytest.raises(InputError, match=r"no connection \(.*refused: http.*\); see that"):
            french(ask("ff3"))
    assert not slept


def test_a_path_in_an_archive_is_not_followed(
    library: Library, ask: Callable[..., Request], tmp_path: Path
) -> None:
    library.answers[FF3] = [(200, packed(table("Mkt-RF,SMB,HML,RF"), "../../evil.csv"))]
    french(ask("ff3"))
    assert [path.name for path in tmp_path.iterdir()] == [f"{FF3}.csv"]
    assert not list(tmp_path.parent.parent.glob("evil*"))
    with pytest.raises(InputError, match=r"seen '\.\./x', expected ff3, ff5, momentum or a region"):
        french(ask("../x"))


def test_a_table_that_came_is_not_asked_for_again(
    library: Library, ask: Callable[..., Request]
) -> None:
    library.good(FF3, "Mkt-RF,SMB,HML,RF")
    library.answers[MOMENTUM] = [(429, b"")]
    assert french(ask("ff3", "momentum")).dropped
    library.good(MOMENTUM, "Mom")
    library.asked.clear()
    assert not french(ask("ff3", "momentum")).dropped
    assert library.asked == [MOMENTUM]


def test_momentum_without_the_market_is_told_and_factors_of_no_size_are_refused(
    library: Library, ask: Callable[..., Request]
) -> None:
    library.good(MOMENTUM, "Mom")
    with pytest.raises(InputError, match="mkt_rf and rf did not come: ask for ff3 or ff5 too"):
        french(ask("momentum"))
    head, *rows = table("Mkt-RF,RF").decode().split("\n,")
    tiny = "\n".join(f"{d:%Y%m%d},0.0{d.day % 2},0.02" for d in DAYS)
    library.answers[FF3] = [(200, packed(f"{head}\n,Mkt-RF,RF\n{tiny}\n".encode()))]
    assert rows
    with pytest.raises(InputError, match="standard deviation"):
        french(ask("ff3"))


def test_what_he_revised_is_found_by_factor_and_day(
    library: Library, usjp: Callable[..., Result]
) -> None:
    words = ("prices", "fetch", "ff3", "--source", "french", "--start", START, "--end", END)
    for code in (0.5, 1.5):
        library.good(FF3, "Mkt-RF,SMB,HML,RF", SMB=code)
        assert usjp(*words).exit_code == 0
    before, _ = snapshots()
    done = usjp("prices", "diff", before.digest[:10], "latest")
    assert done.exit_code == 1
    assert done.stdout.split()[-11:] == [
        *("smb3", "2024-01-03", "factor", "0.005", "0.015", "+1.000%"),
        *("1", "revised,", "in", "1", "series."),
    ]


# --- Yahoo, at the seam ---------------------------------------------------------------------

FIELDS = ("Adj Close", "Close", "High", "Low", "Open", "Volume")


def shape(*tickers: str, fields_first: bool = True) -> pd.DataFrame:
    """What yfinance gives: days by (field, ticker), or by (ticker, field)."""
    draw = np.random.default_rng(3)
    parts = {}
    for ticker in tickers:
        close = 50 * np.exp(np.cumsum(draw.normal(0, 0.01, len(DAYS))))
        own = pd.DataFrame({"Adj Close": close * 0.98, "Close": close}, index=DAYS)
        own = own.assign(High=close, Low=close, Open=close * 0.999, Volume=1e6)
        parts[ticker] = own[list(FIELDS)]
    frame = pd.concat(parts, axis=1).rename_axis("Date")
    return frame.swaplevel(axis=1).sort_index(axis=1) if fields_first else frame


@pytest.fixture
def seam(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    """Let Yahoo answer with these, in turn: a frame, nothing, or an error; return what it hears."""

    def play(*answers: Any, until: date = date(2024, 6, 29)) -> list[list[str]]:
        heard: list[list[str]] = []
        left = list(answers)

        def answer(tickers: Sequence[str], start: date, end: date) -> pd.DataFrame | None:
            assert (start, end) == (START, until)
            heard.append(list(tickers))
            given = left.pop(0) if left else None
            if isinstance(given, Exception):
                raise given
            return given

        monkeypatch.setattr(fetch, "download", answer)
        return heard

    return play


@pytest.mark.parametrize("fields_first", [True, False])
def test_both_orders_of_two_header_levels_give_prices_that_the_reader_takes(
    fields_first: bool,
    seam: Callable[..., list[list[str]]],
    ask: Callable[..., Request],
    tmp_path: Path,
) -> None:
    raw = shape("AAA", "BRK-B", fields_first=fields_first).tz_localize("America/New_York")
    heard = seam(raw)
    found = yahoo(ask("aaa", "BRK.B"))
    assert heard == [["AAA", "BRK-B"]]
    assert {*found.frame.columns.get_level_values(0)} == {"open", "close", "adj_close", "volume"}
    assert found.coverage["BRK.B"] == ("2024-01-02", "2024-06-28", len(DAYS))
    assert found.dropped == ()
    found.frame.to_parquet(tmp_path / "p.parquet")
    read = read_prices(tmp_path / "p.parquet", "prices")
    want = shape("AAA", "BRK-B")
    np.testing.assert_allclose(
        read.values["BRK.B"].dropna(),
        want["Adj Close", "BRK-B"].loc[read.values["BRK.B"].dropna().index],
    )
    assert read.close is not None and read.opening is not None


def test_one_ticker_under_one_level_of_names_is_understood(
    seam: Callable[..., list[list[str]]], ask: Callable[..., Request]
) -> None:
    seam(shape("AAA")["Close"].assign(**{k: shape("AAA")[k, "AAA"] for k in FIELDS})[list(FIELDS)])
    assert list(yahoo(ask("AAA")).coverage) == ["AAA"]
    seam(shape("AAA", "BBB")["Close"])
    with pytest.raises(InputError, match="seen columns AAA, BBB, expected Open, Close, Adj Close"):
        yahoo(ask("CCC", "DDD"))


def test_every_ticker_is_in_the_data_or_in_the_list(
    seam: Callable[..., list[list[str]]], ask: Callable[..., Request]
) -> None:
    empty = shape("AAA", "BBB", "CCC")
    empty.loc[:, pd.IndexSlice[:, "BBB"]] = np.nan
    late = shape("BBB")
    heard = seam(empty.drop(columns="CCC", level=1), late)
    found = yahoo(ask("AAA", "BBB", "CCC", "<b>"))
    assert heard == [["AAA", "BBB", "CCC"], ["BBB", "CCC"]]  # what it forgot is asked for again
    assert list(found.coverage) == ["AAA", "BBB"]
    none = "no price at Yahoo from 2024-01-02 to 2024-06-28"
    assert [(d.name, d.reason) for d in found.dropped] == [
        ("CCC", none),
        ("<b>", "no symbol that Yahoo could know"),
    ]


@pytest.mark.parametrize("nothing", [None, pd.DataFrame(), shape("AAA")[:0], shape("AAA") * np.nan])
def test_an_answer_without_any_price_is_one_line(
    nothing: pd.DataFrame | None,
    seam: Callable[..., list[list[str]]],
    ask: Callable[..., Request],
    tmp_path: Path,
) -> None:
    seam(nothing, nothing)
    with pytest.raises(
        InputError, match=r"^no price at Yahoo from 2024-01-02 to 2024-06-28 for any of 1 tick"
    ):
        yahoo(ask("AAA"))
    assert not list(tmp_path.iterdir())


def test_an_unfinished_day_an_empty_last_row_and_prices_of_zero_are_left_out_and_told(
    seam: Callable[..., list[list[str]]],
    ask: Callable[..., Request],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = shape("AAA", "BBB", "CCC")
    raw.loc[DAYS[-1], pd.IndexSlice[:, "BBB"]] = np.nan
    raw.loc[DAYS[5], ("Adj Close", "CCC")] = 0.0
    raw.loc[DAYS[6], ("Close", "CCC")] = np.inf
    raw = pd.concat([raw, raw[-1:]])  # Yahoo sends the running day twice
    noon = datetime(2024, 6, 28, 16, 0, tzinfo=UTC)
    monkeypatch.setattr(fetch, "now", lambda: noon)
    seam(raw)
    found = yahoo(ask("AAA", "BBB", "CCC"))
    assert found.frame.index[-1] == DAYS[-2]
    assert [d.name for d in found.dropped] == ["2024-06-28", "CCC"]
    assert found.dropped[1].reason == "2 days without a positive price, the first 2024-01-09"
    seam(raw, until=date(2025, 1, 1))
    late = yahoo(ask("AAA", "BBB", "CCC", end=date(2024, 12, 31)))
    assert (late.frame.index[-1], late.dropped) == (DAYS[-2], found.dropped)
    monkeypatch.setattr(fetch, "now", lambda: noon.replace(day=29))
    heard = seam(raw)  # the parts of noon are not used after the close
    assert yahoo(ask("AAA", "BBB", "CCC")).coverage["AAA"][1] == "2024-06-28"
    assert yahoo(ask("AAA", "BBB", "CCC")).coverage["BBB"][1] == "2024-06-27"
    assert len(heard) == 1


def test_a_busy_yahoo_is_asked_again_and_what_came_is_kept(
    seam: Callable[..., list[list[str]]],
    ask: Callable[..., Request],
    slept: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetch, "BATCH", 1)
    busy = BusyError("Too Many Requests")
    seam(busy, shape("AAA"), *[busy] * 5)
    with pytest.raises(InputError, match=r"^Yahoo: Too Many Requests, after 5 tries; what came is"):
        yahoo(ask("AAA", "BBB"))
    assert slept == [1.0, 2, 1.0, 2, 10, 30, 60]
    heard = seam(shape("BBB"))
    assert list(yahoo(ask("AAA", "BBB")).coverage) == ["AAA", "BBB"]
    assert heard == [["BBB"]]


def test_yahoo_without_its_library_says_what_to_install(
    ask: Callable[..., Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(InputError, match=r"needs yfinance.* pip install 'yfinance>=1.7'"):
        yahoo(ask("AAA"))


FAILED = "['AAA', 'BBB']: {}"
HEARD: dict[str, tuple[Exception | str, type[Exception]]] = {
    "429": (FAILED.format("YFRateLimitError('Too Many Requests. Rate limited.')"), BusyError),
    "time-out": (FAILED.format("Timeout('curl: (28) Operation timed out')"), BusyError),
    "broken": (ConnectionResetError("reset"), BusyError),
    "cut off": (
        FAILED.format("DNSError('Failed, curl: (6) Could not resolve host: a.b.com. See curl.se')"),
        InputError,
    ),
}


@pytest.mark.parametrize("case", [*HEARD, "delisted"])
def test_what_yfinance_only_logs_is_heard(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told, expected = HEARD.get(case, (FAILED.format("possibly delisted"), None))
    config = SimpleNamespace(network=SimpleNamespace(), debug=SimpleNamespace())

    def fake(tickers: list[str], **how: Any) -> pd.DataFrame:
        assert (how["repair"], how["auto_adjust"]) == (False, False)
        assert (config.network.retries, config.debug.hide_exceptions) == (2, False)
        if isinstance(told, Exception):
            raise told
        logging.getLogger("yfinance").error("Cookie fetch failed (curl: (6)), going on")
        logging.getLogger("yfinance").error("2 Failed downloads:\n%s", told)
        return shape(*tickers)

    monkeypatch.setitem(sys.modules, "yfinance", SimpleNamespace(config=config, download=fake))
    if expected is None:
        assert fetch.download(["AAA"], START, END) is not None
    else:
        online = r"^Yahoo: no connection \(curl: \(6\) Could not resolve host: a.b.com\); see that"
        with pytest.raises(expected, match=rf"Rate|timed out|reset|{online}"):
            fetch.download(["AAA"], START, END)
    left = map(type, logging.getLogger("yfinance").handlers)
    assert logging.StreamHandler not in left


@pytest.mark.live
@pytest.mark.parametrize(
    ("source", "names"), [("yahoo", ("SPY", "KO")), ("french", ("ff3", "ff5"))]
)
def test_the_sources_answer_today(
    source: str, names: tuple[str, ...], ask: Callable[..., Request]
) -> None:
    found = SOURCES[source].fetch(ask(*names))
    assert not found.dropped
    assert all(days > 100 for _, _, days in found.coverage.values())

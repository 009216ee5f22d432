"""Shared fixtures: a user's own study of two sectors on simulated prices, and the command."""

from __future__ import annotations

import functools
import gc
import os
import pickle
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import exchange_calendars
import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from typer.testing import CliRunner, Result

from tests.batches import light_server
from tests.here import without_kernels
from tests.simulated_firms import REAL, FirmFiles, write_averages, write_prices
from usjp_research.__main__ import app
from usjp_research.market.record import market_digest
from usjp_research.runs import batch, warm
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import Spec, digest, find_root
from usjp_research.study import method, quiet
from usjp_research.study.answer import Study, run_study
from usjp_research.study.quiet import Candidates
from usjp_research.study.sample import Sample, sample

gc.set_threshold(5000, 20, 20)  # by default one part in twenty of the time goes into it

settings.register_profile("fixed", derandomize=True)  # every run draws the same examples
settings.load_profile("fixed")

# Every reader of prices asks for the calendar of its own days, a quarter of a second each.
exchange_calendars.get_calendar = functools.cache(exchange_calendars.get_calendar)

Instead = Callable[[Callable[..., Any]], None]
SECTORS = {name: [f"{name[0].upper()}{k:02d}" for k in range(12)] for name in ("solar", "rail")}
PLANTED = 0.08
EVENTS = """id,announced,zone,role,title,solar,rail
N1,2024-03-05 10:00,America/New_York,primary,first,+,+
N2,2024-04-09 10:00,America/New_York,primary,second,+,+
N3,2024-05-14 10:00,America/New_York,primary,third,+,+
"""
UNIVERSE = "ticker,sector,market_value_usd_bn\n" + "".join(
    f"{ticker},{sector},10\n" for sector, tickers in SECTORS.items() for ticker in tickers
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what needs the long run of the bundled study first: the first worker makes it at once.

    Any other worker that came to such a test meanwhile would wait for it and do nothing.
    """
    long = ("report/test_browser", "report/test_exports", "runs/test_notebooks", "runs/test_verify")
    items.sort(
        key=lambda item: (
            not (
                "finished" in getattr(item, "fixturenames", ())
                or any(x in item.nodeid for x in long)
            )
        )
    )


def pytest_collection_finish() -> None:
    """Keep what stays for the whole session from being looked through for garbage again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test reach another machine, but for those that a person runs with -m live."""
    if request.node.get_closest_marker("live"):
        return
    for name in ("connect", "connect_ex"):
        connect = getattr(socket.socket, name)

        def near(self: socket.socket, address: Any, connect: Any = connect) -> Any:
            if self.family != socket.AF_UNIX and address[0] not in (
                "127.0.0.1",
                "::1",
                "localhost",
            ):
                raise RuntimeError(f"a test wanted to reach {address}")
            return connect(self, address)

        monkeypatch.setattr(socket.socket, name, near)


@pytest.fixture(scope="session")
def spec() -> Spec:
    """Return the project's own parameters."""
    return read_spec()


@pytest.fixture(scope="session")
def bundled(spec: Spec, once: Callable[..., Path]) -> Study:
    """The project's own study on the bundled market."""

    def build(folder: Path) -> None:
        (folder / "study").write_bytes(pickle.dumps(run_study(sample(spec, "bundled"))))

    found: Study = pickle.loads((once("bundled", build) / "study").read_bytes())
    return found


def write_study(folder: Path, **texts: str) -> Path:
    """Write a study of one's own: ``events=..., study=...``; no file is needed but two."""
    folder.mkdir(exist_ok=True)
    for name, text in {"universe": UNIVERSE, "events": EVENTS, **texts}.items():
        suffix = "yaml" if name in ("study", "thesis", "words", "batch") else "csv"
        (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Path]:
    """Write a study of one's own in this test's folder: see `write_study`."""
    return functools.partial(write_study, tmp_path / "mine")


@pytest.fixture(scope="session")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four years of daily prices: solar firms gain 8% on day 0 of every event, rail nothing."""
    calendar = exchange_calendars.get_calendar("XNYS", start="2021-01-04", end="2024-12-31")
    days = pd.DatetimeIndex(calendar.sessions, name="date")
    draw = np.random.default_rng(5)
    market = 0.0003 + 0.01 * draw.standard_normal(len(days))
    names = [ticker for tickers in SECTORS.values() for ticker in tickers]
    noise = 0.015 * draw.standard_normal((len(days), len(names)))
    frame = pd.DataFrame(market[:, None] + noise, index=days, columns=names)
    for day in ("2024-03-05", "2024-04-09", "2024-05-14"):
        frame.loc[day, SECTORS["solar"]] += PLANTED
    frame.insert(0, "us_market", market)
    path = tmp_path_factory.mktemp("prices") / "prices.csv"
    (100 * (1 + frame).cumprod()).to_csv(path)
    return path


@pytest.fixture
def usjp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Run the command in this process, in an empty folder outside the project."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def light(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Fork kernels from a server that has imported what they need and no library; end it."""
    server = tmp_path_factory.mktemp("light") / "server.py"
    monkeypatch.setattr(warm, "SERVER", light_server(server))
    warm.stop()
    yield
    warm.stop()


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Instead:
    """Let the command do something else where it runs notebooks, and start no server for them."""

    def put(run: Callable[..., Any]) -> None:
        monkeypatch.setattr(batch, "run_batch", run)
        monkeypatch.setattr(warm, "start", lambda: None)

    return put


# --- finished runs, made once for all processes of a test session ------------------------------

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>"
FORMULA = "=HYPERLINK(1)+cmd|' /C calc'!A0"
LONG = "W" * 120
LONG_SECTOR = "sun" + "shine" * 24
THESIS = f"""
valued_on: 2024-03-01
values_as_of: 2024-03-01
margin: {{low: 0.04, base: 0.08, high: 0.12}}
tax: 0.21
discount_rate: 0.08
years_to_cash: 5
realised: {{approved: 1.0}}
lines:
  - {{id: A1, sector: {LONG_SECTOR}, title: "{EVIL}", amount_usd_bn: 100, basis: "{EVIL}",
     realised: approved, firms: {{S04: 0.5}}, source: "{EVIL}", note: "{LONG}"}}
"""


@pytest.fixture
def evil() -> tuple[str, str, str]:
    """Texts that a page or a spreadsheet must not act upon: markup, a formula, a long word."""
    return EVIL, FORMULA, LONG


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a folder by the first process that asks for it; the others wait until it is there."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def make(name: str, build: Callable[[Path], None]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        try:
            folder.mkdir()
        except FileExistsError:
            for _ in range(4800):
                if done.exists():
                    break
                time.sleep(0.1)
            assert done.read_text() == "", f"{name} was not made: {done.read_text()}"
            return folder
        try:
            build(folder)
            done.write_text("")
        except BaseException as error:
            done.write_text(repr(error))
            raise
        return folder

    return make


@pytest.fixture
def quiet_once(once: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute the table of quiet dates, which takes long, once for all that show it."""
    compute = quiet.quiet_candidates

    def found(data: Sample) -> Candidates:
        def build(folder: Path) -> None:
            (folder / "found").write_bytes(pickle.dumps(compute(data)))

        name = f"quiet-{digest(data.spec)[:16]}-{market_digest(data.market)[:16]}"
        kept: Candidates = pickle.loads((once(name, build) / "found").read_bytes())
        return kept

    monkeypatch.setattr(quiet, "quiet_candidates", found)
    monkeypatch.setattr(method, "quiet_candidates", found)


def _study(*words: object) -> None:
    result = CliRunner().invoke(app, ["study", *map(str, words)])
    assert result.exit_code == 0, result.stderr


@pytest.fixture(scope="session")
def finished(once: Callable[..., Path]) -> Path:
    """A run of the project's own study on the bundled market, one sector's notebook only."""

    def build(out: Path) -> None:
        with without_kernels():
            _study("--out", out, "--sector", "power_utilities")

    return once("finished", build)


@pytest.fixture(scope="session")
def hostile(once: Callable[..., Path], prices: Path) -> Path:
    """A run in which every free text is hostile: markup, formulas and words without end."""

    def build(out: Path) -> None:
        folder = out.parent / f"{out.name}-<img src=x>"
        folder.mkdir()
        names = {"S01": EVIL, "S02": FORMULA, "S03": LONG}
        universe = "ticker,name,sector,market_value_usd_bn\n" + "".join(
            f'"{names.get(ticker, ticker)}","{names.get(ticker, "@name")}",{key},10\n'
            for sector, key in (("solar", LONG_SECTOR), ("rail", "rail"))
            for ticker in [*SECTORS[sector], f"{EVIL}{sector}"]
        )
        titles = (EVIL, FORMULA, LONG)
        events = f"id,announced,zone,role,title,reason,confounders,{LONG_SECTOR},rail\n" + "".join(
            f'N{k},2024-0{k + 2}-0{k + 4} 10:00,America/New_York,primary,"{t}","{t}","{t}",+,+\n'
            for k, t in enumerate(titles, 1)
        )
        claims = "id,claim,found,status,comment,source\n" + f'T1,"{EVIL}","{LONG}",{EVIL},-1,x\n'
        confounders = f"session,title,near_events\n2024-03-05,{EVIL},N1\n"
        for name, text in {
            **{"universe.csv": universe, "events.csv": events, "claims.csv": claims},
            **{"confounders.csv": confounders, "thesis.yaml": THESIS},
        }.items():
            (folder / name).write_text(text, encoding="utf-8")
        frame = pd.read_csv(prices, index_col="date").rename(columns=names)
        frame.to_csv(folder / f"{EVIL[:8]}prices.csv".replace("/", ""))
        market = f"file:{folder / f'{EVIL[:8]}prices.csv'}"
        with without_kernels():
            _study("--params", folder, "--market", market, "--out", out, "--sector", LONG_SECTOR)

    return once("hostile", build)


# Solar is expected to fall and falls; the events of rail have different signs, one does not count.
CANARY, MARKUP = "Client ACME", "<img src=x onerror=alert(1)>"
SIGNS = EVENTS.replace("first,+,+", "first,-,+").replace("second,+,+", "second,-,-")
SIGNS = SIGNS.replace("third,+,+", "third,-,0")
DOLLARS = """valued_on: 2024-03-01
values_as_of: 2024-03-01
margin: {low: 0.04, base: 0.08, high: 0.12}
tax: 0.21
discount_rate: 0.08
years_to_cash: 5
realised: {approved: 1.0}
lines:
  - {id: A1, sector: solar, title: a, amount_usd_bn: 900, basis: b, realised: approved,
     firms: {S04: 0.5}, source: s}
"""


@dataclass(frozen=True)
class Own:
    """A run of a study of one's own, the options that it was made with, and what it printed."""

    run: Path
    options: tuple[str, ...]
    printed: str


@pytest.fixture(scope="session")
def fallen(once: Callable[..., Path], prices: Path) -> Own:
    """A study in a client's folder, in kernels: a sector is expected to fall, a firm is markup."""

    def options(folder: Path) -> tuple[str, ...]:
        own = folder / CANARY
        return ("--params", str(own), "--market", f"file:{own / 'prices.csv'}", "--sector", "solar")

    def build(folder: Path) -> None:
        universe = f"{UNIVERSE}{MARKUP},solar,\n"
        own = write_study(folder / CANARY, universe=universe, events=SIGNS, thesis=DOLLARS)
        returns = pd.read_csv(prices, index_col="date").pct_change(fill_method=None)
        for day in ("2024-03-05", "2024-04-09", "2024-05-14"):
            returns.loc[day, SECTORS["solar"]] -= 2 * PLANTED
        (100 * (1 + returns.fillna(0.0)).cumprod()).to_csv(own / "prices.csv")
        words = ["study", *options(folder), "--out", str(folder / "run")]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.stderr
        (folder / "printed.txt").write_text(done.stdout, encoding="utf-8")

    folder = once("fallen", build)
    return Own(folder / "run", options(folder), (folder / "printed.txt").read_text("utf-8"))


# --- the project's own universe, on simulated firms ---------------------------------------------


@pytest.fixture(scope="session")
def firm_prices(once: Callable[..., Path], spec: Spec) -> Path:
    """A folder with ``prices.parquet`` and ``donors.parquet``: every firm of the universe."""
    return once("firms", lambda folder: write_prices(spec, folder))


@pytest.fixture(scope="session", params=["simulated", pytest.param("real", marks=pytest.mark.slow)])
def firm_files(
    request: pytest.FixtureRequest, firm_prices: Path, once: Callable[..., Path], spec: Spec
) -> FirmFiles:
    """Single firms of the universe: simulated ones always, the real ones where they are."""
    if request.param == "real":
        if not (REAL / "prices_core.parquet").exists():
            pytest.skip("an extra: the real prices may not be shipped and are not here")
        prices, donors = (REAL / f"prices_{name}.parquet" for name in ("core", "sp500"))
        return FirmFiles(prices, donors, find_root(Path(__file__)))
    made = once("firm_averages", lambda folder: write_averages(spec, firm_prices, folder))
    return FirmFiles(firm_prices / "prices.parquet", firm_prices / "donors.parquet", made)

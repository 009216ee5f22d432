"""Shared fixtures: a user's own study of two sectors on simulated prices, and the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import exchange_calendars
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from usjp_research.__main__ import app
from usjp_research.params import read_spec
from usjp_research.spec import Spec

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


@pytest.fixture(scope="session")
def spec() -> Spec:
    """Return the project's own parameters."""
    return read_spec()


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Path]:
    """Write a study of one's own: ``own(events=..., study=...)``; no file is needed but two."""

    def write(**texts: str) -> Path:
        folder = tmp_path / "mine"
        folder.mkdir(exist_ok=True)
        for name, text in {"universe": UNIVERSE, "events": EVENTS, **texts}.items():
            suffix = "yaml" if name in ("study", "thesis") else "csv"
            (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8")
        return folder

    return write


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

"""What a notebook shows of a record: one short line, in which no text acts."""

from __future__ import annotations

import inspect
from dataclasses import is_dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter
from justhtml import JustHTML
from pydantic import BaseModel

import usjp_research as ur
from usjp_research.engine.matched import matched_forecast
from usjp_research.market.donors import Donors
from usjp_research.market.factors import Factors
from usjp_research.market.record import Finding
from usjp_research.report.reading import Reading

EVIL = "<img src=x onerror=alert(1)>"
DAYS = np.array([600])
RECORDS = [
    value
    for name in ur.__all__
    if inspect.isclass(value := getattr(ur, name))
    and (is_dataclass(value) or issubclass(value, BaseModel))
]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, prices: Path) -> list[object]:
    """One record of each kind, from a study whose every free text is hostile."""
    universe = "ticker,name,sector,market_value_usd_bn\n" + "".join(
        f"{ticker},{EVIL},{sector},10\n"
        for sector, start in (("solar", "S"), ("rail", "R"))
        for ticker in (*(f"{start}{k:02d}" for k in range(12)), f"{EVIL}{start}")
    )
    events = "id,announced,zone,role,title,solar,rail\n" + "".join(
        f"N{k},2024-0{k + 2}-07 10:00,America/New_York,primary,{EVIL},+,+\n" for k in (1, 2, 3)
    )
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "universe.csv").write_text(universe, encoding="utf-8")
    (folder / "events.csv").write_text(events, encoding="utf-8")
    spec = ur.read_spec(folder)
    market = ur.load_market(spec, f"file:{prices}")
    data = ur.sample(spec, market)
    study, law = ur.run_study(data), ur.sector_law(data, "rail")
    thesis = ur.read_spec().thesis
    assert thesis
    dropped = next(item for item in study.dropped if EVIL in item.name)
    test = ur.TestResult(EVIL, EVIL, 1.0, "t(9)", 0.3, (EVIL,))
    failed = ur.TestResult(EVIL, EVIL, np.nan, "", np.nan, reason=EVIL)
    made, panel = data.portfolios, data.panel
    series = made.array(["sector/rail"])
    paths = ur.event_paths(data, law)
    row = replace(study.verdicts[1], name=EVIL, headline=EVIL)
    picture = ur.plot_scoreboard([row])
    rest = (data, panel, made, law, paths, row, row.implied)
    finding = Finding(EVIL, date(2024, 3, 7), "jump", 0.5, EVIL, witness=EVIL, accepted=EVIL)
    records = (spec, spec.events[0], spec.firms[0], spec.rule, market, dropped, test, failed)
    more = [*_battery(market), *_comparisons(study)]
    return [*records, finding, thesis, data.forecast(series), *rest, *more, study, picture]


def _battery(market: ur.Market) -> list[object]:
    """The records of a run of the battery, its firms' group named in a hostile way."""
    firms = [name for name in market.returns.columns if name.startswith("S")]
    groups = pd.DataFrame({"firm": firms, "sector": EVIL})
    done = ur.run_battery(market.returns, groups, event="2024-03-07", benchmark="us_market")
    return [done, done.fit, done.fit.design, done.fit.timing, done.groups[EVIL]["[0;0]"]]


def _comparisons(study: ur.Study) -> list[object]:
    """What a sector is compared with, and what came of it, from sources of hostile names."""
    data = study.data
    market, panel, made = data.market, data.panel, data.portfolios
    returns, benchmark = market.returns, made.benchmark
    outside = returns.filter(regex="^S0").set_axis([f"D{k}" for k in range(10)], axis=1)
    donors, factors = Donors(outside, EVIL), Factors(outside[[]], EVIL, reason=EVIL)
    target, pool = made.array(["sector/rail"]), outside.to_numpy()[2:]
    quiet, plan = panel.masked[2:], data.spec.rule.estimation
    _, match = matched_forecast(target[2:], pool, benchmark[2:], quiet, days=DAYS, estimation=plan)
    return [
        *(data, donors, factors, match, ur.synthetic_control(target[2:200, 0], pool[:198])),
        ur.counterfactuals(data, "rail"),
        ur.exposure_rows(data)[0],
        Reading((EVIL,), EVIL, {}),
    ]


def test_there_is_one_record_of_each_public_kind(shown: list[object]) -> None:
    assert {type(record) for record in shown} >= set(RECORDS)


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_every_public_record_shows_itself(record: type) -> None:
    assert hasattr(record, "_repr_html_") or hasattr(record, "_repr_mimebundle_")


def test_a_record_is_shown_in_a_short_line_and_its_text_stays_text(shown: list[object]) -> None:
    seen = 0
    for record in shown:
        if isinstance(record, ur.Picture):
            continue
        text = record._repr_html_()  # type: ignore[attr-defined]
        page = JustHTML(text, fragment=True, sanitize=False)
        assert not page.query("img, script"), type(record)
        seen += EVIL in page.to_text()
        if not isinstance(record, ur.Study | Reading):  # a table, a list of sentences
            assert text.startswith("<p>") and text.endswith(".</p>"), type(record)
            assert len(text) < 900, (type(record), len(text))
            assert len(page.query("b")) == 1, type(record)
    # Event, firm, what was left out, two tests, finding, verdict; the battery's group, donors,
    # factors, the reading.
    assert seen == 11


def test_a_picture_shows_its_drawing_and_its_words(shown: list[object]) -> None:
    (picture,) = (record for record in shown if isinstance(record, ur.Picture))
    data, meta = DisplayFormatter().format(picture)  # type: ignore[no-untyped-call]
    assert "<svg" in data["image/svg+xml"] and "<img" not in data["image/svg+xml"]
    assert EVIL in meta["alt"]


def test_simulated_returns_are_said_to_be_so_first() -> None:
    market = ur.load_market(ur.read_spec(), "simulated")
    assert market._repr_html_().startswith("<p><b>SIMULATED returns")


def test_the_package_in_a_cell_shows_its_names_in_the_order_of_the_pipeline() -> None:
    data, _ = DisplayFormatter().format(ur)  # type: ignore[no-untyped-call]
    names = [name for name in ur.__all__ if name != "__version__"]
    places = [data["text/html"].index(name) for name in ("read_spec", "event_panel")]
    assert places == sorted(places)
    cells = JustHTML(data["text/html"], fragment=True, sanitize=False).query("td")
    assert ", ".join(cell.to_text().strip() for cell in cells).split(", ") == names

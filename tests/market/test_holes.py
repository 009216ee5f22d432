"""The exchange's sessions, not the rows of a file, are the calendar: a hole moves no window."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import Result

from usjp_research.market.load import load_market
from usjp_research.market.record import Market
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import Spec
from usjp_research.study.answer import run_study
from usjp_research.study.events import event_panel
from usjp_research.study.portfolios import form_portfolios
from usjp_research.study.reactions import event_reactions
from usjp_research.study.sample import sample

DAY0 = pd.Timestamp("2024-04-09")  # of N2, on which solar firms gain 8%
LOST = ["2024-04-08", "2024-04-09", "2024-04-10"]
Own = Callable[..., Path]


@pytest.fixture
def load(own: Own, prices: Path, tmp_path: Path) -> Callable[..., tuple[Spec, Market]]:
    """Load the study of one's own on prices with a change: ``load(change, study=...)``."""

    def make(change: Callable[[pd.DataFrame], pd.DataFrame], **texts: str) -> tuple[Spec, Market]:
        frame = change(pd.read_csv(prices, index_col="date", parse_dates=True))
        frame.to_csv(tmp_path / "hole.csv")
        spec = read_spec(own(**texts))
        return spec, load_market(spec, f"file:{tmp_path / 'hole.csv'}")

    return make


def _without(day: str, *names: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Take single prices out, or the whole row where no name is given."""
    if not names:
        return lambda frame: frame.drop(index=pd.Timestamp(day))

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[day, list(names)] = np.nan
        return frame

    return change


@pytest.mark.parametrize("names", [("us_market",), ()], ids=["a price", "the row"])
@pytest.mark.parametrize("day", LOST)
def test_an_event_with_a_hole_in_the_benchmark_is_left_out_and_no_window_moves(
    load: Callable[..., tuple[Spec, Market]], day: str, names: tuple[str, ...]
) -> None:
    spec, whole = load(lambda frame: frame)
    _, market = load(_without(day, *names))
    assert list(market.dates) == list(whole.dates)
    before, panel = event_panel(spec, whole), event_panel(spec, market)
    assert [event.id for event in panel.events] == ["N1", "N3"]
    (left,) = panel.dropped
    assert (left.what, left.name) == ("event", "N2")
    assert left.reason == f"the benchmark has no return on {day}, in its window"
    assert (panel.masked == before.masked).all()  # its days stay out of other events' estimation
    assert [day for day in market.dates[panel.day0]] == [
        day for day in whole.dates[before.day0] if day != DAY0
    ]


def test_estimation_loses_the_day_and_the_numbers_stay(
    load: Callable[..., tuple[Spec, Market]],
) -> None:
    tables = []
    for change in (lambda frame: frame, _without("2024-04-10", "us_market")):
        spec, market = load(change)
        tables.append(event_reactions(sample(spec, market)).set_index(["event", "sector"])["caar"])
    whole, hole = tables
    assert "N2" not in hole.index.get_level_values("event")
    assert hole["N1"].to_numpy() == pytest.approx(whole["N1"].to_numpy(), abs=1e-12)
    assert hole["N3"].to_numpy() == pytest.approx(whole["N3"].to_numpy(), abs=1e-3)
    assert not hole.isna().any()


def test_a_sector_whose_firms_have_a_hole_is_left_out_of_that_event_only(
    load: Callable[..., tuple[Spec, Market]],
) -> None:
    spec, market = load(_without("2024-04-10", *(f"S{k:02d}" for k in range(12))))
    panel = event_panel(spec, market)
    made = form_portfolios(spec, market, panel)
    assert panel.dropped == ()
    assert made.slots["N2", "solar"].series == ""
    assert made.slots["N2", "solar"].reason.startswith("0 firms left")
    assert made.slots["N2", "rail"].reason == ""


def test_a_study_over_a_hole_lists_what_it_cannot_say(
    load: Callable[..., tuple[Spec, Market]],
) -> None:
    spec, market = load(_without("2024-04-10", "us_market"), study="campaign: [N1, N3]\n")
    done = run_study(sample(spec, market))
    reasons = {(item.what, item.name): item.reason for item in done.dropped}
    assert "no return on 2024-04-10" in reasons["event", "N2"]
    assert "not complete" in reasons["campaign rows", "all sectors"]
    assert done.campaign == ()
    assert {row.events for row in done.verdicts} == {("N1", "N3")}
    assert all(math.isfinite(row.effect) for row in done.verdicts)


def test_returns_are_declared_on_the_command_line_and_said_to_be_read_as_such(
    usjp: Callable[..., Result], own: Own, prices: Path, tmp_path: Path
) -> None:
    frame = pd.read_csv(prices, index_col="date").pct_change().iloc[1:]
    frame.to_csv(tmp_path / "returns.csv")
    words = ("study", "--params", own(), "--no-pages", "--out", tmp_path / "out", "--returns")
    done = usjp(*words, "--market", f"file:{tmp_path / 'returns.csv'}")
    assert done.exit_code == 0, done.output
    assert "Read as: declared as returns" in done.stderr.splitlines()
    refused = usjp(*words, "--market", f"file:{prices}")
    assert refused.exit_code == 2
    assert "expected daily returns as decimals, not prices" in refused.stderr
    alone = usjp(*words)
    assert alone.exit_code == 2
    assert "--returns: says what a file holds" in alone.stderr

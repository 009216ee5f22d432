"""Since the note: return less beta times the market, no intercept, beside quiet windows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from tests.study import by_hand
from tests.study.by_hand import SECTORS, STUDY, small_market, small_sample, small_spec
from usjp_research.study.answer import Study
from usjp_research.study.reactions import SINCE, since_note
from usjp_research.study.sample import Sample

NOTE = "2024-09-03"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return small_sample(small_spec(tmp_path_factory.mktemp("small")), *small_market())


def _by_hand(data: Sample, sector: str, note: str) -> dict[str, float]:
    """Fit beta by statsmodels before every window and cumulate without its intercept."""
    days = data.market.dates
    taken, _ = by_hand.masks(data.spec, days)
    market = data.portfolios.benchmark
    own = data.portfolios.returns[f"sector/{sector}"].to_numpy()

    def moved(start: int, length: int) -> tuple[float, float]:
        span = np.arange(start - 270, start - 20)
        use = span[~taken[span]]
        beta = sm.OLS(own[use], sm.add_constant(market[use])).fit().params[1]
        window = slice(start, start + length)
        return float((own[window] - beta * market[window]).sum()), float(beta)

    start = int(days.searchsorted(note))
    length, quiet = len(days) - start, int(np.flatnonzero(taken)[0])
    placebo = [moved(s, length)[0] for s in range(271, quiet - length + 1)]
    seen, beta = moved(start, length)
    return {
        "moved": seen,
        "beta": beta,
        "placebo_mean": float(np.mean(placebo)),
        "placebo_low": float(np.quantile(placebo, 0.05)),
        "placebo_high": float(np.quantile(placebo, 0.95)),
        "windows": len(placebo),
        "independent": (quiet - 271) / length,
        "sessions": length,
    }


def _same(data: Sample, sector: str, note: str) -> None:
    table, paths, dropped = since_note(data)
    assert dropped == () and list(table) == list(SINCE)
    assert table["sector"].tolist() == list(data.spec.sectors)
    row = table.set_index("sector").loc[sector]
    for name, value in _by_hand(data, sector, note).items():
        assert row[name] == pytest.approx(value, abs=1e-10), name
    assert (row["first"], row["last"]) == (note, str(data.market.dates[-1].date()))
    (own,) = (path for path in paths if path.sector == sector)
    assert len(own.offsets) == (data.market.dates >= pd.Timestamp(note)).sum()
    for name, line in (("moved", own.paths), ("placebo_low", own.low), ("placebo_high", own.high)):
        assert line[0, -1] == row[name]


@pytest.mark.parametrize("sector", SECTORS)
def test_sum_and_band_are_those_of_statsmodels(small: Sample, sector: str) -> None:
    _same(small, sector, NOTE)


def test_so_they_are_on_the_bundled_market(bundled: Study) -> None:
    data = bundled.data
    note = str(data.panel.days("publication")[data.spec.rule.note].date())
    _same(data, "mining_metals", note)
    table, _, _ = since_note(data)
    assert (table["placebo_low"] < table["placebo_mean"]).all()
    assert (table["placebo_mean"] < table["placebo_high"]).all()
    assert not {
        name for name in map(str, table) if "p_" in name or name == "p" or "verdict" in name
    }


def test_a_drift_before_the_note_is_not_extrapolated(small: Sample) -> None:
    before, _, _ = since_note(small)
    drift = pd.Series(0.002, small.market.dates).where(small.market.dates < pd.Timestamp(NOTE), 0.0)
    frame = small.portfolios.returns.copy()
    frame["sector/solar"] += drift
    after, _, _ = since_note(replace(small, portfolios=replace(small.portfolios, returns=frame)))
    assert after["moved"].to_numpy() == pytest.approx(before["moved"].to_numpy(), abs=1e-12)
    length = int(before["sessions"][0])
    shift = (after["placebo_mean"] - before["placebo_mean"]).to_numpy()
    assert shift == pytest.approx([0.002 * length, 0.0], abs=1e-12)  # the band's mean tells of it


def test_what_a_sector_gains_after_the_note_is_what_is_shown(small: Sample) -> None:
    before, _, _ = since_note(small)
    frame = small.portfolios.returns.copy()
    late = frame.index >= NOTE
    frame.loc[late, "sector/rail"] += 0.001
    after, paths, _ = since_note(
        replace(small, portfolios=replace(small.portfolios, returns=frame))
    )
    gain = (after["moved"] - before["moved"]).to_numpy()
    assert gain == pytest.approx([0.0, 0.001 * late.sum()], abs=1e-12)
    assert [path.paths.shape for path in paths] == [(1, late.sum())] * len(SECTORS)


def test_the_band_reads_no_day_after_the_first_event(small: Sample) -> None:
    before, _, _ = since_note(small)
    days = small.market.dates
    late = (days >= pd.Timestamp("2024-03-04")) & (days < pd.Timestamp("2024-07-01"))
    frame = small.portfolios.returns.copy()
    frame.loc[late] = 0.5
    benchmark = np.where(late, -0.5, small.portfolios.benchmark)
    made = replace(small.portfolios, returns=frame, benchmark=benchmark)
    after, _, _ = since_note(replace(small, portfolios=made))
    band = ["placebo_mean", "placebo_low", "placebo_high", "windows", "independent"]
    np.testing.assert_allclose(after[band], before[band], rtol=1e-9)


@pytest.mark.parametrize(
    ("study", "note", "reason"),
    [
        (STUDY.replace("note: N4\n", ""), "note", "study.yaml names no 'note'"),
        (STUDY, "N4", "no quiet stretch of"),
    ],
)
def test_without_a_note_or_a_quiet_stretch_the_reason_stands_in(
    tmp_path: Path, study: str, note: str, reason: str
) -> None:
    spec = small_spec(tmp_path, study=study)
    market, controls = small_market()
    if reason.startswith("no quiet"):
        market = replace(market, returns=market.returns.loc["2022-12-20":])
        controls = controls.loc["2022-12-20":]
        openings = {part: table.loc["2022-12-20":] for part, table in market.openings.items()}
        market = replace(market, openings=openings)
    table, paths, dropped = since_note(small_sample(spec, market, controls))
    assert table.empty and paths == ()
    (item,) = dropped
    assert item.name == note and item.reason.startswith(reason)

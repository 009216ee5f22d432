"""Each channel of a thesis is worth what a pencil says, and no channel exceeds its ceiling."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from usjp_research.report.tables import MARGINS, table
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import Spec
from usjp_research.study.answer import Study, what_if
from usjp_research.study.verdict import (
    CASES,
    Implied,
    breakeven_share,
    ceiling,
    decide,
    implied_value,
    most_kept,
    with_assumptions,
    worth,
)
from usjp_research.words import InputError, label

Own = Callable[..., Path]
VALUE = 200.0  # USD bn of market value
HEAD = """valued_on: 2024-03-01
values_as_of: 2024-03-01
margin: {low: 0.05, base: 0.10, high: 0.20}
tax: 0.25
discount_rate: 0.10
years_to_cash: 2
realised: {sure: 1.0, half: {low: 0.0, base: 0.5, high: 1.0}}
"""
LINE = "{{id: {0}, sector: solar, title: t, basis: b, realised: sure, other_listed: 0.5, {1}}}"
PAPER = "source: paper, source_url: http://paper"
UNIVERSE = "ticker,sector,market_value_usd_bn\n" + "".join(
    f"{sector[0].upper()}{k:02d},{sector},10\n" for sector in ("solar", "rail") for k in range(12)
)


def _thesis(*lines: str, head: str = HEAD, more: str = "") -> str:
    listed = "".join(f"  - {LINE.format(f'A{k}', line)}\n" for k, line in enumerate(lines))
    return f"{head}lines:\n{listed}{more}"


def _spec(own: Own, *lines: str, **how: str) -> Spec:
    return read_spec(own(universe=UNIVERSE, thesis=_thesis(*lines, **how)))


def _worth(spec: Spec) -> Implied:
    tickers = [firm.ticker for firm in spec.members("solar")]
    return implied_value(spec, tickers, VALUE, sector="solar")


# What a year's dollar is worth at 10%, paid at the end of each of three years.
THREE = 1 / 1.1 + 1 / 1.1**2 + 1 / 1.1**3
KEPT = 0.5 * 0.75 / 1.1**2  # listed share, tax, two years to the first cash
CHANNELS: dict[str, tuple[str, float]] = {
    "orders": ("amount_usd_bn: 40", 40 * 0.10 * KEPT),
    "service_tail": (
        "channel: service_tail, amount_usd_bn: 40, part: 0.05, years: 3",
        40 * 0.05 * THREE * 0.10 * KEPT,
    ),
    "yearly_flow": (
        "channel: yearly_flow, amount_usd_bn: 7, years: 3, margin: 1, years_to_cash: 0",
        7 * THREE * 0.5 * 0.75,
    ),
    "floor": (
        "channel: floor, amount_usd_bn: 6, part: 0.25, years: 3, margin: 1",
        6 * 0.25 * THREE * KEPT,
    ),
}


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_channel_is_worth_what_a_pencil_says(channel: str, own: Own) -> None:
    line, dollars = CHANNELS[channel]
    got = _worth(_spec(own, f"{line}, {PAPER}"))
    assert got.dollars["base"] == pytest.approx(dollars, rel=1e-12)
    assert got.channels == {channel: got.share}
    assert got.share["base"] == pytest.approx(dollars / VALUE, rel=1e-12)


def test_channels_are_the_parts_of_the_whole(own: Own) -> None:
    got = _worth(_spec(own, *(f"{line}, {PAPER}" for line, _ in CHANNELS.values())))
    assert [*got.channels] == [*CHANNELS]
    for case in CASES:
        parts = sum(part[case] for part in got.channels.values())
        assert parts == pytest.approx(got.share[case], rel=1e-12)


def test_for_ever_is_the_limit_of_many_years(own: Own) -> None:
    line = f"channel: yearly_flow, amount_usd_bn: 7, {PAPER}, years: "
    endless, long = (_worth(_spec(own, line + years)) for years in ("forever", "100"))
    by_hand = sum(7 * 0.10 * KEPT / 1.1**k for k in range(1, 2001))
    assert endless.dollars["base"] == pytest.approx(by_hand, rel=1e-12)
    assert long.dollars["base"] == pytest.approx(by_hand, rel=1e-4)
    assert endless.spent["base"] == pytest.approx(7 / 0.10)


def test_years_may_differ_by_case_and_need_no_discount(own: Own) -> None:
    line = f"channel: yearly_flow, amount_usd_bn: 7, {PAPER}, years: "
    mixed = _worth(_spec(own, line + "{low: 1, base: 3, high: forever}"))
    assert mixed.spent == pytest.approx({"low": 7, "base": 21, "high": 70})
    free = with_assumptions(_spec(own, line + "3"), {"discount_rate": 0})
    assert _worth(free).dollars["base"] == pytest.approx(7 * 3 * 0.10 * 0.5 * 0.75)
    with pytest.raises(InputError, match="A0 pays for ever, and discount_rate is 0"):
        with_assumptions(_spec(own, line + "forever"), {"discount_rate": 0})


def test_a_loss_counts_against_the_gains_but_not_against_the_ceiling(own: Own) -> None:
    gain, loss = f"amount_usd_bn: 10, {PAPER}", f"amount_usd_bn: 40, sign: -1, {PAPER}"
    spec = _spec(own, gain, loss)
    got = _worth(spec)
    assert got.dollars["base"] == pytest.approx(-30 * 0.10 * KEPT)
    assert got.spent["high"] == 50
    assert ceiling(spec.thesis, got) == 50 / VALUE
    assert decide(-0.2, -0.1, got.share["base"]) == "more than priced in"
    share = breakeven_share(spec.thesis, got, 0.05)
    assert share
    assert -share * got.kept / VALUE == pytest.approx(0.05)


def test_the_break_even_of_a_mixture_makes_its_value_the_mde(own: Own) -> None:
    lines = [f"{line.replace(', margin: 1', '')}, {PAPER}" for line, _ in CHANNELS.values()]
    spec = _spec(own, *lines)
    share = breakeven_share(spec.thesis, _worth(spec), 0.05)
    assert share
    every = with_assumptions(spec, {"margin": share, "other_listed": 1})
    assert _worth(every).share["base"] == pytest.approx(0.05, rel=1e-12)


def test_what_all_dollars_of_the_high_case_keep_is_what_a_pencil_says(own: Own) -> None:
    paid, flow = (
        f"amount_usd_bn: 10, {PAPER}",
        f"channel: yearly_flow, years: 3, amount_usd_bn: 7, {PAPER}",
    )
    spec = _spec(own, paid, flow)
    by_hand = 0.75 * (10 / 1.1**2 + 7 * THREE / 1.1**2) / VALUE
    assert most_kept(spec.thesis, _worth(spec)) == pytest.approx(by_hand, rel=1e-12)
    assert math.isnan(most_kept(None, _worth(spec)))


def test_the_table_of_what_ifs_marks_what_reaches_the_mde_and_says_where_nothing_does(
    bundled: Study,
) -> None:
    rows = {row.name: row for row in bundled.rows if row.kind == "sector"}
    told = table("what_if", bundled)
    assert set(told["Sector"]) == {label(name) for name in rows}
    for name, row in rows.items():
        most = most_kept(bundled.data.spec.thesis, row.implied)
        own = told[told["Sector"] == label(name)]
        starred = own["100%"].str.endswith("*")
        assert starred.tolist() == [
            m * most >= row.mde for m in (MARGINS if most > row.mde else [1])
        ]
        assert ("no: " in own["Visible"].iloc[0]) == (most < row.mde)
        every = what_if(bundled, {"margin": 1.0, "other_listed": 1})  # lines' own margins stay
        high = next(r for r in every if r.name == name).implied.share["high"]
        assert abs(high) <= most * (1 + 1e-9)


@pytest.mark.parametrize("tested", [False, True])
def test_no_case_exceeds_the_ceiling_in_any_sector(bundled: Study, tested: bool) -> None:
    spec = bundled.data.spec
    for sector in spec.sectors:
        got = worth(bundled.data, sector, tested=tested)
        most = ceiling(spec.thesis, got)
        assert 0 < max(map(abs, got.share.values())) <= most, sector
        assert abs(got.share["low"]) <= abs(got.share["base"]) <= abs(got.share["high"])
        for case in CASES:
            parts = sum(part[case] for part in got.channels.values())
            assert parts == pytest.approx(got.share[case], rel=1e-9)


def test_what_if_changes_the_general_margin_and_no_line_of_its_own(bundled: Study) -> None:
    thesis = bundled.data.spec.thesis
    assert thesis is not None
    double = {"margin": 2 * thesis.margin.base}
    for before, after in zip(bundled.rows, what_if(bundled, double), strict=True):
        old, new = before.implied.channels, after.implied.channels
        for name in {"orders"} & {*old}:
            assert new[name]["base"] == pytest.approx(2 * old[name]["base"], rel=1e-12)
        for name in {"floor"} & {*old}:
            assert new[name]["base"] == old[name]["base"]


def test_every_channel_of_the_study_has_a_source_and_a_reason(spec: Spec) -> None:
    thesis = spec.thesis
    assert thesis is not None
    beside = [line for line in thesis.lines if line.channel != "orders"]
    assert {line.channel for line in beside} == {"service_tail", "yearly_flow", "floor"}
    for line in beside:
        assert line.source_url.startswith("http"), line.id
        assert "assumption: " in line.note, line.id
    none = " ".join(thesis.no_channel)
    for what in ("sign is not obvious", "direct investment", "Treasuries", "troops", "3.8%", "90%"):
        assert what in none


def test_the_table_of_channels_shows_each_part_with_its_source(bundled: Study) -> None:
    shown = table("channels", bundled)
    parts: list[Any] = [asdict(row)["implied"]["channels"] for row in bundled.rows]
    assert len(shown) == sum(map(len, parts))
    assert [*shown.columns] == ["Sector", "Channel", "Low", "Base", "High", "Source"]
    assert (shown["Source"] != "").all()
    assert len(table("channels", bundled, bundled.rows[:1])) == len(parts[0])


FLOW = "channel: yearly_flow, amount_usd_bn: 7"
REFUSED: dict[str, tuple[str, tuple[str, ...]]] = {
    "another channel": (f"channel: rumour, amount_usd_bn: 7, {PAPER}", ("channel", "floor")),
    "no source": (f"{FLOW}, source: heard", ("line A0", "assumption: reason", "add one")),
    "no reason": (f"{FLOW}, source: 'assumption: '", ("line A0", "assumption: reason")),
    "orders for ever": (f"amount_usd_bn: 7, years: forever, {PAPER}", ("line A0", "give years")),
    "no years": (f"{FLOW}, years: 0, {PAPER}", ("years", "0.01 to 100 years, or forever")),
    "years as a word": (f"{FLOW}, years: long, {PAPER}", ("years", "'long'", "a number")),
    "no sign": (f"{FLOW}, sign: 0, {PAPER}", ("line A0", "seen 0", "1 or -1")),
    "a part below zero": (f"{FLOW}, part: -0.1, {PAPER}", ("part", "seen -0.1", "0 to 10")),
    "a margin above one": (f"{FLOW}, margin: 8, {PAPER}", ("margin", "seen 8", "-1 to 1")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_channel_that_cannot_be_is_refused_in_one_line(case: str, own: Own) -> None:
    line, words = REFUSED[case]
    with pytest.raises(InputError) as caught:
        _spec(own, line)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    for word in words:
        assert word in str(caught.value)


def test_what_is_no_channel_needs_its_reason(own: Own) -> None:
    line = f"amount_usd_bn: 7, {PAPER}"
    assert _spec(own, line, more="no_channel: ['troops: as many as before']\n")
    with pytest.raises(InputError, match="no_channel: seen 'troops', expected 'what: why"):
        _spec(own, line, more="no_channel: [troops]\n")


def test_a_fall_is_counted_once(own: Own) -> None:
    events = "id,announced,zone,role,title,solar,rail\nE1,2024-03-05 10:00,UTC,primary,t,-,+\n"
    text = _thesis(f"amount_usd_bn: 7, sign: -1, {PAPER}")
    with pytest.raises(InputError, match="line A0: key 'sign': seen a value below zero"):
        read_spec(own(universe=UNIVERSE, events=events, thesis=text))


def test_an_assumption_with_its_reason_is_a_source(own: Own) -> None:
    assert _worth(_spec(own, f"{FLOW}, source: 'assumption: a guess'")).share["base"] > 0

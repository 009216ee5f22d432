"""Figures by day and by night: one theme, and every colour of it has its dark counterpart."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pandas as pd
import pytest

import usjp_research as ur
from usjp_research.report.figures import NIGHT, ON_TINT, PAPER
from usjp_research.words import percent

COLOUR = re.compile(r"(?:fill|stroke): (#[0-9a-f]{6})")


@pytest.fixture(scope="module")
def pictures() -> dict[str, ur.Picture]:
    spec = ur.read_spec()
    market = ur.load_market(spec, "bundled")
    panel = ur.event_panel(spec, market)
    made = ur.form_portfolios(spec, market, panel)
    law = ur.sector_law(spec, panel, made, "mining_metals")
    reactions = ur.event_reactions(spec, panel, made)
    paths = ur.relative_paths(spec, made)
    return {
        "caar": ur.plot_caar(ur.event_paths(spec, panel, made, law)),
        "placebo": ur.plot_placebo(law),
        "reactions": ur.plot_reactions(reactions),
        "sectors": ur.plot_sectors(paths, panel.days("primary")),
    }


def _light(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.05 + sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("name", ["caar", "placebo", "reactions", "sectors"])
def test_every_colour_has_a_counterpart_for_dark_screens_or_is_a_tint_with_dark_words(
    name: str, pictures: dict[str, ur.Picture]
) -> None:
    drawn, _, style = pictures[name].svg().decode().rpartition("<style>")
    known = {colour.lower() for colour in NIGHT}
    left = set(COLOUR.findall(drawn)) - known - {ON_TINT.lower()}
    assert name == "reactions" or not left
    assert all(_light(tint) / _light(ON_TINT.lower()) > 4.5 for tint in left)
    for colour in known & set(COLOUR.findall(drawn)):
        assert f'"fill: {colour}"' in style and f'"stroke: {colour}"' in style
    assert style.startswith("@media screen and (prefers-color-scheme:dark){")


def test_words_and_lines_stand_out_by_night() -> None:
    dark = _light(NIGHT[PAPER])
    quiet = {"#D5DAE0", "#E8EBEE", "#F3EBD9", PAPER}  # bands and grids are to stay behind
    for day, night in NIGHT.items():
        if day not in quiet:
            assert _light(night) / dark >= 4.5, day


def test_the_same_numbers_give_the_same_bytes_of_readable_svg() -> None:
    paths = pd.DataFrame({"rail": [0.0, 0.01, -0.02]}, index=pd.date_range("2024-03-04", periods=3))
    first, second = (ur.plot_sectors(paths, {"N1": paths.index[1]}).svg() for _ in range(2))
    assert first == second
    assert ElementTree.fromstring(first).tag.endswith("svg")


def test_the_calendar_strip_names_every_event_with_its_session(spec: ur.Spec) -> None:
    market = ur.simulated_market(spec, seed=1)
    panel = ur.event_panel(spec, market)
    alt = ur.plot_calendar(panel).alt
    for event, session in zip(panel.events, panel.new_york, strict=True):
        assert f"{event.id} {session}" in alt
    assert alt.count(": ") == len({event.role for event in panel.events})
    none = replace(panel, events=(), new_york=(), second=(), day0=panel.day0[:0])
    assert ur.plot_calendar(none).alt == "No event lies inside the data."


def test_figures_without_anything_to_draw_say_so(spec: ur.Spec) -> None:
    assert ur.plot_campaign(()).alt == "No campaign lies inside the data."
    assert "no thesis, or no market value" in ur.plot_waterfall(()).alt


def test_the_small_panels_of_events_say_what_they_draw(spec: ur.Spec) -> None:
    market = ur.simulated_market(spec, seed=1)
    panel = ur.event_panel(spec, market)
    reactions = ur.event_reactions(spec, panel, ur.form_portfolios(spec, market, panel))
    picture = ur.plot_events(reactions, 0.1)
    primary = reactions[reactions["role"] == "primary"]
    for row in primary.to_dict("records"):
        assert f"{row['event']} {percent(row['caar'])}" in picture.alt
    assert "90% bar" in picture.alt
    assert sum(axes.get_visible() for axes in picture.axes) == primary["sector"].nunique()

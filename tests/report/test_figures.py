"""Figures by day and by night: one theme, and every colour of it has its dark counterpart."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

import usjp_research as ur
from usjp_research.report.theme import INK, NIGHT, ON_TINT, PAPER
from usjp_research.spec.read import read_words
from usjp_research.spec.records import PALETTE, find_root
from usjp_research.words import NOT_COUNTED, percent

COLOUR = re.compile(r"(?:fill|stroke): (#[0-9a-f]{6})")
Simulated = tuple[ur.Sample, pd.DataFrame]
SECTORS = read_words(find_root(Path(__file__)) / "params").sectors


@pytest.fixture(scope="module")
def simulated(spec: ur.Spec) -> Simulated:
    """A sample of simulated returns and its reactions."""
    data = ur.sample(spec, ur.simulated_market(spec, seed=1))
    return data, ur.event_reactions(data)


@pytest.fixture(scope="module")
def svgs() -> dict[str, tuple[str, str]]:
    """The wide and the narrow form of figures of the shipped study."""
    spec = ur.read_spec()
    data = ur.sample(spec, "bundled")
    law = ur.sector_law(data, "mining_metals")
    reactions, paths = ur.event_reactions(data), ur.relative_paths(data)
    drawn = {
        "caar": ur.plot_caar(ur.event_paths(data, law)),
        "placebo": ur.plot_placebo(law),
        "reactions": ur.plot_reactions(reactions),
        "sectors": ur.plot_sectors(paths, data.panel.days("primary")),
    }
    return {
        name: (picture.svg().decode(), picture.narrow_svg().decode())
        for name, picture in drawn.items()
    }


def _light(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.05 + sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("name", ["caar", "placebo", "reactions", "sectors"])
def test_every_colour_has_a_counterpart_for_dark_screens_or_is_a_tint_with_dark_words(
    name: str, svgs: dict[str, tuple[str, str]]
) -> None:
    pairs = {**NIGHT, **{row.colour: row.dark_colour for row in SECTORS.values()}}
    for svg in svgs[name]:
        drawn, _, style = svg.rpartition("<style>")
        known = {colour.lower() for colour in pairs}
        left = set(COLOUR.findall(drawn)) - known - {ON_TINT.lower()}
        assert name == "reactions" or not left
        assert all(_light(tint) / _light(ON_TINT.lower()) > 4.5 for tint in left)
        for colour in known & set(COLOUR.findall(drawn)):
            assert f'"fill: {colour}"' in style and f'"stroke: {colour}"' in style
        assert style.startswith("@media screen and (prefers-color-scheme:dark){")


def test_words_and_lines_stand_out_by_night_and_sectors_by_day_too() -> None:
    quiet = {"#D5DAE0", "#E8EBEE", "#F3EBD9", PAPER}  # bands and grids are to stay behind
    own = [(sector.colour, sector.dark_colour) for sector in SECTORS.values()]
    for day, night in [*NIGHT.items(), *PALETTE, *own]:
        if day not in quiet:
            assert _light(night) / _light(NIGHT[PAPER]) >= 4.5, day
    for day, _ in PALETTE:
        assert _light(PAPER) / _light(day) >= 3, day


def test_a_narrow_form_fits_a_phone_with_no_text_under_eleven_pixels(
    svgs: dict[str, tuple[str, str]],
) -> None:
    for name, (_, narrow) in svgs.items():
        width = float(ElementTree.fromstring(narrow).attrib["width"].removesuffix("pt"))
        glyphs = [float(scale) for scale in re.findall(r"scale\(([\d.]+) -", narrow)]
        assert glyphs, name  # an outline has 100 units to the em
        assert min(glyphs) * 100 * 320 / width >= 11, name  # a phone of 360 px has 320 for it


def test_a_picture_is_drawn_once_until_somebody_takes_its_axes(tmp_path: Path) -> None:
    paths = pd.DataFrame({"rail": [0.0, 0.01]}, index=pd.date_range("2024-03-04", periods=2))
    picture = ur.plot_sectors(paths, {})
    picture.save(tmp_path / "one.svg")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one-narrow.svg", "one.svg", "one.txt"]
    data, about = picture._repr_mimebundle_()
    assert data["image/svg+xml"].encode() == (tmp_path / "one.svg").read_bytes()
    assert about["image/svg+xml"]["narrow"].encode() == (tmp_path / "one-narrow.svg").read_bytes()
    assert picture.svg() is picture.svg()
    picture.axes[0].set_ylabel("another word")
    assert picture.svg().decode() != data["image/svg+xml"]


def test_the_same_numbers_give_the_same_bytes_of_readable_svg() -> None:
    paths = pd.DataFrame({"rail": [0.0, 0.01, -0.02]}, index=pd.date_range("2024-03-04", periods=3))
    first, second = (ur.plot_sectors(paths, {"N1": paths.index[1]}).svg() for _ in range(2))
    assert first == second
    assert ElementTree.fromstring(first).tag.endswith("svg")


def test_outlines_are_drawn_to_a_hundredth_of_a_point_and_matrices_in_full() -> None:
    paths = pd.DataFrame(
        {"power_utilities": [0.0, 0.01, 0.03]}, pd.bdate_range("2024-01-01", periods=3)
    )
    svg = ur.plot_sectors(paths, {"N1": paths.index[1]}).svg().decode()
    outlines = re.findall(r' d="([^"]*)"', svg)
    assert len(outlines) > 10 and not re.search(r"\.\d{3}", " ".join(outlines))
    assert re.search(r"scale\(0\.0\d{3,}|translate\(\d+\.\d{3,}", svg) and "  " not in svg


def test_the_calendar_strip_names_every_event_with_its_session(simulated: Simulated) -> None:
    panel = simulated[0].panel
    alt = ur.plot_calendar(panel).alt
    for event, session in zip(panel.events, panel.new_york, strict=True):
        assert f"{event.id} {session}" in alt
    assert alt.count(": ") == len({event.role for event in panel.events})
    none = replace(panel, events=(), new_york=(), second=(), day0=panel.day0[:0])
    assert ur.plot_calendar(none).alt == "No event lies inside the data."


def test_figures_without_anything_to_draw_say_so() -> None:
    assert ur.plot_campaign(()).alt == "No campaign lies inside the data."
    assert ur.plot_scoreboard(()).alt == "There is no row."


def test_a_cell_without_a_tint_has_words_that_turn_light_by_night(simulated: Simulated) -> None:
    _, reactions = simulated
    picture = ur.plot_reactions(reactions)
    assert picture.narrow
    for axes in (picture.axes[0], picture.narrow.axes[0]):
        cells = [text for text in axes.texts if "%" in text.get_text()]
        off = {text.get_color() for text in cells if NOT_COUNTED in text.get_text()}
        own = {text.get_color() for text in cells if NOT_COUNTED not in text.get_text()}
        assert off == {INK} and ON_TINT in own


def test_the_narrow_form_draws_the_numbers_of_the_wide_one(
    spec: ur.Spec, simulated: Simulated
) -> None:
    data, reactions = simulated
    law = ur.sector_law(data, spec.sectors[0])
    for picture in (
        ur.plot_events(reactions, 0.1),
        ur.plot_caar(ur.event_paths(data, law)),
        ur.plot_calendar(data.panel),
    ):
        assert picture.narrow
        for wide, narrow in zip(picture.axes, picture.narrow.axes, strict=True):
            for one, other in zip(wide.lines, narrow.lines, strict=True):
                assert np.array_equal(one.get_xydata(), other.get_xydata(), equal_nan=True)


def test_the_small_panels_of_events_say_what_they_draw(simulated: Simulated) -> None:
    _, reactions = simulated
    picture = ur.plot_events(reactions, 0.1)
    primary = reactions[reactions["role"] == "primary"]
    for row in primary.to_dict("records"):
        assert f"{row['event']} {percent(row['caar'])}" in picture.alt
    assert "90% bar" in picture.alt
    assert sum(axes.get_visible() for axes in picture.axes) == primary["sector"].nunique()

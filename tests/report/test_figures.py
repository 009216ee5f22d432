"""Figures by day and by night: one theme, and every colour of it has its dark counterpart."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup
from matplotlib.figure import Figure

import usjp_research as ur
from usjp_research.report.fill import fill
from usjp_research.report.pages import inline
from usjp_research.report.tables import records
from usjp_research.report.theme import (
    BAR,
    DIGITS,
    HUE,
    INK,
    NIGHT,
    PAPER,
    Picture,
    night,
    pairs,
)
from usjp_research.spec.read import read_words
from usjp_research.spec.records import PALETTE, find_root
from usjp_research.words import InputError, dated, percent

SVG = "{http://www.w3.org/2000/svg}"
Simulated = tuple[ur.Sample, pd.DataFrame]
SECTORS = read_words(find_root(Path(__file__)) / "params").sectors


@pytest.fixture(scope="module")
def simulated(spec: ur.Spec) -> Simulated:
    """A sample of simulated returns and its reactions."""
    data = ur.sample(spec, ur.simulated_market(spec, seed=1))
    return data, ur.event_reactions(data)


@pytest.fixture(scope="module")
def pictures() -> dict[str, ur.Picture]:
    """Figures of the shipped study."""
    spec = ur.read_spec()
    data = ur.sample(spec, "bundled")
    law = ur.sector_law(data, "mining_metals")
    reactions, paths = ur.event_reactions(data), ur.relative_paths(data)
    return {
        "caar": ur.plot_caar(ur.event_paths(data, law)),
        "placebo": ur.plot_placebo(law),
        "events": ur.plot_events(reactions, 0.1),
        "calendar": ur.plot_calendar(data.panel),
        "sectors": ur.plot_sectors(paths, data.panel.days("primary")),
    }


@pytest.fixture(scope="module")
def svgs(pictures: dict[str, ur.Picture]) -> dict[str, list[ElementTree.Element]]:
    """The wide and the narrow form of each."""
    return {
        name: [ElementTree.fromstring(form()) for form in (picture.svg, picture.narrow_svg)]
        for name, picture in pictures.items()
    }


def _light(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.05 + sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_every_colour_has_a_counterpart_for_dark_screens(
    svgs: dict[str, list[ElementTree.Element]],
) -> None:
    known = {day.lower() for day in pairs(row.colours for row in SECTORS.values() if row.colour)}
    for name, forms in svgs.items():
        for root in forms:
            drawn = {node.get(part) for node in root.iter() for part in ("fill", "stroke")}
            drawn -= {None, "none"}
            style = root.findtext(f"{SVG}style") or ""
            assert drawn <= known, name
            assert all(f'[fill="{colour}"]' in style for colour in drawn), name
            assert style.startswith("@media screen and (prefers-color-scheme:dark){")


def test_pages_exchange_the_same_colours_once() -> None:
    rules = night(pairs(()))
    text = fill("gallery.html", night=Markup(rules), simulated=False, runs=[])
    assert text.count(rules) == 1 and '[fill="#1b1f24"]' in rules
    own = night(pairs([("#123456", "#ABCDEF")]))
    assert '[stroke="#123456"]{stroke:#abcdef}' in own


def test_words_lines_and_bars_stand_out_by_day_and_by_night() -> None:
    quiet = {"#D5DAE0", "#E8EBEE", "#F3EBD9", PAPER}  # bands and grids are to stay behind
    own = [(sector.colour, sector.dark_colour) for sector in SECTORS.values()]
    for day, dark in [*NIGHT.items(), *PALETTE, *own]:
        if day not in {*quiet, BAR}:
            assert _light(dark) / _light(NIGHT[PAPER]) >= 4.5, day
    for day in (BAR, HUE, INK, *(day for day, _ in PALETTE)):
        assert _light(PAPER) / _light(day) >= 3, day
    assert _light(NIGHT[BAR]) / _light(NIGHT[PAPER]) >= 3
    assert _light(BAR) / _light(HUE) > 2 and _light(NIGHT[HUE]) / _light(NIGHT[BAR]) > 2  # a dot


def test_text_is_text_of_seven_points_on_paper_and_eleven_pixels_on_a_phone(
    pictures: dict[str, ur.Picture], svgs: dict[str, list[ElementTree.Element]]
) -> None:
    for name, forms in svgs.items():
        for root, room, least in zip(
            forms, (180 / 25.4 * 72, 320), (7, 11), strict=True
        ):  # millimetres, pixels
            wide = float(root.attrib["width"].removesuffix("pt"))
            sizes = [float(t.get("font-size", 9)) for t in root.iter(f"{SVG}text")]
            assert sizes and min(sizes) * room / wide >= least, name
        figure = pictures[name].figure
        figure.draw_without_rendering()
        words = {text.get_text() for axes in pictures[name].axes for text in axes.texts}
        drawn = [text.text or "" for text in forms[0].iter(f"{SVG}text")]
        assert {line for text in words for line in text.split("\n")} <= {*drawn}, name


def test_a_drawing_has_no_ids_and_every_mark_says_its_words(
    pictures: dict[str, ur.Picture], svgs: dict[str, list[ElementTree.Element]]
) -> None:
    for forms in svgs.values():
        for root in forms:
            assert not [node for node in root.iter() if "id" in node.attrib]
            assert {node.tag for node in root.iter()} <= {
                f"{SVG}{tag}" for tag in ("svg", "path", "text", "title", "style")
            }
    said = [title.text for title in svgs["events"][0].iter(f"{SVG}title")]
    rows = pictures["events"].data
    assert rows is not None
    row = records(rows)[0]
    words = f"{row['event']}: {percent(row['moved'])}"
    assert [text for text in said if text and words in text and "interval" in text]
    said = [title.text or "" for title in svgs["calendar"][1].iter(f"{SVG}title")]
    assert len(said) == len(pictures["calendar"].data)  # type: ignore[arg-type]


def test_every_figure_has_a_finding_a_unit_and_what_is_drawn_as_data(
    pictures: dict[str, ur.Picture], svgs: dict[str, list[ElementTree.Element]]
) -> None:
    for name, picture in pictures.items():
        assert picture.title and picture.source and picture.data is not None, name
        _, about = picture._repr_mimebundle_()
        assert about["title"] == picture.title and about["data"] == picture.csv()
        head = float(ElementTree.fromstring(picture.svg()).attrib["data-head"])
        lines = [t for t in svgs[name][0].iter(f"{SVG}text") if float(t.attrib["y"]) < head]
        assert " ".join(t.text or "" for t in lines) == picture.title, name
        assert max(len(picture.svg()), len(picture.narrow_svg())) < 80_000, name
    for name in ("caar", "sectors"):  # of one sector on many days: no more than the drawing shows
        numbers = pictures[name].data.select_dtypes("float")  # type: ignore[union-attr]
        assert np.allclose(numbers, numbers.round(DIGITS - 1), rtol=0, atol=1e-12), name


def test_the_finding_is_counted_from_what_is_drawn(pictures: dict[str, ur.Picture]) -> None:
    rows = pictures["events"].data
    assert rows is not None
    own = rows[rows["counts"]]
    out = int(((own["low"] > 0) | (own["high"] < 0)).sum())
    top = own.iloc[own["moved"].abs().argmax()]
    title = pictures["events"].title
    assert title.startswith(f"{out} of {len(own)} intervals leave out zero")
    assert f"{top['event']}: {percent(float(top['moved']))}" in title


def test_events_are_called_as_people_say_them(pictures: dict[str, ur.Picture]) -> None:
    heads = [axes.get_title(loc="left") for axes in pictures["caar"].axes]
    assert "Deal, 23 Jul" in heads
    assert dated("N1", pd.Timestamp("2024-03-05")) == "N1, 5 Mar"  # no short name: its id
    for picture in pictures.values():
        drawn = " ".join(re.findall(r"<text[^>]*>([^<]*)", picture.svg().decode()))
        assert not re.search(r"\bE\d\d\b", drawn)


def test_a_title_above_a_saved_picture_is_no_part_of_its_drawing() -> None:
    figure = Figure((4, 2))
    figure.subplots().plot([1, 2])
    bare, titled = Picture(figure, "x"), Picture(figure, "x", title="It rose from one to two")
    plain, with_title = (inline(picture.svg().decode()) for picture in (bare, titled))
    assert "It rose" in titled.svg().decode() and "It rose" not in with_title
    (_, low, _, high), (_, top, _, rest) = (
        map(float, re.findall(r'viewBox="([^"]*)"', text)[0].split())
        for text in (plain, with_title)
    )
    assert low == 0 < top and rest == high  # the same room
    assert figure.dpi == 100 and not figure.texts and len({bare, titled}) == 2


def test_lines_end_at_the_edge_of_their_axes_and_pixels_are_refused() -> None:
    figure = Figure((4, 2))
    axes = figure.subplots()
    axes.plot([0, 10], [0, 10])
    axes.set_xlim(0, 5)
    edge = axes.get_window_extent().x1 / figure.dpi * 72
    outline = re.findall(r'd="M([^"]*)"[^>]*stroke="#1f77b4"', Picture(figure, "x").svg().decode())
    assert not outline or max(float(x) for x in outline[0].split()[::2]) <= edge + 1
    axes.imshow([[1, 2], [3, 4]])
    with pytest.raises(InputError, match="pixels"):
        Picture(figure, "x", title="x").svg()
    assert figure.dpi == 100 and not figure.texts


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


def test_outlines_are_drawn_to_a_tenth_of_a_point() -> None:
    paths = pd.DataFrame(
        {"power_utilities": [0.0, 0.01, 0.03]}, pd.bdate_range("2024-01-01", periods=3)
    )
    svg = ur.plot_sectors(paths, {"N1": paths.index[1]}).svg().decode()
    outlines = re.findall(r' d="([^"]*)"', svg)
    assert len(outlines) > 5 and not re.search(r"\.\d\d", " ".join(outlines))


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
        name = dated(row["event"], date.fromisoformat(row["session"]))
        assert f"{name} {percent(row['caar'])}" in picture.alt
    assert "90% bar" in picture.alt
    assert sum(axes.get_visible() for axes in picture.axes) == primary["sector"].nunique()

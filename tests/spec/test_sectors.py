"""A sector's words and colours: one row of ``sectors.csv``, of which nothing is computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import usjp_research as ur
from usjp_research.spec.read import read_words
from usjp_research.spec.records import PALETTE
from usjp_research.words import SECTOR_COLOURS, InputError, label

HEAD = "sector,label,colour,dark_colour\n"
Own = Callable[..., Path]


def test_a_row_names_and_colours_a_sector_and_the_palette_the_others(own: Own) -> None:
    before = ur.digest(ur.read_spec(own()))
    spec = ur.read_spec(own(sectors=f"{HEAD}rail,Rail & Road,#224466,#88AACC\n"))
    assert ur.digest(spec) == before
    assert (label("rail"), label("solar")) == ("Rail & Road", "Solar")
    assert {"solar": PALETTE[0], "rail": ("#224466", "#88AACC")} == SECTOR_COLOURS


def test_another_study_keeps_no_colour_of_the_one_before(own: Own) -> None:
    ur.read_spec()
    ur.read_spec(own())
    assert {"solar": PALETTE[0], "rail": PALETTE[1]} == SECTOR_COLOURS


def test_every_shipped_sector_has_words_and_colours_of_its_own(spec: ur.Spec) -> None:
    assert list(spec.words.sectors) == list(spec.sectors)
    rows = spec.words.sectors.values()
    assert all(row.label and row.colour and row.dark_colour for row in rows)
    assert len({row.colour for row in rows}) == len({row.dark_colour for row in rows}) == len(rows)


def test_names_in_words_yaml_are_read_where_there_is_no_file_of_sectors(own: Own) -> None:
    folder = own()
    (folder / "words.yaml").write_text("sectors: {solar: Sun}\n", encoding="utf-8")
    assert read_words(folder).names()["solar"] == "Sun"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (f"{HEAD}solr,Sun,,\n", r"sectors\.csv: column 'sector': unknown 'solr'.*'solar'"),
        (f"{HEAD}rail,,,\nrail,,,\n", r"row 3, column 'sector': 'rail' already stands in row 2"),
        (f"{HEAD}rail,,blue,#88AACC\n", "row 2, column 'colour': seen 'blue', expected a colour"),
        (f"{HEAD}rail,,#224466,\n", "column 'dark_colour': seen '', .* by day and by night"),
        (f"{HEAD}rail,,#EEDD66,#88AACC\n", "'colour': seen '#EEDD66', expected a contrast of 3"),
        (f"{HEAD}rail,,#224466,#222222\n", "'dark_colour': seen '#222222', .*on #13171C"),
        ("sector,labl\nrail,Rail\n", "unknown column 'labl': did you mean 'label'"),
        (HEAD, "there is a header but no row"),
    ],
)
def test_what_cannot_be_read_or_seen_is_refused(own: Own, text: str, wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        ur.read_spec(own(sectors=text))


def test_sectors_are_declared_in_one_place(own: Own) -> None:
    folder = own(sectors=f"{HEAD}rail,Rail,,\n")
    (folder / "words.yaml").write_text("sectors: {solar: Sun}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"words\.yaml: key 'sectors': .*sectors\.csv names the"):
        ur.read_spec(folder)


@pytest.mark.parametrize("name", ["mirror", "contrast", "all"])
def test_a_sector_is_not_called_as_what_stands_beside_the_sectors(own: Own, name: str) -> None:
    folder = own()
    for file in ("universe.csv", "events.csv"):
        path = folder / file
        path.write_text(path.read_text("utf-8").replace("rail", name), encoding="utf-8")
    with pytest.raises(InputError, match=rf"column 'sector': seen '{name}', expected another name"):
        ur.read_spec(folder)


def test_true_is_no_whole_number_from_whoever_it_comes(own: Own) -> None:
    with pytest.raises(InputError, match="'least_firms': seen True, expected a whole number"):
        ur.read_spec(own(), rule={"least_firms": True})

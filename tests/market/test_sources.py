"""Every kind of market stands once, in a register that help texts and notebooks follow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from usjp_research.market.load import OPEN
from usjp_research.market.sources import SOURCES, is_simulated, sources_help, usage
from usjp_research.spec.records import find_root

DECLARED = {"returns", "prices"}  # what a file holds; the notebooks' comment says it in words


def test_every_source_is_told_and_can_be_opened() -> None:
    assert OPEN.keys() == SOURCES.keys()
    for name, source in SOURCES.items():
        assert usage(name) in sources_help()
        assert source.told in sources_help()


@pytest.mark.parametrize("path", sorted((find_root() / "notebooks").glob("*.ipynb")), ids=str)
def test_the_comment_beside_a_notebooks_parameter_names_the_sources(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    lines = [line for cell in cells for line in "".join(cell["source"]).splitlines()]
    (comment,) = (line.partition("#")[2] for line in lines if line.startswith("market: str"))
    for name in SOURCES.keys() - DECLARED:
        assert usage(name) in comment


def test_only_a_drawn_market_is_simulated() -> None:
    for name, source in SOURCES.items():
        assert is_simulated(f"{name}:7") == is_simulated(name) == source.simulated
    assert not is_simulated("file:simulated.csv")
    assert not is_simulated("nothing known")

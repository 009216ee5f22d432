"""The second study that ships: other events and signs, no thesis, and pages of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from typer.testing import CliRunner, Result

import usjp_research as ur
from tests.here import without_kernels
from usjp_research.__main__ import app
from usjp_research.spec.records import find_root

PARAMS = find_root(Path(__file__)) / "params" / "liberation_day"
OF_THE_FIRST = re.compile(
    r"Japan|Tokyo|Jefferies|Tomahawk|partnership|\bE\d\d\b|uranium|\bpact\b|bargain|Cameco|broker"
    r"|White House|Defense|Mining|the note\b|six sectors",
    re.IGNORECASE,
)


@pytest.fixture(scope="session")
def second(once: Callable[..., Path]) -> Path:
    """A run of the second study on the bundled market, one sector's notebooks."""

    def build(out: Path) -> None:
        words = ["study", "--params", PARAMS, "--out", out, "--sector", "pharma_biotech"]
        with without_kernels():
            done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.stderr
        (out / "printed.txt").write_text(done.stdout, encoding="utf-8")

    return once("second", build)


def test_the_bundle_serves_a_study_of_some_of_its_sectors_and_says_who_was_not_checked() -> None:
    data = ur.sample(ur.read_spec(PARAMS))
    formed = [slot for slot in data.portfolios.slots.values() if slot.series]
    assert {slot.series for slot in formed} == {f"sector/{key}" for key in data.spec.sectors}
    assert {slot.status for slot in formed} == {"not available"}
    assert "mirror" not in data.portfolios.returns.columns
    study = ur.run_study(data)
    assert {row.headline for row in study.verdicts} == {"no implied value"}
    assert any("own news" in line for line in ur.missing_lines(study))
    assert not OF_THE_FIRST.search(" ".join(f"{x.name} {x.reason}" for x in study.dropped))


@pytest.mark.slow
def test_its_pages_say_not_one_word_of_the_first(second: Path) -> None:
    run = json.loads((second / "run.json").read_text("utf-8"))
    assert all(job["status"] == "done" for job in run["jobs"]), run["jobs"]
    pages = sorted((second / "site").glob("*.html"))
    assert len(pages) >= 5
    texts = {"printed": (second / "printed.txt").read_text("utf-8")}
    for path in pages:
        soup = BeautifulSoup(path.read_text("utf-8"), "html.parser")
        for node in soup.select("style, script"):
            node.decompose()
        heard = [str(node.get("alt") or node.get("aria-label") or "") for node in soup(True)]
        texts[path.name] = soup.get_text(" ") + " ".join(heard)
    for name, text in texts.items():
        assert not (found := OF_THE_FIRST.findall(text)), (name, found[:5])
    assert any("part winners from losers" in text for text in texts.values())


def test_it_ships_by_name_wherever_the_user_stands(usjp: Callable[..., Result]) -> None:
    words = ("study", "--no-pages", "--json", "--out", "out")
    found = usjp(*words, "--params", "liberation_day")
    assert found.exit_code == 0, found.stderr
    assert len(json.loads(found.stdout)["rows"]) == 3
    for wrong in ("liberation_dya", "mine/liberation_day"):  # a path that is wrong is no name
        assert "no such folder" in usjp(*words, "--params", wrong).stderr

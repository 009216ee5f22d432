"""Run all, change the sector, run all again: how a notebook is used by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

from tests.here import outputs
from usjp_research.spec.records import find_root

ROOT = find_root(Path(__file__))


def test_changing_the_sector_and_running_all_again_works_with_the_same_names(
    own: Callable[..., Path], prices: Path, tmp_path: Path
) -> None:
    study = {"params": str(own()), "market": f"file:{prices}", "out": str(tmp_path)}
    path = ROOT / "notebooks" / "2_event_study.ipynb"
    cells = nbformat.read(path, as_version=4).cells  # type: ignore[no-untyped-call]
    scope: dict[str, Any] = {}
    seen: dict[str, str] = {}
    for sector in ("solar", "rail", "solar"):
        shown = []
        for cell in (cell for cell in cells if cell.cell_type == "code"):
            shown.append(outputs(cell.source, scope))
            if "parameters" in cell.metadata.get("tags", []):
                scope |= {"sector": sector, **study}
        text = json.dumps(shown, ensure_ascii=False)
        assert seen.setdefault(sector, text) == text  # nothing of the other sector stays
    assert "Solar" in seen["solar"] and "Solar" not in seen["rail"]
    assert "Rail" in seen["rail"] and "Rail" not in seen["solar"]
    saved = {path.stem for path in (tmp_path / "results").glob("*.json")}
    assert saved == {"2_event_study-solar", "2_event_study-rail"}

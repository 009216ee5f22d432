"""Run all, change the sector, run all again: how a notebook is used by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from usjp_research.spec.records import find_root

ROOT = find_root(Path(__file__))


def _shown(notebook: Any) -> str:
    return json.dumps([cell.get("outputs", []) for cell in notebook.cells], ensure_ascii=False)


def test_changing_the_sector_and_running_all_again_works_in_one_kernel(tmp_path: Path) -> None:
    source = ROOT / "notebooks" / "2_event_study.ipynb"
    notebook: Any = nbformat.read(source, as_version=4)  # type: ignore[no-untyped-call]
    (parameters,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    parameters.source = re.sub(
        r'^out: str = "[^"]*"', f"out: str = {str(tmp_path)!r}", parameters.source, flags=re.M
    )
    client = NotebookClient(
        notebook, kernel_name="python3", resources={"metadata": {"path": str(source.parent)}}
    )
    seen: dict[str, str] = {}
    with client.setup_kernel():
        for sector in ("power_utilities", "mining_metals", "power_utilities"):
            parameters.source = re.sub(
                r'^sector: str = "\w+"', f'sector: str = "{sector}"', parameters.source, flags=re.M
            )
            for place, cell in enumerate(notebook.cells):
                client.execute_cell(cell, place)
            text = re.sub(r'"execution_count": \d+', "", _shown(notebook))
            assert seen.setdefault(sector, text) == text  # nothing of the other sector stays
    assert "Power & Utilities" in seen["power_utilities"]
    assert "Mining & Metals" in seen["mining_metals"]
    assert "Power & Utilities" not in seen["mining_metals"]
    saved = {path.stem for path in (tmp_path / "results").glob("*.json")}
    assert saved == {"2_event_study-power_utilities", "2_event_study-mining_metals"}

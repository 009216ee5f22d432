"""Write docs/exhibits.md: every figure and table of the pages, and where its numbers are kept."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from usjp_research.runs.store import write_whole

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path(__file__).with_name("exhibits.md")
HEAD = """# Exhibits

Every figure and table that the pages of a run show, in the order of the notebooks. *Cell* is the id
of the notebook's cell. *Numbers* is the file of the run that holds what is shown, or the file of
parameters; where neither is named, it is the executed notebook alone (`notebooks/` of the run).
*Local* exhibits need a market of single firms and stay out of public pages. This page is made by
`docs/make_exhibits.py`.
"""
VERDICTS, LAW = "results/verdicts.json", "results/2_event_study-SECTOR-law.parquet"
SLOPES, ROBUST = "results/3_exposure.json", "results/5_robustness-SECTOR-{}.parquet"
METHOD = "results/6_method-{}.parquet"
SAVED = {  # result tables that `save_study` writes under the name of the study's field
    *("assurance", "control", "dropped", "first_trade", "reactions", "says", "since", "timing"),
    "variants",
}
KEPT: Mapping[str, str] = {  # by the name of the table, or the function of all else
    **{"events": "params/events.csv", "confounders": "params/confounders.csv"},
    **{"doses": "params/universe.csv", "no_channel": "params/thesis.yaml"},
    **dict.fromkeys(("calendar", "plot_calendar"), "results/calendar.csv"),
    **{"claims": "results/claims.csv", "reactions": "results/reactions.csv"},
    **dict.fromkeys(("plot_placebo", "law"), LAW),
    **dict.fromkeys(("exposure", "plot_exposure"), SLOPES),
    **dict.fromkeys(("verdicts", "contrast", "thesis", "plot_visible"), VERDICTS),
    **dict.fromkeys(("first_screen", "method"), VERDICTS),
    **{"save_reading": "results/reading.json", "timing_numbers": "results/timing.csv"},
    **{"plot_since": "figures/since.svg", "plot_campaign": "figures/campaign.svg"},
    **dict.fromkeys(("plot_counterfactuals", "counterfactuals"), ROBUST.format("rows")),
    **{"donors": ROBUST.format("weights"), "plot_curve": ROBUST.format("curve")},
    **{"curve": ROBUST.format("joint"), "size": METHOD.format("size")},
    **dict.fromkeys(("power", "plot_power"), METHOD.format("power")),
    "candidates": METHOD.format("candidates"),
}
WORDS = ("how_to_read", "glossary")  # explain, and show no result
LINES = "| section | exhibit | function | cell | numbers |\n|---|---|---|---|---|"


class Exhibit(NamedTuple):
    """A figure, table or text of a page."""

    notebook: str
    section: str
    cell: str
    function: str
    name: str  # of the table, empty for all else
    numbers: str
    local: bool

    @property
    def kind(self) -> str:
        """What it is, in words."""
        figure = "figure" if self.function.startswith("plot_") else "text"
        return (f"table `{self.name}`" if self.name else figure) + ", local" * self.local


def assigned(source: str) -> dict[str, ast.expr]:
    """Return what a cell gives names to."""
    parts = [part for part in ast.parse(source).body if isinstance(part, ast.Assign)]
    names = ((name, part.value) for part in parts for name in part.targets)
    return {name.id: value for name, value in names if isinstance(name, ast.Name)}


def shown(source: str, held: Mapping[str, ast.expr]) -> ast.Call | None:
    """Return the call whose value a cell shows, through the name that it was given."""
    body = ast.parse(source).body
    last = body[-1] if body and not source.rstrip().endswith(";") else None
    value = last.value if isinstance(last, ast.Expr) else None
    while value is not None and not isinstance(value, ast.Call):
        if isinstance(value, ast.Name):
            value = held.get(value.id)
        else:  # some columns of a table, or a table on a condition
            value = getattr(value, "value", None) or getattr(value, "body", None)
    return value


def numbers(call: ast.Call, name: str) -> str:
    """Return the file that holds what is shown, or nothing."""
    parts = [part for part in ast.walk(call) if isinstance(part, ast.Attribute)]
    study = {p.attr for p in parts if isinstance(p.value, ast.Name) and p.value.id == "study"}
    if saved := sorted(SAVED & study):
        return f"results/{saved[0]}.csv"
    return "" if "what_if" in {part.attr for part in parts} else KEPT.get(name, "")


def exhibits(path: Path) -> Iterator[Exhibit]:
    """List what a notebook shows, cell by cell."""
    section, held = "", dict[str, ast.expr]()
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source, tags = "".join(cell["source"]), cell["metadata"].get("tags", [])
        if cell["cell_type"] == "markdown":
            heads = [line for line in source.splitlines() if line.startswith("#")]
            section = heads[-1].lstrip("# ") if heads else section
            continue
        held |= assigned(source)
        call = shown(source, held)
        if call is None or not isinstance(call.func, ast.Attribute):
            continue
        function, first = call.func.attr, call.args[0] if call.args else None
        table = str(first.value) if isinstance(first, ast.Constant) else ""
        name = table if function == "table" else ""
        known = name or function.startswith("plot_") or function in KEPT
        if known and name not in WORDS:
            kept = "" if "local" in tags else numbers(call, name or function)
            about = (path.stem, section, cell["id"], function, name, kept)
            yield Exhibit(*about, local="local" in tags)


def every() -> list[Exhibit]:
    """List the exhibits of all notebooks that ship."""
    return [x for path in sorted((ROOT / "notebooks").glob("*.ipynb")) for x in exhibits(path)]


def page() -> str:
    """Write the page, one table a notebook."""
    lines = [HEAD]
    for notebook, items in groupby(every(), lambda item: item.notebook):
        lines += [f"## {notebook}.ipynb\n", LINES]
        for item in items:
            kept = f"`{item.numbers}`" if item.numbers else ""
            cells = (item.section, item.kind, f"`{item.function}`", f"`{item.cell}`", kept)
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    write_whole(PAGE, page().encode())

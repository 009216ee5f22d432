"""Write every table and every figure's drawn numbers, as the notebooks show them.

    python -m tests.golden.make_shown [RUN ...]

runs the notebooks' own cells, in one process, on the bundled market and on the simulated firms
of ``tests/simulated_firms.py``, and writes what they show under ``tests/golden/shown``: a table
as CSV, a figure as one JSON line per drawn thing, a record as its line of HTML. After a wanted
change of words, format or numbers run it again and read the difference.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

import usjp_research as ur
from tests.simulated_firms import write_prices
from usjp_research.spec.records import find_root

ROOT = find_root(Path(__file__))
SHOWN = ROOT / "tests" / "golden" / "shown"
MOST = 60  # values kept of a long array, evenly spread, beside its length and mean
CALLED = re.compile(r"ur\.(?:(?:table\(\"(\w+)\")|(plot_\w+|timing_numbers)\()")

# Each run is a notebook (or the cells below), a market and a sector.
RUNS = {
    "1_data": ("1_data", "bundled", ""),
    "2_event_study-power_utilities": ("2_event_study", "bundled", "power_utilities"),
    "2_event_study-pharma_biotech": ("2_event_study", "bundled", "pharma_biotech"),
    "3_exposure": ("3_exposure", "bundled", ""),
    "4_verdict": ("4_verdict", "bundled", ""),
    "5_robustness-mining_metals": ("5_robustness", "bundled", "mining_metals"),
    "6_method": ("6_method", "bundled", ""),
    "single_firms": ("single_firms", "firms", "defense_aerospace"),
}

# What no cell shows by itself: other values of a notebook's own parameters, the other roles.
MORE = {
    "4_verdict": [
        'ur.table("verdicts", ur.what_if(study, {"margin": 0.9, "tax": 0.15}))',
        'ur.table("thesis", ur.what_if(study, {"realised": 0.4}))',
        "from usjp_research.study.second import assurance",
        'more = ur.what_if(study, {"margin": 0.9, "tax": 0.15})[:-1]',
        'ur.table("assurance", assurance(study.second._replace(rows=more)))',
        'ur.table("channels", study)',
        'others = ["secondary", "leak", "reverse", "publication", "placebo"]',
        'ur.table("events", data.spec, others)',
        'ur.table("confounders", data.spec, False)',
        'ur.table("dropped", study.dropped)',
    ],
    "6_method": ['ur.table("assurance", checked.assurance.assign(**{"priced in": 0.25}))'],
}

# What averages leave empty or withhold, and what differs where firms are listed late.
SINGLE_FIRMS = [
    'params = "params"',
    "import usjp_research as ur",
    "from usjp_research.study.contrast import contrast_row, contrast_versions",
    "spec = ur.read_spec(params)",
    "source = ur.load_market(spec, market)\nsource",
    "data = ur.sample(spec, source)\npanel, made = data.panel, data.portfolios",
    'ur.table("coverage", spec, ur.coverage(spec, source))',
    'ur.table("members", spec, made)',
    'ur.table("dropped", (*source.dropped, *panel.dropped, *made.dropped))',
    'first = spec.with_role("primary")[0].id',
    'ur.table("firms", spec, ur.firm_reactions(data, sector, first))',
    "tests = ur.sector_battery(data, sector, first)",
    'ur.table("dependence", tests)',
    'ur.table("battery", tests)',
    "rule = contrast_row(data)[0]",
    "versions = contrast_versions(data)[0]",
    'ur.table("contrast", [rule], versions)',
    'ur.table("contrast", [rule], versions, public=False)',
    "rows = ur.exposure_rows(data)",
    'ur.table("exposure", rows)',
    'ur.table("exposure", rows, public=False)',
    "ur.plot_exposure(rows[0])",
    "ur.plot_exposure(rows[0], public=False)",
    "ur.plot_dose_response(ur.dose_response(data), rows[0])",
    'ur.table("doses", spec, ur.firm_doses(spec, source))',
]


def write_run(run: str, folder: Path, prices: Path) -> None:
    """Write what a run shows into a new folder; ``prices`` is the file of simulated firms."""
    notebook, market, sector = RUNS[run]
    folder.mkdir(parents=True)
    seen: Counter[str] = Counter()
    chosen = {"market": market if market == "bundled" else f"file:{prices}"}
    for name, value in _values(notebook, chosen | ({"sector": sector} if sector else {})):
        seen[name] += 1
        stem = name if seen[name] == 1 else f"{name}-{seen[name]}"
        for suffix, text in _text(value).items():
            (folder / f"{stem}{suffix}").write_text(text, encoding="utf-8")


def _cells(notebook: str) -> list[str]:
    if notebook == "single_firms":
        return SINGLE_FIRMS
    path = ROOT / "notebooks" / f"{notebook}.ipynb"
    cells = nbformat.read(path, as_version=4).cells  # type: ignore[no-untyped-call]
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    return [*code, *MORE.get(notebook, ())]


def _values(notebook: str, chosen: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    """Run the cells in this process; give what each would show, with its name."""
    names: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as out:
        for k, source in enumerate(_cells(notebook)):
            *body, last = ast.parse(source).body
            shown = last.value if isinstance(last, ast.Expr) else None
            rest = body if shown else [*body, last]
            exec(compile(ast.Module(rest, []), notebook, "exec"), names)
            if shown:
                value = eval(compile(ast.Expression(shown), notebook, "eval"), names)
                called = [table or other for table, other in CALLED.findall(source)]
                if called or isinstance(shown, ast.Name | ast.Attribute):
                    yield called[-1] if called else ast.unparse(shown), value
            if not k:  # the cell of parameters
                names.update(chosen, out=out)


def _text(value: object) -> Mapping[str, str]:
    if isinstance(value, pd.DataFrame):
        return {".csv": value.to_csv(index=False, lineterminator="\n")}
    if isinstance(value, ur.Picture):
        lines = [json.dumps(item, ensure_ascii=False) for item in drawn(value)]
        return {".jsonl": "\n".join(lines) + "\n"}
    shown = getattr(value, "_repr_html_", None)
    return {".html": f"{shown()}\n"} if shown else {}


# --- figures -----------------------------------------------------------------------------------


def drawn(picture: ur.Picture) -> Iterator[dict[str, Any]]:
    """List what a figure holds: its words, then every axes' ticks, lines, shapes and texts."""
    yield {"title": picture.title, "source": picture.source, "alt": picture.alt}
    picture.figure.draw_without_rendering()
    for k, axes in enumerate(axes for axes in picture.axes if axes.get_visible()):
        for item in _axes(axes):
            yield {"axes": k, **item}


def _axes(axes: Any) -> Iterator[dict[str, Any]]:
    for side, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        inside = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        ticks = [tick.label1.get_text() for tick in inside if tick.label1.get_visible()]
        limits = _floats(axis.get_view_interval())
        yield {side: axis.get_label_text(), "ticks": ticks, "limits": limits}
    yield {"title": axes.get_title(loc="left") or axes.get_title()}
    for line in axes.lines:
        x, y = np.asarray(line.get_xydata()).T
        face = to_hex(line.get_markerfacecolor())
        style = f"{line.get_linestyle()} {line.get_marker()}"
        yield {"line": style, "colour": to_hex(line.get_color()), "face": face, **_xy(x, y)}
    for patch in axes.patches:
        outline = patch.get_transform().transform_path(patch.get_path()).vertices
        x, y = axes.transData.inverted().transform(np.asarray(outline)).T
        yield {"shape": to_hex(patch.get_facecolor()), "x": _ends(x), "y": _ends(y)}
    for shapes in axes.collections:
        values = shapes.get_array()
        if values is not None:
            yield {"cells": _floats(np.ma.getdata(values).ravel())}
        if np.any(points := np.ma.getdata(shapes.get_offsets())):
            yield {"points": to_hex(shapes.get_facecolor()[0]), **_xy(*points.T)}
        for path in shapes.get_paths() if values is None else ():
            x, y = np.asarray(path.vertices).T
            faces = shapes.get_facecolor()  # a bundle of lines has none
            tint = (faces if len(faces) else shapes.get_edgecolor())[0]
            yield {"area": to_hex(tint), **_xy(x, y)}
    if axes.get_legend():
        yield {"legend": [text.get_text() for text in axes.get_legend().get_texts()]}
    for text in axes.texts:
        at = [_number(float(part)) for part in _place(axes, text)]
        yield {"text": text.get_text(), "at": at, "colour": to_hex(text.get_color())}


def _place(axes: Any, text: Any) -> tuple[float, float]:
    x, y = getattr(text, "xy", text.get_position())
    return float(axes.convert_xunits(x)), float(axes.convert_yunits(y))


def _xy(x: Any, y: Any) -> dict[str, Any]:
    return {"x": _floats(x), "y": _floats(y)}


def _ends(values: Any) -> list[float | None]:
    return _floats([np.min(values), np.max(values)])


def _floats(values: Any) -> list[float | None]:
    """Return the values, or some of many: then the count and the mean come first."""
    array = np.asarray(values, dtype=float)
    if array.size > 2 * MOST:
        some = array[:: array.size // MOST]
        array = np.concatenate([[array.size, np.nanmean(array)], some])
    return [_number(value) for value in array.tolist()]


def _number(value: float) -> float | None:
    if not np.isfinite(value):
        return None
    return float(f"{value:.12g}") if abs(value) > 1e-12 else 0.0


def main(runs: Sequence[str]) -> None:
    """Write the golden files anew, of some runs or of all."""
    for stale in SHOWN.glob("*"):
        if not runs or stale.name in runs:
            shutil.rmtree(stale)
    with tempfile.TemporaryDirectory() as folder:
        write_prices(ur.read_spec(), Path(folder))
        for run in runs or RUNS:
            write_run(run, SHOWN / run, Path(folder) / "prices.parquet")


if __name__ == "__main__":
    main(sys.argv[1:])

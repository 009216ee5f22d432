"""What may be published: the one place that decides it.

A public run shows averages of at least three firms, and nothing from which a single firm's
return could be worked out. Averages that ship with the project were made under this rule, so
that runs on them are public by nature.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from usjp_research.engine.design import Floats

SMALLEST = 3
LARGEST = 0.90  # leverage of a firm in published averages: at one it could be read back
FIRM = "ticker"  # a table with this column shows single firms
DIGITS = 4  # of numbers that rest on single firms' returns: a basis point
# What stays of a version of the contrast from which a firm could be read.
TOLD = ("name", "kind", "events", "p", "named", "safe")


def disclosed_firms(
    members: Mapping[str, Collection[str]], present: pd.DataFrame, shown: pd.DataFrame | None = None
) -> tuple[tuple[str, ...], float]:
    """Find the firms whose return could be read back from published averages, and the top leverage.

    On a day, averages are a linear map of the returns of the firms present. A firm is disclosed
    when its indicator lies in the row space of that map, that is when its leverage is one.
    ``present`` is (n_days, n_firms); ``shown`` (n_days, n_averages) says when an average is
    published, by default where three firms are present. An average's members
    have the same weight where they are not a mapping of their weights.
    """
    firms = list(present.columns)
    weights = (g if isinstance(g, Mapping) else dict.fromkeys(g, 1.0) for g in members.values())
    table = np.array([[own.get(ticker, 0.0) for ticker in firms] for own in weights])
    known = present.to_numpy(bool)
    if shown is None:
        visible = known.astype(int) @ (table.T > 0).astype(int) >= SMALLEST
    else:
        visible = shown[list(members)].to_numpy(bool)
    found: set[str] = set()
    largest = 0.0
    for pattern in {row.tobytes(): row for row in np.hstack([known, visible])}.values():
        there, rows = pattern[: len(firms)], table[pattern[len(firms) :]]
        if not len(rows):
            continue
        _, sizes, basis = np.linalg.svd(rows * there, full_matrices=False)
        basis = basis[sizes > 1e-9 * sizes[0]]
        leverage = (basis**2).sum(axis=0)
        largest = max(largest, float(leverage.max()))
        found.update(firm for firm, h in zip(firms, leverage, strict=True) if h > LARGEST)
    return tuple(sorted(found)), largest


def publishable(named: Collection[str], rule: Collection[str], events: int) -> bool:
    """Say whether a version of the contrast may be published beside the one of the rule."""
    # Several events do not line up with the rule's one, nor is there a rule's side to subtract.
    differs = len(set(named) ^ set(rule)) if rule and events == 1 else SMALLEST
    return len(named) >= SMALLEST and (differs == 0 or differs >= SMALLEST)


def is_public(level: str, wanted: bool = False) -> bool:
    """Say whether a run is public: because it is to be, or because its market is."""
    return wanted or level == "portfolio"


def withheld(columns: Mapping[str, Collection[str]], level: str) -> dict[str, str]:
    """Return which tables, given their columns, stay out of a public run, with the reason."""
    reasons = {
        name: "it shows single firms, and the run is public"
        for name, inside in columns.items()
        if FIRM in inside
    }
    # Day by day laws, less those of averages published with a firm fewer, are that firm; so are
    # two specifications that differ by an event, and by the firms in its blackout.
    for kind, many in (("-law", "dates"), ("-curve", "versions")):
        found = [name for name in columns if name.endswith(kind) and level == "firm"]
        reasons |= dict.fromkeys(found, f"its many {many} would narrow single firms down")
    return reasons


def coarse(value: Any, level: str) -> Any:
    """Round the numbers of a public run that rest on single firms' returns."""
    if level != "firm":
        return value
    if isinstance(value, pd.DataFrame):
        real = value.select_dtypes("float")
        return value.assign(**{str(name): _rounded(real[name].to_numpy()) for name in real})
    if isinstance(value, dict):
        # What the thesis implies comes from the parameters, and no return is in it.
        kept = {key: part for key, part in value.items() if key == "implied"}
        return {key: coarse(part, level) for key, part in value.items()} | kept
    if isinstance(value, list):
        return [coarse(part, level) for part in value]
    return float(_rounded(np.array(value))) if isinstance(value, float) else value


def _rounded(values: Floats) -> Floats:
    """Round so that rounding once more, to fewer digits, gives what rounding once would give."""
    size = np.abs(values) * 10**DIGITS
    whole = np.rint(size)
    exact = ~(np.abs(size - whole) > 1e-6)
    cut = np.floor(size)
    cut += cut % 5 == 0  # half ways and zeros lean to where the value lies
    return np.asarray(np.copysign(np.where(exact, whole, cut) / 10**DIGITS, values))


def public_record(content: Mapping[str, Any], level: str) -> dict[str, Any]:
    """Return the content of a result's JSON file as a public run holds it."""
    given = ("rule", "data", "alpha", "power")  # parameters, not results
    found = {k: v if k in given else coarse(v, level) for k, v in content.items()}
    if versions := content.get("contrast_versions"):
        plain = [
            row if row.get("safe", True) else {key: row[key] for key in TOLD if key in row}
            for row in versions
        ]
        found["contrast_versions"] = coarse(plain, level)
    return found

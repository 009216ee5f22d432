"""Speed as ratios to floors of the same run: every bench_*.py beside this file, into one JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

# Before NumPy is loaded: threads of linear algebra would wait for one another on a busy machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
HERE = Path(__file__).parent


def main() -> int:
    """Measure, print one line a goal, and write ``outputs/bench.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="Names, such as bench_battery; all by default.")
    parser.add_argument("--out", type=Path, default=HERE.parent / "outputs" / "bench.json")
    asked = parser.parse_args()
    sys.path.insert(0, str(HERE))
    names = sorted(path.stem for path in HERE.glob("bench_*.py"))
    unknown = sorted(set(asked.only) - set(names))
    if unknown:
        parser.error(f"unknown bench '{unknown[0]}'; known: {', '.join(names)}")
    goals = []
    for name in asked.only or names:
        for goal in importlib.import_module(name).measure():
            goals.append({"bench": name, **goal})
            met = "met" if goal["met"] else "NOT MET"
            print(f"{met:>7}  {goal['name']}: {goal['measured']:.4g} {goal['unit']}", end="")
            print(f" (goal: at most {goal['goal']:g})", flush=True)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps({"goals": goals}, indent=1) + "\n", encoding="utf-8")
    return 0 if all(goal["met"] for goal in goals) else 1


if __name__ == "__main__":
    raise SystemExit(main())

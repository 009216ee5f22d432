"""Write docs/reference.md and docs/glossary.md from the package's own names and meanings."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import usjp_research
from usjp_research.report.tables import table
from usjp_research.runs.store import declared, write_whole

HERE = Path(__file__).parent
ROOMS = {  # in the order of the pipeline
    "spec": "What is asked",
    "market": "Returns",
    "engine": "Event studies on arrays",
    "study": "The study",
    "runs": "Runs on disk",
    "report": "Numbers for the eye",
    "words": "Refusals",
}
REFERENCE = """# Reference

The public names of `usjp_research`, by the rooms of the pipeline: parameters become a `Spec`, a
source becomes a `Market`, both become a `Sample`; laws and rows follow from it, and tables and
figures from those. Everything is reached as `ur.NAME` after `import usjp_research as ur`. The
commands say what they take with `usjp COMMAND --help`. This page is made by `docs/make_pages.py`.
"""
GLOSSARY = """# Glossary

What the words of a page mean: the verdicts, and the headings of the tables. The pages show the same
texts, which stand once in the package. [Methods](methods.md) defines what they rest on. This page
is made by `docs/make_pages.py`.
"""
TABLES = {  # those of the answer, by what they show
    "verdicts": "The answer",
    "says": "What each row says",
    "law": "The same study on quiet dates",
    "assurance": "Assurance",
    "control": "What had to move",
    "first_trade": "At the first trade",
    "since": "Since the note",
    "timing": "Before and after",
    "exposure": "Slope on dose",
    "counterfactuals": "Other comparisons",
    "curve": "The specification curve",
    "size": "Where nothing happened",
    "candidates": "Controls on quiet dates",
}


def reference() -> str:
    """Write the page of public names, each by its docstring."""
    rooms: dict[str, list[str]] = defaultdict(list)
    for name in usjp_research.__all__[1:]:
        home = getattr(usjp_research, name).__module__
        rooms[home.split(".")[1]].append(f"{home}.{name}")
    lines = [REFERENCE]
    for room, title in ROOMS.items():
        lines += [f"## {title}\n"]
        for place in rooms[room]:
            name = place.rpartition(".")[2]
            kind = "autoclass" if isinstance(getattr(usjp_research, name), type) else "autofunction"
            lines.append(f"```{{eval-rst}}\n.. {kind}:: {place}\n```\n")
    return "\n".join(lines)


def glossary() -> str:
    """Write the page of meanings: verdicts, then the headings of the answer's tables."""
    lines = [GLOSSARY, "## Verdicts\n", "| verdict | means |", "|---|---|"]
    lines += [f"| {verdict} | {means} |" for verdict, means in table("glossary").to_numpy()]
    for name, title in TABLES.items():
        rows = [row for row in declared(name) if row["title"] and row["meaning"]]
        lines += [f"\n## {title}\n", "| heading | means |", "|---|---|"]
        lines += [f"| {row['title']} | {row['meaning']} |" for row in rows]
    return "\n".join([*lines, ""])


PAGES = {"reference.md": reference, "glossary.md": glossary}

if __name__ == "__main__":
    for file, made in PAGES.items():
        write_whole(HERE / file, made().encode())

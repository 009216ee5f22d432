"""What a run tells of this machine and of single firms, taken out before it is kept."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from usjp_research.runs.store import hidden, json_bytes, write_whole
from usjp_research.words import ANSI, each_text, scrub


def places(files: Iterable[Path], folders: Iterable[Path]) -> dict[str, str]:
    """Return what to write in place of absolute paths, longest first and in every spelling."""
    files, folders = list(files), list(folders)
    found: dict[str, str] = {}
    for path in (q for p in (*files, *folders) for q in (p, p.resolve())):
        above = [*([] if path.is_file() else [path]), *path.parents]
        # Levels such as /home are those of any machine.
        found |= {str(p): "…" for p in above[:-1] if len(p.parts) > 2 or p == above[0]}
    for path in files:
        found |= {str(q): path.name for q in (path, path.resolve())}
    home = f"{Path.home()}{os.sep}"
    found |= {f"~/{k.removeprefix(home)}": v for k, v in found.items() if k.startswith(home)}
    spelt = {form: name for text, name in found.items() for form in _spellings(text)}
    return dict(sorted(spelt.items(), key=lambda item: -len(item[0])))


def _spellings(text: str) -> set[str]:
    escaped = text.encode("unicode_escape").decode()
    forms = {text, escaped, html.escape(text), repr(text)[1:-1], json.dumps(text)[1:-1]}
    return forms | {form.replace('"', '\\"') for form in (text, escaped)}


def tidy(run: Path, names: Mapping[str, str], *, public: bool) -> None:
    """Take places out of a run's files, and cells tagged ``local`` out of public notebooks."""
    for path in sorted((run / "notebooks").glob("*.ipynb")):
        content = json.loads(path.read_text(encoding="utf-8"))
        for cell in content["cells"]:
            tags = cell["metadata"].get("tags") or ()
            if public and "local" in tags and cell["cell_type"] == "code":
                cell |= {"outputs": [], "execution_count": None}
            if told := each_text(lambda text: ANSI.sub("", text), cell.get("outputs")):
                cell["outputs"] = scrub(hidden(told, names))
            cell["source"] = hidden(cell["source"], names)
        content["metadata"] = hidden(content["metadata"], names)
        write_whole(path, json_bytes(content))
    for path in (path for name in ("results", "figures") for path in (run / name).glob("*")):
        if path.suffix in (".json", ".csv", ".svg", ".txt"):
            text = path.read_text(encoding="utf-8")
            if (told := hidden(text, names)) != text:
                write_whole(path, told.encode())

"""An executed notebook in a real JupyterLab, in a real browser: are its figures there?

A notebook that another process ran is not trusted, and JupyterLab then draws no SVG.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from playwright.sync_api import sync_playwright

from usjp_research.report.onefile import find_browser
from usjp_research.words import InputError

FIGURE = """from matplotlib.figure import Figure
from usjp_research.report.theme import Picture

figure = Figure(figsize=(5, 3))
figure.subplots().plot([1, 2, 3])
Picture(figure, "A line that rises.")"""
INLINE = """%matplotlib inline
import matplotlib.pyplot as plt

plt.plot([3, 2, 1]);"""


@pytest.fixture
def program() -> str:
    try:
        return find_browser()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """Start JupyterLab over an empty profile; its address ends in its token."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    own = {
        name: str(tmp_path / name)
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    token = secrets.token_hex(16)
    words = ["--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0", "--notebook-dir=."]
    log = tmp_path / "log"
    with log.open("wb") as said:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *words, f"--IdentityProvider.token={token}"],
            cwd=folder,
            env=os.environ | own,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield f"{_address(server, log)}|{token}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # its kernels too
        server.wait(30)


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + 90
    while time.monotonic() < until and server.poll() is None:
        found = re.search(r"http://127\.0\.0\.1:\d+/", log.read_text(errors="replace"))
        if found:
            try:
                urllib.request.urlopen(f"{found[0]}api", timeout=10)
                return found[0]
            except OSError:
                pass
        time.sleep(0.2)
    raise AssertionError(log.read_text(errors="replace")[-2000:])


def test_figures_of_an_executed_notebook_are_drawn_in_jupyterlab(
    lab: str, program: str, tmp_path: Path
) -> None:
    new: Any = nbformat.v4
    parameters = new.new_code_cell("n: int = 1", metadata={"tags": ["parameters"]})
    cells = [parameters, new.new_code_cell(FIGURE), new.new_code_cell(INLINE)]
    papermill.execute_notebook(
        new.new_notebook(cells=cells),
        str(tmp_path / "notebooks" / "done.ipynb"),
        {"n": 2},
        kernel_name="python3",
        language="python",
        progress_bar=False,
    )
    address, _, token = lab.partition("|")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, chromium_sandbox=False)
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 2000})
            page.goto(f"{address}lab/tree/done.ipynb?token={token}")
            figures = page.locator(".jp-Notebook .jp-OutputArea-output img")
            figures.nth(1).wait_for(timeout=90_000)
            widths = figures.evaluate_all("all => all.map(img => img.naturalWidth)")
            sources = figures.evaluate_all("all => all.map(img => img.src.slice(0, 15))")
        finally:
            browser.close()
    assert sources == ["data:image/png;"] * 2
    assert all(width > 300 for width in widths), widths

"""Kernels from a fork server: the same results as from new processes, and nothing shared."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.batches import processes, shown, wait_for, write_notebook
from usjp_research.runs import warm
from usjp_research.runs.batch import run_batch
from usjp_research.runs.job import Job
from usjp_research.runs.warm import HOME, environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
# Two formats, dates, a legend, a random draw from a seed: what a library's state could change.
FIGURE = """import numpy as np, pandas as pd, matplotlib.pyplot as plt
from matplotlib_inline.backend_inline import set_matplotlib_formats
set_matplotlib_formats("png", "svg")
plt.rcParams["svg.hashsalt"] = "1"
days = pd.date_range("2024-01-01", periods=40)
frame = pd.DataFrame({"a": np.random.default_rng(x).normal(size=40).cumsum()}, index=days)
frame.plot(title=s, figsize=(4, 2));"""
STATE = """import json, os, random, subprocess, sys
import numpy as np
told = {"random": random.random(), "numpy": np.random.rand(), "env": dict(os.environ)}
told["child"] = subprocess.run(["env"], capture_output=True, text=True).stdout
status = open(f"/proc/{os.getppid()}/status").read()
told["threads"] = int(status.split("Threads:")[1].split()[0])
told["server"] = open(f"/proc/{os.getppid()}/cmdline").read()
told["main"] = [sys.argv[0], __name__, sys.path[0]]
print(json.dumps(told))"""
AT_EXIT = """import atexit, pathlib
atexit.register(lambda: pathlib.Path(os.environ["USJP_PLACE"], f"bye-{x}").touch())"""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The same notebooks from the fork server, and cold."""
    folder = tmp_path_factory.mktemp("both")
    figure = write_notebook(
        folder / "figure.ipynb", FIGURE, "pd.concat([frame.describe()] * 30, axis=1)"
    )
    state = write_notebook(folder / "state.ipynb", STATE, AT_EXIT)
    jobs = [
        Job("figure", figure, {"s": "Déjà vu 'x'"}),
        *(Job(f"state-{x}", state, {"x": x}) for x in (1, 2)),
    ]
    warm.stop()  # one that an earlier test of this process has left
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USJP_PLACE", str(folder))
        patch.setenv("SOURCE_DATE_EPOCH", "0")  # the date inside an SVG
        for name, cold in (("warm", False), ("cold", True)):
            outcomes = run_batch(jobs if not cold else jobs[:2], folder / name, cold=cold)
            assert [o.status for o in outcomes] == ["done"] * len(outcomes), outcomes
            assert (folder / "bye-1").exists()  # what a notebook leaves to its end is done
            (folder / "bye-1").unlink()
        yield folder / "warm", folder / "cold"


def _told(out: Path, name: str) -> dict[str, Any]:
    (output,) = shown(out)[name][2][1]
    return dict(json.loads("".join(output["text"])))


def test_figures_and_tables_are_the_same_bytes_warm_and_cold(both: tuple[Path, Path]) -> None:
    one, other = (shown(out)["figure"] for out in both)
    assert one == other
    kinds = {kind for _, outputs in one for o in outputs or () for kind in o.get("data", {})}
    assert {"image/png", "image/svg+xml", "text/html"} <= kinds


@pytest.mark.soak
@pytest.mark.parametrize("name", ["1_data", "2_event_study", "3_exposure", "5_robustness"])
def test_our_notebooks_give_the_same_warm_and_cold(name: str, tmp_path: Path) -> None:
    found = []
    for cold in (False, True):
        jobs = [Job("one", HOME / "notebooks" / f"{name}.ipynb", {"out": str(tmp_path / "run")})]
        assert run_batch(jobs, tmp_path / str(cold), cold=cold)[0].status == "done"
        results = (tmp_path / "run").rglob("*.*")
        found.append((shown(tmp_path / str(cold)), {p.name: p.read_bytes() for p in results}))
    assert found[0] == found[1]


def test_two_kernels_of_one_server_share_no_random_state(both: tuple[Path, Path]) -> None:
    one, other = (_told(both[0], f"state-{x}") for x in (1, 2))
    assert one["random"] != other["random"] and one["numpy"] != other["numpy"]


def test_a_kernel_has_its_own_environment_and_looks_as_if_started_by_itself(
    both: tuple[Path, Path],
) -> None:
    one, cold = (_told(out, "state-1") for out in both)
    own = {"JPY_PARENT_PID", "IPYTHONDIR", "JE_ARROW_MALLOC_CONF"}
    assert {*one["env"]} - own == {*cold["env"]} - own
    assert "JE_ARROW_MALLOC_CONF" not in one["env"]  # meant for the server
    assert one["env"]["IPYTHONDIR"] != _told(both[0], "state-2")["env"]["IPYTHONDIR"]
    assert one["env"]["IPYTHONDIR"] in one["child"]
    assert one["main"] == cold["main"]


def test_the_server_has_one_thread_and_the_kernels_are_its_children(
    both: tuple[Path, Path],
) -> None:
    told = _told(both[0], "state-1")
    assert told["threads"] == 1 and "forkserver" in told["server"]


@pytest.mark.usefixtures("light")
def test_the_server_never_imports_the_project_and_ends_with_its_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USJP_PLACE", str(tmp_path))
    code = "import sys\nprint(sorted(m for m in sys.modules if 'usjp' in m or 'kernelapp' in m))"
    (tmp_path / "probe.py").write_text(code + "\nimport time; time.sleep(600)", "utf-8")
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    env = environment()
    server = warm.Server()
    assert server.usable()
    child = server.fork(["probe"], str(tmp_path), env, tmp_path / "log")
    log = wait_for(lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text("utf-8"))
    assert "usjp" not in log and "ipykernel.kernelapp" in log
    assert {*processes(f"USJP_PLACE={tmp_path}")} == {server.pid, child.pid}
    with pytest.raises(OSError):
        os.waitpid(child.pid, os.WNOHANG)  # the server's child and not ours
    server.close()
    assert wait_for(lambda: not processes(f"USJP_PLACE={tmp_path}"), 30)
    assert child.poll() == warm.LOST
    with pytest.raises(warm.ServerLostError):
        server.fork(["probe"], str(tmp_path), env, tmp_path / "log")

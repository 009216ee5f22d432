"""What is only on some systems is asked for only there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from usjp_research.runs.warm import HOME

# A system without these, as Windows is; its locks are of another module.
ELSEWHERE = """
import asyncio, multiprocessing, subprocess  # these tell Windows by its modules
import exchange_calendars, jupyter_client, matplotlib.pyplot, nbconvert, papermill, scipy.stats
import fcntl as there, importlib, os, pkgutil, signal, sys, types
os_lock = lambda handle, mode, count: there.flock(handle, there.LOCK_EX | there.LOCK_NB)
sys.modules["msvcrt"] = types.SimpleNamespace(locking=os_lock, LK_NBLCK=2)
sys.modules["fcntl"] = sys.modules["resource"] = None
for name in ("fork", "killpg", "setsid", "geteuid"):
    delattr(os, name)
for name in ("SIGKILL", "SIGHUP"):
    delattr(signal, name)
import usjp_research
for found in pkgutil.walk_packages(usjp_research.__path__, "usjp_research."):
    if not found.name.endswith(("__main__", "forkserver")):
        importlib.import_module(found.name)
from pathlib import Path
from usjp_research.runs.folder import locked
from usjp_research.words import InputError
from usjp_research.runs import warm
out = Path(sys.argv[1])
with locked(out):
    try:
        with locked(out):
            print("twice")
    except InputError as error:
        print(str(error).replace(str(os.getpid()), "N"))
print(warm.start())
"""


def test_all_modules_load_and_a_folder_is_locked_without_posix(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path / "out")],
        capture_output=True,
        text=True,
        cwd=HOME,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    refused, server = done.stdout.splitlines()
    assert "process N on" in refused and "is writing there" in refused
    assert server == "None"

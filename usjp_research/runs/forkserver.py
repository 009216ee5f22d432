"""The process from which kernels are forked: libraries are imported once, the project never.

It is started by path, so that it imports nothing of the package: every kernel imports the project
as it is on disk then. Requests come in as lines of JSON, and lines of JSON say which process was
made and how each one ended. When its input ends, so does it, with all that it has made.
"""

from __future__ import annotations

import atexit
import builtins
import ctypes
import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

# What notebooks import and what is slow to import; a library that is not there is left out.
LIBRARIES = (
    *("ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.debugger", "IPython.core.pylabtools"),
    *("numpy", "numpy.random", "pandas", "pyarrow.dataset", "pyarrow.parquet", "pyarrow.csv"),
    *("pydantic.dataclasses", "pydantic.main", "pydantic.type_adapter", "yaml"),
    *("scipy.stats", "scipy.optimize", "scipy.linalg", "statsmodels.formula.api"),
    *("matplotlib.pyplot", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
    *("seaborn", "exchange_calendars", "jinja2", "markupsafe"),
)
CALENDARS = ("XNYS", "XTKS")  # a tenth of a second each
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


class _InKernel:
    kernel = True


def serve() -> dict[str, Any] | None:
    """Fork processes until the input ends; return the request in each of them, else None."""
    wakes, wake = os.pipe()
    for end in (wakes, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    running: set[int] = set()
    text = b""
    before = dict(os.environ)
    # What pandas shows of a wide frame depends on what it was imported in: by a kernel, as here.
    builtins.get_ipython = lambda: _InKernel  # type: ignore[attr-defined]
    for name in LIBRARIES:
        with suppress(ImportError):  # a notebook that wants it will say so
            importlib.import_module(name)
    if calendars := sys.modules.get("exchange_calendars"):
        for name in CALENDARS:  # the library keeps them
            calendars.get_calendar(name)
    del builtins.get_ipython  # type: ignore[attr-defined]
    set_by_them = {k: v for k, v in os.environ.items() if before.get(k) != v}
    _say(threads=_threads())
    gc.collect()
    gc.freeze()  # pages shared with the kernels stay shared
    while True:
        there, _, _ = select.select([0, wakes], [], [])
        if wakes in there:
            with suppress(BlockingIOError):
                os.read(wakes, 4096)
            _reap(running)
        if 0 not in there:
            continue
        piece = os.read(0, 65536)
        if not piece:
            break
        *lines, text = (text + piece).split(b"\n")
        for line in lines:
            request = json.loads(line)
            server, pid = os.getpid(), os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                for end in (wakes, wake):
                    os.close(end)
                return {**request, "server": server, "env": set_by_them | request["env"]}
            running.add(pid)
            _say(made=request["key"], pid=pid)
    for pid in running:
        for kill in (os.killpg, os.kill):  # a new one has no group yet
            with suppress(OSError):
                kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # so that none is there when this process is gone
    return None


def _threads() -> int:
    """Count what a fork would lose, threads of libraries too where the system shows them."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else threading.active_count()


def _reap(running: set[int]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            running.discard(pid)
            _say(pid=pid, status=os.waitstatus_to_exitcode(status))


def _say(**words: object) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


def become(request: dict[str, Any]) -> None:
    """Be the process that was asked for, as if it had been started by itself."""
    os.setsid()  # its own group, which is ended with it
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != request["server"]:  # it died before that
            os._exit(1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(old, new)
    os.closerange(3, 256)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"] | {"JPY_PARENT_PID": str(os.getppid())})
    gc.set_threshold(10_000, 20, 50)  # a tenth of a short notebook's time went into looking
    random.seed()
    importlib.import_module("numpy").random.seed()
    module, *words = request["words"]
    sys.argv = [module, *words]
    sys.path.insert(0, request["cwd"])  # where ``python -m`` has it
    code = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the notebook's own threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)  # taking all that was imported apart takes longer than a short notebook


if __name__ == "__main__":
    if sys.path[:1] == [str(Path(__file__).parent)]:  # its modules are the package's
        del sys.path[0]
    wanted = serve()
    if wanted is not None:
        become(wanted)

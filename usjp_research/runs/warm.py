"""The runner's side of the fork server: kernels asked for, watched and ended as if started here."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
SERVER = Path(__file__).with_name("forkserver.py")
LOST = -signal.SIGKILL if hasattr(signal, "SIGKILL") else 1


def environment() -> dict[str, str]:
    """Return this environment without what makes results differ between users."""
    # Kernels run side by side: threads of each one's linear algebra would wait for the other's.
    env = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"} | os.environ
    env["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    env["PYTHONHASHSEED"] = "0"
    if (HOME / "pyproject.toml").is_file():  # a checkout, which need not be installed
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HOME), env.get("PYTHONPATH")]))
    return env


class ServerLostError(OSError):
    """The fork server has ended, and with it all kernels that it had made."""


class Forked:
    """A process that the fork server has made, with what `subprocess.Popen` says of one."""

    stdin = stdout = stderr = None

    def __init__(self, server: Server, pid: int) -> None:
        self.server, self.pid = server, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, None while the process runs."""
        if self.returncode is None:
            self.returncode = self.server.status(self.pid)
        return self.returncode

    def wait(self) -> int | None:
        """Return the exit status of a process that has been seen to end."""
        return self.poll()

    def send_signal(self, number: int) -> None:
        """Send a signal to the process alone."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask the process to end."""
        self.send_signal(signal.SIGTERM)


class Server:
    """A fork server of this process; it ends with it, however this process ends."""

    def __init__(self) -> None:
        # Arrow's allocator would otherwise start a thread, which no fork takes along.
        env = {**environment(), "JE_ARROW_MALLOC_CONF": "background_thread:false"}
        self._process = subprocess.Popen(
            [sys.executable, "-Xfrozen_modules=off", str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # warnings of libraries are for nobody here
            env=env,
            start_new_session=True,  # an interrupt at the terminal is for the runner
        )
        self._lock = threading.Lock()
        self._text = b""
        self._made: dict[int, int] = {}
        self._ended: dict[int, int] = {}
        self._count = 0
        self._threads: int | None = None
        self.lost = False

    @property
    def used(self) -> bool:
        """Say whether the server has made a kernel."""
        return self._count > 0

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def usable(self) -> bool:
        """Wait until the libraries are there; False where a fork would lose a thread."""
        with self._lock:
            while self._threads is None and not self.lost:
                self._read(None)
            return self._threads == 1 and not self.lost

    def fork(self, words: Sequence[str], cwd: str, env: Mapping[str, str], log: Path) -> Forked:
        """Make a process that runs a module with its arguments."""
        with self._lock:
            self._count += 1
            key = self._count
            asked = {"key": key, "words": [*words], "cwd": cwd, "env": {**env}, "log": str(log)}
            try:
                assert self._process.stdin
                self._process.stdin.write(json.dumps(asked).encode() + b"\n")
                self._process.stdin.flush()
            except (OSError, ValueError):  # or closed
                self.lost = True
            while key not in self._made:
                if self.lost:
                    raise ServerLostError("the fork server ended")
                self._read(None)
            return Forked(self, self._made.pop(key))

    def status(self, pid: int) -> int | None:
        """Return how a process ended, None while it runs."""
        with self._lock:
            while pid not in self._ended and not self.lost and self._read(0):
                pass
            if self.lost and pid not in self._ended:
                with suppress(OSError):  # children of the kernel, which no one else would end
                    os.killpg(pid, signal.SIGKILL)
                self._ended[pid] = LOST
            return self._ended.get(pid)

    def _read(self, seconds: float | None) -> bool:
        """Take in what the server has said; False when that is nothing."""
        assert self._process.stdout
        handle = self._process.stdout.fileno()
        if not select.select([handle], [], [], seconds)[0]:
            return False
        piece = os.read(handle, 65536)
        self.lost = not piece
        *lines, self._text = (self._text + piece).split(b"\n")
        for said in map(json.loads, lines):
            if "threads" in said:
                self._threads = said["threads"]
            elif "made" in said:
                self._made[said["made"]] = said["pid"]
            else:
                self._ended[said["pid"]] = said["status"]
        return True

    def close(self) -> None:
        """End the server and what it has made."""
        assert self._process.stdin
        assert self._process.stdout
        with suppress(OSError):
            self._process.stdin.close()
        if not self.used:  # it may be importing still
            self._process.kill()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with self._lock:
            self._process.stdout.close()
            self.lost = True


_servers: list[Server] = []
_starting = threading.Lock()


def start() -> Server | None:
    """Return the fork server of this process, which may still be importing; None without fork."""
    if not hasattr(os, "fork"):
        return None
    with _starting:
        if _servers and _servers[0].lost and _servers[0].used:  # it could serve, and was killed
            stop()
        if not _servers:
            _servers.append(Server())
        return _servers[0]


def stop() -> None:
    """End the fork server of this process, if there is one."""
    while _servers:
        _servers.pop().close()


atexit.register(stop)

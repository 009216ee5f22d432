"""A kernel of its own for every job: how it starts, what it must not lose, and why it died."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from usjp_research.runs.locks import take
from usjp_research.runs.warm import Server, environment

LONGEST_SOCKET = 90  # bytes of a path; macOS allows 103 for the longest socket of a kernel
SCRATCH = "usjp-run-"


# --- its folder, and its end -----------------------------------------------------------------


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder for sockets and logs, after removing those of runs that were killed."""
    for old in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        if (handle := _hold(old)) is not None:
            shutil.rmtree(old, ignore_errors=True)
            os.close(handle)
    handle = None
    while handle is None:  # until no other process has taken it for an old one
        folder = Path(tempfile.mkdtemp(prefix=SCRATCH))
        handle = _hold(folder)
        if os.name == "nt":  # where no folder can be held, and none is cleared for others
            break
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _hold(folder: Path) -> int | None:
    """Hold a folder until this process ends or closes the handle; None where it is another's."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    if take(handle) and folder.exists():
        return handle
    os.close(handle)
    return None


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into `SystemExit`, so that what was started is ended first."""
    main = threading.current_thread() is threading.main_thread()  # no other may take any
    ends = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    free = [n for n in ends if signal.getsignal(n) == signal.SIG_DFL]
    taken = free if main else []

    def end(number: int, _: FrameType | None) -> None:
        for other in taken:  # one is enough
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def cause(status: int) -> str:
    """Say how a process ended."""
    if status >= 0:
        return f"with exit status {status}"
    name = signal.Signals(-status).name
    return f"by {name}{', perhaps out of memory' if name == 'SIGKILL' else ''}"


# --- its start -------------------------------------------------------------------------------


@dataclass(slots=True)
class Limits:
    """What ends a kernel before its notebook does, and how its process ended."""

    stop: Path  # a file: the batch is over
    until: float | None = None  # of the monotonic clock
    exits: list[int] = field(default_factory=list)
    passed: bool = False  # its time was over
    stopped: bool = False

    def over(self) -> bool:
        """Say whether the kernel is to end now."""
        self.passed |= self.until is not None and time.monotonic() > self.until
        self.stopped |= self.stop.exists()
        return self.passed or self.stopped


def _process_class(scratch: Path, limits: Limits, server: Server | None) -> type:
    """Return a provisioner: how a kernel's process is made, watched and ended with its children."""
    from jupyter_client.provisioning.local_provisioner import LocalProvisioner

    class Process(LocalProvisioner):
        async def launch_kernel(self, cmd: list[str], **how: Any) -> Any:
            if server is None:
                return await super().launch_kernel(cmd, **how)
            words = [__name__, *cmd[cmd.index(__name__) + 1 :]]
            made = server.fork(words, how["cwd"], how["env"], scratch / "log")
            self.process, self.pid, self.pgid = made, made.pid, made.pid  # type: ignore[assignment]
            return self.connection_info

        async def poll(self) -> int | None:
            if self.has_process and limits.over():
                await self.kill()
            status = await super().poll()
            if self.has_process and status is not None:
                limits.exits.append(status)
                if self.pgid:  # what the notebook had started
                    with suppress(OSError):
                        os.killpg(self.pgid, signal.SIGKILL)
            return status

        async def wait(self) -> int | None:
            while self.has_process and await self.poll() is None:
                await asyncio.sleep(0.01)  # a tenth of a second there, for every notebook
            return await super().wait()

    return Process


def kernel_class(scratch: Path, cwd: str, limits: Limits, server: Server | None) -> type:
    """Return a kernel manager that keeps its files in one folder and notes the exit status.

    With a fork server the kernel is forked from it; without, it is a new process.
    """
    import zmq
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    connection = str(scratch / "k.json")
    env = environment() | {"IPYTHONDIR": str(scratch / "ipython")}  # no start-up files, no history
    # The spec named python3 may start another Python.
    argv = [sys.executable, "-Xfrozen_modules=off", "-m", __name__, "-f", connection]
    spec = KernelSpec(argv=argv, language="python")

    class Kernel(AsyncKernelManager):
        kernel_spec = spec

        async def start_kernel(self, **words: Any) -> None:  # type: ignore[override]
            self.connection_file = connection
            if zmq.has("ipc") and len(os.fsencode(connection)) < LONGEST_SOCKET:
                self.transport = "ipc"
            # Now and then ipykernel 7 hangs after its exit handlers, until it is terminated.
            self.shutdown_wait_time = 2.0
            made = _process_class(scratch, limits, server)
            self.provisioner = made(parent=self, kernel_spec=spec, kernel_id=scratch.name)
            with (scratch / "log").open("ab") as log:
                more = {"cwd": cwd, "env": env, "stdout": log, "stderr": log}
                await super().start_kernel(**words, **more)

    return Kernel


def main() -> None:
    """Be a kernel, as ``ipykernel_launcher`` is, that loses no output and no exception."""
    if sys.path[0] in ("", str(Path.cwd())):
        del sys.path[0]  # IPython puts it back when what the kernel needs has been loaded
    import zmq
    from ipykernel.ipkernel import IPythonKernel
    from ipykernel.kernelapp import IPKernelApp
    from ipykernel.zmqshell import ZMQInteractiveShell

    class Shell(ZMQInteractiveShell):
        def _showtraceback(self, etype: type, evalue: BaseException, stb: Any) -> None:
            try:
                said = f"{etype.__name__}: {evalue}"
            except Exception:  # the kernel would fail at this, too, and name that failure
                said = f"{etype.__name__}: its message cannot be read"
                evalue = RuntimeError("its message cannot be read")
            # Without a traceback of its own the kernel would never answer.
            if not (isinstance(stb, list) and all(isinstance(line, str) for line in stb)):
                stb = [said]
            super()._showtraceback(etype, evalue, stb)  # type: ignore[no-untyped-call]

    class Kernel(IPythonKernel):
        shell_class = Shell

    class App(IPKernelApp):
        kernel_class = Kernel

        # What is shown faster than it is read waits, where ZMQ would drop it.
        def init_iopub(self, context: zmq.Context[Any]) -> None:
            context.setsockopt(zmq.XPUB_NODROP, 1)
            super().init_iopub(context)  # type: ignore[no-untyped-call]

    # In a fork this was read when the library was imported, by the fork server.
    App.launch_instance(parent_handle=int(os.environ.get("JPY_PARENT_PID") or 0))


if __name__ == "__main__":
    main()

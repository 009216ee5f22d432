"""What befalls a batch: after any of it a rerun completes, repeats nothing and leaves nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.batches import (
    END,
    NOTE,
    Batch,
    meanwhile,
    mounts,
    own_mounts,
    shown,
    wait_for,
    write_notebook,
)
from usjp_research.runs.warm import HOME

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 20))]
Once = Callable[..., Path]


@pytest.fixture
def undisturbed(once: Once) -> dict[str, Any]:
    """What the notebooks show when nothing befalls them."""

    def build(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            batch = Batch(folder / "batch")
            assert batch.here(patch).exit_code == 0
            batch.leaves_nothing()

    return shown(once("undisturbed", build) / "batch" / "out")


def strike(batch: Batch, seed: int, victims: Callable[[], list[int]]) -> Callable[[], None]:
    """Return what kills a process: in a cell first, at any time of the batch with other seeds."""
    draw = random.Random(seed)
    if not seed:
        batch.hold.touch()

    def act() -> None:
        wait_for(lambda: (not batch.hold.exists() or batch.noted("begun")) and victims())
        time.sleep(draw.uniform(0, 1.5) if seed else 0.3)
        for pid in draw.sample(found := victims(), min(len(found), 1)):
            with suppress(ProcessLookupError):  # it has ended by itself
                os.kill(pid, signal.SIGKILL)
        batch.hold.unlink(missing_ok=True)

    return act


@pytest.mark.parametrize("seed", SEEDS)
def test_a_kernel_that_is_killed_is_told_and_its_notebook_not_run_twice(
    seed: int, undisturbed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Batch(tmp_path / "batch")
    with meanwhile(strike(batch, seed, batch.kernels)):
        result = batch.here(monkeypatch)
    assert max(batch.noted("begun").values()) == 1 or seed
    killed = {name for name, status in batch.statuses().items() if status == "killed"}
    assert (result.exit_code, len(killed)) == (1, 1) or seed
    for name in killed:
        assert f"(job {name}) killed, cell " in result.stderr and "SIGKILL" in result.stderr
        assert f"again: usjp batch {batch.runs} --out {batch.out} --only {name}" in result.stderr
    assert {*batch.statuses().values()} <= {"done", "killed"}
    batch.ends_as(undisturbed, monkeypatch)


@pytest.mark.parametrize("seed", SEEDS)
def test_jobs_go_on_when_the_fork_server_is_killed(
    seed: int, undisturbed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Batch(tmp_path / "batch")
    with meanwhile(strike(batch, seed, batch.servers)):
        result = batch.here(monkeypatch)
    assert result.exit_code == 0, result.stderr
    assert max(batch.noted("begun").values()) == 2 or seed
    assert max(batch.noted("ended").values()) == 1 or seed
    assert shown(batch.out) == undisturbed
    batch.leaves_nothing()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_runner_that_is_killed_takes_all_with_it_and_a_second_one_is_refused_before(
    seed: int, undisturbed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Batch(tmp_path / "batch")
    batch.hold.touch()
    runner = batch.start(*(["--cold"] if seed % 2 else []))
    try:
        wait_for(lambda: batch.noted("begun"))
        second = batch.here(monkeypatch)
        assert second.exit_code == 2 and len(second.stderr.splitlines()) == 1
        assert f"process {runner.pid} on " in second.stderr and "is writing there" in second.stderr
        if seed:
            batch.hold.unlink()
            time.sleep(random.Random(seed).uniform(0, 1.5))
    finally:
        runner.kill()
        runner.wait()
    wait_for(lambda: not batch.alive(), 30)
    batch.hold.unlink(missing_ok=True)
    (batch.out / "notebooks" / ".one-x=1.ipynb-0123456789ab").write_text("half", "utf-8")
    batch.ends_as(undisturbed, monkeypatch)


ENDS = {
    "raises": ("raise ValueError('no')", "failed", "cell 3: ValueError: no"),
    "exits": ("os._exit(3)", "failed", "cell 3: DeadKernelError: the kernel's process ended with"),
    "leaves": ("subprocess.Popen(['sleep', '600'])\nsys.exit(0)", "failed", "sys.exit(0)"),
    "hangs": (
        "subprocess.Popen(['sleep', '600'])\nsum(range(10**13))",
        "timed out",
        "TimeoutError: timed out after 4 s and was ended",
    ),
    "fills": (
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\nb'1' * 2**31",
        "failed",
        "cell 3: MemoryError",
    ),
    "prints": ("for k in range({lines}): print(k)", "done", ""),
}


@pytest.mark.parametrize("seed", SEEDS)
def test_every_end_of_a_cell_has_its_status_and_a_rerun_without_the_fault_completes(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, lines = Batch(tmp_path / "batch"), 1_000_000 if seed else 20_000
    cells = [f"if s == {name!r} and (place / 'hold').exists():\n    " for name in ENDS]
    cells = [
        head + code.format(lines=lines).replace("\n", "\n    ")
        for head, (code, *_) in zip(cells, ENDS.values(), strict=True)
    ]
    write_notebook(batch.notebook, NOTE, "\n".join(cells), END)
    names = random.Random(seed).sample([*ENDS], len(ENDS))
    text = "- {{notebook: one.ipynb, name: {0}, parameters: {{s: {0}, x: {1}}}{2}}}\n"
    late = {"hangs": ", timeout: 4"}
    rows = [text.format(name, k, late.get(name, "")) for k, name in enumerate(names)]
    batch.runs.write_text("".join(rows), "utf-8")
    batch.hold.touch()
    result = batch.here(monkeypatch, "--workers", 1 + seed % 3)
    assert result.exit_code == 1, result.exception
    assert batch.statuses() == {name: status for name, (_, status, _) in ENDS.items()}
    for name, (_, status, words) in ENDS.items():
        assert f"(job {name}) {status}, " in result.stderr or status == "done"
        assert words in result.stderr, result.stderr
    printed = shown(batch.out)["prints"][3][1]
    text = "".join(piece for output in printed for piece in output["text"])
    assert text == "".join(f"{k}\n" for k in range(lines))
    batch.leaves_nothing()
    batch.hold.unlink()
    again = batch.here(monkeypatch)
    assert again.exit_code == 0, again.stderr
    ended = batch.noted("ended")
    assert {*ended.values()} == {1} and len(ended) == len(ENDS)
    batch.leaves_nothing()


# --- the disk --------------------------------------------------------------------------------

STEPS = """
import json, resource, shutil, subprocess, sys
from pathlib import Path
import pytest
from tests.batches import Batch
batch, told = Batch(Path(sys.argv[1])), []
with pytest.MonkeyPatch.context() as patch:
    for kind, *words in json.loads(sys.argv[2]):
        if kind == "usjp":
            result = batch.here(patch, *words)
            told.append([result.exit_code, result.stderr])
        elif kind == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (words[0], resource.RLIM_INFINITY))
        else:
            subprocess.run([kind, *words], check=True)
    if batch.out.is_mount():
        shutil.copytree(batch.out, batch.folder / "kept")
print(json.dumps(told))
"""


def on_a_disk(batch: Batch, steps: list[list[object]], own: bool) -> list[tuple[int, str]]:
    """Run the command between steps that change its disk; return how it ended each time."""
    words = [sys.executable, "-c", STEPS, str(batch.folder), json.dumps(steps)]
    told = subprocess.run(
        [*(own_mounts() if own else ()), *words],
        env=batch.env,
        cwd=HOME,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert told.returncode == 0, told.stderr
    return [(code, said) for code, said in json.loads(told.stdout.splitlines()[-1])]


def big(batch: Batch) -> None:
    """Let notebooks show so much that few fit on a small disk."""
    text = "- {notebook: one.ipynb, grid: {x: [1, 2, 3]}, parameters: {s: SIZE}}\n"
    batch.runs.write_text(text.replace("SIZE", "a" * 150_000), "utf-8")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_disk_that_fills_up_or_turns_read_only_loses_nothing_that_is_done(
    seed: int, tmp_path: Path
) -> None:
    batch, own = Batch(tmp_path / "batch"), mounts()
    out = str(batch.out)
    batch.out.mkdir()
    big(batch)
    size = random.Random(seed).randint(400, 1000) if seed else 700
    read_only = "if x == 3 and (place / 'hold').exists():\n    "
    over = f"mount --bind {out} {out} && mount -o remount,bind,ro {out}"
    read_only += f"subprocess.run({over!r}, shell=True, check=True)"
    write_notebook(batch.notebook, NOTE, read_only, END)
    if own:
        steps: list[list[object]] = [
            ["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", out],
            ["usjp", "--workers", 1],
            ["mount", "-o", "remount,size=50m", out],
            ["touch", str(batch.hold)],
            ["usjp", "--workers", 1],
            ["umount", out],
            ["rm", str(batch.hold)],
            ["usjp"],
        ]
    else:
        steps = [["limit", 100_000], ["usjp"], ["limit", -1], ["usjp"]]
    first, *others, last = on_a_disk(batch, steps, own)
    for code, said in (first, *others):
        *_, told, line = said.splitlines()
        assert code == 2 and "Traceback" not in said
        assert "To go on: " in told or seed  # a smaller disk takes the ledger but no notebook
        assert line.startswith("usjp: ") and line.endswith("nothing that was there has changed")
    assert "No space left" in first[1] if own else "too large" in first[1]
    assert "Read-only file system" in others[0][1] if own else not others
    assert last[0] == 0, last[1]
    if own:
        shutil.copytree(batch.folder / "kept", batch.out, dirs_exist_ok=True)
    assert batch.done() == {"one-x=1", "one-x=2", "one-x=3"}
    # What could not be written down was done and is done again; all else once.
    ended = batch.noted("ended")  # on a disk that takes none, every run does them all
    assert len(ended) == 3 and max(ended.values()) <= 3 and (seed or sum(ended.values()) <= 6)
    assert shown(batch.out)["one-x=2"][-1][1][0]["text"] == [f"4 {'a' * 150_000}\n"]
    batch.leaves_nothing()
    if not own:
        pytest.skip("the half with a read-only disk needs a mount of one's own")

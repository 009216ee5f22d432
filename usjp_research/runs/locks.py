"""A lock on an open file that ends with the process that holds it, on any system."""

from __future__ import annotations

import os

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

FAR = 1 << 30  # a byte that nobody reads: there a lock keeps others from reading what it covers


def take(handle: int) -> bool:
    """Lock an open file; False where another process has it."""
    try:
        if "fcntl" in globals():
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(handle, FAR, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        return False
    finally:
        os.lseek(handle, 0, os.SEEK_SET)
    return True

"""Locks on files that the kernel releases with the last process that holds them, however it ends (flock(2))."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path


class FileLock:
    """An open lock file, not locked yet. Processes that inherit its descriptor share its lock."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def share(self) -> None:
        """Hold it together with others; waits for an exclusive holder."""
        fcntl.flock(self.fd, fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Hold it alone; False where another holds it."""
        return self._attempt(fcntl.LOCK_EX)

    def wait_exclusive(self, timeout_s: float) -> bool:
        """Hold it alone, within `timeout_s` seconds; False where another held it all that time."""
        give_up = time.monotonic() + timeout_s
        while not self.try_exclusive():
            if time.monotonic() > give_up:
                return False
            time.sleep(0.02)
        return True

    def unlock(self) -> None:
        """Let it go, also for every process that inherited the descriptor."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close this process's descriptor; a process that inherited it goes on holding the lock."""
        os.close(self.fd)

    def _attempt(self, operation: int) -> bool:
        try:
            fcntl.flock(self.fd, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def held_alone(path: Path) -> bool:
    """Whether some process holds the lock file exclusively. Does not disturb another such question."""
    lock = FileLock(path)
    try:
        return not lock._attempt(fcntl.LOCK_SH)
    finally:
        lock.close()

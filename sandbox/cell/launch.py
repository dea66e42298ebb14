"""Starting a run: a fresh process in namespaces of its own, forked from the zygote."""

from __future__ import annotations

import mmap
import os
import traceback
from collections.abc import Callable
from typing import NamedTuple

from . import linux

FAULT = 125
"""Exit status of a process that could not be set up; believed only while `Launcher.started` is false."""


class Child(NamedTuple):
    """A process 1 of a namespace of its own: killing it kills everything in there."""

    pid: int
    pidfd: int


class Launcher:
    """Forks runs. A page that is shared until then tells whether a run got as far as the completion's program."""

    def __init__(self) -> None:
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    def launch(self, task: Callable[[Callable[[], None]], None], slot: int = 0) -> Child:
        """Fork a process that runs `task`, which calls its argument once everything is set up, and does not return.

        `slot` tells apart the processes of one job. Raises OSError where nothing can be forked.
        """
        self._page[slot] = 0
        linux.unshare(linux.NEWPID)
        try:
            pid = os.fork()
            if pid == 0:
                self._run(task, slot)
        finally:
            linux.setns(self._own_pids, linux.NEWPID)
        return Child(pid, os.pidfd_open(pid))

    def _run(self, task: Callable[[Callable[[], None]], None], slot: int) -> None:
        def start() -> None:
            self._page[slot] = 1
            self._page.close()  # from here on nothing the program does can be taken for a fault of ours

        try:
            task(start)
        except BaseException:
            os.write(2, traceback.format_exc(limit=-3).encode("utf-8", "replace")[-2000:])
        finally:
            os._exit(FAULT)

    def started(self, slot: int = 0) -> bool:
        """Whether the process last launched in this slot was set up and began with the completion's program."""
        return self._page[slot] == 1

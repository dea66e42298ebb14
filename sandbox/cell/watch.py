"""Watching a launch from outside: its output is taken and cut, its limits are kept, and its end is told."""

from __future__ import annotations

import mmap
import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from . import answers
from .launch import Child
from .usage import Usage, waited_s

CHECK_MS = 10
"""How often a running launch's use is looked at."""
LITTLE_S = 0.1
"""Idle time of a run that is not looked into."""
_READ = 2**18
_MIB = 2**20


class Stopped(Exception):  # noqa: N818 - not an error: the service said so
    """The service wants no more of this job."""


class Stream:
    """What comes through one pipe, up to a limit, in memory that goes back to the kernel after each job."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self.descriptor = -1
        self.limit = 0
        self.size = 0

    def open(self, descriptor: int, limit: int) -> None:
        """Read from `descriptor` from now on, at most `limit` bytes."""
        os.set_blocking(descriptor, False)
        self.descriptor, self.limit, self.size = descriptor, min(limit, len(self._memory) - 1), 0

    def read(self) -> bool:
        """Take what is there and fits; returns whether the other end has been closed."""
        while self.size <= self.limit:
            room = self._memory[self.size : min(self.size + _READ, self.limit + 1)]
            try:
                count = os.readv(self.descriptor, [room])
            except BlockingIOError:
                return False
            if not count:
                return True
            self.size += count
        return False

    @property
    def full(self) -> bool:
        """Whether more came than the limit allows."""
        return self.size > self.limit

    def content(self) -> memoryview:
        """What came, up to the limit."""
        return self._memory[: min(self.size, self.limit)]

    def head(self) -> tuple[int, int, int] | None:
        """The head of the first frame, where a whole frame is there, or one that is larger than the limit."""
        if self.size < answers.HEAD.size:
            return None
        index, status, size = answers.HEAD.unpack_from(self._memory)
        whole = answers.HEAD.size + size
        return (index, status, size) if whole <= self.size or whole > self.limit else None

    def frame(self, size: int) -> memoryview:
        """The first frame's content."""
        return self._memory[answers.HEAD.size : answers.HEAD.size + size]

    def drop(self, size: int) -> None:
        """Forget the first frame, whose content has `size` bytes."""
        start = answers.HEAD.size + size
        self.size -= start
        self._memory[: self.size] = self._memory[start : start + self.size]  # in place: nothing goes through the heap

    def close(self) -> None:
        """Read no more."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Idle:
    """Seconds in which a job's runs neither worked nor waited for a processor; the limit of time holds for them all.

    Without it a program could sleep through one test after the other until its owner's deadline, and so never fail.
    """

    def __init__(self) -> None:
        self.seconds = 0.0


class Watch:
    """One launch: its processes, its pipes, its limits. `broken` is the limit that ended it, or empty."""

    def __init__(
        self,
        children: Sequence[Child],
        streams: Sequence[Stream],
        reports: Stream | None,
        limits: Mapping[str, Any],
        usage: Usage,
        service: int,
        idle: Idle,
    ) -> None:
        self.broken = ""
        self.statuses: dict[int, int] = {}
        """Wait statuses by pid, of those that have ended."""
        self.maxrss = 0
        self._children = {child.pidfd: child.pid for child in children}
        self._open = {stream.descriptor: stream for stream in (*streams, *([reports] if reports else []))}
        self._reports = reports
        self._limits = limits
        self._usage = usage
        self._poll = select.poll()
        for descriptor in (*self._children, *self._open, service):
            self._poll.register(descriptor, select.POLLIN)
        self._service = service
        self._kills = usage.memory_kills()
        self._memory_before = usage.memory()
        self._ended_cpu = 0.0
        self._idle = idle
        self.begin()

    def begin(self) -> None:
        """The limits of time count from here: for a new call or test of the same launch."""
        self._since = self._looked = time.monotonic()
        self._cpu_before: float | None = None
        self._waited_before = 0.0
        self._cpu_of_ended = self._ended_cpu
        self._cpu_seen = self._idle_seen = 0.0

    @property
    def wall_ms(self) -> float:
        """Since `begin`."""
        return (time.monotonic() - self._since) * 1000

    @property
    def cpu_ms(self) -> float:
        """Processor time since `begin`: of the processes that were waited for, or, killed, as it was seen last."""
        return max(self._ended_cpu - self._cpu_of_ended, self._cpu_seen if self.broken else 0.0) * 1000

    @property
    def running(self) -> bool:
        """Whether any process lives."""
        return bool(self._children)

    def until_report(self) -> bool:
        """Watch until the next frame of the reports is there (True), or will never be (False).

        Raises `Stopped`, having killed everything.
        """
        if self._reports is None:
            raise AssertionError("this launch reports nothing")
        while self._reports.head() is None:
            if not self._children:
                self._reports.read()
                return self._reports.head() is not None
            self._step()
        return True

    def until_end(self) -> None:
        """Watch until every process has ended and all pipes are read. Raises `Stopped`, having killed everything."""
        while self._children:
            self._step()

    def kill(self, broken: str = "") -> None:
        """End every process, and wait until all that they started is gone."""
        self.broken = self.broken or broken
        for pid in self._children.values():
            os.kill(pid, signal.SIGKILL)
        for pidfd in list(self._children):
            self._reap(pidfd)

    def _step(self) -> None:
        ended = []
        for descriptor, _ in self._poll.poll(CHECK_MS):
            if descriptor in self._children:
                ended.append(descriptor)
            elif descriptor == self._service:
                self.kill()
                raise Stopped
            else:
                self._read(descriptor)
        for pidfd in ended:
            if pidfd in self._children:
                self._reap(pidfd)
        if not self._children:
            for descriptor in list(self._open):
                self._read(descriptor)
            self._account()
        elif time.monotonic() - self._looked > CHECK_MS / 1000:
            self._looked = time.monotonic()
            if limit := self._broken_limit():
                self.kill(limit)

    def _read(self, descriptor: int) -> None:
        stream = self._open[descriptor]
        ended = stream.read()
        if stream.full and stream is not self._reports:
            self.kill("output")
        if ended:
            del self._open[descriptor]
            self._poll.unregister(descriptor)

    def _reap(self, pidfd: int) -> None:
        pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status, used = os.wait4(pid, 0)
        self.statuses[pid] = status
        self._ended_cpu += used.ru_utime + used.ru_stime
        self.maxrss = max(self.maxrss, used.ru_maxrss * 1024)

    def new_memory_kills(self) -> bool:
        """Whether the kernel has killed for want of memory since this was asked last."""
        before, self._kills = self._kills, self._usage.memory_kills()
        return self._kills > before

    def _account(self) -> None:
        """Limits that were passed between two looks."""
        if self.broken:
            return
        if self.new_memory_kills() or self.maxrss > self._most_memory():
            self.broken = "memory"
        elif self.cpu_ms > self._limits["cpu_s"] * 1000:
            self.broken = "cpu"

    def _most_memory(self) -> int:
        return int(self._limits["memory_mb"]) * _MIB + self._usage.own

    def _broken_limit(self) -> str:
        limits, usage = self._limits, self._usage
        most = self._memory_before + self._most_memory()
        memory = usage.memory(most)
        if memory > most and memory - min(usage.files(), int(limits["disk_mb"]) * _MIB) > most:
            return "memory"
        cpu = usage.cpu_s()
        if self._cpu_before is None:  # the first look; what it used before is less than the wall clock shows
            self._cpu_before = cpu - min((time.monotonic() - self._since), CHECK_MS / 1000)
            self._waited_before = waited_s()
        self._cpu_seen = cpu - self._cpu_before
        if self._cpu_seen > limits["cpu_s"]:
            return "cpu"
        wall = time.monotonic() - self._since
        if wall - self._cpu_seen < LITTLE_S:
            return ""
        awake = wall - max(0.0, waited_s() - self._waited_before)
        idle = awake - self._cpu_seen
        self._idle.seconds += max(0.0, idle - self._idle_seen)
        self._idle_seen = max(idle, self._idle_seen)
        return "wall" if awake > limits["wall_s"] or self._idle.seconds > limits["wall_s"] else ""


def capture(limit: int) -> mmap.mmap:
    """Memory for a stream of at most `limit` bytes; unused pages of it cost nothing."""
    return mmap.mmap(-1, limit + mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

"""What the processes of a cell have used: from its control group where it has one, else from /proc."""

from __future__ import annotations

import os
from collections.abc import Sequence

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Usage:
    """Reads a cell's use. Made before the cell leaves the host's file system; `/proc` is the cell's own."""

    def __init__(self, groups: Sequence[str]) -> None:
        """`groups` are folders of the cell's control group: one in version 2, one per controller in version 1."""
        self._memory = _open(groups, "memory.current", "memory.usage_in_bytes")
        self._cpu_ns = _open(groups, "cpuacct.usage")
        self._cpu_stat = _open(groups, "cpu.stat") if self._cpu_ns < 0 else -1
        self._kills = _open(groups, "memory.events", "memory.oom_control")
        self._memory_stat = _open(groups, "memory.stat")
        self.own = 0
        """Bytes that a process has which is forked from here and has done nothing yet, and a little more."""
        if self._cpu_stat >= 0 and b"usage_usec" not in os.pread(self._cpu_stat, 4096, 0):
            self._cpu_stat = -1  # version 1's, which counts throttling only

    def measure_own(self) -> int:
        """See `own`; everything is imported now. Not from getrusage(2), which counts what this process was before."""
        with open("/proc/self/statm", "rb", 0) as file:
            resident = int(file.read(256).split()[1]) * _PAGE
        self.own = resident + 8 * 2**20
        return resident

    @property
    def bounded(self) -> bool:
        """Whether a control group bounds the memory."""
        return self._memory >= 0

    def cpu_s(self) -> float:
        """Processor seconds of every process so far; only differences mean something."""
        if self._cpu_ns >= 0:
            return int(os.pread(self._cpu_ns, 32, 0)) / 1e9
        if self._cpu_stat >= 0:
            return _field(os.pread(self._cpu_stat, 4096, 0), b"usage_usec") / 1e6
        # user and system time, and the same of the children it waited for (proc_pid_stat(5), fields 14 to 17)
        return sum(sum(map(int, fields[11:15])) for fields in _processes()) * _TICK_S

    def memory(self, enough: int = 0) -> int:
        """Bytes in use: the control group's, files in memory included; else the runs' own.

        Without a group this is resident memory, which counts what processes share once for each of them; only where
        that comes to more than `enough` is it worth the time to count each page once.
        """
        if self._memory >= 0:
            return int(os.pread(self._memory, 32, 0))
        resident = sum(int(fields[21]) for fields in _processes()) * _PAGE
        return resident if resident <= enough else min(resident, _proportional())

    def files(self) -> int:
        """Bytes of the control group's memory that are files in memory, or memory that processes share as such."""
        return _field(os.pread(self._memory_stat, 8192, 0), b"shmem") if self._memory_stat >= 0 else 0

    def memory_kills(self) -> int:
        """How often the kernel has killed a process of the cell for want of memory."""
        return _field(os.pread(self._kills, 4096, 0), b"oom_kill") if self._kills >= 0 else 0


def _proportional() -> int:
    """Bytes of every process of the cell but process 1, shared pages divided among those that share them."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1":
            try:
                with open(f"/proc/{name}/smaps_rollup", "rb", 0) as file:
                    total += _field(file.read(4096).replace(b":", b" "), b"Pss") * 1024
            except OSError:  # it has just ended
                continue
    return total


def waited_s() -> float:
    """Seconds that the cell's processes but process 1 have spent ready to run, waiting for a processor: of each that
    lives (proc, schedstat), the most.
    """
    most = 0
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1":
            try:
                with open(f"/proc/{name}/schedstat", "rb", 0) as file:
                    most = max(most, int(file.read(128).split()[1]))
            except (OSError, IndexError):  # it has just ended, or the kernel does not tell
                continue
    return most / 1e9


def _open(groups: Sequence[str], *names: str) -> int:
    for group in groups:
        for name in names:
            try:
                return os.open(f"{group}/{name}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
    return -1


def _field(text: bytes, name: bytes) -> int:
    start = (b"\n" + text).find(b"\n" + name + b" ")
    return int(text[start + len(name) :].split(None, 1)[0]) if start >= 0 else 0


def _processes() -> list[list[bytes]]:
    """Fields of /proc/PID/stat after the command's name, of every process of the cell but process 1."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1":
            try:
                with open(f"/proc/{name}/stat", "rb", 0) as file:
                    found.append(file.read(1024).rpartition(b")")[2].split())
            except OSError:  # it has just ended
                continue
    return found

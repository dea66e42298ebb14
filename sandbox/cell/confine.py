"""What a fresh process does to itself before it runs anything of a completion."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import struct
from collections.abc import Mapping
from typing import Any, Literal

from . import linux, root, seccomp

OPEN_FILES = 256
INODES_PER_MB = 256
STACK_BYTES = 256 * 2**20
"""Of a main thread; deep recursion is what many programs are about."""
_MIB = 2**20

_INHERITED, _OWN = seccomp.make_filters()


def confine(
    limits: Mapping[str, Any],
    *,
    cpu_s: int,
    processes: int,
    bounded: bool,
    job: Literal["", "read", "write"],
    own_files: bool,
) -> None:
    """Shut this process, which is process 1 of its namespace, in for good.

    `cpu_s` and `processes` are what the kernel itself allows: of one process, and of all of the cell; `bounded` tells
    that a control group bounds the memory, `job` is how the job's folder may be used, and `own_files` makes the
    working folder a fresh one of this run.
    """
    linux.unshare(linux.NEWNS)
    linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    if own_files:
        mount_work(limits["disk_mb"])
    if job == "read":
        flags = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV
        linux.mount("none", root.JOB, None, flags)
    os.chdir(root.JOB if job == "write" else root.WORK)
    os.setsid()
    score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(score, b"1000")  # where memory runs out, runs die before the zygote
    os.close(score)
    _limit(limits, cpu_s, processes, bounded)
    linux.drop_capabilities()
    if has_landlock():
        linux.restrict_self(_RULESET)
        os.close(_RULESET)
    linux.set_seccomp(_OWN)


def mount_work(disk_mb: int) -> None:
    """A fresh file system with an empty working folder."""
    size = f"size={disk_mb}m,nr_inodes={max(64, disk_mb * INODES_PER_MB)},mode=755"
    linux.mount("tmpfs", "/tmp", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, size)  # noqa: S108
    os.mkdir(root.WORK)


def _limit(limits: Mapping[str, Any], cpu_s: int, processes: int, bounded: bool) -> None:
    bounds = [
        (resource.RLIMIT_CPU, cpu_s),  # the zygote sees to the exact time; this stands behind it
        (resource.RLIMIT_FSIZE, limits["disk_mb"] * _MIB),
        (resource.RLIMIT_NPROC, processes),
    ]
    if not bounded:
        bounds.append((resource.RLIMIT_DATA, 2 * limits["memory_mb"] * _MIB + STACK_BYTES))
    for kind, value in bounds:
        resource.setrlimit(kind, (value, value))


def prepare() -> None:
    """What every run inherits from the zygote, and the zygote can live with: done once, for speed."""
    for kind, value in (
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(kind, (value, value))
    linux.drop_bounding_set()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.set_seccomp(_INHERITED)


def reserve_descriptors(kept: Mapping[str, int]) -> dict[str, int]:
    """Copy the descriptors to keep above those that runs use, and fill these, so that nothing else lies there."""
    copies = {name: fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE) for name, descriptor in kept.items()}
    lowest = os.open(os.devnull, os.O_RDWR)
    null = fcntl.fcntl(lowest, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
    os.close(lowest)
    for descriptor in range(FIRST_FREE):
        os.dup2(null, descriptor, inheritable=descriptor < 3)
    os.close(null)
    return copies


_RULESET = 7
FIRST_FREE = 8
"""Descriptors below it are those of a run, and the ruleset; the zygote's own are above."""


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


_CREATE_RULESET, _ADD_RULE = 444, 445  # on every machine
_PATH_BENEATH = 1
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_libc = ctypes.CDLL(None, use_errno=True)
_VERSION: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)


def _make_ruleset() -> int:
    """A second wall, where the kernel has Landlock (landlock(7)): no TCP, no device files, and no signal or abstract
    socket that leaves the run. The file system needs no more rules: all but the working folder is mounted read-only.
    """
    if _VERSION < 1:
        return -1
    files = (1 << 13) - 1  # every right of the first version
    attributes = struct.pack("QQQ", files, 3 if _VERSION >= 4 else 0, 3 if _VERSION >= 6 else 0)
    size = 8 if _VERSION < 4 else 16 if _VERSION < 6 else 24
    ruleset: int = _libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    folder = os.open("/", os.O_PATH | os.O_CLOEXEC)
    rule = struct.pack("=Qi", files & ~(_MAKE_CHAR | _MAKE_BLOCK), folder)
    if ruleset < 0 or _libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0):
        raise OSError(ctypes.get_errno(), "Landlock is there and refuses its rules")
    os.close(folder)
    return ruleset


_landlocked = False


def make_ruleset() -> None:
    """Make the rules; the root must be the cell's own by now."""
    global _landlocked
    ruleset = _make_ruleset()
    if ruleset >= 0:
        os.dup2(ruleset, _RULESET, inheritable=False)
        os.close(ruleset)
        _landlocked = True


def has_landlock() -> bool:
    """Whether runs are behind it."""
    return _landlocked


def arrange_descriptors(wanted: Mapping[int, int]) -> None:
    """Make each target descriptor a copy of its source, and close every other one but the ruleset."""
    for target, source in wanted.items():
        os.dup2(source, target)
    os.closerange(max(wanted) + 1, _RULESET)
    os.closerange(FIRST_FREE, 4096)


def put_files(folder: str, files: Mapping[str, bytes]) -> None:
    """Write files by relative path. The names have been checked outside: no absolute ones, no `..`."""
    for name, content in files.items():
        path = f"{folder}/{name}"
        with contextlib.suppress(FileExistsError):
            os.makedirs(os.path.dirname(path))
        with open(path, "wb") as file:
            file.write(content)

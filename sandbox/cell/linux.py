"""The system calls that Python's standard library lacks, by their numbers' or libc's names (man 2)."""

from __future__ import annotations

import ctypes
import os
import platform
import signal

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 8, 32, 4096, 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 4, 24, 38, 22

MACHINE = platform.machine()
_PIVOT_ROOT, _CAPSET = {"x86_64": (155, 126), "aarch64": (41, 91)}.get(MACHINE, (0, 0))
_LIBC = ctypes.CDLL(None, use_errno=True)
_LAST_CAPABILITY = 63
_NO_CAPABILITIES = ctypes.create_string_buffer(
    b"".join(word.to_bytes(4, "little") for word in (0x20080522, 0)), 8
)  # struct __user_cap_header_struct: _LINUX_CAPABILITY_VERSION_3, this process
_NO_SETS = ctypes.create_string_buffer(24)


class _Call:
    """A libc function whose result -1 becomes an OSError that names it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._function = getattr(_LIBC, name)

    def __call__(self, *arguments: object) -> int:
        result: int = self._function(*arguments)
        if result == -1:
            error = ctypes.get_errno()
            raise OSError(error, f"{self._name}: {os.strerror(error)}")
        return result


_unshare, _setns, _mount, _umount2 = _Call("unshare"), _Call("setns"), _Call("mount"), _Call("umount2")
_prctl, _syscall, _mallopt = _Call("prctl"), _Call("syscall"), _LIBC.mallopt


def unshare(flags: int) -> None:
    """New namespaces for this process; `NEWPID` counts for its next child."""
    _unshare(flags)


def setns(descriptor: int, kind: int) -> None:
    """Join a namespace."""
    _setns(descriptor, kind)


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    try:
        _mount(
            source.encode(),
            target.encode(),
            None if kind is None else kind.encode(),
            ctypes.c_ulong(flags),
            None if data is None else data.encode(),
        )
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} ({kind or source} on {target})") from None


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2)."""
    _umount2(target.encode(), flags)


def pivot_root(new_root: str) -> None:
    """Make a mounted folder the root, and let go of the old one."""
    os.chdir(new_root)
    _syscall(_PIVOT_ROOT, b".", b".")
    umount(".")
    os.chdir("/")


def prctl(option: int, value: int = 0) -> None:
    """prctl(2) with one number."""
    _prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def drop_bounding_set() -> None:
    """Give up what an executed file could bring back of capabilities; those held now stay."""
    for capability in range(_LAST_CAPABILITY + 1):
        if _LIBC.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) == -1:
            break  # the first number that this kernel does not know


def drop_capabilities() -> None:
    """Give up every capability, for good."""
    _syscall(_CAPSET, _NO_CAPABILITIES, _NO_SETS)


def restrict_self(ruleset: int) -> None:
    """Live under a Landlock ruleset from now on (landlock_restrict_self(2))."""
    _syscall(446, ruleset, 0)


def set_seccomp(program: ctypes.Structure) -> None:
    """Install a filter (`sock_fprog`) for good."""
    _prctl(PR_SET_SECCOMP, ctypes.c_ulong(2), ctypes.byref(program), 0, 0)


def die_of_signals() -> None:
    """Let the signals that end a process end this one and its forks also where it is process 1 of a namespace.

    The kernel ignores a signal without a handler that comes from process 1's own namespace (pid_namespaces(7)), so
    a program that ends itself would run on. The handler is `_exit`, which the C library calls with the signal's
    number. An executed program has no handlers: see `jobs.execute`.
    """
    for number in _DEADLY:
        _signal(int(number), _EXIT)


def die_as_usual() -> None:
    """Take that back, in a process that is not process 1."""
    for number in _DEADLY:
        _signal(int(number), None)


_signal = _LIBC.signal
_signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
_signal.restype = ctypes.c_void_p
_EXIT = ctypes.cast(_LIBC._exit, ctypes.c_void_p)
_DEADLY = (
    signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGTERM,
    signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGXCPU,
)  # fmt: skip


def few_arenas() -> None:
    """Keep malloc from reserving address space for every thread (mallopt(3), M_ARENA_MAX)."""
    _mallopt(-8, 2)

"""The filter of system calls, run as the kernel would run it."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.cell import seccomp
from sandbox.cell.seccomp import make_filters

MACHINES = ("x86_64", "aarch64")
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
OTHERS = (0x40000003, 0x40000028, 0xC0000015, 0, 0xFFFFFFFF)
"""i386, 32-bit ARM, and what else there is."""
KILL, ALLOW = 0x80000000, 0x7FFF0000
EPERM, ENOSYS = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
PROGRAMS = {
    machine: [
        [(one.code, one.jt, one.jf, one.k) for one in made.filter[: made.length]] for made in make_filters(machine)
    ]
    for machine in MACHINES
}
"""Of each machine: the filter that runs inherit, and their own."""
# what everyday programs cannot do without, as in asm/unistd_64.h and asm-generic/unistd.h
NEEDED = {
    "x86_64": {
        "read": 0, "write": 1, "open": 2, "close": 3, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12,
        "rt_sigaction": 13, "pipe": 22, "select": 23, "dup2": 33, "nanosleep": 35, "getpid": 39, "fork": 57,
        "vfork": 58, "execve": 59, "exit": 60, "wait4": 61, "kill": 62, "fcntl": 72, "getdents64": 217, "futex": 202,
        "clock_gettime": 228, "openat": 257, "getrandom": 318, "rseq": 334, "statx": 332, "set_robust_list": 273,
        "prctl": 157, "seccomp": 317, "epoll_wait": 232, "sched_getaffinity": 204, "prlimit64": 302,
    },
    "aarch64": {
        "read": 63, "write": 64, "close": 57, "mmap": 222, "mprotect": 226, "munmap": 215, "brk": 214,
        "rt_sigaction": 134, "pipe2": 59, "nanosleep": 101, "getpid": 172, "execve": 221, "exit": 93, "wait4": 260,
        "kill": 129, "fcntl": 25, "getdents64": 61, "futex": 98, "clock_gettime": 113, "openat": 56, "getrandom": 278,
        "rseq": 293, "statx": 291, "prctl": 167, "seccomp": 277, "prlimit64": 261,
    },
}  # fmt: skip
CLONE = {"x86_64": 56, "aarch64": 220}
SOCKET = {"x86_64": 41, "aarch64": 198}
IOCTL = {"x86_64": 16, "aarch64": 29}
PERSONALITY = {"x86_64": 135, "aarch64": 92}


def run(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter returns for a call; the few instructions that it uses, as in linux/filter.h."""
    arch = ARCHITECTURES[machine] if architecture is None else architecture
    words = [argument & 0xFFFFFFFFFFFFFFFF for argument in arguments] + [0] * (6 - len(arguments))
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, arch, 0, *words)
    answers = [_answer(program, data) for program in PROGRAMS[machine]]
    return min(answers, key=lambda answer: (KILL, ENOSYS, EPERM, ALLOW).index(answer))  # the strictest counts


def _answer(program: list[tuple[int, int, int, int]], data: bytes) -> int:
    accumulator = position = 0
    for _ in range(4096):
        code, jump_true, jump_false, k = program[position]
        position += 1
        if code == 0x20:
            [accumulator] = struct.unpack_from("<I", data, k)
        elif code == 0x06:
            return int(k)
        else:
            holds = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: accumulator & k != 0}[code]
            position += jump_true if holds else jump_false
    raise AssertionError("it does not end")


@pytest.mark.parametrize("machine", MACHINES)
def test_it_is_a_program_that_the_kernel_takes(machine: str) -> None:
    for program in PROGRAMS[machine]:
        assert 0 < len(program) <= 4096
        for position, (code, jump_true, jump_false, k) in enumerate(program):
            assert code in (0x20, 0x06, 0x15, 0x35, 0x45)
            if code == 0x20:
                assert k in (0, 4, 16, 24)
            elif code != 0x06:
                assert position + 1 + max(jump_true, jump_false) < len(program)
        assert program[-1][0] == 0x06


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", seccomp._REFUSED)
def test_what_is_refused(machine: str, name: str) -> None:
    number = seccomp._REFUSED[name][MACHINES.index(machine)]
    if number >= 0:
        assert run(machine, number) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_everything_else_is_allowed(machine: str) -> None:
    column = MACHINES.index(machine)
    special = {CLONE[machine], SOCKET[machine], IOCTL[machine], PERSONALITY[machine], 435}
    refused = {numbers[column] for numbers in seccomp._REFUSED.values()}
    for number in range(seccomp._LAST_KNOWN + 1):
        if number not in special:
            assert run(machine, number) == (EPERM if number in refused else ALLOW), number
    for name, number in NEEDED[machine].items():
        assert run(machine, number) == ALLOW, name


def test_the_tables_numbers_are_the_kernels() -> None:
    """Those that attacks begin with, from the kernel's headers, told here once more."""
    for name, numbers in {
        "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "ptrace": (101, 117), "bpf": (321, 280),
        "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "keyctl": (250, 219), "perf_event_open": (298, 241),
        "process_vm_readv": (310, 270), "open_by_handle_at": (304, 265), "memfd_create": (319, 279),
        "pivot_root": (155, 41), "chroot": (161, 51), "kexec_load": (246, 104), "init_module": (175, 105),
    }.items():  # fmt: skip
        assert seccomp._REFUSED[name] == numbers
        assert [run(machine, number) for machine, number in zip(MACHINES, numbers, strict=True)] == [EPERM] * 2


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("architecture", OTHERS)
def test_another_machines_calls_kill(machine: str, architecture: int) -> None:
    for number in (0, 1, 39, 272, 2**31):
        assert run(machine, number, architecture=architecture) == KILL
    other = ARCHITECTURES["aarch64" if machine == "x86_64" else "x86_64"]
    assert run(machine, 1, architecture=other) == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_that_are_not_known_yet_and_those_of_x32(machine: str) -> None:
    for number in (
        seccomp._LAST_KNOWN + 1,
        500,
        1000,
        0x40000000,
        0x40000000 + 272,
        0x40000000 + 1,
        2**31,
        2**32 - 1,
    ):
        assert run(machine, number) == ENOSYS
    assert run(machine, 435) == ENOSYS  # clone3: the C library then uses clone


@pytest.mark.parametrize("machine", MACHINES)
def test_clone_makes_processes_and_threads_and_no_namespaces(machine: str) -> None:
    clone = CLONE[machine]
    thread, fork = 0x3D0F00, 0x1200011
    for flags in (thread, fork, 17, 0):
        assert run(machine, clone, flags) == ALLOW
        for namespace in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80):
            assert run(machine, clone, flags | namespace) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_socket_families(machine: str) -> None:
    allowed = {1, 2, 10}  # AF_UNIX, AF_INET, AF_INET6
    for family in range(64):
        assert run(machine, SOCKET[machine], family, 1) == (ALLOW if family in allowed else EPERM), family
    assert run(machine, SOCKET[machine], 16 | 1 << 32, 1) == EPERM  # the kernel looks at the low word too


@pytest.mark.parametrize("machine", MACHINES)
def test_terminals_cannot_be_typed_into(machine: str) -> None:
    assert run(machine, IOCTL[machine], 0, 0x5412) == EPERM
    assert run(machine, IOCTL[machine], 0, 0x541C) == EPERM
    assert run(machine, IOCTL[machine], 0, 0x5412 | 1 << 32) == EPERM
    assert run(machine, IOCTL[machine], 0x5412, 0x5401) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_personalities(machine: str) -> None:
    for persona in (0, 0x20000, 0xFFFFFFFF):
        assert run(machine, PERSONALITY[machine], persona) == ALLOW
    for persona in (8, 0x40000, 0x400000, 1):  # ADDR_NO_RANDOMIZE and READ_IMPLIES_EXEC among them
        assert run(machine, PERSONALITY[machine], persona) == EPERM


@given(
    st.sampled_from(MACHINES), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**64 - 1), max_size=6),
    st.one_of(st.none(), st.integers(0, 2**32 - 1)),
)  # fmt: skip
def test_every_call_has_one_of_four_outcomes(
    machine: str, number: int, arguments: list[int], arch: int | None
) -> None:
    assert run(machine, number, *arguments, architecture=arch) in (KILL, ALLOW, EPERM, ENOSYS)


@pytest.mark.parametrize("machine", ["riscv64", "i686", "", "armv7l"])
def test_a_machine_without_a_table(machine: str) -> None:
    with pytest.raises(OSError, match="no table of system calls"):
        make_filters(machine)


def test_its_paths_are_short() -> None:
    """Every call of every run walks through here."""
    for machine in MACHINES:
        longest = 0
        for number in NEEDED[machine].values():
            data = struct.pack("<IIQ6Q", number, ARCHITECTURES[machine], 0, *[0] * 6)
            longest = max(longest, sum(_steps(program, data) for program in PROGRAMS[machine]))
        assert longest < 45


def _steps(program: list[tuple[int, int, int, int]], data: bytes) -> int:
    accumulator = position = steps = 0
    while program[position][0] != 0x06:
        code, jump_true, jump_false, k = program[position]
        steps, position = steps + 1, position + 1
        if code == 0x20:
            [accumulator] = struct.unpack_from("<I", data, k)
        else:
            holds = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: accumulator & k != 0}[code]
            position += jump_true if holds else jump_false
    return steps

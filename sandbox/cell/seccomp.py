"""The filter of system calls under which every run lives (seccomp(2)), for x86_64 and aarch64.

A run can already reach nothing: it has namespaces of its own and no capability. The filter keeps it from the parts of
the kernel that such attacks start from, and from what namespaces do not cover. What is refused fails with EPERM, and
what the tables do not know yet with ENOSYS, as on an older kernel, so that C libraries fall back.
"""

from __future__ import annotations

import ctypes
import errno

from . import linux

# name: (number on x86_64, number on aarch64); -1: the machine has no such call
_REFUSED = {
    # namespaces, mounts, roots
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467), "statmount": (457, 457), "listmount": (458, 458), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "swapon": (167, 224), "swapoff": (168, 225), "uselib": (134, -1),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "process_madvise": (440, 440), "pidfd_getfd": (438, 438), "process_mrelease": (448, 448),
    # wide kernel surfaces
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "lookup_dcookie": (212, 18),
    "vmsplice": (278, 75), "modify_ldt": (154, -1), "remap_file_pages": (216, 234), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "create_module": (174, -1), "get_kernel_syms": (177, -1),
    "query_module": (178, -1), "nfsservctl": (180, 42), "_sysctl": (156, -1), "lsm_set_self_attr": (460, 460),
    # the host's state
    "reboot": (169, 142), "acct": (163, 89), "syslog": (103, 116), "vhangup": (153, 58), "iopl": (172, -1),
    "ioperm": (173, -1), "sethostname": (170, 161), "setdomainname": (171, 162), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171),
    "mbind": (237, 235), "set_mempolicy": (238, 237), "migrate_pages": (256, 238), "move_pages": (279, 239),
    # memory that outlives a process, or that no count of a process shows
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190), "semop": (65, 193),
    "semtimedop": (220, 192), "semctl": (66, 191), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188),
    "msgctl": (71, 187), "mq_open": (240, 180), "mq_unlink": (241, 181), "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
}  # fmt: skip
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_PERSONALITY = {"x86_64": 135, "aarch64": 92}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_IOCTL = {"x86_64": 16, "aarch64": 29}
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_LAST_KNOWN = 470
"""Calls with higher numbers are refused as unknown."""
_NEW_NAMESPACES = 0x7E020080
"""clone(2)'s flags that make namespaces, CLONE_NEWTIME among them."""
_FAMILIES = (1, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6; the two latter reach nothing, since a cell's network has no interface."""
_PERSONALITIES = (0x0, 0x20000, 0xFFFFFFFF)
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL, _ALLOW, _FAIL = 0x80000000, 0x7FFF0000, 0x00050000
_NUMBER, _ARCH, _ARGUMENT_0, _ARGUMENT_1 = 0, 4, 16, 24  # offsets in struct seccomp_data; low words


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


_SETTING_UP = ("unshare", "setns", "mount", "umount2", "memfd_create")
"""What the zygote still needs to set a run up."""


def make_filters(machine: str = linux.MACHINE) -> tuple[_Program, _Program]:
    """The filters for a machine (`platform.machine()`): the zygote's, which its runs inherit, and each run's own.

    The kernel compiles a filter when it is installed, which takes a tenth of a small run's time: so all that the
    zygote does not need itself is refused to it as well. Raises OSError where there is no table for the machine.
    """
    if machine not in _ARCHITECTURE:
        raise OSError(f"no table of system calls for {machine}; x86_64 and aarch64 have one")
    column = 0 if machine == "x86_64" else 1
    refused = {name: numbers[column] for name, numbers in _REFUSED.items() if numbers[column] >= 0}
    own = [refused.pop(name) for name in _SETTING_UP]
    inherited: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_EQUAL, 1, 0, _ARCHITECTURE[machine]),
        (_RETURN, 0, 0, _KILL),  # 32-bit calls
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_AT_LEAST, 0, 1, _LAST_KNOWN + 1),  # x32 calls too
        (_RETURN, 0, 0, _FAIL | errno.ENOSYS),
        (_JUMP_EQUAL, 0, 1, _CLONE3),  # its flags lie in memory, where no filter can look
        (_RETURN, 0, 0, _FAIL | errno.ENOSYS),
    ]
    inherited += _with_argument(_CLONE[machine], [(_JUMP_ANY_BIT, _NEW_NAMESPACES)], allowed=False)
    inherited += _with_argument(_SOCKET[machine], [(_JUMP_EQUAL, family) for family in _FAMILIES], allowed=True)
    inherited += _with_argument(
        _PERSONALITY[machine], [(_JUMP_EQUAL, persona) for persona in _PERSONALITIES], allowed=True
    )
    inherited += _with_argument(
        _IOCTL[machine], [(_JUMP_EQUAL, _TIOCSTI), (_JUMP_EQUAL, _TIOCLINUX)], allowed=False, argument=_ARGUMENT_1
    )
    inherited += _in(sorted(refused.values()))
    return _program(inherited), _program([(_LOAD, 0, 0, _NUMBER), *_in(sorted(own))])


def _program(code: list[tuple[int, int, int, int]]) -> _Program:
    instructions = (_Instruction * len(code))(*(_Instruction(*each) for each in code))
    return _Program(len(code), instructions)


def _with_argument(
    number: int, tests: list[tuple[int, int]], *, allowed: bool, argument: int = _ARGUMENT_0
) -> list[tuple[int, int, int, int]]:
    """For one call: look at an argument, and return whether any test that holds allows or refuses the call."""
    hit, miss = (_ALLOW, _FAIL | errno.EPERM) if allowed else (_FAIL | errno.EPERM, _ALLOW)
    body = [(_LOAD, 0, 0, argument)]
    for index, (jump, value) in enumerate(tests):
        body.append((jump, len(tests) - index, 0, value))  # to the last return
    body += [(_RETURN, 0, 0, miss), (_RETURN, 0, 0, hit)]
    return [(_JUMP_EQUAL, 0, len(body), number), *body]


def _in(refused: list[int]) -> list[tuple[int, int, int, int]]:
    """Refuse each of the calls; a tree by halves, since every call of every run walks through here."""
    if len(refused) <= 4:
        code = []
        for number in refused:
            code += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _FAIL | errno.EPERM)]
        return [*code, (_RETURN, 0, 0, _ALLOW)]
    middle = len(refused) // 2
    low, high = _in(refused[:middle]), _in(refused[middle:])
    if len(low) > 255:
        raise AssertionError("a jump reaches 255 instructions")
    return [(_JUMP_AT_LEAST, len(low), 0, refused[middle]), *low, *high]

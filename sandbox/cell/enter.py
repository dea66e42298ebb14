"""How a process becomes a cell: its namespaces, its user, its root, and a child that is the cell's process 1."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from . import linux, root

INNER_ID = 1000
"""The user and group id of runs, inside; the only ids that exist there."""
_OWN = linux.NEWNS | linux.NEWNET | linux.NEWIPC | linux.NEWUTS
_MOUNT_POINTS = ("/mnt", "/media", "/srv", "/var", "/opt", "/tmp")  # noqa: S108 - only stood on, never written


Refuse = Callable[[str], None]
"""Tells the service why there will be no cell."""


def enter(config: dict[str, Any], cell: Callable[[], None], refuse: Refuse) -> int:
    """Fork the cell's process 1, which runs `cell`, and wait for its end; returns its exit status.

    As root, the mounts are made with root's rights and the process then becomes `config["uid"]`, a user of its own,
    in a user namespace of its own. Otherwise a user namespace gives the right to make them. In either case what runs
    here afterwards is nobody outside: every right it still has counts in its own namespaces only.

    Raises OSError where the kernel or its configuration refuses; what fails in a child is told by `refuse`.
    """
    if os.geteuid() == 0:
        linux.unshare(_OWN | linux.NEWPID)
        return _parent_of(lambda: _from_root(config, cell, refuse), refuse)
    _new_user(linux.NEWPID | _OWN)
    return _parent_of(lambda: _inside(config, cell, build=True), refuse)


def _from_root(config: dict[str, Any], cell: Callable[[], None], refuse: Refuse) -> None:
    _build(config)
    uid = int(config["uid"])
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    linux.prctl(linux.PR_SET_DUMPABLE, 1)  # or /proc/self belongs to root, and the maps cannot be written
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)  # which a change of user resets
    _new_user(linux.NEWNS | linux.NEWPID)
    sys.exit(_parent_of(lambda: _inside(config, cell, build=False), refuse))


def _new_user(others: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(linux.NEWUSER | others)
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{INNER_ID} {uid} 1"),
        ("gid_map", f"{INNER_ID} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(content)


def _inside(config: dict[str, Any], cell: Callable[[], None], *, build: bool) -> None:
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    if build:
        _build(config)
    else:
        linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    cell()


def _build(config: dict[str, Any]) -> None:
    sources = [*config["prefixes"], *config["packages"].values()]
    for folder in _MOUNT_POINTS:
        if os.path.isdir(folder) and not any(source.startswith(f"{folder}/") for source in sources):
            root.build(folder, config["prefixes"], config["packages"], INNER_ID)
            return
    raise OSError(f"no folder to build a root at: each of {', '.join(_MOUNT_POINTS)} is missing or in use")


def _parent_of(child: Callable[[], None], refuse: Refuse) -> int:
    """Fork; the child is process 1 of the new namespace. It ends with this process, and this process with it."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            child()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException as error:
            refuse(f"{type(error).__name__}: {error}")
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

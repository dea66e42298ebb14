"""Cells on this host without a daemon: namespaces, control groups, seccomp and Landlock around its own Python."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox import groups
from sandbox.base import SandboxUnavailableError
from sandbox.cells import Cell, Flavour, in_thread
from sandbox.channel import CellLostError, Channel
from sandbox.start import command

START_S = 30.0
"""How long a cell may take to say hello; importing packages on a busy host is the slow part."""
FIRST_UID = 1_500_000_000
"""Users of cells are this plus the cell's process id: nobody else's, and no two cells' alike."""
OFFERED = ("numpy", "sympy", "mpmath", "pytest")
ALONGSIDE = {
    "numpy": ("numpy.libs",),
    "sympy": ("mpmath",),
    "pytest": ("_pytest", "pluggy", "iniconfig", "packaging", "pygments", "py"),
}
"""What else a package needs."""
PROCESSES = 512
"""Of a whole cell, at most."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_numbers = itertools.count(1)
"""Of the cells of this process, whichever backend's."""
_TROUBLE = (
    "run Assay as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
    "user.max_user_namespaces above 0, and on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0), "
    "or use Docker (ASSAY_SANDBOX=docker)"
)


class LocalCell(Cell):
    """A cell that is a child process of the service."""

    def __init__(
        self,
        channel: Channel,
        facts: Mapping[str, Any],
        flavour: Flavour,
        process: subprocess.Popen[bytes],
        group: groups.Group | None,
    ) -> None:
        super().__init__(channel, facts, flavour)
        self.process = process
        self._group = group

    async def close(self) -> None:
        """See `Cell.close`."""
        self.channel.close()
        await asyncio.to_thread(_end, self.process, self._group)


class LocalBackend:
    """Starts local cells. `memory_mb` is the most that all of a cell may have."""

    name = "local"

    def __init__(self, memory_mb: int) -> None:
        self._bounds = groups.Bounds(memory_mb, PROCESSES)
        self._where: dict[str, Path] = {}
        self._packages = _installed()
        self._versions = {name: importlib.metadata.version(name) for name in OFFERED if name in self._packages}

    @property
    def packages(self) -> Mapping[str, str]:
        """See `Backend.packages`."""
        return self._versions

    async def open(self) -> None:
        """See `Backend.open`."""
        if not sys.platform.startswith("linux"):
            raise SandboxUnavailableError("cells need Linux; use Docker (ASSAY_SANDBOX=docker)")
        self._where = await asyncio.to_thread(groups.parents)
        await asyncio.to_thread(groups.sweep, self._where)

    async def start(self, flavour: Flavour) -> Cell:
        """See `Backend.start`."""
        name = f"{os.getpid()}-{next(_numbers)}"
        group = await in_thread(lambda: groups.make(name, self._bounds, self._where), _remove)
        channel = Channel()
        ours: socket.socket | None = None
        process: subprocess.Popen[bytes] | None = None
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                process = self._spawn(theirs, flavour, group)
            async with asyncio.timeout(START_S):
                await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=ours)
                facts = await channel.hello
        except BaseException as error:
            channel.close()
            if ours is not None:
                ours.close()
            await asyncio.to_thread(_end, process, group)
            if not isinstance(error, CellLostError | TimeoutError | OSError):
                raise
            reason = str(error) or f"it was not ready within {START_S:.0f} s"
            raise SandboxUnavailableError(f"a local cell cannot start: {reason}; {_TROUBLE}") from error
        return LocalCell(channel, facts, flavour, process, group)

    def _spawn(self, channel: socket.socket, flavour: Flavour, group: groups.Group | None) -> subprocess.Popen[bytes]:
        shown: dict[str, str] = {}
        for package in sorted(flavour):
            shown |= self._packages[package]
        descriptor = channel.fileno()
        base = getattr(sys, "_base_executable", sys.executable)
        argv = command(
            os.path.realpath(base),
            str(Path(__file__).parent),
            service_in=descriptor,
            service_out=descriptor,
            uid=FIRST_UID,
            groups=[str(folder) for folder in group.folders] if group else [],
            join=group.join if group else [],
            prefixes=sorted({sys.base_prefix, sys.base_exec_prefix}),
            packages=shown,
            imports=sorted(flavour),
        )
        return subprocess.Popen(
            argv,
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", **ONE_THREAD},
            start_new_session=True,
        )

    async def close(self) -> None:
        """See `Backend.close`."""

    def describe(self) -> dict[str, Any]:
        """See `Backend.describe`."""
        return {
            "control_groups": sorted(name or "version 2" for name in self._where),
            "user_namespaces": "one for each cell",
            "as_root": os.geteuid() == 0,
        }


def _end(process: subprocess.Popen[bytes] | None, group: groups.Group | None) -> None:
    """Kill a cell's first process, with which everything in the cell dies, and remove its control group."""
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
    _remove(group)


def _remove(group: groups.Group | None) -> None:
    if group is not None:
        group.remove()


def _installed() -> dict[str, dict[str, str]]:
    """Which of the offered packages this environment has: for each, the folders and files to show, by name."""
    found: dict[str, dict[str, str]] = {}
    for name in OFFERED:
        paths: dict[str, str] = {}
        for part in (name, *ALONGSIDE.get(name, ())):
            if path := _path(part):
                paths[Path(path).name] = path
        if name in paths:
            found[name] = paths
    return found


def _path(name: str) -> str | None:
    if name.endswith(".libs"):
        spec = importlib.util.find_spec(name.removesuffix(".libs"))
        beside = Path(spec.origin).parent.parent / name if spec and spec.origin else None
        return str(beside) if beside and beside.is_dir() else None
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    return str(origin.parent if origin.name == "__init__.py" else origin)

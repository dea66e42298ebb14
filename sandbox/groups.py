"""Control groups for local cells: bounds of memory, processes and processor that no process can pass.

Version 1 and version 2 of the kernel's interface; groups are made below the service's own, so that the bounds of a
container or a unit around the service still hold (cgroups(7)).
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

PREFIX = "assay-cell-"
CPU_PERIOD_US = 100_000
_REMOVE_S = 2.0
_made: set[str] = set()
"""By this process."""
_CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one cell may have in all."""

    memory_mb: int
    processes: int
    processors: float = 1.0


class Group:
    """One cell's control group: a folder for each hierarchy that could be had."""

    def __init__(self, folders: list[Path]) -> None:
        self.folders = folders

    @property
    def join(self) -> list[str]:
        """Files to which a process writes its id to join."""
        return [str(folder / "cgroup.procs") for folder in self.folders]

    def remove(self) -> None:
        """Remove it. Its processes have been killed, and may take a moment to go."""
        until = time.monotonic() + _REMOVE_S
        for folder in self.folders:
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > until:
                        return  # the next start sweeps it up
                    time.sleep(0.005)


def parents(proc: Path = Path("/proc/self"), writable: bool = True) -> dict[str, Path]:
    """Where groups can be made: by controller in version 1, under the empty name in version 2.

    Only folders that this process may write to, unless `writable` is false.
    """
    mounts: dict[str, tuple[Path, str]] = {}
    for line in (proc / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        root, point = before.split(" ")[3:5]
        if kind == "cgroup2":
            mounts.setdefault("", (Path(point), root))
        elif kind == "cgroup":
            for controller in options.split(" ")[-1].split(","):
                mounts.setdefault(controller, (Path(point), root))
    found: dict[str, Path] = {}
    for line in (proc / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in mounts and (controller in _CONTROLLERS or not controller):
                at, top = mounts[controller]
                inner = os.path.relpath(path, top)  # a container sees its own group at the mount
                folder = at if inner.startswith("..") else at / inner
                if folder.is_dir() and (not writable or os.access(folder, os.W_OK)):
                    found[controller] = folder
    return found


def make(name: str, bounds: Bounds, where: dict[str, Path]) -> Group | None:
    """A group for a cell, or None where none can be made that bounds its memory."""
    folders: list[Path] = []
    _made.add(name)
    try:
        if "memory" in where:
            _make_v1(name, bounds, where, folders)
        elif "" in where:
            folders.append(_make_v2(name, bounds, where[""]))
    except OSError:
        Group(folders).remove()
        return None
    return Group(folders) if folders else None


def _make_v1(name: str, bounds: Bounds, where: dict[str, Path], folders: list[Path]) -> None:
    memory = str(bounds.memory_mb * 2**20)
    settings = {
        "memory": (("memory.limit_in_bytes", memory), ("memory.memsw.limit_in_bytes", memory)),
        "pids": (("pids.max", str(bounds.processes)),),
        "cpu": (
            ("cpu.cfs_period_us", str(CPU_PERIOD_US)),
            ("cpu.cfs_quota_us", str(int(CPU_PERIOD_US * bounds.processors))),
        ),
        "cpuacct": (),
    }
    for controller, values in settings.items():
        if controller not in where:
            continue
        folder = where[controller] / f"{PREFIX}{name}"
        if folder not in folders:
            folder.mkdir()
            folders.append(folder)
        for file, value in values:
            if (folder / file).exists():  # memsw only where swap is counted
                (folder / file).write_text(value)


def _make_v2(name: str, bounds: Bounds, base: Path) -> Path:
    base = _delegated(base)
    folder = base / f"{PREFIX}{name}"
    folder.mkdir()
    try:
        (folder / "memory.max").write_text(str(bounds.memory_mb * 2**20))
        for file, value in (
            ("memory.swap.max", "0"),
            ("pids.max", str(bounds.processes)),
            ("cpu.max", f"{int(CPU_PERIOD_US * bounds.processors)} {CPU_PERIOD_US}"),
        ):
            if (folder / file).exists():
                (folder / file).write_text(value)
    except OSError:
        folder.rmdir()
        raise
    return folder


def _delegated(own: Path) -> Path:
    """A group whose children get controllers. Raises OSError where there is none.

    A group with processes cannot give controllers to its children (but for the root), so where the service's own
    group does not do so already, its siblings' parent is used, as far as this process may write there.
    """
    for base in (own, own.parent):
        control = base / "cgroup.subtree_control"
        if not control.exists() or not os.access(base, os.W_OK):
            continue
        if "memory" in control.read_text().split():
            return base
        for controller in ("memory", "pids", "cpu"):
            with contextlib.suppress(OSError):
                control.write_text(f"+{controller}")
        if "memory" in control.read_text().split():
            return base
    raise OSError("no control group that bounds the memory of its children")


def sweep(where: dict[str, Path]) -> None:
    """Remove the empty groups that cells of a killed service left behind; names begin with their service's id."""
    for parent in {folder for base in where.values() for folder in (base, base.parent)}:
        for folder in parent.glob(f"{PREFIX}*"):
            name = folder.name.removeprefix(PREFIX)
            owner = name.partition("-")[0]
            if name in _made or (owner != str(os.getpid()) and Path("/proc", owner).exists()):
                continue  # it may be one that its cell is just about to join
            with contextlib.suppress(OSError):  # somebody's who lives, or is just going
                folder.rmdir()

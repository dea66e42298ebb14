"""The file system that a cell's runs see: the host's programs and libraries, read-only, and little else."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping

from . import linux

WORK = "/tmp/work"  # noqa: S108 - inside a run, where /tmp is its own
"""The working folder of a run."""
JOB = "/job"
"""What a job's compilation made: written while it compiles, read-only for its runs."""
PACKAGES = "/packages"
"""Python packages beyond the standard library."""

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_CONFIGURATION = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime")
_CONFIGURATION_PREFIXES = ("java-",)
_DEVICES = ("null", "zero", "full", "random", "urandom")
_HIDDEN = ("/usr/local/etc", "/usr/src")
"""Below /usr, but of no use to programs, and perhaps the host's own business."""
# statvfs(3) flag: mount(2) flag; what a mount is locked to must be kept when it is remounted
_KEPT = {1: linux.MS_RDONLY, 2: linux.MS_NOSUID, 4: linux.MS_NODEV, 8: linux.MS_NOEXEC}


def build(mount_point: str, prefixes: Iterable[str], packages: Mapping[str, str], uid: int) -> None:
    """Build the root at an existing folder and make it this process's root; needs a mount namespace of its own.

    `prefixes` are folders outside /usr that programs need, at the same paths; `packages` maps names below `PACKAGES`
    to the host's paths, as far as they exist. Files are owned by whoever calls; `uid` is who the runs are, inside.
    """
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", mount_point, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=4m,nr_inodes=4096,mode=755")

    def inside(path: str) -> str:
        return mount_point + path

    for path in _SYSTEM:
        if os.path.islink(path):
            os.symlink(os.readlink(path), inside(path))
        elif os.path.isdir(path):
            _show(path, inside(path))
    for path in _HIDDEN:
        if os.path.isdir(inside(path)):
            linux.mount("tmpfs", inside(path), "tmpfs", linux.MS_RDONLY, "size=4k,mode=555")
    for folder in ("/etc", "/dev", "/proc", "/tmp", JOB, PACKAGES):  # noqa: S108
        os.mkdir(inside(folder))
    for path in prefixes:
        if not path.startswith("/usr/"):
            _show(path, inside(path))
    for name, path in packages.items():
        target = inside(f"{PACKAGES}/{name}")
        if os.path.isdir(path):
            _show(path, target)
        elif os.path.isfile(path):
            shutil.copyfile(path, target)
    _configure(inside("/etc"), uid)
    _devices(inside("/dev"))
    # proc can only be mounted for a run where a proc is to be seen already (mount_too_revealing, fs/namespace.c)
    linux.mount("proc", inside("/proc"), "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    linux.pivot_root(mount_point)
    linux.mount(
        "none", "/", None, linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV
    )


def _show(source: str, target: str) -> None:
    """Bind a folder read-only, without devices and without the power of setuid bits."""
    os.makedirs(target, exist_ok=True)
    linux.mount(source, target, None, linux.MS_BIND | linux.MS_REC)
    flags = linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV
    present = os.statvfs(target).f_flag
    for bit, flag in _KEPT.items():
        if present & bit:
            flags |= flag
    linux.mount("none", target, None, linux.MS_REMOUNT | linux.MS_BIND | flags)


def _configure(etc: str, uid: int) -> None:
    names = [os.path.basename(path) for path in _CONFIGURATION]
    with contextlib.suppress(PermissionError):  # a host that hides its /etc has no Java configuration to show either
        names += [name for name in os.listdir("/etc") if name.startswith(_CONFIGURATION_PREFIXES)]
    for name in names:
        source, target = f"/etc/{name}", f"{etc}/{name}"
        if os.path.isdir(source):
            shutil.copytree(source, target, symlinks=True, ignore=_unreadable, ignore_dangling_symlinks=True)
        elif os.path.isfile(source) and os.access(source, os.R_OK):
            shutil.copyfile(source, target)
    for name, content in (
        ("passwd", f"root:x:0:0:root:/:/bin/false\nuser:x:{uid}:{uid}:user:{WORK}:/bin/sh\n"),
        ("group", f"root:x:0:\nuser:x:{uid}:\n"),
        ("hosts", "127.0.0.1 localhost\n"),
    ):
        with open(f"{etc}/{name}", "w") as file:
            file.write(content)


def _unreadable(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not os.access(os.path.join(folder, name), os.R_OK)]


def _devices(dev: str) -> None:
    for name in _DEVICES:
        with open(f"{dev}/{name}", "w"):
            pass
        linux.mount(f"/dev/{name}", f"{dev}/{name}", None, linux.MS_BIND)
    for name, target in (
        ("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"),
        ("shm", "/tmp"),  # noqa: S108
    ):  # fmt: skip
        os.symlink(target, f"{dev}/{name}")

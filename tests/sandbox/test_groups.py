"""Control groups of both versions, on trees of files that stand for them, and on this host's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox import groups
from sandbox.groups import CPU_PERIOD_US, PREFIX, Bounds

BOUNDS = Bounds(256, 100, 1.5)
MEMORY = str(256 * 2**20)


def write(folder: Path, **files: str) -> Path:
    """A folder with these files, `_` in whose names stands for a dot where there are two."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    return folder


def proc(folder: Path, mountinfo: list[str], cgroup: list[str]) -> Path:
    """What the kernel tells a process."""
    return write(folder / "proc", mountinfo="\n".join(mountinfo), cgroup="\n".join(cgroup))


def mounted(point: Path, kind: str, root: str = "/", options: str = "rw") -> str:
    return f"30 23 0:26 {root} {point} rw,nosuid shared:9 - {kind} {kind} {options}"


def test_version_1_is_found_by_controller(tmp_path: Path) -> None:
    memory, cpu, pids = (write(tmp_path / name / "unit") for name in ("memory", "cpu,cpuacct", "pids"))
    told = proc(
        tmp_path,
        [
            "22 1 254:1 / / rw - ext4 /dev/root rw",
            mounted(memory.parent, "cgroup", options="rw,memory"),
            mounted(cpu.parent, "cgroup", options="rw,cpu,cpuacct"),
            mounted(pids.parent, "cgroup", options="rw,pids"),
            mounted(tmp_path / "blkio", "cgroup", options="rw,blkio"),
            mounted(tmp_path / "systemd", "cgroup", options="rw,xattr,name=systemd"),
        ],
        ["9:name=systemd:/", "5:blkio:/unit", "4:cpu,cpuacct:/unit", "3:memory:/unit", "2:pids:/unit"],
    )
    assert groups.parents(told) == {"memory": memory, "cpu": cpu, "cpuacct": cpu, "pids": pids}


def test_version_2_is_found_under_no_name(tmp_path: Path) -> None:
    own = write(tmp_path / "unified" / "system.slice" / "assay.service")
    told = proc(tmp_path, [mounted(tmp_path / "unified", "cgroup2")], ["0::/system.slice/assay.service"])
    assert groups.parents(told) == {"": own}


@pytest.mark.parametrize(
    ("root", "path", "inner"),
    [
        ("/", "/a/b", "a/b"),
        ("/a", "/a/b", "b"),
        ("/docker/1234", "/docker/1234", ""),  # a container, whose own group is at the mount
        ("/docker/1234", "/docker/1234/inner", "inner"),
        ("/docker/1234", "/", ""),  # a group namespace of its own, but not its mount
        ("/docker/1234", "/docker/5678", ""),
    ],
)
def test_where_a_process_is_seen_from_its_mount(tmp_path: Path, root: str, path: str, inner: str) -> None:
    point = tmp_path / "cgroup"
    write(point / inner)
    told = proc(tmp_path, [mounted(point, "cgroup2", root)], [f"0::{path}"])
    assert {name: folder.resolve() for name, folder in groups.parents(told).items()} == {
        "": (point / inner).resolve()
    }


def test_groups_that_are_not_there_are_not_found(tmp_path: Path) -> None:
    told = proc(tmp_path, [mounted(tmp_path / "cgroup", "cgroup2")], ["0::/gone", "3:memory:/unmounted"])
    assert groups.parents(told) == {}
    told = proc(tmp_path, [], [])
    assert groups.parents(told) == {}


def test_a_group_of_version_1(tmp_path: Path) -> None:
    where = {name: write(tmp_path / name) for name in ("memory", "pids", "cpu")}
    where["cpuacct"] = where["cpu"]
    group = groups.make("1-1", BOUNDS, where)
    assert group is not None
    name = f"{PREFIX}1-1"
    assert group.folders == [where["memory"] / name, where["pids"] / name, where["cpu"] / name]
    assert group.join == [f"{folder}/cgroup.procs" for folder in group.folders]
    group.remove()
    assert not any(folder.exists() for folder in group.folders)
    group.remove()


def test_a_group_of_version_1_without_memory_is_none(tmp_path: Path) -> None:
    assert groups.make("1-2", BOUNDS, {"pids": write(tmp_path / "pids")}) is None
    assert groups.make("1-2", BOUNDS, {}) is None
    assert list((tmp_path / "pids").iterdir()) == []


def test_half_a_group_is_removed(tmp_path: Path) -> None:
    where = {"memory": write(tmp_path / "memory"), "pids": write(tmp_path / "pids")}
    write(where["pids"] / f"{PREFIX}1-3")  # somebody else's
    assert groups.make("1-3", BOUNDS, where) is None
    assert list(where["memory"].iterdir()) == []
    assert (where["pids"] / f"{PREFIX}1-3").is_dir()


class Kernel:
    """Makes the files that a kernel makes with a folder of version 2, by watching `mkdir`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...]) -> None:
        make = Path.mkdir

        def mkdir(folder: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
            make(folder, mode, parents, exist_ok)
            if folder.name.startswith(PREFIX):
                for name in files:
                    (folder / name).write_text("max")

        monkeypatch.setattr(Path, "mkdir", mkdir)


V2 = ("memory.max", "memory.swap.max", "pids.max", "cpu.max")


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_a_group_of_version_2_in_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(monkeypatch, V2)
    own = write(tmp_path / "slice" / "own", cgroup__subtree_control="cpu memory pids")
    group = groups.make("1-4", BOUNDS, {"": own})
    assert group is not None
    assert group.folders == [own / f"{PREFIX}1-4"]
    assert contents(group.folders[0]) == {
        "memory.max": MEMORY, "memory.swap.max": "0", "pids.max": "100",
        "cpu.max": f"{CPU_PERIOD_US * 3 // 2} {CPU_PERIOD_US}",
    }  # fmt: skip


def test_controllers_that_are_missing_are_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(monkeypatch, ("memory.max", "pids.max"))
    own = write(tmp_path / "own", cgroup__subtree_control="memory pids")
    group = groups.make("1-5", BOUNDS, {"": own})
    assert group is not None
    assert contents(group.folders[0]) == {"memory.max": MEMORY, "pids.max": "100"}


def test_a_group_of_version_2_beside_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(monkeypatch, V2)
    above = write(tmp_path / "slice", cgroup__subtree_control="memory pids cpu")
    own = write(above / "own", cgroup__subtree_control="pids")
    real = Path.write_text

    def refusing(path: Path, text: str) -> int:
        """A group with processes gives no controllers to its children: EBUSY, and the file stays as it is."""
        if path == own / "cgroup.subtree_control":
            raise OSError(16, "Device or resource busy")
        return real(path, text)

    monkeypatch.setattr(Path, "write_text", refusing)
    group = groups.make("1-6", BOUNDS, {"": own})
    assert group is not None
    assert group.folders == [above / f"{PREFIX}1-6"]


def test_controllers_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(monkeypatch, V2)
    own = write(tmp_path / "own", cgroup__subtree_control="")
    real, control, held = Path.write_text, own / "cgroup.subtree_control", set()

    def granting(path: Path, text: str) -> int:
        if path != control:
            return real(path, text)
        if text == "+cpu":
            raise OSError(22, "Invalid argument")
        held.add(text.removeprefix("+"))
        return real(path, " ".join(sorted(held)))

    monkeypatch.setattr(Path, "write_text", granting)
    group = groups.make("1-7", BOUNDS, {"": own})
    assert group is not None
    assert control.read_text() == "memory pids"


def test_a_group_of_version_2_that_nobody_delegates_is_none(tmp_path: Path) -> None:
    own = write(tmp_path / "slice" / "own", cgroup__subtree_control="pids cpu")
    control = own / "cgroup.subtree_control"
    control.unlink()
    control.mkdir()  # cannot be written to
    assert groups.make("1-8", BOUNDS, {"": write(tmp_path / "bare")}) is None


def test_a_group_whose_memory_cannot_be_bounded_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = write(tmp_path / "own", cgroup__subtree_control="memory")
    real = Path.write_text

    def refusing(path: Path, text: str) -> int:
        if path.name == "memory.max":
            raise OSError(22, "Invalid argument")
        return real(path, text)

    monkeypatch.setattr(Path, "write_text", refusing)
    assert groups.make("1-9", BOUNDS, {"": own}) is None
    assert [entry.name for entry in own.iterdir()] == ["cgroup.subtree_control"]


def test_a_sweep_takes_what_the_dead_left(tmp_path: Path) -> None:
    own = write(tmp_path / "slice" / "own")
    dead = 2**22 + 1
    left = [own / f"{PREFIX}{dead}-1", own.parent / f"{PREFIX}{dead}-2"]
    kept = [own / f"{PREFIX}{os.getppid()}-1", own / "other", own / f"{PREFIX}{dead}-3"]
    for folder in (*left, *kept):
        write(folder)
    write(kept[2], cgroup__procs="1")  # in use
    groups.sweep({"": own})
    assert not any(folder.exists() for folder in left)
    assert all(folder.exists() for folder in kept)


def test_a_sweep_leaves_what_this_process_has_made(tmp_path: Path) -> None:
    name = f"{os.getpid()}-9999999"
    group = groups.make(name, BOUNDS, {"memory": write(tmp_path / "own")})
    assert group is not None
    earlier = write(tmp_path / "own" / f"{PREFIX}{os.getpid()}-0")  # of a process that had this one's id
    groups.sweep({"memory": tmp_path / "own"})
    assert group.folders[0].is_dir()
    assert not earlier.exists()


def test_this_hosts_own_groups() -> None:
    where = groups.parents()
    assert all(folder.is_dir() for folder in where.values())
    group = groups.make(f"{os.getpid()}-9999998", BOUNDS, where)
    if group is None:
        pytest.skip("this host lets this user make no control group")
    try:
        settings = {name.name: name.read_text().strip() for folder in group.folders for name in folder.iterdir()
                    if name.name in ("memory.max", "memory.limit_in_bytes", "pids.max")}  # fmt: skip
        assert MEMORY in settings.values()
        assert settings.get("pids.max", "100") == "100"
    finally:
        group.remove()
    assert not any(folder.exists() for folder in group.folders)

"""How much memory this host or container has left."""

from __future__ import annotations

from pathlib import Path


def available_memory(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that can still be used: of the host (proc(5), MemAvailable), and of the container where it is limited."""
    fields = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
    free = int(fields["MemAvailable"].split()[0]) * 1024
    # a container sees its own control group mounted as the root, in version 2 or 1
    for limit, used in (
        (cgroup / "memory.max", cgroup / "memory.current"),
        (cgroup / "memory/memory.limit_in_bytes", cgroup / "memory/memory.usage_in_bytes"),
    ):
        if limit.exists() and used.exists() and (most := limit.read_text().strip()) != "max":
            free = min(free, max(0, int(most) - int(used.read_text())))
    return free

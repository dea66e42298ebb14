"""What benchmarks run against: a live service, and a bare echo server."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.service import ROOT, Service, free_port


@contextmanager
def service(**environment: str) -> Iterator[Service]:
    """A service of its own, in a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        Path(folder).chmod(0o755)  # the database's own user passes through
        running = Service(Path(folder) / "home", **environment)
        try:
            yield running.start()
        finally:
            running.stop()


@contextmanager
def echo() -> Iterator[int]:
    """A bare uvicorn worker that echoes bodies; its port."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.echo:app", "--port", str(port), "--no-access-log"]
    process = subprocess.Popen(
        [*command, "--log-level", "error", "--loop", "uvloop", "--http", "httptools", "--lifespan", "off"], cwd=ROOT
    )
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def processes(running: Service) -> list[psutil.Process]:
    """Every process of a service, the database's included."""
    if running.process is None:
        raise RuntimeError("the service is not running")
    service = psutil.Process(running.process.pid)
    found = [service, *service.children(recursive=True)]
    marker = str(running.home)
    ours = {process.pid for process in found}
    for process in psutil.process_iter(["name", "cmdline"]):
        command = " ".join(process.info["cmdline"] or [])
        if process.pid not in ours and process.info["name"] == "postgres" and marker in command:
            found += [process, *process.children(recursive=True)]
    return found


def memory(running: Service) -> dict[str, tuple[int, int]]:
    """Resident and proportional memory, in bytes, of each process of a service, the database's included."""
    sizes = {}
    for process in processes(running):
        full = process.memory_full_info()
        sizes[f"{process.pid} {' '.join(process.cmdline())[:60]}"] = (full.rss, full.pss)
    return sizes


def cpu_s(found: Iterable[psutil.Process]) -> float:
    """Processor seconds of processes so far, with those of their children that have ended."""
    total = 0.0
    for process in found:
        with suppress(psutil.Error):  # it has just ended: its parent has its time
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total

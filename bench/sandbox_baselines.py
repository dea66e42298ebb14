"""What the sandbox is measured against: plain interpreters, the fork limit, containers, and SandboxFusion."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import uvloop

from bench.load import post
from bench.running import cpu_s
from bench.sandbox_client import Rate, drive
from bench.sandbox_items import program, run_code_body

HERE = Path(__file__).parent
PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
"""The interpreter that local cells run."""
PLAIN_RUNS, FORK_RUNS = 60, 400
EXEC_RUNS, DOCKER_RUNS = 10, 3
FUSION = "BENCH_SANDBOX_FUSION"
"""Environment variable: where a SandboxFusion answers, such as http://127.0.0.1:8080."""
FUSION_RUNS = 24
FUSION_CONNECTIONS = (2, 4, 8)
"""It is given the one that it does best at."""


def plain(threads: int) -> Rate:
    """`python3 -I -S -c`, each a new interpreter, on so many threads."""
    return _rate([sys.executable, "-I", "-S", str(HERE / "sandbox_plain.py"), PYTHON, str(PLAIN_RUNS), str(threads)])


def forks(processes: int) -> Rate:
    """Bare forks of warm interpreters, so many at once."""
    return _rate([PYTHON, "-I", "-S", str(HERE / "sandbox_fork.py"), str(FORK_RUNS), str(processes)])


def _rate(command: list[str]) -> Rate:
    per_second, cpu_ms = subprocess.run(command, capture_output=True, check=True).stdout.split()
    return Rate(float(per_second), float(cpu_ms))


@contextmanager
def container(image: str) -> Iterator[Callable[[], Rate] | None]:
    """A running container; gives a function that measures `docker exec` in it."""
    docker = shutil.which("docker")
    if docker is None:
        yield None
        return
    command = [docker, "run", "--detach", "--rm", "--network", "none", "--entrypoint", "sleep", image, "600"]
    name = subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    try:
        yield lambda: _each([docker, "exec", "--interactive", name, "/usr/bin/python3"], EXEC_RUNS)
    finally:
        subprocess.run([docker, "rm", "--force", name], capture_output=True, check=True)


def docker_run(image: str) -> Rate | None:
    """`docker run`, one after the other."""
    docker = shutil.which("docker")
    if docker is None:
        return None
    command = [docker, "run", "--interactive", "--rm", "--network", "none", "--entrypoint", "/usr/bin/python3", image]
    return _each(command, DOCKER_RUNS)


def _each(command: list[str], runs: int) -> Rate:
    began = time.perf_counter()
    for _ in range(runs):
        code, output = program()
        done = subprocess.run(
            [*command, "-I", "-S", "-c", code], input="1\n", capture_output=True, check=True, text=True
        )
        assert done.stdout == output, done
    return Rate(runs / (time.perf_counter() - began))


def sandbox_fusion() -> tuple[Rate, int] | None:
    """A SandboxFusion, and at how many connections; None where none is given."""
    url = os.environ.get(FUSION)
    if not url:
        return None
    port = urlsplit(url).port or 80
    server = _listener(port)
    run_code(port, "/run_code", "", server, 2, 2)
    return max((run_code(port, "/run_code", "", server, FUSION_RUNS, each), each) for each in FUSION_CONNECTIONS)


def _listener(port: int) -> list[psutil.Process]:
    """The process that listens at a port, and those that it has started; none where that cannot be seen."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
            process = psutil.Process(connection.pid)
            return [process, *process.children(recursive=True)]
    return []


def run_code(port: int, path: str, key: str, server: list[psutil.Process], runs: int, connections: int) -> Rate:
    """Anything that speaks SandboxFusion's protocol: one trivial program a request. Only right answers count."""
    bodies = [run_code_body() for _ in range(runs)]
    before = cpu_s(server)
    load, answers = uvloop.run(drive(port, [post(path, body, key) for body, _ in bodies], connections))
    used = cpu_s(server) - before
    right = sum(
        (json.loads(answer).get("run_result") or {}).get("stdout") == output
        for answer, (_, output) in zip(answers, bodies, strict=True)
    )
    return Rate(right / load.seconds, 1000 * used / runs if server else None)

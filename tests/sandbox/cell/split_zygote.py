"""A zygote for tests of the split: forks a candidate and an oracle, and tells what became of them.

    python split_zygote.py PROGRAMS TESTS RESULTS

Three pipes. For each job: the program on PROGRAMS, one JSON line; its tests on TESTS, one JSON line, which only the
oracle's process reads, after the candidate was forked without that pipe; results on RESULTS, one JSON line.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import socket
import sys
import time
import types
from typing import Any

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))  # noqa: PTH100,PTH118,PTH120

from sandbox.cell.split import CandidateLost, LoadFailed, run_tests, serve


def _limit(memory_mb: int, cpu_s: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb * 2**20,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _load(source: str) -> dict[str, Any]:
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    exec(compile(source, "main.py", "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    return module.__dict__


def _candidate(channel: int, job: dict[str, Any]) -> None:
    _limit(job["memory_mb"], job["cpu_s"])
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    sys.stdin, sys.stdout = io.open(0), io.open(1, "w")  # noqa: UP020,SIM115
    serve(channel, lambda: _load(job["program"]))


def _oracle(channel: int, tests: int, results: int) -> None:
    _limit(1024, 20)
    with open(tests, encoding="utf-8", buffering=1, closefd=False) as lines:
        plan = json.loads(lines.readline())
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # unittest reports there, and files are limited to no bytes
    reports: list[Any] = []
    end: dict[str, Any] = {}
    start = time.process_time()
    try:
        run_tests(channel, plan, lambda status, message: reports.append([status, message]))
    except CandidateLost as lost:
        end = {"lost": lost.test, "loading": lost.test is None}
    except LoadFailed as failed:
        end = {"load": [failed.status, failed.message]}
    answer = {"reports": reports, "cpu_s": time.process_time() - start, **end}
    os.write(results, json.dumps(answer).encode() + b"\n")


def _fork(body: Any, *arguments: Any) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            body(*arguments)
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(f"{body.__name__}: {type(error).__name__}: {error}\n")
        finally:
            os._exit(70)
    return pid


def _wait(pid: int, deadline: float) -> bool:
    pause = 0.0002
    while time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(pause)
        pause = min(pause * 1.5, 0.01)
    return False


def main(programs: int, tests: int, results: int) -> None:
    """Serve jobs until PROGRAMS ends."""
    with open(programs, encoding="utf-8", closefd=False) as lines:
        while line := lines.readline():
            job = json.loads(line)
            ours, theirs = socket.socketpair()
            with ours, theirs:

                def candidate(channel: int, job: dict[str, Any], other: int) -> None:
                    for descriptor in (programs, tests, results, other):
                        os.close(descriptor)
                    _candidate(channel, job)

                first = _fork(candidate, theirs.fileno(), job, ours.fileno())
                theirs.close()
                second = _fork(_oracle, ours.fileno(), tests, results)
            ended = _wait(second, time.monotonic() + job["wall_s"])
            if not ended:
                os.kill(second, signal.SIGKILL)
                os.waitpid(second, 0)
            with contextlib.suppress(ProcessLookupError):
                os.kill(first, signal.SIGKILL)
            os.waitpid(first, 0)
            os.write(results, json.dumps({"ended": ended}).encode() + b"\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

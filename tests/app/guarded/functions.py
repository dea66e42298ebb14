"""What the tests run in guarded workers: every way in which a function can misbehave."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import stat
import sys
import time
from pathlib import Path
from typing import Any

KEPT: list[bytes] = []


def echo(value: Any) -> Any:
    return value


def pid(_value: Any) -> int:
    return os.getpid()


def length(text: str) -> int:
    return len(text)


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def spin(seconds: float) -> float:
    """Uses CPU time."""
    stop = time.process_time() + seconds
    while time.process_time() < stop:
        pass
    return seconds


def spin_unstoppably(_value: Any) -> None:
    """Uses CPU time, and neither a signal nor an exception ends it."""
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    while True:
        with contextlib.suppress(BaseException):
            spin(1.0)


def grow(megabytes: int) -> int:
    """Takes memory little by little, and gives it back."""
    held = []
    for _ in range(megabytes):
        held.append(os.urandom(2**10) * 2**10)
        time.sleep(0.001)
    return len(held)


def grow_at_once(megabytes: int) -> int:
    return len(bytearray(megabytes * 2**20))


def keep(megabytes: int) -> int:
    """Takes memory for good."""
    KEPT.append(os.urandom(2**10) * (megabytes * 2**10))
    return os.getpid()


def fail(message: str) -> None:
    raise KeyError(message)


class _UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def fail_without_words(_value: Any) -> None:
    raise _UnspeakableError


def leave(status: int) -> None:
    sys.exit(status)


def leave_at_once(status: int) -> None:
    os._exit(status)


def recurse(depth: int) -> int:
    return 0 if depth == 0 else 1 + recurse(depth - 1)


def overflow_stack(_value: Any) -> int:
    """Recurses through C until the stack ends."""
    sys.setrecursionlimit(2**30)
    return max([0], key=overflow_stack)


def crash(_value: Any) -> None:
    ctypes.string_at(0)


def abort(_value: Any) -> None:
    os.abort()


def die(record: str) -> int:
    """Notes that it ran, then kills its process with the signal of somebody else's kill -9."""
    with Path(record).open("a") as file:
        file.write(f"{os.getpid()}\n")
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def die_once(record: str) -> int:
    return 1 if Path(record).exists() else die(record)


def sleep_on_first_run(record: str) -> int:
    """Notes that it ran; only the first run sleeps."""
    first = not Path(record).exists()
    with Path(record).open("a") as file:
        file.write(f"{os.getpid()}\n")
    if first:
        time.sleep(60)
    return 1


def not_a_number(_value: Any) -> float:
    return float("nan")


def not_json(_value: Any) -> Any:
    return {1, 2}


def nested(depth: int) -> Any:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def repeat(count: int) -> str:
    return "x" * count


def garble(text: str) -> None:
    """Writes to the worker's own socket."""
    for entry in Path("/proc/self/fd").iterdir():
        descriptor = int(entry.name)
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.write(descriptor, text.encode("latin-1"))
        except OSError:  # the descriptor of the listing itself
            continue
    time.sleep(60)


def chatter(text: str) -> str:
    for stream in sys.stdout, sys.stderr:
        stream.write(text)
        stream.flush()
    return text


def surroundings(_value: Any) -> dict[str, Any]:
    return {
        "environment": sorted(os.environ),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "hash": hash("a"),
        "oom_score_adj": int(Path("/proc/self/oom_score_adj").read_text()),
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "standard": [str(Path(f"/proc/self/fd/{number}").readlink()) for number in range(3)],
        "session": os.getsid(0),
    }

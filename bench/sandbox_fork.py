"""The limit of any design that starts a process for each run: fork of a warm interpreter, compile, exec, a pipe.

`python -I -S sandbox_fork.py RUNS PROCESSES` prints runs a second, and CPU milliseconds of each. It isolates nothing,
bounds nothing and times nothing.
"""

from __future__ import annotations

import ast  # noqa: F401 - the interpreter is warm
import collections  # noqa: F401
import dataclasses  # noqa: F401
import functools  # noqa: F401
import gc
import heapq  # noqa: F401
import itertools  # noqa: F401
import json  # noqa: F401
import math  # noqa: F401
import os
import re  # noqa: F401
import string  # noqa: F401
import sys
import time
import typing  # noqa: F401


def run(number: int) -> None:
    """One trivial program with input and output."""
    inner, outer = os.pipe()
    stdin, feed = os.pipe()
    os.write(feed, b"1\n")
    os.close(feed)
    pid = os.fork()
    if pid == 0:
        os.dup2(stdin, 0)
        os.dup2(outer, 1)
        exec(compile(f"print(int(input()) + {number})\n", "main.py", "exec"), {"__name__": "__main__"})  # noqa: S102
        sys.stdout.flush()
        os._exit(0)
    os.close(outer)
    os.close(stdin)
    output = b""
    while data := os.read(inner, 65536):
        output += data
    os.close(inner)
    os.waitpid(pid, 0)
    assert output == b"%d\n" % (number + 1), output


def main() -> None:
    """Print the figures."""
    runs, processes = int(sys.argv[1]), int(sys.argv[2])
    runs -= runs % processes
    gc.disable()
    gc.collect()
    gc.freeze()
    before, began = sum(os.times()[:4]), time.perf_counter()
    children = []
    for _ in range(processes):
        pid = os.fork()
        if pid == 0:
            for number in range(runs // processes):
                run(number)
            os._exit(0)
        children.append(pid)
    assert not any(os.waitpid(pid, 0)[1] for pid in children)
    seconds = time.perf_counter() - began
    print(runs / seconds, 1000 * (sum(os.times()[:4]) - before) / runs)


if __name__ == "__main__":
    main()

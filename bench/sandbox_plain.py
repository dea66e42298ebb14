"""An interpreter for each run, without any isolation; in a process of its own, so that what it forks from is small.

`python sandbox_plain.py PYTHON RUNS THREADS` prints runs a second, and CPU milliseconds of each.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor


def run(number: int) -> None:
    """One trivial program with input and output."""
    command = [sys.argv[1], "-I", "-S", "-c", f"print(int(input()) + {number})"]
    done = subprocess.run(command, input=b"1\n", capture_output=True, check=True)
    assert done.stdout == b"%d\n" % (number + 1), done


def main() -> None:
    """Print the figures."""
    runs, threads = int(sys.argv[2]), int(sys.argv[3])
    with ThreadPoolExecutor(threads) as executor:
        before, began = sum(os.times()[:4]), time.perf_counter()
        list(executor.map(run, range(runs)))
        seconds = time.perf_counter() - began
    print(runs / seconds, 1000 * (sum(os.times()[:4]) - before) / runs)


if __name__ == "__main__":
    main()

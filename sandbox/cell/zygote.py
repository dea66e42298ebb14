"""The zygote: the warm interpreter of a cell, from which every run is forked."""

from __future__ import annotations

import gc
import importlib
import json
import mmap
import os
import sys
from collections.abc import Sequence
from typing import Any

from . import confine, linux, python, wire
from .jobs import FaultError, Jobs
from .usage import Usage
from .watch import Stopped

_WARM = (
    "abc", "array", "ast", "base64", "bisect", "collections", "contextlib", "copy", "dataclasses", "datetime",
    "decimal", "enum", "fractions", "functools", "heapq", "inspect", "io", "itertools", "json", "math", "numbers",
    "operator", "re", "string", "struct", "textwrap", "time", "traceback", "types", "typing",
)  # fmt: skip
"""What completions import most; imported once, here.

Not `threading` and `random`: what they do in every forked child takes a quarter of the time of a small run.
"""


def serve(service_in: int, service_out: int, usage: Usage, packages: Sequence[str]) -> None:
    """Say hello, then run jobs until the service's end closes."""
    for name in [*_WARM, *packages]:
        importlib.import_module(name)
    linux.die_of_signals()
    confine.prepare()
    confine.make_ruleset()
    python.prepare()
    gc.disable()
    gc.collect()
    gc.freeze()  # a collection in a run would write to, and so copy, every page
    jobs = Jobs(service_in, service_out, usage)
    try:
        wire.write(service_out, wire.HELLO, 0, json.dumps(_facts(usage, packages)).encode())
        while True:
            _take(jobs, service_in, service_out)
    except wire.Ended:
        return


def _take(jobs: Jobs, service_in: int, service_out: int) -> None:
    kind, job, plan_size, part_size, tests_size = _head(service_in)
    if kind == wire.STOP:  # it crossed with the end of its job
        return
    with wire.read_memory(service_in, plan_size) as memory:
        plan = json.loads(memory[:plan_size])
    part = wire.read_memory(service_in, part_size)
    tests: mmap.mmap | None = None
    if tests_size:
        tests = mmap.mmap(-1, tests_size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        tests.madvise(mmap.MADV_DONTFORK)  # before there is anything in it
        with memoryview(tests) as view:
            wire.read_exactly(service_in, view)
    try:
        jobs.run(job, plan, part, tests)
        wire.write(service_out, wire.DONE, job)
    except Stopped:
        kind, stopped, *_ = _head(service_in)
        if (kind, stopped) != (wire.STOP, job):
            raise AssertionError("the service interrupts a job by nothing but a stop") from None
        wire.write(service_out, wire.DONE, job)
    except FaultError as error:
        wire.write(service_out, wire.FAULT, job, json.dumps(str(error)).encode())
    except OSError as error:
        wire.write(service_out, wire.FAULT, job, json.dumps(f"{type(error).__name__}: {error}").encode())
    finally:
        part.close()
        if tests is not None:
            tests.close()


def _head(service_in: int) -> tuple[int, ...]:
    header = bytearray(wire.HEADER.size)
    wire.read_exactly(service_in, memoryview(header))
    return wire.HEADER.unpack(header)


def _facts(usage: Usage, packages: Sequence[str]) -> dict[str, Any]:
    """What the service tells of a cell."""
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "packages": {name: getattr(sys.modules[name], "__version__", "") for name in packages},
        "pid": os.getpid(),
        "control_group": usage.bounded,
        "landlock": confine.has_landlock(),
        "memory_mb": round(usage.measure_own() / 2**20, 1),
    }

"""A job in the form in which it is sent to a cell (see `sandbox.cell.wire`)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from sandbox.base import Calls, Job, Limits, NotOfferedError, Split, Stdio
from sandbox.cell import wire
from sandbox.languages import LANGUAGES, filled, source_name

MAX_PATH, MAX_STEP = 1000, 60
"""Bytes of a path, and characters of one step of it: less than any file system has."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a cell is told of a job. The tests are told to no process of the program."""

    head: dict[str, Any]
    part: bytes
    tests: bytes
    count: int
    """Runs that are to be had."""

    def frame(self, number: int, first: int) -> bytes:
        """The job's frame; runs before `first` have been had."""
        head = json.dumps(self.head | {"first": first}, separators=(",", ":")).encode()
        sizes = wire.HEADER.pack(wire.JOB, number, len(head), len(self.part), len(self.tests))
        return b"".join((sizes, head, self.part, self.tests))


def is_inside(path: str) -> bool:
    """Whether a relative path names a file below the folder it starts from, whatever lies there."""
    steps = path.split("/")
    whole = path.isprintable() and len(path.encode("utf-8", "replace")) <= MAX_PATH
    return whole and {"", ".", ".."}.isdisjoint(steps) and max(map(len, steps)) <= MAX_STEP


def _folders(path: str) -> list[str]:
    steps = path.split("/")
    return ["/".join(steps[:count]) for count in range(1, len(steps))]


@lru_cache(maxsize=256)
def _limits(limits: Limits) -> dict[str, Any]:
    return asdict(limits)


def make_plan(job: Job) -> Plan:
    """The plan of a job. Raises `NotOfferedError` for a language that is not declared, or that has no such task."""
    program, task = job.program, job.task
    language = LANGUAGES.get(program.language)
    if language is None:
        raise NotOfferedError(f"no language {program.language!r}; there are {', '.join(LANGUAGES)}")
    file = source_name(language, program.source)
    for path in (*program.files, *(task.fetch if isinstance(task, Stdio) else ())):
        if not is_inside(path) or (path == file and file in program.files):
            raise NotOfferedError(f"{path[:100]!r} is no path of a file inside the working folder")
    for path in program.files:
        if any(folder in program.files for folder in _folders(path)):
            raise NotOfferedError(f"{path[:100]!r} lies below a path that is a file itself")
    memory = job.limits.memory_mb
    compile_command = filled(language.compile, job.compile_limits.memory_mb, file) or None
    run = filled(language.run, memory, file) or None
    fetch: list[str] = []
    entry_point = ""
    blobs: list[bytes] = []
    tests = b""
    if isinstance(task, Stdio):
        mode, count = "stdio", len(task.inputs)
        fetch, blobs = list(task.fetch), list(task.inputs)
    elif isinstance(task, Calls):
        mode, count = "calls", len(task.calls)
        entry_point, blobs = task.entry_point, list(task.calls)
        if language.run and not language.calls:
            raise NotOfferedError(f"functions cannot be called in {language.name}; in python and javascript they can")
        compile_command, run = None, filled(language.calls, memory, file) or None
    else:
        mode, count = "split", len(task.tests)
        if language.run:
            raise NotOfferedError(f"tests in Python cannot test programs in {language.name}")
        tests = wire.pack([_tests(task)])
    head = {
        "mode": mode,
        "source": file,
        "compile": compile_command,
        "run": run,
        "threads": language.threads,
        "env": dict(language.environment),
        "limits": _limits(job.limits) | {"memory_mb": memory + language.memory_mb},
        "compile_limits": _limits(job.compile_limits) if compile_command else None,
        "packages": bool(program.packages),
        "files": len(program.files),
        "count": count,
        "fetch": fetch,
        "entry_point": entry_point,
    }
    names = json.dumps(list(program.files)).encode()
    part = wire.pack([program.source, names, *program.files.values(), *blobs])
    return Plan(head, part, tests, count)


def _tests(task: Split) -> bytes:
    return json.dumps(
        {
            "tests": list(task.tests),
            "setup": task.setup,
            "names": list(task.names),
            "aliases": dict(task.aliases),
            "prelude": task.prelude,
        }
    ).encode()

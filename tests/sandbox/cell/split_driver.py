"""Runs programs and tests through the split, in processes of their own, for tests of it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Result:
    """What became of one job."""

    reports: list[tuple[str, str]] = field(default_factory=list)
    load: tuple[str, str] | None = None
    cpu_s: float = 0.0

    @property
    def statuses(self) -> list[str]:
        """The status of each test; "lost" where the candidate died, "wall" where it took too long."""
        return [status for status, _ in self.reports]

    @property
    def passed(self) -> bool:
        """Whether there were tests and all passed."""
        return bool(self.reports) and set(self.statuses) == {"ok"}


class Driver:
    """One zygote, of this Python or of that which `SPLIT_PYTHON` names."""

    def __init__(self) -> None:
        python = os.environ.get("SPLIT_PYTHON", sys.executable)
        programs, self._programs = os.pipe()
        tests, self._tests = os.pipe()
        self._results, results = os.pipe()
        ends = (programs, tests, results)
        script = str(Path(__file__).with_name("split_zygote.py"))
        self._process = subprocess.Popen([python, script, *map(str, ends)], pass_fds=ends)
        for end in ends:
            os.close(end)
        self._lines = os.fdopen(self._results, encoding="utf-8")

    def close(self) -> None:
        """End the zygote."""
        os.close(self._programs)
        os.close(self._tests)
        self._process.wait(10)
        self._lines.close()

    def run(
        self,
        program: str,
        tests: Sequence[str],
        *,
        setup: str = "",
        prelude: str = "",
        names: Sequence[str] = (),
        aliases: dict[str, str] | None = None,
        wall_s: float = 10.0,
        cpu_s: int = 5,
        memory_mb: int = 512,
    ) -> Result:
        """Run tests against a program; a candidate that dies is relaunched for the tests that are left."""
        job = {"program": program, "wall_s": wall_s, "cpu_s": cpu_s, "memory_mb": memory_mb}
        plan: dict[str, Any] = {
            "tests": list(tests), "setup": setup, "prelude": prelude, "names": list(names), "aliases": aliases or {},
        }  # fmt: skip
        result = Result()
        while len(result.reports) < len(tests) or not tests:
            plan["first"] = len(result.reports)
            os.write(self._programs, json.dumps(job).encode() + b"\n")
            _write(self._tests, json.dumps(plan).encode() + b"\n")
            answer: dict[str, Any] = {}
            while "ended" not in answer:
                answer |= json.loads(self._lines.readline())
            if not answer["ended"]:
                result.reports += [("wall", "")] * (len(tests) - len(result.reports))
                return result
            assert "reports" in answer, "the oracle died"
            result.cpu_s += answer["cpu_s"]
            result.reports += [(status, message) for status, message in answer["reports"]]
            if "load" in answer or answer.get("loading"):
                status, message = answer.get("load") or ("lost", "while loading")
                result.load = status, message
                result.reports += [(status, message)] * (len(tests) - len(result.reports))
            elif "lost" in answer:
                result.reports.append(("lost", ""))
            if not tests:
                return result
        return result


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a data file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]

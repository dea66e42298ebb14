"""Packages that can share neither an environment with the others nor a process with ours: each has its own folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

from tests.trainers.environment import FOLDERS

MARK = "RESULT "


@dataclass(frozen=True)
class Told:
    """What a script wrote."""

    output: str

    @property
    def results(self) -> list[Any]:
        """The values of its lines `RESULT {json}`."""
        return [json.loads(line.removeprefix(MARK)) for line in self.output.splitlines() if line.startswith(MARK)]


def run(folder: str, script: str, *arguments: str, **environment: str) -> Told:
    """Run a script with the packages of `folder` before all others. It must end well.

    It starts elsewhere than in the project, whose `verifiers` has a namesake among the trainers.
    """
    path = str(FOLDERS / folder)
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=place,
            env={**os.environ, "PYTHONPATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    if done.returncode != 0:
        raise AssertionError(done.stdout + done.stderr)
    return Told(done.stdout)

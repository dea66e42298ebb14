"""The `assay` command in this process, against the live service and a project of the test's own."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from tests.service import Service


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Assay = Callable[..., Ran]


@pytest.fixture
def bare_assay(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Assay:
    """Runs a command with no ASSAY_* variable set."""
    for name in [name for name in os.environ if name.startswith("ASSAY_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str | Path) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, shown.out, shown.err)

    return run


@pytest.fixture
def project_key(service: Service) -> str:
    """The admin key of a project that nothing was scored in."""
    return service.new_project(f"cli-{uuid.uuid4().hex}")


@pytest.fixture
def assay(bare_assay: Assay, service: Service, project_key: str, monkeypatch: pytest.MonkeyPatch) -> Assay:
    """Runs a command with the service and the key in the environment."""
    monkeypatch.setenv("ASSAY_URL", service.url)
    monkeypatch.setenv("ASSAY_API_KEY", project_key)
    return bare_assay


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of JSON lines: values as JSON, bytes as they are."""

    def write(*rows: object) -> Path:
        path = tmp_path / "rows.jsonl"
        lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        path.write_bytes(b"\n".join(lines) + b"\n")
        return path

    return write

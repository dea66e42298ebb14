"""A real chat model over HTTP."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.app.backends import model_server
from tests.service import ROOT


@pytest.fixture(scope="session")
def smollm2() -> Iterator[str]:
    """The base URL of a small real model that tests share; skips where its packages are missing."""
    missing = [name for name in model_server.MODULES if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)}: 'make test' installs them")
    command = [sys.executable, "-m", "tests.app.backends.model_server"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), "the model server did not start"
        yield f"{address}/v1"
        process.kill()

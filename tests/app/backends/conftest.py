"""A real model over HTTP, that chats or embeds texts."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.app.backends import model_server
from tests.service import ROOT


@contextmanager
def served(*arguments: str) -> Iterator[str]:
    """The base URL of a small real model; skips where its packages are missing."""
    missing = [name for name in model_server.MODULES if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)}: 'make test' installs them")
    command = [sys.executable, "-m", "tests.app.backends.model_server", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), "the model server did not start"
        yield f"{address}/v1"
        process.kill()


@pytest.fixture(scope="session")
def smollm2() -> Iterator[str]:
    """The base URL of one that chats and that tests share."""
    with served() as url:
        yield url


@pytest.fixture(scope="session")
def smollm2_embeddings() -> Iterator[str]:
    """The base URL of one that embeds texts and that tests share."""
    with served("embeddings") as url:
        yield url

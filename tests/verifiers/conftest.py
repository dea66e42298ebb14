"""Fixtures for tests of kinds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.base import Sandbox
from verifiers.base import load_kinds

SandboxFor = Callable[[str], Sandbox | None]


@pytest.fixture(scope="session")
def sandbox_for(request: pytest.FixtureRequest) -> SandboxFor:
    """Gives a kind that runs code the sandbox that works here, and others none; skips where none works."""

    def one_that_works() -> Sandbox:
        try:
            local: Sandbox = request.getfixturevalue("local_sandbox")
        except pytest.skip.Exception:
            docker: Sandbox = request.getfixturevalue("docker_sandbox")
            return docker
        return local

    return lambda kind: one_that_works() if load_kinds()[kind].sandboxed else None

"""Fixtures of the API's tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.app.api.support import Project, new_project
from tests.service import Service


@pytest.fixture
def project(service: Service) -> Project:
    """A fresh project of the shared service."""
    return new_project(service)


@pytest.fixture(scope="session")
def default_project(service: Service) -> Project:
    """The operator's project."""
    return Project(service, service.key)


@pytest.fixture
def make_service() -> Iterator[Callable[..., Service]]:
    """Starts services of a test's own, which it may stop, kill and break."""
    started: list[Service] = []
    homes: list[Path] = []

    def make(**environment: str) -> Service:
        home = Path(tempfile.mkdtemp(prefix="assay-test-"))
        home.chmod(0o755)  # so that PostgreSQL's own user reaches its data inside
        homes.append(home)
        running = Service(home / "home", **environment)
        started.append(running)
        return running.start()

    yield make
    for running in started:
        running.stop()
    for home in homes:
        shutil.rmtree(home)

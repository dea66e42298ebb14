"""Tests against the trainers' own code, in an environment of its own (`make test-trainers`).

Elsewhere, those whose trainer is not installed are not collected.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.app.api.support import Project, new_project
from tests.service import ROOT, Service
from tests.trainers.environment import NEEDS, missing
from tests.trainers.gate import Gate
from trainer_client.adapters.scoring import async_reward_client, reward_client

SERVICE = ROOT / ".venv"
"""The service runs in its own environment, whatever the trainers have installed in theirs."""
OURS = Path(sys.prefix).resolve() == SERVICE.resolve()

collect_ignore = [file for file, packages in NEEDS.items() if missing(packages)]
if OURS:
    collect_ignore.append("test_environment.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Warnings of trainers and their libraries are not ours to mend."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.fixture(scope="session")
def service(homes: Path) -> Iterator[Service]:
    """A live service that the trainers' tests share."""
    running = Service(homes / "service", python=SERVICE / "bin" / "python")
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def project(service: Service) -> Project:
    return new_project(service)


@pytest.fixture
def gate(service: Service) -> Iterator[Gate]:
    """The way to the service, open."""
    door = Gate(service.port)
    yield door
    door.close()


@pytest.fixture
async def assay(gate: Gate, project: Project, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Project]:
    """A project that the adapters find in their environment, behind the gate."""
    monkeypatch.setenv("ASSAY_URL", gate.url)
    monkeypatch.setenv("ASSAY_API_KEY", project.new_key("score"))
    yield project
    await async_reward_client().close()
    reward_client().close()

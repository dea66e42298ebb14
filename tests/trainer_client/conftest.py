"""Tests of the trainer client. Without torch those of its training half are not collected."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.service import Service
from tests.trainer_client.faulty import FaultyService
from trainer_client import RewardClient

collect_ignore = [] if find_spec("torch") else ["test_advantages.py", "test_losses.py"]
if not (find_spec("torch") and find_spec("transformers")):
    collect_ignore += [
        f"test_{name}.py"
        for name in (
            "batch", "checkpoint", "cli", "course", "data", "distributed", "examples", "figures", "iterate",
            "logprobs", "loop", "micro_batches", "model", "optimizer", "preference", "preference_data",
            "preference_golden", "preference_page", "proofs", "resume", "rewards", "rollout", "rollout_file",
            "sft", "training_page",
        )
    ]  # fmt: skip


@pytest.fixture(scope="session")
def sorting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sorting example as it is before any training: model, prompts and held-out prompts."""
    import torch

    from examples.sorting.make import make

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("sorting")
    make(folder)
    return folder


@pytest.fixture
def key(service: Service) -> str:
    """The admin key of a project of the test's own."""
    return service.new_project(f"client-{uuid.uuid4().hex}")


@pytest.fixture
def client(service: Service, key: str) -> Iterator[RewardClient]:
    """A client of the shared service, in a project of the test's own."""
    with RewardClient(service.url, key) as running:
        yield running


@pytest.fixture
def faulty() -> Iterator[FaultyService]:
    """A service that misbehaves as a test tells it to."""
    running = FaultyService()
    try:
        yield running
    finally:
        running.close()

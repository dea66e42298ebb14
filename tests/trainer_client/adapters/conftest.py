"""What tests of adapters share: an environment that names a service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.trainer_client.faulty import FaultyService, unscored
from trainer_client.adapters.scoring import async_reward_client, reward_client


@pytest.fixture
async def assay(faulty: FaultyService, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FaultyService]:
    """A service that the environment names. It scores a completion by its length, "hard" not at all."""

    def verdict(item: dict[str, Any], before: int) -> dict[str, Any]:
        if item["completion"] == "hard":
            return unscored("verifier_fault", retryable=False)
        return {"components": {"style": 0.5}}

    faulty.script.verdict = verdict
    monkeypatch.setenv("ASSAY_URL", faulty.url)
    monkeypatch.setenv("ASSAY_API_KEY", "key")
    yield faulty
    await async_reward_client().close()
    reward_client().close()

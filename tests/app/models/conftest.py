"""Models that tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="models take the extra: pip install -e '.[models]'")
pytest.importorskip("transformers", reason="models take the extra: pip install -e '.[models]'")

from tests.app.models import making


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small reward model."""
    return making.reward_model(tmp_path_factory.mktemp("tiny") / "rm")


@pytest.fixture(scope="session", params=[1, 2])
def prm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small process reward model, with each form of the head."""
    return making.step_model(tmp_path_factory.mktemp("prm") / str(request.param), layers=request.param)


@pytest.fixture(scope="session")
def smollm2() -> Iterator[Path]:
    """See `making.smollm2`."""
    yield making.smollm2()

"""Models that tests of this folder share. Without the extra `models` nothing here is collected."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("torch") and find_spec("transformers") else ["*.py"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small reward model."""
    from tests.app.models import making

    return making.reward_model(tmp_path_factory.mktemp("tiny") / "rm")


@pytest.fixture(scope="session", params=[1, 2])
def prm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small process reward model, with each form of the head."""
    from tests.app.models import making

    return making.step_model(tmp_path_factory.mktemp("prm") / str(request.param), layers=request.param)


@pytest.fixture(scope="session")
def smollm2() -> Iterator[Path]:
    """See `making.smollm2`."""
    from tests.app.models import making

    yield making.smollm2()

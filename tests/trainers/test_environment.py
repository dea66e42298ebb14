"""An environment for these tests that lacks a trainer would pass without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainers.environment import NEEDS, missing


@pytest.mark.parametrize("file", NEEDS)
def test_every_trainer_is_installed(file: str) -> None:
    assert missing(NEEDS[file]) == []


def test_every_file_says_what_it_needs() -> None:
    here = Path(__file__)
    assert {path.name for path in here.parent.glob("test_*.py")} == NEEDS.keys() | {here.name}

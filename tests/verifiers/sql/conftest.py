"""A PostgreSQL for throw-away databases that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.scratch.live import LiveDatabases


@pytest.fixture(scope="package")
def databases(homes: Path) -> Iterator[LiveDatabases]:
    live = LiveDatabases(homes / "tests-verifiers-sql")
    try:
        yield live
    finally:
        live.close()

"""What is counted of the sandbox, and when it is said to go and to come."""

from __future__ import annotations

from typing import cast

import pytest
import structlog

from app import metrics
from app.sandbox_watch import SandboxWatch
from sandbox.pool import SandboxPool
from tests.app.fake_sandbox import FakePool


def watch(pool: FakePool) -> SandboxWatch:
    return SandboxWatch(cast(SandboxPool, pool))


def value(name: str) -> float:
    return float(metrics.SANDBOX_COUNTERS[name]._value.get())


def test_what_was_done_is_counted_once() -> None:
    pool = FakePool(counters={"runs": 5, "faults": 1, "started": 2, "something": 7})
    watching = watch(pool)
    before = {name: value(name) for name in metrics.SANDBOX_COUNTERS}
    watching.count()
    watching.count()
    pool.counters["runs"] = 8
    watching.count()
    assert {name: value(name) - before[name] for name in before} == {"runs": 8, "faults": 1, "started": 2, "lost": 0}


def test_busy_cells_are_shown() -> None:
    watch(FakePool(busy=3, cells=4)).count()
    assert (metrics.SANDBOX_BUSY._value.get(), metrics.SANDBOX_CELLS._value.get()) == (3, 4)


@pytest.mark.parametrize("choice", ["auto", "docker"])
def test_which_backend_was_taken_is_logged(choice: str) -> None:
    with structlog.testing.capture_logs() as logs:
        watch(FakePool(backend="docker")).tell(choice)
        watch(FakePool(unavailable="no engine answers")).tell(choice)
    assert [(line["log_level"], line["asked"]) for line in logs] == [("info", choice), ("warning", choice)]
    assert (logs[0]["backend"], logs[0]["why"]) == ("docker", "as the test says")
    assert logs[1]["reason"] == "no engine answers"


def test_a_sandbox_that_comes_back_is_told() -> None:
    pool = FakePool(unavailable="starting")
    watching = watch(pool)
    with structlog.testing.capture_logs() as logs:
        watching.tell("auto")
        assert not watching.look()
        pool.unavailable = ""
        assert watching.look()
        assert not watching.look()
        pool.unavailable = "dockerd is gone"
        assert not watching.look()
        pool.unavailable = ""
        assert watching.look()
    assert len(logs) == 4

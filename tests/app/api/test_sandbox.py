"""GET /sandbox and what /readyz says of the sandbox."""

from __future__ import annotations

from app.settings import Settings
from tests.app.api.asgi import InProcess
from tests.app.api.support import Project, ok, problem
from tests.app.fake_sandbox import FakePool
from tests.service import Service

GONE = "no engine answers; start Docker"


async def test_what_is_there() -> None:
    application = InProcess(FakePool(backend="docker"), sandbox_memory_mb=2048)
    found = ok(await application.get("/sandbox", key="reads"))
    assert (found["backend"], found["ready"], found["reason"], found["cells"]) == ("docker", True, None, 2)
    assert found["languages"] == {"cpp": "12.2", "python": "3.11.2"}
    assert found["packages"] == {"numpy": "2.0", "pytest": "8.0"}
    assert found["limits"]["most_memory_mb"] == 2048
    assert found["limits"]["default"]["cpu_s"] > 0
    assert found["limits"]["compile"]["memory_mb"] > 0
    assert (found["chosen"], found["isolation"]) == ("as the test says", {"landlock": 4})


async def test_why_there_is_none() -> None:
    application = InProcess(FakePool(backend="", unavailable=GONE, languages={}, packages={}))
    found = ok(await application.get("/sandbox"))
    assert (found["backend"], found["ready"], found["reason"]) == (None, False, GONE)
    assert (found["languages"], found["packages"]) == ({}, {})
    ready = ok(await application.get("/readyz", key=None))
    assert ready["sandbox"] == {"backend": None, "ready": False, "reason": GONE}
    assert ready["status"] == "ready"


async def test_it_takes_a_key_that_reads() -> None:
    application = InProcess(FakePool())
    problem(await application.get("/sandbox", key="scores"), 403, "forbidden")
    problem(await application.get("/sandbox", key=None), 401, "unauthorized")


def test_the_live_service_says_the_same_in_both_places(service: Service, default_project: Project) -> None:
    ready = ok(service.get("/readyz", key=None))["sandbox"]
    found = ok(default_project.get("/sandbox"))
    assert {name: found[name] for name in ready} == ready
    assert found["cells"] == Settings().sandbox_cells

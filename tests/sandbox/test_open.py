"""Which backend is taken, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import docker
import docker.errors
import pytest

from sandbox.docker import missing
from sandbox.open import open_sandbox
from tests.sandbox.live import LiveSandbox


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")


@pytest.mark.usefixtures("no_engine")
def test_auto_without_an_engine_is_local() -> None:
    opened = open_sandbox("auto", cells=3)
    assert (opened.backend, opened.note, opened.cells) == ("local", "no Docker engine answers", 3)


def test_auto_without_an_image_is_local_and_says_how_to_build_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Images:
        def get(self, name: str) -> None:
            raise docker.errors.ImageNotFound(name)

    class Client:
        images = Images()

        def close(self) -> None:
            pass

    monkeypatch.setattr(docker, "from_env", lambda **_: Client())
    opened = open_sandbox("auto", cells=1)
    assert opened.backend == "local"
    assert "'assay sandbox build' builds it" in opened.note
    named = open_sandbox("auto", cells=1, image="nobody/has:this")
    assert "no image 'nobody/has:this'" in named.note


def test_auto_with_an_engine_and_the_image_is_docker(docker_sandbox: LiveSandbox) -> None:
    assert missing(None) == ""
    opened = open_sandbox("auto", cells=1)
    assert (opened.backend, opened.note) == ("docker", "a Docker engine answers and has the image")
    assert docker_sandbox.pool.describe()["chosen"] == "as ASSAY_SANDBOX says"


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize("choice", ["local", "docker"])
def test_a_choice_is_kept(choice: str) -> None:
    opened = open_sandbox(choice, cells=1)  # type: ignore[arg-type]
    assert (opened.backend, opened.note) == (choice, "as ASSAY_SANDBOX says")


@pytest.mark.usefixtures("no_engine")
async def test_docker_without_an_engine_is_unavailable_and_says_what_to_change() -> None:
    opened = open_sandbox("docker", cells=1)
    await opened.start()
    try:
        assert "see that it runs and that this user may use it" in opened.unavailable
    finally:
        await opened.close()


async def test_docker_without_the_image_is_unavailable(docker_sandbox: LiveSandbox) -> None:
    opened = open_sandbox("docker", cells=1, image="nobody/has:this")
    await opened.start()
    try:
        assert "no image 'nobody/has:this': check ASSAY_SANDBOX_IMAGE" in opened.unavailable
    finally:
        await opened.close()


async def test_a_runtime_that_the_engine_lacks(docker_sandbox: LiveSandbox) -> None:
    opened = open_sandbox("docker", cells=1, runtime="no-such-runtime")
    await opened.start()
    try:
        assert "no-such-runtime" in opened.unavailable
    finally:
        await opened.close()

"""The image of Docker cells: named by what is in it."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from sandbox import image
from sandbox.base import SandboxUnavailableError
from tests.sandbox.live import LiveSandbox


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small tree in place of this repository."""
    (tmp_path / "Dockerfile.sandbox").write_text("FROM scratch\n")
    cell = tmp_path / "sandbox" / "cell"
    (cell / "split").mkdir(parents=True)
    (cell / "main.py").write_text("pass\n")
    (cell / "split" / "peer.py").write_text("")
    monkeypatch.setattr(image, "_ROOT", tmp_path)
    image.tag.cache_clear()
    yield tmp_path
    image.tag.cache_clear()


def tag() -> str:
    image.tag.cache_clear()
    return image.tag()


def test_the_tag_changes_with_everything_that_goes_into_the_image(tree: Path) -> None:
    seen = [tag()]
    cell = tree / "sandbox" / "cell"

    def changed() -> bool:
        seen.append(tag())
        return seen[-1] not in seen[:-1]

    assert tag() == seen[0]
    (tree / "Dockerfile.sandbox").write_text("FROM debian\n")
    assert changed()
    (cell / "main.py").write_text("pass \n")
    assert changed()
    (cell / "split" / "peer.py").write_text("x")
    assert changed()
    (cell / "new.py").write_text("")
    assert changed()
    (cell / "new.py").rename(cell / "renamed.py")
    assert changed()
    (cell / "renamed.py").unlink()
    assert tag() in seen


def test_the_tag_ignores_what_does_not(tree: Path) -> None:
    before = tag()
    cell = tree / "sandbox" / "cell"
    (cell / "__pycache__").mkdir()
    (cell / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"x")
    (tree / "sandbox" / "pool.py").write_text("x")
    (cell / "main.py").chmod(0o600)
    assert tag() == before
    assert image.name("full") == f"assay-sandbox:{before}-full"


def test_what_is_sent_to_the_engine_depends_on_content_alone(tree: Path) -> None:
    first = image._context().getvalue()
    (tree / "sandbox" / "cell" / "main.py").touch()
    (tree / "sandbox" / "cell" / "main.py").chmod(0o777)
    packed = image._context()
    assert packed.getvalue() == first
    with tarfile.open(fileobj=packed) as archive:
        assert archive.getnames() == ["Dockerfile.sandbox", "sandbox/cell/main.py", "sandbox/cell/split/peer.py"]
        assert {(entry.uid, entry.gid, entry.mode) for entry in archive} == {(0, 0, 0o644)}


def test_a_flavour_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="there are full, python"):
        image.build("tiny", None, print)


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        ("FROM nobody.invalid/has:this\n", "the image cannot be built"),
        ("FROM scratch\nNONSENSE\n", "unknown instruction: NONSENSE"),
        ("", "the image cannot be built"),
    ],
)
def test_a_build_that_fails_says_why(docker_sandbox: LiveSandbox, tree: Path, dockerfile: str, words: str) -> None:
    (tree / "Dockerfile.sandbox").write_text(dockerfile)
    with pytest.raises(SandboxUnavailableError, match=words):
        image.build("python", None, lambda _: None)


def test_a_build_without_an_engine_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    with pytest.raises(SandboxUnavailableError, match="the image cannot be built"):
        image.build("python", None, lambda _: None)


def test_the_image_is_found_and_tells_its_packages(docker_sandbox: LiveSandbox) -> None:
    client = docker.from_env()
    try:
        found = image.find(client, None)
        assert image.packages(found).keys() >= {"numpy", "sympy"}
        assert image.find(client, str(found.id)).id == found.id
        with pytest.raises(SandboxUnavailableError, match="check ASSAY_SANDBOX_IMAGE"):
            image.find(client, "nobody/has:this")
    finally:
        client.close()

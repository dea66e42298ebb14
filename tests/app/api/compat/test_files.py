"""Files of a request: base64 by paths that stay inside the folder."""

from __future__ import annotations

import base64

import pytest

from app.api.compat import files
from app.errors import Problem

B64 = base64.b64encode(b"content").decode()


def test_contents_by_path() -> None:
    asked = {"a.txt": B64, "./b//c/./d": "", "skipped": None, "wrapped": base64.encodebytes(b"x" * 100).decode()}
    assert files.decoded("files", asked) == {"a.txt": b"content", "b/c/d": b"", "wrapped": b"x" * 100}


@pytest.mark.parametrize(
    "path",
    [
        "", "/", ".", "./", "..", "../a", "a/../../b", "a/..", "a/../b", "/etc/passwd", "//a", "a/", "a\x00b", "a\nb",
        "\ud800", "x" * 256, "a/" * 600 + "b", "é" * 200,
    ],
)  # fmt: skip
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(Problem) as refused:
        files.decoded("files", {path: B64})
    assert (refused.value.status, refused.value.name) == (422, "invalid-body")
    assert str(refused.value.pointer).startswith("/files/")
    assert len(refused.value.detail) < 400


@pytest.mark.parametrize("content", ["%", "abc", "ab=c", "YQ==YQ==", "é", "Y\ud800=="])
def test_what_is_not_base64_is_refused(content: str) -> None:
    with pytest.raises(Problem) as refused:
        files.decoded("files", {"a/b": content})
    assert refused.value.pointer == "/files/a~1b"


@pytest.mark.parametrize("paths", [("a", "./a"), ("a", "a/b"), ("a/b", "a//b"), ("a/b/c", "a")])
def test_two_files_cannot_be_in_one_place(paths: tuple[str, str]) -> None:
    with pytest.raises(Problem):
        files.decoded("files", dict.fromkeys(paths, B64))

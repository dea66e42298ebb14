"""`assay sandbox`: the image is built, and what the service has is shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.base import SandboxUnavailableError
from tests.app.cli.conftest import Assay


class TestShow:
    def test_a_table_for_people(self, assay: Assay) -> None:
        ran = assay("sandbox", "show")
        assert ran.code == 0
        for title in ("backend", "cells", "languages", "packages", "limits, default"):
            assert title in ran.out

    def test_json_for_programs(self, assay: Assay) -> None:
        shown = assay("sandbox", "show", "--json").json()
        assert shown["limits"]["default"]["cpu_s"] > 0
        assert shown["ready"] == (shown["reason"] is None)

    def test_it_takes_a_key(self, bare_assay: Assay) -> None:
        assert bare_assay("sandbox", "show").code == 2


class TestBuild:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
        calls: list[tuple[str, str | None]] = []

        def build(flavour: str, base: str | None, log: Callable[[str], None]) -> str:
            calls.append((flavour, base))
            log("Step 1/2 \x1b[2J")
            if base == "broken":
                raise SandboxUnavailableError("no engine answers; start Docker")
            return f"assay-sandbox:{flavour}"

        monkeypatch.setattr("sandbox.image.build", build)
        return calls

    def test_the_name_alone_is_on_stdout(self, bare_assay: Assay, asked: list[tuple[str, str | None]]) -> None:
        full = bare_assay("sandbox", "build")
        assert (full.code, full.out, full.err) == (0, "assay-sandbox:full\n", "Step 1/2 \\x1b[2J\n")
        bare_assay("sandbox", "build", "--python", "--base", "mine:1")
        assert asked == [("full", None), ("python", "mine:1")]

    def test_a_build_that_fails_says_why(self, bare_assay: Assay, asked: list[tuple[str, str | None]]) -> None:
        ran = bare_assay("sandbox", "build", "--base", "broken")
        assert (ran.code, ran.out) == (1, "")
        assert "no engine answers; start Docker" in ran.err

"""Every promise in SPECIFICATION.md names tests that exist, or says that none enforces it."""

from __future__ import annotations

import re

import pytest

from tests.service import ROOT

PROMISE = re.compile(r"^\| ([A-Z]\d+) \| (.+?) \| (.+?) \|$", re.MULTILINE)
PROMISES = PROMISE.findall((ROOT / "SPECIFICATION.md").read_text())


@pytest.mark.parametrize(("number", "enforced"), [(number, enforced) for number, _, enforced in PROMISES])
def test_a_promise_names_tests_that_exist(number: str, enforced: str) -> None:
    if "**unenforced**" in enforced:
        return
    named = re.findall(r"`([^`]+\.py)::(test_\w+)`", enforced)
    assert named, f"{number} names no test"
    for file, test in named:
        assert re.search(rf"^ *(async )?def {test}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE), test


def test_promises_are_numbered_once() -> None:
    numbers = [number for number, _, _ in PROMISES]
    assert len(numbers) > 40
    assert len(set(numbers)) == len(numbers)

"""Packed tests: what open-instruct packs is read, and nothing that a pickle asks for is done."""

from __future__ import annotations

import base64
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.compat import packed
from app.api.compat.packed import PackedError, unpacked


def pack(value: Any, protocol: int | None = None) -> str:
    """As open-instruct's `encode_tests` does."""
    return wrap(pickle.dumps(value, protocol))


def wrap(pickled: bytes) -> str:
    return base64.b64encode(zlib.compress(pickled)).decode()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
async def test_plain_data_comes_back(protocol: int) -> None:
    same = "assert f(1) == 1"
    for value in (
        [],
        ["assert True", same, same, "é\n" * 300, "\U0001f600"],
        [{"input": "1\n", "output": "2\n"}, {"input": "", "output": "x" * 70_000}],
        {"a": [1, -5, 2**40, -(2**90), 1.5, None, True, False], "b": {}},
    ):
        assert await unpacked(pack(value, protocol)) == value
    assert await unpacked(pack(((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)), protocol)) == [
        [], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4],
    ]  # fmt: skip


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=30,
    )
)
async def test_whatever_is_plain_comes_back(value: Any) -> None:
    assert await unpacked(pack(value)) == value


class Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
async def test_nothing_is_called(protocol: int, tmp_path: Path) -> None:
    made = tmp_path / "made"
    for value in (Runs(made), [Runs(made)], {"a": Runs(made)}, {1}, os.mkdir):
        with pytest.raises(PackedError, match="more than plain data"):
            await unpacked(pack(value, protocol))
    assert not os.access(made, os.F_OK)


@pytest.mark.parametrize(
    "pickled",
    [
        b"",
        b".",
        b"]",
        b"(.",
        b"a.",
        b"h\x05.",
        b"N\x85\x85",
        b"((((",
        b"]q\x00h\x01.",
        b"Na.",
        b"](Nu.",
        b"}(Nu.",
        b"\xff.",
    ],
)
async def test_a_damaged_pickle_is_refused(pickled: bytes) -> None:
    with pytest.raises(PackedError):
        await unpacked(wrap(pickled))


@pytest.mark.parametrize("text", ["", "x", "\ud800", "====", base64.b64encode(b"no zlib").decode(), pack([1])[:-8]])
async def test_what_is_not_packed_is_refused(text: str) -> None:
    with pytest.raises(PackedError):
        await unpacked(text)


async def test_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PackedError, match="32 MiB"):
        await unpacked(wrap(b"\x00" * 2**26))
    monkeypatch.setattr(packed, "MAX_STEPS", 1000)
    with pytest.raises(PackedError, match="steps"):
        await unpacked(wrap(b"]" + b"N" * 100_000 + b"."))

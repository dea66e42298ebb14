"""Frames survive any cut of the stream, and none may be too long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.guarded.frames import FrameBuffer, FrameError, encode, header


@given(st.lists(st.binary(max_size=20)), st.data())
def test_a_stream_cut_anywhere_gives_the_same_bodies(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(header(len(body)) + body for body in bodies)
    buffer = FrameBuffer(20)
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += buffer.feed(stream[:size])
        stream = stream[size:]
    assert found == bodies


def test_a_frame_that_says_it_is_too_long_is_refused_before_it_comes() -> None:
    with pytest.raises(FrameError, match="21 bytes, 20 are allowed"):
        FrameBuffer(20).feed(header(21))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        encode(value)

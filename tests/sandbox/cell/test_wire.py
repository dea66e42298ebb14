"""Frames to and from a cell: written whole whatever a pipe takes at once, and read into memory of their own."""

from __future__ import annotations

import mmap
import os
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.base import Status
from sandbox.cell import answers, wire


def drained(source: socket.socket) -> tuple[threading.Thread, bytearray]:
    """A thread that reads all that comes, in small pieces."""
    got = bytearray()

    def read() -> None:
        while data := source.recv(3001):
            got.extend(data)

    thread = threading.Thread(target=read)
    thread.start()
    return thread, got


def sent(head: bytes, parts: list[bytes]) -> bytes:
    """What arrives of an answer, through a socket that takes little at once."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        thread, got = drained(theirs)
        wire.write(ours.fileno(), wire.RUN, 7, head, *parts)
        ours.shutdown(socket.SHUT_WR)
        thread.join()
    return bytes(got)


@given(st.binary(max_size=50), st.lists(st.binary(max_size=30), max_size=12))
def test_an_answer_arrives_whole(head: bytes, parts: list[bytes]) -> None:
    body = b"".join(parts)
    assert sent(head, parts) == wire.ANSWER.pack(wire.RUN, 7, len(head), len(body)) + head + body


@pytest.mark.parametrize(
    "parts", [[b"x" * 5_000_000], [b"ab" * 1000] * 2000, [b"", b"y" * 300_000, b"", b"z"], [b"1"] * 1500]
)
def test_a_large_answer_arrives_whole(parts: list[bytes]) -> None:
    body = b"".join(parts)
    got = sent(b"head", parts)
    assert got == wire.ANSWER.pack(wire.RUN, 7, 4, len(body)) + b"head" + body


def test_an_answer_to_nobody() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, pytest.raises(wire.Ended):
        wire.write(ours.fileno(), wire.DONE, 1)
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(wire.Ended):
        wire.write(writer, wire.DONE, 1, b"", b"x")
    os.close(writer)


def test_reading() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"123456789")
    memory = wire.read_memory(reader, 4)
    assert memory[:4] == b"1234"
    assert len(wire.read_memory(reader, 0)) == 1  # there is no empty memory
    os.close(writer)
    view = memoryview(bytearray(5))
    wire.read_exactly(reader, view)
    assert bytes(view) == b"56789"
    with pytest.raises(wire.Ended):
        wire.read_exactly(reader, view)
    with pytest.raises(wire.Ended):
        wire.read_memory(reader, 1)
    os.close(reader)


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_parts_are_packed_and_found_again(blobs: list[bytes]) -> None:
    packed = wire.pack(blobs)
    with mmap.mmap(-1, len(packed)) as memory:
        memory[:] = packed
        part = wire.Part(memory)
        assert len(part) == len(blobs)
        assert [part[index] for index in range(len(blobs))] == blobs


def test_statuses_are_the_same_on_both_sides() -> None:
    assert [Status(name) for name in wire.STATUSES] == list(Status)
    assert set(answers.STATUSES) - {answers.ENDED} <= set(wire.STATUSES)
    assert set(answers.STATUSES) >= answers.OF_CALLS


def test_frames_of_a_run() -> None:
    reader, writer = os.pipe()
    answers.send(writer, 3, "protocol", b"why")
    assert os.read(reader, 100) == answers.HEAD.pack(3, 3, 3) + b"why"
    os.close(reader)
    os.close(writer)

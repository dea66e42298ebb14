"""The service's end of a cell against a cell that is not what it should be."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.base import Run, Status
from sandbox.cell import wire
from sandbox.channel import MAX_HEAD, MAX_PARTS, CellFaultError, CellLostError, Channel


class FakeTransport:
    """Keeps what is written, and whether it has been closed."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True


def opened(*, framed: bool = False) -> tuple[Channel, FakeTransport]:
    """A channel with a transport that goes nowhere."""
    channel, transport = Channel(framed=framed), FakeTransport()
    channel.connection_made(cast(asyncio.BaseTransport, transport))
    return channel, transport


def answer(kind: int, job: int = 0, head: bytes = b"", parts: bytes = b"") -> bytes:
    return wire.ANSWER.pack(kind, job, len(head), len(parts)) + head + parts


def result(index: int, job: int = 1, status: int = 0, **parts: bytes) -> bytes:
    texts = [parts.get(name, b"") for name in ("stdout", "stderr", "value", "message", "names")]
    head = wire.RUN_HEAD.pack(index, status, 0, -1, 1.5, 2.5, *map(len, texts))
    return answer(wire.RUN, job, head, b"".join(texts) + parts.get("files", b""))


HELLO = answer(wire.HELLO, 0, json.dumps({"python": "3"}).encode())
DONE = answer(wire.DONE, 1)


async def started(
    channel: Channel, take: Callable[[int, Run], bool] | None = None
) -> tuple[asyncio.Task[None], list[Any]]:
    """A job that runs, and what it has taken."""
    taken: list[Any] = []

    def keep(index: int, run: Run) -> bool:
        taken.append((index, run.status, run.stdout))
        return True

    task = asyncio.create_task(channel.run(lambda number: b"job %d" % number, take or keep))
    await asyncio.sleep(0)
    return task, taken


async def test_a_job_and_its_results() -> None:
    channel, transport = opened()
    channel.data_received(HELLO)
    assert await channel.hello == {"python": "3"}
    task, taken = await started(channel)
    assert bytes(transport.written) == b"job 1"
    channel.data_received(result(-1) + result(0, stdout=b"out") + DONE)
    await task
    assert taken == [(-1, Status.OK, b""), (0, Status.OK, b"out")]
    task, _ = await started(channel)
    channel.data_received(answer(wire.FAULT, 2, b'"why"'))
    with pytest.raises(CellFaultError, match="why"):
        await task
    assert not channel.lost.done()


async def test_everything_in_a_result() -> None:
    channel, _ = opened()
    got: list[Run] = []
    task, _ = await started(channel, lambda index, run: got.append(run) or True)  # type: ignore[func-returns-value]
    names = json.dumps([["a", 2], ["b/c", 0], ["d", 1]]).encode()
    channel.data_received(
        result(0, status=9, stdout=b"1", stderr=b"22", value=b"333", message=b"m\xff", names=names, files=b"aad")
        + DONE
    )
    await task
    assert got == [
        Run(
            Status(wire.STATUSES[9]), 0, None, b"1", b"22", b"333", "m\N{REPLACEMENT CHARACTER}", 1.5, 2.5,
            {"a": b"aa", "b/c": b"", "d": b"d"},
        )
    ]  # fmt: skip


async def test_a_job_that_its_owner_has_seen_enough_of_is_stopped_once() -> None:
    channel, transport = opened()
    task, _ = await started(channel, lambda index, run: False)
    channel.data_received(result(0) + result(1) + result(2))
    assert bytes(transport.written) == b"job 1" + wire.HEADER.pack(wire.STOP, 1, 0, 0, 0)
    channel.data_received(DONE)
    await task


async def test_stopping_a_job() -> None:
    channel, transport = opened()
    assert await channel.stop(0.01)  # none runs
    task, taken = await started(channel)
    task.cancel()
    assert not await channel.stop(0.01)
    assert transport.written.endswith(wire.HEADER.pack(wire.STOP, 1, 0, 0, 0))
    asyncio.get_running_loop().call_later(0.05, channel.data_received, result(0) + DONE)
    assert await channel.stop(10)
    assert taken == []  # what comes after the end is nobody's
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 100,
        bytes(100),
        answer(wire.RUN, 1, b"short"),
        answer(wire.RUN, 1, b"x" * 100),
        result(0, status=200),
        result(0, names=b"not json"),
        result(0, names=b'{"a": 1}'),
        result(0, names=b"[1]"),
        result(0, names=b'[["a", "b"]]'),
        result(0, names=b"[" * 5000),
        result(0, job=2),
        answer(wire.DONE, 7),
        answer(wire.FAULT, 1, b"not json"),
        answer(wire.HELLO, 0, b"{}"),
        answer(99, 1),
        wire.ANSWER.pack(wire.RUN, 1, MAX_HEAD + 1, 0),
        wire.ANSWER.pack(wire.RUN, 1, 8, MAX_PARTS + 1),
        wire.ANSWER.pack(wire.RUN, 1, 2**32 - 1, 2**32 - 1),
    ],
)
async def test_garbage_costs_the_cell_and_nothing_else(garbage: bytes) -> None:
    channel, transport = opened()
    channel.data_received(HELLO)
    task, taken = await started(channel)
    channel.data_received(garbage)
    with pytest.raises(CellLostError, match="broke its protocol"):
        await task
    assert transport.aborted
    assert channel.lost.done()
    assert taken == []
    with pytest.raises(CellLostError):
        await channel.run(lambda number: b"", lambda index, run: True)


@pytest.mark.parametrize("early", [DONE, result(0), answer(wire.FAULT, 1, b'"x"'), answer(wire.DONE, 0)])
async def test_an_answer_to_no_job(early: bytes) -> None:
    channel, transport = opened()
    channel.data_received(HELLO + early)
    assert transport.aborted
    assert channel.lost.done()


@pytest.mark.parametrize(
    "hello", [b"", b"\0" * 40, answer(wire.HELLO, 0, b"nothing"), answer(wire.REFUSED, 0, b'"why"')]
)
async def test_a_cell_that_does_not_begin(hello: bytes) -> None:
    channel, _ = opened()
    channel.data_received(hello)
    channel.connection_lost(None)
    with pytest.raises(CellLostError, match="why" if b"why" in hello else "ended|broke"):
        await channel.hello


async def test_half_an_answer_and_then_the_end() -> None:
    whole = result(0, stdout=b"out")
    for cut in range(len(whole)):
        channel, _ = opened()
        task, taken = await started(channel)
        channel.data_received(whole[:cut])
        channel.connection_lost(ConnectionResetError())
        with pytest.raises(CellLostError, match="the cell ended"):
            await task
        assert taken == []


async def test_a_closed_channel() -> None:
    channel, transport = opened()
    task, _ = await started(channel)
    channel.close()
    channel.close()
    assert transport.aborted
    with pytest.raises(CellLostError, match="closed"):
        await task


STREAM = HELLO + result(0, stdout=b"zero") + result(1, stderr=b"one") + DONE


def docker_frames(stream: bytes, cuts: list[int], noise: bytes) -> bytes:
    """A stream as Docker sends it: in frames, among which are some of the other output."""
    framed = b""
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in pairwise(edges):
        framed += struct.pack(">BxxxL", 2, len(noise)) + noise
        framed += struct.pack(">BxxxL", 1, end - start) + stream[start:end]
    return framed


@given(
    st.lists(st.integers(0, 1000), max_size=8), st.lists(st.integers(0, 1000), max_size=12), st.binary(max_size=20)
)
async def test_a_stream_may_be_framed_and_cut_anywhere(frames: list[int], cuts: list[int], noise: bytes) -> None:
    for framed in (False, True):
        channel, _ = opened(framed=framed)
        task, taken = await started(channel)
        stream = docker_frames(STREAM, frames, noise) if framed else STREAM
        edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
        for start, end in pairwise(edges):
            channel.data_received(stream[start:end])
        await task
        assert taken == [(0, Status.OK, b"zero"), (1, Status.OK, b"")]
        assert (await channel.hello) == {"python": "3"}


async def test_a_stream_comes_byte_by_byte() -> None:
    channel, _ = opened(framed=True)
    task, taken = await started(channel)
    for byte in docker_frames(STREAM, list(range(len(STREAM))), b"n"):
        channel.data_received(bytes([byte]))
    await task
    assert len(taken) == 2


@given(st.binary(max_size=300), st.booleans())
async def test_no_bytes_at_all_raise(data: bytes, framed: bool) -> None:
    channel, transport = opened(framed=framed)
    task, _ = await started(channel)
    channel.data_received(data)
    channel.data_received(HELLO)
    channel.connection_lost(None)
    with pytest.raises(CellLostError):
        await task
    assert channel.lost.done()
    if channel.hello.done() and not channel.hello.cancelled():
        channel.hello.exception()
    assert isinstance(transport.aborted, bool)

"""The service's end of a cell: sends it jobs, takes its results, notices when it is gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

from sandbox.base import Run, Status
from sandbox.cell import wire

MAX_HEAD = 64 * 1024
MAX_PARTS = 512 * 1024 * 1024
"""More is no answer of a cell of ours."""

Take = Callable[[int, Run], bool]
"""Takes a result by its index; returns whether the job is to go on."""


class CellLostError(Exception):
    """The cell is gone, or has broken its protocol; the message says how."""


class CellFaultError(Exception):
    """The cell could not do its part of a job, and lives on."""


class Channel(asyncio.Protocol):
    """One connection to one cell. `framed` peels off the heads that Docker puts before what a container writes."""

    def __init__(self, *, framed: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self.hello: asyncio.Future[dict[str, Any]] = loop.create_future()
        """What the cell says of itself once it is ready. Raises `CellLostError`."""
        self.lost: asyncio.Future[None] = loop.create_future()
        """Done when the cell is gone."""
        self._framed = framed
        self._raw = bytearray()
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._job = 0
        self._take: Take | None = None
        self._done: asyncio.Future[None] | None = None
        self._stopping = False

    async def run(self, frame: Callable[[int], bytes], take: Take) -> None:
        """Run a job to its end. `frame` makes it for the number that it gets here.

        Raises `CellLostError`, `CellFaultError`. Cancelled, it leaves the job running: `stop` ends it.
        """
        if self._transport is None or self.lost.done():
            raise CellLostError("the cell is gone")
        self._job += 1
        self._take, self._stopping = take, False
        done = self._done = asyncio.get_running_loop().create_future()
        self._transport.write(frame(self._job))
        await asyncio.shield(done)

    async def stop(self, patience_s: float) -> bool:
        """End the running job at once; returns whether the cell did so in time."""
        done = self._done
        if done is None or done.done():
            return not self.lost.done()
        self._take = None
        self._send_stop()
        await asyncio.wait([done], timeout=patience_s)
        return done.done() and not self.lost.done()

    def close(self) -> None:
        """Let go of the cell, which ends it."""
        if self._transport is not None:
            self._transport.abort()
        self._lose("the cell was closed")

    def _send_stop(self) -> None:
        if not self._stopping and self._transport is not None:
            self._stopping = True
            self._transport.write(wire.HEADER.pack(wire.STOP, self._job, 0, 0, 0))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the connection is open."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio: the cell ended."""
        self._lose("the cell ended")

    def data_received(self, data: bytes) -> None:
        """asyncio: answers, or parts of them."""
        if self._framed:
            self._raw += data
            self._peel()
        else:
            self._buffer += data
        try:
            while self._next():
                continue
        except Exception as error:  # whatever it is, it is no answer
            if self._transport is not None:
                self._transport.abort()
            self._lose(f"the cell broke its protocol: {type(error).__name__}: {error}")

    def _peel(self) -> None:
        raw = self._raw
        start = 0
        while len(raw) - start >= 8:
            size = int.from_bytes(raw[start + 4 : start + 8], "big")
            if len(raw) - start - 8 < size:
                break
            if raw[start] == 1:  # standard output; what a cell writes on the other one is for a person to read
                self._buffer += raw[start + 8 : start + 8 + size]
            start += 8 + size
        del raw[:start]

    def _next(self) -> bool:
        buffer = self._buffer
        if len(buffer) < wire.ANSWER.size:
            return False
        kind, job, head_size, parts_size = wire.ANSWER.unpack_from(buffer)
        if head_size > MAX_HEAD or parts_size > MAX_PARTS:
            raise ValueError("an answer that is too large")
        start = wire.ANSWER.size + head_size
        if len(buffer) < start + parts_size:
            return False
        head, parts = bytes(buffer[wire.ANSWER.size : start]), bytes(buffer[start : start + parts_size])
        del buffer[: start + parts_size]
        self._answer(kind, job, head, parts)
        return True

    def _answer(self, kind: int, job: int, head: bytes, parts: bytes) -> None:
        if kind == wire.HELLO:
            self.hello.set_result(json.loads(head))
        elif kind == wire.REFUSED:
            self._lose(str(json.loads(head)))
        elif job != self._job or self._done is None or self._done.done():
            raise ValueError("an answer to no job")
        elif kind == wire.DONE:
            self._done.set_result(None)
        elif kind == wire.FAULT:
            self._done.set_exception(CellFaultError(str(json.loads(head))))
        elif kind == wire.RUN:
            index, run = _run(head, parts)
            if self._take is not None and not self._take(index, run):
                self._send_stop()
        else:
            raise ValueError("an answer of no known type")

    def _lose(self, reason: str) -> None:
        if self.lost.done():
            return
        self.lost.set_result(None)
        for future in (self.hello, self._done):
            if future is not None and not future.done():
                future.set_exception(CellLostError(reason))
                future.exception()  # somebody may have stopped waiting for it


def _run(head: bytes, parts: bytes) -> tuple[int, Run]:
    index, status, code, died, cpu_ms, wall_ms, *sizes = wire.RUN_HEAD.unpack(head)
    pieces = []
    start = 0
    for size in sizes:
        pieces.append(parts[start : start + size])
        start += size
    stdout, stderr, value, message, names = pieces
    files = {}
    for name, size in json.loads(names) if names else ():
        files[str(name)] = parts[start : start + size]
        start += size
    return index, Run(
        status=_STATUSES[status],
        exit_code=None if code < 0 else code,
        signal=None if died < 0 else died,
        stdout=stdout,
        stderr=stderr,
        value=value,
        message=message.decode("utf-8", "replace"),
        cpu_ms=round(cpu_ms, 3),
        wall_ms=round(wall_ms, 3),
        files=files,
    )


_STATUSES = tuple(Status(status) for status in wire.STATUSES)

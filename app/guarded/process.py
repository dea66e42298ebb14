"""One guarded worker as the service sees it: sends payloads, reads answers, enforces the limits of each payload."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import json
import os
import resource
import signal
import socket
import termios
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

from app.guarded.frames import MAX_ANSWER, MEMORY, OK, RAISED, FrameBuffer
from app.guarded.request import request
from verifiers.base import GuardFault, GuardLimits, GuardResult

POLL_S = 0.025
"""How often a running payload's CPU time, memory and wall-clock time are looked at."""
_WRITE_AT_ONCE = 2**16
_PAGE = resource.getpagesize()

Answered = Callable[[int, GuardResult], None]


def _unasked(_index: int, _result: GuardResult) -> None:
    raise ValueError("an answer to no request")


class Worker(asyncio.Protocol):
    """One worker process. It runs the payloads it is given in order, so the first unanswered one is running.

    Once `alive` is false, `blame` is the result of the payload that was running, if it broke a limit, and `lost`
    tells that the process died by itself, neither killed from here nor with its zygote; neither: it was retired.
    """

    def __init__(self, pid: int, pidfd: int | None, channel: socket.socket, orphaned: Callable[[], bool]) -> None:
        self.pid = pid
        self.alive = True
        self.lost = False
        self.blame: GuardResult | None = None
        self.served = 0
        """Payloads answered."""
        self._pidfd = pidfd
        self._cpu_clock = (~pid << 3) | 2  # CPUCLOCK_SCHED of a process, as clock_getcpuclockid(3) makes it
        self._statm = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._born: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._channel = channel
        self._orphaned = orphaned
        self._buffer = FrameBuffer(MAX_ANSWER)
        self._running: deque[int] = deque()
        self._since = 0.0
        self._cpu_before = 0
        self._memory_before = self._memory_born = 0
        self._limits = GuardLimits()
        self._answered: Answered = _unasked
        self._sent = False
        self._finished = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._watch: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    @property
    def grown(self) -> int:
        """Bytes of anonymous memory gained since birth, as of the last answer."""
        return self._memory_before - self._memory_born

    @property
    def running(self) -> int | None:
        """The index of the payload that is, or was, running."""
        return self._running[0] if self._running else None

    async def birth(self) -> str:
        """Wait until the process is ready for payloads; returns why it is not, or nothing."""
        return await self._born

    async def run(
        self, function: str, payloads: Sequence[tuple[int, Any]], limits: GuardLimits, answered: Answered
    ) -> None:
        """Run `payloads`, each with its index, handing every result to `answered`.

        Returns when all are answered or the worker is no longer alive.
        """
        loop = asyncio.get_running_loop()
        self._limits, self._answered, self._sent = limits, answered, False
        self._finished.clear()
        self._watch = loop.call_later(POLL_S, self._check)
        try:
            await self._send(function, payloads)
            self._sent = True
            if self._running and self.alive:
                await self._finished.wait()
        finally:
            self._watch.cancel()
            self._answered = _unasked

    async def _send(self, function: str, payloads: Sequence[tuple[int, Any]]) -> None:
        pieces: list[bytes] = []
        size = 0
        for index, payload in payloads:
            if not self.alive:
                return
            try:
                frame = await request(function, self._limits.memory_mb, payload)
            except (ValueError, TypeError, RecursionError) as error:
                message = f"the payload cannot be sent: {type(error).__name__}: {error}"
                self._answered(index, GuardResult(fault=GuardFault.RAISED, message=message))
                continue
            if not self._running:
                self._since = time.monotonic()
            self._running.append(index)
            for piece in frame:
                pieces.append(piece)
                size += len(piece)
                if size >= _WRITE_AT_ONCE:
                    self._write(pieces)
                    pieces, size = [], 0
                    await asyncio.sleep(0)  # a worker that reads fast never pauses the writing
                    await self._writable.wait()
        self._write(pieces)

    def _write(self, pieces: list[bytes]) -> None:
        if pieces and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(pieces))

    def end(self, blame: GuardResult | None = None) -> None:
        """Kill the process, at once and for good; `blame` is the result of the payload that is running."""
        if not self.alive:
            return
        self.alive = False
        self.blame = blame
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd is None:
                os.kill(self.pid, signal.SIGKILL)
            else:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        if self._pidfd is not None:
            os.close(self._pidfd)
        os.close(self._statm)
        if self._transport is not None:
            self._transport.abort()
        self._writable.set()
        if not self._born.done():
            self._born.set_result("the worker process ended at once")
        self._finished.set()

    def _memory(self) -> int:
        """Bytes of anonymous memory (proc_pid_statm(5): resident less shared); 0 for a process that has ended."""
        _, resident, shared, *_ = os.pread(self._statm, 128, 0).split()
        return (int(resident) - int(shared)) * _PAGE

    def _check(self) -> None:
        if not self.alive:
            return
        self._watch = asyncio.get_running_loop().call_later(POLL_S, self._check)
        if not self._running:
            return
        wall = time.monotonic() - self._since
        # An answer not read yet means that a later payload runs, and that these clocks are not its own.
        if wall >= POLL_S and (blame := self._broken_limit(wall)) and not self._unread():
            self.end(blame)

    def _broken_limit(self, wall: float) -> GuardResult | None:
        limits = self._limits
        try:
            cpu = (time.clock_gettime_ns(self._cpu_clock) - self._cpu_before) / 1e9
            memory = (self._memory() - self._memory_before) / 2**20
        except OSError:  # it has just died; its socket will say so
            return None
        if memory > limits.memory_mb:
            return GuardResult(fault=GuardFault.MEMORY, message=f"more than {limits.memory_mb} MiB")
        if cpu > limits.cpu_s:
            return GuardResult(fault=GuardFault.CPU, message=f"more than {limits.cpu_s} s of CPU time")
        if wall > limits.wall_s:
            return GuardResult(fault=GuardFault.WALL, message=f"more than {limits.wall_s} s, {cpu:.3f} s of CPU time")
        return None

    def _unread(self) -> bool:
        count = array.array("i", [0])
        fcntl.ioctl(self._channel.fileno(), termios.FIONREAD, count)
        return count[0] > 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the channel is open."""
        self._transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        """asyncio: the worker reads more slowly than payloads are written."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """asyncio: payloads may be written again."""
        if self.alive:
            self._writable.set()

    def connection_lost(self, _error: Exception | None) -> None:
        """asyncio: the process ended, or closed its socket, which it never does while it works."""
        if self.alive:
            self.lost = not self._orphaned()
            self.end()

    def data_received(self, data: bytes) -> None:
        """asyncio: answers, or parts of them."""
        if not self.alive:
            return
        try:
            for body in self._buffer.feed(data):
                self._take(json.loads(body.decode("ascii")))
                if not self.alive:
                    return
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            message = f"the worker broke its protocol: {type(error).__name__}"
            self.end(GuardResult(fault=GuardFault.RAISED, message=message))

    def _take(self, answer: Any) -> None:
        tag, value, cpu, memory = answer
        if not self._born.done():
            self._cpu_before, self._memory_before, self._memory_born = int(cpu), int(memory), int(memory)
            self._born.set_result("" if tag == OK else str(value))
            return
        if tag == MEMORY:
            self.end(GuardResult(fault=GuardFault.MEMORY, message=value))
            return
        if tag == OK:
            result = GuardResult(value)
        elif tag == RAISED:
            result = GuardResult(fault=GuardFault.RAISED, message=str(value))
        else:
            raise ValueError("unknown tag")
        index = self._running.popleft()
        self._cpu_before, self._memory_before = int(cpu), int(memory)
        self._since = time.monotonic()
        self.served += 1
        self._answered(index, result)
        if self._sent and not self._running:
            self._finished.set()

"""A guarded worker: the process that the zygote forks. It answers requests one by one until its socket ends.

It sets no time limit on itself: the service watches it and kills it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path

from app.guarded.frames import MAX_REQUEST, MAX_VALUE, MEMORY, OK, RAISED, FrameBuffer, encode, header

MAX_MESSAGE = 500
"""Characters of an exception's message."""

PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PAGE = resource.getpagesize()


def _settle(zygote: int) -> None:
    """Make a freshly forked process a worker: it dies with its zygote, leaves no core, and is killed first."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL)):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != zygote:  # it died before the line above
        os._exit(1)
    with contextlib.suppress(OSError):  # a preference; some containers mount /proc read-only
        Path("/proc/self/oom_score_adj").write_text("1000")
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard:  # 1 is too short for a file, and the one value that also stops a core to a pipe (fs/coredump.c)
        resource.setrlimit(resource.RLIMIT_CORE, (1, hard))
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)


class _Server:
    def __init__(self) -> None:
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        self._born_virtual = int(self._read_statm()[0]) * _PAGE
        self._memory_mb = 0

    def _read_statm(self) -> list[bytes]:
        return os.pread(self._statm, 128, 0).split()

    def run(self, body: bytearray) -> tuple[str, str]:
        """What became of one request: a tag, and the function's value or a message as JSON."""
        try:
            function, memory_mb, payload = json.loads(body.decode())
            del body
            self._bound_memory(memory_mb)
            module, _, name = function.partition(":")
            value = encode(getattr(sys.modules[module], name)(payload))
            if len(value) > MAX_VALUE:
                raise ValueError(f"the result takes {len(value)} bytes as JSON, {MAX_VALUE} are allowed")
        except MemoryError:
            return MEMORY, '"an allocation failed"'
        except BaseException as error:
            return RAISED, encode(_describe(error))
        return OK, value

    def answer(self, tag: str, value: str) -> bytes:
        """The frame of an answer. Called once the payload is released, so that it does not count as growth."""
        _, resident, shared, *_ = self._read_statm()
        memory = (int(resident) - int(shared)) * _PAGE
        body = f'["{tag}",{value},{time.process_time_ns()},{memory}]'.encode()
        return header(len(body)) + body

    def _bound_memory(self, memory_mb: int) -> None:
        """A backstop well above the limit that the service enforces: one huge allocation fails at once."""
        if memory_mb != self._memory_mb:
            soft = self._born_virtual + (2 * memory_mb + 256) * 2**20
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.setrlimit(resource.RLIMIT_AS, (soft if hard < 0 else min(soft, hard), hard))
            self._memory_mb = memory_mb


def _describe(error: BaseException) -> str:
    name = type(error).__name__
    try:
        text = str(error)
    except BaseException:
        return name
    return f"{name}: {text}"[:MAX_MESSAGE] if text else name


def live(channel: socket.socket, zygote: int) -> None:
    """The whole life of a worker: say that it is ready, answer every request, end with the channel."""
    server = _Server()
    try:
        _settle(zygote)
    except OSError as error:
        channel.sendall(server.answer(RAISED, encode(_describe(error))))
        return
    channel.sendall(server.answer(OK, "null"))
    buffer = FrameBuffer(MAX_REQUEST)
    while data := channel.recv(2**18):
        bodies = buffer.feed(data)
        bodies.reverse()
        while bodies:
            channel.sendall(server.answer(*server.run(bodies.pop())))

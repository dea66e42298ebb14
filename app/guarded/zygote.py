"""The zygote: imports the guarded modules once and forks workers on request.

    python -m app.guarded.zygote FD MODULE...

FD is a Unix SOCK_SEQPACKET socket to the service. The zygote's first message is `{"failed": {module: reason}}`.
Then every message from the service carries one socket, which becomes a worker's, and is answered by `{"pid": n}`
with the worker's pidfd (none where the kernel has none), or by `{"error": reason}`. When the service's end closes,
for whatever reason, the zygote kills its workers and exits; they die with it, however it dies.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from app.guarded import worker


class Zygote:
    """The forking side of one service process."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: set[int] = set()

    def serve(self, modules: Sequence[str]) -> None:
        """Import `modules`, then fork until the service's end closes."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the service decides, and its end is seen on the socket
        with contextlib.suppress(OSError):  # a preference; some containers mount /proc read-only
            Path("/proc/self/oom_score_adj").write_text("500")
        gc.disable()
        failed = _import(modules)
        gc.freeze()  # a collection in a worker would write to, and so copy, every page of the imports
        signal.signal(signal.SIGCHLD, self._reap)
        with contextlib.suppress(ConnectionError):  # the service ended before it had its answer
            self._send({"failed": failed})
            while self._obey():
                continue
        self._stop()

    def _obey(self) -> bool:
        """Fork as asked, once; returns whether the service is still there."""
        message, channels, _, _ = socket.recv_fds(self._control, 16, 1)
        if channels:
            self._fork(channels[0])
        elif message:
            self._send({"error": "the zygote has no file descriptor left"})
        return bool(message)

    def _send(self, message: object, descriptors: Sequence[int] = ()) -> None:
        socket.send_fds(self._control, [json.dumps(message).encode()], descriptors)

    def _fork(self, channel: int) -> None:
        # with SIGCHLD held back the child cannot be reaped before its pidfd is open
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        zygote = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._send({"error": f"fork: {error.strerror}"})
        else:
            if pid == 0:
                self._become_worker(channel, zygote)
            self._children.add(pid)
            self._announce(pid)
        os.close(channel)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def _announce(self, pid: int) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # before Linux 5.3, or forbidden
            self._send({"pid": pid})
            return
        self._send({"pid": pid}, [pidfd])
        os.close(pidfd)

    def _become_worker(self, channel: int, zygote: int) -> None:
        try:
            self._control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            gc.enable()
            worker.live(socket.socket(fileno=channel), zygote)
        finally:
            os._exit(0)  # never back into the loop of the zygote, nor through its exit handlers

    def _reap(self, _number: int, _frame: FrameType | None) -> None:
        # waits for any child, since a second signal can run this handler within itself
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                self._children.discard(pid)

    def _stop(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)


def _import(modules: Sequence[str]) -> dict[str, str]:
    """Import each module; returns why for those that cannot be."""
    failed = {}
    for module in modules:
        try:
            importlib.import_module(module)
        except BaseException as error:
            failed[module] = f"{type(error).__name__}: {error}"[: worker.MAX_MESSAGE]
    return failed


if __name__ == "__main__":
    Zygote(socket.socket(fileno=int(sys.argv[1]))).serve(sys.argv[2:])

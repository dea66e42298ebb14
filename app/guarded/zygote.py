"""The zygote: imports the guarded modules once and forks workers on request.

    python -m app.guarded.zygote FD MODULE...

FD is a Unix SOCK_SEQPACKET socket to the service. The zygote's first message is `{"failed": {module: reason}}`.
Then a message from the service that carries a socket, which becomes a worker's, is answered by `{"pid": n}` with the
worker's pidfd (none where the kernel has none), or by `{"error": reason}`; and a message `status PID` asks which
signal ended a worker and is answered by `{"signal": number}`, 0 where it exited. When the service's end closes, for
whatever reason, the zygote kills its workers and exits; they die with it, however it dies.
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

MAX_ENDED = 256
"""Ended workers whose status is remembered; the service asks at once or never."""


class Zygote:
    """The forking side of one service process."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: set[int] = set()
        self._ended: dict[int, int] = {}
        """Wait statuses of the workers that ended last."""

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
        elif message.startswith(b"status "):
            self._tell_status(int(message.split()[1]))
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

    def _tell_status(self, pid: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        if pid in self._children:  # its socket has closed, so it ends within moments
            self._note_end(*os.waitpid(pid, 0))
        status = self._ended.get(pid, 0)
        self._send({"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0})
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def _reap(self, _number: int, _frame: FrameType | None) -> None:
        # waits for any child, since a second signal can run this handler within itself
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._note_end(*ended)

    def _note_end(self, pid: int, status: int) -> None:
        self._children.discard(pid)
        self._ended[pid] = status
        if len(self._ended) > MAX_ENDED:
            del self._ended[next(iter(self._ended))]

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

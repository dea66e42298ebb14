"""The zygote as the service sees it: starts it, asks it for workers, notices when it is gone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.guarded.process import Worker

STOP_S = 2.0
"""How long a zygote that is told to stop may take before it is killed."""

_KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "TMPDIR")
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # the order of a set of strings, and with it a verdict, must not differ between two starts
    "PYTHONHASHSEED": "0",
}


class SpawnError(Exception):
    """No zygote, or no worker, could be started; the message says why."""


class Spawner:
    """One zygote process. `failed` names the modules that it could not import, with the reason."""

    def __init__(self, modules: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        self._modules = modules
        self.failed: dict[str, str] = {}
        self.gone: asyncio.Future[None] = loop.create_future()
        """Done once the zygote has ended."""
        self._asking = asyncio.Lock()
        self._reply: asyncio.Future[tuple[dict[str, Any], list[int]]] | None = None
        self._imported = False
        try:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise SpawnError(f"cannot make a socket: {error.strerror}") from None
        self._control.setblocking(False)
        with theirs:
            try:
                self._process = _start(theirs.fileno(), modules)
            except OSError as error:
                self._control.close()
                raise SpawnError(f"cannot start {sys.executable}: {error.strerror}") from None
        loop.add_reader(self._control, self._read)

    @property
    def pid(self) -> int:
        """The zygote's process id."""
        return self._process.pid

    async def ready(self) -> None:
        """Wait until the modules are imported. Raises `SpawnError` if the zygote ends before."""
        async with self._asking:
            try:
                message, _ = await self._next_reply()
            except SpawnError:
                await self.close()
                status, modules = self._process.returncode, ", ".join(self._modules)
                raise SpawnError(f"the zygote ended with status {status} while it imported {modules}") from None
            self.failed = message["failed"]
            self._imported = True

    async def fork(self) -> Worker:
        """A new worker, ready for payloads. Raises `SpawnError`."""
        async with self._asking:
            try:
                worker = await self._fork()
            except OSError as error:
                raise SpawnError(f"cannot start a worker: {error.strerror}") from None
        try:
            reason = await worker.birth()
            if reason:
                raise SpawnError(f"cannot start a worker: {reason}")
        except BaseException:
            worker.end()
            raise
        return worker

    async def _fork(self) -> Worker:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                ours.setblocking(False)
                socket.send_fds(self._control, [b"fork"], [theirs.fileno()])
            message, descriptors = await self._next_reply()
            if "error" in message:
                raise SpawnError(f"cannot start a worker: {message['error']}")
            worker = self._adopt(message["pid"], descriptors, ours)
        except BaseException:
            ours.close()  # a worker that has no other end exits
            raise
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: worker, sock=ours)
        except BaseException:
            worker.end()
            ours.close()
            raise
        return worker

    def _adopt(self, pid: int, descriptors: Sequence[int], channel: socket.socket) -> Worker:
        pidfd = descriptors[0] if descriptors else None
        try:
            return Worker(pid, pidfd, channel, self._is_gone)
        except OSError:
            if pidfd is not None:
                os.close(pidfd)
            raise

    async def killed(self, pid: int) -> bool:
        """Whether an ended worker was killed from outside (the host ran out of memory, say), not by its payload."""
        async with self._asking:
            try:
                self._control.send(b"status %d" % pid)
                message, _ = await self._next_reply()
            except (SpawnError, OSError):  # the zygote has ended too, and took the worker with it
                return True
        return bool(message.get("signal") == signal.SIGKILL)

    async def _next_reply(self) -> tuple[dict[str, Any], list[int]]:
        if self.gone.done():
            raise SpawnError("the zygote ended")
        self._reply = asyncio.get_running_loop().create_future()
        return await self._reply

    def _read(self) -> None:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, 2**16, 1)
        except BlockingIOError:
            return
        except OSError:
            message, descriptors = b"", []
        reply, self._reply = self._reply, None
        if not message:
            self._lose(reply)
        elif reply is None or reply.done():
            for descriptor in descriptors:
                os.close(descriptor)
        else:
            reply.set_result((json.loads(message), descriptors))

    def _lose(self, reply: asyncio.Future[Any] | None) -> None:
        asyncio.get_running_loop().remove_reader(self._control)
        self._process.kill()
        self.gone.set_result(None)
        if reply is not None and not reply.done():
            reply.set_exception(SpawnError("the zygote ended"))

    def _is_gone(self) -> bool:
        """Whether the zygote has ended, even if the event loop has not been told yet.

        Its socket closes before the kernel kills its workers, so a worker that died with it is never mistaken for one
        that a payload crashed.
        """
        if self.gone.done():
            return True
        try:
            return not self._control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    async def close(self) -> None:
        """Stop the zygote, which kills its workers, and wait until it has ended."""
        if self._control.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
        give_up = time.monotonic() + (STOP_S if self._imported else 0)
        while self._process.poll() is None:
            if time.monotonic() > give_up:
                self._process.kill()
            await asyncio.sleep(0.005)


def _start(control: int, modules: Sequence[str]) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "app.guarded.zygote", str(control), *modules],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**environment, **_ENVIRONMENT, "PYTHONPATH": path},
        pass_fds=[control],
        start_new_session=True,  # Ctrl-C is for the service, which then stops its zygote
    )

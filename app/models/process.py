"""The process that serves one model: started when it is first needed, shared by the API processes of a host.

The model's process holds a lock, so that there is one at a time, and ends with its standard input: that is, with the
process that started it, however that ends. The next one that needs the model starts another.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import structlog

log = structlog.get_logger()

POLL_S = 0.05
TRIES = 8
"""Of one request, where the model's process ends before it has begun with it."""
CONNECTIONS = 512
"""Requests of this process to a model that are under way; others wait for one of them."""
MAX_PATH = 107
"""Bytes of a socket's path on Linux (unix(7))."""
FORGIVEN_S = 30.0
"""How long a model that could not be loaded is not tried again."""
STOP_S = 10.0
OOM_SCORE = 900
"""Of a model's process: where memory runs out, it goes first and the service stays."""


class ModelUnavailableError(Exception):
    """The model gives no scores now; the message says why."""


class _EndedError(Exception):
    """The model's process ended after it had begun with a request."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model is served, and how; see `app.models.server`."""

    model: str
    steps: bool = False
    separator: str = "<extra_0>"
    device: str = "auto"
    threads: int = 1
    max_tokens: int | None = None
    batch_tokens: int = 16_384
    latency_ms: float = 4.0

    def arguments(self, socket: Path) -> list[str]:
        """The command line of its server."""
        made = [f"--model={self.model}", f"--socket={socket}", f"--separator={self.separator}"]
        made += ["--device", self.device, "--threads", str(self.threads)]
        made += ["--batch-tokens", str(self.batch_tokens), "--latency-ms", str(self.latency_ms)]
        made += ["--steps"] if self.steps else []
        return made if self.max_tokens is None else [*made, "--max-tokens", str(self.max_tokens)]


class LocalModel:
    """One process's way to a model; `folder` holds the sockets and locks of the host's models."""

    def __init__(self, spec: ModelSpec, folder: Path) -> None:
        digest = hashlib.sha256(json.dumps(asdict(spec), sort_keys=True).encode()).hexdigest()[:16]
        self._spec = spec
        self.socket = folder / f"{digest}.sock"
        self._lock_path = folder / f"{digest}.lock"
        self._folder = folder
        self._starting: asyncio.Task[None] | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._failed: tuple[float, str] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def score(self, inputs: Sequence[dict[str, Any]], *, deadline: float) -> list[dict[str, Any]]:
        """What the model's server says of each input, in order. Raises `ModelUnavailableError`.

        Starts the model where it does not run, and waits for it until `deadline` (`time.monotonic()` seconds). Where
        the model's process ends while it computes, one of the inputs in its batch may be the cause, so each is asked
        about again with nothing beside it; the one that ends it a second time has that as its error.
        """
        try:
            return await self._ask(inputs, deadline)
        except _EndedError:
            return list(await asyncio.gather(*(self._alone(value, deadline) for value in inputs)))

    async def _alone(self, value: dict[str, Any], deadline: float) -> dict[str, Any]:
        try:
            [output] = await self._ask([value], deadline, alone=True)
        except _EndedError:
            message = "the model's process ended twice while it read this text, for want of memory perhaps"
            return {"error": "ended", "message": message}
        return output

    async def _ask(
        self, inputs: Sequence[dict[str, Any]], deadline: float, *, alone: bool = False
    ) -> list[dict[str, Any]]:
        """Post the inputs, again where the process has not begun with them.

        Raises `_EndedError`, `ModelUnavailableError`.
        """
        for _ in range(TRIES):
            try:
                return await self._post({"inputs": list(inputs), "alone": alone}, deadline)
            except (aiohttp.ClientError, OSError):
                await self._ensure(deadline)
        raise ModelUnavailableError("the model's process ended each time that it was asked")

    async def _post(self, body: dict[str, Any], deadline: float) -> list[dict[str, Any]]:
        if self._session is None:
            connector = aiohttp.UnixConnector(str(self.socket), limit=CONNECTIONS)
            self._session = aiohttp.ClientSession(connector=connector)
        timeout = aiohttp.ClientTimeout(total=max(0.001, deadline - time.monotonic()))
        try:
            async with self._session.post("http://model/score", json=body, timeout=timeout) as response:
                if response.status != 200:
                    raise ModelUnavailableError(f"the model's process answered {response.status}")
                try:
                    outputs: list[dict[str, Any]] = (await response.json())["outputs"]
                except TimeoutError:
                    raise
                except (aiohttp.ClientError, OSError) as error:
                    raise _EndedError from error
                return outputs
        except TimeoutError:
            raise ModelUnavailableError("the deadline passed before the model had scored it") from None

    async def _ensure(self, deadline: float) -> None:
        """Have a server that answers. Raises `ModelUnavailableError`."""
        if self._failed is not None and time.monotonic() < self._failed[0]:
            raise ModelUnavailableError(self._failed[1])
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start(), name="model start")
            self._starting.add_done_callback(_looked_at)
        done, _ = await asyncio.wait({self._starting}, timeout=max(0.0, deadline - time.monotonic()))
        if not done:
            raise ModelUnavailableError("the model is still being loaded; ask again")
        if self._starting.cancelled():
            raise ModelUnavailableError("the service is stopping")
        self._starting.result()

    async def _start(self) -> None:
        """Have a server that answers, started here or by another process. Raises `ModelUnavailableError`."""
        if (size := len(os.fsencode(self.socket))) > MAX_PATH:
            raise ModelUnavailableError(
                f"its socket's path has {size} bytes, and Linux takes {MAX_PATH}: move ASSAY_HOME to a shorter path"
            )
        try:
            await self._started()
        except (OSError, ValueError) as error:  # ValueError: an argument that no process can have
            raise ModelUnavailableError(f"the model's process cannot be started: {error}") from error

    async def _started(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        while not await self._answers():
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # another process has started it
                await asyncio.sleep(POLL_S)
            else:
                await self._launch(lock)
                return
            finally:
                os.close(lock)

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(str(self.socket))
        except OSError:
            return False
        writer.close()
        return True

    async def _launch(self, lock: int) -> None:
        """Start the server, which inherits the lock, and wait until it is ready. Raises `ModelUnavailableError`."""
        await self._stop()
        log.info("loading a model", model=self._spec.model)
        self._child = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "app.models.server", *self._spec.arguments(self.socket),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, pass_fds=(lock,),
            env=environment(self._spec.threads),
        )  # fmt: skip
        _end_first(self._child.pid)
        said = await self._child.stdout.readline() if self._child.stdout else b""
        try:
            message = json.loads(said)
        except ValueError:
            message = {"failed": "its process ended while it was loading, for want of memory perhaps"}
        if "ready" in message:
            log.info("serving a model", model=self._spec.model, device=message["ready"])
            return
        await self._stop()
        self._failed = (time.monotonic() + FORGIVEN_S, f"the model cannot be served: {message['failed']}")
        log.error("a model cannot be served", model=self._spec.model, reason=message["failed"])
        raise ModelUnavailableError(self._failed[1])

    async def _stop(self) -> None:
        """End a server that this process started, if one is left."""
        child, self._child = self._child, None
        if child is None:
            return
        if child.stdin is not None:
            child.stdin.close()
        try:
            async with asyncio.timeout(STOP_S):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()

    async def close(self) -> None:
        """Stop a server that this process started, and hang up."""
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self._stop()
        if self._session is not None:
            await self._session.close()


def environment(threads: int) -> dict[str, str]:
    """Of a model's process: that of this one, without the service's own settings and keys."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
    return {**inherited, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}


def _end_first(pid: int) -> None:
    """Let the kernel choose this process where memory runs out."""
    with contextlib.suppress(OSError):  # it has ended already, which reading from it finds
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(OOM_SCORE))


def _looked_at(start: asyncio.Task[None]) -> None:
    if not start.cancelled():
        start.exception()  # whoever waited for it may have passed a deadline

"""`python -m app.models.server`: one model behind a Unix socket, for the API processes of one host.

POST /score takes `{"inputs": [...], "alone": bool}` and answers `{"outputs": [{"score" | "steps", "tokens",
"truncated"} | {"error", "message"}]}`, in order. Requests of all clients are merged into the model's batches, but for
those that say `alone`. An answer's head is sent when the first of its inputs is about to run, so that a client whose
connection breaks knows whether its inputs may have been what ended this process.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from app.models.batching import Batcher, BusyError, TooLargeError

log = logging.getLogger(__name__)

MAX_BODY = 64 * 2**20
BACKLOG = 4_096
"""Connections that may wait to be accepted; beyond them Linux refuses one at once."""
LOST = 4
"""How this process ends where its device is lost."""
MAX_TOLD = 2_000
"""Characters of why a model could not be loaded."""
MAX_TOKENS = 16_384
"""Padded tokens of a batch."""
LATENCY_S = 0.004
LEAST_TOKENS = {"cpu": 128, "cuda": 8_192}
"""Of a batch, by the sort of device; a smaller one takes nearly as long."""
WASTE = {"cpu": 0.05, "cuda": 0.15}
"""The share of a batch that may be padding; a GPU loses more by small batches than by that."""
AT_ONCE = {"cuda": 2}
"""Batches, by the sort of device: a GPU's next batch is launched while it computes the one before."""
SWITCH_S = 0.0005
"""How long a thread may keep the others waiting: launching a batch is many short steps."""


class Serving:
    """The model, its tokenizer's thread and its batches."""

    def __init__(self, model: Any, *, batch_tokens: int, latency_s: float) -> None:
        self._model = model
        self._encoding = ThreadPoolExecutor(1, "encode")
        at_once = AT_ONCE.get(model.device.type, 1)
        self._running = ThreadPoolExecutor(at_once, "run")
        self.batcher: Batcher[Any] = Batcher(
            self._run,
            self._running,
            max_tokens=batch_tokens,
            least_tokens=LEAST_TOKENS.get(model.device.type, 0),
            waste=WASTE.get(model.device.type, 0.05),
            latency_s=latency_s,
            at_once=at_once,
        )

    async def score(self, request: web.Request) -> web.StreamResponse:
        """POST /score."""
        try:
            asked = await request.json()
            inputs, alone = asked["inputs"], asked.get("alone") is True
            if not isinstance(inputs, list):
                raise TypeError("inputs must be a list")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise web.HTTPBadRequest(text=f"not a request: {error}") from None
        response = web.StreamResponse()
        response.content_type = "application/json"

        async def begin() -> None:
            with suppress(ConnectionError):  # whoever has gone is noticed where the answer is written
                await response.prepare(request)

        outputs = await asyncio.gather(*(self._one(value, alone, begin) for value in inputs))
        await response.prepare(request)
        await response.write_eof(json.dumps({"outputs": outputs}).encode())
        return response

    def _run(self, batch: Sequence[Sequence[int]]) -> Any:
        from app.models.forward import DeviceLostError

        try:
            return self._model.run(batch)
        except DeviceLostError as error:
            log.critical("the device is lost, and this process with it: %s", error)
            os._exit(LOST)  # whoever waits asks the process that comes after it

    async def _one(self, value: dict[str, Any], alone: bool, begin: Callable[[], Awaitable[None]]) -> dict[str, Any]:
        from app.models.reading import TooLongError

        loop = asyncio.get_running_loop()
        try:
            encoded = await loop.run_in_executor(self._encoding, self._model.encode, value)
            result = await self.batcher.submit(encoded.tokens, alone=alone, begin=begin)
        except BusyError:
            return {"error": "busy", "message": "too many inputs wait for the model"}
        except (TooLargeError, TooLongError) as error:
            return {"error": "overflow", "message": str(error)}
        except ValueError as error:
            return {"error": "input", "message": str(error)}
        except Exception as error:  # of this input alone: its neighbours have their scores
            log.exception("an input could not be scored")
            return {"error": "fault", "message": f"the model failed: {type(error).__name__}"}
        name = "steps" if isinstance(result, list) else "score"
        return {name: result, "tokens": len(encoded.tokens), "truncated": encoded.truncated}

    async def health(self, _: web.Request) -> web.Response:
        """GET /healthz."""
        return web.json_response({"batches": self.batcher.batches, "device": str(self._model.device)})


def load(arguments: argparse.Namespace) -> Any:
    """The model that the arguments name. Raises `ModelError`, `DoesNotFitError`, `DamagedError`."""
    try:
        import torch
        import transformers  # noqa: F401

        from app.models.scoring import RewardModel
        from app.models.steps import StepModel
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"{error.name} is not installed, which serving a model takes: pip install 'assay[models]'"
        ) from None
    torch.set_num_threads(arguments.threads)
    with one_at_a_time(arguments.socket.parent):
        if arguments.steps:
            return StepModel(
                arguments.model,
                device=arguments.device,
                max_tokens=arguments.max_tokens,
                separator=arguments.separator,
            )
        return RewardModel(arguments.model, device=arguments.device, max_tokens=arguments.max_tokens)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Of a host's models one is loaded at a time: two at once would both count on the same free memory."""
    with (folder / "loading.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def parsed(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m app.models.server", description=__doc__)
    parser.add_argument("--model", required=True, help="a folder, or a name of the hub")
    parser.add_argument("--socket", required=True, type=Path)
    parser.add_argument("--steps", action="store_true", help="a process reward model")
    parser.add_argument("--separator", default="<extra_0>", help="the token that ends a step")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--max-tokens", type=int, default=None, help="of an input; its left is cut")
    parser.add_argument("--batch-tokens", type=int, default=MAX_TOKENS, help="padded tokens of a batch")
    parser.add_argument("--latency-ms", type=float, default=LATENCY_S * 1000, help="how long a batch waits for more")
    return parser.parse_args(argv)


async def serve(arguments: argparse.Namespace) -> None:
    """Load the model, serve it, and end when standard input does: with the process that started this one."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nobody reads what a library may print

    def tell(message: dict[str, str]) -> None:
        """A line for the process that started this one."""
        told.write(json.dumps(message) + "\n")
        told.flush()

    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.buffer.read))
    loading = asyncio.create_task(asyncio.to_thread(load, arguments))
    await asyncio.wait({ended, loading}, return_when=asyncio.FIRST_COMPLETED)
    if ended.done():
        os._exit(0)  # loading has no other end
    try:
        model = loading.result()
    except Exception as error:
        tell({"failed": (f"{error}" or type(error).__name__)[:MAX_TOLD]})
        os._exit(3)
    sys.setswitchinterval(SWITCH_S)
    serving = Serving(model, batch_tokens=arguments.batch_tokens, latency_s=arguments.latency_ms / 1000)
    serving.batcher.start()
    application = web.Application(client_max_size=MAX_BODY)
    application.add_routes([web.post("/score", serving.score), web.get("/healthz", serving.health)])
    # a client that gives up takes its inputs out of the queue
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
    await runner.setup()
    arguments.socket.unlink(missing_ok=True)
    await web.UnixSite(runner, str(arguments.socket), backlog=BACKLOG).start()
    arguments.socket.chmod(0o600)
    tell({"ready": str(model.device)})
    await ended
    os._exit(0)  # a batch that runs is of no use any more, and nothing else is kept


if __name__ == "__main__":
    asyncio.run(serve(parsed(sys.argv[1:])))

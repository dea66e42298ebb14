"""`AsyncRewardClient`: the client of a reward service, for code that runs in an event loop."""

from __future__ import annotations

import asyncio
import importlib
import os
import time
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, TypeVar, Unpack
from urllib.parse import urlsplit

from trainer_client.batching import VERIFYING_SHARE, Batcher, Lane, content_key, lane_of
from trainer_client.calls import (
    ITEM_NAMES,
    CallOptions,
    OneItem,
    ScoreOptions,
    Text,
    Verifier,
    items_of,
    one_sendable,
    sendable,
    slices,
)
from trainer_client.encoding import encoded, item_id, json_field
from trainer_client.errors import AuthError, ItemsUnscoredError, NotAssayError
from trainer_client.results import Comparison, TakenSignal, Verdict, read_comparisons, read_signals

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8000"
MAX_GROUPS, MAX_COMPLETIONS = 1024, 4096
"""Of a request to /compare."""
MAX_SIGNALS = 1000


class AsyncRewardClient:
    """Scores completions. One object serves any number of tasks, event loops, threads and processes.

    Calls made at the same time share requests of up to 512 items, at most `max_in_flight` of which are in flight;
    a call made alone is sent at once. What fails in passing is sent again until `deadline_s`, and recorded once.
    `close` it in the event loop that used it, or use it as a context.

    `url` and `api_key` default to the variables ASSAY_URL and ASSAY_API_KEY. `unscored_tries` is how often an item
    is sent at most where its verdict says that trying again may help. Raises `AuthError` where there is no key.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        deadline_s: float = 120.0,
        max_in_flight: int = 8,
        unscored_tries: int = 3,
    ) -> None:
        self.url = _checked(url or os.environ.get("ASSAY_URL") or DEFAULT_URL)
        self._api_key = (api_key or os.environ.get("ASSAY_API_KEY") or "").strip()
        if not self._api_key:
            raise AuthError("no API key: set ASSAY_API_KEY or pass api_key", 401)
        if max_in_flight < 1 or unscored_tries < 1:
            raise ValueError("max_in_flight and unscored_tries must be at least 1")
        self.deadline_s = _positive(deadline_s)
        self.max_in_flight = max_in_flight
        self.unscored_tries = unscored_tries
        self._open()

    def _open(self) -> None:
        # Half a second of imports, for those who make a client; and not within a call, since a process that another
        # thread forks during an import waits for its lock for ever.
        importlib.import_module("trainer_client.transport")
        self._batchers: dict[asyncio.AbstractEventLoop, Batcher] = {}
        weakref.finalize(self, _forget, self._batchers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"  # and never the key

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_batchers"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    async def score(
        self,
        verifier: Verifier,
        items: Sequence[Mapping[str, Any]] | None = None,
        *,
        completions: Sequence[Text] | None = None,
        prompts: Sequence[Text] | None = None,
        references: Sequence[Any] | None = None,
        **options: Unpack[ScoreOptions],
    ) -> list[Verdict]:
        """One verdict for each item, in order.

        `items` are objects as POST /score takes them: `completion`, and `id`, `prompt`, `reference`, `group`,
        `tokens`, `finish_reason`, `metadata`; or pass columns. An item that cannot be sent (NaN, a value that JSON
        has not) is `unscored` as `bad_item`, like one that the service cannot use; its neighbours are scored.
        Raises `AssayError`.
        """
        rows = items_of(items, completions, prompts, references)
        lane = self._lane(verifier, options)
        if not rows:
            return []
        verdicts = await self._batcher().submit(lane, sendable(rows))
        for row, verdict in zip(rows, verdicts, strict=True):
            if verdict.score_id is None:
                verdict.id = item_id(row)
            elif verdict.score is not None and verdict.id != row.get("id"):
                raise self._another(verdict.id, row.get("id"))
        return _required(verdicts, options)

    async def score_one(self, verifier: Verifier, completion: Text, **fields: Unpack[OneItem]) -> Verdict:
        """The verdict of one completion. Raises `AssayError`."""
        given = {name: value for name, value in fields.items() if value is not None and name in ITEM_NAMES}
        item = {"completion": completion, **given}
        verdicts = await self._batcher().submit(self._lane(verifier, fields), [one_sendable(item)])
        verdict = verdicts[0]
        if verdict.score is not None and verdict.id != fields.get("id"):
            raise self._another(verdict.id, fields.get("id"))
        return _required(verdicts, fields)[0]

    async def compare(
        self,
        verifier: Verifier,
        items: Sequence[Mapping[str, Any]],
        *,
        method: Literal["auto", "all", "tournament"] = "auto",
        **options: Unpack[CallOptions],
    ) -> list[Comparison]:
        """Each prompt's completions from best to worst, with a pair for DPO (POST /compare), in the items' order.

        Items have `completions` (2 to 64), and `id`, `prompt`, `reference`, `metadata`. Raises `AssayError`.
        """
        texts = [json_field(item, f"/items/{at}") for at, item in enumerate(items)]
        weights = [len(item.get("completions") or ()) for item in items]
        settings = {
            "method": method,
            "cache": options.get("cache", True),
            "deadline_ms": max(1, int(1000 * VERIFYING_SHARE * self._seconds(options))),
        }
        tail = (
            f'],"verifier":{json_field(verifier, "/verifier")},"options":{encoded(settings)},'
            f'"run":{json_field(options.get("run"), "/run")},"step":{json_field(options.get("step"), "/step")}}}'
        )
        bodies = [
            ('{"items":[' + ",".join(texts[part]) + tail, part.stop - part.start)
            for part in slices(texts, weights, MAX_GROUPS, MAX_COMPLETIONS)
        ]
        return await self._all("/compare", bodies, read_comparisons, options)

    async def signals(
        self, signals: Sequence[Mapping[str, Any]], **options: Unpack[CallOptions]
    ) -> list[TakenSignal]:
        """Tell of outcomes that came later (POST /signals); what became of each signal, in order.

        A signal has `score_id` or `key`, `score` or `event`, and may have a `detail`. Raises `AssayError`.
        """
        texts = [json_field(signal, f"/signals/{at}") for at, signal in enumerate(signals)]
        bodies = [
            ('{"signals":[' + ",".join(texts[part]) + "]}", part.stop - part.start)
            for part in slices(texts, [1] * len(texts), MAX_SIGNALS, MAX_SIGNALS)
        ]
        return await self._all("/signals", bodies, read_signals, options)

    async def request(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        deadline_s: float | None = None,
    ) -> Any:
        """The JSON value of any endpoint's answer, None where it is empty. Sent again like all calls.

        A POST is recorded once; `idempotency_key` makes the same request, made again later, get the recorded answer.
        Raises `AssayError`.
        """
        body = None if json is None else json_field(json, "").encode("ascii")
        seconds = self.deadline_s if deadline_s is None else _positive(deadline_s)
        return await self._post(method, path, body, lambda answer: answer, seconds, idempotency_key, params)

    async def close(self) -> None:
        """Close this event loop's connections; what waits for an answer fails. A later call opens new ones."""
        batcher = self._batchers.pop(asyncio.get_running_loop(), None)
        if batcher is not None:
            await batcher.close()

    async def __aenter__(self) -> AsyncRewardClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _another(self, answered: Any, asked: Any) -> NotAssayError:
        return NotAssayError(f"{self.url} answered with the verdict of {answered!r} for the item {asked!r}", 200)

    def _batcher(self) -> Batcher:
        loop = asyncio.get_running_loop()
        batcher = self._batchers.get(loop)
        if batcher is None:
            from trainer_client.transport import Transport

            for ended in [known for known in list(self._batchers) if known.is_closed()]:
                if (batcher := self._batchers.pop(ended, None)) is not None:  # another thread may see to it too
                    batcher.transport.detach()
            transport = Transport(self.url, self._api_key, self.max_in_flight)
            batcher = self._batchers[loop] = Batcher(transport, self.max_in_flight, self.unscored_tries)
        return batcher

    def _lane(self, verifier: Verifier, options: ScoreOptions) -> Lane:
        named = verifier if isinstance(verifier, str) else None
        lane = lane_of(
            named,
            options.get("run"),
            options.get("step"),
            options.get("cache", True),
            options.get("detail", "brief"),
            self._seconds(options),
            options.get("idempotency_key"),
        )
        return lane if named is not None else lane._replace(verifier=json_field(verifier, "/verifier"))

    def _seconds(self, options: CallOptions) -> float:
        seconds = options.get("deadline_s")
        return self.deadline_s if seconds is None else _positive(seconds)

    async def _all(
        self,
        path: str,
        bodies: Iterable[tuple[str, int]],
        read: Callable[[Any, int], list[T]],
        options: CallOptions,
    ) -> list[T]:
        """The answers to requests of so many entries each, made at the same time, as one list."""
        seconds, key = self._seconds(options), options.get("idempotency_key")

        def one(body: str, count: int) -> Coroutine[Any, Any, list[T]]:
            return self._post("POST", path, body.encode("ascii"), lambda answer: read(answer, count), seconds, key)

        return [entry for part in await asyncio.gather(*(one(*body) for body in bodies)) for entry in part]

    async def _post(
        self,
        method: str,
        path: str,
        body: bytes | None,
        read: Callable[[Any], T],
        seconds: float,
        idempotency_key: str | None,
        params: Mapping[str, str] | None = None,
    ) -> T:
        key = content_key(body or b"", idempotency_key) if method == "POST" else None
        return await self._batcher().transport.call(
            method, path, body, read, deadline=time.monotonic() + seconds, params=params, idempotency_key=key
        )


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no URL of a service; it looks like http://host:8000")
    return url.rstrip("/")


def _positive(seconds: float) -> float:
    if not 0 < seconds < float("inf"):
        raise ValueError(f"deadline_s must be a number of seconds above 0, not {seconds}")
    return seconds


def _forget(batchers: dict[asyncio.AbstractEventLoop, Batcher]) -> None:
    """Let go of the connections of a client that nobody has any more, whose event loops may have ended."""
    for batcher in batchers.values():
        batcher.transport.detach()


def _required(verdicts: list[Verdict], options: ScoreOptions) -> list[Verdict]:
    if options.get("on_error", "null") == "fail":
        missing = [verdict for verdict in verdicts if verdict.outcome == "unscored"]
        if missing:
            error = missing[0].error
            why = f"{error.type}: {error.message}" if error else "no reason given"
            raise ItemsUnscoredError(
                f"{len(missing)} of {len(verdicts)} items are unscored; the first: {why}", verdicts
            )
    return verdicts

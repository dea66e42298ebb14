"""Items of concurrent calls, merged into requests to /score.

A lone item is sent at once; while requests are in flight up to their bound, what comes queues up and leaves in
larger requests. So the size of requests follows the load, and no call waits for company.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import secrets
import time
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from trainer_client.calls import MAX_CHARS
from trainer_client.deadlines import Deadlines
from trainer_client.encoding import json_field
from trainer_client.errors import DeadlineError, InvalidRequestError, closed
from trainer_client.results import Verdict, bad_item, read_verdicts

if TYPE_CHECKING:
    from trainer_client.transport import Transport

MAX_ITEMS = 512
UNREADABLE = ("invalid-json", "body-too-large")
"""Problems that a single item causes for its whole request."""
VERIFYING_SHARE = 0.8
"""Of the time that is left, what the service may spend on verifying; the rest is for recording and the way back."""
MAX_DEADLINE_MS = 600_000
UNSCORED_PAUSE_S = 0.5
GRACE_S = 0.25
"""After its deadline a call that is in flight is left so long to end by itself: its request knows what went wrong."""


class Lane(NamedTuple):
    """What items must have in common to share a request. The first three are JSON text: members of the body."""

    verifier: str
    options: str
    rest: str
    deadline_s: float
    idempotency_key: str | None


@lru_cache(maxsize=256, typed=True)
def lane_of(
    verifier: str | None,
    run: str | None,
    step: int | None,
    cache: bool,
    detail: str,
    deadline_s: float,
    idempotency_key: str | None,
) -> Lane:
    """What the requests of a call have in common; cached, since a trainer says the same for thousands of calls."""
    return Lane(
        json_field(verifier, "/verifier"),
        f'"cache":{json_field(cache, "/options/cache")},"detail":{json_field(detail, "/options/detail")}',
        f'"run":{json_field(run, "/run")},"step":{json_field(step, "/step")}',
        deadline_s,
        idempotency_key,
    )


class _Call:
    """One call of `submit` and what it waits for."""

    __slots__ = ("deadline", "done", "left", "verdicts")

    def __init__(self, done: asyncio.Future[None], size: int, deadline: float) -> None:
        self.done = done
        self.verdicts: list[Verdict | None] = [None] * size
        self.left = size
        self.deadline = deadline

    def settle(self, at: int, verdict: Verdict) -> None:
        if self.done.done():  # it may have ended with the verdicts that it had, while some were sent anew
            return
        self.verdicts[at] = verdict
        self.left -= 1
        if self.left == 0:
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(copy.copy(error))  # each call raises, and grows a traceback on, its own

    def expire(self) -> None:
        if self.done.done():
            return
        self.end(
            DeadlineError(
                f"{self.verdicts.count(None)} of {len(self.verdicts)} items had no verdict in time; "
                "raise deadline_s, or send less at once"
            )
        )

    def end(self, error: Exception) -> None:
        """Wait no longer. Where no verdict is missing, some are being sent anew, and the verdict they had stands."""
        if self.verdicts.count(None):
            self.fail(error)
        elif not self.done.done():
            self.done.set_result(None)


class _Entry(NamedTuple):
    """An item on its way: its JSON text, and its place in a call. `tries` counts from 1."""

    text: str
    call: _Call
    at: int
    tries: int

    def fail(self, error: Exception) -> None:
        """The call fails; but an item that was sent anew keeps the verdict that it had."""
        if self.call.done.done():
            return
        verdict = self.call.verdicts[self.at]
        if verdict is None:
            self.call.fail(error)
        else:
            self.call.settle(self.at, verdict)


class Batcher:
    """Merges what is submitted on one event loop; at most `limit` requests are in flight.

    An item whose verdict says that trying again may help is sent up to `unscored_tries` times.
    """

    def __init__(self, transport: Transport, limit: int, unscored_tries: int) -> None:
        self.transport = transport
        self._limit = limit
        self._unscored_tries = unscored_tries
        self._queues: dict[Lane, deque[_Entry]] = {}
        self._in_flight: set[asyncio.Task[None]] = set()
        self._due = False
        self._deadlines: Deadlines[_Call] = Deadlines()
        self._loop = asyncio.get_running_loop()

    async def submit(self, lane: Lane, items: Sequence[str | Verdict]) -> list[Verdict]:
        """The verdicts of items, in their order; one that is a verdict already is its own. Raises `AssayError`."""
        loop = self._loop
        call = _Call(loop.create_future(), len(items), time.monotonic() + lane.deadline_s)
        queue = self._queues.get(lane)
        if queue is None:
            queue = self._queues[lane] = deque()
        for at, item in enumerate(items):
            if isinstance(item, str):
                queue.append(_Entry(item, call, at, 1))
            else:
                call.settle(at, item)
        self._wake()
        self._deadlines.watch(call, call.deadline + GRACE_S)
        await call.done
        verdicts, call.verdicts = call.verdicts, []
        return verdicts  # type: ignore[return-value]  # none is missing now

    async def close(self) -> None:
        """End what is in flight and close the connections; calls that wait fail."""
        self._queues.clear()
        for call in self._deadlines.stop():
            call.end(closed())
        for task in list(self._in_flight):
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)
        await self.transport.close()

    def _wake(self) -> None:
        """Form requests once everything that is ready to run now has run, and has submitted what it has."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._due = False
        while self._queues and len(self._in_flight) < self._limit:
            lane, queue = next(iter(self._queues.items()))
            del self._queues[lane]
            batch = _take(queue)
            if queue:
                self._queues[lane] = queue  # at the end: lanes take turns
            if batch:
                task = self._loop.create_task(self._send(lane, batch))
                self._in_flight.add(task)
                task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._wake()

    async def _send(self, lane: Lane, batch: Sequence[_Entry]) -> None:
        try:
            verdicts = await self._verdicts(lane, batch)
        except asyncio.CancelledError:
            _fail(batch, closed())
            raise
        except InvalidRequestError as error:
            if error.problem in UNREADABLE:
                await self._narrow_down(lane, batch, error)
            else:
                _fail(batch, error)
        except Exception as error:  # whatever it is, whoever waits must hear of it
            _fail(batch, error)
        else:
            for entry, verdict in zip(batch, verdicts, strict=True):
                if not self._again(lane, entry, verdict):
                    entry.call.settle(entry.at, verdict)

    async def _narrow_down(self, lane: Lane, batch: Sequence[_Entry], error: InvalidRequestError) -> None:
        """Keep an item that makes a whole request unreadable from its neighbours."""
        if len(batch) == 1:
            batch[0].call.settle(batch[0].at, bad_item(None, str(error)))
            return
        half = len(batch) // 2
        await self._send(lane, batch[:half])
        await self._send(lane, batch[half:])

    async def _verdicts(self, lane: Lane, batch: Sequence[_Entry]) -> list[Verdict]:
        # A repetition under the caller's own key has to be the same body: nothing in it may depend on the moment.
        left = lane.deadline_s if lane.idempotency_key else batch[0].call.deadline - time.monotonic()
        body = _body(lane, [entry.text for entry in batch], left)
        return await self.transport.call(
            "POST",
            "/score",
            body,
            lambda answer: read_verdicts(answer, len(batch)),
            deadline=max(entry.call.deadline for entry in batch),
            idempotency_key=content_key(body, lane.idempotency_key, batch[0].tries),
        )

    def _again(self, lane: Lane, entry: _Entry, verdict: Verdict) -> bool:
        """Queue an item once more, after a pause, where its verdict says that this may help and there is time."""
        if verdict.error is None or not verdict.error.retryable or entry.tries >= self._unscored_tries:
            return False
        pause = UNSCORED_PAUSE_S * entry.tries
        if time.monotonic() + 2 * pause > entry.call.deadline or entry.call.done.done():
            return False
        entry.call.verdicts[entry.at] = verdict
        self._loop.call_later(pause, self._requeue, lane, entry._replace(tries=entry.tries + 1))
        return True

    def _requeue(self, lane: Lane, entry: _Entry) -> None:
        self._queues.setdefault(lane, deque()).append(entry)
        self._wake()


def _take(queue: deque[_Entry]) -> list[_Entry]:
    """The next request's items: those whose call still has time, up to the bounds.

    One whose time is up would give its neighbours none, since the first one's is the request's.
    """
    batch: list[_Entry] = []
    chars, now = 0, time.monotonic()
    while queue and len(batch) < MAX_ITEMS:
        chars += len(queue[0].text)
        if batch and chars > MAX_CHARS:
            break
        entry = queue.popleft()
        if not entry.call.done.done() and entry.call.deadline > now:
            batch.append(entry)
    return batch


def _fail(batch: Sequence[_Entry], error: Exception) -> None:
    for entry in batch:
        entry.fail(error)


def _body(lane: Lane, items: Sequence[str], seconds: float) -> bytes:
    milliseconds = min(MAX_DEADLINE_MS, max(1, int(1000 * VERIFYING_SHARE * seconds)))
    return (
        f'{{"verifier":{lane.verifier},"items":[{",".join(items)}],'
        f'"options":{{"deadline_ms":{milliseconds},{lane.options}}},{lane.rest}}}'
    ).encode("ascii")


def content_key(body: bytes, callers: str | None = None, tries: int = 1) -> str:
    """The `Idempotency-Key` of a request: a hash of its body, and of what makes the call the same as another.

    That is the caller's own key, so that the same call made again after a crash is answered from the record; or
    else a number made for this request alone, so that a group's equal completions, and the same completion in two
    steps, are scores of their own, while a retry is the same request. `tries` tells an item that is sent anew,
    because it was unscored, from the request that said so.
    """
    sameness = secrets.token_bytes(16) if callers is None else f"{callers}\n{tries}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(body + b"\n" + sameness).hexdigest()

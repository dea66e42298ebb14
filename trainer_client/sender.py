"""The thread that carries a run's events from its spool to the service, however long the service is away.

Events go in the order in which they were spooled. Sending one twice changes nothing: rows are upserts, and a batch
that is sent again carries the same `Idempotency-Key`. What the service will never take is put aside in a file, event
by event, so that it holds up nothing behind it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from trainer_client.errors import AssayError, InvalidRequestError, NotFoundError
from trainer_client.spool import Batch, Spool
from trainer_client.training_errors import TrackingError

BATCH_EVENTS = 1024
FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 15.0
"""Bounds of the pause after a failure."""

_random = random.SystemRandom()


class Service(Protocol):
    """What is needed of `RewardClient`."""

    def request(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        idempotency_key: str | None = None,
        deadline_s: float | None = None,
    ) -> Any:
        """The JSON answer. Raises `AssayError`."""


class Sender:
    """Sends until it is closed. `warn` is told once when sending fails, and once when it works again."""

    def __init__(
        self,
        spool: Spool,
        service: Service,
        run: dict[str, Any],
        *,
        warn: Callable[[str], None],
        request_s: float = 30.0,
        last_pause_s: float = LAST_PAUSE_S,
    ) -> None:
        """`run` is the body of POST /runs; `request_s` the deadline of one request."""
        self._spool = spool
        self._service = service
        self._run = run
        self._warn = warn
        self._request_s = request_s
        self._last_pause_s = last_pause_s
        self._id: str | None = None
        self._attempt: int | None = None
        self._failing = False
        self._superseded = False
        self._halves: list[Batch] = []
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="assay-tracking", daemon=True)

    def create_run(self) -> dict[str, Any]:
        """The run as the service has it, made where it has none of the name. Raises `AssayError`."""
        answer: dict[str, Any] = self._service.request("POST", "/runs", self._run, deadline_s=self._request_s)
        self._id = str(answer["id"])
        return answer

    def start(self, attempt: int | None = None) -> None:
        """Begin to send; `attempt` is the one that logs now, None where no process does."""
        self._attempt = attempt
        self._thread.start()

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def close(self, wait_s: float) -> int:
        """Send what there is, for at most `wait_s`; the number of events that remain in the spool."""
        self._closing = True
        self._wake.set()
        self._thread.join(wait_s)
        return len(self._spool)

    def _work(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            self._wake.clear()
            try:
                batch = self._next()
            except (OSError, TrackingError) as error:
                self._warn(f"tracking stops until the next start: the spool cannot be read: {error}")
                return
            if batch is None:
                if self._closing:
                    return
                self._wake.wait()
                continue
            try:
                self._send(batch)
            except (AssayError, OSError) as error:  # the service is away, or the disk does not take what it refuses
                self._say_failing(error)
                time.sleep(_random.uniform(pause / 2, pause))  # neither new events nor closing make it try sooner
                pause = min(2 * pause, self._last_pause_s)
                continue
            if self._failing:
                self._failing = False
                self._warn(f"tracking goes on; {len(self._spool)} events are to be sent")
            pause = FIRST_PAUSE_S

    def _next(self) -> Batch | None:
        return self._halves[0] if self._halves else self._spool.peek(BATCH_EVENTS)

    def _send(self, batch: Batch) -> None:
        """Send a batch, or of one that is refused its first half next. Raises `AssayError` for any other failure."""
        try:
            self._post(batch)
        except InvalidRequestError as error:
            if len(batch.events) > 1:
                self._halves[:1] = batch.split()
                return
            path = self._spool.set_aside(batch, str(error))
            self._warn(
                f"the service refuses an event of step {batch.events[0].get('step')}: {error}; it is in {path}"
            )
        else:
            self._spool.acknowledge(batch)
        del self._halves[:1]

    def _post(self, batch: Batch) -> None:
        for first in (True, False):
            run = self._id or self.create_run()["id"]
            try:
                answer = self._service.request(
                    "POST",
                    f"/runs/{run}/events",
                    {"events": batch.events},
                    idempotency_key=f"events-{batch.id}",
                    deadline_s=self._request_s,
                )
            except NotFoundError:  # another database than the one that the run was made in
                self._id = None
                if not first:
                    raise
            else:
                self._say_superseded(batch, answer)
                return

    def _say_superseded(self, batch: Batch, answer: Mapping[str, Any]) -> None:
        """Warn once where rows of the attempt that logs now are left out, as only another process can cause."""
        earlier = sum(event["attempt"] != self._attempt for event in batch.events)
        if not self._superseded and self._attempt is not None and answer.get("stale", 0) > earlier:
            self._superseded = True
            self._warn(
                "another process has taken up this run since: part of what is logged here is left out; "
                "stop one of the two, or give it a run of its own"
            )

    def _say_failing(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            self._warn(f"tracking waits, {len(self._spool)} events are on disk: {error}")

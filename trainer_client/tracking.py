"""What a run leaves behind: metrics, samples, alarms and status, in the service's `/runs` and in the run's folder.

An event is on disk when a call returns and reaches the service later, by a thread of its own: a service that is away
costs the run nothing, and what it missed is sent when it is back, or at the run's next start. Rows are upserts on
(run, step, sample) and carry an attempt, which rises at every start: what an earlier attempt said of steps that are
done again does not count.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from trainer_client.alarms import Alarm
from trainer_client.errors import AssayError, RefusedError
from trainer_client.record import Record, finite
from trainer_client.sender import Sender, Service
from trainer_client.spool import Spool
from trainer_client.training_errors import TrackingError

Status = Literal["running", "finished", "failed", "paused"]

SPOOL, RECORD, RUN = "spool", "metrics.jsonl", "run.json"
"""What is in a run's folder."""
MESSAGE = 10_000
"""Characters that the service takes of a message."""


class Tracker(AbstractContextManager["Tracker"]):
    """The record of one attempt at a run, for one thread of one process."""

    def __init__(
        self,
        folder: Path,
        run: str,
        config: Mapping[str, Any],
        service: Service | None,
        *,
        step: int = 0,
        attempt: int = 0,
        metadata: Mapping[str, Any] | None = None,
        warn: Callable[[str], None] | None = None,
        request_s: float = 30.0,
    ) -> None:
        """Go on with `run` after `step`, 0 for a new run; `attempt` is the last one that a checkpoint tells of.
        `request_s` is the deadline of one request.

        `service` None keeps the record in the folder alone. Raises `TrackingError` where the folder cannot be used or
        the service refuses the run, and, for a run that the folder does not know, where the service is away.
        """
        self._warn = warn or to_stderr
        self._folder = folder
        self.run = run
        self._sender: Sender | None = None
        body = {"name": run, "config": dict(config), "metadata": dict(metadata or {})}
        with ExitStack() as files:
            self._spool = None if service is None else files.enter_context(closing(Spool(folder / SPOOL)))
            self._record = files.enter_context(closing(Record(folder / RECORD)))
            self.attempt = self._begin(body, service, attempt, request_s)
            self._files = files.pop_all()
        if self.attempt > 1:
            self._add([{"type": "resume", "step": step}])
        self.status("running")
        if self._sender is not None:
            self._sender.start(self.attempt)

    def _begin(self, body: dict[str, Any], service: Service | None, attempt: int, request_s: float) -> int:
        """The number of this attempt, above every earlier one's; on disk before anything carries it."""
        stored = read_run(self._folder)
        if stored is not None and stored["name"] != self.run:
            raise TrackingError(
                f"{self._folder} has the record of the run {stored['name']!r}: give {self.run!r} a folder of its own"
            )
        known = max(attempt, 0 if stored is None else int(stored["attempt"]))
        if service is not None and self._spool is not None:
            self._sender = Sender(self._spool, service, body, warn=self._warn, request_s=request_s)
            known = max(known, _recorded_attempt(self._sender, self.run, self._warn, wait=stored is None))
        _write(self._folder / RUN, {**body, "attempt": known + 1})
        return known + 1

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """The numbers of a step: what float() takes, tensors of one element too; None and NaN are recorded as null.

        Raises `TypeError` or `ValueError` for what is no number.
        """
        if not values:
            return
        numbers = {name: None if value is None else finite(value) for name, value in values.items()}
        self._add([{"type": "metrics", "step": step, "values": numbers, "time": _now()}])

    def samples(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """The completions of a step, numbered in their order.

        Rows hold `prompt`, `completion`, `score_id`, `reward`, `advantage`, `tokens`, `finish_reason`, `metadata`,
        any of which may be absent. Only the service keeps samples, and texts with the verdict where there is one.
        """
        if self._spool is None:
            return
        events = []
        for number, row in enumerate(rows):
            known = ("prompt", "completion") if row.get("score_id") is not None else ()
            event = {"type": "sample", "step": step, "sample": number, **row}
            for name in known:
                event.pop(name, None)
            for name in ("reward", "advantage"):
                if event.get(name) is not None:
                    event[name] = finite(event[name])
            events.append(event)
        self._add(events)

    def alarm(self, alarm: Alarm) -> None:
        """An alarm that was raised, which the person hears of too."""
        self._warn(f"alarm {alarm.name} at step {alarm.step}: {alarm.message}")
        values = {name: finite(value) for name, value in alarm.values.items()}
        self._add(
            [{"type": "alarm", "step": alarm.step, "name": alarm.name, "message": alarm.message, "values": values}]
        )

    def status(self, status: Status, message: str | None = None) -> None:
        """What becomes of the run."""
        self._add([{"type": "status", "status": status, "message": message}])

    def close(self, wait_s: float = 60.0) -> int:
        """Send what is left, for at most `wait_s`; how many events remain on disk, for the next start to send."""
        left = 0 if self._sender is None else self._sender.close(wait_s)
        if left:
            self._warn(f"{left} events were not sent; 'assay-train send {self._folder}' sends them later")
        self._files.close()
        return left

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, KeyboardInterrupt):
                self.status("paused", "interrupted")
            elif error is not None:
                self.status("failed", (str(error) or type(error).__name__)[:MESSAGE])
        except TrackingError as trouble:  # a full disk, which is perhaps what the run ended by
            self._warn(f"the record does not say how the run ended: {trouble}")
        self.close(wait_s=5.0 if isinstance(error, KeyboardInterrupt) else 60.0)  # who interrupts wants an end

    def _add(self, events: list[dict[str, Any]]) -> None:
        events = [{**event, "attempt": self.attempt} for event in events]
        self._record.write(events)
        if self._spool is not None:
            self._spool.append(events)
        if self._sender is not None:
            self._sender.wake()


def send_rest(folder: Path, service: Service, wait_s: float, warn: Callable[[str], None]) -> int:
    """Send what a run that has ended left in its spool; how many events remain. Raises `TrackingError`."""
    stored = read_run(folder)
    if stored is None:
        raise TrackingError(f"{folder} has no record of a run: name the folder of one")
    spool = Spool(folder / SPOOL)
    try:
        sender = Sender(spool, service, {name: stored[name] for name in ("name", "config", "metadata")}, warn=warn)
        sender.start()
        return sender.close(wait_s)
    finally:
        spool.close()


def read_run(folder: Path) -> dict[str, Any] | None:
    """The run that a folder has the record of: `name`, `config`, `metadata`, `attempt`. Raises `TrackingError`."""
    path = folder / RUN
    try:
        stored = json.loads(path.read_bytes())
        return {"name": str(stored["name"]), **stored}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrackingError(f"{path} cannot be read ({error}): move it away to begin the run anew") from error


def _recorded_attempt(sender: Sender, run: str, warn: Callable[[str], None], *, wait: bool) -> int:
    """The highest attempt that the service knows of; 0 where it has none, or is away and need not be waited for."""
    try:
        found = sender.create_run()
        return 0 if found["last_step"] is None else int(found["attempt"])  # a new run's attempt is 1 already
    except RefusedError as error:
        if not error.retried and error.status != 500:
            raise TrackingError(f"the service does not record the run {run!r}: {error}") from error
        trouble: AssayError = error
    except AssayError as error:
        trouble = error
    if wait:
        raise TrackingError(f"the run {run!r} cannot begin: {trouble}") from trouble
    warn(f"the service is away; the record is kept on disk until it is back: {trouble}")
    return 0


def _write(path: Path, value: Any) -> None:
    """A JSON file that is either the old or the new one, whenever the process ends. Raises `TrackingError`."""
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("wb") as out:
            out.write(json.dumps(value, indent=1).encode())
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    except OSError as error:
        raise TrackingError(f"{path} cannot be written: {error.strerror or error}") from error


def _now() -> str:
    return datetime.now(UTC).isoformat()


def to_stderr(message: str) -> None:
    """A line for the person at the terminal."""
    sys.stderr.write(f"assay-train: {message}\n")

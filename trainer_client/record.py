"""The run's own record of its metrics: JSON lines in its folder, there with and without a service.

It holds what a curve is drawn from (metrics, alarms, status), not the samples. A resumed run writes on into the same
file; what an earlier attempt wrote about steps that were done again does not count.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_client.training_errors import TrackingError

KEPT = frozenset({"metrics", "alarm", "status", "resume"})
"""The types of events that are written."""


@dataclass(slots=True)
class History:
    """What is known of a run's course: curves by metric and step, and its alarms."""

    run: str
    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    alarms: list[tuple[int, str]] = field(default_factory=list)

    def take(self, event: Mapping[str, Any]) -> None:
        """Add what an event says; of two values for a step the later one counts."""
        step = event.get("step")
        if event["type"] == "metrics":
            for name, value in event["values"].items():
                if value is not None:
                    self.curves.setdefault(name, {})[int(event["step"])] = float(value)
        elif event["type"] == "alarm":
            self.alarms.append((int(event["step"]), str(event["name"])))
        elif event["type"] == "resume" and step is not None:
            self.alarms = [alarm for alarm in self.alarms if alarm[0] <= step]
            self.curves = {
                name: kept
                for name, curve in self.curves.items()
                if (kept := {at: value for at, value in curve.items() if at <= step})
            }


class Record:
    """The file, for the one process that writes it. Raises `TrackingError` where another one has it open."""

    def __init__(self, path: Path) -> None:
        """Opens it, and makes its folder. Raises `TrackingError`."""
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            torn = not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
        except BlockingIOError:
            self._file.close()
            raise TrackingError(
                f"{path.parent} is in use by another process: wait for its end, or give this run a folder of its own"
            ) from None
        except OSError as error:
            raise self._unwritable(error) from error
        if torn:
            self._add(b"\n")  # the line that a crash tore ends here, and is skipped by readers

    def write(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Add those of the events that a curve is drawn from, all or none. Raises `TrackingError`."""
        kept = [event for event in events if event["type"] in KEPT]
        lines = [json.dumps(event, allow_nan=False, separators=(",", ":")) + "\n" for event in kept]
        self._add("".join(lines).encode())

    def _add(self, content: bytes) -> None:
        """Write it, and take away again what a full disk let in of it."""
        size = self._file.seek(0, os.SEEK_END)
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._file.truncate(size)
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> TrackingError:
        return TrackingError(f"{self._path} cannot be written: {error.strerror or error}")

    def close(self) -> None:
        self._file.close()


def read(path: Path, run: str) -> History:
    """The history in a run's file. Raises `TrackingError` where there is none."""
    history = History(run)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise TrackingError(f"{path}: no record of a run: {error.strerror or error}") from error
    for line in lines:
        event = _event(line)
        if event is not None:
            history.take(event)
    return history


def finite(value: object) -> float | None:
    """A metric as a number; None for NaN and infinity, which JSON has no word for.

    Raises `TypeError` or `ValueError` for what is no number; a tensor or array of one element is one.
    """
    number = float(value)  # type: ignore[arg-type]  # whatever has __float__
    return number if math.isfinite(number) else None


def _event(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None for one that a crash tore."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "type" in event else None

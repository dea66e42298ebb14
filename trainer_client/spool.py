"""A queue of events on disk: what `append` returned for survives a killed process and a lost machine.

A folder of segments, each a file of JSON lines that is only ever appended to, and a cursor that says how far the
reader has come. Segments that were read are deleted. A process never goes on writing into the segment of another, so
that a line which a crash tore is the last one of its file: it was never acknowledged to the writer, and is skipped.
The reader may see an event again after a crash, never lose one.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

from trainer_client.training_errors import TrackingError

SEGMENT_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Batch:
    """Events in the order of `append`, and their place. `id` is the same whenever the same place is read."""

    id: str
    events: list[dict[str, Any]]
    segment: int
    start: int
    ends: list[int]

    def split(self) -> tuple[Batch, Batch]:
        """The first and the second half; raises `ValueError` for a single event."""
        half = len(self.events) // 2
        if not half:
            raise ValueError("a batch of one event cannot be split")
        middle = self.ends[half - 1]
        name = self.id.rsplit("-", 2)[0]
        first = Batch(f"{name}-{self.start}-{middle}", self.events[:half], self.segment, self.start, self.ends[:half])
        rest = Batch(f"{name}-{middle}-{self.ends[-1]}", self.events[half:], self.segment, middle, self.ends[half:])
        return first, rest


class Spool:
    """One writing and one reading thread. Raises `TrackingError` where another process has the folder open."""

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._owner = self._own(folder / "lock")
            self._name = self._named(folder / "id")
            self._segment, self._offset = self._cursor()
            numbers = self._segments()
            self._writing = max([self._segment, *numbers])  # the next append begins a file after all of these
            self._pending = sum(self._count(number) for number in numbers)
        except OSError as error:
            raise TrackingError(f"{folder} cannot hold the events of a run: {error.strerror or error}") from error
        self._file: FileIO | None = None
        self._size = 0
        self.damaged = 0
        self._closed = False

    def __len__(self) -> int:
        """How many events have not been acknowledged."""
        with self._lock:
            return self._pending

    def append(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Add events: on disk, not merely written, when this returns.

        Raises `TrackingError` where the disk refuses them, and adds none of them then; `ValueError` for NaN.
        """
        lines = [_line(event) for event in events]
        if not lines:
            return
        with self._lock:
            try:
                self._write(b"".join(lines))
            except OSError as error:
                raise TrackingError(
                    f"{self._folder} took no more events: {error.strerror or error}; "
                    "free space there, or set output to a folder on another disk"
                ) from error
            self._pending += len(lines)

    def peek(self, limit: int = 1024, max_bytes: int = 4 << 20) -> Batch | None:
        """The oldest events that were not acknowledged, up to both bounds but at least one; None: there are none."""
        with self._lock:
            while not self._closed:
                batch, at_end = self._read(limit, max_bytes)
                if batch is not None:
                    return batch
                if not at_end or (self._segment == self._writing and self._file is not None):
                    return None
                following = [number for number in self._segments() if number > self._segment]
                self._path(self._segment).unlink(missing_ok=True)
                if not following:
                    return None
                self._move(min(following), 0)
            return None

    def acknowledge(self, batch: Batch) -> None:
        """The events of this batch, the oldest that there are, need not be kept any more."""
        with self._lock:
            if self._closed:  # it is another process's now, which sends them again
                return
            if (batch.segment, batch.start) != (self._segment, self._offset):
                raise ValueError("only the oldest events can be acknowledged")
            self._move(batch.segment, batch.ends[-1])
            self._pending -= len(batch.events)

    def set_aside(self, batch: Batch, reason: str) -> Path:
        """Acknowledge a batch that will never be accepted, and keep its events in a file of their own."""
        path = self._folder / "refused.jsonl"
        with path.open("ab") as out:
            out.writelines(_line({"reason": reason, "event": event}) for event in batch.events)
            out.flush()
            os.fsync(out.fileno())
        self.acknowledge(batch)
        return path

    def close(self) -> None:
        """Let another process have the folder: from now on there is nothing to send here."""
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()
                self._file = None
            self._owner.close()

    def _read(self, limit: int, max_bytes: int) -> tuple[Batch | None, bool]:
        """A batch of the current segment, and whether the segment has no more whole lines."""
        try:
            with self._path(self._segment).open("rb") as file:
                file.seek(self._offset)
                events: list[dict[str, Any]] = []
                ends: list[int] = []
                start = position = self._offset
                while len(events) < limit and position - start < max_bytes:
                    line = file.readline()
                    if not line.endswith(b"\n"):
                        break
                    position += len(line)
                    event = _event(line)
                    if event is None:
                        self.damaged += 1
                        self._pending -= 1
                    else:
                        events.append(event)
                        ends.append(position)
                if not events:
                    self._offset = position
                    return None, True
        except FileNotFoundError:
            return None, True
        return Batch(f"{self._name}-{self._segment}-{start}-{ends[-1]}", events, self._segment, start, ends), False

    def _write(self, data: bytes) -> None:
        """Add bytes to the segment, and take away again what a full disk let in of them."""
        if self._file is None or self._size >= self._segment_bytes:
            self._file = self._next_segment()
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(self._size)
            self._file.seek(self._size)
            raise
        self._size += len(data)

    def _next_segment(self) -> FileIO:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._writing += 1
        self._size = 0
        file = FileIO(self._path(self._writing), "x")
        _sync_folder(self._folder)
        return file

    def _move(self, segment: int, offset: int) -> None:
        """The cursor is not synced, and may not be written at all where the disk is full.

        An old one only means that the next process reads events again.
        """
        self._segment, self._offset = segment, offset
        temporary = self._folder / "cursor.new"
        with suppress(OSError):
            temporary.write_text(json.dumps({"segment": segment, "offset": offset}))
            temporary.replace(self._folder / "cursor")

    def _cursor(self) -> tuple[int, int]:
        try:
            cursor = json.loads((self._folder / "cursor").read_bytes())
            return int(cursor["segment"]), int(cursor["offset"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return min(self._segments(), default=0), 0

    def _count(self, number: int) -> int:
        with self._path(number).open("rb") as file:
            if number < self._segment:
                return 0
            file.seek(self._offset if number == self._segment else 0)
            return sum(line.endswith(b"\n") for line in file)

    def _segments(self) -> list[int]:
        return sorted(int(path.stem) for path in self._folder.glob("*.jsonl") if path.stem.isdigit())

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08}.jsonl"

    @staticmethod
    def _own(path: Path) -> BinaryIO:
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise TrackingError(
                f"{path.parent} is in use by another process: wait for its end, or give this run a folder of its own"
            ) from None
        return file

    @staticmethod
    def _named(path: Path) -> str:
        """A name that no other spool has."""
        if not path.exists() or not path.read_text().strip():
            path.write_text(uuid.uuid4().hex)
        return path.read_text().strip()


def _line(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _event(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None for what a damaged disk left of one."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

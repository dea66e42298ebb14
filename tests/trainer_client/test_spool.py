"""What the spool took is on disk and comes out once, in order, whatever ends the process."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.service import ROOT
from trainer_client.spool import Spool
from trainer_client.training_errors import TrackingError


def events(*numbers: int) -> list[dict[str, Any]]:
    return [{"number": number} for number in numbers]


def drain(spool: Spool, limit: int = 1024) -> list[int]:
    """The numbers of all events, acknowledged."""
    found = []
    while (batch := spool.peek(limit)) is not None:
        found += [event["number"] for event in batch.events]
        spool.acknowledge(batch)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def test_events_come_out_in_the_order_in_which_they_went_in(folder: Path) -> None:
    spool = Spool(folder)
    spool.append(events(1, 2))
    spool.append(events(3))
    assert len(spool) == 3
    assert drain(spool, limit=2) == [1, 2, 3]
    assert len(spool) == 0
    spool.close()


def test_what_was_not_acknowledged_is_read_again_by_the_next_process_and_the_rest_is_not(folder: Path) -> None:
    spool = Spool(folder)
    spool.append(events(*range(10)))
    batch = spool.peek(4)
    assert batch is not None
    spool.acknowledge(batch)
    again = spool.peek(3)
    spool.close()
    reopened = Spool(folder)
    assert len(reopened) == 6
    assert reopened.peek(3) == again, "the same place has the same id"
    reopened.append(events(10))
    assert drain(reopened) == [4, 5, 6, 7, 8, 9, 10]
    reopened.close()


def test_segments_that_were_read_are_deleted(folder: Path) -> None:
    spool = Spool(folder, segment_bytes=100)
    for number in range(100):
        spool.append(events(number))
    assert len(list(folder.glob("0*.jsonl"))) > 10
    assert drain(spool) == list(range(100))
    assert len(list(folder.glob("0*.jsonl"))) == 1
    spool.close()


def test_a_torn_last_line_is_skipped_and_its_neighbours_are_kept(folder: Path) -> None:
    spool = Spool(folder)
    spool.append(events(1, 2))
    spool.close()
    [segment] = folder.glob("0*.jsonl")
    with segment.open("ab") as file:
        file.write(b'{"number":3,"tex')
    reopened = Spool(folder)
    assert len(reopened) == 2
    reopened.append(events(4))
    assert drain(reopened) == [1, 2, 4]
    reopened.close()


def test_a_line_that_a_disk_damaged_is_counted_and_its_neighbours_are_kept(folder: Path) -> None:
    spool = Spool(folder)
    spool.append(events(1, 2, 3))
    spool.close()
    [segment] = folder.glob("0*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'{"number":2}', b"\0" * 12))
    reopened = Spool(folder)
    assert drain(reopened) == [1, 3]
    assert (reopened.damaged, len(reopened)) == (1, 0)
    reopened.close()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"segment": "x"}', b"\xff\xff"])
def test_a_cursor_that_cannot_be_read_means_that_events_come_again(folder: Path, damage: bytes) -> None:
    spool = Spool(folder)
    spool.append(events(1, 2))
    batch = spool.peek(1)
    assert batch is not None
    spool.acknowledge(batch)
    spool.close()
    (folder / "cursor").write_bytes(damage)
    reopened = Spool(folder)
    assert drain(reopened) == [1, 2]
    reopened.close()


def test_a_cursor_that_cannot_be_written_means_that_events_come_again(folder: Path) -> None:
    spool = Spool(folder, segment_bytes=1)
    spool.append(events(1))
    spool.append(events(2))
    (folder / "cursor.new").mkdir()
    assert drain(spool) == [1, 2]
    assert len(spool) == 0
    spool.append(events(3))
    spool.close()
    reopened = Spool(folder)
    assert drain(reopened)[-1] == 3
    reopened.close()


def test_two_processes_never_share_a_folder(folder: Path) -> None:
    spool = Spool(folder)
    with pytest.raises(TrackingError, match="in use by another process"):
        Spool(folder)
    spool.close()
    Spool(folder).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrackingError, match="file/spool"):
        Spool(tmp_path / "file" / "spool")


def test_a_full_disk_takes_all_events_of_a_call_or_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(folder)
    spool.append(events(1))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(TrackingError, match="No space left on device; free space there"):
            spool.append(events(2, 3))
    spool.append(events(4))
    assert drain(spool) == [1, 4]
    spool.close()


def test_a_file_that_cannot_be_begun_is_said_and_tried_again(folder: Path) -> None:
    spool = Spool(folder, segment_bytes=1)
    spool.append(events(1))
    (folder / "00000002.jsonl").mkdir()
    with pytest.raises(TrackingError, match="took no more events"):
        spool.append(events(2))
    (folder / "00000002.jsonl").rmdir()
    spool.append(events(3))
    assert drain(spool) == [1, 3]
    spool.close()


def test_numbers_that_json_has_no_word_for_are_refused_before_anything_is_written(folder: Path) -> None:
    spool = Spool(folder)
    with pytest.raises(ValueError, match="JSON"):
        spool.append([{"value": 1.0}, {"value": float("nan")}])
    assert len(spool) == 0
    assert spool.peek() is None
    spool.close()


def test_text_of_every_sort_survives(folder: Path) -> None:
    texts = ["\0", "\ud800", "\u2028", "\n", '"', "\U0001f600", "x" * 100_000]
    spool = Spool(folder)
    spool.append([{"text": text} for text in texts])
    found = []
    while (batch := spool.peek(max_bytes=10)) is not None:
        found += batch.events
        spool.acknowledge(batch)
    assert [event["text"] for event in found] == texts
    spool.close()


def test_what_is_set_aside_is_kept_with_the_reason_and_holds_up_nothing(folder: Path) -> None:
    spool = Spool(folder)
    spool.append(events(1, 2, 3))
    batch = spool.peek(2)
    assert batch is not None
    first, rest = batch.split()
    path = spool.set_aside(first, "too large")
    spool.acknowledge(rest)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"reason": "too large", "event": {"number": 1}}
    ]
    assert drain(spool) == [3]
    spool.close()


@given(st.lists(st.sampled_from(["append", "read", "reopen"]), max_size=30), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_any_order_of_writing_reading_and_reopening_loses_and_repeats_nothing(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], size: int
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder, segment_bytes=40)
    written, read = 0, []
    for step in steps:
        if step == "append":
            spool.append(events(*range(written, written + size)))
            written += size
        elif step == "read":
            batch = spool.peek(size)
            if batch is not None:
                read += [event["number"] for event in batch.events]
                spool.acknowledge(batch)
        else:
            spool.close()
            spool = Spool(folder, segment_bytes=40)
        assert len(spool) == written - len(read)
    assert read + drain(spool) == list(range(written))
    spool.close()


WRITER = """
import sys
from pathlib import Path
from trainer_client.spool import Spool

spool = Spool(Path(sys.argv[1]), segment_bytes=4000)
number = int(sys.argv[2])
while True:
    spool.append([{"number": number + at, "text": "x" * 200} for at in range(5)])
    number += 5
    print(number, flush=True)
"""


def test_kill_9_at_any_moment_loses_nothing_that_was_acknowledged_to_the_writer(folder: Path) -> None:
    """Five writers in turn are killed in the middle of their work; each goes on where the last one was told it is."""
    promised, read = 0, []
    for life in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(promised)],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert writer.stdout is not None
        lines = [int(writer.stdout.readline()) for _ in range(3 + 4 * life)]
        time.sleep(0.003 * life)
        writer.send_signal(signal.SIGKILL)
        lines += [int(line) for line in writer.stdout.read().split("\n") if line]
        writer.wait()
        writer.stdout.close()
        spool = Spool(folder)
        read += drain(spool)
        spool.close()
        promised = lines[-1]
        assert read[: len(range(promised))] == list(range(promised)), "everything that was promised is there"
        read = list(range(promised))  # what was written and not promised is written again by the next life

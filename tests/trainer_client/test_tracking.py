"""The record of a run reaches the service whole, whatever the service, the network or the process does."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.service import ROOT, Service
from tests.trainer_client.scripted_runs import Fault, ScriptedRuns
from trainer_client import RewardClient
from trainer_client.alarms import Alarm
from trainer_client.record import read
from trainer_client.spool import Spool
from trainer_client.tracking import RECORD, SPOOL, Tracker, send_rest
from trainer_client.training_errors import TrackingError

CONFIG = {"algorithm": "grpo", "seed": 7}


@pytest.fixture
def scripted() -> Iterator[ScriptedRuns]:
    server = ScriptedRuns()
    yield server
    server.leave()


@pytest.fixture
def client(scripted: ScriptedRuns) -> Iterator[RewardClient]:
    with RewardClient(scripted.url, "k" * 16, deadline_s=5) as client:
        yield client


def quiet(_: str) -> None:
    """Hears warnings, and says nothing."""


def open_tracker(folder: Path, client: RewardClient | None, run: str = "sort-1", **options: Any) -> Tracker:
    return Tracker(folder, run, CONFIG, client, warn=options.pop("warn", quiet), **options)


def fill(file: FileIO) -> FileIO:
    """The same file on a disk that takes half of a line."""

    class Full(FileIO):
        def write(self, content: Any) -> int:
            super().write(bytes(content)[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file.close()
    return Full(file.name, "ab")


def of_type(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == kind]


def test_metrics_samples_alarms_and_status_arrive_in_order(
    tmp_path: Path, scripted: ScriptedRuns, client: RewardClient
) -> None:
    tracker = open_tracker(tmp_path, client)
    tracker.metrics(1, {"loss": 0.5, "kl": np.float32(0.25)})
    tracker.samples(1, [{"completion": "a", "reward": 1.0}, {"completion": "b", "reward": None, "advantage": -0.5}])
    tracker.alarm(Alarm("kl", 1, "far away", "log", {"kl": 0.25}, 0))
    tracker.status("finished")
    assert tracker.close() == 0
    assert scripted.runs == [{"name": "sort-1", "config": CONFIG, "metadata": {}}]
    running, metrics, first, second, alarm, finished = scripted.taken
    assert running == {"type": "status", "status": "running", "message": None, "attempt": 1}
    assert (metrics["step"], metrics["values"]) == (1, {"loss": 0.5, "kl": 0.25})
    assert first == {"type": "sample", "step": 1, "sample": 0, "completion": "a", "reward": 1.0, "attempt": 1}
    assert (second["sample"], second["reward"], second["advantage"]) == (1, None, -0.5)
    assert (alarm["name"], alarm["message"], alarm["values"]) == ("kl", "far away", {"kl": 0.25})
    assert finished["status"] == "finished"


def test_the_text_of_a_sample_whose_verdict_has_it_is_not_sent_again(
    tmp_path: Path, scripted: ScriptedRuns, client: RewardClient
) -> None:
    with open_tracker(tmp_path, client) as tracker:
        tracker.samples(1, [{"prompt": "p", "completion": "c", "score_id": "an-id", "reward": 1}])
    [sample] = of_type(scripted.taken, "sample")
    assert (sample["score_id"], sample["reward"]) == ("an-id", 1.0)
    assert not {"prompt", "completion"} & sample.keys()


def test_what_is_not_finite_is_recorded_as_null_and_what_is_no_number_is_refused(
    tmp_path: Path, scripted: ScriptedRuns, client: RewardClient
) -> None:
    with open_tracker(tmp_path, client) as tracker:
        tracker.metrics(1, {"loss": math.nan, "ratio": math.inf, "kl": None, "steps": 3, "done": True})
        tracker.metrics(2, {})
        with pytest.raises(TypeError):
            tracker.metrics(3, {"loss": [1, 2]})
        with pytest.raises(ValueError, match="could not convert"):
            tracker.metrics(3, {"loss": "low"})
        tracker.samples(1, [{"completion": "a", "reward": math.nan, "advantage": math.nan}])
    [metrics] = of_type(scripted.taken, "metrics")
    assert metrics["values"] == {"loss": None, "ratio": None, "kl": None, "steps": 3, "done": 1}
    [sample] = of_type(scripted.taken, "sample")
    assert (sample["reward"], sample["advantage"]) == (None, None)


def test_a_service_that_goes_away_costs_nothing_but_waiting(
    tmp_path: Path, scripted: ScriptedRuns, client: RewardClient
) -> None:
    heard: list[str] = []
    tracker = open_tracker(tmp_path, client, warn=heard.append, request_s=0.3)
    scripted.wait_for(1)
    scripted.leave()
    for step in range(1, 51):
        tracker.metrics(step, {"loss": 1 / step})
    limit = time.monotonic() + 60
    while not heard:
        assert time.monotonic() < limit
        time.sleep(0.02)
    scripted.come_back()
    assert tracker.close() == 0
    assert [event["step"] for event in of_type(scripted.taken, "metrics")] == list(range(1, 51))
    assert "tracking waits" in heard[0]
    assert "tracking goes on" in heard[1]


@pytest.mark.parametrize("fault", list(Fault))
def test_each_event_is_taken_once_whatever_happens_to_a_request(
    fault: Fault, tmp_path: Path, scripted: ScriptedRuns, client: RewardClient
) -> None:
    scripted.faults.extend([fault, fault])
    with open_tracker(tmp_path, client, request_s=1.0) as tracker:
        for step in range(1, 11):
            tracker.metrics(step, {"loss": step})
            tracker.samples(step, [{"completion": "x"}] * 3)
    steps = [event["step"] for event in of_type(scripted.taken, "metrics")]
    assert steps == list(range(1, 11))
    assert len(of_type(scripted.taken, "sample")) == 30


def test_an_event_that_the_service_refuses_is_put_aside_and_holds_up_nothing(
    tmp_path: Path, scripted: ScriptedRuns, client: RewardClient
) -> None:
    heard: list[str] = []
    scripted.refuses = lambda event: event.get("completion") == "bad"
    with open_tracker(tmp_path, client, warn=heard.append) as tracker:
        tracker.samples(1, [{"completion": "bad" if number == 37 else "good"} for number in range(100)])
        tracker.metrics(1, {"loss": 1})
    samples = of_type(scripted.taken, "sample")
    assert [sample["sample"] for sample in samples] == [number for number in range(100) if number != 37]
    assert len(of_type(scripted.taken, "metrics")) == 1
    [line] = (tmp_path / SPOOL / "refused.jsonl").read_text().splitlines()
    assert json.loads(line)["event"]["sample"] == 37
    assert "refuses an event of step 1" in heard[0]


def test_what_could_not_be_sent_is_sent_by_the_next_start_before_anything_new(
    tmp_path: Path, scripted: ScriptedRuns, client: RewardClient
) -> None:
    others = set(threading.enumerate())
    tracker = open_tracker(tmp_path, client, request_s=0.2)
    scripted.wait_for(1)
    scripted.leave()
    tracker.metrics(1, {"loss": 1})
    tracker.metrics(2, {"loss": 2})
    assert tracker.close(wait_s=0.5) == 2
    for thread in set(threading.enumerate()) - others:
        if thread.name == "assay-tracking":
            thread.join(60)
            assert not thread.is_alive(), "what has let the folder go sends nothing of it"
    scripted.come_back()
    with open_tracker(tmp_path, client, step=1) as resumed:
        assert resumed.attempt == 2
        resumed.metrics(2, {"loss": 20})
    told = [(event["type"], event["attempt"], event.get("step")) for event in scripted.taken[1:]]
    assert told == [
        ("metrics", 1, 1), ("metrics", 1, 2), ("resume", 2, 1), ("status", 2, None), ("metrics", 2, 2),
    ]  # fmt: skip


def test_a_known_run_resumes_while_the_service_is_away(
    tmp_path: Path, scripted: ScriptedRuns, client: RewardClient
) -> None:
    open_tracker(tmp_path, client).close()
    scripted.leave()
    heard: list[str] = []
    resumed = open_tracker(tmp_path, client, step=0, warn=heard.append, request_s=0.3)
    resumed.metrics(1, {"loss": 1})
    scripted.come_back()
    assert resumed.close() == 0
    assert "the service is away" in heard[0]
    assert of_type(scripted.taken, "metrics")[0]["attempt"] == 2


def test_a_new_run_does_not_begin_without_its_service(
    tmp_path: Path, scripted: ScriptedRuns, client: RewardClient
) -> None:
    scripted.leave()
    with pytest.raises(TrackingError, match=r"the run 'sort-1' cannot begin: .*nothing answers"):
        open_tracker(tmp_path, client, request_s=0.3)
    scripted.come_back()
    open_tracker(tmp_path, client).close()


def test_the_attempt_rises_at_each_start_also_above_what_a_checkpoint_tells(
    tmp_path: Path, client: RewardClient
) -> None:
    attempts = []
    for checkpoint in (0, 0, 7, 0):
        with open_tracker(tmp_path, client, attempt=checkpoint) as tracker:
            attempts.append(tracker.attempt)
    assert attempts == [1, 2, 8, 9]


def test_a_folder_belongs_to_one_run(tmp_path: Path, client: RewardClient) -> None:
    open_tracker(tmp_path, client).close()
    with pytest.raises(TrackingError, match="has the record of the run 'sort-1': give 'sort-2' a folder of its own"):
        open_tracker(tmp_path, client, run="sort-2")
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(TrackingError, match=r"run\.json cannot be read"):
        open_tracker(tmp_path, client)


def test_a_run_that_fails_says_so(tmp_path: Path, scripted: ScriptedRuns, client: RewardClient) -> None:
    with pytest.raises(ZeroDivisionError), open_tracker(tmp_path, client):
        _ = 1 / 0
    assert scripted.taken[-1]["status"] == "failed"
    assert scripted.taken[-1]["message"] == "division by zero"


def test_without_a_service_the_record_is_in_the_folder_alone(tmp_path: Path) -> None:
    with open_tracker(tmp_path, None) as tracker:
        tracker.metrics(1, {"loss": 1.5})
        tracker.metrics(2, {"loss": 2.5})
        tracker.samples(1, [{"completion": "a"}])
    with open_tracker(tmp_path, None, step=1) as tracker:
        tracker.metrics(2, {"loss": 3.5, "kl": math.nan})
        tracker.alarm(Alarm("kl", 2, "", "log", {}, 0))
    history = read(tmp_path / RECORD, "sort-1")
    assert history.curves == {"loss": {1: 1.5, 2: 3.5}}
    assert history.alarms == [(2, "kl")]
    assert not (tmp_path / SPOOL).exists()


WRITER = """
import sys
from pathlib import Path
from trainer_client import RewardClient
from trainer_client.tracking import Tracker

tracker = Tracker(Path(sys.argv[1]), "sort-1", {}, RewardClient(sys.argv[2], "k" * 16), step=int(sys.argv[3]))
for step in range(int(sys.argv[3]) + 1, 1000):
    tracker.samples(step, [{"completion": "x" * 50, "reward": step}] * 8)
    tracker.metrics(step, {"loss": step})
    print(step, flush=True)
"""


def test_kill_9_of_a_run_loses_no_step_that_it_had_finished(tmp_path: Path, scripted: ScriptedRuns) -> None:
    finished = 0
    for life in range(3):
        if life == 1:
            scripted.faults.append(Fault.SLOW)
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), scripted.url, str(finished)],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        for _ in range(20):
            finished = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
        finished = int(rest[-1]) if rest else finished
        process.wait()
        process.stdout.close()
    with RewardClient(scripted.url, "k" * 16) as client:
        assert send_rest(tmp_path, client, 30, quiet) == 0
    metrics: dict[int, int] = {}
    samples: dict[tuple[int, int], int] = {}
    for event in scripted.taken:  # as the service reads them
        if event["type"] == "resume":
            metrics = {step: attempt for step, attempt in metrics.items() if step <= event["step"]}
            samples = {place: attempt for place, attempt in samples.items() if place[0] <= event["step"]}
        elif event["type"] == "metrics":
            metrics[event["step"]] = event["attempt"]
        elif event["type"] == "sample":
            samples[event["step"], event["sample"]] = event["attempt"]
    assert set(range(1, finished + 1)) <= metrics.keys()
    assert {(step, at) for step in range(1, finished + 1) for at in range(8)} <= samples.keys()


def test_a_live_service_holds_each_row_once_after_a_resume(tmp_path: Path, service: Service) -> None:
    with RewardClient(service.url, service.new_project("tracking")) as client:
        with open_tracker(tmp_path, client) as tracker:
            for step in range(4):
                tracker.metrics(step, {"loss": step, "nan": math.nan})
                tracker.samples(step, [{"prompt": "p", "completion": "\0\ud800", "reward": 0.5, "tokens": 2}] * 2)
        with open_tracker(tmp_path, client, step=1) as tracker:
            tracker.metrics(2, {"loss": 20})
            tracker.alarm(Alarm("kl", 2, "far", "log", {"kl": 3.0}, 1))
            tracker.status("finished")
        found = client.request("GET", "/runs/sort-1")
        columns = client.request("GET", "/runs/sort-1/metrics", params={"name": "loss"})
        samples = client.request("GET", "/runs/sort-1/samples")["items"]
        with pytest.raises(TrackingError, match=r"does not record the run 'sort-1': .*/seed"):
            Tracker(tmp_path / "other", "sort-1", {**CONFIG, "seed": 8}, client, warn=quiet)
        with open_tracker(tmp_path / "third", client) as anew:
            assert anew.attempt == 3, "the service knows of the attempts made in another folder"
    assert (found["status"], found["attempt"], found["last_step"]) == ("finished", 2, 2)
    assert found["resumes"] == [{"attempt": 2, "step": 1}]
    assert [alarm["name"] for alarm in found["alarms"]] == ["kl"]
    assert [(sample["step"], sample["sample"]) for sample in samples] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert samples[0]["completion"] == "\0\ud800"
    assert "20" in json.dumps(columns)


def test_a_process_whose_run_another_has_taken_up_is_told(tmp_path: Path, service: Service) -> None:
    told: list[str] = []
    with RewardClient(service.url, service.new_project("taken-up")) as client:
        with open_tracker(tmp_path / "a", client, warn=told.append) as first:
            first.metrics(1, {"loss": 1.0})
        with open_tracker(tmp_path / "a", client, warn=told.append, step=0) as resumed:
            resumed.metrics(1, {"loss": 1.0})
            while client.request("GET", "/runs/sort-1")["attempt"] < 2:
                time.sleep(0.02)  # what it logs is sent in the background
            assert told == [], "an earlier attempt of the same folder is no other process"
            with open_tracker(tmp_path / "b", client, warn=told.append, step=0) as other:
                other.metrics(1, {"loss": 2.0})
            for step in (1, 2):
                resumed.metrics(step, {"loss": 1.0})
    [message] = told
    assert message.startswith("another process has taken up this run since")


def test_the_spool_of_a_run_that_is_running_is_not_sent_by_another_process(
    tmp_path: Path, client: RewardClient
) -> None:
    with open_tracker(tmp_path, client), pytest.raises(TrackingError, match="in use by another process"):
        send_rest(tmp_path, client, 1, quiet)
    with pytest.raises(TrackingError, match="no record of a run"):
        send_rest(tmp_path / "nowhere", client, 1, quiet)
    Spool(tmp_path / SPOOL).close()


@pytest.mark.parametrize("with_service", [True, False])
def test_a_folder_is_of_one_process_at_a_time_with_and_without_a_service(
    tmp_path: Path, client: RewardClient, with_service: bool
) -> None:
    service = client if with_service else None
    with open_tracker(tmp_path, service), pytest.raises(TrackingError, match="in use by another process"):
        open_tracker(tmp_path, service)
    open_tracker(tmp_path, service).close()


def test_a_full_disk_does_not_hide_what_a_run_failed_by(tmp_path: Path) -> None:
    told: list[str] = []
    tracker = open_tracker(tmp_path, None, warn=told.append)
    before = (tmp_path / RECORD).read_bytes()
    with pytest.raises(ZeroDivisionError), tracker:
        tracker._record._file = fill(tracker._record._file)
        with pytest.raises(TrackingError, match=r"metrics\.jsonl cannot be written: No space left on device"):
            tracker.metrics(1, {"loss": 1})
        _ = 1 / 0
    assert (tmp_path / RECORD).read_bytes() == before
    assert told == [
        f"the record does not say how the run ended: {tmp_path / RECORD} cannot be written: No space left on device"
    ]
    open_tracker(tmp_path, None).close()


def test_what_keeps_an_attempt_s_number_from_being_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "run.new").mkdir()
    with pytest.raises(TrackingError, match=r"run\.json cannot be written: Is a directory"):
        open_tracker(tmp_path, None)


def test_a_refused_event_that_cannot_be_put_aside_ends_nothing(
    tmp_path: Path, scripted: ScriptedRuns, client: RewardClient
) -> None:
    scripted.refuses = lambda event: event.get("completion") == "bad"
    aside = tmp_path / SPOOL / "refused.jsonl"
    aside.mkdir(parents=True)
    heard: list[str] = []
    tracker = open_tracker(tmp_path, client, warn=heard.append)
    tracker.samples(1, [{"completion": "bad"}])
    limit = time.monotonic() + 60
    while not heard:
        assert time.monotonic() < limit
        time.sleep(0.02)
    aside.rmdir()
    tracker.metrics(1, {"loss": 1})
    assert tracker.close() == 0
    assert "tracking waits" in heard[0]
    assert len(of_type(scripted.taken, "metrics")) == 1
    assert len(aside.read_text().splitlines()) == 1

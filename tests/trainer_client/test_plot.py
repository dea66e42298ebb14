"""A run's curves become a PNG, the same from its folder and from the service."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.service import Service
from trainer_client import NotFoundError, RewardClient
from trainer_client.alarms import Alarm
from trainer_client.plot import draw, local_history, panels_of, recorded_history
from trainer_client.record import History
from trainer_client.tracking import Tracker
from trainer_client.training_errors import TrackingError

PNG = b"\x89PNG\r\n\x1a\n"


def write_run(folder: Path, client: RewardClient | None, run: str = "sort 7/b") -> None:
    """Two attempts, the second from step 3."""
    with Tracker(folder, run, {}, client) as tracker:
        tracker.metrics(0, {"heldout/score": 0.4, "heldout/score_error": 0.03})
        for step in range(1, 6):
            tracker.metrics(step, {"reward/mean": 0.1 * step, "loss": 1 / step, "skipped": 0.0, "time/step": 2.0})
        tracker.alarm(Alarm("kl", 5, "far", "log", {}, 0))
    with Tracker(folder, run, {}, client, step=3) as tracker:
        tracker.metrics(4, {"reward/mean": 0.45, "loss": math.nan, "heldout/score": 0.3})
        tracker.alarm(Alarm("reward_hacking", 4, "trap", "log", {}, 0))


def test_the_folder_and_the_service_tell_the_same_course(tmp_path: Path, service: Service) -> None:
    with RewardClient(service.url, service.new_project("plots")) as client:
        write_run(tmp_path, client)
        local = local_history(tmp_path)
        id = client.request("GET", "/runs", params={"name": "sort 7/b"})["items"][0]["id"]
        recorded = recorded_history(client, id)
        with pytest.raises(NotFoundError):
            recorded_history(client, "nobody")
    assert local == recorded
    assert local is not None
    assert local.run == "sort 7/b"
    assert local.curves["reward/mean"] == {1: 0.1, 2: 0.2, 3: pytest.approx(0.3), 4: 0.45}
    assert local.curves["loss"] == {1: 1.0, 2: 0.5, 3: 1 / 3}
    assert local.alarms == [(4, "reward_hacking")]


def test_a_long_run_is_read_page_by_page(tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer_client.plot.PAGE", 7)
    with RewardClient(service.url, service.new_project("pages")) as client:
        with Tracker(tmp_path, "long", {}, client) as tracker:
            for step in range(1, 31):
                tracker.metrics(step, {"loss": step})
        assert recorded_history(client, "long").curves["loss"] == {step: step for step in range(1, 31)}


def test_the_picture_is_a_png_and_its_folder_is_made(tmp_path: Path) -> None:
    write_run(tmp_path / "run", None)
    history = local_history(tmp_path / "run")
    assert history is not None
    draw(history, tmp_path / "plots" / "all.png")
    assert (tmp_path / "plots" / "all.png").read_bytes().startswith(PNG)
    draw(history, tmp_path / "one.png", ["skip*"])
    assert (tmp_path / "one.png").read_bytes().startswith(PNG)


def test_what_cannot_be_drawn_says_what_there_is(tmp_path: Path) -> None:
    history = History("r", {"loss": {1: 1.0, 2: 0.5}})
    with pytest.raises(TrackingError, match=r"no metric to draw; it has: loss"):
        draw(history, tmp_path / "x.png", ["reward/*"])
    with pytest.raises(TrackingError, match="it has: none yet"):
        draw(History("r"), tmp_path / "x.png")
    (tmp_path / "file").touch()
    with pytest.raises(TrackingError, match="cannot be written"):
        draw(history, tmp_path / "file" / "x.png")
    assert local_history(tmp_path) is None


def test_metrics_of_one_unit_share_a_panel_and_what_matters_most_comes_first() -> None:
    names = ["loss", "time/step", "heldout/score", "kl", "reward/mean", "heldout/kl", "time/update", "entropy", "own"]
    assert list(panels_of(names).items()) == [
        ("reward and held-out score", ["reward/mean", "heldout/score"]),
        ("loss", ["loss"]),
        ("divergence from the reference, nats a token", ["heldout/kl", "kl"]),
        ("entropy", ["entropy"]),
        ("seconds", ["time/step", "time/update"]),
        ("own", ["own"]),
    ]


def test_the_metrics_of_preferences_share_their_panels() -> None:
    rewards = ["preference/margin", "preference/reward_chosen", "preference/reward_rejected"]
    assert panels_of([*rewards, "preference/accuracy", "heldout/truncated_share"]) == {
        "rewards of preferred and rejected": rewards,
        "shares": ["heldout/truncated_share", "preference/accuracy"],
    }


def test_a_torn_record_is_read_up_to_the_tear_and_written_on(tmp_path: Path) -> None:
    write_run(tmp_path, None)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-20] + b'{"type":"metr')
    with Tracker(tmp_path, "sort 7/b", {}, None, step=4) as tracker:
        tracker.metrics(5, {"reward/mean": 0.9})
    history = local_history(tmp_path)
    assert history is not None
    assert history.curves["reward/mean"][5] == 0.9

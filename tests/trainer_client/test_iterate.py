"""Iterative preferences against a live service: what is taken of a group, what is recorded, and exact resume."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.service import Service
from tests.trainer_client.making import sorting_config
from tests.trainer_client.test_loop import LOW_FIRST
from trainer_client import RewardClient
from trainer_client.checkpoint import Checkpoints
from trainer_client.config import Config
from trainer_client.iterate import above_and_below, best_and_worst, iterate
from trainer_client.labels import write_labels
from trainer_client.rollout import Completion, Sampler
from trainer_client.tasks import kto
from trainer_client.training_errors import ConfigError, DataError, RewardError

NEVER = {"kind": "regex", "config": {"pattern": "^x$"}}
SCORES = st.lists(st.none() | st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=2, max_size=9)


def config(data: Path, folder: Path, *overrides: str, **preference: Any) -> Config:
    chosen = {"iterations": 2, "prompts": 6, "group": 4, "batch": 3, "rewards": [{"verifier": LOW_FIRST}]}
    if "compare" in preference:
        del chosen["rewards"]
    return sorting_config(
        data, folder, "sampling.max_new_tokens=6", *overrides, preference={**chosen, **preference},
        optimizer={"learning_rate": 1e-3}, checkpoints={"every": 1, "keep": 100},
    )  # fmt: skip


@given(SCORES)
def test_a_pair_is_the_best_and_the_worst_and_a_tie_is_none(scores: list[float | None]) -> None:
    known = [score for score in scores if score is not None]
    pair = best_and_worst(scores)
    if len(set(known)) < 2:
        assert pair == []
        return
    (best, good), (worst, bad) = pair
    assert (good, bad) == (True, False)
    assert best == scores.index(max(known))
    assert worst == scores.index(min(known))


@given(SCORES)
def test_kto_takes_what_is_above_the_mean_and_what_is_below(scores: list[float | None]) -> None:
    labels = dict(above_and_below(scores))
    known = [score for score in scores if score is not None]
    assert bool(labels) == (len(set(known)) > 1)
    for place, good in labels.items():
        score = scores[place]
        assert score is not None
        assert good == (score > sum(known) / len(known))
    if labels:
        assert set(labels.values()) == {True, False}


def test_a_score_that_is_the_mean_but_for_rounding_has_no_label() -> None:
    assert math.fsum([0.1, 0.2, 0.3]) / 3 != 0.2
    assert above_and_below([0.1, 0.2, 0.3]) == [(0, False), (2, True)]


def test_scores_that_differ_by_rounding_alone_tie() -> None:
    assert 0.1 + 0.2 != 0.3
    assert best_and_worst([0.1 + 0.2, 0.3, None]) == []
    assert above_and_below([0.1 + 0.2, 0.3, None]) == []
    assert best_and_worst([0.1 + 0.2, 0.3, 0.0]) == [(0, True), (2, False)]


@pytest.mark.parametrize("loss", ["dpo", "kto"])
def test_each_iteration_learns_from_what_the_policy_says_by_then(
    sorting: Path, tmp_path: Path, client: RewardClient, loss: str
) -> None:
    told: list[dict[str, float]] = []
    made = config(sorting, tmp_path / f"iterate-{loss}", loss=loss, steps=3)
    outcome = iterate(made, client=client, report=lambda step, values: told.append(values))
    assert (outcome.status, outcome.step) == ("finished", 6)
    assert [values["preference/iteration"] for values in told if "preference/iteration" in values] == [1, 2]
    run = client.request("GET", f"/runs/{made.run}")
    assert run["status"] == "finished"
    samples = client.request("GET", f"/runs/{made.run}/samples", params={"limit": "1000"})["items"]
    assert [sum(sample["step"] == step for sample in samples) for step in (0, 3)] == [24, 24]
    metrics = client.request("GET", f"/runs/{made.run}/metrics")["values"]
    assert len([value for value in metrics["reward/mean"] if value is not None]) == 2
    assert (outcome.folder / "config.json").is_file()


@pytest.mark.parametrize("loss", ["dpo", "kto"])
@pytest.mark.parametrize("at", [0, 3, 4])
def test_an_iteration_that_is_resumed_is_the_same_to_the_bit(
    sorting: Path, tmp_path: Path, client: RewardClient, loss: str, at: int
) -> None:
    folder = tmp_path / f"resumed-{loss}-{at}"
    made = config(sorting, folder, loss=loss, steps=3)
    iterate(made, client=client)
    checkpoints = Checkpoints(folder / "checkpoints", 100)
    wanted = checkpoints.load()
    checkpoints.drop_after(at)
    iterate(made, client=client)
    found = checkpoints.load()
    assert wanted is not None and found is not None
    assert wanted["round"] == {**found["round"], "collected": wanted["round"]["collected"]}
    assert all(torch.equal(weight, found["model"][name]) for name, weight in wanted["model"].items())
    assert client.request("GET", f"/runs/{made.run}")["attempt"] == 2


@pytest.mark.parametrize("compare", [False, True])
def test_what_an_iteration_drew_before_it_was_cut_off_is_not_drawn_again(
    sorting: Path, tmp_path: Path, client: RewardClient, monkeypatch: pytest.MonkeyPatch, compare: bool
) -> None:
    draw = Sampler._generate_chunk
    passes = 0

    def cut_off_in_pass(number: int) -> None:
        def drawing(self: Sampler, *args: Any) -> Iterator[list[Completion]]:
            nonlocal passes
            passes += "/train/" in args[1][0]  # the start draws too, to try the model
            ended = draw(self, *args)
            yield next(ended)
            if passes == number:
                raise KeyboardInterrupt
            yield from ended

        monkeypatch.setattr(Sampler, "_generate_chunk", drawing)

    made = config(
        sorting,
        tmp_path / f"cut-{compare}",
        "sampling.rows=4",
        steps=1,
        **({"compare": LOW_FIRST} if compare else {}),
    )
    cut_off_in_pass(5)
    with pytest.raises(KeyboardInterrupt):
        iterate(made, client=client)
    cut_off_in_pass(0)
    assert iterate(made, client=client).step == 2
    assert passes == 2 * 6 + 1  # the one that was cut off is drawn once more
    samples = client.request("GET", f"/runs/{made.run}/samples", params={"limit": "1000"})["items"]
    assert len(samples) == 2 * 24


def test_an_alarm_pauses_or_rolls_back_and_the_same_command_goes_on(
    sorting: Path, tmp_path: Path, client: RewardClient
) -> None:
    alarm = ["alarms.degenerate.threshold=1.0e-9", "alarms.degenerate.patience=1"]
    for action, status, step in (("pause", "paused", 1), ("rollback", "rolled_back", 0)):
        folder = tmp_path / f"alarm-{action}"
        made = config(sorting, folder, *alarm, f"alarms.degenerate.action={action}", steps=2)
        outcome = iterate(made, client=client)
        assert (outcome.status, outcome.step) == (status, step)
        assert max(Checkpoints(folder / "checkpoints", 100).steps()) == step
        assert client.request("GET", f"/runs/{made.run}")["status"] == "paused"
        outcome = iterate(config(sorting, folder, steps=2), client=client)
        assert (outcome.status, outcome.step) == ("finished", 4)


@pytest.mark.parametrize("loss", ["dpo", "kto"])
def test_pairs_come_from_post_compare(sorting: Path, tmp_path: Path, client: RewardClient, loss: str) -> None:
    made = config(sorting, tmp_path / f"compared-{loss}", loss=loss, compare=LOW_FIRST, steps=2)
    outcome = iterate(made, client=client)
    assert outcome.step == 4
    [sample, *_] = client.request("GET", f"/runs/{made.run}/samples", params={"limit": "1"})["items"]
    assert sample["reward"] in (0, 1)


def test_where_nothing_can_be_learnt_the_run_says_so(sorting: Path, tmp_path: Path, client: RewardClient) -> None:
    ties = config(sorting, tmp_path / "ties", rewards=[{"verifier": NEVER}])
    with pytest.raises(RewardError, match="nothing to learn from in 2 iterations"):
        iterate(ties, client=client)
    pending = {"kind": "outcome", "config": {"wait_s": 600}}
    with pytest.raises(RewardError, match=r"24 of 24 completions have no score.*preference\.max_unscored"):
        iterate(config(sorting, tmp_path / "unscored", rewards=[{"verifier": pending}]), client=client)
    with pytest.raises(ConfigError, match="has no verifier absent"):
        iterate(config(sorting, tmp_path / "absent", rewards=[{"verifier": "absent"}]), client=client)
    with pytest.raises(ConfigError, match="give compare or rewards, not both"):
        config(sorting, tmp_path / "both", compare="a", rewards=[{"verifier": "a"}])


def test_settled_signals_are_labels_for_kto(
    sorting: Path,
    tmp_path: Path,
    service: Service,
    key: str,
    client: RewardClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "labels.jsonl"
    with pytest.raises(DataError, match="there are no signals to learn from: none is settled"):
        write_labels(client, out, run="no-such-run")
    waiting = {"kind": "outcome", "config": {"wait_s": 600}}
    items = [{"id": str(digit), "prompt": f"{digit}>", "completion": str(digit)} for digit in range(4)]
    verdicts = client.score(waiting, items, run="outcomes")
    client.signals([{"score_id": each.score_id, "score": place % 2} for place, each in enumerate(verdicts[:3])])
    assert write_labels(client, out, run="outcomes") == (3, 0)
    made = sorting_config(
        sorting, tmp_path / "from-signals", f"data.train={out}", "data.heldout=null", preference={"steps": 2},
    )  # fmt: skip
    monkeypatch.setenv("ASSAY_URL", service.url)
    monkeypatch.setenv("ASSAY_API_KEY", key)
    assert kto(made).step == 2

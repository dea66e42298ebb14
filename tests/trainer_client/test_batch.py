"""From scored groups to tensors, and how rows are cut into passes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer_client.making import policy, sampler
from trainer_client.algorithms import ALGORITHMS, Algorithm
from trainer_client.batch import Batch, make_batch, micro_batches, minibatch
from trainer_client.data import Row
from trainer_client.results import Step, Verdict
from trainer_client.rewards import Scored
from trainer_client.rollout import Completion, Group


def verdict(score: float | None, steps: list[Step] | None = None) -> Verdict:
    outcome = "unscored" if score is None else "scored"
    return Verdict("x", "y", "v@1", score, outcome, {}, {}, steps, None, 0.0, False)


def scored(position: int, scores: list[float | None], lengths: list[int], **more: Any) -> Scored:
    """A group with completions of these lengths; those of 6 tokens were cut."""
    completions = [
        Completion(
            0, sample, [sample % 10] * length, [-1.0] * length, [1] * length, "length" if length == 6 else "stop",
            str(sample % 10) * length, old_logprobs=more.get("old", [None] * 9)[sample],
        )
        for sample, length in enumerate(lengths)
    ]  # fmt: skip
    steps = more.get("steps", [None] * len(scores))
    verdicts = [[verdict(score, own)] for score, own in zip(scores, steps, strict=True)]
    return Scored(Group(position, Row(1, "p"), [position, 10], completions), verdicts, scores)


def made(*groups: Scored, algorithm: Algorithm = ALGORITHMS["grpo"], **options: Any) -> Batch:
    chosen: dict[str, Any] = {"mask_truncated": False, "step_scores": False, "importance_cap": None, **options}
    return make_batch(groups, algorithm, sampler(policy()), max_tokens=6, **chosen)


def test_rows_are_in_prompt_order_with_their_groups_advantages() -> None:
    batch = made(scored(4, [1, 0, 0], [2, 3, 1]), scored(7, [0.5, 0.5, 0], [1, 1, 1]))
    assert batch.prompts == [[4, 10]] * 3 + [[7, 10]] * 3
    assert batch.group.tolist() == [0, 0, 0, 1, 1, 1]
    assert batch.mask.tolist() == [[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]]
    deviation = 3**-0.5
    assert batch.advantages[:3].tolist() == pytest.approx(
        [(2 / 3) / (deviation + 1e-4), (-1 / 3) / (deviation + 1e-4), (-1 / 3) / (deviation + 1e-4)]
    )


def test_an_unscored_row_is_in_no_mean_and_in_no_loss() -> None:
    batch = made(scored(0, [1, None, 0], [1, 1, 1]))
    assert batch.mask[:, 0].tolist() == [1, 0, 1]
    assert batch.advantages.tolist() == pytest.approx([0.70700, 0, -0.70700], abs=1e-4)


def test_truncated_rows_can_be_left_out_of_the_loss_but_not_of_the_mean() -> None:
    batch = made(scored(0, [1, 0, 0], [1, 6, 2]), mask_truncated=True)
    assert batch.mask.sum(dim=1).tolist() == [1, 0, 2]
    assert batch.advantages[0] == pytest.approx((2 / 3) / (3**-0.5 + 1e-4))


def test_the_length_penalty_comes_after_the_scores() -> None:
    batch = made(scored(0, [1, 1, 0], [6, 2, 2]), algorithm=Algorithm(overlong_buffer=0.5, deviation=False))
    assert batch.advantages.tolist() == pytest.approx([0 - 1 / 3, 1 - 1 / 3, 0 - 1 / 3])


def test_step_scores_become_advantages_of_tokens() -> None:
    steps = [[Step(1.0, 0, 1), Step(0.0, 1, 3)], [Step(0.5, 0, 3)]]
    batch = made(scored(0, [1, 0], [3, 3], steps=steps), step_scores=True)
    assert batch.advantages[0].tolist() == pytest.approx([(1 - 0.5) + (0 - 0.5) + 1, (0 - 0.5) + 1, (0 - 0.5) + 1])
    assert batch.advantages[1].tolist() == pytest.approx([(0.5 - 0.5) - 1] * 3)


def test_a_step_counts_as_its_verifier_weighs_and_not_where_that_is_only_watched() -> None:
    # 2 x 1.0 against 2 x 0.5 of the first verifier; the second, of weight 0, says the opposite
    steps = [[Step(1.0, 0, 1)], [Step(0.5, 0, 1)]]
    group = scored(0, [1, 0], [1, 1], steps=steps)
    watched = [[*own, verdict(1.0, [Step(9.0 * place, 0, 1)])] for place, own in enumerate(group.verdicts)]
    weighed = Scored(group.group, watched, group.scores, [2.0, 0.0])
    batch = made(weighed, step_scores=True)
    assert batch.advantages.flatten().tolist() == pytest.approx([1 + 1, -1 - 1])
    assert weighed.step_scores() == [[2.0], [1.0]]


def test_tokens_that_the_policy_did_not_write_pay_no_kl_and_are_in_no_mean() -> None:
    algorithm = Algorithm(advantage="global", kl="reward", beta=0.5)
    batches = []
    for strange in (-1.0, -99.0):  # of a token that a tool wrote
        group = scored(0, [1, 0], [3, 3], old=[[-1.0, strange, -2.0], [-1.0, -1.0, -1.0]])
        for completion in group.group.completions:
            completion.reference_logprobs = [-1.5] * 3
        group.group.completions[0].mask = [1, 0, 1]
        batches.append(made(group, algorithm=algorithm))
    inside = batches[0].mask.bool()
    assert torch.equal(batches[0].advantages[inside], batches[1].advantages[inside])
    assert batches[0].advantages[inside].mean().item() == pytest.approx(0, abs=1e-6)


def test_tokens_that_the_sampler_made_too_often_weigh_less() -> None:
    old = [[-2.0], [-0.5]]
    batch = made(scored(0, [1, 0], [1, 1], old=old), importance_cap=1.2)
    plain = made(scored(0, [1, 0], [1, 1]))
    assert batch.advantages.squeeze(1).tolist() == pytest.approx(
        [plain.advantages[0].item() * torch.tensor(-1.0).exp().item(), plain.advantages[1].item() * 1.2]
    )


def test_state_is_all_there_is() -> None:
    batch = made(scored(0, [1, 0], [1, 2]))
    again = Batch(**batch.state())
    assert again.tokens == batch.tokens
    assert torch.equal(again.advantages, batch.advantages)


lengths = st.lists(st.lists(st.integers(1, 6), min_size=2, max_size=5), min_size=1, max_size=6)


@given(lengths, st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_minibatches_are_whole_groups_and_together_everything(groups: list[list[int]], count: int) -> None:
    batch = made(*(scored(place, [1.0] * len(own), own) for place, own in enumerate(groups)))
    parts = [minibatch(batch, number, count) for number in range(count)]
    assert [row for part in parts for row in part] == list(range(len(batch.tokens)))
    owners = [{int(batch.group[row]) for row in part} for part in parts]
    assert sum(map(len, owners)) == len(groups)


@given(lengths, st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_passes_have_every_row_once_and_none_is_too_large(groups: list[list[int]], most: int) -> None:
    batch = made(*(scored(place, [1.0] * len(own), own) for place, own in enumerate(groups)))
    rows = list(range(0, len(batch.tokens)))
    passes = micro_batches(batch.prompts, batch.tokens, rows, most)
    assert sorted(row for each in passes for row in each) == rows
    assert max(map(len, passes)) <= most


def test_rows_of_one_length_are_passed_by_prompt_and_of_many_by_length() -> None:
    alike = made(*(scored(place, [1.0] * 8, [3] * 8) for place in range(8)))
    assert micro_batches(alike.prompts, alike.tokens, list(range(64)), 16) == [
        list(range(start, start + 16)) for start in range(0, 64, 16)
    ]
    unlike = made(*(scored(place, [1.0] * 8, [1, 6] * 4) for place in range(8)))
    passes = micro_batches(unlike.prompts, unlike.tokens, list(range(64)), 64)
    assert [len({len(unlike.tokens[row]) for row in each}) for each in passes] == [1, 1]
    assert micro_batches(unlike.prompts, unlike.tokens, [], 16) == []

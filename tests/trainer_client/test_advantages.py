"""Advantages: cases worked by hand from the papers' formulas, and what holds for any scores."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainer_client.advantages import (
    character_ends,
    combine,
    estimate,
    group_advantages,
    leave_one_out,
    overlong_penalty,
    penalised,
    reinforce_advantages,
    step_advantages,
    step_tokens,
    usable,
    whiten,
)
from trainer_client.algorithms import ALGORITHMS
from trainer_client.groups import Fate, fate

NAN = math.nan
ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grpo": group_advantages,
    "dr_grpo": lambda scores, groups: group_advantages(scores, groups, deviation=False),
    "leave_one_out": leave_one_out,
}

score = st.one_of(st.floats(-10, 10, width=16), st.just(NAN))
rows = st.lists(st.tuples(score, st.integers(0, 3)), min_size=1, max_size=20)


def columns(pairs: list[tuple[float, int]]) -> tuple[Tensor, Tensor]:
    scores, groups = zip(*pairs, strict=True)
    return torch.tensor(scores, dtype=torch.float64), torch.tensor(groups)


def test_grpo_by_hand_with_the_unbiased_deviation() -> None:
    advantages = group_advantages(torch.tensor([1.0, 0.0, 0.0, 1.0, 3.0, 5.0]), torch.tensor([0, 0, 0, 0, 1, 1]))
    quarter, two = math.sqrt(1 / 3) + 1e-4, math.sqrt(2) + 1e-4
    assert advantages.tolist() == pytest.approx(
        [0.5 / quarter, -0.5 / quarter, -0.5 / quarter, 0.5 / quarter, -1 / two, 1 / two]
    )


def test_dr_grpo_is_only_centred() -> None:
    scores = torch.tensor([1.0, 0.0, 0.0, 1.0])
    assert group_advantages(scores, torch.zeros(4), deviation=False).tolist() == [0.5, -0.5, -0.5, 0.5]


def test_leave_one_out_by_hand() -> None:
    # each score less the mean of the other two
    assert leave_one_out(torch.tensor([1.0, 2.0, 6.0]), torch.zeros(3)).tolist() == [-3.0, -1.5, 4.5]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_unscored_row_is_in_no_statistic_and_gets_nothing(name: str) -> None:
    estimator = ESTIMATORS[name]
    with_it = estimator(torch.tensor([1.0, NAN, 4.0, 2.0]), torch.zeros(4))
    without = estimator(torch.tensor([1.0, 4.0, 2.0]), torch.zeros(3))
    assert with_it[1] == 0 and torch.equal(with_it[[0, 2, 3]], without)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_group_with_one_score_is_not_usable(name: str) -> None:
    scores, groups = torch.tensor([1.0, NAN, 4.0, 2.0]), torch.tensor([7, 7, 3, 3])
    assert usable(scores, groups).tolist() == [False, False, True, True]
    assert ESTIMATORS[name](scores, groups)[:2].tolist() == [0, 0]


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("value", [0.1, 0.3, 1 / 3, 1e9 + 0.1])
def test_equal_scores_have_an_advantage_of_exactly_0(name: str, value: float) -> None:
    for rows in range(2, 20):  # for some, a mean of equal values differs from them
        advantages = ESTIMATORS[name](torch.full((rows,), value, dtype=torch.float64), torch.zeros(rows))
        assert (advantages == 0).all()


@pytest.mark.parametrize("name", ESTIMATORS)
@given(pairs=rows, seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_order_of_rows_does_not_matter(name: str, pairs: list[tuple[float, int]], seed: int) -> None:
    scores, groups = columns(pairs)
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(seed))
    expected = ESTIMATORS[name](scores, groups)
    assert torch.allclose(ESTIMATORS[name](scores[order], groups[order]), expected[order], atol=1e-5)


@pytest.mark.parametrize("name", ESTIMATORS)
@given(pairs=rows, shift=st.integers(-100, 100))
@settings(max_examples=30, deadline=None)
def test_a_constant_added_to_every_score_changes_nothing(
    name: str, pairs: list[tuple[float, int]], shift: int
) -> None:
    scores, groups = columns(pairs)
    assert torch.allclose(ESTIMATORS[name](scores + shift, groups), ESTIMATORS[name](scores, groups), atol=1e-4)


@pytest.mark.parametrize("name", ESTIMATORS)
@given(pairs=rows)
@settings(max_examples=30, deadline=None)
def test_the_same_group_of_another_prompt_gets_the_same(name: str, pairs: list[tuple[float, int]]) -> None:
    scores, groups = columns(pairs)
    twice = ESTIMATORS[name](scores.repeat(2), torch.cat([groups, groups + 10]))
    assert torch.equal(twice, ESTIMATORS[name](scores, groups).repeat(2))


@pytest.mark.parametrize("name", ["rloo", "reinforce_pp"])
def test_a_large_constant_in_every_score_changes_nothing_with_a_kl_in_the_reward(name: str) -> None:
    algorithm = dataclasses.replace(ALGORITHMS[name], beta=0.05)
    scores, groups = torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64), torch.zeros(3)
    kl = torch.tensor([[0.1, 0.2], [0.4, 0.0], [0.0, 0.3]])
    expected = estimate(algorithm, scores, groups, torch.ones(3, 2), kl)
    shifted = estimate(algorithm, scores + 1e8, groups, torch.ones(3, 2), kl)
    assert torch.allclose(shifted, expected, atol=1e-5)


@pytest.mark.parametrize("name", ESTIMATORS)
@given(pairs=rows)
@settings(max_examples=30, deadline=None)
def test_advantages_of_a_group_add_up_to_0(name: str, pairs: list[tuple[float, int]]) -> None:
    scores, groups = columns(pairs)
    advantages = ESTIMATORS[name](scores, groups)
    for group in groups.unique():
        assert advantages[groups == group].sum().item() == pytest.approx(0, abs=1e-4)


@given(pairs=rows)
@settings(max_examples=30, deadline=None)
def test_doubled_scores_double_what_is_only_centred_and_leave_the_normalised_alone(
    pairs: list[tuple[float, int]],
) -> None:
    scores, groups = columns(pairs)
    assert torch.allclose(leave_one_out(2 * scores, groups), 2 * leave_one_out(scores, groups), atol=1e-5)
    wide = 1e4 * scores.round()  # equal, or so far apart that the 1e-4 is not seen
    assert torch.allclose(group_advantages(2 * wide, groups), group_advantages(wide, groups), atol=1e-3)


def test_reinforce_pp_by_hand() -> None:
    # returns: row 0 is 1 - 0.5 (0.2 + 0.4), 1 - 0.5 x 0.4; row 1 is 0 - 0.5 x 0.6 on its one token
    scores, kl = torch.tensor([1.0, 0.0]), torch.tensor([[0.2, 0.4], [0.6, NAN]])
    returns = torch.tensor([0.7, 0.8, -0.3])
    expected = ((returns - returns.mean()) / (returns.std() + 1e-4)).tolist()
    advantages = reinforce_advantages(scores, torch.tensor([[1, 1], [1, 0]]), kl, beta=0.5)
    assert advantages.flatten().tolist() == pytest.approx([*expected, 0.0], abs=1e-6)


def test_reinforce_pp_leaves_unscored_rows_out_of_the_batch_s_statistics() -> None:
    mask, kl = torch.ones(3, 2), torch.tensor([[0.1, 0.2], [9.0, 9.0], [0.3, 0.1]])
    advantages = reinforce_advantages(torch.tensor([1.0, NAN, 0.0]), mask, kl, beta=0.1)
    others = reinforce_advantages(torch.tensor([1.0, 0.0]), mask[:2], kl[[0, 2]], beta=0.1)
    assert torch.equal(advantages[[0, 2]], others) and (advantages[1] == 0).all()


@given(st.lists(st.floats(-5, 5, width=16), min_size=2, max_size=12))
@settings(max_examples=30, deadline=None)
def test_whitened_values_have_mean_0_and_deviation_1(values: list[float]) -> None:
    whitened = whiten(torch.tensor([values]), torch.ones(1, len(values)))
    if len(set(values)) == 1:
        assert (whitened == 0).all()
    else:
        assert whitened.mean().item() == pytest.approx(0, abs=1e-4)
        spread = torch.tensor(values, dtype=torch.float64).std().item()
        assert whitened.std().item() == pytest.approx(spread / (spread + 1e-4), rel=1e-4)


def test_rloo_takes_the_sequence_s_kl_off_the_reward() -> None:
    kl = torch.tensor([[0.5, 0.5], [1.0, NAN]])
    assert penalised(torch.tensor([1.0, NAN]), kl, torch.tensor([[1, 1], [1, 0]]), 0.1)[0].item() == pytest.approx(
        0.9
    )


def test_each_algorithm_has_its_own_estimate() -> None:
    scores, groups, mask = torch.tensor([1.0, 0.0, 0.0, 2.0]), torch.tensor([0, 0, 1, 1]), torch.ones(4, 2)
    kl = torch.full((4, 2), 0.5)
    kl[0] = 1.5
    for name in ("grpo", "dapo", "gspo", "cispo"):
        assert torch.equal(estimate(ALGORITHMS[name], scores, groups, mask), group_advantages(scores, groups))
    assert estimate(ALGORITHMS["dr_grpo"], scores, groups, mask).tolist() == [0.5, -0.5, -1.0, 1.0]
    # RLOO, beta 0.05: the rewards are 0.85, -0.05, -0.05, 1.95
    rloo = estimate(ALGORITHMS["rloo"], scores, groups, mask, kl)
    assert rloo.tolist() == pytest.approx([0.9, -0.9, -2.0, 2.0])
    assert estimate(ALGORITHMS["reinforce_pp"], scores, groups, mask).shape == (4, 2)


def test_a_kl_in_the_reward_needs_the_reference_model() -> None:
    with pytest.raises(ValueError, match="reference model"):
        estimate(ALGORITHMS["rloo"], torch.ones(2), torch.zeros(2), torch.ones(2, 1))


def test_several_verifiers_are_weighed_and_summed() -> None:
    scores = torch.tensor([[1.0, 10.0], [0.0, 30.0]])
    assert combine(scores, [2.0, 0.1], [False, False], torch.zeros(2)).tolist() == pytest.approx([3.0, 3.0])


def test_a_normalised_verifier_counts_by_rank_and_not_by_range() -> None:
    scores = torch.tensor([[1.0, 1000.0], [0.0, 3000.0]])
    total = combine(scores, [1.0, 0.5], [True, True], torch.zeros(2))
    first, second = 0.5 / (math.sqrt(0.5) + 1e-4), 1000 / (math.sqrt(2e6) + 1e-4)
    assert total.tolist() == pytest.approx([first - 0.5 * second, -first + 0.5 * second], rel=1e-6)


@pytest.mark.parametrize("normalise", [True, False])
def test_a_row_that_lacks_one_of_its_scores_has_none(normalise: bool) -> None:
    scores = torch.tensor([[1.0, NAN], [0.0, 2.0], [1.0, 4.0]])
    total = combine(scores, [1.0, 1.0], [normalise, False], torch.zeros(3))
    others = combine(scores[1:], [1.0, 1.0], [normalise, False], torch.zeros(2))
    assert total[0].isnan() and torch.equal(total[1:], others)


def test_a_verifier_without_weight_is_only_watched() -> None:
    scores = torch.tensor([[1.0, NAN], [0.0, NAN]])
    assert combine(scores, [1.0, 0.0], [False, True], torch.zeros(2)).tolist() == [1.0, 0.0]


def test_weights_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match="2 verifiers, 1 weights"):
        combine(torch.ones(1, 2), [1.0], [False, False], torch.zeros(1))


def test_dapo_s_penalty_of_length() -> None:
    # the paper's: L_max 20480 with a buffer of 4096
    lengths = torch.tensor([100, 16384, 18432, 20480, 30000])
    assert overlong_penalty(lengths, 20480, 4096).tolist() == [0, 0, -0.5, -1, -1]


@pytest.mark.parametrize("buffer", [0, -1, 11])
def test_a_buffer_that_does_not_fit_is_refused(buffer: int) -> None:
    with pytest.raises(ValueError, match="1 to max_length"):
        overlong_penalty(torch.tensor([1]), 10, buffer)


def test_prime_by_hand() -> None:
    # two completions: steps 0.8 (ends in token 1) and 0.2 (token 3); a step 0.4 (token 2). Outcomes 1 and 0.
    # Baselines: 0.4 for the first, (0.8 + 0.2) / 2 = 0.5 for the second. Leave-one-out outcomes: 1 and -1.
    advantages = step_advantages(
        torch.tensor([1.0, 0.0]), [[(0.8, 1), (0.2, 3)], [(0.4, 2)]], torch.zeros(2), length=5
    )
    first, second, only = 0.8 - 0.4, 0.2 - 0.4, 0.4 - 0.5
    assert advantages[0].tolist() == pytest.approx([1 + first + second] * 2 + [1 + second] * 2 + [1])
    assert advantages[1].tolist() == pytest.approx([-1 + only] * 3 + [-1] * 2)


def test_steps_that_nobody_else_has_do_not_count() -> None:
    advantages = step_advantages(torch.tensor([1.0, 0.0]), [[(0.9, 0)], []], torch.zeros(2), length=2)
    assert advantages.tolist() == [[1, 1], [-1, -1]]


def test_an_unscored_completion_s_steps_are_in_no_baseline() -> None:
    steps: list[list[tuple[float, int]]] = [[(1.0, 0)], [(0.0, 0)], [(100.0, 0)]]
    advantages = step_advantages(torch.tensor([1.0, 0.0, NAN]), steps, torch.zeros(3), length=1)
    assert advantages.tolist() == [[2.0], [-2.0], [0.0]]


def test_steps_are_compared_within_their_group_only() -> None:
    steps: list[list[tuple[float, int]]] = [[(1.0, 0)], [(0.0, 0)], [(7.0, 0)], [(7.0, 0)]]
    advantages = step_advantages(torch.zeros(4), steps, torch.tensor([5, 5, 9, 9]), length=1)
    assert advantages.flatten().tolist() == [1, -1, 0, 0]


STEP_SCORES = [0.0, 0.1, 1 / 3, 0.7]
group_with_steps = st.lists(
    st.tuples(
        st.sampled_from([0.1, 1.0, NAN]), st.lists(st.sampled_from(STEP_SCORES), max_size=3)
    ),
    min_size=2, max_size=5,
)  # fmt: skip


@given(group_with_steps)
@settings(max_examples=200, deadline=None)
def test_a_group_with_steps_is_degenerate_where_every_advantage_is_exactly_0(
    drawn: list[tuple[float, list[float]]],
) -> None:
    scores = [score for score, _ in drawn]
    placed = [[(score, 2 * place) for place, score in enumerate(steps)] for _, steps in drawn]
    advantages = step_advantages(torch.tensor(scores), placed, torch.zeros(len(drawn)), length=6)
    found = fate(scores, [steps for _, steps in drawn])
    assert bool((advantages == 0).all()) == (found != Fate.USABLE)


@given(group_with_steps, group_with_steps, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_step_advantages_depend_on_differences_within_a_group_alone(
    first: list[tuple[float, list[float]]], second: list[tuple[float, list[float]]], source: random.Random
) -> None:
    drawn, groups = first + second, torch.tensor([0] * len(first) + [1] * len(second))
    scores = torch.tensor([score for score, _ in drawn], dtype=torch.float64)
    placed = [[(score, 2 * place) for place, score in enumerate(steps)] for _, steps in drawn]
    expected = step_advantages(scores, placed, groups, length=6)
    order = source.sample(range(len(drawn)), len(drawn))
    moved = step_advantages(scores[order], [placed[row] for row in order], groups[order], length=6)
    assert torch.allclose(moved, expected[order], atol=1e-6)
    raised = [
        [(score + 3 * group, token) for score, token in row]
        for row, group in zip(placed, groups.tolist(), strict=True)
    ]
    assert torch.allclose(step_advantages(scores + 5 * groups, raised, groups, length=6), expected, atol=1e-6)


def test_a_step_ends_in_the_token_that_completes_its_last_character() -> None:
    ends = [3, 3, 5, 9, 9]  # the second token holds a part of a character, the last is an EOS
    spans = [(0.1, 3), (0.2, 4), (0.3, 5), (0.4, 9), (0.5, 12)]
    assert step_tokens(spans, ends) == [(0.1, 0), (0.2, 2), (0.3, 2), (0.4, 3), (0.5, 4)]


def decode_bytes(ids: list[int]) -> str:
    """A tokeniser whose tokens are bytes, with 256 for EOS, which text leaves out."""
    return bytes(i for i in ids if i < 256).decode("utf-8", errors="replace")


def decode_words(ids: list[int]) -> str:
    """A tokeniser that drops the space before the first word that it decodes, as SentencePiece does."""
    return "".join([" a", " bc", "d", " é"][i] for i in ids).removeprefix(" ")


def test_characters_of_bytes() -> None:
    ids = [*"aé😀b".encode(), 256]
    assert character_ends(ids, decode_bytes) == [1, 1, 2, 2, 2, 2, 3, 4, 4]


def test_characters_where_the_first_space_is_dropped() -> None:
    assert character_ends([0, 1, 2, 3], decode_words) == [1, 4, 5, 7]


def test_bytes_that_are_no_character_still_end_where_the_text_does() -> None:
    ids = [ord("a"), 0xF0, 0x9F]
    assert character_ends(ids, decode_bytes) == [1, 1, len(decode_bytes(ids))]


def test_no_tokens_have_no_ends() -> None:
    assert character_ends([], decode_bytes) == []


@given(st.text(max_size=20).filter(lambda text: "\ufffd" not in text), st.data())
@settings(max_examples=100, deadline=None)
def test_a_character_ends_in_the_token_of_its_last_byte_also_where_that_begins_another(
    text: str, data: st.DataObject
) -> None:
    # as in byte-level vocabularies, in which " \xf0\x9f", a space and the half of an emoji, is one token
    whole = text.encode("utf-8", errors="ignore")
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1)))) if len(whole) > 1 else []
    tokens = [whole[first:last] for first, last in itertools.pairwise([0, *cuts, len(whole)])]
    ends = character_ends(
        range(len(tokens)), lambda ids: b"".join(tokens[i] for i in ids).decode("utf-8", errors="replace")
    )
    reached = [b"".join(tokens[: index + 1]) for index in range(len(tokens))]
    assert ends == [len(prefix.decode("utf-8", errors="ignore")) for prefix in reached]


@given(st.text(max_size=30), st.booleans())
@settings(max_examples=50, deadline=None)
def test_ends_never_fall_and_the_last_is_the_whole_text(text: str, eos: bool) -> None:
    ids = [*text.encode("utf-8", errors="ignore"), *([256] if eos else [])]
    ends = character_ends(ids, decode_bytes)
    assert ends == sorted(ends)
    assert (ends or [0])[-1] == len(decode_bytes(ids))
    # every character of the text ends in the token that holds its last byte
    position = 0
    for index, character in enumerate(text.encode("utf-8", errors="ignore").decode()):
        position += len(character.encode())
        assert ends[position - 1] >= index + 1

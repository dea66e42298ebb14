"""What preferences are read from, and what is wrong with a row is said with its number and field."""

from __future__ import annotations

from typing import Any

import pytest

from examples.sorting.make import tokenizer
from tests.trainer_client.making import EOS
from trainer_client.assembly import Prompts
from trainer_client.data import Row
from trainer_client.preference_data import Labelled, read_labelled, read_pairs, with_others
from trainer_client.training_errors import DataError


def prompts(*extras: dict[str, Any]) -> Prompts:
    return Prompts(
        [Row(number, "1>", extra=extra) for number, extra in enumerate(extras, 1)], [[1, 10]] * len(extras)
    )


def test_a_pair_ends_with_the_eos_once() -> None:
    text = tokenizer()
    [example] = read_pairs(prompts({"chosen": "12", "rejected": "21<end>"}), text, None)
    assert (example.answer, example.other) == ([1, 2, EOS], [2, 1, EOS])


def test_an_answer_may_be_a_message() -> None:
    message = [{"role": "assistant", "content": "3"}]
    [example] = read_pairs(prompts({"chosen": message, "rejected": "4"}), tokenizer(), None)
    assert example.answer == [3, EOS]


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"chosen": "1", "rejected": "1"}, "row 1: chosen and rejected are the same"),
        ({"chosen": "", "rejected": "1"}, "row 1: chosen: is empty"),
        ({"chosen": "1"}, "row 1: rejected: must be the text"),
        ({"chosen": 3, "rejected": "1"}, "row 1: chosen: must be the text"),
        ({"chosen": [], "rejected": "1"}, "row 1: chosen: must be the text"),
        ({"chosen": "1" * 70, "rejected": "1"}, "row 1: prompt and answer have 73 tokens, and the context holds 64"),
    ],
)
def test_a_pair_that_cannot_be_used_is_named(extra: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_pairs(prompts(extra), tokenizer(), 64)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"completion": "1"}, "row 1: label: must be true .* or false, and is None"),
        ({"completion": "1", "label": 1}, "row 1: label: must be true"),
        ({"completion": "", "label": True}, "row 1: completion: is empty"),
        ({"completion": None, "label": True}, "row 1: completion: must be the text"),
        ({"completion": "1", "label": False}, "at least two different prompts"),
    ],
)
def test_a_label_that_cannot_be_used_is_named(extra: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_labelled(prompts(extra), tokenizer(), 64)


def test_a_borrowed_answer_fits_the_context_after_its_new_prompt() -> None:
    rows = [
        Row(1, "1" * 50, extra={"completion": "2", "label": True}),
        Row(2, "1>", extra={"completion": "3" * 40, "label": False}),
    ]
    short, long = read_labelled(Prompts(rows, [[1] * 50, [1, 10]]), tokenizer(), 64)
    assert short.other == [3] * 14
    assert long.other == [2, EOS]


def test_every_answer_borrows_one_of_another_prompt() -> None:
    answers = [Labelled(row, [row // 3, 10], [row, EOS], row % 2 == 0) for row in range(9)]
    examples = with_others(answers)
    for place, example in enumerate(examples):
        lender = answers[example.other[0]]
        assert lender.prompt != answers[place].prompt
        assert example.desirable == (place % 2 == 0)
    assert sorted(example.other[0] for example in examples) == list(range(9))

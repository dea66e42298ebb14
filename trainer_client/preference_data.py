"""What preferences are learnt from: pairs of answers, and answers that are good or bad by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from trainer_client.assembly import Prompts
from trainer_client.data import Row
from trainer_client.losses import mismatched_partners
from trainer_client.training_errors import DataError


@dataclass(slots=True)
class Example:
    """A prompt with two answers, as token ids.

    For DPO and IPO `answer` was chosen and `other` rejected. For KTO `answer` is the one that is labelled, and
    `other` is an answer to another prompt, which z0 is estimated from.
    """

    number: int
    """The row of its prompt, for messages."""
    prompt: list[int]
    answer: list[int]
    other: list[int]
    desirable: bool = True
    answer_reference: list[float] = field(default_factory=list)
    """Log-probabilities of the answer's tokens by the reference."""
    other_reference: list[float] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return asdict(self)


@dataclass(slots=True)
class Labelled:
    """An answer, and whether it is a good one."""

    number: int
    prompt: list[int]
    answer: list[int]
    desirable: bool


def read_pairs(prompts: Prompts, tokenizer: Any, context: int | None) -> list[Example]:
    """The rows `{prompt | messages, chosen, rejected}` of a data set. Raises `DataError` that names row and field."""
    examples = []
    for row, ids in zip(prompts.rows, prompts.ids, strict=True):
        chosen, rejected = (_answer(row, name, tokenizer) for name in ("chosen", "rejected"))
        if chosen == rejected:
            raise DataError(
                f"row {row.number}: chosen and rejected are the same, which teaches nothing: leave it out"
            )
        _check_length(row, ids, max(chosen, rejected, key=len), context)
        examples.append(Example(row.number, ids, chosen, rejected))
    return examples


def read_labelled(prompts: Prompts, tokenizer: Any, context: int | None) -> list[Example]:
    """The rows `{prompt | messages, completion, label}` of a set. Raises `DataError` that names row and field."""
    answers = []
    for row, ids in zip(prompts.rows, prompts.ids, strict=True):
        label = row.extra.get("label")
        if not isinstance(label, bool):
            raise DataError(f"row {row.number}: label: must be true (a good answer) or false, and is {label!r}")
        answer = _answer(row, "completion", tokenizer)
        _check_length(row, ids, answer, context)
        answers.append(Labelled(row.number, ids, answer, label))
    return with_others(answers, context)


def with_others(answers: Sequence[Labelled], context: int | None = None) -> list[Example]:
    """Each answer with one to another prompt, of the whole set, so that a batch may hold a single prompt.

    Of a borrowed answer that does not fit the context after its new prompt, as much is taken as does. Raises
    `DataError` where all prompts are the same.
    """
    prompts = [tuple(each.prompt) for each in answers]
    if len(set(prompts)) < 2:
        raise DataError("KTO needs answers to at least two different prompts, to estimate its z0 from")
    return [
        Example(each.number, each.prompt, each.answer, _fitting(each, answers[partner], context), each.desirable)
        for each, partner in zip(answers, mismatched_partners(prompts), strict=True)
    ]


def _fitting(borrower: Labelled, lender: Labelled, context: int | None) -> list[int]:
    return lender.answer if context is None else lender.answer[: context - len(borrower.prompt)]


def _answer(row: Row, name: str, tokenizer: Any) -> list[int]:
    """The ids of an answer and the EOS after it; a text, or one message of the assistant."""
    value = row.extra.get(name)
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0].get("content")
    if not isinstance(value, str):
        raise DataError(f"row {row.number}: {name}: must be the text of an answer, or a list of one message with it")
    if not value:
        raise DataError(f"row {row.number}: {name}: is empty: an answer has at least one character")
    ids = list(tokenizer(value, add_special_tokens=False)["input_ids"])
    return ids if ids[-1:] == [tokenizer.eos_token_id] else [*ids, tokenizer.eos_token_id]


def _check_length(row: Row, prompt: Sequence[int], answer: Sequence[int], context: int | None) -> None:
    if context is not None and len(prompt) + len(answer) > context:
        raise DataError(
            f"row {row.number}: prompt and answer have {len(prompt) + len(answer)} tokens, and the context holds "
            f"{context}; shorten them, or leave the row out"
        )

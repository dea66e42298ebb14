"""The loss of a batch of examples under the policy, by the functions of losses.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from trainer_client.config import PreferenceSection
from trainer_client.logprobs import completion_logprobs, right_padded, values_of
from trainer_client.losses import Answers, Loss, dpo_loss, ipo_loss, kto_loss, kto_reference_point
from trainer_client.preference_data import Example


def loss_of(
    model: Any, section: PreferenceSection, part: Sequence[Example], *, rows: int, tokens: int, reference_point: float
) -> Loss:
    """The loss of some examples, as their part of the batch's, which has so many rows and tokens in its answers.

    `reference_point` is KTO's z0.
    """
    if section.loss == "kto":
        answers = _answers(
            model, [each.prompt for each in part], [each.answer for each in part],
            [each.answer_reference for each in part],
        )  # fmt: skip
        return kto_loss(
            answers, torch.tensor([each.desirable for each in part], device=answers.logp.device), reference_point,
            beta=section.beta, desirable_weight=section.desirable_weight,
            undesirable_weight=section.undesirable_weight, rows=rows,
        )  # fmt: skip
    references = [*(each.answer_reference for each in part), *(each.other_reference for each in part)]
    both = _answers(model, *both_answers(part), references)
    chosen, rejected = _rows(both, 0, len(part)), _rows(both, len(part), 2 * len(part))
    if section.loss == "ipo":
        return ipo_loss(chosen, rejected, beta=section.beta, pairs=rows)
    return dpo_loss(chosen, rejected, beta=section.beta, nll=section.nll, pairs=rows, tokens=tokens)


def reference_point(model: Any, section: PreferenceSection, batch: Sequence[Example]) -> float:
    """KTO's z0, of the whole batch; without a gradient."""
    prompts, others = [each.prompt for each in batch], [each.other for each in batch]
    logp: list[list[float]] = []
    for start in range(0, len(batch), section.micro_batch):
        part = slice(start, start + section.micro_batch)
        logp += values_of(model, prompts[part], others[part], 1.0)
    mask = right_padded([[1] * len(other) for other in others], torch.device("cpu"))
    reference = [each.other_reference for each in batch]
    return float(kto_reference_point(Answers(_padded(logp), _padded(reference), mask)))


def both_answers(part: Sequence[Example]) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts and tokens of all answers, then of all others; each prompt is read once for both."""
    prompts = [each.prompt for each in part]
    return [*prompts, *prompts], [*(each.answer for each in part), *(each.other for each in part)]


def _answers(
    model: Any,
    prompts: Sequence[Sequence[int]],
    tokens: Sequence[Sequence[int]],
    reference: Sequence[Sequence[float]],
) -> Answers:
    logp = completion_logprobs(model, prompts, tokens).logp
    mask = right_padded([[1] * len(answer) for answer in tokens], logp.device)
    return Answers(logp, _padded(reference).to(logp.device), mask)


def _rows(answers: Answers, first: int, last: int) -> Answers:
    return Answers(answers.logp[first:last], answers.ref_logp[first:last], answers.mask[first:last])


def _padded(rows: Sequence[Sequence[float]]) -> Tensor:
    return pad_sequence([torch.tensor(row, dtype=torch.float32) for row in rows], batch_first=True)

"""Completions drawn from the policy, each handed over as soon as it ends.

Token ids, the log-probabilities that they were drawn with and the mask of the loss are kept from here on: no text is
ever tokenised again, which would give other ids where several spell the same text.

What is drawn depends on the policy, the prompt and a key alone: the number that decides a token comes from a
counter-based generator (Philox) keyed by seed, prompt and place in the group. So the sampler has no state to save,
and how prompts are spread over passes or processes changes nothing but the last bits of the logits. A pass that an
earlier attempt has drawn is taken as it was (rollout_file.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from trainer_client.config import SamplingSection
from trainer_client.data import Row
from trainer_client.kv_cache import expand, select
from trainer_client.training_errors import NotFiniteError

FinishReason = Literal["stop", "length"]


@dataclass(slots=True)
class Completion:
    """What was drawn for a prompt: `sample` is its place in the group, `prompt` that of the prompt in the request.

    `token_ids` end with the EOS that was drawn, if any; `text` is without it. `mask` is 1 where a token is the
    policy's own and counts in the loss. `logprobs` are those of the distribution it was drawn from.
    """

    prompt: int
    sample: int
    token_ids: list[int]
    logprobs: list[float]
    mask: list[int]
    finish_reason: FinishReason
    text: str
    old_logprobs: list[float] | None = None
    """By the trainer's own forward pass, before the first update."""
    reference_logprobs: list[float] | None = None


@dataclass(slots=True)
class Group:
    """A prompt and its completions, in the order of their samples. `position` is its place in the order of data."""

    position: int
    row: Row
    prompt_ids: list[int]
    completions: list[Completion] = field(default_factory=list)


class Kept(Protocol):
    """What an earlier attempt has drawn, and where it is kept what is drawn now (rollout_file.py).

    A pass is what is drawn side by side. `names` are those of each completion's random numbers, `places` its prompt
    and sample.
    """

    def drawn(self, names: Sequence[str], places: Sequence[tuple[int, int]]) -> list[list[Completion]] | None:
        """A pass as it ended; None where it is not all there."""

    def begin(self, names: Sequence[str], places: Sequence[tuple[int, int]]) -> None:
        """A pass begins."""

    def add(self, finished: Sequence[Completion]) -> None:
        """Completions of it have ended at the same token."""


class Sampler:
    """Draws completions with a key-value cache. Each prompt is read once, and its group shares what was read."""

    def __init__(self, model: Any, tokenizer: Any, sampling: SamplingSection, ends: frozenset[int]) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._sampling = sampling
        self._ends = torch.tensor(sorted(ends), device=model.device)
        self._end_ids = ends

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        keys: Sequence[str],
        group: int,
        *,
        temperature: float | None = None,
        max_new_tokens: int | None = None,
        kept: Kept | None = None,
    ) -> Iterator[list[Completion]]:
        """`group` completions of each prompt, yielded together where they end at the same token.

        `keys` name the random numbers of each prompt: the same key, the same numbers. The order of what is yielded is
        that of ending, the same each time. What `kept` has is not drawn again, and what is drawn is added to it.
        Raises `NotFiniteError` where the model gives NaN.
        """
        temperature = self._sampling.temperature if temperature is None else temperature
        longest = max_new_tokens or self._sampling.max_new_tokens
        places = [(prompt, sample) for prompt in range(len(prompts)) for sample in range(group)]
        training = self._model.training
        self._model.eval()
        try:
            for start in range(0, len(places), self._sampling.rows):
                chunk = places[start : start + self._sampling.rows]
                names = [f"{keys[prompt]}/{sample}" for prompt, sample in chunk]
                before = None if kept is None else kept.drawn(names, chunk)
                if before is not None:
                    yield from before
                    continue
                if kept is not None:
                    kept.begin(names, chunk)
                for finished in self._generate_chunk(prompts, names, chunk, temperature, longest):
                    if kept is not None:
                        kept.add(finished)
                    yield finished
        finally:
            self._model.train(training)

    @torch.no_grad()  # type: ignore[untyped-decorator]  # as a decorator it also ends at each yield
    def _generate_chunk(
        self,
        prompts: Sequence[Sequence[int]],
        names: Sequence[str],
        chunk: Sequence[tuple[int, int]],
        temperature: float,
        longest: int,
    ) -> Iterator[list[Completion]]:
        device = self._model.device
        wanted = sorted({prompt for prompt, _ in chunk})
        ids, mask = left_padded([prompts[prompt] for prompt in wanted], device)
        lengths = mask.sum(dim=1)
        padded = bool((lengths < ids.shape[1]).any())
        output = self._model(
            input_ids=ids, attention_mask=mask if padded else None, use_cache=True, logits_to_keep=1,
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
        )  # fmt: skip
        of_row = torch.tensor([wanted.index(prompt) for prompt, _ in chunk], device=device)
        cache, logits = expand(output.cache, of_row, longest), output.logits[of_row, -1]
        mask = torch.cat([mask[of_row], mask.new_ones(len(chunk), longest)], dim=1) if padded else None
        position = lengths[of_row]
        numbers = torch.stack([_uniforms(name, longest) for name in names]).to(device)
        tokens = torch.zeros(len(chunk), longest, dtype=torch.long, device=device)
        logprobs = torch.zeros(len(chunk), longest, device=device)
        alive = torch.ones(len(chunk), dtype=torch.bool, device=device)
        rows = torch.arange(len(chunk), device=device)  # the chunk's row that each row of the cache is
        for place in range(longest):
            drawn, logprob = draw(
                logits, numbers[rows, place], temperature, self._sampling.top_k, self._sampling.top_p
            )
            tokens[rows, place], logprobs[rows, place] = drawn, logprob
            ended = torch.isin(drawn, self._ends) | self._stopped(tokens[rows, : place + 1])
            ends_now = rows[(ended | (place + 1 == longest)) & alive[rows]]
            if ends_now.numel():
                alive[ends_now] = False
                finished = rows[ended].tolist()
                yield [
                    self._completion(
                        chunk[row], tokens[row, : place + 1], logprobs[row, : place + 1], row in finished
                    )
                    for row in ends_now.tolist()
                ]
                left = alive[rows].nonzero().squeeze(1)
                if not left.numel():
                    return
                if left.numel() <= 0.9 * rows.numel():  # copying the cache costs about as much as a tenth of a step
                    cache = select(cache, left)
                    rows, drawn = rows[left], drawn[left]
            output = self._model(
                input_ids=drawn.unsqueeze(1), cache=cache, use_cache=True, logits_to_keep=1,
                attention_mask=None if mask is None else mask[rows, : ids.shape[1] + place + 1],
                position_ids=(position[rows] + place).unsqueeze(1),
            )  # fmt: skip
            cache, logits = output.cache, output.logits[:, -1]

    def _stopped(self, tokens: Tensor) -> Tensor:
        """Which rows have just written a stop text."""
        stops = self._sampling.stop
        if not stops:
            return torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
        tail = tokens[
            :, -(max(len(stop) for stop in stops) * 4) :
        ]  # a character is at most four tokens of a byte each
        texts = self._tokenizer.batch_decode(tail, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        found = [any(stop in text for stop in stops) for text in texts]
        return torch.tensor(found, device=tokens.device)

    def _completion(self, place: tuple[int, int], tokens: Tensor, logprobs: Tensor, ended: bool) -> Completion:
        ids, values = tokens.tolist(), logprobs.tolist()
        if not np.isfinite(values).all():
            raise NotFiniteError("the policy's logits are NaN: begin a run with a lower optimizer.learning_rate")
        return Completion(
            place[0], place[1], ids, values, [1] * len(ids), "stop" if ended else "length", self.text(ids)
        )  # fmt: skip

    def text(self, ids: list[int]) -> str:
        """What ids of a completion spell, without the EOS at their end and other special tokens."""
        ids = ids[:-1] if ids and ids[-1] in self._end_ids else ids
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def draw(
    logits: Tensor, numbers: Tensor, temperature: float, top_k: int = 0, top_p: float = 1
) -> tuple[Tensor, Tensor]:
    """One token of each row `[B, V]` by inverting the distribution function at `numbers[B]` in [0, 1).

    Returns ids and log-probabilities, both `[B]`; the latter of the distribution drawn from, temperature and
    truncation included. At temperature 0 it is the most probable token.
    """
    if temperature == 0:
        logprobs = logits.float().log_softmax(-1)
        best = logprobs.argmax(-1)
        return best, logprobs.gather(-1, best.unsqueeze(-1)).squeeze(-1)
    logprobs = (logits.float() / temperature).log_softmax(-1)
    if top_k or top_p < 1:
        logprobs = truncated(logprobs, top_k, top_p).log_softmax(-1)
    reached = logprobs.exp().cumsum(-1)
    total = reached[:, -1:]
    target = torch.minimum(
        numbers.to(reached.dtype).unsqueeze(-1) * total, torch.nextafter(total, total.new_zeros(1))
    )
    drawn = torch.searchsorted(reached, target, right=True).clamp(max=logits.shape[-1] - 1)
    return drawn.squeeze(-1), logprobs.gather(-1, drawn).squeeze(-1)


def truncated(logprobs: Tensor, top_k: int, top_p: float) -> Tensor:
    """Log-probabilities `[B, V]` with -inf outside the `top_k` most probable (0: all) and the nucleus of `top_p`.

    The nucleus is the smallest set of most probable tokens whose probability reaches `top_p` (arXiv 1904.09751).
    """
    ranked, order = logprobs.sort(dim=-1, descending=True, stable=True)
    before = ranked.exp().cumsum(-1) - ranked.exp()
    keep = before < top_p
    if top_k:
        keep[:, top_k:] = False
    keep[:, 0] = True
    return logprobs.masked_fill(~torch.zeros_like(keep).scatter(-1, order, keep), float("-inf"))


def left_padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids `[B, P]` with their last token in the last column, and the mask that is 1 where there is one."""
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, width - len(row) :] = torch.tensor(row)
        mask[place, width - len(row) :] = 1
    return ids.to(device), mask.to(device)


def _uniforms(key: str, count: int) -> Tensor:
    """`count` numbers in [0, 1) that belong to `key`."""
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "little")
    return torch.from_numpy(np.random.Generator(np.random.Philox(key=number)).random(count, dtype=np.float32))

"""The grader `text_similarity` by `cosine`: the cosine of the angle between the embeddings of two texts.

What OpenAI's guide to graders defines it as, with its own model text-embedding-3-large; here with the model of the
backend that the grader names. From -1 to 1, and not cut: models differ in how low unrelated texts come out.
"""

from __future__ import annotations

import asyncio
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import mul
from typing import Any

from verifiers.base import ConfigError, Context, ErrorType, Outcome, Verdict, VerdictError
from verifiers.embedding import Embedding, Embeds
from verifiers.grader.cases import Stage
from verifiers.grader.config import TextSimilarityGrader
from verifiers.grader.faults import Fault, SampleFaultError, bad_item, unscored
from verifiers.grader.strings import Sides
from verifiers.grader.templates import Template
from verifiers.grader.variables import Variables
from verifiers.lent import BackendError

PAIRS_AT_ONCE = 256
"""Pairs of one call of `grade` that are under way or wait for the backend."""
_MEASURED = Verdict(Outcome.PENDING, None)
"""Stands for a case that is measured; never leaves this module."""


class Cosine:
    """How alike a model finds what two texts mean."""

    lowest, highest = -1.0, 1.0

    def __init__(self, grader: TextSimilarityGrader, where: str) -> None:
        """Raises `ConfigError`."""
        if grader.model is None:
            message = "cosine compares embeddings: name the backend whose model gives them, as score_model does"
            raise ConfigError(message, f"{where}/model")
        self._model = grader.model
        self._sides = Sides.of(grader, where)
        self._stage = Stage("text_similarity", self.lowest)

    async def grade(self, cases: Sequence[Variables], ctx: Context) -> list[Verdict]:
        """See `Grader`."""
        backends = ctx.backends
        if not isinstance(backends, Embeds):
            error = VerdictError(ErrorType.BACKEND_UNAVAILABLE, "this process reaches no backends", retryable=True)
            return [unscored(self._stage.name, Fault.MODEL_SERVER, error)] * len(cases)
        pairs: list[tuple[str, str]] = []

        def prepared(case: Variables) -> Verdict:
            text, reference = self._sides.input.text(case), self._sides.reference.text(case)
            if (empty := self._empty(text, self._sides.input, "input")) is not None:
                return empty
            if (empty := self._empty(reference, self._sides.reference, "reference")) is not None:
                return empty
            pairs.append((_sendable(text), _sendable(reference)))
            return _MEASURED

        verdicts = await self._stage.each(cases, ctx, prepared)
        vectors = _Vectors(backends, self._model, ctx.deadline, (text for pair in pairs for text in pair))
        room = asyncio.Semaphore(PAIRS_AT_ONCE)

        async def one(pair: tuple[str, str]) -> Verdict:
            async with room:
                return self._verdict(await asyncio.gather(*map(vectors.of, pair)))

        measured = iter(await asyncio.gather(*map(one, pairs)))
        return [next(measured) if verdict is _MEASURED else verdict for verdict in verdicts]

    def _empty(self, text: str, template: Template, name: str) -> Verdict | None:
        """The verdict of a text with nothing to embed, which models refuse or make anything of; else None.

        Raises `SampleFaultError` where the sample is to blame.
        """
        if text.strip():
            return None
        if template.shows_sample:
            raise SampleFaultError("the sample's part that is compared is empty")
        return bad_item(self._stage.name, Fault.OTHER, f"{name}: the text that is compared is empty")

    def _verdict(self, heard: Sequence[tuple[Embedding | BackendError, bool]]) -> Verdict:
        usage = self._usage(one for one, is_new in heard if is_new and isinstance(one, Embedding))
        vectors: list[array[float]] = []
        for one, _ in heard:
            if isinstance(one, BackendError):
                return self._failed(one, usage)
            vectors.append(one.vector)
        try:
            score = cosine(*vectors)
        except ValueError as error:
            message = f"the backend {self._model} gave {error}"
            return self._failed(BackendError(ErrorType.BACKEND_FAULT, message, retryable=False), usage)
        return Verdict(Outcome.SCORED, score, {"stage": self._stage.name, "usage": usage})

    def _failed(self, error: BackendError, usage: dict[str, Any]) -> Verdict:
        what = VerdictError(error.type, str(error), retryable=error.retryable)
        return unscored(self._stage.name, Fault.MODEL_SERVER, what, usage=usage)

    def _usage(self, embeddings: Iterable[Embedding]) -> dict[str, Any]:
        """What the embeddings took that were made for this case; those shared with earlier ones took nothing."""
        new = list(embeddings)
        tokens = sum(one.prompt_tokens for one in new)
        counts: dict[str, Any] = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
        costs = [one.cost for one in new if one.cost is not None]
        return {self._model: counts | ({"cost": sum(costs)} if costs else {})}


class _Vectors:
    """The embeddings of one call's texts: each text is asked for once, and let go when nothing needs it any more."""

    def __init__(self, backends: Embeds, model: str, deadline: float, texts: Iterable[str]) -> None:
        self._backends = backends
        self._model = model
        self._deadline = deadline
        self._left = Counter(texts)
        self._asked: dict[str, asyncio.Task[Embedding | BackendError]] = {}

    async def of(self, text: str) -> tuple[Embedding | BackendError, bool]:
        """The text's embedding or why there is none, and whether it was asked for now."""
        is_new = text not in self._asked
        if is_new:
            self._asked[text] = asyncio.create_task(self._ask(text), name="embedding")
        task = self._asked[text]
        self._left[text] -= 1
        if not self._left[text]:
            del self._asked[text]
        return await task, is_new

    async def _ask(self, text: str) -> Embedding | BackendError:
        try:
            return await self._backends.embedding(self._model, text, deadline=self._deadline)
        except BackendError as error:
            return error


def cosine(first: Sequence[float], second: Sequence[float]) -> float:
    """The cosine of the angle between two vectors, the same in either order.

    Raises ValueError, saying what is wrong: other lengths, or a vector of zeros, which has no direction.
    """
    if len(first) != len(second):
        raise ValueError(f"vectors of different lengths, {len(first)} and {len(second)}")
    one, other = _scaled(first), _scaled(second)
    return max(-1.0, min(1.0, _product(one, other) / math.sqrt(_product(one, one) * _product(other, other))))


def _product(first: Sequence[float], second: Sequence[float]) -> float:
    return sum(map(mul, first, second), 0.0)


def _scaled(vector: Sequence[float]) -> Sequence[float]:
    """The vector, its numbers with 1 as the largest where their products could be infinite, or vanish.

    Raises ValueError.
    """
    largest = max(max(vector), -min(vector))
    if largest == 0:
        raise ValueError("a vector of zeros, which has no direction")
    return vector if 1e-70 < largest < 1e70 else [number / largest for number in vector]


def _sendable(text: str) -> str:
    """The text without lone surrogates, which servers refuse."""
    return text.encode(errors="replace").decode()

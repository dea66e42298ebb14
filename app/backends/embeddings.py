"""The embeddings protocol: one text, one vector, read strictly.

https://platform.openai.com/docs/api-reference/embeddings, as vLLM, SGLang, llama.cpp and text-embeddings-inference
speak it, too. Each text is a request of its own: one that is refused takes no other along.
"""

from __future__ import annotations

from array import array
from typing import Any

from app import metrics, wire
from app.backends.account import Account, count
from app.backends.caller import Caller, RefusedError
from app.backends.chat_errors import ChatError, inside, refused
from app.backends.chat_wire import tokens_of, usage_of
from app.backends.config import ChatModel
from verifiers.base import ErrorType
from verifiers.embedding import Embedding
from verifiers.lent import BackendError

_PATH = "embeddings"


class Embedder:
    """Embeds texts with one backend's model, by its `Caller`."""

    def __init__(self, caller: Caller, name: str, model: ChatModel) -> None:
        self._caller = caller
        self._name = name
        self._model = model

    async def embedding(self, text: str, *, deadline: float, account: Account | None = None) -> Embedding:
        """See `verifiers.embedding.Embeds`. What it takes is counted for `account`."""
        try:
            return await self._asked(text, deadline, account)
        except ChatError as error:
            raise BackendError(error.type, f"the backend {self._name} {error}", retryable=error.retryable) from None

    async def _asked(self, text: str, deadline: float, account: Account | None) -> Embedding:
        """Raises `ChatError`, and the caller's `BackendError`."""
        estimated = tokens_of(text) if self._caller.rates.count_tokens else 0
        body = {"model": self._model.model, "input": text}
        try:
            answer = await self._caller.post(
                lambda: wire.encode(body).encode(), deadline=deadline, tokens=estimated, below=_PATH
            )
        except RefusedError as error:
            self._caller.rates.settle(estimated, 0)
            raise refused(error.status, error.content) from None
        vector = vector_of(answer)
        tokens, _ = usage_of(answer.get("usage"))
        if tokens:
            self._caller.rates.settle(estimated, tokens)
        metrics.BACKEND_PROMPT_TOKENS.labels(self._name).inc(tokens)
        price = self._model.price_in
        cost = tokens * price / 1e6 if tokens and price is not None else None
        if cost is not None:
            metrics.BACKEND_COST.labels(self._name).inc(cost)
        count(account, self._name, prompt_tokens=tokens, cost=cost)
        return Embedding(vector, tokens, cost)


def vector_of(answer: Any) -> array[float]:
    """The vector of the one text that was sent. Raises `ChatError`."""
    if isinstance(answer, dict) and answer.get("error") is not None:
        raise inside(answer["error"])
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list) or len(data) != 1 or not isinstance(data[0], dict):
        raise _fault("answered with no embedding, or with several for one text")
    numbers = data[0].get("embedding")
    if not isinstance(numbers, list) or not numbers:
        raise _fault("answered with an embedding that is no list of numbers")
    if isinstance(numbers[0], list):
        raise _fault("answered with a vector for each token; serve the model with pooling")
    if not {int, float}.issuperset(map(type, numbers)):
        raise _fault("answered with an embedding that is no list of numbers")
    try:
        return array("d", numbers)
    except OverflowError:
        raise _fault("answered with an embedding of numbers that are too large") from None


def _fault(message: str) -> ChatError:
    return ChatError(ErrorType.BACKEND_FAULT, message)

"""The kind `remote`: a user's own verifier behind HTTP, on a server that an operator configured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, TypeAdapter

from verifiers.base import (
    Completion,
    Context,
    ErrorType,
    Example,
    Item,
    KindConfig,
    Prompt,
    Verdict,
    clip,
    past_deadline,
    register,
)
from verifiers.lent import BackendError, Backends, Needs
from verifiers.own_result import FIELDS, OwnResultError, verdict_of

STAGE = "remote"
MAX_BATCH = 1_024
AT_ONCE = 32
"""Requests of one call of `verify` that are under way or wait for the backend."""


class RemoteConfig(KindConfig):
    """The backend and how it is asked."""

    inline_scope: ClassVar[Literal["score", "register"]] = "register"
    backend: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="The name of a backend that an operator added (`assay backends add`).",
        examples=["style-checker"],
    )
    batch: int = Field(64, ge=1, le=MAX_BATCH, description="Most items of one request to it.")
    timeout_s: float | None = Field(
        None,
        ge=0.1,
        le=600.0,
        description="Seconds that a request may take in all: waiting for its turn, and every try. null: until the "
        "deadline.",
    )

    def needs(self) -> Needs:
        """See `KindConfig.needs`."""
        return Needs(backends={"/backend": self.backend})


@register
class Remote:
    """Judge with an HTTP server of your own, at an address that an operator allowed.

    How an operator adds one, and what bounds it: [backends](../backends.md).

    The service posts items to the backend, at most `batch` in a request, each as in `POST /score`:

    ```json
    {"items": [{"id": "a1", "prompt": "...", "completion": "...", "reference": "42", "metadata": {}}],
     "deadline_ms": 12000}
    ```

    The server answers 200 with one result for each, in the same order:

    ```json
    {"items": [{"score": 0.5, "outcome": "partial", "detail": {"why": "half of it"}, "components": {"style": 1}}]}
    ```

    `score` is a finite number or a boolean and need not lie between 0 and 1. Without `outcome`, 1 and true are
    `correct`, 0 and false `incorrect`, what lies between is `partial`, and any other number is `scored`. `detail` is
    JSON of your choosing and appears as `said`; `components` are numbers by name. An `id` that comes back must be the
    item's own. An item that you cannot judge gets `{"score": null, "error": "why"}`, and is `unscored` with
    `verifier_fault`.

    ## Faults

    Nothing that goes wrong becomes a score. A backend that cannot be reached, is too slow, or answers 429 or 5xx,
    after some tries within the deadline, leaves its items `unscored` with `backend_unavailable`; an answer that is no
    JSON, has another number of items, is too large, or is a redirect, leaves all items of that request with
    `backend_fault`, and a result that is none leaves its own item so. A request may come to your server twice, so let
    it judge and change nothing. Verdicts are not cached.
    """

    kind: ClassVar[str] = "remote"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = False
    cache: ClassVar[Literal["none", "memory"]] = "none"
    Config: ClassVar[type[BaseModel]] = RemoteConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(Any)
    examples: ClassVar[Sequence[Example]] = ()
    guarded: ClassVar[Sequence[str]] = ()
    sandboxed: ClassVar[bool] = False

    def __init__(self, config: RemoteConfig) -> None:
        self._config = config

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        """One verdict per item, in order. Requests run at once, as far as the backend's bounds allow."""
        if ctx.backends is None:
            error = BackendError(ErrorType.BACKEND_UNAVAILABLE, "this process reaches no backends", retryable=True)
            return [_unscored(error)] * len(items)
        verdicts = [past_deadline()] * len(items)
        starts = iter(range(0, len(items), self._config.batch))
        workers = min(AT_ONCE, -(-len(items) // self._config.batch))
        await asyncio.gather(*(self._work(starts, items, verdicts, ctx.backends, ctx) for _ in range(workers)))
        return verdicts

    async def _work(
        self, starts: Iterator[int], items: Sequence[Item], verdicts: list[Verdict], backends: Backends, ctx: Context
    ) -> None:
        """Fill the verdicts of the requests that begin at `starts`, which several workers share."""
        name, timeout = self._config.backend, self._config.timeout_s
        for start in starts:
            some = items[start : start + self._config.batch]
            now = time.monotonic()
            if now > ctx.deadline:
                return
            deadline = ctx.deadline if timeout is None else min(ctx.deadline, now + timeout)
            try:
                answer = await backends.post(name, asked(some, deadline - now), deadline=deadline)
                found = judged(answer, some, name)
            except BackendError as error:
                found = [_unscored(error)] * len(some)
            verdicts[start : start + len(some)] = found


def asked(items: Sequence[Item], seconds: float) -> dict[str, Any]:
    """The request about some items."""
    return {"items": [_sent(item) for item in items], "deadline_ms": int(seconds * 1000)}


def _sent(item: Item) -> dict[str, Any]:
    return {
        "id": item.id,
        "prompt": _text_or_messages(item.prompt),
        "completion": _text_or_messages(item.completion),
        "reference": item.reference,
        "metadata": item.metadata,
    }


def _text_or_messages(value: Prompt | Completion | None) -> Any:
    if value is None or isinstance(value, str):
        return value
    return [message.model_dump(exclude_unset=True) for message in value]


def judged(answer: Any, items: Sequence[Item], name: str) -> list[Verdict]:
    """The verdicts that a backend's answer means. Raises `BackendError` where it means none."""
    results = answer.get("items") if isinstance(answer, dict) else None
    if not isinstance(results, list):
        raise _fault(f"the backend {name} answered no object with a list 'items'")
    if len(results) != len(items):
        raise _fault(f"the backend {name} answered {len(results)} results for {len(items)} items")
    return [_judged(result, item, name) for result, item in zip(results, items, strict=True)]


def _judged(result: Any, item: Item, name: str) -> Verdict:
    if not isinstance(result, dict):
        return _unscored(_fault(f"the backend {name} gave a result that is no object"))
    if result.get("id", item.id) != item.id:
        return _unscored(
            _fault(f"the backend {name} gave a result with another item's id: they must keep their order")
        )
    if result.get("score") is None and result.get("error") is not None:
        said = result["error"] if isinstance(result["error"], str) else "it gave an error that is no text"
        error = BackendError(ErrorType.VERIFIER_FAULT, f"the backend {name}: {clip(said)}", retryable=False)
        return _unscored(error)
    if unknown := next((key for key in result if key not in FIELDS and key not in ("id", "error")), None):
        return _unscored(_fault(f"the backend {name} gave a result with {clip(unknown, 50)!r}, which means nothing"))
    try:
        verdict = verdict_of({key: result[key] for key in FIELDS if key in result}, STAGE)
    except OwnResultError as error:
        return _unscored(_fault(f"the backend {name} {error}"))
    return replace(verdict, detail={"stage": STAGE, "backend": name, **verdict.detail})


def _fault(message: str) -> BackendError:
    return BackendError(ErrorType.BACKEND_FAULT, message, retryable=False)


def _unscored(error: BackendError) -> Verdict:
    verdict = Verdict.unscored(error.type, clip(str(error), 500), retryable=error.retryable)
    return replace(verdict, detail={"stage": STAGE})

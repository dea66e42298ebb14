"""A chat model that says what a test wants, over the protocol that a real server's client implements."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.verifiers.support import InProcessGuard
from verifiers.base import Context, ErrorType, Item, Verdict
from verifiers.chat import Abilities, ChatAnswer, ChatRequest
from verifiers.judge import Judge
from verifiers.judge.config import JudgeConfig
from verifiers.lent import BackendError, Reward, Solution, StepScores

Said = str | ChatAnswer | BackendError
Script = Callable[[ChatRequest], Said]


class Scripted:
    """Backends of which each answers by its script. Counts what it is asked."""

    def __init__(self, *scripts: Script, json_schema: bool = True, seconds: float = 0.0, **named: Script) -> None:
        self._scripts = dict(zip("abcdefgh", scripts, strict=False)) | named
        self._json_schema = json_schema
        self._seconds = seconds
        self.requests: list[tuple[str, ChatRequest]] = []
        self.discarded: list[ChatRequest] = []
        self.at_once = 0
        self.most_at_once = 0

    async def exists(self, name: str, type: str | None = None) -> bool:
        return name in self._scripts

    async def post(self, name: str, body: Any, *, deadline: float) -> Any:
        raise AssertionError("judges chat")

    async def rewards(
        self, name: str, conversations: Sequence[Sequence[Mapping[str, str]]], *, deadline: float
    ) -> list[Reward]:
        raise AssertionError("no reward model is asked")

    async def steps(self, name: str, solutions: Sequence[Solution], *, deadline: float) -> list[StepScores]:
        raise AssertionError("no reward model is asked")

    async def abilities(self, name: str) -> Abilities:
        return Abilities(json_schema=self._json_schema, logprobs=True)

    def discard(self, name: str, request: ChatRequest) -> None:
        self.discarded.append(request)

    async def chat(self, name: str, request: ChatRequest, *, deadline: float) -> ChatAnswer:
        self.requests.append((name, request))
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await asyncio.sleep(min(self._seconds, max(0.0, deadline - time.monotonic())))
            if time.monotonic() >= deadline:
                raise BackendError(ErrorType.BACKEND_UNAVAILABLE, "took too long", retryable=True)
        finally:
            self.at_once -= 1
        said = self._scripts[name](request)
        if isinstance(said, BackendError):
            raise said
        return (
            ChatAnswer(said, "stop", prompt_tokens=100, completion_tokens=10, cost=0.5)
            if isinstance(said, str)
            else said
        )


def prompt(request: ChatRequest) -> str:
    """What the user's message holds."""
    return request.messages[-1].content


def code(request: ChatRequest) -> str:
    """The item's code, as the judge can read it at the end."""
    found: list[str] = re.findall(r"VERDICT-([0-9a-f]{8})", prompt(request))
    return found[-1]


def says(**members: Any) -> Script:
    """Answers JSON."""
    return lambda request: json.dumps(members)


def marks(verdict: str) -> Script:
    """Answers a line with the item's code."""
    return lambda request: f"Because it is so.\nVERDICT-{code(request)}: {verdict}"


def answer(text: str, finish_reason: str | None = "stop", **more: Any) -> Script:
    """Answers this text."""
    return lambda request: ChatAnswer(text, finish_reason, **more)


def fails(type: ErrorType = ErrorType.BACKEND_UNAVAILABLE, *, retryable: bool = True) -> Script:
    """Gives no answer."""
    return lambda request: BackendError(type, "as the test wants it", retryable=retryable)


def judge(**config: Any) -> Judge:
    """A judge from its configuration; its backend is the first script's."""
    return Judge(JudgeConfig.model_validate({"backend": "a", **config}))


async def judged(
    judge: Judge, backends: Scripted, items: Sequence[Item] | None = None, *, seconds: float = 30, **item: Any
) -> list[Verdict]:
    """Verdicts on items, or on the one given by its fields."""
    ctx = Context(time.monotonic() + seconds, InProcessGuard(), backends=backends)
    one = {"prompt": "What is the capital of France?", "completion": "It is Paris."}
    return await judge.verify([Item(**{**one, **item})] if items is None else items, ctx)

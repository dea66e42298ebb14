"""Chat models as tests want them, and what is asked of them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from app.backends.answers import Answers
from app.backends.chat_server import ChatServer
from app.backends.config import ChatModel
from tests.app.backends.support import calling
from verifiers.chat import ChatAnswer, ChatMessage, ChatRequest

LIMITS = frozenset(
    ("concurrency", "connect_s", "timeout_s", "retries", "answer_kb", "requests_per_minute", "tokens_per_minute")
)


def request(text: str = "Is the sky blue?", max_tokens: int = 16, **more: Any) -> ChatRequest:
    return ChatRequest((ChatMessage("user", text),), max_tokens=max_tokens, **more)


def completion(content: Any = "Yes.", finish_reason: Any = "stop", **more: Any) -> dict[str, Any]:
    """A server's answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}
    return {"object": "chat.completion", "choices": [choice], "usage": usage(10, 2)} | more


def usage(prompt_tokens: Any, completion_tokens: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}


@asynccontextmanager
async def chatting(url: str, answers: Answers | None = None, **more: Any) -> AsyncIterator[ChatServer]:
    """The chat model at `url`, named `it`. `more`: limits, what `ChatModel` has, and what `calling` takes."""
    limits = {name: more.pop(name) for name in LIMITS & more.keys()}
    about = {name: more.pop(name) for name in ChatModel.model_fields.keys() & more.keys()}
    model = ChatModel.model_validate({"model": "m", **about})
    async with calling(url, **more, **limits) as caller:
        server = ChatServer(caller, "it", model, Answers() if answers is None else answers)
        try:
            yield server
        finally:
            await server.close()


async def ask(server: ChatServer, asked: ChatRequest | None = None, seconds: float = 20.0) -> ChatAnswer:
    return await server.chat(asked or request(), deadline=time.monotonic() + seconds)

"""What a kind asks of a chat model, and what comes back. How it travels is the backends' affair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

MAX_TOP_LOGPROBS = 20
"""Alternatives of a token that servers give at most."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message. Its text holds no lone surrogates, which servers refuse."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What is sent to the model, but for its name. Everything here decides the answer."""

    messages: tuple[ChatMessage, ...]
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    """None: none is sent."""
    json_schema: Mapping[str, Any] | None = None
    """The answer must be JSON of this schema, sent as `strict`; only to a server that is able to."""
    top_logprobs: int = 0
    """How many alternatives to give of each of the answer's tokens, at most `MAX_TOP_LOGPROBS`; 0: none."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an answer. Log-probabilities are natural and finite."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...]
    """The likeliest tokens at this place with their log-probabilities."""


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What the model answered: its first choice."""

    text: str
    """Empty where there is none."""
    finish_reason: str | None
    """As the server says it: `stop`, `length`, `content_filter`, `tool_calls`."""
    refusal: str | None = None
    """Why the model refused, where the server says so apart from the text."""
    tokens: tuple[Token, ...] = ()
    """Where `top_logprobs` was asked for and the server gives them."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    """In the currency of the backend's prices; None where it has none."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a server can do beyond chatting."""

    json_schema: bool
    """Whether it constrains its answer to a JSON schema (`response_format` of type `json_schema`)."""
    logprobs: bool
    """Whether it gives log-probabilities."""

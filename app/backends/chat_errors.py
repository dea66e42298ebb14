"""What a chat model's server means by its errors.

The words are those of the servers themselves: OpenAI's error codes, vLLM, SGLang, llama.cpp and
text-generation-inference, and what gateways pass on from others. Nothing of what a server says is repeated: it may
quote the key, or the candidate's text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verifiers.base import ErrorType

MAX_MESSAGE = 4_000
"""Characters of a message that are looked at."""
_OVERFLOW_CODES = frozenset(
    ("context_length_exceeded", "exceed_context_size_error", "model_context_window_exceeded", "prompt_too_long")
)
_OVERFLOW_WORDS = (
    "context length",  # OpenAI, vLLM, SGLang, Mistral
    "context size",  # llama.cpp
    "context window",
    "contextwindowexceeded",  # LiteLLM
    "maximum model length",  # vLLM
    "maximum prompt length",  # xAI
    "maximum number of tokens allowed",  # Gemini
    "`inputs` tokens + `max_new_tokens`",  # text-generation-inference
    "reduce the length of the messages",  # Groq
    "prompt is too long",  # Anthropic
    "input is too long",  # Bedrock
    "too large to process",  # llama.cpp, of embeddings; with a 500
    "must have less than",  # text-embeddings-inference
)
_FILTER_CODES = frozenset(
    ("content_filter", "content_policy_violation", "responsibleaipolicyviolation", "invalid_prompt")
)
_MODEL_CODES = frozenset(("model_not_found", "notfounderror"))
SENT = frozenset(
    ("messages", "max_tokens", "temperature", "top_p", "seed", "response_format", "logprobs", "top_logprobs", "input")
)
"""Fields of a request, as far as an error may name them."""


class ChatError(Exception):
    """Why there is no usable answer. The message follows the backend's name."""

    def __init__(self, type: ErrorType, message: str, *, retryable: bool = False, status: int | None = None) -> None:
        super().__init__(message)
        self.type = type
        self.retryable = retryable
        self.status = status
        """Of a refusal."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What an error holds, in small letters."""

    codes: frozenset[str]
    message: str
    field: str | None

    @property
    def overflows(self) -> bool:
        """Whether it is about too many tokens."""
        return bool(self.codes & _OVERFLOW_CODES) or any(words in self.message for words in _OVERFLOW_WORDS)


def overflows(content: Any) -> bool:
    """Whether an error is about too many tokens."""
    return _said(content).overflows


def refused(status: int, content: Any) -> ChatError:
    """What a refusal means: its status, and the JSON value that came with it."""
    type, message = _meaning(status, _said(content))
    return ChatError(type, message, status=status)


def _meaning(status: int, said: _Said) -> tuple[ErrorType, str]:
    if status == 401:
        return ErrorType.BACKEND_FAULT, "refused the key (401)"
    if said.codes & _FILTER_CODES or (status == 403 and "flagged" in said.message):
        return ErrorType.CONTENT_FILTERED, "refused the request by its content filter"
    if status == 403:
        return ErrorType.BACKEND_FAULT, "refused the key, or what it may do (403)"
    if status in (400, 413, 422, 500) and said.overflows:
        return ErrorType.CONTEXT_OVERFLOW, "has a model that takes fewer tokens than the request has"
    if status == 404 or said.codes & _MODEL_CODES:
        return ErrorType.BACKEND_FAULT, f"has no such model, or nothing at its URL ({status})"
    if said.field is not None:
        return ErrorType.BACKEND_FAULT, f"does not take {said.field} as it was sent ({status})"
    return ErrorType.BACKEND_FAULT, f"answered {status}"


def inside(error: Any) -> ChatError:
    """What an error inside an answer of 200 means; gateways put the status of another server there."""
    code = error.get("code") if isinstance(error, dict) else None
    status = int(code) if isinstance(code, int | str) and str(code) in _STATUSES else None
    if status == 429 or (status is not None and status >= 500):
        return ChatError(ErrorType.BACKEND_UNAVAILABLE, f"answered 200 with the error {status}", retryable=True)
    meant = refused(status or 400, {"error": error})
    if meant.type is ErrorType.BACKEND_FAULT and status is None:
        return ChatError(ErrorType.BACKEND_FAULT, "answered 200 with an error")
    return meant


_STATUSES = frozenset(str(status) for status in range(400, 600))


def does_not_take(field: str, content: Any) -> bool:
    """Whether a refusal says that the model knows no such field, as OpenAI's reasoning models do of `max_tokens`."""
    said = _said(content)
    return said.field == field and "unsupported_parameter" in said.codes


def _said(content: Any) -> _Said:
    """Errors stand in `error`, as an object or a text, or are the whole value (vLLM), or its `detail` (FastAPI)."""
    error = content.get("error", content) if isinstance(content, dict) else content
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, Mapping):
        return _Said(frozenset(), "", None)
    nested = error.get("innererror")  # Azure
    codes = [error.get("code"), error.get("type"), nested.get("code") if isinstance(nested, dict) else None]
    message = error.get("message") or error.get("detail")
    field = error.get("param")
    return _Said(
        frozenset(code.lower() for code in codes if isinstance(code, str)),
        message[:MAX_MESSAGE].lower() if isinstance(message, str) else "",
        field if isinstance(field, str) and field in SENT else None,
    )

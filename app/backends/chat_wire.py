"""The chat completions protocol: what is sent, and an answer read strictly.

https://platform.openai.com/docs/api-reference/chat, as vLLM, SGLang and llama.cpp speak it, too.
"""

from __future__ import annotations

import heapq
import math
from typing import Any, Literal

from app.backends.chat_errors import ChatError, inside
from verifiers.base import ErrorType
from verifiers.chat import ChatAnswer, ChatRequest, Token

LimitField = Literal["max_tokens", "max_completion_tokens"]
MAX_COUNT = 10**9
"""Tokens that one answer can have used."""
ROUNDING = 1e-3
"""How far above 0 a log-probability may be by rounding."""
SCHEMA_NAME = "answer"


def body_of(model: str, request: ChatRequest, limit: LimitField = "max_tokens") -> dict[str, Any]:
    """The JSON value to send. `limit` is what the server calls the most tokens of the answer."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        limit: request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
    }
    if request.seed is not None:
        body["seed"] = request.seed
    if request.json_schema is not None:
        schema = {"name": SCHEMA_NAME, "strict": True, "schema": request.json_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    return body


def answer_of(value: Any, request: ChatRequest) -> ChatAnswer:
    """The answer to a request, without its cost. Raises `ChatError`."""
    answer = _object(value, "an answer")
    if answer.get("error") is not None:
        raise inside(answer["error"])
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise _fault("answered without choices")
    choice = _object(choices[0], "a choice")
    if choice.get("error") is not None:
        raise inside(choice["error"])
    message = _object(choice.get("message"), "a message")
    prompt_tokens, completion_tokens = usage_of(answer.get("usage"))
    return ChatAnswer(
        text=_text(message, "content") or "",
        finish_reason=_text(choice, "finish_reason"),
        refusal=_text(message, "refusal"),
        tokens=_tokens(choice.get("logprobs"), request) if request.top_logprobs else (),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )


def estimated_tokens(request: ChatRequest) -> int:
    """About how many tokens a request takes, its whole answer included: 4 ASCII characters or 1 other are one."""
    return request.max_tokens + sum(8 + tokens_of(message.content) for message in request.messages)


def tokens_of(text: str) -> int:
    """About how many tokens a text has."""
    ascii_only = len(text.encode("ascii", "ignore"))
    return ascii_only // 4 + len(text) - ascii_only


def usage_of(value: Any) -> tuple[int, int]:
    """Prompt and completion tokens; 0 where the server does not count."""
    if value is None:
        return 0, 0
    usage = _object(value, "usage")
    return _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")


def _count(usage: dict[str, Any], name: str) -> int:
    value = usage.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise _fault(f"answered with {name} that are no count")
    return value


def _tokens(value: Any, request: ChatRequest) -> tuple[Token, ...]:
    """The answer's tokens, as many as were asked for at most, each with as many alternatives."""
    if value is None:
        return ()
    content = _object(value, "logprobs").get("content")
    if content is None:
        return ()
    if not isinstance(content, list):
        raise _fault("answered with logprobs whose content is no list")
    return tuple(_token(entry, request.top_logprobs) for entry in content[: request.max_tokens])


def _token(value: Any, most: int) -> Token:
    entry = _object(value, "a token")
    text, logprob = _scored(entry)
    if logprob is None:
        raise _fault("answered with a token without a log-probability")
    alternatives = entry.get("top_logprobs")
    if not isinstance(alternatives, list):
        raise _fault("answered with a token whose top_logprobs are no list")
    top = [
        (other, likely)
        for other, likely in (_scored(_object(one, "a token")) for one in alternatives)
        if likely is not None  # minus infinity, in llama.cpp's JSON
    ]
    return Token(text, logprob, tuple(heapq.nlargest(most, top, key=lambda one: one[1])))


def _scored(entry: dict[str, Any]) -> tuple[str, float | None]:
    text, logprob = entry.get("token"), entry.get("logprob")
    if not isinstance(text, str):
        raise _fault("answered with a token that is no text")
    if logprob is None:
        return text, None
    if isinstance(logprob, bool) or not isinstance(logprob, int | float):
        raise _fault("answered with a log-probability that is no number")
    if logprob > ROUNDING or (isinstance(logprob, int) and logprob < -MAX_COUNT) or not math.isfinite(logprob):
        raise _fault("answered with a log-probability that is none")
    return text, min(0.0, float(logprob))


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _fault(f"answered with {what} that is no object")
    return value


def _text(value: dict[str, Any], name: str) -> str | None:
    text = value.get(name)
    if text is not None and not isinstance(text, str):
        raise _fault(f"answered with {name} that is no text")
    return text


def _fault(message: str) -> ChatError:
    return ChatError(ErrorType.BACKEND_FAULT, message)

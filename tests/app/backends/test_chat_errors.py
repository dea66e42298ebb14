"""What servers of chat models say when they refuse, in their own words, and what it is taken for."""

from __future__ import annotations

from typing import Any

import pytest

from app.backends.chat_errors import SENT, does_not_take, inside, refused
from app.backends.chat_wire import body_of
from tests.app.backends.chat_support import request
from verifiers.base import ErrorType

OVERFLOW, FILTERED = ErrorType.CONTEXT_OVERFLOW, ErrorType.CONTENT_FILTERED
FAULT, UNAVAILABLE = ErrorType.BACKEND_FAULT, ErrorType.BACKEND_UNAVAILABLE


def openai(message: str, code: Any = None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code, **more}}


OVERFLOWS: list[tuple[int, Any]] = [
    (400, openai("This model's maximum context length is 8192 tokens.", "context_length_exceeded")),
    (
        400,
        {
            "error": {
                "code": 400,
                "message": "request (6031 tokens) exceeds the available context size (1024 tokens)",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 6031,
                "n_ctx": 1024,
            }
        },
    ),  # llama.cpp
    (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
    ),  # vLLM
    (400, openai("The decoder prompt (length 8357) is longer than the maximum model length of 8192.", 400)),  # vLLM
    (
        400,
        {
            "object": "error",
            "message": "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
            "type": "BadRequestError",
            "code": 400,
        },
    ),  # SGLang
    (400, openai("Requested token count exceeds the model's maximum context length of 8192 tokens.")),  # SGLang
    (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000"}),
    (400, openai("litellm.ContextWindowExceededError: ...")),
    (413, openai("prompt is too long: 213462 tokens > 200000 maximum")),
    (400, {"detail": "the context window is full"}),
    (400, "context length exceeded"),
    (
        500,
        {
            "error": {
                "code": 500,
                "message": "input (601 tokens) is too large to process. increase the physical batch size (current "
                "batch size: 512)",
                "type": "server_error",
            }
        },
    ),  # llama.cpp, of embeddings
    (413, {"error": "Input validation error: `inputs` must have less than 512 tokens. Given: 3001"}),  # TEI
]


@pytest.mark.parametrize(("status", "content"), OVERFLOWS)
def test_too_many_tokens(status: int, content: Any) -> None:
    error = refused(status, content)
    assert (error.type, error.retryable) == (OVERFLOW, False)
    assert str(error) == "has a model that takes fewer tokens than the request has"


AZURE = {
    "error": {
        "message": "The response was filtered.",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation"},
    }
}
REFUSALS: list[tuple[int, Any, ErrorType, str]] = [
    (400, AZURE, FILTERED, "refused the request by its content filter"),
    (400, {"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}}}, FILTERED, "content filter"),
    (400, openai("Your request was rejected.", "content_policy_violation"), FILTERED, "content filter"),
    (403, openai("requires moderation, and your input was flagged", 403), FILTERED, "content filter"),
    (401, openai("Incorrect API key provided: sk-s3cret.", "invalid_api_key"), FAULT, "refused the key (401)"),
    (401, openai("maximum context length"), FAULT, "refused the key (401)"),
    (403, openai("s3cret may not"), FAULT, "refused the key, or what it may do (403)"),
    (
        404,
        openai("The model s3cret does not exist", "model_not_found"),
        FAULT,
        "has no such model, or nothing at its",
    ),
    (400, openai("no s3cret", "model_not_found"), FAULT, "has no such model, or nothing at its URL (400)"),
    (404, None, FAULT, "has no such model, or nothing at its URL (404)"),
    (400, openai("s3cret", "unsupported_value", param="temperature"), FAULT, "does not take temperature as it was"),
    (400, openai("s3cret", "unsupported_value", param="s3cret"), FAULT, "answered 400"),
    (402, openai("s3cret"), FAULT, "answered 402"),
    (418, openai("maximum context length"), FAULT, "answered 418"),
    (400, None, FAULT, "answered 400"),
    (400, [], FAULT, "answered 400"),
    (400, {}, FAULT, "answered 400"),
    (400, 5, FAULT, "answered 400"),
    (400, {"error": []}, FAULT, "answered 400"),
    (400, {"error": None}, FAULT, "answered 400"),
    (400, {"error": {"message": 5, "code": [], "type": {}, "param": {}, "innererror": "x"}}, FAULT, "answered 400"),
    (400, {"error": {"message": "x" * 100_000 + "context length"}}, FAULT, "answered 400"),
]


@pytest.mark.parametrize(("status", "content", "type", "message"), REFUSALS)
def test_refusals(status: int, content: Any, type: ErrorType, message: str) -> None:
    error = refused(status, content)
    assert (error.type, error.retryable, error.status) == (type, False, status)
    assert message in str(error)
    assert "s3cret" not in str(error)


@pytest.mark.parametrize(
    ("error", "type", "message", "retryable"),
    [
        ({"message": "s3cret", "code": 502}, UNAVAILABLE, "answered 200 with the error 502", True),
        ({"message": "s3cret", "code": "429"}, UNAVAILABLE, "answered 200 with the error 429", True),
        ({"message": "s3cret", "code": 401}, FAULT, "refused the key (401)", False),
        ({"message": "s3cret", "code": 418}, FAULT, "answered 418", False),
        ({"message": "maximum context length"}, OVERFLOW, "fewer tokens", False),
        ({"message": "x", "code": "content_filter"}, FILTERED, "content filter", False),
        ({"message": "s3cret", "code": 99999}, FAULT, "answered 200 with an error", False),
        ({"message": "s3cret", "code": "٤٢٩"}, FAULT, "answered 200 with an error", False),
        ("s3cret", FAULT, "answered 200 with an error", False),
        (True, FAULT, "answered 200 with an error", False),
        ({"code": True}, FAULT, "answered 200 with an error", False),
        ([], FAULT, "answered 200 with an error", False),
    ],
)
def test_errors_inside_an_answer(error: Any, type: ErrorType, message: str, retryable: bool) -> None:
    found = inside(error)
    assert (found.type, found.retryable) == (type, retryable)
    assert message in str(found)
    assert "s3cret" not in str(found)


def test_fields_that_errors_may_name_are_those_that_are_sent() -> None:
    whole = request(seed=1, json_schema={}, top_logprobs=1)
    assert body_of("m", whole).keys() - {"model"} | {"input"} == SENT, "`input` is of embeddings"


def test_a_model_that_has_another_name_for_the_limit() -> None:
    message = "Unsupported parameter: 'max_tokens' is not supported with this model."
    said = openai(message, "unsupported_parameter", param="max_tokens")
    assert does_not_take("max_tokens", said)
    assert not does_not_take("max_tokens", openai(message, "unsupported_value", param="max_tokens"))
    assert not does_not_take("seed", said)
    assert not does_not_take("max_tokens", None)

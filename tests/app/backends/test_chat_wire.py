"""Chat requests as they are sent, and answers read strictly."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import wire
from app.backends.chat_errors import ChatError
from app.backends.chat_wire import answer_of, body_of, estimated_tokens
from tests.app.backends.chat_support import completion, request, usage
from verifiers.base import ErrorType
from verifiers.chat import ChatAnswer, ChatMessage, ChatRequest, Token


def test_what_is_sent() -> None:
    asked = ChatRequest((ChatMessage("system", "Be brief."), ChatMessage("user", "Hi")), max_tokens=5)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    body = {"model": "m", "messages": messages, "max_tokens": 5, "temperature": 0.0, "top_p": 1.0}
    assert body_of("m", asked) == body
    schema = {"type": "object"}
    whole = ChatRequest(asked.messages, 5, 0.5, 0.9, seed=7, json_schema=schema, top_logprobs=20)
    assert body_of("m", whole, "max_completion_tokens") == {
        "model": "m",
        "messages": messages,
        "max_completion_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": schema},
        },
        "logprobs": True,
        "top_logprobs": 20,
    }


def test_an_answer() -> None:
    assert answer_of(completion(" Yes. "), request()) == ChatAnswer(
        " Yes. ", "stop", prompt_tokens=10, completion_tokens=2
    )


@pytest.mark.parametrize("finish_reason", ["length", "content_filter", "tool_calls", None, "new"])
def test_how_an_answer_ended_is_told(finish_reason: str | None) -> None:
    assert answer_of(completion("x", finish_reason), request()).finish_reason == finish_reason


def test_nothing_and_refusals_are_told() -> None:
    assert answer_of(completion(None), request()).text == ""
    assert answer_of(completion(""), request()).text == ""
    no_content = {"choices": [{"message": {"role": "assistant", "refusal": "I will not."}}]}
    assert answer_of(no_content, request()) == ChatAnswer("", None, refusal="I will not.")
    assert answer_of(completion(usage=None), request()).prompt_tokens == 0
    assert answer_of(completion(usage=usage(7, None)), request()).completion_tokens == 0


def choice(**members: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"} | members]}


WRONG: list[tuple[Any, str]] = [
    (None, "an answer that is no object"),
    ([], "an answer that is no object"),
    ("text", "an answer that is no object"),
    (5, "an answer that is no object"),
    ({"choices": None}, "without choices"),
    ({"choices": []}, "without choices"),
    ({"choices": {}}, "without choices"),
    ({"choices": "x"}, "without choices"),
    ({}, "without choices"),
    ({"choices": [None]}, "a choice that is no object"),
    (choice(message=None), "a message that is no object"),
    (choice(message=[]), "a message that is no object"),
    ({"choices": [{}]}, "a message that is no object"),
    (choice(message={"content": 5}), "content that is no text"),
    (choice(message={"content": [{"type": "text", "text": "x"}]}), "content that is no text"),
    (choice(message={"content": "x", "refusal": True}), "refusal that is no text"),
    (choice(finish_reason=1), "finish_reason that is no text"),
    (completion(usage=[]), "usage that is no object"),
    *(
        (completion(usage=usage(value, 1)), "prompt_tokens that are no count")
        for value in (-1, 1.0, True, "1", 10**10)
    ),
    (completion(error={"message": "x"}), "200 with an error"),
    (choice(error={"message": "x"}), "200 with an error"),
]


@pytest.mark.parametrize(("value", "message"), WRONG)
def test_answers_that_are_none(value: Any, message: str) -> None:
    with pytest.raises(ChatError, match=message) as raised:
        answer_of(value, request())
    assert raised.value.type is ErrorType.BACKEND_FAULT
    assert not raised.value.retryable


def scored(token: Any, logprob: Any, *top: tuple[Any, Any]) -> dict[str, Any]:
    alternatives = [{"token": other, "logprob": likely, "bytes": [1]} for other, likely in top]
    return {"token": token, "logprob": logprob, "bytes": None, "top_logprobs": alternatives}


def with_logprobs(*content: Any) -> dict[str, Any]:
    return choice(logprobs={"content": list(content), "refusal": None})


def test_log_probabilities() -> None:
    said = with_logprobs(scored("No", -1, ("No", -1.0), ("Yes", -0.5), ("", -3), ("x", None)), scored(".", 0.0))
    tokens = answer_of(said, request(top_logprobs=2)).tokens
    assert tokens == (Token("No", -1.0, (("Yes", -0.5), ("No", -1.0))), Token(".", 0.0, ()))
    assert answer_of(said, request()).tokens == ()
    for none in (choice(), choice(logprobs=None), choice(logprobs={}), choice(logprobs={"content": None})):
        assert answer_of(none, request(top_logprobs=2)).tokens == ()


def test_log_probabilities_that_nobody_asked_for_take_no_memory() -> None:
    top = [(str(n), -float(n)) for n in range(2_000)]
    said = with_logprobs(*(scored("a", -1.0, *top) for _ in range(50)))
    tokens = answer_of(said, request(max_tokens=3, top_logprobs=5)).tokens
    assert [token.top for token in tokens] == [tuple(top[:5])] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x", "content is no list"),
        ([None], "a token that is no object"),
        ([{"token": "a", "logprob": -1}], "top_logprobs are no list"),
        ([scored(5, -1)], "a token that is no text"),
        ([scored("a", None)], "a token without a log-probability"),
        ([scored("a", "-1")], "a log-probability that is no number"),
        ([scored("a", True)], "a log-probability that is no number"),
        ([scored("a", 0.5)], "a log-probability that is none"),
        ([scored("a", math.nan)], "a log-probability that is none"),
        ([scored("a", -math.inf)], "a log-probability that is none"),
        ([scored("a", -(10**400))], "a log-probability that is none"),
        ([scored("a", -1, ("b", 7))], "a log-probability that is none"),
        ([scored("a", -1, (None, -7))], "a token that is no text"),
    ],
)
def test_log_probabilities_that_are_none(content: Any, message: str) -> None:
    with pytest.raises(ChatError, match=message):
        answer_of(choice(logprobs={"content": content}), request(top_logprobs=2))


@pytest.mark.parametrize("logprobs", [[], "x", 5, True])
def test_logprobs_that_are_no_object(logprobs: Any) -> None:
    with pytest.raises(ChatError, match="logprobs that is no object"):
        answer_of(choice(logprobs=logprobs), request(top_logprobs=2))


def test_rounding_above_certainty_is_certainty() -> None:
    [token] = answer_of(with_logprobs(scored("a", 1e-7, ("a", 1e-7))), request(top_logprobs=2)).tokens
    assert token == Token("a", 0.0, (("a", 0.0),))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "error", "usage", "logprobs", "token", "logprob", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_whatever_comes_is_an_answer_or_a_fault(value: Any) -> None:
    for said in (value, {"choices": [value]}, choice(message=value), choice(logprobs={"content": [value]})):
        try:
            answer = answer_of(said, request(top_logprobs=2))
        except ChatError as error:
            assert error.type is not ErrorType.BACKEND_UNAVAILABLE or error.retryable
        else:
            assert isinstance(answer.text, str)
            assert all(math.isfinite(token.logprob) for token in answer.tokens)


def test_tokens_are_estimated_by_their_writing() -> None:
    assert estimated_tokens(request("x" * 400, max_tokens=100)) == 100 + 8 + 100
    assert estimated_tokens(request("語" * 400, max_tokens=100)) == 100 + 8 + 400


def test_a_lone_surrogate_is_sent_as_json_spells_it() -> None:
    assert '"\\ud800"' in wire.encode(body_of("m", request("\ud800")))

"""A real model behind llama.cpp's own HTTP server: JSON schemas, log-probabilities, overflow, many at once."""

from __future__ import annotations

import asyncio
import json
import math
import uuid

import pytest

from tests.app.backends.chat_support import ask, chatting, request
from tests.app.backends.model_server import CONTEXT
from tests.service import Service
from verifiers.base import ErrorType
from verifiers.chat import Abilities
from verifiers.lent import BackendError

SLOW = 300.0
"""Seconds that a small model may take on a machine that is busy with other things."""


async def test_it_answers_and_counts(smollm2: str) -> None:
    async with chatting(smollm2, price_in=1.0, price_out=2.0, timeout_s=SLOW) as it:
        answer = await ask(it, request("What is the capital of France?", max_tokens=12), SLOW)
        again = await ask(it, request("What is the capital of France?", max_tokens=12), SLOW)
    assert answer.text.strip(), "what it says is another matter"
    assert answer.finish_reason in ("stop", "length")
    assert 10 < answer.prompt_tokens < 100
    assert 1 <= answer.completion_tokens <= 12
    assert answer.cost == pytest.approx((answer.prompt_tokens + 2 * answer.completion_tokens) / 1e6)
    assert again.text == answer.text


async def test_its_abilities_are_found_out(smollm2: str) -> None:
    async with chatting(smollm2, timeout_s=SLOW) as it:
        assert await it.abilities() == Abilities(json_schema=True, logprobs=True)


async def test_its_answer_is_bound_to_a_schema(smollm2: str) -> None:
    schema = {
        "type": "object",
        "properties": {"verdict": {"type": "string", "enum": ["yes", "no"]}},
        "required": ["verdict"],
        "additionalProperties": False,
    }
    async with chatting(smollm2, timeout_s=SLOW) as it:
        answer = await ask(it, request("Is water wet?", max_tokens=40, json_schema=schema), SLOW)
    assert json.loads(answer.text)["verdict"] in ("yes", "no")
    assert answer.finish_reason == "stop"


async def test_its_log_probabilities_are_those_of_its_tokens(smollm2: str) -> None:
    async with chatting(smollm2, timeout_s=SLOW) as it:
        answer = await ask(it, request("Is water wet? Answer yes or no.", max_tokens=3, top_logprobs=20), SLOW)
    assert "".join(token.text for token in answer.tokens).startswith(answer.text)
    for token in answer.tokens:
        assert token.top[0] == (token.text, token.logprob), "at temperature 0 it says what is likeliest"
        assert len(token.top) == 20
        assert 0.3 < sum(math.exp(logprob) for _, logprob in token.top) < 1.001
        assert sorted(token.top, key=lambda one: -one[1]) == list(token.top)


async def test_too_many_tokens_are_told_as_such(smollm2: str) -> None:
    async with chatting(smollm2, timeout_s=SLOW) as it:
        with pytest.raises(BackendError, match="fewer tokens than the request has") as raised:
            await ask(it, request("word " * 2 * CONTEXT), SLOW)
        assert (raised.value.type, raised.value.retryable) == (ErrorType.CONTEXT_OVERFLOW, False)


async def test_a_schema_that_it_does_not_know_is_a_fault(smollm2: str) -> None:
    async with chatting(smollm2, timeout_s=SLOW) as it:
        with pytest.raises(BackendError, match="answered 400") as raised:
            await ask(it, request(json_schema={"type": "nonsense"}), SLOW)
        assert raised.value.type is ErrorType.BACKEND_FAULT


async def test_many_at_once_each_get_their_own(smollm2: str) -> None:
    """With the schema, each answer must repeat what its own request asked for."""
    words = ["red", "green", "blue", "black", "white", "pink", "brown", "grey"]
    async with chatting(smollm2, timeout_s=SLOW, concurrency=8) as it:
        asked = [request("Say it.", max_tokens=40, json_schema={"enum": [word]}) for word in words]
        answers = await asyncio.gather(*(ask(it, one, SLOW) for one in asked))
    assert [json.loads(answer.text) for answer in answers] == words


def test_judges_of_every_form_ask_it_through_the_service(smollm2: str, service: Service) -> None:
    """It is a bad judge: what counts is that each verdict is one, or is unscored with a judge's own error."""
    backend = f"smollm2-{uuid.uuid4().hex[:8]}"
    about = {"model": "smollm2", "price_in": 1, "price_out": 2}
    limits = {"timeout_s": SLOW, "concurrency": 4}
    body = {"name": backend, "type": "chat", "url": smollm2, "allow_private": True, "chat": about, "limits": limits}
    assert service.post("/backends", body).status == 201
    items = [
        {"prompt": "What is the capital of France?", "completion": f"It is {city}.", "reference": "Paris"}
        for city in ("Paris", "Rome")
    ]
    for output in ("auto", "marker", "logprobs"):
        config = {"backend": backend, "mode": "equivalence", "output": output, "max_tokens": 60, "explain": False}
        verifier = {"kind": "judge", "config": config}
        scored = service.post(
            "/score", {"verifier": verifier, "items": items, "options": {"deadline_ms": 300_000}}, timeout=SLOW
        ).json()
        for verdict in scored["items"]:
            if verdict["error"] is None:
                assert verdict["outcome"] in ("correct", "incorrect")
            else:
                assert verdict["error"]["type"] in ("judge_unreadable", "judge_cut_off", "judge_off_scale")
                assert output != "auto", "an answer that is bound to the schema can be read"
            spent = verdict["detail"]["usage"]
            assert spent["prompt_tokens"] > 50
            assert spent["cost"] == pytest.approx((spent["prompt_tokens"] + 2 * spent["completion_tokens"]) / 1e6)
    assert service.request("DELETE", f"/backends/{backend}").status == 200

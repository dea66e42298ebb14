"""A model that embeds texts, over real connections: what is sent, what is read, what is counted, what misbehaves."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from app.backends.account import Account
from app.backends.directory import Directory
from app.store.database import Database
from tests.app.backends.chat_support import chatting
from tests.app.backends.support import answer, answering, serving
from tests.app.backends.test_account import figures
from tests.app.backends.test_directory import VAULT, add
from verifiers.base import ErrorType
from verifiers.embedding import Embeds
from verifiers.lent import BackendError

FAULT, UNAVAILABLE = ErrorType.BACKEND_FAULT, ErrorType.BACKEND_UNAVAILABLE
MINE = Account(uuid4(), "mine", "grader@1")


def embedded(vector: Any = (0.5, -2), tokens: Any = 7, **more: Any) -> dict[str, Any]:
    """A server's answer, as OpenAI's looks."""
    data = [{"object": "embedding", "index": 0, "embedding": vector}]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": "m", "usage": usage} | more


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


async def test_a_text_is_sent_below_the_address_and_its_vector_is_read() -> None:
    async with (
        serving(answering(answer(embedded()))) as server,
        chatting(server.url().replace("/verify", "/v1?api-version=1"), headers={"X-Key": "k"}) as it,
    ):
        found = await it.embedder.embedding("naïve\x00", deadline=soon())
    assert (list(found.vector), found.prompt_tokens, found.cost) == ([0.5, -2.0], 7, None)
    [asked] = server.requests
    assert asked.head.startswith("POST /v1/embeddings?api-version=1 HTTP/1.1\r\n")
    assert "X-Key: k\r\n" in asked.head
    assert asked.json() == {"model": "m", "input": "naïve\x00"}


async def test_what_it_takes_is_counted() -> None:
    mine = replace(MINE, project="mine-e")
    before = REGISTRY.get_sample_value("assay_backend_prompt_tokens_total", {"backend": "it"}) or 0.0
    said = answer(embedded(tokens=2_000))
    async with serving(answering(said)) as server, chatting(server.url(), price_in=0.5) as it:
        found = await it.embedder.embedding("a", deadline=soon(), account=mine)
    assert found.cost == pytest.approx(0.001)
    assert figures(mine) == pytest.approx([1, 2_000, 0, 0.001])
    assert REGISTRY.get_sample_value("assay_backend_prompt_tokens_total", {"backend": "it"}) == before + 2_000


async def test_tokens_per_minute_bound_it() -> None:
    """The guess of a text's tokens gives way to what the server counted: 90 of 100 leave no room for 15 more."""
    said = answer(embedded(tokens=90))
    async with serving(answering(said)) as server, chatting(server.url(), tokens_per_minute=100) as it:
        await it.embedder.embedding("a" * 40, deadline=soon())
        with pytest.raises(BackendError, match="at its limit of requests or tokens per minute") as raised:
            await it.embedder.embedding("a" * 60, deadline=soon(1.0))
    assert (raised.value.type, len(server.requests)) == (UNAVAILABLE, 1)


MISBEHAVIOUR: list[tuple[bytes, ErrorType, bool, str]] = [
    (answer(embedded([])), FAULT, False, "an embedding that is no list of numbers"),
    (answer(embedded(None)), FAULT, False, "an embedding that is no list of numbers"),
    (answer(embedded("AAAAPw==")), FAULT, False, "an embedding that is no list of numbers"),
    (answer(embedded([0.5, None])), FAULT, False, "an embedding that is no list of numbers"),
    (answer(embedded([0.5, True])), FAULT, False, "an embedding that is no list of numbers"),
    (answer(embedded([0.5, [1]])), FAULT, False, "an embedding that is no list of numbers"),
    (answer(embedded([[0.5], [1]])), FAULT, False, "a vector for each token; serve the model with pooling"),
    (answer(embedded([10**400])), FAULT, False, "numbers that are too large"),
    (answer(b'{"data": [{"embedding": [0.5, NaN]}]}'), FAULT, False, "what is no JSON of finite numbers"),
    (answer(b'{"data": [{"embedding": [1e999]}]}'), FAULT, False, "what is no JSON of finite numbers"),
    (answer(embedded([0.1] * 300_000)), FAULT, False, "more than 1024 KiB"),
    (answer(embedded(tokens=-1)), FAULT, False, "prompt_tokens that are no count"),
    (answer(embedded(usage=[])), FAULT, False, "usage that is no object"),
    (answer(embedded(data=[])), FAULT, False, "no embedding, or with several"),
    (answer(embedded(data=[{}, {}])), FAULT, False, "no embedding, or with several"),
    (answer(embedded(data=[5])), FAULT, False, "no embedding, or with several"),
    (answer([]), FAULT, False, "no embedding, or with several"),
    (answer({"choices": []}), FAULT, False, "no embedding, or with several"),
    (answer({"error": {"message": "s3cret", "code": 503}}), UNAVAILABLE, True, "200 with the error 503"),
    (answer({"error": "s3cret"}, 404), FAULT, False, "has no such model, or nothing at its URL (404)"),
    (answer({"error": {"message": "s3cret", "param": "input"}}, 400), FAULT, False, "does not take input as it was"),
    (answer({"error": "This server does not support embeddings."}, 501), FAULT, False, "answered 501"),
    (
        answer({"error": {"message": "maximum context length is 8192 tokens"}}, 400),
        ErrorType.CONTEXT_OVERFLOW,
        False,
        "takes fewer tokens",
    ),
    (
        answer({"error": {"message": "input (601 tokens) is too large to process."}}, 500),
        ErrorType.CONTEXT_OVERFLOW,
        False,
        "takes fewer tokens",
    ),
    (answer(status=500), UNAVAILABLE, True, "answered 500"),
    (answer(status=429), UNAVAILABLE, True, "answered 429"),
]


@pytest.mark.parametrize(("said", "type", "retryable", "message"), MISBEHAVIOUR)
async def test_misbehaviour_has_its_error(said: bytes, type: ErrorType, retryable: bool, message: str) -> None:
    async with serving(answering(said)) as server, chatting(server.url(), retries=0) as it:
        with pytest.raises(BackendError) as raised:
            await it.embedder.embedding("a", deadline=soon())
    assert (raised.value.type, raised.value.retryable) == (type, retryable)
    assert str(raised.value).startswith("the backend it ")
    assert message in str(raised.value)
    assert not re.search(r"127\.|s3cret|http:", str(raised.value))


async def test_a_server_without_embeddings_is_not_held_to_be_down() -> None:
    """Or whoever names it in a grader would close it to the judges that it serves."""
    async with serving(answering(answer({"error": "no"}, 501))) as server, chatting(server.url()) as it:
        for _ in range(10):
            with pytest.raises(BackendError, match="answered 501"):
                await it.embedder.embedding("a", deadline=soon())
    assert len(server.requests) == 10


async def test_it_is_found_by_its_name_and_nothing_else_embeds(database: Database) -> None:
    async with serving(answering(answer(embedded()))) as server:
        await add(database, server.url(), name="model", model="tiny")
        await add(database, server.url(), name="verifier")
        found = Directory(database, VAULT)
        assert (await found.embedding("model", "a", deadline=soon())).prompt_tokens == 7
        for name, message in (("verifier", "is no chat model"), ("none", "there is no backend none any more")):
            with pytest.raises(BackendError, match=message):
                await found.embedding(name, "a", deadline=soon())
        assert isinstance(found, Embeds)
        await found.close()
    assert [asked.json()["model"] for asked in server.requests] == ["tiny"]

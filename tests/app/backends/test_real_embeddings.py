"""A real model behind llama.cpp's own HTTP server that embeds texts, alone and under the grader `cosine`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest

from tests.app.backends.chat_support import chatting
from tests.app.backends.model_server import BATCH
from tests.service import Service
from tests.verifiers.grader.support import alike
from verifiers.base import ErrorType
from verifiers.grader.cosine import cosine
from verifiers.lent import BackendError

SLOW = 300.0
"""Seconds that a small model may take on a machine that is busy with other things."""
CAT = "The cat sat on the mat."
ALIKE = "A cat was sitting on a rug."
OTHER = "Quarterly revenue grew by nine percent."
RUN = "/v1/fine_tuning/alpha/graders/run"


async def test_texts_that_mean_the_same_are_closer(smollm2_embeddings: str) -> None:
    async with chatting(smollm2_embeddings, timeout_s=SLOW) as it:
        deadline = time.monotonic() + SLOW
        cat, alike, other, nul = [
            await it.embedder.embedding(text, deadline=deadline) for text in (CAT, ALIKE, OTHER, "a\x00b \U0001f408")
        ]
    assert {len(one.vector) for one in (cat, alike, other, nul)} == {576}
    assert 5 < cat.prompt_tokens < 12
    assert cosine(cat.vector, cat.vector) == pytest.approx(1.0, abs=1e-12)
    assert cosine(cat.vector, alike.vector) > cosine(cat.vector, other.vector) + 0.1


async def test_too_many_tokens_are_told_as_such(smollm2_embeddings: str) -> None:
    async with chatting(smollm2_embeddings, timeout_s=SLOW) as it:
        with pytest.raises(BackendError, match="takes fewer tokens") as raised:
            await it.embedder.embedding("word " * 2 * BATCH, deadline=time.monotonic() + SLOW)
    assert (raised.value.type, raised.value.retryable) == (ErrorType.CONTEXT_OVERFLOW, False)


async def test_a_server_that_only_chats_gives_no_embeddings(smollm2: str) -> None:
    async with chatting(smollm2, timeout_s=SLOW) as it:
        with pytest.raises(BackendError, match="answered 501") as raised:
            await it.embedder.embedding(CAT, deadline=time.monotonic() + SLOW)
    assert (raised.value.type, raised.value.retryable) == (ErrorType.BACKEND_FAULT, False)


@pytest.fixture
def backend(service: Service, smollm2_embeddings: str) -> Iterator[str]:
    """The name of a backend that embeds texts."""
    yield from added(service, smollm2_embeddings)


def added(service: Service, url: str) -> Iterator[str]:
    name = f"embeds-{uuid.uuid4().hex[:8]}"
    limits = {"timeout_s": SLOW, "concurrency": 4}
    chat = {"model": "smollm2", "price_in": 1}
    body = {"name": name, "type": "chat", "url": url, "allow_private": True, "chat": chat, "limits": limits}
    assert service.post("/backends", body).status == 201
    yield name
    assert service.request("DELETE", f"/backends/{name}").status == 200


def test_a_grader_scores_by_it_through_the_service(service: Service, backend: str) -> None:
    grader = alike("cosine", model=backend)
    verifier = f"close-{backend}"
    made = {"name": verifier, "kind": "grader", "config": {"grader": grader}}
    assert service.post("/verifiers", made).status == 201
    items = [
        {"completion": text, "reference": {"answer": CAT}} for text in (ALIKE, OTHER, CAT, "", "word " * 2 * BATCH)
    ]
    body = {"verifier": verifier, "items": items, "options": {"deadline_ms": 300_000}}
    close, far, same, empty, long = service.post("/score", body, timeout=SLOW).json()["items"]
    assert same["score"] == pytest.approx(1.0, abs=1e-6)
    assert 1 > close["score"] > far["score"] + 0.1
    assert (empty["score"], empty["outcome"]) == (-1.0, "unparseable")
    assert (long["score"], long["error"]["type"]) == (None, "context_overflow")
    used = close["detail"]["usage"][backend]
    assert used["cost"] == pytest.approx(used["total_tokens"] / 1e6)
    asked = {"grader": grader, "model_sample": ALIKE, "item": {"answer": CAT}}
    run = service.post(RUN, asked, timeout=SLOW).json()
    assert run["reward"] == pytest.approx(close["score"], abs=1e-3)
    assert (run["metadata"]["sampled_model_name"], run["metadata"]["type"]) == (backend, "text_similarity")
    again = service.post("/score", body, timeout=SLOW).json()["items"]
    assert [one["cached"] for one in again] == [True, True, True, True, False], "as a judge's verdicts are"
    counted = service.get("/metrics").body.decode()
    assert f'assay_usage_calls_total{{backend="{backend}",project="default",verifier="{verifier}@1"}}' in counted


def test_a_backend_that_is_gone_leaves_items_unscored_by_the_deadline(service: Service) -> None:
    for name in added(service, "http://127.0.0.1:9/v1"):
        verifier = {"kind": "grader", "config": {"grader": alike("cosine", model=name)}}
        items = [{"completion": str(n), "reference": {"answer": CAT}} for n in range(50)]
        body = {"verifier": verifier, "items": items, "options": {"deadline_ms": 3_000}}
        verdicts = service.post("/score", body, timeout=SLOW).json()["items"]
        assert len(verdicts) == 50
        for verdict in verdicts:
            assert (verdict["score"], verdict["error"]["type"]) == (None, "backend_unavailable")
            assert verdict["error"]["retryable"]

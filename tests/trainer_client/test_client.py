"""Both clients against a live service."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.service import Service
from trainer_client import (
    AsyncRewardClient,
    AuthError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    RewardClient,
    UnknownVerifierError,
    VerdictError,
)

ITEMS: list[dict[str, Any]] = [
    {"id": "right", "prompt": "What is 6 times 7?", "completion": "It is \\boxed{42}.", "reference": "42"},
    {
        "id": "wrong",
        "prompt": [{"role": "user", "content": "6 * 7?"}],
        "completion": "\\boxed{41}",
        "reference": "42",
    },
    {"id": "chat", "completion": [{"role": "assistant", "content": "\\boxed{42}"}], "reference": "42"},
]


def test_verdicts_come_typed_in_the_order_of_the_items(client: RewardClient) -> None:
    verdicts = client.score("math", ITEMS, run="run-7", step=3)
    assert [(v.id, v.score, v.outcome) for v in verdicts] == [
        ("right", 1.0, "correct"),
        ("wrong", 0.0, "incorrect"),
        ("chat", 1.0, "correct"),
    ]
    assert verdicts[0].verifier == "math@1"
    assert verdicts[0].detail["stage"]
    row = client.request("GET", f"/scores/{verdicts[0].score_id}")
    assert (row["run"], row["step"], row["score"]) == ("run-7", 3, 1.0)


async def test_the_asynchronous_client_says_the_same(service: Service, key: str) -> None:
    async with AsyncRewardClient(service.url, key) as client:
        verdicts = await client.score("math", ITEMS)
        one = await client.score_one("math", "\\boxed{1/2}", reference="0.5", id="half", metadata={"a": [1]})
    assert [v.score for v in verdicts] == [1.0, 0.0, 1.0]
    assert (one.id, one.score) == ("half", 1.0)


def test_columns_are_items(client: RewardClient) -> None:
    verdicts = client.score(
        "math", completions=["\\boxed{4}", "\\boxed{5}"], prompts=["2+2?", "2+2?"], references=[4, 4]
    )
    assert [v.score for v in verdicts] == [1.0, 0.0]


def test_a_kind_with_its_configuration_is_a_verifier(client: RewardClient) -> None:
    verifier = {"kind": "composite", "config": {"parts": {"a": {"verifier": {"kind": "text"}, "weight": 1.0}}}}
    verdict = client.score_one(verifier, "yes", reference="yes")
    assert (verdict.score, verdict.components["a"]) == (1.0, 1.0)


def test_completions_of_a_prompt_are_compared(client: RewardClient) -> None:
    group = {"id": "q", "prompt": "6 * 7?", "reference": "42", "completions": ["\\boxed{41}", "\\boxed{42}"]}
    comparisons = client.compare("math", [group, {"id": "bad", "completions": "no list"}])
    assert comparisons[0].scores == [0.0, 1.0]
    assert comparisons[0].ranking == [[1], [0]]
    assert comparisons[0].pair is not None
    assert (comparisons[0].pair.chosen, comparisons[0].pair.margin) == ("\\boxed{42}", 1.0)
    assert comparisons[1].id == "bad"
    assert isinstance(comparisons[1].error, VerdictError)


def test_more_groups_than_a_request_takes_are_compared(client: RewardClient) -> None:
    groups = [{"id": str(i), "reference": "a", "completions": ["a", "b", "b", "b", "b"]} for i in range(1100)]
    comparisons = client.compare("text", groups)
    assert [comparison.id for comparison in comparisons] == [str(i) for i in range(1100)]
    assert all(c.pair is not None and c.pair.chosen_index == 0 for c in comparisons)


def test_a_signal_settles_what_is_pending(client: RewardClient) -> None:
    client.request("POST", "/verifiers", {"name": "booking", "kind": "outcome", "config": {"wait_s": 3600}})
    verdict = client.score_one("booking", "booked", reference={"key": "b-17"})
    assert (verdict.score, verdict.outcome) == (None, "pending")
    taken = client.signals([{"key": "b-17", "score": 1}, {"key": "b-18"}])
    assert [signal.result for signal in taken] == ["settled", "refused"]
    assert (taken[0].score_id, taken[0].score) == (verdict.score_id, 1.0)
    assert client.request("GET", f"/scores/{verdict.score_id}")["score"] == 1.0


def test_each_kind_of_refusal_is_an_exception_of_its_own(service: Service, client: RewardClient, key: str) -> None:
    with pytest.raises(UnknownVerifierError, match="nowhere"):
        client.score("nowhere", ITEMS)
    with pytest.raises(InvalidRequestError) as raised:
        client.score("math", ITEMS, run="two\nlines")
    assert raised.value.pointer == "/run"
    with pytest.raises(InvalidRequestError, match="/step"):
        client.score("math", ITEMS, step=float("nan"))  # type: ignore[arg-type]
    with pytest.raises(NotFoundError):
        client.request("GET", "/scores/00000000-0000-7000-8000-000000000000")
    with RewardClient(service.url, "a key of nobody") as stranger, pytest.raises(AuthError, match="ASSAY_API_KEY"):
        stranger.score("math", ITEMS)
    reader = service.new_key("read", key=key)
    with RewardClient(service.url, reader) as poor, pytest.raises(ForbiddenError, match="score"):
        poor.score("math", ITEMS)


def nested(levels: int) -> Any:
    value: Any = "42"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "bad",
    [
        {"completion": "x", "metadata": {"loss": float("nan")}},
        {"completion": "x", "reference": float("inf")},
        {"completion": "x", "reference": object()},
        {"completion": "x", "metadata": {"raw": b"bytes"}},
        {"completion": "x", "reference": {1, 2}},
        {"completion": "x", "reference": nested(70)},
        {"completion": "x", "reference": nested(5000)},
        {"completion": "x", "reference": 10**5000},
        {"completion": 7},
        {"prompt": "no completion"},
        {"completion": "x", "colour": "unknown field"},
        {"completion": None},
    ],
    ids=[
        "nan",
        "infinity",
        "object",
        "bytes",
        "set",
        "deep",
        "very deep",
        "digits",
        "type",
        "missing",
        "field",
        "null",
    ],
)
def test_one_bad_item_in_a_thousand_is_its_own_affair(client: RewardClient, bad: dict[str, Any]) -> None:
    items: list[dict[str, Any]] = [
        {"id": str(i), "completion": f"answer {i}", "reference": f"answer {i}"} for i in range(1000)
    ]
    items[617] = {"id": "bad", **bad}
    verdicts = client.score("text", items)
    spoilt = verdicts.pop(617)
    assert all(verdict.score == 1.0 for verdict in verdicts)
    assert (spoilt.id, spoilt.score, spoilt.outcome) == ("bad", None, "unscored")
    assert spoilt.error is not None
    assert (spoilt.error.type, spoilt.error.retryable) == ("bad_item", False)


@pytest.mark.parametrize("text", ["\ud800", "\udfff tail", "a\0b", "\ufeff", "\U0001f600", "", "\x1b[0m", "\u2028"])
def test_any_text_arrives_as_it_is(client: RewardClient, text: str) -> None:
    same, other = client.score("text", completions=[text, text + "!"], references=[text, text])
    assert (same.score, other.score) == (1.0, 0.0)
    kept = client.request("GET", f"/scores/{same.score_id}")
    assert kept["item"]["completion"] == text


def test_what_numpy_made_is_sent_as_numbers_and_lists(client: RewardClient) -> None:
    item = {
        "completion": "\\boxed{42}",
        "reference": np.int64(42),
        "tokens": np.int32(7),
        "metadata": {"ids": np.arange(3), "share": np.float32(0.5), "of": np.array(["a", "b"], dtype=object)},
    }
    verdict = client.score("math", [item])[0]
    assert verdict.score == 1.0
    kept = client.request("GET", f"/scores/{verdict.score_id}")["item"]
    assert kept["metadata"] == {"ids": [0, 1, 2], "share": 0.5, "of": ["a", "b"]}
    assert (kept["reference"], kept["tokens"]) == (42, 7)


def test_equal_completions_of_a_group_are_scores_of_their_own(client: RewardClient) -> None:
    items = [{"completion": "\\boxed{42}", "reference": "42", "group": "q"}] * 8
    assert len({verdict.score_id for verdict in client.score("math", items)}) == 8


def test_the_same_call_under_one_key_is_recorded_once(client: RewardClient) -> None:
    first = client.score("math", ITEMS, idempotency_key="run-7/3")
    again = client.score("math", ITEMS, idempotency_key="run-7/3")
    assert [v.score_id for v in first] == [v.score_id for v in again]


async def test_ten_thousand_calls_at_once(service: Service, key: str) -> None:
    async with AsyncRewardClient(service.url, key) as client:
        calls = (client.score_one("text", f"a{i % 7}", reference="a3", id=str(i)) for i in range(10_000))
        verdicts = await asyncio.gather(*calls)
    assert [(v.id, v.score) for v in verdicts] == [(str(i), float(i % 7 == 3)) for i in range(10_000)]
    assert len({verdict.score_id for verdict in verdicts}) == 10_000


def test_threads_share_a_client(client: RewardClient) -> None:
    with ThreadPoolExecutor(32) as pool:
        verdicts = list(pool.map(lambda i: client.score_one("text", f"{i}", reference=f"{i % 2}"), range(300)))
    assert [verdict.score for verdict in verdicts] == [float(i in (0, 1)) for i in range(300)]


async def test_the_synchronous_client_works_inside_an_event_loop(client: RewardClient) -> None:
    assert client.score_one("text", "a", reference="a").score == 1.0


def test_one_asynchronous_client_serves_event_loops_one_after_the_other(service: Service, key: str) -> None:
    client = AsyncRewardClient(service.url, key)

    async def once() -> float | None:
        async with client:
            return (await client.score_one("text", "a", reference="a")).score

    assert [asyncio.run(once()) for _ in range(3)] == [1.0, 1.0, 1.0]


def test_the_key_is_not_shown(client: RewardClient, key: str) -> None:
    assert key not in repr(client)
    assert key not in repr(AsyncRewardClient(client.url, key))

"""How items of concurrent calls share requests."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainer_client.faulty import FaultyService, Script
from trainer_client import AsyncRewardClient, Verdict


def sizes(faulty: FaultyService) -> list[int]:
    return [len(request.items) for request in faulty.script.seen]


async def test_a_lone_call_is_one_request(faulty: FaultyService) -> None:
    async with AsyncRewardClient(faulty.url, "key") as client:
        verdict = await client.score_one("text", "four")
    assert verdict.score == 4
    assert sizes(faulty) == [1]


async def test_calls_made_at_the_same_time_share_requests(faulty: FaultyService) -> None:
    async with AsyncRewardClient(faulty.url, "key") as client:
        verdicts = await asyncio.gather(*(client.score_one("text", "x" * (i % 97), id=str(i)) for i in range(2000)))
    assert [(verdict.id, verdict.score) for verdict in verdicts] == [(str(i), i % 97) for i in range(2000)]
    assert sorted(sizes(faulty)) == [464, 512, 512, 512]


async def test_requests_in_flight_are_bounded_and_what_waits_leaves_together(faulty: FaultyService) -> None:
    faulty.script.faults = ["stall", "stall"]
    faulty.script.stall_s = 1.0
    async with AsyncRewardClient(faulty.url, "key", max_in_flight=2) as client:
        calls = []
        for i in range(300):
            calls.append(asyncio.create_task(client.score_one("text", str(i))))
            if i < 10:
                await asyncio.sleep(0.02)  # one by one, so that they would be requests of their own
        await asyncio.gather(*calls)
    assert faulty.script.most_in_flight <= 2
    assert set(faulty.script.recorded.values()) == {1}
    assert len(sizes(faulty)) <= 6


async def test_what_differs_in_verifier_or_options_shares_no_request(faulty: FaultyService) -> None:
    async with AsyncRewardClient(faulty.url, "key") as client:
        await asyncio.gather(
            client.score("a", completions=["1"]),
            client.score("b", completions=["2"]),
            client.score({"kind": "regex", "config": {"pattern": "x"}}, completions=["3"]),
            client.score("a", completions=["4"], run="r", step=1),
            client.score("a", completions=["5"], run="r", step=2),
            client.score("a", completions=["6"], detail="full"),
            client.score("a", completions=["7"], cache=False),
            client.score("a", completions=["8"], deadline_s=5),
            client.score("a", completions=["9"], idempotency_key="mine"),
            client.score("a", completions=["10"]),
        )
    assert Counter(sizes(faulty)) == {1: 8, 2: 1}


async def test_no_request_holds_more_text_than_its_bound(faulty: FaultyService) -> None:
    async with AsyncRewardClient(faulty.url, "key") as client:
        verdicts = await client.score("text", completions=["x" * 3_000_000] * 5 + ["y" * 9_000_000, "z"])
    assert [verdict.score for verdict in verdicts] == [3_000_000] * 5 + [9_000_000, 1]
    assert sorted(sizes(faulty)) == [1, 1, 1, 2, 2]


async def test_an_item_whose_time_is_up_leaves_its_neighbours_theirs(faulty: FaultyService) -> None:
    async with AsyncRewardClient(faulty.url, "key", deadline_s=60) as client:
        batcher = client._batcher()
        batcher._limit = 0  # until both wait
        late, neighbour = (asyncio.create_task(client.score_one("text", text)) for text in ("late", "neighbour"))
        await asyncio.sleep(0)
        (queue,) = batcher._queues.values()
        queue[0].call.deadline = time.monotonic()
        batcher._limit = 1
        batcher._wake()
        assert (await neighbour).score == 9
        late.cancel()
    (request,) = faulty.script.seen
    assert [item["completion"] for item in request.items] == ["neighbour"]
    assert json.loads(request.body)["options"]["deadline_ms"] > 10_000


async def test_an_ended_event_loop_is_forgotten_by_whichever_thread_is_first(faulty: FaultyService) -> None:
    class Ended:
        def is_closed(self) -> bool:
            del batchers[self]  # as another thread does, just then
            return True

    async with AsyncRewardClient(faulty.url, "key") as client:
        batchers: dict[Any, Any] = client._batchers
        batchers[Ended()] = None
        assert (await client.score_one("text", "abc")).score == 3


async def test_lanes_take_turns(faulty: FaultyService) -> None:
    async with AsyncRewardClient(faulty.url, "key", max_in_flight=1) as client:
        await asyncio.gather(client.score("busy", completions=["x"] * 4000), client.score("quiet", completions=["y"]))
    order = [b'"verifier":"quiet"' in request.body for request in faulty.script.seen]
    assert order.index(True) == 1


async def test_no_items_make_no_request(faulty: FaultyService) -> None:
    async with AsyncRewardClient(faulty.url, "key") as client:
        assert await client.score("text", []) == []
        assert await client.score("text", completions=[]) == []
        assert await client.compare("text", []) == []
        assert await client.signals([]) == []
    assert faulty.script.seen == []


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"items": [], "completions": []},
        {"items": [{"completion": "x"}], "prompts": ["p"]},
        {"completions": "text"},
        {"completions": ["a"], "references": "text"},
    ],
)
async def test_arguments_that_make_no_items_are_type_errors(
    faulty: FaultyService, arguments: dict[str, object]
) -> None:
    async with AsyncRewardClient(faulty.url, "key") as client:
        with pytest.raises(TypeError):
            await client.score("text", **arguments)  # type: ignore[arg-type]


async def test_columns_of_different_lengths_are_refused(faulty: FaultyService) -> None:
    async with AsyncRewardClient(faulty.url, "key") as client:
        with pytest.raises(ValueError, match="differ in length"):
            await client.score("text", completions=["a", "b"], references=["c"])


@given(calls=st.lists(st.lists(st.text(max_size=20), max_size=40), max_size=30), in_flight=st.integers(1, 4))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_call_gets_the_verdicts_of_its_own_items_in_order(
    faulty: FaultyService, calls: list[list[str]], in_flight: int
) -> None:
    faulty.script = Script()

    async def score_all() -> list[list[Verdict]]:
        async with AsyncRewardClient(faulty.url, "key", max_in_flight=in_flight) as client:
            return await asyncio.gather(*(client.score("text", completions=call) for call in calls))

    answers = asyncio.run(score_all())
    assert [[verdict.detail["of"] for verdict in answer] for answer in answers] == calls
    assert faulty.script.recorded == Counter(text for call in calls for text in call)

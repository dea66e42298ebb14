"""A client that is closed while calls wait: all of them end, and none of them for the wrong reason."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.service import free_port
from tests.trainer_client.faulty import FaultyService, Seen, problem, until
from trainer_client import AssayError, AsyncRewardClient, RewardClient


async def test_closing_ends_what_waits_and_a_later_call_starts_anew(faulty: FaultyService) -> None:
    faulty.script.faults = ["stall"]
    client = AsyncRewardClient(faulty.url, "key")
    waiting = asyncio.create_task(client.score_one("text", "abc"))
    await until(lambda: len(faulty.script.seen) == 1)
    await client.close()
    with pytest.raises(AssayError, match="closed"):
        await waiting
    assert (await client.score_one("text", "abcd")).score == 4
    await client.close()


@pytest.mark.parametrize("call", ["score", "compare", "signals", "request"])
@pytest.mark.parametrize("away", [False, True], ids=["stalling", "away"])
def test_closing_ends_what_another_thread_waits_for(faulty: FaultyService, call: str, away: bool) -> None:
    faulty.script.faults = ["stall"]
    url = f"http://127.0.0.1:{free_port()}" if away else faulty.url
    client = RewardClient(url, "k" * 16, deadline_s=300)
    arguments: dict[str, tuple[Any, ...]] = {
        "score": ("v", [{"completion": "x"}]),
        "compare": ("v", [{"completions": ["x", "y"]}]),
        "signals": ([{"score_id": "s", "value": 1}],),
        "request": ("GET", "/runs"),
    }
    with ThreadPoolExecutor() as threads:
        calling = threads.submit(getattr(client, call), *arguments[call])
        with pytest.raises(TimeoutError):
            calling.result(0.5)
        client.close()
        with pytest.raises(AssayError, match="the client was closed before the answer"):
            calling.result(30)


async def test_closing_ends_what_waits_behind_a_bad_item(faulty: FaultyService) -> None:
    def answer(seen: Seen) -> tuple[int, dict[str, str], bytes] | None:
        faulty.script.faults = ["stall"]  # for the first half, while the second one waits for its turn
        return 400, {}, problem("invalid-json", 400)

    faulty.script.answer = answer
    client = AsyncRewardClient(faulty.url, "key", deadline_s=20)
    calls = [asyncio.create_task(client.score_one("text", text)) for text in "abcd"]
    await until(lambda: len(faulty.script.seen) == 2)
    await client.close()
    answers = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
    assert [str(answer) for answer in answers] == ["the client was closed before the answer"] * 4


@pytest.mark.parametrize("call", ["score", "request"])
async def test_who_was_cancelled_before_hears_that_the_client_was_closed(faulty: FaultyService, call: str) -> None:
    faulty.script.faults = ["stall"]
    client = AsyncRewardClient(faulty.url, "key")

    async def goes_on() -> Any:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return await (client.score_one("text", "a") if call == "score" else client.request("GET", "/runs"))

    task = asyncio.create_task(goes_on())
    await asyncio.sleep(0)
    task.cancel()
    await until(lambda: len(faulty.script.seen) == 1)
    await client.close()
    with pytest.raises(AssayError, match="closed"):
        await task


async def test_who_is_cancelled_while_the_client_closes_is_cancelled(faulty: FaultyService) -> None:
    faulty.script.faults = ["stall"]
    client = AsyncRewardClient(faulty.url, "key")
    task = asyncio.create_task(client.request("GET", "/runs"))
    await until(lambda: len(faulty.script.seen) == 1)
    task.cancel()
    await client.close()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(("call", "arguments"), [("score_one", ["text"]), ("request", ["POST", "/runs"])])
def test_closing_waits_for_nobody_who_does_not_read(call: str, arguments: list[str]) -> None:
    with socket.socket() as deaf, ThreadPoolExecutor() as threads:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        deaf.settimeout(30)
        client = RewardClient(f"http://127.0.0.1:{deaf.getsockname()[1]}", "key")
        calling = threads.submit(lambda: getattr(client, call)(*arguments, "x" * 20_000_000))
        connection, _ = deaf.accept()
        with connection:
            connection.recv(1)
            thread = client._background._thread
            assert thread is not None
            client.close()
            assert thread.loop.is_closed()
            with pytest.raises(AssayError, match="closed"):
                calling.result(30)


async def test_a_call_that_closing_ended_leaves_its_task_uncancelled(faulty: FaultyService) -> None:
    faulty.script.faults = ["stall"]
    client = AsyncRewardClient(faulty.url, "key")

    async def call() -> int:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(AssayError, match="closed"):
            await client.request("GET", "/runs")
        async with asyncio.timeout(30):  # would take a cancellation that is left for its own
            await asyncio.sleep(0)
        return task.cancelling()

    task = asyncio.create_task(call())
    await until(lambda: len(faulty.script.seen) == 1)
    await client.close()
    assert await task == 0

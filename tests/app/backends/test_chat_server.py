"""A chat model over real connections: what misbehaves, what is asked once, what is counted."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psutil
import pytest
from prometheus_client import REGISTRY

from app.backends import chat_server
from app.backends.account import Account
from app.backends.answers import Answers
from app.backends.chat_server import ChatServer
from tests.app.backends.chat_support import ask, chatting, completion, request, usage
from tests.app.backends.support import Asked, Handle, answer, answering, serving
from verifiers.base import ErrorType
from verifiers.chat import Abilities, ChatAnswer
from verifiers.lent import BackendError

FAULT, UNAVAILABLE = ErrorType.BACKEND_FAULT, ErrorType.BACKEND_UNAVAILABLE
YES = ChatAnswer("Yes.", "stop", prompt_tokens=10, completion_tokens=2)


def says(made: Callable[[Any], Any]) -> Handle:
    """Answers what `made` makes of each request's JSON value."""

    async def handle(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(made(asked.json())))

    return handle


def counted(name: str) -> float:
    return REGISTRY.get_sample_value(f"assay_backend_{name}_total", {"backend": "it"}) or 0.0


async def half(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(completion())[:-20])


async def nothing(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def slow(_: Asked, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


def refusing(status: int, code: str | None = None, message: str = "s3cret", **more: Any) -> bytes:
    return answer({"error": {"message": message, "code": code, **more}}, status)


NAN = b'{"choices": [{"message": {"content": "x"}, "logprobs": {"content": [{"logprob": NaN}]}}]}'
HUGE = {"content": [{"token": "a", "logprob": -1.0, "top_logprobs": []}] * 20_000}
MISBEHAVIOUR: list[tuple[bytes | Handle, ErrorType, bool, str]] = [
    (slow, UNAVAILABLE, True, "did not answer in time"),
    (nothing, UNAVAILABLE, True, "broke the connection off"),
    (half, UNAVAILABLE, True, "broke the connection off"),
    (answer(b"<html>Bad gateway"), FAULT, False, "what is no JSON"),
    (answer(b""), FAULT, False, "what is no JSON"),
    (answer(b"[" * 100_000), FAULT, False, "what is no JSON"),
    (answer(NAN), FAULT, False, "what is no JSON of finite numbers"),
    (answer(b'"' + b"x" * 10 * 2**20 + b'"'), FAULT, False, "more than 1024 KiB"),
    (answer({"logprobs": HUGE}), FAULT, False, "more than 1024 KiB"),
    (answer({}), FAULT, False, "without choices"),
    (answer(completion({"text": "x"})), FAULT, False, "content that is no text"),
    (answer({"error": {"message": "s3cret", "code": 503}}), UNAVAILABLE, True, "200 with the error 503"),
    (answer({"error": "s3cret"}), FAULT, False, "answered 200 with an error"),
    (answer(status=500), UNAVAILABLE, True, "answered 500"),
    (answer(status=429), UNAVAILABLE, True, "answered 429"),
    (answer(status=302, Location="http://127.0.0.1/"), FAULT, False, "redirects are not followed"),
    (refusing(401, "invalid_api_key"), FAULT, False, "refused the key (401)"),
    (refusing(403), FAULT, False, "refused the key, or what it may do (403)"),
    (refusing(404), FAULT, False, "has no such model, or nothing at its URL (404)"),
    (answer(b"not found", 404), FAULT, False, "has no such model, or nothing at its URL (404)"),
    (refusing(400, "context_length_exceeded"), ErrorType.CONTEXT_OVERFLOW, False, "fewer tokens than the request"),
    (refusing(400, "content_filter"), ErrorType.CONTENT_FILTERED, False, "by its content filter"),
    (refusing(400, message="s3cret" * 100_000), FAULT, False, "answered 400"),
    (answer(b"x" * 100, 400, Content_Encoding="gzip"), FAULT, False, "answered 400"),
    (b"HTTP/1.1 400 No\r\nContent-Length: 100\r\n\r\n{", FAULT, False, "answered 400"),
]


@pytest.mark.parametrize(("said", "type", "retryable", "message"), MISBEHAVIOUR)
async def test_misbehaviour_has_its_error(
    said: bytes | Handle, type: ErrorType, retryable: bool, message: str
) -> None:
    handle = answering(said) if isinstance(said, bytes) else said
    headers = {"Authorization": "Bearer s3cret"}
    async with serving(handle) as server, chatting(server.url(), headers=headers, retries=0, timeout_s=2.0) as it:
        for _ in range(2):  # an error is never kept
            with pytest.raises(BackendError) as raised:
                await ask(it, request(top_logprobs=2))
            assert (raised.value.type, raised.value.retryable) == (type, retryable)
            assert str(raised.value).startswith("the backend it ")
            assert message in str(raised.value)
            assert not re.search(r"127\.|s3cret|http:", str(raised.value))
    assert len(server.requests) == 2


async def test_trouble_that_passes() -> None:
    busy, broken = answer(status=429, Retry_After="1"), answer(status=500)
    started = time.monotonic()
    async with serving(answering(busy, broken, answer(completion()))) as server, chatting(server.url()) as it:
        assert await ask(it) == YES
    assert time.monotonic() - started > 1, "what it asks to wait for is waited for"
    assert len(server.requests) == 3


async def test_a_model_that_has_another_name_for_the_limit() -> None:
    async def modern(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        writer.write(
            refusing(400, "unsupported_parameter", param="max_tokens")
            if "max_tokens" in asked.json()
            else answer(completion())
        )

    async with serving(modern) as server, chatting(server.url()) as it:
        assert await asyncio.gather(*(ask(it, request(str(n))) for n in range(4))) == [YES] * 4
        assert await ask(it) == YES
    assert [list(asked.json())[2] for asked in server.requests].count("max_completion_tokens") == 5
    async with serving(answering(refusing(400, "unsupported_parameter", param="max_tokens"))) as server:
        async with chatting(server.url()) as it:
            with pytest.raises(BackendError, match="does not take max_tokens as it was sent"):
                await ask(it)
        assert len(server.requests) == 2


class TestAskedOnce:
    async def test_the_same_is_asked_once_and_costs_once(self) -> None:
        async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.1)
            writer.write(answer(completion()))

        before = counted("reused")
        async with serving(handle) as server, chatting(server.url(), price_in=1.0) as it:
            answers = await asyncio.gather(*(ask(it) for _ in range(100)))
            answers.append(await ask(it))
            answers.append(await ask(it, request(temperature=1.0, seed=1)))
            answers.append(await ask(it, request(temperature=1.0, seed=1)))
        assert len(server.requests) == 2
        assert {one.text for one in answers} == {"Yes."}
        assert sum(one.prompt_tokens for one in answers) == 2 * 10
        assert sum(one.cost or 0 for one in answers) == pytest.approx(2 * 10 / 1e6)
        assert all(one.cost is not None for one in answers)
        assert counted("reused") - before == 101

    async def test_projects_share_no_answer(self) -> None:
        """That an answer cost nothing would tell one project what another has judged."""
        mine, yours = (Account(uuid4(), name, "judge@1") for name in ("mine", "yours"))
        async with serving(says(lambda body: completion())) as server, chatting(server.url()) as it:
            deadline = time.monotonic() + 20
            asked = [it.chat(request(), deadline=deadline, account=account) for account in (mine, yours, mine)]
            assert [one.prompt_tokens for one in await asyncio.gather(*asked)] == [10, 10, 0]
            assert (await it.chat(request(), deadline=deadline, account=replace(mine, verifier="b@1"))) == replace(
                YES, prompt_tokens=0, completion_tokens=0
            )
        assert len(server.requests) == 2

    async def test_an_answer_that_held_nothing_is_not_given_again(self) -> None:
        answers = Answers(room=2_000)
        async with serving(says(lambda body: completion())) as server, chatting(server.url(), answers) as it:
            for _ in range(10):  # more than there is room for, unless it is given back
                await ask(it)
                it.discard(request())
                it.discard(request("never asked"))
            await ask(it)
            await ask(it)
        assert (len(server.requests), len(answers)) == (11, 1)

    async def test_samples_left_to_chance_are_each_asked(self) -> None:
        async with serving(says(lambda body: completion())) as server, chatting(server.url()) as it:
            await asyncio.gather(*(ask(it, request(temperature=0.7)) for _ in range(5)))
            await ask(it, request(temperature=0.7))
        assert len(server.requests) == 6

    @pytest.mark.parametrize(
        "other",
        [
            request("Is it?"),
            request(max_tokens=17),
            request(top_p=0.5),
            request(seed=1),
            request(temperature=0.5, seed=1),
            request(json_schema={"type": "object"}),
            request(top_logprobs=3),
        ],
    )
    async def test_whatever_decides_the_answer_tells_requests_apart(self, other: Any) -> None:
        async with serving(says(lambda body: completion())) as server, chatting(server.url()) as it:
            await asyncio.gather(ask(it), ask(it, other))
            await ask(it, other)
        assert len(server.requests) == 2

    async def test_backends_share_room_and_no_answers(self) -> None:
        answers = Answers()
        async with serving(says(lambda body: completion())) as server:
            for _ in range(2):
                async with chatting(server.url(), answers) as it:
                    await ask(it)
        assert (len(server.requests), len(answers)) == (2, 2)

    async def test_a_failure_is_shared_by_those_who_wait_and_by_nobody_later(self) -> None:
        failing = answering(answer(status=503), answer(completion()))

        async def handle(asked: Asked, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.1)
            await failing(asked, writer)

        async with serving(handle) as server, chatting(server.url(), retries=0) as it:
            deadline = time.monotonic() + 20
            waiting = (it.chat(request(), deadline=deadline) for _ in range(50))
            ended = await asyncio.gather(*waiting, return_exceptions=True)
            assert [str(error) for error in ended] == ["the backend it answered 503"] * 50
            assert await ask(it) == YES
        assert len(server.requests) == 2

    async def test_who_has_more_time_asks_again(self) -> None:
        async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.5)
            writer.write(answer(completion()))

        async with serving(handle) as server, chatting(server.url()) as it:
            hasty = asyncio.create_task(ask(it, seconds=0.2))
            await asyncio.sleep(0.05)
            patient = await asyncio.gather(*(ask(it, seconds=10) for _ in range(20)))
            with pytest.raises(BackendError, match="in time"):
                await hasty
        assert {one.text for one in patient} == {"Yes."}
        assert len(server.requests) <= 3

    async def test_who_has_less_time_does_not_wait_longer(self) -> None:
        async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(1.0)
            writer.write(answer(completion()))

        async with serving(handle) as server, chatting(server.url()) as it:
            patient = asyncio.create_task(ask(it))
            await asyncio.sleep(0.05)
            started = time.monotonic()
            with pytest.raises(BackendError, match="did not answer in time") as raised:
                await ask(it, seconds=0.1)
            assert raised.value.retryable
            assert time.monotonic() - started < 0.7
            assert await patient == YES
        assert len(server.requests) == 1

    async def test_whoever_came_first_may_go(self) -> None:
        async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.3)
            writer.write(answer(completion()))

        async with serving(handle) as server, chatting(server.url()) as it:
            first = asyncio.create_task(ask(it))
            await asyncio.sleep(0.05)
            second = asyncio.create_task(ask(it))
            await asyncio.sleep(0.05)
            first.cancel()
            assert (await second).text == "Yes."
            assert it.running == 0
        assert len(server.requests) == 1


class TestCounting:
    async def test_tokens_and_cost(self) -> None:
        before = [counted(name) for name in ("prompt_tokens", "completion_tokens", "cost")]
        said = completion(usage=usage(1_000, 200))
        async with serving(answering(answer(said))) as server:
            async with chatting(server.url(), price_in=2.5, price_out=10) as it:
                assert (await ask(it)).cost == pytest.approx(0.0045)
            async with chatting(server.url(), price_out=10) as it:
                assert (await ask(it)).cost == pytest.approx(0.002)
            async with chatting(server.url()) as it:
                assert (await ask(it)).cost is None
        after = [counted(name) for name in ("prompt_tokens", "completion_tokens", "cost")]
        assert [b - a for a, b in zip(before, after, strict=True)] == pytest.approx([3_000, 600, 0.0065])

    async def test_what_is_not_counted_has_no_cost(self) -> None:
        async with (
            serving(answering(answer(completion(usage=None)))) as server,
            chatting(server.url(), price_in=2.5) as it,
        ):
            assert await ask(it) == ChatAnswer("Yes.", "stop")

    async def test_requests_per_minute_hold_within_the_deadline(self) -> None:
        async with (
            serving(answering(answer(completion()))) as server,
            chatting(server.url(), requests_per_minute=2) as it,
        ):
            for n in range(2):
                await ask(it, request(str(n)))
            started = time.monotonic()
            with pytest.raises(BackendError, match="limit of requests or tokens per minute") as raised:
                await ask(it, request("3"), seconds=5)
            assert time.monotonic() - started < 1
        assert (raised.value.type, raised.value.retryable) == (UNAVAILABLE, True)
        assert len(server.requests) == 2

    async def test_tokens_per_minute_count_what_was_used(self) -> None:
        async with (
            serving(answering(answer(completion()))) as server,
            chatting(server.url(), tokens_per_minute=200) as it,
        ):
            for n in range(8):  # each may take over 100, and takes 12
                await ask(it, request(f"{n}", max_tokens=100), seconds=1)
            with pytest.raises(BackendError, match="limit of requests or tokens per minute"):
                await ask(it, request("9", max_tokens=190), seconds=1)

    async def test_what_was_refused_has_used_no_tokens(self) -> None:
        async with (
            serving(answering(refusing(400, "context_length_exceeded"))) as server,
            chatting(server.url(), tokens_per_minute=200) as it,
        ):
            for _ in range(10):
                with pytest.raises(BackendError, match="fewer tokens than the request"):
                    await ask(it, request(max_tokens=150), seconds=1)


def probed(json_schema: Any, logprobs: Any) -> Handle:
    """Answers each probe with this."""

    async def handle(asked: Asked, writer: asyncio.StreamWriter) -> None:
        said = json_schema if "response_format" in asked.json() else logprobs
        writer.write(said if isinstance(said, bytes) else answer(said))

    return handle


TOKEN = {"token": "He", "logprob": -1, "top_logprobs": [{"token": "He", "logprob": -1}]}
WITH = completion("He", "length")
WITH["choices"][0]["logprobs"] = {"content": [TOKEN]}


class TestAbilities:
    @pytest.mark.parametrize(
        ("json_schema", "logprobs", "found"),
        [
            (completion('{"zqv": "zqv"}'), WITH, (True, True)),
            (completion("Hello!"), completion("He", "length"), (False, False)),
            (completion('{"zqv": "hello"}'), completion(), (False, False)),
            (completion("[" * 5_000), completion(), (False, False)),
            (completion('{"zqv": "zq', "length"), WITH, (False, True)),
            (completion("", "stop"), WITH, (False, True)),
            (refusing(400, message="response_format is not supported"), WITH, (False, True)),
            (completion('{"zqv": "zqv"}'), refusing(422), (True, False)),
            (completion('{"zqv": "zqv"}'), answer(NAN), (True, False)),
            (completion('{"zqv": "zqv"}'), completion(logprobs={"content": [{}]}), (True, False)),
        ],
    )
    async def test_what_a_server_is_able_to(self, json_schema: Any, logprobs: Any, found: tuple[bool, bool]) -> None:
        async with serving(probed(json_schema, logprobs)) as server, chatting(server.url()) as it:
            for able in await asyncio.gather(*(it.abilities() for _ in range(10))):
                assert able == Abilities(*found)
            assert await it.abilities() == Abilities(*found)
        assert len(server.requests) == 2

    async def test_it_is_found_out_again_after_some_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chat_server, "ABILITIES_S", 0.0)
        async with serving(probed(completion('{"zqv": "zqv"}'), WITH)) as server, chatting(server.url()) as it:
            for _ in range(3):
                assert await it.abilities() == Abilities(json_schema=True, logprobs=True)
        assert len(server.requests) == 6

    @pytest.mark.parametrize(
        ("said", "message"),
        [
            (answer(status=503), "answered 503"),
            (refusing(401), "refused the key"),
            (refusing(404), "no such model"),
            (refusing(400, "content_filter"), "content filter"),
        ],
    )
    async def test_a_failure_to_find_out_is_told_and_not_kept(self, said: bytes, message: str) -> None:
        now = said

        async def handle(asked: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(now if now is not None else answer(WITH))

        async with serving(handle) as server, chatting(server.url(), retries=0) as it:
            with pytest.raises(BackendError, match=message):
                await it.abilities()
            now = answer(WITH)
            assert await it.abilities() == Abilities(json_schema=False, logprobs=True)

    async def test_what_the_operator_says_is_believed(self) -> None:
        async with serving(probed(completion("Hello!"), completion())) as server:
            async with chatting(server.url(), json_schema="yes", logprobs="no") as it:
                assert await it.abilities() == Abilities(json_schema=True, logprobs=False)
            assert server.requests == []
            async with chatting(server.url(), json_schema="yes") as it:
                assert await it.abilities() == Abilities(json_schema=True, logprobs=False)
            assert len(server.requests) == 1


async def test_a_thousand_requests_in_flight_take_bounded_memory() -> None:
    """Prompts of 40 KB, which their callers hold anyway, and answers of 300 KB, of which callers keep little."""
    most = now = 0
    long = answer(completion("x" * 300_000))

    async def handle(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        server.requests.clear()
        await asyncio.sleep(0.005)
        writer.write(long)
        await writer.drain()
        now -= 1

    async def one(it: ChatServer, text: str) -> int:
        return len((await ask(it, request(text, temperature=1.0), seconds=120)).text)

    async with serving(handle) as server, chatting(server.url(), concurrency=8) as it:
        texts = [f"{n} " + "w" * 40_000 for n in range(1_000)]
        gc.collect()
        process = psutil.Process()
        before = peak = process.memory_info().rss
        waiting = asyncio.gather(*(one(it, text) for text in texts))
        while not waiting.done():
            peak = max(peak, process.memory_info().rss)
            await asyncio.sleep(0.02)
        assert await waiting == [300_000] * 1_000
    assert most == 8
    assert peak - before < 60 * 2**20, f"{(peak - before) / 2**20:.0f} MiB more"


async def test_closing_ends_what_runs() -> None:
    async with serving(slow) as server, chatting(server.url()) as it:
        waiting = [asyncio.create_task(ask(it)) for _ in range(3)] + [asyncio.create_task(ask(it, request("2")))]
        able = asyncio.create_task(it.abilities())
        await asyncio.sleep(0.1)
        await it.close()
        ended = await asyncio.gather(*waiting, able, return_exceptions=True)
    assert all(isinstance(error, BaseException) for error in ended)
    assert it.running == 0


def test_the_probes_are_small() -> None:
    for probe in (chat_server.SCHEMA_PROBE, chat_server.LOGPROBS_PROBE):
        assert len(json.dumps(probe.json_schema)) + probe.max_tokens < 400

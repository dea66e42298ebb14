"""One backend, over real connections to servers that misbehave in every way."""

from __future__ import annotations

import asyncio
import gzip
import re
import time
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import REGISTRY

from app.backends import breaker, caller
from tests.app.backends.support import OK, Asked, answer, answering, calling, post, serving
from verifiers.base import ErrorType
from verifiers.lent import BackendError

UNAVAILABLE, FAULT = ErrorType.BACKEND_UNAVAILABLE, ErrorType.BACKEND_FAULT
OVERFLOW = {"error": {"message": "input (601 tokens) is too large to process.", "code": 500}}
"""With a 500, from llama.cpp."""


async def refused(url: str, seconds: float = 20.0, body: bytes = b"{}", **more: Any) -> BackendError:
    """How a request ends that brings no answer; nobody is told the address or a key."""
    async with calling(url, headers={"X-Key": "s3cret"}, **more) as it:
        with pytest.raises(BackendError) as raised:
            await post(it, body, seconds)
    message = str(raised.value)
    assert message.startswith("the backend it ")
    assert not re.search(r"127|localhost|s3cret|http:", message)
    return raised.value


async def test_what_is_sent() -> None:
    async with (
        serving(answering(answer())) as server,
        calling(server.url(), headers={"Authorization": "Bearer s3cret"}) as it,
    ):
        assert await post(it, b'{"a":"\\ud800"}') == OK
    [asked] = server.requests
    assert asked.body == b'{"a":"\\ud800"}'
    assert asked.head.startswith("POST /verify HTTP/1.1\r\n")
    for line in ("Authorization: Bearer s3cret", "Content-Type: application/json", "Accept-Encoding: identity"):
        assert line in asked.head
    assert "Cookie" not in asked.head


async def test_a_compressed_answer_is_read_though_none_was_asked_for() -> None:
    packed = answer(gzip.compress(b'{"x": 1}'), Content_Encoding="gzip")
    async with serving(answering(packed)) as server, calling(server.url()) as it:
        assert await post(it) == {"x": 1}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    async with serving(answering(answer())) as elsewhere:
        for location in (elsewhere.url(), "http://169.254.169.254/latest/meta-data/"):
            async with serving(answering(answer(b"", status, Location=location))) as server:
                error = await refused(server.url())
            assert (error.type, error.retryable) == (FAULT, False)
            assert str(error).endswith(f"answered {status}; redirects are not followed")
            assert len(server.requests) == 1
    assert elsewhere.connections == 0


BOMB = zlib.compressobj(9, zlib.DEFLATED, 31)
BOMB_DATA = b"".join(BOMB.compress(b"0" * 2**20) for _ in range(100)) + BOMB.flush()


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (answer(b"nonsense"), "what is no JSON of finite numbers"),
        (answer(b""), "what is no JSON of finite numbers"),
        (answer(b"\xff\xfe"), "what is no JSON of finite numbers"),
        (answer(b'{"items": [{"score": NaN}]}'), "what is no JSON of finite numbers"),
        (answer(b'{"items": [{"score": 1e999}]}'), "what is no JSON of finite numbers"),
        (answer(b"[" * 100_000 + b"]" * 100_000), "what is no JSON of finite numbers"),
        (answer(b"9" * 5_000), "what is no JSON of finite numbers"),
        (answer(b" " * (2**20 + 1)), "more than 1024 KiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{", "more than 1024 KiB"),
        (answer(BOMB_DATA, Content_Encoding="gzip"), "more than 1024 KiB"),
        (answer(b"x", Content_Encoding="gzip"), "unknown or damaged"),
        (answer(b"x", Content_Encoding="br"), "unknown or damaged"),
        (answer(status=404), "answered 404"),
        (answer(status=401), "answered 401"),
        (answer(b"", status=204), "what is no JSON of finite numbers"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n", "does not speak HTTP"),
    ],
)
async def test_answers_that_are_none(response: bytes, message: str) -> None:
    async with serving(answering(response)) as server:
        error = await refused(server.url())
    assert message in str(error)
    assert (error.type, error.retryable) == (FAULT, False)
    assert len(server.requests) == 1, "a fault is not tried again"


@pytest.mark.parametrize("chunked", [True, False])
async def test_an_answer_without_an_end(chunked: bool) -> None:
    async def flood(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"\r\n"))
        while True:
            writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n" if chunked else b" " * 65536)
            await writer.drain()

    async with serving(flood) as server:
        error = await refused(server.url(), answer_kb=256)
    assert error.type is FAULT
    assert "more than 256 KiB" in str(error)


async def test_an_answer_that_drips() -> None:
    async def drip(_: Asked, writer: asyncio.StreamWriter) -> None:
        for byte in answer({"x": "y" * 1000}):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)

    async with serving(drip) as server:
        started = time.monotonic()
        error = await refused(server.url(), timeout_s=0.4)
        assert time.monotonic() - started < 3
        assert (error.type, error.retryable) == (UNAVAILABLE, True)
        started = time.monotonic()
        await refused(server.url(), seconds=0.3)
        assert time.monotonic() - started < 3
    assert len(server.requests) == 2, "what took its whole time is not tried again"


async def broken_off(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def half(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"items": ')


@pytest.mark.parametrize("trouble", [*(answer(status=code) for code in (408, 429, 500, 503)), broken_off, half])
async def test_trouble_that_passes(trouble: Any) -> None:
    troubled = answering(trouble) if isinstance(trouble, bytes) else trouble
    count = 0

    async def handle(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        await (troubled if count < 3 else answering(answer()))(asked, writer)

    async with serving(handle) as server, calling(server.url()) as it:
        assert await post(it) == OK
    assert count == 3
    count = 0
    async with serving(handle) as server:
        error = await refused(server.url(), retries=1)
    assert (error.type, error.retryable, count) == (UNAVAILABLE, True, 2)


@pytest.mark.parametrize("refusal", [answer(status=501), answer(OVERFLOW, 500), answer(status=400)])
async def test_what_would_be_refused_again_is_not_tried_again(refusal: bytes) -> None:
    async with serving(answering(refusal, answer())) as server:
        error = await refused(server.url())
    assert (error.type, error.retryable, len(server.requests)) == (FAULT, False, 1)


async def test_what_a_backend_asks_to_wait_for_is_waited_for_or_given_up() -> None:
    busy = answer(status=429, Retry_After="1")
    async with serving(answering(busy, answer())) as server, calling(server.url()) as it:
        started = time.monotonic()
        assert await post(it) == OK
        assert time.monotonic() - started >= 1
    async with serving(answering(busy)) as server:
        started = time.monotonic()
        assert "answered 429" in str(await refused(server.url(), seconds=0.8))
        assert time.monotonic() - started < 0.7, "there is no time to wait for it"


async def test_nothing_listens() -> None:
    async with serving(answering(answer())) as server:
        pass
    error = await refused(server.url())
    assert (error.type, error.retryable) == (UNAVAILABLE, True)
    assert "cannot be reached" in str(error)


def fixed(*addresses: str) -> Any:
    def lookup(host: str, port: int) -> Sequence[str]:
        return addresses

    return lookup


@pytest.mark.parametrize(
    ("addresses", "allowed"),
    [
        (["127.0.0.1"], False),
        (["1.1.1.1", "127.0.0.1"], False),
        (["::ffff:127.0.0.1"], False),
        (["169.254.169.254"], True),
        (["127.0.0.1", "169.254.169.254"], True),
        (["64:ff9b::7f00:1"], True),
        (["0.0.0.0"], True),  # noqa: S104
    ],
)
async def test_a_name_that_leads_where_no_backend_may_be(addresses: list[str], allowed: bool) -> None:
    async with serving(answering(answer()), "0.0.0.0") as server:  # noqa: S104
        error = await refused(server.url("backend.test"), allow_private=allowed, lookup=fixed(*addresses))
    assert (error.type, error.retryable) == (UNAVAILABLE, False)
    assert "address" in str(error)
    assert server.connections == 0


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f000001", "127.1", "0"]
)
async def test_a_url_that_leads_to_this_machine(host: str) -> None:
    async with serving(answering(answer()), "127.0.0.1") as server:
        error = await refused(server.url(host), allow_private=False)
    assert not error.retryable
    assert server.connections == 0


async def test_it_connects_to_the_address_that_was_checked() -> None:
    async with serving(answering(answer()), "127.0.0.2") as server:
        async with calling(server.url("backend.test"), lookup=fixed("127.0.0.2")) as it:
            assert await post(it) == OK
        assert f"Host: backend.test:{server.port}" in server.requests[0].head


async def test_a_name_that_changes_its_mind() -> None:
    """Each connection asks anew, and goes to what that very answer was."""
    told: list[str] = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        told.append("127.0.0.1" if not told else "169.254.169.254")
        return [told[-1]]

    async with serving(answering(answer())) as server, calling(server.url("backend.test"), lookup=rebinding) as it:
        assert await post(it) == OK
        with pytest.raises(BackendError, match="address"):
            await post(it)
    assert (told, server.connections) == (["127.0.0.1", "169.254.169.254"], 1)


async def test_a_lookup_that_hangs_holds_up_nothing_else() -> None:
    def hang(host: str, port: int) -> Sequence[str]:
        time.sleep(1.5)
        return ["127.0.0.1"]

    async with calling("http://backend.test/", lookup=hang, connect_s=0.3, retries=0) as it:
        waiting = [asyncio.create_task(post(it)) for _ in range(60)]
        await asyncio.sleep(0.05)
        started = time.monotonic()
        await asyncio.gather(*(asyncio.to_thread(time.monotonic) for _ in range(40)))
        assert time.monotonic() - started < 1
        for ended in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(ended, BackendError)


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(answering(answer({"from": "proxy"}))) as proxy, serving(answering(answer())) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with calling(server.url()) as it:
            assert await post(it) == OK
    assert proxy.connections == 0


@pytest.mark.parametrize(("concurrency", "workers", "most"), [(3, 1, 3), (6, 2, 3), (1, 4, 1)])
async def test_requests_at_once_are_bounded(concurrency: int, workers: int, most: int) -> None:
    now = peak = 0

    async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal now, peak
        now += 1
        peak = max(peak, now)
        await asyncio.sleep(0.02)
        now -= 1
        writer.write(answer())

    async with serving(handle) as server, calling(server.url(), concurrency=concurrency, workers=workers) as it:
        assert await asyncio.gather(*(post(it) for _ in range(12))) == [OK] * 12
        assert it.running == 0
    assert peak == most


async def test_waiting_for_a_turn_ends_with_the_deadline() -> None:
    async def hang(_: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with serving(hang) as server, calling(server.url(), concurrency=1) as it:
        first = asyncio.create_task(post(it, seconds=1.0))
        await asyncio.sleep(0.1)
        started = time.monotonic()
        with pytest.raises(BackendError, match="was busy until the deadline"):
            await post(it, seconds=0.2)
        assert time.monotonic() - started < 0.8
        with pytest.raises(BackendError, match="did not answer in time"):
            await first


class TestBreaker:
    @pytest.fixture(autouse=True)
    def short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(breaker, "PAUSE_S", 0.5)
        monkeypatch.setattr(caller, "FIRST_PAUSE_S", 0.01)

    async def test_a_backend_that_is_down_is_left_alone_and_tried_again(self) -> None:
        down = True

        async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(answer(status=503) if down else answer())

        async with serving(handle) as server, calling(server.url(), retries=0) as it:
            for _ in range(breaker.FAILURES):
                with pytest.raises(BackendError, match="answered 503"):
                    await post(it)
            started = time.monotonic()
            for _ in range(50):
                with pytest.raises(BackendError, match="left alone") as raised:
                    await post(it)
            assert time.monotonic() - started < 0.4
            assert (raised.value.type, raised.value.retryable) == (UNAVAILABLE, True)
            assert len(server.requests) == breaker.FAILURES
            assert REGISTRY.get_sample_value("assay_backend_down", {"backend": "it"}) == 1
            await asyncio.sleep(0.55)
            ended = await asyncio.gather(*(post(it) for _ in range(20)), return_exceptions=True)
            assert len(server.requests) == breaker.FAILURES + 1, "one is let through"
            assert all(isinstance(error, BackendError) for error in ended)
            down = False
            await asyncio.sleep(0.55)
            assert await post(it) == OK
            assert await asyncio.gather(*(post(it) for _ in range(20))) == [OK] * 20
            assert REGISTRY.get_sample_value("assay_backend_down", {"backend": "it"}) == 0

    @pytest.mark.parametrize(
        "response", [answer(status=code) for code in (400, 429, 500, 501)] + [answer(b"no"), answer(OVERFLOW, 500)]
    )
    async def test_what_an_answer_is_about_does_not_make_it_down(self, response: bytes) -> None:
        async with serving(answering(response)) as server, calling(server.url(), retries=0) as it:
            for _ in range(2 * breaker.FAILURES):
                with pytest.raises(BackendError, match="answered"):
                    await post(it)
            assert len(server.requests) == 2 * breaker.FAILURES

    @pytest.mark.parametrize("response", [answer(status=500), answer(status=429)])
    async def test_a_backend_that_answers_again_is_no_longer_left_alone(self, response: bytes) -> None:
        """What is let through may be about an item that the backend always fails on: it is there all the same."""
        said = [answer(status=503)] * breaker.FAILURES + [response]
        async with serving(answering(*said, answer())) as server, calling(server.url(), retries=0) as it:
            for _ in range(breaker.FAILURES):
                with pytest.raises(BackendError, match="answered 503"):
                    await post(it)
            await asyncio.sleep(0.55)
            with pytest.raises(BackendError, match=r"answered (500|429)"):
                await post(it)
            assert await asyncio.gather(*(post(it) for _ in range(20))) == [OK] * 20

    async def test_requests_whose_turn_came_late_do_not_make_it_down(self) -> None:
        """A backend with more to do than it can by the deadline is busy, and not down."""

        async def slow(_: Asked, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.5)
            writer.write(answer())

        async with serving(slow) as server, calling(server.url(), concurrency=8, timeout_s=2.0) as it:
            ended = await asyncio.gather(*(post(it, seconds=0.8) for _ in range(24)), return_exceptions=True)
            assert ended[:8] == [OK] * 8
            assert all(isinstance(error, BackendError) for error in ended[8:])
            assert await post(it) == OK

    async def test_a_backend_that_never_answers_is_left_alone(self) -> None:
        async def hang(_: Asked, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(60)

        async with serving(hang) as server, calling(server.url(), timeout_s=0.2) as it:
            for _ in range(breaker.FAILURES):
                with pytest.raises(BackendError, match="in time"):
                    await post(it)
            with pytest.raises(BackendError, match="left alone"):
                await post(it)
            assert len(server.requests) == breaker.FAILURES

    async def test_callers_in_haste_do_not_make_it_down(self) -> None:
        async def slow(_: Asked, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.3)
            writer.write(answer())

        async with serving(slow) as server, calling(server.url()) as it:
            for _ in range(2 * breaker.FAILURES):
                with pytest.raises(BackendError, match="in time"):
                    await post(it, seconds=0.02)
            assert await post(it) == OK

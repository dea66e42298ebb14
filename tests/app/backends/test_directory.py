"""Backends by name: found, changed, removed, and unusable ones told apart."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import Any

import pytest
from pydantic import SecretStr

from app import wire
from app.backends import directory
from app.backends.config import BackendLimits, ChatModel
from app.backends.directory import Directory, place
from app.backends.secrets import Secret, Vault
from app.store import backends as store
from app.store.database import Database
from app.store.ids import uuid7
from tests.app.backends.chat_support import completion, request
from tests.app.backends.support import OK, answer, answering, calling, serving
from verifiers.base import ErrorType
from verifiers.lent import BackendError

VAULT = Vault(SecretStr("k" * 32))


async def add(
    database: Database, url: str, *, name: str = "it", key: str | None = None, model: str | None = None, **limits: Any
) -> None:
    id = uuid7()
    kept = [] if key is None else [Secret("X-Key", "", VAULT.keep(key, place(id, url, "X-Key")))]
    async with database.begin() as connection:
        made = await store.create(
            connection, id=id, name=name, type="verifier" if model is None else "chat", url=url, allow_private=True,
            limits=wire.encode(BackendLimits(**limits).model_dump()),
            secrets=wire.encode([asdict(secret) for secret in kept]),
            options=None if model is None else wire.encode(ChatModel(model=model).model_dump()),
        )  # fmt: skip
    assert made is not None


async def post(found: Directory, name: str = "it", seconds: float = 10.0) -> Any:
    return await found.post(name, {}, deadline=time.monotonic() + seconds)


async def remove(database: Database, name: str = "it") -> None:
    async with database.begin() as connection:
        assert await store.archive(connection, name) is not None


async def test_a_backend_is_found_and_its_key_is_sent(database: Database) -> None:
    async with serving(answering(answer())) as server:
        await add(database, server.url(), key="s3cret")
        found = Directory(database, VAULT)
        assert await found.exists("it")
        assert not await found.exists("other")
        assert await asyncio.gather(*(post(found) for _ in range(5))) == [OK] * 5
        assert all("X-Key: s3cret\r\n" in asked.head for asked in server.requests)
        await found.close()


async def test_there_is_none(database: Database) -> None:
    found = Directory(database, VAULT)
    with pytest.raises(BackendError, match="there is no backend it any more") as raised:
        await post(found)
    assert (raised.value.type, raised.value.retryable) == (ErrorType.BACKEND_UNAVAILABLE, False)


async def test_a_change_counts_within_a_second_and_what_runs_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "TRUST_S", 0.2)
    going = asyncio.Event()

    async def slow(_: Any, writer: asyncio.StreamWriter) -> None:
        going.set()
        await asyncio.sleep(1.0)
        writer.write(answer({"old": 1}))

    async with serving(slow) as old, serving(answering(answer({"new": 1}))) as new:
        await add(database, old.url())
        found = Directory(database, VAULT)
        running = asyncio.create_task(post(found))
        await going.wait()
        await remove(database)
        await asyncio.sleep(0.3)
        with pytest.raises(BackendError, match="no backend it any more"):
            await post(found)
        await add(database, new.url())
        assert await post(found) == {"new": 1}
        assert await running == {"old": 1}
        await found.close()


async def test_removing_forgets_the_keys_and_frees_the_name(database: Database) -> None:
    await add(database, "https://a.example/", key="s3cret")
    async with database.begin() as connection:
        taken = await store.create(
            connection,
            id=uuid7(),
            name="it",
            type="verifier",
            url="u",
            allow_private=False,
            limits="{}",
            secrets="[]",
        )
    assert taken is None
    await remove(database)
    await add(database, "https://b.example/")
    async with database.begin() as connection:
        rows = (await connection.exec_driver_sql("SELECT url, secrets FROM backends ORDER BY created_at")).all()
        listed = await store.list_page(connection, None, 10)
    assert [tuple(row) for row in rows] == [("https://a.example/", b"[]"), ("https://b.example/", b"[]")]
    assert [backend.url for backend in listed] == ["https://b.example/"]


async def test_a_key_stored_under_another_secret_key(database: Database) -> None:
    async with serving(answering(answer())) as server:
        await add(database, server.url(), key="s3cret")
        for vault, message in ((Vault(SecretStr("o" * 32)), "another ASSAY_SECRET_KEY"), (Vault(None), "has no")):
            with pytest.raises(BackendError, match=message) as raised:
                await post(Directory(database, vault))
            assert not raised.value.retryable
            assert "s3cret" not in str(raised.value)
    assert server.connections == 0


async def test_a_row_with_another_url_sends_no_key(database: Database) -> None:
    async with serving(answering(answer())) as server:
        await add(database, "https://mine.example/", key="s3cret")
        async with database.begin() as connection:
            await connection.exec_driver_sql("UPDATE backends SET url = $1", (server.url(),))
        with pytest.raises(BackendError, match="no usable key"):
            await post(Directory(database, VAULT))
    assert server.connections == 0


async def test_a_database_that_is_away(database: Database) -> None:
    await add(database, "https://a.example/")
    away = Database("postgresql://nobody@127.0.0.1:1/none", 1)
    started = time.monotonic()
    with pytest.raises(BackendError, match="could not be looked up") as raised:
        await post(Directory(away, VAULT), seconds=3)
    assert time.monotonic() - started < 4
    assert raised.value.retryable
    await away.close()


async def test_a_dead_backend_holds_up_no_other(database: Database) -> None:
    async def hang(_: Any, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with serving(hang) as dead, serving(answering(answer())) as live:
        await add(database, dead.url(), name="dead", concurrency=2)
        await add(database, live.url(), name="live")
        found = Directory(database, VAULT)
        waiting = [asyncio.create_task(post(found, "dead", 1.5)) for _ in range(50)]
        await asyncio.sleep(0.1)
        started = time.monotonic()
        assert await asyncio.gather(*(post(found, "live") for _ in range(20))) == [OK] * 20
        assert time.monotonic() - started < 1.0
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(error, BackendError) for error in ended)
        await found.close()


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
        ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080/v1/chat/completions"),
        ("http://a.example", "http://a.example/chat/completions"),
        ("https://a.example/d/x%2Fy?api-version=1", "https://a.example/d/x%2Fy/chat/completions?api-version=1"),
    ],
)
async def test_chat_requests_go_below_the_base_url(base: str, url: str) -> None:
    async with calling(base) as caller:
        assert str(caller.place("chat/completions")) == url
        assert str(caller.place("")) == base


async def test_a_chat_model_is_found_by_its_type(database: Database) -> None:
    async with serving(answering(answer(completion()))) as server:
        base = server.url().removesuffix("/verify") + "/v1"
        await add(database, base, name="model", key="s3cret", model="tiny")
        await add(database, server.url(), name="verifier")
        found = Directory(database, VAULT)
        assert [await found.exists("model", type) for type in (None, "chat", "verifier")] == [True, True, False]
        assert [await found.exists("verifier", type) for type in (None, "chat", "verifier")] == [True, False, True]
        answers = await asyncio.gather(
            *(found.chat("model", request(), deadline=time.monotonic() + 10) for _ in range(5))
        )
        assert {one.text for one in answers} == {"Yes."}
        assert not (await found.abilities("model")).json_schema
        with pytest.raises(BackendError, match="the backend model is a model, and no verifier") as raised:
            await post(found, "model")
        assert not raised.value.retryable
        for asking in (
            found.chat("verifier", request(), deadline=time.monotonic() + 10),
            found.abilities("verifier"),
        ):
            with pytest.raises(BackendError, match="the backend verifier is no chat model"):
                await asking
        with pytest.raises(BackendError, match="there is no backend none any more"):
            await found.abilities("none")
        await found.close()
    assert len(server.requests) == 3
    for asked in server.requests:
        assert asked.head.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
        assert "X-Key: s3cret\r\n" in asked.head
        assert asked.json()["model"] == "tiny"


async def test_a_chat_model_that_was_replaced_is_asked_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "TRUST_S", 0.0)
    async with serving(answering(answer(completion("old")), answer(completion("new")))) as server:
        found = Directory(database, VAULT)
        for text in ("old", "new"):
            await add(database, server.url(), model="tiny")
            for _ in range(2):
                assert (await found.chat("it", request(), deadline=time.monotonic() + 10)).text == text
            await remove(database)
        await found.close()

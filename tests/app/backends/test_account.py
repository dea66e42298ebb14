"""What backends take, by project, verifier and backend: counted once, and in a bounded number of labels."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from app.backends import account as module
from app.backends.account import MAX_PAIRS, MAX_PROJECTS, OTHER, Account, Labels, count
from tests.app.backends.chat_support import chatting, completion, request, usage
from tests.app.backends.support import Asked, answer, answering, serving
from verifiers.lent import BackendError

MINE = Account(uuid4(), "mine", "judge@1")


def counted(name: str, account: Account, backend: str = "it") -> float:
    labels = {"project": account.project, "verifier": account.verifier, "backend": backend}
    return REGISTRY.get_sample_value(f"assay_usage_{name}_total", labels) or 0.0


def figures(account: Account) -> list[float]:
    return [counted(name, account) for name in ("calls", "prompt_tokens", "completion_tokens", "cost")]


async def test_each_asker_is_counted_what_it_took_and_reused_answers_take_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_LABELS", Labels())
    mine, other = (replace(MINE, project=name) for name in ("mine-1", "other-1"))
    said = answer(completion(usage=usage(1_000, 200)))
    async with serving(answering(said)) as server, chatting(server.url(), price_in=2.5, price_out=10) as it:
        deadline = time.monotonic() + 20
        await asyncio.gather(*(it.chat(request(), deadline=deadline, account=mine) for _ in range(10)))
        await it.chat(request(), deadline=deadline, account=mine)
        await it.chat(request("else"), deadline=deadline, account=replace(other, project_id=uuid4()))
        await it.chat(request("nobody's"), deadline=deadline)
    assert figures(mine) == pytest.approx([1, 1_000, 200, 0.0045])
    assert figures(other) == pytest.approx([1, 1_000, 200, 0.0045])
    assert len(server.requests) == 3


async def test_who_stopped_waiting_is_counted_what_was_answered_all_the_same() -> None:
    mine = replace(MINE, project="mine-2")
    asked, gone = asyncio.Event(), asyncio.Event()

    async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await gone.wait()
        writer.write(answer(completion()))

    async with serving(handle) as server, chatting(server.url()) as it:
        deadline = time.monotonic() + 20
        task = asyncio.create_task(it.chat(request(), deadline=deadline, account=mine))
        await asked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert figures(mine) == [0, 0, 0, 0]
        gone.set()
        assert (await it.chat(request(), deadline=deadline, account=mine)).prompt_tokens == 0
    assert task.cancelled()
    assert figures(mine) == [1, 10, 2, 0]


async def test_what_brought_no_answer_is_not_counted() -> None:
    mine = replace(MINE, project="mine-3")
    async with serving(answering(answer(status=503))) as server, chatting(server.url(), retries=0) as it:
        with pytest.raises(BackendError):
            await it.chat(request(), deadline=time.monotonic() + 20, account=mine)
    assert figures(mine) == [0, 0, 0, 0]


def test_no_project_uses_up_the_labels_of_another() -> None:
    labels = Labels()
    for number in range(10 * MAX_PAIRS):
        labels.of(replace(MINE, verifier=f"v@{number + 1}"), "b")
    assert labels.of(MINE, "b") == ("mine", OTHER, "b")
    assert labels.of(replace(MINE, verifier="v@1"), "b") == ("mine", "v@1", "b")
    assert labels.of(replace(MINE, project="yours"), "b") == ("yours", "judge@1", "b")


def test_labels_are_bounded_in_number() -> None:
    labels = Labels()
    found = {
        labels.of(replace(MINE, project=f"p{project}", verifier=f"v@{number}"), "b")
        for project in range(2 * MAX_PROJECTS)
        for number in range(2 * MAX_PAIRS)
    }
    assert len(found) == MAX_PROJECTS * (MAX_PAIRS + 1) + 1
    assert (OTHER, OTHER, "b") in found


def test_what_is_beyond_the_bound_is_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LABELS", Labels())
    monkeypatch.setattr(module, "MAX_PAIRS", 1)
    mine = replace(MINE, project="mine-4")
    for number in range(5):
        count(replace(mine, verifier=f"v@{number + 1}"), "it", prompt_tokens=3)
    assert counted("prompt_tokens", replace(mine, verifier="v@1")) == 3
    assert counted("prompt_tokens", replace(mine, verifier=OTHER)) == 12

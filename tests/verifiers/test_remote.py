"""The kind `remote`, with a backend that answers as the test wants."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.verifiers.support import ANY_JSON, ANY_TEXT, NoGuard, assert_sound
from verifiers.base import Context, ErrorType, Item, Message, Outcome, Verdict, explain
from verifiers.lent import BackendError
from verifiers.remote import AT_ONCE, Remote, RemoteConfig

FAULT, UNAVAILABLE = ErrorType.BACKEND_FAULT, ErrorType.BACKEND_UNAVAILABLE


class Answers:
    """A backend: what `answer` makes of each request, or raises."""

    def __init__(self, answer: Callable[[Any], Any], pause_s: float = 0.0) -> None:
        self.asked: list[Any] = []
        self.deadlines: list[float] = []
        self.peak = self._now = 0
        self._answer = answer
        self._pause_s = pause_s

    async def exists(self, name: str, type: str | None = None) -> bool:
        return True

    async def post(self, name: str, body: Any, *, deadline: float) -> Any:
        assert name == "it"
        self.asked.append(json.loads(json.dumps(body, allow_nan=False)))
        self.deadlines.append(deadline - time.monotonic())
        self._now += 1
        self.peak = max(self.peak, self._now)
        await asyncio.sleep(self._pause_s)
        self._now -= 1
        return json.loads(json.dumps(self._answer(body)))


def same(body: Any) -> Any:
    return {"items": [{"score": i["completion"] == i["reference"], "detail": i["completion"]} for i in body["items"]]}


async def judged(backends: Any, *items: Item, seconds: float = 20.0, **config: Any) -> list[Verdict]:
    verifier = Remote(RemoteConfig(backend="it", **config))
    context = Context(time.monotonic() + seconds, NoGuard(), backends=backends)
    verdicts = await verifier.verify(items, context)
    for verdict in verdicts:
        assert_sound(verdict)
    return verdicts


def numbered(count: int) -> list[Item]:
    return [Item(id=str(n), completion=str(n), reference=str(n % 3)) for n in range(count)]


async def test_items_are_sent_in_order_and_in_requests_of_a_size() -> None:
    backend = Answers(same)
    verdicts = await judged(backend, *numbered(10), batch=4)
    assert [verdict.score for verdict in verdicts] == [1, 1, 1] + [0] * 7
    assert [verdict.detail["said"] for verdict in verdicts] == [str(n) for n in range(10)]
    assert [[item["id"] for item in body["items"]] for body in backend.asked] == [
        ["0", "1", "2", "3"], ["4", "5", "6", "7"], ["8", "9"],
    ]  # fmt: skip
    assert all(0 < body["deadline_ms"] <= 20_000 for body in backend.asked)
    assert (verdicts[0].detail["stage"], verdicts[0].detail["backend"]) == ("remote", "it")


async def test_what_is_sent_of_an_item() -> None:
    backend = Answers(lambda body: {"items": [{"score": 1}] * 2})
    chat = [Message(role="user", content="q", name="n"), Message(role="assistant", content="a")]
    await judged(
        backend,
        Item(completion="a\x00\ud800", prompt="p", reference={"r": 1}, metadata={"m": [None]}, tokens=5),
        Item(id="x", completion=chat, prompt=chat[:1]),
    )
    messages = [{"role": "user", "content": "q", "name": "n"}, {"role": "assistant", "content": "a"}]
    assert backend.asked[0]["items"] == [
        {"id": None, "prompt": "p", "completion": "a\x00\ud800", "reference": {"r": 1}, "metadata": {"m": [None]}},
        {"id": "x", "prompt": messages[:1], "completion": messages, "reference": None, "metadata": {}},
    ]


async def test_requests_at_once_are_bounded_and_have_their_time() -> None:
    backend = Answers(same, pause_s=0.02)
    assert len(await judged(backend, *numbered(200), batch=1, timeout_s=0.5)) == 200
    assert backend.peak == AT_ONCE
    assert all(seconds <= 0.5 for seconds in backend.deadlines)


async def test_what_the_deadline_leaves() -> None:
    backend = Answers(same, pause_s=0.3)
    verdicts = await judged(backend, *numbered(100), batch=1, seconds=0.2)
    assert [verdict.score for verdict in verdicts[:2]] == [1, 1]
    assert verdicts[-1].error is not None
    assert verdicts[-1].error.type is ErrorType.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "answered no object with a list 'items'"),
        ([{"score": 1}] * 2, "answered no object with a list 'items'"),
        ({"items": {"score": 1}}, "answered no object with a list 'items'"),
        ({"error": "no"}, "answered no object with a list 'items'"),
        ({"items": [{"score": 1}]}, "answered 1 results for 2 items"),
        ({"items": [{"score": 1}] * 3}, "answered 3 results for 2 items"),
        ({"items": []}, "answered 0 results for 2 items"),
    ],
)
async def test_an_answer_that_is_none_leaves_all_its_items(answer: Any, message: str) -> None:
    for verdict in await judged(Answers(lambda _: answer), *numbered(2)):
        assert verdict.error is not None
        assert (verdict.error.type, verdict.error.retryable) == (FAULT, False)
        assert verdict.error.message == f"the backend it {message}"


BAD_RESULTS: list[tuple[Any, str]] = [
    (1, "gave a result that is no object"),
    (None, "gave a result that is no object"),
    ({}, "gave an object without 'score'"),
    ({"score": None}, "gave nothing (None) as score, not a number"),
    ({"score": "1"}, "gave a value of type str as score, not a number"),
    ({"score": [1]}, "gave a value of type list as score, not a number"),
    ({"score": 10**400}, "gave a number that is not finite as score"),
    ({"score": 1, "id": "0"}, "gave a result with another item's id: they must keep their order"),
    ({"score": 1, "id": None}, "gave a result with another item's id: they must keep their order"),
    ({"score": 1, "reward": 1}, "gave a result with 'reward', which means nothing"),
    ({"score": 1, "outcome": "pending"}, "gave an outcome that is none of "),
    ({"score": 1, "components": {"a": None}}, "gave nothing (None) as component 'a', not a number"),
]


@pytest.mark.parametrize(("result", "message"), BAD_RESULTS, ids=[str(n) for n in range(len(BAD_RESULTS))])
async def test_a_bad_result_leaves_its_own_item_alone(result: Any, message: str) -> None:
    answer = {"items": [{"score": 1, "id": "0"}, result, {"score": 0, "error": None}]}
    first, bad, last = await judged(Answers(lambda _: answer), *numbered(3))
    assert (first.score, last.score) == (1.0, 0.0)
    assert bad.error is not None
    assert (bad.error.type, bad.error.retryable) == (FAULT, False)
    assert bad.error.message.startswith(f"the backend it {message}")


@pytest.mark.parametrize(("error", "said"), [("a broken reference", "a broken reference"), ({"x": 1}, "no text")])
async def test_an_item_that_the_server_cannot_judge(error: Any, said: str) -> None:
    answer = {"items": [{"score": None, "error": error}, {"score": 1}]}
    verdict, other = await judged(Answers(lambda _: answer), *numbered(2))
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.VERIFIER_FAULT
    assert said in verdict.error.message
    assert other.score == 1.0


async def test_a_backend_that_gives_no_answer() -> None:
    def fail(body: Any) -> Any:
        if body["items"][0]["id"] == "0":
            raise BackendError(UNAVAILABLE, "the backend it cannot be reached", retryable=True)
        return same(body)

    first, second, third = await judged(Answers(fail), *numbered(3), batch=1)
    assert first.error is not None
    assert (first.error.type, first.error.retryable) == (UNAVAILABLE, True)
    assert (second.score, third.score) == (1.0, 1.0)
    [alone] = await judged(None, *numbered(1))
    assert alone.error is not None
    assert alone.error.type is UNAVAILABLE


@settings(max_examples=50, deadline=None)
@given(answer=ANY_JSON, results=st.lists(ANY_JSON, min_size=2, max_size=2))
async def test_any_answer_gets_sound_verdicts(answer: Any, results: list[Any]) -> None:
    for said in (answer, {"items": results}, {"items": [{"score": result} for result in results]}):
        backend = Answers(functools.partial(lambda said, _: said, said))
        verdicts = await judged(backend, *numbered(2))
        assert all(verdict.outcome is not Outcome.PENDING for verdict in verdicts)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), texts=st.lists(st.tuples(ANY_TEXT, ANY_TEXT), max_size=6))
async def test_order_and_repetition_change_no_verdict(data: st.DataObject, texts: list[tuple[str, str]]) -> None:
    items = [Item(completion=completion, reference=reference) for completion, reference in texts]
    order = data.draw(st.permutations(range(len(items))))
    straight = await judged(Answers(same), *items, batch=2)
    assert [straight[i] for i in order] == await judged(Answers(same), *[items[i] for i in order], batch=2)


@pytest.mark.parametrize(
    ("config", "place", "message"),
    [
        ({}, ("backend",), "Field required"),
        ({"backend": 5}, ("backend",), "Input should be a valid string"),
        ({"backend": "http://x"}, ("backend",), "String should match pattern"),
        ({"backend": ""}, ("backend",), "String should match pattern"),
        ({"backend": "a", "batch": 0}, ("batch",), "Input should be greater than or equal to 1"),
        ({"backend": "a", "batch": 1025}, ("batch",), "Input should be less than or equal to 1024"),
        ({"backend": "a", "batch": 2.5}, ("batch",), "Input should be a valid integer"),
        ({"backend": "a", "timeout_s": 0}, ("timeout_s",), "Input should be greater than or equal to 0.1"),
        ({"backend": "a", "url": "x"}, ("url",), "Extra inputs are not permitted"),
    ],
)
def test_malformed_configurations(config: Any, place: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        RemoteConfig.model_validate(config)
    where, said = explain(raised.value, config)
    assert where == place
    assert said.startswith(message)


def test_what_it_needs_and_who_may_send_it_inline() -> None:
    assert dict(RemoteConfig(backend="it").needs().backends) == {"/backend": "it"}
    assert (RemoteConfig.inline_scope, RemoteConfig.is_part) == ("register", True)
    assert all(field.description for field in RemoteConfig.model_fields.values())

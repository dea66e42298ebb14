"""A service that is away, broken or slow: nothing is lost, nothing is recorded twice, and deadlines hold."""

from __future__ import annotations

import asyncio
import pickle
import socket
import threading
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service import free_port
from tests.trainer_client.faulty import FaultyService, Script, Seen, answering, bodies, problem, unscored, until
from trainer_client import (
    AsyncRewardClient,
    AuthError,
    ConflictError,
    DeadlineError,
    ForbiddenError,
    InvalidRequestError,
    ItemsUnscoredError,
    NotAssayError,
    NotFoundError,
    RefusedError,
    RewardClient,
    ServiceFaultError,
    ServiceUnavailableError,
    UnknownVerifierError,
    Verdict,
    transport,
)

PASSING = ["drop", "drop after", "half", "garbage", "short", "nan", "busy", "gateway", "throttled"]


@pytest.fixture
def client(faulty: FaultyService) -> Any:
    with RewardClient(faulty.url, "key") as running:
        yield running


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_costs_no_verdict_and_records_nothing_twice(
    faulty: FaultyService, client: RewardClient, fault: Any
) -> None:
    faulty.script.faults = [fault, fault]
    verdicts = client.score("text", completions=["a", "bb", "ccc"])
    assert [verdict.score for verdict in verdicts] == [1, 2, 3]
    assert faulty.script.recorded == {"a": 1, "bb": 1, "ccc": 1}
    seen = faulty.script.seen
    assert len(seen) == 3
    assert len(set(bodies(seen))) == len({request.key for request in seen}) == 1


@given(
    faults=st.lists(st.sampled_from(PASSING), max_size=12), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=8)
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_order_of_faults_loses_or_repeats_anything(
    faulty: FaultyService, monkeypatch: pytest.MonkeyPatch, faults: list[Any], sizes: list[int]
) -> None:
    faulty.script = Script(faults=list(faults))
    monkeypatch.setattr(transport, "LAST_PAUSE_S", transport.FIRST_PAUSE_S)

    async def score_all() -> list[list[Verdict]]:
        async with AsyncRewardClient(faulty.url, "key") as client:
            return await asyncio.gather(
                *(client.score("text", completions=[f"{i}.{j}" for j in range(size)]) for i, size in enumerate(sizes))
            )

    answers = asyncio.run(score_all())
    expected = [[f"{i}.{j}" for j in range(size)] for i, size in enumerate(sizes)]
    assert [[verdict.detail["of"] for verdict in answer] for answer in answers] == expected
    assert set(faulty.script.recorded.values()) == {1}


def test_retry_after_is_waited_for(faulty: FaultyService, client: RewardClient) -> None:
    faulty.script.answer = answering((503, {"Retry-After": "1"}, problem("overloaded", 503)))
    assert client.score_one("text", "abc").score == 3
    first, second = (request.at for request in faulty.script.seen)
    assert second - first >= 1


def test_a_retry_after_beyond_the_deadline_is_not_waited_for(faulty: FaultyService, client: RewardClient) -> None:
    faulty.script.answer = answering(*[(503, {"Retry-After": "3600"}, problem("overloaded", 503))] * 2)
    with pytest.raises(ServiceUnavailableError, match="the overloaded"):
        client.score_one("text", "abc")
    assert len(faulty.script.seen) == 1


def test_a_service_that_comes_back_in_time_is_waited_for() -> None:
    port = free_port()
    running: list[FaultyService] = []

    def come_back() -> None:
        time.sleep(1)
        running.append(FaultyService(port))

    with RewardClient(f"http://127.0.0.1:{port}", "key") as client:
        threading.Thread(target=come_back).start()
        verdicts = client.score("text", completions=["a", "bb"])
    assert [verdict.score for verdict in verdicts] == [1, 2]
    running[0].close()


def test_a_service_that_stays_away_is_unavailable_and_says_where() -> None:
    port = free_port()
    with RewardClient(f"http://127.0.0.1:{port}", "key", deadline_s=0.5) as client:
        with pytest.raises(
            ServiceUnavailableError, match=rf"nothing answers at http://127\.0\.0\.1:{port}.*ASSAY_URL"
        ):
            client.score_one("text", "abc")
        with pytest.raises(ServiceUnavailableError):
            client.request("GET", "/kinds")


def test_a_connection_that_keeps_breaking_is_unavailable(faulty: FaultyService) -> None:
    faulty.script.faults = ["drop"] * 100
    with (
        RewardClient(faulty.url, "key", deadline_s=0.5) as client,
        pytest.raises(ServiceUnavailableError, match="broke"),
    ):
        client.score_one("text", "abc")


@pytest.mark.parametrize("call", ["score", "request"])
def test_no_answer_in_time_is_a_deadline_error(faulty: FaultyService, call: str) -> None:
    faulty.script.faults = ["stall"] * 3
    with RewardClient(faulty.url, "key", deadline_s=0.5) as client, pytest.raises(DeadlineError, match="deadline_s"):
        client.score_one("text", "abc") if call == "score" else client.request("GET", "/kinds")


def test_a_call_that_waits_behind_others_has_its_own_deadline(faulty: FaultyService) -> None:
    faulty.script.faults = ["stall"]
    faulty.script.stall_s = 3.0

    async def two() -> Any:
        async with AsyncRewardClient(faulty.url, "key", max_in_flight=1) as client:
            slow = asyncio.create_task(client.score_one("text", "slow"))
            await asyncio.sleep(0.1)
            quick = asyncio.create_task(client.score_one("text", "quick", deadline_s=0.2))
            done, _ = await asyncio.wait([slow, quick], return_when=asyncio.FIRST_COMPLETED)
            assert done == {quick}
            return await asyncio.gather(quick, slow, return_exceptions=True)

    quick, slow = asyncio.run(two())
    assert isinstance(quick, DeadlineError)
    assert slow.score == 4
    assert faulty.script.recorded == {"slow": 1}


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (400, "invalid-header", InvalidRequestError),
        (401, "unauthorized", AuthError),
        (403, "forbidden", ForbiddenError),
        (404, "not-found", NotFoundError),
        (404, "unknown-verifier", UnknownVerifierError),
        (405, "method-not-allowed", NotFoundError),
        (409, "conflict", ConflictError),
        (415, "unsupported-encoding", InvalidRequestError),
        (422, "invalid-body", InvalidRequestError),
        (500, "internal-error", ServiceFaultError),
        (502, "items-unscored", ServiceFaultError),
    ],
)
def test_a_refusal_is_raised_at_once_as_what_it_is(
    faulty: FaultyService, client: RewardClient, status: int, name: str, kind: type[RefusedError]
) -> None:
    faulty.script.answer = answering((status, {}, problem(name, status, pointer="/items/3")))
    with pytest.raises(kind, match=f"the {name}") as raised:
        client.score("text", completions=["a", "b"])
    assert type(raised.value) is kind
    assert (raised.value.status, raised.value.problem, raised.value.pointer) == (status, name, "/items/3")
    assert "/items/3" in str(raised.value)
    assert len(faulty.script.seen) == 1


@pytest.mark.parametrize(
    "answer",
    [
        (404, {}, b"<html>not here</html>"),
        (200, {"Content-Type": "text/html"}, b"<html>welcome</html>"),
        (302, {"Location": "https://elsewhere.example"}, b""),
        (400, {}, b'{"type": "about:blank", "title": "t", "detail": "d"}'),
    ],
)
def test_what_is_not_assay_is_told_from_it(
    faulty: FaultyService, client: RewardClient, answer: tuple[int, dict[str, str], bytes]
) -> None:
    faulty.script.answer = answering(answer)
    with pytest.raises(NotAssayError, match="ASSAY_URL"):
        client.score_one("text", "abc")


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"[]",
        b'{"type": "urn:assay:problem:x", "title": null, "detail": null, "pointer": 5}',
    ],
    ids=["deep", "no object", "other types"],
)
def test_a_refusal_of_any_shape_is_a_refusal(faulty: FaultyService, client: RewardClient, content: bytes) -> None:
    faulty.script.answer = answering((422, {}, content))
    with pytest.raises(RefusedError) as raised:
        client.score_one("text", "abc")
    assert raised.value.status == 422


def test_an_answer_without_end_is_not_assays(
    faulty: FaultyService, client: RewardClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MOST", 2000)
    assert client.score_one("text", "abc").score == 3
    with pytest.raises(NotAssayError, match="with more than 2000 bytes"):
        client.score("text", completions=["abc"] * 20)


@pytest.mark.parametrize("ids", [["b", "a"], ["a", "a"], [None, "b"]], ids=["in another order", "twice", "missing"])
def test_the_verdict_of_another_item_is_not_taken(
    faulty: FaultyService, client: RewardClient, ids: list[str | None]
) -> None:
    given = iter(ids)
    faulty.script.verdict = lambda item, before: {"id": next(given)}
    with pytest.raises(NotAssayError, match="answered with the verdict of"):
        client.score("text", [{"id": "a", "completion": "x"}, {"id": "b", "completion": "yy"}])
    given = iter(["other"])
    with pytest.raises(NotAssayError, match="'other' for the item 'a'"):
        client.score_one("text", "x", id="a")


def test_no_number_of_an_answer_is_nan(faulty: FaultyService, client: RewardClient) -> None:
    faulty.script.answer = answering(
        (200, {}, b'{"share": NaN}'), (200, {}, b'{"share": -Infinity}'), (200, {}, b"{}")
    )
    assert client.request("GET", "/runs") == {}


async def test_a_deadline_is_not_rounded_up(faulty: FaultyService, monkeypatch: pytest.MonkeyPatch) -> None:
    faulty.script.faults = ["stall"]
    loop, timers = asyncio.get_running_loop(), []
    call_at = loop.call_at

    def noting(when: float, *arguments: Any, **named: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *arguments, **named)

    monkeypatch.setattr(loop, "call_at", noting)
    async with AsyncRewardClient(faulty.url, "key") as client:
        with pytest.raises(DeadlineError):
            await client.request("GET", "/runs", deadline_s=0.3)
    assert timers
    assert not [when for when in timers if when == int(when)]


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "", "host"])
def test_what_is_no_url_is_refused_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_URL", "also no url")
    with pytest.raises(ValueError, match="http://host:8000"):
        RewardClient(url, "key")


def test_a_client_without_a_key_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSAY_API_KEY", raising=False)
    with pytest.raises(AuthError, match="ASSAY_API_KEY"):
        RewardClient("http://127.0.0.1:1")


@pytest.mark.parametrize("call", ["score_one", "request"])
def test_a_key_that_no_header_can_hold_is_told(faulty: FaultyService, call: str) -> None:
    with RewardClient(faulty.url, "a\nb") as client, pytest.raises(NotAssayError, match="ASSAY_API_KEY"):
        getattr(client, call)("GET", "/runs")
    assert faulty.script.seen == []


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_deadline_is_a_positive_number(faulty: FaultyService, client: RewardClient, seconds: float) -> None:
    with pytest.raises(ValueError, match="deadline_s"):
        RewardClient(faulty.url, "key", deadline_s=seconds)
    with pytest.raises(ValueError, match="deadline_s"):
        client.score_one("text", "abc", deadline_s=seconds)


def test_an_item_that_may_be_scored_later_is_sent_again(faulty: FaultyService, client: RewardClient) -> None:
    def verdict(item: dict[str, Any], before: int) -> dict[str, Any]:
        return unscored("worker_lost", retryable=True) if item["completion"] == "b" and before < 2 else {}

    faulty.script.verdict = verdict
    verdicts = client.score("text", completions=["a", "b", "c"])
    assert [(v.score, v.outcome) for v in verdicts] == [(1, "scored")] * 3
    assert faulty.script.recorded == {"a": 1, "b": 3, "c": 1}
    assert len({request.key for request in faulty.script.seen}) == 3


@pytest.mark.parametrize(("tries", "retryable", "sent"), [(3, False, 1), (1, True, 1), (2, True, 2), (3, True, 3)])
def test_an_unscored_item_is_sent_as_often_as_may_help(
    faulty: FaultyService, tries: int, retryable: bool, sent: int
) -> None:
    faulty.script.verdict = lambda item, before: unscored("worker_lost", retryable=retryable)
    with RewardClient(faulty.url, "key", unscored_tries=tries) as client:
        verdict = client.score_one("text", "abc")
    assert (verdict.score, verdict.outcome) == (None, "unscored")
    assert verdict.error is not None
    assert verdict.error.type == "worker_lost"
    assert faulty.script.recorded == {"abc": sent}


@pytest.mark.parametrize("trouble", ["stall", "drop"])
def test_an_item_sent_again_keeps_its_verdict_where_no_other_comes(faulty: FaultyService, trouble: Any) -> None:
    def verdict(item: dict[str, Any], before: int) -> dict[str, Any]:
        faulty.script.faults = [trouble] * 100
        return unscored("worker_lost", retryable=True) if item["completion"] == "b" else {}

    faulty.script.verdict = verdict
    with RewardClient(faulty.url, "key", deadline_s=2.5) as client:
        verdicts = client.score("text", completions=["a", "b"])
    assert [verdict.outcome for verdict in verdicts] == ["scored", "unscored"]


def test_on_error_fail_raises_with_every_verdict(faulty: FaultyService, client: RewardClient) -> None:
    def verdict(item: dict[str, Any], before: int) -> dict[str, Any]:
        return unscored("bad_item", retryable=False) if item["completion"] == "b" else {}

    faulty.script.verdict = verdict
    with pytest.raises(ItemsUnscoredError, match=r"1 of 3 items are unscored.*bad_item: why") as raised:
        client.score("text", completions=["a", "b", "c"], on_error="fail")
    assert [verdict.score for verdict in raised.value.verdicts] == [1, None, 1]


def test_a_pending_item_is_neither_sent_again_nor_a_failure(faulty: FaultyService, client: RewardClient) -> None:
    faulty.script.verdict = lambda item, before: {"score": None, "outcome": "pending"}
    verdict = client.score("text", completions=["a"], on_error="fail")[0]
    assert (verdict.score, verdict.outcome) == (None, "pending")
    assert faulty.script.recorded == {"a": 1}


def refusing(bad: str, name: str, status: int) -> Any:
    """An answer for a service that refuses whole requests for one item."""

    def answer(seen: Seen) -> tuple[int, dict[str, str], bytes] | None:
        return (status, {}, problem(name, status)) if bad.encode() in seen.body else None

    return answer


@pytest.mark.parametrize(("name", "status"), [("invalid-json", 400), ("body-too-large", 413)])
def test_an_item_that_spoils_its_request_is_told_from_its_neighbours(
    faulty: FaultyService, client: RewardClient, name: str, status: int
) -> None:
    faulty.script.answer = refusing("poison", name, status)
    items = [{"id": str(i), "completion": "poison" if i in (3, 70) else f"fine {i}"} for i in range(100)]
    verdicts = client.score("text", items)
    assert [verdict.id for verdict in verdicts] == [str(i) for i in range(100)]
    spoilt = {i: verdict for i, verdict in enumerate(verdicts) if verdict.score is None}
    assert set(spoilt) == {3, 70}
    assert all(verdict.error is not None and verdict.error.type == "bad_item" for verdict in spoilt.values())
    assert set(faulty.script.recorded.values()) == {1}


def test_a_repeated_call_under_a_key_of_the_callers_is_the_same_call(
    faulty: FaultyService, client: RewardClient
) -> None:
    completions = [str(i) for i in range(1500)]
    first = client.score("text", completions=completions, idempotency_key="run 7, step 3, rank 0")
    second = client.score("text", completions=completions, idempotency_key="run 7, step 3, rank 0")
    other = client.score("text", completions=completions, idempotency_key="run 7, step 4, rank 0")
    assert [verdict.score_id for verdict in first] == [verdict.score_id for verdict in second]
    assert not {verdict.score_id for verdict in first} & {verdict.score_id for verdict in other}
    assert set(faulty.script.recorded.values()) == {2}


def test_a_keyed_call_that_had_unscored_items_is_repeated_as_it_was(
    faulty: FaultyService, client: RewardClient
) -> None:
    faulty.script.verdict = lambda item, before: unscored("worker_lost", retryable=True) if before == 0 else {}
    first = client.score("text", completions=["a", "b"], idempotency_key="mine")
    recorded = faulty.script.recorded.copy()
    assert client.score("text", completions=["a", "b"], idempotency_key="mine") == first
    assert faulty.script.recorded == recorded == {"a": 2, "b": 2}


def test_equal_calls_without_a_key_are_calls_of_their_own(faulty: FaultyService, client: RewardClient) -> None:
    scores = [client.score_one("text", "same").score_id for _ in range(3)]
    assert len(set(scores)) == 3
    assert faulty.script.recorded == {"same": 3}


def test_a_post_by_request_is_recorded_once(faulty: FaultyService, client: RewardClient) -> None:
    faulty.script.faults = ["drop after", "half"]
    answer = client.request("POST", "/score", {"items": [{"completion": "abc"}]})
    assert answer["items"][0]["score"] == 3
    assert faulty.script.recorded == {"abc": 1}


async def test_an_item_whose_call_has_ended_costs_its_neighbours_nothing(faulty: FaultyService) -> None:
    """It is sent anew in one request with a neighbour, whose answer comes when its own call has had to end."""

    def verdict(item: dict[str, Any], before: int) -> dict[str, Any]:
        return unscored("worker_lost", retryable=True) if item["completion"] == "again" and not before else {}

    faulty.script.verdict = verdict
    async with AsyncRewardClient(faulty.url, "key", deadline_s=60, max_in_flight=1) as client:
        again = asyncio.create_task(client.score_one("text", "again"))
        await until(lambda: len(faulty.script.seen) == 1)
        batcher = client._batcher()
        batcher._limit = 0  # until both wait
        await until(lambda: batcher._queues)
        release = threading.Event()

        def answer(seen: Seen) -> None:
            if "again" in [item["completion"] for item in seen.items]:
                release.wait(30)

        faulty.script.answer = answer
        neighbour = asyncio.create_task(client.score_one("text", "neighbour"))
        await asyncio.sleep(0)
        (queue,) = batcher._queues.values()
        assert len(queue) == 2
        expiring = queue[0].call
        batcher._limit = 1
        batcher._wake()
        await until(lambda: len(faulty.script.seen) == 2)
        expiring.expire()
        assert (await again).outcome == "unscored"
        release.set()
        assert (await asyncio.wait_for(neighbour, 30)).score == 9


async def test_a_cancelled_call_costs_its_neighbours_nothing(faulty: FaultyService) -> None:
    async with AsyncRewardClient(faulty.url, "key") as client:
        calls = [asyncio.create_task(client.score_one("text", f"{i}")) for i in range(20)]
        await asyncio.sleep(0)
        calls[3].cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers.pop(3), asyncio.CancelledError)
    assert all(isinstance(answer, Verdict) for answer in answers)


def test_every_exception_pickles_with_what_it_tells(faulty: FaultyService, client: RewardClient) -> None:
    faulty.script.answer = answering((422, {}, problem("invalid-body", 422, pointer="/run")))
    with pytest.raises(InvalidRequestError) as raised:
        client.score_one("text", "abc")
    copy = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 - our own
    assert (str(copy), copy.status, copy.problem, copy.pointer) == (
        str(raised.value), 422, "invalid-body", "/run"
    )  # fmt: skip
    unscored_items = ItemsUnscoredError("why", [])
    assert pickle.loads(pickle.dumps(unscored_items)).verdicts == []  # noqa: S301


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    faulty: FaultyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        with RewardClient(faulty.url, "key") as client:
            assert client.score_one("text", "abc").score == 3


def test_a_proxy_of_the_environment_is_asked_for_other_machines(
    faulty: FaultyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", faulty.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with RewardClient("http://assay.invalid:8000", "key") as client:
        assert client.score_one("text", "abc").score == 3
    assert faulty.script.seen[0].path == "http://assay.invalid:8000/score"

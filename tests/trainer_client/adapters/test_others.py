"""The adapters whose trainers are called with one completion, or with a plain list."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from tests.trainer_client.faulty import FaultyService, answering, problem
from trainer_client import AssayError, ItemsUnscoredError, ServiceUnavailableError
from trainer_client.adapters import agent_lightning, agent_r1, areal, easyr1, ms_swift, skyrl_gym, verifiers
from trainer_client.results import Verdict


def verdict(score: float | None) -> Verdict:
    return Verdict(None, None, None, score, "unscored" if score is None else "scored", {}, {}, None, None, 0.0, False)


def test_ms_swift_gets_the_mean_of_the_prompts_other_completions() -> None:
    scores = [1.0, None, 0.0, None, 5.0, None, None]
    prompts = ["a", "a", "a", "b", "c", "c", "b"]
    assert ms_swift.filled([verdict(s) for s in scores], prompts) == [1.0, 0.5, 0.0, None, 5.0, 5.0, None]


def inputs(*responses: str) -> list[dict[str, Any]]:
    return [{"response": r, "response_length": len(r), "ground_truth": "1"} for r in responses]


def test_easyr1_gets_a_dictionary_for_each_completion(assay: FaultyService) -> None:
    answers = easyr1.compute_score(inputs("abc", "hard"), verifier="math", fallback=-1.0, components=["style"])
    assert answers == [
        {"overall": 3.0, "unscored": 0.0, "style": 0.5},
        {"overall": -1.0, "unscored": 1.0, "style": 0.0},
    ]
    assert easyr1.REWARD_TYPE == "batch"
    with pytest.raises(ItemsUnscoredError, match="fallback"):
        easyr1.compute_score(inputs("abc", "hard"), verifier="math")


def test_areal_gets_a_number_or_an_exception_that_makes_it_reject(assay: FaultyService) -> None:
    function = pickle.loads(pickle.dumps(areal.reward_fn("math")))  # noqa: S301 - our own
    assert function("p", "abc", [1], [2, 3], answer="42", messages=[]) == 3.0
    assert assay.script.seen[0].items[0] == {"completion": "abc", "prompt": "p", "reference": "42", "tokens": 2}
    with pytest.raises(ItemsUnscoredError):
        function("p", "hard", [1], [2, 3], answer="42")


def test_areals_process_pool_may_fork_after_a_call(assay: FaultyService) -> None:
    function = areal.reward_fn("math")
    assert function("p", "ab", [1], [2], answer="42") == 2.0
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        calls = [pool.submit(function, "p", "x" * i, [1], [2], answer="42") for i in range(8)]
        assert [call.result() for call in calls] == [float(i) for i in range(8)]


def test_areals_pool_gets_its_exception_before_its_time_is_up(assay: FaultyService) -> None:
    assay.script.faults = ["drop"] * 100
    assert areal.POOL_DEADLINE_S + 2 < 15
    with pytest.raises(ServiceUnavailableError):
        areal.reward_fn("math", deadline_s=0.4)("p", "abc", [1], [2], answer="42")


async def test_areals_workflow_may_await_the_reward(assay: FaultyService) -> None:
    function = areal.async_reward_fn("math", reference="gold")
    assert await function("p", "abc", [1], [2], gold="42") == 3.0
    with pytest.raises(KeyError, match="gold"):
        await function("p", "abc", [1], [2], answer="42")


def test_skyrl_gym_gets_a_steps_output(assay: FaultyService) -> None:
    output = skyrl_gym.step_output("abc", verifier="math", reference="1")
    assert (output["observations"], output["reward"], output["done"]) == ([], 3.0, True)
    assert output["metadata"]["metrics"] == {"unscored": 0.0, "style": 0.5}
    missing = skyrl_gym.step_output("hard", verifier="math", fallback=-1.0)
    assert (missing["reward"], missing["metadata"]["metrics"]) == (-1.0, {"unscored": 1.0})
    with pytest.raises(ItemsUnscoredError, match="fallback"):
        skyrl_gym.step_output("hard", verifier="math")


class Trace:
    """What `trainer_client.adapters.verifiers` uses of a trace."""

    def __init__(self, reply: str) -> None:
        self.last_reply = reply
        self.info: dict[str, Any] = {}
        self.metrics: dict[str, float] = {}

    def record_metrics(self, values: dict[str, float]) -> None:
        self.metrics.update(values)


async def test_verifiers_gets_the_reward_of_a_trace_and_its_metrics(assay: FaultyService) -> None:
    trace, task = Trace("abc"), SimpleNamespace(prompt_text="p", answer="42")
    assert await verifiers.reward("math", task, trace) == 3.0
    assert trace.metrics == {"style": 0.5}
    assert trace.info["assay"]["outcome"] == "scored"
    item = assay.script.seen[0].items[0]
    assert (item["prompt"], item["reference"]) == ("p", "42")
    with pytest.raises(ItemsUnscoredError):
        await verifiers.reward("math", task, Trace("hard"))
    with pytest.raises(KeyError, match="gold"):
        await verifiers.reward("math", task, trace, reference="gold")


async def test_agent_lightning_gets_an_event(assay: FaultyService, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[tuple[Any, str | None]] = []

    async def take(request: web.Request) -> web.Response:
        events.append((await request.json(), request.headers.get("Authorization")))
        return web.json_response({}, status=500 if request.query else 200)

    application = web.Application()
    application.router.add_post("/events", take)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"{site.name}/events"
    monkeypatch.setenv("AGL_EVENT_URL", url)
    monkeypatch.setenv("AGL_KEY", "agl")
    await agent_lightning.post_reward("math", "abc", reference="1")
    await agent_lightning.post_reward("math", "hard", fallback=-1.0)
    with pytest.raises(ItemsUnscoredError, match="fallback"):
        await agent_lightning.post_reward("math", "hard")
    with pytest.raises(Exception, match="500"):
        await agent_lightning.post_reward("math", "abc", event_url=url + "?fail=1")
    await runner.cleanup()
    data = [event["data"] for event, _ in events]
    assert {event["event_type"] for event, _ in events} == {"reward"}
    assert {authorization for _, authorization in events} == {"Bearer agl"}
    assert (data[0]["value"], data[0]["source"], data[0]["components"]) == (3.0, "assay", {"style": 0.5})
    assert (data[1]["value"], data[1]["source"]) == (-1.0, "fallback")
    assert "verifier_fault" in data[1]["reason"]


async def test_agent_r1_gets_a_steps_reward(assay: FaultyService) -> None:
    reward, info = await agent_r1.step_reward("math", "abc", reference="1")
    assert (reward, info["outcome"], info["unscored"], info["style"]) == (3.0, "scored", 0.0, 0.5)
    assert (await agent_r1.step_reward("math", "hard", fallback=-1.0))[0] == -1.0
    with pytest.raises(ItemsUnscoredError, match="fallback"):
        await agent_r1.step_reward("math", "hard")


async def test_an_answer_that_is_an_internal_error_is_an_outage(assay: FaultyService) -> None:
    assay.script.answer = answering((500, {}, problem("internal-error", 500)))
    assert (await agent_r1.step_reward("math", "abc", fallback=-1.0))[0] == -1.0
    assay.script.answer = answering((404, {}, problem("unknown-verifier", 404)))
    with pytest.raises(AssayError):
        await agent_r1.step_reward("math", "abc", fallback=-1.0)


def test_an_unknown_attribute_of_skyrl_gyms_adapter_is_unknown() -> None:
    with pytest.raises(AttributeError):
        _ = skyrl_gym.AssayEnvironment

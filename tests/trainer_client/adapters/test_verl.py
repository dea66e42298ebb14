"""The reward function for verl."""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.trainer_client.faulty import FaultyService
from trainer_client import ItemsUnscoredError
from trainer_client.adapters import verl
from trainer_client.adapters.verl import compute_score, compute_score_async


async def call(function: Any, solution: str, **options: Any) -> dict[str, Any]:
    """As verl's reward loop does."""
    arguments = {"data_source": "openai/gsm8k", "solution_str": solution, "ground_truth": "1", "extra_info": {}}
    answer = function(**{**arguments, "verifier": "math", **options})
    result: dict[str, Any] = await answer if inspect.isawaitable(answer) else answer
    return result


@pytest.mark.parametrize("function", [compute_score, compute_score_async])
async def test_every_sample_has_the_same_keys(assay: FaultyService, function: Any) -> None:
    options = {"fallback": -0.5, "components": ["style", "absent"]}
    scored = await call(function, "abc", **options)
    missing = await call(function, "hard", **options)
    assert list(scored) == list(missing)
    assert {key: scored[key] for key in ("score", "acc", "unscored", "style", "absent", "outcome")} == {
        "score": 3.0, "acc": 3.0, "unscored": 0.0, "style": 0.5, "absent": 0.0, "outcome": "scored"
    }  # fmt: skip
    assert (missing["score"], missing["acc"], missing["unscored"]) == (-0.5, -0.5, 1.0)
    assert (missing["outcome"], missing["style"]) == ("unscored", 0.0)


@pytest.mark.parametrize("function", [compute_score, compute_score_async])
async def test_without_a_fallback_an_unscored_sample_raises(assay: FaultyService, function: Any) -> None:
    with pytest.raises(ItemsUnscoredError, match="fallback"):
        await call(function, "hard")


@pytest.mark.parametrize("function", [compute_score, compute_score_async])
async def test_an_outage_is_an_unscored_sample(assay: FaultyService, function: Any) -> None:
    assay.script.faults = ["drop"] * 100
    result = await call(function, "abc", fallback=0.0, deadline_s=0.4)
    assert (result["score"], result["unscored"]) == (0.0, 1.0)


async def test_the_data_source_chooses_the_verifier(assay: FaultyService) -> None:
    verifiers = {"openai/gsm8k": "math", "codecontests": "code@2"}
    await call(compute_score_async, "a", verifier=verifiers)
    await call(compute_score_async, "b", verifier=verifiers, data_source="codecontests")
    assert b'"verifier":"math"' in assay.script.seen[0].body
    assert b'"verifier":"code@2"' in assay.script.seen[1].body
    with pytest.raises(KeyError, match=r"'elsewhere'.*codecontests"):
        await call(compute_score_async, "c", verifier=verifiers, data_source="elsewhere")


async def test_what_numpy_holds_is_converted_and_what_json_has_not_is_left_behind(assay: FaultyService) -> None:
    extra = {
        "index": np.int64(3),
        "question": "What is 6 times 7?",
        "ids": np.arange(2),
        "picture": object(),
        "loss": float("nan"),
        4: "a key that is a number",
    }
    result = await call(compute_score_async, "abc", ground_truth=np.array(["42"], dtype=object), extra_info=extra)
    assert result["score"] == 3.0
    item = assay.script.seen[0].items[0]
    assert item["reference"] == ["42"]
    assert item["prompt"] == "What is 6 times 7?"
    assert item["metadata"] == {
        "index": 3, "question": "What is 6 times 7?", "ids": [0, 1], "4": "a key that is a number"
    }  # fmt: skip


async def test_samples_scored_at_the_same_time_share_requests(assay: FaultyService) -> None:
    results = await asyncio.gather(*(call(compute_score_async, "x" * (i % 9)) for i in range(600)))
    assert [result["score"] for result in results] == [float(i % 9) for i in range(600)]
    assert len(assay.script.seen) == 2


def test_samples_scored_in_threads_are_each_scored_once(assay: FaultyService) -> None:
    def one(i: int) -> Any:
        return compute_score("d", f"{i:03}", "1", None, verifier="math")["score"]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, range(100))) == [3.0] * 100
    assert set(assay.script.recorded.values()) == {1}


def test_agent_r1_has_the_same_functions() -> None:
    from trainer_client.adapters import agent_r1

    assert agent_r1.compute_score is verl.compute_score
    assert agent_r1.compute_score_async is verl.compute_score_async

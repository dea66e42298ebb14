"""verifiers' own task scoring, with the adapter in a reward, in a process of its own: ours has the same name."""

from __future__ import annotations

import json
from typing import Any

from tests.app.api.support import Project
from tests.trainers.environment import OUTAGE_S, PROMPT, RIGHT, WRONG
from tests.trainers.foreign import run
from tests.trainers.gate import Gate

SCORED = """
import asyncio, json, sys
import verifiers.v1 as vf
from verifiers.v1.errors import RolloutError
from verifiers.v1.trace import AgentInfo, TraceTask
from trainer_client.adapters.verifiers import reward

prompt, deadline_s, rollouts = json.loads(sys.argv[1])


class Sum(vf.TaskData):
    answer: str


class SumTask(vf.Task[Sum]):
    @vf.reward
    async def correct(self, trace) -> float:
        return await reward("math", self.data, trace, deadline_s=deadline_s)


async def main():
    for completion, answer in rollouts:
        data = Sum(idx=0, prompt=prompt, answer=answer)
        trace = vf.Trace(
            task=TraceTask(type="SumTask", data=data), agent=AgentInfo(config=vf.AgentConfig()), root_reply=completion
        )
        try:
            await SumTask(data).score(trace)
        except RolloutError as error:
            print("RESULT", json.dumps([type(error).__name__, trace.rewards["correct"]]))
        else:
            print("RESULT", json.dumps([trace.reward, trace.info["assay"]["outcome"]]))


asyncio.run(main())
"""


def scored(*rollouts: tuple[str, str], deadline_s: float = 60) -> list[Any]:
    """What a task makes of completions and their answers."""
    return run("verifiers", SCORED, json.dumps([PROMPT, deadline_s, rollouts])).results


def test_rollouts_get_rewards_or_errors_and_an_outage_of_twenty_seconds_costs_nothing(
    assay: Project, gate: Gate
) -> None:
    gate.close_at_next_for_s = OUTAGE_S  # as it asks first
    found = scored((RIGHT, "42"), (WRONG, "42"), (RIGHT, ""))
    assert gate.refused_for_s == OUTAGE_S
    assert found == [[1.0, "correct"], [0.0, "incorrect"], ["TaskError", None]]
    assert [row["outcome"] for row in assay.scores()] == ["unscored", "incorrect", "correct"]


def test_an_outage_without_an_end_is_an_error_and_no_reward(assay: Project, gate: Gate) -> None:
    gate.close()
    assert scored((RIGHT, "42"), deadline_s=2) == [["TaskError", None]]

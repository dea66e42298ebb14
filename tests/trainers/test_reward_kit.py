"""reward-kit's own client and command against a live service, in a process of its own with the openai it needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.app.api.support import Project
from tests.trainers.environment import BAD_REFERENCE, PROMPT, RIGHT, WRONG
from tests.trainers.foreign import run
from tests.trainers.gate import Gate

REMOTE = """
import json, sys
from reward_kit import RewardFunction

for endpoint, messages, ground_truth in json.loads(sys.argv[1]):
    reward = RewardFunction(mode="remote", endpoint=endpoint)
    try:
        result = reward(messages=messages, ground_truth=ground_truth)
        print("RESULT", json.dumps([result.score, sorted(result.metrics)]))
    except Exception as error:
        print("RESULT", json.dumps(type(error).__name__))
"""
PREVIEW = """
import sys
from reward_kit.cli import main

sys.argv = ["reward-kit", *sys.argv[1:]]
sys.exit(main())
"""


def messages(completion: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": completion}]


def test_a_remote_reward_function(gate: Gate, project: Project) -> None:
    """A service that is lost is an error and no zero. It does not try again: whoever calls it has to."""
    here = f"{gate.url}/compat/reward-kit/math/evaluate"
    lost = Gate(gate.target)
    lost.close()
    asked: list[tuple[str, str, Any]] = [
        (here, RIGHT, "42"),
        (here, WRONG, "42"),
        (here, RIGHT, BAD_REFERENCE),
        (f"{here}?fallback=0.25", RIGHT, BAD_REFERENCE),
        (here.replace(gate.url, lost.url), RIGHT, "42"),
    ]
    sent = json.dumps([[endpoint, messages(text), truth] for endpoint, text, truth in asked])
    told = run("reward-kit", REMOTE, sent, FIREWORKS_API_KEY=project.new_key("score"))
    assert told.results == [[1.0, []], [0.0, []], "HTTPError", [0.25, []], "ConnectionError"]


def test_the_preview_command(gate: Gate, project: Project, tmp_path: Path) -> None:
    rows = [{"messages": messages(text), "ground_truth": "42"} for text in (RIGHT, WRONG)]
    samples = tmp_path / "samples.jsonl"
    samples.write_text("\n".join(json.dumps(row) for row in rows))
    key = project.new_key("score")
    # it sends no header, and appends /evaluate to what it is given: the # keeps that from being sent
    url = f"{gate.url}/compat/reward-kit/math/evaluate?key={key}#"
    told = run(
        "reward-kit", PREVIEW, "preview", "--remote-url", url, "--samples", str(samples),
        FIREWORKS_API_KEY="none", FIREWORKS_ACCOUNT_ID="none",
    )  # fmt: skip
    assert told.output.count("Is Valid: True") == 2, told.output
    assert "Score: 1.0" in told.output
    assert "Score: 0.0" in told.output

"""OpenRLHF: its reward function in a file, which outlasts an outage that its HTTP client does not.

The address `/compat/openrlhf/...` needs nothing on the training machine, but OpenRLHF gives a reward up five seconds
after a connection was first refused, and training ends. This asks the same address for up to `deadline_s`. A file:

    from trainer_client.adapters.openrlhf import reward_function
    reward_func = reward_function("math", fallback=0.0)

and on the command line `--reward.remote_url reward.py`.

OpenRLHF has no way to leave a completion out: an unscored one counts `fallback`, which has to be chosen, and is told
apart by the metric `unscored`. Without it, it raises, which ends the training. Checked against OpenRLHF 0.11.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from trainer_client.adapters.scoring import OUTAGES, logger, reward_client

DEADLINE_S = 120.0

RewardFunction = Callable[[Sequence[str], Sequence[str], Sequence[Any]], dict[str, Any]]


def reward_function(
    verifier: str,
    *,
    fallback: float | None = None,
    components: Sequence[str] = (),
    run: str | None = None,
    deadline_s: float = DEADLINE_S,
) -> RewardFunction:
    """What OpenRLHF calls with texts, their prompts and labels; it answers `rewards`, `scores` and `extra_logs`.

    `components` names those that `extra_logs` has: OpenRLHF needs the same names for every sample.
    """
    told = {"fallback": fallback, "run": run, "deadline_s": 0.8 * deadline_s}
    query = [(name, str(value)) for name, value in told.items() if value is not None]
    query += [("component", name) for name in components]
    path = f"/compat/openrlhf/{quote(verifier, safe='@')}?{urlencode(query)}"

    def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any]) -> dict[str, Any]:
        body = {"query": list(queries), "prompts": list(prompts), "labels": list(labels)}
        try:
            answer: dict[str, Any] = reward_client().request("POST", path, body, deadline_s=deadline_s)
        except OUTAGES as error:
            if fallback is None:
                raise
            logger.warning("%d completions have no score: %s", len(queries), error)
            return _instead(fallback, components, len(queries))
        return answer

    return reward_func


def _instead(fallback: float, components: Sequence[str], count: int) -> dict[str, Any]:
    """The answer of a service that could score nothing. No prompt was seen not to match."""
    logs = {**dict.fromkeys(components, 0.0), "unscored": 1.0, "prompt_matched": 1.0}
    return {
        "rewards": [fallback] * count,
        "scores": [min(1.0, max(0.0, fallback))] * count,
        "extra_logs": {name: [value] * count for name, value in logs.items()},
    }

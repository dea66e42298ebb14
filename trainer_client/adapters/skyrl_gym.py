"""SkyRL-gym: an environment of one turn, and the reward for an environment of one's own.

The lines to change, before training starts:

    skyrl_gym.register(id="assay", entry_point="trainer_client.adapters.skyrl_gym:AssayEnv")

and `env_class: assay` in the dataset's rows (or `environment.env_class`), whose `reward_spec` has `ground_truth`, and
`verifier` unless the environment's configuration has it.

SkyRL-gym has no way to leave a trajectory out: an unscored one counts `fallback`, which has to be chosen in the
environment's configuration, and is told apart by the metric `unscored`. Without it, it raises, which ends the
training. Checked against skyrl-gym 0.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer_client.adapters.scoring import flags, number, reward_client, scored
from trainer_client.calls import Text, Verifier

DEADLINE_S = 120.0


def step_output(
    action: str,
    *,
    verifier: Verifier,
    reference: Any = None,
    prompt: Text | None = None,
    fallback: float | None = None,
    deadline_s: float = DEADLINE_S,
) -> dict[str, Any]:
    """What `step` returns at the end of a trajectory: the reward, and its verdict as `metadata`."""
    item = {"completion": action, "reference": reference, "prompt": prompt}
    verdict = scored(lambda: reward_client().score(verifier, [item], deadline_s=deadline_s), 1)[0]
    metadata = {"score_id": verdict.score_id, "outcome": verdict.outcome, "metrics": flags(verdict)}
    return {"observations": [], "reward": number(verdict, fallback), "done": True, "metadata": metadata}


def __getattr__(name: str) -> Any:
    """`AssayEnv`, made when SkyRL-gym asks for it: it derives from a class of SkyRL-gym's."""
    if name != "AssayEnv":
        raise AttributeError(name)
    env = globals()[name] = _env_class()
    return env


def _env_class() -> type:
    from skyrl_gym.envs.base_text_env import BaseTextEnv

    class AssayEnv(BaseTextEnv):  # type: ignore[misc]
        """One prompt, one completion, scored by Assay."""

        def __init__(self, env_config: Any = None, extras: Mapping[str, Any] | None = None) -> None:
            super().__init__()
            self._settings = {**dict(env_config or {}), **dict((extras or {}).get("reward_spec") or {})}
            if "verifier" not in self._settings:
                raise ValueError("name a verifier: in reward_spec of the row, or in the environment's configuration")
            self._prompt: Any = None
            self._metrics: dict[str, float] = {}

        def init(self, prompt: Any) -> tuple[Any, dict[str, Any]]:
            self._prompt = prompt
            return prompt, {}

        def step(self, action: str) -> dict[str, Any]:
            output = step_output(
                action,
                verifier=self._settings["verifier"],
                reference=self._settings.get("ground_truth"),
                prompt=self._prompt,
                fallback=self._settings.get("fallback"),
            )
            self._metrics = output["metadata"]["metrics"]
            return output

        def get_metrics(self) -> dict[str, float]:
            return self._metrics

    return AssayEnv

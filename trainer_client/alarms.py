"""Alarms: signs that a run goes wrong, watched for at every step.

Pure: a monitor is told the values of a step and answers with the alarms that they raise. What an alarm does to the
run (nothing, a pause, or back to a checkpoint) is the loop's work. A condition that lasts raises one alarm, not one a
step; it raises another only after it has ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Action = Literal["log", "pause", "rollback"]

PROXY = "reward/mean"
HELD_OUT = "heldout/score"
DEGENERATE = "groups/degenerate_share"
DUPLICATES = "rollout/duplicate_share"
LENGTH = "rollout/tokens_mean"
KL = "kl"
HELD_OUT_KL = "heldout/kl"
UNSCORED = "reward/unscored_share"
COMPLETIONS = "rollout/completions"
START_COMPLETIONS = 128
"""As many make the training reward's start: the mean of the 64 of one small rollout is off by 0.1 at times."""


class Rule(BaseModel):
    """What every alarm has: a bound, how long it has to be passed, and what happens then."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    threshold: float | None = Field(gt=0, description="The value from which on it counts; null: never.")
    patience: int = Field(3, ge=1, description="Steps in a row; where only evaluations measure it, evaluations.")
    action: Action = Field(
        "log", description="log: record it and go on. pause: checkpoint and stop. rollback: to a good checkpoint."
    )


class RewardHacking(Rule):
    """The training reward gains while the held-out score loses, or gains nothing."""

    threshold: float | None = Field(0.10, gt=0, description="Gain of the training reward over its start; null: off.")
    drop: float = Field(0.10, gt=0, description="Loss of the held-out score since its best.")
    flat: float = Field(0.02, ge=0, description="Gain of the held-out score over its start that is none.")
    patience: int = Field(2, ge=1, description="Evaluations in a row.")


class Degenerate(Rule):
    """The share of groups whose completions all score the same."""

    threshold: float | None = Field(0.9, gt=0, le=1, description="The share; null: off.")


class Duplicates(Rule):
    """The share of completions that also answer another prompt, word for word: its gain since the first step."""

    threshold: float | None = Field(0.5, gt=0, le=1, description="The gain; null: off.")


class LengthDrift(Rule):
    """The mean number of tokens of a completion: the ratio, either way, between it and the first step's."""

    threshold: float | None = Field(2.0, gt=1, description="The ratio; null: off.")


class Divergence(Rule):
    """The divergence from the reference model in nats a token: the step's, or where it has none the evaluation's."""

    threshold: float | None = Field(1.0, gt=0, description="The divergence; null: off.")


class Unscored(Rule):
    """The share of completions that the service could not score."""

    threshold: float | None = Field(0.1, gt=0, le=1, description="The share; null: off.")
    patience: int = Field(2, ge=1, description="Steps in a row.")


class AlarmSettings(BaseModel):
    """The rule of each alarm."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reward_hacking: RewardHacking = RewardHacking()
    degenerate: Degenerate = Degenerate()
    duplicates: Duplicates = Duplicates()
    length_drift: LengthDrift = LengthDrift()
    kl: Divergence = Divergence()
    unscored: Unscored = Unscored()


@dataclass(frozen=True, slots=True)
class Alarm:
    """What was seen at a step. `good_step` is the last step at which all was well: roll back to it or before."""

    name: str
    step: int
    message: str
    action: Action
    values: dict[str, float]
    good_step: int


class Monitor:
    """Watches the values of a run. Its state belongs in the checkpoint: a resumed run raises the same alarms.

    It reads the metrics that are named at the top of this file; one that a step does not have is not judged there.
    NaN is worse than any threshold.
    """

    def __init__(self, settings: AlarmSettings | None = None) -> None:
        self._settings = settings or AlarmSettings()
        self._first: dict[str, float] = {}
        self._start: list[float] = []
        self._drawn = 0.0
        self._best_held_out: float | None = None
        self._rewards: list[float] = []
        self._streaks: dict[str, int] = {}
        self._good: dict[str, int] = {}

    def update(self, step: int, values: Mapping[str, float | None]) -> list[Alarm]:
        """The alarms that the values of a step raise; step 0 is the evaluation before the first update."""
        seen = {name: value for name, value in values.items() if value is not None}
        for name in (DUPLICATES, LENGTH, HELD_OUT):
            if name in seen:
                self._first.setdefault(name, seen[name])
        raised = [self._reward_hacking(step, seen)]
        for name, metric in _metrics(seen).items():
            raised.append(self._level(name, step, metric, seen[metric]))
        return [alarm for alarm in raised if alarm is not None]

    def _reward_hacking(self, step: int, seen: Mapping[str, float]) -> Alarm | None:
        """Compares the mean training reward since the last evaluation with what this evaluation says."""
        rule = self._settings.reward_hacking
        if PROXY in seen:
            self._rewards.append(seen[PROXY])
            if self._drawn < START_COMPLETIONS:
                self._start.append(seen[PROXY])
                self._drawn += seen.get(COMPLETIONS, START_COMPLETIONS)
        if HELD_OUT not in seen:
            return None
        held_out = seen[HELD_OUT]
        best = self._best_held_out = max(held_out, held_out if self._best_held_out is None else self._best_held_out)
        rewards, self._rewards = self._rewards, []
        if rule.threshold is None or not rewards:  # of an evaluation without a new reward nothing is known
            if not self._streaks.get("reward_hacking"):
                self._good["reward_hacking"] = step
            return None
        proxy, start = fmean(rewards), fmean(self._start)
        fell = _at_least(best - held_out, rule.drop)
        flat = _at_least(rule.flat, held_out - self._first[HELD_OUT])
        return self._count(
            "reward_hacking",
            step,
            rule,
            _at_least(proxy - start, rule.threshold) and (fell or flat),
            f"the training reward rose from {start:.3g} to {proxy:.3g} while the held-out score "
            + (f"fell from its best {best:.3g} to {held_out:.3g}" if fell else f"stayed at {held_out:.3g}")
            + ": read the samples of high reward, and mend what the verifier lets pass",
            {PROXY: proxy, f"{PROXY}_at_first": start, HELD_OUT: held_out, f"{HELD_OUT}_at_best": best},
        )

    def _level(self, name: str, step: int, metric: str, value: float) -> Alarm | None:
        """What is wrong from a threshold on."""
        rule: Rule = getattr(self._settings, name)
        if rule.threshold is None:
            return None
        values, message, measure = {metric: value}, f"{metric} is {value:.3g}", value
        if metric in self._first:
            first = values[f"{metric}_at_first"] = self._first[metric]
            message += f" and was {first:.3g} at first"
            measure = _ratio(value, first) if name == "length_drift" else value - first
        return self._count(
            name, step, rule, _at_least(measure, rule.threshold), f"{message}: {_ADVICE[name]}", values
        )

    def _count(
        self, name: str, step: int, rule: Rule, bad: bool, message: str, values: dict[str, float]
    ) -> Alarm | None:
        """An alarm where it has now been bad often enough."""
        if not bad:
            self._streaks[name] = 0
            self._good[name] = step
            return None
        self._streaks[name] = self._streaks.get(name, 0) + 1
        if self._streaks[name] != rule.patience:
            return None
        return Alarm(name, step, message, rule.action, values, self._good.get(name, 0))

    def state_dict(self) -> dict[str, Any]:
        """All that it remembers."""
        return {
            "first": dict(self._first),
            "start": list(self._start),
            "drawn": self._drawn,
            "best_held_out": self._best_held_out,
            "rewards": list(self._rewards),
            "streaks": dict(self._streaks),
            "good": dict(self._good),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken."""
        self._first = dict(state["first"])
        self._start, self._drawn = list(state["start"]), state["drawn"]
        self._best_held_out = state["best_held_out"]
        self._rewards = list(state["rewards"])
        self._streaks = dict(state["streaks"])
        self._good = dict(state["good"])


def duplicate_share(groups: Sequence[Sequence[Hashable]]) -> float:
    """The share of completions that also answer another prompt; `groups` holds the completions of each prompt.

    Equal completions of one prompt do not count: a policy that has learnt a task gives the same answer each time.
    """
    prompts = Counter(completion for group in groups for completion in set(group))
    count = sum(map(len, groups))
    return sum(prompts[completion] > 1 for group in groups for completion in group) / count if count else 0.0


def _metrics(seen: Mapping[str, float]) -> dict[str, str]:
    """Which metric each of the simple alarms looks at, of those that are there."""
    candidates = {
        "degenerate": (DEGENERATE,),
        "duplicates": (DUPLICATES,),
        "length_drift": (LENGTH,),
        "kl": (KL, HELD_OUT_KL),
        "unscored": (UNSCORED,),
    }
    found = {name: [metric for metric in metrics if metric in seen] for name, metrics in candidates.items()}
    return {name: metrics[0] for name, metrics in found.items() if metrics}


def _ratio(value: float, first: float) -> float:
    """How many times the larger is the smaller, both of at least one token."""
    value, first = max(value, 1.0), max(first, 1.0)
    return max(value / first, first / value)


def _at_least(value: float, threshold: float) -> bool:
    """Up to rounding (0.4 - 0.3 is at least 0.1); NaN is."""
    return not value < threshold - 1e-9


_ADVICE = {
    "degenerate": "groups that score all the same teach nothing; take other prompts, or set degenerate: resample",
    "duplicates": "different prompts get the same answer; lower the learning rate, or raise beta",
    "length_drift": "look at the samples whether the reward pays for length",
    "kl": "the policy is far from its reference; lower the learning rate, or raise beta",
    "unscored": "rewards are missing; the samples without a reward have a score_id, and its verdict says why",
}

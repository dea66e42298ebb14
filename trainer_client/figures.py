"""What is told of a rollout: its metrics, and its completions as rows for the record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from trainer_client.alarms import duplicate_share
from trainer_client.batch import Batch
from trainer_client.config import RewardSection
from trainer_client.groups import Counts
from trainer_client.results import Verdict
from trainer_client.rewards import Scored
from trainer_client.rollout import Completion


def rollout_metrics(scored: Sequence[Scored], counts: Counts, rewards: Sequence[RewardSection]) -> dict[str, float]:
    """Metrics of all that was drawn for a rollout, what is not trained on included.

    Rewards are task scores, before penalties of length and KL, and before a verifier is normalised, which makes the
    mean of each group 0. Means are over the completions that have a score.
    """
    completions = [completion for each in scored for completion in each.group.completions]
    scores = [score for each in scored for score in each.scores]
    values = {
        "reward/unscored_share": _share([score is None for score in scores]),
        "groups/degenerate_share": counts.degenerate_share,
        "groups/dropped": float(counts.dropped),
        "groups/refills": float(counts.refills),
        "rollout/tokens_mean": math.fsum(len(each.token_ids) for each in completions) / len(completions),
        "rollout/truncated_share": _share([each.finish_reason == "length" for each in completions]),
        "rollout/duplicate_share": duplicate_share(
            [[completion.text for completion in each.group.completions] for each in scored]
        ),
        "rollout/completions": float(len(completions)),
    }
    _add_mean(values, "reward/mean", [_weighted(verdicts, rewards) for each in scored for verdicts in each.verdicts])
    if len(rewards) > 1:
        for part, section in enumerate(rewards):
            own = [verdicts[part].score for each in scored for verdicts in each.verdicts]
            _add_mean(values, f"reward/{part}_{_name(section)}", own)
    return values


def sample_rows(scored: Sequence[Scored], taken: Sequence[Scored], batch: Batch | None) -> list[dict[str, Any]]:
    """One row for each completion, in the order of prompts; `advantage` is null where it is not trained on.

    Prompt and completion are in the record of its verdict already, and are sent where there is none.
    """
    advantages = {} if batch is None else _advantages(taken, batch)
    return [
        {
            **_texts(each, completion),
            "score_id": each.verdicts[completion.sample][0].score_id,
            "reward": each.scores[completion.sample],
            "advantage": advantages.get((each.group.position, completion.sample)),
            "tokens": len(completion.token_ids),
            "finish_reason": completion.finish_reason,
            "metadata": {"position": each.group.position, "row": each.group.row.number, "sample": completion.sample},
        }
        for each in scored
        for completion in each.group.completions
    ]


def _advantages(taken: Sequence[Scored], batch: Batch) -> dict[tuple[int, int], float]:
    """By position and sample, the mean over its tokens in the loss; rows out of the loss are absent."""
    places = [(each.group.position, completion.sample) for each in taken for completion in each.group.completions]
    by_token = batch.advantages if batch.advantages.dim() == 2 else batch.advantages.unsqueeze(1)
    tokens = batch.mask.sum(dim=1)
    means = (by_token * batch.mask).sum(dim=1) / tokens.clamp(min=1)
    return {
        place: mean for place, mean, count in zip(places, means.tolist(), tokens.tolist(), strict=True) if count > 0
    }


def _weighted(verdicts: Sequence[Verdict], rewards: Sequence[RewardSection]) -> float | None:
    """The sum of a completion's scores, each times its weight; None where one of them is missing."""
    parts = [(section.weight, verdict.score) for section, verdict in zip(rewards, verdicts, strict=True)]
    if any(weight and score is None for weight, score in parts):
        return None
    return math.fsum(weight * score for weight, score in parts if score is not None)


def _texts(scored: Scored, completion: Completion) -> dict[str, Any]:
    if scored.verdicts[completion.sample][0].score_id is not None:
        return {}
    return {"prompt": scored.group.row.prompt, "completion": completion.text}


def _name(section: RewardSection) -> str:
    if section.verifier is None:
        return "own"
    return section.verifier if isinstance(section.verifier, str) else section.verifier["kind"]


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags)


def _add_mean(values: dict[str, float], name: str, scores: Sequence[float | None]) -> None:
    known = [score for score in scores if score is not None]
    if known:
        values[name] = math.fsum(known) / len(known)

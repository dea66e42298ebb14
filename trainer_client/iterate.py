"""Iterative DPO, IPO and KTO: answers of the current policy are scored, and become what it learns from; then again.

    iterate(load("iterate.yaml"), client=RewardClient())

Pairs, and a reference that is the policy at the iteration's start, are those of iterative DPO (Xu et al. 2023,
arXiv 2312.16682; Pang et al. 2024, arXiv 2404.19733). Of each prompt's completions
- DPO and IPO take the best against the worst;
- KTO takes those above the mean of the prompt's scores as good ones, and those below it as bad ones;
- with `preference.compare` the pair of POST /compare is taken, for KTO as one good and one bad answer.
A prompt whose completions all tie is left out, as are completions without a score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from trainer_client.assembly import memory_of
from trainer_client.config import Config, Verifier
from trainer_client.course import Outcome, Report, Values
from trainer_client.data import Order
from trainer_client.errors import AssayError
from trainer_client.figures import rollout_metrics, sample_rows
from trainer_client.groups import Counts, Fate, fate
from trainer_client.preference import Preference
from trainer_client.preference_data import Example, Labelled, with_others
from trainer_client.results import Comparison
from trainer_client.rewards import Rewards, Scored, check_scored, check_verifiers
from trainer_client.rollout import Completion, Group
from trainer_client.rollout_file import RolloutFile
from trainer_client.training_errors import RewardError

Chosen = tuple[Completion, bool]
"""A completion that is learnt from, and whether it is a good one."""


def iterate(config: Config, *, client: Any, report: Report = lambda step, values: None) -> Outcome:
    """Sample, score, train, and that `preference.iterations` times. Raises `TrainingError`; checkpoints stay."""
    return Preference(config, "iterate", client=client, report=report, collect=collect).run()


def collect(run: Preference, iteration: int) -> tuple[list[Example], Values]:
    """The examples of an iteration, numbered from 1, and its metrics. Raises `RewardError` without scores."""
    section = run.section
    order = Order(len(run.parts.training.rows), run.config.seed)
    groups = []
    for position in range((iteration - 1) * section.prompts, iteration * section.prompts):
        row = order[position]
        groups.append(Group(position, run.parts.training.rows[row], run.parts.training.ids[row]))
    if section.compare is None:
        chosen, values = _by_scores(run, groups)
    else:
        chosen, values = _by_comparing(run, groups)
    kto = section.loss == "kto"
    return (_labelled(groups, chosen) if kto else _pairs(groups, chosen)), values


def _by_scores(run: Preference, groups: Sequence[Group]) -> tuple[list[list[Chosen]], Values]:
    """Completions that are scored while others are drawn, and what is taken of each group."""
    section = run.section
    check_verifiers(
        run.client, [reward.verifier for reward in section.rewards], {row.verifier for row in run.parts.training.rows}
    )
    rewards = Rewards(run.client, section.rewards, run.config.run)
    with closing(rewards), run.rollout_file() as kept:
        _draw(run, groups, rewards, kept)
        scored = rewards.wait(groups)
        check_scored(scored, section.max_unscored, "preference.max_unscored", kept)
    fates = [fate(each.scores) for each in scored]
    counts = Counts(
        sampled=len(scored), usable=fates.count(Fate.USABLE), degenerate=fates.count(Fate.DEGENERATE),
        dropped=fates.count(Fate.DROPPED),
    )  # fmt: skip
    if run.tracker is not None and run.config.tracking.samples:
        run.tracker.samples(run.step, sample_rows(scored, [], None))
    take = above_and_below if section.loss == "kto" else best_and_worst
    chosen: list[list[Chosen]] = []
    for each, found in zip(scored, fates, strict=True):
        chosen.append(_chosen(each, take(each.scores)) if found == Fate.USABLE else [])
    return chosen, rollout_metrics(scored, counts, section.rewards)


def best_and_worst(scores: Sequence[float | None]) -> list[tuple[int, bool]]:
    """The first of the best and the first of the worst, as places and whether they are good; none where all tie.

    Scores that differ by rounding alone, as weighted sums do, tie.
    """
    known = [(score, -place) for place, score in enumerate(scores) if score is not None]
    worst = min((score for score, _ in known), default=0.0)
    if all(_same(score, worst) for score, _ in known):
        return []
    return [(-max(known)[1], True), (next(-place for score, place in known if score == worst), False)]


def above_and_below(scores: Sequence[float | None]) -> list[tuple[int, bool]]:
    """The places above the mean as good ones and those below it as bad ones; none where all tie.

    A score that differs from the mean by rounding alone is neither.
    """
    known = [(place, score) for place, score in enumerate(scores) if score is not None]
    mean = math.fsum(score for _, score in known) / max(len(known), 1)
    return [(place, score > mean) for place, score in known if not _same(score, mean)]


def _same(score: float, other: float) -> bool:
    return math.isclose(score, other, rel_tol=1e-9, abs_tol=1e-12)


def _by_comparing(run: Preference, groups: Sequence[Group]) -> tuple[list[list[Chosen]], Values]:
    """The pairs of POST /compare, which needs all completions of a prompt at once."""
    verifier = run.section.compare
    check_verifiers(run.client, [verifier], ())
    with run.rollout_file() as kept:
        _draw(run, groups, None, kept)
        found = _compared(run, verifier, groups, kept)
    scores = [score for each in found for score in each.scores]
    missing = sum(score is None for score in scores)
    chosen = [
        [] if (pair := each.pair) is None
        else [(group.completions[pair.chosen_index], True), (group.completions[pair.rejected_index], False)]
        for group, each in zip(groups, found, strict=True)
    ]  # fmt: skip
    if run.tracker is not None and run.config.tracking.samples:
        run.tracker.samples(run.step, _compared_rows(groups, found))
    tied = sum(each.pair is None for each in found)
    completions = [completion for group in groups for completion in group.completions]
    return chosen, {
        "reward/unscored_share": missing / len(scores),
        "groups/degenerate_share": tied / len(groups),
        "rollout/tokens_mean": math.fsum(len(each.token_ids) for each in completions) / len(completions),
        "rollout/truncated_share": sum(each.finish_reason == "length" for each in completions) / len(completions),
        "rollout/completions": float(len(completions)),
    }


def _compared(
    run: Preference, verifier: Verifier | None, groups: Sequence[Group], kept: RolloutFile
) -> list[Comparison]:
    """How the completions of each group compare. Raises `RewardError`, also where too many could not be compared."""
    items = [
        {
            "id": str(group.position), "prompt": group.row.prompt, "reference": group.row.reference,
            "completions": [each.text for each in group.completions], "metadata": group.row.metadata,
        }
        for group in groups
    ]  # fmt: skip
    key = f"compare-{run.config.run}" + (f"-{kept.failures}" if kept.failures else "")
    try:
        found: list[Comparison] = run.client.compare(
            verifier, items, run=run.config.run, step=run.step, idempotency_key=key
        )
    except AssayError as error:
        raise RewardError(f"comparisons cannot be had: {error}") from error
    scores = [score for each in found for score in each.scores]
    missing = sum(score is None for score in scores)
    if missing > run.section.max_unscored * len(scores):
        kept.ask_again()
        why = next((each.error for each in found if each.error is not None), None)
        raise RewardError(
            f"{missing} of {len(scores)} completions could not be compared"
            + ("" if why is None else f", the first because {why.type}: {why.message}")
            + "; mend that, or raise preference.max_unscored"
        )
    return found


def _draw(run: Preference, groups: Sequence[Group], rewards: Rewards | None, kept: RolloutFile) -> None:
    """Completions of each group, in the order of their samples; sent to be scored as they end.

    What an attempt before this one has drawn is taken from `kept`.
    """
    keys = [f"{run.config.seed}/train/{group.position}" for group in groups]
    with memory_of("sampling.rows", run.config.sampling.rows):
        prompts = [group.prompt_ids for group in groups]
        for finished in run.sampler.generate(prompts, keys, run.section.group, kept=kept):
            for completion in finished:
                groups[completion.prompt].completions.append(completion)
            if rewards is not None:
                rewards.send(run.step, groups, finished, kept)
    for group in groups:
        group.completions.sort(key=lambda completion: completion.sample)


def _chosen(scored: Scored, places: Sequence[tuple[int, bool]]) -> list[Chosen]:
    return [(scored.group.completions[place], good) for place, good in places]


def _pairs(groups: Sequence[Group], chosen: Sequence[Sequence[Chosen]]) -> list[Example]:
    return [
        Example(group.row.number, group.prompt_ids, best.token_ids, worst.token_ids)
        for group, own in zip(groups, chosen, strict=True)
        if own
        for (best, _), (worst, _) in [own]
        if best.token_ids != worst.token_ids  # a verifier that decides by chance
    ]


def _labelled(groups: Sequence[Group], chosen: Sequence[Sequence[Chosen]]) -> list[Example]:
    answers = [
        Labelled(group.row.number, group.prompt_ids, completion.token_ids, good)
        for group, own in zip(groups, chosen, strict=True)
        for completion, good in own
    ]
    return with_others(answers) if len({tuple(each.prompt) for each in answers}) > 1 else []


def _compared_rows(groups: Sequence[Group], found: Sequence[Comparison]) -> list[dict[str, Any]]:
    """One row for each completion; its reward is its score in the comparison."""
    return [
        {
            "score_id": each.score_ids[completion.sample], "reward": each.scores[completion.sample],
            "advantage": None, "tokens": len(completion.token_ids), "finish_reason": completion.finish_reason,
            "metadata": {"position": group.position, "row": group.row.number, "sample": completion.sample},
        }
        for group, each in zip(groups, found, strict=True)
        for completion in group.completions
    ]  # fmt: skip

"""Rewards from the service: each completion is sent as soon as it ends, while others are still being drawn.

What ends at the same token is one request, whose idempotency key follows from its content. A run that was killed and
resumed has the verdicts that came before (rollout_file.py). Those that were on their way it asks for once more, and
is answered from the record.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from trainer_client.advantages import combine
from trainer_client.config import RewardSection, Verifier
from trainer_client.errors import AssayError, ForbiddenError, NotFoundError
from trainer_client.results import Verdict
from trainer_client.rollout import Completion, Group
from trainer_client.rollout_file import RolloutFile, request_content
from trainer_client.training_errors import ConfigError, RewardError

IN_FLIGHT = 64
"""The most requests at a time. A judge may take seconds for each, and completions end at many different tokens."""


class Client(Protocol):
    """What is needed of `RewardClient`."""

    def score(
        self, verifier: None, items: Sequence[dict[str, Any]], *, run: str, step: int, idempotency_key: str
    ) -> list[Verdict]:
        """One verdict for each item. Raises `AssayError`."""

    def request(self, method: str, path: str) -> Any:
        """The JSON answer. Raises `AssayError`."""


@dataclass(slots=True)
class Scored:
    """A group with its verdicts.

    `verdicts[sample][part]` are in the order of `grpo.rewards`, as are their `weights`; `scores[sample]` is their
    weighted sum, None where a part of it is missing.
    """

    group: Group
    verdicts: list[list[Verdict]]
    scores: list[float | None]
    weights: Sequence[float] = (1.0,)

    def steps(self) -> list[list[tuple[float, int]]]:
        """The steps of each completion as (score times its verifier's weight, character that the step ends before).

        A verifier without weight is only watched, and its steps are none.
        """
        return [
            [
                (weight * step.score, step.end)
                for weight, verdict in zip(self.weights, row, strict=True)
                if weight
                for step in verdict.steps or ()
            ]
            for row in self.verdicts
        ]

    def step_scores(self) -> list[list[float]]:
        """Those of `steps` without their places."""
        return [[score for score, _ in row] for row in self.steps()]


class Rewards:
    """Sends completions to their verifiers from threads of its own, and hands back verdicts by group."""

    def __init__(self, client: Client, sections: Sequence[RewardSection], run: str) -> None:
        self._client = client
        self._sections = sections
        self._run = run
        self._pool = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="rewards")
        self._sent: list[Future[list[Verdict]]] = []

    def send(
        self, step: int, groups: Sequence[Group], finished: Iterable[Completion], kept: RolloutFile | None = None
    ) -> None:
        """Have completions scored; those of a call share a request. Returns at once.

        Verdicts that `kept` has are not asked for again, and those that come are noted in it.
        """
        items = [
            self._item(groups[completion.prompt], completion, part)
            for completion in finished
            for part in range(len(self._sections))
        ]
        self._sent.append(self._pool.submit(self._score, step, items, kept))

    def wait(self, groups: Sequence[Group]) -> list[Scored]:
        """The groups with the verdicts of all that was sent. Raises `RewardError` where the service gives none."""
        sent, self._sent = self._sent, []
        try:
            verdicts = {str(verdict.id): verdict for future in sent for verdict in future.result()}
        except AssayError as error:
            raise RewardError(f"rewards cannot be had: {error}") from error
        return [self._scored(group, verdicts) for group in groups]

    def close(self) -> None:
        """End the threads; what was not yet sent is not sent."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _score(self, step: int, items: list[dict[str, Any]], kept: RolloutFile | None) -> list[Verdict]:
        content = request_content(items)
        if kept is not None and (known := kept.verdicts(content)) is not None:
            return known
        # one key for each call: calls that share one may share requests, in a way that depends on the moment
        key = f"rollout-{items[0]['id']}"
        if kept is not None and kept.failures:
            key += f"-{kept.failures}"  # else the record would answer what made the run fail
        verdicts = self._client.score(None, items, run=self._run, step=step, idempotency_key=key)
        if kept is not None:
            kept.note(content, verdicts)
        return verdicts

    def _item(self, group: Group, completion: Completion, part: int) -> dict[str, Any]:
        row = group.row
        return {
            "id": _id(group, completion.sample, part),
            "verifier": self._sections[part].verifier or row.verifier,
            "prompt": row.prompt,
            "completion": completion.text,
            "reference": row.reference,
            "group": str(group.position),
            "tokens": len(completion.token_ids),
            "finish_reason": completion.finish_reason,
            "metadata": row.metadata,
        }

    def _scored(self, group: Group, verdicts: dict[str, Verdict]) -> Scored:
        parts = range(len(self._sections))
        own = [[verdicts[_id(group, each.sample, part)] for part in parts] for each in group.completions]
        table = torch.tensor(
            [[math.nan if each.score is None else each.score for each in row] for row in own], dtype=torch.float64
        )
        weights = [section.weight for section in self._sections]
        normalise = [section.normalise for section in self._sections]
        total = combine(table, weights, normalise, torch.zeros(len(own), dtype=torch.long))
        return Scored(group, own, [None if math.isnan(score) else score for score in total.tolist()], weights)


def check_verifiers(client: Client, verifiers: Iterable[Verifier | None], rows: Iterable[str | None]) -> None:
    """Raise `ConfigError` unless the service has all of the verifiers, those that rows name included.

    `verifiers` None stands for the row's own. A key that may score but not read is not told: then the first rollout
    finds out, before any update.
    """
    wanted = list(verifiers)
    named = {verifier for verifier in wanted if isinstance(verifier, str)}
    if None in wanted:
        of_rows = set(rows)
        if None in of_rows:
            raise ConfigError("there are rows without a `verifier`: name one in the configuration, or in each row")
        named |= {name for name in of_rows if name is not None}
    kinds = {verifier["kind"] for verifier in wanted if isinstance(verifier, dict)}
    try:
        for name in sorted(named):
            client.request("GET", f"/verifiers/{name}")
        known = {kind["kind"] for kind in client.request("GET", "/kinds")["items"]} if kinds else set()
    except ForbiddenError:
        return
    except NotFoundError as error:
        raise ConfigError(
            f"the service has no verifier {name} in this project: register it, or correct its name"
        ) from error
    if missing := sorted(kinds - known):
        raise ConfigError(f"the service has no kind {', '.join(missing)}; it has {', '.join(sorted(known))}")


def check_scored(
    scored: Sequence[Scored], most: float, setting: str = "grpo.max_unscored", kept: RolloutFile | None = None
) -> None:
    """Raise `RewardError` where more than the share `most` of completions has no score, with the commonest reason.

    `kept` is told, so that they are asked for anew when what was wrong has been mended.
    """
    unscored = [
        verdicts
        for group in scored
        for verdicts, score in zip(group.verdicts, group.scores, strict=True)
        if score is None
    ]
    total = sum(len(group.scores) for group in scored)
    if not unscored or len(unscored) <= most * total:
        return
    if kept is not None:
        kept.ask_again()
    reasons = Counter(
        f"{each.verifier}: {each.error.type}: {each.error.message}" if each.error else f"{each.verifier}: pending"
        for verdicts in unscored
        for each in verdicts
        if each.score is None
    )
    reason, count = reasons.most_common(1)[0]
    raise RewardError(
        f"{len(unscored)} of {total} completions have no score, most often ({count}) because {reason}; mend that, or "
        f"raise {setting}"
    )


def _id(group: Group, sample: int, part: int) -> str:
    return f"{group.position}/{sample}/{part}"

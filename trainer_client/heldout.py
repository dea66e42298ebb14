"""The held-out evaluation: prompts and a verifier that the policy never trains on, scored before and during training.

Drawing completions is passed in as a function: nothing here knows of a model. Where the service cannot score a
completion it counts nowhere but in `heldout/unscored_share`.
"""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from trainer_client.alarms import HELD_OUT
from trainer_client.config import EvaluationSection
from trainer_client.results import Verdict
from trainer_client.training_errors import ConfigError, DataError, RewardError

HELD_OUT_ERROR = "heldout/score_error"
PASS = 1.0
"""The score from which on a completion passes, for pass@k."""


class Prompted(Protocol):
    """A row of the data set, as data.py reads it."""

    @property
    def number(self) -> int: ...
    @property
    def prompt(self) -> str | list[dict[str, Any]]: ...
    @property
    def reference(self) -> Any: ...
    @property
    def verifier(self) -> str | None: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...


class Drawn(Protocol):
    """A completion, as rollout.py draws it."""

    @property
    def text(self) -> str: ...
    @property
    def token_ids(self) -> Sequence[int]: ...
    @property
    def finish_reason(self) -> str: ...


class Scorer(Protocol):
    """What is needed of `RewardClient`."""

    def score(
        self,
        verifier: Any,
        items: Sequence[Mapping[str, Any]],
        *,
        run: str | None,
        step: int | None,
        idempotency_key: str | None,
    ) -> list[Verdict]:
        """One verdict for each item. Raises `AssayError`."""


D = TypeVar("D", bound=Drawn)
R = TypeVar("R", bound=Prompted)
Generate = Callable[[Sequence[R], int], Sequence[Sequence[D]]]
"""The completions of each row, at a step; as many for each as the evaluation's `samples`."""
Measure = Callable[[Sequence[R], Sequence[Sequence[D]]], Mapping[str, float]]
"""More numbers of what was drawn, such as the divergence from the reference model."""


class HeldOut:
    """Evaluates every so many steps. Raises `DataError` or `ConfigError` for what cannot be evaluated."""

    def __init__(
        self,
        rows: Sequence[R],
        section: EvaluationSection,
        scorer: Scorer,
        generate: Generate[R, D],
        *,
        run: str | None = None,
        measure: Measure[R, D] | None = None,
    ) -> None:
        if not rows:
            raise DataError("there are no held-out rows: set data.heldout, or data.hold_out to a number of rows")
        most = max(section.pass_at, default=1)
        if most > section.samples:
            raise ConfigError(f"evaluation.pass_at: pass@{most} needs evaluation.samples of at least {most}")
        self._rows = list(rows[: section.prompts])
        if section.verifier is None and any(row.verifier is None for row in self._rows):
            raise ConfigError("evaluation.verifier: name one, since there are held-out rows without a `verifier`")
        self._section = section
        self._scorer = scorer
        self._generate: Generate[Any, Any] = generate
        self._measure: Measure[Any, Any] | None = measure
        self._run = run

    def due(self, step: int) -> bool:
        """Whether a step ends with an evaluation; 0 is before the first step."""
        return self._section.every > 0 and step % self._section.every == 0

    def evaluate(self, step: int, *, anew: bool = False) -> dict[str, float]:
        """`heldout/score` and its standard error, pass@k, lengths, and what `measure` adds.

        A resumed run gets the verdicts that were recorded for the same step and completions, unless it asks `anew`.
        Raises `AssayError`, and `RewardError` where nothing at all is scored.
        """
        groups = self._generate(self._rows, step)
        items = [
            self._item(row, sample, drawn)
            for row, group in zip(self._rows, groups, strict=True)
            for sample, drawn in enumerate(group)
        ]
        verdicts = self._scored(items, step, None if anew else "heldout")
        if self._run is not None and not anew and all(verdict.score is None for verdict in verdicts):
            verdicts = self._scored(items, step, None)  # else what made a run fail would do so for ever
        scores = iter(verdict.score for verdict in verdicts)
        by_prompt = [[score for _ in group if (score := next(scores)) is not None] for group in groups]
        if not any(by_prompt):
            error = next((verdict.error for verdict in verdicts if verdict.error is not None), None)
            raise RewardError(
                f"evaluation.verifier: none of {len(items)} held-out completions was scored"
                + ("" if error is None else f": {error.type}: {error.message}")
            )
        flat = [drawn for group in groups for drawn in group]
        values = summary(by_prompt, self._section.pass_at)
        values |= {
            "heldout/unscored_share": sum(verdict.score is None for verdict in verdicts) / len(verdicts),
            "heldout/tokens_mean": sum(len(drawn.token_ids) for drawn in flat) / len(flat),
            "heldout/truncated_share": sum(drawn.finish_reason == "length" for drawn in flat) / len(flat),
        }
        if self._measure is not None:
            values |= {f"heldout/{name}": value for name, value in self._measure(self._rows, groups).items()}
        return values

    def _scored(self, items: Sequence[Mapping[str, Any]], step: int, key: str | None) -> list[Verdict]:
        return self._scorer.score(
            self._section.verifier, items, run=self._run, step=step, idempotency_key=key if self._run else None
        )

    def _item(self, row: Prompted, sample: int, drawn: Drawn) -> dict[str, Any]:
        item = {
            "id": f"heldout-{row.number}-{sample}",
            "prompt": row.prompt,
            "completion": drawn.text,
            "reference": row.reference,
            "group": f"heldout-{row.number}",
            "tokens": len(drawn.token_ids),
            "finish_reason": drawn.finish_reason,
            "metadata": {**row.metadata, "split": "heldout"},
        }
        return item if self._section.verifier is not None else {**item, "verifier": row.verifier}


def summary(scores: Sequence[Sequence[float]], pass_at: Sequence[int]) -> dict[str, float]:
    """The mean of the prompts' mean scores, its standard error (over prompts), and pass@k for each k.

    `scores` are those of each prompt. A prompt without scores, or for pass@k with fewer than k, counts nowhere.
    """
    means = [sum(group) / len(group) for group in scores if group]
    mean = math.fsum(means) / len(means)
    values = {HELD_OUT: mean}
    if len(means) > 1:
        variance = math.fsum((each - mean) ** 2 for each in means) / (len(means) - 1)
        values[HELD_OUT_ERROR] = math.sqrt(variance / len(means))
    for k in pass_at:
        found = [pass_at_k(len(group), sum(each >= PASS for each in group), k) for group in scores if len(group) >= k]
        if found:
            values[f"heldout/pass@{k}"] = math.fsum(found) / len(found)
    return values


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased estimate of the chance that one of `k` completions passes, `c` of `n` having passed.

    1 - C(n - c, k) / C(n, k), Chen et al. 2021 (arXiv 2107.03374), exact. Raises `ValueError` unless
    0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} of {c} in {n} is not defined")
    return 1 - math.comb(n - c, k) / math.comb(n, k)


def refuse_overlap(training: Sequence[Prompted], held_out: Sequence[Prompted]) -> None:
    """Raise `DataError` where a held-out prompt is also one to train on, white space and Unicode form aside."""
    trained = {prompt_key(row): row.number for row in reversed(training)}
    shared = [(row.number, at) for row in held_out if (at := trained.get(prompt_key(row))) is not None]
    if shared:
        number, at = shared[0]
        raise DataError(
            f"{len(shared)} held-out prompts are also trained on, the first in held-out row {number} (training row "
            f"{at}): remove them from one of the two, or set data.hold_out instead of data.heldout"
        )


def prompt_key(row: Prompted) -> bytes:
    """What makes two prompts the same prompt."""
    text = row.prompt if isinstance(row.prompt, str) else json.dumps(row.prompt, sort_keys=True, ensure_ascii=False)
    same = " ".join(unicodedata.normalize("NFC", text).split())
    return hashlib.sha256(same.encode("utf-8", "surrogatepass")).digest()

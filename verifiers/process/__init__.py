"""The kind `process`: a score for every step of a solution."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, TypeAdapter

from verifiers.base import (
    ConfigError,
    Context,
    ErrorType,
    Example,
    GivingWay,
    Item,
    Outcome,
    Step,
    Verdict,
    VerdictError,
    clip,
    past_deadline,
    register,
)
from verifiers.conversation import MAX_CHARS, conversation, sendable
from verifiers.lent import BackendError, Backends, Other, Solution
from verifiers.process.config import ProcessConfig, StepBackend, aggregated
from verifiers.process.pieces import piece, usage_of
from verifiers.process.splitting import usable
from verifiers.process.steps import InSteps, in_steps
from verifiers.regex.patterns import PatternError

STAGE = "steps"
BATCH = 16
"""Solutions of one request to a backend."""
BATCH_CHARS = 1_000_000
"""Characters, those of the prompts included, after which a request takes no further solution."""
AT_ONCE = 32
"""Requests of one call of `verify` that are under way or wait for the backend."""
PIECES_AT_ONCE = 4_096
"""Steps that another verifier is asked about at once."""
PIECES_CHARS = 4_000_000
"""Characters after which no further step is added to them: prefixes grow with the square of their number."""

_EQUATIONS = {"scorer": {"kind": "regex", "config": {"pattern": "="}}}


@register
class Process:
    """Score every step of a solution, and make one score of theirs.

    ```json
    {"scorer": {"backend": "math-prm-7b"}, "split": "blank_line", "aggregate": "min", "threshold": 0.5}
    ```

    The `scorer` is a process reward model on a backend, or another verifier, such as a judge: it gets each step, or
    with `shows: prefix` everything up to the step's end, as an item's completion, with the same prompt and reference.

    ## Steps

    `steps` in the verdict has `{"score", "start", "end"}` for each step: the characters from `start` to before `end`
    of the completion's text are the step. White space around a step is no part of it. What stands before the first
    numbered line is a step of its own. Under `numbered` a line counts only where its number is the next one, so lists
    within a step do not end it. A completion with more than `max_steps` steps has the rest of its text in the last.
    For a verifier, a step that says nothing, such as "Solution:", is one with the next, and the tags of a thinking
    part are left out of what it reads.

    With `split: given` the reference is `{"steps": ["...", "..."]}`, each word for word in the completion;
    `reference` beside it is what a verifier compares with.

    ## Score

    `aggregate` makes one score: `min`, `product` or `mean` of all, or the `last`. `first_wrong` in `detail` is the
    number, from 0, of the first step that scores less than `threshold`, or null.

    ## Outcomes

    The outcome is `scored`, stage `steps`. A completion without a step is `unparseable` and scores `empty`. Where one
    step cannot be scored the item is `unscored`, with that step's error. A process reward model reads a limited
    number of tokens: the prompt is cut from its beginning then (`truncated` in `detail`), and where a step would have
    to be cut away the item is `unscored` with `context_overflow`.
    """

    kind: ClassVar[str] = "process"
    revision: ClassVar[int] = 2
    deterministic: ClassVar[bool] = False
    cache: ClassVar[Literal["none", "memory"]] = "memory"
    Config: ClassVar[type[BaseModel]] = ProcessConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(Any)
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion="6 * 7 = 42\n\n42 + 1 = 43"), 1.0, _EQUATIONS),
        Example(Item(completion="6 * 7 = 42\n\nNothing follows."), 0.0, _EQUATIONS),
        Example(Item(completion="6 * 7 = 42\n\nNothing follows."), 0.5, {**_EQUATIONS, "aggregate": "mean"}),
        Example(
            Item(completion="1. 2 + 2 = 4\n2. So four."), 1.0, {**_EQUATIONS, "split": "numbered", "shows": "prefix"}
        ),
    )
    guarded: ClassVar[Sequence[str]] = ("verifiers.process.splitting",)
    sandboxed: ClassVar[bool] = False

    def __init__(self, config: ProcessConfig) -> None:
        self._config = config
        if (config.pattern is not None) != (config.split == "pattern"):
            raise ConfigError("a pattern and split: pattern go together", "/pattern")
        if isinstance(config.scorer, StepBackend) and config.shows != "step":
            raise ConfigError("a backend reads the whole solution; shows is for a verifier", "/shows")
        if config.pattern is not None:
            try:
                fault = usable(config.pattern)
            except PatternError as error:
                fault = str(error)
            if fault:
                raise ConfigError(f"/pattern: {fault}", "/pattern")

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        """One verdict per item, in order."""
        verdicts = [past_deadline()] * len(items)
        split: dict[int, InSteps] = {}
        for place, found in (await in_steps(items, self._config, ctx)).items():
            if isinstance(found, Verdict):
                verdicts[place] = found
            elif not found.steps:
                detail = {"stage": STAGE, "steps": 0, "first_wrong": None}
                verdicts[place] = Verdict(Outcome.UNPARSEABLE, self._config.empty, detail, steps=())
            else:
                split[place] = found
        scorer = self._config.scorer
        if isinstance(scorer, StepBackend):
            await self._by_backend(scorer.backend, split, verdicts, ctx)
        else:
            await self._by_verifier(scorer, split, verdicts, ctx)
        return verdicts

    async def _by_backend(
        self, backend: str, split: Mapping[int, InSteps], verdicts: list[Verdict], ctx: Context
    ) -> None:
        if ctx.backends is None:
            verdict = Verdict.unscored(
                ErrorType.BACKEND_UNAVAILABLE, "this process reaches no backends", retryable=True
            )
            for place in split:
                verdicts[place] = verdict
            return
        left = iter(split.items())
        workers = min(AT_ONCE, -(-len(split) // BATCH))
        turn = GivingWay()
        await asyncio.gather(
            *(self._ask(backend, left, verdicts, ctx.backends, ctx.deadline, turn) for _ in range(workers))
        )

    async def _ask(
        self,
        backend: str,
        left: Iterator[tuple[int, InSteps]],
        verdicts: list[Verdict],
        backends: Backends,
        deadline: float,
        turn: GivingWay,
    ) -> None:
        """Take items from `left`, which several workers share, and enter their verdicts."""
        while time.monotonic() < deadline:
            asked: list[tuple[int, InSteps, bool]] = []
            solutions: list[Solution] = []
            chars = 0
            while len(asked) < BATCH and chars < BATCH_CHARS and (taken := next(left, None)) is not None:
                solution, cut = self._solution(taken[1])
                if solution is None:
                    message = f"the steps have more than the {MAX_CHARS:,} characters that any model reads"
                    verdicts[taken[0]] = _unscored(ErrorType.CONTEXT_OVERFLOW, message, retryable=False)
                    continue
                chars += sum(map(len, solution.steps)) + sum(len(said["content"]) for said in solution.messages)
                asked.append((*taken, cut))
                solutions.append(solution)
                await turn.over()
            if not asked:
                return
            heard = await backends.steps(backend, solutions, deadline=deadline)
            for (place, one, cut), scores in zip(asked, heard, strict=True):
                found = scores.scores or ()
                if (fault := scores.error or unusable(found, len(one.steps), backend)) is not None:
                    verdicts[place] = _unscored(fault.type, str(fault), retryable=fault.retryable)
                    continue
                more: dict[str, Any] = {} if scores.tokens is None else {"tokens": scores.tokens}
                more |= {"truncated": True} if scores.truncated or cut else {}
                verdicts[place] = self._verdict(one, found, more)

    def _solution(self, split: InSteps) -> tuple[Solution | None, bool]:
        """What a backend is asked about, and whether the messages before the steps were cut.

        None where the steps are too long for any model.
        """
        messages, cut = sendable(conversation(split.item, "", self._config.system)[:-1])
        steps, beyond = sendable([{"role": "", "content": text} for text in split.texts()])
        return (None if beyond else Solution(messages, [step["content"] for step in steps])), cut

    async def _by_verifier(
        self, verifier: Other, split: Mapping[int, InSteps], verdicts: list[Verdict], ctx: Context
    ) -> None:
        if ctx.score is None:
            raise RuntimeError("a process needs an engine to score steps with a verifier")
        heard: dict[int, list[Verdict]] = {place: [] for place in split}
        left = ((place, piece) for place, one in split.items() for piece in self._pieces(one))
        while time.monotonic() < ctx.deadline and (portion := portioned(left)):
            scored = await ctx.score(verifier, [piece for _, piece in portion])
            for (place, _), verdict in zip(portion, scored, strict=True):
                heard[place].append(verdict)
        for place, parts in heard.items():
            if len(parts) == len(split[place].steps):
                verdicts[place] = self._of_parts(split[place], parts)

    def _pieces(self, split: InSteps) -> Iterator[Item]:
        """What the verifier is asked about: one item for each step, made when it is taken."""
        prefix = self._config.shows == "prefix"
        for start, end in split.steps:
            yield piece(split.item, split.item.text[split.start if prefix else start : end], split.reference)

    def _of_parts(self, split: InSteps, parts: Sequence[Verdict]) -> Verdict:
        """The verdict on an item from those on its steps."""
        scores = [part.score for part in parts if part.score is not None]
        if len(scores) < len(parts):
            return _of_step(parts)
        took = usage_of(parts)
        verdict = self._verdict(split, scores, {"usage": took} if took else {})
        full = {"steps_detail": [part.detail for part in parts]}
        return replace(verdict, full=full, transient=any(part.transient for part in parts))

    def _verdict(self, split: InSteps, scores: Sequence[float], more: dict[str, Any]) -> Verdict:
        score = aggregated(scores, self._config.aggregate)
        if not math.isfinite(score):
            return _unscored(ErrorType.VERIFIER_FAULT, "the steps' scores have no finite aggregate", retryable=False)
        wrong = next((number for number, one in enumerate(scores) if one < self._config.threshold), None)
        steps = tuple(Step(one, start, end) for one, (start, end) in zip(scores, split.steps, strict=True))
        detail = {"stage": STAGE, "steps": len(steps), "first_wrong": wrong, **more}
        return Verdict(Outcome.SCORED, score, detail, steps=steps)


def portioned(left: Iterator[tuple[int, Item]]) -> list[tuple[int, Item]]:
    """The next pieces, as many as are asked about at once; none where nothing is left."""
    taken: list[tuple[int, Item]] = []
    chars = 0
    while len(taken) < PIECES_AT_ONCE and chars < PIECES_CHARS and (piece := next(left, None)) is not None:
        taken.append(piece)
        chars += len(piece[1].text)
    return taken


def unusable(scores: Sequence[float], steps: int, backend: str) -> BackendError | None:
    """Why a backend's scores are none of so many steps; None where they are."""
    if len(scores) != steps:
        why = f"{len(scores)} scores for {steps} steps"
    elif not all(map(math.isfinite, scores)):
        why = "a score that is not a finite number"
    else:
        return None
    return BackendError(ErrorType.BACKEND_FAULT, f"the backend {backend} gave {why}", retryable=False)


def _of_step(parts: Sequence[Verdict]) -> Verdict:
    """The verdict where a step has no score."""
    number, part = next((number, part) for number, part in enumerate(parts) if part.score is None)
    error = part.error or VerdictError(ErrorType.VERIFIER_FAULT, "has no score and no error", retryable=False)
    return _unscored(error.type, f"step {number}: {error.message}", retryable=error.retryable)


def _unscored(type: ErrorType, message: str, *, retryable: bool) -> Verdict:
    return replace(Verdict.unscored(type, clip(message, 500), retryable=retryable), detail={"stage": STAGE})

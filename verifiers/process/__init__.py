"""The kind `process`: a score for every step of a solution."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from verifiers.base import (
    BadItemError,
    ConfigError,
    Context,
    ErrorType,
    Example,
    GivingWay,
    GuardLimits,
    Item,
    KindConfig,
    Outcome,
    Step,
    Strict,
    Verdict,
    VerdictError,
    clip,
    guard_fault,
    parse_reference,
    past_deadline,
    register,
)
from verifiers.conversation import MAX_CHARS, asked, sendable
from verifiers.lent import BackendError, Backends, InlineVerifier, Needs, Other, Scorer, Solution
from verifiers.process.splitting import Span, Split, located, spans, usable
from verifiers.regex.patterns import PatternError
from verifiers.thinking import Section, section

STAGE = "steps"
MAX_STEPS = 256
LONG = 20_000
"""Characters of a text that is split on the event loop; a longer one is split in a guarded worker."""
LIMITS = GuardLimits()
BATCH = 16
"""Solutions of one request to a backend."""
BATCH_CHARS = 1_000_000
"""Characters after which a request takes no further solution."""
AT_ONCE = 32
"""Requests of one call of `verify` that are under way or wait for the backend."""
PIECES_AT_ONCE = 4_096
"""Steps that another verifier is asked about at once."""
PREFIX_CHARS = 4_000_000
"""Characters of such steps; prefixes grow with the square of their number."""

Aggregate = Literal["min", "product", "mean", "last"]


class StepBackend(Strict):
    """A process reward model on a server that an operator configured."""

    model_config = ConfigDict(frozen=True)
    backend: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="The name of a backend that serves a process reward model (`assay backends add`).",
        examples=["math-prm-7b"],
    )


class ProcessConfig(KindConfig):
    """Where the steps come from, what scores them, and what their scores become."""

    is_part: ClassVar[bool] = False

    scorer: Annotated[str, Field(max_length=120)] | InlineVerifier | StepBackend = Field(
        description="What scores the steps: a backend that serves a process reward model, or a verifier, given as "
        "`name@version` or as a kind with its configuration.",
        examples=[{"backend": "math-prm-7b"}, "step-judge@1", {"kind": "regex", "config": {"pattern": "="}}],
    )
    shows: Literal["step", "prefix"] = Field(
        "step",
        description="What a verifier reads as the completion: the step alone, or everything up to the step's end.",
    )
    split: Split = Field(
        "blank_line",
        description="Where steps end. blank_line: at blank lines; pattern: at matches of `pattern`; numbered: before "
        "lines numbered 1, 2, 3 and so on (`1.`, `2)`, `Step 3:`); given: the reference has them.",
    )
    pattern: str | None = Field(
        None,
        description="For `split: pattern`: a regular expression (RE2) of what stands between steps.",
        examples=["\\n+"],
    )
    max_steps: int = Field(
        64, ge=1, le=MAX_STEPS, description="Most steps of a completion; what comes later counts to the last one."
    )
    aggregate: Aggregate = Field("min", description="What the steps' scores become: the item's score.")
    threshold: float = Field(
        0.5, description="A step that scores less is wrong; `first_wrong` in the detail is the first."
    )
    empty: float = Field(0.0, description="What a completion scores that has no step.")
    system: str | None = Field(
        None,
        max_length=20_000,
        description="For a backend: a system message for prompts that have none. null: the one that such models were "
        "trained with.",
    )
    section: Section = Field(
        "whole",
        description="Where steps are sought. whole: in everything; final: in what follows the thinking part.",
    )

    def needs(self) -> Needs:
        """See `KindConfig.needs`."""
        if isinstance(self.scorer, StepBackend):
            return Needs(backends={"/scorer/backend": self.scorer.backend}, backend_types=("reward", "local"))
        return Needs({"/scorer": self.scorer})


class GivenSteps(Strict):
    """The reference under `split: given`."""

    steps: list[str] = Field(
        max_length=MAX_STEPS, description="The steps, word for word as they stand in the completion, in order."
    )
    reference: Any = Field(None, description="What a verifier compares with.")


@dataclass(frozen=True, slots=True)
class _Split:
    """An item in steps."""

    item: Item
    start: int
    """Where the part begins that is looked at."""
    steps: tuple[Span, ...]
    reference: Any

    def texts(self) -> list[str]:
        return [self.item.text[start:end] for start, end in self.steps]


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
    revision: ClassVar[int] = 1
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
        split: dict[int, _Split] = {}
        turn = GivingWay()
        for place, item in enumerate(items):
            if await turn.over() > ctx.deadline:
                return verdicts
            found = await self._split(item, ctx)
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

    async def _split(self, item: Item, ctx: Context) -> _Split | Verdict:
        text = section(item, self._config.section)
        if text is None:
            return _Split(item, 0, (), item.reference)
        start = len(item.text) - len(text)
        if self._config.split == "given":
            try:
                given: GivenSteps = parse_reference(_GIVEN, item.reference)
                return _Split(item, start, tuple(located(item.text, given.steps, start)), given.reference)
            except BadItemError as error:
                return Verdict.bad_item(str(error))
        payload = {
            "text": text,
            "split": self._config.split,
            "pattern": self._config.pattern,
            "most": self._config.max_steps,
        }
        found: Sequence[Sequence[int]]
        if len(text) <= LONG:
            found = spans(payload)
        else:
            [result] = await ctx.guard.run(
                "verifiers.process.splitting:spans", [payload], limits=LIMITS, deadline=ctx.deadline
            )
            if result.fault is not None:
                verdict = guard_fault(result)
                return verdict if verdict.score is None else replace(verdict, score=self._config.empty)
            found = result.value
        return _Split(item, start, tuple((start + first, start + behind) for first, behind in found), item.reference)

    async def _by_backend(
        self, backend: str, split: dict[int, _Split], verdicts: list[Verdict], ctx: Context
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
        left: Iterator[tuple[int, _Split]],
        verdicts: list[Verdict],
        backends: Backends,
        deadline: float,
        turn: GivingWay,
    ) -> None:
        """Take items from `left`, which several workers share, and enter their verdicts."""
        while time.monotonic() < deadline:
            places: list[int] = []
            some: list[_Split] = []
            solutions: list[Solution] = []
            chars = 0
            while len(some) < BATCH and chars < BATCH_CHARS and (taken := next(left, None)) is not None:
                solution = self._solution(taken[1])
                if solution is None:
                    message = f"the steps have more than the {MAX_CHARS:,} characters that any model reads"
                    verdicts[taken[0]] = _unscored(ErrorType.CONTEXT_OVERFLOW, message, retryable=False)
                    continue
                chars += sum(map(len, solution.steps))
                places.append(taken[0])
                some.append(taken[1])
                solutions.append(solution)
                await turn.over()
            if not some:
                return
            heard = await backends.steps(backend, solutions, deadline=deadline)
            for place, one, scores in zip(places, some, heard, strict=True):
                found = scores.scores or ()
                if (fault := scores.error or unusable(found, len(one.steps), backend)) is not None:
                    verdicts[place] = _unscored(fault.type, str(fault), retryable=fault.retryable)
                    continue
                more: dict[str, Any] = {} if scores.tokens is None else {"tokens": scores.tokens}
                more |= {"truncated": True} if scores.truncated else {}
                verdicts[place] = self._verdict(one, found, more)

    def _solution(self, split: _Split) -> Solution | None:
        """What a backend is asked about; None where the steps are too long for any."""
        messages, _ = sendable(asked(split.item.prompt, self._config.system))
        steps, cut = sendable([{"role": "", "content": text} for text in split.texts()])
        return None if cut else Solution(messages, [step["content"] for step in steps])

    async def _by_verifier(
        self, verifier: Other, split: dict[int, _Split], verdicts: list[Verdict], ctx: Context
    ) -> None:
        if ctx.score is None:
            raise RuntimeError("a process needs an engine to score steps with a verifier")
        pieces: list[Item] = []
        chars = 0
        waiting: dict[int, _Split] = {}
        for place, one in split.items():
            made = self._pieces(one)
            added = sum(len(piece.text) for piece in made)
            if waiting and (len(pieces) + len(made) > PIECES_AT_ONCE or chars + added > PREFIX_CHARS):
                await self._score(verifier, ctx.score, waiting, pieces, verdicts)
                pieces, waiting, chars = [], {}, 0
                if time.monotonic() > ctx.deadline:
                    return
            pieces += made
            chars += added
            waiting[place] = one
        if waiting:
            await self._score(verifier, ctx.score, waiting, pieces, verdicts)

    def _pieces(self, split: _Split) -> list[Item]:
        """What the verifier is asked about: one item for each step."""
        prefix = self._config.shows == "prefix"
        return [
            split.item.model_copy(
                update={
                    "completion": split.item.text[split.start if prefix else start : end],
                    "reference": split.reference,
                    "tokens": None,  # of the whole
                }
            )
            for start, end in split.steps
        ]

    async def _score(
        self,
        verifier: Other,
        score: Scorer,
        waiting: dict[int, _Split],
        pieces: Sequence[Item],
        verdicts: list[Verdict],
    ) -> None:
        heard = iter(await score(verifier, pieces))
        for place, one in waiting.items():
            parts = [next(heard) for _ in one.steps]
            scores = [part.score for part in parts if part.score is not None]
            if len(scores) < len(parts):
                verdicts[place] = _of_step(parts)
                continue
            verdict = self._verdict(one, scores, {})
            full = {"steps_detail": [part.detail for part in parts]}
            verdicts[place] = replace(verdict, full=full, transient=any(part.transient for part in parts))

    def _verdict(self, split: _Split, scores: Sequence[float], more: dict[str, Any]) -> Verdict:
        score = aggregated(scores, self._config.aggregate)
        if not math.isfinite(score):
            return _unscored(ErrorType.VERIFIER_FAULT, "the steps' scores have no finite aggregate", retryable=False)
        wrong = next((number for number, one in enumerate(scores) if one < self._config.threshold), None)
        steps = tuple(Step(one, start, end) for one, (start, end) in zip(scores, split.steps, strict=True))
        detail = {"stage": STAGE, "steps": len(steps), "first_wrong": wrong, **more}
        return Verdict(Outcome.SCORED, score, detail, steps=steps)


_GIVEN: TypeAdapter[Any] = TypeAdapter(GivenSteps)


def aggregated(scores: Sequence[float], how: Aggregate) -> float:
    """One score of several, of which there is at least one."""
    match how:
        case "min":
            return min(scores)
        case "product":
            return math.prod(scores)
        case "mean":
            return math.fsum(scores) / len(scores)
        case "last":
            return scores[-1]


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

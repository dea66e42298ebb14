"""`composite`: one score out of several verifiers', by weights, gates or a formula."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, TypeAdapter

from verifiers.base import (
    BadItemError,
    ConfigError,
    Context,
    ErrorType,
    Example,
    Item,
    KindConfig,
    Outcome,
    Verdict,
    VerdictError,
    pointer,
    register,
)
from verifiers.composite.formula import FUNCTIONS, FormulaError, Value, parse
from verifiers.lent import InlineVerifier, Needs, Scorer

Score = Annotated[float, Field(ge=-1e6, le=1e6)]
PartName = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]{0,60}$")]
MAX_PARTS = 16


class Part(KindConfig):
    """One of the verifiers, and what becomes of its score."""

    verifier: Annotated[str, Field(max_length=120)] | InlineVerifier = Field(
        description="`name@version` of a registered verifier, or a kind with its configuration.",
        examples=["math@1", {"kind": "format", "config": {}}],
    )
    weight: Score | None = Field(None, description="What its score is multiplied with; 1 unless there is a formula.")
    gate: Score | None = Field(
        None, description="The least score with which the rest is looked at; below it the whole scores `closed`."
    )
    reference: str | None = Field(
        None,
        max_length=200,
        description="Which field of the item's reference it compares with; the whole reference if not given.",
    )
    fallback: Score | None = Field(
        None, description="Stands for its score where it cannot be scored; if not given, the whole is unscored then."
    )


class CompositeConfig(KindConfig):
    """The parts and how their scores become one."""

    is_part: ClassVar[bool] = False

    parts: dict[PartName, Part] = Field(
        min_length=1, max_length=MAX_PARTS, description="The verifiers, each under a name of your choosing."
    )
    formula: str | None = Field(
        None,
        description="Instead of weights: names of parts, numbers, `+ - * / ^`, parentheses, and `min` `max` `abs` "
        "`clip`.",
        examples=["clip(answer - 0.2 * repeats, 0, 1) * layout"],
    )
    closed: Score = Field(0.0, description="What an item scores that a gate does not let through.")

    def needs(self) -> Needs:
        """See `KindConfig.needs`."""
        return Needs({pointer(("parts", name, "verifier")): part.verifier for name, part in self.parts.items()})


_LAYOUT = {"verifier": {"kind": "format", "config": {"sections": ["think", "answer"]}}, "weight": 0.2}
_ANSWER = {"verifier": {"kind": "math", "config": {}}, "weight": 0.8}
_RIGHT = "<think>6 * 7</think><answer>\\boxed{42}</answer>"


@register
class Composite:
    """Make one score out of several verifiers', by weights, gates or a formula.

    ```json
    {"parts": {"layout": {"verifier": {"kind": "format"}, "weight": 0.2, "gate": 1.0},
               "answer": {"verifier": "math@1", "weight": 0.8}}}
    ```

    Without a formula the score is the sum of each part's score times its weight; what you write is what you get,
    nothing is normalised.

    ## Gates

    A part with a `gate` is scored before those without one, the cheap ones first: kinds of microseconds before
    those that need a worker, these before those that run code in the sandbox, and models last. An item that scores
    below a gate gets `closed`, and nothing that comes later is run for it: a completion without its tags never
    reaches the sandbox.

    ## References

    Every part gets the item's reference, unless its `reference` names a field:
    with `"reference": "tests"` it gets the field `tests` of `{"answer": "42", "tests": {...}}`.

    ## What cannot be scored

    Where a part is `unscored`, so is the whole, with that part's error; a part with a `fallback` is taken to have
    scored that instead. A formula or sum that has no value (a division by zero, a number beyond 1e308 on the way)
    makes the item `unscored`.

    ## Verdict

    `components` has two numbers for each part, always: `name`, its score, and `name:scored`, 1 where it was scored
    and 0 where a gate skipped it (its score then says 0) or its fallback stands in. The outcome is `correct` where
    all parts are; `incorrect` where none is or a gate is closed; `scored` where a part has a continuous score;
    else `partial`. `detail` has each part's outcome, and `detail: full` each part's own detail.

    | stage | meaning |
    |---|---|
    | `gate` | a gate was closed; `gate` names it |
    | `weights` | the weighted sum |
    | `formula` | the formula's value |

    Parts cannot themselves be made of parts, and cannot be `outcome`. Their verdicts are reused like any others.
    """

    kind: ClassVar[str] = "composite"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "none"
    Config: ClassVar[type[BaseModel]] = CompositeConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(Any)
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion=_RIGHT, reference="42"), 1.0, {"parts": {"layout": _LAYOUT, "answer": _ANSWER}}),
        Example(
            Item(completion="The answer is 42.", reference="42"),
            0.0,
            {"parts": {"layout": {**_LAYOUT, "gate": 1.0}, "answer": _ANSWER}},
        ),
        Example(
            Item(completion="The answer is 42.", reference={"value": "42"}),
            0.5,
            {
                "parts": {
                    "answer": {"verifier": {"kind": "math", "config": {}}, "reference": "value"},
                    "brief": {"verifier": {"kind": "regex", "config": {"pattern": "^.{0,10}$"}}},
                },
                "formula": "clip(answer - 0.5 * (1 - brief), 0, 1)",
            },
        ),
    )
    guarded: ClassVar[Sequence[str]] = ()
    sandboxed: ClassVar[bool] = False

    def __init__(self, config: CompositeConfig) -> None:
        self._parts = dict(sorted(config.parts.items()))
        self._closed = config.closed + 0.0  # -0.0 is 0
        self._formula: Value | None = None
        if config.formula is None:
            return
        for name, part in config.parts.items():
            if part.weight is not None:
                raise ConfigError(
                    "a formula stands instead of weights; give one or the other", f"/parts/{name}/weight"
                )
            if name in FUNCTIONS:
                raise ConfigError(f"{name!r} is a function of formulas; name the part otherwise", f"/parts/{name}")
        try:
            self._formula = parse(config.formula, config.parts)
        except FormulaError as error:
            raise ConfigError(f"/formula: {error}", "/formula") from None

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        """One verdict per item, in order: gates one after the other, then all other parts at once."""
        if ctx.score is None:
            raise RuntimeError("a composite needs an engine")
        found: list[dict[str, Verdict]] = [{} for _ in items]
        left = list(range(len(items)))
        for name in await self._gates(ctx.score):
            await self._score(name, items, left, found, ctx.score)
            left = [index for index in left if self._lets_through(name, found[index][name])]
        rest = [name for name, part in self._parts.items() if part.gate is None]
        await asyncio.gather(*(self._score(name, items, left, found, ctx.score) for name in rest))
        return [self._verdict(verdicts) for verdicts in found]

    async def _gates(self, score: Scorer) -> list[str]:
        costs = [
            (await score.cost(part.verifier), name) for name, part in self._parts.items() if part.gate is not None
        ]
        return [name for _, name in sorted(costs)]

    async def _score(
        self,
        name: str,
        items: Sequence[Item],
        chosen: Sequence[int],
        found: Sequence[dict[str, Verdict]],
        score: Scorer,
    ) -> None:
        """Enter a part's verdicts on the chosen items."""
        part = self._parts[name]
        sent: list[int] = []
        asked: list[Item] = []
        for index in chosen:
            try:
                asked.append(_for_part(items[index], part))
                sent.append(index)
            except BadItemError as error:
                found[index][name] = Verdict.bad_item(str(error))
        verdicts = await score(part.verifier, asked) if asked else []
        for index, verdict in zip(sent, verdicts, strict=True):
            found[index][name] = verdict

    def _lets_through(self, name: str, verdict: Verdict) -> bool:
        part = self._parts[name]
        score = part.fallback if verdict.score is None else verdict.score
        return score is not None and part.gate is not None and score >= part.gate

    def _verdict(self, found: Mapping[str, Verdict]) -> Verdict:
        scores: dict[str, float] = {}
        for name, part in self._parts.items():
            if (verdict := found.get(name)) is None:
                continue
            score = part.fallback if verdict.score is None else verdict.score
            if score is None:
                return _unscored(name, verdict)
            scores[name] = score
        closed = next(
            (name for name, s in scores.items() if (gate := self._parts[name].gate) is not None and s < gate), None
        )
        if closed is not None:
            return self._made("gate", self._closed, Outcome.INCORRECT, found, scores, gate=closed)
        outcome = _outcome([verdict.outcome for verdict in found.values()])
        stage, value_of = ("weights", self._weighted) if self._formula is None else ("formula", self._formula)
        try:
            value = value_of(scores) + 0.0  # -0.0 is 0
        except ArithmeticError:
            made_by = "the weighted sum" if stage == "weights" else "the formula"
            message = f"{made_by} has no value at {', '.join(f'{name} = {s:g}' for name, s in scores.items())}"
            return Verdict.unscored(ErrorType.VERIFIER_FAULT, message, retryable=False)
        return self._made(stage, value, outcome, found, scores)

    def _weighted(self, scores: Mapping[str, float]) -> float:
        """The sum of scores times weights. Raises OverflowError where it is too large for a number."""
        terms = [scores[name] * (1.0 if part.weight is None else part.weight) for name, part in self._parts.items()]
        if not all(map(math.isfinite, terms)):
            raise OverflowError("a number is too large")
        return math.fsum(terms)

    def _made(
        self,
        stage: str,
        score: float,
        outcome: Outcome,
        found: Mapping[str, Verdict],
        scores: Mapping[str, float],
        **more: str,
    ) -> Verdict:
        components: dict[str, float] = {}
        for name in self._parts:
            components[name] = scores.get(name, 0.0)
            components[f"{name}:scored"] = float(name in found and found[name].score is not None)
        detail = {"stage": stage, **more, "parts": {name: str(verdict.outcome) for name, verdict in found.items()}}
        full = {"parts_detail": {name: verdict.detail | verdict.full for name, verdict in found.items()}}
        transient = any(verdict.transient for verdict in found.values())
        return Verdict(outcome, score, detail, full, components, transient=transient)


def _for_part(item: Item, part: Part) -> Item:
    if part.reference is None:
        return item
    if not isinstance(item.reference, dict) or part.reference not in item.reference:
        raise BadItemError(f"reference: must be an object with the field {part.reference!r}")
    return item.model_copy(update={"reference": item.reference[part.reference]})


def _unscored(name: str, verdict: Verdict) -> Verdict:
    error = verdict.error or VerdictError(ErrorType.VERIFIER_FAULT, "has no score and no error", retryable=False)
    return Verdict.unscored(error.type, f"part {name}: {error.message}", retryable=error.retryable)


def _outcome(parts: Sequence[Outcome]) -> Outcome:
    if all(outcome is Outcome.CORRECT for outcome in parts):
        return Outcome.CORRECT
    if any(outcome in (Outcome.SCORED, Outcome.UNSCORED, Outcome.PENDING) for outcome in parts):
        return Outcome.SCORED
    if any(outcome in (Outcome.CORRECT, Outcome.PARTIAL) for outcome in parts):
        return Outcome.PARTIAL
    return Outcome.INCORRECT

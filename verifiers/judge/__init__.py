"""The kind `judge`: what no rule can check, asked of language models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter

from verifiers.base import (
    BadItemError,
    ConfigError,
    Context,
    ErrorType,
    Example,
    Item,
    Outcome,
    Verdict,
    clip,
    parse_reference,
    past_deadline,
    register,
)
from verifiers.judge.asking import Ready, check_output
from verifiers.judge.config import MAX_SEATS, JudgeConfig, JudgeReference, Reference
from verifiers.judge.emptiness import says_nothing
from verifiers.judge.fencing import cut
from verifiers.judge.modes import Case, Pairwise, rules_for, seats
from verifiers.judge.panel import Heard, Panel, Session
from verifiers.judge.probes import TASKS, probe
from verifiers.judge.transcript import transcript
from verifiers.lent import Pair
from verifiers.thinking import section

ITEMS_AT_ONCE = 256
"""Items of one call of `verify` that are being judged or wait for a backend."""
CALLS_AT_ONCE = 1_024
"""Calls of one call of `verify` that are under way or wait for a backend."""
MARGIN_S = 0.1
"""How long after the deadline a backend may still say that it is past."""

MANY_CALLS = 8
"""Calls of an item from which on it is probed with fewer."""

W = TypeVar("W")


@register
class Judge:
    """Ask one or several language models for a judgement: a number, a comparison, or a list of yes and no.

    ```json
    {"backend": "judge-70b", "mode": "rubric",
     "criteria": [{"text": "Names the capital of France.", "weight": 2}, {"text": "Is one sentence."}]}
    ```

    A judge is the weakest sort of verifier. It prefers length and confidence, follows its own taste, and can be
    talked into things. Use a rule where there is one; prefer criteria that are plainly true or false to a number on a
    scale; look at how much the verifier accepts of the completions that it is probed with when it is registered; and
    measure it against labels of your own before you train on it.

    ## Modes

    | mode | the judge says | score | outcome |
    |---|---|---|---|
    | `pointwise` | a number on `scale` | 0 to 1 | `scored` |
    | `pairwise` | which is better, the completion or the reference's | 1, 0, or 0.5: a tie | `scored` |
    | `rubric` | yes or no to each criterion | the weights of the yeses, see below | `scored` |
    | `principles` | yes or no to each principle | the share of yeses | `correct`, `partial`, `incorrect` |
    | `equivalence` | whether it is the reference's answer | 1 or 0 | `correct`, `incorrect` |

    The weights of a rubric's yeses are divided by the sum of the positive weights and kept within 0 and 1; with
    `normalise: false` they are added and no more, and a number on a scale stays as it is. With `combine: overall` the
    judge reads the criteria and gives one number. Under `vote: mean` every outcome is `scored`.

    `components` has the verdict on each criterion or principle, named `c1`, `c2` and so on in their order.

    ## Templates

    A template is Jinja2, cut down to what a prompt needs: variables, `if`, `for` over a list (not within another),
    the filters `trim`, `length` and `default`. A template that holds anything else is refused when it is registered,
    with its line. The variables:

    - `instructions`; `prompt`, `completion` (in pairwise `first` and `second`) and `reference`, each within its
      fence, and empty where the item has none;
    - `scale.min` and `scale.max`: pointwise, and a rubric's overall judgement;
    - `criteria`, a list whose elements have `name`, `text` and `weight`: rubric and principles. With `calls: each` it
      has one element in every call.

    How to answer is added at the end, with a code that stands in no text that the judge is shown.

    ## What a completion can try

    Completions, prompts and references stand between fences, and the judge is told that they are material, never
    instructions. Tokens of chat templates (`<|im_start|>`, `[INST]`, `</s>`), headings of roles, fences, verdicts in
    double brackets and characters that nobody sees are made harmless: `<|im_end|>` becomes `‹¦im_end¦›`. `detail`
    says how many were changed (`neutralised`) and how many characters were left out of long texts (`left_out`);
    `detail: full` lists the changes with their places. A verdict counts only behind the code of the item, which the
    completion cannot know: a judge that repeats the completion repeats no verdict.

    A completion that is empty, or nothing but punctuation and openings such as ":", "Solution" or "Let's think step
    by step", never reaches a judge: it is `rejected` with the lowest score, unless it is the reference's answer word
    for word.

    ## Panels

    With `panel` or `samples` several votes are counted. By `majority`, a yes, or one side of a pair, stands if more
    than half of all votes are for it; a vote that is missing counts against every majority, and where missing votes
    could still decide, the item is unscored. By `mean`, more than half of the votes must be there. A verdict with
    votes missing is not reused.

    ## Outcomes

    | stage | meaning |
    |---|---|
    | `judged` | judges decided; `votes` has each one's verdict where it is a single one, null for a missing one |
    | `empty` | the completion says nothing: `rejected`, the lowest score |
    | `same` | a pair of the same text twice: a tie, without a judge |
    | `section` | its thinking never ends: `unparseable`, the lowest score |

    Whatever goes wrong on the judge's side leaves the item `unscored` with its own error: `judge_refused`,
    `judge_empty`, `judge_cut_off`, `judge_off_scale`, `judge_unreadable`, `context_overflow`, `content_filtered`,
    `backend_unavailable`. `usage` in `detail` has calls, tokens and cost.
    """

    kind: ClassVar[str] = "judge"
    revision: ClassVar[int] = 2
    deterministic: ClassVar[bool] = False
    cache: ClassVar[Literal["none", "memory"]] = "memory"
    Config: ClassVar[type[BaseModel]] = JudgeConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(Reference, config=ConfigDict(strict=True))
    examples: ClassVar[Sequence[Example]] = ()
    guarded: ClassVar[Sequence[str]] = ()
    sandboxed: ClassVar[bool] = False

    def __init__(self, config: JudgeConfig) -> None:
        self.config = config
        self._rules = rules_for(config)
        check_output(config, self._rules)
        _check_panel(config)
        self._panel = Panel(config, self._rules)

    @property
    def compares(self) -> bool:
        """See `verifiers.lent.Prefers`."""
        return isinstance(self._rules, Pairwise)

    def share(self, score: float, reference: Any = None) -> float:
        """Where a score lies between the lowest (0) and the highest (1) that an item of this reference can have."""
        case = self._rules.case("", "", self._reference(reference))
        lowest, highest = self._rules.lowest(case), self._rules.highest(case)
        return (score - lowest) / (highest - lowest)

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        """One verdict per item, in order, by the deadline."""
        return await self._each(items, ctx, self._verify_one)

    async def prefer(self, pairs: Sequence[Pair], ctx: Context) -> list[Verdict]:
        """See `verifiers.lent.Prefers`. In pairwise mode the judge compares; else each one's score is compared."""
        if isinstance(self._rules, Pairwise):
            return await self._each(pairs, ctx, self._compare_one)
        scored = await self.verify([item for pair in pairs for item in (pair.first, pair.second)], ctx)
        return [_higher(first, second) for first, second in zip(scored[::2], scored[1::2], strict=True)]

    async def probe(self, ctx: Context) -> dict[str, Any]:
        """See `verifiers.lent.HasProbes`. One task instead of several where an item takes many calls."""
        many = len(self.config.criteria or self.config.principles or ()) * seats(self.config) > MANY_CALLS
        return await probe(self, ctx, TASKS[:1] if many else TASKS)

    async def _each(
        self, works: Sequence[W], ctx: Context, one: Callable[[W, Session], Awaitable[Verdict]]
    ) -> list[Verdict]:
        """The verdict of `one` on each, some at a time; those that it does not finish are past the deadline."""
        verdicts = [past_deadline()] * len(works)
        if ctx.backends is None:
            message = "this process reaches no backends"
            return [Verdict.unscored(ErrorType.BACKEND_UNAVAILABLE, message, retryable=True)] * len(works)
        if time.monotonic() > ctx.deadline or not works:
            return verdicts
        session = self._panel.session(ctx.backends, ctx.deadline, CALLS_AT_ONCE)
        left = iter(enumerate(works))

        async def work() -> None:
            for position, thing in left:
                try:
                    verdicts[position] = await one(thing, session)
                except BadItemError as error:
                    verdicts[position] = Verdict.bad_item(str(error))

        tasks = [asyncio.create_task(work()) for _ in range(min(ITEMS_AT_ONCE, len(works)))]
        try:
            await asyncio.wait(tasks, timeout=max(0.0, ctx.deadline + MARGIN_S - time.monotonic()))
        finally:
            for task in tasks:
                task.cancel()
            session.close()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
        return verdicts

    async def _verify_one(self, item: Item, session: Session) -> Verdict:
        async with session.pace:
            reference = self._reference(item.reference)
            text = section(item, self.config.section)
            case = self._rules.case(text or "", transcript(item.prompt), reference)
            lowest = self._rules.lowest(case)
            if text is None:
                return Verdict(Outcome.UNPARSEABLE, lowest, {"stage": "section"})
            if self._says_nothing(text, reference):
                return Verdict(Outcome.REJECTED, lowest, {"stage": "empty"})
            if _is_same(case):
                return Verdict(Outcome.SCORED, 0.5, {"stage": "same"})
            ready = await self._panel.ready(case)
        return await self._judged(case, ready, session)

    async def _compare_one(self, pair: Pair, session: Session) -> Verdict:
        async with session.pace:
            reference = self._reference(pair.first.reference)
            texts = [section(item, self.config.section) for item in (pair.first, pair.second)]
            first, second = (text is None or self._says_nothing(text, reference) for text in texts)
            if first or second:  # what says something is better than what does not
                return Verdict(Outcome.SCORED, 0.5 + (second - first) / 2, {"stage": "empty"})
            case = Pairwise.pair(texts[0] or "", texts[1] or "", transcript(pair.first.prompt), reference)
            if _is_same(case):
                return Verdict(Outcome.SCORED, 0.5, {"stage": "same"})
            ready = await self._panel.ready(case)
        return await self._judged(case, ready, session)

    async def _judged(self, case: Case, ready: Ready, session: Session) -> Verdict:
        heard = await self._panel.hear(case, ready, session)
        neutralised = sum(shown.changes for shown in ready.shown.values())
        left_out = sum(shown.left_out for shown in ready.shown.values())
        detail = {
            "stage": "judged",
            **({"votes": votes} if (votes := _single(heard)) else {}),
            **({"missing": heard.missing} if heard.missing else {}),
            **({"neutralised": neutralised} if neutralised else {}),
            **({"left_out": left_out} if left_out else {}),
            "usage": heard.usage(),
        }
        changed = {
            name: [{"at": at, "was": was} for at, was in shown.changed]
            for name, shown in ready.shown.items()
            if shown.changed
        }
        full = {"answers": heard.quoted(), **({"changed": changed} if changed else {})}
        verdicts = {name: verdict for name, verdict in heard.verdicts.items() if verdict is not None}
        if len(verdicts) < len(heard.verdicts):
            error = heard.error()
            verdict = Verdict.unscored(error.type, clip(str(error), 500), retryable=error.retryable)
            return replace(verdict, detail=detail, full=full)
        found = self._rules.score(verdicts, case)
        return Verdict(
            found.outcome,
            found.score,
            detail,
            full,
            dict(found.components),
            transient=heard.missing > 0,  # with that vote it might be another one
        )

    def _reference(self, value: Any) -> JudgeReference:
        """The item's reference. Raises `BadItemError`."""
        found = parse_reference(self.reference, value)
        if isinstance(found, JudgeReference):
            return found
        if self.config.mode == "pairwise":
            return JudgeReference(completion=None if found is None else str(found))
        return JudgeReference(answer=found)

    def _says_nothing(self, text: str, reference: JudgeReference) -> bool:
        answer = None if reference.answer is None else str(reference.answer)
        return says_nothing(cut(text.strip(), self.config.max_chars)[0], answer)


def _check_panel(config: JudgeConfig) -> None:
    """Raise `ConfigError` for a panel that cannot vote."""
    known = {config.backend}
    for position, backend in enumerate(config.panel):
        if backend in known:
            raise ConfigError(
                f"{backend} is on the panel twice; for more votes of one judge set samples", f"/panel/{position}"
            )
        known.add(backend)
    if seats(config) > MAX_SEATS:
        raise ConfigError(f"{seats(config)} votes of an item, {MAX_SEATS} are allowed", "/samples")
    if config.samples > 1 and config.temperature == 0:
        raise ConfigError("several samples are all the same at temperature 0; set a temperature", "/samples")
    if config.vote == "majority" and (config.mode == "pointwise" or config.combine == "overall"):
        raise ConfigError("numbers have a mean, not a majority; leave it out", "/vote")


def _is_same(case: Case) -> bool:
    """Whether a case is a pair of the same text twice: a tie, whatever a judge would say of their order."""
    return "first" in case.texts and case.texts["first"] == case.texts["second"]


def _single(heard: Heard) -> list[float | None]:
    """The votes where there is one verdict."""
    return list(next(iter(heard.votes.values()))) if len(heard.votes) == 1 else []


def _higher(first: Verdict, second: Verdict) -> Verdict:
    """Which of two scored completions is preferred."""
    for verdict in (first, second):
        if verdict.score is None:
            return verdict
    if first.score is None or second.score is None:
        raise AssertionError("both are scored")
    preferred = 0.5 + ((first.score > second.score) - (first.score < second.score)) / 2
    detail = {"stage": "scores", "scores": [first.score, second.score]}
    return Verdict(Outcome.SCORED, preferred, detail, transient=first.transient or second.transient)

"""The kind `math`: whether the final answer of a completion is mathematically the reference.

`extract` finds the answer and `reading` says what it is; `compare` decides what exact arithmetic, `algebra` and
`intervals` can, on the event loop in microseconds or, for long lists and formulas, in guarded workers (`case`); `cas`
evaluates what is left in guarded workers (`settle`). `cost` refuses what would take too long before anything is
computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, TypeAdapter

from verifiers.base import (
    BadItemError,
    Context,
    Example,
    Item,
    Outcome,
    Verdict,
    register,
    verify_each,
)
from verifiers.math.case import Case
from verifiers.math.config import MathConfig, policy_of
from verifiers.math.extract import Found, find_answers, find_box, find_whole
from verifiers.math.gold import REFERENCE, gold_of, read_as
from verifiers.math.settle import Waiting, settle
from verifiers.math.values import Scalar, is_bare
from verifiers.thinking import final_section


@register
class Math:
    r"""Decides whether the final answer of a completion is mathematically the reference: score 1 or 0.

    ## Reference

    A string or a number: `"\\frac{1}{2}"`, `"1,234"`, `"(2, \\infty)"`, `42`; LaTeX or plain text, with or without
    `$` and `\boxed`. To say what kind of answer it is, send `{"answer": "1,2", "type": "set"}`:

    | type | what it means |
    |---|---|
    | `auto` | The default: read from how the reference is written, as below. |
    | `integer` | The reference must be an integer; the answer must be the same number. |
    | `number` | The reference must have no symbols. |
    | `expression` | The reference is one value; it may have symbols. `y = 2x` is taken as `2x`. |
    | `equation` | Both must be equations, one a constant multiple of the other: `2x = 5` for `4x - 10 = 0`. |
    | `tuple` | Order and number of the items count; brackets do not. A column vector is a tuple. |
    | `set` | Neither order nor repetition counts; brackets do not. |
    | `multiset` | Repetition counts, order does not. |
    | `interval` | An interval or a union of them; `1 < x < 2`, `x^2 < 4` and `\{x \mid 1 < x < 2\}` are one. |
    | `matrix` | A matrix, or a list of lists. |
    | `choice` | One letter: `C`, `(c)`, `\text{(C) } 15`. |

    With `auto`, `(1, 2)` is a tuple or an open interval, `\{1, 2\}` a set, and a bare list `1, 2` a multiset (which
    a tuple equals in order). `w=16, d=3` is compared by its names where both sides have them, else in order. `1,234`
    is one number outside brackets. A single capital from A to J is a choice. Plain words are compared as words, a
    time of day (`4:30`) as written.

    A reference that is empty, not of its declared type, without a value, or too costly to evaluate gives `unscored`
    with `bad_item`; one that is too costly still accepts an answer that is written the same.

    ## Where the answer is

    Only what follows the thinking part counts: a lone `</think>` ends it (the prompt's template may have opened it),
    and a thinking part that never ends means that there is no answer. Marks of the end of a sequence (`</s>`,
    `<|im_end|>`, ...) are dropped. Of the last 131,072 characters:

    1. If there are `<answer>` tags, only what is inside them. A tag that is never closed means no answer.
    2. The last 16 boxes (`\boxed`, `\fbox`); empty ones and `\phantom` are placeholders. A box that is cut off means
       no answer, whatever came before.
    3. Without boxes, claims: `The answer is ...`, `Answer: ...`, or a last line `#### ...` or `A: ...`.
    4. Without either, all that the tag holds, or the last line, if only one value is in it.

    If these are several different answers, all must be right, or together be the items of a reference that is a list;
    else the outcome is `rejected`. So it is for a list where the reference is one value (`3 or 4`).

    ## What is equal

    - Numbers exactly: integers, decimals, fractions, mixed numbers, scientific notation, repeating decimals. Nothing
      is rounded, unless a relative `tolerance` is configured. `0.3...`, `2\infty` and `1/\infty` are no numbers.
    - Expressions if they are equal for all values of their symbols: decided by exact algebra where there are only
      sums, products, quotients, whole powers and square roots of numbers; by precise evaluation at close and distant,
      positive and negative points else (`\sqrt{x^2}` and `|x|` are not `x`, `|x+1000|` is not `x+1000`).
    - Names are dropped (`x = 5` is `5`, `f(2) = 5` is `5`), but an equation that is yet to be solved is not its right
      side (`3t = 5` is not `5`), and every member of a chain must be right (`2+2=5` is not `5`).
    - An integral, sum, limit, derivative or determinant is no answer unless the reference holds one; an answer that
      the grammar of expressions does not read is none where it reads the reference.
    - Degrees equal multiples of pi (`90^\circ` is `\pi/2`). Letters are no units (`3t` is not `3`, `2mg` not `2`);
      words around a number are dropped (`12 apples`), unless they qualify it (`at least 12`, `12 squared`).

    ## Verdict

    `detail` has the deciding `stage`, the `answer` that was taken, the reference's normal form as `gold`, a `reason`
    where there is more to say, and `warnings`: what was taken for granted (`only the answer states a unit: cm`).
    `detail: full` adds the answer's `span` in the completion (characters, the end exclusive) and both normal forms.

    | stage | decides |
    |---|---|
    | `extract` | There is no answer (`unparseable`), or there are several (`rejected`). |
    | `string` | Both have the same normal form, or the same words or choice. |
    | `rational` | Exact rational numbers. |
    | `algebraic` | Rational functions with square roots of numbers, `i`, `\pi` and `e`, modulo a prime of 127 bits. |
    | `interval` | Bounds in double precision that do not meet: proof that the two are different. |
    | `form` | A different structure or unit, or a rule of `form` broken (`rejected`). |
    | `numeric` | Expressions, evaluated precisely in a guarded worker. |
    | `cas` | What only Math-Verify's parser and SymPy read, in a guarded worker. |
    | `cost_guard` | Evaluating the answer could take too long: `rejected`, before anything is computed. |
    | `guard` | The answer broke a worker's limits: `timeout`, `memory_exceeded`, `crashed`. |

    An answer whose structure is read has at most 1,000 characters, 32 items in a list, 8 lists and 16 brackets
    within each other; all boxes together, 1,500 braces and commands. What takes more than about 4 ms to read and
    compare, such as two lists of 12 items, is judged in a worker, with the same verdict. A worker gives an answer 2
    seconds of CPU time and 512 MB; a reference that needs more than 1 second by itself is the caller's fault
    (`bad_item`). Functions that differ only where their values have thousands of digits, such as `e^{39x}|x+1000|`
    and `e^{39x}(x+1000)`, are not told apart.
    """

    kind: ClassVar[str] = "math"
    revision: ClassVar[int] = 3
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "memory"
    Config: ClassVar[type[BaseModel]] = MathConfig
    reference: ClassVar[TypeAdapter[Any]] = REFERENCE
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion="6 * 7 is \\boxed{42}.", reference="42"), 1.0),
        Example(Item(completion="The answer is 0.5.", reference="\\frac{1}{2}"), 1.0),
        Example(Item(completion="<answer>x > 2</answer>", reference="(2, \\infty)"), 1.0),
        Example(Item(completion="So it is \\boxed{\\frac{1}{\\sqrt{2}}}.", reference="\\frac{\\sqrt{2}}{2}"), 1.0),
        Example(Item(completion="\\boxed{2\\ln 2}", reference="\\ln 4"), 1.0),
        Example(Item(completion="\\boxed{\\frac{1}{3}}", reference="\\int_0^1 x^2\\,dx"), 1.0),
        Example(Item(completion="\\boxed{2, 1}", reference={"answer": "1,2", "type": "set"}), 1.0),
        Example(Item(completion="\\boxed{\\sqrt{2}}", reference="\\sqrt{3}"), 0.0),
        Example(Item(completion="\\boxed{\\int_0^1 x^2\\,dx}", reference="\\frac{1}{3}"), 0.0),
        Example(Item(completion="It is \\boxed{41} or \\boxed{42}.", reference="42"), 0.0),
        Example(Item(completion="\\boxed{100 \\text{ cm}}", reference="1 \\text{ m}"), 0.0),
        Example(Item(completion="\\boxed{100 \\text{ cm}}", reference="1 \\text{ m}"), 1.0, {"units": "convert"}),
        Example(Item(completion="\\boxed{9\\%}", reference="0.09"), 0.0),
        Example(Item(completion="\\boxed{9\\%}", reference="0.09"), 1.0, {"percent": "value"}),
        Example(Item(completion="\\boxed{52_8}", reference="42"), 0.0),
        Example(Item(completion="\\boxed{52_8}", reference="42"), 1.0, {"bases": "value"}),
        Example(Item(completion="\\boxed{\\frac{2}{4}}", reference="\\frac{1}{2}"), 0.0, {"form": "lowest_terms"}),
        Example(Item(completion="\\boxed{3.14}", reference="\\pi"), 1.0, {"tolerance": 0.001}),
    )
    guarded: ClassVar[Sequence[str]] = ("verifiers.math.cas", "verifiers.math.case")
    sandboxed: ClassVar[bool] = False

    def __init__(self, config: MathConfig) -> None:
        self._config = config
        self._policy = policy_of(config)
        self._find = {"final": find_answers, "boxed": find_box, "whole": find_whole}[config.answer]

    def gold(self, reference: Any) -> str:
        """A completion that scores 1 if the reference can be used, to check a reference against itself.

        Raises `BadItemError` with the reason where it cannot be used at all. An expression is written in another way
        than the reference, so that scoring the completion evaluates it.
        """
        gold = gold_of(reference)
        text = gold.text
        value = gold.value
        if self._config.form == "any" and isinstance(value, Scalar) and is_bare(value) and value.exact is None:
            other = f"0+({value.source})"
            text = text if read_as(other, gold.type).value is None else other
        completion = f"\\boxed{{{text}}}" if self._config.answer != "whole" else text
        found = self._find(final_section(Item(completion=completion)) or "")
        if [span.text for span in found.answers] != [text]:
            raise BadItemError("reference: no completion can give it as its answer; check its braces and tags")
        return completion

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        """One verdict per item; what needs evaluation or takes long goes to the guarded workers in one call."""
        waiting: list[Waiting] = []
        placeholders: dict[int, int] = {}

        def begin(item: Item) -> Verdict:
            result = self._begin(item)
            if isinstance(result, Verdict):
                return result
            placeholder = Verdict(Outcome.PENDING, None)
            placeholders[id(placeholder)] = len(waiting)
            waiting.append(result)
            return placeholder

        verdicts = await verify_each(items, ctx, begin)
        if not waiting:
            return verdicts
        settled = await settle(waiting, self._config, ctx)
        return [settled[placeholders[id(v)]] if id(v) in placeholders else v for v in verdicts]

    def _begin(self, item: Item) -> Verdict | Waiting:
        case = self._case(item)
        if case.costly:
            return Waiting(case)
        attempt = case.attempt(self._policy, self._config.form)
        if isinstance(attempt, Verdict):
            return attempt
        result = attempt.judge({})
        return result if isinstance(result, Verdict) else Waiting(case, attempt, result)

    def _case(self, item: Item) -> Case:
        section = final_section(item)
        if section is None:
            return Case(item.reference, (), "the thinking part never ends", False, 0)
        found: Found = self._find(section)
        distinct = list({span.text: span for span in found.answers}.values())
        distinct.sort(key=lambda span: span.start)
        answers = distinct[-1:] if self._config.several == "last" else distinct
        return Case(
            item.reference, tuple(answers), found.missing, found.form == "line", len(item.text) - len(section)
        )

"""`regex`: the completion matches a pattern, so often, or holds the expected text where a group of it stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, TypeAdapter

from verifiers.base import (
    BadItemError,
    ConfigError,
    Example,
    Item,
    KindConfig,
    Outcome,
    Verdict,
    clip,
    parse_reference,
    register,
)
from verifiers.direct import DirectKind
from verifiers.regex.patterns import (
    MAX_GROUPS,
    BacktrackError,
    Backtracking,
    Linear,
    Mode,
    Pattern,
    PatternError,
    compile_linear,
    compile_pattern,
    readable,
)
from verifiers.thinking import Section, section

INLINE_STEPS = 500_000
"""Characters times states of the pattern that take 2 ms at the worst."""
INLINE_CHARS = 262_144
"""Characters that are encoded and searched for their sections in well under a millisecond."""
CAPTURE_STEPS = 6
"""How many of those steps one takes where groups are captured."""
MATCH_STEPS = 6_000
"""Steps in which one match is made, however short."""
MAX_COUNT = 10_000
MAX_ALLOWED = 1_000
"""Expected texts in one reference."""
MAX_REFERENCE_CHARS = 50_000
"""Characters of all expected texts of one reference."""


class RegexConfig(KindConfig):
    """The pattern, and what is asked of its matches."""

    pattern: str | None = Field(
        None,
        min_length=1,
        description="RE2 syntax; look-around and back-references work too, slower. "
        "null: each item's reference is its pattern.",
        examples=[r"^The answer is \d+\.$"],
    )
    mode: Mode = Field(
        "search",
        description="`search`: the pattern matches somewhere in the text; `fullmatch`: it matches all of it.",
    )
    negate: bool = Field(False, description="Correct where the pattern does not match, or not so often.")
    flags: str = Field(
        "",
        pattern="^[ims]*$",
        description="Any of `i` (ignore case, of a group's text too), `m` (`^` and `$` match at line ends) and `s` "
        "(the dot matches a line end).",
    )
    group: Annotated[int, Field(ge=0, le=MAX_GROUPS)] | Annotated[str, Field(min_length=1, max_length=100)] | None = (
        Field(
            None,
            description="A group of the pattern, by number or name, whose text must be the reference. 0 is the whole "
            "match. null: that the pattern matches is enough.",
            examples=[1, "answer"],
        )
    )
    several: Literal["reject", "first", "last"] = Field(
        "reject",
        description="With `group`, where matches hold different texts: `reject` takes them for a list of guesses; "
        "`first` or `last` compares that one.",
    )
    min_count: int = Field(1, ge=0, le=MAX_COUNT, description="Matches, side by side, that there must be at least.")
    max_count: int | None = Field(
        None, ge=0, le=MAX_COUNT, description="Matches that there may be at most. null: any number."
    )
    reward: Literal["all", "fraction"] = Field(
        "all",
        description="`all`: 1 where there are enough matches, else 0; `fraction`: of fewer than `min_count`, their "
        "share of it.",
    )
    section: Section = Field(
        "whole",
        description="`whole`: the whole completion, since patterns often speak of its tags; `final`: what follows "
        "the thinking part, if there is one.",
    )


_PATTERN: TypeAdapter[str | None] = TypeAdapter(Annotated[str, Field(min_length=1)] | None)


def _expected(value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadItemError("reference: send the text, or a list of texts, that the group must hold")
    if not 0 < len(texts) <= MAX_ALLOWED or sum(map(len, texts)) > MAX_REFERENCE_CHARS:
        raise BadItemError(
            f"reference: must hold 1 to {MAX_ALLOWED} texts of {MAX_REFERENCE_CHARS} characters in all"
        )
    if any(text.strip() == "" for text in texts):
        raise BadItemError("reference: an expected text is empty")
    return texts


@register
class Regex(DirectKind[RegexConfig]):
    r"""Search the completion for a regular expression: whether, how often, or with what in a group it matches.

    For answers in a fixed form, phrases that must or must not occur, answers to pick out of a sentence, and simple
    format rules.

    Patterns have [RE2's syntax](https://github.com/google/re2/wiki/Syntax), and a search takes time in proportion to
    the text, whatever the pattern: `(a+)+$` is harmless. In RE2, `$` without `m` matches at the very end only, and
    `\d`, `\w` and `\b` know ASCII; write `\pL` or `\p{Nd}` for Unicode.

    A pattern that needs what RE2 has not (look-around, back-references, possessive or atomic groups, counts over
    1,000) runs with the backtracking engine of Python's [regex](https://github.com/mrabarnett/mrab-regex) package in
    a worker process, where `\d`, `\w` and `\b` know Unicode. That costs about a tenth of a millisecond an item, and
    may run out of time.

    ## Reference
    Where no pattern is configured, the pattern: 1 to 4,096 characters. With `group`, the text that it must hold, or a
    list of up to 1,000 of which any may be it; white space at the ends does not count. Otherwise it is not read.

    ## Outcomes
    `correct`, `incorrect`, and with `"reward": "fraction"` `partial`. With `group`: `unparseable` where the pattern
    does not match, so that there is no answer; `rejected` where its matches hold different texts. `unparseable`
    also with `"section": "final"` where the thinking part never ends. `timeout`, with score 0 also under `negate`,
    where a search used up its CPU time (3 seconds with the backtracking engine).

    `detail.stage` is the engine, `re2` or `regex`; `detail.matched` says whether the pattern matched, `detail.count`
    how often as far as that was counted, and `detail.answer` what the group holds.

    ## Limits
    A lone surrogate in a completion is read as U+FFFD. RE2 has 1 MiB for a pattern. A pattern for the backtracking
    engine has at most 1,000 characters and 200 groups, its counted repetitions come to at most 10,000 characters when
    written out, and the flags `x` and `V1` are refused. A pattern that matches the empty text, such as `a*`, finds
    itself in every completion under `search`; where matches are counted or compared, empty ones are none.
    """

    kind: ClassVar[str] = "regex"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "memory"
    Config: ClassVar[type[BaseModel]] = RegexConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(
        Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1, max_length=MAX_ALLOWED)] | None
    )
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion="The answer is 42.", reference=r"\b42\b"), 1.0),
        Example(Item(completion="The answer is 420.", reference=r"\b42\b"), 0.0),
        Example(
            Item(completion="<think>6 * 7</think>\n<answer>42</answer>"),
            1.0,
            {"pattern": r"<think>.*</think>\s*<answer>.*</answer>", "mode": "fullmatch", "flags": "s"},
        ),
        Example(
            Item(completion="As an AI, I have no opinion."),
            0.0,
            {"pattern": "as an ai", "flags": "i", "negate": True},
        ),
        Example(
            Item(completion="It heats up, so the answer is (b).", reference="B"),
            1.0,
            {"pattern": r"answer is \(?([A-D])\b", "group": 1, "flags": "i"},
        ),
        Example(
            Item(completion="The answer is A. No, the answer is B.", reference="B"),
            0.0,
            {"pattern": r"answer is ([A-D])\b", "group": 1},
        ),
        Example(
            Item(completion="Step 1: think.\nStep 2: answer."),
            0.5,
            {"pattern": r"^Step \d+:", "flags": "m", "min_count": 4, "reward": "fraction"},
        ),
        Example(Item(completion="correct8horse"), 1.0, {"pattern": r"^(?=.*\d)(?=.*[a-z]).{8,}$"}),
    )

    def __init__(self, config: RegexConfig) -> None:
        super().__init__(config)
        self._flags = f"(?{config.flags})" if config.flags else ""
        self._counts = config.min_count != 1 or config.max_count is not None
        self._limit = config.min_count if config.max_count is None else config.max_count + 1
        """How many matches need to be counted."""
        for unfit, message, field in _unfit(config, counts=self._counts):
            if unfit:
                raise ConfigError(message, f"/{field}")
        self._pattern: Pattern | None = None
        if config.pattern is not None:
            try:
                self._pattern = compile_pattern(self._flags + config.pattern, captures=config.group is not None)
            except PatternError as error:
                raise ConfigError(str(error), "/pattern") from None
            if config.group is not None:
                _require_group(self._pattern, config.group)

    def costly(self, item: Item) -> bool:
        """See `DirectKind.costly`."""
        pattern: Pattern | str | None = self._pattern
        if pattern is None and isinstance(item.reference, str):
            try:
                pattern = compile_linear(self._flags + item.reference)
            except PatternError:
                return False
        if not isinstance(pattern, Linear):
            return pattern is not None
        text, grouped = item.text, self.config.group is not None
        steps = len(text) * pattern.steps * (CAPTURE_STEPS if grouped else 1)
        if len(text) > INLINE_CHARS or steps > INLINE_STEPS:
            return True
        if not (self._counts or grouped) or self.config.mode == "fullmatch":
            return False
        searches = INLINE_STEPS // (steps + MATCH_STEPS)
        return pattern.searches(text, searches + 1) > searches  # each may read all of the text

    def verify_one(self, item: Item) -> Verdict:
        """See `DirectKind.verify_one`."""
        config = self.config
        pattern = self._pattern or self._from_reference(item)
        expected = [] if config.group is None else _expected(item.reference)
        text = section(item, config.section)
        if text is None:
            return Verdict(Outcome.UNPARSEABLE, 0.0, {"stage": "section"})
        stage = "regex" if isinstance(pattern, Backtracking) else "re2"
        try:
            if config.group is not None:
                return self._compared(pattern.found(text, config.mode, config.group), expected, stage)
            if self._counts:
                return self._counted(sum(1 for _ in islice(pattern.found(text, config.mode, 0), self._limit)), stage)
            matched = pattern.matches(text, config.mode)
        except BacktrackError:
            return Verdict(Outcome.TIMEOUT, 0.0, {"stage": stage})
        return Verdict.binary(matched != config.negate, stage, matched=matched)

    def _counted(self, count: int, stage: str) -> Verdict:
        config = self.config
        enough = config.min_count <= count and (config.max_count is None or count <= config.max_count)
        if config.reward == "fraction" and 0 < count < config.min_count:
            detail = {"stage": stage, "matched": False, "count": count}
            return Verdict(Outcome.PARTIAL, count / config.min_count, detail)
        return Verdict.binary(enough != config.negate, stage, matched=enough, count=count)

    def _compared(self, found: Iterator[str], expected: list[str], stage: str) -> Verdict:
        """The verdict on what a group holds at its matches."""
        answer: str | None = None
        for held in found:
            if answer is not None and self._plain(held) != self._plain(answer) and self.config.several == "reject":
                answers = [clip(answer), clip(held)]
                return Verdict(Outcome.REJECTED, 0.0, {"stage": stage, "matched": True, "answers": answers})
            answer = held
            if self.config.several == "first":
                break
        if answer is None:
            return Verdict(Outcome.UNPARSEABLE, 0.0, {"stage": stage, "matched": False})
        right = self._plain(answer) in map(self._plain, expected)
        return Verdict.binary(right, stage, matched=True, answer=clip(answer))

    def _plain(self, text: str) -> str:
        """A group's text, or an expected one, as they are compared."""
        text = readable(text).strip()
        return text.casefold() if "i" in self.config.flags else text

    def _from_reference(self, item: Item) -> Pattern:
        source = parse_reference(_PATTERN, item.reference)
        if source is None:
            raise BadItemError("reference: send a pattern, or give one in the verifier's configuration")
        try:
            return compile_pattern(self._flags + source)
        except PatternError as error:
            raise BadItemError(f"reference: {error}") from None


def _unfit(config: RegexConfig, *, counts: bool) -> Sequence[tuple[bool, str, str]]:
    """Whether fields do not go together, why, and the one to change."""
    grouped, low, high = config.group is not None, config.min_count, config.max_count
    no_pattern = grouped and config.pattern is None
    return (
        (no_pattern, "with a group the reference is the expected text: give a pattern", "group"),
        (grouped and config.negate, "what a group holds is compared, and cannot be negated", "negate"),
        (grouped and counts, "what a group holds is compared, and matches are not counted", "group"),
        (not grouped and config.several != "reject", "several goes with a group", "several"),
        (counts and config.mode == "fullmatch", "matches are counted with mode search", "mode"),
        (high is not None and high < low, "max_count is below min_count", "max_count"),
        (low == 0 and high is None, "no count is too small or too large: give min_count or max_count", "min_count"),
        (config.reward == "fraction" and (low < 2 or config.negate),
         "a fraction goes with a min_count above 1, and without negate", "reward"),
    )  # fmt: skip


def _require_group(pattern: Pattern, group: int | str) -> None:
    """Raise `ConfigError` unless the pattern has the group."""
    names, number = pattern.compiled.groupindex, pattern.compiled.groups
    if group in names if isinstance(group, str) else group <= number:
        return
    named = f", of which named: {', '.join(names)}" if names else ""
    raise ConfigError(clip(f"the pattern has no group {group}; it has {number}{named}"), "/group")

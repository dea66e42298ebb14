"""`regex`: the completion matches a pattern."""

from __future__ import annotations

from collections.abc import Sequence
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
    parse_reference,
    register,
)
from verifiers.direct import DirectKind
from verifiers.regex.patterns import (
    BacktrackError,
    Backtracking,
    Linear,
    Mode,
    Pattern,
    PatternError,
    compile_linear,
    compile_pattern,
)
from verifiers.thinking import Section, section

INLINE_STEPS = 500_000
"""Characters times states of the pattern that take 2 ms at the worst."""
INLINE_CHARS = 262_144
"""Characters that are encoded and searched for their sections in well under a millisecond."""


class RegexConfig(KindConfig):
    """The pattern and how it is applied."""

    pattern: str | None = Field(
        None,
        min_length=1,
        description="RE2 syntax; look-around and back-references work too, slower. "
        "null: each item's reference is its pattern.",
        examples=[r"^The answer is \d+\.$"],
    )
    mode: Mode = Field("search", description="search: matches anywhere; fullmatch: matches all of the text.")
    negate: bool = Field(False, description="Correct where the pattern does not match.")
    flags: str = Field(
        "",
        pattern="^[ims]*$",
        description="i: ignore case; m: ^ and $ match at line ends; s: the dot matches a line end.",
    )
    section: Section = Field(
        "whole", description="whole: the whole completion; final: what follows the thinking part, if there is one."
    )


@register
class Regex(DirectKind[RegexConfig]):
    """Search the completion for a regular expression, in linear time."""

    kind: ClassVar[str] = "regex"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "memory"
    Config: ClassVar[type[BaseModel]] = RegexConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(Annotated[str, Field(min_length=1)] | None)
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion="the answer is 42.", reference=r"\b42\b"), 1.0),
        Example(Item(completion="the answer is 420.", reference=r"\b42\b"), 0.0),
        Example(Item(completion="As an AI, I cannot"), 0.0, {"pattern": "as an ai", "flags": "i", "negate": True}),
        Example(Item(completion="2024-05-01"), 1.0, {"pattern": r"\d{4}-\d\d-\d\d", "mode": "fullmatch"}),
    )

    def __init__(self, config: RegexConfig) -> None:
        super().__init__(config)
        self._flags = f"(?{config.flags})" if config.flags else ""
        self._pattern: Pattern | None = None
        if config.pattern is not None:
            try:
                self._pattern = compile_pattern(self._flags + config.pattern)
            except PatternError as error:
                raise ConfigError(str(error), "/pattern") from None

    def costly(self, item: Item) -> bool:
        """See `DirectKind.costly`."""
        pattern: Pattern | str | None = self._pattern
        if pattern is None and isinstance(item.reference, str):
            try:
                pattern = compile_linear(self._flags + item.reference)
            except PatternError:
                return False
        size = len(item.text)
        if isinstance(pattern, Linear):
            return size > INLINE_CHARS or size * pattern.steps > INLINE_STEPS
        return pattern is not None

    def verify_one(self, item: Item) -> Verdict:
        """See `DirectKind.verify_one`."""
        config = self.config
        pattern = self._pattern or self._from_reference(item)
        text = section(item, config.section)
        if text is None:
            return Verdict(Outcome.UNPARSEABLE, 0.0, {"stage": "section"})
        stage = "regex" if isinstance(pattern, Backtracking) else "re2"
        try:
            matched = pattern.matches(text, config.mode)
        except BacktrackError:
            return Verdict(Outcome.TIMEOUT, 0.0, {"stage": stage})
        return Verdict.binary(matched != config.negate, stage, matched=matched)

    def _from_reference(self, item: Item) -> Pattern:
        source = parse_reference(self.reference, item.reference)
        if source is None:
            raise BadItemError("reference: send a pattern, or give one in the verifier's configuration")
        try:
            return compile_pattern(self._flags + source)
        except PatternError as error:
            raise BadItemError(f"reference: {error}") from None

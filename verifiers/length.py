"""`length`: a soft penalty for completions that are too long or too short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, TypeAdapter

from verifiers.base import BadItemError, ConfigError, Example, Item, KindConfig, Outcome, Verdict, register
from verifiers.direct import DirectKind
from verifiers.thinking import Section, section

INLINE_CHARS = 65_536
"""Characters whose words are counted in a millisecond or two."""
_CHUNK = 65_536

MAX_LENGTH = 2**31 - 1


class LengthConfig(KindConfig):
    """The range of lengths, and where in it the penalty begins.

    The default is DAPO's range of 20,480 tokens, the last fifth of them penalised, at four characters a token.
    """

    unit: Literal["characters", "words", "tokens"] = Field(
        "characters",
        description="`characters`: Unicode code points; `words`: between white space; `tokens`: the item's `tokens`, "
        "which the caller counts.",
    )
    min: int = Field(1, ge=0, le=MAX_LENGTH, description="Below this length the penalty is whole.")
    min_ramp: int = Field(
        0, ge=0, le=MAX_LENGTH, description="Units above `min` over which the penalty falls from whole to nothing."
    )
    max: int | None = Field(
        81_920, ge=0, le=MAX_LENGTH, description="Above this length the penalty is whole. null: nothing is too long."
    )
    max_ramp: int | None = Field(
        None,
        ge=0,
        le=MAX_LENGTH,
        description="Units below `max` over which the penalty rises from nothing to whole. null: a fifth of `max`.",
    )
    scale: Literal["penalty", "bonus"] = Field(
        "penalty", description="`penalty`: the score goes from 0 down to -1; `bonus`: from 1 down to 0."
    )
    section: Section = Field(
        "whole",
        description="`whole`: the whole completion, its thinking part included; `final`: what follows the thinking "
        "part, if there is one.",
    )


@register
class Length(DirectKind[LengthConfig]):
    """Score the completion's length: nothing is lost inside a range, and more and more towards its ends.

    The score is 0 inside the range and falls to -1 towards its ends and beyond. Add it to the reward for the answer.

    ## Configuration
    With length n, the penalty is the larger one of

        (min + min_ramp - n) / min_ramp      and      (n - (max - max_ramp)) / max_ramp

    each held between 0 and 1; a ramp of 0 is a step. The second is the soft overlong punishment of DAPO
    ([arXiv 2503.14476](https://arxiv.org/abs/2503.14476), eq. 13) with `max` as L_max and `max_ramp` as L_cache. The
    default is the paper's range, 20,480 tokens of which the last fifth is penalised, at four characters a token.

    ## Reference
    Not read.

    ## Outcomes
    `scored`; `detail.length` is the length. `unparseable`, with the lowest score, where the final section is asked
    for and the thinking part never ends. Without `tokens`, a verifier that reads them answers `unscored`.

    ## Limits
    White space and invisible characters are characters too, and padding with them is length: a `min` asks for length
    and not for content. Combine this kind with one that looks at the answer.
    """

    kind: ClassVar[str] = "length"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "none"
    Config: ClassVar[type[BaseModel]] = LengthConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(Any)
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion="Short and to the point."), 0.0),
        Example(Item(completion=""), -1.0),
        Example(Item(completion="...", tokens=18_432), -0.5, {"unit": "tokens", "max": 20_480, "max_ramp": 4_096}),
        Example(
            Item(completion="three little words"),
            0.25,
            {"unit": "words", "min": 2, "min_ramp": 4, "max": None, "scale": "bonus"},
        ),
        Example(
            Item(completion="<think>Let me see, and see again.</think>42"),
            0.0,
            {"max": 10, "max_ramp": 5, "section": "final"},
        ),
    )

    def __init__(self, config: LengthConfig) -> None:
        super().__init__(config)
        self.fault_score = self._score(1.0)
        self._max_ramp = (config.max or 0) // 5 if config.max_ramp is None else config.max_ramp
        if config.unit == "tokens" and config.section != "whole":
            raise ConfigError("an item's tokens are those of the whole completion", "/section")
        if config.max is None:
            if config.min == 0:
                raise ConfigError("no length is too short or too long: give min or max", "/max")
            return
        if config.min > config.max:
            raise ConfigError("max is below min", "/max")
        if config.min + config.min_ramp > config.max - self._max_ramp:
            message = (
                f"the ramps, {config.min_ramp} and {self._max_ramp}, leave no length without a penalty: shorten one"
            )
            raise ConfigError(message, "/max_ramp")

    def costly(self, item: Item) -> bool:
        """See `DirectKind.costly`."""
        return self.config.unit == "words" and len(item.text) > INLINE_CHARS

    def verify_one(self, item: Item) -> Verdict:
        """See `DirectKind.verify_one`."""
        text = section(item, self.config.section)
        if text is None:
            return Verdict(Outcome.UNPARSEABLE, self.fault_score, {"stage": "section"})
        length = self._length(item, text)
        score = self._score(self._penalty(length))
        return Verdict(Outcome.SCORED, score, {"stage": "length", "length": length})

    def _length(self, item: Item, text: str) -> int:
        match self.config.unit:
            case "characters":
                return len(text)
            case "words":
                return count_words(text)
            case "tokens":
                if item.tokens is None:
                    raise BadItemError("tokens: send the completion's length in tokens, which this verifier reads")
                return item.tokens

    def _penalty(self, length: int) -> float:
        """From 0, inside the range, to 1, beyond it."""
        config = self.config
        below = _ramp(config.min + config.min_ramp - length, config.min_ramp)
        above = 0.0 if config.max is None else _ramp(length - config.max + self._max_ramp, self._max_ramp)
        return max(below, above)

    def _score(self, penalty: float) -> float:
        return (1.0 if self.config.scale == "bonus" else 0.0) - penalty


def _ramp(beyond: int, width: int) -> float:
    """0 up to where the ramp begins, 1 from its end on; a ramp without width is a step."""
    if beyond <= 0:
        return 0.0
    return 1.0 if beyond >= width else beyond / width


def count_words(text: str) -> int:
    """Words between white space, counted piece by piece: splitting a long text at once takes much memory."""
    words = 0
    continues = False
    for start in range(0, len(text), _CHUNK):
        chunk = text[start : start + _CHUNK]
        words += len(chunk.split()) - (continues and not chunk[0].isspace())
        continues = not chunk[-1].isspace()
    return words

"""`length`: a soft penalty for completions that are too long or too short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, TypeAdapter

from verifiers.base import BadItemError, ConfigError, Example, Item, KindConfig, Outcome, Verdict, register
from verifiers.direct import DirectKind

INLINE_CHARS = 65_536
"""Characters whose words are counted in a millisecond or two."""
_CHUNK = 65_536

MAX_LENGTH = 2**31 - 1


class LengthConfig(KindConfig):
    """The range of lengths, and where in it the penalty begins.

    The default is DAPO's range of 20,480 tokens, the last 4,096 of them penalised, at four characters a token.
    """

    unit: Literal["characters", "words", "tokens"] = Field(
        "characters",
        description="characters: Unicode code points; words: between white space; tokens: the item's `tokens`.",
    )
    min: int = Field(1, ge=0, le=MAX_LENGTH, description="Below it the penalty is whole.")
    min_ramp: int = Field(
        0, ge=0, le=MAX_LENGTH, description="Units above min over which the penalty falls from whole to nothing."
    )
    max: int | None = Field(
        81_920, ge=0, le=MAX_LENGTH, description="Above it the penalty is whole. null: no length is too long."
    )
    max_ramp: int = Field(
        16_384, ge=0, le=MAX_LENGTH, description="Units below max over which the penalty rises from nothing to whole."
    )
    scale: Literal["penalty", "bonus"] = Field(
        "penalty", description="penalty: the score goes from 0 down to -1; bonus: from 1 down to 0."
    )


@register
class Length(DirectKind[LengthConfig]):
    """Score the completion's length: nothing is lost inside the range, and more and more towards its ends.

    The ramp at the upper end is the soft overlong punishment of DAPO (arXiv 2503.14476, eq. 13), where max is L_max
    and max_ramp is L_cache; the one at the lower end is its mirror image.
    """

    kind: ClassVar[str] = "length"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "none"
    Config: ClassVar[type[BaseModel]] = LengthConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(Any)
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion="Not too long."), 0.0),
        Example(Item(completion=""), -1.0),
        Example(Item(completion="...", tokens=18_432), -0.5, {"unit": "tokens", "max": 20_480, "max_ramp": 4_096}),
        Example(Item(completion="one two three"), 0.5, {"unit": "words", "max": 4, "max_ramp": 2, "scale": "bonus"}),
    )

    def __init__(self, config: LengthConfig) -> None:
        super().__init__(config)
        self.fault_score = self._score(1.0)
        if config.max is None:
            if config.min == 0:
                raise ConfigError("no length is too short or too long: give min or max", "/max")
            return
        if config.min > config.max:
            raise ConfigError("max is below min", "/max")
        if config.min + config.min_ramp > config.max - config.max_ramp:
            raise ConfigError("the two ramps leave no length without a penalty", "/max_ramp")

    def costly(self, item: Item) -> bool:
        """See `DirectKind.costly`."""
        return self.config.unit == "words" and len(item.text) > INLINE_CHARS

    def verify_one(self, item: Item) -> Verdict:
        """See `DirectKind.verify_one`."""
        length = self._length(item)
        score = self._score(self._penalty(length))
        return Verdict(Outcome.SCORED, score, {"stage": "length", "length": length})

    def _length(self, item: Item) -> int:
        match self.config.unit:
            case "characters":
                return len(item.text)
            case "words":
                return count_words(item.text)
            case "tokens":
                if item.tokens is None:
                    raise BadItemError("tokens: send the completion's length in tokens, which this verifier reads")
                return item.tokens

    def _penalty(self, length: int) -> float:
        """From 0, inside the range, to 1, beyond it."""
        config = self.config
        below = _ramp(config.min + config.min_ramp - length, config.min_ramp)
        above = 0.0 if config.max is None else _ramp(length - config.max + config.max_ramp, config.max_ramp)
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

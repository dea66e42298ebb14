"""What an instruction is: an id, its arguments, and the check of a text."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from verifiers.base import Strict
from verifiers.instructions.displayed import displayed
from verifiers.instructions.reading import Reading, folded, has_word
from verifiers.invisible import is_seen

MAX_NUMBER = 1_000_000
MAX_PHRASE = 500
"""Characters of a keyword or phrase."""
MAX_PHRASES = 100
MAX_COPIED = 100_000
"""Characters of a text to repeat."""


def _integral(value: Any) -> Any:
    """3.0 is 3: tables with absent arguments hold their integers as floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _phrase(value: str) -> str:
    if len(value) > MAX_PHRASE:
        raise PydanticCustomError("phrase", f"must have at most {MAX_PHRASE} characters")
    if not is_seen(value):
        raise PydanticCustomError("phrase", "must not be blank")
    return value.strip()


def _with_word(value: str) -> str:
    if not has_word(value):
        raise PydanticCustomError("word", "must hold a letter or a digit")
    return value


def _copied(value: str) -> str:
    if len(value) > MAX_COPIED:
        raise PydanticCustomError("copied", f"must have at most {MAX_COPIED} characters")
    if not has_word(displayed(value)):
        raise PydanticCustomError("copied", "must hold a letter or a digit")
    return value


Count = Annotated[int, BeforeValidator(_integral), Field(ge=0, le=MAX_NUMBER)]
Positive = Annotated[int, BeforeValidator(_integral), Field(ge=1, le=MAX_NUMBER)]
Phrase = Annotated[str, AfterValidator(_phrase)]
Word = Annotated[str, AfterValidator(_phrase), AfterValidator(_with_word)]
Phrases = Annotated[list[Phrase], Field(min_length=1, max_length=MAX_PHRASES, fail_fast=True)]
Words = Annotated[list[Word], Field(min_length=1, max_length=MAX_PHRASES, fail_fast=True)]
Copied = Annotated[str, AfterValidator(_copied)]
Relation = Literal["less than", "at least"]


class Instruction(Strict):
    """One instruction with its arguments, which are its fields."""

    model_config = ConfigDict(frozen=True)
    needs_language: ClassVar[bool] = False
    """Whether checking it detects a language, which only guarded workers can."""

    @abstractmethod
    def broken(self, reading: Reading) -> str:
        """Why the text does not follow the instruction, in a few words; empty where it does."""


INSTRUCTIONS: dict[str, type[Instruction]] = {}
"""Every instruction by its id."""

I = TypeVar("I", bound=type[Instruction])  # noqa: E741


def instruction(*ids: str) -> Callable[[I], I]:
    """Class decorator: add an instruction under its ids. Raises ValueError on an id that is taken."""

    def add(cls: I) -> I:
        for name in ids:
            if name in INSTRUCTIONS:
                raise ValueError(f"two instructions are named {name!r}")
            INSTRUCTIONS[name] = cls
        return cls

    return add


class Ranged(Instruction):
    """Base of an instruction that bounds a number from below, from above, or both."""

    min: Count | None = None
    max: Count | None = None

    @model_validator(mode="after")
    def _bounds(self) -> Ranged:
        if self.min is None and self.max is None:
            raise PydanticCustomError("range", "give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise PydanticCustomError("range", "min is larger than max")
        return self

    def outside(self, count: int, what: str) -> str:
        """Why `count` is out of bounds; empty where it is not."""
        if self.min is not None and count < self.min:
            return f"{count} {what}, at least {self.min} asked"
        if self.max is not None and count > self.max:
            return f"{count} {what}, at most {self.max} asked"
        return ""


def compared(count: int, relation: Relation, bound: int, what: str) -> str:
    """Why `count` does not stand in the relation to `bound`; empty where it does."""
    held = count < bound if relation == "less than" else count >= bound
    return "" if held else f"{count} {what}, {relation} {bound} asked"


def exactly(count: int, asked: int, what: str) -> str:
    """Why `count` is not what was asked; empty where it is."""
    return "" if count == asked else f"{count} {what}, {asked} asked"


def begins(words: list[str], phrase: str) -> bool:
    """Whether folded words begin with those of a phrase."""
    asked = folded(phrase)
    return words[: len(asked)] == asked


def ends(words: list[str], phrase: str) -> bool:
    """Whether folded words end with those of a phrase."""
    asked = folded(phrase)
    return words[-len(asked) :] == asked


def named(text: str, limit: int = 40) -> str:
    """A word or phrase in quotation marks, cut to a few characters."""
    return f"'{text if len(text) <= limit else text[: limit - 1] + '…'}'"

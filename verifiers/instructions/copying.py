"""Instructions to repeat the prompt, or not to, and to give two answers.

Where the public checkers are wrong:

- `repeat_prompt` accepts the prompt alone, without an answer. Here text follows. White space and, as there, case do
  not matter: other instructions may ask for capital letters.
- `two_responses` also splits longer rows of asterisks, and takes answers that differ in a full stop for different.
- `copy_span_idx` says "including" its last index and leaves it out. Here either will do.
- `repeat_phrase` takes the phrase for a pattern, and finds none across a line.
"""

from __future__ import annotations

from typing import Annotated

import regex
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from verifiers.instructions.displayed import displayed
from verifiers.instructions.instruction import (
    Copied,
    Count,
    Instruction,
    Positive,
    Word,
    exactly,
    instruction,
    named,
)
from verifiers.instructions.lengths import MAX_NGRAM, ngrams
from verifiers.instructions.reading import Reading, folded, has_word

_SIX = regex.compile(r"(?<!\*)\*{6}(?!\*)")


@instruction("combination:repeat_prompt")
class RepeatPrompt(Instruction):
    """The answer begins with this text, word for word, and goes on."""

    prompt_to_repeat: Copied

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        asked = " ".join(_parts(self.prompt_to_repeat))
        text = " ".join(_parts(reading.text))
        if not text.startswith(asked):
            return "does not begin with the text to repeat"
        return "" if has_word(text[len(asked) :]) else "nothing follows the text to repeat"


@instruction("combination:two_responses")
class TwoResponses(Instruction):
    """Two answers in different words, separated by six asterisks."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        parts = _SIX.split(reading.text)
        inner = [part for i, part in enumerate(parts) if part.strip() or 0 < i < len(parts) - 1]
        if wrong := exactly(len(inner), 2, "answers separated by six asterisks"):
            return wrong
        first, second = map(folded, inner)
        if not first or not second:
            return "an answer is empty"
        return "the two answers are the same" if first == second else ""


@instruction("copy:copy", "copy:copying_simple")
class Copy(Instruction):
    """The answer is this text and nothing else, case and white space aside."""

    prompt_to_repeat: Copied

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return "" if _same(reading.text, self.prompt_to_repeat) else "not the text to copy"


@instruction("copy:copying_multiple")
class CopyMultiple(Instruction):
    """The answer is this text `N` times, separated by six asterisks."""

    prompt_to_repeat: Copied
    N: Positive

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        parts = _SIX.split(reading.text)
        if wrong := exactly(len(parts), self.N, "parts separated by six asterisks"):
            return wrong
        return "" if all(_same(part, self.prompt_to_repeat) for part in parts) else "a part is not the text to copy"


@instruction("new:copy_span_idx")
class CopySpan(Instruction):
    """The answer is the text's characters from `n_start` to `n_end`, counted from 0."""

    prompt_to_repeat: Copied
    n_start: Count
    n_end: Count

    @model_validator(mode="after")
    def _within(self) -> CopySpan:
        if not has_word(self.prompt_to_repeat[self.n_start : self.n_end]):
            raise PydanticCustomError("span", "the span holds no word")
        return self

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        spans = (self.prompt_to_repeat[self.n_start : end] for end in (self.n_end, self.n_end + 1))
        return "" if any(_same(reading.text, span) for span in spans) else "not the span to copy"


@instruction("copy:repeat_phrase")
class RepeatPhrase(Instruction):
    """The phrase occurs exactly `small_n` times, each time with one word other than the first and last replaced."""

    phrase: Word
    small_n: Positive

    @model_validator(mode="after")
    def _long_enough(self) -> RepeatPhrase:
        if len(folded(self.phrase)) < 3:
            raise PydanticCustomError("phrase", "phrase must have three words or more")
        return self

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        phrase, words = folded(self.phrase), reading.folded
        count = i = 0
        while i <= len(words) - len(phrase):
            differing = len(phrase)
            if words[i] == phrase[0] and words[i + len(phrase) - 1] == phrase[-1]:
                differing = sum(a != b for a, b in zip(phrase, words[i : i + len(phrase)], strict=True))
            if differing == 0:
                return f"{named(self.phrase)} occurs unchanged"
            count += differing == 1
            i += len(phrase) if differing == 1 else 1
        return exactly(count, self.small_n, "variants of the phrase")


@instruction("copy:no_copy")
class NoCopy(Instruction):
    """No `n` words in a row are the text's."""

    prompt_to_repeat: Copied
    n: Annotated[Positive, Field(le=MAX_NGRAM)] = 10

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        known = set(ngrams(folded(self.prompt_to_repeat), self.n))
        for run in ngrams(reading.folded, self.n):
            if run in known:
                return f"{named(run)} is copied"
        return ""


def _parts(text: str) -> list[str]:
    return displayed(text).casefold().split()


def _same(text: str, other: str) -> bool:
    return _parts(text) == _parts(other)

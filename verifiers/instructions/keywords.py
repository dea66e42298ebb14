"""Instructions on words and letters that must or must not occur, and where.

Where the public checkers (google-research/instruction_following_eval, allenai/open-instruct IFEvalG) are wrong:

- They search for keywords as regular expressions inside words (`war` in `toward`; `c++` raises); forbidden words and
  `exclude_word_harder` are missed next to punctuation, or in another case. Here a keyword is a whole word.
- `letter_frequency` replaces a "letter" that is none, such as `#`, by a random letter. Here any character is counted.
- `word_count_different_numbers` says "should appear N times" and checks "at least" or "less than" N. Here it is N.
- `keyword_specific_position` and `start_end` count punctuation marks as words, and tell `The` from `the`.
- A forbidden word passes with a Cyrillic letter or a zero-width space inside. Here what looks like it counts.
- Absent arguments are drawn at random. Here they are an error of the reference.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from verifiers.instructions.instruction import (
    Count,
    Instruction,
    Phrase,
    Phrases,
    Positive,
    Ranged,
    Relation,
    Word,
    Words,
    begins,
    compared,
    ends,
    exactly,
    instruction,
    named,
)
from verifiers.instructions.reading import Reading, folded
from verifiers.invisible import is_seen


def _one(value: str) -> str:
    if len(value) != 1 or not is_seen(value):
        raise PydanticCustomError("letter", "must be one character")
    return value


@instruction("keywords:existence")
class Existence(Instruction):
    """Each keyword occurs."""

    keywords: Phrases

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        missing = [keyword for keyword in self.keywords if not reading.count(keyword)]
        return f"{named(missing[0])} does not occur" if missing else ""


@instruction("keywords:frequency")
class Frequency(Instruction):
    """The keyword occurs at least, or less than, so many times."""

    keyword: Phrase
    frequency: Count
    relation: Relation

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        count = reading.most(self.keyword) if self.relation == "less than" else reading.count(self.keyword)
        return compared(count, self.relation, self.frequency, f"times {named(self.keyword)}")


@instruction("keywords:forbidden_words")
class Forbidden(Instruction):
    """None of these words occurs."""

    forbidden_words: Phrases

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        found = [word for word in self.forbidden_words if reading.most(word)]
        return f"{named(found[0])} occurs" if found else ""


@instruction("keywords:letter_frequency", "letters:letter_counting2")
class LetterFrequency(Instruction):
    """The letter, or any one character, occurs at least, or less than, so many times, in either case."""

    letter: Annotated[str, AfterValidator(_one)]
    let_frequency: Count
    let_relation: Relation

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        if self.let_relation == "less than":
            count = reading.most_letters(self.letter)
        else:
            count = reading.text.lower().count(self.letter.lower())
        return compared(count, self.let_relation, self.let_frequency, f"times {named(self.letter)}")


@instruction("keywords:word_once")
class Once(Instruction):
    """The keyword occurs exactly once."""

    keyword: Phrase

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return exactly(reading.count(self.keyword), 1, f"times {named(self.keyword)}")


@instruction("keywords:word_count_different_numbers")
class Exactly(Instruction):
    """The keyword occurs exactly `frequency` times, whatever `relation` says: so the prompts ask."""

    keyword: Phrase
    frequency: Count
    relation: Relation | None = None

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return exactly(reading.count(self.keyword), self.frequency, f"times {named(self.keyword)}")


@instruction("keywords:exclude_word_harder")
class Excluded(Instruction):
    """The keyword does not occur."""

    keyword: Phrase

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return f"{named(self.keyword)} occurs" if reading.most(self.keyword) else ""


@instruction("count:count_increment_word")
class Increment(Instruction):
    """The first keyword occurs once, the second twice."""

    keyword1: Phrase
    keyword2: Phrase

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        once = exactly(reading.count(self.keyword1), 1, f"times {named(self.keyword1)}")
        return once or exactly(reading.count(self.keyword2), 2, f"times {named(self.keyword2)}")


@instruction("keywords:count_range")
class CountRange(Ranged):
    """The keyword occurs so many times."""

    keyword: Phrase

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return self.outside(reading.count(self.keyword), f"times {named(self.keyword)}")


@instruction("keywords:no_adjacent_consecutive")
class NoAdjacent(Instruction):
    """No two words side by side begin with letters that follow each other in the English alphabet."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        for first, second in pairwise(reading.folded):
            if "a" <= first[0] <= "y" and ord(second[0]) == ord(first[0]) + 1:
                return f"{named(first)} comes before {named(second)}"
        return ""


@instruction("keywords:keyword_specific_position")
class NthWord(Instruction):
    """The keyword is word number `m` of sentence number `n`."""

    keyword: Word
    n: Positive
    m: Positive

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        if len(reading.sentences) < self.n:
            return f"{len(reading.sentences)} sentences, the keyword is asked in number {self.n}"
        words = folded(reading.sentences[self.n - 1])
        held = begins(words[self.m - 1 :], self.keyword)
        return "" if held else f"word {self.m} of sentence {self.n} is not {named(self.keyword)}"


@instruction("keywords:start_end")
class SameEnds(Instruction):
    """The answer begins and ends with the same word, with nothing after it."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        words = reading.folded
        if len(words) < 2 or words[0] != words[-1]:
            return "the first and the last word differ"
        return "" if reading.text.rstrip().endswith(reading.words[-1]) else "something follows the last word"


@instruction("keywords:position")
class Position(Instruction):
    """One of these words stands first or last in the answer, in paragraph or sentence number `nth`, or (without
    `nth`) in each; with `forbidden`, none of them does."""

    words: Words
    where: Literal["first", "last"]
    of: Literal["response", "paragraph", "sentence"] = "response"
    nth: Positive | None = None
    forbidden: bool = False

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        parts = {"response": [reading.text], "paragraph": reading.paragraphs, "sentence": reading.sentences}[self.of]
        first = 1
        if self.nth is not None:
            if len(parts) < self.nth:
                return f"there is no {self.of} {self.nth}"
            first, parts = self.nth, parts[self.nth - 1 : self.nth]
        at = begins if self.where == "first" else ends
        for number, part in enumerate(parts, first):
            words = folded(part)
            if any(at(words, word) for word in self.words) == self.forbidden:
                allowed = "is a forbidden one" if self.forbidden else "is none of those asked"
                place = "the answer" if self.of == "response" else f"{self.of} {number}"
                return f"the {self.where} word of {place} {allowed}"
        return ""


@instruction("first_word:first_word_answer")
class FirstWord(Instruction):
    """The answer begins with this word."""

    first_word: Word

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        held = begins(reading.folded, self.first_word)
        return "" if held else f"does not begin with {named(self.first_word)}"


@instruction("last_word:last_word_answer")
class LastWord(Instruction):
    """The last word of the answer is this one; punctuation may follow."""

    last_word: Word

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return "" if ends(reading.folded, self.last_word) else f"does not end with {named(self.last_word)}"


@instruction("first_word:first_word_sent")
class FirstWordOfEach(Instruction):
    """Each sentence begins with this word."""

    first_word: Word

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        for number, sentence in enumerate(reading.sentences, 1):
            if not begins(folded(sentence), self.first_word):
                return f"sentence {number} does not begin with {named(self.first_word)}"
        return ""


@instruction("last_word:last_word_sent")
class LastWordOfEach(Instruction):
    """The last word of each sentence is this one."""

    last_word: Word

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        for number, sentence in enumerate(reading.sentences, 1):
            if not ends(folded(sentence), self.last_word):
                return f"sentence {number} does not end with {named(self.last_word)}"
        return ""

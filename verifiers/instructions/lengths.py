"""Instructions on how many words, sentences, paragraphs and characters there are, and on what repeats.

Where the public checkers are wrong:

- Words and sentences: see `verifiers.instructions.reading`.
- `number_paragraphs` splits at every `***`, also inside `***bold***` and `******`. Here a divider stands by itself.
- `nth_paragraph_first_word` leaves blank paragraphs out of the count and then looks the paragraph up with them in,
  takes `it's` for `it`, and rejects `**Weekend**`. Here both use the same paragraphs, and words are words.
- `counting_composition` asks for the divider `* * *` and looks for `***`, and counts the full stop as a word. Here
  either divider will do.
- `count_unique` rejects a second comma, and takes `The` and `the` for two words.
- `lowercase_counting` and `letter_counting` know the letters a to z only.
"""

from __future__ import annotations

from typing import Annotated

import regex
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from verifiers.instructions.instruction import (
    Count,
    Instruction,
    Positive,
    Ranged,
    Relation,
    Word,
    begins,
    compared,
    exactly,
    instruction,
    named,
)
from verifiers.instructions.reading import Reading, folded, has_word, sentences, words

_DIVIDER = regex.compile(r"^[ \t]*+\*[ \t]*+\*[ \t]*+\*[ \t]*+$|(?<!\S)\*{3}(?!\S)", regex.MULTILINE)
_LETTER = regex.compile(r"\p{L}")
MAX_NGRAM = 50


def divided(text: str) -> list[str] | None:
    """The paragraphs between dividers; None where one in the middle has no word. Those at the ends do not matter."""
    parts = _DIVIDER.split(text)
    if not has_word(parts[0]):
        parts = parts[1:]
    if parts and not has_word(parts[-1]):
        parts = parts[:-1]
    return parts if all(map(has_word, parts)) else None


def _divided_into(text: str, asked: int) -> str:
    parts = divided(text)
    return "a paragraph is blank" if parts is None else exactly(len(parts), asked, "paragraphs between dividers")


@instruction("length_constraints:number_words")
class NumberWords(Instruction):
    """At least, or less than, so many words."""

    num_words: Count
    relation: Relation

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return compared(len(reading.words), self.relation, self.num_words, "words")


@instruction("length_constraints:number_sentences")
class NumberSentences(Instruction):
    """At least, or less than, so many sentences."""

    num_sentences: Count
    relation: Relation

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return compared(len(reading.sentences), self.relation, self.num_sentences, "sentences")


@instruction("length_constraints:number_paragraphs")
class NumberParagraphs(Instruction):
    """Exactly so many paragraphs, separated by the divider `***`."""

    num_paragraphs: Positive

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return _divided_into(reading.text, self.num_paragraphs)


@instruction("paragraphs:paragraphs")
class TwoDivided(Instruction):
    """Exactly two paragraphs, separated by the divider `***`."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return _divided_into(reading.text, 2)


@instruction("paragraphs:paragraphs2")
class TwoParagraphs(Instruction):
    """Exactly two paragraphs, separated by a blank line."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return exactly(len(reading.paragraphs), 2, "paragraphs")


@instruction("length_constraints:nth_paragraph_first_word")
class NthParagraphFirstWord(Instruction):
    """Exactly so many paragraphs, separated by blank lines; number `nth_paragraph` begins with this word."""

    num_paragraphs: Positive
    nth_paragraph: Positive
    first_word: Word

    @model_validator(mode="after")
    def _there_is_one(self) -> NthParagraphFirstWord:
        if self.nth_paragraph > self.num_paragraphs:
            raise PydanticCustomError("nth", "nth_paragraph is larger than num_paragraphs")
        return self

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        if wrong := exactly(len(reading.paragraphs), self.num_paragraphs, "paragraphs"):
            return wrong
        held = begins(folded(reading.paragraphs[self.nth_paragraph - 1]), self.first_word)
        return "" if held else f"paragraph {self.nth_paragraph} does not begin with {named(self.first_word)}"


@instruction("length_constraints:word_range")
class WordRange(Ranged):
    """So many words."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return self.outside(len(reading.words), "words")


@instruction("count:word_count_range")
class WordCountRange(Instruction):
    """From `min_words` to `max_words` words (IFBench's spelling)."""

    min_words: Count
    max_words: Count

    @model_validator(mode="after")
    def _bounds(self) -> WordCountRange:
        if self.min_words > self.max_words:
            raise PydanticCustomError("range", "min_words is larger than max_words")
        return self

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        count = len(reading.words)
        held = self.min_words <= count <= self.max_words
        return "" if held else f"{count} words, {self.min_words} to {self.max_words} asked"


@instruction("length_constraints:sentence_range")
class SentenceRange(Ranged):
    """So many sentences."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return self.outside(len(reading.sentences), "sentences")


@instruction("length_constraints:words_per_sentence")
class WordsPerSentence(Ranged):
    """So many words in each sentence."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        for number, sentence in enumerate(reading.sentences, 1):
            if wrong := self.outside(len(words(sentence)), f"words in sentence {number}"):
                return wrong
        return ""


@instruction("length_constraints:paragraph_range")
class ParagraphRange(Ranged):
    """So many paragraphs, separated by blank lines."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return self.outside(len(reading.paragraphs), "paragraphs")


@instruction("length_constraints:character_range")
class CharacterRange(Ranged):
    """So many characters (code points), white space at the ends left out."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return self.outside(len(reading.text.strip()), "characters")


@instruction("count:lowercase_counting")
class LowercaseWords(Instruction):
    """At most `N` words in lower case."""

    N: Count

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        count = sum(map(str.islower, reading.words))
        return "" if count <= self.N else f"{count} words in lower case, at most {self.N} asked"


@instruction("letters:letter_counting")
class Letters(Instruction):
    """At least, or less than, `N` letters."""

    N: Count
    relation: Relation

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return compared(len(_LETTER.findall(reading.text)), self.relation, self.N, "letters")


@instruction("count:counting_composition")
class Composition(Instruction):
    """Three paragraphs, separated by the divider `***`, of `n_sent` sentences each, each of `n_words` words."""

    n_sent: Positive
    n_words: Positive

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        if wrong := _divided_into(reading.text, 3):
            return wrong
        for paragraph in divided(reading.text) or ():
            found = sentences(paragraph)
            if wrong := exactly(len(found), self.n_sent, "sentences in a paragraph"):
                return wrong
            for sentence in found:
                if wrong := exactly(len(words(sentence)), self.n_words, "words in a sentence"):
                    return wrong
        return ""


@instruction("count:count_unique")
class UniqueWords(Instruction):
    """No word occurs twice, in whatever case."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        seen: set[str] = set()
        for word in reading.folded:
            if word in seen:
                return f"{named(word)} occurs twice"
            seen.add(word)
        return ""


@instruction("repetition:ngrams")
class RepeatedNgrams(Instruction):
    """Of all runs of `n` words, at most the share `max_share` has occurred before (0: none has)."""

    n: Annotated[Positive, Field(le=MAX_NGRAM)] = 4
    max_share: Annotated[float, Field(ge=0, le=1, strict=False)] = 0.0

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        found = ngrams(reading.folded, self.n)
        if not found:
            return ""
        share = 1 - len(set(found)) / len(found)
        return "" if share <= self.max_share else f"{share:.3f} of the {self.n}-grams repeat, {self.max_share:g} may"


@instruction("repetition:no_repeated_sentences")
class RepeatedSentences(Instruction):
    """No sentence occurs twice, case and punctuation aside."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return _repeated(reading.sentences)


@instruction("repetition:no_repeated_lines")
class RepeatedLines(Instruction):
    """No line occurs twice, case and punctuation aside."""

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return _repeated(reading.lines)


def ngrams(words: list[str], n: int) -> list[str]:
    """Every run of `n` words, joined."""
    return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]


def _repeated(parts: list[str]) -> str:
    seen: set[str] = set()
    for part in parts:
        key = " ".join(folded(part))
        if key and key in seen:
            return f"{named(part.strip())} occurs twice"
        seen.add(key)
    return ""

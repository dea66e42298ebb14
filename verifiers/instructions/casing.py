"""Instructions on upper and lower case.

Where the public checkers are wrong: `english_capital` and `english_lowercase` count a text whose language cannot be
told as following them, and ask a detector that is random; see `verifiers.instructions.languages`.
`capital_word_frequency` needs nltk, and takes `DON'T` for two words. As there, `I` and `A` are words in capital
letters, and so is `COVID-19`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from verifiers.instructions.instruction import Count, Instruction, Relation, compared, instruction, named
from verifiers.instructions.languages import not_in
from verifiers.instructions.reading import Reading


def _not_in_case(reading: Reading, case: Literal["upper", "lower"]) -> str:
    if case == "upper" and not reading.text.isupper():
        wrong = [word for word in reading.words if word != word.upper()]
    elif case == "lower" and not reading.text.islower():
        wrong = [word for word in reading.words if word != word.lower()]
    else:
        return ""
    return f"{named(wrong[0])} is not in {case} case" if wrong else "there is no letter that has case"


@instruction("change_case:english_capital")
class EnglishCapital(Instruction):
    """In English, and in capital letters only."""

    needs_language: ClassVar[bool] = True

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return _not_in_case(reading, "upper") or not_in(reading, "en")


@instruction("change_case:english_lowercase")
class EnglishLowercase(Instruction):
    """In English, and in lower-case letters only."""

    needs_language: ClassVar[bool] = True

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return _not_in_case(reading, "lower") or not_in(reading, "en")


@instruction("change_case:casing")
class Casing(Instruction):
    """All letters are capital (`upper`), none is (`lower`), or every word begins with a capital (`title`), in any
    language."""

    case: Literal["upper", "lower", "title"]

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        if self.case != "title":
            return _not_in_case(reading, self.case)
        wrong = [word for word in reading.words if word[0].islower()]
        return f"{named(wrong[0])} does not begin with a capital" if wrong else ""


@instruction("change_case:capital_word_frequency")
class CapitalWords(Instruction):
    """At least, or less than, so many words in capital letters only."""

    capital_frequency: Count
    capital_relation: Relation

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        count = sum(map(str.isupper, reading.words))
        return compared(count, self.capital_relation, self.capital_frequency, "words in capital letters")

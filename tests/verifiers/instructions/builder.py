"""Completions built by rule that follow an IFEval row's instructions, or all of them but one.

A generator per instruction adds its lines, and what forbids something is obeyed by the choice of filler. Nothing here
asks the verifier: filler sentences have a known number of words, and lines are put together so that parts that are
counted (paragraphs, bullets, sections) occur as often as asked.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tests.verifiers.instructions.declaration import ARTICLES

FILLER = (
    "The river runs down to the sea and the boats go with it",
    "My brother walks home along the road when the work is done",
    "We sit on the hill and look at the light on the water",
    "In the morning the wind is mild and the air is very clear",
    "You will find the old mill behind the trees near the farm",
    "They went to bed as soon as the sun was down behind us",
)
"""English sentences of 12 words without commas, and without capitals inside."""
SHORT = (
    "The river runs by the mill in the wind",
    "We rest on the road by the old farm",
    "A small fish swims by a rock in a pond",
    "Our old dog runs along a field and a hill",
    "We rest by the dusty road at dusk",
    "Birds circle above a quiet lake",
)
"""Shorter ones, so that for each letter there is one without it."""

Row = dict[str, Any]


def followed(row: Row) -> str | None:
    """A completion that follows every instruction of the row; None where the row contradicts itself."""
    return _Builder(row, None).text()


def broken(row: Row, which: int) -> str | None:
    """A completion that follows every instruction of the row except number `which`; None where that cannot be."""
    return _Builder(row, which).text()


class _Builder:
    def __init__(self, row: Row, broken: int | None) -> None:
        pairs: list[tuple[str, Row]] = list(zip(row["instruction_id_list"], row["kwargs"], strict=True))
        self.all = pairs
        self.asked = [pair for i, pair in enumerate(pairs) if i != broken]
        self.wrong, self.wrong_kwargs = pairs[broken] if broken is not None else ("", {})

    def text(self) -> str | None:
        if self._contradictory() or self._prompt_decides():
            return None
        if self._asks("detectable_format:json_format") is not None:
            return self._case(json.dumps({"text": " ".join(self._lines())}, ensure_ascii=False))
        text = self._paragraphs(self._lines())
        if self._asks("combination:two_responses") is not None:
            text = f"{text}\n******\n{self._filler(1)}\n{self._filler(2)}"
        text = "\n".join([text, *self._tail()])
        if prompt := self._asks("combination:repeat_prompt"):
            text = f"{prompt['prompt_to_repeat']}\n{text}"
        text = self._case(text)
        return f'"{text}"' if self._asks("startend:quotation") is not None else text

    def _asks(self, name: str) -> Row | None:
        """The arguments of an instruction that is to be followed."""
        return next((kwargs for asked, kwargs in self.asked if asked == name), None)

    def _has(self, name: str) -> Row | None:
        """The same of one that is to be followed or broken."""
        return next((kwargs for asked, kwargs in self.all if asked == name), None)

    def _contradictory(self) -> bool:
        """What no text can do, or what no text can break while it follows the rest."""
        names = [name for name, _ in self.asked]
        if self.wrong in names and self.wrong == "startend:quotation":
            return True  # asked twice
        if "change_case:english_lowercase" in names and "detectable_format:constrained_response" in names:
            return True
        bounds = ("length_constraints:number_words", "length_constraints:number_sentences")
        if self.wrong in bounds or (self.wrong and self.wrong in names):
            return any(name in bounds or name == self.wrong for name in names)  # one bound gives in to another
        if self.wrong == "keywords:letter_frequency":
            return self._asks("language:response_language") is not None  # no filler without the letter
        return False

    def _prompt_decides(self) -> bool:
        """Whether a text that must be repeated breaks another instruction, or follows the one to break."""
        repeat = self._asks("combination:repeat_prompt")
        if repeat is None:
            return False
        prompt = repeat["prompt_to_repeat"]
        if self.wrong:
            return self.wrong not in ("change_case:english_lowercase", "change_case:english_capital")
        for name, kwargs in self.all:
            if name in ("startend:quotation", "detectable_format:json_format"):
                return True
            if name == "punctuation:no_comma" and "," in prompt:
                return True
            if name == "keywords:forbidden_words" and any(_count(prompt, w) for w in kwargs["forbidden_words"]):
                return True
            if kwargs.get("relation") == "less than":
                counted = kwargs.get("keyword", r"")
                limit = kwargs.get("frequency", 0)
                return not counted or _count(prompt, counted) >= limit
        return False

    def _lines(self) -> list[str]:
        quoted = self._asks("startend:quotation") is not None
        lines = [self._filler(5)] if quoted and self._has("detectable_format:number_bullet_lists") else []
        for name, kwargs in self.asked:
            lines += self._follow(name, kwargs)
        lines += self._violate()
        terse = self._terse() or self.wrong == "length_constraints:number_sentences"
        words, count, fewest = 0, 1 if terse else 2, 1_000
        for name, kwargs in self.asked:
            at_least = kwargs.get("relation") == "at least"
            if name == "length_constraints:number_words" and at_least:
                words = kwargs["num_words"] - sum(map(_words, lines))
            if name == "length_constraints:number_sentences":
                count = max(count, kwargs["num_sentences"]) if at_least else count
                fewest = fewest if at_least else kwargs["num_sentences"]
        if fewest < 1_000:
            count = max(1, min(count, fewest - 1 - len(lines)))
        filler = [self._filler(n) for n in range(count)]
        while sum(map(_words, filler)) < words + 5:
            filler.append(self._filler(len(filler)))
        if len(filler) > count and fewest < 1_000:  # few sentences of many words
            filler = [" and ".join(sentence.rstrip(".") for sentence in filler) + "."]
        return [*lines, *filler]

    def _terse(self) -> bool:
        """Whether short sentences are needed."""
        limited = [kwargs for name, kwargs in self.asked if name == "length_constraints:number_words"]
        return any(kwargs["relation"] == "less than" for kwargs in limited)

    def _follow(self, name: str, kwargs: dict[str, Any]) -> list[str]:
        """The lines that an instruction asks for."""
        match name:
            case "keywords:existence":
                return [f"{' and '.join(kwargs['keywords'])}."]
            case "keywords:frequency" if kwargs["relation"] == "at least":
                return [f"{' and '.join([kwargs['keyword']] * kwargs['frequency'])}."]
            case "keywords:letter_frequency" if kwargs["let_relation"] == "at least":
                return [f"{kwargs['letter'] * kwargs['let_frequency']} and so on."]
            case "change_case:capital_word_frequency" if kwargs["capital_relation"] == "at least":
                return [" ".join(["NOTE"] * kwargs["capital_frequency"]) + "."]
            case "detectable_content:number_placeholders":
                return [" ".join(["[name]"] * kwargs["num_placeholders"]) + "."]
            case "detectable_format:number_highlighted_sections":
                return [" ".join(["*river*"] * kwargs["num_highlights"]) + "."]
            case "detectable_format:number_bullet_lists":
                return [f"- {self._filler(n)}" for n in range(kwargs["num_bullets"])]
            case "detectable_format:multiple_sections":
                split, count = kwargs["section_spliter"], kwargs["num_sections"]
                return [line for n in range(1, count + 1) for line in (f"{split} {n}", self._filler(n))]
            case "detectable_format:title":
                return ["<<river>>"]
            case "detectable_format:constrained_response":
                return ["My answer is no."]
        return []

    def _violate(self) -> list[str]:
        """The lines that break the one instruction, where leaving out its own does not."""
        kwargs = self.wrong_kwargs
        match self.wrong:
            case "keywords:frequency" if kwargs["relation"] == "less than":
                return [f"{' and '.join([kwargs['keyword']] * kwargs['frequency'])}."]
            case "keywords:forbidden_words":
                return [f"{kwargs['forbidden_words'][0]}."]
            case "keywords:letter_frequency" if kwargs["let_relation"] == "less than":
                return [f"{kwargs['letter'] * kwargs['let_frequency']} and so on."]
            case "change_case:capital_word_frequency" if kwargs["capital_relation"] == "less than":
                return [" ".join(["NOTE"] * kwargs["capital_frequency"]) + "."]
            case "length_constraints:number_words" if kwargs["relation"] == "less than":
                return [self._filler(n) for n in range(kwargs["num_words"] // 10 + 1)]
            case "length_constraints:number_sentences" if kwargs["relation"] == "less than":
                return [self._filler(n) for n in range(kwargs["num_sentences"])]
            case "detectable_format:number_bullet_lists":
                return [f"- {self._filler(n)}" for n in range(kwargs["num_bullets"] + 1)]
            case "punctuation:no_comma":
                return ["yes, yes."]
            case "change_case:english_capital":
                return ["small."]
            case "change_case:english_lowercase":
                return ["Large."]
        return []

    def _paragraphs(self, lines: list[str]) -> str:
        body = "\n".join(lines)
        if nth := self._has("length_constraints:nth_paragraph_first_word"):
            number, first = nth["nth_paragraph"], nth["first_word"]
            if self.wrong == "length_constraints:nth_paragraph_first_word":
                first = "otherwise"
            count = nth["num_paragraphs"]
            parts = [f"{first} {self._filler(n)}" if n == number - 1 else self._filler(n) for n in range(count)]
            parts[-1] += "\n" + body
            return "\n\n".join(parts)
        if divided := self._has("length_constraints:number_paragraphs"):
            count = divided["num_paragraphs"] + (self.wrong == "length_constraints:number_paragraphs")
            return "\n***\n".join([*(self._filler(n) for n in range(count - 1)), body])
        return body

    def _tail(self) -> list[str]:
        tail = []
        if mark := self._asks("detectable_content:postscript"):
            tail.append(f"{mark['postscript_marker']} {self._filler(0)}")
        if end := self._asks("startend:end_checker"):
            tail.append(end["end_phrase"])
        return tail

    def _case(self, text: str) -> str:
        if self._asks("change_case:english_capital") is not None:
            return text.upper()
        return text.lower() if self._asks("change_case:english_lowercase") is not None else text

    def _filler(self, n: int) -> str:
        """A sentence in the language asked for that nothing forbids."""
        language = (self._asks("language:response_language") or {"language": "en"})["language"]
        if language != "en":
            sentence = ARTICLES[language][n % 2]
            if self._asks("punctuation:no_comma") is not None:
                sentence = re.sub("[,،、]", "", sentence)
            return re.sub(r"[\[\]]", "", sentence)
        preferred = SHORT if self._terse() else FILLER
        allowed = [sentence for sentence in preferred if not self._forbidden(sentence)]
        allowed = allowed or [sentence for sentence in SHORT if not self._forbidden(sentence)]
        return allowed[n % len(allowed)] + "."

    def _forbidden(self, sentence: str) -> bool:
        """Whether a sentence breaks something, or follows what is to be broken."""
        words: list[str] = []
        letters: list[str] = []
        for name, kwargs in self.all:
            words += kwargs.get("forbidden_words") or []
            words += (kwargs.get("keywords") or []) if name == self.wrong else []
            words += [kwargs["keyword"]] if kwargs.get("keyword") else []
            if "letter" in kwargs and (kwargs["let_relation"] == "less than" or name == self.wrong):
                letters.append(kwargs["letter"])
        return any(_count(sentence, word) for word in words) or any(letter in sentence for letter in letters)


def _count(text: str, word: str) -> int:
    return len(re.findall(rf"\b{re.escape(word)}\b", text, re.IGNORECASE))


def _words(line: str) -> int:
    return len(line.split())

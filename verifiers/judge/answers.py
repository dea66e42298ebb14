"""What a judge is asked for, and reading its answer: JSON, a marker, or the probabilities of the first token."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from verifiers.base import ErrorType, clip
from verifiers.chat import MAX_TOP_LOGPROBS, ChatAnswer
from verifiers.json_schema.text import NotJSONError, read
from verifiers.regex.patterns import Linear
from verifiers.thinking import CLOSE, OPEN

MAX_ANSWER = 262_144
"""Characters of an answer that is read."""
LOGPROB_TOKENS = 3
"""Tokens that are asked for where the first one decides: white space may come before it."""
LEAST_MASS = 0.5
"""Of the first token's probability, how much must lie on what is offered: less, and the judge would say otherwise."""
MAX_LISTED_VALUES = 21
"""A scale of so few values is listed in the schema, which every server enforces; not every one does with bounds."""

Form = Literal["schema", "marker", "logprobs"]
_NUMBER = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,15})?")
ALONE = "verdict"
"""The name of a verdict that stands alone."""
_MARKER = re.compile(
    r"VERDICT-(?P<nonce>[0-9a-f]{8})(?:-(?P<name>\w{1,20}))?(?![-\w])[*_`\"' \t]*[:=](?=(?P<said>[^\n]{0,1000}))",
    re.IGNORECASE,
)
"""Asked for as a line of its own; several may be found on one."""
_FENCED = re.compile(r"```[A-Za-z]*[ \t]*\n(.*)\n[ \t]*```", re.DOTALL)
_DRESS = " \t\r\n*_`\"'()[]{}<>.,;:!“”‘’«»"
"""What judges put around a verdict."""


class AnswerError(Exception):
    """A judge's answer holds no verdict."""

    def __init__(self, type: ErrorType, message: str) -> None:
        super().__init__(message)
        self.type = type


@dataclass(frozen=True, slots=True)
class Words:
    """A verdict that is one of a few words, each with its value. Case is no difference."""

    values: Mapping[str, float]
    note: str = ""
    """What the words mean, where they do not say it."""

    def value(self, said: object) -> float | None:
        """The value of what a judge said; None if it is not on offer."""
        return self.first_tokens().get(said.casefold()) if isinstance(said, str) else None

    def schema(self) -> dict[str, Any]:
        """The JSON schema of a verdict."""
        return {"type": "string", "enum": list(self.values)}

    def offer(self) -> str:
        """What is on offer, for the judge to read."""
        *most, last = self.values
        return f"{', '.join(most)} or {last}{self.note}"

    def looks_offered(self, said: object) -> bool:
        """Whether it is of the right sort, if not one of the words."""
        return isinstance(said, str) and 0 < len(said.split()) <= 3

    def first_tokens(self) -> Mapping[str, float]:
        """Values by the token that is the verdict, in lower case."""
        return {word.casefold(): value for word, value in self.values.items()}


@dataclass(frozen=True, slots=True)
class Scale:
    """A verdict that is a number between two bounds."""

    lowest: float
    highest: float
    integer: bool

    def value(self, said: object) -> float | None:
        """The number that a judge said; None if it is not on the scale."""
        if isinstance(said, str):
            match = _NUMBER.fullmatch(said.split("/")[0].strip() if self._out_of(said) else said)
            said = float(match[0]) if match else None
        if isinstance(said, bool) or not isinstance(said, int | float) or not self.lowest <= said <= self.highest:
            return None
        return float(said) if not self.integer or float(said).is_integer() else None

    def _out_of(self, said: str) -> bool:
        """Whether it is written as `7/10`, of this scale."""
        match = re.fullmatch(r"\s*[^/]{1,20}/\s*(\d{1,9})\s*", said)
        return match is not None and float(match[1]) == self.highest

    def schema(self) -> dict[str, Any]:
        """The JSON schema of a verdict."""
        if not self.integer:
            return {"type": "number", "minimum": self.lowest, "maximum": self.highest}
        lowest, highest = int(self.lowest), int(self.highest)
        if highest - lowest < MAX_LISTED_VALUES:
            return {"type": "integer", "enum": list(range(lowest, highest + 1))}
        return {"type": "integer", "minimum": lowest, "maximum": highest}

    def offer(self) -> str:
        """What is on offer, for the judge to read."""
        what = "a whole number" if self.integer else "a number"
        return f"{what} from {self.lowest:g} to {self.highest:g}"

    def looks_offered(self, said: object) -> bool:
        """Whether it is of the right sort, if not on the scale."""
        if isinstance(said, str):
            return _NUMBER.match(said) is not None
        return isinstance(said, int | float) and not isinstance(said, bool)

    def first_tokens(self) -> Mapping[str, float] | None:
        """See `Words.first_tokens`. None where the first token does not tell all: of numbers with several digits."""
        if self.integer and self.lowest >= 0 and self.highest <= 9:
            return {str(value): float(value) for value in range(int(self.lowest), int(self.highest) + 1)}
        return None


Offer = Words | Scale
YES_NO = Words({"yes": 1.0, "no": 0.0})
FIRST_SECOND = Words({"A": 1.0, "B": 0.0, "tie": 0.5})
"""Which of two is better."""
FIRST_SECOND_TOKEN = Words({"A": 1.0, "B": 0.0, "C": 0.5}, " for a tie")
"""The same in words of one token."""


@dataclass(frozen=True, slots=True)
class Custom:
    """A verdict's place in an answer as a prompt of the user's own asks for it."""

    pattern: Linear
    words: Mapping[str, str]
    """What is on offer, by what the pattern finds in lower case."""

    def found(self, text: str) -> list[str]:
        """What each match holds in the first of its groups that holds anything."""
        found: list[str] = []
        for match in self.pattern.compiled.finditer(text.encode(errors="replace")):
            held = next((group for group in match.groups() if group), None)
            if held is not None:
                found.append(held.decode(errors="replace").strip(_DRESS))
        return found


@dataclass(frozen=True, slots=True)
class Asked:
    """The verdicts that one answer must give, by name, in order."""

    offers: Mapping[str, Offer]
    explain: bool
    """Whether the judge gives its reasons first."""

    def schema(self) -> dict[str, Any]:
        """The JSON schema of an answer, in the part of the language that servers share: strict, all required."""
        properties: dict[str, Any] = {"reasoning": {"type": "string"}} if self.explain else {}
        properties |= {name: offer.schema() for name, offer in self.offers.items()}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def instruction(self, form: Form, nonce: str) -> str:
        """How to answer, for the judge to read."""
        if form == "logprobs":
            [offer] = self.offers.values()
            return f"Answer with one word and nothing else: {offer.offer()}."
        reasons = "a few sentences of reasoning" if self.explain else "nothing else"
        if form == "schema":
            members = ", ".join(f'"{name}": {offer.offer()}' for name, offer in self.offers.items())
            first = '"reasoning": a few sentences, ' if self.explain else ""
            return f"Answer with one JSON object and nothing else: {first}{members}."
        lines = "\n".join(f"{_key(name, nonce)}: <{offer.offer()}>" for name, offer in self.offers.items())
        begin = f"Give {reasons}, then end with" if self.explain else "Answer with nothing else but"
        what = "this line" if len(self.offers) == 1 else "these lines"
        return f"{begin} {what}, with your verdict in place of the angle brackets:\n{lines}"

    def logprobs(self) -> bool:
        """Whether the first token of an answer can decide."""
        return len(self.offers) == 1 and all(offer.first_tokens() for offer in self.offers.values())

    def read(self, answer: ChatAnswer, form: Form, nonce: str, custom: Custom | None = None) -> dict[str, float]:
        """The verdicts in an answer. Raises `AnswerError`."""
        _check(answer, form)
        if form == "logprobs":
            [(name, offer)] = self.offers.items()
            return {name: _expected(answer, offer)}
        text = _said(answer.text, form)
        if form == "schema":
            return _from_json(text, self)
        if custom is not None:
            [(name, offer)] = self.offers.items()
            return {name: _last(custom.found(text), offer, custom.words)}
        found = _marked(text, nonce)
        return {name: _last(found.get(name, ()), offer, {}) for name, offer in self.offers.items()}


def _key(name: str, nonce: str) -> str:
    return f"VERDICT-{nonce}" if name == ALONE else f"VERDICT-{nonce}-{name}"


def _check(answer: ChatAnswer, form: Form) -> None:
    """Raise `AnswerError` for an answer that was not given to its end."""
    if answer.finish_reason == "content_filter":
        raise AnswerError(ErrorType.CONTENT_FILTERED, "a content filter stopped the judge's answer")
    if answer.refusal:
        raise AnswerError(ErrorType.JUDGE_REFUSED, f"the judge refused: {clip(answer.refusal)}")
    if form == "logprobs":
        return
    if answer.finish_reason == "length":
        raise AnswerError(ErrorType.JUDGE_CUT_OFF, "the judge's answer was cut off; raise max_tokens")
    if not answer.text.strip():
        raise AnswerError(ErrorType.JUDGE_EMPTY, "the judge's answer is empty")
    if len(answer.text) > MAX_ANSWER:
        message = f"the judge's answer has {len(answer.text):,} characters, {MAX_ANSWER:,} are read"
        raise AnswerError(ErrorType.JUDGE_UNREADABLE, message)


def _said(text: str, form: Form) -> str:
    """An answer without the judge's thinking, where the server leaves that in the text. Raises `AnswerError`.

    A chat template may have opened the thinking in the prompt, so that the answer has its end alone.
    """
    begin = text.lstrip()
    if begin.startswith(OPEN) and CLOSE not in text:
        raise AnswerError(ErrorType.JUDGE_CUT_OFF, "the judge's thinking has no end; raise max_tokens")
    if form == "schema" and begin.startswith("{"):  # its reasons may quote a tag
        return text
    said = text.rpartition(CLOSE)[2]
    if not said.strip():
        raise AnswerError(ErrorType.JUDGE_EMPTY, "the judge thought, and answered nothing")
    return said


def _from_json(text: str, asked: Asked) -> dict[str, float]:
    """The verdicts of a JSON object, alone or as one code fence: of several, one may quote the completion's."""
    text = text.strip()
    fenced = _FENCED.fullmatch(text)
    try:
        value = read(fenced[1] if fenced else text, "whole")
    except NotJSONError as error:
        raise AnswerError(ErrorType.JUDGE_UNREADABLE, f"the judge's answer is not JSON: {clip(str(error))}") from None
    if not isinstance(value, dict):
        raise AnswerError(ErrorType.JUDGE_UNREADABLE, "the judge's answer is JSON, but no object")
    verdicts: dict[str, float] = {}
    for name, offer in asked.offers.items():
        if name not in value:
            raise AnswerError(ErrorType.JUDGE_UNREADABLE, f"the judge's answer has no member {name!r}")
        verdict = offer.value(value[name])
        if verdict is None:
            raise _not_offered(offer, value[name])
        verdicts[name] = verdict
    return verdicts


def _marked(text: str, nonce: str) -> dict[str, list[str]]:
    """What stands behind each marker with the item's code, on its line, by the verdict's name."""
    found: dict[str, list[str]] = {}
    for match in _MARKER.finditer(text):
        if match["nonce"].lower() == nonce:
            found.setdefault((match["name"] or ALONE).lower(), []).append(match["said"].strip(_DRESS))
    return found


def _last(found: Sequence[str], offer: Offer, words: Mapping[str, str]) -> float:
    """The value of the last verdict that is on offer. Raises `AnswerError`."""
    for said in reversed(found):
        value = offer.value(words.get(said.casefold(), said))
        if value is not None:
            return value
    if not found:
        raise AnswerError(ErrorType.JUDGE_UNREADABLE, "the judge's answer has no verdict where one was asked for")
    raise _not_offered(offer, found[-1])


def _not_offered(offer: Offer, said: object) -> AnswerError:
    if offer.looks_offered(said):
        message = f"the judge said {clip(str(said), 60)!r}; on offer is {offer.offer()}"
        return AnswerError(ErrorType.JUDGE_OFF_SCALE, message)
    return AnswerError(ErrorType.JUDGE_UNREADABLE, f"the judge's verdict is none; on offer is {offer.offer()}")


def _expected(answer: ChatAnswer, offer: Offer) -> float:
    """The mean of the values on offer, by the probability of the tokens that spell them."""
    token = next((token for token in answer.tokens if _bare(token.text)), None)
    if token is None:
        if not answer.text.strip():
            raise AnswerError(ErrorType.JUDGE_EMPTY, "the judge's answer is empty")
        raise AnswerError(ErrorType.JUDGE_UNREADABLE, "the judge's answer has no probabilities of its first token")
    values = offer.first_tokens() or {}
    mass: dict[str, float] = {}
    for text, logprob in token.top[:MAX_TOP_LOGPROBS]:
        if (spelt := _bare(text)) in values:
            mass[spelt] = mass.get(spelt, 0.0) + math.exp(min(logprob, 0.0))
    total = math.fsum(mass.values())
    if total < LEAST_MASS:
        message = f"only {total:.2f} of the probability of the judge's first token is on {offer.offer()}"
        raise AnswerError(ErrorType.JUDGE_UNREADABLE, message)
    return math.fsum(values[spelt] * share for spelt, share in mass.items()) / total


def _bare(token: str) -> str:
    """A token in lower case, without white space, or what tokenizers write for it, and dress."""
    return token.strip(_DRESS + "▁ĠĊ").casefold()

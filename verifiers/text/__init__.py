"""`text`: the completion equals, contains or resembles a given text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, WithJsonSchema
from pydantic_core import PydanticCustomError

from verifiers.base import (
    BadItemError,
    ConfigError,
    Example,
    Item,
    Outcome,
    Verdict,
    parse_reference,
    register,
)
from verifiers.direct import DirectKind
from verifiers.text.normal import Normalisation
from verifiers.text.similarity import MEASURES, Measure
from verifiers.thinking import Section, section

MAX_ALLOWED = 1_000
"""Strings in one reference."""
MAX_REFERENCE_CHARS = 50_000
"""Characters in one reference, all its strings together."""
MAX_MEASURED_CHARS = 500_000
"""Characters of a completion whose similarity is measured: measures take time in proportion to both lengths."""
PLAIN_CHARS = 1_000_000
"""Characters that are stripped and compared, or searched, in well under a millisecond."""
SEARCH_STEPS = 200_000_000
WORD_SEARCH_STEPS = 2_000_000
MEASURE_STEPS = 20_000_000
"""Steps, as `Text.costly` counts them, that searches and measures take in two or three milliseconds."""
REFERENCE_STEPS = 200
"""Steps per character of the completion that every allowed text costs, however short."""
NORMALISED_REFERENCES = 200
"""Allowed texts that are normalised in a millisecond or two."""


class TextConfig(Normalisation):
    """How a completion is compared with the allowed texts."""

    mode: Literal["exact", "contains", Measure] = Field(
        "exact",
        description="exact: equal; contains: the reference occurs in the completion; or a measure of similarity.",
    )
    threshold: float | None = Field(
        None, gt=0, le=1, description="With a measure: from this similarity on correct, below it incorrect."
    )
    whole_words: bool = Field(
        False, description="With contains: the reference touches no further letter or digit (4 is not in 42)."
    )
    section: Section = Field(
        "final", description="final: what follows the thinking part, if there is one; whole: the whole completion."
    )


def _as_list(value: Any) -> list[str]:
    allowed = [value] if isinstance(value, str) else value
    if not isinstance(allowed, list):
        raise PydanticCustomError("text_reference", "must be a string or a list of strings")
    if not 0 < len(allowed) <= MAX_ALLOWED:
        raise PydanticCustomError("text_reference", f"must hold 1 to {MAX_ALLOWED} strings")
    if not all(isinstance(text, str) for text in allowed):
        raise PydanticCustomError("text_reference", "must be a string or a list of strings")
    if sum(map(len, allowed)) > MAX_REFERENCE_CHARS:
        raise PydanticCustomError("text_reference", f"must hold at most {MAX_REFERENCE_CHARS} characters in all")
    return allowed


_STRINGS = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_ALLOWED}


@register
class Text(DirectKind[TextConfig]):
    """Compare the completion with one text or several allowed ones, exactly or by similarity."""

    kind: ClassVar[str] = "text"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "none"
    Config: ClassVar[type[BaseModel]] = TextConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(
        Annotated[list[str], BeforeValidator(_as_list), WithJsonSchema({"anyOf": [{"type": "string"}, _STRINGS]})]
    )
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion="Paris\n", reference="Paris"), 1.0),
        Example(Item(completion="Rome", reference=["Paris", "paris"]), 0.0),
        Example(Item(completion="<think>Paris?</think>Rome", reference="Paris"), 0.0, {"mode": "contains"}),
        Example(Item(completion="the cat", reference="the cat sat"), 0.8, {"mode": "rouge_l"}),
    )

    def __init__(self, config: TextConfig) -> None:
        super().__init__(config)
        if config.threshold is not None and config.mode not in MEASURES:
            raise ConfigError(f"a threshold needs a measure, and {config.mode} is not one", "/threshold")
        if config.whole_words and config.mode != "contains":
            raise ConfigError("whole_words goes with mode contains", "/whole_words")
        self._compares_plainly = config.mode == "exact" and config.only_strips

    def costly(self, item: Item) -> bool:
        """See `DirectKind.costly`."""
        text, config = item.text, self.config
        if self._compares_plainly or len(text) > PLAIN_CHARS:
            return len(text) > PLAIN_CHARS
        texts = _well_formed(item.reference)
        allowed = "".join(texts)
        if config.costly(text) or config.costly(allowed):
            return True
        if len(texts) > NORMALISED_REFERENCES and not config.only_strips:
            return True
        if config.mode == "exact":
            return False
        steps = len(text) * (len(allowed) + REFERENCE_STEPS * len(texts))
        if config.mode == "contains":
            return steps > (WORD_SEARCH_STEPS if config.whole_words else SEARCH_STEPS)
        return steps > MEASURE_STEPS

    def verify_one(self, item: Item) -> Verdict:
        """See `DirectKind.verify_one`."""
        config = self.config
        references = self._references(item.reference)
        text = section(item, config.section)
        if text is None:
            return Verdict(Outcome.UNPARSEABLE, 0.0, {"stage": "section"})
        if config.mode == "exact":
            return Verdict.binary(config.normal(text) in references, "exact")
        if config.mode == "contains":
            text = config.normal(text)
            found = _stands_alone if config.whole_words else _contains
            return Verdict.binary(any(found(text, reference) for reference in references), "contains")
        return self._measured(text, references, config.mode)

    def _measured(self, text: str, references: list[str], mode: Measure) -> Verdict:
        if len(text) > MAX_MEASURED_CHARS:
            return Verdict(Outcome.OUTPUT_EXCEEDED, 0.0, {"stage": mode, "limit": MAX_MEASURED_CHARS})
        text = self.config.normal(text)
        similarity = max(MEASURES[mode](text, reference) for reference in references)
        if self.config.threshold is None:
            return Verdict(Outcome.SCORED, similarity, {"stage": mode})
        passed = similarity >= self.config.threshold
        return Verdict.binary(passed, mode, similarity=round(similarity, 6))

    def _references(self, value: Any) -> list[str]:
        """The allowed texts in normal form."""
        if isinstance(value, str) and len(value) <= MAX_REFERENCE_CHARS:
            return [self._normal(value)]  # what comes of the adapter, at a fraction of the time
        return [self._normal(text) for text in parse_reference(self.reference, value)]

    def _normal(self, raw: str) -> str:
        """An allowed text in normal form. Raises `BadItemError` for one that would match what it should not."""
        text = self.config.normal(raw)
        if (not text or text.isspace()) and not (self.config.mode == "exact" and raw.strip() == ""):
            raise BadItemError("reference: an allowed text is empty once normalised, and would match any completion")
        return text


def _well_formed(reference: Any) -> list[str]:
    """The allowed texts of a reference; none where it will be refused."""
    texts = reference if isinstance(reference, list) else [reference]
    texts = [text for text in texts[:MAX_ALLOWED] if isinstance(text, str)]
    return texts if sum(map(len, texts)) <= MAX_REFERENCE_CHARS else []


def _contains(text: str, reference: str) -> bool:
    return reference in text


def _stands_alone(text: str, reference: str) -> bool:
    """Whether `reference` occurs in `text` without continuing a word or a number at either end."""
    at = text.find(reference)
    while at >= 0:
        end = at + len(reference)
        starts = not (reference[0].isalnum() and text[at - 1 : at].isalnum())
        ends = not (reference[-1].isalnum() and text[end : end + 1].isalnum())
        if starts and ends:
            return True
        at = text.find(reference, at + 1)
    return False

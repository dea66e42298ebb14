"""`text`: the completion equals, contains or resembles a given text."""

from __future__ import annotations

import unicodedata
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
from verifiers.tagged import Tag, tagged
from verifiers.text.normal import Normalisation
from verifiers.text.similarity import MEASURES, Measure
from verifiers.thinking import Section, section

MAX_ALLOWED = 1_000
"""Strings in one reference."""
MAX_REFERENCE_CHARS = 50_000
"""Characters in one reference, all its strings together."""
MAX_MEASURED_CHARS = 500_000
"""Characters of a text whose similarity is measured: measures take time in proportion to both lengths."""
MAX_COSTLY_CHARS = 100_000
"""The same for `chrf`, where every character begins six n-grams, which take memory, and `meteor`, with its stems."""
PLAIN_CHARS = 1_000_000
"""Characters that are stripped and compared, or searched, in well under a millisecond."""
SEARCH_STEPS = 200_000_000
WORD_SEARCH_STEPS = 800_000
MEASURE_STEPS = 20_000_000
"""Steps, as `Text.costly` counts them, that searches and measures take in two or three milliseconds."""
REFERENCE_STEPS = 200
"""Steps per character of the completion that every allowed text costs, however short."""
ROUGE_N: dict[str, int] = {"rouge_2": 2, "rouge_3": 3, "rouge_4": 4, "rouge_5": 5}
"""Words of an n-gram; a reference must have as many."""
NGRAM_CHARS: dict[str, int] = {**dict.fromkeys((*ROUGE_N, "bleu", "gleu"), 3_000), "meteor": 1_000, "chrf": 800}
"""Characters of text and references together whose n-grams are counted in two or three milliseconds."""
NGRAM_REFERENCES = 50
"""References whose n-grams are counted in a millisecond or two, however short."""
TAGGED_CHARS = 32_768
"""Characters in which every tag is found in a few milliseconds."""
NORMALISED_REFERENCES = 200
"""Allowed texts that are normalised, or measured however short, in two or three milliseconds."""


class TextConfig(Normalisation):
    """How a completion is compared with the allowed texts."""

    mode: Literal["exact", "contains", Measure] = Field(
        "exact",
        description="`exact`: equal to an allowed text; `contains`: an allowed text occurs in the completion; or a "
        "measure of similarity, listed above.",
    )
    threshold: float | None = Field(
        None,
        gt=0,
        le=1,
        description="With a measure: from this similarity on the item is correct, below it incorrect. null: the "
        "similarity is the score.",
    )
    whole_words: bool = Field(
        False,
        description="With `contains`: the text found must not continue a word or a number, so that `4` is not in "
        "`42`.",
    )
    tag: Tag | None = Field(
        None,
        description="Compare only what stands between `<tag>` and `</tag>`, such as `answer`. null: everything.",
        examples=["answer"],
    )
    section: Section = Field(
        "final",
        description="`final`: what follows the thinking part, if there is one; `whole`: the whole completion.",
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
    r"""Compare the completion with one text or several allowed ones, exactly or by a measure of similarity.

    For answers that are short texts: names, labels, choices, translations, summaries. `exact` and `contains` decide;
    a measure scores, or decides with a `threshold`.

    | measure | 1 for equal texts, 0 for texts with nothing in common |
    |---|---|
    | `ratio` | twice the longest common subsequence of characters over both lengths |
    | `levenshtein` | 1 - edit distance / length of the longer text |
    | `token_sort` | `ratio` with the words of both in alphabetical order |
    | `token_f1` | F1 over the words in both, counted with repetition: SQuAD's F1, and ROUGE-1 |
    | `rouge_2` to `rouge_5` | F1 over so many neighbouring words |
    | `rouge_l` | F1 over the longest common subsequence of words |
    | `bleu` | BLEU of one sentence over 1 to 4 words, with sacreBLEU's exponential smoothing |
    | `gleu` | the smaller of precision and recall over 1 to 4 words: BLEU made into a reward |
    | `meteor` | words aligned by form and by English stem, recall above precision, less a penalty for other orders |
    | `chrf` | chrF2 over 1 to 6 characters, for any language |

    ROUGE is [Lin 2004](https://aclanthology.org/W04-1013/), BLEU
    [Papineni et al. 2002](https://aclanthology.org/P02-1040/), GLEU [arXiv 1609.08144](https://arxiv.org/abs/1609.08144)
    and chrF [Popovic 2015](https://aclanthology.org/W15-3049/); on texts split the same way the measures agree with
    rouge-score, sacreBLEU and NLTK. METEOR is [Banerjee and Lavie 2005](https://aclanthology.org/W05-0909/), with
    NLTK's parameters and alignment, but without the synonyms of WordNet; equal texts score 1, as in its authors'
    program, and not a little less, as in NLTK. Words stand between white space; punctuation belongs to them unless
    `ignore_punctuation` removes it.
    Measures by which one shared word scores 1 (RapidFuzz's `token_set_ratio` and `partial_ratio`) are left out: a
    policy finds that word.

    ## Configuration
    The normalisations (`unicode` to `whitespace`) apply to the completion and the allowed texts alike, in the order
    of the table. With `ignore_case`, `ignore_punctuation`, `ignore_articles` and `"whitespace": "collapse"`, `exact`
    is the exact match of SQuAD and `token_f1` its F1 ([arXiv 1606.05250](https://arxiv.org/abs/1606.05250)), but for
    all of Unicode; with `"tag": "answer"` as well they are the rewards of Search-R1, and `contains` is its substring
    match.

    ## Reference
    A string, or a list of 1 to 1,000 allowed strings of which any may match; 50,000 characters in all. With several,
    the most similar one counts. An allowed text of which normalisation leaves nothing would match any completion and
    is a `bad_item`; only `exact` takes an empty one, which an empty completion equals. So is one of fewer words than
    `rouge_2` to `rouge_5` count together, which even those words could not match.

    ## Outcomes
    `correct`, `incorrect`; `scored` for a measure without a threshold. `unparseable` where a thinking part never
    ends, so that there is no final section, and where the `tag` is missing, not closed, or inside its like.
    `rejected`, with score 0, where several tags hold different texts: a list of guesses. `output_exceeded` where a
    text of over 500,000 characters (100,000 for `chrf` and `meteor`) would have to be measured. `timeout` where
    normalising a hostile completion (a long run of combining marks) uses up a worker's time. `detail.stage` is
    `section`, `tag` or the mode.

    ## Limits
    `contains` finds a text inside any other: `art` in `Cartesian`, and every allowed text in a completion that lists
    them all. `whole_words` looks at letters, digits and accents only: `4` stands alone in `4.5` and in `-4`. For
    numbers use [math](math.md).
    """

    kind: ClassVar[str] = "text"
    revision: ClassVar[int] = 2
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "none"
    Config: ClassVar[type[BaseModel]] = TextConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(
        Annotated[list[str], BeforeValidator(_as_list), WithJsonSchema({"anyOf": [{"type": "string"}, _STRINGS]})]
    )
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion=" Paris\n", reference="Paris"), 1.0),
        Example(
            Item(completion="The Seine.", reference=["Seine", "river Seine"]),
            1.0,
            {"ignore_case": True, "ignore_punctuation": True, "ignore_articles": True},
        ),
        Example(
            Item(completion="<think>Paris, perhaps?</think>It is Rome.", reference="Paris"), 0.0, {"mode": "contains"}
        ),
        Example(
            Item(completion="It is on the Seine: <answer>Paris</answer>", reference="paris"),
            1.0,
            {"tag": "answer", "ignore_case": True},
        ),
        Example(
            Item(completion="<answer>Paris</answer> or <answer>Rome</answer>", reference="Paris"),
            0.0,
            {"tag": "answer"},
        ),
        Example(Item(completion="the cat", reference="the cat sat"), 0.8, {"mode": "rouge_l"}),
        Example(
            Item(completion="Missisipi", reference="Mississippi"), 1.0, {"mode": "levenshtein", "threshold": 0.7}
        ),
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
        if config.tag is not None and len(text) > TAGGED_CHARS:
            return True
        if self._compares_plainly or len(text) > PLAIN_CHARS:
            return len(text) > PLAIN_CHARS
        texts = _well_formed(item.reference)
        allowed = "".join(texts)
        if config.costly(text) or config.costly(allowed):
            return True
        if len(texts) > NORMALISED_REFERENCES and not (config.only_strips and config.mode in ("exact", "contains")):
            return True
        if config.mode == "exact":
            return False
        if config.mode in NGRAM_CHARS:
            return len(text) + len(allowed) > NGRAM_CHARS[config.mode] or len(texts) > NGRAM_REFERENCES
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
        if config.tag is not None:
            answers = tagged(text, config.tag)
            if not answers:
                return Verdict(Outcome.UNPARSEABLE, 0.0, {"stage": "tag"})
            if len({config.normal(answer) for answer in answers}) > 1:
                return Verdict(Outcome.REJECTED, 0.0, {"stage": "tag", "answers": len(answers)})
            text = answers[0]
        if config.mode == "exact":
            return Verdict.binary(config.normal(text) in references, "exact")
        if config.mode == "contains":
            text = config.normal(text)
            found = _stands_alone if config.whole_words else _contains
            return Verdict.binary(any(found(text, reference) for reference in references), "contains")
        return self._measured(text, references, config.mode)

    def _measured(self, text: str, references: list[str], mode: Measure) -> Verdict:
        limit = MAX_COSTLY_CHARS if mode in ("chrf", "meteor") else MAX_MEASURED_CHARS
        if len(text) > limit:
            return Verdict(Outcome.OUTPUT_EXCEEDED, 0.0, {"stage": mode, "limit": limit})
        similarity = max(map(MEASURES[mode](self.config.normal(text)), references))
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
        if len(text.split()) < ROUGE_N.get(self.config.mode, 0):
            words = ROUGE_N[self.config.mode]
            message = f"{self.config.mode} compares {words} words at a time: an allowed text must have as many"
            raise BadItemError(f"reference: {message}")
        return text


def _well_formed(reference: Any) -> list[str]:
    """The allowed texts of a reference; none where it will be refused."""
    texts = reference if isinstance(reference, list) else [reference]
    texts = [text for text in texts[:MAX_ALLOWED] if isinstance(text, str)]
    return texts if sum(map(len, texts)) <= MAX_REFERENCE_CHARS else []


def _contains(text: str, reference: str) -> bool:
    return reference in text


def _in_word(character: str) -> bool:
    """Whether the character, which may be none, is a letter, a digit, or a mark on one such as an accent."""
    return character.isalnum() or (not character.isascii() and unicodedata.category(character)[0] == "M")


def _stands_alone(text: str, reference: str) -> bool:
    """Whether `reference` occurs in `text` without continuing a word or a number at either end."""
    at = text.find(reference)
    while at >= 0:
        end = at + len(reference)
        starts = not (_in_word(reference[0]) and _in_word(text[at - 1 : at]))
        ends = not (_in_word(reference[-1]) and _in_word(text[end : end + 1]))
        if starts and ends:
            return True
        at = text.find(reference, at + 1)
    return False

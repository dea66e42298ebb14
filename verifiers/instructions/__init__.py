"""`instructions`: the completion does what it was told: lengths, keywords, layout, casing, language, and so on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, TypeAdapter

from verifiers.base import MAX_FIELDS, Example, Item, KindConfig, Outcome, Verdict, register
from verifiers.direct import DirectKind
from verifiers.instructions.displayed import displayed
from verifiers.instructions.instruction import INSTRUCTIONS, Instruction
from verifiers.instructions.lengths import MAX_NGRAM
from verifiers.instructions.reading import Reading, has_word
from verifiers.instructions.reference import LANGUAGE_IDS, MAX_INSTRUCTIONS, REFERENCE, asked_of
from verifiers.thinking import Section, section

MAX_CHARS = 200_000
"""Characters of a completion that are looked at."""
INLINE_CHARS = 20_000
"""Plain characters, once for each instruction and way of reading, that are looked at in two or three milliseconds."""
MARK_CHARS = 50
"""Characters that are looked at in the time that one mark takes, at which a sentence, word or item may end."""
WIDE_CHARS = 6
"""The same for a character of a script without spaces, each a word."""
PHRASE_CHARS = 50
"""Characters that are looked at in the time that one keyword takes, and a sixteenth of the text to search for it."""
VARIANTS = 8
"""Texts that loose mode tries."""
_MARK = re.compile(r"[^\w ]")


class InstructionsConfig(KindConfig):
    """How completions are read and how the score is made."""

    mode: Literal["strict", "loose"] = Field(
        "strict",
        description="strict: the text as it is; loose: also without its first line, its last line, both, and each of "
        "these without asterisks, as IFEval's loose accuracy; an instruction is followed if one of them follows it.",
    )
    reward: Literal["all", "fraction"] = Field(
        "all",
        description="all: 1 if every instruction is followed, else 0; fraction: the share that is followed.",
    )
    section: Section = Field(
        "final", description="final: what follows the thinking part, if there is one; whole: the whole completion."
    )


def _table() -> str:
    """Every instruction with its arguments, in Markdown."""
    names: dict[type[Instruction], list[str]] = {}
    for name, cls in INSTRUCTIONS.items():
        names.setdefault(cls, []).append(f"`{name}`")
    rows = ["| instruction | arguments | follows it |", "|---|---|---|"]
    for cls, ids in sorted(names.items(), key=lambda entry: entry[1]):
        arguments = [f"`{key}`" + ("" if field.is_required() else "?") for key, field in cls.model_fields.items()]
        says = " ".join((cls.__doc__ or "").split()).replace("|", "\\|")
        rows.append(f"| {', '.join(ids)} | {', '.join(arguments)} | {says} |")
    return "\n".join(rows)


def _example(completion: str, score: float, config: dict[str, Any] | None = None, **asked: dict[str, Any]) -> Example:
    ids = [name.replace("__", ":") for name in asked]
    reference = {"instruction_id_list": ids, "kwargs": list(asked.values())}
    return Example(Item(completion=completion, reference=reference), score, config or {})


@register
class Instructions(DirectKind[InstructionsConfig]):
    __doc__ = f"""Check that the completion follows instructions such as IFEval's: lengths, keywords, layout, case, language.

An item's reference lists the instructions by id, with their arguments, exactly as the rows of IFEval
(google/IFEval) do; ids of open-instruct's IFEvalG and common training constraints are known as well. (open-instruct's
rows hold the same as text in their `ground_truth`: parse it, and rename `instruction_id` to `instruction_id_list`.)
Each instruction is a component of the verdict, named by its place and id (`0:length_constraints:number_words`), 1 where
it is followed and 0 where not; `detail.broken` says in a few words why. A completion without a letter or digit follows
none. What a reader does not see is left out first: invisible characters, and HTML comments outside code.

## Instructions

A `?` marks an argument that may be left out. `relation` is `at least` or `less than`; `min` and `max` bound a number,
and one of them is enough. Upper and lower case are the same unless the table says otherwise.

{_table()}

## What differs from the public checkers

Verdicts differ from google-research/instruction_following_eval, and its copies in lm-evaluation-harness and
open-instruct, where those do not check what the instruction says:

| instruction | there | here |
|---|---|---|
| language, `english_capital`, `english_lowercase` | the detector draws random numbers, and a text it cannot tell passes | always the same; passes if the language is more likely than all others together and no paragraph of 100 letters is surely in another |
| keywords, forbidden words | patterns, inside words: `war` in `toward` | whole words; what looks like a forbidden one is one, such as `w**a**r`, or `war` with a Cyrillic letter |
| `letter_frequency` | a "letter" such as `#` becomes a random one | any character |
| words | `don't` and `3.5` are two words each, Hindi breaks at vowel signs | one word each |
| sentences | a model fetched at run time | rules: punctuation, blank lines, items of lists |
| `nth_paragraph_first_word` | blank paragraphs shift the place; `it's` is `it` | the paragraphs that are counted; whole words |
| `number_paragraphs`, `two_responses` | any run of asterisks divides | a divider that stands by itself; the two answers differ in words |
| `number_bullet_lists`, `number_highlighted_sections` | `*emphasis*` and `---` are bullets, `2 * 3 * 4` is a highlight | as in Markdown |
| `multiple_sections` | any mention counts | numbers 1 to N in order at the beginnings of lines, none empty |
| `constrained_response` | an answer with all three options passes | exactly one of them, in any case |
| `quotation` | `"Hi," he said, "bye"` passes | the first mark is closed by the last |
| `json_format` | strings, numbers and NaN pass | an object or array, strictly |
| `postscript` | `p.s.` anywhere | after the text, at the beginning of a line or sentence, and it goes on |
| `repeat_prompt` | the prompt alone passes | an answer follows |
| `number_placeholders` | `[]`, `[1]` and links count | a letter inside, no link, no ticked box |
| an argument is missing | drawn at random | the item is `unscored`, and the error names the argument |

## Outcomes

`correct` (all are followed), `partial` (`reward: fraction`), `incorrect`; `unparseable` where the thinking part never
ends; `output_exceeded` beyond {MAX_CHARS:,} characters; `timeout` where reading the text uses up a worker's time. An
unknown id or an argument that is missing, unknown or of the wrong type makes the item `unscored` (`bad_item`).

## Limits

Sentences are found by rules made for European languages, Hindi, Arabic, Chinese and Japanese; Thai has no punctuation
at their ends. Chinese and Japanese characters count as one word each; a run of Thai, Lao, Khmer or Burmese counts as
one. Languages close to each other pass for one another: Malay and Indonesian, Bokmål and Nynorsk, Bosnian and Croatian;
answers of a few words are often too short to tell. What stands in code does not count for the language, whatever it
says. Only the text is judged: an answer of nothing but keywords passes
where keywords are all that is asked.
"""  # noqa: E501

    kind: ClassVar[str] = "instructions"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "memory"
    Config: ClassVar[type[BaseModel]] = InstructionsConfig
    reference: ClassVar[TypeAdapter[Any]] = REFERENCE
    examples: ClassVar[Sequence[Example]] = (
        _example(
            "Rivers run to the sea. The sea runs nowhere.",
            1.0,
            keywords__existence={"keywords": ["sea", "rivers"]},
            length_constraints__number_sentences={"relation": "at least", "num_sentences": 2},
            punctuation__no_comma={},
        ),
        _example(
            "Rivers, all of them, run to the sea.",
            0.5,
            {"reward": "fraction"},
            keywords__frequency={"keyword": "sea", "frequency": 1, "relation": "at least"},
            punctuation__no_comma={},
        ),
        _example("Seaside.", 0.0, keywords__existence={"keywords": ["sea"]}),
        _example(
            'Here is the JSON you asked for:\n{"city": "Paris"}',
            1.0,
            {"mode": "loose"},
            detectable_format__json_format={},
        ),
        _example(
            "<think>two points</think>* one\n* two",
            1.0,
            detectable_format__number_bullet_lists={"num_bullets": 2},
        ),
        _example(
            "Der Fluss fließt durch das Tal und weiter bis zum Meer.",
            1.0,
            language__response_language={"language": "de"},
        ),
        _example(
            "The river flows through the valley and on to the sea.",
            0.0,
            language__response_language={"language": "de"},
        ),
    )

    def costly(self, item: Item) -> bool:
        """See `DirectKind.costly`."""
        reference = item.reference
        ids = reference.get("instruction_id_list") if isinstance(reference, dict) else None
        if not isinstance(ids, list) or len(ids) > MAX_INSTRUCTIONS:
            return False
        return (
            any(isinstance(name, str) and name in LANGUAGE_IDS for name in ids)
            or self._chars(item, ids) > INLINE_CHARS
        )

    def _chars(self, item: Item, ids: list[Any]) -> int:
        """Characters to look at, counted once for each instruction and way of reading, repeated texts included."""
        kwargs = item.reference.get("kwargs")
        given = [entry for entry in kwargs if isinstance(entry, dict)] if isinstance(kwargs, list) else []
        texts = [value for entry in given[:MAX_INSTRUCTIONS] for value in list(entry.values())[:MAX_FIELDS]]
        repeated = sum(len(text) for text in texts if isinstance(text, str))
        phrases = sum(len(some) for some in texts if isinstance(some, list))
        runs = sum(min(n, MAX_NGRAM) for entry in given if isinstance(n := entry.get("n"), int) and n > 0)
        readings = VARIANTS if self.config.mode == "loose" else 1
        text = item.text
        chars = len(text) * len(ids) + repeated + phrases * (PHRASE_CHARS + len(text) // 16) + runs * len(text) // 4
        if chars * readings > INLINE_CHARS:
            return chars * readings
        chars += MARK_CHARS * sum(1 for _ in _MARK.finditer(text)) + (0 if text.isascii() else WIDE_CHARS * len(text))
        return chars * readings

    def verify_one(self, item: Item) -> Verdict:
        """See `DirectKind.verify_one`."""
        asked = asked_of(item.reference)
        none = dict.fromkeys(asked, 0.0)
        text = section(item, self.config.section)
        if text is None:
            return Verdict(Outcome.UNPARSEABLE, 0.0, {"stage": "section"}, components=none)
        if len(text) > MAX_CHARS:
            return Verdict(Outcome.OUTPUT_EXCEEDED, 0.0, {"stage": "length", "limit": MAX_CHARS}, components=none)
        readings = self._readings(displayed(text), item.prompt_text)
        broken = {name: why for name, instruction in asked.items() if (why := _broken(instruction, readings))}
        components = {name: float(name not in broken) for name in asked}
        detail: dict[str, Any] = {"stage": "instructions"}
        if not broken:
            return Verdict(Outcome.CORRECT, 1.0, detail, components=components)
        detail["broken"] = broken
        share = (len(asked) - len(broken)) / len(asked)
        if share == 0 or self.config.reward == "all":
            return Verdict(Outcome.INCORRECT, 0.0, detail, components=components)
        return Verdict(Outcome.PARTIAL, share, detail, components=components)

    def _readings(self, text: str, prompt: str) -> list[Reading]:
        """The text, and in loose mode what IFEval's loose accuracy makes of it; blank ones left out."""
        texts = [text]
        if self.config.mode == "loose":
            lines = text.split("\n")
            texts += ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
            texts += [variant.replace("*", "") for variant in texts]
        return [Reading(variant, prompt) for variant in dict.fromkeys(texts) if has_word(variant)]


def _broken(instruction: Instruction, readings: list[Reading]) -> str:
    """Why no reading of the text follows the instruction: what is wrong with the first; empty where one does."""
    first = ""
    for reading in readings:
        why = instruction.broken(reading)
        if not why:
            return ""
        first = first or why
    return first or "the text is blank"


Instructions.guarded = (*Instructions.guarded, "verifiers.instructions.language_model")

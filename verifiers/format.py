"""`format`: the completion has the sections that were asked for, such as think and answer, in order and balanced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, TypeAdapter

from verifiers.base import ConfigError, Example, Item, KindConfig, Outcome, Verdict, register
from verifiers.direct import DirectKind
from verifiers.invisible import is_seen
from verifiers.tagged import Tag
from verifiers.thinking import prompt_tail

INLINE_CHARS = 1_000_000
"""Characters times sections that are searched in a millisecond or two."""
FEW = 100
"""Occurrences of a section that are looked at in a fraction of a millisecond."""
INLINE_MANY_CHARS = 8_192
"""Characters in which more than `FEW` sections are found in a few milliseconds."""
MAX_OCCURRENCES = 10_000
MAX_SPANS = 2**31
"""Occurrences of a section that may occur any number of times."""

Marker = Annotated[str, Field(min_length=1, max_length=64)]
Span = tuple[int, int]
"""Where a section begins and ends, its markers included."""


class SectionConfig(KindConfig):
    """A section that is not simply one pair of tags."""

    name: Tag = Field(description="Name of the section's components, and of its tag where no markers are given.")
    open: Marker | None = Field(
        None, description="What begins the section. null: `<name>`.", examples=["<|begin_of_thought|>"]
    )
    close: Marker | None = Field(
        None, description="What ends the section. null: `</name>`.", examples=["<|end_of_thought|>"]
    )
    min: int = Field(1, ge=0, le=MAX_OCCURRENCES, description="How often it must occur at least.")
    max: int | None = Field(
        1, ge=1, le=MAX_OCCURRENCES, description="How often it may occur at most. null: any number of times."
    )


class FormatConfig(KindConfig):
    """The sections, and what is asked of them."""

    sections: list[Tag | SectionConfig] = Field(
        ["think", "answer"],
        min_length=1,
        max_length=16,
        description="The sections in their order: the name of a tag that occurs once (`think` stands for "
        "`<think>...</think>`), or an object.",
    )
    ordered: bool = Field(True, description="Whether the sections must come in the order given.")
    non_empty: bool = Field(
        True, description="Whether a section must hold more than white space and invisible characters."
    )
    outside: Literal["allow", "forbid"] = Field(
        "allow", description="Whether text besides white space may stand outside the sections."
    )
    lines: bool = Field(False, description="Whether every marker must stand on a line of its own.")
    reward: Literal["all", "fraction", "markers"] = Field(
        "all",
        description="`all`: 1 if every rule holds, else 0; `fraction`: the share of the rules that hold; `markers`: "
        "the share of the markers that occur as often as they should, wherever they are.",
    )


@dataclass(frozen=True, slots=True)
class Section:
    """A section as it is looked for."""

    name: str
    open: str
    close: str
    min: int
    max: int

    def spans(self, text: str) -> list[Span] | None:
        """Every occurrence; None where one is not closed, or closes nothing, or is inside another, or in too many."""
        found: list[Span] = []
        at = 0
        while len(found) <= self.max:
            start, close = text.find(self.open, at), text.find(self.close, at)
            if start < 0 and close < 0:
                return found if len(found) >= self.min else None
            if start < 0 or close < start + len(self.open):
                return None
            if text.find(self.open, start + len(self.open), close) >= 0:
                return None
            at = close + len(self.close)
            found.append((start, at))
        return None

    def holds_text(self, text: str, span: Span) -> bool:
        """Whether an occurrence holds more than white space and characters that nobody sees."""
        return is_seen(text[span[0] + len(self.open) : span[1] - len(self.close)])

    def on_lines(self, text: str, span: Span) -> bool:
        """Whether both markers of an occurrence stand on lines of their own."""
        start, end = span
        return _alone(text, start, start + len(self.open)) and _alone(text, end - len(self.close), end)


@register
class Format(DirectKind[FormatConfig]):
    """Check that the completion has the required sections, such as think and answer: closed, in order, not empty.

    For templates such as DeepSeek-R1's `<think>...</think><answer>...</answer>`.

    The rules come back as components, always the same ones for a configuration:

    | component | holds where |
    |---|---|
    | `NAME` | the section occurs as often as it should, each time opened and closed, and never inside itself |
    | `NAME:non_empty` | the section is there, and holds something that is seen each time (with `non_empty`) |
    | `sections:order` | `NAME` holds for all, none is inside or across another, and they are in order if `ordered` |
    | `sections:outside` | the same, and only white space stands outside them (with `"outside": "forbid"`) |
    | `sections:lines` | the same, and every marker has a line of its own (with `lines`) |

    A section twice is wrong unless its `max` allows it: several answers are a list of guesses. Where the prompt ends
    with a section's opening marker, the chat template opened it and the completion must not do so again.

    ## Configuration
    `{"lines": true, "outside": "forbid"}` asks for what the format reward of open-r1 asks for, and
    `{"reward": "markers"}` gives a quarter for each tag, as its tag count reward. The last example is for a policy
    that searches between its thoughts, as with Search-R1.

    ## Reference
    Not read.

    ## Outcomes
    `correct`, `incorrect`, and `partial` with `fraction` and `markers`. `detail.broken` names the rules that do not
    hold; under `markers` they do not decide.

    ## Limits
    Markers are compared as they are written, letter case included, wherever they occur: a completion that quotes
    `<answer>` inside its thinking has that marker twice. No marker may be part of another. With an order, all
    occurrences of a section come before those of the next.
    """

    kind: ClassVar[str] = "format"
    revision: ClassVar[int] = 2
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "none"
    Config: ClassVar[type[BaseModel]] = FormatConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(Any)
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion="<think>6 * 7</think>\n<answer>42</answer>"), 1.0),
        Example(Item(prompt="6 * 7?<think>\n", completion="It is 42.</think><answer>42</answer>"), 1.0),
        Example(Item(completion="<think>6 * 7</think><answer>41</answer><answer>42</answer>"), 0.0),
        Example(Item(completion="<think>6 * 7</think>42"), 0.4, {"reward": "fraction"}),
        Example(Item(completion="<think>\n6 * 7\n</think>\nSo <answer>42"), 0.75, {"reward": "markers"}),
        Example(
            Item(completion="<|begin_of_thought|>6 * 7<|end_of_thought|><|begin_of_solution|>42<|end_of_solution|>"),
            1.0,
            {
                "outside": "forbid",
                "sections": [
                    {"name": "thought", "open": "<|begin_of_thought|>", "close": "<|end_of_thought|>"},
                    {"name": "solution", "open": "<|begin_of_solution|>", "close": "<|end_of_solution|>"},
                ],
            },
        ),
        Example(
            Item(completion="<think>Who?</think><search>Seine</search><think>Paris</think><answer>Paris</answer>"),
            1.0,
            {
                "sections": [{"name": "think", "max": None}, {"name": "search", "min": 0, "max": None}, "answer"],
                "ordered": False,
            },
        ),
    )

    def __init__(self, config: FormatConfig) -> None:
        super().__init__(config)
        self._sections = [_section(section, f"/sections/{i}") for i, section in enumerate(config.sections)]
        for i, section in enumerate(self._sections):
            for other in self._sections[:i]:
                if section.name == other.name:
                    raise ConfigError(f"two sections are named {section.name}", f"/sections/{i}")
        markers = [marker for section in self._sections for marker in (section.open, section.close)]
        for i, marker in enumerate(markers):
            if any(marker in other for j, other in enumerate(markers) if j != i):
                raise ConfigError(f"the marker {marker} is part of another marker", f"/sections/{i // 2}")
        self._many = any(section.max > FEW for section in self._sections)

    def costly(self, item: Item) -> bool:
        """See `DirectKind.costly`."""
        size = len(item.text)
        return size * len(self._sections) > INLINE_CHARS or (self._many and size > INLINE_MANY_CHARS)

    def verify_one(self, item: Item) -> Verdict:
        """See `DirectKind.verify_one`."""
        text = self._opened_by_prompt(item) + item.text
        rules = self._rules(text)
        components = {name: float(holds) for name, holds in rules.items()}
        detail: dict[str, Any] = {"stage": "sections"}
        if broken := [name for name, holds in rules.items() if not holds]:
            detail["broken"] = broken
        share = self._markers_share(text) if self.config.reward == "markers" else sum(rules.values()) / len(rules)
        if share == 1:
            return Verdict(Outcome.CORRECT, 1.0, detail, components=components)
        if share == 0 or self.config.reward == "all":
            return Verdict(Outcome.INCORRECT, 0.0, detail, components=components)
        return Verdict(Outcome.PARTIAL, share, detail, components=components)

    def _opened_by_prompt(self, item: Item) -> str:
        """The marker with which the prompt ends, on a line: a chat template began that section for the completion."""
        tail = prompt_tail(item)
        return next((f"{s.open}\n" for s in self._sections if tail.endswith(s.open)), "")

    def _rules(self, text: str) -> dict[str, bool]:
        """Every rule by its name. Those on all sections together fail where a section itself is not right."""
        spans = [section.spans(text) for section in self._sections]
        rules: dict[str, bool] = {}
        for section, found in zip(self._sections, spans, strict=True):
            rules[section.name] = found is not None
            if self.config.non_empty:
                full = found is not None and all(section.holds_text(text, span) for span in found)
                rules[f"{section.name}:non_empty"] = full
        occurrences = [(span, i) for i, found in enumerate(spans) for span in found or ()]
        in_text = sorted(occurrences)
        apart = None not in spans and all(before[1] <= after[0] for (before, _), (after, _) in pairwise(in_text))
        rules["sections:order"] = apart and (in_text == occurrences or not self.config.ordered)
        if self.config.outside == "forbid":
            rules["sections:outside"] = apart and _blank_outside(text, [span for span, _ in in_text])
        if self.config.lines:
            rules["sections:lines"] = apart and all(self._sections[i].on_lines(text, span) for span, i in in_text)
        return rules

    def _markers_share(self, text: str) -> float:
        """The share of the markers that occur as often as they should."""
        right = sum(
            section.min <= text.count(marker) <= section.max
            for section in self._sections
            for marker in (section.open, section.close)
        )
        return right / (2 * len(self._sections))


def _section(section: str | SectionConfig, at: str) -> Section:
    """A section of the configuration that stands at the pointer `at`. Raises `ConfigError`."""
    if isinstance(section, str):
        return Section(section, f"<{section}>", f"</{section}>", 1, 1)
    if (section.open is None) != (section.close is None):
        raise ConfigError("give both open and close, or neither for the tags of the name", at)
    largest = MAX_SPANS if section.max is None else section.max
    if largest < section.min:
        raise ConfigError("max is below min", f"{at}/max")
    opening, closing = section.open or f"<{section.name}>", section.close or f"</{section.name}>"
    return Section(section.name, opening, closing, section.min, largest)


def _alone(text: str, start: int, end: int) -> bool:
    """Whether nothing but blanks stands on the lines of `text[start:end]` besides it."""
    line = text.rfind("\n", 0, start) + 1
    following = text.find("\n", end)
    return not (text[line:start].strip() or text[end : following if following >= 0 else None].strip())


def _blank_outside(text: str, spans: list[Span]) -> bool:
    edge = 0
    for start, end in [*spans, (len(text), len(text))]:
        outside = text[edge:start]
        if outside and not outside.isspace():
            return False
        edge = end
    return True

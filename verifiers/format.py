"""`format`: the completion has the sections that were asked for, such as think and answer, in order and balanced."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, TypeAdapter

from verifiers.base import ConfigError, Example, Item, KindConfig, Outcome, Verdict, register
from verifiers.direct import DirectKind
from verifiers.thinking import prompt_tail

INLINE_CHARS = 1_000_000
"""Characters times sections that are searched in a millisecond or two."""

Marker = Annotated[str, Field(min_length=1, max_length=64)]


Tag = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_.-]{0,60}$")]


class Markers(KindConfig):
    """A section between two markers of any form."""

    name: Tag = Field(description="Name of the section's components.")
    open: Marker = Field(description="What begins the section.", examples=["<|begin_of_thought|>"])
    close: Marker = Field(description="What ends the section.", examples=["<|end_of_thought|>"])


class FormatConfig(KindConfig):
    """The sections, and what is asked of them."""

    sections: list[Tag | Markers] = Field(
        ["think", "answer"],
        min_length=1,
        max_length=16,
        description="The sections in their order: a tag's name (think stands for <think>...</think>) or markers.",
    )
    ordered: bool = Field(True, description="Whether the sections must come in the order given.")
    non_empty: bool = Field(True, description="Whether a section must hold more than white space.")
    outside: Literal["allow", "forbid"] = Field(
        "allow", description="Whether text besides white space may stand outside the sections."
    )
    reward: Literal["all", "fraction"] = Field(
        "all", description="all: 1 if every rule holds, else 0; fraction: the share of the rules that hold."
    )


@register
class Format(DirectKind[FormatConfig]):
    """Check that the completion has the required sections, each once, closed, in order and not empty."""

    kind: ClassVar[str] = "format"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "none"
    Config: ClassVar[type[BaseModel]] = FormatConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(Any)
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion="<think>6 * 7</think>\n<answer>42</answer>"), 1.0),
        Example(Item(prompt="6 * 7?<think>\n", completion="6 * 7 = 42</think><answer>42</answer>"), 1.0),
        Example(Item(completion="<think>6 * 7 = 42<answer>42</answer>"), 0.0),
        Example(Item(completion="<answer>42</answer><think>6 * 7</think>"), 0.8, {"reward": "fraction"}),
    )

    def __init__(self, config: FormatConfig) -> None:
        super().__init__(config)
        self._sections = [_markers(section) for section in config.sections]
        for i, section in enumerate(self._sections):
            for other in self._sections[:i]:
                if section.name == other.name:
                    raise ConfigError(f"two sections are named {section.name}", f"/sections/{i}")
        markers = [marker for section in self._sections for marker in (section.open, section.close)]
        for i, marker in enumerate(markers):
            if any(marker in other for j, other in enumerate(markers) if j != i):
                raise ConfigError(f"the marker {marker} is part of another marker", f"/sections/{i // 2}")

    def costly(self, item: Item) -> bool:
        """See `DirectKind.costly`."""
        return len(item.text) * len(self._sections) > INLINE_CHARS

    def verify_one(self, item: Item) -> Verdict:
        """See `DirectKind.verify_one`."""
        rules = self._rules(self._opened_by_prompt(item) + item.text)
        held = sum(rules.values())
        components = {name: float(holds) for name, holds in rules.items()}
        detail: dict[str, Any] = {"stage": "sections"}
        if held == len(rules):
            return Verdict(Outcome.CORRECT, 1.0, detail, components=components)
        detail["broken"] = [name for name, holds in rules.items() if not holds]
        if held == 0 or self.config.reward == "all":
            return Verdict(Outcome.INCORRECT, 0.0, detail, components=components)
        return Verdict(Outcome.PARTIAL, held / len(rules), detail, components=components)

    def _opened_by_prompt(self, item: Item) -> str:
        """The marker with which the prompt ends: a chat template began that section for the completion."""
        tail = prompt_tail(item)
        return next((s.open for s in self._sections if tail.endswith(s.open)), "")

    def _rules(self, text: str) -> dict[str, bool]:
        """Every rule by its name. Those on all sections together fail where a section itself is not right."""
        spans = [_span(text, section) for section in self._sections]
        rules: dict[str, bool] = {}
        for section, span in zip(self._sections, spans, strict=True):
            rules[section.name] = span is not None
            if self.config.non_empty:
                inside = text[span[0] + len(section.open) : span[1] - len(section.close)] if span else ""
                rules[f"{section.name}:non_empty"] = bool(inside) and not inside.isspace()
        found = [span for span in spans if span is not None]
        in_order = sorted(found)
        complete = len(found) == len(spans)
        apart = complete and all(before[1] <= after[0] for before, after in pairwise(in_order))
        rules["sections:order"] = apart and (found == in_order or not self.config.ordered)
        if self.config.outside == "forbid":
            rules["sections:outside"] = apart and _blank_outside(text, in_order)
        return rules


def _markers(section: str | Markers) -> Markers:
    if isinstance(section, Markers):
        return section
    return Markers(name=section, open=f"<{section}>", close=f"</{section}>")


def _span(text: str, section: Markers) -> tuple[int, int] | None:
    """Where a section begins and ends, markers included; None unless each marker occurs exactly once, in order."""
    start, end = text.find(section.open), text.find(section.close)
    if start < 0 or end < start + len(section.open):
        return None
    if text.find(section.open, start + 1) >= 0 or text.find(section.close, end + 1) >= 0:
        return None
    return start, end + len(section.close)


def _blank_outside(text: str, spans: list[tuple[int, int]]) -> bool:
    edge = 0
    for start, end in [*spans, (len(text), len(text))]:
        outside = text[edge:start]
        if outside and not outside.isspace():
            return False
        edge = end
    return True

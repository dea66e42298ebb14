"""Templates of graders: text in which `{{ item.answer }}` and `{{ sample.output_tools[0].function.name }}` stand.

Between the braces stands the path of one value and nothing else: no filters, no conditions, no expressions. A
template is read once, when it is registered, so that braces in what an item holds are never anything but text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from verifiers.base import ConfigError, Outcome, clip
from verifiers.grader.faults import ItemFaultError, SampleFaultError

if TYPE_CHECKING:
    from verifiers.grader.variables import Variables

MAX_TEMPLATE = 20_000
"""Characters of a template."""
MAX_RENDERED = 2_000_000
"""Characters of what a template may make."""
MAX_STEPS = 32
"""Steps of a path."""

SampleField = Literal["output_text", "output_json", "output_tools", "choices"]
SAMPLE_FIELDS: tuple[SampleField, ...] = get_args(SampleField)

_STEP = re.compile(
    r"\.(?P<name>[^\s.\[\]{}'\"|]+)|\[(?P<index>[0-9]{1,6})\]|\[(?P<quote>['\"])(?P<key>[^'\"{}]+)(?P=quote)\]"
)
_HOW = "between '{{' and '}}' stands a path: item.answer, item['two words'], sample.output_tools[0].function.name"


@dataclass(frozen=True, slots=True)
class Path:
    """Where a value stands in one of the two namespaces."""

    namespace: Literal["item", "sample"]
    steps: tuple[str | int, ...]
    text: str

    def __str__(self) -> str:
        return clip(self.text, 100)


@dataclass(frozen=True, slots=True)
class Template:
    """A template that was read: text, and the paths of the values that stand in it."""

    parts: tuple[str | Path, ...]

    @property
    def shows_sample(self) -> bool:
        """Whether the sample decides anything about the text."""
        return any(isinstance(part, Path) and part.namespace == "sample" for part in self.parts)

    def text(self, variables: Variables) -> str:
        """The text for one item. Raises `ItemFaultError` and `SampleFaultError`."""
        return "".join(text for text, _ in self.pieces(variables))

    def pieces(self, variables: Variables) -> Iterator[tuple[str, bool]]:
        """The pieces of the text, each with whether the sample wrote it. Raises as `text` does."""
        of_item = of_sample = 0
        for part in self.parts:
            from_sample = isinstance(part, Path) and part.namespace == "sample"
            text = part if isinstance(part, str) else written(variables.value(part))
            if from_sample:
                of_sample += len(text)
            else:
                of_item += len(text)
            if of_item > MAX_RENDERED:
                raise ItemFaultError(f"the grader makes more than {MAX_RENDERED:,} characters of the item")
            if of_item + of_sample > MAX_RENDERED:
                message = f"the grader makes more than {MAX_RENDERED:,} characters of the sample"
                raise SampleFaultError(message, Outcome.OUTPUT_EXCEEDED)
            yield text, from_sample


def written(value: Any) -> str:
    """A value as it stands in a text: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def parse(source: str, where: str) -> Template:
    """Read a template. Raises `ConfigError` at the JSON pointer `where`."""
    if len(source) > MAX_TEMPLATE:
        raise ConfigError(f"the template has {len(source):,} characters, {MAX_TEMPLATE:,} are allowed", where)
    parts: list[str | Path] = []
    at = 0
    while (start := source.find("{{", at)) >= 0:
        while source.startswith("{", start + 2):  # of three braces, the first is text
            start += 1
        end = source.find("}}", start + 2)
        if end < 0:
            raise ConfigError(f"line {source.count(chr(10), 0, start) + 1}: a '{{{{' has no '}}}}'; {_HOW}", where)
        try:
            parts += [source[at:start], _path(source[start + 2 : end].strip())]
        except ValueError as error:
            raise ConfigError(f"line {source.count(chr(10), 0, start) + 1}: {error}", where) from None
        at = end + 2
    return Template(tuple(part for part in (*parts, source[at:]) if part))


def _path(text: str) -> Path:
    """The path that a text writes. Raises ValueError with what is wrong."""
    namespace = next((name for name in ("item", "sample") if text.startswith(name)), None)
    steps: list[str | int] = []
    at = 0 if namespace is None else len(namespace)
    while namespace is not None and at < len(text) and (step := _STEP.match(text, at)):
        steps.append(int(step["index"]) if step["index"] else step["name"] or step["key"])
        at = step.end()
    if namespace is None or at < len(text):
        raise ValueError(f"{clip(text, 60)!r} is no path; {_HOW}")
    if len(steps) > MAX_STEPS:
        raise ValueError(f"{clip(text, 60)!r} has more than {MAX_STEPS} steps")
    if namespace == "sample":
        if not steps or steps[0] not in SAMPLE_FIELDS:
            raise ValueError(f"{clip(text, 60)!r}: a sample has {', '.join(SAMPLE_FIELDS)}")
        return Path("sample", tuple(steps), text)
    return Path("item", tuple(steps), text)

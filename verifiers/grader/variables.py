"""What a grader's templates and functions can name: the namespaces `item` and `sample` of one item.

Source: OpenAI's guide to graders, "Templating" (developers.openai.com/api/docs/guides/graders).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from verifiers.base import Item, Message, Outcome
from verifiers.grader.faults import ItemFaultError, SampleFaultError
from verifiers.grader.templates import Path
from verifiers.json_schema.text import NotJSONError, read

MAX_JSON = 500_000
"""Characters of a sample that is read as JSON: in ten milliseconds at most."""


class Variables:
    """The namespaces of one item. `sample` is read as far as it is asked for."""

    def __init__(self, item: Item) -> None:
        self._item = item

    @cached_property
    def item(self) -> dict[str, Any]:
        """The dataset's row: the item's reference, or an object that holds it as `reference` where it is none."""
        reference = self._item.reference
        return reference if isinstance(reference, dict) else {} if reference is None else {"reference": reference}

    @cached_property
    def _message(self) -> dict[str, Any]:
        """The last message that the model wrote, in the form of a chat completion."""
        completion = self._item.completion
        if isinstance(completion, str):
            return {"role": "assistant", "content": completion}
        last = next(message for message in reversed(completion) if message.role == "assistant")
        return Message.model_dump(last, exclude_unset=True)

    @cached_property
    def output_text(self) -> str:
        """What the model wrote."""
        return self._item.text

    @cached_property
    def output_json(self) -> Any:
        """What the model wrote, as JSON. Raises `SampleFaultError` where it is none."""
        if len(self.output_text) > MAX_JSON:
            message = f"the sample has {len(self.output_text):,} characters, {MAX_JSON:,} are read as JSON"
            raise SampleFaultError(message, Outcome.OUTPUT_EXCEEDED)
        try:
            return read(self.output_text, "whole")
        except NotJSONError as error:
            raise SampleFaultError(f"the sample is not JSON: {error}") from None

    @cached_property
    def output_tools(self) -> list[Any]:
        """The calls of tools that the model made, as it wrote them."""
        calls = self._message.get("tool_calls")
        return calls if isinstance(calls, list) else []

    @cached_property
    def choices(self) -> list[Any]:
        """The one choice of a chat completion that the sample is."""
        return [{"index": 0, "message": self._message, "finish_reason": self._item.finish_reason}]

    def sample(self) -> dict[str, Any]:
        """The whole namespace; `output_json` is null where the sample is no JSON."""
        try:
            parsed = self.output_json
        except SampleFaultError:
            parsed = None
        return {
            "choices": self.choices,
            "output_text": self.output_text,
            "output_json": parsed,
            "output_tools": self.output_tools,
        }

    def value(self, path: Path) -> Any:
        """What a path leads to. Raises `ItemFaultError` and `SampleFaultError` where that is nothing."""
        value: Any = self.item
        steps = path.steps
        if path.namespace == "sample":
            value, steps = getattr(self, str(steps[0])), steps[1:]
        try:
            for step in steps:
                value = _within(value, step)
        except LookupError:
            if path.namespace == "sample":
                raise SampleFaultError(f"the sample has no {path}") from None
            raise ItemFaultError(f"the item has no {path}, which the grader names") from None
        return value


def _within(value: Any, step: str | int) -> Any:
    """The member of an object, or the element of a list. Raises LookupError."""
    if isinstance(step, str) and isinstance(value, dict):
        return value[step]
    if isinstance(step, int) and isinstance(value, list):
        return value[step]
    raise LookupError(step)

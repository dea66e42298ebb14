"""One list of calls in every form that a model may write it in."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

Calls = Sequence[tuple[str, dict[str, Any]]]
"""Names and arguments."""


def message(calls: Calls, text: str | None = None) -> list[dict[str, Any]]:
    """An assistant's message as OpenAI's API gives it."""
    entries = [
        {"id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for index, (name, arguments) in enumerate(calls)
    ]
    return [{"role": "assistant", "content": text, "tool_calls": entries}]


def as_json(calls: Calls, key: str = "arguments") -> str:
    objects = [{"name": name, key: arguments} for name, arguments in calls]
    return json.dumps(objects[0] if len(objects) == 1 else objects)


def fenced(calls: Calls) -> str:
    return f"```json\n{as_json(calls)}\n```"


def hermes(calls: Calls) -> str:
    return "\n".join(f"<tool_call>\n{as_json([call])}\n</tool_call>" for call in calls)


def llama_function(calls: Calls) -> str:
    return "".join(f"<function={name}>{json.dumps(arguments)}</function>" for name, arguments in calls)


def llama_json(calls: Calls) -> str:
    return "; ".join(as_json([call], "parameters") for call in calls)


def python_tag(calls: Calls) -> str:
    return "<|python_tag|>" + llama_json(calls) + "<|eom_id|>"


def mistral(calls: Calls) -> str:
    return "[TOOL_CALLS] " + json.dumps([{"name": name, "arguments": arguments} for name, arguments in calls])


def mistral_args(calls: Calls) -> str:
    return "".join(f"[TOOL_CALLS]{name}[ARGS]{json.dumps(arguments)}" for name, arguments in calls)


def deepseek(calls: Calls) -> str:
    blocks = "".join(
        f"<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{json.dumps(arguments)}<｜tool▁call▁end｜>"
        for name, arguments in calls
    )
    return f"<｜tool▁calls▁begin｜>{blocks}<｜tool▁calls▁end｜><｜end▁of▁sentence｜>"


def deepseek_v3(calls: Calls) -> str:
    blocks = "\n".join(
        f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{json.dumps(arguments)}\n```<｜tool▁call▁end｜>"
        for name, arguments in calls
    )
    return f"<｜tool▁calls▁begin｜>{blocks}<｜tool▁calls▁end｜>"


def qwen_coder(calls: Calls) -> str:
    return "\n".join(f"<tool_call>\n{_function(name, arguments)}\n</tool_call>" for name, arguments in calls)


def _function(name: str, arguments: dict[str, Any]) -> str:
    parameters = "".join(
        f"<parameter={key}>\n{value if isinstance(value, str) else json.dumps(value)}\n</parameter>\n"
        for key, value in arguments.items()
    )
    return f"<function={name}>\n{parameters}</function>"


def python(calls: Calls) -> str:
    written = ", ".join(
        f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})" for name, arguments in calls
    )
    return f"[{written}]"


def python_fenced(calls: Calls) -> str:
    return f"```python\n{python(calls)}\n```"


def after_thinking(calls: Calls) -> str:
    thought = f"<think>\nMaybe {python(calls[:1])}? Or {hermes(calls[:1])}\n</think>"
    return f"{thought}\n\nLet me do that.\n{hermes(calls)}<|im_end|>"


FORMS: dict[str, Callable[[Calls], Any]] = {
    form.__name__: form
    for form in (
        *(message, as_json, fenced, hermes, llama_function, llama_json, python_tag, mistral, mistral_args),
        *(deepseek, deepseek_v3, qwen_coder, python, python_fenced, after_thinking),
    )
}

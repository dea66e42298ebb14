"""Calls that a text writes, in one of the forms that models are trained on.

- `<tool_call>…</tool_call>` around a JSON object (Hermes, Qwen), or around the next form (Qwen3-Coder)
- `<function=name>{…}</function>` (Llama 3), or with `<parameter=name>value</parameter>` inside (Qwen3-Coder)
- `[TOOL_CALLS][{…}]` and `[TOOL_CALLS]name[ARGS]{…}` (Mistral), to the end of the text
- `<|python_tag|>` and JSON or Python's syntax (Llama 3), to the end of the text
- `<｜tool▁call▁begin｜>…<｜tool▁call▁end｜>` (DeepSeek)
- nothing but JSON, or calls in Python's syntax, bare, as the one code block, or between `<|python_start|>` and
  `<|python_end|>` (Llama 4)

Text may stand around the tagged forms, and none around the bare ones. Read strictly: a block that is never closed, or
holds its own tags once more, such as inside a string, could be read in two ways, and is not read at all.
"""

from __future__ import annotations

import re
from typing import Any

from verifiers.json_schema.text import NotJSONError, read
from verifiers.tool_call.attempts import is_attempt
from verifiers.tool_call.calls import MAX_CALLS, Call, CallError, call_of, json_of, looks_like_call
from verifiers.tool_call.python_calls import NotCallsError, python_calls, python_literal
from verifiers.tool_call.tools import Tools, member, types_of

_ENDS = re.compile(
    r"(?:\s|<\|(?:im_end|eot_id|eom_id|eot|eom|end|endoftext|end_of_text)\|>|</s>|<end_of_turn>|<｜end▁of▁sentence｜>)*\Z"
)
_FENCED = re.compile(r"```[ \t]*(?:json|python|py|tool_code|tool_call|tool_calls)?[ \t]*\n(.*)\n[ \t]*```", re.DOTALL)
_BETWEEN_OBJECTS = re.compile(r"(?<=\})(?:\s*+;\s*+|[ \t]*+\n\s*+)(?=\{)")
_MISTRAL_NAMED = re.compile(
    r"\s*+([\w.-]{1,200}+)(?:\[CALL_ID\][\w-]{1,100}+)?+\s*+(?:\[ARGS\])?+\s*+(\{.*\})\s*+", re.DOTALL
)
_DEEPSEEK = re.compile(
    r"(?:function<｜tool▁sep｜>([^\n<｜]{1,200})\n```json\n(.*)\n```|([^\n<｜]{1,200})<｜tool▁sep｜>(.*))\s*",
    re.DOTALL,
)
_DEEPSEEK_AROUND = ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>")
_NAME = re.compile(r"[^\s<>=\"'\ud800-\udfff]{1,200}")


def read_text(text: str, tools: Tools) -> list[Call]:
    """The calls of a text; none where it does not try to call anything. Raises `CallError`."""
    ends = _ENDS.search(text, max(0, len(text.rstrip()) - 200))
    text = text[: ends.start()] if ends else text
    tagged, rest = _tagged(text, tools)
    if tagged:
        if is_attempt(rest, tools):
            raise CallError("calls, or parts of one, stand outside the blocks too")
        return tagged
    calls = _bare(text)
    if not calls and is_attempt(text, tools):
        raise CallError("something like a call is in no form that can be read")
    return calls


def _tagged(text: str, tools: Tools) -> tuple[list[Call], str]:
    """The calls in tagged blocks, all of one form, and what stands around them."""
    rest = text
    forms: list[list[Call]] = []
    bodies, rest = _blocks(rest, "<tool_call>", "</tool_call>")
    forms.append([call for body in bodies for call in _hermes(body, tools)])
    bodies, rest = _blocks(rest, "<function=", "</function>")
    forms.append([_function(body, tools) for body in bodies])
    bodies, rest = _blocks(rest, "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>")
    forms.append([_deepseek(body) for body in bodies])
    if bodies and all(rest.count(tag) == 1 for tag in _DEEPSEEK_AROUND):
        for tag in _DEEPSEEK_AROUND:
            rest = rest.replace(tag, "")
    rest, tag, body = rest.partition("[TOOL_CALLS]")
    forms.append(_mistral(body) if tag else [])
    rest, tag, body = rest.partition("<|python_tag|>")
    forms.append(_python_tag(body) if tag else [])
    used = [form for form in forms if form]
    if len(used) > 1:
        raise CallError("calls stand in two forms at once")
    return (used[0] if used else []), rest


def _blocks(text: str, opening: str, closing: str) -> tuple[list[str], str]:
    """What stands between pairs of tags, and the text around them."""
    bodies: list[str] = []
    around: list[str] = []
    at = 0
    while (start := text.find(opening, at)) >= 0:
        end = text.find(closing, start)
        if end < 0:
            raise CallError(f"{opening} is never closed")
        body = text[start + len(opening) : end]
        if opening in body:
            raise CallError(f"{opening} stands inside another")
        if len(bodies) == MAX_CALLS:
            raise CallError(f"more than {MAX_CALLS} calls")
        bodies.append(body)
        around.append(text[at:start])
        at = end + len(closing)
    around.append(text[at:])
    return bodies, "\n".join(around)


def _hermes(body: str, tools: Tools) -> list[Call]:
    if not body.lstrip().startswith("<function="):
        return [call_of(json_of(body))]
    functions, rest = _blocks(body, "<function=", "</function>")
    if rest.strip():
        raise CallError("a block holds more than its functions")
    return [_function(function, tools) for function in functions]


def _function(body: str, tools: Tools) -> Call:
    """`name>{…}`, or `name>` and parameters."""
    name, end, inside = body.partition(">")
    if not end or not _NAME.fullmatch(name):
        raise CallError("a function's tag holds no name")
    if inside.lstrip().startswith("{"):
        arguments = json_of(inside)
        if not isinstance(arguments, dict):
            raise CallError("the arguments are no JSON object")
        return Call(name, arguments)
    parameters, rest = _blocks(inside, "<parameter=", "</parameter>")
    if rest.strip():
        raise CallError("a function holds more than its parameters")
    tool = tools.find(name)
    schema: Any = tool.parameters if tool else None
    written: dict[str, Any] = {}
    for parameter in parameters:
        key, end, value = parameter.partition(">")
        if not end or not _NAME.fullmatch(key):
            raise CallError("a parameter's tag holds no name")
        if key in written:
            raise CallError(f"the parameter {key!r} is given twice")
        written[key] = _parameter(value.removeprefix("\n").removesuffix("\n"), types_of(member(schema, key), schema))
    return Call(name, written)


def _parameter(text: str, types: frozenset[str]) -> Any:
    """A parameter's value, which has no quotes to tell its type: the tool's schema says whether it is a string."""
    if text == "null" and "null" in types:
        return None
    if not types or "string" in types:
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise CallError("a string holds a lone surrogate") from None
        return text
    try:
        return json_of(text)
    except CallError:
        return python_literal(text)


def _mistral(text: str) -> list[Call]:
    """What follows the first `[TOOL_CALLS]`: a JSON list, or names with arguments, each with a tag of its own."""
    if text.lstrip().startswith("["):
        return _listed(json_of(text))
    calls = []
    for part in text.split("[TOOL_CALLS]", MAX_CALLS + 1):
        match = _MISTRAL_NAMED.fullmatch(part)
        if match is None:
            raise CallError("[TOOL_CALLS] is followed by no call")
        calls.append(call_of({"name": match[1], "arguments": json_of(match[2])}))
    return _few(calls)


def _python_tag(text: str) -> list[Call]:
    calls = _json_calls(text)
    if calls:
        return calls
    try:
        return python_calls(text)
    except NotCallsError:
        raise CallError("<|python_tag|> is followed by no call") from None


def _deepseek(body: str) -> Call:
    match = _DEEPSEEK.fullmatch(body)
    if match is None:
        raise CallError("a block holds no call")
    name, arguments = (match[1], match[2]) if match[1] else (match[3], match[4])
    return call_of({"name": name, "arguments": json_of(arguments)})


def _bare(text: str) -> list[Call]:
    """The calls of a text that is nothing else; none where it is something else."""
    text = text.strip().removeprefix("<|python_start|>").removesuffix("<|python_end|>").strip()
    if text.startswith("```") and text.count("```") == 2 and (fenced := _FENCED.fullmatch(text)):
        text = fenced[1].strip()
    if text.startswith(("{", "[")) and (calls := _json_calls(text)):
        return calls
    try:
        return python_calls(text)
    except NotCallsError:
        return []


def _json_calls(text: str) -> list[Call]:
    """The calls of a text that is a JSON object, a list, or objects parted by lines or semicolons."""
    try:
        value = read(text, "whole")
    except NotJSONError:
        parts = _BETWEEN_OBJECTS.split(text.strip(), MAX_CALLS + 1)
        if len(parts) == 1:
            return []
        try:
            value = [read(part, "whole") for part in parts]
        except NotJSONError:
            return []
    if looks_like_call(value):
        return [call_of(value)]
    if isinstance(value, list) and any(map(looks_like_call, value)):
        return _listed(value)
    return []


def _listed(value: Any) -> list[Call]:
    if not isinstance(value, list) or not value:
        raise CallError("a list of calls is empty, or no list")
    return _few([call_of(member) for member in value[: MAX_CALLS + 1]])


def _few(calls: list[Call]) -> list[Call]:
    if len(calls) > MAX_CALLS:
        raise CallError(f"more than {MAX_CALLS} calls")
    return calls

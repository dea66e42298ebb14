"""A tool or two, and verdicts on what calls them."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from tests.verifiers.support import assert_sound, configured, score
from verifiers.base import ConfigError, Verdict, explain, pointer
from verifiers.tool_call.tools import Tools, read_tools


def tool(name: str, required: tuple[str, ...] = (), **types: Any) -> dict[str, Any]:
    """A definition with parameters of these types, or schemas."""
    properties = {key: kind if isinstance(kind, dict) else {"type": kind} for key, kind in types.items()}
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


WEATHER = tool("get_weather", ("city",), city="string", days="integer", metric="boolean")
ROUTE = tool("route", ("stops",), stops={"type": "array", "items": {"type": "string"}}, speed="number")
TOOLS = [WEATHER, ROUTE]
KNOWN: Tools = read_tools(TOOLS, underscore_for_dot=False)
PARIS = {"name": "get_weather", "arguments": {"city": "Paris"}}
ROME = {"name": "get_weather", "arguments": {"city": "Rome"}}
PARIS_TEXT = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
HERMES = f"<tool_call>{PARIS_TEXT}</tool_call>"


async def judged(completion: Any, calls: Any = (PARIS,), *, reference: Any = None, **config: Any) -> Verdict:
    """The verdict on a completion for expected calls, with `TOOLS` unless the configuration has others."""
    expected = {"calls": list(calls)} if calls is not None else {}
    verdict = await score(
        "tool_call", {"tools": TOOLS} | config, completion=completion, reference=expected | (reference or {})
    )
    assert_sound(verdict)
    return verdict


def refusal(config: dict[str, Any]) -> str:
    """Where and why a configuration is refused."""
    try:
        configured("tool_call", config)
    except ValidationError as error:
        location, message = explain(error, config)
        return f"{pointer(location)}: {message}"
    except ConfigError as error:
        return f"{error.pointer}: {error}"
    return ""

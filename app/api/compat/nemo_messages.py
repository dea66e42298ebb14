"""OpenAI's Responses form as chat messages: what a rollout's prompt and completion are to a verifier."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def prompt_of(params: dict[str, Any]) -> Any:
    """The prompt of `responses_create_params`: its instructions and input, as text or chat messages."""
    given = params.get("input")
    instructions = params.get("instructions")
    messages = _messages(given, "user") if isinstance(given, list) else given
    if not isinstance(instructions, str) or not instructions:
        return messages
    asked = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages or []
    return [{"role": "system", "content": instructions}, *asked]


def fault_of(response: dict[str, Any]) -> str | None:
    """Why a Response holds nothing that the model could be judged by; None where it does."""
    output = response.get("output")
    if not isinstance(output, list) or not all(isinstance(entry, dict) for entry in output):
        return "/response/output: must be a list of objects"
    if response.get("status") == "failed" or response.get("error") is not None:
        return "/response: the model's server failed, and this is no answer of the model's"
    return None


def completion_of(response: dict[str, Any]) -> Any:
    """The completion of a Response: its messages, tool calls and what tools answered; reasoning apart.

    A rollout that says nothing at all is the empty text. Raises `KeyError` where `fault_of` finds no output.
    """
    messages = _messages(response["output"], "assistant")
    if any(message["role"] == "assistant" for message in messages):
        return messages
    return ""


def _messages(entries: Iterable[Any], speaker: str) -> list[dict[str, Any]]:
    """Chat messages; `speaker` is the role of those that name none."""
    messages: list[dict[str, Any]] = []
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        sort = entry.get("type") or "message"
        if sort == "message":
            messages.append({"role": str(entry.get("role") or speaker), "content": _content(entry.get("content"))})
        elif sort == "function_call":
            _add_call(messages, entry)
        elif sort == "function_call_output":
            content = _content(entry.get("output"))
            messages.append({"role": "tool", "content": content, "tool_call_id": entry.get("call_id")})
    return messages


def _add_call(messages: list[dict[str, Any]], entry: dict[str, Any]) -> None:
    """Calls belong to the assistant's message before them, or to one without text."""
    call = {
        "id": entry.get("call_id") or entry.get("id"),
        "type": "function",
        "function": {"name": entry.get("name"), "arguments": entry.get("arguments")},
    }
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": ""})
    messages[-1].setdefault("tool_calls", []).append(call)


def _content(content: Any) -> str:
    """Text, or the text parts joined."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))

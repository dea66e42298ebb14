"""Whether a text tries to call something, in whatever form, rightly or not.

Only what is no attempt at all is silence, and what stands beside a call must be none either: a text that calls in two
forms leaves it to its reader which one counts. The search is wide on purpose. It passes over a tool that prose
merely names, as in `get_weather(city)` or `get_weather()`.
"""

from __future__ import annotations

import re

from verifiers.tool_call.tools import Tools

_TAGS = (
    re.compile(
        r"<\s*+/?\s*+(?:[\w:.|｜-]{0,32}(?:tool|function)[_-]?(?:call|code|use|invoke)s?\b"
        r"|functions?\s*+[=>]|tool\s*+[=>]|(?:[\w:.|｜-]{0,32}[:|｜])?invoke\b|arg_key\b)"
    ),
    re.compile(r"<[|｜][\w▁ ]{0,32}(?:tool|python_tag|function)[\w▁ ]{0,32}[|｜]>"),
    re.compile(r"\[/?(?:tool_calls?|call_id)\]|\[args\]\s*+\{"),
)
_WORDS = ("functools[", "to=functions.", "```tool")
_REACT = re.compile(
    r"^[ \t*_#>-]{0,8}+action[*_]{0,2}+\s*+:[^\n]*+\n[\s*_#>-]*+action[ _]input[*_]{0,2}+\s*+:", re.MULTILINE
)
_NAME_KEY = r"[\"'](?:name|function|function_name|tool|tool_name|action|api_name)[\"']\s*+:"
_NAME_FIELD = re.compile(_NAME_KEY)
_ARGUMENTS_FIELD = re.compile(
    r"[\"'](?:arguments|parameters|args|kwargs|params|input|tool_input|action_input)[\"']\s*+:"
)
_NAMED = re.compile(_NAME_KEY + r"\s*+[\"']([^\"'\n]{1,200})[\"']")
_KEY = re.compile(r"[\"']([^\"'\n]{1,200}+)[\"']\s*+:")
_GIVEN = r"(?=\s*+(?:[\"'{}]|[^\W\d]\w{0,99}+\s*+[=:]))"
"""After a gap, a bracket opens a remark, as in `search (2 results)`, unless a name or a text follows it."""
_CALLED = re.compile(r"(?<![\w.-])([^\W\d][\w.-]{0,199}+)[`*\"')\]]{0,3}+(?:\(|\s++\(" + _GIVEN + ")")
_OPENED = re.compile(r"(?<![\w.-])([^\W\d][\w.-]{0,199}+)[`*\"']{0,3}+(?:[\[{]|\s++[\[{]" + _GIVEN + ")")
_LISTED = re.compile(r"\[\s*+([^\W\d][\w.-]{0,199}+)\s*+\(")
_TAG_NAMED = re.compile(r"<\s*+/?\s*+([^\W\d][\w.-]{0,199}+)|\bto=([^\W\d][\w.-]{0,199}+)")
_UNQUOTED = re.compile(r"\b(?:name|function|tool|action)\s*+[:=]\s*+[`*\"']{0,3}+([^\W\d][\w.-]{0,199}+)")
_UNQUOTED_ARGUMENTS = re.compile(r"\b(?:arguments|parameters|args|params|input)\s*+[:=]")
_ASSIGNS_TEXT = re.compile(r"\s*+[^\W\d]\w{0,99}+\s*+=\s*+[\"']")
_LIST_OF_CALLS = re.compile(r"\s*+\[\s*+[^\W\d][\w.]*+\s*+\(")
_WINDOW = 200
"""Characters after a parenthesis in which values are sought."""


def is_attempt(text: str, tools: Tools) -> bool:
    """Whether the text holds an attempt to call something; upper and lower case are one."""
    text = text.lower()  # expressions that ignore case would have to try every character
    if not text or text.isspace():
        return False
    if any(word in text for word in _WORDS) or any(tag.search(text) for tag in _TAGS) or _LIST_OF_CALLS.match(text):
        return True
    if "action" in text and _REACT.search(text):
        return True
    if _NAME_FIELD.search(text) and _ARGUMENTS_FIELD.search(text):
        return True
    names = tools.mentions
    return (
        any(found[1] in names for found in _NAMED.finditer(text))
        or any(found[1] in names for found in _KEY.finditer(text))
        or any(_gives_values(text, found, names) for found in _CALLED.finditer(text))
        or any(found[1] in names for found in _OPENED.finditer(text))
        or any(found[1] in names for found in _LISTED.finditer(text))
        or any((found[1] or found[2]) in names for found in _TAG_NAMED.finditer(text))
        or (
            any(found[1] in names for found in _UNQUOTED.finditer(text))
            and _UNQUOTED_ARGUMENTS.search(text) is not None
        )
    )


def _gives_values(text: str, called: re.Match[str], names: frozenset[str]) -> bool:
    """Whether what looks like a call gives a value: any, to a known tool; a named text, to an unknown one.

    The unknown one has no dot: `df.plot(kind="bar")` is a line of a program.
    """
    if called[1] not in names and called[1].rpartition(".")[2] not in names:
        return "." not in called[1] and _ASSIGNS_TEXT.match(text, called.end()) is not None
    inside, closed, _ = text[called.end() : called.end() + _WINDOW].partition(")")
    return not closed or any(character in "\"'=[{" or character.isdigit() for character in inside)

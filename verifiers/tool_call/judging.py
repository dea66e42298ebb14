"""What calls are worth: level by level, against the tools and the calls that are expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from verifiers.base import Outcome, Verdict, clip
from verifiers.tool_call.calls import Call
from verifiers.tool_call.compare import Rules, misfit
from verifiers.tool_call.config import Match, ToolCallConfig
from verifiers.tool_call.matching import most_in_any_order, most_in_given_order
from verifiers.tool_call.reference import Expected
from verifiers.tool_call.tools import Tools

LEVELS: tuple[Match, ...] = get_args(Match)


@dataclass(frozen=True, slots=True)
class Standard:
    """What one item's calls are held to."""

    expected: Sequence[Expected] | None
    tools: Tools | None
    rules: Rules
    """How values are compared at level arguments."""
    underscore_for_dot: bool = False


def levels(config: ToolCallConfig, expected: Sequence[Expected] | None) -> tuple[Match, ...]:
    """The levels that count; without expected calls, only whether calls are valid."""
    return LEVELS[:1] if expected is None else LEVELS[: LEVELS.index(config.match) + 1]


def nothing_right(
    config: ToolCallConfig, expected: Sequence[Expected] | None, outcome: Outcome, stage: str, message: str
) -> Verdict:
    """The verdict on a completion whose calls cannot be read, or break a rule as a whole."""
    counted = (*levels(config, expected), *(["state"] if config.dry_run else []))
    detail = {"stage": stage, "message": clip(message)}
    return Verdict(outcome, 0.0, detail, components=dict.fromkeys(counted, 0.0))


def schema_fault(call: Call, tools: Tools | None) -> str | None:
    """Why a call does not fit the tools; None where it does, or where they are not known."""
    if tools is None:
        return None
    tool = tools.find(call.name)
    if tool is None:
        return "no tool has this name"
    failure = tool.failure(call.arguments)
    return None if failure is None else f"{failure.path or 'arguments'}: {failure.message}"


def judge(calls: Sequence[Call], standard: Standard, config: ToolCallConfig) -> Verdict:
    """The verdict on calls, the dry run aside."""
    faults = [schema_fault(call, standard.tools) for call in calls]
    expected = standard.expected
    counted = levels(config, expected)
    if expected is not None and not expected:
        return _silence(calls, counted)
    if not calls:
        return nothing_right(config, expected, Outcome.INCORRECT, "silence", "nothing is called")
    valid = sum(fault is None for fault in faults)
    shares: dict[str, float] = {"schema": valid / len(calls)}
    if expected is not None:
        shares |= _matched(calls, faults, standard, expected, config)
    shown: dict[str, float] = {level: shares[level] for level in counted}
    broken = next((level for level in counted if shares[level] < 1), None)
    score = shares[counted[-1]]
    detail: dict[str, Any] = {"stage": broken or counted[-1], "calls": len(calls)}
    if broken:
        detail["message"] = clip(_why(broken, calls, faults, standard))
    return scored(score, config, detail, shown)


def scored(score: float, config: ToolCallConfig, detail: dict[str, Any], components: dict[str, float]) -> Verdict:
    """The verdict of a share that is right, by what the configuration rewards."""
    if score == 1:
        return Verdict(Outcome.CORRECT, 1.0, detail, components=components)
    if score > 0 and config.reward == "fraction":
        return Verdict(Outcome.PARTIAL, score, detail, components=components)
    return Verdict(Outcome.INCORRECT, 0.0, detail, components=components)


def _silence(calls: Sequence[Call], counted: Sequence[Match]) -> Verdict:
    score = 0.0 if calls else 1.0
    detail: dict[str, Any] = {"stage": "silence", "calls": len(calls)}
    if calls:
        detail["message"] = clip(f"nothing should be called, and {calls[0].name} is")
    outcome = Outcome.INCORRECT if calls else Outcome.CORRECT
    return Verdict(outcome, score, detail, components=dict.fromkeys(counted, score))


def _matched(
    calls: Sequence[Call],
    faults: Sequence[str | None],
    standard: Standard,
    expected: Sequence[Expected],
    config: ToolCallConfig,
) -> dict[str, float]:
    """For each level above schema, the share of calls that are right up to it."""
    most = most_in_any_order if config.order == "any" else most_in_given_order
    total = max(len(calls), len(expected))
    shares: dict[str, float] = {}
    for level in levels(config, expected)[1:]:
        right = [
            [
                fault is None and _is_right(call, one, level, standard)
                for call, fault in zip(calls, faults, strict=True)
            ]
            for one in expected
        ]
        shares[level] = most(right) / total
    return shares


def _is_right(call: Call, expected: Expected, level: Match, standard: Standard) -> bool:
    return _same_tool(call.name, expected.name, standard) and (
        level == "name" or _misfit(call, expected, level, standard) is None
    )


def _same_tool(name: str, expected: str, standard: Standard) -> bool:
    if name == expected:
        return True
    tools = standard.tools
    if tools is None:
        return standard.underscore_for_dot and name == expected.replace(".", "_")
    return tools.find(name) is not None and tools.find(name) is tools.find(expected)


def _misfit(call: Call, expected: Expected, level: Match, standard: Standard) -> str | None:
    tool = standard.tools.find(call.name) if standard.tools else None
    rules = Rules("exact", typed=True) if level == "exact" else standard.rules
    return misfit(call.arguments, expected.arguments, rules, tool.parameters if tool else None)


def _why(level: Match, calls: Sequence[Call], faults: Sequence[str | None], standard: Standard) -> str:
    """The first thing that is wrong at a level, in words."""
    if level == "schema":
        index = next(index for index, fault in enumerate(faults) if fault is not None)
        return f"call {index} ({clip(calls[index].name, 60)}): {faults[index]}"
    expected = standard.expected or ()
    if len(calls) != len(expected):
        return f"{len(calls)} calls, {len(expected)} are expected"
    for index, call in enumerate(calls):
        others = [one for one in expected if _same_tool(call.name, one.name, standard)]
        if not others:
            return f"call {index}: {clip(call.name, 60)} is not expected"
        if level != "name":
            wrong = [_misfit(call, one, level, standard) for one in others]
            if None not in wrong:
                return f"call {index} ({clip(call.name, 60)}): the argument {clip(str(wrong[0]), 60)!r}"
    return "the calls are not those expected, one for one, or not in their order"

"""The kind `tool_call`: the right tools are called with the right arguments, or none where none should be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, TypeAdapter

from verifiers.base import (
    BadItemError,
    ConfigError,
    Context,
    Example,
    GivingWay,
    GuardFault,
    Item,
    Message,
    Outcome,
    Verdict,
    clip,
    guard_fault,
    register,
)
from verifiers.direct import LIMITS, DirectKind, judge
from verifiers.json_schema.validator import SchemaError, size
from verifiers.tool_call import judging, state
from verifiers.tool_call.calls import CallError
from verifiers.tool_call.compare import Rules
from verifiers.tool_call.config import DryRunConfig, ToolCallConfig, unfit_state
from verifiers.tool_call.gold import first_call, impossible, tries
from verifiers.tool_call.messages import read_turns
from verifiers.tool_call.reference import REFERENCE, Expected, Reference, read_reference
from verifiers.tool_call.replay import fault, replayed, start
from verifiers.tool_call.tools import Tools, ToolsError, read_tools

MAX_WEIGHT = 2_000_000
"""Characters and values of a completion."""
INLINE_WEIGHT = 8_192
"""Characters and values of a completion, or of a reference, that are read in a few milliseconds."""
INLINE_CHECKS = 50_000
"""Checks of a value against a part of a schema that take 2 ms."""
INLINE_PATTERN_CHARS = 20_000
"""Characters that patterns may read; they take a microsecond each at the worst."""
INLINE_COMPARED = 60_000
"""Expected values times the weight of the completion; each expected one may be compared with all of it."""
INLINE_TOOLS = 16
INLINE_COMPILED = (500, 5)
"""Tools of a reference, and values and patterns in them all, that are compiled in a few milliseconds."""
AT_ONCE = 64
"""Items of one batch whose replays wait for the sandbox at a time."""

_USED_UP = (GuardFault.CPU, GuardFault.MEMORY, GuardFault.CRASHED)
_JUDGED = (Outcome.CORRECT, Outcome.PARTIAL, Outcome.INCORRECT)
_NO_TOOLS = Tools({})
_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
_CALLS = [
    {
        "name": "get_weather",
        "arguments": {"city": {"any_of": ["Paris", "Paris, France"]}, "days": {"any_of": [1], "optional": True}},
    }
]
_ENTRY = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Paris", "days": 1}'},
}


@register
class ToolCall(DirectKind[ToolCallConfig]):
    """Compare the tool calls of a completion with the expected ones, or replay them and compare what they leave.

    ## Where calls are found

    In the field `tool_calls` of the assistant's messages (OpenAI; also `function_call`, and parts `tool_use`), whose
    arguments are JSON text (an empty one: no arguments); or in the text, in one of these forms:

    - `<tool_call>{"name": ..., "arguments": {...}}</tool_call>` (Hermes, Qwen)
    - `<function=name>{...}</function>` (Llama 3), or with `<parameter=key>value</parameter>` inside, also within
      `<tool_call>` (Qwen3-Coder); the tool's schema says of what type such a value is (without one, a string)
    - `[TOOL_CALLS][{...}]` or `[TOOL_CALLS]name[ARGS]{...}` (Mistral)
    - `<|python_tag|>` followed by JSON or Python (Llama 3)
    - `<｜tool▁call▁begin｜>name<｜tool▁sep｜>{...}<｜tool▁call▁end｜>` (DeepSeek)
    - nothing but JSON: `{"name": ..., "arguments": {...}}` (or `parameters`), or a list of these
    - nothing but Python: `[f(a=1), g(b=["x"])]` or one call, with literals given by name (BFCL, Llama 4, also
      between `<|python_start|>` and `<|python_end|>`)

    The last two may be the text's one code block, and nothing stands beside them. A list of messages is read turn by
    turn, and what other roles say is passed over. The thinking part is cut off first; a call between two thoughts is
    an error. Everything is read strictly: JSON with a name twice, NaN, a number out of range or a lone surrogate, a
    block that is never closed or holds its own tag again, two forms at once, and something like a call that is in no
    form at all are each `unparseable`, with score 0. Names are compared character by character.

    ## Reference

    An object with the expected `calls`, or, with match `schema` or a dry run, without them:

    - `{"calls": [{"name": "f", "arguments": {"city": "Paris"}}]}`. Arguments may be an object or its JSON text.
      In place of any value, also inside others, `{"any_of": ["Paris", "Paris, France"]}` allows several, and
      `"optional": true` beside it allows to leave it out. (Directly inside `any_of`, the same is a plain value.)
    - `{"calls": [{"f": {"city": ["Paris", ""]}}], "form": "bfcl"}` is a `ground_truth` of BFCL as it stands: lists of
      allowed values, where an empty text means that the argument may be left out.
    - `{"calls": []}` accepts only silence, an empty text included: no call, and no attempt at one in any form. Prose
      may name a tool, as in `get_weather(city)` or `get_weather()`, but give it no values.

    `tools` of the reference take the place of the configuration's, and may have BFCL's types `dict`, `float`, `tuple`
    and `any`. Without either, every call that can be read is valid. An expected call that no tool can take is
    `bad_item`, and so is one whose own judging uses up a worker.

    ## Verdict

    The levels `schema`, `name`, `arguments` and `exact` each hold those before it. Each that counts is a component:
    the share of the made calls that are valid, or the number of expected calls with a right call each, divided by the
    expected or the made calls, whichever are more. So an extra call costs as much as a missing one. `detail.stage` is
    the first level that is not 1, `silence`, `parallel`, `parse`, `state` or `dry_run`.

    At level `arguments` an int is right where a float is expected; a float is right for an int only where the tool
    takes any number. An argument beyond those expected is wrong, even where it has the tool's default. This is as
    in BFCL's checker, which is laxer in that it does not hold values to a tool's `enum`, takes an empty text for an
    argument that may be left out, and takes `1.5` for `15` and `-5` for `5` in texts.

    ## Dry run

    `dry_run.code` defines a function for each tool, and `dry_run.state` is what it works on:

    ```python
    def book(state, room, nights):
        if room in state["booked"]:
            raise ToolError("it is taken")
        state["booked"][room] = nights
    ```

    With the state `{"booked": {}}` and the reference `{"state": {"booked": {"12": 2}}}`, whatever calls leave the
    room 12 booked for two nights, and nothing else, are right.

    In the sandbox each item's calls are replayed in order over a fresh state, those of all turns over the same one,
    and the final state is compared outside with the reference's `state`. A call has failed that names no tool, does
    not fit its schema or its function's arguments, or whose function raises `ToolError` (or breaks a constraint of
    the database): it changes nothing, and the replay goes on. Any other exception is the verifier's fault, as is an
    async function, and the item is `unscored`. A replay that uses up its time or memory scores 0. Where the reference
    has `calls` too, both must be right.
    """

    kind: ClassVar[str] = "tool_call"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "memory"
    Config: ClassVar[type[BaseModel]] = ToolCallConfig
    reference: ClassVar[TypeAdapter[Any]] = REFERENCE
    examples: ClassVar[Sequence[Example]] = (
        Example(
            Item(
                completion=[Message.model_validate({"role": "assistant", "content": None, "tool_calls": [_ENTRY]})],
                reference={"calls": _CALLS},
            ),
            1.0,
            {"tools": [_TOOL]},
        ),
        Example(
            Item(
                completion='<tool_call>\n{"name": "get_weather", "arguments": {"city": "London"}}\n</tool_call>',
                reference={"calls": _CALLS},
            ),
            0.0,
            {"tools": [_TOOL]},
        ),
        Example(
            Item(
                completion='[get_weather(city="paris"), get_weather(city="Rome")]',
                reference={"calls": [{"get_weather": {"city": ["Paris"], "days": ["", 1]}}], "form": "bfcl"},
            ),
            0.5,
            {"tools": [_TOOL], "reward": "fraction"},
        ),
        Example(Item(completion="None of my tools can do that.", reference={"calls": [], "tools": [_TOOL]}), 1.0),
        Example(
            Item(
                completion='<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}',
                reference={"calls": [], "tools": [_TOOL]},
            ),
            0.0,
        ),
    )

    def __init__(self, config: ToolCallConfig) -> None:
        super().__init__(config)
        self._tools: Tools | None = None
        self._start = "" if config.dry_run is None else start(config.dry_run.database, config.dry_run.state)
        if config.tools is not None:
            try:
                self._tools = read_tools(config.tools, underscore_for_dot=config.underscore_for_dot)
            except ToolsError as error:
                raise ConfigError(clip(str(error)), "/tools" + error.pointer) from None

    def costly(self, item: Item) -> bool:
        """See `DirectKind.costly`."""
        if _weight(item.reference, INLINE_WEIGHT) > INLINE_WEIGHT:
            return True
        reference = item.reference if isinstance(item.reference, dict) else {}
        own, expected = reference.get("tools"), reference.get("calls")
        written = _weight(item.completion, INLINE_WEIGHT)
        if written > INLINE_WEIGHT or _values(expected) * written > INLINE_COMPARED:
            return True
        tools = self._tools
        if isinstance(own, list):
            try:
                values, patterns = size(own)
                if len(own) > INLINE_TOOLS or values > INLINE_COMPILED[0] or patterns > INLINE_COMPILED[1]:
                    return True
                tools = read_tools(own, underscore_for_dot=self.config.underscore_for_dot)
            except (SchemaError, ToolsError):
                return False
        if tools is None:
            return False
        checked, read = written, written
        if isinstance(expected, list) and expected:
            most = tries(expected)
            checked += most * _values(expected)
            read += most * _weight(expected, INLINE_WEIGHT)
        return tools.cost * checked > INLINE_CHECKS or tools.patterns * read > INLINE_PATTERN_CHARS

    def verify_one(self, item: Item) -> Verdict:
        """See `DirectKind.verify_one`. With a dry run, the verdict on all but the state."""
        reference, expected = read_reference(item.reference)
        self._check(reference, expected)
        tools = self._tools_of(reference)
        rules = Rules(self._strings(reference), typed=False)
        if tools is not None:
            by_arguments = "arguments" in judging.levels(self.config, expected)
            for index, call in enumerate(expected or ()):
                if why := impossible(call, tools, by_arguments=by_arguments):
                    raise BadItemError(f"reference/calls/{index}: no valid call is this one: {clip(why)}")
        if _weight(item.completion, MAX_WEIGHT) > MAX_WEIGHT:
            message = f"more than {MAX_WEIGHT} characters and values"
            return judging.nothing_right(self.config, expected, Outcome.OUTPUT_EXCEEDED, "parse", message)
        try:
            turns = read_turns(item, self.config.section, tools or _NO_TOOLS)
        except CallError as error:
            return judging.nothing_right(self.config, expected, Outcome.UNPARSEABLE, "parse", str(error))
        if not self.config.parallel and any(len(turn) > 1 for turn in turns):
            return judging.nothing_right(
                self.config, expected, Outcome.REJECTED, "parallel", "several calls in one message; one is allowed"
            )
        standard = judging.Standard(expected, tools, rules, self.config.underscore_for_dot)
        return judging.judge([call for turn in turns for call in turn], standard, self.config)

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        """One verdict per item, in order: on the calls at once or from a worker, on the state from the sandbox."""
        verdicts = await self._excused(items, await super().verify(items, ctx), ctx)
        dry_run = self.config.dry_run
        if dry_run is None:
            return verdicts
        room, planning, turn = asyncio.Semaphore(AT_ONCE), asyncio.Lock(), GivingWay()

        async def plan_of(item: Item) -> dict[str, Any] | Verdict:
            if self.costly(item):
                payload = self._payload(item, self.config.model_dump(by_alias=True))
                [result] = await ctx.guard.run(f"{__name__}:plan", [payload], limits=LIMITS, deadline=ctx.deadline)
                return self._verdict(result) if result.fault is not None else result.value
            async with planning:  # whoever waits for it lets other requests run, which tasks that only start do not
                await turn.over()
                return self.planned(item)

        async def finished(item: Item, verdict: Verdict) -> Verdict:
            if verdict.outcome not in _JUDGED:
                return verdict
            async with room:
                planned = await plan_of(item)
                if isinstance(planned, Verdict):
                    return planned
                return await self._with_state(item, planned, verdict, dry_run, ctx)

        return list(await asyncio.gather(*map(finished, items, verdicts)))

    def _payload(self, item: Item, config: dict[str, Any]) -> dict[str, Any]:
        payload = super()._payload(item, config)
        if not isinstance(item.completion, str):
            payload["item"]["completion"] = [message.model_dump() for message in item.completion]
        return payload

    async def _excused(self, items: Sequence[Item], verdicts: list[Verdict], ctx: Context) -> list[Verdict]:
        """The verdicts, but `bad_item` where a worker's limits are too small for the reference's own calls too.

        Whether the completion or the reference used them up shows where the reference is judged against itself.
        """
        used_up = [i for i, verdict in enumerate(verdicts) if verdict.detail.get("fault") in _USED_UP]
        if not used_up:
            return verdicts
        config = self.config.model_dump(by_alias=True)
        payloads: dict[str, Any] = {}
        keys = [json.dumps(items[i].reference) for i in used_up]
        for i, key in zip(used_up, keys, strict=True):
            payloads.setdefault(key, self._payload(items[i].model_copy(update={"completion": ""}), config))
        results = await ctx.guard.run(
            f"{__name__}:judge_gold", list(payloads.values()), limits=LIMITS, deadline=ctx.deadline
        )
        gold = {key: self._verdict(result) for key, result in zip(payloads, results, strict=True)}
        for i, key in zip(used_up, keys, strict=True):
            if gold[key].detail.get("fault") in _USED_UP:
                verdicts[i] = Verdict.bad_item(
                    "reference: judging its own calls uses up a worker's time or memory; simplify the tools' schemas"
                )
            elif gold[key].score is None:
                verdicts[i] = gold[key]
        return verdicts

    def _tools_of(self, reference: Reference) -> Tools | None:
        if reference.tools is None:
            return self._tools
        try:
            return read_tools(reference.tools, underscore_for_dot=self.config.underscore_for_dot)
        except ToolsError as error:
            raise BadItemError(f"reference/tools{error.pointer}: {clip(str(error))}") from None

    def _strings(self, reference: Reference) -> Literal["exact", "bfcl"]:
        return self.config.strings or ("bfcl" if reference.form == "bfcl" else "exact")

    def _check(self, reference: Reference, expected: Sequence[Expected] | None) -> None:
        """Whether the reference says what this configuration needs. Raises `BadItemError`."""
        dry_run = self.config.dry_run
        given = reference.model_fields_set
        if dry_run is None:
            for field in ("state", "initial_state"):
                if field in given:
                    raise BadItemError(f"reference/{field}: this verifier has no dry_run that would leave a state")
            if expected is None and self.config.match != "schema":
                raise BadItemError("reference/calls: send the expected calls; an empty list where none is right")
            if expected is None and self._tools is None and reference.tools is None:
                raise BadItemError("reference/tools: send the tools, or give them in the verifier's configuration")
            return
        if "state" not in given:
            raise BadItemError("reference/state: send the state that the calls must leave")
        if dry_run.compare and not any(state.holds(reference.state, pointer) for pointer in dry_run.compare):
            raise BadItemError(
                "reference/state: has nothing at any of dry_run.compare, so every state would be right"
            )
        if "initial_state" in given:
            if dry_run.database is not None:
                raise BadItemError("reference/initial_state: the verifier's database is where every item starts")
            if (why := unfit_state(reference.initial_state)) is not None:
                raise BadItemError(f"reference/initial_state: {why}")

    async def _with_state(
        self, item: Item, planned: dict[str, Any], verdict: Verdict, dry_run: DryRunConfig, ctx: Context
    ) -> Verdict:
        """The verdict on an item whose calls were read, with what its replay leaves."""
        reference = item.reference
        components = verdict.components | {"state": 0.0}
        initial = self._start if planned["initial"] is None else planned["initial"]
        plan = f'{{"calls": {planned["calls"]}, "tools": {planned["tools"]}, {initial}}}'
        ran = await replayed(dry_run, plan, planned["called"], ctx.sandbox, ctx.deadline)
        if isinstance(ran, Verdict):
            return ran if ran.score is None else replace(ran, components=components)
        found = await self._compared(ran.answer, reference, dry_run, ctx)
        if isinstance(found, Verdict):
            return found
        if "fault" in found:
            return fault(found["fault"])
        return self._combined(verdict, found, reference, components)

    def planned(self, item: Item) -> dict[str, Any]:
        """What is replayed, as JSON: `calls`, each a name, arguments, and why it is refused or null; the `tools`'
        names; where the item starts (`initial`), or None. `called` is whether a call is made at all.
        """
        reference, _ = read_reference(item.reference)
        tools = self._tools_of(reference)
        calls = []
        for turn in read_turns(item, self.config.section, tools or _NO_TOOLS):
            for call in turn:
                tool = tools.find(call.name) if tools else None
                calls.append((tool.name if tool else call.name, call.arguments, judging.schema_fault(call, tools)))
        starts = "initial_state" in reference.model_fields_set
        return {
            "calls": json.dumps(calls),
            "tools": json.dumps(None if tools is None else sorted({tool.name for tool in tools.by_name.values()})),
            "initial": start(None, reference.initial_state) if starts else None,
            "called": any(refused is None for _, _, refused in calls),
        }

    async def _compared(
        self, answer: bytes, reference: dict[str, Any], dry_run: DryRunConfig, ctx: Context
    ) -> dict[str, Any] | Verdict:
        payload = {
            "answer": answer.decode("latin-1"),
            "expected": reference["state"],
            "compare": dry_run.compare,
            "rows": dry_run.database is not None,
            "limit": dry_run.limits.output_kb * 1024,
        }
        if len(answer) + _weight(reference["state"], state.INLINE_BYTES) <= state.INLINE_BYTES:
            return state.compared(**payload)
        [result] = await ctx.guard.run(
            f"{state.__name__}:compared_payload", [payload], limits=LIMITS, deadline=ctx.deadline
        )
        if result.fault is not None:
            return guard_fault(result)
        value: dict[str, Any] = result.value
        return value

    def _combined(
        self, verdict: Verdict, found: dict[str, Any], reference: dict[str, Any], components: dict[str, float]
    ) -> Verdict:
        """The verdict of the state, and of the calls where they are expected too."""
        calls_expected = reference.get("calls") is not None
        same = bool(found["same"])
        components = components | {"state": float(same)}
        detail = {**verdict.detail, "failed_calls": len(found["failed"])}
        if not same and (verdict.score == 1 or not calls_expected):
            detail |= {"stage": "state", "message": clip(f"the state differs at {found['differs'] or 'its root'}")}
        elif not calls_expected:
            detail["stage"] = "state"
            detail.pop("message", None)
        score = float(same)
        if calls_expected:
            score = ((verdict.score or 0.0) + score) / 2
        ended = judging.scored(score, self.config, detail, components)
        return replace(ended, full={"failed": [clip(one) for one in found["failed"]]})


ToolCall.guarded = (*ToolCall.guarded, state.__name__)


def judge_gold(payload: dict[str, Any]) -> dict[str, Any]:
    """In a guarded worker: `direct.judge` on a completion that makes the reference's own calls."""
    try:
        _, expected = read_reference(payload["item"]["reference"])
    except BadItemError as error:
        return asdict(Verdict.bad_item(str(error)))
    calls = [first_call(call) for call in expected or ()]
    entries = [{"function": {"name": call.name, "arguments": call.arguments}} for call in calls]
    message = {"role": "assistant", "content": None, "tool_calls": entries}
    return judge({**payload, "item": payload["item"] | {"completion": [message]}})


def plan(payload: dict[str, Any]) -> dict[str, Any]:
    """In a guarded worker: `ToolCall.planned`. The payload is `DirectKind._payload`'s."""
    verifier = ToolCall(ToolCallConfig.model_validate(payload["config"]))
    return verifier.planned(Item(**payload["item"]))


def _values(value: Any) -> int:
    """How many values there are in something that is known to be small."""
    count, stack = 0, [value]
    while stack:
        one = stack.pop()
        count += 1
        if isinstance(one, dict | list):
            stack += one.values() if isinstance(one, dict) else one
    return count


def _weight(value: Any, limit: int) -> int:
    """Characters and values of something, counted no further than just beyond `limit`."""
    weight = 0
    stack = [value]
    while stack and weight <= limit:
        one = stack.pop()
        weight += 1
        if isinstance(one, str):
            weight += len(one)
        elif isinstance(one, dict):
            stack += one.values()
            weight += sum(map(len, one)) if len(one) <= limit else len(one)
        elif isinstance(one, list | tuple):
            if len(one) > limit:
                weight += len(one)
            else:
                stack += one
        elif isinstance(one, Message):
            stack += [one.content, one.model_extra]
        elif isinstance(one, int) and not isinstance(one, bool):
            weight += one.bit_length() // 3
    return weight

"""Input that no honest caller or model sends: an outcome each, in little time."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.guarded.pool import GuardedPool
from tests.verifiers.support import ANY_JSON, ANY_TEXT, InProcessGuard, NoGuard, assert_sound, configured, score_all
from tests.verifiers.tool_call.support import HERMES, PARIS, TOOLS, tool
from tests.verifiers.tool_call.written import FORMS, hermes, message
from verifiers.base import Item, Outcome
from verifiers.direct import judge
from verifiers.tool_call import INLINE_WEIGHT, MAX_WEIGHT, ToolCall
from verifiers.tool_call.config import ToolCallConfig

CONFIG = {"tools": TOOLS}
LARGE = 200_000
REPEATED = [
    *("<tool_call>", "</tool_call>", HERMES, "<function=f>", "<function=", "<parameter=", "[TOOL_CALLS]"),
    *("<|python_tag|>", "<｜tool▁call▁begin｜>", "<think>", "</think>", "{[", '{"name":', "[{", "'name':", '"', "'"),
    *("get_weather(", "get_weather", "a.", "a ", "f(a=", "((((", "-", "1", "_", "\\", "'''", '"""', "``` ", "```\n"),
    *(" ", "\n", "\t", "} ", "};", "}\n{", "<", "</", "< /", "Action:", "Action: x\n", "é", "\ud800", "\x00"),
]


@pytest.mark.parametrize("piece", REPEATED)
def test_nothing_takes_long(piece: str) -> None:
    """Time in proportion to the text; the bound is generous, as the host may be busy."""
    text = piece * (LARGE // len(piece))
    verifier = ToolCall(ToolCallConfig.model_validate(CONFIG))
    for written in (
        text,
        "<function=get_weather>" + text + "</function>",
        "[get_weather(city='" + text,
        HERMES + text,
    ):
        for completion in (written, [{"role": "assistant", "content": written}]):
            started = time.process_time()
            verdict = verifier.verify_one(Item(completion=completion, reference={"calls": [PARIS]}))
            assert time.process_time() - started < 2.0
            assert_sound(verdict)
            if not text.isspace() and written != HERMES + text:
                assert verdict.score == 0.0
            assert verifier.costly(Item(completion=completion, reference={"calls": [PARIS]}))


async def test_a_completion_beyond_all_bounds() -> None:
    [verdict] = await score_all(
        configured("tool_call", CONFIG), [Item(completion="x" * (MAX_WEIGHT + 1), reference={"calls": []})]
    )
    assert (verdict.outcome, verdict.score) == (Outcome.OUTPUT_EXCEEDED, 0.0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("calls", [[PARIS], []])
async def test_a_worker_says_what_the_event_loop_would(form: str, calls: Any) -> None:
    verifier = configured("tool_call", CONFIG)
    item = Item(completion=FORMS[form]([("get_weather", {"city": "Paris"})]), reference={"calls": calls})
    [inline] = await score_all(verifier, [item], NoGuard())
    assert isinstance(verifier, ToolCall)
    payload = verifier._payload(item, verifier.config.model_dump(by_alias=True))
    worked = judge(payload)
    assert (worked["outcome"], worked["score"]) == (inline.outcome, inline.score)
    assert (worked["detail"], worked["components"]) == (inline.detail, inline.components)


@pytest.mark.parametrize(
    ("completion", "reference"),
    [
        (HERMES + " " * INLINE_WEIGHT, {"calls": [PARIS]}),
        (message([("get_weather", {"city": "Paris"})]) * 300, {"calls": [PARIS]}),
        (HERMES, {"calls": [PARIS], "tools": [tool(f"f{n}", a="string") for n in range(17)]}),
        (HERMES * 60, {"calls": [PARIS] * 64}),
        (HERMES, {"calls": [PARIS], "tools": [tool("get_weather", city={"pattern": "^(?=P)" * 20})]}),
    ],
)
async def test_what_may_take_long_goes_to_a_worker(completion: Any, reference: Any) -> None:
    guard = InProcessGuard()
    await score_all(configured("tool_call", CONFIG), [Item(completion=completion, reference=reference)], guard)
    assert len(guard.payloads) == 1


async def test_a_schema_that_takes_long_goes_to_a_worker() -> None:
    recursive = {
        "type": "object",
        "properties": {"city": {"$ref": "#/$defs/x"}},
        "$defs": {"x": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/$defs/x"}}]}},
    }
    guard = InProcessGuard()
    verifier = configured("tool_call", {"tools": [{"name": "get_weather", "parameters": recursive}]})
    [verdict] = await score_all(verifier, [Item(completion=HERMES, reference={"calls": [PARIS]})], guard)
    assert verdict.score == 1.0
    assert len(guard.payloads) == 1


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(entries=ANY_JSON, content=st.none() | ANY_TEXT, extra=st.dictionaries(st.text(), ANY_JSON, max_size=2))
async def test_any_message_gets_a_sound_verdict(entries: Any, content: Any, extra: Any) -> None:
    fields = {key: value for key, value in extra.items() if key not in ("role", "content")}
    written = [{**fields, "role": "assistant", "content": content, "tool_calls": entries}]
    for calls in ([PARIS], []):
        item = Item(completion=written, reference={"calls": calls})
        [verdict] = await score_all(configured("tool_call", CONFIG), [item])
        assert_sound(verdict)
        assert verdict.score is not None
        if calls:
            assert verdict.score == 0.0


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(arguments=ANY_JSON, bfcl=st.booleans(), tools=ANY_JSON)
async def test_any_expected_call_gets_a_sound_verdict(arguments: Any, bfcl: bool, tools: Any) -> None:
    call = {"get_weather": arguments} if bfcl else {"name": "get_weather", "arguments": arguments}
    reference = {"calls": [call], "form": "bfcl" if bfcl else "calls"}
    for more in ({}, {"tools": [{"name": "get_weather", "parameters": tools}]}):
        [verdict] = await score_all(configured("tool_call"), [Item(completion=HERMES, reference=reference | more)])
        assert_sound(verdict)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.permutations(range(8)))
async def test_the_order_of_a_batch_changes_nothing(order: list[int]) -> None:
    texts = [
        HERMES,
        "",
        "<tool_call>",
        hermes([("route", {"stops": []})]),
        HERMES * 2,
        "no",
        "[f(",
        HERMES + " " * 20_000,
    ]
    items = [Item(completion=text, reference={"calls": [PARIS]}) for text in texts]
    verifier = configured("tool_call", CONFIG)
    straight = await score_all(verifier, items)
    assert [straight[i] for i in order] == await score_all(verifier, [items[i] for i in order])


async def test_real_workers_judge_and_are_bounded() -> None:
    """A schema of exponential cost is stopped, and the items beside it get their verdicts."""
    doubled = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2} for n in range(1, 40)}
    exponential = {
        "type": "object",
        "properties": {"city": {"$ref": "#/$defs/d39"}},
        "$defs": {"d0": {"type": "string"}, **doubled},
    }
    items = [
        Item(completion=message([("get_weather", {"city": "Paris"})], " " * 20_000), reference={"calls": [PARIS]}),
        Item(
            completion=HERMES,
            reference={"calls": [PARIS], "tools": [{"name": "get_weather", "parameters": exponential}]},
        ),
        Item(completion=HERMES + " " * 20_000, reference={"calls": [PARIS]}),
    ]
    pool = GuardedPool(1, list(ToolCall.guarded))
    await pool.start()
    try:
        verdicts = await score_all(configured("tool_call", CONFIG), items, pool)
    finally:
        await pool.close()
    assert [verdict.outcome for verdict in verdicts] == [Outcome.CORRECT, Outcome.UNSCORED, Outcome.CORRECT]

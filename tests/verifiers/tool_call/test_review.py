"""What a review found: calls that were read as something else, and faults that were laid at the wrong door."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from app.guarded.pool import GuardedPool
from sandbox.base import GoOn, Job, Ran, SandboxUnavailableError
from tests.sandbox.live import LiveSandbox
from tests.verifiers.support import InProcessGuard, NoGuard, assert_sound, configured, score, score_all
from tests.verifiers.tool_call.support import HERMES, KNOWN, PARIS, TOOLS, judged, tool
from tests.verifiers.tool_call.written import hermes, message, qwen_coder
from verifiers.base import ErrorType, GuardFault, GuardLimits, GuardResult, Item, Outcome
from verifiers.tool_call import ToolCall
from verifiers.tool_call.attempts import is_attempt
from verifiers.tool_call.calls import Call, CallError
from verifiers.tool_call.compare import Rules, fits
from verifiers.tool_call.config import ToolCallConfig
from verifiers.tool_call.python_calls import NotCallsError, python_calls
from verifiers.tool_call.state import difference
from verifiers.tool_call.text import read_text
from verifiers.tool_call.tools import types_of

TYPED = {
    "name": "book",
    "parameters": {
        "type": "object",
        "properties": {
            "seats": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "address": {"anyOf": [{"$ref": "#/$defs/Address"}, {"type": "null"}]},
            "price": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "mode": {"enum": [1, 2]},
        },
        "$defs": {"Address": {"type": "object", "properties": {"zip": {"type": "integer"}}}},
    },
}


@pytest.mark.parametrize(
    "arguments",
    [
        {"seats": 2, "note": "12", "address": {"zip": 75001}, "price": 5, "mode": 2},
        {"seats": None, "note": None, "address": None, "price": None},
    ],
)
async def test_a_parameter_without_quotes_has_a_type_by_alternatives_and_references(arguments: Any) -> None:
    """As pydantic writes `int | None`, and models in models."""
    written = qwen_coder([("book", arguments)])
    verdict = await judged(written, [{"name": "book", "arguments": arguments}], tools=[TYPED])
    assert verdict.score == 1.0
    if arguments["seats"]:
        other = written.replace("2\n", "3\n", 1)
        assert (await judged(other, [{"name": "book", "arguments": arguments}], tools=[TYPED])).score == 0.0


def test_types_are_found_in_little_time() -> None:
    looped: dict[str, Any] = {"anyOf": [{"$ref": "#"}] * 16}
    assert types_of(looped, looped, 0) == frozenset()
    assert types_of({"anyOf": [{"type": "null"}, {}]}, None) == frozenset()
    assert types_of({"$ref": "https://example.org/x"}, {"type": "string"}) == frozenset()
    assert types_of({"const": True}, None) == {"boolean"}


async def test_a_float_is_right_for_an_int_where_an_alternative_is_any_number() -> None:
    expected = [{"name": "book", "arguments": {"price": 5}}]
    assert (await judged(hermes([("book", {"price": 5.0})]), expected, tools=[TYPED])).score == 1.0
    seats = [{"name": "book", "arguments": {"seats": 5}}]
    assert (await judged(hermes([("book", {"seats": 5.0})]), seats, tools=[TYPED])).score == 0.0


@pytest.mark.parametrize(
    "text",
    [
        r"get_weather(city='C:\users')",
        r"get_weather(city='\xZZ')",
        r"get_weather(city='\U0001')",
        r"get_weather(city='\N')",
        "get_weather(city='a\rb')",
        "get_weather(city='a\x00b')",
        "get_weather(city=\u00a0'a')",
    ],
)
async def test_what_python_does_not_read_is_not_read(text: str) -> None:
    with pytest.raises(SyntaxError):
        compile(text.replace("\x00", "\\x"), "", "eval")
    with pytest.raises((CallError, NotCallsError)):
        python_calls(text)
    for city in ("C:\\users", "\\xZZ", "a\rb", "a\x00b", "a"):
        assert (await judged(text, [{"name": "get_weather", "arguments": {"city": city}}])).score == 0.0


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("f(a='''x\r\ny\rz''')", {"a": "x\ny\nz"}),
        ("f(ﬁ=1)", {"fi": 1}),
        ("f(größe=1)", {"größe": 1}),
        ("f(a='', b=\"\" '')", {"a": "", "b": ""}),
    ],
)
def test_names_and_lines_are_as_python_reads_them(text: str, arguments: Any) -> None:
    assert python_calls(text) == [Call("f", arguments)]


@pytest.mark.parametrize("text", ["f(a=1, ａ=2)", "f(a='''x')", "f(a='''x' \"y\")", 'f(a="""x" "y")'])
def test_what_python_reads_otherwise_is_not_read(text: str) -> None:
    with pytest.raises(SyntaxError):
        compile(text, "", "eval")
    with pytest.raises((CallError, NotCallsError)):
        python_calls(text)


@pytest.mark.parametrize("text", ["get_weather\ud800", "\ud800"])
async def test_names_with_lone_surrogates_are_refused(text: str) -> None:
    for written in (
        f"<function=get_weather><parameter={text}>x</parameter></function>",
        f"<function={text}>{{}}</function>",
    ):
        assert (await judged(written)).outcome is Outcome.UNPARSEABLE


@pytest.mark.parametrize(
    "text",
    [
        '<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n',
        '<｜DSML｜invoke name="get_weather">',
        '<invoke name="lookup">',
        "Sure. [get_weather()]",
        "**Action:** get_weather\n**Action Input:** Paris",
        "- Action: lookup\n- Action Input: Paris",
        'lookup[ARGS]{"city": "Paris"}',
        "get_weather (city='Paris') it is",
        'get_weather ["Paris"] it is',
    ],
)
async def test_attempts_that_serving_would_run(text: str) -> None:
    assert is_attempt(text, KNOWN)
    assert (await judged(text, [])).score == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "I can't search (at least not for 3 items).",
        "The search (2024) is over; see search [here](https://example.org/1).",
        "**search** (2 results)",
        "In pandas, `df.plot(kind='bar')` does it.",
        "```python\nimport requests\nr = requests.get(url='https://example.org')\n```\nThat fetches it.",
        "usage: cmd [args]",
    ],
)
async def test_remarks_and_programs_are_no_attempts(text: str) -> None:
    assert (await judged(text, [], tools=[*TOOLS, tool("search", query="string")])).score == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "[get_weather(city='Paris')]<|eot|>",
        "<|python_start|>[get_weather(city='Paris')]<|python_end|><|eot|>",
        "get_weather(city='Paris')<|eom|>",
        "```tool_code\nget_weather(city='Paris')\n```<end_of_turn>\n",
    ],
)
def test_ends_and_brackets_of_llama_4_and_gemma(text: str) -> None:
    assert read_text(text, KNOWN) == [Call("get_weather", {"city": "Paris"})]


async def test_arguments_that_are_an_empty_text_are_none() -> None:
    entry = {"type": "function", "function": {"name": "now", "arguments": ""}}
    said = [{"role": "assistant", "content": None, "tool_calls": [entry]}]
    assert (await judged(said, [{"name": "now"}], tools=[tool("now")])).score == 1.0
    blank = [{"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "now", "arguments": " "}}]}]
    assert (await judged(blank, [{"name": "now"}], tools=[tool("now")])).outcome is Outcome.UNPARSEABLE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("*", "/"),
        ("-", "."),
        ("x^2", "x*2"),
        ("x/2", "x*2"),
        ("2 / x", "2x"),
        ("1e-5", "1e5"),
        ("-x", "x"),
        ("*", " "),
    ],
)
def test_formulas_that_are_not_one_in_bfcl(one: str, other: str) -> None:
    bfcl = Rules("bfcl", typed=False)
    for left, right in ((one, other), (other, one)):
        assert not fits(left, right, bfcl, None)
        assert fits(left, left, bfcl, None)
    assert fits("x ** 2", "x^2", bfcl, None)
    assert fits("3*x / 2", "3x/2", bfcl, None)


async def test_underscores_stand_for_dots_where_no_tools_are_known() -> None:
    expected = [{"name": "math.hypot", "arguments": {"x": 1}}]
    made = hermes([("math_hypot", {"x": 1})])
    assert (await judged(made, expected, tools=None, underscore_for_dot=True)).score == 1.0
    assert (await judged(made, expected, tools=None)).score == 0.0


# time and faults


def items_of_one_schema(schema: Any, calls: Sequence[Any]) -> Item:
    return Item(completion="no", reference={"calls": calls, "tools": [{"name": "f", "parameters": schema}]})


async def test_references_that_take_long_go_to_a_worker() -> None:
    patterns = {f"p{n}": {"type": "string", "pattern": r"^(\w{1,50}[a-z]{2,40}){1,3}$"} for n in range(20)}
    large = {f"p{n}": {"type": "string"} for n in range(300)}
    for properties in (patterns, large):
        guard = InProcessGuard()
        item = items_of_one_schema({"type": "object", "properties": properties}, [])
        await score_all(configured("tool_call"), [item], guard)
        assert len(guard.payloads) == 1


async def test_an_expected_call_of_many_choices_goes_to_a_worker() -> None:
    lengths = [{"type": "string", "maxLength": n} for n in range(1, 150)]
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"anyOf": lengths}}, "b": {"type": "integer"}},
    }
    config = {"tools": [{"name": "f", "parameters": schema}]}
    verifier = configured("tool_call", config)
    guard = InProcessGuard()
    many = {"a": ["z" * 500] * 10, "b": {"any_of": ["q"] * 99 + [1]}}
    items = [
        Item(completion="no", reference={"calls": [{"name": "f", "arguments": many}]}),
        Item(
            completion="no",
            reference={"calls": [{"f": {"a": [many["a"]], "b": ["q"] * 99 + [1]}}], "form": "bfcl"},
        ),
    ]
    await score_all(verifier, items, guard)
    assert len(guard.payloads) == 2
    few = [Item(completion="no", reference={"calls": [{"name": "f", "arguments": {"a": ["z"], "b": 1}}]})]
    assert (await score_all(verifier, few, NoGuard()))[0].score == 0.0


def exponential(levels: int) -> dict[str, Any]:
    doubled = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2} for n in range(1, levels)}
    properties = {"city": {"$ref": f"#/$defs/d{levels - 1}"}}
    return {"type": "object", "properties": properties, "$defs": {"d0": {"type": "string"}, **doubled}}


class Faulty:
    """A guard under which `faulty` functions use up their limits."""

    def __init__(self, faulty: Sequence[str], fault: GuardFault = GuardFault.CPU) -> None:
        self._faulty = faulty
        self._fault = fault
        self._inner = InProcessGuard()
        self.ran: list[tuple[str, int]] = []

    async def run(
        self, function: str, payloads: Sequence[Any], *, limits: GuardLimits, deadline: float
    ) -> list[GuardResult]:
        name = function.partition(":")[2]
        self.ran.append((name, len(payloads)))
        if name in self._faulty:
            return [GuardResult(fault=self._fault)] * len(payloads)
        return await self._inner.run(function, payloads, limits=limits, deadline=deadline)


LARGE = HERMES + " " * 20_000


@pytest.mark.parametrize("fault", [GuardFault.CPU, GuardFault.MEMORY, GuardFault.CRASHED])
async def test_who_used_up_a_worker_shows_in_the_references_own_calls(fault: GuardFault) -> None:
    verifier = configured("tool_call", {"tools": TOOLS})
    items = [Item(completion=LARGE + text, reference={"calls": [PARIS]}) for text in ("", " ")]
    guard = Faulty(["judge"], fault)
    verdicts = await score_all(verifier, items, guard)
    assert [verdict.score for verdict in verdicts] == [0.0, 0.0]
    assert guard.ran == [("judge", 2), ("judge_gold", 1)]
    for verdict in await score_all(verifier, items, Faulty(["judge", "judge_gold"], fault)):
        assert verdict.score is None
        assert verdict.error is not None
        assert verdict.error.type is ErrorType.BAD_ITEM
        assert "simplify the tools' schemas" in verdict.error.message


async def test_a_busy_host_never_makes_a_candidate_guilty() -> None:
    class Busy(Faulty):
        async def run(self, function: str, *args: Any, **more: Any) -> list[GuardResult]:
            if function.endswith(":judge_gold"):
                return [GuardResult(fault=GuardFault.WALL)]
            return await super().run(function, *args, **more)

    item = Item(completion=LARGE, reference={"calls": [PARIS]})
    [verdict] = await score_all(configured("tool_call", {"tools": TOOLS}), [item], Busy(["judge"]))
    assert verdict.error is not None
    assert (verdict.score, verdict.error.retryable) == (None, True)


async def test_real_workers_run_all_that_this_kind_asks_of_them(local_sandbox: LiveSandbox) -> None:
    """An exponential schema of the reference, a plan, and a large state, in workers as the service has them."""
    pool = GuardedPool(1, list(ToolCall.guarded))
    await pool.start()
    try:
        tools = [{"name": "get_weather", "parameters": exponential(40)}]
        slow = Item(completion=HERMES, reference={"calls": [PARIS], "tools": tools})
        [verdict] = await score_all(configured("tool_call"), [slow], pool)
        dry_run = {"dry_run": {"code": "def f(s, n): s['x'] = list(range(n))"}}
        said = "[f(n=20000)]" + " " * 20_000
        state = Item(completion=said, reference={"state": {"x": list(range(20_000))}})
        [replayed] = await score_all(configured("tool_call", dry_run), [state], pool, sandbox=local_sandbox)
    finally:
        await pool.close()
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.BAD_ITEM
    assert replayed.score == 1.0


async def test_calls_are_planned_in_a_worker_where_schemas_take_long(local_sandbox: LiveSandbox) -> None:
    dry_run = {"code": "def get_weather(s, city): s['city'] = city"}
    tools = [{"name": "get_weather", "parameters": exponential(18)}]
    verifier = configured("tool_call", {"tools": tools, "dry_run": dry_run})
    item = Item(completion=HERMES, reference={"state": {"city": "Paris"}})
    guard = Faulty([])
    [verdict] = await score_all(verifier, [item], guard, sandbox=local_sandbox)
    assert verdict.score == 1.0
    assert guard.ran == [("judge", 1), ("plan", 1)]


def test_deciding_what_is_costly_takes_no_time() -> None:
    nested: Any = 1
    for _ in range(900):
        nested = [nested]
    verifier = ToolCall(ToolCallConfig.model_validate({"tools": TOOLS}))
    calls: list[Any] = [{"name": "f", "arguments": {"a": nested}}, 7, {"f": None}, {"arguments": {"any_of": 3}}]
    for _ in range(2):
        started = time.process_time()
        verifier.costly(Item(completion="x", reference={"calls": calls}))
        assert time.process_time() - started < 0.05


# the dry run


async def replay(sandbox: LiveSandbox, code: str, calls: Any, expected: Any, **more: Any) -> Any:
    verifier = configured("tool_call", {"dry_run": {"code": code} | more})
    item = Item(completion=message(calls), reference={"state": expected})
    [verdict] = await score_all(verifier, [item], sandbox=sandbox)
    assert_sound(verdict)
    return verdict


RUN_SQL = """
def run_sql(db, query):
    db.execute(query)

def add(db, table):
    db.execute(f"CREATE TABLE {table} (x)")
    db.execute("INSERT INTO t VALUES (9)")
    db.commit()
    raise ToolError("no")

def read(db):
    return [row for row in db.execute("SELECT * FROM t")]
"""


async def test_a_temporary_table_does_not_stand_in_for_the_real_one(local_sandbox: LiveSandbox) -> None:
    for sql in ("CREATE TEMP TABLE t AS SELECT 2 AS x", "CREATE TEMP VIEW t AS SELECT 2 AS x"):
        verdict = await replay(
            local_sandbox,
            RUN_SQL,
            [("run_sql", {"query": sql})],
            {"t": [{"x": 2}]},
            database="CREATE TABLE t (x); INSERT INTO t VALUES (1);",
        )
        assert verdict.score == 0.0


async def test_a_refused_call_leaves_a_database_as_it_was_though_it_committed(local_sandbox: LiveSandbox) -> None:
    setup = "PRAGMA page_size = 8192; PRAGMA foreign_keys = ON; CREATE TABLE p (x PRIMARY KEY);"
    setup += "CREATE TABLE t (x REFERENCES p (x)); INSERT INTO p VALUES (1), (9);"
    calls = [
        ("add", {"table": "u"}),
        ("run_sql", {"query": "INSERT INTO t VALUES (1)"}),
        ("add", {"table": "u"}),
        ("run_sql", {"query": "INSERT INTO t VALUES (7)"}),
        ("read", {}),
    ]
    expected = {"p": [{"x": 1}, {"x": 9}], "t": [{"x": 1}]}
    verdict = await replay(local_sandbox, RUN_SQL, calls, expected, database=setup)
    assert verdict.score == 1.0
    assert verdict.full["failed"] == ["no", "no", "FOREIGN KEY constraint failed"]


@pytest.mark.parametrize(
    "code",
    ["async def f(state): state['x'] = 1", "def f(state):\n    state['x'] = 1\n    yield", "async def f(s): yield 1"],
)
async def test_a_function_that_does_not_run_is_the_verifiers_fault(local_sandbox: LiveSandbox, code: str) -> None:
    verdict = await replay(local_sandbox, code, [("f", {})], {"x": 1})
    assert verdict.error.type is ErrorType.VERIFIER_FAULT
    assert "it is async, or a generator" in verdict.error.message


async def test_memory_that_a_call_asks_for_is_the_calls_doing(local_sandbox: LiveSandbox) -> None:
    code = "def f(state, n): state['x'] = [0] * n"
    assert (await replay(local_sandbox, code, [("f", {"n": 2})], {"x": [0, 0]})).score == 1.0
    for n in (10**11, 10**17):
        verdict = await replay(local_sandbox, code, [("f", {"n": n})], {"x": [0, 0]})
        assert (verdict.outcome, verdict.score) == (Outcome.MEMORY_EXCEEDED, 0.0)


async def test_pointers_that_lead_nowhere_are_the_callers_fault() -> None:
    dry_run = {"code": "def f(state): pass", "compare": ["/boked", "/logs/0"]}
    verdict = await score(
        "tool_call", {"dry_run": dry_run}, completion="[f()]", reference={"state": {"booked": {}, "logs": []}}
    )
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.BAD_ITEM
    assert "dry_run.compare" in verdict.error.message


def test_a_pointer_finds_a_number_that_is_a_key() -> None:
    assert difference({"booked": {12: 2}}, {"booked": {"12": 2}}, ["/booked/12"], rows=False) is None
    assert difference({"booked": {12: 2}}, {"booked": {"12": 3}}, ["/booked/12"], rows=False) == "/booked/12"
    for state in ({"booked": {None: 2}}, {"booked": {1: 2}}):
        assert difference(state, {"booked": {"01": 2}}, ["/booked/01"], rows=False) == "/booked/01"


class NoCells:
    """A sandbox that has no cell to give."""

    unavailable = ""
    languages: Mapping[str, str] = {}
    packages: Mapping[str, str] = {}

    async def run(self, job: Job, *, deadline: float, go_on: GoOn | None = None) -> Ran:
        raise SandboxUnavailableError("no cell")


async def test_a_batch_of_replays_lets_other_requests_run() -> None:
    """Before, all 64 were planned in one turn of the loop, which took more than 100 ms."""
    verifier = configured("tool_call", {"dry_run": {"code": "def book(state, room): pass"}})
    said = "[" + ",".join(f'book(room="{"a" * 60}")' for _ in range(60)) + "]"
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    [alone] = await score_all(verifier, [Item(completion=said, reference={"state": {}})], sandbox=NoCells())
    before = turns
    verdicts = await score_all(verifier, [Item(completion=said, reference={"state": {}})] * 64, sandbox=NoCells())
    task.cancel()
    assert verdicts == [alone] * 64
    assert alone.score is None
    assert turns - before > 2 * before + 10

"""The dry run: calls replayed in the sandbox over a state, and the state compared outside."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.base import Calls, GoOn, Job, Ran, Sandbox
from tests.sandbox.live import LiveSandbox
from tests.verifiers.support import InProcessGuard, assert_sound, configured, score_all
from tests.verifiers.tool_call.support import tool
from tests.verifiers.tool_call.written import hermes, message, python
from verifiers.base import ErrorType, Item, Outcome, Verdict
from verifiers.tool_call.state import difference

HOTEL = """
def book(state, room, nights=1):
    if room not in state["rooms"]:
        raise ToolError(f"there is no room {room}")
    state["log"].append(room)
    if room in state["booked"]:
        raise ToolError("it is taken")
    state["booked"][room] = nights

def hotels_cancel(state, room):
    del state["booked"][room]

def _secret(state):
    state["booked"] = "anything"
"""
START = {"rooms": ["a", "b"], "booked": {}, "log": []}
TOOLS = [tool("book", ("room",), room="string", nights="integer"), tool("hotels.cancel", ("room",), room="string")]
DRY = {"code": HOTEL, "state": START}


def after(log: list[str], **booked: int) -> dict[str, Any]:
    return {"state": {"rooms": ["a", "b"], "booked": booked, "log": log}}


async def run(sandbox: Sandbox | None, completion: Any, reference: Any, **config: Any) -> Verdict:
    verifier = configured("tool_call", {"dry_run": DRY, "tools": TOOLS} | config)
    item = Item(completion=completion, reference=reference)
    [verdict] = await score_all(verifier, [item], sandbox=sandbox)
    assert_sound(verdict)
    return verdict


def book(room: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return ("book", {"room": room, **more})


@pytest.mark.parametrize("form", [hermes, message, python])
async def test_the_final_state_decides(local_sandbox: LiveSandbox, form: Any) -> None:
    right = await run(local_sandbox, form([book("a", nights=2), book("b")]), after(["a", "b"], a=2, b=1))
    assert (right.outcome, right.score, right.detail["stage"]) == (Outcome.CORRECT, 1.0, "state")
    assert right.components == {"schema": 1.0, "state": 1.0}
    wrong = await run(local_sandbox, form([book("a", nights=3), book("b")]), after(["a", "b"], a=2, b=1))
    assert (wrong.outcome, wrong.score) == (Outcome.INCORRECT, 0.0)
    assert wrong.detail["message"] == "the state differs at /booked"


async def test_another_way_to_the_same_state_is_right(local_sandbox: LiveSandbox) -> None:
    way = [book("b"), ("hotels.cancel", {"room": "b"}), book("a", nights=2)]
    verdict = await run(local_sandbox, hermes(way), after(["b", "a"], a=2))
    assert verdict.score == 1.0


async def test_a_failed_call_changes_nothing_and_the_replay_goes_on(local_sandbox: LiveSandbox) -> None:
    calls = [book("z"), book("a"), book("a"), ("book", {}), book("b", nights="x"), ("_secret", {}), ("nope", {})]
    verdict = await run(local_sandbox, hermes([*calls, book("b")]), after(["a", "b"], a=1, b=1))
    assert verdict.score == 1.0
    assert verdict.detail["failed_calls"] == 6
    assert verdict.full["failed"][:2] == ["there is no room z", "it is taken"]
    assert verdict.components == {"schema": 0.5, "state": 1.0}


async def test_without_tools_the_functions_are_the_tools(local_sandbox: LiveSandbox) -> None:
    calls = [book("a"), ("_secret", {}), ("ToolError", {}), (".secret", {}), ("re.sub", {}), ("book", {"state": 1})]
    verdict = await run(local_sandbox, message(calls), after(["a"], a=1), tools=None)
    assert verdict.score == 1.0
    assert verdict.detail["failed_calls"] == 5


async def test_nothing_done_leaves_the_state(local_sandbox: LiveSandbox) -> None:
    assert (await run(local_sandbox, "Done!", after(["a"], a=1))).score == 0.0
    assert (await run(local_sandbox, "", after(["a"], a=1))).score == 0.0
    untouched = {"calls": [], **after([])}
    assert (await run(local_sandbox, "There is nothing to do.", untouched)).score == 1.0
    undone = [book("a"), ("hotels.cancel", {"room": "a"})]
    assert (await run(local_sandbox, hermes(undone), untouched)).score == 0.0


async def test_turns_share_one_state_and_items_do_not(local_sandbox: LiveSandbox) -> None:
    turns = [*message([book("a")]), {"role": "tool", "content": hermes([book("b")])}, *message([book("a")])]
    verifier = configured("tool_call", {"dry_run": DRY, "tools": TOOLS})
    items = [Item(completion=turns, reference=after(["a"], a=1))] * 4
    items += [Item(completion=hermes([book("b")]), reference=after(["b"], b=1))] * 4
    verdicts = await score_all(verifier, items, sandbox=local_sandbox)
    assert [verdict.score for verdict in verdicts] == [1.0] * 8
    assert verdicts[0].detail["failed_calls"] == 1


async def test_an_item_may_start_elsewhere(local_sandbox: LiveSandbox) -> None:
    start = {"rooms": ["z"], "booked": {}, "log": []}
    reference = {"initial_state": start, "state": {**start, "booked": {"z": 1}, "log": ["z"]}}
    assert (await run(local_sandbox, hermes([book("z")]), reference)).score == 1.0


@pytest.mark.parametrize(
    ("made", "reward", "score", "stage"),
    [
        ([book("a")], "all", 1.0, "state"),
        ([book("a"), book("a")], "all", 0.0, "name"),
        ([book("b")], "all", 0.0, "arguments"),
        ([book("a"), book("z")], "fraction", 0.75, "name"),
        ([book("b")], "fraction", 0.0, "arguments"),
    ],
)
async def test_with_expected_calls_both_must_be_right(
    local_sandbox: LiveSandbox, made: Any, reward: str, score: float, stage: str
) -> None:
    reference = {"calls": [{"name": "book", "arguments": {"room": "a"}}], **after(["a"], a=1)}
    verdict = await run(local_sandbox, hermes(made), reference, reward=reward)
    assert verdict.score == score
    assert verdict.detail["stage"] == (stage if score != 1.0 else "arguments")
    assert verdict.components.keys() == {"schema", "name", "arguments", "state"}


async def test_what_cannot_be_read_is_not_run() -> None:
    for completion in ("<tool_call>", "<think>"):
        verdict = await run(None, completion, after([]))
        assert verdict.outcome is Outcome.UNPARSEABLE
        assert verdict.components == {"schema": 0.0, "state": 0.0}


async def test_parts_of_the_state_can_be_compared(local_sandbox: LiveSandbox) -> None:
    dry_run = DRY | {"compare": ["/booked/a", "/booked/b"]}
    expected = {"state": {"booked": {"a": 1}}}
    assert (await run(local_sandbox, hermes([book("a")]), expected, dry_run=dry_run)).score == 1.0
    both = await run(local_sandbox, hermes([book("a"), book("b")]), expected, dry_run=dry_run)
    assert both.detail["message"] == "the state differs at /booked/b"


SHOP = """
def add(db, name, price):
    db.execute("INSERT INTO goods VALUES (?, ?)", (name, price))
    if price > 100:
        raise ToolError("too dear")

def count(db):
    return db.execute("SELECT count(*) FROM goods").fetchone()[0]
"""
SQL = (
    "CREATE TABLE goods (name TEXT PRIMARY KEY, price REAL); INSERT INTO goods VALUES ('tea', 3); CREATE TABLE o (x);"
)


async def test_a_database_is_a_state(local_sandbox: LiveSandbox) -> None:
    dry_run = {"code": SHOP, "database": SQL}
    rows = [{"name": "tea", "price": 3}, {"name": "cake", "price": 4.5}]
    calls = hermes([("add", {"name": "cake", "price": 4.5}), ("add", {"name": "gold", "price": 999}), ("count", {})])
    for goods, score in ((rows, 1.0), (rows[::-1], 1.0), (rows + rows[:1], 0.0), (rows[:1], 0.0)):
        reference = {"state": {"goods": goods, "o": []}}
        verdict = await run(local_sandbox, calls, reference, dry_run=dry_run, tools=None)
        assert verdict.score == score, verdict
    assert verdict.full["failed"] == ["too dear"]


async def test_a_constraint_refuses_a_call(local_sandbox: LiveSandbox) -> None:
    dry_run = {"code": SHOP, "database": SQL}
    reference = {"state": {"goods": [{"name": "tea", "price": 3.0}], "o": []}}
    calls = hermes([("add", {"name": "tea", "price": 1})])
    verdict = await run(local_sandbox, calls, reference, dry_run=dry_run, tools=None)
    assert verdict.score == 1.0
    assert verdict.full["failed"] == ["UNIQUE constraint failed: goods.name"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def f(:", "dry_run: cannot be loaded: "),
        ("1 / 0", "ZeroDivisionError"),
        ("import numpyy", "No module named 'numpyy'"),
        ("def g(state): pass", "NotImplementedError: the code defines no function for the tool 'f' (f, line"),
        ("def f(state): state['x'] / 0", "KeyError: 'x' (f, line 1)"),
        ("def f(state): raise ValueError('no')", "ValueError: no (f, line 1)"),
        ("def f(state): state['x'] = object()", "the final state: an object of type 'object' is not plain data"),
        ("def f(state): state['x'] = state", "dry_run: the final state: "),
        ("def f(state): state['x'] = 'x' * 2_000_000", "dry_run: the final state: the value takes more than"),
        ("import os\ndef f(state): os._exit(0)", "dry_run: the replay failed: "),
        ("def f(state): raise SystemExit(0)", "dry_run: the replay failed: SystemExit"),
        ("def f(state): f.__globals__['ToolError']()()", "TypeError: "),
        ("f = 7", "NotImplementedError: the code defines no function for the tool 'f' (f, line"),
    ],
)
async def test_faults_of_the_code_are_the_verifiers(local_sandbox: LiveSandbox, code: str, message: str) -> None:
    verdict = await run(local_sandbox, hermes([("f", {})]), {"state": {}}, dry_run={"code": code}, tools=[tool("f")])
    assert verdict.score is None
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.VERIFIER_FAULT
    assert not verdict.error.retryable
    assert message in verdict.error.message


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("while n: pass", Outcome.TIMEOUT),
        ("import time; time.sleep(60 * n)", Outcome.TIMEOUT),
        ("state['x'] = bytearray(n * 2**30)", Outcome.MEMORY_EXCEEDED),
    ],
)
async def test_calls_that_use_up_a_replay(local_sandbox: LiveSandbox, body: str, outcome: Outcome) -> None:
    dry_run = {"code": f"def f(state, n):\n    {body}", "limits": {"cpu_s": 0.5, "wall_s": 1.0, "memory_mb": 64}}
    verdict = await run(local_sandbox, hermes([("f", {"n": 1})]), {"state": {}}, dry_run=dry_run, tools=None)
    assert (verdict.outcome, verdict.score, verdict.detail["stage"]) == (outcome, 0.0, "dry_run")
    quick = await run(local_sandbox, hermes([("f", {"n": 0})]), {"state": {"x": 1}}, dry_run=dry_run, tools=None)
    assert quick.outcome is Outcome.INCORRECT


async def test_without_a_sandbox_nothing_is_said() -> None:
    verdict = await run(None, hermes([book("a")]), after(["a"], a=1))
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.retryable) == (ErrorType.SANDBOX_UNAVAILABLE, True)


class Recording:
    """Passes jobs on, and keeps them."""

    def __init__(self, inner: Sandbox) -> None:
        self._inner = inner
        self.jobs: list[Job] = []
        self.unavailable = ""
        self.languages = inner.languages
        self.packages = inner.packages

    async def run(self, job: Job, *, deadline: float, go_on: GoOn | None = None) -> Ran:
        self.jobs.append(job)
        return await self._inner.run(job, deadline=deadline, go_on=go_on)


async def test_what_is_expected_never_enters_the_sandbox(local_sandbox: LiveSandbox) -> None:
    recording = Recording(local_sandbox)
    reference = {
        "calls": [{"name": "book", "arguments": {"room": "a", "nights": {"any_of": [81726354], "optional": True}}}],
        "state": {**START, "booked": {"a": "NEEDLE"}},
    }
    verdict = await run(recording, hermes([book("a")]), reference)
    assert verdict.score == 0.0
    [job] = recording.jobs
    assert isinstance(job.task, Calls)
    entered = b"".join([job.program.source, *job.program.files.values(), *job.task.calls])
    assert b"NEEDLE" not in entered
    assert b"81726354" not in entered
    [[[plan], keywords]] = [json.loads(call) for call in job.task.calls]
    assert keywords == {}
    assert plan["calls"] == [["book", {"room": "a"}, None]]


async def test_large_states_are_compared_in_a_worker(local_sandbox: LiveSandbox) -> None:
    guard = InProcessGuard()
    verifier = configured("tool_call", {"dry_run": {"code": "def f(s, n): s['x'] = list(range(n))"}})
    items = [
        Item(completion=f"[f(n={n})]", reference={"state": {"x": list(range(20_000))}}) for n in (20_000, 19_999)
    ]
    verdicts = await score_all(verifier, items, guard, sandbox=local_sandbox)
    assert [verdict.score for verdict in verdicts] == [1.0, 0.0]
    assert len(guard.payloads) >= 2


async def test_large_completions_are_replayed_as_small_ones_are(local_sandbox: LiveSandbox) -> None:
    said = hermes([book("a")]) + " " * 40_000
    assert (await run(local_sandbox, said, after(["a"], a=1))).score == 1.0


@pytest.mark.parametrize(
    ("state", "expected", "compare", "rows", "where"),
    [
        ({"a": 1}, {"a": 1.0}, None, False, None),
        ({"a": True}, {"a": 1}, None, False, "/a"),
        ({"a": (1, 2)}, {"a": [1, 2]}, None, False, None),
        ({"a": {1, 2}}, {"a": [1, 2]}, None, False, "/a"),
        ({1: "x"}, {"1": "x"}, None, False, None),
        ({"a": 1, "b": 2}, {"a": 1}, None, False, "/b"),
        ({}, {"a": None}, None, False, "/a"),
        ([1, 2], [2, 1], None, False, ""),
        (0.1 + 0.2, 0.3, None, False, None),
        (float("nan"), None, None, False, ""),
        ({"a/b": {"~": [5]}}, {"a/b": {"~": [5]}}, ["/a~1b/~0/0"], False, None),
        ({"a": [5]}, {"a": [6]}, ["/a/0"], False, "/a/0"),
        ({"a": [5]}, {"a": [5]}, ["/a/9", "/b", "/a/x", "/a/²"], False, None),
        ({"t": [{"x": 1}, {"x": 2}]}, {"t": [{"x": 2.0}, {"x": 1}]}, None, True, None),
        ({"t": [{"x": 1}, {"x": 1}]}, {"t": [{"x": 1}]}, None, True, "/t"),
        ({"t": [{"x": b"1"}]}, {"t": [{"x": "1"}]}, None, True, "/t"),
        ({"t": [{"x": 1}], "u": []}, {"t": [{"x": 1}]}, ["/t"], True, None),
        ({"t": [{"x": "1"}]}, {"t": [{"x": 1}]}, None, True, "/t"),
    ],
)
def test_states(state: Any, expected: Any, compare: Any, rows: bool, where: str | None) -> None:
    assert difference(state, expected, compare, rows=rows) == where

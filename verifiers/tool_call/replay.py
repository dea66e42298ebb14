"""The dry run: the calls of one item, replayed in the sandbox over a state, by the verifier's own Python.

What goes in is the code, the state and the calls, as plain data; what comes out is the final state. What is expected
of it never goes in. The code is the verifier's: where it breaks, nothing is said of the candidate.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sandbox.base import Calls, Job, Program, Run, Sandbox, SandboxError, Status
from sandbox.cell.values import ValuesError, decode
from verifiers.base import ErrorType, Outcome, Verdict, clip
from verifiers.in_sandbox import how_it_ended, no_sandbox, sandbox_error
from verifiers.tool_call.config import DryRunConfig

FILE = "dry_run.py"
_MAX_MESSAGE = 500

DRIVER = b"""
import copy, inspect, re, sqlite3, sys, traceback, types

class ToolError(Exception):
    pass

module = types.ModuleType("dry_run")
module.ToolError = ToolError
sys.modules["dry_run"] = module
with open("dry_run.py", encoding="utf-8") as file:
    source = file.read()
exec(compile(source, "dry_run.py", "exec"), module.__dict__)

def find(name, known):
    if known is None:
        function = getattr(module, name, None) if name.isidentifier() and not name.startswith("_") else None
        own = isinstance(function, types.FunctionType) and function.__module__ == "dry_run"
        return function if own else None
    if name not in known:
        return None
    function = getattr(module, re.sub(r"\\W", "_", name), None)
    if not callable(function):
        raise NotImplementedError(f"the code defines no function for the tool {name!r}")
    return function

def built(script):
    connection = sqlite3.connect(":memory:")
    connection.executescript(script)
    connection.commit()
    return connection

def dumped(connection):
    connection.row_factory, connection.text_factory = None, str
    names = [row[0] for row in connection.execute("select name from main.sqlite_master where type = 'table'")]
    tables = {}
    for name in names:
        if name.startswith("sqlite_"):
            continue
        quoted = 'main."' + name.replace('"', '""') + '"'  # a temporary table of the same name would go first
        cursor = connection.execute("select * from " + quoted)
        columns = [column[0] for column in cursor.description]
        tables[name] = [dict(zip(columns, row)) for row in cursor]
    return tables

def call(function, state, arguments):
    try:
        inspect.signature(function).bind(state, **arguments)
    except TypeError as error:
        raise ToolError(str(error)) from None
    result = function(state, **arguments)
    if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise NotImplementedError("the function has not run: it is async, or a generator")

def replay(plan):
    database = plan["database"] is not None
    state = built(plan["database"]) if database else plan["state"]
    before = sqlite3.connect(":memory:")
    if database:
        before.execute("pragma page_size = %d" % state.execute("pragma page_size").fetchone()[0])
    results = []
    for name, arguments, refused in plan["calls"]:
        try:
            if refused is not None:
                raise ToolError(refused)
            if database:
                state.backup(before)
            function = find(name, plan["tools"])
            if function is None:
                raise ToolError("no tool has this name")
            work = state if database else copy.deepcopy(state)
            call(function, work, arguments)
            if database:
                state.commit()
            state = work
            results.append(None)
        except (ToolError, sqlite3.IntegrityError) as error:
            results.append(str(error)[:200])
        except MemoryError:
            raise
        except Exception as error:
            line = traceback.extract_tb(error.__traceback__)[-1]
            return {"fault": f"{type(error).__name__}: {error}"[:300] + f" ({name[:60]}, line {line.lineno})"}
        if database and results[-1] is not None and refused is None:
            state.rollback()
            before.backup(state)  # the function may have committed, and SQLite commits a new table at once
    return {"state": dumped(state) if database else state, "results": results}
"""
"""Loads the verifier's code, and replays one item's calls each time it is called."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The encoded answer of a replay that ended well."""

    answer: bytes


def start(database: str | None, state: Any) -> str:
    """The members of a plan that say where a replay starts, as JSON."""
    return f'"database": {json.dumps(database)}, "state": {json.dumps(state)}'


async def replayed(
    config: DryRunConfig,
    plan: str,
    called: bool,
    sandbox: Sandbox | None,
    deadline: float,
) -> Replayed | Verdict:
    """Replay calls over a state, or over the database; the verdict where there is no final state.

    `plan` is JSON: `calls`, each a name, arguments, and why it is not made or null; `tools`, their names or null; and
    what `start` gives. `called`: whether a call is made at all.
    """
    if sandbox is None:
        return no_sandbox()
    limits = config.limits.limits()
    program = Program(DRIVER, files={FILE: config.code.encode()})
    job = Job(program, Calls("replay", [f"[[{plan}], {{}}]".encode()]), limits)
    try:
        ran = await sandbox.run(job, deadline=deadline)
    except SandboxError as error:
        return sandbox_error(error)
    if ran.prepared is not None and ran.prepared.status is not Status.OK:
        return fault(f"cannot be loaded: {how_it_ended(ran.prepared, limits)}")
    run = ran.runs[0]
    if run.status is Status.OK:
        return Replayed(run.value)
    return _ended(run, how_it_ended(run, limits), called)


_EXHAUSTED = {
    Status.CPU: Outcome.TIMEOUT,
    Status.WALL: Outcome.TIMEOUT,
    Status.MEMORY: Outcome.MEMORY_EXCEEDED,
    Status.OUTPUT: Outcome.OUTPUT_EXCEEDED,
}


def _ended(run: Run, how: str, called: bool) -> Verdict:
    """A replay without an answer: the calls' doing where they used up what a replay may use, else the code's."""
    outcome = _EXHAUSTED.get(run.status)
    if run.message.partition(":")[0] == "MemoryError":  # asked for at once, so the limit was never reached
        outcome, how = Outcome.MEMORY_EXCEEDED, "asked for more memory than there is"
    if outcome is None or not called:
        return fault(f"the final state: {how}" if run.status is Status.FAILED else f"the replay failed: {how}")
    detail = {"stage": "dry_run", "message": clip(f"the replay {how}")}
    return Verdict(outcome, 0.0, detail, transient=run.status is Status.WALL)


def fault(message: str) -> Verdict:
    """The verdict where the verifier's code is at fault."""
    said = f"dry_run: {message}; correct the verifier's code, or let it raise ToolError for what a call does wrong"
    return Verdict.unscored(ErrorType.VERIFIER_FAULT, clip(said, _MAX_MESSAGE), retryable=False)


def read_answer(answer: bytes, limit_bytes: int) -> tuple[Any, list[str | None]] | str:
    """The final state, and for each call None or why it failed; or what is wrong with the code's answer."""
    try:
        value = decode(answer, limit_bytes=limit_bytes)
    except ValuesError as error:
        return f"the final state is no plain data: {error}"
    if not isinstance(value, dict):
        return "the answer was tampered with"
    if "fault" in value:
        return str(value["fault"])
    results = value.get("results")
    if "state" not in value or not isinstance(results, list):
        return "the answer was tampered with"
    return value["state"], [None if one is None else str(one) for one in results]

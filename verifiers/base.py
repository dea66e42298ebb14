"""What a verdict is, and how a kind of verifier is declared.

A kind is one module in this package: a class with `@register`, a pydantic `Config` fixed when a verifier is
registered, and `verify`, which turns items into verdicts in the same order. Authentication, caching, storage,
metrics and deadlines of the whole request belong to the engine and never to a kind.
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from sandbox.base import Sandbox
from verifiers.databases import Databases
from verifiers.lent import Backends, Needs, Scorer
from verifiers.strict import MAX_FIELDS as MAX_FIELDS
from verifiers.strict import Strict as Strict

MAX_DETAIL_CHARS = 200
"""Caller text quoted in a verdict's detail or in an error message is cut to this many characters."""
MAX_NAME = 1000
"""Characters of an item's id or group; lists show them."""
TURN_S = 0.004
"""How long work on the event loop goes on before others get their turn."""


class Outcome(StrEnum):
    """What happened to one item. Every outcome but the last two carries a score."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    PARTIAL = "partial"
    SCORED = "scored"
    """A continuous score: similarity, judge, reward model."""
    UNPARSEABLE = "unparseable"
    TIMEOUT = "timeout"
    MEMORY_EXCEEDED = "memory_exceeded"
    OUTPUT_EXCEEDED = "output_exceeded"
    CRASHED = "crashed"
    REJECTED = "rejected"
    """The candidate broke a rule, such as a list of guesses; scored, usually 0."""
    UNSCORED = "unscored"
    """Our fault or the caller's, never the candidate's: `score` is null and `error` says why."""
    PENDING = "pending"
    """The outcome is not known yet."""


class ErrorType(StrEnum):
    """The closed list of reasons for `unscored`; docs/verdicts.md explains each."""

    BAD_ITEM = "bad_item"
    """The item or its reference cannot be used as sent. Not retryable."""
    DEADLINE_EXCEEDED = "deadline_exceeded"
    """The request's deadline passed before this item was verified."""
    WORKER_TIMEOUT = "worker_timeout"
    """A guarded worker was killed by the wall clock without having used its CPU time: the host was busy."""
    WORKER_LOST = "worker_lost"
    """A guarded worker died of something that is not the item's doing."""
    KIND_UNAVAILABLE = "kind_unavailable"
    """The kind failed its self-check at start; see /readyz."""
    SANDBOX_UNAVAILABLE = "sandbox_unavailable"
    """There is no sandbox here that isolates, or it lacks a language or a package."""
    SANDBOX_FAULT = "sandbox_fault"
    """The sandbox failed, twice; not the item's doing."""
    UNSPLITTABLE_TEST = "unsplittable_test"
    """The tests can only run in one process with the program, which the configuration forbids. Not retryable."""
    BACKEND_UNAVAILABLE = "backend_unavailable"
    """A backend cannot be reached, took too long, or said that it cannot answer now."""
    BACKEND_FAULT = "backend_fault"
    """A backend answered with something that is no answer. Not retryable."""
    JUDGE_REFUSED = "judge_refused"
    """A judge refused to judge the item."""
    JUDGE_EMPTY = "judge_empty"
    """A judge answered with nothing."""
    JUDGE_CUT_OFF = "judge_cut_off"
    """A judge's answer reached its limit of tokens before its end."""
    JUDGE_OFF_SCALE = "judge_off_scale"
    """A judge gave a verdict that was not on offer."""
    JUDGE_UNREADABLE = "judge_unreadable"
    """A judge's answer holds no verdict: broken JSON, no marker, no offered token."""
    CONTEXT_OVERFLOW = "context_overflow"
    """The request has more tokens than the backend's model takes. Not retryable."""
    CONTENT_FILTERED = "content_filtered"
    """A backend's content filter stopped the request or its answer. Not retryable."""
    DATABASE_UNAVAILABLE = "database_unavailable"
    """There is no PostgreSQL for throw-away databases now."""
    NO_SIGNAL = "no_signal"
    """No signal told of the outcome in time, and the verifier has no default. Not retryable."""
    VERIFIER_FAULT = "verifier_fault"
    """The verifier raised, or broke its contract (length, order, finiteness)."""
    NOT_RECORDED = "not_recorded"
    """The database refused this verdict's row; a verdict that is not recorded is not given."""


class Message(BaseModel):
    """One chat message, in the OpenAI form. Fields beyond these are kept and not looked at."""

    model_config = ConfigDict(extra="allow", frozen=True)
    role: str
    content: str | Annotated[list[dict[str, Any]], Field(fail_fast=True)] | None = None

    @property
    def text(self) -> str:
        """The message's text: its content, or its text parts joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(t for part in self.content or () if isinstance(t := part.get("text"), str))


def _written_by_model(messages: list[Message]) -> list[Message]:
    if not any(message.role == "assistant" for message in messages):
        raise ValueError("a completion of chat messages needs one whose role is 'assistant'")
    return messages


def _short(name: str) -> str:
    if len(name) > MAX_NAME:
        raise ValueError(f"must have at most {MAX_NAME} characters")
    return name


Name = Annotated[str, AfterValidator(_short)]
"""A name of the caller's choosing. (Pydantic's own bound on length refuses lone surrogates.)"""
Prompt = str | Annotated[list[Message], Field(fail_fast=True)]
"""Text, or chat messages."""
Completion = str | Annotated[list[Message], Field(fail_fast=True), AfterValidator(_written_by_model)]
"""Text, or chat messages with an assistant's among them. Of a hostile list, the first fault is enough."""


class Item(BaseModel):
    """One completion with its prompt, reference and metadata."""

    model_config = ConfigDict(extra="forbid")
    id: Name | None = Field(None, description="Echoed in the result; yours to choose.", examples=["a1"])
    prompt: Prompt | None = Field(None, examples=["What is 6 times 7?"])
    completion: Completion = Field(
        description="What the model wrote: text, or chat messages with an assistant's among them.",
        examples=["6 * 7 is \\boxed{42}."],
    )
    reference: Any = Field(
        None, description="What the verifier compares with; its form depends on the kind.", examples=["42"]
    )
    group: Name | None = Field(None, description="Names the prompt whose completions belong together.")
    tokens: int | None = Field(
        None, strict=True, ge=0, le=2**31 - 1, description="Length of the completion in tokens."
    )
    finish_reason: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict, description="Anything; stored, never interpreted.")

    @property
    def text(self) -> str:
        """The completion as text: the string itself, or the text of its last assistant message."""
        return _text(self.completion, "assistant")

    @property
    def prompt_text(self) -> str:
        """The prompt as text: the string itself, its last message's text, or nothing."""
        return _text(self.prompt, None)


def _text(value: str | list[Message] | None, role: str | None) -> str:
    if isinstance(value, str):
        return value
    for message in reversed(value or ()):
        if role is None or message.role == role:
            return message.text
    return ""


@dataclass(frozen=True, slots=True)
class VerdictError:
    """Why an item is unscored. `message` says what to do about it."""

    type: ErrorType
    message: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class Step:
    """The score of one step: characters `start` to `end` (exclusive) of the completion's text."""

    score: float
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Pending:
    """What settles a verdict whose outcome is not known yet."""

    wait_s: float
    """Seconds after which `default` applies."""
    default: float | None
    """The score if nothing comes; None leaves the item unscored."""
    key: str | None = None
    """The caller's own name for what a signal will tell of."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier says of one item.

    `score` is a finite number for every outcome but `unscored` and `pending`, where it is None. `detail` is the
    small account (the deciding stage, always, and why); `full` is added to it only when `detail: full` is asked.
    Both hold plain JSON values.
    """

    outcome: Outcome
    score: float | None
    detail: dict[str, Any] = field(default_factory=dict)
    full: dict[str, Any] = field(default_factory=dict)
    components: dict[str, float] = field(default_factory=dict)
    steps: tuple[Step, ...] | None = None
    error: VerdictError | None = None
    pending: Pending | None = None
    """Exactly where the outcome is `pending`."""
    transient: bool = False
    """Depends on the moment (a wall clock, a dead worker): never cached."""

    @staticmethod
    def binary(passed: bool, stage: str, **detail: Any) -> Verdict:
        """`correct` with score 1, or `incorrect` with score 0."""
        if passed:
            return Verdict(Outcome.CORRECT, 1.0, {"stage": stage, **detail})
        return Verdict(Outcome.INCORRECT, 0.0, {"stage": stage, **detail})

    @staticmethod
    def unscored(type: ErrorType, message: str, *, retryable: bool) -> Verdict:
        """No score, because of a fault that is not the candidate's."""
        return Verdict(Outcome.UNSCORED, None, error=VerdictError(type, message, retryable), transient=True)

    @staticmethod
    def bad_item(message: str) -> Verdict:
        """The item or its reference cannot be used; says which field, and what to send instead."""
        return Verdict.unscored(ErrorType.BAD_ITEM, message, retryable=False)


class BadItemError(Exception):
    """Raised inside a kind when one item's reference or prompt cannot be used; becomes `bad_item`."""


class ConfigError(ValueError):
    """A configuration that passes its schema but cannot work, such as a pattern that does not compile.

    `pointer` is the JSON pointer of the field inside the configuration.
    """

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(message)
        self.pointer = pointer


class GuardFault(StrEnum):
    """Why a guarded call has no value."""

    CPU = "cpu"
    """Used up its CPU time: the payload's doing."""
    MEMORY = "memory"
    """Grew beyond its memory: the payload's doing."""
    CRASHED = "crashed"
    """The process died by itself (a segmentation fault, a stack overflow): the payload's doing."""
    RAISED = "raised"
    """The function raised an exception; `message` has it."""
    WALL = "wall"
    """Ran out of wall-clock time with CPU time to spare: the host was busy."""
    DEADLINE = "deadline"
    """The deadline passed before this payload was run or finished."""
    UNAVAILABLE = "unavailable"
    """No worker could be started."""


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """Bounds of one guarded call; the parent kills the worker that breaks one."""

    cpu_s: float = 4.0
    wall_s: float = 40.0
    memory_mb: int = 1024


@dataclass(frozen=True, slots=True)
class GuardResult:
    """The function's return value (plain JSON), or the fault that took its place."""

    value: Any = None
    fault: GuardFault | None = None
    message: str = ""


class Guard(Protocol):
    """Runs our own code on hostile input in worker processes that the parent bounds and kills."""

    async def run(
        self, function: str, payloads: Sequence[Any], *, limits: GuardLimits, deadline: float
    ) -> list[GuardResult]:
        """Call `function` ("package.module:name") on each payload; results keep the order of the payloads.

        The function takes one plain JSON value and returns one. One payload that hangs, grows or crashes costs
        only itself. Returns by `deadline` (`time.monotonic()` seconds), give or take the time to kill a process.
        """
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What the engine lends a kind for one call of `verify`."""

    deadline: float
    """`time.monotonic()` seconds; what is unfinished by then is returned as unscored."""
    guard: Guard
    sandbox: Sandbox | None = None
    """Where untrusted code runs; None in a process that has none."""
    score: Scorer | None = None
    """Scores items with another verifier; None where there is no engine."""
    backends: Backends | None = None
    """The servers that an operator configured."""
    databases: Databases | None = None
    """PostgreSQL for throw-away databases."""


@dataclass(frozen=True, slots=True)
class Example:
    """A known item by which a kind proves itself before the service is ready."""

    item: Item
    score: float | None
    """None: pending."""
    config: dict[str, Any] = field(default_factory=dict)


class Verifier(Protocol):
    """One configured verifier. Construction compiles the configuration; raises `ConfigError` if it cannot."""

    kind: ClassVar[str]
    """The name on the wire."""
    revision: ClassVar[int]
    """Raised whenever this kind's verdicts change; stored with every score and part of the cache key."""
    deterministic: ClassVar[bool]
    cache: ClassVar[Literal["none", "memory"]]
    """`none` where verifying costs less than looking up."""
    Config: ClassVar[type[BaseModel]]
    reference: ClassVar[TypeAdapter[Any]]
    """The form of an item's reference; drives `reference_schema` of GET /kinds."""
    examples: ClassVar[Sequence[Example]]
    """At least one item that must pass and one that must not."""
    guarded: ClassVar[Sequence[str]]
    """Modules that guarded workers import once, before they fork."""
    sandboxed: ClassVar[bool]
    """Whether verifying runs untrusted code, so that without a sandbox every item is `sandbox_unavailable`."""

    def __init__(self, config: Any) -> None: ...

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        """One verdict per item, in order, by `ctx.deadline`; `unscored` for what is unfinished."""
        ...


class KindConfig(Strict):
    """Base of every kind's configuration. A kind that has a required field has no built-in verifier."""

    model_config = ConfigDict(frozen=True)
    inline_scope: ClassVar[Literal["score", "register"]] = "score"
    """The scope that sending the configuration with a request takes."""
    is_part: ClassVar[bool] = True
    """Whether other verifiers may be made of it."""

    def needs(self) -> Needs:
        """The verifiers and backends that must exist for this configuration to work."""
        return Needs()


KINDS: dict[str, type[Verifier]] = {}
"""Every registered kind by its name, filled by `load_kinds`."""

V = TypeVar("V", bound=type[Verifier])


def register(cls: V) -> V:
    """Class decorator: add a kind to `KINDS`. Raises ValueError on a name that is taken."""
    if cls.kind in KINDS:
        raise ValueError(f"two kinds are named {cls.kind!r}")
    KINDS[cls.kind] = cls
    return cls


def load_kinds() -> dict[str, type[Verifier]]:
    """Import every module of this package, so that each registers its kind; returns `KINDS`."""
    package = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{__package__}.{module.name}")
    return KINDS


def parse_reference(adapter: TypeAdapter[Any], value: Any) -> Any:
    """Validate an item's reference; raises `BadItemError` naming the field and the fault, never the value."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        location, message = explain(error, value)
        raise BadItemError(f"reference{pointer(location)}: {message}") from None


_CLASS = re.compile(r" or instance of \w+$")
"""Pydantic's word for what only Python code could send."""
_UNION_MEMBER = re.compile(r"(str|int|float|bool|dict|list|none|function|tagged|constrained)\b.*|[A-Z]\w*|.*\[.*\]")


def explain(error: ValidationError, value: Any) -> tuple[tuple[int | str, ...], str]:
    """Where in `value` the first fault of a validation error lies, and what is wrong there, without quoting it.

    Pydantic puts the members of a union into the location and reports each; here they are one place and sentence.
    """
    faults: dict[tuple[int | str, ...], list[str]] = {}
    for fault in error.errors(include_url=False, include_input=False, include_context=False)[:MAX_FIELDS]:
        messages = faults.setdefault(_place(fault["loc"], value), [])
        said = _CLASS.sub("", fault["msg"])
        if said not in messages:
            messages.append(said)
    first = next(iter(faults))
    within = [place for place in faults if place[: len(first)] == first]
    place = max(within, key=len)  # of a union's members, the one that fits furthest
    message, *others = faults[place]
    parts = tuple(clip(part, 100) if isinstance(part, str) else part for part in place)
    return parts, clip(", or ".join([message, *(other.removeprefix("Input should be ") for other in others)]), 400)


def _place(location: Sequence[int | str], value: Any) -> tuple[int | str, ...]:
    """The location without the members of unions, which are no part of the input."""
    place: list[int | str] = []
    for part in location:
        known = isinstance(value, dict) and part in value
        if not known and isinstance(part, str) and _UNION_MEMBER.fullmatch(part):
            continue
        place.append(part)
        if known or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            value = value[part]
        else:
            value = None
    return tuple(place)


def pointer(location: Sequence[int | str]) -> str:
    """The JSON pointer (RFC 6901) of a location."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


async def verify_each(items: Sequence[Item], ctx: Context, verify_one: Callable[[Item], Verdict]) -> list[Verdict]:
    """Verify items one by one on the event loop, giving way to other requests every few milliseconds.

    For kinds whose single verdict takes microseconds. `BadItemError` becomes that item's `bad_item`.
    """
    verdicts: list[Verdict] = []
    turn = GivingWay()
    for item in items:
        if await turn.over() > ctx.deadline:
            verdicts.append(past_deadline())
            continue
        try:
            verdicts.append(verify_one(item))
        except BadItemError as error:
            verdicts.append(Verdict.bad_item(str(error)))
    return verdicts


class GivingWay:
    """Keeps a long loop from holding up the event loop: other tasks get their turn every `TURN_S`."""

    def __init__(self) -> None:
        self._until = time.monotonic() + TURN_S

    async def over(self) -> float:
        """Give way if the turn is over; the time, in `time.monotonic()` seconds."""
        now = time.monotonic()
        if now > self._until:
            await asyncio.sleep(0)
            now = time.monotonic()
            self._until = now + TURN_S
        return now


def past_deadline() -> Verdict:
    """The verdict of an item that the deadline left unverified."""
    return Verdict.unscored(
        ErrorType.DEADLINE_EXCEEDED,
        "the deadline passed before this item was verified; send fewer items or raise options.deadline_ms",
        retryable=True,
    )


def guard_fault(result: GuardResult) -> Verdict:
    """The verdict for a guarded call without a value: the candidate's fault gets 0, ours gets null."""
    stage = {"stage": "guard", "fault": str(result.fault)}
    match result.fault:
        case GuardFault.CPU:
            return Verdict(Outcome.TIMEOUT, 0.0, stage)
        case GuardFault.MEMORY:
            return Verdict(Outcome.MEMORY_EXCEEDED, 0.0, stage)
        case GuardFault.CRASHED:
            return Verdict(Outcome.CRASHED, 0.0, stage)
        case GuardFault.DEADLINE:
            return past_deadline()
        case GuardFault.WALL:
            return Verdict.unscored(
                ErrorType.WORKER_TIMEOUT, "a worker ran out of wall-clock time on a busy host", retryable=True
            )
        case GuardFault.UNAVAILABLE:
            return Verdict.unscored(ErrorType.WORKER_LOST, result.message or "no worker", retryable=True)
        case _:
            return Verdict.unscored(
                ErrorType.VERIFIER_FAULT, clip(result.message or "the verifier failed"), retryable=False
            )


def clip(text: str, limit: int = MAX_DETAIL_CHARS) -> str:
    """`text`, cut to `limit` characters with an ellipsis where something was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"

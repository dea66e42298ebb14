"""POST /runs/{id}/events: what a training run logs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID
from weakref import WeakValueDictionary

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from app import wire
from app.api.deps import Received, answered, authorized, services, takes
from app.api.openapi import REF
from app.api.runs import RunId, existing_run
from app.api.score import RUN
from app.errors import Problem
from app.idempotency import Answer, answer_once
from app.store import run_events as store
from app.store.database import Connection
from app.store.runs import Status
from verifiers.base import Completion, GivingWay, Prompt, Strict

router = APIRouter(tags=["runs"])

MAX_EVENTS = 4096
MAX_VALUES = 1000
"""Of one event of metrics."""
MAX_ALL_VALUES = 50_000
"""Of all events of metrics in a request."""
MAX_RESUMES = 16
"""In a request; each looks through all that comes after its step."""
MAX_METRICS = 1000
"""Names of metrics that a run may have."""
MAX_MESSAGE = 10_000
"""Characters."""
_turns: WeakValueDictionary[tuple[UUID, str], asyncio.Lock] = WeakValueDictionary()
"""One request of a run at a time: the others would wait for its row in a transaction, each with a connection that is
then missing to everybody."""
FIRST_MOMENT, LAST_MOMENT = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def _few(values: Any) -> Any:
    if isinstance(values, dict) and len(values) > MAX_VALUES:
        raise ValueError(f"holds {len(values):,} values, more than {MAX_VALUES:,}")
    return values


def _short(message: str) -> str:
    if len(message) > MAX_MESSAGE:
        raise ValueError(f"must have at most {MAX_MESSAGE:,} characters")
    return message


def _moment(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("must be a date and time such as 2026-01-31T12:00:00Z")
    return value


def _within(value: datetime) -> datetime:
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    if not FIRST_MOMENT <= value <= LAST_MOMENT:
        raise ValueError("must lie between the years 1970 and 9999")
    return value


Step = Annotated[int, Field(ge=0, le=2**63 - 1, description="The step of training that it belongs to.")]
Attempt = Annotated[
    int,
    Field(
        ge=1,
        le=2**31 - 1,
        description="Of what several attempts log for the same step and number (or name), the highest one's stands.",
    ),
]
Name = Annotated[str, Field(pattern=RUN)]
Message = Annotated[str, AfterValidator(_short)]
Values = Annotated[dict[Name, float | None], BeforeValidator(_few)]
Moment = Annotated[
    datetime,
    Field(strict=False, description="When it was, UTC unless it says otherwise; null: when the event comes."),
    BeforeValidator(_moment),
    AfterValidator(_within),
]


class MetricsEvent(Strict):
    """Numbers of one step."""

    type: Literal["metrics"]
    step: Step
    attempt: Attempt = 1
    values: Values = Field(
        min_length=1, description="By name; null where the number is not finite, which JSON cannot say."
    )
    time: Moment | None = None


class SampleEvent(Strict):
    """One completion that was trained on."""

    type: Literal["sample"]
    step: Step
    sample: int = Field(ge=0, le=2**31 - 1, description="Its number within the step.")
    attempt: Attempt = 1
    score_id: UUID | None = Field(
        None, strict=False, description="Its verdict's; prompt and completion are then known and need not be sent."
    )
    prompt: Prompt | None = None
    completion: Completion | None = None
    reward: float | None = Field(None, description="As it was trained with; null: unscored.")
    advantage: float | None = None
    tokens: int | None = Field(None, ge=0, le=2**31 - 1, description="Length of the completion in tokens.")
    finish_reason: str | None = Field(None, pattern="^[A-Za-z0-9_.-]{1,40}$", examples=["stop", "length"])
    metadata: dict[str, Any] = Field(default_factory=dict, description="Anything; stored, never interpreted.")


class AlarmEvent(Strict):
    """A warning at a step."""

    type: Literal["alarm"]
    step: Step
    name: Name
    attempt: Attempt = 1
    message: Message = ""
    values: Values = Field(default_factory=dict, description="The numbers that gave rise to it.")
    time: Moment | None = None


class StatusEvent(Strict):
    """What becomes of the run. Of several attempts, the highest one's word counts."""

    type: Literal["status"]
    status: Status
    attempt: Attempt = 1
    message: Message | None = None


class ResumeEvent(Strict):
    """An attempt goes on from a step: what lower attempts did beyond it is removed, and left out if it comes yet."""

    type: Literal["resume"]
    step: int = Field(ge=-1, le=2**63 - 1, description="The last step that stands; -1: it starts all over.")
    attempt: Attempt


EVENTS: dict[str, type[BaseModel]] = {
    "metrics": MetricsEvent,
    "sample": SampleEvent,
    "alarm": AlarmEvent,
    "status": StatusEvent,
    "resume": ResumeEvent,
}


def _event_class(value: Any) -> str | None:
    """The name of the event's class: as a tag it is no part of a fault's place, where the event's type would be."""
    type = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    known = EVENTS.get(type) if isinstance(type, str) else None
    return None if known is None else known.__name__


Event = Annotated[
    Annotated[MetricsEvent, Tag("MetricsEvent")]
    | Annotated[SampleEvent, Tag("SampleEvent")]
    | Annotated[AlarmEvent, Tag("AlarmEvent")]
    | Annotated[StatusEvent, Tag("StatusEvent")]
    | Annotated[ResumeEvent, Tag("ResumeEvent")],
    Discriminator(
        _event_class,
        custom_error_type="event_type",
        custom_error_message=f"must be an object whose type is one of {', '.join(EVENTS)}",
    ),
    Field(
        json_schema_extra={
            "discriminator": {
                "propertyName": "type",
                "mapping": {type: REF + event.__name__ for type, event in EVENTS.items()},
            }
        }
    ),
]


class EventsRequest(Strict):
    """Events of a run. All of them are recorded, or none."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "events": [
                        {"type": "metrics", "step": 12, "values": {"reward": 0.53, "kl": 0.011, "loss": None}},
                        {
                            "type": "sample",
                            "step": 12,
                            "sample": 0,
                            "prompt": "4071>",
                            "completion": "0147",
                            "reward": 1.0,
                            "advantage": 0.9,
                            "tokens": 5,
                            "finish_reason": "stop",
                        },
                        {"type": "alarm", "step": 12, "name": "kl", "message": "above 0.01", "values": {"kl": 0.011}},
                        {"type": "status", "status": "running"},
                    ]
                }
            ]
        }
    )
    events: Annotated[list[Event], Field(min_length=1, max_length=MAX_EVENTS, fail_fast=True)]


class EventsTaken(BaseModel):
    """What became of the events; all of it is committed."""

    run_id: UUID
    events: int = Field(description="How many came.")
    stale: int = Field(
        description="Rows of them (a sample, an alarm, one metric's value) that were left out: a higher attempt has "
        "logged the same, or has gone on from an earlier step."
    )


@router.post("/runs/{id}/events", response_model=EventsTaken, operation_id="send_run_events")
@takes(EventsRequest)
async def send_run_events(request: Request, id: RunId) -> Response:
    """Log metrics, samples, alarms and the status of a run. Whatever is sent again counts once."""
    state = services(request)
    who = await authorized(request, "score")
    async with Received(request, EventsRequest) as body:
        _require_few(body.value.events)
        events = await _read(body.value.events, keep=who.project.keep == "full")
        total = len(body.value.events)

        async def produce(connection: Connection) -> Answer:
            found = await existing_run(connection, who.project.id, id)
            run = await store.lock(connection, found.id)
            _require_room(run, events)
            stale = await store.record(connection, run, events)
            return Answer(200, wire.encode({"run_id": str(run.id), "events": total, "stale": stale}))

        async with _turns.setdefault((who.project.id, id), asyncio.Lock()):
            return answered(await answer_once(state.database, who.project.id, body.key, body.sha256, produce))


def _require_few(sent: Sequence[Event]) -> None:
    values = sum(len(event.values) for event in sent if isinstance(event, MetricsEvent))
    if values > MAX_ALL_VALUES:
        detail = f"/events: {values:,} values of metrics, more than {MAX_ALL_VALUES:,}; send smaller batches"
        raise Problem("invalid-body", detail, pointer="/events")
    resumes = sum(isinstance(event, ResumeEvent) for event in sent)
    if resumes > MAX_RESUMES:
        detail = f"/events: {resumes:,} resumes, more than {MAX_RESUMES}; send one where an attempt begins"
        raise Problem("invalid-body", detail, pointer="/events")


def _require_room(run: store.Locked, events: store.Events) -> None:
    names = {metric.name for metric in events.metrics}.union(run.metric_names)
    if len(names) > MAX_METRICS:
        raise Problem(
            "invalid-body",
            f"/events: the run would have {len(names):,} metrics, more than {MAX_METRICS:,}; name fewer",
            pointer="/events",
        )


async def _read(sent: Sequence[Event], *, keep: bool) -> store.Events:
    """The events as they are recorded; `keep`: with the text of samples."""
    events = store.Events()
    turn = GivingWay()
    for event in sent:
        await turn.over()
        match event:
            case MetricsEvent():
                events.metrics += [
                    store.Metric(event.step, event.attempt, name, value, event.time)
                    for name, value in event.values.items()
                ]
            case SampleEvent():
                events.samples.append(_sample(event, keep=keep))
            case AlarmEvent():
                message, values = (wire.encode(part).encode() for part in (event.message, event.values))
                events.alarms.append(store.Alarm(event.step, event.attempt, event.name, message, values, event.time))
            case StatusEvent():
                told = None if event.message is None else wire.encode(event.message).encode()
                events.statuses.append(store.StatusChange(event.attempt, event.status, told))
            case ResumeEvent():
                events.resumes.append(store.Resume(event.step, event.attempt))
    return events


def _sample(event: SampleEvent, *, keep: bool) -> store.Sample:
    item: bytes | None = None
    if keep and (event.prompt is not None or event.completion is not None or event.metadata):
        text = {"prompt": _text(event.prompt), "completion": _text(event.completion), "metadata": event.metadata}
        item = wire.encode(text).encode()
    return store.Sample(
        event.step,
        event.attempt,
        event.sample,
        event.score_id,
        event.reward,
        event.advantage,
        event.tokens,
        event.finish_reason,
        item,
    )


def _text(value: Prompt | Completion | None) -> Any:
    if value is None or isinstance(value, str):
        return value
    return [message.model_dump(exclude_unset=True) for message in value]

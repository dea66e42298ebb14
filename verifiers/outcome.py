"""`outcome`: a score that depends on something that happens later, and that a signal tells of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, Field, TypeAdapter

from verifiers.base import (
    ConfigError,
    Context,
    Example,
    Item,
    KindConfig,
    Name,
    Outcome,
    Pending,
    Strict,
    Verdict,
    parse_reference,
    pointer,
    register,
    verify_each,
)

DAY_S = 86_400.0
MAX_EVENTS = 100
"""Names of events in one configuration."""


def _not_empty(name: str) -> str:
    if not name:
        raise ValueError("must not be empty")
    return name


SignalName = Annotated[Name, AfterValidator(_not_empty)]
"""A key, or the name of an event: any text of 1 to 1,000 characters."""


class OutcomeConfig(KindConfig):
    """How long to wait, for what, and what the score is if nothing comes."""

    is_part: ClassVar[bool] = False

    wait_s: float = Field(
        7 * DAY_S,
        ge=1,
        le=366 * DAY_S,
        description="Seconds after the scoring at which the default applies; a signal that comes later is too late.",
    )
    default: float | None = Field(
        None,
        description="The score if no signal comes in time; null: the item is then unscored (no_signal).",
    )
    events: dict[SignalName, float] = Field(
        default_factory=dict,
        max_length=MAX_EVENTS,
        description="Names that a signal may send instead of a score, each with its score.",
        examples=[{"booked": 1.0, "cancelled": 0.0}],
    )
    minimum: float = Field(0.0, description="The lowest score that a signal, an event or the default may have.")
    maximum: float = Field(1.0, description="The highest score that a signal, an event or the default may have.")


class OutcomeReference(Strict):
    """What the signal will call the item."""

    key: SignalName = Field(
        description="A name of your own for what will happen; the signal names it, too.", examples=["booking-17"]
    )


@dataclass(frozen=True, slots=True)
class Told:
    """What a signal tells: a score, or the digest of an event's name (`event_sha256`), never both."""

    score: float | None
    event: bytes | None


class NotAcceptedError(Exception):
    """The verifier has no score for what a signal tells; the message says why."""


def event_sha256(name: str) -> bytes:
    """The digest by which a signal's event is kept and found: its name is the caller's text."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()


@register
class LaterOutcome:
    """Leave the score open until a signal tells what happened: a booking was made, a deal moved on, a user came back.

    Scoring answers `pending`, with a `score_id` and `score: null`. `POST /signals` settles it later, by that id or by
    the key in the item's reference, with a score or with the name of an event. If no signal has come after `wait_s`
    seconds, the default applies. `GET /signals` lists what is settled, in the order of settling, from a cursor on:
    see [signals](../signals.md).

    The completion is not looked at. Nothing is cached, and the verifier cannot be part of another one.

    ## Reference

    Null, where the signal will name the `score_id`; or an object with a key of your own. A key may be that of several
    items, such as the completions of one conversation: one signal then settles them all, those that are scored after
    it included.
    """

    kind: ClassVar[str] = "outcome"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = False
    cache: ClassVar[Literal["none", "memory"]] = "none"
    Config: ClassVar[type[BaseModel]] = OutcomeConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(OutcomeReference | None)
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion="Your table for two is booked for 8 pm."), None),
        Example(
            Item(completion="Shall I book the later train?", reference={"key": "booking-17"}),
            None,
            {"wait_s": 3600, "default": 0, "events": {"booked": 1, "changed": 0.5, "cancelled": 0}},
        ),
    )
    guarded: ClassVar[Sequence[str]] = ()
    sandboxed: ClassVar[bool] = False

    def __init__(self, config: OutcomeConfig) -> None:
        self.config = config
        if config.minimum > config.maximum:
            raise ConfigError("minimum is above maximum", "/minimum")
        if config.default is not None:
            self._require_within(config.default, "/default")
        for name, score in config.events.items():
            self._require_within(score, pointer(["events", name]))
        self._events = {event_sha256(name): (score, name) for name, score in config.events.items()}

    def _require_within(self, score: float, where: str) -> None:
        if not self.config.minimum <= score <= self.config.maximum:
            raise ConfigError(
                f"{score:g} is not within minimum and maximum, {self.config.minimum:g} to {self.config.maximum:g}",
                where,
            )

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        """Every item is pending, but for those whose reference cannot be used."""
        return await verify_each(items, ctx, self._pending)

    def _pending(self, item: Item) -> Verdict:
        reference = parse_reference(self.reference, item.reference)
        key = None if reference is None else reference.key
        pending = Pending(self.config.wait_s, self.config.default, key)
        return Verdict(Outcome.PENDING, None, {"stage": "waiting", "wait_s": self.config.wait_s}, pending=pending)

    def accepted(self, told: Told) -> tuple[float, str | None]:
        """The score that a signal gives, and the event's name if it tells of one. Raises `NotAcceptedError`."""
        if told.score is None:
            found = self._events.get(told.event or b"")
            if found is None:
                listed = "lists no such event" if self._events else "lists no events: send a score"
                raise NotAcceptedError(f"event: the item's verifier {listed}")
            return found
        if not self.config.minimum <= told.score <= self.config.maximum:
            raise NotAcceptedError(
                f"score: the item's verifier takes scores from {self.config.minimum:g} to {self.config.maximum:g}"
            )
        return told.score, None

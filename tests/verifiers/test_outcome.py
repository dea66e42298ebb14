"""`outcome`: every item waits, for as long and for what its configuration says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.verifiers.support import ANY_JSON, ANY_TEXT, configured, score, score_all
from verifiers.base import ConfigError, ErrorType, Item, Message, Outcome, Pending, explain
from verifiers.outcome import LaterOutcome, NotAcceptedError, Told, event_sha256

WEEK_S = 7 * 86_400.0


def outcome(**config: Any) -> LaterOutcome:
    made = configured("outcome", config)
    assert isinstance(made, LaterOutcome)
    return made


def event(name: str) -> Told:
    return Told(None, event_sha256(name))


@pytest.mark.parametrize("completion", ["", "x", "\x00\ud800", [Message(role="assistant", content="x")]])
@pytest.mark.parametrize(
    ("reference", "key"), [(None, None), ({"key": "k"}, "k"), ({"key": "\x00\ud800"}, "\x00\ud800")]
)
async def test_every_item_waits(completion: Any, reference: Any, key: str | None) -> None:
    verdict = await score("outcome", completion=completion, reference=reference)
    assert (verdict.outcome, verdict.score, verdict.error) == (Outcome.PENDING, None, None)
    assert verdict.pending == Pending(WEEK_S, None, key)
    assert verdict.detail == {"stage": "waiting", "wait_s": WEEK_S}


async def test_the_configuration_says_how_long_and_what_then() -> None:
    verdict = await score("outcome", {"wait_s": 60, "default": 0.5}, completion="x")
    assert verdict.pending == Pending(60.0, 0.5, None)


BAD_REFERENCES: list[tuple[Any, str]] = [
    ("booking-17", "reference: Input should be a valid dictionary"),
    (17, "reference: Input should be a valid dictionary"),
    ([], "reference: Input should be a valid dictionary"),
    ({}, "reference/key: Field required"),
    ({"key": None}, "reference/key: Input should be a valid string"),
    ({"key": 17}, "reference/key: Input should be a valid string"),
    ({"key": ""}, "reference/key: Value error, must not be empty"),
    ({"key": "k" * 1001}, "reference/key: Value error, must have at most 1000 characters"),
    ({"key": "k", "score": 1}, "reference/score: Extra inputs are not permitted"),
    ({"key": {"key": "k"}}, "reference/key: Input should be a valid string"),
]


@pytest.mark.parametrize(("reference", "message"), BAD_REFERENCES)
async def test_a_reference_that_cannot_be_used(reference: Any, message: str) -> None:
    good, bad = await score_all(
        outcome(), [Item(completion="x", reference={"key": "k"}), Item(completion="x", reference=reference)]
    )
    assert good.outcome is Outcome.PENDING
    assert bad.outcome is Outcome.UNSCORED
    assert bad.error is not None
    assert (bad.error.type, bad.error.retryable) == (ErrorType.BAD_ITEM, False)
    assert message in bad.error.message


BAD_CONFIGS: list[tuple[dict[str, Any], str, str]] = [
    ({"wait_s": 0}, "/wait_s", "Input should be greater than or equal to 1"),
    ({"wait_s": 1e9}, "/wait_s", "Input should be less than or equal to 31622400"),
    ({"wait_s": float("nan")}, "/wait_s", "Input should be a finite number"),
    ({"wait_s": "60"}, "/wait_s", "Input should be a valid number"),
    ({"wait_s": None}, "/wait_s", "Input should be a valid number"),
    ({"default": "0"}, "/default", "Input should be a valid number"),
    ({"default": float("inf")}, "/default", "Input should be a finite number"),
    ({"default": True}, "/default", "Input should be a valid number"),
    ({"default": 1.5}, "/default", "1.5 is not within minimum and maximum, 0 to 1"),
    ({"default": 0, "minimum": 0.5}, "/default", "0 is not within minimum and maximum, 0.5 to 1"),
    ({"minimum": 2}, "/minimum", "minimum is above maximum"),
    ({"maximum": float("inf")}, "/maximum", "Input should be a finite number"),
    ({"events": ["booked"]}, "/events", "Input should be a valid dictionary"),
    ({"events": {"booked": None}}, "/events/booked", "Input should be a valid number"),
    ({"events": {"booked": 2}}, "/events/booked", "2 is not within minimum and maximum, 0 to 1"),
    ({"events": {"a/b~": -1}}, "/events/a~1b~0", "-1 is not within minimum and maximum, 0 to 1"),
    ({"events": {str(n): 1 for n in range(101)}}, "/events", "Dictionary should have at most 100 items"),
    ({"waits": 60}, "/waits", "Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("config", "where", "message"), BAD_CONFIGS)
def test_a_configuration_that_cannot_work(config: dict[str, Any], where: str, message: str) -> None:
    with pytest.raises((ValidationError, ConfigError)) as refused:
        outcome(**config)
    error = refused.value
    if isinstance(error, ConfigError):
        assert (error.pointer, str(error)) == (where, message)
    else:
        assert isinstance(error, ValidationError)
        location, said = explain(error, config)
        assert message in said
        assert where == "/" + "/".join(str(part) for part in location[:2])


@pytest.mark.parametrize("config", [{"events": {"": 1}}, {"events": {"x" * 1001: 1}}])
def test_a_name_of_an_event_that_cannot_be_sent(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="must"):
        outcome(**config)


def test_what_a_signal_tells_is_a_score_within_bounds_or_a_listed_event() -> None:
    verifier = outcome(minimum=-1, maximum=2, events={"won": 2, "\ud800": -1})
    for told, accepted in (
        (Told(-1.0, None), (-1.0, None)),
        (Told(2.0, None), (2.0, None)),
        (event("won"), (2.0, "won")),
        (event("\ud800"), (-1.0, "\ud800")),
    ):
        assert verifier.accepted(told) == accepted
    for told, why in (
        (Told(2.001, None), "score: the item's verifier takes scores from -1 to 2"),
        (Told(-1e308, None), "score: the item's verifier takes scores from -1 to 2"),
        (event("Won"), "event: the item's verifier lists no such event"),
    ):
        with pytest.raises(NotAcceptedError, match=f"^{why}$"):
            verifier.accepted(told)
    with pytest.raises(NotAcceptedError, match="lists no events: send a score"):
        outcome().accepted(event("won"))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(ANY_TEXT, ANY_JSON | st.builds(lambda key: {"key": key}, ANY_TEXT)), max_size=5), st.data())
async def test_order_and_repetition_change_nothing(drawn: list[tuple[str, Any]], data: st.DataObject) -> None:
    items = [Item(completion=text, reference=reference) for text, reference in drawn]
    order = data.draw(st.permutations(range(len(items))))
    straight = await score_all(outcome(), items)
    assert [straight[at] for at in order] == await score_all(outcome(), [items[at] for at in order])
    assert straight == await score_all(outcome(), items)
    for verdict in straight:
        assert (verdict.outcome is Outcome.PENDING) == (verdict.pending is not None) == (verdict.error is None)


def test_no_other_verifier_is_made_of_it() -> None:
    assert LaterOutcome.Config.is_part is False  # type: ignore[attr-defined]

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from tests.verifiers.support import (
    ANY_JSON,
    ANY_TEXT,
    FaultyGuard,
    InProcessGuard,
    NoGuard,
    configured,
    score,
    score_all,
)
from verifiers.base import KINDS, GuardFault, Item, Outcome, load_kinds
from verifiers.direct import DirectKind, judge

load_kinds()
DIRECT = {kind: cls for kind, cls in KINDS.items() if issubclass(cls, DirectKind)}
LONG = "word " * 300_000


def test_the_kinds_of_this_sort() -> None:
    assert {"text", "regex", "json_schema", "format", "length", "repetition"} <= DIRECT.keys()


@pytest.mark.parametrize("kind", sorted(DIRECT))
@settings(max_examples=40, deadline=None)
@given(completion=ANY_TEXT, reference=ANY_JSON)
async def test_a_worker_gives_the_same_verdict(kind: str, completion: str, reference: Any) -> None:
    for example in DIRECT[kind].examples:
        for item in (example.item, Item(completion=completion, reference=reference, tokens=7)):
            verifier = configured(kind, example.config)
            assert isinstance(verifier, DirectKind)
            [here] = await score_all(verifier, [item])
            payload = verifier._payload(item, verifier.config.model_dump(by_alias=True))
            there = verifier._verdict((await InProcessGuard().run(f"{judge.__module__}:judge", [payload], **_ANY))[0])
            assert here == there


_ANY: Any = {"limits": None, "deadline": 0}


async def test_cheap_items_stay_and_costly_ones_go_in_order() -> None:
    guard = InProcessGuard()
    items = [Item(completion=text, reference="a") for text in ("a", "a" * 1_000_001, "b", " " * 1_000_001 + "a")]
    verdicts = await score_all(configured("text"), items, guard)
    assert [v.score for v in verdicts] == [1.0, 0.0, 0.0, 1.0]
    assert len(guard.payloads) == 2


async def test_a_payload_is_plain_json_and_holds_no_more_than_is_read() -> None:
    guard = InProcessGuard()
    item: dict[str, Any] = {
        "completion": LONG,
        "reference": "x",
        "prompt": "p",
        "metadata": {"secret": 1},
        "group": "g",
    }
    await score("text", guard=guard, **item)
    [payload] = guard.payloads
    assert json.loads(json.dumps(payload)) == payload
    assert payload["item"] == {"completion": LONG, "prompt": "p", "reference": "x", "tokens": None}


async def test_a_bad_reference_found_in_a_worker_is_a_bad_item() -> None:
    verdict = await score("text", completion=LONG, reference=5)
    assert verdict.error is not None
    assert verdict.error.message == "reference: must be a string or a list of strings"


@pytest.mark.parametrize(
    ("kind", "config", "lowest"),
    [
        ("text", {"mode": "contains"}, 0.0),
        ("repetition", {}, -1.0),
        ("repetition", {"scale": "bonus"}, 0.0),
        ("length", {"unit": "words"}, -1.0),
        ("length", {"unit": "words", "scale": "bonus"}, 0.0),
    ],
)
async def test_using_up_a_worker_never_pays(kind: str, config: dict[str, Any], lowest: float) -> None:
    for fault, outcome in ((GuardFault.CPU, Outcome.TIMEOUT), (GuardFault.MEMORY, Outcome.MEMORY_EXCEEDED)):
        verdict = await score(kind, config, FaultyGuard(fault), completion=LONG, reference="x")
        assert (verdict.outcome, verdict.score) == (outcome, lowest)


@pytest.mark.parametrize("fault", [GuardFault.WALL, GuardFault.UNAVAILABLE, GuardFault.DEADLINE, GuardFault.RAISED])
async def test_our_faults_are_unscored(fault: GuardFault) -> None:
    verdict = await score("text", guard=FaultyGuard(fault), completion=LONG, reference="x")
    assert (verdict.outcome, verdict.score) == (Outcome.UNSCORED, None)


async def test_without_costly_items_no_worker_is_asked() -> None:
    assert (await score("text", guard=NoGuard(), completion="a", reference="a")).score == 1.0


def test_workers_import_the_kind_and_the_function() -> None:
    assert DIRECT["text"].guarded == ("verifiers.direct", "verifiers.text")

"""`assay signals` against a live service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.app.cli.conftest import Assay
from tests.service import Service

VERIFIER = {"kind": "outcome", "config": {"events": {"booked": 1, "cancelled": 0}}}


@pytest.fixture
def pending(service: Service, project_key: str) -> Any:
    """Scores an item that waits for a signal; its score id."""

    def score(key: str | None = None, run: str = "r") -> str:
        item = {"id": f"item of {key}", "completion": "x", "reference": None if key is None else {"key": key}}
        answer = service.post("/score", {"verifier": VERIFIER, "items": [item], "run": run}, key=project_key)
        return str(answer.json()["items"][0]["score_id"])

    return score


def test_from_a_signal_to_the_list(assay: Assay, pending: Any) -> None:
    ids = [pending("k"), pending(), pending("k")]
    told = assay("signals", "send", "--item-key", "k", "--event", "booked", "--detail", '{"table": 4}')
    assert (told.code, told.out) == (0, "settled: 2 items, score 1\n")
    told = assay("signals", "send", "--score-id", ids[1], "--score", "0.5", "--json")
    assert (told.code, told.json()["result"], told.json()["score"]) == (0, "settled", 0.5)
    told = assay("signals", "send", "--score-id", ids[1], "--score", "0.5")
    assert (told.code, told.out) == (0, f"repeated: {ids[1]} has score 0.5\n")
    assert assay("signals", "send", "--item-key", "new", "--score", "1").out == "kept: no item has this key yet\n"

    listed = assay("signals", "list", "--run", "r", "--json", "--limit", "2")
    assert {item["score_id"] for item in listed.json_lines()} == {ids[0], ids[2]}
    cursor = listed.json_lines()[-1]["cursor"]
    assert listed.err == f"later ones: --cursor {cursor}\n"
    table = assay("signals", "list", "--cursor", cursor).out
    assert ids[1] in table
    assert ids[0] not in table
    for nothing in (("--run", "other"), ("--verifier", "outcome@2"), ("--cursor", "99")):
        listed = assay("signals", "list", "--json", *nothing)
        assert (listed.code, listed.out, listed.err) == (0, "", "")


def test_a_signal_that_does_not_count(assay: Assay, pending: Any) -> None:
    id = pending("k")
    assay("signals", "send", "--item-key", "k", "--event", "booked")
    for arguments, out, err in (
        (("--item-key", "k", "--event", "cancelled"), f"conflict: {id} has score 1", "settled before"),
        (("--item-key", "k", "--event", "bokked"), "refused", "lists no such event"),
        (("--score-id", "00000000-0000-7000-8000-000000000000", "--score", "1"), "unknown", "no verdict of this"),
        (("--score-id", "k", "--score", "1"), "refused", "/score_id"),
    ):
        told = assay("signals", "send", *arguments)
        assert (told.code, told.out) == (1, out + "\n")
        assert "the signal does not count: " in told.err
        assert err in told.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "either --score-id or --item-key"),
        (("--item-key", "k", "--score-id", "x", "--score", "1"), "either --score-id or --item-key"),
        (("--item-key", "k"), "either --score or --event"),
        (("--item-key", "k", "--score", "1", "--event", "e"), "either --score or --event"),
        (("--item-key", "k", "--score", "nan"), "--score: a finite number"),
        (("--item-key", "k", "--score", "1", "--detail", "{"), "--detail: "),
    ],
)
def test_misuse(assay: Assay, arguments: tuple[str, ...], said: str) -> None:
    told = assay("signals", "send", *arguments)
    assert told.code == 2
    assert said in told.err


def test_text_that_a_terminal_would_obey_is_escaped(assay: Assay, pending: Any) -> None:
    pending("\x1b[31m")
    assay("signals", "send", "--item-key", "\x1b[31m", "--score", "1")
    shown = assay("signals", "list")
    assert "\x1b" not in shown.out
    assert json.dumps("item of \x1b[31m")[1:-1].replace("u001b", "x1b") in shown.out

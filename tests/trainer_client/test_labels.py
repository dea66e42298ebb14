"""Settled signals as rows: what can be learnt from is written, and the rest is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from examples.sorting.make import tokenizer
from trainer_client.assembly import Prompts
from trainer_client.data import read_rows
from trainer_client.labels import write_labels
from trainer_client.preference_data import read_labelled
from trainer_client.training_errors import DataError

CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}


class Settled:
    """A service with one settled outcome of each item, of score 1; two to a page."""

    def __init__(self, *items: dict[str, Any] | None) -> None:
        self.items = items

    def request(self, method: str, path: str, *, params: dict[str, str] | None = None) -> Any:
        if path.startswith("/scores/"):
            return {"item": self.items[int(path.removeprefix("/scores/"))]}
        assert params is not None
        first = int(params.get("cursor", 0))
        found = [
            {"score_id": str(place), "score": 1.0, "source": "signal"} for place in range(first, len(self.items))
        ]
        return {"items": found[:2], "next_cursor": str(first + 2) if len(found) > 2 else None}


def item(completion: Any, prompt: Any = "1>") -> dict[str, Any]:
    return {"prompt": prompt, "completion": completion}


def test_only_what_kto_can_read_is_written(tmp_path: Path) -> None:
    message = [{"role": "assistant", "content": "2"}]
    left_out = [
        None, item(""), item("a\ud800"), item("1", "\udfff>"), item([CALL, {"role": "tool", "content": "3"}]),
        item([CALL]), item([]), item("1", None),
    ]  # fmt: skip
    service = Settled(*left_out, item("1"), item(message, "2>"))
    out = tmp_path / "labels.jsonl"
    assert write_labels(service, out) == (2, len(left_out))
    rows = read_rows(out)
    read = read_labelled(Prompts(rows, [[1, 10], [2, 10]]), tokenizer(), None)
    assert [(each.answer, each.desirable) for each in read] == [([1, 12], True), ([2, 12], True)]


def test_where_nothing_can_be_learnt_from_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 have no score, or no text that was kept"):
        write_labels(Settled(item("\ud800")), tmp_path / "labels.jsonl")
    assert not (tmp_path / "labels.jsonl").exists()


def test_letters_stay_readable(tmp_path: Path) -> None:
    out = tmp_path / "labels.jsonl"
    write_labels(Settled(item("é😀\u2028")), out)
    assert "é😀\u2028" in out.read_text(encoding="utf-8")
    assert json.loads(out.read_bytes())["completion"] == "é😀\u2028"

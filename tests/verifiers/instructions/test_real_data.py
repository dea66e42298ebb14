"""IFEval's own rows: completions built to follow them score 1, and breaking one instruction costs just that one."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.conftest import DATA
from tests.verifiers.instructions.builder import broken, followed
from tests.verifiers.support import configured, score_all
from verifiers.base import Item, Verdict
from verifiers.instructions.instruction import INSTRUCTIONS

pytestmark = pytest.mark.data

Row = dict[str, Any]


def rows() -> list[Row]:
    with gzip.open(DATA / "instructions" / "ifeval.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


def item(row: Row, completion: str) -> Item:
    reference = {"instruction_id_list": row["instruction_id_list"], "kwargs": row["kwargs"]}
    return Item(prompt=row["prompt"], completion=completion, reference=reference)


async def verdicts(pairs: list[tuple[Row, str]], config: dict[str, Any] | None = None) -> list[Verdict]:
    return await score_all(configured("instructions", config), [item(row, text) for row, text in pairs])


async def test_completions_that_follow_a_row_score_1() -> None:
    pairs = [(row, text) for row in rows() if (text := followed(row)) is not None]
    assert len(pairs) == 535  # the other 6 rows ask to repeat a text that breaks them
    for mode in ("strict", "loose"):
        got = await verdicts(pairs, {"mode": mode})
        assert [(row, v.detail) for (row, _), v in zip(pairs, got, strict=True) if v.score != 1.0] == []


async def test_empty_scores_0() -> None:
    for text in ("", " \n", "..."):
        got = await verdicts([(row, text) for row in rows()], {"mode": "loose", "reward": "fraction"})
        assert {(v.score, v.outcome.value) for v in got} == {(0.0, "incorrect")}
        assert {share for v in got for share in v.components.values()} == {0.0}


async def test_breaking_one_instruction_flips_its_component_and_no_other() -> None:
    cases = [
        (row, which, text)
        for row in rows()
        for which in range(len(row["kwargs"]))
        if (text := broken(row, which)) is not None
    ]
    assert len(cases) >= 765  # of 834; the others cannot be broken alone
    got = await verdicts([(row, text) for row, _, text in cases], {"reward": "fraction"})
    for (row, which, _), verdict in zip(cases, got, strict=True):
        names = [f"{i}:{name}" for i, name in enumerate(row["instruction_id_list"])]
        assert verdict.components == {name: float(i != which) for i, name in enumerate(names)}
        assert verdict.detail["broken"].keys() == {names[which]}
        assert verdict.score == (len(names) - 1) / len(names)


def test_every_instruction_of_ifeval_is_among_the_rows() -> None:
    used = {name for row in rows() for name in row["instruction_id_list"]}
    assert len(used) == 25
    assert used <= INSTRUCTIONS.keys()

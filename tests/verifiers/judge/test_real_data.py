"""LLMBar: 1,680 pairs that five real judges judged in both orders, read by the parser and by hand.

`llmbar_read_by_hand.json` has answers by row and place, with the verdict that a careful reader takes from each, or
null: 100 that were drawn so that those that say "better" of both outputs, or end early, are many; and all those that
LLMBar's own parser read otherwise than ours.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DATA
from tests.verifiers.judge.scripted import Scripted, judge, judged, prompt
from tests.verifiers.support import assert_sound
from verifiers.base import ErrorType, Item, Verdict
from verifiers.chat import ChatAnswer, ChatRequest
from verifiers.judge.calibration import calibrate

pytestmark = pytest.mark.data

BETTER = {
    "pattern": r"Output \(([ab])\) is (?:\w+ )?better(?:[.,]|\s+(?:because|as)\s|\s*$)"
    r"|(?:^|Therefore, )Output \(([ab])\)\.?\s*$",
    "words": {"a": "A", "b": "B"},
}
"""How LLMBar's prompts ask for the verdict; without reasoning it is `Output (a)` alone."""
PAIRWISE = judge(mode="pairwise", template="{{ first }}\n---\n{{ second }}", marker=BETTER)
RATING = judge(
    template="{{ completion }}",
    marker={"pattern": r"^\s*(\d+)"},
    scale={"min": 0, "max": 9},
    normalise=False,
)

LABELS = 151
DIFFER = 39


def rows() -> list[dict[str, Any]]:
    with gzip.open(DATA / "preference" / "llmbar_judge_transcripts.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


def by_hand() -> list[tuple[int, str, str | int | None]]:
    text = Path(__file__).with_name("llmbar_read_by_hand.json").read_text()
    return [(row, place, verdict) for row, place, verdict in json.loads(text)]


class Transcripts(Scripted):
    """Answers as the judge of a row did, in the order in which its two texts stand."""

    def __init__(self, data: Sequence[dict[str, Any]]) -> None:
        super().__init__(self._answer)
        self._data = data

    def _answer(self, request: ChatRequest) -> ChatAnswer:
        texts = re.findall(r"(first|second|score_[12]) of row (\d+)", prompt(request))
        place, row = texts[0]
        if not place.startswith("score"):
            place = f"swap = {place == 'second'}"
        result = self._data[int(row)]["result"][place]
        text, finish_reason = result["completion"] if isinstance(result, dict) else result
        return ChatAnswer(text, finish_reason or None)


async def pairs(data: Sequence[dict[str, Any]], chosen: Sequence[int]) -> list[Verdict]:
    items = [Item(completion=f"first of row {row}", reference=f"second of row {row}") for row in chosen]
    return await judged(PAIRWISE, Transcripts(data), items, seconds=120)


async def test_every_transcript_is_read_and_every_pair_is_swapped() -> None:
    data = rows()
    chosen = [row for row, entry in enumerate(data) if entry["strategy"] != "Rating"]
    assert len(chosen) == 1400
    verdicts = await pairs(data, chosen)
    scores = {("1", "1"): 1.0, ("2", "2"): 0.0, ("1", "2"): 0.5, ("2", "1"): 0.5}
    differ = set()
    for row, verdict in zip(chosen, verdicts, strict=True):
        assert_sound(verdict)
        result = data[row]["result"]
        winners = (result["swap = False"]["winner"], result["swap = True"]["winner"])
        if verdict.score != scores.get(winners):
            differ.add(row)
    # where "Output (b) is better." comes first and a sentence on Output (a) next, LLMBar's parser took that one
    assert len(differ) == DIFFER
    assert differ <= {row for row, _, _ in by_hand()}
    assert {data[row]["judge_model"] for row in differ} == {"PaLM2", "Falcon", "LLaMA2"}
    assert Counter(verdict.error.type for verdict in verdicts if verdict.error) == {
        ErrorType.JUDGE_EMPTY: 2,
        ErrorType.JUDGE_UNREADABLE: 1,
    }
    ties = sum(verdict.score == 0.5 for verdict in verdicts)
    assert 450 < ties < 600  # how often these judges went by the order


async def test_ratings() -> None:
    data = rows()
    chosen = [row for row, entry in enumerate(data) if entry["strategy"] == "Rating"]
    assert len(chosen) == 280
    for place in ("score_1", "score_2"):
        items = [Item(completion=f"{place} of row {row}") for row in chosen]
        verdicts = await judged(RATING, Transcripts(data), items, seconds=120)
        for row, verdict in zip(chosen, verdicts, strict=True):
            said = data[row]["result"][place][0].strip()
            assert verdict.score == (float(said) if said else None)
            assert_sound(verdict)


async def test_a_hundred_answers_that_were_read_by_hand() -> None:
    data, labels = rows(), by_hand()
    assert len(labels) == LABELS
    values = {"a": 1.0, "b": 0.0, None: None}
    disagree = []
    for row, place, wanted in labels:
        if place.startswith("score"):
            [verdict] = await judged(RATING, Transcripts(data), completion=f"{place} of row {row}")
            found = verdict.score
        else:
            item = Item(completion=f"first of row {row}", reference=f"second of row {row}")
            [verdict] = await judged(PAIRWISE, Transcripts(data), [item])
            answers = {bool(said.get("swapped")): said for said in verdict.full["answers"]}
            found = answers[place == "swap = True"].get("verdicts", {}).get("verdict")
        if found != (values[wanted] if wanted in values else float(wanted or 0)):
            disagree.append((row, place, wanted, found))
    assert disagree == []


async def test_a_real_judge_is_calibrated() -> None:
    """GPT-4 with reasoning, on which of two outputs is better; a tie counts half."""
    data = rows()
    chosen = [row for row, entry in enumerate(data) if entry["judge_model"] == "GPT-4" and entry["strategy"] == "CoT"]
    verdicts = await pairs(data, chosen)
    labelled = [
        (verdict.score, data[row]["label"] == 1)
        for row, verdict in zip(chosen, verdicts, strict=True)
        if verdict.score is not None
    ]
    found = calibrate(labelled)
    assert found.threshold in (0.25, 0.75)
    assert 0.6 < found.kappa < 0.95
    assert found.agreement_interval[0] < found.agreement < found.agreement_interval[1]

"""The kind `process`: steps from a process reward model or from another verifier."""

from __future__ import annotations

import gzip
import json
import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.conftest import DATA
from tests.verifiers.served import Served, judged_by
from tests.verifiers.support import ANY_TEXT, InProcessGuard, assert_sound, configured
from verifiers.base import ConfigError, Context, ErrorType, Item, Message, Outcome, Verdict
from verifiers.conversation import MAX_CHARS
from verifiers.lent import BackendError, Solution, StepScores
from verifiers.process.config import ProcessConfig, aggregated

TEXT = "First, 6 * 7 = 42.\n\nThen add 1.\n\nSo it is 43."


def by_length(solution: Solution) -> list[float]:
    return [1 / len(step) for step in solution.steps]


async def one(served: Served | None, config: dict[str, Any], **item: Any) -> Verdict:
    [verdict] = await judged_by(served, "process", config, [Item(**item)])
    assert_sound(verdict)
    return verdict


def texts(verdict: Verdict, completion: str) -> list[str]:
    return [completion[step.start : step.end] for step in verdict.steps or ()]


async def test_a_process_reward_model_scores_each_step() -> None:
    served = Served(steps=lambda solution: [0.9, 0.4, 0.7])
    verdict = await one(served, {"scorer": {"backend": "prm"}}, prompt="How much?", completion=TEXT)
    assert (verdict.outcome, verdict.score) == (Outcome.SCORED, 0.4)
    assert verdict.detail == {"stage": "steps", "steps": 3, "first_wrong": 1, "tokens": 9}
    assert texts(verdict, TEXT) == TEXT.split("\n\n")
    assert [step.score for step in verdict.steps or ()] == [0.9, 0.4, 0.7]
    [[solution]] = served.solutions
    assert list(solution.messages) == [{"role": "user", "content": "How much?"}]
    assert list(solution.steps) == TEXT.split("\n\n")


@pytest.mark.parametrize(
    ("how", "score"), [("min", 0.25), ("product", 0.1), ("mean", 0.55), ("last", 0.5), ("mean", 0.55)]
)
def test_aggregates(how: Any, score: float) -> None:
    assert aggregated([0.8, 0.25, 0.5] if how != "mean" else [0.8, 0.35, 0.5], how) == pytest.approx(score)


def test_a_mean_whose_sum_no_number_holds() -> None:
    assert aggregated([1.5e308, 1.5e308, 1.2e308], "mean") == pytest.approx(1.4e308)
    assert aggregated([1e308, 1e308], "product") == math.inf


async def test_an_aggregate_that_no_number_holds_is_unscored() -> None:
    served = Served(steps=lambda solution: [1e308] * len(solution.steps))
    config = {"scorer": {"backend": "prm"}, "aggregate": "product"}
    huge, small = await judged_by(served, "process", config, [Item(completion=TEXT), Item(completion="one")])
    assert huge.error is not None
    assert huge.error.type is ErrorType.VERIFIER_FAULT
    assert small.score == 1e308


@pytest.mark.parametrize(("threshold", "wrong"), [(0.5, 1), (0.4, None), (0.41, 1), (0.95, 0), (-1.0, None)])
async def test_the_first_wrong_step_is_the_first_below_the_threshold(threshold: float, wrong: int | None) -> None:
    served = Served(steps=lambda solution: [0.9, 0.4, 0.7])
    verdict = await one(served, {"scorer": {"backend": "prm"}, "threshold": threshold}, completion=TEXT)
    assert verdict.detail["first_wrong"] == wrong


@pytest.mark.parametrize(("shows", "scores"), [("step", [1.0, 0.0, 1.0]), ("prefix", [1.0, 1.0, 1.0])])
async def test_another_verifier_scores_steps_or_prefixes(shows: str, scores: list[float]) -> None:
    has_equals = {"kind": "regex", "config": {"pattern": "=|43"}}
    verdict = await one(None, {"scorer": has_equals, "shows": shows, "aggregate": "mean"}, completion=TEXT)
    assert [step.score for step in verdict.steps or ()] == scores
    assert verdict.score == pytest.approx(sum(scores) / 3)


class Recording:
    """A verifier that keeps the items it is asked about."""

    sandboxed = False

    def __init__(self) -> None:
        self.items: list[Item] = []

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        self.items += items
        return [Verdict.binary("43" not in item.text, "recorded") for item in items]


async def test_what_another_verifier_gets() -> None:
    recording: Any = Recording()
    item = Item(prompt="Q", completion=[Message(role="assistant", content=TEXT)], reference="R", tokens=50, group="g")
    [verdict] = await judged_by(
        None, "process", {"scorer": "mine@1", "shows": "prefix"}, [item], named={"mine@1": recording}
    )
    assert [asked.completion for asked in recording.items] == [TEXT[:18], TEXT[:31], TEXT]
    assert {(asked.prompt, asked.reference, asked.tokens, asked.group) for asked in recording.items} == {
        ("Q", "R", None, "g")
    }
    assert verdict.detail["first_wrong"] == 2
    assert verdict.full["steps_detail"] == [{"stage": "recorded"}] * 3


async def test_many_steps_are_asked_about_in_bounded_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifiers.process.PIECES_AT_ONCE", 7)
    asked: list[int] = []

    class Counting(Recording):
        async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
            asked.append(len(items))
            return await super().verify(items, ctx)

    counting: Any = Counting()
    items = [Item(completion=f"{n}\n\n43\n\n{n}") for n in range(5)]
    verdicts = await judged_by(None, "process", {"scorer": "mine@1"}, items, named={"mine@1": counting})
    assert asked == [7, 7, 1]
    assert [texts(verdict, item.text) for verdict, item in zip(verdicts, items, strict=True)] == [
        [str(n), "43", str(n)] for n in range(5)
    ]
    assert [verdict.detail["first_wrong"] for verdict in verdicts] == [1] * 5


async def test_prefixes_of_one_long_completion_are_never_all_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifiers.process.PIECES_CHARS", 1_000)
    asked: list[int] = []

    class Counting(Recording):
        async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
            asked.append(sum(len(item.text) for item in items))
            return await super().verify(items, ctx)

    counting: Any = Counting()
    completion = "\n\n".join("x" * 98 for _ in range(60))
    config = {"scorer": "mine@1", "shows": "prefix"}
    [verdict] = await judged_by(None, "process", config, [Item(completion=completion)], named={"mine@1": counting})
    assert max(asked) < 1_000 + len(completion)
    assert len(verdict.steps or ()) == 60
    assert [len(item.text) for item in counting.items] == [100 * number - 2 for number in range(1, 61)]


async def test_what_the_deadline_leaves_of_an_items_steps_gives_it_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifiers.process.PIECES_AT_ONCE", 4)

    class Slow(Recording):
        async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
            monkeypatch.setattr("verifiers.process.time", Passed())
            return await super().verify(items, ctx)

    class Passed:
        """A clock that is behind every deadline."""

        def monotonic(self) -> float:
            return math.inf

    slow: Any = Slow()
    items = [Item(completion="a\n\nb\n\nc"), Item(completion="d\n\ne\n\nf")]
    done, late = await judged_by(None, "process", {"scorer": "mine@1"}, items, named={"mine@1": slow})
    assert done.score == 1.0
    assert late.error is not None
    assert late.error.type is ErrorType.DEADLINE_EXCEEDED


async def test_ten_thousand_steps_are_bounded_and_the_last_holds_the_rest() -> None:
    completion = "\n\n".join(f"{number}. then {number}" for number in range(1, 10_001))
    for config in ({}, {"split": "numbered"}, {"split": "pattern", "pattern": "\\n+"}):
        served = Served(steps=lambda solution: [0.9] * len(solution.steps))
        verdict = await one(served, {"scorer": {"backend": "prm"}, **config, "max_steps": 256}, completion=completion)
        found = texts(verdict, completion)
        assert len(found) == 256
        assert found[:255] == [f"{number}. then {number}" for number in range(1, 256)]
        assert found[255].endswith("10000. then 10000")


async def test_a_pattern_that_looks_ahead_at_each_match_is_no_work_for_the_event_loop() -> None:
    guard = InProcessGuard()
    config = {"scorer": {"backend": "prm"}, "split": "pattern", "pattern": "x[^y]*y|x"}
    verifier = configured("process", config)
    short, long = Item(completion="x" * 2_000), Item(completion="x" * 2_001)
    ctx = Context(time.monotonic() + 60, guard, backends=Served())
    verdicts = await verifier.verify([short, long], ctx)
    assert [len(payload["text"]) for payload in guard.payloads] == [2_001]
    assert [verdict.outcome for verdict in verdicts] == [Outcome.UNPARSEABLE] * 2


async def test_messages_before_the_solution_reach_the_model() -> None:
    served = Served()
    completion = [
        Message(role="assistant", content="look it up"),
        Message(role="tool", content="42"),
        Message(role="assistant", content="one\n\ntwo"),
    ]
    verdict = await one(served, {"scorer": {"backend": "prm"}}, prompt="Q", completion=completion)
    [[solution]] = served.solutions
    assert [message["content"] for message in solution.messages] == ["Q", "look it up", "42"]
    assert texts(verdict, "one\n\ntwo") == list(solution.steps) == ["one", "two"]


async def test_a_prompt_that_is_cut_says_so() -> None:
    verdict = await one(Served(), {"scorer": {"backend": "prm"}}, prompt="x" * (MAX_CHARS + 1), completion="a\n\nb")
    assert verdict.detail["truncated"] is True
    whole = await one(Served(), {"scorer": {"backend": "prm"}}, prompt="x", completion="a\n\nb")
    assert "truncated" not in whole.detail


async def test_solutions_with_long_prompts_travel_apart() -> None:
    served = Served()
    items = [Item(prompt="x" * 900_000, completion="a\n\nb")] * 4
    await judged_by(served, "process", {"scorer": {"backend": "prm"}}, items)
    assert [len(some) for some in served.solutions] == [2, 2]


async def test_steps_of_the_final_section_are_spans_of_the_whole_completion() -> None:
    completion = "<think>a\n\nb</think>\n\nSo 1.\n\nAnd 2."
    verdict = await one(Served(), {"scorer": {"backend": "prm"}, "section": "final"}, completion=completion)
    assert texts(verdict, completion) == ["So 1.", "And 2."]
    whole = await one(Served(), {"scorer": {"backend": "prm"}}, completion=completion)
    assert len(whole.steps or ()) == 4


@pytest.mark.parametrize(
    ("completion", "config"),
    [("", {}), (" \n\n ", {}), ("<think>never", {"section": "final"}), ("", {"split": "numbered"})],
)
async def test_a_completion_without_steps(completion: str, config: dict[str, Any]) -> None:
    served = Served()
    verdict = await one(served, {"scorer": {"backend": "prm"}, "empty": -1, **config}, completion=completion)
    assert (verdict.outcome, verdict.score, verdict.steps) == (Outcome.UNPARSEABLE, -1.0, ())
    assert served.solutions == []


async def test_a_long_completion_is_split_in_a_worker_alike() -> None:
    completion = "\n\n".join(f"step {n} " + "x" * 900 for n in range(40))
    verdict = await one(Served(), {"scorer": {"backend": "prm"}}, completion=completion)
    assert texts(verdict, completion) == completion.split("\n\n")


async def test_steps_beyond_what_any_model_reads_are_unscored_and_never_cut() -> None:
    served = Served()
    verdict = await one(served, {"scorer": {"backend": "prm"}}, completion="a\n\n" + "b" * MAX_CHARS)
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.CONTEXT_OVERFLOW
    assert served.solutions == []


def _always(said: StepScores, _: Solution) -> StepScores:
    return said


async def test_faults_of_a_backend_leave_the_item_unscored() -> None:
    overflow = BackendError(ErrorType.CONTEXT_OVERFLOW, "too long", retryable=False)
    for said, type in (
        (StepScores(None, overflow), ErrorType.CONTEXT_OVERFLOW),
        (StepScores((0.5,)), ErrorType.BACKEND_FAULT),
        (StepScores((0.5, math.nan, 0.5)), ErrorType.BACKEND_FAULT),
        (StepScores(None), ErrorType.BACKEND_FAULT),
    ):
        verdict = await one(Served(steps=partial(_always, said)), {"scorer": {"backend": "prm"}}, completion=TEXT)
        assert (verdict.score, verdict.steps) == (None, None)
        assert verdict.error is not None
        assert verdict.error.type is type
    verdict = await one(None, {"scorer": {"backend": "prm"}}, completion=TEXT)
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.BACKEND_UNAVAILABLE


async def test_a_step_that_cannot_be_scored_leaves_the_item_unscored() -> None:
    verdict = await one(None, {"scorer": {"kind": "json_schema", "config": {}}}, completion=TEXT, reference="x")
    if verdict.score is None:
        assert verdict.error is not None
        assert verdict.error.message.startswith("step 0: ")
    verdict = await one(None, {"scorer": {"kind": "math"}}, completion=TEXT, reference={"bad": 1})
    assert verdict.error is not None
    assert verdict.error.message.startswith("step 0: reference")
    assert verdict.error.type is ErrorType.BAD_ITEM


async def test_given_steps() -> None:
    config = {"split": "given", "scorer": {"kind": "regex", "config": {"pattern": "="}}}
    reference = {"steps": ["6 * 7 = 42", "add 1"], "reference": None}
    verdict = await one(None, config, completion=TEXT, reference=reference)
    assert texts(verdict, TEXT) == ["6 * 7 = 42", "add 1"]
    assert [step.score for step in verdict.steps or ()] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (None, "reference: Input should be a valid dictionary"),
        ({"steps": "x"}, "reference/steps: Input should be a valid list"),
        ({"steps": [1]}, "reference/steps/0: Input should be a valid string"),
        ({}, "reference/steps: Field required"),
        ({"steps": ["nowhere"]}, "reference/steps/0: 'nowhere' is not in the completion behind the step before it"),
        ({"steps": []}, "reference/steps: there is none; give the steps of the completion, which is not empty"),
        ({"steps": ["x"] * 257}, "reference/steps: List should have at most 256 items"),
    ],
)
async def test_malformed_given_steps(reference: Any, message: str) -> None:
    verdict = await one(
        Served(), {"scorer": {"backend": "prm"}, "split": "given"}, completion=TEXT, reference=reference
    )
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.BAD_ITEM
    assert verdict.error.message.startswith(message)


async def test_an_empty_completion_has_no_steps_to_give() -> None:
    config = {"scorer": {"backend": "prm"}, "split": "given", "empty": -1}
    verdict = await one(Served(), config, completion=" \n", reference={"steps": []})
    assert (verdict.outcome, verdict.score) == (Outcome.UNPARSEABLE, -1.0)


@settings(max_examples=30, deadline=None)
@given(completions=st.lists(ANY_TEXT, max_size=6), data=st.data())
async def test_order_and_repetition_change_nothing(completions: list[str], data: st.DataObject) -> None:
    items = [Item(completion=text) for text in completions]
    order = data.draw(st.permutations(range(len(items))))
    config = {"scorer": {"backend": "prm"}, "split": "pattern", "pattern": "[aeiou ]"}
    straight = await judged_by(Served(steps=by_length), "process", config, items)
    permuted = await judged_by(Served(steps=by_length), "process", config, [items[i] for i in order])
    assert [straight[i] for i in order] == permuted
    for verdict, item in zip(straight, items, strict=True):
        assert_sound(verdict)
        assert [step.score for step in verdict.steps or ()] == [1 / len(t) for t in texts(verdict, item.text)]


@pytest.mark.parametrize(
    ("config", "pointer", "message"),
    [
        ({"scorer": {"backend": "prm"}, "split": "pattern"}, "/pattern", "a pattern and split: pattern go together"),
        ({"scorer": {"backend": "prm"}, "pattern": "x"}, "/pattern", "a pattern and split: pattern go together"),
        (
            {"scorer": {"backend": "prm"}, "shows": "prefix"},
            "/shows",
            "a backend reads the whole solution; shows is for a verifier",
        ),
        (
            {"scorer": {"backend": "prm"}, "split": "pattern", "pattern": "x*"},
            "/pattern",
            "/pattern: it matches the empty text, so it would separate every two characters",
        ),
    ],
)
def test_configurations_that_cannot_work(config: dict[str, Any], pointer: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured("process", config)
    assert (caught.value.pointer, str(caught.value)) == (pointer, message)


@pytest.mark.parametrize("pattern", ["(", "(?<=a)b", "a" * 5_000, "\ud800"])
def test_patterns_that_cannot_be_used(pattern: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured("process", {"scorer": {"backend": "prm"}, "split": "pattern", "pattern": pattern})
    assert caught.value.pointer == "/pattern"


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({}, "scorer"),
        ({"scorer": {"backend": "a b"}}, "scorer"),
        ({"scorer": {"backend": "prm"}, "aggregate": "max"}, "aggregate"),
        ({"scorer": {"backend": "prm"}, "max_steps": 0}, "max_steps"),
        ({"scorer": {"backend": "prm"}, "threshold": math.nan}, "threshold"),
        ({"scorer": {"backend": "prm"}, "split": "lines"}, "split"),
        ({"scorer": 3}, "scorer"),
    ],
)
def test_malformed_configurations(config: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        configured("process", config)
    assert caught.value.errors()[0]["loc"][0] == where


def test_it_needs_what_scores_its_steps() -> None:
    assert ProcessConfig.model_validate({"scorer": {"backend": "prm"}}).needs().backends == {"/scorer/backend": "prm"}
    assert ProcessConfig(scorer="judge@1").needs().verifiers == {"/scorer": "judge@1"}


@pytest.mark.data
async def test_labelled_mistakes_are_found_where_they_are() -> None:
    """BIG-Bench-Mistake: a source of step scores that says what the labels say finds each first mistake."""
    with gzip.open(DATA / "process" / "big_bench_mistake.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) == 2_186
    mistakes = {(row["input"], *(step.strip() for step in row["steps"])): row["mistake_index"] for row in rows}

    def labels(solution: Solution) -> list[float]:
        wrong = mistakes[(solution.messages[-1]["content"], *solution.steps)]
        return [1.0 if wrong is None or number < wrong else 0.0 for number in range(len(solution.steps))]

    usable = [row for row in rows if all("\n\n" not in step.strip() and step.strip() for step in row["steps"])]
    usable = [row for row in usable if len(row["steps"]) <= 256]
    assert len(usable) > 2_000
    items = [Item(prompt=row["input"], completion="\n\n".join(row["steps"])) for row in usable]
    verdicts = await judged_by(
        Served(steps=labels), "process", {"scorer": {"backend": "prm"}, "max_steps": 256}, items
    )
    for row, item, verdict in zip(usable, items, verdicts, strict=True):
        assert verdict.detail["first_wrong"] == row["mistake_index"]
        assert verdict.score == (1.0 if row["mistake_index"] is None else 0.0)
        assert texts(verdict, item.text) == [step.strip() for step in row["steps"]]
    given = [
        item.model_copy(update={"reference": {"steps": [step.strip() for step in row["steps"]]}})
        for row, item in zip(usable, items, strict=True)
    ]
    again = await judged_by(Served(steps=labels), "process", {"scorer": {"backend": "prm"}, "split": "given"}, given)
    assert [verdict.steps for verdict in again] == [verdict.steps for verdict in verdicts]

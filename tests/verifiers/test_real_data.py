"""The simple kinds over real data: gold scores 1, empty scores 0, and labels are met."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.conftest import DATA
from tests.verifiers.support import configured, score_all
from verifiers.base import Item, Outcome

pytestmark = pytest.mark.data

EVERY = 7
"""Of long texts every so manieth row is enough."""


def rows(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


async def scores(kind: str, config: dict[str, Any], items: list[Item]) -> list[float | None]:
    return [verdict.score for verdict in await score_all(configured(kind, config), items, seconds=300)]


async def assert_gold_and_empty(kind: str, config: dict[str, Any], golds: list[Item], *, empty: float = 0.0) -> None:
    """Every gold scores 1; each with another's completion, or with none, scores less."""
    assert len(golds) > 50
    assert await scores(kind, config, golds) == pytest.approx([1.0] * len(golds), abs=1e-12)
    blank = [gold.model_copy(update={"completion": ""}) for gold in golds]
    assert await scores(kind, config, blank) == [empty] * len(golds)


async def test_text_of_answers_and_of_long_answers() -> None:
    answers = [row["answer"] for row in rows("math/math500")]
    for mode in ("exact", "contains"):
        await assert_gold_and_empty("text", {"mode": mode}, [Item(completion=a, reference=a) for a in answers])
    tagged = [Item(completion=f"so <answer>{a}</answer>", reference=[a, "other"]) for a in answers]
    await assert_gold_and_empty("text", {"tag": "answer"}, tagged)
    outputs = [row["output_1"] for row in rows("preference/llmbar") if len(row["output_1"].split()) > 1][::EVERY]
    for mode in (
        "ratio",
        "levenshtein",
        "token_sort",
        "token_f1",
        "rouge_2",
        "rouge_l",
        "bleu",
        "gleu",
        "meteor",
        "chrf",
    ):
        await assert_gold_and_empty("text", {"mode": mode}, [Item(completion=t, reference=t) for t in outputs])


async def test_measures_tell_an_answer_from_another_to_the_same_question() -> None:
    pairs = [(row["output_1"], row["output_2"]) for row in rows("preference/llmbar")][::EVERY]
    for mode in ("token_f1", "rouge_l", "gleu", "chrf"):
        likeness = await scores("text", {"mode": mode}, [Item(completion=a, reference=b) for a, b in pairs])
        assert all(score is not None and 0 <= score < 1 for score in likeness)


async def test_regex_picks_the_answer_of_gsm8k() -> None:
    group = {"pattern": r"^(?:####|A:) (-?[\d,.]+)$", "flags": "m", "group": 1}
    data = rows("math/gsm8k_test")
    golds = [Item(completion=row["answer"], reference=row["answer"].rsplit("#### ", 1)[1]) for row in data]
    await assert_gold_and_empty("regex", group, golds)
    labelled = rows("math/gsm8k_solutions_labelled")
    items = [Item(completion=row["solution"], reference=row["ground_truth"].rsplit("A: ", 1)[1]) for row in labelled]
    verdicts = await score_all(configured("regex", group), items, seconds=300)
    agree = sum((v.score == 1.0) == row["is_correct"] for v, row in zip(verdicts, labelled, strict=True))
    assert agree >= 5_266  # ten write or leave out a thousands separator, which is for the kind math
    assert {v.outcome for v in verdicts} <= {Outcome.CORRECT, Outcome.INCORRECT, Outcome.UNPARSEABLE}


async def test_regex_counts_the_steps_of_gsm8k() -> None:
    data = rows("math/gsm8k_test")
    for least in (1, 3):
        config = {"pattern": "<<[^<>]*>>", "min_count": least, "max_count": 100}
        expected = [float(row["answer"].count("<<") >= least) for row in data]
        assert await scores("regex", config, [Item(completion=row["answer"]) for row in data]) == expected


def functions() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The parameters of each BFCL function as a JSON Schema, and the first allowed value of each argument."""
    found = []
    answers = {row["id"]: row["ground_truth"] for row in rows("tools/BFCL_v4_simple_python_answers")}
    for row in rows("tools/BFCL_v4_simple_python"):
        [function], [call] = row["function"], answers[row["id"]]
        [allowed] = call.values()
        arguments = {name: values[0] for name, values in allowed.items() if values[0] != ""}
        found.append((_json_types(function["parameters"]), arguments))
    return found


def _json_types(schema: Any) -> Any:
    """BFCL names Python's types."""
    names = {"dict": "object", "float": "number", "tuple": "array", "any": ["string", "number", "object", "array"]}
    if isinstance(schema, dict):
        return {
            key: names.get(value, value) if key == "type" and isinstance(value, str) else _json_types(value)
            for key, value in schema.items()
        }
    return [_json_types(element) for element in schema] if isinstance(schema, list) else schema


async def test_json_schema_over_the_calls_of_bfcl() -> None:
    valid = [
        Item(completion=f"Calling it: {json.dumps(arguments)}", reference=schema) for schema, arguments in functions()
    ]
    got = await scores("json_schema", {"from": "last_object"}, valid)
    assert len(got) == 400
    assert got.count(1.0) >= 390  # allowed values of some rows do not have the type that their function declares
    assert set(got) <= {0.0, 1.0}
    golds = [Item(completion=json.dumps(arguments), reference=arguments) for _, arguments in functions() if arguments]
    for config in (
        {"equal": "all"},
        {"equal": "fraction"},
        {"equal": "fraction", "fields": "leaves", "arrays": "unordered", "strings": "loose"},
        {"equal": "all", "tolerance": 0.01, "extra": "ignore"},
    ):
        await assert_gold_and_empty("json_schema", {"schema": True, **config}, golds)
    changed = [
        Item(completion=json.dumps({**arguments, next(iter(arguments)): ["changed"]}), reference=arguments)
        for _, arguments in functions()
        if arguments
    ]
    shares = await scores("json_schema", {"schema": True, "equal": "fraction"}, changed)
    assert shares == pytest.approx([1 - 1 / len(item.reference) for item in changed], abs=1e-12)


async def test_format_around_real_solutions() -> None:
    golds = [
        Item(completion=f"<think>\n{row['solution']}\n</think>\n<answer>\n{row['answer']}\n</answer>")
        for row in rows("math/math500")
    ]
    for config in ({}, {"reward": "fraction"}, {"lines": True, "outside": "forbid"}, {"reward": "markers"}):
        await assert_gold_and_empty("format", config, golds)
    cut = [gold.model_copy(update={"completion": gold.text[:-2]}) for gold in golds]
    assert await scores("format", {}, cut) == [0.0] * len(cut)
    assert await scores("format", {"reward": "markers"}, cut) == [0.75] * len(cut)


async def test_length_and_repetition_of_real_solutions() -> None:
    solutions = [Item(completion=row["solution"]) for row in rows("math/math500")]
    assert await scores("length", {"max": 100_000}, solutions) == [0.0] * len(solutions)
    repeated = await scores("repetition", {}, solutions)
    assert all(score is not None and -0.8 < score <= 0 for score in repeated)
    looped = [Item(completion=f"{item.text} " * 20) for item in solutions]
    worse = await scores("repetition", {}, looped)
    assert all(score is not None and score < -0.9 for score in worse)

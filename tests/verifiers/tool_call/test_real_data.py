"""BFCL's rows: built answers are right in every form, broken ones are wrong, and irrelevance accepts only silence."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import DATA
from tests.verifiers.support import configured, score_all
from tests.verifiers.tool_call.written import FORMS, Calls, hermes, message, python
from verifiers.base import Item

pytestmark = pytest.mark.data

ANSWERED = ("BFCL_v4_simple_python", "BFCL_v4_multiple")


@dataclass(frozen=True)
class Row:
    """A prompt's tools, and the answers that it allows."""

    id: str
    tools: list[dict[str, Any]]
    answer: list[dict[str, dict[str, list[Any]]]]

    @property
    def reference(self) -> dict[str, Any]:
        return {"calls": self.answer, "form": "bfcl", "tools": self.tools}

    @property
    def built(self) -> Calls:
        """The first allowed value of each argument; none where that is an empty text and the tool needs none."""
        calls = []
        for [(name, arguments)] in map(dict.items, self.answer):
            required = next(tool for tool in self.tools if tool["name"] == name)["parameters"]["required"]
            values = {
                key: first([one for one in allowed if one != ""] if key in required else allowed)
                for key, allowed in arguments.items()
            }
            calls.append((name, {key: value for key, value in values.items() if value != ""}))
        return calls


def first(allowed: list[Any]) -> Any:
    return inside(allowed[0])


def inside(value: Any) -> Any:
    """A value of an answer: where it holds an object, its members have lists of allowed values."""
    if isinstance(value, dict):
        return {name: one for name, allowed in value.items() if (one := first(allowed)) != ""}
    return [inside(one) for one in value] if isinstance(value, list) else value


def rows(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / "tools" / f"{name}.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


def answered() -> list[Row]:
    found = []
    for name in ANSWERED:
        answers = {row["id"]: row["ground_truth"] for row in rows(f"{name}_answers")}
        found += [Row(row["id"], row["function"], answers[row["id"]]) for row in rows(name)]
    return found


async def judged(pairs: list[tuple[str, Item]], **config: Any) -> dict[str, float | None]:
    verdicts = await score_all(configured("tool_call", config), [item for _, item in pairs], seconds=300)
    return {name: verdict.score for (name, _), verdict in zip(pairs, verdicts, strict=True)}


@pytest.mark.parametrize("form", FORMS)
async def test_built_answers_are_right(form: str) -> None:
    data = answered()
    pairs = [(row.id, Item(completion=FORMS[form](row.built), reference=row.reference)) for row in data]
    scores = await judged(pairs)
    assert len(data) == 600
    assert [name for name, score in scores.items() if score != 1.0] == []


async def test_built_answers_are_right_by_names_without_dots() -> None:
    pairs = [
        (row.id, Item(completion=message([(n.replace(".", "_"), a) for n, a in row.built]), reference=row.reference))
        for row in answered()
    ]
    scores = await judged(pairs, underscore_for_dot=True)
    assert [name for name, score in scores.items() if score != 1.0] == []
    dotted = {row.id for row in answered() if "." in row.built[0][0]}
    scores = await judged(pairs)
    assert len(dotted) > 50
    assert not [name for name in dotted if scores[name] == 1.0]


def broken(row: Row) -> Iterator[tuple[str, Calls]]:
    """The built answer with one thing wrong."""
    [(name, arguments)] = row.built
    tool = next(tool for tool in row.tools if tool["name"] == name)
    properties = tool["parameters"]["properties"]
    yield "renamed", [(f"{name}_2", arguments)]
    yield "renamed", [(name.upper() if name.upper() != name else name.lower(), arguments)]
    yield "extra", [(name, {**arguments, "verbose_output": True})]
    yield "twice", [(name, arguments), (name, arguments)]
    others = [other["name"] for other in row.tools if other["name"] != name]
    yield "swapped", [(others[0] if others else "search_web", arguments)]
    for key in tool["parameters"].get("required", ()):
        if key in arguments:
            yield "dropped", [(name, {other: value for other, value in arguments.items() if other != key})]
    for key, value in arguments.items():
        yield "wrong type", [(name, {**arguments, key: of_another_type(value)})]
        allowed = row.answer[0][name][key]
        if value not in ("", [], {}) and another(value) not in allowed:
            yield "wrong value", [(name, {**arguments, key: another(value)})]
        if properties[key]["type"] == "integer":
            yield "wrong type", [(name, {**arguments, key: float(value) + 0.5})]


def of_another_type(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return [value]
    return json.dumps(value)


def another(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"not {value}"
    if isinstance(value, list):
        return [*value, value[0]]
    return {key: another(inner) for key, inner in value.items()}


@pytest.mark.parametrize("form", [message, hermes, python])
async def test_broken_answers_are_wrong(form: Any) -> None:
    pairs, sorts = [], set()
    for row in answered():
        for index, (sort, calls) in enumerate(broken(row)):
            pairs.append((f"{row.id} {index} {sort} {calls}", Item(completion=form(calls), reference=row.reference)))
            sorts.add(sort)
    scores = await judged(pairs)
    assert len(pairs) > 5000
    assert sorts == {"renamed", "extra", "twice", "swapped", "dropped", "wrong type", "wrong value"}
    accepted = [name for name, score in scores.items() if score != 0.0]
    assert accepted == []


async def test_nothing_said_is_never_an_answer() -> None:
    pairs = [(row.id, Item(completion="", reference=row.reference)) for row in answered()]
    assert set((await judged(pairs)).values()) == {0.0}


def irrelevant() -> list[dict[str, Any]]:
    return rows("BFCL_v4_irrelevance")


SILENT = (
    "",
    "None of the available functions can answer this question.",
    "I cannot do that with {name}: it needs values that the question does not give.",
    "The tools I have, such as `{name}()`, do not apply here. f(x) = 3x^2 has the area 124.",
)


@pytest.mark.parametrize("said", SILENT)
async def test_irrelevance_accepts_silence(said: str) -> None:
    pairs = [
        (row["id"], Item(completion=said.format(name=tool["name"]), reference={"calls": [], "tools": [tool]}))
        for row in irrelevant()
        for tool in row["function"]
    ]
    scores = await judged(pairs)
    assert len(scores) == 240
    assert set(scores.values()) == {1.0}


@pytest.mark.parametrize("form", FORMS)
async def test_irrelevance_accepts_no_call_and_no_attempt(form: str) -> None:
    pairs = []
    for row in irrelevant():
        tool = row["function"][0]
        arguments = {key: placeholder(schema) for key, schema in tool["parameters"]["properties"].items()}
        reference = {"calls": [], "tools": row["function"]}
        written = FORMS[form]([(tool["name"], arguments)])
        pairs.append((f"{row['id']} call", Item(completion=written, reference=reference)))
        if isinstance(written, str) and form != "after_thinking":
            pairs.append((f"{row['id']} cut", Item(completion=written[: len(written) * 2 // 3], reference=reference)))
            pairs.append((f"{row['id']} in prose", Item(completion=f"Sure: {written} Done.", reference=reference)))
    scores = await judged(pairs)
    assert [name for name, score in scores.items() if score != 0.0] == []


def placeholder(schema: dict[str, Any]) -> Any:
    return {
        "string": "x",
        "integer": 1,
        "float": 1.5,
        "boolean": True,
        "array": [],
        "tuple": [],
        "dict": {},
        "any": 1,
    }[schema["type"]]

"""/verifiers: registration, versions that never change, lists, archiving."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.app.api.support import Project, database_of, is_problem, ok, problem, unique
from tests.service import Service
from verifiers.base import KINDS, load_kinds

load_kinds()
BUILT_IN = sorted(
    kind for kind, cls in KINDS.items() if not any(field.is_required() for field in cls.Config.model_fields.values())
)
"""Kinds with a verifier of their own name: those that need no choice."""
POLITE = {"kind": "regex", "config": {"pattern": "thank you"}}


def register(project: Project, name: str, pattern: str, status: int = 201, **fields: Any) -> Any:
    body = {"name": name, "kind": "regex", "config": {"pattern": pattern}, **fields}
    return ok(project.post("/verifiers", body), status)


def test_a_registration_is_answered_with_the_whole_version(project: Project) -> None:
    examples: list[dict[str, Any]] = [
        {"completion": "thank you", "expect": 1.0},
        {"prompt": "Hi", "completion": "no", "expect": "<0.5"},
    ]
    made = ok(
        project.post(
            "/verifiers", {"name": "polite", **POLITE, "description": "Says \x00 thanks.", "examples": examples}
        ),
        201,
    )
    assert (made["name"], made["version"], made["kind"], made["builtin"]) == ("polite", 1, "regex", False)
    assert made["description"] == "Says \x00 thanks."
    assert {
        "pattern": "thank you",
        "mode": "search",
        "negate": False,
        "flags": "",
        "section": "whole",
    }.items() <= made["config"].items()
    assert [
        {k: example[k] for k in asked} for asked, example in zip(examples, made["examples"], strict=True)
    ] == examples
    assert len(bytes.fromhex(made["config_sha256"])) == 32
    assert made["archived_at"] is None
    for name in ("polite", "polite@1"):
        assert ok(project.get(f"/verifiers/{name}")) == made


def test_the_same_configuration_again_is_the_same_version(project: Project) -> None:
    first = register(project, "same", "a")
    explicit = {"name": "same", "kind": "regex", "config": {"section": "whole", "negate": False, "pattern": "a"}}
    assert ok(project.post("/verifiers", explicit), 200) == first
    other = register(project, "same", "b")
    assert other["version"] == 2
    assert other["config_sha256"] != first["config_sha256"]
    back = register(project, "same", "a")
    assert (back["version"], back["config_sha256"]) == (3, first["config_sha256"])
    kind = ok(project.post("/verifiers", {"name": "same", "kind": "text"}), 201)
    assert (kind["version"], kind["kind"]) == (4, "text")


def test_versions_are_listed_newest_first_and_stay_as_they_were(project: Project) -> None:
    made = [register(project, "many", f"p{n}") for n in range(7)]
    for limit in (1, 2, 3, 7, 100):
        assert list(project.pages("/verifiers/many/versions", limit=limit)) == made[::-1]
    assert ok(project.get("/verifiers/many")) == made[-1]
    assert ok(project.get("/verifiers/many@3")) == made[2]


@pytest.mark.parametrize(
    ("expect", "holds"),
    [
        (1, True),
        (1.0, True),
        (0.999, False),
        (0, False),
        (">=0.5", True),
        (">=1", True),
        (">1", False),
        ("<1", False),
        ("<=1.0", True),
        ("==1", True),
        (" > -3.5 ", True),
    ],
)
def test_examples_must_score_as_declared(project: Project, expect: Any, holds: bool) -> None:
    example = {"completion": "thank you", "expect": expect}
    fine = {"completion": "thank you", "expect": 1}
    answer = project.post("/verifiers", {"name": "checked", **POLITE, "examples": [fine, fine, example]})
    if holds:
        assert ok(answer, 201)["version"] == 1
        return
    said = problem(answer, 422, "example-failed", "/examples/2")
    assert str(expect).strip() in said["detail"]
    assert "1.0" in said["detail"]
    problem(project.get("/verifiers/checked"), 404, "unknown-verifier")


def test_an_example_that_cannot_be_scored_is_refused(project: Project) -> None:
    body = {"name": "needs", "kind": "text", "examples": [{"completion": "x", "expect": 0}]}
    said = problem(project.post("/verifiers", body), 422, "example-failed", "/examples/0")
    assert "reference" in said["detail"]


def test_examples_leave_no_scores(project: Project) -> None:
    register(project, "quiet", "a", examples=[{"completion": "a", "expect": 1}])
    assert project.scores() == []


@pytest.mark.parametrize(
    ("example", "where"),
    [
        ({"completion": "x"}, "/examples/0/expect"),
        ({"expect": 1}, "/examples/0/completion"),
        ({"completion": 5, "expect": 1}, "/examples/0/completion"),
        ({"completion": [], "expect": 1}, "/examples/0/completion"),
        ({"completion": [{"role": "user", "content": "x"}], "expect": 1}, "/examples/0/completion"),
        ({"completion": "x", "expect": "about 1"}, "/examples/0/expect"),
        ({"completion": "x", "expect": ">=nan"}, "/examples/0/expect"),
        ({"completion": "x", "expect": ">=1e3"}, "/examples/0/expect"),
        ({"completion": "x", "expect": None}, "/examples/0/expect"),
        ({"completion": "x", "expect": [1]}, "/examples/0/expect"),
        ({"completion": "x", "expect": 10**400}, "/examples/0/expect"),
        ({"completion": "x", "expect": 1, "score": 1}, "/examples/0/score"),
        ("x", "/examples/0"),
        (None, "/examples/0"),
    ],
    ids=repr,
)
def test_an_example_that_is_not_acceptable_is_named(project: Project, example: Any, where: str) -> None:
    body = {"name": "named", **POLITE, "examples": [example]}
    problem(project.post("/verifiers", body), 422, "invalid-body", where)


@pytest.mark.parametrize("bound", [">=" + "9" * 500, ">=0." + "1" * 5000, "<-" + "0" * 5000], ids=lambda b: b[:6])
def test_an_endless_number_in_a_bound_is_refused_in_a_few_words(project: Project, bound: str) -> None:
    body = {"name": "bound", **POLITE, "examples": [{"completion": "x", "expect": bound}]}
    answer = project.post("/verifiers", body)
    assert answer.status == 422
    assert is_problem(answer)["pointer"].startswith("/examples/0")


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "a/b",
        "a@1",
        "@1",
        "-a",
        ".a",
        "_a",
        "a\n",
        "a\x00",
        "\xe4",
        "\ud800",
        "x" * 101,
        "../a",
        "a?b",
        5,
        None,
        ["a"],
    ],
    ids=repr,
)
def test_a_name_that_is_not_acceptable_is_refused(project: Project, name: Any) -> None:
    problem(project.post("/verifiers", {"name": name, **POLITE}), 422, "invalid-body", "/name")


@pytest.mark.parametrize("name", ["a", "7", "A.b-c_d", "x" * 100])
def test_a_name_may_have_letters_digits_and_some_marks(project: Project, name: str) -> None:
    assert ok(project.post("/verifiers", {"name": name, **POLITE}), 201)["name"] == name
    assert project.score(name, {"completion": "thank you"})["items"][0]["verifier"] == f"{name}@1"


@pytest.mark.parametrize("kind", BUILT_IN)
def test_the_name_of_a_kind_is_taken_and_stands_for_its_defaults(project: Project, kind: str) -> None:
    problem(project.post("/verifiers", {"name": kind, **POLITE}), 409, "conflict", "/name")
    problem(project.delete(f"/verifiers/{kind}"), 409, "conflict")
    builtin = ok(project.get(f"/verifiers/{kind}"))
    assert (builtin["name"], builtin["kind"], builtin["builtin"]) == (kind, kind, True)
    assert builtin["description"]
    assert project.score(kind, {"completion": "x"})["items"][0]["verifier"] == f"{kind}@{builtin['version']}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", None),
        ("kind", 5),
        ("kind", "x" * 101),
        ("config", None),
        ("config", []),
        ("config", "text"),
        ("description", 5),
        ("description", "x" * 10_001),
        ("examples", None),
        ("examples", {}),
        ("examples", [{"completion": "thank you", "expect": 1}] * 65),
        ("unknown", 1),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_field_of_a_registration_that_is_not_acceptable_is_named(project: Project, field: str, value: Any) -> None:
    problem(project.post("/verifiers", {"name": "n", **POLITE, field: value}), 422, "invalid-body", f"/{field}")


@pytest.mark.parametrize(
    "name", ["nothing", "nothing@1", "text@99", "text@0", "text@01", "a b", "%00", "%ed%a0%80", "x" * 2000]
)
def test_a_verifier_that_does_not_exist_is_a_404(project: Project, name: str) -> None:
    path = name.replace(" ", "%20")
    problem(project.get(f"/verifiers/{path}"), 404, "unknown-verifier")
    problem(project.get(f"/verifiers/{path}/versions"), 404, "unknown-verifier")
    problem(project.delete(f"/verifiers/{path}"), 404, "unknown-verifier")


def test_the_list_has_the_latest_of_each_and_the_built_in_ones(project: Project) -> None:
    for name in ("b", "a", "C", "b"):
        register(project, name, unique("p"))
    listed = list(project.pages("/verifiers"))
    names = [verifier["name"] for verifier in listed]
    assert len(names) == len(set(names))
    assert set(names) == {"a", "b", "C", *BUILT_IN}
    assert {verifier["name"]: verifier["version"] for verifier in listed if not verifier["builtin"]} == {
        "a": 1,
        "b": 2,
        "C": 1,
    }
    for limit in (1, 2, 3):
        assert list(project.pages("/verifiers", limit=limit)) == listed


def test_a_list_read_while_it_grows_has_nothing_twice_and_misses_nothing(project: Project) -> None:
    before = [unique("v") for _ in range(9)]
    for name in before:
        register(project, name, "a")
    seen = []
    for verifier in project.pages("/verifiers", limit=2):
        seen.append(verifier["name"])
        register(project, unique("w" if len(seen) % 2 else "a"), "a")
    assert len(seen) == len(set(seen))
    assert set(before) | set(BUILT_IN) <= set(seen)


def test_an_archived_verifier_goes_on_only_by_its_versions(project: Project) -> None:
    register(project, "old", "a")
    last = register(project, "old", "b")
    answer = project.delete("/verifiers/old")
    assert (answer.status, answer.body) == (204, b"")
    body = {"verifier": "old", "items": [{"completion": "b"}]}
    problem(project.post("/score", body), 404, "unknown-verifier", "/verifier")
    assert [project.score(f"old@{n}", {"completion": "b"})["items"][0]["score"] for n in (1, 2)] == [0.0, 1.0]
    assert "old" not in [verifier["name"] for verifier in project.pages("/verifiers")]
    archived = ok(project.get("/verifiers/old@2"))
    assert archived["archived_at"] is not None
    assert {**archived, "archived_at": None} == last
    assert len(list(project.pages("/verifiers/old/versions"))) == 2
    problem(project.delete("/verifiers/old"), 404, "unknown-verifier")


def test_registering_an_archived_name_brings_it_back(project: Project) -> None:
    register(project, "back", "a")
    project.delete("/verifiers/back")
    assert register(project, "back", "b")["version"] == 2
    assert project.score("back", {"completion": "b"})["items"][0]["verifier"] == "back@2"
    assert ok(project.get("/verifiers/back@1"))["archived_at"] is None
    project.delete("/verifiers/back")
    assert register(project, "back", "b", 200)["version"] == 2
    assert project.score("back", {"completion": "b"})["items"][0]["verifier"] == "back@2"


@pytest.fixture
async def connection(service: Service) -> AsyncIterator[asyncpg.Connection]:
    async with database_of(service) as opened:
        yield opened


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE verifier_versions SET config = '{}'",
        "UPDATE verifier_versions SET version = version + 1 WHERE version > 0",
        "UPDATE verifier_versions SET created_at = now()",
        "DELETE FROM verifier_versions",
        "DELETE FROM verifier_versions WHERE version = 1",
        "TRUNCATE verifier_versions CASCADE",
        "TRUNCATE verifiers CASCADE",
        "TRUNCATE projects CASCADE",
        "INSERT INTO verifier_versions SELECT * FROM verifier_versions ON CONFLICT (id) DO UPDATE SET config = ''",
    ],
)
async def test_the_database_itself_refuses_to_change_a_version(
    project: Project, connection: asyncpg.Connection, statement: str
) -> None:
    made = register(project, "fixed", "a")
    with pytest.raises(asyncpg.RestrictViolationError, match="insert-only"):
        await connection.execute(statement)
    assert ok(project.get("/verifiers/fixed@1")) == made


async def test_the_database_refuses_versions_of_the_same_number(
    project: Project, connection: asyncpg.Connection
) -> None:
    register(project, "numbered", "a")
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute(
            "INSERT INTO verifier_versions (id, project_id, verifier_id, version, kind, config, config_sha256, "
            "description, examples) SELECT gen_random_uuid(), project_id, verifier_id, version, kind, config, "
            "config_sha256, description, examples FROM verifier_versions WHERE version = 1"
        )


def test_a_configuration_with_hostile_text_comes_back_exactly(project: Project) -> None:
    word = "NUL \x00 and \U0001f600"
    schema = {"const": word, "x\x00": [1e300, -0.0, 10**30]}
    body = {"name": "hostile", "kind": "json_schema", "config": {"schema": schema}, "description": word}
    made = ok(project.post("/verifiers", body), 201)
    assert (made["config"]["schema"], made["description"]) == (schema, word)
    assert ok(project.get("/verifiers/hostile")) == made
    completions = [{"completion": json.dumps(text)} for text in (word, "another")]
    assert [item["score"] for item in project.score("hostile", *completions)["items"]] == [1.0, 0.0]


def test_examples_are_bounded_in_all(project: Project) -> None:
    examples = [{"completion": "a" * 300_000, "reference": "a", "expect": 0}]
    body = {"name": "large", "kind": "text", "examples": examples}
    problem(project.post("/verifiers", body), 422, "invalid-body", "/examples")

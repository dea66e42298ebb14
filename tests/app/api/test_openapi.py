"""The OpenAPI document: valid, complete, its examples true, and the service as it says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31

from app.errors import PROBLEMS, TYPE_PREFIX
from tests.app.api.support import Project, ok
from tests.service import Service
from verifiers.base import KINDS, load_kinds

load_kinds()
OPERATIONS = {
    "score": "POST /score",
    "list_kinds": "GET /kinds",
    "register_verifier": "POST /verifiers",
    "list_verifiers": "GET /verifiers",
    "get_verifier": "GET /verifiers/{name}",
    "list_verifier_versions": "GET /verifiers/{name}/versions",
    "archive_verifier": "DELETE /verifiers/{name}",
    "calibrate_verifier": "POST /verifiers/{name}/calibrations",
    "check_golds": "POST /golds",
    "compare": "POST /compare",
    "list_scores": "GET /scores",
    "get_score": "GET /scores/{id}",
    "replay_score": "POST /scores/{id}/replay",
    "send_signals": "POST /signals",
    "list_signals": "GET /signals",
    "create_run": "POST /runs",
    "list_runs": "GET /runs",
    "get_run": "GET /runs/{id}",
    "send_run_events": "POST /runs/{id}/events",
    "get_run_metrics": "GET /runs/{id}/metrics",
    "list_run_samples": "GET /runs/{id}/samples",
    "create_key": "POST /keys",
    "list_keys": "GET /keys",
    "revoke_key": "DELETE /keys/{id}",
    "get_project": "GET /project",
    "change_project": "PATCH /project",
    "list_projects": "GET /projects",
    "create_project": "POST /projects",
    "create_backend": "POST /backends",
    "list_backends": "GET /backends",
    "archive_backend": "DELETE /backends/{name}",
    "test_backend": "POST /backends/{name}/test",
    "get_sandbox": "GET /sandbox",
    "openrlhf_by_label": "POST /compat/openrlhf",
    "openrlhf": "POST /compat/openrlhf/{verifier}",
    "slime_by_label": "POST /compat/slime",
    "slime": "POST /compat/slime/{verifier}",
    "nemo_gym_verify": "POST /compat/nemo-gym/{verifier}/verify",
    "nemo_gym_seed_session": "POST /compat/nemo-gym/{verifier}/seed_session",
    "nemo_gym_close_session": "POST /compat/nemo-gym/{verifier}/close_session",
    "nemo_gym_aggregate_metrics": "POST /compat/nemo-gym/{verifier}/aggregate_metrics",
    "nemo_gym_reverify_mode": "GET /compat/nemo-gym/{verifier}/reverify_mode",
    "roll_submit": "POST /compat/roll/{verifier}/submit",
    "roll_result": "GET /compat/roll/{verifier}/result",
    "roll_result_by_post": "POST /compat/roll/{verifier}/result",
    "azure_grader": "POST /compat/azure/{verifier}",
    "bedrock": "POST /compat/bedrock/{verifier}",
    "batch_reward": "POST /compat/batch/{verifier}",
    "reward_kit_evaluate": "POST /compat/reward-kit/{verifier}/evaluate",
    "sandbox_fusion_ping": "GET /compat/sandbox-fusion/v1/ping",
    "sandbox_fusion_run_code": "POST /compat/sandbox-fusion/run_code",
    "sandbox_fusion_submit": "POST /compat/sandbox-fusion/submit",
    "open_instruct_test_program": "POST /compat/open-instruct/test_program",
    "open_instruct_test_stdio": "POST /compat/open-instruct/test_program_stdio",
    "openai_run_grader": "POST /v1/fine_tuning/alpha/graders/run",
    "openai_validate_grader": "POST /v1/fine_tuning/alpha/graders/validate",
    "healthz": "GET /healthz",
    "readyz": "GET /readyz",
    "metrics": "GET /metrics",
}
"""Generated clients name their functions after these: none changes, and none goes."""
FOREIGN = re.compile(r" (/compat/|/v1/fine_tuning/)")
"""Paths on which a key may stand in the URL."""
KEYLESS = {"healthz", "readyz", "metrics", "sandbox_fusion_ping"}
UNRECORDED = {
    "check_golds",
    "sandbox_fusion_run_code",
    "test_backend",
    "openai_validate_grader",
    "nemo_gym_seed_session",
    "nemo_gym_close_session",
    "nemo_gym_aggregate_metrics",
    "roll_submit",
    "roll_result_by_post",
}
"""POSTs that leave nothing behind, and so have nothing to repeat; ROLL's samples are known by their content."""
BODILESS = {"replay_score", "test_backend"}


@pytest.fixture(scope="module")
def document(service: Service) -> dict[str, Any]:
    made: dict[str, Any] = ok(service.get("/openapi.json", key=None))
    return made


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def schema_at(document: dict[str, Any], reference: str) -> dict[str, Any]:
    """The schema that a `$ref` of the document names, as one that stands alone."""
    assert reference.startswith("#/components/schemas/")
    assert reference.rsplit("/", 1)[1] in document["components"]["schemas"]
    return {"$ref": reference, "components": document["components"]}


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(child)


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    jsonschema.Draft202012Validator(OPENAPI_31).validate(document)
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for node in walk(document):
        if isinstance(node.get("$ref"), str):
            schema_at(document, node["$ref"])
        for target in node.get("discriminator", {}).get("mapping", {}).values():
            schema_at(document, target)


def test_every_schema_is_used(document: dict[str, Any]) -> None:
    used = {node["$ref"].rsplit("/", 1)[1] for node in walk(document) if isinstance(node.get("$ref"), str)}
    assert set(document["components"]["schemas"]) == used


def test_operations_keep_their_ids(document: dict[str, Any]) -> None:
    assert {operation["operationId"]: at for at, operation in operations(document)} == OPERATIONS


def test_every_operation_says_what_it_does_and_how_it_fails(document: dict[str, Any]) -> None:
    for at, operation in operations(document):
        assert operation["summary"], at
        assert operation["description"], at
        assert operation["tags"], at
        content = operation["responses"]["default"]["content"]
        if operation["operationId"].startswith("openai_"):
            assert content["application/json"]["schema"]["required"] == ["error"], at
        else:
            assert content == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}, at
        assert "422" not in operation["responses"], at
        assert any(status.startswith("2") for status in operation["responses"]), at
        keyless = operation["operationId"] in KEYLESS
        keys: list[dict[str, list[str]]] = [{"bearer": []}]
        if FOREIGN.search(at):
            keys.append({"key": []})
        assert operation.get("security") == (None if keyless else keys), at
    for parameter in (parameter for _, o in operations(document) for parameter in o.get("parameters", ())):
        assert parameter["schema"]
        assert parameter["description"], parameter["name"]
    groups = [tag["name"] for tag in document["tags"]]
    assert all(tag["description"] for tag in document["tags"])
    assert {tag for _, operation in operations(document) for tag in operation["tags"]} == set(groups)
    assert len(groups) == len(set(groups))


def test_every_post_takes_an_idempotency_key_and_every_body_is_described(document: dict[str, Any]) -> None:
    for at, operation in operations(document):
        names = [parameter["name"] for parameter in operation.get("parameters", ())]
        recorded = at.startswith("POST") and operation["operationId"] not in UNRECORDED
        assert ("Idempotency-Key" in names) == recorded, at
        takes_body = at.startswith(("POST", "PATCH")) and operation["operationId"] not in BODILESS
        assert ("requestBody" in operation) == takes_body, at


def test_the_problem_types_are_the_documented_ones(document: dict[str, Any]) -> None:
    types = document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
    assert set(types) == {TYPE_PREFIX + name for name in PROBLEMS}


def test_examples_fit_their_schemas(document: dict[str, Any]) -> None:
    seen = 0
    for node in walk(document["components"]["schemas"]):
        examples = node.get("examples")
        if not isinstance(examples, list) or ("type" not in node and "oneOf" not in node and "anyOf" not in node):
            continue
        for example in examples:
            jsonschema.validate(example, {**node, "components": document["components"]})
            seen += 1
    assert seen >= 10


@pytest.mark.parametrize(
    ("path", "model", "status"), [("/score", "ScoreRequest", 200), ("/verifiers", "RegisterRequest", 201)]
)
def test_the_examples_of_bodies_do_what_they_show(
    document: dict[str, Any], project: Project, path: str, model: str, status: int
) -> None:
    examples = document["components"]["schemas"][model]["examples"]
    assert examples
    for example in examples:
        answer = ok(project.post(path, example), status)
        if path == "/score":
            assert answer["summary"]["unscored"] == 0


@pytest.mark.parametrize("base", ["InlineVerifier", "RegisterRequest"])
def test_kinds_are_told_apart_by_their_name(document: dict[str, Any], base: str) -> None:
    union = document["components"]["schemas"][base]
    assert union["discriminator"]["propertyName"] == "kind"
    assert set(union["discriminator"]["mapping"]) == set(KINDS)
    for kind, reference in union["discriminator"]["mapping"].items():
        member = document["components"]["schemas"][reference.rsplit("/", 1)[1]]
        assert member["properties"]["kind"]["const"] == kind
        assert "kind" in member["required"]
    body = {"kind": "regex", "config": {"pattern": "a"}} | ({"name": "a"} if base == "RegisterRequest" else {})
    schema = schema_at(document, f"#/components/schemas/{base}")
    jsonschema.validate(body, schema)
    for broken in ({"config": {"pattern": 5}}, {"config": {"patern": "a"}}, {"kind": "none"}, {"more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**body, **broken}, schema)


def test_answers_are_as_the_document_says(document: dict[str, Any], project: Project) -> None:
    def check(operation_id: str, answer: Any, status: str = "200") -> None:
        method, path = OPERATIONS[operation_id].split(" ")
        content = document["paths"][path][method.lower()]["responses"][status]["content"]
        schema = {**content["application/json"]["schema"], "components": document["components"]}
        jsonschema.validate(answer, schema, format_checker=jsonschema.FormatChecker())

    items = [{"completion": "a", "reference": "a"}, {"id": "\ud800", "completion": 5}, {"completion": "b"}]
    answer = project.score("text", *items, options={"on_error": "zero", "detail": "full"}, run="r", step=1)
    check("score", answer)
    score_id = answer["items"][0]["score_id"]
    check("list_scores", ok(project.get("/scores?limit=2")))
    check("get_score", ok(project.get(f"/scores/{score_id}")))
    check("replay_score", ok(project.post(f"/scores/{score_id}/replay")))
    check("list_kinds", ok(project.get("/kinds")))
    body = {"name": "a", "kind": "text", "examples": [{"completion": "a", "reference": "a", "expect": ">=1"}]}
    check("register_verifier", ok(project.post("/verifiers", body), 201), "201")
    check("register_verifier", ok(project.post("/verifiers", body)))
    check("get_verifier", ok(project.get("/verifiers/a")))
    check("list_verifiers", ok(project.get("/verifiers")))
    check("list_verifier_versions", ok(project.get("/verifiers/a/versions")))
    made = ok(project.post("/keys", {"name": "a"}), 201)
    check("create_key", made, "201")
    check("list_keys", ok(project.get("/keys")))
    check("revoke_key", ok(project.delete(f"/keys/{made['id']}")))
    check("get_project", ok(project.get("/project")))
    check("change_project", ok(project.request("PATCH", "/project", {"keep": "hash"})))
    check("get_sandbox", ok(project.get("/sandbox")))
    check("sandbox_fusion_ping", ok(project.get("/compat/sandbox-fusion/v1/ping")))
    check("healthz", ok(project.get("/healthz")))
    check("readyz", ok(project.get("/readyz")))
    for refused in (project.get("/scores/x"), project.post("/score", b"{"), project.get("/nothing")):
        jsonschema.validate(refused.json(), schema_at(document, "#/components/schemas/Problem"))


SCHEMATHESIS = """
[checks]
# on_error: fail asks for a 502 where an item cannot be scored, and generated items often cannot
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "502"]
# A cursor, a language, an example or an Idempotency-Key may fit its schema and still be refused
positive_data_acceptance.enabled = false

# an example that a dead backend would have to score is told by a status that clients send again
[[operations]]
include-path-regex = "^/verifiers$"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "503"]

# they embed the verifiers of /score, whose 9,000 cases need not be gone through three times
[[operations]]
include-path-regex = "^/(compare|golds)$"
phases.coverage.enabled = false

# what no sandbox runs, or no verdict comes of, is told by a status that clients send again
[[operations]]
include-path-regex = "^/(compat|v1/fine_tuning)/"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "503", "504"]
"""


def test_a_property_based_client_finds_nothing(make_service: Callable[..., Service], tmp_path: Path) -> None:
    service = make_service()
    (tmp_path / "schemathesis.toml").write_text(SCHEMATHESIS)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json"]
    command += ["--header", f"Authorization: Bearer {service.key}", "--phases", "examples,coverage,fuzzing"]
    command += ["--max-examples", "8", "--generation-deterministic", "--suppress-health-check", "all", "--no-color"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2000:]
    assert f"Tested: {len(OPERATIONS)}" in ran.stdout
    assert "Traceback" not in service.log.read_text()

"""/kinds: what sorts of verifier there are, and by which schemas they are configured."""

from __future__ import annotations

import jsonschema
import pytest

from tests.app.api.support import Project, ok
from verifiers.base import KINDS, load_kinds

load_kinds()
NEEDED = {"math", "text", "regex", "json_schema", "format", "length", "repetition"}


def test_every_kind_is_listed_with_its_schemas(project: Project) -> None:
    page = ok(project.get("/kinds"))
    assert page["next_cursor"] is None
    listed = {kind["kind"]: kind for kind in page["items"]}
    assert set(listed) == set(KINDS) >= NEEDED
    for kind in listed.values():
        assert set(kind) == {
            "kind", "description", "revision", "deterministic", "available", "config_schema", "reference_schema",
            "examples",
        }  # fmt: skip
        assert kind["available"] is True
        assert kind["description"]
        assert "\n" not in kind["description"]
        assert kind["examples"] or kind["config_schema"]["required"]
        assert kind["revision"] >= 1
        for name in ("config_schema", "reference_schema"):
            jsonschema.Draft202012Validator.check_schema(kind[name])


@pytest.mark.parametrize("kind", sorted(kind for kind in KINDS if KINDS[kind].examples))
def test_a_registered_configuration_fits_the_schema_that_is_shown(project: Project, kind: str) -> None:
    [shown] = [listed for listed in ok(project.get("/kinds"))["items"] if listed["kind"] == kind]
    config = KINDS[kind].examples[0].config
    made = ok(project.post("/verifiers", {"name": f"own-{kind}", "kind": kind, "config": config}), 201)
    jsonschema.validate(made["config"], shown["config_schema"])
    again = {"name": f"own-{kind}", "kind": kind, "config": made["config"]}
    assert ok(project.post("/verifiers", again), 200)["version"] == 1


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_known_items_of_a_kind_score_over_http_as_in_its_self_check(project: Project, kind: str) -> None:
    for example in KINDS[kind].examples:
        item = example.item.model_dump(exclude_unset=True)
        answer = project.score({"kind": kind, "config": example.config}, item)
        assert answer["items"][0]["score"] == example.score

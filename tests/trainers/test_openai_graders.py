"""The `openai` package's own client against a live service: its graders, its response types, its exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.app.api.support import Project, new_project, ok
from tests.service import Service
from tests.verifiers.grader.support import alike, check, multi

openai = pytest.importorskip("openai", reason="the openai package is not installed")

GRADERS = [
    check(),
    {**alike("fuzzy_match"), "name": "close"},
    multi("0.5 * exact + 0.5 * close", exact=check(), close={**alike("fuzzy_match"), "name": "close"}),
    {"type": "python", "name": "code", "source": "def grade(sample, item):\n    return 0.25"},
]


@pytest.fixture
def project(service: Service) -> Project:
    return new_project(service)


@pytest.fixture
def graders(project: Project) -> Iterator[Any]:
    """What the client calls its graders. Strict: an answer that lacks a field of its type is an error."""
    url = f"{project.service.url}/v1"
    with openai.OpenAI(api_key=project.key, base_url=url, _strict_response_validation=True) as client:
        yield client.fine_tuning.alpha.graders


def test_a_run_has_the_clients_own_type(graders: Any, project: Project) -> None:
    answer = graders.run(grader=GRADERS[2], model_sample="Parts", item={"answer": "Paris"})
    assert (answer.reward, answer.sub_rewards) == (0.4, {"exact": 0.0, "close": 0.8})
    assert (answer.metadata.name, answer.metadata.type) == ("all", "multi")
    assert answer.metadata.execution_time >= 0
    assert not any(value for value in answer.metadata.errors.model_dump().values())
    assert [row["score"] for row in project.scores()] == [0.4]


@pytest.mark.parametrize("grader", [GRADERS[0], GRADERS[1], GRADERS[3]])
def test_a_valid_grader_comes_back(graders: Any, grader: dict[str, Any]) -> None:
    found = graders.validate(grader=grader).grader
    assert found is not None
    assert (found.name, found.type) == (grader["name"], grader["type"])


def test_a_function_runs(graders: Any, service: Service) -> None:
    if not ok(service.get("/sandbox"))["ready"]:
        pytest.skip("no sandbox here")
    assert graders.run(grader=GRADERS[3], model_sample="x").reward == 0.25


def test_the_client_raises_its_own_exceptions(graders: Any, project: Project) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        graders.validate(grader=multi("exact + other", exact=check()))
    assert (refused.value.param, refused.value.code) == ("grader.calculate_output", "invalid-config")
    assert "no part is named 'other'" in refused.value.message
    with pytest.raises(openai.BadRequestError) as lacks:
        graders.run(grader=check(), model_sample="x", item={})
    assert lacks.value.body["metadata"]["errors"]["invalid_variable_error"] is True
    url = f"{project.service.url}/v1"
    with openai.OpenAI(api_key="assay_wrong", base_url=url) as stranger, pytest.raises(openai.AuthenticationError):
        stranger.fine_tuning.alpha.graders.run(grader=check(), model_sample="x")
    key = project.new_key("score")
    with openai.OpenAI(api_key=key, base_url=url) as scorer, pytest.raises(openai.PermissionDeniedError):
        scorer.fine_tuning.alpha.graders.run(grader=GRADERS[3], model_sample="x")


def test_what_has_no_value_is_not_tried_again(graders: Any, project: Project) -> None:
    grader = multi("1 / exact", exact=check())
    with pytest.raises(openai.InternalServerError) as unscored:
        graders.run(grader=grader, model_sample="Rome", item={"answer": "Paris"})
    assert unscored.value.body["metadata"]["errors"]["other_error"] is True
    assert len(project.scores()) == 1
    answer = graders.run(grader=grader, model_sample="Rome", item={"answer": "Paris"}, extra_query={"fallback": 0.5})
    assert (answer.reward, answer.metadata.errors.other_error) == (0.5, True)

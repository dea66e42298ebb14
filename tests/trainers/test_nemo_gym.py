"""NeMo Gym's own resources server, with the adapter as its `verify`, in a process of its own for its openai.

The wheel asks for a newer Python than it needs for this.
"""

from __future__ import annotations

import json
from typing import Any

from tests.app.api.support import Project
from tests.trainers.environment import BAD_REFERENCE, OUTAGE_S, PROMPT, RIGHT, WRONG
from tests.trainers.foreign import run
from tests.trainers.gate import Gate

SERVER = """
import json, sys
from unittest.mock import MagicMock
from fastapi.testclient import TestClient
from nemo_gym.base_resources_server import (
    BaseResourcesServerConfig, BaseVerifyRequest, BaseVerifyResponse, SimpleResourcesServer
)
from nemo_gym.server_utils import ServerClient
from pydantic import ConfigDict
from trainer_client.adapters.nemo_gym import verified

deadline_s, bodies = json.loads(sys.argv[1])


class Request(BaseVerifyRequest):
    model_config = ConfigDict(extra="allow")


class Response(BaseVerifyResponse):
    model_config = ConfigDict(extra="allow")


class AssayServer(SimpleResourcesServer):
    async def verify(self, body: Request) -> Response:
        return Response.model_validate(await verified("math", body.model_dump(mode="json"), deadline_s=deadline_s))


config = BaseResourcesServerConfig(host="127.0.0.1", port=1, entrypoint="app.py", name="assay")
server = AssayServer(config=config, server_client=MagicMock(spec=ServerClient))
with TestClient(server.setup_webserver()) as client:
    for body in bodies:
        answer = client.post("/verify", json=body)
        assert answer.status_code == 200, answer.text
        print("RESULT", answer.text)
"""


def sample(completion: str, reference: Any = "42") -> dict[str, Any]:
    """What its agent sends: the parameters, the model's Response, and the fields of the dataset's row."""
    text = {"type": "output_text", "text": completion, "annotations": []}
    message = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    response = {
        "id": "r", "object": "response", "created_at": 0, "model": "policy", "output": [message], "tools": [],
        "parallel_tool_calls": True, "tool_choice": "auto",
    }  # fmt: skip
    parameters = {"input": [{"role": "user", "content": PROMPT}]}
    return {"responses_create_params": parameters, "response": response, "expected_answer": reference, "row": 7}


def verified(*samples: dict[str, Any], deadline_s: float = 60) -> list[Any]:
    return run("nemo-gym", SERVER, json.dumps([deadline_s, samples])).results


def test_its_server_verifies_here_and_an_outage_of_twenty_seconds_costs_nothing(assay: Project, gate: Gate) -> None:
    gate.close_at_next_for_s = OUTAGE_S  # as it asks first
    right, wrong, unscored = verified(sample(RIGHT), sample(WRONG), sample(RIGHT, BAD_REFERENCE))
    assert gate.refused_for_s == OUTAGE_S
    assert [(one["reward"], one["mask_sample"]) for one in (right, wrong)] == [(1.0, False), (0.0, False)]
    assert (unscored["mask_sample"], unscored["failure_kind"]) == (True, "verifier_error")
    assert unscored["instance_config"]["mask_sample"] is True
    assert (right["row"], right["expected_answer"]) == (7, "42")
    assert [row["outcome"] for row in assay.scores()] == ["unscored", "incorrect", "correct"]


def test_an_outage_without_an_end_masks_the_sample(assay: Project, gate: Gate) -> None:
    gate.close()
    [lost] = verified(sample(RIGHT), deadline_s=2)
    assert (lost["mask_sample"], lost["failure_kind"]) == (True, "transport_unreachable")

"""NeMo Gym: the `verify` of a resources server of one's own.

NeMo Gym starts its resources servers itself, and reaches them by host and port alone. The lines of `app.py`:

    class AssayServer(SimpleResourcesServer):
        async def verify(self, body: Request) -> Response:
            return Response.model_validate(await verified("math", body.model_dump(mode="json")))

where `Request` and `Response` are its `BaseVerifyRequest` and `BaseVerifyResponse` with `extra="allow"`, so that the
dataset's fields come along. An unscored sample is masked, and so is one that an outage left without a verdict; NeMo
Gym leaves masked samples out. Checked against NeMo Gym 0.7.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from trainer_client.adapters.scoring import OUTAGES, async_reward_client, logger

DEADLINE_S = 120.0


async def verified(verifier: str, body: Mapping[str, Any], *, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
    """The request with `reward`, `mask_sample`, `failure_kind` and `failure_reason`, as `verify` answers it."""
    path = f"/compat/nemo-gym/{quote(verifier, safe='@')}/verify?deadline_s={0.8 * deadline_s}"
    try:
        answer: dict[str, Any] = await async_reward_client().request("POST", path, dict(body), deadline_s=deadline_s)
    except OUTAGES as error:
        logger.warning("a sample has no score: %s", error)
        return {
            **body,
            "reward": 0.0,
            "mask_sample": True,
            "failure_kind": "transport_unreachable",
            "failure_reason": str(error),
            "instance_config": {**(body.get("instance_config") or {}), "mask_sample": True},  # NeMo RL looks there
        }
    return answer

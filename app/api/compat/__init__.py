"""Protocols of other services, answered so that their clients can be pointed here: one file each."""

from app.api.compat import (
    azure,
    batch,
    bedrock,
    common_oj,
    nemo_gym,
    open_instruct,
    openai_graders,
    openrlhf,
    reward_kit,
    roll,
    sandbox_fusion,
    slime,
)

ROUTERS = tuple(
    protocol.router
    for protocol in (
        openrlhf,
        slime,
        nemo_gym,
        roll,
        azure,
        bedrock,
        reward_kit,
        batch,
        sandbox_fusion,
        common_oj,
        open_instruct,
        openai_graders,
    )
)

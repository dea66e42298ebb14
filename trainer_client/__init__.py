"""The client of Assay, a reward service: scores completions for a trainer.

from trainer_client import RewardClient

verdicts = RewardClient().score("math", completions=["It is 42."], references=["42"])
"""

from __future__ import annotations

from trainer_client.async_client import AsyncRewardClient
from trainer_client.client import RewardClient
from trainer_client.errors import (
    AssayError,
    AuthError,
    ConflictError,
    DeadlineError,
    ForbiddenError,
    InvalidRequestError,
    ItemsUnscoredError,
    NotAssayError,
    NotFoundError,
    RefusedError,
    ServiceFaultError,
    ServiceUnavailableError,
    UnknownVerifierError,
)
from trainer_client.results import Comparison, Pair, Preferred, Step, TakenSignal, Verdict, VerdictError

__all__ = [
    "AssayError",
    "AsyncRewardClient",
    "AuthError",
    "Comparison",
    "ConflictError",
    "DeadlineError",
    "ForbiddenError",
    "InvalidRequestError",
    "ItemsUnscoredError",
    "NotAssayError",
    "NotFoundError",
    "Pair",
    "Preferred",
    "RefusedError",
    "RewardClient",
    "ServiceFaultError",
    "ServiceUnavailableError",
    "Step",
    "TakenSignal",
    "UnknownVerifierError",
    "Verdict",
    "VerdictError",
]

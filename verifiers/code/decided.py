"""How work on an item ends before its tests are through."""

from __future__ import annotations

from typing import Any

from verifiers.base import Outcome, Verdict


class DecidedError(Exception):
    """Raised where nothing that follows can change the verdict."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(str(verdict.outcome))
        self.verdict = verdict


def failed(outcome: Outcome, stage: str, why: str, **detail: Any) -> DecidedError:
    """The candidate's fault, with score 0."""
    return DecidedError(Verdict(outcome, 0.0, {"stage": stage, "why": why, **detail}))

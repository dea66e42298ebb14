"""What can go wrong with a grader, in the words of OpenAI's protocol, and the verdicts that it leaves.

A verdict's `detail` has the fault's name as `fault` and, where the item has a score all the same, its reason as
`message`. The names are the flags of `metadata.errors` in the answer of OpenAI's `graders/run`.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Any

from verifiers.base import ErrorType, Outcome, Verdict, VerdictError, clip

MAX_MESSAGE = 500
"""Characters of a fault's reason."""


class Fault(StrEnum):
    """The flags that a grader of ours can raise."""

    INVALID_VARIABLE = "invalid_variable_error"
    """The item has no field that a template names. The item's doing."""
    SAMPLE_PARSE = "sample_parse_error"
    """The sample has not what a template names: it is no JSON, or it called no tool. The candidate's doing."""
    MODEL_PARSE = "model_grader_parse_error"
    MODEL_REFUSAL = "model_grader_refusal_error"
    MODEL_SERVER = "model_grader_server_error"
    PYTHON_RUNTIME = "python_grader_runtime_error"
    PYTHON_SERVER = "python_grader_server_error"
    OTHER = "other_error"


class ItemFaultError(Exception):
    """The item lacks what a template names; the item cannot be scored."""


class SampleFaultError(Exception):
    """The sample lacks what a template names, or is too long: it gets the lowest grade."""

    def __init__(self, message: str, outcome: Outcome = Outcome.UNPARSEABLE) -> None:
        super().__init__(message)
        self.outcome = outcome


def spoilt(stage: str, error: SampleFaultError, lowest: float = 0.0) -> Verdict:
    """The verdict of a sample that a grader cannot read: the lowest grade, for it is the candidate's doing."""
    detail = {"stage": stage, "fault": str(Fault.SAMPLE_PARSE), "message": clip(str(error), MAX_MESSAGE)}
    return Verdict(error.outcome, lowest, detail)


def bad_item(stage: str, fault: Fault, message: str) -> Verdict:
    """The verdict of an item that a grader cannot use."""
    return with_fault(Verdict.bad_item(clip(message, MAX_MESSAGE)), stage, fault)


def unscored(stage: str, fault: Fault, error: VerdictError, **more: Any) -> Verdict:
    """The verdict where something that is not the candidate failed."""
    verdict = Verdict.unscored(error.type, clip(error.message, MAX_MESSAGE), retryable=error.retryable)
    return with_fault(verdict, stage, fault, **more)


def with_fault(verdict: Verdict, stage: str, fault: Fault, **more: Any) -> Verdict:
    """The verdict with its stage and its fault."""
    return replace(verdict, detail={"stage": stage, "fault": str(fault), **more})


def error_of(verdict: Verdict) -> VerdictError:
    """Why a verdict has no score."""
    return verdict.error or VerdictError(ErrorType.VERIFIER_FAULT, "has no score and no error", retryable=False)

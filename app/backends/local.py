"""Reward models that Assay serves itself, as backends. Nothing here needs torch: the model's process does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import Field

from app.backends.rewarding import SEPARATOR
from app.models.process import LocalModel, ModelSpec, ModelUnavailableError
from verifiers.base import ErrorType, Strict
from verifiers.lent import BackendError, Reward, Solution, StepScores

MODELS = "models"
"""The folder below ASSAY_HOME that holds the sockets and locks of the host's models."""
_ERRORS = {
    "input": (ErrorType.BAD_ITEM, False),
    "overflow": (ErrorType.CONTEXT_OVERFLOW, False),
    "busy": (ErrorType.BACKEND_UNAVAILABLE, True),
    "ended": (ErrorType.BACKEND_FAULT, False),
}


class LocalOptions(Strict):
    """A model that Assay serves itself (`pip install 'assay[models]'`)."""

    model: str = Field(
        min_length=1,
        max_length=500,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="A folder of the service's host, or owner/name at the Hugging Face hub. Weights in safetensors.",
        examples=["/models/skywork-reward-8b"],
    )
    steps: bool = Field(False, description="A process reward model, for the kind `process`.")
    separator: str = Field(
        "<extra_0>",
        max_length=50,
        pattern=SEPARATOR,
        description="Of a process reward model: the token that ends a step.",
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d{1,2})?)$",
        description="auto: a GPU where there is one. bfloat16 on a GPU, float32 on a CPU.",
    )
    threads: int = Field(1, ge=1, le=256, description="CPU threads of the model.")
    max_tokens: int | None = Field(
        None,
        ge=16,
        le=10**6,
        description="Most tokens of a conversation, its beginning is cut. null: the model's own.",
    )
    batch_tokens: int = Field(16_384, ge=256, le=10**7, description="Most tokens of a batch, padding included.")
    latency_ms: float = Field(
        4.0, ge=0, le=1_000, description="How long an idle model waits for more to come before it starts a batch."
    )

    def spec(self) -> ModelSpec:
        """How its process is started."""
        return ModelSpec(**self.model_dump())


class LocalServer:
    """Scores with a model of this host; its process is started when it is first asked."""

    def __init__(self, name: str, options: LocalOptions, home: Path, id: UUID | None = None) -> None:
        self.id = id
        self._name = name
        self._options = options
        self._model = LocalModel(options.spec(), home / MODELS)
        self.running = 0
        """Requests that wait or run."""

    async def rewards(self, conversations: Sequence[Sequence[Mapping[str, str]]], *, deadline: float) -> list[Reward]:
        """See `verifiers.lent.Backends.rewards`."""
        if self._options.steps:
            return [Reward(None, self._fault("is a process reward model; it scores steps"))] * len(conversations)
        inputs = [{"messages": [dict(message) for message in messages]} for messages in conversations]
        outputs = await self._outputs(inputs, deadline)
        if isinstance(outputs, BackendError):
            return [Reward(None, outputs)] * len(inputs)
        return [self._reward(output) for output in outputs]

    async def steps(self, solutions: Sequence[Solution], *, deadline: float) -> list[StepScores]:
        """See `verifiers.lent.Backends.steps`."""
        if not self._options.steps:
            fault = self._fault(
                "is a reward model, which scores no steps; a process reward model is added with steps"
            )
            return [StepScores(None, fault)] * len(solutions)
        inputs = [
            {"messages": [dict(message) for message in solution.messages], "steps": list(solution.steps)}
            for solution in solutions
        ]
        outputs = await self._outputs(inputs, deadline)
        if isinstance(outputs, BackendError):
            return [StepScores(None, outputs)] * len(inputs)
        return [self._step_scores(output) for output in outputs]

    async def close(self) -> None:
        """Stop the model's process, if it is this process's."""
        await self._model.close()

    async def _outputs(
        self, inputs: Sequence[dict[str, Any]], deadline: float
    ) -> list[dict[str, Any]] | BackendError:
        self.running += 1
        try:
            return await self._model.score(inputs, deadline=deadline)
        except ModelUnavailableError as error:
            message = f"the backend {self._name}: {error}"
            return BackendError(ErrorType.BACKEND_UNAVAILABLE, message, retryable=True)
        finally:
            self.running -= 1

    def _reward(self, output: dict[str, Any]) -> Reward:
        if (error := self._error(output)) is not None:
            return Reward(None, error)
        if output["score"] is None:
            return Reward(None, self._fault("gave a score that is not a finite number"))
        return Reward(output["score"], None, output["tokens"], output["truncated"])

    def _step_scores(self, output: dict[str, Any]) -> StepScores:
        if (error := self._error(output)) is not None:
            return StepScores(None, error)
        if None in output["steps"]:
            return StepScores(None, self._fault("gave a score that is not a finite number"))
        return StepScores(tuple(output["steps"]), None, output["tokens"], output["truncated"])

    def _error(self, output: dict[str, Any]) -> BackendError | None:
        if "error" not in output:
            return None
        type, retryable = _ERRORS.get(output["error"], (ErrorType.BACKEND_FAULT, False))
        return BackendError(type, f"the backend {self._name}: {output['message']}", retryable=retryable)

    def _fault(self, what: str) -> BackendError:
        return BackendError(ErrorType.BACKEND_FAULT, f"the backend {self._name} {what}", retryable=False)

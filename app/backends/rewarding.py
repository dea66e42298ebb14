"""Reward models behind HTTP: what each sort of server is asked, and what its answer means.

- `classify`: vLLM's /classify with chat messages, and use_activation false for the raw logit
  (vllm/entrypoints/pooling/classify/protocol.py);
- `score`: vLLM's /score, a pair of texts (vllm/entrypoints/pooling/scoring/protocol.py);
- `pooling`: vLLM's /pooling of a process reward model: the probabilities of "wrong" and "right" at each separator;
- `sglang`: SGLang's /classify, which takes text by the model's own template
  (https://docs.sglang.io/basic_usage/native_api.html);
- `tei`: text-embeddings-inference's /predict, a pair of texts, and raw_scores
  (huggingface/text-embeddings-inference, router/src/http/types.rs).

All of them merge single requests into batches themselves, so each conversation is a request of its own: one that is
refused takes no other along.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from verifiers.base import ErrorType, Strict
from verifiers.lent import BackendError, Reward, Solution, StepScores

Messages = Sequence[Mapping[str, str]]
Post = Callable[[Any, float], Awaitable[Any]]
"""Sends a JSON value by a deadline; the answer's JSON value. Raises `BackendError`."""

RewardType = Literal["classify", "score", "pooling", "sglang", "tei"]
STEP_TYPES: frozenset[RewardType] = frozenset(("pooling",))
"""Those that give scores of steps; the others give one number."""
SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
"""What Qwen2.5-Math-PRM was trained with; where a prompt has no system message."""
SEPARATOR = r"^(\S.*\S|\n+)$"
"""What can end a step: something that `without` can break where a text spells it out."""
_MARK = re.compile(r"<[^<>\s]{1,50}>|\[/?[A-Z]{2,20}\]")
"""What in a model's template looks like a token of its own: `<|im_end|>`, `[INST]`."""
_PLACE = re.compile(r"\{(role|content)\}")
_OVERFLOW = ("context length", "maximum length", "max_model_len", "longer than the model", "must have less than")
"""What servers say of a text with too many tokens."""


class ServedModel(Strict):
    """What a backend that serves a reward model has besides its address."""

    model: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="The model's name at that server. null: the one that it serves.",
    )
    separator: str = Field(
        "<extra_0>",
        max_length=50,
        pattern=SEPARATOR,
        description="For `pooling`: the token that ends a step; two characters or more, or line breaks.",
    )
    turn: str = Field(
        "<|im_start|>{role}\n{content}<|im_end|>\n",
        max_length=2_000,
        pattern=r"\{role\}[\s\S]*\{content\}",
        description="For `sglang`: what one message of a conversation becomes, by the model's chat template.",
    )


class RewardOptions(ServedModel):
    """What a backend of the type `reward` has besides its URL."""

    api: RewardType = Field(
        description="What the server speaks. classify, score: vLLM's /classify and /score; pooling: vLLM's /pooling "
        "of a process reward model; sglang: SGLang's /classify; tei: text-embeddings-inference's /predict."
    )


class _AnswerError(Exception):
    """An answer that is none; says what it lacks."""


class RewardServer:
    """Scores with one such server. Concurrency, tries and time-outs are `post`'s."""

    def __init__(self, name: str, type: RewardType, served: ServedModel, post: Post) -> None:
        self._name = name
        self._type = type
        self._served = served
        self._post = post

    async def rewards(self, conversations: Sequence[Messages], *, deadline: float) -> list[Reward]:
        """See `verifiers.lent.Backends.rewards`."""
        if self._type in STEP_TYPES:
            return [Reward(None, self._fault("serves a process reward model; it scores steps"))] * len(conversations)
        return list(await asyncio.gather(*(self._reward(messages, deadline) for messages in conversations)))

    async def steps(self, solutions: Sequence[Solution], *, deadline: float) -> list[StepScores]:
        """See `verifiers.lent.Backends.steps`."""
        if self._type not in STEP_TYPES:
            return [StepScores(None, self._fault("serves a reward model, which scores no steps"))] * len(solutions)
        return list(await asyncio.gather(*(self._steps(solution, deadline) for solution in solutions)))

    async def _reward(self, messages: Messages, deadline: float) -> Reward:
        try:
            answer = await self._post(self._asked(messages), deadline)
            return Reward(self._heard(answer), tokens=_tokens(answer))
        except BackendError as error:
            return Reward(None, error)
        except _AnswerError as error:
            return Reward(None, self._fault(f"gave {error}"))

    async def _steps(self, solution: Solution, deadline: float) -> StepScores:
        try:
            body = self._named({"messages": self._separated(solution)})
            answer = await self._post(body, deadline)
            scores = tuple(_right(one) for one in _list(_only(answer), "data"))
            if len(scores) != len(solution.steps):
                raise _AnswerError(f"{len(scores)} scores for {len(solution.steps)} steps")
            return StepScores(scores, tokens=_tokens(answer))
        except BackendError as error:
            return StepScores(None, error)
        except _AnswerError as error:
            return StepScores(None, self._fault(f"gave {error}"))

    def _asked(self, messages: Messages) -> dict[str, Any]:
        """The request about one conversation. Raises `BackendError` where the server cannot be asked about it."""
        match self._type:
            case "classify":
                return self._named({"messages": [dict(message) for message in messages], "use_activation": False})
            case "sglang":
                return self._named({"text": ["".join(map(self._turn, messages))]})
            case "score":
                prompt, completion = self._pair(messages)
                return self._named({"text_1": prompt, "text_2": completion, "use_activation": False})
            case _:
                return {"inputs": [list(self._pair(messages))], "raw_scores": True, "truncate": False}

    def _heard(self, answer: Any) -> float:
        """The score that an answer means. Raises `_AnswerError`."""
        match self._type:
            case "classify":
                probabilities = _list(_only(answer), "probs")
                if len(probabilities) != 1:
                    raise _AnswerError(f"{len(probabilities)} classes; a reward model has one")
                return _number(probabilities[0])
            case "sglang":
                [embedding] = _one(answer)
                values = _list(embedding, "embedding")
                if len(values) != 1:
                    raise _AnswerError(f"{len(values)} numbers for a text; a reward model gives one")
                return _number(values[0])
            case "score":
                return _number(_member(_only(answer), "score"))
            case _:
                [labels] = _one(answer)
                if not isinstance(labels, list) or len(labels) != 1:
                    raise _AnswerError("another number of labels than one, which a reward model has")
                return _number(_member(labels[0], "score"))

    def _turn(self, message: Mapping[str, str]) -> str:
        """One message by the template; the marks of turns that are in the template are broken in what was said."""
        said = {"role": message["role"], "content": message["content"]}
        for mark in set(_MARK.findall(self._served.turn)):
            said = {name: without(text, mark) for name, text in said.items()}
        return _PLACE.sub(lambda place: said[place[1]], self._served.turn)

    def _pair(self, messages: Messages) -> tuple[str, str]:
        """Prompt and completion, for models that read two texts. Raises `BackendError`."""
        said = [message for message in messages if message["role"] != "system"]
        if len(said) > 2 or len(said) < len(messages):
            message = f"the backend {self._name} reads one prompt and one completion, and no other messages"
            raise BackendError(ErrorType.BAD_ITEM, message, retryable=False)
        return ("" if len(said) == 1 else said[0]["content"]), said[-1]["content"]

    def _separated(self, solution: Solution) -> list[dict[str, str]]:
        """The solution as messages, a separator behind every step and nowhere else."""
        separator = self._served.separator
        messages = [
            {"role": message["role"], "content": without(message["content"], separator)}
            for message in solution.messages
        ]
        if not any(message["role"] == "system" for message in messages):
            messages.insert(0, {"role": "system", "content": SYSTEM})
        said = "".join(without(step, separator) + separator for step in solution.steps)
        return [*messages, {"role": "assistant", "content": said}]

    def _named(self, body: dict[str, Any]) -> dict[str, Any]:
        return body if self._served.model is None else {"model": self._served.model, **body}

    def _fault(self, what: str) -> BackendError:
        return BackendError(ErrorType.BACKEND_FAULT, f"the backend {self._name} {what}", retryable=False)


def without(text: str, mark: str) -> str:
    """The text, which says the same to a reader, with a space inside each place that spells out the mark."""
    broken = f"{mark[0]} {mark[1:]}" if len(mark) > 1 else " "
    while mark in text:  # again where one place overlapped another
        text = text.replace(mark, broken)
    return text


def overflowed(status: int, content: Any) -> bool:
    """Whether a refusal says that the text has too many tokens: TEI's 413, or what others say with a 400 or 422."""
    said = content.get("error") if isinstance(content, dict) else None
    if isinstance(said, dict):
        said = said.get("message")
    if said is None and isinstance(content, dict):
        said = content.get("message")
    text = said.lower() if isinstance(said, str) else ""
    return status in (400, 413, 422) and any(sign in text for sign in _OVERFLOW)


def _one(answer: Any) -> list[Any]:
    if not isinstance(answer, list) or len(answer) != 1:
        raise _AnswerError("an answer that is no list of one element")
    return answer


def _only(answer: Any) -> Any:
    """The one element of `data`."""
    data = _list(answer, "data")
    if len(data) != 1:
        raise _AnswerError(f"{len(data)} results for one conversation")
    return data[0]


def _member(value: Any, name: str) -> Any:
    if not isinstance(value, dict) or name not in value:
        raise _AnswerError(f"an answer without {name!r}")
    return value[name]


def _list(value: Any, name: str) -> list[Any]:
    found = _member(value, name)
    if not isinstance(found, list):
        raise _AnswerError(f"an answer whose {name!r} is no list")
    return found


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise _AnswerError("a score that is not a finite number")
    return float(value)


def _right(value: Any) -> float:
    """The second of a step's two probabilities."""
    if not isinstance(value, list) or len(value) != 2:
        raise _AnswerError("a step that has not two probabilities")
    wrong, right = map(_number, value)
    if min(wrong, right) < -0.01 or abs(wrong + right - 1) > 0.05:
        raise _AnswerError("a step's two numbers that are no probabilities")
    return right


def _tokens(answer: Any) -> int | None:
    """What the server says that it read, where it does."""
    usage = answer.get("usage") if isinstance(answer, dict) else None
    if isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], dict):
        usage = answer[0].get("meta_info")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return tokens if type(tokens) is int and tokens >= 0 else None

"""Asking a judge about a case: the prompt, the call, and the verdict in the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verifiers.base import ConfigError, ErrorType, clip
from verifiers.chat import MAX_TOP_LOGPROBS, ChatAnswer, ChatMessage, ChatRequest
from verifiers.judge import wording
from verifiers.judge.answers import LOGPROB_TOKENS, AnswerError, Asked, Custom, Form
from verifiers.judge.config import JudgeConfig
from verifiers.judge.fencing import Shown, fence, nonce_for, shown
from verifiers.judge.modes import Case, ModeRules, Question
from verifiers.judge.pace import Pace
from verifiers.judge.templates import Prompt, TemplateFaultError
from verifiers.lent import BackendError, Backends
from verifiers.regex.patterns import Linear, PatternError, compile_linear

_HEADINGS = {
    "prompt": "TASK",
    "completion": "RESPONSE",
    "first": "RESPONSE-A",
    "second": "RESPONSE-B",
    "reference": "ANSWER",
}


@dataclass(frozen=True, slots=True)
class Ready:
    """A case whose texts are harmless and fenced."""

    nonce: str
    texts: Mapping[str, str]
    """By the names of the template's variables, without their fences; those that are empty, too."""
    shown: Mapping[str, Shown]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one call."""

    verdicts: Mapping[str, float]
    """By name; empty where there is an error."""
    answer: ChatAnswer | None
    error: BackendError | None = None


class Asker:
    """A configuration's prompt and the reading of its answers."""

    def __init__(self, config: JudgeConfig, rules: ModeRules) -> None:
        """Compile the template. Raises `ConfigError`."""
        self._config = config
        self._custom = _custom(config)
        own = config.template is not None
        self._prompt = Prompt(
            rules.template if config.template is None else config.template, rules.variables, "/template"
        )
        for name in rules.must_show:
            if own and name not in self._prompt.shows:
                raise ConfigError(f"the template never shows {name}: put {{{{ {name} }}}} into it", "/template")
        self._system = f"{config.system or wording.SYSTEM}\n\n{wording.NOTICE}"
        self._instructions = config.instructions or wording.INSTRUCTIONS[config.mode]

    async def ready(self, case: Case) -> Ready:
        """Make a case's texts harmless."""
        verdicts: Any = None if self._custom is None else self._custom.pattern.compiled
        found = {name: await shown(text, self._config.max_chars, verdicts) for name, text in case.texts.items()}
        texts = {name: one.text for name, one in found.items()}
        return Ready(nonce_for(list(texts.values())), texts, found)

    async def ask(
        self,
        ready: Ready,
        question: Question,
        form: Form,
        backend: str,
        sample: int,
        backends: Backends,
        *,
        deadline: float,
        pace: Pace,
    ) -> Reply:
        """One call, and the verdicts in its answer; a fault of either is in the reply. Returns by the deadline."""
        asked = Asked(question.offers, self._config.explain)
        try:
            async with pace:
                request = self._request(ready, question, asked, form, sample)
            answer = await backends.chat(backend, request, deadline=deadline)
        except BackendError as error:
            return Reply({}, None, error)
        try:
            async with pace:
                return Reply(asked.read(answer, form, ready.nonce, self._custom), answer)
        except AnswerError as error:
            backends.discard(backend, request)
            again = self._config.temperature > 0 and self._config.seed is None
            final = error.type is ErrorType.CONTENT_FILTERED
            return Reply({}, answer, BackendError(error.type, str(error), retryable=again and not final))

    def _request(self, ready: Ready, question: Question, asked: Asked, form: Form, sample: int) -> ChatRequest:
        config = self._config
        try:
            prompt = self._prompt.text(self._variables(ready, question))
        except TemplateFaultError as error:
            raise BackendError(ErrorType.BAD_ITEM, str(error), retryable=False) from None
        if self._custom is None:
            prompt = f"{prompt.rstrip()}\n\n{asked.instruction(form, ready.nonce)}"
        return ChatRequest(
            (ChatMessage("system", self._system), ChatMessage("user", prompt)),
            max_tokens=LOGPROB_TOKENS if form == "logprobs" else config.max_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            seed=None if config.seed is None else config.seed + sample,
            json_schema=asked.schema() if form == "schema" else None,
            top_logprobs=MAX_TOP_LOGPROBS if form == "logprobs" else 0,
        )

    def _variables(self, ready: Ready, question: Question) -> dict[str, Any]:
        texts = dict(ready.texts)
        if question.swapped:
            texts["first"], texts["second"] = texts["second"], texts["first"]
        fenced = {name: fence(_HEADINGS[name], text, ready.nonce) if text else "" for name, text in texts.items()}
        return {"instructions": self._instructions, **fenced, **question.extra}


async def form_of(config: JudgeConfig, backend: str, backends: Backends) -> Form:
    """How a judge is to answer. Raises `BackendError`."""
    if config.marker is not None:
        return "marker"
    if config.output != "auto":
        return config.output
    return "schema" if (await backends.abilities(backend)).json_schema else "marker"


def check_output(config: JudgeConfig, rules: ModeRules) -> None:
    """Raise `ConfigError` where the way of answering and the mode do not fit."""
    if config.output == "logprobs" and not rules.logprobs():
        raise ConfigError(
            "one token must be the whole verdict: set a scale of whole numbers within 0 to 9, or calls to each",
            "/output",
        )
    if config.marker is None:
        return
    if config.template is None:
        raise ConfigError("belongs to a template of your own, which says how to answer", "/marker")
    if config.output not in ("auto", "marker"):
        raise ConfigError(f"a marker and the output {config.output} exclude each other", "/marker")
    if config.calls == "all" and config.mode in ("rubric", "principles") and config.combine == "explicit":
        raise ConfigError("finds one verdict in an answer; set calls to each", "/marker")


def _custom(config: JudgeConfig) -> Custom | None:
    if config.marker is None:
        return None
    at = "/marker/pattern"
    try:
        pattern = compile_linear(config.marker.pattern, captures=True)
    except PatternError as error:
        raise ConfigError(str(error), at) from None
    if not isinstance(pattern, Linear):
        raise ConfigError(f"the pattern must be RE2: {clip(pattern)}", at)
    if not pattern.compiled.groups:
        raise ConfigError("the pattern must have a group, which holds the verdict", at)
    return Custom(pattern, {found.casefold(): said for found, said in config.marker.words.items()})

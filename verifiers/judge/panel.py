"""The panel: every judge's calls about a case, and the verdict that they come to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from verifiers.base import ErrorType, clip
from verifiers.judge.answers import Form
from verifiers.judge.asking import Asker, Ready, Reply, form_of
from verifiers.judge.config import JudgeConfig
from verifiers.judge.modes import Case, ModeRules, Question
from verifiers.judge.pace import Pace
from verifiers.judge.votes import agreed, majority, mean
from verifiers.lent import BackendError, Backends

MAX_ANSWERS = 16
"""Answers that are quoted for a person to read."""
MAX_QUOTED = 2_000
"""Characters of each."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One vote's place: a judge, and the number of its sample."""

    backend: str
    sample: int


@dataclass(frozen=True, slots=True)
class Call:
    """One call about a case."""

    seat: Seat
    question: Question
    reply: Reply


class Session:
    """What the calls about one batch of items share."""

    def __init__(
        self, backends: Backends, deadline: float, forms: Mapping[str, asyncio.Task[Form | BackendError]], most: int
    ) -> None:
        """`most`: calls under way at once."""
        self.backends = backends
        self.deadline = deadline
        self._forms = forms
        self.room = asyncio.Semaphore(most)
        self.pace = Pace()

    async def form(self, backend: str) -> Form | BackendError:
        """How a judge can answer. One that does not say it holds up no other judge."""
        return await asyncio.shield(self._forms[backend])

    def close(self) -> None:
        """Ask no further."""
        for form in self._forms.values():
            form.cancel()


@dataclass(frozen=True, slots=True)
class Heard:
    """What the panel said about a case."""

    calls: Sequence[Call]
    votes: Mapping[str, Sequence[float | None]]
    """By the name of the verdict, one of each seat; None where it is missing."""
    verdicts: Mapping[str, float | None]
    """What the votes come to; None where they do not decide."""

    @property
    def missing(self) -> int:
        """Votes that are missing."""
        return sum(vote is None for votes in self.votes.values() for vote in votes)

    def error(self) -> BackendError:
        """Why a vote is missing: the first fault."""
        return next(call.reply.error for call in self.calls if call.reply.error is not None)

    def usage(self) -> dict[str, Any]:
        """Calls, tokens, and the cost where prices are known."""
        answers = [call.reply.answer for call in self.calls if call.reply.answer is not None]
        costs = [answer.cost for answer in answers if answer.cost is not None]
        usage: dict[str, Any] = {
            "calls": len(self.calls),
            "prompt_tokens": sum(answer.prompt_tokens for answer in answers),
            "completion_tokens": sum(answer.completion_tokens for answer in answers),
        }
        return usage | ({"cost": sum(costs)} if costs else {})

    def quoted(self) -> list[dict[str, Any]]:
        """The first answers, for a person to read."""
        return [_quoted(call) for call in self.calls[:MAX_ANSWERS]]


class Panel:
    """The judges of a configuration."""

    def __init__(self, config: JudgeConfig, rules: ModeRules) -> None:
        """Raises `ConfigError`."""
        self._config = config
        self._rules = rules
        self._asker = Asker(config, rules)
        self._judges = (config.backend, *config.panel)
        self._seats = [Seat(backend, sample) for backend in self._judges for sample in range(config.samples)]

    def session(self, backends: Backends, deadline: float, most: int) -> Session:
        """A session, for which every judge is being asked how it can answer."""
        forms = {
            backend: asyncio.create_task(self._form(backend, backends, deadline), name="judge's form")
            for backend in self._judges
        }
        return Session(backends, deadline, forms, most)

    async def _form(self, backend: str, backends: Backends, deadline: float) -> Form | BackendError:
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await form_of(self._config, backend, backends)
        except BackendError as error:
            return error
        except TimeoutError:
            message = f"the backend {backend} did not say in time what it can do"
            return BackendError(ErrorType.BACKEND_UNAVAILABLE, message, retryable=True)

    async def ready(self, case: Case) -> Ready:
        """See `Asker.ready`. The session's pace is held."""
        return await self._asker.ready(case)

    async def hear(self, case: Case, ready: Ready, session: Session) -> Heard:
        """Ask every judge what there is to ask about a case, and count the votes."""
        questions = self._rules.questions(case, logprobs=self._config.output == "logprobs")
        asked = [(seat, question) for seat in self._seats for question in questions]
        replies = await asyncio.gather(*(self._reply(ready, *one, session) for one in asked))
        calls = [Call(seat, question, reply) for (seat, question), reply in zip(asked, replies, strict=True)]
        votes = _votes(calls, self._seats)
        return Heard(calls, votes, {name: self._verdict(cast) for name, cast in votes.items()})

    async def _reply(self, ready: Ready, seat: Seat, question: Question, session: Session) -> Reply:
        form = await session.form(seat.backend)
        if isinstance(form, BackendError):
            return Reply({}, None, form)
        async with session.room:
            return await self._asker.ask(
                ready,
                question,
                form,
                seat.backend,
                seat.sample,
                session.backends,
                deadline=session.deadline,
                pace=session.pace,
            )

    def _verdict(self, votes: Sequence[float | None]) -> float | None:
        undecided = self._rules.undecided
        if undecided is None or self._config.vote == "mean":
            return mean(votes)
        return majority(votes, undecided)


def _votes(calls: Sequence[Call], seats: Sequence[Seat]) -> dict[str, list[float | None]]:
    """Every verdict's votes in the order of the seats; both orders of a pair make one."""
    found: dict[tuple[Seat, bool, str], float] = {}
    names: dict[str, None] = {}
    swaps = False
    for call in calls:
        swaps = swaps or call.question.swapped
        names |= dict.fromkeys(call.question.offers)
        for name, value in call.reply.verdicts.items():
            found[call.seat, call.question.swapped, name] = 1.0 - value if call.question.swapped else value
    votes: dict[str, list[float | None]] = {}
    for name in names:
        straight = [found.get((seat, False, name)) for seat in seats]
        turned = [found.get((seat, True, name)) for seat in seats]
        votes[name] = [agreed(a, b) for a, b in zip(straight, turned, strict=True)] if swaps else straight
    return votes


def _quoted(call: Call) -> dict[str, Any]:
    reply = call.reply
    said: dict[str, Any] = {"backend": call.seat.backend, "sample": call.seat.sample}
    if call.question.swapped:
        said["swapped"] = True
    if reply.error is None:
        said["verdicts"] = dict(reply.verdicts)
    else:
        said["error"] = {"type": str(reply.error.type), "message": clip(str(reply.error), 500)}
    if reply.answer is not None:
        said |= {"answer": clip(reply.answer.text, MAX_QUOTED), "finish_reason": reply.answer.finish_reason}
    return said

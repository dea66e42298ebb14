"""What the engine lends a kind besides workers and the sandbox, and how a configuration says that it needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from pydantic import ConfigDict, Field

from verifiers.chat import Abilities, ChatAnswer, ChatRequest
from verifiers.strict import Strict

if TYPE_CHECKING:
    from verifiers.base import Context, ErrorType, Item, Verdict


class InlineVerifier(Strict):
    """A verifier given by its kind and configuration instead of a name."""

    model_config = ConfigDict(frozen=True)
    kind: str = Field(max_length=100, description="A kind's name.", examples=["math"])
    config: dict[str, Any] = Field(default_factory=dict, description="By the kind's `config_schema`.")


Other = str | InlineVerifier
"""Another verifier: `name@version`, or a kind and its configuration."""

BackendType = Literal["verifier", "chat", "reward", "local"]
"""What a backend speaks: `verifier` is a user's own, as the kind `remote` asks it; `chat` is a language model;
`reward` is a reward model on somebody's server, `local` one that Assay serves itself."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a configuration needs to exist, each by the JSON pointer inside the configuration that names it."""

    verifiers: Mapping[str, Other] = field(default_factory=dict)
    backends: Mapping[str, str] = field(default_factory=dict)
    backend_types: tuple[BackendType, ...] = ("verifier",)
    """What the backends must be."""


class Cost(IntEnum):
    """What verifying an item takes, from cheap to costly."""

    LOOP = 0
    """Microseconds on the event loop, for most items."""
    WORKER = 1
    """A guarded worker."""
    SANDBOX = 2
    BACKEND = 3
    """A server that an operator configured."""


class Scorer(Protocol):
    """Scores items with another verifier, for kinds that are made of others."""

    async def cost(self, verifier: Other) -> Cost:
        """What the verifier takes; `LOOP` for one that cannot work."""
        ...

    async def __call__(self, verifier: Other, items: Sequence[Item]) -> list[Verdict]:
        """One verdict per item, in order, by the context's deadline; a verifier that cannot work is `unscored`."""
        ...


class BackendError(Exception):
    """A backend gave no usable answer; becomes `unscored`."""

    def __init__(self, type: ErrorType, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.type = type
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class Reward:
    """What a reward model says of one conversation: a finite score, or the error that left it without one."""

    score: float | None
    error: BackendError | None = None
    tokens: int | None = None
    """Of the conversation, as the model read it; None where the server does not say."""
    truncated: bool = False
    """Whether its beginning was cut off."""


@dataclass(frozen=True, slots=True)
class Solution:
    """A solution in steps, and the messages that asked for it."""

    messages: Sequence[Mapping[str, str]]
    steps: Sequence[str]


@dataclass(frozen=True, slots=True)
class StepScores:
    """What a process reward model says of one solution: a finite score for each of its steps, or an error."""

    scores: tuple[float, ...] | None
    error: BackendError | None = None
    tokens: int | None = None
    truncated: bool = False


class Backends(Protocol):
    """The servers that an operator configured, by name. Their addresses and keys are not for kinds to see."""

    async def exists(self, name: str, type: BackendType | None = None) -> bool:
        """Whether there is a backend of that name, and of that type where one is given."""
        ...

    async def post(self, name: str, body: Any, *, deadline: float) -> Any:
        """Send a JSON value to a backend; its answer's JSON value (finite numbers, bounded size and depth).

        Returns or raises by `deadline` (`time.monotonic()` seconds). Raises `BackendError`.
        """
        ...

    async def abilities(self, name: str) -> Abilities:
        """What a chat model's server can do beyond chatting. Raises `BackendError`."""
        ...

    async def chat(self, name: str, request: ChatRequest, *, deadline: float) -> ChatAnswer:
        """A chat model's answer.

        Returns or raises by `deadline` (`time.monotonic()` seconds). Raises `BackendError`; of type
        `context_overflow` where the request has too many tokens, `content_filtered` where a filter refused it.
        """
        ...

    def discard(self, name: str, request: ChatRequest) -> None:
        """Say that the answer to a request held nothing that could be used: it is given to nobody again."""
        ...

    async def rewards(
        self, name: str, conversations: Sequence[Sequence[Mapping[str, str]]], *, deadline: float
    ) -> list[Reward]:
        """What a reward model says of each conversation (messages with `role` and `content`), in order.

        Returns by `deadline` (`time.monotonic()` seconds) and raises nothing: an error is of its own conversation.
        Texts hold no lone surrogates.
        """
        ...

    async def steps(self, name: str, solutions: Sequence[Solution], *, deadline: float) -> list[StepScores]:
        """What a process reward model says of each solution, in order; as `rewards`."""
        ...


@dataclass(frozen=True, slots=True)
class Pair:
    """Two completions of one prompt, each as its own item."""

    first: Item
    second: Item


@runtime_checkable
class HasGold(Protocol):
    """A verifier that can write the completion that a reference must accept."""

    def gold(self, reference: Any) -> str:
        """A completion that scores 1, if the reference can be used at all. Raises `BadItemError`."""
        ...


@runtime_checkable
class Prefers(Protocol):
    """A verifier that can compare two completions of one prompt."""

    @property
    def compares(self) -> bool:
        """Whether comparing is its way, so that it scores no completion alone."""
        ...

    async def prefer(self, pairs: Sequence[Pair], ctx: Context) -> list[Verdict]:
        """Of each pair, in order, a verdict on the first completion: 1 where it is preferred, 0 where the second is.

        0.5 is a tie. `unscored` for what cannot be told, and for what is unfinished by `ctx.deadline`.
        """
        ...


@runtime_checkable
class HasProbes(Protocol):
    """A verifier that can be talked into things, and knows what it must withstand."""

    async def probe(self, ctx: Context) -> dict[str, Any]:
        """What it accepted of completions that nobody should accept, as plain JSON, by the context's deadline."""
        ...

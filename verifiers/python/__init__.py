"""The kind `python`: a user's own verifier, run in the sandbox."""

from __future__ import annotations

import ast
import asyncio
import os
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, TypeAdapter

from sandbox.base import Sandbox, SandboxError
from verifiers.base import (
    ConfigError,
    Context,
    Example,
    GivingWay,
    Item,
    KindConfig,
    Verdict,
    past_deadline,
    register,
)
from verifiers.in_sandbox import LimitsConfig, Packages, no_sandbox, sandbox_error
from verifiers.python.batch import Batch, Judge, arguments

MAX_CODE = 65_536
"""Characters of the code: more could hold up others while it is parsed."""
LEAST_A_JOB = 4
"""Items for which loading the code once more, in another cell, is worth it."""

_CLOSE = """import re

def verify(completion):
    numbers = re.findall("[0-9]+", completion)
    distance = abs(int(numbers[-1][:18]) - 42) if numbers else 42
    return {"score": max(0, 1 - distance / 42), "detail": {"distance": distance}}
"""


class PythonConfig(KindConfig):
    """The function and what it may use."""

    inline_scope: ClassVar[Literal["score", "register"]] = "register"
    code: str = Field(
        max_length=MAX_CODE,
        description="Python that defines the function. It is loaded once for many items, so imports and tables "
        "belong at its top level.",
        examples=["def verify(completion, reference):\n    return completion.strip() == reference"],
    )
    entry_point: str = Field(
        "verify",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$",
        description="The function's name. It takes those of completion, reference, prompt, metadata and messages "
        "that it names.",
    )
    limits: LimitsConfig = Field(
        default_factory=LimitsConfig,
        description="Bounds of loading the code, and of each item's call. Of output_kb, 64 count at most.",
    )
    packages: Packages = Field(
        default_factory=list,
        description="Python packages that the code may import beyond the standard library; GET /sandbox lists what "
        "there is.",
        examples=[["numpy"]],
    )


@register
class Python:
    """Judge with a Python function of your own, in the sandbox.

    `code` defines `verify`. It takes those of these arguments that it names, in any order:

    - `completion`: what the model wrote, as text (of chat messages, the last assistant message);
    - `reference`: the item's reference, as it was sent;
    - `prompt`: the prompt as text (of chat messages, the last one), empty where there is none;
    - `metadata`: the item's metadata, a dictionary;
    - `messages`: prompt and completion as a list of chat messages.

    It returns a finite number, a bool, or `{"score", "outcome", "detail", "components"}`, of which only `score` is
    required. `detail` is JSON of your choosing and appears as `said`; `components` are numbers by name. A score need
    not lie between 0 and 1. Unless the function names an outcome, 1 and true are `correct`, 0 and false `incorrect`,
    what lies between is `partial`, and any other number is `scored`.

    ## Faults

    They are the verifier's, never the candidate's. Where the function raises, takes too long, uses too much memory
    or returns anything else, the item is `unscored` with `verifier_fault`, and the message has the exception and the
    line. A completion that your parser cannot read is for your function to judge: catch the exception and return 0.
    What it prints (2,000 bytes of it) is in `detail: full`.

    Code that is not Python is refused when it is registered. Whether it can be loaded shows when it first runs, so
    register it with examples.

    ## How it runs

    The code is loaded once for many items, in several cells at once, and each item's call runs in a process forked
    from it: what a call changes in memory, and one that dies, touches no other item. Files that a call leaves stay
    for later calls of the batch. There is no network. A result may have 64 KiB. Verdicts are not cached, since your
    function may depend on anything.

    It must not run code of the completion (`eval`, `exec`, `pickle`): that code could answer in your function's
    place, also for items after its own. The kind `code` runs completions apart from what judges them.
    """

    kind: ClassVar[str] = "python"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = False
    cache: ClassVar[Literal["none", "memory"]] = "none"
    Config: ClassVar[type[BaseModel]] = PythonConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(Any)
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion="The answer is 42."), 1.0, {"code": _CLOSE}),
        Example(Item(completion="The answer is 21."), 0.5, {"code": _CLOSE}),
        Example(Item(completion="I do not know."), 0.0, {"code": _CLOSE}),
        Example(
            Item(completion="a, b", reference="b, a", metadata={"ordered": False}),
            1.0,
            {
                "code": "def same(completion, reference, metadata):\n"
                "    given, wanted = completion.split(', '), str(reference).split(', ')\n"
                "    return given == wanted if metadata.get('ordered') else sorted(given) == sorted(wanted)\n",
                "entry_point": "same",
            },
        ),
    )
    guarded: ClassVar[Sequence[str]] = ()
    sandboxed: ClassVar[bool] = True

    def __init__(self, config: PythonConfig) -> None:
        _check_syntax(config.code)
        self._judge = Judge(config.code, config.entry_point, config.limits.limits(), frozenset(config.packages))

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        """One verdict per item, in order."""
        if ctx.sandbox is None:
            return [no_sandbox()] * len(items)
        verdicts = [past_deadline()] * len(items)
        calls: list[bytes] = []
        turn = GivingWay()
        for item in items:
            if await turn.over() > ctx.deadline:
                break
            calls.append(arguments(item))
        jobs = min(-(-len(calls) // LEAST_A_JOB), len(os.sched_getaffinity(0)))
        work = [
            self._judged(range(first, len(calls), jobs), calls, verdicts, ctx.sandbox, ctx) for first in range(jobs)
        ]
        await asyncio.gather(*work)
        return verdicts

    async def _judged(
        self,
        positions: Sequence[int],
        calls: Sequence[bytes],
        verdicts: list[Verdict],
        sandbox: Sandbox,
        ctx: Context,
    ) -> None:
        """Fill the verdicts at these positions."""
        batch = Batch(self._judge, [calls[position] for position in positions])
        try:
            await batch.run(sandbox, ctx.deadline)
            missing = None
        except SandboxError as error:
            missing = sandbox_error(error)
        for position, verdict in zip(positions, batch.verdicts, strict=False):
            verdicts[position] = verdict
        for position in positions[len(batch.verdicts) :]:
            if missing is not None:
                verdicts[position] = missing


def _check_syntax(code: str) -> None:
    """Raise `ConfigError` where the code is not Python. Nothing of it runs, here or at import."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the code's own, such as an odd escape
            ast.parse(code)
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        raise ConfigError(f"code is not Python: {where}{error.msg}", "/code") from None
    except ValueError:
        raise ConfigError("code is not Python: it holds a NUL", "/code") from None
    except (RecursionError, MemoryError):  # the parser's own words for nesting
        raise ConfigError("code nests too deeply", "/code") from None

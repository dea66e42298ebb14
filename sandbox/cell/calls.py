"""Loading a completion's Python once, and calling one of its functions in a fork of its own for each call.

Everything here runs in the completion's reach: what it reports is what the completion chose to report.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from . import answers, linux, python, values, wire

MODULE = "solution"
"""The program's name for itself, so that what it guards by `__name__ == "__main__"` does not run."""
_ANSWERED = 83
"""Exit status of a call's process that has answered; nobody exits with it by chance."""


def serve(part: wire.Part, first_blob: int, plan: dict[str, Any], first: int, out: int) -> None:
    """Load the program, call `plan["entry_point"]` with the arguments from `first` on, and exit."""
    limit = plan["limits"]["output_kb"] * 1024
    try:
        names = python.load(part[0], MODULE)
        entry = resolve(names, plan["entry_point"])
    except BaseException as error:
        answers.send(out, answers.LOADED, "exit", python.describe(error).encode("utf-8", "replace"))
        os._exit(0)
    answers.send(out, answers.LOADED, "ok")
    linux.die_as_usual()  # as the calls' processes are to: none of them is process 1
    for index in range(first, plan["count"]):
        pid = os.fork()
        if pid == 0:
            _call(entry, part[first_blob + index], index, out, limit)
        _, status = os.waitpid(pid, 0)
        if status != _ANSWERED << 8:
            answers.send(out, index, answers.ENDED, status.to_bytes(4, "little"))
    os._exit(0)


def resolve(names: dict[str, Any], path: str) -> Callable[..., Any]:
    """The function that a dotted path means: names, attributes, and calls without arguments.

    Raises NameError or AttributeError where there is none, and whatever a call raises.
    """
    first, *rest = path.split(".")
    value: Any = None
    for position, step in enumerate([first, *rest]):
        name = step.removesuffix("()")
        if position:
            value = getattr(value, name)
        elif name in names:
            value = names[name]
        else:
            raise NameError(f"the program defines no {name!r}")
        if step.endswith("()"):
            value = value()
    if not callable(value):
        raise TypeError(f"{path!r} is not callable")
    return value  # type: ignore[no-any-return]


def _call(entry: Callable[..., Any], arguments: bytes, index: int, out: int, limit: int) -> None:
    try:
        positional, keyword = json.loads(arguments)
        value = entry(*positional, **keyword)
        try:
            encoded = values.encode(value, limit_bytes=limit)
        except values.ValuesError as error:
            answers.send(out, index, "failed", str(error).encode("utf-8", "replace")[:500])
        else:
            answers.send(out, index, "ok", encoded)
    except BaseException as error:
        answers.send(out, index, "exit", python.describe(error).encode("utf-8", "replace"))
    os._exit(_ANSWERED)

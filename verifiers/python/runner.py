"""Runs inside a cell, beside a user's verifier: loads it once, calls it for each item, tells what came of it.

This file's text is the program that the sandbox loads, with a line after it that names the function. It knows only
the standard library, and what it tells is within the user's reach: it is checked outside.
"""

from __future__ import annotations

import importlib
import inspect
import io
import os
import sys
from collections.abc import Callable
from typing import Any

MODULE = "verifier"
OFFERED = ("completion", "reference", "prompt", "metadata", "messages")
SHOWN = 2_000
"""Bytes of what an item's call prints that are kept, and characters of an exception."""


class Kept(io.RawIOBase):
    """Keeps the first `SHOWN` bytes and takes the rest without a word."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def write(self, data: Any, /) -> int:
        """See `io.RawIOBase`."""
        view = memoryview(data)
        self.data += view[: max(0, SHOWN - len(self.data))]
        return view.nbytes


def prepared(entry_point: str) -> Callable[..., dict[str, Any]]:
    """Load the user's module and find its function; what is returned judges one item by keyword.

    Raises whatever the module raises, with the line as a note, and TypeError where the function cannot be called.
    """
    for descriptor in (1, 2):  # what goes around Python's own streams would count against the items that follow
        os.dup2(0, descriptor)
    sys.dont_write_bytecode = True
    try:
        module = importlib.import_module(MODULE)
    except SyntaxError as error:  # shown at length, with the line of code, if it is left as it is
        raise SyntaxError(f"{error.msg} (line {error.lineno})") from None
    except BaseException as error:
        error.add_note(place(error))
        raise
    function = getattr(module, entry_point, None)
    if not callable(function):
        raise TypeError(f"it defines no function {entry_point!r}")
    positional, named = wanted(function, entry_point)
    return lambda **given: judged(function, positional, named, given)


def wanted(function: Callable[..., Any], entry_point: str) -> tuple[list[str], list[str]]:
    """Which of what is offered the function takes: by position, and by name."""
    positional: list[str] = []
    named: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            named = [other for other in OFFERED if other not in positional]
        elif parameter.kind is parameter.VAR_POSITIONAL:
            continue
        elif name in OFFERED:
            (positional if parameter.kind is parameter.POSITIONAL_ONLY else named).append(name)
        elif parameter.default is parameter.empty:
            raise TypeError(f"{entry_point} asks for {name!r}; it may ask for {', '.join(OFFERED)}")
    return positional, named


def judged(
    function: Callable[..., Any], positional: list[str], named: list[str], given: dict[str, Any]
) -> dict[str, Any]:
    """What the function returns for one item, or raises, and the beginning of what it prints."""
    if given["messages"] is None:
        asked = [{"role": "user", "content": given["prompt"]}] if given["prompt"] else []
        given["messages"] = [*asked, {"role": "assistant", "content": given["completion"]}]
    kept = Kept()
    buffer: Any = kept  # without a buffer between, so that there is nothing to flush
    sys.stdout = sys.stderr = io.TextIOWrapper(
        buffer, encoding="utf-8", errors="backslashreplace", write_through=True
    )
    told: dict[str, Any]
    try:
        by_name = {name: given[name] for name in named}
        told = {"value": function(*(given[name] for name in positional), **by_name)}
    except BaseException as error:
        told = {"raised": f"{described(error)} {place(error)}".strip()}
    return told | {"printed": kept.data.decode("utf-8", "replace")}


def described(error: BaseException) -> str:
    """An exception in one line."""
    try:
        return f"{type(error).__name__}: {str(error)[:SHOWN]}".removesuffix(": ")
    except BaseException:  # its own __str__ may raise anything
        return type(error).__name__


def place(error: BaseException) -> str:
    """The line of the user's module where an exception came from; nothing where it has none there."""
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(f"/{MODULE}.py"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"(line {line})" if line else ""

"""The tasks whose verdicts the forgeries go for, with every type of reference, and the means to write a forgery.

Each task has several cases with different answers, so that no constant and no luck passes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.sandbox.attacks.model import (
    NOT_DONE,
    PYTHON,
    Attack,
    Contained,
    config,
    fenced,
    outcomes,
    source,
    stdio,
)

_CHECKED = frozenset({Contained.UNTOUCHED, Contained.HEALTHY, Contained.GONE, Contained.IN_TIME})

UNSPLITTABLE = outcomes("incorrect", "crashed", "unscored")
"""Where a test does something with an object of the completion's that cannot be done from outside."""


@dataclass(frozen=True)
class Task:
    """A function to write, with cases: arguments and what must come back."""

    entry_point: str
    cases: tuple[tuple[tuple[Any, ...], Any], ...]
    main: str
    """Python that reads one case's arguments as JSON and prints the result as JSON, with the function at hand."""

    @property
    def stdio(self) -> dict[str, Any]:
        """One case for each call: its arguments as JSON on standard input."""
        pairs = ((json.dumps(args) + "\n", json.dumps(expected) + "\n") for args, expected in self.cases)
        return stdio(*pairs, compare="exact")

    @property
    def function(self) -> dict[str, Any]:
        """Arguments and expected values."""
        cases = [{"args": list(args), "expected": expected} for args, expected in self.cases]
        return {"type": "function", "entry_point": self.entry_point, "cases": cases}

    def asserts(self, form: str = "assert {call} == {want}", setup: str = "", **more: Any) -> dict[str, Any]:
        """One statement of the given form for each case."""
        return {
            "type": "asserts",
            "entry_point": self.entry_point,
            "asserts": self._statements(form, self.entry_point),
            **({"setup": setup} if setup else {}),
            **more,
        }

    def script(self, form: str = "assert {call} == {want}", setup: str = "") -> dict[str, Any]:
        """As HumanEval has it: `check(candidate)`."""
        body = "".join(f"    {statement}\n" for statement in self._statements(form, "candidate"))
        start = setup + "\n" if setup else ""
        return {
            "type": "script",
            "entry_point": self.entry_point,
            "code": f"{start}METADATA = {{}}\n\n\ndef check(candidate):\n{body}",
        }

    def pytest(self) -> dict[str, Any]:
        """A test file that imports the completion as `solution`."""
        statements = self._statements("assert {call} == {want}", self.entry_point)
        body = "".join(f"    {statement}\n" for statement in statements)
        text = f"from solution import {self.entry_point}\n\n\ndef test_it():\n{body}"
        return {"type": "pytest", "files": {"test_solution.py": text}}

    def _statements(self, form: str, name: str) -> list[str]:
        return [
            form.format(call=f"{name}({', '.join(map(repr, args))})", want=repr(expected))
            for args, expected in self.cases
        ]

    def reference(self, kind: str) -> dict[str, Any]:
        """The plain reference of a kind: `stdio`, `function`, `asserts`, `script`, `pytest`."""
        return {
            "stdio": lambda: self.stdio,
            "function": lambda: self.function,
            "asserts": self.asserts,
            "script": self.script,
            "pytest": self.pytest,
        }[kind]()


def _main(entry_point: str) -> str:
    return f"\nimport json as _json\nprint(_json.dumps({entry_point}(*_json.loads(input()))))\n"


DIGITS = Task(
    "digit_squares",
    (((12,), 5), ((345,), 50), ((7,), 49), ((90817,), 195), ((1000000,), 1), ((99,), 162)),
    _main("digit_squares"),
)
"""The sum of the squares of a number's digits."""
GAPS = Task(
    "mean_gap",
    ((([1, 2, 4],), 1.5), (([10, 0],), 10.0), (([0.5, 0.75, 2.0, 1.75],), 0.5833333333333334), (([3, 3],), 0.0)),
    _main("mean_gap"),
)
"""The mean distance of neighbours in a list."""
RUNS = Task(
    "runs",
    (
        (("aabccc",), [["a", 2], ["b", 1], ["c", 3]]),
        (("z",), [["z", 1]]),
        (("",), []),
        (("abba",), [["a", 1], ["b", 2], ["a", 1]]),
    ),
    _main("runs"),
)
"""Run-length encoding."""
PARITY = Task(
    "even_digits",
    (((12,), False), ((2468,), True), ((0,), True), ((2467,), False), ((808,), True)),
    _main("even_digits"),
)
"""Whether all digits are even."""
WORDS = Task(
    "initials",
    ((("Ada King Lovelace",), "AKL"), (("alan turing",), "AT"), (("",), ""), (("x  y",), "XY")),
    _main("initials"),
)
"""The initials of a name, in capitals."""

COUNTS = Task(
    "letters",
    ((("abca",), {"a": 2, "b": 1, "c": 1}), (("",), {}), (("zzz",), {"z": 3})),
    _main("letters"),
)
"""How often each letter occurs."""

ALL_KINDS = "stdio function asserts script"
CALLED = "function asserts script"
TESTED = "asserts script"


def forge(
    into: list[Attack],
    line: str,
    name: str,
    code: str,
    kinds: str = CALLED,
    *,
    task: Task = DIGITS,
    ends: frozenset[str] = NOT_DONE,
    errors: Sequence[str] = (),
    main: bool = True,
    limits: dict[str, float] | None = None,
    **more: Any,
) -> None:
    """Add a forgery against each of several kinds of reference.

    Against `stdio`, the task's `main` is appended, unless the code is a whole program. `pytest` may be unscored.
    """
    for kind in kinds.split():
        program = source(code) + (task.main if kind == "stdio" and main else "")
        split = kind != "pytest"  # which runs in one process only, and by default not at all
        aim(
            into,
            line,
            f"{name}/{kind}",
            program,
            task.reference(kind),
            ends=ends if split else ends | {"unscored"},
            errors=errors if split else [*errors, "unsplittable_test", "bad_item"],
            limits=limits,
            **more,
        )


def aim(
    into: list[Attack],
    line: str,
    name: str,
    program: str,
    reference: dict[str, Any],
    *,
    language: str = PYTHON,
    ends: frozenset[str] = NOT_DONE,
    errors: Sequence[str] = (),
    limits: dict[str, float] | None = None,
    completion: str | None = None,
    prompt: str | None = None,
    **more: Any,
) -> None:
    """Add a forgery against one reference; `completion` in place of the fenced program, where it is not just that."""
    into.append(
        Attack(
            name=name,
            line=line,
            item={
                "completion": fenced(source(program), language) if completion is None else completion,
                "reference": reference,
                **({} if prompt is None else {"prompt": prompt}),
            },
            config=config(language, limits, **more),
            outcomes=ends,
            errors=frozenset(errors),
            contained=_CHECKED,
        )
    )

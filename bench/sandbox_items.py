"""Programs and tests that the sandbox's benchmarks run. No two are alike, so nothing is cached or merged."""

from __future__ import annotations

import itertools
import json
from typing import Any

from verifiers.base import Item

KIND = {"kind": "code", "config": {}}
_numbers = itertools.count(1)

ADD = "def add(a, b):\n    return a + b\n"
CPP = "#include <iostream>\nint main() { long n; std::cin >> n; std::cout << n + %d << '\\n'; }\n"


def program() -> tuple[str, str]:
    """A trivial program that reads a number, and what it writes for the number 1."""
    number = next(_numbers)
    return f"print(int(input()) + {number})\n", f"{number + 1}\n"


def stdio(cases: int) -> Item:
    """A trivial program with so many cases of input and output."""
    number = next(_numbers)
    return Item(completion=f"print(int(input()) + {number})\n", reference=_cases(number, cases))


def cpp(cases: int) -> Item:
    """The same in C++."""
    number = next(_numbers)
    return Item(completion=CPP % number, reference=_cases(number, cases))


def _cases(number: int, count: int) -> dict[str, Any]:
    cases = [{"stdin": f"{case}\n", "stdout": f"{case + number}\n"} for case in range(count)]
    return {"type": "stdio", "cases": cases}


def function(cases: int) -> Item:
    """A function, called so many times."""
    tests = [{"args": [case, 1], "expected": case + 1} for case in range(cases)]
    reference = {"type": "function", "entry_point": "add", "cases": tests}
    return Item(completion=f"{ADD}# {next(_numbers)}\n", reference=reference)


def asserts(count: int) -> Item:
    """A function under so many asserts."""
    tests = [f"assert add({case}, 1) == {case + 1}" for case in range(count)]
    return Item(completion=f"{ADD}# {next(_numbers)}\n", reference={"type": "asserts", "asserts": tests})


def score_body(items: int) -> bytes:
    """A /score body of so many trivial programs with one case each."""
    batch = []
    for _ in range(items):
        code, output = program()
        reference = {"type": "stdio", "cases": [{"stdin": "1\n", "stdout": output}]}
        batch.append({"completion": f"```python\n{code}```", "reference": reference})
    return json.dumps({"verifier": KIND, "items": batch, "options": {"cache": False}}).encode()


def run_code_body() -> tuple[bytes, str]:
    """A body of SandboxFusion's run_code, and what the program must write."""
    code, output = program()
    return json.dumps({"code": code, "language": "python", "stdin": "1\n"}).encode(), output

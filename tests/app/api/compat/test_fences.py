"""Code is found in a completion where SandboxFusion finds it, in linear time."""

from __future__ import annotations

import time

import pytest

from app.api.compat.fences import code_of

F = "```"


@pytest.mark.parametrize(
    ("completion", "language", "code", "found"),
    [
        (f"text\n{F}python\nprint(1)\n{F}\nmore", "python", "print(1)", "fenced"),
        (f"{F}\nprint(1)\n{F}", "python", "print(1)", "fenced"),
        (f"{F}cpp\nint x;\n{F}\n{F}Python3\nprint(2)\n{F}\n{F}py\nprint(3)\n{F}", "python", "print(2)", "fenced"),
        (f"{F}cpp\nint x;\n{F}", "python", "int x;", "fenced"),
        (f"{F}js\nlet x\n{F}", "nodejs", "let x", "fenced"),
        (f"{F}C++\nint x;\n  {F}", "cpp", "int x;", "fenced"),
        (f"{F}python\nprint(1)\nprint(2)", "python", "print(1)\nprint(2)", "incomplete_fenced"),
        (f"{F}python\nprint(1)\n{F}\n{F}python\nprint(2)", "python", "print(1)", "fenced"),
        ("Here:\nimport sys\ndef f():\n    return 1\n\n    # end\nThat is all.", "python",
         "import sys\ndef f():\n    return 1\n    # end\n", "heuristic"),
        ("echo hi\n\nls", "bash", "echo hi\nls\n", "heuristic"),
        ("no code at all", "python", "", "empty"),
        ("int main() {}", "cpp", "", "empty"),
        ("", "python", "", "empty"),
        (F, "python", "", "empty"),
        (f"{F}python\n", "python", "", "incomplete_fenced"),
        (f"{F}python\n{F}", "python", "", "fenced"),
    ],
)  # fmt: skip
def test_what_is_found(completion: str, language: str, code: str, found: str) -> None:
    assert code_of(completion, language) == (code, found)


@pytest.mark.parametrize(
    "part", [f"{F}x\n", f"\n{F}", F, "def f():\n", "def f():\n x\n", "import x\n", " \n", "\n", "import x\ndef f(\n"]
)
def test_a_megabyte_of_anything_takes_linear_time(part: str) -> None:
    completion = part * (1_000_000 // len(part))
    started = time.process_time()
    for language in ("python", "bash", "cpp"):
        code_of(completion, language)
    assert time.process_time() - started < 3

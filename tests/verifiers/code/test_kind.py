"""The kind against live sandboxes: every form of tests, and what a program may do instead of passing them."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.base import Sandbox
from tests.verifiers.code.support import asserts, function, script, stdio
from tests.verifiers.support import NoGuard, assert_sound, configured, score, score_all
from verifiers.base import Item, Outcome, Verdict

ADD = function(([1, 2], 3), ([0, 0], 0), (["a", "b"], "ab"), entry_point="add")
TWENTY = script("for i in range(20):\n    assert candidate(i) == i")
JSON = function(([], {"a": [1.5, None, True]}))
C_ECHO = "#include <stdio.h>\nint main() { int c; while ((c = getchar()) != EOF) putchar(c); }"
CPP_ECHO = "#include <iostream>\nint main() { std::string s; std::getline(std::cin, s); std::cout << s; }"
ECHO = stdio(("a\n", "a\n"), ("b c\n", "b c\n"))


async def judged(
    sandbox: Sandbox, completion: str, reference: Any, prompt: str | None = None, **config: Any
) -> Verdict:
    verdict = await score(
        "code", config, NoGuard(), sandbox=sandbox, completion=completion, reference=reference, prompt=prompt
    )
    assert_sound(verdict)
    return verdict


def why(verdict: Verdict) -> str:
    """Outcome, stage and fault."""
    return " ".join(
        [verdict.outcome, *(verdict.detail[name] for name in ("stage", "fault") if name in verdict.detail)]
    )


@pytest.mark.parametrize(
    ("completion", "reference", "expected"),
    [
        ("def add(a, b): return a + b", ADD, "correct case"),
        ("add = lambda a, b: a + b", ADD, "correct case"),
        ("def add(a, b): return a - b", ADD, "incorrect case wrong"),
        ("def add(a, b): print(a + b)", ADD, "incorrect case wrong"),
        ("def add(a, b): raise ValueError", ADD, "crashed case exit"),
        ("def add(a): return a", ADD, "crashed case exit"),
        ("def add(a, b): return lambda: 3", ADD, "incorrect case failed"),
        ("def sub(a, b): return a", ADD, "crashed load exit"),
        ("add = 3", ADD, "crashed load exit"),
        ("def add(a, b) return a", ADD, "crashed load exit"),
        ("raise SystemExit(0)", ADD, "crashed load exit"),
        ("import os\ndef add(a, b): os._exit(0)", ADD, "crashed case exit"),
        ("import sys\ndef add(a, b): sys.exit(0)", ADD, "crashed case exit"),
        ("import os\ndef add(a, b): os.kill(os.getpid(), 11)", ADD, "crashed case signal"),
        ("def add(a, b): return float('nan')", ADD, "incorrect case wrong"),
        (
            "class E(int):\n    __eq__ = lambda s, o: True\n    __hash__ = int.__hash__\ndef add(a, b): return E(7)",
            ADD,
            "incorrect case wrong",
        ),
        (
            "class Solution:\n    def add(self, a, b): return a + b",
            function(([1, 2], 3), entry_point="Solution().add"),
            "correct case",
        ),
        ("if __name__ == '__main__': exit(1)\ndef add(a, b): return a + b", ADD, "correct case"),
        ("print(input())", ECHO, "correct case"),
        ("import sys\nprint(sys.stdin.read(), end='')", ECHO, "correct case"),
        ("if __name__ == '__main__': print(input())", ECHO, "correct case"),
        ("print('a')", ECHO, "incorrect case wrong"),
        ("print('a')\nprint('b c')", ECHO, "incorrect case wrong"),
        ("print(input())\nexit(1)", ECHO, "crashed case exit"),
        ("print(input())\nraise KeyError", ECHO, "crashed case exit"),
        ("raise KeyError", stdio(("", "")), "crashed case exit"),
        ("pass", stdio(("", "")), "correct case"),
        ("def f(x): return x", asserts("assert f(1) == 1"), "correct test"),
        ("def f(x): return 2", asserts("assert f(1) == 1"), "incorrect test failed"),
        ("def f(x): return 1 / 0", asserts("assert f(1) == 1"), "crashed test exit"),
        ("def g(x): return 1", asserts("assert f(1) == 1"), "crashed test exit"),
        ("def f(x) return 1", asserts("assert f(1) == 1"), "crashed load exit"),
        (
            "def sum(a, b): return a + b",
            asserts("assert sum(10, 15) == 25", entry_point="sum"),
            "correct test",
        ),
        (
            "def f(values): values.sort()",
            asserts("x = [2, 1]\nf(x)\nassert x == [1, 2]"),
            "correct test",
        ),
        (
            "class Node:\n    def __init__(self, value): self.value = value",
            asserts("assert node.value == 5", setup="node = Node(5)"),
            "correct test",
        ),
        ("def f(x): return x", TWENTY, "correct test"),
        (
            "def f(x): return x % 19",
            TWENTY,
            "incorrect test failed",
        ),
        (
            "def check(candidate): pass\ndef f(x): return 0",
            script("assert candidate(1) == 1"),
            "incorrect test failed",
        ),
        (
            "class Solution:\n    def f(self, x): return x",
            script("assert candidate(1) == 1", "Solution().f"),
            "correct test",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
async def test_python(sandbox: Sandbox, completion: str, reference: Any, expected: str) -> None:
    assert why(await judged(sandbox, completion, reference)) == expected


@pytest.mark.parametrize(
    ("completion", "limits", "outcome"),
    [
        ("while True: pass", {"cpu_s": 0.3}, Outcome.TIMEOUT),
        ("import time\ntime.sleep(60)", {"cpu_s": 0.3, "wall_s": 0.6}, Outcome.TIMEOUT),
        ("x = b'x' * (500 << 20)", {"memory_mb": 64}, Outcome.MEMORY_EXCEEDED),
        ("print('x' * 100_000)", {"output_kb": 16}, Outcome.OUTPUT_EXCEEDED),
        ("open('f', 'wb').write(b'x' * (9 << 20))", {"disk_mb": 4}, Outcome.CRASHED),
    ],
    ids=["cpu", "wall", "memory", "output", "disk"],
)
async def test_limits(sandbox: Sandbox, completion: str, limits: dict[str, Any], outcome: Outcome) -> None:
    honest = Item(completion="print(input())", reference=ECHO)
    items = [honest, Item(completion=completion, reference=ECHO), honest]
    before, verdict, after = await score_all(configured("code", {"limits": limits}), items, sandbox=sandbox)
    assert (verdict.outcome, verdict.score) == (outcome, 0.0)
    assert verdict.transient is ("wall_s" in limits)
    assert (before.score, after.score) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("language", "completion", "reference", "outcome"),
    [
        ("javascript", "console.log(require('fs').readFileSync(0, 'utf8').trim())", ECHO, Outcome.CORRECT),
        ("javascript", "console.log('a')", ECHO, Outcome.INCORRECT),
        ("javascript", "throw new Error('no')", ECHO, Outcome.CRASHED),
        ("javascript", "function add(a, b) { return a + b; }", ADD, Outcome.CORRECT),
        ("javascript", "const add = (a, b) => a + b;", ADD, Outcome.CORRECT),
        ("javascript", "function add(a, b) { return a - b; }", ADD, Outcome.INCORRECT),
        ("javascript", "function add(a, b) { throw 1; }", ADD, Outcome.CRASHED),
        ("javascript", "function sub(a, b) { return 1; }", ADD, Outcome.CRASHED),
        ("javascript", "function f() { return {a: [1.5, null, true]}; }", JSON, Outcome.CORRECT),
        ("javascript", "function f(", function(([], 1)), Outcome.CRASHED),
        ("cpp", CPP_ECHO, ECHO, Outcome.CORRECT),
        ("cpp", "#include <iostream>\nint main() { std::cout << 'a'; }", ECHO, Outcome.INCORRECT),
        ("cpp", "int main() { return 1; }", ECHO, Outcome.CRASHED),
        ("cpp", "int main() { int *p = 0; return *p; }", ECHO, Outcome.CRASHED),
        ("c", C_ECHO, ECHO, Outcome.CORRECT),
        ("bash", "cat", ECHO, Outcome.CORRECT),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
async def test_other_languages(
    sandbox: Sandbox, language: str, completion: str, reference: Any, outcome: Outcome
) -> None:
    verdict = await judged(sandbox, completion, reference, language=language)
    if verdict.error is not None and "this sandbox has no" in verdict.error.message:
        pytest.skip(verdict.error.message)
    assert verdict.outcome is outcome, verdict


async def test_a_program_that_does_not_compile(sandbox: Sandbox) -> None:
    verdict = await judged(sandbox, "int main() { return x; }", ECHO, language="c")
    if verdict.error is not None:
        pytest.skip(verdict.error.message)
    assert why(verdict) == "crashed compile exit"
    assert "main.c" in verdict.detail["why"]


async def test_a_language_or_package_that_is_not_there(sandbox: Sandbox) -> None:
    for config, named in (({"packages": ["nonesuch"]}, "nonesuch"), ({"language": "rust"}, "rust")):
        verdict = await judged(sandbox, "x", ECHO, **config)
        if named in sandbox.languages:
            continue
        assert verdict.error is not None
        assert (verdict.error.type, verdict.error.retryable) == ("sandbox_unavailable", False)
        assert named in verdict.error.message
        assert "it has" in verdict.error.message


async def test_packages(sandbox: Sandbox) -> None:
    if "numpy" not in sandbox.packages:
        pytest.skip("numpy is not offered")
    completion = "import numpy as np\ndef add(a, b): return np.sum([a, b]) if a != 'a' else a + b"
    assert (await judged(sandbox, completion, ADD, packages=["numpy"])).score == 1.0
    assert (await judged(sandbox, completion, ADD)).outcome is Outcome.CRASHED


async def test_files(sandbox: Sandbox) -> None:
    completion = "print(open('data/words.txt').read(), end='')"
    assert (
        await judged(sandbox, completion, stdio(("", "é\x00\n")), files={"data/words.txt": "é\x00\n"})
    ).score == 1.0


async def test_a_file_that_one_case_wrote_is_gone_in_the_next(sandbox: Sandbox) -> None:
    completion = "import os\nprint(os.path.exists('mark'))\nopen('mark', 'w').close()"
    assert (await judged(sandbox, completion, stdio(*[("", "False")] * 3))).score == 1.0


async def test_a_completion_that_continues_its_prompt(sandbox: Sandbox) -> None:
    prompt = "def double(x):\n    '''Twice x.'''\n"
    tests = script("assert candidate(4) == 8", "double")
    assert (await judged(sandbox, "    return 2 * x\n", tests, prompt, prefix="prompt")).score == 1.0
    assert (await judged(sandbox, "    return x\n", tests, prompt, prefix="prompt")).score == 0.0


HELPER = "def poly(xs, x):\n    return xs[0] + xs[1] * x\n\n\ndef find_zero(xs):\n    '''Where it is 0.'''\n"
ROOT = script("assert abs(poly([2.0, 1.0], candidate([2.0, 1.0]))) < 1e-6", "find_zero")


@pytest.mark.parametrize(
    ("config", "prompt", "right", "wrong"),
    [
        (
            {"prefix": "prompt"},
            HELPER,
            "    return -xs[0] / xs[1]\n",
            "    return 7\n\ndef poly(xs, x):\n    return 0\n",
        ),
        (
            {},
            f"Complete:\n```python\n{HELPER}```",
            "def find_zero(xs):\n    return -xs[0] / xs[1]\n",
            "def poly(xs, x):\n    return 0\ndef find_zero(xs):\n    return 7\n",
        ),
    ],
)
async def test_a_helper_of_the_prompt_is_never_the_completions(
    sandbox: Sandbox, config: dict[str, Any], prompt: str, right: str, wrong: str
) -> None:
    assert (await judged(sandbox, right, ROOT, prompt, **config)).score == 1.0
    assert (await judged(sandbox, wrong, ROOT, prompt, **config)).outcome is Outcome.INCORRECT


async def test_rewards(sandbox: Sandbox) -> None:
    half = "def add(a, b): return 3"
    assert (await judged(sandbox, half, ADD)).score == 0.0
    verdict = await judged(sandbox, half, ADD, reward="fraction")
    assert (verdict.outcome, verdict.score) == (Outcome.PARTIAL, 1 / 3)
    assert verdict.full["tests"] == ["passed", "wrong", "wrong"]


async def test_how_values_are_compared_is_configured(sandbox: Sandbox) -> None:
    reference = function(([], [1, 2]))
    completion = "def f(): return (1.0, 2)"
    assert (await judged(sandbox, completion, reference)).score == 1.0
    assert (await judged(sandbox, completion, reference, int_equals_float=False)).score == 0.0
    assert (await judged(sandbox, completion, reference, tuple_equals_list=False)).score == 0.0
    third = function(([], 0.3333333333))
    assert (await judged(sandbox, "def f(): return 1/3", third)).score == 1.0
    assert (await judged(sandbox, "def f(): return 1/3", third, value_tolerance=0)).score == 0.0


async def test_how_output_is_compared_is_the_references(sandbox: Sandbox) -> None:
    completion = "print('1.0  2')"
    scores = {
        compare: (await judged(sandbox, completion, stdio(("", "1 2"), compare=compare))).score
        for compare in ("tokens", "lines", "exact", "float")
    }
    assert scores == {"tokens": 0.0, "lines": 0.0, "exact": 0.0, "float": 1.0}


async def test_honest_items_are_not_touched_by_hostile_ones(sandbox: Sandbox) -> None:
    honest = Item(completion="def add(a, b): return a + b", reference=ADD)
    hostile = [
        "import os\nwhile True: os.fork()",
        "import os\nos.kill(-1, 9)",
        "x = []\nwhile True: x.append(bytearray(10 << 20))",
        "import sys\nwhile True: sys.stdout.write('x' * 100_000)",
        "import os\nos.closerange(0, 100)\ndef add(a, b): return 0",
    ]
    items = [item for text in hostile for item in (honest, Item(completion=text, reference=ADD))]
    verdicts = await score_all(configured("code", {"limits": {"cpu_s": 0.5}}), items, sandbox=sandbox)
    assert [verdict.score for verdict in verdicts] == [1.0, 0.0] * len(hostile)

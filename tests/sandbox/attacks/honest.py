"""Honest items: right answers, some of them unusual, that must be `correct` beside any attack in the same batch."""

from __future__ import annotations

from typing import Any

from tests.sandbox.attacks.forgery_tasks import DIGITS, GAPS, PARITY, RUNS, WORDS
from tests.sandbox.attacks.model import BASH, CPP, JAVASCRIPT, PYTHON, C, Honest, config, fenced, item, source, stdio

HONEST: list[Honest] = []


def _honest(name: str, code: str, reference: dict[str, Any], language: str = PYTHON, **limits: float) -> None:
    """Limits are wide: an honest item must not fail because its neighbours keep the machine busy."""
    wide = {"cpu_s": 5.0, "wall_s": 20.0, "memory_mb": 256, "processes": 64, "output_kb": 1024, "disk_mb": 16}
    HONEST.append(Honest(name, item(code, reference, language), config(language, wide | limits)))


_DIGITS = r"""
    def digit_squares(n):
        return sum(int(digit) ** 2 for digit in str(n))
"""
_RUNS = r"""
    from itertools import groupby

    def runs(text):
        return [[letter, len(list(group))] for letter, group in groupby(text)]
"""
_GAPS = r"""
    def mean_gap(values):
        gaps = [abs(b - a) for a, b in zip(values, values[1:])]
        return sum(gaps) / len(gaps)
"""

for _kind in ("stdio", "function", "asserts", "script"):
    _main = DIGITS.main if _kind == "stdio" else ""
    _honest(f"digits/{_kind}", source(_DIGITS) + _main, DIGITS.reference(_kind))
for _kind in ("function", "asserts", "script"):
    _honest(f"runs/{_kind}", _RUNS, RUNS.reference(_kind))
    _honest(
        f"parity/{_kind}",
        "def even_digits(n):\n    return all(int(digit) % 2 == 0 for digit in str(n))\n",
        PARITY.reference(_kind),
    )
    _honest(
        f"words/{_kind}",
        "def initials(name):\n    return ''.join(word[0].upper() for word in name.split())\n",
        WORDS.reference(_kind),
    )
_honest("gaps-near/asserts", _GAPS, GAPS.asserts("assert abs({call} - {want}) < 1e-9"))
_honest("gaps-close/script", _GAPS, GAPS.script("assert math.isclose({call}, {want})", "import math"))
_honest("forms/asserts", _DIGITS, DIGITS.asserts("assert isinstance({call}, int) and {call} in [{want}]"))
_honest(
    "unittest/asserts",
    _DIGITS,
    DIGITS.asserts("case.assertEqual({call}, {want})", "import unittest\ncase = unittest.TestCase()"),
)

HONEST.append(
    Honest(
        "right-fence-last",
        {
            "completion": "First try:\n\n"
            + fenced("def digit_squares(n):\n    return n\n")
            + "\nThat is wrong. Better:\n\n"
            + fenced(source(_DIGITS)),
            "reference": DIGITS.function,
        },
        config(),
    )
)

_honest(
    "empty-output-expected",
    r"""
    total = sum(range(10))
""",
    stdio(("", ""), ("5\n", "")),
)

_honest(
    "threads",
    r"""
    import threading
    results = {}
    def work(number):
        results[number] = number ** 2
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*(results[number] for number in range(4)))
""",
    stdio(("", "0 1 4 9\n")),
)

_honest(
    "subprocess-and-environment",
    r"""
    import os, subprocess, sys
    code = "import os, sys; print(int(sys.stdin.read()) + int(os.environ['STEP']))"
    done = subprocess.run([sys.executable, "-c", code], input=input(), capture_output=True, text=True,
                          env={**os.environ, "STEP": "2"})
    print(done.stdout.strip(), done.returncode)
""",
    stdio(("40\n", "42 0\n"), ("-2\n", "0 0\n")),
)

_honest(
    "fork-and-pipe",
    r"""
    import os
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, b"from the child")
        os._exit(7)
    os.close(writer)
    text = os.read(reader, 100).decode()
    print(text, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
    stdio(("", "from the child 7\n")),
)

_honest(
    "multiprocessing",
    r"""
    import multiprocessing
    def square(number):
        return number * number
    if __name__ == "__main__":
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(sum(pool.map(square, range(100))))
""",
    stdio(("", "328350\n")),
)

_honest(
    "asyncio",
    r"""
    import asyncio
    async def main():
        left, right = await asyncio.gather(asyncio.sleep(0.01, "slept"), asyncio.to_thread(sum, range(5)))
        print(left, right)
    asyncio.run(main())
""",
    stdio(("", "slept 10\n")),
)

_honest(
    "files-in-the-folder-and-in-tmp",
    r"""
    import os, pathlib, tempfile
    pathlib.Path("data").mkdir()
    pathlib.Path("data/numbers.txt").write_text("\n".join(map(str, range(1000))))
    with tempfile.NamedTemporaryFile("w+", dir="/tmp") as file:
        file.write(pathlib.Path("data/numbers.txt").read_text())
        file.seek(0)
        print(sum(map(int, file)), sorted(set(os.listdir(".")) - {"main.py"}), os.path.getsize("data/numbers.txt"))
""",
    stdio(("", "499500 ['data'] 3889\n")),
)

_honest(
    "a-large-output",
    r"""
    for number in range(60_000):
        print(number)
""",
    stdio(("", "".join(f"{number}\n" for number in range(60_000)))),
)

_honest(
    "a-large-input",
    r"""
    import sys
    print(sum(map(int, sys.stdin.buffer.read().split())))
""",
    stdio((" ".join(map(str, range(100_000))) + "\n", "4999950000\n")),
)

_honest(
    "deep-recursion",
    r"""
    def depth(n):
        return 0 if n == 0 else 1 + depth(n - 1)
    print(depth(900))
""",
    stdio(("", "900\n")),
)

_honest(
    "a-higher-recursion-limit",
    r"""
    import sys, threading
    sys.setrecursionlimit(50_000)
    def depth(n):
        return 0 if n == 0 else 1 + depth(n - 1)
    print(depth(20_000))
""",
    stdio(("", "20000\n")),
)

_honest(
    "big-integers",
    r"""
    def power(base, exponent):
        return base ** exponent
""",
    {
        "type": "function",
        "entry_point": "power",
        "cases": [{"args": [2, 200], "expected": 2**200}, {"args": [-3, 99], "expected": -(3**99)}],
    },
)

_honest(
    "generators-and-classes",
    r"""
    from dataclasses import dataclass, field
    @dataclass(order=True)
    class Node:
        value: int
        children: list["Node"] = field(default_factory=list, compare=False)
        def walk(self):
            yield self.value
            for child in sorted(self.children):
                yield from child.walk()
    tree = Node(1, [Node(3, [Node(4)]), Node(2)])
    print(list(tree.walk()))
""",
    stdio(("", "[1, 2, 3, 4]\n")),
)

_honest(
    "a-class-used-by-a-test",
    r"""
    class Stack:
        def __init__(self):
            self.items = []
        def push(self, item):
            self.items.append(item)
            return self
        def pop(self):
            if not self.items:
                raise IndexError("empty")
            return self.items.pop()
        def __len__(self):
            return len(self.items)
""",
    {
        "type": "script",
        "entry_point": "Stack",
        "code": source(r"""
        def check(candidate):
            stack = candidate()
            stack.push(1)
            stack.push("two")
            assert len(stack) == 2
            assert stack.pop() == "two"
            assert stack.pop() == 1
            try:
                stack.pop()
            except IndexError:
                pass
            else:
                assert False
    """),
    },
)

_honest(
    "a-method-as-entry-point",
    r"""
    class Solution:
        def add(self, a, b):
            return a + b
""",
    {
        "type": "function",
        "entry_point": "Solution().add",
        "cases": [{"args": [1, 2], "expected": 3}, {"args": ["a", "b"], "expected": "ab"}],
    },
)

_honest(
    "arguments-sorted-in-place",
    r"""
    def arrange(numbers):
        numbers.sort()
""",
    {
        "type": "script",
        "entry_point": "arrange",
        "code": "def check(candidate):\n    numbers = [3, 1, 2]\n    assert candidate(numbers) is None\n"
        "    assert numbers == [1, 2, 3]\n",
    },
)

_honest(
    "a-builtin-exception-expected",
    r"""
    import math
    def root(n):
        if n < 0:
            raise ValueError("negative")
        return math.isqrt(n)
""",
    {
        "type": "asserts",
        "entry_point": "root",
        "asserts": [
            "assert root(49) == 7",
            "try:\n    root(-1)\nexcept ValueError:\n    pass\nelse:\n    assert False",
        ],
    },
)

_honest(
    "every-builtin-type",
    r"""
    def give(kind):
        return {
            "tuple": (1, (2, "x")), "set": {1, 2}, "frozenset": frozenset("ab"), "bytes": b"\x00\xff",
            "complex": 1 + 2j, "none": None, "float": 0.1, "dict": {1: "a", (2, 3): [None]}, "bool": True,
            "range": range(3), "text": "é\n\0",
        }[kind]
""",
    {
        "type": "asserts",
        "entry_point": "give",
        "asserts": [
            "assert give('tuple') == (1, (2, 'x'))",
            "assert give('set') == {2, 1}",
            "assert give('bytes') == b'\\x00\\xff'",
            "assert give('frozenset') == frozenset('ba')",
            "assert give('complex') == 1 + 2j",
            "assert give('none') is None",
            "assert give('float') == 0.1",
            "assert give('dict') == {1: 'a', (2, 3): [None]}",
            "assert give('bool') is True",
            "assert list(give('range')) == [0, 1, 2]",
            "assert give('text') == 'é\\n\\0'",
        ],
    },
)

_honest(
    "a-name-like-a-builtin-as-entry-point",
    r"""
    def sum(numbers):
        total = 0
        for number in numbers:
            total += number * 10
        return total
""",
    {
        "type": "asserts",
        "entry_point": "sum",
        "asserts": ["assert sum([1, 2]) == 30", "assert sum([]) == 0", "assert sum([5]) == 50"],
    },
)

HONEST.append(
    Honest(
        "a-continued-prompt-with-a-helper",
        {
            "prompt": source(r'''
                def is_palindrome(text: str) -> bool:
                    """Whether it reads the same backwards."""
                    return text == text[::-1]


                def make_palindrome(text: str) -> str:
                    """The shortest palindrome that begins with the text."""
            '''),
            "completion": "    for start in range(len(text) + 1):\n        if is_palindrome(text[start:]):\n"
            "            return text + text[:start][::-1]\n",
            "reference": {
                "type": "script",
                "entry_point": "make_palindrome",
                "code": "def check(candidate):\n    assert candidate('cat') == 'catac' and candidate('') == ''\n"
                "    assert is_palindrome(candidate('xyz')) and candidate('xyx') == 'xyx'\n",
            },
        },
        config(prefix="prompt"),
    )
)

_honest(
    "stdin-by-lines-iterators-and-descriptors",
    r"""
    import os, sys
    first = input()
    second = sys.stdin.readline().strip()
    rest = [line.strip() for line in sys.stdin]
    print(first, second, rest, os.read(0, 10))
""",
    stdio(("a\nb\nc\n\nd\n", "a b ['c', '', 'd'] b''\n")),
)

_honest(
    "stdin-not-read",
    r"""
    print("done")
""",
    stdio(("x" * 200_000, "done\n")),
)

_honest(
    "stderr-and-a-clean-exit",
    r"""
    import sys
    print("note", file=sys.stderr)
    print("result")
    sys.exit(0)
""",
    stdio(("", "result\n")),
)

_honest(
    "atexit-and-finalizers",
    r"""
    import atexit
    atexit.register(print, "bye")
    print("hello")
""",
    stdio(("", "hello\nbye\n")),
)

_honest(
    "time-and-random",
    r"""
    import random, time
    random.seed(1)
    start = time.perf_counter()
    time.sleep(0.01)
    print(time.perf_counter() > start, random.Random(1).random() == random.random())
""",
    stdio(("", "True True\n")),
)

_honest(
    "c",
    r"""
    #include <stdio.h>
    #include <stdlib.h>
    int main(void) {
        long sum = 0, number;
        while (scanf("%ld", &number) == 1) sum += number;
        printf("%ld\n", sum);
        return 0;
    }
""",
    stdio(("1 2 3\n", "6\n"), ("-5\n5\n", "0\n"), ("", "0\n")),
    C,
)

_honest(
    "cpp",
    r"""
    #include <iostream>
    #include <map>
    #include <string>
    int main() {
        std::map<std::string, int> counts;
        for (std::string word; std::cin >> word;) counts[word]++;
        for (const auto &[word, count] : counts) std::cout << word << " " << count << "\n";
    }
""",
    stdio(("b a b\n", "a 1\nb 2\n"), ("x\n", "x 1\n")),
    CPP,
)

_honest(
    "javascript",
    r"""
    const lines = require("fs").readFileSync(0, "utf8").trim().split("\n");
    console.log(lines.map(Number).reduce((a, b) => a + b, 0));
""",
    stdio(("1\n2\n3\n", "6\n"), ("10\n", "10\n")),
    JAVASCRIPT,
)

_honest(
    "javascript-promises",
    r"""
    const later = (value) => new Promise((done) => setTimeout(() => done(value), 5));
    Promise.all([later(1), later(2)]).then((values) => console.log(values.join(" ")));
""",
    stdio(("", "1 2\n")),
    JAVASCRIPT,
)

_honest(
    "bash",
    r"""
    total=0
    while read -r number; do total=$((total + number)); done
    echo "$total" | tr -d ' ' > result
    cat result
""",
    stdio(("1\n2\n3\n", "6\n"), ("", "0\n")),
    BASH,
)

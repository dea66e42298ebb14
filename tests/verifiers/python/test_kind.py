"""Users' functions in every sandbox that works here."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sandbox.base import Sandbox
from tests.verifiers.support import NoGuard, assert_sound, configured, score_all
from verifiers.base import ErrorType, Item, Message, Verdict
from verifiers.python import Python


async def verdicts(sandbox: Sandbox, code: str, *completions: str, config: Any = None, **item: Any) -> list[Verdict]:
    items = [Item(completion=completion, **item) for completion in completions]
    return await scored(sandbox, code, items, config)


async def scored(sandbox: Sandbox, code: str, items: list[Item], config: Any = None) -> list[Verdict]:
    found = await score_all(configured("python", {"code": code, **(config or {})}), items, NoGuard(), sandbox=sandbox)
    for verdict in found:
        assert_sound(verdict)
    return found


def scores(found: list[Verdict]) -> list[float | None]:
    return [verdict.score for verdict in found]


async def fault(sandbox: Sandbox, code: str, **more: Any) -> str:
    """The message of the one item that the code makes unscored, beside others that it does not."""
    good, bad, other = await verdicts(sandbox, code, "good", "bad", "other", **more)
    assert (good.score, bad.score, other.score) == (1.0, None, 1.0), bad
    assert bad.error is not None
    assert (bad.error.type, bad.error.retryable) == (ErrorType.VERIFIER_FAULT, False)
    return bad.error.message


async def test_a_function_is_called_for_each_item(sandbox: Sandbox) -> None:
    code = """
import json, math, re
WORDS = {"a": 1.0, "b": 0.25}

def verify(completion, reference, prompt, metadata, messages):
    print("seen", completion)
    components = {"length": len(completion), "chat": len(messages)}
    return {"score": WORDS.get(completion, reference), "detail": [prompt, metadata], "components": components}
"""
    found = await verdicts(sandbox, code, "a", "b", "c", reference=-2, prompt="p", metadata={"x": ["ä\x00\ud800"]})
    assert [(verdict.score, str(verdict.outcome)) for verdict in found] == [
        (1.0, "correct"), (0.25, "partial"), (-2.0, "scored"),
    ]  # fmt: skip
    assert found[0].detail == {"stage": "python", "said": ["p", {"x": ["ä\x00\ud800"]}]}
    assert found[0].components == {"length": 1.0, "chat": 2.0}
    assert [verdict.full["printed"] for verdict in found] == ["seen a\n", "seen b\n", "seen c\n"]


async def test_chat_messages(sandbox: Sandbox) -> None:
    chat = [Message(role="system", content="s"), Message(role="assistant", content="a")]
    item = Item(completion=chat[1:], prompt=chat[:1])
    code = (
        "def verify(completion, prompt, messages):\n    return {'score': 1, 'detail': [completion, prompt, messages]}"
    )
    [verdict] = await scored(sandbox, code, [item])
    said = [{"role": "system", "content": "s"}, {"role": "assistant", "content": "a"}]
    assert verdict.detail["said"] == ["a", "s", said]


async def test_any_text_arrives_as_it_is(sandbox: Sandbox) -> None:
    texts = ["", "\x00", "\ud800", "\r\n", "😀", "'\"\\", "x" * 100_000]
    items = [Item(completion=text, reference=[ord(character) for character in text[:10]]) for text in texts]
    code = "def verify(completion, reference):\n    return [ord(c) for c in completion[:10]] == reference"
    assert scores(await scored(sandbox, code, items)) == [1.0] * len(texts)


async def test_numpy_numbers_are_numbers(sandbox: Sandbox) -> None:
    if "numpy" not in sandbox.packages:
        pytest.skip("this sandbox has no numpy")
    code = (
        "import numpy as np\ndef verify():\n    return {'score': np.float32(0.5), 'components': {'a': np.int64(3)}}"
    )
    [verdict] = await verdicts(sandbox, code, "x", config={"packages": ["numpy"]})
    assert (verdict.score, verdict.components) == (0.5, {"a": 3.0})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{}['key']", "verify raised KeyError: 'key' (line 4)"),
        ("raise SystemExit(0)", "verify raised SystemExit: 0 (line 4)"),
        ("raise KeyboardInterrupt", "verify raised KeyboardInterrupt (line 4)"),
        ("json.loads('{')", "verify raised JSONDecodeError: Expecting property name"),
        ("(lambda f: f(f))(lambda f: f(f))", "verify raised RecursionError: maximum recursion depth exceeded"),
        ("bytearray(10**10)", "verify"),
        ("return object()", "verify returned what is no result: an object of type 'object' is not plain data"),
        ("return (i for i in '12')", "verify returned what is no result: "),
        ("return 'x' * 10**6", "verify returned what is no result: the value takes more than 65536 bytes"),
        ("return float('inf')", "verify gave a number that is not finite"),
        ("return '1'", "verify gave a value of type str, not a number"),
        ("os._exit(0)", "verify: "),
        ("os.kill(os.getpid(), 9)", "verify: died of signal 9"),
        ("import ctypes; ctypes.string_at(0)", "verify: died of signal 11"),
        ("while True: pass", "verify: took more than 0.5 s of processor time"),
        ("x = [b'x' * 2**20 for _ in range(10**4)]", "verify"),
        ("os.close(3); return 1", "verify: "),
    ],
)
async def test_a_fault_in_one_item_is_the_verifiers_and_that_items_alone(
    sandbox: Sandbox, body: str, message: str
) -> None:
    code = f"import json, os\ndef verify(completion):\n    if completion == 'bad':\n        {body}\n    return 1"
    said = await fault(sandbox, code, config={"limits": {"cpu_s": 0.5, "memory_mb": 128}})
    assert said.startswith(message)


async def test_sleeping_in_one_item_costs_no_other(sandbox: Sandbox) -> None:
    code = "import time\ndef verify(completion):\n    time.sleep(9 if completion == 'bad' else 0.3)\n    return 1"
    limits = {"limits": {"cpu_s": 0.2, "wall_s": 0.8}}
    assert await fault(sandbox, code, config=limits) == "verify: took more than 0.8 s"
    assert scores(await verdicts(sandbox, code, *"abcde", config=limits)) == [1.0] * 5


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nothing_of_the_kind\ndef verify(): return 1", "ModuleNotFoundError: No module named"),
        ("\nx = 1 / 0", "ZeroDivisionError: division by zero (line 2)"),
        ("def check(): return 1", "TypeError: it defines no function 'verify'"),
        ("verify = 5", "TypeError: it defines no function 'verify'"),
        ("def verify(response): return 1", "TypeError: verify asks for 'response'; it may ask for completion, "),
        ("raise SystemExit(1)", "SystemExit: 1 (line 1)"),
        ("while True: pass", "took more than 0.5 s of processor time"),
        ("import os\nos._exit(0)", ""),
        ("x = bytearray(10**10)", ""),
        ("return 1", "SyntaxError: 'return' outside function (line 1)"),
    ],
)
async def test_code_that_cannot_be_loaded(sandbox: Sandbox, code: str, message: str) -> None:
    for verdict in await verdicts(sandbox, code, "a", "b", config={"limits": {"cpu_s": 0.5, "memory_mb": 128}}):
        assert verdict.error is not None
        assert (verdict.error.type, verdict.error.retryable) == (ErrorType.VERIFIER_FAULT, False)
        assert verdict.error.message.startswith(f"the code cannot be loaded: {message}")


async def test_items_do_not_see_one_another(sandbox: Sandbox) -> None:
    code = "import builtins\nseen = []\ndef verify(completion):\n    seen.append(completion)\n"
    code += "    assert sum([1]) == 1\n    builtins.sum = None\n    return {'score': 0, 'detail': seen}"
    found = await verdicts(sandbox, code, *"123456789")
    assert [verdict.detail["said"] for verdict in found] == [[digit] for digit in "123456789"]


async def test_an_item_of_ten_megabytes_breaks_no_neighbour(sandbox: Sandbox) -> None:
    found = await verdicts(sandbox, "def verify(completion): return len(completion)", "a", "x" * 10**7, "bc")
    assert scores(found) == [1.0, 1e7, 2.0]


async def test_what_is_printed_beside_pythons_streams_breaks_no_neighbour(sandbox: Sandbox) -> None:
    code = (
        "import os\ndef verify(completion):\n    os.write(1, b'x' * 200_000)\n    print('y' * 200_000)\n    return 1"
    )
    found = await verdicts(sandbox, code, *"abcdefghijkl")
    assert scores(found) == [1.0] * 12
    assert len(found[0].full["printed"]) == 2_000


async def test_it_reaches_nothing(sandbox: Sandbox) -> None:
    code = """
import os, socket

def verify(completion):
    reached = [name for name in os.environ if name.startswith("ASSAY")]
    for address in (("127.0.0.1", 8000), ("169.254.169.254", 80)):
        try:
            socket.create_connection(address, timeout=0.2)
            reached.append(address)
        except OSError:
            pass
    return {"score": not reached, "detail": reached}
"""
    [verdict] = await verdicts(sandbox, code, "x")
    assert verdict.score == 1.0, verdict.detail


async def test_the_deadline_leaves_what_is_unfinished(sandbox: Sandbox) -> None:
    code = "import time\ndef verify(completion):\n    time.sleep(0.25)\n    return 1"
    verifier = configured("python", {"code": code})
    items = [Item(completion=str(n)) for n in range(100)]
    started = time.monotonic()
    found = await score_all(verifier, items, NoGuard(), sandbox=sandbox, seconds=2)
    assert time.monotonic() - started < 4
    assert found[0].score == 1.0
    errors = [verdict.error.type for verdict in found if verdict.error is not None]
    assert set(errors) == {ErrorType.DEADLINE_EXCEEDED}
    assert 50 < len(errors) < 100


async def test_examples(sandbox: Sandbox) -> None:
    for example in Python.examples:
        [verdict] = await scored(sandbox, example.config["code"], [example.item], dict(example.config))
        assert verdict.score == example.score

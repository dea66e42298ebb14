from __future__ import annotations

import time
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.support import ANY_TEXT
from verifiers.base import BadItemError, Item, Message, Outcome
from verifiers.code.config import Language
from verifiers.code.decided import DecidedError
from verifiers.code.extract import MAX_CHARS, MAX_MARKS, blocks, fenced, program

Fence = Literal["last", "first", "whole"]
Prefix = Literal["none", "prompt"]


def found(
    completion: Any,
    language: Language = "python",
    fence: Fence = "last",
    prefix: Prefix = "none",
    prompt: str | None = None,
) -> str:
    item = Item(completion=completion, prompt=prompt)
    return program(item, language=language, fence=fence, prefix=prefix).decode("utf-8", "surrogatepass")


def refused(completion: str, **options: Any) -> tuple[Outcome, str]:
    with pytest.raises(DecidedError) as raised:
        found(completion, **options)
    verdict = raised.value.verdict
    assert (verdict.score, verdict.detail["stage"]) == (0.0, "extract")
    return verdict.outcome, verdict.detail["why"]


@pytest.mark.parametrize(
    ("completion", "code"),
    [
        ("x = 1", "x = 1"),
        ("  x = 1\n\n", "  x = 1\n\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("```python\nx = 1\n```", "x = 1\n"),
        ("Sure!\n\n```python\nx = 1\n```\nDone.", "x = 1\n"),
        ("```py\nx = 1\n```", "x = 1\n"),
        ("```python3\nx = 1\n```", "x = 1\n"),
        ("```Python 3.11\nx = 1\n```", "x = 1\n"),
        ("```{.python}\nx = 1\n```", "x = 1\n"),
        ('```python title="a.py"\nx = 1\n```', "x = 1\n"),
        ("~~~python\nx = 1\n~~~", "x = 1\n"),
        ("````python\n```\n````", "```\n"),
        ("~~~\n```\nx\n```\n~~~", "```\nx\n```\n"),
        ("```python\nx = 1\n`````", "x = 1\n"),
        ("   ```python\nx = 1\n   ```", "x = 1\n"),
        ("```python\r\nx = 1\r\n```\r\n", "x = 1\r\n"),
        # several blocks
        ("```python\na\n```\n```python\nb\n```", "b\n"),
        ("```\na\n```\n```\nb\n```", "b\n"),
        ("```bash\npip install x\n```\n```python\nb\n```", "b\n"),
        ("```python\na\n```\nOutput:\n```\n42\n```", "a\n"),
        ("```python\na\n```\n```text\n42\n```", "a\n"),
        ("```\na\n```\n```json\n{}\n```", "a\n"),
        # what does not end a block
        ('```python\ndef f():\n    """\n    ```\n    """\n```', 'def f():\n    """\n    ```\n    """\n'),
        ("```python\nx\n```python\ny\n```", "x\n```python\ny\n"),
        ("```python\nx\n~~~\ny\n```", "x\n~~~\ny\n"),
        ("```python\nx = 1 ```\ny\n```", "x = 1 ```\ny\n"),
        # cut off
        ("```python\nx = 1\ny =", "x = 1\ny ="),
        ("```python\na\n```\n```python\nb", "b"),
        # no block
        ("a ```python\nx\n", "a ```python\nx\n"),
        ("    ```\n    x\n    ```", "    ```\n    x\n    ```"),
        ("``` a ` b\nx", "``` a ` b\nx"),
        ("x = '``'", "x = '``'"),
        # thinking
        ("<think>\n```python\na\n```\n</think>\n```python\nb\n```", "b\n"),
        ("<think>\n```python\na\n```\n</think>\nb", "\nb"),
        ("\x00\ud800", "\x00\ud800"),
    ],
)
def test_the_program_of_a_completion(completion: str, code: str) -> None:
    assert found(completion) == code


@pytest.mark.parametrize(
    ("language", "tag", "fits"),
    [
        ("javascript", "js", True),
        ("javascript", "JavaScript", True),
        ("javascript", "typescript", False),
        ("javascript", "java", False),
        ("java", "javascript", False),
        ("typescript", "ts", True),
        ("c", "c", True),
        ("c", "c++", False),
        ("c", "cpp", False),
        ("c", "c#", False),
        ("c", "csharp", False),
        ("cpp", "c++", True),
        ("cpp", "C++17", True),
        ("cpp", "c", False),
        ("go", "golang", True),
        ("rust", "rs", True),
        ("bash", "sh", True),
        ("bash", "", True),
        ("python", "pycon", False),
        ("python", "output", False),
    ],
)
def test_blocks_of_a_language(language: Language, tag: str, fits: bool) -> None:
    completion = f"```{tag}\nx\n```"
    if fits:
        assert found(completion, language) == "x\n"
    else:
        assert refused(completion, language=language)[0] is Outcome.UNPARSEABLE


def test_the_first_block_where_that_is_asked() -> None:
    assert found("```\n0\n```\n```python\na\n```\n```python\nb\n```", fence="first") == "a\n"
    assert found("```\na\n```\n```\nb\n```", fence="first") == "a\n"


def test_the_whole_text_where_that_is_asked() -> None:
    assert found("```python\na\n```", fence="whole") == "```python\na\n```"
    assert found("<think>no</think>a", fence="whole") == "a"


def test_a_completion_that_continues_the_prompt_is_not_touched() -> None:
    prompt = "def f():\n"
    for completion in ("    return 1\n", "    return '```'\n```python\nx\n```", "  <think>"):
        assert found(completion, prefix="prompt", prompt=prompt) == prompt + completion


def test_a_prompt_to_continue_must_be_there() -> None:
    with pytest.raises(BadItemError, match=r"^prompt: send the one"):
        found("x", prefix="prompt")


def test_a_completion_of_chat_messages() -> None:
    assert (
        found([Message(role="user", content="```\na\n```"), Message(role="assistant", content="```\nb\n```")])
        == "b\n"
    )


@pytest.mark.parametrize(
    ("completion", "why"),
    [
        ("", "there is no code"),
        (" \n\t", "there is no code"),
        ("```python\n```", "there is no code"),
        ("```python\nx\n```\n```python\n\n```", "there is no code"),
        ("<think>x = 1", "the thinking part never ends"),
        ("```bash\nls\n```", "no code block is python, or not marked"),
        ("```json\n{}\n```\n```c\nx\n```", "no code block is python, or not marked"),
    ],
)
def test_completions_without_a_program(completion: str, why: str) -> None:
    assert refused(completion) == (Outcome.UNPARSEABLE, why)


def test_nothing_to_continue_with() -> None:
    options: dict[str, Any] = {"prefix": "prompt", "prompt": "x"}
    assert refused(" \n", **options) == (Outcome.UNPARSEABLE, "the completion is empty")


def test_too_much_text() -> None:
    assert refused("x" * (MAX_CHARS + 1))[0] is Outcome.OUTPUT_EXCEEDED
    assert refused("x" * MAX_CHARS, prefix="prompt", prompt="x")[0] is Outcome.OUTPUT_EXCEEDED
    assert found("<think>" + "x" * 10_000_000 + "</think>y") == "y"


@pytest.mark.parametrize(
    "text",
    [
        "```" * (MAX_CHARS // 3),
        "```\n" * (MAX_CHARS // 4),
        "x```" * (MAX_CHARS // 4),
        "~" * MAX_CHARS,
        "\n" * (MAX_CHARS - 3) + "```",
        "x" * (MAX_CHARS - 3 * MAX_MARKS) + "```" * MAX_MARKS,
        "```\n" * MAX_MARKS,
        ("x" * 90 + "```") * MAX_MARKS,
        "``` " + "9" * (MAX_CHARS - 10) + "\nx",
        "``` " + "a" * (MAX_CHARS - 10) + "\nx",
        "   " * (MAX_CHARS // 4) + "```",
    ],
    ids=lambda text: repr(text[:5]),
)
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    try:
        found(text)
    except DecidedError as decided:
        assert decided.verdict.score == 0.0
    assert time.process_time() - began < 0.2


@given(text=ANY_TEXT)
def test_any_text_gives_a_program_or_a_reason(text: str) -> None:
    try:
        assert found(text) in text
    except DecidedError as decided:
        assert decided.verdict.score == 0.0


@given(
    code=st.text().filter(lambda code: code.strip() and "```" not in code and "think>" not in code), prose=st.text()
)
def test_a_marked_block_is_found_in_any_prose(code: str, prose: str) -> None:
    prose = prose.replace("`", "").replace("~", "").replace("think>", "")
    assert found(f"{prose}\n```python\n{code}\n```\n{prose}\n```\n{prose}\n```") == code + "\n"


@given(
    lines=st.lists(st.sampled_from(["```", "```python", "~~~", "x", "   ```", "    ```", "````", ""]), max_size=12)
)
def test_blocks_never_overlap(lines: list[str]) -> None:
    text = "\n".join(lines)
    end = 0
    for _, block in blocks(text):
        assert text.find(block, end) >= end
        end = text.find(block, end) + len(block)
    try:
        assert fenced(text, "python", "last") in text
    except DecidedError as decided:
        assert decided.verdict.outcome is Outcome.UNPARSEABLE

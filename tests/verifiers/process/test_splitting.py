"""Where steps begin and end: exact spans, whatever the text."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.support import ANY_TEXT
from verifiers.base import BadItemError
from verifiers.process.splitting import located, spans


def split(text: str, how: str, pattern: str | None = None, most: int = 64) -> list[str]:
    return [text[a:b] for a, b in spans({"text": text, "split": how, "pattern": pattern, "most": most})]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", []),
        (" \n\n \t\n", []),
        ("one", ["one"]),
        ("one\n\ntwo", ["one", "two"]),
        ("\n\n one \n \t\n\n\ntwo\nlines\n\n", ["one", "two\nlines"]),
        ("one\r\n\r\ntwo\r\nlines", ["one", "two\r\nlines"]),
        ("one\n\n\ud800\n\n\x00", ["one", "\ud800", "\x00"]),
        ("one\n\u00a0\u3000\x0b\ntwo", ["one", "two"]),
        ("So:\n\n```py\na\n\nb\n```\n\nthen", ["So:", "```py\na\n\nb\n```", "then"]),
        ("~~~\r\na\r\n\r\nb\r\n~~~\r\n\r\nc", ["~~~\r\na\r\n\r\nb\r\n~~~", "c"]),
        ("  ````\na\n\n```\n\n````\nb\n\nc", ["````\na\n\n```\n\n````\nb", "c"]),
        ("```\na\n\nb", ["```\na", "b"]),  # never closed
        ("```\na\n\n``` py\n\nb", ["```\na", "``` py", "b"]),  # no closing fence has words behind it
        ("```a`b\n\nc\n```\n\nd", ["```a`b", "c\n```", "d"]),  # code in a line, and a block never closed
    ],
)
def test_blank_lines(text: str, steps: list[str]) -> None:
    assert split(text, "blank_line") == steps


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("1. a\n2. b", ["1. a", "2. b"]),
        ("So:\n1) a\nmore\n2) b\n", ["So:", "1) a\nmore", "2) b"]),
        ("Step 1: a\nStep 2: b", ["Step 1: a", "Step 2: b"]),
        ("**Step 1** a\n### Step 2 - b\n__3.__ c", ["**Step 1** a", "### Step 2 - b", "__3.__ c"]),
        ("0. a\n1. b", ["0. a", "1. b"]),
        ("1. a\n 1. inner\n 7. inner\n2. b", ["1. a\n 1. inner\n 7. inner", "2. b"]),
        ("1. a\n2.5 is no step\n2. b", ["1. a\n2.5 is no step", "2. b"]),
        ("2019. was a year", ["2019. was a year"]),
        ("no numbers", ["no numbers"]),
        ("     1. too deep\n2. b", ["1. too deep\n2. b"]),
        ("1. a\n```\n2. in code\n```\n2. b", ["1. a\n```\n2. in code\n```", "2. b"]),
        ("1. a\n```\n2. b", ["1. a\n```", "2. b"]),
    ],
)
def test_numbered(text: str, steps: list[str]) -> None:
    assert split(text, "numbered") == steps


@pytest.mark.parametrize(
    ("text", "pattern", "steps"),
    [
        ("a\nb\n\nc", r"\n", ["a", "b", "c"]),
        ("é;😀;\ud800;z", ";", ["é", "😀", "\ud800", "z"]),
        ("a <sep> b", r"<sep>", ["a", "b"]),
        ("aXbx", r"(?i)x", ["a", "b"]),
        ("abc", r"^|c", ["ab"]),
    ],
)
def test_patterns(text: str, pattern: str, steps: list[str]) -> None:
    assert split(text, "pattern", pattern) == steps


def test_what_is_beyond_the_bound_is_in_the_last_step() -> None:
    assert split("a\n\nb\n\nc\n\nd", "blank_line", most=2) == ["a", "b\n\nc\n\nd"]
    assert split("a\n\nb", "blank_line", most=1) == ["a\n\nb"]


PIECES = st.lists(
    st.sampled_from(
        ["\n\n", "\n", " ", "1. ", "2. ", "Step 3: ", "x", "é", "\ud800", "\x00", "\r", "\n```", "\n~~~\n", "\u00a0"]
    ),
    max_size=40,
)


@given(
    text=ANY_TEXT | PIECES.map("".join),
    how=st.sampled_from(["blank_line", "numbered", "pattern"]),
    most=st.integers(1, 9),
)
def test_spans_are_exact_in_order_and_leave_nothing_out(text: str, how: str, most: int) -> None:
    found = spans({"text": text, "split": how, "pattern": "[\\n;]+", "most": most})
    assert len(found) <= most
    behind = 0
    for start, end in found:
        assert behind <= start < end <= len(text)
        assert text[start:end] == text[start:end].strip()
        behind = end
    kept = "".join(text[start:end] for start, end in found)
    if how != "pattern":
        assert "".join(kept.split()) == "".join(text.split())


def test_a_large_text_takes_linear_time() -> None:

    for text in (
        "\n" * 400_000,
        "\n \t" * 200_000,
        "1. " * 200_000,
        "\n1." * 200_000,
        "#" * 400_000,
        "\n##  step " * 40_000,
        "```\n\n" * 100_000,
        "`" * 400_000,
        "\n```" * 100_000,
        " \u00a0" * 200_000,
    ):
        for how in ("blank_line", "numbered"):
            started = time.process_time()
            spans({"text": text, "split": how, "pattern": None, "most": 64})
            assert time.process_time() - started < 2


@given(
    text=PIECES.map("".join),
    lengths=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=12),
)
def test_given_steps_are_found_apart_and_in_order(text: str, lengths: list[tuple[int, int]]) -> None:
    steps: list[str] = []
    at = 0
    for skipped, length in lengths:
        if (step := text[at + skipped : at + skipped + length]).strip():
            steps.append(step)
        at += skipped + length
    found = located(text, steps)
    assert [text[start:end] for start, end in found] == steps
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(found))


def test_given_steps_are_found_one_behind_the_other() -> None:
    text = "a = 1. Then a = 1. Done"
    assert located(text, ["a = 1.", "a = 1.", "Done"]) == [(0, 6), (12, 18), (19, 23)]
    assert located("xxab", ["b"], 2) == [(3, 4)]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["a", "a"], "reference/steps/1: 'a' is not in the completion behind the step before it"),
        (["b", "a"], "reference/steps/1: 'a' is not in the completion behind the step before it"),
        ([" "], "reference/steps/0: the step is empty"),
        ([""], "reference/steps/0: the step is empty"),
    ],
)
def test_given_steps_that_are_not_there(steps: list[str], message: str) -> None:
    with pytest.raises(BadItemError) as caught:
        located("a b", steps)
    assert str(caught.value) == message

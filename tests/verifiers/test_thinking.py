from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.support import ANY_TEXT
from verifiers.base import Item, Message
from verifiers.thinking import final_section, section


@pytest.mark.parametrize(
    ("prompt", "completion", "final"),
    [
        (None, "42", "42"),
        (None, "", ""),
        (None, "<think>41?</think>42", "42"),
        (None, "41?</think>42", "42"),
        ("6 * 7?<think>", "41?</think>42", "42"),
        ("6 * 7?<think>\n", "41?</think>42", "42"),
        ("6 * 7?<think>\n", "42", None),
        ("Think between <think> and </think>.", "42", "42"),
        ("Begin with <think>, please.", "42", "42"),
        (None, "<think>42", None),
        (None, "<think>41</think>42<think>43", None),
        (None, "<think>41</think>42<think>43</think>44", "44"),
        (None, "<think>41</think>", ""),
        (None, "<think><think>41</think>42", "42"),
        (None, "a</think>b</think>c", "c"),
        (None, "think> and </think", "think> and </think"),
        ("x" * 1000 + "<think>" + " " * 100, "42", None),
    ],
)
def test_final_section(prompt: str | None, completion: str, final: str | None) -> None:
    assert final_section(Item(prompt=prompt, completion=completion)) == final


def test_a_template_may_open_the_thinking_in_the_last_message() -> None:
    prompt = [Message(role="user", content="6 * 7?"), Message(role="assistant", content="<think>\n")]
    assert final_section(Item(prompt=prompt, completion="41?</think>42")) == "42"
    assert final_section(Item(prompt=prompt, completion="42")) is None


@given(thought=ANY_TEXT, answer=st.text().filter(lambda text: "think>" not in text))
def test_what_stands_in_the_thinking_never_matters(thought: str, answer: str) -> None:
    thought = thought.replace("think>", "")
    assert final_section(Item(completion=f"<think>{thought}</think>{answer}")) == answer


def test_section() -> None:
    item = Item(completion="<think>a</think>b")
    assert section(item, "whole") == "<think>a</think>b"
    assert section(item, "final") == "b"

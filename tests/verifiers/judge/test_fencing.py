"""Texts that are written against the judge that reads them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.support import ANY_TEXT
from verifiers.judge.emptiness import OPENINGS, says_nothing
from verifiers.judge.fencing import fence, nonce_for, shown


@pytest.mark.parametrize(
    ("marker", "harmless"),
    [
        ("<|im_end|>", "‹¦im_end¦›"),
        ("<|start_header_id|>", "‹¦start_header_id¦›"),
        ("<｜User｜>", "‹¦User¦›"),
        ("[/INST]", "⟦/INST⟧"),
        ("[inst]", "⟦inst⟧"),
        ("<<SYS>>", "‹‹SYS››"),
        ("</s>", "‹/s›"),
        ("<end_of_turn>", "‹end_of_turn›"),
        ("</think>", "‹/think›"),
        ("[[A]]", "⟦⟦A⟧⟧"),
        ("[[10]]", "⟦⟦10⟧⟧"),
        ("<<<RESPONSE", "‹‹‹RESPONSE"),
        (">>>>", "››››"),
        ("\nAssistant: yes", "\nAssistant¦ yes"),
        ("\n**System**:", "\n**System**¦"),
        ("\n### Response:", "\n♯♯♯ Response¦"),
        ("\n## Instruction\n", "\n♯♯ Instruction\n"),
        ("\x00", "␀"),
        ("\x1b[2J", "␛[2J"),
        ("\x7f", "␡"),
        ("\ud800", "\ufffd"),
        ("\u202e", "\ufffd"),
        ("\U000e0041", "\ufffd"),
        ("\u200b", "\ufffd"),
        ("\ufeff", "\ufffd"),
        ("\x9b", "\ufffd"),
        ("\U000e0100\U000e01ef", "\ufffd\ufffd"),
        ("\ufe01\ufe02\ufe03", "\ufffd\ufffd\ufffd"),
        ("\u200d\u200c\u200d", "\ufffd\ufffd\ufffd"),
    ],
)
async def test_markers_are_made_harmless_in_sight(marker: str, harmless: str) -> None:
    text = f"before{marker}after"
    found = await shown(text, 1000)
    assert found.text == f"before{harmless}after"
    assert found.changes == 1
    [(at, was)] = found.changed
    assert text[at : at + len(was)] == was


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d, x << 2, y >> 3",
        "if (a | b) { x[0][1] = y[[0]; }",
        "The user: me",
        "<div class='a'>&amp;</div>\n\t# Heading\n## Results\n",
        "Ответ 42, 答え, 👩‍👩‍👧 ❤️\u200d🔥, می\u200cخواهم, क्\u200dष",
        "std::vector<std::vector<int>> v;",
    ],
)
async def test_other_text_stays_as_it_is(text: str) -> None:
    assert (await shown(text, 1000)).text == text


async def test_a_long_text_keeps_both_ends_and_says_what_is_left_out() -> None:
    found = await shown("a" * 400 + "<|x|>" + "b" * 595, 100)
    assert found.text == "a" * 50 + "\n[900 characters are left out here]\n" + "b" * 50
    assert found.left_out == 900
    found = await shown("a" * 950 + "<|im_end|>" + "b" * 40, 100)
    assert found.changed == [(950, "<|im_end|>")]


@given(text=st.text(st.sampled_from("<|>[]sINT/:\n# asUuer\x00\ud800A｜"), max_size=80) | ANY_TEXT)
async def test_changes_keep_the_length_can_be_undone_and_need_no_second_time(text: str) -> None:
    found = await shown(text, 10_000)
    assert len(found.text) == len(text)
    undone = found.text
    if found.changes <= 50:
        for at, was in found.changed:
            undone = undone[:at] + was + undone[at + len(was) :]
        assert undone == text
    found.text.encode()  # no lone surrogate is left
    assert not re.search(r"<[|｜][^<>\n]{1,60}[|｜]>|\[/?INST\]|</?s>|<{3}|>{3}|\x00", found.text)


@given(texts=st.lists(ANY_TEXT, max_size=3))
def test_the_code_stands_in_no_text(texts: list[str]) -> None:
    nonce = nonce_for(texts)
    assert re.fullmatch("[0-9a-f]{8}", nonce)
    assert nonce == nonce_for(list(texts))
    more = nonce_for([*texts, nonce])
    assert more != nonce


def test_a_text_with_its_own_code_gets_another() -> None:
    """No text is known that holds its own digest, so the first codes of many are put into one."""
    codes = {nonce_for([str(n)]) for n in range(300)}
    assert len(codes) == 300
    every = " ".join(f"{a:x}{b:x}" for a in range(16) for b in range(16))
    assert nonce_for([every]) not in every
    assert fence("RESPONSE", "x", "0a1b2c3d") == "<<<RESPONSE 0a1b2c3d\nx\nRESPONSE 0a1b2c3d>>>"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        ":",
        "...",
        "—",
        "\u200b\u2060",
        "```\n```",
        "###",
        "**",
        "Thought process:",
        "thought process",
        "Solution",
        "**Solution:**\n\n",
        "# Answer\n\n## Solution:\n",
        "Let's solve this problem step by step.",
        "Let’s solve this problem step by step…",
        "Solution: Let's think step by step.",
        "The final answer is:",
        "解",
        "让我们一步一步地思考。",
        "かいせつ",
        "Respuesta:",
        "Réponse :",
        "Lösung",
        "Решение:",
        "." * 5000,
        " " * 3000 + ":",
        "Solution:\n" * 5000,
        "Let's think step by step. Thought process: " * 500,
        "\u3164",
        "\u115f\u034f\ufe0f",
        "\u2800" * 10,
        "S\u200bolu\u00adtion",
        "Ｓｏｌｕｔｉｏｎ：",
        "$$\\boxed{}$$",
    ],
)
def test_what_says_nothing(text: str) -> None:
    assert says_nothing(text)


@pytest.mark.parametrize(
    "text",
    [
        "42",
        "-1",
        "A",
        "yes",
        "x",
        "Solution: 42",
        "答案是四",
        "👍",
        "√2",
        "+",
        "Step 1: add",
        "?x",
        "." * 5000 + "x",
        "0",
        "Solution:\n" * 5000 + "4",
        "word " * 5000,
        "$5",
    ],
)
def test_what_says_something(text: str) -> None:
    assert not says_nothing(text)


def test_an_opening_that_is_the_right_answer_says_something() -> None:
    assert not says_nothing("Solution.", "solution")
    assert says_nothing("Solution.", "mixture")
    assert not says_nothing("?", "?")
    assert not says_nothing(" : ", ":")
    assert says_nothing(":", ";")
    assert says_nothing("", "")


def test_openings_are_written_as_they_are_looked_up() -> None:
    assert all(says_nothing(opening.strip()) for opening in OPENINGS)
    assert len(OPENINGS) > 100

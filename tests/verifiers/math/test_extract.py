"""Where answers are found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.support import ANY_TEXT
from verifiers.math.extract import MAX_BRACES, MAX_PLACES, WINDOW, find_answers, find_box, find_whole

PIECES = st.sampled_from([
    "\\boxed{", "\\fbox{", "}", "{", "\\{", "\\}", "\\", "The answer is ", "Answer:", "#### ", "\nA: ", "$",
    "$$", "\\[", "\\]", "\n", ".", " ", "42", "x", ", so ", "**", "!", "\\phantom{2}",
])  # fmt: skip


@pytest.mark.parametrize(
    ("text", "form", "answers"),
    [
        ("so \\boxed{42}.", "box", ["42"]),
        ("\\boxed{\\frac{1}{2}}", "box", ["\\frac{1}{2}"]),
        ("\\boxed{\\{1, 2\\}}", "box", ["\\{1, 2\\}"]),
        ("\\\\boxed{5}", "box", ["5"]),
        ("$\\fbox{42}$", "box", ["42"]),
        ("\\boxed {7}", "box", ["7"]),
        ("\\boxed{\\boxed{5}}", "box", ["\\boxed{5}"]),
        ("4 = \\boxed{\\phantom{2}}, so \\boxed{4}", "box", ["4"]),
        ("\\boxed{1,2,3} or \\boxed{4}", "box", ["1,2,3", "4"]),
        ("The answer is 3. \\boxed{4}", "box", ["4"]),
        ("The answer is 42. Great!", "claim", ["42"]),
        ("the answer is: 42", "claim", ["42"]),
        ("**Final Answer:**\n\n18", "claim", ["18"]),
        ("**Answer: 3.5**", "claim", ["3.5**"]),
        ("Answer: \\[\n x=5 \n\\]", "claim", ["x=5"]),
        ("The answer is 5, because 3+2=5.", "claim", ["5"]),
        ("The answer is $5.00.", "claim", ["$5.00."]),
        ("The answer is $x = 1. 5$. Yes", "claim", ["$x = 1. 5$"]),
        ("The answer is 42!", "claim", ["42"]),
        ("the answers are 3 and 4", "claim", ["3 and 4"]),
        ("The correct option is C.", "claim", ["C"]),
        ("The answer is 1. The answer is 2.", "claim", ["1", "2"]),
        ("text\n#### 1,234", "claim", ["1,234"]),
        ("text\nA: 18", "claim", ["18"]),
        ("#### Step 1\nIt is 5", "line", ["It is 5"]),
        ("text\n\\[ \n 5 \n\\]\n", "line", ["5"]),
        ("42", "line", ["42"]),
    ],
)
def test_answers(text: str, form: str, answers: list[str]) -> None:
    found = find_answers(text)
    assert [span.text for span in found.answers] == answers
    assert found.form == form


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n ",
        "\\boxed{}",
        "\\boxed{\\phantom{xxx}}",
        "\\boxed{12} and \\boxed{1",
        "The answer is 5. \\boxed{1",
        "it is \\boxed",
        "word " * 300,
    ],
)
def test_no_answer(text: str) -> None:
    found = find_answers(text)
    assert not found.answers
    assert found.missing


def test_only_boxes() -> None:
    assert not find_box("The answer is 5").answers
    assert [span.text for span in find_box("\\boxed{5}").answers] == ["5"]


def test_the_whole_text() -> None:
    [span] = find_whole("  x + 1\n").answers
    assert (span.text, span.start, span.end) == ("x + 1", 2, 7)
    assert find_whole(" ").missing


def test_only_the_end_is_looked_at() -> None:
    assert not find_answers("\\boxed{5}" + "\n" * WINDOW + "and so on, for ever " * 99).answers
    [span] = find_answers("x" * WINDOW + "\\boxed{5}").answers
    assert (span.start, span.end) == (WINDOW + 7, WINDOW + 8)


def test_only_the_last_boxes_are_looked_at() -> None:
    found = find_answers("".join(f"\\boxed{{{n}}}" for n in range(100)))
    assert [span.text for span in found.answers] == [str(n) for n in range(100 - MAX_PLACES, 100)]


def test_scanning_for_the_end_of_a_box_is_bounded() -> None:
    assert find_answers("\\boxed{" + "{}" * MAX_BRACES + "}").missing
    [span] = find_answers("\\boxed{" + "1" * 40_000 + "}").answers
    assert len(span.text) == 40_000


@given(ANY_TEXT | st.lists(PIECES, max_size=30).map("".join))
def test_any_text_is_searched_and_spans_are_true(text: str) -> None:
    for find in (find_answers, find_box, find_whole):
        found = find(text)
        assert bool(found.answers) != bool(found.missing)
        for span in found.answers:
            assert text[span.start : span.end] == span.text
            assert span.text == span.text.strip()

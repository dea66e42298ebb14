"""Rows of a data set, their order, and prompts as token ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.app.models.making import tokenizer
from trainer_client.config import DataSection
from trainer_client.data import Order, PromptEncoder, Row, hold_out, read_rows
from trainer_client.training_errors import DataError


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def encoder(longest: int | None = None, **section: Any) -> PromptEncoder:
    return PromptEncoder(tokenizer(), DataSection(train="x", **section), longest)


def test_rows_are_read_from_lines_and_from_an_array(tmp_path: Path) -> None:
    row = {"prompt": "a\u2028b", "reference": {"x": 1}, "verifier": "math@2", "metadata": {"level": 3}, "answer": "c"}
    for text in (f"\n{json.dumps(row, ensure_ascii=False)}\n\n", json.dumps([row])):
        path = tmp_path / "rows"
        path.write_text(text, encoding="utf-8")
        assert read_rows(path) == [Row(1, "a\u2028b", {"x": 1}, "math@2", None, {"level": 3}, {"answer": "c"})]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"reference": "1"}, "needs prompt .* neither"),
        ({"prompt": "a", "messages": []}, "both"),
        ({"prompt": ""}, "prompt: must be a text that is not empty"),
        ({"prompt": 3}, "prompt: must be a text"),
        ({"messages": []}, "messages: has no messages"),
        ({"messages": [{"content": "a"}]}, "message 1 must be an object with a `role`"),
        ({"messages": [{"role": "user"}]}, "message 1 has neither `content`"),
        ({"prompt": "a", "verifier": 3}, "verifier: must be a str, and is a int"),
        ({"prompt": "a", "metadata": []}, "metadata: must be a dict"),
        ({"prompt": "a", "tools": {}}, "tools: must be a list"),
        ({"messages": [{"role": "user", "content": None}]}, "message 1 has neither `content`"),
        ({"messages": [{"role": "user", "content": 3}]}, "message 1: content: must be a text"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "message 1: content: must be a text"),
        ({"prompt": "a", "verifier": ""}, "verifier: is empty"),
        ({"prompt": "a", "metadata": {"x": float("nan")}}, r"\(line 2\): is no JSON: NaN is not a finite number"),
        ({"prompt": "a", "reference": float("-inf")}, "-Infinity is not a finite number"),
        ("text", "must be an object, and is a str"),
        (None, "must be an object"),
    ],
)
def test_a_bad_row_is_named_with_its_field(tmp_path: Path, row: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"row 2.*{said}"):
        read_rows(written(tmp_path, {"prompt": "fine"}, row))


@pytest.mark.parametrize("broken", ['{"prompt": ', '{"prompt": 1e999}', '{"prompt": ' + "9" * 5000 + "}"])
def test_a_line_that_is_no_json_is_named(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "rows"
    path.write_text('{"prompt": "a"}\n\n' + broken + "\n")
    with pytest.raises(DataError, match=r"row 2 \(line 3\): is no JSON"):
        read_rows(path)


@pytest.mark.parametrize("content", ['{"prompt": "a"}\r\n\r\n{"prompt": "b"}', '[{"prompt": "a"},\n{"prompt": "b"}]'])
def test_a_byte_order_mark_and_other_line_ends_are_no_part_of_a_row(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b"\xef\xbb\xbf" + content.encode())
    assert [row.prompt for row in read_rows(path)] == ["a", "b"]


def test_a_file_that_is_no_text_is_told_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1\x80")
    with pytest.raises(DataError, match=r"is no UTF-8 text .* save the rows as JSON, one object a line"):
        read_rows(path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_file_without_rows_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows"
    path.write_bytes(content)
    with pytest.raises(DataError, match=str(path)):
        read_rows(path)


@given(st.integers(2, 60), st.integers(0, 2**40), st.data())
def test_held_out_rows_are_never_trained_on(count: int, seed: int, data: st.DataObject) -> None:
    rows = [Row(number, str(number)) for number in range(1, count + 1)]
    held = data.draw(st.integers(0, count - 1))
    training, held_out = hold_out(rows, held, seed)
    assert len(held_out) == held
    assert sorted([*training, *held_out], key=lambda row: row.number) == rows
    assert (training, held_out) == hold_out(rows, held, seed)


def test_holding_out_everything_is_refused() -> None:
    with pytest.raises(DataError, match="leaves none to train on"):
        hold_out([Row(1, "a")], 1, 0)


def test_a_prompt_that_is_held_out_is_in_no_other_row_that_is_trained_on() -> None:
    rows = [Row(number, f"{number % 5}") for number in range(1, 21)]
    training, held_out = hold_out(rows, 3, 0)
    assert len(held_out) == 3
    assert {row.prompt for row in training}.isdisjoint(row.prompt for row in held_out)
    with pytest.raises(DataError, match="leaves none to train on"):
        hold_out([Row(1, "a"), Row(2, "a ")], 1, 0)


@given(st.integers(1, 40), st.integers(0, 2**40), st.integers(0, 5))
def test_each_epoch_has_every_row_once(count: int, seed: int, epoch: int) -> None:
    order = Order(count, seed)
    places = [order[epoch * count + place] for place in range(count)]
    assert sorted(places) == list(range(count))
    assert places == [Order(count, seed)[epoch * count + place] for place in range(count)]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    epochs = [
        tuple(Order(30, seed)[epoch * 30 + place] for place in range(30)) for seed in (1, 2) for epoch in (0, 1)
    ]
    assert len(set(epochs)) == 4


def test_a_text_is_tokenised_as_it_is() -> None:
    text = tokenizer(template=None)
    assert text.decode(encoder().encode(Row(1, "2+2="))) == "2+2="


def test_messages_go_through_the_chat_template_with_its_arguments() -> None:
    text = tokenizer()
    text.chat_template = (
        "{% for m in messages %}{{ m.role }}:{{ m.content }}\n{% endfor %}"
        "{% if tools %}T{{ tools | length }}{% endif %}{% if add_generation_prompt %}A{{ mood }}{% endif %}"
    )
    made = PromptEncoder(text, DataSection(train="x", chat_template_kwargs={"mood": "!"}), None)
    ids = made.encode(Row(1, [{"role": "user", "content": "hi"}], tools=[{"type": "function"}]))
    assert text.decode(ids) == "user:hi\nT1A!"


def test_parts_of_a_message_are_one_text() -> None:
    parts = [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]
    assert encoder().encode(Row(1, [{"role": "user", "content": parts}])) == encoder().encode(
        Row(1, [{"role": "user", "content": "hi"}])
    )


def test_the_answer_is_not_shown_and_a_beginning_of_it_is_continued() -> None:
    row = Row(4, [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "<think>"}])
    with pytest.raises(DataError, match="row 4: messages: the last is the assistant's"):
        encoder().encode(row)
    continued = encoder(chat_template_kwargs={"continue_final_message": True}).encode(row)
    assert tokenizer().decode(continued).endswith("<|im_start|>assistant\n<think>")


def test_a_bos_that_the_text_has_already_is_not_doubled() -> None:
    text = tokenizer(bos=True)
    text.add_bos_token = True
    text.update_post_processor()
    assert text("hi")["input_ids"][0] == text.bos_token_id
    made = PromptEncoder(text, DataSection(train="x"), None)
    assert made.encode(Row(1, "<s>hi")) == made.encode(Row(1, "hi")) == text("hi")["input_ids"]


def test_what_cannot_be_a_prompt_is_named() -> None:
    with pytest.raises(DataError, match="row 3: prompt: cannot be tokenised"):
        encoder().encode(Row(3, "a\ud800"))
    with pytest.raises(DataError, match="row 3: tools: only a chat template shows them"):
        encoder().encode(Row(3, "a", tools=[{"type": "function"}]))


def test_what_the_chat_template_refuses_is_named() -> None:
    with pytest.raises(DataError, match="row 7: messages: the chat template refuses them: no tools here"):
        encoder().encode(Row(7, [{"role": "tool", "content": "x"}]))
    with pytest.raises(DataError, match="row 7: messages: this tokenizer has no chat template"):
        PromptEncoder(tokenizer(template=None), DataSection(train="x"), None).encode(
            Row(7, [{"role": "user", "content": "x"}])
        )


def test_a_prompt_that_is_too_long_is_refused_or_dropped() -> None:
    rows = [Row(1, "abc"), Row(2, "abcdef"), Row(3, "de")]
    with pytest.raises(DataError, match="row 2: prompt: has 6 tokens, and 4 fit"):
        encoder(longest=4).encode_all(rows)
    kept, ids = encoder(longest=4, long_prompts="drop").encode_all(rows)
    assert [row.number for row in kept] == [1, 3]
    assert [len(each) for each in ids] == [3, 2]
    with pytest.raises(DataError, match="row 1: prompt: has 3 tokens, and 2 fit"):
        encoder(max_prompt_tokens=2).encode_all(rows)
    with pytest.raises(DataError, match="all 3 prompts have more than 1 tokens"):
        encoder(max_prompt_tokens=1, long_prompts="drop").encode_all(rows)

"""Rows of plain JSON lines and of the public formats as items."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import readers
from app.readers import Choice, Format, InputError, Row, RowError, Source, detect, parse_row
from tests.conftest import DATA

GSM8K = {"question": "How many eggs?", "answer": "3 + 4 = <<3+4=7>>7\n#### 7"}
GSM8K_LABELLED = {"question": "How many eggs?", "ground_truth": "It is 7.\nA: 1,007", "solution": "A: 7"}
MATH = {"problem": "Halve 1.", "solution": "First $\\boxed{2}$, then $\\boxed{\\frac{1}{2}}$.", "level": 1}
MATH_WITH_ANSWER = {**MATH, "answer": "\\frac12", "unique_id": "algebra/1.json"}
MATH_OUTPUTS = {
    "idx": 3,
    "question": "Halve 1.",
    "gt": "0.5",
    "completions": ["\\boxed{0.5}", "no"],
    "pred": ["", ""],
}
HUMANEVAL = {
    "task_id": "Own/0",
    "prompt": "def double(n):\n",
    "canonical_solution": "    return 2 * n\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n",
    "entry_point": "double",
}


def items(row: Any, **choice: Any) -> list[dict[str, Any]]:
    return parse_row(json.dumps(row).encode(), 1, Choice(**choice))[0]


def rows_of(path: Path, **choice: Any) -> list[Row]:
    return list(Source(path).rows(Choice(**choice)))


class TestPlain:
    def test_an_item_stays_as_it_is(self) -> None:
        item = {"id": "a", "completion": "b", "reference": [1], "metadata": {"x": None}, "verifier": {"kind": "text"}}
        assert items(item) == [item]

    def test_a_field_that_no_item_has_is_for_the_service_to_refuse(self) -> None:
        assert items({"completion": "b", "refrence": "c"}) == [{"completion": "b", "refrence": "c"}]

    def test_another_field_holds_the_completion(self) -> None:
        assert items({"text": "b", "id": "a"}, completion_field="text") == [{"id": "a", "completion": "b"}]

    def test_chat_messages_are_one_completion(self) -> None:
        chat = [{"role": "assistant", "content": "b"}]
        assert items({"completion": chat}) == [{"completion": chat}]
        assert [item["completion"] for item in items({"completions": [chat, chat]})] == [chat, chat]

    @pytest.mark.parametrize("name", ["completions", "samples"])
    def test_several_completions_are_a_group(self, name: str) -> None:
        assert items({"id": "q", name: ["a", "b"], "reference": "a"}) == [
            {"id": "q/0", "group": "q", "reference": "a", "completion": "a"},
            {"id": "q/1", "group": "q", "reference": "a", "completion": "b"},
        ]
        assert {item["group"] for item in items({"id": "q", "group": "g", name: ["a", "b"]})} == {"g"}
        assert [(item["id"], item["group"]) for item in items({name: ["a"]})] == [(None, "line 1")]

    @pytest.mark.parametrize(
        ("row", "choice", "said"),
        [
            ({"prompt": "?"}, {}, "no completion in 'completion' or 'completions' or 'samples'"),
            ({"response": "a"}, {}, "--completion-field"),
            ({"completion": "a"}, {"completion_field": "text"}, "no completion in 'text'"),
            ({"completion": "a"}, {"gold": True}, "--gold"),
            ({"completions": []}, {}, "'completions' is an empty list"),
            ([{"completion": "a"}], {}, "not a JSON object"),
            ("completion", {}, "not a JSON object"),
        ],
    )
    def test_rows_that_cannot_be_used(self, row: Any, choice: dict[str, Any], said: str) -> None:
        with pytest.raises(RowError, match=said):
            items(row, **choice)


class TestGsm8k:
    def test_gold(self) -> None:
        assert items(GSM8K, gold=True) == [
            {"prompt": GSM8K["question"], "reference": "7", "completion": GSM8K["answer"], "id": None, "group": None}
        ]

    def test_labelled_solutions(self) -> None:
        [item] = items(GSM8K_LABELLED)
        assert (item["reference"], item["completion"]) == ("1007", "A: 7")

    @pytest.mark.parametrize("name", readers.COMPLETION_FIELDS)
    def test_the_usual_names_of_a_completion(self, name: str) -> None:
        assert items({**GSM8K, name: "It is 7."})[0]["completion"] == "It is 7."

    @pytest.mark.parametrize(
        ("end", "reference"), [("#### -1,234.50 ", "-1234.50"), ("####5", "5"), ("x #### 5", "5")]
    )
    def test_reference(self, end: str, reference: str) -> None:
        assert items({**GSM8K, "answer": f"So:\n{end}\n"}, gold=True)[0]["reference"] == reference

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"answer": "seven"}, "does not end in '#### N'"),
            ({"answer": "#### 7\nor so"}, "does not end in '#### N'"),
            ({"answer": "####  "}, "does not end in '#### N'"),
            ({"answer": 7}, "'answer' is not a string"),
            ({"question": None}, "'question' is missing"),
        ],
    )
    def test_rows_that_cannot_be_used(self, change: dict[str, Any], said: str) -> None:
        with pytest.raises(RowError, match=said):
            items({**GSM8K, **change}, gold=True, format=Format.GSM8K)
        with pytest.raises(RowError, match="no completion in 'completion'"):
            items(GSM8K)


class TestMath:
    def test_gold_and_the_last_box(self) -> None:
        [item] = items(MATH, gold=True)
        assert (item["prompt"], item["reference"]) == ("Halve 1.", "\\frac{1}{2}")
        assert item["completion"] == MATH["solution"]

    def test_answer_comes_before_the_box(self) -> None:
        [item] = items({**MATH_WITH_ANSWER, "response": "0.5"})
        assert (item["reference"], item["completion"], item["id"]) == ("\\frac12", "0.5", "algebra/1.json")

    def test_the_sets_own_solution_is_never_taken_for_a_completion(self) -> None:
        with pytest.raises(RowError, match="no completion"):
            items(MATH)

    def test_outputs_of_a_model(self) -> None:
        made = items(MATH_OUTPUTS)
        assert [(item["id"], item["group"], item["reference"]) for item in made] == [
            ("3/0", "3", "0.5"),
            ("3/1", "3", "0.5"),
        ]
        assert items(MATH_OUTPUTS, gold=True)[0]["completion"] == "\\boxed{0.5}"

    @pytest.mark.parametrize("solution", ["no box", "\\boxed{1", "\\boxed{\\frac{1}{2}"])
    def test_no_reference(self, solution: str) -> None:
        with pytest.raises(RowError, match="no \\\\boxed"):
            items({**MATH, "solution": solution}, gold=True)


class TestHumanEval:
    def test_gold(self) -> None:
        assert items(HUMANEVAL, gold=True) == [
            {
                "id": "Own/0",
                "group": "Own/0",
                "prompt": HUMANEVAL["prompt"],
                "completion": HUMANEVAL["canonical_solution"],
                "reference": {"type": "script", "entry_point": "double", "code": HUMANEVAL["test"]},
            }
        ]

    def test_several_completions(self) -> None:
        made = items({**HUMANEVAL, "completions": ["    return n + n\n", "    return n\n"]})
        assert [(item["id"], item["group"]) for item in made] == [("Own/0/0", "Own/0"), ("Own/0/1", "Own/0")]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (GSM8K, Format.GSM8K),
        (GSM8K_LABELLED, Format.GSM8K),
        (MATH, Format.MATH),
        (MATH_WITH_ANSWER, Format.MATH),
        (MATH_OUTPUTS, Format.MATH),
        (HUMANEVAL, Format.HUMANEVAL),
        ({"completion": "a", "reference": "b"}, Format.PLAIN),
        ({"question": "a", "answer": "b"}, Format.PLAIN),
        ({}, Format.PLAIN),
    ],
)
def test_format_is_told_by_the_fields(row: dict[str, Any], expected: Format) -> None:
    assert detect(row) is expected


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "at column 2"),
        (b'{"completion": NaN}', "not a finite number"),
        (b'{"completion": "a", "metadata": {"x": 1e999}}', "not a finite number"),
        (b'{"completion": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "nests deeper than 62 levels"),
        (b'{"completion": ' + b"9" * 5000 + b"}", "too many digits"),
    ],
)
def test_lines_that_are_no_row(line: bytes, said: str) -> None:
    with pytest.raises(RowError, match=said):
        parse_row(line, 1, Choice())


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ITEM = st.fixed_dictionaries(
    {"completion": st.text(st.characters())},
    optional={"id": st.text(), "reference": JSON, "metadata": st.dictionaries(st.text(), JSON, max_size=2)},
)


@given(rows=st.lists(ITEM, max_size=5), packed=st.booleans(), blank=st.booleans())
def test_plain_rows_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], packed: bool, blank: bool
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows"
    content = (b"\n\r\n" if blank else b"\n").join(json.dumps(row).encode() for row in rows)
    path.write_bytes(gzip.compress(content) if packed else content)
    read = rows_of(path)
    assert [row.items for row in read] == [[row] for row in rows]
    assert [row.line for row in read] == [1 + n * (1 + blank) for n in range(len(rows))]


@given(line=st.binary(max_size=200))
def test_any_line_is_a_row_or_a_row_error(line: bytes) -> None:
    try:
        made, _ = parse_row(line, 1, Choice())
    except RowError as error:
        assert str(error)
    else:
        assert all("completion" in item for item in made)


class TestSource:
    def test_a_line_that_is_too_long_costs_only_itself(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(readers, "MAX_ROW", 64)
        path = tmp_path / "rows"
        good = b'{"completion": "a"}'
        path.write_bytes(
            b"\n".join([good, b'{"completion": "' + b"a" * 1000 + b'"}', good.ljust(64), good.ljust(65)])
        )
        read = rows_of(path)
        assert [(row.line, len(row.items)) for row in read] == [(1, 1), (2, 0), (3, 1), (4, 0)]
        assert read[1].fault == read[3].fault == "longer than 0 MiB"

    def test_a_byte_order_mark_is_no_part_of_the_first_row(self, tmp_path: Path) -> None:
        path = tmp_path / "rows"
        path.write_bytes(b'\xef\xbb\xbf{"completion": "a"}\n')
        assert rows_of(path)[0].items == [{"completion": "a"}]

    def test_position_and_size(self, tmp_path: Path) -> None:
        path = tmp_path / "rows"
        path.write_bytes(gzip.compress(b'{"completion": "a"}\n' * 1000))
        source = Source(path)
        assert (source.position, source.size) == (0, None)
        for _ in source.rows(Choice()):
            assert source.size == path.stat().st_size
            assert 0 < source.position <= source.size
        assert source.position == source.size

    def test_a_pipe_has_no_size(self) -> None:
        ours, theirs = os.pipe()
        os.write(theirs, b'{"completion": "a"}\n')
        os.close(theirs)
        source = Source(Path(f"/proc/self/fd/{ours}"))
        assert len(list(source.rows(Choice()))) == 1
        assert (source.position, source.size) == (0, None)
        os.close(ours)

    def test_what_cannot_be_opened(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="none cannot be read: No such file"):
            rows_of(tmp_path / "none")

    def test_gzip_that_is_cut_or_damaged(self, tmp_path: Path) -> None:
        path = tmp_path / "rows"
        packed = gzip.compress(b"".join(b'{"completion": "%d"}\n' % n for n in range(5000)))
        for content in (packed[:-2000], packed[:10], packed[:500] + b"\0" * 50 + packed[550:]):
            path.write_bytes(content)
            with pytest.raises(InputError, match="cannot be read"):
                rows_of(path)


@pytest.mark.data
class TestRealData:
    @staticmethod
    def read(name: str, **choice: Any) -> list[Row]:
        rows = rows_of(DATA / f"{name}.jsonl.gz", **choice)
        assert [row.fault for row in rows] == [None] * len(rows)
        return rows

    def test_gsm8k(self) -> None:
        rows = self.read("math/gsm8k_test", gold=True)
        assert len(rows) == 1319
        assert all(row.items[0]["reference"].lstrip("-").isdigit() for row in rows)
        labelled = self.read("math/gsm8k_solutions_labelled")
        # four models on each problem, in the order of the problems
        assert [row.items[0]["reference"] for row in labelled[::4]] == [row.items[0]["reference"] for row in rows]

    def test_math(self) -> None:
        rows = self.read("math/math500", gold=True)
        assert len({row.items[0]["id"] for row in rows}) == 500
        groups = Counter(item["group"] for row in self.read("math/math_qwen25_100x8_labelled") for item in row.items)
        assert set(groups.values()) == {8}
        assert len(groups) == 100

    def test_the_box_of_a_solution_is_its_answer(self) -> None:
        with gzip.open(DATA / "math" / "math500.jsonl.gz") as file:
            rows = [json.loads(line) for line in file]
        boxed = [items({"problem": row["problem"], "solution": row["solution"]}, gold=True)[0] for row in rows]
        assert sum(item["reference"] == row["answer"] for item, row in zip(boxed, rows, strict=True)) >= 490

    def test_humaneval(self) -> None:
        rows = self.read("code/humaneval", gold=True)
        assert len(rows) == 164
        assert all("def check(candidate)" in row.items[0]["reference"]["code"] for row in rows)

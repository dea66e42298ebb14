"""`assay verifiers check`: a file of references, each held against its own answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.app.cli.conftest import Assay

Write = Callable[..., Path]


def test_good_references(assay: Assay, write_rows: Write) -> None:
    path = write_rows({"reference": "1/2"}, {"reference": "\\pi", "completion": "$\\boxed{\\pi}$"})
    ran = assay("verifiers", "check", "math", path)
    assert (ran.code, ran.out) == (0, "2 references: 2 ok, 0 failed, 0 unknown, 0 malformed\n")


def test_faults_are_told_by_line(assay: Assay, write_rows: Write) -> None:
    path = write_rows({"reference": "1"}, b"", {"reference": "\\frac{1}{2"}, b"{", {"answer": "x"})
    ran = assay("verifiers", "check", "math", path)
    assert ran.code == 1
    assert ran.out == "4 references: 1 ok, 1 failed, 0 unknown, 2 malformed\n"
    assert "line 3: reference: its braces are not balanced" in ran.err
    assert "line 5: 'reference' is missing" in ran.err
    assert "line 4: " in ran.err
    assert "3 references do not accept their own answer" in ran.err


def test_json(assay: Assay, write_rows: Write) -> None:
    ran = assay("verifiers", "check", "math", write_rows({"reference": "1"}, {"reference": ""}), "--json")
    fault, counts = ran.json_lines()
    assert fault == {"line": 2, "failed": "reference: the answer is empty"}
    assert counts == {"count": 2, "ok": 1, "failed": 1, "unknown": 0, "malformed": 0}


def test_public_formats_bring_their_own_answers(assay: Assay, write_rows: Write) -> None:
    path = write_rows(
        {"question": "6*7?", "answer": "It is 42.\n#### 42"},
        {"problem": "x?", "solution": "Thus $\\boxed{\\frac{1}{3}}$."},
        {"problem": "x?", "solution": "Thus $\\boxed{3}$.", "answer": "4"},
    )
    ran = assay("verifiers", "check", "math", path)
    assert ran.out == "3 references: 2 ok, 1 failed, 0 unknown, 0 malformed\n"
    assert "line 3: its own answer scores 0.0 (incorrect, rational)" in ran.err


def test_more_than_a_batch(assay: Assay, write_rows: Write) -> None:
    ran = assay("verifiers", "check", "math", write_rows(*({"reference": n} for n in range(1200))))
    assert ran.out == "1200 references: 1200 ok, 0 failed, 0 unknown, 0 malformed\n"


def test_what_cannot_be_asked(assay: Assay, write_rows: Write, tmp_path: Path) -> None:
    assert "no verifier 'nothing'" in assay("verifiers", "check", "nothing", write_rows({"reference": 1})).err
    assert "cannot be read" in assay("verifiers", "check", "math", tmp_path / "missing").err
    assert assay("verifiers", "check", "math", write_rows()).out.startswith("0 references")

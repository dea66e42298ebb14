"""What is read without the grammar is what the grammar would read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from verifiers.math import reading


@given(text=st.from_regex(r"-?[0-9]{1,18}", fullmatch=True), grouping=st.booleans())
def test_an_integer_is_read_as_the_grammar_reads_it(text: str, grouping: bool) -> None:
    assert repr(reading.read(text, grouping=grouping)) == repr(reading._read(text, grouping))

"""Values as JSON text that the service takes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_client.calls import ITEM_NAMES, one_sendable, slices
from trainer_client.encoding import UnsendableError, encoded, encoded_object
from trainer_client.results import Verdict

TEXT = st.text(st.characters(codec=None), max_size=20)  # lone surrogates and NUL among them
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_every_json_value_comes_back_from_ascii(value: Any) -> None:
    text = encoded(value)
    assert text.isascii()
    assert json.loads(text) == value


@given(st.dictionaries(st.sampled_from([*sorted(ITEM_NAMES), "other", 'a "quoted" name']), VALUES, max_size=8))
def test_an_item_is_written_as_any_object_is(item: dict[str, Any]) -> None:
    assert encoded_object(item, ITEM_NAMES) == encoded(item)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("-inf"), [1, {"a": float("inf")}], object(), {1, 2}, b"x", np.array([np.nan]), 10**5000],
    ids=["nan", "infinity", "inside", "object", "set", "bytes", "array", "digits"],
)
def test_what_json_has_not_is_unsendable_and_says_so(value: Any) -> None:
    with pytest.raises(UnsendableError, match=r"send"):
        encoded(value)
    verdict = one_sendable({"id": "a", "completion": "x", "reference": value})
    assert isinstance(verdict, Verdict)
    assert (verdict.id, verdict.score, verdict.outcome) == ("a", None, "unscored")


class Failing:
    def tolist(self) -> Any:
        raise RuntimeError("no data here")


def test_what_cannot_be_read_is_unsendable() -> None:
    with pytest.raises(UnsendableError, match="Failing cannot be read: no data here; send plain values"):
        encoded({"metadata": Failing()})


def test_what_holds_itself_is_unsendable() -> None:
    knot: list[Any] = []
    knot.append(knot)
    with pytest.raises(UnsendableError, match="nests"):
        encoded(knot)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=60), st.integers(1, 10), st.integers(9, 30)
)
def test_slices_hold_everything_once_in_order_within_their_bounds(
    entries: list[tuple[int, int]], most: int, most_weight: int
) -> None:
    texts, weights = ["x" * length for length, _ in entries], [weight for _, weight in entries]
    parts = list(slices(texts, weights, most, most_weight))
    assert [text for part in parts for text in texts[part]] == texts
    assert all(0 < part.stop - part.start <= most for part in parts)
    assert all(sum(weights[part]) <= most_weight for part in parts)

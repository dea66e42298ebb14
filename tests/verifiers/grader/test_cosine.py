"""The grader `text_similarity` by `cosine`: what is embedded, what two vectors are worth, and what goes wrong."""

from __future__ import annotations

import asyncio
import math
import time
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.verifiers.grader.support import alike, grade, graded, multi
from tests.verifiers.judge.scripted import Scripted
from verifiers.base import ErrorType, Outcome
from verifiers.embedding import Embedding
from verifiers.grader.cosine import PAIRS_AT_ONCE, cosine
from verifiers.lent import BackendError

PARIS = {"answer": "Paris"}
COSINE = alike("cosine", model="e")
VECTORS = {"Paris": [3.0, 4.0], "paris": [3.0, 4.1], "Rome": [4.0, 3.0], "no": [-3.0, -4.0]}


class Embedders(Scripted):
    """Backends whose models embed a text as a function says, and which remember the texts."""

    def __init__(self, vector: Callable[[str], Any] = VECTORS.__getitem__, *, cost: float | None = None) -> None:
        super().__init__()
        self._vector = vector
        self._cost = cost
        self.texts: list[str] = []

    async def embedding(self, name: str, text: str, *, deadline: float) -> Embedding:
        assert name == "e"
        self.texts.append(text)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await asyncio.sleep(0.001)
        self.at_once -= 1
        if time.monotonic() > deadline:
            raise BackendError(ErrorType.BACKEND_UNAVAILABLE, "took too long", retryable=True)
        said = self._vector(text)
        if isinstance(said, BackendError):
            raise said
        return Embedding(array("d", said), prompt_tokens=5, cost=self._cost)


async def test_the_score_is_the_cosine_of_both_embeddings() -> None:
    backends = Embedders(cost=0.5)
    verdicts = await graded(COSINE, "Rome", "no", "Paris", reference=PARIS, backends=backends)
    assert [verdict.score for verdict in verdicts] == pytest.approx([24 / 25, -1, 1], abs=1e-15)
    assert [verdict.outcome for verdict in verdicts] == [Outcome.SCORED] * 3
    assert sorted(backends.texts) == ["Paris", "Rome", "no"], "each text is embedded once"
    used = [verdict.detail["usage"]["e"]["prompt_tokens"] for verdict in verdicts]
    assert used == [10, 5, 0], "what was shared took nothing"
    assert [verdict.detail["usage"]["e"].get("cost") for verdict in verdicts] == [1.0, 0.5, None]
    assert verdicts[0].detail["stage"] == "text_similarity"


async def test_every_sample_gets_its_own_score_however_many_there_are() -> None:
    def vector(text: str) -> list[float]:
        angle = 0.0 if text == "Paris" else float(text)
        return [math.cos(angle), math.sin(angle)]

    backends = Embedders(vector)
    angles = [number / 200 for number in range(3 * PAIRS_AT_ONCE)]
    verdicts = await graded(COSINE, *map(str, angles), reference=PARIS, backends=backends)
    assert [verdict.score for verdict in verdicts] == pytest.approx([math.cos(angle) for angle in angles], abs=1e-9)
    assert PAIRS_AT_ONCE / 2 < backends.most_at_once <= 2 * PAIRS_AT_ONCE


@pytest.mark.parametrize("sample", ["", " \n\t"])
async def test_an_empty_sample_scores_lowest_and_asks_nothing(sample: str) -> None:
    backends = Embedders()
    verdict = await grade(COSINE, sample, PARIS, backends=backends)
    assert (verdict.score, verdict.outcome) == (-1.0, Outcome.UNPARSEABLE)
    assert verdict.detail["fault"] == "sample_parse_error"
    turned = alike("cosine", "{{item.answer}}", "{{sample.output_text}}", model="e")
    assert (await grade(turned, sample, PARIS, backends=backends)).score == -1.0
    assert backends.texts == []


@pytest.mark.parametrize("grader", [COSINE, alike("cosine", "{{item.answer}}", "x", model="e")])
async def test_an_empty_text_of_the_item_is_the_items_fault(grader: Any) -> None:
    verdict = await grade(grader, "Rome", {"answer": " "}, backends=Embedders())
    assert verdict.error is not None
    assert (verdict.error.type, verdict.detail["fault"]) == (ErrorType.BAD_ITEM, "other_error")
    assert "the text that is compared is empty" in verdict.error.message


async def test_an_unreadable_sample_scores_lowest_and_pays_at_neither_end() -> None:
    unreadable = alike("cosine", "{{sample.output_json.x}}", model="e")
    assert (await grade(unreadable, "no JSON", PARIS, backends=Embedders())).score == -1.0
    for formula, score in (("a", -1.0), ("1 - a", 0.0), ("-a", -1.0)):
        verdict = await grade(multi(formula, a=unreadable), "no JSON", PARIS, backends=Embedders())
        assert verdict.score == score


async def test_lone_surrogates_are_not_sent() -> None:
    backends = Embedders(lambda text: [1.0])
    assert (await grade(COSINE, "\ud800a", PARIS, backends=backends)).score == 1.0
    assert sorted(backends.texts) == ["?a", "Paris"]


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([0.0, -0.0], "a vector of zeros, which has no direction"),
        ([1.0, 2.0, 3.0], "vectors of different lengths, 3 and 2"),
    ],
)
async def test_vectors_without_an_angle_are_no_score(vector: Sequence[float], message: str) -> None:
    backends = Embedders(lambda text: vector if text == "odd" else [1.0, 2.0])
    odd, fine = await graded(COSINE, "odd", "fine", reference=PARIS, backends=backends)
    assert odd.error is not None
    assert (odd.error.type, odd.error.retryable) == (ErrorType.BACKEND_FAULT, False)
    assert odd.error.message == f"the backend e gave {message}"
    assert odd.detail["fault"] == "model_grader_server_error"
    assert odd.detail["usage"]["e"]["prompt_tokens"] == 10, "it was paid for all the same"
    assert fine.score == 1.0


@pytest.mark.parametrize("type", [ErrorType.CONTEXT_OVERFLOW, ErrorType.BACKEND_UNAVAILABLE])
async def test_a_text_that_is_not_embedded_leaves_its_own_item_unscored(type: ErrorType) -> None:
    backends = Embedders(lambda text: BackendError(type, "no", retryable=False) if text == "odd" else [1.0])
    for verdict, score in zip(
        await graded(COSINE, "odd", "fine", "odd", reference=PARIS, backends=backends), (None, 1, None), strict=True
    ):
        assert verdict.score == score
        assert score or (verdict.error is not None and verdict.error.type is type)
    of_reference = Embedders(lambda text: BackendError(type, "no", retryable=False) if text == "Paris" else [1.0])
    for verdict in await graded(COSINE, "a", "b", reference=PARIS, backends=of_reference):
        assert verdict.error is not None
        assert verdict.error.type is type


async def test_a_process_that_reaches_no_backends() -> None:
    for backends in (None, Scripted()):
        verdict = await grade(COSINE, "a", PARIS, backends=backends)
        assert verdict.error is not None
        assert (verdict.error.type, verdict.error.retryable) == (ErrorType.BACKEND_UNAVAILABLE, True)


async def test_nothing_is_embedded_after_the_deadline() -> None:
    backends = Embedders()
    for verdict in await graded(COSINE, "Rome", "no", reference=PARIS, backends=backends, seconds=-1):
        assert verdict.error is not None
        assert verdict.error.type is ErrorType.DEADLINE_EXCEEDED
    assert backends.texts == []


NUMBERS = st.floats(-1e300, 1e300)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=8))
def test_it_is_the_cosine_whatever_the_vectors(numbers: list[tuple[float, float]]) -> None:
    one, other = [first for first, _ in numbers], [second for _, second in numbers]
    assume(any(one) and any(other))
    found = cosine(one, other)
    assert -1.0 <= found <= 1.0
    assert found == cosine(other, one)
    assert cosine(one, one) == pytest.approx(1.0, abs=1e-12)
    assert cosine(one, [-number for number in one]) == pytest.approx(-1.0, abs=1e-12)
    assert cosine(one, [number / 2 for number in other] if max(map(abs, other)) > 1 else other) == pytest.approx(
        found, abs=1e-9
    )
    if max(map(abs, one + other)) < 1e100 and min(abs(n) for n in one + other if n) > 1e-100:
        expected = sum(map(float.__mul__, one, other)) / math.hypot(*one) / math.hypot(*other)
        assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("size", [5e-324, 1e-200, 1e200, 1.7e308])
def test_numbers_of_any_size_have_their_angle(size: float) -> None:
    assert cosine([size, 0.0], [size, size]) == pytest.approx(math.sqrt(0.5), abs=1e-15)

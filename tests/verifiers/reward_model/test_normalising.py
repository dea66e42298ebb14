"""Raw scores on a scale: fitted on real reward-model logits, and never in another order."""

from __future__ import annotations

import gzip
import json
import math
import statistics

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.conftest import DATA
from verifiers.reward_model.normalising import fit, normalised

FINITE = st.floats(-1e6, 1e6)


def auc(scores: list[float], right: list[bool]) -> float:
    """The share of pairs, one right and one wrong, in which the right one scores higher; ties count half."""
    good = [score for score, label in zip(scores, right, strict=True) if label]
    bad = [score for score, label in zip(scores, right, strict=True) if not label]
    return sum((g > b) + 0.5 * (g == b) for g in good for b in bad) / (len(good) * len(bad))


def test_fits_mean_and_deviation() -> None:
    fitted = fit([1.0, 2.0, 3.0, 6.0])
    assert (fitted.mean, fitted.count) == (3.0, 4)
    assert fitted.deviation == pytest.approx(math.sqrt(3.5))
    assert normalised(6.0, "standard", 3.0, 1.5) == 2.0
    assert normalised(3.0, "sigmoid", 3.0, 1.5) == 0.5
    assert normalised(4.5, "sigmoid", 3.0, 1.5) == pytest.approx(math.e / (1 + math.e))
    assert normalised(4.5, "none", 3.0, 1.5) == 4.5


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([], "0 scores are too few to fit"),
        ([1.0], "1 scores are too few to fit"),
        ([2.0, 2.0, 2.0], "the scores are all the same"),
        ([1.0, math.nan], "a score is not a finite number"),
        ([1.0, math.inf], "a score is not a finite number"),
        ([1e200, -1e200], "the scores are too large to fit"),
        ([1.7e308, 1.7e308], "the scores are too large to fit"),
    ],
)
def test_what_cannot_be_fitted(scores: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(scores)


@given(st.lists(FINITE, min_size=2, max_size=50))
def test_standard_scores_of_the_reference_set_have_mean_0_and_deviation_1(scores: list[float]) -> None:
    assume(statistics.pstdev(scores) > 1e-3)
    fitted = fit(scores)
    made = [normalised(score, "standard", fitted.mean, fitted.deviation) for score in scores]
    assert statistics.fmean(made) == pytest.approx(0, abs=1e-5)
    assert statistics.pstdev(made) == pytest.approx(1, rel=1e-5)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False), FINITE, st.floats(1e-9, 1e6))
def test_a_higher_raw_score_never_becomes_a_lower_one(one: float, two: float, mean: float, deviation: float) -> None:
    low, high = sorted((one, two))
    assert normalised(low, "standard", mean, deviation) <= normalised(high, "standard", mean, deviation)
    assert 0 <= normalised(low, "sigmoid", mean, deviation) <= normalised(high, "sigmoid", mean, deviation) <= 1


@pytest.mark.data
def test_real_logits_keep_their_order() -> None:
    with gzip.open(DATA / "math" / "math_qwen25_100x8_labelled.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    raw = [score for row in rows for score in row["rm_score"]]
    right = [label for row in rows for label in row["correct"]]
    assert len(raw) == 800
    assert sum(right) == 728
    fitted = fit(raw)
    assert fitted.mean == pytest.approx(statistics.fmean(raw))
    assert fitted.deviation == pytest.approx(statistics.pstdev(raw))
    before = auc(raw, right)
    assert before > 0.8  # these scores do tell right from wrong
    for how in ("standard", "sigmoid"):
        made = [normalised(score, how, fitted.mean, fitted.deviation) for score in raw]
        assert all(map(math.isfinite, made))
        assert auc(made, right) == before
    first = raw[0]
    by_hand = 1 / (1 + math.exp(-(first - statistics.fmean(raw)) / statistics.pstdev(raw)))
    assert normalised(first, "sigmoid", fitted.mean, fitted.deviation) == pytest.approx(by_hand)

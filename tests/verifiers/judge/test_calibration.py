"""Calibration against cases computed by hand, and against the definition by brute force."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.judge.calibration import Aim, Confusion, calibrate, cohen_kappa, confused, wilson

PAIRS = st.lists(st.tuples(st.integers(0, 10).map(float), st.booleans()), min_size=2, max_size=30).filter(
    lambda pairs: len({label for _, label in pairs}) == 2
)


def test_kappa_of_the_textbook_case() -> None:
    """45 and 15, 25 and 15 (Cohen's kappa on Wikipedia: 0.1304); the variance by hand.

    Rows .6 .4, columns .7 .3, chance .54, kappa .06/.46.
    same = .45(1-1.3k')^2 + .15(1-.7k')^2 with k' = 1-kappa = .869565; differ = k'^2 (.15(.7+.4)^2 + .25(.3+.6)^2).
    """
    kappa, deviation = cohen_kappa(Confusion(45, 15, 15, 25))
    assert kappa == pytest.approx(0.06 / 0.46)
    rest = 1 - kappa
    same = 0.45 * (1 - 1.3 * rest) ** 2 + 0.15 * (1 - 0.7 * rest) ** 2
    differ = rest**2 * (0.15 * (0.7 + 0.4) ** 2 + 0.25 * (0.3 + 0.6) ** 2)
    variance = (same + differ - (kappa - 0.54 * rest) ** 2) / (100 * 0.46**2)
    assert deviation == pytest.approx(math.sqrt(variance))
    assert deviation == pytest.approx(0.0996, abs=2e-3)


def test_kappa_at_its_ends() -> None:
    assert cohen_kappa(Confusion(5, 0, 5, 0)) == (1.0, 0.0)
    assert cohen_kappa(Confusion(0, 5, 0, 5))[0] == pytest.approx(-1.0)
    assert cohen_kappa(Confusion(5, 0, 0, 0)) == (0.0, 0.0)
    assert cohen_kappa(Confusion(25, 25, 25, 25))[0] == pytest.approx(0.0)


def test_wilson() -> None:
    """8 of 10 (Wilson's interval without correction: 0.4902 to 0.9433); and the ends."""
    assert wilson(8, 10) == pytest.approx((0.49016, 0.94331), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.72247, 1.0), abs=1e-4)


def test_a_threshold_between_right_and_wrong() -> None:
    found = calibrate([(1.0, False), (2.0, False), (6.0, True), (9.0, True)])
    assert found.threshold == 4.0
    assert found.agreement == found.kappa == 1.0
    assert found.confusion == Confusion(2, 0, 2, 0)
    assert found.agreement_interval == pytest.approx((0.5101, 1.0), abs=1e-4)


def test_one_that_is_wrong_in_part() -> None:
    """Scores 1 2 3 4 5 6, right: 3 5 6. Above 4.5: 2 of 3 accepted, 3 of 3 rejected, 5/6; above 2.5: also 5/6.

    Both gaps are 1 wide, so the lower threshold is taken.
    """
    pairs = [(1.0, False), (2.0, False), (3.0, True), (4.0, False), (5.0, True), (6.0, True)]
    found = calibrate(pairs)
    assert found.threshold == 2.5
    assert found.confusion == Confusion(3, 1, 2, 0)
    assert found.confusion.balanced_accuracy == pytest.approx(5 / 6)
    assert found.agreement == pytest.approx(5 / 6)
    assert found.kappa == pytest.approx(2 / 3)
    assert found.confusion.f1 == pytest.approx(6 / 7)
    assert found.confusion.precision == 0.75
    assert found.confusion.specificity == pytest.approx(2 / 3)


def test_the_aim_decides() -> None:
    pairs = [(1.0, False), (2.0, False), (2.5, True), (3.0, True), (9.0, False), (10.0, True), (11.0, True)]
    assert calibrate(pairs, "f1").threshold == 2.25
    assert calibrate(pairs, "f1").confusion.recall == 1.0
    pairs = [(1.0, False), (2.0, True), (3.0, False), (4.0, False), (5.0, False), (6.0, False), (7.0, True)]
    assert calibrate(pairs, "f1").threshold == 6.5
    assert calibrate([*pairs, *pairs, (7.0, True)]).threshold == 6.5


@pytest.mark.parametrize("aim", ["balanced_accuracy", "f1"])
def test_a_verifier_that_has_it_the_wrong_way_round_is_not_read_backwards(aim: Aim) -> None:
    """A threshold between the two would reject every right one: accepting all of them is better."""
    found = calibrate([(0.1, True)] * 9 + [(0.9, False)], aim)
    assert (found.threshold, found.kappa) == (0.1, 0.0)
    assert found.confusion == Confusion(9, 1, 0, 0)


def test_a_score_that_tells_nothing() -> None:
    found = calibrate([(5.0, True), (5.0, False)])
    assert found.threshold == 5.0
    assert found.kappa == 0.0


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "labels must hold right ones and wrong ones"),
        ([(1.0, True)], "labels must hold right ones and wrong ones"),
        ([(math.nan, True), (1.0, False)], "a score is not finite"),
    ],
)
def test_what_cannot_be_calibrated(pairs: list[tuple[float, bool]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        calibrate(pairs)


@given(pairs=PAIRS, data=st.data())
def test_no_other_threshold_is_better(pairs: list[tuple[float, bool]], data: st.DataObject) -> None:
    found = calibrate(pairs)
    scores = sorted({score for score, _ in pairs})
    between = [scores[0], *((a + b) / 2 for a, b in itertools.pairwise(scores))]
    aims: tuple[Aim, ...] = ("balanced_accuracy", "f1")
    for aim in aims:
        best = max(getattr(confused(pairs, t), aim) for t in between)
        fitted = calibrate(pairs, aim)
        assert getattr(fitted.confusion, aim) == pytest.approx(best)
        assert fitted.threshold in between
    assert found.confusion == confused(pairs, found.threshold)
    assert found.kappa_interval[0] <= found.kappa <= found.kappa_interval[1]
    assert found.agreement_interval[0] <= found.agreement <= found.agreement_interval[1]
    assert calibrate(data.draw(st.permutations(pairs))) == found

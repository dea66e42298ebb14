"""The held-out evaluation scores what the policy never trains on, and pass@k is the unbiased estimate."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service import Service
from trainer_client import RewardClient
from trainer_client.config import EvaluationSection
from trainer_client.data import Row
from trainer_client.heldout import HeldOut, pass_at_k, refuse_overlap, summary
from trainer_client.results import Verdict, bad_item
from trainer_client.training_errors import ConfigError, DataError, RewardError


@dataclass
class Text:
    """A completion of one token a character."""

    text: str
    finish_reason: str = "stop"

    @property
    def token_ids(self) -> list[int]:
        return list(map(ord, self.text))


@dataclass
class Scorer:
    """Scores equality with the reference; None where the completion is `?`. Keeps what it was asked."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    items: list[Mapping[str, Any]] = field(default_factory=list)

    def score(self, verifier: str | None, items: Sequence[Mapping[str, Any]], **options: Any) -> list[Verdict]:
        self.asked.append({"verifier": verifier, **options})
        self.items += items
        return [_verdict(item) for item in items]


def _verdict(item: Mapping[str, Any]) -> Verdict:
    if item["completion"] == "?":
        return bad_item(item["id"], "a question is no answer")
    score = float(item["completion"] == item["reference"])
    return Verdict(item["id"], "id", "text@1", score, "correct", {}, {}, None, None, 0.1, False)


def rows(*answers: str) -> list[Row]:
    return [Row(number, f"say {answer}", reference=answer) for number, answer in enumerate(answers, 1)]


def section(**fields: Any) -> EvaluationSection:
    return EvaluationSection.model_validate({"verifier": "text", **fields})


def test_scores_lengths_and_pass_at_k_come_from_what_was_drawn() -> None:
    scorer = Scorer()
    drawn = [[Text("a"), Text("b"), Text("??", "length")], [Text("b"), Text("b"), Text("bbbb")]]
    held_out = HeldOut(rows("a", "b"), section(samples=3, pass_at=[1, 2]), scorer, lambda *_: drawn, run="r")
    values = held_out.evaluate(20)
    assert values["heldout/score"] == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert values["heldout/pass@1"] == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert values["heldout/pass@2"] == pytest.approx((2 / 3 + 1) / 2)
    assert values["heldout/tokens_mean"] == pytest.approx(10 / 6)
    assert values["heldout/truncated_share"] == pytest.approx(1 / 6)
    assert values["heldout/unscored_share"] == 0
    assert scorer.asked == [{"verifier": "text", "run": "r", "step": 20, "idempotency_key": "heldout"}]
    assert [item["group"] for item in scorer.items] == ["heldout-1"] * 3 + ["heldout-2"] * 3
    assert all(item["metadata"] == {"split": "heldout"} for item in scorer.items)


def test_a_run_that_failed_for_want_of_held_out_scores_is_not_answered_from_the_record_for_ever() -> None:
    class Recording(Scorer):
        """Answers a key from its record, as the service does."""

        mended = False

        def score(self, verifier: str | None, items: Sequence[Mapping[str, Any]], **options: Any) -> list[Verdict]:
            super().score(verifier, items, **options)
            known = options["idempotency_key"] is None and self.mended
            return [_verdict({**item, "completion": "a" if known else "?"}) for item in items]

    scorer = Recording()
    held_out = HeldOut(rows("a"), section(), scorer, lambda *_: [[Text("a")]], run="r")
    with pytest.raises(RewardError, match="none of 1 held-out completions was scored"):
        held_out.evaluate(0)
    scorer.mended = True
    assert held_out.evaluate(0)["heldout/score"] == 1
    assert [asked["idempotency_key"] for asked in scorer.asked] == ["heldout", None] * 2


def test_an_evaluation_that_is_asked_for_anew_is_not_answered_from_the_record() -> None:
    scorer = Scorer()
    held_out = HeldOut(rows("a"), section(), scorer, lambda *_: [[Text("?")]], run="r")
    with pytest.raises(RewardError):
        held_out.evaluate(0, anew=True)
    assert [asked["idempotency_key"] for asked in scorer.asked] == [None]


def test_what_is_unscored_counts_in_its_share_alone() -> None:
    drawn = [[Text("a"), Text("?")], [Text("?"), Text("?")]]
    held_out = HeldOut(rows("a", "b"), section(samples=2, pass_at=[1, 2]), Scorer(), lambda *_: drawn)
    values = held_out.evaluate(0)
    assert values["heldout/score"] == 1
    assert values["heldout/pass@1"] == 1
    assert "heldout/pass@2" not in values
    assert values["heldout/unscored_share"] == 0.75


def test_an_evaluation_in_which_nothing_is_scored_says_why() -> None:
    held_out = HeldOut(rows("a"), section(), Scorer(), lambda *_: [[Text("?")]])
    with pytest.raises(RewardError, match="none of 1 held-out completions was scored: bad_item: a question"):
        held_out.evaluate(0)


def test_without_a_verifier_of_its_own_each_row_is_scored_by_its_own() -> None:
    scorer = Scorer()
    mixed = [Row(1, "x", "a", verifier="math"), Row(2, "y", "b", verifier="code@2")]
    HeldOut(mixed, EvaluationSection(), scorer, lambda *_: [[Text("a")], [Text("b")]]).evaluate(5)
    assert scorer.asked[0]["verifier"] is None
    assert [item["verifier"] for item in scorer.items] == ["math", "code@2"]


def test_more_numbers_can_be_measured_on_the_same_completions() -> None:
    def measure(_: Sequence[Row], groups: Sequence[Sequence[Text]]) -> Mapping[str, float]:
        return {"kl": float(len(groups))}

    held_out = HeldOut(rows("a"), section(), Scorer(), lambda *_: [[Text("a")]], measure=measure)
    assert held_out.evaluate(0)["heldout/kl"] == 1


def test_it_is_due_before_the_first_step_and_at_every_nth() -> None:
    held_out = HeldOut(rows("a"), section(every=3), Scorer(), lambda *_: [[Text("a")]])
    assert [step for step in range(8) if held_out.due(step)] == [0, 3, 6]
    never = HeldOut(rows("a"), section(every=0), Scorer(), lambda *_: [[Text("a")]])
    assert not any(map(never.due, range(8)))


def test_only_as_many_prompts_as_asked_for_are_evaluated() -> None:
    seen: list[int] = []

    def generate(prompts: Sequence[Row], step: int) -> list[list[Text]]:
        seen.append(len(prompts))
        return [[Text("a")] for _ in prompts]

    HeldOut(rows(*"abcd"), section(prompts=2), Scorer(), generate).evaluate(1)
    assert seen == [2]


def test_what_cannot_be_evaluated_is_refused_with_the_setting_to_change() -> None:
    with pytest.raises(DataError, match=r"data\.heldout"):
        HeldOut([], section(), Scorer(), lambda *_: [[Text("a")]])
    with pytest.raises(ConfigError, match=r"evaluation\.samples of at least 8"):
        HeldOut(rows("a"), section(pass_at=[1, 8]), Scorer(), lambda *_: [[Text("a")]])
    with pytest.raises(ConfigError, match=r"evaluation\.verifier"):
        HeldOut(rows("a"), EvaluationSection(), Scorer(), lambda *_: [[Text("a")]])


def test_a_live_service_scores_and_records_the_evaluation_under_its_run(service: Service) -> None:
    with RewardClient(service.url, service.new_project("heldout")) as client:
        drawn = [[Text("a"), Text("b")], [Text("b"), Text("b")]]
        held_out = HeldOut(rows("a", "b"), section(samples=2), client, lambda *_: drawn, run="held")
        assert held_out.evaluate(7)["heldout/score"] == 0.75
        assert held_out.evaluate(7)["heldout/score"] == 0.75
        recorded = client.request("GET", "/scores", params={"run": "held"})["items"]
    assert [score["step"] for score in recorded] == [7] * 4, "a repeated evaluation is not recorded twice"


@given(st.integers(1, 9), st.data())
def test_pass_at_k_is_the_share_of_draws_of_k_with_a_pass_in_them(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    draws = list(combinations([1] * c + [0] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_is_exact_where_factorials_are_large() -> None:
    assert pass_at_k(10_000, 1, 1) == pytest.approx(1e-4)
    assert pass_at_k(10_000, 9_999, 2) == 1
    expected = 1 - math.prod(1 - 100 / at for at in range(901, 1001))
    assert pass_at_k(1000, 100, 100) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "c", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 4), (3, 1, 0), (0, 0, 1)])
def test_pass_at_k_of_impossible_counts_is_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="not defined"):
        pass_at_k(n, c, k)


def test_the_standard_error_is_that_of_the_prompts_means() -> None:
    source = random.Random(7)
    groups = [[float(source.random() < 0.3)] for _ in range(400)]
    values = summary(groups, [1])
    mean = values["heldout/score"]
    assert values["heldout/score_error"] == pytest.approx(math.sqrt(mean * (1 - mean) / 399))


def test_a_held_out_prompt_that_is_trained_on_is_refused_whatever_its_white_space() -> None:
    training = [Row(1, "What is 2+2?"), Row(2, [{"role": "user", "content": "caf\u00e9"}])]
    refuse_overlap(training, [Row(1, "What is 2+3?"), Row(2, [{"role": "user", "content": "tea"}])])
    with pytest.raises(DataError, match=r"held-out row 9 \(training row 1\)"):
        refuse_overlap(training, [Row(9, " What is\n2+2? ")])
    with pytest.raises(DataError, match=r"2 held-out prompts .* row 3 \(training row 2\)"):
        same = [{"content": "cafe\u0301", "role": "user"}]
        refuse_overlap(training, [Row(3, same), Row(4, same)])

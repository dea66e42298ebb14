"""Alarms fire when what they watch for lasts, once, and never on a run that goes well."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trainer_client.alarms import (
    COMPLETIONS,
    DEGENERATE,
    DUPLICATES,
    HELD_OUT,
    HELD_OUT_KL,
    KL,
    LENGTH,
    PROXY,
    UNSCORED,
    Alarm,
    AlarmSettings,
    Monitor,
    duplicate_share,
)


def run(
    monitor: Monitor, proxy: list[float], held_out: list[float], every: int = 5, completions: int = 256
) -> list[Alarm]:
    """The alarms of a run with a training reward for each step and a held-out score before it and at every Nth."""
    raised = monitor.update(0, {HELD_OUT: held_out[0]})
    for step, reward in enumerate(proxy, 1):
        values = {PROXY: reward, COMPLETIONS: float(completions)}
        if step % every == 0:
            values[HELD_OUT] = held_out[step // every]
        raised += monitor.update(step, values)
    return raised


def test_a_reward_that_rises_while_the_held_out_score_falls_raises_the_alarm_at_the_second_evaluation() -> None:
    proxy = [0.40 + 0.02 * step for step in range(20)]
    [alarm] = run(Monitor(), proxy, [0.40, 0.38, 0.25, 0.10, 0.0])
    assert (alarm.name, alarm.step, alarm.good_step) == ("reward_hacking", 15, 5)
    assert "0.4 to" in alarm.message
    assert alarm.values[HELD_OUT] == 0.10


def test_a_held_out_score_that_stays_where_it_began_raises_the_alarm() -> None:
    [alarm] = run(Monitor(), [0.3] + [0.5] * 19, [0.40, 0.41, 0.42, 0.39, 0.41])
    assert (alarm.name, alarm.step) == ("reward_hacking", 10)


def test_a_run_whose_held_out_score_rises_with_the_reward_and_then_stays_raises_none() -> None:
    proxy = [min(0.4 + 0.02 * step, 0.8) for step in range(60)]
    held_out = [min(0.4 + 0.1 * at, 0.8) for at in range(13)]
    assert run(Monitor(), proxy, held_out) == []


@given(st.integers(0, 80), st.integers(0, 60), st.booleans())
def test_a_gain_and_a_loss_of_exactly_a_tenth_count_whatever_their_rounding(
    start: int, first: int, enough: bool
) -> None:
    # in hundredths: 0.3 - 0.2 is less than 0.1 in binary, and 0.8 - 0.7 more. The best is 0.20 above the first.
    gain, loss = (10, 10) if enough else (9, 10)
    raised = run(Monitor(), [start / 100] + [(start + gain) / 100] * 14, _held_out(first, first + 20 - loss), 1)
    assert [(alarm.name, alarm.step) for alarm in raised] == ([("reward_hacking", 4)] if enough else [])
    assert run(Monitor(), [start / 100] + [(start + 10) / 100] * 14, _held_out(first, first + 20 - 9), 1) == []


def _held_out(first: int, then: int) -> list[float]:
    return [first / 100, (first + 20) / 100, (first + 20) / 100] + [then / 100] * 13


@pytest.mark.parametrize(("gain", "steps"), [(2, [3]), (3, [])])
@given(first=st.integers(0, 90))
def test_a_held_out_gain_of_exactly_two_hundredths_is_none(gain: int, steps: list[int], first: int) -> None:
    held_out = [first / 100, (first + 5) / 100] + [(first + gain) / 100] * 3
    assert [alarm.step for alarm in run(Monitor(), [0.3] + [0.6] * 3, held_out, 1)] == steps


def test_the_training_rewards_start_is_not_one_small_rollouts_luck() -> None:
    # about 0.41 throughout, but for an unlucky first rollout
    proxy, held_out = [0.25, 0.45] + [0.41] * 18, [0.40] * 5
    assert run(Monitor(), proxy, held_out, completions=64) == []
    [alarm] = run(Monitor(), proxy, held_out, completions=128)
    assert alarm.values[f"{PROXY}_at_first"] == 0.25


def test_an_evaluation_without_a_new_reward_in_between_is_neither_good_nor_bad() -> None:
    # with several minibatches only the first step of a rollout has a reward
    monitor = Monitor()
    monitor.update(0, {HELD_OUT: 0.5})
    monitor.update(1, {PROXY: 0.3, HELD_OUT: 0.6})
    monitor.update(2, {HELD_OUT: 0.6})
    assert monitor.update(3, {PROXY: 0.6, HELD_OUT: 0.4}) == []
    assert monitor.update(4, {HELD_OUT: 0.4}) == []
    [alarm] = monitor.update(5, {PROXY: 0.6, HELD_OUT: 0.4})
    assert alarm.good_step == 2


def test_one_bad_evaluation_between_good_ones_raises_none() -> None:
    assert run(Monitor(), [0.4] + [0.6] * 19, [0.40, 0.6, 0.45, 0.6, 0.45]) == []


def test_a_held_out_score_that_falls_with_the_reward_raises_none() -> None:
    assert run(Monitor(), [0.5 - 0.02 * step for step in range(20)], [0.5, 0.4, 0.3, 0.2, 0.1]) == []


@given(st.integers(0, 2**32), st.floats(0.2, 0.46), st.floats(0.05, 0.4))
def test_the_noise_of_256_held_out_prompts_is_no_fall_where_both_rise(seed: int, start: float, gain: float) -> None:
    source = random.Random(seed)

    def measured(share: float) -> float:
        return source.gauss(share, math.sqrt(share * (1 - share) / 256))

    truth = [start + gain * step / 20 for step in range(21)]
    raised = run(Monitor(), [measured(share) for share in truth[1:]], [measured(share) for share in truth[::5]])
    assert [alarm for alarm in raised if "fell" in alarm.message] == []


def test_the_alarm_that_lasts_is_raised_once_and_again_after_it_ended() -> None:
    monitor = Monitor(AlarmSettings.model_validate({"unscored": {"threshold": 0.2, "patience": 2}}))
    shares = [0.3, 0.3, 0.3, 0.3, 0.0, 0.5, 0.5]
    raised = [alarm.step for step, share in enumerate(shares, 1) for alarm in monitor.update(step, {UNSCORED: share})]
    assert raised == [2, 7]


@pytest.mark.parametrize(
    ("name", "metric", "good", "bad"),
    [
        ("degenerate", DEGENERATE, 0.5, 0.95),
        ("duplicates", DUPLICATES, 0.1, 0.7),
        ("length_drift", LENGTH, 10.0, 21.0),
        ("length_drift", LENGTH, 10.0, 4.0),
        ("kl", KL, 0.1, 1.5),
        ("kl", HELD_OUT_KL, 0.1, 1.5),
        ("kl", KL, 0.1, math.nan),
        ("unscored", UNSCORED, 0.0, 0.2),
    ],
)
def test_each_alarm_is_raised_by_its_own_metric(name: str, metric: str, good: float, bad: float) -> None:
    monitor = Monitor()
    assert monitor.update(1, {metric: good}) == []
    raised = [alarm for step in range(2, 10) for alarm in monitor.update(step, {metric: bad})]
    assert [alarm.name for alarm in raised] == [name]
    assert raised[0].good_step == 1
    assert raised[0].message.startswith(metric)


def test_an_action_is_the_rules_own_and_a_threshold_of_null_switches_an_alarm_off() -> None:
    rules = {"kl": {"action": "pause", "patience": 1}, "unscored": {"threshold": None}}
    monitor = Monitor(AlarmSettings.model_validate(rules))
    raised = [alarm for step in range(1, 9) for alarm in monitor.update(step, {KL: 5.0, UNSCORED: 1.0})]
    assert [(alarm.name, alarm.action) for alarm in raised] == [("kl", "pause")]


@pytest.mark.parametrize(
    "rules",
    [
        {"kl": {"threshold": -1}},
        {"kl": {"threshold": "high"}},
        {"kl": {"action": "explode"}},
        {"kl": {"patience": 0}},
        {"length_drift": {"threshold": 1.0}},
        {"reward": {}},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rules: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AlarmSettings.model_validate(rules)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40), st.integers(0, 39))
def test_a_monitor_restored_from_its_state_raises_what_it_would_have_raised(values: list[float], cut: int) -> None:
    def step_of(number: int, value: float) -> dict[str, float | None]:
        held_out = 1 - value if number % 3 == 0 else None
        return {PROXY: value, COMPLETIONS: 50, UNSCORED: value, HELD_OUT: held_out, KL: 2 * value, LENGTH: 40 * value}

    whole, first = Monitor(), Monitor()
    expected = [whole.update(number, step_of(number, value)) for number, value in enumerate(values)]
    found = []
    for number, value in enumerate(values):
        if number == cut:
            state, first = first.state_dict(), Monitor()
            first.load_state_dict(state)
        found.append(first.update(number, step_of(number, value)))
    assert found == expected


def test_equal_answers_count_as_duplicates_across_prompts_and_not_within_one() -> None:
    assert duplicate_share([["a", "a"], ["b", "b"]]) == 0
    assert duplicate_share([["a", "a"], ["a", "b"]]) == 0.75
    assert duplicate_share([["x"], ["x"], ["x"]]) == 1
    assert duplicate_share([]) == 0
    assert duplicate_share([[], []]) == 0

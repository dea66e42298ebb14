"""What is kept of an unfinished rollout: whole or absent after any cut, never of another policy, not drawn again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.sorting.make import tokenizer
from tests.trainer_client.making import EOS, PROMPTS, policy
from trainer_client.config import SamplingSection
from trainer_client.results import Step, Verdict, VerdictError
from trainer_client.rollout import Completion, Sampler
from trainer_client.rollout_file import RolloutFile, drop_rollouts, request_content, rollout_path, weights_digest
from trainer_client.training_errors import CheckpointError

BINDING = {"run": "a", "step": 3}
KEYS = ["k0", "k1", "k2"]
VERDICTS = [
    Verdict(
        "0/0/0", "s1", "m@1", 0.1, "partial", {"text": "\ud800\n"}, {"a": 1.0}, [Step(0.5, 0, 2)], None, 1.5, True
    ),
    Verdict("0/1/0", None, None, None, "unscored", {}, {}, None, VerdictError("timeout", "late", True), 0.0, False),
]


@cache
def model() -> Any:
    torch.set_num_threads(1)
    return policy()


def sampler(of: Any, rows: int) -> Sampler:
    """One whose completions end at different tokens."""
    return Sampler(of, tokenizer(), SamplingSection(max_new_tokens=6, rows=rows), frozenset([EOS, 1, 2, 3]))


def drawn(path: Path, *, stop_after: int = 99) -> list[Completion]:
    """What a rollout of three passes gives, in the order of ending; given up once so many have ended."""
    found: list[Completion] = []
    with RolloutFile(path, BINDING, model()) as kept:
        for finished in sampler(model(), rows=4).generate(PROMPTS, KEYS, 4, kept=kept):
            found += finished
            if len(found) >= stop_after:
                break
    return found


def noted(path: Path, content: str) -> list[Verdict] | None:
    """The verdicts that a later attempt finds."""
    with RolloutFile(path, BINDING, model()) as kept:
        return kept.verdicts(content)


def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many completions each pass that is really drawn has."""
    counted: list[int] = []
    draw = Sampler._generate_chunk

    def counting(self: Sampler, prompts: Any, names: Any, chunk: Any, *rest: Any) -> Iterator[list[Completion]]:
        counted.append(len(chunk))
        yield from draw(self, prompts, names, chunk, *rest)

    monkeypatch.setattr(Sampler, "_generate_chunk", counting)
    return counted


def test_what_was_drawn_is_given_back_to_the_bit_and_not_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = passes(monkeypatch)
    whole = drawn(tmp_path / "a")
    assert counted == [4, 4, 4]
    assert len({len(each.token_ids) for each in whole}) > 2
    assert drawn(tmp_path / "a") == whole
    assert counted == [4, 4, 4]
    left = []
    for stop_after in (1, 4, 5, 7, 10):
        path = tmp_path / str(stop_after)
        part = drawn(path, stop_after=stop_after)
        counted.clear()
        assert drawn(path) == whole
        assert counted == [4] * (3 - len(part) // 4)  # a pass that was not finished is drawn as a whole
        left.append(len(counted))
        counted.clear()
        assert drawn(path) == whole
        assert counted == []
    assert set(left) == {3, 2, 1}


def test_a_file_that_is_cut_at_any_byte_or_damaged_gives_what_was_whole_and_is_completed(tmp_path: Path) -> None:
    path = tmp_path / "whole"
    whole = drawn(path)
    with RolloutFile(path, BINDING, model()) as kept:
        kept.note("x", VERDICTS)
    content = path.read_bytes()

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, len(content) - 1), st.sampled_from(["cut", "flip", "zeros"]))
    def damaged(at: int, how: str) -> None:
        flipped = content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :]
        other = tmp_path / "damaged"
        other.write_bytes({"cut": content[:at], "flip": flipped, "zeros": content[:at] + bytes(900)}[how])
        with RolloutFile(other, BINDING, model()) as found:
            assert found.verdicts("x") is None  # they came last
            found.note("y", VERDICTS)
        assert drawn(other) == whole
        assert noted(other, "y") == VERDICTS

    damaged()


@pytest.mark.parametrize("other", ["run", "step", "policy"])
def test_what_is_of_another_run_step_or_policy_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    path = tmp_path / "a"
    drawn(path)
    counted = passes(monkeypatch)
    changed = policy()
    if other == "policy":
        with torch.no_grad():
            weight = changed.lm_head.weight
            weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))  # the last bit of one number
    binding = {**BINDING, **({other: 4} if other in BINDING else {})}
    with RolloutFile(path, binding, changed) as kept:
        list(sampler(changed, rows=4).generate(PROMPTS, KEYS, 4, kept=kept))
    assert counted == [4, 4, 4]


def test_a_pass_is_of_the_same_completions_or_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(tmp_path / "a")
    counted = passes(monkeypatch)
    with RolloutFile(tmp_path / "a", BINDING, model()) as kept:
        list(sampler(model(), rows=6).generate(PROMPTS, KEYS, 4, kept=kept))
    assert counted == [6, 6]


def test_verdicts_are_those_of_the_same_content(tmp_path: Path) -> None:
    items = [{"id": "0/0/0", "completion": "a\ud800", "tokens": 2, "finish_reason": "stop", "prompt": "p"}]
    content = request_content(items)
    with RolloutFile(tmp_path / "a", BINDING, model()) as kept:
        kept.note(content, VERDICTS)
        kept.close()
        kept.note("late", VERDICTS)  # a request that ends when nobody waits for it any more
    assert noted(tmp_path / "a", content) == VERDICTS
    assert noted(tmp_path / "a", "late") is None
    for changed in ({"completion": "a"}, {"tokens": 3}, {"finish_reason": "length"}, {"id": "0/1/0"}):
        assert noted(tmp_path / "a", request_content([{**items[0], **changed}])) is None


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = RolloutFile(tmp_path / "a", BINDING, model())

    class Full(FileIO):
        def write(self, content: Any) -> int:
            return super().write(content[: len(content) // 2])

    kept.close()
    kept._file = Full(tmp_path / "a", "ab")
    with pytest.raises(CheckpointError, match="a: cannot be written: the disk is full"):
        kept.note("x", VERDICTS)
    kept.close()
    assert noted(tmp_path / "a", "x") is None
    with pytest.raises(CheckpointError, match="cannot be written: Is a directory"):
        RolloutFile(tmp_path, BINDING, model())


def test_files_go_once_a_checkpoint_has_what_they_led_to(tmp_path: Path) -> None:
    for step, rank in ((1, 0), (9, 0), (10, 0), (11, 0), (9, 1)):
        rollout_path(tmp_path, step, rank).touch()
    drop_rollouts(tmp_path, up_to=10)
    assert {path.name for path in tmp_path.iterdir()} == {"rollout-000011-0.bin"}
    drop_rollouts(tmp_path)
    assert not list(tmp_path.iterdir())


def test_weights_that_lie_at_any_place_of_their_storage_have_the_digest_of_their_bits() -> None:
    numbers = torch.arange(19, dtype=torch.bfloat16)
    for start in range(8):
        part = numbers[start : start + 11]
        assert weights_digest({"a": part}) == weights_digest({"a": part.clone()})
        assert weights_digest({"a": part}) != weights_digest({"a": part + 1})

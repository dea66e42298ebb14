"""Checkpoints are whole or absent, and a run is resumed as it began."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from trainer_client.checkpoint import Checkpoints, check_same, differences, identity
from trainer_client.config import from_fields
from trainer_client.training_errors import CheckpointError, ConfigError

FIELDS: dict[str, Any] = {
    "run": "a", "folder": "b", "model": {"path": "c"}, "data": {"train": "d"}, "grpo": {"steps": 5, "beta": 0.1},
}  # fmt: skip


def changed(**sections: Any) -> dict[str, Any]:
    return identity(from_fields({**FIELDS, **sections}), {"train": "hash"})


def test_what_is_saved_is_loaded_and_the_oldest_go(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "checkpoints", 2)
    assert kept.load() is None
    for step in (2, 4, 6, 8):
        kept.save(step, {"weights": {"a": torch.tensor([float(step)])}, "rows": [[1, 2], []]}, pinned=[2])
    assert kept.steps() == [2, 6, 8]
    state = kept.load()
    assert state is not None
    assert (state["step"], state["rows"], state["weights"]["a"].item()) == (8, [[1, 2], []], 8)
    earlier = kept.load(7)
    assert earlier is not None
    assert earlier["step"] == 6
    assert kept.load(1) is None
    kept.drop_after(6)
    assert kept.steps() == [2, 6]


def test_a_checkpoint_that_was_not_finished_is_none(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, 2)
    kept.save(1, {})
    (tmp_path / "step-000002.part").write_bytes(b"half")
    state = kept.load()
    assert state is not None
    assert state["step"] == 1
    assert kept.steps() == [1]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, 2)
    path = kept.save(3, {"a": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match=r"step-000003.pt: cannot be read.*remove it"):
        kept.load()


def test_a_checkpoint_never_runs_code(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, 2)
    torch.save({"format": 1, "step": 1, "x": Path("/")}, tmp_path / "step-000001.pt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        kept.load()


def test_one_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "checkpoints", 2)
    kept.save(1, {})
    (tmp_path / "checkpoints" / "step-000002.part").mkdir()
    with pytest.raises(CheckpointError, match=r"step-000002.pt: cannot be written"):
        kept.save(2, {})
    assert kept.steps() == [1]


def test_a_full_disk_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Checkpoints(tmp_path, 2)

    def full(state: Any, file: Any) -> None:
        file.write(b"half")
        raise RuntimeError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(CheckpointError, match="No space left"):
        patch.setattr(torch, "save", full)
        kept.save(2, {})
    assert not list(tmp_path.iterdir())


def test_a_copy_that_somebody_made_is_no_checkpoint(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, 1)
    path = kept.save(1, {})
    (tmp_path / "step-000001-good.pt").write_bytes(path.read_bytes())
    kept.save(2, {})
    assert kept.steps() == [2]
    assert (tmp_path / "step-000001-good.pt").exists()


def test_a_resume_says_which_fields_differ() -> None:
    with pytest.raises(ConfigError, match=r"grpo\.beta was 0\.1 and is 0\.2; seed was 0 and is 3; put it back"):
        check_same(changed(), changed(grpo={"steps": 5, "beta": 0.2}, seed=3))
    with pytest.raises(ConfigError, match=r"contents\.train was 'hash'"):
        check_same(changed(), {**changed(), "contents": {"train": "other"}})


def test_what_changes_no_result_may_differ() -> None:
    check_same(
        changed(), changed(service={"url": "http://there"}, checkpoints={"every": 3}, alarms={"kl": {"patience": 9}})
    )


def test_what_is_lowered_where_memory_is_full_may_differ() -> None:
    check_same(changed(), changed(sampling={"rows": 8}, grpo={"steps": 5, "beta": 0.1, "micro_batch": 4}))
    for section in ("sft", "preference"):
        began, lowered = {"steps": 5}, {"steps": 5, "micro_batch": 4}
        check_same(changed(**{section: began}), changed(**{section: lowered}))


def test_a_run_can_go_on_for_longer_unless_its_learning_rate_depends_on_it() -> None:
    longer = {"steps": 50, "beta": 0.1}
    check_same(changed(), changed(grpo=longer))
    cosine = {"schedule": "cosine"}
    with pytest.raises(ConfigError, match=r"grpo\.steps was 5 and is 50"):
        check_same(changed(optimizer=cosine), changed(optimizer=cosine, grpo=longer))


def test_differences_are_named_by_their_dotted_fields() -> None:
    assert differences(changed(), changed(grpo={"steps": 5, "beta": 0.2}, seed=4)) == ["grpo.beta", "seed"]
    assert differences(changed(), changed()) == []

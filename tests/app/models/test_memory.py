"""What does not fit is not loaded."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch

from app.models.memory import DamagedError, DoesNotFitError, check_fits, numbers, weight_files
from app.models.scoring import RewardModel
from tests.app.models import making

CPU = torch.device("cpu")


def weights(folder: Path, *shape: int, name: str = "model.safetensors") -> Path:
    """The header of a file that would hold such a tensor."""
    header = json.dumps({"w": {"dtype": "BF16", "shape": shape, "data_offsets": [0, 0]}, "__metadata__": {}}).encode()
    file = folder / name
    file.write_bytes(struct.pack("<Q", len(header)) + header)
    return file


def test_counts_numbers_by_the_header(tmp_path: Path, tiny: Path) -> None:
    assert numbers(weights(tmp_path, 3, 4, 5)) == 60
    assert numbers(tiny / "model.safetensors") > 10_000


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    making.reward_model(tmp_path)
    check_fits(tmp_path, CPU, torch.float32)
    weights(tmp_path, 1_000_000, 1_000_000)
    with pytest.raises(
        DoesNotFitError, match=r"1,000,000,000,000 parameters need 4656.\d GiB, and .* are free on cpu"
    ):
        RewardModel(str(tmp_path), device="cpu")


def indexed(folder: Path, *names: str) -> None:
    """An index of several files of weights."""
    content = json.dumps({"weight_map": {f"w{place}": name for place, name in enumerate(names)}})
    (folder / "model.safetensors.index.json").write_text(content)


def test_counts_the_files_that_are_loaded_and_no_others(tmp_path: Path) -> None:
    first, second = weights(tmp_path, 3, name="model-1.safetensors"), weights(tmp_path, 4, name="model-2.safetensors")
    weights(tmp_path, 1_000_000, 1_000_000, name="consolidated.safetensors")
    assert weight_files(tmp_path) == []
    indexed(tmp_path, second.name, first.name, second.name)
    assert weight_files(tmp_path) == [first, second]
    check_fits(tmp_path, CPU, torch.float32)
    whole = weights(tmp_path, 5)
    assert weight_files(tmp_path) == [whole]


def test_an_index_that_names_a_missing_file_or_is_none(tmp_path: Path) -> None:
    indexed(tmp_path, "gone.safetensors")
    with pytest.raises(
        DamagedError, match=r"gone.safetensors: it is damaged, or no safetensors file: .*No such file"
    ):
        check_fits(tmp_path, CPU, torch.float32)
    for content in ("", "[]", '{"weight_map": 3}', "[" * 100_000):
        (tmp_path / "model.safetensors.index.json").write_text(content)
        with pytest.raises(DamagedError, match="it is damaged, or no index of safetensors files"):
            weight_files(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 9) + b'{"w": {}}',
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        struct.pack("<Q", 30) + b'{"w": {"shape": ["a"]}}       ',
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(DamagedError, match="it is damaged, or no safetensors file"):
        numbers(file)

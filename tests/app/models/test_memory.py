"""What does not fit is not loaded."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch

from app.models.memory import DamagedError, DoesNotFitError, check_fits, numbers
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
    weights(tmp_path, 1_000_000, 1_000_000, name="model-2.safetensors")
    with pytest.raises(
        DoesNotFitError, match=r"1,000,000,\d+,?\d* parameters need 4656.\d GiB, and .* are free on cpu"
    ):
        RewardModel(str(tmp_path), device="cpu")
    weights(tmp_path, 10, name="model-2.safetensors")
    check_fits(tmp_path, CPU, torch.float32)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 9) + b'{"w": {}}',
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(DamagedError, match="it is damaged, or no safetensors file"):
        numbers(file)

"""One forward: what it means where it fails, and what is left in memory then."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from app.models import forward as forwards
from app.models.batching import TooLargeError
from app.models.forward import DeviceLostError, forward, is_causal, padded
from tests.app.models import making

CPU = torch.device("cpu")


def test_what_is_computed_has_no_gradients() -> None:
    weight = torch.ones(2, requires_grad=True)
    assert forward(CPU, lambda: (weight * 2).requires_grad) is False


class Tensors:
    """Stands for what a batch has on the device."""


def test_memory_that_ran_out_is_free_again_when_the_error_is_handled() -> None:
    held: list[weakref.ref[Tensors]] = []

    def compute() -> None:
        activations = Tensors()
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nMore of it.")

    with pytest.raises(TooLargeError) as caught:
        forward(CPU, compute)
    assert str(caught.value) == (
        "it does not fit into the memory of cpu: CUDA out of memory. Tried to allocate 20.00 GiB."
    )
    assert held[0]() is None
    assert caught.value.__context__ is None


def test_a_tensor_beyond_the_hosts_memory_is_too_large() -> None:
    with pytest.raises(TooLargeError, match="it does not fit into the memory of cpu"):
        forward(CPU, lambda: torch.empty(2**46))


def test_a_device_that_fails_for_good_is_lost_and_other_errors_are_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compute() -> None:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    with pytest.raises(torch.AcceleratorError):
        forward(CPU, compute)
    monkeypatch.setattr(forwards, "is_lost", lambda device: True)
    with pytest.raises(DeviceLostError, match="cpu: CUDA error: device-side assert triggered"):
        forward(CPU, compute)
    with pytest.raises(TypeError):
        forward(CPU, lambda: len(3))  # type: ignore[arg-type]


def test_pads_on_the_right_with_the_inputs_own_last_token_or_the_one_given() -> None:
    ids, mask = padded([[1, 2], [3], [4, 5, 6]], None, CPU)
    assert ids.tolist() == [[1, 2, 2], [3, 3, 3], [4, 5, 6]]
    assert mask.tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1]]
    ids, _ = padded([[1, 2], [3]], 9, CPU)
    assert ids.tolist() == [[1, 2], [3, 9]]


def test_language_models_look_backwards_and_encoders_do_not(tiny: Path, tmp_path: Path) -> None:
    encoder = making.encoder(tmp_path)
    assert is_causal(AutoModelForSequenceClassification.from_pretrained(tiny))
    assert not is_causal(AutoModelForSequenceClassification.from_pretrained(encoder))
    assert not is_causal(torch.nn.Linear(2, 2))  # nothing says so

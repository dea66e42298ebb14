"""One forward of a batch, and what it means where it fails: too much for the memory, or a device that is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from app.models.batching import TooLargeError

T = TypeVar("T")

_CPU_MEMORY = "DefaultCPUAllocator"
"""What a RuntimeError names where the CPU's memory has no room for a tensor."""


class DeviceLostError(Exception):
    """The device answers nothing any more (a sticky CUDA error): the process has to be replaced."""


def forward(device: torch.device, compute: Callable[[], T]) -> T:
    """What `compute` returns, without gradients. Raises `TooLargeError`, `DeviceLostError`, or what it raises."""
    fault: Exception
    try:
        with torch.inference_mode():
            return compute()
    except (torch.OutOfMemoryError, MemoryError) as error:
        fault = TooLargeError(_beyond(device, error))
    except RuntimeError as error:
        if _CPU_MEMORY in str(error):
            fault = TooLargeError(_beyond(device, error))
        elif is_lost(device):
            fault = DeviceLostError(f"{device}: {error}")
        else:
            raise
    # only now is the error gone, whose frames held the batch's tensors, so that their memory can be given back
    if device.type == "cuda" and isinstance(fault, TooLargeError):
        torch.cuda.empty_cache()
    raise fault


def is_lost(device: torch.device) -> bool:
    """Whether a device fails whatever it is asked, as CUDA does after an illegal access or a failed assertion."""
    if device.type != "cuda":
        return False
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False


def _beyond(device: torch.device, error: BaseException) -> str:
    first = (str(error) or type(error).__name__).splitlines()[0]
    return f"it does not fit into the memory of {device}: {first[:200]}"


def padded(batch: Sequence[Sequence[int]], padding: int | None, device: torch.device) -> tuple[Any, Any]:
    """Ids and mask, both [inputs, longest input], padded on the right; with an input's own last token if None.

    The token that a tokenizer pads with need not be one that the model knows.
    """
    width = max(map(len, batch))
    ids = torch.empty((len(batch), width), dtype=torch.long)
    mask = torch.zeros(len(batch), width, dtype=torch.long)
    for row, tokens in enumerate(batch):
        ids[row] = tokens[-1] if padding is None else padding
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return ids.to(device), mask.to(device)


def is_causal(model: Any) -> bool:
    """Whether every attention of a model looks only backwards: then padding on the right needs no mask.

    Without a mask the attention takes a faster path.
    """
    found = [module.is_causal for module in model.modules() if hasattr(module, "is_causal")]
    return bool(found) and all(found)

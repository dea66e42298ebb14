"""Whether a model's weights fit before they are loaded: a process that runs out of memory may take others along."""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path

import torch

from app.host_memory import available_memory

MARGIN = 1.25
"""What loading and a batch take beyond the weights, as a factor."""
MAX_HEADER = 100 * 2**20
"""Bytes of a safetensors file's header; the format's own bound."""


class DoesNotFitError(Exception):
    """The model needs more memory than is free; the message has both sizes."""


class DamagedError(Exception):
    """A file is not in the safetensors format."""


def check_fits(model: Path, device: torch.device, dtype: torch.dtype) -> None:
    """Raise `DoesNotFitError` where a folder's weights need more than the device has free, or `DamagedError`."""
    count = sum(map(numbers, weight_files(model)))
    needed = int(count * dtype.itemsize * MARGIN)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
    if needed > free:
        raise DoesNotFitError(
            f"{model}: {count:,} parameters need {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free on "
            f"{device}; serve a smaller model, or stop another one"
        )


def weight_files(model: Path) -> list[Path]:
    """The files of a folder that hold its weights, as transformers chooses them; others beside them are not loaded.

    Raises `DamagedError`.
    """
    if (one := model / "model.safetensors").is_file():
        return [one]
    if (index := model / "model.safetensors.index.json").is_file():
        try:
            return [model / name for name in sorted(set(json.loads(index.read_bytes())["weight_map"].values()))]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamagedError(f"{index}: it is damaged, or no index of safetensors files: {error}") from None
    return []


def numbers(file: Path) -> int:
    """How many numbers a file holds, by its header (https://github.com/huggingface/safetensors#format).

    Raises `DamagedError`.
    """
    try:
        with file.open("rb") as opened:
            (size,) = struct.unpack("<Q", opened.read(8))
            if size > MAX_HEADER:
                raise ValueError("a header beyond the format's bound")
            header = json.loads(opened.read(size))
        return sum(prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{file}: it is damaged, or no safetensors file: {error}") from None

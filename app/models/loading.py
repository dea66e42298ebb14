"""From a name to a model in memory, without running code of its folder and without guessing weights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from transformers import AutoTokenizer

from app.models.memory import check_fits, weight_files

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
"""Of a model of the hub: no code, no pickles."""
MAX_REASON = 300


class ModelError(Exception):
    """The model cannot be served; the message says why and what to change."""


def device_of(wanted: str) -> torch.device:
    """The device that a setting means: `auto` is a GPU where there is one."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def dtype_of(device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU, float32 on a CPU."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def folder_of(model: str) -> Path:
    """The folder of a model: itself, or where the hub's copy was put. Raises `ModelError`."""
    folder = Path(model)
    if not folder.is_dir():
        if not HUB_NAME.fullmatch(model):
            raise ModelError(f"{model}: there is no such folder, and models of the hub are named owner/name")
        try:
            folder = Path(snapshot_download(model, allow_patterns=WANTED))
        except Exception as error:
            raise ModelError(
                f"{model}: there is no such folder, and the hub did not give it: {why(error)}"
            ) from error
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: it has no config.json, so it is no model in the form of transformers")
    if not weight_files(folder):
        raise ModelError(
            f"{folder}: it has no model.safetensors, nor an index of several; weights in other forms can run code "
            "when they are loaded, so save the model anew with save_pretrained"
        )
    return folder


def tokenizer_of(folder: Path) -> Any:
    """The model's tokenizer. Raises `ModelError`."""
    try:
        return AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, truncation_side="left"
        )
    except Exception as error:
        raise ModelError(f"{folder}: its tokenizer cannot be loaded: {why(error)}") from error


def loaded(auto: Any, folder: Path, device: torch.device) -> Any:
    """The model of a folder as the class `auto` makes it, on the device.

    Raises `ModelError`, also where a weight is missing: transformers would draw it at random and only warn.
    Raises `DoesNotFitError`, `DamagedError`.
    """
    dtype = dtype_of(device)
    check_fits(folder, device, dtype)
    try:
        model, found = auto.from_pretrained(
            str(folder), dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True,
            output_loading_info=True,
        )  # fmt: skip
    except Exception as error:
        raise ModelError(f"{folder}: it cannot be loaded by {auto.__name__}: {why(error)}") from error
    if missing := sorted(found["missing_keys"]):
        raise ModelError(
            f"{folder}: it has no weights for {', '.join(missing[:5])}{' and more' if len(missing) > 5 else ''}; "
            "is it a model of another sort, without the head that gives scores?"
        )
    return model.to(device).train(False)


def longest(model: Any, tokenizer: Any, wanted: int | None) -> int:
    """The most tokens of an input: what model and tokenizer can, or less if asked."""
    most = getattr(model.config, "max_position_embeddings", None)
    for name, module in model.named_modules():
        if most and name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            most -= module.padding_idx + 1  # RoBERTa counts positions from behind that of padding
    return min((bound for bound in (most, tokenizer.model_max_length, wanted) if bound), default=4096)


def check_known(model: Any, tokens: Sequence[int]) -> None:
    """Raise `ValueError` where the tokenizer gave a token that the model has no embedding for.

    On a GPU looking it up would end the process.
    """
    rows = model.get_input_embeddings().num_embeddings
    if (highest := max(tokens)) >= rows:
        raise ValueError(f"the model has {rows} tokens, and its tokenizer gave the text the number {highest}")


def why(error: Exception) -> str:
    """What an error says, on one short line."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= MAX_REASON else said[: MAX_REASON - 1] + "…"

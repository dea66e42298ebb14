"""Checkpoints that are whole or absent, and the check that a run is resumed as it began.

What a run draws at random follows from its seed and its step (rollout.py, data.py), so that a checkpoint needs no
states of generators: weights, optimizer, step, position in the data, the rollout that is not used up, the alarms.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from trainer_client.config import Config
from trainer_client.training_errors import CheckpointError, ConfigError

FORMAT = 3
CHANGEABLE = ("service", "tracking", "checkpoints", "alarms")
"""Sections that may differ in a resumed run: nothing that is computed depends on them."""


class Checkpoints:
    """The checkpoints in a folder: `step-000010.pt` and so on. The newest `keep` stay, and those that are pinned."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self._keep = keep

    def save(self, step: int, state: dict[str, Any], pinned: Iterable[int] = ()) -> Path:
        """Write one; it has its name only once all of it is on the disk. Raises `CheckpointError`."""
        path = self._path(step)
        part = path.with_suffix(".part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                torch.save({"format": FORMAT, "step": step, **state}, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            _sync(self.folder)
        except (OSError, RuntimeError) as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)  # on a full disk it holds what others need
            raise CheckpointError(
                f"{path}: cannot be written (is the disk full?): {error}; the one before it stays"
            ) from error
        kept = {*sorted(self.steps())[-self._keep :], *pinned, step}
        for old in self.steps():
            if old not in kept:
                self._path(old).unlink(missing_ok=True)
        return path

    def steps(self) -> list[int]:
        """The steps of all that there are, in order."""
        names = [path.stem.removeprefix("step-") for path in self.folder.glob("step-*.pt")]
        return sorted(int(name) for name in names if name.isdecimal())  # a copy that somebody made is none

    def load(self, step: int | None = None) -> dict[str, Any] | None:
        """The newest, or the newest at or before `step`; None where there is none. Raises `CheckpointError`.

        Its weights are in the machine's memory: a device that holds the model need not hold them twice, and may be
        another one than they were saved from.
        """
        found = [each for each in self.steps() if step is None or each <= step]
        if not found:
            return None
        path = self._path(found[-1])
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a damaged archive makes torch raise
            raise CheckpointError(
                f"{path}: cannot be read: {error}; remove it to go on from the one before"
            ) from error
        if state.get("format") != FORMAT:
            raise CheckpointError(f"{path}: is of another version of this program; begin the run anew")
        return state

    def drop_after(self, step: int) -> None:
        """Remove those of later steps."""
        for later in self.steps():
            if later > step:
                self._path(later).unlink(missing_ok=True)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}.pt"


def identity(config: Config, contents: dict[str, str]) -> dict[str, Any]:
    """What makes two runs the same run: the fields that results depend on, and what data files and model contain.

    The number of steps is not among them where the learning rate does not depend on it, so that a run can go on.
    Neither are the sizes that are lowered where memory is full: they decide the last bits of results, and where the
    dropout of adapters strikes.
    """
    fields = config.model_dump(mode="json", exclude=set(CHANGEABLE))
    del fields["sampling"]["rows"]
    for task in ("sft", "grpo", "preference"):
        if fields[task] is not None:
            del fields[task]["micro_batch"]
            if task != "preference" and config.optimizer.schedule == "constant":
                del fields[task]["steps"]
    return {**fields, "contents": contents}


def check_same(began: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise `ConfigError` where a run would be resumed as another; says which fields differ."""
    changed = differences(began, now)
    if not changed:
        return
    said = "; ".join(f"{name} was {_at(began, name)!r} and is {_at(now, name)!r}" for name in changed[:5])
    raise ConfigError(
        f"the run began with another configuration: {said}; put it back, or choose another run and folder"
    )


def differences(old: Any, new: Any, at: str = "") -> list[str]:
    """The dotted names of the fields in which two dumped configurations differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            name
            for key in sorted({*old, *new})
            for name in differences(old.get(key), new.get(key), f"{at}.{key}" if at else key)
        ]
    return [] if old == new else [at]


def trainable(model: Any) -> dict[str, Any]:
    """The weights that training changes, and buffers."""
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


def _at(fields: Any, name: str) -> Any:
    for part in name.split("."):
        fields = fields.get(part) if isinstance(fields, dict) else None
    return fields


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)

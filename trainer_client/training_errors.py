"""What can go wrong in training: a type for each thing that a person does about it. Messages say what to do."""

from __future__ import annotations


class TrainingError(Exception):
    """The base of them all; `assay-train` prints its message and ends with 1."""


class ConfigError(TrainingError):
    """The configuration is wrong, or is not the one that the run began with."""


class DataError(TrainingError):
    """A data set cannot be read, or a row of it cannot be used; names the file, the row and the field."""


class ModelError(TrainingError):
    """A model or a tokenizer cannot be loaded, or cannot do what is asked."""


class RewardError(TrainingError):
    """Rewards cannot be had: a verifier is unknown, or nothing is scored."""


class NotFiniteError(TrainingError):
    """A loss or a gradient is NaN or infinite; the last checkpoint stays as it was."""


class MemoryLimitError(TrainingError):
    """The device's memory is full; names the setting to lower."""


class CheckpointError(TrainingError):
    """A checkpoint cannot be written or read."""


class TrackingError(TrainingError):
    """The record of a run cannot be kept: its folder cannot be written, or the service refuses the run."""

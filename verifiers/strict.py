"""Base of what a caller fills in."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

MAX_FIELDS = 100
"""Fields of an object whose fields are declared; more are refused before each gets an error of its own."""


class Strict(BaseModel):
    """Base of what a caller fills in: unknown fields are refused, types are not guessed, numbers are finite."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > MAX_FIELDS:
            raise ValueError(f"has {len(value)} fields, more than are known")
        return value

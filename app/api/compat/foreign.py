"""What the bodies of foreign protocols have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from app.errors import Problem


class Foreign(BaseModel):
    """Base of a foreign body: types are not guessed, and fields that we do not know are passed over, as theirs do."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


def at_most(most: int, what: str) -> Any:
    """Refuses a list or an object with more entries than that before any of them is looked at."""

    def check(value: Any) -> Any:
        if isinstance(value, list | dict) and len(value) > most:
            raise ValueError(f"has more than {most:,} {what}")
        return value

    return check


def refused(where: str, message: str) -> Problem:
    """The problem of a field that fits its schema and still cannot be used."""
    return Problem("invalid-body", f"{where}: {message}", pointer=where)


def as_bytes(text: str) -> bytes:
    """Text as it came; a lone surrogate stays one, and what reads it may refuse it."""
    return text.encode("utf-8", "surrogatepass")

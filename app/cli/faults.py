"""What a command that cannot do its work says: one clear line, and an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from app.settings import Settings

FAILED = 1
MISUSED = 2


class CommandError(Exception):
    """Ends the command: the message goes to stderr, the code to the shell."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def read_settings() -> Settings:
    """The service's settings. Raises `CommandError` naming every variable at fault."""
    from pydantic import ValidationError

    from app.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise CommandError("; ".join(map(_described, faults))) from None
    except RuntimeError as error:  # pathlib knows no home for a user without HOME and without an account
        raise CommandError(f"ASSAY_HOME: name a folder for the data ({error})") from None


def _described(fault: ErrorDetails) -> str:
    variable = "ASSAY_" + "_".join(map(str, fault["loc"])).upper()
    if fault["type"] == "too_short":  # pydantic counts the characters of a secret as items
        return f"{variable}: should have at least {fault['ctx']['min_length']} characters"
    return f"{variable}: {fault['msg']}"

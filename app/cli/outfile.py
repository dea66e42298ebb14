"""A file that exists whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from app.cli.faults import MISUSED, CommandError


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """Write to a temporary name beside `path`; it gets its name at the end, and goes away if there is no such end.

    Raises `CommandError` where it cannot be written.
    """
    path = path.resolve()  # a link is written through, not replaced
    if path.exists() and not path.is_file():
        raise CommandError(f"{path} is not a file that can be replaced; name another with --out", MISUSED)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("x", encoding="ascii") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)

"""Files in a request: base64 by path, put into the folder that the code runs in."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Mapping

from app.api.compat.foreign import refused
from verifiers.base import clip, pointer

MAX_FILES = 1000
MAX_PATH = 1000
MAX_NAME = 255
"""Bytes of a path and of one of its names; the file systems' own limits."""


def decoded(field: str, files: Mapping[str, str | None]) -> dict[str, bytes]:
    """The contents by path; an entry without content is passed over. Raises `Problem` (422) naming the entry."""
    found: dict[str, bytes] = {}
    for name, content in files.items():
        if content is None:
            continue
        where = pointer((field, clip(name, 100)))
        path = relative(where, name)
        if path in found:
            raise refused(where, "another entry has the same path")
        try:
            found[path] = binascii.a2b_base64("".join(content.split()), strict_mode=True)
        except ValueError:
            raise refused(where, "is not base64") from None
    for path in found:
        if any(parent in found for parent in _parents(path)):
            raise refused(pointer((field, clip(path, 100))), "lies below a path that is a file as well")
    return found


def relative(where: str, name: str) -> str:
    """The path without its idle parts. Raises `Problem` (422) where it could lead out of the folder."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or name.startswith("/") or name.endswith("/"):
        raise refused(where, "is not the relative path of a file")
    if ".." in parts:
        raise refused(where, "leads out of the folder that the code runs in")
    if any(ord(character) < 32 for character in name):
        raise refused(where, "has a control character")
    path = "/".join(parts)
    if not _fits(path, MAX_PATH) or not all(_fits(part, MAX_NAME) for part in parts):
        raise refused(where, f"is no UTF-8 of at most {MAX_PATH} bytes, with names of at most {MAX_NAME}")
    return path


def _fits(text: str, most: int) -> bool:
    try:
        return len(text) <= most and len(text.encode()) <= most
    except UnicodeEncodeError:  # a lone surrogate
        return False


def _parents(path: str) -> Iterable[str]:
    for position, character in enumerate(path):
        if character == "/":
            yield path[:position]

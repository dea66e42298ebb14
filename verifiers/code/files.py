"""Files that a configuration or a reference puts into a program's working folder."""

from __future__ import annotations

from collections.abc import Mapping

from verifiers.base import clip, pointer

MAX_FILES = 256
MAX_PATH_BYTES = 512
MAX_NAME_BYTES = 255
"""Of one folder or file, as Linux has it."""
MAX_BYTES = 16 * 2**20
"""Of all files together."""


class FileError(ValueError):
    """A file that cannot be put there; `pointer` is its JSON pointer inside the mapping."""

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(message)
        self.pointer = pointer


def encoded(files: Mapping[str, str]) -> dict[str, bytes]:
    """The files as bytes, every path checked: relative, normal, inside the folder. Raises `FileError`."""
    if len(files) > MAX_FILES:
        raise FileError(f"there are {len(files)} files, {MAX_FILES} are allowed")
    contents: dict[str, bytes] = {}
    size = 0
    for path, text in files.items():
        try:
            _check_path(path)
            contents[path] = text.encode()
        except UnicodeEncodeError:
            raise FileError("the file or its name holds a lone surrogate", _pointer(path)) from None
        except FileError as error:
            raise FileError(str(error), _pointer(path)) from None
        size += len(contents[path])
        if size > MAX_BYTES:
            raise FileError(f"the files have more than {MAX_BYTES} bytes in all")
    _check_folders(contents)
    return contents


def _check_path(path: str) -> None:
    raw = path.encode()
    if not raw:
        raise FileError("the name of a file is empty")
    if b"\0" in raw:
        raise FileError("the name of a file holds NUL")
    if raw.startswith(b"/"):
        raise FileError("the path of a file is absolute; give one relative to the working folder")
    parts = raw.split(b"/")
    if any(part in (b"", b".", b"..") for part in parts):
        raise FileError("the path of a file has an empty part, '.' or '..'; it must lead straight to a file inside")
    if len(raw) > MAX_PATH_BYTES or max(map(len, parts)) > MAX_NAME_BYTES:
        raise FileError(
            f"the path of a file is longer than {MAX_PATH_BYTES} bytes, or a name in it than {MAX_NAME_BYTES}"
        )


def _check_folders(paths: Mapping[str, bytes]) -> None:
    for path in paths:
        folder = path
        while "/" in folder:
            folder = folder.rpartition("/")[0]
            if folder in paths:
                raise FileError("the file is also the folder of another", _pointer(folder))


def _pointer(path: str) -> str:
    return pointer([clip(path, 100)])

"""Values to JSON text as the service takes it: ASCII only, with lone surrogates and NUL as escapes, and finite.

Values that have `tolist` (arrays, tensors and scalars of numpy, torch and the like) are sent as what it returns, and
any mapping as an object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from typing import Any

from trainer_client.errors import InvalidRequestError


class UnsendableError(ValueError):
    """A value that JSON has not; the message says which and what to send instead."""


def _plain(value: Any) -> Any:
    try:
        if isinstance(value, Mapping):
            return dict(value)
        tolist = getattr(value, "tolist", None)
        if tolist is not None:
            return tolist()
    except RecursionError:
        raise
    except Exception as error:  # whatever it is: a tensor that has no data, or is on a device that failed
        raise TypeError(f"{type(value).__name__} cannot be read: {error}; send plain values") from None
    raise TypeError(f"{type(value).__name__} is no JSON value; send strings, numbers, lists and objects")


_quoted = json.encoder.encode_basestring_ascii
_encode = json.JSONEncoder(
    ensure_ascii=True, allow_nan=False, check_circular=False, separators=(",", ":"), default=_plain
).encode


def encoded(value: Any) -> str:
    """`value` as JSON text. Raises `UnsendableError`."""
    try:
        return _encode(value)
    except RecursionError:
        raise UnsendableError("it nests too deep, or holds itself; send at most 64 levels") from None
    except TypeError as error:
        raise UnsendableError(str(error)) from None
    except ValueError as error:  # NaN, the infinities, and integers of too many digits
        reason = "not a finite number" if "float" in str(error) else str(error)
        raise UnsendableError(f"{reason}; send null or a string instead") from None


def encoded_object(value: Any, plain_names: Set[str]) -> str:
    """`value` as JSON text; quicker where all its names are among `plain_names`, which need no escapes.

    Raises `UnsendableError`.
    """
    if type(value) is not dict or not value.keys() <= plain_names:
        return encoded(value)
    members = [
        f'"{name}":{_quoted(entry) if type(entry) is str else encoded(entry)}' for name, entry in value.items()
    ]
    return "{" + ",".join(members) + "}"


def json_field(value: Any, pointer: str) -> str:
    """A field of a request as JSON text. Raises `InvalidRequestError` with its pointer."""
    try:
        return encoded(value)
    except UnsendableError as error:
        raise InvalidRequestError(f"{pointer or 'the body'}: {error}", pointer=pointer) from None


def item_id(item: Any) -> str | None:
    """The id of an item that could not be sent, if it has one."""
    id = item.get("id") if isinstance(item, Mapping) else None
    return id if isinstance(id, str) else None

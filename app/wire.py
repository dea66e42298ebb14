"""JSON in and out: the one path by which every body is decoded and every answer encoded.

In: UTF-8; depth is checked before anything is parsed; lone surrogates and NUL are kept; NaN, the infinities and
numbers that overflow to them (1e999) are refused at any depth. Out: ASCII-only JSON, which carries both
unharmed. The standard library's C parser is used because the faster ones refuse lone surrogates.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn

from app.errors import Problem

MAX_BODY = 32 * 1024 * 1024
"""Bytes of a body, after decompression."""
MAX_DEPTH = 64

MAX_VALUES = 1_000_000
"""Values of a body, inside one another or side by side: more hold up everybody while they are parsed."""

MAX_SURROGATES = 100_000
"""Surrogates written out as bytes; each costs the decoder a detour."""

_SURROGATE_BYTES = re.compile(rb"\xed[\xa0-\xbf]")
_NOT_STRUCTURE = bytes(b for b in range(256) if b not in b'[]{},"')
_ONE_KIND = bytes.maketrans(b"{}", b"[]")


def too_deep(body: bytes, limit: int = MAX_DEPTH) -> bool:
    """Whether the JSON text nests deeper than `limit`, found without parsing it.

    Of its structure, brackets are taken for one kind; each round then peels the innermost pairs, so what survives
    `limit` rounds is nested deeper, or is unbalanced and for the parser to refuse. Raises `Problem` (400) where the
    text holds more than `MAX_VALUES` values.
    """
    brackets = _structure(body).translate(_ONE_KIND, b",")
    for _ in range(limit):
        before = len(brackets)
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return False
        if len(brackets) == before:  # nothing but unbalanced brackets
            break
    return b"[]" in brackets or len(brackets) - len(brackets.lstrip(b"[")) > limit


def _structure(body: bytes) -> bytes:
    """The brackets and commas of a JSON text, without those in strings."""
    kept = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NOT_STRUCTURE)
    if kept.count(b'"') <= 4 * MAX_VALUES:  # two for a key, two for its value
        structure = b"".join(kept.split(b'"')[::2])
        if len(structure) <= 3 * MAX_VALUES:
            return structure
    raise Problem("invalid-json", f"the body holds more than {MAX_VALUES:,} values; send smaller batches")


class _NotFiniteError(ValueError):
    pass


def _refuse_constant(name: str) -> NoReturn:
    raise _NotFiniteError(name)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _NotFiniteError(text if len(text) < 20 else "a number too large")
    return value


_decoder = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse_constant)
_encoder = json.JSONEncoder(ensure_ascii=True, allow_nan=False, check_circular=False, separators=(",", ":"))


def decode(body: bytes) -> Any:
    """The value of a JSON text. Raises `Problem` (400) saying what is wrong and where."""
    if too_deep(body):
        raise Problem("invalid-json", f"the body nests deeper than {MAX_DEPTH} levels")
    try:
        return _decoder.decode(_text(body))
    except UnicodeDecodeError as error:
        raise Problem("invalid-json", f"the body is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise Problem("invalid-json", f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except _NotFiniteError as error:
        raise Problem("invalid-json", f"{error} is not a finite number; send null or a string") from None
    except RecursionError:
        raise Problem("invalid-json", f"the body nests deeper than {MAX_DEPTH} levels") from None
    except ValueError:  # the interpreter's bound on the digits of an integer
        raise Problem("invalid-json", "an integer has too many digits; send it as a string") from None


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        if len(_SURROGATE_BYTES.findall(body)) > MAX_SURROGATES:
            raise Problem("invalid-json", f"the body is not UTF-8: more than {MAX_SURROGATES:,} surrogates") from None
        text = body.decode("utf-8", "surrogatepass")
    # Surrogates written out as bytes: a pair of them is one character, as it is where JSON escapes spell it.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def encode(value: Any) -> str:
    """`value` as ASCII-only JSON. Raises ValueError on NaN and infinity, TypeError on what JSON has not."""
    return _encoder.encode(value)


async def read_body(
    chunks: AsyncIterator[bytes],
    *,
    content_length: str | None,
    content_encoding: str | None,
    hold: Callable[[int], None] = lambda size: None,
    limit: int = MAX_BODY,
) -> bytes:
    """A request's body, decompressed (gzip or deflate) and never longer than `limit`.

    `hold` is told of every part as it comes, and may refuse it.

    Raises `Problem`: 413 beyond the limit, also once decompressed; 415 for an encoding that is not offered; 400
    for a damaged one.
    """
    encoding = (content_encoding or "identity").strip().lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise Problem("unsupported-encoding", "send the body plain, or with Content-Encoding gzip or deflate")
    declared = content_length or ""
    if declared.isascii() and declared.isdigit() and int(declared[:12]) > limit:
        raise _too_large()
    unpack = None if encoding == "identity" else _Unpacker(encoding)
    parts: list[bytes] = []
    taken = size = 0
    async for chunk in chunks:
        if not chunk:  # a stream's last
            continue
        taken += len(chunk)
        part = chunk if unpack is None else unpack.feed(chunk, limit - size)
        hold(len(part))
        size += len(part)
        if size > limit or taken > limit:
            raise _too_large()
        parts.append(part)
    if unpack is not None:
        unpack.end()
    return parts[0] if len(parts) == 1 else b"".join(parts)


class _Unpacker:
    """Decompresses chunk by chunk. A gzip body may have several members (RFC 1952, section 2.2)."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._bits = 31 if encoding == "gzip" else 15
        self._stream = zlib.decompressobj(self._bits)

    def feed(self, chunk: bytes, room: int) -> bytes:
        """What the chunk unpacks to, or `room` bytes of it and one more."""
        parts: list[bytes] = []
        while chunk and room >= 0:
            if self._stream.eof:
                if self._encoding != "gzip":
                    raise self._damaged("something follows its end")
                self._stream = zlib.decompressobj(self._bits)
            try:
                parts.append(self._stream.decompress(chunk, room + 1))
            except zlib.error as error:
                raise self._damaged(str(error)) from None
            room -= len(parts[-1])
            chunk = self._stream.unused_data
        return b"".join(parts)

    def end(self) -> None:
        if not self._stream.eof:
            raise self._damaged("it is cut short")

    def _damaged(self, why: str) -> Problem:
        return Problem("invalid-encoding", f"the {self._encoding} body is damaged: {why}")


def _too_large() -> Problem:
    return Problem(
        "body-too-large", f"a body holds at most {MAX_BODY // 2**20} MiB after decompression; send smaller batches"
    )


def quote(text: str, limit: int = 100) -> str:
    """Caller text for a message: quoted, escaped to printable ASCII, and cut short."""
    return ascii(text if len(text) <= limit else text[:limit] + "...")

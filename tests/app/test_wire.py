"""JSON in and out, and bodies with their bounds."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app import wire
from app.errors import Problem
from app.wire import MAX_BODY, MAX_DEPTH, decode, encode, read_body, too_deep

# In Python a high and a low surrogate side by side are two characters, in JSON the way to write a third one; no
# text that arrives as JSON holds the two.
texts = st.text(st.characters(codec=None, exclude_categories=())).map(
    lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=25,
)


def problem(body: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        decode(body)
    return caught.value


@given(values)
@example('\x00\ud800 \udfff\\"\u2028')
@example({"\udc00": [1e-300, -0.0, 10**400]})
def test_what_is_encoded_decodes_to_itself(value: Any) -> None:
    text = encode(value)
    assert text.isascii()
    assert repr(decode(text.encode())) == repr(value)  # repr: tells 1 from 1.0 and True, and 0.0 from -0.0


@given(values)
def test_any_json_text_is_read_as_the_standard_library_reads_it(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1)
    assert repr(decode(text.encode("utf-8", "surrogatepass"))) == repr(json.loads(text))


@pytest.mark.parametrize(
    "raw",
    [
        b'"\xed\xa0\x80"',
        b'"\xed\xbf\xbf"',
        b'"\xed\xa0\x80 \xed\xb0\x80"',
        b'"\xed\xb0\x80\xed\xa0\x80"',
        b'"\\ud800"',
    ],
)
def test_lone_surrogates_survive_in_either_spelling(raw: bytes) -> None:
    text = decode(raw)
    assert any("\ud800" <= character <= "\udfff" for character in text)
    assert decode(encode(text).encode()) == text


def test_a_surrogate_pair_is_one_text_however_it_is_spelled() -> None:
    # What is stored, hashed for the cache and answered is the JSON of a text; two texts must not share one.
    assert decode(b'"\xed\xa0\xbd\xed\xb8\x80"') == decode(b'"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize(
    "path", ["@", "[@]", '{"a":@}', '[[[{"a":[1,@]}]]]', "[" * 60 + "@" + "]" * 60, '{"a":{"b":[0.5,-1,@,2]}}']
)
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1.0E+400", "9" * 400 + ".0"])
def test_what_is_not_finite_is_refused_at_any_depth(path: str, number: str) -> None:
    refused = problem(path.replace("@", number).encode())
    assert (refused.name, refused.status) == ("invalid-json", 400)
    assert "finite" in refused.detail
    assert len(refused.detail) < 200


@pytest.mark.parametrize("text", ["1e308", "-1.7976931348623157e308", "5e-324", "1e-999", "9" * 4300])
def test_numbers_that_are_finite_are_taken(text: str) -> None:
    assert decode(text.encode()) == json.loads(text)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_never_leaves(bad: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode({"a": [1, {"b": bad}]})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"[1,]",
        b'{"a":1,}',
        b"{'a':1}",
        b'"\x01"',
        b'"open',
        b"[1] 2",
        b"nul",
        b"01",
        b"1.",
        b"\xff",
        b'"\xc3"',
        b"\xef\xbb\xbf1",
        b"\x00",
        b"]" * 1000,
        b'"\\u12"',
        b"9" * 5000,
        b"[" + b"9" * 100_000 + b"]",
    ],
)
def test_what_is_not_json_is_a_client_fault_that_says_where(body: bytes) -> None:
    refused = problem(body)
    assert (refused.name, refused.status) == ("invalid-json", 400)
    assert len(refused.detail) < 200
    encode(refused.body())


def test_depth_is_refused_from_the_limit_on() -> None:
    assert decode(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")):
        body = opening * (MAX_DEPTH + 1) + b"1" + closing * (MAX_DEPTH + 1)
        assert "deeper than 64" in problem(body).detail


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000, b"[{" * 50_000]
)
def test_a_hundred_thousand_levels_are_refused_before_they_are_parsed(body: bytes) -> None:
    assert too_deep(body)
    assert problem(b'{"items": [{"completion": "x", "metadata": ' + body).name == "invalid-json"


def naive_depth(text: str) -> int | None:
    """The deepest nesting of a JSON text, found character by character; None where brackets do not match."""
    open_brackets: list[str] = []
    deepest = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "[{":
            open_brackets.append(character)
            deepest = max(deepest, len(open_brackets))
        elif character in "]}" and (not open_brackets or open_brackets.pop() + character not in ("[]", "{}")):
            return None
    return None if open_brackets or in_string else deepest


tricky = st.sampled_from(
    ['"', '\\"', "\\\\", '\\\\"', '\\\\\\"', "[", "]", "{", "}", "[]", "{}", '"[["', '"]]"', '"\\"["', '"\\\\"', "1,"]
)
keys = st.text(st.sampled_from('[]{}"\\ a')).map(json.dumps)


@given(st.recursive(keys, lambda inner: st.lists(inner, max_size=3).map(lambda e: f"[{','.join(e)}]"), max_leaves=40))
def test_depth_is_counted_as_a_reader_would(text: str) -> None:
    depth = naive_depth(text)
    assert depth is not None
    for limit in (1, 2, 3, 4):
        assert too_deep(text.encode(), limit) == (depth > limit)


@given(st.lists(tricky, max_size=60).map("".join), st.integers(1, 5))
@example("][" * 40, 1)
@example("[}" * 40, 1)
@example('"[[[[[[', 1)
@example('"\\\\"[[[[', 2)
def test_depth_of_hostile_text_never_hides_from_the_parser(text: str, limit: int) -> None:
    """Balanced text is judged exactly; unbalanced text may pass, but only where the parser stops early."""
    depth = naive_depth(text)
    if depth is not None and "\\" not in text:
        assert too_deep(text.encode(), limit) == (depth > limit)
    try:
        value = json.loads(text)
    except ValueError:
        return
    assert too_deep(text.encode(), limit) == (_depth_of(value) > limit)


def _depth_of(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth_of, value), default=0) if isinstance(value, list) else 0


@given(st.integers(0, 200), st.integers(0, 200), st.sampled_from(["", "]", "}", '"', "[}", "]["]))
def test_text_that_passes_the_depth_check_never_overflows_the_parser(before: int, after: int, noise: str) -> None:
    body = ("[" * before + noise + "[" * after + "]" * after).encode()
    if not too_deep(body):
        with suppress(ValueError):  # a RecursionError is none
            json.loads(body)


@given(st.text(), st.integers(1, 50))
def test_quoted_caller_text_is_short_printable_ascii(text: str, limit: int) -> None:
    quoted = wire.quote(text, limit)
    assert quoted.isascii() and quoted.isprintable()
    assert len(quoted) <= 10 * limit + 5


# --- bodies


async def chunked(chunks: Iterable[bytes], taken: list[int] | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        if taken is not None:
            taken.append(len(chunk))
        yield chunk


def split(body: bytes, size: int) -> list[bytes]:
    return [body[i : i + size] for i in range(0, len(body), size)]


async def read(chunks: Iterable[bytes], encoding: str | None = None, length: str | None = None) -> bytes:
    return await read_body(chunked(chunks), content_length=length, content_encoding=encoding)


async def refused(chunks: Iterable[bytes], encoding: str | None = None, length: str | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        await read(chunks, encoding, length)
    return caught.value


BODY = json.dumps({"text": "é\x00" * 3000}).encode()


@pytest.mark.parametrize("size", [1, 7, 1000, 10**6])
@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        (None, BODY),
        ("identity", BODY),
        ("gzip", gzip.compress(BODY)),
        (" GZIP ", gzip.compress(BODY)),
        ("deflate", zlib.compress(BODY)),
    ],
)
async def test_a_body_is_read_whole_however_it_is_cut(encoding: str | None, packed: bytes, size: int) -> None:
    assert await read(split(packed, size), encoding) == BODY
    assert await read([b"", *split(packed, size), b""], encoding) == BODY


async def test_no_body_is_an_empty_one() -> None:
    assert await read([]) == b""


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x", "compress"])
async def test_an_encoding_that_is_not_offered_is_refused(encoding: str) -> None:
    assert (await refused([BODY], encoding)).status == 415


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_damaged_or_cut_body_is_refused(encoding: str) -> None:
    packed = gzip.compress(BODY) if encoding == "gzip" else zlib.compress(BODY)
    cut = await refused([packed[:-3]], encoding)
    assert (cut.name, cut.status) == ("invalid-encoding", 400)
    assert "cut short" in cut.detail
    assert (await refused([], encoding)).name == "invalid-encoding"
    assert (await refused([BODY], encoding)).name == "invalid-encoding"
    assert (await refused([packed[:20] + b"\x00\xff" * 40 + packed[100:]], encoding)).name == "invalid-encoding"


async def test_gzip_of_several_members_is_read_whole_or_refused() -> None:
    # RFC 1952, 2.2: members follow one another; `cat a.gz b.gz` makes such a file.
    try:
        body = await read([gzip.compress(BODY[:100]) + gzip.compress(BODY[100:])], "gzip")
    except Problem as problem:
        assert problem.status == 400
    else:
        assert body == BODY


async def test_nothing_is_held_for_the_empty_chunk_that_ends_a_stream() -> None:
    held: list[int] = []
    body = await read_body(
        chunked([b"abc", b"de", b""]), content_length=None, content_encoding=None, hold=held.append
    )
    assert (body, held) == (b"abcde", [3, 2])


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_what_follows_a_compressed_body_does_not_pile_up(encoding: str) -> None:
    packed = gzip.compress(BODY) if encoding == "gzip" else zlib.compress(BODY)
    taken: list[int] = []
    chunks = [packed, *(b"\x01" * 2**20 for _ in range(80))]
    with pytest.raises(Problem) as caught:
        await read_body(chunked(chunks, taken), content_length=None, content_encoding=encoding)
    assert 400 <= caught.value.status < 500
    assert sum(taken) <= MAX_BODY + 2**21


async def test_a_compressed_body_that_unpacks_to_nothing_ends_at_the_limit() -> None:
    empty_block = b"\x00\x00\x00\xff\xff"  # RFC 1951, 3.2.4
    taken: list[int] = []
    chunks = [b"\x78\x9c", *(empty_block * 200_000 for _ in range(80))]
    with pytest.raises(Problem) as caught:
        await read_body(chunked(chunks, taken), content_length=None, content_encoding="deflate")
    assert caught.value.status == 413
    assert sum(taken) <= MAX_BODY + 2**21


async def test_a_body_of_the_limit_passes_and_one_byte_more_does_not() -> None:
    quarter = b"x" * (MAX_BODY // 4)
    assert len(await read([quarter] * 4)) == MAX_BODY
    too_large = await refused([*[quarter] * 4, b"y"])
    assert (too_large.name, too_large.status) == ("body-too-large", 413)
    assert "32 MiB" in too_large.detail


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_the_limit_holds_for_what_a_body_decompresses_to(encoding: str) -> None:
    def pack(size: int) -> bytes:
        packer = zlib.compressobj(1, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
        return packer.compress(b"x" * size) + packer.flush()

    assert len(await read(split(pack(MAX_BODY), 65536), encoding)) == MAX_BODY
    assert (await refused(split(pack(MAX_BODY + 1), 65536), encoding)).status == 413
    assert (await refused([pack(MAX_BODY + 1)], encoding)).status == 413


async def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    taken: list[int] = []
    with pytest.raises(Problem) as caught:
        await read_body(chunked([b"x"], taken), content_length=str(MAX_BODY + 1), content_encoding=None)
    assert caught.value.status == 413
    assert taken == []


@pytest.mark.parametrize("length", ["", "-1", "abc", "1e9", "²", "٣", "0", str(MAX_BODY)])
async def test_a_declared_length_decides_nothing_else(length: str) -> None:
    assert await read([BODY], length=length) == BODY


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_is_refused_in_little_memory(encoding: str) -> None:
    """A gigabyte from a megabyte, in one chunk and in many: read until the limit is passed, and no further."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    block = b"\x00" * 2**20
    packed = b"".join(packer.compress(block) for _ in range(256)) + packer.flush()
    for chunks in ([packed], split(packed, 4096)):
        taken: list[int] = []
        tracemalloc.start()
        try:
            with pytest.raises(Problem) as caught:
                await read_body(chunked(chunks, taken), content_length=None, content_encoding=encoding)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert caught.value.status == 413
        assert peak < 3 * MAX_BODY
        assert len(chunks) == 1 or sum(taken) < len(packed) / 4

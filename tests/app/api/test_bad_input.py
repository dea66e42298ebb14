"""Faults of the envelope: each is a 4xx problem that says which field and what to do, and nothing is recorded."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
import zlib
from typing import Any

import pytest

from app.api.deps import validated
from app.api.one_by_one import Unreadable
from app.api.score import ScoreRequest
from tests.app.api.support import Project, chunked, is_problem, ok, problem, raw, unique
from tests.service import Answer, Service

ITEM = {"completion": "Paris", "reference": "Paris"}
BODY: dict[str, Any] = {"verifier": "text", "items": [ITEM]}
GOOD = json.dumps(BODY).encode()
MIB = 2**20


@pytest.fixture(scope="module", autouse=True)
def log_before(service: Service) -> int:
    """How long the service's log was before these tests."""
    return len(service.log.read_text())


def with_token(path: str, token: str) -> bytes:
    """A good body, but for the field at `path` (a dot between its parts), which holds `token` as it is."""
    body = json.loads(json.dumps({**BODY, "options": {}, "items": [{**ITEM, "metadata": {"a": {"b": [0]}}}]}))
    place = body
    *parents, last = path.split(".")
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[last] = "@token@"
    return json.dumps(body).replace('"@token@"', token).encode()


FIELDS = [
    "verifier",
    "items",
    "items.0.id",
    "items.0.prompt",
    "items.0.completion",
    "items.0.reference",
    "items.0.group",
    "items.0.tokens",
    "items.0.finish_reason",
    "items.0.metadata",
    "items.0.metadata.a",
    "items.0.metadata.a.new",
    "items.0.verifier",
    "items.0.unknown",
    "options",
    "options.deadline_ms",
    "options.cache",
    "options.unknown",
    "run",
    "step",
    "unknown",
]
NOT_FINITE = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1E+400", "123456789e400", "1" + "0" * 400 + ".0"]


@pytest.mark.parametrize("field", FIELDS)
def test_numbers_that_are_not_finite_are_refused_wherever_they_are(project: Project, field: str) -> None:
    for token in NOT_FINITE:
        answer = problem(project.post("/score", with_token(field, token)), 400, "invalid-json")
        assert "finite" in answer["detail"]
        nested = f'[[{{"a":[{token}]}}]]'
        problem(project.post("/score", with_token(field, nested)), 400, "invalid-json")
    assert project.scores() == []


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("nest", ["[]", "{}", "[{", "{["])
def test_100_000_nested_brackets_are_refused_wherever_they_are(project: Project, field: str, nest: str) -> None:
    opening = {"[]": "[", "{}": '{"a":', "[{": '[{"a":', "{[": '{"a":['}[nest]
    closing = {"[]": "]", "{}": "}", "[{": "}]", "{[": "]}"}[nest]
    levels = 100_000 // (1 + (nest in ("[{", "{[")))
    answer = problem(
        project.post("/score", with_token(field, opening * levels + "1" + closing * levels)), 400, "invalid-json"
    )
    assert "64" in answer["detail"]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 100_000 + "]" * 99_999,
        "]" * 100_000,
        "[]" * 50_000,
        "[{" * 50_000,
        "[}" * 50_000,
        '{"a":' * 100_000,
        "[1," * 100_000,
        '["' + "[" * 100_000,
        "\\" * 100_001,
        '"' * 100_001,
        "[" * 60 + "}" * 60,
    ],
    ids=lambda text: text[:6],
)
def test_brackets_that_do_not_pair_are_refused(project: Project, text: str) -> None:
    problem(project.post("/score", text.encode()), 400, "invalid-json")


def nested(levels: int) -> Any:
    value: Any = "x"
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def test_nesting_counts_from_the_body_down_to_64(project: Project) -> None:
    # the body, its items, the item and its metadata are the first four
    item = {**ITEM, "metadata": {"a": nested(60)}}
    [result] = project.score("text", item)["items"]
    assert ok(project.get(f"/scores/{result['score_id']}"))["item"]["metadata"] == item["metadata"]
    body = {**BODY, "items": [{**ITEM, "metadata": {"a": nested(61)}}]}
    problem(project.post("/score", body), 400, "invalid-json")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":[' * 20_000,
        "\\[" * 50_000,
        '"[' * 50_000,
        '\\"[' * 50_000,
        '\\\\"[' * 50_000,
        '"' * 9 + "[" * 99,
    ],
    ids=lambda text: text[:6],
)
def test_brackets_inside_strings_do_not_count(project: Project, text: str) -> None:
    item = {"completion": text, "reference": text, "prompt": text, "metadata": {text: text}}
    assert project.score("text", item)["items"][0]["outcome"] in ("correct", "unscored")  # a reference has its limit
    [result] = project.score("text", {**item, "reference": "x"})["items"]
    assert result["score"] == 0.0
    assert ok(project.get(f"/scores/{result['score_id']}"))["item"]["completion"] == text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"items": [}',
        b"{'items': []}",
        GOOD[:-1],
        GOOD + b"x",
        GOOD + GOOD,
        b"nul",
        b'"',
        b'{"items": "\\x"}',
        b'{"items": "\\ud8"}',
        b'{"items": "a\nb"}',
        b'{"items": 01}',
        b'{"items": [1,]}',
        b'{"a" 1}',
        b"\x00",
        GOOD.replace(b"Paris", b"\xff"),
        GOOD.replace(b"Paris", b"\xc3"),
        GOOD.replace(b"Paris", b"\xc0\x80"),
        GOOD.replace(b"Paris", b"\xf4\x90\x80\x80"),
        b"\xef\xbb\xbf" + GOOD,
        GOOD.decode().encode("utf-16"),
        GOOD.decode().encode("utf-16-le"),
        GOOD.decode().encode("utf-32"),
        gzip.compress(GOOD, mtime=0),
        GOOD.replace(b'"Paris"', b"9" * 5000),
        GOOD.replace(b'"Paris"', b"-" + b"9" * 1_000_000),
    ],
    ids=lambda body: repr(body[:16]),
)
@pytest.mark.parametrize("path", ["/score", "/verifiers", "/keys"])
def test_a_body_that_is_not_json_is_a_400(project: Project, path: str, body: bytes) -> None:
    problem(project.post(path, body), 400, "invalid-json")


def test_a_fault_of_the_json_is_located(project: Project) -> None:
    assert "line 2, column 5" in problem(project.post("/score", b'{"a":\n    ]}'), 400, "invalid-json")["detail"]
    assert "byte 12" in problem(project.post("/score", b'{"items": ["\xff"]}'), 400, "invalid-json")["detail"]


def test_the_longest_integers_that_python_reads_are_kept(project: Project) -> None:
    number = 10**4000
    [item] = project.score(
        {"kind": "json_schema", "config": {"schema": True}}, {"completion": "1", "reference": number}
    )["items"]
    assert ok(project.get(f"/scores/{item['score_id']}"))["item"]["reference"] == number


TYPES: dict[str, list[Any]] = {
    "/verifier": [5, True, [], ["text"], {}, {"kind": 5}, {"kind": "text", "config": []}, {"kind": "text", "x": 1}],
    "/items": [None, {}, "x", 5, True, []],
    "/options": [None, [], "x", 5],
    "/options/on_error": [None, "ignore", 0, ["null"], ""],
    "/options/deadline_ms": [None, "soon", 0, -1, 600_001, 10**30, 1.5, [], {}],
    "/options/cache": [None, "perhaps", 5, [], {}],
    "/options/detail": [None, "some", True, []],
    "/options/unknown": [1],
    "/run": [5, True, [], {}, "", "x" * 201, "a\x00b", "a\nb", "\x1f", "\x7f", "\ud800"],
    "/step": ["first", -1, 1.5, 2**63, 10**30, [], {}],
    "/unknown": [None, 1],
    "/Unknown": [1],
    "/int": [1],
}


@pytest.mark.parametrize(
    ("where", "value"), [(where, value) for where, values in TYPES.items() for value in values], ids=repr
)
def test_a_field_that_is_not_acceptable_is_named(project: Project, where: str, value: Any) -> None:
    body = json.loads(json.dumps({**BODY, "options": {}}))
    *parents, last = where[1:].split("/")
    place = body[parents[0]] if parents else body
    place[last] = value
    answer = problem(project.post("/score", body), 422, "invalid-body")
    pointer = answer["pointer"]
    # a verifier's own fields may be named more exactly
    assert pointer == where or (where == "/verifier" and pointer.startswith("/verifier/")), answer
    assert project.scores() == []


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("/options/deadline_ms", "1000"),
        ("/options/deadline_ms", True),
        ("/options/deadline_ms", 1000.0),
        ("/options/cache", "no"),
        ("/options/cache", 0),
        ("/step", "3"),
        ("/step", True),
    ],
    ids=repr,
)
def test_a_value_of_another_type_is_not_guessed_at(project: Project, where: str, value: Any) -> None:
    body = json.loads(json.dumps({**BODY, "options": {}}))
    *parents, last = where[1:].split("/")
    (body[parents[0]] if parents else body)[last] = value
    answer = project.post("/score", body)
    if value == 1000.0 and answer.status == 200:
        return  # JSON Schema counts 1000.0 as an integer
    problem(answer, 422, "invalid-body", where)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/score", {**BODY, "k" * 1_000_000: 1}),
        ("/score", {**BODY, "options": {"k" * 1_000_000: 1}}),
        ("/score", {**BODY, "verifier": "k" * 1_000_000}),
        ("/score", {**BODY, "verifier": {"kind": "k" * 1_000_000}}),
        ("/score", {**BODY, "verifier": {"kind": "text", "config": {"k" * 1_000_000: 1}}}),
        ("/score", {**BODY, "verifier": {"kind": "regex", "config": {"pattern": "(" * 1_000_000}}}),
        ("/score", {**BODY, "verifier": {"kind": "json_schema", "config": {"schema": {"type": "k" * 100_000}}}}),
        ("/score", {**BODY, "verifier": {"kind": "json_schema", "config": {"schema": {"$ref": "k" * 100_000}}}}),
        ("/score", {**BODY, "run": "k" * 1_000_000}),
        ("/keys", {"name": "k" * 1_000_000}),
        ("/verifiers", {"name": "a", "kind": "text", "k" * 1_000_000: 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value)[-40:-20],
)
def test_what_is_said_of_a_fault_stays_short(project: Project, path: str, body: Any) -> None:
    answer = project.post(path, body)
    assert answer.status in (404, 422)
    is_problem(answer)


@pytest.mark.parametrize("body", [None, [], "text", 5, True, [BODY]], ids=repr)
def test_a_body_that_is_no_object_is_refused(project: Project, body: Any) -> None:
    problem(project.post("/score", json.dumps(body).encode()), 422, "invalid-body", "")


@pytest.mark.parametrize("count", [0, 4097, 100_000])
def test_too_few_or_too_many_items_are_refused(project: Project, count: int) -> None:
    problem(project.post("/score", {"verifier": "text", "items": [ITEM] * count}), 422, "invalid-body", "/items")
    assert project.scores() == []


@pytest.mark.parametrize(
    "name",
    [
        "nothing",
        "text@2",
        "text@0",
        "text@",
        "@1",
        "text@x",
        "text@99999999999",
        "",
        " text",
        "a/b",
        "x" * 1000,
        "\x00",
        "\ud800",
    ],
)
def test_an_unknown_verifier_is_a_404_that_names_it(project: Project, name: str) -> None:
    answer = problem(project.post("/score", {**BODY, "verifier": name}), 404, "unknown-verifier", "/verifier")
    assert ascii(name)[1:50].rstrip("'") in answer["detail"]
    assert project.scores() == []


INVALID_CONFIGS = [
    ("no-such-kind", {}, "/kind"),
    ("regex", {"pattern": "("}, "/config/pattern"),
    ("regex", {"pattern": "a{2,1}"}, "/config/pattern"),
    ("regex", {"pattern": "(a{1000}){1000}" * 50}, "/config/pattern"),
    ("regex", {"pattern": "(" * 3000 + ")" * 3000}, "/config/pattern"),
    ("regex", {"pattern": "\ud800"}, "/config/pattern"),
    ("regex", {"pattern": ""}, "/config/pattern"),
    ("regex", {"pattern": 5}, "/config/pattern"),
    ("regex", {"pattern": "a", "mode": "guess"}, "/config/mode"),
    ("regex", {"pattern": "a", "Pattern": "b"}, "/config/Pattern"),
    ("json_schema", {"schema": {"type": "nothing"}}, "/config/schema/type"),
    ("json_schema", {"schema": {"$ref": "file:///etc/passwd"}}, "/config/schema"),
    ("json_schema", {"schema": {"$ref": "http://127.0.0.1:1/schema"}}, "/config/schema"),
    ("json_schema", {"schema": {"properties": {"a": {"$ref": "https://example.com/a.json#/b"}}}}, "/config/schema"),
    ("json_schema", {"schema": {"$ref": "/etc/passwd"}}, "/config/schema"),
    ("json_schema", {"schema": {"$schema": "http://127.0.0.1:1/meta"}}, "/config/schema"),
    ("json_schema", {"schema": {"$id": "http://127.0.0.1:1/x", "$ref": "other"}}, "/config/schema"),
    ("json_schema", {"schema": {"pattern": "("}}, "/config/schema"),
    ("json_schema", {"schema": "text"}, "/config/schema"),
    ("text", {"mode": "guess"}, "/config/mode"),
    ("text", {"unknown": 1}, "/config/unknown"),
    ("text", {"mode": "rouge_l", "threshold": "high"}, "/config/threshold"),
]


@pytest.mark.parametrize(("kind", "config", "where"), INVALID_CONFIGS, ids=lambda value: repr(value)[:40])
def test_a_configuration_that_cannot_work_is_refused_at_registration(
    project: Project, kind: str, config: Any, where: str
) -> None:
    name = unique("broken")
    answer = problem(
        project.post("/verifiers", {"name": name, "kind": kind, "config": config}), 422, "invalid-config"
    )
    assert answer["pointer"].startswith(where), answer
    problem(project.get(f"/verifiers/{name}"), 404, "unknown-verifier")


@pytest.mark.parametrize(("kind", "config", "where"), INVALID_CONFIGS, ids=lambda value: repr(value)[:40])
def test_a_configuration_that_cannot_work_is_refused_inline(
    project: Project, kind: str, config: Any, where: str
) -> None:
    body = {"verifier": {"kind": kind, "config": config}, "items": [ITEM]}
    answer = problem(project.post("/score", body), 422, "invalid-config")
    assert answer["pointer"].startswith(f"/verifier{where}"), answer
    assert project.scores() == []


def test_a_pattern_that_backtracks_for_ever_is_harmless(project: Project) -> None:
    verifier = {"kind": "regex", "config": {"pattern": "(a+)+$"}}
    [item] = project.score(verifier, {"completion": "a" * 1_000_000 + "!"})["items"]
    assert item["score"] == 0.0


# Keys


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer assay_wrong",
        "Basic dGVzdDp0ZXN0",
        "Bearer {key}x",
        "Bearer {key} {key}",
        "Token {key}",
        "{key}",
        "Bearer \xff\xfe",
        "Bearer " + "x" * 30_000,
    ],
    ids=lambda header: repr(header)[:30],
)
@pytest.mark.parametrize("path", ["/score", "/verifiers", "/keys", "/projects"])
def test_without_a_valid_key_there_is_a_401(service: Service, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.format(key=service.key)}
    answer = service.post(path, BODY, key=None, headers=headers)
    problem(answer, 401, "unauthorized")
    assert service.key.encode() not in answer.body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/kinds"),
        ("GET", "/verifiers"),
        ("GET", "/verifiers/text"),
        ("GET", "/verifiers/text/versions"),
        ("DELETE", "/verifiers/x"),
        ("GET", "/scores"),
        ("GET", "/scores/00000000-0000-0000-0000-000000000000"),
        ("POST", "/scores/00000000-0000-0000-0000-000000000000/replay"),
        ("GET", "/keys"),
        ("DELETE", "/keys/00000000-0000-0000-0000-000000000000"),
        ("GET", "/project"),
        ("PATCH", "/project"),
        ("GET", "/projects"),
    ],
)
def test_every_resource_needs_a_key(service: Service, method: str, path: str) -> None:
    problem(service.request(method, path, key=None), 401, "unauthorized")
    problem(service.request(method, path, key="assay_unknown"), 401, "unauthorized")


SCOPED = [
    ("score", "POST", "/score", BODY),
    ("register", "POST", "/verifiers", {"name": "scoped", "kind": "text"}),
    ("register", "DELETE", "/verifiers/none-such", None),
    ("read", "GET", "/kinds", None),
    ("read", "GET", "/verifiers", None),
    ("read", "GET", "/verifiers/text", None),
    ("read", "GET", "/verifiers/text/versions", None),
    ("read", "GET", "/scores", None),
    ("read", "GET", "/scores/00000000-0000-0000-0000-000000000000", None),
    ("read", "GET", "/project", None),
    ("admin", "PATCH", "/project", {"keep": "full"}),
    ("admin", "GET", "/keys", None),
    ("admin", "POST", "/keys", {"name": "scoped"}),
    ("admin", "DELETE", "/keys/00000000-0000-0000-0000-000000000000", None),
]


@pytest.mark.parametrize(("scope", "method", "path", "body"), SCOPED, ids=lambda value: str(value)[:30])
def test_a_key_without_the_scope_is_refused_and_one_with_it_is_not(
    project: Project, scope: str, method: str, path: str, body: Any
) -> None:
    others = [name for name in ("score", "register", "read", "admin") if name != scope]
    answer = problem(project.request(method, path, body, key=project.new_key(*others)), 403, "forbidden")
    assert scope in answer["detail"]
    assert project.request(method, path, body, key=project.new_key(scope)).status in (200, 201, 404)


def test_a_replay_needs_both_score_and_read(project: Project) -> None:
    path = f"/scores/{project.score('text', ITEM)['items'][0]['score_id']}/replay"
    for scope in ("score", "read"):
        problem(project.post(path, key=project.new_key(scope)), 403, "forbidden")
    assert ok(project.post(path, key=project.new_key("score", "read")))["holds"] is True


def test_the_key_is_asked_for_before_the_body_is_read(service: Service) -> None:
    problem(service.post("/score", b"{", key=None), 401, "unauthorized")
    problem(service.post("/score", GOOD, key=None, headers={"Content-Encoding": "br"}), 401, "unauthorized")


# Sizes and encodings


def gzipped(project: Project, body: bytes, encoding: str = "gzip", path: str = "/score") -> Answer:
    return project.post(path, body, headers={"Content-Encoding": encoding})


def padded(size: int) -> bytes:
    """A good body of exactly `size` bytes."""
    empty = json.dumps({"verifier": "text", "items": [{"completion": "", "reference": "x"}]})
    return empty.replace('"completion": ""', f'"completion": "{"a" * (size - len(empty))}"').encode()


def test_a_body_may_have_32_mib_and_not_a_byte_more(project: Project) -> None:
    assert ok(project.post("/score", padded(32 * MIB)))["items"][0]["score"] == 0.0
    problem(project.post("/score", padded(32 * MIB + 1)), 413, "body-too-large")
    assert len(project.scores()) == 1


def test_a_compressed_body_may_unpack_to_32_mib_and_not_a_byte_more(project: Project) -> None:
    assert ok(gzipped(project, gzip.compress(padded(32 * MIB), 1)))["items"][0]["score"] == 0.0
    problem(gzipped(project, gzip.compress(padded(32 * MIB + 1), 1)), 413, "body-too-large")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_is_refused_without_being_unpacked(project: Project, encoding: str) -> None:
    packer = zlib.compressobj(9, wbits=31 if encoding == "gzip" else 15)
    bomb = b"".join(packer.compress(bytes(16 * MIB)) for _ in range(16)) + packer.flush()
    assert len(bomb) < MIB
    problem(gzipped(project, bomb, encoding), 413, "body-too-large")


def test_a_bomb_of_a_bomb_is_only_unpacked_once(project: Project) -> None:
    problem(gzipped(project, gzip.compress(gzip.compress(GOOD))), 400, "invalid-json")


@pytest.mark.parametrize("path", ["/verifiers", "/keys", "/projects"])
def test_every_body_is_bounded(default_project: Project, path: str) -> None:
    problem(gzipped(default_project, gzip.compress(bytes(33 * MIB), 1), path=path), 413, "body-too-large")


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " gzip ", "deflate"])
def test_compressed_bodies_are_taken(project: Project, encoding: str) -> None:
    packed = zlib.compress(GOOD) if encoding == "deflate" else gzip.compress(GOOD)
    assert ok(gzipped(project, packed, encoding))["items"][0]["score"] == 1.0
    assert ok(project.post("/score", GOOD, headers={"Content-Encoding": "identity"}))["items"][0]["score"] == 1.0


PACKED = gzip.compress(GOOD)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        GOOD,
        PACKED[:-1],
        PACKED[:10],
        PACKED[: len(PACKED) // 2],
        PACKED[:20] + bytes([PACKED[20] ^ 255]) + PACKED[21:],
        PACKED[:-8] + os.urandom(4) + PACKED[-4:],
        PACKED[:-4] + b"\xff\xff\xff\xff",
        PACKED + b"trailing",
        PACKED + PACKED[:15],
        b"\x1f\x8b",
        b"\x1f\x8b\x08" + bytes(30),
    ],
    ids=[
        "empty",
        "plain",
        "cut",
        "header",
        "half",
        "bit",
        "crc",
        "length",
        "trailing",
        "second cut",
        "magic",
        "zeros",
    ],
)
def test_a_damaged_or_cut_encoding_is_a_400(project: Project, body: bytes) -> None:
    problem(gzipped(project, body), 400, "invalid-encoding")
    assert project.scores() == []


def test_a_body_in_several_gzip_members_is_never_cut_after_the_first(project: Project) -> None:
    # RFC 1952, 2.2: a file is a series of members
    middle = len(GOOD) // 2
    answer = gzipped(project, gzip.compress(GOOD[:middle]) + gzip.compress(GOOD[middle:]))
    assert ok(answer)["items"][0]["score"] == 1.0
    answer = gzipped(project, gzip.compress(GOOD) + gzip.compress(b" " * 10 + b"]"))
    problem(answer, 400, "invalid-json")


def test_what_follows_a_compressed_body_is_not_read_without_end(project: Project) -> None:
    pieces = [PACKED, *[bytes(MIB)] * 40]
    answer = chunked(project, pieces, **{"Content-Encoding": "gzip"})
    assert answer.status in (400, 413)
    is_problem(answer)
    assert project.scores() == []


def test_a_compressed_body_that_yields_nothing_is_not_read_without_end(project: Project) -> None:
    empty_block = b"\x00\x00\x00\xff\xff"  # a stored block of no bytes: RFC 1951, 3.2.4
    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    pieces = [header, *[empty_block * (MIB // 5)] * 40]
    problem(chunked(project, pieces, **{"Content-Encoding": "gzip"}), 413, "body-too-large")


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "utf-8", "x"])
def test_an_encoding_that_is_not_offered_is_a_415(project: Project, encoding: str) -> None:
    answer = problem(gzipped(project, GOOD, encoding), 415, "unsupported-encoding")
    assert "gzip" in answer["detail"]


def head(service: Service, *headers: str, path: str = "/score", key: str | None = None) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {key or service.key}", *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode()


def status_and_body(answer: bytes) -> tuple[int, Any]:
    header, _, body = answer.partition(b"\r\n\r\n")
    return int(header.split(b" ")[1]), body


def test_a_length_over_the_limit_is_refused_before_the_body_comes(service: Service) -> None:
    status, body = status_and_body(raw(service, head(service, f"Content-Length: {10**12}")))
    assert status == 413
    assert json.loads(body)["type"].endswith("body-too-large")


@pytest.mark.parametrize("length", ["-1", "abc", "1, 2", "0x10", "9" * 40, "+5", "1e3"])
def test_a_length_that_is_no_number_never_scores(service: Service, project: Project, length: str) -> None:
    answer = raw(service, head(service, f"Content-Length: {length}", key=project.key) + GOOD)
    assert answer.split(b" ")[1][:1] == b"4"
    assert project.scores() == []


def test_a_body_shorter_than_its_length_is_never_scored(service: Service, project: Project) -> None:
    raw(service, head(service, f"Content-Length: {len(GOOD) + 1}", key=project.key) + GOOD, finish=False)
    raw(service, head(service, f"Content-Length: {len(GOOD)}", key=project.key) + GOOD[:20], finish=False)
    assert project.scores() == []
    assert project.score("text", ITEM)["items"][0]["score"] == 1.0


def test_a_body_longer_than_its_length_is_cut_there(service: Service, project: Project) -> None:
    status, body = status_and_body(
        raw(service, head(service, f"Content-Length: {len(GOOD) - 1}", key=project.key) + GOOD)
    )
    assert (status, json.loads(body)["type"].split(":")[-1]) == (400, "invalid-json")


def test_chunked_bodies_are_taken_and_bounded(project: Project) -> None:
    pieces = [GOOD[i : i + 7] for i in range(0, len(GOOD), 7)]
    assert ok(chunked(project, pieces))["items"][0]["score"] == 1.0
    problem(chunked(project, [b" " * MIB] * 33), 413, "body-too-large")


# Paths, methods, headers, parameters


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/score/x",
        "/scores/a/b",
        "/verifiers/a/b",
        "/%00",
        "/%ff",
        "/%ed%a0%80",
        "//",
        "/" + "x" * 5000,
        "/..%2f..%2fetc",
        "/docs/assets/nothing",
        "/docs/assets/..%2f..%2fpasswd",
    ],
    ids=lambda path: path[:20],
)
def test_an_unknown_path_is_a_404(service: Service, path: str) -> None:
    problem(service.get(path), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/score", {"POST"}),
        ("PUT", "/score", {"POST"}),
        ("PATCH", "/verifiers/text", {"GET", "DELETE"}),
        ("PUT", "/keys", {"GET", "POST"}),
        ("POST", "/scores", {"GET"}),
        ("GET", "/scores/00000000-0000-0000-0000-000000000000/replay", {"POST"}),
        ("OPTIONS", "/score", {"POST"}),
        ("TRACE", "/score", {"POST"}),
        ("POST", "/healthz", {"GET"}),
        ("DELETE", "/project", {"GET", "PATCH"}),
    ],
)
def test_an_unknown_method_is_a_405_that_says_which_there_are(
    service: Service, method: str, path: str, allowed: set[str]
) -> None:
    answer = service.request(method, path)
    problem(answer, 405, "method-not-allowed")
    assert {name.strip() for name in answer.headers["allow"].split(",")} >= allowed


@pytest.mark.parametrize("host", ["[", "a]b", "x/y?z#", "\xff", "x:99999999", "a b", ""])
@pytest.mark.parametrize("path", ["/nothing", "/score", "/score/"])
def test_a_strange_host_header_is_no_fault_of_the_service(service: Service, host: str, path: str) -> None:
    request = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nIdempotency-Key: a\r\nConnection: close\r\n"
    request += f"Authorization: Bearer {service.key}\r\nContent-Length: 2\r\n\r\n{{}}"
    assert raw(service, request.encode("latin-1")).split(b" ")[1][:1] in (b"3", b"4")


@pytest.mark.parametrize(
    "target", [b"/nothing?\xff", b"/nothing?%ff", b"/\xff", b"/nothing?\xed\xa0\x80", b"/nothing#x", b"/%zz"]
)
def test_a_strange_target_is_no_fault_of_the_service(service: Service, target: bytes) -> None:
    assert (
        raw(service, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").split(b" ")[1][:1]
        == b"4"
    )


BAD_PARAMETERS = [
    ("/scores?limit=0", "/limit"),
    ("/scores?limit=-1", "/limit"),
    ("/scores?limit=1001", "/limit"),
    ("/scores?limit=x", "/limit"),
    ("/scores?limit=" + "9" * 5000, "/limit"),
    ("/scores?limit=1e999", "/limit"),
    ("/scores?cursor=x", "/cursor"),
    ("/scores?cursor=" + "x" * 300, "/cursor"),
    ("/scores?cursor=%00", "/cursor"),
    ("/scores?cursor=", "/cursor"),
    ("/scores?outcome=x", "/outcome"),
    ("/scores?min_score=x", "/min_score"),
    ("/scores?min_score=nan", "/min_score"),
    ("/scores?max_score=inf", "/max_score"),
    ("/scores?max_score=1e999", "/max_score"),
    ("/scores?since=yesterday", "/since"),
    ("/scores?since=nan", "/since"),
    ("/scores?until=99999999999999999999", "/until"),
    ("/scores?run=a%00b", "/run"),
    ("/scores?run=" + "x" * 201, "/run"),
    ("/scores?verifier=a/b", "/verifier"),
    ("/scores?verifier=text@0", "/verifier"),
    ("/scores?verifier=%00", "/verifier"),
    ("/keys?limit=0", "/limit"),
    ("/keys?cursor=x", "/cursor"),
    ("/verifiers?limit=x", "/limit"),
    ("/verifiers?cursor=a/b", "/cursor"),
    ("/verifiers?cursor=%00", "/cursor"),
    ("/verifiers/text/versions?cursor=0", "/cursor"),
    ("/verifiers/text/versions?cursor=99999999999999", "/cursor"),
    ("/projects?cursor=x", "/cursor"),
    ("/scores/x", "/id"),
    ("/scores/%00", "/id"),
]


@pytest.mark.parametrize(("path", "where"), BAD_PARAMETERS, ids=lambda value: value[:40])
def test_a_parameter_that_is_not_acceptable_is_named(default_project: Project, path: str, where: str) -> None:
    problem(default_project.get(path), 422, "invalid-parameter", where)


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00%2B23:59",
        "1969-12-31",
        "-1",
        "0",
        "1e3",
    ],
)
def test_a_time_at_the_edge_is_answered(project: Project, moment: str) -> None:
    for parameter in ("since", "until"):
        answer = project.get(f"/scores?{parameter}={moment}")
        if answer.status != 200:
            problem(answer, 422, "invalid-parameter", f"/{parameter}")


# What a hostile body costs


@pytest.mark.parametrize(
    "item",
    [
        {"completion": [0] * 100_000},
        {"completion": [{"role": "assistant", "content": [0] * 100_000}]},
        {"completion": "x", "prompt": [{}] * 100_000},
        {"completion": "x", **{f"k{n}": 0 for n in range(100_000)}},
    ],
    ids=["completion", "content", "prompt", "unknown fields"],
)
def test_a_thousand_faults_cost_no_more_than_one(item: dict[str, Any]) -> None:
    tracemalloc.start()
    try:
        found = validated(ScoreRequest, {"verifier": "text", "items": [item]})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(found.items[0], Unreadable)
    assert peak < 10 * MIB


def test_the_service_is_well_after_all_this(service: Service, log_before: int) -> None:
    assert service.get("/healthz", key=None).status == 200
    ready = ok(service.get("/readyz", key=None))
    assert (ready["status"], ready["database"]) == ("ready", True)
    # a client's mistake is no fault of ours, in the log as in the answer
    assert "Traceback" not in service.log.read_text()[log_before:]

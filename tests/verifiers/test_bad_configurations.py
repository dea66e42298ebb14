"""Configurations of the simple kinds that cannot work, each with the message that refuses it."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import Problem
from app.registry import compile_config
from verifiers.base import load_kinds

load_kinds()


@pytest.mark.parametrize(
    ("kind", "config", "pointer", "message"),
    [
        (
            "text",
            {"mode": "token_set"},
            "/config/mode",
            "/config/mode: Input should be 'exact', 'contains', 'ratio', 'levenshtein', 'token_sort', 'token_f1', "
            "'rouge_2', 'rouge_3', 'rouge_4', 'rouge_5', 'rouge_l', 'bleu', 'gleu', 'meteor' or 'chrf'",
        ),
        (
            "text",
            {"mode": "ratio", "threshold": 0},
            "/config/threshold",
            "/config/threshold: Input should be greater than 0",
        ),
        (
            "text",
            {"mode": "ratio", "threshold": 1.5},
            "/config/threshold",
            "/config/threshold: Input should be less than or equal to 1",
        ),
        (
            "text",
            {"mode": "ratio", "threshold": "high"},
            "/config/threshold",
            "/config/threshold: Input should be a valid number",
        ),
        ("text", {"threshold": 0.5}, "/config/threshold", "a threshold needs a measure, and exact is not one"),
        ("text", {"whole_words": True}, "/config/whole_words", "whole_words goes with mode contains"),
        ("text", {"whole_words": 1}, "/config/whole_words", "/config/whole_words: Input should be a valid boolean"),
        ("text", {"unicode": "NFD"}, "/config/unicode", "/config/unicode: Input should be 'none', 'NFC' or 'NFKC'"),
        ("text", {"section": "thinking"}, "/config/section", "/config/section: Input should be 'final' or 'whole'"),
        (
            "text",
            {"tag": "<answer>"},
            "/config/tag",
            "/config/tag: String should match pattern '^[A-Za-z_][A-Za-z0-9_.-]{0,60}$'",
        ),
        (
            "text",
            {"ignore_whitespace": True},
            "/config/ignore_whitespace",
            "/config/ignore_whitespace: Extra inputs are not permitted",
        ),
        ("text", [], "/config", "/config: Input should be a valid dictionary"),
        ("text", None, "/config", "/config: Input should be a valid dictionary"),
        ("regex", {"pattern": ""}, "/config/pattern", "/config/pattern: String should have at least 1 character"),
        ("regex", {"pattern": 5}, "/config/pattern", "/config/pattern: Input should be a valid string"),
        ("regex", {"pattern": "("}, "/config/pattern", "the pattern is not valid: missing ): ("),
        (
            "regex",
            {"pattern": "(?=a)["},
            "/config/pattern",
            "the pattern is not valid: unterminated character set at position 6 (RE2: invalid perl operator: (?=)",
        ),
        ("regex", {"flags": "x"}, "/config/flags", "/config/flags: String should match pattern '^[ims]*$'"),
        ("regex", {"mode": "match"}, "/config/mode", "/config/mode: Input should be 'search' or 'fullmatch'"),
        (
            "regex",
            {"pattern": "a", "group": -1},
            "/config/group",
            "/config/group: Input should be greater than or equal to 0, or a valid string",
        ),
        ("regex", {"pattern": "a", "group": 1}, "/config/group", "the pattern has no group 1; it has 0"),
        (
            "regex",
            {"pattern": "a", "group": 1.5},
            "/config/group",
            "/config/group: Input should be a valid integer, or a valid string",
        ),
        ("regex", {"group": 1}, "/config/group", "with a group the reference is the expected text: give a pattern"),
        ("regex", {"pattern": "a", "several": "last"}, "/config/several", "several goes with a group"),
        ("regex", {"min_count": 2, "max_count": 1}, "/config/max_count", "max_count is below min_count"),
        (
            "regex",
            {"reward": "fraction"},
            "/config/reward",
            "a fraction goes with a min_count above 1, and without negate",
        ),
        ("regex", {"regex": "a"}, "/config/regex", "/config/regex: Extra inputs are not permitted"),
        (
            "json_schema",
            {"schema": "{}"},
            "/config/schema",
            "/config/schema: Input should be a valid dictionary, or a valid boolean",
        ),
        (
            "json_schema",
            {"schema": {"type": "strin"}},
            "/config/schema/type",
            "\"strin\" is not valid under any of the schemas listed in the 'anyOf' keyword",
        ),
        (
            "json_schema",
            {"schema": {"$ref": "file:///etc/passwd"}},
            "/config/schema",
            "Resource 'file:///etc/passwd' is not present in a registry and retrieving it failed: Retrieval is "
            "disabled, cannot fetch file:///etc/passwd",
        ),
        (
            "json_schema",
            {"schema": {"properties": {"a": {"minimum": "0"}}}},
            "/config/schema/properties/a/minimum",
            '"0" is not of type "number"',
        ),
        (
            "json_schema",
            {"from": "first"},
            "/config/from",
            "/config/from: Input should be 'whole', 'fenced' or 'last_object'",
        ),
        ("json_schema", {"equal": True}, "/config/equal", "/config/equal: Input should be 'no', 'all' or 'fraction'"),
        (
            "json_schema",
            {"equal": "all"},
            "/config/equal",
            "the reference cannot be both the schema and the expected value: give a schema (true accepts any)",
        ),
        (
            "json_schema",
            {"schema": True, "strings": "loose"},
            "/config/strings",
            "strings says how values are compared: set equal to all or fraction",
        ),
        (
            "json_schema",
            {"schema": True, "equal": "all", "tolerance": 1},
            "/config/tolerance",
            "/config/tolerance: Input should be less than 1",
        ),
        ("json_schema", {"schema_": {}}, "/config/schema_", "/config/schema_: Extra inputs are not permitted"),
        (
            "format",
            {"sections": []},
            "/config/sections",
            "/config/sections: List should have at least 1 item after validation, not 0",
        ),
        (
            "format",
            {"sections": ["<think>"]},
            "/config/sections/0",
            "/config/sections/0: String should match pattern '^[A-Za-z_][A-Za-z0-9_.-]{0,60}$', "
            "or a valid dictionary",
        ),
        ("format", {"sections": "think"}, "/config/sections", "/config/sections: Input should be a valid list"),
        ("format", {"sections": ["a", "a"]}, "/config/sections/1", "two sections are named a"),
        (
            "format",
            {"sections": [{"open": "x"}]},
            "/config/sections/0/name",
            "/config/sections/0/name: Field required",
        ),
        (
            "format",
            {"sections": [{"name": "a", "open": "x"}]},
            "/config/sections/0",
            "give both open and close, or neither for the tags of the name",
        ),
        ("format", {"sections": ["a", {"name": "b", "min": 2}]}, "/config/sections/1/max", "max is below min"),
        ("format", {"lines": "yes"}, "/config/lines", "/config/lines: Input should be a valid boolean"),
        (
            "format",
            {"reward": "some"},
            "/config/reward",
            "/config/reward: Input should be 'all', 'fraction' or 'markers'",
        ),
        ("format", {"tags": ["think"]}, "/config/tags", "/config/tags: Extra inputs are not permitted"),
        (
            "length",
            {"unit": "bytes"},
            "/config/unit",
            "/config/unit: Input should be 'characters', 'words' or 'tokens'",
        ),
        ("length", {"min": -1}, "/config/min", "/config/min: Input should be greater than or equal to 0"),
        ("length", {"min": 0, "max": None}, "/config/max", "no length is too short or too long: give min or max"),
        (
            "length",
            {"unit": "tokens", "section": "final"},
            "/config/section",
            "an item's tokens are those of the whole completion",
        ),
        (
            "length",
            {"max": 2147483648},
            "/config/max",
            "/config/max: Input should be less than or equal to 2147483647",
        ),
        ("length", {"min": 1.5}, "/config/min", "/config/min: Input should be a valid integer"),
        ("length", {"maximum": 5}, "/config/maximum", "/config/maximum: Extra inputs are not permitted"),
        ("repetition", {"n": 0}, "/config/n", "/config/n: Input should be greater than or equal to 1"),
        ("repetition", {"n": 21}, "/config/n", "/config/n: Input should be less than or equal to 20"),
        ("repetition", {"n": "four"}, "/config/n", "/config/n: Input should be a valid integer"),
        ("repetition", {"unit": "tokens"}, "/config/unit", "/config/unit: Input should be 'words' or 'characters'"),
        ("repetition", {"scale": "share"}, "/config/scale", "/config/scale: Input should be 'penalty' or 'bonus'"),
        ("repetition", {"ngram": 3}, "/config/ngram", "/config/ngram: Extra inputs are not permitted"),
    ],
)
def test_refused_with_a_message_that_names_the_field(kind: str, config: Any, pointer: str, message: str) -> None:
    with pytest.raises(Problem) as raised:
        compile_config(kind, config)
    assert (raised.value.name, raised.value.pointer, raised.value.detail) == ("invalid-config", pointer, message)

"""`assay verifiers try`, against the live service."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from app.cli.faults import MISUSED, CommandError
from app.cli.typed import config_with, reference_from
from tests.app.cli.conftest import Assay
from tests.service import Service
from verifiers.base import load_kinds

KINDS = load_kinds()
TRY = ("verifiers", "try")
INLINE = sorted(kind for kind in KINDS if KINDS[kind].examples and not KINDS[kind].sandboxed)
"""Kinds that need nothing that a host may lack."""


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Any:
    def give(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return give


class TestOne:
    def test_a_completion_and_a_reference(self, assay: Assay) -> None:
        ran = assay(
            *TRY, "math", "--completion", "The answer is 0.5", "--reference", "1/2", "--set", "tolerance=0.01"
        )
        assert ran.code == 0, ran.err
        rows = [line.split(maxsplit=1) for line in ran.out.splitlines()]
        assert ["score", "1"] in [[part.strip() for part in row] for row in rows]
        assert "correct" in ran.out
        assert "math@inline" in ran.out
        assert "stage" in ran.out

    def test_wrong_is_a_score_too(self, assay: Assay) -> None:
        ran = assay(*TRY, "text", "-c", "Rome", "-r", "Paris", "--json")
        assert (ran.code, ran.json()["score"], ran.json()["outcome"]) == (0, 0.0, "incorrect")

    def test_unscored_says_why_and_what_to_do(self, assay: Assay) -> None:
        ran = assay(*TRY, "text", "-c", "Rome")
        assert ran.code == 1
        for said in ("none", "unscored", "bad_item", "must be a string or a list of strings", "change what is named"):
            assert said in ran.out, ran.out
        assert assay(*TRY, "text", "-c", "Rome", "--json").json()["error"]["type"] == "bad_item"

    def test_components(self, assay: Assay) -> None:
        ran = assay(*TRY, "format", "-c", "<think>a</think>", "--set", "reward=fraction")
        assert ran.code == 0
        assert "component think" in ran.out
        assert "partial" in ran.out

    def test_completion_from_a_file_and_from_stdin(self, assay: Assay, tmp_path: Path, stdin: Any) -> None:
        file = tmp_path / "completion.txt"
        keep = ("--set", "whitespace=keep", "-r", " Paris\0", "--json")
        for content, expected in ((b" Paris\0", 1.0), (b" Paris\0\n", 0.0)):
            file.write_bytes(content)
            assert assay(*TRY, "text", "-c", f"@{file}", *keep).json()["score"] == expected
        stdin(b"Paris\n")
        assert assay(*TRY, "text", "-c", "-", "-r", "Paris", "--json").json()["score"] == 1.0
        stdin(b"Paris")
        assert assay(*TRY, "text", "-r", "Paris", "--json").json()["score"] == 1.0
        stdin(b"\xff")
        refused = assay(*TRY, "text", "-r", "Paris")
        assert (refused.code, refused.err) == (2, "--completion: is not UTF-8 from byte 0 on\n")
        missing = assay(*TRY, "text", "-c", f"@{tmp_path / 'none'}")
        assert missing.code == 2
        assert missing.err.startswith(f"--completion: {tmp_path / 'none'} cannot be read: No such file")

    def test_references(self, assay: Assay, tmp_path: Path) -> None:
        def scored(kind: str, completion: str, reference: str, *more: str) -> Any:
            return assay(*TRY, kind, "-c", completion, "-r", reference, "--json", *more).json()["score"]

        file = tmp_path / "reference.json"
        file.write_text('["Rome", "Paris"]\n')
        assert scored("text", "Paris", '["Rome", "Paris"]') == 1.0
        assert scored("text", "Paris", f"@{file}") == 1.0
        assert scored("text", "42", "42") == 1.0
        assert scored("math", "42", '{"answer": 42, "type": "integer"}') == 1.0
        assert scored("math", "$[1,2]$", "[1,2]") == 1.0
        assert scored("json_schema", '{"a": 1}', '{"required": ["a"]}') == 1.0
        assert scored("json_schema", "42", "42", "--set", "schema=true", "--set", "equal=all") == 1.0
        file.write_text("P[a-z]+\n")
        assert scored("regex", "Paris", f"@{file}", "--set", "mode=fullmatch") == 1.0

    def test_everything_of_an_item(self, assay: Assay) -> None:
        ran = assay(*TRY, "format", "-c", "6</think><answer>6</answer>", "-p", "2*3?<think>", "--json")
        assert ran.json()["score"] == 1.0
        dapo = ("--set", "unit=tokens", "--set", "max=100", "--set", "max_ramp=50")
        assert assay(*TRY, "length", "-c", "x", "--tokens", "75", *dapo, "--json").json()["score"] == -0.5
        chat = json.dumps([{"role": "user", "content": "2*3?"}, {"role": "assistant", "content": "6"}])
        assert assay(*TRY, "text", "--messages", chat, "-r", "6", "--metadata", '{"a": 1}', "--json").code == 0
        assert assay(*TRY, "text", "--messages", chat, "-c", "6").code == 2
        assert "--metadata" in assay(*TRY, "text", "-c", "6", "--metadata", "{").err

    def test_configuration_from_a_file_with_fields_over_it(self, assay: Assay, tmp_path: Path) -> None:
        file = tmp_path / "config.json"
        file.write_text('{"mode": "contains", "ignore_case": true}')
        for config in (str(file), f"@{file}", file.read_text()):
            asked = (*TRY, "text", "-c", "in PARIS", "-r", "Paris", "--json", "--config", config)
            assert assay(*asked).json()["score"] == 1.0
            assert assay(*asked, "--set", "ignore_case=false").json()["score"] == 0.0
        file.write_text("[]")
        assert "a configuration is a JSON object" in self._refused(assay, "text", "--config", str(file))
        assert "--config: Expecting" in self._refused(assay, "text", "--config", "@/dev/null")
        assert "cannot be read" in self._refused(assay, "text", "--config", "mode=contains")

    @staticmethod
    def _refused(assay: Assay, *arguments: str) -> str:
        ran = assay(*TRY, *arguments, "-c", "x")
        assert ran.code == 2
        return ran.err

    def test_misuse(self, assay: Assay) -> None:
        refused = self._refused
        assert "did you mean math? there are: " in refused(assay, "maths")
        assert "--verifier" in refused(assay, "my-own")
        assert "did you mean tolerance? there are: " in refused(assay, "math", "--set", "tolerence=1")
        assert "tolerance=much: must be number" in refused(assay, "math", "--set", "tolerance=much")
        assert "write it as FIELD=VALUE" in refused(assay, "math", "--set", "tolerance")
        assert "/verifier/config/tolerance: Input should be" in refused(assay, "math", "--set", "tolerance=-1")
        assert "the pattern is not valid" in refused(assay, "regex", "--set", "pattern=(")
        assert assay(*TRY).code == 2
        assert assay(*TRY, "math", "--verifier", "math").code == 2
        assert assay(*TRY, "--verifier", "math", "--set", "tolerance=1").code == 2
        assert assay(*TRY, "--verifier", "nothing", "-c", "x").code == 2

    def test_what_a_caller_wrote_does_nothing_to_the_terminal(self, assay: Assay) -> None:
        ran = assay(*TRY, "math", "-c", "\\boxed{\x1b[31m\u202e7}", "-r", "7", "--detail", "full")
        assert "\x1b" not in ran.out
        assert "\u202e" not in ran.out


class TestRegistered:
    def test_a_registered_verifier_and_its_examples(self, assay: Assay, tmp_path: Path) -> None:
        examples = tmp_path / "examples.jsonl"
        examples.write_text('{"completion": "thanks", "expect": 1}\n{"completion": "no", "expect": "<1"}\n')
        assay("verifiers", "add", "polite", "--kind", "regex", "--config", '{"pattern": "thanks"}',
              "--examples", str(examples))  # fmt: skip
        ran = assay(*TRY, "--verifier", "polite@1", "-c", "many thanks", "--json")
        assert (ran.code, ran.json()["verifier"], ran.json()["score"]) == (0, "polite@1", 1.0)
        listed = assay(*TRY, "--verifier", "polite", "--json")
        assert (listed.code, [result["score"] for result in listed.json_lines()]) == (0, [1.0, 0.0])
        bare = assay(*TRY, "--verifier", "text")
        assert bare.code == 2
        assert "without examples" in bare.err

    def test_scopes(self, assay: Assay, service: Service, project_key: str) -> None:
        reader = service.new_key("read", key=project_key)
        ran = assay(*TRY, "text", "-c", "a", "-r", "a", "--key", reader)
        assert (ran.code, "lacks the scope 'score'" in ran.err) == (1, True)


@pytest.mark.parametrize("kind", INLINE)
def test_examples_of_a_kind(assay: Assay, kind: str) -> None:
    ran = assay(*TRY, kind)
    assert (ran.code, ran.err) == (0, ""), ran.out + ran.err
    assert len(ran.out.splitlines()) == 1 + len(KINDS[kind].examples)
    results = assay(*TRY, kind, "--json").json_lines()
    assert [result["score"] for result in results] == [example.score for example in KINDS[kind].examples]


@pytest.mark.parametrize("kind", sorted(kind for kind in KINDS if not KINDS[kind].examples))
def test_a_kind_without_examples(assay: Assay, kind: str) -> None:
    ran = assay(*TRY, kind)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"{kind} has no examples, since it cannot do without a configuration")


SCHEMA: dict[str, Any] = {
    "$defs": {
        "Limits": {"type": "object", "properties": {"cpu_s": {"type": "number"}, "wall_s": {"$ref": "#/$defs/Wall"}}},
        "Wall": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "Part": {"type": "object", "properties": {"weight": {"type": "number"}, "verifier": {}}},
    },
    "type": "object",
    "properties": {
        "limits": {"$ref": "#/$defs/Limits"},
        "files": {"type": "object", "additionalProperties": {"type": "string"}},
        "parts": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Part"}},
        "schema": {"anyOf": [{"type": "object", "additionalProperties": True}, {"type": "boolean"}]},
        "language": {"type": "string", "enum": ["python", "c"]},
        "level": {"enum": [1, "two"]},
        "packages": {"type": "array", "items": {"type": "string"}},
        "pattern": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "n": {"type": "integer"},
        "strict": {"type": "boolean"},
        "any": {},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("assignment", "config"),
    [
        ("n=3", {"n": 3}),
        ("strict=true", {"strict": True}),
        ("pattern=true", {"pattern": "true"}),
        ("pattern=null", {"pattern": None}),
        ("pattern=a=b", {"pattern": "a=b"}),
        ("pattern=", {"pattern": ""}),
        ("language=c", {"language": "c"}),
        ("level=1", {"level": 1}),
        ("level=two", {"level": "two"}),
        ("limits.cpu_s=2", {"limits": {"cpu_s": 2}}),
        ("limits.cpu_s=.5", {"limits": {"cpu_s": 0.5}}),
        ("limits.wall_s=null", {"limits": {"wall_s": None}}),
        ('limits={"cpu_s": 1}', {"limits": {"cpu_s": 1}}),
        ("files.data/words.txt=a b", {"files": {"data/words.txt": "a b"}}),
        ("parts.form.weight=0.2", {"parts": {"form": {"weight": 0.2}}}),
        ("parts.form.verifier=text", {"parts": {"form": {"verifier": "text"}}}),
        ("parts.form.verifier.kind=text", {"parts": {"form": {"verifier": {"kind": "text"}}}}),
        ("schema=true", {"schema": True}),
        ("schema.type=object", {"schema": {"type": "object"}}),
        ('schema.required=["a"]', {"schema": {"required": ["a"]}}),
        ("schema.properties.a.type=string", {"schema": {"properties": {"a": {"type": "string"}}}}),
        ('packages=["numpy"]', {"packages": ["numpy"]}),
        ("any=[1]", {"any": [1]}),
        ("any=text", {"any": "text"}),
    ],
)
def test_a_field_is_read_as_its_schema_says(assignment: str, config: dict[str, Any]) -> None:
    assert config_with({}, [assignment], SCHEMA) == config


def test_fields_join_what_there_is() -> None:
    joined = config_with({"limits": {"cpu_s": 1}}, ["limits.wall_s=4", "limits.cpu_s=2"], SCHEMA)
    assert joined == {"limits": {"cpu_s": 2, "wall_s": 4}}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("n", "--set n: write it as FIELD=VALUE"),
        ("n=three", "--set n=three: must be integer"),
        ("n=3.5", "--set n=3.5: must be integer"),
        ("limits.cpu_s=nan", "--set limits.cpu_s=nan: must be number"),
        ("limits.cpu_s=1e999", "--set limits.cpu_s=1e999: must be number"),
        ("strict=yes", "--set strict=yes: must be boolean"),
        ("language=java", "--set language=java: must be python, c"),
        ("packages=numpy", "--set packages=numpy: must be list of strings"),
        ("packages={}", "--set packages={}: must be list of strings"),
        ("limit.cpu_s=1", "--set limit.cpu_s: no field limit; did you mean limits? there are: any, files"),
        (
            "limits.cpus=1",
            "--set limits.cpus: limits has no field cpus; did you mean cpu_s? there are: cpu_s, wall_s",
        ),
        ("n.m=1", "--set n.m: n has no fields; it is integer"),
        ("=1", "--set : no field ; there are: any"),
    ],
)
def test_a_field_that_is_none(assignment: str, message: str) -> None:
    with pytest.raises(CommandError) as raised:
        config_with({}, [assignment], SCHEMA)
    assert str(raised.value).startswith(message)
    assert raised.value.code == MISUSED


def test_a_field_inside_what_is_no_object() -> None:
    with pytest.raises(CommandError, match="limits is no object in the configuration"):
        config_with({"limits": 5}, ["limits.cpu_s=1"], SCHEMA)


TEXT_OR_LIST = {"anyOf": [{"type": "string"}, {"type": "array"}]}


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("42", TEXT_OR_LIST, "42"),
        ("null", TEXT_OR_LIST, "null"),
        ('"a"', TEXT_OR_LIST, '"a"'),
        ('["a"]', TEXT_OR_LIST, ["a"]),
        ("[a", TEXT_OR_LIST, "[a"),
        ('{"a": 1}', TEXT_OR_LIST, '{"a": 1}'),
        ("[1]", {"type": "string"}, "[1]"),
        ("42", {}, 42),
        ("forty", {}, "forty"),
        ('{"a": 1}', {"type": "object"}, {"a": 1}),
        ("1e999", {}, "1e999"),
    ],
)
def test_a_reference_is_read_as_its_schema_says(text: str, schema: dict[str, Any], value: Any) -> None:
    assert reference_from(text, schema) == value


def test_a_reference_that_must_be_json() -> None:
    with pytest.raises(CommandError, match="--reference: this kind takes object, as JSON") as raised:
        reference_from("42 of them", {"type": "object"})
    assert raised.value.code == MISUSED

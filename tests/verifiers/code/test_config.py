from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from sandbox.base import Limits
from tests.verifiers.support import ANY_TEXT, configured
from verifiers.base import ConfigError
from verifiers.code.config import CodeConfig
from verifiers.code.files import MAX_BYTES, MAX_FILES, FileError, encoded
from verifiers.in_sandbox import LimitsConfig


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"language": "cobol"}, "Input should be 'python', 'javascript'"),
        ({"language": "Python"}, "Input should be 'python', 'javascript'"),
        ({"fence": "middle"}, "'last', 'first' or 'whole'"),
        ({"prefix": True}, "'none' or 'prompt'"),
        ({"reward": "some"}, "'all' or 'fraction'"),
        ({"stop_on_failure": 1}, "valid boolean"),
        ({"timeout": 5}, "Extra inputs"),
        ({"limits": {"cpu": 5}}, "Extra inputs"),
        ({"limits": {"cpu_s": 0}}, "greater than or equal to 0.05"),
        ({"limits": {"cpu_s": "5"}}, "valid number"),
        ({"limits": {"cpu_s": 301}}, "less than or equal to 300"),
        ({"limits": {"cpu_s": float("nan")}}, "finite"),
        ({"limits": {"cpu_s": 5, "wall_s": 4.9}}, "wall_s must be at least cpu_s"),
        ({"limits": {"memory_mb": 15}}, "greater than or equal to 16"),
        ({"limits": {"memory_mb": 64.5}}, "valid integer"),
        ({"limits": {"processes": 0}}, "greater than or equal to 1"),
        ({"limits": {"output_kb": 8193}}, "less than or equal to 8192"),
        ({"limits": {"disk_mb": -1}}, "greater than or equal to 1"),
        ({"value_tolerance": float("inf")}, "finite|less than"),
        ({"value_tolerance": float("nan")}, "finite"),
        ({"value_tolerance": -1e-9}, "greater than or equal to 0"),
        ({"float_tolerance": 1.0}, "less than or equal to 0.1"),
        ({"packages": ["numpy", "numpy"]}, "names a package twice"),
        ({"packages": ["../numpy"]}, "match pattern"),
        ({"packages": [""]}, "match pattern"),
        ({"packages": ["a"] * 33}, "at most 32 items"),
        ({"packages": "numpy"}, "valid list"),
        ({"files": {"a": 5}}, "valid string"),
    ],
)
def test_configurations_that_the_schema_refuses(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        configured("code", config)


@pytest.mark.parametrize(
    ("config", "pointer", "message"),
    [
        ({"language": "c", "packages": ["numpy"]}, "/packages", "packages are Python's; the language is c"),
        ({"files": {"": "x"}}, "/files/", "the name of a file is empty"),
        ({"files": {"/etc/passwd": "x"}}, "/files/~1etc~1passwd", "the path of a file is absolute"),
        ({"files": {"../a": "x"}}, "/files/..~1a", "has an empty part, '.' or '..'"),
        ({"files": {"a/../b": "x"}}, "/files/a~1..~1b", "has an empty part, '.' or '..'"),
        ({"files": {"a/..": "x"}}, "/files/a~1..", "has an empty part, '.' or '..'"),
        ({"files": {"./a": "x"}}, "/files/.~1a", "has an empty part, '.' or '..'"),
        ({"files": {"a//b": "x"}}, "/files/a~1~1b", "has an empty part, '.' or '..'"),
        ({"files": {"a/": "x"}}, "/files/a~1", "has an empty part, '.' or '..'"),
        ({"files": {"a\x00b": "x"}}, "/files/a\x00b", "the name of a file holds NUL"),
        ({"files": {"\ud800": "x"}}, "/files/\ud800", "the file or its name holds a lone surrogate"),
        ({"files": {"a": "\ud800"}}, "/files/a", "the file or its name holds a lone surrogate"),
        ({"files": {"a" * 256: "x"}}, "/files/" + "a" * 99 + "…", "the path of a file is longer than 512 bytes"),
        ({"files": {"a/" * 256 + "a": "x"}}, "/files/" + "a~1" * 49 + "a…", "the path of a file is longer than 512"),
        ({"files": {"a": "x", "a/b": "y"}}, "/files/a", "the file is also the folder of another"),
        ({"files": {"a/b/c": "x", "a/b": "y"}}, "/files/a~1b", "the file is also the folder of another"),
        ({"files": {str(i): "" for i in range(MAX_FILES + 1)}}, "/files", "there are 257 files, 256 are allowed"),
        ({"files": {"a": "x" * (MAX_BYTES // 2), "b": "é" * (MAX_BYTES // 2)}}, "/files", "the files have more than"),
    ],
    ids=lambda value: value[:40].encode("ascii", "replace").decode() if isinstance(value, str) else "",
)
def test_configurations_that_cannot_work(config: dict[str, Any], pointer: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        configured("code", config)
    assert raised.value.pointer == pointer
    assert message in str(raised.value)


@given(path=ANY_TEXT)
def test_no_path_leads_out(path: str) -> None:
    try:
        [accepted] = encoded({path: ""})
    except FileError:
        return
    assert accepted == path
    assert not path.startswith("/")
    assert "\x00" not in path
    assert not {"", ".", ".."} & set(path.split("/"))


def test_files_are_text_at_the_place_that_is_named() -> None:
    assert encoded({"a/b.txt": "é\x00", "..a": "", "a/c": "x"}) == {
        "a/b.txt": b"\xc3\xa9\x00",
        "..a": b"",
        "a/c": b"x",
    }


def test_limits_are_the_sandboxs_own_unless_they_are_given() -> None:
    assert LimitsConfig().limits() == Limits()
    given = LimitsConfig(cpu_s=1, memory_mb=64, processes=2, output_kb=3, disk_mb=4).limits()
    assert given == Limits(1.0, 4.0, 64, 2, 3, 4)
    assert LimitsConfig(cpu_s=1, wall_s=1).limits().wall_s == 1.0


@pytest.mark.parametrize(
    ("reward", "given", "stops"),
    [("all", None, True), ("fraction", None, False), ("all", False, False), ("fraction", True, True)],
)
def test_when_a_failure_ends_the_run(reward: Any, given: bool | None, stops: bool) -> None:
    assert CodeConfig(reward=reward, stop_on_failure=given).stops is stops


def test_every_limit_says_what_it_bounds() -> None:
    assert all(field.description for field in LimitsConfig.model_fields.values())

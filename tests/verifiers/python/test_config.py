"""Configurations of the kind `python` that cannot work, each with its message."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from pydantic import ValidationError

from verifiers.base import ConfigError, explain
from verifiers.python import MAX_CODE, Python, PythonConfig

CODE = "def verify(completion): return 1"


@pytest.mark.parametrize(
    ("config", "place", "message"),
    [
        ({}, ("code",), "Field required"),
        ({"code": 5}, ("code",), "Input should be a valid string"),
        ({"code": "x" * (MAX_CODE + 1)}, ("code",), "String should have at most 65536 characters"),
        ({"code": "x = '\ud800'"}, ("code",), "Input should be a valid string, unable to parse"),
        ({"code": CODE, "entry_point": "a b"}, ("entry_point",), "String should match pattern"),
        ({"code": CODE, "entry_point": "a.b"}, ("entry_point",), "String should match pattern"),
        ({"code": CODE, "entry_point": "x()\nimport os"}, ("entry_point",), "String should match pattern"),
        ({"code": CODE, "entry_point": ""}, ("entry_point",), "String should match pattern"),
        (
            {"code": CODE, "limits": {"cpu_s": 0}},
            ("limits", "cpu_s"),
            "Input should be greater than or equal to 0.05",
        ),
        (
            {"code": CODE, "limits": {"cpu_s": 2, "wall_s": 1}},
            ("limits",),
            "Value error, wall_s must be at least cpu_s",
        ),
        ({"code": CODE, "packages": ["a b"]}, ("packages", 0), "String should match pattern"),
        ({"code": CODE, "packages": ["numpy", "numpy"]}, ("packages",), "Value error, names a package twice"),
        ({"code": CODE, "deterministic": True}, ("deterministic",), "Extra inputs are not permitted"),
    ],
)
def test_malformed_configurations(config: Any, place: tuple[str | int, ...], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        PythonConfig.model_validate(config)
    where, said = explain(raised.value, config)
    assert where == place
    assert said.startswith(message)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def verify(completion)\n    return 1", "code is not Python: line 1: expected ':'"),
        ("x = 1\n\n  y = 2", "code is not Python: line 3: unexpected indent"),
        ("x = '\x00'", "code is not Python: source code string cannot contain null bytes"),
        ("-" * 50_000 + "1", "code nests too deeply"),
        ("1" + "+1" * 30_000, "code nests too deeply"),
        ("(" * 50_000, "code is not Python: line 1: too many nested parentheses"),
        ("not " * 15_000 + "1", "code nests too deeply"),
    ],
)
def test_what_is_no_code(code: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Python(PythonConfig(code=code))
    assert (str(raised.value), raised.value.pointer) == (message, "/code")


def test_the_code_is_not_run_to_be_checked() -> None:
    Python(PythonConfig(code="import nothing_of_the_kind\nraise SystemExit\ndef verify(): pass"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Python(PythonConfig(code="def verify(completion): return '\\d' is 1"))


def test_it_describes_itself() -> None:
    assert all(field.description for field in PythonConfig.model_fields.values())
    assert (PythonConfig.inline_scope, PythonConfig.is_part) == ("register", True)

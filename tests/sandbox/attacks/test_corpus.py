"""The corpus is complete and sound as data. Nothing of it is run here."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.sandbox.attacks import (
    ATTACKS,
    BAD_PATHS,
    ESCAPES,
    FETCHES,
    HONEST,
    PAIRS,
    PHRASES,
    PORT,
    REPEATS,
    SECRET_ENV,
    SECRET_FILE,
    filled,
    programs,
)
from verifiers.base import ErrorType, Item, Outcome

PHRASE_LIST = [phrase for phrases in PHRASES.values() for phrase in phrases]
LIMITS = {"cpu_s", "wall_s", "memory_mb", "processes", "output_kb", "disk_mb"}
EMPTY_OF = {"stdio": "cases", "function": "cases", "asserts": "asserts", "script": "code", "pytest": "files"}
NEW_ERRORS = {"unsplittable_test"}
"""Error types that come with kind `code`."""
NOT_COMPILED_HERE = ("compile-bomb-",)
SYNTAX_ERRORS = ("empty-syntax-error", "fences-as-a-program", "no-code-at-all", "helper-")


def items() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Every item with its name and configuration."""
    for attack in ATTACKS:
        yield attack.name, attack.item, attack.config
    for pair in PAIRS:
        yield f"{pair.name}/plant", pair.plant, pair.plant_config
        yield f"{pair.name}/find", pair.find, pair.find_config
    for honest in HONEST:
        yield honest.name, honest.item, honest.config


def test_names_are_unique() -> None:
    names = Counter(name for name, _, _ in items())
    names.update(fetch.name for fetch in FETCHES)
    names.update(repeat.name for repeat in REPEATS)
    assert [name for name, count in names.items() if count > 1] == []


def test_items_are_not_repeated() -> None:
    """An attack that is another one's twin would be counted for two."""
    seen: Counter[str] = Counter(
        json.dumps([attack.item, attack.config], sort_keys=True, default=str) for attack in ATTACKS
    )
    assert [text[:200] for text, count in seen.items() if count > 1] == []


def test_every_phrase_has_at_least_two_programs() -> None:
    found = programs([*ATTACKS, *PAIRS, *FETCHES, *REPEATS])
    assert set(found) == set(PHRASE_LIST)
    assert {phrase: len(texts) for phrase, texts in found.items() if len(texts) < 2} == {}


def test_phrases_about_the_next_run_have_two_pairs_each() -> None:
    pairs = Counter(pair.line for pair in PAIRS)
    assert [phrase for phrase in PHRASES["Reach the next run"] if pairs[phrase] < 2] == []


def test_no_attack_may_pass() -> None:
    outcomes = {outcome.value for outcome in Outcome}
    for attack in ATTACKS:
        assert attack.outcomes, attack.name
        assert attack.outcomes <= outcomes - {"correct", "partial", "scored", "pending"}, attack.name
        assert ("unscored" in attack.outcomes) == bool(attack.errors), attack.name
        assert attack.errors <= NEW_ERRORS | {error.value for error in ErrorType}, attack.name
    for pair in PAIRS:
        assert pair.find_outcomes <= outcomes - {"correct", "partial", "unscored"}, pair.name
        honest = pair.line == "poisoning the result cache"
        assert honest or "correct" not in pair.plant_outcomes, pair.name


def test_items_have_the_form_of_the_request() -> None:
    for name, fields, config in items():
        Item(**fields)
        reference = fields["reference"]
        assert set(config) <= {"language", "limits", "fence", "prefix", "files"}, name
        assert set(config["limits"]) == LIMITS, name
        assert EMPTY_OF[reference["type"]] in reference, name
        json.dumps(fields, allow_nan=False)


def test_only_the_phrase_about_zero_tests_has_none() -> None:
    for attack in ATTACKS:
        tests = attack.item["reference"][EMPTY_OF[attack.item["reference"]["type"]]]
        assert tests or attack.line == "zero tests", attack.name


def test_forgeries_have_several_cases_with_different_answers() -> None:
    for attack in ATTACKS:
        cases = attack.item["reference"].get("cases", [])
        if attack.line in PHRASES["Forge the verdict"] and len(cases) > 1:
            answers = {json.dumps(case.get("stdout", case.get("expected"))) for case in cases}
            assert len(answers) > 1 or answers in ({'""'}, {"null"}), attack.name


def test_limits_of_attacks_are_tight() -> None:
    for attack in ATTACKS:
        limits: Mapping[str, float] = attack.config["limits"]
        assert limits["cpu_s"] <= 3, attack.name
        assert limits["wall_s"] <= 9, attack.name
        assert limits["memory_mb"] <= 256, attack.name


def test_honest_items_are_many_and_of_every_kind() -> None:
    assert len(HONEST) >= 25
    assert {honest.item["reference"]["type"] for honest in HONEST} >= {"stdio", "function", "asserts", "script"}
    assert {honest.config["language"] for honest in HONEST} >= {"python", "javascript", "c", "cpp", "bash"}


@pytest.mark.parametrize("secret", [SECRET_ENV[1], SECRET_FILE.strip().strip('"')])
def test_no_program_knows_a_secret(secret: str) -> None:
    """Or it would find itself."""
    for name, fields, _ in items():
        assert secret not in json.dumps(fields), name


def test_the_port_is_put_in() -> None:
    with_port = [attack for attack in ESCAPES if PORT in attack.item["completion"]]
    assert len(with_port) >= 5
    assert {attack.line for attack in with_port} == {"loopback to our own API"}
    for attack in with_port:
        completion = filled(attack.item, 4711)["completion"]
        assert PORT not in completion
        assert "4711" in completion


def test_python_programs_compile() -> None:
    """A program that does not even compile would be contained by its typing errors."""
    for name, fields, config in items():
        if config["language"] != "python" or name.startswith(NOT_COMPILED_HERE + SYNTAX_ERRORS):
            continue
        for block in fields["completion"].split("```python\n")[1:]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compile(block.rpartition("```")[0], name, "exec")


def test_fetches_say_what_must_hold() -> None:
    for fetch in FETCHES:
        assert fetch.assertion, fetch.name
        assert fetch.fetch or fetch.files, fetch.name
        assert set(fetch.absent) <= set(fetch.fetch), fetch.name
        assert fetch.never, fetch.name
        compile(fetch.code, fetch.name, "exec")
    for repeat in REPEATS:
        compile(repeat.code, repeat.name, "exec")
    assert len(set(BAD_PATHS)) == len(BAD_PATHS) >= 10

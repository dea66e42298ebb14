"""Declarations of languages are complete, and their commands are filled in."""

from __future__ import annotations

import pytest

from sandbox.languages import LANGUAGES, Language, filled, source_name


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_a_declaration_is_complete(language: Language) -> None:
    assert LANGUAGES[language.name] is language
    assert language.version
    assert bool(language.run) == (language.name != "python")
    assert "/" not in language.source
    for command in (language.run, language.compile, language.calls):
        assert not any("{memory_mb}" in part or "{name}" in part for part in filled(command, 64, language.source)[:8])
    if language.compile:
        assert any(language.source in part for part in filled(language.compile, 64, language.source))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (b"public class Foo { }", "Foo.java"),
        (b"import x;\npublic final class Foo_1 extends Bar {", "Foo_1.java"),
        (b"class Helper {} public\nabstract\tclass A {}", "A.java"),
        (b"class Main {}", "Main.java"),
        (b"", "Main.java"),
        (b"// public classy\n", "Main.java"),
        (b"public class " + b"A" * 300, "A" * 100 + ".java"),
        (b"public class ../../etc/x {}", "Main.java"),
    ],
)
def test_java_is_named_by_its_public_class(source: bytes, name: str) -> None:
    assert source_name(LANGUAGES["java"], source) == name


def test_other_languages_are_named_by_their_declaration() -> None:
    for name, language in LANGUAGES.items():
        if name != "java":
            assert source_name(language, b"public class Foo {}") == language.source


def test_placeholders_are_filled_wherever_they_are() -> None:
    assert filled(("a{memory_mb}b{memory_mb}", "{name}.class", "{other}"), 9, "Foo.bar.java") == [
        "a9b9", "Foo.bar.class", "{other}",
    ]  # fmt: skip
    assert filled((), 1, "x") == []

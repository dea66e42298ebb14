"""The language of an answer: told offline, always the same, and a reasoned no where it cannot be told."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.guarded.pool import GuardedPool
from tests.verifiers.instructions.declaration import ARTICLES
from tests.verifiers.support import ANY_TEXT, NoGuard, configured, score, score_all
from verifiers.base import Item, Verdict
from verifiers.instructions.language_model import most_likely
from verifiers.instructions.languages import CODES, TWINS, not_in
from verifiers.instructions.reading import Reading

GERMAN = "Der Fluss fließt durch das breite Tal bis zum Meer."
LONG_GERMAN = " ".join([*ARTICLES["de"], GERMAN])
ENGLISH = "The river runs through the wide valley and down to the sea."


async def answer_in(language: str, completion: str, prompt: str | None = None) -> Verdict:
    reference = {"instruction_id_list": ["language:response_language"], "kwargs": [{"language": language}]}
    return await score("instructions", completion=completion, prompt=prompt, reference=reference)


@pytest.mark.parametrize("language", sorted(ARTICLES))
async def test_the_languages_of_ifeval(language: str) -> None:
    for text in ("\n".join(ARTICLES[language]), ARTICLES[language][0], ARTICLES[language][0].upper()):
        assert not_in(Reading(text), language) == ""
        others = [code for code in ARTICLES if code != language]
        assert all(not_in(Reading(text), code) for code in others)


@pytest.mark.parametrize(
    ("language", "text", "reason"),
    [
        ("de", GERMAN, ""),
        ("de", GERMAN.upper(), ""),
        ("de", ENGLISH, "the language seems to be en"),
        ("fr", "Oui.", "too little text to be sure that the language is fr"),
        ("fr", "Ok, ok", "the language cannot be told"),
        ("en", "42 + 1 = 43, A1", "the language cannot be told"),
        ("en", "https://example.org/the/river/runs `the river runs`", "no text whose language could be told"),
        ("en", "```\nthe river runs down to the sea\n```", "no text whose language could be told"),
        ("de", f"```\n{ENGLISH}\n{ENGLISH}\n```\n{GERMAN}", ""),
        ("de", f"{LONG_GERMAN}\n\n{ENGLISH} {ENGLISH} {ENGLISH}", "a paragraph is in another language: en"),
        ("de", f"{GERMAN} {GERMAN} {GERMAN}\n\nThank you", ""),
        ("id", "Semua orang dilahirkan merdeka dan mempunyai martabat dan hak-hak yang sama.", ""),
        ("ms", "Semua orang dilahirkan merdeka dan mempunyai martabat dan hak-hak yang sama.", ""),
    ],
)
async def test_what_counts(language: str, text: str, reason: str) -> None:
    verdict = await answer_in(language, text)
    assert verdict.detail.get("broken", {}) == ({"0:language:response_language": reason} if reason else {})


async def test_what_is_repeated_from_the_prompt_does_not_count() -> None:
    prompt = f"{ENGLISH} {ENGLISH}"
    answer = f"{prompt}\n\n{GERMAN} {GERMAN} {GERMAN}"
    assert (await answer_in("de", answer, prompt)).score == 1.0
    assert (await answer_in("de", answer)).score == 0.0
    assert (await answer_in("en", prompt, prompt)).score == 1.0  # but where it is all there is, it does


@settings(max_examples=100, deadline=None)
@given(ANY_TEXT)
def test_the_same_text_is_always_in_the_same_language(text: str) -> None:
    code, share = most_likely(text)
    assert (code, share) == most_likely(text)
    assert code in CODES
    assert 0 <= share <= 1.001


@given(st.text(st.characters(categories=["Ll"]), min_size=1))
def test_a_text_passes_for_its_most_likely_language_where_that_is_more_likely_than_not(text: str) -> None:
    code, share = most_likely(text.lower())
    assert bool(not_in(Reading(text), code)) == (share < 0.5)


def test_twins_are_asked_for_by_either_name() -> None:
    assert {TWINS.get(code, code) for code in CODES} <= set(CODES)


@pytest.mark.parametrize(
    "name", ["language:response_language", "change_case:english_capital", "change_case:english_lowercase"]
)
async def test_languages_are_told_in_guarded_workers_only(name: str) -> None:
    kwargs = {"language": "en"} if name == "language:response_language" else {}
    item = Item(completion=ENGLISH, reference={"instruction_id_list": [name], "kwargs": [kwargs]})
    with pytest.raises(AssertionError, match=r"verifiers\.direct:judge"):
        await score_all(configured("instructions"), [item], NoGuard())


async def test_a_guarded_worker_tells_languages() -> None:
    verifier = configured("instructions")
    pool = GuardedPool(1, verifier.guarded)
    await pool.start()
    try:
        reference = {"instruction_id_list": ["language:response_language"], "kwargs": [{"language": "de"}]}
        items = [Item(completion=text, reference=reference) for text in (GERMAN, ENGLISH)]
        assert [verdict.score for verdict in await score_all(verifier, items, pool)] == [1.0, 0.0]
    finally:
        await pool.close()


def test_the_service_does_not_load_the_model() -> None:
    script = (
        "import sys; from verifiers.base import load_kinds; guarded = load_kinds()['instructions'].guarded;"
        "assert 'verifiers.instructions.language_model' in guarded;"
        "print('verifiers.instructions.language_model' in sys.modules, 'py3langid' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]

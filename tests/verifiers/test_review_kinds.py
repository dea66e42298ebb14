"""A review of finished kinds: what passed without following, what failed although it followed, what took too long."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.verifiers.composite.test_kind import BROKEN, ITEM, Fixed, made_of, scored
from tests.verifiers.support import configured, score
from verifiers.base import Item, Outcome, Pending, Verdict

ZERO_WIDTH = "\u200b"
FILLER = "\u3164"
"""A letter by its Unicode category that nobody sees."""
FORBIDDEN = {"forbidden_words": ["war"]}
LESS = {"keyword": "war", "frequency": 1, "relation": "less than"}
COPIED = {"prompt_to_repeat": "Explain <!-- this --> tag."}
OPTIONS = {"options": ["agree", "strongly agree"]}

NOT_FOLLOWED: list[tuple[str, dict[str, Any], str]] = [
    ("keywords:forbidden_words", FORBIDDEN, f"The w{ZERO_WIDTH}ar was long."),
    ("keywords:forbidden_words", FORBIDDEN, "The w\u00adar was long."),
    ("keywords:forbidden_words", FORBIDDEN, "The w\u0430r was long."),
    ("keywords:forbidden_words", FORBIDDEN, "ｗａｒ"),
    ("keywords:forbidden_words", FORBIDDEN, "The w**a**r was long."),
    ("keywords:forbidden_words", FORBIDDEN, "The w<b>a</b>r was long."),
    ("keywords:forbidden_words", FORBIDDEN, "The w&#97;r was long."),
    ("keywords:forbidden_words", FORBIDDEN, "The w<!-- -->ar was long."),
    ("keywords:forbidden_words", FORBIDDEN, "Россия, w\u0430r, мир"),
    ("keywords:exclude_word_harder", {"keyword": "war"}, "The w\u0430r was long."),
    ("keywords:frequency", LESS, "The 𝐰𝐚𝐫 was long."),
    ("keywords:letter_frequency", {"letter": "e", "let_frequency": 2, "let_relation": "less than"}, "The \u0435nd"),
    ("keywords:existence", {"keywords": ["war"]}, "Text. <!-- war -->"),
    ("keywords:existence", {"keywords": ["war"]}, "```\ncode\n```\nText. <!-- war -->"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, f"a {FILLER} {FILLER}"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "a <!-- b\nc --> b"),
    ("length_constraints:character_range", {"min": 5}, "a" + ZERO_WIDTH * 10 + "b"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 3}, "One.\n***\n.\n***\n-"),
    ("paragraphs:paragraphs2", {}, "One.\n\n-"),
    ("length_constraints:paragraph_range", {"min": 2}, f"One.\n\n{ZERO_WIDTH}"),
    ("count:count_unique", {}, f"word w{ZERO_WIDTH}ord"),
    ("copy:no_copy", {"prompt_to_repeat": "one two three", "n": 3}, f"one t{ZERO_WIDTH}wo three"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "Text\n- .\n- ;"),
    ("detectable_format:numbered_list", {"min": 2}, "Text\n1. .\n2. ."),
    ("detectable_format:headings", {"min": 1}, "Text\n# ."),
    ("detectable_format:code_block", {}, "Text\n```\n.\n```"),
    ("detectable_format:square_brackets", {}, "[Hello,my,old,friend]"),
    ("detectable_format:title", {}, "Text <!-- <<Title>> -->"),
    ("detectable_format:constrained_response", {}, "My answer is yes. On reflection, my answer is no."),
    ("detectable_format:constrained_response", {}, "MY ANSWER IS YES."),
    ("detectable_format:choice", OPTIONS, "I agree. I strongly agree."),
    ("startend:quotation", {}, '"Hi," he said, "bye"'),
    ("startend:quotation", {}, "“Hi,” he said, “bye”"),
    ("punctuation:no_comma", {}, "One‚ two"),
    ("punctuation:no_comma", {}, "One՝ two"),
    ("punctuation:punctuation_dot", {}, "One․ Two"),
    ("punctuation:punctuation_exclamation", {}, "One❗ Two"),
    (
        "language:response_language",
        {"language": "de"},
        "Hier ist die Antwort auf deine Frage: <The river flows through the valley and on to the sea, and nobody "
        "follows it there any more since it is so far to go>",
    ),
]
FOLLOWED: list[tuple[str, dict[str, Any], str]] = [
    ("keywords:forbidden_words", {"forbidden_words": ["cop"]}, "Русский сор из избы."),
    ("keywords:forbidden_words", {"forbidden_words": ["and"]}, "Tom & Jerry &amp; others"),
    ("keywords:existence", {"keywords": ["naïve", "❤️", "an"]}, "A nai\u0308ve p\u2060lan ❤, an old one"),
    ("keywords:existence", {"keywords": ["می\u200cخواهم"]}, "من می\u200cخواهم بروم"),
    ("detectable_format:choice", OPTIONS, "I strongly agree."),
    ("detectable_format:choice", OPTIONS, "I agree."),
    ("paragraphs:paragraphs2", {}, "One.\n\n---\n\nTwo."),
    ("paragraphs:paragraphs2", {}, "One.\u2028\u2028Two."),
    ("combination:repeat_prompt", COPIED, "Explain <!-- this --> tag.\n\nIt is a comment."),
    ("copy:copy", COPIED, "Explain <!-- this --> tag."),
    ("detectable_format:code_block", {"language": "html"}, "```html\n<!-- a comment -->\n```"),
    ("detectable_format:code_block", {"language": "html"}, "Text <!-- open\n```html\nx\n```"),
    ("keywords:existence", {"keywords": ["opens", "closes"]}, "`<!--` opens and `-->` closes a comment."),
    ("startend:quotation", {}, '"I asked her, "Are you well?" and she said, "Yes." Then we left."'),
    ("startend:quotation", {}, '"He read ("War and Peace") and **"Emma"** twice"'),
    ("startend:quotation", {}, '"First paragraph.\n\n"Second paragraph."'),
    ("punctuation:no_comma", {}, "Er sagte: ‚Nein‘."),
    (
        "language:response_language",
        {"language": "de"},
        'Der Fluss fließt durch das Tal.<br/> <a href="x" title="the old river">Mehr</a> bis zum Meer.',
    ),
]


async def followed(name: str, kwargs: dict[str, Any], text: str) -> float | None:
    verdict = await score(
        "instructions", completion=text, reference={"instruction_id_list": [name], "kwargs": [kwargs]}
    )
    return verdict.score


@pytest.mark.parametrize(("name", "kwargs", "text"), NOT_FOLLOWED)
async def test_tricks_do_not_follow_an_instruction(name: str, kwargs: dict[str, Any], text: str) -> None:
    assert await followed(name, kwargs, text) == 0


@pytest.mark.parametrize(("name", "kwargs", "text"), FOLLOWED)
async def test_honest_answers_follow_it(name: str, kwargs: dict[str, Any], text: str) -> None:
    assert await followed(name, kwargs, text) == 1


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("keywords:existence", {"keywords": [ZERO_WIDTH]}),
        ("keywords:letter_frequency", {"letter": ZERO_WIDTH, "let_frequency": 1, "let_relation": "at least"}),
        ("combination:repeat_prompt", {"prompt_to_repeat": "<!-- nothing -->"}),
    ],
)
async def test_what_nobody_could_see_cannot_be_asked_for(name: str, kwargs: dict[str, Any]) -> None:
    assert await followed(name, kwargs, "Some text.") is None


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("language:response_language", {"language": "en"}),
        ("copy:no_copy", {"prompt_to_repeat": "a" + "\u0301\u0323" * 49_000, "n": 2}),
    ],
)
async def test_a_caller_s_long_run_of_marks_costs_the_candidate_nothing(name: str, kwargs: dict[str, Any]) -> None:
    reference = {"instruction_id_list": [name], "kwargs": [kwargs]}
    completion = "The river runs through the wide valley and down to the sea."
    item = Item(prompt="a" + "\u0301\u0323" * 100_000, completion=completion, reference=reference)
    verifier: Any = configured("instructions")
    verifier.verify_one(item.model_copy(update={"prompt": None}))  # loads the language model
    start = time.thread_time()
    assert verifier.verify_one(item).score == 1
    assert time.thread_time() - start < 3  # of a worker's 4 seconds; sorting the marks took more than 20


async def test_an_invisible_section_is_empty() -> None:
    for inside in (ZERO_WIDTH, FILLER, "\u2800", "\x00", " \u00ad\n"):
        verdict = await score("format", completion=f"<think>a</think><answer>{inside}</answer>")
        assert (verdict.score, verdict.detail["broken"]) == (0, ["answer:non_empty"])


async def test_invisible_characters_do_not_hide_a_repetition() -> None:
    for text in ("go go go", f"go g{ZERO_WIDTH}o go{ZERO_WIDTH * 2}", "go g\u00ado g\u2060o"):
        assert (await score("repetition", {"n": 1}, completion=text)).score == pytest.approx(-2 / 3)


@pytest.mark.parametrize(
    ("completion", "reference", "value"),
    [("cafe\u0301", "cafe", 0), ("की बात", "क", 0), ("का की", "की", 1), ("a cafe.", "cafe", 1), ("cafe", "cafe", 1)],
)
async def test_an_accent_continues_a_word(completion: str, reference: str, value: float) -> None:
    config = {"mode": "contains", "whole_words": True}
    assert (await score("text", config, completion=completion, reference=reference)).score == value


async def test_a_reference_that_no_completion_can_match_is_at_fault() -> None:
    for reference in ("Paris", ["New York", "Paris"]):
        verdict = await score("text", {"mode": "rouge_2"}, completion="Paris", reference=reference)
        assert verdict.error is not None
        assert verdict.error.message == (
            "reference: rouge_2 compares 2 words at a time: an allowed text must have as many"
        )


def parts(*names: str, **more: Any) -> dict[str, Any]:
    return {"parts": {name: {"verifier": f"{name}@1", **more} for name in names}}


@pytest.mark.parametrize(
    ("config", "a", "b"),
    [
        (parts("a", "b", weight=1e6), 1e308, 1e308),
        (parts("a", "b"), 1.5e308, 1.5e308),
        (
            {"parts": {"a": {"verifier": "a@1", "weight": 1e6}, "b": {"verifier": "b@1", "weight": -1e6}}},
            1e308,
            1e308,
        ),
        ({**parts("a", "b"), "formula": "clip(a * 10 - b * 10, 0, 1)"}, 1e308, 1e308),
        ({**parts("a", "b"), "formula": "max(0, a * 10 - b * 10)"}, 1e308, 1e308),
        ({**parts("a", "b"), "formula": "min(1, a / b)"}, 1e308, 1e-10),
        ({**parts("a", "b"), "formula": "clip(a + b, 0, 1)"}, 1.5e308, 1.5e308),
        ({**parts("a", "b"), "formula": "1 / (a * b)"}, 1e308, 1e308),
    ],
)
async def test_a_composite_without_a_value_is_unscored(config: dict[str, Any], a: float, b: float) -> None:
    [verdict], _ = await made_of(config, [ITEM], a=scored(a), b=scored(b))
    assert verdict.score is None
    assert verdict.error is not None
    assert f"has no value at a = {a:g}, b = {b:g}" in verdict.error.message


async def test_a_composite_never_scores_minus_zero() -> None:
    for config in ({**parts("a"), "formula": "-a"}, parts("a", weight=-1), {**parts("a", gate=1), "closed": -0.0}):
        [verdict], _ = await made_of(config, [ITEM], a=scored(0.0))
        assert str(verdict.score) == "0.0"


@pytest.mark.parametrize(("fallback", "gate", "value"), [(0.5, 0.7, 0.0), (0.5, 0.5, 1.5), (None, 0.5, None)])
async def test_a_gate_that_cannot_be_scored(fallback: float | None, gate: float, value: float | None) -> None:
    config = {"parts": {"a": {"verifier": "a@1", "gate": gate, "fallback": fallback}, "b": {"verifier": "b@1"}}}
    [verdict], asked = await made_of(config, [ITEM], a=Fixed(BROKEN), b=scored(1.0))
    assert verdict.score == value
    assert ("b@1" in [name for name, _ in asked]) == (value == 1.5)


async def test_a_part_whose_outcome_is_not_known_is_no_incorrect_one() -> None:
    waiting = Fixed(Verdict(Outcome.PENDING, None, {"stage": "waiting"}, pending=Pending(5, None)))
    [verdict], _ = await made_of(parts("a", fallback=0.5), [ITEM], a=waiting)
    assert (verdict.score, verdict.outcome) == (0.5, "scored")


COSTLY: list[tuple[str, dict[str, Any], Any, str]] = [
    ("text", {"mode": "contains", "whole_words": True}, "a", "a"),
    ("text", {"mode": "rouge_l"}, [f"ab cd{i}" for i in range(1000)], "ab cd "),
    ("format", {"sections": [{"name": "a", "min": 0, "max": None}]}, None, "<a>b</a>"),
    ("repetition", {"n": 1, "unit": "characters", "ignore_case": True}, None, "ﬃ "),
    ("json_schema", {"schema": True, "from": "last_object"}, None, "{" * 60 + "}" * 60),
    ("json_schema", {"schema": True, "from": "fenced"}, None, "```\n"),
    *(
        ("instructions", {}, {"instruction_id_list": [name], "kwargs": [kwargs]}, text)
        for name, kwargs, text in (
            ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "a. "),
            ("repetition:no_repeated_sentences", {}, "- a\n"),
            ("repetition:ngrams", {"n": 50}, "漢"),
            ("detectable_content:postscript", {"postscript_marker": "P.S."}, "\n"),
            ("keywords:existence", {"keywords": ["a"]}, "a-"),
            ("keywords:forbidden_words", {"forbidden_words": ["b"]}, "&am\u0430*a"),
            ("detectable_format:title", {}, "<!--"),
            ("startend:quotation", {}, '"a '),
        )
    ),
]


@pytest.mark.parametrize(("kind", "config", "reference", "unit"), COSTLY)
async def test_what_holds_the_event_loop_goes_to_a_worker(
    kind: str, config: dict[str, Any], reference: Any, unit: str
) -> None:
    """The longest text of its kind that is judged on the event loop takes some 5 ms of CPU on a slow core."""
    verifier: Any = configured(kind, config)
    low, high = 0, 1_000_000

    def item(size: int) -> Item:
        return Item(completion="a" + (unit * (size // len(unit) + 1))[:size], reference=reference)

    if verifier.costly(item(low)):
        return  # always in a worker
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if verifier.costly(item(middle)) else (middle, high)
    longest = item(low)
    verifier.verify_one(longest)
    times = []
    for _ in range(5):
        start = time.thread_time()
        verifier.verify_one(longest)
        times.append(time.thread_time() - start)
    assert min(times) < 0.02

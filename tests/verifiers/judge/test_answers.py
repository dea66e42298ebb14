"""Answers of judges in every form, and everything that is wrong with them."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.judge.scripted import Script, Scripted, answer, code, fails, judge, judged, marks, prompt, says
from tests.verifiers.support import ANY_TEXT, assert_sound
from verifiers.base import ErrorType, Verdict
from verifiers.chat import Abilities, ChatAnswer, ChatRequest, Token
from verifiers.judge.answers import YES_NO, AnswerError, Asked, Form, Scale
from verifiers.lent import BackendError

POINT = judge()
MARK = judge(output="marker")


def token(**probabilities: float) -> Token:
    tops = tuple((text.replace("_", " "), math.log(p)) for text, p in probabilities.items())
    return Token(tops[0][0], tops[0][1], tops)


async def one(script: Script, *, json_schema: bool = True, **config: object) -> Verdict:
    [verdict] = await judged(judge(**config), Scripted(script, json_schema=json_schema), reference="Paris")
    assert_sound(verdict)
    return verdict


def failed(verdict: Verdict) -> tuple[str, str]:
    assert verdict.error is not None
    assert verdict.score is None
    assert verdict.transient
    return verdict.error.type, verdict.error.message


@pytest.mark.parametrize(
    ("script", "type", "message"),
    [
        (
            answer("", refusal="I cannot judge this."),
            ErrorType.JUDGE_REFUSED,
            "the judge refused: I cannot judge this.",
        ),
        (answer(""), ErrorType.JUDGE_EMPTY, "the judge's answer is empty"),
        (answer(" \n"), ErrorType.JUDGE_EMPTY, "the judge's answer is empty"),
        (answer("", "tool_calls"), ErrorType.JUDGE_EMPTY, "the judge's answer is empty"),
        (answer("```js", "length"), ErrorType.JUDGE_CUT_OFF, "the judge's answer was cut off; raise max_tokens"),
        (
            answer('{"verdict": 7}', "length"),
            ErrorType.JUDGE_CUT_OFF,
            "the judge's answer was cut off; raise max_tokens",
        ),
        (
            answer('{"verdict": 7}', "content_filter"),
            ErrorType.CONTENT_FILTERED,
            "a content filter stopped the judge's answer",
        ),
        (
            says(verdict=11),
            ErrorType.JUDGE_OFF_SCALE,
            "the judge said '11'; on offer is a whole number from 1 to 10",
        ),
        (says(verdict=0), ErrorType.JUDGE_OFF_SCALE, "the judge said '0'; on offer is a whole number from 1 to 10"),
        (
            says(verdict=7.5),
            ErrorType.JUDGE_OFF_SCALE,
            "the judge said '7.5'; on offer is a whole number from 1 to 10",
        ),
        (
            says(verdict=True),
            ErrorType.JUDGE_UNREADABLE,
            "the judge's verdict is none; on offer is a whole number from 1 to 10",
        ),
        (
            says(verdict=None),
            ErrorType.JUDGE_UNREADABLE,
            "the judge's verdict is none; on offer is a whole number from 1 to 10",
        ),
        (says(score=7), ErrorType.JUDGE_UNREADABLE, "the judge's answer has no member 'verdict'"),
        (answer("[7]"), ErrorType.JUDGE_UNREADABLE, "the judge's answer is JSON, but no object"),
        (
            answer('{"verdict": 1, "verdict": 7}'),
            ErrorType.JUDGE_UNREADABLE,
            "the judge's answer is not JSON: an object has the same name twice",
        ),
        (
            answer('{"verdict": 7'),
            ErrorType.JUDGE_UNREADABLE,
            "the judge's answer is not JSON: Expecting ',' delimiter at line 1, column 14",
        ),
        (
            answer('{"verdict": NaN}'),
            ErrorType.JUDGE_UNREADABLE,
            "the judge's answer is not JSON: NaN is not JSON",
        ),
        (
            answer('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"),
            ErrorType.JUDGE_UNREADABLE,
            "the judge's answer is not JSON: nested deeper than 64 levels",
        ),
        (
            answer('{"verdict": "' + "x" * 10_000_000 + '"}'),
            ErrorType.JUDGE_UNREADABLE,
            "the judge's answer has 10,000,015 characters, 262,144 are read",
        ),
        (
            fails(ErrorType.CONTEXT_OVERFLOW, retryable=False),
            ErrorType.CONTEXT_OVERFLOW,
            "as the test wants it",
        ),
        (fails(), ErrorType.BACKEND_UNAVAILABLE, "as the test wants it"),
    ],
)
async def test_every_fault_has_its_own_error(script: Script, type: ErrorType, message: str) -> None:
    assert failed(await one(script)) == (type, message)


@pytest.mark.parametrize(
    ("text", "type"),
    [
        ("It is quite good.", ErrorType.JUDGE_UNREADABLE),
        ("VERDICT: 7", ErrorType.JUDGE_UNREADABLE),
        ("VERDICT-00000000: 7", ErrorType.JUDGE_UNREADABLE),
        ("[[7]]", ErrorType.JUDGE_UNREADABLE),
    ],
)
async def test_a_marker_takes_the_items_code(text: str, type: ErrorType) -> None:
    found, _ = failed(await one(answer(text), output="marker"))
    assert found == type


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("7", 7.0),
        ("**7**", 7.0),
        (" 7/10", 7.0),
        ("7.", 7.0),
        ("[[7]]", 7.0),
        ("<7>", 7.0),
        ("7.0", 7.0),
        ("7/9", None),
        ("11", None),
        ("seven", None),
        ("7 or 8", None),
        ("-7", None),
        ("<a whole number from 1 to 10>", None),
        ("1e1", None),
    ],
)
async def test_what_a_marker_may_say(said: str, score: float | None) -> None:
    verdict = await one(marks(said), output="marker", normalise=False)
    assert verdict.score == score
    assert (verdict.error is None) == (score is not None)


async def test_the_last_offered_verdict_wins() -> None:
    def undecided(request: ChatRequest) -> str:
        mark = f"VERDICT-{code(request)}"
        return f"{mark}: 2\nNo, wait.\n**{mark.lower()}:** 9\nI was asked for\n{mark}: <a whole number from 1 to 10>"

    verdict = await one(undecided, output="marker", normalise=False)
    assert verdict.score == 9


async def test_several_markers_are_told_apart() -> None:
    def both(request: ChatRequest) -> str:
        return "\n".join(f"VERDICT-{code(request)}-c{n}: {'yes' if n in (1, 10) else 'no'}" for n in range(1, 12))

    verdict = await one(both, mode="principles", principles=["x"] * 11, calls="all", output="marker")
    assert verdict.components == {f"c{n}": float(n in (1, 10)) for n in range(1, 12)}


async def test_thinking_that_a_server_leaves_in_an_answer_does_not_count() -> None:
    for text in ("<think>{no} 1</think>\n\n", ""):
        verdict = await one(answer(text + '{"verdict": 10}'))
        assert verdict.score == 1.0
    verdict = await one(answer('```json\n{"verdict": 10}\n```'))
    assert verdict.score == 1.0


@pytest.mark.parametrize("output", ["marker", "schema"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<think>{10} would be too much", ErrorType.JUDGE_CUT_OFF),
        ("Perhaps {10}</think>", ErrorType.JUDGE_EMPTY),
        ("<think>Perhaps {10}</think>\n", ErrorType.JUDGE_EMPTY),
        ("Perhaps {1}\n</think>\n{10}", 1.0),
        ("<think>{10}</think> I am not sure.", ErrorType.JUDGE_UNREADABLE),
    ],
)
async def test_only_what_follows_the_thinking_counts(output: str, text: str, said: float | ErrorType) -> None:
    """A chat template may open the thinking in the prompt; then the answer holds the end of it alone."""

    def thinks(request: ChatRequest) -> str:
        found = text
        for value in (1, 10):
            verdict = f'{{"verdict": {value}}}' if output == "schema" else f"VERDICT-{code(request)}: {value}"
            found = found.replace(f"{{{value}}}", verdict)
        return found

    verdict = await one(thinks, output=output)
    assert (verdict.error.type if verdict.error else verdict.score) == said


async def test_reasons_may_quote_a_tag() -> None:
    verdict = await one(says(reasoning="It has </think> in it.", verdict=10))
    assert verdict.score == 1.0


async def test_a_fence_that_an_answer_quotes_is_no_verdict() -> None:
    """A judge whose server binds it to no schema may repeat the completion's own fence behind its own."""
    text = '```json\n{"verdict": 2}\n```\nThe response said:\n```json\n{"verdict": 10}\n```'
    assert failed(await one(answer(text), output="schema"))[0] == ErrorType.JUDGE_UNREADABLE
    verdict = await one(answer('```json\n{"reasoning": "has ``` in it", "verdict": 10}\n```'), output="schema")
    assert verdict.score == 1.0


async def test_auto_is_a_schema_where_there_is_one() -> None:
    backends = Scripted(says(verdict=7))
    await judged(POINT, backends)
    [(_, request)] = backends.requests
    assert request.json_schema == {
        "type": "object",
        "properties": {"reasoning": {"type": "string"}, "verdict": {"type": "integer", "enum": list(range(1, 11))}},
        "required": ["reasoning", "verdict"],
        "additionalProperties": False,
    }
    assert (request.max_tokens, request.temperature, request.top_p, request.seed) == (1024, 0.0, 1.0, 0)
    backends = Scripted(marks("7"), json_schema=False)
    [verdict] = await judged(POINT, backends)
    assert backends.requests[0][1].json_schema is None
    assert verdict.score == pytest.approx(6 / 9)


async def test_scales() -> None:
    wide = judge(scale={"min": 0, "max": 100})
    backends = Scripted(says(verdict=25))
    [verdict] = await judged(wide, backends)
    assert verdict.score == 0.25
    schema = backends.requests[0][1].json_schema
    assert schema is not None
    assert schema["properties"]["verdict"] == {"type": "integer", "minimum": 0, "maximum": 100}
    real = judge(scale={"min": -1, "max": 1, "integer": False}, normalise=False)
    [verdict] = await judged(real, Scripted(says(verdict=-0.25)))
    assert verdict.score == -0.25


@pytest.mark.parametrize(
    ("tokens", "score"),
    [
        ((token(Yes=0.75, No=0.25),), 0.75),
        ((token(Yes=0.3, _yes=0.2, YES=0.1, No=0.1, _no=0.1, Maybe=0.2),), 0.75),
        ((Token("\n\n", -0.1, (("\n\n", -0.1),)), token(_No=0.9, _Yes=0.1)), 0.1),
        ((token(**{"▁yes": 1.0}),), 1.0),
    ],
)
async def test_probabilities_of_yes_and_no(tokens: tuple[Token, ...], score: float) -> None:
    script = answer("Yes", "length", tokens=tokens)
    verdict = await one(script, mode="equivalence", output="logprobs", vote="mean")
    assert verdict.score == pytest.approx(score)
    assert verdict.outcome == "scored"
    decided = await one(script, mode="equivalence", output="logprobs")
    assert (decided.score, decided.outcome) == ((1.0, "correct") if score > 0.5 else (0.0, "incorrect"))


async def test_probabilities_on_a_scale_and_of_a_pair() -> None:
    digits = answer("4", "length", tokens=(token(**{"4": 0.5, "5": 0.25, "_1": 0.25}),))
    verdict = await one(digits, output="logprobs", scale={"min": 1, "max": 5}, normalise=False)
    assert verdict.score == pytest.approx(3.5)
    letters = answer("A", "length", tokens=(token(A=0.8, B=0.1, C=0.1),))
    verdict = await one(letters, mode="pairwise", swap=False, output="logprobs", vote="mean")
    assert verdict.score == pytest.approx(0.85)
    verdict = await one(letters, mode="pairwise", output="logprobs", vote="mean")
    assert verdict.score == 0.5  # A in both orders


@pytest.mark.parametrize(
    ("script", "type", "message"),
    [
        (
            answer("The", "length", tokens=(token(The=0.6, Yes=0.2, No=0.1),)),
            ErrorType.JUDGE_UNREADABLE,
            "only 0.30 of the probability of the judge's first token is on yes or no",
        ),
        (
            answer("Yes", "length"),
            ErrorType.JUDGE_UNREADABLE,
            "the judge's answer has no probabilities of its first token",
        ),
        (answer("", "stop"), ErrorType.JUDGE_EMPTY, "the judge's answer is empty"),
    ],
)
async def test_probabilities_that_tell_nothing(script: Script, type: ErrorType, message: str) -> None:
    assert failed(await one(script, mode="equivalence", output="logprobs")) == (type, message)


async def test_asking_again_is_worth_it_only_where_the_answer_may_change() -> None:
    for config, retryable in (
        ({}, False),
        ({"temperature": 1}, False),
        ({"temperature": 1, "seed": None}, True),
        ({"seed": None}, False),
    ):
        verdict = await one(answer(""), **config)
        assert verdict.error is not None
        assert verdict.error.retryable == retryable
    filtered = await one(answer("", "content_filter"), temperature=1, seed=None)
    assert filtered.error is not None
    assert not filtered.error.retryable


async def test_a_users_own_marker() -> None:
    verifier = judge(
        mode="pairwise",
        template="{{ first }}\n{{ second }}\nSay [[A]], [[B]] or [[C]].",
        marker={"pattern": r"\[\[(A|B|C)\]\]", "words": {"C": "tie"}},
    )
    for text, score in (("[[A]] no, [[B]]", 0.5), ("a [[C]]", 0.5), ("first", None)):
        backends = Scripted(answer(text))
        [verdict] = await judged(verifier, backends, completion="It is Paris. [[A]]", reference="Rome")
        assert verdict.score == score
    assert "[[A]]" not in prompt(backends.requests[0][1]).split("Say")[0]
    assert "VERDICT" not in prompt(backends.requests[0][1])


@given(text=ANY_TEXT)
def test_any_answer_is_read_or_refused(text: str) -> None:
    asked = Asked({"verdict": Scale(1, 5, True), "c1": YES_NO}, explain=True)
    forms: tuple[Form, ...] = ("schema", "marker")
    for form in forms:
        with pytest.raises(AnswerError):
            asked.read(ChatAnswer(text, "stop"), form, "0a1b2c3d")


@given(st.integers(1, 5), st.sampled_from(["yes", "no", "YES", "No"]), ANY_TEXT)
def test_what_is_asked_for_is_read(number: int, word: str, reasons: str) -> None:
    asked = Asked({"verdict": Scale(1, 5, True), "c1": YES_NO}, explain=True)
    said = json.dumps({"reasoning": reasons.encode(errors="replace").decode(), "verdict": number, "c1": word})
    wanted = {"verdict": float(number), "c1": float(word.lower() == "yes")}
    assert asked.read(ChatAnswer(said, "stop"), "schema", "") == wanted
    said = f"{reasons}\nVERDICT-0a1b2c3d: {number}\nVERDICT-0a1b2c3d-c1: {word}"
    assert asked.read(ChatAnswer(said, None), "marker", "0a1b2c3d") == wanted


async def test_a_backend_that_does_not_say_what_it_can_do() -> None:
    class Mute(Scripted):
        async def abilities(self, name: str) -> Abilities:
            raise BackendError(ErrorType.BACKEND_UNAVAILABLE, "is down", retryable=True)

    [verdict] = await judged(POINT, Mute(says(verdict=7)))
    assert failed(verdict) == (ErrorType.BACKEND_UNAVAILABLE, "is down")
    [verdict] = await judged(MARK, Mute(marks("10")))  # nobody has to ask
    assert verdict.score == 1.0

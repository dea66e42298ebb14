"""Configurations, templates and references that cannot work, each with its message."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pydantic import ValidationError

from tests.verifiers.judge.scripted import Scripted, judge, judged, says
from verifiers.base import ConfigError, ErrorType, Item, load_kinds
from verifiers.judge.config import JudgeConfig
from verifiers.judge.templates import MAX_PROMPT, Prompt, TemplateFaultError, Variables

SHOWS = "{{ prompt }}{{ completion }}"


def refused(**config: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        judge(**config)
    return caught.value


@pytest.mark.parametrize(
    ("config", "at", "message"),
    [
        ({"criteria": [{"text": "x"}]}, "/criteria", "criteria belongs to the mode rubric, not pointwise"),
        (
            {"mode": "pairwise", "scale": {"max": 5}},
            "/scale",
            "scale belongs to the mode pointwise or rubric, not pairwise",
        ),
        ({"swap": False}, "/swap", "swap belongs to the mode pairwise, not pointwise"),
        ({"require": "all"}, "/require", "require belongs to the mode principles, not pointwise"),
        (
            {"mode": "rubric", "criteria": [{"text": "x", "weight": 0}]},
            "/criteria",
            "criteria: a rubric needs a criterion with a weight above 0",
        ),
        (
            {"mode": "rubric", "criteria": [{"text": "x", "weight": -1}], "combine": "overall"},
            "/criteria",
            "criteria: a rubric needs a criterion with a weight above 0",
        ),
        (
            {"mode": "rubric", "criteria": [{"text": "x"}] * 64, "samples": 5, "temperature": 1},
            "/criteria",
            "criteria: takes 320 calls of an item, 256 are allowed",
        ),
        ({"panel": ["b", "a"]}, "/panel/1", "a is on the panel twice; for more votes of one judge set samples"),
        ({"samples": 2}, "/samples", "several samples are all the same at temperature 0; set a temperature"),
        (
            {"samples": 32, "temperature": 1, "panel": ["b", "c"]},
            "/samples",
            "96 votes of an item, 64 are allowed",
        ),
        ({"vote": "majority"}, "/vote", "numbers have a mean, not a majority; leave it out"),
        (
            {"output": "logprobs"},
            "/output",
            "one token must be the whole verdict: set a scale of whole numbers within 0 to 9, or calls to each",
        ),
        (
            {"template": "Is it good?"},
            "/template",
            "the template never shows completion: put {{ completion }} into it",
        ),
        (
            {"mode": "pairwise", "template": "{{ first }}"},
            "/template",
            "the template never shows second: put {{ second }} into it",
        ),
        ({"marker": {"pattern": "(x)"}}, "/marker", "belongs to a template of your own, which says how to answer"),
        (
            {"marker": {"pattern": "x"}, "template": SHOWS},
            "/marker/pattern",
            "the pattern must have a group, which holds the verdict",
        ),
        (
            {"marker": {"pattern": "(?=x)(x)"}, "template": SHOWS},
            "/marker/pattern",
            "the pattern must be RE2: invalid perl operator: (?=",
        ),
        (
            {"marker": {"pattern": "(x"}, "template": SHOWS},
            "/marker/pattern",
            "the pattern is not valid: missing ): (x",
        ),
        (
            {"marker": {"pattern": "(x)"}, "template": SHOWS, "output": "schema"},
            "/marker",
            "a marker and the output schema exclude each other",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_its_place(config: dict[str, Any], at: str, message: str) -> None:
    error = refused(**config)
    assert (error.pointer, str(error)) == (at, message)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ completion", "line 1: unexpected end of template, expected 'end of print statement'."),
        ("a\n{% if %}", "line 2: Expected an expression, got 'end of statement block'"),
        (
            "a\nb\n{{ answer }}",
            "line 3: there is no variable 'answer'; there are: completion, criteria, instructions, prompt, reference",
        ),
        ("{{ completion.__class__ }}", "line 1: there is no field '__class__'; there are: none here"),
        (
            "{% for c in criteria %}\n{{ c.__init__ }}\n{% endfor %}",
            "line 2: there is no field '__init__'; there are: "
            "c.name, c.text, c.weight, loop.first, loop.index, loop.index0, loop.last, loop.length",
        ),
        (
            "{{ completion['__class__'] }}",
            "line 1: Getitem is not for templates: they show variables, choose with 'if' and list with 'for'",
        ),
        ("{{ completion|attr('__class__') }}", "line 1: there is no filter 'attr'; there are: default, length, trim"),
        (
            "{{ 'a' * 1000000000 }}",
            "line 1: Mul is not for templates: they show variables, choose with 'if' and list with 'for'",
        ),
        (
            "{{ range(9) }}",
            "line 1: Call is not for templates: they show variables, choose with 'if' and list with 'for'",
        ),
        (
            "{% for c in criteria %}{% for d in criteria %}{% endfor %}{% endfor %}",
            "line 1: a loop must not stand in a loop",
        ),
        ("{% for c in completion %}{% endfor %}", "line 1: a loop goes over one of the lists: criteria"),
        (
            "{% include 'x' %}",
            "line 1: Include is not for templates: they show variables, choose with 'if' and list with 'for'",
        ),
        ("{{ completion is callable }}", "line 1: there is no test 'callable'; there are: defined, none, undefined"),
        ("{{ " + "not " * 30 + "completion }}", "line 1: nests deeper than 20 levels"),
        ("{{ " + "(" * 900 + "completion" + ")" * 900 + " }}", "the template nests too deeply"),
        ("{{ " + "[" * 9000 + " }}", "the template nests too deeply"),
        ("{{ " + "9" * 5000 + " }}", "the template holds a number that is too long"),
        ("x" * 20_001, "the template has 20,001 characters, 20,000 are allowed"),
        (
            "{{ completion }}{% for c in criteria %}{% if c.weight > 1 %}!{% endif %}{% endfor %}",
            "the template has no text for an item: '>' not supported between instances of 'str' and 'int'",
        ),
        (
            "{{ completion }}{{ criteria }}{% if not completion in 5 %}!{% endif %}",
            "the template has no text for an item: argument of type 'int' is not iterable",
        ),
        ("{{ completion|trim(5) }}", "the template has no text for an item: strip arg must be None or str"),
        (
            "{{ completion is none(3) }}",
            "the template has no text for an item: test_none() takes 1 positional argument but 2 were given",
        ),
        (
            "{% if not completion %}{{ none|length }}{% endif %}",
            "the template has no text for an item: object of type 'NoneType' has no len()",
        ),
    ],
)
def test_a_template_that_cannot_be_is_refused_with_its_line(template: str, message: str) -> None:
    error = refused(mode="rubric", criteria=[{"text": "x"}], template=template)
    assert (error.pointer, str(error)) == ("/template", message)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"backend": "http://x"}, "String should match pattern"),
        ({"mode": "vibes"}, "Input should be 'pointwise'"),
        ({"scale": {"min": 5, "max": 5}}, "min must be below max"),
        ({"scale": {"max": 9.5}}, "the bounds of whole numbers must be whole numbers"),
        ({"scale": {"max": float("nan")}}, "Input should be a finite number"),
        ({"mode": "rubric", "criteria": [{"text": " "}]}, "must not be blank"),
        ({"instructions": "a\ud800"}, "holds a lone surrogate"),
        ({"template": ""}, "must not be blank"),
        ({"temperature": 3}, "Input should be less than or equal to 2"),
        ({"samples": 0}, "Input should be greater than or equal to 1"),
        ({"sampels": 2}, "Extra inputs are not permitted"),
    ],
)
def test_what_its_schema_refuses(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        JudgeConfig.model_validate({"backend": "a", **config})


def test_a_backend_is_required_and_all_are_named_as_needs() -> None:
    with pytest.raises(ValidationError, match="Field required"):
        JudgeConfig.model_validate({})
    config = JudgeConfig(backend="a", panel=["b", "c"])
    assert config.needs().backends == {"/backend": "a", "/panel/0": "b", "/panel/1": "c"}
    assert JudgeConfig.inline_scope == "register"
    assert load_kinds()["judge"].examples == ()


def test_a_configuration_survives_its_wire_form() -> None:
    for config in (
        {"mode": "rubric", "criteria": [{"text": "x", "weight": 2}], "combine": "overall"},
        {"mode": "pairwise", "swap": False, "template": "{{ first }}{{ second }}", "marker": {"pattern": "(a|b)"}},
    ):
        parsed = judge(**config).config
        written = parsed.model_dump(mode="json", by_alias=True)
        again = judge(**written).config
        assert again == parsed


@pytest.mark.parametrize(
    ("config", "reference", "message"),
    [
        ({"mode": "equivalence"}, None, "reference: send the right answer, as text, as a number or under 'answer'"),
        (
            {"mode": "equivalence"},
            "\u3164",
            "reference: send the right answer, as text, as a number or under 'answer'",
        ),
        ({"mode": "equivalence"}, " ", "reference: send the right answer, as text, as a number or under 'answer'"),
        ({"mode": "pairwise"}, None, "reference: send the completion to compare with, as text or under 'completion'"),
        ({"mode": "rubric"}, None, "reference/criteria: a rubric needs a criterion"),
        ({"mode": "rubric"}, {"criteria": []}, "reference/criteria: a rubric needs a criterion"),
        (
            {"mode": "rubric"},
            {"criteria": [{"text": "x", "weight": 0}]},
            "reference/criteria: a rubric needs a criterion with a weight above 0",
        ),
        ({"mode": "principles"}, {"principles": []}, "reference/principles: a list of principles needs one"),
        (
            {"mode": "principles", "samples": 10, "temperature": 1},
            {"principles": ["x"] * 26},
            "reference/principles: takes 260 calls of an item, 256 are allowed",
        ),
        ({}, [1], "reference: Input should be a valid string, or a valid integer, or a valid number"),
        ({"mode": "equivalence"}, True, "reference: Input should be a valid string"),
        ({"mode": "rubric"}, {"criteria": [{"txt": "x"}]}, "reference/criteria/0/text: Field required"),
    ],
)
async def test_references_that_cannot_be_used(config: dict[str, Any], reference: Any, message: str) -> None:
    backends = Scripted(says(verdict="yes"))
    [verdict] = await judged(judge(**config), backends, reference=reference)
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.BAD_ITEM
    assert verdict.error.message.startswith(message)
    assert not backends.requests


async def test_a_bad_item_touches_no_neighbour() -> None:
    items = [Item(completion="Paris", reference=r) for r in ("Paris", None, "Paris")]
    verdicts = await judged(judge(mode="equivalence"), Scripted(says(verdict="yes")), items)
    assert [verdict.score for verdict in verdicts] == [1.0, None, 1.0]


def test_a_template_shows_chooses_and_lists() -> None:
    variables = Variables(
        frozenset(("prompt",)), {"scale": frozenset(("min",))}, {"criteria": frozenset(("text", "name"))}
    )
    source = (
        "{# said to no one #}{% if prompt %}{{ prompt|trim }}{% else %}none{% endif %} from {{ scale.min }}\n"
        "{% for c in criteria %}\n{{ loop.index }}/{{ loop.length }} {{ c.text }}{{ ';' if not loop.last }}\n"
        "{% endfor %}{% raw %}{{ x }}{% endraw %}"
    )
    text = Prompt(source, variables, "").text(
        {"prompt": " <b>&{{ 1 }}</b> ", "scale": {"min": 1}, "criteria": [{"text": "one"}, {"text": "two"}]}
    )
    assert text == "<b>&{{ 1 }}</b> from 1\n1/2 one;\n2/2 two\n{{ x }}"


def test_a_template_that_fails_on_one_item_is_no_fault_of_others() -> None:
    """What is tried when it is registered does not take every branch."""
    prompt = Prompt(
        "{% if prompt == 'odd' %}{{ 1 < 'x' }}{% endif %}{{ prompt }}", Variables(frozenset(("prompt",))), ""
    )
    assert prompt.text({"prompt": "even"}) == "even"
    with pytest.raises(TemplateFaultError, match="no text for this item: '<' not supported between instances"):
        prompt.text({"prompt": "odd"})


def test_what_a_template_makes_is_bounded() -> None:
    prompt = Prompt("{{ prompt }}" * 1_600, Variables(frozenset(("prompt",))), "")
    started = time.perf_counter()
    with pytest.raises(TemplateFaultError, match="makes more than 2,000,000 characters of this item"):
        prompt.text({"prompt": "x" * (MAX_PROMPT // 1000)})
    assert time.perf_counter() - started < 1


async def test_a_prompt_that_grows_too_large_is_a_bad_item() -> None:
    verifier = judge(template="{{ completion }}" * 1_200)
    [verdict] = await judged(verifier, Scripted(says(verdict=1)), completion="x" * 5000)
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.BAD_ITEM

"""What every registered kind must hold, whatever it verifies."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.cache import VerdictCache
from app.engine import Engine
from app.recorder import Recorder
from app.registry import Registry, Resolved
from app.store.database import Database
from app.store.ids import uuid7
from app.store.projects import Project
from app.tasks import Options, Task
from tests.verifiers.conftest import SandboxFor
from tests.verifiers.support import ANY_JSON, ANY_TEXT, InProcessGuard, assert_sound, configured, score_all
from verifiers.base import ErrorType, Item, Message, Verifier, load_kinds

KINDS = load_kinds()
each_kind = pytest.mark.parametrize("kind", sorted(KINDS))
each_kind_with_examples = pytest.mark.parametrize("kind", sorted(kind for kind in KINDS if KINDS[kind].examples))
PROJECT = Project(uuid7(), "one", "full", None, datetime.now(UTC))
fast = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@each_kind_with_examples
async def test_examples_score_as_declared(kind: str, sandbox_for: SandboxFor) -> None:
    cls = KINDS[kind]
    scores = set()
    for example in cls.examples:
        verifier = configured(kind, example.config)
        [verdict] = await score_all(verifier, [example.item], sandbox=sandbox_for(kind))
        assert verdict.score == example.score
        assert_sound(verdict)
        scores.add(example.score)
    assert len(scores) > 1 or scores == {None}, "examples must show a pass and something else, or what is pending"


@each_kind
def test_configuration_is_described_and_works_without_choices(kind: str) -> None:
    config = KINDS[kind].Config
    fields = config.model_fields
    if not any(field.is_required() for field in fields.values()):
        KINDS[kind](config())
    for name, field in fields.items():
        assert field.description, name


@each_kind
def test_configuration_survives_its_wire_form(kind: str) -> None:
    for example in KINDS[kind].examples:
        config = KINDS[kind].Config.model_validate(example.config)
        written = config.model_dump(mode="json", by_alias=True)
        assert example.config.keys() <= written.keys()
        assert KINDS[kind].Config.model_validate(written) == config


@each_kind
def test_declares_what_the_service_needs(kind: str) -> None:
    cls = KINDS[kind]
    assert cls.kind == kind
    assert cls.revision >= 1
    assert cls.cache in ("none", "memory")
    assert cls.__doc__
    cls.Config.model_json_schema(by_alias=True)
    cls.reference.json_schema()
    assert all(module.startswith("verifiers.") for module in cls.guarded)


@each_kind_with_examples
@fast
@given(data=st.data())
async def test_order_and_repetition_change_no_verdict(
    kind: str, sandbox_for: SandboxFor, data: st.DataObject
) -> None:
    first = KINDS[kind].examples[0].config
    known = [example.item for example in KINDS[kind].examples if example.config == first]
    drawn = data.draw(st.lists(st.builds(Item, completion=ANY_TEXT, reference=ANY_JSON), max_size=4))
    items = known + drawn
    order = data.draw(st.permutations(range(len(items))))
    verifier, sandbox = configured(kind, first), sandbox_for(kind)
    straight = await score_all(verifier, items, sandbox=sandbox)
    assert [straight[i] for i in order] == await score_all(verifier, [items[i] for i in order], sandbox=sandbox)
    assert straight == await score_all(configured(kind, first), items, sandbox=sandbox)


@each_kind
@fast
@given(completion=ANY_TEXT, prompt=st.none() | ANY_TEXT, as_messages=st.booleans())
async def test_any_completion_gets_a_sound_verdict(
    kind: str, sandbox_for: SandboxFor, completion: str, prompt: str | None, as_messages: bool
) -> None:
    written: Any = [Message(role="assistant", content=completion)] if as_messages else completion
    for example in KINDS[kind].examples:
        given_prompt = example.item.prompt if prompt is None else prompt
        item = example.item.model_copy(update={"completion": written, "prompt": given_prompt})
        verifier = _example_verifier(kind, example.config)
        [verdict] = await score_all(verifier, [item], sandbox=sandbox_for(kind))
        assert_sound(verdict)
        assert verdict.score is not None or example.score is None, verdict.error


@each_kind
@fast
@given(reference=ANY_JSON)
async def test_any_reference_gets_a_sound_verdict(kind: str, sandbox_for: SandboxFor, reference: Any) -> None:
    for example in KINDS[kind].examples:
        item = example.item.model_copy(update={"reference": reference})
        verifier = _example_verifier(kind, example.config)
        [verdict] = await score_all(verifier, [item], sandbox=sandbox_for(kind))
        assert_sound(verdict)
        if verdict.error is not None:
            assert verdict.error.type is ErrorType.BAD_ITEM, verdict.error
            assert len(verdict.error.message) < 600


@each_kind
async def test_large_hostile_completions_get_a_sound_verdict(kind: str, sandbox_for: SandboxFor) -> None:
    for text in ("<think>" * 400_000, "\\boxed{" * 300_000, "{[" * 300_000, "é\u0301" * 200_000):
        for example in KINDS[kind].examples:
            item = example.item.model_copy(update={"completion": text})
            verifier = _example_verifier(kind, example.config)
            [verdict] = await score_all(verifier, [item], sandbox=sandbox_for(kind))
            assert_sound(verdict)


class _Fixed(Registry):
    """Means one verifier by every name, and keeps its verdicts whatever verifying costs."""

    def __init__(self, kind: str, verifier: Verifier) -> None:
        super().__init__(cast(Database, None))
        self._fixed = Resolved(uuid7(), f"{kind}@1", kind, verifier.revision, verifier, caches=True)

    async def resolve(self, project_id: UUID, reference: str) -> Resolved:
        return self._fixed


@pytest.mark.parametrize("kind", sorted(kind for kind in KINDS if KINDS[kind].deterministic))
@settings(fast, max_examples=10)
@given(completions=st.lists(ANY_TEXT, max_size=2), reference=ANY_JSON)
async def test_cached_equals_uncached(
    kind: str, sandbox_for: SandboxFor, completions: list[str], reference: Any
) -> None:
    examples = KINDS[kind].examples
    for example in examples[:3] if KINDS[kind].sandboxed else examples:  # running code takes its time
        items = [example.item, example.item.model_copy(update={"reference": reference})]
        items += [example.item.model_copy(update={"completion": completion}) for completion in completions]
        registry = _Fixed(kind, _example_verifier(kind, example.config))
        sandbox, cache = sandbox_for(kind), VerdictCache(4)
        engine = Engine(registry, cast(Recorder, None), InProcessGuard(), cache, sandbox)
        tasks = [Task(item) for item in items]
        fresh, first, again = [
            await engine.verify(PROJECT, "any", tasks, Options(cache=cached)) for cached in (False, True, True)
        ]
        assert [slot.verdict for slot in fresh] == [slot.verdict for slot in first]
        assert [slot.verdict for slot in fresh] == [slot.verdict for slot in again]
        for slot in again:
            assert slot.verdict is not None
            assert slot.cached == (slot.verdict.score is not None and not slot.verdict.transient)
        assert not any(slot.cached for slot in fresh)


def _example_verifier(kind: str, config: dict[str, Any], known: dict[str, Verifier] = {}) -> Verifier:  # noqa: B006
    key = f"{kind} {config}"
    if key not in known:
        known[key] = configured(kind, config)
    return known[key]

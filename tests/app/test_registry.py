"""From what a request names to a compiled verifier; versions as they are stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter

from app import registry as module
from app.errors import Problem
from app.registry import Registry, compile_config, config_sha256, inline_scope, register_builtins
from app.store import projects
from app.store import verifiers as store
from app.store.database import Database
from app.store.tables import BUILTIN_PROJECT
from tests.app.store.proxy import proxied
from tests.app.store.rows import fetch
from verifiers.base import KINDS, ConfigError, Context, Item, KindConfig, Verdict
from verifiers.chat import Abilities, ChatAnswer, ChatRequest
from verifiers.lent import Cost, InlineVerifier, Needs, Reward, Solution, StepScores


class Echo:
    """Scores what its configuration says.

    Not in this line.
    """

    class Config(KindConfig):
        score: float = 1.0
        labels: dict[str, Any] = Field(default_factory=dict, alias="names")

    kind: ClassVar[str] = "echo"
    revision: ClassVar[int] = 7
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Any] = "memory"
    reference: ClassVar[Any] = TypeAdapter(Any)
    examples: ClassVar[Any] = ()
    guarded: ClassVar[Any] = ()
    sandboxed: ClassVar[bool] = False

    def __init__(self, config: Config) -> None:
        if config.score > 100:
            raise ConfigError("at most 100", "/score")
        self.score = config.score

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        return [Verdict.binary(True, "echo") for _ in items]


class Uncached(Echo):
    """Costs less than looking up."""

    kind = "uncached"
    cache = "none"


class Made(Echo):
    """Is made of another."""

    class Config(KindConfig):
        is_part: ClassVar[bool] = False
        part: str | InlineVerifier = "echo"
        server: str | None = None

        def needs(self) -> Needs:
            return Needs({"/part": self.part}, {} if self.server is None else {"/server": self.server})

    kind = "made"

    def __init__(self, config: Config) -> None:
        self.config = config


class Privileged(Echo):
    """Takes the scope to register."""

    class Config(KindConfig):
        inline_scope: ClassVar[Any] = "register"
        code: str

    kind = "privileged"
    sandboxed: ClassVar[bool] = True

    def __init__(self, config: Config) -> None:
        self.config = config


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(KINDS):
        monkeypatch.delitem(KINDS, name)
    monkeypatch.setitem(KINDS, "echo", Echo)
    monkeypatch.setitem(KINDS, "uncached", Uncached)
    monkeypatch.setitem(KINDS, "made", Made)
    monkeypatch.setitem(KINDS, "privileged", Privileged)


@pytest.fixture
async def builtins(database: Database) -> None:
    async with database.begin() as connection:
        await projects.ensure(connection, ".builtin", BUILTIN_PROJECT)
        await register_builtins(connection)


@pytest.fixture
async def mine(database: Database, builtins: None) -> UUID:
    async with database.begin() as connection:
        return (await projects.ensure(connection, "mine")).id


@pytest.fixture
async def theirs(database: Database, builtins: None) -> UUID:
    async with database.begin() as connection:
        return (await projects.ensure(connection, "theirs")).id


@pytest.fixture
def registry(database: Database) -> Registry:
    return Registry(database)


async def register(
    database: Database, project: UUID, name: str, kind: str = "echo", **config: Any
) -> tuple[UUID, bool]:
    complete = compile_config(kind, config).config
    async with database.begin() as connection:
        return await store.register(
            connection, project_id=project, name=name, kind=kind, config=json.dumps(complete),
            config_sha256=config_sha256(kind, complete), description='"d"', examples="[]",
        )  # fmt: skip


async def archive(database: Database, project: UUID, name: str) -> bool:
    async with database.begin() as connection:
        return await store.archive(connection, project, name)


async def unknown(registry: Registry, project: UUID, reference: str) -> None:
    with pytest.raises(Problem) as caught:
        await registry.resolve(project, reference)
    assert (caught.value.name, caught.value.status) == ("unknown-verifier", 404)


async def label(registry: Registry, project: UUID, reference: str) -> str:
    return (await registry.resolve(project, reference)).label


def score_of(resolved: module.Resolved) -> float:
    assert isinstance(resolved.verifier, Echo)
    return resolved.verifier.score


# --- configurations


def test_a_configuration_comes_back_with_its_defaults() -> None:
    compiled = compile_config("echo", {"score": 2})
    assert isinstance(compiled.verifier, Echo)
    assert compiled.config == {"score": 2.0, "names": {}}
    assert compile_config("echo", compiled.config).config == compiled.config


@pytest.mark.parametrize(
    ("kind", "config", "pointer"),
    [
        ("nothing", {}, "/kind"),
        ("Echo", {}, "/kind"),
        ("\ud800", {}, "/kind"),
        ("echo", {"score": "x"}, "/config/score"),
        ("echo", {"score": float("nan")}, "/config/score"),
        ("echo", {"more": 1}, "/config/more"),
        ("echo", {"score": 101}, "/config/score"),
        ("echo", [], "/config"),
        ("echo", None, "/config"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(kind: str, config: Any, pointer: str) -> None:
    with pytest.raises(Problem) as caught:
        compile_config(kind, config)
    assert (caught.value.name, caught.value.status, caught.value.pointer) == ("invalid-config", 422, pointer)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


def _reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reordered(value[key]) for key in reversed(value)}
    return [_reordered(part) for part in value] if isinstance(value, list) else value


@given(json_values)
def test_the_order_of_keys_makes_no_other_configuration(value: Any) -> None:
    assert config_sha256("k", _reordered(value)) == config_sha256("k", value)


@given(json_values, json_values)
def test_other_configurations_differ(one: Any, other: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (config_sha256("k", one) == config_sha256("k", other)) == same
    assert config_sha256("k", one) != config_sha256("l", one)


# --- versions


async def test_versions_count_up_and_the_same_configuration_adds_none(database: Database, mine: UUID) -> None:
    first = await register(database, mine, "v", score=1)
    assert await register(database, mine, "v", score=1.0) == (first[0], False)
    second = await register(database, mine, "v", score=2)
    third = await register(database, mine, "v", score=1)
    assert first[1] and second[1] and third[1]
    rows = await fetch(
        database,
        "SELECT v.id, v.version FROM verifier_versions v JOIN verifiers ON verifiers.id = verifier_id "
        "WHERE name = 'v' ORDER BY version",
    )
    assert rows == [(first[0], 1), (second[0], 2), (third[0], 3)]


@pytest.mark.parametrize("exists", [False, True])
async def test_registrations_at_once_take_turns(database: Database, mine: UUID, exists: bool) -> None:
    if exists:
        await register(database, mine, "v", score=50)
    before = int(exists)
    different = await asyncio.gather(*(register(database, mine, "v", score=score) for score in (1, 2, 3, 4)))
    assert all(new for _, new in different)
    versions = await fetch(database, "SELECT version FROM verifier_versions WHERE verifier_id IS NOT NULL")
    numbers = sorted(version for (version,) in versions)
    assert numbers[-4:] == [before + 1, before + 2, before + 3, before + 4]


async def test_one_configuration_registered_at_once_is_one_version(database: Database, mine: UUID) -> None:
    same = await asyncio.gather(*(register(database, mine, "v", score=1) for _ in range(4)))
    assert len({id for id, _ in same}) == 1
    assert sorted(new for _, new in same) == [False, False, False, True]


async def test_another_kind_with_the_same_configuration_is_another_version(database: Database, mine: UUID) -> None:
    await register(database, mine, "v")
    _, new = await register(database, mine, "v", kind="uncached")
    assert new


async def test_builtins_are_registered_once_and_again_when_their_defaults_change(
    database: Database, mine: UUID, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.begin() as connection:
        await register_builtins(connection)
    assert await label(registry, mine, "echo") == "echo@1"

    class Config(Echo.Config):
        score: float = 3.0

    monkeypatch.setattr(Echo, "Config", Config)
    async with database.begin() as connection:
        await register_builtins(connection)
    assert await label(registry, mine, "echo") == "echo@2"
    assert score_of(await registry.resolve(mine, "echo")) == 3
    assert score_of(await registry.resolve(mine, "echo@1")) == 1
    [(description,)] = await fetch(database, "SELECT DISTINCT description FROM verifier_versions WHERE kind = 'echo'")
    assert description == b'"Scores what its configuration says."'


# --- resolving


async def test_a_name_means_its_latest_version_at_once(database: Database, mine: UUID, registry: Registry) -> None:
    for number in (1, 2, 3):
        await register(database, mine, "v", score=number)
        resolved = await registry.resolve(mine, "v")
        assert (resolved.label, score_of(resolved)) == (f"v@{number}", number)
        assert (resolved.kind, resolved.revision, resolved.caches) == ("echo", 7, True)
    assert [await label(registry, mine, f"v@{number}") for number in (1, 2, 3)] == ["v@1", "v@2", "v@3"]
    await register(database, mine, "cheap", kind="uncached")
    assert not (await registry.resolve(mine, "cheap")).caches


async def test_what_does_not_exist_is_unknown(mine: UUID, registry: Registry) -> None:
    no_names = ["", " ", "v@", "v@0", "v@01", "v@-1", "v@x", "v@1@1", "echo ", "\x00", "echo\n", "echo@1\n", "\ud800"]
    no_names += ["x" * 101, "é", "echo@١", "a/b", "'; DROP TABLE verifiers --", "echo@9999999999"]
    for reference in [*no_names, "v", "v@1", "echo@2", "echo@999999999"]:
        await unknown(registry, mine, reference)


async def test_that_something_does_not_exist_is_not_remembered(
    database: Database, mine: UUID, registry: Registry
) -> None:
    await unknown(registry, mine, "v")
    await unknown(registry, mine, "v@1")
    await register(database, mine, "v")
    assert await label(registry, mine, "v") == "v@1"
    assert await label(registry, mine, "v@1") == "v@1"


async def test_a_project_sees_its_own_and_the_builtins(
    database: Database, mine: UUID, theirs: UUID, registry: Registry
) -> None:
    id, _ = await register(database, mine, "v")
    builtin = await registry.resolve(theirs, "echo")
    assert builtin.version_id == (await registry.resolve(mine, "echo")).version_id
    await label(registry, mine, "v@1")
    for reference in ("v", "v@1"):
        await unknown(registry, theirs, reference)
    with pytest.raises(Problem) as caught:
        await registry.by_id(theirs, id)
    assert caught.value.status == 404
    assert (await registry.by_id(mine, id)).label == "v@1"
    assert (await registry.by_id(theirs, builtin.version_id)).label == "echo@1"


async def test_a_projects_own_verifier_comes_before_a_builtin(
    database: Database, mine: UUID, theirs: UUID, registry: Registry
) -> None:
    """A later release may bring a kind whose name a project has taken."""
    own, _ = await register(database, mine, "echo", score=9)
    assert (await registry.resolve(mine, "echo")).version_id == own
    assert (await registry.resolve(mine, "echo@1")).version_id == own
    assert (await registry.resolve(theirs, "echo")).version_id != own
    found = await store.latest(database, [(mine, "echo"), (theirs, "echo"), (theirs, "v"), (mine, "uncached")])
    assert found[mine, "echo"] == own
    assert set(found) == {(mine, "echo"), (theirs, "echo"), (mine, "uncached")}


async def test_an_archived_name_is_gone_and_its_versions_are_not(
    database: Database, mine: UUID, theirs: UUID, registry: Registry
) -> None:
    first, _ = await register(database, mine, "v")
    assert not await archive(database, theirs, "v")
    assert not await archive(database, mine, "echo")
    assert await archive(database, mine, "v")
    assert not await archive(database, mine, "v")
    await unknown(registry, mine, "v")
    assert (await registry.resolve(mine, "v@1")).version_id == first
    assert await register(database, mine, "v") == (first, False)
    assert (await registry.resolve(mine, "v")).version_id == first


async def test_pages_of_verifiers_show_the_latest_of_each_name(database: Database, mine: UUID, theirs: UUID) -> None:
    for name in ("b", "a", "c"):
        await register(database, mine, name)
    await register(database, mine, "a", score=2)
    await register(database, mine, "echo", score=3)
    await register(database, theirs, "secret")
    await archive(database, mine, "c")
    async with database.begin() as connection:
        everything = await store.list_page(connection, mine, None, 100)
        assert [version.label for version in everything] == ["a@2", "b@1", "echo@1", "made@1", "uncached@1"]
        assert [version.builtin for version in everything] == [False, False, False, True, True]
        assert [v.label for v in await store.list_page(connection, mine, "a", 2)] == ["b@1", "echo@1"]
        assert [v.label for v in await store.versions_page(connection, mine, "a", None, 10)] == ["a@2", "a@1"]
        assert [v.label for v in await store.versions_page(connection, mine, "a", 2, 10)] == ["a@1"]
        assert await store.versions_page(connection, mine, "secret", None, 10) == []


# --- inline


async def test_an_inline_verifier_is_stored_once_a_project(
    database: Database, mine: UUID, theirs: UUID, registry: Registry
) -> None:
    one = await registry.inline(mine, "echo", {})
    assert (one.label, one.kind, score_of(one)) == ("echo@inline", "echo", 1.0)
    for config in ({}, {"score": 1}, {"score": 1.0, "names": {}}, {"names": {}, "score": 1.0}):
        assert (await registry.inline(mine, "echo", config)).version_id == one.version_id
        assert (await Registry(database).inline(mine, "echo", config)).version_id == one.version_id
    others = [
        await registry.inline(mine, "echo", {"score": 2}),
        await registry.inline(mine, "uncached", {}),
        await registry.inline(theirs, "echo", {}),
    ]
    assert len({one.version_id, *(other.version_id for other in others)}) == 4
    [(count,)] = await fetch(database, "SELECT count(*) FROM verifier_versions WHERE verifier_id IS NULL")
    assert count == 4


async def test_an_inline_verifier_is_found_again_by_its_id_in_its_project(
    database: Database, mine: UUID, theirs: UUID, registry: Registry
) -> None:
    one = await registry.inline(mine, "echo", {"score": 4})
    again = await Registry(database).by_id(mine, one.version_id)
    assert (again.version_id, again.label, score_of(again)) == (one.version_id, "echo@inline", 4.0)
    with pytest.raises(Problem) as caught:
        await registry.by_id(theirs, one.version_id)
    assert caught.value.status == 404


async def test_one_inline_verifier_sent_at_once_is_stored_once(database: Database, mine: UUID) -> None:
    found = await asyncio.gather(*(Registry(database).inline(mine, "echo", {"score": 5}) for _ in range(8)))
    assert len({one.version_id for one in found}) == 1


async def test_an_inline_verifier_that_cannot_work_leaves_nothing(
    database: Database, mine: UUID, registry: Registry
) -> None:
    before = await fetch(database, "SELECT id FROM verifier_versions")
    with pytest.raises(Problem):
        await registry.inline(mine, "echo", {"score": 1000})
    assert await fetch(database, "SELECT id FROM verifier_versions") == before


# --- lookups


async def test_lookups_that_come_together_share_one_query(
    database: Database, mine: UUID, theirs: UUID, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register(database, mine, "v")
    await registry.resolve(mine, "v@1")
    asked: list[int] = []
    latest = store.latest

    async def counted(database: Database, names: Any) -> Any:
        asked.append(len(names))
        return await latest(database, names)

    monkeypatch.setattr(store, "latest", counted)
    found = await asyncio.gather(
        *(registry.resolve(mine, "v") for _ in range(50)),
        *(registry.resolve(mine, "echo") for _ in range(50)),
        *(registry.resolve(theirs, "v") for _ in range(50)),
        return_exceptions=True,
    )
    labels = [getattr(one, "label", one.__class__.__name__) for one in found]
    assert labels == ["v@1"] * 50 + ["echo@1"] * 50 + ["Problem"] * 50
    assert sum(asked) <= 6
    assert len(asked) <= 2


async def test_a_lookup_answers_nobody_who_asked_after_it_began(
    database: Database, mine: UUID, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register(database, mine, "v", score=1)
    read, go_on = asyncio.Event(), asyncio.Event()
    latest = store.latest

    async def slow(database: Database, names: Any) -> Any:
        found = await latest(database, names)
        read.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(store, "latest", slow)
    early = asyncio.create_task(registry.resolve(mine, "v"))
    await read.wait()
    await register(database, mine, "v", score=2)
    late = asyncio.create_task(registry.resolve(mine, "v"))
    await asyncio.sleep(0)
    go_on.set()
    assert (await early).label == "v@1"
    assert (await late).label == "v@2"


async def test_a_caller_that_leaves_takes_nobody_along(database: Database, mine: UUID, registry: Registry) -> None:
    await register(database, mine, "v")
    callers = [asyncio.create_task(registry.resolve(mine, "v")) for _ in range(3)]
    await asyncio.sleep(0)
    callers[0].cancel()
    assert [(await caller).label for caller in callers[1:]] == ["v@1", "v@1"]
    assert await label(registry, mine, "v") == "v@1"


async def test_a_database_that_is_away_is_a_503_for_everybody_and_no_longer(database: Database, mine: UUID) -> None:
    await register(database, mine, "v")
    async with proxied(database.url.render_as_string(hide_password=False)) as proxy:
        through = Database(proxy.url, 2)
        registry = Registry(through)
        await proxy.stop()
        asked = [registry.resolve(mine, "v"), registry.resolve(mine, "v@1"), registry.inline(mine, "echo", {})]
        for found in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(found, Problem)
            assert found.status == 503
        await proxy.start()
        assert await label(registry, mine, "v") == "v@1"
        assert await label(registry, mine, "v@1") == "v@1"
        await through.close()


async def test_compiled_verifiers_are_kept_and_bounded(
    database: Database, mine: UUID, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_COMPILED", 3)
    first = await registry.inline(mine, "echo", {"score": 0})
    assert (await registry.inline(mine, "echo", {"score": 0})).verifier is first.verifier
    for score in range(1, 4):
        await registry.inline(mine, "echo", {"score": score})
    again = await registry.inline(mine, "echo", {"score": 0})
    assert again.verifier is not first.verifier
    assert again.version_id == first.version_id
    assert len(registry._compiled) == 3


async def test_names_are_no_sql(database: Database, mine: UUID) -> None:
    assert await store.latest(database, [(mine, "echo' OR 1=1 --"), (mine, "")]) == {}
    assert await fetch(database, "SELECT count(*) FROM verifiers") == [(3,)]


# --- verifiers made of others


class Servers:
    """Backends of which one exists, a verifier, and one that is a chat model."""

    async def exists(self, name: str, type: str | None = None) -> bool:
        return (name, type) in (("there", None), ("there", "verifier"), ("model", None), ("model", "chat"))

    async def post(self, name: str, body: Any, *, deadline: float) -> Any:
        raise AssertionError("nothing is sent to see whether it exists")

    async def abilities(self, name: str) -> Abilities:
        raise AssertionError("nothing is sent to see whether it exists")

    async def chat(self, name: str, request: ChatRequest, *, deadline: float) -> ChatAnswer:
        raise AssertionError("nothing is sent to see whether it exists")

    def discard(self, name: str, request: ChatRequest) -> None:
        raise AssertionError("nothing is sent to see whether it exists")

    async def rewards(
        self, name: str, conversations: Sequence[Sequence[Mapping[str, str]]], *, deadline: float
    ) -> list[Reward]:
        raise AssertionError("no reward model is asked")

    async def steps(self, name: str, solutions: Sequence[Solution], *, deadline: float) -> list[StepScores]:
        raise AssertionError("no reward model is asked")


async def refused(registry: Registry, project: UUID, config: dict[str, Any]) -> tuple[str, str | None]:
    with pytest.raises(Problem) as caught:
        await registry.check_needs(project, compile_config("made", config).needs, "/config")
    assert (caught.value.name, caught.value.status) == ("invalid-config", 422)
    return caught.value.detail, caught.value.pointer


async def test_a_part_is_named_with_its_version(database: Database, registry: Registry, mine: UUID) -> None:
    await register(database, mine, "own", score=3)
    await registry.check_needs(mine, compile_config("made", {"part": "own@1"}).needs, "/config")
    await registry.check_needs(mine, compile_config("made", {"part": "echo@1"}).needs, "/config")
    said, pointer = await refused(registry, mine, {"part": "own"})
    assert (said, pointer) == ("name a version, which never changes: own@1", "/config/part")


async def test_a_part_that_is_not_there_is_refused(
    database: Database, registry: Registry, mine: UUID, theirs: UUID
) -> None:
    await register(database, theirs, "other")
    for name in ("other@1", "none@1", "echo@2", "no name", ""):
        said, pointer = await refused(registry, mine, {"part": name})
        assert said.startswith("no verifier ")
        assert pointer == "/config/part"


async def test_what_is_made_of_others_is_no_part(database: Database, registry: Registry, mine: UUID) -> None:
    await register(database, mine, "whole", "made", part="echo@1")
    for part in ("whole@1", {"kind": "made", "config": {"part": "echo@1"}}):
        assert await refused(registry, mine, {"part": part}) == (
            "the kind made cannot be part of another", "/config/part",
        )  # fmt: skip


async def test_a_part_given_by_its_configuration_is_checked_where_it_stands(registry: Registry, mine: UUID) -> None:
    part = {"kind": "echo", "config": {"score": "x"}}
    assert (await refused(registry, mine, {"part": part}))[1] == "/config/part/config/score"
    assert (await refused(registry, mine, {"part": {"kind": "none"}}))[1] == "/config/part/kind"


async def test_a_backend_must_exist(database: Database, mine: UUID) -> None:
    registry = Registry(database, Servers())
    needs = compile_config("made", {"part": "echo@1", "server": "there"}).needs
    await registry.check_needs(mine, needs, "/config")
    config = {"part": "echo@1", "server": "away"}
    said = "no backend 'away'; an operator adds one with 'assay backends add'"
    assert await refused(registry, mine, config) == (said, "/config/server")
    assert await refused(Registry(database), mine, config) == (said, "/config/server")


async def test_a_backend_must_be_of_the_type_that_is_asked(database: Database, mine: UUID) -> None:
    registry = Registry(database, Servers())
    said = "the backend 'model' is not of the type verifier, which this kind asks"
    assert await refused(registry, mine, {"part": "echo@1", "server": "model"}) == (said, "/config/server")
    needs = Needs(backends={"/backend": "model", "/panel/0": "there"}, backend_types=("chat",))
    with pytest.raises(Problem, match="'there' is not of the type chat") as caught:
        await registry.check_needs(mine, needs, "/config")
    assert caught.value.pointer == "/config/panel/0"


async def test_a_part_given_by_its_configuration_is_not_recorded(
    database: Database, registry: Registry, mine: UUID
) -> None:
    before = await fetch(database, "SELECT id FROM verifier_versions")
    one = await registry.part(mine, InlineVerifier(kind="echo", config={"score": 5}))
    same = await registry.part(mine, InlineVerifier(kind="echo", config={"score": 5.0, "names": {}}))
    other = await registry.part(mine, InlineVerifier(kind="echo", config={"score": 6}))
    assert one.version_id == same.version_id != other.version_id
    assert (score_of(one), score_of(other)) == (5, 6)
    assert await fetch(database, "SELECT id FROM verifier_versions") == before


async def test_a_part_by_name_is_the_version_itself(database: Database, registry: Registry, mine: UUID) -> None:
    version_id, _ = await register(database, mine, "own", score=3)
    assert (await registry.part(mine, "own@1")).version_id == version_id


async def test_costs(database: Database, mine: UUID) -> None:
    registry = Registry(database, Servers())
    for kind, config, cost in (
        ("uncached", {}, Cost.LOOP),
        ("privileged", {"code": "x"}, Cost.SANDBOX),
        ("made", {"part": "echo@1", "server": "there"}, Cost.BACKEND),
    ):
        assert (await registry.part(mine, InlineVerifier(kind=kind, config=config))).cost is cost


async def test_a_kind_with_a_required_field_has_no_verifier_of_its_own(registry: Registry, mine: UUID) -> None:
    await unknown(registry, mine, "privileged")
    assert await label(registry, mine, "made") == "made@1"


@pytest.mark.parametrize(
    ("kind", "config", "scope"),
    [
        ("echo", {}, "score"),
        ("none", {}, "score"),
        ("privileged", {"code": "x"}, "register"),
        ("privileged", None, "register"),
        ("made", {}, "score"),
        ("made", {"part": "privileged@1"}, "score"),
        ("made", {"part": {"kind": "echo"}}, "score"),
        ("made", {"part": {"kind": "privileged", "config": {"code": "x"}}}, "register"),
        ("made", {"part": {"kind": "made", "config": {"part": {"kind": "privileged"}}}}, "register"),
        ("made", {"part": 1}, "score"),
        ("made", [], "score"),
    ],
)
def test_what_a_request_may_send_depends_on_the_key(kind: str, config: Any, scope: str) -> None:
    assert inline_scope(kind, config) == scope

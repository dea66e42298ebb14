"""Every attack of the corpus, on both backends, each batch mixed with honest items: none passes, none gets out, and
the honest ones pass.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from sandbox.base import Job, Limits, NotOfferedError, Program, Status, Stdio
from sandbox.docker import DockerCell
from sandbox.local import LocalCell
from tests.sandbox.attacks import (
    ABSTRACT_SOCKET,
    ATTACKS,
    BAD_PATHS,
    FETCHES,
    HONEST,
    PAIRS,
    PWNED_FILE,
    REPEATS,
    SECRET_ENV,
    SECRET_FILE,
    SECRET_FILES,
    Attack,
    filled,
)
from tests.sandbox.live import LiveSandbox
from tests.verifiers.support import InProcessGuard, configured
from verifiers.base import ConfigError, Context, Item, Verdict, Verifier

BATCH = 64
"""Attacks of one test, beside which some honest items run."""
HONEST_BESIDE = 12
ITEM_S = 120.0
BATCHES = [ATTACKS[start : start + BATCH] for start in range(0, len(ATTACKS), BATCH)]


@dataclass
class Bait:
    """What attacks would reach if they got out, and whether they have."""

    port: int
    listeners: list[socket.socket]

    def reached(self) -> list[str]:
        """What saw a connection, or was changed."""
        seen = []
        for listener in self.listeners:
            try:
                listener.accept()
                seen.append(f"a connection to {listener.getsockname()!r}")
            except BlockingIOError:
                continue
        seen += [path for path in SECRET_FILES if Path(path).read_text() != SECRET_FILE]
        if Path(PWNED_FILE).exists():
            seen.append(PWNED_FILE)
        return seen


@pytest.fixture(scope="module")
def bait() -> Iterator[Bait]:
    with ExitStack() as stack:
        for path in SECRET_FILES:
            Path(path).write_text(SECRET_FILE)
            Path(path).chmod(0o644)
            stack.callback(Path(path).unlink)
        Path(PWNED_FILE).unlink(missing_ok=True)
        os.environ[SECRET_ENV[0]] = SECRET_ENV[1]
        stack.callback(os.environ.pop, SECRET_ENV[0])
        listeners = [stack.enter_context(socket.socket(family)) for family in (socket.AF_INET, socket.AF_UNIX)]
        listeners[0].bind(("127.0.0.1", 0))
        listeners[1].bind(ABSTRACT_SOCKET)
        port = listeners[0].getsockname()[1]
        if socket.has_ipv6:
            listeners.append(stack.enter_context(socket.socket(socket.AF_INET6)))
            listeners[2].bind(("::1", port))
        for listener in listeners:
            listener.listen()
            listener.setblocking(False)
        yield Bait(port, listeners)


@pytest.fixture(scope="module", params=["local", "docker"])
def hunted(request: pytest.FixtureRequest, bait: Bait) -> Iterator[LiveSandbox]:
    """A sandbox of two cells that starts when the bait lies out: what is planted in one run is near the next."""
    live = LiveSandbox(request.param, cells=2, compile_cpu_s=5.0)  # bombs for compilers would take all of 20 s
    try:
        if live.unavailable:
            pytest.skip(f"no {request.param} sandbox: {live.unavailable}")
        yield live
    finally:
        live.close()


class Scorer:
    """Scores items of the kind `code`, each with its configuration."""

    def __init__(self, sandbox: LiveSandbox) -> None:
        self._sandbox = sandbox
        self._verifiers: dict[str, Verifier] = {}

    async def __call__(self, item: dict[str, Any], config: dict[str, Any]) -> Verdict:
        key = json.dumps(config, sort_keys=True)
        verifier = self._verifiers.get(key)
        if verifier is None:
            verifier = self._verifiers[key] = configured("code", config)
        context = Context(time.monotonic() + ITEM_S, InProcessGuard(), self._sandbox)
        [verdict] = await verifier.verify([Item(**item)], context)
        return verdict

    def offers(self, config: dict[str, Any]) -> bool:
        """Whether the sandbox has what the configuration needs."""
        packages = set(config.get("packages", ()))
        return config.get("language", "python") in self._sandbox.languages and packages <= set(self._sandbox.packages)


@pytest.fixture
def scorer(hunted: LiveSandbox) -> Scorer:
    return Scorer(hunted)


FELL_OVER = frozenset({"incorrect", "crashed", "rejected", "output_exceeded"})
"""It came to nothing, in whichever way: where one of these is right, all are."""


def faults_of(attack: Attack, verdict: Verdict) -> Iterator[str]:
    """What is wrong with an attack's verdict."""
    right = attack.outcomes | FELL_OVER if attack.outcomes & FELL_OVER else attack.outcomes
    if (verdict.score is not None and verdict.score > 0) or verdict.outcome not in right:
        yield f"{verdict.outcome} {verdict.score}"
    if verdict.error is not None and verdict.error.type not in attack.errors:
        yield str(verdict.error)
    said = repr(verdict)
    yield from (f"tells {secret}" for secret in (SECRET_ENV[1], SECRET_FILE.strip().strip('"')) if secret in said)


@pytest.mark.parametrize("batch", BATCHES, ids=[f"{batch[0].name}-and-on" for batch in BATCHES])
async def test_no_attack_passes_and_its_neighbours_do(batch: Sequence[Attack], scorer: Scorer, bait: Bait) -> None:
    start = BATCHES.index(list(batch)) * HONEST_BESIDE
    beside = [HONEST[(start + number) % len(HONEST)] for number in range(HONEST_BESIDE)]
    attacks = [attack for attack in batch if scorer.offers(attack.config)]
    honest = [one for one in beside if scorer.offers(one.config)]
    assert attacks
    assert honest
    items = [(one.item, one.config) for one in attacks] + [(one.item, one.config) for one in honest]
    verdicts = await asyncio.gather(*(scorer(filled(item, bait.port), config) for item, config in items))
    wrong = [
        f"{attack.name}: {', '.join(faults)}; {verdict.detail} {verdict.error or ''}"
        for attack, verdict in zip(attacks, verdicts, strict=False)
        if (faults := list(faults_of(attack, verdict)))
    ]
    wrong += [
        f"{one.name}, which is honest: {verdict.outcome}; {verdict.detail} {verdict.error or ''}"
        for one, verdict in zip(honest, verdicts[len(attacks) :], strict=True)
        if verdict.outcome != "correct"
    ]
    assert not wrong, "\n".join(wrong)
    assert bait.reached() == []


async def test_every_honest_item_passes(scorer: Scorer) -> None:
    honest = [one for one in HONEST if scorer.offers(one.config)]
    verdicts = await asyncio.gather(*(scorer(one.item, one.config) for one in honest))
    assert {one.name: verdict for one, verdict in zip(honest, verdicts, strict=True) if verdict.score != 1.0} == {}


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
async def test_nothing_is_left_for_the_next_run(pair: Any, scorer: Scorer) -> None:
    if not (scorer.offers(pair.plant_config) and scorer.offers(pair.find_config)):
        pytest.skip("a language that this backend does not offer")
    plants = await asyncio.gather(*(scorer(pair.plant, pair.plant_config) for _ in range(4)))
    assert {verdict.outcome for verdict in plants} <= pair.plant_outcomes, plants
    finds = await asyncio.gather(*(scorer(pair.find, pair.find_config) for _ in range(4)))
    assert {verdict.outcome for verdict in finds} <= pair.find_outcomes, finds
    mixed = await asyncio.gather(
        *(
            scorer(item, config)
            for _ in range(3)
            for item, config in ((pair.plant, pair.plant_config), (pair.find, pair.find_config))
        )
    )
    assert {verdict.outcome for verdict in mixed[1::2]} <= pair.find_outcomes, mixed


async def test_no_file_comes_out_that_is_none_of_the_run(hunted: LiveSandbox) -> None:
    wrong: dict[str, Any] = {}
    for fetch in (*FETCHES, *FETCHES):
        if fetch.language not in hunted.languages:
            continue
        job = Job(
            Program(fetch.code.encode(), fetch.language, dict(fetch.files)),
            Stdio([b""], list(fetch.fetch)),
            Limits(cpu_s=1.0, wall_s=3.0, memory_mb=256, processes=48),
        )
        try:
            [run] = (await hunted.run(job, deadline=time.monotonic() + ITEM_S)).runs
        except NotOfferedError:  # for its names
            continue
        said = b"".join((run.stdout, run.stderr, *run.files.values()))
        if any(name in run.files for name in fetch.absent) or any(text in said for text in fetch.never):
            wrong[fetch.name] = (fetch.assertion, run)
    assert wrong == {}


@pytest.mark.parametrize("path", BAD_PATHS, ids=repr)
def test_a_path_that_leads_out_is_no_file(path: str) -> None:
    with pytest.raises((ConfigError, ValueError)):
        configured("code", {"files": {path: "x"}})


@pytest.mark.parametrize("repeat", REPEATS, ids=lambda repeat: repeat.name)
async def test_runs_share_no_random_state(repeat: Any, hunted: LiveSandbox) -> None:
    if not set(repeat.packages) <= set(hunted.packages):
        pytest.skip("a package that this backend does not offer")
    job = Job(Program(repeat.code.encode(), packages=frozenset(repeat.packages)), Stdio([b""] * repeat.times))
    runs = (await hunted.run(job, deadline=time.monotonic() + ITEM_S)).runs
    assert [run.status for run in runs] == [Status.OK] * repeat.times
    assert len({run.stdout for run in runs}) == repeat.times


def test_nothing_of_it_all_is_left_on_the_host(hunted: LiveSandbox, bait: Bait) -> None:
    for cell in hunted.pool.alive:
        if isinstance(cell, LocalCell):
            processes = [each.cmdline() for each in psutil.Process(cell.process.pid).children(recursive=True)]
        else:
            assert isinstance(cell, DockerCell)
            processes = cell.container.top()["Processes"][1:]
        assert len(processes) <= 2, processes  # at rest: the zygote, and in a local cell what it was forked from
    assert bait.reached() == []

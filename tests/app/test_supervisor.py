"""`assay serve`: what it prepares, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
import uvloop
from pydantic import SecretStr
from sqlalchemy import make_url

from app import supervisor
from app.auth import SCOPES, Authenticator, digest, new_secret
from app.errors import Problem
from app.first_score import base_url
from app.settings import Settings
from app.store import keys, projects
from app.store.database import Database
from app.store.embedded import EmbeddedPostgres, postmaster
from app.store.embedded.account import server_account
from app.store.embedded.folders import POINTER
from app.store.tables import BUILTIN_PROJECT, DEFAULT_PROJECT
from app.supervisor import StartError, prepare
from tests.app.store.rows import fetch
from tests.service import Service, free_port
from verifiers.base import KINDS

ROOT = Path(__file__).parents[2]


def settings(url: str | None = None, key: str | None = None, **values: object) -> Settings:
    return Settings.model_validate(
        {
            "database_url": None if url is None else SecretStr(url),
            "api_key": None if key is None else SecretStr(key),
            **values,
        }
    )


# --- preparing the database


async def scopes_of(database: Database, secret: str) -> tuple[str, frozenset[str]] | None:
    """The project and scopes that a key has; None for one that is dead."""
    try:
        principal = await Authenticator(database).principal(f"Bearer {secret}")
    except Problem:
        return None
    return principal.project.name, principal.scopes


ADMIN = (DEFAULT_PROJECT, frozenset(SCOPES))


@pytest.fixture
def url(empty_database_url: str) -> str:
    return empty_database_url


@pytest.fixture
async def opened(url: str) -> AsyncIterator[Database]:
    """The database that `prepare` is given, not yet migrated."""
    database = Database(url, 2)
    yield database
    await database.close()


async def test_a_first_key_is_made_once_and_shown_once(
    url: str, opened: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = await prepare(settings(url))
    assert secret is not None
    assert capsys.readouterr().out.count(secret) == 1
    assert await scopes_of(opened, secret) == ADMIN
    for _ in range(2):
        assert await prepare(settings(url)) is None
        shown = capsys.readouterr()
        assert "assay_" not in shown.out
    assert await fetch(opened, "SELECT count(*) FROM keys") == [(1,)]
    stored = await fetch(opened, "SELECT digest, hint FROM keys")
    assert stored == [(digest(secret), secret[-4:])]


async def test_a_key_of_the_environment_is_not_shown_and_replaces_the_one_before(
    url: str, opened: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = "the-old-admin-key-0", "the-new-admin-key-1"
    assert await prepare(settings(url, old)) == old
    assert await prepare(settings(url, old)) == old
    assert await scopes_of(opened, old) == ADMIN
    assert await prepare(settings(url, new)) == new
    assert await scopes_of(opened, new) == ADMIN
    assert await scopes_of(opened, old) is None
    assert await prepare(settings(url, old)) == old
    assert await scopes_of(opened, old) == ADMIN
    assert await scopes_of(opened, new) is None
    assert await prepare(settings(url)) is None
    assert await scopes_of(opened, old) == ADMIN
    assert capsys.readouterr().out == ""


async def test_a_first_key_that_was_put_into_the_environment_is_replaced_too(url: str, opened: Database) -> None:
    first = await prepare(settings(url))
    assert first is not None
    await prepare(settings(url, first))
    await prepare(settings(url, "the-new-admin-key-1"))
    assert await scopes_of(opened, first) is None


@pytest.mark.parametrize("where", ["default", "another project"])
async def test_a_key_of_the_environment_is_an_admin_key_whatever_it_was(
    url: str, opened: Database, where: str
) -> None:
    await prepare(settings(url))
    secret = new_secret()
    async with opened.begin() as connection:
        project = await projects.ensure(connection, where)
        await keys.create(connection, project.id, "reader", digest(secret), secret[-4:], ["read"])
    try:
        await prepare(settings(url, secret))
    except StartError as error:
        assert "ASSAY_API_KEY" in str(error)
    else:
        assert await scopes_of(opened, secret) == ADMIN


async def test_a_key_of_another_project_is_no_admin_key_of_this_one(url: str, opened: Database) -> None:
    await prepare(settings(url, "the-old-admin-key-0"))
    async with opened.begin() as connection:
        await connection.exec_driver_sql("UPDATE keys SET revoked_at = now()")
        other = await projects.ensure(connection, "other")
        await keys.create(connection, other.id, "k", b"x", "x", SCOPES)
    made = await prepare(settings(url))
    assert made is not None
    assert await scopes_of(opened, made) == ADMIN


async def test_everything_is_there_afterwards(url: str, opened: Database) -> None:
    await prepare(settings(url, "the-old-admin-key-0"))
    names = await fetch(
        opened, "SELECT name, project_id FROM verifiers JOIN verifier_versions v USING (project_id) GROUP BY 1, 2"
    )
    required = {kind for kind, cls in KINDS.items() if any(f.is_required() for f in cls.Config.model_fields.values())}
    assert {name for name, _ in names} == set(KINDS) - required
    assert {project for _, project in names} == {BUILTIN_PROJECT}
    month = time.strftime("%Y_%m", time.gmtime())
    assert await fetch(opened, f"SELECT to_regclass('scores_{month}') IS NOT NULL") == [(True,)]


async def test_two_services_prepare_one_database_at_once(url: str, opened: Database) -> None:
    secrets = await asyncio.gather(*(prepare(settings(url)) for _ in range(3)))
    assert sorted(secret is not None for secret in secrets) == [False, False, True]
    assert await fetch(opened, "SELECT count(*) FROM keys") == [(1,)]


# --- what cannot be used


async def refusal(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `prepare` says of a database, in one line and without its password."""
    monkeypatch.setattr(supervisor, "DATABASE_WAIT_S", 1)
    with pytest.raises(StartError) as caught:
        await prepare(settings(url))
    message = str(caught.value)
    assert "sesame" not in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("url", ["mysql://u:sesame@h/d", "sqlite:///x.db", "nonsense", "postgresql"])
async def test_another_database_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ASSAY_DATABASE_URL" in await refusal(url, monkeypatch)


async def test_a_database_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    message = await refusal(f"postgresql://u:sesame@127.0.0.1:{free_port()}/d", monkeypatch)
    assert "ASSAY_DATABASE_URL" in message
    assert "does not answer" in message


@pytest.mark.parametrize("part", ["database", "username"])
async def test_a_database_that_does_not_let_us_in_is_named(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    right = make_url(postgres.dsn)
    name = "nobody_of_that_name"
    wrong = right.set(database=name) if part == "database" else right.set(username=name)
    message = await refusal(wrong.render_as_string(hide_password=False), monkeypatch)
    assert "ASSAY_DATABASE_URL" in message
    assert name in message


# --- the address


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"cannot listen on 127.0.0.1:{port}.*ASSAY_PORT"):
            supervisor._listen(settings(host="127.0.0.1", port=port)).close()


def test_two_services_that_start_together_do_not_share_a_port() -> None:
    # Both look before either serves.
    wanted = settings(host="127.0.0.1", port=free_port())
    with supervisor._listen(wanted), pytest.raises(StartError, match="ASSAY_PORT"):
        supervisor._listen(wanted).close()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7", "999.1.1.1", "::ffff:0:1"])
def test_an_address_that_is_not_ours_is_named(host: str) -> None:
    with pytest.raises(StartError, match="ASSAY_HOST"):
        supervisor._listen(settings(host=host, port=free_port())).close()


def test_a_port_is_free_again_at_once() -> None:
    wanted = settings(host="127.0.0.1", port=free_port())
    for _ in range(2):
        supervisor._listen(wanted).close()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104
        ("localhost", "http://localhost:8000"),
        ("::1", "http://[::1]:8000"),
        ("::", "http://[::1]:8000"),
    ],
)
def test_the_address_as_this_machine_reaches_it(host: str, expected: str) -> None:
    assert base_url(settings(host=host, port=8000)) == expected


# --- whole services


def data_of(home: Path) -> Path:
    """Where the database of a home is: in it, or where the home says."""
    pointer = home / POINTER
    base = Path(pointer.read_text().splitlines()[0]) if pointer.exists() else home / "postgres"
    return base / "data"


def postgres_of(home: Path) -> list[int]:
    """The processes of a home's database."""
    data = data_of(home)
    return postmaster.processes(data, server_account()) if data.exists() else []


def service_of(home: Path, running: bytes = b"") -> list[int]:
    """The processes of services on a home, by their environment; those with `running` in their arguments."""
    ours = f"ASSAY_HOME={home}\0".encode()
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and ours in (entry / "environ").read_bytes():
                found += [int(entry.name)] * (running in (entry / "cmdline").read_bytes())
    return found


def processes_of(home: Path) -> list[int]:
    return service_of(home) + postgres_of(home)


def gone(home: Path, within: float = 30.0) -> bool:
    """Whether all processes of a home end."""
    limit = time.monotonic() + within
    while processes_of(home):
        if time.monotonic() > limit:
            return False
        time.sleep(0.1)
    return True


def kill_all(home: Path) -> None:
    while found := processes_of(home):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


@pytest.fixture
def home(homes: Path) -> Iterator[Path]:
    """A home in a private folder."""
    parent = Path(tempfile.mkdtemp(prefix="private-", dir=homes))
    parent.chmod(0o700)
    home = parent / "home"
    yield home
    kill_all(home)
    shutil.rmtree(data_of(home).parent, ignore_errors=True)  # as root it is outside of the private folder


MakeService = Callable[..., Service]


@pytest.fixture
def make(home: Path) -> MakeService:
    """Services on one home."""

    def make(key: str = "an-admin-key-of-16-or-more", **environment: str) -> Service:
        return Service(home, key, **environment)

    return make


def scored(service: Service) -> str:
    """The id of a score just made."""
    [item] = service.score("text", {"completion": "4", "reference": "4"})["items"]
    assert item["score"] == 1.0
    return str(item["score_id"])


def has(service: Service, score_id: str) -> bool:
    return service.get(f"/scores/{score_id}").status == 200


def end(service: Service, sign: signal.Signals) -> int:
    """Signal the service and wait for its exit code."""
    assert service.process is not None
    service.process.send_signal(sign)
    return service.process.wait(60)


def test_a_killed_service_recovers_and_shares_its_database(make: MakeService, home: Path) -> None:
    modes = [parent.stat().st_mode for parent in home.parents]
    first = make().start()
    kept = scored(first)
    kill_all(home)
    assert first.process is not None
    first.process.wait(60)

    first.start()
    assert has(first, kept)
    second = make().start()
    assert has(second, kept)
    also = scored(second)
    assert has(first, also)
    assert end(first, signal.SIGTERM) in (0, 130, -signal.SIGTERM)
    assert has(second, kept)
    assert has(second, scored(second))
    end(second, signal.SIGINT)
    assert gone(home)
    assert [parent.stat().st_mode for parent in home.parents] == modes


def test_several_processes_serve_as_one_and_all_end(make: MakeService, home: Path) -> None:
    service = make(ASSAY_WORKERS="2").start()
    assert service.process is not None
    while requests(service) < 1:  # the service's own first score
        time.sleep(0.05)
    for number in range(30):
        service.score("text", {"completion": str(number), "reference": "4"})
    assert requests(service) == 31
    metrics = service.get("/metrics", key=None).body.decode()
    items = re.findall(r'assay_items_total\{kind="text",outcome="(?:in)?correct"\} ([0-9.]+)', metrics)
    assert sum(map(float, items)) >= 30
    assert len(re.findall("^# HELP assay_items_total ", metrics, re.MULTILINE)) == 1

    first = service_of(home, running=b"spawn_main")
    assert len(first) == 2
    os.kill(first[0], signal.SIGKILL)
    limit = time.monotonic() + 60
    while len({*service_of(home, running=b"spawn_main")} - {first[0]}) < 2:
        assert time.monotonic() < limit
        time.sleep(0.1)
    scored(service)
    assert requests(service) == 32, "what the killed process counted is not lost"
    end(service, signal.SIGTERM)
    assert gone(home)


def requests(service: Service) -> float:
    metrics = service.get("/metrics", key=None).body.decode()
    found = re.search(
        r'^assay_requests_total\{method="POST",route="/score",status="200"\} ([0-9.]+)', metrics, re.MULTILINE
    )
    return 0.0 if found is None else float(found[1])


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_ended_while_it_starts_leaves_nothing(
    make: MakeService, home: Path, sign: signal.Signals
) -> None:
    service = make()

    def start() -> None:
        with pytest.raises(RuntimeError, match="ended at start"):
            service.start()

    starting = threading.Thread(target=start)
    starting.start()
    while not postgres_of(home):
        assert starting.is_alive()
        time.sleep(0.01)
    end(service, sign)
    starting.join()
    assert gone(home)


def test_another_postgresql_is_used_and_none_is_started(
    make: MakeService, home: Path, empty_database_url: str
) -> None:
    service = make(ASSAY_DATABASE_URL=empty_database_url).start()
    kept = scored(service)
    assert not home.exists()
    end(service, signal.SIGINT)
    service.start()
    assert has(service, kept)
    end(service, signal.SIGINT)
    assert gone(home)
    assert "postgresql://" not in service.log.read_text()


def test_a_fault_of_ours_is_logged_without_what_a_caller_wrote(
    make: MakeService, postgres: EmbeddedPostgres, empty_database_url: str
) -> None:
    service = make(ASSAY_DATABASE_URL=empty_database_url).start()
    database = make_url(empty_database_url).database

    async def break_it() -> None:
        connection = await asyncpg.connect(host=str(postgres.socket_dir), user=postgres.user, database=database)
        await connection.execute("ALTER TABLE scores RENAME COLUMN step TO elsewhere")
        await connection.close()

    asyncio.run(break_it())
    item = {"completion": "confidential", "reference": "confidential"}
    answers = [
        service.get("/scores?run=confidential"),
        service.post("/score", {"verifier": "text", "items": [item], "run": "confidential"}),
    ]
    end(service, signal.SIGINT)
    logged = service.log.read_text()
    for answer in answers:
        assert answer.status == 500
        assert b"confidential" not in answer.body
    assert "UndefinedColumn" in logged or "ProgrammingError" in logged
    assert "confidential" not in logged


def test_a_first_start_shows_a_key_and_a_first_score(make: MakeService, home: Path, empty_database_url: str) -> None:
    service = make("", ASSAY_DATABASE_URL=empty_database_url).start()
    limit = time.monotonic() + 30
    while '"summary"' not in service.log.read_text() and time.monotonic() < limit:
        time.sleep(0.05)
    shown = service.log.read_text()
    [key] = set(re.findall(r"assay_[A-Za-z0-9_-]{43}", shown))
    assert "shown this once" in shown
    answer = re.search(r'^\{"batch_id".*"summary".*\}$', shown, re.MULTILINE)
    assert answer is not None
    assert '"score":1.0,"outcome":"correct"' in answer[0]
    service.key = key
    command = shown[shown.index("curl ") : shown.index("\n\n", shown.index("curl "))]
    repeated = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=60)
    assert '"score":1.0,"outcome":"correct"' in repeated.stdout
    end(service, signal.SIGINT)


def serve(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A service that is expected to end by itself."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
    return subprocess.run(
        [sys.executable, "-c", "from app.cli import main; main(['serve'])"],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(ROOT), "ASSAY_HOME": str(folder / "home"), **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_another_package_named_verifiers_is_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    (foreign / "verifiers").mkdir(parents=True)
    (foreign / "verifiers" / "__init__.py").write_text("def load_environment(): ...\n")
    ended = serve(tmp_path, PYTHONPATH=f"{foreign}:{ROOT}")
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    assert "verifiers" in ended.stderr
    assert str(foreign) in ended.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ASSAY_DATABASE_URL", "mysql://u:sesame@h/d"),
        ("ASSAY_PORT", "taken"),
        ("ASSAY_API_KEY", "too short"),
    ],
)
def test_a_start_that_cannot_be_says_so_in_one_line(tmp_path: Path, variable: str, value: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = serve(tmp_path, **{"ASSAY_PORT": str(free_port()), variable: port if value == "taken" else value})
    assert ended.returncode != 0
    assert variable in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "sesame" not in ended.stderr
    assert not (tmp_path / "home").exists()


# --- accepting connections


def test_several_connections_are_accepted_in_one_turn_of_the_loop() -> None:
    turns = 0
    accepted: list[int] = []

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.append(turns)
            transport.close()

    async def accept(listener: socket.socket, count: int) -> None:
        nonlocal turns
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(Accepted, sock=one) for one in supervisor._several(listener)]
        with contextlib.ExitStack() as clients:
            for _ in range(count):
                clients.enter_context(socket.create_connection(listener.getsockname()))
            while len(accepted) < count:
                turns += 1
                await asyncio.sleep(0)
        for server in servers:
            server.close()

    uvloop.run(accept(socket.create_server(("127.0.0.1", 0)), 40))
    assert max(Counter(accepted).values()) >= supervisor.ACCEPTS

"""The embedded PostgreSQL, against real servers."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from app.store.embedded import EmbeddedPostgres, EmbeddedPostgresError, folders, runtime, server
from app.store.embedded.account import Account, server_account
from app.store.embedded.errors import explain
from app.store.embedded.lock import FileLock, held_alone
from app.store.embedded.postmaster import kill, processes, read_postmaster

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a server as another user")

SERVICE = """
import os, sys, time
from pathlib import Path
import asyncio, asyncpg
from app.store.embedded import EmbeddedPostgres, EmbeddedPostgresError
"""
BECOME = """
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
"""


@pytest.fixture
def account() -> Account:
    return server_account()


@pytest.fixture
def make_home() -> Iterator[Callable[[], Path]]:
    """Homes that the server's user can reach (pytest's own folders are private), emptied of servers at last."""
    parents: list[Path] = []

    def make() -> Path:
        parents.append(Path(tempfile.mkdtemp(prefix="assay-test-", dir="/tmp")))
        parents[-1].chmod(0o755)
        return parents[-1] / "home"

    yield make
    for parent in parents:
        for data in parent.rglob("postgres*/data"):
            end_processes(data)
        shutil.rmtree(parent)


@pytest.fixture
def fresh_home(make_home: Callable[[], Path]) -> Path:
    return make_home()


@pytest.fixture(scope="module")
def used_home() -> Iterator[Path]:
    """A home whose server was started once and stopped: making data takes most of a first start."""
    parent = Path(tempfile.mkdtemp(prefix="assay-test-", dir="/tmp"))
    parent.chmod(0o755)
    postgres = EmbeddedPostgres.start(parent / "home")
    query(postgres, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (0) RETURNING n")
    postgres.stop()
    yield parent / "home"
    shutil.rmtree(parent)


@pytest.fixture
def home(used_home: Path) -> Iterator[Path]:
    """A home with data and no server, which tests share one after the other."""
    yield used_home
    end_processes(used_home / "postgres" / "data")


@pytest.fixture
def own_home(make_home: Callable[[], Path], used_home: Path) -> Path:
    """A copy of it, for a test that breaks it."""
    copy = make_home()
    subprocess.run(["/bin/cp", "-a", used_home, copy], check=True)
    return copy


def end_processes(data: Path) -> None:
    owner = pwd.getpwuid(data.stat().st_uid)
    user = Account(owner.pw_name, owner.pw_uid, owner.pw_gid)
    while found := processes(data, user):
        kill(found, user)
        time.sleep(0.01)


def query(postgres: EmbeddedPostgres, *statements: str) -> Any:
    """Run statements as a client of the service would; the value of the last."""

    async def run() -> Any:
        connection = await asyncpg.connect(
            host=str(postgres.socket_dir), user=postgres.user, database=postgres.database
        )
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])
        finally:
            await connection.close()

    return asyncio.run(run())


def count_up(postgres: EmbeddedPostgres) -> int:
    """Commit a change; the number that is kept since."""
    return int(query(postgres, "UPDATE kept SET n = n + 1 RETURNING n"))


def kept(postgres: EmbeddedPostgres) -> int:
    return int(query(postgres, "SELECT n FROM kept"))


def postmaster_pid(postgres: EmbeddedPostgres) -> int:
    found = read_postmaster(postgres.data_dir)
    assert found is not None
    return found.pid


def kill_hard(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    while (process := Path(f"/proc/{pid}/stat")).exists() and ") Z " not in process.read_text():
        time.sleep(0.001)


def server_ended(postgres: EmbeddedPostgres) -> bool:
    return not held_alone(postgres.base / "server.lock") and not processes(postgres.data_dir, server_account())


def run_service(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process of the service; returns once it has printed `ready`."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE + code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    seen = []
    while (line := process.stdout.readline()) != "ready\n":
        seen.append(line)
        assert line, "".join(seen)
    return process


def end_service(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def tell(process: subprocess.Popen[str]) -> int:
    """Have a service of `UNTIL_TOLD` stop; its exit status."""
    process.communicate("stop\n")
    return process.returncode


HOLD = "postgres = EmbeddedPostgres.start(Path(sys.argv[1])); print('ready', flush=True); time.sleep(600)"
UNTIL_TOLD = (
    "postgres = EmbeddedPostgres.start(Path(sys.argv[1])); print('ready', flush=True)\n"
    "sys.stdin.readline(); postgres.stop()"
)


def test_a_server_starts_answers_and_stops(fresh_home: Path) -> None:
    postgres = EmbeddedPostgres.start(fresh_home)
    assert query(postgres, "SELECT current_user || '/' || current_database()") == "assay/assay"
    assert query(postgres, "SHOW server_version").startswith("18.")
    assert query(postgres, "SELECT pg_encoding_to_char(encoding) FROM pg_database LIMIT 1") == "UTF8"
    assert query(postgres, "SHOW data_checksums") == "on"
    postgres.stop()
    assert server_ended(postgres)
    postgres.stop()
    postgres.ensure_running()
    assert server_ended(postgres), "a watch loop that is late does not start the server again"


def test_data_are_kept_over_a_restart(home: Path) -> None:
    postgres = EmbeddedPostgres.start(home)
    n = count_up(postgres)
    postgres.stop()
    again = EmbeddedPostgres.start(home)
    assert again.dsn == postgres.dsn
    assert kept(again) == n
    again.stop()


def test_the_url_serves_sqlalchemy_whatever_the_environment_says(
    home: Path, monkeypatch: pytest.MonkeyPatch, account: Account
) -> None:
    for name, value in {
        "PGHOST": "192.0.2.1",
        "PGPORT": "1",
        "PGUSER": "nobody",
        "PGDATABASE": "x",
        "PGDATA": "/x",
        "PGOPTIONS": "-c fsync=off",
    }.items():
        monkeypatch.setenv(name, value)
    postgres = EmbeddedPostgres.start(home)

    async def ask() -> object:
        engine = create_async_engine(postgres.dsn)
        async with engine.connect() as connection:
            value = (await connection.execute(text("SELECT current_database()"))).scalar()
        await engine.dispose()
        return value

    assert asyncio.run(ask()) == "assay"
    environment = account.run("/bin/cat", f"/proc/{postmaster_pid(postgres)}/environ").stdout
    assert "LC_ALL=C" in environment
    assert "PGOPTIONS" not in environment
    assert "PGHOST" not in environment
    postgres.stop()


def test_only_the_socket_only_known_users_nothing_unsafe(home: Path, account: Account) -> None:
    postgres = EmbeddedPostgres.start(home)
    rules = (postgres.data_dir / "pg_hba.conf").read_text()
    assert "trust" not in rules
    assert rules.split() == ["local", "all", "all", "peer", "map=service"]
    assert query(postgres, "SHOW listen_addresses") == ""
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert query(postgres, f"SHOW {setting}") == "on"
    assert query(postgres, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    folder = postgres.socket_dir.stat()
    assert (folder.st_uid, stat.S_IMODE(folder.st_mode)) == (account.uid, 0o700)
    assert stat.S_IMODE(postgres.data_dir.stat().st_mode) == 0o700
    for name in ("control.lock", "share.lock", "server.lock", "log"):
        assert stat.S_IMODE((postgres.base / name).stat().st_mode) == 0o600
    postgres.stop()


def test_a_killed_server_is_healed(home: Path) -> None:
    postgres = EmbeddedPostgres.start(home)
    n = count_up(postgres)
    first = postmaster_pid(postgres)
    postgres.ensure_running()
    assert postmaster_pid(postgres) == first, "a server that runs is left alone"
    kill_hard(first)
    postgres.ensure_running()
    assert postmaster_pid(postgres) != first
    assert kept(postgres) == n
    postgres.stop()
    assert server_ended(postgres)


def test_a_hung_process_of_a_killed_server_is_ended(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "GRACE_S", 0.2)
    postgres = EmbeddedPostgres.start(home)
    n = count_up(postgres)
    first = postmaster_pid(postgres)
    hung = next(pid for pid in processes(postgres.data_dir, server_account()) if pid != first)
    os.kill(hung, signal.SIGSTOP)
    kill_hard(first)
    postgres.ensure_running()
    assert kept(postgres) == n
    postgres.stop()


def test_a_server_whose_socket_was_removed_is_started_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "GRACE_S", 0.2)
    postgres = EmbeddedPostgres.start(home)
    shutil.rmtree(postgres.socket_dir)
    postgres.ensure_running()
    assert query(postgres, "SELECT 1") == 1
    postgres.stop()


@pytest.mark.parametrize("pid_file", ["as it was left", "names another live process", "is empty"])
def test_a_start_recovers_after_everything_was_killed(home: Path, account: Account, pid_file: str) -> None:
    service = run_service(HOLD, home)
    data = home / "postgres" / "data"
    reader = EmbeddedPostgres.start(home)
    n = count_up(reader)
    service.kill()
    end_processes(data)
    service.communicate()
    # A process of the very user that PostgreSQL would ask about, under the pid of the dead server.
    other = subprocess.Popen(["/bin/sh", "-c", "read wait"], stdin=subprocess.PIPE, **account.process_options())
    left = data / "postmaster.pid"
    lines = left.read_text().splitlines(keepends=True)
    if pid_file == "names another live process":
        left.write_text("".join([f"{other.pid}\n", *lines[1:]]))
        (reader.socket_dir / ".s.PGSQL.5432.lock").write_text("".join([f"{other.pid}\n", *lines[1:5]]))
    elif pid_file == "is empty":
        left.write_text("")
    postgres = EmbeddedPostgres.start(home)
    assert kept(postgres) == n
    assert "automatic recovery in progress" in (postgres.base / "log").read_text()
    reader.stop()
    postgres.stop()
    assert other.poll() is None, "the process that had the pid was left alone"
    other.communicate()


def test_two_services_share_one_server_and_the_last_stops_it(home: Path) -> None:
    other = run_service(UNTIL_TOLD, home)
    postgres = EmbeddedPostgres.start(home)
    first = postmaster_pid(postgres)
    assert tell(other) == 0
    postgres.ensure_running()
    assert postmaster_pid(postgres) == first, "the first to leave leaves the server to the other"
    other = run_service(UNTIL_TOLD, home)
    kill_hard(first)
    postgres.ensure_running()
    assert query(postgres, "SELECT 1") == 1
    second = postmaster_pid(postgres)
    postgres.stop()
    assert read_postmaster(postgres.data_dir) is not None
    assert second in processes(postgres.data_dir, server_account()), "whoever started it"
    assert tell(other) == 0
    assert server_ended(postgres)
    postgres._reap()


def test_services_that_heal_it_at_once_start_one_server(home: Path) -> None:
    services = [EmbeddedPostgres.start(home) for _ in range(3)]
    n = count_up(services[0])
    written = (services[0].base / "log").stat().st_size
    kill_hard(postmaster_pid(services[0]))
    with ThreadPoolExecutor() as threads:
        for healed in [threads.submit(service.ensure_running) for service in services]:
            healed.result()
    assert (services[0].base / "log").read_text()[written:].count("automatic recovery in progress") == 1
    for service in services:
        assert kept(service) == n
        service.stop()
    assert server_ended(services[0])


def test_a_server_left_by_a_killed_service_is_adopted_and_stopped(home: Path) -> None:
    service = run_service(HOLD, home)
    left = read_postmaster(home / "postgres" / "data")
    end_service(service)
    postgres = EmbeddedPostgres.start(home)
    assert left is not None
    assert postmaster_pid(postgres) == left.pid
    assert os.getsid(left.pid) != os.getsid(0), "Ctrl-C in the service's terminal does not reach it"
    postgres.stop()
    assert server_ended(postgres), "the killed service's share ended with it"


def test_the_server_inherits_no_descriptor_of_the_service(home: Path) -> None:
    own = FileLock(home / "a lock of the service")
    os.set_inheritable(own.fd, True)
    fcntl.flock(own.fd, fcntl.LOCK_EX)
    postgres = EmbeddedPostgres.start(home)
    own.close()
    assert not held_alone(home / "a lock of the service")
    for name in ("control.lock", "share.lock"):
        assert not held_alone(postgres.base / name)
    postgres.stop()


def test_a_start_that_was_killed_half_way_does_no_harm(fresh_home: Path) -> None:
    service = subprocess.Popen(
        [sys.executable, "-c", SERVICE + HOLD, fresh_home],
        stdout=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    while not (fresh_home / "postgres" / "data.new" / "base").exists():
        assert service.poll() is None
        time.sleep(0.001)
    service.kill()
    service.wait()
    assert not (fresh_home / "postgres" / "data").exists()
    postgres = EmbeddedPostgres.start(fresh_home)
    assert query(postgres, "SELECT 1") == 1
    assert not (fresh_home / "postgres" / "data.new").exists()
    postgres.stop()


def test_data_of_another_version_are_refused(own_home: Path) -> None:
    (own_home / "postgres" / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedPostgresError, match="version 17, and this service brings version 18"):
        EmbeddedPostgres.start(own_home)


def test_a_server_that_cannot_start_says_why(own_home: Path) -> None:
    (own_home / "postgres" / "data" / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedPostgresError, match=r"did not start.*\n(.*\n)*.*pg_control"):
        EmbeddedPostgres.start(own_home)
    assert not held_alone(own_home / "postgres" / "server.lock")


def test_a_home_that_is_no_folder_is_named(fresh_home: Path) -> None:
    fresh_home.write_text("")
    with pytest.raises(EmbeddedPostgresError, match=str(fresh_home)):
        EmbeddedPostgres.start(fresh_home)


def test_data_that_vanished_are_not_replaced_under_a_running_service(own_home: Path) -> None:
    postgres = EmbeddedPostgres.start(own_home)
    end_processes(postgres.data_dir)
    postgres.data_dir.rename(own_home / "moved away")
    with pytest.raises(EmbeddedPostgresError):
        postgres.ensure_running()
    assert not postgres.data_dir.exists()
    postgres.stop()


def test_a_server_that_another_started_on_the_data_is_not_touched(home: Path, account: Account) -> None:
    command = runtime.programs(account) / "pg_ctl", "-D", home / "postgres" / "data"
    options = f"-k {home / 'postgres' / 'socket'}"
    started = subprocess.run(
        [*command, "-w", "-l", "/dev/null", "-o", options, "start"], check=True, **account.process_options()
    )
    assert started.returncode == 0
    with pytest.raises(EmbeddedPostgresError, match="that this service did not start"):
        EmbeddedPostgres.start(home)
    assert account.run(*command, "-m", "fast", "stop").returncode == 0


def test_the_log_holds_no_text_of_a_caller(home: Path) -> None:
    postgres = EmbeddedPostgres.start(home)
    query(postgres, "CREATE TABLE texts (body text CHECK (length(body) < 5))", "SELECT 1")
    with pytest.raises(asyncpg.CheckViolationError, match="texts_body_check"):
        query(postgres, "INSERT INTO texts VALUES ('a secret completion')", "SELECT 1")
    logged = (postgres.base / "log").read_text()
    assert "texts_body_check" in logged
    assert "secret" not in logged
    postgres.stop()


def test_the_log_is_bounded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres = EmbeddedPostgres.start(home)
    monkeypatch.setattr(server, "LOG_BYTES", 10)
    postgres.ensure_running()
    assert (postgres.base / "log").stat().st_size == 0
    assert "ready to accept connections" in (postgres.base / "log.1").read_text()
    postgres.stop()
    assert (postgres.base / "log").read_bytes()[:4] == b"%d" % time.gmtime().tm_year, "appended, no hole before it"


@pytest.mark.parametrize("name", ["a" * 120, "comma, colon: and %2C 'quotes' \"", "é\udcff"])
def test_any_path_of_a_home_works(fresh_home: Path, name: str) -> None:
    postgres = EmbeddedPostgres.start(fresh_home / name)
    assert query(postgres, "SELECT 1") == 1
    assert make_url(postgres.dsn).query["host"] == str(postgres.socket_dir)
    postgres.stop()
    if postgres.socket_dir.parent != postgres.base:
        postgres.socket_dir.rmdir()


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=150))
def test_every_socket_path_is_short_and_safe_in_a_url(name: str) -> None:
    folder = folders.socket_folder(Path("/srv") / name, Account("x", 1, 1))
    assert len(os.fsencode(folder / folders.SOCKET_NAME)) <= 107
    assert make_url(f"postgresql+asyncpg://x@/x?host={quote(str(folder))}").query["host"] == str(folder)


def test_a_planted_socket_folder_is_refused(
    fresh_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, account: Account
) -> None:
    monkeypatch.setattr(folders, "SHORT_FOLDER", tmp_path)
    long = fresh_home / ("a" * 120)
    planted = folders.socket_folder(long / "postgres", account)
    planted.symlink_to(tmp_path)
    with pytest.raises(EmbeddedPostgresError, match="is not a folder of the OS user"):
        EmbeddedPostgres.start(long)
    planted.unlink()
    if os.geteuid() == 0:
        planted.mkdir()
        os.chown(planted, 65534, 65534)
        with pytest.raises(EmbeddedPostgresError, match="is not a folder of the OS user"):
            EmbeddedPostgres.start(long)


@as_root
def test_a_private_home_of_root_keeps_its_mode(
    make_home: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    system, home = make_home(), make_home()
    monkeypatch.setattr(folders, "SYSTEM_FOLDER", system)
    home.mkdir(0o700)
    before = [(folder, folder.stat().st_mode) for folder in (home, *home.parents)]
    postgres = EmbeddedPostgres.start(home)
    query(postgres, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (0) RETURNING n")
    n = count_up(postgres)
    assert postgres.data_dir.is_relative_to(system)
    assert str(postgres.data_dir.parent) in (home / folders.POINTER).read_text()
    postgres.stop()
    assert [(folder, folder.stat().st_mode) for folder in (home, *home.parents)] == before
    # Opened since: the data are still found where they are.
    home.chmod(0o755)
    again = EmbeddedPostgres.start(home)
    assert kept(again) == n
    again.stop()
    os.chown(home / folders.POINTER, 65534, 65534)
    with pytest.raises(EmbeddedPostgresError, match="belongs to another OS user"):
        EmbeddedPostgres.start(home)


@as_root
def test_a_home_made_private_after_its_data_is_an_error_not_an_empty_database(own_home: Path) -> None:
    own_home.chmod(0o700)
    with pytest.raises(EmbeddedPostgresError, match="can no longer reach its data"):
        EmbeddedPostgres.start(own_home)
    assert stat.S_IMODE(own_home.stat().st_mode) == 0o700


@as_root
def test_programs_out_of_reach_are_copied_once(
    make_home: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    system, private = make_home(), make_home()
    private.mkdir(0o700)
    for name in (runtime.PACKAGE, runtime.LIBRARIES.name):
        (private / name).symlink_to(runtime._site() / name)
    monkeypatch.setattr(folders, "SYSTEM_FOLDER", system)
    monkeypatch.setattr(runtime, "_site", lambda: private)
    found = runtime.programs(server_account())
    assert found.is_relative_to(system / "runtime")
    made = found.stat().st_ctime_ns
    postgres = EmbeddedPostgres.start(make_home())
    assert query(postgres, "SELECT 1") == 1
    postgres.stop()
    assert found.stat().st_ctime_ns == made
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


@as_root
def test_data_of_another_user_are_refused(own_home: Path) -> None:
    os.chown(own_home / "postgres" / "data", 65534, 65534)
    with pytest.raises(EmbeddedPostgresError, match="belongs to another OS user"):
        EmbeddedPostgres.start(own_home)


@as_root
def test_an_ordinary_user_runs_it_as_that_user(
    make_home: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, system = make_home(), make_home()
    home.mkdir()
    os.chown(home, 65534, 65534)
    entry = pwd.getpwuid(65534)
    nobody = Account(entry.pw_name, 65534, entry.pw_gid)
    # The programs of a test run below a private folder are out of that user's reach.
    monkeypatch.setattr(folders, "SYSTEM_FOLDER", system)
    site = runtime.programs(nobody).parents[2]
    code = f"from app.store.embedded import runtime; runtime._site = lambda: Path({str(site)!r})\n" + BECOME
    service = run_service(code + UNTIL_TOLD, home, 65534)
    data = home / "postgres" / "data"
    assert data.stat().st_uid == 65534
    assert processes(data, nobody)
    assert stat.S_IMODE((home / "postgres").stat().st_mode) == 0o700
    assert tell(service) == 0
    assert not processes(data, nobody)


@as_root
@pytest.mark.parametrize("user", ["assay", "postgres", "nobody"])
def test_another_user_cannot_connect(home: Path, user: str) -> None:
    postgres = EmbeddedPostgres.start(home)
    code = (
        BECOME + "try:\n"
        "    asyncio.run(asyncpg.connect(host=sys.argv[1], user=sys.argv[3], database='assay'))\n"
        "except (OSError, asyncpg.PostgresError) as error:\n"
        "    sys.exit(type(error).__name__)\n"
    )
    command = [sys.executable, "-c", SERVICE + code, str(postgres.socket_dir), "65534", user]

    def refusal() -> str:
        done = subprocess.run(command, stderr=subprocess.PIPE, encoding="utf-8", env=ENVIRONMENT, check=False)
        return done.stderr.strip()

    assert refusal() == "PermissionError"
    # The server itself refuses whom the folders let through.
    postgres.socket_dir.chmod(0o755)
    (postgres.socket_dir / folders.SOCKET_NAME).chmod(0o777)
    assert refusal() == "InvalidAuthorizationSpecificationError"
    assert query(postgres, "SELECT 1") == 1
    postgres.stop()


@as_root
def test_a_full_disk_is_named(fresh_home: Path) -> None:
    fresh_home.mkdir()
    mount = shutil.which("mount")
    if (
        not mount
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=8m", "tmpfs", fresh_home], check=False).returncode
    ):
        pytest.skip("mounting a small file system is not allowed here")
    try:
        fresh_home.chmod(0o755)
        with pytest.raises(EmbeddedPostgresError, match="free some space on the disk"):
            EmbeddedPostgres.start(fresh_home)
    finally:
        subprocess.run([shutil.which("umount") or "umount", fresh_home], check=True)


def test_advice_follows_the_cause() -> None:
    output = "a\n\nFATAL: could not create shared memory segment: No space left on device\n"
    error = explain("it did not start", output, "/srv/data")
    assert str(error).startswith("it did not start. What to do: allow System V shared memory here")
    assert str(error).endswith("FATAL: could not create shared memory segment: No space left on device")

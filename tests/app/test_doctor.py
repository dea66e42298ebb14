"""`assay doctor`: every check, on a host in order and on one that is not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import SecretStr

import app
from app import doctor
from app.cli import main
from app.doctor import Finding, Host, Status
from app.guarded.spawner import Spawner, SpawnError
from app.host_memory import available_memory
from app.settings import Settings
from app.store.embedded import EmbeddedPostgres, runtime
from tests.app.fake_sandbox import FakePool
from tests.service import Service, free_port

OK, WARNING, PROBLEM = Status.OK, Status.WARNING, Status.PROBLEM


def host(url: str | None = None, **settings: Any) -> Host:
    return Host(Settings(_env_file=None, **settings), url)


def assert_helpful(finding: Finding, status: Status, *said: str) -> None:
    """A finding that is not ok says what is the matter, and what to do."""
    assert finding.status is status
    assert finding.todo
    for words in said:
        assert words in finding.message + finding.todo


class TestInstallation:
    def test_in_order(self) -> None:
        findings = {finding.name: finding for finding in (check() for check in doctor.INSTALLATION_CHECKS)}
        assert set(findings) == {"python", "environment", "packages", "verifiers"}
        for name in ("python", "packages", "verifiers"):
            assert (findings[name].status, findings[name].todo) == (OK, "")

    def test_an_old_python(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "version_info", (3, 10, 14, "final", 0))
        assert_helpful(doctor.check_python(), PROBLEM, "3.10.14", "3.11")

    def test_no_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "prefix", sys.base_prefix)
        assert_helpful(doctor.check_environment(), WARNING, "make run")
        monkeypatch.setattr(sys, "prefix", "/somewhere/.venv")
        assert doctor.check_environment().status is OK

    def test_a_package_that_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        required = ["typer", "no-such-thing>=2; python_version > '3'", "not.there[extra]", 'unused; extra == "dev"']
        monkeypatch.setattr(importlib.metadata, "requires", lambda _: required)
        finding = doctor.check_packages()
        assert_helpful(finding, PROBLEM, "make run")
        assert finding.message == "missing: no-such-thing, not.there"

    def test_a_tree_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(name: str) -> None:
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(importlib.metadata, "requires", missing)
        assert_helpful(doctor.check_packages(), WARNING, "make run")

    def test_verifiers_of_somebody_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        other = ModuleSpec("verifiers", None, origin="/elsewhere/site-packages/verifiers/__init__.py")
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: other)
        ours = str(Path(app.__file__).parent.parent)
        assert_helpful(doctor.check_verifiers(), PROBLEM, "/elsewhere/site-packages", ours, "make run")
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        assert_helpful(doctor.check_verifiers(), PROBLEM, "missing")


class Disk(NamedTuple):
    total: int
    used: int
    free: int


class TestHome:
    async def test_in_order_and_untouched(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(2**40, 0, 2**40))
        home = tmp_path / "a" / "b"
        finding = await doctor.check_home(host(home=home))
        assert finding.status is OK
        assert str(home) in finding.message
        assert not home.parent.exists()

    async def test_a_file_in_its_place(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for home in (tmp_path / "file", tmp_path / "file" / "home"):
            assert_helpful(await doctor.check_home(host(home=home)), PROBLEM, str(tmp_path / "file"), "ASSAY_HOME")

    async def test_a_folder_that_cannot_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "access", lambda path, mode: path.exists() and (mode == os.F_OK or path != tmp_path))
        assert_helpful(await doctor.check_home(host(home=tmp_path / "home")), PROBLEM, str(tmp_path), "ASSAY_HOME")

    @pytest.mark.parametrize(("free", "status"), [(2**20, PROBLEM), (2**30, WARNING)])
    async def test_little_room(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: Status
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(2**40, 0, free))
        assert_helpful(await doctor.check_home(host(home=tmp_path)), status, "GiB free", "ASSAY_HOME")


class TestMemory:
    @pytest.fixture
    def proc(self, tmp_path: Path) -> Path:
        proc = tmp_path / "proc"
        proc.mkdir()
        (proc / "meminfo").write_text(
            "MemTotal:       33554432 kB\nMemAvailable:    8388608 kB\nHugePages_Total:   0\n"
        )
        return proc

    def test_of_the_host(self, proc: Path, tmp_path: Path) -> None:
        assert available_memory(proc, tmp_path) == 8 * 2**30

    @pytest.mark.parametrize(
        ("limit", "used", "free"),
        [("max", 5, 8 * 2**30), (3 * 2**30, 2**30, 2 * 2**30), (2**63 - 4096, 2**30, 8 * 2**30), (2**20, 2**21, 0)],
    )
    @pytest.mark.parametrize("names", ["memory.max memory.current", "memory.limit_in_bytes memory.usage_in_bytes"])
    def test_of_a_container(
        self, proc: Path, tmp_path: Path, limit: object, used: int, free: int, names: str
    ) -> None:
        group = tmp_path / ("" if "max" in names else "memory")
        group.mkdir(exist_ok=True)
        for name, value in zip(names.split(), (limit, used), strict=True):
            (group / name).write_text(f"{value}\n")
        assert available_memory(proc, tmp_path) == free

    @pytest.mark.parametrize(("free", "status"), [(2**20, PROBLEM), (2**30, WARNING)])
    async def test_little(self, monkeypatch: pytest.MonkeyPatch, free: int, status: Status) -> None:
        monkeypatch.setattr(doctor, "available_memory", lambda: free)
        assert_helpful(await doctor.check_memory(host()), status, "GiB available", "memory")


class TestPostgres:
    async def test_embedded(self) -> None:
        finding = await doctor.check_postgres(host())
        assert finding.status is OK
        assert "PostgreSQL" in finding.message

    async def test_embedded_that_is_missing_or_broken(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        package = tmp_path / runtime.PACKAGE / "__init__.py"
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None, origin=str(package)))
        assert_helpful(await doctor.check_postgres(host()), PROBLEM, "does not run", "ASSAY_DATABASE_URL")
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        assert_helpful(await doctor.check_postgres(host()), PROBLEM, runtime.DISTRIBUTION, "ASSAY_DATABASE_URL")

    async def test_root_without_a_user_to_run_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(shutil, "which", lambda _: None)
        monkeypatch.setattr("pwd.getpwall", list)
        assert_helpful(await doctor.check_postgres(host()), PROBLEM, "useradd", "ordinary user")

    async def test_one_that_answers(self, postgres: EmbeddedPostgres) -> None:
        url = f"postgresql://{postgres.user}@/{postgres.database}?host={postgres.socket_dir}"
        finding = await doctor.check_postgres(host(database_url=SecretStr(url)))
        assert finding.status is OK
        assert postgres.database in finding.message

    @pytest.mark.parametrize("url", ["mysql://u:hush@h/d", "nonsense hush", "postgresql://u:hush@h:port/d"])
    async def test_a_url_that_is_none(self, url: str) -> None:
        finding = await doctor.check_postgres(host(database_url=SecretStr(url)))
        assert_helpful(finding, PROBLEM, "ASSAY_DATABASE_URL", "postgresql://")
        assert "hush" not in finding.message

    async def test_one_that_does_not_answer(self) -> None:
        url = f"postgresql://u:hush@127.0.0.1:{free_port()}/d"
        finding = await doctor.check_postgres(host(database_url=SecretStr(url)))
        assert_helpful(finding, PROBLEM, "127.0.0.1", "ASSAY_DATABASE_URL")
        assert "hush" not in finding.message


class TestScratch:
    async def test_embedded(self) -> None:
        finding = await doctor.check_scratch(host())
        assert finding.status is OK
        assert "embedded" in finding.message

    async def test_one_that_will_not_do(self, postgres: EmbeddedPostgres) -> None:
        url = f"postgresql://{postgres.user}@/{postgres.database}?host={postgres.socket_dir}"
        finding = await doctor.check_scratch(host(scratch_database_url=SecretStr(url)))
        assert_helpful(finding, PROBLEM, "no superuser", "docs/settings.md")

    @pytest.mark.parametrize("url", ["nonsense hush", "postgresql://u:hush@127.0.0.1:1/d"])
    async def test_one_that_does_not_answer(self, url: str) -> None:
        finding = await doctor.check_scratch(host(scratch_database_url=SecretStr(url)))
        assert finding.status is PROBLEM
        assert "hush" not in finding.message


class TestWorkers:
    async def test_kinds_prove_themselves(self) -> None:
        finding = await doctor.check_workers(host())
        assert finding.status is OK, finding.message
        assert "math" in finding.message

    async def test_kinds_that_lack_a_sandbox_are_no_problem(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("app.services.opened_sandbox", lambda *_, **__: FakePool(unavailable="start Docker"))
        finding = await doctor.check_workers(host())
        assert finding.status is OK
        assert "for want of a sandbox not tried: code" in finding.message

    async def test_workers_that_do_not_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def fail(spawner: Spawner) -> None:
            await spawner.close()  # as one that ended while it imported is, before it is told of
            raise SpawnError("no more processes")

        monkeypatch.setattr(Spawner, "ready", fail)
        assert_helpful(await doctor.check_workers(host()), PROBLEM, "no more processes", "unscored")


class TestSandbox:
    @pytest.fixture
    def pool(self, monkeypatch: pytest.MonkeyPatch) -> FakePool:
        pool = FakePool()
        monkeypatch.setattr("app.services.opened_sandbox", lambda settings, cells: pool)
        return pool

    async def test_one_that_works(self, pool: FakePool) -> None:
        finding = await doctor.check_sandbox(host())
        assert (finding.status, finding.message) == (OK, "local (as the test says): python, cpp")

    @pytest.mark.parametrize(("asked", "status"), [("auto", WARNING), ("docker", PROBLEM), ("local", PROBLEM)])
    async def test_none_is_a_problem_where_one_was_asked_for(
        self, pool: FakePool, asked: str, status: Status
    ) -> None:
        pool.unavailable = "no engine answers; start Docker"
        finding = await doctor.check_sandbox(host(sandbox=asked))
        assert_helpful(finding, status, f"ASSAY_SANDBOX is {asked}", "start Docker", "docs/sandbox.md")

    async def test_whatever_this_machine_has_is_told(self) -> None:
        finding = await doctor.check_sandbox(host(sandbox="docker", sandbox_image="no-such-image:at-all"))
        assert_helpful(finding, PROBLEM, "ASSAY_SANDBOX is docker")


@contextmanager
def answering(status: int, content: bytes) -> Iterator[int]:
    """The port of a server that answers every GET like that."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Tests say nothing on stderr."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def readiness(*, database: bool = True, sandbox: str | None = None, **failed: str) -> bytes:
    kinds = {kind: {"ready": kind not in failed, "reason": failed.get(kind)} for kind in ("code", "math", "text")}
    body = {"status": "ready", "database": database, "kinds": kinds}
    body["sandbox"] = {"backend": None if sandbox else "docker", "ready": not sandbox, "reason": sandbox}
    return json.dumps(body).encode()


class TestService:
    async def test_one_that_is_ready(self, service: Service) -> None:
        for found in (host(port=service.port), host(url=f"{service.url}/")):
            finding = await doctor.check_service(found)
            assert finding.status is OK
            assert f"ready at {service.url}: " in finding.message
            assert "math" in finding.message

    async def test_none(self) -> None:
        port = free_port()
        finding = await doctor.check_service(host(port=port))
        assert (finding.status, finding.message) == (
            OK,
            f"not running; http://127.0.0.1:{port} is free for 'assay serve'",
        )
        assert_helpful(await doctor.check_service(host(url=f"http://127.0.0.1:{port}")), PROBLEM, "--url")

    async def test_an_address_that_is_not_ours(self) -> None:
        finding = await doctor.check_service(host(host="192.0.2.1", port=free_port()))
        assert_helpful(finding, PROBLEM, "192.0.2.1", "ASSAY_HOST")

    async def test_a_port_held_by_what_does_not_answer(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            finding = await doctor.check_service(host(port=taken.getsockname()[1]))
        assert_helpful(finding, PROBLEM, "cannot listen", "ASSAY_PORT")

    @pytest.mark.parametrize(("status", "content"), [(200, b"<html>"), (404, b"{}"), (200, b"[]"), (200, b"\xff")])
    async def test_something_else_on_the_port(self, status: int, content: bytes) -> None:
        with answering(status, content) as port:
            finding = await doctor.check_service(host(port=port))
        assert_helpful(finding, PROBLEM, "is not Assay", "ASSAY_PORT")

    async def test_a_kind_that_is_not_ready(self) -> None:
        with answering(200, readiness(math="known item 0 scored 0")) as port:
            finding = await doctor.check_service(host(port=port))
        assert_helpful(finding, PROBLEM, "math: known item 0 scored 0", "log")
        assert "text" not in finding.message

    async def test_a_service_without_a_sandbox(self) -> None:
        with answering(200, readiness(sandbox="start Docker", code="start Docker")) as port:
            finding = await doctor.check_service(host(port=port))
        assert_helpful(finding, WARNING, "math, text", "not code: start Docker", "docs/sandbox.md")
        with answering(200, readiness(sandbox="start Docker", code="start Docker", math="broken")) as port:
            assert_helpful(await doctor.check_service(host(port=port)), PROBLEM, "math: broken")

    async def test_a_service_without_its_database(self) -> None:
        with answering(503, readiness(database=False)) as port:
            finding = await doctor.check_service(host(port=port))
        assert_helpful(finding, PROBLEM, "database", "log")


class TestCommand:
    @pytest.fixture(autouse=True)
    def no_settings(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in [name for name in os.environ if name.startswith("ASSAY_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("ASSAY_HOME", str(tmp_path))

    @staticmethod
    def run(capsys: pytest.CaptureFixture[str]) -> tuple[object, list[str], str]:
        with pytest.raises(SystemExit) as ended:
            main(["doctor"])
        shown = capsys.readouterr()
        return ended.value.code, shown.out.splitlines(), shown.err

    def test_all_is_well(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, service: Service
    ) -> None:
        monkeypatch.setenv("ASSAY_PORT", str(service.port))
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(2**40, 0, 2**40))
        code, lines, said = self.run(capsys)
        assert code == 0, lines
        assert said == ""
        names = [line.split()[1] for line in lines if line.startswith(("ok", "warning"))]
        assert names == [
            "python", "environment", "packages", "verifiers", "home", "memory", "postgresql", "scratch", "sandbox",
            "kinds", "service",
        ]  # fmt: skip

    def test_a_problem_is_said_with_what_to_do(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ASSAY_URL", f"http://127.0.0.1:{free_port()}")
        code, lines, said = self.run(capsys)
        assert (code, said) == (1, "1 problem\n")
        assert lines[-2].startswith("problem  service")
        assert lines[-1].strip().startswith("-> ")

    def test_settings_that_are_wrong(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ASSAY_PORT", "many")
        code, lines, _ = self.run(capsys)
        assert code == 1
        assert lines[-2].startswith("problem  settings     ASSAY_PORT: ")

    def test_a_broken_installation_is_all_that_is_looked_at(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importlib.metadata, "requires", lambda _: ["no-such-thing"])
        code, lines, _ = self.run(capsys)
        assert code == 1
        assert not any("postgresql" in line for line in lines)

"""What `assay doctor` looks at on this machine. A check is a function that returns one `Finding`."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import app
from app.host_memory import available_memory

if TYPE_CHECKING:
    from app.settings import Settings
    from sandbox.pool import SandboxPool

MIB, GIB = 2**20, 2**30
LEAST_PYTHON = (3, 11)
LEAST_DISK, LITTLE_DISK = 512 * MIB, 5 * GIB
"""Free bytes below which the database cannot be made, or will soon be full."""
LEAST_MEMORY, LITTLE_MEMORY = 512 * MIB, 2 * GIB
"""Available bytes below which the service cannot start, or a guarded worker at its limit leaves nothing over."""
PROBE_S = 5.0
RUN_S = 30.0
SANDBOX_DOCS = "docs/sandbox.md has what each backend needs; until then code is left unscored, and other kinds serve"
SET_UP = "'make run' sets up an environment with all that Assay needs"


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `todo` says what to do, wherever the status is not ok."""

    name: str
    status: Status
    message: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """What the checks of the host are told: the settings, and the service's URL where it was given."""

    settings: Settings
    url: str | None


def check_python() -> Finding:
    """The interpreter is new enough."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < LEAST_PYTHON:
        least = ".".join(map(str, LEAST_PYTHON))
        return Finding(
            "python", Status.PROBLEM, version, f"install Python {least} or newer, then make PYTHON=/path/to/it run"
        )
    return Finding("python", Status.OK, f"{version} at {sys.executable}")


def check_environment() -> Finding:
    """Assay has an environment of its own."""
    if sys.prefix == sys.base_prefix:
        return Finding("environment", Status.WARNING, "not a virtual environment", SET_UP)
    return Finding("environment", Status.OK, sys.prefix)


def check_packages() -> Finding:
    """Every package that Assay requires is installed."""
    try:
        required = importlib.metadata.requires("assay") or []
    except importlib.metadata.PackageNotFoundError:
        message = "a source tree that is not installed, so that its requirements are not known"
        return Finding("packages", Status.WARNING, message, SET_UP)
    names = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in required if "extra ==" not in line]
    missing = [name for name in names if not _installed(name)]
    if missing:
        return Finding("packages", Status.PROBLEM, f"missing: {', '.join(missing)}", SET_UP)
    return Finding("packages", Status.OK, f"all {len(names)} are installed")


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def check_verifiers() -> Finding:
    """`verifiers` is Assay's package, and not the public one of that name."""
    ours = Path(app.__file__).resolve().parent.parent
    spec = importlib.util.find_spec("verifiers")
    if spec is None or spec.origin is None:
        return Finding("verifiers", Status.PROBLEM, "Assay's package 'verifiers' is missing", SET_UP)
    theirs = Path(spec.origin).resolve().parent.parent
    if ours != theirs:
        message = f"the package 'verifiers' was found in {theirs}, not in {ours}"
        return Finding("verifiers", Status.PROBLEM, message, f"give Assay an environment of its own: {SET_UP}")
    return Finding("verifiers", Status.OK, f"Assay's own, in {ours}")


async def check_home(host: Host) -> Finding:
    """The folder for data can be written, and its disk has room."""
    home = host.settings.home.absolute()
    # not Path.exists, which raises below a folder that is closed to this user
    existing = next(folder for folder in (home, *home.parents) if os.access(folder, os.F_OK))
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        message = f"{existing} is not a folder that this user can write in"
        return Finding("home", Status.PROBLEM, message, "set ASSAY_HOME to one, or change its owner or mode")
    free = shutil.disk_usage(existing).free
    message = f"{home}, {free / GIB:.1f} GiB free"
    if free < LITTLE_DISK:
        status = Status.PROBLEM if free < LEAST_DISK else Status.WARNING
        return Finding("home", status, message, "free some space, or set ASSAY_HOME to a folder on another disk")
    return Finding("home", Status.OK, message)


async def check_memory(host: Host) -> Finding:
    """There is memory for the service and its guarded workers."""
    free = available_memory()
    message = f"{free / GIB:.1f} GiB available"
    if free < LITTLE_MEMORY:
        status = Status.PROBLEM if free < LEAST_MEMORY else Status.WARNING
        return Finding("memory", status, message, "give this host or container more memory")
    return Finding("memory", Status.OK, message)


async def check_postgres(host: Host) -> Finding:
    """The configured PostgreSQL answers, or the embedded one can run."""
    if host.settings.database_url is None:
        return _embedded_postgres()
    from app.store.database import Database

    try:
        database = Database(host.settings.database_url.get_secret_value(), 1)
    except Exception as error:  # what SQLAlchemy raises quotes the URL, and with it the password
        return Finding(
            "postgresql",
            Status.PROBLEM,
            f"ASSAY_DATABASE_URL cannot be used ({type(error).__name__})",
            "write it as postgresql://user:password@host/database",
        )
    where = f"{database.url.host or database.url.query.get('host')}, database {database.url.database}"
    try:
        if await database.reachable():
            return Finding("postgresql", Status.OK, f"answers at {where}")
    finally:
        await database.close()
    return Finding(
        "postgresql",
        Status.PROBLEM,
        f"no answer at {where}",
        "check ASSAY_DATABASE_URL and that the server runs, or unset it to use the embedded PostgreSQL",
    )


def _embedded_postgres() -> Finding:
    from app.store.embedded.account import SYSTEM_USER
    from app.store.embedded.runtime import DISTRIBUTION, PACKAGE, PROGRAMS

    elsewhere = "or set ASSAY_DATABASE_URL to use another PostgreSQL"
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return Finding("postgresql", Status.PROBLEM, f"{DISTRIBUTION} is missing", f"{SET_UP}, {elsewhere}")
    program = Path(spec.origin).parent.parent / PROGRAMS / "bin" / "postgres"
    try:
        trial = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=False)
        version, fault = trial.stdout.strip(), trial.stderr.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        version, fault = "", str(error)
    if not version:
        return Finding(
            "postgresql", Status.PROBLEM, f"the embedded one does not run: {fault}", f"{SET_UP}, {elsewhere}"
        )
    if os.geteuid() == 0 and not _has_user(SYSTEM_USER) and shutil.which("useradd") is None:
        message = f"it does not run as root, there is no user {SYSTEM_USER!r}, and no useradd to make it"
        return Finding("postgresql", Status.PROBLEM, message, f"run Assay as an ordinary user, {elsewhere}")
    return Finding("postgresql", Status.OK, f"embedded: {version}")


def _has_user(name: str) -> bool:
    import pwd

    return any(entry.pw_name == name for entry in pwd.getpwall())


async def check_scratch(host: Host) -> Finding:
    """The operator's server for throw-away databases will do; or there is none, and an embedded one is started."""
    url = host.settings.scratch_database_url
    if url is None:
        return Finding("scratch", Status.OK, "throw-away databases: an embedded PostgreSQL, started when needed")
    from app.scratch.databases import server_of
    from app.scratch.server import UnusableError
    from app.scratch.session import LostError

    try:
        async with server_of(url.get_secret_value()) as server:
            await server.check(None)
    except (UnusableError, LostError) as error:
        todo = "see docs/settings.md; until then sql with dialect postgresql is left unscored"
        return Finding("scratch", Status.PROBLEM, str(error), todo)
    return Finding("scratch", Status.OK, "throw-away databases: the server of ASSAY_SCRATCH_DATABASE_URL answers")


async def check_sandbox(host: Host) -> Finding:
    """There is a sandbox that isolates as promised; without one the service runs, and leaves code unscored."""
    import structlog

    from app.services import opened_sandbox

    with structlog.testing.capture_logs():  # the finding says it all
        pool = opened_sandbox(host.settings, cells=1)
        try:
            await pool.start()
            if not pool.unavailable:
                await _first_run(pool)
            reason = pool.unavailable
            found = f"{pool.backend} ({pool.note}): {', '.join(pool.languages)}"
        finally:
            await pool.close()
    if not reason:
        return Finding("sandbox", Status.OK, found)
    asked = host.settings.sandbox
    status = Status.WARNING if asked == "auto" else Status.PROBLEM
    return Finding("sandbox", status, f"ASSAY_SANDBOX is {asked}: {reason}", SANDBOX_DOCS)


async def _first_run(pool: SandboxPool) -> None:
    """Run a program in a language other than Python: by then it is known which languages there are."""
    from sandbox.base import Job, Program, SandboxError, Stdio

    with contextlib.suppress(SandboxError):
        await pool.run(Job(Program(b"exit", "bash"), Stdio([b""])), deadline=time.monotonic() + RUN_S)


async def check_workers(host: Host) -> Finding:
    """Guarded workers start, and every kind proves itself on known items, as it does when the service starts."""
    import asyncio

    import structlog

    from app.guarded.pool import GuardedPool
    from app.selfcheck import check_kinds
    from app.services import opened_sandbox
    from verifiers.base import load_kinds

    kinds = load_kinds()
    with structlog.testing.capture_logs():  # the finding says it all
        pool = GuardedPool(1, sorted({module for kind in kinds.values() for module in kind.guarded}))
        sandbox = opened_sandbox(host.settings, cells=1)
        try:
            await asyncio.gather(pool.start(), sandbox.start())
            without = {kind for kind in kinds if kinds[kind].sandboxed and sandbox.unavailable}
            failed = await check_kinds(pool, sandbox, set(kinds) - without)
        finally:
            await asyncio.gather(pool.close(), sandbox.close())
    if failed:
        reasons = "; ".join(f"{kind}: {reason}" for kind, reason in failed.items())
        return Finding("kinds", Status.PROBLEM, reasons, "these answer 'unscored' until that is put right")
    message = f"proved themselves: {', '.join(sorted(set(kinds) - without))}"
    if without:
        message += f"; for want of a sandbox not tried: {', '.join(sorted(without))}"
    return Finding("kinds", Status.OK, message)


async def check_service(host: Host) -> Finding:
    """The service answers and is ready; or none runs, and its port is free."""
    from app.first_score import base_url

    url = (host.url or base_url(host.settings)).rstrip("/")
    answer = await _readiness(url)
    if isinstance(answer, dict):
        return _ready(url, answer)
    if answer is not None:
        return Finding(
            "service",
            Status.PROBLEM,
            f"what answers at {url} is not Assay ({answer})",
            "stop it, or set ASSAY_PORT" if host.url is None else "check --url or ASSAY_URL",
        )
    if host.url is not None:
        return Finding(
            "service", Status.PROBLEM, f"nothing answers at {url}", "start it, or check --url or ASSAY_URL"
        )
    return _free(url, host.settings)


async def _readiness(url: str) -> dict[str, Any] | str | None:
    """What /readyz says; words where that is not what Assay says; None where nothing answers."""
    import aiohttp

    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_S)) as session,
            session.get(f"{url}/readyz") as response,
        ):
            value = await response.json(content_type=None)
    except aiohttp.ClientConnectorError:
        return None
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return type(error).__name__
    if isinstance(value, dict) and isinstance(value.get("kinds"), dict):
        return value
    return f"status {response.status}"


def _ready(url: str, answer: dict[str, Any]) -> Finding:
    if not answer["database"]:
        return Finding(
            "service", Status.PROBLEM, f"the service at {url} cannot reach its database", "look at its log"
        )
    without = (answer.get("sandbox") or {}).get("reason")
    failed = {kind: state["reason"] for kind, state in answer["kinds"].items() if not state["ready"]}
    broken = {kind: reason for kind, reason in failed.items() if reason != without}
    if broken:
        reasons = "; ".join(f"{kind}: {reason}" for kind, reason in broken.items())
        return Finding("service", Status.PROBLEM, f"not ready at {url}: {reasons}", "look at its log")
    message = f"ready at {url}: {', '.join(kind for kind in answer['kinds'] if kind not in failed)}"
    if failed:
        return Finding("service", Status.WARNING, f"{message}; not {', '.join(failed)}: {without}", SANDBOX_DOCS)
    return Finding("service", Status.OK, message)


def _free(url: str, settings: Settings) -> Finding:
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            message = f"cannot listen on {settings.host}:{settings.port} ({error.strerror})"
            return Finding("service", Status.PROBLEM, message, "set ASSAY_PORT or ASSAY_HOST")
    return Finding("service", Status.OK, f"not running; {url} is free for 'assay serve'")


INSTALLATION_CHECKS: Sequence[Callable[[], Finding]] = (
    check_python,
    check_environment,
    check_packages,
    check_verifiers,
)
"""What can be told with the standard library alone. The checks of the host run the service's own code: they make
sense only once these find no problem."""

HOST_CHECKS: Sequence[Callable[[Host], Awaitable[Finding]]] = (
    check_home,
    check_memory,
    check_postgres,
    check_scratch,
    check_sandbox,
    check_workers,
    check_service,
)
"""What the service needs of the host."""

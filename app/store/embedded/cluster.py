"""The database cluster on disk: made once, whole or not at all, and configured at each start."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.store.embedded.account import Account
from app.store.embedded.errors import EmbeddedPostgresError, explain
from app.store.embedded.folders import PORT, make_private, write_file
from app.store.embedded.runtime import MAJOR

ROLE = "assay"
"""Owns the database. Not a superuser, so that it cannot switch off the triggers that refuse changes."""
DATABASE = "assay"

SETTINGS = {
    "cluster_name": "'assay'",
    # Reached by the socket alone.
    "listen_addresses": "''",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "50",
    # An answer given is an answer kept.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # One server, nobody follows it.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_replication_slots": "0",
    "max_logical_replication_workers": "0",
    # Bounds the write-ahead log on disk, and with it the time that recovery takes.
    "max_wal_size": "512MB",
    # Small at rest: no idle helper processes, and few buffers, as the kernel caches the files as well.
    "shared_buffers": "16MB",
    "wal_buffers": "4MB",
    "maintenance_work_mem": "32MB",
    "io_method": "sync",
    "max_worker_processes": "0",
    "max_parallel_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "autovacuum_max_workers": "2",
    "autovacuum_worker_slots": "2",
    "jit": "off",
    # Huge pages that a container may not use end the server with SIGBUS.
    "huge_pages": "off",
    # Not /dev/shm: containers have little of it, and logind empties it when its user logs out.
    "dynamic_shared_memory_type": "mmap",
    # The log names no statement: it may hold a caller's text.
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
    "log_timezone": "'UTC'",
    "timezone": "'UTC'",
}

FIRST_STATEMENTS = f"""\
CREATE ROLE {ROLE} LOGIN CREATEDB;
ALTER ROLE {ROLE} SET log_error_verbosity = 'terse';
CREATE DATABASE {DATABASE} OWNER {ROLE};
"""
"""Terse: the DETAIL of an error quotes the row, and with it a caller's text, into the log."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a cluster is for: the role and database that the service uses, its settings, who else may connect."""

    role: str
    database: str
    settings: Mapping[str, str]
    first_statements: str
    """Run when the cluster is made."""
    access: str = "local all all peer map=service\n"
    """The lines of pg_hba.conf: who may connect. The map `service` lets the service be the role."""
    process_mb: int | None = None
    """MiB of memory that each process of the server may have of its own; None: as much as there is."""


STORAGE = Purpose(ROLE, DATABASE, SETTINGS, FIRST_STATEMENTS)
"""The service's own database."""


def create(data: Path, programs: Path, account: Account, lock: int, purpose: Purpose) -> None:
    """Make the cluster `data`; it appears under its name only when it is complete and on disk.

    `lock` is the descriptor of the server's lock: programs that outlive a killed service keep it, so that
    nobody starts over while they still write. Raises `EmbeddedPostgresError` with their last words.
    """
    fresh = data.with_name(f"{data.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    make_private(fresh, account)

    def step(failure: str, program: str, *arguments: str, stdin: str = "") -> None:
        done = account.run(programs / program, *arguments, stdin=stdin, inherit=(lock,))
        if done.returncode:
            raise explain(failure, done.stdout, data.parent)

    step(
        "PostgreSQL's data folder could not be made",
        "initdb",
        *("-D", str(fresh), "--username=postgres", "--no-sync", "--no-instructions"),
        *("--auth-local=peer", "--auth-host=reject"),
        # Locales of PostgreSQL's own: those of the host change with its upgrades, and indexes break.
        *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        *("--set", f"huge_pages={purpose.settings['huge_pages']}"),
    )
    configure(fresh, account, purpose)
    step(
        "PostgreSQL's first database could not be made",
        "postgres",
        *("--single", "-D", str(fresh), "-c", "exit_on_error=true", "postgres"),
        stdin=purpose.first_statements,
    )
    step("PostgreSQL's data folder could not be written to disk", "initdb", "-D", str(fresh), "--sync-only")
    fresh.rename(data)
    folder = os.open(data.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def check(data: Path, account: Account) -> None:
    """Raise `EmbeddedPostgresError` where these programs and this OS user cannot run the cluster `data`."""
    if data.stat().st_uid != account.uid:
        raise EmbeddedPostgresError(
            f"{data} belongs to another OS user than {account.name}. What to do: run the service as the user "
            f"that made it, or choose another ASSAY_HOME."
        )
    version = data / "PG_VERSION"
    found = version.read_text().strip() if version.exists() else "no"
    if found != MAJOR:
        raise EmbeddedPostgresError(
            f"{data} is of PostgreSQL version {found}, and this service brings version {MAJOR}. What to do: run the "
            f"release of the service that made it and move the data with pg_dump, or choose another ASSAY_HOME."
        )


def configure(data: Path, account: Account, purpose: Purpose) -> None:
    """Write the cluster's settings, and who may connect.

    Only the service's role, unless the purpose has others, and only processes of the server's own OS user and of
    root, who can become that user anyway; the kernel vouches for the process at the other end of the socket (peer
    authentication).
    """
    settings = "".join(f"{name} = {value}\n" for name, value in purpose.settings.items())
    users = "".join(f'service "{user}" {purpose.role}\n' for user in (account.name, "root"))
    write_file(data / "postgresql.conf", settings, account)
    write_file(data / "pg_hba.conf", purpose.access, account)
    write_file(data / "pg_ident.conf", users, account)

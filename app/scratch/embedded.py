"""The second cluster: an embedded PostgreSQL that holds nothing worth keeping."""

from __future__ import annotations

import shutil
from pathlib import Path

import structlog

from app.store.embedded import EmbeddedPostgres
from app.store.embedded.cluster import SETTINGS, Purpose
from app.store.embedded.folders import POINTER

log = structlog.get_logger()

ADMIN = "postgres"
"""The superuser that initdb makes, whom the service alone can be."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def purpose(process_mb: int) -> Purpose:
    """The settings of a cluster whose processes may have this many MiB of their own."""
    settings = {
        **SETTINGS,
        "cluster_name": "'assay scratch'",
        "max_connections": "100",
        "max_prepared_transactions": "0",
        # One transaction may take what locks of many tables it needs; they are shared by all sessions.
        "max_locks_per_transaction": "256",
        "temp_file_limit": "256MB",
        # Shared by all sessions, too; what does not fit is an error of the one that notifies.
        "max_notify_queue_pages": "1024",
        # Nothing here outlives a crash of the host (see `home_of_boot`), and a crash of the server needs none of it.
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "max_wal_size": "256MB",
        # A database is gone before a worker would have looked at it, and one that does look at it is in the way.
        "autovacuum": "off",
        # RAISE LOG would write into the log whatever statements please.
        "log_min_messages": "fatal",
        "lc_messages": "'C'",
    }
    access = f"local all {ADMIN} peer map=service\nlocal all all scram-sha-256\n"
    return Purpose(ADMIN, "postgres", settings, first_statements="", access=access, process_mb=process_mb)


def start(home: Path, process_mb: int) -> EmbeddedPostgres:
    """Start the cluster of `home`, or join the one that runs. May take seconds. Raises `EmbeddedPostgresError`."""
    return EmbeddedPostgres.start(home_of_boot(home), purpose(process_mb))


def home_of_boot(home: Path) -> Path:
    """The folder of the cluster since the host was started; those of earlier starts are removed.

    Without fsync, what a crash of the host leaves of a cluster is of no use; that of a process leaves it whole.
    """
    name = _BOOT_ID.read_text().strip()[:8]
    scratch = home.resolve() / "scratch"
    for old in scratch.glob("boot-*"):
        if old.name != f"boot-{name}":
            _remove(old)
    return scratch / f"boot-{name}"


def _remove(old: Path) -> None:
    """Remove a cluster, and what lies elsewhere of it; the processes that used it are gone with the last start."""
    pointer = old / POINTER
    if pointer.exists():
        elsewhere = Path(pointer.read_text().split("\n")[0])
        if elsewhere.name.startswith("postgres-"):
            shutil.rmtree(elsewhere, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    log.info("removed throw-away databases of an earlier start of this host", folder=str(old))

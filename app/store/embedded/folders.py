"""The folders of the embedded PostgreSQL: made where they are missing, never opened up where they exist."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

import structlog

from app.store.embedded.account import Account
from app.store.embedded.errors import EmbeddedPostgresError

log = structlog.get_logger()

SYSTEM_FOLDER = Path("/var/lib/assay")
"""Holds, where the service runs as root, what the server's user cannot reach elsewhere."""

SHORT_FOLDER = Path("/tmp")  # noqa: S108 - what is made in it is private, and checked to be ours
"""Holds the socket's folder where the path in the data's folder will not do."""

PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"
SOCKET_PATH_BYTES = 107
"""The longest path of a Unix socket: `sun_path` of unix(7) less its final NUL."""

POINTER = "postgres-is-elsewhere.txt"
"""In the home of a service: its first line is the folder that holds the data instead."""


def make_folder(path: Path, mode: int) -> None:
    """Make a folder and its missing parents with exactly this mode; those that exist stay as they are."""
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)


def find_base(home: Path, account: Account) -> Path:
    """The folder of everything that belongs to the server of `home`, made where it is missing.

    That is `<home>/postgres`. Where `account` cannot enter a private home, it is a folder below /var/lib/assay,
    and a small file in `home` says so. Raises `EmbeddedPostgresError` where neither will do.
    """
    make_folder(home, 0o755 if account.borrowed else 0o700)
    inside = home / "postgres"
    pointer = home / POINTER
    if pointer.exists():
        _check_owner(pointer)
        base = Path(os.fsdecode(pointer.read_bytes().split(b"\n")[0]))
    elif not account.borrowed or account.can_enter(home):
        base = inside
    elif inside.exists():
        raise EmbeddedPostgresError(
            f"the OS user {account.name}, which runs PostgreSQL, can no longer reach its data in {inside}. "
            f"What to do: let it pass through the folders above (chmod o+x), or choose another ASSAY_HOME."
        )
    else:
        base = SYSTEM_FOLDER / f"postgres-{_digest(home)}"
    make_folder(base.parent, 0o755)
    base.mkdir(exist_ok=True)
    _check_owner(base)
    # The server's user passes through; that it cannot list or write keeps the locks out of its hands.
    base.chmod(0o711 if account.borrowed else 0o700)
    if account.borrowed and not account.can_enter(base):
        raise EmbeddedPostgresError(
            f"the OS user {account.name}, which runs PostgreSQL, cannot enter {base}. "
            f"What to do: let it pass through the folders above (chmod o+x)."
        )
    if base != inside and not pointer.exists():
        reason = f"The PostgreSQL data of this folder are there: the OS user {account.name} cannot enter here.\n"
        write_file(pointer, f"{base}\n{reason}")
        log.warning("private home, its data go elsewhere", home=str(home), data=str(base))
    return base


def socket_folder(base: Path, account: Account) -> Path:
    """Where the server's socket goes: `<base>/socket`, or a name below /tmp that follows from `base`.

    The latter where the path is too long for a socket, or has a character that means something else in a
    database URL.
    """
    folder = base / "socket"
    fits = len(os.fsencode(folder / SOCKET_NAME)) <= SOCKET_PATH_BYTES
    if fits and re.fullmatch(r"[\w./ +=@~-]+", str(folder), re.ASCII):
        return folder
    return SHORT_FOLDER / f"assay-{account.uid}-{_digest(base)}"


def make_private(folder: Path, account: Account) -> None:
    """Make a folder that only `account` can enter; raises `EmbeddedPostgresError` where another has it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (account.uid, os.geteuid()):
        raise EmbeddedPostgresError(
            f"{folder} exists and is not a folder of the OS user {account.name}. What to do: remove it."
        )
    os.chown(folder, account.uid, account.gid, follow_symlinks=False)
    folder.chmod(0o700)


def write_file(path: Path, text: str, account: Account | None = None) -> None:
    """Replace a file by one with this text that belongs to `account`, or to the service; all or nothing."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    # The folder may be another user's: a link planted in it must not lead root's write elsewhere.
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
        if account is not None:
            os.fchown(fd, account.uid, account.gid)
        file.write(text)
    fresh.replace(path)


def _check_owner(path: Path) -> None:
    """What another user put there would lead the service to folders of that user's choice."""
    if path.lstat().st_uid != os.geteuid():
        raise EmbeddedPostgresError(
            f"{path} belongs to another OS user. What to do: run the service as its owner, "
            f"or choose another ASSAY_HOME."
        )


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]

"""What can be known from outside of the server that runs on a data folder."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from app.store.embedded.account import Account
from app.store.embedded.folders import SOCKET_NAME

_LIST_PROCESSES = """
for process in /proc/[0-9]*; do
    [ "$process/cwd" -ef "$1" ] && read -r name <"$process/comm" && [ "$name" = postgres ] && echo "${process#/proc/}"
done
:
"""


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What the server's first process wrote of itself into postmaster.pid; it may have died since."""

    pid: int
    socket_folder: Path
    status: str
    """`starting` (recovery included), `ready` or `stopping`."""

    def listening(self) -> bool:
        """Whether a process accepts connections at the socket: unlike the pid, it cannot be another's."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            try:
                client.connect(str(self.socket_folder / SOCKET_NAME))
            except (TimeoutError, BlockingIOError):
                return True  # a full queue of connections
            except OSError:
                return False
        return True

    @property
    def ready(self) -> bool:
        """Whether queries are answered."""
        return self.status == "ready" and self.listening()


def read_postmaster(data: Path) -> Postmaster | None:
    """The contents of postmaster.pid (PostgreSQL's miscadmin.h, LOCK_FILE_LINE_*); None until it is whole."""
    try:
        lines = os.fsdecode((data / "postmaster.pid").read_bytes()).split("\n")
        return Postmaster(int(lines[0]), Path(lines[4]), lines[7].strip())
    except (FileNotFoundError, IndexError, ValueError):
        return None


def processes(data: Path, account: Account) -> list[int]:
    """The pids of the postgres processes that work in the data folder.

    Looked for as `account`: in a container, root may not see where another user's process works.
    """
    return [int(pid) for pid in account.run("/bin/sh", "-c", _LIST_PROCESSES, "sh", data).stdout.split()]


def kill(pids: list[int], account: Account) -> None:
    """End processes at once, as `account`, so that none of another user can be hit."""
    account.run("/bin/sh", "-c", 'kill -s KILL "$@"', "sh", *map(str, pids))

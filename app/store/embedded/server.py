"""The embedded PostgreSQL of one home: started, watched, shared and stopped.

Three locks in the server's folder say what pids cannot, for they are used again and differ between containers:

- `control.lock`, held alone while one service starts or stops the server;
- `share.lock`, shared by every service that uses the server: whoever can hold it alone is the last one;
- `server.lock`, inherited by every process of the server: free means that nothing runs on the data.

The kernel releases each when its holders end, also by SIGKILL.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import quote

import structlog

from app.store.embedded import cluster, runtime
from app.store.embedded.account import Account, server_account
from app.store.embedded.errors import EmbeddedPostgresError, explain
from app.store.embedded.folders import PORT, SOCKET_NAME, find_base, make_private, socket_folder
from app.store.embedded.lock import FileLock, held_alone
from app.store.embedded.postmaster import kill, processes, read_postmaster

log = structlog.get_logger()

READY_S = 600.0
"""How long recovery from the write-ahead log may take, or another service's start or stop."""
STOP_S = 60.0
"""How long a stop may take: it writes all buffers to disk."""
GRACE_S = 10.0
"""How long processes that hold the data and serve nobody have to serve or to end by themselves."""
POLL_S = 0.02
PROGRESS_S = 5.0
LOG_BYTES = 4 * 2**20
"""The server's log is moved aside, over the one before, when it has grown beyond this."""

_BOUNDED = """
{ echo 500 > /proc/self/oom_score_adj; } 2>/dev/null
ulimit -c 0 && ulimit -d "$0" && exec "$@"
"""
"""Where the host runs out of memory, these processes go before the service does; RLIMIT_DATA counts what a process
has for itself, and not the buffers that all share."""

_children: dict[Path, subprocess.Popen[bytes]] = {}
"""The servers that this process started, by their data; they may outlive the handle, and this process."""


class EmbeddedPostgres:
    """One service's share in the embedded PostgreSQL of a home; made by `start`, given back by `stop`.

    Not for the event loop: every method may wait for the server or for another service, for minutes at worst.
    """

    user = cluster.STORAGE.role
    database = cluster.STORAGE.database

    def __init__(self, base: Path, account: Account, programs: Path, purpose: cluster.Purpose) -> None:
        self.user = purpose.role
        self.database = purpose.database
        self._purpose = purpose
        self.base = base
        """Holds the data, the locks and the server's log."""
        self.data_dir = base / "data"
        self.socket_dir = socket_folder(base, account)
        self._account = account
        self._programs = programs
        self._log = base / "log"
        self._log_start = 0
        self._share: FileLock | None = None

    @classmethod
    def start(cls, home: Path, purpose: cluster.Purpose = cluster.STORAGE) -> Self:
        """Start the server of `home`, or join the one that runs; both are made where they are missing.

        A home serves one purpose. Returns when it answers queries. Raises `EmbeddedPostgresError`.
        """
        home = home.resolve()
        with _os_faults(home):
            account = server_account()
            server = cls(find_base(home, account), account, runtime.programs(account), purpose)
            with server._alone():
                share = server._share = FileLock(server.base / "share.lock")
                share.share()
                try:
                    server._bring_up(create=True)
                except BaseException:
                    server._leave(share)
                    raise
        return server

    @property
    def dsn(self) -> str:
        """The database's URL for SQLAlchemy with asyncpg."""
        return f"postgresql+asyncpg://{self.user}@:{PORT}/{self.database}?host={quote(str(self.socket_dir))}"

    def ensure_running(self) -> None:
        """Start the server again if it has died, and keep its log small; for a loop that watches it.

        Does nothing after `stop`. Raises `EmbeddedPostgresError` where it cannot be started.
        """
        with _os_faults(self.base), self._alone():
            if self._share is None:
                return
            self._trim_log()
            found = read_postmaster(self.data_dir)
            if found is None or not found.ready:
                log.warning("the embedded PostgreSQL does not answer, starting it again", data=str(self.data_dir))
                self._bring_up(create=False)

    def stop(self) -> None:
        """Give up this service's share; the last one stops the server. Raises `EmbeddedPostgresError`."""
        with _os_faults(self.base), self._alone():
            if self._share is not None:
                self._leave(self._share)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = FileLock(self.base / "control.lock")
        try:
            if not lock.wait_exclusive(READY_S):
                raise EmbeddedPostgresError(
                    f"another service has been starting or stopping the server in {self.base} for {READY_S:.0f} s. "
                    f"What to do: look at {self._log}, and end that service if it hangs."
                )
            yield
        finally:
            lock.unlock()
            lock.close()

    def _leave(self, share: FileLock) -> None:
        self._share = None
        try:
            share.unlock()
            if share.try_exclusive():
                self._shut_down()
        finally:
            share.close()

    def _bring_up(self, *, create: bool) -> None:
        """Have a server that answers; the caller is alone."""
        while (lock := self._claim()) is None:
            if self._wait_until_ready():
                log.info("joined the embedded PostgreSQL that runs", data=str(self.data_dir))
                return
        try:
            if create and not self.data_dir.exists():
                cluster.create(self.data_dir, self._programs, self._account, lock.fd, self._purpose)
            self._launch(lock)
        finally:
            lock.close()
        if not self._wait_until_ready():
            raise explain("the embedded PostgreSQL did not start", self._log_tail(), self.base)
        log.info("the embedded PostgreSQL runs", data=str(self.data_dir), log=str(self._log))

    def _claim(self) -> FileLock | None:
        """The server's lock, when nothing runs on the data; None when a server there accepts connections.

        What holds the data and does neither (a server whose first process was killed, or whose socket was
        removed) is ended after a grace.
        """
        lock = FileLock(self.base / "server.lock")
        try:
            give_up = time.monotonic() + GRACE_S
            while not lock.try_exclusive():
                found = read_postmaster(self.data_dir)
                if found is not None and found.status != "stopping" and found.listening():
                    lock.close()
                    return None
                if time.monotonic() > give_up:
                    self._end(lock)
                    break
                time.sleep(POLL_S)
        except BaseException:
            lock.close()
            raise
        self._reap()
        return lock

    def _launch(self, lock: FileLock) -> None:
        """Start the server's first process, which inherits `lock` and nothing else of this service."""
        cluster.check(self.data_dir, self._account)
        if running := processes(self.data_dir, self._account):
            raise EmbeddedPostgresError(
                f"a PostgreSQL that this service did not start runs on {self.data_dir} (processes {running}). "
                f"What to do: stop it."
            )
        # Left behind by a server that was killed. Nothing runs here, so the pid in them is by now nobody's or
        # somebody else's, and PostgreSQL would take the latter for a server.
        for stale in (self.data_dir / "postmaster.pid", self.socket_dir / f"{SOCKET_NAME}.lock"):
            stale.unlink(missing_ok=True)
        cluster.configure(self.data_dir, self._account, self._purpose)
        make_private(self.socket_dir, self._account)
        self._trim_log()
        command: list[str | Path] = [self._programs / "postgres", "-D", self.data_dir, "-k", self.socket_dir]
        if self._purpose.process_mb is not None:
            command = ["/bin/sh", "-c", _BOUNDED, str(self._purpose.process_mb * 1024), *command]
        self._log.touch(0o600)
        with self._log.open("ab") as output:
            self._log_start = output.tell()
            _children[self.data_dir] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(lock.fd,),
                **self._account.process_options(),
            )

    def _wait_until_ready(self) -> bool:
        """Wait until the server answers, recovery included; False if it has ended instead."""
        began = time.monotonic()
        progress = began + PROGRESS_S
        while True:
            found = read_postmaster(self.data_dir)
            if found is not None and found.ready:
                self.socket_dir = found.socket_folder
                return True
            if not held_alone(self.base / "server.lock"):
                self._reap()
                return False
            now = time.monotonic()
            if now - began > READY_S:
                raise explain(
                    f"the embedded PostgreSQL was not ready after {READY_S:.0f} s", self._log_tail(), self.base
                )
            if now > progress:
                progress = now + PROGRESS_S
                last = self._log_tail().splitlines()[-1:]
                log.info("waiting for the embedded PostgreSQL", seconds=round(now - began), log=last)
            time.sleep(POLL_S)

    def _shut_down(self) -> None:
        lock = FileLock(self.base / "server.lock")
        try:
            if not lock.try_exclusive():
                self._end(lock)
            self._reap()
        finally:
            lock.close()

    def _reap(self) -> None:
        """Where a server that has ended was this process's child, leave no zombie of it."""
        if child := _children.pop(self.data_dir, None):
            child.wait()

    def _end(self, lock: FileLock) -> None:
        """End every process of the server; afterwards `lock` is held."""
        found = read_postmaster(self.data_dir)
        if found is not None and found.pid in processes(self.data_dir, self._account):
            self._account.run(self._programs / "pg_ctl", "stop", "-D", self.data_dir, "-m", "fast", "-W")
            if lock.wait_exclusive(STOP_S):
                return
        # Recovery makes good whatever this interrupts.
        kill(processes(self.data_dir, self._account), self._account)
        if not lock.wait_exclusive(GRACE_S):
            raise EmbeddedPostgresError(
                f"processes that hold {self.base / 'server.lock'} neither serve nor end. What to do: end them "
                f"(fuser names them), and start again."
            )

    def _trim_log(self) -> None:
        # Truncated, not renamed: the server goes on writing to the file that it has open.
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES:
            shutil.copy(self._log, self._log.with_name("log.1"))
            self._log.write_bytes(b"")

    def _log_tail(self) -> str:
        if not self._log.exists():
            return ""
        with self._log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(min(size, max(self._log_start, size - 4096)))
            return file.read().decode(errors="replace")


@contextmanager
def _os_faults(where: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise explain(f"the embedded PostgreSQL cannot use {where}", str(error), where) from error

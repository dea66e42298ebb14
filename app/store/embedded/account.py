"""The OS user that runs the server: PostgreSQL refuses to run as root."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.store.embedded.errors import ELSEWHERE, EmbeddedPostgresError

SYSTEM_USER = "assay"
"""Runs the server where the service runs as root."""


@dataclass(frozen=True, slots=True)
class Account:
    """An OS user, and how programs are run as that user."""

    name: str
    uid: int
    gid: int

    @property
    def borrowed(self) -> bool:
        """Whether this is another user than the one the service runs as."""
        return self.uid != os.geteuid()

    def process_options(self) -> dict[str, Any]:
        """Options of `subprocess` for a program of this user.

        Nothing of the service's environment but the search paths: PG* variables would redirect the programs,
        and keys are none of their business. A session of its own keeps the terminal's Ctrl-C away.
        """
        passed = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        options: dict[str, Any] = {"cwd": "/", "env": {**passed, "LC_ALL": "C"}, "start_new_session": True}
        if self.borrowed:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def run(
        self, *command: str | Path, stdin: str = "", inherit: tuple[int, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; stdout and stderr together are its `stdout`.

        `inherit` are descriptors that it shares. Raises `EmbeddedPostgresError` where it cannot be executed.
        """
        try:
            return subprocess.run(
                command,
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                pass_fds=inherit,
                check=False,
                **self.process_options(),
            )
        except OSError as error:
            raise EmbeddedPostgresError(
                f"cannot run {command[0]} as the OS user {self.name}: {error.strerror}. What to do: run the service "
                f"as an ordinary user, allow it to switch users (CAP_SETUID, CAP_SETGID), or {ELSEWHERE}."
            ) from error

    def can_enter(self, folder: Path) -> bool:
        """Whether this user can reach what is in the folder; tried, as ACLs and mounts count too."""
        return self.run("/bin/sh", "-c", 'test -x "$1/."', "sh", folder).returncode == 0

    def can_execute(self, program: Path) -> bool:
        """Whether this user can run the program, the libraries it loads included."""
        try:
            return self.run(program, "--version").returncode == 0
        except EmbeddedPostgresError:
            return False


def server_account() -> Account:
    """The service's own user, or for root the system user `assay`, which is created where it is missing.

    Raises `EmbeddedPostgresError` where that user cannot be had.
    """
    if os.geteuid() == 0:
        entry = _lookup(SYSTEM_USER) or _create_system_user()
    else:
        try:
            entry = pwd.getpwuid(os.geteuid())
        except KeyError:
            raise EmbeddedPostgresError(
                f"the user id {os.geteuid()} has no name, and PostgreSQL runs only as a named user. "
                f"What to do: add it to /etc/passwd, or {ELSEWHERE}."
            ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _lookup(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _create_system_user() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent"]
    command += ["--shell", "/usr/sbin/nologin", SYSTEM_USER]
    if any(group.gr_name == SYSTEM_USER for group in grp.getgrall()):
        command[1:1] = ["--gid", SYSTEM_USER]
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    except OSError as error:
        output = f"useradd: {error.strerror}"
    # Another service may have created it in the meantime: what counts is that it exists.
    if entry := _lookup(SYSTEM_USER):
        return entry
    raise EmbeddedPostgresError(
        f"PostgreSQL does not run as root, and the system user {SYSTEM_USER!r} could not be created "
        f"({output.strip()}). What to do: create it ({' '.join(command)}), run the service as an ordinary user, "
        f"or {ELSEWHERE}."
    )

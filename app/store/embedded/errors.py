"""What is said when the embedded PostgreSQL cannot run."""

from __future__ import annotations

ELSEWHERE = "set ASSAY_DATABASE_URL to use another PostgreSQL"

ADVICE = (
    ("No space left on device", "free some space on the disk that holds {where}"),
    ("Disk quota exceeded", "free some of your disk quota for {where}"),
    ("Read-only file system", "choose a writable folder with ASSAY_HOME"),
    ("Permission denied", "let the OS user that runs it read and write {where}, or choose another ASSAY_HOME"),
    ("Cannot allocate memory", "give this host or container more memory"),
    ("could not create shared memory segment", f"allow System V shared memory here, or {ELSEWHERE}"),
    ("could not create semaphores", f"allow semaphores here, or {ELSEWHERE}"),
    ("could not locate a valid checkpoint", "restore {where} from a backup: its write-ahead log is damaged"),
    ("database files are incompatible", "use the PostgreSQL version that made {where}"),
    ("pre-existing shared memory block", "end the old postgres processes that still use {where}"),
)


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot be started or stopped; the message says why and what to do."""


def explain(failure: str, output: str, where: object) -> EmbeddedPostgresError:
    """An error for `failure` at the path `where`: the last lines of a program's output, and what to do."""
    advice = [text.format(where=where) for sign, text in ADVICE if sign in output]
    lines = [line for line in output.splitlines() if line.strip()][-8:]
    todo = "; ".join(advice) or ELSEWHERE
    return EmbeddedPostgresError("\n".join([f"{failure}. What to do: {todo}.", *lines]))

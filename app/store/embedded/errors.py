"""What is said when the embedded PostgreSQL cannot run."""

from __future__ import annotations

ELSEWHERE = "set ASSAY_DATABASE_URL to use another PostgreSQL"

ADVICE = (
    ("could not create shared memory segment", f"allow System V shared memory here, or {ELSEWHERE}"),
    ("could not create semaphores", f"allow semaphores here, or {ELSEWHERE}"),
    ("pre-existing shared memory block", "end the old postgres processes that still use {where}"),
    ("could not locate a valid checkpoint", "restore {where} from a backup: its write-ahead log is damaged"),
    ("No space left on device", "free some space on the disk that holds {where}"),
    ("Disk quota exceeded", "free some of your disk quota for {where}"),
    ("Read-only file system", "choose a writable folder with ASSAY_HOME"),
    ("Permission denied", "let the OS user that runs it read and write {where}, or choose another ASSAY_HOME"),
    ("Cannot allocate memory", "give this host or container more memory"),
)
"""What to do about what the programs say; the first that fits. PostgreSQL's own hints often name the cause better
than the system's error in the same message, so its messages come first."""


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot be started or stopped; the message says why and what to do."""


def explain(failure: str, output: str, where: object) -> EmbeddedPostgresError:
    """An error for `failure` at the path `where`: the last lines of a program's output, and what to do."""
    advice = next((text.format(where=where) for sign, text in ADVICE if sign in output), ELSEWHERE)
    lines = [line for line in output.splitlines() if line.strip()][-8:]
    return EmbeddedPostgresError("\n".join([f"{failure}. What to do: {advice}.", *lines]))

"""Tests in one process, the program they test in another; calls cross between the two as plain data.

The *candidate* runs the program and answers calls; the *oracle* runs the tests and reports what became of each. What
tests expect, what they compare and what comes of it never enters the candidate's process, and nothing that the
candidate sends becomes more than data in the oracle's. Both are forked children of one zygote, joined by one
connected stream socket (blocking, of which no other process holds an end), and are killed from outside when they take
too long.

    from cell.split import CandidateLost, LoadFailed, run_tests, serve

    serve(channel_fd: int, load: Callable[[], dict[str, object]]) -> None
        In the candidate. Calls `load()`, which runs the program and returns its namespace; tells the oracle whether
        that worked; answers calls until the oracle's end closes. Never raises: it returns, and the caller then
        `os._exit`s.

    run_tests(channel_fd: int, plan: Mapping[str, Any], report: Callable[[str, str], None],
              loaded: Callable[[], None] = nothing) -> None
        In the oracle, after the fork of the candidate. `plan` has the fields of `sandbox.base.Split` (`tests`,
        `setup`, `names`, `aliases`, `prelude`) and `first`, the index of the test to begin with (0 unless given).
        Calls `report(status, message)` for each test from `first` on, in order. `status` is one of "ok", "exit",
        "failed", "protocol", "unsplittable", "broken_test"; calls `loaded()` before, once the program has loaded.
        `message` is text of at most 500 characters, "" for "ok". Raises
            CandidateLost   the channel ended while a test ran: `error.test` is its index, and it was not reported.
                            Relaunch both sides with `first = error.test + 1` for those after it.
            LoadFailed      the program did not load: `error.status` is "exit" or "protocol", `error.message` says
                            why. No test was reported. (An end of the channel before that is a `CandidateLost` with
                            `test` None.)
        The oracle's process is spent afterwards: the tests may have changed anything in it.

What a test may do with the program's objects, and what is refused, is written in `stands`.
"""

from __future__ import annotations

from .candidate import serve
from .faults import CandidateLost, LoadFailed
from .oracle import run_tests

__all__ = ["CandidateLost", "LoadFailed", "run_tests", "serve"]

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

What becomes of a test:

    ok            it ended by itself, made at least one check (an assert that ran, a call of something named assert...
                  or raises, an `if` that would raise), and had something of the program.
    exit          the program raised an exception that the test did not catch, or lacks a name that the test uses.
    failed        an assertion does not hold, here or in a callback; the test raised an exception after it had
                  something of the program, or did something else with a function of it than to call it; it asked
                  the program and came to no check of those that its source has.
    protocol      the answer is no answer; every test after it has the same.
    unsplittable  see `stands`.
    broken_test   it does not compile, or raised an exception before it had anything of the program, or checks
                  nothing, or never uses the program.

`protocol`, `unsplittable`, a missing name and a failed assertion in a callback are final: no `except` of the test or
of the program undoes them. Exceptions of the program arrive as what they are if they are builtin, else as an instance
of the mirror of their class; StopIteration and GeneratorExit from a call become RuntimeError, since they would end
loops of the test, asserts and all.

Of the prelude, only what the tests use is run: a prompt may quote what a program said before.

Once a test has anything of the program, an audit hook refuses, as unsplittable, what could make it code here: eval
and exec of strings that do not stand in the tests, pickle, other programs.

What a test may do with the program's objects, and what is refused, is written in `stands`. Known limits: what the
test does to time, randomness, files or modules does not reach the program (replaced standard input is noticed, and
unsplittable); containers that cross are copies, kept in step during a call (arguments, both ways) or until the next
question (containers read from an object's attributes, one way); instances of the test's own classes cross as
instances of the program's class of that name, or without methods; structures nested deeper than `values.MAX_DEPTH` do
not cross.
"""

from __future__ import annotations

from .candidate import serve
from .faults import CandidateLost, LoadFailed
from .oracle import run_tests

__all__ = ["CandidateLost", "LoadFailed", "run_tests", "serve"]

"""How a test, or the whole session, can end other than by its own doing.

All but `LoadFailed` derive from BaseException, so that `except Exception` in a test does not catch them; and the
session remembers them, so that a bare `except:` does not help either.
"""

from __future__ import annotations


class CandidateLost(BaseException):
    """The channel ended while a test ran."""

    def __init__(self, test: int | None = None) -> None:
        super().__init__(test)
        self.test = test
        """The index of the test; None where the program was still loading."""


class LoadFailed(Exception):  # noqa: N818 - what happened, not an error of ours
    """The program did not load."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


class Stuck(BaseException):
    """A test that is over: its status is decided and nothing it does can change it."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message

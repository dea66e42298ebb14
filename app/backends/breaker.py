"""A circuit breaker: a backend that is down is asked now and then, and not by every request."""

from __future__ import annotations

import time

FAILURES = 5
"""In a row, after which requests fail at once."""
PAUSE_S = 5.0
"""For so long; then one is let through, and the others wait for what becomes of it."""


class Breaker:
    """Counts a backend's failures in a row."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    @property
    def open(self) -> bool:
        """Whether the backend counts as down."""
        return self._failures >= FAILURES

    def admit(self) -> bool:
        """Whether a request may go out now."""
        if not self.open:
            return True
        now = time.monotonic()
        if now < self._until:
            return False
        self._until = now + PAUSE_S
        return True

    def succeeded(self) -> None:
        """The backend answered, whatever it was."""
        self._failures = 0

    def failed(self) -> None:
        """It could not be reached, or said that it cannot answer."""
        self._failures += 1
        if self.open:
            self._until = time.monotonic() + PAUSE_S

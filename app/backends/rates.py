"""A backend's requests and tokens per minute, as token buckets."""

from __future__ import annotations

import asyncio
import time

MINUTE_S = 60.0


class TooLateError(Exception):
    """It would not be its turn before the deadline."""


class Bucket:
    """Holds a minute's worth at most, and fills evenly. Whoever takes more than there is waits, in order."""

    def __init__(self, per_minute: float) -> None:
        self._capacity = max(per_minute, 1.0)
        self._rate = per_minute / MINUTE_S
        self._level = self._capacity
        self._at = time.monotonic()

    def take(self, amount: float) -> float:
        """Take what is given back or kept, and return the seconds until it is there."""
        now = time.monotonic()
        self._level = min(self._capacity, self._level + (now - self._at) * self._rate)
        self._at = now
        self._level -= self.taken(amount)
        return max(0.0, -self._level) / self._rate

    def give_back(self, amount: float) -> None:
        """Give back so much; a negative amount takes it without waiting."""
        self._level = min(self._capacity, self._level + amount)

    def taken(self, amount: float) -> float:
        """What `take` takes: at most what a full bucket holds, or it would never come."""
        return min(amount, self._capacity)


class Rates:
    """One API process's share of a backend's rate limits."""

    def __init__(self, requests: float | None, tokens: float | None, workers: int) -> None:
        self._requests = None if requests is None else Bucket(requests / workers)
        self._tokens = None if tokens is None else Bucket(tokens / workers)

    @property
    def count_tokens(self) -> bool:
        """Whether tokens are limited."""
        return self._tokens is not None

    async def admit(self, tokens: int, deadline: float) -> None:
        """Wait until a request of so many tokens may go out. Raises `TooLateError` at once if that is too late."""
        taken = [
            (bucket, amount) for bucket, amount in ((self._requests, 1.0), (self._tokens, float(tokens))) if bucket
        ]
        wait = max((bucket.take(amount) for bucket, amount in taken), default=0.0)
        if wait == 0.0:
            return
        try:
            if time.monotonic() + wait >= deadline:
                raise TooLateError
            await asyncio.sleep(wait)
        except BaseException:
            for bucket, amount in taken:
                bucket.give_back(bucket.taken(amount))
            raise

    def settle(self, estimated: int, used: int) -> None:
        """A request has used so many tokens instead of those that it was admitted with."""
        if self._tokens is not None:
            self._tokens.give_back(self._tokens.taken(estimated) - used)

"""UUID version 7 (RFC 9562): ids that sort by time, and the times they hold."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

_last = 0


def uuid7s(count: int) -> list[UUID]:
    """`count` ids, each greater than the one before and than all that this process made earlier.

    The 12 bits after the millisecond hold its fraction (RFC 9562, section 6.2, method 3); the rest is random.
    """
    global _last
    now = time.time_ns()
    tick = (now // 1_000_000) << 12 | (now % 1_000_000) * 4096 // 1_000_000
    start = max(tick, _last + 1)
    _last = start + count - 1
    noise = os.urandom(8 * count)
    ids = []
    for i in range(count):
        t = start + i
        low = int.from_bytes(noise[8 * i : 8 * i + 8], "big") & (1 << 62) - 1
        ids.append(UUID(int=(t >> 12) << 80 | 0x7 << 76 | (t & 0xFFF) << 64 | 0b10 << 62 | low))
    return ids


def uuid7() -> UUID:
    """One id."""
    return uuid7s(1)[0]


def first_uuid7_at(moment: datetime) -> UUID:
    """The smallest id of `moment`, for ranges of time over ids."""
    millis = (moment - EPOCH) // MILLISECOND
    return UUID(int=max(0, min(millis, (1 << 48) - 1)) << 80)


def time_of(id: UUID) -> datetime:
    """When the id was made, to the millisecond, in UTC."""
    return EPOCH + (id.int >> 80) * MILLISECOND

"""Calls that are ended when their time is up."""

from __future__ import annotations

import asyncio
import time

from trainer_client.deadlines import FEW, Deadlines


class Call:
    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def expire(self) -> None:
        if not self.done.done():
            self.done.set_exception(TimeoutError())


async def test_each_call_ends_at_its_deadline_and_no_other_does() -> None:
    deadlines, now = Deadlines[Call](), time.monotonic()
    late, early, past, done = Call(), Call(), Call(), Call()
    deadlines.watch(late, now + 3600)
    deadlines.watch(early, now + 0.05)
    deadlines.watch(done, now + 0.05)
    done.done.set_result(None)
    deadlines.watch(past, now - 1)
    answers = await asyncio.gather(early.done, past.done, done.done, return_exceptions=True)
    assert [type(answer) for answer in answers] == [TimeoutError, TimeoutError, type(None)]
    assert time.monotonic() >= now + 0.05
    assert not late.done.done()
    deadlines.stop()


async def test_a_deadline_after_another_has_rung_still_rings() -> None:
    deadlines, now = Deadlines[Call](), time.monotonic()
    calls = [Call() for _ in range(5)]
    for number, call in enumerate(calls):
        deadlines.watch(call, now + 0.02 * number)
    await asyncio.gather(*(call.done for call in calls), return_exceptions=True)
    assert all(call.done.exception() for call in calls)


async def test_calls_that_are_done_are_forgotten() -> None:
    deadlines = Deadlines[Call]()
    waiting = Call()
    deadlines.watch(waiting, time.monotonic() + 3600)
    for _ in range(20 * FEW):
        call = Call()
        deadlines.watch(call, time.monotonic() + 3600)
        call.done.set_result(None)
    assert len(deadlines._waiting) <= 2 * FEW
    assert any(entry[2] is waiting for entry in deadlines._waiting)
    deadlines.stop()

"""Payloads are dealt out to slots once each, whatever is put back, and every slot gets neighbours."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.guarded.call import Call
from verifiers.base import GuardFault, GuardLimits, GuardResult


def make(count: int, slots: int) -> Call:
    return Call("m:f", list(range(count)), GuardLimits(), slots)


STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 8), st.integers(0, 8)), max_size=60)
"""Which slot takes a chunk, of what size, or else puts it back, with how many of its payloads answered."""


@given(STEPS, st.integers(1, 40), st.integers(1, 4))
async def test_every_payload_is_dealt_out_until_it_is_settled(
    steps: list[tuple[int, int, int]], count: int, slots: int
) -> None:
    call = make(count, slots)
    held: dict[int, list[int]] = {}

    def put_back(slot: int, answered: int) -> None:
        chunk = held.pop(slot)
        for index in chunk[:answered]:
            call.settle(index, GuardResult(index))
        call.put_back(slot, chunk)

    for slot, size, answered in steps:
        slot %= slots
        if slot in held:
            put_back(slot, answered)
        elif call.waiting:
            held[slot] = call.take(slot, size)
            taken = [index for chunk in held.values() for index in chunk]
            assert len(taken) == len(set(taken))
    for slot in list(held):
        put_back(slot, 0)
    while call.waiting:
        held[0] = call.take(0, 8)
        put_back(0, 8)
    assert call.done.done()
    assert call.results == [GuardResult(index) for index in range(count)]


async def test_slots_begin_in_different_places_and_take_neighbours() -> None:
    call = make(10, 2)
    assert (call.take(0, 2), call.take(1, 2), call.take(0, 2)) == ([0, 1], [5, 6], [2, 3])


async def test_a_slot_without_payloads_takes_half_of_what_another_has_left() -> None:
    call = make(8, 2)
    assert call.take(0, 4) == [0, 1, 2, 3]
    assert call.take(0, 4) == [6, 7]
    assert call.take(1, 4) == [4, 5]
    assert not call.waiting


async def test_the_first_result_stands() -> None:
    call = make(2, 1)
    call.settle(0, GuardResult("first"))
    call.settle(0, GuardResult("second"))
    assert call.give_up(GuardFault.DEADLINE, "late") == [
        GuardResult("first"),
        GuardResult(fault=GuardFault.DEADLINE, message="late"),
    ]
    call.settle(1, GuardResult("too late"))
    assert call.results[1] == GuardResult(fault=GuardFault.DEADLINE, message="late")

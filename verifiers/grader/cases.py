"""What every type of grader offers, and grading cases one by one on the event loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from verifiers.base import Context, GivingWay, Verdict, past_deadline
from verifiers.grader.faults import Fault, ItemFaultError, SampleFaultError, bad_item, error_of, spoilt, unscored
from verifiers.grader.variables import Variables


class Grader(Protocol):
    """A compiled grader."""

    lowest: float
    highest: float
    """Bounds of its scores; for those without bounds, of what they usually are."""

    async def grade(self, cases: Sequence[Variables], ctx: Context) -> list[Verdict]:
        """One verdict per case, in order, by the context's deadline."""
        ...


@dataclass(frozen=True, slots=True)
class Stage:
    """How a type of grader calls itself in verdicts, and the score of a sample that it cannot read."""

    name: str
    lowest: float = 0.0

    def verdict(self, grade: Callable[[Variables], Verdict], case: Variables) -> Verdict:
        """The verdict of `grade`, or of the fault that it raises."""
        try:
            return grade(case)
        except SampleFaultError as error:
            return spoilt(self.name, error, self.lowest)
        except ItemFaultError as error:
            return bad_item(self.name, Fault.INVALID_VARIABLE, str(error))

    def late(self) -> Verdict:
        """The verdict of a case that the deadline left ungraded."""
        return unscored(self.name, Fault.OTHER, error_of(past_deadline()))

    async def each(
        self, cases: Sequence[Variables], ctx: Context, grade: Callable[[Variables], Verdict]
    ) -> list[Verdict]:
        """The verdict of `grade` on each case, giving way to others in between."""
        verdicts: list[Verdict] = []
        turn = GivingWay()
        for case in cases:
            late = await turn.over() > ctx.deadline
            verdicts.append(self.late() if late else self.verdict(grade, case))
        return verdicts

"""An item's reference: which instructions, with which arguments."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from verifiers.base import MAX_FIELDS, BadItemError, Strict, clip, explain, parse_reference, pointer
from verifiers.instructions import casing, content, copying, keywords, languages, layout, lengths
from verifiers.instructions.instruction import INSTRUCTIONS, Instruction

MODULES = (keywords, lengths, layout, content, casing, languages, copying)
"""Where instructions are declared; importing them fills `INSTRUCTIONS`."""
MAX_INSTRUCTIONS = 64
LANGUAGE_IDS = frozenset(name for name, cls in INSTRUCTIONS.items() if cls.needs_language)


class InstructionsReference(Strict):
    """The instructions of one item, as a row of IFEval has them."""

    instruction_id_list: Annotated[
        list[str],
        Field(
            min_length=1,
            max_length=MAX_INSTRUCTIONS,
            fail_fast=True,
            description="Ids of instructions, such as `length_constraints:number_words`.",
        ),
    ]
    kwargs: Annotated[list[dict[str, Any] | None], Field(max_length=MAX_INSTRUCTIONS, fail_fast=True)] = Field(
        default=[],
        description="The arguments of each, in the same order; null, and arguments that are null, count as absent. "
        "Leave it out where no instruction takes any.",
    )


REFERENCE: TypeAdapter[Any] = TypeAdapter(InstructionsReference)


def asked_of(value: Any) -> dict[str, Instruction]:
    """The instructions by the names of their components: `0:keywords:existence`, `1:...`, in order.

    Raises `BadItemError` naming the field at fault.
    """
    reference: InstructionsReference = parse_reference(REFERENCE, value)
    ids, arguments = reference.instruction_id_list, reference.kwargs or [None] * len(reference.instruction_id_list)
    if len(arguments) != len(ids):
        raise BadItemError(f"reference/kwargs: has {len(arguments)} entries for {len(ids)} instructions")
    return {
        f"{i}:{name}": _instruction(i, name, given or {})
        for i, (name, given) in enumerate(zip(ids, arguments, strict=True))
    }


def _instruction(i: int, name: str, given: dict[str, Any]) -> Instruction:
    cls = INSTRUCTIONS.get(name)
    if cls is None:
        near = get_close_matches(clip(name, 100), INSTRUCTIONS, 1, 0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise BadItemError(f"reference/instruction_id_list/{i}: there is no instruction {clip(name, 100)!r}{hint}")
    if len(given) > MAX_FIELDS:
        raise BadItemError(f"reference/kwargs/{i}: has {len(given)} arguments, more than are known")
    present = {key: argument for key, argument in given.items() if argument is not None}
    try:
        return cls.model_validate(present)
    except ValidationError as error:
        location, message = explain(error, present)
        takes = ", ".join(cls.model_fields) or "none"
        at = pointer(("kwargs", i, *location))
        raise BadItemError(f"reference{at}: {message} ({name} takes {takes})") from None

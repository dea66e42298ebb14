"""Entries of a list, each read by itself, so that a bad one spoils none of its neighbours."""

from __future__ import annotations

from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from verifiers.base import MAX_FIELDS, explain, pointer


class Unreadable:
    """What takes the place of an entry that its schema refuses: the reason, and its id if that could be read."""

    __slots__ = ("fault", "id")

    def __init__(self, fault: str, id: str | None) -> None:
        self.fault = fault
        self.id = id


class OneByOne:
    """Annotates an entry of the sort `noun`. `otherwise` says in the OpenAPI document what becomes of a bad one."""

    def __init__(self, noun: str, otherwise: str) -> None:
        self._noun = noun
        self._otherwise = otherwise

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(schema), {"description": self._otherwise}]}

    def _read(self, value: Any, handler: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, dict) and len(value) > MAX_FIELDS:
            return Unreadable(f"{self._noun} has {len(value)} fields, more than are known", None)
        try:
            return handler(value)
        except ValidationError as error:
            location, message = explain(error, value)
            id = value.get("id") if isinstance(value, dict) else None
            return Unreadable(f"{pointer(location) or self._noun}: {message}", id if isinstance(id, str) else None)
